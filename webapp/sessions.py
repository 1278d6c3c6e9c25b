"""Sessions that end: each log-in is a row, and both of its cookies carry nothing but the key of that row.

Logging out deletes the row, so a copied cookie is worth nothing. Without "keep me logged in" a session ends after eight
hours without a click, and after twelve in any case. Times are the machine's: a moved business clock logs nobody out.
A form that is sent after that asks for the log-in and keeps what was typed.
"""

import hashlib
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any, TypeVar, cast

from flask import Flask, g, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_login import current_user, user_logged_out
from flask_security import login_user
from flask_security.utils import set_request_attr
from sqlalchemy import delete, select

from mail.message.address import normalise
from models import LoginSession, User, db, writing
from webapp import errors, guesses

IDLE = timedelta(hours=8).total_seconds()
LONGEST, REMEMBERED = timedelta(hours=12), timedelta(days=14)
FRESH = timedelta(minutes=30).total_seconds()  # for which a typed password allows to change accounts and servers
STAMP_EVERY = 300.0  # seconds between two notes of when the last click was
POLLS = {"live.events"}  # what an open page asks automatically is no click
AGAIN_ADDRESS, AGAIN_PASSWORD = "log_in_again_email", "log_in_again_password"  # fields beside those of a form

View = TypeVar("View", bound=Callable[..., Any])


def prepare(user: User, remember: bool = False) -> None:
    """Make the row that a log-in needs, and forget whoever used this browser before; ends the transaction.

    Flask-Login then asks the account for its id and gets the key of the row: see ``User.get_id``.
    """
    key, moment = secrets.token_urlsafe(32), datetime.now(UTC)
    number, account = user.id, user.email
    db.session.rollback()
    with writing():
        db.session.execute(delete(LoginSession).where(LoginSession.ends_at < moment))
        ends_at = moment + (REMEMBERED if remember else LONGEST)
        row = {"user_id": number, "key_hash": _digest(key), "remembered": remember}
        db.session.add(LoginSession(**row, started_at=moment, ends_at=ends_at))
        db.session.commit()
    session.clear()  # the token of the forms too: one that a stranger may have seen is worth nothing after the log-in
    g.pop("csrf_token", None)
    session["seen"] = int(time.time())
    guesses.remember_device(account)
    user.session_key = key  # type: ignore[misc]  # of this object, not of the class


def start(user: User) -> None:
    """Log an account in whose password was typed just now; ends the transaction."""
    prepare(user)
    login_user(user)


def end_all(user_id: int) -> None:
    """End all sessions of an account; the caller commits."""
    db.session.execute(delete(LoginSession).where(LoginSession.user_id == user_id))


def _end(_app: Flask, user: Any, **_: Any) -> None:
    key = getattr(user, "session_key", "")
    if key:
        db.session.execute(delete(LoginSession).where(LoginSession.key_hash == _digest(key)))
        db.session.commit()


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _reader(key: str) -> User | None:
    """Return the account of a session that is not over, and note the click."""
    found = db.session.execute(
        select(User, LoginSession.remembered)
        .join(LoginSession, LoginSession.user_id == User.id)
        .where(LoginSession.key_hash == _digest(key), LoginSession.ends_at > datetime.now(UTC), User.active)
    ).first()
    idle = time.time() - session.get("seen", 0)
    if found is None or (idle > IDLE and not found.remembered):
        return None
    if idle > STAMP_EVERY and request.endpoint not in POLLS and "X-Fragment" not in request.headers:
        session["seen"] = int(time.time())
    user: User = found.User
    user.session_key = key  # type: ignore[misc]
    set_request_attr("fs_authn_via", "session")
    set_request_attr("fs_paa", session.get("fs_paa", 0))
    return user


def account_of(address: str, password: str) -> User | str:
    """Return the account that address and password fit, else a sentence; ends the transaction.

    It is one sentence for every failure, so that nobody learns which accounts exist.
    """
    found = db.session.scalar(select(User).where(User.email == address, User.active))
    try:
        right = guesses.is_right(address, (found.password or "") if found else "", password)
    except guesses.TooManyTries:
        return gettext("Too many failed attempts. Wait 15 minutes, then try again.")
    return found if right and found is not None else gettext("Incorrect email address or password.")


# --- a form that is sent after its session has ended


def log_in_again(problem: str = "") -> ResponseReturnValue:
    """Answer a form of somebody who is no longer logged in: the log-in, together with what was typed."""
    typed = [field for field in errors.typed_fields() if field.name not in (AGAIN_ADDRESS, AGAIN_PASSWORD)]
    page = render_template(
        "security/log_in_again.html",
        typed=typed,
        files=errors.names_of_files(),
        problem=problem,
        address=request.form.get(AGAIN_ADDRESS, ""),
    )
    return page, 403, {"Cache-Control": "no-store"}


def _let_in_again() -> ResponseReturnValue | None:
    """Log in whoever sends a form together with address and password, before its page looks at it.

    Only where the token of the form was right: no other site may log anybody in.
    """
    if AGAIN_PASSWORD not in request.form or not g.get("csrf_valid") or current_user.is_authenticated:
        return None
    address = normalise(request.form.get(AGAIN_ADDRESS, "")) or ""
    found = account_of(address, request.form[AGAIN_PASSWORD])
    if isinstance(found, str):
        return log_in_again(found)
    start(found)
    return None


# --- a password that was typed just now


def is_fresh() -> bool:
    """Whether the password of this session was typed lately."""
    return time.time() - float(session.get("fs_paa", 0)) <= FRESH


def confirmation(form_of: str = "") -> ResponseReturnValue | None:
    """Return None where a change may be made, else the page that asks for the password first.

    A form asks before it is filled in (``form_of`` is its address); one that was open for too long asks when it is
    sent, and keeps what was typed.
    """
    if is_fresh():
        return None
    if request.method != "POST":
        return redirect(url_for("security.verify", next=form_of)) if form_of else None
    problem = ""
    password = request.form.get("confirm_password")
    if password is not None:
        problem = password_problem(current_user, password)
        if not problem:
            session["fs_paa"] = time.time()
            return None
    typed = [field for field in errors.typed_fields() if field.name != "confirm_password"]
    return render_template("security/confirm.html", typed=typed, problem=problem), 403


def password_problem(user: Any, password: str) -> str:
    """Return "" for the password of an account, else a sentence; ends the transaction."""
    try:
        right = guesses.is_right(user.email, user.password or "", password)
    except guesses.TooManyTries:
        return gettext("Too many failed attempts. Wait 15 minutes, then try again.")
    return "" if right else gettext("Incorrect password.")


def fresh_login(view: View) -> View:
    """Let a page change something only for somebody whose password was typed lately."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        return confirmation() or view(*args, **kwargs)

    return cast(View, guarded)


def init_app(app: Flask) -> None:
    """Let Flask-Login find accounts by their sessions, and nobody lose what they typed."""
    manager = app.login_manager  # type: ignore[attr-defined]
    manager.user_loader(_reader)
    ask_stranger = manager.unauthorized_callback  # Flask-Security's: it leads to the log-in, and back
    manager.unauthorized_handler(lambda: log_in_again() if request.method == "POST" else ask_stranger())
    user_logged_out.connect(_end, app)
    app.before_request(_let_in_again)

"""Who may come in: log-in with a password (Argon2), roles, developer mode, and the first account."""

import hashlib
import hmac
import re
import secrets
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

from flask import (
    Blueprint,
    Flask,
    abort,
    flash,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from flask_login import current_user, login_required
from flask_security import Security, SQLAlchemyUserDatastore, hash_password, login_user
from flask_security.forms import LoginForm as StockLoginForm
from flask_security.mail_util import EmailValidateException, MailUtil
from flask_security.utils import verify_password
from flask_wtf import FlaskForm
from sqlalchemy import delete, exists, func, select
from wtforms import Form, PasswordField, StringField
from wtforms.validators import EqualTo, InputRequired, Length

from mail.documents.contacts import find_or_make
from mail.message.address import normalise
from mail.settings import office
from mail.settings.clock import now
from mail.settings.config import Settings, settings
from models import LoginAttempt, User, db, writing
from models.user import ROLES

SHORTEST_PASSWORD = 10
TRIES, TRIES_OF_CALLER, LOCKED_FOR = 10, 50, timedelta(minutes=15)
OWN_PAGE = re.compile(r"/(?!/)[^\\\x00-\x1f\x7f]*")
FIRST_START_FILE = "first-start.token"

View = TypeVar("View", bound=Callable[..., Any])

blueprint = Blueprint("accounts", __name__)


class AccountError(ValueError):
    """An account can't be made like this; the text says why."""


# --- roles and developer mode


def role() -> str:
    """Return the role of whoever is asking, "" for somebody who is not logged in."""
    return current_user.role if current_user.is_authenticated else ""


def roles_required(*roles: str) -> Callable[[View], View]:
    """Let only these roles see a page: others are sent to the log-in or told that it is not for them."""

    def wrap(view: View) -> View:
        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            if role() not in roles:
                return not_for_you()
            return view(*args, **kwargs)

        return cast(View, guarded)

    return wrap


def not_for_you() -> ResponseReturnValue:
    """Answer somebody who may not see a page: the log-in for strangers, a friendly no for others."""
    if not current_user.is_authenticated:
        return redirect(url_for("security.login", next=request.full_path.rstrip("?")))
    return abort(403)


def developer_mode() -> bool:
    """Whether this session shows the technical things; it grants no rights."""
    return bool(session.get("developer_mode"))


@blueprint.post("/developer-mode")
@login_required
def switch_developer_mode() -> ResponseReturnValue:
    """Switch developer mode on (``on=1``) or off for this session."""
    session["developer_mode"] = request.form.get("on") == "1"
    if session["developer_mode"]:
        flash(gettext("Developer mode is on: the menu shows Technical under Settings."), "success")
    else:
        flash(gettext("Developer mode is off."), "success")
    return redirect(own_page(request.form.get("next", "")) or url_for("start"))


def own_page(address: str) -> str:
    """Return the address if it is one of our pages, else "".

    Browsers drop tabs and line feeds from an address and take a backslash for a slash: none of ours has any.

    >>> own_page("/inbox?all=1"), own_page("//evil.test"), own_page("/\\t/evil.test"), own_page("https://evil.test")
    ('/inbox?all=1', '', '', '')
    """
    return address if OWN_PAGE.fullmatch(address) else ""


# --- log-in


class Addresses(MailUtil):
    """Addresses of accounts are compared like all others, and no name server is asked."""

    def normalize(self, email: str) -> str:
        found = normalise(email)
        if found is None:
            raise EmailValidateException(gettext("This is not an email address."))
        return found

    def validate(self, email: str) -> str:
        return self.normalize(email)


class LoginForm(StockLoginForm):
    """The log-in. One sentence for every failure, so that nobody learns which accounts exist."""

    def validate_next(self, field: Any) -> None:
        field.data = own_page(field.data or "") or url_for(
            "start"
        )  # a link that leads away from us leads to the start instead

    def validate(self, **kwargs: Any) -> bool:
        if not Form.validate(self, **kwargs):
            return False
        keys = (f"account:{self.email.data}", f"caller:{request.remote_addr}")
        if _exhausted(keys, now()):
            self.form_errors.append(gettext("Too many failed attempts. Wait 15 minutes, then try again."))
            return False
        found = db.session.scalar(select(User).where(User.email == self.email.data))
        # An unknown account takes as long as a wrong password.
        kept = found.password if found and found.password else _decoy()
        right = verify_password(self.password.data, kept)
        if found is None or not right or not found.password or not found.active:
            _count_failure(keys, now())
            self.form_errors.append(gettext("Incorrect email address or password."))
            return False
        self.user, self.ifield, self.user_authenticated = found, self.email, True
        return True


def _decoy(kept: list[str] = []) -> str:  # noqa: B006  made once a process, on purpose
    if not kept:
        kept.append(hash_password(secrets.token_hex(16)))
    return kept[0]


def _exhausted(keys: tuple[str, str], moment: datetime) -> bool:
    rows = db.session.execute(
        select(LoginAttempt.key, func.count())
        .where(LoginAttempt.key.in_(keys), LoginAttempt.at > moment - LOCKED_FOR)
        .group_by(LoginAttempt.key)
    )
    counts = {key: count for key, count in rows}  # noqa: C416  rows are not pairs to the type checker
    return counts.get(keys[0], 0) >= TRIES or counts.get(keys[1], 0) >= TRIES_OF_CALLER


def _count_failure(keys: tuple[str, str], moment: datetime) -> None:
    db.session.rollback()  # the log-in reads only; counting is a transaction of its own
    with writing():
        db.session.add_all(LoginAttempt(key=key, at=moment) for key in keys)
        db.session.execute(delete(LoginAttempt).where(LoginAttempt.at < moment - timedelta(days=1)))
        db.session.commit()


# --- accounts


def create_user(address: str, name: str, password: str, role: str, moment: datetime) -> User:
    """Add an account and its contact, and return it; the caller commits. Raises ``AccountError`` with a sentence."""
    key = normalise(address)
    if key is None:
        raise AccountError(gettext("%(address)s is not an email address.", address=address))
    if role not in ROLES:
        raise AccountError(gettext("The role must be one of %(roles)s.", roles=", ".join(ROLES)))
    hashed = hash_checked(password)
    if db.session.scalar(select(exists().where(User.email == key))):
        raise AccountError(gettext("There is already an account for %(address)s.", address=key))
    contact = find_or_make(key, name, moment)
    contact.name = name.strip() or contact.name or key.partition("@")[0]
    user = User(contact=contact, email=key, password=hashed, role=role, fs_uniquifier=uuid.uuid4().hex)
    db.session.add(user)
    db.session.flush()
    return user


def hash_checked(password: str) -> str:
    """Return the hash of a password that is long enough; raises ``AccountError``. Slow on purpose: call it before
    a transaction begins.
    """
    if len(password) < SHORTEST_PASSWORD:
        raise AccountError(gettext("The password must have at least %(number)s characters.", number=SHORTEST_PASSWORD))
    hashed: str = hash_password(password)
    return hashed


def change_password(user: User, password: str) -> None:
    """Give an account a new password and end all of its sessions; the caller commits. Raises ``AccountError``."""
    set_password(user, hash_checked(password))


def set_password(user: User, hashed: str) -> None:
    """Give an account a password that is hashed already, and end all of its sessions; the caller commits."""
    user.password = hashed
    user.fs_uniquifier = uuid.uuid4().hex


# --- the first account


def nobody_yet() -> bool:
    """Whether there is no account at all: then, and only then, the one-time link works."""
    return not db.session.scalar(select(exists(select(User.id))))


def first_start_link() -> str:
    """Return a new one-time link to the page that makes the first account; older links stop working."""
    token = secrets.token_urlsafe(24)
    path = _first_start_path()
    path.touch(mode=0o600)
    path.write_text(_digest(token))
    return f"{settings().url}/first-start/{token}"


def _first_start_path() -> Path:
    return settings().data / FIRST_START_FILE


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _is_first_start(token: str) -> bool:
    path = _first_start_path()
    return nobody_yet() and path.exists() and hmac.compare_digest(path.read_text().strip(), _digest(token))


class FirstAccountForm(FlaskForm):
    """The account of the admin."""

    name = StringField(
        _l("Your name"), [InputRequired(), Length(max=200)], render_kw={"autocomplete": "name", "autofocus": True}
    )
    email = StringField(
        _l("Your email address"), [InputRequired(), Length(max=320)], render_kw={"autocomplete": "username"}
    )
    password = PasswordField(
        _l("Password"),
        [InputRequired()],
        description=_l("At least %(number)s characters; a sentence is easy to remember.", number=SHORTEST_PASSWORD),
        render_kw={"autocomplete": "new-password"},
    )
    again = PasswordField(
        _l("Confirm password"),
        [InputRequired(), EqualTo("password", _l("The passwords do not match."))],
        render_kw={"autocomplete": "new-password"},
    )


@blueprint.route("/first-start/<token>", methods=("GET", "POST"))
def first_start(token: str) -> ResponseReturnValue:
    """Make the account of the admin, once, for whoever has the link that the first start printed."""
    if not _is_first_start(token):
        return render_template("security/first_start_over.html"), 410
    form = FirstAccountForm()
    if form.validate_on_submit():
        try:
            user = create_user(form.email.data, form.name.data, form.password.data, "admin", now())
            office.learn_address(request.url_root, now())
        except AccountError as error:
            db.session.rollback()
            flash(str(error), "error")
        else:
            db.session.commit()
            _first_start_path().unlink(missing_ok=True)
            login_user(user)
            flash(gettext("Welcome, %(name)s. Your office is ready.", name=user.name), "success")
            return redirect(url_for("start"))
    return render_template("security/first_start.html", form=form)


def config(settings: Settings) -> dict[str, Any]:
    """Return the keys of the Flask configuration that Flask-Security and the session need."""
    secure = settings.url.startswith("https://")
    return {
        "SECRET_KEY": settings.derive("session")[0].hex(),
        "SECRET_KEY_FALLBACKS": [key.hex() for key in settings.derive("session")[1:]],
        "SECURITY_PASSWORD_SALT": settings.derive("password")[-1].hex(),
        "SESSION_COOKIE_NAME": "coquimail",
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "SESSION_COOKIE_SECURE": secure,
        "REMEMBER_COOKIE_NAME": "coquimail_remember",
        "REMEMBER_COOKIE_HTTPONLY": True,
        "REMEMBER_COOKIE_SAMESITE": "Lax",
        "REMEMBER_COOKIE_SECURE": secure,
        "REMEMBER_COOKIE_DURATION": timedelta(days=14),
        "PERMANENT_SESSION_LIFETIME": timedelta(hours=12),
        "SECURITY_PASSWORD_HASH": "argon2",
        "SECURITY_PASSWORD_SCHEMES": ["argon2"],
        "SECURITY_PASSWORD_SINGLE_HASH": True,  # Argon2 salts by itself; a database alone is enough to log in
        "SECURITY_DEPRECATED_PASSWORD_SCHEMES": [],
        "SECURITY_REGISTERABLE": False,
        "SECURITY_RECOVERABLE": False,
        "SECURITY_JOIN_USER_ROLES": False,
        "SECURITY_SEND_REGISTER_EMAIL": False,
        "SECURITY_LOGOUT_METHODS": ["POST"],
        "SECURITY_POST_LOGIN_VIEW": "/",
        "SECURITY_POST_LOGOUT_VIEW": "/login",
        "SECURITY_USER_IDENTITY_ATTRIBUTES": [{"email": {"mapper": _as_address, "case_insensitive": True}}],
        "SECURITY_FLASH_MESSAGES": False,
    }


def _as_address(text: str) -> str | None:
    return normalise(text)


def init_app(app: Flask) -> None:
    """Connect log-in, accounts and developer mode with an application."""
    # The role is a word on the account, not a table of its own.
    accounts = SQLAlchemyUserDatastore(db, User, None)  # type: ignore[arg-type]
    security = Security(app, accounts, login_form=LoginForm, mail_util_cls=Addresses)
    # Its permissions are not ours, and they would read the account for every picture.
    security.principal.identity_loaders.clear()
    app.register_blueprint(blueprint)

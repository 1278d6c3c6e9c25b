"""The first account: a one-time link, which the first start prints and a command prints again."""

import hashlib
import hmac
import secrets
from pathlib import Path

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from flask_wtf import FlaskForm
from sqlalchemy import exists, select, text
from wtforms import PasswordField, StringField
from wtforms.validators import DataRequired, EqualTo, InputRequired, Length

from mail.settings import office
from mail.settings.clock import now
from mail.settings.config import settings
from models import User, db
from webapp import auth, sessions
from webapp.passwords import LONGEST_PASSWORD, SHORTEST_PASSWORD, AccountError, hash_checked

FIRST_START_FILE = "first-start.token"

blueprint = Blueprint("first_start", __name__)


def nobody_yet() -> bool:
    """Whether there is no account at all: then, and only then, the one-time link works."""
    return not db.session.scalar(select(exists(select(User.id))))


def first_start_link() -> str:
    """Return a new one-time link to the page that makes the first account; older links stop working."""
    token = secrets.token_urlsafe(24)
    path = _path()
    path.touch(mode=0o600)
    path.write_text(_digest(token))
    return f"{office.base_url()}/first-start/{token}"


def _path() -> Path:
    return settings().data / FIRST_START_FILE


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _is_first_start(token: str) -> bool:
    path = _path()
    return nobody_yet() and path.exists() and hmac.compare_digest(path.read_text().strip(), _digest(token))


class FirstAccountForm(FlaskForm):
    """The account of the admin."""

    name = StringField(
        _l("Your name"), [DataRequired(), Length(max=200)], render_kw={"autocomplete": "name", "autofocus": True}
    )
    email = StringField(
        _l("Your email address"), [InputRequired(), Length(max=320)], render_kw={"autocomplete": "username"}
    )
    password = PasswordField(
        _l("Password"),
        [InputRequired(), Length(max=LONGEST_PASSWORD)],
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
        return _over()
    form = FirstAccountForm()
    if form.validate_on_submit():
        db.session.rollback()  # hashing is slow on purpose and must not hold a transaction
        try:
            hashed = hash_checked(form.password.data, form.name.data, form.email.data)
            user = _only_account(form, hashed)
        except AccountError as error:
            db.session.rollback()
            flash(str(error), "error")
        else:
            return _welcome(user) if user else _over()
    return render_template("security/first_start.html", form=form)


def _only_account(form: FirstAccountForm, hashed: str) -> User | None:
    """Make the account and commit; None when somebody with the same link was quicker."""
    if db.engine.dialect.name == "postgresql":  # on SQLite one transaction writes at a time anyway
        db.session.execute(text('LOCK TABLE "user" IN SHARE ROW EXCLUSIVE MODE'))
    if not nobody_yet():
        db.session.rollback()
        return None
    user = auth.add_user(form.email.data, form.name.data, hashed, "admin", now())
    office.learn_address(request.url_root, now())
    db.session.commit()
    _path().unlink(missing_ok=True)
    return user


def _welcome(user: User) -> ResponseReturnValue:
    sessions.start(user)
    flash(gettext("Welcome, %(name)s. Your office is ready.", name=user.name), "success")
    return redirect(url_for("start"))


def _over() -> ResponseReturnValue:
    return render_template("security/first_start_over.html"), 410

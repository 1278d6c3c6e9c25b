"""Who may come in: log-in with a password (Argon2), roles, developer mode, accounts."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, TypeVar, cast

from flask import (
    Blueprint,
    Flask,
    abort,
    current_app,
    flash,
    redirect,
    request,
    session,
    url_for,
)
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_login import current_user, login_required
from flask_security import Security, SQLAlchemyUserDatastore
from flask_security.forms import LoginForm as StockLoginForm
from flask_security.forms import VerifyForm as StockVerifyForm
from flask_security.mail_util import EmailValidateException, MailUtil
from sqlalchemy import exists, select
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect
from wtforms import Form

from mail.documents.contacts import find_or_make
from mail.message.address import normalise
from mail.sentences import say, why
from mail.settings import office
from mail.settings.config import Settings
from models import User, db
from models.user import ROLES
from webapp import sessions
from webapp.passwords import AccountError, hash_checked

OWN_PAGE = re.compile(r"/(?!/)[^\\\x00-\x1f\x7f]*")

View = TypeVar("View", bound=Callable[..., Any])

blueprint = Blueprint("accounts", __name__)


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
        if request.method == "POST":
            return sessions.log_in_again()
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


def landing_page(address: str) -> str:
    """Return the page that a log-in leads to: what was asked for, or the next page above that can be opened."""
    page = own_page(address)
    if page and _opens(page.partition("?")[0]):
        return page
    path = page.partition("?")[0]
    while path and not _opens(path):
        path = path.rpartition("/")[0]
    return path or url_for("start")


def _opens(path: str) -> bool:
    """Whether a path is a page, and no address that only takes forms."""
    adapter = current_app.create_url_adapter(request)
    try:
        return adapter is not None and bool(adapter.match(path, method="GET"))
    except RequestRedirect:  # to the same with a slash at its end
        return True
    except HTTPException:
        return False


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

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if request.method == "GET" and self.next.data:
            self.next.data = landing_page(self.next.data)

    def validate_next(self, field: Any) -> None:
        field.data = own_page(field.data or "") or url_for(
            "start"
        )  # a link that leads away from us leads to the start instead

    def validate(self, **kwargs: Any) -> bool:
        if not Form.validate(self, **kwargs):
            return False
        found = sessions.account_of(self.email.data or "", self.password.data or "")
        if isinstance(found, str):
            self.form_errors.append(found)
            return False
        sessions.prepare(found, bool(self.remember.data))
        self.user, self.ifield, self.user_authenticated = found, self.email, True
        return True


class VerifyForm(StockVerifyForm):
    """The password of somebody who is logged in, typed once more; wrong ones count as at the log-in."""

    def validate(self, **kwargs: Any) -> bool:
        if not Form.validate(self, **kwargs):
            return False
        self.next.data = own_page(self.next.data or "") or url_for("start")
        problem = sessions.password_problem(self.user, self.password.data or "")
        if problem:
            self.password.errors = [*self.password.errors, problem]
        return not problem


# --- accounts


def create_user(address: str, name: str, password: str, role: str, moment: datetime) -> User:
    """Add an account and its contact, and return it; the caller commits. Raises ``AccountError`` with a sentence."""
    return add_user(address, name, hash_checked(password, name, address), role, moment)


def add_user(address: str, name: str, hashed: str, role: str, moment: datetime) -> User:
    """Add an account whose password is hashed already; the caller commits. Raises ``AccountError`` with a sentence."""
    key = new_address(address)
    if role not in ROLES:
        raise AccountError(gettext("The role must be one of %(roles)s.", roles=", ".join(ROLES)))
    contact = find_or_make(key, name, moment)
    contact.name = name.strip() or contact.name or key.partition("@")[0]
    user = User(contact=contact, email=key, password=hashed, role=role)
    db.session.add(user)
    db.session.flush()
    return user


def new_address(address: str) -> str:
    """Return the address of a new account as it is compared; raises ``AccountError`` with a sentence."""
    key = normalise(address)
    if key is None:
        raise AccountError(gettext("%(address)s is not an email address.", address=address))
    if office.comes_back(key):
        raise AccountError(say(why("address_of_ours", address=key)))
    if db.session.scalar(select(exists().where(User.email == key))):
        raise AccountError(gettext("There is already an account for %(address)s.", address=key))
    return key


def assert_access_stays(user: User, by: User) -> None:
    """Raise ``AccountError`` with a sentence when administrators are about to shut themselves out."""
    if user.id is not None and user.id == by.id and (user.role != "admin" or not user.active):
        raise AccountError(gettext("You can't remove your own access. Ask another administrator to do it."))


def set_password(user: User, hashed: str) -> None:
    """Give an account a password that is hashed already, and end all of its sessions; the caller commits."""
    user.password = hashed
    if user.id is not None:
        sessions.end_all(user.id)


# --- how Flask-Security is set up


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
        "REMEMBER_COOKIE_DURATION": sessions.REMEMBERED,
        "PERMANENT_SESSION_LIFETIME": timedelta(days=14),  # a longer time than any session has: see sessions
        "SECURITY_PASSWORD_HASH": "argon2",
        "SECURITY_PASSWORD_SCHEMES": ["argon2"],
        "SECURITY_PASSWORD_SINGLE_HASH": True,  # Argon2 adds its own salt; a database alone is enough to log in
        "SECURITY_DEPRECATED_PASSWORD_SCHEMES": [],
        "SECURITY_REGISTERABLE": False,
        "SECURITY_RECOVERABLE": False,
        "SECURITY_JOIN_USER_ROLES": False,
        "SECURITY_SEND_REGISTER_EMAIL": False,
        "SECURITY_LOGOUT_METHODS": ["POST"],
        "SECURITY_POST_LOGIN_VIEW": "/",
        "SECURITY_POST_LOGOUT_VIEW": "/login",
        "SECURITY_POST_VERIFY_VIEW": "/",
        "SECURITY_USER_IDENTITY_ATTRIBUTES": [{"email": {"mapper": _as_address, "case_insensitive": True}}],
        "SECURITY_FLASH_MESSAGES": False,
    }


def _as_address(text: str) -> str | None:
    return normalise(text)


def init_app(app: Flask) -> None:
    """Connect log-in, accounts and developer mode with an application."""
    # The role is a word on the account, not a table of its own.
    accounts = SQLAlchemyUserDatastore(db, User, None)  # type: ignore[arg-type]
    security = Security(app, accounts, login_form=LoginForm, verify_form=VerifyForm, mail_util_cls=Addresses)
    # Its permissions are not ours, and they would read the account for every picture.
    security.principal.identity_loaders.clear()
    sessions.init_app(app)
    app.register_blueprint(blueprint)

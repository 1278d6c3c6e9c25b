"""Pages that say no: what went wrong, what to do next, and what was typed, so that it can be sent again.

When the database is what failed, nothing here asks it: not for the reader, not for their language.
"""

import logging
import re
import time
from typing import Any, NamedTuple

from flask import Flask, current_app, g, has_request_context, make_response, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from flask_wtf.csrf import CSRFError
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from werkzeug.exceptions import BadRequest, HTTPException, TooManyRequests

from mail.settings.config import settings
from models import db
from models.faults import DatabaseFault, fault_of

log = logging.getLogger("coquimail.web")

SECRET_NAMES = re.compile(r"password|secret|token|_key$|^(present|new|again)$", re.I)
SHOWN_FROM = 40  # letters: what is shorter is sent again without being shown
LOG_EVERY = 60.0  # seconds between two lines about the same fault of the database
RELOAD_AFTER = 5  # seconds
LAST_RESORT = "<!doctype html><title>CoquiMail</title><h1>{title}</h1><p>{text}</p>"


class StopPage(NamedTuple):
    """What a page that says no shows. ``comes_back``: it is worth asking again; ``lost``: nothing was saved."""

    code: int
    title: Any
    text: Any
    comes_back: bool = False
    lost: bool = False

    def explanation(self) -> str:
        """Return the text; whoever sent something also learns what became of it."""
        words = str(self.text)
        return f"{gettext('Nothing was saved.')} {words}" if self.lost and request.method == "POST" else words


OUR_FAULT = StopPage(
    500,
    _l("Something went wrong on our side"),
    _l("The error has been logged; try again in a moment."),
    lost=True,
)
MAYBE_SAVED = _l("What you sent may have been saved before this happened. Check before you send it again.")
DATABASE_PAGES = {
    DatabaseFault.AWAY: StopPage(
        503,
        _l("The database is not available"),
        _l("It may be restarting: try again in a moment. If this continues, tell your administrator."),
        comes_back=True,
        lost=True,
    ),
    DatabaseFault.BUSY: StopPage(
        503,
        _l("The database is busy"),
        _l("Something else is using the database. Try again in a moment."),
        comes_back=True,
        lost=True,
    ),
    DatabaseFault.FULL: StopPage(
        507,
        _l("The disk is full"),
        _l("Ask the person who maintains this server to free some space, then try again."),
        lost=True,
    ),
    DatabaseFault.BROKEN: StopPage(
        500,
        _l("The database can't be read or written"),
        _l("Ask the person who maintains this server to check its disk, then try again."),
        lost=True,
    ),
    DatabaseFault.UNSTORABLE: StopPage(
        400,
        _l("This can't be saved"),
        _l("A number is too large, or a text is too long or contains a character that can't be stored. Correct it."),
    ),
}


class Unstorable(BadRequest):
    """A request holds a number or a character that no database stores."""


class TypedField(NamedTuple):
    """A field of the form that failed. A secret is never shown again: it has to be typed anew."""

    name: str
    value: str
    secret: bool

    @property
    def shown(self) -> bool:
        return not self.secret and (len(self.value) > SHOWN_FROM or "\n" in self.value)


def init_app(app: Flask) -> None:
    """Give the application its pages for what goes wrong."""
    app.register_error_handler(HTTPException, explain)
    app.register_error_handler(Exception, apologise)


def lost_connection(error: Exception) -> bool:
    """Whether an error says no more than that a kept connection is gone: a new one may work."""
    return isinstance(error, DBAPIError) and error.connection_invalidated


def explain(error: HTTPException) -> ResponseReturnValue:
    """Answer what was asked for wrongly: not there, not yours, too large."""
    if error.code is None or error.code < 400:
        return error
    original = getattr(error, "original_exception", None)  # a page that failed while it was explained or sent
    if original is not None:
        return apologise(original)
    keep = isinstance(error, CSRFError | Unstorable)
    again = isinstance(error, Unstorable) or (isinstance(error, CSRFError) and _is_from_our_page())
    answer = make_response(_answer(_page_for(error), typed_fields() if keep else [], again=again))
    if isinstance(error, TooManyRequests):
        answer.headers["Retry-After"] = str(error.retry_after)
    return answer


def _is_from_our_page() -> bool:
    """Whether the browser says that a form comes from a page of ours: only then is it offered to send it again."""
    return request.headers.get("Origin", "") == request.host_url.rstrip("/")


def _page_for(error: HTTPException) -> StopPage:
    if isinstance(error, Unstorable):
        return DATABASE_PAGES[DatabaseFault.UNSTORABLE]
    title, text = gettext("That did not work"), gettext("Go back and try again.")
    if isinstance(error, CSRFError):
        title = gettext("This page is no longer valid")
        text = gettext("It was open for too long, or you were logged out. Nothing was changed: go back and reload it.")
        if _is_from_our_page():
            text = gettext("It was open for too long, or you were logged out. Nothing was changed yet.")
    elif error.code in WORDS:
        title, text = (str(words) for words in WORDS[error.code])
        text = text.replace("{size}", str((request.max_content_length or 0) // 1024 // 1024))
    return StopPage(error.code or 500, title, text)


WORDS: dict[int | None, tuple[Any, Any]] = {
    403: (
        _l("You do not have access to this page"),
        _l("If you need access, ask your administrator to change your role."),
    ),
    404: (
        _l("Page not found"),
        _l("It may have been deleted, or the link is incomplete. Check the link, or start from the home page."),
    ),
    405: (
        _l("This address works only from its page"),
        _l("Open the page it belongs to and use the button there."),
    ),
    413: (
        _l("The files are too large"),
        _l("Files in one form may be {size} MB in total. Send fewer or smaller files."),
    ),
    429: (
        _l("Too many requests"),
        _l("Wait a minute, then try again."),
    ),
}


def apologise(error: Exception) -> ResponseReturnValue:
    """Answer what we or the database failed at, without asking the database for anything."""
    fault = fault_of(error)
    _log(error, fault)
    if settings().testing and fault is None:
        raise error
    _forget_database()
    page = DATABASE_PAGES[fault] if fault else OUR_FAULT
    again = request.method == "POST"
    if again and _may_be_saved(fault):
        page, again = page._replace(text=MAYBE_SAVED, lost=False), False
    return _answer(page, typed=typed_fields(), again=again, alone=True)


# --- whether something was saved although the request failed


@event.listens_for(db.session, "before_commit")
def _begin_to_save(_session: object) -> None:
    if has_request_context():
        g.saving = True


@event.listens_for(db.session, "after_commit")
def _note_saved(_session: object) -> None:
    if has_request_context():
        g.saving, g.saved = False, True


def _may_be_saved(fault: DatabaseFault | None) -> bool:
    """Whether a part was saved, or the connection was cut in the commit: then nobody but the database knows."""
    return "saved" in g or (fault is DatabaseFault.AWAY and "saving" in g and g.saving)


def _log(error: Exception, fault: DatabaseFault | None, told: dict[DatabaseFault, float] = {}) -> None:  # noqa: B006
    if fault is None:
        log.error("unexpected error at %s", request.endpoint, exc_info=error)
    elif time.monotonic() - told.get(fault, -LOG_EVERY) >= LOG_EVERY:
        told[fault] = time.monotonic()
        log.error("database %s at %s", fault.value, request.endpoint, exc_info=error)


def _forget_database() -> None:
    """Leave the transaction that failed, and the reader that it knew."""
    try:
        db.session.remove()
    except SQLAlchemyError:
        db.session.registry.clear()
    g._login_user = current_app.login_manager.anonymous_user()  # type: ignore[attr-defined]  # where Flask-Login looks


def typed_fields() -> list[TypedField]:
    """Return what the form of a failed request held, but for its own token."""
    if request.method != "POST":
        return []
    try:
        pairs = list(request.form.items(multi=True))
    except Exception:  # a body that can't be read is the fault itself
        return []
    return [TypedField(name, value.replace("\0", ""), bool(SECRET_NAMES.search(name)))
            for name, value in pairs if name != "csrf_token"]  # fmt: skip


def names_of_files() -> list[str]:
    """Return the fields of a failed request that held files: they have to be chosen anew."""
    return sorted({name for name, file in request.files.items(multi=True) if file.filename})


def _answer(page: StopPage, typed: list[TypedField], again: bool = False, alone: bool = False) -> ResponseReturnValue:
    """Return the page. ``again``: with a button that sends what was typed; ``alone``: without the menu."""
    if not alone:
        db.session.rollback()
    reload = page.comes_back and request.method in ("GET", "HEAD")
    if request.headers.get("X-Fragment") or request.accept_mimetypes.best == "application/json":
        answer = make_response({"error": str(page.title), "text": page.explanation()}, page.code)
    else:
        answer = make_response(_rendered(page, typed, again, alone, reload), page.code)
    if page.comes_back:
        answer.headers["Retry-After"] = str(RELOAD_AFTER)
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _rendered(page: StopPage, typed: list[TypedField], again: bool, alone: bool, reload: bool) -> str:
    try:
        return render_template(
            "pages/stop.html",
            page=page,
            typed=typed,
            again=again,
            alone=alone,
            files=names_of_files() if again else [],
            reload=RELOAD_AFTER if reload else 0,
            home=url_for("start"),
        )
    except Exception:
        if not alone:
            raise
        log.exception("the page for an error failed itself")
        return LAST_RESORT.format(title=page.title, text=page.explanation())

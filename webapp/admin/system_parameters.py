"""System Parameters: every parameter of the catalogue, set or not, and keys that are not in it."""

from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_login import current_user
from sqlalchemy import delete, select

from mail.incoming import aliases
from mail.settings import office
from mail.settings.clock import now
from mail.settings.parameters import CATALOGUE, CATCHALL_DOMAIN, NotValid, Parameter
from models import SystemParameter, User, db
from webapp import auth, sessions
from webapp.pages import settings as general

blueprint = Blueprint("system_parameters", __name__, url_prefix="/admin/system-parameters")

LONGEST_KEY = 200


@dataclass(frozen=True)
class ParameterEntry:
    """A parameter as the page shows it. ``known`` is None for a key that the catalogue does not have."""

    key: str
    value: str
    known: Parameter[Any] | None
    changed_at: datetime | None = None
    changed_by: str = ""
    stored: bool = False

    @property
    def changed(self) -> bool:
        """Whether it differs from its default."""
        return bool(self.value) and (self.known is None or self.value != self.default)

    @property
    def default(self) -> str:
        return shown(self.known.default) if self.known else ""

    @property
    def effective(self) -> str:
        """The value that counts."""
        return self.value or self.default

    @property
    def meant(self) -> str:
        """The key of the catalogue that somebody may have meant, "" for none."""
        return nearest(self.key) if self.known is None else ""

    @property
    def long(self) -> bool:
        """Whether the value is better written into several lines."""
        return self.key == "company.address" or "\n" in self.value

    def matches(self, words: list[str]) -> bool:
        """Whether each of these words occurs in it."""
        text = f"{self.key} {self.effective} {self.known.help if self.known else ''}".lower()
        return all(word in text for word in words)


def shown(value: Any) -> str:
    """Return a typed value as it is typed.

    >>> shown(25), shown(("a@b.c", "d@e.f")), shown(""), shown(())
    ('25', 'a@b.c, d@e.f', '', '')
    """
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def nearest(key: str) -> str:
    """Return the key of the catalogue that looks like this one, "" when none does.

    >>> nearest("mail.catchal.domain"), nearest("my.own.key")
    ('mail.catchall.domain', '')
    """
    return next(iter(get_close_matches(key.strip().lower(), CATALOGUE, n=1, cutoff=0.8)), "")


def entries() -> list[ParameterEntry]:
    """Return the whole catalogue and the keys beside it, by key."""
    rows = {
        row.key: ParameterEntry(
            row.key, row.value, CATALOGUE.get(row.key), row.changed_at, str(user or ""), stored=True
        )
        for row, user in db.session.execute(
            select(SystemParameter, User).outerjoin(User, User.id == SystemParameter.changed_by_id)
        )
    }
    unset = {key: ParameterEntry(key, "", known) for key, known in CATALOGUE.items() if key not in rows}
    return [found for _key, found in sorted({**rows, **unset}.items())]


@blueprint.get("/")
@auth.roles_required("admin")
def index_view() -> ResponseReturnValue:
    """Show all parameters, or those that have the words that were searched for."""
    search = request.args.get("search", "").strip()
    only = request.args.get("only", "")
    found = [one for one in entries() if one.matches(search.lower().split())]
    if only == "changed":
        found = [one for one in found if one.changed]
    elif only == "unknown":
        found = [one for one in found if one.known is None]
    return render_template("admin/system_parameters.html", entries=found, search=search, only=only)


@blueprint.route("/new", methods=("GET", "POST"))
@auth.roles_required("admin")
@sessions.fresh_login
def new() -> ResponseReturnValue:
    """Set a key by its name; one that the catalogue does not have is kept and marked."""
    key, value = request.form.get("key", "").strip(), request.form.get("value", "")
    error = ""
    if request.method == "POST":
        if not key or any(character.isspace() for character in key) or len(key) > LONGEST_KEY:
            error = gettext("Enter a key without spaces, such as mail.default.from.")
        elif not value.strip():
            error = gettext("Enter a value.")
        else:
            error = _put(key, value)
        if not error:
            if key not in CATALOGUE and (meant := nearest(key)):
                flash(
                    gettext("%(key)s is saved, but CoquiMail does not use it. Did you mean %(meant)s?",
                            key=key, meant=meant),
                    "warning",
                )  # fmt: skip
            return redirect(url_for(".index_view"))
        flash(error, "error")
    return render_template("admin/system_parameter_new.html", key=key, value=value)


@blueprint.route("/edit", methods=("GET", "POST"))
@auth.roles_required("admin")
@sessions.fresh_login
def edit() -> ResponseReturnValue:
    """Show one parameter, or save its value."""
    entry = _entry(request.args.get("key", ""))
    if entry is None:
        flash(gettext("This key does not exist; see the list."), "error")
        return redirect(url_for(".index_view"))
    value, error = entry.value, ""
    if request.method == "POST":
        value = request.form.get("value", "")
        error = _put(entry.key, value)
        if not error:
            return redirect(url_for(".index_view"))
    return render_template("admin/system_parameter.html", entry=entry, value=value, error=error)


@blueprint.post("/reset")
@auth.roles_required("admin")
@sessions.fresh_login
def reset() -> ResponseReturnValue:
    """Give a parameter its default back; a key that the catalogue does not have is deleted."""
    entry = _entry(request.form.get("key", ""))
    if entry is None:
        return redirect(url_for(".index_view"))
    if entry.known is None:
        db.session.execute(delete(SystemParameter).where(SystemParameter.key == entry.key))
        db.session.commit()
        office.forget()
        flash(gettext("%(name)s was deleted.", name=entry.key), "success")
    else:
        error = _put(entry.key, "")
        if error:
            flash(error, "error")
    return redirect(url_for(".index_view"))


def _entry(key: str) -> ParameterEntry | None:
    return next((one for one in entries() if one.key == key), None)


def _put(key: str, value: str) -> str:
    """Set a parameter and return "", or the sentence that says why not. Commits, and tells the person."""
    before = CATCHALL_DOMAIN.get()
    try:
        moved = aliases.put(key, value, now(), current_user.id)
        db.session.commit()
    except NotValid as error:
        db.session.rollback()
        return str(error)
    office.forget()
    general.tell_domain_change(before, moved)
    if value.strip():
        flash(gettext("%(key)s saved.", key=key), "success")
    else:
        flash(gettext("%(key)s reset to its default.", key=key), "success")
    return ""

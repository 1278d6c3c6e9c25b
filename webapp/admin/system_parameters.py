"""System Parameters: every parameter of the catalogue, set or not, and keys that are not in it."""

from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from typing import Any

from flask import flash, redirect, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from flask_login import current_user
from sqlalchemy import select
from wtforms import Field, Form
from wtforms.validators import ValidationError
from wtforms.widgets import TextInput

from mail.deliverability.requests import ask_where_changed
from mail.incoming import aliases
from mail.settings import office
from mail.settings.clock import now
from mail.settings.parameters import CATALOGUE, CATCHALL_DOMAIN, INTERNAL, VERP, NotValid, Parameter
from models import SystemParameter, User, db
from webapp.admin import servers
from webapp.admin.base import AdminView, Button, ChoiceFilter, FieldGroup, expose
from webapp.admin.listing import Page
from webapp.pages import settings as general

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

    >>> shown(25), shown(("a@b.c", "d@e.f")), shown(""), shown(()), shown(None)
    ('25', 'a@b.c, d@e.f', '', '', '')
    """
    if value is None:
        return ""
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
        if not row.key.startswith(INTERNAL)
    }
    unset = {key: ParameterEntry(key, "", known) for key, known in CATALOGUE.items() if key not in rows}
    return [found for _key, found in sorted({**rows, **unset}.items())]


def a_key(form: Form, field: Field) -> None:
    """Refuse what is no key."""
    if not field.data or any(character.isspace() for character in field.data) or len(field.data) > LONGEST_KEY:
        raise ValidationError(gettext("Enter a key without spaces, such as mail.default.from."))
    if field.data.lower().startswith(INTERNAL):
        raise ValidationError(gettext("Keys that begin with %(start)s are kept by CoquiMail itself.", start=INTERNAL))


class SystemParameterView(AdminView):
    """List and form of the system parameters. A row is there once its parameter was set; the list has all of them."""

    model, page, path = SystemParameter, "system_parameters", "system-parameters"
    title, one = _l("System Parameters"), _l("system parameter")
    lead = _l("All adjustable settings. Changes take effect immediately, without a restart.")
    trail = (_l("Settings"), _l("Technical"), _l("Parameters"))
    small = fresh_login = True
    can_export = can_delete = False
    columns = ("key", "value")
    searchable = ("key",)
    filters = (ChoiceFilter("only", _l("Show"), (("changed", _l("changed")), ("unknown", _l("unknown keys")))),)
    default_sort = "key"
    list_template = "admin/system_parameters.html"
    create_template = "admin/system_parameter_new.html"
    edit_template = "admin/system_parameter.html"
    labels = {"key": _l("Key"), "value": _l("Value")}
    groups = (FieldGroup(_l("Parameter"), ("key", "value")),)
    examples = {"key": "mail.default.from"}
    form_args = {
        "key": {"filters": [servers.trimmed], "validators": [a_key], "render_kw": {"maxlength": LONGEST_KEY}},
        "value": {"render_kw": {"autocomplete": "off", "spellcheck": "false"}},
    }
    buttons = (
        Button("reset", _l("Reset to default"), "arrow-back-up", when=lambda row: row.key in CATALOGUE and row.value),
        Button(
            "remove",
            _l("Delete"),
            "trash",
            look="danger",
            confirm=_l("Delete this key? This can't be undone."),
            when=lambda row: row.key not in CATALOGUE,
        ),
    )

    # --- the list

    def _page(self) -> Page:
        found = [one for one in entries() if one.matches(request.args.get("search", "").lower().split())]
        match request.args.get("only"):
            case "changed":
                found = [one for one in found if one.changed]
            case "unknown":
                found = [one for one in found if one.known is None]
        return Page(found, "", "", len(found))

    def row_url(self, row: Any) -> str:
        return str(self.get_url(".edit_view", key=row.key))

    # --- the form

    @expose("/edit", methods=("GET", "POST"))
    def edit_view(self) -> ResponseReturnValue:
        """Show one parameter by its key, or save its value."""
        key = request.args.get("key", "")
        row = db.session.scalar(select(SystemParameter).where(SystemParameter.key == key))
        if row is None and key in CATALOGUE:
            row = SystemParameter(key=key, value="")
        if row is None or key.startswith(INTERNAL):
            flash(gettext("This key does not exist; see the list."), "error")
            return redirect(self.get_url(".index_view"))
        form = self.edit_form(row)
        if request.method == "POST" and self._may_be_saved(form) and self._saved(form, row, is_new=False):
            return redirect(self.get_url(".index_view"))
        answer: str = self.render(self.edit_template, form=form, row=row, entry=self.entry_of(row))
        return answer

    def edit_form(self, obj: Any = None) -> Any:
        form = super().edit_form(obj)
        del form.key  # a key is never renamed: what it means depends on it
        entry = self.entry_of(obj)
        form.value.description = self.help_of(entry)
        form.value.render_kw = {"placeholder": entry.default, **form.value.render_kw}
        if not entry.long:
            form.value.widget = TextInput()
        return form

    def help_of(self, entry: ParameterEntry) -> str:
        """Return what a parameter does, and what keeps it from doing so everywhere."""
        words = str(entry.known.help) if entry.known else gettext("Any text.")
        missing = aliases.without_plus() if entry.key == VERP.key else []
        if missing:
            still = gettext("Still to arrive: an email to %(addresses)s.", addresses=", ".join(missing))
            words = f"{words} {still}"
        return words

    def entry_of(self, row: SystemParameter) -> ParameterEntry:
        """Return a parameter as the page shows it."""
        return next((one for one in entries() if one.key == row.key), ParameterEntry(row.key, "", None))

    def _saved(self, form: Any, row: SystemParameter, is_new: bool) -> bool:
        """Set the parameter by its own rules, and tell the person what follows."""
        key, value = form.key.data if is_new else row.key, form.value.data or ""
        error = gettext("Enter a value.") if is_new and not value.strip() else self._put(key, value)
        if error:
            form.value.errors = [*form.value.errors, error]
            flash(servers.NOT_SAVED, "error")
            return False
        if is_new and key not in CATALOGUE and (meant := nearest(key)):
            words = gettext("%(key)s is saved, but CoquiMail does not use it. Did you mean %(meant)s?",
                            key=key, meant=meant)  # fmt: skip
            flash(words, "warning")
        return True

    def _next_page(self, row: Any, words: str) -> ResponseReturnValue:
        return redirect(self.get_url(".index_view"))

    def _put(self, key: str, value: str) -> str:
        """Set a parameter and return "", or the sentence that says why not. Commits, and tells the person."""
        before = CATCHALL_DOMAIN.get()
        try:
            moved = aliases.put(key, value, now(), current_user.id)
            db.session.commit()
        except NotValid as error:
            db.session.rollback()
            return str(error)
        ask_where_changed(now())
        general.tell_domain_change(before, moved)
        if value.strip():
            flash(gettext("%(key)s saved.", key=key), "success")
        else:
            flash(gettext("%(key)s reset to its default.", key=key), "success")
        return ""

    # --- back to the default

    def press_reset(self, row: SystemParameter) -> ResponseReturnValue:
        """Give a parameter its default back."""
        error = self._put(row.key, "")
        if error:
            flash(error, "error")
        return redirect(self.get_url(".index_view"))

    def press_remove(self, row: SystemParameter) -> ResponseReturnValue:
        """Delete a key that the catalogue does not have."""
        key = row.key
        db.session.delete(row)
        db.session.commit()
        office.forget()
        flash(gettext("%(name)s was deleted.", name=key), "success")
        return redirect(self.get_url(".index_view"))

"""Two windows on the same thing: no saving undoes what another one changed meanwhile.

A form sends along what each of its fields held when the page was made. What only the other window changed stays as it
is now; what both changed stops the saving, says so at the field, and is saved when the person presses Save again.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from flask import flash, request
from flask_babel import gettext
from wtforms import Field, Form, PasswordField

from webapp.template_helpers import format_datetime

LOADED = "_loaded"  # the hidden field
SIMPLE = (str, int, float, Decimal, datetime, list, type(None))


class Merged(NamedTuple):
    """The names of what only somebody else changed, and of what both changed."""

    kept: list[str]
    clashing: list[str]


def merge(loaded: Mapping[str, Any], saved: Mapping[str, Any], typed: Mapping[str, Any]) -> Merged:
    """Compare what fields held when the page was made, what is saved now, and what is to be saved.

    >>> merge({"host": "a", "port": 1}, {"host": "b", "port": 2}, {"host": "a", "port": 3})
    Merged(kept=['host'], clashing=['port'])
    >>> merge({"host": "a", "port": 1}, {"host": "a", "port": 2}, {"host": "c", "port": 2})
    Merged(kept=[], clashing=[])
    """
    changed = [name for name in loaded if name in saved and name in typed and loaded[name] != saved[name]]
    kept = [name for name in changed if typed[name] == loaded[name]]
    return Merged(kept, [name for name in changed if name not in kept and typed[name] != saved[name]])


def mark(value: Any) -> str:
    """Return a short text that is another one for another value, as forms tell values apart.

    >>> mark("two\\nlines") == mark("two\\r\\nlines "), mark(None) == mark(""), mark(1) == mark("1"), mark(1) == mark(2)
    (True, True, True, False)
    """
    if isinstance(value, datetime):
        value = value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M")
    text = "" if value is None else str(sorted(map(str, value)) if isinstance(value, list) else value)
    return hashlib.sha256(text.replace("\r\n", "\n").strip().encode()).hexdigest()[:16]


def marks(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the mark of each value."""
    return {name: mark(value) for name, value in values.items()}


def holds(field: Field, value: Any, shows: bool) -> None:
    """Tell a field the value that is saved, where that is no column of its row; ``shows``: nothing else was typed."""
    field.object_data = value
    if shows:
        field.data = value


def loaded_marks(form: Form) -> str:
    """Return what a form sends along: a mark of each value as it is saved, or was when the page was first made."""
    if LOADED in request.form and not getattr(form, "clashed", False):
        return request.form[LOADED]
    return json.dumps(marks({name: field.object_data for name, field in _fields(form).items()}))


def nothing_clashes(form: Form) -> bool:
    """Take over into a form what only somebody else changed, and tell the person; False when fields clash."""
    fields, loaded = _fields(form), _sent()
    saved = marks({name: field.object_data for name, field in fields.items()})
    merged = merge(loaded, saved, marks({name: field.data for name, field in fields.items()}))
    for name in merged.kept:
        fields[name].data, fields[name].raw_data = fields[name].object_data, None
    for name in merged.clashing:
        fields[name].errors = [*fields[name].errors, clash(fields[name].object_data, fields[name])]
    tell({name: field.label.text for name, field in fields.items()}, merged)
    form.clashed = bool(merged.clashing)
    return not merged.clashing


def tell(labels: Mapping[str, Any], merged: Merged) -> None:
    """Say what somebody else changed."""
    if merged.clashing:
        flash(gettext("Not saved: somebody changed this meanwhile. Compare the marked fields and save again."), "error")
    if merged.kept:
        names = ", ".join(str(labels[name]) for name in merged.kept)
        flash(gettext("Somebody changed this meanwhile. It stays as it is now: %(fields)s.", fields=names), "warning")


def clash(saved: Any, field: Field | None = None) -> str:
    """Return the sentence for a field that two people changed."""
    text = _shown(saved, field)
    if len(text) > 200 or "\n" in text:
        return gettext(
            "Somebody changed this meanwhile. Open the page in another window to compare, or save again to keep your "
            "version."
        )
    return gettext("Somebody changed this to “%(text)s” meanwhile. Save again to keep your version.", text=text)


def _fields(form: Form) -> dict[str, Field]:
    """The fields that can be compared. A secret can't: it is never shown, and blank keeps it."""
    return {
        name: field
        for name, field in form._fields.items()
        if not isinstance(field, PasswordField) and isinstance(field.object_data, SIMPLE)
    }


def _sent() -> dict[str, str]:
    """The marks that came with a form; none from a page or a program that sends none."""
    try:
        found = json.loads(request.form.get(LOADED, "{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _shown(value: Any, field: Field | None) -> str:
    """A value as its field shows it."""
    if isinstance(value, bool):
        return gettext("on") if value else gettext("off")
    if isinstance(value, datetime):
        return format_datetime(value)
    values = value if isinstance(value, list) else [value]
    return ", ".join(_label(one, field) for one in values)


def _label(value: Any, field: Field | None) -> str:
    if field is not None and hasattr(field, "label_of"):
        return str(field.label_of(value))
    choices: Iterable[Any] = getattr(field, "iter_choices", tuple)()
    labels = {str(choice[0]): str(choice[1]) for choice in choices}
    text = "" if value is None else str(value)
    return labels.get(text, text)

"""Fields of the admin forms, and how columns of ours become such fields."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from flask_admin.contrib.sqla.form import AdminModelConverter
from flask_admin.helpers import get_url
from flask_admin.model.form import converts
from flask_babel import gettext, to_user_timezone, to_utc
from flask_babel import lazy_gettext as _l
from markupsafe import Markup
from sqlalchemy import Select, func, literal, select
from wtforms import BooleanField, Field, PasswordField, StringField, TextAreaField
from wtforms.validators import Optional, ValidationError
from wtforms.widgets import html_params

from models import Unreadable, db
from models.base import Encrypted, Model
from models.search import search

SHOWN_AT_ONCE = 30
NONE_CHOSEN = _l("none")


class SecretField(PasswordField):
    """A secret that can be written but never read: blank keeps the one that is stored. ``is_set`` tells the page."""

    is_set = is_unreadable = False

    def process_data(self, value: Any) -> None:
        self.is_set, self.is_unreadable = bool(value), isinstance(value, Unreadable)
        self.data = ""

    def process_formdata(self, valuelist: list[str]) -> None:
        if valuelist and valuelist[0]:
            self.data = valuelist[0]

    def populate_obj(self, obj: Any, name: str) -> None:
        if self.data:
            setattr(obj, name, self.data)


class SecretTextField(SecretField):
    """A secret of several lines, such as a private key."""


class SwitchField(BooleanField):
    """A yes or no, shown as a switch."""


def moment_of(text: str) -> datetime | None:
    """Return the moment that somebody entered, in their zone; None for what is none.

    >>> moment_of("tomorrow")
    """
    try:
        return to_utc(datetime.fromisoformat(text.strip())).replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


class MomentField(StringField):
    """A date and time, entered in the reader's zone and kept in UTC."""

    def _value(self) -> str:
        if self.raw_data:
            return str(self.raw_data[0])
        return to_user_timezone(self.data).strftime("%Y-%m-%dT%H:%M") if self.data else ""

    def process_formdata(self, valuelist: list[str]) -> None:
        text = valuelist[0].strip() if valuelist else ""
        self.data = moment_of(text)
        if text and self.data is None:
            raise ValueError(gettext("Enter a date and time, such as 2026-03-31T09:30."))


class ReferenceField(Field):
    """Another record by its id. Few records are a plain choice; with ``search`` columns the choice asks the server.

    ``ReferenceField(_l("Contact"), model=Contact, search=("name", "address"), label=lambda c: c.name)``
    """

    def __init__(
        self,
        label: Any = None,
        validators: Sequence[Any] | None = None,
        *,
        model: type[Model],
        search: Sequence[str] = (),
        text: Callable[[Any], str] = str,
        only: Callable[[Select[Any]], Select[Any]] = lambda rows: rows,
        blank: Any = NONE_CHOSEN,
        required: bool = False,
        lookup: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(label, validators or ([] if required else [Optional()]), **kwargs)
        self.model, self.columns, self.text, self.only = model, search, text, only
        self.blank, self.required, self.lookup = blank, required, lookup

    def process_formdata(self, valuelist: list[str]) -> None:
        text = valuelist[0].strip() if valuelist else ""
        if text and not text.isdecimal():
            raise ValueError(gettext("Choose an entry from the list."))
        self.data = int(text) if text else None

    def pre_validate(self, form: Any) -> None:
        if self.data is None:
            if self.required:
                raise ValidationError(gettext("Choose an entry from the list."))
        elif self.chosen() is None:
            raise ValidationError(gettext("This entry no longer exists; choose another."))

    def chosen(self) -> Any:
        """The record that is chosen, None for none or one that may not be chosen."""
        if self.data is None:
            return None
        rows = self.only(select(self.model)).where(self.model.id == self.data)  # type: ignore[attr-defined]
        return db.session.scalar(rows)

    def label_of(self, value: Any) -> str:
        """Return the words for a record by its id."""
        row = db.session.get(self.model, value) if value else None
        return str(self.blank) if row is None else self.text(row)

    def found(self, words: str) -> list[tuple[int, str]]:
        """Return id and text of all records, or of some where they are searched for: the shortest that the words fit.

        Whoever types a whole name, or a number, sees it before those that it is a part of.
        """
        rows, columns = self.only(select(self.model)), [getattr(self.model, name) for name in self.columns]
        key = self.model.id  # type: ignore[attr-defined]
        if words and columns:
            length = sum((func.length(func.coalesce(one, "")) for one in columns), literal(0))
            rows = rows.where(search(words, *columns).rows).order_by(length)
        rows = rows.order_by(key.desc()).limit(SHOWN_AT_ONCE) if columns else rows.order_by(key)
        found = db.session.scalars(rows)
        return [(row.id, self.text(row)) for row in found]

    def widget(self, field: Any, **attributes: Any) -> Markup:
        """Return the select element."""
        attributes.setdefault("id", self.id)
        attributes["name"] = self.name
        if self.required:
            attributes["required"] = True
        options = self.found("") if not self.columns else []
        if self.columns:
            attributes["data-lookup"] = self.lookup or get_url(".lookup", field_name=self.short_name)
            attributes["data-placeholder"] = gettext("Type to search")
            chosen = self.chosen()
            options = [(chosen.id, self.text(chosen))] if chosen is not None else []
        empty = Markup('<option value="">{}</option>').format(self.blank)
        listed = Markup("").join(
            Markup('<option value="{}"{}>{}</option>').format(
                number, Markup(" selected") if number == self.data else "", text
            )
            for number, text in options
        )
        return Markup("<select {}>{}{}</select>").format(Markup(html_params(**attributes)), empty, listed)  # noqa: S704


class Converter(AdminModelConverter):
    """Turns our column types into fields; the rest is Flask-Admin's."""

    @converts("models.base.Encrypted")
    def conv_encrypted(self, field_args: Any, **extra: Any) -> SecretField:
        return SecretField(**field_args)

    @converts("models.base.UtcDateTime")
    def conv_moment(self, field_args: Any, **extra: Any) -> MomentField:
        return MomentField(**field_args)

    @converts("Boolean")
    def conv_boolean(self, field_args: Any, **extra: Any) -> SwitchField:
        field_args["validators"] = [Optional()]
        return SwitchField(**field_args)

    @converts("Text")
    def conv_text(self, column: Any, field_args: Any, **extra: Any) -> TextAreaField:
        self._string_common(column=column, field_args=field_args, **extra)
        return TextAreaField(**field_args)


def is_secret(column: Any) -> bool:
    """Whether a column must never be shown or exported."""
    return isinstance(getattr(column, "type", None), Encrypted)

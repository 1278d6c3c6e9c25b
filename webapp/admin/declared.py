"""What an admin view declares, and the hooks and checks that its list and its form share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from flask import abort, request
from flask.typing import ResponseReturnValue
from flask_admin.contrib.sqla import ModelView
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from sqlalchemy import Select, select
from sqlalchemy.exc import IntegrityError
from wtforms import SelectField
from wtforms.fields.choices import SelectChoice

from models import db
from models.search import SEARCHED
from webapp import auth, sessions
from webapp.admin.listing import Filter
from webapp.fields import Converter, ReferenceField

NOTHING_YET = _l("Nothing here yet")


class ActionRefused(Exception):
    """A change that may not be made; the text tells the person why and what to do instead."""


@dataclass(frozen=True)
class FieldGroup:
    """Fields of a form that belong together, under a title."""

    title: Any
    fields: tuple[str, ...]
    help: Any = ""
    developer: bool = False


@dataclass(frozen=True)
class Button:
    """A button of a record's page: pressing it posts to ``press_<name>``.

    ``save_first`` saves the form before; the form of a new record has only such ones, and not those with ``later``.
    """

    name: str
    label: Any
    icon: str = ""
    save_first: bool = False
    later: bool = False
    confirm: Any = ""
    look: str = ""  # primary, danger, "" for a quiet one
    when: Callable[[Any], bool] = lambda row: True


@dataclass(frozen=True)
class Empty:
    """What a list says that has nothing to show."""

    icon: str = "inbox"
    title: Any = NOTHING_YET
    text: Any = ""


class Declared(ModelView):
    """The declarations of a view, and what both its list and its form ask it."""

    page: ClassVar[str]
    path: ClassVar[str]
    title: ClassVar[Any]
    one: ClassVar[Any]
    lead: ClassVar[Any] = ""
    trail: ClassVar[tuple[Any, ...]] = ()  # words before the title in the breadcrumbs, such as Settings, Technical
    icon: ClassVar[str] = "list"

    roles: ClassVar[frozenset[str] | set[str]] = frozenset({"admin"})
    fresh_login: ClassVar[bool] = False  # whether a change needs a password that was typed lately
    small: ClassVar[bool] = False
    columns: ClassVar[tuple[str, ...]] = ()
    details: ClassVar[tuple[str, ...]] = ()
    exported: ClassVar[tuple[str, ...]] = ()
    eager: ClassVar[tuple[Any, ...]] = ()
    labels: ClassVar[dict[str, Any]] = {}
    sortable: ClassVar[tuple[str, ...]] = ()
    searchable: ClassVar[tuple[str, ...]] = ()
    filters: ClassVar[tuple[Filter, ...]] = ()
    default_sort: ClassVar[str] = "-id"
    formats: ClassVar[dict[str, Callable[[Any, Any], Any]]] = {}
    groups: ClassVar[tuple[FieldGroup, ...]] = ()
    developer_fields: ClassVar[frozenset[str] | set[str]] = frozenset()
    help: ClassVar[dict[str, Any]] = {}
    examples: ClassVar[dict[str, Any]] = {}
    choices: ClassVar[dict[str, Sequence[tuple[str, Any]]]] = {}
    references: ClassVar[dict[str, dict[str, Any]]] = {}
    buttons: ClassVar[tuple[Button, ...]] = ()
    empty: ClassVar[Empty] = Empty()
    stays: ClassVar[Any] = ""  # what is left when a row is deleted, for whoever is about to do that
    rows_per_page: ClassVar[int] = 50

    model_form_converter = Converter
    list_template = "admin/list.html"
    create_template = "admin/form.html"
    edit_template = "admin/form.html"
    details_template = "admin/details.html"
    can_export = True

    def __init__(self) -> None:
        self.form_columns = [name for group in self.groups for name in group.fields]
        self.column_labels = {**self._labels_of_columns(), **self.labels}
        self.form_extra_fields = {
            **(self.form_extra_fields or {}),  # type: ignore[has-type]
            **{
                name: ReferenceField(self.column_labels.get(name, name), **options)
                for name, options in self.references.items()
            },
            **{name: self._choice_field(name) for name in self.choices if name in self.form_columns},
        }
        self.column_list = list(self.columns)
        self.column_details_list = list(self.details or self.columns)
        self.can_view_details = bool(self.details)
        if not self.groups:
            self.can_create = self.can_edit = False
            self.form_columns = [self.key.key]
        super().__init__(self.model, db, name=self.title, endpoint=self.page, url=f"/admin/{self.path}")
        if not self.small:
            self._check_indexes()

    def _choice_field(self, name: str) -> Any:
        column = self.model.__table__.columns[name]
        kind = column.type.python_type
        options = [SelectChoice(value=value, label=label) for value, label in self.choices[name]]
        if column.nullable and not any(option.value == "" for option in options):
            options.insert(0, SelectChoice(value="", label="–"))
        return SelectField(
            self.column_labels.get(name, name),
            choices=options,
            coerce=lambda value: None if value in (None, "") else str(value) == "True" if kind is bool else kind(value),
            default=column.default.arg if column.default is not None and column.default.is_scalar else None,
        )

    @classmethod
    def _labels_of_columns(cls) -> dict[str, str]:
        keys = (attribute.key for attribute in cls.model.__mapper__.attrs)
        return {key: key.removesuffix("_id").removesuffix("_at").replace("_", " ").capitalize() for key in keys}

    def _check_indexes(self) -> None:
        """Refuse at the start what would scan a large table: sorting or filtering without an index."""
        table = self.model.__table__
        led = {index.columns[0].name for index in table.indexes if len(index.columns)}
        led |= {next(iter(constraint.columns)).name for constraint in table.constraints if len(constraint.columns)}
        led |= {column.name for column in table.columns if column.unique or column.primary_key}
        named = led | {column.name for index in table.indexes for column in index.columns}
        partial = " ".join(str(index.dialect_options["sqlite"].get("where")) for index in table.indexes)
        for name in {*self.sortable, self.default_sort.lstrip("-")}:
            column = table.columns[name]
            if name not in led or column.nullable:
                raise ValueError(f"{type(self).__name__}: no index to sort by {name}")
        for name in self.searchable:
            if name not in SEARCHED.get(table.name, ()):
                raise ValueError(f"{type(self).__name__}: no index to search by {name}")
        for one in self.filters:
            if one.name not in named and one.name not in partial:
                raise ValueError(f"{type(self).__name__}: no index to filter by {one.name}")

    @property
    def key(self) -> Any:
        """The primary key of the rows."""
        return self.model.id

    # --- who may

    def is_accessible(self) -> bool:
        return auth.role() in self.roles

    def inaccessible_callback(self, name: str, **kwargs: Any) -> ResponseReturnValue:
        return auth.not_for_you()

    def _handle_view(self, name: str, **kwargs: Any) -> ResponseReturnValue | None:
        refused: ResponseReturnValue | None = super()._handle_view(name, **kwargs)
        if refused is None and self.fresh_login:
            return sessions.confirmation(request.full_path if name in ("create_view", "edit_view") else "")
        return refused

    def _run_view(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return fn(self, *args, **kwargs)

    # --- hooks

    def rows(self) -> Select[Any]:
        """Return the rows that this list has; narrow it in a view that shows only some."""
        return select(self.model)

    def before_save(self, form: Any, row: Any, is_new: bool) -> None:
        """Check or complete a row before it is saved; raise ``ActionRefused`` with a sentence to stop."""

    def after_save(self, row: Any, is_new: bool) -> None:
        """Do what follows from a saved row, after the commit."""

    def why_not_delete(self, row: Any) -> str:
        """Return why a row can't be deleted ("Used in …"), "" when it can."""
        return ""

    def before_delete(self, row: Any) -> None:
        """Do what belongs to the deletion of a row: in its transaction, or long before it in short ones."""

    def after_delete(self, row: Any) -> None:
        """Do what follows from a deleted row, after the commit."""

    def is_off(self, row: Any) -> bool:
        """Whether a row is shown pale."""
        return getattr(row, "active", True) is False

    def title_of(self, row: Any) -> str:
        """Return the words that stand for a row."""
        return str(row)

    # --- what both do

    def _deleted(self, row: Any) -> str:
        """Delete a row and return "", or why not."""
        reason = self.why_not_delete(row)
        if reason:
            return reason
        try:
            self.before_delete(row)
            db.session.delete(row)
            db.session.commit()
        except IntegrityError:
            db.session.rollback()
            return gettext("%(name)s is still in use and can't be deleted.", name=self.title_of(row))
        self.after_delete(row)
        return ""

    # Flask-Admin's own ways to write and to read, which we do not use
    def ajax_lookup(self) -> ResponseReturnValue:
        abort(404)

    def ajax_update(self) -> ResponseReturnValue:
        abort(404)

    def export(self, export_type: str) -> ResponseReturnValue:
        abort(404)

"""``AdminView``: a list and a form for one kind of row, declared in one small class.

    class ServerView(AdminView):
        model, page, path = OutgoingServer, "outgoing_servers", "outgoing-servers"
        title, one = _l("Outgoing Email Servers"), _l("outgoing email server")
        small = True                                  # never more than some hundred rows: everything may be sorted
        columns = ("name", "host", "from_filter", "priority", "active")
        sortable, searchable = ("name", "priority"), ("name", "host")
        filters = (YesNo("active", _l("Active")),)
        default_sort = "priority"                     # "-priority" for descending
        labels = {"from_filter": _l("FROM Filtering")}
        groups = (
            Group(_l("Connection"), ("host", "port", "encryption"), _l("What your provider calls SMTP settings.")),
            Group(_l("Technical"), ("verify_tls",), developer=True),
        )
        help = {"host": _l("The name of the mail server.")}
        examples = {"host": "smtp.mycompany.com"}
        choices = {"encryption": (("none", _l("None")), …)}
        references = {"contact_id": dict(model=Contact, search=("name", "address"))}
        buttons = (Button("test", _l("Test Connection"), "test-pipe", save_first=True),)
        empty = Empty("server", _l("No server of your own yet"), _l("Mail goes through …"))

        def press_test(self, server): ...             # what the button does; a response, or None to come back

``columns`` may name anything that a row has; ``formats = {"state": lambda view, row: looks.state(row.state)}`` says
how it looks. Hooks: ``rows()`` (which rows exist for this reader), ``before_save(form, row, is_new)`` (raise
``ActionRefused`` with a sentence to stop), ``after_save(row, is_new)`` (after the commit: wake the worker here),
``why_not_delete(row)``, ``row_tools(row)`` (HTML at the end of a line; only views that define it have the column).
Bulk actions: Flask-Admin's ``@action("requeue", _l("Send again"), _l("Queue the selected mails again?"))``.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from flask import Response, abort, flash, jsonify, redirect, request, stream_with_context
from flask.typing import ResponseReturnValue
from flask_admin import expose
from flask_admin.actions import action
from flask_admin.contrib.sqla import ModelView
from flask_babel import gettext, ngettext
from flask_babel import lazy_gettext as _l
from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import joinedload
from wtforms import SelectField
from wtforms.fields.choices import SelectChoice

from mail.settings.clock import now
from models import db, reading
from models.search import SEARCHED, contains
from webapp import auth, template_helpers
from webapp.admin.listing import ChoiceFilter, Filter, Order, Page, Since, YesNo, batches, csv_lines, page_of
from webapp.fields import Converter, ReferenceField, is_secret

__all__ = [
    "ActionRefused",
    "AdminView",
    "Button",
    "ChoiceFilter",
    "Empty",
    "FieldGroup",
    "Filter",
    "Since",
    "YesNo",
    "action",
    "expose",
]

log = logging.getLogger("coquimail.web")

LARGEST_SMALL_TABLE = 500
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
    """A button of a record's page: pressing it posts to ``press_<name>``. ``save_first`` saves the form before."""

    name: str
    label: Any
    icon: str = ""
    save_first: bool = False
    confirm: Any = ""
    look: str = ""  # primary, danger, "" for a quiet one
    when: Callable[[Any], bool] = lambda row: True


@dataclass(frozen=True)
class Empty:
    """What a list says that has nothing to show."""

    icon: str = "inbox"
    title: Any = NOTHING_YET
    text: Any = ""


class AdminView(ModelView):
    """The base of all admin views; the head of this file shows how to declare one."""

    page: ClassVar[str]
    path: ClassVar[str]
    title: ClassVar[Any]
    one: ClassVar[Any]
    lead: ClassVar[Any] = ""
    trail: ClassVar[tuple[Any, ...]] = ()  # words before the title in the breadcrumbs, such as Settings, Technical
    icon: ClassVar[str] = "list"

    roles: ClassVar[frozenset[str] | set[str]] = frozenset({"admin"})
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
        if column.nullable:
            options.insert(0, SelectChoice(value="", label="–"))
        return SelectField(
            self.column_labels.get(name, name),
            choices=options,
            coerce=lambda value: kind(value) if value not in (None, "") else None,
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

    def after_delete(self, row: Any) -> None:
        """Do what follows from a deleted row, after the commit."""

    def is_off(self, row: Any) -> bool:
        """Whether a row is shown pale."""
        return getattr(row, "active", True) is False

    def title_of(self, row: Any) -> str:
        """Return the words that stand for a row."""
        return str(row)

    # --- the list

    def search_clause(self, words: str) -> ColumnElement[bool] | None:
        """Return the condition that every word occurs in a searchable column."""
        return contains(words, *(getattr(self.model, name) for name in self.searchable))

    def _asked(self) -> Select[Any]:
        """The rows that the filters and the search of the address leave."""
        rows = self.rows()
        for one in self.filters:
            value = request.args.get(one.name, "")
            clause = one.clause(getattr(self.model, one.name), value) if value else None
            if clause is not None:
                rows = rows.where(clause)
        words = request.args.get("search", "").strip()
        if words and self.searchable:
            clause = self.search_clause(words)
            if clause is not None:
                rows = rows.where(clause)
        return rows

    def _order(self) -> Order:
        sort = request.args.get("sort", "")
        if sort.lstrip("-") not in (*self.sortable, self.default_sort.lstrip("-")):
            sort = self.default_sort
        return Order(getattr(self.model, sort.lstrip("-")), self.key, sort.startswith("-"))

    def _page(self) -> Page:
        rows = self._asked().options(*(joinedload(relation) for relation in self.eager))
        order = self._order()
        if self.small:
            found = list(db.session.scalars(rows.order_by(*order.clauses()).limit(LARGEST_SMALL_TABLE)).unique())
            return Page(found, "", "", len(found))
        return page_of(rows, order, self.rows_per_page, request.args.get("after", ""), request.args.get("before", ""))

    @expose("/")
    def index_view(self) -> ResponseReturnValue:
        """Show the list."""
        order = self._order()
        actions, questions = self.get_actions_list()
        narrowed = [name for name in ("search", *(one.name for one in self.filters)) if request.args.get(name)]
        answer: str = self.render(
            self.list_template,
            page=self._page(),
            sorted_by=order.column.key,
            descending=order.descending,
            actions=[(name, label, questions.get(name, "")) for name, label in actions],
            narrowed=narrowed,
        )
        return answer

    def list_url(self, **changes: Any) -> str:
        """Return the address of this list as it is shown, with some of its arguments changed (None drops one)."""
        arguments = {**request.args.to_dict(), "after": None, "before": None, **changes}
        return str(self.get_url(".index_view", **{name: value for name, value in arguments.items() if value}))

    def row_url(self, row: Any) -> str:
        """Return the page of a row, "" when it has none."""
        if self.can_edit:
            return str(self.get_url(".edit_view", id=row.id))
        return str(self.get_url(".details_view", id=row.id)) if self.can_view_details else ""

    def label_of(self, name: str) -> Any:
        """Return what a column is called."""
        return self.column_labels.get(name) or name.rpartition(".")[2].replace("_", " ").capitalize()

    def cell(self, row: Any, name: str) -> Any:
        """Return what a row shows in a column: by its format, else by the kind of its value."""
        if name in self.formats:
            return self.formats[name](self, row)
        value = row
        for part in name.split("."):
            value = getattr(value, part, None)
        if name in self.choices:
            return dict(self.choices[name]).get(str(value), value)
        return shown(value)

    @expose("/export")
    def export_csv(self) -> ResponseReturnValue:
        """Send the list, as it is filtered and sorted, as a CSV file; large ones are streamed."""
        if not self.can_export:
            abort(404)
        names = [name for name in (self.exported or self.columns) if not is_secret(getattr(self.model, name, None))]
        rows = self._asked().options(*(joinedload(relation) for relation in self.eager))
        order = Order(self.key, self.key) if self.small else self._order()  # a large list has indexes for its own

        def lines() -> Iterator[Sequence[Any]]:
            with reading():
                for batch in batches(rows, order):
                    for row in batch:
                        yield [self.plain(row, name) for name in names]

        titles = [str(self.label_of(name)) for name in names]
        headers = {"Content-Disposition": f'attachment; filename="{self.path}-{now():%Y-%m-%d}.csv"'}
        return Response(
            stream_with_context(csv_lines(titles, lines())),
            headers=headers,
            mimetype="text/csv",
            direct_passthrough=True,
        )

    def plain(self, row: Any, name: str) -> Any:
        """Return a value for the export: as it is stored, records by their name."""
        value = row
        for part in name.split("."):
            value = getattr(value, part, None)
        return value

    @expose("/lookup/<field_name>")
    def lookup(self, field_name: str) -> ResponseReturnValue:
        """Answer what a choice with search asks: ``[{"value": id, "text": name}, …]``."""
        form = self._edit_form_class()
        field = form._fields.get(field_name)
        if not isinstance(field, ReferenceField):
            abort(404)
        found = field.found(request.args.get("q", "")[:100])
        return jsonify([{"value": str(number), "text": text} for number, text in found])

    # --- the form

    def visible_groups(self, form: Any) -> list[FieldGroup]:
        """Return the groups of a form with the fields that this session sees."""
        found = []
        for group in self.groups:
            names = tuple(name for name in group.fields if name in form)
            if names:
                found.append(FieldGroup(group.title, names, group.help, group.developer))
        return found

    def _trimmed(self, form: Any) -> Any:
        """Drop the developer's fields from a form outside of developer mode: they are neither shown nor taken."""
        if not auth.developer_mode():
            hidden = set(self.developer_fields)
            hidden.update(name for group in self.groups if group.developer for name in group.fields)
            for name in hidden:
                if name in form:
                    del form[name]
        return form

    def create_form(self, obj: Any = None) -> Any:
        return self._trimmed(super().create_form(obj))

    def edit_form(self, obj: Any = None) -> Any:
        return self._trimmed(super().edit_form(obj))

    def buttons_of(self, row: Any) -> list[Button]:
        """Return the buttons that a row's page has now."""
        return [button for button in self.buttons if button.when(row)] if row is not None else []

    @expose("/new", methods=("GET", "POST"))
    def create_view(self) -> ResponseReturnValue:
        """Show the form for a new row, or save it."""
        if not self.can_create:
            abort(404)
        form = self.create_form()
        if request.method == "POST" and self._checked(form):
            row = self.build_new_instance()
            if self._saved(form, row, is_new=True):
                return self._next_page(row, gettext("Created."))
        answer: str = self.render(self.create_template, form=form, row=None)
        return answer

    @expose("/edit", methods=("GET", "POST"))
    def edit_view(self) -> ResponseReturnValue:
        """Show the form of a row, or save it."""
        if not self.can_edit:
            abort(404)
        row = self._row(request.args.get("id", ""))
        form = self.edit_form(row)
        if request.method == "POST" and self._checked(form) and self._saved(form, row, is_new=False):
            return self._next_page(row, gettext("Saved."))
        answer: str = self.render(self.edit_template, form=form, row=row)
        return answer

    @expose("/details")
    def details_view(self) -> ResponseReturnValue:
        """Show a row that is read, not edited."""
        if not self.can_view_details:
            abort(404)
        answer: str = self.render(self.details_template, row=self._row(request.args.get("id", "")))
        return answer

    @expose("/press/<button>", methods=("POST",))
    def press(self, button: str) -> ResponseReturnValue:
        """Do what a button of a row's page says."""
        row = self._row(request.form.get("id", ""))
        return self._pressed(button, row)

    def _pressed(self, name: str, row: Any) -> ResponseReturnValue:
        if name not in {button.name for button in self.buttons_of(row)}:
            abort(404)
        try:
            answer: ResponseReturnValue | None = getattr(self, f"press_{name}")(row)
        except ActionRefused as error:
            db.session.rollback()
            flash(str(error), "error")
            answer = None
        return answer if answer is not None else redirect(self.row_url(row))

    def _row(self, number: str) -> Any:
        found = db.session.scalar(self.rows().where(self.key == int(number))) if number.isdecimal() else None
        if found is None:
            abort(404)
        return found

    def _checked(self, form: Any) -> bool:
        if form.validate():
            return True
        flash(gettext("Not saved: look at the fields that are marked."), "error")
        return False

    def _saved(self, form: Any, row: Any, is_new: bool) -> bool:
        try:
            with db.session.no_autoflush:
                form.populate_obj(row)
                self.before_save(form, row, is_new)
            db.session.add(row)
            db.session.commit()
        except ActionRefused as error:
            db.session.rollback()
            flash(str(error), "error")
            return False
        except IntegrityError as error:
            db.session.rollback()
            log.info("not saved in %s: %s", self.page, type(error.orig).__name__)
            flash(gettext("Not saved: there is one like this already, or something it needs is gone."), "error")
            return False
        self.after_save(row, is_new)
        return True

    def _next_page(self, row: Any, words: str) -> ResponseReturnValue:
        then = request.form.get("_then", "")
        if then == "new":
            flash(words, "success")
            return redirect(self.get_url(".create_view"))
        if then:
            return self._pressed(then, row)
        flash(words, "success")
        return redirect(self.get_url(".index_view") if not self.buttons else self.row_url(row))

    # --- deleting

    @expose("/delete", methods=("POST",))
    def delete_view(self) -> ResponseReturnValue:
        """Delete a row, or say why it can't be."""
        if not self.can_delete:
            abort(404)
        row = self._row(request.form.get("id", ""))
        name = self.title_of(row)
        reason = self._deleted(row)
        if reason:
            flash(reason, "error")
            return redirect(self.row_url(row))
        flash(gettext("%(name)s was deleted.", name=name), "success")
        return redirect(self.get_url(".index_view"))

    def _deleted(self, row: Any) -> str:
        """Delete a row and return "", or why not."""
        reason = self.why_not_delete(row)
        if reason:
            return reason
        try:
            db.session.delete(row)
            db.session.commit()
        except IntegrityError:
            db.session.rollback()
            return gettext("%(name)s is still used elsewhere and can't be deleted.", name=self.title_of(row))
        self.after_delete(row)
        return ""

    @action("delete", _l("Delete"), _l("Delete the selected ones? This can't be undone."))
    def action_delete(self, ids: list[str]) -> None:
        """Delete what was ticked; what can't be deleted stays and says why."""
        deleted = 0
        for row in self.chosen(ids):
            reason = self._deleted(row)
            if reason:
                flash(reason, "error")
            else:
                deleted += 1
        if deleted:
            flash(ngettext("%(num)s was deleted.", "%(num)s were deleted.", deleted), "success")

    def chosen(self, ids: Sequence[str]) -> list[Any]:
        """Return the rows that were ticked, of those this reader may see."""
        numbers = [int(number) for number in ids if number.isdecimal()]
        return list(db.session.scalars(self.rows().where(self.key.in_(numbers))).unique())

    @expose("/action", methods=("POST",))
    def action_view(self) -> ResponseReturnValue:
        """Do to the ticked rows what the pressed button says."""
        name = request.form.get("action", "")
        if name not in dict(self.get_actions_list()[0]):
            abort(404)
        ids = request.form.getlist("rowid")
        if not ids:
            flash(gettext("Tick some rows first."), "error")
            return redirect(self.list_url())
        try:
            answer: ResponseReturnValue | None = self._actions_data[name][0](ids)
        except ActionRefused as error:
            db.session.rollback()
            flash(str(error), "error")
            answer = None
        return answer if answer is not None else redirect(self.list_url())

    # Flask-Admin's own ways to write and to read, which we do not use
    def ajax_lookup(self) -> ResponseReturnValue:
        abort(404)

    def ajax_update(self) -> ResponseReturnValue:
        abort(404)

    def export(self, export_type: str) -> ResponseReturnValue:
        abort(404)


def shown(value: Any) -> Any:
    """Return how a value looks by its kind: ticks for yes and no, times as people say them, the rest as text."""
    match value:
        case None:
            return ""
        case bool():
            return template_helpers.yes_no(value)
        case datetime():
            return template_helpers.ago(value)
    return value

"""The list of an admin view: searched, filtered, sorted, paged, exported, and what is done to many rows at once."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from flask import Response, abort, flash, redirect, request, stream_with_context
from flask.typing import ResponseReturnValue
from flask_admin import expose
from flask_admin.actions import action
from flask_babel import gettext, ngettext
from flask_babel import lazy_gettext as _l
from sqlalchemy import Select
from sqlalchemy.orm import joinedload

from mail.settings.clock import now
from models import db, reading, search
from webapp import searching, template_helpers
from webapp.admin.declared import ActionRefused, Declared
from webapp.admin.listing import Order, Page, batches, csv_lines, page_by_place, page_of, searched_batches
from webapp.fields import is_secret

SMALL_PAGE = 500  # rows of a list that may be sorted by anything


class ListPages(Declared):
    """The pages around the list of a view."""

    def _filtered(self) -> tuple[Select[Any], bool]:
        """The rows that the filters of the address leave, and whether there are any filters."""
        rows, narrowed = self.rows(), False
        for one in self.filters:
            value = request.args.get(one.name) or one.usual
            clause = one.clause(getattr(self.model, one.name), value) if value else None
            if clause is not None:
                rows, narrowed = rows.where(clause), True
        return rows.options(*(joinedload(relation) for relation in self.eager)), narrowed

    def _search(self) -> tuple[str, list[Any]]:
        """The words that are searched for, and the columns in which."""
        columns = [getattr(self.model, name) for name in self.searchable]
        return request.args.get("search", "").strip() if columns else "", columns

    def _asked(self) -> Select[Any]:
        """The rows that the filters and the search of the address leave."""
        rows, narrowed = self._filtered()
        words, columns = self._search()
        return rows.where(searching.found(words, *columns, among=rows if narrowed else None)) if words else rows

    def _exported(self) -> Iterator[list[Any]]:
        """The rows of the list in batches: all that fit, also where the page shows only the newest."""
        order = Order(self.key, self.key) if self.small else self._order()  # a large list has indexes for its own
        shown = self._asked()
        if not searching.search_cut():
            return batches(shown, order)
        words, columns = self._search()
        return searched_batches(self._filtered()[0], order, search.fits(words, *columns))

    def _order(self) -> Order:
        sort = request.args.get("sort", "")
        if sort.lstrip("-") not in (*self.sortable, self.default_sort.lstrip("-")):
            sort = self.default_sort
        return Order(getattr(self.model, sort.lstrip("-")), self.key, sort.startswith("-"))

    @property
    def _page_size(self) -> int:
        return SMALL_PAGE if self.small else self.rows_per_page

    def _page(self) -> Page:
        rows, order = self._asked(), self._order()
        if self.small:
            place = request.args.get("after") or request.args.get("before") or ""
            return page_by_place(rows, order, self._page_size, place)
        return page_of(rows, order, self._page_size, request.args.get("after", ""), request.args.get("before", ""))

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
        exported = self._exported()

        def lines() -> Iterator[Sequence[Any]]:
            with reading():
                for batch in exported:
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

    @action("delete", _l("Delete"), _l("Delete the selected entries? This can't be undone."))
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
            flash(ngettext("%(num)s entry was deleted.", "%(num)s entries were deleted.", deleted), "success")

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
        if len(ids) > self._page_size:
            abort(400)  # no page of ours offers so many
        if not ids:
            flash(gettext("Select at least one row first."), "error")
            return redirect(self.list_url())
        try:
            answer: ResponseReturnValue | None = self._actions_data[name][0](ids)
        except ActionRefused as error:
            db.session.rollback()
            flash(str(error), "error")
            answer = None
        return answer if answer is not None else redirect(self.list_url())


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

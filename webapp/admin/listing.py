"""Lists that do not grow slow: pages by keyset, counts that stop at 10,000, filters and search as plain conditions."""

import base64
import binascii
import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

from flask_babel import format_number, gettext
from flask_babel import lazy_gettext as _l
from sqlalchemy import ColumnElement, Select, UnaryExpression, func, select, tuple_

from mail.settings.clock import now
from models import db, search
from models.slices import listed

MOST_COUNTED = 10_000
LONGEST_PLACE = 9  # digits
YES, NO = _l("Yes"), _l("No")
# What a spreadsheet may take for a formula: at the start of a cell, or behind what it takes for the end of a cell when
# it splits lines by another sign than ours.
FORMULA = re.compile(r"(\A|[;,|\t\r\n])([ \"']{0,3})([=+\-@＝＋－＠])")


# --- filters: declared on a view, shown as choices over its list


@dataclass(frozen=True)
class ChoiceFilter:
    """A filter on one column: ``ChoiceFilter("state", _l("State"), (("queued", _l("Queued")), …))``.

    ``usual`` is the choice of somebody who has chosen none; without it that are all.
    """

    name: str
    label: Any
    choices: Sequence[tuple[str, Any]] | Callable[[], Sequence[tuple[str, Any]]] = ()
    usual: str = ""

    def options(self) -> Sequence[tuple[str, Any]]:
        return self.choices() if callable(self.choices) else self.choices

    def clause(self, column: Any, value: str) -> ColumnElement[bool] | None:
        """Return the condition, None for a value that is not among the options."""
        if value not in {str(option) for option, _label in self.options()}:
            return None
        found: ColumnElement[bool] = column == (int(value) if column.type.python_type is int else value)
        return found


@dataclass(frozen=True)
class YesNo:
    """A filter on a column that is true or false."""

    name: str
    label: Any
    yes: Any = YES
    no: Any = NO
    usual: ClassVar[str] = ""

    def options(self) -> Sequence[tuple[str, Any]]:
        return (("1", self.yes), ("0", self.no))

    def clause(self, column: Any, value: str) -> ColumnElement[bool] | None:
        if value not in ("0", "1"):
            return None
        found: ColumnElement[bool] = column.is_(value == "1")
        return found


@dataclass(frozen=True)
class Since:
    """A filter on a moment: the last day, week, month."""

    name: str
    label: Any
    usual: ClassVar[str] = ""

    def options(self) -> Sequence[tuple[str, Any]]:
        return (("1", _l("Last 24 hours")), ("7", _l("Last 7 days")), ("30", _l("Last 30 days")))

    def clause(self, column: Any, value: str) -> ColumnElement[bool] | None:
        if value not in ("1", "7", "30"):
            return None
        found: ColumnElement[bool] = column > now() - timedelta(days=int(value))
        return found


Filter = ChoiceFilter | YesNo | Since


# --- pages by keyset


@dataclass(frozen=True)
class Order:
    """How a list is sorted: a column, then the id, so that every row has one place."""

    column: Any
    key: Any
    descending: bool = False

    def clauses(self, backwards: bool = False) -> list[UnaryExpression[Any]]:
        down = self.descending != backwards
        columns = [self.key] if self.column.key == self.key.key else [self.column, self.key]
        return [column.desc() if down else column.asc() for column in columns]

    def beyond(self, mark: tuple[Any, Any], backwards: bool) -> ColumnElement[bool]:
        """Return the condition for the rows after (or before) a mark; it uses the index of the column."""
        down = self.descending != backwards
        if self.column.key == self.key.key:
            single: ColumnElement[bool] = self.key < mark[1] if down else self.key > mark[1]
            return single
        here, there = tuple_(self.column, self.key), tuple_(*mark)
        return here < there if down else here > there

    def mark_of(self, row: Any) -> str:
        """Return the place of a row, for the address of the next page."""
        value = getattr(row, self.column.key)
        said = [value.isoformat() if isinstance(value, datetime) else value, getattr(row, self.key.key)]
        return base64.urlsafe_b64encode(json.dumps(said).encode()).decode().rstrip("=")

    def read_mark(self, text: str) -> tuple[Any, Any] | None:
        """Return the place that ``mark_of`` wrote, None for anything else."""
        try:
            value, key = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            if self.column.type.python_type is datetime:
                value = datetime.fromisoformat(value)
            return self.column.type.python_type(value) if not isinstance(value, datetime) else value, int(key)
        except (ValueError, TypeError, binascii.Error, NotImplementedError):
            return None


@dataclass(frozen=True)
class Page:
    """Some rows of a list, and the marks of the pages around them ("" where there is none)."""

    rows: list[Any]
    before: str
    after: str
    counted: int

    @property
    def count(self) -> str:
        """The number of rows as it is shown: exact up to 10,000, then "10,000+"."""
        if self.counted > MOST_COUNTED:
            return gettext("%(number)s+", number=format_number(MOST_COUNTED))
        return str(format_number(self.counted))


def page_of(rows: Select[Any], order: Order, size: int, after: str = "", before: str = "") -> Page:
    """Return one page of a query: no OFFSET, no count beyond 10,001, the same cost on page 1 and on page 50,000."""
    backwards = bool(before)
    mark = order.read_mark(before or after) if before or after else None
    asked = rows if mark is None else rows.where(order.beyond(mark, backwards))
    found = list(db.session.scalars(asked.order_by(*order.clauses(backwards)).limit(size + 1)).unique())
    more, found = len(found) > size, found[:size]
    if backwards:
        found.reverse()
    has_before = more if backwards else mark is not None
    has_after = (mark is not None and bool(found)) if backwards else more
    return Page(
        rows=found,
        before=order.mark_of(found[0]) if has_before and found else "",
        after=order.mark_of(found[-1]) if has_after and found else "",
        counted=_counted(rows, order),
    )


def page_by_place(rows: Select[Any], order: Order, size: int, place: str = "") -> Page:
    """Return one page of a list that is small: by OFFSET, so that it may be sorted by anything, also what is empty."""
    start = int(place) if place.isdecimal() and len(place) < LONGEST_PLACE else 0
    found = list(db.session.scalars(rows.order_by(*order.clauses()).offset(start).limit(size + 1)).unique())
    return Page(
        rows=found[:size],
        before=str(max(start - size, 0)) if start else "",
        after=str(start + size) if len(found) > size else "",
        counted=_counted(rows, order),
    )


def _counted(rows: Select[Any], order: Order) -> int:
    keys = rows.with_only_columns(order.key).order_by(None).limit(MOST_COUNTED + 1).subquery()
    return db.session.scalar(select(func.count()).select_from(keys)) or 0


# --- CSV


def guarded(value: Any) -> Any:
    """Return a value that no spreadsheet runs as a formula.

    >>> guarded("=HYPERLINK(1)"), guarded("-5"), guarded(-5), guarded("plain"), guarded(None)
    ("'=HYPERLINK(1)", "'-5", -5, 'plain', '')
    >>> guarded("Ann;=1+1"), guarded("a\\n@SUM(1)"), guarded("a-b; c")
    ("Ann;'=1+1", "a\\n'@SUM(1)", 'a-b; c')
    """
    if value is None:
        return ""
    if isinstance(value, bool | int | float | Decimal):
        return value
    if isinstance(value, datetime | date):
        return value.isoformat()
    text = FORMULA.sub(r"\1\2'\3", str(value))
    return f"'{text}" if text.startswith(("\t", "\r")) else text


class _SearchLine:
    """What csv.writer writes into: the line is the return value."""

    def write(self, text: str) -> str:
        return text


def csv_lines(titles: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    """Yield a CSV file line by line, with a mark that makes spreadsheets read it as UTF-8."""
    writer = csv.writer(_SearchLine())
    yield ("\ufeff" + writer.writerow([guarded(title) for title in titles])).encode()
    for row in rows:
        yield writer.writerow([guarded(value) for value in row]).encode()


def batches(rows: Select[Any], order: Order, size: int = 1000) -> Iterator[list[Any]]:
    """Yield all rows of a query in batches by keyset; each is forgotten by the session before the next is read."""
    mark = None
    while True:
        asked = rows if mark is None else rows.where(order.beyond(mark, backwards=False))
        found = list(db.session.scalars(asked.order_by(*order.clauses()).limit(size)).unique())
        if not found:
            return
        mark = (getattr(found[-1], order.column.key), getattr(found[-1], order.key.key))
        yield found
        db.session.expunge_all()


def searched_batches(rows: Select[Any], order: Order, fits: ColumnElement[bool]) -> Iterator[list[Any]]:
    """Yield all rows of a query that fit a search, in batches; no statement looks at more than one search does."""
    mark = None
    while True:
        asked = rows if mark is None else rows.where(order.beyond(mark, backwards=False))
        keys = asked.with_only_columns(order.column, order.key, fits).order_by(*order.clauses()).limit(search.MOST_READ)
        read = db.session.execute(keys).all()
        if not read:
            return
        mark = (read[-1][0], read[-1][1])
        yield from batches(rows.where(order.key.in_(listed([key for _, key, fitting in read if fitting]))), order)

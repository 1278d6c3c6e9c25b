"""Searching by parts of words in large lists: trigrams, by ``pg_trgm`` on PostgreSQL and by FTS5 on SQLite.

The indexes are made by a migration; on SQLite triggers keep them. A search costs the same whatever is asked for:

- Words of one or two letters have no trigram, and words that would be found in more than ``MOST_FOUND`` rows are of
  little help: both are looked for in the ``MOST_READ`` newest rows, and the page says so.
- Where a list is narrowed to few rows already, by a filter say, all of these are read.
- All others are found by the index. Whether a word is common, the ``SAMPLE`` newest rows tell.
- FTS5 walks through all rows of each trigram that it is asked for. So it is asked for the ``RAREST`` ones only, and the
  few rows that have these are read.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, column, func, or_, select, table, true

from models.base import db
from models.slices import listed

# Table -> the columns that its list is searched by. A change needs a migration.
SEARCHED: dict[str, tuple[str, ...]] = {
    "blacklisted_address": ("address_key",),
    "contact": ("name", "address", "company"),
    "document": ("title", "number", "sender"),
    "mailing": ("subject",),
    "outgoing_recipient": ("address", "name"),
    "received_mail": ("subject", "from_text", "to_text"),
}
MOST_WORDS = 8
SHORTEST = 3  # letters of a trigram
MOST_FOUND = 5_000
MOST_READ = 20_000
SAMPLE = 500
RAREST = 3
USEFUL = 0.1  # of the rows: a trigram that more of them have costs more than it narrows
LONGEST_TEXT = 1_000  # characters of a sample


@dataclass(frozen=True)
class Found:
    """What a search found: the condition of its rows, and why these need not be all of them, if so."""

    rows: ColumnElement[bool]
    cut: str = ""  # "short", "common"


def search(words: str, *columns: Any, among: Select[Any] | None = None) -> Found:
    """Look for the rows of a table in which each of these words occurs, in any case, in one of the columns.

    ``among``: the rows that are of interest, when these are not all of them.
    """
    wanted = _words(words)
    if not wanted or columns[0].table.name not in SEARCHED:
        return Found(_fits(wanted, columns))
    ids, cut = _Search(wanted, columns).found(among)
    return Found(columns[0].table.c.id.in_(listed(ids)), cut)


def fits(words: str, *columns: Any) -> ColumnElement[bool]:
    """Return the condition that a search looks for: no index helps with it, so ask it of so many rows at a time."""
    return _fits(_words(words), columns)


class _Search:
    """A search in a table that may be large."""

    def __init__(self, words: Sequence[str], columns: Sequence[Any]) -> None:
        self.words, self.columns, self.rows = words, columns, columns[0].table
        self.long = [word.lower() for word in words if len(word) >= SHORTEST]
        self.on_sqlite = db.engine.dialect.name == "sqlite"

    def found(self, among: Select[Any] | None) -> tuple[list[int], str]:
        """Return the ids of the newest rows that fit, and why there may be more."""
        if among is not None and not _more(of_interest := among.with_only_columns(self.rows.c.id)):
            return self._fitting(among.with_only_columns(self.rows.c.id, *self.columns), of_interest, "common")
        if not self.long:
            return self._among_newest("short")
        newest, texts = self._sample()
        share = sum(all(word in text for word in self.long) for text in texts) / max(len(texts), 1)
        if share * newest > MOST_FOUND:
            return self._among_newest("common")
        return self._by_trigrams(texts) if self.on_sqlite else self._by_index()

    def _sample(self) -> tuple[int, list[str]]:
        """The highest id, and the texts of the newest rows."""
        texts = (func.substr(one, 1, LONGEST_TEXT) for one in self.columns)
        rows = db.session.execute(select(self.rows.c.id, *texts).order_by(self.rows.c.id.desc()).limit(SAMPLE)).all()
        return rows[0][0] if rows else 0, ["\n".join(filter(None, row[1:])).lower() for row in rows]

    def _among_newest(self, why: str) -> tuple[list[int], str]:
        rows = select(self.rows.c.id, *self.columns).order_by(self.rows.c.id.desc())
        return self._fitting(rows, rows.with_only_columns(self.rows.c.id), why)

    def _by_trigrams(self, texts: Sequence[str]) -> tuple[list[int], str]:
        """Ask FTS5 for the rarest trigrams of the words; which of the rows with these fit is read."""
        trigrams = dict.fromkeys(word[start : start + SHORTEST] for word in self.long for start in range(len(word) - 2))
        seen = {trigram: sum(trigram in text for text in texts) for trigram in trigrams}
        first, *others = sorted(seen, key=lambda trigram: seen[trigram])[:RAREST]
        rarest = [first, *(trigram for trigram in others if seen[trigram] < len(texts) * USEFUL)]
        name = f"{self.rows.name}_search"
        index = table(name, column("rowid"), column(name))  # FTS5 takes its query through a column of its own name
        query = " AND ".join('"{}"'.format(trigram.replace('"', '""')) for trigram in rarest)
        having = select(index.c.rowid).where(index.c[name].op("MATCH")(query)).order_by(index.c.rowid.desc())
        rows = select(self.rows.c.id, *self.columns).where(self.rows.c.id.in_(having.limit(MOST_READ)))
        return self._fitting(rows.order_by(self.rows.c.id.desc()), having, "common")

    def _by_index(self) -> tuple[list[int], str]:
        """Ask PostgreSQL for all rows that fit, and only then for the newest: or it walks through the newest of all."""
        fitting = select(self.rows.c.id).where(_fits(self.words, self.columns)).limit(MOST_READ).subquery()
        ids = list(db.session.scalars(select(fitting.c.id).order_by(fitting.c.id.desc()).limit(MOST_FOUND + 1)))
        return ids[:MOST_FOUND], "common" if len(ids) > MOST_FOUND else ""

    def _fitting(self, rows: Select[Any], candidates: Select[Any], why: str) -> tuple[list[int], str]:
        """Read the first of these rows, and return the newest that fit; ``candidates`` are the ids of all of them."""
        read = rows.limit(MOST_READ).subquery()
        fits = _fits(self.words, [read.c[one.key] for one in self.columns])
        newest = select(read.c.id).where(fits).order_by(read.c.id.desc()).limit(MOST_FOUND + 1)
        ids = list(db.session.scalars(newest))
        return ids[:MOST_FOUND], why if len(ids) > MOST_FOUND or _more(candidates) else ""


def _words(words: str) -> list[str]:
    return words.split()[:MOST_WORDS]


def _more(rows: Select[Any]) -> bool:
    """Whether these are more rows than a search reads."""
    return db.session.scalar(rows.offset(MOST_READ).limit(1)) is not None


def _fits(words: Iterable[str], columns: Sequence[Any]) -> ColumnElement[bool]:
    return and_(true(), *(or_(*(_occurs(word, one) for one in columns)) for word in words))


def _occurs(word: str, where: Any) -> ColumnElement[bool]:
    """The condition that a column contains a word, in any case; LIKE of SQLite knows this of ASCII only."""
    pattern = "%" + word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    if db.engine.dialect.name != "sqlite":
        return where.ilike(pattern, escape="\\")  # type: ignore[no-any-return]
    spellings = {pattern}
    if not word.isascii():
        spellings = {pattern.lower(), pattern.upper(), "%" + pattern[1:].capitalize()}
    return or_(*(where.like(spelling, escape="\\") for spelling in sorted(spellings)))

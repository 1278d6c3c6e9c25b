"""Searching by parts of words in large lists: trigrams, by ``pg_trgm`` on PostgreSQL and by FTS5 on SQLite.

The indexes are made by a migration; on SQLite triggers keep them. What a search looks at is bounded, so that a common
word costs no more than a rare one: a list shows what is found among the ``MOST_FOUND`` newest matches, and words of one
or two letters, which have no trigram, are looked for in the ``MOST_READ`` newest rows.
"""

from typing import Any

from sqlalchemy import ColumnElement, Select, and_, column, or_, select, table, true

from models.base import db

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
MOST_FOUND = 10_001  # one more than a list counts
MOST_READ = 20_000


def contains(words: str, *columns: Any) -> ColumnElement[bool]:
    """Return the condition that each of these words occurs, in any case, in one of the columns of a table."""
    wanted = words.split()[:MOST_WORDS]
    rows, searched = columns[0].table, columns[0].table.name in SEARCHED
    long = [word for word in wanted if len(word) >= SHORTEST]
    short = and_(true(), *(_occurs(word, columns) for word in wanted if len(word) < SHORTEST))
    if not searched or not wanted:
        return and_(short, *(_occurs(word, columns) for word in long))
    if not long:
        newest = select(rows).order_by(rows.c.id.desc()).limit(MOST_READ).subquery()
        return _one_of(rows, select(newest.c.id).where(*(_occurs(word, _in(newest, columns)) for word in wanted)))
    found = _matching(long, columns) if db.engine.dialect.name == "sqlite" else _like(long, columns)
    return and_(_one_of(rows, found), short)


def _one_of(rows: Any, found: Select[Any]) -> ColumnElement[bool]:
    chosen: ColumnElement[bool] = rows.c.id.in_(found)
    return chosen


def _in(rows: Any, columns: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(rows.c[one.key] for one in columns)


def _matching(words: list[str], columns: tuple[Any, ...]) -> Select[Any]:
    """The newest rows in which FTS5 finds all of the words: one query, so that it meets them in the index."""
    name = f"{columns[0].table.name}_search"
    index = table(name, column("rowid"), column(name))  # FTS5 takes its query through a column of its own name
    within = "{" + " ".join(one.name for one in columns) + "}"
    quoted = (word.replace('"', '""') for word in words)
    phrases = " AND ".join(f'{within} : "{word}"' for word in quoted)
    matching = index.c[name].op("MATCH")(phrases)
    return select(index.c.rowid).where(matching).order_by(index.c.rowid.desc()).limit(MOST_FOUND)


def _like(words: list[str], columns: tuple[Any, ...]) -> Select[Any]:
    """Rows in which all of the words occur; PostgreSQL reads its trigrams, or the rows where these are common."""
    inner = columns[0].table.alias()
    found = (_occurs(word, _in(inner, columns)) for word in words)
    return select(select(inner.c.id).where(*found).limit(MOST_FOUND).subquery().c.id)


def _occurs(word: str, columns: tuple[Any, ...]) -> ColumnElement[bool]:
    pattern = "%" + word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    return or_(*(one.ilike(pattern, escape="\\") for one in columns))

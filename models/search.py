"""Searching by parts of words in large lists: trigrams, by ``pg_trgm`` on PostgreSQL and by FTS5 on SQLite.

The indexes are made by a migration; on SQLite triggers keep them. A word of one or two letters has no trigram and is
looked for by reading the rows, so it should not come alone on a very large list.
"""

from typing import Any

from sqlalchemy import ColumnElement, and_, column, or_, select, table, true

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


def contains(words: str, *columns: Any) -> ColumnElement[bool]:
    """Return the condition that each of these words occurs, in any case, in one of the columns of a table."""
    return and_(true(), *(_contains(word, columns) for word in words.split()[:MOST_WORDS]))


def _contains(word: str, columns: tuple[Any, ...]) -> ColumnElement[bool]:
    searched = columns[0].table.name
    if len(word) >= SHORTEST and searched in SEARCHED and db.engine.dialect.name == "sqlite":
        name = f"{searched}_search"
        index = table(name, column("rowid"), column(name))  # FTS5 takes its query through a column of its own name
        phrase = '"' + word.replace('"', '""') + '"'
        within = " ".join(one.name for one in columns)
        matching = index.c[name].op("MATCH")(f"{{{within}}} : {phrase}")
        rows: ColumnElement[bool] = columns[0].table.c.id.in_(select(index.c.rowid).where(matching))
        return rows
    pattern = "%" + word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    return or_(*(one.ilike(pattern, escape="\\") for one in columns))

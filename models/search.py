"""Searching by words in lists."""

from typing import Any

from sqlalchemy import ColumnElement, and_, or_, true

MOST_WORDS = 8


def contains(words: str, *columns: Any) -> ColumnElement[bool]:
    """Return the condition that each of these words occurs, in any case, in one of the columns."""
    clauses = []
    for word in words.split()[:MOST_WORDS]:
        pattern = "%" + word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        clauses.append(or_(*(column.ilike(pattern, escape="\\") for column in columns)))
    return and_(true(), *clauses)

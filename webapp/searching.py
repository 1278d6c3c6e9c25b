"""Searching in lists: the rows that the words find, and what the page says when these need not be all."""

from typing import Any

from flask import g
from flask_babel import format_number, gettext
from sqlalchemy import ColumnElement, Select

from models import search


def found(words: str, *columns: Any, among: Select[Any] | None = None) -> ColumnElement[bool]:
    """Return the condition of the rows that a list shows for these words; the page says when older ones are missing."""
    result = search.search(words, *columns, among=among)
    g.search_cut = result.cut
    return result.rows


def search_cut() -> str:
    """Return what the page says about its search, "" when nothing is missing."""
    match g.get("search_cut"):
        case "short":
            return gettext(
                "Only the newest %(number)s entries were searched. Type at least three letters to search all of them.",
                number=format_number(search.MOST_READ),
            )
        case "common":
            return gettext(
                "Too many entries match, so only the newest were searched. Add a word to search older ones too."
            )
    return ""

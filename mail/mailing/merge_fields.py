"""The merge fields of a mailing: a grammar of our own that has nothing to escape from. Pure, linear.

``{{ contact.first_name }}`` and ``{{ contact.first_name or "there" }}``, with names from a declared list, and
``{{ "text" }}`` for braces that are meant. No calls, no attributes, no loops.
"""

import html as html_module
import re
from collections.abc import Collection, Sequence
from itertools import groupby
from typing import NamedTuple

from flask_babel import lazy_gettext as _l

from mail.errors import FieldNotClosed, MergeError, UnknownField
from mail.message.words import one_line

# What the editor offers. Fields of an office's own go to compile_mailing() as `fields`.
FIELDS = {
    "contact.name": _l("Full name"),
    "contact.first_name": _l("First name"),
    "contact.email": _l("Email address"),
    "contact.company": _l("Company of the contact"),
    "contact.language": _l("Language of the contact"),
    "company.name": _l("Name of our company"),
    "company.address": _l("Our postal address"),
    "unsubscribe_url": _l("Unsubscribe link"),
    "view_url": _l("View in browser link"),
}

_NAME = r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)*"
_STRING = r""" "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*' | “[^”]*” """
_EXPRESSION = re.compile(
    rf"\s* (?: (?P<field>{_NAME}) (?: \s+ or \s* (?P<fallback>{_STRING}) )? | (?P<literal>{_STRING}) ) \s*", re.VERBOSE
)
_LONGEST_FIELD = 500


class MergeField(NamedTuple):
    """A merge field of a source and what is shown when a recipient has no value for it."""

    field: str
    fallback: str


def parse(source: str, part: str, fields: Collection[str], *, in_html: bool = False) -> list[str | MergeField]:
    """Return a source as literal texts and merge fields; `part` is how an error names it ("Subject", "HTML").

    Raises UnknownField, FieldNotClosed or MergeError, each with the line.

    >>> parse('Hi {{ contact.first_name or "there" }}!', "Subject", FIELDS)
    ['Hi ', MergeField(field='contact.first_name', fallback='there'), '!']
    >>> parse('{{ "{{" }}', "Subject", FIELDS)
    ['{{']
    """
    pieces: list[str | MergeField] = []
    position, line = 0, 1
    while (start := source.find("{{", position)) >= 0:
        pieces.append(source[position:start])
        line += source.count("\n", position, start)
        end = source.find("}}", start)
        match = _expression(source[start + 2 : end], in_html) if 0 <= end - start <= _LONGEST_FIELD else None
        if match is None:
            raise _mistake(source, start, end, part, line)
        if match["literal"]:
            literal = _unquoted(match["literal"])
            pieces.append(html_module.escape(literal) if in_html else literal)
        elif match["field"] not in fields:
            raise UnknownField(part=part, line=line, field=match["field"], fields=", ".join(fields))
        else:
            pieces.append(MergeField(match["field"], one_line(_unquoted(match["fallback"] or '""'))))
        line += source.count("\n", start, end)
        position = end + 2
    pieces.append(source[position:])
    return joined(pieces)


def joined(pieces: Sequence[str | MergeField]) -> list[str | MergeField]:
    """Return the pieces with neighbouring texts in one, without empty ones."""
    found: list[str | MergeField] = []
    for is_field, run in groupby(pieces, lambda piece: isinstance(piece, MergeField)):
        if is_field:
            found += run
        elif text := "".join(map(str, run)):
            found.append(text)
    return found


def _expression(inside: str, in_html: bool) -> re.Match[str] | None:
    return _EXPRESSION.fullmatch(html_module.unescape(inside) if in_html else inside)


def _mistake(source: str, start: int, end: int, part: str, line: int) -> MergeError:
    """Why what begins here is no merge field."""
    shown = source[start : start + 40 if end < 0 else min(end + 2, start + 80)]
    again = source.find("{{", start + 2)
    if end < 0 or 0 <= again < end:
        return FieldNotClosed(part=part, line=line, text=shown.splitlines()[0])
    return MergeError(part=part, line=line, text=" ".join(shown.split()))


def _unquoted(string: str) -> str:
    return re.sub(r"\\(.)", r"\1", string[1:-1]) if string[0] != "“" else string[1:-1]

"""What people type into a plain field, as HTML that is good in a mail and on a page."""

import re
from unicodedata import bidirectional

from markupsafe import escape

_LINK = re.compile(r"https?://[^\s<>\"']+")


def html_of_words(words: str) -> str:
    """Return typed text as paragraphs: an empty line ends one, other line breaks stay, addresses become links.

    >>> html_of_words("Hello,\\n\\nsee https://example.com/a.\\nBye")
    '<p>Hello,</p><p>see <a href="https://example.com/a">https://example.com/a</a>.<br>Bye</p>'

    Mail programs write from left to right unless they are told otherwise:

    >>> html_of_words("1. שלום world\\n\\nHello שלום")
    '<p dir="rtl">1. שלום world</p><p>Hello שלום</p>'
    """
    paragraphs = re.split(r"\n[ \t]*\n\s*", words.replace("\r\n", "\n").strip())
    return "".join(
        f"<p{_direction(part)}>{'<br>'.join(map(_line, part.split(chr(10))))}</p>" for part in paragraphs if part
    )


def _direction(paragraph: str) -> str:
    """Its first letter that has a direction decides, as in Unicode's rules."""
    first = next((kind for kind in map(bidirectional, paragraph) if kind in ("L", "R", "AL")), "L")
    return "" if first == "L" else ' dir="rtl"'


def _line(line: str) -> str:
    pieces, position = [], 0
    for match in _LINK.finditer(line):
        address = match[0].rstrip(".,;:!?)")
        pieces += [str(escape(line[position : match.start()])), f'<a href="{escape(address)}">{escape(address)}</a>']
        position = match.start() + len(address)
    return "".join([*pieces, str(escape(line[position:]))])

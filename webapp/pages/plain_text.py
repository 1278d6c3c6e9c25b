"""What people type into a plain field, as HTML that is good in a mail and on a page."""

import re

from markupsafe import escape

_LINK = re.compile(r"https?://[^\s<>\"']+")


def html_of_words(words: str) -> str:
    """Return typed text as paragraphs: an empty line ends one, other line breaks stay, addresses become links.

    >>> html_of_words("Hello,\\n\\nsee https://example.com/a.\\nBye")
    '<p>Hello,</p><p>see <a href="https://example.com/a">https://example.com/a</a>.<br>Bye</p>'
    """
    paragraphs = re.split(r"\n[ \t]*\n\s*", words.replace("\r\n", "\n").strip())
    return "".join(f"<p>{'<br>'.join(map(_line, part.split(chr(10))))}</p>" for part in paragraphs if part)


def _line(line: str) -> str:
    pieces, position = [], 0
    for match in _LINK.finditer(line):
        address = match[0].rstrip(".,;:!?)")
        pieces += [str(escape(line[position : match.start()])), f'<a href="{escape(address)}">{escape(address)}</a>']
        position = match.start() + len(address)
    return "".join([*pieces, str(escape(line[position:]))])

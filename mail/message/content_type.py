"""What a part says about itself: its type, the parameters behind it, the name of its file. Pure, never raises."""

import re
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from mail.message.charsets import to_text
from mail.message.words import decode_words

LONGEST_FILE_NAME = 150

_TYPE = re.compile(r"\s*+([a-z0-9!#$&^_.+-]++(?:\s*+/\s*+[a-z0-9!#$&^_.+-]++)?)", re.IGNORECASE)
_PARAMETER = re.compile(r"""(?<![^\s=;"])([^\s=;"]++)\s*+=\s*+("(?:[^"\\]|\\.)*+"?|[^;]*+)""", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_MEANT = {"text": "text/plain", "plain/text": "text/plain", "html": "text/html", "pdf": "application/pdf"}


def content_type(value: str, default: str) -> tuple[str, dict[str, str]]:
    """Return the type and the parameters (RFC 2045, 2231) of a Content-Type or Content-Disposition, lower-case.

    >>> content_type('Text/Plain; charset="utf-8"', "text/plain")
    ('text/plain', {'charset': 'utf-8'})
    """
    if not value:
        return default, {}
    return _parsed(value, default) if len(value) < 300 else _parsed.__wrapped__(value, default)


def file_name(name: str) -> str:
    """Return a file name that can be shown and stored: decoded, without folders and control characters, not too long.

    >>> file_name("../=?utf-8?q?Gr=C3=BC=C3=9Fe=2Epdf?=")
    'Grüße.pdf'
    """
    if not name:
        return ""
    name = decode_words(name).replace("\\", "/").rpartition("/")[2].strip(". ")
    if len(name) > LONGEST_FILE_NAME:
        stem, dot, ending = name.rpartition(".")
        name = f"{stem[: LONGEST_FILE_NAME - 20]}.{ending[:15]}" if dot else name[:LONGEST_FILE_NAME]
    return name


@lru_cache(maxsize=512)
def _parsed(value: str, default: str) -> tuple[str, dict[str, str]]:
    token = _TYPE.match(value)
    kind, rest = ("".join(token[1].lower().split()), value[token.end() :]) if token else ("", value)
    if default:
        kind = _MEANT.get(kind, kind if "/" in kind else default)
    found: dict[str, str] = {}
    pieces: dict[str, list[tuple[int, bool, str]]] = {}
    for name, text in _PARAMETER.findall(rest):
        name, text = name.lower(), _unquoted(text.strip())
        base, star, number = name.partition("*")
        if not star:
            found.setdefault(name, text)
            continue
        order = number.rstrip("*")
        place = int(order) if order.isascii() and order.isdigit() and len(order) < 9 else 0
        pieces.setdefault(base, []).append((place, name[-1] == "*", text))
    for base, parts in pieces.items():
        found[base] = _joined(sorted(parts))
    return kind, found


def _unquoted(text: str) -> str:
    if text[:1] != '"':
        return text
    return _ESCAPED.sub(r"\1", text[1:-1] if len(text) > 1 and text[-1] == '"' else text[1:])


def _joined(parts: list[tuple[int, bool, str]]) -> str:
    """The pieces of a value that was split and encoded (RFC 2231)."""
    charset, octets = "", b""
    for index, (_, encoded, text) in enumerate(parts):
        if encoded and index == 0 and text.count("'") >= 2:
            charset, _, text = text.split("'", 2)
        octets += unquote_to_bytes(text) if encoded else text.encode("utf-8", "surrogateescape")
    return to_text(octets, charset).text

"""Headers that an office adds to every email of a server: what may be added, and how it is written. Pure."""

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

from mail.message.compose import WRITTEN_BY_US, header
from mail.message.words import one_line
from mail.sentences import Why, why

MOST_HEADERS = 20
LONGEST_VALUE = 400

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}")  # of RFC 5322 what people use; a dot in front would be stuffed
_BREAK = re.compile(r"\r\n|\r|\n")
# Written by us in some emails, by the servers that an email passes, or read by machines that it would mislead.
_RESERVED = {
    "auto-submitted", "apparently-to", "authentication-results", "delivered-to", "domainkey-signature", "errors-to",
    "feedback-id", "precedence", "received", "received-spf", "x-auto-response-suppress", "x-original-to", "x-received",
}  # fmt: skip
_RESERVED_FAMILIES = ("arc-", "content-", "dkim-", "list-", "resent-", "x-coquimail-")


class ExtraHeader(NamedTuple):
    """One header, its value for people to read."""

    name: str
    value: str


def read_headers(text: str) -> tuple[list[ExtraHeader], Why | None]:
    """Return the headers of a text, one a line, and what is wrong with the first one that can't be used.

    >>> read_headers("X-SES-CONFIGURATION-SET: office\\n\\nX-Campaign: spring")[0]
    [ExtraHeader(name='X-SES-CONFIGURATION-SET', value='office'), ExtraHeader(name='X-Campaign', value='spring')]
    >>> read_headers("Bcc: spy@example.com")[1]["code"]
    'header_reserved'
    """
    found: list[ExtraHeader] = []
    for number, line in enumerate(_BREAK.split(text), 1):
        if not line.strip():
            continue
        name, colon, value = line.partition(":")
        name, value = name.rstrip(" "), value.strip(" ")
        wrong = _what_is_wrong(line, number, name, colon, value)
        if wrong:
            return found, wrong
        found.append(ExtraHeader(name, value))
    if len(found) > MOST_HEADERS:
        return found, why("headers_too_many", number=len(found), most=MOST_HEADERS)
    return found, None


@lru_cache(maxsize=64)
def encoded_headers(text: str) -> bytes:
    """Return the headers of a text as they stand in an email; from the first one that can't be used on, none.

    >>> encoded_headers("X-Office: Köln")
    b'X-Office: =?utf-8?q?K=C3=B6ln?=\\r\\n'
    """
    return b"".join(header(*one) for one in read_headers(text)[0][:MOST_HEADERS])


def _what_is_wrong(line: str, number: int, name: str, colon: str, value: str) -> Why | None:
    if line[0] in " \t":
        return why("header_continued", line=number)
    if not colon:
        return why("header_without_colon", line=number)
    if not _NAME.fullmatch(name):
        return why("header_name", line=number)
    if is_reserved(name):
        return why("header_reserved", name=name)
    if not value:
        return why("header_empty", name=name)
    is_broken = any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in value)
    if is_broken or one_line(value) != " ".join(value.split()):  # what nobody sees would be left out
        return why("header_unprintable", name=name)
    if len(value) > LONGEST_VALUE:
        return why("header_too_long", name=name, length=len(value), most=LONGEST_VALUE)
    return None


def is_reserved(name: str) -> bool:
    """Whether a header is ours to write, or would make an email look like what it is not.

    >>> [is_reserved(name) for name in ("Message-ID", "DKIM-Signature", "List-Unsubscribe", "X-Mailgun-Tag")]
    [True, True, True, False]
    """
    lower = name.lower()
    return lower in WRITTEN_BY_US or lower in _RESERVED or lower.startswith(_RESERVED_FAMILIES)

"""The way of a mail: its Received lines (RFC 5321 4.4), as the servers of this world write them. Pure, never raises."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

from mail.message.arrival import moment
from mail.message.domains import is_local_name

MOST_HOPS = 100
LONGEST_LINE = 4000  # characters of a line that are looked at

_COMMENT = re.compile(r"\([^()]*+\)")
_WORD = re.compile(r"(?:^|(?<=\s))(from|by|with|id|for|via)\s++([^\s;]++)", re.IGNORECASE)
_IP = re.compile(
    r"\[?(?:IPv6:)?((?:\d{1,3}\.){3}\d{1,3}|[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}(?:\.\d{1,3}){0,3})\]?", re.I
)
_BRACKETED = re.compile(r"\[(?:IPv6:)?([0-9a-f:.]++)(?:%\w++)?\]", re.IGNORECASE)
_SEEN_AS = re.compile(r"\(([A-Za-z0-9._-]++)\s*\[")
_NAMELESS = re.compile(r"^(\s*+from)\s*+\(", re.IGNORECASE)
_GREETING = re.compile(r"\b(?:helo|ehlo)[=\s]|\b(?:port|ident)=", re.IGNORECASE)
# What a server was told and writes into a comment: a greeting, the name of a user or of a certificate.
_TOLD = re.compile(r"\b(?:(?:helo|ident)=|(?:helo|ehlo)\s++)\S++|\"[^\"]*+\"", re.IGNORECASE)
_TLS = re.compile(r"\bTLS\s*_?v?(1(?:[._][0-3])?)", re.IGNORECASE)
_TLS_WORDS = re.compile(r"version=|cipher|using tls|over tls|\btls\b", re.IGNORECASE)
_ENCRYPTED = re.compile(r"(?:UTF8)?(?:E?SMTP|LMTP)SA?|HTTPS|MAPIS", re.IGNORECASE)  # RFC 3848, 6531
_PROTOCOL = re.compile(r"(?:UTF8)?(?:E?SMTP|LMTP)S?A?|HTTPS?|MAPI|LOCAL", re.IGNORECASE)
_INSIDE = re.compile(
    r"(?:10\.|127\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.|::1$|f[cd][0-9a-f]{2}:|fe80:)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Hop:
    """One server that passed the mail on, as it says itself.

    ``sender`` is how the one before called itself, ``address`` where it came from, ``seen_as`` the name of that address
    in DNS; ``at`` is this server's own clock. ``encrypted`` is None where the line does not say.
    """

    by: str = ""
    sender: str = ""
    address: str = ""
    seen_as: str = ""
    protocol: str = ""
    tls: str = ""
    encrypted: bool | None = None
    inside: bool = False  # from another program of the same machine or network
    at: datetime | None = None
    delay: float | None = None  # seconds since the hop before; below zero: the clocks differ
    is_handed_on: bool = field(default=False, compare=False)  # in a way that no stranger uses: its names are true


def read_received(value: str) -> Hop:
    """Return what one Received line says.

    >>> hop = read_received("from a.example (b [192.0.2.1]) by mx.example with ESMTPS id 7 (version=TLS1_3);"
    ...     " Mon, 23 Nov 2026 09:00:00 +0100")
    >>> hop.sender, hop.address, hop.by, hop.tls, hop.encrypted, hop.at.isoformat()
    ('a.example', '192.0.2.1', 'mx.example', 'TLS 1.3', True, '2026-11-23T08:00:00+00:00')
    """
    head, semicolon, date = value[:LONGEST_LINE].rpartition(";")
    if not semicolon:
        head, date = value[:LONGEST_LINE], ""
    head = _NAMELESS.sub(r"\1 - (", head)
    words = _words(head)
    told = words.get("from")
    seen = head[told.end() : words["by"].start() if "by" in words else None] if told else ""
    addresses = _addresses(told[2], seen) if told else []
    by, sender, protocol = _word(words, "by").rstrip("."), _word(words, "from").strip("[]"), _word(words, "with")
    address, seen_as = _seen(seen, told[2] if told else "")
    guessed = _last(_BRACKETED, head) or _last(_IP, sender) if told and not address else ""
    is_outside = "smtp" in protocol.lower() and not (by and is_local_name(sender) and is_local_name(by))
    is_handed_on = not (address or guessed) and not (told and is_outside)
    tls = _TLS.search(head)
    return Hop(
        by=by,
        sender=sender,
        address=address or guessed,
        seen_as=seen_as,
        protocol=protocol.upper() if _PROTOCOL.fullmatch(protocol) else "",
        tls=f"TLS {tls[1].replace('_', '.')}" if tls else "",
        encrypted=_encrypted(head, protocol, bool(tls)),
        inside=all(map(_INSIDE.match, [address, *addresses])) if address else is_handed_on and is_local_name(sender),
        is_handed_on=is_handed_on,
        at=moment(_without_comments(date)),
    )


def read_way(values: Iterable[str]) -> list[Hop]:
    """Return the hops of a mail, the first one first, from its Received lines from the top down.

    >>> [hop.delay for hop in read_way(["by b; 23 Nov 2026 09:00:07 +0000", "by a; 23 Nov 2026 09:00:00 +0000"])]
    [None, 7.0]
    """
    hops: list[Hop] = []
    last: datetime | None = None
    for value in reversed(list(values)[:MOST_HOPS]):
        hop = read_received(value)
        delay = (hop.at - last).total_seconds() if hop.at and last else None
        last = hop.at or last
        hops.append(replace(hop, delay=delay))
    return hops


def _words(head: str) -> dict[str, re.Match[str]]:
    """The words that say who, each with what follows; of several "by" the last: a greeting may hold any words."""
    found = [(word[1].lower(), word) for word in _WORD.finditer(_without_comments(head))]
    by = max((number for number, (name, _) in enumerate(found) if name == "by"), default=0)
    first, behind = dict(reversed(found)), dict(reversed(found[by:]))
    return first | behind | {name: word for name, word in found[:1] if name == "from"}


def _addresses(told: str, seen: str) -> list[str]:
    """All addresses that a line names before "by": of several, a greeting may have made up some."""
    return [match[1] for text in (told, *_comments(seen)) for match in _IP.finditer(text)]


def _without_comments(text: str) -> str:
    """Blanks instead of comments: what remains stands where it stood."""
    for _ in range(5):  # nested ones, from the inside out
        text, count = _COMMENT.subn(lambda found: " " * len(found[0]), text)
        if not count:
            break
    return text


def _word(words: dict[str, re.Match[str]], name: str) -> str:
    return words[name][2].strip("<>,") if name in words else ""


def _seen(text: str, told: str) -> tuple[str, str]:
    """The address that the server itself saw, and its name, from what stands between what it was told and "by"."""
    comments = [_TOLD.sub(" ", comment) for comment in _comments(text)]
    if bracketed := [comment for comment in comments if _BRACKETED.search(comment)]:
        name = _SEEN_AS.search(bracketed[-1]) if len(_addresses(told, text)) == 1 else None
        return _last(_BRACKETED, bracketed[-1]), name[1].rstrip(".").lower() if name else ""
    if address := next((found for comment in reversed(comments) if (found := _last(_IP, comment))), ""):
        return address, ""
    return _last(_IP, told) if _GREETING.search(text) else "", ""  # some write the greeting behind the address


def _comments(text: str) -> Iterator[str]:
    """The comments of a text, each with those inside it."""
    depth = begin = 0
    for position, mark in enumerate(text):
        if mark == "(":
            begin = position if depth == 0 else begin
            depth += 1
        elif mark == ")" and depth:
            depth -= 1
            if depth == 0:
                yield text[begin : position + 1]
    if depth:
        yield text[begin:]


def _last(pattern: re.Pattern[str], text: str) -> str:
    found = [match[1] for match in pattern.finditer(text)]
    return found[-1].lower() if found else ""


def _encrypted(head: str, protocol: str, has_version: bool) -> bool | None:
    if has_version or _ENCRYPTED.fullmatch(protocol) or _TLS_WORDS.search(head):
        return True
    return False if protocol.upper() in ("SMTP", "ESMTP", "ESMTPA", "UTF8SMTP", "UTF8SMTPA") else None

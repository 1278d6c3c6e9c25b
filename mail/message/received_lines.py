"""The way of a mail: its Received lines (RFC 5321 4.4), as the servers of this world write them. Pure, never raises."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
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
_SEEN_AS = re.compile(r"\(([A-Za-z0-9._-]++)\s*\[")
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
    words: dict[str, str] = {}
    bare = _without_comments(head)
    for found in _WORD.finditer(bare):
        words.setdefault(found[1].lower(), found[2].strip("<>,"))
    before_by = re.split(r"(?:^|\s)by\s", head, maxsplit=1, flags=re.IGNORECASE)[0] if "from" in words else ""
    address = _address(before_by)
    protocol = words.get("with", "")
    tls = _TLS.search(head)
    sender = words.get("from", "").strip("[]")
    seen_as = _SEEN_AS.search(before_by)
    return Hop(
        by=words.get("by", "").rstrip("."),
        sender=sender,
        address=address,
        seen_as=seen_as[1].rstrip(".").lower() if seen_as else "",
        protocol=protocol.upper() if _PROTOCOL.fullmatch(protocol) else "",
        tls=f"TLS {tls[1].replace('_', '.')}" if tls else "",
        encrypted=_encrypted(head, protocol, bool(tls)),
        inside=_is_inside(sender, address),
        at=moment(_without_comments(date)),
    )


def _is_inside(sender: str, address: str) -> bool:
    """Say whether a mail came from the same machine or network: by the address, without one by a name of no domain."""
    if address:
        return _INSIDE.match(address) is not None
    return is_local_name(sender)


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


def _without_comments(text: str) -> str:
    for _ in range(5):  # nested ones, from the inside out
        text, count = _COMMENT.subn(" ", text)
        if not count:
            break
    return text


def _address(text: str) -> str:
    """The last address in what stands before "by": what the server saw itself comes after what it was told."""
    found = [match[1] for match in _IP.finditer(text)]
    return found[-1].lower() if found else ""


def _encrypted(head: str, protocol: str, has_version: bool) -> bool | None:
    if has_version or _ENCRYPTED.fullmatch(protocol) or _TLS_WORDS.search(head):
        return True
    return False if protocol.upper() in ("SMTP", "ESMTP", "ESMTPA", "UTF8SMTP", "UTF8SMTPA") else None

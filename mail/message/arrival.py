"""Moments in headers: a Date however it is written, and when a mail arrived by the server that took it last."""

import re
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_tz

_COMMENT = re.compile(r"[ \t]*+\([^()]*+\)")
_ISO = re.compile(r"\d{4}-\d\d-\d\d")
SEARCHED = 16 * 1024  # octets: the lines that its own server puts before a mail are the first ones
_RECEIVED = re.compile(rb"^received:([^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)", re.IGNORECASE | re.MULTILINE)


def top_received(raw: bytes) -> datetime | None:
    """Return the moment in the first Received line of a mail, in UTC; None if there is none that can be read.

    >>> top_received(b"Received: from a by b; Mon, 23 Nov 2026 09:00:00 +0100\\r\\nSubject: x\\r\\n\\r\\n")
    datetime.datetime(2026, 11, 23, 8, 0, tzinfo=datetime.timezone.utc)
    """
    header = re.split(rb"\r?\n\r?\n", raw[:SEARCHED], maxsplit=1)[0]
    line = _RECEIVED.search(header)
    _, semicolon, date = line[1].rpartition(b";") if line else (b"", b"", b"")
    return moment(date.decode("ascii", "replace")) if semicolon else None


def moment(text: str) -> datetime | None:
    """Return the moment that the date of a header names, in UTC; None if it can't be read. Without a zone it is UTC.

    >>> moment("Mon, 23 Nov 2026 09:00:00 +0100"), moment("tomorrow")
    (datetime.datetime(2026, 11, 23, 8, 0, tzinfo=datetime.timezone.utc), None)
    >>> moment("2026-11-23T09:00:00+01:00")  # no mail standard, but some programs write it
    datetime.datetime(2026, 11, 23, 8, 0, tzinfo=datetime.timezone.utc)
    """
    if "(" in text:
        text = _COMMENT.sub("", text[:400])
    text = " ".join(text.split())[:200]
    try:
        if _ISO.match(text):
            date = datetime.fromisoformat(text)
            return date.astimezone(UTC) if date.tzinfo else date.replace(tzinfo=UTC)
        parsed = parsedate_tz(text)
        if parsed is None:
            return None
        zone = timezone(timedelta(seconds=parsed[9] or 0))
        return datetime(*parsed[:5], min(parsed[5], 59), tzinfo=zone).astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None

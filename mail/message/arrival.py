"""When a mail arrived: what the server that took it last wrote at its top."""

import re
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_tz

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
    """Return the moment that the date of a header names, in UTC; None if it can't be read.

    >>> moment("Mon, 23 Nov 2026 09:00:00 +0100"), moment("tomorrow")
    (datetime.datetime(2026, 11, 23, 8, 0, tzinfo=datetime.timezone.utc), None)
    """
    try:
        parsed = parsedate_tz(" ".join(text.split())[:200])
        if parsed is None:
            return None
        zone = timezone(timedelta(seconds=parsed[9] or 0))
        return datetime(*parsed[:5], min(parsed[5], 59), tzinfo=zone).astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None

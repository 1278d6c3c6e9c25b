"""When a mail is tried again, and when it is given up."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from mail.sentences import Why, ended, why

DELAYS = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 30, 60))  # the last one again and again
GIVE_UP_AFTER = timedelta(hours=48)
TRIES_AFTER_OUTAGE = 6  # at least so many after a time in which nothing was tried

Span = tuple[datetime, datetime]


def next_try(attempts: int, first_try_at: datetime, now: datetime, outages: Sequence[Span] = ()) -> datetime | None:
    """Return when a mail that could not be delivered is tried again, or None when its time is over.

    ``attempts`` counts the tries so far, the one just made included; both times are aware. After 1, 5, 15, 30 and 60
    minutes, then every hour, for 48 hours after the first try. ``outages`` are times in which nothing was tried: they
    do not count, and at least six tries come after the last one.

    >>> from datetime import UTC
    >>> first = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
    >>> next_try(1, first, first).isoformat()
    '2026-11-22T10:01:00+00:00'
    >>> next_try(50, first, first + timedelta(hours=47, minutes=30)) is None
    True
    """
    later = now + DELAYS[min(max(attempts, 1), len(DELAYS)) - 1]
    return later if later <= gives_up(first_try_at, now, outages) else None


def gives_up(first_try_at: datetime, now: datetime, outages: Sequence[Span] = ()) -> datetime:
    """Return when a mail that was tried first at that time is tried for the last time, as far as is known now."""
    end = first_try_at + GIVE_UP_AFTER
    for since, until in outages:
        if until > first_try_at and since < now:
            end += min(until, now) - max(since, first_try_at)
            end = max(end, min(until, now) + TRIES_AFTER_OUTAGE * DELAYS[-1])
    return end


def gave_up(reason: Why | None) -> Why:
    """Return the explanation of a mail that was tried for too long; it keeps the cause of the last failure."""
    return why("gave_up", last=ended(reason) if reason else "", cause=reason["code"] if reason else "")

"""Pure: when an access token is renewed, when a failed renewal is tried again, and when admins are warned of an end."""

from datetime import datetime, timedelta

AHEAD = timedelta(minutes=5)  # before its end a token is renewed; of one that lives shorter, in the last quarter
CLOCK_BACK = timedelta(minutes=1)  # a token from further in the future was given before the clock was set back
FORCED_AGAIN = timedelta(minutes=5)  # a token that replaced a refused one, and is refused itself, is kept so long
RETRIES = tuple(timedelta(seconds=seconds) for seconds in (10, 30, 60, 120, 300))
WARN_BEFORE = timedelta(days=14)
SAME_END = timedelta(minutes=2)  # two answers that name the same end are this close


def is_due(got_at: datetime | None, expires_at: datetime | None, now: datetime) -> bool:
    """Say whether a token is to be renewed, although it may still be taken.

    >>> from datetime import UTC
    >>> noon = datetime(2026, 11, 28, 12, tzinfo=UTC)
    >>> one = noon + timedelta(hours=1)
    >>> [is_due(noon, one, noon + timedelta(minutes=minutes)) for minutes in (0, 54, 55, 90)]
    [False, False, True, True]
    >>> [is_due(noon, noon + timedelta(seconds=8), noon + timedelta(seconds=seconds)) for seconds in (5, 6)]
    [False, True]

    One without an end, or from a time that is still to come:

    >>> is_due(noon, None, one), is_due(None, one, noon), is_due(one, one + timedelta(hours=1), noon)
    (True, True, True)
    """
    if got_at is None or expires_at is None or got_at > now + CLOCK_BACK:
        return True
    return now >= expires_at - min(AHEAD, (expires_at - got_at) / 4)


def retry_after(failures: int) -> timedelta:
    """Return how long to wait after so many failures in a row.

    >>> [retry_after(failures).total_seconds() for failures in (1, 2, 9)]
    [10.0, 30.0, 300.0]
    """
    return RETRIES[min(failures, len(RETRIES)) - 1]


def days_left(end: datetime | None, now: datetime) -> int | None:
    """Return the whole days until an end that is known and near enough to warn of it, else None.

    >>> from datetime import UTC
    >>> now = datetime(2026, 11, 28, tzinfo=UTC)
    >>> days_left(now + timedelta(days=13, hours=5), now), days_left(now - timedelta(days=3), now)
    (13, 0)
    >>> days_left(now + timedelta(days=15), now), days_left(None, now)
    (None, None)
    """
    if end is None or end - now > WARN_BEFORE:
        return None
    return max((end - now).days, 0)


def end_of_permission(known: datetime | None, named: datetime | None, is_named: bool) -> datetime | None:
    """Return when a permission ends after a renewal, None when each renewal moves the end on and so there is none.

    ``known`` is the end from before, ``named`` that of the answer, if it names one at all.

    >>> from datetime import UTC
    >>> first = datetime(2026, 11, 28, tzinfo=UTC)
    >>> end_of_permission(first, first, True) == first, end_of_permission(first, None, False) == first
    (True, True)
    >>> end_of_permission(first, first + timedelta(hours=1), True), end_of_permission(None, first, True)
    (None, None)
    """
    if not is_named:
        return known
    moves_on = known is None or named is None or named - known > SAME_END
    return None if moves_on else named

"""Pure: when an access token is renewed, when a failed renewal is tried again, and when admins are warned of an end."""

from datetime import datetime, timedelta

AHEAD = timedelta(minutes=5)  # before its end a token is renewed; of one that lives shorter, in the last quarter
CLOCK_BACK = timedelta(minutes=1)  # a token from further in the future was given before the clock was set back
FORCED_AGAIN = timedelta(minutes=5)  # a token that replaced a refused one, and is refused itself, is kept so long
RETRIES = tuple(timedelta(seconds=seconds) for seconds in (10, 30, 60, 120, 300))
LONGEST_RETRY = RETRIES[-1]
MANY_FAILURES = 10  # in a row: it has failed for about half an hour
SHORTEST_USE = timedelta(minutes=1)  # a refresh token with less left is not renewed only to keep it
WARN_BEFORE = timedelta(days=14)
SAME_END = timedelta(minutes=2)  # two answers that name the same end are this close


def is_due(got_at: datetime | None, expires_at: datetime | None, now: datetime, use_by: datetime | None = None) -> bool:
    """Say whether a token is to be renewed, although it may still be taken; ``use_by`` is when the right to it ends.

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

    The right to renew it may end before the token does; one that does not move on is not worth a renewal a second:

    >>> half = noon + timedelta(minutes=30)
    >>> [is_due(noon, one, noon + timedelta(minutes=minutes), half) for minutes in (22, 23)]
    [False, True]
    >>> is_due(half, one, half, half), is_due(half - timedelta(seconds=59), one, half, half)
    (False, False)
    """
    if got_at is None or expires_at is None or got_at > now + CLOCK_BACK:
        return True
    if use_by is not None and use_by - got_at > SHORTEST_USE and now >= use_by - (use_by - got_at) / 4:
        return True
    return now >= expires_at - min(AHEAD, (expires_at - got_at) / 4)


def retry_after(failures: int) -> timedelta:
    """Return how long to wait after so many failures in a row.

    >>> [retry_after(failures).total_seconds() for failures in (1, 2, 9)]
    [10.0, 30.0, 300.0]
    """
    return RETRIES[min(failures, len(RETRIES)) - 1]


def is_long(failures: int) -> bool:
    """Say whether renewing has failed so often that a person should know, although time may help.

    >>> is_long(9), is_long(10), round(sum(retry_after(one).total_seconds() for one in range(1, 10)) / 60)
    (False, True, 29)
    """
    return failures >= MANY_FAILURES


def waits(retry_at: datetime | None, now: datetime) -> bool:
    """Say whether the time of the next try is still to come; one that is too far off was set by a wrong clock.

    >>> from datetime import UTC
    >>> now = datetime(2026, 11, 28, tzinfo=UTC)
    >>> [waits(now + timedelta(seconds=seconds), now) for seconds in (0, 1, 300, 301)], waits(None, now)
    ([False, True, True, False], False)
    """
    return retry_at is not None and now < retry_at <= now + LONGEST_RETRY


def days_left(end: datetime | None, now: datetime) -> int | None:
    """Return the whole days until an end that is known and near enough to warn of it, else None.

    One day at least, unless it is over.

    >>> from datetime import UTC
    >>> now = datetime(2026, 11, 28, tzinfo=UTC)
    >>> [days_left(now + timedelta(hours=hours), now) for hours in (13 * 24 + 5, 2, 0, -72)]
    [13, 1, 0, 0]
    >>> days_left(now + timedelta(days=15), now), days_left(None, now)
    (None, None)
    """
    if end is None or end - now > WARN_BEFORE:
        return None
    return max((end - now).days, 1) if end > now else 0


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

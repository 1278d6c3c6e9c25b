"""How many emails a server may be given in a second, a minute, an hour, a day. Pure.

Windows are fixed and by UTC: a day begins at midnight, an hour with its first minute (docs/decisions/0039).
"""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

SECOND, MINUTE, HOUR, DAY = 1, 60, 3_600, 86_400
WINDOWS = (SECOND, MINUTE, HOUR, DAY)
MARGIN = timedelta(minutes=2)  # the clocks of machines that work together differ a little


class Limit(NamedTuple):
    """At most so many emails in a window of so many seconds (one of ``WINDOWS``)."""

    seconds: int
    most: int


class Used(NamedTuple):
    """How many emails a window has had: the one that began at this moment."""

    window_start: datetime
    emails: int


class Room(NamedTuple):
    """How many emails may go now; when it is none, the limit that is reached and when its next window begins."""

    emails: int
    reached: Limit | None = None
    until: datetime | None = None


def window_start(moment: datetime, seconds: int) -> datetime:
    """Return when the window began that a moment lies in.

    >>> window_start(datetime(2026, 11, 27, 13, 45, 30, tzinfo=UTC), HOUR).isoformat()
    '2026-11-27T13:00:00+00:00'
    """
    since = int(moment.timestamp())
    return datetime.fromtimestamp(since - since % seconds, UTC)


def next_window(moment: datetime, seconds: int) -> datetime:
    """Return when the next window begins.

    >>> next_window(datetime(2026, 11, 27, 13, 45, 30, tzinfo=UTC), DAY).isoformat()
    '2026-11-28T00:00:00+00:00'
    """
    return datetime.fromtimestamp(window_start(moment, seconds).timestamp() + seconds, UTC)


def used_now(used: Used | None, moment: datetime, seconds: int) -> int:
    """Return how many emails count in the window of a moment.

    A window that lies ahead is one that was counted while a clock was ahead: its emails count now.
    """
    return used.emails if used and used.window_start >= window_start(moment, seconds) else 0


def is_of_a_wrong_clock(used: Used, moment: datetime, seconds: int) -> bool:
    """Say whether a window lies so far ahead that the clocks of two machines that differ a little do not explain it.

    >>> noon = datetime(2026, 11, 27, 12, tzinfo=UTC)
    >>> [is_of_a_wrong_clock(Used(noon + timedelta(hours=hours), 5), noon, DAY) for hours in (12, 36)]
    [False, True]
    """
    return used.window_start > moment + max(timedelta(seconds=seconds), MARGIN)


def share(most: int, workers: Sequence[int], own: int) -> int:
    """Return how many of the connections that all workers together may have are this worker's.

    >>> [share(3, [4, 7], worker) for worker in (4, 7)], share(1, [4, 7], 7), share(2, [], 9)
    ([2, 1], 0, 2)
    """
    all_of_them = sorted({*workers, own})
    each, rest = divmod(most, len(all_of_them))
    return each + (all_of_them.index(own) < rest)


def room(limits: Sequence[Limit], used: Mapping[int, Used], wanted: int, moment: datetime) -> Room:
    """Return how many of the wanted emails may go; the limit that has room last decides when none may.

    >>> moment = datetime(2026, 11, 27, 13, 45, 30, tzinfo=UTC)
    >>> today = Used(window_start(moment, DAY), 198)
    >>> room([Limit(DAY, 200)], {DAY: today}, 20, moment).emails
    2
    >>> full = room([Limit(DAY, 198), Limit(HOUR, 50)], {DAY: today}, 20, moment)
    >>> full.emails, full.reached.most, full.until.day
    (0, 198, 28)
    """
    left = {limit: limit.most - used_now(used.get(limit.seconds), moment, limit.seconds) for limit in limits}
    emails = max(min([wanted, *left.values()]), 0)
    if emails or not wanted:
        return Room(emails)
    reached = max((limit for limit in limits if left[limit] <= 0), key=lambda limit: limit.seconds)
    return Room(0, reached, next_window(moment, reached.seconds))


# --- forecast


def last_goes_at(limits: Sequence[Limit], used: Mapping[int, Used], emails: int, moment: datetime) -> datetime:
    """Return when the last of so many emails may go, by all limits together and if nothing else is sent.

    >>> moment = datetime(2026, 11, 27, 13, 45, 30, tzinfo=UTC)
    >>> day = {DAY: Used(window_start(moment, DAY), 143)}
    >>> last_goes_at([Limit(DAY, 200)], day, 57, moment) == moment
    True
    >>> last_goes_at([Limit(DAY, 200), Limit(MINUTE, 10)], day, 150, moment).isoformat()
    '2026-11-28T00:09:00+00:00'
    """
    most = {limit.seconds: limit.most for limit in limits}
    left = [
        max(most[seconds] - used_now(used.get(seconds), moment, seconds), 0) if seconds in most else math.inf
        for seconds in WINDOWS
    ]
    whole: list[float] = []  # what a window of each length takes, from its beginning
    rest: list[float] = []  # what the present window of each length still takes
    for index, seconds in enumerate(WINDOWS):
        fills = further = math.inf
        if index:
            shorter = WINDOWS[index - 1]
            windows = (next_window(moment, seconds) - next_window(moment, shorter)) // timedelta(seconds=shorter)
            fills = whole[-1] * (seconds // shorter)
            further = rest[-1] + (whole[-1] * windows if windows else 0)
        whole.append(min(fills, most.get(seconds, math.inf)))
        rest.append(min(further, left[index]))
    rest = [min(takes, *left[index:]) for index, takes in enumerate(rest)]  # the longer windows hold it, too
    if emails <= rest[0]:
        return moment
    index = next((index for index, takes in enumerate(rest) if emails <= takes), len(WINDOWS)) - 1
    return _last_of(emails - rest[index], whole, index, next_window(moment, WINDOWS[index]))


def _last_of(emails: float, whole: Sequence[float], index: int, start: datetime) -> datetime:
    """Return in which window the last one goes, when nothing was sent since the first of these windows began."""
    for seconds, most in zip(reversed(WINDOWS[: index + 1]), reversed(whole[: index + 1]), strict=True):
        if most == math.inf:
            break
        full = (emails - 1) // most
        start += timedelta(seconds=full * seconds)
        emails -= full * most
    return start

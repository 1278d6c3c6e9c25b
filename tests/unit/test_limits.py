"""How many emails may go now: windows and their limits."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from mail.decide.limits import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    WINDOWS,
    Limit,
    Used,
    last_goes_at,
    next_window,
    room,
    used_now,
    window_start,
)

NOW = datetime(2026, 11, 27, 13, 45, 30, 500_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "start", "following"),
    [
        (SECOND, (13, 45, 30), (13, 45, 31)),
        (MINUTE, (13, 45, 0), (13, 46, 0)),
        (HOUR, (13, 0, 0), (14, 0, 0)),
    ],
)
def test_windows_are_fixed(seconds, start, following):
    hour, minute, second = start
    assert window_start(NOW, seconds) == NOW.replace(hour=hour, minute=minute, second=second, microsecond=0)
    hour, minute, second = following
    assert next_window(NOW, seconds) == NOW.replace(hour=hour, minute=minute, second=second, microsecond=0)


def test_a_day_begins_at_midnight_utc():
    assert next_window(NOW, DAY) == datetime(2026, 11, 28, tzinfo=UTC)
    assert window_start(datetime(2026, 11, 28, tzinfo=UTC), DAY) == datetime(2026, 11, 28, tzinfo=UTC)


@pytest.mark.parametrize(
    ("begun", "emails", "counts"),
    [
        (timedelta(), 7, 7),
        (timedelta(days=-1), 7, 0),  # yesterday's
        (timedelta(days=1), 7, 7),  # a clock was ahead for a moment
    ],
)
def test_only_the_present_window_counts(begun, emails, counts):
    assert used_now(Used(window_start(NOW, DAY) + begun, emails), NOW, DAY) == counts


@pytest.mark.parametrize(
    ("limits", "used", "wanted", "emails", "reached"),
    [
        ([], {}, 20, 20, None),
        ([(DAY, 200)], {}, 20, 20, None),
        ([(DAY, 200)], {DAY: 190}, 20, 10, None),
        ([(DAY, 200)], {DAY: 200}, 20, 0, DAY),
        ([(DAY, 200)], {DAY: 250}, 20, 0, DAY),  # it was lowered
        ([(DAY, 200)], {DAY: 200}, 0, 0, None),
        ([(MINUTE, 10), (DAY, 200)], {MINUTE: 3, DAY: 10}, 20, 7, None),
        ([(MINUTE, 10), (DAY, 200)], {MINUTE: 10, DAY: 10}, 20, 0, MINUTE),
        ([(MINUTE, 10), (DAY, 200)], {MINUTE: 10, DAY: 200}, 20, 0, DAY),  # the one that has room last
        ([(SECOND, 1), (HOUR, 5)], {HOUR: 4}, 20, 1, None),
        ([(HOUR, 5)], {DAY: 900}, 20, 5, None),  # of a limit that there is no more
    ],
)
def test_the_room_is_that_of_the_narrowest_limit(limits, used, wanted, emails, reached):
    counted = {seconds: Used(window_start(NOW, seconds), count) for seconds, count in used.items()}
    found = room([Limit(*limit) for limit in limits], counted, wanted, NOW)
    assert found.emails == emails
    assert (found.reached and found.reached.seconds) == reached
    assert found.until == (next_window(NOW, reached) if reached else None)


# --- forecast


@pytest.mark.parametrize(
    ("limits", "used", "emails", "ends"),
    [
        ({}, {}, 1_000_000, NOW),
        ({DAY: 200}, {DAY: 143}, 57, NOW),
        ({DAY: 200}, {DAY: 143}, 58, datetime(2026, 11, 28, tzinfo=UTC)),
        ({DAY: 200}, {DAY: 143}, 257, datetime(2026, 11, 28, tzinfo=UTC)),
        ({DAY: 200}, {DAY: 143}, 258, datetime(2026, 11, 29, tzinfo=UTC)),
        ({DAY: 200}, {DAY: 250}, 1, datetime(2026, 11, 28, tzinfo=UTC)),  # the limit was lowered
        ({HOUR: 100}, {}, 301, datetime(2026, 11, 27, 16, tzinfo=UTC)),
        ({DAY: 200, HOUR: 20}, {DAY: 143}, 77, datetime(2026, 11, 28, tzinfo=UTC)),
        ({DAY: 200, HOUR: 20}, {DAY: 143}, 57 + 200, datetime(2026, 11, 28, 9, tzinfo=UTC)),
        ({DAY: 200, HOUR: 20}, {DAY: 143}, 57 + 201, datetime(2026, 11, 29, tzinfo=UTC)),
        ({SECOND: 1}, {}, 1_000_000, NOW.replace(microsecond=0) + timedelta(seconds=999_999)),
    ],
)
def test_the_forecast_says_in_which_window_the_last_one_goes(limits, used, emails, ends):
    counted = {seconds: Used(window_start(NOW, seconds), count) for seconds, count in used.items()}
    assert last_goes_at([Limit(*limit) for limit in limits.items()], counted, emails, NOW) == ends


def sent_one_window_after_the_other(limits, used, emails, moment):
    """Send as the gate lets us, and return when the last one went."""
    used = dict(used)
    while True:
        now = room(limits, used, emails, moment)
        for limit in limits:
            before = used_now(used.get(limit.seconds), moment, limit.seconds)
            used[limit.seconds] = Used(window_start(moment, limit.seconds), before + now.emails)
        emails -= now.emails
        if not emails:
            return moment
        moment = room(limits, used, emails, moment).until


@pytest.mark.heavy
def test_the_forecast_is_what_the_gate_does():
    random = Random(8)
    for _ in range(300):
        lengths = random.sample(WINDOWS, random.randint(1, 4))
        limits = [Limit(seconds, random.randint(1, 9) * {SECOND: 1, MINUTE: 7, HOUR: 60, DAY: 300}[seconds])
                  for seconds in lengths]  # fmt: skip
        moment = NOW + timedelta(seconds=random.randrange(DAY))
        used = {limit.seconds: Used(window_start(moment, limit.seconds), random.randint(0, limit.most + 2))
                for limit in limits if random.random() < 0.7}  # fmt: skip
        emails = random.randint(1, 3000)
        ends = sent_one_window_after_the_other(limits, used, emails, moment)
        assert last_goes_at(limits, used, emails, moment) == ends, (limits, used, emails, moment)

"""The schedule of outgoing mail that was not taken yet."""

from datetime import UTC, datetime, timedelta

import pytest

from mail.decide.retry import next_try

FIRST = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


def test_the_whole_schedule_of_a_server_that_never_answers():
    now, attempts, minutes = FIRST, 1, []
    while (later := next_try(attempts, FIRST, now)) is not None:
        minutes.append(round((later - now).total_seconds() / 60))
        now, attempts = later, attempts + 1
    assert minutes == [1, 5, 15, 30] + [60] * 47
    assert timedelta(hours=47) < now - FIRST <= timedelta(hours=48)


@pytest.mark.parametrize(
    ("attempts", "hours_gone", "minutes"),
    [
        (1, 0, 1),
        (2, 0.02, 5),
        (3, 0.1, 15),
        (4, 0.4, 30),
        (5, 1, 60),
        (6, 2, 60),
        (90, 2, 60),
        (0, 0, 1),
        (1, 40, 1),  # the worker was off for 40 hours
        (5, 47, 60),
        (5, 47.01, None),
        (1, 49, None),
        (1, -1, 1),  # the clock was set back
    ],
)
def test_when_the_next_try_is(attempts, hours_gone, minutes):
    now = FIRST + timedelta(hours=hours_gone)
    assert next_try(attempts, FIRST, now) == (now + timedelta(minutes=minutes) if minutes else None)


H = timedelta(hours=1)


@pytest.mark.parametrize(
    ("hours_gone", "outages", "again"),  # hours after the first try, each outage from and until
    [
        (49, [], False),
        (47.5, [], False),
        (65, [], False),
        (65, [(1, 64)], True),  # off from Friday to Monday
        (65, [(-5, 64)], True),  # off before the first try already: only what came after it counts
        (65, [(0, 64)], True),
        (49, [(-30, -1)], False),  # over before the first try
        (49, [(50, 60)], False),  # still to come
        (49, [(10, 12)], True),
        (50.5, [(10, 12)], False),
        (54, [(1, 3), (10, 12), (20, 23)], True),
        (54.5, [(1, 3), (10, 12), (20, 23)], False),
        (47.9 + 60, [(47.9, 107.9)], True),  # at least six tries afterwards
        (47.9 + 60 + 4.9, [(47.9, 107.9)], True),
        (47.9 + 60 + 5.2, [(47.9, 107.9)], False),
        (10, [(9, 40)], True),  # a clock that was ahead and went back: nothing is counted twice
        (70, [(60, 62)], False),
        (66.9, [(60, 62)], True),  # six tries even for one that was given up by the clock while nobody was there
        (1000, [(1, 999)], True),
    ],
)
def test_hours_in_which_nothing_was_tried_do_not_count(hours_gone, outages, again):
    now = FIRST + hours_gone * H
    spans = [(FIRST + since * H, FIRST + until * H) for since, until in outages]
    assert (next_try(9, FIRST, now, spans) is not None) is again


def test_six_tries_come_after_an_outage():
    """The office was off from Friday to Monday, after two days of trying; the network is not yet up."""
    now, attempts, tries = FIRST + 110 * H, 50, 0
    outages = [(FIRST + 47 * H, now)]
    later: datetime | None = now
    while later is not None:
        now, attempts, tries = later, attempts + 1, tries + 1
        later = next_try(attempts, FIRST, now, outages)
    assert tries >= 6

"""The schedule of outgoing mail that was not taken yet."""

from datetime import UTC, datetime, timedelta

import pytest

from mail.decide.retry import is_temporary, next_try

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


@pytest.mark.parametrize("code", [None, 421, 450, 452, 600])
def test_what_is_tried_again(code):
    assert is_temporary(code)


@pytest.mark.parametrize("code", [500, 550, 552, 554])
def test_what_is_final(code):
    assert not is_temporary(code)

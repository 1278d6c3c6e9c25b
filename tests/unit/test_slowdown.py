"""The pace for a recipient domain: lowered step by step by answers that mean "slow down", taken back by time."""

from datetime import UTC, datetime, timedelta

import pytest

from mail.decide.slowdown import GREYLISTED_WAIT, LONGEST_WAIT, REASONS, WAITS, Slowdown, slower
from mail.sentences import SENTENCES

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
SLOW, GREY = "sending_limit_now", "greylisted"


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def test_each_answer_makes_the_domain_wait_longer_up_to_a_quarter_of_an_hour():
    slowdown, now, waits = None, NOON, []
    for _ in range(7):
        slowdown = slower(slowdown, SLOW, now)
        waits.append(slowdown.until - now)
        now = slowdown.until
    assert waits == [*WAITS, LONGEST_WAIT, LONGEST_WAIT]


@pytest.mark.parametrize(
    ("quiet", "steps", "next_wait"),
    [(0, 5, 15), (14, 5, 15), (15, 4, 15), (25, 3, 10), (30, 2, 5), (32, 1, 2), (33, 0, 1), (9000, 0, 1)],
)
def test_a_step_is_taken_back_for_each_quiet_time_as_long_as_its_wait(quiet, steps, next_wait):
    slowdown, now = Slowdown(5, NOON, "domain_slowed"), NOON + minutes(quiet)
    assert slowdown.steps_left(now) == steps
    assert slower(slowdown, SLOW, now).until - now == minutes(next_wait)


def test_greylisting_asks_for_a_second_try_and_not_for_fewer_emails():
    first = slower(None, GREY, NOON)
    assert (first.until - NOON, first.code) == (GREYLISTED_WAIT, "domain_greylisted")
    again = slower(first, GREY, first.until)
    assert again.until - first.until == GREYLISTED_WAIT and again.steps == 1
    assert slower(Slowdown(3, NOON, ""), GREY, NOON).steps == 3


@pytest.mark.parametrize(
    ("after", "holds", "over"),
    [(-18, False, True), (-17, True, False), (-1, True, False), (0, False, False), (2, False, False), (3, False, True)],
)
def test_a_wait_holds_until_its_end_and_one_of_a_wrong_clock_not_at_all(after, holds, over):
    slowdown, now = Slowdown(2, NOON, "domain_slowed"), NOON + minutes(after)
    assert (slowdown.holds(now), slowdown.is_over(now)) == (holds, over)


def test_every_reason_is_a_sentence():
    assert set(REASONS.values()) <= set(SENTENCES)

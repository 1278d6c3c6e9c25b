"""The rule of the blacklist: at least 5 bounces in 30 days, the first and the last of them at least 7 days apart."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from mail.decide.blacklist import blacklist_arithmetic
from mail.sentences import say

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
DUE, NOT = True, False


def at(text: str) -> datetime:
    """``11-30`` or ``11-30 12:00`` of 2026 (``2025-12-31`` of another year), noon unless told otherwise."""
    day, _, hour = text.partition(" ")
    day = day if len(day) == 10 else f"2026-{day}"
    return datetime.fromisoformat(f"{day} {hour or '12:00'}").replace(tzinfo=UTC)


# bounces (newest last) | due | counted within the window | what is special
SEQUENCES = [
    ("", NOT, 0, "none"),
    ("11-30", NOT, 1, "one"),
    ("11-01 11-10 11-20 11-30", NOT, 4, "four are not five"),
    ("11-20 11-22 11-24 11-26 11-28", DUE, 5, "five over eight days"),
    ("11-21 11-22 11-23 11-24 11-28", DUE, 5, "exactly seven days apart"),
    ("11-21 11-22 11-23 11-24 11-28 11:59:59", NOT, 5, "a second less than seven days apart"),
    ("11-21 11-22 11-23 11-24 11-28 12:00:01", DUE, 5, "a second more than seven days apart"),
    ("11-22 11-23 11-24 11-25 11-26", NOT, 5, "four days apart"),
    ("11-30 08:00 11-30 08:01 11-30 08:02 11-30 08:03 11-30 08:04", NOT, 5, "one bad morning of a server"),
    ("11-30 08:00 " * 40, NOT, 40, "forty on one bad day"),
    ("11-20 11-20 11-20 11-20 11-30", DUE, 5, "four at once, one ten days later"),
    ("11-20 11-30 11-30 11-30 11-30", DUE, 5, "one, then four at once ten days later"),
    ("10-31 11-07 11-14 11-21 11-28", DUE, 5, "the first exactly thirty days ago"),
    ("10-31 11:59:59 11-07 11-14 11-21 11-28", NOT, 4, "the first a second more than thirty days ago"),
    ("10-31 12:00:01 11-07 11-14 11-21 11-28", DUE, 5, "the first a second less than thirty days ago"),
    ("10-31 11-24 11-25 11-26 11-27", DUE, 5, "the spread is made by the oldest that counts"),
    ("10-30 11-24 11-25 11-26 11-27 11-28", NOT, 5, "the oldest is out of the window and makes no spread"),
    ("09-01 09-08 09-15 09-22 09-29", NOT, 0, "all of them long ago"),
    ("09-01 10-01 11-01 11-15 11-30", NOT, 3, "five in three months"),
    ("2025-11-01 2025-11-08 2025-11-15 2025-11-22 2025-11-29", NOT, 0, "the same days of last year"),
    ("11-28 11-26 11-24 11-22 11-20", DUE, 5, "in any order"),
    ("11-20 11-22 11-24 11-26 11-30 12:00", DUE, 5, "the last this very moment"),
    ("11-20 11-22 11-24 11-26 11-30 12:00:01", NOT, 4, "one in the future does not count"),
    ("11-20 11-20 11-20 11-20 11-20 11-27", DUE, 6, "six"),
    ("11-01 11-30 11-30", NOT, 3, "far apart, but three"),
    ("11-01 00:00 11-02 00:00 11-03 00:00 11-04 00:00 11-08 00:00", DUE, 5, "at midnight"),
]  # fmt: skip


def dates(sequence: str) -> list[datetime]:
    words: list[str] = []
    for word in sequence.split():
        if ":" in word:
            words[-1] += f" {word}"
        else:
            words.append(word)
    return [at(word) for word in words]


def test_the_table_is_long_enough():
    assert len(SEQUENCES) >= 25


@pytest.mark.parametrize(("sequence", "due", "count", "special"), SEQUENCES)
def test_five_in_thirty_days_a_week_apart(sequence, due, count, special):
    found = blacklist_arithmetic(dates(sequence), NOW)
    assert (found.due, found.count) == (due, count), special


# now | bounces | due | what is special
ENDS = [
    ("2026-03-01 12:00", "02-01 02-08 02-15 02-22 03-01", DUE, "a short February lies within"),
    ("2026-03-31 12:00", "03-01 03-08 03-15 03-22 03-31", DUE, "thirty days, not a calendar month: the first is in"),
    ("2026-03-31 12:00", "02-28 03-08 03-15 03-22 03-31", NOT, "the same day of last month is out"),
    ("2027-01-05 12:00", "2026-12-07 2026-12-14 2026-12-21 2026-12-28 2027-01-04", DUE, "over the end of a year"),
    ("2028-03-10 12:00", "2028-02-09 2028-02-19 2028-02-29 2028-03-05 2028-03-10", DUE, "over a leap day"),
    ("2026-10-26 12:00", "10-18 10-20 10-22 10-24 10-25 12:00", DUE, "clocks go back in Europe: exactly seven days"),
    ("2026-03-30 12:00", "03-22 12:00 03-23 03-24 03-25 03-29 11:59:59", NOT, "clocks go forward: a second short"),
]  # fmt: skip


@pytest.mark.parametrize(("now", "sequence", "due", "special"), ENDS)
def test_days_are_twenty_four_hours(now, sequence, due, special):
    assert blacklist_arithmetic(dates(sequence), at(now)).due is due, special


def test_zones_make_no_difference():
    zone = timezone(timedelta(hours=9))
    moved = [date.astimezone(zone) for date in dates("11-21 11-22 11-23 11-24 11-28")]
    assert blacklist_arithmetic(moved, NOW.astimezone(timezone(-timedelta(hours=7)))).due


FIVE = "11-02 11-09 11-16 11-23 11-30"


@pytest.mark.parametrize(
    ("counted_from", "sequence", "due", "count"),
    [
        (None, FIVE, DUE, 5),
        ("10-01", FIVE, DUE, 5),
        ("11-02", FIVE, NOT, 4),  # what came at the moment of the removal does not count
        ("11-02 11:59:59", FIVE, DUE, 5),
        ("11-15", FIVE, NOT, 3),
        ("11-30", FIVE, NOT, 0),
        ("11-10", "11-02 11-09 11-16 11-18 11-20 11-22 11-24", DUE, 5),  # five new ones after the removal
        ("11-10", "11-02 11-09 11-16 11-17 11-18 11-19 11-20", NOT, 5),  # five new ones, but within four days
    ],
)
def test_after_a_removal_only_later_bounces_count(counted_from, sequence, due, count):
    found = blacklist_arithmetic(dates(sequence), NOW, counted_from=counted_from and at(counted_from))
    assert (found.due, found.count) == (due, count)


@pytest.mark.parametrize(
    ("numbers", "sequence", "due"),
    [
        ({"bounces": 3}, "11-01 11-10 11-20", DUE),
        ({"bounces": 6}, FIVE, NOT),
        ({"days": 7}, FIVE, NOT),
        ({"days": 90}, "09-10 09-20 10-10 10-20 11-20", DUE),
        ({"spread_days": 0}, "11-30 08:00 " * 5, DUE),
        ({"spread_days": 28}, FIVE, DUE),
        ({"spread_days": 29}, FIVE, NOT),
        ({"bounces": 0, "spread_days": 0}, "", NOT),  # nobody is listed without a single bounce
    ],
)
def test_the_numbers_are_parameters(numbers, sequence, due):
    assert blacklist_arithmetic(dates(sequence), NOW, **numbers).due is due


@pytest.mark.parametrize(
    ("sequence", "sentence"),
    [
        ("11-20 11-22 11-24", "3 of 5 bounces in 30 days, 4 of 7 days apart."),
        (
            "11-20 11-22 11-24 11-26 11-28",
            "5 bounces in the last 30 days (limit 5), first and last 8 days apart (minimum 7):"
            " the address is considered invalid and gets no more mailings.",
        ),
    ],
)
def test_the_arithmetic_can_be_read(sequence, sentence):
    assert say(blacklist_arithmetic(dates(sequence), NOW).why) == sentence

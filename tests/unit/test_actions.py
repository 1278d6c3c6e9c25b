"""When a scheduled action is due: the phase is kept, whatever was missed, edited or set back."""

from datetime import UTC, datetime

import pytest

from mail.maintenance.schedule import next_due, replan


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("slot", "interval", "unit", "now", "due"),
    [
        ("2026-01-01 12:00:00", 5, "minutes", "2026-01-01 12:00:01", "2026-01-01 12:05:00"),
        ("2026-01-01 12:00:00", 5, "minutes", "2026-01-01 12:05:00", "2026-01-01 12:10:00"),  # strictly later
        ("2026-01-01 12:00:00", 5, "minutes", "2026-01-01 17:03:00", "2026-01-01 17:05:00"),  # the phase is kept
        ("2026-01-01 12:00:00", 7, "seconds", "2026-01-01 12:00:20", "2026-01-01 12:00:21"),
        ("2026-01-01 12:00:00", 1, "days", "2026-03-29 13:00:00", "2026-03-30 12:00:00"),  # UTC knows no summer time
        ("2026-01-01 12:00:00", 2, "weeks", "2026-01-02 00:00:00", "2026-01-15 12:00:00"),
        ("2026-01-31 08:00:00", 1, "months", "2026-01-31 08:00:00", "2026-02-28 08:00:00"),
        ("2026-01-15 08:00:00", 1, "months", "2026-11-15 07:59:59", "2026-11-15 08:00:00"),
        ("2026-01-15 08:00:00", 3, "months", "2026-12-01 00:00:00", "2027-01-15 08:00:00"),
        ("2026-12-31 08:00:00", 1, "months", "2026-12-31 09:00:00", "2027-01-31 08:00:00"),
        ("2026-01-01 12:00:00", 5, "minutes", "2025-12-31 12:00:00", "2026-01-01 12:05:00"),  # the clock went back
    ],
)
def test_the_next_run_keeps_the_phase(slot, interval, unit, now, due):
    assert next_due(moment(slot), interval, unit, moment(now)) == moment(due)


@pytest.mark.parametrize(
    ("due", "before", "after", "now", "next_run"),
    [
        # as if the new interval had held since the last run: a shorter one is due at once ...
        ("2026-01-01 12:05:00", (5, "minutes"), (5, "seconds"), "2026-01-01 12:01:00", "2026-01-01 12:01:00"),
        ("2026-01-01 12:05:00", (5, "minutes"), (2, "minutes"), "2026-01-01 12:01:00", "2026-01-01 12:02:00"),
        # ... a longer one later
        ("2026-01-01 12:05:00", (5, "minutes"), (1, "hours"), "2026-01-01 12:01:00", "2026-01-01 13:00:00"),
        ("2026-03-31 00:00:00", (1, "days"), (1, "months"), "2026-03-30 12:00:00", "2026-04-30 00:00:00"),
        # one that a person put off stays put off
        ("2026-02-01 00:00:00", (5, "minutes"), (5, "seconds"), "2026-01-01 12:01:00", "2026-02-01 00:00:00"),
    ],
)
def test_another_interval_counts_from_the_last_run(due, before, after, now, next_run):
    assert replan(moment(due), before, after, moment(now)) == moment(next_run)

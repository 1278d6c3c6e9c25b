"""Scheduled actions: what there is, when each is due next, and how an edit or Run now reaches the worker."""

import calendar
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flask_babel import lazy_gettext as _l
from flask_babel import ngettext
from sqlalchemy import update

from mail.settings.parameters import NotValid
from models import Event, ScheduledAction, db
from models.job import UNITS

SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86_400, "weeks": 7 * 86_400, "months": 28 * 86_400}
LONGEST = 10 * 365 * 86_400
TOPIC = "actions"  # of the events and of the wake


@dataclass(frozen=True)
class Action:
    """An action as it comes: its first interval, and the smallest one that can be set, in seconds."""

    code: str
    name: str
    interval: int
    unit: str
    smallest: int
    help: Any  # a lazy string
    hour: int | None = None  # of the first run, by UTC; None: at once

    def first_run(self, now: datetime) -> datetime:
        """Return when a new office does it first."""
        if self.hour is None:
            return now
        today = now.replace(hour=self.hour, minute=0, second=0, microsecond=0)
        return today if today > now else today + timedelta(days=1)


ACTIONS = (
    Action(
        "fetch",
        "Mail: Fetchmail Service",
        5,
        "minutes",
        5,
        _l("Fetches emails from all active, confirmed incoming servers."),
    ),
    Action(
        "queue",
        "Mail: Outgoing queue",
        1,
        "hours",
        5,
        _l("Emails are sent immediately; this action is a safety net for emails left waiting."),
    ),
    Action(
        "mailings",
        "Email Marketing: Mass-mail queue",
        1,
        "minutes",
        5,
        _l("Starts scheduled mailings, retries deferred recipients and closes finished mailings."),
    ),
    Action(
        "digest",
        "Mail: Daily digest",
        1,
        "days",
        3600,
        _l(
            "Emails people a summary of their messages that were not delivered, and administrators what is in "
            "quarantine. Nothing is sent when there is nothing new."
        ),
        hour=6,
    ),
    Action(
        "deliverability",
        "Mail: Deliverability check",
        1,
        "days",
        600,
        _l(
            "Looks up the DNS records of every domain that emails are sent from, and tells administrators when one "
            "of them got worse."
        ),
        hour=5,
    ),
    Action(
        "cleanup",
        "Clean-up",
        1,
        "hours",
        60,
        _l("Removes what is older than the retention parameters allow. Quarantined emails are never removed."),
    ),
)
BY_CODE = {action.code: action for action in ACTIONS}


def next_due(slot: datetime, interval: int, unit: str, now: datetime) -> datetime:
    """Return the first moment after ``now`` that lies a whole number of intervals after ``slot``.

    >>> from datetime import UTC
    >>> slot = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)
    >>> next_due(slot, 5, "minutes", datetime(2026, 1, 31, 9, 2, tzinfo=UTC)).strftime("%H:%M")
    '09:05'
    >>> next_due(slot, 1, "months", slot).strftime("%d %B")
    '28 February'
    """
    if unit == "months":
        passed = (now.year - slot.year) * 12 + now.month - slot.month
        steps = max(passed // interval, 1)
        while (due := _months_later(slot, steps * interval)) <= now:
            steps += 1
        return due
    step = timedelta(seconds=interval * SECONDS[unit])
    return slot + step * max((now - slot) // step + 1, 1)


def one_before(due: datetime, interval: int, unit: str) -> datetime:
    """Return the moment one interval earlier."""
    if unit == "months":
        return _months_later(due, -interval)
    return due - timedelta(seconds=interval * SECONDS[unit])


def _months_later(moment: datetime, months: int) -> datetime:
    year, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    day = min(moment.day, calendar.monthrange(year, month + 1)[1])
    return moment.replace(year=year, month=month + 1, day=day)


def smallest(action: ScheduledAction) -> int:
    """Return the smallest interval of an action, in seconds."""
    return BY_CODE[action.code].smallest if action.code in BY_CODE else 60


def replan(due: datetime, before: tuple[int, str], after: tuple[int, str], now: datetime) -> datetime:
    """Return when an action is due that had another interval ``before``: as if the new one had always held.

    >>> from datetime import UTC
    >>> due = datetime(2026, 1, 1, 12, 5, tzinfo=UTC)
    >>> replan(due, (5, "minutes"), (5, "seconds"), datetime(2026, 1, 1, 12, 1, tzinfo=UTC)).strftime("%H:%M:%S")
    '12:01:00'
    >>> replan(due, (5, "minutes"), (1, "hours"), datetime(2026, 1, 1, 12, 1, tzinfo=UTC)).strftime("%H:%M:%S")
    '13:00:00'
    """
    last = one_before(due, *before)
    if last > now:  # a person put it off
        return due
    return max(next_due(last, *after, last), now)


def edit(action: ScheduledAction, interval: int, unit: str, active: bool, now: datetime) -> None:
    """Change an action; workers obey within two seconds. Raises ``NotValid``. The caller commits, then wakes them."""
    if unit not in UNITS:
        raise NotValid(_l("Choose a unit from the list."))
    seconds = interval * SECONDS[unit]
    if interval < 1 or seconds < smallest(action):
        text = ngettext(
            "The minimum interval is %(num)s second.", "The minimum interval is %(num)s seconds.",
            smallest(action),
        )  # fmt: skip
        raise NotValid(text)
    if seconds > LONGEST:
        raise NotValid(_l("The maximum interval is ten years."))
    if (interval, unit) != (action.interval, action.unit):
        action.next_run_at = replan(action.next_run_at, (action.interval, action.unit), (interval, unit), now)
    action.interval, action.unit, action.active = interval, unit, active
    action.version += 1
    Event.add([TOPIC], now)


def run_now(action_id: int, now: datetime) -> None:
    """Ask the workers to run an action at once, beside its schedule; the caller commits, then wakes them."""
    db.session.execute(
        update(ScheduledAction).where(ScheduledAction.id == action_id).values(run_requested_at=now)
    )  # fmt: skip
    Event.add([TOPIC], now)

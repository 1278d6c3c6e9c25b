"""No wait is longer than its own interval: what was put off while a clock was ahead is brought forward."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, case, exists, func, literal, or_, select, update

from mail.decide.retry import DELAYS
from mail.decide.signing import UNSIGNED_WAITS
from mail.decide.slowdown import LONGEST_WAIT, REASONS
from models import Mailing, Recipient, Trace, change_rows, db, reading

MARGIN = timedelta(minutes=2)  # the clocks of machines that work together differ a little
LONGEST_WINDOW = timedelta(days=1)  # of a limit
LONGEST_PAUSE = timedelta(minutes=5)  # of a mailing whose server is away


def bring_forward(now: datetime) -> int:
    """Let nothing wait longer than it would if it had been put off now; returns how much was changed. Commits."""
    changed = 0
    for table, too_long, latest in _kinds(now):
        with reading():
            found = db.session.scalar(select(exists().where(too_long)))
        if found:
            changed += change_rows(update(table).where(too_long).values(next_try_at=latest))
            db.session.commit()
    return changed


def _kinds(now: datetime) -> Iterator[tuple[Any, ColumnElement[bool], Any]]:
    """What waits too long in each table, and when it is due at the latest."""
    line, trace, mailing, far = Recipient, Trace, Mailing, now + MARGIN
    again, hour = and_(line.state == "queued", line.wait == "retry"), DELAYS[-1]
    unsigned = func.coalesce(line.why["code"].as_string(), "") == "dkim_key_unreadable"
    yield line, and_(line.state == "queued", line.wait == "", line.next_try_at > far), now
    yield line, and_(again, line.doubts == 0, _too_long(line, far), ~unsigned), _latest(line, now)
    yield line, and_(again, line.doubts > 0, line.next_try_at > far + hour), now + hour
    yield line, and_(again, line.next_try_at > far + UNSIGNED_WAITS, unsigned), now
    slowed = func.coalesce(trace.why["code"].as_string(), "").in_(REASONS.values())
    yield trace, and_(trace.state == "deferred", _too_long(trace, far), ~slowed), _latest(trace, now)
    yield trace, and_(trace.state == "deferred", trace.next_try_at > far + LONGEST_WAIT, slowed), now
    yield line, and_(line.state == "queued", line.wait == "limit", line.next_try_at > far + LONGEST_WINDOW), now
    sending, pause, limited = mailing.state == "sending", LONGEST_PAUSE, mailing.waits_for_limit()
    yield mailing, and_(sending, ~limited, mailing.next_try_at > far + pause), now + pause
    yield mailing, and_(sending, limited, mailing.next_try_at > far + LONGEST_WINDOW), now


def _too_long(table: Any, now: datetime) -> ColumnElement[bool]:
    steps = [and_(table.attempts <= tries, table.next_try_at > now + delay) for tries, delay in _steps()]
    return or_(*steps, table.next_try_at > now + DELAYS[-1])


def _latest(table: Any, now: datetime) -> Any:
    moment = table.next_try_at.type
    steps = [(table.attempts <= tries, literal(now + delay, moment)) for tries, delay in _steps()]
    return case(*steps, else_=literal(now + DELAYS[-1], moment))


def _steps() -> Iterator[tuple[int, timedelta]]:
    """The delay after so many tries, as long as it grows."""
    return enumerate(DELAYS[:-1], 1)

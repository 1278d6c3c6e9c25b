"""Times in which no worker was at work: a machine that was off or asleep, a clock that was set forward.

Nothing was tried in them, so they do not count towards the time after which a mail is given up. They are noticed by the
first heartbeat afterwards, and known to all threads of this process.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select

from mail.decide.retry import GIVE_UP_AFTER, Span
from models import Outage, Worker, change_rows, db

LONG = timedelta(minutes=10)  # a shorter silence is a restart
BACK = timedelta(minutes=1)  # an outage that ends later than this from now was none: the clock was ahead

_known: Sequence[Span] = ()


def known() -> Sequence[Span]:
    """Return the outages that may matter to a mail that is still tried, oldest first."""
    return _known


def note(now: datetime) -> None:
    """Note an outage that ends now, if nobody was at work for long; forget those that a wrong clock made. Commits."""
    global _known
    change_rows(delete(Outage).where(Outage.until > now + BACK))
    last = db.session.scalar(select(func.max(Worker.at_work_at)).where(Worker.at_work_at <= now + BACK))
    if last is not None and now - last > LONG:
        db.session.add(Outage(since=last, until=now))
        db.session.flush()
    _known = stored(now)
    db.session.commit()


def stored(now: datetime) -> Sequence[Span]:
    """Return the same as ``known``, for a process that notices none."""
    recent = select(Outage.since, Outage.until).where(Outage.until > now - 10 * GIVE_UP_AFTER).order_by(Outage.until)
    return tuple((row.since, row.until) for row in db.session.execute(recent))

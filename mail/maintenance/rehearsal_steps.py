"""What a worker does so that a rehearsal begins or ends: slice by slice, each in a short transaction of its own.

Every slice looks for what is left to do, and nothing else remembers how far it came: after a kill at any line the next
look goes on. While it begins or ends nothing is claimed (``Connections.halted``). What was claimed a moment before is
waited for at the end, so that nothing comes back to the queue after it was decided about.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import ColumnElement, and_, exists, false, func, or_, select, update

from mail.maintenance.rehearsal import PAGE, TOPIC, count_lines, rehearsed, tell, written_before, written_in_it
from mail.outgoing import lines
from mail.outgoing.delivery_state import show_progress
from mail.sentences import why
from mail.settings import installation, office, rehearsal
from mail.settings.notices import tell_admins
from mail.settings.rehearsal import Rehearsal
from models import Chunk, Event, OutgoingMail, Recipient, change_rows, db, reading, writing
from models.base import holds
from models.outgoing import HELD
from models.slices import give_way

log = logging.getLogger("coquimail.rehearsal")

AT_ONCE = 200  # lines of one transaction
ANEW_AT_ONCE = 20  # whose server is chosen anew, email by email


def is_due() -> bool:
    """Say whether there is something to do."""
    with reading():
        found = rehearsal.current()
        return found is not None and (found.halts or bool(db.session.scalar(select(exists().where(_not_held(found))))))


def carry_out(now: datetime) -> bool:
    """Do the next piece of what the beginning or the end of a rehearsal needs; returns whether there is more to do at
    once. Commits. For one worker at a time.
    """
    office.forget()
    with reading():
        found = rehearsal.current()
    if found is None:
        return False
    began = time.monotonic()
    more = _hold(found, now) if found.end is None else _end(found, now)
    give_way(time.monotonic() - began)
    return more


# --- its beginning


def _hold(found: Rehearsal, now: datetime) -> bool:
    """Have what was written before go on waiting as if it had never been tried, also what comes back to the queue later
    because somebody who had taken it died.
    """
    waits = _not_held(found)
    some = _some(waits, AT_ONCE)
    if not some and not found.begins:
        return False
    with writing():
        if rehearsal.locked(now) != found:
            db.session.rollback()
            return True
        values = {
            "wait": "schedule",
            "next_try_at": HELD,
            "first_try_at": None,
            "attempts": 0,
            "why": why("rehearsal_holds"),
        }
        change_rows(update(Recipient).where(Recipient.id.in_(some), waits).values(values))
        _show(some, now)
        if not some:
            rehearsal.store(replace(found, begins=False), now)
            log.info("rehearsal: it has begun")
            tell(now)
        db.session.commit()
    return True


def _not_held(found: Rehearsal) -> ColumnElement[bool]:
    return and_(holds(Recipient.state, "queued"), Recipient.next_try_at < HELD, written_before(found))


# --- its end


@dataclass(frozen=True)
class _Undecided:
    """Lines that the end has not come to yet."""

    to_leave: ColumnElement[bool]
    taken_before: ColumnElement[bool]  # they wait no more because the practice mailbox took them: left like the others
    held: ColumnElement[bool]
    to_send_for_real: ColumnElement[bool]

    @property
    def kinds(self) -> tuple[ColumnElement[bool], ...]:
        return self.to_leave, self.taken_before, self.held, self.to_send_for_real

    @classmethod
    def of(cls, found: Rehearsal) -> "_Undecided":
        assert found.end is not None
        chosen = ((written_before(found), found.end.send_held), (written_in_it(found), found.end.send_written))
        queued, left = holds(Recipient.state, "queued"), or_(false(), *(which for which, sends in chosen if not sends))
        return cls(
            queued & left,
            rehearsed(found) & or_(false(), *(() if found.end.send_held else (written_before(found),))),
            queued & (Recipient.next_try_at >= HELD) & ~left,
            rehearsed(found) & or_(false(), *(which for which, sends in chosen if sends)),
        )


def _end(found: Rehearsal, now: datetime) -> bool:
    """Cancel, let go and queue again what was chosen; then, once nothing is under way, emails are sent for real."""
    undecided = _Undecided.of(found)
    for which, decide, most in (
        (undecided.to_leave, _leave, AT_ONCE),
        (undecided.taken_before, _leave, AT_ONCE),
        (undecided.held, _release, AT_ONCE),
        (undecided.to_send_for_real, _send_for_real, ANEW_AT_ONCE),
    ):
        if some := _some(which, most):
            with writing():
                if rehearsal.locked(now) == found:
                    decide(found, some, now)
                    _show(some, now)
                    Event.add([TOPIC], now)
                db.session.commit()
            return True
    return _finish(found, undecided, now)


def _leave(found: Rehearsal, some: Sequence[int], now: datetime) -> None:
    assert found.end is not None
    taken = update(Recipient).where(Recipient.id.in_(some), Recipient.state == "sent")
    change_rows(taken.values(state="queued", sent_at=None))
    reason = why("rehearsal_left_unsent", user=found.end.who)
    lines.note(some, reason, now)
    lines.cancel(some, now, found.end.who)
    left = update(Recipient).where(Recipient.id.in_(some), Recipient.state == "cancelled")
    change_rows(left.values(why=reason))


def _release(_found: Rehearsal, some: Sequence[int], now: datetime) -> None:
    """Let go what was written before: at once, or when it was scheduled for."""
    at = select(OutgoingMail.scheduled_at).where(OutgoingMail.id == Recipient.mail_id).scalar_subquery()
    held = update(Recipient).where(Recipient.id.in_(some), Recipient.state == "queued")
    change_rows(held.values(next_try_at=now, wait="", why=None))
    change_rows(held.where(at > now).values(next_try_at=at, wait="schedule"))


def _send_for_real(found: Rehearsal, some: Sequence[int], now: datetime) -> None:
    """Queue again what the practice mailbox took."""
    assert found.end is not None
    taken = update(Recipient).where(Recipient.id.in_(some), Recipient.state == "sent")
    again = db.session.scalars(taken.values(state="cancelled", sent_at=None).returning(Recipient.id)).all()
    lines.queue_again(again, why("rehearsal_sent_for_real", user=found.end.who), now)


@dataclass(frozen=True)
class ToDo:
    """What the beginning or the end of a rehearsal waits for: lines to decide about, and what is under way, in lines
    and in parts of mailings.
    """

    lines: int
    under_way: int = 0
    chunks: int = 0


def to_do(found: Rehearsal) -> ToDo:
    """Return what is left until it has begun, or is over."""
    if found.end is None:
        return ToDo(count_lines(_not_held(found)))
    chunks = db.session.scalar(select(func.count(Chunk.id)).where(holds(Chunk.state, "taken"))) or 0
    return ToDo(count_lines(*_Undecided.of(found).kinds), count_lines(holds(Recipient.state, "sending")), chunks)


def _finish(found: Rehearsal, undecided: _Undecided, now: datetime) -> bool:
    """Send for real from now on, from where the office is now, unless something is left: it is looked for once more
    by one statement, which sees one moment. A line that is under way would come back to the queue.
    """
    assert found.end is not None
    under_way = exists().where(holds(Recipient.state, "sending")) | exists().where(Chunk.state == "taken")
    is_left = select(or_(under_way, *(exists().where(which) for which in undecided.kinds)))
    with reading():
        if db.session.scalar(is_left):
            return False
    with writing():
        if rehearsal.locked(now) != found or db.session.scalar(is_left):
            db.session.rollback()
            return True
        rehearsal.turn_off(now, found.end.user_id)
        tell_admins("notice_rehearsal_ended", {"user": found.end.who}, PAGE, now)
        installation.settle(now, found.end.user_id)
        log.info("rehearsal: it is over")
        tell(now)
    return False


def _some(which: ColumnElement[bool], most: int) -> Sequence[int]:
    with reading():
        return db.session.scalars(select(Recipient.id).where(which).limit(most)).all()


def _show(some: Sequence[int], now: datetime) -> None:
    mails = db.session.scalars(select(Recipient.mail_id).where(Recipient.id.in_(some)))
    show_progress(lines.posts_of_mails(set(mails)), now)

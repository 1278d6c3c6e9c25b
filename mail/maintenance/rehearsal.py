"""Rehearsal mode: how it begins, by a person or because the database was copied, and what its end does.

What was written before it began is held until somebody decides; what is written meanwhile goes to the practice
mailbox. Whoever ends it says what becomes of both: nothing is sent for real without being asked.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select, update

from mail.mailing.mailing import paused_by_rehearsal
from mail.outgoing import lines
from mail.outgoing.delivery_state import show_progress
from mail.sentences import Why, why
from mail.settings import installation, office, rehearsal
from mail.settings.notices import tell_admins
from mail.settings.wake import wake
from models import Event, Mailing, OutgoingMail, PracticeMail, Recipient, Trace, change_rows, db, reading
from models.base import holds
from models.outgoing import HELD
from models.slices import by_hundreds

log = logging.getLogger("coquimail.rehearsal")

AT_ONCE = 200  # lines of one transaction
PAGE = "/settings/rehearsal"
TOPIC = "rehearsal"  # of the wake, and of the events for open pages
MAILINGS_SHOWN = 10


# --- its beginning


def begin_where_copied(now: datetime) -> None:
    """Rehearse if the database is not where it was, or is older than it was; else note that it is at home. Commits.

    For each worker, before it claims anything, and every minute: a backup may be restored under its feet.
    """
    office.forget()
    with reading():
        reason = installation.moved()
        goes_on = rehearsal.is_on()
    if reason is None:
        installation.count_on(now)
    elif not goes_on:
        log.warning("rehearsal: %s", reason["code"])
        begin(reason, now)


def begin(reason: Why, now: datetime, user_id: int | None = None) -> None:
    """Let nothing leave from now on: what waits is held, mailings are paused. Commits on its way, and wakes."""
    _hold(now)
    paused_by_rehearsal(why("rehearsal_holds_mailing"), now)
    before = db.session.scalar(select(func.max(PracticeMail.id))) or 0
    rehearsal.turn_on(reason, before, now, user_id)
    notice = "notice_rehearsal_began" if user_id else "notice_rehearsal_asks"
    tell_admins(notice, {"reason": reason}, PAGE, now)
    _tell(now)


def _hold(now: datetime) -> None:
    """Have the lines that wait go on waiting, as if they had never been tried."""
    last = 0
    while True:
        waits = select(Recipient.id, Recipient.mail_id).where(_queued(), Recipient.next_try_at < HELD)
        found = db.session.execute(waits.where(Recipient.id > last).order_by(Recipient.id).limit(AT_ONCE)).all()
        if not found:
            return
        last = found[-1].id
        values = {
            "wait": "schedule",
            "next_try_at": HELD,
            "first_try_at": None,
            "attempts": 0,
            "why": why("rehearsal_holds"),
        }
        still = (Recipient.id.in_([line.id for line in found]), Recipient.state == "queued")
        change_rows(update(Recipient).where(*still).values(values))
        show_progress(lines.posts_of_mails({line.mail_id for line in found}), now)
        db.session.commit()


# --- what is left at its end


@dataclass(frozen=True)
class Left:
    """What somebody decides about who ends a rehearsal, in recipients of emails.

    ``held`` were written before, ``rehearsed`` went to the practice mailbox and ``waiting`` are still to go there.
    """

    held: int
    rehearsed: int
    waiting: int
    mailings: Sequence[Mailing]

    @property
    def written(self) -> int:
        """What was written in the rehearsal."""
        return self.rehearsed + self.waiting


def left(found: rehearsal.Rehearsal) -> Left:
    """Return what a rehearsal leaves if it ends now."""
    of_lines = select(func.count(Recipient.id))
    mailings = (
        select(Mailing)
        .where(Mailing.id.in_(_traces_rehearsed(found).with_only_columns(Trace.mailing_id)))
        .order_by(Mailing.id.desc())
        .limit(MAILINGS_SHOWN)
    )
    return Left(
        db.session.scalar(of_lines.where(_is_held())) or 0,
        db.session.scalar(of_lines.where(Recipient.id.in_(_rehearsed(found)))) or 0,
        db.session.scalar(of_lines.where(_queued(), Recipient.next_try_at < HELD)) or 0,
        db.session.scalars(mailings).all(),
    )


def _queued() -> ColumnElement[bool]:
    return holds(Recipient.state, "queued")


def _is_held() -> ColumnElement[bool]:
    return (Recipient.state == "queued") & (Recipient.next_try_at >= HELD)


def _rehearsed(found: rehearsal.Rehearsal) -> Select[Any]:
    """Select the lines whose email the practice mailbox took."""
    taken = select(PracticeMail.line_id).where(PracticeMail.id > found.before, PracticeMail.line_id.is_not(None))
    return select(Recipient.id).where(Recipient.id.in_(taken), Recipient.state == "sent")


def _traces_rehearsed(found: rehearsal.Rehearsal) -> Select[Any]:
    taken = select(PracticeMail.trace_id).where(PracticeMail.id > found.before, PracticeMail.trace_id.is_not(None))
    return select(Trace.id).where(Trace.id.in_(taken))


# --- its end


def end(send_held: bool, send_written: bool, now: datetime, user_id: int | None, who: str) -> None:
    """Send emails for real again, from where the office is now. Commits, and wakes.

    ``send_held``: what was written before the rehearsal, ``send_written``: what was written in it. The rest is
    cancelled, or stays where it is: in the practice mailbox.
    """
    found = rehearsal.current()
    if found is None:
        return
    rehearsed = list(db.session.scalars(_rehearsed(found))) if send_written else []
    held = _ids(_is_held())
    if not send_written:
        _leave(_ids((Recipient.state == "queued") & (Recipient.next_try_at < HELD)), now, who)
    if not send_held:
        _leave(held, now, who)
    paused_by_rehearsal(why("rehearsal_is_over"), now)
    rehearsal.turn_off(now, user_id)
    if send_held:
        _release(held, now)
    tell_admins("notice_rehearsal_ended", {"user": who}, PAGE, now)
    installation.settle(now, user_id)
    log.info("rehearsal ended by user %s", user_id)
    _send_for_real(rehearsed, now, who)
    _tell(now)


def _ids(which: ColumnElement[bool]) -> list[int]:
    return list(db.session.scalars(select(Recipient.id).where(which)))


def _leave(ids: Sequence[int], now: datetime, who: str) -> None:
    for some in by_hundreds(ids):
        lines.note(some, why("rehearsal_left_unsent"), now)
        lines.cancel(some, now, who)


def _release(ids: Sequence[int], now: datetime) -> None:
    """Let go what was written before: at once, or when it was scheduled for."""
    at = select(OutgoingMail.scheduled_at).where(OutgoingMail.id == Recipient.mail_id).scalar_subquery()
    for some in by_hundreds(ids):
        held = update(Recipient).where(Recipient.id.in_(some), Recipient.state == "queued")
        change_rows(held.values(next_try_at=now, wait="", why=None))
        change_rows(held.where(at > now).values(next_try_at=at, wait="schedule"))
        mails = set(db.session.scalars(select(Recipient.mail_id).where(Recipient.id.in_(some))))
        show_progress(lines.posts_of_mails(mails), now)


def _send_for_real(ids: Sequence[int], now: datetime, who: str) -> None:
    """Queue again what the practice mailbox took."""
    for some in _slices(ids):
        taken = update(Recipient).where(Recipient.id.in_(some), Recipient.state == "sent")
        change_rows(taken.values(state="cancelled", sent_at=None))
        lines.queue_again(some, why("rehearsal_sent_for_real", user=who), now)
        db.session.commit()


def _slices(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    return (ids[first : first + AT_ONCE] for first in range(0, len(ids), AT_ONCE))


def _tell(now: datetime) -> None:
    Event.add([TOPIC], now)
    db.session.commit()
    office.forget()
    for topic in (TOPIC, "queue", "mailings"):
        wake(topic)

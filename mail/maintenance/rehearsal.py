"""Rehearsal mode: how it begins, by a person or because the database was copied, and what its end does.

What was written before it began is held until somebody decides; what is written meanwhile goes to the practice
mailbox. Whoever ends it says what becomes of both: nothing is sent for real without being asked. Both are only asked
for here, each in one short transaction: a worker does it (``rehearsal_steps.py``), and does it once more if it was cut
short.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, select

from mail.mailing.mailing import paused_by_rehearsal
from mail.sentences import Why, why
from mail.settings import installation, office, rehearsal
from mail.settings.notices import tell_admins
from mail.settings.rehearsal import Rehearsal, RehearsalEnd
from mail.settings.wake import wake
from models import Event, Mailing, OutgoingMail, PracticeMail, Recipient, Trace, db, reading, writing

log = logging.getLogger("coquimail.rehearsal")

PAGE = "/settings/rehearsal"
TOPIC = "rehearsal"  # of the wake, and of the events for open pages
MAILINGS_SHOWN = 10


# --- its beginning


def begin_where_copied(now: datetime, counts: bool = True) -> None:
    """Rehearse if the database is not where it was, or is older than it was; else note that it is at home, if this look
    counts. Commits.

    For each worker, before it claims anything, and again and again: a backup may be restored under its feet.
    """
    office.forget()
    with reading():
        reason = installation.moved()
        goes_on = rehearsal.current()
    if reason is None:
        if counts:
            installation.count_on(now)
    elif goes_on is None or not goes_on.is_automatic or installation.is_elsewhere(goes_on.place):
        log.warning("rehearsal: %s", reason["code"])
        begin(reason, now, place=installation.place())


def begin(reason: Why, now: datetime, user_id: int | None = None, place: dict[str, str] | None = None) -> None:
    """Let nothing leave from now on. Commits, and wakes the workers.

    One that goes on does so for this reason, and does not end: an office may be copied in the middle of a rehearsal,
    and what somebody chose was not meant for the copy.
    """
    with writing():
        found = rehearsal.locked(now)
        fresh = found or Rehearsal(now, reason, _last(PracticeMail.id), _last(OutgoingMail.id), begins=True)
        fresh = replace(fresh, why=reason, end=None, begins=fresh.halts, place=place or fresh.place)
        if fresh != found:
            rehearsal.store(fresh, now, user_id)
            paused_by_rehearsal(why("rehearsal_holds_mailing"), now)
            notice = "notice_rehearsal_began" if user_id else "notice_rehearsal_asks"
            tell_admins(notice, {"reason": reason}, PAGE, now)
        tell(now)


def end(send_held: bool, send_written: bool, now: datetime, user_id: int | None, who: str) -> None:
    """Send emails for real again, once it is done what was chosen. Commits, and wakes the workers.

    ``send_held``: what was written before the rehearsal, ``send_written``: what was written in it. The rest is
    cancelled, or stays where it is: in the practice mailbox.
    """
    with writing():
        found = rehearsal.locked(now)
        if found is not None and found.end is None:
            chosen = RehearsalEnd(send_held, send_written, _last(OutgoingMail.id), who, user_id)
            rehearsal.store(replace(found, begins=False, end=chosen), now, user_id)
            paused_by_rehearsal(why("rehearsal_is_over"), now)
            log.info("user %s ends the rehearsal", user_id)
        tell(now)


def _last(id: Any) -> int:
    return db.session.scalar(select(func.max(id))) or 0


def tell(now: datetime) -> None:
    """Commit, and let workers and open pages look."""
    Event.add([TOPIC], now)
    db.session.commit()
    office.forget()
    for topic in (TOPIC, "queue", "mailings"):
        wake(topic)


# --- what its end decides about


def written_before(found: Rehearsal) -> ColumnElement[bool]:
    """The lines of emails that were written before it began."""
    return Recipient.mail_id <= found.mails


def written_in_it(found: Rehearsal) -> ColumnElement[bool]:
    """The lines of emails that were written in it. What is written after somebody ended it is sent for real."""
    since = Recipient.mail_id > found.mails
    return since if found.end is None else since & (Recipient.mail_id <= found.end.mails)


def rehearsed(found: Rehearsal) -> ColumnElement[bool]:
    """The lines whose email the practice mailbox took in it."""
    taken = select(PracticeMail.line_id).where(_taken_in(found), PracticeMail.line_id.is_not(None))
    return and_(Recipient.id.in_(taken), Recipient.state == "sent")


def _taken_in(found: Rehearsal) -> ColumnElement[bool]:
    return PracticeMail.id > found.before  # the clean-up leaves the last one, so no number is given again


@dataclass(frozen=True)
class Left:
    """What somebody decides about who ends a rehearsal, in recipients of emails.

    ``held`` were written before, and ``written`` in it; what is under way is among them.
    """

    held: int
    written: int
    mailings: Sequence[Mailing]


def left(found: Rehearsal) -> Left:
    """Return what a rehearsal leaves if it ends now."""
    mailings = (
        select(Mailing)
        .where(Mailing.id.in_(_traces_rehearsed(found).with_only_columns(Trace.mailing_id)))
        .order_by(Mailing.id.desc())
        .limit(MAILINGS_SHOWN)
    )
    held, written = (
        count_lines(Recipient.state.in_(("queued", "sending")) & which, rehearsed(found) & which)
        for which in (written_before(found), written_in_it(found))
    )
    return Left(held, written, db.session.scalars(mailings).all())


def count_lines(*kinds: ColumnElement[bool]) -> int:
    """Count the lines of several kinds, of which each has an index of its own."""
    return sum(db.session.scalar(select(func.count(Recipient.id)).where(which)) or 0 for which in kinds)


def _traces_rehearsed(found: Rehearsal) -> Select[Any]:
    taken = select(PracticeMail.trace_id).where(_taken_in(found), PracticeMail.trace_id.is_not(None))
    return select(Trace.id).where(Trace.id.in_(taken))

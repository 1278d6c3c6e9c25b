"""What tests of rehearsals do: write emails, deliver them in practice, and do the steps of the worker."""

from sqlalchemy import select

from mail.maintenance import practice, rehearsal, rehearsal_steps
from mail.outgoing import enqueue
from mail.outgoing.enqueue import OutgoingDraft, To
from mail.outgoing.lines import whole_mail
from mail.sentences import why
from mail.settings.clock import now
from models import Recipient, db
from models.outgoing import HELD


def waiting_mail(*addresses: str) -> None:
    """Write an email to each of them."""
    for address in addresses:
        draft = OutgoingDraft("test", "Ann <ann@x.test>", "Hello", "<p>Hi</p>")
        enqueue.enqueue(draft, [To(address)], now())
    db.session.commit()


def deliver_in_practice() -> None:
    """What the worker does with the line that is due: the practice mailbox takes it."""
    found = db.session.scalars(select(Recipient).where(Recipient.state == "queued", Recipient.next_try_at < HELD)).one()
    found.state, found.sent_at = "sent", now()
    practice.store("bounce@office.test", [found.address], whole_mail(found.id) or b"", now())
    db.session.commit()


def work_off() -> None:
    """All that a worker does at once for the beginning or the end of a rehearsal."""
    while rehearsal_steps.carry_out(now()):
        pass
    db.session.rollback()


def begin() -> None:
    """Begin a rehearsal and do what that needs."""
    rehearsal.begin(why("rehearsal_by_command"), now())
    work_off()


def end(held: bool, written: bool) -> None:
    """End it, as far as that can be done at once."""
    rehearsal.end(held, written, now(), None, "Ann")
    work_off()


def lines() -> list[Recipient]:
    """Return all lines, as they are now."""
    db.session.rollback()
    found = select(Recipient).order_by(Recipient.id)
    return list(db.session.scalars(found.execution_options(populate_existing=True)))

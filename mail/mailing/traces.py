"""What comes back for one recipient of a mailing: a bounce, an answer, the wish to get no more mailings, its undoing.

A *trace* is one recipient of one mailing; Message-IDs and links name it. Each step changes the trace and then the
totals of its mailing; the caller commits.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import select, update

from mail.sentences import Why, why
from models import Mailing, Subscription, Trace, change_rows, db, mailing_lists


def bounce_trace(trace_id: int, reason: Why, status: str, words: str, now: datetime) -> bool:
    """Mark a recipient of a mailing as bounced, because a report says so; False if it had failed before.

    The caller commits. The report itself is the caller's to record (``health.record``); then ``blacklist.consider`` is
    asked about the addresses whose count rose.
    """
    trace = db.session.execute(
        select(Trace.mailing_id, Trace.state).where(Trace.id == trace_id).with_for_update()
    ).first()
    if trace is None or trace.state not in ("queued", "deferred", "sent", "unknown"):
        return False
    red = {
        "state": "bounced",
        "why": reason,
        "reply": " ".join(filter(None, (status, words))),
        "bounced_at": now,
        "next_try_at": None,
    }
    if not change_rows(update(Trace).where(Trace.id == trace_id, Trace.state == trace.state).values(red)):
        return False
    totals: dict[str, Any] = {"bounced": Mailing.bounced + 1}
    if trace.state != "queued":
        totals[trace.state] = getattr(Mailing, trace.state) - 1
    Mailing.change(trace.mailing_id, totals)
    Mailing.tell(trace.mailing_id, now)
    return True


def mark_replied(trace_id: int, now: datetime) -> bool:
    """Note that a recipient answered; returns whether it is the first time. The caller commits."""
    return _mark(trace_id, "replied", now)


def _mark(trace_id: int, what: str, now: datetime) -> bool:
    column = {"replied": Trace.replied_at, "unsubscribed": Trace.unsubscribed_at}[what]
    mailing_id = db.session.scalar(
        update(Trace).where(Trace.id == trace_id, column.is_(None)).values({column: now}).returning(Trace.mailing_id)
    )
    if mailing_id is None:
        return False
    Mailing.change(mailing_id, {what: getattr(Mailing, what) + 1})
    Mailing.tell(mailing_id, now)
    return True


# --- unsubscribing


def unsubscribe(trace_id: int, how: str, now: datetime) -> bool:
    """Take the recipient of a mail from the lists of its mailing; returns whether there is such a mail.

    ``how``: ``page``, ``one_click`` or ``mail``; it stays with the subscription as the reason. Doing it twice changes
    nothing. The caller commits.
    """
    trace = _trace(trace_id)
    if trace is None:
        return False
    said = why(f"unsubscribed_by_{how}", mailing=trace.subject, mailing_id=trace.mailing_id, trace_id=trace_id)
    change_rows(
        update(Subscription)
        .where(
            Subscription.contact_id == trace.contact_id,
            Subscription.list_id.in_(_lists_of(trace.mailing_id)),
            Subscription.state != "unsubscribed",
        )
        .values(state="unsubscribed", why=said, at=now)
    )
    _mark(trace_id, "unsubscribed", now)
    return True


def undo_unsubscribe(trace_id: int, now: datetime) -> bool:
    """Put the recipient back on the lists that this mail's link took it from; the caller commits."""
    trace = _trace(trace_id)
    if trace is None:
        return False
    ours = select(Subscription.id, Subscription.why).where(
        Subscription.contact_id == trace.contact_id,
        Subscription.list_id.in_(_lists_of(trace.mailing_id)),
        Subscription.state == "unsubscribed",
    )
    back = [
        row.id for row in db.session.execute(ours) if row.why and row.why.get("values", {}).get("trace_id") == trace_id
    ]
    said = why("subscribed_again", mailing=trace.subject, mailing_id=trace.mailing_id)
    change_rows(update(Subscription).where(Subscription.id.in_(back)).values(state="subscribed", why=said, at=now))
    undone = update(Trace).where(Trace.id == trace_id, Trace.unsubscribed_at.is_not(None))
    if change_rows(undone.values(unsubscribed_at=None)):
        Mailing.change(trace.mailing_id, {"unsubscribed": Mailing.unsubscribed - 1})
        Mailing.tell(trace.mailing_id, now)
    return True


def _trace(trace_id: int) -> Any:
    return db.session.execute(
        select(Trace.mailing_id, Trace.contact_id, Mailing.subject)
        .join(Mailing, Mailing.id == Trace.mailing_id)
        .where(Trace.id == trace_id)
    ).first()


def _lists_of(mailing_id: int) -> Any:
    return select(mailing_lists.c.list_id).where(mailing_lists.c.mailing_id == mailing_id)

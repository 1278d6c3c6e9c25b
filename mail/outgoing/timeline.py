"""The history of one recipient of an email, from the rows that exist: queued, decided, tried, reported, replied."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import func, or_, select
from sqlalchemy.orm import joinedload

from mail.decide.retry import gives_up
from mail.decide.sender import Decision
from mail.queue import outages
from mail.sentences import Why, why
from models import Bounce, DeliveryAttempt, LineChange, Post, Recipient, db

MOST_ATTEMPTS = 200  # 48 hours make some 55, each Send again as many more
MOST_REPLIES = 50
FOLLOWING = 1_000  # messages of a thread among which replies are looked for

Look = Literal["queued", "decided", "accepted", "failed", "doubt", "person", "bounced", "delayed", "replied"]


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """Something that happened to an email on its way; a try has its ``attempt``, a report or a reply its mail."""

    at: datetime
    look: Look
    why: Why
    attempt: DeliveryAttempt | None = None
    received_mail_id: int | None = None


def timeline(line: Recipient) -> list[TimelineEntry]:
    """Return what happened to a line so far, the newest first."""
    entries = [*_queued(line), *_tried(line), *_changed(line), *_reported(line), *_replied(line)]
    return sorted(entries, key=lambda entry: entry.at)[::-1]


def last_try_at(line: Recipient, now: datetime) -> datetime | None:
    """Return when a line that is tried again and again is given up, None for any other."""
    if line.state != "queued" or line.first_try_at is None or line.wait not in ("", "retry"):
        return None
    return gives_up(line.first_try_at, now, outages.stored(now))


def _queued(line: Recipient) -> Iterator[TimelineEntry]:
    mail, decision = line.mail, Decision.from_json(line.mail.decision or {})
    author = decision.from_before or mail.author
    by = why("timeline_queued", author=author) if mail.kind == "post" and author else why("timeline_queued_system")
    yield TimelineEntry(mail.created_at, "queued", by)
    if (first := _first_decision(line, decision)) is not None:
        yield TimelineEntry(mail.created_at, "decided", first)
    decided = line.state == "failed" and not line.attempts  # what failed at a worker is one of its tries
    if decided and decision.failure and line.why and line.why["code"] == decision.failure["code"]:
        yield TimelineEntry(line.next_try_at, "failed", decision.failure)


def _first_decision(line: Recipient, decision: Decision) -> Why | None:
    """What was decided when the email was written; the stored decision is the last one."""
    changes = select(LineChange.why).where(LineChange.recipient_id == line.id).order_by(LineChange.id)
    for change in db.session.scalars(changes):
        if change["code"] == "timeline_decided":
            return None
        if change["code"] == "line_server_changed":
            return why("timeline_first", server=change["values"]["before"])
    if not decision.server_name:
        return None
    return why("timeline_decided", server=decision.server_name, sender=decision.from_after)


def _tried(line: Recipient) -> Iterator[TimelineEntry]:
    query = select(DeliveryAttempt).where(DeliveryAttempt.recipient_id == line.id)
    attempts: Sequence[DeliveryAttempt] = db.session.scalars(
        query.order_by(DeliveryAttempt.id.desc()).limit(MOST_ATTEMPTS)
    ).all()
    for attempt in attempts:
        yield _of_attempt(attempt)
    settled = line.why is not None and line.why["code"] == "line_arrived"
    if line.sent_at is not None and not settled and not any(_is_accepted(attempt) for attempt in attempts):
        yield TimelineEntry(line.sent_at, "accepted", why("timeline_accepted_before"))  # it was cleaned up


def _is_accepted(attempt: DeliveryAttempt) -> bool:
    return attempt.why is None or attempt.why["code"] == "sent_unrecorded"


def _of_attempt(attempt: DeliveryAttempt) -> TimelineEntry:
    look: Look = "accepted" if _is_accepted(attempt) else "failed"
    reason: Why = attempt.why or why("timeline_accepted", server=attempt.server_name)  # type: ignore[assignment]
    if reason["code"] in ("in_doubt", "unknown_once", "unknown_final", "unknown_power_cut"):
        look = "doubt"
    return TimelineEntry(attempt.at, look, reason, attempt)


def _changed(line: Recipient) -> Iterator[TimelineEntry]:
    changes = select(LineChange).where(LineChange.recipient_id == line.id).order_by(LineChange.id)
    for change in db.session.scalars(changes):
        look: Look = "person" if "user" in change.why["values"] or "who" in change.why["values"] else "decided"
        yield TimelineEntry(change.at, look, change.why)  # type: ignore[arg-type]


def _reported(line: Recipient) -> Iterator[TimelineEntry]:
    """What reports said; a refusal while we delivered is recorded the same way and is shown as the try that it was."""
    query = select(Bounce).where(Bounce.recipient_id == line.id).order_by(Bounce.id)
    bounced = False
    for bounce in db.session.scalars(query):
        if bounce.received_mail_id is None:
            continue
        if bounce.kind == "delay":
            look, reason = "delayed", why("timeline_delayed", text=bounce.text)
        elif bounce.kind == "complaint":
            look, reason = "bounced", why("timeline_complaint")
        else:
            look, reason = (
                "bounced",
                why(f"bounced_{bounce.kind}", address=bounce.address_key or line.address, text=bounce.text),
            )
            bounced = bounced or bounce.at == line.bounced_at
        yield TimelineEntry(bounce.at, look, reason, received_mail_id=bounce.received_mail_id)  # type: ignore[arg-type]
    if line.bounced_at is not None and not bounced and line.state == "bounced":
        yield TimelineEntry(line.bounced_at, "bounced", line.why or why("bounced_soft"))  # type: ignore[arg-type]


def _replied(line: Recipient) -> Iterator[TimelineEntry]:
    """The replies of this recipient to the message that the email brought."""
    mail = line.mail
    if mail.post is None:
        return
    by_contact = Post.author_contact_id == line.contact_id if line.contact_id is not None else None
    by_address = func.lower(Post.author_address).contains(line.address_key, autoescape=True)
    following = select(Post.id).where(Post.thread_id == mail.post.thread_id, Post.id > mail.post.id)
    near = following.order_by(Post.id).limit(FOLLOWING).subquery()
    query = (
        select(Post)
        .where(Post.id.in_(select(near.c.id)), Post.parent_id == mail.post.id)
        .where(Post.received_mail_id.is_not(None), by_address if by_contact is None else or_(by_contact, by_address))
        .options(joinedload(Post.author))
        .order_by(Post.id)
    )
    for post in db.session.scalars(query.limit(MOST_REPLIES)):
        author = str(post.author or post.author_address)
        yield TimelineEntry(
            max(post.at, mail.created_at),
            "replied",
            why("timeline_replied", author=author),
            received_mail_id=post.received_mail_id,
        )

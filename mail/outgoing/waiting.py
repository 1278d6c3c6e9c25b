"""What waiting mail waits for, where people see it: on the lines, on the mailings, in open pages."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, or_, select, update

from mail.outgoing.delivery_state import show_progress
from mail.outgoing.lines import posts_of_mails
from mail.queue.quota import Reservation
from mail.sentences import Why
from mail.settings import office
from mail.settings.clock import now as clock_now
from mail.settings.wake import wake
from models import Mailing, OutgoingMail, Post, Recipient, change_rows, db, reading
from models.base import holds
from models.slices import listed

SHOWN = 200  # lines of one server that say what they wait for: the first ones
AT_ONCE = 200  # lines of one transaction
LOOKED_AT = 2_000  # emails that wait for a limit, the newest ones
PAUSE = timedelta(seconds=30)  # for what is our own trouble


def say_why(server_id: int, reason: Why, now: datetime) -> None:
    """Say on lines and mailings of a server (0: the default server) what they wait for, unless they do; commits."""
    due = (
        select(Recipient.id, Recipient.mail_id, Recipient.why)
        .where(Recipient.state == "queued", Recipient.server_id == server_id, Recipient.next_try_at <= now)
        .order_by(Recipient.next_try_at, Recipient.id)
        .limit(SHOWN)
    )
    held = select(Recipient.id, Recipient.mail_id, Recipient.why).where(
        Recipient.state == "sending", Recipient.server_id == server_id
    )
    mailings = (
        Mailing.state == "sending", func.coalesce(Mailing.server_id, 0) == server_id, Mailing.why.is_(None)
    )  # fmt: skip
    with reading():
        lines = [row for row in (*db.session.execute(due), *db.session.execute(held)) if row.why is None]
        silent = db.session.scalars(select(Mailing.id).where(*mailings)).all()
    if lines:
        silently = (Recipient.id.in_([row.id for row in lines]), Recipient.state.in_(("queued", "sending")))
        change_rows(update(Recipient).where(*silently, Recipient.why.is_(None)).values(why=reason))
        show_progress(posts_of_mails({row.mail_id for row in lines}), now)
    for mailing_id in silent:
        change_rows(update(Mailing).where(Mailing.id == mailing_id, *mailings).values(why=reason))
        Mailing.tell(mailing_id, now)
    if lines or silent:
        db.session.commit()


def wait_for_limit(reserved: Reservation, now: datetime) -> int:
    """Have due lines of a server that has reached a limit wait for its next window; return how many, at most
    ``AT_ONCE``. Commits.
    """
    due = (
        select(Recipient.id)
        .where(Recipient.state == "queued", Recipient.server_id == reserved.server_id, Recipient.next_try_at <= now)
        .order_by(Recipient.next_try_at, Recipient.id)
        .limit(AT_ONCE)
    )
    lines = update(Recipient).where(Recipient.id.in_(due), Recipient.state == "queued")
    values = {"why": reserved.why, "wait": "limit", "next_try_at": reserved.until}
    mails = db.session.scalars(lines.values(values).returning(Recipient.mail_id)).all()
    show_progress(posts_of_mails(mails), now)
    db.session.commit()
    return len(mails)


def limited_posts(author_contact_id: int, most: int) -> Sequence[int]:
    """Return the last posts of an author whose email waits for a limit, or until a domain accepts more."""
    waits = holds(Recipient.state, "queued"), holds(Recipient.wait, "limit")
    newest = select(Recipient.mail_id).where(*waits).distinct().order_by(Recipient.mail_id.desc()).limit(LOOKED_AT)
    mails = db.session.scalars(newest).all()  # for itself: joined, SQLite begins with all emails of all times
    if not mails:
        return []
    posts = select(Post.id).join(OutgoingMail, OutgoingMail.post_id == Post.id)
    own = posts.where(OutgoingMail.id.in_(listed(mails)), Post.author_contact_id == author_contact_id)
    return db.session.scalars(own.distinct().order_by(Post.id.desc()).limit(most)).all()


def free_limited(server_id: int, now: datetime) -> None:
    """The limits of a server changed: what waits for one of them tries again now; commits on its way."""
    waits = (Recipient.state == "queued", Recipient.server_id == server_id, Recipient.wait == "limit")
    some = select(Recipient.id).where(*waits, Recipient.next_try_at > now).limit(AT_ONCE)
    while change_rows(update(Recipient).where(Recipient.id.in_(some), *waits).values(next_try_at=now)):
        db.session.commit()
    of_server = (Mailing.state == "sending", func.coalesce(Mailing.server_id, 0) == server_id)
    change_rows(update(Mailing).where(*of_server, Mailing.waits_for_limit()).values(next_try_at=None))
    db.session.commit()
    wake()


def hand_back(
    line_ids: Collection[int],
    worker_id: int,
    reason: Why | None = None,
    later: datetime | None = None,
    wait: str = "retry",
) -> None:
    """Return lines that were claimed and not tried to the queue, as if they had never been taken; commits.

    ``reason`` and ``wait`` are what they wait for, ``later`` when they are taken up again.
    """
    if not line_ids:
        return
    values: dict[str, Any] = {"state": "queued", "attempts": Recipient.attempts - 1, "worker_id": None}
    if reason:
        values["why"] = reason
    if later:
        values |= {"wait": wait, "next_try_at": later}
    held = (Recipient.id.in_(line_ids), Recipient.worker_id == worker_id, Recipient.state == "sending")
    change_rows(update(Recipient).where(*held).values(values))
    if reason:
        posts = select(OutgoingMail.post_id).join(Recipient, Recipient.mail_id == OutgoingMail.id)
        found = db.session.scalars(posts.where(Recipient.id.in_(line_ids), OutgoingMail.post_id.is_not(None)))
        show_progress({post for post in found if post is not None}, clock_now())
    db.session.commit()


def put_off_lines(reason: Why, now: datetime) -> None:
    """Have the lines that are due wait a while, for a reason that is ours and not their server's; commits."""
    due = select(Recipient.id).where(Recipient.state == "queued", Recipient.next_try_at <= now).limit(SHOWN)
    lines = update(Recipient).where(Recipient.id.in_(due), Recipient.state == "queued")
    change_rows(lines.values(why=reason, wait="retry", next_try_at=now + PAUSE))
    db.session.commit()


def put_off_mailings(reason: Why, now: datetime) -> None:
    """Have the mailings that are being sent wait a while, for a reason that is ours; commits."""
    due = update(Mailing).where(
        Mailing.state == "sending", or_(Mailing.next_try_at.is_(None), Mailing.next_try_at <= now)
    )
    change_rows(due.values(why=reason, next_try_at=now + PAUSE))
    db.session.commit()


def is_there_a_server() -> bool:
    """Say whether there is anything now that emails can be sent through."""
    with reading():
        return office.sends_through() != "nothing"


def free_waiting(now: datetime) -> None:
    """There is a server again: lines that waited for one go on now; commits."""
    for_one = (Recipient.state == "queued", Recipient.why["code"].as_string() == "no_server")
    if change_rows(update(Recipient).where(*for_one).values(next_try_at=now)):
        wake()
    db.session.commit()

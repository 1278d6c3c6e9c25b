"""What waiting mail waits for, where people see it: on the lines, on the mailings, in open pages."""

import time
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, case, func, or_, select, update

from mail.outgoing.delivery_state import show_progress
from mail.outgoing.lines import decide_again, posts_of_mails
from mail.queue.quota import Reservation
from mail.sentences import Why
from mail.settings import office
from mail.settings.clock import now as clock_now
from mail.settings.signing import READ_AGAIN
from mail.settings.wake import wake
from models import Mailing, OutgoingMail, Post, Recipient, change_rows, db, reading
from models.base import holds
from models.parameter import CUSTOM_IS_OFF
from models.slices import give_way, listed

SHOWN = 200  # lines of one server that say what they wait for: the first ones
AT_ONCE = 200  # lines of one transaction
ANEW_AT_ONCE = 20  # lines of one transaction that chooses their servers anew
LOOKED_AT = 2_000  # emails that wait for a limit, the newest ones
PAUSE = timedelta(seconds=30)  # for what is our own trouble: the journal, a key, a mistake

# What a claim changed is as before: a line that was never tried has no first try either, else it is given up too early.
NOT_TRIED: dict[str, Any] = {
    "attempts": Recipient.attempts - 1,
    "first_try_at": case((Recipient.attempts <= 1, None), else_=Recipient.first_try_at),
}
_LINE: Any = Recipient.__table__
_FIRST_TRY = update(_LINE).where(_LINE.c.id == bindparam("line_id")).values(first_try_at=bindparam("first"))


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
        .with_for_update(skip_locked=True)  # whoever takes or cancels some is not waited for: they may wait for us
        .cte("due")
    )
    lines = update(Recipient).where(Recipient.id.in_(select(due.c.id)), Recipient.state == "queued")
    values = {"why": reserved.why, "wait": "limit", "next_try_at": reserved.until}
    waits = db.session.execute(
        lines.values(values).returning(Recipient.id, Recipient.mail_id, Recipient.first_try_at)
    ).all()
    assert reserved.until is not None
    _move_first_try((line.id, line.first_try_at, reserved.until - now) for line in waits)
    show_progress(posts_of_mails({line.mail_id for line in waits}), now)
    db.session.commit()
    return len(waits)


def _due_since(which: Sequence[ColumnElement[bool]]) -> dict[int, datetime]:
    """Return since when lines wait to be tried."""
    rows = db.session.execute(select(Recipient.id, Recipient.next_try_at).where(*which))
    return {row.id: row.next_try_at for row in rows}


def _move_first_try(lines: Iterable[tuple[int, datetime | None, timedelta]]) -> None:
    """The time in which lines could not be tried does not count for giving them up; the caller commits.

    Such are a limit, a sign-in that has ended, and trouble of our own.
    """
    moved = [{"line_id": id, "first": first + wait} for id, first, wait in lines if first is not None]
    if moved:
        db.session.connection().execute(_FIRST_TRY, moved)


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
    waits, last = _limited(server_id, now).order_by(Recipient.id).limit(AT_ONCE), 0
    while lines := db.session.execute(waits.where(Recipient.id > last)).all():
        last = lines[-1].id  # each line once: a sender may have put it off again
        _let_go(lines, now)
        db.session.commit()
    _free_mailings(server_id, now)
    db.session.commit()
    wake()


def leave_records(now: datetime) -> bool:
    """Once Custom Email Servers is off, what waits for the server of a record that nobody chose goes another way now.

    Some of it: returns whether there may be more. Commits.
    """
    waits = (holds(Recipient.state, "queued"), Recipient.server_id > 0, Recipient.wait != "schedule")
    unchosen = select(Recipient.id, Recipient.mail_id).join(OutgoingMail).where(OutgoingMail.forced_server_id.is_(None))
    some = unchosen.where(*waits).limit(ANEW_AT_ONCE)
    with reading():
        is_off = db.session.scalar(select(CUSTOM_IS_OFF))
        found = db.session.execute(some).all() if is_off else ()
    if not found:
        return False
    began = time.monotonic()
    mails = {line.mail_id for line in found}
    same = (Recipient.id.in_([line.id for line in found]), Recipient.state == "queued")
    change_rows(update(Recipient).where(*same).values(wait="", why=None, next_try_at=now))
    decide_again(mails, now)
    show_progress(posts_of_mails(mails), now)
    db.session.commit()
    wake()
    give_way(time.monotonic() - began)
    return True


def use_room(server_id: int, emails: int, now: datetime) -> None:
    """There is room again for so many emails: as many of those that wait for a limit of the server go now, the oldest
    first. Commits; call it after the commit that gave the room back, so that nobody waits for two locks of ours.
    """
    oldest = _limited(server_id, now).order_by(Recipient.next_try_at, Recipient.id)  # as the index has them
    lines = db.session.execute(oldest.limit(emails)).all()
    _let_go(lines, now)
    freed = len(lines) + _free_mailings(server_id, now)
    db.session.commit()
    if freed:
        wake()


def _limited(server_id: int, now: datetime) -> Select[int, datetime | None, datetime]:
    """Select the lines that wait for a limit of a server; those that wait for a domain are not meant."""
    line = Recipient
    return select(line.id, line.first_try_at, line.next_try_at).where(
        holds(line.state, "queued"), line.server_id == server_id, line.next_try_at > now, line.wait == "limit",
        line.why["code"].as_string().like("limit_%"),
    ).with_for_update(skip_locked=True)  # fmt: skip


def _let_go(lines: Sequence[Any], now: datetime) -> None:
    if not lines:
        return
    same = (Recipient.id.in_([line.id for line in lines]), Recipient.state == "queued", Recipient.wait == "limit")
    change_rows(update(Recipient).where(*same).values(wait="", why=None, next_try_at=now))
    _move_first_try((line.id, line.first_try_at, now - line.next_try_at) for line in lines)


def _free_mailings(server_id: int, now: datetime) -> int:
    of_server = (Mailing.state == "sending", func.coalesce(Mailing.server_id, 0) == server_id)
    waits = (*of_server, Mailing.waits_for_limit(), Mailing.next_try_at > now)
    return change_rows(update(Mailing).where(*waits).values(why=None, next_try_at=None))


def free_signed_in(server_id: int, now: datetime) -> None:
    """There is a token for a server again: what waited for one goes on now; commits."""
    for_one = Recipient.why["code"].as_string().like("account_%")
    lines = (Recipient.state == "queued", Recipient.server_id == server_id, Recipient.next_try_at > now, for_one)
    freed = change_rows(update(Recipient).where(*lines).values(wait="", why=None, next_try_at=now))
    of_server = (Mailing.state == "sending", Mailing.server_id == server_id, Mailing.next_try_at > now)
    waits = Mailing.why["code"].as_string().like("account_%")
    freed += change_rows(update(Mailing).where(*of_server, waits).values(why=None, next_try_at=None))
    db.session.commit()
    if freed:
        wake()
        wake("mass")


def free_unsigned(domain: str, now: datetime) -> None:
    """A key of a domain that could not be read signs no more: what waited for it goes on in a moment; commits.

    Not at once: senders know for a moment longer what they read of the key.
    """
    for_key = (
        Recipient.why["code"].as_string() == "dkim_key_unreadable",
        Recipient.why[("values", "domain")].as_string() == domain,
    )
    soon = now + timedelta(seconds=READ_AGAIN + 1)
    lines = (Recipient.state == "queued", Recipient.next_try_at > soon, *for_key)
    change_rows(update(Recipient).where(*lines).values(next_try_at=soon))
    db.session.commit()


def hand_back(
    line_ids: Collection[int],
    worker_id: int,
    reason: Why | None = None,
    later: datetime | None = None,
    wait: str = "retry",
) -> None:
    """Return lines that were claimed and not tried to the queue, as if they had never been taken; commits.

    ``reason`` and ``wait`` are what they wait for, ``later`` when they are taken up again: the time until then does not
    count for giving them up.
    """
    if not line_ids:
        return
    values: dict[str, Any] = {"state": "queued", "worker_id": None} | NOT_TRIED
    if reason:
        values["why"] = reason
    if later:
        values |= {"wait": wait, "next_try_at": later}
    held = (Recipient.id.in_(line_ids), Recipient.worker_id == worker_id, Recipient.state == "sending")
    due = _due_since(held) if later else {}
    back = db.session.execute(
        update(Recipient).where(*held).values(values).returning(Recipient.id, Recipient.first_try_at)
    ).all()
    if later:
        _move_first_try((line.id, line.first_try_at, later - due[line.id]) for line in back)
    if reason:
        posts = select(OutgoingMail.post_id).join(Recipient, Recipient.mail_id == OutgoingMail.id)
        found = db.session.scalars(posts.where(Recipient.id.in_(line_ids), OutgoingMail.post_id.is_not(None)))
        show_progress({post for post in found if post is not None}, clock_now())
    db.session.commit()


def put_off_lines(reason: Why, now: datetime) -> None:
    """Have the lines that are due wait a while, for a reason that is ours and not their server's; commits."""
    line = Recipient
    due = (line.state == "queued", line.next_try_at <= now)
    found = db.session.execute(select(line.id, line.first_try_at, line.next_try_at).where(*due).limit(SHOWN)).all()
    if found:
        lines = update(line).where(line.id.in_([one.id for one in found]), *due)
        change_rows(lines.values(why=reason, wait="retry", next_try_at=now + PAUSE))
        _move_first_try((one.id, one.first_try_at, now + PAUSE - one.next_try_at) for one in found)
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
    """There is a server again: lines that waited for one go on now, scheduled ones at their time; commits."""
    for_one = Recipient.state == "queued", Recipient.why["code"].as_string() == "no_server"
    lines = update(Recipient).where(*for_one)
    if change_rows(lines.where(Recipient.wait != "schedule").values(wait="", why=None, next_try_at=now)):
        wake()
    change_rows(lines.values(why=None))
    db.session.commit()

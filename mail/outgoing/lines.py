"""What people and reports do to the lines of a mail: retry, cancel, correct the address, mark as bounced."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import exists, insert, select, update
from sqlalchemy.orm import aliased

from mail.decide.sender import Decision, Request, decide
from mail.errors import NotCorrected
from mail.message.address import normalise, show_address
from mail.message.compose import header, with_addresses, with_id
from mail.outgoing.delivery_state import FAILED, mark_failures, show_progress
from mail.outgoing.enqueue import decision_columns, waits_for_server
from mail.queue.journal import State
from mail.sentences import Why, why
from mail.settings import office
from mail.settings.tokens import TokenKind
from models import Blob, DeliveryAttempt, OutgoingMail, Recipient, change_rows, db
from models.outgoing import Claimed
from models.slices import by_hundreds


def whole(line_id: int, name: str, address: str, from_header: str, content: bytes, message_id: str) -> bytes:
    """The mail as one recipient gets it: what differs between recipients comes before what they share."""
    token = office.tokens().make(TokenKind.LINE, line_id)
    shared = with_id(content, message_id)
    return header("X-CoquiMail-Id", token) + with_addresses(shared, from_header, show_address(name, address))


def whole_mail(line_id: int) -> bytes | None:
    """Return the mail as the recipient of a line gets it, None if it can't be made (no such line, no From)."""
    line = db.session.get(Recipient, line_id)
    if line is None or not line.mail.from_header:
        return None
    mail, content = line.mail, Blob.read(line.mail.content_blob_id)
    return whole(line.id, line.name, line.address, mail.from_header, content, mail.message_id)


def decide_again(mail_ids: Collection[int], now: datetime) -> dict[int, Why]:
    """Choose the server and the From of waiting mails anew; where that fails the lines say so. The caller commits.

    Returns the mails that have no server left, and why: they wait for one.
    """
    office.forget()
    snapshot = office.load()
    without: dict[int, Why] = {}
    for mail in db.session.scalars(select(OutgoingMail).where(OutgoingMail.id.in_(mail_ids))):
        request = Request(
            mail.author,
            mail.reply_to,
            mail.return_path,
            mail.forced_server_id,
            author_is=Decision.from_json(mail.decision or {}).author_is,
        )
        decision = decide(request, snapshot.servers, snapshot.office)
        for name, value in decision_columns(replace(decision, reply_to=mail.reply_to)).items():
            setattr(mail, name, value)
        values: dict[str, Any] = {"server_id": decision.server_id or 0}
        waits = waits_for_server(decision.failure)
        if decision.failure:
            values |= {"why": decision.failure} if waits else {"state": "failed", "why": decision.failure, "wait": ""}
        if decision.failure and waits:
            without[mail.id] = decision.failure
        db.session.flush()
        waiting = update(Recipient).where(Recipient.mail_id == mail.id, Recipient.state.in_(("queued", "sending")))
        change_rows(waiting.values(values))
        if decision.failure and not waits and mail.post_id:
            mark_failures([mail.post_id], now)
    return without


def free_doubted(server_id: int, now: datetime) -> None:
    """Their server took another mail: lines in doubt are sent once more now. The caller commits."""
    waiting = (Recipient.state == "queued", Recipient.server_id == server_id, Recipient.next_try_at > now)
    change_rows(update(Recipient).where(*waiting, Recipient.doubts > 0).values(next_try_at=now))


# --- what people and reports do to lines


def retry(line_ids: Collection[int], now: datetime) -> int:
    """Queue lines again that failed, bounced, are in doubt or wait, and return how many; the caller commits."""
    return _again(line_ids, ("failed", "bounced", "unknown", "queued", "cancelled"), now)


def _again(line_ids: Collection[int], states: Sequence[str], now: datetime) -> int:
    mails = set(
        db.session.scalars(
            update(Recipient)
            .where(Recipient.id.in_(line_ids), Recipient.state.in_(states))
            .values(
                state="queued", wait="", next_try_at=now, first_try_at=None, attempts=0, doubts=0, why=None, code=None,
                enhanced="", reply="", bounced_at=None, seen_at=None,
            )
            .returning(Recipient.mail_id)
        )
    )  # fmt: skip
    decide_again(mails, now)
    show_progress(posts_of_mails(mails), now)
    return len(mails) and _count_queued(line_ids)


def _count_queued(line_ids: Collection[int]) -> int:
    found = db.session.scalars(select(Recipient.id).where(Recipient.id.in_(line_ids), Recipient.state == "queued"))
    return len(found.all())


def cancel(line_ids: Collection[int], now: datetime) -> int:
    """Take waiting lines out of the queue for good and return how many; the caller commits."""
    mails = db.session.scalars(
        update(Recipient)
        .where(Recipient.id.in_(line_ids), Recipient.state == "queued")
        .values(state="cancelled", wait="", why=why("left_the_queue"), next_try_at=now)  # it is the moment it left
        .returning(Recipient.mail_id)
    ).all()
    show_progress(posts_of_mails(mails), now)
    return len(mails)


def assert_free(line: Recipient, key: str) -> None:
    """Raise ``NotCorrected`` when another recipient of the same mail has this address."""
    taken = exists().where(Recipient.mail_id == line.mail_id, Recipient.address_key == key, Recipient.id != line.id)
    if db.session.scalar(select(taken)):
        raise NotCorrected(why("address_has_it", address=key))


def correct_address(line_id: int, address: str, now: datetime) -> None:
    """Send a failed line to another address; raises ``NotCorrected``. The caller commits and wakes."""
    key = normalise(address)
    line = db.session.get(Recipient, line_id)
    if key is None or line is None:
        raise NotCorrected(why("address_unusable", address=address))
    assert_free(line, key)
    line.address, line.address_key = address.strip(), key
    db.session.flush()
    _again([line_id], (*FAILED, "unknown"), now)


def redirect(contact_id: int, before: str, after: str) -> None:
    """Send what still waits for a dead address of a contact to the right one; the caller commits and wakes."""
    same = aliased(Recipient)
    has_it = exists().where(same.mail_id == Recipient.mail_id, same.address_key == normalise(after))
    change_rows(
        update(Recipient)
        .where(
            Recipient.address_key == normalise(before),
            Recipient.contact_id == contact_id,
            Recipient.state == "queued",
            ~has_it,
        )
        .values(address=after, address_key=normalise(after))
    )


def mark_bounced(line_id: int, reason: Why, status: str, text: str, now: datetime) -> bool:
    """Paint a line red because a report says that its mail did not arrive; False if it was red already.

    The caller commits; the report itself is the caller's to record and to count.
    """
    post_id = db.session.execute(
        update(Recipient)
        .where(Recipient.id == line_id, Recipient.state.in_(("sent", "unknown", "sending", "queued")))
        .values(state="bounced", wait="", why=reason, enhanced=status[:20], reply=text, bounced_at=now, seen_at=None)
        .returning(select(OutgoingMail.post_id).where(OutgoingMail.id == Recipient.mail_id).scalar_subquery())
    ).first()
    if post_id is None:
        return False
    if post_id[0] is not None:
        mark_failures([post_id[0]], now)
        show_progress([post_id[0]], now)
    return True


def posts_of_lines(lines: Iterable[Claimed]) -> set[int]:
    return {line.post_id for line in lines if line.post_id is not None}


def posts_of_mails(mail_ids: Collection[int]) -> set[int]:
    if not mail_ids:
        return set()
    found = db.session.scalars(select(OutgoingMail.post_id).where(OutgoingMail.id.in_(set(mail_ids))))
    return {post_id for post_id in found if post_id is not None}


def leave_unknown(worker_id: int, said: Mapping[str, State], now: datetime) -> int:
    """Leave lines of a worker to a person that its journal has no word of, because the power failed meanwhile.

    Returns how many; the caller commits.
    """
    held = db.session.execute(
        select(Recipient.id, OutgoingMail.post_id)
        .join(OutgoingMail, OutgoingMail.id == Recipient.mail_id)
        .where(Recipient.worker_id == worker_id, Recipient.state == "sending")
    ).all()
    silent = {line.id: line.post_id for line in held if f"l{line.id}" not in said}
    reason = why("unknown_power_cut")
    for some in by_hundreds(silent):
        change_rows(
            update(Recipient)
            .where(Recipient.id.in_(some), Recipient.worker_id == worker_id, Recipient.state == "sending")
            .values(state="unknown", wait="", doubts=Recipient.doubts + 1, why=reason, worker_id=None)
        )
    if silent:
        db.session.execute(
            insert(DeliveryAttempt), [{"recipient_id": id, "at": now, "phase": "end", "why": reason} for id in silent]
        )
        show_progress({post_id for post_id in silent.values() if post_id is not None}, now)
    return len(silent)

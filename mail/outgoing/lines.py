"""What people and reports do to the lines of a mail: retry, cancel, correct the address, mark as bounced."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import format_datetime
from typing import Any, NamedTuple

from sqlalchemy import exists, insert, literal, select, update
from sqlalchemy.orm import aliased

from mail.decide.advice import not_again
from mail.decide.sender import Decision, Request, decide
from mail.errors import NotCorrected
from mail.message.address import normalise, show_address
from mail.message.compose import header, with_addresses, with_id
from mail.message.extra_headers import encoded_headers
from mail.outgoing.delivery_state import FAILED, SENDING, mark_doubts, mark_failures, sent_again, show_progress
from mail.outgoing.enqueue import decision_columns, too_large, waits_for_server
from mail.queue.journal import State
from mail.sentences import Why, why
from mail.settings import office
from mail.settings.tokens import TokenKind
from mail.transport.relay_ids import keep_our_id
from models import Blob, DeliveryAttempt, LineChange, OutgoingMail, Recipient, change_rows, db
from models.base import Json, UtcDateTime
from models.outgoing import HELD, Claimed
from models.slices import by_hundreds

_REPLY = "reply_to_"  # how the codes of its steps begin
CORRECTED = (*FAILED, "unknown")  # states of a line whose address may be wrong
UNSENT = (*FAILED, "unknown", "queued", "cancelled")  # states of a line that may be sent once more


def whole(
    line_id: int, name: str, address: str, from_header: str, content: bytes, message_id: str, date: datetime | None
) -> bytes:
    """The mail as one recipient gets it: what differs between recipients comes before what they share.

    ``date``: when it left, if that was before the time that it was scheduled for.
    """
    token = office.tokens().make(TokenKind.LINE, line_id)
    if date is not None:
        content = header("Date", format_datetime(date)) + content.partition(b"\r\n")[2]
    shared = with_id(content, message_id)
    return header("X-CoquiMail-Id", token) + with_addresses(shared, from_header, show_address(name, address))


def whole_mail(line_id: int) -> bytes | None:
    """Return the mail as the recipient of a line gets it, None if it can't be made (no such line, no From)."""
    line = db.session.get(Recipient, line_id)
    if line is None or not line.mail.from_header:
        return None
    mail, content = line.mail, Blob.read(line.mail.content_blob_id)
    added = keep_our_id(mail.server.host) + encoded_headers(mail.server.headers) if mail.server else b""
    date = left_early(mail.scheduled_at, line.first_try_at or line.next_try_at)
    return added + whole(line.id, line.name, line.address, mail.from_header, content, mail.message_id, date)


def left_early(scheduled_at: datetime | None, first_try_at: datetime) -> datetime | None:
    """Return when a scheduled mail left, if somebody sent it before its time; else None, and its Date is right."""
    return first_try_at if scheduled_at is not None and first_try_at < scheduled_at else None


def decide_again(mail_ids: Collection[int], now: datetime) -> dict[int, Why]:
    """Choose the server and the From of waiting mails anew; where that fails the queued lines say so. The caller
    commits.

    Returns the mails that can't be sent, and why; with no server left they wait for one. A line that is being sent is
    its sender's: it may arrive.
    """
    office.forget()
    snapshot = office.load()
    without: dict[int, Why] = {}
    for mail in db.session.scalars(select(OutgoingMail).where(OutgoingMail.id.in_(mail_ids))):
        before = Decision.from_json(mail.decision or {})
        decision = decide(request_of_mail(mail, mail.forced_server_id), snapshot.servers, snapshot.office)
        for name, value in decision_columns(_replied_to_as(before, decision, mail.reply_to)).items():
            setattr(mail, name, value)
        db.session.flush()
        _note_decision(mail.id, before, decision, now)
        waiting = update(Recipient).where(Recipient.mail_id == mail.id, Recipient.state.in_(SENDING))
        change_rows(waiting.values(server_id=decision.server_id or 0))
        failure = decision.failure or too_large(mail.size)
        if failure is None:
            continue
        without[mail.id] = failure
        ends: dict[str, Any] = {} if waits_for_server(failure) else {"state": "failed", "wait": ""}
        queued = update(Recipient).where(Recipient.mail_id == mail.id, Recipient.state == "queued")
        if change_rows(queued.values(why=failure, **ends)) and ends and mail.post_id:
            mark_failures([mail.post_id], now)
    return without


def _replied_to_as(before: Decision, after: Decision, reply_to: str) -> Decision:
    """The Reply-To is part of the email since it was written: it stays, and so does its reason."""
    kept = [step for step in before.steps if step["code"].startswith(_REPLY)]
    steps = [step for step in after.steps if not (kept and step["code"].startswith(_REPLY))] + kept
    warnings = [*after.warnings, *(one for one in before.warnings if one["code"].startswith(_REPLY))]
    return replace(after, reply_to=reply_to, steps=steps, warnings=warnings)


def request_of_mail(mail: OutgoingMail, forced_server: int | None) -> Request:
    """Return what is decided about a mail that was composed before."""
    author_is = Decision.from_json(mail.decision or {}).author_is
    return Request(mail.author, mail.reply_to, mail.return_path, forced_server, author_is=author_is)


def _note_decision(mail_id: int, before: Decision, after: Decision, now: datetime) -> None:
    """Keep in the history of the lines that wait that another server or another From was chosen for them."""
    if (before.server_name == after.server_name and before.from_after == after.from_after) or after.failure:
        return
    values = {"server": after.server_name, "sender": after.from_after}
    if before.server_name and before.server_name != after.server_name:
        reason = why("line_server_changed", before=before.server_name, **values)
    elif before.server_name:
        reason = why("line_sender_changed", sender=after.from_after)
    else:
        reason = why("timeline_decided", **values)
    note(select(Recipient.id).where(Recipient.mail_id == mail_id, Recipient.state.in_(SENDING)), reason, now)


def note(line_ids: Any, reason: Why, now: datetime) -> None:
    """Keep something in the history of lines (a query of ids, or ids); the caller commits."""
    found = line_ids if not isinstance(line_ids, Collection) else select(Recipient.id).where(Recipient.id.in_(line_ids))
    values = found.add_columns(literal(now, UtcDateTime), literal(reason, Json)).order_by(Recipient.id)
    db.session.execute(insert(LineChange).from_select(["recipient_id", "at", "why"], values))


def free_doubted(server_id: int, now: datetime) -> None:
    """Their server took another mail: lines in doubt are sent once more now, unless a rehearsal holds them. The caller
    commits.
    """
    waiting = (Recipient.state == "queued", Recipient.server_id == server_id, Recipient.doubts > 0)
    later = (Recipient.next_try_at > now, Recipient.next_try_at < HELD)
    change_rows(update(Recipient).where(*waiting, *later).values(next_try_at=now))


# --- what people and reports do to lines


@dataclass(frozen=True, slots=True)
class Again:
    """How many lines are queued again, why others were skipped, and why some can't be sent after all."""

    queued: int = 0
    skipped: Sequence[Why] = ()
    failed: Why | None = None


def retry(line_ids: Collection[int], now: datetime, who: str) -> Again:
    """Queue lines again where that may help: failed, bounced, in doubt, cancelled, or to be tried again later.

    ``who`` asked for it. The caller commits and wakes.
    """
    helped, skipped = sort_out(line_ids)
    queued, failed = queue_again(helped, why("line_sent_again", user=who), now)
    return Again(queued, skipped, failed)


def sort_out(line_ids: Collection[int], with_waiting: bool = False) -> tuple[set[int], list[Why]]:
    """Part the lines that may be sent again from those where it would not help; of these why, and how many.

    ``with_waiting``: what waits in the queue, whatever for, may be sent again as well.
    """
    chosen = select(Recipient.id, Recipient.state, Recipient.wait, Recipient.why).where(Recipient.id.in_(line_ids))
    helped, reasons = set(), Counter[str]()
    for line in db.session.execute(chosen):
        reason = not_again(line.state, line.wait, line.why)
        if reason and not (with_waiting and line.state == "queued"):
            reasons[reason] += 1
        else:
            helped.add(line.id)
    return helped, [why(code, count=number) for code, number in sorted(reasons.items())]


def queue_again(line_ids: Collection[int], reason: Why, now: datetime) -> tuple[int, Why | None]:
    """Queue lines again that were not sent, under a new decision, whether that helps or not.

    Returns how many, and why others failed at once; ``reason`` is kept in their history. The caller commits and wakes.
    """
    again = db.session.execute(
        update(Recipient)
        .where(Recipient.id.in_(line_ids), Recipient.state.in_(UNSENT))
        .values(
            state="queued", wait="", next_try_at=now, first_try_at=None, attempts=0, doubts=0, why=None, code=None,
            enhanced="", reply="", bounced_at=None, seen_at=None,
        )
        .returning(Recipient.id, Recipient.mail_id)
    ).all()  # fmt: skip
    mails, ids = {line.mail_id for line in again}, [line.id for line in again]
    note(ids, reason, now)
    decide_again(mails, now)
    sent_again(posts_of_mails(mails), now)
    ended = db.session.execute(select(Recipient.state, Recipient.why).where(Recipient.id.in_(ids))).all()
    failed = next((line.why for line in ended if line.state == "failed"), None)
    return sum(line.state == "queued" for line in ended), failed


def settle_arrived(line_ids: Collection[int], now: datetime, who: str) -> int:
    """Take lines in doubt as sent, because a person knows that they arrived; returns how many. The caller commits."""
    reason = why("line_arrived", user=who)
    doubtful = update(Recipient).where(Recipient.id.in_(line_ids), Recipient.state == "unknown")
    arrived = db.session.execute(
        doubtful.values(state="sent", why=reason, sent_at=Recipient.next_try_at).returning(
            Recipient.id, Recipient.mail_id
        )
    ).all()
    note([line.id for line in arrived], reason, now)
    show_progress(posts_of_mails({line.mail_id for line in arrived}), now)
    return len(arrived)


def send_now(line_ids: Collection[int], now: datetime, who: str) -> int:
    """Have lines that wait for the time that their author chose leave now; returns how many.

    Not one that was cancelled meanwhile, or that a rehearsal holds. The caller commits and wakes.
    """
    scheduled = (Recipient.state == "queued", Recipient.wait == "schedule", Recipient.next_try_at < HELD)
    early = update(Recipient).where(Recipient.id.in_(line_ids), *scheduled).values(wait="", next_try_at=now)
    leave = db.session.execute(early.returning(Recipient.id, Recipient.mail_id)).all()
    note([line.id for line in leave], why("line_sent_early", user=who), now)
    show_progress(posts_of_mails({line.mail_id for line in leave}), now)
    return len(leave)


class Cancelled(NamedTuple):
    """How many lines were cancelled before they were sent, and how many that may have arrived before."""

    unsent: int
    in_doubt: int


def cancel(line_ids: Collection[int], now: datetime, who: str) -> Cancelled:
    """Take waiting lines out of the queue for good; one in doubt stays unknown. The caller commits."""
    waiting = update(Recipient).where(Recipient.id.in_(line_ids), Recipient.state == "queued")
    taken = []
    for is_meant, state, reason, change in (
        (Recipient.doubts == 0, "cancelled", "left_the_queue", "line_cancelled"),
        (Recipient.doubts > 0, "unknown", "cancelled_in_doubt", "line_cancelled_in_doubt"),
    ):
        values = {"state": state, "wait": "", "why": why(reason), "next_try_at": now}  # it is the moment it left
        left = waiting.where(is_meant).values(values).returning(Recipient.id, Recipient.mail_id)
        lines = db.session.execute(left).all()
        note([line.id for line in lines], why(change, user=who), now)
        posts = posts_of_mails({line.mail_id for line in lines})
        mark_doubts(posts if state == "unknown" else (), now)
        show_progress(posts, now)
        taken.append(len(lines))
    return Cancelled(*taken)


def assert_free(line: Recipient, key: str) -> None:
    """Raise ``NotCorrected`` when another recipient of the same mail has this address."""
    taken = exists().where(Recipient.mail_id == line.mail_id, Recipient.address_key == key, Recipient.id != line.id)
    if db.session.scalar(select(taken)):
        raise NotCorrected(why("address_has_it", address=key))


def correct_address(line_id: int, address: str, now: datetime, who: str) -> None:
    """Send a failed line to another address; raises ``NotCorrected``, also if somebody has sent it again meanwhile. The
    caller commits and wakes.
    """
    key = normalise(address)
    line = db.session.get(Recipient, line_id)
    if key is None or line is None:
        raise NotCorrected(why("address_unusable", address=address))
    assert_free(line, key)
    corrected = why("address_corrected_by", who=who, before=line.address, after=address.strip())
    failed = update(Recipient).where(Recipient.id == line_id, Recipient.state.in_(CORRECTED))
    if not change_rows(failed.values(address=address.strip(), address_key=key)):
        raise NotCorrected(why("address_too_late"))
    queue_again([line_id], corrected, now)


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
        posts = {post_id for post_id in silent.values() if post_id is not None}
        mark_doubts(posts, now)
        show_progress(posts, now)
    return len(silent)

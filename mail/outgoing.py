"""FLOW of a mail going out: compose -> choose server -> From -> lines -> claim -> deliver -> record.

Nothing leaves twice and nothing is forgotten: a claim is committed before, the result after, and the journal says what
was in flight between. States stand on the lines; who reads them derives the state of the mail.
"""

import logging
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import bindparam, exists, insert, select, update

from mail import health, office, parameters
from mail.address import normalise, show_address, wire_address
from mail.bounce import kind_of
from mail.clock import now as clock_now
from mail.compose import AutoSubmitted, Draft, File, compose, header, with_addresses
from mail.envelope import FAILED, mark_failures, show_progress
from mail.errors import MailError, ServerGone
from mail.journal import Journal, State
from mail.lease import Stopping, WorkerLease
from mail.retry import next_try
from mail.sender import Decision, Request, decide
from mail.sentences import Why, say, why
from mail.tokens import Kind
from mail.transport.smtp import Outcome, ServerConnection
from models import Blob, DeliveryAttempt, OutgoingMail, Recipient, db
from models.outgoing import Claimed, claim, due_server
from models.store import insert_rows

if TYPE_CHECKING:
    from mail.connections import Connections

log = logging.getLogger("coquimail.outgoing")

BATCH = 20  # lines of one claim
RECORD_EVERY = 1.0  # seconds after which results are written down, although lines of the batch are still to be sent
BACK_OFF = timedelta(seconds=30)  # a server that could not be reached is left alone for so long


# --- from a draft to lines in the queue


@dataclass(frozen=True, slots=True)
class To:
    """Somebody who gets a mail; ``address`` as it is written to."""

    address: str
    name: str = ""
    contact_id: int | None = None


@dataclass(frozen=True, slots=True)
class OutgoingDraft:
    """A mail before anything is decided. ``author`` is the From as its writer has it: "Name <address>".

    ``text`` None: derived from ``html``. A mail of a document has its ``title`` and ``type_id``: replies go to the
    alias of that type. ``reply_to`` and ``return_path`` ("<>" for none) are what the mail was given.
    """

    kind: Literal["post", "rejection", "digest", "test"]
    author: str
    subject: str
    html: str = ""
    text: str | None = None
    files: Sequence[File] = ()
    post_id: int | None = None
    references: Sequence[str] = ()
    has_document: bool = False
    title: str = ""
    type_id: int | None = None
    reply_to: str = ""
    return_path: str = ""
    forced_server_id: int | None = None
    auto_submitted: AutoSubmitted | None = None
    headers: Sequence[tuple[str, str]] = ()


def enqueue(
    draft: OutgoingDraft, recipients: Sequence[To], now: datetime, scheduled_at: datetime | None = None
) -> OutgoingMail:
    """Put a mail into the queue, with a line per recipient, and return it, flushed; the caller commits, then wakes.

    What can't be sent (no server, no From, too large) becomes lines that failed and say why. A post's mail has a
    Message-ID made of the post's number, so no post can be queued twice.
    """
    composed = _compose(draft, now, scheduled_at)
    mail = OutgoingMail(**composed.values, content_blob_id=Blob.keep(composed.content))
    db.session.add(mail)
    db.session.flush()
    _add_lines([(mail.id, composed, recipients)], now)
    return mail


def enqueue_many(mails: Sequence[tuple[OutgoingDraft, Sequence[To]]], now: datetime) -> None:
    """Put many mails into the queue as ``enqueue`` does, in four statements; the caller commits, then wakes."""
    composed = [_compose(draft, now, None) for draft, _ in mails]
    blobs = Blob.keep_all([one.content for one in composed])
    rows = [{**one.values, "content_blob_id": blob} for one, blob in zip(composed, blobs, strict=True)]
    ids = {row.message_id: row.id for row in insert_rows(OutgoingMail, rows, "id", "message_id")}
    of_each = zip(composed, mails, strict=True)
    _add_lines([(ids[one.values["message_id"]], one, recipients) for one, (_, recipients) in of_each], now)


@dataclass(frozen=True, slots=True)
class _Composed:
    """A mail that is decided and composed: its columns, its content, and why it can't be sent."""

    values: dict[str, Any]
    content: bytes
    failure: Why | None


def _compose(draft: OutgoingDraft, now: datetime, scheduled_at: datetime | None) -> _Composed:
    snapshot = office.load()
    request = Request(
        sender=draft.author,
        reply_to=draft.reply_to,
        return_path=draft.return_path,
        forced_server=draft.forced_server_id,
        document=draft.title if draft.has_document else None,
        alias=snapshot.type_aliases.get(draft.type_id or 0, "") if draft.has_document else "",
    )
    decision = decide(request, snapshot.servers, snapshot.office)
    message_id = _message_id(draft, snapshot.message_domain)
    content = compose(
        Draft(
            subject=draft.subject,
            message_id=message_id,
            date=now,
            html=draft.html,
            text=draft.text,
            reply_to=decision.reply_to,
            references=draft.references,
            auto_submitted=draft.auto_submitted,
            suppress_auto_replies=True,
            attachments=draft.files,
            headers=draft.headers,
        )
    )
    values = {
        "kind": draft.kind,
        "post_id": draft.post_id,
        "subject": draft.subject[:500],
        "author": draft.author[:400],
        "message_id": message_id,
        "size": len(content),
        "forced_server_id": draft.forced_server_id,
        "return_path": draft.return_path,
        "scheduled_at": scheduled_at,
        "created_at": now,
        **_decided(decision),
    }
    return _Composed(values, content, decision.failure or _too_large(len(content)))


def _message_id(draft: OutgoingDraft, domain: str) -> str:
    """The Message-ID of a mail: by its post, or a random one for a mail of the system itself."""
    if draft.post_id is not None:
        return office.tokens().message_id(Kind.POST, draft.post_id, domain)
    kind = Kind.LOOP if draft.kind == "rejection" else Kind.MAIL
    return office.tokens().message_id(kind, secrets.randbits(62), domain)


def _add_lines(mails: Sequence[tuple[int, _Composed, Sequence[To]]], now: datetime) -> None:
    """Add the lines of new mails; posts with a line that failed at once are marked."""
    lines: list[dict[str, Any]] = []
    failed: list[int] = []
    for mail_id, composed, recipients in mails:
        of_mail = _lines(mail_id, recipients, composed.failure, composed.values["scheduled_at"], now)
        lines += of_mail
        post_id = composed.values["post_id"]
        if post_id is not None and any(line["state"] == "failed" for line in of_mail):
            failed.append(post_id)
    insert_rows(Recipient, lines)
    mark_failures(failed, now)


def _too_large(size: int) -> Why | None:
    limit = parameters.MAX_SIZE.get()
    if size <= limit * 1_000_000:
        return None
    return why("larger_than_allowed", size=round(size / 1_000_000, 1), limit=limit)


def _decided(decision: Decision) -> dict[str, Any]:
    """The columns of a mail that a decision fills."""
    return {
        "server_id": decision.server_id,
        "from_header": decision.from_after[:1000],
        "reply_to": decision.reply_to[:1000],
        "envelope_sender": decision.envelope_sender,
        "decision": decision.as_json(),
    }


def _lines(
    mail_id: int, recipients: Sequence[To], failure: Why | None, scheduled_at: datetime | None, now: datetime
) -> list[dict[str, Any]]:
    lines: dict[str, dict[str, Any]] = {}
    for to in recipients:
        key = normalise(to.address)
        reason = failure or (None if key else why("address_unusable", address=to.address))
        lines.setdefault(
            key or to.address,
            {
                "mail_id": mail_id,
                "contact_id": to.contact_id,
                "name": to.name[:200],
                "address": to.address[:320],
                "address_key": (key or to.address)[:320],
                "state": "failed" if reason else "queued",
                "wait": "schedule" if scheduled_at and not reason else "",
                "next_try_at": scheduled_at or now,
                "why": reason,
            },
        )
    return list(lines.values())


# --- from the queue to the server


class Slots:
    """Which servers the sending threads of this process are busy with, so that a slow one does not take them all."""

    MOST = 2  # connections to one server at once

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[int, int] = {}
        self._away: dict[int, float] = {}  # server -> monotonic time until which it is left alone

    def full(self) -> set[int]:
        """Return the servers that no further thread may take now."""
        with self._lock:
            away = {server for server, until in self._away.items() if until > time.monotonic()}
            return away | {server for server, held in self._held.items() if held >= self._limit(server)}

    def take(self, server: int) -> bool:
        """Take a place at a server; False when another thread was quicker."""
        with self._lock:
            if self._held.get(server, 0) >= self._limit(server):
                return False
            self._held[server] = self._held.get(server, 0) + 1
            return True

    def free(self, server: int, reached: bool) -> None:
        """Give the place back and tell whether the server could be reached."""
        with self._lock:
            self._held[server] -= 1
            if reached:
                self._away.pop(server, None)
            else:
                self._away[server] = time.monotonic() + BACK_OFF.total_seconds()

    def _limit(self, server: int) -> int:
        return 1 if server in self._away else self.MOST  # one thread is enough to see whether it is back


@dataclass
class _Batch:
    """Lines of one server that this worker holds, and what became of them so far."""

    lines: list[Claimed]
    results: list[dict[str, Any]] = field(default_factory=list)
    attempts: list[dict[str, Any]] = field(default_factory=list)
    refused: list[tuple[Claimed, Outcome]] = field(default_factory=list)
    reached: bool = True
    recorded_at: float = field(default_factory=time.monotonic)


def send_some(
    worker: WorkerLease,
    connections: "Connections",
    journal: Journal,
    slots: Slots,
    stopping: Callable[[], bool] = lambda: False,
) -> int:
    """Send the next due lines of one server and return how many were taken: 0 means that nothing is due.

    Runs in a sending thread of its own, in an application context. ``LeaseLost`` means that our lines may already be
    another worker's: they are left as they are.
    """
    now = clock_now()
    server = due_server(now, slots.full())
    db.session.rollback()
    if server is None or not slots.take(server):
        return 0
    batch = _Batch([])
    try:
        batch.lines = claim(worker.id, server, now, BATCH)
        if batch.lines:
            _send_batch(batch, server or None, worker, connections, journal, stopping)
    finally:
        slots.free(server, batch.reached)
    return len(batch.lines)


def _send_batch(
    batch: _Batch,
    server_id: int | None,
    worker: WorkerLease,
    connections: "Connections",
    journal: Journal,
    stopping: Callable[[], bool],
) -> None:
    try:
        connection = _connection(batch.lines, server_id, connections)
    except ServerGone:
        _decide_anew(batch.lines, worker)
        return
    except MailError as error:
        batch.reached = False
        for line in batch.lines:
            _note(batch, line, _not_tried(error.why), "", 0.0)
        _record(batch, worker, server_id, "", journal)
        return
    contents = _contents(batch.lines)
    waiting = list(batch.lines)
    while waiting and batch.reached and not stopping():
        try:
            _deliver(batch, waiting[0], contents[waiting[0].content_blob_id], connection, worker, journal)
        except Stopping:
            break  # what was sent is recorded, the rest goes back
        waiting.pop(0)
        if waiting and time.monotonic() - batch.recorded_at > RECORD_EVERY:
            _record(batch, worker, server_id, connection.target.name, journal)
    if waiting and not batch.reached:  # the server is away: the others need not find out one by one
        reason = batch.results[-1]["why"]
        for line in waiting:
            _note(batch, line, _not_tried(reason), "", 0.0)
        waiting = []
    _record(batch, worker, server_id, connection.target.name, journal)
    if waiting:
        hand_back([line.id for line in waiting], worker.id)


def _connection(lines: Sequence[Claimed], server_id: int | None, connections: "Connections") -> ServerConnection:
    if server_id is None and _another_was_chosen(lines):
        raise ServerGone(id=0)  # the record was deleted, which emptied the column
    connection = connections.to(server_id, transcript=True)
    db.session.rollback()
    return connection


def _another_was_chosen(lines: Sequence[Claimed]) -> bool:
    mails = {line.mail_id for line in lines}
    decisions = db.session.scalars(select(OutgoingMail.decision).where(OutgoingMail.id.in_(mails)))
    return not all(decision and decision.get("is_default_server") for decision in decisions)


def _contents(lines: Sequence[Claimed]) -> dict[int, bytes]:
    contents = {blob_id: Blob.read(blob_id) for blob_id in {line.content_blob_id for line in lines}}
    db.session.rollback()
    return contents


def _deliver(
    batch: _Batch, line: Claimed, content: bytes, connection: ServerConnection, worker: WorkerLease, journal: Journal
) -> None:
    worker.assert_alive()
    began = time.monotonic()
    outcome = connection.deliver(
        line.envelope_sender,
        wire_address(line.address, smtputf8=True),
        _whole(line.id, line.name, line.address, line.from_header, content),
        **journal.in_flight(f"l{line.id}", worker.assert_alive),
    )
    transcript = connection.transcript.take() if connection.transcript else ""
    batch.reached = outcome.phase != "connect"
    _note(batch, line, outcome, transcript, time.monotonic() - began)


def _whole(line_id: int, name: str, address: str, from_header: str, content: bytes) -> bytes:
    """The mail as one recipient gets it: what differs between recipients stands before what they share."""
    token = office.tokens().make(Kind.LINE, line_id)
    return header("X-CoquiMail-Id", token) + with_addresses(content, from_header, show_address(name, address))


def whole_mail(line_id: int) -> bytes | None:
    """Return the mail as the recipient of a line gets it, None if it can't be made (no such line, no From)."""
    line = db.session.get(Recipient, line_id)
    if line is None or not line.mail.from_header:
        return None
    content = Blob.read(line.mail.content_blob_id)
    return _whole(line.id, line.name, line.address, line.mail.from_header, content)


def _not_tried(reason: Why) -> Outcome:
    return Outcome("connect", None, "", "", False, True, False, reason)


# --- from the server's answer to the row


def _note(batch: _Batch, line: Claimed, outcome: Outcome, transcript: str, seconds: float) -> None:
    """Keep what became of a line until the batch is recorded."""
    now = clock_now()
    result: dict[str, Any] = {
        "line_id": line.id,
        "code": outcome.code,
        "enhanced": outcome.enhanced,
        "reply": outcome.text,
        "why": outcome.why,
        "next_try_at": now,
        "wait": "",
        "doubts": line.doubts,
        "sent_at": now if outcome.accepted else None,
    }
    if outcome.accepted:
        result["state"] = "sent"
    elif outcome.in_doubt:
        result |= _doubt(line.doubts, now)
    else:
        again = next_try(line.attempts, line.first_try_at, now) if outcome.temporary else None
        if again:
            result |= {"state": "queued", "wait": "retry", "next_try_at": again}
        else:
            result["state"] = "failed"
            if outcome.temporary:
                result["why"] = why("gave_up", last=say(outcome.why))
            batch.refused.append((line, outcome))
    batch.results.append(result)
    batch.attempts.append(
        {
            "recipient_id": line.id,
            "at": now,
            "phase": outcome.phase,
            "code": outcome.code,
            "seconds": seconds,
            "why": outcome.why,
            "transcript": transcript,
        }
    )


def _doubt(doubts: int, now: datetime) -> dict[str, Any]:
    """What becomes of a line whose answer nobody saw: once it is sent again by itself, then a person decides."""
    if doubts == 0:
        return {"state": "queued", "wait": "retry", "next_try_at": now, "doubts": 1, "why": why("unknown_once")}
    return {"state": "unknown", "wait": "", "next_try_at": now, "doubts": doubts + 1, "why": why("unknown_final")}


_LINE: Any = Recipient.__table__
_RESULT = (
    update(_LINE)
    .where(_LINE.c.id == bindparam("line_id"), _LINE.c.worker_id == bindparam("holder"), _LINE.c.state == "sending")
    .values(
        {
            name: bindparam(name)
            for name in ("state", "wait", "next_try_at", "doubts", "code", "enhanced", "reply", "why", "sent_at")
        }
    )
)


def _record(batch: _Batch, worker: WorkerLease, server_id: int | None, server_name: str, journal: Journal) -> None:
    """Write down the results of a batch, tell the open pages, and only then let the journal forget them."""
    if not batch.results:
        return
    now = clock_now()
    db.session.connection().execute(_RESULT, [{**result, "holder": worker.id} for result in batch.results])
    named = {"server_id": server_id, "server_name": server_name}
    db.session.execute(insert(DeliveryAttempt), [attempt | named for attempt in batch.attempts])
    if batch.refused:
        health.record(_failures(batch.refused), now)
        mark_failures(_posts(line for line, _ in batch.refused), now)
    show_progress(_posts(batch.lines), now)
    db.session.commit()
    journal.reset()
    for result in batch.results:
        log.info("line %s: %s %s", result["line_id"], result["state"], result["code"] or "")
    batch.results, batch.attempts, batch.refused = [], [], []
    batch.recorded_at = time.monotonic()


def _failures(refused: Iterable[tuple[Claimed, Outcome]]) -> list[health.Failure]:
    """What a server said no to for good; a server that could not be reached says nothing about the address."""
    return [
        health.Failure(line.address, kind_of(outcome.enhanced, outcome.text), outcome.enhanced, outcome.text, line.id)
        for line, outcome in refused
        if outcome.phase == "rcpt" and outcome.code and not outcome.temporary
    ]


def hand_back(line_ids: Collection[int], worker_id: int) -> None:
    """Return lines that were claimed and not tried to the queue, as if they had never been taken; commits."""
    db.session.execute(
        update(Recipient)
        .where(Recipient.id.in_(line_ids), Recipient.worker_id == worker_id, Recipient.state == "sending")
        .values(state="queued", attempts=Recipient.attempts - 1, worker_id=None)
        .execution_options(synchronize_session=False)
    )
    db.session.commit()


def _decide_anew(lines: Sequence[Claimed], worker: WorkerLease) -> None:
    """The chosen server is gone: choose again for these mails and put their lines back."""
    decide_again({line.mail_id for line in lines}, clock_now())
    hand_back([line.id for line in lines], worker.id)


def decide_again(mail_ids: Collection[int], now: datetime) -> None:
    """Choose the server and the From of waiting mails anew; where that fails the lines say so. The caller commits."""
    office.forget()
    snapshot = office.load()
    for mail in db.session.scalars(select(OutgoingMail).where(OutgoingMail.id.in_(mail_ids))):
        request = Request(mail.author, mail.reply_to, mail.return_path, mail.forced_server_id)
        decision = decide(request, snapshot.servers, snapshot.office)
        for name, value in _decided(replace(decision, reply_to=mail.reply_to)).items():
            setattr(mail, name, value)
        if decision.failure:
            db.session.flush()
            db.session.execute(
                update(Recipient)
                .where(Recipient.mail_id == mail.id, Recipient.state.in_(("queued", "sending")))
                .values(state="failed", why=decision.failure, wait="")
                .execution_options(synchronize_session=False)
            )
            if mail.post_id:
                mark_failures([mail.post_id], now)


# --- after a worker died


def recover_lines(worker_id: int, said: Mapping[str, State] | None, now: datetime) -> dict[str, int]:
    """Settle the lines that a dead worker held, by its journal, and return how many went which way.

    ``ok`` in the journal: it was sent. ``begun`` alone: nobody knows. No word: it was never sent, back to the queue.
    ``said`` None is a journal that can't be had: nobody knows about any of them. The caller commits and wakes.
    """
    held = db.session.execute(
        select(Recipient.id, Recipient.doubts, OutgoingMail.post_id, OutgoingMail.server_id, OutgoingMail.decision)
        .join(OutgoingMail, Recipient.mail_id == OutgoingMail.id)
        .where(Recipient.worker_id == worker_id, Recipient.state == "sending")
    ).all()
    counts = {"sent": 0, "in doubt": 0, "queued": 0}
    tries = []
    for line in held:
        state = "begun" if said is None else said.get(f"l{line.id}")
        values: dict[str, Any]
        reason = None
        if state == "ok":
            values = {"state": "sent", "sent_at": now, "why": None}
            reason = why("sent_unrecorded")
            counts["sent"] += 1
        elif state == "begun":
            values = _doubt(line.doubts, now)
            reason = values["why"]
            counts["in doubt"] += 1
        else:
            values = {"state": "queued", "attempts": Recipient.attempts - 1}
            counts["queued"] += 1
        db.session.execute(
            update(Recipient)
            .where(Recipient.id == line.id, Recipient.worker_id == worker_id, Recipient.state == "sending")
            .values(worker_id=None, **values)
            .execution_options(synchronize_session=False)
        )
        if reason:  # the mail's page shows this try like any other
            server = {"server_id": line.server_id, "server_name": (line.decision or {}).get("server_name", "")}
            tries.append({"recipient_id": line.id, "at": now, "phase": "end", "why": reason, **server})
    if tries:
        db.session.execute(insert(DeliveryAttempt), tries)
    show_progress({line.post_id for line in held if line.post_id is not None}, now)
    return counts


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
            .execution_options(synchronize_session=False)
        )
    )  # fmt: skip
    decide_again(mails, now)
    show_progress(_posts_of(mails), now)
    return len(mails) and _count_queued(line_ids)


def _count_queued(line_ids: Collection[int]) -> int:
    found = db.session.scalars(select(Recipient.id).where(Recipient.id.in_(line_ids), Recipient.state == "queued"))
    return len(found.all())


def cancel(line_ids: Collection[int], now: datetime) -> int:
    """Take waiting lines out of the queue for good and return how many; the caller commits."""
    mails = db.session.scalars(
        update(Recipient)
        .where(Recipient.id.in_(line_ids), Recipient.state == "queued")
        .values(state="cancelled", wait="", why=why("left_the_queue"))
        .returning(Recipient.mail_id)
        .execution_options(synchronize_session=False)
    ).all()
    show_progress(_posts_of(mails), now)
    return len(mails)


class NotCorrected(ValueError):
    """An address was not corrected; ``why`` says why not."""

    def __init__(self, reason: Why) -> None:
        super().__init__(say(reason))
        self.why = reason


def correct_address(line_id: int, address: str, now: datetime) -> None:
    """Send a failed line to another address; raises ``NotCorrected``. The caller commits and wakes."""
    key = normalise(address)
    line = db.session.get(Recipient, line_id)
    if key is None or line is None:
        raise NotCorrected(why("address_unusable", address=address))
    taken = exists().where(Recipient.mail_id == line.mail_id, Recipient.address_key == key, Recipient.id != line_id)
    if db.session.scalar(select(taken)):
        raise NotCorrected(why("address_has_it", address=address))
    line.address, line.address_key = address.strip(), key
    db.session.flush()
    _again([line_id], FAILED, now)


def mark_bounced(line_id: int, reason: Why, status: str, text: str, now: datetime) -> bool:
    """Paint a line red because a report says that its mail did not arrive; False if it was red already.

    The caller commits; the report itself is the caller's to record and to count.
    """
    post_id = db.session.execute(
        update(Recipient)
        .where(Recipient.id == line_id, Recipient.state.in_(("sent", "unknown", "sending", "queued")))
        .values(state="bounced", wait="", why=reason, enhanced=status[:20], reply=text, bounced_at=now, seen_at=None)
        .returning(select(OutgoingMail.post_id).where(OutgoingMail.id == Recipient.mail_id).scalar_subquery())
        .execution_options(synchronize_session=False)
    ).first()
    if post_id is None:
        return False
    if post_id[0] is not None:
        mark_failures([post_id[0]], now)
        show_progress([post_id[0]], now)
    return True


def _posts(lines: Iterable[Claimed]) -> set[int]:
    return {line.post_id for line in lines if line.post_id is not None}


def _posts_of(mail_ids: Collection[int]) -> set[int]:
    if not mail_ids:
        return set()
    found = db.session.scalars(select(OutgoingMail.post_id).where(OutgoingMail.id.in_(set(mail_ids))))
    return {post_id for post_id in found if post_id is not None}

"""FLOW of a mail going out: compose -> choose server -> From -> lines -> claim -> deliver -> record.

Nothing leaves twice and nothing is forgotten: a claim is committed before, the result after, and the journal says what
was in flight between. States stand on the lines; who reads them derives the state of the mail.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, insert, select, update

from mail.decide.failure import kind_of
from mail.decide.retry import next_try
from mail.errors import MailError, ServerGone
from mail.message.address import wire_address
from mail.outgoing import failures
from mail.outgoing.delivery_state import mark_failures, show_progress
from mail.queue.journal import Journal, State
from mail.queue.lease import Stopping, WorkerLease
from mail.sentences import Why, say, why
from mail.settings.clock import now as clock_now
from mail.transport.smtp import Outcome, ServerConnection
from models import Blob, DeliveryAttempt, OutgoingMail, Recipient, db
from models.outgoing import Claimed, claim, due_server

if TYPE_CHECKING:
    from mail.queue.connections import Connections

from mail.outgoing.lines import decide_again, posts_of_lines, whole

log = logging.getLogger("coquimail.outgoing")

BATCH = 20  # lines of one claim
RECORD_EVERY = 1.0  # seconds after which results are written down, although lines of the batch are still to be sent
BACK_OFF = timedelta(seconds=30)  # a server that could not be reached is left alone for so long


# --- from the queue to the server


class ServerConcurrency:
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
    slots: ServerConcurrency,
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
        whole(line.id, line.name, line.address, line.from_header, content),
        **journal.in_flight(f"l{line.id}", worker.assert_alive),
    )
    transcript = connection.transcript.take() if connection.transcript else ""
    batch.reached = outcome.phase != "connect"
    _note(batch, line, outcome, transcript, time.monotonic() - began)


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
        failures.record(_failures(batch.refused), now)
        mark_failures(posts_of_lines(line for line, _ in batch.refused), now)
    show_progress(posts_of_lines(batch.lines), now)
    db.session.commit()
    journal.reset()
    for result in batch.results:
        log.info("line %s: %s %s", result["line_id"], result["state"], result["code"] or "")
    batch.results, batch.attempts, batch.refused = [], [], []
    batch.recorded_at = time.monotonic()


def _failures(refused: Iterable[tuple[Claimed, Outcome]]) -> list[failures.Failure]:
    """What a server said no to for good; a server that could not be reached says nothing about the address."""
    return [
        failures.Failure(line.address, kind_of(outcome.enhanced, outcome.text), outcome.enhanced, outcome.text, line.id)
        for line, outcome in refused
        if outcome.phase == "rcpt" and outcome.code and not outcome.temporary
    ]


def hand_back(line_ids: Collection[int], worker_id: int) -> None:
    """Return lines that were claimed and not tried to the queue, as if they had never been taken; commits."""
    db.session.execute(
        update(Recipient)
        .where(Recipient.id.in_(line_ids), Recipient.worker_id == worker_id, Recipient.state == "sending")
        .values(state="queued", attempts=Recipient.attempts - 1, worker_id=None)
    )
    db.session.commit()


def _decide_anew(lines: Sequence[Claimed], worker: WorkerLease) -> None:
    """The chosen server is gone: choose again for these mails and put their lines back."""
    decide_again({line.mail_id for line in lines}, clock_now())
    hand_back([line.id for line in lines], worker.id)


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
        )
        if reason:  # the mail's page shows this try like any other
            server = {"server_id": line.server_id, "server_name": (line.decision or {}).get("server_name", "")}
            tries.append({"recipient_id": line.id, "at": now, "phase": "end", "why": reason, **server})
    if tries:
        db.session.execute(insert(DeliveryAttempt), tries)
    show_progress({line.post_id for line in held if line.post_id is not None}, now)
    return counts

"""FLOW of the mails of a mailing, chunk by chunk: take -> rendered mailing -> deliver -> record.

A *chunk* is a range of at most 200 traces: a worker takes it, sends its mails over one connection, and records all
results in one transaction (``chunk_record.py``). ``mailing.py`` makes the chunks; a paused mailing hands out no more.
When a worker died, its journal says what became of the chunks that it held.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update

from mail.decide.retry import gave_up, next_try
from mail.errors import JournalFailed, MailError, ServerGone
from mail.mailing.chunk_record import (
    AFTER_MISTAKES,
    AFTER_STRIKES,
    ChunkResults,
    ChunkWork,
    Result,
    record,
    record_progress,
    write_results,
)
from mail.mailing.ready import without_custom_servers
from mail.mailing.rendered import MailingRecipient, bare_address, rendered_mailing
from mail.mailing.signed_ahead import SignedAhead
from mail.message.dkim import SigningKey, UnsignedHeader
from mail.outgoing.delivery import DeliveryBatch, End, Parcel, Try, deliver_batch, failure_of, given_by_relay
from mail.queue import outages, quota
from mail.queue.connections import Connections
from mail.queue.journal import Journal, State
from mail.queue.lease import LeaseLost, WorkerLease
from mail.sentences import Why, ended, why
from mail.settings.clock import now as clock_now
from mail.settings.signing import signing_keys
from mail.settings.wake import wake
from mail.transport.smtp import Outcome
from models import Chunk, Mailing, change_rows, db, reading
from models import chunk as chunk_rows

LOOK_EVERY = 1.0  # seconds after which a running chunk asks whether it was paused, and extends its lease
WORTH_A_PROCESS = 20  # recipients from which on another process signs
SIGN_IN_WAITS = timedelta(seconds=30)  # for those who are deferred, until it is looked at again
SYNC_EVERY = 0.1  # seconds of sending that a power cut may take from the journal


# --- take one


class _RoundRobin:
    """Which mailing of this process had its turn last: the others come first, so that each gets the same pace."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def order(self, mailing_ids: Iterable[int]) -> list[int]:
        with self._lock:
            return sorted(mailing_ids, key=lambda mailing_id: (mailing_id <= self._last, mailing_id))

    def had(self, mailing_id: int) -> None:
        with self._lock:
            self._last = mailing_id


_round_robin = _RoundRobin()


def take_chunk(worker: WorkerLease, now: datetime, full: Collection[int] = ()) -> ChunkWork | None:
    """Return the next chunk, held by this worker and committed; None when there is nothing to send now.

    Mailings take turns. One that is paused, or whose server can't be reached for the moment or is among ``full`` (0:
    the default server), is passed over.
    """
    with reading():
        mailings = chunk_rows.sendable(now)
    known = {mailing.id: mailing for mailing in mailings if (mailing.server_id or 0) not in full}
    for mailing_id in _round_robin.order(known):
        work = _claim(known[mailing_id], worker)
        if work is not None:
            _round_robin.had(mailing_id)
            return work
    return None


def is_due(now: datetime, full: Collection[int]) -> bool:
    """Say whether a mailing has a chunk to send now, through a server that is not among ``full``."""
    with reading():
        mailings = chunk_rows.sendable(now)
    return any((mailing.server_id or 0) not in full for mailing in mailings)


def _claim(mailing: Any, worker: WorkerLease) -> ChunkWork | None:
    taken = chunk_rows.take(mailing.id, worker.id)
    db.session.commit()
    if taken is None:
        return None
    held = taken.id, taken.first_id, taken.last_id, taken.pass_number
    return ChunkWork(*held, mailing.id, mailing.server_id, mailing.content_key, mailing.tries, mailing.custom_off)


# --- send it


def send_some(
    worker: WorkerLease, connections: Connections, journal: Journal, clock: Callable[[], datetime] = clock_now,
    claimed: Callable[[], None] = lambda: None,
) -> bool:  # fmt: skip
    """Send one chunk of one mailing and return whether there was one. For a sending thread, in an app context.

    ``claimed`` is called when it is taken and about to be sent.

    ``LeaseLost``: our chunk may already be another worker's, it is left as it is and recovered by the journal.
    """
    servers = connections.servers
    work = None if connections.halted else take_chunk(worker, clock(), servers.full("mass"))
    if work is None:
        return False
    if not servers.take(work.server_id or 0, "mass"):
        record(work, ChunkResults(back=True), worker, clock)
        return False
    try:
        claimed()
        deliver_chunk(work, worker, connections, journal, clock)
    finally:
        servers.free(work.server_id or 0, "mass")
        if servers.yields(work.server_id or 0):
            wake()  # personal mail waits for this connection
    return True


def deliver_chunk(
    work: ChunkWork,
    worker: WorkerLease,
    connections: Connections,
    journal: Journal,
    clock: Callable[[], datetime] = clock_now,
) -> ChunkResults:
    """Send the mails of a chunk over one connection, record all results in one transaction, and return them.

    A recipient that is refused or put off does not stop the others. A server that can't be reached fails nobody: the
    chunk waits, and so does its mailing. Raises ``LeaseLost`` when another worker may have the chunk.
    """
    try:
        batch = ChunkBatch(work, worker, connections, journal, clock)
    except MailError as error:  # it can't be compiled: somebody has to fix it
        results = ChunkResults(back=True, stop=error.why)
    else:
        results = batch.deliver()
    record(work, results, worker, clock)
    with contextlib.suppress(JournalFailed):  # it begins nothing until it could be
        journal.reset()
    return results


class ChunkBatch(DeliveryBatch[Any]):
    """The recipients of a chunk that this worker holds, and what became of them so far."""

    lane = "mass"

    def __init__(
        self,
        work: ChunkWork,
        worker: WorkerLease,
        connections: Connections,
        journal: Journal,
        clock: Callable[[], datetime],
    ) -> None:
        super().__init__(work.server_id or 0)
        self.work, self.worker, self.connections, self.journal, self.clock = work, worker, connections, journal, clock
        self.letter = rendered_mailing(work.mailing_id, work.content_key)
        self.results = ChunkResults()
        self._keys: tuple[SigningKey, ...] | None = None
        self._ahead: SignedAhead | None = None
        self._looked_at = self._synced_at = time.monotonic()
        self._put_off: deque[tuple[Any, Result]] = deque(maxlen=10)

    def deliver(self) -> ChunkResults:
        """Send to one recipient after the other, until something ends the chunk, and return what came of it."""
        work, results = self.work, self.results
        try:
            if work.server_id is None and not self.letter.decision.is_default_server:
                raise ServerGone(id=self.letter.decision.server_id)  # the record was deleted, which emptied the column
            if work.custom_off and (off := without_custom_servers(self.letter.decision)):
                results.back, results.stop = True, off
                return results
            now = self.clock()
            found = chunk_rows.recipients(work.mailing_id, work.first_id, work.last_id, work.from_state, now)
            results.reserved = quota.reserve(self.server_id, len(found), now)
            db.session.commit()
            self.waiting.extend(found[: results.reserved.emails])
            results.back = len(self.waiting) < len(found)
            if self.waiting:
                deliver_batch(self, self.connections, self.journal, self.worker)
        except ServerGone as error:
            gone = why("mailing_server_gone") if error.code == ServerGone.code else error.why
            results.back, results.stop = True, gone
        finally:
            if self._ahead:
                self.connections.signing.give_back(self._ahead.process)
        if self.waiting:
            results.trouble = self.why
            if self.end is End.SIGNED_OUT:
                self._put_off_the_deferred()
            results.back |= bool(self.waiting)
        if self.end is End.STRUCK:
            results.waits = AFTER_STRIKES
        elif self.end is End.FAILED:
            results.waits = (30,) if self.is_known else AFTER_MISTAKES
        results.frees_doubted = self.frees_doubted
        return results

    def goes_on(self) -> bool:
        """Sync the journal, keep the lease, write down what was sent, and say whether the mailing goes on."""
        elapsed = time.monotonic()
        if elapsed - self._synced_at > SYNC_EVERY:
            self.journal.sync()
            self._synced_at = elapsed
        if elapsed - self._looked_at > LOOK_EVERY:
            self._looked_at = elapsed
            state = chunk_rows.state_of_mailing(self.work.chunk_id, self.worker.id)
            if state is None:
                db.session.rollback()
                raise LeaseLost(self.worker.id)
            record_progress(self.work, self.results, self.clock())
            if state != "sending":
                self.stop(End.STOPPED)
        if self.connections.servers.yields(self.server_id):
            self.stop(End.STOPPED)
        return self.end is End.DONE

    def compose(self, recipient: Any) -> Parcel:
        """Render the mail of one recipient."""
        if self._keys is None:
            self._keys = self._signing_keys()
            many = self._keys and len(self.waiting) >= WORTH_A_PROCESS
            process = self.connections.signing.take(self._keys[0]) if many else None
            self._ahead = SignedAhead(self._render, self.waiting, process) if process else None
        content = self._ahead.mail_to(recipient) if self._ahead else self._render(recipient, None)
        sender, address = self.letter.envelope_sender(recipient.id), bare_address(recipient.address)
        return Parcel(f"t{recipient.id}", sender, address, content, ready=True, shared_sender=self.letter.shared_sender)

    def _render(self, recipient: Any, later: list[UnsignedHeader] | None) -> bytes:
        trace_id, address, _, _, name, company, language = recipient
        reader = MailingRecipient(trace_id, address, name, company, language)
        return self.letter.mail_to(reader, self.clock(), self._keys or (), later)

    def _signing_keys(self) -> tuple[SigningKey, ...]:
        """Return the keys that sign all of this chunk."""
        return signing_keys().of_sender(self.letter.decision.from_after) if self.signs else ()

    def leave_unsigned(self, recipient: Any, reason: Why) -> None:
        """The key signs all of the mailing: it pauses, and nobody was tried."""
        self.waiting.appendleft(recipient)
        self.results.back, self.results.stop = True, reason
        self.stop(End.STOPPED)

    def _put_off_the_deferred(self) -> None:
        """Nobody can be tried without a sign-in: this time does not count for those who were tried before."""
        with reading():
            due = chunk_rows.due_since([recipient.id for recipient in self.waiting if recipient.first_try_at])
        again = self.clock() + SIGN_IN_WAITS
        for recipient in [one for one in self.waiting if one.id in due]:
            self.waiting.remove(recipient)
            since = recipient.first_try_at + (again - due[recipient.id])
            self.results.others.append(Result(recipient.id, "deferred", self.why, None, None, again, since, tries=0))

    def put_off(self, recipient: Any, reason: Why, until: datetime) -> None:
        """Defer a recipient who was not tried."""
        since = recipient.first_try_at and recipient.first_try_at + (until - self.clock())  # it does not count
        self.results.others.append(Result(recipient.id, "deferred", reason, None, None, until, since, tries=0))

    def now(self) -> datetime:
        """Return the time of the office."""
        return self.clock()

    def unreached(self, tried: Try) -> None:
        """Nobody's fault but the server's: all wait."""

    def take_back(self, count: int) -> None:
        """Deliver the recipients that were put off last again."""
        for _ in range(min(count, len(self._put_off))):
            recipient, result = self._put_off.pop()
            self.results.others.remove(result)
            self.waiting.append(recipient)

    def note(self, recipient: Any, tried: Try) -> None:
        """Keep what became of a recipient until the chunk is recorded."""
        outcome, results = tried.outcome, self.results
        if outcome.accepted:
            results.sent.append((recipient.id, self.clock()))
            if given := given_by_relay(tried):
                results.relay_ids.append({"trace_id": recipient.id, "name": given})
            results.reached = True
            return
        if outcome.phase == "mail" and outcome.code is not None and not outcome.temporary:
            results.back, results.stop = True, outcome.why  # it refuses us: everybody else would fail too
            self.stop(End.STOPPED)
            return
        results.reached |= outcome.code is not None
        result = _result(recipient, outcome, self.clock())
        results.others.append(result)
        if result.state == "deferred":
            self._put_off.append((recipient, result))
        failure = failure_of(recipient.address, outcome, trace_id=recipient.id)
        if failure:
            results.failures.append(failure)


def _result(recipient: Any, outcome: Outcome, now: datetime) -> Result:
    """Return what becomes of a recipient whose mail was not accepted."""
    if outcome.in_doubt:
        return Result(recipient.id, "unknown", outcome.why)
    said = " ".join(filter(None, (outcome.enhanced, outcome.text)))
    if not outcome.temporary:
        return Result(recipient.id, "failed", outcome.why and ended(outcome.why), outcome.code, said)
    first = min(recipient.first_try_at or now, now)  # a clock may have been ahead
    again = next_try(recipient.attempts + 1, first, now, outages.known())
    if again:
        return Result(recipient.id, "deferred", outcome.why, outcome.code, said, again, first)
    return Result(recipient.id, "failed", gave_up(outcome.why), outcome.code, said)


# --- after a worker died


def recover_chunks(worker_id: int, said: Mapping[str, State] | None, now: datetime) -> dict[str, int]:
    """Recover the chunks that a dead worker held, by its journal, and return how many recipients went which way.

    ``ok`` in the journal: it was sent. ``begun`` alone: nobody knows, and it stays ``unknown`` until a person decides.
    No word: it was never sent, and the chunk waits for the next worker. ``said`` None is a journal that can't be had:
    nobody knows about any of them. The caller commits and wakes.
    """
    counts = {"sent": 0, "in doubt": 0, "queued": 0}
    chunks = db.session.execute(
        select(Chunk.id, Chunk.first_id, Chunk.last_id, Chunk.pass_number, Chunk.mailing_id)
        .where(Chunk.worker_id == worker_id, Chunk.state == "taken")
        .order_by(Chunk.id)
        .with_for_update()
    ).all()
    for chunk in chunks:
        work = ChunkWork(chunk.id, chunk.first_id, chunk.last_id, chunk.pass_number, chunk.mailing_id, None, "", 0)
        results = ChunkResults(back=True)
        for trace_id in chunk_rows.untouched(work.mailing_id, work.first_id, work.last_id, work.from_state):
            state = "begun" if said is None else said.get(f"t{trace_id}")
            if state == "ok":
                results.sent.append((trace_id, now))
            elif state == "begun":
                results.others.append(Result(trace_id, "unknown", why("trace_in_doubt")))
            else:
                counts["queued"] += 1
        change_rows(update(Chunk).where(Chunk.id == chunk.id).values(state="waiting", worker_id=None))
        changed = write_results(work, results)
        counts["sent"] += changed["sent"]
        counts["in doubt"] += changed["unknown"]
        if changed:
            Mailing.change(work.mailing_id, {state: getattr(Mailing, state) + n for state, n in changed.items()})
        Mailing.tell(work.mailing_id, now)
    return counts

"""FLOW of the mails of a mailing, chunk by chunk: take -> letter -> connection -> deliver_chunk -> record.

A *chunk* is a range of at most 200 traces: a worker takes it, sends its mails over one connection, and records all
results in one transaction. ``mailing.py`` makes the chunks; a paused mailing hands out no more. When a worker died, its
journal says what became of the chunks that it held. Locks are taken in the order chunk, traces, mailing.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import select, update
from sqlalchemy.exc import InterfaceError, OperationalError

from mail.decide.failure import FailureKind, kind_of
from mail.decide.retry import next_try
from mail.errors import JournalFailed, MailError, ServerGone
from mail.mailing import blacklist
from mail.mailing.rendered import MailingRecipient, bare_address, rendered_mailing
from mail.message.compose import HeaderError
from mail.outgoing import failures as outgoing_failures
from mail.queue.connections import Connections
from mail.queue.journal import Journal, State
from mail.queue.lease import LEASE, LeaseLost, Stopping, WorkerLease
from mail.sentences import Why, say, why
from mail.settings import parameters
from mail.settings.clock import now as clock_now
from mail.transport.smtp import Outcome, ServerConnection
from models import Chunk, Mailing, change_rows, db, reading
from models import chunk as chunk_rows

log = logging.getLogger("coquimail.mailing")

LOOK_EVERY = 1.0  # seconds after which a running chunk asks whether it was paused, and extends its lease
SYNC_EVERY = 0.1  # seconds of sending that a power cut may take from the journal
TELL_EVERY = 1.0  # seconds between two events of one mailing for open pages
WINDOW = 200  # the last recipients whose failures may pause a mailing
MOST_CUTS = 3  # connections lost in the middle of a mail, one after the other, before the server counts as away
BACK_OFF = (5, 10, 20, 40, 60, 120, 300)  # seconds before a server that can't be reached is tried again


# --- take one


@dataclass(frozen=True, slots=True)
class ChunkWork:
    """A chunk that this worker holds. First passes take recipients that are ``queued``, later ones the deferred."""

    chunk_id: int
    first_id: int
    last_id: int
    pass_number: int
    mailing_id: int
    server_id: int | None  # None: the default server
    content_key: str
    tries: int

    @property
    def from_state(self) -> str:
        return "queued" if self.pass_number == 1 else "deferred"


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


def take_chunk(worker: WorkerLease, now: datetime) -> ChunkWork | None:
    """Return the next chunk, held by this worker and committed; None when there is nothing to send now.

    Mailings take turns. One that is paused, or whose server can't be reached for the moment, is passed over.
    """
    with reading():
        mailings = chunk_rows.sendable(now)
    known = {mailing.id: mailing for mailing in mailings}
    for mailing_id in _round_robin.order(known):
        work = _claim(known[mailing_id], worker)
        if work is not None:
            _round_robin.had(mailing_id)
            return work
    return None


def _claim(mailing: Any, worker: WorkerLease) -> ChunkWork | None:
    taken = chunk_rows.take(mailing.id, worker.id, LEASE)
    db.session.commit()
    if taken is None:
        return None
    held = taken.id, taken.first_id, taken.last_id, taken.pass_number
    return ChunkWork(*held, mailing.id, mailing.server_id, mailing.content_key, mailing.tries)


# --- send it


class Result(NamedTuple):
    """What became of a recipient that was not simply sent."""

    trace_id: int
    state: str
    why: Why | None
    code: int | None = None
    reply: str | None = None
    next_try_at: datetime | None = None
    first_try_at: datetime | None = None

    def row(self) -> dict[str, Any]:
        """Return the columns as ``chunk.write_others`` takes them."""
        return {
            "trace": self.trace_id,
            "new_why": self.why,
            "new_code": self.code,
            "new_reply": self.reply,
            "again_at": self.next_try_at,
            "since": self.first_try_at,
        }


@dataclass
class ChunkBatch:
    """What became of the recipients of a chunk so far, and why it ends before its end."""

    sent: list[tuple[int, datetime]] = field(default_factory=list)
    others: list[Result] = field(default_factory=list)
    failures: list[outgoing_failures.Failure] = field(default_factory=list)
    reached: bool = False  # the server took or refused at least one mail
    cuts: int = 0
    back: bool = False  # recipients are left: the chunk waits for another turn
    trouble: Why | None = None  # no mail can be sent now: the mailing waits
    stop: Why | None = None  # no mail can be sent until somebody mends it: the mailing pauses

    def states(self) -> Counter[str]:
        """Count the results by state."""
        return Counter({"sent": len(self.sent)}) + Counter(result.state for result in self.others)


def send_some(
    worker: WorkerLease, connections: Connections, journal: Journal, clock: Callable[[], datetime] = clock_now
) -> bool:
    """Send one chunk of one mailing and return whether there was one. For a sending thread, in an app context.

    ``LeaseLost``: our chunk may already be another worker's, it is left as it is and recovered by the journal.
    """
    work = take_chunk(worker, clock())
    if work is None:
        return False
    try:
        letter = rendered_mailing(work.mailing_id, work.content_key)
    except MailError as error:  # it can't be compiled: somebody has to mend it
        _record(work, ChunkBatch(back=True, stop=error.why), worker, clock)
        return True
    try:
        if work.server_id is None and not letter.decision.is_default_server:
            raise ServerGone(id=letter.decision.server_id)  # the record was deleted, which emptied the column
        connection = connections.to(work.server_id)
    except ServerGone as error:
        _record(work, ChunkBatch(back=True, stop=error.why), worker, clock)
    except MailError as error:
        _record(work, ChunkBatch(back=True, trouble=error.why), worker, clock)
    else:
        deliver_chunk(work, worker, connection, journal, clock)
    return True


def deliver_chunk(
    work: ChunkWork,
    worker: WorkerLease,
    connection: ServerConnection,
    journal: Journal,
    clock: Callable[[], datetime] = clock_now,
) -> ChunkBatch:
    """Send the mails of a chunk over one connection, record all results in one transaction, and return them.

    A recipient that is refused or put off does not stop the others. A server that can't be reached fails nobody: the
    chunk waits, and so does its mailing. Raises ``LeaseLost`` when another worker may have the chunk.
    """
    sending = _Sending(work, worker, connection, journal, clock)
    batch = sending.batch
    try:
        sending.deliver_all()
    except Stopping:
        batch.back = True
    except JournalFailed as error:
        batch.back, batch.trouble = True, error.why
    except LeaseLost:
        connection.drop()
        raise
    except BaseException:
        batch.back = True
        connection.drop()
        _record(work, batch, worker, clock)
        raise
    _record(work, batch, worker, clock)
    journal.reset()
    return batch


class _Sending:
    """A chunk on its way to the server: who sends it, over what, and what became of it so far."""

    def __init__(
        self,
        work: ChunkWork,
        worker: WorkerLease,
        connection: ServerConnection,
        journal: Journal,
        clock: Callable[[], datetime],
    ) -> None:
        self.work, self.worker, self.connection, self.journal, self.clock = work, worker, connection, journal, clock
        self.letter = rendered_mailing(work.mailing_id, work.content_key)
        self.recipients = chunk_rows.recipients(work.mailing_id, work.first_id, work.last_id, work.from_state, clock())
        db.session.rollback()
        self.batch = ChunkBatch()

    def deliver_all(self) -> None:
        """Send to one recipient after the other, until something ends the chunk."""
        looked_at = synced_at = time.monotonic()
        for recipient in self.recipients:
            self.worker.assert_alive()
            elapsed = time.monotonic()
            if elapsed - synced_at > SYNC_EVERY:
                self.journal.sync()
                synced_at = elapsed
            if elapsed - looked_at > LOOK_EVERY:
                looked_at = elapsed
                if not self._goes_on():
                    self.batch.back = True
            if not self.batch.back:
                self._deliver(recipient)
            if self.batch.back:
                return

    def _goes_on(self) -> bool:
        """Extend the lease of the chunk and return whether its mailing is still to be sent."""
        state = chunk_rows.keep(self.work.chunk_id, self.worker.id, LEASE)
        db.session.commit()
        if state is None:
            raise LeaseLost(self.worker.id)
        return bool(state == "sending")

    def _deliver(self, recipient: Any) -> None:
        trace_id, address, _, _, name, company, language = recipient
        try:
            content = self.letter.mail_to(MailingRecipient(trace_id, address, name, company, language), self.clock())
            bare = bare_address(address)
        except MailError as error:
            self.batch.others.append(Result(trace_id, "failed", error.why))
            return
        except HeaderError as error:
            reason = why("mail_unusable", error=type(error).__name__, detail=str(error)[:200])
            self.batch.others.append(Result(trace_id, "failed", reason))
            return
        outcome = self._hand_over(trace_id, bare, content)
        if outcome.code is None and outcome.temporary and outcome.phase != "connect":
            # The connection was cut before the mail was complete: the same mail over a new one.
            outcome = self._hand_over(trace_id, bare, content)
        if outcome.accepted:
            self.batch.sent.append((trace_id, self.clock()))
            self.batch.reached, self.batch.cuts = True, 0
        else:
            _note(self.batch, recipient, outcome, self.clock())

    def _hand_over(self, trace_id: int, address: str, content: bytes) -> Outcome:
        key, journal = f"t{trace_id}", self.journal

        def begin() -> None:
            journal.begin_if(key, self.worker.assert_alive)  # the last moment to notice that this worker stood still

        return self.connection.deliver(
            self.letter.envelope_sender,
            address,
            content,
            begin,
            lambda: journal.ok(key),
            lambda: journal.refused(key),
            ready=True,
        )


def _note(batch: ChunkBatch, recipient: Any, outcome: Outcome, now: datetime) -> None:
    """Keep what became of a mail that was not accepted."""
    trace_id, refused = recipient.id, outcome.code is not None
    if outcome.in_doubt:
        batch.others.append(Result(trace_id, "unknown", outcome.why))
        return
    if outcome.temporary and not refused and outcome.phase == "connect":
        batch.back, batch.trouble = True, outcome.why  # nobody's fault but the server's
        return
    if refused and not outcome.temporary and outcome.phase == "mail":
        batch.back, batch.stop = True, outcome.why  # it refuses us, not the recipient: everybody else would fail too
        return
    batch.cuts = batch.cuts + 1 if outcome.code in (None, 421) and outcome.temporary else 0
    batch.reached |= refused
    if outcome.temporary:
        first = recipient.first_try_at or now
        again = next_try(recipient.attempts + 1, first, now)
        if again:
            deferred = Result(trace_id, "deferred", outcome.why, outcome.code, _reply(outcome), again, first)
            batch.others.append(deferred)
        else:
            gave_up = why("gave_up", last=say(outcome.why))
            batch.others.append(Result(trace_id, "failed", gave_up, outcome.code, _reply(outcome)))
        if batch.cuts >= MOST_CUTS:
            batch.back, batch.trouble = True, outcome.why
        return
    batch.others.append(Result(trace_id, "failed", outcome.why, outcome.code, _reply(outcome)))
    kind = kind_of(outcome.enhanced, outcome.text)
    if refused and (outcome.phase == "rcpt" or kind in (FailureKind.HARD, FailureKind.FULL)):
        # A refusal of the content says nothing about the address, unless it says that there is none.
        batch.failures.append(
            outgoing_failures.Failure(recipient.address, kind, outcome.enhanced, outcome.text, trace_id=trace_id)
        )


def _reply(outcome: Outcome) -> str:
    return " ".join(filter(None, (outcome.enhanced, outcome.text)))


# --- record it


def _record(work: ChunkWork, batch: ChunkBatch, worker: WorkerLease, clock: Callable[[], datetime]) -> None:
    """Write the results of a chunk down; waits while the database is away, as long as the chunk is surely ours."""
    tries = 0
    while True:
        try:
            _record_once(work, batch, worker.id, clock())
        except (OperationalError, InterfaceError) as error:
            db.session.rollback()
            tries += 1
            if tries > 3:
                worker.assert_alive()
            log.warning("mailing %s: results are not recorded yet (%s)", work.mailing_id, type(error.orig).__name__)
            time.sleep(0.5)  # the database is away; the journal knows what was sent
        else:
            break
    counts = batch.states()
    log.info("mailing %s: chunk %s %s", work.mailing_id, work.chunk_id, dict(counts))


def _record_once(work: ChunkWork, batch: ChunkBatch, worker_id: int, now: datetime) -> None:
    if not chunk_rows.leave(work.chunk_id, worker_id, "waiting" if batch.back else "done"):
        db.session.rollback()
        raise LeaseLost(worker_id)
    changed = _write_results(work, batch)
    if changed or batch.stop or batch.trouble:
        _change_mailing(work, batch, changed, now)
    if batch.failures:
        blacklist.consider(outgoing_failures.record(batch.failures, now), work.mailing_id, now)
    if batch.back or batch.others or _event_throttle.is_time(work.mailing_id):
        Mailing.tell(work.mailing_id, now)
    db.session.commit()


def _write_results(work: ChunkWork, batch: ChunkBatch) -> Counter[str]:
    """Write the results to the traces and return what it changes in the totals.

    A trace that reached a final state meanwhile, by a bounce that was quicker than us, stays as it is.
    """
    changed: Counter[str] = Counter()
    if batch.sent:
        changed["sent"] = chunk_rows.write_sent(batch.sent, work.from_state)
    for state in {result.state for result in batch.others}:
        rows = [result.row() for result in batch.others if result.state == state]
        changed[state] += chunk_rows.write_others(rows, state, work.from_state)
    if work.from_state == "deferred":
        changed["deferred"] -= changed.total()
    return changed


def _change_mailing(work: ChunkWork, batch: ChunkBatch, changed: Mapping[str, int], now: datetime) -> None:
    """Change the totals; wait for a server that is away; pause when too many fail or somebody has to mend something."""
    mailing = chunk_rows.count(work.mailing_id, changed)
    values: dict[str, Any] = {}
    if batch.trouble:
        wait = BACK_OFF[min(work.tries, len(BACK_OFF) - 1)]
        values = {"why": batch.trouble, "next_try_at": now + timedelta(seconds=wait), "tries": work.tries + 1}
    elif batch.reached and work.tries:
        values = {"why": None, "next_try_at": None, "tries": 0}
    stop, states = batch.stop, batch.states()
    if states["failed"] or mailing.recent:
        recent = values["recent"] = _window(states, mailing.recent)
        tried, failed = sum(n for n, _ in recent), sum(n for _, n in recent)
        percent = parameters.PAUSE_PERCENT.get()
        if percent and failed * 100 > max(tried, WINDOW) * percent:
            stop = stop or why("mailing_paused_failures", failed=failed, tried=tried)
    if mailing.state != "sending":
        values.pop("why", None)  # a person's word stands
    elif stop:
        values |= {"state": "paused", "why": stop, "next_try_at": None, "tries": 0}
        log.warning("mailing %s: paused by itself (%s)", work.mailing_id, stop["code"])
    if values:
        Mailing.change(work.mailing_id, values)


def _window(states: Counter[str], before: Sequence[Sequence[int]]) -> list[list[int]]:
    """The results of the last chunks, as [tried, failed], the newest first: just enough for WINDOW recipients."""
    recent, tried = [], 0
    for n, failed in [(states.total() - states["deferred"], states["failed"]), *before]:
        if tried >= WINDOW:
            break
        recent.append([n, failed])
        tried += n
    return recent if any(failed for _, failed in recent) else []


class _EventThrottle:
    """When open pages were told last about a mailing: once a second is enough for them."""

    def __init__(self) -> None:
        self._told: dict[int, float] = {}

    def is_time(self, mailing_id: int) -> bool:
        now = time.monotonic()
        if now - self._told.get(mailing_id, 0.0) < TELL_EVERY:
            return False
        self._told[mailing_id] = now
        return True


_event_throttle = _EventThrottle()


# --- after a worker died


def recover_chunks(worker_id: int, said: Mapping[str, State] | None, now: datetime) -> dict[str, int]:
    """Settle the chunks that a dead worker held, by its journal, and return how many recipients went which way.

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
        batch = ChunkBatch(back=True)
        for trace_id in chunk_rows.untouched(work.mailing_id, work.first_id, work.last_id, work.from_state):
            state = "begun" if said is None else said.get(f"t{trace_id}")
            if state == "ok":
                batch.sent.append((trace_id, now))
            elif state == "begun":
                batch.others.append(Result(trace_id, "unknown", why("trace_in_doubt")))
            else:
                counts["queued"] += 1
        change_rows(update(Chunk).where(Chunk.id == chunk.id).values(state="waiting", worker_id=None, lease_until=0.0))
        changed = _write_results(work, batch)
        counts["sent"] += changed["sent"]
        counts["in doubt"] += changed["unknown"]
        if changed:
            Mailing.change(work.mailing_id, {state: getattr(Mailing, state) + n for state, n in changed.items()})
        Mailing.tell(work.mailing_id, now)
    return counts

"""FLOW of a mailing: send -> traces by INSERT ... SELECT -> chunks -> deliver_chunk -> record -> done.

A mailing makes no row per mail but a *trace* per recipient, written once before and once after. A *chunk* is a range of
at most 200 traces: a worker takes it, sends its mails over one connection, and records all results in one transaction.
Pausing hands out no more chunks. Locks are taken in the order chunk, traces, mailing.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import (
    Row,
    and_,
    bindparam,
    case,
    exists,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.exc import InterfaceError, OperationalError

from mail import blacklist, health, parameters
from mail.bounce import Kind, kind_of
from mail.clock import now as clock_now
from mail.connections import Connections
from mail.errors import JournalFailed, MailError, ServerGone
from mail.journal import Journal, State
from mail.lease import LEASE, LeaseLost, Stopping, WorkerLease
from mail.letter import Letter, Reader, bare_address, compile_for, content_key, decide_for, letter_of
from mail.retry import next_try
from mail.sentences import Why, say, why
from mail.transport.smtp import Outcome, ServerConnection
from mail.wake import wake
from models import (
    Chunk,
    Event,
    Mailing,
    Subscription,
    Trace,
    User,
    db,
    mailing_lists,
    reading,
)
from models import audience as audience_rows
from models import chunk as chunk_rows

log = logging.getLogger("coquimail.mailing")

SLICE = 5_000  # contacts that become traces in one transaction: short, so that nobody waits for it
SWEEP = 5_000  # traces of a cancelled mailing that are closed in one transaction
LOOK_EVERY = 1.0  # seconds after which a running chunk asks whether it was paused, and extends its lease
SYNC_EVERY = 0.1  # seconds of sending that a power cut may take from the journal
TELL_EVERY = 1.0  # seconds between two events of one mailing for open pages
WINDOW = 200  # the last recipients whose failures may pause a mailing
MOST_CUTS = 3  # connections lost in the middle of a mail, one after the other, before the server counts as away
BACK_OFF = (5, 10, 20, 40, 60, 120, 300)  # seconds before a server that can't be reached is tried again

_QUIETLY = {"synchronize_session": False}


class NotReady(Exception):
    """A mailing can't be sent or changed like this; ``problems`` say why, each with what to do."""

    def __init__(self, problems: Sequence[Why]) -> None:
        super().__init__(" ".join(say(problem) for problem in problems))
        self.problems = list(problems)


# --- what a person asks for: each commits and wakes the workers


def problems(mailing: Mailing) -> list[Why]:
    """Return what keeps a mailing from being sent, each with what to do; nothing means that it can go out."""
    found = []
    if not mailing.subject.strip():
        found.append(why("mailing_no_subject"))
    if not mailing.html.strip():
        found.append(why("mailing_no_content"))
    if not mailing.lists:
        found.append(why("mailing_no_list"))
    elif not audience(mailing):
        found.append(why("mailing_nobody"))
    decision = decide_for(mailing)
    if decision.failure:
        found.append(decision.failure)
    elif not found:
        try:
            compile_for(mailing, decision)
        except MailError as error:
            found.append(error.why)
    return found


def audience(mailing: Mailing) -> int:
    """Return how many contacts are subscribed to the lists of a mailing, those included that it will leave out."""
    lists = [one.id for one in mailing.lists]
    subscribed = select(Subscription.contact_id).where(
        Subscription.list_id.in_(lists), Subscription.state == "subscribed"
    )
    return db.session.scalar(select(func.count()).select_from(subscribed.distinct().subquery())) or 0


def expected(mailing: Mailing) -> Counter[str]:
    """Count who would get a mailing now, under "", and who would be left out, under the code of the reason."""
    found = audience_rows.expected([one.id for one in mailing.lists])
    return Counter({f"left_out_{word}" if word else "": n for word, n in found.items()})


def send(mailing_id: int, now: datetime, at: datetime | None = None) -> Mailing:
    """Let a draft go out, now or ``at`` a time; stores the server and the From with their reasons.

    Raises ``NotReady`` with all that is missing.
    """
    mailing = _locked(mailing_id)
    if mailing.state != "draft":
        raise NotReady([why("mailing_not_draft")])
    found = problems(mailing)
    if found:
        db.session.rollback()
        raise NotReady(found)
    _decide(mailing)
    mailing.state, mailing.why, mailing.scheduled_at = "scheduled", None, at or now
    _tell([mailing_id], now)
    db.session.commit()
    wake("mailings")
    log.info("mailing %s: scheduled", mailing_id)
    return mailing


def back_to_draft(mailing_id: int, now: datetime) -> None:
    """Take back a mailing that has not begun. Raises ``NotReady`` when it has."""
    mailing = _locked(mailing_id)
    if mailing.state != "scheduled":
        db.session.rollback()
        raise NotReady([why("mailing_has_begun")])
    mailing.state, mailing.scheduled_at = "draft", None
    _tell([mailing_id], now)
    db.session.commit()


def pause(mailing_id: int, now: datetime, user: User | None = None) -> bool:
    """Hand out no more recipients; what is on its way arrives. Returns whether it was being sent."""
    said = why("mailing_paused_by", user=user.name if user else "")
    return _change(mailing_id, ("sending",), {"state": "paused", "why": said}, now)


def resume(mailing_id: int, now: datetime) -> bool:
    """Go on with a paused mailing, the server and the From chosen anew. Returns whether it was paused.

    Raises ``NotReady`` when there is no server for it now.
    """
    mailing = _locked(mailing_id)
    if mailing.state != "paused":
        db.session.rollback()
        return False
    decision = decide_for(mailing)
    if decision.failure:
        db.session.rollback()
        raise NotReady([decision.failure])
    _decide(mailing)
    db.session.flush()
    fresh: dict[str, Any] = {"state": "sending", "why": None, "recent": [], "next_try_at": None, "tries": 0}
    return _change(mailing_id, ("paused",), fresh, now)


def cancel(mailing_id: int, now: datetime, user: User | None = None) -> bool:
    """End a mailing for good: who has not got it yet will not. Returns whether there was something to cancel."""
    said = why("mailing_cancelled_by", user=user.name if user else "")
    return _change(mailing_id, ("scheduled", "sending", "paused"), {"state": "cancelled", "why": said}, now)


def settle_doubts(mailing_id: int, again: bool, now: datetime, user: User | None = None, trace_id: int = 0) -> int:
    """Decide about recipients of whom nobody knows whether they got the mail; returns about how many.

    ``again``: it is sent once more, under the same Message-ID, and a mailing that was done goes on. Else it is left
    as it is, and says who left it. ``trace_id``: only about this one. Raises ``NotReady`` for a cancelled mailing.
    """
    by = user.name if user else ""
    values: dict[str, Any] = {"why": why("doubt_left", user=by)}
    if again:
        values = {"why": why("doubt_sent_again", user=by), "state": "deferred", "first_try_at": now, "next_try_at": now}
    doubtful = update(Trace).where(Trace.mailing_id == mailing_id, Trace.state == "unknown")
    if trace_id:
        doubtful = doubtful.where(Trace.id == trace_id)
    settled = _count(doubtful.values(values))
    if settled and again:
        goes_on: dict[str, Any] = {
            "unknown": Mailing.unknown - settled,
            "deferred": Mailing.deferred + settled,
            "state": case((Mailing.state == "done", "sending"), else_=Mailing.state),
            "ended_at": None,
        }
        alive = update(Mailing).where(Mailing.id == mailing_id, Mailing.state.in_(("sending", "paused", "done")))
        if not _count(alive.values(goes_on)):
            db.session.rollback()
            raise NotReady([why("mailing_cancelled_for_good")])
    _tell([mailing_id], now)
    db.session.commit()
    wake("mailings")
    return settled


def _change(mailing_id: int, states: Sequence[str], values: dict[str, Any], now: datetime) -> bool:
    changed = db.session.scalar(
        update(Mailing)
        .where(Mailing.id == mailing_id, Mailing.state.in_(states))
        .values(values)
        .returning(Mailing.id)
        .execution_options(**_QUIETLY)
    )
    if changed is not None:
        _tell([mailing_id], now)
        log.info("mailing %s: %s", mailing_id, values["state"])
    db.session.commit()
    wake("mailings")
    wake("mass")
    return changed is not None


def _locked(mailing_id: int) -> Mailing:
    mailing = db.session.scalar(select(Mailing).where(Mailing.id == mailing_id).with_for_update())
    if mailing is None:
        raise LookupError(f"mailing {mailing_id}")
    return mailing


def _decide(mailing: Mailing) -> None:
    decision = decide_for(mailing)
    mailing.decision, mailing.server_id = decision.as_json(), decision.server_id
    mailing.content_key = content_key(mailing, decision)


def _tell(mailing_ids: Iterable[int], now: datetime) -> None:
    Event.add([*(f"mailing:{mailing_id}" for mailing_id in mailing_ids), "mailings"], now)


# --- the worker looks after all mailings: prepare, next pass, done, cancelled


def tend(now: datetime) -> bool:
    """Do a short piece of what mailings need besides sending; returns whether there is more to do at once.

    Begins those that are due, makes their traces slice by slice, gives deferred recipients another pass, and closes
    what is done or cancelled. Any number of workers may call it at the same time.
    """
    with reading():
        unfinished = db.session.execute(
            select(Mailing.id, Mailing.state, Mailing.prepared).where(
                or_(
                    and_(Mailing.state == "scheduled", Mailing.scheduled_at <= now),
                    Mailing.state == "sending",
                    and_(Mailing.state == "paused", Mailing.prepared.is_(False)),
                    and_(Mailing.state == "cancelled", Mailing.ended_at.is_(None)),
                )
            )
        ).all()
        db.session.rollback()
    more = False
    for mailing in unfinished:
        if mailing.state == "cancelled":
            more |= _sweep(mailing.id, now)
        elif not mailing.prepared:
            more |= prepare_slice(mailing.id, now)
        else:
            _next_pass(mailing.id, now)
            _finish(mailing.id, now)
    return more


def prepare(mailing_id: int, now: datetime) -> None:
    """Make all traces and chunks of a mailing; one that was interrupted goes on where it stopped."""
    while prepare_slice(mailing_id, now):
        pass


def prepare_slice(mailing_id: int, now: datetime, size: int = SLICE) -> bool:
    """Make the traces and chunks of the next contacts and commit; returns whether there are more.

    Who is left out gets its trace as well, ``cancelled`` with the reason. How far it came is read from the traces
    themselves, under the lock of the mailing: a kill costs one slice, and two workers make each trace once.
    """
    begun = db.session.execute(
        update(Mailing)
        .where(
            Mailing.id == mailing_id,
            Mailing.prepared.is_(False),
            Mailing.state.in_(("scheduled", "sending", "paused")),
        )
        .values(
            state=case((Mailing.state == "scheduled", "sending"), else_=Mailing.state),
            started_at=func.coalesce(Mailing.started_at, bindparam("begun_at", now, type_=Mailing.started_at.type)),
        )
        .returning(Mailing.id)
        .execution_options(**_QUIETLY)
    ).first()
    if begun is None:
        db.session.rollback()
        return False
    lists = db.session.scalars(select(mailing_lists.c.list_id).where(mailing_lists.c.mailing_id == mailing_id)).all()
    after = db.session.scalar(select(func.max(Trace.contact_id)).where(Trace.mailing_id == mailing_id)) or 0
    last_trace = db.session.scalar(select(func.max(Trace.id))) or 0  # of all mailings: ids only rise
    until = audience_rows.slice_end(lists, after, size)
    reasons = {word: why(f"left_out_{word}") for word in audience_rows.LEFT_OUT}
    made = audience_rows.make_traces(mailing_id, lists, after, until, reasons)
    left_out = db.session.scalar(
        select(func.count()).where(Trace.mailing_id == mailing_id, Trace.state == "cancelled", Trace.id > last_trace)
    )
    audience_rows.make_chunks(mailing_id, 1, and_(Trace.state == "queued", Trace.id > last_trace))
    totals = {"total": Mailing.total + made, "cancelled": Mailing.cancelled + (left_out or 0)}
    _update_mailing(mailing_id, totals | {"prepared": until is None})
    _tell([mailing_id], now)
    db.session.commit()
    if after == 0 or until is None:
        audience_rows.analyze()
        wake("mass")
    if until is None:
        log.info("mailing %s: prepared", mailing_id)
    return until is not None


def _next_pass(mailing_id: int, now: datetime) -> None:
    """Give recipients whose time has come another chunk; not while one of their kind is still on its way."""
    due = and_(Trace.mailing_id == mailing_id, Trace.state == "deferred", Trace.next_try_at <= now)
    with reading():
        found = db.session.scalar(select(exists().where(due)))
        db.session.rollback()
    if not found:
        return
    sending = select(Mailing.id).where(Mailing.id == mailing_id, Mailing.state == "sending").with_for_update()
    running = exists().where(Chunk.mailing_id == mailing_id, Chunk.pass_number > 1, Chunk.state != "done")
    if db.session.scalar(sending) is None or db.session.scalar(select(running)):
        db.session.rollback()
        return
    last = db.session.scalar(select(func.max(Chunk.pass_number)).where(Chunk.mailing_id == mailing_id)) or 1
    audience_rows.make_chunks(mailing_id, last + 1, and_(Trace.state == "deferred", Trace.next_try_at <= now))
    db.session.commit()
    wake("mass")


def _finish(mailing_id: int, now: datetime) -> bool:
    """Close a mailing when every recipient is in a final state; returns whether it was."""
    done = and_(
        Mailing.id == mailing_id,
        Mailing.state == "sending",
        Mailing.prepared,
        ~exists().where(Chunk.mailing_id == mailing_id, Chunk.state.in_(("waiting", "taken"))),
        ~exists().where(Trace.mailing_id == mailing_id, Trace.state.in_(("queued", "deferred"))),
    )
    with reading():
        found = db.session.scalar(select(Mailing.id).where(done))
        db.session.rollback()
    if found is None:
        return False
    closed = db.session.scalar(
        update(Mailing)
        .where(done)
        .values(state="done", ended_at=now, why=None, next_try_at=None, tries=0)
        .returning(Mailing.id)
        .execution_options(**_QUIETLY)
    )
    if closed is not None:
        _tell([mailing_id], now)
        log.info("mailing %s: done", mailing_id)
    db.session.commit()
    return closed is not None


def _sweep(mailing_id: int, now: datetime) -> bool:
    """Close some of the recipients that a cancelled mailing did not reach; returns whether there may be more."""
    if db.session.scalar(select(exists().where(Chunk.mailing_id == mailing_id, Chunk.state == "taken"))):
        db.session.rollback()
        return False  # what is on its way comes back first
    gone: Counter[str] = Counter()
    for state in ("queued", "deferred"):
        some = (
            select(Trace.id)
            .where(Trace.mailing_id == mailing_id, Trace.state == state)
            .order_by(Trace.id)
            .limit(SWEEP - gone.total())
        )
        closed = update(Trace).where(Trace.id.in_(some), Trace.state == state)
        gone[state] = _count(closed.values(state="cancelled", why=why("left_out_cancelled"), next_try_at=None))
    values: dict[str, Any] = {
        "cancelled": Mailing.cancelled + gone.total(),
        "deferred": Mailing.deferred - gone["deferred"],
    }
    if not gone.total():
        _count(update(Chunk).where(Chunk.mailing_id == mailing_id, Chunk.state == "waiting").values(state="done"))
        values = {"ended_at": now}
    _update_mailing(mailing_id, values)
    _tell([mailing_id], now)
    db.session.commit()
    return gone.total() > 0


def _update_mailing(mailing_id: int, values: Mapping[str, Any]) -> None:
    db.session.execute(update(Mailing).where(Mailing.id == mailing_id).values(values).execution_options(**_QUIETLY))


def _count(statement: Any) -> int:
    """Execute an UPDATE and return how many rows it changed."""
    done: Any = db.session.execute(statement.execution_options(**_QUIETLY))
    return int(done.rowcount)


# --- one chunk: take it


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


class _Turn:
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


_turn = _Turn()


def take_chunk(worker: WorkerLease, now: datetime) -> ChunkWork | None:
    """Return the next chunk, held by this worker and committed; None when there is nothing to send now.

    Mailings take turns. One that is paused, or whose server can't be reached for the moment, is passed over.
    """
    with reading():
        mailings = chunk_rows.sendable(now)
        db.session.rollback()
    known = {mailing.id: mailing for mailing in mailings}
    for mailing_id in _turn.order(known):
        work = _claim(known[mailing_id], worker)
        if work is not None:
            _turn.had(mailing_id)
            return work
    return None


def _claim(mailing: Any, worker: WorkerLease) -> ChunkWork | None:
    taken = chunk_rows.take(mailing.id, worker.id, LEASE)
    db.session.commit()
    if taken is None:
        return None
    held = taken.id, taken.first_id, taken.last_id, taken.pass_number
    return ChunkWork(*held, mailing.id, mailing.server_id, mailing.content_key, mailing.tries)


# --- one chunk: send it


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
class Batch:
    """What became of the recipients of a chunk so far, and why it ends before its end."""

    sent: list[tuple[int, datetime]] = field(default_factory=list)
    others: list[Result] = field(default_factory=list)
    failures: list[health.Failure] = field(default_factory=list)
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
        letter = letter_of(work.mailing_id, work.content_key)
        if work.server_id is None and not letter.decision.is_default_server:
            raise ServerGone(id=letter.decision.server_id)  # the record was deleted, which emptied the column
        connection = connections.to(work.server_id)
    except ServerGone as error:
        _record(work, Batch(back=True, stop=error.why), worker, clock)
    except MailError as error:
        _record(work, Batch(back=True, trouble=error.why), worker, clock)
    else:
        deliver_chunk(work, worker, connection, journal, clock)
    return True


def deliver_chunk(
    work: ChunkWork,
    worker: WorkerLease,
    connection: ServerConnection,
    journal: Journal,
    clock: Callable[[], datetime] = clock_now,
) -> Batch:
    """Send the mails of a chunk over one connection, record all results in one transaction, and return them.

    A recipient that is refused or put off does not stop the others. A server that can't be reached fails nobody: the
    chunk waits, and so does its mailing. Raises ``LeaseLost`` when another worker may have the chunk.
    """
    letter = letter_of(work.mailing_id, work.content_key)
    recipients = chunk_rows.recipients(work.mailing_id, work.first_id, work.last_id, work.from_state, clock())
    db.session.rollback()
    batch = Batch()
    try:
        _deliver_all(batch, work, recipients, letter, worker, connection, journal, clock)
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


def _deliver_all(
    batch: Batch,
    work: ChunkWork,
    recipients: Sequence[Row[Any]],
    letter: Letter,
    worker: WorkerLease,
    connection: ServerConnection,
    journal: Journal,
    clock: Callable[[], datetime],
) -> None:
    looked_at = synced_at = time.monotonic()
    for recipient in recipients:
        worker.assert_alive()
        elapsed = time.monotonic()
        if elapsed - synced_at > SYNC_EVERY:
            journal.sync()
            synced_at = elapsed
        if elapsed - looked_at > LOOK_EVERY:
            looked_at = elapsed
            if not _goes_on(work, worker):
                batch.back = True
                return
        _deliver(batch, recipient, letter, worker, connection, journal, clock)
        if batch.back:
            return


def _goes_on(work: ChunkWork, worker: WorkerLease) -> bool:
    """Extend the lease of a chunk and return whether its mailing is still to be sent."""
    state = chunk_rows.keep(work.chunk_id, worker.id, LEASE)
    db.session.commit()
    if state is None:
        raise LeaseLost(worker.id)
    return bool(state == "sending")


def _deliver(
    batch: Batch,
    recipient: Any,
    letter: Letter,
    worker: WorkerLease,
    connection: ServerConnection,
    journal: Journal,
    clock: Callable[[], datetime],
) -> None:
    trace_id, address, _, _, name, company, language = recipient
    try:
        content = letter.mail_to(Reader(trace_id, address, name, company, language), clock())
        bare = bare_address(address)
    except MailError as error:
        batch.others.append(Result(trace_id, "failed", error.why))
        return
    except ValueError:
        batch.others.append(Result(trace_id, "failed", why("address_unusable", address=address)))
        return
    key = f"t{trace_id}"

    def begin() -> None:
        journal.begin_if(key, worker.assert_alive)  # the last moment in which a worker that stood still can notice

    def deliver() -> Outcome:
        return connection.deliver(
            letter.envelope_sender,
            bare,
            content,
            begin,
            lambda: journal.ok(key),
            lambda: journal.refused(key),
            ready=True,
        )

    outcome = deliver()
    if outcome.code is None and outcome.temporary and outcome.phase != "connect":
        outcome = deliver()  # the connection was cut before the mail was complete: the same mail over a new one
    if outcome.accepted:
        batch.sent.append((trace_id, clock()))
        batch.reached, batch.cuts = True, 0
    else:
        _note(batch, recipient, outcome, clock())


def _note(batch: Batch, recipient: Any, outcome: Outcome, now: datetime) -> None:
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
    if refused and (outcome.phase == "rcpt" or kind in (Kind.HARD, Kind.FULL)):
        # A refusal of the content says nothing about the address, unless it says that there is none.
        batch.failures.append(
            health.Failure(recipient.address, kind, outcome.enhanced, outcome.text, trace_id=trace_id)
        )


def _reply(outcome: Outcome) -> str:
    return " ".join(filter(None, (outcome.enhanced, outcome.text)))


# --- one chunk: record it


def _record(work: ChunkWork, batch: Batch, worker: WorkerLease, clock: Callable[[], datetime]) -> None:
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


def _record_once(work: ChunkWork, batch: Batch, worker_id: int, now: datetime) -> None:
    if not chunk_rows.leave(work.chunk_id, worker_id, "waiting" if batch.back else "done"):
        db.session.rollback()
        raise LeaseLost(worker_id)
    changed = _write_results(work, batch)
    if changed or batch.stop or batch.trouble:
        _change_mailing(work, batch, changed, now)
    if batch.failures:
        blacklist.consider(health.record(batch.failures, now), work.mailing_id, now)
    if batch.back or batch.others or _telling.is_time(work.mailing_id):
        _tell([work.mailing_id], now)
    db.session.commit()


def _write_results(work: ChunkWork, batch: Batch) -> Counter[str]:
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


def _change_mailing(work: ChunkWork, batch: Batch, changed: Mapping[str, int], now: datetime) -> None:
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
        if percent and failed * 100 > WINDOW * percent:
            stop = stop or why("mailing_paused_failures", failed=failed, tried=tried)
    if mailing.state != "sending":
        values.pop("why", None)  # a person's word stands
    elif stop:
        values |= {"state": "paused", "why": stop, "next_try_at": None, "tries": 0}
        log.warning("mailing %s: paused by itself (%s)", work.mailing_id, stop["code"])
    if values:
        _update_mailing(work.mailing_id, values)


def _window(states: Counter[str], before: Sequence[Sequence[int]]) -> list[list[int]]:
    """The results of the last chunks, as [tried, failed], that make up the last WINDOW recipients; the newest first."""
    recent, tried = [], 0
    for n, failed in [(states.total() - states["deferred"], states["failed"]), *before]:
        if tried >= WINDOW:
            break
        recent.append([n, failed])
        tried += n
    return recent if any(failed for _, failed in recent) else []


class _Telling:
    """When open pages were told last about a mailing: once a second is enough for them."""

    def __init__(self) -> None:
        self._told: dict[int, float] = {}

    def is_time(self, mailing_id: int) -> bool:
        now = time.monotonic()
        if now - self._told.get(mailing_id, 0.0) < TELL_EVERY:
            return False
        self._told[mailing_id] = now
        return True


_telling = _Telling()


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
        batch = Batch(back=True)
        for trace_id in chunk_rows.untouched(work.mailing_id, work.first_id, work.last_id, work.from_state):
            state = "begun" if said is None else said.get(f"t{trace_id}")
            if state == "ok":
                batch.sent.append((trace_id, now))
            elif state == "begun":
                batch.others.append(Result(trace_id, "unknown", why("trace_in_doubt")))
            else:
                counts["queued"] += 1
        _count(update(Chunk).where(Chunk.id == chunk.id).values(state="waiting", worker_id=None, lease_until=0.0))
        changed = _write_results(work, batch)
        counts["sent"] += changed["sent"]
        counts["in doubt"] += changed["unknown"]
        if changed:
            _update_mailing(work.mailing_id, {state: getattr(Mailing, state) + n for state, n in changed.items()})
        _tell([work.mailing_id], now)
    return counts


# --- what comes back: bounces, complaints, answers


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
    if not _count(update(Trace).where(Trace.id == trace_id, Trace.state == trace.state).values(red)):
        return False
    totals: dict[str, Any] = {"bounced": Mailing.bounced + 1}
    if trace.state != "queued":
        totals[trace.state] = getattr(Mailing, trace.state) - 1
    _update_mailing(trace.mailing_id, totals)
    _tell([trace.mailing_id], now)
    return True


def mark_replied(trace_id: int, now: datetime) -> bool:
    """Note that a recipient answered; returns whether it is the first time. The caller commits."""
    return _mark(trace_id, "replied", now)


def _mark(trace_id: int, what: str, now: datetime) -> bool:
    column = {"replied": Trace.replied_at, "unsubscribed": Trace.unsubscribed_at}[what]
    mailing_id = db.session.scalar(
        update(Trace)
        .where(Trace.id == trace_id, column.is_(None))
        .values({column: now})
        .returning(Trace.mailing_id)
        .execution_options(**_QUIETLY)
    )
    if mailing_id is None:
        return False
    _update_mailing(mailing_id, {what: getattr(Mailing, what) + 1})
    _tell([mailing_id], now)
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
    _count(
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
    _count(update(Subscription).where(Subscription.id.in_(back)).values(state="subscribed", why=said, at=now))
    undone = update(Trace).where(Trace.id == trace_id, Trace.unsubscribed_at.is_not(None))
    if _count(undone.values(unsubscribed_at=None)):
        _update_mailing(trace.mailing_id, {"unsubscribed": Mailing.unsubscribed - 1})
        _tell([trace.mailing_id], now)
    return True


def _trace(trace_id: int) -> Any:
    return db.session.execute(
        select(Trace.mailing_id, Trace.contact_id, Mailing.subject)
        .join(Mailing, Mailing.id == Trace.mailing_id)
        .where(Trace.id == trace_id)
    ).first()


def _lists_of(mailing_id: int) -> Any:
    return select(mailing_lists.c.list_id).where(mailing_lists.c.mailing_id == mailing_id)

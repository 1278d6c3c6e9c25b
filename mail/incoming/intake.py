"""Mail on its way into the ledger: it is stored, somebody's to understand, and its server is told that we have it."""

import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate
from typing import Any, NamedTuple, Protocol

from sqlalchemy import ColumnElement, case, delete, literal, or_, select, update

from mail.incoming import by_hand, put_off
from mail.incoming.case import Retention
from mail.incoming.position import NOT_BROUGHT, ServerView, without_old
from mail.incoming.retention import retentions
from mail.incoming.totals import LEFT_ALONE
from mail.message.arrival import top_received
from mail.queue.lease import LEASE, WorkerLease
from mail.sentences import Why, why
from mail.transport.mailbox import BATCH_BYTES, After, FetchedBatch, FetchedMail
from models import Blob, ReceivedMail, Worker, database_clock, db, reading
from models.faults import keeps_waiting
from models.slices import by_hundreds, listed
from models.store import insert_rows, pack

AT_ONCE = (50, 8, 1)  # mails that are claimed at once, by how many workers died with them
GIVEN_UP = len(AT_ONCE) - 1 + 3  # deaths: with three of them the mail was alone
ASKED_AT_ONCE = 50  # mails that did not come, or that the server is to be told of
MOST_ASKED = 288  # times that a mail that does not come is asked for: a day at the usual interval; Retry begins anew


class Content(Protocol):
    """The bytes of a mail that are somewhere else until they are needed."""

    size: int

    def read(self) -> bytes: ...


@dataclass
class _LateContent:
    size: int
    blob_id: int

    def read(self) -> bytes:
        with reading():
            return Blob.read(self.blob_id)


@dataclass(frozen=True)
class StoredMail:
    """A mail that is stored and that we are to understand, with its bytes at hand.

    ``problem``: only its header could be had, and why. ``owed``: its server is to be told that we have it.
    """

    id: int
    content: bytes | Content = field(repr=False)
    keeps: Retention
    arrived_at: datetime
    attempts: int = 0
    problem: Why | None = None
    source_key: str = ""
    owed: bool = False
    is_missing: bool = False
    released: str = ""  # where a person let it pass the loop brake
    chosen: tuple[Why, ...] = ()  # the steps that end with what a person chose for it

    @property
    def raw(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else self.content.read()

    @property
    def octets(self) -> int:
        return len(self.content) if isinstance(self.content, bytes) else self.content.size


# --- keep: nothing is lost from here on


def keep(
    source: str,
    mails: Sequence[FetchedMail],
    now: datetime,
    *,
    server_id: int | None = None,
    keeps: Retention | None = None,
    worker: WorkerLease | None = None,
) -> list[StoredMail]:
    """Store mails and commit; return those that were not here before, by ``source`` and their key.

    With a ``worker`` they are its own to understand; without one they wait for ``process_waiting``: call
    ``wake("received")`` then.
    """
    kept = _insert(source, mails, now, server_id, keeps or Retention(), worker, None)
    db.session.commit()
    return kept


def store(server: ServerView, batch: FetchedBatch, worker: WorkerLease, now: datetime) -> list[StoredMail]:
    """Store the mails of a mailbox and return those that are new; the caller commits.

    One that is listed and did not come is a row in quarantine, and asked for again.
    """
    if server.fetch_existing and not server.is_imap:  # the old mails were asked for: the notes about them go
        db.session.execute(
            delete(ReceivedMail).where(
                ReceivedMail.source == server.source,
                ReceivedMail.source_key.in_(batch.keys),
                ReceivedMail.result == LEFT_ALONE,
            )
        )
    mails = without_old(server, batch, now)
    return _insert(server.source, mails, now, server.id, server.keeps, worker, server.after_fetch)


def _insert(
    source: str,
    mails: Sequence[FetchedMail],
    now: datetime,
    server_id: int | None,
    keeps: Retention,
    worker: WorkerLease | None,
    how: After | None,
) -> list[StoredMail]:
    rows, by_key = _rows(mails, now, how), {mail.source_key[:255]: mail for mail in mails}
    if not rows:
        return []
    same = {"source": source, "incoming_server_id": server_id, "worker_id": worker.id if worker else None}
    new = insert_rows(ReceivedMail, [row | same for row in rows.values()], "id", "source_key", skip_known=True)
    ids = {row.source_key: row.id for row in new}
    return [_stored(ids[key], mail, rows[key]["arrived_at"], keeps, how) for key, mail in by_key.items() if key in ids]


def _rows(mails: Sequence[FetchedMail], now: datetime, how: After | None) -> dict[str, dict[str, Any]]:
    """Return the rows of mails by their key, with their contents stored."""
    rows, packed = {}, {}
    for mail in mails:
        raw = mail.raw
        if not mail.is_missing:
            packed[mail.source_key[:255]] = pack(raw)
        rows[mail.source_key[:255]] = {
            "source_key": mail.source_key[:255],
            "size": max(mail.size, len(raw)),
            "decision": [mail.problem] if mail.problem else None,
            "state": "quarantined" if mail.is_missing else "received",
            "result": NOT_BROUGHT if mail.is_missing else "",
            "acknowledged": mail.problem is not None or how is None,
            "arrived_at": min(mail.arrived or top_received(raw) or now, now),
            "received_at": now,
            "processed_at": now if mail.is_missing else None,
            "blob_id": None,
        }
    for key, blob_id in zip(packed, Blob.keep(list(packed.values())), strict=True):  # the transaction begins
        rows[key]["blob_id"] = blob_id
    return rows


def _stored(number: int, mail: FetchedMail, arrived_at: datetime, keeps: Retention, how: After | None) -> StoredMail:
    return StoredMail(
        id=number,
        content=mail.content,
        keeps=keeps,
        arrived_at=arrived_at,
        problem=mail.problem,
        source_key=mail.source_key,
        owed=how is not None and mail.may_be(how),
        is_missing=mail.is_missing,
    )


# --- what did not come, and what its server was not told of


def not_brought(source: str, now: datetime) -> list[str]:
    """Return the keys of mails that were listed in an earlier run and did not come, the least asked for first."""
    with reading():
        found = db.session.scalars(
            select(ReceivedMail.source_key)
            .where(
                ReceivedMail.source == source,
                ReceivedMail.state == "quarantined",
                ReceivedMail.result == NOT_BROUGHT,
                ReceivedMail.attempts < MOST_ASKED,
                ReceivedMail.received_at < now,
            )
            .order_by(ReceivedMail.attempts, ReceivedMail.id)
            .limit(ASKED_AT_ONCE)
        )
        return list(found)


def bring(server: ServerView, batch: FetchedBatch, worker: WorkerLease, now: datetime) -> list[StoredMail]:
    """Write down what came of asking again and return the mails that are here now; the caller commits."""
    waits = (
        ReceivedMail.source == server.source,
        ReceivedMail.state == "quarantined",
        ReceivedMail.result == NOT_BROUGHT,
    )
    rows = _rows(batch.mails, now, server.after_fetch)
    gone = {"state": "ignored", "result": "gone", "decision": [why("mailbox_mail_gone")], "processed_at": now}
    for some in by_hundreds(batch.gone):
        db.session.execute(update(ReceivedMail).where(*waits, ReceivedMail.source_key.in_(some)).values(gone))
    brought = []
    for mail in batch.mails:
        values = rows[mail.source_key[:255]]
        del values["received_at"]
        values["attempts"] = ReceivedMail.attempts + 1 if mail.is_missing else 0
        if mail.is_missing:
            values["decision"] = _last_time(values["decision"])
        values["worker_id"] = None if mail.is_missing else worker.id
        changed = update(ReceivedMail).where(*waits, ReceivedMail.source_key == mail.source_key[:255]).values(values)
        row = db.session.execute(changed.returning(ReceivedMail.id, ReceivedMail.arrived_at)).first()
        if row is not None and not mail.is_missing:
            brought.append(_stored(row.id, mail, row.arrived_at, server.keeps, server.after_fetch))
    return brought


def _last_time(decision: list[Why]) -> ColumnElement[Any]:
    """Return what is said of a mail that did not come again: after so many times, that nobody asks any more."""
    words = ReceivedMail.decision.type
    ended = [*decision, why("mailbox_mail_no_longer_asked", times=MOST_ASKED)]
    was_last = ReceivedMail.attempts + 1 >= MOST_ASKED
    return case((was_last, literal(ended, words)), else_=literal(decision, words))


class Owed(NamedTuple):
    """A stored mail that its server is to be told of; ``copied``: it is to be moved, and its copy is made."""

    id: int
    source_key: str
    copied: bool = False


def unacknowledged(source: str, after: int) -> list[Owed]:
    """Return mails above an id that are stored and that their server was not told of."""
    with reading():
        found = db.session.execute(
            select(ReceivedMail.id, ReceivedMail.source_key, ReceivedMail.copied)
            .where(ReceivedMail.acknowledged.is_(False), ReceivedMail.source == source, ReceivedMail.id > after)
            .order_by(ReceivedMail.id)
            .limit(ASKED_AT_ONCE)
        )
        return [Owed(*row) for row in found]


def note_acknowledged(done: Sequence[int], copied: Sequence[int]) -> None:
    """Note which mails their server was told of, and which are no more than copied there; the caller commits."""
    for ids, values in ((done, {"acknowledged": True, "copied": False}), (copied, {"copied": True})):
        if ids:
            db.session.execute(update(ReceivedMail).where(ReceivedMail.id.in_(ids)).values(values))


# --- whose mails these are

_in_process_lock = threading.Lock()
_in_process_ids: set[int] = set()
_blameless_ids: set[int] = set()  # what the database kept us from: not begun, as far as ``claim`` counts


@contextmanager
def in_process(stored: Sequence[StoredMail]) -> Iterator[None]:
    """Say that a thread of this process is busy with some mails: no other one takes them up."""
    ids = {one.id for one in stored}
    with _in_process_lock:
        _in_process_ids.update(ids)
    try:
        with _blaming_nobody(ids):
            yield
    finally:
        with _in_process_lock:
            _in_process_ids.difference_update(ids)


@contextmanager
def _blaming_nobody(ids: Collection[int]) -> Iterator[None]:
    """Note the mails that we could not go on with because of the database: they are none the worse for it."""
    try:
        yield
    except Exception as error:
        if keeps_waiting(error):
            with _in_process_lock:
                _blameless_ids.update(ids)
        raise


def any_waiting() -> bool:
    """Return whether any mail waits to be understood."""
    with reading():
        return db.session.scalar(select(ReceivedMail.id).where(ReceivedMail.state == "received").limit(1)) is not None


def claim(worker: WorkerLease, deaths: int, limit: int) -> list[StoredMail]:
    """Take waiting mails that no living worker is busy with, as many as fit into one batch; commits.

    ``deaths``: how many workers died with them; the last place of ``AT_ONCE`` stands for all that come after it.
    """
    attempts = _attempts()
    died = attempts >= deaths if deaths == len(AT_ONCE) - 1 else attempts == deaths
    return _take(worker, [died, ReceivedMail.id.not_in(listed(put_off.waiting()))], limit)


def claim_put_off(worker: WorkerLease) -> list[StoredMail]:
    """Take the next of the mails that this process has put off, if there is one; commits."""
    ids = put_off.waiting()
    taken = _take(worker, [ReceivedMail.id.in_(listed(ids))], 1) if ids else []
    if not taken:
        put_off.over(ids)  # others have them
    return taken


def _attempts() -> ColumnElement[int]:
    """How many workers died with a mail, the one included that has begun it and is no more."""
    with _in_process_lock:
        blameless = set(_blameless_ids)
    begun = ReceivedMail.worker_id.is_not(None) & ReceivedMail.id.not_in(listed(blameless))  # and not finished
    return ReceivedMail.attempts + case((begun, 1), else_=0)


def _take(worker: WorkerLease, which: Sequence[ColumnElement[bool]], limit: int) -> list[StoredMail]:
    attempts = _attempts()
    with _in_process_lock:
        busy = set(_in_process_ids)
    others = select(Worker.id).where(
        Worker.ended.is_(False), Worker.seen_at > database_clock() - LEASE, Worker.id != worker.id
    )
    waiting = (
        select(ReceivedMail.id, ReceivedMail.size)
        .where(
            ReceivedMail.state == "received",
            *which,
            or_(ReceivedMail.worker_id.is_(None), ReceivedMail.worker_id.not_in(others)),
            ReceivedMail.id.not_in(listed(busy)),
        )
        .order_by(ReceivedMail.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    # Two statements: PostgreSQL may evaluate a subquery with SKIP LOCKED and LIMIT more than once, and take more rows.
    found = db.session.execute(waiting).all()
    sums = accumulate(row.size for row in found)
    ids = [row.id for row, octets in zip(found, sums, strict=True) if row is found[0] or octets <= BATCH_BYTES]
    rows = db.session.execute(
        update(ReceivedMail)
        .where(ReceivedMail.id.in_(ids))
        .values(worker_id=worker.id, attempts=attempts)
        .returning(
            ReceivedMail.id,
            ReceivedMail.blob_id,
            ReceivedMail.size,
            ReceivedMail.source,
            ReceivedMail.incoming_server_id,
            ReceivedMail.arrived_at,
            ReceivedMail.attempts,
            ReceivedMail.decision,
            ReceivedMail.held,
        )
    ).all()
    db.session.commit()
    with _in_process_lock:
        _blameless_ids.difference_update(ids)
    with _blaming_nobody(ids):
        return _with_contents(rows)


def _with_contents(rows: Iterable[Any]) -> list[StoredMail]:
    """Return rows of the ledger as mails to understand; a mail that is alone because it is large is read later."""
    rows = sorted(rows, key=lambda row: row.id)
    late = len(rows) == 1 and rows[0].size > BATCH_BYTES
    with reading():
        blobs = {row.blob_id for row in rows if row.blob_id is not None}
        contents: Mapping[int, bytes | Content] = (
            {blob: _LateContent(rows[0].size, blob) for blob in blobs} if late else Blob.read_all(blobs)
        )
        keeps = retentions(rows)
    return [
        StoredMail(
            id=row.id,
            content=contents.get(row.blob_id, b""),
            keeps=keeps[row.id],
            arrived_at=row.arrived_at,
            attempts=row.attempts,
            problem=row.decision[0] if row.decision and not chosen else None,
            released=row.held,
            chosen=chosen,
        )
        for row, chosen in ((row, by_hand.chosen(row.decision)) for row in rows)
    ]


def excuse(worker_id: int) -> None:
    """Say that a worker ends in good order: its end does not count against the mails it was busy with. Commits."""
    db.session.execute(
        update(ReceivedMail)
        .where(ReceivedMail.worker_id == worker_id, ReceivedMail.state == "received")
        .values(attempts=ReceivedMail.attempts - 1)
    )
    db.session.commit()

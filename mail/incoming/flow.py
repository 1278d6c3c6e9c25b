"""FLOW of a mail coming in: fetch -> keep -> acknowledge -> parse -> route -> file (post, document, bounce, answer).

A mail is stored and committed before its server hears that we have it, and only then understood. Mails are decided and
filed in groups, because look-ups and inserts cost the same for one mail and for ten. A group that can't be filed is
taken apart: one broken mail stops nobody, it goes to quarantine with the reason.
"""

import logging
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import delete, or_, select, update
from sqlalchemy.exc import OperationalError

from mail.decide.routing import route
from mail.errors import MailError
from mail.incoming import apply, ledger
from mail.incoming.case import Case, Retention, read_case
from mail.incoming.lookup import RoutingContext, load_context, load_threads
from mail.incoming.position import ServerView, begin_after, go_on_after, leave_alone, load_server, position_in
from mail.message.arrival import top_received
from mail.queue.lease import LEASE, WorkerLease
from mail.sentences import Why, why
from mail.settings import office
from mail.settings.wake import wake
from mail.transport import mailbox_open
from mail.transport.mailbox import FetchedBatch, FetchedMail, Look, Mailbox, MailboxTarget
from models import (
    Blob,
    Event,
    IncomingServer,
    ReceivedMail,
    Worker,
    database_clock,
    db,
    reading,
)
from models.store import insert_rows, pack

log = logging.getLogger("coquimail.incoming")

GROUP = 16  # mails that are filed in one transaction: it stays short although answers are composed in it
AT_ONCE = (50, 8, 1)  # mails that are claimed at once, by how often they were begun before
MOST_ATTEMPTS = 3

Open = Callable[[MailboxTarget], Mailbox]


# --- fetch: from the mailbox into the ledger


@dataclass
class FetchResult:
    """What came of one fetch. ``kept`` mails are new here; ``counts`` has what became of them, by state."""

    server_id: int
    kept: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    why: Why | None = None  # why it ended before its time


def fetch(
    server_id: int, worker: WorkerLease, now: datetime, open_mailbox: Open = mailbox_open.open_mailbox
) -> FetchResult:
    """Bring in what is new in one mailbox: kept first, then acknowledged, then understood; commits on its way.

    A server that can't be reached or ends the talk is no exception: the reason stands in the result and on the server.
    Call it for one server from one place at a time.
    """
    fetched = FetchResult(server_id)
    server = load_server(server_id)
    if server is None:
        return fetched
    try:
        with open_mailbox(server.target) as mailbox:
            for batch in mailbox.batches(position_in(server, mailbox, now)):
                worker.assert_alive()
                with _in_process(_keep_batch(server, batch, worker, now)) as kept:
                    fetched.kept += len(kept)
                    try:
                        mailbox.acknowledge(batch, server.after_fetch, server.move_to)  # type: ignore[arg-type]
                        go_on_after(server, batch.position)
                    finally:  # what was kept is ours to understand, whatever its server says now
                        fetched.counts += _understand(kept, worker, now)
    except MailError as error:
        fetched.why = error.why
    _note_run(server, fetched, now)
    return fetched


def confirm(server: IncomingServer, look: Look, now: datetime) -> None:
    """Turn a tested server from draft into confirmed; the caller commits.

    What lies in its mailbox at the first time is left alone, unless the admin asked for it (``fetch_existing``). What
    came between a change of the password and the next test does not: it is fetched.
    """
    first = server.confirmed_at is None
    server.state, server.confirmed_at, server.why = "confirmed", server.confirmed_at or now, None
    if server.kind == "imap":
        begin_after(server.id, server.folder or "INBOX", look.uidvalidity, max(look.uidnext - 1, 0))
    elif first and not server.fetch_existing:
        leave_alone(server, look.keys, now)


def _note_run(server: ServerView, fetched: FetchResult, now: datetime) -> None:
    ended = "last_failure_at" if fetched.why else "last_success_at"
    db.session.execute(
        update(IncomingServer).where(IncomingServer.id == server.id).values({"why": fetched.why, ended: now})
    )
    Event.add(["incoming"], now)
    db.session.commit()
    log.info("server %s: kept %s %s", server.id, fetched.kept, fetched.why["code"] if fetched.why else "")


# --- keep: nothing is lost from here on


@dataclass(frozen=True)
class StoredMail:
    """A mail that is stored and that we are to understand, with its bytes at hand.

    ``problem``: only its header could be had, and why.
    """

    id: int
    raw: bytes
    keeps: Retention
    arrived_at: datetime
    attempts: int = 1
    problem: Why | None = None
    released: str = ""  # where a person let it pass the loop brake


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
    packed = [pack(mail.raw) for mail in mails]  # before the transaction
    arrivals = [min(mail.arrived or top_received(mail.raw) or now, now) for mail in mails]
    blobs = Blob.keep_packed(packed)
    kept: list[StoredMail] = []
    rows = {
        mail.source_key[:255]: {
            "source": source,
            "source_key": mail.source_key[:255],
            "incoming_server_id": server_id,
            "blob_id": blob_id,
            "size": max(mail.size, len(mail.raw)),
            "decision": [mail.problem] if mail.problem else None,
            "worker_id": worker.id if worker else None,
            "attempts": 1 if worker else 0,
            "arrived_at": arrived_at,
            "received_at": now,
        }
        for mail, blob_id, arrived_at in zip(mails, blobs, arrivals, strict=True)
    }
    if rows:
        new = insert_rows(ReceivedMail, list(rows.values()), "id", "source_key", skip_known=True)
        ids = {row.source_key: row.id for row in new}
        for mail, arrived_at in zip(mails, arrivals, strict=True):
            number = ids.pop(mail.source_key[:255], None)
            if number is not None:
                kept.append(StoredMail(number, mail.raw, keeps or Retention(), arrived_at, problem=mail.problem))
    db.session.commit()
    return kept


def _keep_batch(server: ServerView, batch: FetchedBatch, worker: WorkerLease, now: datetime) -> list[StoredMail]:
    if server.fetch_existing and not server.is_imap:  # the old mails were asked for: the notes about them go
        db.session.execute(
            delete(ReceivedMail).where(
                ReceivedMail.source == server.source,
                ReceivedMail.source_key.in_(batch.keys),
                ReceivedMail.result == "left_alone",
            )
        )
    return keep(server.source, batch.mails, now, server_id=server.id, keeps=server.keeps, worker=worker)


# --- whose mails these are

_in_process_lock = threading.Lock()
_in_process_ids: set[int] = set()


@contextmanager
def _in_process(kept: list[StoredMail]) -> Iterator[list[StoredMail]]:
    """Say that a thread of this process is busy with some mails: no other one takes them up."""
    ids = {one.id for one in kept}
    with _in_process_lock:
        _in_process_ids.update(ids)
    try:
        yield kept
    finally:
        with _in_process_lock:
            _in_process_ids.difference_update(ids)


def process_waiting(now: datetime, worker: WorkerLease) -> Counter[str]:
    """Understand the mails that wait: after a crash, from the practice mailbox, pushed to us. Commits.

    Mails that were begun before and not finished are taken in ever smaller groups, so that one that kills its worker is
    alone in the end; after three times it goes to quarantine untouched. Returns what became of them, by state.
    """
    counts: Counter[str] = Counter()
    if not _any_waiting():
        return counts
    for attempts, limit in enumerate(AT_ONCE):
        while True:
            worker.assert_alive()
            with _in_process(_claim(worker, attempts, limit)) as kept:
                if not kept:
                    break
                if kept[0].attempts > MOST_ATTEMPTS:
                    reason = why("process_gave_up", attempts=MOST_ATTEMPTS)
                    counts += _quarantine([kept[0].id], reason, now)
                else:
                    counts += _understand(kept, worker, now)
    return counts


def _any_waiting() -> bool:
    with reading():
        found = db.session.scalar(select(ReceivedMail.id).where(ReceivedMail.state == "received").limit(1))
    return found is not None


def _claim(worker: WorkerLease, attempts: int, limit: int) -> list[StoredMail]:
    """Take waiting mails that no living worker is busy with; commits, with one more attempt on each.

    ``attempts``: how often they were begun before; the last place of ``AT_ONCE`` stands for all that come after it.
    """
    begun = ReceivedMail.attempts >= attempts if attempts == len(AT_ONCE) - 1 else ReceivedMail.attempts == attempts
    others = select(Worker.id).where(
        Worker.ended.is_(False), Worker.seen_at > database_clock() - LEASE, Worker.id != worker.id
    )
    with _in_process_lock:
        busy = set(_in_process_ids)
    waiting = (
        select(ReceivedMail.id)
        .where(
            ReceivedMail.state == "received",
            begun,
            or_(ReceivedMail.worker_id.is_(None), ReceivedMail.worker_id.not_in(others)),
            ReceivedMail.id.not_in(busy),
        )
        .order_by(ReceivedMail.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    # Two statements: PostgreSQL may evaluate a subquery with SKIP LOCKED and LIMIT more than once, and take more rows.
    ids = db.session.scalars(waiting).all()
    rows = db.session.execute(
        update(ReceivedMail)
        .where(ReceivedMail.id.in_(ids))
        .values(worker_id=worker.id, attempts=ReceivedMail.attempts + 1)
        .returning(
            ReceivedMail.id,
            ReceivedMail.blob_id,
            ReceivedMail.incoming_server_id,
            ReceivedMail.arrived_at,
            ReceivedMail.attempts,
            ReceivedMail.decision,
            ReceivedMail.held,
        )
    ).all()
    db.session.commit()
    return _with_contents(rows)


def _with_contents(rows: Iterable[Any]) -> list[StoredMail]:
    """Rows of the ledger as mails to understand."""
    rows = sorted(rows, key=lambda row: row.id)
    with reading():
        contents = Blob.read_all({row.blob_id for row in rows if row.blob_id is not None})
        servers = {row.incoming_server_id for row in rows if row.incoming_server_id is not None}
        keeps = {}
        if servers:
            found = db.session.execute(
                select(
                    IncomingServer.id,
                    IncomingServer.action_type_id,
                    IncomingServer.keep_attachments,
                    IncomingServer.keep_original,
                ).where(IncomingServer.id.in_(servers))
            )
            keeps = {row.id: Retention(row.action_type_id, row.keep_attachments, row.keep_original) for row in found}
    return [
        StoredMail(
            id=row.id,
            raw=contents.get(row.blob_id, b""),
            keeps=keeps.get(row.incoming_server_id, Retention()),
            arrived_at=row.arrived_at,
            attempts=row.attempts,
            problem=row.decision[0] if row.decision else None,
            released=row.held,
        )
        for row in rows
    ]


# --- understand: parse, route, file


def _understand(kept: Sequence[StoredMail], worker: WorkerLease | None, now: datetime) -> Counter[str]:
    """Parse, route and file mails, group by group; return what became of them, by state. Commits."""
    counts: Counter[str] = Counter()
    cases = []
    for one in kept:
        try:
            case = read_case(one.id, one.raw, one.keeps, now, one.arrived_at, one.problem)
            case.released = one.released
            cases.append(case)
        except Exception as error:  # a mistake of ours in reading one mail; the others are none the worse for it
            _give_up(one.id, error, now)
            counts["quarantined"] += 1
    while cases:
        decided, context = route_group(cases, now)
        del cases[: len(decided)]
        while decided:
            if worker is not None:
                worker.assert_alive()
            group, decided = decided[:GROUP], decided[GROUP:]
            if write_group(group, context, now):
                counts.update(case.routing.state for case in group)
                continue
            for case in group:  # one of them can't be filed: find out which
                alone, around_it = route_group([case], now)
                filed = write_group(alone, around_it, now, last_try=True)
                counts[case.routing.state if filed else "quarantined"] += 1
            cases, decided = [*decided, *cases], []  # what was known when they were decided may not be so
    return counts


def route_group(cases: Sequence[Case], now: datetime) -> tuple[list[Case], RoutingContext]:
    """Route mails, as far as none of them depends on what an earlier one does; changes nothing."""
    group: list[Case] = []
    office.forget()
    with reading():
        context = load_context(cases, now)
        for case in cases:
            if group and context.depends_on_earlier(case):
                break
            case.routing = route(case.message, case.asked, context.facts(case))
            if group and context.is_for_many(case.routing):
                break
            context.learn(case)
            group.append(case)
        load_threads(context, [case.routing for case in group])
    return group, context


def write_group(group: Sequence[Case], context: RoutingContext, now: datetime, last_try: bool = False) -> bool:
    """Write down what was decided and commit; False if that failed and each mail is to be tried alone.

    On the last try a mail that can't be filed goes to quarantine.
    """
    try:
        queued = apply.write(group, context, now)
        db.session.commit()
    except Exception as error:
        db.session.rollback()
        if not last_try:
            log.warning("a group of %s mails can't be filed at once: %s", len(group), type(error).__name__)
        elif isinstance(error, OperationalError):
            raise  # the database is in trouble, not the mail: it waits
        else:
            _give_up(group[0].id, error, now, group[0])
        return False
    for case in group:
        log.info("mail %s: %s %s", case.id, case.routing.state, case.routing.result)
    if queued:
        wake()
    return True


def _give_up(received_id: int, error: Exception, now: datetime, case: Case | None = None) -> None:
    """Put a mail that can't be read or filed into quarantine, with the reason."""
    where = "".join(traceback.format_tb(error.__traceback__)[-3:])  # no values: they are somebody's mail
    log.error("mail %s can't be filed: %s\n%s", received_id, type(error).__name__, where)
    said = str(getattr(error, "orig", None) or error).splitlines() or [""]
    reason = why("process_failed", error=f"{type(error).__name__}: {said[0]}"[:300])
    _quarantine([received_id], reason, now, case)


def _quarantine(ids: Collection[int], reason: Why, now: datetime, case: Case | None = None) -> Counter[str]:
    """Put mails that wait into quarantine with a reason; commits."""
    values: dict[str, Any] = {"state": "quarantined", "processed_at": now, "decision": [reason]}
    if case is not None:
        values |= ledger.ledger_values(case) | {"state": "quarantined", "result": ""}
        values["decision"] = [*case.message.problems, *case.routing.steps, reason]
        ledger.note_alias_failure(case, reason)
    db.session.execute(
        update(ReceivedMail)
        .where(ReceivedMail.id.in_(ids), ReceivedMail.state.in_(("received", "quarantined")))
        .values(values)
    )
    Event.add(["incoming"], now)
    db.session.commit()
    return Counter(quarantined=len(ids))

"""FLOW of a mail coming in: fetch -> keep -> acknowledge -> parse -> route -> file (post, document, bounce, answer).

A mail is stored and committed before its server hears that we have it, and only then understood. Mails are decided and
filed in groups, because look-ups and inserts cost the same for one mail and for ten. A group that can't be filed is
taken apart: one broken mail stops nobody, it goes to quarantine with the reason.
"""

import logging
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import update

from mail.decide.sender_proof import seen_with
from mail.documents.documents import NumberTaken, types
from mail.errors import MailboxRefused, MailError
from mail.incoming import apply, intake, ledger, mailbox_notices, put_off
from mail.incoming.answers import TooManyAnswers
from mail.incoming.by_hand import decide
from mail.incoming.case import Case, failure_of, read_case
from mail.incoming.intake import AT_ONCE, GIVEN_UP, Owed, StoredMail, in_process
from mail.incoming.lookup import RoutingContext, load_context, load_threads
from mail.incoming.position import (
    LeftAlone,
    ServerView,
    as_numbered_now,
    forget_former,
    go_on_after,
    load_server,
    position_in,
    to_fetch,
)
from mail.incoming.reader import TakesLong, is_heavy
from mail.incoming.retention import look_at
from mail.queue.concurrency import ByteBudget
from mail.queue.lease import WorkerLease
from mail.sentences import Why, why
from mail.settings import office
from mail.settings.wake import wake
from mail.transport import mailbox_open
from mail.transport.mailbox import BATCH_BYTES, LARGEST_MAIL, FetchedBatch, Mailbox, MailboxTarget
from models import Event, IncomingServer, ReceivedMail, db, reading
from models.contents import delete_unused
from models.faults import keeps_waiting

log = logging.getLogger("coquimail.incoming")

# What is taken apart and stored at once, over all mailboxes: a mail needs some five times its bytes. Nothing inside
# waits for a network. Beside the largest mail there is room for a batch: it need not wait for one that takes long.
MEMORY = ByteBudget(LARGEST_MAIL + BATCH_BYTES)
GROUP = 16  # mails that are filed in one transaction
REMARKS = {"mark_read": "mark_read_failed", "move": "move_failed", "delete": "delete_failed"}

Open = Callable[[MailboxTarget], Mailbox]


# --- fetch: from the mailbox into the ledger


@dataclass
class FetchResult:
    """What came of one fetch; ``counts`` has what became of the mails, by state.

    Of those that were ``listed`` each is ``kept`` (new in the ledger), ``known`` (there before) or ``gone`` (removed
    from the mailbox before it came).
    """

    server_id: int
    listed: int = 0
    kept: int = 0
    known: int = 0
    gone: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    why: Why | None = None  # why it ended before its time
    remark: Why | None = None  # why mails that are stored could not be marked, moved or deleted
    names: list[str] = field(default_factory=list)  # of the server that checks senders, by its first mails


def fetch(
    server_id: int, worker: WorkerLease, now: datetime, open_mailbox: Open = mailbox_open.open_mailbox
) -> FetchResult:
    """Bring in what is new in one mailbox: kept first, then acknowledged, then understood; commits on its way.

    A server that can't be reached, says "not now" or ends the talk is no exception: the reason is in the result and
    on the server, and the next run asks for the rest. Call it for one server from one place at a time.
    """
    fetched, server = FetchResult(server_id), load_server(server_id)
    if server is None:
        return fetched
    try:
        with open_mailbox(to_fetch(server)) as mailbox:
            server = as_numbered_now(server, mailbox)
            run = _Run(server, mailbox, worker, now, fetched)
            if not server.target.read_only:
                run.catch_up()
            position = position_in(server, mailbox)
            for batch in mailbox.batches(position):
                run.take(batch)
            if position.old_before:
                forget_former(server)
            run.ask_again()
    except MailError as error:
        fetched.why = error.why
        if server.failed and not isinstance(error, LeftAlone):
            mailbox_notices.tell(server.id, server.target.name, error, server.read_at, now)
    _note_run(server, fetched, now)
    return fetched


@dataclass
class _Run:
    """One fetch of one mailbox that is open."""

    server: ServerView
    mailbox: Mailbox
    worker: WorkerLease
    now: datetime
    fetched: FetchResult

    def catch_up(self) -> None:
        """Tell the server of mails that it could not be told of before."""
        last = 0
        while not self.fetched.remark and (owed := intake.unacknowledged(self.server.source, last)):
            self.worker.assert_alive()
            self.mailbox.copied.update(one.source_key for one in owed if one.copied)
            self.mailbox.perhaps_copied.update(one.source_key for one in owed)
            self._acknowledge(owed)
            last = owed[-1].id

    def take(self, batch: FetchedBatch) -> None:
        """Keep new mails and how far we are, in one transaction; then acknowledge and understand them."""
        self.worker.assert_alive()
        with MEMORY.of(sum(mail.octets for mail in batch.mails)):
            stored = intake.store(self.server, batch, self.worker, self.now)
            go_on_after(self.server, batch.position)
            db.session.commit()
        if self.server.learns:
            look_at(self.fetched.names, batch.mails)
        self._count(batch, stored)
        self._finish(stored)

    def ask_again(self) -> None:
        """Ask for mails that were listed in an earlier run and did not come."""
        keys = intake.not_brought(self.server.source, self.now)
        if not keys:
            return
        for batch in self.mailbox.look_again(keys):
            self.worker.assert_alive()
            with MEMORY.of(sum(mail.octets for mail in batch.mails)):
                brought = intake.bring(self.server, batch, self.worker, self.now)
                db.session.commit()
            self._count(batch, brought)
            self._finish(brought)

    def _count(self, batch: FetchedBatch, new: Sequence[StoredMail]) -> None:
        self.fetched.listed += batch.listed
        self.fetched.kept += len(new)
        self.fetched.known += len(batch.mails) - len(new)
        self.fetched.gone += len(batch.gone)

    def _finish(self, stored: Sequence[StoredMail]) -> None:
        with in_process(stored):
            self._acknowledge([Owed(one.id, one.source_key) for one in stored if one.owed])
            missing = [one for one in stored if one.is_missing]
            self.fetched.counts.update({"quarantined": len(missing)} if missing else {})
            self.fetched.counts += understand([one for one in stored if not one.is_missing], self.worker, self.now)

    def _acknowledge(self, owed: Sequence[Owed]) -> None:
        """Tell the server of stored mails. When that fails once, the next run does it: fetching goes on."""
        if not owed or self.fetched.remark or self.server.target.read_only:
            return
        how, folder, done = self.server.after_fetch, self.server.move_to, set[str]()
        try:
            done.update(self.mailbox.acknowledge([one.source_key for one in owed], how, folder))
        except MailboxRefused as error:
            reply = error.why["values"]["reply"]
            self.fetched.remark = why(REMARKS[how], reply=reply, folder=folder)
        except MailError as error:
            self.fetched.remark = error.why
        copied = self.mailbox.copied - done
        intake.note_acknowledged(
            [one.id for one in owed if one.source_key in done], [one.id for one in owed if one.source_key in copied]
        )
        db.session.commit()


def _note_run(server: ServerView, fetched: FetchResult, now: datetime) -> None:
    values: dict[str, Any] = {"why": fetched.why or fetched.remark}
    if fetched.why is None:
        values["last_success_at"] = now
        if server.failed:
            mailbox_notices.is_over(server.id, now)
    if values["why"] is not None:
        values["last_failure_at"] = now
    if fetched.names:
        values["checks_seen"] = seen_with(server.checks_seen or {}, fetched.names)
    db.session.execute(update(IncomingServer).where(IncomingServer.id == server.id).values(values))
    Event.add(["incoming"], now)
    db.session.commit()
    counts = (server.id, fetched.listed, fetched.kept, fetched.known, fetched.gone)
    reason = values["why"]["code"] if values["why"] else ""
    log.info("server %s: listed %s: kept %s, known %s, gone %s %s", *counts, reason)


# --- what waits


def process_waiting(now: datetime, worker: WorkerLease) -> Counter[str]:
    """Understand the mails that wait: after a crash, from the practice mailbox, pushed to us. Commits.

    Mails whose worker died are taken in ever smaller groups, so that one that kills its worker is alone in the end;
    after three times alone it goes to quarantine untouched. Returns what became of them, by state.
    """
    counts: Counter[str] = Counter()
    if not intake.any_waiting():
        return counts
    for deaths, limit in enumerate(AT_ONCE):
        while True:
            worker.assert_alive()
            claimed = intake.claim(worker, deaths, limit)
            with in_process(claimed):
                if not claimed:
                    break
                if claimed[0].attempts >= GIVEN_UP:
                    reason = why("process_gave_up", attempts=GIVEN_UP - len(AT_ONCE) + 1)
                    counts += _quarantine([claimed[0].id], reason, now)
                else:
                    counts += understand(claimed, worker, now)
    return counts


def process_put_off(now: datetime, worker: WorkerLease) -> Counter[str]:
    """Understand the next of the mails that took too long; return what became of it, by state. Commits."""
    claimed = intake.claim_put_off(worker)
    with in_process(claimed):
        counts = understand(claimed, worker, now, hurry=False)
    put_off.over([one.id for one in claimed])
    return counts


# --- understand: parse, route, file


def understand(stored: Sequence[StoredMail], worker: WorkerLease, now: datetime, hurry: bool = True) -> Counter[str]:
    """Parse, route and file mails; return what became of them, by state. Commits.

    In a hurry one that takes long is put off, and then other heavy ones until it is done.
    """
    counts: Counter[str] = Counter()
    cases: list[Case] = []
    late: list[int] = []
    with MEMORY.of(sum(one.octets for one in stored)):
        for one in stored:
            raw = one.raw
            try:
                if hurry and is_heavy(raw) and (late or put_off.waiting()):
                    raise TakesLong
                cases.append(read_case(one.id, raw, one.keeps, now, one.arrived_at, one.problem, hurry))
                cases[-1].released, cases[-1].chosen = one.released, one.chosen
            except TakesLong:
                late.append(one.id)
            except Exception as error:  # a mistake of ours in reading one mail; the others are none the worse for it
                if keeps_waiting(error):  # the disk has no room for what is read of it
                    raise
                counts += give_up(one.id, error, now)
        put_off.put_off(late)
        return counts + _file(cases, worker, now)


def _file(cases: list[Case], worker: WorkerLease, now: datetime, last_try: bool = False) -> Counter[str]:
    """Route and write down mails, group by group; a group that fails is taken apart to find out which one it is."""
    counts: Counter[str] = Counter()
    while cases:
        try:
            decided, context = route_group(cases, now)
        except Exception as error:
            if keeps_waiting(error):
                raise
            if last_try:
                return counts + give_up(cases[0].id, error, now)
            return sum((_file([case], worker, now, last_try=True) for case in cases), counts)
        cases = cases[len(decided) :]
        while decided:
            worker.assert_alive()
            group, decided = decided[:GROUP], decided[GROUP:]
            try:
                is_written = write_group(group, context, now, last_try)
            except TooManyAnswers:
                return counts + _file([*group, *decided, *cases], worker, now, last_try)
            if is_written:
                counts.update(case.routing.state for case in group)
            elif last_try:
                counts["quarantined"] += 1
            else:
                counts = sum((_file([case], worker, now, last_try=True) for case in group), counts)
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
            case.routing = decide(case, context)
            if group and context.is_for_many(case.routing):
                break
            context.learn(case)
            group.append(case)
        load_threads(context, [case.routing for case in group])
    return group, context


def write_group(
    group: Sequence[Case],
    context: RoutingContext,
    now: datetime,
    last_try: bool = False,
    state: str = "received",
) -> bool:
    """Write down what was decided and commit; False if that failed and each mail is to be tried alone.

    On the last try such a mail goes to quarantine; ``TooManyAnswers``: decide again. ``state``: in which they wait.
    """
    try:
        written = _write(group, context, now, state)
    except Exception as error:
        db.session.rollback()
        if keeps_waiting(error) or isinstance(error, TooManyAnswers):
            raise
        if not last_try:
            log.warning("a group of %s mails can't be filed at once: %s", len(group), type(error).__name__)
        else:
            give_up(group[0].id, error, now, group[0])
        return False
    for case in group:
        log.info("mail %s: %s %s", case.id, case.routing.state, case.routing.result)
    if written.queued:
        wake()
    delete_unused(written.unwanted)
    return True


def _write(group: Sequence[Case], context: RoutingContext, now: datetime, state: str) -> apply.Written:
    """Compose all that is to be sent, then write everything down: nobody waits for the database meanwhile."""
    while True:
        with reading():
            ready = apply.prepare(group, context, now)
        try:
            written = apply.write(ready, context, now, state)
            db.session.commit()
        except NumberTaken:
            db.session.rollback()
            group = ready.cases  # without those that another worker has taken
            with reading():
                context.types |= types(context.types.keys())  # with the numbers that come next now
        else:
            for case in ready.cases:
                case.is_written = True
            return written


def give_up(
    received_id: int, error: Exception, now: datetime, case: Case | None = None, before: Sequence[Why] = ()
) -> Counter[str]:
    """Put a mail that can't be read or filed into quarantine, with the reason; commits. ``before``: earlier steps."""
    where = "".join(traceback.format_tb(error.__traceback__)[-3:])  # no values: they are somebody's mail
    log.error("mail %s can't be filed: %s\n%s", received_id, type(error).__name__, where)
    return _quarantine([received_id], failure_of(error), now, case, before)


def _quarantine(
    ids: Collection[int], reason: Why, now: datetime, case: Case | None = None, before: Sequence[Why] = ()
) -> Counter[str]:
    """Put mails that wait into quarantine with a reason; commits. What held them there before stays noted."""
    values: dict[str, Any] = {"state": "quarantined", "processed_at": now, "decision": [*before, reason]}
    if case is not None:
        values |= ledger.unfiled_values(case, reason)
        ledger.note_alias_failure(case, reason)
    db.session.execute(
        update(ReceivedMail)
        .where(ReceivedMail.id.in_(ids), ReceivedMail.state.in_(("received", "quarantined")))
        .values(values)
    )
    Event.add(["incoming"], now)
    db.session.commit()
    return Counter(quarantined=len(ids))

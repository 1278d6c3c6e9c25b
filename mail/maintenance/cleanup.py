"""Clean-up: what is older than the retention parameters say is removed, a slice per transaction.

Quarantined mail is never removed, nor anything that a person wrote or that still waits for something.
"""

from collections.abc import Callable, Collection, Iterator
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, or_, select, update

from mail.settings import rehearsal
from mail.settings.parameters import (
    KEEP_DMARC_DAYS,
    KEEP_EVENT_DAYS,
    KEEP_NOTICE_DAYS,
    KEEP_RAW_DAYS,
    KEEP_RUNS,
    KEEP_TRANSCRIPT_DAYS,
)
from models import (
    ActionRun,
    Blob,
    Chunk,
    DeliveryAttempt,
    DmarcReport,
    DmarcSource,
    DomainReport,
    Event,
    LoginAttempt,
    Mailing,
    Notification,
    OauthSignIn,
    Outage,
    PracticeMail,
    ReceivedMail,
    ScheduledAction,
    ServerCheck,
    Worker,
    change_rows,
    db,
    reading,
)
from models.contents import delete_unused, references_to

SLICE = 500  # rows of one transaction: short, so that nobody waits for it
KEEP_LOGIN_DAYS = 30
KEEP_REPORT_DAYS = 90
FINISHED = ("processed", "duplicate", "ignored", "rejected")  # states of received mail that nobody has to act on
SWEPT = 10_000  # stored contents that are looked at in one hour for whether anything still refers to them

Counts = dict[str, int]


def slices(now: datetime) -> Iterator[Counts]:
    """Remove a slice at a time and yield what it was, until nothing is left to remove; each slice is committed."""
    for name, remove in STEPS:
        for removed in remove(now):
            if removed:
                yield {name: removed}


def _older(table: Any, at: Any, days: Callable[[], int]) -> Callable[[datetime], Iterator[int]]:
    """Return what deletes the rows of a table by their date. The oldest have the lowest ids: no index is needed."""

    def remove(now: datetime) -> Iterator[int]:
        before = now - timedelta(days=days())
        while True:
            with reading():
                oldest = db.session.execute(select(table.id, at).order_by(table.id).limit(SLICE)).all()
            old = [row[0] for row in oldest if row[1] < before]
            if not old:
                return
            yield _delete(table, old)

    return remove


def _practice_mails(now: datetime) -> Iterator[int]:
    """Keep what the end of a rehearsal may send for real, and the last one: SQLite would give its number again, and
    rehearsals tell by it what was taken before them.
    """
    before = now - timedelta(days=KEEP_RAW_DAYS.get())
    with reading():
        goes_on = rehearsal.current()
    newest = select(func.max(PracticeMail.id)).scalar_subquery()
    old = select(PracticeMail.id).where(PracticeMail.at < before, PracticeMail.id < newest)
    if goes_on is not None:
        old = old.where(or_(PracticeMail.id <= goes_on.before, PracticeMail.line_id.is_(None)))
    return _all_of(PracticeMail, old)


def _raw_mails(now: datetime) -> Iterator[int]:
    """Let go of old raw mails, oldest first; their lines in the ledger, and the posts that came of them, stay."""
    before = now - timedelta(days=KEEP_RAW_DAYS.get())
    after = 0
    while True:
        with reading():
            rows = db.session.execute(
                select(ReceivedMail.id, ReceivedMail.blob_id, ReceivedMail.state, ReceivedMail.received_at)
                .where(ReceivedMail.blob_id > after)
                .order_by(ReceivedMail.blob_id)
                .limit(SLICE)
            ).all()
        old = [row for row in rows if row.received_at < before]
        if not old:
            return
        after = rows[-1].blob_id
        # The state is asked again: a mail may have been put into quarantine since.
        gone = db.session.scalars(
            update(ReceivedMail)
            .where(ReceivedMail.id.in_([row.id for row in old if row.state in FINISHED]))
            .where(ReceivedMail.state.in_(FINISHED))
            .values(blob_id=None)
            .returning(ReceivedMail.id)
        ).all()
        db.session.commit()
        let_go = set(gone)
        delete_unused([row.blob_id for row in old if row.id in let_go])
        yield len(gone)


def _runs(_now: datetime) -> Iterator[int]:
    """Keep the newest runs of each action."""
    keep = max(KEEP_RUNS.get(), 1)
    with reading():
        actions = db.session.scalars(select(ScheduledAction.id)).all()
    for action in actions:
        runs = select(ActionRun.id).where(ActionRun.action_id == action).order_by(ActionRun.id.desc())
        while True:
            with reading():
                old = db.session.scalars(runs.where(ActionRun.state != "running").offset(keep).limit(SLICE)).all()
            if not old:
                break
            yield _delete(ActionRun, old)


def _notices(now: datetime) -> Iterator[int]:
    """Remove notices that were read long ago."""
    old = select(Notification.id).where(Notification.read_at < now - timedelta(days=KEEP_NOTICE_DAYS.get()))
    return _all_of(Notification, old)


def _domain_reports(now: datetime) -> Iterator[int]:
    """Remove old checks of domains, but never the last one of each: the next is compared with it."""
    newest = select(func.max(DomainReport.id)).group_by(DomainReport.domain)
    old = DomainReport.at < now - timedelta(days=KEEP_REPORT_DAYS)
    return _all_of(DomainReport, select(DomainReport.id).where(old, DomainReport.id.not_in(newest)))


def _chunks(now: datetime) -> Iterator[int]:
    """Remove the ranges that mailings were sent in, once the mailing has been over for a while."""
    over = Mailing.ended_at < now - timedelta(days=KEEP_TRANSCRIPT_DAYS.get())
    old = select(Chunk.id).join(Mailing, Mailing.id == Chunk.mailing_id).where(over, Chunk.state == "done")
    return _all_of(Chunk, old)


def _dmarc(now: datetime) -> Iterator[int]:
    """Remove old DMARC reports: what each says first, since one may say a lot."""
    before = now - timedelta(days=KEEP_DMARC_DAYS.get())
    while True:
        with reading():
            oldest = select(DmarcReport.id, DmarcReport.received_at).order_by(DmarcReport.id).limit(1)
            row = db.session.execute(oldest).first()
        if row is None or row.received_at >= before:
            return
        for _ in _all_of(DmarcSource, select(DmarcSource.id).where(DmarcSource.report_id == row.id)):
            yield 0
        yield _delete(DmarcReport, [row.id])


def _workers(now: datetime) -> Iterator[int]:
    """Remove workers that ended long ago; what they once did stays, without their name."""
    before = now - timedelta(days=KEEP_TRANSCRIPT_DAYS.get())
    with reading():
        ended = select(Worker.id).where(Worker.ended, Worker.started_at < before, Worker.at_work_at < before)
        old = db.session.scalars(ended.order_by(Worker.id).limit(SLICE)).all()
    references = references_to(Worker)
    for worker_id in old:
        for column in references:
            key = next(iter(column.table.primary_key))
            some = select(key).where(column == worker_id).limit(SLICE)
            while change_rows(update(column.table).where(key.in_(some)).values({column: None})):
                db.session.commit()
        yield _delete(Worker, [worker_id])


def _all_of(table: Any, old: Any) -> Iterator[int]:
    while True:
        with reading():
            ids = db.session.scalars(old.limit(SLICE)).all()
        if not ids:
            return
        yield _delete(table, ids)


def _contents(now: datetime) -> Iterator[int]:
    """Remove bytes that nothing refers to. Each hour looks at another part of them, so that the work stays small."""
    with reading():
        newest = db.session.scalar(select(func.max(Blob.id))) or 0
    if not newest:
        return
    first = int(now.timestamp() // 3600) * SWEPT % newest if newest > SWEPT else 0
    for after in range(first, min(first + SWEPT, newest), SLICE):
        with reading():
            ids = db.session.scalars(select(Blob.id).where(Blob.id > after, Blob.id <= after + SLICE)).all()
        yield delete_unused(ids)


def _delete(table: Any, ids: Collection[int]) -> int:
    deleted = change_rows(delete(table).where(table.id.in_(ids)))
    db.session.commit()
    return deleted


STEPS: tuple[tuple[str, Callable[[datetime], Iterator[int]]], ...] = (
    ("events", _older(Event, Event.at, KEEP_EVENT_DAYS.get)),
    ("dialogues", _older(DeliveryAttempt, DeliveryAttempt.at, KEEP_TRANSCRIPT_DAYS.get)),
    ("raw_mails", _raw_mails),
    ("practice_mails", _practice_mails),
    ("tests", _older(ServerCheck, ServerCheck.requested_at, KEEP_TRANSCRIPT_DAYS.get)),
    ("sign_ins", _older(OauthSignIn, OauthSignIn.requested_at, KEEP_TRANSCRIPT_DAYS.get)),
    ("log_ins", _older(LoginAttempt, LoginAttempt.at, lambda: KEEP_LOGIN_DAYS)),
    ("notices", _notices),
    ("domain_reports", _domain_reports),
    ("chunks", _chunks),
    ("dmarc_reports", _dmarc),
    ("workers", _workers),
    ("outages", _older(Outage, Outage.until, KEEP_TRANSCRIPT_DAYS.get)),
    ("runs", _runs),
    ("contents", _contents),
)

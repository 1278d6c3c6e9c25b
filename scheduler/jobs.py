"""What each scheduled action does: a table of thin calls. When they run is in their rows, not here."""

import logging
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from datetime import datetime

from flask import Flask
from sqlalchemy import func, select

from mail.deliverability import checks, senders
from mail.mailing import mailing
from mail.maintenance import cleanup, digest
from mail.sentences import Why, why
from mail.settings import office
from mail.settings.wake import wake
from models import IncomingServer, Mailing, Recipient, Worker, db, reading
from scheduler import recovery
from scheduler.fetching import Fetcher, FetchSummary
from scheduler.loops import database_away

log = logging.getLogger("coquimail.jobs")

# How long one run waits for slow servers: not into the next slot, and no longer than this many seconds. What is not
# done then goes on beside the next run, which reports it.
PATIENCE = 120.0

Counts = dict[str, int]


class JobFailed(Exception):
    """A run did not do all of what it should have; ``why`` says what is missing, ``counts`` what was done."""

    def __init__(self, reason: Why, counts: Counts) -> None:
        super().__init__(reason["code"])
        self.why, self.counts = reason, counts


@dataclass
class Job:
    """What a run may use. ``report`` writes the counts so far into the history, for those who watch."""

    app: Flask
    now: datetime
    seconds: float  # the interval of the action
    fetcher: Fetcher
    stopping: Callable[[], bool]
    report: Callable[[Counts], None]
    counts: Counts = field(default_factory=dict)

    def add(self, **more: int) -> None:
        """Add to the counts of this run."""
        for name, number in more.items():
            self.counts[name] = self.counts.get(name, 0) + number


def fetch(job: Job) -> None:
    """Fetch every active, confirmed server, each in a thread of its own: a dead one delays nobody."""
    with reading():
        names = {
            row.id: row.name
            for row in db.session.execute(
                select(IncomingServer.id, IncomingServer.name)
                .where(IncomingServer.active, IncomingServer.state == "confirmed")
                .order_by(IncomingServer.priority, IncomingServer.id)
            )
        }
    job.add(servers=len(names), mails=0)
    waiting: set[Future[FetchSummary]] = {job.fetcher.start(server_id) for server_id in names}
    failed: list[FetchSummary] = []
    left = min(job.seconds * 0.8, PATIENCE)
    while waiting and left > 0 and not job.stopping():
        done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
        left -= 0 if done else 0.5
        for future in done:
            fetched = future.result()
            job.add(mails=fetched.mails)
            if fetched.elsewhere:
                job.add(still_fetching=1)
            elif fetched.why:
                failed.append(fetched)
        if done and waiting:
            job.report(job.counts)
    if waiting:
        job.add(still_fetching=len(waiting))
    if failed:
        job.add(failed=len(failed))
        first = failed[0]
        reason = why("fetch_failed", failed=len(failed), servers=len(names), name=names[first.server_id],
                     reason=first.why or "")  # fmt: skip
        raise JobFailed(reason, job.counts)


def queue(job: Job) -> None:
    """The safety net of the queue: wake the senders for what is due, and recover lines that a worker left behind."""
    with reading():
        due = db.session.scalars(
            select(Recipient.id).where(Recipient.state == "queued", Recipient.next_try_at <= job.now).limit(10_000)
        ).all()
        forgotten = db.session.scalars(
            select(Recipient.worker_id)
            .join(Worker, Worker.id == Recipient.worker_id)
            .where(Recipient.state == "sending", Worker.ended.is_(True))
            .distinct()
        ).all()
    for worker_id in forgotten:
        if worker_id is not None:
            recovery.recover(worker_id, job.now)
    job.add(due=len(due), recovered=len(forgotten))
    if due:
        wake()


def mailings(job: Job) -> None:
    """Start mailings that are due, try deferred recipients again, close what is done."""
    before = _mailings_by_state()
    while mailing.tend(job.now) and not job.stopping():
        continue
    after = _mailings_by_state()
    job.add(sending=after.get("sending", 0), done=max(after.get("done", 0) - before.get("done", 0), 0))
    if after.get("sending"):
        wake("mass")


def _mailings_by_state() -> Counts:
    with reading():
        found = db.session.execute(select(Mailing.state, func.count()).group_by(Mailing.state)).all()
    return {row[0]: row[1] for row in found}


def daily_digest(job: Job) -> None:
    """Tell people of their emails that were not delivered."""
    for _ in digest.send_all(job.now):
        job.add(mails=1)
        if job.stopping():
            break
    if job.counts:
        wake()


def deliverability(job: Job) -> None:
    """Check the DNS of every domain that we send from."""
    with reading():
        names = senders.sending_domains()
    silent, failed = 0, list[Why]()
    for name in names:
        if job.stopping():
            break
        office.forget()  # servers may have been saved since the last domain
        try:
            silent += checks.check(name, job.now).is_silent
            job.add(domains=1)
        except Exception as error:
            db.session.rollback()
            if database_away(error):
                raise
            log.exception("the check of %s failed", name)
            detail = {"error": type(error).__name__, "detail": str(error)[:300]}
            failed.append(why("dns_check_failed", domain=name, reason=why("unexpected_failure", **detail)))
            job.add(failed=1)
        job.report(job.counts)
    if failed:
        raise JobFailed(failed[0], job.counts)
    if silent:
        raise JobFailed(why("dns_unreachable", count=silent), job.counts)


def clean_up(job: Job) -> None:
    """Remove what is older than the retention parameters say, slice by slice."""
    for slice_counts in cleanup.slices(job.now):
        job.add(**slice_counts)
        if job.stopping():
            break


JOBS: dict[str, Callable[[Job], None]] = {
    "fetch": fetch,
    "queue": queue,
    "mailings": mailings,
    "digest": daily_digest,
    "deliverability": deliverability,
    "cleanup": clean_up,
}

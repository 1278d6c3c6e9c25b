"""The clock of the worker: the rows of the scheduled actions are the truth, APScheduler holds a mirror of them.

Every second, and at every wake, the leading worker reads the rows. What is due runs in a thread of APScheduler, and
only if its slot could be claimed by compare-and-swap: even two workers that both believe to lead run no slot twice.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.date import DateTrigger
from flask import Flask
from sqlalchemy import select, update

from mail.errors import MailError
from mail.maintenance.schedule import SECONDS, TOPIC, next_due, replan
from mail.queue import lease
from mail.queue.lease import WorkerLease, elapsed
from mail.sentences import Why, why
from mail.settings.clock import now
from models import ActionRun, Event, Lease, ScheduledAction, change_rows, database_clock, db, reading
from scheduler.fetching import Fetcher
from scheduler.identity import WorkerIdentity
from scheduler.jobs import JOBS, Counts, Job, JobFailed
from scheduler.loops import NotNow, say_once, what_is_missing

log = logging.getLogger("coquimail.actions")

LEADER = "scheduler"
LEAD = 6.0  # seconds that the leadership outlives its last renewal
RENEW = 2.0
RUN_HELD = 10.0  # seconds that a run outlives its last extension
JUMP = timedelta(seconds=5)  # by which a run may be further ahead than its interval: clocks differ a little


@dataclass(frozen=True)
class Row:
    """A scheduled action as it was last read."""

    id: int
    code: str
    interval: int
    unit: str
    active: bool
    next_run_at: datetime
    version: int
    run_requested_at: datetime | None
    running: bool


@dataclass(frozen=True)
class Mirrored:
    """What APScheduler was last told about an action."""

    row: Row
    run_at: datetime  # by this machine's clock


class Actions:
    """The loop that leads, mirrors and runs the scheduled actions."""

    def __init__(self, app: Flask, identity: WorkerIdentity, fetcher: Fetcher, stopping: threading.Event) -> None:
        self._app, self._identity, self._fetcher, self._stopping = app, identity, fetcher, stopping
        self._lock = threading.Lock()
        self._mirror: dict[int, Mirrored] = {}
        self._known: dict[int, Row] = {}  # as of the last look
        self._advanced: dict[int, datetime] = {}  # to where our own runs moved an action since then
        self._runs: dict[int, WorkerLease] = {}  # action -> under which lease it runs here
        self._leading: WorkerLease | None = None
        self._renewed = self._extended = 0.0
        self._scheduler = BackgroundScheduler(
            jobstores={"default": MemoryJobStore()},
            executors={"default": ThreadPoolExecutor(len(JOBS) * 2)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone=UTC,
        )

    def start(self) -> None:
        """Start APScheduler; it has nothing to do until the first look."""
        self._scheduler.start()

    def shutdown(self) -> None:
        """Start no run any more; those under way are not waited for."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def work(self) -> bool:
        """Look at the rows once, if this worker leads or can."""
        held = self._identity.current()
        self._extend_runs()
        if not self._lead(held):
            self._forget_all()
            return False
        rows = _read()
        moment = now()
        if self._bring_forward(rows, moment):
            rows = _read()
        for row in rows:
            before = self._known.get(row.id, row)
            if self._advanced.get(row.id) == row.next_run_at:
                before = replace(before, next_run_at=self._advanced.pop(row.id))
            self._mirror_one(self._replanned(before, row, moment), moment)
        for action_id in set(self._mirror) - {row.id for row in rows}:
            self._forget(action_id)
        self._known = {row.id: row for row in rows}
        return False

    # --- leading

    def leads(self) -> bool:
        """Say whether this worker leads, as far as it knows."""
        return self._leading is not None and elapsed() - self._renewed < LEAD

    def _lead(self, held: WorkerLease) -> bool:
        if self._leading is held and elapsed() - self._renewed < RENEW:
            return True
        if self._leading is not held:
            with reading():
                free = select(Lease.until < database_clock()).where(Lease.name == LEADER)
                someone_leads = db.session.scalar(free) is False
            if someone_leads:
                return False
        began = elapsed()
        leads = lease.take(LEADER, held.id, LEAD)
        if leads and self._leading is not held:
            log.info("worker %s leads the scheduled actions", held.id)
        self._leading, self._renewed = (held, began) if leads else (None, 0.0)
        return leads

    # --- mirroring

    def _mirror_one(self, row: Row, moment: datetime) -> None:
        seen = self._mirror.get(row.id)
        if row.run_requested_at is not None and not row.running:
            self._schedule(f"now:{row.id}", datetime.now(UTC), row, row.run_requested_at, True)
        if not row.active or row.running:
            self._forget(row.id)
            return
        run_at = datetime.now(UTC) + max(row.next_run_at - moment, timedelta(0))
        told = seen is not None and seen.row == row and abs((seen.run_at - run_at).total_seconds()) < 0.5
        if not told or row.next_run_at <= moment:
            self._schedule(f"due:{row.id}", run_at, row, row.next_run_at, False)
            self._mirror[row.id] = Mirrored(row, run_at)

    def _replanned(self, before: Row, row: Row, moment: datetime) -> Row:
        """Obey an edit of the interval that left the next run as it was; returns the row as it is then."""
        if (row.interval, row.unit) == (before.interval, before.unit) or row.next_run_at != before.next_run_at:
            return row
        due = replan(row.next_run_at, (before.interval, before.unit), (row.interval, row.unit), moment)
        if due != row.next_run_at:
            _set_next(row, due)
        return replace(row, next_run_at=due)

    def _schedule(self, name: str, run_at: datetime, row: Row, slot: datetime, requested: bool) -> None:
        self._scheduler.add_job(
            self._run, DateTrigger(run_at), args=[row, slot, requested], id=name, name=f"{row.code} {slot:%H:%M:%S}",
            replace_existing=True,
        )  # fmt: skip

    def _forget(self, action_id: int) -> None:
        self._mirror.pop(action_id, None)
        with suppress(JobLookupError):
            self._scheduler.remove_job(f"due:{action_id}")

    def _forget_all(self) -> None:
        for action_id in list(self._mirror):
            self._forget(action_id)

    def _bring_forward(self, rows: list[Row], moment: datetime) -> bool:
        """Let no run be further ahead than its interval, as after a clock that was ahead; say whether one was."""
        changed = False
        for row in rows:
            latest = next_due(moment, row.interval, row.unit, moment)
            if row.next_run_at > latest + JUMP:
                _set_next(row, latest)
                changed = True
        return changed

    # --- running

    def _run(self, row: Row, slot: datetime, requested: bool) -> None:
        """Claim a slot and do what the action does; called by APScheduler in a thread of its own."""
        try:
            with self._app.app_context(), self._identity.work() as held:
                moment = now()
                run_id = _claim(row, slot, requested, held, moment)
                if run_id is not None:
                    if not requested:
                        self._advanced[row.id] = next_due(slot, row.interval, row.unit, moment)
                    with self._at(row.id, held):
                        self._do(row, run_id, requested, held)
        except NotNow:
            return
        except Exception as error:
            reason = what_is_missing(error)
            if reason is None:
                raise
            say_once(reason)
        finally:
            self._mirror.pop(row.id, None)  # what comes next is read from the row

    def _do(self, row: Row, run_id: int, requested: bool, held: WorkerLease) -> None:
        moment = now()
        interval = row.interval * SECONDS[row.unit]
        stopping = self._stopping.is_set
        job = Job(self._app, moment, interval, self._fetcher, stopping, lambda counts: _report(run_id, counts))
        log.info("action %s began: run %s%s", row.code, run_id, ", requested" if requested else "")
        state, reason = "done", None
        try:
            do = JOBS.get(row.code)
            if do is None:
                raise JobFailed(why("action_unknown", action=row.code), {})
            do(job)
        except JobFailed as failed:
            state, reason = "failed", failed.why
        except MailError as error:
            state, reason = "failed", error.why
        except Exception as error:
            log.exception("action %s failed: run %s", row.code, run_id)
            state = "failed"
            reason = why("unexpected_failure", error=type(error).__name__, detail=str(error)[:300])
        if self._stopping.is_set() and reason is None and state == "done":
            job.counts.setdefault("interrupted", 1)
        db.session.rollback()
        left_out = _finish(row, run_id, state, job.counts, reason, held)
        if left_out is not None:
            self._advanced[row.id] = left_out
        log.info("action %s %s: run %s %s", row.code, state, run_id, job.counts)

    @contextmanager
    def _at(self, action_id: int, held: WorkerLease) -> Iterator[None]:
        with self._lock:
            self._runs[action_id] = held
        try:
            yield
        finally:
            with self._lock:
                del self._runs[action_id]

    def _extend_runs(self) -> None:
        """Keep what runs here from being taken for lost."""
        if not self._runs or elapsed() - self._extended < RENEW:
            return
        self._extended = elapsed()
        with self._lock:
            runs = dict(self._runs)
        for action_id, held in runs.items():
            db.session.execute(
                update(ScheduledAction)
                .where(ScheduledAction.id == action_id, ScheduledAction.running_by_id == held.id)
                .values(running_until=database_clock() + RUN_HELD)
            )
        db.session.commit()


def _read() -> list[Row]:
    action = ScheduledAction
    columns = (action.id, action.code, action.interval, action.unit, action.active, action.next_run_at,
               action.version, action.run_requested_at)  # fmt: skip
    with reading():
        found = db.session.execute(
            select(*columns, (action.running_until > database_clock()).label("running")).order_by(action.id)
        ).all()
    return [Row(*row[:8], running=bool(row.running)) for row in found]


def _set_next(row: Row, due: datetime) -> None:
    db.session.execute(
        update(ScheduledAction)
        .where(ScheduledAction.id == row.id, ScheduledAction.next_run_at == row.next_run_at)
        .values(next_run_at=due)
    )
    db.session.commit()


def _claim(row: Row, slot: datetime, requested: bool, held: WorkerLease, moment: datetime) -> int | None:
    """Return the run of a slot if it is ours: no other worker has it and none runs this action now. Commits."""
    action = ScheduledAction
    taken: Any = update(action).where(action.id == row.id, action.running_until < database_clock())
    values: dict[str, Any] = {"running_by_id": held.id, "running_until": database_clock() + RUN_HELD}
    if requested:
        taken = taken.where(action.run_requested_at == slot)
        values["run_requested_at"] = None
    else:
        taken = taken.where(action.active, action.next_run_at == slot, action.version == row.version)
        values["next_run_at"] = next_due(slot, row.interval, row.unit, moment)
        if slot > moment:  # a wall clock that runs apart from the business clock: not due yet
            return None
    if not change_rows(taken.values(values)):
        db.session.rollback()
        return None
    while db.session.scalar(select(ActionRun.id).where(ActionRun.action_id == row.id, ActionRun.slot == slot)):
        if not requested:  # the clock went back over a slot that was done
            break
        slot += timedelta(microseconds=1)
    else:
        run = ActionRun(action_id=row.id, slot=slot, worker_id=held.id, requested=requested, started_at=moment)
        db.session.add(run)
        db.session.flush()
        _lose_others(row.id, run.id, moment)
        Event.add([TOPIC], moment)
        db.session.commit()
        return run.id
    db.session.execute(
        update(action)
        .where(action.id == row.id, action.running_by_id == held.id)
        .values(running_by_id=None, running_until=0.0)
    )
    db.session.commit()
    return None


def _lose_others(action_id: int, run_id: int, moment: datetime) -> None:
    """Close runs whose end could not be written down, because the database was away just then."""
    db.session.execute(
        update(ActionRun)
        .where(ActionRun.action_id == action_id, ActionRun.state == "running", ActionRun.id != run_id)
        .values(state="lost", ended_at=moment, why=why("run_lost"))
    )


def _report(run_id: int, counts: Counts) -> None:
    db.session.execute(
        update(ActionRun).where(ActionRun.id == run_id, ActionRun.state == "running").values(counts=dict(counts))
    )
    Event.add([TOPIC], now())
    db.session.commit()


def _finish(
    row: Row, run_id: int, state: str, counts: Counts, reason: Why | None, held: WorkerLease
) -> datetime | None:
    """Write down how a run ended; slots that passed while it ran are left out: then the next one is returned."""
    moment = now()
    left_out = None
    action = ScheduledAction
    db.session.execute(
        update(ActionRun)
        .where(ActionRun.id == run_id, ActionRun.state == "running")
        .values(state=state, ended_at=moment, counts=counts, why=reason)
    )
    found = db.session.get(action, row.id)
    if found is not None and found.running_by_id == held.id:
        found.running_by_id, found.running_until = None, 0.0
        if found.next_run_at <= moment and (found.interval, found.unit) == (row.interval, row.unit):
            left_out = found.next_run_at = next_due(found.next_run_at, found.interval, found.unit, moment)
    Event.add([TOPIC], moment)
    db.session.commit()
    return left_out

"""After a worker died: what it held is recovered by its journal, by exactly one of the others, within seconds."""

import logging
import threading
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update

from mail.errors import JournalFailed
from mail.mailing import chunks
from mail.maintenance import self_test_rows
from mail.outgoing import deliver, lines
from mail.queue import lease, waits
from mail.queue.journal import AfterPowerCut, State, forget_folder, read_folder, remove_folder
from mail.sentences import why
from mail.settings import sign_in
from mail.settings.clock import now
from mail.settings.config import settings
from mail.settings.wake import wake
from models import ActionRun, Event, ScheduledAction, ServerCheck, Worker, database_clock, db, reading
from scheduler.identity import WorkerIdentity
from scheduler.loops import NotNow

log = logging.getLogger("coquimail.recovery")

LEASE = "recovery"
HELD = 30.0  # seconds that one recovery may take before another worker tries
LOST_FOR_GOOD = 600.0  # seconds after which a journal on a machine that is away is given up
LOOK_FOR_WAITS = 5.0  # seconds between two looks for what waits too long
WORTHWHILE = timedelta(minutes=30)  # the same for a test that goes on from where it was
FRESH = timedelta(seconds=60)  # a test of a server that is older has nobody waiting for it any more


class Recovery:
    """The loop that looks for the dead."""

    def __init__(self, identity: WorkerIdentity, stopping: threading.Event) -> None:
        self._identity, self._stopping = identity, stopping
        self._clocks = lease.Clocks()
        self._look_for_waits_at = 0.0

    def work(self) -> bool:
        """Recover what dead workers left behind."""
        held = self._identity.current()
        self._bring_forward()
        with reading():
            trusted = self._clocks.trusted(db.session.scalar(select(database_clock())) or 0.0, lease.elapsed())
            dead = [worker for worker in lease.dead_workers() if worker.id != held.id] if trusted else []
            found = [worker for worker in dead if _can_be_recovered(worker)]
        if not found:
            return False
        if not lease.take(LEASE, held.id, HELD):
            raise NotNow
        unreadable: JournalFailed | None = None
        try:
            for worker in found:
                if self._stopping.is_set():
                    break
                try:
                    if lease.fence(worker):
                        recover(worker.id, now())
                except JournalFailed as error:  # what the others left behind need not wait for it
                    db.session.rollback()
                    unreadable = error
        finally:
            lease.release(held.id, LEASE)
            db.session.commit()
        if unreadable:
            raise unreadable
        return False

    def _bring_forward(self) -> None:
        """Once in a while look for what waits longer than it should: the less often, the longer a look takes."""
        began = lease.elapsed()
        if began < self._look_for_waits_at:
            return
        waits.bring_forward(now())
        took = lease.elapsed() - began
        self._look_for_waits_at = began + max(LOOK_FOR_WAITS, took * 50)


def _can_be_recovered(worker: Any) -> bool:
    """Its journal is here, or it is away for so long that nobody waits for it any longer."""
    if lease.journal_is_here(worker.id):
        return True
    silence = db.session.scalar(select(database_clock() - Worker.seen_at).where(Worker.id == worker.id))
    return silence is not None and silence > LOST_FOR_GOOD


def recover(worker_id: int, moment: datetime) -> dict[str, int]:
    """Recover everything that a worker held which has stopped, and note that it ended; commits.

    Returns how many lines and chunks went which way.
    """
    db.session.execute(select(Worker.id).where(Worker.id == worker_id).with_for_update())  # a last claim comes first
    said = _journal(worker_id)
    counts = {}
    if isinstance(said, AfterPowerCut):
        counts["unknown since a power cut"] = lines.leave_unknown(worker_id, said, moment)
    counts |= deliver.recover_lines(worker_id, said, moment, _test_emails(worker_id))
    counts |= {f"{name} (mailing)": n for name, n in chunks.recover_chunks(worker_id, said, moment).items()}
    counts["runs lost"] = _lose_runs(worker_id, moment)
    counts["tests"] = _give_back_checks(worker_id, moment)
    counts["sign-ins"] = sign_in.lose_all_of(worker_id, moment)
    lease.release(worker_id)
    db.session.execute(update(Worker).where(Worker.id == worker_id).values(ended=True))
    db.session.commit()
    remove_folder(settings().journal_folder, worker_id)
    lease.remove_mark(worker_id)
    (settings().wake_folder / f"{worker_id}.sock").unlink(missing_ok=True)
    counts = {name: n for name, n in counts.items() if n}
    log.info("worker %s recovered: %s", worker_id, counts or "it held nothing")
    if counts:
        wake()
        wake("mass")
    return counts


def recover_claims(worker_id: int, moment: datetime) -> None:
    """Recover the lines and chunks that this living worker holds, after a failure that left some half done; commits.

    Nothing of it is under way any more, and nothing new is taken meanwhile: as after a death, only without one.
    """
    said = read_folder(settings().journal_folder, worker_id)
    counts = deliver.recover_lines(worker_id, said, moment, _test_emails(worker_id))
    counts |= {f"{name} (mailing)": n for name, n in chunks.recover_chunks(worker_id, said, moment).items()}
    db.session.commit()
    forget_folder(settings().journal_folder, worker_id)
    log.info("worker %s goes on: %s", worker_id, {name: n for name, n in counts.items() if n} or "it held nothing")
    wake()
    wake("mass")


def _journal(worker_id: int) -> dict[str, State] | None:
    if not lease.journal_is_here(worker_id):
        return None
    try:
        said = read_folder(settings().journal_folder, worker_id)
        lost_power = lease.lost_power(db.session.scalar(select(Worker.boot).where(Worker.id == worker_id)) or "")
        return AfterPowerCut(said) if lost_power else said
    except JournalFailed:
        silence = db.session.scalar(select(database_clock() - Worker.seen_at).where(Worker.id == worker_id))
        if silence is not None and silence > LOST_FOR_GOOD:
            return None
        raise


def _lose_runs(worker_id: int, moment: datetime) -> int:
    """Mark the runs it was at as lost and have them made up once."""
    lost = db.session.execute(
        update(ActionRun)
        .where(ActionRun.worker_id == worker_id, ActionRun.state == "running")
        .values(state="lost", ended_at=moment, why=why("run_lost"))
        .returning(ActionRun.action_id, ActionRun.requested)
    ).all()
    again = [run.action_id for run in lost if not run.requested]  # or one that kills its worker would do so for ever
    db.session.execute(
        update(ScheduledAction)
        .where(ScheduledAction.id.in_(again), ScheduledAction.run_requested_at.is_(None))
        .values(run_requested_at=moment)
    )
    db.session.execute(
        update(ScheduledAction)
        .where(ScheduledAction.running_by_id == worker_id)
        .values(running_by_id=None, running_until=0.0)
    )
    if lost:
        Event.add(["actions"], moment)
    return len(lost)


def _give_back_checks(worker_id: int, moment: datetime) -> int:
    """Have the tests it was at done by another worker, if somebody still waits for them.

    Not one that has an email already: that would be a second one.
    """
    checks = db.session.scalars(
        select(ServerCheck).where(ServerCheck.worker_id == worker_id, ServerCheck.state == "running")
    ).all()
    for check in checks:
        goes_on = check.kind == self_test_rows.KIND and moment - check.requested_at < WORTHWHILE
        if goes_on or (moment - check.requested_at < FRESH and check.line_id is None):
            check.state, check.worker_id, check.steps = "waiting", None, []
        else:
            lose_check(check, moment)
    Event.add([f"check:{check.id}" for check in checks], moment)
    return len(checks)


def lose_check(check: ServerCheck, moment: datetime) -> None:
    """End a test that nobody goes on with; the caller commits."""
    if check.kind == self_test_rows.KIND:
        self_test_rows.abandon(check.id, why("check_lost"), moment)
        return
    reason = why("check_lost" if check.line_id is None else "mail_to_me_lost")
    lost = {"name": "lost", "state": "failed", "why": reason, "seconds": 0.0}
    check.state, check.finished_at, check.steps = "failed", moment, [*check.steps, lost]


def _test_emails(worker_id: int) -> set[int]:
    """Return the lines of the test emails that a worker was at: they are not sent later (docs/decisions/0042)."""
    checks = select(ServerCheck).where(ServerCheck.worker_id == worker_id, ServerCheck.kind == "outgoing_mail")
    lines = {check.line_id for check in db.session.scalars(checks) if check.line_id is not None}
    return lines | self_test_rows.lines_of(worker_id)

"""A worker's life: its row, its heartbeat, and the certainty that nobody else has taken over its work.

A worker that was not seen for ``LEASE`` seconds counts as dead and its lines and chunks are given to others. One that
was only paused must notice before it sends anything more: ``assert_alive`` asks its own clock, which also counts while
the machine sleeps. Whoever recovers a worker fences it first, so that it can't come back to life in between.
"""

import os
import socket
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import or_, select, update

from mail.queue import outages
from mail.settings.clock import now as clock_now
from mail.settings.config import settings
from models import Lease, Worker, change_rows, database_clock, db
from models.store import upsert

LEASE = 10.0  # seconds without a heartbeat after which a worker is dead
MARGIN = 2.0  # seconds before that in which a worker no longer trusts itself


class LeaseLost(Exception):
    """Our work may already have been given to another worker: drop it without another word."""


class Stopping(LeaseLost):
    """This worker was asked to end: drop what is not yet on its way, it is handed back."""


class WorkerLease:
    """The identity of this worker process. ``heartbeat`` keeps it, ``assert_alive`` guards each step outwards."""

    def __init__(self, worker_id: int) -> None:
        self.id = worker_id
        self._seen = elapsed()
        self._at_work_at: datetime | None = None
        self._stopping = False

    @classmethod
    def register(cls, now: datetime) -> "WorkerLease":
        """Return the lease of a new worker row for this process; commits."""
        began, moment = elapsed(), clock_now()
        outages.note(moment)
        row = Worker(
            host=host(), boot=boot(), pid=os.getpid(), started_at=now, at_work_at=moment, seen_at=database_clock()
        )
        db.session.add(row)
        db.session.commit()
        lease = cls(row.id)
        lease._at_work_at = moment
        lease._seen = began
        return lease

    def heartbeat(self, loops: Mapping[str, Any] | None = None) -> None:
        """Say that we live, and what our loops do; raises ``LeaseLost`` if we were declared dead. Commits.

        After a silence that nobody noticed, because the database was away for all, the worker simply goes on.
        """
        began, moment = elapsed(), clock_now()
        if self._at_work_at is not None and not -outages.BACK < moment - self._at_work_at < outages.LONG:
            outages.note(moment)
        said: dict[str, Any] = {"seen_at": database_clock(), "at_work_at": moment}
        if loops is not None:
            said["loops"] = dict(loops)
        kept = change_rows(
            update(Worker).where(Worker.id == self.id, Worker.ended.is_(False), Worker.fenced.is_(False)).values(said)
        )
        db.session.commit()
        if not kept:
            self._seen = float("-inf")  # our threads are to notice at once, whatever our own clock says
            raise LeaseLost(self.id)
        self._seen, self._at_work_at = began, moment

    def assert_alive(self) -> None:
        """Raise ``LeaseLost`` unless our last heartbeat is recent enough that nobody can have taken over."""
        if self._stopping:
            raise Stopping(self.id)
        if elapsed() - self._seen > LEASE - MARGIN:
            raise LeaseLost(self.id)

    def stop(self) -> None:
        """Let everything that works under this lease drop what it has not begun, by ``assert_alive``."""
        self._stopping = True

    def end(self) -> None:
        """Say that we stopped in good order and hold nothing any more; commits."""
        db.session.execute(update(Worker).where(Worker.id == self.id).values(ended=True))
        db.session.commit()


def elapsed() -> float:
    """Return seconds by a clock that nobody sets and that goes on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def host() -> str:
    """Return the name of this machine."""
    return socket.gethostname()


def boot() -> str:
    """Return an id of the present run of this machine (and of its container), so that no process id is mistaken."""
    path = Path("/proc/sys/kernel/random/boot_id")
    if not path.exists():
        return ""
    container = Path("/proc/self/ns/pid")
    return f"{path.read_text().strip()}:{os.readlink(container).strip('pid:[]') if container.exists() else ''}"


def lost_power(its_boot: str) -> bool:
    """Return whether the machine of a worker was started anew since, so that its last writes may be gone.

    A container that was started anew loses nothing: the kernel below it has kept running.
    """
    then, ours = its_boot.partition(":")[0], boot().partition(":")[0]
    return bool(then and ours and then != ours)


# --- the dead


def dead_workers() -> Sequence[Any]:
    """Return the workers whose work must be recovered: declared dead, silent for ``LEASE``, or their process is gone.

    As they were seen: ``fence`` compares.
    """
    silence = (database_clock() - Worker.seen_at).label("silence")
    columns = (Worker.id, Worker.host, Worker.boot, Worker.pid, Worker.seen_at, Worker.fenced, silence)
    rows = db.session.execute(select(*columns).where(Worker.ended.is_(False)).order_by(Worker.id)).all()
    return [row for row in rows if row.fenced or row.silence > LEASE or is_gone(row)]


def alive_ids() -> list[int]:
    """Return the numbers of the workers that show signs of life, in order."""
    alive = (Worker.ended.is_(False), Worker.fenced.is_(False), Worker.seen_at > database_clock() - LEASE)
    return list(db.session.scalars(select(Worker.id).where(*alive).order_by(Worker.id)))


class Clocks:
    """Compares the database's clock with ours: when it was set forward, everybody seems to have been silent for long.

    After such a jump nobody may be judged for a while, until the living have said so once more; nor after a time in
    which the database was away or this machine asleep, because then nobody could say anything.
    """

    JUMP = 3.0  # seconds between two looks by which one clock may be ahead of the other
    ABSENCE = 6.0  # seconds between two looks after which others may have been kept from showing life as well
    PATIENCE = 4.0  # seconds in which the heartbeat of who lives comes at least once

    def __init__(self) -> None:
        self._ahead: float | None = None
        self._looked = float("inf")
        self._trusted_from = float("-inf")

    def trusted(self, database_now: float, own_now: float) -> bool:
        """Return whether the silence of a worker means something now."""
        ahead = database_now - own_now
        jumped = self._ahead is not None and ahead - self._ahead > self.JUMP
        if jumped or own_now - self._looked > self.ABSENCE:
            self._trusted_from = own_now + self.PATIENCE
        self._ahead, self._looked = ahead, own_now
        return own_now >= self._trusted_from


def fence(worker: Any) -> bool:
    """Take from a dead worker the right to come back; returns False if it has just shown that it lives. Commits.

    From here on its heartbeat raises ``LeaseLost``, and what its journal says is final.
    """
    fenced = change_rows(
        update(Worker)
        .where(
            Worker.id == worker.id,
            Worker.ended.is_(False),
            or_(Worker.seen_at == worker.seen_at, Worker.seen_at <= database_clock() - LEASE),
        )
        .values(fenced=True)
    )
    db.session.commit()
    return bool(fenced)


def is_gone(worker: Any) -> bool:
    """Return whether the process of a worker of this machine has ended."""
    if (worker.host, worker.boot) != (host(), boot()) or not worker.boot:
        return False
    try:
        os.kill(worker.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


# --- the right to do something alone


def take(name: str, worker_id: int, seconds: float) -> bool:
    """Return whether this worker has the lease of that name, for so many seconds from now. Commits."""
    db.session.execute(upsert(Lease).values(name=name, until=0.0).on_conflict_do_nothing())
    taken = change_rows(
        update(Lease)
        .where(Lease.name == name, or_(Lease.worker_id == worker_id, Lease.until < database_clock()))
        .values(worker_id=worker_id, until=database_clock() + seconds)
    )
    db.session.commit()
    return bool(taken)


def release(worker_id: int, name: str | None = None) -> None:
    """Give up the lease of that name, or all that this worker has; the caller commits."""
    held = update(Lease).where(Lease.worker_id == worker_id)
    if name is not None:
        held = held.where(Lease.name == name)
    db.session.execute(held.values(until=0.0))


# --- where its journal lies


def was_one_at_work(seconds: float) -> bool:
    """Return whether a worker worked on this database within the last so many seconds."""
    seen = select(Worker.id).where(Worker.seen_at > database_clock() - seconds)
    return db.session.scalar(seen.limit(1)) is not None


def leave_mark(worker_id: int) -> None:
    """Mark our journal folder as the one of this worker: only then a journal that is not there says something."""
    folder = settings().journal_folder
    folder.mkdir(parents=True, exist_ok=True)
    _mark(worker_id).touch()


def journal_is_here(worker_id: int) -> bool:
    """Return whether the journals of a worker, if it wrote any, are in our folder."""
    return _mark(worker_id).exists()


def remove_mark(worker_id: int) -> None:
    """Forget about the journals of a worker that has been recovered."""
    _mark(worker_id).unlink(missing_ok=True)


def _mark(worker_id: int) -> Path:
    return settings().journal_folder / f"{worker_id}.worker"

"""A worker's life: its row, its heartbeat, and the certainty that nobody else has taken over its work.

A worker that was not seen for ``LEASE`` seconds counts as dead and its lines and chunks are given to others. One that
was only paused must notice before it sends anything more: ``assert_alive`` asks its own monotonic clock.
"""

import os
import socket
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from sqlalchemy import select, update

from models import Worker, database_clock, db

LEASE = 10.0  # seconds without a heartbeat after which a worker is dead
MARGIN = 2.0  # seconds before that in which a worker no longer trusts itself


class LeaseLost(Exception):
    """Our work may already have been given to another worker: drop it without another word."""


class WorkerLease:
    """The identity of this worker process. ``heartbeat`` keeps it, ``assert_alive`` guards each step outwards."""

    def __init__(self, worker_id: int) -> None:
        self.id = worker_id
        self._seen = time.monotonic()

    @classmethod
    def register(cls, now: datetime) -> "WorkerLease":
        """Return the lease of a new worker row for this process; commits."""
        began = time.monotonic()
        row = Worker(host=host(), boot=boot(), pid=os.getpid(), started_at=now, seen_at=database_clock())
        db.session.add(row)
        db.session.commit()
        lease = cls(row.id)
        lease._seen = began
        return lease

    def heartbeat(self) -> None:
        """Say that we live; raises ``LeaseLost`` if we were declared dead meanwhile. Commits."""
        began = time.monotonic()
        kept = db.session.execute(
            update(Worker).where(Worker.id == self.id, Worker.ended.is_(False)).values(seen_at=database_clock())
        )
        db.session.commit()
        if not kept.rowcount:  # type: ignore[attr-defined]
            raise LeaseLost(self.id)
        self._seen = began

    def assert_alive(self) -> None:
        """Raise ``LeaseLost`` unless our last heartbeat is recent enough that nobody can have taken over."""
        if time.monotonic() - self._seen > LEASE - MARGIN:
            raise LeaseLost(self.id)

    def end(self) -> None:
        """Say that we stopped in good order and hold nothing any more; commits."""
        db.session.execute(update(Worker).where(Worker.id == self.id).values(ended=True))
        db.session.commit()


def host() -> str:
    """Return the name of this machine."""
    return socket.gethostname()


def boot() -> str:
    """Return an id that changes when this machine is started anew, so that a process id is never mistaken."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else ""


def dead_workers() -> Sequence[Worker]:
    """Return the workers whose work must be recovered: not seen for ``LEASE``, or their process here is gone."""
    rows = db.session.execute(
        select(Worker, (database_clock() - Worker.seen_at).label("silence")).where(Worker.ended.is_(False))
    )
    return [worker for worker, silence in rows if silence > LEASE or _is_gone(worker)]


def _is_gone(worker: Worker) -> bool:
    if (worker.host, worker.boot) != (host(), boot()) or not worker.boot:
        return False
    try:
        os.kill(worker.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False

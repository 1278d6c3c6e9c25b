"""What this process holds: the worker row it works under, and leases of single things, all kept alive by one heartbeat.

Everything that claims lines or chunks does so inside ``claiming()``. When such a piece of work fails, what it had
claimed may be left half done. Then nothing more is claimed until the others have finished, what is left is recovered by
the journals, and the same row goes on. Only if one of them does not finish for long the row is let go of: its claims
are recovered like those of a dead worker, while this process goes on under a new row.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from mail.maintenance import rehearsal, rehearsal_steps
from mail.queue import lease
from mail.queue.lease import LeaseLost, Stopping, WorkerLease
from mail.settings.clock import now
from models import Worker, db
from scheduler.loops import Loop, NotNow

log = logging.getLogger("coquimail.worker")

FINISH = 40.0  # seconds that the others have to finish before the row is let go of: more than any answer of a database
COUNT_EVERY = 60.0  # seconds between two marks by which a database that was restored is known
HELD = 15.0  # seconds that a lease of a single thing outlives its last heartbeat


class WorkerIdentity:
    """The worker rows of this process. ``beat`` is called every two seconds, from a thread of its own."""

    def __init__(self, recover: Callable[[int, datetime], None] = lambda _worker_id, _moment: None) -> None:
        self._lock = threading.Lock()
        self._recover = recover  # what the row holds, by its journals
        self._claims = 0  # pieces of work under way that may have claimed something
        self._failed_at: float | None = None  # when one of them failed, until what it left is recovered
        self._current: WorkerLease | None = None
        self._users: dict[WorkerLease, int] = {}  # also those that were let go of, while they are in use
        self._may_be_cut = 0  # pieces of work that nothing is lost with when the process ends
        self._things: dict[str, WorkerLease] = {}
        self._lost: set[WorkerLease] = set()  # declared dead by somebody else
        self._stopping = False

    def begin(self) -> WorkerLease:
        """Return the lease of a new row of this process; if the database was copied nothing leaves from now on."""
        rehearsal.begin_where_copied(now())
        fresh = WorkerLease.register(now())
        try:
            lease.leave_mark(fresh.id)
        except OSError:  # or each further try would leave one more worker that seems to have died
            fresh.end()
            raise
        with self._lock:
            self._current = fresh
            self._users[fresh] = 0
        log.info("worker %s registered", fresh.id)
        return fresh

    def current(self) -> WorkerLease:
        """Return what this process works under now; raises ``NotNow`` when there is none for the moment."""
        if self._current is None:
            raise NotNow
        return self._current

    @contextmanager
    def work(self, may_be_cut: bool = False) -> Iterator[WorkerLease]:
        """Give the lease for a piece of work; the row is kept alive until its end, and the end of the process waits.

        ``may_be_cut``: nothing is lost when it is cut short, so the process does not wait long for it.
        """
        with self._lock:
            if self._current is None or self._stopping:
                raise NotNow
            held = self._current
            self._users[held] += 1
            self._may_be_cut += may_be_cut
        try:
            yield held
        finally:
            with self._lock:
                self._users[held] -= 1
                self._may_be_cut -= may_be_cut

    @contextmanager
    def claiming(self) -> Iterator[WorkerLease]:
        """Give the lease for a piece of work that claims rows; after a failure inside, what it left is recovered."""
        with self._lock:
            if self._failed_at is not None:
                raise NotNow
            self._claims += 1
        try:
            with self.work() as held:
                yield held
        except (Stopping, NotNow):
            raise
        except BaseException:  # also a generator that is closed in here
            with self._lock:
                self._failed_at = self._failed_at or lease.elapsed()
            raise
        finally:
            with self._lock:
                self._claims -= 1

    @contextmanager
    def alone(self, thing: str) -> Iterator[WorkerLease | None]:
        """Give the lease to the only one of all workers that is in here for this thing, None to the others.

        What is done inside may be cut short by the end of the process.
        """
        with self.work(may_be_cut=True) as held:
            with self._lock:
                ours = thing in self._things
            if ours or not lease.take(thing, held.id, HELD):
                yield None
                return
            with self._lock:
                self._things[thing] = held
            try:
                yield held
            finally:
                with self._lock:
                    del self._things[thing]
                db.session.rollback()
                lease.release(held.id, thing)
                db.session.commit()

    def beat(self, loops: list[Loop]) -> None:
        """Keep what is in use alive, let go of the rest, and make sure that there is a row to work under."""
        for held in list(self._users):
            if held in self._lost:
                continue
            try:
                held.heartbeat({loop.name: loop.says() for loop in loops} if held is self._current else None)
            except LeaseLost:
                log.warning("worker %s was declared dead", held.id)
                self._let_go(held)
                self._lost.add(held)
        for thing, held in list(self._things.items()):
            lease.take(thing, held.id, HELD)
        self._recover_failure()
        for held in self._unused():
            row = db.session.get(Worker, held.id)
            if row is not None:
                lease.fence(row)  # so that its claims are recovered at once
            with self._lock:
                del self._users[held]
            self._lost.discard(held)
        if self._current is None and not self._stopping:
            self.begin()

    def _recover_failure(self) -> None:
        """After a failure: recover what it left once nothing else is under way, and claim again."""
        with self._lock:
            failed_at, held, claims = self._failed_at, self._current, self._claims
        if failed_at is None:
            return
        if held is not None and claims:
            if lease.elapsed() - failed_at < FINISH:
                return
            self._let_go(held)
        elif held is not None:
            self._recover(held.id, now())
        with self._lock:
            self._failed_at = None

    def stop(self) -> None:
        """Let everything under way come to its end; nothing new begins."""
        with self._lock:
            self._stopping = True
            for held in self._users:
                held.stop()

    def busy(self, also_what_may_be_cut: bool = False) -> int:
        """Return how many pieces of work are under way that must not be cut short, or how many in all."""
        with self._lock:
            return sum(self._users.values()) - (0 if also_what_may_be_cut else self._may_be_cut)

    def rows(self) -> list[WorkerLease]:
        """Return all leases that are still ours."""
        return list(self._users)

    def _unused(self) -> list[WorkerLease]:
        with self._lock:
            return [held for held, users in self._users.items() if users == 0 and held is not self._current]

    def _let_go(self, held: WorkerLease) -> None:
        with self._lock:
            if self._current is held:
                self._current = None
                log.warning("worker %s let go of its row: what it holds will be recovered", held.id)


class InstallationWatch:
    """The loop that finds out when a backup is restored while the worker runs: until then its old queue is sent."""

    def __init__(self, identity: WorkerIdentity) -> None:
        self._identity = identity
        self._counted_at = lease.elapsed()

    def work(self) -> bool:
        """Look once, and count once a minute."""
        self._identity.current()
        counts = lease.elapsed() - self._counted_at > COUNT_EVERY
        rehearsal.begin_where_copied(now(), counts)
        if counts:
            self._counted_at = lease.elapsed()
        return False


class RehearsalSteps:
    """The loop that does what the beginning or the end of a rehearsal needs, in one worker of all."""

    def __init__(self, identity: WorkerIdentity) -> None:
        self._identity = identity

    def work(self) -> bool:
        """Do the next piece."""
        if not rehearsal_steps.is_due():
            return False
        with self._identity.alone("rehearsal") as held:
            return held is not None and rehearsal_steps.carry_out(now())

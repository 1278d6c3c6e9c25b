"""The threads that send: as many as are busy and one that is free, so that mail to one server never waits for another.

A wake lets one idle thread look for work. Once it has taken some it calls another one, or adds it when none is idle.
Threads that wait for a server cost next to nothing. Each has a journal of its own for each worker row; connections are
shared (``mail/queue/connections.py``).
"""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime

from mail.decide.limits import Limit, share
from mail.errors import JournalFailed
from mail.mailing import chunks
from mail.outgoing import deliver, waiting
from mail.queue import lease, quota
from mail.queue.connections import Connections, connections_allowed
from mail.queue.journal import Journal
from mail.queue.lease import WorkerLease
from mail.sentences import Why
from mail.settings import parameters, rehearsal
from mail.settings.clock import now
from mail.settings.config import settings
from mail.settings.wake import wake
from models import db, reading, sqlite
from scheduler.identity import WorkerIdentity
from scheduler.loops import NotNow

MOST_THREADS = 60  # of one pool
SURPLUS_AFTER = 30.0  # seconds without work after which a thread that was added ends
SAID_AGAIN = 5.0  # seconds after which lines that came since are told what they wait for
OWN_TROUBLE = 30.0  # seconds for which a thread waits that can't write its journal


class SenderPool(ABC):
    """The sending threads of one lane: some from the start, and one more whenever all there are have become busy."""

    def __init__(
        self, name: str, topic: str, least: int, identity: WorkerIdentity, connections: Connections,
        stopping: Callable[[], bool],
    ) -> None:  # fmt: skip
        self.name, self.topic, self.least = name, topic, least
        self.identity, self.connections, self.stopping = identity, connections, stopping
        self.ring: Callable[[], bool] = lambda: False  # lets an idle thread look for work, if there is one
        self.grow: Callable[[], None] = lambda: None  # adds and starts a thread; the worker knows how
        self._lock = threading.Lock()
        self._numbers: set[int] = set()  # of the threads there are

    @abstractmethod
    def is_due(self) -> bool:
        """Say whether there is something to send that no thread is busy with."""

    @abstractmethod
    def send(self, held: WorkerLease, journal: Journal) -> bool:
        """Send some of it; returns whether there was any."""

    @abstractmethod
    def say(self, reason: Why) -> None:
        """Write down what everything that is due waits for; commits."""

    def thread(self) -> "SendingThread":
        """Return the work of one more thread."""
        with self._lock:
            number = min(set(range(1, len(self._numbers) + 2)) - self._numbers)  # and so the journals stay few
            self._numbers.add(number)
            return SendingThread(number, self)

    def call_another(self) -> None:
        """Have another thread look for more, because the calling one has taken work and is busy with it now."""
        if not self.stopping() and not self.ring() and len(self._numbers) < MOST_THREADS:
            self.grow()

    def may_leave(self, number: int) -> bool:
        """Say whether the thread with this number is to end, because there are more than are needed."""
        with self._lock:
            if len(self._numbers) <= self.least:
                return False
            self._numbers.discard(number)
            return True


class SendingThread:
    """What a sending thread keeps between two pieces of work; used by that thread alone."""

    def __init__(self, number: int, pool: SenderPool) -> None:
        self.name, self._number, self._pool = f"{pool.name}-{number}", number, pool
        self._journal: tuple[WorkerLease, Journal] | None = None
        self._trouble: tuple[float, Why] | None = None
        self._worked_at = time.monotonic()

    def work(self) -> bool:
        """Do the next piece of work; returns whether there was any."""
        self._pool.connections.close_idle()
        if self._trouble and time.monotonic() < self._trouble[0]:
            raise NotNow(self._trouble[1])
        self._trouble = None
        if not self._pool.is_due():
            return False
        with self._pool.identity.claiming() as held:
            try:
                journal = self._journal_of(held)
            except JournalFailed as error:
                db.session.rollback()
                self._trouble = time.monotonic() + OWN_TROUBLE, error.why
                self._pool.say(error.why)
                raise NotNow(error.why) from error
            sent = self._pool.send(held, journal)
        if sent:
            self._worked_at = time.monotonic()
        return sent

    def is_surplus(self) -> bool:
        """Say whether this thread may end: it has had nothing to do for a while, and there are others."""
        return time.monotonic() - self._worked_at > SURPLUS_AFTER and self._pool.may_leave(self._number)

    def _journal_of(self, held: WorkerLease) -> Journal:
        """Return the journal of this thread under a worker row; what an earlier row's journal holds is recovered."""
        if self._journal is None or self._journal[0] is not held:
            self.close()
            self._journal = held, Journal.open(settings().journal_folder, held.id, self.name)
        journal = self._journal[1]
        if journal.is_broken:  # all that it says is recorded: between two pieces of work nothing is in flight
            journal.reset()
        return journal

    def close(self) -> None:
        """Close the journal; it stays for the recovery."""
        if self._journal is not None:
            self._journal[1].close()
            self._journal = None


class PersonalSenders(SenderPool):
    """They send transactional mail: the due lines of one server after the other."""

    def is_due(self) -> bool:
        """Look for due lines of a server that has room."""
        return deliver.next_server(self.connections.servers) is not None

    def send(self, held: WorkerLease, journal: Journal) -> bool:
        """Send the lines of one server; once Custom Email Servers is turned on or off, others may be meant."""
        before = self.connections.custom_off

        def ends() -> bool:
            return self.stopping() or self.connections.custom_off != before

        return deliver.send_some(held, self.connections, journal, ends, self.call_another) > 0

    def say(self, reason: Why) -> None:
        """Put off the lines that are due."""
        waiting.put_off_lines(reason, now())


class MassSenders(SenderPool):
    """They send mailings: one chunk after the other."""

    def is_due(self) -> bool:
        """Look for a mailing with a chunk to send."""
        return chunks.is_due(now(), self.connections.servers.full("mass"))

    def send(self, held: WorkerLease, journal: Journal) -> bool:
        """Send a chunk."""
        with sqlite.patiently():
            return chunks.send_some(held, self.connections, journal, claimed=self.call_another)

    def say(self, reason: Why) -> None:
        """Put off the mailings that are due."""
        waiting.put_off_mailings(reason, now())


class ConnectionShares:
    """The loop that tells the senders how many connections each server record allows this worker, and whether records
    are used: of rehearsals, and of Custom Email Servers.
    """

    def __init__(self, connections: Connections, identity: WorkerIdentity) -> None:
        self._connections, self._servers, self._identity = connections, connections.servers, identity

    def work(self) -> bool:
        """Share what each server allows with the other workers: the limit is one for all of them."""
        own, halted = self._identity.current().id, self._connections.halted
        with reading():
            self._connections.heed(rehearsal.current())
            self._connections.custom_off = not parameters.CUSTOM_SERVERS.get()
            allowed = connections_allowed()
            workers = lease.alive_ids() if any(allowed.values()) else []
        for server, most in allowed.items():
            self._servers.allow(server, share(most, workers, own) if most else None)
        if halted and not self._connections.halted:
            wake()
            wake("mass")
        return False


class ServerWatch:
    """The loop that says what mail waits for while its server is slow or away, and lets go what need not wait longer:
    for a server, or for a limit that was changed. It shares with other processes which domains wait.
    """

    def __init__(self, connections: Connections) -> None:
        self._servers, self._slowdowns = connections.servers, connections.slowdowns
        self._had_server = False
        self._limits: dict[int, list[Limit]] = {}
        self._said: dict[int, float] = {}

    def work(self) -> bool:
        """Look once."""
        moment = now()
        for server, reason in self._servers.why_waiting().items():
            if time.monotonic() - self._said.get(server, float("-inf")) > SAID_AGAIN:
                waiting.say_why(server, reason, moment)
                self._said[server] = time.monotonic()
        has_server = waiting.is_there_a_server()
        if has_server and not self._had_server:
            waiting.free_waiting(moment)
        self._had_server = has_server
        self._free_limited(moment)
        self._slowdowns.share(moment)
        return waiting.leave_records(moment)

    def _free_limited(self, moment: datetime) -> None:
        """Let go what waits for a limit that changed, or for a server that is not used any more."""
        with reading():
            limits = {0: quota.limits_of(0, moment)} | quota.limits_of_all(moment, ~quota.TURNED_OFF)
        for server in limits.keys() | self._limits.keys():
            if limits.get(server) != self._limits.get(server):
                waiting.free_limited(server, moment)
        self._limits = limits

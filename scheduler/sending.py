"""The threads that send: each keeps its own connections and, for each worker row, its own journal."""

from collections.abc import Callable

from mail.mailing import chunks
from mail.outgoing import deliver
from mail.outgoing.deliver import ServerConcurrency
from mail.queue.connections import Connections
from mail.queue.journal import Journal
from mail.queue.lease import WorkerLease
from mail.settings.clock import now
from mail.settings.config import settings
from models import reading
from models.outgoing import due_server
from scheduler.identity import WorkerIdentity


class _SendingThread:
    """What a sending thread keeps between two pieces of work; used by that thread alone."""

    def __init__(self, name: str, identity: WorkerIdentity) -> None:
        self._name, self._identity = name, identity
        self._connections = Connections()
        self._journal: tuple[WorkerLease, Journal] | None = None

    def _journal_of(self, held: WorkerLease) -> Journal:
        """Return the journal of this thread under a worker row; what an earlier row's journal holds is recovered."""
        if self._journal is None or self._journal[0] is not held:
            self._close_journal()
            self._journal = held, Journal.open(settings().journal_folder, held.id, self._name)
        return self._journal[1]

    def _close_journal(self) -> None:
        if self._journal is not None:
            self._journal[1].close()
            self._journal = None

    def close(self) -> None:
        """Say good-bye to the servers; the journal stays for the recovery."""
        self._connections.close()
        self._close_journal()


class PersonalSender(_SendingThread):
    """Sends transactional mail: the due lines of one server after the other."""

    def __init__(
        self, name: str, identity: WorkerIdentity, slots: ServerConcurrency, stopping: Callable[[], bool]
    ) -> None:
        super().__init__(name, identity)
        self._slots, self._stopping = slots, stopping

    def work(self) -> bool:
        """Send the next lines; returns whether there were any."""
        self._connections.close_idle()
        with reading():
            due = due_server(now(), self._slots.full())
        if due is None:
            return False
        with self._identity.claiming() as held:
            journal = self._journal_of(held)
            return deliver.send_some(held, self._connections, journal, self._slots, self._stopping) > 0


class MassSender(_SendingThread):
    """Sends mailings: one chunk after the other."""

    def work(self) -> bool:
        """Send the next chunk; returns whether there was one."""
        self._connections.close_idle()
        with self._identity.claiming() as held:
            return chunks.send_some(held, self._connections, self._journal_of(held))

"""Mail that was kept and waits to be understood: from the practice mailbox, pushed to us, or left by a dead worker."""

from mail.incoming import flow
from mail.settings.clock import now
from scheduler.identity import WorkerIdentity


class Waiting:
    """The loop that understands it."""

    def __init__(self, identity: WorkerIdentity) -> None:
        self._identity = identity

    def work(self) -> bool:
        """Understand what waits; returns whether there was any."""
        with self._identity.work() as held:
            return bool(flow.process_waiting(now(), held))


class PutOff:
    """The loop that understands what takes long, one by one. It may be cut: the next worker finds it again."""

    def __init__(self, identity: WorkerIdentity) -> None:
        self._identity = identity

    def work(self) -> bool:
        """Understand the next one; returns whether there was any."""
        with self._identity.work(may_be_cut=True) as held:
            return bool(flow.process_put_off(now(), held))

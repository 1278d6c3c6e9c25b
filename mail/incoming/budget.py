"""How many bytes of mails this process holds at once, over all mailboxes together."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mail.transport.mailbox import LARGEST_MAIL


class ByteBudget:
    """A number of bytes that is shared: who needs more than is left waits for the others, in the order of asking."""

    def __init__(self, total: int) -> None:
        self._total, self._held = total, 0
        self._turn, self._changed = threading.Lock(), threading.Condition()

    @contextmanager
    def hold(self, octets: int) -> Iterator[None]:
        """Hold so many bytes inside; nothing in here waits for a network, or one slow server would stop the others."""
        wanted = min(octets, self._total)
        with self._turn, self._changed:  # whoever waits keeps the turn, so that no large one is overtaken for ever
            self._changed.wait_for(lambda: self._held + wanted <= self._total)
            self._held += wanted
        try:
            yield
        finally:
            with self._changed:
                self._held -= wanted
                self._changed.notify_all()


MEMORY = ByteBudget(LARGEST_MAIL)  # a mail needs some five times its bytes while it is taken apart and stored

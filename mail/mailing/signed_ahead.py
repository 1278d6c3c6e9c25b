"""Mails of a chunk, put together a few ahead of their turn: another process signs them meanwhile."""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple

from mail.message.dkim import UnsignedHeader
from mail.queue.signing_process import SigningProcess

AHEAD = 32  # mails; half of them at a time, so that the two processes seldom wake each other


class _BegunMail(NamedTuple):
    content: bytes
    headers: list[Callable[[], bytes]]


class SignedAhead:
    """The mails of one chunk; ``render`` returns the mail of a recipient and adds the headers that are to be signed."""

    def __init__(
        self, render: Callable[[Any, list[UnsignedHeader]], bytes], waiting: deque[Any], process: SigningProcess
    ) -> None:
        self.process = process
        self._render, self._waiting = render, waiting
        self._begun: dict[int, _BegunMail] = {}

    def mail_to(self, recipient: Any) -> bytes:
        """Return the signed mail of a recipient; raises what ``render`` raises about it."""
        mail = self._begun.get(recipient.id) or self._begin(recipient)
        self._leave_behind(recipient.id)
        if len(self._begun) < AHEAD // 2:
            self._go_ahead()
        return b"".join([*(header() for header in mail.headers), mail.content])

    def _leave_behind(self, recipient_id: int) -> None:
        """Forget what was begun up to this one: whoever was before it had to wait, and is not in line any more."""
        for begun in list(self._begun):
            del self._begun[begun]
            if begun == recipient_id:
                break

    def _go_ahead(self) -> None:
        for recipient in islice(self._waiting, AHEAD):
            if recipient.id not in self._begun:
                with suppress(Exception):  # it is raised at this recipient's turn
                    self._begun[recipient.id] = self._begin(recipient)
        self.process.send()

    def _begin(self, recipient: Any) -> _BegunMail:
        unsigned: list[UnsignedHeader] = []
        content = self._render(recipient, unsigned)
        return _BegunMail(content, [self._header(one) for one in unsigned])

    def _header(self, unsigned: UnsignedHeader) -> Callable[[], bytes]:
        if unsigned.key != self.process.key:
            return unsigned.signed
        signature = self.process.begin(unsigned.octets)
        return lambda: unsigned.with_signature(signature())

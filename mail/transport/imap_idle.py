"""EDGE: an IMAP folder that stays open between two fetches and says when an email arrives (IDLE, RFC 2177).

While it waits its connection is read by ``heard`` alone, which never blocks: one thread watches over many mailboxes.
The next fetch goes on over the same connection, so a mailbox never has more than one, and logs in once.
"""

import imaplib
import ssl
import time
from collections.abc import Collection, Sequence
from itertools import count as numbers_from
from types import TracebackType
from typing import Any

from mail.errors import ConnectionFailed, MailboxRefused, MailError
from mail.transport.imap_answers import plain
from mail.transport.imap_mailbox import ImapMailbox
from mail.transport.mailbox import After, MailboxTarget

MOST_HEARD = 256 * 1024  # octets that are read at once; whoever sends more is no mail server
END_TIMEOUT = 10.0  # seconds for the end of IDLE: the connection may be long gone

_serial = numbers_from(1)


class IdleNotOffered(ConnectionFailed):  # the mailbox can only be asked
    code = "mailbox_idle_missing"


class IdleRefused(MailboxRefused):  # it offers to say when emails arrive, and does not
    code = "mailbox_idle_refused"


class WaitingMailbox(ImapMailbox):
    """An open IMAP folder that can wait: ``rest`` after a fetch, ``heard`` while it waits, ``go_on`` before the next.

    Leaving its ``with`` block does not close it, unless something failed inside.
    """

    _tag = b""  # of the IDLE command, while the server has not ended it
    _read = b""  # what came since, as far as it is no whole line
    _news = False
    _told = 0  # how often the server named the number of mails when it opened the folder
    _count = 0  # the number that it named last
    _removed = False  # the number says nothing: mails were removed since
    _first_end = 0  # UIDNEXT when this fetch began

    def __init__(self, target: MailboxTarget) -> None:
        super().__init__(target)
        self.opened_at = time.monotonic()
        self._first_end = self.uidnext

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.close()

    def _open(self) -> None:
        super()._open()
        self._told, self._count, self._removed = len(self._untagged("EXISTS")), self._mails, False

    def acknowledge(self, keys: Sequence[str], how: After, folder: str = "") -> Collection[str]:
        self._removed = self._removed or how != "mark_read"
        return super().acknowledge(keys, how, folder)

    def can_wait(self) -> bool:
        """Return whether its server says when emails arrive."""
        with self.our_errors():
            return bool(self.session.has_capability("IDLE"))

    def fileno(self) -> int:
        """Return the descriptor to watch: there is something to hear when it can be read."""
        assert self.line.socket is not None
        return self.line.socket.fileno()

    def rest(self) -> bool:
        """Wait from now on; return False instead when emails have arrived since the fetch began."""
        assert self.line.socket is not None
        with self.our_errors():
            self._imap.noop()
            self._removed = self._removed or bool(self._untagged("EXPUNGE"))
            for number in self._untagged("EXISTS")[self._told :]:
                self._hear_count(int(number))
            if self._news or self.uidnext > self._first_end:
                return False
            self._begin()
        self.line.rest()
        return True

    def heard(self) -> bool:
        """Return whether there is something to fetch; never blocks. Raises what ended the connection."""
        with self.our_errors():
            ended = self._receive()
            *lines, self._read = self._read.split(b"\r\n")
            for line in lines:
                self._hear(line)
            if ended:
                raise imaplib.IMAP4.abort("socket error: EOF")
        return self._news

    def go_on(self) -> None:
        """Stop waiting and open the folder anew. Raises when the connection is gone; it is to be closed then."""
        assert self.line.socket is not None
        self.line.go_on()
        with self.our_errors():
            self.line.socket.settimeout(END_TIMEOUT)
            if self._tag:
                self._imap.send(b"DONE\r\n")
            while self._tag:
                self._hear(self._imap._get_line())
            self.line.socket.settimeout(self.target.timeout_read)
        self.copied.clear()
        self.perhaps_copied.clear()
        self._news, self._read, self._move_to = False, b"", ""
        self._open()
        self._first_end = self.uidnext

    def end(self) -> None:
        """Log out. While it waits no answer is waited for."""
        if not self._tag:
            super().end()
            return
        self._tag = b""
        try:
            self._imap.send(b"DONE\r\nBYE LOGOUT\r\n")
        except (imaplib.IMAP4.error, OSError):
            return

    @property
    def _imap(self) -> Any:
        return self.session._imap

    def _untagged(self, name: str) -> list[bytes]:
        return list(self._imap.untagged_responses.get(name, ()))

    def _begin(self) -> None:
        """Say IDLE and take over from imaplib, with what it has read ahead."""
        sock, imap = self.line.socket, self._imap
        assert sock is not None
        self._tag = b"WAIT%d" % next(_serial)
        imap.send(self._tag + b" IDLE\r\n")
        while not (line := imap._get_line()).startswith(b"+"):
            self._hear(line)
            if not self._tag:
                raise IdleRefused(host=self.target.host, reply=plain(line.decode("utf-8", "replace")))
        sock.setblocking(False)
        try:
            self._read = imap.file.read1(MOST_HEARD) or b""
        except (BlockingIOError, ssl.SSLWantReadError):
            self._read = b""

    def _receive(self) -> bool:
        """Read what has come; return whether the connection has ended."""
        assert self.line.socket is not None
        while True:
            try:
                piece = self.line.socket.recv(65_536)
            except (BlockingIOError, ssl.SSLWantReadError):
                return False
            if not piece:
                return True
            self._read += piece
            if len(self._read) > MOST_HEARD:
                raise ValueError("too much at once")

    def _hear(self, line: bytes) -> None:
        words = line.upper().split(None, 2)
        if words[:1] == [self._tag]:  # the server ended it unasked, or was asked to
            self._tag, self._news = b"", True
        elif words[:1] == [b"*"] and words[1:2] == [b"BYE"]:
            raise imaplib.IMAP4.abort(line.split(None, 2)[2].decode("utf-8", "replace") if len(words) > 2 else "BYE")
        elif words[:1] == [b"*"] and words[2:] == [b"EXISTS"]:
            self._hear_count(int(words[1]))
        elif words[:1] == [b"*"] and words[2:] == [b"EXPUNGE"]:
            self._count -= 1

    def _hear_count(self, count: int) -> None:
        """Some servers name the number of mails although it is the same."""
        self._news = self._news or self._removed or count != self._count
        self._count = count


def close_quietly(mailbox: WaitingMailbox) -> None:
    """Let go of a mailbox, whatever state its connection is in."""
    try:
        mailbox.close()
    except (MailError, OSError, imaplib.IMAP4.error, ValueError):
        return

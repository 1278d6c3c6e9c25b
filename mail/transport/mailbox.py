"""EDGE: what the two ways to read a mailbox have in common: where it is and what comes out of it.

``imap_mailbox.py`` and ``pop3.py`` bring mails in batches that are bounded by count and bytes. A mail is taken from its
server (flagged, moved, deleted) by ``acknowledge`` only, which the caller says after it has stored the batch for good.
A server that says "not now" ends the batches with an error: what it did not give is asked for in the next run.
"""

import contextlib
import socket
import ssl
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Literal, NamedTuple, Protocol, Self

from mail.errors import (
    LoginBlocked,
    LoginRefused,
    MailboxBusy,
    MailboxLater,
    MailboxRefused,
    MailError,
    PasswordLoginOff,
    TokenRefused,
    TookTooLong,
)
from mail.sentences import SENTENCES, Why, why
from mail.transport import network, refusal, sasl
from mail.transport.spool import Spool, bytes_of

Kind = Literal["imap", "pop3"]
After = Literal["mark_read", "move", "delete"]

BATCH_MAILS, BATCH_BYTES = 50, 8 * 1024 * 1024
LARGEST_MAIL = 50 * 1024 * 1024  # above it only the header is brought
LARGEST_HEADER = 256 * 1024
NOT_GIVEN = ("mailbox_mail_unreadable", "mailbox_mail_missing")  # a mail that is listed and did not come


@dataclass(frozen=True)
class MailboxTarget:
    """Where a mailbox is and how to open it: an incoming server without its row. Times are in seconds."""

    name: str
    kind: Kind
    host: str
    port: int
    encryption: Literal["none", "starttls", "tls"] = "tls"
    user: str = ""
    password: str = field(default="", repr=False)
    auth: Literal["password", "oauth2"] = "password"
    tokens: sasl.AccessTokens | None = field(default=None, repr=False, compare=False)
    folder: str = "INBOX"
    shared: str = ""  # the mailbox of somebody else, in which the folder is
    move_to: str = ""  # the folder for fetched mails, which the test tries
    spool: str = ""  # where large mails wait while they come
    verify_tls: bool = True
    trusted_certificate: str = ""  # its SHA-256 fingerprint: this very one, whoever signed it
    timeout_connect: float = 20.0
    timeout_read: float = 60.0
    timeout_run: float = 600.0  # for everything together
    allow_local: bool = False
    read_only: bool = False  # a rehearsal: nothing may change there (IMAP: EXAMINE)


def all_of_them(keys: Sequence[str]) -> Collection[str]:
    """Return every key: the answer of somebody who knows no mail yet."""
    return keys


@dataclass(frozen=True)
class Position:
    """How far the caller has read.

    IMAP goes on after ``last_uid`` if ``uidvalidity`` is the same, else it begins at the first mail. POP3 has no order:
    ``unknown`` is asked which keys are new. Mails up to the UID and before the date of ``old`` are left alone; of POP3,
    the caller leaves those before ``old_before``. ``again``: a mail was refused, each is asked for alone.
    """

    uidvalidity: int = 0
    last_uid: int = 0
    unknown: Callable[[Sequence[str]], Collection[str]] = all_of_them
    old: tuple[int, datetime] | None = None
    old_before: datetime | None = None
    again: bool = False


class ListedMail(NamedTuple):
    """A mail as its server lists it: UID or number, our key for it, its size in octets, its arrival."""

    number: int
    key: str
    size: int
    arrived: datetime | None = None

    @property
    def is_too_large(self) -> bool:
        return self.size > LARGEST_MAIL


@dataclass(frozen=True)
class FetchedMail:
    """One mail as the server gave it.

    ``source_key`` names it in this mailbox for ever: ``uidvalidity.uid``, or the UIDL. ``size`` is the server's word,
    in octets; ``arrived`` is when it reached the mailbox (None for POP3). With a ``problem`` (too large, or the server
    can't give it out) ``raw`` is its header at most.
    """

    source_key: str
    size: int
    arrived: datetime | None
    content: bytes | Spool = field(repr=False)
    problem: Why | None = None

    @property
    def raw(self) -> bytes:
        return bytes_of(self.content)

    @property
    def octets(self) -> int:
        """How much memory its bytes need."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.size

    @property
    def is_missing(self) -> bool:
        """Whether its server lists it and does not give it out."""
        return self.problem is not None and self.problem["code"] in NOT_GIVEN

    def may_be(self, how: After) -> bool:
        """Whether its server may be told so: what we do not have whole is not deleted, what we do not have stays."""
        return self.problem is None or (how != "delete" and not self.is_missing)


@dataclass(frozen=True)
class FetchedBatch:
    """Mails to be stored together; ``position`` is where to go on once they are.

    ``listed`` mails were asked for: each is here, or among those that are ``gone`` from the mailbox.
    """

    mails: tuple[FetchedMail, ...]
    position: Position
    gone: tuple[str, ...] = ()
    listed: int = 0

    @property
    def keys(self) -> list[str]:
        return [mail.source_key for mail in self.mails]


@dataclass(frozen=True)
class Look:
    """What a mailbox looks like from outside. ``keys`` are all UIDLs of a POP3 mailbox, empty for IMAP."""

    capabilities: tuple[str, ...]
    mails: int
    newest: datetime | None = None
    uidvalidity: int = 0
    uidnext: int = 0
    keys: tuple[str, ...] = ()


class Mailbox(Protocol):
    """An open mailbox; a context manager. Every method raises errors of ``mail.errors`` only."""

    uidvalidity: int
    uidnext: int  # 0: its server does not tell
    copied: set[str]  # keys of mails that ``acknowledge`` copied and could not delete: it does not copy them again
    perhaps_copied: set[str]  # of mails that a run before may have copied: ``acknowledge`` looks for their copies first

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def look(self) -> Look:
        """Return what is there, without changing anything."""
        ...

    def batches(self, after: Position) -> Iterator[FetchedBatch]:
        """Yield the mails that the caller does not have yet, oldest first."""
        ...

    def look_again(self, keys: Sequence[str]) -> Iterator[FetchedBatch]:
        """Yield mails that were listed once and not given, as far as the server gives them now."""
        ...

    def acknowledge(self, keys: Sequence[str], how: After, folder: str = "") -> Collection[str]:
        """Mark stored mails as read, move them to ``folder``, or delete them; return those that are done with.

        With POP3 a mail is deleted only by the end of the connection.
        """
        ...


def in_batches(mails: Iterable[ListedMail]) -> Iterator[list[ListedMail]]:
    """Group mails so that no group has more mails or bytes than a batch may; of a too large one only the header counts.

    >>> sizes = enumerate((100, 5_000_000, 5_000_000, 90_000_000, 1))
    >>> [[mail.key for mail in group] for group in in_batches([ListedMail(n, "abcde"[n], size) for n, size in sizes])]
    [['a', 'b'], ['c', 'd', 'e']]
    """
    group, octets = list[ListedMail](), 0
    for mail in mails:
        cost = LARGEST_HEADER if mail.is_too_large else mail.size
        if group and (len(group) >= BATCH_MAILS or octets + cost > BATCH_BYTES):
            yield group
            group, octets = [], 0
        group.append(mail)
        octets += cost
    if group:
        yield group


def too_large(size: int) -> Why:
    """Return the explanation for a mail of which only the header was brought."""
    return why("mailbox_mail_too_large", megabytes=round(size / 1024 / 1024), limit=LARGEST_MAIL // 1024 // 1024)


def check_login(target: MailboxTarget) -> None:
    """Refuse a user or password that would end the line it is sent in (and let it say another command)."""
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in target.user + target.password):
        raise LoginRefused(host=target.host, user=target.user, reply="control characters in user or password")


class MailboxConnection:
    """The way to a server, step by step; both kinds of mailbox go it, and the test shows each step."""

    def __init__(self, target: MailboxTarget, seconds: float | None = None) -> None:
        self.target = target
        self.addresses: list[network.HostAddress] = []
        self.socket: socket.socket | None = None
        self.seconds = seconds or target.timeout_run
        self.greeted = self.late = False
        self._watch = threading.Timer(self.seconds, self._cut)
        self.go_on()

    def go_on(self) -> None:
        """Let the time for all together begin: that of a socket is for each piece, which a server may drip."""
        self.started = time.monotonic()
        self._watch.cancel()
        self._watch = threading.Timer(self.seconds, self._cut)
        self._watch.daemon = True
        self._watch.start()

    def rest(self) -> None:
        """Wait without end from now on: what lies between keeps the connection, or we hear that it is gone."""
        self._watch.cancel()
        network.keep_alive(self.socket)  # type: ignore[arg-type]

    def look_up(self) -> list[network.HostAddress]:
        """Find the addresses of the server."""
        to, left = self.target, self._left(self.target.timeout_connect)
        self.addresses = network.look_up(to.host, to.port, allow_local=to.allow_local, timeout=left)
        return self.addresses

    def connect(self) -> str:
        """Connect and return the address that answered."""
        self.socket = network.open_socket(self.target.host, self.addresses, self._left(self.target.timeout_connect))
        self.socket.settimeout(self.target.timeout_read)
        return str(self.socket.getpeername()[0])

    def secure(self) -> None:
        """Speak TLS from the first byte."""
        assert self.socket is not None
        self.socket.settimeout(self._left(self.target.timeout_connect))
        self.socket = network.start_tls(self.socket, self.target.host, self.context(), self.target.trusted_certificate)
        self.socket.settimeout(self.target.timeout_read)

    def context(self) -> ssl.SSLContext:
        """Return how certificates are checked here."""
        return network.tls_context(verify=self.target.verify_tls and not self.target.trusted_certificate)

    def error_for(self, error: OSError) -> MailError:
        """Return our name for what a socket said."""
        if self.late:
            return TookTooLong(host=self.target.host, seconds=round(self.seconds))
        to, greeted = self.target, self.greeted
        return translate(network.connection_error(error, to.host, to.port, to.timeout_read, greeted))

    def close(self) -> None:
        """Let go of the connection, whatever state it is in."""
        self._watch.cancel()
        if self.socket is not None:
            with contextlib.suppress(OSError):
                self.socket.close()

    def _left(self, limit: float) -> float:
        return max(min(limit, self.seconds - (time.monotonic() - self.started)), 0.05)

    def _cut(self) -> None:
        self.late = True
        if self.socket is not None:
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)


def translate(error: MailError) -> MailError:
    """Return the same error, with the sentence for a mailbox where the one for sending would mislead."""
    ours = f"mailbox_{error.why['code']}"
    if ours in SENTENCES:
        error.why = {"code": ours, "values": error.why["values"]}
    return error


class ProtocolSession(ABC):
    """What both the mailbox and its test say to a server, step by step; all that goes wrong is one of our errors."""

    def __init__(self, target: MailboxTarget, line: MailboxConnection) -> None:
        self.target, self.line = target, line

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def refused(self, said: str) -> MailboxRefused:
        """Return the error for a request that the server refused."""
        kind = MailboxLater if refusal.meaning(said) == "later" else MailboxRefused
        return kind(host=self.target.host, reply=said)

    def login_refused(self, said: str, explained: str = "") -> MailError:
        """Return the error for a refused log-in; ``explained``: what the server said of a token before it did."""
        error = self._login_error(f"{said} ({explained})" if explained else said)
        return sasl.without_password(error, self.target.user, self.target.password)

    def _login_error(self, said: str) -> MailError:
        """Name it: only sometimes the password is to blame."""
        target, codes = self.target, refusal.codes(said)
        if codes & refusal.IN_USE:
            return MailboxBusy(host=target.host, user=target.user, reply=said)
        named = refusal.login_error(said)
        if target.auth == "oauth2" and named in refusal.ABOUT_PASSWORDS:
            named = None  # there was none
        if named:
            return named(host=target.host, user=target.user, reply=said)
        if refusal.meaning(said) == "later":
            return self.refused(said)
        kind: type[MailError] = TokenRefused if target.auth == "oauth2" else LoginRefused
        if codes & refusal.NO_FAULT_OF_THE_PASSWORD:
            kind = LoginBlocked
        elif target.auth == "password" and refusal.takes_no_passwords(target.host):
            kind = PasswordLoginOff
        return kind(host=target.host, user=target.user, reply=said)

    @abstractmethod
    def greet(self) -> str:
        """Read the greeting and return its text."""

    @abstractmethod
    def capabilities(self) -> tuple[str, ...]:
        """Return what the server offers now."""

    @abstractmethod
    def upgrade(self) -> None:
        """Encrypt the connection from here on. A server that can't gets no password: never go on in the open."""

    @abstractmethod
    def login(self) -> None:
        """Log in."""

    @abstractmethod
    def look(self) -> Look:
        """Return what is in the folder, without changing anything."""

    def try_writing(self) -> Why | None:
        """Try what is to be done with fetched mails, as far as it changes none; None where there is nothing to try."""
        return None

    @abstractmethod
    def end(self) -> None:
        """Say good-bye, if there is still somebody to say it to."""

    def start(self) -> None:
        """Go all the way until the server knows us."""
        self.line.look_up()
        self.line.connect()
        if self.target.encryption == "tls":
            self.line.secure()
        self.greet()
        if self.target.encryption == "starttls":
            self.upgrade()
        check_login(self.target)
        self.login()

    def close(self) -> None:
        """Say good-bye and let go of the connection."""
        try:
            self.end()
        finally:
            self.line.close()

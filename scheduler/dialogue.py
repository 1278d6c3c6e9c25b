"""LMTP and SMTP as a receiving server speaks them: aiosmtpd, with what it lacks for mail that must not be lost.

A mail is read in pieces and within the memory that all connections share; its lines may have any length. LMTP gives an
answer to each recipient. There is no log-in: this server takes mail for its own addresses alone.
"""

import asyncio
import re
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any, Protocol

from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP, Envelope, Session, TLSSetupException

PIECE = 64 * 1024  # octets of a mail that are read at once
END = b"\r\n.\r\n"
SIZE = re.compile("[0-9]{1,20}")  # of MAIL FROM (RFC 1870)
MOST_RECIPIENTS = 1000  # of one mail (RFC 5321 asks for a hundred)
MOST_STRANGERS = 20  # recipients that are not ours, from a server elsewhere, since its last mail
SILENCE = 300.0  # seconds (RFC 5321 4.5.3.2.7)
LONGEST = 1200.0  # seconds of one mail: the largest at 42 KB a second
TOO_MUCH = "452 4.3.1 Too many messages at once; try again later"
TOO_MANY_CONNECTIONS = "421 4.7.0 Too many connections; try again later"


class Memory:
    """The octets that mails on their way in may need together, and those of one address elsewhere.

    ``for_others`` of them nobody gets for what was only announced.
    """

    def __init__(self, most: int, of_one: int | None = None, for_others: int = 0) -> None:
        self._left, self._of_one, self._for_others = most, most if of_one is None else of_one, for_others
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, octets: int, peer: str = "", is_announced: bool = False) -> bool:
        """Reserve memory; returns whether there was enough."""
        with self._lock:
            if octets > self._left - (self._for_others if is_announced else 0):
                return False
            if not is_here(peer) and self._taken[peer] + octets > self._of_one:
                return False
            self._left -= octets
            self._taken[peer] += octets
            return True

    def give_back(self, octets: int, peer: str = "") -> None:
        with self._lock:
            self._left += octets
            self._taken -= Counter({peer: octets})  # nothing is kept of those that have none


@dataclass
class ArrivingMail:
    """A mail on its way in. ``refusal``: why it is read to its end and thrown away."""

    memory: Memory
    limit: int
    peer: str = ""
    pieces: list[bytes] = field(default_factory=list)
    taken: int = 0
    size: int = 0
    refusal: str = ""

    def reserve(self, octets: int, is_announced: bool = False) -> bool:
        """Have memory for so many octets in all; returns whether there is enough."""
        more = max(octets - self.taken, 0)
        if more and not self.memory.take(more, self.peer, is_announced):
            return False
        self.taken += more
        return True

    def add(self, piece: bytes) -> None:
        """Take the next piece, if it still fits."""
        self.size += len(piece)
        if self.size > self.limit:
            self.drop(f"552 5.3.4 The message is larger than {self.limit} octets")
        elif not self.refusal and not self.reserve(self.size):
            self.drop(TOO_MUCH)
        elif not self.refusal:
            self.pieces.append(piece)

    def drop(self, refusal: str) -> None:
        """Keep nothing of it."""
        self.refusal = refusal
        self.pieces.clear()
        self.close()

    def whole(self) -> bytes:
        """Return the mail as it was written: without the dots that the dialogue put before other dots."""
        raw = b"".join(self.pieces)
        self.pieces.clear()
        raw = raw.replace(b"\r\n..", b"\r\n.")
        return raw[1:] if raw.startswith(b".") else raw

    def close(self) -> None:
        self.memory.give_back(self.taken, self.peer)
        self.taken = 0


class Desk(Protocol):
    """Who decides about connections and recipients, and stores the mail; each answer is a reply of the dialogue."""

    memory: Memory
    largest: int
    hostname: str

    def admit(self, peer: str) -> bool: ...
    def leave(self, peer: str) -> None: ...
    def may_send(self, peer: str) -> bool: ...
    async def refusal(self, recipient: str) -> str: ...
    async def take(self, session: Session, envelope: Envelope, content: bytes, protocol: str) -> str: ...
    def failed(self, error: Exception) -> None: ...


class _Hooks:
    """What aiosmtpd asks while it reads the commands."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.strangers = 0

    async def handle_EHLO(
        self, _server: SMTP, session: Session, _envelope: Envelope, hostname: str, answers: list[str]
    ) -> list[str]:
        """Offer what we can, and no log-in."""
        session.host_name = hostname
        offered = [answer for answer in answers[:-1] if not answer.startswith("250-AUTH")]
        return [*offered, "250-PIPELINING", "250 ENHANCEDSTATUSCODES"]

    async def handle_MAIL(
        self, _server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Begin a mail, unless its sender has sent very many of late."""
        if not self._desk.may_send(caller_of(session)):
            return "451 4.7.1 Too many messages from your address; try again later"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Take the recipients that are ours."""
        if len(envelope.rcpt_tos) >= MOST_RECIPIENTS:
            return "452 4.5.3 Too many recipients; send the rest separately"
        refusal = await self._desk.refusal(address)
        if not refusal:
            envelope.rcpt_tos.append(address)
            return "250 2.1.5 OK"
        self.strangers += refusal.startswith("5") and not is_here(peer_of(session))
        if self.strangers > MOST_STRANGERS and server.transport is not None:
            asyncio.get_running_loop().call_later(0.1, server.transport.close)
            return "421 4.7.0 Too many recipients that are not here"
        return refusal

    async def handle_exception(self, error: Exception) -> str:
        """Say nothing of our insides to a stranger, and in the log what went wrong."""
        if not isinstance(error, TLSSetupException):
            self._desk.failed(error)
        return "451 4.3.0 Something went wrong here; try again later"


class _Dialogue(SMTP):
    """What LMTP and SMTP have in common."""

    line_length_limit = PIECE  # of the reader; commands have a limit of their own
    one_answer_each = False

    def __init__(self, desk: Desk, **options: Any) -> None:
        self._hooks = _Hooks(desk)
        super().__init__(
            self._hooks,
            data_size_limit=desk.largest,
            enable_SMTPUTF8=True,
            hostname=desk.hostname,
            ident="CoquiMail",
            timeout=SILENCE,
            **options,
        )
        self._desk = desk
        self._admitted = False
        for command in ("AUTH", "HELP", "EXPN"):
            self._smtp_methods.pop(command, None)

    async def _handle_client(self) -> None:
        assert self.session is not None
        self._admitted = self._desk.admit(caller_of(self.session))
        if self._admitted:
            await super()._handle_client()
            return
        await self.push(TOO_MANY_CONNECTIONS)
        self._writer.close()

    def connection_lost(self, error: Exception | None) -> None:
        if self._admitted and self.session is not None:
            self._admitted = False
            self._desk.leave(caller_of(self.session))
        super().connection_lost(error)

    def _getaddr(self, arg: str) -> tuple[str | None, str | None]:
        try:
            found: tuple[str | None, str | None] = super()._getaddr(arg)
        except IndexError:  # what its parser makes of "<": the address is malformed
            return None, None
        return found

    def _getparams(self, params: Sequence[str]) -> dict[str, str | bool] | None:
        found: dict[str, str | bool] | None = super()._getparams(params)
        if found and not SIZE.fullmatch(str(found.get("SIZE", "0"))):  # its own check takes ² for a digit
            return None
        return found

    async def smtp_DATA(self, arg: str) -> None:
        """Read a mail and say what became of it."""
        envelope, session = self.envelope, self.session
        assert envelope is not None and session is not None
        if await self.check_helo_needed():
            return
        if not envelope.rcpt_tos or arg:
            await self.push("501 5.5.4 Syntax: DATA" if arg else "503 5.5.1 No valid recipients")
            return
        content = ArrivingMail(self._desk.memory, self._desk.largest, caller_of(session))
        if not content.reserve(
            _declared_size(envelope), is_announced=True
        ):  # rather than in the middle of two that are both large
            await self.push(TOO_MUCH)
            return
        try:
            await self.push("354 End data with <CR><LF>.<CR><LF>")
            async with asyncio.timeout(LONGEST):
                await self._read(content)
            said = content.refusal or await self._desk.take(session, envelope, content.whole(), self._protocol_name)
        except TimeoutError:
            await self.push("421 4.4.2 The message took too long")
            assert self._handler_coroutine is not None
            self._handler_coroutine.cancel()  # what it has sent since are no commands
            self._writer.close()
            return
        finally:
            content.close()
        if said.startswith("250"):
            self._hooks.strangers = 0
        self._set_post_data_state()  # type: ignore[no-untyped-call]
        await self.push("\r\n".join([said] * (len(envelope.rcpt_tos) if self.one_answer_each else 1)))

    @property
    def _protocol_name(self) -> str:
        """As the Received line of the mail names it (RFC 3848)."""
        return ("LMTP" if self.one_answer_each else "ESMTP") + ("S" if self._tls_protocol else "")

    async def _read(self, content: ArrivingMail) -> None:
        """Read up to the dot that is alone in its line."""
        reader: Any = self._reader
        beginning = await reader.readexactly(3)  # no mail is shorter, its dot included
        if beginning == b".\r\n":
            return
        reader._buffer[:0] = beginning  # the end may begin in it
        while True:
            self._reset_timeout()
            try:
                piece = await reader.readuntil(END)
            except asyncio.LimitOverrunError as long:
                content.add(await reader.readexactly(long.consumed))
                continue
            content.add(piece[: -len(END) + 2])  # the last line ends with its line end
            return


class SmtpDialogue(_Dialogue):
    """Between servers of the internet."""


class LmtpDialogue(_Dialogue, LMTP):
    """From a mail server to the store behind it (RFC 2033)."""

    one_answer_each = True


def _declared_size(envelope: Envelope) -> int:
    """The octets that the sender said the mail has; aiosmtpd has compared it with the limit."""
    sizes = [option[5:] for option in envelope.mail_options if option.startswith("SIZE=")]
    return int(sizes[0]) if sizes else 0


def is_here(peer: str) -> bool:
    """Return whether an IP address is this machine's own; "": by no network."""
    return peer.startswith("127.") or peer in ("::1", "::ffff:127.0.0.1", "")


def peer_of(session: Session) -> str:
    """Return the IP address of whoever is connected."""
    return str(session.peer[0]) if session.peer else ""


def caller_of(session: Session) -> str:
    """Return what a connection counts for: an IP address; by IPv6 its network, of which one machine has all addresses.

    >>> from types import SimpleNamespace as session
    >>> [caller_of(session(peer=(one, 7))) for one in ("192.0.2.1", "2001:db8::7", "fe80::7%eth0", "::1")]
    ['192.0.2.1', '2001:db8::/64', 'fe80::/64', '::1']
    """
    peer = peer_of(session)
    if is_here(peer) or ":" not in peer:
        return peer
    return str(ip_network((peer.partition("%")[0], 64), strict=False))

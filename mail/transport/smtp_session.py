"""EDGE: the dialogue with an outgoing server, from its name to the log-in, within limits of time and size.

``SmtpSession`` opens step by step: look up, connect, secure, greet, introduce, sign in. ``smtp.py`` delivers over it,
and ``smtp_check.py`` shows each step to a person.
"""

import contextlib
import re
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from smtplib import SMTP
from typing import Literal, NoReturn, Self

from mail.errors import (
    ConnectionLost,
    HeloUnusable,
    MailError,
    NotUnderstood,
    StarttlsMissing,
    TlsFailed,
)
from mail.transport import network, sasl, smtp_login
from mail.transport.smtp_answers import greeting_refused, introduction_refused, parts_of, said_in

PIECE = 131_072
REPLY_LIMIT = 65_536
TRANSCRIPT_LIMIT = 16_384

SIGNS_IN = ("password", "oauth2")  # what of ``SmtpTarget.auth`` says a secret to the server

_HELO = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}|\[[A-Za-z0-9:.]{2,60}\]")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


@dataclass(frozen=True)
class SmtpTarget:
    """Where and how to deliver: a server record or the default server, without its row. Times are in seconds."""

    name: str
    host: str
    port: int
    encryption: Literal["none", "starttls", "tls"] = "none"
    auth: Literal["none", "password", "certificate", "oauth2"] = "none"
    user: str = ""
    password: str = field(default="", repr=False)
    tokens: sasl.AccessTokens | None = field(default=None, repr=False, compare=False)
    verify_tls: bool = True
    trusted_certificate: str = ""  # its SHA-256 fingerprint: this very one, whoever signed it
    helo: str = ""
    client_cert: str = ""  # PEM text
    client_key: str = field(default="", repr=False)
    timeout: float = 30.0
    answer_timeout: float = 120.0  # for the answer to the final dot: servers look for viruses there
    allow_local: bool = False


class Transcript:
    """The dialogue as text, for people: bounded, the content left out, secrets masked."""

    def __init__(self, limit: int = TRANSCRIPT_LIMIT) -> None:
        self._limit = limit
        self._lines: list[str] = []
        self._size = 0
        self._secrets: list[str] = []

    def sent(self, line: bytes) -> None:
        self._add("→ ", line)

    def received(self, reply: bytes) -> None:
        self._add("← ", reply)

    def note(self, text: str) -> None:
        """Add a remark of ours: connected, encrypted, so many bytes of content."""
        self._add("· ", text.encode())

    def _add(self, mark: str, line: bytes) -> None:
        if self._size > self._limit:
            return
        for part in sasl.masked(line.decode("utf-8", "replace"), *self._secrets).splitlines():
            shown = mark + _CONTROLS.sub(" ", part)[:1000]
            self._lines.append(shown)
            self._size += len(shown)
        if self._size > self._limit:
            self._lines.append("· … (the rest was left out)")

    def hide(self, secret: str) -> None:
        """Leave a secret out of whatever is said from now on, also by a server that repeats it."""
        self._secrets.append(secret)

    def take(self) -> str:
        """Return what was said since the last call."""
        text = "\n".join(self._lines)
        self._lines, self._size = [], 0
        return text


class SmtpSession(SMTP):
    """The commands of smtplib over a reader of our own, with time limits that hold for a whole answer.

    Raises only errors of ``mail.errors``. Not connected until ``open``.
    """

    ehlo_msg = "EHLO"

    def __init__(self, target: SmtpTarget, transcript: Transcript | None, deadline: float | None = None) -> None:
        super().__init__(local_hostname="localhost", timeout=target.timeout)
        self._host = target.host  # smtplib's name for what the certificate must say
        self.target = target
        self.transcript = transcript
        self.deadline = deadline
        self.greeted = False  # the server has said that it is one
        self.used = False  # a mail was tried over it
        self.accepted = 0  # mails that the server took over it
        self.put_off = 0  # temporary refusals in a row since then
        self._rest = b""

    # --- the socket

    def send(self, s: str | bytes) -> None:  # type: ignore[override]
        """Send a command; smtplib's own methods come here."""
        line = s if isinstance(s, bytes) else s.encode(self.command_encoding)
        if self.transcript:
            self.transcript.sent(line)
        self.transmit(line)

    def transmit(self, line: bytes | memoryview) -> None:
        """Hand bytes to the socket. Its time limit is for all of them: a large mail is transmitted in pieces."""
        if self.sock is None:
            raise ConnectionLost(host=self.target.host)
        try:
            if self.deadline is not None:
                self._limit()
            self.sock.sendall(line)
        except OSError as error:
            raise self.error_for(error) from error

    def ask(self, line: bytes, shown: bytes = b"") -> bytes:
        """Send one command and return the whole answer; `shown` replaces a secret in the transcript."""
        if self.transcript:
            self.transcript.sent(shown or line)
        self.transmit(line)
        return self.read_reply()

    def _hide(self, secret: str) -> None:
        if self.transcript:
            self.transcript.hide(secret)

    def say(self, lines: Sequence[bytes]) -> None:
        """Send commands in one write; their answers are read one after the other."""
        if self.transcript:
            for line in lines:
                self.transcript.sent(line)
        self.transmit(b"".join(lines))

    def getreply(self) -> tuple[int, bytes]:
        """Return code and text, as smtplib's own methods want it."""
        reply = self.read_reply()
        return int(reply[:3]), b"\n".join(line[4:] for line in reply.splitlines())

    def read_reply(self, timeout: float | None = None) -> bytes:
        """Return one whole answer of the server, all its lines; `timeout` (seconds) if it may take longer."""
        data = self._rest or self._receive(timeout)
        if data[3:4] == b" " and data.find(b"\n") == len(data) - 1 and data[:3].isdigit():
            self._rest = b""
        else:
            data = self._read_slowly(data, timeout)
        if self.transcript:
            self.transcript.received(data)
        return data

    def assert_nothing_more(self) -> None:
        """Raise ``NotUnderstood`` when more was answered than asked."""
        if self._rest:
            self.not_understood()

    def _read_slowly(self, data: bytes, timeout: float | None) -> bytes:
        """Answers of several lines, in pieces, or two at once; a server that drips bytes gets no more time for it."""
        until = time.monotonic() + (timeout or self.target.timeout)
        start = 0
        while True:
            newline = data.find(b"\n", start)
            if newline < 0:
                if time.monotonic() > until:
                    raise network.timed_out(self.target.host, timeout or self.target.timeout, self.greeted)
                if len(data) > REPLY_LIMIT or (len(data) - start > 3 and not data[start : start + 3].isdigit()):
                    self.not_understood()
                data += self._receive(timeout)
                continue
            line = data[start : newline + 1]
            if not line[:3].isdigit() or line[3:4] not in (b" ", b"-", b"\r", b"\n"):
                self.not_understood()
            if line[3:4] != b"-":
                self._rest = data[newline + 1 :]
                return line[:3] + data[3 : newline + 1]  # of two codes that of the last line counts (RFC 5321 4.2.1)
            start = newline + 1

    def not_understood(self) -> NoReturn:
        """Raise that it is no SMTP, and not a word of it: it may be a service that is nobody's business here."""
        raise NotUnderstood(host=self.target.host, port=self.target.port)

    def _receive(self, timeout: float | None) -> bytes:
        if self.sock is None:
            raise ConnectionLost(host=self.target.host)
        until = None
        while True:
            try:
                if self.deadline is not None:
                    self._limit()
                data = self.sock.recv(8192)
            except TimeoutError as error:
                # The socket's own limit is the short one, so that no mail pays for changing it twice.
                if timeout is None or self.deadline is not None:
                    raise self.error_for(error) from error
                until = until or time.monotonic() + timeout - self.target.timeout
                if time.monotonic() >= until:
                    raise network.timed_out(self.target.host, timeout, self.greeted) from error
            except OSError as error:
                raise self.error_for(error) from error
            else:
                if not data:
                    raise ConnectionLost(host=self.target.host)
                return data

    def _limit(self) -> None:
        assert self.deadline is not None and self.sock is not None
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.sock.settimeout(min(left, self.target.timeout))

    def error_for(self, error: OSError) -> MailError:
        target = self.target
        return network.connection_error(error, target.host, target.port, target.timeout, self.greeted)

    # --- opening, step by step; the test of a server shows each

    def time_left(self) -> float:
        if self.deadline is None:
            return self.target.timeout
        return max(min(self.deadline - time.monotonic(), self.target.timeout), 0.05)

    def look_up(self) -> list[network.HostAddress]:
        target = self.target
        return network.look_up(target.host, target.port, allow_local=target.allow_local, timeout=self.time_left())

    def reach(self, addresses: Sequence[network.HostAddress]) -> str:
        """Connect and return the address that answered."""
        self.sock = network.open_socket(self.target.host, addresses, self.time_left())
        self.local_hostname = helo_name(self.target.helo) if self.target.helo else _own_name(self.sock)
        ip = str(self.sock.getpeername()[0])
        if self.transcript:
            self.transcript.note(f"connected to {ip}, port {self.target.port}")
        return ip

    def secure(self) -> None:
        """Encrypt the connection from here on."""
        target, plain = self.target, self.sock
        context = network.tls_context(
            verify=target.verify_tls and not target.trusted_certificate,
            client_cert=target.client_cert if target.auth == "certificate" else "",
            client_key=target.client_key,
        )
        assert plain is not None
        plain.settimeout(self.time_left())
        self.sock = None  # wrapping takes the socket over, and closes it if it fails
        secured = network.start_tls(plain, target.host, context, target.trusted_certificate)
        secured.settimeout(target.timeout)
        self.sock = secured
        if self.transcript:
            self.transcript.note(f"encrypted with {secured.version()}")

    def greet(self) -> str:
        """Read the greeting and return its text, or the code alone when it does not say that it is SMTP.

        FTP greets with the same code: what such a service says of itself is nobody's business here.
        """
        transcript, self.transcript = self.transcript, None
        try:
            reply = self.read_reply()
        finally:
            self.transcript = transcript
        if reply[:3] != b"220" and reply[:1] not in (b"4", b"5"):
            self.not_understood()
        shown = reply if b"SMTP" in reply.upper() or reply[:1] != b"2" else b"220 (the text is not shown)"
        if self.transcript:
            self.transcript.received(shown)
        if reply[:1] != b"2":
            raise greeting_refused(self.target.host, parts_of(reply))
        self.greeted = True
        return said_in(shown)

    def introduce(self) -> list[str]:
        """Say EHLO (or HELO to an old server) and return what the server offers."""
        code, text = self.ehlo()
        if code != 250:
            with contextlib.suppress(ConnectionLost):  # it has said why, and hung up
                code, text = self.helo()
            if code != 250:
                raise introduction_refused(self.target.host, parts_of(b"%d %b" % (code, text)))
        return [f"{name.upper()} {value}".strip() for name, value in self.esmtp_features.items()]

    def upgrade(self) -> None:
        """STARTTLS (RFC 3207). A server that does not offer it gets nothing: never fall back to an open connection."""
        if "starttls" not in self.esmtp_features:
            raise StarttlsMissing(host=self.target.host)
        reply = self.ask(b"STARTTLS\r\n")
        if reply[:3] != b"220":  # offered, but not now
            raise TlsFailed(host=self.target.host, detail=said_in(reply))
        if self._rest:  # bytes from before the encryption would be read as if they came after it (CVE-2011-0411)
            self.not_understood()
        self.secure()
        self.helo_resp = self.ehlo_resp = None
        self.esmtp_features, self.does_esmtp = {}, False

    def sign_in(self) -> None:
        """Log in with the password or with a token, as far as the target has one."""
        offered = str(self.esmtp_features.get("auth", "")).upper().split()
        if self.target.auth == "password":
            smtp_login.by_password(self.target, offered, self.ask, self._hide)
        elif self.target.auth == "oauth2":
            smtp_login.by_token(self.target, offered, self.ask, self._hide)

    def open(self) -> Self:
        """Connect, encrypt and log in; on a failure the socket is closed."""
        try:
            self.reach(self.look_up())
            if self.target.encryption == "tls":
                self.secure()
            self.greet()
            self.introduce()
            if self.target.encryption == "starttls":
                self.upgrade()
                self.introduce()
            self.sign_in()
        except BaseException:
            self.close()
            raise
        return self

    def part(self) -> None:
        """Say goodbye if the server still listens, and close."""
        try:
            if self.sock is not None:
                self.sock.settimeout(min(self.target.timeout, 2.0))
                self.send(b"QUIT\r\n")
        except (MailError, OSError):
            pass  # the mails are done, and a goodbye that nobody hears changes nothing
        finally:
            self.close()


def helo_name(name: str) -> str:
    """Return the name that was set for introducing ourselves as it goes over the wire.

    >>> helo_name("bücher.example"), helo_name("[192.0.2.1]")
    ('xn--bcher-kva.example', '[192.0.2.1]')
    """
    try:
        wire = name.strip().encode("idna").decode("ascii")
    except UnicodeError:
        wire = ""
    if not _HELO.fullmatch(wire):
        raise HeloUnusable(name=_CONTROLS.sub(" ", name))
    return wire


def _own_name(connection: socket.socket) -> str:
    """Return how we introduce ourselves when nothing is set: our full name, else our address (RFC 5321 4.1.3)."""
    name = socket.gethostname()
    if "." in name and name.isascii() and not name.endswith((".local", ".localdomain")):
        return name
    ip = str(connection.getsockname()[0]).partition("%")[0]
    return f"[IPv6:{ip}]" if ":" in ip else f"[{ip}]"

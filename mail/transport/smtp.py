"""EDGE: a connection to an outgoing server, one mail at a time, and every answer told apart.

``ServerConnection`` is Flask-Mail's ``Connection`` with what that lacks: time limits, verified TLS, checked addresses,
and a delivery of our own. ``sendmail`` hides whether a cut came before or after the final dot; ``deliver`` says it,
because after the dot nobody knows whether the mail arrived, and before it nothing was sent.
"""

import base64
import contextlib
import hmac
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, NamedTuple, NoReturn, Self

from flask_mail import Connection, _Mail

from smtplib import SMTP  # isort: skip

from mail.errors import (
    ConnectionFailed,
    ConnectionLost,
    GreetingRefused,
    InDoubt,
    InvalidAddress,
    JournalFailed,
    LoginNotOffered,
    LoginRefused,
    MailError,
    NeedsSmtputf8,
    NotUnderstood,
    StarttlsMissing,
    TimedOut,
    TooLarge,
)
from mail.sentences import Why, why
from mail.transport import network

Phase = Literal["connect", "mail", "rcpt", "data", "content", "end"]
StepState = Literal["ok", "warning", "failed", "skipped"]

TEST_SECONDS = 20.0  # a person is waiting
IDLE_SECONDS = 15.0  # after this a kept connection is asked whether it still lives
NOOP_SECONDS = 5.0  # it has this long to say so: a silent one must not cost a mail the whole time limit
EXPIRES_SOON_DAYS = 14
PIECE = 131_072
REPLY_LIMIT = 65_536
TEXT_LIMIT = 500
TRANSCRIPT_LIMIT = 16_384

_ASCII_ADDRESS = re.compile(r"""(?:[!#-'*+\--;=?A-\[\]-~]+|"(?:[ !#-\[\]-~]|\\[ -~])*")@[!#-;=?A-\[\]-~]+""")
_WIDE_ADDRESS = re.compile(r'[^\x00-\x20<>"\\\x7f-\xa0\ud800-\udfff]+@[^\x00-\x20<>"\\@\x7f-\xa0\ud800-\udfff]+')
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s+|$)")
_LEADING_DOT = re.compile(rb"^\.", re.MULTILINE)
_BARE_ENDING = re.compile(rb"\r\n|\r|\n")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


@dataclass(frozen=True)
class SmtpTarget:
    """Where and how to deliver: a server record or the default server, without its row. Times are in seconds."""

    name: str
    host: str
    port: int
    encryption: Literal["none", "starttls", "tls"] = "none"
    auth: Literal["none", "password", "certificate"] = "none"
    user: str = ""
    password: str = field(default="", repr=False)
    verify_tls: bool = True
    helo: str = ""
    client_cert: str = ""  # PEM text
    client_key: str = field(default="", repr=False)
    timeout: float = 30.0
    answer_timeout: float = 120.0  # for the answer to the final dot: servers look for viruses there
    allow_local: bool = False
    max_messages: int = 0  # mails over one connection; 0 = as many as the server likes


class Outcome(NamedTuple):
    """What became of one mail.

    ``phase`` is how far it came: ``connect`` (no connection: the server's trouble, not this mail's), ``mail``,
    ``rcpt``, ``data`` (before the content), ``content`` (while it went out: not complete, so not accepted) or ``end``
    (the answer to the final dot). ``code`` is the server's, None when it gave no answer or was not asked. Exactly one
    of these holds: ``accepted``; ``in_doubt`` (complete, but the answer was never seen); neither: not accepted for
    certain, and ``temporary`` says whether trying again can help. ``why`` explains everything but an accepted mail.
    """

    phase: Phase
    code: int | None
    enhanced: str
    text: str
    accepted: bool
    temporary: bool
    in_doubt: bool
    why: Why | None


class Transcript:
    """The dialogue as text, for people: bounded, the content left out, secrets masked."""

    def __init__(self, limit: int = TRANSCRIPT_LIMIT) -> None:
        self._limit = limit
        self._lines: list[str] = []
        self._size = 0

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
        for part in line.decode("utf-8", "replace").splitlines():
            shown = mark + _CONTROLS.sub(" ", part)[:1000]
            self._lines.append(shown)
            self._size += len(shown)
        if self._size > self._limit:
            self._lines.append("· … (the rest was left out)")

    def take(self) -> str:
        """Return what was said since the last call."""
        text = "\n".join(self._lines)
        self._lines, self._size = [], 0
        return text


class _Session(SMTP):
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
        self.used = False  # a mail was tried over it
        self._rest = b""

    # --- the socket

    def send(self, s: str | bytes) -> None:  # type: ignore[override]
        """Send a command; smtplib's own methods come here."""
        line = s if isinstance(s, bytes) else s.encode(self.command_encoding)
        if self.transcript:
            self.transcript.sent(line)
        self.transmit(line)

    def transmit(self, line: bytes) -> None:
        if self.sock is None:
            raise ConnectionLost(host=self.target.host)
        try:
            if self.deadline is not None:
                self._limit()
            if len(line) <= PIECE:
                self.sock.sendall(line)
                return
            # The time limit of sendall is for all of it: a large mail over a slow line gets it for each piece.
            pieces = memoryview(line)
            for start in range(0, len(line), PIECE):
                self.sock.sendall(pieces[start : start + PIECE])
        except OSError as error:
            raise self.trouble(error) from error

    def ask(self, line: bytes, shown: bytes = b"") -> bytes:
        """Send one command and return the whole answer; `shown` stands in the transcript in place of a secret."""
        if self.transcript:
            self.transcript.sent(shown or line)
        self.transmit(line)
        return self.read_reply()

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

    def _read_slowly(self, data: bytes, timeout: float | None) -> bytes:
        """Answers of several lines, in pieces, or two at once; a server that drips bytes gets no more time for it."""
        until = time.monotonic() + (timeout or self.target.timeout)
        start = 0
        while True:
            newline = data.find(b"\n", start)
            if newline < 0:
                if time.monotonic() > until:
                    raise TimedOut(host=self.target.host, seconds=round(timeout or self.target.timeout))
                if len(data) > REPLY_LIMIT or (len(data) - start > 3 and not data[start : start + 3].isdigit()):
                    self._not_understood(data[start:])
                data += self._receive(timeout)
                continue
            line = data[start : newline + 1]
            if not line[:3].isdigit() or line[3:4] not in (b" ", b"-", b"\r", b"\n"):
                self._not_understood(line)
            if line[3:4] != b"-":
                self._rest = data[newline + 1 :]
                return data[: newline + 1]
            start = newline + 1

    def _not_understood(self, line: bytes) -> NoReturn:
        shown = _CONTROLS.sub(" ", line[:80].decode("ascii", "replace")).strip()
        raise NotUnderstood(host=self.target.host, port=self.target.port, reply=shown)

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
                    raise self.trouble(error) from error
                until = until or time.monotonic() + timeout - self.target.timeout
                if time.monotonic() >= until:
                    raise TimedOut(host=self.target.host, seconds=round(timeout)) from error
            except OSError as error:
                raise self.trouble(error) from error
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

    def trouble(self, error: OSError) -> MailError:
        return network.connection_trouble(error, self.target.host, self.target.port, self.target.timeout)

    # --- opening, step by step; the test of a server shows each

    def time_left(self) -> float:
        if self.deadline is None:
            return self.target.timeout
        return max(min(self.deadline - time.monotonic(), self.target.timeout), 0.05)

    def look_up(self) -> list[network.Address]:
        target = self.target
        return network.look_up(target.host, target.port, allow_local=target.allow_local, timeout=self.time_left())

    def reach(self, addresses: Sequence[network.Address]) -> str:
        """Connect and return the address that answered."""
        self.sock = network.open_socket(self.target.host, addresses, self.time_left())
        self.local_hostname = self.target.helo or _own_name(self.sock)
        ip = str(self.sock.getpeername()[0])
        if self.transcript:
            self.transcript.note(f"connected to {ip}, port {self.target.port}")
        return ip

    def secure(self) -> None:
        """Encrypt the connection from here on."""
        target, plain = self.target, self.sock
        context = network.tls_context(
            verify=target.verify_tls,
            client_cert=target.client_cert if target.auth == "certificate" else "",
            client_key=target.client_key,
        )
        assert plain is not None
        plain.settimeout(self.time_left())
        self.sock = None  # wrapping takes the socket over, and closes it if it fails
        secured = network.start_tls(plain, target.host, context)
        secured.settimeout(target.timeout)
        self.sock = secured
        if self.transcript:
            self.transcript.note(f"encrypted with {secured.version()}")

    def greet(self) -> str:
        """Read the greeting and return its text."""
        reply = self.read_reply()
        if reply[:1] != b"2":
            raise GreetingRefused(host=self.target.host, reply=_said(reply))
        return _said(reply)

    def introduce(self) -> list[str]:
        """Say EHLO (or HELO to an old server) and return what the server offers."""
        code, _ = self.ehlo()
        if code != 250:
            code, text = self.helo()
            if code != 250:
                raise GreetingRefused(host=self.target.host, reply=f"{code} {text.decode('utf-8', 'replace')}")
        return [f"{name.upper()} {value}".strip() for name, value in self.esmtp_features.items()]

    def upgrade(self) -> None:
        """STARTTLS (RFC 3207). A server that does not offer it gets nothing: never fall back to an open connection."""
        if "starttls" not in self.esmtp_features:
            raise StarttlsMissing(host=self.target.host)
        reply = self.ask(b"STARTTLS\r\n")
        if reply[:3] != b"220":
            raise StarttlsMissing(host=self.target.host)
        if self._rest:  # bytes from before the encryption would be read as if they came after it (CVE-2011-0411)
            self._not_understood(self._rest)
        self.secure()
        self.helo_resp = self.ehlo_resp = None
        self.esmtp_features, self.does_esmtp = {}, False

    def sign_in(self) -> None:
        """Log in with user and password by the best way that both sides know (RFC 4954)."""
        offered = str(self.esmtp_features.get("auth", "")).upper().split()
        way = next((way for way in ("PLAIN", "LOGIN", "CRAM-MD5") if way in offered), None)
        if way is None:
            raise LoginNotOffered(host=self.target.host, offered=", ".join(sorted(set(offered))) or "-")
        reply = getattr(self, "_auth_" + way.lower().replace("-", "_"))()
        if reply[:3] == b"503":  # already signed in, for example by the client certificate
            return
        if reply[:1] != b"2":
            raise LoginRefused(host=self.target.host, user=self.target.user, reply=_said(reply))

    def _auth_plain(self) -> bytes:
        secret = f"\0{self.target.user}\0{self.target.password}".encode()  # UTF-8: RFC 4616
        return self.ask(b"AUTH PLAIN " + base64.b64encode(secret) + b"\r\n", b"AUTH PLAIN ***")

    def _auth_login(self) -> bytes:
        reply = self.ask(b"AUTH LOGIN\r\n")
        for secret in (self.target.user, self.target.password):
            if reply[:3] != b"334":
                break
            reply = self.ask(base64.b64encode(secret.encode()) + b"\r\n", b"***")
        return reply

    def _auth_cram_md5(self) -> bytes:
        reply = self.ask(b"AUTH CRAM-MD5\r\n")
        if reply[:3] != b"334":
            return reply
        try:
            challenge = base64.b64decode(reply[4:].strip(), validate=True)
        except ValueError:
            self._not_understood(reply)
        digest = hmac.new(self.target.password.encode(), challenge, "md5").hexdigest()  # RFC 2195 asks for MD5
        answer = base64.b64encode(f"{self.target.user} {digest}".encode())
        return self.ask(answer + b"\r\n", b"***")

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
            if self.target.auth == "password":
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
            pass  # the mails are settled, and a goodbye that nobody hears changes nothing
        finally:
            self.close()


class ServerConnection(Connection):
    """A kept connection to one target; a context manager whose opening raises an error of ``mail.errors``.

    A connection that died between two mails is replaced without a word; one that was idle for more than `idle_seconds`
    is asked first whether it still lives. Not to be shared between threads. With `transcript` the dialogue is kept and
    ``transcript.take()`` gives it.
    """

    host: _Session | None

    def __init__(self, target: SmtpTarget, transcript: bool = False, idle_seconds: float = IDLE_SECONDS) -> None:
        # What Connection reads of Flask-Mail's settings; none of the application's own, and nothing is suppressed.
        super().__init__(
            _Mail(  # type: ignore[arg-type]
                server=target.host,
                username=target.user,
                password=None,
                port=target.port,
                use_tls=target.encryption == "starttls",
                use_ssl=target.encryption == "tls",
                default_sender=None,
                debug=0,
                max_emails=None,
                suppress=False,
                ascii_attachments=False,
            )
        )
        self.target = target
        self.transcript = Transcript() if transcript else None
        self.idle_seconds = idle_seconds
        self._last_used = 0.0

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def configure_host(self) -> _Session:
        """Open, secure and log in."""
        session = _Session(self.target, self.transcript).open()
        self._last_used = time.monotonic()
        return session

    def close(self) -> None:
        """End the connection politely; it can be used again, and then opens anew."""
        if self.host is not None:
            self.host.part()
            self.host = None

    def drop(self) -> None:
        """End the connection at once."""
        if self.host is not None:
            self.host.close()
            self.host = None

    def interrupt(self) -> None:
        """End a delivery that waits for the server in another thread: it returns at once, as for a cut connection."""
        session = self.host
        if session is not None and session.sock is not None:
            with contextlib.suppress(OSError):
                session.sock.shutdown(socket.SHUT_RDWR)

    def deliver(
        self,
        envelope_from: str,
        recipient: str,
        content: bytes,
        before_content: Callable[[], None] | None = None,
        after_accept: Callable[[], None] | None = None,
        after_refusal: Callable[[], None] | None = None,
        ready: bool = False,
    ) -> Outcome:
        """Deliver one mail to one recipient and return what became of it; a failure is an Outcome, never an exception.

        Addresses are bare, domains in ASCII; an empty `envelope_from` is the null sender. `content` is the whole mail;
        line endings that are not CRLF are made so (a bare one lets a second mail be smuggled in), dots are stuffed;
        `ready` skips the search for both, for what ``merge.py`` rendered.
        `before_content` is called after the server asked for the content and before a byte of it goes out: what it
        raises goes through, the connection is dropped and nothing was sent. `after_accept` is called after the 250,
        `after_refusal` when the content was begun and is not accepted for certain; a JournalFailed of these two is
        swallowed, because the outcome stands.
        """
        try:
            kept = self._make_ready()
        except MailError as error:
            return _not_delivered("connect", error)
        outcome = self._deliver(envelope_from, recipient, content, before_content, after_accept, after_refusal, ready)
        if self.host is None and outcome.phase == "mail" and outcome.code in (None, 421) and kept:
            # The server had closed the kept connection before it heard of this mail: the same mail, a new connection.
            try:
                self.host = self.configure_host()
            except MailError as error:
                return _not_delivered("connect", error)
            outcome = self._deliver(
                envelope_from, recipient, content, before_content, after_accept, after_refusal, ready
            )
        return outcome

    def _make_ready(self) -> bool:
        """Make sure that there is a connection for the next mail; return whether it has served another one before."""
        if self.host is not None and self.target.max_messages and self.num_emails >= self.target.max_messages:
            self.close()
        if self.host is not None and time.monotonic() - self._last_used > self.idle_seconds and not self._answers():
            self.drop()
        if self.host is None:
            self.host = self.configure_host()
            self.num_emails = 0
        kept, self.host.used = self.host.used, True
        return kept

    def _answers(self) -> bool:
        session = self.host
        assert session is not None and session.sock is not None
        try:
            session.sock.settimeout(min(NOOP_SECONDS, self.target.timeout))
            alive = session.ask(b"NOOP\r\n")[:1] == b"2"
            session.sock.settimeout(self.target.timeout)
        except (MailError, OSError):
            return False
        return alive

    def _deliver(
        self,
        envelope_from: str,
        recipient: str,
        content: bytes,
        before_content: Callable[[], None] | None,
        after_accept: Callable[[], None] | None,
        after_refusal: Callable[[], None] | None,
        ready: bool,
    ) -> Outcome:
        session = self.host
        assert session is not None
        phase: Phase = "mail"
        try:
            mail, rcpt = _envelope(session, envelope_from, recipient, content)
            reply = session.ask(mail)
            if reply[:1] != b"2":
                return self._refused(phase, reply, envelope_from)
            phase = "rcpt"
            reply = session.ask(rcpt)
            if reply[:1] != b"2":
                return self._refused(phase, reply, recipient)
            phase = "data"
            reply = session.ask(b"DATA\r\n")
            if reply[:3] != b"354":
                return self._refused(phase, reply, recipient)
            if before_content:
                try:
                    before_content()
                except BaseException:
                    self.drop()
                    raise
            phase = "content"
            if session.transcript:
                session.transcript.note(f"{len(content)} bytes of content, then the final dot")
            session.transmit(content + b".\r\n" if ready else _on_the_wire(content))
            phase = "end"
            reply = session.read_reply(self.target.answer_timeout)
        except ConnectionFailed as error:
            return self._cut(phase, error, recipient, after_refusal)
        except (InvalidAddress, NeedsSmtputf8, TooLarge) as error:  # no command was said: the connection is as it was
            return _not_delivered("mail", error)
        self._last_used = time.monotonic()
        if reply[:1] != b"2":
            _tell(after_refusal)
            return self._refused(phase, reply, recipient)
        _tell(after_accept)
        self.num_emails += 1
        code, enhanced, text = _parts(reply)
        return Outcome("end", code, enhanced, text, True, False, False, None)

    def _refused(self, phase: Phase, reply: bytes, address: str) -> Outcome:
        """The server said no. The next mail goes over the same connection, after RSET."""
        code, enhanced, text = _parts(reply)
        temporary = not 500 <= code <= 599
        self._last_used = time.monotonic()
        if code == 421 or not 400 <= code <= 599:  # it is closing, or it is not following the protocol
            self.drop()
        elif phase != "end" and self.host is not None:
            try:
                if self.host.ask(b"RSET\r\n")[:1] != b"2":
                    self.drop()
            except MailError:
                self.drop()
        said = _said(reply)
        reason = why("deferred", reply=said)
        if not temporary:
            reasons = {
                "mail": why("sender_refused", address=address, reply=said),
                "rcpt": why("recipient_refused", address=address, reply=said),
            }
            reason = reasons.get(phase) or why("refused", reply=said)
        return Outcome(phase, code, enhanced, text, False, temporary, False, reason)

    def _cut(
        self, phase: Phase, error: ConnectionFailed, recipient: str, after_refusal: Callable[[], None] | None
    ) -> Outcome:
        """No answer. Until the last byte of the content was handed over, the server can't have accepted the mail."""
        last_words = self._last_words() if phase == "content" and isinstance(error, ConnectionLost) else None
        self.drop()
        if last_words:
            _tell(after_refusal)
            return self._refused(phase, last_words, recipient)
        if phase == "end":
            doubt = InDoubt(host=self.target.host)
            return Outcome(phase, None, "", "", False, False, True, doubt.why)
        if phase == "content":
            _tell(after_refusal)
        return _not_delivered(phase, error)

    def _last_words(self) -> bytes | None:
        """Return the refusal of a server that closed in the middle of the content (too large), if it left one."""
        session = self.host
        if session is None or session.sock is None:
            return None
        try:
            session.sock.settimeout(0.5)
            reply = session.read_reply()
        except (MailError, OSError):
            return None
        return reply if reply[:1] in (b"4", b"5") else None


def _tell(listener: Callable[[], None] | None) -> None:
    if listener:
        with contextlib.suppress(JournalFailed):  # it refuses the next mail by itself; the outcome of this one stands
            listener()


def _not_delivered(phase: Phase, error: MailError) -> Outcome:
    return Outcome(phase, None, "", "", False, error.retry, False, error.why)


def _envelope(session: _Session, envelope_from: str, recipient: str, content: bytes) -> tuple[bytes, bytes]:
    """Return the two commands of the envelope; raises what makes this mail impossible for this server."""
    offered = session.esmtp_features
    options = b""
    if "size" in offered:
        options = b" SIZE=%d" % len(content)
        limit = offered["size"]
        if limit.isdigit() and 0 < int(limit) < len(content):
            raise TooLarge(host=session.target.host, size=len(content), limit=int(limit))
    if not content.isascii():
        if "8bitmime" in offered:
            options += b" BODY=8BITMIME"
        if not content[: content.find(b"\r\n\r\n") + 1].isascii():
            options += _smtputf8(session, recipient)
    if envelope_from.isascii() and recipient.isascii():
        if not (_ASCII_ADDRESS.fullmatch(recipient)):
            raise InvalidAddress(address=recipient)
        if envelope_from and not _ASCII_ADDRESS.fullmatch(envelope_from):
            raise InvalidAddress(address=envelope_from)
    else:
        for address in filter(None, (envelope_from, recipient)):
            fits = (_ASCII_ADDRESS if address.isascii() else _WIDE_ADDRESS).fullmatch(address)
            if not fits or not address.isprintable():
                raise InvalidAddress(address=address)
        if b"SMTPUTF8" not in options:
            options += _smtputf8(session, envelope_from if recipient.isascii() else recipient)
    return b"MAIL FROM:<%b>%b\r\n" % (envelope_from.encode(), options), b"RCPT TO:<%b>\r\n" % recipient.encode()


def _smtputf8(session: _Session, address: str) -> bytes:
    if "smtputf8" not in session.esmtp_features:
        raise NeedsSmtputf8(address=address)
    return b" SMTPUTF8"


def _on_the_wire(content: bytes) -> bytes:
    """Return the content as DATA wants it: CRLF everywhere, dots at line starts doubled, the final dot.

    >>> _on_the_wire(b"Subject: a\\r\\n\\r\\n.\\n.\\n")
    b'Subject: a\\r\\n\\r\\n..\\r\\n..\\r\\n.\\r\\n'
    """
    endings = content.count(b"\r\n")
    if content.count(b"\n") != endings or content.count(b"\r") != endings:
        content = _BARE_ENDING.sub(b"\r\n", content)
    if b"\n." in content or content[:1] == b".":
        content = _LEADING_DOT.sub(b"..", content)
    if content[-2:] != b"\r\n":
        return content + b"\r\n.\r\n"
    return content + b".\r\n"


def _parts(reply: bytes) -> tuple[int, str, str]:
    """Return code, enhanced code (RFC 3463, "" if there is none) and text of an answer.

    >>> _parts(b"550-5.1.1 No such\\r\\n550 5.1.1 user here\\r\\n")
    (550, '5.1.1', 'No such user here')
    """
    enhanced, texts = "", []
    for line in reply.decode("utf-8", "replace").splitlines():
        text = line[4:]
        if found := _ENHANCED.match(text):
            enhanced, text = found[1], text[found.end() :]
        texts.append(text)
    return int(reply[:3]), enhanced, _CONTROLS.sub(" ", " ".join(texts)).strip()[:TEXT_LIMIT]


def _said(reply: bytes) -> str:
    """Return an answer as the server gave it, on one line."""
    code, enhanced, text = _parts(reply)
    return " ".join(filter(None, (str(code), enhanced, text)))


def _own_name(connection: socket.socket) -> str:
    """Return how we introduce ourselves when nothing is set: our full name, else our address (RFC 5321 4.1.3)."""
    name = socket.gethostname()
    if "." in name and name.isascii() and not name.endswith((".local", ".localdomain")):
        return name
    ip = str(connection.getsockname()[0]).partition("%")[0]
    return f"[IPv6:{ip}]" if ":" in ip else f"[{ip}]"


# --- Test Connection


class Step(NamedTuple):
    """One step of a test: `name` is lookup, connect, tls, greeting, capabilities, login or sender; `state` is ok,
    warning, failed or skipped; `seconds` is how long it took."""

    name: str
    state: StepState
    why: Why
    seconds: float

    def as_json(self) -> dict[str, Any]:
        return self._asdict()


def test_steps(
    target: SmtpTarget,
    senders: Sequence[str],
    recipient: str = "",
    transcript: Transcript | None = None,
    seconds: float = TEST_SECONDS,
) -> Iterator[Step]:
    """Try a server the way a delivery would and yield each step as it is known, all within `seconds`.

    For each of `senders` (bare addresses) MAIL FROM and RCPT are said and taken back by RSET: no mail is sent. The
    recipient is `recipient`, else the sender itself. What follows a failed step is yielded as skipped. The dialogue is
    added to `transcript`, secrets masked.
    """
    return _Test(target, senders, recipient, transcript, seconds).run()


test_steps.__test__ = False  # type: ignore[attr-defined]  # pytest takes the name for a test


class _Test:
    __test__ = False

    def __init__(
        self,
        target: SmtpTarget,
        senders: Sequence[str],
        recipient: str,
        transcript: Transcript | None,
        seconds: float,
    ) -> None:
        self.session = _Session(target, transcript, deadline=time.monotonic() + seconds)
        self.seconds = seconds
        self.target = target
        self.senders = list(dict.fromkeys(senders))
        self.recipient = recipient
        self.addresses: list[network.Address] = []
        self.offered: list[str] = []
        self.trouble: Why | None = None

    def run(self) -> Iterator[Step]:
        steps: list[tuple[str, Callable[[], tuple[StepState, Why]]]] = [
            ("lookup", self.look_up),
            ("connect", self.connect),
        ]
        speak = [("greeting", self.greet), ("capabilities", self.introduce)]
        secure = [("tls", self.secure)]
        steps += secure + speak if self.target.encryption == "tls" else speak + secure
        steps.append(("login", self.sign_in))
        try:
            for name, action in steps:
                yield self._step(name, action)
            for sender in self.senders:
                yield self._step("sender", lambda sender=sender: self.send_as(sender))  # type: ignore[misc]
        finally:
            self.session.part()

    def _step(self, name: str, action: Callable[[], tuple[StepState, Why]]) -> Step:
        if self.trouble:
            return Step(name, "skipped", self.trouble, 0.0)
        started = time.monotonic()
        state: StepState
        try:
            state, reason = action()
        except MailError as error:
            state, reason = "failed", error.why
            out_of_time = self.session.deadline is not None and time.monotonic() >= self.session.deadline
            self.trouble = (
                why("test_out_of_time", seconds=round(self.seconds)) if out_of_time else why("test_not_tried")
            )
        return Step(name, state, reason, round(time.monotonic() - started, 3))

    def look_up(self) -> tuple[StepState, Why]:
        self.addresses = self.session.look_up()
        shown = ", ".join(dict.fromkeys(address.ip for address in self.addresses))
        return "ok", why("test_name_found", host=self.target.host, addresses=shown)

    def connect(self) -> tuple[StepState, Why]:
        address = self.session.reach(self.addresses)
        return "ok", why("test_connected", address=address, port=self.target.port)

    def greet(self) -> tuple[StepState, Why]:
        return "ok", why("test_greeting", reply=self.session.greet())

    def introduce(self) -> tuple[StepState, Why]:
        return "ok", why("test_capabilities", offered=", ".join(self.session.introduce()) or "-")

    def secure(self) -> tuple[StepState, Why]:
        if self.target.encryption == "none":
            return ("warning" if self.target.auth == "password" else "skipped"), why("test_tls_off")
        if self.target.encryption == "tls":
            self.session.secure()
        else:
            self.session.upgrade()
            self.session.introduce()
        return certificate_seen(self.session.sock, self.target.verify_tls)

    def sign_in(self) -> tuple[StepState, Why]:
        if self.target.auth == "password":
            self.session.sign_in()
            return "ok", why("test_login", user=self.target.user)
        if self.target.auth == "certificate":
            return "ok", why("test_login_by_certificate")
        return "skipped", why("test_login_off")

    def send_as(self, sender: str) -> tuple[StepState, Why]:
        session, recipient = self.session, self.recipient or sender
        try:
            mail, rcpt = _envelope(session, sender, recipient, b"")
        except (InvalidAddress, NeedsSmtputf8) as error:
            return "failed", error.why
        reply = session.ask(mail)
        sender_taken = reply[:1] == b"2"
        if sender_taken:
            reply = session.ask(rcpt)
        recipient_taken = sender_taken and reply[:1] == b"2"
        if reply[:3] != b"421":
            session.ask(b"RSET\r\n")
        said = _said(reply)
        if recipient_taken:
            return "ok", why("test_sender", address=sender)
        if reply[:1] == b"4":
            return "failed", why("test_sender_deferred", address=sender, reply=said)
        if sender_taken:
            return "failed", why("test_sender_but_recipient", address=sender, recipient=recipient, reply=said)
        return "failed", why("sender_refused", address=sender, reply=said)


def certificate_seen(connection: socket.socket | None, verified: bool) -> tuple[StepState, Why]:
    """Return what the test says of an encrypted connection."""
    assert isinstance(connection, ssl.SSLSocket)
    version = connection.version()
    if not verified:
        return "warning", why("test_tls_unverified", version=version)
    certificate = connection.getpeercert() or {}
    expires = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
    days = int((expires.timestamp() - time.time()) // 86400)
    if days < EXPIRES_SOON_DAYS:
        return "warning", why("test_tls_expires_soon", version=version, expires=f"{expires:%Y-%m-%d}", days=days)
    return "ok", why("test_tls", version=version, expires=f"{expires:%Y-%m-%d}")

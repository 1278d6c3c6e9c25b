"""EDGE: a connection to an outgoing server, one mail at a time, and every answer told apart.

``ServerConnection`` is Flask-Mail's ``Connection`` with what that lacks: time limits, verified TLS, checked addresses,
and a delivery of our own. ``sendmail`` hides whether a cut came before or after the final dot; ``deliver`` says it,
because after the dot nobody knows whether the mail arrived, and before it nothing was sent.
"""

import contextlib
import re
import socket
import time
from collections.abc import Callable
from types import TracebackType
from typing import Literal, NamedTuple

from flask_mail import Connection, _Mail

from mail.errors import (
    ConnectionFailed,
    ConnectionLost,
    InDoubt,
    InvalidAddress,
    JournalFailed,
    MailError,
    NeedsSmtputf8,
    TooLarge,
)
from mail.sentences import Why, why
from mail.transport.smtp_session import SmtpSession, SmtpTarget, Transcript, parts_of, said_in

Phase = Literal["connect", "mail", "rcpt", "data", "content", "end"]

IDLE_SECONDS = 15.0  # after this a kept connection is asked whether it still lives
NOOP_SECONDS = 5.0  # it has this long to say so: a silent one must not cost a mail the whole time limit

_ASCII_ADDRESS = re.compile(r"""(?:[!#-'*+\--;=?A-\[\]-~]+|"(?:[ !#-\[\]-~]|\\[ -~])*")@[!#-;=?A-\[\]-~]+""")
_WIDE_ADDRESS = re.compile(r'[^\x00-\x20<>"\\\x7f-\xa0\ud800-\udfff]+@[^\x00-\x20<>"\\@\x7f-\xa0\ud800-\udfff]+')
_LEADING_DOT = re.compile(rb"^\.", re.MULTILINE)
_BARE_ENDING = re.compile(rb"\r\n|\r|\n")


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


class ServerConnection(Connection):
    """A kept connection to one target; a context manager whose opening raises an error of ``mail.errors``.

    A connection that died between two mails is replaced without a word; one that was idle for more than `idle_seconds`
    is asked first whether it still lives. Not to be shared between threads. With `transcript` the dialogue is kept and
    ``transcript.take()`` gives it.
    """

    host: SmtpSession | None

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

    def configure_host(self) -> SmtpSession:
        """Open, secure and log in."""
        session = SmtpSession(self.target, self.transcript).open()
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
                self._make_ready()
            except MailError as error:
                return _not_delivered("connect", error)
            outcome = self._deliver(
                envelope_from, recipient, content, before_content, after_accept, after_refusal, ready
            )
        return outcome

    def _make_ready(self) -> bool:
        """Make sure that there is a connection for the next mail; return whether it has served another one before."""
        if self.host is not None and time.monotonic() - self._last_used > self.idle_seconds and not self._answers():
            self.drop()
        if self.host is None:
            self.host = self.configure_host()
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
            mail, rcpt = envelope(session, envelope_from, recipient, content)
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
        code, enhanced, text = parts_of(reply)
        return Outcome("end", code, enhanced, text, True, False, False, None)

    def _refused(self, phase: Phase, reply: bytes, address: str) -> Outcome:
        """The server said no. The next mail goes over the same connection, after RSET."""
        code, enhanced, text = parts_of(reply)
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
        said = said_in(reply)
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


def envelope(session: SmtpSession, envelope_from: str, recipient: str, content: bytes) -> tuple[bytes, bytes]:
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


def _smtputf8(session: SmtpSession, address: str) -> bytes:
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

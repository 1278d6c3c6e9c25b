"""EDGE: a connection to an outgoing server, one mail at a time, and every answer told apart.

``ServerConnection`` is Flask-Mail's ``Connection`` with what that lacks: time limits, verified TLS, checked addresses,
and a delivery of our own. ``sendmail`` hides whether a cut came before or after the final dot; ``deliver`` says it,
because after the dot nobody knows whether the mail arrived, and before it nothing was sent.
"""

import contextlib
import time
from collections.abc import Callable
from types import TracebackType
from typing import Literal, NamedTuple

from flask_mail import Connection, _Mail

from mail.errors import (
    ConnectionFailed,
    ConnectionLost,
    InDoubt,
    JournalFailed,
    MailError,
    MailUnusable,
    UnexpectedFailure,
)
from mail.sentences import Why
from mail.transport.sasl import SignInWaits
from mail.transport.smtp_answers import parts_of, reason_of, speaks_of_session
from mail.transport.smtp_envelope import envelope, largest_mail, on_the_wire
from mail.transport.smtp_meanings import RefusedAt
from mail.transport.smtp_session import PIECE, SmtpSession, SmtpTarget, Transcript

Phase = Literal["connect", "mail", "rcpt", "data", "content", "end"]

IDLE_SECONDS = 15.0  # after this a kept connection is asked whether it still lives
NOOP_SECONDS = 5.0  # it has this long to say so: a silent one must not cost a mail the whole time limit
IN_A_ROW = 3  # mails that a connection which worked puts off one after the other before a new one is tried


class Outcome(NamedTuple):
    """What became of one mail.

    ``phase`` is how far it came: ``connect`` (no connection: the server's trouble, not this mail's), ``mail``,
    ``rcpt``, ``data`` (before the content), ``content`` (while it went out: not complete, so not accepted) or ``end``
    (the answer to the final dot). ``code`` is the server's, None when it gave no answer or was not asked. Exactly one
    of these holds: ``accepted``; ``in_doubt`` (complete, but the answer was never seen); neither: not accepted for
    certain, and ``temporary`` says whether trying again can help. ``why`` explains everything but an accepted mail.
    ``victims`` is how many mails right before this one were put off only because the connection had taken its share.
    """

    phase: Phase
    code: int | None
    enhanced: str
    text: str
    accepted: bool
    temporary: bool
    in_doubt: bool
    why: Why | None
    victims: int = 0


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
        self.most_mails: int | None = None  # that the server takes over one connection, as far as that was learned
        self.largest: int | None = None  # octets of one mail that it takes, as it said last
        self.extra_headers = b""  # what the record of the server adds to each mail
        self.signs_itself = False  # it puts DKIM signatures on mails
        self.shares_sender = False  # it takes no sender with a plus
        self.rehearses = False  # it leads to the practice mailbox in place of a server
        self._last_used = 0.0
        self._phase: Phase = "connect"
        self._new_one_helps = True  # not so after one that changed nothing
        self._used: SmtpSession | None = None  # the connection of the last attempt
        self._was_kept = False

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
        self._last_used, self.largest = time.monotonic(), largest_mail(session)
        return session

    def close(self) -> None:
        """End the connection politely; it can be used again, and then opens anew."""
        if self.host is not None:
            self.host.part()
            self.host = None

    def keep_transcript(self, wanted: bool) -> None:
        """Begin or end keeping the dialogue."""
        if wanted != (self.transcript is not None):
            self.transcript = Transcript() if wanted else None
            if self.host is not None:
                self.host.transcript = self.transcript

    def drop(self) -> None:
        """End the connection at once."""
        if self.host is not None:
            self.host.close()
            self.host = None

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
        """Deliver one mail to one recipient and return what became of it; a failure is an Outcome, no exception.

        Addresses are bare, domains in ASCII; an empty `envelope_from` is the null sender. `content` is the whole mail;
        line endings that are not CRLF are made so (a bare one lets a second mail be smuggled in), dots are stuffed;
        `ready` skips the search for both, for what ``template.py`` rendered.
        `before_content` is called after the server asked for the content and before a byte of it goes out: what it
        raises goes through, the connection is dropped and nothing was sent. `after_accept` is called after the 250,
        `after_refusal` when the content was begun and is not accepted for certain; a JournalFailed of these two is
        swallowed, because the outcome stands.
        ``SignInWaits`` goes through as well: without a token nothing is tried.
        A connection that was cut before the mail was complete, or that has taken all the mails that its server takes
        over one, is replaced once, and the mail goes out over the new one.
        """
        mail = _Submission(envelope_from, recipient, content, before_content, after_accept, after_refusal, ready)
        outcome = self._attempt(mail)
        used = self._used
        if used is None or not self._worth_a_new_connection(outcome, used):
            return outcome
        self.close()
        again = self._attempt(mail)
        if outcome.code is None:
            return again
        self._new_one_helps = again.accepted
        if again.accepted and used.accepted:
            self.most_mails = min(used.accepted, self.most_mails or used.accepted)
            return again._replace(victims=used.put_off - 1)
        return again

    def _attempt(self, mail: "_Submission") -> Outcome:
        self._used = None
        try:
            self._make_ready()
        except SignInWaits:  # no try at all: it goes through
            raise
        except MailError as error:
            return _not_delivered("connect", error)
        except Exception as error:
            return _not_delivered("connect", unexpected(error))
        session = self._used = self.host
        assert session is not None
        outcome = self._deliver(session, mail)
        session.used = True
        if outcome.accepted:
            session.accepted, session.put_off, self._new_one_helps = session.accepted + 1, 0, True
        elif outcome.code is not None and outcome.temporary:
            session.put_off += 1
        return outcome

    def _worth_a_new_connection(self, outcome: Outcome, used: SmtpSession) -> bool:
        """Say whether a mail failed because of the connection: it was cut, or it has had its share of mails."""
        if outcome.accepted or outcome.in_doubt or outcome.phase == "connect":
            return False
        if outcome.code is None:
            return outcome.temporary and outcome.why is not None and outcome.why["code"] == ConnectionLost.code
        if outcome.code == 421 and outcome.phase == "mail" and self._was_kept:
            return True
        if not used.accepted:
            return False
        if speaks_of_session(parts_of(f"{outcome.code} {outcome.text}".encode())) or outcome.code == 421:
            return True
        wordless = outcome.phase in ("mail", "data") or used.put_off >= IN_A_ROW
        return outcome.temporary and wordless and self._new_one_helps

    def _make_ready(self) -> None:
        """Make sure that there is a connection for the next mail."""
        if self.host is not None and self.most_mails is not None and self.host.accepted >= self.most_mails:
            self.close()
        if self.host is not None and time.monotonic() - self._last_used > self.idle_seconds and not self._answers():
            self.drop()
        if self.host is None:
            self.host = self.configure_host()
        self._was_kept = self.host.used

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

    def _deliver(self, session: SmtpSession, mail: "_Submission") -> Outcome:
        try:
            refusal = self._offer(session, mail)
        except Exception as error:
            return self._failed(error, mail)
        if refusal is not None:
            return self._refused(refusal, mail)
        if mail.before_content:
            try:
                mail.before_content()
            except BaseException:
                self.drop()
                raise
        try:
            reply = self._hand_over(session, mail)
        except Exception as error:
            return self._failed(error, mail)
        if reply[:1] != b"2":
            _tell(mail.after_refusal)
            return self._refused(reply, mail)
        self._last_used = time.monotonic()
        _tell(mail.after_accept)
        return Outcome("end", *parts_of(reply), True, False, False, None)

    def _offer(self, session: SmtpSession, mail: "_Submission") -> bytes | None:
        """Say sender and recipient and ask for the content to be wanted; return the refusal, None if there is none."""
        self._phase = "mail"
        try:
            sender, recipient = envelope(session, mail.envelope_from, mail.recipient, mail.content)
        except MailError:
            raise
        except Exception as error:
            raise MailUnusable(error=type(error).__name__, detail=str(error)[:200]) from error
        commands: list[tuple[Phase, bytes]] = [("mail", sender), ("rcpt", recipient), ("data", b"DATA\r\n")]
        if "pipelining" in session.esmtp_features:
            refusal = self._offer_at_once(session, commands)
        else:
            refusal = self._offer_in_turn(session, commands)
        if refusal is None:
            session.assert_nothing_more()  # or what it said too early would pass for the answer to the content
        return refusal

    def _offer_in_turn(self, session: SmtpSession, commands: list[tuple[Phase, bytes]]) -> bytes | None:
        for phase, command in commands:
            self._phase = phase
            reply = session.ask(command)
            if not _goes_on(phase, reply):
                return reply
        return None

    def _offer_at_once(self, session: SmtpSession, commands: list[tuple[Phase, bytes]]) -> bytes | None:
        """Say all three without waiting in between (RFC 2920), and return the first refusal."""
        session.say([command for _, command in commands])
        refusal: bytes | None = None
        for phase, _ in commands:
            if refusal is None:
                self._phase = phase
            try:
                reply = session.read_reply()
            except MailError:
                if refusal is None:
                    raise
                self.drop()  # it has said no, and hung up
                break
            if refusal is None and not _goes_on(phase, reply):
                refusal = reply
            elif refusal is not None and reply[:3] == b"354":
                self.drop()  # it waits for a content that nobody would get (RFC 2920 3.1)
        return refusal

    def _hand_over(self, session: SmtpSession, mail: "_Submission") -> bytes:
        """Transmit the content and return the answer. Doubt begins with the write that holds the final dot."""
        self._phase = "content"
        if session.transcript:
            session.transcript.note(f"{len(mail.content)} bytes of content, then the final dot")
        content, ending = (mail.content, b".\r\n") if mail.ready else on_the_wire(mail.content)
        rest = content
        if len(content) > PIECE:
            pieces = memoryview(content)
            last = (len(content) - 1) // PIECE * PIECE
            for start in range(0, last, PIECE):
                session.transmit(pieces[start : start + PIECE])
            rest = bytes(pieces[last:])
        self._phase = "end"
        session.transmit(rest + ending)
        reply = session.read_reply(self.target.answer_timeout)
        if reply[:1] not in b"245":
            session.not_understood()  # nobody knows whether that is a yes
        return reply

    def _failed(self, error: Exception, mail: "_Submission") -> Outcome:
        if isinstance(error, ConnectionFailed):
            return self._cut(error, mail)
        if isinstance(error, MailError):  # no command was said: the connection is as it was
            return _not_delivered("mail", error)
        return self._cut(unexpected(error), mail)

    def _refused(self, reply: bytes, mail: "_Submission") -> Outcome:
        """The server said no. The next mail goes over the same connection, after RSET."""
        answer = parts_of(reply)
        at: RefusedAt = self._phase if self._phase in ("mail", "rcpt", "data") else "end"
        self._last_used = time.monotonic()
        if answer.code == 421 or not 400 <= answer.code <= 599:  # it is closing, or it is not following the protocol
            self.drop()
        elif self._phase not in ("content", "end") and self.host is not None:
            try:
                if self.host.ask(b"RSET\r\n")[:1] != b"2":
                    self.drop()
            except MailError:
                self.drop()
        reason = reason_of(at, answer, mail.envelope_from, mail.recipient, self.target.host)
        return Outcome(self._phase, *answer, False, answer.temporary, False, reason)

    def _cut(self, error: ConnectionFailed, mail: "_Submission") -> Outcome:
        """No answer. Until the write with the final dot was begun, the server can't have accepted the mail."""
        phase = self._phase
        last_words = self._last_words() if phase in ("content", "end") and isinstance(error, ConnectionLost) else None
        self.drop()
        if last_words:
            _tell(mail.after_refusal)
            return self._refused(last_words, mail)
        if phase == "end":
            return Outcome(phase, None, "", "", False, False, True, InDoubt(host=self.target.host).why)
        if phase == "content":
            _tell(mail.after_refusal)
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


class _Submission(NamedTuple):
    """What ``deliver`` was asked for."""

    envelope_from: str
    recipient: str
    content: bytes
    before_content: Callable[[], None] | None
    after_accept: Callable[[], None] | None
    after_refusal: Callable[[], None] | None
    ready: bool


def _goes_on(phase: Phase, reply: bytes) -> bool:
    return reply[:3] == b"354" if phase == "data" else reply[:1] == b"2"


def _tell(listener: Callable[[], None] | None) -> None:
    if listener:
        with contextlib.suppress(JournalFailed):  # it will refuse the next mail; the outcome of this one stands
            listener()


def _not_delivered(phase: Phase, error: MailError) -> Outcome:
    return Outcome(phase, None, "", "", False, error.retry, False, error.why)


def unexpected(error: Exception) -> UnexpectedFailure:
    """Return our name for what nobody thought of."""
    return UnexpectedFailure(error=type(error).__name__, detail=str(error)[:200])

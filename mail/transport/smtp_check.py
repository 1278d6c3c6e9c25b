"""EDGE: Test Connection of an outgoing server: every step that a delivery would take, told as it is known."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from socket import socket

from mail.errors import InvalidAddress, NeedsSmtputf8
from mail.sentences import Why, why
from mail.transport import network
from mail.transport.smtp_answers import parts_of, reason_of, said_in
from mail.transport.smtp_envelope import envelope
from mail.transport.smtp_session import SmtpSession, SmtpTarget, Transcript
from mail.transport.steps import TEST_SECONDS, Action, ConnectionStep, ConnectionTest, StepState, certificate_seen


def test_steps(
    target: SmtpTarget,
    senders: Sequence[str],
    recipient: str = "",
    transcript: Transcript | None = None,
    seconds: float = TEST_SECONDS,
) -> Iterator[ConnectionStep]:
    """Try a server the way a delivery would and yield each step as it is known, all within `seconds`.

    For each of `senders` (bare addresses) MAIL FROM and RCPT are said and taken back by RSET: no mail is sent. The
    recipient is `recipient`, else the sender itself. What follows a failed step is yielded as skipped. The dialogue is
    added to `transcript`, secrets masked.
    """
    return _SmtpTest(target, senders, recipient, transcript, seconds).run()


test_steps.__test__ = False  # type: ignore[attr-defined]  # pytest takes the name for a test


class _SmtpTest(ConnectionTest):
    __test__ = False

    def __init__(
        self,
        target: SmtpTarget,
        senders: Sequence[str],
        recipient: str,
        transcript: Transcript | None,
        seconds: float,
    ) -> None:
        super().__init__(target.host, target.port, target.encryption, seconds)
        self.session = SmtpSession(target, transcript, deadline=time.monotonic() + seconds)
        self.target = target
        self.senders = list(dict.fromkeys(senders))
        self.recipient = recipient
        self.addresses: list[network.HostAddress] = []

    def look_up(self) -> list[network.HostAddress]:
        self.addresses = self.session.look_up()
        return self.addresses

    def connect(self) -> str:
        return self.session.reach(self.addresses)

    def greet(self) -> str:
        return self.session.greet()

    def introduce(self) -> Sequence[str]:
        return self.session.introduce()

    def secure(self) -> tuple[StepState, Why]:
        if self.target.encryption == "none":
            return ("warning" if self.target.auth == "password" else "skipped"), why("test_tls_off")
        if self.target.encryption == "tls":
            self.session.secure()
        else:
            self.session.upgrade()
            self.session.introduce()
        return certificate_seen(self.session.sock, self.target.verify_tls, self.target.trusted_certificate)

    def again_without_trust(self) -> ConnectionTest:
        target = replace(self.target, verify_tls=False, trusted_certificate="")
        return _SmtpTest(target, (), "", None, self.seconds)

    def connection(self) -> socket | None:
        return self.session.sock

    def sign_in(self) -> tuple[StepState, Why]:
        if self.target.auth == "password":
            self.session.sign_in()
            return "ok", why("test_login", user=self.target.user)
        if self.target.auth == "certificate":
            return "ok", why("test_login_by_certificate")
        return "skipped", why("test_login_off")

    def further(self) -> list[tuple[str, Action]]:
        return [("sender", partial(self.send_as, sender)) for sender in self.senders]

    def out_of_time(self) -> bool:
        return self.session.deadline is not None and time.monotonic() >= self.session.deadline

    def end(self) -> None:
        self.session.part()

    def send_as(self, sender: str) -> tuple[StepState, Why]:
        session, recipient = self.session, self.recipient or sender
        try:
            mail, rcpt = envelope(session, sender, recipient, b"")
        except (InvalidAddress, NeedsSmtputf8) as error:
            return "failed", error.why
        reply = session.ask(mail)
        sender_taken = reply[:1] == b"2"
        if sender_taken:
            reply = session.ask(rcpt)
        recipient_taken = sender_taken and reply[:1] == b"2"
        if reply[:3] != b"421":
            session.ask(b"RSET\r\n")
        said = said_in(reply)
        if recipient_taken:
            return "ok", why("test_sender", address=sender)
        if reply[:1] == b"4":
            return "failed", why("test_sender_deferred", address=sender, reply=said)
        if sender_taken:
            return "failed", why("test_sender_but_recipient", address=sender, recipient=recipient, reply=said)
        return "failed", reason_of("mail", parts_of(reply), sender, recipient, self.target.host)

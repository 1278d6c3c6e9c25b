"""EDGE: Test Connection of an outgoing server: every step that a delivery would take, told as it is known."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from socket import socket

from mail.errors import ConnectionLost, InvalidAddress, NeedsSmtputf8
from mail.sentences import Why, why
from mail.transport import network
from mail.transport.smtp_answers import Answer, parts_of, reason_of
from mail.transport.smtp_envelope import envelope
from mail.transport.smtp_meanings import RefusedAt
from mail.transport.smtp_session import SIGNS_IN, SmtpSession, SmtpTarget, Transcript
from mail.transport.steps import (
    TEST_SECONDS,
    ConnectionStep,
    ConnectionTest,
    FurtherStep,
    StepState,
    certificate_seen,
)

# What says that the recipient of the test does not exist or takes nothing; the server is well.
ABOUT_RECIPIENT = frozenset(("no_such_mailbox", "no_such_domain", "recipient_disabled", "mailbox_full"))


def test_steps(
    target: SmtpTarget,
    senders: Sequence[str],
    recipient: str = "",
    transcript: Transcript | None = None,
    seconds: float = TEST_SECONDS,
) -> Iterator[ConnectionStep]:
    """Try a server the way a delivery would and yield each step as it is known, all within `seconds`.

    For each of `senders` (bare addresses) MAIL FROM and RCPT TO are said, a step each, and taken back by RSET: no mail
    is sent. The recipient is `recipient`, else the sender itself. What follows a failed step
    is yielded as skipped. The dialogue is added to `transcript`, secrets masked.
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
        self.rcpt_command = b""

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
            says_secret = self.target.auth in SIGNS_IN
            return ("warning", why("test_tls_off")) if says_secret else ("skipped", why("test_tls_off_no_login"))
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
        if self.target.auth in SIGNS_IN:
            self.session.sign_in()
            return "ok", why("test_login", user=self.target.user)
        if self.target.auth == "certificate":
            return "ok", why("test_login_by_certificate")
        return "skipped", why("test_login_off")

    def further(self) -> list[FurtherStep]:
        steps = []
        for sender in self.senders:
            steps.append(FurtherStep("mail_from", partial(self.say_sender, sender), sender))
            steps.append(FurtherStep("rcpt_to", partial(self.say_recipient, sender), sender))
        return steps

    def out_of_time(self) -> bool:
        return self.session.deadline is not None and time.monotonic() >= self.session.deadline

    def end(self) -> None:
        self.session.part()

    def say_sender(self, sender: str) -> tuple[StepState, Why]:
        """Say who a mail would be from; the recipient is said only if that is accepted."""
        self.rcpt_command = b""
        recipient = self.recipient or sender
        try:
            mail_command, rcpt_command = envelope(self.session, sender, recipient, b"")
        except (InvalidAddress, NeedsSmtputf8) as error:
            return "failed", error.why
        reply = self.session.ask(mail_command)
        if reply[:1] == b"2":
            self.rcpt_command = rcpt_command
            return "ok", why("test_mail_from", address=sender)
        self.take_back(reply)
        return "failed", self.refused("mail", parts_of(reply), sender, recipient)

    def say_recipient(self, sender: str) -> tuple[StepState, Why]:
        """Say whom a mail would be to, and take everything back."""
        if not self.rcpt_command:
            return "skipped", why("test_not_tried")
        recipient = self.recipient or sender
        reply = self.session.ask(self.rcpt_command)
        self.take_back(reply)
        if reply[:1] == b"2":
            return "ok", why("test_sender", address=sender)
        answer = parts_of(reply)
        reason = self.refused("rcpt", answer, sender, recipient)
        if reason["code"] in ABOUT_RECIPIENT:
            return "warning", why("test_recipient", address=sender, recipient=recipient, reply=str(answer))
        return "failed", reason

    def take_back(self, reply: bytes) -> None:
        """End the mail that was begun, unless the server is hanging up: what it said before is the reason."""
        if reply[:3] != b"421":
            with contextlib.suppress(ConnectionLost):
                self.session.ask(b"RSET\r\n")

    def refused(self, at: RefusedAt, answer: Answer, sender: str, recipient: str) -> Why:
        """Return why an address was not accepted; what passes is to be tested again, not to be waited for."""
        reason = reason_of(at, answer, sender, recipient, self.target.host)
        if answer.temporary:
            return why("test_sender_deferred", address=sender, reply=str(answer), cause=reason["code"])
        if reason["code"] == "recipient_refused":  # in words that we do not know
            return why("test_sender_but_recipient", address=sender, recipient=recipient, reply=str(answer))
        return reason

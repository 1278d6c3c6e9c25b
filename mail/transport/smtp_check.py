"""EDGE: Test Connection of an outgoing server: every step that a delivery would take, told as it is known."""

import time
from collections.abc import Callable, Iterator, Sequence

from mail.errors import InvalidAddress, MailError, NeedsSmtputf8
from mail.sentences import Why, why
from mail.transport import network
from mail.transport.smtp import envelope
from mail.transport.smtp_session import Session, SmtpTarget, Transcript, said_in
from mail.transport.steps import TEST_SECONDS, Step, StepState, certificate_seen


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
        self.session = Session(target, transcript, deadline=time.monotonic() + seconds)
        self.seconds = seconds
        self.target = target
        self.senders = list(dict.fromkeys(senders))
        self.recipient = recipient
        self.addresses: list[network.Address] = []
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
        return "failed", why("sender_refused", address=sender, reply=said)

"""EDGE: open a mailbox, and test one: the one place that knows both kinds."""

from collections.abc import Iterator
from dataclasses import replace
from socket import socket

from mail.errors import MailError
from mail.sentences import Why, why
from mail.transport import imap, imap_idle, imap_mailbox, network, pop3
from mail.transport.mailbox import Mailbox, MailboxConnection, MailboxTarget, ProtocolSession, check_login, translate
from mail.transport.sasl import AccessTokens
from mail.transport.steps import TEST_SECONDS, ConnectionStep, ConnectionTest, FurtherStep, StepState, certificate_seen


def open_mailbox(target: MailboxTarget) -> Mailbox:
    """Return the mailbox, connected, logged in and with its folder open; raises an error of ``mail.errors``."""
    _have_token(target.tokens)
    return imap_mailbox.ImapMailbox(target) if target.kind == "imap" else pop3.Pop3Mailbox(target)


def open_to_wait(target: MailboxTarget) -> imap_idle.WaitingMailbox:
    """Return an IMAP mailbox that can stay open after the fetch."""
    _have_token(target.tokens)
    return imap_idle.WaitingMailbox(target)


def _have_token(tokens: AccessTokens | None) -> None:
    """Connect to nothing while nobody would be let in."""
    if tokens is None:
        return
    try:
        tokens.current()
    except MailError as error:
        raise translate(error) from None


def test_steps(target: MailboxTarget) -> Iterator[ConnectionStep]:
    """Open a mailbox the way fetching does and yield each step as it is known, all within 20 seconds.

    The names are lookup, connect, tls, greeting, capabilities, login, folder, and writing with IMAP. No mail
    changes; a folder that fetched mails are moved to is made when it is missing. What follows a failed step is yielded
    as skipped.
    """
    return _test_of(target).run()


test_steps.__test__ = False  # type: ignore[attr-defined]  # pytest takes the name for a test


def _test_of(target: MailboxTarget) -> "_MailboxTest":
    line = MailboxConnection(target, seconds=TEST_SECONDS)
    speaks = imap.ImapSession if target.kind == "imap" else pop3.Pop3Session
    return _MailboxTest(speaks(target, line))


class _MailboxTest(ConnectionTest):
    """A test of a mailbox: the conversation with each step told."""

    __test__ = False

    def __init__(self, conversation: ProtocolSession) -> None:
        self.target, self.line, self.conversation = conversation.target, conversation.line, conversation
        super().__init__(self.target.host, self.target.port, self.target.encryption, self.line.seconds)

    def look_up(self) -> list[network.HostAddress]:
        return self.line.look_up()

    def connect(self) -> str:
        return self.line.connect()

    def greet(self) -> str:
        return self.conversation.greet()

    def introduce(self) -> tuple[str, ...]:
        return self.conversation.capabilities()

    def secure(self) -> tuple[StepState, Why]:
        if self.target.encryption == "none":
            return "warning", why("mailbox_test_tls_off")
        if self.target.encryption == "tls":
            self.line.secure()
        else:
            self.conversation.upgrade()
        return certificate_seen(self.line.socket, self.target.verify_tls, self.target.trusted_certificate)

    def again_without_trust(self) -> ConnectionTest:
        return _test_of(replace(self.target, verify_tls=False, trusted_certificate=""))

    def connection(self) -> socket | None:
        return self.line.socket

    def sign_in(self) -> tuple[StepState, Why]:
        check_login(self.target)
        self.conversation.login()
        return "ok", why("test_login", user=self.target.user)

    def further(self) -> list[FurtherStep]:
        steps = [FurtherStep("folder", self.look)]
        if self.target.kind != "imap" or self.target.read_only:
            return steps
        return [*steps, FurtherStep("writing", self.write)]

    def out_of_time(self) -> bool:
        return self.line.late

    def end(self) -> None:
        self.conversation.close()

    def reason(self, error: MailError) -> Why:
        return translate(error).why

    def write(self) -> tuple[StepState, Why]:
        tried = self.conversation.try_writing()
        assert tried is not None
        return "warning" if tried["code"] == "mailbox_read_only" else "ok", tried

    def look(self) -> tuple[StepState, Why]:
        seen = self.conversation.look()
        folder = self.target.folder if self.target.kind == "imap" else "INBOX"
        if seen.mails == 0:
            return "ok", why("mailbox_test_empty", folder=folder)
        if seen.newest is None:
            return "ok", why("mailbox_test_mails", folder=folder, count=seen.mails)
        newest = f"{seen.newest:%Y-%m-%d %H:%M} UTC"
        return "ok", why("mailbox_test_newest", folder=folder, count=seen.mails, newest=newest)

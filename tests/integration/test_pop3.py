"""Reading a mailbox by POP3, from a real Dovecot; scripted servers only for faults that it can't be made to have."""

import socket
import threading
from collections.abc import Collection, Sequence
from dataclasses import replace

import pytest

from mail import errors
from mail.sentences import say
from mail.transport.mailbox import LARGEST_MAIL, FetchedBatch, MailboxTarget, Position
from mail.transport.mailbox_open import open_mailbox, test_steps
from mail.transport.pop3 import Pop3Mailbox
from tests.servers.certificates import Authority
from tests.servers.dovecot import Dovecot
from tests.servers.misbehaving import Script, dialogue, misbehaving, says, silent
from tests.servers.process import HOST, free_port
from tests.waiting import wait_until


@pytest.fixture
def target(dovecot: Dovecot, mailbox: str, trusted: Authority) -> MailboxTarget:
    return MailboxTarget(
        "Sales", "pop3", HOST, dovecot.port("pop3", "tls"), "tls", mailbox, dovecot.password, allow_local=True
    )


class Known:
    """A caller that remembers what it stored."""

    def __init__(self) -> None:
        self.keys: set[str] = set()

    def unknown(self, keys: Sequence[str]) -> Collection[str]:
        return set(keys) - self.keys

    def store(self, batch: FetchedBatch) -> None:
        self.keys.update(batch.keys)

    @property
    def position(self) -> Position:
        return Position(unknown=self.unknown)


def mail(subject: str, size: int = 0) -> bytes:
    lines = b"0123456789abcdef\r\n" * (size // 18)
    return f"From: a@customer.test\r\nSubject: {subject}\r\n\r\n".encode() + lines


def subjects(batches: list[FetchedBatch]) -> list[str]:
    return [mail.raw.split(b"\r\n")[1].decode().removeprefix("Subject: ") for batch in batches for mail in batch.mails]


def all_batches(target: MailboxTarget, after: Position | None = None) -> list[FetchedBatch]:
    with open_mailbox(target) as box:
        return list(box.batches(after or Position()))


# --- what comes out


@pytest.mark.parametrize("encryption", ["none", "starttls", "tls"])
def test_every_mail_comes_once_and_whole(
    dovecot: Dovecot, mailbox: str, target: MailboxTarget, encryption: str
) -> None:
    sent = [
        b"From: a@b.test\r\nSubject: dots\r\n\r\n.one\r\n..two\r\n.\r\n\r\n",
        b"From: a@b.test\r\nSubject: wide\r\n\r\n" + b"<td>" * 50_000 + b"\r\n",
        b"From: a@b.test\r\nSubject: raw bytes\r\n\r\n" + bytes(range(1, 10)) + b"\xff\xe4\r\n",
        *[mail(f"mail {number}") for number in range(20)],
    ]
    for raw in sent:
        dovecot.append(mailbox, raw)
    port = dovecot.port("pop3", encryption)
    batches = all_batches(replace(target, encryption=encryption, port=port))  # type: ignore[arg-type]
    assert [mail.raw for batch in batches for mail in batch.mails] == sent


def test_batches_are_bounded_by_count_and_by_bytes(dovecot: Dovecot, mailbox: str, target: MailboxTarget) -> None:
    for number in range(60):
        dovecot.append(mailbox, mail(f"mail {number}"))
    for number in range(5):
        dovecot.append(mailbox, mail(f"big {number}", 3_000_000))
    assert [len(batch.mails) for batch in all_batches(target)] == [50, 12, 2, 1]


def test_only_what_the_caller_does_not_know_is_fetched(dovecot: Dovecot, mailbox: str, target: MailboxTarget) -> None:
    known = Known()
    for number in range(60):
        dovecot.append(mailbox, mail(f"mail {number}"))
    with open_mailbox(target) as box:
        known.store(next(iter(box.batches(known.position))))  # and the connection ends before the second
    dovecot.append(mailbox, mail("later"))
    rest = all_batches(target, known.position)
    assert subjects(rest) == [f"mail {number}" for number in range(50, 60)] + ["later"]


@pytest.mark.parametrize("how", ["mark_read", "move"])
def test_nothing_is_deleted_unless_that_was_chosen(
    dovecot: Dovecot, mailbox: str, target: MailboxTarget, how: str
) -> None:
    dovecot.append(mailbox, mail("one"))
    with open_mailbox(target) as box:
        for batch in box.batches(Position()):
            box.acknowledge(batch.keys, how, "Done")  # type: ignore[arg-type]
    assert len(dovecot.mails(mailbox)) == 1


def test_deleted_are_the_stored_mails_and_no_others(dovecot: Dovecot, mailbox: str, target: MailboxTarget) -> None:
    for number in range(51):
        dovecot.append(mailbox, mail(f"mail {number}"))
    with open_mailbox(target) as box:
        batches = box.batches(Position())
        box.acknowledge(next(batches).keys, "delete")
        next(batches)  # read, but not acknowledged
        dovecot.append(mailbox, mail("arrived meanwhile"))
    wait_until(lambda: len(dovecot.mails(mailbox)) == 2)
    left = [stored.raw.split(b"\n")[1] for stored in dovecot.mails(mailbox)]
    assert left == [b"Subject: mail 50", b"Subject: arrived meanwhile"]


def test_a_cut_before_the_end_deletes_nothing_and_loses_nothing(
    dovecot: Dovecot, mailbox: str, target: MailboxTarget
) -> None:
    known = Known()
    for number in range(60):
        dovecot.append(mailbox, mail(f"mail {number}"))
    with pytest.raises(errors.MailError), open_mailbox(target) as box:
        for batch in box.batches(known.position):
            known.store(batch)
            box.acknowledge(batch.keys, "delete")
            dovecot.kill()
    dovecot.start()
    assert len(dovecot.mails(mailbox)) == 60
    assert subjects(all_batches(target, known.position)) == [f"mail {number}" for number in range(50, 60)]


def test_of_a_mail_over_the_limit_only_the_header_comes(dovecot: Dovecot, mailbox: str, target: MailboxTarget) -> None:
    dovecot.append(mailbox, mail("huge", LARGEST_MAIL + 1_000_000))
    dovecot.append(mailbox, mail("small"))
    with open_mailbox(target) as box:
        (batch,) = box.batches(Position())
        box.acknowledge([mail.source_key for mail in batch.mails if mail.may_be("delete")], "delete")
    huge, small = batch.mails
    assert huge.problem and huge.problem["code"] == "mailbox_mail_too_large"
    assert huge.raw == b"From: a@customer.test\r\nSubject: huge\r\n\r\n"
    assert small.problem is None
    wait_until(lambda: [b"huge" in stored.raw[:60] for stored in dovecot.mails(mailbox)] == [True])


# --- the test that a person starts


def codes(target: MailboxTarget) -> list[tuple[str, str, str]]:
    return [(step.name, step.state, step.why["code"]) for step in test_steps(target)]


def test_a_good_mailbox_says_what_is_there(dovecot: Dovecot, mailbox: str, target: MailboxTarget) -> None:
    dovecot.append(mailbox, mail("one"))
    steps = list(test_steps(target))
    assert [(step.name, step.state) for step in steps] == [
        ("lookup", "ok"), ("connect", "ok"), ("tls", "warning"), ("greeting", "ok"), ("capabilities", "ok"),
        ("login", "ok"), ("folder", "ok"),
    ]  # fmt: skip
    assert say(steps[-1].why) == "Folder INBOX found, 1 message."
    assert len(dovecot.mails(mailbox)) == 1


def test_each_step_that_fails_names_its_cause(dovecot: Dovecot, target: MailboxTarget) -> None:
    cases = [
        (replace(target, port=free_port()), "connect", "mailbox_connection_refused"),
        (replace(target, port=dovecot.port("pop3")), "tls", "mailbox_tls_failed"),
        (replace(target, password="wrong"), "login", "mailbox_login_refused"),
        (replace(target, password="x\r\nQUIT"), "login", "mailbox_login_refused"),
    ]
    for tried, name, code in cases:
        failed = [step for step in codes(tried) if step[1] == "failed"]
        assert failed == [(name, "failed", code)]


# --- servers that misbehave


def reach(port: int, **changes: object) -> MailboxTarget:
    target = MailboxTarget("Odd", "pop3", HOST, port, "none", "u", "p", allow_local=True)
    return replace(target, **changes)  # type: ignore[arg-type]


GREETING = b"+OK hello\r\n"
SPEAKS = {
    b"CAPA": b"-ERR what?\r\n",
    b"USER": b"+OK\r\n",
    b"PASS": b"+OK\r\n",
    b"UIDL": b"+OK\r\n1 first\r\n2 second\r\n3 third\r\n.\r\n",
    b"LIST": b"+OK\r\n1 7\r\n2 7\r\n3 7\r\n.\r\n",
    b"RETR": b"+OK\r\nhello\r\n.\r\n",
    b"QUIT": b"+OK\r\n",
}


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (silent, errors.TimedOut),
        (says(b"* OK this is IMAP\r\n"), errors.NotUnderstood),
        (says(b"-ERR overloaded\r\n"), errors.GreetingRefused),
        (says(b"+OK half a line"), errors.TimedOut),
        (dialogue(GREETING, SPEAKS | {b"PASS": b"-ERR [IN-USE] locked\r\n"}, b"-ERR\r\n"), errors.MailboxBusy),
        (dialogue(GREETING, SPEAKS | {b"PASS": b"-ERR wrong\r\n"}, b"-ERR\r\n"), errors.LoginRefused),
        (dialogue(GREETING, SPEAKS | {b"UIDL": b"-ERR not here\r\n"}, b"-ERR\r\n"), errors.MailboxUnusable),
        (dialogue(GREETING, SPEAKS | {b"UIDL": b"+OK\r\nx y\r\n.\r\n"}, b"-ERR\r\n"), errors.NotUnderstood),
        (dialogue(GREETING, SPEAKS | {b"RETR": b"+OK\r\nno end"}, b"-ERR\r\n"), errors.FellSilent),
        (dialogue(GREETING, SPEAKS | {b"RETR": b"nonsense\r\n"}, b"-ERR\r\n"), errors.NotUnderstood),
    ],
)
def test_a_server_that_misbehaves_is_an_error_with_a_name(script: Script, error: type[errors.MailError]) -> None:
    patience = {"timeout_read": 0.5} if issubclass(error, errors.TimedOut) else {}
    with misbehaving(script) as port, pytest.raises(error) as caught:
        all_batches(reach(port, **patience))
    assert say(caught.value.why)


def test_starttls_that_is_not_offered_gets_no_password() -> None:
    with misbehaving(dialogue(GREETING, SPEAKS, b"-ERR\r\n")) as port, pytest.raises(errors.StarttlsMissing):
        all_batches(reach(port, encryption="starttls"))


def test_a_mail_that_the_server_cannot_give_out_does_not_stop_the_others() -> None:
    replies = {b"RETR 2": b"-ERR [SYS/PERM] damaged\r\n"} | SPEAKS
    with misbehaving(dialogue(GREETING, replies, b"-ERR\r\n")) as port:
        (batch,) = all_batches(reach(port))
    assert [(mail.source_key, mail.raw, bool(mail.problem)) for mail in batch.mails] == [
        ("first", b"hello\r\n", False), ("second", b"", True), ("third", b"hello\r\n", False),
    ]  # fmt: skip


def test_the_same_mail_twice_is_fetched_once_and_deleted_twice() -> None:
    heard: list[bytes] = []

    def script(connection: socket.socket) -> None:
        connection.sendall(GREETING)
        twice = SPEAKS | {b"UIDL": b"+OK\r\n1 same\r\n2 same\r\n3 same\r\n.\r\n"}
        twice[b"LIST"] = twice[b"LIST"].replace(b"3 7", b"3 8")  # another mail under the same UIDL
        for line in connection.makefile("rb"):
            heard.append(line.strip())
            connection.sendall(next((reply for key, reply in twice.items() if key in line), b"+OK\r\n"))

    with misbehaving(script) as port, Pop3Mailbox(reach(port)) as box:
        look = box.look()
        (batch,) = box.batches(Position())
        box.acknowledge(batch.keys, "delete")
    assert (look.mails, look.keys) == (3, ("same", "same 8")), "what was there before us is known by the same names"
    assert batch.keys == ["same", "same 8"]
    told = [line for line in heard if line.startswith((b"RETR", b"DELE"))]
    assert told == [b"RETR 1", b"RETR 3", b"DELE 1", b"DELE 2", b"DELE 3"]


def test_a_server_that_drips_bytes_is_cut_off_after_the_time_for_the_whole_run() -> None:
    stop = threading.Event()

    def script(connection: socket.socket) -> None:
        while not stop.wait(0.05):
            connection.sendall(b"+")

    with misbehaving(script) as port, pytest.raises(errors.TookTooLong):
        all_batches(reach(port, timeout_run=0.3))
    stop.set()

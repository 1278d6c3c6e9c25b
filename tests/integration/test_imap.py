"""Reading a mailbox by IMAP, from a real Dovecot; scripted servers only for faults that it can't be made to have."""

import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import imapclient
import pytest

from mail import errors
from mail.sentences import say
from mail.transport.imap_mailbox import ImapMailbox
from mail.transport.mailbox import LARGEST_MAIL, FetchedBatch, MailboxTarget, Position
from mail.transport.mailbox_open import open_mailbox, test_steps
from tests.servers.certificates import Authority
from tests.servers.dovecot import Dovecot
from tests.servers.misbehaving import dialogue, misbehaving, says, silent
from tests.servers.process import HOST, free_port
from tests.servers.scripted import ScriptedImap

START = Position()


@pytest.fixture
def target(dovecot: Dovecot, mailbox: str, trusted: Authority) -> MailboxTarget:
    return MailboxTarget(
        "Sales", "imap", HOST, dovecot.port("imap", "tls"), "tls", mailbox, dovecot.password, allow_local=True
    )


def mail(subject: str, size: int = 0) -> bytes:
    lines = b"0123456789abcdef\r\n" * (size // 18)
    return f"From: a@customer.test\r\nSubject: {subject}\r\n\r\n".encode() + lines


def fill(dovecot: Dovecot, mailbox: str, count: int) -> list[str]:
    subjects = [f"mail {number}" for number in range(count)]
    for subject in subjects:
        dovecot.append(mailbox, mail(subject))
    return subjects


def subjects(batches: list[FetchedBatch]) -> list[str]:
    lines = [line for batch in batches for mail in batch.mails for line in mail.raw.splitlines()[:2]]
    return [line.removeprefix(b"Subject: ").decode("latin-1") for line in lines if line.startswith(b"Subject: ")]


def all_batches(target: MailboxTarget, after: Position = START) -> list[FetchedBatch]:
    with open_mailbox(target) as box:
        return list(box.batches(after))


# --- what comes out


@pytest.mark.parametrize("encryption", ["none", "starttls", "tls"])
def test_every_mail_comes_once_in_order_and_whole(
    dovecot: Dovecot, mailbox: str, target: MailboxTarget, encryption: str
) -> None:
    raw = b"From: a@b.test\r\nSubject: h\xe4\r\n\r\n.dots\r\n..more\r\n\r\nno end of line"
    dovecot.append(mailbox, raw)
    sent = fill(dovecot, mailbox, 3)
    port = dovecot.port("imap", encryption)
    batches = all_batches(replace(target, encryption=encryption, port=port))  # type: ignore[arg-type]
    assert batches[0].mails[0].raw == raw
    assert subjects(batches)[1:] == sent
    assert [mail.size for mail in batches[0].mails] == [len(mail.raw) for mail in batches[0].mails]


def test_batches_are_bounded_by_count_and_by_bytes(dovecot: Dovecot, mailbox: str, target: MailboxTarget) -> None:
    fill(dovecot, mailbox, 120)
    for number in range(5):
        dovecot.append(mailbox, mail(f"big {number}", 3_000_000))
    batches = all_batches(target)
    assert [len(batch.mails) for batch in batches] == [50, 50, 22, 2, 1]
    assert sum(len(mail.raw) for mail in batches[2].mails) < 8 * 1024 * 1024


def test_the_next_run_goes_on_where_the_last_stored_batch_ended(
    dovecot: Dovecot, mailbox: str, target: MailboxTarget
) -> None:
    fill(dovecot, mailbox, 60)
    with open_mailbox(target) as box:
        first = next(iter(box.batches(START)))  # and the connection ends before the second
    dovecot.append(mailbox, mail("later"))
    assert subjects(all_batches(target, first.position)) == [f"mail {number}" for number in range(50, 60)] + ["later"]


def test_a_mail_that_a_person_has_read_meanwhile_is_fetched_all_the_same(
    dovecot: Dovecot, mailbox: str, target: MailboxTarget
) -> None:
    dovecot.append(mailbox, mail("read by a person"), seen=True)
    dovecot.append(mailbox, mail("not read"))
    assert subjects(all_batches(target)) == ["read by a person", "not read"]


def test_reading_changes_nothing_in_the_mailbox(dovecot: Dovecot, mailbox: str, target: MailboxTarget) -> None:
    dovecot.append(mailbox, mail("one"))
    all_batches(target)
    assert [stored.flags for stored in dovecot.mails(mailbox)] == [""]


def test_new_numbers_for_all_mails_start_over(dovecot: Dovecot, mailbox: str, target: MailboxTarget) -> None:
    sent = fill(dovecot, mailbox, 3)
    (batch,) = all_batches(target)
    dovecot.change_uidvalidity(mailbox)
    (again,) = all_batches(target, batch.position)
    assert subjects([again]) == sent
    assert again.position.uidvalidity != batch.position.uidvalidity
    assert not set(again.keys) & set(batch.keys)


def test_what_arrived_before_a_date_is_left_alone(dovecot: Dovecot, mailbox: str, target: MailboxTarget) -> None:
    dovecot.append(mailbox, mail("old"), arrived=datetime(2024, 1, 1, tzinfo=UTC))
    dovecot.append(mailbox, mail("new"), arrived=datetime(2026, 1, 1, tzinfo=UTC))
    dovecot.append(mailbox, mail("old again"), arrived=datetime(2024, 1, 2, tzinfo=UTC))
    batches = all_batches(target, Position(old=(2**32 - 1, datetime(2025, 1, 1, tzinfo=UTC))))
    assert subjects(batches) == ["new"]
    assert batches[0].mails[0].arrived == datetime(2026, 1, 1, tzinfo=UTC)
    assert all_batches(target, batches[-1].position) == []  # the old ones are not looked at again


def test_a_gap_of_a_million_numbers_takes_a_few_questions(
    dovecot: Dovecot, mailbox: str, target: MailboxTarget
) -> None:
    dovecot.append(mailbox, mail("first"))
    all_batches(target)
    uidlist = dovecot.maildir(mailbox) / "dovecot-uidlist"
    uidlist.write_text(re.sub(r" N\d+ ", " N1000000 ", uidlist.read_text(), count=1))
    for file in dovecot.maildir(mailbox).glob("dovecot.index*"):
        file.unlink()
    dovecot.append(mailbox, mail("far away"))
    asked: list[str] = []
    with ImapMailbox(target) as box:
        fetched = box.session.fetched
        box.session.fetched = lambda uids, items: asked.append(uids) or fetched(uids, items)  # type: ignore[method-assign, func-returns-value]
        batches = list(box.batches(START))
    assert subjects(batches) == ["first", "far away"]
    assert batches[-1].position.last_uid >= 1_000_000
    assert len(asked) < 20


def test_of_a_mail_over_the_limit_only_the_header_comes(dovecot: Dovecot, mailbox: str, target: MailboxTarget) -> None:
    dovecot.append(mailbox, mail("huge", LARGEST_MAIL + 1_000_000))
    dovecot.append(mailbox, mail("small"))
    (batch,) = all_batches(target)
    huge, small = batch.mails
    assert huge.problem and huge.problem["code"] == "mailbox_mail_too_large"
    assert huge.raw == b"From: a@customer.test\r\nSubject: huge\r\n\r\n"
    assert huge.size > LARGEST_MAIL
    assert small.problem is None
    with open_mailbox(target) as box:
        box.acknowledge([mail.source_key for mail in batch.mails if mail.may_be("delete")], "delete")
    assert [b"Subject: huge" in stored.raw for stored in dovecot.mails(mailbox)] == [True]


# --- taking mails from the server


def test_mark_read(dovecot: Dovecot, mailbox: str, target: MailboxTarget) -> None:
    fill(dovecot, mailbox, 3)
    with open_mailbox(target) as box:
        for batch in box.batches(START):
            box.acknowledge(batch.keys, "mark_read")
    assert [stored.flags for stored in dovecot.mails(mailbox)] == ["S", "S", "S"]


def test_a_look_does_not_close_the_way_to_mark_mails(dovecot: Dovecot, mailbox: str, target: MailboxTarget) -> None:
    fill(dovecot, mailbox, 1)
    with open_mailbox(target) as box:
        assert box.look().uidnext == 2
        for batch in box.batches(START):
            box.acknowledge(batch.keys, "mark_read")
    assert [stored.flags for stored in dovecot.mails(mailbox)] == ["S"]


@pytest.mark.parametrize("offered", ["MOVE and UIDPLUS", "neither"])
@pytest.mark.parametrize("how", ["move", "delete"])
def test_moved_and_deleted_mails_are_ours_alone(
    dovecot: Dovecot, mailbox: str, target: MailboxTarget, how: str, offered: str
) -> None:
    fill(dovecot, mailbox, 2)
    with ImapMailbox(target) as box:
        (batch,) = box.batches(START)
        dovecot.append(mailbox, mail("arrived meanwhile"))
        if offered == "neither":
            box.session._cached_capabilities = (b"IMAP4REV1",)
        box.acknowledge(batch.keys, how, "Done.Büro")  # type: ignore[arg-type]
    assert [stored.raw for stored in dovecot.mails(mailbox)] == [mail("arrived meanwhile").replace(b"\r\n", b"\n")]
    with open_mailbox(replace(target, folder="Done.Büro")) if how == "move" else open_mailbox(target) as box:
        assert box.look().mails == (2 if how == "move" else 1)


def test_what_a_person_marked_as_deleted_is_not_removed_by_us(
    dovecot: Dovecot, mailbox: str, target: MailboxTarget
) -> None:
    fill(dovecot, mailbox, 2)
    with imapclient.IMAPClient(HOST, dovecot.port("imap"), ssl=False) as person:
        person.login(mailbox, dovecot.password)
        person.select_folder("INBOX")
        person.delete_messages([2])
    with ImapMailbox(target) as box:
        (batch,) = box.batches(START)
        box.session._cached_capabilities = (b"IMAP4REV1",)  # no UIDPLUS: only a plain EXPUNGE is left
        box.acknowledge(batch.keys[:1], "delete")
    assert sorted(stored.flags for stored in dovecot.mails(mailbox)) == ["T", "T"]


# --- the test that a person starts


def codes(target: MailboxTarget) -> list[tuple[str, str, str]]:
    return [(step.name, step.state, step.why["code"]) for step in test_steps(target)]


def test_a_good_mailbox_says_what_is_there(dovecot: Dovecot, mailbox: str, target: MailboxTarget) -> None:
    dovecot.append(mailbox, mail("one"), arrived=datetime(2026, 3, 4, 5, 6, tzinfo=UTC))
    steps = list(test_steps(target))
    assert [(step.name, step.state) for step in steps] == [
        ("lookup", "ok"), ("connect", "ok"), ("tls", "warning"), ("greeting", "ok"), ("capabilities", "ok"),
        ("login", "ok"), ("folder", "ok"), ("writing", "ok"),
    ]  # fmt: skip
    assert steps[2].why["code"] == "test_tls_expires_today"  # the authority of the tests signs for a day
    assert say(steps[-2].why) == "Folder INBOX found, 1 message, dated 2026-03-04 05:06 UTC."
    assert [stored.flags for stored in dovecot.mails(mailbox)] == [""]


def test_each_step_that_fails_names_its_cause(dovecot: Dovecot, target: MailboxTarget) -> None:
    plain = replace(target, encryption="none", port=dovecot.port("imap"))
    starttls = replace(plain, encryption="starttls")
    cases = [
        (replace(target, allow_local=False, port=993), "lookup", "address_not_public"),
        (replace(target, port=free_port()), "connect", "mailbox_connection_refused"),
        (replace(target, port=dovecot.port("imap")), "tls", "mailbox_tls_failed"),
        (replace(target, password="wrong"), "login", "mailbox_login_refused"),
        (replace(starttls, password="wrong"), "login", "mailbox_login_refused"),
        (replace(target, user="x\r\na logout"), "login", "mailbox_login_refused"),
        (replace(target, folder="Nowhere"), "folder", "mailbox_folder_missing"),
    ]
    for tried, name, code in cases:
        failed = [step for step in codes(tried) if step[1] == "failed"]
        assert failed == [(name, "failed", code)]
    assert ("tls", "warning", "mailbox_test_tls_off") in codes(plain)


@pytest.mark.usefixtures("dovecot")
def test_a_certificate_that_nobody_vouches_for_is_refused(dovecot: Dovecot, mailbox: str) -> None:
    target = MailboxTarget(
        "Sales", "imap", HOST, dovecot.port("imap"), "starttls", mailbox, dovecot.password, allow_local=True
    )
    failed = [step for step in codes(target) if step[1] == "failed"]
    assert failed == [("tls", "failed", "certificate_refused")]
    unchecked = codes(replace(target, verify_tls=False))
    assert [step[1:] for step in unchecked if step[0] == "tls"] == [("warning", "test_tls_unverified")]
    assert unchecked[-1][:2] == ("writing", "ok")


def test_a_missing_folder_comes_with_the_names_of_those_that_are_there(target: MailboxTarget) -> None:
    last = list(test_steps(replace(target, folder="Eingang")))[-2]
    assert "Available folders: INBOX." in say(last.why)


# --- servers that misbehave: every one is an error with a name, in bounded time


def reach(port: int, **changes: object) -> MailboxTarget:
    target = MailboxTarget("Odd", "imap", HOST, port, "none", "u", "p", allow_local=True)
    return replace(target, **changes)  # type: ignore[arg-type]


OK = b"%t OK done\r\n"
SELECTED = b"* 1 EXISTS\r\n* OK [UIDVALIDITY 7] ok\r\n* OK [UIDNEXT 2] ok\r\n" + OK
NUMBERS = b"* 1 FETCH (UID 1 RFC822.SIZE 10)\r\n" + OK
SPEAKS = {
    b"CAPABILITY": b"* CAPABILITY IMAP4rev1\r\n" + OK,
    b"LOGIN": OK,
    b"SELECT": SELECTED,
    b"RFC822.SIZE": NUMBERS,
    b"LOGOUT": b"* BYE\r\n" + OK,
}
GREETING = b"* OK hello\r\n"


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (silent, errors.TimedOut),
        (says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), errors.NotUnderstood),
        (says(b"* BYE overloaded\r\n"), errors.GreetingRefused),
        (says(b"* OK half a line"), errors.TimedOut),
        (says(b"\x00\xff\x00\xff\r\n"), errors.NotUnderstood),
        (dialogue(GREETING, SPEAKS | {b"LOGIN": b"%t NO [UNAVAILABLE] later\r\n"}, OK), errors.MailboxLater),
        (dialogue(GREETING, SPEAKS | {b"LOGIN": b"%t NO wrong\r\n"}, OK), errors.LoginRefused),
        (dialogue(GREETING, SPEAKS | {b"LOGIN": b"* BYE\r\n"}, OK), errors.ConnectionLost),
        (dialogue(GREETING, SPEAKS | {b"SELECT": b"* 1 EXISTS\r\n" + OK}, OK), errors.MailboxUnusable),
        (dialogue(GREETING, SPEAKS | {b"SELECT": b"* OK [UIDVALIDITY 7] ok\r\n" + OK}, OK), errors.NotUnderstood),
        (dialogue(GREETING, SPEAKS | {b"SELECT": b"%t NO [INUSE] locked\r\n"}, OK), errors.MailboxBusy),
        (dialogue(GREETING, SPEAKS | {b"BODY": b"* 1 FETCH (UID 1 BODY[] {99999999999}\r\n"}, OK),
         errors.NotUnderstood),
        (dialogue(GREETING, SPEAKS | {b"BODY": b"* 1 FETCH (UID 1 BODY[] {100}\r\nshort"}, OK), errors.FellSilent),
        (dialogue(GREETING, SPEAKS | {b"CAPABILITY": b"* CAPABILITY IMAP4rev1 LOGINDISABLED\r\n" + OK}, OK),
         errors.LoginNotOffered),
    ],
)  # fmt: skip
def test_a_server_that_misbehaves_is_an_error_with_a_name(script: object, error: type[errors.MailError]) -> None:
    patience = {"timeout_read": 0.5} if issubclass(error, errors.TimedOut) else {}
    with misbehaving(script) as port, pytest.raises(error) as caught:  # type: ignore[arg-type]
        all_batches(reach(port, **patience))
    assert say(caught.value.why)


@pytest.mark.parametrize("said", [b"", b"* OK [UIDNEXT 1] ok\r\n"], ids=["nothing", "what can't be true"])
def test_what_is_there_is_known_of_a_server_that_does_not_tell_its_next_number(said: bytes) -> None:
    selected = SELECTED.replace(b"* OK [UIDNEXT 2] ok\r\n", said)
    script = dialogue(GREETING, SPEAKS | {b"SELECT": selected, b"EXAMINE": selected}, OK)
    with misbehaving(script) as port, open_mailbox(reach(port)) as box:
        assert (box.look().uidnext, box.uidnext) == (2, 0)


def test_starttls_that_is_not_offered_gets_no_password() -> None:
    heard: list[bytes] = []

    def script(connection: socket.socket) -> None:
        connection.sendall(GREETING)
        for line in connection.makefile("rb"):
            heard.append(line)
            tag = line.split()[0]
            connection.sendall(SPEAKS[b"CAPABILITY"].replace(b"%t", tag) if b"CAPAB" in line else tag + b" OK\r\n")

    with misbehaving(script) as port, pytest.raises(errors.StarttlsMissing):
        all_batches(reach(port, encryption="starttls"))
    assert not [line for line in heard if b"LOGIN" in line or b"AUTH" in line]


def test_a_mail_that_the_server_cannot_give_out_does_not_stop_the_others() -> None:
    body = b"* 1 FETCH (UID %d BODY[] {5}\r\nhello)\r\n" + OK
    replies = SPEAKS | {
        b"SELECT": SELECTED.replace(b"1 EXISTS", b"3 EXISTS").replace(b"UIDNEXT 2", b"UIDNEXT 4"),
        b"RFC822.SIZE": b"".join(b"* %d FETCH (UID %d RFC822.SIZE 5)\r\n" % (n, n) for n in (1, 2, 3)) + OK,
        b"FETCH 1,2,3 ": b"%t NO [SERVERBUG] cannot read one of them\r\n",
        b"FETCH 1 ": body.replace(b"%d", b"1"),
        b"FETCH 2 ": b"%t NO [SERVERBUG] cannot read it\r\n",
        b"FETCH 3 ": body.replace(b"%d", b"3"),
    }
    with misbehaving(dialogue(GREETING, replies, OK)) as port:
        with pytest.raises(errors.MailboxLater):  # the first time it may be no more than a bad moment
            all_batches(reach(port))
        (batch,) = all_batches(reach(port), Position(again=True))
    assert [(mail.source_key, mail.raw, bool(mail.problem)) for mail in batch.mails] == [
        ("7.1", b"hello", False), ("7.2", b"", True), ("7.3", b"hello", False),
    ]  # fmt: skip


def test_a_server_that_drips_bytes_is_cut_off_after_the_time_for_the_whole_run() -> None:
    stop = threading.Event()

    def script(connection: socket.socket) -> None:
        while not stop.wait(0.05):
            connection.sendall(b"*")

    with misbehaving(script) as port, pytest.raises(errors.TookTooLong):
        all_batches(reach(port, timeout_run=0.3))
    stop.set()


def test_a_cut_while_a_batch_is_read_loses_nothing(dovecot: Dovecot, mailbox: str, target: MailboxTarget) -> None:
    sent = fill(dovecot, mailbox, 120)
    stored: list[FetchedBatch] = []

    def read(after: Position) -> Iterator[FetchedBatch]:
        with open_mailbox(target) as box:
            yield from box.batches(after)

    with pytest.raises(errors.MailError):
        for batch in read(START):
            stored.append(batch)
            dovecot.kill()
    dovecot.start()
    stored += read(stored[-1].position)
    assert subjects(stored) == sent


# --- mailboxes of others

SHARES = """
namespace inbox {
  inbox = yes
  separator = /
}
namespace others {
  type = shared
  separator = /
  prefix = Other Users/%%u/
  location = maildir:%%h/Maildir
  list = children
  subscriptions = no
}
"""


def shared_by(*folders: str, others: str = '(("Other Users/" "/"))') -> ScriptedImap:
    def fault(command: str) -> bytes | None:
        if command == "NAMESPACE":
            return f'* NAMESPACE (("" "/")) {others} NIL\r\n%t OK done\r\n'.encode()
        if command.startswith("STATUS"):
            name = command.split('"')[1]
            return (
                f'* STATUS "{name}" (UIDVALIDITY 7)\r\n%t OK done\r\n'.encode()
                if name in folders
                else b"%t NO none\r\n"
            )
        return None

    return ScriptedImap({1: mail("one")}, fault=fault, folders=("INBOX", *folders), offers="IMAP4rev1 NAMESPACE MOVE")


@pytest.mark.parametrize(
    ("folders", "folder", "opened", "moved"),
    [
        (["Other Users/info@a.test"], "INBOX", "Other Users/info@a.test", "Other Users/info@a.test/Done"),
        (["Other Users/info@a.test/INBOX"], "INBOX", "Other Users/info@a.test/INBOX", "Other Users/info@a.test/Done"),
        (["Other Users/info"], "INBOX", "Other Users/info", "Other Users/info/Done"),
        (["Other Users/info/Old"], "Old", "Other Users/info/Old", "Other Users/info/Done"),
    ],
)
def test_a_mailbox_of_somebody_else_is_found_where_the_server_keeps_it(
    folders: list[str], folder: str, opened: str, moved: str
) -> None:
    server = shared_by(*folders)
    with misbehaving(server.talk) as port, open_mailbox(reach(port, shared="info@a.test", folder=folder)) as box:
        (batch,) = (batch for batch in box.batches(START) if batch.mails)
        box.acknowledge(batch.keys, "move", "Done")
    assert f'SELECT "{opened}"' in server.heard and f'CREATE "{moved}"' in server.heard, server.heard
    assert not server.mails


@pytest.mark.parametrize("others", ['(("Other Users/" "/"))', "NIL"])
def test_a_mailbox_of_somebody_else_that_is_not_shared_says_so(others: str) -> None:
    with misbehaving(shared_by(others=others).talk) as port, pytest.raises(errors.SharedMailboxMissing) as found:
        open_mailbox(reach(port, shared="info@a.test"))
    assert "does not see a mailbox “info@a.test”" in say(found.value.why)


@pytest.mark.heavy
def test_a_mailbox_of_somebody_else_is_read_on_a_real_server(authority: Authority) -> None:
    """Dovecot opens what was shared with a user, and does not list it."""
    server = Dovecot(authority, settings=SHARES)
    try:
        for user in ("ann@office.test", "info@office.test"):
            server.add_mailbox(user)
        server.append("info@office.test", mail("one"))
        target = MailboxTarget(
            "Info", "imap", HOST, server.port("imap"), "none", "ann@office.test", server.password,
            shared="info@office.test", allow_local=True,
        )  # fmt: skip
        with pytest.raises(errors.SharedMailboxMissing):
            open_mailbox(target)
        server.allow("info@office.test", "lrwstipekxa\nuser=ann@office.test lrws")
        with open_mailbox(target) as box:
            (batch,) = (batch for batch in box.batches(START) if batch.mails)
            box.acknowledge(batch.keys, "mark_read")
        assert subjects([batch]) == ["one"] and server.mails("info@office.test")[0].seen
        assert [code for _, state, code in codes(target) if state != "ok"] == ["mailbox_test_tls_off"]
    finally:
        server.close()

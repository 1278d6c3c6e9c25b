"""Mail by LMTP and SMTP: only ours, only once it is stored, and never more than there is room for."""

import asyncio
import os
import smtplib
import socket
import sqlite3
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, select

from mail.decide.reception import Reception
from mail.documents.contacts import find_or_make
from mail.incoming import push
from mail.queue.lease import WorkerLease
from mail.sentences import why
from mail.settings import parameters, rehearsal
from mail.settings.clock import now
from mail.settings.config import ListenAddress
from mail.transport import handover
from models import Notification, User, Worker, db
from scheduler import dialogue, listener, loops
from scheduler.listener import PushListener
from scheduler.loops import NotNow
from tests.integration.pushing import listening, stored
from tests.servers.certificates import Authority
from tests.servers.process import answers, free_port
from tests.waiting import wait_until

ON_SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)  # nothing but the dialogue
SENDER = "ann@home.test"
MAIL = (
    "Received: from a by b id 7; Mon, 23 Nov 2026 09:00:00 +0100\r\nFrom: ann@home.test\r\nSubject: Desks\r\n\r\nHi\r\n"
)


@pytest.fixture
def lmtp(app: Flask) -> Iterator[smtplib.LMTP]:
    with listening(app) as port, closing(smtplib.LMTP("127.0.0.1", port)) as client:
        yield client


@pytest.fixture
def smtp(app: Flask) -> Iterator[smtplib.SMTP]:
    with listening(app, "smtp") as port, closing(smtplib.SMTP("127.0.0.1", port)) as client:
        client.ehlo("mx.home.test")
        yield client


def data(client: smtplib.SMTP, raw: bytes, recipients: int = 1) -> list[tuple[int, bytes]]:
    """Hand over a mail whose recipients were taken; LMTP has an answer for each of them."""
    assert client.docmd("DATA")[0] == 354
    client.send(raw + b".\r\n")
    return [client.getreply() for _ in range(recipients)]


def test_a_mail_is_stored_with_its_envelope_before_it_is_accepted(app: Flask, lmtp: smtplib.LMTP) -> None:
    lmtp.ehlo("mx.home.test([10.0.0.1])")  # no comment of a stranger says where he is
    assert {"size", "pipelining", "8bitmime", "smtputf8"} <= lmtp.esmtp_features.keys()
    assert "auth" not in lmtp.esmtp_features
    lmtp.mail(SENDER, ["SIZE=500", "BODY=8BITMIME"])
    answers = [lmtp.rcpt(one)[0] for one in ("sales@office.test", "friend@elsewhere.test", "bounce+x@office.test")]
    assert answers == [250, 550, 250]
    assert [code for code, _ in data(lmtp, MAIL.encode() + b"..\r\n.. dots\r\n\xe4" + b"x" * 5000 + b"\r\n", 2)] == [
        250
    ] * 2
    (raw,) = stored(app)
    head, _, rest = raw.partition(b" by office.example with LMTP; ")
    assert head == (
        b"Return-Path: <ann@home.test>\r\nDelivered-To: sales@office.test\r\nDelivered-To: bounce+x@office.test\r\n"
        b"Received: from mx.home.test[10.0.0.1] ([127.0.0.1])"
    )
    assert rest.partition(b"\r\n")[2] == MAIL.encode() + b".\r\n. dots\r\n\xe4" + b"x" * 5000 + b"\r\n"


def test_a_delivery_that_was_cut_short_is_stored_once(app: Flask, smtp: smtplib.SMTP) -> None:
    for sender in (SENDER, SENDER, ""):
        smtp.sendmail(sender, ["sales@office.test"], MAIL)
    assert [raw.split(b"\r\n", 1)[0] for raw in stored(app)] == [b"Return-Path: <ann@home.test>", b"Return-Path: <>"]


RECIPIENTS = {
    "sales@elsewhere.test": 550,
    "sales%elsewhere.test@office.test": 250,  # an address of ours that nobody has: kept
    "elsewhere.test!sales@office.test": 250,
    "@office.test:sales@elsewhere.test": 550,
    "sales@elsewhere.test@office.test": 553,
    "sales@[127.0.0.1]": 550,
    "sales@office.test.elsewhere.test": 550,
    "sales@localhost": 550,
    "postmaster": 250,
    "nobody@office.test": 250,
}


@ON_SQLITE
@pytest.mark.parametrize("sender", ["sales@office.test", "ann@home.test", ""])
def test_it_is_no_open_relay(smtp: smtplib.SMTP, sender: str) -> None:
    smtp.mail(sender)  # whoever says to be one of us is still nobody
    assert {one: smtp.docmd("RCPT", f"TO:<{one}>")[0] for one in RECIPIENTS} == RECIPIENTS
    assert smtp.docmd("RCPT", "TO:<")[0] == 553


def test_unknown_recipients_are_refused_where_an_admin_wants_it(
    app: Flask, smtp: smtplib.SMTP, monkeypatch: pytest.MonkeyPatch
) -> None:
    with app.app_context():
        parameters.put(parameters.TAKE_UNKNOWN.key, "0", now())
        db.session.commit()
    smtp.mail(SENDER)
    assert [smtp.rcpt(f"{one}@office.test")[0] for one in ("nobody", "sales", "postmaster")] == [550, 250, 250]
    monkeypatch.setattr(Reception, "ours", lambda *_: "")  # the domain was removed meanwhile
    assert data(smtp, MAIL.encode())[0][0] == 250
    assert b"Delivered-To: sales@office.test" in stored(app)[0]


@ON_SQLITE
def test_nobody_logs_in_and_nobody_is_listed(smtp: smtplib.SMTP) -> None:
    assert [smtp.docmd(*words)[0] for words in (("AUTH", "PLAIN AGEAYg=="), ("EXPN", "all"), ("DATA",))] == [
        500,
        500,
        503,
    ]
    assert smtp.docmd("VRFY", "<sales@office.test>")[0] == 252


@ON_SQLITE
def test_a_mistake_of_ours_is_in_the_log(
    smtp: smtplib.SMTP, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(loops, "_said", loops._Said())
    monkeypatch.setattr(Reception, "standing", lambda *_: 1 / 0)
    smtp.mail(SENDER)
    assert [smtp.rcpt("sales@office.test")[0] for _ in range(2)] == [451, 451]
    assert caplog.text.count("ZeroDivisionError") == 1, "once a minute"


@ON_SQLITE
def test_a_guesser_of_addresses_is_sent_away(smtp: smtplib.SMTP, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialogue, "MOST_STRANGERS", 2)
    smtp.mail(SENDER)
    assert [smtp.rcpt(f"{n}@elsewhere.test")[0] for n in range(9)] == [550] * 9, "a server of this machine passes on"
    monkeypatch.setattr(dialogue, "is_here", lambda _peer: False)
    smtp.rcpt("sales@office.test")
    assert [smtp.rcpt(f"{n}@elsewhere.test")[0] for n in range(2)] == [550] * 2
    assert data(smtp, MAIL.encode())[0][0] == smtp.mail(SENDER)[0] == 250
    assert [smtp.rcpt(f"{n}@elsewhere.test")[0] for n in range(3)] == [550, 550, 421]


@ON_SQLITE
@pytest.mark.parametrize("content", [b"", b".\r\n", b"\r\n", b"a\r\n.b\r\n", b"a\n.\nb\r\n", b"a\r\n" * 70_000])
def test_a_mail_ends_where_its_dot_is(app: Flask, smtp: smtplib.SMTP, content: bytes) -> None:
    smtp.mail(SENDER)
    smtp.rcpt("sales@office.test")
    assert smtp.docmd("DATA")[0] == 354
    quoted = b"." + content if content.startswith(b".") else content
    smtp.send(quoted.replace(b"\r\n.", b"\r\n..") + b".\r\nNOOP\r\n")
    assert [smtp.getreply()[0] for _ in range(2)] == [250, 250]
    end = b"\n" if content.startswith(b"a\n") else b"\r\n"
    assert stored(app)[0].partition(b"with ESMTP; ")[2].partition(end)[2] == content


@ON_SQLITE
def test_what_is_too_large_or_too_much_is_not_kept(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = dialogue.Memory(300_000)
    monkeypatch.setattr(listener, "_memory", memory)
    monkeypatch.setattr(listener.ListenerDesk, "largest", 400_000)
    with listening(app, "smtp") as port, closing(smtplib.SMTP("127.0.0.1", port)) as client:
        client.ehlo()
        assert client.mail(SENDER, ["SIZE=400001"])[0] == 552
        client.command_encoding = "utf-8"
        sizes = ("SIZE=²", "SIZE=٤", "SIZE=", "SIZE", f"SIZE={'1' * 400}")
        assert {client.docmd("MAIL", f"FROM:<{SENDER}> {size}")[0] for size in sizes} == {501}
        for octets, code in ((400_001, 552), (300_001, 452), (290_000, 250), (290_000, 250)):
            client.rset()
            client.mail(SENDER)
            client.rcpt("sales@office.test")
            assert data(client, b"x" * (octets - 2) + b"\r\n")[0][0] == code
        client.rset()
        assert client.mail(SENDER, ["SIZE=300001"])[0] == client.rcpt("sales@office.test")[0] == 250
        assert client.docmd("DATA")[0] == 452
    assert len(stored(app)) == 2
    assert memory.take(300_000), "all of it was given back"


@ON_SQLITE
def test_a_mail_that_never_ends_gives_back_its_memory(
    app: Flask, smtp: smtplib.SMTP, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialogue, "LONGEST", 0.05)
    smtp.mail(SENDER, [f"SIZE={listener.push.LARGEST_MAIL}"])
    smtp.rcpt("sales@office.test")
    assert smtp.docmd("DATA", "")[0] == 354
    smtp.send(b"Subject: Desks\r\n")
    assert smtp.getreply() == (421, b"4.4.2 The message took too long")
    with pytest.raises(smtplib.SMTPServerDisconnected):
        smtp.noop()
    wait_until(lambda: listener._memory.take(listener.MEMORY))
    listener._memory.give_back(listener.MEMORY)
    assert stored(app) == []


def test_nobody_elsewhere_gets_all_of_the_memory() -> None:
    memory = dialogue.Memory(100, of_one=60, for_others=20)
    assert not memory.take(61, "192.0.2.1")
    assert memory.take(60, "192.0.2.1", is_announced=True) and not memory.take(1, "192.0.2.1")
    assert not memory.take(21, "192.0.2.2", is_announced=True)
    assert memory.take(20, "192.0.2.2", is_announced=True) and memory.take(20, "192.0.2.3")
    for octets, peer in ((60, "192.0.2.1"), (20, "192.0.2.2"), (20, "192.0.2.3")):
        memory.give_back(octets, peer)
    assert memory.take(60, "192.0.2.1") and memory.take(40, "127.0.0.1"), "this machine may have all"


@ON_SQLITE
def test_one_address_elsewhere_has_few_connections_and_sends_not_too_much(app: Flask) -> None:
    desk = listener.ListenerDesk(app, "smtp", dialogue.Memory(1))
    assert [desk.admit("192.0.2.1") for _ in range(listener.MOST_OF_ONE + 1)].count(True) == listener.MOST_OF_ONE
    desk.leave("192.0.2.1")
    assert desk.admit("192.0.2.1") and desk.admit("192.0.2.2")
    here = [desk.admit("127.0.0.1") for _ in range(listener.MOST_CONNECTIONS)]
    assert here.count(True) == listener.MOST_CONNECTIONS - listener.MOST_OF_ONE - 1
    sent = [desk.may_send("192.0.2.1") for _ in range(2 * listener.MAILS_A_MINUTE + 2)]
    assert sent[: listener.MAILS_A_MINUTE] == [True] * listener.MAILS_A_MINUTE and False in sent
    assert all(desk.may_send("::1") for _ in range(2 * listener.MAILS_A_MINUTE + 2))
    desk.close()


@ON_SQLITE
def test_one_look_at_our_addresses_is_enough_for_all(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    desk, looks = listener.ListenerDesk(app, "smtp", dialogue.Memory(1)), []
    reception = push.reception
    monkeypatch.setattr(push, "reception", lambda: (looks.append(1), reception())[1])

    async def asked() -> list[str]:
        return await asyncio.gather(*(desk.refusal(f"sales@{one}.test") for one in ("office", "elsewhere")))

    with ThreadPoolExecutor(1) as elsewhere:  # an open browser has a loop in this thread
        replies = elsewhere.submit(lambda: asyncio.run(asked())).result()
    assert [reply[:3] for reply in replies] == ["", "550"]
    assert len(looks) == 1
    desk.close()


@ON_SQLITE
def test_too_many_connections_are_told_so(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "MOST_CONNECTIONS", 1)
    with listening(app, "smtp") as port, closing(smtplib.SMTP("127.0.0.1", port)):
        refused = pytest.raises(smtplib.SMTPConnectError, match="421")
        with refused:
            smtplib.SMTP("127.0.0.1", port)
        handed = handover.hand_over("smtp", "127.0.0.1", port, "sales@office.test", b"")
        assert handed == (False, "421 4.7.0 Too many connections; try again later")


def test_a_mail_that_can_not_be_stored_is_to_come_again(app: Flask, smtp: smtplib.SMTP) -> None:
    """A disk without room, a database that is gone: the server keeps the mail, and nothing of it is left here."""

    def no_room(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with app.app_context():
        engine = db.engine
    smtp.mail(SENDER)
    smtp.rcpt("sales@office.test")
    event.listen(engine, "before_cursor_execute", no_room)
    try:
        assert data(smtp, MAIL.encode())[0][0] == 451
        wait_until(
            lambda: smtp.rset()[0] == 250 and smtp.mail(SENDER)[0] == 250 and smtp.rcpt("a@office.test")[0] == 451
        )
    finally:
        event.remove(engine, "before_cursor_execute", no_room)
    assert stored(app) == []
    smtp.rset()
    smtp.sendmail(SENDER, ["sales@office.test"], MAIL)
    assert len(stored(app)) == 1


@ON_SQLITE
@pytest.mark.parametrize("trouble", ["full", "locked"])
def test_a_full_disk_and_a_locked_database_are_no_loss(app: Flask, smtp: smtplib.SMTP, trouble: str) -> None:
    """The real faults, with less patience than in an office."""
    limits = {"full": "PRAGMA max_page_count = 1", "locked": "PRAGMA busy_timeout = 20"}  # no fewer than there are

    def impatient(connection: Any, *_: object) -> None:
        connection.execute(limits[trouble])

    with app.app_context():
        engine = db.engine
    smtp.mail(SENDER)
    smtp.rcpt("sales@office.test")
    event.listen(engine, "checkout", impatient)
    with closing(sqlite3.connect(engine.url.database, isolation_level=None)) as other:
        if trouble == "locked":
            other.execute("BEGIN IMMEDIATE")
        large = MAIL.encode() + os.urandom(200_000).hex().encode() + b"\r\n"
        assert data(smtp, large)[0][0] == 451
    event.remove(engine, "checkout", impatient)
    limits.update(full="PRAGMA max_page_count = 1000000", locked="PRAGMA busy_timeout = 10000")
    event.listen(engine, "checkout", impatient)
    assert stored(app) == []
    smtp.sendmail(SENDER, ["sales@office.test"], large)
    assert len(stored(app)) == 1


@ON_SQLITE
@pytest.mark.parametrize(("encrypted", "end"), [(False, "eof_received"), (True, "connection_lost")])
def test_a_server_that_hangs_up_while_its_mail_is_stored_stops_nobody(
    app: Flask, monkeypatch: pytest.MonkeyPatch, authority: Authority, tmp_path: Path, encrypted: bool, end: str
) -> None:
    begun, gone, goes_on = threading.Event(), threading.Event(), threading.Event()
    store, hang_up = push.store, getattr(dialogue.SmtpDialogue, end)
    monkeypatch.setattr(push, "store", lambda *mails: (begun.set(), goes_on.wait(60), store(*mails)))
    monkeypatch.setattr(dialogue.SmtpDialogue, end, lambda *given: (hang_up(*given), gone.set())[0])
    key, certificate = authority.issue("localhost", tmp_path)
    with listening(app, "smtp", (certificate, key)) as port:
        with closing(smtplib.SMTP("127.0.0.1", port)) as hasty:
            hasty.ehlo()
            if encrypted:
                hasty.starttls()
                hasty.ehlo()
            hasty.mail(SENDER)
            hasty.rcpt("sales@office.test")
            assert hasty.docmd("DATA")[0] == 354
            hasty.send(MAIL.encode() + b".\r\n")
            assert begun.wait(60)
        assert gone.wait(60)
        assert not listener._memory.take(listener.MEMORY), "the mail is still in it"
        goes_on.set()
        with closing(smtplib.SMTP("127.0.0.1", port, timeout=20)) as next_one:
            next_one.sendmail(SENDER, ["sales@office.test"], MAIL + "Another\r\n")
    assert len(stored(app)) == 2


@ON_SQLITE
def test_a_listener_that_stores_nothing_any_more_begins_anew(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    writers: list[listener.MailWriter] = []
    begin = listener.MailWriter.__init__
    monkeypatch.setattr(
        listener.MailWriter, "__init__", lambda self, *given: (writers.append(self), begin(self, *given))[1]
    )
    opened = PushListener(app, ListenAddress("smtp", "127.0.0.1", port := free_port()), None)
    with app.app_context():
        opened.work()
        opened.work()
        assert len(writers) == 1
        writers[0].close()
        wait_until(lambda: not writers[0].is_alive())
        opened.work()
    with closing(smtplib.SMTP("127.0.0.1", port, timeout=20)) as client:
        client.sendmail(SENDER, ["sales@office.test"], MAIL)
    opened.close()
    assert len(stored(app)) == 1
    assert not any(one.is_alive() for one in writers)


@ON_SQLITE
def test_encryption_is_offered_with_a_certificate(app: Flask, authority: Authority, tmp_path: Path) -> None:
    key, certificate = authority.issue("localhost", tmp_path)
    with listening(app, "smtp", (certificate, key)) as port, closing(smtplib.SMTP("localhost", port)) as client:
        client.starttls(context=ssl.create_default_context(cafile=str(authority.file)))
        client.ehlo()
        assert "auth" not in client.esmtp_features and "starttls" not in client.esmtp_features
        client.sendmail(SENDER, ["sales@office.test"], MAIL)
    assert b" with ESMTPS; " in stored(app)[0]


def test_an_address_that_can_not_be_opened_is_told_and_tried_again(app: Flask) -> None:
    with app.app_context():
        contact = find_or_make("ada@home.test", "Ada", now())
        db.session.add(User(contact=contact, email="ada@home.test", password="x", role="admin", fs_uniquifier="a"))
        db.session.commit()
    with closing(socket.socket()) as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = ListenAddress("lmtp", "127.0.0.1", other.getsockname()[1])
        taken = PushListener(app, address, None)
        for _ in range(listener.TOLD_AFTER + 2):
            assert failure_of(app, taken) == "listener_failed"
        assert told(app) == ["listener_failed"]
        restarted = PushListener(app, address, None)
        for _ in range(listener.TOLD_AFTER):
            assert failure_of(app, restarted) == "listener_failed"
    with app.app_context():
        taken.work()
        taken.work()
    taken.close()
    assert told(app) == ["listener_failed", "listener_again"]
    with app.app_context():
        taken.work()
    taken.close()
    assert told(app) == ["listener_failed", "listener_again"]


@ON_SQLITE
def test_only_workers_of_this_office_share_a_port(app: Flask) -> None:
    address = ListenAddress("smtp", "127.0.0.1", free_port())
    first, second = PushListener(app, address, None), PushListener(app, address, None)
    loop = {"state": "waiting", "at": 0.0, "restarts": 0, "why": None}
    with app.app_context():
        first.work()
        worker = db.session.get(Worker, WorkerLease.register(now()).id)
        assert worker is not None
        for said in ({}, {first.name: loop | {"why": why("listener_failed")}}, {first.name: loop | {"state": "dead"}}):
            worker.loops = said
            db.session.commit()
            assert failure_of(app, second) == "listener_failed"
        worker.loops, worker.pid = {first.name: loop}, 2**22 + 1  # no process has that number: it was killed
        db.session.commit()
        assert failure_of(app, second) == "listener_failed"
        worker.pid = os.getpid()
        db.session.commit()
        second.work()
        first.close()
        worker.loops = {}
        db.session.commit()
        assert failure_of(app, first) == "listener_failed", "the second has it still, for itself"
    with closing(smtplib.SMTP("127.0.0.1", address.port)) as client:
        assert client.noop()[0] == 250
    second.close()


@ON_SQLITE
def test_a_copy_that_rehearses_opens_nothing(app: Flask) -> None:
    opened = PushListener(app, ListenAddress("smtp", "127.0.0.1", port := free_port()), None)
    with app.app_context():
        for _ in range(2):
            opened.work()
            assert answers(port)
            rehearsal.store(rehearsal.Rehearsal(now(), why("rehearsal_by_command")), now())
            db.session.commit()
            assert failure_of(app, opened) == "listener_rehearses"
            assert not answers(port)
            rehearsal.turn_off(now())
            db.session.commit()
        rehearsal.store(rehearsal.Rehearsal(now(), why("rehearsal_by", user="Ada")), now())
        db.session.commit()
        opened.work()
        assert answers(port)
    opened.close()


@pytest.mark.parametrize("protocol", ["lmtp", "smtp"])
def test_a_listener_that_says_nothing_is_not_waited_for(protocol: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "TIMEOUT", 0.05)
    with closing(socket.socket()) as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(OSError):
            handover.hand_over(protocol, "127.0.0.1", silent.getsockname()[1], "sales@office.test", b"")


@ON_SQLITE
def test_a_certificate_that_can_not_be_used_is_named(app: Flask, tmp_path: Path) -> None:
    files = tmp_path / "no.pem", tmp_path / "no.key"
    missing = PushListener(app, ListenAddress("lmtp", "127.0.0.1", free_port()), files)
    assert failure_of(app, missing) == "listener_no_certificate"


def failure_of(app: Flask, opened: PushListener) -> str:
    """Let a listener try to open its address and return why it can't."""
    with app.app_context(), pytest.raises(NotNow) as error:
        opened.work()
    assert error.value.why is not None
    if error.value.why["code"] == "listener_failed":
        assert error.value.why["values"]["error"] == "Address already in use"
    return error.value.why["code"]


def told(app: Flask) -> list[str]:
    """What an admin was told."""
    with app.app_context():
        return [
            one.why["code"] for one in db.session.scalars(select(Notification).order_by(Notification.id)) if one.why
        ]

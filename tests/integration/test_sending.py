"""Sending when something is wrong: with a line, with a server, with this machine. Others never wait for it."""

import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from itertools import takewhile
from typing import Any

import pytest
from cryptography.fernet import Fernet, MultiFernet
from flask import Flask
from sqlalchemy import delete, event, select, update

from mail.documents.file_links import most_octets
from mail.errors import JournalFailed, NotCorrected
from mail.mailing import chunks, mailing
from mail.outgoing import deliver, enqueue, lines
from mail.outgoing.delivery import Try
from mail.outgoing.delivery_state import envelopes
from mail.outgoing.enqueue import OutgoingDraft, To
from mail.queue.connections import LEARNED_FOR, Connections
from mail.queue.journal import Journal
from mail.queue.lease import WorkerLease
from mail.sentences import say
from mail.settings import office, parameters
from mail.settings.config import settings
from mail.transport.smtp import Outcome, ServerConnection
from models import (
    Blob,
    Bounce,
    DeliveryAttempt,
    OutgoingMail,
    OutgoingServer,
    Post,
    ReceivedMail,
    Recipient,
    ServerLimit,
    Thread,
    db,
)
from models.base import FERNET
from models.outgoing import claim
from scheduler.identity import WorkerIdentity
from scheduler.loops import Loop, LoopGroup, NotNow
from scheduler.sending import ConnectionShares, PersonalSenders, SendingThread, ServerWatch
from tests.integration.mass import add_contacts, draft, prepare
from tests.servers.misbehaving import SILENT_AT, dialogue, misbehaving, silent_at
from tests.waiting import wait_until

ONE_DATABASE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


class Desk:
    """An office, and a sending thread that runs when the test says so."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        with app.app_context():
            now = datetime.now(UTC)
            parameters.put("mail.catchall.domain", "mycompany.test", now)
            parameters.put("mail.default.from", "notifications", now)
            self.worker = WorkerLease.register(now)
            db.session.commit()
            self.journal = Journal.open(settings().journal_folder, self.worker.id, "one")
        self.connections = Connections()

    def __enter__(self) -> "Desk":
        return self

    def __exit__(self, *_: object) -> None:
        self.connections.close()
        self.journal.close()

    @property
    def servers(self) -> Any:
        return self.connections.servers

    def server(self, port: int, name: str = "main", **values: Any) -> int:
        given = {"encryption": "none", "authentication": "none", "from_filter": f"{name}.test", "host": "127.0.0.1"}
        with self.app.app_context():
            server = OutgoingServer(name=name, port=port, **(given | values))
            db.session.add(server)
            db.session.commit()
            return server.id

    def mail(self, *to: str, server: str = "main", html: str = "<p>Hello</p>", post_id: int = 0, **more: Any) -> None:
        with self.app.app_context():
            draft = OutgoingDraft(kind="test", author=f"a@{server}.test", subject="Hello", html=html, **more)
            ready = enqueue.prepare(draft, [To(address) for address in to], datetime.now(UTC))
            enqueue.enqueue_many([ready.of_post(post_id) if post_id else ready], datetime.now(UTC))
            db.session.commit()

    def step(self) -> int:
        with self.app.app_context():
            self.worker.heartbeat()
            return deliver.send_some(self.worker, self.connections, self.journal)

    def send_all(self) -> None:
        while self.step():
            pass

    def change(self, who: str, **values: Any) -> None:
        with self.app.app_context():
            db.session.execute(update(Recipient).where(Recipient.address == who).values(**values))
            db.session.commit()

    def lines(self) -> dict[str, tuple[str, str | None]]:
        """State and reason of each line, by address."""
        with self.app.app_context():
            rows = db.session.execute(select(Recipient.address, Recipient.state, Recipient.why).order_by(Recipient.id))
            return {row.address: (row.state, row.why and row.why["code"]) for row in rows}

    def states(self) -> Counter[str]:
        return Counter(state for state, _ in self.lines().values())

    def make_due(self, after: timedelta = timedelta()) -> None:
        with self.app.app_context():
            waiting = update(Recipient).where(Recipient.state == "queued")
            db.session.execute(waiting.values(next_try_at=datetime.now(UTC) - timedelta(seconds=1)))
            db.session.commit()
        for state in self.servers._states.values():
            state.away_until = 0.0


@pytest.fixture
def desk(app: Flask) -> Iterator[Desk]:
    with Desk(app) as made:
        yield made


# --- what a line raises is that line's result


BROKEN_LINES: list[tuple[str, Callable[[Desk], None], str]] = [
    ("a mailbox for an address", lambda desk: desk.change("bad@x.test", address="Ann Lee <ann@x.test>"), "invalid"),
    ("no address", lambda desk: desk.change("bad@x.test", address="nobody"), "invalid"),
    ("an empty address", lambda desk: desk.change("bad@x.test", address=""), "invalid"),
    ("a line break", lambda desk: desk.change("bad@x.test", address="a@x.test\r\nDATA"), "invalid"),
    ("two addresses", lambda desk: desk.change("bad@x.test", address="a@x.test, b@x.test"), "invalid"),
    ("a dot too many", lambda desk: desk.change("bad@x.test", address="a@x..test"), "invalid"),
    ("a very long domain", lambda desk: desk.change("bad@x.test", address="a@" + "x" * 300 + ".test"), "invalid"),
    ("a wide local part", lambda desk: desk.change("bad@x.test", address="jürgen@x.test"), "needs_smtputf8"),
]


@ONE_DATABASE
@pytest.mark.parametrize(("_what", "break_it", "code"), BROKEN_LINES, ids=[line[0] for line in BROKEN_LINES])
def test_a_line_that_can_not_be_sent_stops_nobody(desk: Desk, smtp_sink: Any, _what, break_it, code):
    desk.server(smtp_sink.port)
    desk.mail("first@x.test", "bad@x.test", "last@x.test")
    break_it(desk)
    desk.send_all()
    found = desk.lines()
    assert (found.pop("first@x.test"), found.pop("last@x.test")) == (("sent", None), ("sent", None))
    [(state, reason)] = found.values()
    assert state == "failed" and code in str(reason)


@pytest.mark.parametrize("what", ["from", "content", "blob"])
def test_a_mail_that_can_not_be_put_together_fails_with_its_reason(desk: Desk, smtp_sink: Any, what: str) -> None:
    desk.server(smtp_sink.port)
    desk.mail("bad@x.test", html="<p>Bad</p>")
    with desk.app.app_context():
        mail = db.session.scalars(select(OutgoingMail)).one()
        if what == "from":
            mail.from_header = "nobody"
        else:
            data = b"no zlib" if what == "content" else b""
            db.session.connection().exec_driver_sql(f"UPDATE blob SET data = {_bytes(data)}")
        db.session.commit()
    desk.mail("good@x.test", html="<p>Good</p>")
    desk.send_all()
    assert desk.lines()["good@x.test"] == ("sent", None)
    state, reason = desk.lines()["bad@x.test"]
    assert state == "failed" and reason in ("mail_unusable", "invalid_address")


def _bytes(data: bytes) -> str:
    hexed = data.hex()
    return f"X'{hexed}'" if db.engine.dialect.name == "sqlite" else f"'\\x{hexed}'::bytea"


def test_a_result_that_can_not_be_stored_loses_its_words_only(desk: Desk, smtp_sink: Any) -> None:
    """The mails are out: whatever the database thinks of one result, all are recorded as sent, and none goes again."""
    desk.server(smtp_sink.port)
    desk.mail("first@x.test", "odd@x.test", "last@x.test")

    def refuse(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if "INSERT INTO delivery_attempt" in statement and ("odd" in str(values)):
            raise ValueError("not with me")

    with desk.app.app_context():
        event.listen(db.engine, "before_cursor_execute", refuse)
    desk.send_all()
    with desk.app.app_context():
        event.remove(db.engine, "before_cursor_execute", refuse)
    assert set(desk.lines().values()) == {("sent", None)}


def test_a_server_that_is_deleted_while_it_sends_takes_no_reason_with_it(desk: Desk, monkeypatch) -> None:
    class Deleted(deliver.LineBatch):
        def goes_on(self) -> bool:
            db.session.execute(delete(OutgoingServer))
            db.session.commit()
            return super().goes_on()

    monkeypatch.setattr(deliver, "LineBatch", Deleted)
    replies = {b"RCPT": b"550 5.1.1 No such user\r\n"}
    with misbehaving(dialogue(b"220 mx.test ESMTP\r\n", replies, b"250 ok\r\n")) as port:
        desk.server(port)
        desk.mail("bad@x.test")
        desk.send_all()
    assert desk.lines() == {"bad@x.test": ("failed", "no_such_mailbox")}


def test_a_batch_that_fails_three_times_is_taken_apart(desk: Desk, smtp_sink: Any, monkeypatch) -> None:
    """A mistake of ours that no line can be blamed for: each is tried alone in the end, and fails with the reason."""
    desk.server(smtp_sink.port)
    desk.mail("bad@x.test", "good@x.test")

    class Broken(deliver.LineBatch):
        def goes_on(self) -> bool:
            if any(line.address == "bad@x.test" for line in self.waiting):
                raise ZeroDivisionError("on the way")
            return super().goes_on()

    monkeypatch.setattr(deliver, "LineBatch", Broken)
    for _ in range(3):
        assert desk.step() == 2
        assert desk.lines()["bad@x.test"] == ("queued", "delivery_unexpected")
        assert desk.step() == 0, "it waits a while"
        desk.make_due()
    for _ in range(3):
        desk.step()
        desk.make_due()
    assert desk.lines() == {"bad@x.test": ("failed", "delivery_unexpected"), "good@x.test": ("sent", None)}


# --- what our own machine raises waits, with its reason


def test_with_another_key_mail_waits_until_the_password_is_typed_anew(desk: Desk, smtp_sink: Any) -> None:
    server_id = desk.server(smtp_sink.port, authentication="password", user="clerk", password="secret")
    desk.server(smtp_sink.port, "other")
    desk.app.extensions[FERNET] = MultiFernet([Fernet(Fernet.generate_key())])
    desk.mail("ann@x.test")
    desk.mail("bob@x.test", server="other")
    desk.send_all()
    assert desk.lines() == {"ann@x.test": ("queued", "secret_unreadable"), "bob@x.test": ("sent", None)}
    with desk.app.app_context():
        line = db.session.scalars(select(Recipient).where(Recipient.address == "ann@x.test")).one()
        assert "“main”" in say(line.why)
        assert line.attempts == 0
        assert timedelta(seconds=20) < line.next_try_at - datetime.now(UTC) <= timedelta(seconds=30)
        server = db.session.get(OutgoingServer, server_id)
        assert server is not None and not server.password, "its page opens, and asks for the password"
        server.password, server.authentication = "typed anew", "none"
        db.session.commit()
    desk.make_due()
    desk.send_all()
    assert desk.lines()["ann@x.test"] == ("sent", None)


def test_without_room_for_the_journal_nothing_goes_out_and_everything_waits(desk: Desk, smtp_sink: Any, monkeypatch):
    desk.server(smtp_sink.port)
    desk.mail("ann@x.test", "bob@x.test")

    def no_room(_self: Journal, _state: bytes, _key: str) -> None:
        raise JournalFailed(detail="No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "_write", no_room)
        desk.send_all()
    assert set(desk.lines().values()) == {("queued", "journal_failed")}
    with desk.app.app_context():
        assert set(db.session.scalars(select(Recipient.attempts))) == {0}
    desk.make_due()
    desk.send_all()
    assert set(desk.lines().values()) == {("sent", None)}


@ONE_DATABASE
def test_a_thread_that_can_not_open_its_journal_keeps_the_row_and_says_why(desk: Desk, smtp_sink: Any, monkeypatch):
    desk.server(smtp_sink.port)
    desk.mail("ann@x.test")

    def no_room(*_: Any) -> Journal:
        raise JournalFailed(detail="No space left on device")

    with desk.app.app_context():
        identity = WorkerIdentity()
        held = identity.begin()
        pool = PersonalSenders("send", "queue", 1, identity, desk.connections, lambda: False)
        thread = pool.thread()
        with monkeypatch.context() as patched:
            patched.setattr(Journal, "open", no_room)
            for _ in range(3):
                with pytest.raises(NotNow) as told:
                    thread.work()
                assert told.value.why is not None and told.value.why["code"] == "journal_failed"
        assert identity.current() is held, "nothing was claimed: the row of the worker stays"
    assert desk.lines() == {"ann@x.test": ("queued", "journal_failed")}


def test_a_thread_that_was_added_takes_the_journal_of_one_that_left(desk: Desk) -> None:
    pool = PersonalSenders("send", "queue", 1, WorkerIdentity(), desk.connections, lambda: False)
    names = [pool.thread().name for _ in range(3)]
    assert names == ["send-1", "send-2", "send-3"]
    assert pool.may_leave(2) and pool.thread().name == "send-2"
    assert pool.may_leave(1) and pool.may_leave(3) and not pool.may_leave(2), "the last ones stay"


# --- servers that fail after the content


class Flaky:
    """A server that is well, or cuts every connection at one moment: ``dot`` once it has the whole mail."""

    def __init__(self) -> None:
        self.cuts: str | None = None
        self.accepted: list[str] = []
        self.connections = 0

    def talk(self, connection: socket.socket) -> None:
        self.connections += 1
        connection.sendall(b"220 flaky.test ESMTP\r\n")
        lines = connection.makefile("rb")
        recipient = ""
        for line in lines:
            moment = {b"MAIL": "mail", b"RCPT": "rcpt", b"DATA": "data"}.get(line[:4].upper(), "")
            if moment == "rcpt":
                recipient = line.partition(b"<")[2].partition(b">")[0].decode()
            if moment == "data" and self.cuts != "data":
                connection.sendall(b"354 go on\r\n")
                while lines.readline() not in (b".\r\n", b""):
                    pass
                moment = "dot"
            if moment and moment == self.cuts:
                connection.shutdown(socket.SHUT_RDWR)
                return
            if moment == "dot":
                self.accepted.append(recipient)
            connection.sendall(b"250 2.0.0 fine\r\n")


def test_a_server_that_loses_its_answers_costs_three_doubts_and_no_line(desk: Desk) -> None:
    flaky = Flaky()
    flaky.cuts = "dot"
    people = [f"p{number}@x.test" for number in range(30)]
    with misbehaving(flaky.talk) as port:
        desk.server(port)
        desk.mail(*people)
        desk.send_all()
        found = desk.lines()
        assert [found[person] for person in people[:3]] == [("queued", "doubt_waits")] * 3
        assert {found[person] for person in people[3:20]} == {("queued", "in_doubt")}, (
            "they were not begun, and say why"
        )
        assert desk.step() == 0, "the server counts as away"
        flaky.cuts = None
        for state in desk.servers._states.values():
            state.away_until = 0.0
        desk.send_all()
    assert set(desk.lines().values()) == {("sent", None)}
    assert sorted(flaky.accepted) == sorted(people), "those in doubt went once more after another mail was accepted"
    with desk.app.app_context():
        assert Counter(db.session.scalars(select(Recipient.doubts))) == {0: 27, 1: 3}


def test_a_line_is_not_burnt_by_a_second_doubt_against_the_same_server(desk: Desk) -> None:
    flaky = Flaky()
    flaky.cuts = "dot"
    with misbehaving(flaky.talk) as port:
        desk.server(port)
        desk.mail("ann@x.test")
        desk.send_all()
        assert desk.lines() == {"ann@x.test": ("queued", "doubt_waits")}
        desk.mail("bob@x.test")
        desk.send_all()
        assert desk.lines()["ann@x.test"] == ("queued", "doubt_waits"), "it was not tried a second time"
        flaky.cuts = None
        desk.mail("cat@x.test")
        desk.send_all()
    assert set(desk.lines().values()) == {("sent", None)}


def test_a_second_doubt_waits_for_a_person(desk: Desk) -> None:
    flaky = Flaky()
    flaky.cuts = "dot"
    with misbehaving(flaky.talk) as port:
        desk.server(port)
        desk.mail("ann@x.test")
        desk.send_all()
        desk.make_due()  # an hour later, and no other mail was accepted
        desk.send_all()
    assert desk.lines() == {"ann@x.test": ("unknown", "unknown_final")}


@pytest.mark.heavy
@pytest.mark.parametrize("moment", ["mail", "rcpt", "data"])
def test_cuts_before_the_content_are_tried_again_and_then_the_server_is_away(desk: Desk, moment: str) -> None:
    flaky = Flaky()
    flaky.cuts = moment
    with misbehaving(flaky.talk) as port:
        desk.server(port)
        desk.mail(*(f"p{number}@x.test" for number in range(6)))
        desk.send_all()
        assert Counter(desk.lines().values()) == {("queued", "connection_lost"): 6}
        assert flaky.connections == 6, "each of three mails was tried over a new connection at once"
        with desk.app.app_context():
            assert Counter(db.session.scalars(select(Recipient.attempts))) == {1: 3, 0: 3}
        flaky.cuts = None
        desk.make_due()
        desk.send_all()
    assert set(desk.lines().values()) == {("sent", None)}


def test_a_refusal_of_the_content_that_names_the_address_counts(desk: Desk) -> None:
    def refuses(connection: socket.socket) -> None:
        connection.sendall(b"220 hi\r\n")
        lines = connection.makefile("rb")
        for line in lines:
            if line.startswith(b"DATA"):
                connection.sendall(b"354 go\r\n")
                while lines.readline() not in (b".\r\n", b""):
                    pass
                connection.sendall(b"550 5.1.1 No such user\r\n")
            else:
                connection.sendall(b"250 ok\r\n")

    with misbehaving(refuses) as port:
        desk.server(port)
        desk.mail("gone@x.test")
        with desk.app.app_context():
            answer_id = db.session.scalars(select(OutgoingMail.id)).one()
            mails = {"source": "practice", "size": 0, "received_at": datetime.now(UTC), "state": "rejected"}
            db.session.add_all([ReceivedMail(source_key="1", answer_id=answer_id, **mails),
                                ReceivedMail(source_key="2", **mails)])  # fmt: skip
            db.session.commit()
        desk.send_all()
    with desk.app.app_context():
        bounce = db.session.scalars(select(Bounce)).one()
        assert (bounce.address_key, bounce.kind, bounce.counted) == ("gone@x.test", "hard", True)
        received = db.session.scalars(select(ReceivedMail).order_by(ReceivedMail.id)).all()
        assert [row.state for row in received] == ["ignored", "rejected"], "a rejection that nobody got is none"
        assert received[0].decision == [{"code": "unanswered_failed", "values": {}}]


# --- servers with limits


class Limited:
    """A server that takes one connection at a time, or so many mails over one; ``refusal`` is what it says then."""

    def __init__(self, connections: int = 99, mails: int = 999, refusal: str = "", size: str = "") -> None:
        self.most, self.mails, self.refusal, self.size = connections, mails, refusal, size
        self.open = self.refused = self.sessions = 0
        self.accepted: list[str] = []
        self.contents: list[bytes] = []
        self.slow = threading.Event()
        self._lock = threading.Lock()

    def talk(self, connection: socket.socket) -> None:
        with self._lock:
            self.open, self.sessions = self.open + 1, self.sessions + 1
            too_many = self.open > self.most
            self.refused += too_many
        try:
            if too_many:
                if self.refusal:
                    connection.sendall(self.refusal.encode() + b"\r\n")
                connection.shutdown(socket.SHUT_RDWR)
                return
            self._serve(connection)
        finally:
            with self._lock:
                self.open -= 1

    def _serve(self, connection: socket.socket) -> None:
        connection.sendall(b"220 limited.test ESMTP\r\n")
        lines = connection.makefile("rb")
        recipient, taken = "", 0
        for line in lines:
            if line[:4].upper() == b"RCPT":
                recipient = line.partition(b"<")[2].partition(b">")[0].decode()
            if line[:4].upper() == b"EHLO" and self.size:
                connection.sendall(f"250-limited.test\r\n250 SIZE {self.size}\r\n".encode())
                continue
            if line[:4].upper() == b"MAIL" and taken >= self.mails:
                connection.sendall(b"452 4.4.5 Maximum number of messages per session exceeded\r\n")
                continue
            if line[:4].upper() == b"DATA":
                connection.sendall(b"354 go on\r\n")
                self.contents.append(b"".join(takewhile(lambda line: line != b".\r\n", lines)))
                self.slow.wait(0.02)
                taken += 1
                self.accepted.append(recipient)
            connection.sendall(b"250 2.0.0 fine\r\n")


def test_so_many_mails_a_session_is_learned_and_kept(desk: Desk) -> None:
    limited = Limited(mails=5)
    people = [f"p{number}@x.test" for number in range(40)]
    with misbehaving(limited.talk) as port:
        server_id = desk.server(port)
        desk.mail(*people)
        desk.send_all()
    assert limited.accepted == people
    with desk.app.app_context():
        kept = db.session.get(ServerLimit, server_id)
        assert kept is not None and kept.mails == 5
        assert Counter(db.session.scalars(select(Recipient.attempts))) == {1: 40}
    with desk.app.app_context(), Connections().to(server_id) as connection:
        assert connection.most_mails == 5, "the next process knows it"


def test_how_large_an_email_a_server_takes_is_learned(desk: Desk) -> None:
    """Files that make an email larger than one of the servers in use takes leave as links."""
    limited = Limited(size="2000000")
    with misbehaving(limited.talk) as port:
        server_id = desk.server(port)
        desk.mail("ann@x.test")
        desk.send_all()
        with desk.app.app_context():
            kept = db.session.get(ServerLimit, server_id)
            assert kept is not None and (kept.largest, kept.mails) == (2_000_000, None)
            assert most_octets() == 2_000_000
            kept.learned_at -= timedelta(days=31)
            db.session.commit()
            assert most_octets() == 25_000_000, "nobody used it for long: it may take more by now"
        desk.connections.close()
        desk.connections = Connections()
        desk.mail("bob@x.test")
        desk.send_all()
    with desk.app.app_context():
        assert most_octets() == 2_000_000, "it said so again"
        host, at = settings().default_server.host, datetime.now(UTC)
        db.session.add(ServerLimit(server_id=0, host=host, largest=1_500_000, learned_at=at))
        assert most_octets() == 2_000_000, "the default server is not in use"
        db.session.execute(update(OutgoingServer).values(active=False))
        assert most_octets() == 1_500_000, "no other one is"
        db.session.execute(update(ServerLimit).where(ServerLimit.server_id == 0).values(host="127.0.0.2"))
        assert most_octets() == 25_000_000, "it was another one"
        db.session.execute(update(OutgoingServer).values(active=True, host="127.0.0.2"))
        assert most_octets() == 25_000_000, "it leads elsewhere"


def test_what_was_learned_is_forgotten_after_a_day_and_with_another_host(desk: Desk) -> None:
    server_id = desk.server(2525)
    with desk.app.app_context():

        def most() -> int | None:
            with desk.connections.to(server_id) as connection:
                return connection.most_mails

        yesterday = datetime.now(UTC) - timedelta(hours=23)
        db.session.add(ServerLimit(server_id=server_id, host="127.0.0.1", mails=5, learned_at=yesterday))
        db.session.commit()
        assert most() == 5
        db.session.execute(update(OutgoingServer).values(host="127.0.0.2"))
        db.session.commit()
        assert most() is None
        db.session.execute(update(OutgoingServer).values(host="127.0.0.1"))
        db.session.commit()
        assert most() == 5
        db.session.execute(update(ServerLimit).values(learned_at=yesterday - timedelta(hours=2)))
        db.session.commit()
        assert most() == 5, "it is not read before every batch"
        desk.connections._learned[server_id].read_at -= LEARNED_FOR.total_seconds()
        assert most() is None


def test_the_extra_headers_of_a_server_are_in_every_email(desk: Desk) -> None:
    added = "X-SES-CONFIGURATION-SET: office\nX-Office: Köln"
    limited = Limited()
    with misbehaving(limited.talk) as port:
        server_id = desk.server(port, headers=added)
        desk.mail("ann@x.test")
        desk.send_all()
        with desk.app.app_context():
            id = draft(add_contacts(2), forced_server_id=server_id)
            mailing.send(id, datetime.now(UTC))
            prepare(id, datetime.now(UTC))
            assert chunks.send_some(desk.worker, desk.connections, desk.journal)
            source = lines.whole_mail(db.session.scalars(select(Recipient.id)).one())
    mails = [message_from_bytes(content, policy=policy.default) for content in limited.contents]
    assert [(mail["X-SES-CONFIGURATION-SET"], mail["X-Office"]) for mail in mails] == [("office", "Köln")] * 3
    assert source == limited.contents[0], "its source is what was sent"


def test_a_record_bounds_what_is_learned(desk: Desk) -> None:
    """A server that takes eight mails a session is given three, as its record says, and nothing is learned of that."""
    limited = Limited(mails=8)
    with misbehaving(limited.talk) as port:
        server_id = desk.server(port, per_connection=3)
        desk.mail(*(f"p{number}@x.test" for number in range(7)))
        desk.send_all()
    assert len(limited.accepted) == 7 and limited.sessions == 3
    with desk.app.app_context():
        assert db.session.get(ServerLimit, server_id) is None


def test_workers_share_the_connections_of_a_server(desk: Desk) -> None:
    """Three connections for two workers: this one, the older, has two of them; alone it has all three."""
    server_id = desk.server(2525, connections=3)
    identity = WorkerIdentity()
    with desk.app.app_context():
        identity._current = desk.worker
        other = WorkerLease.register(datetime.now(UTC))
        shares = ConnectionShares(desk.connections, identity)
        shares.work()
        assert desk.servers.most_connections(server_id) == 2
        other.end()
        shares.work()
        assert desk.servers.most_connections(server_id) == 3
        db.session.get_one(OutgoingServer, server_id).connections = None
        db.session.commit()
        shares.work()
        assert desk.servers.most_connections(server_id) is None


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("refusal", "kept"),
    [
        ("421 4.7.0 Too many concurrent connections", 1),
        ("554 5.7.0 Connection limit exceeded", 1),
        ("421 4.3.2 Try again later", None),
        ("", None),  # closed without a word
    ],
)
def test_a_refused_further_connection_touches_no_line(desk: Desk, refusal: str, kept: int | None) -> None:
    limited = Limited(connections=1, refusal=refusal)
    people = [f"p{number}@x.test" for number in range(60)]
    with misbehaving(limited.talk) as port:
        server_id = desk.server(port)
        desk.mail(*people)

        def send() -> None:
            with desk.app.app_context():
                journal = Journal.open(settings().journal_folder, desk.worker.id, threading.current_thread().name)

            def all_are_sent() -> bool:
                with desk.app.app_context():
                    deliver.send_some(desk.worker, desk.connections, journal)
                return len(limited.accepted) == len(people)

            wait_until(all_are_sent, every=0.02)

        threads = [threading.Thread(target=send, name=f"t{number}", daemon=True) for number in range(2)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(limited.accepted) == len(people))
        for thread in threads:
            thread.join(60)
    assert sorted(limited.accepted) == sorted(people)
    assert set(desk.lines().values()) == {("sent", None)}
    assert limited.refused >= 1
    with desk.app.app_context():
        assert Counter(db.session.scalars(select(Recipient.attempts))) == {1: 60}
        assert len(db.session.scalars(select(DeliveryAttempt.id)).all()) == 60
        known = db.session.get(ServerLimit, server_id)
        assert (known and known.connections) == kept


@pytest.mark.heavy
@ONE_DATABASE
def test_a_post_does_not_wait_for_a_mailing_over_the_only_connection(desk: Desk) -> None:
    limited, over = Limited(connections=1), threading.Event()
    with misbehaving(limited.talk) as port:
        server_id = desk.server(port, connections=1)
        with desk.app.app_context():
            id = draft(add_contacts(120), forced_server_id=server_id)
            mailing.send(id, datetime.now(UTC))
            prepare(id, datetime.now(UTC))

        def send_mailing() -> None:
            with desk.app.app_context():
                journal = Journal.open(settings().journal_folder, desk.worker.id, "mass")
                while not over.is_set():
                    if not chunks.send_some(desk.worker, desk.connections, journal):
                        over.wait(0.05)

        mass = threading.Thread(target=send_mailing, daemon=True)
        mass.start()
        try:
            wait_until(lambda: len(limited.accepted) > 5)
            desk.mail("boss@x.test")
            wait_until(lambda: desk.step() and "boss@x.test" in limited.accepted, every=0.02)
            wait_until(lambda: len(limited.accepted) == 121)
            assert limited.accepted[-1] != "boss@x.test", "the mailing went on behind it"
        finally:
            over.set()
            mass.join(60)
    assert limited.refused == 0


# --- no server left


def test_with_no_server_left_mail_waits_and_goes_out_when_there_is_one(desk: Desk, smtp_sink: Any) -> None:
    server_id = desk.server(smtp_sink.port)
    desk.mail("first@x.test")
    desk.send_all()
    with desk.app.app_context():
        assert office.is_live()
        server = db.session.get(OutgoingServer, server_id)
        assert server is not None
        server.active = False
        db.session.commit()
    desk.mail("ann@x.test")
    desk.send_all()
    assert desk.lines()["ann@x.test"] == ("queued", "no_server"), "the practice mailbox does not take over"
    with desk.app.app_context():
        waiting = db.session.scalars(select(OutgoingMail).order_by(OutgoingMail.id.desc())).first()
        assert b"\r\nReply-To: a@main.test\r\n" in b"\r\n" + Blob.read(waiting.content_blob_id)
        assert waiting.message_id.endswith("@mycompany.test>")
    watch = ServerWatch(desk.connections)
    with desk.app.app_context():
        watch.work()
        line = db.session.scalars(select(Recipient).where(Recipient.address == "ann@x.test")).one()
        assert timedelta(0) < line.next_try_at - datetime.now(UTC) <= timedelta(minutes=1)
        db.session.get(OutgoingServer, server_id).active = True  # type: ignore[union-attr]
        db.session.commit()
        watch.work()
    desk.send_all()
    assert desk.lines()["ann@x.test"] == ("sent", None)


def test_once_custom_servers_are_off_what_waits_for_one_goes_another_way(desk: Desk, smtp_sink: Any) -> None:
    """The way back to practice says so: real people would get what waited."""
    server_id, before = desk.server(smtp_sink.port, per_day=1), datetime.now(UTC)
    desk.mail("sent@x.test", "limited@x.test")
    desk.send_all()
    desk.mail("ann@x.test", "retried@x.test")
    desk.change("retried@x.test", wait="retry", next_try_at=before + timedelta(hours=1))
    with desk.app.app_context():
        office.back_to_practice(datetime.now(UTC))
        db.session.commit()
    desk.send_all()
    limited = {address for address, (_, code) in desk.lines().items() if code == "limit_day"}
    assert limited == {"limited@x.test", "ann@x.test"}, "whatever is due is asked first what its server may be given"
    with desk.app.app_context():
        office.go_live(before)
        assert not office.is_live(), "what the server had in hand does not end the practice"
        ServerWatch(desk.connections).work()
    desk.send_all()
    away = ("queued", "practice_away")  # it does not listen here
    others = {address: line for address, line in desk.lines().items() if address != "sent@x.test"}
    assert others == dict.fromkeys(("limited@x.test", "ann@x.test", "retried@x.test"), away)
    with desk.app.app_context():
        db.session.execute(update(OutgoingServer).values(per_day=None))
        db.session.commit()
    desk.mail("cat@x.test", forced_server_id=server_id)
    desk.send_all()
    assert desk.lines()["cat@x.test"] == ("sent", None), "somebody named it"


def test_what_is_in_hand_stops_once_custom_servers_are_off(desk: Desk) -> None:
    class Accepted(list[str]):
        def append(self, who: str) -> None:
            super().append(who)
            desk.connections.custom_off = True

    limited = Limited()
    limited.accepted = Accepted()
    with misbehaving(limited.talk) as port:
        desk.server(port)
        desk.mail("ann@x.test", "bob@x.test")
        with desk.app.app_context():
            pool = PersonalSenders("personal", "queue", 1, WorkerIdentity(), desk.connections, lambda: False)
            assert pool.send(desk.worker, desk.journal)
    assert desk.lines() == {"ann@x.test": ("sent", None), "bob@x.test": ("queued", None)}


def test_what_a_worker_holds_is_left_to_it(desk: Desk) -> None:
    """While it is sent somebody retries another recipient of the same email, whose size is not allowed any more."""
    server_id = desk.server(2525)
    desk.mail("ann@x.test", "bob@x.test")
    desk.change("bob@x.test", state="cancelled")
    now = datetime.now(UTC)
    with desk.app.app_context():
        held = claim(desk.worker.id, server_id, now, 5)
        db.session.execute(update(OutgoingMail).values(size=99_000_000))
        bob = db.session.scalars(select(Recipient.id).where(Recipient.address == "bob@x.test")).one()
        assert lines.queue_again([bob, held[0].id], {"code": "line_sent_again", "values": {"user": "Bob"}}, now)[1]
        with pytest.raises(NotCorrected):
            lines.correct_address(held[0].id, "cat@x.test", now, "Bob")
        db.session.commit()
    assert desk.lines() == {"ann@x.test": ("sending", None), "bob@x.test": ("failed", "larger_than_allowed")}
    with desk.app.app_context():
        batch = deliver.LineBatch(server_id, held, desk.worker, desk.journal)
        batch.note(held[0], Try(Outcome("end", 250, "2.0.0", "ok", True, False, False, None)))
        batch.record()
    assert desk.lines()["ann@x.test"] == ("sent", None), "it arrived"


def test_the_envelope_of_a_post_that_waits_for_a_server_is_amber(desk: Desk, smtp_sink: Any) -> None:
    with desk.app.app_context():
        parameters.put("mail.live", "1", datetime.now(UTC))
        thread = Thread()
        db.session.add(thread)
        db.session.flush()
        post = Post(thread_id=thread.id, kind="message", message_key="k", at=datetime.now(UTC))
        db.session.add(post)
        db.session.commit()
        post_id = post.id
    desk.mail("ann@x.test", post_id=post_id)
    with desk.app.app_context():
        envelope = envelopes([post_id])[post_id]
        assert (envelope.colour, envelope.stranded) == ("amber", True)
    desk.server(smtp_sink.port)
    desk.send_all()
    with desk.app.app_context():
        envelope = envelopes([post_id])[post_id]
        assert (envelope.colour, envelope.stranded) == ("green", False)


def test_without_a_server_it_is_given_up_by_the_schedule(desk: Desk) -> None:
    with desk.app.app_context():
        parameters.put("mail.live", "1", datetime.now(UTC))
        db.session.commit()
    desk.mail("ann@x.test")
    desk.change("ann@x.test", first_try_at=datetime.now(UTC) - timedelta(hours=49))
    desk.send_all()
    assert desk.lines() == {"ann@x.test": ("failed", "gave_up")}


def test_before_the_first_mail_through_a_real_server_practice_is_practice(desk: Desk) -> None:
    with desk.app.app_context():
        assert office.load().office.default_server is not None
        parameters.put("mail.live", "1", datetime.now(UTC))
        office.forget()
        assert office.load().office.default_server is None


# --- memory


def test_large_mails_are_in_memory_one_after_the_other() -> None:
    from mail.queue.concurrency import ByteBudget

    budget, inside, most, lock = ByteBudget(50), 0, 0, threading.Lock()
    budget.SMALL = 10  # type: ignore[misc]

    def hold(size: int) -> None:
        nonlocal inside, most
        with budget.of(size):
            with lock:
                inside += size
                most = max(most, inside)
            with lock:
                inside -= size

    with budget.of(30), budget.of(5):
        large = threading.Thread(target=hold, args=(40,), daemon=True)
        large.start()
        large.join(0.05)
        assert large.is_alive() and most == 0
        hold(9)  # a small one never waits
    large.join(60)
    assert most == 40
    hold(500)  # larger than all there is: alone


# --- one silent server holds up nobody else


def test_no_transaction_is_open_while_a_server_is_waited_for(desk: Desk, monkeypatch) -> None:
    """On SQLite it would be the write lock: a silent server would hold up the whole office."""
    open_ones: list[bool] = []
    deliver_one = ServerConnection.deliver

    def look(self: ServerConnection, *arguments: Any, **options: Any) -> Any:
        open_ones.append(db.session().in_transaction())
        return deliver_one(self, *arguments, **options)

    monkeypatch.setattr(ServerConnection, "deliver", look)
    flaky = Flaky()
    with misbehaving(flaky.talk) as port:
        server_id = desk.server(port)
        for number in range(3):  # the first time more is looked up
            desk.mail(f"p{number}@x.test", html=f"<p>{number}</p>")
            desk.send_all()
        with desk.app.app_context():
            parameters.put("web.base.url", "https://mail.office.test", datetime.now(UTC))
            list_id = add_contacts(3)
            for _ in range(2):
                id = draft(list_id, forced_server_id=server_id)
                mailing.send(id, datetime.now(UTC))
                prepare(id, datetime.now(UTC))
                assert chunks.send_some(desk.worker, desk.connections, desk.journal)
    assert open_ones == [False] * 9


class Pool:
    """The sending threads of a worker, in this process."""

    def __init__(self, desk: Desk, least: int = 4) -> None:
        self.desk, self.stopping, self.loops = desk, threading.Event(), []
        with desk.app.app_context():
            self.identity = WorkerIdentity()
            self.identity.begin()
        self.pool = PersonalSenders("send", "queue", least, self.identity, desk.connections, self.stopping.is_set)
        group = LoopGroup()

        def add() -> Loop:
            thread: SendingThread = self.pool.thread()
            self.loops.append(Loop(thread.name, desk.app, thread.work, self.stopping, ["queue"], 0.1, group=group))
            return self.loops[-1]

        started = [add() for _ in range(least)]
        self.pool.ring, self.pool.grow = group.ring, lambda: add().start()
        watch = Loop("watch", desk.app, ServerWatch(desk.connections).work, self.stopping, pause=0.2)
        heart = Loop("heart", desk.app, lambda: self.identity.beat([]) is not None, self.stopping, pause=1.0)
        for loop in (*started, watch, heart):
            loop.start()

    def stop(self) -> None:
        self.stopping.set()
        for loop in self.loops:
            loop.notify()


@ONE_DATABASE
@pytest.mark.parametrize("number", [1, 8])
@pytest.mark.parametrize("moment", SILENT_AT)
def test_silent_servers_hold_up_their_own_mail_only(desk: Desk, smtp_sink: Any, moment: str, number: int) -> None:
    values = {
        "starttls": {"encryption": "starttls"},
        "auth": {"authentication": "password", "user": "u", "password": "p"},
    }
    with contextlib.ExitStack() as stack:
        for silent in range(number):
            port = stack.enter_context(misbehaving(silent_at(moment)))
            desk.server(port, f"silent{silent}", **values.get(moment, {}))
            desk.mail(*(f"held{line}@silent{silent}.test" for line in range(3)), server=f"silent{silent}")
        desk.server(smtp_sink.port, "good")
        pool = Pool(desk)
        try:
            wait_until(lambda: len(desk.servers._delivering) >= number or desk.states()["sending"] >= number)
            desk.mail("fresh@x.test", server="good")
            wait_until(lambda: desk.lines()["fresh@x.test"][0] == "sent")
            assert desk.states()["sent"] == 1
            if number == 1:  # they say what they wait for, while they wait
                wait_until(lambda: {why for state, why in desk.lines().values() if state != "sent"} == {"server_slow"})
        finally:
            pool.stop()


# --- a long queue


def sent_first(desk: Desk, steps: int) -> list[str]:
    """The addresses that the first claims send to."""
    for _ in range(steps):
        assert desk.step()
    return [address for address, (state, _) in desk.lines().items() if state == "sent"]


@ONE_DATABASE
@pytest.mark.parametrize(
    ("limits", "is_sent", "in_all"), [({}, True, 101), ({"per_day": 1000}, True, 101), ({"per_day": 35}, False, 35)]
)
def test_what_was_just_written_overtakes_a_long_queue_unless_a_limit_leaves_few(
    desk: Desk, smtp_sink: Any, limits: dict[str, int], is_sent: bool, in_all: int
) -> None:
    desk.server(smtp_sink.port, **limits)
    desk.mail(*(f"old{number}@x.test" for number in range(100)))
    desk.make_due()
    desk.mail("new@x.test")
    sent = sent_first(desk, 2)
    assert "old0@x.test" in sent and ("new@x.test" in sent) is is_sent
    desk.send_all()
    assert desk.states()["sent"] == in_all

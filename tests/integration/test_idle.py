"""Waiting for mail (IMAP IDLE): one connection for a mailbox, over which it is told and fetched; and how that ends."""

import selectors
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from mail import errors
from mail.incoming import flow
from mail.sentences import say, why
from mail.transport.imap_idle import IdleRefused, WaitingMailbox
from mail.transport.mailbox import After, FetchedBatch, MailboxTarget, Position
from models import IncomingServer, ReceivedMail, ScheduledAction, db
from scheduler import open_mailboxes
from scheduler.fetching import Fetcher
from scheduler.identity import WorkerIdentity
from scheduler.idling import Idler
from scheduler.open_mailboxes import OpenMailboxes
from tests.integration.frontdesk import FrontDesk, mail
from tests.office import Office
from tests.servers.app import App
from tests.servers.certificates import Authority
from tests.servers.dovecot import Dovecot
from tests.servers.misbehaving import misbehaving
from tests.servers.process import HOST
from tests.servers.scripted import ScriptedImap, refuse
from tests.waiting import wait_until

pytestmark = pytest.mark.heavy
OFFERS = "IMAP4rev1 UIDPLUS MOVE IDLE"


def letter(number: int) -> bytes:
    return mail(f"c{number}@customer.test", subject=f"mail {number}", message_id=f"<{number}@customer.test>")


def brought(box: WaitingMailbox, after: int = 0) -> int:
    """Fetch what is above a UID and return how many that is."""
    return sum(len(batch.mails) for batch in box.batches(Position(box.uidvalidity, after)))


# --- the connection


@pytest.mark.parametrize("encryption", ["none", "starttls", "tls"])
def test_it_hears_of_a_mail_and_fetches_it_over_the_same_connection(
    dovecot: Dovecot, mailbox: str, trusted: Authority, encryption: str
) -> None:
    port = dovecot.port("imap", encryption)
    target = MailboxTarget("Sales", "imap", HOST, port, encryption, mailbox, dovecot.password, allow_local=True)  # type: ignore[arg-type]
    dovecot.append(mailbox, letter(1))
    with WaitingMailbox(target) as box:
        assert box.can_wait() and brought(box) == 1
        with selectors.DefaultSelector() as watch:
            for number in (2, 3):
                assert box.rest() and not box.heard()
                watch.register(box, selectors.EVENT_READ)
                dovecot.append(mailbox, letter(number))
                wait_until(lambda watch=watch: bool(watch.select(1)) and box.heard())
                watch.unregister(box)
                box.go_on()
                assert brought(box, number - 1) == 1
        dovecot.append(mailbox, letter(4))
        assert not box.rest(), "what came during the fetch is fetched before it waits"
    box.close()


def waiting(server: ScriptedImap, port: int) -> WaitingMailbox:
    box = WaitingMailbox(MailboxTarget("Odd", "imap", HOST, port, "none", "u", "p", timeout_read=5, allow_local=True))
    assert brought(box) == len(server.mails)
    return box


@pytest.mark.parametrize(
    ("idling", "news"),
    [
        (b"+ idling\r\n", False),
        (b"+ idling\r\n* OK still here\r\n* 1 FETCH (FLAGS (\\Seen))\r\n* 1 EXPU", False),
        (b"+ idling\r\n* 2 EXISTS\r\n* 1 RECENT\r\n", True),
        (b"+ idling\r\n* 1 EXISTS\r\n", False),
        (b"+ idling\r\n* 1 EXPUNGE\r\n* 1 EXISTS\r\n", True),
        (b"* 2 EXISTS\r\n+ \r\n", True),
        (b"+ idling\r\n%t OK you waited long enough\r\n", True),
    ],
)
def test_what_a_server_says_while_it_waits(idling: bytes, news: bool) -> None:
    server = ScriptedImap({1: letter(1)}, offers=OFFERS, idling=idling)
    with misbehaving(server.talk) as port:
        box = waiting(server, port)
        assert box.rest()
        if news:
            wait_until(box.heard)
        else:
            assert not box.heard()
        box.go_on()
        assert brought(box, 1) == 0 and box.rest()
        box.close()


@pytest.mark.parametrize(
    ("idling", "error"),
    [
        (b"%t NO not today\r\n", IdleRefused),
        (b"%t BAD what?\r\n", IdleRefused),
        (b"+ idling\r\n* BYE going down\r\n", errors.MailboxEnded),
        (b"* BYE [UNAVAILABLE] try later\r\n", errors.MailboxLater),
        (b"+ idling\r\n" + b"x" * 300_000, errors.NotUnderstood),
    ],
)
def test_how_waiting_ends(idling: bytes, error: type[errors.MailError]) -> None:
    server = ScriptedImap({1: letter(1)}, offers=OFFERS, idling=idling)
    with misbehaving(server.talk) as port:
        box = waiting(server, port)
        with pytest.raises(error) as ended:
            box.rest()
            wait_until(lambda: box.heard())
        assert say(ended.value.why)
        box.close()


@pytest.mark.parametrize(
    ("count", "after", "waits"), [(2, "mark_read", False), (1, "mark_read", True), (1, "delete", False)]
)
def test_a_mail_that_is_named_during_the_fetch_is_not_overlooked(count: int, after: After, waits: bool) -> None:
    """Who names the number of mails only repeats it, unless it is another one, or some were removed meanwhile."""

    def told(command: str) -> bytes | None:
        return b"* %d EXISTS\r\n%%t OK done\r\n" % count if command == "NOOP" else None

    server = ScriptedImap({1: letter(1)}, offers=OFFERS, fault=told)
    with misbehaving(server.talk) as port:
        box = waiting(server, port)
        box.acknowledge(["7.1"], after)
        assert box.rest() is waits
        box.close()


# --- the worker


@dataclass
class Desk:
    """A worker's way of waiting, step by step: ``look`` is one turn of its loop."""

    app: Flask
    leads: bool = True
    mailboxes: OpenMailboxes = field(default_factory=OpenMailboxes)

    def __post_init__(self) -> None:
        self.office = FrontDesk(self.app)
        with self.app.app_context():
            self.identity = WorkerIdentity()
            self.identity.begin()
            db.session.commit()
        self.fetcher = Fetcher(self.app, self.identity, self.mailboxes)
        self.idler = Idler(lambda: self.leads, self.fetcher, self.mailboxes)

    def add(self, port: int, user: str = "u", password: str = "p") -> int:
        with self.app.app_context():
            row = IncomingServer(
                name=user, host=HOST, port=port, encryption="none", user=user, password=password, state="confirmed",
                fetch_existing=True, confirmed_at=datetime.now(UTC),
            )  # fmt: skip
            db.session.add(row)
            db.session.commit()
            return row.id

    def set(self, server_id: int, **values: object) -> None:
        with self.app.app_context():
            row = db.session.get_one(IncomingServer, server_id)
            for name, value in values.items():
                setattr(row, name, value)
            db.session.commit()

    def look(self) -> None:
        with self.app.app_context():
            self.idler.work()

    def until(self, condition: Callable[[], object]) -> None:
        """Take turns until something is so."""

        def turn() -> bool:
            self.look()
            return bool(condition())

        wait_until(turn, every=0.01)

    def row(self, server_id: int) -> IncomingServer:
        with self.app.app_context():
            row = db.session.get_one(IncomingServer, server_id)
            db.session.expunge(row)
            return row

    def waits(self, server_id: int) -> bool:
        return self.row(server_id).idle_since is not None

    def why(self, server_id: int) -> str:
        return (self.row(server_id).idle_why or {}).get("code", "")

    def arrived(self) -> int:
        with self.app.app_context():
            return len(db.session.scalars(select(ReceivedMail.id).where(ReceivedMail.state == "processed")).all())

    def rest(self) -> None:
        """Wait until no fetch is under way."""
        wait_until(lambda: not self.fetcher._running)


@pytest.fixture
def desk(app: Flask) -> Iterator[Desk]:
    made = Desk(app)
    yield made
    made.idler.close()
    made.rest()


@contextmanager
def scripted(**values: object) -> Iterator[tuple[ScriptedImap, int]]:
    server = ScriptedImap({1: letter(1)}, **({"offers": OFFERS} | values))  # type: ignore[arg-type]
    with misbehaving(server.talk) as port:
        yield server, port


ONE_DATABASE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def test_one_connection_for_each_mailbox_whoever_fetches(
    desk: Desk, dovecot: Dovecot, mailbox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    take, watches = flow._Run.take, list[Any]()

    def one_more(run: flow._Run, batch: FetchedBatch) -> None:
        take(run, batch)
        if not watches:
            dovecot.append(mailbox, letter(2))
        watches.append(run.mailbox.line._watch)  # type: ignore[attr-defined]

    monkeypatch.setattr(flow._Run, "take", one_more)
    server_id = desk.add(dovecot.port("imap"), mailbox, dovecot.password)
    dovecot.append(mailbox, letter(1))
    desk.until(lambda: desk.waits(server_id))
    assert desk.arrived() == 2, "what came during the fetch was fetched at once"
    assert watches and all(watch.finished.is_set() for watch in watches), "they would cut it while it waits"
    box = desk.mailboxes._waiting[server_id]
    dovecot.append(mailbox, letter(3))
    desk.until(lambda: desk.arrived() == 3)
    desk.rest()
    assert desk.fetcher.start(server_id).result(60).why is None
    assert desk.mailboxes._waiting[server_id] is box, "the scheduled fetch went over it as well"


@ONE_DATABASE
def test_what_is_heard_while_a_fetch_ends_is_fetched_next(
    desk: Desk, dovecot: Dovecot, mailbox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server_id = desk.add(dovecot.port("imap"), mailbox, dovecot.password)
    desk.until(lambda: desk.waits(server_id))
    desk.rest()
    with monkeypatch.context() as ends:
        ends.setattr(desk.fetcher, "is_fetching", lambda _server_id: True)
        dovecot.append(mailbox, letter(1))
        desk.until(lambda: desk.idler._heard)
    assert desk.arrived() == 0
    desk.until(lambda: desk.arrived() == 1)
    assert not desk.idler._heard


@ONE_DATABASE
@pytest.mark.parametrize(
    "change",
    [
        {"active": False},
        {"state": "draft"},
        {"password": "another"},
        {"folder": "INBOX.Other"},
        "off",
        "gone",
        "follows",
    ],
)
def test_what_is_not_wanted_any_more_ends_at_once(desk: Desk, change: object) -> None:
    with scripted() as (server, port):
        server_id = desk.add(port)
        desk.until(lambda: desk.waits(server_id))
        before = server.connections[0]
        if isinstance(change, dict):
            desk.set(server_id, **change)
        elif change == "follows":
            desk.leads = False
            desk.idler._heard.add(server_id)
        else:
            with desk.app.app_context():
                if change == "gone":
                    db.session.delete(db.session.get(IncomingServer, server_id))
                else:
                    db.session.execute(update(ScheduledAction).values(active=False))
                db.session.commit()
        desk.look()
        wait_until(lambda: before not in server.connections)
        assert "DONE" in server.heard and not desk.idler._heard
        if isinstance(change, dict) and not {"active", "state"} & set(change):
            desk.until(lambda: desk.waits(server_id) and server_id in desk.mailboxes._waiting)
            assert len(server.connections) == 1
        elif isinstance(change, dict):
            assert not desk.waits(server_id)


@ONE_DATABASE
def test_a_lost_connection_is_made_again_and_later_each_time(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_mailboxes, "RECONNECT_AFTER", (0.0, 0.1, 3600.0))
    with scripted() as (server, port):
        server_id = desk.add(port)
        for cuts in range(2):
            desk.until(lambda: len(desk.mailboxes))
            assert desk.mailboxes._courses[server_id].losses == cuts
            server.connections[0].shutdown(socket.SHUT_RDWR)
            desk.until(lambda: not len(desk.mailboxes))
        desk.until(lambda: desk.why(server_id) == "idle_lost")
        assert not desk.waits(server_id) and not desk.mailboxes.due()
        assert "3,600" in say(desk.row(server_id).idle_why) or "3600" in say(desk.row(server_id).idle_why)
        assert desk.fetcher.start(server_id).result(60).why is None, "the scheduled fetch does not wait for that"
        desk.until(lambda: desk.waits(server_id) and not desk.why(server_id))
        desk.mailboxes._waiting[server_id].opened_at -= open_mailboxes.STEADY
        assert desk.fetcher.start(server_id).result(60).why is None, "it goes over the connection of before"
        desk.rest()
        server.connections[0].shutdown(socket.SHUT_RDWR)
        desk.until(lambda: desk.mailboxes._courses[server_id].losses == 0)
        desk.until(lambda: desk.waits(server_id))


@ONE_DATABASE
def test_a_database_that_was_away_is_no_reason_to_wait_for_the_schedule(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_mailboxes, "SOON", 0.0)
    monkeypatch.setattr(open_mailboxes, "RECONNECT_AFTER", (3600.0, 3600.0))
    with scripted() as (server, port), monkeypatch.context() as away:
        server_id = desk.add(port)
        desk.until(lambda: desk.waits(server_id))
        desk.rest()
        locked = OperationalError("INSERT", {}, sqlite3.OperationalError("database is locked"))
        away.setattr(flow.intake, "unacknowledged", lambda *_: (_ for _ in ()).throw(locked))
        reason = desk.fetcher.start(server_id).result(60).why
        assert reason is not None and reason["code"] == "database_away"
        desk.rest()
        desk.look()
        assert desk.why(server_id) == "database_away" and not desk.mailboxes.due(), "each try would be a log-in"
        away.setattr(desk.fetcher._identity, "alone", lambda _thing: (_ for _ in ()).throw(locked))
        assert desk.fetcher.start(server_id).result(60).why == reason
        desk.rest()
        away.undo()
        server.mails[2] = letter(2)
        desk.until(lambda: desk.arrived() == 2)


@ONE_DATABASE
@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"offers": "IMAP4rev1"}, "mailbox_idle_missing"),
        ({"idling": b"%t NO not today\r\n"}, "mailbox_idle_refused"),
        ({"idling": b"%t NO [LIMIT] Too many open connections\r\n"}, "idle_too_many"),
        ({"idling": b"+ idling\r\n* BYE Too many simultaneous connections\r\n"}, "idle_too_many"),
    ],
)
def test_a_mailbox_that_can_not_wait_says_why_and_is_fetched_all_the_same(
    desk: Desk, values: dict[str, object], code: str
) -> None:
    with scripted(**values) as (server, port):
        server_id = desk.add(port)
        desk.until(lambda: desk.why(server_id) == code)
        desk.rest()
        assert not desk.waits(server_id) and desk.row(server_id).why is None and desk.arrived() == 1
        server.mails[2] = letter(2)
        assert desk.fetcher.start(server_id).result(60).mails == 1
        wait_until(lambda: not server.connections)
        desk.look()
        assert desk.why(server_id) == code


@ONE_DATABASE
def test_where_connections_are_few_the_waiting_ones_make_room(desk: Desk) -> None:
    """The second mailbox gets no connection while the first one holds its own."""
    with scripted() as (first, port), scripted() as (_, other):
        first_id = desk.add(port, "one")
        desk.until(lambda: desk.waits(first_id))
        first.mails.clear()
        crowded = refuse("LOGIN|AUTHENTICATE", "NO [UNAVAILABLE] Maximum number of connections exceeded", times=1)
        with scripted(fault=crowded) as (second, crowded_port):
            second_id = desk.add(crowded_port, "two")
            desk.until(lambda: desk.arrived() == 1 and desk.why(second_id))
        assert {desk.why(first_id), desk.why(second_id)} == {"idle_too_many"}
        assert not first.connections and second.heard and other


@ONE_DATABASE
def test_a_wrong_password_is_left_to_the_schedule(desk: Desk, dovecot: Dovecot, mailbox: str) -> None:
    server_id = desk.add(dovecot.port("imap"), mailbox, "wrong")
    desk.until(lambda: desk.row(server_id).why)
    desk.rest()
    desk.look()
    assert desk.mailboxes._courses[server_id].due is None and not desk.mailboxes.due()


def test_a_mailbox_that_another_worker_fetches_is_looked_at_again_in_its_time() -> None:
    mailboxes = OpenMailboxes()
    mailboxes.want({1: ("mail.test", ())})
    opening = mailboxes.opening(1)
    mailboxes._waiting[1] = object()  # type: ignore[assignment]
    mailboxes._courses[1].waits_from -= open_mailboxes.RENEW_AFTER + time.monotonic()
    assert mailboxes.due() == [1], "its connection is old"
    mailboxes.ended(opening, why("fetch_under_way"), soon=True)
    assert mailboxes.due() == []
    mailboxes._courses[1].due = time.monotonic()
    assert mailboxes.due() == [1]


def test_a_fetch_that_gets_no_thread_says_so_and_the_next_one_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    fetcher = Fetcher(None, None, OpenMailboxes())  # type: ignore[arg-type]
    full = RuntimeError("can't start new thread")
    monkeypatch.setattr("scheduler.fetching.threading.Thread.start", lambda _thread: (_ for _ in ()).throw(full))
    reason = fetcher.start(1).result(0).why
    assert reason is not None and "can't start new thread" in say(reason) and not fetcher.is_fetching(1)


@ONE_DATABASE
def test_after_an_hour_a_mailbox_may_wait_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_mailboxes, "OFF_FOR", 0.2)
    monkeypatch.setattr(open_mailboxes, "RECONNECT_AFTER", (0.0, 0.0))
    with scripted(idling=b"%t NO Too many open connections\r\n") as (server, port):
        server_id = desk.add(port)
        desk.until(lambda: desk.why(server_id) == "idle_too_many")
        server.idling = b"+ idling\r\n"
        desk.until(lambda: desk.waits(server_id))


# --- the whole


@pytest.fixture
def office(running_app: App) -> Iterator[Office]:
    made = Office(running_app)
    yield made
    made.close()


@ONE_DATABASE
def test_mail_is_here_at_once_although_the_next_fetch_is_far_off(
    office: Office, dovecot: Dovecot, mailbox: str
) -> None:
    office.only("fetch", interval=1, unit="days", next_run_at=datetime.now(UTC) + timedelta(days=1))
    server_id = office.incoming_server(
        dovecot.port("imap"), user=mailbox, password=dovecot.password, fetch_existing=True
    )
    worker = office.worker()

    def row() -> IncomingServer:
        with office.looking():
            return db.session.get_one(IncomingServer, server_id)

    wait_until(lambda: row().idle_since)
    for number in (1, 2):
        dovecot.append(mailbox, letter(number))
        wait_until(lambda number=number: processed(office) == number)
    assert worker.terminate(10) == 0


def processed(office: Office) -> int:
    with office.looking():
        return len(db.session.scalars(select(ReceivedMail.id).where(ReceivedMail.state != "received")).all())

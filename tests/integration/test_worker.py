"""The worker as a process: what it held is handed back or recovered, servers are tested, faults of others pass by."""

import errno
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import cache

import psycopg
import pytest
from alembic.script import ScriptDirectory
from flask import Flask
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, TimeoutError

from mail.errors import JournalFailed
from mail.outgoing import enqueue
from mail.outgoing.enqueue import OutgoingDraft, To
from mail.queue import lease
from mail.queue.journal import Journal
from mail.queue.lease import LeaseLost, Stopping, WorkerLease
from mail.sentences import why
from mail.settings import parameters
from mail.settings.config import settings
from mail.settings.wake import reachable, wake
from models import (
    Contact,
    IncomingServer,
    MailboxState,
    OutgoingServer,
    PracticeMail,
    Quota,
    ReceivedMail,
    Recipient,
    ServerCheck,
    User,
    Worker,
    db,
    reading,
)
from models.outgoing import claim
from scheduler import recovery, worker
from scheduler.__main__ import MIGRATIONS, newest_version, wait_for_database
from scheduler.identity import WorkerIdentity
from scheduler.loops import Loop, NotNow, _Said, say_once
from tests.office import Office
from tests.servers.app import App
from tests.servers.dovecot import Dovecot
from tests.servers.misbehaving import misbehaving, silent
from tests.servers.postfix import Postfix
from tests.servers.postgres import Postgres
from tests.servers.process import temporary_folder
from tests.waiting import wait_until

ONE_DATABASE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)  # what has nothing to do with databases


@pytest.fixture
def office(running_app: App) -> Iterator[Office]:
    made = Office(running_app)
    yield made
    made.close()


MAIL = b"From: ann@x.test\r\nTo: sales@office.test\r\nMessage-ID: <%b@x.test>\r\nSubject: Hello\r\n\r\nHello\r\n"


# --- lines


def test_mail_goes_out_at_once(office: Office, postfix: Postfix) -> None:
    office.outgoing_server(postfix.port)
    office.worker()
    office.mail("ann@x.test", "bob@x.test")
    wait_until(lambda: set(office.states().values()) == {"sent"})
    assert len(postfix.wait_for("ann@x.test")) == len(postfix.wait_for("bob@x.test")) == 1


def test_two_workers_send_each_mail_once(office: Office, postfix: Postfix) -> None:
    people = [f"p{number}@x.test" for number in range(40)]
    office.outgoing_server(postfix.port)
    office.worker()
    office.worker()
    for start in range(0, 40, 8):
        office.mail(*people[start : start + 8])
    wait_until(lambda: set(office.states().values()) == {"sent"} and postfix.idle())
    assert sorted(mail.recipient for mail in postfix.mails()) == sorted(people)


@ONE_DATABASE
def test_a_silent_server_holds_up_its_own_mail_only(office: Office, postfix: Postfix) -> None:
    with misbehaving(silent) as port:
        office.outgoing_server(port, name="silent", from_filter="silent.test", priority=1)
        office.outgoing_server(postfix.port, name="good", priority=2)
        office.worker()
        for number in range(10):
            office.mail(f"held{number}@x.test", author="a@silent.test")
        office.mail("ann@x.test", author="a@other.test")
        wait_until(lambda: office.states()["ann@x.test"] == "sent")
        assert office.states()["held0@x.test"] in ("sending", "queued")


def test_what_a_killed_worker_held_is_sent_within_15_seconds(office: Office, postfix: Postfix) -> None:
    people = [f"p{number}@x.test" for number in range(12)]
    office.outgoing_server(postfix.port)
    worker = office.worker()
    postfix.slow_down(0.4)
    office.mail(*people)
    wait_until(lambda: len(postfix.mails()) >= 3)
    worker.kill()
    killed = datetime.now(UTC)
    postfix.slow_down(0)
    office.worker()
    wait_until(lambda: set(office.states().values()) == {"sent"})
    assert datetime.now(UTC) - killed < timedelta(seconds=15)
    arrived = {person: len(postfix.wait_for(person)) for person in people}
    with office.context():
        doubted = {line.address for line in db.session.scalars(select(Recipient).where(Recipient.doubts > 0))}
    assert len(doubted) <= 2, "one per connection"
    assert {person for person, times in arrived.items() if times != 1} <= doubted
    assert all(times <= 2 for times in arrived.values())


def test_sigterm_hands_back_what_was_not_begun(office: Office, postfix: Postfix) -> None:
    people = [f"p{number}@x.test" for number in range(40)]
    office.outgoing_server(postfix.port)
    worker = office.worker()
    postfix.slow_down(0.4)
    office.mail(*people)
    wait_until(lambda: len(postfix.mails()) >= 2)
    assert worker.terminate(10) == 0
    states = office.states()
    wait_until(postfix.idle)
    assert set(states.values()) == {"sent", "queued"}
    assert sum(state == "sent" for state in states.values()) == len(postfix.mails())
    assert [row.ended for row in office.workers()] == [True]
    assert not list((office.running.data / "journal").iterdir())
    postfix.slow_down(0)
    office.worker()
    wait_until(lambda: set(office.states().values()) == {"sent"})
    assert [len(postfix.wait_for(person)) for person in people] == [1] * len(people)


@ONE_DATABASE
def test_the_end_does_not_wait_for_a_database_that_is_locked(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "PATIENCE", 0.0)
    monkeypatch.setattr(worker, "LAST_WORDS", 0.05)
    process = worker.WorkerProcess(app)
    process.register()
    with app.app_context():
        with closing(sqlite3.connect(db.engine.url.database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert process._end() == 1
            assert not has_ended(), "what it had to say is not said yet"
        wait_until(has_ended)


def has_ended() -> bool:
    with reading():
        return bool(db.session.scalar(select(Worker.ended)))


@ONE_DATABASE
def test_a_second_signal_ends_it_at_once(office: Office) -> None:
    reached = threading.Event()

    def silent_once_reached(connection: socket.socket) -> None:
        reached.set()
        silent(connection)

    with misbehaving(silent_once_reached) as port:
        office.outgoing_server(port)
        worker = office.worker()
        office.mail("ann@x.test")
        assert reached.wait(60)
        worker.process.send_signal(signal.SIGINT)
        wait_until(lambda: "coquimail.worker: ending" in worker.output())
        worker.process.send_signal(signal.SIGINT)
        assert worker.process.wait(60) == 1
        assert "ended after" not in worker.output(), "it waited for what is under way"


# --- who is dead, and what its journal says


@pytest.fixture
def dead(app: Flask) -> Iterator[WorkerLease]:
    """A worker of this machine that holds three lines and was not seen for a while."""
    with app.app_context():
        db.session.add(OutgoingServer(name="test", host="127.0.0.1", port=25, encryption="none"))
        db.session.commit()
        draft = OutgoingDraft(kind="test", author="a@office.test", subject="Hello", html="<p>Hello</p>")
        addressees = [To(f"{word}@x.test") for word in ("ok", "begun", "never")]
        enqueue.enqueue(draft, addressees, datetime.now(UTC))
        held = WorkerLease.register(datetime.now(UTC))
        lease.leave_mark(held.id)
        server_id = db.session.scalar(select(OutgoingServer.id))
        lines = {line.address: line.id for line in claim(held.id, server_id, datetime.now(UTC), 10)}
        with Journal.open(settings().journal_folder, held.id, "one") as journal:
            journal.begin(f"l{lines['ok@x.test']}")
            journal.ok(f"l{lines['ok@x.test']}")
            journal.begin(f"l{lines['begun@x.test']}")
        yield held


def silence(worker_id: int, seconds: float, **values: object) -> None:
    """Let a worker have been silent for so long."""
    values["seen_at"] = Worker.seen_at - seconds
    db.session.execute(update(Worker).where(Worker.id == worker_id).values(values))
    db.session.commit()


def look_for_the_dead() -> dict[str, tuple[str, int]]:
    """Let another worker look once; returns the state of each line, and how often it was in doubt."""
    db.session.expire_all()
    identity = WorkerIdentity()
    identity.begin()
    recovery.Recovery(identity, threading.Event()).work()
    db.session.expire_all()
    return {line.address.partition("@")[0]: (line.state, line.doubts) for line in db.session.scalars(select(Recipient))}


def test_the_journal_decides(dead: WorkerLease) -> None:
    silence(dead.id, lease.LEASE + 1)
    assert look_for_the_dead() == {"ok": ("sent", 0), "begun": ("queued", 1), "never": ("queued", 0)}
    assert db.session.get(Worker, dead.id).ended
    assert not lease.journal_is_here(dead.id)


def test_a_journal_that_can_not_be_read_keeps_nobody_else_from_being_recovered(dead: WorkerLease) -> None:
    (settings().journal_folder / f"{dead.id}.two.journal").mkdir()
    other = WorkerLease.register(datetime.now(UTC))
    lease.leave_mark(other.id)
    for one in (dead, other):
        silence(one.id, lease.LEASE + 1)
    with pytest.raises(JournalFailed):
        look_for_the_dead()
    db.session.expire_all()
    assert [db.session.get(Worker, one.id).ended for one in (dead, other)] == [False, True]


def test_a_worker_that_is_alive_is_left_alone(dead: WorkerLease) -> None:
    assert {state for state, _ in look_for_the_dead().values()} == {"sending"}


def test_a_process_that_is_gone_is_not_waited_for(dead: WorkerLease) -> None:
    gone = os.spawnlp(os.P_NOWAIT, "true", "true")
    os.waitpid(gone, 0)
    silence(dead.id, 0, pid=gone)
    assert look_for_the_dead()["never"] == ("queued", 0)


@pytest.mark.parametrize(
    ("seconds", "states"),
    [
        (lease.LEASE + 1, {"ok": ("sending", 0), "begun": ("sending", 0), "never": ("sending", 0)}),
        (recovery.LOST_FOR_GOOD + 1, {"ok": ("queued", 1), "begun": ("queued", 1), "never": ("queued", 1)}),
    ],
)
def test_without_its_journal_nobody_knows_and_that_takes_ten_minutes(dead: WorkerLease, seconds, states) -> None:
    lease.remove_mark(dead.id)  # the folder of another machine
    silence(dead.id, seconds, host="elsewhere")
    assert look_for_the_dead() == states


def test_who_was_declared_dead_can_not_come_back(dead: WorkerLease) -> None:
    dead.assert_alive()
    silence(dead.id, lease.LEASE + 1)
    assert lease.fence(db.session.get(Worker, dead.id))
    with pytest.raises(LeaseLost):
        dead.heartbeat()


def test_who_has_just_shown_life_is_not_fenced(dead: WorkerLease) -> None:
    row = db.session.get(Worker, dead.id)
    assert row.seen_at  # read before the heartbeat
    db.session.expunge(row)
    db.session.rollback()
    dead.heartbeat()
    assert not lease.fence(row)
    dead.heartbeat()


def test_a_lease_of_one_thing_is_held_by_one(app: Flask) -> None:
    with app.app_context():
        first, second = (WorkerLease.register(datetime.now(UTC)) for _ in range(2))
        assert lease.take("thing", first.id, 600)
        assert lease.take("thing", first.id, 600), "the holder may extend it"
        assert not lease.take("thing", second.id, 600)
        lease.release(first.id, "thing")
        db.session.commit()
        assert lease.take("thing", second.id, 600)


@ONE_DATABASE
def test_a_worker_that_can_not_write_into_its_folder_leaves_none_behind_that_seems_dead(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(lease, "leave_mark", lambda _: (_ for _ in ()).throw(full))
    with app.app_context():
        for _ in range(2):
            with pytest.raises(OSError, match="No space"):
                WorkerIdentity().begin()
        assert [worker.ended for worker in db.session.scalars(select(Worker))] == [True, True]


def test_a_failure_is_recovered_and_the_same_row_goes_on(dead: WorkerLease) -> None:
    """What was left half done is recovered by the journal; meanwhile nothing is claimed, and other work goes on."""
    identity = WorkerIdentity(recovery.recover_claims)
    held = identity.begin()
    db.session.execute(update(Recipient).values(worker_id=held.id))
    db.session.commit()
    (settings().journal_folder / f"{dead.id}.one.journal").rename(settings().journal_folder / f"{held.id}.one.journal")
    with identity.claiming(), pytest.raises(ZeroDivisionError), identity.claiming():
        raise ZeroDivisionError
    with pytest.raises(NotNow), identity.claiming():
        pass
    with identity.work() as other:
        assert other is held
    identity.beat([])
    db.session.expire_all()
    found = {line.address.partition("@")[0]: line.state for line in db.session.scalars(select(Recipient))}
    assert found == {"ok": "sent", "begun": "queued", "never": "queued"}
    assert (settings().journal_folder / f"{held.id}.one.journal").read_bytes() == b""
    with identity.claiming() as again:
        assert again is held


def test_what_does_not_finish_after_a_failure_keeps_its_row_and_others_go_on_under_another(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.identity.FINISH", 0.0)
    with app.app_context():
        identity = WorkerIdentity()
        first = identity.begin()
        with identity.claiming():
            with pytest.raises(ZeroDivisionError), identity.claiming():
                raise ZeroDivisionError
            identity.beat([])
            second = identity.current()
            assert second.id != first.id
            with identity.claiming() as held:
                assert held is second
            first.heartbeat()  # still at work
        identity.beat([])
        with pytest.raises(LeaseLost):
            first.heartbeat()  # what it held is recovered at once
        identity.stop()
        with pytest.raises(Stopping):
            second.assert_alive()


def test_a_silence_that_nobody_noticed_ends_without_another_row(dead: WorkerLease) -> None:
    silence(dead.id, lease.LEASE * 10)
    dead.heartbeat()
    assert look_for_the_dead()["never"] == ("sending", 0)


# --- loops


@ONE_DATABASE
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OperationalError("", None, sqlite3.OperationalError("database is locked")), "database_away"),
        (OperationalError("", None, psycopg.OperationalError("connection refused")), "database_away"),
        (psycopg.OperationalError("connection refused"), "database_away"),
        (OperationalError("", None, psycopg.errors.AdminShutdown("shutting down")), "database_away"),
        (OperationalError("", None, psycopg.errors.CannotConnectNow("starting up")), "database_away"),
        (OperationalError("", None, psycopg.errors.TooManyConnections("too many")), "database_away"),
        (OperationalError("", None, psycopg.errors.InvalidCatalogName("no such database")), "database_away"),
        (OperationalError("", None, psycopg.errors.DiskFull("could not extend file")), "no_room"),
        (DBAPIError("", None, psycopg.errors.IoError("I/O"), connection_invalidated=True), "database_away"),
        (InterfaceError("", None, psycopg.InterfaceError("the connection is closed")), "database_away"),
        (TimeoutError("QueuePool limit"), "database_away"),
        (OSError(errno.ENOSPC, "No space left on device"), "no_room"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "no_room"),
        (JournalFailed(detail="No space left on device"), "journal_failed"),
        (NotNow(), None),
        (LeaseLost(1), None),
    ],
    ids=lambda value: type(getattr(value, "orig", value)).__name__ if isinstance(value, Exception) else str(value),
)
def test_what_is_missing_is_waited_for_and_no_loop_dies(app: Flask, error: Exception, code: str | None) -> None:
    stopping = threading.Event()
    tried = threading.Event()

    def work() -> bool:
        tried.set()
        raise error

    loop = Loop("patient", app, work, stopping, pause=0.0)
    loop.start()
    assert tried.wait(60)
    wait_until(lambda: loop.says()["state"] != "working")
    said = loop.says()
    assert (said["why"] and said["why"]["code"]) == code
    assert loop.alive()
    stopping.set()
    loop.notify()
    assert loop.join(60)


@pytest.mark.heavy
@ONE_DATABASE
def test_a_loop_that_can_not_work_yet_does_not_turn_in_circles(app: Flask) -> None:
    """A listener has no pause of its own: without a row to work under it span."""
    tries: list[float] = []
    stopping = threading.Event()

    def work() -> bool:
        tries.append(time.monotonic())
        if len(tries) == 3:
            stopping.set()
        raise NotNow

    loop = Loop("listener", app, work, stopping, pause=0.0)
    loop.start()
    assert loop.join(60)
    assert tries[2] - tries[0] > 1.0


@ONE_DATABASE
def test_the_log_says_once_a_minute_what_is_missing(app: Flask, caplog: pytest.LogCaptureFixture, monkeypatch) -> None:
    monkeypatch.setattr("scheduler.loops._said", _Said())
    with app.app_context():
        for _ in range(50):
            say_once(why("no_room"))
            say_once(why("database_away", detail="shutting down"))
    said = [record.getMessage() for record in caplog.records if record.name == "coquimail.worker"]
    assert len(said) == 2
    assert "disk is full" in said[0]


@ONE_DATABASE
def test_a_loop_that_dies_is_started_again(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    stopping = threading.Event()
    calls: list[str] = []

    def work() -> bool:
        calls.append(threading.current_thread().name)
        if len(calls) == 1:
            raise ZeroDivisionError("on the first day")
        return False

    loop = Loop("moody", app, work, stopping)
    loop.start()
    wait_until(lambda: not loop.alive())
    said = loop.says()
    assert (said["state"], said["why"]["code"], said["why"]["values"]["error"]) == (
        "dead",
        "loop_died",
        "ZeroDivisionError",
    )
    loop._wait = 0.01
    with monkeypatch.context() as full:  # the system gives no further thread
        full.setattr(threading.Thread, "start", lambda _: (_ for _ in ()).throw(RuntimeError()))
        wait_until(lambda: loop.revive() or loop.says()["restarts"] == 1)
        assert not loop.alive() and loop.says()["why"]["values"]["error"] == "RuntimeError"
    wait_until(lambda: loop.revive() or loop.alive())
    wait_until(lambda: len(calls) >= 2)
    assert loop.says()["restarts"] == 2
    wait_until(lambda: loop.says()["why"] is None)
    stopping.set()
    loop.notify()
    assert loop.join(60)


@ONE_DATABASE
def test_the_loops_tell_how_they_are(office: Office) -> None:
    office.worker()
    loops = wait_until(lambda: office.workers()[0].loops)
    expected = ["heartbeat", "listener", "tests", "incoming", "mailings", "recovery", "send-1", "mass-1"]
    assert {*expected, "scheduled actions", "practice mailbox"} <= set(loops)
    assert {loop["restarts"] for loop in loops.values()} == {0}


# --- faults around it


def test_a_worker_refuses_a_database_without_tables(empty_database: str) -> None:
    folder = temporary_folder("worker")
    env = {"PATH": os.environ["PATH"], "COQUI_DATA": str(folder), "DATABASE_URL": empty_database, "COQUI_TESTING": "1"}
    app = App(empty_database, env=env)
    worker = app.start_worker()
    assert worker.process.wait(60) == 2
    assert "The database is empty. Run once: flask --app wsgi upgrade" in worker.output()
    app.close()


def test_a_worker_refuses_a_database_of_another_version(app: Flask) -> None:
    assert wait_for_database(app) == ""
    with app.app_context():
        db.session.execute(text("UPDATE alembic_version SET version_num = '0001'"))
        db.session.commit()
    assert "belongs to another version" in wait_for_database(app)


@pytest.mark.heavy
def test_a_worker_knows_the_newest_version_without_alembic() -> None:
    assert [newest_version()] == ScriptDirectory(str(MIGRATIONS)).get_heads()
    assert "alembic" not in loaded_by_a_worker()


@pytest.mark.heavy
def test_a_worker_loads_at_its_start_nothing_that_only_some_offices_need() -> None:
    seldom = {"authlib", "requests", "httpx", "dns", "publicsuffixlist", "dkim", "checkdmarc", "alembic"}
    assert not seldom & loaded_by_a_worker()


@cache
def loaded_by_a_worker() -> set[str]:
    """Return the modules that a worker has loaded before it does anything."""
    program = "import sys, scheduler.__main__; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], cwd=MIGRATIONS.parent, capture_output=True, check=True)
    return set(ran.stdout.decode().split())


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_database_that_is_away_for_a_while_is_waited_for(
    office: Office, postfix: Postfix, postgres: Postgres
) -> None:
    office.outgoing_server(postfix.port)
    worker = office.worker()
    postgres.stop()
    wait_until(lambda: "The database is unavailable" in worker.output())
    postgres.start()
    office.close()
    office.mail("ann@x.test")
    wait_until(lambda: office.states()["ann@x.test"] == "sent")
    assert worker.running()
    assert len(office.workers()) == 1, "one row a process"
    assert worker.output().count("The database is unavailable") == 1, "one line a minute"
    assert "ended unexpectedly" not in worker.output()
    postgres.stop()
    late = office.running.start_worker()
    wait_until(lambda: "waiting for the database" in late.output())
    postgres.start()
    office.close()
    wait_until(lambda: "worker started" in late.output())


@ONE_DATABASE
def test_a_data_folder_with_a_long_name_is_woken_all_the_same(running_app: App, postfix: Postfix) -> None:
    running_app.data = running_app.folder / ("a long name " * 12)
    running_app.env["COQUI_DATA"] = str(running_app.data)
    office = Office(running_app)
    office.outgoing_server(postfix.port)
    office.worker()
    with office.context(), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        (path,) = settings().wake_folder.glob("*.sock")
        with pytest.raises(OSError, match="too long"):
            sender.connect(str(path))
        with reachable(path) as address:
            sender.connect(address)  # which fails where nobody listens
    office.mail("ann@x.test")
    wait_until(lambda: set(office.states().values()) == {"sent"})
    office.close()


# --- tests of servers


def test_test_connection_tries_every_address_that_the_server_would_send_as(office: Office, postfix: Postfix) -> None:
    server_id = office.outgoing_server(postfix.port, from_filter="office.test, boss@home.test, info@bücher.test")
    office.worker()
    check = office.check("outgoing_test", server_id)
    steps = [(step["name"], step["state"]) for step in check.steps]
    assert check.state == "done", check.steps
    assert steps[:2] == [("lookup", "ok"), ("connect", "ok")]
    tried = {step["address"]: (step["uses"], step["state"]) for step in check.steps if step["name"] == "rcpt_to"}
    assert tried == {
        "notifications@office.test": (["domain", "default"], "ok"),
        "boss@home.test": (["filter"], "ok"),
        "info@bücher.test": (["filter"], "ok"),
        "bounce@office.test": (["bounce"], "ok"),
    }
    assert "MAIL FROM:<bounce@office.test>" in check.transcript
    assert "MAIL FROM:<info@xn--bcher-kva.test> SIZE=0\n" in check.transcript, "as it is said by a delivery"
    assert postfix.mails() == []


def test_a_real_email_goes_through_a_server_that_is_not_in_use_yet(office: Office, postfix: Postfix) -> None:
    server_id = office.outgoing_server(postfix.port, active=False, draft=True, from_filter="office.test", per_day=2)
    me = account(office, "ann@office.test")
    office.worker()
    check = office.check("outgoing_mail", server_id, me)
    assert (check.state, [step["why"]["code"] for step in check.steps]) == (
        "done",
        ["mail_to_me_from", "mail_to_me_accepted"],
    )
    (mail,) = postfix.wait_for("ann@office.test")
    assert mail.subject == "Test email through “test”" and mail.envelope_sender.startswith("bounce")
    postfix.refuse("ann@office.test", "450 4.2.0 Greylisted")
    later = office.check("outgoing_mail", server_id, me)
    assert (later.state, later.steps[-1]["why"]["code"]) == ("failed", "mail_to_me_deferred")
    postfix.refuse("ann@office.test")
    assert office.check("outgoing_mail", server_id, me).steps[-1]["why"]["code"] == "no_such_mailbox"
    with office.looking():
        lines = db.session.scalars(select(Recipient).order_by(Recipient.id)).all()
        assert [(line.state, line.attempts, line.mail.kind) for line in lines] == [
            ("sent", 1, "test"),
            ("failed", 1, "test"),
            ("failed", 1, "test"),
        ]
        assert lines[0].id == check.steps[0]["why"]["values"]["line"]
        server = db.session.get_one(OutgoingServer, server_id)
        assert (server.active, server.draft) == (False, True) and parameters.LIVE.get() == 0, "all else is as it was"
        assert db.session.scalars(select(Quota.used)).all() == [1], "what was refused does not count"
    postfix.accept("ann@office.test")
    assert office.check("outgoing_mail", server_id, me).state == "done"
    full = office.check("outgoing_mail", server_id, me)
    assert (full.state, [step["why"]["code"] for step in full.steps]) == ("failed", ["limit_day"])


@ONE_DATABASE
def test_a_real_email_goes_through_the_default_server_even_if_another_one_is_in_use(
    office: Office, postfix: Postfix
) -> None:
    office.outgoing_server(postfix.port)
    me = account(office, "ann@office.test")
    office.worker()
    check = office.check("outgoing_mail", 0, me)
    assert check.steps[-1]["why"]["code"] == "mail_to_me_in_practice", "nothing says that it is in an inbox"
    with office.looking():
        (line,) = db.session.scalars(select(Recipient)).all()
        steps = line.mail.decision["steps"]
        assert (line.state, line.mail.server_id, steps[0]["code"]) == ("sent", None, "mail_to_me_default")
        assert db.session.scalars(select(PracticeMail.recipient)).all() == ["ann@office.test"]
    assert postfix.mails() == []


def account(office: Office, email: str) -> int:
    with office.context():
        contact = Contact(name="Ann", address=email, address_key=email, created_at=datetime.now(UTC))
        user = User(contact=contact, email=email, password="", role="admin", fs_uniquifier=email)
        db.session.add(user)
        db.session.commit()
        return user.id


@ONE_DATABASE
@pytest.mark.parametrize(
    ("kind", "code"), [("outgoing_test", "connection_refused"), ("incoming_test", "mailbox_connection_refused")]
)
def test_a_failing_test_says_which_step(office: Office, kind: str, code: str) -> None:
    make = office.outgoing_server if kind == "outgoing_test" else office.incoming_server
    server_id = make(1)
    office.worker()
    check = office.check(kind, server_id)
    assert check.state == "failed"
    assert [(step["why"]["code"]) for step in check.steps if step["state"] == "failed"] == [code]
    gone = office.check(kind, 999)
    assert [step["why"]["code"] for step in gone.steps] == ["check_server_gone"]


@ONE_DATABASE
def test_a_slow_test_does_not_hold_up_another(office: Office, postfix: Postfix) -> None:
    with misbehaving(silent) as port:
        slow = office.outgoing_server(port)
        quick = office.outgoing_server(postfix.port)
        office.worker()
        with office.context():
            db.session.add(ServerCheck(kind="outgoing_test", server_id=slow, requested_at=datetime.now(UTC)))
            db.session.commit()
            wake("check")
        assert office.check("outgoing_test", quick).state == "done"
        with office.context():
            first = db.session.scalar(select(ServerCheck).order_by(ServerCheck.id))
            assert first is not None and first.state == "running"
            assert [step["name"] for step in first.steps] == ["lookup", "connect"], "each step shows at once"


@pytest.mark.parametrize(("kind", "database"), [("imap", "postgresql"), ("pop3", "sqlite")], indirect=["database"])
def test_test_and_confirm_then_only_what_arrives_later_is_fetched(
    office: Office, dovecot: Dovecot, mailbox: str, kind: str
) -> None:
    dovecot.append(mailbox, MAIL % b"before")
    server_id = office.incoming_server(
        dovecot.port(kind), kind=kind, user=mailbox, password=dovecot.password, state="draft"
    )
    office.only("queue")
    office.worker()
    check = office.check("incoming_test", server_id)
    assert check.state == "done", check.steps
    assert [step["name"] for step in check.steps if step["name"] != "writing"][-2:] == ["folder", "confirm"]
    with office.context():
        server = db.session.get(IncomingServer, server_id)
        assert server is not None and server.state == "confirmed"
        if kind == "imap":
            position = db.session.scalar(select(MailboxState))
            assert position is not None and position.last_uid == position.start_uid == 1
    assert office.check("fetch", server_id).steps[-1]["why"] == {"code": "fetch_done", "values": {"mails": 0}}
    dovecot.append(mailbox, MAIL % b"after")
    assert office.check("fetch", server_id).steps[-1]["why"] == {"code": "fetch_done", "values": {"mails": 1}}
    with office.context():
        kept = db.session.scalars(select(ReceivedMail).where(ReceivedMail.blob_id.is_not(None))).all()
        assert [mail.message_id for mail in kept] == ["<after@x.test>"]


@ONE_DATABASE
def test_a_dead_server_does_not_delay_the_others(office: Office, dovecot: Dovecot, mailbox: str) -> None:
    with misbehaving(silent) as port:
        office.incoming_server(port, name="silent", priority=1)
        office.incoming_server(
            dovecot.port("imap"), user=mailbox, password=dovecot.password, fetch_existing=True, priority=2
        )
        dovecot.append(mailbox, MAIL % b"one")
        office.only("fetch", interval=1, unit="seconds", next_run_at=datetime.now(UTC))
        office.worker()
        wait_until(lambda: arrived(office))


def arrived(office: Office) -> int:
    with office.context():
        return len(db.session.scalars(select(ReceivedMail.id).where(ReceivedMail.state != "received")).all())

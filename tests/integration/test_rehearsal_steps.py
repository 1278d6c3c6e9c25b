"""How a rehearsal begins and ends: in slices, whatever is under way, and whatever dies meanwhile."""

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update

from mail.errors import PracticeMailboxAway
from mail.incoming import flow as fetching
from mail.incoming.position import load_server
from mail.maintenance import rehearsal as flow
from mail.maintenance import rehearsal_steps
from mail.maintenance.rehearsal_steps import ToDo
from mail.outgoing import deliver
from mail.outgoing.lines import free_doubted
from mail.outgoing.waiting import hand_back
from mail.queue import quota
from mail.queue.connections import Connections, access_to, practice_listens_at
from mail.queue.journal import Journal
from mail.queue.lease import WorkerLease
from mail.sentences import why
from mail.settings import installation, rehearsal
from mail.settings.clock import now
from mail.settings.config import settings
from mail.transport.smtp import ServerConnection
from mail.transport.smtp_session import SmtpTarget
from models import Chunk, IncomingServer, Mailing, PracticeMail, Recipient, ServerLimit, db
from models.chunk import leave
from models.outgoing import HELD, claim
from scheduler.practice import Receiver
from tests.integration.mass import add_server
from tests.integration.rehearsing import begin, deliver_in_practice, end, lines, waiting_mail, work_off
from tests.waiting import wait_until


def claimed(server: int) -> tuple[WorkerLease, list[int]]:
    worker = WorkerLease.register(now())
    return worker, [line.id for line in claim(worker.id, server, now(), 20)]


@pytest.mark.parametrize(("written", "state"), [(False, "cancelled"), (True, "queued")])
def test_its_end_waits_for_what_is_under_way(app: Flask, written: bool, state: str) -> None:
    with app.app_context():
        server = add_server(9)
        begin()
        waiting_mail("customer@x.test")
        worker, ids = claimed(server)
        end(False, written)
        assert rehearsal.is_on() and rehearsal_steps.to_do(flow.rehearsal.current()).under_way == 1  # type: ignore[arg-type]
        hand_back(ids, worker.id)
        mailing = Mailing(subject="News", state="paused", created_at=now())
        db.session.add(mailing)
        db.session.flush()
        db.session.add(Chunk(mailing_id=mailing.id, first_id=1, last_id=2, state="taken", worker_id=worker.id))
        db.session.commit()
        work_off()
        assert rehearsal.is_on() and rehearsal_steps.to_do(flow.rehearsal.current()) == ToDo(0, 0, chunks=1)  # type: ignore[arg-type]
        leave(db.session.scalars(select(Chunk.id)).one(), worker.id, "waiting")
        db.session.commit()
        work_off()
        assert [line.state for line in lines()] == [state] and not rehearsal.is_on()


def test_what_was_under_way_when_it_began_waits_once_it_comes_back(app: Flask) -> None:
    with app.app_context():
        server = add_server(9)
        db.session.commit()
        waiting_mail("customer@x.test")
        worker, ids = claimed(server)
        begin()
        hand_back(ids, worker.id)
        work_off()
        (line,) = lines()
        assert line.is_held and line.why == why("rehearsal_holds")


@pytest.mark.parametrize(("held", "state"), [(True, "queued"), (False, "cancelled")])
def test_what_was_written_before_counts_as_that_although_it_went_to_the_practice_mailbox(
    app: Flask, held: bool, state: str
) -> None:
    with app.app_context():
        waiting_mail("customer@x.test")
        flow.begin(why("rehearsal_by_command"), now())
        deliver_in_practice()  # somebody had taken it already
        work_off()
        found = rehearsal.current()
        assert found is not None and (flow.left(found).held, flow.left(found).written) == (1, 0)
        end(held, not held)
        assert [line.state for line in lines()] == [state]


def test_what_is_written_after_somebody_ended_it_is_sent_for_real(app: Flask) -> None:
    with app.app_context():
        begin()
        waiting_mail("rehearsed@x.test")
        flow.end(False, False, now(), None, "Ann")
        waiting_mail("real@x.test")
        work_off()
        left, real = lines()
        assert (left.state, left.why) == ("cancelled", why("rehearsal_left_unsent", user="Ann"))
        assert real.state == "queued"


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("by", ["rehearsal_by", "rehearsal_other_address"])
def test_a_copy_of_an_office_that_rehearses_asks_and_does_not_end(
    app: Flask, monkeypatch: pytest.MonkeyPatch, ends: bool, by: str
) -> None:
    with app.app_context():
        waiting_mail("before@x.test")
        flow.begin(why(by, user="Ann"), now(), place=installation.place() | {"kind": "another"})
        work_off()
        if ends:
            flow.end(True, True, now(), None, "Ann")
            rehearsal_steps.carry_out(now())  # the line was let go
        copied = why("rehearsal_restored", here="trial")
        monkeypatch.setattr(installation, "moved", lambda: copied)
        for _ in range(2):
            flow.begin_where_copied(now())
            found = rehearsal.current()
            assert found is not None and found.end is None, "nothing was sent for real meanwhile"
            work_off()
        found = rehearsal.current()
        assert found is not None and found.why == copied and not found.halts
        assert [line.is_held for line in lines()] == [True]
        flow.end(True, True, now(), None, "Ann")
        flow.begin_where_copied(now())
        work_off()
        assert not rehearsal.is_on(), "it is answered"


# --- a kill at any line


def killed_at(moment: int, monkeypatch: pytest.MonkeyPatch, do: Callable[[], Any]) -> bool:
    """Do something that is killed after so many commits; returns whether it came to that."""
    commits, commit = iter(range(moment)), db.session.commit

    def commit_or_die() -> None:
        if next(commits, None) is None:
            raise KeyboardInterrupt
        commit()

    with monkeypatch.context() as patched:
        patched.setattr(db.session, "commit", commit_or_die)
        try:
            do()
        except KeyboardInterrupt:
            db.session.rollback()
            return True
    return False


@pytest.mark.heavy
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("held", "written", "states"),
    [
        (True, True, ["queued", "queued", "queued", "queued"]),
        (True, False, ["queued", "queued", "sent", "cancelled"]),
        (False, True, ["cancelled", "cancelled", "queued", "queued"]),
    ],
)
def test_a_kill_at_any_moment_costs_nothing(
    app: Flask, monkeypatch: pytest.MonkeyPatch, held: bool, written: bool, states: list[str]
) -> None:
    monkeypatch.setattr(rehearsal_steps, "AT_ONCE", 1)
    monkeypatch.setattr(rehearsal_steps, "ANEW_AT_ONCE", 1)
    with app.app_context():
        waiting_mail("before-1@x.test", "before-2@x.test")
        moment, killed = 1, True  # one commit later each time: the first is the one of who asks
        while killed:
            killed = killed_at(moment, monkeypatch, begin)
            moment += 1
            work_off()
            assert [line.is_held for line in lines()] == [True, True] and not rehearsal.current().halts  # type: ignore[union-attr]
            rehearsal.turn_off(now())
            db.session.execute(update(Recipient).values(next_try_at=now(), wait=""))
            db.session.commit()
        assert moment > 4
        moment, killed = 1, True
        while killed:
            db.session.execute(update(Recipient).values(state="cancelled"))
            db.session.commit()
            waiting_mail("before-1@x.test", "before-2@x.test")
            begin()
            waiting_mail("taken@x.test")
            deliver_in_practice()
            waiting_mail("waits@x.test")
            killed = killed_at(moment, monkeypatch, lambda: end(held, written))
            moment += 1
            work_off()
            assert not rehearsal.is_on()
            assert [line.state for line in lines()][-4:] == states
            assert not any(line.is_held for line in lines())
        assert moment > 4


def test_who_comes_late_does_not_hold_what_somebody_let_go(app: Flask) -> None:
    with app.app_context():
        waiting_mail("a@x.test")
        flow.begin(why("rehearsal_by_command"), now())
        before = rehearsal.current()
        assert before is not None
        end(True, True)
        assert rehearsal_steps._hold(before, now()), "it looks again"
        assert [line.next_try_at < HELD for line in lines()] == [True] and not rehearsal.is_on()


# --- what goes where meanwhile


def test_nothing_is_claimed_while_it_begins_or_ends(app: Flask) -> None:
    connections, real, practice = (Connections(), *(ServerConnection(SmtpTarget("S", "x.test", 25)) for _ in range(2)))
    practice.rehearses = True
    with app.app_context():
        waiting_mail("before@x.test")
        worker = WorkerLease.register(now())
        journal = Journal.open(settings().journal_folder, worker.id, "send-1")

        def leads() -> list[bool]:
            connections.heed(rehearsal.current())
            return [connections.leads_on(one) for one in (real, practice)]

        assert leads() == [True, False]
        flow.begin(why("rehearsal_by_command"), now())
        assert leads() == [False, False] and not deliver.send_some(worker, connections, journal)
        work_off()
        assert leads() == [False, True]
        waiting_mail("rehearsed@x.test")
        flow.end(True, True, now(), None, "Ann")
        assert leads() == [False, False] and not deliver.send_some(worker, connections, journal)
        work_off()
        assert leads() == [True, False]
        journal.close()


class StopsBeforeTheSecond(Connections):
    """A batch that waits before its second email until it may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.waits, self.may_go_on, self._asked = threading.Event(), threading.Event(), 0

    def leads_on(self, connection: ServerConnection) -> bool:
        """Answer as usual, the second time late."""
        self._asked += 1
        if self._asked == 2:
            self.waits.set()
            assert self.may_go_on.wait(60)
        return super().leads_on(connection)


@pytest.mark.heavy
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("written", "states"), [(True, ["queued", "queued"]), (False, ["sent", "cancelled"])])
def test_a_batch_that_is_under_way_when_it_ends(app: Flask, written: bool, states: list[str]) -> None:
    ended, connections = threading.Event(), StopsBeforeTheSecond()
    receiver = threading.Thread(target=Receiver(app, ended).work)
    receiver.start()
    with app.app_context():
        server = add_server(9)
        begin()
        waiting_mail("first@x.test", "second@x.test")
        worker = WorkerLease.register(now())
        journal = Journal.open(settings().journal_folder, worker.id, "send-1")

    def send() -> None:
        with app.app_context():
            deliver.send_some(worker, connections, journal)

    sending = threading.Thread(target=send)
    try:
        wait_until(lambda: listens(app, server))
        sending.start()
        assert connections.waits.wait(60)
        with app.app_context():
            end(False, written)
            connections.heed(rehearsal.current())
            assert connections.halted, "it waits for the batch"
            connections.may_go_on.set()
            sending.join(60)
            work_off()
            assert not rehearsal.is_on()
            assert [line.state for line in lines()] == states
            assert db.session.scalars(select(PracticeMail.recipient)).all() == ["first@x.test"]
    finally:
        connections.may_go_on.set()
        ended.set()
        receiver.join(60)
        connections.close()
        journal.close()


def listens(app: Flask, server: int) -> bool:
    """Whether the practice mailbox takes the place of a server by now."""
    with app.app_context(), suppress(PracticeMailboxAway):
        return bool(access_to(server))
    return False


def test_the_limits_of_real_servers_are_neither_enforced_nor_learned(app: Flask) -> None:
    with app.app_context():
        server = add_server(9, per_day=2)
        learned = {"host": "127.0.0.1", "mails": 5, "connections": 2, "largest": 10_000_000, "learned_at": now()}
        db.session.add(ServerLimit(server_id=server, **learned))
        db.session.commit()
        assert quota.limits_of(server, now()) and quota.limits_of_all(now())[server]
        begin()
        assert not quota.limits_of(server, now()) and not quota.limits_of_all(now()).get(server)
        assert [limit.most for limit, _ in quota.usage(server, now())] == [2], "the page shows it all the same"
        connections = Connections()
        practice_listens_at(2525)
        try:
            with connections.to(server) as connection:
                connection.most_mails, connection.largest = 1, 20
            connections.takes_fewer(server, connection, for_good=True)
        finally:
            practice_listens_at(None)
        row = db.session.get_one(ServerLimit, server, populate_existing=True)
        assert {name: getattr(row, name) for name in learned} == learned


def test_a_line_in_doubt_is_not_let_go_by_what_the_practice_mailbox_takes(app: Flask) -> None:
    with app.app_context():
        waiting_mail("a@x.test", "b@x.test")
        db.session.execute(update(Recipient).where(Recipient.address == "a@x.test").values(doubts=1))
        db.session.commit()
        begin()
        later = {"doubts": 1, "next_try_at": now() + timedelta(minutes=9)}
        db.session.execute(update(Recipient).where(Recipient.address == "b@x.test").values(later))
        free_doubted(0, now())
        db.session.commit()
        assert [line.is_held for line in lines()] == [True, False]
        assert lines()[1].next_try_at <= now()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("reason", "kind", "read"),
    [
        ("rehearsal_copied", "pop3", False),
        ("rehearsal_by_command", "pop3", False),
        ("rehearsal_copied", "imap", True),
        ("rehearsal_by", "pop3", True),
    ],
)
def test_what_may_be_a_copy_reads_no_mailbox_by_pop3(app: Flask, reason: str, kind: str, read: bool) -> None:
    with app.app_context():
        box = IncomingServer(name="Box", kind=kind, host="x.test", port=995, user="u", state="confirmed", active=True)
        db.session.add(box)
        db.session.commit()
        flow.begin(why(reason, before="mail1", here="trial", user="Ann"), now())
        work_off()
        server = load_server(box.id)
        assert server is not None and server.is_left_alone is not read
        if not read:
            found = fetching.fetch(box.id, WorkerLease.register(now()), now())
            assert found.why == why("rehearsal_leaves_pop3") == db.session.get_one(IncomingServer, box.id).why

"""Fetching from a real Dovecot: each mail once, whatever people, crashes and its numbers do; on both databases."""

import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.fernet import Fernet, MultiFernet
from flask import Flask
from sqlalchemy import func, select, update

from mail.errors import LoginRefused, MailboxLater
from mail.incoming import flow, intake, position, quarantine, server_rules
from mail.incoming.case import Retention
from mail.incoming.flow import FetchResult
from mail.sentences import say, why
from mail.transport import mailbox as mailbox_module
from mail.transport.mailbox import FetchedBatch, FetchedMail, Mailbox, MailboxTarget, Position
from mail.transport.mailbox_open import open_mailbox
from mail.transport.pop3 import Pop3Mailbox
from models import IncomingServer, MailboxState, Notification, OauthAccount, OauthProvider, ReceivedMail, Worker, db
from models.base import FERNET
from tests.integration.frontdesk import DOMAIN, NOW, FrontDesk, mail
from tests.servers.dovecot import Dovecot
from tests.servers.process import HOST, free_port

ROOT = Path(__file__).resolve().parents[2]


class Fetching:
    """An office with one incoming server for a mailbox of Dovecot."""

    def __init__(self, app: Flask, dovecot: Dovecot, user: str, kind: str) -> None:
        self.desk, self.dovecot, self.user, self.kind = FrontDesk(app), dovecot, user, kind
        self.app = app
        with app.app_context():
            server = IncomingServer(
                name="Sales",
                kind=kind,
                host=HOST,
                port=dovecot.port(kind),
                encryption="none",
                user=user,
                password=dovecot.password,
            )
            db.session.add(server)
            db.session.commit()
            self.server_id = server.id

    def confirm(self) -> None:
        """What TEST & CONFIRM does after its test."""
        with self.app.app_context():
            server = self.server()
            with open_mailbox(position.target_of(server)) as box:
                look = box.look()
            position.confirm(server, look, NOW)
            db.session.commit()

    def server(self) -> IncomingServer:
        found = db.session.get(IncomingServer, self.server_id)
        assert found is not None
        return found

    def set(self, **values: object) -> None:
        with self.app.app_context():
            for name, value in values.items():
                setattr(self.server(), name, value)
            db.session.commit()

    def fetch(self) -> FetchResult:
        with self.app.app_context():
            return flow.fetch(self.server_id, self.desk.worker, self.desk.now)

    def arrive(self, *subjects: str, seen: bool = False, folder: str = "INBOX") -> None:
        for subject in subjects:
            sender = f"{subject.replace(' ', '.')}@customer.test"  # many mails of one sender would be taken for a loop
            raw = mail(sender, subject=subject, message_id=f"<{sender}>")
            self.dovecot.append(self.user, raw, seen=seen, folder=folder)

    def read_folder(self, folder: str) -> list[str]:
        """What the form does when somebody picks another folder; returns what follows."""
        with self.app.app_context():
            self.server().folder = folder
            follows = server_rules.check(self.server(), password_given=False)
            db.session.commit()
        return list(follows)

    def titles(self) -> list[str]:
        return [document.title for document in self.desk.documents()]


@pytest.fixture(params=["imap", "pop3"])
def fetching(request: pytest.FixtureRequest, app: Flask, dovecot: Dovecot, mailbox: str) -> Fetching:
    return Fetching(app, dovecot, mailbox, request.param)


@pytest.fixture
def by_imap(app: Flask, dovecot: Dovecot, mailbox: str) -> Fetching:
    return Fetching(app, dovecot, mailbox, "imap")


def test_each_mail_is_fetched_once(fetching: Fetching) -> None:
    fetching.confirm()
    fetching.arrive("one", "two")
    first = fetching.fetch()
    assert (first.kept, first.counts, first.why) == (2, Counter(processed=2), None)
    fetching.arrive("three")
    assert (fetching.fetch().kept, fetching.fetch().kept) == (1, 0)
    assert fetching.titles() == ["one", "two", "three"]
    with fetching.app.app_context():
        assert (fetching.server().last_success_at, fetching.server().why) == (NOW, None)
        assert db.session.scalar(select(ReceivedMail.source)) == fetching.server().source


def test_the_server_that_checks_senders_is_learned_from_the_mails_of_a_mailbox(by_imap: Fetching) -> None:
    by_imap.confirm()
    by_imap.desk.user("Clerk")
    came_in = "Received: from out.test (out.test [192.0.2.9]) by mx.office.test with ESMTPS id 7\r\n"
    top = f"Authentication-Results: mx.office.test; dmarc=pass\r\n{came_in}".encode()
    forged = came_in.encode() + b"Authentication-Results: mx.evil.test; dmarc=pass\r\n"

    def marks() -> list[str]:
        by_imap.dovecot.append(by_imap.user, top + mail("Clerk <clerk@home.test>"))
        by_imap.fetch()
        return [by_imap.desk.posts(document.thread_id)[0].mark for document in by_imap.desk.documents()]

    for number in range(4):
        by_imap.dovecot.append(by_imap.user, top + mail(f"c{number}@customer.test"))
    assert marks()[-1] == "not_checked", "its own mails taught it"
    by_imap.dovecot.append(by_imap.user, forged + mail("Clerk <clerk@home.test>", text="Pay at once."))
    assert marks()[-2:] == ["not_checked", "verified"]
    by_imap.set(sender_checks="off")
    assert marks()[-1] == "not_checked"
    with by_imap.app.app_context():
        assert by_imap.server().checks_seen == {"mx.office.test": 6, "-": 1}


RECEIVED = b"Received: from a by mail.office.test; Sun, 22 Nov 2026 07:15:00 +0100\r\n"


@pytest.mark.parametrize(
    ("kind", "top", "arrived"),
    [
        ("imap", RECEIVED, datetime(2026, 11, 20, 9, 0, tzinfo=UTC)),
        ("pop3", RECEIVED, datetime(2026, 11, 22, 6, 15, tzinfo=UTC)),
        ("pop3", b"", NOW),
        ("pop3", RECEIVED.replace(b"2026", b"2027"), NOW),
    ],
)
def test_the_ledger_knows_when_a_mail_reached_its_own_server(
    app: Flask, dovecot: Dovecot, mailbox: str, kind: str, top: bytes, arrived: datetime
) -> None:
    fetching = Fetching(app, dovecot, mailbox, kind)
    fetching.confirm()
    dovecot.append(mailbox, top + mail(), arrived=datetime(2026, 11, 20, 9, 0, tzinfo=UTC))
    assert fetching.fetch().kept == 1
    (row,) = fetching.desk.ledger()
    assert (row.arrived_at, row.received_at) == (arrived, NOW)


def test_admins_hear_once_of_a_mailbox_that_refuses_for_long(by_imap: Fetching) -> None:
    def refuse(target: MailboxTarget) -> Mailbox:
        raise LoginRefused(host=target.host, user=target.user, reply="wrong password")

    def notices() -> list[bool]:
        with by_imap.app.app_context():
            return [at is not None for at in db.session.scalars(select(Notification.read_at))]

    by_imap.desk.user("Boss", role="admin")
    by_imap.confirm()
    for round_ in range(2):
        for minutes, told in ((5, 0), (25, 0), (40, 1), (60, 1)):
            with by_imap.app.app_context():
                by_imap.desk.now = NOW + timedelta(hours=round_, minutes=minutes)
                assert flow.fetch(by_imap.server_id, by_imap.desk.worker, by_imap.desk.now, refuse).why
            assert notices() == [True] * round_ + [False] * told
        assert by_imap.fetch().why is None
        assert notices() == [True] * (round_ + 1)


def test_a_mail_that_somebody_read_meanwhile_comes_too(fetching: Fetching) -> None:
    fetching.confirm()
    fetching.arrive("read by a person", seen=True)
    fetching.arrive("unread")
    fetching.fetch()
    assert sorted(fetching.titles()) == ["read by a person", "unread"]


def test_what_lay_there_before_is_left_alone_until_it_is_asked_for(fetching: Fetching) -> None:
    fetching.arrive("old", "older")
    fetching.confirm()
    fetching.arrive("new")
    assert fetching.fetch().kept == 1
    assert fetching.titles() == ["new"]
    if fetching.kind == "imap":
        assert [stored.seen for stored in fetching.dovecot.mails(fetching.user)] == [False, False, True]
    fetching.set(fetch_existing=True)
    assert fetching.fetch().kept == 2
    assert fetching.fetch().kept == 0
    assert fetching.titles() == ["new", "old", "older"]


def test_all_of_it_when_the_admin_asks_for_it_at_once(fetching: Fetching) -> None:
    fetching.arrive("old")
    fetching.set(fetch_existing=True)
    fetching.confirm()
    fetching.arrive("new")
    assert fetching.fetch().kept == 2
    assert fetching.fetch().kept == 0


@pytest.mark.parametrize(
    ("after_fetch", "left", "seen"), [("mark_read", 2, True), ("delete", 0, False), ("move", 0, False)]
)
def test_what_happens_to_a_mail_at_its_server(by_imap: Fetching, after_fetch: str, left: int, seen: bool) -> None:
    by_imap.set(after_fetch=after_fetch, move_to="Done")
    by_imap.confirm()
    by_imap.arrive("one", "two")
    fetched = by_imap.fetch()
    if after_fetch == "move" and fetched.why:  # the folder has to be there
        assert fetched.counts == Counter(processed=2)
        assert fetched.why["code"].startswith("mailbox_")
        return
    stored = by_imap.dovecot.mails(by_imap.user)
    assert len(stored) == left
    assert all(one.seen == seen for one in stored)
    assert len(by_imap.titles()) == 2


def test_pop3_deletes_only_what_is_stored(app: Flask, dovecot: Dovecot, mailbox: str) -> None:
    fetching = Fetching(app, dovecot, mailbox, "pop3")
    fetching.arrive("before")
    fetching.set(after_fetch="delete")
    fetching.confirm()
    fetching.arrive("one")
    assert fetching.fetch().kept == 1
    assert len(dovecot.mails(mailbox)) == 1, "what was there before us is not ours to delete"
    assert fetching.titles() == ["one"]


def test_new_numbers_bring_nothing_twice_and_nothing_old(by_imap: Fetching) -> None:
    by_imap.arrive("before us")
    by_imap.confirm()
    by_imap.set(confirmed_at=datetime.now(UTC))  # Dovecot's clock, not ours, says when a mail arrived
    later = datetime.now(UTC) + timedelta(seconds=5)
    for subject in ("one", "two"):
        raw = mail(subject=subject, message_id=f"<{subject}@customer.test>")
        by_imap.dovecot.append(by_imap.user, raw, arrived=later)
    assert by_imap.fetch().counts == Counter(processed=2)
    by_imap.dovecot.change_uidvalidity(by_imap.user)
    raw = mail(subject="three", message_id="<three@customer.test>")
    by_imap.dovecot.append(by_imap.user, raw, arrived=later)
    by_imap.confirm()  # tested again before the next fetch
    assert by_imap.fetch().counts == Counter(processed=1, duplicate=2)
    assert by_imap.titles() == ["one", "two", "three"]
    with by_imap.app.app_context():
        assert db.session.scalar(select(func.count(MailboxState.id))) == 2


def test_a_pop3_mailbox_that_moved_brings_nothing_twice_and_nothing_old(
    app: Flask, dovecot: Dovecot, mailbox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def arrive(subject: str, day: int) -> None:
        top = f"Received: from a by mail.office.test; {day} Nov 2026 07:15:00 +0100\r\n" if day else ""
        raw = mail(f"{subject}@customer.test", subject=subject, message_id=f"<{subject}@customer.test>")
        dovecot.append(mailbox, top.encode() + raw)

    def cut_after_one(target: MailboxTarget) -> Mailbox:
        found = Pop3Mailbox(target)
        batches = found.batches

        def some(after: Position) -> Iterator[FetchedBatch]:
            yield next(batches(after))
            raise MailboxLater(host="mail.test", reply="not now")

        monkeypatch.setattr(found, "batches", some)
        return found

    fetching = Fetching(app, dovecot, mailbox, "pop3")
    arrive("old", 21)
    arrive("older", 20)
    fetching.confirm()
    arrive("one", NOW.day + 1)
    assert fetching.fetch().counts == Counter(processed=1)
    dovecot.change_uidvalidity(mailbox)
    arrive("two", NOW.day + 2)
    arrive("three", 0)  # nobody knows when it arrived: that is no reason to pass it over
    monkeypatch.setattr(mailbox_module, "BATCH_MAILS", 1)
    with app.app_context():
        assert flow.fetch(fetching.server_id, fetching.desk.worker, NOW + timedelta(minutes=5), cut_after_one).why
    fetching.desk.now = NOW + timedelta(minutes=10)
    assert fetching.fetch().counts == Counter(processed=2, duplicate=1)
    assert fetching.titles() == ["one", "two", "three"]
    with app.app_context():
        notes = db.session.scalars(select(ReceivedMail.decision).where(ReceivedMail.result == "left_alone")).all()
    assert notes == [[why("left_alone_again")]] * 2
    assert fetching.fetch().kept == 0
    arrive("found", 20)  # what a person puts there later is no old mail
    assert fetching.fetch().kept == 1
    fetching.set(fetch_existing=True)
    assert fetching.fetch().kept == 2


def test_a_copy_in_the_mailbox_of_another_alias_is_a_duplicate(by_imap: Fetching) -> None:
    by_imap.confirm()
    raw = mail(to=f"sales@{DOMAIN}, orders@{DOMAIN}")
    by_imap.dovecot.append(by_imap.user, raw)
    by_imap.dovecot.append(by_imap.user, b"Delivered-To: orders@mycompany.test\r\n" + raw)
    assert by_imap.fetch().counts == Counter(processed=1, duplicate=1)
    assert len(by_imap.desk.documents()) == 2


def test_one_broken_mail_stops_nobody(by_imap: Fetching) -> None:
    by_imap.desk.set_alias("orders", defaults={"stage_id": 999_999})
    by_imap.confirm()
    by_imap.arrive("one")
    by_imap.dovecot.append(by_imap.user, mail(to=f"orders@{DOMAIN}", subject="broken"))
    by_imap.dovecot.append(by_imap.user, b"\x00\xff no mail at all \x80")
    by_imap.arrive("two")
    assert by_imap.fetch().counts == Counter(processed=2, quarantined=2)
    assert by_imap.titles() == ["one", "two"]
    assert by_imap.fetch().kept == 0


def test_a_mail_that_could_not_be_brought_whole_goes_to_quarantine_with_the_reason(app: Flask) -> None:
    desk = FrontDesk(app)
    reason = why("mailbox_mail_too_large", megabytes=80, limit=50)
    with app.app_context():
        raw = b"From: ann@customer.test\r\nTo: sales@mycompany.test\r\nSubject: Film\r\nDate: today\r\n\r\n"
        head = FetchedMail("7.1", 80_000_000, None, raw, reason)
        (kept,) = intake.keep("server:1", [head], NOW, keeps=Retention(), worker=desk.worker)
        flow.understand([kept], desk.worker, NOW)
        (row,) = desk.ledger()
        assert (row.state, row.subject, row.size) == ("quarantined", "Film", 80_000_000)
        assert row.decision and reason in row.decision[1:], "what is odd about it stands before"
        assert quarantine.retry(kept.id, NOW) == "quarantined"
        assert quarantine.retry_later(kept.id, NOW) == "received"
        assert flow.process_waiting(NOW, desk.worker) == Counter(quarantined=1)
    assert reason in (desk.ledger()[0].decision or [])


@pytest.mark.parametrize(("values", "code"), [({"password": "wrong"}, "mailbox_login_refused"), ({"port": 0}, None)])
def test_a_server_that_is_away_says_so_and_comes_back(
    by_imap: Fetching, values: dict[str, object], code: str | None
) -> None:
    by_imap.confirm()
    by_imap.arrive("one")
    if "port" in values:
        values = {"port": free_port()}
    by_imap.set(**values)
    fetched = by_imap.fetch()
    assert fetched.kept == 0
    assert fetched.why is not None
    assert code is None or fetched.why["code"] == code
    with by_imap.app.app_context():
        assert by_imap.server().why == fetched.why
        assert (by_imap.server().last_failure_at, by_imap.server().last_success_at) == (NOW, None)
    by_imap.set(port=by_imap.dovecot.port("imap"), password=by_imap.dovecot.password)
    assert by_imap.fetch().kept == 1
    with by_imap.app.app_context():
        assert by_imap.server().why is None


def test_with_another_key_mails_wait_until_the_password_is_typed_anew(fetching: Fetching) -> None:
    fetching.confirm()
    fetching.arrive("one")
    fetching.app.extensions[FERNET] = MultiFernet([Fernet(Fernet.generate_key())])
    fetched = fetching.fetch()
    assert fetched.kept == 0 and fetched.why is not None and fetched.why["code"] == "mailbox_secret_unreadable"
    with fetching.app.app_context():
        assert fetching.server().why == fetched.why
        assert "was saved with another secret key" in say(fetched.why)
    fetching.set(password=fetching.dovecot.password)
    assert fetching.fetch().kept == 1


@pytest.mark.parametrize("values", [{"state": "draft"}, {"active": False}])
def test_only_confirmed_and_active_servers_are_fetched(by_imap: Fetching, values: dict[str, object]) -> None:
    by_imap.confirm()
    by_imap.arrive("one")
    by_imap.set(**values)
    assert by_imap.fetch().kept == 0


def test_what_comes_before_a_new_password_is_confirmed_is_fetched(fetching: Fetching) -> None:
    fetching.arrive("long ago")
    fetching.confirm()
    fetching.arrive("while the password was wrong")
    fetching.set(state="draft")
    fetching.confirm()
    fetching.fetch()
    assert fetching.titles() == ["while the password was wrong"]


def test_the_numbers_of_another_mailbox_are_never_taken_for_those_of_the_first(fetching: Fetching) -> None:
    fetching.confirm()
    fetching.arrive("one", "two")
    assert fetching.fetch().kept == 2
    other = fetching.dovecot.add_mailbox(f"other-{fetching.user}")
    with fetching.app.app_context():  # as the form does, when host, user or type change
        fetching.server().become_another()
        db.session.commit()
    fetching.user = other
    fetching.set(user=other, state="draft")
    fetching.confirm()
    fetching.arrive("three")
    with fetching.app.app_context():
        keys = set(db.session.scalars(select(ReceivedMail.source)))
        assert fetching.server().source not in keys
    assert fetching.fetch().kept == 1
    assert fetching.titles() == ["one", "two", "three"]
    fetching.dovecot.remove_mailbox(other)


def test_a_folder_with_the_same_numbers_is_another_mailbox(by_imap: Fetching) -> None:
    by_imap.confirm()
    by_imap.arrive("one", "two")
    assert by_imap.fetch().kept == 2
    with by_imap.app.app_context(), open_mailbox(position.target_of(by_imap.server())) as box:
        uidvalidity = box.uidvalidity
    by_imap.dovecot.add_folder(by_imap.user, "Orders", uidvalidity)
    for folder, subjects in (("Orders", ["three", "four", "five"]), ("INBOX", ["six"])):
        follows = by_imap.read_folder(folder)
        by_imap.confirm()
        by_imap.arrive(*subjects, folder=folder)
        with by_imap.app.app_context(), open_mailbox(position.target_of(by_imap.server())) as box:
            assert box.uidvalidity == uidvalidity
        assert by_imap.fetch().kept == len(subjects)
        assert follows == ["tested_anew", "another_mailbox"]
    assert by_imap.titles() == ["one", "two", "three", "four", "five", "six"]


@pytest.mark.parametrize(("typed", "another"), [("Inbox", False), ("", False), ("INBOX", False), ("inbox.Done", True)])
def test_the_inbox_is_one_folder_however_it_is_written(by_imap: Fetching, typed: str, another: bool) -> None:
    by_imap.confirm()
    assert bool(by_imap.read_folder(typed)) == another
    with by_imap.app.app_context():
        assert by_imap.server().folder == (typed if another else "INBOX")


def test_a_folder_means_nothing_to_pop3(app: Flask, dovecot: Dovecot, mailbox: str) -> None:
    fetching = Fetching(app, dovecot, mailbox, "pop3")
    fetching.confirm()
    assert fetching.read_folder("Orders") == []


@pytest.mark.parametrize(
    ("rights", "after_fetch", "said"),
    [
        ("lr", "mark_read", "mailbox_read_only"),
        ("lr", "move", "mailbox_read_only"),
        ("lr", "delete", "mailbox_read_only"),
        ("lrs", "mark_read", None),
        ("lrs", "move", "move_failed"),
        ("lrs", "delete", "mailbox_no_delete"),
        ("lrt", "mark_read", "mailbox_no_mark"),
        ("lrst", "move", "move_failed"),
        ("lrst", "delete", "mailbox_no_expunge"),
        ("lrte", "delete", None),
    ],
)
def test_a_mailbox_in_which_we_may_not_do_everything_is_fetched_all_the_same(
    by_imap: Fetching, rights: str, after_fetch: str, said: str | None
) -> None:
    by_imap.dovecot.allow(by_imap.user, rights)
    by_imap.set(after_fetch=after_fetch, move_to="Done")
    by_imap.confirm()
    by_imap.arrive("one", "two")
    for kept in (2, 0, 0):
        result = by_imap.fetch()
        assert (result.kept, result.why) == (kept, None)
        assert (result.remark and result.remark["code"]) == said
    assert by_imap.titles() == ["one", "two"]
    left = by_imap.dovecot.mails(by_imap.user)
    assert len(left) == (0 if said is None and after_fetch == "delete" else 2)
    with by_imap.app.app_context():
        assert by_imap.server().why == result.remark


def test_what_a_former_mailbox_was_not_told_of_is_not_owed_to_the_next_one(by_imap: Fetching) -> None:
    by_imap.dovecot.allow(by_imap.user, "lr")
    by_imap.confirm()
    by_imap.arrive("one", "two")
    assert by_imap.fetch().remark["code"] == "mailbox_read_only"
    by_imap.dovecot.add_folder(by_imap.user, "Orders", 7)
    assert by_imap.read_folder("Orders") == ["tested_anew", "another_mailbox", "left_behind"]
    by_imap.confirm()
    by_imap.arrive("three", folder="Orders")
    result = by_imap.fetch()
    assert (result.kept, result.remark) == (1, None)
    with by_imap.app.app_context():
        assert intake.unacknowledged(by_imap.server().source, 0) == []
    assert by_imap.read_folder("INBOX") == ["tested_anew", "another_mailbox"]


# --- kill -9 while it fetches

KILLED = """
    import os, signal, sys
    from mail.incoming import apply, flow, ledger
    from mail.queue.lease import WorkerLease
    from mail.settings import config
    from mail.settings.clock import now
    from mail.transport.imap_mailbox import ImapMailbox
    from scheduler import create_worker_app

    def die(*args, **more):
        os.kill(os.getpid(), signal.SIGKILL)

    where = sys.argv[1]
    app = create_worker_app(config.read())
    if where == "acknowledge":
        ImapMailbox.acknowledge = die
    elif where == "position":
        flow.go_on_after = die
    elif where == "write":
        ledger.note_results = die
    elif where == "second group":
        real, calls = apply.write, []
        def write(*args):
            calls.append(args)
            return die() if len(calls) == 2 else real(*args)
        apply.write = write
    with app.app_context():
        flow.fetch(int(sys.argv[2]), WorkerLease.register(now()), now())
"""


@pytest.mark.parametrize("where", ["acknowledge", "position", "write", "second group"])
def test_a_kill_at_any_moment_loses_nothing_and_doubles_nothing(
    by_imap: Fetching, database: str, tmp_path: Path, where: str
) -> None:
    by_imap.confirm()
    subjects = [f"mail {number}" for number in range(40)]
    by_imap.arrive(*subjects)
    env = {**os.environ, "DATABASE_URL": database, "COQUI_DATA": str(tmp_path / "data"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), where, str(by_imap.server_id)],
        env=env, cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    with by_imap.app.app_context():
        kept = db.session.scalar(select(func.count(ReceivedMail.id)))
        assert kept == (0 if where == "position" else 40), "kept before anything else, with how far we are"
        by_imap.desk.worker = by_imap.desk.hire()
        db.session.execute(update(Worker).where(Worker.id != by_imap.desk.worker.id).values(ended=True))
        db.session.commit()
    assert by_imap.fetch().kept == 40 - kept
    with by_imap.app.app_context():
        flow.process_waiting(NOW, by_imap.desk.worker)
    assert sorted(by_imap.titles()) == sorted(subjects)
    assert by_imap.desk.states() == Counter(processed=40)
    assert all(stored.seen for stored in by_imap.dovecot.mails(by_imap.user)), "its server was told in the end"


@pytest.mark.parametrize(
    ("kind", "signs_in_as", "looks_in"),
    [("microsoft", "info@office.test", ""), ("other", "ann@office.test", "info@office.test")],
)
def test_a_shared_mailbox_is_read_by_whoever_it_is_shared_with(
    app: Flask, kind: str, signs_in_as: str, looks_in: str
) -> None:
    with app.app_context():
        provider = OauthProvider(kind=kind, name="P", client_id="us")
        account = OauthAccount(provider=provider, address="ann@office.test", state="connected", access_token="tok-en")
        server = IncomingServer(
            name="Info", host="imap.test", authentication="oauth2", user="ann@office.test", oauth_account=account,
            shared_mailbox="info@office.test",
        )  # fmt: skip
        db.session.add(server)
        db.session.flush()
        target = position.target_of(server)
        assert (target.user, target.shared, target.tokens is not None) == (signs_in_as, looks_in, True)
        assert Retention.of(server).mailbox == "info@office.test"
        server.address = "hello@office.test"
        assert Retention.of(server).mailbox == "hello@office.test"
        db.session.rollback()

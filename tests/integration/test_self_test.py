"""An outgoing server is tested from end to end: real Postfix and Dovecot, then each part broken in turn."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError

from mail.decide.self_test import PATIENCE, not_sent
from mail.decide.verp import PLACE
from mail.incoming import flow, position
from mail.maintenance import self_test, self_test_rows
from mail.maintenance.rehearsal import begin
from mail.outgoing import tried_once
from mail.outgoing.enqueue import OutgoingDraft, To, enqueue
from mail.queue.journal import Journal
from mail.sentences import say, why
from mail.settings import office
from mail.settings.clock import now
from mail.settings.config import settings
from mail.transport.mailbox_open import open_mailbox
from models import (
    AddressHealth,
    Alias,
    Bounce,
    Contact,
    Document,
    IncomingServer,
    OutgoingServer,
    ReceivedMail,
    Recipient,
    SelfTestPart,
    ServerCheck,
    db,
)
from scheduler import recovery
from scheduler.checks import Checks, _tested
from scheduler.fetching import Fetcher
from scheduler.identity import WorkerIdentity
from scheduler.open_mailboxes import OpenMailboxes
from scheduler.self_tests import SelfTests
from tests.integration.frontdesk import DOMAIN, NOW, FrontDesk
from tests.integration.mass import add_server
from tests.servers.dovecot import Dovecot
from tests.servers.postfix import Postfix
from tests.waiting import wait_until

INBOX = f"inbox@{DOMAIN}"
PASSED = "Authentication-Results: mx.receiver.test; spf=pass smtp.mailfrom=bounce@mycompany.test; dkim=none; dmarc=pass"
SPF_FAILED = "Authentication-Results: mx.receiver.test; spf=fail smtp.mailfrom=bounce@mycompany.test; dkim=none"


@dataclass
class Bench:
    """An office whose one server is also the MX of its domain; everything comes into one mailbox of Dovecot."""

    app: Flask
    postfix: Postfix
    dovecot: Dovecot
    box: str
    identity: WorkerIdentity = field(init=False)

    def set_up(self) -> None:
        for local in ("inbox", "catchall", "bounce", "bounce+test"):
            self.deliver(local)
        self.postfix.bounce_unknown(DOMAIN)
        self.postfix.add_header(INBOX, PASSED)
        with self.app.app_context():
            self.new_worker()
            add_server(self.postfix.port, "Relay", from_filter=DOMAIN)
            row = IncomingServer(
                name="Inbox", kind="imap", host="127.0.0.1", port=self.dovecot.port("imap"), encryption="none",
                user=self.box, password=self.dovecot.password,
            )  # fmt: skip
            db.session.add(row)
            db.session.commit()
            with open_mailbox(position.target_of(row)) as box:
                look = box.look()
            position.confirm(row, look, now())
            db.session.commit()

    def new_worker(self) -> None:
        self.identity = WorkerIdentity(recovery.recover_claims)
        self.identity.begin()

    def deliver(self, local: str) -> None:
        self.postfix.deliver_into(f"{local}@{DOMAIN}", self.dovecot.maildir(self.box))

    def begin(self) -> int:
        """Ask for a test, as the page does, and take it, as the worker does."""
        check_id = self_test_rows.ask(1, self_test_rows.Target(INBOX, "Inbox", 1), None, now()).id
        self.take(check_id)
        return check_id

    def take(self, check_id: int) -> None:
        held = {"state": "running", "worker_id": self.identity.current().id}
        held["tested"] = _tested(self_test_rows.KIND, 1)
        db.session.execute(update(ServerCheck).where(ServerCheck.id == check_id).values(held))
        db.session.commit()

    def send(self, check_id: int, name: str) -> None:
        with (
            self.identity.claiming() as held,
            Journal.open(settings().journal_folder, held.id, f"self-{check_id}") as journal,
        ):
            self_test.send(check_id, name, journal, held)
            journal.remove()

    def run(self, check_id: int) -> None:
        """Do a test: when Postfix has nothing left to bring, the time is up."""
        later = timedelta(0)
        while not self_test.judge(check_id, now() + later):
            if name := self_test.next_to_send(check_id):
                self.send(check_id, name)
                continue
            wait_until(self.postfix.idle)
            before = self.seen()
            for server_id in self_test_rows.mailboxes(check_id):
                flow.fetch(server_id, self.identity.current(), now())
            later = timedelta(0) if self.seen() > before else PATIENCE + timedelta(seconds=1)
            db.session.expire_all()

    def seen(self) -> int:
        db.session.rollback()
        return db.session.scalar(select(func.count()).where(SelfTestPart.seen_at.is_not(None))) or 0

    def table(self, check_id: int) -> dict[str, str]:
        """What the page says: the state of each part, and its code."""
        db.session.expire_all()
        parts = self_test_rows.parts_of(check_id)
        return {name: f"{part.state} {(part.why or {}).get('code', '')}" for name, part in parts.items()}


@pytest.fixture
def bench(app: Flask, postfix: Postfix, dovecot: Dovecot, mailbox: str) -> Iterator[Bench]:
    FrontDesk(app)
    made = Bench(app, postfix, dovecot, mailbox)
    made.set_up()
    with app.app_context():
        yield made


GREEN = {
    "delivery": "ok self_test_delivery_ok",
    "authentication": "ok self_test_sender_ok",
    "reply": "ok self_test_reply_ok",
    "bounce": "ok self_test_bounce_ok",
    "plus": "ok self_test_plus_ok",
}
NOTHING_ARRIVED = {
    "authentication": "skipped self_test_needs_delivery",
    "reply": "skipped self_test_needs_delivery",
}


def left_behind() -> dict[str, int]:
    """What a test must not leave."""
    tables: tuple[Any, ...] = (Document, Contact, Bounce, AddressHealth)
    return {one.__name__: db.session.scalar(select(func.count()).select_from(one)) or 0 for one in tables}


@pytest.mark.heavy
def test_everything_works(bench: Bench) -> None:
    """As the worker does it, with its own fetching."""
    before = left_behind()
    check_id = bench.begin()
    SelfTests(bench.identity, Fetcher(bench.app, bench.identity, OpenMailboxes())).run(
        check_id, bench.identity.current().id
    )
    assert bench.table(check_id) == GREEN
    check = db.session.get_one(ServerCheck, check_id)
    assert (check.state, check.finished_at is not None) == ("done", True)
    assert left_behind() == before
    rows = db.session.scalars(select(ReceivedMail).order_by(ReceivedMail.id)).all()
    assert [(row.state, row.result) for row in rows] == [("ignored", "self_test")] * 4
    assert all(row.decision and row.decision[-1]["code"].startswith("route_") for row in rows)
    assert set(db.session.scalars(select(Recipient.state))) == {"sent"}
    office.forget()
    known = office.load()
    assert known.office.verp_on(f"bounce@{DOMAIN}", known.servers[0]), "from now on its emails have unique addresses"
    add_server(bench.postfix.port, "Untried")
    db.session.commit()
    office.forget()
    known = office.load()
    assert [known.office.verp_on(f"bounce@{DOMAIN}", one) for one in known.servers] == [True, False]


def break_receiver(bench: Bench) -> None:
    bench.postfix.deliver_into(INBOX, bench.postfix.delivered / "elsewhere")


def break_mailbox(bench: Bench) -> None:
    db.session.execute(update(IncomingServer).values(password="wrong"))
    db.session.commit()


def turn_mailbox_off(bench: Bench) -> None:
    db.session.execute(update(IncomingServer).values(active=False))
    db.session.commit()


def break_reply(bench: Bench) -> None:
    bench.postfix.bounce(f"catchall@{DOMAIN}")


def lose_reply(bench: Bench) -> None:
    bench.postfix.deliver_into(f"catchall@{DOMAIN}", bench.postfix.delivered / "elsewhere")


def break_plus(bench: Bench) -> None:
    db.session.execute(update(Alias).where(Alias.role == "bounce").values(plus_at=now()))
    db.session.commit()
    bench.postfix.bounce(f"bounce+test@{DOMAIN}")


def return_plus(bench: Bench) -> None:
    db.session.execute(update(OutgoingServer).values(verp=False))
    db.session.commit()
    break_plus(bench)


def refuse_plus_as_sender(bench: Bench) -> None:
    bench.postfix.refuse_senders_with_plus()


def refuse_plus(bench: Bench) -> None:
    bench.postfix.refuse(f"bounce+test@{DOMAIN}")


def break_bounce(bench: Bench) -> None:
    for local in ("bounce", "bounce+test"):
        bench.postfix.deliver_into(f"{local}@{DOMAIN}", bench.postfix.delivered / "elsewhere")


def refuse_unknown(bench: Bench) -> None:
    bench.postfix.refuse(f"@{DOMAIN}")


def take_unknown(bench: Bench) -> None:
    bench.postfix.accept(f"@{DOMAIN}")


def fail_sender(bench: Bench) -> None:
    bench.postfix.add_header(INBOX, SPF_FAILED)


def check_no_sender(bench: Bench) -> None:
    bench.postfix.policy.actions[INBOX] = "DUNNO"


def return_everything(bench: Bench) -> None:
    bench.postfix.bounce(INBOX, "5.2.2 The mailbox is full")


def refuse_inbox(bench: Bench) -> None:
    bench.postfix.refuse(INBOX)


def relay_nothing(bench: Bench) -> None:
    for local in ("inbox", "bounce+test", "catchall"):
        bench.postfix.refuse(f"{local}@{DOMAIN}", "554 5.7.1 Relay access denied")
    bench.postfix.refuse(f"@{DOMAIN}", "554 5.7.1 Relay access denied")
    db.session.execute(update(Alias).where(Alias.role == "bounce").values(plus_at=now()))
    db.session.commit()


def use_wrong_server(bench: Bench) -> None:
    db.session.execute(update(OutgoingServer).values(port=1))
    db.session.commit()


BROKEN: dict[Callable[[Bench], None], dict[str, str]] = {
    break_receiver: {"delivery": "failed self_test_delivery_missing", **NOTHING_ARRIVED},
    break_mailbox: {
        "delivery": "failed self_test_mailbox_failed", **NOTHING_ARRIVED,
        "bounce": "failed self_test_mailbox_failed", "plus": "warning self_test_mailbox_failed",
    },
    turn_mailbox_off: {
        "delivery": "failed self_test_nothing_fetched", **NOTHING_ARRIVED,
        "bounce": "failed self_test_nothing_fetched", "plus": "warning self_test_nothing_fetched",
    },
    break_reply: {"reply": "failed self_test_reply_returned"},
    lose_reply: {"reply": "failed self_test_reply_missing"},
    break_plus: {"plus": "warning self_test_plus_missing"},
    return_plus: {"plus": "warning self_test_plus_returned"},
    refuse_plus_as_sender: {"plus": "warning self_test_plus_no_sender"},
    refuse_plus: {"plus": "warning self_test_plus_refused"},
    break_bounce: {"bounce": "failed self_test_bounce_missing", "plus": "warning self_test_plus_missing"},
    refuse_unknown: {"bounce": "skipped self_test_bounce_at_once"},
    fail_sender: {"authentication": "failed self_test_sender_failed"},
    check_no_sender: {"authentication": "skipped self_test_sender_unchecked"},
    return_everything: {"delivery": "failed self_test_delivery_returned", **NOTHING_ARRIVED},
    refuse_inbox: {"delivery": "failed self_test_refused", **NOTHING_ARRIVED},
    relay_nothing: {
        "delivery": "failed self_test_refused", **NOTHING_ARRIVED,
        "bounce": "skipped self_test_not_tried", "plus": "skipped self_test_not_tried",
    },
    use_wrong_server: {
        "delivery": "failed self_test_refused", "authentication": "skipped self_test_needs_delivery",
        **dict.fromkeys(("reply", "bounce", "plus"), "skipped self_test_server_failed"),
    },
}  # fmt: skip


@pytest.mark.heavy
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("breaks", BROKEN, ids=lambda breaks: breaks.__name__)
def test_each_part_broken_in_turn(bench: Bench, breaks: Callable[[Bench], None]) -> None:
    breaks(bench)
    before = left_behind()
    check_id = bench.begin()
    bench.run(check_id)
    assert bench.table(check_id) == GREEN | BROKEN[breaks]
    failed = any(state.startswith("failed") for state in bench.table(check_id).values())
    assert db.session.get_one(ServerCheck, check_id).state == ("failed" if failed else "done")
    assert left_behind() == before
    assert all("%(" not in say(part.why) for part in self_test_rows.parts_of(check_id).values())  # type: ignore[arg-type]
    if "plus" in BROKEN[breaks]:
        office.forget()
        assert not office.load().office.verp_on(f"bounce@{DOMAIN}", office.load().servers[0])


class Killed(BaseException):
    """The worker is no more."""


def killed(*_: object, **__: object) -> None:
    raise Killed


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["delivery", "reply"])
@pytest.mark.parametrize(
    ("place", "what"), [(tried_once, "deliver"), (tried_once._OneTry, "record")], ids=["before sending", "after it"]
)
def test_a_worker_that_dies_is_followed_by_another_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, place: Any, what: str, name: str
) -> None:
    check_id = bench.begin()
    while (to_send := self_test.next_to_send(check_id)) != name:
        if to_send:
            bench.send(check_id, to_send)
        else:
            wait_until(bench.postfix.idle)
            flow.fetch(1, bench.identity.current(), now())
            db.session.expire_all()
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(place, what, killed)
        bench.send(check_id, name)
    db.session.rollback()
    recovery.recover(bench.identity.current().id, now())
    db.session.expire_all()
    check = db.session.get_one(ServerCheck, check_id)
    assert (check.state, check.worker_id) == ("waiting", None)
    bench.new_worker()
    bench.take(check_id)
    self_test.resume(check_id)
    bench.run(check_id)
    assert bench.table(check_id) == GREEN
    came = db.session.scalars(select(ReceivedMail.to_text).where(ReceivedMail.result == "self_test")).all()
    assert len(came) == len(set(came)), "nothing was sent twice"


@pytest.mark.heavy
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_what_comes_after_the_test_is_noted(bench: Bench) -> None:
    break_receiver(bench)
    check_id = bench.begin()
    bench.run(check_id)
    elsewhere = (bench.postfix.delivered / "elsewhere" / "new").iterdir()
    late = max(elsewhere, key=lambda file: file.stat().st_mtime_ns)  # others lie there from other tests
    late.rename(bench.dovecot.maildir(bench.box) / "new" / late.name)
    wait_until(lambda: flow.fetch(1, bench.identity.current(), now()).kept > 0)
    assert bench.table(check_id)["delivery"] == "warning self_test_late"
    assert db.session.scalars(select(Document)).all() == []


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_test_that_waited_too_long_for_a_worker_says_what_was_not_tested(app: Flask) -> None:
    with app.app_context():
        identity = WorkerIdentity(recovery.recover_claims)
        identity.begin()
        check = self_test_rows.ask(0, self_test_rows.Target(INBOX), None, now() - recovery.WORTHWHILE)
        check.state, check.worker_id = "running", identity.current().id
        db.session.commit()
        check_id = check.id
        recovery.recover(identity.current().id, now())
        db.session.expire_all()
        states = {name: part.state for name, part in self_test_rows.parts_of(check_id).items()}
        assert states == dict.fromkeys(GREEN, "skipped") | {"delivery": "failed"}
        assert db.session.get_one(ServerCheck, check_id).state == "failed"


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("line", "part", "line_after"),
    [
        ({"state": "sent", "sent_at": NOW}, "sent", "sent"),
        ({"state": "unknown", "why": why("unknown_test_email")}, "sent", "unknown"),
        ({"state": "sending"}, "sent", "sending"),
        ({"state": "queued"}, "waiting", "failed"),  # it does not go out beside the one that is sent anew
        ({"state": "failed", "why": why("test_email_lost")}, "waiting", "failed"),
        ({"state": "failed", "why": why("relay_denied", reply="554 no"), "reply": "554 no"}, "failed", "failed"),
    ],
    ids=lambda values: values.get("state", "") if isinstance(values, dict) else None,
)
def test_what_a_test_goes_on_from(app: Flask, line: dict[str, Any], part: str, line_after: str) -> None:
    with app.app_context():
        draft = OutgoingDraft(kind="test", author="ada@office.test", subject="Test", text="Test")
        mail = enqueue(draft, [To(INBOX)], now())
        db.session.execute(update(Recipient).values(line))
        check_id = self_test_rows.ask(0, self_test_rows.Target(INBOX), None, now()).id
        held = update(SelfTestPart).where(SelfTestPart.name == "delivery")
        db.session.execute(held.values(state="sending", mail_id=mail.id))
        db.session.commit()
        self_test.resume(check_id)
        db.session.expire_all()
        assert self_test_rows.parts_of(check_id)["delivery"].state == part
        assert db.session.scalars(select(Recipient.state)).all() == [line_after]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("host", "verp"), [("127.0.0.1", True), ("mx.elsewhere.test", None)])
def test_a_server_that_moved_meanwhile_is_not_decided_about(app: Flask, host: str, verp: bool | None) -> None:
    with app.app_context():
        add_server(25, "Relay", from_filter=DOMAIN)
        db.session.commit()
        mail = enqueue(OutgoingDraft(kind="test", author=INBOX, subject="Test", text="Test"), [To(INBOX)], now())
        mail.envelope_sender = f"bounce+{PLACE}@{DOMAIN}"
        check = self_test_rows.ask(1, self_test_rows.Target(INBOX), None, now())
        check.tested = _tested(self_test_rows.KIND, 1)
        parts = self_test_rows.parts_of(check.id)
        parts["plus"].state, parts["plus"].mail_id = "ok", mail.id
        db.session.get_one(OutgoingServer, 1).host = host
        db.session.commit()
        self_test._decide_about_plus(check.id, parts)
        db.session.commit()
        assert db.session.scalars(select(OutgoingServer.verp)).all() == [verp]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_the_chosen_mailbox_is_fetched_however_many_come_before_it(app: Flask) -> None:
    with app.app_context():
        for number in range(self_test_rows.MOST_MAILBOXES + 2):
            db.session.add(IncomingServer(name=f"Box {number}", kind="imap", host="mx.test", user=f"b{number}@x.test",
                                          state="confirmed", priority=number))  # fmt: skip
        db.session.flush()
        last = db.session.scalars(select(IncomingServer).order_by(IncomingServer.id.desc()).limit(1)).one()
        check_id = self_test_rows.ask(0, self_test_rows.Target(INBOX, last.name, last.id), None, now()).id
        db.session.commit()
        fetched = self_test_rows.mailboxes(check_id)
        assert (fetched[0], len(fetched)) == (last.id, self_test_rows.MOST_MAILBOXES)
        parts = update(SelfTestPart).where(SelfTestPart.check_id == check_id)
        long_ago = now() - PATIENCE - timedelta(seconds=1)
        db.session.execute(parts.where(SelfTestPart.name == "delivery").values(state="sent", sent_at=long_ago))
        db.session.execute(parts.where(SelfTestPart.name != "delivery").values(state="skipped"))
        db.session.commit()
        self_test.judge(check_id, now())
        why_not = self_test_rows.parts_of(check_id)["delivery"].why
        assert why_not is not None and why_not["code"] == "self_test_delivery_missing"


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_server_that_nobody_asked_is_not_said_to_refuse(app: Flask) -> None:
    with app.app_context():
        check_id = self_test_rows.ask(7, self_test_rows.Target(INBOX), None, now()).id
        db.session.commit()
        parts = self_test_rows.parts_of(check_id)
        self_test_rows.end_part(parts["delivery"], not_sent("delivery", why("no_server")))
        db.session.commit()
        assert self_test.next_to_send(check_id) == ""
        said = [
            part.why for name, part in self_test_rows.parts_of(check_id).items() if name in ("bounce", "plus", "reply")
        ]
        assert [(one or {}).get("code") for one in said] == ["self_test_not_tried"] * 3
        assert all(one["values"]["cause"] == "no_server" for one in said if one)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_rehearsal_that_begins_meanwhile_is_no_fault_of_the_server(app: Flask) -> None:
    with app.app_context():
        identity = WorkerIdentity()
        identity.begin()
        add_server(9)
        check_id = self_test_rows.ask(1, self_test_rows.Target(INBOX), None, now()).id
        begin(why("rehearsal_by_command"), now())
        with Journal.open(settings().journal_folder, identity.current().id, "self-1") as journal:
            self_test.send(check_id, "plus", journal, identity.current())
        plus = self_test_rows.parts_of(check_id)["plus"]
        assert (plus.state, plus.why) == ("skipped", not_sent("plus", why("self_test_rehearses")).why)


NAMES_THE_ADDRESS_ONLY = (
    "From: MAILER-DAEMON@mx.test\r\nTo: bounce@{domain}\r\nSubject: Report\r\nMIME-Version: 1.0\r\n"
    "Message-ID: <{id}@mx.test>\r\n"
    'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n--b\r\n\r\nSorry.\r\n--b\r\n'
    "Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.test\r\n\r\n"
    "Final-Recipient: rfc822; {to}\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n--b--\r\n"
)


@pytest.mark.parametrize("is_there", [True, False])
def test_a_report_that_names_only_the_made_up_address_counts_against_nobody(app: Flask, is_there: bool) -> None:
    desk = FrontDesk(app)
    with app.app_context():
        to = f"no-such-mailbox-0123456789abcdef@{DOMAIN}"
        made = enqueue(OutgoingDraft(kind="test", author=INBOX, subject="Test", text="Test"), [To(to)], now())
        made.decision = {"steps": [why("sent_for_self_test", server="Relay")]}
        if is_there:
            check_id = self_test_rows.ask(0, self_test_rows.Target(INBOX), None, now()).id
            of_bounce = update(SelfTestPart).where(SelfTestPart.check_id == check_id, SelfTestPart.name == "bounce")
            db.session.execute(of_bounce.values(state="sent", sent_at=now(), mail_id=made.id))
        before = left_behind()
        db.session.commit()
    (row,) = desk.receive(NAMES_THE_ADDRESS_ONLY.format(domain=DOMAIN, to=to, id=1).encode())
    with app.app_context():
        assert (row.state, left_behind()) == ("ignored", before)
        expected = "route_self_test_returned" if is_there else "route_self_test_over"
        assert expected in {step["code"] for step in row.decision or []}
        if is_there:
            seen = self_test_rows.parts_of(check_id)["bounce"].seen
            assert seen is not None and seen["how"] == "returned"
    (other,) = desk.receive(
        NAMES_THE_ADDRESS_ONLY.format(domain=DOMAIN, to=f"no-such-mailbox-1@{DOMAIN}", id=2).encode()
    )
    assert other.result == "bounce", "an address that no test made up"


def test_two_clicks_are_one_test(app: Flask) -> None:
    with app.app_context():
        target = self_test_rows.Target(INBOX)
        self_test_rows.ask(0, target, None, now())
        self_test_rows.ask(7, target, None, now())
        db.session.commit()
        with pytest.raises(IntegrityError):
            self_test_rows.ask(0, target, None, now())
        db.session.rollback()
        db.session.execute(update(ServerCheck).values(state="done"))
        self_test_rows.ask(0, target, None, now())
        db.session.commit()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_no_more_are_claimed_than_run_at_once(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = threading.Event()
    monkeypatch.setattr(SelfTests, "run", lambda *_: goes_on.wait(60))
    with app.app_context():
        identity = WorkerIdentity(recovery.recover_claims)
        identity.begin()
        for number in range(3):
            self_test_rows.ask(number, self_test_rows.Target(INBOX), None, now())
        db.session.commit()
        loop = Checks(app, identity, Fetcher(app, identity, OpenMailboxes()))
        try:
            assert [loop.work() for _ in range(3)] == [True, True, False]
        finally:
            goes_on.set()
        wait_until(loop.work)

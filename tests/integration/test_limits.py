"""Limits of servers: counted before the claim, once over all threads; what exceeds them waits and says until when."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import delete, event, select, text, update

from mail.decide.limits import DAY, Limit
from mail.documents.contacts import find_or_make
from mail.documents.documents import start_document
from mail.mailing import mailing
from mail.outgoing import deliver, waiting
from mail.queue import quota, waits
from mail.sentences import say
from mail.settings import config, parameters
from models import DocumentType, Mailing, OutgoingServer, Quota, Recipient, User, db
from scheduler import create_worker_app
from scheduler.sending import ServerWatch
from tests.integration.mass import Clock, Sender, add_contacts, add_server, draft, mailing_of, standing_clock, states
from tests.integration.test_sending import Desk
from tests.servers.misbehaving import dialogue, misbehaving
from tests.web import Visitor, web_app, words

NOW = datetime(2026, 11, 27, 13, 45, tzinfo=UTC)
MIDNIGHT = datetime(2026, 11, 28, tzinfo=UTC)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return standing_clock(monkeypatch, NOW)


@pytest.fixture
def desk(app: Flask, clock: Clock) -> Iterator[Desk]:
    with Desk(app) as made:
        yield made


def post(desk: Desk, count: int, first: int = 0, **more: Any) -> None:
    desk.mail(*(f"r{number}@x.test" for number in range(first, first + count)), **more)
    with desk.app.app_context():
        db.session.execute(update(Recipient).where(Recipient.next_try_at > NOW).values(next_try_at=NOW))
        db.session.commit()


def used(app: Flask, server_id: int, seconds: int = DAY) -> int:
    with app.app_context():
        return db.session.scalar(
            select(Quota.used).where(Quota.server_id == server_id, Quota.seconds == seconds)
        )  # fmt: skip


def waiting_lines(app: Flask) -> list[Any]:
    with app.app_context():
        line = Recipient
        columns = (line.state, line.wait, line.next_try_at, line.why, line.attempts)
        return db.session.execute(select(*columns).where(line.state == "queued").order_by(line.id)).all()


# --- the gate


def test_threads_that_ask_at_once_never_get_more_than_the_limit(app: Flask) -> None:
    with app.app_context():
        server = add_server(2525, per_day=200, per_hour=150)
        db.session.commit()
    got, lock = [], threading.Lock()

    def ask() -> None:
        while True:
            with app.app_context():
                reserved = quota.reserve(server, 20, NOW)
                db.session.commit()
            if not reserved.emails:
                return
            with lock:
                got.append(reserved.emails)

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(got) == 150 and (used(app, server), used(app, server, 3600)) == (150, 150)


def test_what_was_not_accepted_is_given_back_to_its_own_window_only(app: Flask) -> None:
    with app.app_context():
        server = add_server(2525, per_day=200, per_hour=150)
        db.session.commit()
        reserved = quota.reserve(server, 20, NOW)
        db.session.commit()
        quota.reserve(server, 5, NOW + timedelta(hours=1))  # another hour of the same day
        db.session.commit()
        reserved.give_back(12)
        db.session.commit()
    assert (used(app, server), used(app, server, 3600)) == (13, 5)


def test_what_was_counted_by_a_clock_that_was_ahead_counts_today_and_not_for_ever(app: Flask) -> None:
    with app.app_context():
        server = add_server(2525, per_day=5, per_minute=5)
        db.session.commit()
        for ahead, room in ((365, 5), (0, 0), (1, 5), (0, 0)):  # the last one: a clock that is a day behind
            assert quota.reserve(server, 5, NOW + timedelta(days=ahead)).emails == room
            db.session.commit()


def test_a_server_without_limits_is_not_counted(app: Flask) -> None:
    with app.app_context():
        server = add_server(2525)
        db.session.commit()
        assert quota.reserve(server, 20, NOW).emails == 20
        assert db.session.scalars(select(Quota)).all() == []


# --- personal mail


def test_what_exceeds_the_limit_waits_and_goes_out_in_the_next_window(desk: Desk, clock: Clock, smtp_sink: Any) -> None:
    server = desk.server(smtp_sink.port, per_day=5)
    post(desk, 8)
    desk.send_all()
    assert desk.states() == {"sent": 5, "queued": 3} and used(desk.app, server) == 5
    for line in waiting_lines(desk.app):
        assert (line.wait, line.next_try_at, line.why["code"], line.attempts) == ("limit", MIDNIGHT, "limit_day", 0)
        assert "“main” has reached its limit of 5 emails per day" in say(line.why)
    clock.now = MIDNIGHT - timedelta(seconds=1)
    assert desk.step() == 0
    clock.now = MIDNIGHT
    desk.send_all()
    assert desk.states() == {"sent": 8} and used(desk.app, server) == 3


def test_room_is_reserved_for_what_is_due_only(desk: Desk, clock: Clock, smtp_sink: Any) -> None:
    desk.servers.allow(desk.server(smtp_sink.port, per_day=10), None)
    post(desk, 1)

    def write_and_send() -> None:
        post(desk, 1, first=1)
        assert desk.step() == 1

    step(desk, write_and_send)
    assert desk.states() == {"sent": 2}


def step(desk: Desk, claimed: Callable[[], None]) -> None:
    """Send once, with something that happens while the lines are held."""
    with desk.app.app_context():
        desk.worker.heartbeat()
        deliver.send_some(desk.worker, desk.connections, desk.journal, claimed=claimed)


REFUSES = {b"RCPT": b"450 4.2.0 Try later\r\n"}


def test_room_that_was_not_used_lets_go_what_waited_for_it_the_oldest_first(desk: Desk, clock: Clock) -> None:
    with misbehaving(dialogue(b"220 x ESMTP\r\n", REFUSES, b"250 ok\r\n")) as port:
        server = desk.server(port, per_day=3)
        desk.servers.allow(server, None)
        post(desk, 3)

        def write_more() -> None:
            post(desk, 5, first=3)
            desk.change("r7@x.test", wait="limit", next_try_at=MIDNIGHT, why={"code": "domain_slow", "values": {}})
            assert desk.step()
            assert [line.wait for line in waiting_lines(desk.app)] == ["limit"] * 5

        step(desk, write_more)
    assert used(desk.app, server) == 0
    due = [line.next_try_at for line in waiting_lines(desk.app)[3:]]
    assert due == [NOW, NOW, NOW, MIDNIGHT, MIDNIGHT], "as many as have room, and none that waits for its domain"


def test_room_that_a_mailing_did_not_use_lets_go_what_waited_for_it(desk: Desk, clock: Clock) -> None:
    sender = Sender(desk.app, Clock(NOW))
    with desk.app.app_context():
        parameters.put("company.address", "1 Rain Forest Road, San Juan", NOW)
        db.session.commit()
    with misbehaving(dialogue(b"220 x ESMTP\r\n", REFUSES, b"250 ok\r\n")) as port:
        server = desk.server(port, "mycompany", per_day=8)
        post(desk, 1, server="mycompany")
        reason = {"code": "limit_day", "values": {"server": "mycompany", "most": 8}}
        with desk.app.app_context():
            db.session.execute(update(Recipient).values(wait="limit", next_try_at=MIDNIGHT, why=reason))
            other = Mailing(state="sending", created_at=NOW, why=reason, next_try_at=MIDNIGHT, server_id=server)
            db.session.add(other)
            id = draft(add_contacts(8))
            mailing.send(id, NOW)
            other_id = other.id
        sender.until_idle()
    with desk.app.app_context():
        assert states(id) == {"deferred": 8}
        assert (mailing_of(other_id).next_try_at, mailing_of(other_id).why) == (None, None)
    (line,) = waiting_lines(desk.app)
    assert (line.next_try_at, line.wait, line.why) == (NOW, "", None), "if it has to wait again, then not for a limit"
    sender.close()


def test_a_changed_limit_lets_lines_go_once_whatever_senders_do_meanwhile(
    desk: Desk, clock: Clock, smtp_sink: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = desk.server(smtp_sink.port, per_day=2)
    post(desk, 6)
    desk.send_all()
    monkeypatch.setattr(waiting, "AT_ONCE", 2)
    commits = []

    def put_off(_session: Any) -> None:
        commits.append(1)
        assert len(commits) < 10, "it chases the senders"
        with db.engine.connect() as other:
            other.execute(update(Recipient).where(Recipient.state == "queued").values(next_try_at=MIDNIGHT))
            other.commit()

    with desk.app.app_context():
        event.listen(db.session, "after_commit", put_off)
        try:
            waiting.free_limited(server, NOW)
        finally:
            event.remove(db.session, "after_commit", put_off)


def test_the_time_for_which_a_line_waits_for_a_limit_does_not_count_for_giving_it_up(
    desk: Desk, clock: Clock, smtp_sink: Any
) -> None:
    server = desk.server(smtp_sink.port, per_day=1)
    post(desk, 3)
    first = NOW - timedelta(hours=40)
    desk.change("r1@x.test", first_try_at=first, attempts=1)
    desk.send_all()
    assert first_tries(desk) == [first + (MIDNIGHT - NOW), None]
    change_limit(desk, server, per_day=2)
    with desk.app.app_context():
        waiting.free_limited(server, NOW)
    assert first_tries(desk) == [first, None]


def first_tries(desk: Desk) -> list[datetime | None]:
    with desk.app.app_context():
        line = Recipient
        return list(db.session.scalars(select(line.first_try_at).where(line.state == "queued").order_by(line.id)))


def test_many_lines_wait_for_a_limit_in_small_transactions(desk: Desk, clock: Clock, smtp_sink: Any) -> None:
    desk.server(smtp_sink.port, per_day=1)
    post(desk, 1200)
    desk.send_all()
    assert desk.states() == {"sent": 1, "queued": 1199}
    assert {line.wait for line in waiting_lines(desk.app)} == {"limit"}


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)  # SQLite has one writer at a time
def test_a_line_that_somebody_else_changes_is_not_waited_for(desk: Desk, clock: Clock) -> None:
    server = desk.server(2525)
    post(desk, 2)
    reserved = quota.Reservation(server, 0, NOW, why={"code": "limit_day", "values": {}}, until=MIDNIGHT)
    with desk.app.app_context(), db.engine.connect() as person:
        person.execute(select(Recipient.id).where(Recipient.address == "r0@x.test").with_for_update())
        db.session.execute(text("SET LOCAL lock_timeout = '5s'"))
        assert waiting.wait_for_limit(reserved, NOW) == 1
    assert [line.wait for line in waiting_lines(desk.app)] == ["", "limit"]


def test_other_servers_do_not_wait(desk: Desk, clock: Clock, smtp_sink: Any) -> None:
    desk.server(smtp_sink.port, "main", per_minute=2)
    desk.server(smtp_sink.port, "other")
    post(desk, 5)
    post(desk, 5, first=10, server="other")
    desk.send_all()
    assert desk.states() == {"sent": 7, "queued": 3}
    assert waiting_lines(desk.app)[0].next_try_at == NOW + timedelta(minutes=1)


@pytest.mark.parametrize("reply", [b"550 5.1.1 No such user\r\n", b"450 4.2.0 Try later\r\n"])
def test_what_the_server_refuses_does_not_count(desk: Desk, clock: Clock, reply: bytes) -> None:
    with misbehaving(dialogue(b"220 x ESMTP\r\n", {b"RCPT": reply, b"DATA": b"354 go\r\n"}, b"250 ok\r\n")) as port:
        server = desk.server(port, per_day=100)
        post(desk, 3)
        desk.send_all()
    assert desk.states()["sent"] == 0 and used(desk.app, server) == 0


def test_a_limit_that_is_raised_or_removed_lets_go_what_waits(desk: Desk, clock: Clock, smtp_sink: Any) -> None:
    server = desk.server(smtp_sink.port, per_day=2)
    post(desk, 6)
    watch = ServerWatch(desk.connections)
    look(desk, watch)
    desk.send_all()
    for limit, sent in ((4, 4), (None, 6)):
        change_limit(desk, server, per_day=limit)
        look(desk, watch)
        clock.move(minutes=1)
        desk.send_all()
        assert desk.states()["sent"] == sent


@pytest.mark.parametrize("how", ["turned off", "deleted"])
def test_nothing_waits_for_the_limit_of_a_server_that_is_not_used_any_more(
    desk: Desk, clock: Clock, smtp_sink: Any, how: str
) -> None:
    desk.server(smtp_sink.port, per_day=1)
    post(desk, 3)
    watch = ServerWatch(desk.connections)
    look(desk, watch)
    desk.send_all()
    with desk.app.app_context():
        if how == "deleted":
            db.session.execute(delete(OutgoingServer))
        else:
            db.session.execute(update(OutgoingServer).values(active=False))
        db.session.commit()
    look(desk, watch)
    desk.server(smtp_sink.port, "other")
    desk.send_all()
    assert desk.states()["sent"] == 3


def look(desk: Desk, watch: ServerWatch) -> None:
    with desk.app.app_context():
        watch.work()


def change_limit(desk: Desk, server: int, **limits: int | None) -> None:
    with desk.app.app_context():
        db.session.execute(update(OutgoingServer).where(OutgoingServer.id == server).values(limits))
        db.session.commit()


def test_no_wait_for_a_limit_is_longer_than_a_day(desk: Desk, clock: Clock, smtp_sink: Any) -> None:
    desk.server(smtp_sink.port, per_day=1)
    post(desk, 3)
    desk.send_all()
    with desk.app.app_context():
        assert waits.bring_forward(NOW) == 0
        db.session.execute(update(Recipient).values(next_try_at=NOW + timedelta(days=3)))
        db.session.commit()
        assert waits.bring_forward(NOW) == 2


@pytest.mark.parametrize(
    ("reason", "ahead", "brought"),
    [
        ("limit_day", timedelta(hours=20), 0),
        ("limit_day", timedelta(days=3), 1),
        ("mailing_server_gone", timedelta(hours=20), 1),
        (None, timedelta(hours=20), 1),
    ],
)
def test_a_mailing_waits_as_long_as_its_reason_allows(
    app: Flask, reason: str | None, ahead: timedelta, brought: int
) -> None:
    with app.app_context():
        values = {"why": {"code": reason, "values": {}} if reason else None, "next_try_at": NOW + ahead}
        db.session.add(Mailing(state="sending", created_at=NOW, **values))
        db.session.commit()
        assert waits.bring_forward(NOW) == brought


# --- mailings


def test_a_mailing_waits_for_the_next_window_and_goes_on(app: Flask, smtp_sink: Any) -> None:
    sender = Sender(app, Clock(NOW))
    with app.app_context():
        parameters.put("company.address", "1 Rain Forest Road, San Juan", NOW)
        server = add_server(smtp_sink.port, per_hour=250)
        id = draft(add_contacts(600))
        mailing.send(id, NOW)
    for hours, sent, state in ((0, 250, "sending"), (1, 500, "sending"), (1, 600, "done")):
        sender.clock.move(hours=hours)
        sender.until_idle()
        with app.app_context():
            row = mailing_of(id)
            assert (states(id)["sent"], row.state) == (sent, state)
            if state == "sending":
                assert row.why["code"] == "limit_hour" and row.tries == 0
                assert row.next_try_at == sender.clock.now.replace(minute=0) + timedelta(hours=1)
            else:
                assert row.why is None
    assert used(app, server, 3600) == 100
    sender.close()


def test_personal_mail_and_mailings_share_the_limit(desk: Desk, clock: Clock, smtp_sink: Any) -> None:
    sender = Sender(desk.app, Clock(NOW))
    with desk.app.app_context():
        parameters.put("company.address", "1 Rain Forest Road, San Juan", NOW)
        db.session.commit()
    server = desk.server(smtp_sink.port, "mycompany", per_day=10)
    with desk.app.app_context():
        id = draft(add_contacts(8))
        mailing.send(id, NOW)
    sender.until_idle()
    post(desk, 5, server="mycompany")
    desk.send_all()
    with desk.app.app_context():
        assert states(id) == {"sent": 8}
    assert desk.states() == {"sent": 2, "queued": 3} and used(desk.app, server) == 10
    sender.close()


# --- the default server


@contextmanager
def office(folder: Path, **environment: str) -> Iterator[Flask]:
    env = {"COQUI_DATA": str(folder), "DATABASE_URL": f"sqlite:///{folder / 'office.db'}", **environment}
    app = create_worker_app(config.read(env))
    with app.app_context():
        db.create_all()
        yield app
        db.session.rollback()
        db.engine.dispose()


REAL = {"MAIL_SERVER": "smtp.x.test"}
ONLINE = REAL | {"COQUI_HOSTING": "online"}


@pytest.mark.parametrize(
    ("environment", "values", "most"),
    [
        (REAL, {}, 0),
        (ONLINE, {}, 200),
        ({"COQUI_HOSTING": "online"}, {}, 0),  # the practice mailbox
        (REAL, {"mail.daily_limit": "50"}, 50),
        (ONLINE, {"mail.daily_limit": "500"}, 500),
        (ONLINE, {"mail.daily_limit": "0"}, 0),
        (ONLINE, {"mail.daily_limit": "500", "mail.daily_limit.until": "2026-11-27"}, 500),  # its last day
        (ONLINE, {"mail.daily_limit": "500", "mail.daily_limit.until": "2026-11-26"}, 200),
        (REAL, {"mail.daily_limit": "50", "mail.daily_limit.until": "2026-11-26"}, 0),
    ],
)
def test_the_daily_limit_of_the_default_server(tmp_path, environment, values, most):
    with office(tmp_path, **environment):
        for key, value in values.items():
            parameters.put(key, value, NOW)
        assert quota.limits_of(0, NOW) == ([Limit(DAY, most)] if most else [])


def test_a_day_that_is_none_is_refused(app: Flask) -> None:
    with app.app_context():
        for text in ("tomorrow", "2026-13-01", "27.11.2026"):
            with pytest.raises(parameters.NotValid):
                parameters.put("mail.daily_limit.until", text, NOW)
        parameters.put("mail.daily_limit.until", " 2027-01-31 ", NOW)
        assert parameters.DAILY_LIMIT_UNTIL.get() == date(2027, 1, 31)


# --- what people see


FORM = {"name": "main", "host": "smtp.x.test", "port": "587", "encryption": "starttls", "authentication": "none",
        "priority": "10", "rewrite": "not_ours"}  # fmt: skip
SERVERS = "/admin/outgoing-servers"


def test_limits_are_set_in_the_form_and_their_use_is_shown(pages: Flask, admin: Visitor) -> None:
    answer = admin.post(f"{SERVERS}/new", FORM | {"per_minute": "30", "per_day": "200"})
    assert answer.status_code == 302, words(answer)
    with pages.app_context():
        row = db.session.scalars(select(OutgoingServer)).one()
        assert (row.per_second, row.per_minute, row.per_hour, row.per_day) == (None, 30, None, 200)
        quota.reserve(row.id, 7, datetime.now(UTC))
        db.session.commit()
        number = row.id
    page = words(admin.get(f"{SERVERS}/edit?id={number}"))
    assert "7 of 30 used this minute" in page and "7 of 200 used today (since 00:00 UTC)" in page
    admin.post(f"{SERVERS}/edit?id={number}", FORM | {"per_minute": "", "per_day": " "})
    with pages.app_context():
        row = db.session.scalars(select(OutgoingServer)).one()
        assert (row.per_minute, row.per_day) == (None, None)


def test_what_a_deleted_server_has_used_is_forgotten(pages: Flask, admin: Visitor) -> None:
    with pages.app_context():
        number = add_server(2525, per_day=200)
        db.session.commit()
        quota.reserve(number, 7, datetime.now(UTC))
        db.session.commit()
    assert admin.post(f"{SERVERS}/delete", {"id": number}).status_code == 302
    with pages.app_context():
        assert db.session.scalars(select(OutgoingServer.id)).all() == db.session.scalars(select(Quota)).all() == []


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5", "99999999"])
def test_what_is_no_limit_is_refused(pages: Flask, admin: Visitor, text: str) -> None:
    answer = admin.post(f"{SERVERS}/new", FORM | {"per_hour": text})
    assert answer.status_code == 200 and "or empty for no limit" in words(answer)


@pytest.mark.parametrize(
    ("until", "shown"),
    [
        ("2099-12-31", ["0 of 500 used today", "Set until Dec 31, 2099.", "New shop"]),
        ("2020-12-31", ["0 of 200 used today", "applied until Dec 31, 2020; now the usual limit does."]),
    ],
)
def test_the_daily_limit_is_shown_with_its_reason_and_its_last_day(
    database: str, tmp_path: Path, until: str, shown: list[str]
) -> None:
    app = web_app(database, tmp_path, **ONLINE)
    with app.app_context():
        for key, value in {"": "500", ".reason": "New shop", ".until": until}.items():
            parameters.put(f"mail.daily_limit{key}", value, NOW)
        db.session.commit()
    page = words(Visitor(app).as_role("admin").get("/settings/"))
    assert all(text in page for text in shown) and ("New shop" in page) == ("New shop" in shown)
    with app.app_context():
        db.engine.dispose()


@pytest.mark.parametrize(
    ("zone", "until"),
    [
        ("UTC", "Nov 28, 00:00 UTC"),
        ("Europe/Berlin", "Nov 28, 00:00 UTC (01:00 your time)"),
        ("America/New_York", "Nov 28, 00:00 UTC (Nov 27, 19:00 your time)"),
    ],
)
def test_the_author_sees_everywhere_that_an_email_waits_and_until_when(
    clock: Clock, pages: Flask, zone: str, until: str
) -> None:
    clerk, admin = Visitor(pages).as_role("user"), Visitor(pages).as_role("admin")
    with pages.app_context():
        db.session.execute(update(User).values(zone=zone))
        type_ = db.session.scalars(select(DocumentType).where(DocumentType.code == "ticket")).one()
        customer = find_or_make("cat@x.test", "Cat", NOW)
        document = start_document(type_, "Help", NOW, contact_id=customer.id).id
        server = add_server(2525, from_filter="", per_day=1)
        db.session.commit()
    clerk.post(f"/document/{document}/posts", {"words": "Hello", "kind": "message"})
    with pages.app_context():
        db.session.execute(update(Recipient).values(next_try_at=NOW))
        quota.reserve(server, 1, NOW)
        assert waiting.wait_for_limit(quota.reserve(server, 20, NOW), NOW) == 1
        line = db.session.scalars(select(Recipient.id)).one()
    remark = f"This email waits until {until} . “relay” has reached its limit of 1 email per day"
    page = words(clerk.get(f"/document/{document}"))
    assert remark in page and page.count(f"aits until {until} .") == 2, "at the post, and in its envelope"
    assert remark in words(clerk.get("/inbox")) and "all caught up" not in words(clerk.get("/inbox"))
    assert "Your waiting emails" not in words(admin.get("/inbox")), "they are those of their author"
    assert until in words(admin.get("/admin/outgoing-mails/"))
    assert f"Waits until {until} ." in words(admin.get(f"/admin/outgoing-mails/details?id={line}"))


def test_a_mailing_says_until_when_it_waits(clock: Clock, pages: Flask, admin: Visitor) -> None:
    with pages.app_context():
        id = draft(add_contacts(3))
        reason = {"code": "limit_day", "values": {"server": "main", "most": 200}}
        waits = {"state": "sending", "prepared": True, "total": 3, "why": reason, "next_try_at": MIDNIGHT}
        db.session.execute(update(Mailing).values(waits))
        db.session.commit()
    assert "Waits until Nov 28, 00:00 UTC ." in words(admin.get(f"/mailings/{id}"))
    assert "waits until Nov 28, 00:00 UTC" in words(admin.get("/mailings/"))

"""A domain that asks us to slow down waits; everybody else goes on. Personal mail and mailings, over all processes."""

import socket
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select, update

from mail.decide.retry import DELAYS
from mail.decide.slowdown import ANSWERS, Slowdown
from mail.mailing import mailing
from mail.queue import quota, waits
from mail.queue.slowdown import Slowdowns, slowed_domains
from mail.sentences import say
from mail.settings import parameters
from models import Contact, Recipient, SlowedDomain, Trace, db
from scheduler.sending import ServerWatch
from tests.integration.mass import Clock, Sender, add_contacts, add_server, draft, standing_clock, states
from tests.integration.test_sending import Desk
from tests.servers.misbehaving import misbehaving

NOW = datetime(2026, 11, 27, 13, 45, tzinfo=UTC)
RATE = "450 4.7.1 Too many messages, slow down"
GREYLISTED = "450 4.2.0 Greylisted, try again later"


class Provider:
    """A server that refuses the recipients of one domain in its words, as long as it is told to."""

    def __init__(self, refusal: str, domain: str = "busy.test") -> None:
        self.refusal, self.domain, self.at_mail = refusal, domain, False
        self.refused = 0
        self.tried: Counter[str] = Counter()
        self.accepted: list[str] = []

    def talk(self, connection: socket.socket) -> None:
        connection.sendall(b"220 provider.test ESMTP\r\n")
        lines, recipient = connection.makefile("rb"), ""
        for line in lines:
            reply = b"250 fine\r\n"
            if line[:4].upper() == b"RCPT":
                recipient = line.partition(b"<")[2].partition(b">")[0].decode()
                self.tried[recipient.partition("@")[2]] += 1
                if self.refusal and recipient.endswith(f"@{self.domain}"):
                    reply = self.refusal.encode() + b"\r\n"
                    if reply.startswith(b"421"):
                        connection.sendall(reply)
                        return
            elif line[:4].upper() == b"MAIL" and self.at_mail and self.refusal:
                self.refused += 1
                reply = self.refusal.encode() + b"\r\n"
            elif line[:4].upper() == b"DATA":
                connection.sendall(b"354 go on\r\n")
                while lines.readline() not in (b".\r\n", b""):
                    pass
                self.accepted.append(recipient)
            connection.sendall(reply)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return standing_clock(monkeypatch, NOW)


@pytest.fixture
def desk(app: Flask, clock: Clock) -> Iterator[Desk]:
    with Desk(app) as made:
        yield made


@pytest.fixture
def sender(app: Flask) -> Iterator[Sender]:
    made = Sender(app, Clock(NOW))
    with app.app_context():
        parameters.put("company.address", "1 Rain Forest Road, San Juan", NOW)
        db.session.commit()
    yield made
    made.close()


def post(desk: Desk, *to: str) -> None:
    desk.mail(*to)
    with desk.app.app_context():
        db.session.execute(update(Recipient).where(Recipient.next_try_at > NOW).values(next_try_at=NOW))
        db.session.commit()


def waiting_lines(app: Flask) -> list[Any]:
    with app.app_context():
        line = Recipient
        columns = (line.address, line.wait, line.next_try_at, line.why, line.attempts, line.first_try_at)
        return db.session.execute(select(*columns).where(line.state == "queued").order_by(line.id)).all()


def test_lines_of_a_slowed_domain_wait_with_its_name_and_all_others_go(desk: Desk, clock: Clock) -> None:
    provider = Provider(RATE)
    with misbehaving(provider.talk) as port:
        server = desk.server(port, per_day=100)
        post(desk, *(f"r{n}@{'busy' if n % 2 else 'other'}.test" for n in range(60)))
        desk.send_all()
        assert desk.states() == {"sent": 30, "queued": 30}
        assert provider.tried == {"other.test": 30, "busy.test": 1}
        first, *others = waiting_lines(desk.app)
        assert (first.wait, first.attempts) == ("retry", 1)
        until = NOW + timedelta(minutes=1)
        for line in others:
            assert (line.wait, line.next_try_at, line.attempts) == ("limit", until, 0)
            assert say(line.why).startswith("“main” was told to send fewer emails to busy.test at a time")
        with desk.app.app_context():
            assert dict(quota.usage(server, NOW)) == {quota.Limit(86_400, 100): 30}  # what was put off is given back
            assert waits.bring_forward(NOW) == 0
        assert [line.first_try_at for line in (first, *others)] == [NOW] + [None] * 29, "who was not tried, was not"
        clock.now = until
        desk.send_all()  # one more try, and a longer wait
        assert provider.tried["busy.test"] == 2
        lines = waiting_lines(desk.app)
        [tried] = [line for line in lines if line.wait == "retry"]
        assert {line.next_try_at for line in lines if line.wait == "limit"} == {until + timedelta(minutes=2)}
        assert tried.next_try_at == until + DELAYS[tried.attempts - 1]
        provider.at_mail = True
        clock.now += timedelta(minutes=20)
        desk.send_all()  # before a recipient is named: one more email is tried, and all wait
        assert provider.refused == 2, "once more on a new connection: perhaps the session was only full"
        lines = waiting_lines(desk.app)
        assert {say(line.why) for line in lines if line.wait == "limit"} == {
            "“main” asked for fewer emails at a time. The rest waits a while and is then sent automatically."
        }
        assert {line.next_try_at for line in lines if line.wait == "limit"} == {clock.now + timedelta(minutes=1)}
        provider.refusal = ""
        clock.now += timedelta(minutes=20)
        desk.send_all()
    assert desk.states() == {"sent": 60}


@pytest.mark.parametrize(
    "refusal",
    [
        "421 4.7.28 Our system has detected an unusual rate of email from your address",
        "452 4.7.1 You are sending too fast, slow down",
        "451 4.7.500 Server busy. Please try again later, too many messages",
        "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume",
    ],
)
def test_answers_that_mean_slow_down(desk: Desk, clock: Clock, refusal: str) -> None:
    provider = Provider(refusal)
    with misbehaving(provider.talk) as port:
        server = desk.server(port)
        post(desk, *(f"r{n}@{'busy' if n % 2 else 'other'}.test" for n in range(10)))
        desk.send_all()
    assert desk.connections.slowdowns.of(server, "r1@busy.test", NOW)
    tries = 2 if refusal.startswith("421") else 1  # it ends the session: perhaps that was only full
    assert desk.states() == {"sent": 5, "queued": 5} and provider.tried["busy.test"] == tries


@pytest.mark.parametrize(
    "refusal", ["450 4.2.1 Mailbox busy, try later", "550 5.7.1 Too many messages, slow down", "452 4.2.2 Mailbox full"]
)
def test_what_does_not_mean_the_domain_slows_nobody_down(desk: Desk, clock: Clock, refusal: str) -> None:
    provider = Provider(refusal)
    with misbehaving(provider.talk) as port:
        desk.server(port)
        post(desk, *(f"r{n}@busy.test" for n in range(3)))
        desk.send_all()
    assert provider.tried["busy.test"] >= 3 and not desk.connections.slowdowns.any()


def test_a_mailing_to_a_slowed_domain_goes_on_to_all_others(app: Flask, sender: Sender) -> None:
    provider = Provider(RATE, "example.test")
    with misbehaving(provider.talk) as port:
        with app.app_context():
            add_server(port)
            id = draft(add_contacts(500))
            elsewhere = func.replace(Contact.address, "@example.test", "@other.test")
            tenth = update(Contact).where(Contact.id % 10 == 0)
            db.session.execute(tenth.values(address=elsewhere, address_key=elsewhere))
            db.session.commit()
            mailing.send(id, NOW)
        sender.until_idle()
        with app.app_context():
            assert states(id) == {"sent": 50, "deferred": 450}
            assert provider.tried["example.test"] == 1
            waiting = select(Trace.attempts, Trace.next_try_at, Trace.first_try_at).where(
                Trace.why["code"].as_string() == "domain_slowed"
            )
            assert set(db.session.execute(waiting).all()) == {(0, NOW + timedelta(minutes=1), None)}
            db.session.rollback()
            assert waits.bring_forward(NOW) == 0
            first = NOW - timedelta(hours=40)
            db.session.execute(update(Trace).where(Trace.state == "deferred").values(first_try_at=first))
            db.session.commit()
        sender.clock.move(minutes=1)
        sender.until_idle()
        with app.app_context():
            until = NOW + timedelta(minutes=3)
            again = (0, until, first + timedelta(minutes=2))  # the time of the wait does not count for giving up
            assert set(db.session.execute(waiting).all()) == {again}
        provider.refusal = ""
        sender.clock.move(minutes=5)
        sender.until_idle()
        with app.app_context():
            assert states(id) == {"sent": 500} and provider.tried["example.test"] == 452


def test_a_mailing_to_a_greylisted_domain_is_tried_in_portions(app: Flask, sender: Sender) -> None:
    provider, portion = Provider(GREYLISTED, "example.test"), ANSWERS["greylisted"]
    with misbehaving(provider.talk) as port:
        with app.app_context():
            add_server(port)
            id = draft(add_contacts(3 * portion))
            mailing.send(id, NOW)
        sender.until_idle()
        with app.app_context():
            assert states(id) == {"deferred": 3 * portion} and provider.tried["example.test"] == portion
        sender.clock.move(minutes=4)
        sender.until_idle()
        assert provider.tried["example.test"] == portion
        provider.refusal = ""
        sender.clock.move(minutes=1)
        sender.until_idle()
        with app.app_context():
            assert states(id) == {"sent": 3 * portion}


def test_other_processes_and_the_next_one_know_it_too(desk: Desk, clock: Clock) -> None:
    provider = Provider(RATE)
    with misbehaving(provider.talk) as port:
        server = desk.server(port)
        post(desk, "a@busy.test")
        desk.send_all()
    moment = NOW
    with desk.app.app_context():
        learned = Slowdown(2, moment + timedelta(minutes=2), "domain_slowed")
        desk.connections.slowdowns._fresh = {(server, "busy.test"): learned}
        ServerWatch(desk.connections).work()
        other = Slowdowns()
        assert other.of(server, "b@busy.test", moment) is None
        other.share(moment)
        found = other.of(server, "b@BUSY.test", moment)
        assert found and found.steps == 2 and other.of(server + 1, "b@busy.test", moment) is None
        # the longer wait stays, whoever writes last
        other._fresh = {(server, "busy.test"): Slowdown(1, moment + timedelta(minutes=1), "domain_slowed")}
        other.share(moment)
        assert other.of(server, "b@busy.test", moment) == found
        later = moment + timedelta(minutes=6)
        other.share(later)
        assert not other.any() and slowed_domains() == {}


def test_what_a_deleted_server_was_told_is_forgotten(app: Flask) -> None:
    with app.app_context():
        for server in (7, 8):
            db.session.add(SlowedDomain(server_id=server, domain="x.test", steps=1, until=NOW, code="domain_slowed"))
        db.session.commit()
        quota.forget(7)
        assert list(slowed_domains()) == [(8, "x.test")] and slowed_domains(7) == {}

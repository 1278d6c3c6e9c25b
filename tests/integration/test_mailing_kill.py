"""``kill -9`` of the real worker in the middle of a mailing: nobody is lost, nobody gets it twice."""

from collections import Counter

import pytest
from flask import Flask
from sqlalchemy import select

from mail.mailing import mailing
from mail.settings import config
from mail.settings.clock import now
from models import Trace, db
from scheduler import create_worker_app
from tests.integration.mass import add_contacts, add_server, draft, mailing_of, states
from tests.servers.app import App
from tests.servers.postfix import Postfix
from tests.waiting import wait_until

RECIPIENTS, KILLS, CONNECTIONS = 400, 3, 2  # a small cut; the whole proof is in `make soak`
RESUMED = 15.0  # seconds after which work must go on


@pytest.fixture
def office(running_app: App) -> Flask:
    """The test's own eyes and hands on the database of the running worker."""
    return create_worker_app(config.read(running_app.env))


def killed_again_and_again(running_app: App, office: Flask, postfix: Postfix, recipients: int, kills: int) -> None:
    with office.app_context():
        add_server(postfix.port)
        id = draft(add_contacts(recipients))
    postfix.slow_down(0.02)  # or the kills do not fit
    running_app.start_worker()
    with office.app_context():
        mailing.send(id, now())
    for _ in range(kills):
        seen = len(postfix.mails())
        wait_until(lambda seen=seen: len(postfix.mails()) > seen + 20, RESUMED)
        running_app.kill_worker()
        running_app.start_worker()
    postfix.slow_down(0)

    def finished() -> bool:
        with office.app_context():
            return mailing_of(id).state == "done"

    wait_until(finished, 90)
    wait_until(postfix.idle)
    with office.app_context():
        counted = states(id)
        unknown = set(db.session.scalars(select(Trace.address).where(Trace.state == "unknown")))
    got = Counter(mail.recipient for mail in postfix.mails())
    assert counted["sent"] + counted["unknown"] == recipients, counted
    assert counted["unknown"] <= kills * CONNECTIONS, counted
    assert max(got.values()) == 1, [address for address, times in got.items() if times > 1]
    missing = {f"r{i}@example.test" for i in range(recipients)} - set(got)
    assert missing <= unknown, "lost"


def test_a_killed_worker_loses_nothing_and_sends_nothing_twice(running_app, office, postfix):
    killed_again_and_again(running_app, office, postfix, RECIPIENTS, KILLS)


@pytest.mark.slow
def test_a_killed_worker_loses_nothing_the_whole_proof(running_app, office, postfix):
    killed_again_and_again(running_app, office, postfix, 3000, 20)


def test_two_workers_are_killed_and_started_in_turn(running_app, office, postfix):
    """Two processes share a mailing; one dies, the other goes on with what it held."""
    with office.app_context():
        add_server(postfix.port)
        id = draft(add_contacts(RECIPIENTS))
    postfix.slow_down(0.02)
    first, _second = running_app.start_worker(), running_app.start_worker()
    with office.app_context():
        mailing.send(id, now())
    wait_until(lambda: len(postfix.mails()) > 40)
    first.kill()
    postfix.slow_down(0.005)

    def finished() -> bool:
        with office.app_context():
            return mailing_of(id).state == "done"

    wait_until(finished, 90)
    wait_until(postfix.idle)
    with office.app_context():
        counted = states(id)
    got = Counter(mail.recipient for mail in postfix.mails())
    assert counted["unknown"] <= CONNECTIONS, counted
    assert counted["sent"] + counted["unknown"] == RECIPIENTS
    assert max(got.values()) == 1
    assert len(got) >= counted["sent"]

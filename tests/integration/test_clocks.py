"""Clocks that were wrong: nothing waits longer than its own interval, and hours that nobody tried do not count."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import select, update

from mail.outgoing import enqueue
from mail.outgoing.enqueue import OutgoingDraft, To
from mail.queue import outages, waits
from mail.sentences import why
from models import Outage, Recipient, ScheduledAction, Trace, Worker, db
from models.outgoing import claim
from scheduler.actions import Actions
from scheduler.identity import WorkerIdentity
from tests.integration.mass import add_contacts, add_server, draft

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
UNSIGNED = why("dkim_key_unreadable", selector="s", domain="office.test")


@pytest.fixture(autouse=True)
def context(app: Flask):
    with app.app_context():
        yield


@pytest.fixture
def line() -> int:
    add_server(2525)
    db.session.commit()
    mail = OutgoingDraft(kind="test", author="Clerk <clerk@home.test>", subject="Hello", html="<p>Hello</p>")
    enqueue.enqueue(mail, [To("ann@x.test")], NOW)
    return db.session.scalar(select(Recipient.id)) or 0


@pytest.mark.parametrize(
    ("values", "ahead", "due"),
    [
        ({"wait": ""}, timedelta(0), timedelta(0)),
        ({"wait": ""}, MINUTE, MINUTE),  # clocks of two machines differ a little
        ({"wait": ""}, 10 * MINUTE, timedelta(0)),
        ({"wait": ""}, DAY, timedelta(0)),
        ({"wait": "retry", "attempts": 1}, MINUTE, MINUTE),
        ({"wait": "retry", "attempts": 1}, 11 * MINUTE, MINUTE),
        ({"wait": "retry", "attempts": 1}, DAY, MINUTE),
        ({"wait": "retry", "attempts": 2}, 5 * MINUTE, 5 * MINUTE),
        ({"wait": "retry", "attempts": 2}, 15 * MINUTE, 5 * MINUTE),
        ({"wait": "retry", "attempts": 4}, 30 * MINUTE, 30 * MINUTE),
        ({"wait": "retry", "attempts": 4}, DAY, 30 * MINUTE),
        ({"wait": "retry", "attempts": 40}, HOUR, HOUR),
        ({"wait": "retry", "attempts": 40}, DAY + HOUR, HOUR),
        ({"wait": "retry", "attempts": 0}, DAY, MINUTE),
        ({"wait": "retry", "attempts": 1, "doubts": 1}, HOUR, HOUR),  # it waits for a sign of its server
        ({"wait": "retry", "attempts": 1, "doubts": 1}, DAY, HOUR),
        ({"wait": "retry", "attempts": 0, "why": UNSIGNED}, 10 * MINUTE, 10 * MINUTE),
        ({"wait": "retry", "attempts": 0, "why": UNSIGNED}, DAY, timedelta(0)),
        ({"wait": "retry", "attempts": 1}, -DAY, -DAY),  # overdue
        ({"wait": "schedule"}, 30 * DAY, 30 * DAY),  # as a person wanted it
        ({"wait": "limit"}, DAY, DAY),
        ({"state": "sending", "wait": ""}, DAY, DAY),
    ],
)
def test_a_line_waits_no_longer_than_its_interval(line, values, ahead, due):
    db.session.execute(update(Recipient).values({**values, "next_try_at": NOW + ahead}))
    db.session.commit()
    waits.bring_forward(NOW)
    assert db.session.scalar(select(Recipient.next_try_at)) - NOW == due


@pytest.mark.parametrize(("first", "counts"), [(None, NOW), (NOW - DAY, NOW - DAY), (NOW + 365 * DAY, NOW)])
def test_a_first_try_by_a_clock_that_was_ahead_was_now(line, first, counts):
    """Else it would be tried for as long as the clock was ahead, and nobody would hear of it."""
    db.session.execute(update(Recipient).values(first_try_at=first))
    db.session.commit()
    identity = WorkerIdentity()
    identity.begin()
    [claimed] = claim(identity.current().id, db.session.scalar(select(Recipient.server_id)), NOW, 1)
    assert claimed.id == line and claimed.first_try_at == counts


@pytest.mark.parametrize(
    ("attempts", "ahead", "due"),
    [(1, MINUTE, MINUTE), (1, DAY, MINUTE), (3, DAY, 15 * MINUTE), (9, HOUR, HOUR), (9, DAY, HOUR), (9, -DAY, -DAY)],
)
def test_a_deferred_recipient_waits_no_longer_than_its_interval(attempts, ahead, due):
    draft(add_contacts(1))
    db.session.add(Trace(mailing_id=1, contact_id=1, address="a@x.test", state="deferred", attempts=attempts,
                         next_try_at=NOW + ahead))  # fmt: skip
    db.session.commit()
    waits.bring_forward(NOW)
    assert db.session.scalar(select(Trace.next_try_at)) - NOW == due


@pytest.mark.parametrize(
    ("interval", "unit", "ahead", "latest"),
    [
        (5, "minutes", 3 * MINUTE, 3 * MINUTE),
        (5, "minutes", 15 * MINUTE, 5 * MINUTE),  # a second machine's clock is ten minutes ahead
        (5, "minutes", DAY, 5 * MINUTE),
        (1, "hours", DAY, HOUR),
        (1, "days", 20 * HOUR, 20 * HOUR),
        (1, "days", 2 * DAY, DAY),
        (1, "weeks", 6 * DAY, 6 * DAY),
        (1, "weeks", 30 * DAY, 7 * DAY),
        (1, "months", 28 * DAY, 28 * DAY),
        (1, "months", 60 * DAY, None),
    ],
)
def test_a_run_is_never_further_ahead_than_its_interval(app, interval, unit, ahead, latest):
    began = datetime.now(UTC)
    db.session.execute(
        update(ScheduledAction).where(ScheduledAction.code == "queue")
        .values(interval=interval, unit=unit, next_run_at=began + ahead)
    )  # fmt: skip
    db.session.commit()
    identity = WorkerIdentity()
    identity.begin()
    Actions(app, identity, None, threading.Event()).work()
    db.session.expire_all()
    due = db.session.scalar(select(ScheduledAction.next_run_at).where(ScheduledAction.code == "queue")) - began
    if latest is None:
        assert 27 * DAY < due < 32 * DAY
    else:
        assert latest <= due <= latest + MINUTE


def at_work(*moments: datetime) -> None:
    """Workers whose last heartbeat was then."""
    rows = [
        Worker(host="here", boot="", pid=1, started_at=moment, at_work_at=moment, seen_at=0.0, ended=True)
        for moment in moments
    ]
    db.session.add_all(rows)
    db.session.commit()


@pytest.mark.parametrize(
    ("last", "noted"),
    [
        ([], False),  # the first start
        ([NOW - MINUTE], False),
        ([NOW - 9 * MINUTE], False),
        ([NOW - 11 * MINUTE], True),
        ([NOW - 3 * DAY], True),
        ([NOW - 3 * DAY, NOW - MINUTE], False),  # another worker was there
        ([NOW - 3 * DAY, NOW - DAY], True),
        ([NOW + DAY], False),  # its clock was ahead
        ([NOW + DAY, NOW - DAY], True),
    ],
)
def test_a_time_in_which_no_worker_was_there_is_noted(last, noted):
    at_work(*last)
    outages.note(NOW)
    outages.note(NOW)
    past = [moment for moment in last if moment <= NOW]
    expected = [(max(past), NOW)] if noted else []
    assert list(outages.known())[:1] == expected[:1]
    assert bool(db.session.scalars(select(Outage.id)).all()) is noted


def test_an_outage_that_a_wrong_clock_made_is_forgotten():
    at_work(NOW - MINUTE)
    outages.note(NOW + DAY)
    assert len(outages.known()) == 1
    outages.note(NOW)
    assert outages.known() == ()

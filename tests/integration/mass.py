"""What tests of mailings build: contacts on lists, servers, and one sending thread in the test's own process."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from mail.mailing import chunks, mailing
from mail.queue.connections import Connections
from mail.queue.journal import Journal
from mail.queue.lease import WorkerLease
from mail.settings import clock, office
from mail.settings.config import settings
from models import Contact, Mailing, MailingList, OutgoingServer, Subscription, Trace, db

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
HTML = """<html><body><h1>Hello {{ contact.first_name or "there" }}</h1>
<p>News for {{ contact.email }}. <a href="{{ unsubscribe_url }}">No more</a></p></body></html>"""


def prepare(mailing_id: int, now: datetime) -> None:
    """Make all traces and chunks of a mailing, as the worker does slice by slice."""
    more = mailing.begin(mailing_id, now)
    while more:
        people = mailing.next_people(mailing_id, mailing._preparing.rows)
        with mailing._preparing.slice():
            more = mailing.prepare_slice(mailing_id, now, people)


@dataclass
class Clock:
    """Business time that stands still until a test moves it."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def move(self, **span: float) -> None:
        self.now += timedelta(**span)


def standing_clock(monkeypatch: pytest.MonkeyPatch, moment: datetime) -> Clock:
    """Return the business clock of all that runs in this process, which stands still at a moment."""
    made = Clock(moment)
    monkeypatch.setattr(clock, "datetime", SimpleNamespace(now=lambda zone: made().astimezone(zone)))
    return made


@dataclass
class Sender:
    """One worker with one sending thread: ours."""

    app: Flask
    clock: Clock = field(default_factory=Clock)
    name: str = "mass-1"

    def __post_init__(self) -> None:
        with self.app.app_context():
            self.worker = WorkerLease.register(self.clock())
            self.journal = Journal.open(settings().journal_folder, self.worker.id, self.name)
        self.connections = Connections()

    def step(self) -> bool:
        """Send one chunk, if there is one."""
        with self.app.app_context():
            self.worker.heartbeat()
            return chunks.send_some(self.worker, self.connections, self.journal, self.clock)

    def tend(self) -> None:
        """Do what mailings need besides sending."""
        with self.app.app_context():
            while mailing.tend(self.clock()):
                pass

    def until_idle(self) -> None:
        """Send and tend until nothing is left to do at this time."""
        self.tend()
        while self.step():
            self.tend()
        self.tend()

    def close(self) -> None:
        self.connections.close()
        self.journal.close()


def add_server(port: int, name: str = "relay", **values: Any) -> int:
    """Add an outgoing server on this machine and return its id; the caller commits."""
    server = OutgoingServer(name=name, host="127.0.0.1", port=port, encryption="none", authentication="none", **values)
    db.session.add(server)
    db.session.flush()
    office.forget()
    return server.id


def add_contacts(count: int, list_name: str = "Everybody", name: Callable[[int], str] | None = None) -> int:
    """Add contacts ``r0@example.test`` ... that are subscribed to a list and return the list's id; commits."""
    one = MailingList(name=list_name)
    db.session.add(one)
    db.session.flush()
    names = name or (lambda number: f"Reader{number} Lee")
    rows = [
        {"name": names(i), "address": f"r{i}@example.test", "address_key": f"r{i}@example.test"} for i in range(count)
    ]
    if rows:
        ids = db.session.scalars(db.insert(Contact).returning(Contact.id), rows).all()
        db.session.execute(
            db.insert(Subscription),
            [{"list_id": one.id, "contact_id": id, "state": "subscribed", "at": NOW} for id in ids],
        )
    db.session.commit()
    return one.id


def draft(*list_ids: int, **values: Any) -> int:
    """Add a mailing for these lists and return its id; commits."""
    given: dict[str, Any] = {
        "subject": 'News for {{ contact.first_name or "you" }}',
        "html": HTML,
        "from_address": '"Ann" <ann@mycompany.test>',
        "created_at": NOW,
    }
    row = Mailing(**(given | values))
    row.lists = list(db.session.scalars(select(MailingList).where(MailingList.id.in_(list_ids))))
    db.session.add(row)
    db.session.commit()
    return row.id


def states(mailing_id: int) -> Counter[str]:
    """Count the traces of a mailing by state, and check that its totals say the same."""
    db.session.rollback()
    counted = Counter(db.session.scalars(select(Trace.state).where(Trace.mailing_id == mailing_id)))
    row = db.session.get(Mailing, mailing_id, populate_existing=True)
    assert row is not None
    told = Counter(
        {name: getattr(row, name) for name in ("sent", "failed", "deferred", "unknown", "bounced", "cancelled")}
    )
    assert row.total == counted.total()
    assert +told == Counter({state: n for state, n in counted.items() if state != "queued"})
    assert row.queued == counted["queued"]
    return counted


def mailing_of(mailing_id: int) -> Mailing:
    """Return the row as it is in the database now."""
    db.session.rollback()
    row = db.session.get(Mailing, mailing_id, populate_existing=True)
    assert row is not None
    return row

"""After a power cut the journal of the dead worker may lack its last records: what it does not name is in doubt."""

from datetime import UTC, datetime

import pytest
from flask import Flask
from sqlalchemy import select, update

from mail.mailing import chunks, mailing
from mail.outgoing import enqueue
from mail.outgoing.enqueue import OutgoingDraft, To
from mail.queue import lease
from mail.queue.journal import Journal
from mail.queue.lease import WorkerLease
from mail.settings.config import settings
from models import Recipient, Trace, Worker, db
from models.outgoing import claim
from scheduler.recovery import recover
from tests.integration.mass import add_contacts, add_server, draft, prepare, states

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
KERNEL, CONTAINER = lease.boot().split(":")


@pytest.mark.parametrize(
    ("boot", "lost"),
    [
        (lease.boot(), False),
        (f"{KERNEL}:1", False),  # another container of the same run of the machine
        (f"{KERNEL}:", False),
        (f"0000-another-run:{CONTAINER}", True),
        ("0000-another-run:1", True),
        ("0000-another-run", True),
        ("", False),  # a system that does not say
    ],
)
def test_which_workers_lost_power(boot, lost):
    assert lease.lost_power(boot) is lost


def dead_worker(boot: str) -> WorkerLease:
    """A worker that is gone, registered in this run of the machine or in another one."""
    dead = WorkerLease.register(NOW)
    lease.leave_mark(dead.id)
    db.session.execute(update(Worker).where(Worker.id == dead.id).values(boot=boot))
    db.session.commit()
    return dead


@pytest.mark.parametrize(
    ("boot", "expected"),
    [
        (lease.boot(), {"sent": "sent", "begun": "queued", "silent": "queued"}),
        ("an-earlier-run:1", {"sent": "sent", "begun": "queued", "silent": "unknown"}),
    ],
    ids=["killed", "power cut"],
)
def test_lines_without_a_word_in_the_journal(app: Flask, boot: str, expected: dict[str, str]) -> None:
    with app.app_context():
        server = add_server(2525)
        db.session.commit()
        mail = OutgoingDraft(kind="test", author="Clerk <clerk@home.test>", subject="Hello", html="<p>Hello</p>")
        enqueue.enqueue(mail, [To(f"{name}@x.test") for name in expected], NOW)
        dead = dead_worker(boot)
        held = {line.address.partition("@")[0]: line.id for line in claim(dead.id, server, NOW, 10)}
        assert held.keys() == expected.keys()
        with Journal.open(settings().journal_folder, dead.id, "send-1") as journal:
            journal.begin(f"l{held['sent']}")
            journal.ok(f"l{held['sent']}")
            journal.begin(f"l{held['begun']}")
        recover(dead.id, NOW)
        rows = {line.address.partition("@")[0]: line for line in db.session.scalars(select(Recipient))}
        assert {name: line.state for name, line in rows.items()} == expected
        if expected["silent"] == "unknown":
            assert rows["silent"].why["code"] == "unknown_power_cut"
        assert db.session.get(Worker, dead.id).ended


@pytest.mark.parametrize(
    ("boot", "expected"),
    [
        (lease.boot(), {"sent": 1, "unknown": 1, "queued": 3}),
        ("an-earlier-run:1", {"sent": 1, "unknown": 4}),
    ],
    ids=["killed", "power cut"],
)
def test_chunks_without_a_word_in_the_journal(app: Flask, boot: str, expected: dict[str, int]) -> None:
    with app.app_context():
        add_server(2525)
        number = draft(add_contacts(5))
        mailing.send(number, NOW)
        prepare(number, NOW)
        dead = dead_worker(boot)
        assert chunks.take_chunk(dead, NOW)
        first, second, *_ = db.session.scalars(select(Trace.id).order_by(Trace.id)).all()
        with Journal.open(settings().journal_folder, dead.id, "mass-1") as journal:
            journal.begin(f"t{first}")
            journal.ok(f"t{first}")
            journal.begin(f"t{second}")
        recover(dead.id, NOW)
        assert states(number) == expected

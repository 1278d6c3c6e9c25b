"""Mailings to very many: each gets it once, and a million recipients are queued without the worker growing."""

import re
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import exists, select, text

from mail.mailing import mailing
from models import Chunk, Mailing, MailingList, Trace, db, reading
from tests.conftest import started
from tests.integration.mass import add_contacts, draft, states
from tests.office import Office
from tests.proofs.scene import ON_POSTGRESQL_IN_THE_SOAK, Say
from tests.servers.app import App
from tests.servers.process import Program
from tests.servers.sink import SmtpSink
from tests.waiting import wait_until

MANY, MILLION = 10_000, 1_000_000
MEMORY = 200  # megabytes that the worker may have taken in all


@pytest.fixture
def office(running_app: App) -> Iterator[Office]:
    """An office without a receiver yet."""
    made = Office(running_app)
    yield made
    made.close()


@pytest.fixture
def keeping_sink() -> Iterator[SmtpSink]:
    """A server that accepts every mail and keeps it."""
    sink = started(lambda: SmtpSink(keep=True))
    yield sink
    sink.close()


@ON_POSTGRESQL_IN_THE_SOAK
def test_everybody_gets_it_once(office: Office, keeping_sink: SmtpSink, say: Say) -> None:
    office.outgoing_server(keeping_sink.port)
    worker = office.worker()
    with office.context():
        mailing_id = draft(add_contacts(MANY))
        began = time.monotonic()
        mailing.send(mailing_id, datetime.now(UTC))
    wait_until(lambda: told(office, mailing_id).state == "done", 120)
    seconds = time.monotonic() - began
    with office.context():
        assert states(mailing_id) == {"sent": MANY}
    got: Counter[bytes] = Counter()
    for mail in keeping_sink.mails():
        got.update(re.findall(rb"^X-Rcpt-Args: <(.*?)>", mail, re.M))
    assert len(got) == got.total() == MANY
    say(f"{MANY} recipients, each once: {MANY / seconds:.0f} mails/s, {memory(worker)} MB")


@pytest.mark.slow
def test_a_million_recipients_are_queued(office: Office, smtp_sink: SmtpSink, say: Say) -> None:
    office.outgoing_server(smtp_sink.port)
    worker = office.worker()
    before = memory(worker)
    with office.context():
        mailing_id = draft(million_contacts())
        began = time.monotonic()
        mailing.send(mailing_id, datetime.now(UTC))
    wait_until(lambda: told(office, mailing_id).sent, every=0.02)
    first = time.monotonic() - began
    wait_until(lambda: told(office, mailing_id).prepared, 600)
    seconds, used = time.monotonic() - began, memory(worker)
    with office.context():
        mailing.pause(mailing_id, datetime.now(UTC))
    wait_until(lambda: not taken(office, mailing_id))
    with office.context():
        counted = states(mailing_id)
        assert counted.total() == MILLION
        assert counted["cancelled"] == MILLION // 50
        assert outside(mailing_id) == [], "each recipient is in one chunk"
    assert used < MEMORY
    say(
        f"{MILLION} recipients queued after {seconds:.1f} s while {counted['sent']} were sent; the first was sent, and "
        f"written down with its chunk, after {first:.1f} s; the worker had {before} MB, then {used} MB at most"
    )


def outside(mailing_id: int) -> list[int]:
    """Return the first traces that no chunk will send; chunks that share a trace are an AssertionError."""
    ranges = db.session.execute(
        select(Chunk.first_id, Chunk.last_id).where(Chunk.mailing_id == mailing_id).order_by(Chunk.first_id)
    ).all()
    firsts, lasts = [first for first, _ in ranges], [last for _, last in ranges]
    assert all(last < first for last, first in zip(lasts, firsts[1:], strict=False)), "no recipient is in two chunks"
    to_send = select(Trace.id).where(Trace.mailing_id == mailing_id, Trace.state != "cancelled")
    ids = db.session.scalars(to_send)
    return [id for id in ids if not (place := bisect_right(firsts, id)) or id > lasts[place - 1]][:10]


def told(office: Office, mailing_id: int) -> Any:
    """What the mailing's row says; without the write lock, because who waits for it slows a large mailing down."""
    with office.context(), reading():
        asked = select(Mailing.state, Mailing.sent, Mailing.prepared).where(Mailing.id == mailing_id)
        return db.session.execute(asked).one()


def taken(office: Office, mailing_id: int) -> bool:
    """Whether a chunk is under way."""
    with office.context():
        found = select(exists().where(Chunk.mailing_id == mailing_id, Chunk.state == "taken"))
        return bool(db.session.scalar(found))


def memory(program: Program) -> int:
    """The most memory that a process had, in megabytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{program.pid}/status").read_text())
    assert found is not None
    return int(found[1]) // 1024


def million_contacts() -> int:
    """Add a million contacts to a list and return its id; of a hundred, one is unsubscribed and one blacklisted."""
    everybody = MailingList(name="A million")
    db.session.add(everybody)
    db.session.flush()
    numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MILLION})"
    for statement in (
        f"""INSERT INTO contact (name, company, language, address, address_key, active, created_at)
            {numbers} SELECT 'Reader ' || i, '', '', 'm' || i || '@example.test', 'm' || i || '@example.test', TRUE,
            CURRENT_TIMESTAMP FROM n""",
        f"""INSERT INTO subscription (list_id, contact_id, state, at)
            SELECT {everybody.id}, id, CASE WHEN id % 100 = 1 THEN 'unsubscribed' ELSE 'subscribed' END,
            CURRENT_TIMESTAMP FROM contact WHERE address LIKE 'm%@example.test'""",
        """INSERT INTO blacklisted_address (address_key, reason, at)
            SELECT address_key, 'manual', CURRENT_TIMESTAMP FROM contact
            WHERE address LIKE 'm%@example.test' AND id % 100 = 2""",
    ):
        db.session.execute(text(statement))
    db.session.commit()
    return everybody.id

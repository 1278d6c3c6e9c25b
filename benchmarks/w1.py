"""W1: a mailing to 10,000 recipients, from "Send" to the last record, against Postfix's own ``smtp-source``.

HTML of 10.5 KB with three merge fields in the body and one in the subject, twelve links, one-click headers, a text part
from the HTML, 17 KB on the wire, the state kept per recipient, durable. One process, one kept connection, into
``smtp-sink`` on the loopback address. R1 is ``smtp-source -d -s 1`` with a mail of the same size into the same sink, in
the same round; the order alternates. SQL counts statements, without the words that begin and end transactions.
Run: python -m benchmarks.w1 [recipients] [rounds]
"""

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.common import NOISE_HEAD, child, durable_postgres, folder, machine, median, memory, noise, peak_memory
from benchmarks.merge import page

RECIPIENTS, ROUNDS = 10_000, 3
OCTETS = 17_215  # of one mail as it is sent; the table shows those of ours
GOAL = 0.5


def main() -> None:
    recipients = int(sys.argv[1]) if len(sys.argv) > 1 else RECIPIENTS
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS
    print(f"W1, {recipients} recipients, {machine()}")
    print(
        f"{'database':12}{'mails/s':>9}{'R1/s':>9}{'ratio':>7}{'CPU µs':>8}{'SQL':>8}{'MB':>7}{'octets':>8}{NOISE_HEAD}"
    )
    with durable_postgres() as postgres:
        for kind in ("sqlite", "postgresql"):
            ratios = []
            for number in range(rounds):
                with folder() as data:
                    url = f"sqlite:///{data / 'office.db'}" if kind == "sqlite" else postgres.create_database()
                    ratios += one_round(kind, url, data, recipients, ours_first=number % 2 == 0)
            verdict = "reached" if median(ratios) >= GOAL else "not reached"
            print(f"{kind:12}median ratio {median(ratios):.2f} of {len(ratios)} rounds; goal {GOAL}: {verdict}")


def one_round(kind: str, url: str, data: Path, recipients: int, ours_first: bool) -> list[float]:
    """Print one pair of runs and return its ratio; nothing when others used the machine meanwhile."""
    from tests.servers.sink import SmtpSink, smtp_source

    sink = SmtpSink()
    try:
        env = {"COQUI_DATA": str(data / "data"), "DATABASE_URL": url, "COQUI_URL": "https://mail.office.test"}
        child("benchmarks.w1", "prepare", str(recipients), str(sink.port), env=env)
        with noise() as others:
            if not ours_first:
                r1 = recipients / smtp_source(sink.port, recipients, octets=OCTETS)
            ours = child("benchmarks.w1", "send", env=env)
            if ours_first:
                r1 = recipients / smtp_source(sink.port, recipients, octets=OCTETS)
    finally:
        sink.close()
    rate = recipients / ours["seconds"]
    print(
        f"{kind:12}{rate:9.0f}{r1:9.0f}{rate / r1:7.2f}{ours['cpu'] / recipients * 1e6:8.0f}"
        f"{ours['statements'] / recipients:8.4f}{ours['peak']:7.0f}{ours['octets']:8}{others}",
        flush=True,
    )
    return [] if others.too_much else [rate / r1]


# --- what runs in a process of its own


def prepare(recipients: int, port: int) -> None:
    """Make an office with contacts on a list and a draft."""
    from models import OutgoingServer, db
    from scheduler import create_worker_app

    with create_worker_app().app_context():
        db.create_all()
        server = OutgoingServer(name="sink", host="127.0.0.1", port=port, encryption="none", authentication="none")
        db.session.add(server)
        draft(recipients, datetime.now(UTC))
        db.session.commit()
    print(json.dumps({"made": recipients}))


def draft(recipients: int, moment: datetime) -> None:
    """Make the contacts, their list and the draft of the mailing; the caller commits."""
    from mail.settings import parameters
    from models import Contact, Mailing, MailingList, Subscription, db

    parameters.put("mail.catchall.domain", "office.test", moment)
    parameters.put("web.base.url", "https://mail.office.test", moment)
    parameters.put("company.address", "1 Rain Forest Road, San Juan", moment)
    everybody = MailingList(name="Everybody")
    db.session.add(everybody)
    db.session.flush()
    names = ("Ann Lee", "Jürgen Groß", "Robert Miller", "Mary O'Brien")
    for start in range(0, recipients, 10_000):
        rows = [
            {
                "name": names[i % 4],
                "company": ("Acme Ltd", "", "Müller & Söhne")[i % 3],
                "address": f"person{i}@example.com",
                "address_key": f"person{i}@example.com",
            }
            for i in range(start, min(start + 10_000, recipients))
        ]
        ids = db.session.scalars(db.insert(Contact).returning(Contact.id), rows).all()
        subscribed = [{"list_id": everybody.id, "contact_id": id, "state": "subscribed", "at": moment} for id in ids]
        db.session.execute(db.insert(Subscription), subscribed)
    mailing = Mailing(
        subject='Spring offers for {{ contact.first_name or "you" }}',
        html=page("https://office.test/offers/%d?from=mail"),
        from_address='"Office" <news@office.test>',
        created_at=moment,
    )
    mailing.lists = [everybody]
    db.session.add(mailing)


def send() -> None:
    """Press Send, be the worker until the mailing is done, and print what it took."""
    from sqlalchemy import event, select

    from mail.mailing import chunks, mailing
    from mail.mailing.rendered import MailingRecipient, rendered_mailing
    from mail.mailing.template import derive_text
    from mail.queue.connections import Connections
    from mail.queue.journal import Journal
    from mail.queue.lease import WorkerLease
    from mail.settings.clock import now
    from mail.settings.config import settings
    from mail.settings.process import start_is_over
    from models import Mailing, db
    from scheduler import create_worker_app

    app = create_worker_app()
    derive_text(["<p>A worker that has sent a mailing before has this library in memory.</p>"])
    statements = 0

    def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        nonlocal statements
        statements += not statement.startswith(("BEGIN", "PRAGMA", "SET TRANSACTION"))

    with app.app_context():
        worker = WorkerLease.register(now())
        journal = Journal.open(settings().journal_folder, worker.id, "mass-1")
        mailing_id = db.session.scalars(select(Mailing.id)).one()
        event.listen(db.engine, "before_cursor_execute", count)
    start_is_over()
    before, started, cpu = memory(), time.perf_counter(), time.process_time()
    with app.app_context():
        mailing.send(mailing_id, now())
    beat = started
    with Connections() as connections:
        while True:
            with app.app_context():
                if time.perf_counter() - beat > 1:
                    beat = time.perf_counter()
                    worker.heartbeat()
                    mailing.tend(now())
                if chunks.send_some(worker, connections, journal):
                    continue
                mailing.tend(now())
                row = db.session.execute(select(Mailing.state, Mailing.sent, Mailing.total)).one()
                if row.state != "sending" and row.state != "scheduled":
                    break
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        peak, counted = peak_memory(), statements
    if row.state != "done" or row.sent != row.total:
        raise SystemExit(f"the mailing ended as {row.state}, {row.sent} of {row.total} sent")
    with app.app_context():
        key = db.session.scalars(select(Mailing.content_key)).one()
        reader = MailingRecipient(1, "person1@example.com", "Ann Lee", "Acme Ltd")
        octets = len(rendered_mailing(mailing_id, key).mail_to(reader, now()))
    journal.remove()
    result = {"seconds": seconds, "cpu": cpu, "statements": counted, "peak": peak, "before": before, "octets": octets}
    print(json.dumps(result))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["prepare", recipients, port]:
            prepare(int(recipients), int(port))
        case ["send"]:
            send()
        case _:
            main()

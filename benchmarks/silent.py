"""Servers that fall silent: how long a fresh mail to a good server waits beside them, and what is left of a mailing.

A real worker, SQLite and then PostgreSQL. Beside the good server (Postfix's smtp-sink) stand 1, 2, 4 and 8 that fall
silent at one moment of the dialogue: at the greeting, after EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA, or the final dot,
or that drip. Each has personal mail and a mailing waiting. The pace of a mailing is compared with the same one alone.
Run: python -m benchmarks.silent [fresh mails] [kind ...]
"""

import contextlib
import json
import sys
import time
from datetime import UTC, datetime
from typing import Any

from benchmarks.common import NOISE_HEAD, child, durable_postgres, folder, machine, noise

FRESH, RECIPIENTS, HELD = 10, 80_000, 20
NUMBERS = (0, 1, 2, 4, 8)
GOAL_DELAY, GOAL_PACE = 2.0, 0.8  # seconds (p95), share of the pace alone
PATIENCE = 60.0


def main() -> None:
    from tests.servers.misbehaving import SILENT_AT

    fresh = int(sys.argv[1]) if len(sys.argv) > 1 else FRESH
    kinds = sys.argv[2:] or SILENT_AT
    print(f"Silent servers, {fresh} fresh mails and a mailing to {RECIPIENTS} each, {machine()}")
    print(
        f"{'database':12}{'silent at':11}{'servers':>8}{'p95 s':>8}{'worst':>7}{'mails/s':>9}{'share':>7}{NOISE_HEAD}"
    )
    verdicts: list[bool] = []
    with durable_postgres() as postgres:
        for database in ("sqlite", "postgresql"):
            for kind in kinds:
                with folder() as data:
                    url = f"sqlite:///{data / 'office.db'}" if database == "sqlite" else postgres.create_database()
                    verdicts += one_kind(database, url, kind, fresh)
    goals = f"fresh mail {GOAL_DELAY:.0f} s (p95), mailing {GOAL_PACE:.0%} of its pace alone"
    print(f"goals: {goals}: reached {sum(verdicts)} of {len(verdicts)} times on a quiet machine")


def one_kind(database: str, url: str, kind: str, fresh: int) -> list[bool]:
    """Print a line for each number of silent servers and return for each quiet run whether it reached the goals."""
    from tests.servers.app import App
    from tests.servers.misbehaving import misbehaving, silent_at
    from tests.servers.sink import SmtpSink

    app, sink, alone = App(url), SmtpSink(), 0.0
    verdicts = []
    with contextlib.ExitStack() as stack:
        stack.callback(sink.close)
        stack.callback(app.close)
        ports = [stack.enter_context(misbehaving(silent_at(kind))) for _ in range(max(NUMBERS))]
        app.flask("upgrade")
        child("benchmarks.silent", "prepare", str(sink.port), env=app.env)
        app.start_worker()
        for number in NUMBERS:
            with noise() as others:
                words = [kind, str(fresh), *map(str, ports[:number])]
                found = child("benchmarks.silent", "measure", *words, env=app.env)
            alone = alone or found["pace"]
            delays, share = sorted(found["delays"]), found["pace"] / alone
            p95 = delays[min(int(len(delays) * 0.95), len(delays) - 1)]
            reached = p95 <= GOAL_DELAY and share >= GOAL_PACE
            verdicts += [] if others.too_much else [reached]
            print(
                f"{database:12}{kind:11}{number:8}{p95:8.2f}{delays[-1]:7.2f}{found['pace']:9.0f}{share:7.2f}{others}"
                f"{'' if reached else '  missed'}",
                flush=True,
            )
    return verdicts


# --- what runs in a process of its own


def prepare(port: int) -> None:
    """Make an office with a good server and contacts on a list."""
    from mail.settings import parameters
    from models import Contact, MailingList, Subscription, db
    from scheduler import create_worker_app

    moment = datetime.now(UTC)
    with create_worker_app().app_context():
        parameters.put("mail.catchall.domain", "office.test", moment)
        parameters.put("web.base.url", "https://mail.office.test", moment)
        db.session.add(_server("good", port))
        everybody = MailingList(name="Everybody")
        db.session.add(everybody)
        db.session.flush()
        rows = [
            {"name": f"Person {i}", "address": f"p{i}@x.test", "address_key": f"p{i}@x.test"} for i in range(RECIPIENTS)
        ]
        ids = db.session.scalars(db.insert(Contact).returning(Contact.id), rows).all()
        db.session.execute(
            db.insert(Subscription),
            [{"list_id": everybody.id, "contact_id": id, "state": "subscribed", "at": moment} for id in ids],
        )
        db.session.commit()
    print(json.dumps({}))


def _server(name: str, port: int, kind: str = "") -> Any:
    from models import OutgoingServer

    return OutgoingServer(
        name=name,
        host="127.0.0.1",
        port=port,
        encryption="starttls" if kind == "starttls" else "none",
        authentication="password" if kind == "auth" else "none",
        user="clerk",
        password="secret",
        from_filter=f"{name}.test",
    )


def measure(kind: str, fresh: int, ports: list[int]) -> None:
    """Give the silent servers something to do; then send fresh mails and a mailing through the good one."""
    from sqlalchemy import func, select

    from mail.settings.wake import wake
    from models import OutgoingServer, Recipient, db
    from scheduler import create_worker_app

    with create_worker_app().app_context():
        known = set(db.session.scalars(select(OutgoingServer.name)))
        db.session.rollback()
        for number, port in enumerate(ports):
            name = f"silent{number}"
            if name not in known:
                db.session.add(_server(name, port, kind))
                db.session.commit()
                _mail(name, [f"held{line}@{name}.test" for line in range(HELD)])
                _mailing(name)
        wake()
        held = select(func.count(func.distinct(Recipient.server_id))).where(Recipient.state == "sending")
        _until(lambda: (db.session.scalar(held) or 0) >= len(ports) or None, 20)
        delays = [_delay(number) for number in range(fresh)]
        pace = _pace(_mailing("good"))
    print(json.dumps({"delays": delays, "pace": pace}))


def _until(condition: Any, patience: float) -> Any:
    from models import reading

    end = time.monotonic() + patience
    while True:
        with reading():
            found = condition()
        if found is not None or time.monotonic() > end:
            return found
        time.sleep(0.02)


def _mail(server: str, people: list[str]) -> int:
    from mail.outgoing import enqueue
    from mail.outgoing.enqueue import OutgoingDraft, To
    from mail.settings import office
    from models import db

    office.forget()
    draft = OutgoingDraft(kind="test", author=f"a@{server}.test", subject="Hello", html="<p>Hello</p>")
    mail = enqueue.enqueue(draft, [To(address) for address in people], datetime.now(UTC))
    number = mail.id
    db.session.commit()
    return number


def _delay(number: int) -> float:
    """Send a fresh mail and return the seconds until it was accepted."""
    from sqlalchemy import select

    from mail.settings.wake import wake
    from models import Recipient, db

    began = datetime.now(UTC)
    mail_id = _mail("good", [f"fresh{number}@x.test"])
    wake()
    sent = _until(lambda: db.session.scalar(select(Recipient.sent_at).where(Recipient.mail_id == mail_id)), PATIENCE)
    return (sent - began).total_seconds() if sent else PATIENCE


def _mailing(server: str) -> int:
    from sqlalchemy import select

    from mail.mailing import mailing
    from mail.settings import office
    from models import Mailing, MailingList, OutgoingServer, db

    office.forget()
    row = Mailing(
        subject="News",
        html="<p>Hello {{ contact.first_name }}</p><p>{{ unsubscribe_url }}</p>",
        from_address=f"News <news@{server}.test>",
        forced_server_id=db.session.scalar(select(OutgoingServer.id).where(OutgoingServer.name == server)),
        created_at=datetime.now(UTC),
    )
    row.lists = list(db.session.scalars(select(MailingList)))
    db.session.add(row)
    db.session.commit()
    mailing.send(row.id, datetime.now(UTC))
    return row.id


def _pace(mailing_id: int) -> float:
    """Wait for a mailing and return its mails a second, from the first to the last one that was accepted."""
    from sqlalchemy import func, select

    from models import Mailing, Trace, db

    state = select(Mailing.state).where(Mailing.id == mailing_id)
    _until(lambda: True if db.session.scalar(state) in ("done", "paused") else None, PATIENCE)
    sent = select(func.count(), func.min(Trace.sent_at), func.max(Trace.sent_at))
    count, first, last = db.session.execute(sent.where(Trace.mailing_id == mailing_id, Trace.state == "sent")).one()
    return count / max((last - first).total_seconds(), 0.1) if count else 0.0


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["prepare", port]:
            prepare(int(port))
        case ["measure", kind, fresh, *ports]:
            measure(kind, int(fresh), [int(port) for port in ports])
        case _:
            main()

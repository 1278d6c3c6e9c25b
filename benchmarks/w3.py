"""W3: 1,000 mails in a mailbox, from the start of the fetch to the last one filed, against ``getmail6``.

Multipart mails of about 5 KB (text, HTML and a small file) in Dovecot on the loopback address; half of them open
documents, half answer in threads, where each is relayed to the one user who follows. Ours is one worker with one
connection: kept, acknowledged, parsed, cleaned, routed, posted, relays queued, durable. The peer, in the same round, in
alternating order:
``getmail`` from a mailbox with the same mails to a maildir, which files nothing. Runs in which it does not end are no
runs. Odoo 17 does 10.6 mails/s there on the reference machine (2 cores).
Run: python -m benchmarks.w3 [mails] [rounds]
"""

import json
import shutil
import subprocess
import sys
import time
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Any

from benchmarks.common import NOISE_HEAD, child, durable_postgres, folder, machine, median, noise, peak_memory

MAILS, ROUNDS = 1000, 3
THREADS = 50
ODOO = 10.6  # mails/s
GOAL_GETMAIL, GOAL_ODOO = 4.0, 25.0
PATIENCE = 300  # seconds for the peer


def main() -> None:
    mails = int(sys.argv[1]) if len(sys.argv) > 1 else MAILS
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS
    print(f"W3, {mails} mails, half new documents, half answers, {machine()}")
    print(
        f"{'database':12}{'mails/s':>9}{'getmail/s':>11}{'ratio':>7}{'x Odoo':>8}{'CPU µs':>8}{'SQL':>7}{'MB':>6}"
        f"{'longest ms':>12}{NOISE_HEAD}"
    )
    from tests.servers.certificates import Authority
    from tests.servers.dovecot import Dovecot

    with folder() as certificates, durable_postgres() as postgres:
        dovecot = Dovecot(Authority(certificates))
        try:
            for kind in ("sqlite", "postgresql"):
                found = []
                for number in range(rounds):
                    with folder() as data:
                        url = f"sqlite:///{data / 'office.db'}" if kind == "sqlite" else postgres.create_database()
                        found += one_round(kind, url, data, dovecot, mails, ours_first=number % 2 == 0)
                rates, ratios = [rate for rate, _ in found], [ratio for _, ratio in found if ratio]
                print(
                    f"{kind:12}median: {median(ratios):.1f} x getmail6 (goal {GOAL_GETMAIL:g}, {len(ratios)} runs), "
                    f"{median(rates) / ODOO:.0f} x Odoo 17 (goal {GOAL_ODOO:g}, {len(rates)} runs)"
                )
        finally:
            dovecot.close()


def one_round(kind: str, url: str, data: Path, dovecot: Any, mails: int, ours_first: bool) -> list[tuple[float, float]]:
    """Print one pair of runs and return our rate and the ratio; nothing when others used the machine meanwhile."""
    env = {"COQUI_DATA": str(data / "data"), "DATABASE_URL": url}
    ids = child("benchmarks.w3", "prepare", str(dovecot.port("imap")), dovecot.password, env=env)["ids"]
    for user in ("w3@office.test", "peer@office.test"):
        dovecot.remove_mailbox(user)
        dovecot.add_mailbox(user)
        for number in range(mails):
            dovecot.append(user, mail(number, ids[number % len(ids)] if number % 2 else ""))
    with noise() as others:
        peer = 0.0 if ours_first else getmail(data, dovecot, mails)
        ours = child("benchmarks.w3", "fetch", str(mails), env=env)
        peer = getmail(data, dovecot, mails) if ours_first else peer
    rate = mails / ours["seconds"]
    print(
        f"{kind:12}{rate:9.0f}{peer:11.0f}{rate / peer if peer else 0:7.1f}{rate / ODOO:8.1f}"
        f"{ours['cpu'] / mails * 1e6:8.0f}{ours['statements'] / mails:7.2f}{ours['peak']:6.0f}"
        f"{ours['longest'] * 1000:12.0f}{others}",
        flush=True,
    )
    return [] if others.too_much else [(rate, rate / peer if peer else 0.0)]


def mail(number: int, answers: str) -> bytes:
    """Return a mail of about 5 KB: text, HTML and a file; with ``answers`` it is an answer."""
    words = "We would like to know what it costs, and when it can be here. "
    html = "".join(
        f'<p style="color:#222">{words}<b>{line}</b> <a href="https://x.test/{line}">more</a></p>' for line in range(8)
    )
    references = f"In-Reply-To: {answers}\r\nReferences: {answers}\r\n" if answers else ""
    return (
        f"Return-Path: <c{number}@customer.test>\r\nDelivered-To: w3@office.test\r\n"
        f"From: Customer {number} <c{number}@customer.test>\r\nTo: sales@office.test\r\n"
        f"Subject: {'Re: ' if answers else ''}Question {number}\r\nMessage-ID: <{number}@customer.test>\r\n{references}"
        "Date: Sun, 22 Nov 2026 09:00:00 +0000\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/mixed; boundary="M"\r\n\r\n'
        '--M\r\nContent-Type: multipart/alternative; boundary="A"\r\n\r\n'
        f"--A\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{(words + chr(13) + chr(10)) * 8}\r\n"
        f"--A\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html><body>{html}</body></html>\r\n--A--\r\n"
        '--M\r\nContent-Type: application/pdf; name="a.pdf"\r\nContent-Transfer-Encoding: base64\r\n'
        f'Content-Disposition: attachment; filename="a.pdf"\r\n\r\n'
        f"{b64encode(f'file {number} '.encode() * 110).decode()}\r\n--M--\r\n"
    ).encode()


def getmail(data: Path, dovecot: Any, mails: int) -> float:
    """Return how many mails a second ``getmail`` brings to a maildir; 0 when it is not there or does not end."""
    program = shutil.which("getmail", path=str(Path(sys.executable).parent)) or shutil.which("getmail")
    if program is None:
        return 0.0
    maildir = data / "peer"
    for part in ("new", "cur", "tmp"):
        (maildir / part).mkdir(parents=True)
    (data / "getmailrc").write_text(
        f"[retriever]\ntype = SimpleIMAPRetriever\nserver = 127.0.0.1\nport = {dovecot.port('imap')}\n"
        f"username = peer@office.test\npassword = {dovecot.password}\n"
        f"[destination]\ntype = Maildir\npath = {maildir}/\nuser = nobody\n[options]\nread_all = true\nverbose = 0\n"
    )
    shutil.chown(maildir, "nobody")
    for part in maildir.iterdir():
        shutil.chown(part, "nobody")
    command = [sys.executable, program, f"--getmaildir={data}", "--rcfile=getmailrc"]
    started = time.perf_counter()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        print("getmail did not end; that run does not count", file=sys.stderr)
        return 0.0
    seconds = time.perf_counter() - started
    brought = len(list((maildir / "new").iterdir()))
    if brought != mails:
        print(f"getmail brought {brought} of {mails}: {done.stdout[-300:]} {done.stderr[-300:]}", file=sys.stderr)
        return 0.0
    return mails / seconds


# --- what runs in a process of its own


def prepare(port: int, password: str) -> None:
    """Make an office with an incoming server, a user, and threads in which something was sent; print its ids."""
    from sqlalchemy import select

    from mail.documents import posts
    from mail.documents.documents import start_document
    from mail.maintenance import setup
    from models import Contact, DocumentType, IncomingServer, OutgoingMail, User, db
    from scheduler import create_worker_app

    app = create_worker_app()
    moment = datetime.now(UTC)
    with app.app_context():
        db.create_all()
        setup.first_rows(moment)
        people = []
        for name in ("clerk", "dora"):
            contact = Contact(name=name, address=f"{name}@home.test", address_key=f"{name}@home.test")
            db.session.add(contact)
            db.session.flush()
            people.append(User(contact_id=contact.id, email=contact.address_key, fs_uniquifier=name))
        db.session.add_all(people)
        db.session.add(
            IncomingServer(
                name="w3",
                kind="imap",
                host="127.0.0.1",
                port=port,
                encryption="none",
                user="w3@office.test",
                password=password,
                fetch_existing=True,
                state="confirmed",
                confirmed_at=moment,
            )
        )
        db.session.flush()
        kind = db.session.scalars(select(DocumentType).where(DocumentType.code == "opportunity")).one()
        clerk, dora = people
        for number in range(THREADS):
            document = start_document(kind, f"Thread {number}", moment, author_contact_id=clerk.contact_id)
            posts.follow(document.thread_id, dora.contact_id)
            db.session.commit()
            posts.post_from_browser(clerk, document.thread_id, "<p>Hello</p>", "message", (), moment)
            posts.unfollow(document.thread_id, dora.contact_id)  # one follower gets the answers: the clerk
        db.session.commit()
        print(json.dumps({"ids": list(db.session.scalars(select(OutgoingMail.message_id)))}))


def fetch(mails: int) -> None:
    """Fetch the mailbox as the worker does, and print what it took."""
    from sqlalchemy import event, func, select

    from mail.incoming import flow
    from mail.queue.lease import WorkerLease
    from mail.settings.clock import now
    from mail.settings.process import start_is_over
    from models import Document, IncomingServer, OutgoingMail, Post, ReceivedMail, db
    from scheduler import create_worker_app

    app = create_worker_app()
    statements, began, longest = 0, 0.0, 0.0

    def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        nonlocal statements, began
        if not began and statement.startswith(("BEGIN IMMEDIATE", "INSERT", "UPDATE", "DELETE")):
            began = time.perf_counter()
        statements += not statement.startswith(("BEGIN", "PRAGMA", "SET TRANSACTION", "SELECT pg_notify"))

    def ended(_connection: Any) -> None:
        nonlocal longest, began
        if began:
            longest = max(longest, time.perf_counter() - began)
        began = 0.0

    with app.app_context():
        worker = WorkerLease.register(now())
        server_id = db.session.scalars(select(IncomingServer.id)).one()
        before = db.session.execute(
            select(func.count(Document.id)).select_from(Document).union_all(
                select(func.count(Post.id)), select(func.count(OutgoingMail.id))
            )
        ).scalars().all()  # fmt: skip
        db.session.commit()
        event.listen(db.engine, "before_cursor_execute", count)
        event.listen(db.engine, "commit", ended)
        event.listen(db.engine, "rollback", ended)
        start_is_over()
        Thread(target=beat, args=(app, worker), daemon=True).start()
        started, cpu = time.perf_counter(), time.process_time()
        flow.fetch(server_id, worker, now())
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        counted = statements
        done = db.session.scalar(select(func.count(ReceivedMail.id)).where(ReceivedMail.state == "processed"))
        made = [db.session.scalar(select(func.count(table.id))) for table in (Document, Post, OutgoingMail)]
    grown = [after - earlier for after, earlier in zip(made, before, strict=True)]
    if done != mails or grown != [mails // 2, mails, mails // 2]:
        raise SystemExit(f"{done} of {mails} processed; documents, posts, relays: {grown}")
    result = {"seconds": seconds, "cpu": cpu, "statements": counted, "peak": peak_memory(), "longest": longest}
    print(json.dumps(result))


def beat(app: Any, worker: Any) -> None:
    """Keep the worker's lease, as the worker's own thread does."""
    while True:
        with app.app_context():
            worker.heartbeat()
        time.sleep(1)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["prepare", port, password]:
            prepare(int(port), password)
        case ["fetch", mails]:
            fetch(int(mails))
        case _:
            main()

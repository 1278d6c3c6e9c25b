"""W3: 1,000 mails in a mailbox, from the start of the fetch to the last one filed, against getmail6 and fetchmail.

Multipart mails of 5 KB on average (text, HTML and a file), or of as many as are asked for, in Dovecot on the loopback
address; half of them open documents, half answer in threads, where each is relayed to the one user who follows. Ours is
one worker with one connection: kept, acknowledged, parsed, cleaned, routed, posted, relays queued, durable. The peers,
in the same round, in alternating order, from a mailbox with the same mails: ``getmail`` to a maildir, and ``fetchmail``
with an MDA (procmail) to another; they file nothing. Runs in which one does not end are no runs; a mailbox of more than
5,000 mails is ours alone. Odoo 17 does 10.6 mails/s there on the reference machine (2 cores).
Run: python -m benchmarks.w3 [mails] [rounds] [kilobytes]
"""

import json
import shutil
import subprocess
import sys
import time
from base64 import encodebytes
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Any

from benchmarks.common import NOISE_HEAD, ROOT, child, durable_postgres, folder, machine, median, noise, peak_memory

MAILS, ROUNDS = 1000, 3
THREADS = 50
ODOO = 10.6  # mails/s
GOAL_GETMAIL, GOAL_FETCHMAIL, GOAL_ODOO = 4.0, 1.0, 25.0
MAIL_PROGRAMS = ROOT / ".cache/mail-programs"
PATIENCE = 300  # seconds for a peer
MOST_OF_A_PEER = 5000  # mails
KILOBYTES, BARE = 5, 2.1  # of a mail, and of one without its file


def main() -> None:
    words = [int(word) for word in sys.argv[1:]]
    mails, rounds, kilobytes = (*words, *(MAILS, ROUNDS, KILOBYTES)[len(words) :])
    print(f"W3, {mails} mails of {kilobytes} KB, half new documents, half answers, {machine()}")
    print(
        f"{'database':12}{'mails/s':>9}{'getmail/s':>11}{'ratio':>7}{'fetchmail/s':>13}{'ratio':>7}{'x Odoo':>8}"
        f"{'CPU µs':>8}{'SQL':>7}{'MB':>6}{'longest ms':>12}{NOISE_HEAD}"
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
                        found += one_round(kind, url, data, dovecot, mails, kilobytes, ours_first=number % 2 == 0)
                rates, by_getmail, by_fetchmail = ([run[part] for run in found if run[part]] for part in range(3))
                print(
                    f"{kind:12}median: {median(by_getmail):.1f} x getmail6 (goal {GOAL_GETMAIL:g}, {len(by_getmail)} "
                    f"runs), {median(by_fetchmail):.1f} x fetchmail (goal {GOAL_FETCHMAIL:g}, {len(by_fetchmail)} "
                    f"runs), {median(rates) / ODOO:.0f} x Odoo 17 (goal {GOAL_ODOO:g}, {len(rates)} runs)"
                )
        finally:
            dovecot.close()


def one_round(
    kind: str, url: str, data: Path, dovecot: Any, mails: int, kilobytes: int, ours_first: bool
) -> list[tuple[float, float, float]]:
    """Print one round and return our rate and the two ratios; nothing when others used the machine meanwhile."""
    env = {"COQUI_DATA": str(data / "data"), "DATABASE_URL": url}
    ids = child("benchmarks.w3", "prepare", str(dovecot.port("imap")), dovecot.password, env=env)["ids"]
    peers = [getmail, fetchmail] if mails <= MOST_OF_A_PEER else []
    users = ["w3@office.test", *(f"{peer.__name__}@office.test" for peer in peers)]
    for user in users:
        dovecot.remove_mailbox(user)
        dovecot.add_mailbox(user)
        for number in range(mails):
            dovecot.append(user, mail(number, ids[number % len(ids)] if number % 2 else "", kilobytes))
    rates: dict[str, float] = {}
    with noise() as others:
        for peer in [] if ours_first else peers:
            rates[peer.__name__] = peer(data, dovecot, mails)
        ours = child("benchmarks.w3", "fetch", str(mails), env=env)
        for peer in peers if ours_first else []:
            rates[peer.__name__] = peer(data, dovecot, mails)
    rate = mails / ours["seconds"]
    ratios = {name: rate / other if other else 0.0 for name, other in rates.items()}
    print(
        f"{kind:12}{rate:9.0f}{rates.get('getmail', 0):11.0f}{ratios.get('getmail', 0):7.1f}"
        f"{rates.get('fetchmail', 0):13.0f}{ratios.get('fetchmail', 0):7.1f}{rate / ODOO:8.1f}"
        f"{ours['cpu'] / mails * 1e6:8.0f}{ours['statements'] / mails:7.2f}{ours['peak']:6.0f}"
        f"{ours['longest'] * 1000:12.0f}{others}  ledger: {ours['ledger']}",
        flush=True,
    )
    return [] if others.too_much else [(rate, ratios.get("getmail", 0.0), ratios.get("fetchmail", 0.0))]


def mail(number: int, answers: str, kilobytes: int = KILOBYTES) -> bytes:
    """Return a mail: text, HTML and a file; with ``answers`` it is an answer. One of five has the largest file."""
    words = "We would like to know what it costs, and when it can be here. "
    html = "".join(
        f'<p style="color:#222">{words}<b>{line}</b> <a href="https://x.test/{line}">more</a></p>' for line in range(8)
    )
    references = f"In-Reply-To: {answers}\r\nReferences: {answers}\r\n" if answers else ""
    piece, octets = f"file {number} ".encode(), (kilobytes - BARE) * 750  # before base64
    file = piece * int(octets * (3 if number % 5 == 0 else 0.5) / len(piece))
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
        f"{encodebytes(file).decode()}\r\n--M--\r\n"
    ).encode()


def getmail(data: Path, dovecot: Any, mails: int) -> float:
    """Return how many mails a second ``getmail`` brings to a maildir; 0 when it is not there or does not end."""
    program = shutil.which("getmail", path=str(Path(sys.executable).parent)) or shutil.which("getmail")
    if program is None:
        return 0.0
    maildir = new_maildir(data / "getmail")
    (data / "getmailrc").write_text(
        f"[retriever]\ntype = SimpleIMAPRetriever\nserver = 127.0.0.1\nport = {dovecot.port('imap')}\n"
        f"username = getmail@office.test\npassword = {dovecot.password}\n"
        f"[destination]\ntype = Maildir\npath = {maildir}/\nuser = nobody\n[options]\nread_all = true\nverbose = 0\n"
    )
    for part in (maildir, *maildir.iterdir()):
        shutil.chown(part, "nobody")
    return rate_of([sys.executable, program, f"--getmaildir={data}", "--rcfile=getmailrc"], maildir, mails)


def fetchmail(data: Path, dovecot: Any, mails: int) -> float:
    """Return how many mails a second ``fetchmail`` hands to procmail, which files them in a maildir."""
    program, procmail = shutil.which("fetchmail"), MAIL_PROGRAMS / "usr/bin/procmail"
    if program is None or not procmail.exists():
        return 0.0
    maildir = new_maildir(data / "fetchmail")
    (data / "procmailrc").write_text(f"DEFAULT={maildir}/\nLOGFILE=/dev/null\n")
    settings = data / "fetchmailrc"
    settings.write_text(
        f"poll 127.0.0.1 service {dovecot.port('imap')} protocol imap auth password\n"
        f'user "fetchmail@office.test" password "{dovecot.password}" fetchall nokeep sslproto ""\n'
        f'mda "{procmail} -m {data / "procmailrc"}"\n'
    )
    settings.chmod(0o600)
    command = [program, "--nodetach", "--silent", "--fetchmailrc", str(settings), "--pidfile", str(data / "pid")]
    return rate_of(command, maildir, mails)


def new_maildir(maildir: Path) -> Path:
    """Make an empty maildir."""
    for part in ("new", "cur", "tmp"):
        (maildir / part).mkdir(parents=True)
    return maildir


def rate_of(command: list[str], maildir: Path, mails: int) -> float:
    """Return how many mails a second a peer brings; 0 when it does not end, or does not bring all of them."""
    name = maildir.name
    started = time.perf_counter()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        print(f"{name} did not end; that run does not count", file=sys.stderr)
        return 0.0
    seconds = time.perf_counter() - started
    brought = len(list((maildir / "new").iterdir()))
    if brought != mails:
        print(f"{name} brought {brought} of {mails}: {done.stdout[-300:]} {done.stderr[-300:]}", file=sys.stderr)
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
        states = dict(db.session.execute(select(ReceivedMail.state, func.count()).group_by(ReceivedMail.state)).all())
        made = [db.session.scalar(select(func.count(table.id))) for table in (Document, Post, OutgoingMail)]
    grown = [after - earlier for after, earlier in zip(made, before, strict=True)]
    if states != {"processed": mails} or grown != [mails // 2, mails, mails // 2]:
        raise SystemExit(f"of {mails}: {states}; documents, posts, relays: {grown}")
    ledger = f"{mails} received = {grown[0]} documents + {grown[1] - grown[0]} replies"
    result = {"seconds": seconds, "cpu": cpu, "statements": counted, "peak": peak_memory(), "longest": longest}
    result["ledger"] = ledger
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

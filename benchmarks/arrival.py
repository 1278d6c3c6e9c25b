"""Arrival: seconds from the delivery of an email until it shows in an open page; and what waiting for mail costs.

A browser (Chromium) has a document open, whose page asks for news every 0.4 s while it is looked at. Emails are
delivered one by one, at random moments: into a mailbox of Dovecot, whose server tells the worker by IDLE, and to
Postfix, which hands them to the worker's listener by LMTP. A second table has the time until they are filed, by the
database. Then so many more mailboxes wait, and for some minutes nothing arrives: memory and processor time of the
worker, before and with them.
Run: python -m benchmarks.arrival [emails] [mailboxes] [seconds]
"""

import smtplib
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from benchmarks.common import folder, machine, median, memory

EMAILS, MAILBOXES, SECONDS = 20, 20, 180
GOALS = {"IDLE": 3.0, "LMTP": 1.0}  # seconds until it shows, for the worst
APART = 2.0  # seconds at most between two emails
ADDRESS = "sales@office.test"


def main() -> None:
    emails = int(sys.argv[1]) if len(sys.argv) > 1 else EMAILS
    mailboxes = int(sys.argv[2]) if len(sys.argv) > 2 else MAILBOXES
    seconds = int(sys.argv[3]) if len(sys.argv) > 3 else SECONDS
    from tests.browser import office as people
    from tests.office import Office
    from tests.servers.app import App
    from tests.servers.browser import Browser
    from tests.servers.certificates import Authority
    from tests.servers.dovecot import Dovecot
    from tests.servers.postfix import Postfix
    from tests.servers.process import free_port

    print(f"Arrival of {emails} emails each way, {machine()}")
    with folder() as data:
        authority = Authority(data)
        lmtp = free_port()
        app = App(f"sqlite:///{data / 'office.db'}", authority.file, {"COQUI_LISTEN": f"lmtp://127.0.0.1:{lmtp}"})
        dovecot = Dovecot(authority)
        postfix = Postfix(
            authority, "mx.office.test", f"transport_maps = inline:{{ office.test=lmtp:inet:127.0.0.1:{lmtp} }}\n"
        )
        browser = Browser()
        try:
            app.flask("upgrade")
            office = Office(app)
            document = prepare(office)
            people.add_account(app, "ada@office.test", "Ada", "admin")
            box = dovecot.add_mailbox(ADDRESS)
            first = add_mailbox(office, dovecot, box)
            app.start()
            wait_for(lambda: waits(office, [first]))
            page = people.log_in(browser.person(app.url), "ada@office.test")
            page.goto(f"/document/{document}")
            show("IDLE", arrivals(office, page, emails, "IDLE", lambda raw: dovecot.append(box, raw)))
            show("LMTP", arrivals(office, page, emails, "LMTP", lambda raw: hand_over(postfix.port, raw)))
            page.close()
            idle(office, app, dovecot, mailboxes, seconds)
            office.close()
        finally:
            app.close()
            postfix.close()
            dovecot.close()


def prepare(office: Any) -> int:
    """Make a document that all emails are posted on, and let the scheduled fetch be far off; return its number."""
    from sqlalchemy import select, update

    from mail.documents.documents import start_document
    from mail.maintenance import setup
    from models import Alias, Document, DocumentType, ScheduledAction, db

    with office.context():
        setup.first_rows(datetime.now(UTC))
        kind = db.session.scalars(select(DocumentType).where(DocumentType.code == "opportunity")).one()
        document = start_document(kind, "Arrivals", datetime.now(UTC))
        number = db.session.scalars(select(Document.id).where(Document.thread_id == document.thread_id)).one()
        alias = update(Alias).where(Alias.local_part == "sales")
        db.session.execute(alias.values(fixed_document_id=number, make_contact=False))
        later = datetime.now(UTC) + timedelta(days=1)
        fetch = update(ScheduledAction).where(ScheduledAction.code == "fetch")
        db.session.execute(fetch.values(interval=1, unit="days", next_run_at=later))
        db.session.commit()
    return number


def add_mailbox(office: Any, dovecot: Any, user: str) -> int:
    """Let the office read a mailbox by TLS, and return the number of its server."""
    found: int = office.incoming_server(
        dovecot.port("imap", "tls"), name=user, user=user, password=dovecot.password, encryption="tls", verify_tls=False
    )
    return found


def waits(office: Any, numbers: list[int]) -> bool:
    """Say whether the mail of all these servers is waited for."""
    from sqlalchemy import func, select

    from models import IncomingServer, db

    with office.looking():
        waiting = select(func.count()).where(IncomingServer.id.in_(numbers), IncomingServer.idle_since.is_not(None))
        return db.session.scalar(waiting) == len(numbers)


def wait_for(condition: Callable[[], bool]) -> None:
    """Return when something is so; end the program when it is not within a minute."""
    end = time.monotonic() + 60
    while not condition():
        if time.monotonic() > end:
            raise SystemExit("the worker does not wait for mail")
        time.sleep(0.1)


def arrivals(
    office: Any, page: Any, emails: int, way: str, deliver: Callable[[bytes], None]
) -> list[tuple[float, float]]:
    """Deliver emails one by one; return the seconds until each was filed and until it showed."""
    chance, found = Random(way), []
    for number in range(emails):
        time.sleep(chance.random() * APART)
        sender = f"c{number}.{way}@customer.test".lower()
        raw = f"From: {sender}\r\nTo: {ADDRESS}\r\nSubject: Arrival\r\nMessage-ID: <{sender}>\r\n\r\nHello\r\n"
        began, stamp = time.perf_counter(), datetime.now(UTC)
        deliver(raw.encode())
        page.locator(".post", has_text=sender).wait_for(timeout=30_000)
        seen = time.perf_counter() - began
        found.append((filed(office, f"<{sender}>", stamp), seen))
    return found


def filed(office: Any, message_id: str, began: datetime) -> float:
    """Return how many seconds after its delivery an email was posted, as its post says."""
    from sqlalchemy import select

    from models import ReceivedMail, db

    with office.looking():
        at = db.session.scalars(select(ReceivedMail.processed_at).where(ReceivedMail.message_id == message_id)).one()
    return (at - began).total_seconds() if at else 0.0


def hand_over(port: int, raw: bytes) -> None:
    """Give an email to Postfix."""
    with closing(smtplib.SMTP("127.0.0.1", port)) as client:
        client.sendmail("ann@customer.test", [ADDRESS], raw)


def show(way: str, found: list[tuple[float, float]]) -> None:
    """Print one line of the table."""
    posted, seen = [pair[0] for pair in found], [pair[1] for pair in found]
    print(
        f"{way:6} in the page: median {median(seen):.2f} s, worst {max(seen):.2f} s (goal {GOALS[way]:g} s)"
        f"   fetched or taken: median {median(posted):.2f} s, worst {max(posted):.2f} s",
        flush=True,
    )


def idle(office: Any, app: Any, dovecot: Any, mailboxes: int, seconds: int) -> None:
    """Print what the worker needs while nothing arrives, with one mailbox and with many."""
    pid = app.worker.pid
    before = rest(pid, seconds)
    users = [dovecot.add_mailbox(f"box{number}@office.test") for number in range(mailboxes - 1)]
    numbers = [add_mailbox(office, dovecot, user) for user in users]
    wait_for(lambda: waits(office, numbers))
    after = rest(pid, seconds)
    for count, (megabytes, share) in ((1, before), (mailboxes, after)):
        print(
            f"{count:3} mailboxes waiting: {megabytes:.1f} MB, {share:.2%} of a processor, {share * 3600:.0f} s an hour"
        )
    print(f"each further one: {(after[0] - before[0]) / max(mailboxes - 1, 1) * 1024:.0f} kB")


def rest(pid: int, seconds: int) -> tuple[float, float]:
    """Return the memory of a process in MB, and its share of a processor over some time."""
    began, used = time.monotonic(), processor_time(pid)
    time.sleep(seconds)
    return memory(pid), (processor_time(pid) - used) / (time.monotonic() - began)


def processor_time(pid: int) -> float:
    """Return the seconds of processor time that a process has used."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


if __name__ == "__main__":
    main()

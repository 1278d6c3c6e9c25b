"""The scene of the proofs: an office with real servers, work for its workers, and what may be said of it afterwards."""

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from random import Random
from typing import Protocol

import pytest
from sqlalchemy import func, select

from mail.mailing import mailing
from mail.outgoing import enqueue
from mail.outgoing.enqueue import OutgoingDraft, To
from mail.queue.journal import read_folder
from mail.settings.config import settings
from mail.settings.wake import wake
from models import (
    DeliveryAttempt,
    Document,
    Mailing,
    OutgoingMail,
    Post,
    ReceivedMail,
    Recipient,
    Trace,
    db,
)
from tests.integration.mass import add_contacts, draft, states
from tests.office import Office
from tests.servers.app import App
from tests.servers.dovecot import StoredMail
from tests.servers.postfix import Postfix
from tests.servers.process import Program
from tests.waiting import wait_until

Say = Callable[[str], None]  # takes the line that says what was proved
ON_POSTGRESQL_IN_THE_SOAK = pytest.mark.parametrize(
    "database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)
RESUMED = 15.0  # seconds after a kill in which work has to go on
DOMAIN = "office.test"  # as the first start sets it


@dataclass(frozen=True)
class Killed:
    """A worker that was killed: when, its rows, how many mails its journal left in doubt, on how many connections."""

    at: float
    rows: frozenset[int]
    in_doubt: int
    connections: int


@dataclass
class Chance:
    """Random moments that are the same in every run."""

    seed: int
    random: Random = field(init=False)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)

    def moment(self, within: float) -> None:
        """Let a random part of so many seconds pass: a kill must not wait for anything."""
        threading.Event().wait(self.random.random() * within)


class Scene(Office):
    """An office whose mails all go to one real receiving server."""

    def __init__(self, running: App, receiver: Postfix) -> None:
        super().__init__(running)
        self.receiver = receiver
        self._serial = 0
        self.server_id = self.outgoing_server(receiver.port)

    # --- workers

    def rows_of(self, program: Program) -> frozenset[int]:
        """The worker rows of a process."""
        return frozenset(worker.id for worker in self.workers() if worker.pid == program.pid)

    def kill(self, program: Program) -> Killed:
        """``kill -9``, and a look at what the journals of the dead say, before anybody recovers it."""
        rows = self.rows_of(program)
        program.kill()
        at = time.monotonic()
        with self.context():
            folder = settings().journal_folder
        said = [state for row in rows for state in read_folder(folder, row).values()]
        connections = sum(len(list(folder.glob(f"{row}.*.journal"))) for row in rows)
        return Killed(at, rows, said.count("begun"), connections)

    def recovered(self, rows: frozenset[int]) -> bool:
        """Whether somebody has recovered what these workers held."""
        return all(worker.ended for worker in self.workers() if worker.id in rows)

    def wait_until_work_goes_on(self, killed: Killed, progress: Callable[[], int], over: Callable[[], bool]) -> float:
        """Return how many seconds after the kill others had recovered it and done something new (or everything)."""
        wait_until(lambda: self.recovered(killed.rows), killed.at + RESUMED - time.monotonic())
        before = progress()
        wait_until(lambda: progress() > before or over(), killed.at + RESUMED - time.monotonic())
        return time.monotonic() - killed.at

    def others_may_write(self) -> bool:
        """Whether nobody sits on the lock of SQLite: a process that stands still with it would stop everybody."""
        url = self.running.env["DATABASE_URL"]
        if not url.startswith("sqlite"):
            return True
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), timeout=0.5, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return False
            connection.execute("ROLLBACK")
        return True

    # --- personal mail

    def queue(self, mails: int) -> None:
        """Put mails into the queue, each with two recipients that nobody else has."""
        with self.context():
            for _ in range(mails):
                self._serial += 1
                to = [To(f"p{self._serial}.{letter}@customer.test") for letter in "ab"]
                said = OutgoingDraft("test", "Clerk <clerk@home.test>", f"Mail {self._serial}", html="<p>Hello</p>")
                enqueue.enqueue(said, to, datetime.now(UTC))
            db.session.commit()
            wake()

    def lines(self) -> Counter[str]:
        """Count the lines by state."""
        with self.context():
            found = select(Recipient.state, func.count()).group_by(Recipient.state)
            return Counter(dict(db.session.execute(found).all()))

    def doubts(self) -> int:
        """How often the answer to a personal mail was never seen."""
        with self.context():
            return db.session.scalar(select(func.sum(Recipient.doubts))) or 0

    def unsent(self) -> int:
        """How many lines are still to be sent."""
        counted = self.lines()
        return counted["queued"] + counted["sending"]

    def check_lines(self) -> int:
        """Every line is there once, at the receiver too, but for those in doubt; returns how many doubts there were."""
        wait_until(self.receiver.idle)
        got = Counter((mail.recipient, str(mail.message["Message-ID"])) for mail in self.receiver.mails())
        with self.context():
            lines = db.session.execute(
                select(Recipient.address, OutgoingMail.message_id, Recipient.state, Recipient.doubts, OutgoingMail.kind)
                .join(OutgoingMail)
            ).all()  # fmt: skip
        for line in lines:
            times = got.pop(line[:2], 0)
            if line.state == "sent":
                assert 1 <= times <= 1 + line.doubts, (line, times)
            else:
                assert line.state == "unknown" and line.doubts >= 2 and times <= line.doubts, (line, times)
        assert sum(line.kind == "test" for line in lines) == 2 * self._serial
        with self.context():
            tries = db.session.scalars(select(DeliveryAttempt.why).where(DeliveryAttempt.why.is_not(None))).all()
        shown = sum(reason["code"] in ("unknown_once", "unknown_final") for reason in tries if reason)
        assert shown == sum(line.doubts for line in lines), "each doubt is a try on the page of its mail"
        assert not [to for to, _ in got if not to.endswith("@example.test")], "nobody got what is not in the queue"
        return sum(line.doubts for line in lines)

    # --- a mailing

    def mailing(self, recipients: int) -> int:
        """Let a mailing to new contacts go out."""
        with self.context():
            mailing_id = draft(add_contacts(recipients))
            mailing.send(mailing_id, datetime.now(UTC))
            return mailing_id

    def mailing_state(self, mailing_id: int) -> str:
        with self.context():
            return db.session.scalar(select(Mailing.state).where(Mailing.id == mailing_id)) or ""

    def reached(self) -> int:
        """How many mails of mailings lie at the receiver."""
        return sum(mail.recipient.endswith("@example.test") for mail in self.receiver.mails())

    def check_mailing(self, mailing_id: int, recipients: int) -> int:
        """Every recipient got it once, but for those in doubt; returns how many those are."""
        wait_until(self.receiver.idle)
        got = Counter(mail.recipient for mail in self.receiver.mails())
        with self.context():
            counted = states(mailing_id)
            assert counted.total() == recipients
            traces = db.session.execute(select(Trace.address, Trace.state).where(Trace.mailing_id == mailing_id)).all()
        for trace in traces:
            assert got[trace.address] == 1 or (trace.state == "unknown" and not got[trace.address]), (trace, got)
        assert set(counted) <= {"sent", "unknown"}
        return counted["unknown"]


class MailServer(Protocol):
    """What holds the mailbox: Dovecot, or a server that a proof makes."""

    password: str

    def port(self, kind: str) -> int: ...
    def append(self, user: str, raw: bytes) -> None: ...
    def mails(self, user: str) -> list[StoredMail]: ...


class Mailbox:
    """A mailbox that the office fetches: letters for new documents, and answers to the first one."""

    def __init__(self, scene: Scene, server: MailServer, kind: str, user: str, after: str = "mark_read") -> None:
        self.scene, self.server, self.kind, self.user, self.after = scene, server, kind, user, after
        self.sent = 0
        self.answers: set[str] = set()
        self.documents: set[str] = set()
        self.server_id = scene.incoming_server(
            server.port(kind), kind=kind, name=kind, user=user, password=server.password, fetch_existing=True,
            after_fetch=after, move_to="Done", confirmed_at=datetime.now(UTC),
        )  # fmt: skip

    def deliver(self, letters: int) -> None:
        """Put letters into the mailbox; of every three one answers the first letter of all."""
        for _ in range(letters):
            self.sent += 1
            answers = self.sent > 1 and self.sent % 3 == 0
            mail = EmailMessage()
            mail["From"] = f"Customer {self.sent} <c{self.sent}@{self.kind}.customer.test>"
            mail["To"] = f"sales@{DOMAIN}"
            mail["Subject"] = f"{self.kind} letter {self.sent}"
            mail["Date"] = "Sun, 22 Nov 2026 09:30:00 +0000"
            mail["Message-ID"] = f"<letter{self.sent}@{self.kind}.customer.test>"
            if answers:
                mail["In-Reply-To"] = mail["References"] = f"<letter1@{self.kind}.customer.test>"
            mail.set_content(f"Letter {self.sent}\n" + "We need more of them.\n" * 40)
            mail.add_alternative(f"<p>Letter {self.sent}</p>" + "<p>We need more of them.</p>\n" * 40, subtype="html")
            (self.answers if answers else self.documents).add(mail["Subject"])
            self.server.append(self.user, mail.as_bytes())

    def ledger(self) -> Counter[str]:
        """Count the received mails of this mailbox by state."""
        with self.scene.context():
            found = select(ReceivedMail.state, func.count()).where(ReceivedMail.incoming_server_id == self.server_id)
            return Counter(dict(db.session.execute(found.group_by(ReceivedMail.state)).all()))

    def progress(self) -> int:
        """Count steps of the way in: one for a letter that was kept, one more when it was understood."""
        counted = self.ledger()
        return 2 * counted.total() - counted["received"]

    def over(self) -> bool:
        """Whether every letter was understood."""
        return self.progress() >= 2 * self.sent

    def check(self) -> None:
        """Every letter is in the ledger once, and once in the chatter; its server was told."""
        assert self.ledger() == {"processed": self.sent}
        with self.scene.context():
            titles = Counter(db.session.scalars(select(Document.title).where(Document.title.like(f"{self.kind} %"))))
            posts = Counter(db.session.scalars(select(Post.subject).where(Post.subject.like(f"{self.kind} %"))))
            relayed = Counter(
                db.session.scalars(
                    select(Post.subject).join(OutgoingMail, OutgoingMail.post_id == Post.id)
                    .where(Post.subject.like(f"{self.kind} %"))
                )
            )  # fmt: skip
        assert titles == Counter(self.documents)
        assert posts == Counter(self.documents | self.answers)
        assert relayed == Counter(self.answers), "the first customer follows, and is told of each answer"
        left = self.server.mails(self.user)
        assert all(mail.seen for mail in left) if self.after == "mark_read" else not left

"""The daily limit of the default server: two workers, a clock that is moved, a raise that ends, a worker that dies."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import func, select, update

from mail.documents.contacts import find_or_make
from mail.documents.documents import start_document
from mail.outgoing import enqueue
from mail.outgoing.enqueue import OutgoingDraft, To
from mail.queue import quota
from mail.queue.journal import read_folder
from mail.settings import parameters
from mail.settings.wake import wake
from models import DocumentType, OutgoingMail, Recipient, User, Worker, db
from tests.office import Office
from tests.proofs.scene import Say
from tests.servers.app import App
from tests.servers.certificates import Authority
from tests.servers.postfix import Postfix
from tests.servers.process import HOST, Program
from tests.waiting import wait_until
from tests.web import Visitor, web_app, words

LIMIT = 200  # of an office that is hosted for others, without any setting
NOON = (datetime.now(UTC) + timedelta(days=1)).replace(hour=12, minute=0, second=0, microsecond=0)
MIDNIGHT = NOON + timedelta(hours=12)

pytestmark = pytest.mark.heavy


class Hosted(Office):
    """An office that is hosted for others, with two workers: on PostgreSQL each has a machine's folder of its own."""

    def __init__(self, running: App, receiver: Postfix) -> None:
        super().__init__(running)
        self.receiver, self._serial = receiver, 0
        self.folders = [running.data, running.data]
        if running.env["DATABASE_URL"].startswith("postgresql"):
            self.folders[1] = running.folder / "data of another machine"

    def worker_of(self, machine: int) -> Program:
        """Start a worker on one of the machines."""
        self.running.env["COQUI_DATA"] = str(self.folders[machine])
        try:
            return self.worker()
        finally:
            self.running.env["COQUI_DATA"] = str(self.folders[0])

    def at(self, moment: datetime) -> None:
        """Move the clock of all processes."""
        self.running.move_clock((moment - datetime.now(UTC)).total_seconds())

    def queue(self, mails: int) -> None:
        """Put mails into the queue, each with two recipients that nobody else has."""
        drafts = []
        for _ in range(mails):
            self._serial += 1
            to = [To(f"p{self._serial}.{letter}@customer.test") for letter in "ab"]
            said = OutgoingDraft("test", "Clerk <clerk@home.test>", f"Mail {self._serial}", html="<p>Hello</p>")
            drafts.append(enqueue.prepare(said, to, datetime.now(UTC)))
        enqueue.enqueue_many(drafts, datetime.now(UTC))
        db.session.commit()
        wake()

    def lines(self) -> Counter[tuple[str, str]]:
        """Count the lines by state and by what they wait for."""
        with self.looking():
            found = select(Recipient.state, Recipient.wait, func.count()).group_by(Recipient.state, Recipient.wait)
            return Counter({(state, wait): count for state, wait, count in db.session.execute(found)})

    def used(self, moment: datetime) -> int:
        """How many emails count on the day of a moment."""
        with self.context():
            return dict(quota.usage(0, moment))[quota.limits_of(0, moment)[0]]

    def kill_while_it_sends(self, worker: Program) -> tuple[int, int]:
        """``kill -9`` a worker of the second machine; return how many lines it had not begun, and how many in doubt."""
        with self.looking():
            rows = list(db.session.scalars(select(Worker.id).where(Worker.pid == worker.pid)))
        held: dict[str, str | None] = {}
        while "begun" not in held.values():
            os.kill(worker.pid, signal.SIGCONT)
            wait_until(lambda: "begun" in self._journal(rows).values(), every=0.01)
            os.kill(worker.pid, signal.SIGSTOP)  # or the other one has recovered it before we look
            with self.looking():
                lines = select(Recipient.id).where(Recipient.state == "sending", Recipient.worker_id.in_(rows))
                said = self._journal(rows)
                held = {f"l{line}": said.get(f"l{line}") for line in db.session.scalars(lines)}
        worker.kill()
        said_of = list(held.values())
        return said_of.count(None), said_of.count("begun")

    def _journal(self, rows: list[int]) -> dict[str, str]:
        return {key: said for row in rows for key, said in read_folder(self.folders[1] / "journal", row).items()}

    def arrived(self) -> Counter[tuple[str, str]]:
        """What the receiver has got: recipient and Message-ID."""
        wait_until(self.receiver.idle)
        return Counter((mail.recipient, str(mail.message["Message-ID"])) for mail in self.receiver.mails())


@pytest.fixture
def hosted(database: str, authority: Authority, postfix: Postfix) -> Iterator[Hosted]:
    """The office; its default server is ``postfix``."""
    server = {"MAIL_SERVER": HOST, "MAIL_PORT": str(postfix.port)}
    running = App(database, authority.file, server | {"COQUI_HOSTING": "online", "COQUI_SECRET_KEY": "frog" * 10})
    made = Hosted(running, postfix)
    yield made
    running.close()


def test_two_workers_never_send_the_201st(hosted: Hosted, database: str, tmp_path: Path, say: Say) -> None:
    hosted.at(NOON)
    pages = web_app(database, tmp_path, MAIL_SERVER=HOST, COQUI_SECRET_KEY="frog" * 10)
    clerk = Visitor(pages).as_role("user")
    with pages.app_context():
        db.session.execute(update(User).values(zone="Europe/Madrid"))
        type_ = db.session.scalars(select(DocumentType).where(DocumentType.code == "ticket")).one()
        customer = find_or_make("cat@customer.test", "Cat", datetime.now(UTC))
        document = start_document(type_, "Help", datetime.now(UTC), contact_id=customer.id).id
        db.session.commit()
    workers = [hosted.worker_of(0), hosted.worker_of(1)]
    with hosted.context():
        hosted.queue(110)
        wait_until(lambda: hosted.lines() == {("sent", ""): LIMIT, ("queued", "limit"): 20})
        clerk.post(f"/document/{document}/posts", {"words": "I call you back.", "kind": "message"})
        wake()
        wait_until(lambda: hosted.lines() == {("sent", ""): LIMIT, ("queued", "limit"): 21})
    assert len(hosted.arrived()) == hosted.arrived().total() == LIMIT
    wait_until(lambda: hosted.used(NOON) == LIMIT)
    for worker in workers:
        assert "outgoing: line" in worker.output(), "both took part"

    # its author sees until when it waits
    remark = f"This email waits until {in_madrid(MIDNIGHT)}"
    page = words(clerk.get(f"/document/{document}"))
    assert remark in page and "has reached its limit of 200 emails per day" in page
    assert remark in words(clerk.get("/inbox"))

    # a raise takes effect in both, and ends with its last day
    with hosted.context():
        for key, value in {".until": f"{NOON:%Y-%m-%d}", ".reason": "Fair", "": "205"}.items():
            parameters.put(f"mail.daily_limit{key}", value, NOON)
        db.session.commit()
        wait_until(lambda: hosted.lines() == {("sent", ""): 205, ("queued", "limit"): 16})
        assert hosted.arrived().total() == 205
        wait_until(lambda: hosted.used(NOON) == 205)
        hosted.at(MIDNIGHT + timedelta(seconds=5))
        wait_until(lambda: hosted.lines() == {("sent", ""): 221})
        assert [limit.most for limit in quota.limits_of(0, MIDNIGHT)] == [LIMIT]
    assert hosted.arrived().total() == 221
    wait_until(lambda: hosted.used(MIDNIGHT) == 16)
    assert "cat@customer.test" in {mail.recipient for mail in hosted.receiver.mails()}
    assert "waits until" not in words(clerk.get(f"/document/{document}"))

    # one that was in doubt counts once; what a killed worker had only reserved stays counted until midnight
    hosted.receiver.slow_down(0, at_the_end=0.4)
    with hosted.context():
        hosted.queue(40)
    back, doubts = hosted.kill_while_it_sends(workers[1])
    hosted.receiver.slow_down(0)
    hosted.worker_of(1)
    wait_until(lambda: hosted.lines() == {("sent", ""): 301})
    # what the last batches had reserved in vain is given back right after their lines are sent
    wait_until(lambda: hosted.used(MIDNIGHT) == 16 + 80 + back)
    with hosted.looking():
        found = select(Recipient.address, OutgoingMail.message_id, Recipient.doubts).join(OutgoingMail)
        lines = db.session.execute(found).all()
    arrived = hosted.arrived()
    assert all(1 <= arrived[line[:2]] <= 1 + line.doubts for line in lines) and len(arrived) == 301
    assert sum(line.doubts for line in lines) == doubts
    say(
        f"two workers sent {LIMIT} of 221 on the first day, 5 more after a raise and 16 on the next day; after a kill "
        f"{doubts} in doubt counted once"
    )


def in_madrid(moment: datetime) -> str:
    """Return a moment as the author's pages show it."""
    return (
        f"{moment:%b} {moment.day}, {moment:%H:%M} UTC ({moment.astimezone(ZoneInfo('Europe/Madrid')):%H:%M} your time)"
    )

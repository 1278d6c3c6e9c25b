"""``kill -9`` of the worker while a real Postfix hands mail to its listener: what it was told 250 is here, once."""

import smtplib
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest
from sqlalchemy import func, select

from models import Document, ReceivedMail, db
from tests.office import Office
from tests.proofs.scene import ON_POSTGRESQL_IN_THE_SOAK, Chance, Say
from tests.servers.app import App
from tests.servers.certificates import Authority
from tests.servers.postfix import Postfix
from tests.servers.process import PartMissing, free_port
from tests.waiting import wait_until

LETTERS = 60  # that come between two kills
AGAIN = "queue_run_delay = 2s\nminimal_backoff_time = 3s\nmaximal_backoff_time = 4s\ntransport_retry_time = 1s\n"


@pytest.fixture(params=[pytest.param("cut"), pytest.param("whole", marks=pytest.mark.slow)])
def push_kills(request: pytest.FixtureRequest) -> int:
    """How often the proof kills: a small cut for every day, fifty times in ``make soak``."""
    return 50 if request.param == "whole" else 3


@pytest.fixture
def pushed(running_app: App) -> Iterator[Office]:
    running_app.env["COQUI_LISTEN"] = f"lmtp://127.0.0.1:{free_port()}"
    office = Office(running_app)
    yield office
    office.close()


@pytest.fixture
def sender(pushed: Office, authority: Authority) -> Iterator[Postfix]:
    """A Postfix whose mail for the office goes to the listener."""
    port = pushed.running.env["COQUI_LISTEN"].rpartition(":")[2]
    lines = f"transport_maps = inline:{{ office.test=lmtp:inet:127.0.0.1:{port} }}\n{AGAIN}"
    try:
        server = Postfix(authority, "mx.office.test", lines)
    except PartMissing as missing:
        pytest.skip(str(missing))
    yield server
    server.close()


class Letters:
    """What was given to Postfix, each letter under a title of its own."""

    def __init__(self, office: Office, sender: Postfix) -> None:
        self.office, self.sender = office, sender
        self.titles: list[str] = []

    def post(self, count: int) -> None:
        """Give letters to Postfix; of every four one has nothing but its bytes to be known by."""
        with closing(smtplib.SMTP("127.0.0.1", self.sender.port)) as client:
            for _ in range(count):
                self.titles.append(f"Letter {len(self.titles) + 1}")
                name = f"Message-ID: <{len(self.titles)}@home.test>\r\n" if len(self.titles) % 4 else ""
                text = f"From: c{len(self.titles)}@home.test\r\nSubject: {self.titles[-1]}\r\n{name}\r\nHello\r\n"
                client.sendmail("ann@home.test", ["sales@office.test"], text)

    def stored(self) -> int:
        with self.office.looking():
            return db.session.scalar(select(func.count()).select_from(ReceivedMail)) or 0

    def opened(self) -> Counter[str]:
        with self.office.looking():
            return Counter(db.session.scalars(select(Document.title)))

    def are_there(self) -> bool:
        return self.sender.idle() and self.opened().total() >= len(self.titles)

    def settle(self) -> bool:
        """Return whether all of them are there, once they are or nothing moves any more."""
        before = -1
        while before < (now := self.opened().total()):
            before = now
            with suppress(AssertionError):
                wait_until(lambda before=before: self.are_there() or self.opened().total() > before, 8)
        return self.are_there()


@pytest.mark.heavy
@ON_POSTGRESQL_IN_THE_SOAK
def test_what_postfix_was_told_250_is_here_once(
    pushed: Office, sender: Postfix, push_kills: int, chance: Chance, say: Say
) -> None:
    letters, worker, rounds, fits = Letters(pushed, sender), pushed.worker(), 0, 0
    while fits < push_kills:
        rounds += 1
        assert rounds <= 3 * push_kills, "the kills do not fit"
        before = letters.stored()
        letters.post(LETTERS)
        goal = before + chance.random.randrange(1, LETTERS)
        wait_until(lambda goal=goal: letters.stored() >= goal, every=0.005)
        worker.kill()
        fits += not sender.idle()
        worker = pushed.worker()
    while not letters.settle():
        assert len(letters.titles) < (rounds + 1) * LETTERS, "nothing moves any more"
        letters.post(1)  # what Postfix had to skip it looks at when something new comes
    assert letters.opened() == Counter(letters.titles)
    told = sender.log().count("status=sent (250 2.0.0 Stored)")
    with pushed.looking():
        states = Counter(db.session.scalars(select(ReceivedMail.state)))
    assert told == len(letters.titles) and states["processed"] == told and set(states) <= {"processed", "duplicate"}
    say(
        f"{fits} kills while Postfix handed over {told} mails by LMTP: each is here once, "
        f"{states['duplicate']} came twice and were known"
    )

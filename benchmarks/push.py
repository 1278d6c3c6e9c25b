"""Mail by LMTP from Postfix: 1,000 mails, from the first one given to Postfix to the last one filed, against Dovecot.

Postfix hands them on over at most 20 connections, once to our listener and once to Dovecot's LMTP, in alternating
order. Ours is a worker as ``make run`` starts it: each mail is kept before it is acknowledged, and is an opportunity in
the end. Dovecot files them in a maildir.
Run: python -m benchmarks.push [mails] [rounds] [database ...]
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.common import NOISE_HEAD, durable_postgres, folder, machine, median, noise, peak_memory

MAILS, ROUNDS = 1000, 3
OCTETS = 5000
PATIENCE = 300.0  # seconds
ADDRESS = "sales@office.test"
LMTP = """
protocols = imap pop3 lmtp
service lmtp {{
  inet_listener lmtp {{
    port = {port}
  }}
}}
protocol lmtp {{
  postmaster_address = postmaster@office.test
}}
"""


def main() -> None:
    mails, rounds = (*(int(word) for word in sys.argv[1:3]), *(MAILS, ROUNDS)[len(sys.argv[1:3]) :])
    kinds = sys.argv[3:] or ("sqlite", "postgresql")
    print(f"By LMTP, {mails} mails of {OCTETS} octets, {machine()}")
    print(f"{'database':12}{'mails/s':>9}{'taken/s':>9}{'Dovecot/s':>11}{'ratio':>7}{'MB':>6}{NOISE_HEAD}")
    with folder() as certificates, durable_postgres() as postgres:
        for kind in kinds:
            ratios = []
            for number in range(rounds):
                with folder() as data:
                    url = f"sqlite:///{data / 'office.db'}" if kind == "sqlite" else postgres.create_database()
                    ratios += one_round(kind, url, certificates, mails, ours_first=number % 2 == 0)
            print(f"{kind:12}median: {median(ratios):.2f} x Dovecot ({len(ratios)} runs)")


def one_round(kind: str, url: str, certificates: Path, mails: int, ours_first: bool) -> list[float]:
    """Print one pair of runs and return the ratio; nothing when others used the machine meanwhile."""
    with noise() as others:
        theirs = 0.0 if ours_first else to_dovecot(certificates, mails)
        ours, taken, memory, ledger = to_us(url, certificates, mails)
        theirs = to_dovecot(certificates, mails) if ours_first else theirs
    print(
        f"{kind:12}{ours:9.0f}{taken:9.0f}{theirs:11.0f}{ours / theirs:7.2f}{memory:6.0f}{others}  ledger: {ledger}",
        flush=True,
    )
    return [] if others.too_much else [ours / theirs]


def to_us(url: str, certificates: Path, mails: int) -> tuple[float, float, float, dict[str, int]]:
    """Return how many mails a second become documents, how many are taken, the memory, and what the ledger holds."""
    from sqlalchemy import func, select

    from mail.settings import parameters
    from mail.settings.clock import now
    from models import Document, ReceivedMail, db
    from tests.office import Office
    from tests.servers.app import App
    from tests.servers.process import free_port
    from tests.waiting import wait_until

    app, port = App(url), free_port()
    app.env["COQUI_LISTEN"] = f"lmtp://127.0.0.1:{port}"
    app.flask("upgrade")
    office = Office(app)
    with office.context():
        parameters.put("mail.gateway.loop.threshold", "0", now())  # all of them are from one sender
        db.session.commit()
    try:
        worker = app.start_worker()

        def filed() -> int:
            with office.looking():
                return db.session.scalar(select(func.count()).select_from(Document)) or 0

        def kept() -> int:
            with office.looking():
                return db.session.scalar(select(func.count()).select_from(ReceivedMail)) or 0

        wait_until(lambda: worker.output() and listens(port), 60)
        with handing_on(certificates, port) as give:
            began = time.perf_counter()
            give(mails)
            wait_until(lambda: kept() >= mails, PATIENCE, every=0.02)
            taken = time.perf_counter() - began
            wait_until(lambda: filed() >= mails, PATIENCE, every=0.02)
            seconds = time.perf_counter() - began
        with office.looking():
            states = db.session.execute(
                select(ReceivedMail.state, func.count().label("mails")).group_by(ReceivedMail.state)
            )
            return mails / seconds, mails / taken, peak_memory(worker.pid), {row.state: row.mails for row in states}
    finally:
        office.close()
        app.close()


def to_dovecot(certificates: Path, mails: int) -> float:
    """Return how many mails a second Dovecot's LMTP files."""
    from tests.servers.certificates import Authority
    from tests.servers.dovecot import Dovecot
    from tests.servers.process import free_port
    from tests.waiting import wait_until

    port = free_port()
    dovecot = Dovecot(Authority(certificates), settings=LMTP.format(port=port))
    try:
        dovecot.add_mailbox(ADDRESS)
        wait_until(lambda: listens(port), 60)
        with handing_on(certificates, port) as give:
            began = time.perf_counter()
            give(mails)
            new = dovecot.maildir(ADDRESS) / "new"
            wait_until(lambda: len(list(new.iterdir())) >= mails, PATIENCE, every=0.02)
            return mails / (time.perf_counter() - began)
    finally:
        dovecot.close()


def listens(port: int) -> bool:
    """Say whether somebody accepts connections there."""
    from tests.servers.process import answers

    return answers(port)


@contextmanager
def handing_on(certificates: Path, port: int) -> Iterator[Callable[[int], float]]:
    """A Postfix that hands all mail for the office on to a port, by LMTP; gives what fills it."""
    from tests.servers.certificates import Authority
    from tests.servers.postfix import Postfix
    from tests.servers.sink import smtp_source

    lines = f"transport_maps = inline:{{ office.test=lmtp:inet:127.0.0.1:{port} }}\n"
    postfix = Postfix(Authority(certificates), "mx.office.test", lines)
    try:
        yield lambda mails: smtp_source(postfix.port, mails, octets=OCTETS, connections=5, to=ADDRESS)
    finally:
        postfix.close()


if __name__ == "__main__":
    main()

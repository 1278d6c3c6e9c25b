"""A worker beside 100,000 lines that wait for a server that is away: its memory, with fresh mail to a good server.

The worker is a process as ``make run`` starts it, on SQLite and then PostgreSQL. The server refuses connections, or it
accepts them and never says a word. Meanwhile an email to a server that works is sent every second.
Run: python -m benchmarks.backlog [lines] [seconds]
"""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from benchmarks.common import NOISE_HEAD, ROOT, child, durable_postgres, folder, machine, memory, noise, peak_memory

LINES, SECONDS = 100_000, 30
OF_A_MAIL = 100
GOAL = 120  # MB


def main() -> None:
    lines = int(sys.argv[1]) if len(sys.argv) > 1 else LINES
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else SECONDS
    print(f"A worker beside {lines} lines that wait, {seconds} s, {machine()}")
    print(f"{'database':12}{'the server':>12}{'at first':>10}{'MB at most':>12}{'MB at last':>12}{NOISE_HEAD}")
    with durable_postgres() as postgres:
        for kind in ("sqlite", "postgresql"):
            for away in ("refuses", "is silent"):
                with folder() as data:
                    url = f"sqlite:///{data / 'office.db'}" if kind == "sqlite" else postgres.create_database()
                    one_office(kind, url, away, lines, seconds)
    print(f"goal: {GOAL} MB at most")


def one_office(kind: str, url: str, away: str, lines: int, seconds: int) -> None:
    """Print the line of one office."""
    from tests.servers.app import App
    from tests.servers.sink import SmtpSink

    app, sink = App(url), SmtpSink()
    try:
        app.flask("upgrade")
        with unusable(away) as port:
            child("benchmarks.backlog", "prepare", str(lines), str(port), str(sink.port), env=app.env)
            with noise() as others, worker(app.env) as pid:
                time.sleep(5)
                first = memory(pid)
                child("benchmarks.backlog", "fresh", str(seconds), env=app.env)
                most, last = peak_memory(pid), memory(pid)
        print(f"{kind:12}{away:>12}{first:10.0f}{most:12.0f}{last:12.0f}{others}", flush=True)
    finally:
        app.close()
        sink.close()


@contextlib.contextmanager
def unusable(away: str) -> Iterator[int]:
    """The port of a server that refuses connections or says nothing."""
    from tests.servers.misbehaving import misbehaving, silent
    from tests.servers.process import free_port

    if away == "refuses":
        yield free_port()
    else:
        with misbehaving(silent) as port:
            yield port


@contextlib.contextmanager
def worker(env: dict[str, str]) -> Iterator[int]:
    """A worker process of its own, with nothing that a test's helper imported; gives its number."""
    process = subprocess.Popen([sys.executable, "-m", "scheduler"], cwd=ROOT, env=env, stderr=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


# --- what runs in a process of its own


def prepare(lines: int, away: int, good: int) -> None:
    """Make the two servers and the lines that wait for the first one."""
    from mail.outgoing import enqueue
    from mail.outgoing.enqueue import OutgoingDraft, To
    from mail.settings import parameters
    from models import OutgoingServer, db
    from scheduler import create_worker_app

    moment = datetime.now(UTC)
    with create_worker_app().app_context():
        parameters.put("mail.catchall.domain", "office.test", moment)
        parameters.put("web.base.url", "https://mail.office.test", moment)
        for name, port in (("away", away), ("good", good)):
            db.session.add(
                OutgoingServer(
                    name=name, host="127.0.0.1", port=port, encryption="none", authentication="none",
                    from_filter=f"{name}.test",
                )
            )  # fmt: skip
        db.session.commit()
        draft = OutgoingDraft(kind="test", author="a@away.test", subject="Hello", html="<p>Hello</p>")
        for first in range(0, lines, OF_A_MAIL):
            people = [To(f"p{number}@away.test") for number in range(first, first + OF_A_MAIL)]
            mail = enqueue.prepare(draft, people, moment)
            enqueue.enqueue_many([mail], moment)
        db.session.commit()
    print(json.dumps({}))


def fresh(seconds: int) -> None:
    """Send an email through the good server every second."""
    from mail.outgoing import enqueue
    from mail.outgoing.enqueue import OutgoingDraft, To
    from mail.settings.wake import wake
    from scheduler import create_worker_app

    draft = OutgoingDraft(kind="test", author="a@good.test", subject="Hello", html="<p>Hello</p>")
    with create_worker_app().app_context():
        for number in range(seconds):
            enqueue.enqueue(draft, [To(f"fresh{number}@good.test")], datetime.now(UTC))
            wake()
            time.sleep(1)
    print(json.dumps({}))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["prepare", lines, away, good]:
            prepare(int(lines), int(away), int(good))
        case ["fresh", seconds]:
            fresh(int(seconds))
        case _:
            main()

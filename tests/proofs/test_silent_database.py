"""A database that falls silent for a while: the worker waits, recovers automatically, and everything is done once."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.proofs.scene import Mailbox, Say, Scene
from tests.servers.dovecot import Dovecot
from tests.servers.gate import Gate, gate
from tests.servers.postgres import Postgres
from tests.waiting import wait_until

pytestmark = pytest.mark.parametrize("database", ["postgresql"], indirect=True)

RECIPIENTS = 200
MOST_CPU = 0.2  # of a core, while there is nothing to do but wait
LONG = 70.0  # seconds


@pytest.fixture
def way(scene: Scene, postgres: Postgres) -> Iterator[Gate]:
    """The way from the processes of the office to their database; the test itself has one of its own."""
    with gate(postgres.port) as made:
        url = make_url(scene.running.env["DATABASE_URL"]).set(port=made.port)
        scene.running.env["DATABASE_URL"] = url.render_as_string(hide_password=False)
        yield made


@pytest.mark.parametrize("silence", [pytest.param(0.0, id="short"), pytest.param(LONG, marks=pytest.mark.slow)])
@pytest.mark.parametrize("end", ["open", "forget"])
def test_work_goes_on_after_a_silence(
    scene: Scene, way: Gate, dovecot: Dovecot, mailbox: str, end: str, silence: float, say: Say
) -> None:
    """It ends as a proxy that stood still does, or as a firewall that knows the old connections no more."""
    worker = scene.worker()
    box = Mailbox(scene, dovecot, "imap", mailbox)
    scene.set_action("fetch", interval=1, unit="seconds", next_run_at=datetime.now(UTC))
    box.deliver(1)  # what the others answer
    wait_until(box.over)
    scene.receiver.slow_down(0.05)
    scene.queue(10)
    mailing_id = scene.mailing(RECIPIENTS)
    box.deliver(40)
    wait_until(lambda: scene.lines()["sent"] > 2 and scene.reached() > 4, every=0.01)
    way.fall_silent()
    began, used = time.monotonic(), cpu_of(worker.pid)
    box.deliver(20)
    wait_until(lambda: "The database is unavailable" in worker.output())
    wait_until(lambda: time.monotonic() - began > silence, silence + 5)
    seconds, used = time.monotonic() - began, cpu_of(worker.pid) - used
    getattr(way, end)()
    back = time.monotonic()
    scene.receiver.slow_down(0)
    scene.queue(5)
    wait_until(lambda: scene.mailing_state(mailing_id) == "done")
    wait_until(box.over)
    wait_until(lambda: not scene.unsent())
    doubts = scene.check_lines(), scene.check_mailing(mailing_id, RECIPIENTS)
    box.check()
    assert used < MOST_CPU * seconds + 1
    assert [(row.pid, row.ended, row.fenced) for row in scene.workers()] == [(worker.pid, False, False)]
    assert "ended unexpectedly" not in worker.output()
    again = time.monotonic() - back
    say(f"silent for {seconds:.0f} s, {used:.1f} s of CPU: everything done {again:.0f} s later, in doubt {doubts}")


def cpu_of(pid: int) -> float:
    """Return the seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

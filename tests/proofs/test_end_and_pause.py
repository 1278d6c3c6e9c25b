"""A worker that is asked to end, and one that stands still and comes back: nothing in doubt, nothing twice."""

import os
import signal
import threading
import time

from mail.settings.config import settings
from tests.proofs.scene import ON_POSTGRESQL_IN_THE_SOAK, Say, Scene
from tests.servers.process import Program
from tests.waiting import wait_until

STANDS_STILL = 12.0  # seconds, more than the ten after which a worker counts as dead


@ON_POSTGRESQL_IN_THE_SOAK
def test_sigterm_while_it_sends_leaves_nothing_in_doubt(scene: Scene, say: Say) -> None:
    recipients = 60
    scene.receiver.slow_down(0.3, at_the_end=0.3)  # there is time to ask
    worker = scene.worker()
    scene.queue(30)
    mailing_id = scene.mailing(recipients)
    wait_until(lambda: scene.lines()["sent"] > 4 and scene.reached() > 4, every=0.01)
    asked = time.monotonic()
    status = worker.terminate(10)
    seconds = time.monotonic() - asked
    assert status == 0, "something was still under way"
    assert scene.unsent() and scene.mailing_state(mailing_id) == "sending", "it was asked too late"
    assert scene.lines()["sending"] == 0, "what was not sent is back in the queue"
    with scene.context():
        assert not list(settings().journal_folder.iterdir()), "recovered, so nothing of it is left"
    scene.receiver.slow_down(0)
    scene.worker()
    wait_until(lambda: not scene.unsent() and scene.mailing_state(mailing_id) == "done")
    assert scene.check_lines() == 0
    assert scene.check_mailing(mailing_id, recipients) == 0
    say(f"SIGTERM while it sends: ended after {seconds:.1f} s, nothing in doubt")


@ON_POSTGRESQL_IN_THE_SOAK
def test_a_worker_that_stood_still_sends_nothing_twice(scene: Scene, say: Say) -> None:
    recipients = 60
    scene.receiver.slow_down(0.3)  # it stands still between RCPT and DATA, where no journal knows of the mail
    sleeper = scene.worker()
    scene.queue(20)
    mailing_id = scene.mailing(recipients)
    wait_until(lambda: scene.lines()["sent"] > 1 and scene.reached() > 1, every=0.01)
    rows = scene.rows_of(sleeper)
    began = stand_still(scene, sleeper)
    scene.receiver.slow_down(0)
    scene.worker()
    wait_until(lambda: scene.recovered(rows))
    wait_until(lambda: not scene.unsent() and scene.mailing_state(mailing_id) == "done")
    wait_until(lambda: time.monotonic() - began > STANDS_STILL)
    os.kill(sleeper.pid, signal.SIGCONT)
    wait_until(lambda: scene.rows_of(sleeper) - rows)  # it knows that it was given up, and begins anew
    scene.queue(20)
    wait_until(lambda: not scene.unsent())
    doubts, unknown = scene.check_lines(), scene.check_mailing(mailing_id, recipients)
    assert "Traceback" not in sleeper.output()
    say(f"a worker stood still for {STANDS_STILL:g} s while it sent: nothing twice, {doubts} + {unknown} in doubt")


def stand_still(scene: Scene, program: Program) -> float:
    """Stop a process where it does not hold SQLite's lock, because then nobody could take over; return when."""
    while True:
        os.kill(program.pid, signal.SIGSTOP)
        if scene.others_may_write():
            return time.monotonic()
        os.kill(program.pid, signal.SIGCONT)
        threading.Event().wait(0.01)

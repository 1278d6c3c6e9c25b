"""Two workers at once on one database: each mail once, in and out, and each slot of a scheduled action once."""

import re
from datetime import UTC, datetime

from tests.proofs.scene import Mailbox, Say, Scene
from tests.servers.dovecot import Dovecot
from tests.waiting import wait_until

RECIPIENTS, LETTERS, MAILS = 400, 60, 60


def test_two_workers_share_the_work(scene: Scene, dovecot: Dovecot, mailbox: str, say: Say) -> None:
    box = Mailbox(scene, dovecot, "imap", mailbox)
    box.deliver(1)
    first = datetime.now(UTC)
    for code in ("fetch", "queue"):
        scene.set_action(code, interval=1, unit="seconds", next_run_at=first)
    scene.running.env["COQUI_MASS_CONNECTIONS"] = "1"  # so that none takes both chunks
    workers = [scene.worker(), scene.worker()]
    wait_until(box.over)
    scene.receiver.slow_down(0.02)  # so that both get something to do
    for part in range(6):
        box.deliver(LETTERS // 6)
        scene.queue(MAILS // 6)
        if part == 0:
            mailing_id = scene.mailing(RECIPIENTS)
    wait_until(lambda: box.over() and not scene.unsent() and scene.mailing_state(mailing_id) == "done")
    assert scene.check_lines() == 0
    assert scene.check_mailing(mailing_id, RECIPIENTS) == 0
    box.check()
    for worker in workers:
        worker.terminate()  # nothing begins between the two looks that are compared
        assert "outgoing: line" in worker.output() and "chunk" in worker.output(), "both took part"
        assert "Traceback" not in worker.output()
    runs = [run for code in ("fetch", "queue") for run in scene.runs(code)]
    slots = {(run.action_id, run.slot) for run in runs}
    began = sum(len(re.findall(r"action (?:fetch|queue) began", worker.output())) for worker in workers)
    assert len(slots) == len(runs) == began
    say(f"two workers: {2 * MAILS} lines, {RECIPIENTS} recipients, {box.sent} letters, {len(runs)} runs, each once")

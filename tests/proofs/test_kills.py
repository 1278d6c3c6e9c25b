"""``kill -9`` of the worker at random moments: while it fetches, sends personal mail, sends a mailing."""

from collections.abc import Callable
from datetime import UTC, datetime

from tests.proofs.scene import Chance, Mailbox, Say, Scene
from tests.servers.dovecot import Dovecot
from tests.servers.process import Program
from tests.waiting import wait_until

SENDING, MASS = 4, 2  # connections of a worker at most


class Deaths:
    """Workers that die one after the other: every other time the next one lives already and takes over."""

    def __init__(self, scene: Scene, chance: Chance) -> None:
        self.scene, self.chance = scene, chance
        self.resumed: list[float] = []
        self.in_doubt = 0
        self._worker = scene.worker()
        self._spare: Program | None = None

    def prepare(self) -> None:
        """Start the worker that is to take over, if it is its turn."""
        if len(self.resumed) % 2:
            self._spare = self.scene.worker()

    def kill(self, within: float, progress: Callable[[], int], over: Callable[[], bool]) -> None:
        """Kill the worker at a random moment of the next seconds and see the work go on."""
        self.chance.moment(within)
        killed = self.scene.kill(self._worker)
        assert not over(), "it was killed too late: there was nothing left to do"
        assert killed.in_doubt <= killed.connections
        self.in_doubt += killed.in_doubt
        self._worker, self._spare = self._spare or self.scene.worker(), None
        self.resumed.append(self.scene.wait_until_work_goes_on(killed, progress, over))

    def __str__(self) -> str:
        return f"{len(self.resumed)} kills, work went on after {max(self.resumed):.1f} s at most"


def test_while_it_fetches(scene: Scene, dovecot: Dovecot, kills: int, chance: Chance, say: Say) -> None:
    users = [dovecot.add_mailbox(f"{kind}{chance.seed}{id(scene)}@office.test") for kind in ("imap", "pop3")]
    boxes = [Mailbox(scene, dovecot, "imap", users[0]), Mailbox(scene, dovecot, "pop3", users[1], after="delete")]

    def progress() -> int:
        return sum(box.progress() for box in boxes)

    def over() -> bool:
        return all(box.over() for box in boxes)

    for box in boxes:
        box.deliver(1)
    scene.set_action("fetch", interval=1, unit="seconds", next_run_at=datetime.now(UTC))
    deaths = Deaths(scene, chance)
    wait_until(over, 20)
    for _ in range(kills):
        deaths.prepare()
        before = progress()
        for box in boxes:
            box.deliver(40)
        target = before + chance.random.randrange(1, 120)
        wait_until(lambda target=target: progress() >= target, 15, every=0.005)
        deaths.kill(0.05, progress, over)
        wait_until(over, 90)
    for box in boxes:
        box.check()
        dovecot.remove_mailbox(box.user)
    say(f"fetching: {deaths}; {sum(box.sent for box in boxes)} mails, each once")


def test_while_it_sends(scene: Scene, kills: int, chance: Chance, say: Say) -> None:
    scene.receiver.slow_down(0.04, at_the_end=0.04)

    def progress() -> int:
        return scene.lines()["sent"]

    def over() -> bool:
        return scene.unsent() == 0

    deaths = Deaths(scene, chance)
    for _ in range(kills):
        deaths.prepare()
        before = progress()
        scene.queue(20)
        wait_until(lambda before=before: progress() > before, 15, every=0.01)
        deaths.kill(0.4, progress, over)
    scene.receiver.slow_down(0)
    wait_until(over, 90)
    doubts = scene.check_lines()
    assert deaths.in_doubt <= doubts <= kills * SENDING
    say(f"personal mail: {deaths}; {sum(scene.lines().values())} lines, each once, {doubts} in doubt")


def test_while_a_mailing_runs(scene: Scene, kills: int, chance: Chance, say: Say) -> None:
    recipients = 60 + 60 * kills
    scene.receiver.slow_down(0.04, at_the_end=0.04)
    deaths = Deaths(scene, chance)
    mailing_id = scene.mailing(recipients)

    def over() -> bool:
        return scene.mailing_state(mailing_id) == "done"

    for _ in range(kills):
        deaths.prepare()
        before = scene.reached()
        wait_until(lambda before=before: scene.reached() > before, 15, every=0.01)
        deaths.kill(0.6, scene.reached, over)
    scene.receiver.slow_down(0)
    wait_until(over, 90)
    unknown = scene.check_mailing(mailing_id, recipients)
    assert unknown <= kills * MASS
    say(f"mailing: {deaths}; {recipients} recipients, each once, {unknown} in doubt")

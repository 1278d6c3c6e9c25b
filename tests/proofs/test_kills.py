"""``kill -9`` of the worker at random moments, while it fetches, sends personal mail and sends a mailing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from tests.proofs.scene import Chance, Mailbox, Say, Scene
from tests.servers.dovecot import Dovecot
from tests.servers.process import Program
from tests.waiting import wait_until

SENDING, MASS = 4, 2  # connections of a worker at most
RECIPIENTS, LETTERS, MAILS = 120, 40, 15  # what a round gets to do; letters for each mailbox


class Deaths:
    """Workers that die one after the other: every other time the next one lives already and takes over."""

    def __init__(self, scene: Scene, chance: Chance) -> None:
        self.scene, self.chance = scene, chance
        self.rounds = self.kills = self.in_doubt = 0
        self.slowest = 0.0
        self._worker = scene.worker()
        self._spare: Program | None = None

    def prepare(self) -> None:
        """Start the worker that is to take over, if it is its turn."""
        self.rounds += 1
        if self.rounds % 2 == 0:
            self._spare = self.scene.worker()

    def kill(self, progress: dict[str, Callable[[], int]], over: Callable[[], list[str]], within: float = 0.05) -> None:
        """Kill the worker and see each work go on; it counts when there was some of each left to do."""
        self.chance.moment(within)
        killed = self.scene.kill(self._worker)
        self.kills += not over()
        assert killed.in_doubt <= killed.connections
        self.in_doubt += killed.in_doubt
        self._worker, self._spare = self._spare or self.scene.worker(), None
        for name, done in progress.items():
            seconds = self.scene.wait_until_work_goes_on(killed, done, lambda name=name: name in over())
            self.slowest = max(self.slowest, seconds)


@contextmanager
def mailboxes(scene: Scene, dovecot: Dovecot) -> Iterator[list[Mailbox]]:
    """Two mailboxes: one by IMAP, whose mails stay, and one by POP3, whose mails are deleted when they are kept."""
    users = [dovecot.add_mailbox(f"{kind}.{scene.running.port}@office.test") for kind in ("imap", "pop3")]
    boxes = [Mailbox(scene, dovecot, "imap", users[0]), Mailbox(scene, dovecot, "pop3", users[1], after="delete")]
    for box in boxes:
        box.deliver(1)  # what the others answer
    yield boxes
    for user in users:
        dovecot.remove_mailbox(user)


@pytest.fixture(params=[pytest.param("cut"), pytest.param("whole", marks=pytest.mark.slow)])
def many_kills(request: pytest.FixtureRequest) -> int:
    """How often a proof kills: a small cut for every day, fifty times in ``make soak``."""
    if request.param == "whole":
        return 50
    return 1 if "postgresql" in request.node.name else 3


def test_nothing_is_lost_and_nothing_twice(
    scene: Scene, dovecot: Dovecot, many_kills: int, chance: Chance, say: Say
) -> None:
    with mailboxes(scene, dovecot) as boxes:
        scene.set_action("fetch", interval=1, unit="seconds", next_run_at=datetime.now(UTC))
        deaths = Deaths(scene, chance)
        letters = LETTERS if many_kills < 50 else LETTERS // 2  # 2,000 in all
        wait_until(lambda: all(box.over() for box in boxes))
        scene.receiver.slow_down(0.06, at_the_end=0.06)  # or the kills do not fit
        recipients = RECIPIENTS * (many_kills + 1)
        mailing_id = scene.mailing(recipients)
        progress: dict[str, Callable[[], int]] = {
            "fetching": lambda: sum(box.progress() for box in boxes),
            "sending": lambda: scene.lines()["sent"],
            "mailing": scene.reached,
        }

        def over() -> list[str]:
            done = {
                "fetching": all(box.over() for box in boxes),
                "sending": not scene.unsent(),
                "mailing": scene.mailing_state(mailing_id) == "done",
            }
            return [name for name in progress if done[name]]

        while deaths.kills < many_kills:
            assert deaths.rounds <= 2 * many_kills, "the kills do not fit"
            deaths.prepare()
            before = progress["fetching"]()
            scene.queue(MAILS)
            wait_for(progress["sending"], progress["sending"]() + 1)
            wait_for(progress["mailing"], progress["mailing"]() + 1)
            for box in boxes:
                box.deliver(letters)
            wait_for(progress["fetching"], before + chance.random.randrange(1, 3 * letters))
            deaths.kill(progress, over)
            wait_until(lambda: "fetching" in over(), 90)
        scene.receiver.slow_down(0)
        wait_until(lambda: len(over()) == 3, 90)
        for box in boxes:
            box.check()
        doubts, unknown = scene.check_lines(), scene.check_mailing(mailing_id, recipients)
    assert deaths.in_doubt <= doubts + unknown
    assert doubts <= deaths.rounds * SENDING and unknown <= deaths.rounds * MASS
    say(
        f"{deaths.kills} kills while it fetched, sent, and sent a mailing: {sum(box.sent for box in boxes)} mails in, "
        f"{2 * MAILS * deaths.rounds} lines and {recipients} recipients out, each once; {doubts} and {unknown} "
        f"in doubt; each work went on after {deaths.slowest:.1f} s at most"
    )


def test_every_email_goes_out_through_many_kills(scene: Scene, many_kills: int, chance: Chance, say: Say) -> None:
    emails = 40 * many_kills  # half of them personal, half of them of a mailing
    scene.receiver.slow_down(0.15, at_the_end=0.15)  # or the kills do not fit
    scene.queue(emails // 4)  # each with two recipients
    mailing_id = scene.mailing(emails // 2)
    deaths = Deaths(scene, chance)
    progress: dict[str, Callable[[], int]] = {"sending": lambda: scene.lines()["sent"], "mailing": scene.reached}

    def over() -> list[str]:
        done = {"sending": not scene.unsent(), "mailing": scene.mailing_state(mailing_id) == "done"}
        return [name for name in progress if done[name]]

    while deaths.kills < many_kills:
        assert deaths.rounds < many_kills, "the kills do not fit"
        deaths.prepare()
        deaths.kill(progress, over, within=1.0)
    scene.receiver.slow_down(0)
    wait_until(lambda: len(over()) == 2, 180)
    doubts, unknown = scene.check_lines(), scene.check_mailing(mailing_id, emails // 2)
    assert deaths.in_doubt <= doubts + unknown
    assert doubts <= many_kills * SENDING and unknown <= many_kills * MASS
    say(
        f"{deaths.kills} kills while {emails} emails went out: each once, but for {doubts} and {unknown} in doubt; "
        f"each work went on after {deaths.slowest:.1f} s at most"
    )


def wait_for(done: Callable[[], int], much: int) -> None:
    """Return as soon as so much was done."""
    wait_until(lambda: done() >= much, every=0.01)

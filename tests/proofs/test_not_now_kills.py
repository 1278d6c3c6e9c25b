"""``kill -9`` of the worker while its IMAP server says "not now" at any step: each mail comes, and comes once."""

import re
from collections import Counter
from datetime import UTC, datetime
from random import Random
from typing import Any

from sqlalchemy import Select, func, select

from models import ReceivedMail, db
from tests.proofs.scene import RESUMED, Chance, Mailbox, Say, Scene
from tests.servers.dovecot import StoredMail
from tests.servers.misbehaving import misbehaving
from tests.servers.process import Program
from tests.servers.scripted import LOST, NOT_NOW, ScriptedImap
from tests.waiting import wait_until

LETTERS, COMMANDS = 60, 15  # what a round delivers; commands of a round after which the worker dies, at most
ODDS = 0.15  # of each command to be refused


class MoodyServer:
    """A mailbox whose server can't move, refuses any command at random, and sometimes hangs up."""

    password = "a secret of the tests"

    def __init__(self, seed: int) -> None:
        self.imap = ScriptedImap({}, self._mood, offers="IMAP4rev1 UIDPLUS")
        self.listens_at = self.delivered = self.refused = 0
        self.is_calm = False
        self._random = Random(seed)

    def _mood(self, command: str) -> bytes | None:
        if self.is_calm or command == "LOGOUT" or self._random.random() > ODDS:
            return None
        self.refused += 1
        reply = self._random.choice([*NOT_NOW, ""])
        return b"%t " + reply.encode() + b"\r\n" if reply else LOST

    def port(self, kind: str) -> int:
        return self.listens_at

    def append(self, user: str, raw: bytes) -> None:
        self.delivered += 1
        self.imap.mails[self.delivered] = raw.replace(b"\n", b"\r\n")

    def mails(self, user: str) -> list[StoredMail]:
        return [StoredMail(raw, "") for raw in list(self.imap.mails.values())]

    def wait_for(self, commands: int) -> None:
        """Return when it has heard so many more commands."""
        goal = len(self.imap.heard) + commands
        wait_until(lambda: len(self.imap.heard) >= goal, every=0.005)


def test_what_a_moody_server_holds_comes_once_though_workers_die(
    scene: Scene, kills: int, chance: Chance, say: Say
) -> None:
    server = MoodyServer(chance.seed)
    with misbehaving(server.imap.talk) as server.listens_at:
        box = Mailbox(scene, server, "imap", "moody", after="move")

        def is_all_here() -> bool:
            return box.ledger()["processed"] == box.sent

        box.deliver(1)  # what the others answer
        scene.set_action("fetch", interval=1, unit="seconds", next_run_at=datetime.now(UTC))
        workers = [scene.worker()]
        wait_until(is_all_here, 90)
        done = rounds = 0
        while done < kills:
            rounds += 1
            assert rounds <= 3 * kills, "the kills do not fit"
            box.deliver(LETTERS)
            server.wait_for(chance.random.randrange(1, COMMANDS))
            chance.moment(0.05)
            done += not is_all_here()
            killed = scene.kill(workers[-1])
            workers.append(scene.worker())
            wait_until(lambda rows=killed.rows: scene.recovered(rows), RESUMED)
            wait_until(is_all_here, 90)
        server.is_calm = True
        wait_until(lambda: not server.imap.mails, 90)
        box.check()
    assert Counter(server.imap.copied) == Counter(range(1, server.delivered + 1)), "each was copied, and copied once"
    check_ledger(box)
    runs = sum(check_numbers(worker) for worker in workers)
    said = f"{done} kills while a server refused {server.refused} of {len(server.imap.heard)} commands"
    say(f"{said}: {box.sent} mails in, each once, none in quarantine, none copied twice; {runs} runs add up")


def check_ledger(box: Mailbox) -> None:
    """Every mail has one row, and nothing is owed to the server."""
    of_it = ReceivedMail.incoming_server_id == box.server_id
    keys = select(func.count(), func.count(ReceivedMail.source_key.distinct())).where(of_it)
    owed = select(func.count()).where(of_it, ReceivedMail.acknowledged.is_(False) | ReceivedMail.copied)

    def rows(query: Select[Any]) -> tuple[int, ...]:
        with box.scene.context():
            return tuple(db.session.execute(query).one())

    wait_until(lambda: rows(owed) == (0,))
    assert rows(keys) == (box.sent, box.sent)


def check_numbers(worker: Program) -> int:
    """What a run found listed was kept, known, or gone; returns how many runs this worker ended."""
    found = re.findall(r"listed (\d+): kept (\d+), known (\d+), gone (\d+)", worker.output())
    for run in found:
        listed, *parts = map(int, run)
        assert listed == sum(parts), run
    return len(found)

"""The worker: its loops, who watches over them, and how it ends in good order."""

import logging
import os
import signal
import threading
import time
from typing import Any

from flask import Flask

from mail.incoming import intake
from mail.queue.concurrency import ServerConcurrency
from mail.queue.connections import Connections
from mail.queue.lease import LEASE
from mail.settings.clock import now
from mail.settings.config import settings
from mail.settings.process import EndRequest
from models import db
from scheduler import recovery, signing
from scheduler.actions import Actions
from scheduler.checks import Checks
from scheduler.fetching import Fetcher
from scheduler.identity import InstallationWatch, RehearsalSteps, WorkerIdentity
from scheduler.idling import Idler
from scheduler.listener import PushListener
from scheduler.loops import PAUSE, Loop, LoopGroup, LoopNotifier
from scheduler.mail_in import PutOff, Waiting
from scheduler.mailings import Tending
from scheduler.open_mailboxes import OpenMailboxes
from scheduler.practice import Receiver
from scheduler.recovery import Recovery
from scheduler.renewals import LOOK_EVERY, Renewals
from scheduler.sending import ConnectionShares, MassSenders, PersonalSenders, SenderPool, ServerWatch
from scheduler.sign_ins import SignIns
from scheduler.signing import KeyWatch
from scheduler.waking import WakeListener

log = logging.getLogger("coquimail.worker")

WATCH = 1.0  # seconds between two looks at the loops
HEARTBEAT = 2.0
PATIENCE = 7.5  # seconds for what is under way at the end; what takes longer is recovered by the next worker
CUT_AFTER = 1.5  # seconds for fetches and tests, with which nothing is lost
LAST_WORDS = 1.0  # seconds more for the database, which may be away: the next worker can do without them


class WorkerProcess:
    """One worker process. ``run`` returns when it was asked to end and everything is handed back."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._end_request = EndRequest()
        self._stopping, self._ended = threading.Event(), threading.Event()
        self._identity = WorkerIdentity(recovery.recover_claims)
        with app.app_context():
            found = settings()
        mailboxes = OpenMailboxes()
        fetcher = Fetcher(app, self._identity, mailboxes)
        self._actions = Actions(app, self._identity, fetcher, self._stopping)
        self._listener = WakeListener(self._identity)
        stopping = self._stopping
        self._connections = Connections(ServerConcurrency(found.mass_connections))
        self._connections.halted = True  # until it was looked whether a rehearsal goes on
        loop = self._loop
        self._heart = Loop("heartbeat", app, self._beat, self._ended, pause=HEARTBEAT)
        self._practice = Loop("practice mailbox", app, Receiver(app, self._ended).work, self._ended)
        self.loops = [
            loop("listener", self._listener, pause=0.0),
            loop("scheduled actions", self._actions, "actions"),
            loop("new mail", Idler(self._actions.leads, fetcher, mailboxes)),
            loop("tests", Checks(app, self._identity, fetcher), "check"),
            loop("sign-ins", SignIns(app, self._identity), "sign_in"),
            loop("renewals", Renewals(app, self._identity, self._connections), "sign_in", pause=LOOK_EVERY),
            loop("keys", KeyWatch(self._identity), "dkim", pause=signing.PAUSE),
            loop("incoming", Waiting(self._identity), "incoming", "received"),
            loop("mailings", Tending(), "mailings"),
            loop("recovery", Recovery(self._identity, stopping), "recovery", pause=2.0),
            loop("connections", ConnectionShares(self._connections, self._identity), "rehearsal"),
            loop("slow servers", ServerWatch(self._connections)),
            loop("installation", InstallationWatch(self._identity), pause=LOOK_EVERY),
            loop("rehearsal", RehearsalSteps(self._identity), "rehearsal", pause=LOOK_EVERY),
        ]
        for address in found.listen:
            receiving = PushListener(app, address, found.listen_certificate)
            self.loops.append(loop(receiving.name, receiving, "rehearsal"))
        sending = self._identity, self._connections, stopping.is_set
        for pool in (
            PersonalSenders("send", "queue", found.send_connections, *sending),
            MassSenders("mass", "mass", found.mass_connections, *sending),
        ):
            self._staff(pool)
        self._listener.notifier = LoopNotifier(self.loops)
        late = Loop("large emails", app, PutOff(self._identity).work, self._ended)
        self._besides = [self._heart, late, self._practice]

    def _staff(self, pool: SenderPool) -> None:
        """Give a pool its threads, and the means to get more."""
        group = LoopGroup()

        def grow() -> None:
            add().start()

        def add() -> Loop:
            thread = pool.thread()
            added = Loop(
                thread.name, self._app, thread.work, self._stopping, [pool.topic], on_exit=thread.close, group=group,
                is_surplus=thread.is_surplus,
            )  # fmt: skip
            self.loops.append(added)
            return added

        for _ in range(pool.least):
            add()
        pool.ring, pool.grow = group.ring, grow

    def _loop(self, name: str, part: Any, *topics: str, pause: float = PAUSE, group: LoopGroup | None = None) -> Loop:
        return Loop(name, self._app, part.work, self._stopping, topics, pause, getattr(part, "close", None), group)

    @property
    def _watched(self) -> list[Loop]:
        return [*self._besides, *self.loops]

    def _beat(self) -> bool:
        self._identity.beat(self._watched)
        return False

    def stop(self) -> None:
        """Ask the worker to end; returns at once, also in a signal handler."""
        self._end_request.ask()

    def register(self) -> None:
        """Give this worker its row; waits as long as the database makes it wait."""
        with self._app.app_context():
            self._identity.begin()

    def run(self) -> int:
        """Work until ``stop`` and return the exit status: 0 when nothing was left under way."""
        self._actions.start()
        for loop in self._watched:
            loop.start()
        log.info("worker started: %s loops", len(self._watched))
        while not self._end_request.comes_within(WATCH):
            for loop in [loop for loop in self.loops if loop.retired]:
                self.loops.remove(loop)
            for loop in self._watched:
                loop.revive()
        return self._end()

    def _end(self) -> int:
        """Let what is under way finish, hand back what is not, and say good-bye."""
        began = time.monotonic()
        log.info("ending")
        self._stopping.set()
        self._actions.shutdown()
        self._identity.stop()
        self._listener.wake()
        for loop in self.loops:
            loop.notify()
        end = began + PATIENCE
        late = [loop.name for loop in list(self.loops) if not loop.join(end - time.monotonic())]
        self._connections.close()
        while self._identity.busy(also_what_may_be_cut=time.monotonic() < began + CUT_AFTER) and time.monotonic() < end:
            time.sleep(0.02)
        nothing_left = not late and not self._identity.busy()
        if not nothing_left:
            log.warning("still under way at the end: %s; the next worker recovers it", late or "a scheduled action")
        last = threading.Thread(target=self._say_goodbye, args=(nothing_left,), name="goodbye", daemon=True)
        last.start()
        last.join(max(end - time.monotonic(), 0.0) + LAST_WORDS)
        self._ended.set()
        self._heart.notify()
        unheard = last.is_alive()
        log.info("ended after %.1f s%s", time.monotonic() - began, "; the database did not answer" if unheard else "")
        return 1 if late or unheard else 0

    def _say_goodbye(self, nothing_left: bool) -> None:
        self._excuse()
        if nothing_left:
            self._hand_back()

    def _excuse(self) -> None:
        """Say that no mail is to blame for this end: three workers that die with a mail put it into quarantine."""
        try:
            with self._app.app_context():
                for held in self._identity.rows():
                    intake.excuse(held.id)
        except Exception:
            log.exception("could not say that this is an end in good order")

    def _hand_back(self) -> None:
        """Recover what we claimed and did not do, exactly as for a dead worker, but at once."""
        try:
            with self._app.app_context():
                for held in self._identity.rows():
                    recovery.recover(held.id, now())
                db.session.rollback()
        except Exception:
            log.exception("could not hand back what was claimed: the next worker does, %s s from now", LEASE)


def install_signals(worker: WorkerProcess) -> None:
    """End in good order at the first SIGTERM or SIGINT, at once at the second."""

    asked = False

    def ask(_number: int, _frame: object) -> None:
        nonlocal asked
        if asked:
            os._exit(1)
        asked = True
        worker.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)

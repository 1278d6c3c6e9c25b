"""The loops of the worker: threads that do what there is to do, wait for a wake, and start anew when they die."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from flask import Flask
from sqlalchemy.exc import InterfaceError, OperationalError

from mail.errors import JournalFailed
from mail.queue.lease import LeaseLost
from mail.sentences import Why, say, why
from models.faults import DatabaseFault, fault_of, keeps_waiting

log = logging.getLogger("coquimail.worker")

PAUSE = 1.0  # seconds after which a loop looks without a wake: the safety net
FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0  # seconds before a loop that died is started again
MISSING_PAUSE = 2.0  # seconds before the database, or the room on the disk, is looked for again
SAY_EVERY = 60.0  # seconds between two lines in the log about the same thing that is missing
STEADY = 60.0  # a loop that lived so long starts again after FIRST_WAIT


class NotNow(Exception):
    """The loop can't work just now, for a known reason that will pass; ``why`` if people must know it."""

    def __init__(self, reason: Why | None = None) -> None:
        super().__init__(reason["code"] if reason else "")
        self.why = reason


class LoopGroup:
    """Loops that look for the same work: one look is enough for all of them, by whichever is idle."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._looked = 0.0
        self._idle: list[Loop] = []

    def may_look(self) -> bool:
        """Say whether the caller, who was not rung, is to look now for all of them."""
        with self._lock:
            if time.monotonic() - self._looked < PAUSE * 0.9:
                return False
            self._looked = time.monotonic()
            return True

    def ring(self) -> bool:
        """Let one idle loop look for work; returns False when none is idle. The one that worked last comes first."""
        with self._lock:
            loop = self._idle.pop() if self._idle else None
        if loop is not None:
            loop.notify()
        return loop is not None

    def has_idle(self) -> bool:
        """Say whether a loop is free to take what comes next."""
        with self._lock:
            return bool(self._idle)

    @contextmanager
    def idle(self, loop: "Loop") -> Iterator[None]:
        """Count a loop as idle while the block lasts."""
        with self._lock:
            self._idle.append(loop)
        try:
            yield
        finally:
            with self._lock:
                if loop in self._idle:
                    self._idle.remove(loop)


class Loop:
    """One thread with a name. ``work`` does a piece of work in an app context of its own and says if there is more.

    While the database is away the loop waits and goes on. Any other failure ends its thread, is written down and shown,
    and ``revive`` starts it again.
    """

    def __init__(
        self,
        name: str,
        app: Flask,
        work: Callable[[], bool],
        stopping: threading.Event,
        topics: Iterable[str] = (),
        pause: float = PAUSE,
        on_exit: Callable[[], None] | None = None,
        group: LoopGroup | None = None,
        is_surplus: Callable[[], bool] = lambda: False,
    ) -> None:
        self.name, self.topics, self.pause = name, frozenset(topics), pause
        self.restarts = 0
        self.retired = False  # it ended for good, because it was not needed any more
        self.why: Why | None = None
        self.state = "starting"
        self.seen_at = time.time()
        self._app, self._work, self._stopping, self._on_exit = app, work, stopping, on_exit
        self.group, self._bell, self._is_surplus = group, threading.Event(), is_surplus
        self._thread: threading.Thread | None = None
        self._started, self._due, self._wait = 0.0, 0.0, FIRST_WAIT

    def start(self) -> None:
        """Start the thread; where the system gives no further one, ``revive`` asks again."""
        self._started = time.monotonic()
        thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            self.why = why("loop_died", error=type(error).__name__, detail=str(error))
            log.error("loop %s can't begin: %s", self.name, error)
        else:
            self._thread = thread

    def notify(self) -> None:
        """Let the loop look at once; a call while it works is not lost."""
        self._bell.set()

    def hears(self, topic: str) -> bool:
        """Say whether a wake with this topic concerns this loop."""
        return topic in self.topics

    def alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def join(self, seconds: float) -> bool:
        """Return whether the thread has ended, after waiting so long for it."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(max(seconds, 0))
        return not self.alive()

    def revive(self) -> None:
        """Start the loop again if it died and its time has come."""
        if self.alive() or self.retired or self._stopping.is_set():
            return
        now = time.monotonic()
        if not self._due:
            if now - self._started > STEADY:
                self._wait = FIRST_WAIT
            self._due, self._wait = now + self._wait, min(self._wait * 2, LONGEST_WAIT)
        elif now >= self._due:
            self._due = 0.0
            self.restarts += 1
            self.start()

    def says(self) -> dict[str, Any]:
        """Return what the page Health shows of this loop."""
        state = self.state if self.alive() else "dead"
        return {"state": state, "at": round(self.seen_at, 1), "restarts": self.restarts, "why": self.why}

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._bell.clear()
                more = self._once()
                # The last one that is free stays, however long it has had nothing to do: the others may be held up.
                if not more and (self.group is None or self.group.has_idle()) and self._is_surplus():
                    self.retired = True
                    return
                if not more:
                    self._wait_for_work()
        except Exception as error:
            self.why = why("loop_died", error=type(error).__name__, detail=str(error)[:300])
            log.exception("loop ended unexpectedly", extra={"loop": self.name})
        finally:
            self.state = "ended"
            if self._on_exit is not None:
                self._on_exit()

    def _wait_for_work(self) -> None:
        with self.group.idle(self) if self.group else nullcontext():
            while not self._stopping.is_set() and not self._bell.wait(self.pause):
                if self.group is None or self.group.may_look():
                    return

    def _once(self) -> bool:
        self.state, self.seen_at = "working", time.time()
        try:
            with self._app.app_context():
                more = self._work()
            self.why = None
            self.state = "waiting"
        except (NotNow, LeaseLost) as error:
            self.state, self.why = "waiting", getattr(error, "why", None)
            self._bell.wait(PAUSE)
            return False
        except Exception as error:
            reason = what_is_missing(error)
            if reason is None:
                raise
            self.state, self.why = reason["code"], reason
            say_once(reason)
            self._stopping.wait(MISSING_PAUSE)
            return False
        finally:
            self.seen_at = time.time()
        return more


def what_is_missing(error: BaseException) -> Why | None:
    """Return what keeps the worker from its work for now, through no fault of the work: no database, no room, a lock.

    None for every other error.
    """
    if isinstance(error, JournalFailed):
        return error.why
    if fault_of(error) is DatabaseFault.FULL:
        return why("no_room")
    if keeps_waiting(error) or isinstance(error, OperationalError | InterfaceError):
        return why("database_away", detail=str(getattr(error, "orig", None) or error).splitlines()[0][:300])
    return None


def database_away(error: BaseException) -> bool:
    """Return whether an error says that the database can't be used just now: away, locked, out of room."""
    return what_is_missing(error) is not None


class _Said:
    """When the log was last told what is missing: once a minute is enough, however many loops find out."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at: dict[str, float] = {}

    def is_time(self, code: str) -> bool:
        with self._lock:
            if time.monotonic() - self._at.get(code, float("-inf")) < SAY_EVERY:
                return False
            self._at[code] = time.monotonic()
            return True


_said = _Said()


def is_time_to_say(code: str) -> bool:
    """Return whether the log was not told of this within a minute, by any thread of this process."""
    return _said.is_time(code)


def say_once(reason: Why) -> None:
    """Write into the log what is missing, once a minute for all loops of this process."""
    if is_time_to_say(reason["code"]):
        log.warning("waiting: %s", say(reason))


class LoopNotifier:
    """Hands a wake on to the loops that it concerns; loops may be added to the list later."""

    def __init__(self, loops: list[Loop]) -> None:
        self._loops = loops
        self._known = frozenset(topic for loop in self._loops for topic in loop.topics)

    def notify(self, topics: Iterable[str]) -> None:
        """Ring the loops that listen to these topics, of a group one that is idle; an unknown topic rings all."""
        for topic in set(topics):
            heard = [loop for loop in list(self._loops) if topic not in self._known or loop.hears(topic)]
            rung = {group for group in {loop.group for loop in heard} if group is not None and group.ring()}
            for loop in heard:
                if loop.group not in rung:
                    loop.notify()

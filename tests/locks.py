"""How long the product keeps SQLite's write lock: no transaction that writes may compute much before it ends.

What is measured is the processor's time of the thread, from the first statement under the lock to its end, without that
of the garbage collector, which cleans up after the tests. Waiting for the disk or for a core changes nothing, and what
goes beyond the limit is weighed by the speed that the machine has at that moment. Transactions that a test begins or
ends itself are its own affair: it builds what an office has after years.
"""

import gc
import json
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from sqlalchemy import Connection, Engine, event

LONGEST = 0.050  # seconds; twice as many where more runs than there are cores, which then share their caches too
PER_OCTET = (
    0.000_000_004  # seconds more for each octet of a file that is stored: that is what such a transaction is for
)
IDLE = 0.006  # seconds that the piece of work in ``piece_of_work`` takes on the two cores of our reference, idle
ROOT = Path(__file__).parent.parent
TAKES_LOCK = "PRAGMA query_only = OFF"
FRAME = ("PRAGMA", "BEGIN")


@dataclass
class Held:
    """One transaction with the write lock: who began and ended it, how long it computed, and where the most of it."""

    began: str
    since: float
    statement: str
    at: float
    slowest: tuple[float, str] = (0.0, "")
    took: float = 0.0
    stored: int = 0
    ended: str = ""

    def went_on(self, now: float, statement: str = "") -> None:
        """Note that another statement begins, or the end."""
        self.slowest = max(self.slowest, (now - self.at, self.statement))
        self.statement, self.at, self.took = statement, now, now - self.since

    @property
    def too_long(self) -> bool:
        crowded = os.getloadavg()[0] > (os.cpu_count() or 1)
        return self.took > LONGEST * (1 + crowded) + self.stored * PER_OCTET

    def __str__(self) -> str:
        longest, statement = self.slowest
        return (
            f"{self.ended} kept SQLite's write lock, taken in {self.began}, for {self.took * 1000:.0f} computed ms; "
            f"others wait no longer than {LONGEST * 1000:.0f} ms (docs/decisions/0001). {longest * 1000:.0f} ms "
            f"of it went by from this statement to the next: {' '.join(statement.split())[:300]}"
        )


class LockWatch:
    """Notes the transactions of all SQLite engines of this process; ``held``: those the product began and ended."""

    def __init__(self) -> None:
        self.held: list[Held] = []
        self._open: dict[Connection, Held | None] = {}
        self._collecting, self._collector_began = 0.0, 0.0

    def collector(self, phase: str, _info: Any) -> None:
        """Note how long the garbage collector works."""
        if phase == "start":
            self._collector_began = time.thread_time()
        else:
            self._collecting += time.thread_time() - self._collector_began

    def statement(self, connection: Connection, _cursor: Any, statement: str, given: Any, *_: Any) -> None:
        """Note a statement that begins."""
        if statement == TAKES_LOCK:
            self._open[connection] = None
        elif connection in self._open and not statement.startswith(FRAME):
            held, now = self._open[connection], self._now()
            if held is None:
                held = self._open[connection] = Held(ours(sys._getframe()), now, statement, now)
            held.went_on(now, statement)
            held.stored += octets(given)

    def end(self, connection: Connection) -> None:
        """Note the end of a transaction."""
        held = self._open.pop(connection, None)
        if held is None:
            return
        held.went_on(self._now())
        held.ended = ours(sys._getframe())
        if not held.began.startswith("tests/") and not held.ended.startswith("tests/"):
            if held.too_long:
                held.took /= slowness() ** 2  # others come and go: it may have been worse a moment ago
            self.held.append(held)

    def _now(self) -> float:
        return time.thread_time() - self._collecting

    def ended_in(self) -> set[str]:
        """Return where transactions ended."""
        return {held.ended for held in self.held}

    def too_long(self) -> list[str]:
        """Return who kept the lock for too long."""
        return [str(held) for held in self.held if held.too_long]


def slowness() -> float:
    """Return how many times longer than on an idle machine a piece of work takes now, on a core that is shared."""
    times = []
    for _ in range(3):
        gc.disable()  # cleaning up after the tests would make the machine look twenty times slower
        began = time.thread_time()
        piece_of_work()
        times.append(time.thread_time() - began)
        gc.enable()
    return max(1.0, max(times) / IDLE)


def piece_of_work() -> None:
    """Do something like what the product does: rows become parameters, rows of SQLite and text."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE piece (id INTEGER PRIMARY KEY, address TEXT UNIQUE, words TEXT)")
        rows = [{"address": f"reader{number}@example.test", "words": "x" * 200} for number in range(1000)]
        connection.executemany("INSERT INTO piece (address, words) VALUES (:address, :words)", rows)
        json.loads(json.dumps([list(row) for row in connection.execute("SELECT * FROM piece")]))


def octets(given: Any) -> int:
    """Return the size of the files among the parameters of a statement."""
    rows = given if isinstance(given, list) else [given]
    return sum(len(value) for row in rows for value in row if isinstance(value, bytes | memoryview))


def ours(frame: FrameType | None) -> str:
    """Return the nearest place on the stack that is of this project, or that Flask ended a request."""
    while frame is not None:
        path = frame.f_code.co_filename
        if frame.f_code.co_name == "wsgi_app":
            return "the end of the request"
        if path.startswith(f"{ROOT}/") and "/.venv/" not in path and path != __file__:
            return f"{Path(path).relative_to(ROOT)}:{frame.f_code.co_name}"
        frame = frame.f_back
    return ""


@contextmanager
def watched_locks() -> Iterator[LockWatch]:
    """Watch the write transactions of this process on SQLite."""
    watch = LockWatch()
    listeners = (("before_cursor_execute", watch.statement), ("commit", watch.end), ("rollback", watch.end))
    gc.callbacks.append(watch.collector)
    for name, listener in listeners:
        event.listen(Engine, name, listener)
    try:
        yield watch
    finally:
        for name, listener in listeners:
            event.remove(Engine, name, listener)
        gc.callbacks.remove(watch.collector)

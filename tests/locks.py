"""How long the product keeps SQLite's write lock: no transaction that writes may compute much before it ends.

What is measured is the processor's time of the thread, from the first statement under the lock to its end: a machine
that is busy with other tests changes it little, waiting for the disk not at all. Transactions that a test ends itself
are its own affair: it builds what an office has after years.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from sqlalchemy import Connection, Engine, event

LONGEST = 0.150  # seconds: 0.050 is what we allow ourselves, three times that is no matter of chance
ROOT = Path(__file__).parent.parent
TAKES_LOCK = "PRAGMA query_only = OFF"
FRAME = ("PRAGMA", "BEGIN")


class LockWatch:
    """Notes the transactions of all SQLite engines of this process; ``held``: what ended each, and after how long."""

    def __init__(self) -> None:
        self.held: list[tuple[str, float]] = []
        self._since: dict[Connection, float | None] = {}

    def statement(self, connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if statement == TAKES_LOCK:
            self._since[connection] = None
        elif connection in self._since and self._since[connection] is None and not statement.startswith(FRAME):
            self._since[connection] = time.thread_time()

    def end(self, connection: Connection) -> None:
        since = self._since.pop(connection, None)
        where = ours(sys._getframe())
        if since is not None and not where.startswith("tests/"):
            self.held.append((where, time.thread_time() - since))

    def too_long(self) -> list[str]:
        """Return who kept the lock for too long."""
        return [f"{where}: {took * 1000:.0f} ms under the write lock" for where, took in self.held if took > LONGEST]


def ours(frame: FrameType | None) -> str:
    """Return the nearest place on the stack that is of this project, but for this file."""
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(ROOT) and ".venv" not in path.parts and path != Path(__file__):
            return f"{path.relative_to(ROOT)}:{frame.f_code.co_name}"
        frame = frame.f_back
    return ""


@contextmanager
def watched_locks() -> Iterator[LockWatch]:
    """Watch the write transactions of this process on SQLite."""
    watch = LockWatch()
    listeners = (("before_cursor_execute", watch.statement), ("commit", watch.end), ("rollback", watch.end))
    for name, listener in listeners:
        event.listen(Engine, name, listener)
    try:
        yield watch
    finally:
        for name, listener in listeners:
            event.remove(Engine, name, listener)

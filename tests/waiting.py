"""Waiting for conditions: a test never waits by the clock."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 60.0  # seconds: it costs nothing where all is well, and a busy machine is no fault
Seen = TypeVar("Seen")


def wait_until(condition: Callable[[], Seen], seconds: float = PATIENCE, every: float = 0.05) -> Seen:
    """Return the first true value of ``condition``; an AssertionError names it when it stays false for ``seconds``."""
    end = time.monotonic() + seconds
    while True:
        seen = condition()
        if seen:
            return seen
        if time.monotonic() > end:
            name = getattr(condition, "__qualname__", repr(condition))
            raise AssertionError(f"still not true after {seconds:g} s: {name} (last seen: {seen!r})")
        threading.Event().wait(every)  # gives way to the process that is waited for

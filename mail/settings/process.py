"""What each of our processes does when it begins, and once it has started."""

import contextlib
import ctypes
import gc
import os
import queue

from sqlalchemy.orm import configure_mappers

M_ARENA_MAX = -8  # of malloc.h
ARENAS = 2


def keep_files_private() -> None:
    """Let nobody but our own account read what this process writes; call it when a process of ours begins."""
    os.umask(0o077)


def share_memory() -> None:
    """Let all threads allocate from two arenas; call it before the first thread begins.

    glibc gives each thread an arena of its own, up to eight a core, and what was freed in one is of no use to the
    others. Where there is no glibc there is nothing to do.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, ARENAS)


def start_is_over() -> None:
    """Leave what was made while starting out of garbage collection; call it before the work, or the forks, begin.

    It stays until the end, and walking through all of it takes a tenth of a second: now and then a click, or a
    transaction that others wait for, would take that much longer.
    """
    configure_mappers()  # otherwise the first look into the database does it
    gc.collect()
    gc.freeze()


class EndRequest:
    """The wish that this process end, which a signal handler may utter at any moment.

    An ``Event`` must not carry it: the thread that the signal interrupts may hold the lock of that very event, and then
    neither goes on. A ``SimpleQueue`` is made to be filled from inside its own calls.
    """

    def __init__(self) -> None:
        self._asked: queue.SimpleQueue[None] = queue.SimpleQueue()

    def ask(self) -> None:
        """Ask the process to end; returns at once."""
        self._asked.put(None)

    def comes_within(self, seconds: float) -> bool:
        """Return True as soon as somebody has asked, False when nobody did for so long."""
        with contextlib.suppress(queue.Empty):
            self._asked.get(timeout=seconds)
            return True
        return False

"""The guard against work without end: it stops what goes on, and leaves alone what ends."""

import contextlib
import re
import signal

import pytest

from tests.effort import little_work


def catches_everything() -> None:
    while True:
        with contextlib.suppress(Exception):
            re.search("a*b", "a" * 2000)


def test_work_without_end_is_stopped():
    with pytest.raises(AssertionError, match="still at work"), little_work(seconds=0.05):
        catches_everything()


def test_what_ends_is_left_alone_and_so_is_what_comes_after():
    before = signal.getsignal(signal.SIGPROF)
    with little_work():
        assert re.search("a*b", "a" * 100) is None
    assert (signal.getitimer(signal.ITIMER_PROF)[0], signal.getsignal(signal.SIGPROF)) == (0, before)

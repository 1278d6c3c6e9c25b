"""What each process does when it begins and once it has started."""

import gc
import runpy
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from types import FrameType, SimpleNamespace
from typing import Any

import pytest

from mail.settings.process import EndRequest

ROOT = Path(__file__).resolve().parents[2]


def test_gunicorn_keeps_no_thread_for_a_silent_client_and_what_it_started_with_out_of_garbage_collection() -> None:
    served = runpy.run_path(str(ROOT / "gunicorn.conf.py"))
    served["when_ready"].__globals__["SILENCE"] = 0.01
    gc.unfreeze()  # what the tests keep out of it
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            served["when_ready"](SimpleNamespace(LISTENERS=[listener]))
            with socket.create_connection(listener.getsockname()), listener.accept()[0] as silent:
                with pytest.raises(BlockingIOError):
                    silent.recv(1)
                with pytest.raises(BlockingIOError):
                    silent.sendall(bytes(100_000_000))
        assert gc.get_freeze_count() > 10_000
    finally:
        gc.unfreeze()
        gc.freeze()


class Hangs(Exception):
    """A signal was swallowed, or its handler waits for what the interrupted code holds."""


def the_worker() -> tuple[Callable[[], object], Callable[[float], bool]]:
    request = EndRequest()
    return request.ask, request.comes_within


def the_supervisor() -> tuple[Callable[[], object], Callable[[float], bool]]:
    signals: SimpleQueue[int] = SimpleQueue()
    asked_within = runpy.run_path(str(ROOT / "scripts/serve.py"))["asked_within"]
    return lambda: signals.put(signal.SIGTERM), lambda seconds: asked_within(seconds, signals)


@pytest.mark.parametrize("process", [the_worker, the_supervisor])
def test_a_process_ends_wherever_in_its_wait_the_signal_finds_it(process: Callable[[], Any]) -> None:
    """It used to wait for good, now and then, for a lock that the signal had found it holding."""
    places = 0
    while heard_at(places + 1, *process()):
        places += 1
    assert places > 3


def heard_at(place: int, ask: Callable[[], object], asked_within: Callable[[float], bool]) -> bool:
    """Return whether a signal came at this step of a wait, and was heard; False when the wait has fewer steps."""
    step, told = 0, False

    def trace(_frame: FrameType, _event: str, _value: object) -> Any:
        nonlocal step
        step += 1
        if step == place:
            signal.raise_signal(signal.SIGTERM)
        return trace

    def hang(_number: int, _frame: FrameType | None) -> None:
        raise Hangs(f"at step {place}")

    before = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGALRM)]
    follower = sys.gettrace()
    signal.signal(signal.SIGTERM, lambda *_: ask())
    signal.signal(signal.SIGALRM, hang)
    signal.setitimer(signal.ITIMER_REAL, 5)
    try:
        sys.settrace(trace)
        told = asked_within(0.001)
        sys.settrace(follower)
        told = told or asked_within(0)
    finally:
        sys.settrace(follower)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before:
            signal.signal(number, handler)
    assert told == (step >= place), place
    return told

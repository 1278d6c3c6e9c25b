"""The loops of a worker that look for the same work."""

import threading
from collections import Counter

from flask import Flask

from scheduler.loops import Loop, LoopGroup
from tests.waiting import wait_until


def test_the_last_free_loop_stays_however_long_it_had_nothing_to_do() -> None:
    """It used to end: with all others held up by silent servers, nobody was left for the next email."""
    stopping, group, looks = threading.Event(), LoopGroup(), Counter[str]()

    def loop(name: str) -> Loop:
        def work() -> bool:
            looks[name] += 1
            return False

        return Loop(name, Flask("test"), work, stopping, pause=0.01, group=group, is_surplus=lambda: True)

    first, second = loop("first"), loop("second")
    try:
        first.start()
        wait_until(lambda: first.notify() or looks["first"] > 5)
        assert first.alive()
        second.start()
        wait_until(lambda: first.notify() or second.notify() or first.retired or second.retired)
        left = second if first.retired else first
        seen = looks[left.name]
        wait_until(lambda: left.notify() or looks[left.name] > seen + 5)
        assert left.alive() and first.retired != second.retired
    finally:
        stopping.set()
        for one in (first, second):
            one.notify()
            one.join(60)

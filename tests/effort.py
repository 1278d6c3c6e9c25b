"""Little work: what strangers write may cost no more than its length. Such a test is never red by chance."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

MOST = 20.0  # seconds of CPU


class TooMuchWork(BaseException):
    """The call goes on and on; no ``except Exception`` of the product catches this."""


@contextmanager
def little_work(seconds: float = MOST) -> Iterator[None]:
    """Stop what the block does, and fail, when it has used this many seconds of CPU.

    Only the work of this process counts, so it does not matter what else the machine does. The limit tells orders apart
    and measures nothing: give the block a text so long (300,000 characters or more) that work which grew with the
    square of its length would need minutes, while what is tested needs at most a twentieth of the limit (0.9 seconds
    were the most when this was written). What follows each line for ``make coverage`` rests meanwhile: its work is not
    that of the text.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        raise TooMuchWork

    before, follower = signal.signal(signal.SIGPROF, stop), sys.gettrace()
    sys.settrace(None)
    signal.setitimer(signal.ITIMER_PROF, seconds, 1)  # once more each second: in a destructor the first would be lost
    try:
        yield
    except TooMuchWork:
        raise AssertionError(f"still at work after {seconds:g} seconds of CPU") from None
    finally:
        sys.settrace(follower)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)

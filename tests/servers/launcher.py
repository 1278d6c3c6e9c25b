"""Quick starts of CoquiMail's own processes: one process has imported everything, and a copy of it runs the command.

Importing takes most of a start and is the same each time. All else happens in the copy as after ``python -m …``: a
session of its own, its own environment, the module run as ``__main__`` from its first line to its exit status.
"""

import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IMPORTED = ("gunicorn.app.wsgiapp", "gunicorn.workers.gthread", "scheduler.worker", "webapp")
LARGEST_REQUEST = 100_000  # bytes


class Launcher:
    """The process that starts others, seen from the tests; it ends with them."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-u", "-m", __name__, str(theirs.fileno())]
        nobody = subprocess.DEVNULL
        subprocess.Popen(command, stdin=nobody, cwd=ROOT, pass_fds=[theirs.fileno()], start_new_session=True)
        theirs.close()

    def start(
        self, words: Sequence[str], log: Path, env: Mapping[str, str], reads: Path = Path(os.devnull)
    ) -> "Launched":
        """Run ``python -m`` these words with this environment alone; what it says is appended to ``log``."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, reads.open("rb") as given, log.open("ab") as output:
            request = json.dumps([list(words), dict(env)]).encode()
            socket.send_fds(self._socket, [request], [theirs.fileno(), given.fileno(), output.fileno()])
        return Launched(ours)


@cache
def launcher() -> Launcher:
    """Return the launcher of this test run, started when it is first needed."""
    return Launcher()


class Launched:
    """A process that the launcher started, with what is needed of ``subprocess.Popen``."""

    def __init__(self, news: socket.socket) -> None:
        self._news = news
        self.pid = int(news.recv(100))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return its exit status, or None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit status, negative for a signal; ``subprocess.TimeoutExpired`` when it still runs then."""
        if self.returncode is None:
            self._news.settimeout(timeout)
            try:
                self.returncode = int(self._news.recv(100))
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired("python", timeout or 0) from None
            self._news.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)


def wait_for_work(requests: socket.socket) -> tuple[list[str], dict[str, str], int, int] | None:
    """Start a copy for each request and tell how it ended.

    Returns in each copy what it is to run, in which environment, what it reads and where its output goes; None at the
    end.
    """
    woken, wake = os.pipe2(os.O_NONBLOCK)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    children: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([requests, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            report_the_ended(children)
        if requests in ready:
            request, given, _, _ = socket.recv_fds(requests, LARGEST_REQUEST, 3)
            if not request:
                return None
            teller = socket.socket(fileno=given[0])
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for ours in (requests, teller, *children.values()):
                    ours.close()
                os.close(woken)
                os.close(wake)
                return *json.loads(request), *given[1:]
            os.close(given[1])
            os.close(given[2])
            children[pid] = teller
            teller.send(str(pid).encode())


def report_the_ended(children: dict[int, socket.socket]) -> None:
    """Tell of each child that has ended what its exit status is."""
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            with children.pop(pid) as teller, suppress(OSError):  # nobody may want to know any more
                teller.send(str(os.waitstatus_to_exitcode(status)).encode())


def become(env: dict[str, str], reads: int, output: int) -> None:
    """Turn this copy into a process of its own."""
    os.setsid()
    for source, target in ((reads, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.closerange(3, 64)
    os.environ.clear()
    os.environ.update(env)


if __name__ == "__main__":
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()  # no copy looks through what was imported, nor makes pages of its own of it
    work = wait_for_work(socket.socket(fileno=int(sys.argv[1])))
    if work:
        sys.argv = ["", *work[0][1:]]
        become(*work[1:])
        runpy.run_module(work[0][0], run_name="__main__", alter_sys=True)

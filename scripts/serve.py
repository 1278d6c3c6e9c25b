"""Run CoquiMail: the pages and the worker under one supervisor, as ``make run`` starts it.

The database is brought to the present version first. Then gunicorn and ``python -m scheduler`` run until Ctrl-C or
SIGTERM, which end both within ten seconds. One that dies is started again, later each time. Neither outlives this
process, even when that is killed: the kernel tells them.

Exit status: 0 after a requested end, 1 when something had to be killed, 2 when it could not start.
"""

import contextlib
import ctypes
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PORT = os.environ.get("PORT") or "8000"
BIND = os.environ.get("COQUI_BIND") or "127.0.0.1"
# What ``flask upgrade`` and ``flask first-start`` do, in one process: the second start has to be quick.
PREPARE = """
from wsgi import app
with app.app_context():
    for command in ("upgrade", "first-start"):
        app.cli.main([command], standalone_mode=False)
"""
COMMANDS = {
    "web": (sys.executable, "-m", "gunicorn", "--config", "gunicorn.conf.py", "wsgi:app"),
    "worker": (sys.executable, "-m", "scheduler"),
}
PATIENCE = 9.0  # seconds between the request to end and the kill
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds before a dead child is started again
STEADY = 60.0  # a child that lived so long starts again at FIRST_WAIT
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def say(text: str, who: str = "coquimail") -> None:
    """Print one line of the log; where nobody reads it any more it is lost, and the work goes on."""
    with contextlib.suppress(OSError):
        print(f"{who:<9} | {text}", flush=True)


def end_with_parent(parent: int, signal_number: int) -> Callable[[], None]:
    """Return what a new child does before it becomes its program: ask for a signal when its parent dies."""

    def ask() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
        if os.getppid() != parent:  # it died before we asked
            os.kill(os.getpid(), signal.SIGKILL)

    return ask


class Child:
    """One of the two processes: its output goes into our log under its name."""

    def __init__(self, name: str, command: Sequence[str], selector: selectors.BaseSelector) -> None:
        self.name, self.command, self.selector = name, command, selector
        self.process: subprocess.Popen[bytes] | None = None
        self.wait, self.due, self.started = FIRST_WAIT, 0.0, 0.0
        self._rest = b""

    def start(self) -> None:
        """Start it in a session of its own, so that Ctrl-C reaches this process alone and the end has an order."""
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=end_with_parent(os.getpid(), signal.SIGTERM),
        )
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)
        self.selector.register(self.process.stdout, selectors.EVENT_READ, self)

    def read(self) -> None:
        """Log what it said, line by line."""
        assert self.process is not None and self.process.stdout is not None
        while chunk := self.process.stdout.read(65536):
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            for line in lines:
                say(line.decode("utf-8", "replace"), self.name)
        if chunk == b"":
            self.selector.unregister(self.process.stdout)
            if self._rest:
                say(self._rest.decode("utf-8", "replace"), self.name)
                self._rest = b""

    def revive(self, now: float) -> None:
        """Notice that it died and start it again when its time has come."""
        if self.process is None:
            if now >= self.due:
                self.start()
        elif (status := self.process.poll()) is not None:
            self.drain()
            if now - self.started > STEADY:
                self.wait = FIRST_WAIT
            say(f"{self.name} ended unexpectedly ({describe(status)}); starting it again in {self.wait:g} s")
            self.process, self.due = None, now + self.wait
            self.wait = min(self.wait * 2, LONGEST_WAIT)

    def drain(self) -> None:
        """Log the last words and let go of the pipe, which a grandchild may still hold."""
        assert self.process is not None and self.process.stdout is not None
        if self.process.stdout in self.selector.get_map():
            self.read()
        if self.process.stdout in self.selector.get_map():
            self.selector.unregister(self.process.stdout)
        self.process.stdout.close()

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, number: int) -> None:
        if self.process is not None and self.running():
            self.process.send_signal(number)

    def kill(self) -> None:
        """End it with all its children, at once."""
        if self.process is not None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                return


def describe(status: int) -> str:
    """Return an exit status in words.

    >>> describe(3), describe(-9)
    ('status 3', 'killed by SIGKILL')
    """
    return f"status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"


class Supervisor:
    """Keeps the children alive until it is asked to end."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.children = [Child(name, command, self.selector) for name, command in COMMANDS.items()]
        self.asked_by: int | None = None
        # A signal writes a byte here, so that one wait covers output, dead children and the request to end.
        self._bell, ring = socket.socketpair()
        self._bell.setblocking(False)
        ring.setblocking(False)
        self._ring = ring
        self.selector.register(self._bell, selectors.EVENT_READ, None)
        signal.set_wakeup_fd(ring.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                signal.signal(number, self._ask_to_end)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def _ask_to_end(self, number: int, _frame: object) -> None:
        self.asked_by = self.asked_by or number

    def run(self) -> int:
        """Return the exit status once both have ended."""
        threading.Thread(target=announce, daemon=True, name="announce").start()
        while self.asked_by is None:
            now = time.monotonic()
            for child in self.children:
                child.revive(now)
            self._wait(min([child.due - now for child in self.children if child.process is None], default=None))
        return self._end()

    def _end(self) -> int:
        say(f"ending ({signal.Signals(self.asked_by or 0).name})")
        for child in self.children:
            child.signal(signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE
        while any(child.running() for child in self.children) and time.monotonic() < deadline:
            self._wait(deadline - time.monotonic())
        late = [child.name for child in self.children if child.running()]
        for child in self.children:
            child.kill()  # those that are late, and whatever an ended one left behind
            if child.process is not None:
                child.process.wait()
                child.drain()
        say(f"ended; had to kill: {', '.join(late)}" if late else "ended")
        return 1 if late else 0

    def _wait(self, seconds: float | None) -> None:
        for key, _ in self.selector.select(None if seconds is None else max(seconds, 0)):
            if key.data is None:
                self._bell.recv(4096)
            else:
                key.data.read()


def announce() -> None:
    """Say that the pages are there, once they are; say once when they are there but broken."""
    url = f"http://{'127.0.0.1' if BIND in ('0.0.0.0', '::') else BIND}:{PORT}"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    complained = False
    while True:
        try:
            opener.open(f"{url}/", timeout=5).close()
            break
        except urllib.error.HTTPError as error:
            error.close()
            if error.code < 500:
                break
            if not complained:
                say(f"the pages answer, but with an error ({error.code}): see the lines of web above")
                complained = True
        except OSError:
            pass
        time.sleep(0.1 if not complained else 2)
    say(f"CoquiMail is ready: {url}")


def port_is_free() -> bool:
    """Return whether gunicorn will get its port."""
    family = socket.AF_INET6 if ":" in BIND else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((BIND, int(PORT)))
        except OSError as error:
            say(f"cannot listen on {BIND}:{PORT} ({error.strerror}); choose another port: PORT=8001 make run")
            return False
    return True


def prepare() -> bool:
    """Bring the database to the present version and, on the very first start, print the link to begin with."""
    done = subprocess.run(
        [sys.executable, "-c", PREPARE],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        preexec_fn=end_with_parent(os.getpid(), signal.SIGTERM),
    )
    failed = done.returncode != 0
    for line in (done.stdout + done.stderr if failed else done.stdout).decode("utf-8", "replace").splitlines():
        say(line)
    if failed:
        say(f"could not start: the database could not be prepared ({describe(done.returncode)}, see above)")
    return not failed


def main() -> int:
    os.chdir(ROOT)
    os.environ["PYTHONUNBUFFERED"] = "1"
    try:
        if not port_is_free() or not prepare():
            return 2
    except KeyboardInterrupt:
        return 2
    return Supervisor().run()


if __name__ == "__main__":
    sys.exit(main())

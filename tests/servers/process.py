"""Starting, stopping and killing the programs that tests talk to."""

import contextlib
import fcntl
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from tests.waiting import wait_until

CACHE = Path(__file__).resolve().parents[2] / ".cache"
HOST = "127.0.0.1"
IS_ROOT = os.geteuid() == 0
PORTS = range(12000, 32000)
PORT_COUNTER = Path(f"/tmp/coqui-test-ports-{os.geteuid()}")
# The owner of the mail that test servers store: one user, so that Postfix may deliver what Dovecot then serves.
MAIL_USER = pwd.getpwnam("mail") if IS_ROOT else pwd.getpwuid(os.geteuid())


class PartMissing(Exception):
    """A program that this machine lacks; the message says which and how it gets there."""


def free_port() -> int:
    """Return a TCP port of the loopback address that is nobody's, for a program that takes it later.

    The kernel gives none of these out (Linux picks from 32768 on), and all test runs of this machine count through
    them together: a port that was asked for is not given to another program, nor to a connection, while its own starts.
    """
    with PORT_COUNTER.open("a+") as counter:
        fcntl.flock(counter, fcntl.LOCK_EX)
        counter.seek(0)
        port = int(counter.read() or PORTS.start)
        while True:
            port = port + 1 if port + 1 in PORTS else PORTS.start
            with contextlib.suppress(OSError), socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((HOST, port))
                break
        counter.truncate(0)
        counter.write(str(port))
    return port


def temporary_folder(name: str) -> Path:
    """Return a new folder that servers under any user may enter; ``remove_folder`` takes it away."""
    folder = Path(tempfile.mkdtemp(prefix=f"coqui-{name}-"))
    folder.chmod(0o755)
    return folder


def remove_folder(folder: Path) -> None:
    """Remove a temporary folder, whoever owns what is in it."""
    shutil.rmtree(folder, ignore_errors=True)


def answers(port: int, host: str = HOST) -> bool:
    """Return whether somebody accepts connections on a port."""
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex((host, port)) == 0


class Process(Protocol):
    """What a program needs of a process: ``subprocess.Popen``, and what the launcher returns."""

    pid: int
    returncode: int | Any

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, number: int, /) -> None: ...
    def terminate(self) -> None: ...


class Program:
    """A program of a test: in a session of its own, its output in a file, ended with all its children."""

    def __init__(self, name: str, process: Process, log: Path) -> None:
        self.name, self.process, self.log = name, process, log

    @classmethod
    def start(
        cls,
        name: str,
        command: Sequence[str | Path],
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: str | None = None,
    ) -> "Program":
        """Start a command."""
        with log.open("ab") as output:
            process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(env) if env is not None else None,
                cwd=cwd,
                user=user,
                group=pwd.getpwnam(user).pw_gid if user else None,
                extra_groups=[] if user else None,
                start_new_session=True,
            )
        return cls(name, process, log)

    @property
    def pid(self) -> int:
        return self.process.pid

    def running(self) -> bool:
        """Return whether the program itself is still there."""
        return self.process.poll() is None

    def output(self) -> str:
        """Return all that it has said so far."""
        return self.log.read_text(errors="replace")

    def wait_for_port(self, port: int) -> None:
        """Return when the port accepts connections; when the program ends instead, an AssertionError shows why."""
        wait_until(lambda: answers(port) or not self.running())
        assert self.running(), f"{self.name} ended with {self.process.returncode}:\n{self.output()[-3000:]}"

    def terminate(self, seconds: float = 60) -> int:
        """Ask it to end, return its exit status; after ``seconds`` it is killed, which is an AssertionError."""
        if self.running():
            self.process.terminate()
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(
                f"{self.name} did not end within {seconds:g} s of SIGTERM:\n{self.output()[-3000:]}"
            ) from None

    def kill(self) -> None:
        """``kill -9`` for the program and all its children, as a power cut would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(60)

"""Processes that sign with an RSA key, each kept and lent to one sending thread at a time.

A signature takes as long as all the rest of a mail, and the library lets no other thread of the process run meanwhile.
So another process signs while the sending thread puts the next mails together. Where that process fails, the thread
signs itself.
"""

import base64
import hashlib
import logging
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from mail.message.dkim import SigningKey

log = logging.getLogger("coquimail.outgoing")

SIGNATURE = 256  # octets of a signature of RSA-2048
PATIENCE = 10.0  # seconds for one, the start of the process included
IDLE = 60.0  # seconds after which an unused process is ended


class SigningProcess:
    """One process with one key. Signatures come in the order in which they were asked for."""

    def __init__(self, key: SigningKey) -> None:
        self.key = key
        self.used_at = time.monotonic()
        self.works = True
        self._asked = self._answered = self._forgotten = 0
        self._unsent = b""
        self._received = b""
        self._signatures: dict[int, bytes] = {}
        words = [sys.executable, "-m", "mail.queue.signing_child"]
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        self._child = subprocess.Popen(
            words, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )
        private = base64.b64decode(key.private)
        self._unsent = len(private).to_bytes(4, "big") + private

    def begin(self, octets: bytes) -> Callable[[], bytes]:
        """Ask for the signature of some octets; what is returned gives it. Nothing is sent before that or ``send``."""
        number = self._asked
        self._asked += 1
        self._unsent += hashlib.sha256(octets).digest()
        return lambda: self._signature(number) or self.key.sign(octets)

    def send(self) -> None:
        """Let the process begin with what it was asked for."""
        unsent, self._unsent = self._unsent, b""
        try:
            while unsent and self.works:
                assert self._child.stdin is not None
                unsent = unsent[self._child.stdin.write(unsent) or 0 :]
        except (OSError, ValueError):
            self._give_up()

    def forget(self) -> None:
        """Leave what was asked for and not taken: nobody will."""
        self.send()
        self._forgotten = self._asked
        self._signatures.clear()

    def close(self) -> None:
        """End the process."""
        self.works = False
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]

    def _signature(self, number: int) -> bytes | None:
        self.send()
        try:
            while self.works and number >= self._answered:
                self._receive()
        except (OSError, ValueError):
            self._give_up()
        return self._signatures.pop(number, None)

    def _receive(self) -> None:
        assert self._child.stdout is not None
        answers = select.poll()  # select() knows no files above 1023
        answers.register(self._child.stdout, select.POLLIN)
        received = os.read(self._child.stdout.fileno(), 65536) if answers.poll(PATIENCE * 1000) else b""
        if not received:
            raise BrokenPipeError("the signing process does not answer")
        self._received += received
        while len(self._received) >= SIGNATURE:
            if self._answered >= self._forgotten:
                self._signatures[self._answered] = self._received[:SIGNATURE]
            self._received = self._received[SIGNATURE:]
            self._answered += 1

    def _give_up(self) -> None:
        if self.works:
            log.warning("a signing process failed; this thread signs")
            self.close()


class SigningProcesses:
    """The signing processes of this process: one core stays for the threads that send, each other core may have one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[SigningProcess] = []
        self._lent = 0

    def take(self, key: SigningKey) -> SigningProcess | None:
        """Lend a process that signs with a key, None where that would not help."""
        if key.algorithm != "rsa" or not key.private:
            return None
        with self._lock:
            if self._lent >= len(os.sched_getaffinity(0)) - 1:
                return None
            self._lent += 1
            same = next((process for process in self._idle if process.key == key), None)
            # One with another key makes room.
            old = None if same or self._has_room() else self._idle[0]
            self._idle = [process for process in self._idle if process not in (same, old)]
        if old:
            old.close()
        return same or self._started(key)

    def _has_room(self) -> bool:
        return self._lent + len(self._idle) < len(os.sched_getaffinity(0))

    def _started(self, key: SigningKey) -> SigningProcess | None:
        try:
            return SigningProcess(key)
        except (OSError, ValueError, subprocess.SubprocessError):
            log.warning("no signing process could be started")
            with self._lock:
                self._lent -= 1
            return None

    def give_back(self, process: SigningProcess) -> None:
        """Keep a process for the next who needs it."""
        process.forget()
        process.used_at = time.monotonic()
        with self._lock:
            self._lent -= 1
            if process.works:
                self._idle.append(process)

    def close_idle(self, seconds: float = IDLE) -> None:
        """End those that were not used for a while."""
        late = time.monotonic() - seconds
        with self._lock:
            old = [process for process in self._idle if process.used_at <= late]
            self._idle = [process for process in self._idle if process.used_at > late]
        for process in old:
            process.close()

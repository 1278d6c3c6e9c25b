"""A gate before a server: it passes everything on, until it falls silent and holds what is connected to it."""

import contextlib
import socket
import threading
from collections.abc import Iterator

from tests.servers.misbehaving import misbehaving
from tests.servers.process import HOST


class Gate:
    """``port`` leads to the server behind it. While it is silent nothing passes, not even the end of a connection."""

    def __init__(self, behind: int) -> None:
        self.port = 0
        self._behind = behind
        self._open = threading.Event()
        self._open.set()

    def fall_silent(self) -> None:
        """Let nothing pass any more, in both directions and on all connections."""
        self._open.clear()

    def open(self) -> None:
        """Let everything pass again, also what was said meanwhile."""
        self._open.set()

    def forget(self) -> None:
        """Let new connections pass; those that were silenced stay so, as behind a firewall that lost its memory."""
        self._open = threading.Event()
        self._open.set()

    def talk(self, client: socket.socket) -> None:
        """Connect a client with the server."""
        passes = self._open
        passes.wait()
        with socket.create_connection((HOST, self._behind)) as server:
            back = threading.Thread(target=self._pass, args=(server, client, passes), daemon=True)
            back.start()
            self._pass(client, server, passes)
            back.join()

    def _pass(self, source: socket.socket, target: socket.socket, passes: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                passes.wait()
                target.sendall(data)
        passes.wait()
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def gate(behind: int) -> Iterator[Gate]:
    """Give a gate before the server at this port, for the time of the block."""
    made = Gate(behind)
    with misbehaving(made.talk) as port:
        made.port = port
        yield made
        made.open()

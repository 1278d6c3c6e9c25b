"""A server that speaks a script: only for faults that a real one can't be made to have."""

import contextlib
import select
import socket
import threading
from collections.abc import Callable, Iterator

from tests.servers.process import HOST

Script = Callable[[socket.socket], None]


@contextlib.contextmanager
def misbehaving(script: Script) -> Iterator[int]:
    """Run ``script`` with each connection, in a thread of its own, and give the port; all end with the block."""
    open_sockets: list[socket.socket] = []
    listener = socket.create_server((HOST, 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            open_sockets.append(connection)
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    def talk(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            script(connection)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in open_sockets:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def silent(connection: socket.socket) -> None:
    """Accept and never say a word."""
    connection.recv(1)


def says(*answers: bytes) -> Script:
    """Return a script that says the first answer at once and each other one after something was received."""

    def script(connection: socket.socket) -> None:
        connection.sendall(answers[0])
        for answer in answers[1:]:
            if not connection.recv(65536):
                return
            connection.sendall(answer)
        connection.recv(65536)

    return script


def dialogue(greeting: bytes, replies: dict[bytes, bytes], otherwise: bytes) -> Script:
    """Return a script that answers each line by the first key that it contains; ``%t`` becomes the tag of the line."""

    def script(connection: socket.socket) -> None:
        connection.sendall(greeting)
        for line in connection.makefile("rb"):
            tag = line.split(b" ", 1)[0].strip()
            found = next((reply for key, reply in replies.items() if key in line.upper()), otherwise)
            connection.sendall(found.replace(b"%t", tag))

    return script


SILENT_AT = ("greeting", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "dot", "drip")


def silent_at(moment: str) -> Script:
    """Return an SMTP server that falls silent at one moment and keeps the connection open; ``drip``: byte by byte."""

    def script(connection: socket.socket) -> None:
        def stay() -> None:
            while connection.recv(65536):
                pass

        if moment == "greeting":
            return stay()
        connection.sendall(b"220 silent.test ESMTP\r\n")
        lines = connection.makefile("rb")
        for line in lines:
            command = line.split(maxsplit=1)[0].decode("latin-1").lower()
            if command == "data" and moment == "dot":
                connection.sendall(b"354 go on\r\n")
                while lines.readline() not in (b".\r\n", b""):
                    pass
                return stay()
            if command == moment:
                return stay()
            if moment == "drip" and command == "rcpt":
                with contextlib.suppress(OSError):
                    while not select.select([connection], [], [], 0.5)[0]:  # until the other side hangs up
                        connection.sendall(b"2")
                return None
            if command == "ehlo":
                connection.sendall(b"250-silent.test\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n")
            else:
                connection.sendall(b"354 go on\r\n" if command == "data" else b"250 fine\r\n")
        return None

    return script

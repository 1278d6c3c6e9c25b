"""Waking the worker: what was committed is acted on at once, not at the next tick."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from mail.settings.config import settings
from models import db

CHANNEL = "coquimail_wake"
LONGEST = 100  # octets of a path that fit into the address of a Unix socket, with some to spare


def wake(topic: str = "queue") -> None:
    """Tell all workers that there is something to do; call it after the commit. Never raises.

    A lost call costs them one second.
    """
    folder = settings().wake_folder
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        for path in list(folder.glob("*.sock")) if folder.is_dir() else []:
            # A worker that is gone, or one that has more calls waiting than it needs, misses nothing.
            with suppress(OSError), reachable(path) as address:
                sender.sendto(topic.encode(), address)
    if db.engine.dialect.name == "postgresql":
        # What was committed is committed: a failure here must not make it look unsaved.
        with suppress(SQLAlchemyError), db.engine.connect() as pooled:
            connection = pooled.execution_options(isolation_level="AUTOCOMMIT")
            connection.execute(text("SELECT pg_notify(:channel, :topic)"), {"channel": CHANNEL, "topic": topic})


@contextmanager
def reachable(path: Path) -> Iterator[str]:
    """Give a name for a socket that its address can hold, however long the path of the data folder is."""
    if len(os.fsencode(path)) <= LONGEST:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)

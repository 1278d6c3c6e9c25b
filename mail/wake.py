"""Waking the worker: what was committed is acted on at once, not at the next tick."""

import socket
from pathlib import Path

from sqlalchemy import text

from mail.config import settings
from models import db

CHANNEL = "coquimail_wake"


def wake(topic: str = "queue") -> None:
    """Tell all workers that there is something to do; call it after the commit. A lost call costs them one second."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        for path in _sockets():
            try:
                sender.sendto(topic.encode(), str(path))
            except OSError:  # a worker that is gone, or one that has more calls waiting than it needs
                continue
    if db.engine.dialect.name == "postgresql":
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("SELECT pg_notify(:channel, :topic)"), {"channel": CHANNEL, "topic": topic})


def _sockets() -> list[Path]:
    folder = settings().wake_folder
    return list(folder.glob("*.sock")) if folder.is_dir() else []

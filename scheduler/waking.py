"""Hearing the wake: a datagram on this machine, and on PostgreSQL a notification from any machine."""

import contextlib
import os
import select as readiness
import socket
from pathlib import Path
from typing import Any

from mail.settings.config import settings
from mail.settings.wake import CHANNEL, reachable
from models import db
from scheduler.identity import WorkerIdentity
from scheduler.loops import LoopNotifier

PATIENCE = 5.0  # seconds after which the listener looks whether it is to end, and whether the worker's row is a new one


class WakeListener:
    """The loop that waits for wakes and rings the others."""

    def __init__(self, identity: WorkerIdentity) -> None:
        self._identity = identity
        self.notifier = LoopNotifier([])
        self._path: Path | None = None
        self._socket: socket.socket | None = None
        self._database: Any = None

    def work(self) -> bool:
        """Wait for wakes for a few seconds and hand them on."""
        self._listen(self._identity.current().id)
        assert self._socket is not None
        sources = [self._socket, *([self._database] if self._database is not None else [])]
        ready, _, _ = readiness.select(sources, [], [], PATIENCE)
        topics = self._heard() if ready else []
        if topics:
            self.notifier.notify(topics)
        return True

    def wake(self) -> None:
        """End the present wait."""
        if self._path is not None:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as waker:
                waker.setblocking(False)
                with reachable(self._path) as address:
                    waker.sendto(b"", address)

    def close(self) -> None:
        """Stop listening and take our name away."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._path = None
        if self._database is not None:
            self._database.close()
            self._database = None

    def _listen(self, worker_id: int) -> None:
        path = settings().wake_folder / f"{worker_id}.sock"
        if self._socket is None or self._path != path or not path.exists():
            if self._socket is not None:
                self._socket.close()
            if self._path is not None:
                self._path.unlink(missing_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.unlink(missing_ok=True)
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
            with reachable(path) as address:
                self._socket.bind(address)
            os.chmod(path, 0o600)
            self._path = path
        if self._database is None and db.engine.dialect.name == "postgresql":
            self._database = _listening_connection()

    def _heard(self) -> list[str]:
        assert self._socket is not None
        topics = []
        with contextlib.suppress(BlockingIOError):
            while True:
                topics.append(self._socket.recv(256).decode(errors="replace"))
        if self._database is not None:
            cut_off = db.engine.dialect.loaded_dbapi.Error
            try:
                topics += [notice.payload for notice in self._database.notifies(timeout=0)]
            except cut_off:  # the next look connects again, or finds the database away
                self._database.close()
                self._database = None
        return [topic for topic in topics if topic]


def _listening_connection() -> Any:
    """Return a connection of its own to PostgreSQL that hears every wake; it never goes back into the pool."""
    pooled = db.engine.raw_connection()
    connection: Any = pooled.driver_connection
    pooled.detach()
    connection.rollback()
    connection.autocommit = True
    connection.execute(f"LISTEN {CHANNEL}")
    return connection

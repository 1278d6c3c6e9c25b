"""SQLite as this product uses it: how a connection is prepared, and how writers take turns.

One transaction writes at a time. SQLite's own waiting has no queue and sleeps up to a tenth of a second: whoever writes
one short transaction after the other keeps all others out. Here who waits looks every millisecond and says that it
waits, by a shared lock on a file beside the database; long work that is cut into slices asks ``someone_waits`` between
two of them. There are two such files: who waits does so for a person, unless it works ``patiently``.
"""

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from sqlalchemy import Connection, Engine

LOOK_EVERY = 0.001  # seconds between two tries of a writer that waits
BUSY = sqlite3.SQLITE_BUSY

_patient: ContextVar[bool] = ContextVar("patient", default=False)


def prepare(dbapi_connection: Any, _record: Any) -> None:
    """Set up a new connection."""
    # Python's own transaction handling commits behind our back and breaks savepoints; we say BEGIN ourselves.
    dbapi_connection.isolation_level = None
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        "temp_store = MEMORY",
        "cache_size = -2000",  # KB: a worker has a connection for every thread
    ):
        dbapi_connection.execute(f"PRAGMA {pragma}")


def begin_reading(connection: Connection) -> None:
    """Begin a transaction that waits for no writer and can change nothing."""
    connection.exec_driver_sql("PRAGMA query_only = ON")
    connection.exec_driver_sql("BEGIN")


def begin_writing(connection: Connection) -> None:
    """Begin a transaction with the write lock, as soon as it is free.

    A transaction that reads first and writes later loses its write to another one; taking the lock first cannot.
    """
    connection.exec_driver_sql("PRAGMA query_only = OFF")
    raw: Any = connection.connection.driver_connection
    patience = raw.execute("PRAGMA busy_timeout").fetchone()[0]
    raw.execute("PRAGMA busy_timeout = 0")
    try:
        begun = _begun(raw) or _begun_later(raw, connection.engine, patience / 1000)
    except sqlite3.Error:
        begun = False
    finally:
        raw.execute(f"PRAGMA busy_timeout = {patience}")
    if not begun:
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # a last time, for the error as everybody knows it


def _begun(raw: Any) -> bool:
    try:
        raw.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF == BUSY:
            return False
        raise
    return True


def _begun_later(raw: Any, engine: Engine, patience: float) -> bool:
    until = time.monotonic() + patience
    with waiting(engine, patient=_patient.get()):
        while time.monotonic() < until:
            time.sleep(LOOK_EVERY)
            if _begun(raw):
                return True
    return False


# --- who waits


@contextmanager
def patiently() -> Iterator[None]:
    """Wait inside this block like work for which nobody sits and waits (docs/decisions/0086)."""
    token = _patient.set(True)
    try:
        yield
    finally:
        _patient.reset(token)


@contextmanager
def waiting(engine: Engine, patient: bool) -> Iterator[None]:
    """Say to all processes that somebody waits for the write lock."""
    with _flag(engine, patient) as flag:
        if flag is not None:
            fcntl.flock(flag, fcntl.LOCK_SH)
        yield


def someone_waits(engine: Engine, patient: bool) -> bool:
    """Return whether somebody waits for the write lock, patiently or not, in any process."""
    with _flag(engine, patient) as flag:
        try:
            if flag is not None:
                fcntl.flock(flag, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextmanager
def _flag(engine: Engine, patient: bool) -> Iterator[int | None]:
    """The open file beside the database; None on a disk that has no room for it: then nobody is told."""
    name = f"{engine.url.database}-{'patient' if patient else 'waiting'}"
    try:
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)

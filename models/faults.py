"""What a failed statement says about the database: away, busy, out of room; or about what it was given."""

import errno
import sqlite3
from enum import Enum

from sqlalchemy.exc import DataError, DBAPIError, InterfaceError, OperationalError, TimeoutError

OUT_OF_ROOM = (errno.ENOSPC, errno.EDQUOT)


class DatabaseFault(Enum):
    """Why a statement failed, as far as a person can do something about it."""

    AWAY = "away"  # stopped, starting, unreachable, no connection left: it comes back
    BUSY = "busy"  # another program or transaction holds what was needed
    FULL = "full"  # no room on the disk
    BROKEN = "broken"  # its files can't be read or written
    UNSTORABLE = "unstorable"  # a value that no column can hold: too large, or with a character that is none


# What PostgreSQL and SQLite say, by the beginning of their code; the longest that fits counts.
_CODES = {
    "08": DatabaseFault.AWAY,
    "22": DatabaseFault.UNSTORABLE,
    "25P03": DatabaseFault.AWAY,  # it heard nothing of us in the middle of a transaction
    "28": DatabaseFault.AWAY,  # it does not let us in
    "3D": DatabaseFault.AWAY,  # no such database
    "40": DatabaseFault.BUSY,  # serialisation, deadlock
    "53": DatabaseFault.AWAY,  # no connections, no memory
    "53100": DatabaseFault.FULL,
    "55P03": DatabaseFault.BUSY,
    "57": DatabaseFault.AWAY,  # shutting down, starting up
    "57014": DatabaseFault.BUSY,  # a statement that took too long
    "58": DatabaseFault.BROKEN,
    "XX001": DatabaseFault.BROKEN,
    "XX002": DatabaseFault.BROKEN,
    "SQLITE_BUSY": DatabaseFault.BUSY,
    "SQLITE_LOCKED": DatabaseFault.BUSY,
    "SQLITE_FULL": DatabaseFault.FULL,
    "SQLITE_IOERR": DatabaseFault.BROKEN,
    "SQLITE_IOERR_SHMSIZE": DatabaseFault.FULL,
    "SQLITE_CANTOPEN": DatabaseFault.BROKEN,
    "SQLITE_CORRUPT": DatabaseFault.BROKEN,
    "SQLITE_NOTADB": DatabaseFault.BROKEN,
}


def fault_of(error: BaseException) -> DatabaseFault | None:
    """Return what an error says about the database, the disk or the values; None for any other error.

    >>> fault_of(OSError(errno.ENOSPC, "No space left on device"))
    <DatabaseFault.FULL: 'full'>
    >>> fault_of(ZeroDivisionError())
    """
    match error:
        case DBAPIError():
            return _of_database(error)
        case _ if _is_psycopgs(error):  # while a connection is made
            return DatabaseFault.AWAY
        case TimeoutError():  # all connections of this process are in use
            return DatabaseFault.BUSY
        case OSError() if error.errno in OUT_OF_ROOM:
            return DatabaseFault.FULL
        case OverflowError() | UnicodeEncodeError():  # SQLite's driver: beyond 64 bits, or half a character
            return DatabaseFault.UNSTORABLE
    return None


def keeps_waiting(error: BaseException) -> bool:
    """Whether the database can't do its work just now, whatever it is asked: nobody's mail is to blame, it waits."""
    return fault_of(error) in (DatabaseFault.AWAY, DatabaseFault.BUSY, DatabaseFault.FULL, DatabaseFault.BROKEN)


def _of_database(error: DBAPIError) -> DatabaseFault | None:
    code = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "sqlite_errorname", None) or ""
    found = max((known for known in _CODES if code.startswith(known)), key=len, default="")
    if found:
        return _CODES[found]
    if error.connection_invalidated or (not code and isinstance(error, OperationalError | InterfaceError)):
        return DatabaseFault.AWAY
    return DatabaseFault.UNSTORABLE if isinstance(error, DataError) else None


def _is_psycopgs(error: BaseException) -> bool:
    """Whether psycopg itself says that its server is away; an office on SQLite never loads it."""
    return any((kind.__module__, kind.__name__) == ("psycopg", "OperationalError") for kind in type(error).__mro__)


def names_values(error: BaseException) -> bool:
    """Whether the words of an error may hold what people typed: those of a database driver do."""
    driver = type(error).__module__.partition(".")[0] in ("psycopg", "sqlite3")
    return driver or isinstance(error, DBAPIError | sqlite3.Error)

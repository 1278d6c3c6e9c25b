"""What an error says about the database, and what of it is written to the log."""

import errno
import logging
import sqlite3
import sys

import psycopg
import pytest
from sqlalchemy import exc

from mail.settings.logs import DiscreetFormatter
from models.faults import DatabaseFault, fault_of

PLACE = ("INSERT INTO document (title) VALUES (?)", {})


def postgresql(code: str, kind: type[exc.DBAPIError] = exc.OperationalError, gone: bool = False) -> exc.DBAPIError:
    driver = psycopg.errors.lookup(code)("secret words") if code else psycopg.OperationalError("connection failed")
    return kind(*PLACE, driver, connection_invalidated=gone)


def sqlite(code: str) -> exc.DBAPIError:
    driver = sqlite3.OperationalError("secret words")
    driver.sqlite_errorname = code
    return exc.OperationalError(*PLACE, driver)


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (postgresql(""), DatabaseFault.AWAY),  # nobody answers
        (postgresql("57P01", gone=True), DatabaseFault.AWAY),  # shut down by an administrator
        (postgresql("57P02"), DatabaseFault.AWAY),
        (postgresql("25P03"), DatabaseFault.AWAY),  # it heard nothing of us in the middle of a transaction
        (postgresql("3D000"), DatabaseFault.AWAY),  # no such database
        (postgresql("28P01"), DatabaseFault.AWAY),  # another password
        (postgresql("57P03"), DatabaseFault.AWAY),  # starting up
        (postgresql("53300"), DatabaseFault.AWAY),  # too many connections
        (postgresql("08006", gone=True), DatabaseFault.AWAY),
        (postgresql("57014"), DatabaseFault.BUSY),
        (postgresql("55P03"), DatabaseFault.BUSY),
        (postgresql("40P01"), DatabaseFault.BUSY),
        (postgresql("40001"), DatabaseFault.BUSY),
        (postgresql("53100"), DatabaseFault.FULL),
        (postgresql("58030"), DatabaseFault.BROKEN),
        (postgresql("22003", exc.DataError), DatabaseFault.UNSTORABLE),
        (postgresql("22001", exc.DataError), DatabaseFault.UNSTORABLE),
        (exc.DataError(*PLACE, psycopg.DataError("NUL")), DatabaseFault.UNSTORABLE),
        (postgresql("23505", exc.IntegrityError), None),
        (postgresql("42P01", exc.ProgrammingError), None),
        (sqlite("SQLITE_BUSY"), DatabaseFault.BUSY),
        (sqlite("SQLITE_BUSY_SNAPSHOT"), DatabaseFault.BUSY),
        (sqlite("SQLITE_LOCKED_SHAREDCACHE"), DatabaseFault.BUSY),
        (sqlite("SQLITE_FULL"), DatabaseFault.FULL),
        (sqlite("SQLITE_IOERR_SHMSIZE"), DatabaseFault.FULL),
        (sqlite("SQLITE_IOERR_WRITE"), DatabaseFault.BROKEN),
        (sqlite("SQLITE_CORRUPT_INDEX"), DatabaseFault.BROKEN),
        (sqlite("SQLITE_CANTOPEN"), DatabaseFault.BROKEN),
        (sqlite("SQLITE_READONLY"), None),  # a page that only reads wrote: that is our mistake
        (OverflowError("Python int too large to convert to SQLite INTEGER"), DatabaseFault.UNSTORABLE),
        (exc.TimeoutError(), DatabaseFault.BUSY),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), DatabaseFault.FULL),
        (OSError(errno.EACCES, "Permission denied"), None),
        (KeyError("x"), None),
    ],
)
def test_an_error_says_what_is_wrong_with_the_database(error: Exception, fault: DatabaseFault | None) -> None:
    assert fault_of(error) is fault


def test_the_log_names_the_statement_and_no_value() -> None:
    cause = psycopg.errors.UniqueViolation("secret words")
    try:
        try:
            raise postgresql("23505", exc.IntegrityError) from cause
        except exc.IntegrityError as error:
            raise ValueError("our own words") from error
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "x", 1, "it failed", (), sys.exc_info())
    said = DiscreetFormatter("%(message)s").format(record)
    assert "secret" not in said
    in_short = "IntegrityError: UniqueViolation (23505) INSERT INTO document (title) VALUES (?)"
    assert [word for word in ("it failed", "ValueError: our own words", in_short, __file__) if word not in said] == []

"""Connections to the database that never wait for ever: a server that is away or silent is an error, no standstill."""

from typing import Any

import psycopg
from psycopg import errors
from sqlalchemy import Engine, event

BUSY = 10.0  # seconds that SQLite waits for another writer
# PostgreSQL: seconds to connect, to keep a connection of which nothing is heard, and for the answer to a statement. The
# last one is for a server or a proxy that holds the connection and says nothing, which the kernel can't notice.
CONNECT, UNHEARD, SILENT = 5, 20, 30.0


class BoundedConnection(psycopg.Connection[Any]):
    """A connection to PostgreSQL that is closed when an answer does not come within ``patience`` seconds."""

    patience: float | None = SILENT

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for the server as psycopg does, but not for ever."""
        if timeout is not None or self.patience is None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.patience)
        except errors._WaitTimeout as error:
            self.pgconn.finish()
            raise psycopg.OperationalError(f"the database did not answer for {self.patience:.0f} s") from error


def engine_options(url: str, program: str, busy: float = BUSY, threads: int | None = None) -> dict[str, Any]:
    """Return how a door of the product connects: to SQLite or to PostgreSQL, for so many threads at the same time."""
    options: dict[str, Any] = {"pool_size": threads} if threads else {}
    if not url.startswith("postgresql"):
        return options | {"connect_args": {"timeout": busy}}
    connect = {
        "application_name": program,
        "connect_timeout": CONNECT,
        "keepalives_idle": UNHEARD // 2,
        "keepalives_interval": UNHEARD // 4,
        "keepalives_count": 2,
        "tcp_user_timeout": UNHEARD * 1000,
    }
    # A connection that was cut while it lay idle is replaced without anybody noticing.
    return options | {"pool_pre_ping": True, "connect_args": connect}


def bound(engine: Engine) -> None:
    """Make an engine for PostgreSQL use connections that don't wait for ever."""

    def connect(_dialect: Any, _record: Any, args: Any, options: Any) -> BoundedConnection:
        return BoundedConnection.connect(*args, **options)

    event.listen(engine, "do_connect", connect)


def without_limit(connection: Any) -> None:
    """Let the statements of a connection take as long as they need: those of a migration may."""
    if isinstance(connection.connection.driver_connection, BoundedConnection):
        connection.connection.driver_connection.patience = None

"""PostgreSQL as this product uses it. Imported where it is used: an office on SQLite has 9 MB a process more."""

from typing import Any

import psycopg
from psycopg import errors
from sqlalchemy import Engine, event

# Seconds for the answer to a statement: a server or a proxy that holds the connection and says nothing is nothing that
# the kernel can notice.
SILENT = 30.0


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


def bound(engine: Engine) -> None:
    """Make an engine for PostgreSQL use connections that don't wait for ever."""

    def connect(_dialect: Any, _record: Any, args: Any, options: Any) -> BoundedConnection:
        return BoundedConnection.connect(*args, **options)

    event.listen(engine, "do_connect", connect)


def without_limit(connection: Any) -> None:
    """Let the statements of a connection take as long as they need: those of a migration may."""
    connection.connection.driver_connection.patience = None

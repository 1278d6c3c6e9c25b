"""PostgreSQL as this product uses it. Imported where it is used: an office on SQLite has 9 MB a process more."""

import time
from typing import Any

import psycopg
from psycopg import errors
from sqlalchemy import Engine, event

from models.connect import IDLE_LIMIT, UNHEARD

# Seconds for the answer to a statement: a server or a proxy that holds the connection and says nothing is nothing that
# the kernel can notice. As long the server waits for our next statement when we have locked something.
SILENT = 30.0
KEEPALIVE = {"tcp_keepalives_idle": UNHEARD // 2, "tcp_keepalives_interval": UNHEARD // 4, "tcp_keepalives_count": 2}

# Sessions of the server that we can't reach any more, by process id, and when we gave each up. The server may not know,
# and keep what they have locked.
_given_up: dict[int, float] = {}
# A younger session under the same process id is somebody else's.
_END = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s "
    "AND application_name = current_setting('application_name') "
    "AND backend_start < clock_timestamp() - make_interval(secs => %s)"
)


class BoundedConnection(psycopg.Connection[Any]):
    """A connection to PostgreSQL that is closed when an answer does not come within ``patience`` seconds."""

    patience: float | None = SILENT
    server_pid = 0

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for the server as psycopg does, but not for ever."""
        try:
            return super().wait(gen, interval, self.patience if timeout is None else timeout)
        except errors._WaitTimeout as error:
            if timeout is not None:
                raise
            self.pgconn.finish()
            raise psycopg.OperationalError(f"the database did not answer for {self.patience:.0f} s") from error
        finally:
            if self.closed:
                _given_up[self.server_pid] = time.monotonic()

    def begin(self) -> None:
        """Agree with the server on when each gives the other up, and end the sessions that we gave up."""
        self.server_pid = self.info.backend_pid
        self.autocommit = True
        limits = {IDLE_LIMIT: int(SILENT * 1000)} | KEEPALIVE
        self.execute("; ".join(f"SET {name} = {value}" for name, value in limits.items()))
        for pid, at in list(_given_up.items()):
            self.execute(_END, [pid, time.monotonic() - at])
            _given_up.pop(pid, None)
        self.autocommit = False


def bound(engine: Engine) -> None:
    """Make an engine for PostgreSQL use connections that don't wait for ever."""

    def connect(_dialect: Any, _record: Any, args: Any, options: Any) -> BoundedConnection:
        made = BoundedConnection.connect(*args, **options)
        made.begin()
        return made

    event.listen(engine, "do_connect", connect)


def without_limit(connection: Any) -> None:
    """Let the statements of a connection take as long as they need, and what is between them: a migration may."""
    ours = connection.connection.driver_connection
    ours.patience = None
    ours.autocommit = True
    ours.execute(f"SET {IDLE_LIMIT} = 0")
    ours.autocommit = False

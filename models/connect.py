"""How the product connects to its database: never for ever, a server that is away is an error and no standstill."""

from typing import Any

BUSY = 10.0  # seconds that SQLite waits for another writer
CONNECT, UNHEARD = 5, 20  # seconds to connect to PostgreSQL, and to keep a connection of which nothing is heard

# PostgreSQL ends a transaction in which it hears nothing of us for so long: when we are gone, what it holds locked must
# not stay so. A reading one locks nothing and may wait, for somebody who loads an export slowly, say.
IDLE_LIMIT = "idle_in_transaction_session_timeout"
READING_IDLE = 600  # seconds
BEGIN_READING = f"SET TRANSACTION READ ONLY; SET LOCAL {IDLE_LIMIT} = '{READING_IDLE}s'"


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
    # A connection that was cut while it was idle is replaced without anybody noticing.
    return options | {"pool_pre_ping": True, "connect_args": connect}

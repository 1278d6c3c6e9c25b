"""Where the database of this process is: what tells a copy from the original."""

from contextlib import suppress
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from models.base import db

MACHINE_ID = Path("/etc/machine-id")  # given to a machine when it is installed; many containers have none


def database() -> tuple[str, str]:
    """Return what a database is known by, and the path of its file ("" on PostgreSQL, and for one in memory)."""
    if db.engine.dialect.name == "sqlite":
        path = Path(db.engine.url.database or "")
        return (f"file:{path.stat().st_ino}", str(path.resolve())) if path.is_file() else ("", "")
    oid = db.session.scalar(text("SELECT oid FROM pg_database WHERE datname = current_database()"))
    return f"pg:{_cluster()}:{oid}", ""


def _cluster() -> str:
    """The number that a PostgreSQL cluster got when it was made; where a hosted one does not tell, its address."""
    try:
        with db.session.begin_nested():
            return str(db.session.scalar(text("SELECT system_identifier FROM pg_control_system()")))
    except DBAPIError:
        url = db.engine.url
        return f"{url.host}:{url.port or ''}/{url.database}"


def server_name() -> str:
    """Return the machine of the database server as it was entered, "" for a file."""
    return db.engine.url.host or "" if db.engine.dialect.name != "sqlite" else ""


def name() -> str:
    """Return how the database is called."""
    return db.engine.url.database or ""


def machine() -> str:
    """Return the number of this machine, "" when it has none."""
    with suppress(OSError):
        return MACHINE_ID.read_text().strip()
    return ""

"""Alembic's door to the database of the running application."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from alembic import context
from flask import current_app
from sqlalchemy import JSON, Connection

import models
from models.base import Encrypted, UtcDateTime


def render(kind: str, item: Any, autogen_context: Any) -> str | bool:
    """Write our column types as the plain types below them, so that a migration outlives a rename."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(item, Encrypted):
        return "sa.String()"
    if kind == "type" and isinstance(item, JSON):
        autogen_context.imports.add("from sqlalchemy.dialects import postgresql")
        return 'sa.JSON().with_variant(postgresql.JSONB(), "postgresql")'
    return False


@contextmanager
def _rows_stay(connection: Connection) -> Iterator[None]:
    """SQLite changes a table by making it anew; dropping the old one would empty all that refers to its rows."""
    raw: Any = connection.connection.driver_connection
    if connection.dialect.name != "sqlite":
        yield
        return
    raw.execute("PRAGMA foreign_keys = OFF")  # means nothing inside a transaction
    try:
        yield
    finally:
        raw.execute("PRAGMA foreign_keys = ON")
    if broken := raw.execute("PRAGMA foreign_key_check").fetchall():
        raise RuntimeError(f"rows refer to others that are not there: {broken[:5]}")


def run() -> None:
    engine = current_app.extensions["migrate"].db.engine
    with engine.connect() as connection, _rows_stay(connection):
        if connection.dialect.name == "postgresql":
            from models.postgresql import without_limit

            without_limit(connection)
        context.configure(
            connection=connection,
            target_metadata=models.db.metadata,
            render_item=render,
            render_as_batch=engine.dialect.name == "sqlite",
            compare_type=True,
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()


run()

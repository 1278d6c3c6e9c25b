"""Alembic's door to the database of the running application."""

from typing import Any

from alembic import context
from flask import current_app
from sqlalchemy import JSON

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


def run() -> None:
    engine = current_app.extensions["migrate"].db.engine
    with engine.connect() as connection:
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

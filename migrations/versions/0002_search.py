"""Trigram indexes for searching in lists: pg_trgm on PostgreSQL, FTS5 with triggers on SQLite."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SEARCHED = {
    "blacklisted_address": ("address_key",),
    "contact": ("name", "address", "company"),
    "document": ("title", "number", "sender"),
    "mailing": ("subject",),
    "outgoing_recipient": ("address", "name"),
    "received_mail": ("subject", "from_text", "to_text"),
}


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
        for table, columns in SEARCHED.items():
            listed = ", ".join(f"{column} gin_trgm_ops" for column in columns)
            op.execute(f"CREATE INDEX ix_{table}_search ON {table} USING gin ({listed})")
        return
    for table, columns in SEARCHED.items():
        names = ", ".join(columns)
        new = ", ".join(f"new.{column}" for column in columns)
        old = ", ".join(f"old.{column}" for column in columns)
        add = f"INSERT INTO {table}_search (rowid, {names}) VALUES (new.id, {new});"
        remove = f"INSERT INTO {table}_search ({table}_search, rowid, {names}) VALUES ('delete', old.id, {old});"
        op.execute(
            f"CREATE VIRTUAL TABLE {table}_search "
            f"USING fts5({names}, content='{table}', content_rowid='id', tokenize='trigram')"
        )
        op.execute(f"INSERT INTO {table}_search ({table}_search) VALUES ('rebuild')")
        op.execute(f"CREATE TRIGGER {table}_search_added AFTER INSERT ON {table} BEGIN {add} END")
        op.execute(f"CREATE TRIGGER {table}_search_removed AFTER DELETE ON {table} BEGIN {remove} END")
        op.execute(f"CREATE TRIGGER {table}_search_changed AFTER UPDATE OF {names} ON {table} BEGIN {remove} {add} END")


def downgrade() -> None:
    for table in SEARCHED:
        if op.get_bind().dialect.name == "postgresql":
            op.execute(f"DROP INDEX ix_{table}_search")
            continue
        for moment in ("added", "removed", "changed"):
            op.execute(f"DROP TRIGGER {table}_search_{moment}")
        op.execute(f"DROP TABLE {table}_search")

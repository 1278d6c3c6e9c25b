"""On SQLite the newest row of a table whose numbers are in emails stays: else the next row would get its number."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

TABLES = ("post", "outgoing_recipient", "trace")


def upgrade() -> None:
    if op.get_bind().dialect.name != "sqlite":
        return
    for table in TABLES:
        op.execute(
            f"CREATE TRIGGER {table}_newest_stays BEFORE DELETE ON {table} "
            f"WHEN old.id = (SELECT max(id) FROM {table}) "
            f"BEGIN SELECT RAISE(ABORT, 'the newest row of {table} stays: its number is in emails'); END"
        )


def downgrade() -> None:
    if op.get_bind().dialect.name != "sqlite":
        return
    for table in TABLES:
        op.execute(f"DROP TRIGGER {table}_newest_stays")

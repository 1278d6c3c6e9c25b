"""Unique bounce addresses: a server gets them when its own test has passed; what nobody chose is not known."""

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _anew(sa.Column("verp", sa.Boolean(), nullable=True))


def downgrade() -> None:
    _anew(sa.Column("verp", sa.Boolean(), server_default=sa.text("true"), nullable=False))


def _anew(column: sa.Column[bool]) -> None:
    """Make the column anew beside the old one: SQLite would copy the table, to which others refer, to change it."""
    op.execute("ALTER TABLE outgoing_server RENAME COLUMN verp TO was")
    op.add_column("outgoing_server", column)
    op.execute("UPDATE outgoing_server SET verp = false WHERE NOT was")
    op.drop_column("outgoing_server", "was")

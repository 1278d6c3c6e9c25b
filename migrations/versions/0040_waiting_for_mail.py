"""Incoming servers: whether their mail is waited for, a shared mailbox, and the address of the mailbox."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
NEW = ("shared_mailbox", "address", "idle_since", "idle_why")


def upgrade() -> None:
    for name in NEW[:2]:
        op.add_column("incoming_server", sa.Column(name, sa.String(320), server_default="", nullable=False))
    op.add_column("incoming_server", sa.Column("idle_since", sa.DateTime(timezone=True), nullable=True))
    op.add_column("incoming_server", sa.Column("idle_why", JSON, nullable=True))


def downgrade() -> None:
    for name in reversed(NEW):
        op.drop_column("incoming_server", name)

"""Outgoing servers: connections at once, emails per connection, extra headers."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

LIMITS = ("connections", "per_connection")


def upgrade() -> None:
    for name in LIMITS:
        op.add_column("outgoing_server", sa.Column(name, sa.Integer(), nullable=True))
    op.add_column("outgoing_server", sa.Column("headers", sa.Text(), server_default="", nullable=False))


def downgrade() -> None:
    op.drop_column("outgoing_server", "headers")
    for name in reversed(LIMITS):
        op.drop_column("outgoing_server", name)

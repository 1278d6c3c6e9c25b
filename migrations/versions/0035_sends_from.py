"""Outgoing servers: the public addresses that they send from, or what to include in SPF."""

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("outgoing_server", sa.Column("sends_from", sa.String(1000), server_default="", nullable=False))


def downgrade() -> None:
    op.drop_column("outgoing_server", "sends_from")

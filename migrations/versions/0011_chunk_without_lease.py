"""A chunk needs no lease of its own: it is its worker's, whose row has one."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_column("chunk", "lease_until")


def downgrade() -> None:
    op.add_column("chunk", sa.Column("lease_until", sa.Float, nullable=False, server_default="0"))

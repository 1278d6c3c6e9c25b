"""Bounce addresses: when an email to one with a plus arrived."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("alias", sa.Column("plus_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("alias", "plus_at")

"""Servers: how large an email each of them takes, as it says itself."""

import sqlalchemy as sa
from alembic import op

revision = "0046"
down_revision = "0045"
branch_labels = None
depends_on = None


def upgrade() -> None:
    largest = sa.Column("largest", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True)
    op.add_column("server_limit", largest)


def downgrade() -> None:
    op.drop_column("server_limit", "largest")

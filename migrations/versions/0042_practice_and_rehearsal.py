"""The practice mailbox knows which email each of its copies is, and what else a recipient did with it."""

import sqlalchemy as sa
from alembic import op

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None

NUMBERS, MOMENTS = ("line_id", "trace_id"), ("delayed_at", "away_at", "complained_at")


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    for name in NUMBERS:
        op.add_column("practice_mail", sa.Column(name, number, nullable=True))
    for name in MOMENTS:
        op.add_column("practice_mail", sa.Column(name, sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    for name in (*NUMBERS, *MOMENTS):
        op.drop_column("practice_mail", name)

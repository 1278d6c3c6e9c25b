"""Limits of outgoing servers, and how much of them is used."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

LIMITS = ("per_second", "per_minute", "per_hour", "per_day")


def upgrade() -> None:
    for name in LIMITS:
        op.add_column("outgoing_server", sa.Column(name, sa.Integer(), nullable=True))
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "quota",
        sa.Column("server_id", number, autoincrement=False, nullable=False),
        sa.Column("seconds", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("window_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("server_id", "seconds", name=op.f("pk_quota")),
    )


def downgrade() -> None:
    op.drop_table("quota")
    for name in reversed(LIMITS):
        op.drop_column("outgoing_server", name)

"""Renewal of access tokens: one at a time, never over newer ones, and what admins were warned of."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    none_yet = {"nullable": False, "server_default": sa.text("0")}
    for column in (
        sa.Column("generation", sa.Integer(), **none_yet),
        sa.Column("leased_until", sa.Double(), **none_yet),
        sa.Column("forced", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        sa.Column("retry_at", MOMENT, nullable=True),
        sa.Column("retries", sa.Integer(), **none_yet),
        sa.Column("warned_of", MOMENT, nullable=True),
    ):
        op.add_column("oauth_account", column)
    op.add_column("oauth_provider", sa.Column("warned_of", MOMENT, nullable=True))


def downgrade() -> None:
    op.drop_column("oauth_provider", "warned_of")
    for name in ("warned_of", "retries", "retry_at", "forced", "leased_until", "generation"):
        op.drop_column("oauth_account", name)

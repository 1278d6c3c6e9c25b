"""The daily digest: who gets it, and when the last one was."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("user", sa.Column("digest", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.add_column("user", sa.Column("digested_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("user", "digested_at")
    op.drop_column("user", "digest")

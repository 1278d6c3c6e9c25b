"""Servers that are drafts until a test passed, which settings a test was made with, and certificates trusted by hand."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    draft = sa.Column("draft", sa.Boolean(), nullable=False, server_default=sa.false())
    op.add_column("outgoing_server", draft)  # those that are there send already
    for table in ("outgoing_server", "incoming_server"):
        op.add_column(table, sa.Column("trusted_certificate", sa.String(64), nullable=False, server_default=""))
    op.add_column("server_check", sa.Column("tested", sa.String(32), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("server_check", "tested")
    for table in ("incoming_server", "outgoing_server"):
        op.drop_column(table, "trusted_certificate")
    op.drop_column("outgoing_server", "draft")

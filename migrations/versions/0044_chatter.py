"""The chatter: whom a received mail names in To and Cc; files that are too large for a mail leave as links."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "post", sa.Column("addressed", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True)
    )
    op.add_column(
        "attachment", sa.Column("link_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True)
    )
    given = sa.text("link_id IS NOT NULL")
    op.create_index(
        "ix_attachment_link_id", "attachment", ["link_id"], unique=True, sqlite_where=given, postgresql_where=given
    )


def downgrade() -> None:
    op.drop_index("ix_attachment_link_id", "attachment")
    op.drop_column("attachment", "link_id")
    op.drop_column("post", "addressed")

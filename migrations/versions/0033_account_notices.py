"""A refresh token is used before it ends, and admins are told of each trouble of an account once."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("oauth_account", sa.Column("use_by", sa.DateTime(timezone=True), nullable=True))
    op.add_column("oauth_account", sa.Column("told", JSON, nullable=True))


def downgrade() -> None:
    op.drop_column("oauth_account", "told")
    op.drop_column("oauth_account", "use_by")

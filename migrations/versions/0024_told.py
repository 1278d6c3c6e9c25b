"""What the daily digest has told of: noted for each failure, in place of a moment before which all of them were."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("notification", sa.Column("told_at", sa.DateTime(timezone=True), nullable=True))
    told_until = """(SELECT digested_at FROM "user" WHERE "user".id = notification.user_id)"""
    op.execute(
        f"UPDATE notification SET told_at = {told_until} "
        f"WHERE kind = 'failure' AND read_at IS NULL AND at <= {told_until}"
    )


def downgrade() -> None:
    op.drop_column("notification", "told_at")

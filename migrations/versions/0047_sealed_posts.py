"""Posts: that a mail is signed or encrypted is noted beside what is known of its sender, and no longer in its place."""

import sqlalchemy as sa
from alembic import op

revision = "0047"
down_revision = "0046"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("post", sa.Column("sealed", sa.String(20), server_default="", nullable=False))
    op.execute("UPDATE post SET sealed = mark, mark = '' WHERE mark IN ('signed', 'encrypted')")


def downgrade() -> None:
    op.execute("UPDATE post SET mark = sealed WHERE sealed <> '' AND mark IN ('', 'verified')")
    op.drop_column("post", "sealed")

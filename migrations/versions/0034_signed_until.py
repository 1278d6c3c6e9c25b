"""When a key signed last, also of one that was only stopped: its record is needed as long as after a retirement."""

from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE dkim_key RENAME COLUMN retired_at TO signed_until")


def downgrade() -> None:
    op.execute("ALTER TABLE dkim_key RENAME COLUMN signed_until TO retired_at")

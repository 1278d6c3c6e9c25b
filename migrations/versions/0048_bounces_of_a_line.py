"""Bounces: a line counts once for each address that it was sent to, since a person may have corrected it."""

import sqlalchemy as sa
from alembic import op

revision = "0048"
down_revision = "0047"
branch_labels = None
depends_on = None

NAME, ON_SQLITE, ON_POSTGRESQL = "uq_bounce_recipient_counted", sa.text("counted = 1"), sa.text("counted")


def upgrade() -> None:
    _count_once_for("recipient_id", "address_key")


def downgrade() -> None:
    first = "SELECT min(id) FROM bounce WHERE counted AND recipient_id IS NOT NULL GROUP BY recipient_id"
    op.execute(f"UPDATE bounce SET counted = false WHERE counted AND recipient_id IS NOT NULL AND id NOT IN ({first})")
    _count_once_for("recipient_id")


def _count_once_for(*columns: str) -> None:
    op.drop_index(NAME, "bounce")
    op.create_index(NAME, "bounce", list(columns), unique=True, sqlite_where=ON_SQLITE, postgresql_where=ON_POSTGRESQL)

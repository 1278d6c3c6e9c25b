"""Lines that wait for a limit are found by their email."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    waits = sa.text("state = 'queued' AND wait = 'limit'")
    op.create_index(
        "ix_outgoing_recipient_limited", "outgoing_recipient", ["mail_id"], sqlite_where=waits, postgresql_where=waits
    )


def downgrade() -> None:
    op.drop_index("ix_outgoing_recipient_limited", table_name="outgoing_recipient")

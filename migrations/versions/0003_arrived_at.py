"""When a received mail arrived at its own server, by which the loop brake counts."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Not by a copy of the table: the search triggers of SQLite would go with the old one.
    moment = sa.Column("arrived_at", sa.DateTime(timezone=True), nullable=False, server_default="1970-01-01 00:00:00")
    op.add_column("received_mail", moment)
    op.execute("UPDATE received_mail SET arrived_at = received_at")
    op.create_index("ix_received_mail_from_key_arrived_at", "received_mail", ["from_key", "arrived_at"])
    op.drop_index("ix_received_mail_from_key_received_at", "received_mail")


def downgrade() -> None:
    op.create_index("ix_received_mail_from_key_received_at", "received_mail", ["from_key", "received_at"])
    op.drop_index("ix_received_mail_from_key_arrived_at", "received_mail")
    op.drop_column("received_mail", "arrived_at")

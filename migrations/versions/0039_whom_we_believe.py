"""Whose checks of senders count for the emails of a mailbox, and why a post is marked."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
MODES = "sender_checks IN ('learn', 'set', 'off')"


def upgrade() -> None:
    with op.batch_alter_table("incoming_server") as table:
        table.add_column(sa.Column("sender_checks", sa.String(10), nullable=False, server_default="learn"))
        table.add_column(sa.Column("checked_by", sa.String(255), nullable=False, server_default=""))
        table.add_column(sa.Column("checks_seen", JSON))
        table.create_check_constraint(op.f("ck_incoming_server_sender_checks"), MODES)
    op.add_column("post", sa.Column("mark_why", JSON))


def downgrade() -> None:
    op.drop_column("post", "mark_why")
    with op.batch_alter_table("incoming_server") as table:
        table.drop_constraint(op.f("ck_incoming_server_sender_checks"), type_="check")
        for name in ("checks_seen", "checked_by", "sender_checks"):
            table.drop_column(name)

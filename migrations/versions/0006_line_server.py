"""Each line of the queue knows its server, so that a long queue for one costs the others nothing."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

QUEUED = {"sqlite_where": sa.text("state = 'queued'"), "postgresql_where": sa.text("state = 'queued'")}


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    # Not by a copy of the table: the search triggers of SQLite would go with the old one.
    op.add_column("outgoing_recipient", sa.Column("server_id", number, nullable=False, server_default="0"))
    op.execute(
        "UPDATE outgoing_recipient SET server_id = coalesce("
        "(SELECT server_id FROM outgoing_mail WHERE outgoing_mail.id = outgoing_recipient.mail_id), 0)"
    )
    op.drop_index("ix_outgoing_recipient_due", "outgoing_recipient")
    columns = ["state", "server_id", "next_try_at", "id"]
    op.create_index("ix_outgoing_recipient_due", "outgoing_recipient", columns, **QUEUED)


def downgrade() -> None:
    op.drop_index("ix_outgoing_recipient_due", "outgoing_recipient")
    op.create_index("ix_outgoing_recipient_due", "outgoing_recipient", ["state", "next_try_at", "id"], **QUEUED)
    op.drop_column("outgoing_recipient", "server_id")

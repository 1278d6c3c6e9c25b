"""Received emails: the address of ours that nobody has, for the alias adviser; sums by state and result."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None

CODE = "route_unknown_address"


def upgrade() -> None:
    op.add_column("received_mail", sa.Column("unknown_address", sa.String(320), nullable=False, server_default=""))
    _fill()
    where = sa.text("unknown_address <> ''")
    op.create_index(
        "ix_received_mail_unknown", "received_mail", ["unknown_address", "id"],
        sqlite_where=where, postgresql_where=where,
    )  # fmt: skip
    op.create_index("ix_received_mail_state_result", "received_mail", ["state", "result", "id"])


def _fill() -> None:
    """Take the address from what was decided about each email that waits."""
    mails = sa.table(
        "received_mail", sa.column("id"), sa.column("state"), sa.column("decision"), sa.column("unknown_address")
    )
    query = sa.select(mails.c.id, mails.c.decision).where(mails.c.state == "quarantined")
    for row in op.get_bind().execute(query).all():
        steps = json.loads(row.decision) if isinstance(row.decision, str) else row.decision
        last = steps[-1] if steps else None
        if last and last["code"] == CODE:
            address = str(last["values"]["address"])[:320]
            op.execute(mails.update().where(mails.c.id == row.id).values(unknown_address=address))


def downgrade() -> None:
    op.drop_index("ix_received_mail_state_result", "received_mail")
    op.drop_index("ix_received_mail_unknown", "received_mail")
    op.drop_column("received_mail", "unknown_address")

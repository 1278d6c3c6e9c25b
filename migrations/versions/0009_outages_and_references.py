"""Workers that are declared dead, times in which none was at work, and indexes for rows that others refer to."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# table and column of references that most rows do not have
REFERENCES = (
    ("action_run", "worker"),
    ("bounce", "received_mail"),
    ("bounce", "recipient"),
    ("bounce", "trace"),
    ("delivery_attempt", "server"),
    ("outgoing_mail", "forced_server"),
    ("outgoing_mail", "server"),
    ("outgoing_recipient", "contact"),
    ("outgoing_recipient", "worker"),
    ("post", "received_mail"),
    ("received_mail", "incoming_server"),
    ("received_mail", "worker"),
)


def upgrade() -> None:
    op.add_column("worker", sa.Column("fenced", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("worker", sa.Column("at_work_at", sa.DateTime(timezone=True)))
    op.create_table(
        "outage",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_outage"),
    )
    op.create_index("ix_outage_until", "outage", ["until"])
    for table, referred in REFERENCES:
        given = sa.text(f"{referred}_id IS NOT NULL")
        op.create_index(f"ix_{table}_of_{referred}", table, [f"{referred}_id"],
                        sqlite_where=given, postgresql_where=given)  # fmt: skip


def downgrade() -> None:
    for table, referred in reversed(REFERENCES):
        op.drop_index(f"ix_{table}_of_{referred}", table)
    op.drop_table("outage")
    op.drop_column("worker", "at_work_at")
    op.drop_column("worker", "fenced")

"""Bounce addresses of their own by server, and the ids that relays give to emails of ours."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("outgoing_server", sa.Column("verp", sa.Boolean(), server_default=sa.text("true"), nullable=False))
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "relay_id",
        sa.Column("id", number, autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=420), nullable=False),
        sa.Column("recipient_id", number, nullable=True),
        sa.Column("trace_id", number, nullable=True),
        sa.ForeignKeyConstraint(
            ["recipient_id"],
            ["outgoing_recipient.id"],
            name=op.f("fk_relay_id_recipient_id_outgoing_recipient"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["trace_id"], ["trace.id"], name=op.f("fk_relay_id_trace_id_trace"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_relay_id")),
    )
    op.create_index(op.f("ix_relay_id_name"), "relay_id", ["name"])
    for column in ("recipient", "trace"):
        op.create_index(
            f"ix_relay_id_of_{column}",
            "relay_id",
            [f"{column}_id"],
            sqlite_where=sa.text(f"{column}_id IS NOT NULL"),
            postgresql_where=sa.text(f"{column}_id IS NOT NULL"),
        )


def downgrade() -> None:
    op.drop_table("relay_id")
    op.drop_column("outgoing_server", "verp")

"""What people do to the recipients of an outgoing email, for its history."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "line_change",
        sa.Column("id", number, nullable=False),
        sa.Column("recipient_id", number, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("why", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.ForeignKeyConstraint(
            ["recipient_id"],
            ["outgoing_recipient.id"],
            name=op.f("fk_line_change_recipient_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_line_change")),
    )
    op.create_index(op.f("ix_line_change_recipient_id"), "line_change", ["recipient_id"])


def downgrade() -> None:
    op.drop_table("line_change")

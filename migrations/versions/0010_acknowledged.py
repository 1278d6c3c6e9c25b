"""Which received mails their server is still to be told of."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Not by a copy of the table: the search triggers of SQLite would go with the old one.
    op.add_column("received_mail", sa.Column("acknowledged", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.create_index(
        "ix_received_mail_unacknowledged",
        "received_mail",
        ["source", "id"],
        sqlite_where=sa.text("acknowledged IS 0"),
        postgresql_where=sa.text("acknowledged IS false"),
    )


def downgrade() -> None:
    op.drop_index("ix_received_mail_unacknowledged", "received_mail")
    op.drop_column("received_mail", "acknowledged")

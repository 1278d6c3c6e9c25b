"""Received emails: which email told the sender why theirs was rejected."""

import sqlalchemy as sa
from alembic import op

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None


def upgrade() -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    # In SQL: on SQLite the table would be written anew, and it may hold a million emails.
    op.execute(
        f"ALTER TABLE received_mail ADD COLUMN answer_id {'INTEGER' if is_sqlite else 'BIGINT'} "
        "CONSTRAINT fk_received_mail_answer_id_outgoing_mail REFERENCES outgoing_mail (id) ON DELETE SET NULL"
    )
    given = sa.text("answer_id IS NOT NULL")
    op.create_index(
        "ix_received_mail_of_answer", "received_mail", ["answer_id"], sqlite_where=given, postgresql_where=given
    )


def downgrade() -> None:
    op.drop_index("ix_received_mail_of_answer", "received_mail")
    op.drop_column("received_mail", "answer_id")

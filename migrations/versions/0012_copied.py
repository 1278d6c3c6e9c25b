"""Which received mails were copied at their server, and are still to be deleted there."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Not by a copy of the table: the search triggers of SQLite would go with the old one.
    op.add_column("received_mail", sa.Column("copied", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    op.drop_column("received_mail", "copied")

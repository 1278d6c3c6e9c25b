"""Marks on posts, followers by a fixed document's alias, and the groups of mail that the loop brake holds."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("post", sa.Column("mark", sa.String(20), nullable=False, server_default=""))
    op.add_column("alias", sa.Column("follow_fixed", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("received_mail", sa.Column("held", sa.String(60), nullable=False, server_default=""))
    held, rejections = sa.text("held <> ''"), sa.text("kind = 'rejection'")
    op.create_index("ix_received_mail_held", "received_mail", ["held", "from_key"],
                    sqlite_where=held, postgresql_where=held)  # fmt: skip
    op.create_index("ix_outgoing_mail_rejections", "outgoing_mail", ["created_at"],
                    sqlite_where=rejections, postgresql_where=rejections)  # fmt: skip


def downgrade() -> None:
    op.drop_index("ix_outgoing_mail_rejections", "outgoing_mail")
    op.drop_index("ix_received_mail_held", "received_mail")
    op.drop_column("received_mail", "held")
    op.drop_column("alias", "follow_fixed")
    op.drop_column("post", "mark")

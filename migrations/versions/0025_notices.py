"""Notices for admins in the inbox: they belong to no post."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

KIND = "ck_notification_kind"
POST = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    kept = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
    with op.batch_alter_table("notification") as table:
        table.add_column(sa.Column("why", kept, nullable=True))
        table.add_column(sa.Column("link", sa.String(500), server_default="", nullable=False))
        table.alter_column("post_id", existing_type=POST, nullable=True)
        table.drop_constraint(op.f(KIND), type_="check")
        table.create_check_constraint(op.f(KIND), "kind IN ('post', 'failure', 'notice')")


def downgrade() -> None:
    op.execute("DELETE FROM notification WHERE kind = 'notice'")
    with op.batch_alter_table("notification") as table:
        table.drop_constraint(op.f(KIND), type_="check")
        table.create_check_constraint(op.f(KIND), "kind IN ('post', 'failure')")
        table.alter_column("post_id", existing_type=POST, nullable=False)
        table.drop_column("link")
        table.drop_column("why")

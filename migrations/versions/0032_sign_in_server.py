"""A sign-in knows the server that uses the account once it is connected."""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
SERVERS = ("outgoing_server", "incoming_server")


def upgrade() -> None:
    with op.batch_alter_table("oauth_sign_in") as batch:
        for table in SERVERS:
            batch.add_column(sa.Column(f"{table}_id", ID, nullable=True))
            name = op.f(f"fk_oauth_sign_in_{table}_id")
            batch.create_foreign_key(name, table, [f"{table}_id"], ["id"], ondelete="SET NULL")
    for table in SERVERS:
        column = f"{table}_id"
        given = sa.text(f"{column} IS NOT NULL")
        name = f"ix_oauth_sign_in_{column}"
        op.create_index(name, "oauth_sign_in", [column], sqlite_where=given, postgresql_where=given)


def downgrade() -> None:
    for table in SERVERS:
        op.drop_index(f"ix_oauth_sign_in_{table}_id", table_name="oauth_sign_in")
    with op.batch_alter_table("oauth_sign_in") as batch:
        for table in SERVERS:
            batch.drop_constraint(op.f(f"fk_oauth_sign_in_{table}_id"), type_="foreignkey")
            batch.drop_column(f"{table}_id")

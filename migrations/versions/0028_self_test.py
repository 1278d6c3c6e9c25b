"""A test of an outgoing server from end to end: its parts, and what came back for each."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

KINDS = "'outgoing_test', 'outgoing_mail', 'incoming_test', 'fetch', 'domain'"
NAMES = "'delivery', 'authentication', 'reply', 'bounce', 'plus'"
STATES = "'waiting', 'sending', 'sent', 'ok', 'warning', 'failed', 'skipped'"
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
FEW = ("mail", "received_mail", "incoming_server")


def upgrade() -> None:
    _allow(f"'self_test', {KINDS}")
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "self_test_part",
        sa.Column("id", number, autoincrement=True, nullable=False),
        sa.Column("check_id", number, nullable=False),
        sa.Column("name", sa.String(length=20), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("address", sa.String(length=320), nullable=False),
        sa.Column("incoming_server_id", number, nullable=True),
        sa.Column("mail_id", number, nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("seen", JSON, nullable=True),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("received_mail_id", number, nullable=True),
        sa.Column("why", JSON, nullable=True),
        sa.CheckConstraint(f"name IN ({NAMES})", name=op.f("ck_self_test_part_name")),
        sa.CheckConstraint(f"state IN ({STATES})", name=op.f("ck_self_test_part_state")),
        _reference("check_id", "server_check", "CASCADE"),
        _reference("incoming_server_id", "incoming_server", "SET NULL"),
        _reference("mail_id", "outgoing_mail", "SET NULL"),
        _reference("received_mail_id", "received_mail", "SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_self_test_part")),
        sa.UniqueConstraint("check_id", "name", name=op.f("uq_self_test_part_check_id_name")),
    )
    for name in FEW:
        given = sa.text(f"{name}_id IS NOT NULL")
        op.create_index(
            f"ix_self_test_part_of_{name}", "self_test_part", [f"{name}_id"],
            sqlite_where=given, postgresql_where=given,
        )  # fmt: skip


def downgrade() -> None:
    op.drop_table("self_test_part")
    op.execute("DELETE FROM server_check WHERE kind = 'self_test'")
    _allow(KINDS)


def _reference(column: str, table: str, on_delete: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_self_test_part_{column}_{table}")
    return sa.ForeignKeyConstraint([column], [f"{table}.id"], name=name, ondelete=on_delete)


def _allow(kinds: str) -> None:
    with op.batch_alter_table("server_check") as table:
        table.drop_constraint(op.f("ck_server_check_kind"), type_="check")
        table.create_check_constraint(op.f("ck_server_check_kind"), f"kind IN ({kinds})")

"""A test of an outgoing server that sends a real email."""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _allow("'outgoing_test', 'outgoing_mail', 'incoming_test', 'fetch'")


def downgrade() -> None:
    op.execute("DELETE FROM server_check WHERE kind = 'outgoing_mail'")
    _allow("'outgoing_test', 'incoming_test', 'fetch'")


def _allow(kinds: str) -> None:
    with op.batch_alter_table("server_check") as table:
        table.drop_constraint(op.f("ck_server_check_kind"), type_="check")
        table.create_check_constraint(op.f("ck_server_check_kind"), f"kind IN ({kinds})")

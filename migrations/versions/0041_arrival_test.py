"""A test of the listener: does mail that is handed to it arrive?"""

from alembic import op

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None

KINDS = "'outgoing_test', 'outgoing_mail', 'self_test', 'incoming_test', 'fetch', 'domain'"


def upgrade() -> None:
    _allow(f"{KINDS}, 'arrival'")


def downgrade() -> None:
    op.execute("DELETE FROM server_check WHERE kind = 'arrival'")
    _allow(KINDS)


def _allow(kinds: str) -> None:
    with op.batch_alter_table("server_check") as table:
        table.drop_constraint(op.f("ck_server_check_kind"), type_="check")
        table.create_check_constraint(op.f("ck_server_check_kind"), f"kind IN ({kinds})")

"""Self-tests: one for each server at a time."""

import sqlalchemy as sa
from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None

GOES_ON = "kind = 'self_test' AND state IN ('waiting', 'running')"
ONE_EACH = f"SELECT max(id) FROM server_check WHERE {GOES_ON} GROUP BY server_id"


def upgrade() -> None:
    ended = "state = 'failed', finished_at = requested_at"
    op.execute(f"UPDATE server_check SET {ended} WHERE {GOES_ON} AND id NOT IN ({ONE_EACH})")
    where = sa.text(GOES_ON)
    op.create_index(
        "ix_server_check_one_self_test", "server_check", ["server_id"],
        unique=True, sqlite_where=where, postgresql_where=where,
    )  # fmt: skip


def downgrade() -> None:
    op.drop_index("ix_server_check_one_self_test", "server_check")

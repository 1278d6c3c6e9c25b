"""Sign-in with Google, Microsoft and others: registrations, connected accounts, sign-ins, and servers that use them."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
FLOWS = "flow IN ('code', 'device', 'client')"
UNFINISHED = sa.text("state NOT IN ('done', 'failed')")


def upgrade() -> None:
    _providers()
    _accounts()
    _sign_ins()
    for table in ("outgoing_server", "incoming_server"):
        of_server = f"fk_{table}_oauth_account_id"
        with op.batch_alter_table(table) as batch:
            batch.add_column(sa.Column("oauth_account_id", ID, nullable=True))
            batch.create_foreign_key(
                op.f(of_server), "oauth_account", ["oauth_account_id"], ["id"], ondelete="SET NULL"
            )
            if table == "incoming_server":
                word = sa.Column("authentication", sa.String(20), server_default="password", nullable=False)
                batch.add_column(word)
                batch.create_check_constraint(
                    op.f("ck_incoming_server_authentication"), "authentication IN ('password', 'oauth2')"
                )
            else:
                _allow(batch, "'none', 'password', 'certificate', 'oauth2'")
        given = sa.text("oauth_account_id IS NOT NULL")
        name = f"ix_{table}_oauth_account_id"
        op.create_index(name, table, ["oauth_account_id"], sqlite_where=given, postgresql_where=given)


def downgrade() -> None:
    op.execute("UPDATE outgoing_server SET authentication = 'password' WHERE authentication = 'oauth2'")
    op.execute("UPDATE incoming_server SET state = 'draft' WHERE authentication = 'oauth2'")
    for table in ("incoming_server", "outgoing_server"):
        op.drop_index(f"ix_{table}_oauth_account_id", table_name=table)
        with op.batch_alter_table(table) as batch:
            if table == "incoming_server":
                batch.drop_constraint(op.f("ck_incoming_server_authentication"), type_="check")
                batch.drop_column("authentication")
            else:
                _allow(batch, "'none', 'password', 'certificate'")
            batch.drop_constraint(op.f(f"fk_{table}_oauth_account_id"), type_="foreignkey")
            batch.drop_column("oauth_account_id")
    for table in ("oauth_sign_in", "oauth_account", "oauth_provider"):
        op.drop_table(table)


def _allow(batch: Any, words: str) -> None:
    name = op.f("ck_outgoing_server_authentication")
    batch.drop_constraint(name, type_="check")
    batch.create_check_constraint(name, f"authentication IN ({words})")


def _providers() -> None:
    op.create_table(
        "oauth_provider",
        sa.Column("id", ID, nullable=False),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("client_id", sa.String(255), nullable=False),
        sa.Column("client_secret", sa.String(), nullable=True),
        sa.Column("tenant", sa.String(255), nullable=False),
        sa.Column("issuer", sa.String(500), nullable=False),
        sa.Column("scopes", sa.String(1000), nullable=False),
        sa.Column("secret_expires_at", MOMENT, nullable=True),
        sa.CheckConstraint("kind IN ('google', 'microsoft', 'other')", name=op.f("ck_oauth_provider_kind")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_oauth_provider")),
    )


def _accounts() -> None:
    op.create_table(
        "oauth_account",
        sa.Column("id", ID, nullable=False),
        sa.Column("provider_id", ID, nullable=False),
        sa.Column("address", sa.String(320), nullable=False),
        sa.Column("flow", sa.String(10), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("why", JSON, nullable=True),
        sa.Column("access_token", sa.String(), nullable=True),
        sa.Column("refresh_token", sa.String(), nullable=True),
        *(
            sa.Column(name, MOMENT, nullable=True)
            for name in ("expires_at", "refresh_expires_at", "refreshed_at", "connected_at")
        ),
        sa.CheckConstraint("state IN ('new', 'connected', 'refused')", name=op.f("ck_oauth_account_state")),
        sa.CheckConstraint(FLOWS, name=op.f("ck_oauth_account_flow")),
        sa.ForeignKeyConstraint(["provider_id"], ["oauth_provider.id"], name=op.f("fk_oauth_account_provider_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_oauth_account")),
        sa.UniqueConstraint("provider_id", "address", name=op.f("uq_oauth_account_provider_id_address")),
    )


def _sign_ins() -> None:
    table = "oauth_sign_in"
    op.create_table(
        table,
        sa.Column("id", ID, nullable=False),
        sa.Column("account_id", ID, nullable=False),
        sa.Column("flow", sa.String(10), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("requested_by_id", ID, nullable=True),
        sa.Column("requested_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.Column("expires_at", MOMENT, nullable=True),
        sa.Column("worker_id", ID, nullable=True),
        sa.Column("steps", JSON, nullable=False),
        sa.Column("return_to", sa.String(500), nullable=False),
        sa.Column("redirect_uri", sa.String(500), nullable=False),
        sa.Column("state_key", sa.String(64), nullable=True),
        sa.Column("verifier", sa.String(), nullable=True),
        sa.Column("code", sa.String(), nullable=True),
        sa.Column("where", sa.Text(), nullable=False),
        sa.Column("user_code", sa.String(64), nullable=False),
        sa.Column("poll_at", MOMENT, nullable=True),
        sa.Column("poll_every", sa.Integer(), nullable=False),
        sa.CheckConstraint(FLOWS, name=op.f("ck_oauth_sign_in_flow")),
        sa.CheckConstraint(
            "state IN ('waiting', 'open', 'returned', 'running', 'done', 'failed')", name=op.f("ck_oauth_sign_in_state")
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["oauth_account.id"], name=op.f("fk_oauth_sign_in_account_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["requested_by_id"], ["user.id"], name=op.f("fk_oauth_sign_in_requested_by_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(["worker_id"], ["worker.id"], name=op.f("fk_oauth_sign_in_worker_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_oauth_sign_in")),
    )
    op.create_index("ix_oauth_sign_in_due", table, ["id"], sqlite_where=UNFINISHED, postgresql_where=UNFINISHED)
    op.create_index(op.f("ix_oauth_sign_in_account_id_id"), table, ["account_id", "id"])
    given = sa.text("state_key IS NOT NULL")
    op.create_index("ix_oauth_sign_in_state_key", table, ["state_key"], sqlite_where=given, postgresql_where=given)

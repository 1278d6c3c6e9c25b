"""Keys that sign emails (DKIM), which servers sign themselves, and with what each email was signed."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    moment = sa.DateTime(timezone=True)
    found = sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql")
    op.create_table(
        "dkim_key",
        sa.Column("id", number, nullable=False),
        sa.Column("domain", sa.String(255), nullable=False),
        sa.Column("selector", sa.String(63), nullable=False),
        sa.Column("algorithm", sa.String(10), nullable=False),
        sa.Column("private_key", sa.String(), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("seen_at", moment, nullable=True),
        sa.Column("signs_since", moment, nullable=True),
        sa.Column("retired_at", moment, nullable=True),
        sa.Column("checked_at", moment, nullable=True),
        sa.Column("check_at", moment, nullable=True),
        sa.Column("found", found, nullable=True),
        sa.CheckConstraint("algorithm IN ('rsa', 'ed25519')", name=op.f("ck_dkim_key_algorithm")),
        sa.CheckConstraint("state IN ('new', 'ready', 'signing', 'retired')", name=op.f("ck_dkim_key_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dkim_key")),
        sa.UniqueConstraint("domain", "selector", name=op.f("uq_dkim_key_domain_selector")),
    )
    # Not by a new table in place of the old one, as Alembic does it on SQLite: many rows refer to servers.
    op.execute(
        "ALTER TABLE outgoing_server ADD COLUMN dkim VARCHAR(10) DEFAULT 'provider' NOT NULL "
        "CONSTRAINT ck_outgoing_server_dkim CHECK (dkim IN ('provider', 'ours', 'server'))"
    )
    op.add_column("delivery_attempt", sa.Column("signed", sa.String(600), server_default="", nullable=False))


def downgrade() -> None:
    op.drop_column("delivery_attempt", "signed")
    op.drop_column("outgoing_server", "dkim")
    op.drop_table("dkim_key")

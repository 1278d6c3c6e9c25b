"""Checks of the DNS of domains, and what they found."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

KIND = "ck_server_check_kind"
KINDS = "'outgoing_test', 'outgoing_mail', 'incoming_test', 'fetch'"


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    kept = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
    op.create_table(
        "domain_report",
        sa.Column("id", number, nullable=False),
        sa.Column("domain", sa.String(255), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("requested_by_id", number, nullable=True),
        sa.Column("state", sa.String(10), nullable=False),
        *(sa.Column(name, kept, nullable=False) for name in ("report", "standing", "told")),
        sa.CheckConstraint("state IN ('good', 'warning', 'bad', 'unknown')", name=op.f("ck_domain_report_state")),
        sa.ForeignKeyConstraint(
            ["requested_by_id"], ["user.id"], name=op.f("fk_domain_report_requested_by_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_domain_report")),
    )
    op.create_index(op.f("ix_domain_report_domain_id"), "domain_report", ["domain", "id"])
    with op.batch_alter_table("server_check") as table:
        table.add_column(sa.Column("domain", sa.String(255), server_default="", nullable=False))
        table.drop_constraint(op.f(KIND), type_="check")
        table.create_check_constraint(op.f(KIND), f"kind IN ({KINDS}, 'domain')")


def downgrade() -> None:
    op.execute("DELETE FROM server_check WHERE kind = 'domain'")
    with op.batch_alter_table("server_check") as table:
        table.drop_constraint(op.f(KIND), type_="check")
        table.create_check_constraint(op.f(KIND), f"kind IN ({KINDS})")
        table.drop_column("domain")
    op.drop_table("domain_report")

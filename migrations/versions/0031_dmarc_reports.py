"""What receivers report about emails in our name (DMARC)."""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "dmarc_report",
        sa.Column("id", number, nullable=False),
        sa.Column("domain", sa.String(255), nullable=False),
        sa.Column("organisation", sa.String(200), nullable=False),
        sa.Column("report_id", sa.String(300), nullable=False),
        sa.Column("begin_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("end_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("policy", sa.String(20), nullable=False),
        sa.Column("emails", number, nullable=False),
        sa.Column("failed", number, nullable=False),
        sa.Column("received_mail_id", number, nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["received_mail_id"],
            ["received_mail.id"],
            name=op.f("fk_dmarc_report_received_mail_id"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dmarc_report")),
        sa.UniqueConstraint(
            "domain", "organisation", "report_id", name=op.f("uq_dmarc_report_domain_organisation_report_id")
        ),
    )
    op.create_index(op.f("ix_dmarc_report_domain_end_at"), "dmarc_report", ["domain", "end_at"])
    given = sa.text("received_mail_id IS NOT NULL")
    op.create_index(
        "ix_dmarc_report_of_received_mail", "dmarc_report", ["received_mail_id"],
        sqlite_where=given, postgresql_where=given,
    )  # fmt: skip
    op.create_table(
        "dmarc_source",
        sa.Column("id", number, nullable=False),
        sa.Column("report_id", number, nullable=False),
        sa.Column("address", sa.String(45), nullable=False),
        sa.Column("count", number, nullable=False),
        sa.Column("dkim", sa.Boolean(), nullable=False),
        sa.Column("spf", sa.Boolean(), nullable=False),
        sa.Column("disposition", sa.String(20), nullable=False),
        sa.Column("header_from", sa.String(255), nullable=False),
        sa.Column("signed_by", sa.String(300), nullable=False),
        sa.Column("spf_domain", sa.String(255), nullable=False),
        sa.Column("reason", sa.String(40), nullable=False),
        sa.ForeignKeyConstraint(
            ["report_id"], ["dmarc_report.id"], name=op.f("fk_dmarc_source_report_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dmarc_source")),
    )
    op.create_index(op.f("ix_dmarc_source_report_id"), "dmarc_source", ["report_id"])


def downgrade() -> None:
    op.drop_table("dmarc_source")
    op.drop_table("dmarc_report")

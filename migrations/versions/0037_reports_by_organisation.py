"""DMARC reports are found by the registered domain that theirs belongs to, and say what they left out."""

import sqlalchemy as sa
from alembic import op
from publicsuffixlist import PublicSuffixList

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
KEPT = "SELECT {} FROM dmarc_source WHERE dmarc_source.report_id = dmarc_report.id"


def upgrade() -> None:
    op.add_column("dmarc_report", sa.Column("registered_domain", sa.String(255), server_default="", nullable=False))
    op.add_column("dmarc_report", sa.Column("left_out", NUMBER, server_default="0", nullable=False))
    op.add_column("dmarc_report", sa.Column("kept", NUMBER, server_default="0", nullable=False))
    connection, suffixes = op.get_bind(), PublicSuffixList()
    for domain in connection.scalars(sa.text("SELECT DISTINCT domain FROM dmarc_report")).all():
        registered = suffixes.privatesuffix(domain) or domain
        connection.execute(
            sa.text("UPDATE dmarc_report SET registered_domain = :registered WHERE domain = :domain"),
            {"registered": registered, "domain": domain},
        )
    op.execute(
        f"UPDATE dmarc_report SET kept = ({KEPT.format('count(*)')}), "
        f"left_out = emails - ({KEPT.format('coalesce(sum(count), 0)')})"
    )
    op.drop_index(op.f("ix_dmarc_report_domain_end_at"), "dmarc_report")
    for other in ("end_at", "received_at"):
        op.create_index(
            op.f(f"ix_dmarc_report_registered_domain_{other}"), "dmarc_report", ["registered_domain", other]
        )


def downgrade() -> None:
    for other in ("end_at", "received_at"):
        op.drop_index(op.f(f"ix_dmarc_report_registered_domain_{other}"), "dmarc_report")
    op.create_index(op.f("ix_dmarc_report_domain_end_at"), "dmarc_report", ["domain", "end_at"])
    for name in ("kept", "left_out", "registered_domain"):
        op.drop_column("dmarc_report", name)

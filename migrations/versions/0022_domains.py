"""Further domains of the office, and aliases that work in one domain alone."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "mail_domain",
        sa.Column("id", number, nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("name_key", sa.String(255), nullable=False),
        *(
            sa.Column(name, sa.String(size), nullable=False)
            for name, size in (("company", 120), ("catchall_alias", 64), ("bounce_alias", 64), ("default_from", 64))
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mail_domain")),
        sa.UniqueConstraint("name_key", name=op.f("uq_mail_domain_name_key")),
    )
    op.add_column("alias", sa.Column("one_domain", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    # What lived in a further domain stays known; an earlier version has one catchall and one bounce address.
    op.execute(
        "UPDATE alias SET state = 'retired' WHERE state = 'active' AND EXISTS (SELECT 1 FROM mail_domain "
        "WHERE substr(address_key, length(address_key) - length(name_key)) = '@' || name_key)"
    )
    op.drop_column("alias", "one_domain")
    op.drop_table("mail_domain")

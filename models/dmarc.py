"""What receivers report about emails that name a domain of ours as their sender (DMARC aggregate reports)."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Id, Model, UtcDateTime, index_of_few


class DmarcReport(Model):
    """One report: what one receiver saw of one domain, mostly in one day. The same one never counts twice.

    ``domain`` is the one whose DMARC record counts: ``registered_domain``, mostly, or one below it. ``kept``: how many
    sources are stored; ``left_out``: emails of those that are not.
    """

    __tablename__ = "dmarc_report"
    __table_args__ = (
        UniqueConstraint("domain", "organisation", "report_id"),
        Index(None, "registered_domain", "end_at"),
        Index(None, "registered_domain", "received_at"),
        index_of_few("ix_dmarc_report_of_received_mail", "received_mail_id"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    domain: Mapped[str] = mapped_column(String(255))
    registered_domain: Mapped[str] = mapped_column(String(255), server_default="")
    organisation: Mapped[str] = mapped_column(String(200))
    report_id: Mapped[str] = mapped_column(String(300))
    begin_at: Mapped[datetime] = mapped_column(UtcDateTime)
    end_at: Mapped[datetime] = mapped_column(UtcDateTime)
    policy: Mapped[str] = mapped_column(String(20), default="")  # that the receiver found: none, quarantine, reject
    emails: Mapped[int] = mapped_column(Id)
    failed: Mapped[int] = mapped_column(Id)  # of these
    left_out: Mapped[int] = mapped_column(Id, server_default="0")  # of these
    kept: Mapped[int] = mapped_column(Id, server_default="0")
    received_mail_id: Mapped[int | None] = mapped_column(ForeignKey("received_mail.id", ondelete="SET NULL"))
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)


class DmarcSource(Model):
    """Emails of one report from one address with one outcome; ``dkim`` and ``spf``: passed for the From domain."""

    __tablename__ = "dmarc_source"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    report_id: Mapped[int] = mapped_column(ForeignKey("dmarc_report.id", ondelete="CASCADE"), index=True)
    address: Mapped[str] = mapped_column(String(45))
    count: Mapped[int] = mapped_column(Id)
    dkim: Mapped[bool]
    spf: Mapped[bool]
    disposition: Mapped[str] = mapped_column(String(20), default="")
    header_from: Mapped[str] = mapped_column(String(255), default="")
    signed_by: Mapped[str] = mapped_column(String(300), default="")  # domains with a signature that is right
    spf_domain: Mapped[str] = mapped_column(String(255), default="")
    reason: Mapped[str] = mapped_column(String(40), default="")  # why the policy was not followed

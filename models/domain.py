"""The domains of the office beside its alias domain, which is a system parameter; what checks of their DNS found."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Id, Json, Model, UtcDateTime, one_of

DNS_STATES = ("good", "warning", "bad", "unknown")


class OfficeDomain(Model):
    """A further domain of the office. What is empty is the same as for the alias domain.

    ``name`` as it was entered, ``name_key`` as it is compared.
    """

    __tablename__ = "mail_domain"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    name_key: Mapped[str] = mapped_column(String(255), unique=True)
    company: Mapped[str] = mapped_column(String(120), default="")
    catchall_alias: Mapped[str] = mapped_column(String(64), default="")
    bounce_alias: Mapped[str] = mapped_column(String(64), default="")
    default_from: Mapped[str] = mapped_column(String(64), default="")

    def __str__(self) -> str:
        return self.name_key


class DomainReport(Model):
    """What one check found in the DNS of a domain that we send from: ``report`` holds the verdicts and the answers.

    ``standing``: the last known state of each verdict; ``told``: those of which admins know that they became worse,
    with the state from before (mail/decide/dns_changes.py).
    """

    __tablename__ = "domain_report"
    __table_args__ = (Index(None, "domain", "id"), one_of("state", *DNS_STATES))

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    domain: Mapped[str] = mapped_column(String(255))
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    requested_by_id: Mapped[int | None] = mapped_column(ForeignKey("user.id", ondelete="SET NULL"))
    state: Mapped[str] = mapped_column(String(10))
    report: Mapped[dict[str, Any]] = mapped_column(Json)
    standing: Mapped[dict[str, str]] = mapped_column(Json)
    told: Mapped[dict[str, str]] = mapped_column(Json)

    @property
    def unanswered(self) -> int:
        """How many questions DNS left without an answer."""
        return sum(answer["outcome"] not in ("found", "no_name", "no_record") for answer in self.report["asked"])

    @property
    def is_silent(self) -> bool:
        """Whether DNS answered nothing at all, so that this says nothing about the domain."""
        return self.unanswered == len(self.report["asked"])

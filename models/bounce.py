"""What came back: bounces, what they say about an address, and who gets no mailing any more."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ForeignKey,
    Index,
    String,
    Text,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Id, Json, Model, UtcDateTime, index_of_few, one_of

if TYPE_CHECKING:
    pass


class Bounce(Model):
    """A delivery that failed for good or for now, as a report or a server's answer told it."""

    __tablename__ = "bounce"
    __table_args__ = (
        index_of_few("ix_bounce_of_received_mail", "received_mail_id"),
        index_of_few("ix_bounce_of_recipient", "recipient_id"),
        index_of_few("ix_bounce_of_trace", "trace_id"),
        Index(None, "address_key", "at"),
        Index("uq_bounce_trace_counted", "trace_id", unique=True, sqlite_where=text("counted = 1"),
              postgresql_where=text("counted")),
        # By address as well: somebody may have corrected it since.
        Index("uq_bounce_recipient_counted", "recipient_id", "address_key", unique=True,
              sqlite_where=text("counted = 1"), postgresql_where=text("counted")),
        one_of("kind", "hard", "soft", "blocked", "full", "complaint", "delay"),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    address_key: Mapped[str | None] = mapped_column(String(320))
    kind: Mapped[str] = mapped_column(String(10))
    status: Mapped[str] = mapped_column(String(20), default="")
    text: Mapped[str] = mapped_column(Text, default="")
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    counted: Mapped[bool] = mapped_column(default=False)
    recipient_id: Mapped[int | None] = mapped_column(ForeignKey("outgoing_recipient.id", ondelete="SET NULL"))
    trace_id: Mapped[int | None] = mapped_column(ForeignKey("trace.id", ondelete="SET NULL"))
    received_mail_id: Mapped[int | None] = mapped_column(ForeignKey("received_mail.id", ondelete="SET NULL"))


class AddressHealth(Model):
    """Arithmetic per address: the count that is shown, and since when bounces count for the blacklist."""

    __tablename__ = "address_health"

    address_key: Mapped[str] = mapped_column(String(320), primary_key=True)
    bounces: Mapped[int] = mapped_column(default=0)
    counted_from: Mapped[datetime | None] = mapped_column(UtcDateTime)
    thread_id: Mapped[int | None] = mapped_column(
        ForeignKey("thread.id")
    )  # its log: outlives the entry of the blacklist


class BlacklistedAddress(Model):
    """An address that mass mail skips. Personal mail is not blocked by it."""

    __tablename__ = "blacklisted_address"
    __table_args__ = (
        one_of("reason", "bounces", "complaint", "manual", "unsubscribed"),
        Index(None, "at"),
        Index(None, "reason", "at", "id"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    address_key: Mapped[str] = mapped_column(String(320), unique=True)
    reason: Mapped[str] = mapped_column(String(20), default="manual")
    why: Mapped[dict[str, Any] | None] = mapped_column(Json)
    mailing_id: Mapped[int | None] = mapped_column(ForeignKey("mailing.id", ondelete="SET NULL"))
    thread_id: Mapped[int | None] = mapped_column(ForeignKey("thread.id"))
    at: Mapped[datetime] = mapped_column(UtcDateTime)

    def __str__(self) -> str:
        return self.address_key

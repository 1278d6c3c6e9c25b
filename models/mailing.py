"""Contacts, lists, mailings with a trace per recipient, bounces and the blacklist."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Column,
    ForeignKey,
    Index,
    String,
    Table,
    Text,
    UniqueConstraint,
    func,
    select,
    text,
    update,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.base import Id, Json, Model, UtcDateTime, change_rows, db, one_of
from models.event import Event

if TYPE_CHECKING:
    from models.server import OutgoingServer

from models.contact import Contact, MailingList

MAILING_STATES = ("draft", "scheduled", "sending", "paused", "done", "cancelled")
TRACE_STATES = ("queued", "deferred", "sent", "failed", "unknown", "bounced", "cancelled")
CHUNK_SIZE = 200  # traces of one chunk at the most: one claim, one commit


mailing_lists = Table(
    "mailing_to_list",
    db.metadata,
    Column("mailing_id", ForeignKey("mailing.id", ondelete="CASCADE"), primary_key=True),
    Column("list_id", ForeignKey("mailing_list.id", ondelete="RESTRICT"), primary_key=True),
    Index(None, "list_id", "mailing_id"),
)


class Mailing(Model):
    """One mail to many. Its totals are kept by delta in the transaction that changes the traces."""

    __tablename__ = "mailing"
    __table_args__ = (
        Index(None, "state", "id"),
        Index(None, "state", "scheduled_at"),
        one_of("state", *MAILING_STATES),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    subject: Mapped[str] = mapped_column(String(500), default="")
    preview: Mapped[str] = mapped_column(String(300), default="")
    from_address: Mapped[str] = mapped_column(String(400), default="")
    reply_to: Mapped[str] = mapped_column(String(400), default="")
    html: Mapped[str] = mapped_column(Text, default="")
    state: Mapped[str] = mapped_column(String(20), default="draft")
    why: Mapped[dict[str, Any] | None] = mapped_column(Json)
    forced_server_id: Mapped[int | None] = mapped_column(ForeignKey("outgoing_server.id", ondelete="SET NULL"))
    server_id: Mapped[int | None] = mapped_column(ForeignKey("outgoing_server.id", ondelete="SET NULL"))
    decision: Mapped[dict[str, Any] | None] = mapped_column(Json)
    created_by_id: Mapped[int | None] = mapped_column(ForeignKey("user.id", ondelete="SET NULL"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    scheduled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    prepared: Mapped[bool] = mapped_column(default=False)  # its traces and chunks are there
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    content_key: Mapped[str] = mapped_column(
        String(64), default=""
    )  # what is sent, as a hash: compiled once per process
    next_try_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # its server can't be reached: see why
    tries: Mapped[int] = mapped_column(default=0)  # how often in a row it could not
    recent: Mapped[list[Any]] = mapped_column(Json, default=list)  # [tried, failed] of the last chunks, newest first

    total: Mapped[int] = mapped_column(default=0)
    sent: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)
    deferred: Mapped[int] = mapped_column(default=0)
    unknown: Mapped[int] = mapped_column(default=0)
    bounced: Mapped[int] = mapped_column(default=0)
    cancelled: Mapped[int] = mapped_column(default=0)
    replied: Mapped[int] = mapped_column(default=0)
    unsubscribed: Mapped[int] = mapped_column(default=0)

    lists: Mapped[list[MailingList]] = relationship(secondary=mailing_lists)
    server: Mapped["OutgoingServer | None"] = relationship(foreign_keys=[server_id])
    forced_server: Mapped["OutgoingServer | None"] = relationship(foreign_keys=[forced_server_id])

    @property
    def queued(self) -> int:
        """Recipients that are still to be sent to for the first time."""
        return self.total - self.sent - self.failed - self.deferred - self.unknown - self.bounced - self.cancelled

    @property
    def may_be_draft(self) -> bool:
        """Whether it has not begun, so that it can be taken back."""
        return self.state == "scheduled" or (self.state == "paused" and self.started_at is None)

    @property
    def is_limited(self) -> bool:
        """Whether it waits because its server has reached a limit."""
        return self.next_try_at is not None and (self.why or {"code": ""})["code"].startswith("limit_")

    @classmethod
    def waits_for_limit(cls) -> Any:
        """Return the SQL condition that a mailing waits because its server has reached a limit."""
        return func.coalesce(cls.why["code"].as_string(), "").like("limit_%")

    @classmethod
    def change(cls, mailing_id: int, values: Mapping[str, Any]) -> None:
        """Give columns of a mailing other values, past the objects that the session holds; the caller commits."""
        change_rows(update(cls).where(cls.id == mailing_id).values(values))

    @staticmethod
    def tell(mailing_id: int, now: datetime) -> None:
        """Tell open pages that a mailing changed; the caller commits."""
        Event.add([f"mailing:{mailing_id}", "mailings"], now)

    def __str__(self) -> str:
        return self.subject


class Trace(Model):
    """One recipient of a mailing. Its Message-ID is derived from its id, not stored."""

    __tablename__ = "trace"
    __table_args__ = (
        UniqueConstraint("mailing_id", "contact_id"),
        Index(None, "mailing_id", "state", "id"),
        Index(None, "contact_id", "id"),
        Index("ix_trace_queued", "mailing_id", "id", sqlite_where=text("state = 'queued'"),
              postgresql_where=text("state = 'queued'")),
        Index("ix_trace_deferred", "next_try_at", sqlite_where=text("state = 'deferred'"),
              postgresql_where=text("state = 'deferred'")),
        one_of("state", *TRACE_STATES),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    mailing_id: Mapped[int] = mapped_column(ForeignKey("mailing.id", ondelete="CASCADE"))
    contact_id: Mapped[int] = mapped_column(ForeignKey("contact.id", ondelete="CASCADE"))
    address: Mapped[str] = mapped_column(String(320), default="")
    state: Mapped[str] = mapped_column(String(10), default="queued")
    why: Mapped[dict[str, Any] | None] = mapped_column(Json)
    code: Mapped[int | None]
    reply: Mapped[str | None] = mapped_column(Text)
    attempts: Mapped[int] = mapped_column(default=0, server_default="0")
    first_try_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # deferred ones only
    next_try_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    replied_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    bounced_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    unsubscribed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    mailing: Mapped[Mailing] = relationship()
    contact: Mapped[Contact] = relationship()

    @classmethod
    def pace(cls, mailing_id: int, now: datetime, of_last: int = 400) -> float:
        """Return how many mails of a mailing are sent in a second, by its last ones; 0 when none went out lately."""
        last = select(cls.sent_at).where(cls.mailing_id == mailing_id, cls.state == "sent", cls.sent_at.is_not(None))
        times = sorted(at for at in db.session.scalars(last.order_by(cls.id.desc()).limit(of_last)) if at is not None)
        if len(times) < 2 or now - times[-1] > timedelta(seconds=15):
            return 0.0
        return (len(times) - 1) / max((times[-1] - times[0]).total_seconds(), 0.1)


class Chunk(Model):
    """A range of traces of a mailing that one connection sends: taken with a lease by the database's clock."""

    __tablename__ = "chunk"
    __table_args__ = (
        UniqueConstraint("mailing_id", "pass_number", "first_id"),
        Index("ix_chunk_waiting", "mailing_id", "id", sqlite_where=text("state = 'waiting'"),
              postgresql_where=text("state = 'waiting'")),
        Index("ix_chunk_taken", "worker_id", sqlite_where=text("state = 'taken'"),
              postgresql_where=text("state = 'taken'")),
        one_of("state", "waiting", "taken", "done"),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    mailing_id: Mapped[int] = mapped_column(ForeignKey("mailing.id", ondelete="CASCADE"))
    first_id: Mapped[int] = mapped_column(Id)
    last_id: Mapped[int] = mapped_column(Id)
    pass_number: Mapped[int] = mapped_column(default=1)
    state: Mapped[str] = mapped_column(String(10), default="waiting")
    worker_id: Mapped[int | None] = mapped_column(ForeignKey("worker.id"))

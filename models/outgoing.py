"""Outgoing mail and its recipient lines. States stand on the lines; the state of a mail is derived from them."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ColumnElement,
    Float,
    ForeignKey,
    Index,
    String,
    Text,
    UniqueConstraint,
    case,
    func,
    select,
    text,
    update,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.base import Id, Json, Model, UtcDateTime, db, holds, index_of_few, one_of
from models.job import Worker
from models.parameter import CUSTOM_IS_OFF

if TYPE_CHECKING:
    from models.contact import Contact
    from models.server import OutgoingServer
    from models.thread import Post

HELD = datetime(2999, 1, 1, tzinfo=UTC)  # the next try of a line that waits for the end of a rehearsal
LINE_STATES = ("queued", "sending", "sent", "failed", "unknown", "bounced", "cancelled")


class OutgoingMail(Model):
    """A mail to one or more recipients, each a line of its own.

    The content lacks its From and To lines: they are put before it for each line at delivery, so that another server
    with another From can be chosen without composing again. ``decision`` holds the steps of that choice.
    """

    __tablename__ = "outgoing_mail"
    __table_args__ = (
        index_of_few("ix_outgoing_mail_of_forced_server", "forced_server_id"),
        index_of_few("ix_outgoing_mail_of_server", "server_id"),
        Index("ix_outgoing_mail_rejections", "created_at", sqlite_where=text("kind = 'rejection'"),
              postgresql_where=text("kind = 'rejection'")),
        one_of("kind", "post", "rejection", "digest", "test"),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    post_id: Mapped[int | None] = mapped_column(ForeignKey("post.id", ondelete="SET NULL"), index=True)
    subject: Mapped[str] = mapped_column(String(500), default="")
    author: Mapped[str] = mapped_column(String(400), default="")  # the From before the decision
    from_header: Mapped[str] = mapped_column(String(1000), default="")  # the From that is sent
    reply_to: Mapped[str] = mapped_column(String(1000), default="")
    message_id: Mapped[str] = mapped_column(String(255), unique=True)
    content_blob_id: Mapped[int] = mapped_column(ForeignKey("blob.id"), index=True)
    size: Mapped[int] = mapped_column(Id, default=0)
    server_id: Mapped[int | None] = mapped_column(ForeignKey("outgoing_server.id", ondelete="SET NULL"))
    forced_server_id: Mapped[int | None] = mapped_column(ForeignKey("outgoing_server.id", ondelete="SET NULL"))
    decision: Mapped[dict[str, Any] | None] = mapped_column(Json)
    envelope_sender: Mapped[str] = mapped_column(String(400), default="")
    # A report about this mail that does not say which of its recipients failed: the post is marked, nobody is blamed.
    bounce_why: Mapped[dict[str, Any] | None] = mapped_column(Json)
    return_path: Mapped[str] = mapped_column(String(400), default="")  # the one it was given, "<>" for none
    scheduled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)

    post: Mapped["Post | None"] = relationship()
    server: Mapped["OutgoingServer | None"] = relationship(foreign_keys=[server_id])
    lines: Mapped[list["Recipient"]] = relationship(back_populates="mail", order_by="Recipient.id")

    def __str__(self) -> str:
        return self.subject


class Recipient(Model):
    """One recipient of an outgoing mail: a line of the queue. ``wait`` says what a queued line waits for."""

    __tablename__ = "outgoing_recipient"
    __table_args__ = (
        index_of_few("ix_outgoing_recipient_of_worker", "worker_id"),
        index_of_few("ix_outgoing_recipient_of_contact", "contact_id"),
        UniqueConstraint("mail_id", "address_key"),
        Index(None, "address_key", "id"),
        Index(None, "state", "id"),
        # The state leads, although it is always the same: else SQLite takes the index above and sorts the queue.
        Index("ix_outgoing_recipient_due", "state", "server_id", "next_try_at", "id",
              sqlite_where=text("state = 'queued'"), postgresql_where=text("state = 'queued'")),
        Index("ix_outgoing_recipient_sending", "worker_id", sqlite_where=text("state = 'sending'"),
              postgresql_where=text("state = 'sending'")),
        Index("ix_outgoing_recipient_limited", "mail_id", sqlite_where=text("state = 'queued' AND wait = 'limit'"),
              postgresql_where=text("state = 'queued' AND wait = 'limit'")),
        Index("ix_outgoing_recipient_failure", "id",
              sqlite_where=text("state IN ('failed', 'bounced') AND seen_at IS NULL"),
              postgresql_where=text("state IN ('failed', 'bounced') AND seen_at IS NULL")),
        one_of("state", *LINE_STATES),
        one_of("wait", "", "retry", "schedule", "limit"),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    mail_id: Mapped[int] = mapped_column(ForeignKey("outgoing_mail.id", ondelete="CASCADE"))
    # The server of the mail, 0 for the default server: each has a queue of its own. Not a reference: lines of a server
    # that was deleted are found under its number, and another one is chosen for them.
    server_id: Mapped[int] = mapped_column(Id, default=0, server_default="0")
    contact_id: Mapped[int | None] = mapped_column(ForeignKey("contact.id", ondelete="SET NULL"))
    name: Mapped[str] = mapped_column(String(200), default="")
    address: Mapped[str] = mapped_column(String(320))
    address_key: Mapped[str] = mapped_column(String(320))
    state: Mapped[str] = mapped_column(String(10), default="queued")
    wait: Mapped[str] = mapped_column(String(10), default="")
    next_try_at: Mapped[datetime] = mapped_column(UtcDateTime)
    first_try_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    attempts: Mapped[int] = mapped_column(default=0)
    doubts: Mapped[int] = mapped_column(default=0)  # how often its answer was never seen
    worker_id: Mapped[int | None] = mapped_column(ForeignKey("worker.id"))
    code: Mapped[int | None]
    enhanced: Mapped[str] = mapped_column(String(20), default="")
    reply: Mapped[str] = mapped_column(Text, default="")  # the server's own words
    why: Mapped[dict[str, Any] | None] = mapped_column(Json)
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    bounced_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    seen_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # the author has seen the failure

    mail: Mapped[OutgoingMail] = relationship(back_populates="lines")
    contact: Mapped["Contact | None"] = relationship()

    @property
    def is_held(self) -> bool:
        """Whether it waits for the end of a rehearsal."""
        return self.state == "queued" and self.next_try_at >= HELD

    def __str__(self) -> str:
        return self.address


class DeliveryAttempt(Model):
    """One try to deliver a line, with the dialogue that was held."""

    __tablename__ = "delivery_attempt"
    __table_args__ = (index_of_few("ix_delivery_attempt_of_server", "server_id"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    recipient_id: Mapped[int] = mapped_column(ForeignKey("outgoing_recipient.id", ondelete="CASCADE"), index=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    server_id: Mapped[int | None] = mapped_column(ForeignKey("outgoing_server.id", ondelete="SET NULL"))
    server_name: Mapped[str] = mapped_column(String(120), default="")
    phase: Mapped[str] = mapped_column(String(20))
    code: Mapped[int | None]
    seconds: Mapped[float] = mapped_column(Float, default=0.0)
    why: Mapped[dict[str, Any] | None] = mapped_column(Json)
    transcript: Mapped[str] = mapped_column(Text, default="")
    signed: Mapped[str] = mapped_column(String(600), default="", server_default="")  # by which keys (DKIM)


class LineChange(Model):
    """What a person did to a line, or another server that was chosen for it; ``why`` says what, and who."""

    __tablename__ = "line_change"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    recipient_id: Mapped[int] = mapped_column(ForeignKey("outgoing_recipient.id", ondelete="CASCADE"), index=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    why: Mapped[dict[str, Any]] = mapped_column(Json)


class RelayId(Model):
    """The id that a relay gave an email of ours in place of its Message-ID, by which replies to it are known.

    ``name`` is what ``transport/relay_ids`` looks up. It is of a line or of a trace.
    """

    __tablename__ = "relay_id"
    __table_args__ = (
        index_of_few("ix_relay_id_of_recipient", "recipient_id"),
        index_of_few("ix_relay_id_of_trace", "trace_id"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(420), index=True)
    recipient_id: Mapped[int | None] = mapped_column(ForeignKey("outgoing_recipient.id", ondelete="CASCADE"))
    trace_id: Mapped[int | None] = mapped_column(ForeignKey("trace.id", ondelete="CASCADE"))


# Without Custom Email Servers a record sends only what was told to use it, whatever was decided before.
_CHOSEN = case(
    (OutgoingMail.forced_server_id.is_(None) & CUSTOM_IS_OFF, 0), else_=func.coalesce(OutgoingMail.server_id, 0)
).label("chosen")


@dataclass(frozen=True)
class Claimed:
    """A line that this worker holds, with what its delivery needs; plain values, no row objects."""

    id: int
    mail_id: int
    post_id: int | None
    name: str
    address: str
    attempts: int
    doubts: int
    first_try_at: datetime
    from_header: str
    envelope_sender: str
    message_id: str
    content_blob_id: int
    size: int
    scheduled_at: datetime | None
    chosen: int  # its server, 0 for none or the default server: another one when the record is not to be used any more


def due_servers(now: datetime) -> list[int]:
    """Return the servers that have a line to send now (0: the default server), the one that waited longest first.

    However long the queue of a server is, it costs one look-up in the index.
    """
    queued = holds(Recipient.state, "queued")
    first = select(func.min(Recipient.server_id).label("id")).where(queued).cte("server", recursive=True)
    following = select(func.min(Recipient.server_id)).where(queued, Recipient.server_id > first.c.id)
    servers = first.union_all(select(following.scalar_subquery()).where(first.c.id.is_not(None)))
    oldest = select(func.min(Recipient.next_try_at)).where(queued, Recipient.server_id == servers.c.id)
    of_each = select(servers.c.id, oldest.scalar_subquery().label("at")).where(servers.c.id.is_not(None))
    found = db.session.execute(of_each)
    return [row.id for row in sorted(found, key=lambda row: row.at) if row.at <= now]


def count_due(server_id: int, now: datetime, most: int) -> int:
    """Count the lines of one server (0: the default server) that are due, up to so many."""
    due = (holds(Recipient.state, "queued"), Recipient.server_id == server_id, Recipient.next_try_at <= now)
    lines = select(Recipient.id).where(*due).limit(most).subquery()
    return db.session.scalar(select(func.count()).select_from(lines)) or 0


def claim(worker_id: int, server_id: int, now: datetime, limit: int, newest: bool = False) -> list[Claimed]:
    """Take due lines of one server (0: the default server) for a worker and commit; no line is given to two callers.

    Those that are due for the longest time come first, or with ``newest`` those that became due last.
    """
    order = (Recipient.next_try_at, Recipient.id)
    due = (
        select(Recipient.id)
        .where(holds(Recipient.state, "queued"), Recipient.server_id == server_id, Recipient.next_try_at <= now)
        .order_by(*(column.desc() for column in order) if newest else order)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")  # PostgreSQL may run a plain subquery more than once, and its limit would not hold
    )
    lines = _take(Recipient.id.in_(select(due.c.id)), worker_id, now)
    db.session.commit()
    return lines


def claim_line(worker_id: int, line_id: int, now: datetime) -> list[Claimed]:
    """Take one line for a worker, whatever its server; nothing if the worker may not claim. The caller commits."""
    return _take(Recipient.id == line_id, worker_id, now)


def _take(which: ColumnElement[bool], worker_id: int, now: datetime) -> list[Claimed]:
    taken = db.session.scalars(
        update(Recipient)
        .where(which, Recipient.state == "queued", Worker.may_claim(worker_id))
        .values(
            state="sending",
            wait="",
            worker_id=worker_id,
            attempts=Recipient.attempts + 1,
            # None, or by a clock that was ahead: then it would be tried for as long as that
            first_try_at=case((Recipient.first_try_at <= now, Recipient.first_try_at), else_=now),
        )
        .returning(Recipient.id)
    ).all()
    rows = db.session.execute(
        select(
            Recipient.id,
            Recipient.mail_id,
            OutgoingMail.post_id,
            Recipient.name,
            Recipient.address,
            Recipient.attempts,
            Recipient.doubts,
            Recipient.first_try_at,
            OutgoingMail.from_header,
            OutgoingMail.envelope_sender,
            OutgoingMail.message_id,
            OutgoingMail.content_blob_id,
            OutgoingMail.size,
            OutgoingMail.scheduled_at,
            _CHOSEN,
        )
        .join(OutgoingMail, Recipient.mail_id == OutgoingMail.id)
        .where(Recipient.id.in_(taken))
        .order_by(Recipient.id)
    ).mappings()
    return [Claimed(**row) for row in rows]

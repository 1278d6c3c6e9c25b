"""Incoming servers, how far each mailbox was read, and the ledger of every mail that ever reached us."""

import secrets
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, delete, select, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.base import Encrypted, Id, Json, Model, UtcDateTime, db, index_of_few, one_of
from models.oauth import OauthAccount

RECEIVED_STATES = ("received", "processed", "duplicate", "ignored", "rejected", "quarantined")


def new_mailbox() -> str:
    """Return a name for a mailbox, so that the numbers of its mails are never taken for those of another one."""
    return secrets.token_hex(4)


class IncomingServer(Model):
    """A mailbox that is fetched. Only ``confirmed`` ones are; ``why`` explains the last failure."""

    __tablename__ = "incoming_server"
    __table_args__ = (
        Index(None, "active", "priority", "id"),
        one_of("kind", "imap", "pop3"),
        one_of("encryption", "none", "starttls", "tls"),
        one_of("authentication", "password", "oauth2"),
        one_of("after_fetch", "mark_read", "move", "delete"),
        one_of("state", "draft", "confirmed"),
        one_of("sender_checks", "learn", "set", "off"),
        index_of_few("ix_incoming_server_oauth_account_id", "oauth_account_id"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(120))
    kind: Mapped[str] = mapped_column(String(10), default="imap")
    host: Mapped[str] = mapped_column(String(255))
    port: Mapped[int] = mapped_column(default=993)
    encryption: Mapped[str] = mapped_column(String(10), default="tls")
    verify_tls: Mapped[bool] = mapped_column(default=True)
    trusted_certificate: Mapped[str] = mapped_column(String(64), default="")
    authentication: Mapped[str] = mapped_column(String(20), default="password", server_default="password")
    user: Mapped[str] = mapped_column(String(320), default="")
    password: Mapped[str | None] = mapped_column(Encrypted)
    oauth_account_id: Mapped[int | None] = mapped_column(ForeignKey("oauth_account.id", ondelete="SET NULL"))
    shared_mailbox: Mapped[str] = mapped_column(String(320), default="", server_default="")  # read instead of the own
    folder: Mapped[str] = mapped_column(String(255), default="INBOX")
    address: Mapped[str] = mapped_column(String(320), default="", server_default="")
    action_type_id: Mapped[int | None] = mapped_column(ForeignKey("document_type.id", ondelete="SET NULL"))
    keep_attachments: Mapped[bool] = mapped_column(default=True)
    keep_original: Mapped[bool] = mapped_column(default=True)
    after_fetch: Mapped[str] = mapped_column(String(20), default="mark_read")
    move_to: Mapped[str] = mapped_column(String(255), default="")
    fetch_existing: Mapped[bool] = mapped_column(default=False)  # also what lay there before it was confirmed
    sender_checks: Mapped[str] = mapped_column(String(10), default="learn", server_default="learn")
    checked_by: Mapped[str] = mapped_column(String(255), default="", server_default="")  # if "set": whose checks count
    checks_seen: Mapped[dict[str, int] | None] = mapped_column(Json)  # whose checks its mails showed, and how often
    priority: Mapped[int] = mapped_column(default=10)
    active: Mapped[bool] = mapped_column(default=True)
    state: Mapped[str] = mapped_column(String(10), default="draft")
    mailbox: Mapped[str] = mapped_column(String(16), default=new_mailbox)
    confirmed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # what lay in the mailbox then is left alone
    last_success_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_failure_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    why: Mapped[dict[str, Any] | None] = mapped_column(Json)
    idle_since: Mapped[datetime | None] = mapped_column(UtcDateTime)  # connected, and told of each email that arrives
    idle_why: Mapped[dict[str, Any] | None] = mapped_column(Json)  # why it is not
    oauth_account: Mapped[OauthAccount | None] = relationship()

    @property
    def source(self) -> str:
        """Where its mails come from, in the ledger."""
        return f"server:{self.id}:{self.mailbox}"

    def become_another(self) -> bool:
        """Forget how far the mailbox was read: server or user lead to another one from now on. The caller commits.

        Returns whether there are mails that the former mailbox was not told of, and never will be: nobody asks for
        those of a source that is no more.
        """
        owed = select(ReceivedMail.id).where(ReceivedMail.source == self.source, ReceivedMail.acknowledged.is_(False))
        left = db.session.scalar(owed.limit(1)) is not None
        self.mailbox, self.confirmed_at, self.checks_seen = new_mailbox(), None, None
        db.session.execute(delete(MailboxState).where(MailboxState.incoming_server_id == self.id))
        return left

    def __str__(self) -> str:
        return self.name


class MailboxState(Model):
    """How far a folder was read (IMAP): everything up to ``last_uid`` is stored; ``start_uid`` was there before us.

    Above ``last_uid`` and up to ``start_uid`` the mails got new numbers: only their date tells what was there before.
    """

    __tablename__ = "mailbox_state"
    __table_args__ = (UniqueConstraint("incoming_server_id", "folder", "uidvalidity"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    incoming_server_id: Mapped[int] = mapped_column(ForeignKey("incoming_server.id", ondelete="CASCADE"))
    folder: Mapped[str] = mapped_column(String(255))
    uidvalidity: Mapped[int] = mapped_column(Id)
    last_uid: Mapped[int] = mapped_column(Id, default=0)
    start_uid: Mapped[int] = mapped_column(Id, default=0)


def _as_received(context: Any) -> datetime:
    received_at: datetime = context.get_current_parameters()["received_at"]
    return received_at


class ReceivedMail(Model):
    """The ledger: every mail that reached us, in exactly one state. The raw bytes are stored before anything else."""

    __tablename__ = "received_mail"
    __table_args__ = (
        index_of_few("ix_received_mail_of_worker", "worker_id"),
        index_of_few("ix_received_mail_of_incoming_server", "incoming_server_id"),
        index_of_few("ix_received_mail_of_answer", "answer_id"),
        UniqueConstraint("source", "source_key"),
        Index(None, "message_key"),
        Index(None, "from_key", "arrived_at"),
        Index("ix_received_mail_waiting", "id", sqlite_where=text("state = 'received'"),
              postgresql_where=text("state = 'received'")),
        Index("ix_received_mail_unacknowledged", "source", "id", sqlite_where=text("acknowledged IS 0"),
              postgresql_where=text("acknowledged IS false")),
        Index("ix_received_mail_quarantined", "id", sqlite_where=text("state = 'quarantined'"),
              postgresql_where=text("state = 'quarantined'")),
        Index("ix_received_mail_held", "held", "from_key", sqlite_where=text("held <> ''"),
              postgresql_where=text("held <> ''")),
        Index("ix_received_mail_unknown", "unknown_address", "id", sqlite_where=text("unknown_address <> ''"),
              postgresql_where=text("unknown_address <> ''")),
        Index(None, "state", "id"),
        Index("ix_received_mail_state_result", "state", "result", "id"),
        one_of("state", *RECEIVED_STATES),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    source: Mapped[str] = mapped_column(String(60))  # "server:3:9f8e7d6c", "practice", "pipe"
    source_key: Mapped[str] = mapped_column(String(255))  # uidvalidity.uid, UIDL or random
    incoming_server_id: Mapped[int | None] = mapped_column(ForeignKey("incoming_server.id", ondelete="SET NULL"))
    blob_id: Mapped[int | None] = mapped_column(ForeignKey("blob.id"), index=True)
    size: Mapped[int] = mapped_column(Id)
    message_id: Mapped[str | None] = mapped_column(String(1000))
    message_key: Mapped[str | None] = mapped_column(String(64))
    from_key: Mapped[str | None] = mapped_column(String(320))
    from_text: Mapped[str] = mapped_column(String(500), default="")
    to_text: Mapped[str] = mapped_column(String(500), default="")
    subject: Mapped[str] = mapped_column(String(500), default="")
    state: Mapped[str] = mapped_column(String(20), default="received")
    result: Mapped[str] = mapped_column(String(20), default="")  # document, reply, bounce, auto_reply, complaint ...
    decision: Mapped[list[Any] | None] = mapped_column(Json)  # the steps of the routing, as codes and values
    # Where the loop brake stopped it ("alias:3"); in quarantine with it: its group. Waiting again: it may pass now.
    held: Mapped[str] = mapped_column(String(60), default="")
    # In quarantine: the address of ours that it was written to and that nobody has.
    unknown_address: Mapped[str] = mapped_column(String(320), default="", server_default="")
    # Why it is rejected, as its sender was told.
    answer_id: Mapped[int | None] = mapped_column(ForeignKey(
        "outgoing_mail.id", ondelete="SET NULL", name="fk_received_mail_answer_id_outgoing_mail", use_alter=True
    ))  # fmt: skip
    worker_id: Mapped[int | None] = mapped_column(ForeignKey("worker.id"))
    attempts: Mapped[int] = mapped_column(default=0)  # workers that died with it; or how often it was asked for
    acknowledged: Mapped[bool] = mapped_column(default=True)  # False: its server is still to be told that we have it
    copied: Mapped[bool] = mapped_column(default=False)  # is in the folder for fetched mails, and not yet deleted
    arrived_at: Mapped[datetime] = mapped_column(UtcDateTime, default=_as_received)  # at its own server
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)  # here
    processed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    def __str__(self) -> str:
        return self.subject


class RouteResult(Model):
    """A destination that a mail has reached: the same mail never reaches the same one twice."""

    __tablename__ = "route_result"
    __table_args__ = (UniqueConstraint("message_key", "target"), Index(None, "received_mail_id"))

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    received_mail_id: Mapped[int] = mapped_column(ForeignKey("received_mail.id", ondelete="CASCADE"))
    message_key: Mapped[str] = mapped_column(String(64))
    target: Mapped[str] = mapped_column(String(60))  # "type:2", "thread:9", "line:77", "trace:5"
    post_id: Mapped[int | None] = mapped_column(ForeignKey("post.id", ondelete="SET NULL"))
    document_id: Mapped[int | None] = mapped_column(ForeignKey("document.id", ondelete="SET NULL"))

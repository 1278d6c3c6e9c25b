"""The discussion thread (chatter) of a document, its followers, and the aliases whose mail opens new ones."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.base import Id, Json, Model, UtcDateTime, index_of_few, one_of
from models.document import DocumentType

if TYPE_CHECKING:
    from models.contact import Contact
    from models.user import User

POLICIES = ("everyone", "contacts", "followers", "users")


class Thread(Model):
    """A discussion. Documents and contacts point to it, never the reverse."""

    __tablename__ = "thread"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    root_message_id: Mapped[str | None] = mapped_column(String(1000))
    last_post_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Post(Model):
    """Something said in a thread.

    ``kind``: message goes to the followers, note only to users, log is written by the system, auto is an automatic
    answer that came in. ``fold_at`` is where the quoted part of ``html`` (or of ``text``, without html) begins.
    ``mark``, on a received mail that names one of us: ``verified`` when our receiving server confirms it, ``forged``
    when it denies it, ``not_checked`` when nothing proves it, with ``mark_why``; ``from_outside`` when it answers an
    internal note and does not come from a user.
    ``sealed``: ``signed`` when it has a signature that was not checked, ``encrypted`` when it needs a key to be read.
    ``why``: what a log post says, or how the author of a mail was found. ``addressed``: whom a received mail names in
    its To and Cc, as "Name <address>", where it names more than one, and how many ``more`` there are.
    """

    __tablename__ = "post"
    __table_args__ = (
        index_of_few("ix_post_of_received_mail", "received_mail_id"),
        UniqueConstraint("thread_id", "message_key"),
        Index(None, "thread_id", "id"),
        Index(None, "message_id"),
        one_of("kind", "message", "note", "log", "auto"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    thread_id: Mapped[int] = mapped_column(ForeignKey("thread.id"))
    kind: Mapped[str] = mapped_column(String(10))
    author_contact_id: Mapped[int | None] = mapped_column(ForeignKey("contact.id"))
    author_address: Mapped[str] = mapped_column(String(400), default="")  # "Name <address>" as the mail said it
    subject: Mapped[str] = mapped_column(String(500), default="")
    html: Mapped[str] = mapped_column(Text, default="")
    text: Mapped[str] = mapped_column(Text, default="")
    fold_at: Mapped[int | None]
    why: Mapped[dict[str, Any] | None] = mapped_column(Json)
    mark: Mapped[str] = mapped_column(String(20), default="")
    mark_why: Mapped[dict[str, Any] | None] = mapped_column(Json)
    sealed: Mapped[str] = mapped_column(String(20), default="", server_default="")
    addressed: Mapped[dict[str, Any] | None] = mapped_column(Json)
    message_id: Mapped[str | None] = mapped_column(String(1000))
    message_key: Mapped[str] = mapped_column(String(64))
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("post.id"))
    received_mail_id: Mapped[int | None] = mapped_column(ForeignKey("received_mail.id", ondelete="SET NULL"))
    at: Mapped[datetime] = mapped_column(UtcDateTime)

    thread: Mapped[Thread] = relationship()
    author: Mapped["Contact | None"] = relationship()
    attachments: Mapped[list["Attachment"]] = relationship(order_by="Attachment.id")


class Attachment(Model):
    """A file that came with a post; ``cid`` names an image that is shown inside the text.

    ``link_id``: a number that nobody can guess, of a file that was too large for the mail and left as a link.
    """

    __tablename__ = "attachment"
    __table_args__ = (
        Index("ix_attachment_link_id", "link_id", unique=True, sqlite_where=text("link_id IS NOT NULL"),
              postgresql_where=text("link_id IS NOT NULL")),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    post_id: Mapped[int] = mapped_column(ForeignKey("post.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(255))
    type: Mapped[str] = mapped_column(String(120))
    cid: Mapped[str | None] = mapped_column(String(255))
    blob_id: Mapped[int] = mapped_column(ForeignKey("blob.id"), index=True)
    size: Mapped[int] = mapped_column(Id)
    link_id: Mapped[int | None] = mapped_column(Id)


class Follower(Model):
    """A contact that gets what is said in a thread; ``why`` says how it came to follow."""

    __tablename__ = "follower"
    __table_args__ = (UniqueConstraint("thread_id", "contact_id"), Index(None, "contact_id"))

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    thread_id: Mapped[int] = mapped_column(ForeignKey("thread.id", ondelete="CASCADE"))
    contact_id: Mapped[int] = mapped_column(ForeignKey("contact.id", ondelete="CASCADE"))
    why: Mapped[dict[str, Any] | None] = mapped_column(Json)

    contact: Mapped["Contact"] = relationship()


class Notification(Model):
    """Something in the inbox of a user: a post, for those who read in the browser; a failure of one's own mail; or a
    notice for admins, which has no post: ``why`` says it, and ``link`` (a path) leads to what it is about.
    """

    __tablename__ = "notification"
    __table_args__ = (
        UniqueConstraint("post_id", "user_id", "kind"),
        one_of("kind", "post", "failure", "notice"),
        Index(None, "user_id", "id"),
        Index("ix_notification_unread", "user_id", "id", sqlite_where=text("read_at IS NULL"),
              postgresql_where=text("read_at IS NULL")),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    post_id: Mapped[int | None] = mapped_column(ForeignKey("post.id", ondelete="CASCADE"))
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(10), default="post")
    why: Mapped[dict[str, Any] | None] = mapped_column(Json)
    link: Mapped[str] = mapped_column(String(500), default="", server_default="")
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    read_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    told_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # by a daily digest

    post: Mapped[Post | None] = relationship()


class Alias(Model):
    """An address of ours and what its mail becomes. Retired ones stay known, so that old replies still arrive.

    ``address_key`` is the full normalised address. Catchall and bounce rows mirror the system parameters and the
    domains. An active alias works in all of our domains, with ``one_domain`` only in that of its address.
    """

    __tablename__ = "alias"
    __table_args__ = (
        one_of("role", "alias", "catchall", "bounce"),
        one_of("state", "active", "retired"),
        one_of("policy", *POLICIES),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    role: Mapped[str] = mapped_column(String(10), default="alias")
    local_part: Mapped[str] = mapped_column(String(64))
    address_key: Mapped[str] = mapped_column(String(320), unique=True)
    any_domain: Mapped[bool] = mapped_column(default=False)
    one_domain: Mapped[bool] = mapped_column(default=False)
    type_id: Mapped[int | None] = mapped_column(ForeignKey("document_type.id"))
    defaults: Mapped[dict[str, Any] | None] = mapped_column(Json)
    fixed_document_id: Mapped[int | None] = mapped_column(ForeignKey("document.id", ondelete="SET NULL"))
    parent_document_id: Mapped[int | None] = mapped_column(ForeignKey("document.id", ondelete="SET NULL"))
    policy: Mapped[str] = mapped_column(String(10), default="everyone")
    refusal: Mapped[str] = mapped_column(Text, default="")
    make_contact: Mapped[bool] = mapped_column(default=True)
    follow_fixed: Mapped[bool] = mapped_column(default=False)  # whoever writes to it follows the fixed document
    responsible_id: Mapped[int | None] = mapped_column(ForeignKey("user.id", ondelete="SET NULL"))
    state: Mapped[str] = mapped_column(String(10), default="active")
    valid: Mapped[bool | None]  # None: no mail yet; False: the last one failed, see why
    why: Mapped[dict[str, Any] | None] = mapped_column(Json)
    hits: Mapped[int] = mapped_column(default=0)
    last_hit_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    plus_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # a bounce address: when "+test" arrived

    type: Mapped[DocumentType | None] = relationship()
    responsible: Mapped["User | None"] = relationship()

    def __str__(self) -> str:
        return self.address_key

"""Documents: an opportunity, a sales order, an invoice. What is said about one is in its thread."""

from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.base import Id, Model, UtcDateTime

if TYPE_CHECKING:
    from models.contact import Contact
    from models.thread import Thread
    from models.user import User

# What a list of documents may ask for, with failures or without: each has an index, or the database sorts all of them.
NARROWED_BY: tuple[tuple[str, ...], ...] = ((), ("stage_id",), ("responsible_id",), ("responsible_id", "stage_id"))


class DocumentType(Model):
    """A kind of document. ``number_pattern`` makes numbers such as ``OPP/{number:05d}``."""

    __tablename__ = "document_type"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    code: Mapped[str] = mapped_column(String(40), unique=True)
    name: Mapped[str] = mapped_column(String(80))
    plural: Mapped[str] = mapped_column(String(80))
    icon: Mapped[str] = mapped_column(String(40), default="file")
    number_pattern: Mapped[str] = mapped_column(String(80))
    next_number: Mapped[int] = mapped_column(default=1)
    position: Mapped[int] = mapped_column(default=10)
    active: Mapped[bool] = mapped_column(default=True)

    stages: Mapped[list["Stage"]] = relationship(
        back_populates="type", order_by="Stage.position", cascade="all, delete-orphan", passive_deletes=True
    )

    def __str__(self) -> str:
        return self.name


class Stage(Model):
    """A step in the life of a document, such as New or Won."""

    __tablename__ = "stage"
    __table_args__ = (UniqueConstraint("type_id", "position"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    type_id: Mapped[int] = mapped_column(ForeignKey("document_type.id", ondelete="CASCADE"))
    position: Mapped[int]
    name: Mapped[str] = mapped_column(String(80))

    type: Mapped[DocumentType] = relationship(back_populates="stages")

    def __str__(self) -> str:
        return self.name


class Document(Model):
    """One document with its discussion thread. ``origin_key`` is the mail that made it."""

    __tablename__ = "document"
    __table_args__ = (
        UniqueConstraint("type_id", "number"),
        UniqueConstraint("type_id", "origin_key"),
        *(Index(None, "type_id", *more, "id") for more in NARROWED_BY),
        *(Index(None, "failure_unread", "type_id", *more, "id", sqlite_where=text("failure_unread = 1"),
                postgresql_where=text("failure_unread")) for more in NARROWED_BY),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    type_id: Mapped[int] = mapped_column(ForeignKey("document_type.id"))
    number: Mapped[str] = mapped_column(String(80))
    thread_id: Mapped[int] = mapped_column(ForeignKey("thread.id"), unique=True)
    title: Mapped[str] = mapped_column(String(500))
    contact_id: Mapped[int | None] = mapped_column(ForeignKey("contact.id"), index=True)
    sender: Mapped[str] = mapped_column(String(400), default="")  # "Name <address>" of the mail that made it
    responsible_id: Mapped[int | None] = mapped_column(ForeignKey("user.id"))
    stage_id: Mapped[int | None] = mapped_column(ForeignKey("stage.id"))
    priority: Mapped[int] = mapped_column(default=0)
    origin_key: Mapped[str | None] = mapped_column(String(64))
    failure_unread: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)

    type: Mapped[DocumentType] = relationship()
    thread: Mapped["Thread"] = relationship()
    contact: Mapped["Contact | None"] = relationship()
    responsible: Mapped["User | None"] = relationship()
    stage: Mapped[Stage | None] = relationship()

    def __str__(self) -> str:
        return f"{self.number} {self.title}"

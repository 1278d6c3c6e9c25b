"""People and the lists they are on."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ForeignKey,
    Index,
    String,
    UniqueConstraint,
    func,
    select,
    union,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.base import Id, Json, Model, UtcDateTime, db, one_of

MOST_COUNTED = 10_000  # subscribers of a list that are counted where the exact number is not needed


class Contact(Model):
    """A person or company that mail goes to or comes from. ``address_key`` is the normalised address."""

    __tablename__ = "contact"
    __table_args__ = (Index(None, "name", "id"), Index(None, "active", "name", "id"))

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(200), default="")
    address: Mapped[str | None] = mapped_column(String(320))
    address_key: Mapped[str | None] = mapped_column(String(320), unique=True)
    company: Mapped[str] = mapped_column(String(200), default="")
    language: Mapped[str] = mapped_column(String(10), default="")
    active: Mapped[bool] = mapped_column(default=True)
    thread_id: Mapped[int | None] = mapped_column(ForeignKey("thread.id"), unique=True)
    created_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    def __str__(self) -> str:
        return self.name or self.address or ""


class MailingList(Model):
    """A list of contacts that mailings go to."""

    __tablename__ = "mailing_list"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(120), unique=True)
    active: Mapped[bool] = mapped_column(default=True)

    def __str__(self) -> str:
        return self.name


class Subscription(Model):
    """A contact on a list; who unsubscribed stays on it with the date and the reason."""

    __tablename__ = "subscription"
    __table_args__ = (
        UniqueConstraint("list_id", "contact_id"),
        Index(None, "contact_id"),
        Index(None, "list_id", "state", "contact_id"),
        one_of("state", "pending", "subscribed", "unsubscribed"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    list_id: Mapped[int] = mapped_column(ForeignKey("mailing_list.id", ondelete="CASCADE"))
    contact_id: Mapped[int] = mapped_column(ForeignKey("contact.id", ondelete="CASCADE"))
    state: Mapped[str] = mapped_column(String(20), default="subscribed")
    why: Mapped[dict[str, Any] | None] = mapped_column(Json)
    at: Mapped[datetime] = mapped_column(UtcDateTime)

    list: Mapped[MailingList] = relationship()
    contact: Mapped[Contact] = relationship()

    @classmethod
    def subscribed(cls, list_ids: Iterable[int]) -> dict[int, int]:
        """Return how many are subscribed to each of these lists; beyond ``MOST_COUNTED`` nobody counts further."""
        return {list_id: cls._count(cls._of([list_id])) for list_id in list_ids}

    @classmethod
    def audience(cls, list_ids: Iterable[int]) -> int:
        """Return how many contacts are subscribed to at least one of these lists, counted as far as ``subscribed``."""
        lists = list(list_ids)
        return cls._count(cls._of(lists)) if lists else 0

    @classmethod
    def _of(cls, list_ids: Iterable[int]) -> Any:
        """The first subscribers of each list: a short range of an index."""
        first = (
            select(cls.contact_id)
            .where(cls.list_id == list_id, cls.state == "subscribed")
            .order_by(cls.contact_id)
            .limit(MOST_COUNTED + 1)
            .subquery()
            for list_id in list_ids
        )
        return union(*(select(one.c.contact_id) for one in first)).subquery()

    @classmethod
    def _count(cls, people: Any) -> int:
        return db.session.scalar(select(func.count()).select_from(people)) or 0

    @classmethod
    def counts(cls, list_ids: Iterable[int]) -> dict[int, Counter[str]]:
        """Return how many contacts are on each of these lists, by the state of their subscription."""
        counted: dict[int, Counter[str]] = {list_id: Counter() for list_id in list_ids}
        found = select(cls.list_id, cls.state, func.count()).where(cls.list_id.in_(counted))
        for list_id, state, count in db.session.execute(found.group_by(cls.list_id, cls.state)):
            counted[list_id][state] = count
        return counted

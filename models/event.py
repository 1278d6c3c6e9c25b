"""What open pages ask for: a row per change, written in the transaction that made the change."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import String, insert
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Id, Model, UtcDateTime, db


class Event(Model):
    """Something that an open page shows has changed; ``topic`` says what: ``thread:12``, ``mailing:3``, ``practice``.

    Ids are given before the commit, so a lower id may appear after a higher one: a reader looks back a few seconds.
    """

    __tablename__ = "event"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    topic: Mapped[str] = mapped_column(String(80))

    @classmethod
    def add(cls, topics: Iterable[str], now: datetime) -> None:
        """Tell open pages that these topics changed; the caller commits."""
        rows = [{"at": now, "topic": topic} for topic in dict.fromkeys(topics)]
        if rows:
            db.session.execute(insert(cls), rows)

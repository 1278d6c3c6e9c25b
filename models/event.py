"""What open pages ask for: a row per change, written in the transaction that made the change."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import String, event
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Id, Model, UtcDateTime, db
from models.store import insert_rows

_TOLD = "topics"  # in the session: what its transaction tells open pages


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
        """Tell open pages that these topics changed: in one statement when the caller commits."""
        db.session.connection()  # what is told belongs to a transaction, and ends with it
        db.session.info.setdefault(_TOLD, {}).update(dict.fromkeys(topics, now))


@event.listens_for(db.session, "before_commit")
def _tell(session: Session) -> None:
    told: dict[str, datetime] = session.info.pop(_TOLD, {})
    insert_rows(Event, [{"at": at, "topic": topic} for topic, at in told.items()])


@event.listens_for(db.session, "after_soft_rollback")
def _forget(session: Session, _ended: object) -> None:
    session.info.pop(_TOLD, None)

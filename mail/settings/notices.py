"""What admins must know although nobody wrote it: a notice in the inbox of each of them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select, update

from mail.sentences import why
from models import Event, Notification, User, db


def tell_admins(code: str, values: dict[str, Any], link: str, now: datetime) -> None:
    """Put a notice into the inbox of each active admin; ``link`` is a path of ours that leads to what it is about.

    Tell of a change, not of a state: whoever calls it keeps what was told last. The caller commits.
    """
    admins = db.session.scalars(select(User.id).where(User.role == "admin", User.active)).all()
    reason = why(code, **values)
    for user_id in admins:
        db.session.add(Notification(user_id=user_id, kind="notice", why=reason, link=link, at=now))
    Event.add([f"inbox:{user_id}" for user_id in admins], now)


def is_done(links: Sequence[str], now: datetime) -> None:
    """Mark the notices that lead there as read for every admin: somebody did what they ask for. The caller commits."""
    unread = update(Notification).where(
        Notification.user_id.in_(select(User.id).where(User.role == "admin")), Notification.read_at.is_(None),
        Notification.kind == "notice", Notification.link.in_(links),
    )  # fmt: skip
    told = db.session.scalars(unread.values(read_at=now).returning(Notification.user_id)).all()
    Event.add([f"inbox:{user_id}" for user_id in told], now)

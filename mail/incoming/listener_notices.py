"""What admins hear of a listener: that it can't be opened, and that it can again. Each change once."""

from datetime import datetime
from urllib.parse import quote

from sqlalchemy import select

from mail.sentences import Why
from mail.settings.notices import tell_admins
from models import Notification, User, db

PAGE = "/settings/receiving/"


def tell(address: str, reason: Why, now: datetime, is_over: bool = False) -> None:
    """Tell all admins why an address can't be opened, or that this is over; commits.

    Not of what they know already, nor of the end of something that they never heard of.
    """
    link = f"{PAGE}?listener={quote(address)}"
    an_admin = select(User.id).where(User.role == "admin", User.active).order_by(User.id).limit(1).scalar_subquery()
    last = db.session.scalar(
        select(Notification.why)
        .where(Notification.user_id == an_admin, Notification.link == link)
        .order_by(Notification.id.desc())
        .limit(1)
    )
    was_told = last is not None and last["code"] != "listener_again"
    if was_told is not is_over:
        db.session.rollback()
        return
    tell_admins(reason["code"], reason["values"], link, now)
    db.session.commit()

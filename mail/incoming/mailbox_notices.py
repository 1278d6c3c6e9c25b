"""What admins hear of a mailbox that can't be fetched for a while, once; and that it can again ends it."""

from datetime import datetime, timedelta

from sqlalchemy import select

from mail.errors import MailError
from mail.settings.notices import is_done, tell_admins
from mail.transport.sasl import SignInWaits
from models import Notification, User, db

LONG = timedelta(minutes=30)  # what passes without anybody's help has mostly passed by then
_PAGE = "/admin/incoming-servers/edit?id=%s"


def tell(server_id: int, name: str, error: MailError, read_at: datetime | None, now: datetime) -> None:
    """Tell the admins of a mailbox that failed again, if nothing was read for long; the caller commits.

    Of an account that has to sign in they hear elsewhere.
    """
    if read_at is None or now - read_at < LONG or isinstance(error, SignInWaits):
        return
    link = _PAGE % server_id
    an_admin = select(User.id).where(User.role == "admin", User.active).order_by(User.id).limit(1).scalar_subquery()
    told = (Notification.user_id == an_admin, Notification.link == link, Notification.at > read_at)
    if db.session.scalar(select(Notification.id).where(*told).limit(1)) is None:
        tell_admins("notice_mailbox_fails", {"server": name, "reason": error.why}, link, now)


def is_over(server_id: int, now: datetime) -> None:
    """Mark what was told of a mailbox as read: it can be fetched, or is no more. The caller commits."""
    is_done([_PAGE % server_id], now)

"""People who log in. Each one is also a contact, so that followers and authors are always contacts."""

import uuid
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from sqlalchemy import ForeignKey, Index, String, true
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.base import Id, Model, UtcDateTime, one_of
from models.lean import without

with without("authlib.integrations.flask_client"):  # 8 MB in each process, for a log-in that this office does not have
    from flask_security.core import UserMixin

if TYPE_CHECKING:
    from models.contact import Contact

ROLES = ("user", "marketing", "admin")


class User(Model, UserMixin):
    """Somebody of the office. ``role``: user reads and writes documents, marketing also mailings, admin everything."""

    __tablename__ = "user"
    __table_args__ = (one_of("role", *ROLES), one_of("notify", "mail", "inbox"))

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    contact_id: Mapped[int] = mapped_column(ForeignKey("contact.id"), unique=True)
    email: Mapped[str] = mapped_column(String(320), unique=True)
    password: Mapped[str | None] = mapped_column(String(255))
    active: Mapped[bool] = mapped_column(default=True)
    fs_uniquifier: Mapped[str] = mapped_column(String(64), unique=True, default=lambda: uuid.uuid4().hex)
    role: Mapped[str] = mapped_column(String(20), default="user")
    zone: Mapped[str] = mapped_column(String(64), default="UTC")
    language: Mapped[str] = mapped_column(String(10), default="en")
    notify: Mapped[str] = mapped_column(String(10), default="mail")
    digest: Mapped[bool] = mapped_column(default=True, server_default=true())  # gets the daily digest
    digested_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # the last one

    contact: Mapped["Contact"] = relationship(lazy="joined")

    session_key: ClassVar[str] = ""  # of the log-in that this object came in by; an object of ours sets its own

    @property
    def name(self) -> str:
        """The name shown to others: the one of the contact."""
        return self.contact.name

    def get_id(self) -> str:
        """What the cookies of a log-in carry: the key of its session, not of the account."""
        return self.session_key

    def __str__(self) -> str:
        return self.contact.name or self.email


class LoginSession(Model):
    """One log-in on one device; a cookie whose row is gone, or over, lets nobody in."""

    __tablename__ = "login_session"
    __table_args__ = (Index(None, "user_id"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    key_hash: Mapped[str] = mapped_column(String(64), unique=True)
    remembered: Mapped[bool] = mapped_column(default=False)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ends_at: Mapped[datetime] = mapped_column(UtcDateTime)


class LoginAttempt(Model):
    """A wrong password, counted under the keys of ``webapp.guesses``: hashes, no addresses."""

    __tablename__ = "login_attempt"
    __table_args__ = (Index(None, "key", "at"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    key: Mapped[str] = mapped_column(String(400))
    at: Mapped[datetime] = mapped_column(UtcDateTime)

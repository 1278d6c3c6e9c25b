"""People who log in. Each one is also a contact, so that followers and authors are always contacts."""

from datetime import datetime
from typing import TYPE_CHECKING

from flask_security.core import UserMixin
from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.base import Id, Model, UtcDateTime, one_of

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
    fs_uniquifier: Mapped[str] = mapped_column(String(64), unique=True)
    role: Mapped[str] = mapped_column(String(20), default="user")
    zone: Mapped[str] = mapped_column(String(64), default="UTC")
    language: Mapped[str] = mapped_column(String(10), default="en")
    notify: Mapped[str] = mapped_column(String(10), default="mail")

    contact: Mapped["Contact"] = relationship(lazy="joined")

    @property
    def name(self) -> str:
        """The name shown to others: the one of the contact."""
        return self.contact.name

    def __str__(self) -> str:
        return self.contact.name or self.email


class LoginAttempt(Model):
    """A failed log-in, counted per address of the account and per address of the caller."""

    __tablename__ = "login_attempt"
    __table_args__ = (Index(None, "key", "at"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    key: Mapped[str] = mapped_column(String(400))
    at: Mapped[datetime] = mapped_column(UtcDateTime)

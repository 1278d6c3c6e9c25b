"""The domains of the office beside its alias domain, which is a system parameter."""

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Id, Model


class OfficeDomain(Model):
    """A further domain of the office. What is empty is the same as for the alias domain.

    ``name`` as it was entered, ``name_key`` as it is compared.
    """

    __tablename__ = "mail_domain"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    name_key: Mapped[str] = mapped_column(String(255), unique=True)
    company: Mapped[str] = mapped_column(String(120), default="")
    catchall_alias: Mapped[str] = mapped_column(String(64), default="")
    bounce_alias: Mapped[str] = mapped_column(String(64), default="")
    default_from: Mapped[str] = mapped_column(String(64), default="")

    def __str__(self) -> str:
        return self.name_key

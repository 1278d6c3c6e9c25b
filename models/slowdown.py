"""Recipient domains that an outgoing server takes emails to only slowly; a row for each, deleted when it is over."""

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Id, Model, UtcDateTime


class SlowedDomain(Model):
    """How far the pace of a domain ("": all) on a server (0: the default server) is lowered, until when it waits."""

    __tablename__ = "slowed_domain"

    server_id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    domain: Mapped[str] = mapped_column(String(255), primary_key=True)
    steps: Mapped[int]
    until: Mapped[datetime] = mapped_column(UtcDateTime)
    code: Mapped[str] = mapped_column(String(40))

"""How much of its limits each outgoing server has used; one row for each length of window."""

from datetime import datetime

from sqlalchemy import Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Id, Model, UtcDateTime


class Quota(Model):
    """The emails that a server (0: the default server) was given in one window, the last one that had any.

    What is about to be sent is counted before, in the transaction that claims it; what was not accepted is given back.
    """

    __tablename__ = "quota"

    server_id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    seconds: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    window_start: Mapped[datetime] = mapped_column(UtcDateTime)
    used: Mapped[int] = mapped_column(Integer, default=0, server_default=text("0"))

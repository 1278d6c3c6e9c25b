"""The self-test of an outgoing server: what was sent for it, and what came back."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Id, Json, Model, UtcDateTime, index_of_few, one_of

SELF_TEST_PARTS = ("delivery", "authentication", "reply", "bounce", "plus")


class SelfTestPart(Model):
    """One part of a self-test (a ``ServerCheck`` of that kind) and how it ended.

    ``sending``: a worker is at it; ``sent``: a server accepted its email, and something is to come back. What came is
    in ``seen``, written by the worker that received it, whenever that was.
    """

    __tablename__ = "self_test_part"
    __table_args__ = (
        UniqueConstraint("check_id", "name"),
        index_of_few("ix_self_test_part_of_mail", "mail_id"),
        index_of_few("ix_self_test_part_of_received_mail", "received_mail_id"),
        index_of_few("ix_self_test_part_of_incoming_server", "incoming_server_id"),
        one_of("name", *SELF_TEST_PARTS),
        one_of("state", "waiting", "sending", "sent", "ok", "warning", "failed", "skipped"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    check_id: Mapped[int] = mapped_column(ForeignKey("server_check.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(20))
    state: Mapped[str] = mapped_column(String(10), default="waiting")
    address: Mapped[str] = mapped_column(String(320), default="")  # it is sent there
    incoming_server_id: Mapped[int | None] = mapped_column(ForeignKey("incoming_server.id", ondelete="SET NULL"))
    mail_id: Mapped[int | None] = mapped_column(ForeignKey("outgoing_mail.id", ondelete="SET NULL"))
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    seen: Mapped[dict[str, Any] | None] = mapped_column(Json)
    seen_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    received_mail_id: Mapped[int | None] = mapped_column(ForeignKey("received_mail.id", ondelete="SET NULL"))
    why: Mapped[dict[str, Any] | None] = mapped_column(Json)

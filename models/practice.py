"""The practice mailbox: mail that was sent in practice or in a rehearsal, to be read and answered here."""

from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Id, Model, UtcDateTime


class PracticeMail(Model):
    """A mail as its recipient has it."""

    __tablename__ = "practice_mail"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    envelope_sender: Mapped[str] = mapped_column(String(400), default="")
    recipient: Mapped[str] = mapped_column(String(320), index=True)
    from_text: Mapped[str] = mapped_column(String(500), default="")
    subject: Mapped[str] = mapped_column(String(500), default="")
    blob_id: Mapped[int] = mapped_column(ForeignKey("blob.id"), index=True)
    # Which email it is: a line of the queue, or a recipient of a mailing. Not references: it outlives both.
    line_id: Mapped[int | None] = mapped_column(Id)
    trace_id: Mapped[int | None] = mapped_column(Id)
    answered_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    bounced_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    delayed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    away_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    complained_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

"""The practice mailbox: mail that was sent while no real server is set up, to be read and answered here."""

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
    answered_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    bounced_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

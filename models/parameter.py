"""System parameters as rows: a key and the value that somebody set; what has no row has its default."""

from datetime import datetime

from sqlalchemy import ForeignKey, String, Text, exists
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Id, Model, UtcDateTime


class SystemParameter(Model):
    """One parameter that was set by a person or by the first start."""

    __tablename__ = "system_parameter"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    key: Mapped[str] = mapped_column(String(200), unique=True)
    value: Mapped[str] = mapped_column(Text, default="")
    changed_by_id: Mapped[int | None] = mapped_column(ForeignKey("user.id", ondelete="SET NULL"))
    changed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    def __str__(self) -> str:
        return self.key


# Whether an admin turned Custom Email Servers off: asked for with every claim, so as part of its statement.
CUSTOM_IS_OFF = exists().where(SystemParameter.key == "mail.custom_servers", SystemParameter.value == "0")

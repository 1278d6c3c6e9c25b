"""The keys that sign emails (DKIM): of each domain those that wait to be seen in DNS, that sign, and that signed."""

from datetime import datetime
from typing import Any

from sqlalchemy import String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Encrypted, Id, Json, Model, UtcDateTime, one_of

ALGORITHMS = ("rsa", "ed25519")
KEY_STATES = ("new", "ready", "signing", "retired")


class DkimKeyPair(Model):
    """A key of a domain (``domain`` as it is compared), published in DNS under its selector.

    ``new``: not in DNS (yet). ``ready``: seen, and not in use. ``retired``: never to be used again. ``signed_until``:
    when it signed last, if it does no more; its record stays until the last of those emails was checked. ``check_at``:
    when the worker looks next; ``found``: what it saw.
    """

    __tablename__ = "dkim_key"
    __table_args__ = (
        UniqueConstraint("domain", "selector"),
        one_of("algorithm", *ALGORITHMS),
        one_of("state", *KEY_STATES),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    domain: Mapped[str] = mapped_column(String(255))
    selector: Mapped[str] = mapped_column(String(63))
    algorithm: Mapped[str] = mapped_column(String(10))
    private_key: Mapped[str] = mapped_column(Encrypted)
    public_key: Mapped[str] = mapped_column(Text)  # as the tag p of its record has it
    state: Mapped[str] = mapped_column(String(10), default="new")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    seen_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    signs_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    signed_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    checked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    check_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    found: Mapped[dict[str, Any] | None] = mapped_column(Json)

    def __str__(self) -> str:
        return f"{self.selector}._domainkey.{self.domain}"

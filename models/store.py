"""Large bytes: raw mails, contents, attachments and transcripts lie in one table, each once."""

import hashlib
import zlib
from typing import Any, Self

from sqlalchemy import LargeBinary, String, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Id, Model, db


def upsert(table: type[Model]) -> Any:
    """Return an INSERT for ``table`` that knows ``on_conflict_do_nothing`` and ``on_conflict_do_update``."""
    return (sqlite_insert if db.engine.dialect.name == "sqlite" else postgresql_insert)(table)


class Blob(Model):
    """Bytes, found by their SHA-256 and kept compressed."""

    __tablename__ = "blob"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    size: Mapped[int] = mapped_column(Id)
    data: Mapped[bytes] = mapped_column(LargeBinary)

    @classmethod
    def keep(cls, content: bytes) -> int:
        """Return the id under which these bytes lie, storing them if they are new; the caller commits."""
        row = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "data": zlib.compress(content, 1)}
        new = upsert(cls).values(row).on_conflict_do_nothing().returning(cls.id)
        found = db.session.scalar(new) or db.session.scalar(select(cls.id).where(cls.sha256 == row["sha256"]))
        assert found is not None
        return found

    @classmethod
    def read(cls, blob_id: int) -> bytes:
        """Return the bytes; raises ``LookupError`` if there are none under this id."""
        data = db.session.scalar(select(cls.data).where(cls.id == blob_id))
        if data is None:
            raise LookupError(f"blob {blob_id}")
        return zlib.decompress(data)

    @classmethod
    def of(cls, content: bytes) -> Self | None:
        """Return the row of these bytes, if they are stored."""
        return db.session.scalar(select(cls).where(cls.sha256 == hashlib.sha256(content).hexdigest()))

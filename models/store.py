"""Large bytes: raw mails, contents, attachments and transcripts are in one table, each once."""

import hashlib
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import LargeBinary, Row, String, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Id, Model, db
from models.slices import by_hundreds

PIECE = 64 * 1024  # octets


def upsert(table: type[Model]) -> Any:
    """Return an INSERT for ``table`` that knows ``on_conflict_do_nothing`` and ``on_conflict_do_update``."""
    return (sqlite_insert if db.engine.dialect.name == "sqlite" else postgresql_insert)(table)


def insert_rows(
    table: type[Model], rows: Sequence[Mapping[str, Any]], *returning: str, skip_known: bool = False
) -> Sequence[Row[Any]]:
    """Insert many rows in one statement (a thousand at a time) and return columns of those that are new, in any order.

    ``skip_known`` leaves out rows that meet a unique constraint. All rows have the same columns; the caller commits.
    """
    if not rows:
        return []
    statement = _insert(table, returning, skip_known, db.engine.dialect.name)
    result = db.session.connection().execute(statement, rows)
    return result.all() if returning else []


@lru_cache(maxsize=256)
def _insert(table: type[Model], returning: tuple[str, ...], skip_known: bool, dialect: str) -> Any:
    """The statement for ``insert_rows``, built once."""
    columns: Any = table.__table__
    statement = (sqlite_insert if dialect == "sqlite" else postgresql_insert)(columns)
    if skip_known:
        statement = statement.on_conflict_do_nothing()
    return statement.returning(*(columns.c[name] for name in returning)) if returning else statement


class Packed(NamedTuple):
    """Bytes as a row of ``Blob`` holds them."""

    sha256: str
    size: int
    data: bytes


def pack(content: bytes) -> Packed:
    """Return content ready to be stored: hashed and compressed, which takes time that no transaction should spend."""
    return Packed(hashlib.sha256(content).hexdigest(), len(content), zlib.compress(content, 1))


def _kept(found: Any) -> Any:
    """Make a look-up hold what it finds, so that Clean-up can't delete it before the caller has referred to it."""
    return found.with_for_update(read=True, key_share=True)


class Blob(Model):
    """Bytes, found by their SHA-256 and kept compressed."""

    __tablename__ = "blob"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    size: Mapped[int] = mapped_column(Id)
    data: Mapped[bytes] = mapped_column(LargeBinary)

    @classmethod
    def keep(cls, packed: Sequence[Packed]) -> list[int]:
        """Return the ids under which contents lie that were packed before the transaction began, in their order, and
        store those that are new: two statements at most; the caller commits.
        """
        new = {one.sha256: one._asdict() for one in packed}
        if not new:
            return []
        # One order for everybody: two transactions that store the same contents wait for each other, never in a ring.
        rows = [new[key] for key in sorted(new)]
        ids: dict[str, int] = {row.sha256: row.id for row in insert_rows(cls, rows, "sha256", "id", skip_known=True)}
        for missing in by_hundreds(new.keys() - ids.keys()):
            found = db.session.execute(_kept(select(cls.sha256, cls.id).where(cls.sha256.in_(missing))))
            ids.update((row.sha256, row.id) for row in found)
        return [ids[one.sha256] for one in packed]

    @classmethod
    def read_all(cls, blob_ids: Collection[int]) -> dict[int, bytes]:
        """Return the bytes of many blobs; an id that is not there is left out."""
        found: dict[int, bytes] = {}
        for some in by_hundreds(blob_ids):
            rows = db.session.execute(select(cls.id, cls.data).where(cls.id.in_(some)))
            found |= {row.id: zlib.decompress(row.data) for row in rows}
        return found

    @classmethod
    def read_in_pieces(cls, blob_id: int) -> Iterator[bytes]:
        """Return the bytes piece by piece, so that a large file is never in memory as a whole and unpacked."""
        data = db.session.scalar(select(cls.data).where(cls.id == blob_id))
        if data is None:
            raise LookupError(f"blob {blob_id}")
        return _unpacked(data)

    @classmethod
    def read(cls, blob_id: int) -> bytes:
        """Return the bytes; raises ``LookupError`` if there are none under this id."""
        data = db.session.scalar(select(cls.data).where(cls.id == blob_id))
        if data is None:
            raise LookupError(f"blob {blob_id}")
        return zlib.decompress(data)


def _unpacked(data: bytes) -> Iterator[bytes]:
    unpacker = zlib.decompressobj()
    for start in range(0, len(data), PIECE):
        rest = data[start : start + PIECE]
        while rest:
            yield unpacker.decompress(rest, PIECE)
            rest = unpacker.unconsumed_tail
    yield unpacker.flush()

"""Contents that nothing refers to any more: they are deleted in short transactions, however large they are."""

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from models.base import change_rows, db, reading
from models.slices import give_way
from models.store import Blob

AT_ONCE = 2 * 1024 * 1024  # octets of one transaction: SQLite frees a content page by page


def references_to(table: Any) -> list[Any]:
    """Return the columns of all tables that refer to this one."""
    return [
        column
        for other in db.metadata.tables.values()
        for column in other.columns
        if any(key.column.table is table.__table__ for key in column.foreign_keys)
    ]


def delete_unused(blob_ids: Collection[int]) -> int:
    """Delete those of these contents that nothing refers to and return how many; commits.

    A reference that is made at this very moment keeps its own.
    """
    if not blob_ids:
        return 0
    columns = references_to(Blob)
    with reading():
        used = {found for column in columns for found in db.session.scalars(select(column).where(column.in_(blob_ids)))}
        unused = select(Blob.id, Blob.size).where(Blob.id.in_(set(blob_ids) - used)).order_by(Blob.id)
        rows = db.session.execute(unused).all()
    return sum(_delete(some, columns) for some in _by_size(rows))


def _by_size(rows: Iterable[Any]) -> Iterator[list[int]]:
    some, octets = list[int](), 0
    for row in rows:
        if some and octets + row.size > AT_ONCE:
            yield some
            some, octets = [], 0
        some.append(row.id)
        octets += row.size
    if some:
        yield some


def _delete(blob_ids: Collection[int], columns: Sequence[Any]) -> int:
    unused = delete(Blob).where(Blob.id.in_(blob_ids))
    for column in columns:
        unused = unused.where(~select(1).where(column == Blob.id).exists())
    began = time.monotonic()
    try:
        deleted = change_rows(unused)
        db.session.commit()
    except IntegrityError:  # PostgreSQL: somebody referred to one of them meanwhile; the next sweep takes the others
        db.session.rollback()
        return 0
    give_way(time.monotonic() - began)
    return deleted

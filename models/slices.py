"""Long work in short transactions: how many rows fit into one, and room between two of them for who waits."""

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import ARRAY, BigInteger, ColumnElement, Select, func, literal, select, update
from sqlalchemy.orm import InstrumentedAttribute

from models import sqlite
from models.base import change_rows, db

Item = TypeVar("Item")

MOST_IDS = 500  # ids that one statement names: a database takes some ten thousand parameters, and plans them one by one
SHORT = 0.008  # seconds that a slice may take on SQLite, where nobody else writes meanwhile
# On PostgreSQL only who changes the same rows waits, and a transaction alone costs more.
SHORT_BESIDE_OTHERS = 0.100
GAP = 0.002  # seconds that who waits needs to notice that it is its turn
TURN = 0.030  # seconds for who waited for a person: its commit, the sender that it wakes, and what that one claims


def by_hundreds(ids: Collection[Item]) -> Iterator[Sequence[Item]]:
    """Cut ids into slices that a statement can name.

    >>> [len(some) for some in by_hundreds(range(1200))]
    [500, 500, 200]
    """
    left = iter(ids)
    while some := list(islice(left, MOST_IDS)):
        yield some


def listed(ids: Collection[int]) -> Select[Any]:
    """A query of these ids: one parameter, however many they are, and no reason to walk through an index instead."""
    if db.engine.dialect.name == "sqlite":
        return select(func.json_each(str(list(ids))).table_valued("value").c.value)
    return select(func.unnest(literal(list(ids), ARRAY(BigInteger))).column_valued("found"))


class SliceSize:
    """How many rows one transaction of a long piece of work takes, learned from how long the last one took.

    >>> size = SliceSize(2000, least=200, most=20_000)
    >>> size.learn(0.040, 0.020), size.learn(0.001, 0.020), size.learn(9.0, 0.020)
    (1000, 2000, 200)
    """

    def __init__(self, rows: int, least: int, most: int) -> None:
        self.rows, self._least, self._most = rows, least, most

    def learn(self, took: float, goal: float) -> int:
        """Return how many rows the next slice takes: at the most twice as many as this one."""
        fitting = self.rows * min(goal / max(took, 0.0001), 2.0)
        self.rows = int(min(max(fitting // self._least * self._least, self._least), self._most))
        return self.rows

    @contextmanager
    def slice(self) -> Iterator[int]:
        """Give the rows of a transaction that is begun, and committed, inside; who waits for it comes before the next.

        The time in which it waited itself does not count, nor, on SQLite, what other processes take of the processor:
        smaller slices would not make them quicker.
        """
        in_process = db.engine.dialect.name == "sqlite"
        with sqlite.patiently():
            db.session.connection()
        began, worked = time.monotonic(), time.thread_time()
        yield self.rows
        took, worked = time.monotonic() - began, time.thread_time() - worked
        self.learn(*(worked, SHORT) if in_process else (took, SHORT_BESIDE_OTHERS))
        give_way(took)


_cutting = SliceSize(2_000, least=200, most=20_000)


def cut_from(reference: InstrumentedAttribute[int | None], number: int, *which: ColumnElement[bool]) -> None:
    """Empty a reference to a row before it is deleted, slice by slice; the deletion would do it at once. Commits."""
    table: Any = reference.class_
    while True:
        with _cutting.slice() as size:
            some = select(table.id).where(reference == number, *which).limit(size)
            done = change_rows(update(table).where(table.id.in_(some)).values({reference.key: None}))
            db.session.commit()
        if done < size:
            return


def give_way(seconds: float) -> None:
    """Let who waits for SQLite's write lock have its turn; call it after a commit.

    Who waits for a person gets time for what follows as well, who waits patiently so many seconds at most.
    """
    if db.engine.dialect.name == "sqlite":
        if sqlite.someone_waits(db.engine, patient=False):
            time.sleep(TURN)
        until = time.monotonic() + max(seconds, GAP)
        while sqlite.someone_waits(db.engine, patient=True) and time.monotonic() < until:
            time.sleep(GAP)

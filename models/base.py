"""The database object, the column types and the transactions that every row shares."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cryptography.fernet import InvalidToken, MultiFernet
from flask import Flask, current_app
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ColumnElement,
    Connection,
    DateTime,
    Engine,
    Index,
    Integer,
    MetaData,
    String,
    event,
    inspect,
    literal_column,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

from models import sqlite
from models.connect import BEGIN_READING

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}

FERNET = "coquimail-secrets"


class Base(DeclarativeBase):
    """The base of all rows; its metadata gives every constraint a name, so that migrations can find it."""

    metadata = MetaData(naming_convention=NAMES)


# An UPDATE or DELETE goes past the objects that a session holds: to look for those it concerns costs more than most of
# these statements, and everybody commits or begins anew before the rows are read again.
db = SQLAlchemy(
    model_class=Base,
    disable_autonaming=True,
    session_options={"execution_options": {"synchronize_session": False}},
)

if TYPE_CHECKING:
    Model = Base
else:
    Model = db.Model

Id = BigInteger().with_variant(Integer, "sqlite")
Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC: takes only datetimes with a zone, gives back only datetimes in UTC, on both databases."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without a zone cannot be stored")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Unreadable(str):
    """A secret that was stored under a key that we no longer have: empty, until somebody types it anew."""

    __slots__ = ()


class Encrypted(TypeDecorator[str]):
    """A secret: encrypted before it reaches the database, readable only with the key that lies outside of it."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return _fernet().encrypt(value.encode()).decode() if value else value

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        try:
            return _fernet().decrypt(value.encode()).decode() if value else value
        except InvalidToken:
            return Unreadable()


def _fernet() -> MultiFernet:
    fernet: MultiFernet = current_app.extensions[FERNET]
    return fernet


def holds(column: Any, word: str) -> ColumnElement[bool]:
    """Return the condition that a column holds a word, written out in the statement and not as a parameter.

    Only so does the planner see that an index with the same words in its own condition has all the rows.
    """
    found: ColumnElement[bool] = column == literal_column(f"'{word}'")
    return found


def index_of_few(name: str, column: str) -> Index:
    """Return an index for a reference that most rows don't have: it finds those that name a row that is deleted."""
    given = text(f"{column} IS NOT NULL")
    return Index(name, column, sqlite_where=given, postgresql_where=given)


def one_of(column: str, *values: str) -> CheckConstraint:
    """Return the constraint that a column holds one of these words."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def was_changed(row: Any, column: str) -> bool:
    """Whether a column of a stored row was changed since it was loaded; nothing of a new row was."""
    state = inspect(row)
    return bool(state.persistent and state.attrs[column].history.has_changes())


def change_rows(statement: Any) -> int:
    """Execute an UPDATE or DELETE and return how many rows it changed."""
    done: Any = db.session.execute(statement)
    return int(done.rowcount)


# --- transactions -----------------------------------------------------------------------------------------------------

_reading: ContextVar[bool] = ContextVar("reading", default=False)


@contextmanager
def transactions(read_only: bool) -> Iterator[None]:
    """Begin transactions inside this block as read-only or as writing ones; whoever began the last one ends it."""
    token = _reading.set(read_only)
    try:
        yield
    finally:
        _reading.reset(token)


@contextmanager
def reading() -> Iterator[None]:
    """Begin transactions inside this block as read-only ones: they wait for no writer and can change nothing.

    The last one ends with the block, so that nothing done afterwards, on the network say, keeps it open.
    """
    with transactions(read_only=True):
        try:
            yield
        finally:
            db.session.rollback()


@contextmanager
def writing() -> Iterator[None]:
    """Begin transactions inside this block as writing ones, which is also what happens outside of any block.

    A reading one that is open ends before: it could not write.
    """
    if _reading.get():
        db.session.rollback()
    with transactions(read_only=False):
        yield


def only_read_on() -> None:
    """End a writing transaction, without what it wrote, and begin those that follow here as read-only ones."""
    if not _reading.get():
        db.session.rollback()
        _reading.set(True)


def _begin_sqlite(connection: Connection) -> None:
    if _reading.get():
        sqlite.begin_reading(connection)
    else:
        sqlite.begin_writing(connection)


def _begin_postgresql(connection: Connection) -> None:
    if _reading.get():
        connection.exec_driver_sql(BEGIN_READING)


def guard_transactions(engine: Engine) -> None:
    """Make an engine begin its transactions as described in ``reading`` and ``writing``."""
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", sqlite.prepare)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        from models.postgresql import bound

        bound(engine)
        event.listen(engine, "begin", _begin_postgresql)


def init_app(app: Flask, fernet: MultiFernet) -> None:
    """Connect an application to its database; ``fernet`` encrypts the columns that hold secrets."""
    app.extensions[FERNET] = fernet
    options = app.config.setdefault("SQLALCHEMY_ENGINE_OPTIONS", {})
    options["hide_parameters"] = True  # titles and addresses: an error in the log does without
    db.init_app(app)
    with app.app_context():
        guard_transactions(db.engine)

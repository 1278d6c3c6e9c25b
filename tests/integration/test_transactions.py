"""The database keeps what it was given: lost updates, escaped savepoints and writes of a GET can't happen."""

import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest
from flask import Flask
from sqlalchemy import create_engine, select, text
from sqlalchemy.exc import DBAPIError

from models import Blob, SystemParameter, Thread, database_clock, db, reading, writing
from models.store import pack

THREADS, ROUNDS = 4, 50


def value_of(key: str) -> str | None:
    return db.session.scalar(select(SystemParameter.value).where(SystemParameter.key == key))


def count_up(app: Flask) -> None:
    for _ in range(ROUNDS):
        with app.app_context():
            row = db.session.scalar(select(SystemParameter).where(SystemParameter.key == "count").with_for_update())
            assert row is not None
            row.value = str(int(row.value) + 1)
            db.session.commit()


def test_reading_and_then_writing_in_many_threads_loses_nothing(app):
    with app.app_context():
        db.session.add(SystemParameter(key="count", value="0"))
        db.session.commit()
    threads = [threading.Thread(target=count_up, args=(app,)) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with app.app_context():
        assert value_of("count") == str(THREADS * ROUNDS)


def test_a_savepoint_goes_with_its_transaction(app):
    with app.app_context():
        with db.session.begin_nested():
            db.session.add(SystemParameter(key="inner", value="1"))
        db.session.rollback()
        assert value_of("inner") is None


def test_without_our_begin_a_savepoint_of_sqlite_survives_the_rollback(tmp_path):
    """What the listeners are for: the driver as it comes keeps a row that was rolled back."""
    engine = create_engine(f"sqlite:///{tmp_path / 'plain.db'}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (x)"))
    with engine.connect() as connection:
        with connection.begin_nested():
            connection.execute(text("INSERT INTO t VALUES (1)"))
        connection.rollback()
    with engine.connect() as connection:
        survived = connection.execute(text("SELECT count(*) FROM t")).scalar()
    engine.dispose()
    assert survived == 1


def test_a_reading_transaction_cannot_write(app):
    with app.app_context(), reading(), pytest.raises(DBAPIError):
        db.session.add(SystemParameter(key="from a GET", value="1"))
        db.session.commit()
    with app.app_context():
        assert value_of("from a GET") is None


def test_a_reading_transaction_ends_with_its_block(app):
    with app.app_context():
        with reading():
            assert value_of("anything") is None
            assert db.session().in_transaction()
        assert not db.session().in_transaction()
        with pytest.raises(LookupError), reading():
            value_of("anything")
            raise LookupError
        assert not db.session().in_transaction()
        db.session.add(SystemParameter(key="afterwards", value="1"))
        db.session.commit()


def test_writing_inside_reading_can(app):
    with app.app_context(), reading(), writing():
        db.session.add(SystemParameter(key="an open was counted", value="1"))
        db.session.commit()
        assert value_of("an open was counted") == "1"


def test_reading_does_not_wait_for_a_writer(app):
    with app.app_context():
        db.session.add(SystemParameter(key="held", value="1"))
        db.session.flush()  # the writer now holds its lock
        seen: list[object] = []

        def look() -> None:
            with app.app_context(), reading():
                seen.append(value_of("held"))

        reader = threading.Thread(target=look)
        reader.start()
        reader.join(timeout=60)
        assert seen == [None]


def test_moments_come_back_in_utc(app):
    moment = datetime(2026, 3, 29, 3, 30, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    with app.app_context():
        db.session.add(Thread(last_post_at=moment))
        db.session.commit()
        db.session.expire_all()
        found = db.session.scalar(select(Thread.last_post_at).where(Thread.last_post_at.is_not(None)))
        assert found == moment
        assert found.tzinfo is UTC


def test_a_moment_without_zone_is_refused(app):
    with app.app_context(), pytest.raises(Exception, match="without a zone"):
        db.session.add(Thread(last_post_at=datetime(2026, 1, 1)))
        db.session.commit()


def test_the_clock_of_the_database_is_near_ours(app):
    with app.app_context():
        before = datetime.now(UTC).timestamp()
        said = db.session.scalar(select(database_clock()))
        assert before - 5 < said < datetime.now(UTC).timestamp() + 5


def test_the_same_bytes_are_stored_once(app):
    with app.app_context():
        first, again = Blob.keep([pack(b"x" * 10_000)] * 2)
        db.session.commit()
        assert first == again
        assert Blob.read(first) == b"x" * 10_000
        with pytest.raises(LookupError):
            Blob.read(first + 1)

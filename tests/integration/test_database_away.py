"""A database that is gone, silent or in other hands: it is noticed within seconds, and nothing stands still."""

import socket
import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from flask import Flask
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError

from mail.incoming import flow, intake
from mail.queue.lease import WorkerLease
from mail.settings import config
from mail.settings.wake import wake
from mail.transport.mailbox import FetchedMail
from models import db, postgresql, reading, writing
from models.faults import keeps_waiting
from models.postgresql import BoundedConnection
from scheduler import create_worker_app
from scheduler.loops import database_away
from tests.servers.gate import gate
from tests.web import Visitor
from webapp import create_app

MAIL = b"From: ann@x.test\r\nTo: sales@office.test\r\nSubject: Hello\r\n\r\nHello\r\n"
DOORS = {"worker": create_worker_app, "web": create_app}


def at_door(door: str, url: str, tmp_path: Path) -> Flask:
    return DOORS[door](config.read({"COQUI_DATA": str(tmp_path / "data"), "DATABASE_URL": url}))


@pytest.fixture
def postgres_url(postgres):
    url = postgres.create_database()
    yield url
    postgres.drop_database(url)


@pytest.mark.parametrize("door", DOORS)
def test_a_connection_that_falls_silent_is_given_up(door, postgres, postgres_url, tmp_path, monkeypatch):
    monkeypatch.setattr(BoundedConnection, "patience", 0.3)
    with gate(postgres.port) as between:
        url = make_url(postgres_url).set(port=between.port).render_as_string(hide_password=False)
        app = at_door(door, url, tmp_path)
        with app.app_context():
            assert db.session.scalar(text("SELECT 1")) == 1
            between.fall_silent()
            with pytest.raises(DBAPIError) as noticed:
                db.session.scalar(text("SELECT 1"))
            assert database_away(noticed.value)
            assert noticed.value.connection_invalidated
            db.session.rollback()
            between.open()
            assert db.session.scalar(text("SELECT 2")) == 2
            db.session.rollback()
            db.engine.dispose()


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_only_the_session_that_was_given_up_is_ended_and_no_younger_one_under_its_process_id(app, monkeypatch):
    monkeypatch.setattr(postgresql, "_given_up", given_up := {})
    with app.app_context(), db.engine.connect() as lost, db.engine.connect() as younger:
        given_up[lost.scalar(text("SELECT pg_backend_pid()"))] = time.monotonic()
        given_up[younger.scalar(text("SELECT pg_backend_pid()"))] = time.monotonic() - 3600
        with db.engine.connect() as fresh:
            assert fresh.scalar(text("SELECT 1")) == 1
        assert given_up == {}
        assert younger.scalar(text("SELECT 1")) == 1
        with pytest.raises(DBAPIError) as ended:
            lost.scalar(text("SELECT 1"))
        assert database_away(ended.value)


@pytest.mark.parametrize("door", DOORS)
def test_connections_that_were_cut_are_replaced(door, postgres_url, tmp_path):
    app = at_door(door, postgres_url, tmp_path)
    with app.app_context():
        assert db.session.scalar(text("SELECT 1")) == 1
        db.session.commit()
        with psycopg.connect(postgres_url.replace("postgresql+psycopg", "postgresql"), autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity "  # it waits for their end
                          "WHERE datname = current_database() AND pid <> pg_backend_pid()")  # fmt: skip
        assert db.session.scalar(text("SELECT 2")) == 2
        db.session.commit()
        db.engine.dispose()


@pytest.mark.parametrize("door", DOORS)
def test_the_kernel_looks_after_connections_too(door, postgres_url, tmp_path):
    app = at_door(door, postgres_url, tmp_path)
    with app.app_context():
        held = db.session.connection().connection.driver_connection
        assert isinstance(held, BoundedConnection)
        with socket.fromfd(held.fileno(), socket.AF_INET, socket.SOCK_STREAM) as line:
            assert line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 20_000
            assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 10
        assert held.info.get_parameters()["connect_timeout"] == "5"
        db.session.rollback()
        db.engine.dispose()


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_mail_is_none_the_worse_for_a_database_that_keeps_us_from_it(app, database, monkeypatch):
    """Somebody holds what every mail needs, for longer than seven workers may die with one."""
    monkeypatch.setattr(BoundedConnection, "patience", 0.3)
    with app.app_context(), psycopg.connect(database.replace("postgresql+psycopg", "postgresql")) as other:
        held = WorkerLease.register(datetime.now(UTC))
        intake.keep("pipe", [FetchedMail("1", len(MAIL), None, MAIL)], datetime.now(UTC))
        other.execute("SELECT 1 FROM document_type FOR UPDATE")
        for _ in range(7):
            with pytest.raises(DBAPIError) as noticed:
                flow.process_waiting(datetime.now(UTC), held)
            assert keeps_waiting(noticed.value)
            db.session.rollback()
        other.rollback()
        assert flow.process_waiting(datetime.now(UTC), held) == {"processed": 1}


def test_a_wake_never_makes_a_saved_thing_look_unsaved(tmp_path, app, monkeypatch):
    with app.app_context():
        db.session.execute(text("SELECT 1"))
        db.session.commit()
        db.engine.dispose()
        monkeypatch.setattr(type(db.engine), "raw_connection", refuse)
        wake()
        monkeypatch.undo()
        (tmp_path / "data" / "wake").mkdir(parents=True, exist_ok=True)
        monkeypatch.setattr(socket, "socket", no_socket)
        wake()


def refuse(_engine: object) -> None:
    raise DBAPIError("no connection", None, psycopg.OperationalError("the database is away"))


def no_socket(*_: object) -> None:
    raise OSError("too many open files")


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_database_in_other_hands_is_an_answer_within_seconds(database, tmp_path, monkeypatch):
    monkeypatch.setattr("webapp.BUSY", 0.2)
    app = at_door("web", database, tmp_path)
    other = sqlite3.connect(make_url(database).database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with app.app_context(), writing(), pytest.raises(DBAPIError) as noticed:
        db.session.scalar(text("SELECT 1"))
    assert database_away(noticed.value)
    with app.app_context(), reading():
        assert db.session.scalar(text("SELECT 1")) == 1
    assert Visitor(app).get("/login").status_code == 200
    other.close()
    with app.app_context():
        db.engine.dispose()

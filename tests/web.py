"""The pages in the test's own process: an application on a new database, and people who click without a browser."""

import hashlib
import html
import re
import secrets
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, session
from flask.testing import FlaskClient
from flask_wtf.csrf import generate_csrf
from jinja2 import FileSystemBytecodeCache
from sqlalchemy import Dialect, select
from sqlalchemy.util import LRUCache
from werkzeug.test import TestResponse

from mail.documents.contacts import find_or_make
from mail.settings import config
from mail.settings.clock import now
from models import LoginSession, User, db
from tests.conftest import upgrade
from tests.servers.launcher import ROOT
from webapp import create_app
from webapp.limits import RateLimits
from webapp.passwords import hash_checked

PASSWORD = "a frog in the rain"
CHEAP = {"argon2__rounds": 1, "argon2__memory_cost": 64, "argon2__parallelism": 1}  # a password is hashed in no time
TEMPLATES = ROOT / ".cache" / "templates"  # as they were compiled, for all processes of the tests
COMPILED: dict[str, tuple[Dialect, LRUCache[Any, Any]]] = {}  # for each kind of database
TOKEN = re.compile(r'name="csrf-token" content="([^"]+)"')


def web_app(database: str, folder: Path, **environment: str) -> Flask:
    """Return the web application on a database that has its tables; errors become pages, as in an office."""
    app = create_app(config.read({"COQUI_DATA": str(folder / "data"), "DATABASE_URL": database, **environment}))
    app.extensions["security"].pwd_context.update(**CHEAP)
    TEMPLATES.mkdir(parents=True, exist_ok=True)
    app.jinja_env.bytecode_cache = FileSystemBytecodeCache(str(TEMPLATES))
    share_compiled(app)
    return app


def share_compiled(app: Flask) -> None:
    """Let what one office made of its statements serve the next one: making it anew took a quarter of all tests."""
    with app.app_context():
        engine = db.engine
    if engine.dialect.name not in COMPILED:  # only a first connection tells a dialect about its database
        engine.connect().close()
        engine.dispose()
    engine.dialect, compiled = COMPILED.setdefault(engine.dialect.name, (engine.dialect, LRUCache(3000)))
    engine.update_execution_options(compiled_cache=compiled)


@contextmanager
def kept_app(request: pytest.FixtureRequest, folder: Path) -> Iterator[Flask]:
    """The web application for many tests, on a database of the kind ``request.param``; see ``forget``."""
    if request.param == "sqlite":
        template, office = request.getfixturevalue("_sqlite_template"), folder / "office.db"
        url = f"sqlite:///{office}"

        def renew() -> None:
            for leftover in folder.glob("office.db-*"):
                leftover.unlink()
            shutil.copy(template, office)

        renew()
    else:
        server = request.getfixturevalue("postgres")
        url = server.create_database(server.template("office", upgrade))

        def renew() -> None:
            server.renew(url)

    app = web_app(url, folder, COQUI_URL="http://office.example")
    app.extensions["renew"] = renew
    yield app
    with app.app_context():
        db.engine.dispose()
    if request.param != "sqlite":
        server.drop_database(url)


def forget(app: Flask) -> None:
    """Bring the database of a ``kept_app`` back to what every office starts with."""
    with app.app_context():
        db.engine.dispose()
    app.extensions["renew"]()
    app.extensions["rate_limits"] = RateLimits()


@cache
def _hashed() -> str:
    return hash_checked(PASSWORD)


def account(app: Flask, role: str, address: str = "", name: str = "") -> str:
    """Add an account with ``PASSWORD`` and return its address."""
    address = address or f"{role}@home.test"
    with app.app_context():
        contact = find_or_make(address, name or role.capitalize(), now())
        words = {"email": address, "password": _hashed(), "role": role, "fs_uniquifier": uuid.uuid4().hex}
        db.session.add(User(contact=contact, **words))
        db.session.commit()
    return address


def words(page: TestResponse | str) -> str:
    """Return what a page says, as a person reads it."""
    text = page if isinstance(page, str) else page.text
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text)).split())


class Visitor:
    """Somebody with cookies: reads pages, and posts forms with the token that they carry."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.client: FlaskClient = app.test_client()

    def get(self, path: str, **options: Any) -> TestResponse:
        return self.client.get(path, **options)

    def post(self, path: str, data: dict[str, Any] | None = None, **options: Any) -> TestResponse:
        return self.client.post(path, data={"csrf_token": self.token(), **(data or {})}, **options)

    def token(self) -> str:
        """Return the token that a form of this visitor carries, without making a page for it."""
        with self.client.session_transaction() as kept, self.app.test_request_context():
            session.update(kept)
            token = generate_csrf()
            kept["csrf_token"] = session["csrf_token"]
        return token

    def log_in(self, address: str, password: str = PASSWORD, next: str = "") -> TestResponse:
        path = f"/login?next={next}" if next else "/login"
        return self.post(path, {"email": address, "password": password})

    def as_role(self, role: str) -> "Visitor":
        """Give this visitor a session of a new account with a role; no password is typed: hashing is slow."""
        address = account(self.app, role)
        key = secrets.token_hex(16)
        with self.app.app_context():
            user_id = db.session.scalar(select(User.id).where(User.email == address))
            moment = datetime.now(UTC)
            ends_at = moment + timedelta(hours=1)
            digest = hashlib.sha256(key.encode()).hexdigest()
            db.session.add(LoginSession(user_id=user_id, key_hash=digest, started_at=moment, ends_at=ends_at))
            db.session.commit()
        with self.client.session_transaction() as kept:
            kept["_user_id"], kept["_fresh"] = key, True
            kept["seen"] = kept["fs_paa"] = int(time.time())
        return self

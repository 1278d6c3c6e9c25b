"""The pages in the test's own process: an application on a new database, and people who click without a browser."""

import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from mail.documents.contacts import find_or_make
from mail.settings import config
from mail.settings.clock import now
from models import User, db
from tests.conftest import upgrade
from webapp import auth, create_app

PASSWORD = "a frog in the rain"
CHEAP = {"argon2__rounds": 1, "argon2__memory_cost": 64, "argon2__parallelism": 1}  # a password is hashed in no time
TOKEN = re.compile(r'name="csrf-token" content="([^"]+)"')


def web_app(database: str, folder: Path, **environment: str) -> Flask:
    """Return the web application on a database that has its tables; errors become pages, as in an office."""
    app = create_app(config.read({"COQUI_DATA": str(folder / "data"), "DATABASE_URL": database, **environment}))
    app.extensions["security"].pwd_context.update(**CHEAP)
    return app


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


@cache
def _hashed() -> str:
    return auth.hash_checked(PASSWORD)


def account(app: Flask, role: str, address: str = "", name: str = "") -> str:
    """Add an account with ``PASSWORD`` and return its address."""
    address = address or f"{role}@home.test"
    with app.app_context():
        contact = find_or_make(address, name or role.capitalize(), now())
        words = {"email": address, "password": _hashed(), "role": role, "fs_uniquifier": uuid.uuid4().hex}
        db.session.add(User(contact=contact, **words))
        db.session.commit()
    return address


class Visitor:
    """Somebody with cookies: reads pages, and posts forms with the token of the page read last."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.client: FlaskClient = app.test_client()

    def get(self, path: str, **options: Any) -> TestResponse:
        return self.client.get(path, **options)

    def post(self, path: str, data: dict[str, Any] | None = None, **options: Any) -> TestResponse:
        return self.client.post(path, data={"csrf_token": self.token(), **(data or {})}, **options)

    def token(self) -> str:
        """Return the token that a form of this visitor carries."""
        found = TOKEN.search(self.client.get("/login").text) or TOKEN.search(self.client.get("/nowhere").text)
        assert found is not None
        return found[1]

    def log_in(self, address: str, password: str = PASSWORD, next: str = "") -> TestResponse:
        path = f"/login?next={next}" if next else "/login"
        return self.post(path, {"email": address, "password": password})

    def as_role(self, role: str) -> "Visitor":
        """Give this visitor a session of a new account with a role; no password is typed: hashing is slow."""
        address = account(self.app, role)
        with self.app.app_context():
            key = db.session.scalar(select(User.fs_uniquifier).where(User.email == address))
        with self.client.session_transaction() as session:
            session["_user_id"], session["_fresh"] = key, True
        return self

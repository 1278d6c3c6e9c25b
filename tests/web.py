"""The pages in the test's own process: an application on a new database, and people who click without a browser."""

import re
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from mail import config
from mail.clock import now
from models import db
from webapp import auth, create_app

PASSWORD = "a frog in the rain"
TOKEN = re.compile(r'name="csrf-token" content="([^"]+)"')


def web_app(database: str, folder: Path, **environment: str) -> Flask:
    """Return the web application on a database that has its tables; errors become pages, as in an office."""
    return create_app(config.read({"COQUI_DATA": str(folder / "data"), "DATABASE_URL": database, **environment}))


def account(app: Flask, role: str, address: str = "", name: str = "") -> str:
    """Add an account with ``PASSWORD`` and return its address."""
    address = address or f"{role}@home.test"
    with app.app_context():
        auth.create_user(address, name or role.capitalize(), PASSWORD, role, now())
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
        """Log in with a new account of a role, and return this visitor."""
        answer = self.log_in(account(self.app, role))
        assert answer.status_code == 302, answer.text
        return self

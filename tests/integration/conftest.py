"""An office in the test's own process, on a new database: the worker's application without its loops, or the pages."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from mail.queue import lease
from mail.settings import config
from models import base, db
from scheduler import create_worker_app
from tests.locks import LockWatch, watched_locks
from tests.web import Visitor, forget, kept_app, share_compiled


@pytest.fixture(autouse=True)
def locks() -> Iterator[LockWatch]:
    """Nothing that a test calls in its own process keeps SQLite's write lock while it computes."""
    with watched_locks() as watch:
        yield watch
    assert not base._reading.get(), "what follows in this thread could not write"
    if watch.too_long():
        pytest.fail("\n".join(watch.too_long()), pytrace=False)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker in the test's own process has no heart that beats while it sends: it trusts itself for an hour."""
    monkeypatch.setattr(lease, "MARGIN", -3600.0)


@pytest.fixture
def app(database: str, tmp_path: Path) -> Iterator[Flask]:
    """The application of a worker on a new database with its first rows; push a context for each unit of work."""
    env = {"COQUI_DATA": str(tmp_path / "data"), "DATABASE_URL": database, "COQUI_URL": "http://office.example"}
    made = create_worker_app(config.read(env))
    share_compiled(made)
    yield made
    with made.app_context():
        db.engine.dispose()


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def _kept_pages(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    with kept_app(request, tmp_path_factory.mktemp("pages")) as made:
        yield made


@pytest.fixture
def pages(_kept_pages: Flask) -> Iterator[Flask]:
    """The web application on a new database with its first rows; making it anew takes longer than most tests."""
    yield _kept_pages
    forget(_kept_pages)


@pytest.fixture
def admin(pages: Flask) -> Visitor:
    """Somebody who administers the office of ``pages``."""
    return Visitor(pages).as_role("admin")

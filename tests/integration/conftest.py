"""An office in the test's own process: the worker's application on a new database, without loops of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from mail import config
from models import db
from scheduler import create_worker_app


@pytest.fixture
def app(database: str, tmp_path: Path) -> Iterator[Flask]:
    """The application of a worker on a new database with its first rows; push a context for each unit of work."""
    made = create_worker_app(config.read({"COQUI_DATA": str(tmp_path / "data"), "DATABASE_URL": database}))
    yield made
    with made.app_context():
        db.engine.dispose()

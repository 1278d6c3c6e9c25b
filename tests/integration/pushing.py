"""A listener in the process of a test, and what it has stored."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flask import Flask
from sqlalchemy import select

from mail.settings.config import ListenAddress
from models import Blob, ReceivedMail, db
from scheduler.listener import PushListener
from tests.servers.process import free_port


@contextmanager
def listening(app: Flask, protocol: str = "lmtp", certificate: tuple[Path, Path] | None = None) -> Iterator[int]:
    """Let an office receive, and give the port."""
    address = ListenAddress(protocol, "127.0.0.1", free_port())  # type: ignore[arg-type]
    opened = PushListener(app, address, certificate)
    with app.app_context():
        opened.work()
    yield address.port
    opened.close()


def stored(app: Flask) -> list[bytes]:
    """Return what was received, in its order."""
    with app.app_context():
        rows = db.session.scalars(select(ReceivedMail.blob_id).order_by(ReceivedMail.id)).all()
        return [Blob.read(blob_id) for blob_id in rows if blob_id]

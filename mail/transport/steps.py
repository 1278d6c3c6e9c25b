"""EDGE: what the tests of all servers have in common: a step, and what it says of an encrypted connection."""

import socket
import ssl
import time
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from mail.sentences import Why, why

StepState = Literal["ok", "warning", "failed", "skipped"]

TEST_SECONDS = 20.0  # a person is waiting
EXPIRES_SOON_DAYS = 14


class Step(NamedTuple):
    """One step of a test: `name` is lookup, connect, tls, greeting, capabilities, login or sender; `state` is ok,
    warning, failed or skipped; `seconds` is how long it took."""

    name: str
    state: StepState
    why: Why
    seconds: float

    def as_json(self) -> dict[str, Any]:
        return self._asdict()


def certificate_seen(connection: socket.socket | None, verified: bool) -> tuple[StepState, Why]:
    """Return what the test says of an encrypted connection."""
    assert isinstance(connection, ssl.SSLSocket)
    version = connection.version()
    if not verified:
        return "warning", why("test_tls_unverified", version=version)
    certificate = connection.getpeercert() or {}
    expires = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
    days = int((expires.timestamp() - time.time()) // 86400)
    if days < EXPIRES_SOON_DAYS:
        return "warning", why("test_tls_expires_soon", version=version, expires=f"{expires:%Y-%m-%d}", days=days)
    return "ok", why("test_tls", version=version, expires=f"{expires:%Y-%m-%d}")

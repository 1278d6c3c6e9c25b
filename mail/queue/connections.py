"""The connections of one sending thread: kept per server, opened anew when the server's settings changed."""

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from mail.errors import PracticeMailboxAway, ServerGone
from mail.settings.config import settings
from mail.transport.smtp import ServerConnection
from mail.transport.smtp_session import SmtpTarget
from models import OutgoingServer, db

IDLE = 60.0  # seconds after which an unused connection is closed: most servers close it soon after


_practice: dict[str, int] = {}


def practice_listens_at(port: int | None) -> None:
    """Tell the senders of this process where the practice mailbox listens; None when it does not."""
    _practice.clear()
    if port is not None:
        _practice["port"] = port


@dataclass
class _Kept:
    target: SmtpTarget
    connection: ServerConnection
    used_at: float


class Connections:
    """Gives a connection to a server by its id; not to be shared between threads."""

    def __init__(self) -> None:
        self._kept: dict[int, _Kept] = {}

    def to(self, server_id: int | None, transcript: bool = False) -> ServerConnection:
        """Return a connection to this server (None: the default server), kept from before if there is one.

        It is opened by its first delivery. Raises ``ServerGone`` when the record is gone or switched off, and
        ``PracticeMailboxAway`` when the practice mailbox is the default server and does not listen.
        """
        target = target_of(server_id)
        kept = self._kept.get(server_id or 0)
        if kept is None or kept.target != target:
            self._close(server_id or 0)
            kept = self._kept[server_id or 0] = _Kept(target, ServerConnection(target, transcript=transcript), 0.0)
        kept.used_at = time.monotonic()
        return kept.connection

    def close_idle(self) -> None:
        """Close what was not used for a while."""
        for server_id, kept in list(self._kept.items()):
            if time.monotonic() - kept.used_at > IDLE:
                self._close(server_id)

    def close(self) -> None:
        """Close all."""
        for server_id in list(self._kept):
            self._close(server_id)

    def _close(self, server_id: int) -> None:
        kept = self._kept.pop(server_id, None)
        if kept:
            kept.connection.close()

    def __enter__(self) -> "Connections":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def target_of(server_id: int | None) -> SmtpTarget:
    """Return where and how to reach a server (None: the default server)."""
    if server_id is None:
        return _default_target()
    server = db.session.scalar(select(OutgoingServer).where(OutgoingServer.id == server_id))
    if server is None or not server.active:
        raise ServerGone(id=server_id)
    return target_of_record(server)


def target_of_record(server: OutgoingServer) -> SmtpTarget:
    """Return where and how to reach the server of a record, whether it is active or not."""
    return SmtpTarget(
        name=server.name,
        host=server.host,
        port=server.port,
        encryption=_one_of(server.encryption),
        auth=_one_of(server.authentication),
        user=server.user,
        password=server.password or "",
        verify_tls=server.verify_tls,
        trusted_certificate=server.trusted_certificate,
        helo=server.helo,
        client_cert=server.client_certificate or "",
        client_key=server.client_key or "",
        allow_local=settings().allow_local,
    )


def _default_target() -> SmtpTarget:
    default = settings().default_server
    if default.practice:
        port = _practice.get("port")
        if port is None:
            raise PracticeMailboxAway()
        return SmtpTarget(default.name, "127.0.0.1", port, allow_local=True)
    return SmtpTarget(
        name=default.name,
        host=default.host,
        port=default.port,
        encryption=default.encryption,
        auth="password" if default.user else "none",
        user=default.user,
        password=default.password,
        allow_local=True,  # the environment is written by who runs this machine
    )


def _one_of(value: str) -> Any:
    return value  # the CHECK of the column allows only the words that the target knows

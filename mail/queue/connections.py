"""The connections of this process to outgoing servers: kept, lent to one sending thread at a time, and their limits.

What a server takes over one connection, and how many connections at once, is learned while sending and kept in the
database (``ServerLimit``), so that the next process need not find out again. What the record of the server allows
bounds what is learned.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select

from mail.errors import NoServerLeft, PracticeMailboxAway, SecretUnreadable, ServerGone
from mail.message.extra_headers import encoded_headers
from mail.queue.access_tokens import AccountTokens
from mail.queue.concurrency import ServerConcurrency
from mail.queue.signing_process import SigningProcesses
from mail.queue.slowdown import Slowdowns
from mail.settings import office, rehearsal
from mail.settings.clock import now
from mail.settings.config import PRACTICE_NAME, settings
from mail.settings.rehearsal import Rehearsal
from mail.settings.signing import signs_itself
from mail.transport.relay_ids import keep_our_id
from mail.transport.sasl import AccountMissing
from mail.transport.smtp import ServerConnection
from mail.transport.smtp_session import SmtpTarget
from models import OutgoingServer, ServerLimit, Unreadable, db, reading
from models.store import upsert

IDLE = 60.0  # seconds after which an unused connection is closed: most servers close it soon after
PRACTICE_HOST = "127.0.0.1"
LEARNED_FOR = timedelta(days=1)  # then it is tried whether the server takes more by now
LARGEST_OURS = 100_000_000  # octets: no email of ours is larger, whatever a server takes


_practice: dict[str, int] = {}


def practice_listens_at(port: int | None) -> None:
    """Tell the senders of this process where the practice mailbox listens; None when it does not."""
    _practice.clear()
    if port is not None:
        _practice["port"] = port


@dataclass(frozen=True)
class ServerAccess:
    """How to reach a server, and what its record says of the connections to it."""

    target: SmtpTarget
    connections: int | None = None
    per_connection: int | None = None
    headers: str = ""
    signs_itself: bool = False
    shares_sender: bool = False
    rehearsal: Rehearsal | None = None

    @property
    def rehearses(self) -> bool:
        return self.rehearsal is not None


@dataclass
class _Learned:
    """What this process knows of the limits that sending taught about the server at a host."""

    host: str
    mails: int | None = None
    connections: int | None = None
    largest: int | None = None
    is_old: bool = False  # what the server says is to be noted again, although it may be the same
    read_at: float = 0.0

    def is_of(self, host: str) -> bool:
        return self.host == host and time.monotonic() - self.read_at < LEARNED_FOR.total_seconds()


@dataclass
class _Kept:
    connection: ServerConnection
    used_at: float


class Connections:
    """Lends connections by the id of their server, 0 for the default server; shared by all sending threads."""

    def __init__(self, servers: ServerConcurrency | None = None, also_inactive: bool = False) -> None:
        self.servers = servers or ServerConcurrency()
        self._also_inactive = also_inactive
        self.slowdowns = Slowdowns()
        self.claims: Counter[int] = Counter()  # of personal mail, by server
        self.signing = SigningProcesses()
        self.rehearses = False  # as far as this process knows
        self.custom_off = False  # Custom Email Servers, as far as this process knows
        self.halted = False  # a rehearsal begins or ends: nothing is claimed, and what was claimed goes back
        self._lock = threading.Lock()
        self._idle: dict[int, list[_Kept]] = {}
        self._lent: Counter[int] = Counter()
        self._learned: dict[int, _Learned] = {}

    @contextmanager
    def to(self, server_id: int, transcript: bool = False) -> Iterator[ServerConnection]:
        """Lend a connection to a server, kept from before if there is one; its first delivery opens it.

        Raises ``ServerGone`` when the record is gone or switched off, ``SecretUnreadable`` when its password was stored
        under another key, ``SignInWaits`` when it wants a token and there is none, and ``PracticeMailboxAway`` when the
        practice mailbox is the default server and does not listen.
        """
        with reading():  # no transaction is open while a server is waited for
            access = access_to(server_id, self._also_inactive)
        self.heed(access.rehearsal)
        target = access.target
        self.servers.first_seen(server_id, access.connections)
        learned = self._what_was_learned(server_id, target.host) if not access.rehearses else _Learned(target.host)
        connection = self._take(server_id, target)
        connection.rehearses = access.rehearses
        connection.keep_transcript(transcript)
        connection.extra_headers = keep_our_id(target.host) + encoded_headers(access.headers)
        connection.signs_itself, connection.shares_sender = access.signs_itself, access.shares_sender
        allowed = (access.per_connection, learned.mails)
        connection.most_mails = most = min(filter(None, allowed), default=None)
        try:
            if connection.host is None and target.tokens is not None:
                target.tokens.current()  # what waits for a person is not tried
            yield connection
        except BaseException:
            connection.drop()
            raise
        finally:
            self._give_back(server_id, connection)
        if access.rehearses:
            return  # it says nothing about the server whose place it takes
        if connection.most_mails != most:
            self._learn(server_id, target.host, mails=connection.most_mails)
        says = _limit(connection.largest)
        if connection.host is not None and (says != learned.largest or learned.is_old):
            self._learn(server_id, target.host, largest=says)

    def leads_on(self, connection: ServerConnection) -> bool:
        """Say whether the next email may go over a connection: to a real server, or in a rehearsal to the practice
        mailbox; and nowhere while one begins or ends.
        """
        return not self.halted and connection.rehearses == self.rehearses

    def heed(self, found: Rehearsal | None) -> None:
        """Note how far a rehearsal has come, if there is one."""
        self.rehearses, self.halted = found is not None, found is not None and found.halts

    def others(self, server_id: int) -> int:
        """Return how many connections to a server are lent or kept besides the caller's own."""
        with self._lock:
            return self._lent[server_id] - 1 + len(self._idle.get(server_id, ()))

    def takes_fewer(self, server_id: int, connection: ServerConnection, for_good: bool) -> None:
        """A further connection was refused: have no more of them than are open now, for good or until it is well."""
        most = max(self.others(server_id), 1)
        lasts = for_good and not connection.rehearses
        self.servers.takes_only(server_id, most, LEARNED_FOR.total_seconds() if lasts else IDLE)
        if lasts:
            self._learn(server_id, connection.target.host, connections=most)

    def close_idle(self) -> None:
        """Close what was not used for a while."""
        late = time.monotonic() - IDLE
        with self._lock:
            old = [kept for idle in self._idle.values() for kept in idle if kept.used_at < late]
            for idle in self._idle.values():
                idle[:] = [kept for kept in idle if kept.used_at >= late]
        for kept in old:
            kept.connection.close()
        self.signing.close_idle()

    def close(self) -> None:
        """Close all that are not lent."""
        with self._lock:
            kept = [one for idle in self._idle.values() for one in idle]
            self._idle.clear()
        for one in kept:
            one.connection.close()
        self.signing.close_idle(0)

    def _take(self, server_id: int, target: SmtpTarget) -> ServerConnection:
        with self._lock:
            idle = self._idle.pop(server_id, [])
            stale = [kept for kept in idle if kept.connection.target != target]
            fresh = [kept for kept in idle if kept.connection.target == target]
            taken = fresh.pop().connection if fresh else None
            self._lent[server_id] += 1
            most = self.servers.most_connections(server_id)
            while most is not None and fresh and self._lent[server_id] + len(fresh) > most:
                stale.append(fresh.pop(0))  # fewer are allowed than before
            self._idle[server_id] = fresh
        if taken is not None:
            taken.target = target  # equal, but with tokens of now
        for kept in stale:
            kept.connection.close()
        return taken or ServerConnection(target)

    def _give_back(self, server_id: int, connection: ServerConnection) -> None:
        with self._lock:
            self._lent[server_id] -= 1
            if connection.host is not None:
                self._idle.setdefault(server_id, []).append(_Kept(connection, time.monotonic()))

    def _what_was_learned(self, server_id: int, host: str) -> _Learned:
        """Return what is known of a server: read anew when it leads elsewhere, or has been believed for long enough."""
        known = self._learned.get(server_id)
        if known is None or not known.is_of(host):
            with reading():
                row = db.session.get(ServerLimit, server_id)
                known = _Learned(host, read_at=time.monotonic())
                if row is not None and row.host == host:
                    known.largest, known.is_old = row.largest, now() - row.learned_at >= LEARNED_FOR
                    known.mails, known.connections = (None, None) if known.is_old else (row.mails, row.connections)
            self._learned[server_id] = known
            self.servers.takes_only(server_id, known.connections, LEARNED_FOR.total_seconds())
        return known

    def _learn(self, server_id: int, host: str, **limits: int | None) -> None:
        """Keep what was learned; commits."""
        known = self._what_was_learned(server_id, host)
        known.mails = limits.get("mails", known.mails)
        known.connections = limits.get("connections", known.connections)
        known.largest, known.is_old = limits.get("largest", known.largest), False
        learned = {name: getattr(known, name) for name in ("host", "mails", "connections", "largest")}
        learned["learned_at"] = now()
        row = upsert(ServerLimit).values(server_id=server_id, **learned)
        db.session.execute(row.on_conflict_do_update(index_elements=["server_id"], set_=learned))
        db.session.commit()

    def __enter__(self) -> "Connections":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _limit(largest: int | None) -> int | None:
    """The size that a server takes, where it is a limit for us."""
    return largest if largest is not None and largest < LARGEST_OURS else None


def access_to(server_id: int, also_inactive: bool = False) -> ServerAccess:
    """Return how to reach a server (0: the default server); raises ``ServerGone`` for one that is not in use.

    During a rehearsal that is the practice mailbox, whatever the server: this is the only way to a server for emails.
    """
    if not server_id:
        goes_on = rehearsal.current()
        signs = signs_itself("provider", settings().default_server.host)
        return ServerAccess(practice_target() if goes_on else default_target(), signs_itself=signs, rehearsal=goes_on)
    asked = select(OutgoingServer, rehearsal.asked()).where(OutgoingServer.id == server_id)
    found = db.session.execute(asked).first()
    if found is None or not (found[0].active or also_inactive):
        raise ServerGone(id=server_id)
    server, rehearses = found[0], rehearsal.read(found[1])
    return ServerAccess(
        practice_target() if rehearses else target_of_record(server),
        None if rehearses else server.connections,
        None if rehearses else server.per_connection,
        server.headers,
        signs_itself(server.dkim, server.host),
        server.verp is False,
        rehearses,
    )


def connections_allowed() -> dict[int, int | None]:
    """Return how many connections at once each server record allows, None for no limit."""
    rows = db.session.execute(select(OutgoingServer.id, OutgoingServer.connections))
    return {row.id: row.connections for row in rows}


def learned_of(server: OutgoingServer) -> ServerLimit | None:
    """Return what sending taught us about a server, None when that was nothing or it leads elsewhere by now."""
    known = db.session.get(ServerLimit, server.id)
    return known if known and known.host == server.host else None


def forget_learned(server_id: int) -> None:
    """Remove what was learned about a server that was deleted: another one may get its number. Commits."""
    db.session.execute(delete(ServerLimit).where(ServerLimit.server_id == server_id))
    db.session.commit()


def target_of_record(server: OutgoingServer) -> SmtpTarget:
    """Return where and how to reach the server of a record, whether it is active or not.

    Raises ``SecretUnreadable`` when what it signs in with was stored under another key, ``AccountMissing`` when nobody
    connected an account.
    """
    needed = {"password": server.password, "certificate": server.client_key}.get(server.authentication)
    if isinstance(needed, Unreadable):
        raise SecretUnreadable(server=server.name)
    if server.authentication == "oauth2" and server.oauth_account_id is None:
        raise AccountMissing(server=server.name)
    return as_stored(server)


def as_stored(server: OutgoingServer) -> SmtpTarget:
    """Return what a record says of its server; a secret that can't be read is empty."""
    account = server.oauth_account if server.authentication == "oauth2" else None
    return SmtpTarget(
        name=server.name,
        host=server.host,
        port=server.port,
        encryption=_one_of(server.encryption),
        auth=_one_of(server.authentication),
        user=server.user or (account.address if account else ""),
        password=server.password or "",
        tokens=AccountTokens(account.id) if account else None,
        verify_tls=server.verify_tls,
        trusted_certificate=server.trusted_certificate,
        helo=server.helo,
        client_cert=server.client_certificate or "",
        client_key=server.client_key or "",
        allow_local=settings().allow_local,
    )


def default_target() -> SmtpTarget:
    """Return where and how to reach the default server."""
    default = settings().default_server
    if default.practice:
        if office.is_live():
            raise NoServerLeft()
        return practice_target()
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


def practice_target() -> SmtpTarget:
    """Return where the practice mailbox of this process listens."""
    port = _practice.get("port")
    if port is None:
        raise PracticeMailboxAway()
    return SmtpTarget(PRACTICE_NAME, PRACTICE_HOST, port, allow_local=True)


def _one_of(value: str) -> Any:
    return value  # the CHECK of the column allows only the words that the target knows

"""Outgoing servers, and the tests of servers that a person asked for in the browser."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.base import Encrypted, Id, Json, Model, UtcDateTime, db, index_of_few, one_of
from models.oauth import OauthAccount

ENCRYPTIONS = ("none", "starttls", "tls")
AUTHENTICATIONS = ("none", "password", "certificate", "oauth2")
REWRITES = ("not_ours", "never", "always")
SELF_TEST_GOES_ON = "kind = 'self_test' AND state IN ('waiting', 'running')"  # one for each server
DKIM_SIGNERS = ("provider", "ours", "server")


class OutgoingServer(Model):
    """A mail server that takes our mail. ``from_filter`` is the text as typed: domains and addresses, or empty.

    ``draft``: it becomes active when its test passes, or when a person says so. ``trusted_certificate``: the SHA-256
    fingerprint of the one certificate that is trusted without asking any authority. ``dkim``: who signs its emails, we
    or the server itself, or as it is usual at its provider.
    """

    __tablename__ = "outgoing_server"
    __table_args__ = (
        Index(None, "active", "priority", "id"),
        one_of("encryption", *ENCRYPTIONS),
        one_of("authentication", *AUTHENTICATIONS),
        one_of("rewrite", *REWRITES),
        index_of_few("ix_outgoing_server_oauth_account_id", "oauth_account_id"),
        one_of("dkim", *DKIM_SIGNERS),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(120))
    host: Mapped[str] = mapped_column(String(255))
    port: Mapped[int] = mapped_column(default=587)
    encryption: Mapped[str] = mapped_column(String(10), default="starttls")
    verify_tls: Mapped[bool] = mapped_column(default=True)
    trusted_certificate: Mapped[str] = mapped_column(String(64), default="")
    authentication: Mapped[str] = mapped_column(String(20), default="password")
    user: Mapped[str] = mapped_column(String(320), default="")
    password: Mapped[str | None] = mapped_column(Encrypted)
    oauth_account_id: Mapped[int | None] = mapped_column(ForeignKey("oauth_account.id", ondelete="SET NULL"))
    client_certificate: Mapped[str | None] = mapped_column(Text)
    client_key: Mapped[str | None] = mapped_column(Encrypted)
    from_filter: Mapped[str] = mapped_column(String(1000), default="")
    sends_from: Mapped[str] = mapped_column(String(1000), default="", server_default="")  # for SPF, as typed
    priority: Mapped[int] = mapped_column(default=10)
    active: Mapped[bool] = mapped_column(default=True)
    draft: Mapped[bool] = mapped_column(default=False)
    rewrite: Mapped[str] = mapped_column(String(10), default="not_ours")
    helo: Mapped[str] = mapped_column(String(255), default="")
    verp: Mapped[bool | None]  # takes a bounce address for each recipient; None: nobody knows
    dkim: Mapped[str] = mapped_column(String(10), default="provider", server_default="provider")
    # How many emails it may be given in a window of time (mail/decide/limits.py); None: no limit.
    per_second: Mapped[int | None]
    per_minute: Mapped[int | None]
    per_hour: Mapped[int | None]
    per_day: Mapped[int | None]
    connections: Mapped[int | None]  # at once, of all workers together
    per_connection: Mapped[int | None]  # emails over one connection
    headers: Mapped[str] = mapped_column(Text, default="", server_default="")  # extra ones, a line each
    comment: Mapped[str] = mapped_column(Text, default="")
    oauth_account: Mapped[OauthAccount | None] = relationship()

    def __str__(self) -> str:
        return self.name


class ServerLimit(Model):
    """What sending taught us about a server (0: the default server); it holds for this host alone."""

    __tablename__ = "server_limit"

    server_id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    host: Mapped[str] = mapped_column(String(255))
    mails: Mapped[int | None]  # that it takes over one connection
    connections: Mapped[int | None]  # that it takes from us at once
    largest: Mapped[int | None] = mapped_column(Id)  # octets of one mail, as it said last
    learned_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ServerCheck(Model):
    """A test or a fetch that a person asked for: the worker does it and writes each step down as it happens.

    A check of DNS has a ``domain`` and no server (0).
    ``tested`` stands for the settings that were tested: once they are changed, the result says nothing any more.
    """

    __tablename__ = "server_check"
    __table_args__ = (
        one_of("kind", "outgoing_test", "outgoing_mail", "self_test", "incoming_test", "fetch", "domain", "arrival"),
        one_of("state", "waiting", "running", "done", "failed"),
        Index("ix_server_check_waiting", "id", sqlite_where=db.text("state = 'waiting'"),
              postgresql_where=db.text("state = 'waiting'")),
        Index(None, "kind", "server_id", "id"),
        Index("ix_server_check_one_self_test", "server_id", unique=True,
              sqlite_where=db.text(SELF_TEST_GOES_ON), postgresql_where=db.text(SELF_TEST_GOES_ON)),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    server_id: Mapped[int] = mapped_column(Id)
    domain: Mapped[str] = mapped_column(String(255), default="", server_default="")
    requested_by_id: Mapped[int | None] = mapped_column(ForeignKey("user.id", ondelete="SET NULL"))
    requested_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    state: Mapped[str] = mapped_column(String(10), default="waiting")
    worker_id: Mapped[int | None] = mapped_column(ForeignKey("worker.id"))
    steps: Mapped[list[Any]] = mapped_column(Json, default=list)
    transcript: Mapped[str] = mapped_column(Text, default="")
    tested: Mapped[str] = mapped_column(String(32), default="")

    @property
    def line_id(self) -> int | None:
        """The line of the email that was made for it."""
        decided = (step["why"]["values"].get("line") for step in self.steps if step["name"] == "decision")
        return next(decided, None)

"""Sign-in with Google, Microsoft and others: app registrations, connected mailboxes, and sign-ins in progress."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.base import Encrypted, Id, Json, Model, UtcDateTime, db, index_of_few, one_of

if TYPE_CHECKING:
    from models.incoming import IncomingServer
    from models.server import OutgoingServer

OAUTH_KINDS = ("google", "microsoft", "other")
FLOWS = ("code", "device", "client")


class OauthProvider(Model):
    """The registration of this office as an app at a provider: it signs in nowhere without one.

    ``issuer`` (only ``other``): the address below which the provider describes itself. ``tenant`` (only ``microsoft``):
    the directory whose mailboxes may sign in. ``secret_expires_at``: when the client secret ends, as the provider said
    to the person who made it; ``warned_of`` is the end that admins were warned of.
    """

    __tablename__ = "oauth_provider"
    __table_args__ = (one_of("kind", *OAUTH_KINDS),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))
    name: Mapped[str] = mapped_column(String(120))
    client_id: Mapped[str] = mapped_column(String(255))
    client_secret: Mapped[str | None] = mapped_column(Encrypted)
    tenant: Mapped[str] = mapped_column(String(255), default="")
    issuer: Mapped[str] = mapped_column(String(500), default="")
    scopes: Mapped[str] = mapped_column(String(1000), default="")  # only ``other``; the rest is known
    secret_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    warned_of: Mapped[datetime | None] = mapped_column(UtcDateTime)

    def __str__(self) -> str:
        return self.name


class OauthAccount(Model):
    """A mailbox that signed in at a provider, with the tokens that stand for its password.

    ``refused``: the provider takes its tokens no longer (``why``), somebody must connect it again. ``expires_at`` is
    when the access token ends, ``refresh_expires_at`` when the permission does, as far as the provider says so.
    ``client``: no person signed in, the app itself has the permission (Microsoft); it has no refresh token.
    ``generation`` counts the tokens: whoever renews writes only over those that were there when it began. One renews at
    a time, until ``leased_until`` by the database's clock. ``forced``: this token came because a server had refused the
    one before. ``retry_at``: a renewal failed and is not tried again before. ``use_by`` is when the refresh token ends
    unless it is used. ``told``: of what admins were told since the account worked last.
    """

    __tablename__ = "oauth_account"
    __table_args__ = (
        UniqueConstraint("provider_id", "address"),
        one_of("state", "new", "connected", "refused"),
        one_of("flow", *FLOWS),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    provider_id: Mapped[int] = mapped_column(ForeignKey("oauth_provider.id"))
    address: Mapped[str] = mapped_column(String(320))  # of the mailbox, in lower case
    flow: Mapped[str] = mapped_column(String(10), default="code")
    state: Mapped[str] = mapped_column(String(10), default="new")
    why: Mapped[dict[str, Any] | None] = mapped_column(Json)
    access_token: Mapped[str | None] = mapped_column(Encrypted)
    refresh_token: Mapped[str | None] = mapped_column(Encrypted)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    refresh_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    refreshed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    connected_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    generation: Mapped[int] = mapped_column(default=0, server_default=db.text("0"))
    leased_until: Mapped[float] = mapped_column(default=0.0, server_default=db.text("0"))
    forced: Mapped[bool] = mapped_column(default=False, server_default=db.text("false"))
    retry_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    retries: Mapped[int] = mapped_column(default=0, server_default=db.text("0"))
    use_by: Mapped[datetime | None] = mapped_column(UtcDateTime)
    warned_of: Mapped[datetime | None] = mapped_column(UtcDateTime)
    told: Mapped[list[Any] | None] = mapped_column(Json)
    provider: Mapped[OauthProvider] = relationship()

    def __str__(self) -> str:
        return self.address


class OauthSignIn(Model):
    """One try to connect an account: the worker speaks with the provider, the page shows how far it is.

    ``waiting``: the worker has to begin; ``open``: the person has to sign in; ``returned``: the browser came back with
    a code; ``running``: the worker speaks with the provider. ``state_key`` is the hash of what the browser must bring
    back.
    """

    __tablename__ = "oauth_sign_in"
    __table_args__ = (
        one_of("flow", *FLOWS),
        one_of("state", "waiting", "open", "returned", "running", "done", "failed"),
        Index("ix_oauth_sign_in_due", "id", sqlite_where=db.text("state NOT IN ('done', 'failed')"),
              postgresql_where=db.text("state NOT IN ('done', 'failed')")),
        Index(None, "account_id", "id"),
        index_of_few("ix_oauth_sign_in_state_key", "state_key"),
        index_of_few("ix_oauth_sign_in_outgoing_server_id", "outgoing_server_id"),
        index_of_few("ix_oauth_sign_in_incoming_server_id", "incoming_server_id"),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("oauth_account.id", ondelete="CASCADE"))
    # The server that uses the account from the moment on at which it is connected.
    outgoing_server_id: Mapped[int | None] = mapped_column(ForeignKey("outgoing_server.id", ondelete="SET NULL"))
    incoming_server_id: Mapped[int | None] = mapped_column(ForeignKey("incoming_server.id", ondelete="SET NULL"))
    flow: Mapped[str] = mapped_column(String(10))
    state: Mapped[str] = mapped_column(String(10), default="waiting")
    requested_by_id: Mapped[int | None] = mapped_column(ForeignKey("user.id", ondelete="SET NULL"))
    requested_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    worker_id: Mapped[int | None] = mapped_column(ForeignKey("worker.id"))
    steps: Mapped[list[Any]] = mapped_column(Json, default=list)
    return_to: Mapped[str] = mapped_column(String(500), default="")  # the page that it was asked for on
    redirect_uri: Mapped[str] = mapped_column(String(500), default="")
    state_key: Mapped[str | None] = mapped_column(String(64))
    verifier: Mapped[str | None] = mapped_column(Encrypted)  # PKCE
    code: Mapped[str | None] = mapped_column(Encrypted)  # of the provider: the authorization code, or the device code
    where: Mapped[str] = mapped_column(Text, default="")  # the page of the provider to go to
    user_code: Mapped[str] = mapped_column(String(64), default="")
    poll_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # the next question whether the person signed in
    poll_every: Mapped[int] = mapped_column(default=5)  # seconds
    account: Mapped[OauthAccount] = relationship()
    outgoing_server: Mapped["OutgoingServer | None"] = relationship()
    incoming_server: Mapped["IncomingServer | None"] = relationship()

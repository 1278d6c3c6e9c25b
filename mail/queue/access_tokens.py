"""The access tokens of connected accounts: read where they are needed, renewed before they end, by one at a time.

A refresh token may be worth something once only: whoever renews takes a lease in the database's time first, by which
all threads of all workers are told apart, and what comes back is committed before anybody uses it. A renewal that comes
too late, because the account was connected anew meanwhile, writes nothing.
"""

import logging
import threading
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from flask import current_app
from sqlalchemy import or_, select, update

from mail.decide.oauth import APP_SCOPE
from mail.decide.token_life import FORCED_AGAIN, days_left, end_of_permission, is_due, retry_after
from mail.errors import ConnectionFailed, MailError
from mail.queue.lease import elapsed
from mail.sentences import say, why
from mail.settings import oauth
from mail.settings.clock import now as clock_now
from mail.settings.notices import tell_admins
from mail.settings.oauth import OauthTokens, Registration
from mail.transport.oauth_http import OauthRefused
from models import (
    Event,
    OauthAccount,
    OauthProvider,
    OutgoingServer,
    Unreadable,
    change_rows,
    database_clock,
    db,
    reading,
)
from models.faults import keeps_waiting

log = logging.getLogger("coquimail.tokens")

LEASE = 90.0  # seconds that one renewal may take; a provider has 20 s for each of two questions
SAFE = 30.0  # of these, the ones in which the question may be asked: a worker that slept must not ask it any more
PATIENCE = 30.0  # seconds for which a renewal by somebody else is waited for
LOOK_EVERY = 0.2
ACCOUNT, REGISTRATION = "/admin/connected-accounts/details?id=%s", "/admin/app-registrations/edit?id=%s"
STORE_FOR = 60.0  # seconds for which tokens that came are kept in hand while the database is away

_AT_WORK = "coquimail-renewals"  # a lock for each account: of the threads of this worker one speaks with the provider


class SignInWaits(ConnectionFailed):
    """There is no valid token for a server that wants one: what is to go there waits, however long that takes."""

    code = "account_later"  # it could not be renewed just now


class AccountMissing(SignInWaits):  # nobody signed in yet
    code = "account_missing"


class AccountEnded(SignInWaits):  # somebody must sign in again
    code = "account_ended"


class AccountUnreadable(SignInWaits):  # its tokens were stored under another key of ours
    code = "account_unreadable"


NO_TOKEN = frozenset(kind.code for kind in (SignInWaits, AccountMissing, AccountEnded, AccountUnreadable))


@dataclass(frozen=True)
class _Held:
    """What an account has at one moment."""

    address: str
    state: str
    token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    is_readable: bool
    flow: str
    expires_at: datetime | None
    refreshed_at: datetime | None
    retry_at: datetime | None
    reason: str
    generation: int
    forced: bool

    def works(self, moment: datetime) -> bool:
        """Whether its token can still be taken."""
        return self.expires_at is not None and moment < self.expires_at and bool(self.token)

    def is_due(self, moment: datetime) -> bool:
        return not self.token or is_due(self.refreshed_at, self.expires_at, moment)


class AccountTokens:
    """The access tokens of one account, for the servers that it signs in to (``sasl.AccessTokens``).

    A renewal by somebody else is waited for so many seconds.
    """

    def __init__(self, account_id: int, patience: float = PATIENCE) -> None:
        self.account_id, self.patience = account_id, patience

    def current(self) -> str:
        """Return a token that is valid now; raises ``SignInWaits`` when there is none."""
        held = _usable(self.account_id)
        moment = clock_now()
        if not held.is_due(moment):
            return held.token
        try:
            # As long as the old one holds nobody waits for the new one that somebody else gets just now.
            return renewed(self.account_id, held.generation, 0.0 if held.works(moment) else self.patience).token
        except SignInWaits:
            held = _usable(self.account_id)  # raises where nothing but a person helps
            if held.works(moment):
                return held.token
            raise

    def instead_of(self, refused: str) -> str | None:
        """Return another token than one that a server refused, None when that one was already made for a refusal."""
        held = _usable(self.account_id)
        if held.token != refused:
            return held.token
        if held.forced and held.refreshed_at and clock_now() - held.refreshed_at < FORCED_AGAIN:
            return None
        return renewed(self.account_id, held.generation, self.patience, forced=True).token


def renewed(account_id: int, generation: int, patience: float = PATIENCE, forced: bool = False) -> _Held:
    """Return an account with a newer token than that of this generation, whoever renewed it. Commits.

    Raises ``SignInWaits`` when there is none: the reason, with what to do, stands on the account.
    """
    locks: defaultdict[int, threading.Lock] = current_app.extensions.setdefault(_AT_WORK, defaultdict(threading.Lock))
    until = elapsed() + patience
    if not locks[account_id].acquire(timeout=patience):
        raise _busy(account_id)
    try:
        while True:
            held = _usable(account_id)
            if held.generation != generation and held.token:
                return held
            moment = clock_now()
            if held.retry_at is not None and held.retry_at > moment:
                raise _later(held.address, held.reason)
            asked = elapsed()
            if _claim(account_id, generation, moment):
                return _renew(account_id, generation, forced, asked)
            if elapsed() > until:
                raise _busy(account_id)
            threading.Event().wait(LOOK_EVERY)
    finally:
        locks[account_id].release()


def _usable(account_id: int) -> _Held:
    """Return what an account has; raises ``SignInWaits`` where only a person can help."""
    with reading():
        row = db.session.get(OauthAccount, account_id, populate_existing=True)
        if row is None:
            raise AccountMissing(server="?")
        held = _Held(
            row.address, row.state, row.access_token or "", row.refresh_token or "",
            not any(isinstance(secret, Unreadable) for secret in (row.access_token, row.refresh_token)),
            row.flow, row.expires_at, row.refreshed_at, row.retry_at, say(row.why), row.generation, row.forced,  # type: ignore[arg-type]
        )  # fmt: skip
    if held.state == "new":
        raise AccountMissing(server=held.address)
    if held.state == "refused":
        raise AccountEnded(account=held.address)
    if not held.is_readable:
        raise AccountUnreadable(account=held.address)
    return held


def _claim(account_id: int, generation: int, moment: datetime) -> bool:
    """Take the right to renew the tokens of this generation; commits."""
    account = OauthAccount
    taken = change_rows(
        update(account)
        .where(account.id == account_id, account.generation == generation, account.state == "connected",
               account.leased_until < database_clock(), or_(account.retry_at.is_(None), account.retry_at <= moment))
        .values(leased_until=database_clock() + LEASE)
    )  # fmt: skip
    db.session.commit()
    return bool(taken)


def _renew(account_id: int, generation: int, forced: bool, claimed: float) -> _Held:
    """Ask the provider and store what came; ``claimed`` is when the lease began, by the clock that nobody sets."""
    moment = clock_now()
    try:
        tokens = _ask(account_id, claimed)
    except OauthRefused as error:
        _note_failure(account_id, generation, error, ended=error.gone)
        raise _failure(account_id) from error
    except SignInWaits:
        raise
    except MailError as error:
        _note_failure(account_id, generation, error, ended=False)
        raise _failure(account_id) from error
    _store(account_id, generation, tokens, forced, moment)
    log.info("account %s: renewed", account_id)
    return _usable(account_id)


def _ask(account_id: int, claimed: float) -> OauthTokens:
    with reading():
        row = db.session.get(OauthAccount, account_id, populate_existing=True)
        if row is None:
            raise AccountMissing(server="?")
        app, refresh_token, flow = oauth.registration_of(row.provider), row.refresh_token or "", row.flow
    endpoints = oauth.endpoints_of(app)
    if elapsed() - claimed > SAFE:  # by now somebody else may be at it
        raise _busy(account_id)
    return oauth.tokens_for(app, endpoints, **_grant(app, flow, refresh_token))


def _grant(app: Registration, flow: str, refresh_token: str) -> dict[str, str]:
    if flow == "client":
        return {"grant_type": "client_credentials", "scope": APP_SCOPE}
    return {"grant_type": "refresh_token", "refresh_token": refresh_token}


def _store(account_id: int, generation: int, tokens: OauthTokens, forced: bool, moment: datetime) -> None:
    """Write down what came, unless the account was connected anew; commits.

    The database may be away just now: what came is worth more than the time of this thread.
    """
    until = elapsed() + STORE_FOR
    while True:
        try:
            row = db.session.scalar(
                select(OauthAccount)
                .where(OauthAccount.id == account_id, OauthAccount.generation == generation)
                .with_for_update()
            )
            if row is not None:
                end = row.refresh_expires_at
                oauth.keep(row, tokens, moment)
                row.refresh_expires_at = end_of_permission(end, row.refresh_expires_at, bool(tokens.refresh_seconds))
                row.forced = forced
            db.session.commit()
            return
        except Exception as error:
            db.session.rollback()
            if not keeps_waiting(error) or elapsed() > until:
                raise
            threading.Event().wait(LOOK_EVERY)


# --- what fails


def _later(address: str, reason: str) -> SignInWaits:
    return SignInWaits(account=address, reason=reason)


def _busy(account_id: int) -> SignInWaits:
    return _later(_usable(account_id).address, say(why("account_busy")))


def _failure(account_id: int) -> SignInWaits:
    """Return why there is no new token, as servers are told."""
    try:
        held = _usable(account_id)
    except SignInWaits as error:
        return error
    return _later(held.address, held.reason)


def _note_failure(account_id: int, generation: int, error: MailError, ended: bool) -> None:
    """Write down why a renewal failed, and tell the admins of what only a person can mend; commits."""
    moment = clock_now()
    row = db.session.scalar(
        select(OauthAccount)
        .where(OauthAccount.id == account_id, OauthAccount.generation == generation, OauthAccount.state == "connected")
        .with_for_update()
    )
    if row is None:  # connected anew meanwhile
        db.session.rollback()
        return
    is_new = (row.why or {}).get("code") != error.why["code"]
    row.why, row.leased_until = dict(error.why), 0.0
    if ended:
        row.state, row.retry_at = "refused", None
    else:
        row.retries += 1
        row.retry_at = moment + retry_after(row.retries)
    if is_new and not error.retry:
        values = {"account": row.address, "provider": row.provider.name, "reason": say(error.why)}
        if ended:
            tell_admins("notice_account_ended", values, ACCOUNT % row.id, moment)
        else:
            tell_admins("notice_account_stuck", values, REGISTRATION % row.provider_id, moment)
    Event.add(["outgoing_servers", "incoming_servers"], moment)
    db.session.commit()
    log.warning("account %s: not renewed: %s", account_id, error.why["code"])


def try_again(provider_id: int) -> None:
    """What is known of a provider was changed: renewals that failed are tried again at once. The caller commits."""
    account = OauthAccount
    failed = update(account).where(account.provider_id == provider_id, account.retry_at.is_not(None))
    change_rows(failed.values(retry_at=None, retries=0))


def ready_servers() -> set[int]:
    """Return the outgoing servers whose account has a token, or gets one as soon as it is asked for."""
    account = OauthAccount
    ready = (OutgoingServer.authentication == "oauth2", account.state == "connected", account.retry_at.is_(None))
    with reading():
        found = select(OutgoingServer.id).join(account, account.id == OutgoingServer.oauth_account_id)
        return set(db.session.scalars(found.where(*ready)))


# --- ahead of time


def due(moment: datetime) -> list[tuple[int, int]]:
    """Return the accounts whose tokens will end soon, each with the generation that is to be renewed."""
    account = OauthAccount
    with reading():
        rows = db.session.execute(
            select(account.id, account.generation, account.refreshed_at, account.expires_at)
            .where(account.state == "connected", or_(account.retry_at.is_(None), account.retry_at <= moment))
            .order_by(account.expires_at)
        ).all()
    return [(row.id, row.generation) for row in rows if is_due(row.refreshed_at, row.expires_at, moment)]


def renew_due(moment: datetime) -> None:
    """Renew the tokens that will end soon, whether somebody needs them now or not. Commits.

    So a revoked permission is noticed before an email needs it, and one that ends when it is not used does not end.
    """
    for account_id, generation in due(moment):
        with suppress(SignInWaits):  # it is noted on the account
            renewed(account_id, generation)


def warn_of_ends(moment: datetime) -> None:
    """Tell the admins, once for each, of permissions and client secrets that end within two weeks; commits."""
    for account in db.session.scalars(select(OauthAccount).where(OauthAccount.state == "connected")):
        # The first renewal shows whether the end moves with each of them; before it nobody knows.
        if account.refreshed_at and account.connected_at and account.refreshed_at > account.connected_at:
            values = {"account": account.address, "provider": account.provider.name}
            _warn(account, account.refresh_expires_at, "notice_account_ends", values, moment)
    for provider in db.session.scalars(select(OauthProvider)):
        _warn(provider, provider.secret_expires_at, "notice_secret_ends", {"provider": provider.name}, moment)
    db.session.commit()


def _warn(
    row: OauthAccount | OauthProvider, end: datetime | None, code: str, values: dict[str, str], moment: datetime
) -> None:
    days = days_left(end, moment)
    if days is None or end is None or row.warned_of == end:
        return
    row.warned_of = end
    link = (ACCOUNT if isinstance(row, OauthAccount) else REGISTRATION) % row.id
    tell_admins(code, {**values, "days": days, "on": f"{end:%Y-%m-%d}"}, link, moment)

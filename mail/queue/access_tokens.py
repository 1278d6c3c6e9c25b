"""The access tokens of connected accounts: read where they are needed, renewed before they end, by one at a time.

A refresh token may be worth something once only: whoever renews takes a lease in the database's time first, by which
all threads of all workers are told apart, and what comes back is committed before anybody uses it. A renewal that comes
too late, because the account was connected anew meanwhile, writes nothing.
"""

import logging
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from flask import current_app
from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import joinedload

from mail.decide.oauth import APP_SCOPE
from mail.decide.token_life import FORCED_AGAIN, LONGEST_RETRY, end_of_permission, is_due, retry_after, waits
from mail.errors import MailError
from mail.queue.account_notices import tell_of_failure
from mail.queue.lease import elapsed
from mail.sentences import why
from mail.settings import oauth, rehearsal
from mail.settings.clock import now as clock_now
from mail.settings.oauth import OauthTokens, Registration
from mail.transport.oauth_http import OauthRefused
from mail.transport.sasl import AccountEnded, AccountNew, AccountRemoved, AccountUnreadable, SignInWaits
from models import Event, OauthAccount, OutgoingServer, Unreadable, change_rows, database_clock, db, reading
from models.faults import keeps_waiting

log = logging.getLogger("coquimail.tokens")

LEASE = 140.0  # seconds that one renewal may take: SAFE, two questions of 20 s each (the second without the secret)
SAFE = 30.0  # and STORE_FOR; in the first ones the question may be asked, a worker that slept must not ask it any more
PATIENCE = 30.0  # seconds for which a renewal by somebody else is waited for
LOOK_EVERY = 0.2
SLOW = 5.0  # seconds after which the other accounts of a provider are left for later
STORE_FOR = 60.0  # seconds for which tokens that came are kept in hand while the database is away

_AT_WORK = "coquimail-renewals"  # a lock for each account: of the threads of this worker one speaks with the provider


class RenewalFailed(MailError):  # a mistake of ours, or something that nobody thought of
    code, retry = "account_renewal_failed", True


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
    reason: Any
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

    Raises ``SignInWaits`` when there is none: the reason, with what to do, stands on the account. Nothing is renewed in
    a rehearsal: a refresh token may be worth something once only, and then it is the real office's.
    """
    with reading():
        rehearses = rehearsal.is_on()
    if rehearses:
        raise _later(_usable(account_id).address, why("account_rehearsal"))
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
            if waits(held.retry_at, moment):
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
            raise AccountRemoved()
        held = _Held(
            row.address, row.state, row.access_token or "", row.refresh_token or "",
            not _is_unreadable(row.access_token, row.refresh_token),
            row.flow, row.expires_at, row.refreshed_at, row.retry_at, row.why or "", row.generation, row.forced,
        )  # fmt: skip
    if held.state == "new":
        raise AccountNew(account=held.address)
    if held.state == "refused":
        raise AccountEnded(account=held.address)
    if not held.is_readable:
        raise AccountUnreadable(account=held.address)
    return held


def _is_unreadable(*secrets: object) -> bool:
    return any(isinstance(secret, Unreadable) for secret in secrets)


def _may_be_asked(moment: datetime) -> ColumnElement[bool]:
    """Select the accounts that wait for no further try; a time that is too far off was set by a wrong clock."""
    retry_at = OauthAccount.retry_at
    return or_(retry_at.is_(None), retry_at <= moment, retry_at > moment + LONGEST_RETRY)


def _claim(account_id: int, generation: int, moment: datetime) -> bool:
    """Take the right to renew the tokens of this generation; commits."""
    account = OauthAccount
    taken = change_rows(
        update(account)
        .where(account.id == account_id, account.generation == generation, account.state == "connected",
               or_(account.leased_until < database_clock(), account.leased_until > database_clock() + LEASE),
               _may_be_asked(moment))
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
    except (SignInWaits, DBAPIError):
        raise
    except MailError as error:
        _note_failure(account_id, generation, error, ended=False)
        raise _failure(account_id) from error
    except Exception as error:
        name = type(error).__name__
        log.error("account %s: renewing failed: %s", account_id, name)  # its text may hold a secret
        _note_failure(account_id, generation, RenewalFailed(error=name), ended=False)
        raise _failure(account_id) from None
    _store(account_id, generation, tokens, forced, moment)
    log.info("account %s: renewed", account_id)
    return _usable(account_id)


def _ask(account_id: int, claimed: float) -> OauthTokens:
    with reading():
        # Both in one statement: a token is sent to no provider that was entered after it was read.
        both = [joinedload(OauthAccount.provider)]
        row = db.session.get(OauthAccount, account_id, populate_existing=True, options=both)
        if row is None:
            raise AccountRemoved()
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


def _later(address: str, reason: Any) -> SignInWaits:
    return SignInWaits(account=address, reason=reason)


def _busy(account_id: int) -> SignInWaits:
    return _later(_usable(account_id).address, why("account_busy"))


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
    row.why, row.leased_until = dict(error.why), 0.0
    if ended:
        row.state, row.retry_at = "refused", None
    else:
        row.retries += 1
        row.retry_at = moment + retry_after(row.retries)
    tell_of_failure(row, error, moment)
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


def due(moment: datetime) -> list[tuple[int, int, int]]:
    """Return the accounts whose tokens will end soon, each with the generation to be renewed, and its provider."""
    account = OauthAccount
    with reading():
        rows = db.session.execute(
            select(account.id, account.generation, account.refreshed_at, account.expires_at, account.use_by,
                   account.why, account.access_token, account.refresh_token, account.provider_id)
            .where(account.state == "connected", _may_be_asked(moment))
            .order_by(account.expires_at)
        ).all()  # fmt: skip
    return [
        (row.id, row.generation, row.provider_id) for row in rows
        if row.why  # it failed, and is to be tried again
        or _is_unreadable(row.access_token, row.refresh_token)
        or is_due(row.refreshed_at, row.expires_at, moment, row.use_by)
    ]  # fmt: skip


def renew_due(moment: datetime) -> None:
    """Renew the tokens that will end soon, whether somebody needs them now or not. Commits.

    So a revoked permission is noticed before an email needs it, and one that ends when it is not used does not end.
    One that can't be renewed keeps no other waiting, and the others of a provider that is slow wait for the next call.
    """
    slow: set[int] = set()
    for account_id, generation, provider_id in due(moment):
        if provider_id in slow:
            continue
        began = elapsed()
        try:
            renewed(account_id, generation, 0.0)
        except AccountUnreadable as error:
            _note_failure(account_id, generation, error, ended=False)
        except SignInWaits:
            pass  # it is noted on the account
        except DBAPIError:
            raise
        except Exception as error:
            db.session.rollback()
            log.error("account %s: renewing failed: %s", account_id, type(error).__name__)  # its text may hold a secret
        if elapsed() - began > SLOW:
            slow.add(provider_id)

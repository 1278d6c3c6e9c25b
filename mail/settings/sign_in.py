"""FLOW: a sign-in at a provider, from the press of Connect to an account with tokens.

The web process only writes rows (``begin``, ``come_back``); ``go_on`` is the worker's part, which alone connects to
the provider. Between the two a row says what comes next: see ``OauthSignIn``. No transaction is open while a provider
is waited for.
"""

import hashlib
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import ColumnElement, func, select, update

from mail.decide import oauth as rules
from mail.errors import MailError
from mail.message.address import normalise
from mail.sentences import Why, why
from mail.settings import oauth
from mail.settings.oauth import OauthTokens, Registration
from mail.transport.oauth_http import OauthRefused, OauthUnreachable
from models import Event, IncomingServer, OauthAccount, OauthSignIn, OutgoingServer, change_rows, db

OPEN_FOR = timedelta(minutes=15)  # from the press of Connect until somebody signed in
SLOWER = 5  # seconds more between two questions when the provider says "slow down" (RFC 8628, 3.5)
SLOWEST = 60  # … at a provider that does not answer: RFC 8628, 3.5 wants it asked less often each time
LONGEST_CODE = 4_096


def account_at(provider_id: int, address: str) -> OauthAccount:
    """Return the account of a mailbox at a provider, a new one if there is none; the caller commits."""
    found = db.session.scalar(
        select(OauthAccount).where(OauthAccount.provider_id == provider_id, OauthAccount.address == address)
    )
    if found is None:
        found = OauthAccount(provider_id=provider_id, address=address)
        db.session.add(found)
        db.session.flush()
    return found


def begin(
    account: OauthAccount,
    flow: str,
    user_id: int,
    redirect: str,
    return_to: str,
    moment: datetime,
    server: OutgoingServer | IncomingServer | None = None,
) -> tuple[OauthSignIn, str]:
    """Ask the worker for a sign-in; return the row, and the secret that the browser must bring back. Commits.

    ``server`` uses the account from the moment on at which it is connected, and not before.
    """
    state = secrets.token_urlsafe(32)
    sign_in = OauthSignIn(
        account=account,
        outgoing_server_id=server.id if isinstance(server, OutgoingServer) else None,
        incoming_server_id=server.id if isinstance(server, IncomingServer) else None,
        flow=flow,
        requested_by_id=user_id,
        requested_at=moment,
        expires_at=moment + OPEN_FOR,
        return_to=return_to,
        redirect_uri=redirect,
        state_key=_key(state) if flow == "code" else None,
        verifier=secrets.token_urlsafe(48) if flow == "code" else None,
        steps=[],
    )
    db.session.add(sign_in)
    db.session.commit()
    return sign_in, state


def by_state(state: str, user_id: int) -> OauthSignIn | None:
    """Return the sign-in that a browser comes back from, if the same person began it."""
    found = select(OauthSignIn).where(OauthSignIn.state_key == _key(state), OauthSignIn.requested_by_id == user_id)
    return db.session.scalar(found)


def come_back(sign_in: OauthSignIn, answer: Mapping[str, str], moment: datetime) -> None:
    """Write down what the browser brought back from the provider: a code, or why there is none. Commits."""
    code = answer.get("code", "")
    if answer.get("error"):
        meant = rules.refusal(answer["error"], answer.get("error_description", ""))
        _end(sign_in.id, "open", meant.why, moment)
    elif not code or len(code) > LONGEST_CODE:
        _end(sign_in.id, "open", why("sign_in_nothing_came"), moment)
    else:
        _change(sign_in.id, "open", moment, state="returned", code=code)
    db.session.commit()


def end_open(which: ColumnElement[bool], reason: Why, moment: datetime) -> None:
    """End the sign-ins under way of a server or a provider that was changed; the caller commits.

    Whatever the worker holds of them by now connects nothing any more.
    """
    under_way = select(OauthSignIn.id, OauthSignIn.state).where(which, OauthSignIn.state.not_in(("done", "failed")))
    for sign_in_id, state in db.session.execute(under_way.order_by(OauthSignIn.id).with_for_update()).all():
        _end(sign_in_id, state, reason, moment)


def _key(state: str) -> str:
    return hashlib.sha256(state.encode()).hexdigest()


# --- the worker


def due(moment: datetime) -> int | None:
    """Return the sign-in that the worker can take further now, None when there is none.

    The one that has waited longest: sign-ins at a provider that hangs leave room for those at others.
    """
    polled = (OauthSignIn.state == "open") & (OauthSignIn.poll_at <= moment)
    late = (OauthSignIn.state == "open") & (OauthSignIn.expires_at <= moment)
    ready = OauthSignIn.state.in_(("waiting", "returned")) | polled | late
    return db.session.scalar(
        select(OauthSignIn.id)
        .where(OauthSignIn.state.not_in(("done", "failed")), ready)
        .order_by(func.coalesce(OauthSignIn.poll_at, OauthSignIn.requested_at), OauthSignIn.id)
        .limit(1)
    )


def claim(sign_in_id: int, worker_id: int, moment: datetime) -> str:
    """Take a sign-in and return the state it was in, "" when another worker was quicker. Commits."""
    state = db.session.scalar(select(OauthSignIn.state).where(OauthSignIn.id == sign_in_id))
    taken = state in ("waiting", "open", "returned") and _change(
        sign_in_id, state, moment, state="running", worker_id=worker_id
    )
    db.session.commit()
    return str(state) if taken else ""


def go_on(sign_in_id: int, state: str, moment: datetime) -> bool:
    """Take a claimed sign-in as far as it goes now; return whether the account is connected. Commits."""
    sign_in = db.session.get(OauthSignIn, sign_in_id)
    if sign_in is None:
        return False
    connected, steps = False, list(sign_in.steps)
    try:
        if state == "open" and sign_in.expires_at and sign_in.expires_at <= moment:
            raise OauthRefused("expired_token", why("sign_in_not_in_time"))
        found = {"waiting": _prepare, "open": _poll, "returned": _exchange}[state](sign_in, moment, steps)
    except MailError as error:
        db.session.rollback()
        _end(sign_in_id, "running", error.why, moment, steps)
    else:
        if isinstance(found, OauthTokens):
            connected = _connect(sign_in_id, found, steps, moment)
        else:
            _change(sign_in_id, "running", moment, steps=steps, **found)
    db.session.commit()
    return connected


def give_up(sign_in_id: int, reason: Why, moment: datetime) -> None:
    """End a sign-in that broke off in the worker. Commits."""
    _end(sign_in_id, "running", reason, moment)
    db.session.commit()


def lose_all_of(worker_id: int, moment: datetime) -> int:
    """End the sign-ins that a dead worker had in hand, and return their number. The caller commits.

    The code of a browser is worth nothing a second time.
    """
    held = select(OauthSignIn.id).where(OauthSignIn.worker_id == worker_id, OauthSignIn.state == "running")
    lost = db.session.scalars(held).all()
    for sign_in_id in lost:
        _end(sign_in_id, "running", why("sign_in_lost"), moment)
    return len(lost)


def _app_of(sign_in: OauthSignIn) -> Registration:
    """Return the app registration, read before the code: so no other provider is sent a code than the one it is of."""
    app = oauth.registration_of(sign_in.account.provider)
    db.session.refresh(sign_in)
    return app


def _prepare(sign_in: OauthSignIn, moment: datetime, steps: list[Any]) -> OauthTokens | dict[str, Any]:
    """Find the page to sign in on, or get a code for it; an app that needs no person gets its tokens."""
    app, address = _app_of(sign_in), sign_in.account.address
    flow, redirect, verifier = sign_in.flow, sign_in.redirect_uri, sign_in.verifier or ""
    db.session.rollback()
    endpoints = oauth.endpoints_of(app)
    if app.kind == "other":
        _step(steps, "sign_in_looked_up", provider=app.name, host=urlsplit(endpoints.token).hostname)
    if flow == "client":
        tokens = oauth.tokens_for(app, endpoints, grant_type="client_credentials", scope=rules.APP_SCOPE)
        _step(steps, "sign_in_app_tokens", provider=app.name)
        return tokens
    if flow == "device":
        given = oauth.device_code(app, endpoints)
        _step(steps, "sign_in_code_ready", provider=app.name)
        return {
            "state": "open",
            "where": given.page,
            "user_code": given.user_code,
            "code": given.device_code,
            "poll_at": moment + timedelta(seconds=given.every),
            "poll_every": given.every,
            "expires_at": moment + timedelta(seconds=given.seconds),
        }
    from authlib.oauth2.rfc7636 import create_s256_code_challenge

    challenge = create_s256_code_challenge(verifier)
    page = rules.authorization_url(endpoints, app.kind, app.client_id, redirect, app.scope, challenge, address)
    _step(steps, "sign_in_page_ready", provider=app.name)
    return {"state": "open", "where": page}


def _exchange(sign_in: OauthSignIn, moment: datetime, steps: list[Any]) -> OauthTokens:
    """Turn the code that the browser brought into tokens."""
    app, address = _app_of(sign_in), sign_in.account.address
    grant = {
        "grant_type": "authorization_code",
        "code": sign_in.code or "",
        "redirect_uri": sign_in.redirect_uri,
        "code_verifier": sign_in.verifier or "",
    }
    db.session.rollback()
    endpoints = oauth.endpoints_of(app)
    tokens = oauth.tokens_for(app, endpoints, **grant)
    _check(app, endpoints, tokens, address, steps)
    return tokens


def _poll(sign_in: OauthSignIn, moment: datetime, steps: list[Any]) -> OauthTokens | dict[str, Any]:
    """Ask whether the person typed the device code by now."""
    app, address = _app_of(sign_in), sign_in.account.address
    grant = {"grant_type": rules.DEVICE_GRANT, "device_code": sign_in.code or ""}
    every, began = sign_in.poll_every, monotonic()
    db.session.rollback()
    try:
        endpoints = oauth.endpoints_of(app)
        tokens = oauth.tokens_for(app, endpoints, **grant)
    except (OauthRefused, OauthUnreachable) as error:
        said = getattr(error, "error", "")
        if not error.retry and said != "authorization_pending":
            raise
        if isinstance(error, OauthUnreachable):
            every = min(every * 2, SLOWEST)
        every += SLOWER if said == "slow_down" else 0
        answered = moment + timedelta(seconds=monotonic() - began)
        return {"state": "open", "poll_every": every, "poll_at": answered + timedelta(seconds=every)}
    _check(app, endpoints, tokens, address, steps)
    return tokens


def _check(app: Registration, endpoints: rules.Endpoints, tokens: OauthTokens, address: str, steps: list[Any]) -> None:
    """Refuse tokens of another mailbox than the one that was asked for, and those that end in an hour for good."""
    _step(steps, "sign_in_returned", provider=app.name)
    names = tokens.names or oauth.names_by_userinfo(endpoints, tokens.access_token)
    if names and address not in names:
        code = "sign_in_other_mailbox_microsoft" if app.kind == "microsoft" else "sign_in_other_mailbox"
        raise OauthRefused("other_mailbox", why(code, found=names[0], address=address))
    if left_out := rules.not_allowed(app.kind, tokens.scope):
        raise OauthRefused("scope", why("sign_in_permission_left_out", scopes=", ".join(left_out)))
    if not tokens.refresh_token:
        raise OauthRefused("no_refresh_token", why("sign_in_no_permission_kept"))
    if names:
        _step(steps, "sign_in_mailbox", address=address)
    else:
        _step(steps, "sign_in_mailbox_unknown", "warning", provider=app.name, address=address)
    _step(steps, "sign_in_tokens", provider=app.name)


def _connect(sign_in_id: int, tokens: OauthTokens, steps: list[Any], moment: datetime) -> bool:
    """End a sign-in, keep its tokens and let its server use them; the caller commits.

    A sign-in that was ended meanwhile connects nothing. Whoever changes a server or a provider ends its sign-ins first,
    and so waits for this transaction, or this one for theirs.
    """
    if not _change(sign_in_id, "running", moment, steps=steps, **_ended("done", moment)):
        return False
    sign_in = db.session.get_one(OauthSignIn, sign_in_id, populate_existing=True)
    account = db.session.get_one(OauthAccount, sign_in.account_id, populate_existing=True, with_for_update=True)
    account.refresh_token = account.refresh_expires_at = None  # those of another sign-in before
    oauth.keep(account, tokens, moment)
    account.flow, account.connected_at = sign_in.flow, moment
    for server in (sign_in.outgoing_server, sign_in.incoming_server):
        if server and server.authentication == "oauth2" and normalise(server.user) == account.address:
            server.oauth_account = account
    return True


def _ended(state: str, moment: datetime) -> dict[str, Any]:
    """Return what is left of a sign-in at its end: no secret."""
    gone = dict.fromkeys(("code", "verifier", "state_key", "poll_at"))
    return {"state": state, "finished_at": moment, "where": "", "user_code": "", **gone}


def _step(steps: list[Any], code: str, state: str = "ok", **values: Any) -> None:
    steps.append({"state": state, "why": why(code, **values), "seconds": None})


def _end(sign_in_id: int, before: str, reason: Why, moment: datetime, steps: list[Any] | None = None) -> None:
    if steps is None:
        steps = list(db.session.scalar(select(OauthSignIn.steps).where(OauthSignIn.id == sign_in_id)) or [])
    failed = {"state": "failed", "why": reason, "seconds": None}
    _change(sign_in_id, before, moment, steps=[*steps, failed], **_ended("failed", moment))


def _change(sign_in_id: int, before: str, moment: datetime, **values: Any) -> bool:
    """Change a sign-in that is still in this state; an open page sees it at once."""
    row = update(OauthSignIn).where(OauthSignIn.id == sign_in_id, OauthSignIn.state == before)
    done = bool(change_rows(row.values(values)))
    if done:
        Event.add([f"sign_in:{sign_in_id}"], moment)
    return done

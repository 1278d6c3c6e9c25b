"""Tokens of authorization servers: asked for, read and stored. Whoever calls holds no transaction while it asks.

``Registration`` is an app registration without its row; ``tokens_for`` speaks with the provider and knows no row
either; ``keep`` writes what came into an account, and the caller commits.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from mail.decide import oauth as rules
from mail.decide.oauth import Endpoints
from mail.sentences import why
from mail.settings.config import settings
from mail.transport import oauth_http
from mail.transport.oauth_http import (
    OauthDiscoveryWrong,
    OauthLater,
    OauthNotUnderstood,
    OauthRefused,
    OauthSecretUnreadable,
)
from models import OauthAccount, OauthProvider, Unreadable

SHORTEST = 60  # seconds that a token is believed to hold, whatever the provider says
LONGEST_CODE = 3600  # seconds for which we ask whether somebody typed a device code
USUAL = 3600  # seconds, where it does not say


@dataclass(frozen=True)
class Registration:
    """How this office is known to a provider."""

    kind: str
    name: str
    client_id: str
    client_secret: str = field(default="", repr=False)
    tenant: str = ""
    issuer: str = ""
    scopes: str = ""

    @property
    def scope(self) -> str:
        """What a person is asked to allow."""
        return self.scopes or rules.SCOPES[self.kind]


@dataclass(frozen=True)
class OauthTokens:
    """What a provider gave. Times are in seconds from now; ``names`` are the addresses of who signed in."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    seconds: int
    refresh_seconds: int | None
    names: tuple[str, ...] = ()
    scope: str = ""


@dataclass(frozen=True)
class DeviceCode:
    """A code that a person types on a page of the provider, on any device."""

    device_code: str = field(repr=False)
    user_code: str
    page: str
    seconds: int
    every: int


def registration_of(provider: OauthProvider) -> Registration:
    """Return what a row says; raises ``OauthSecretUnreadable`` when its secret was stored under another key."""
    if isinstance(provider.client_secret, Unreadable):
        raise OauthSecretUnreadable(provider=provider.name)
    return Registration(
        provider.kind,
        provider.name,
        provider.client_id,
        provider.client_secret or "",
        provider.tenant,
        provider.issuer,
        provider.scopes,
    )


def endpoints_of(app: Registration) -> Endpoints:
    """Return the addresses of a provider; one that is neither Google nor Microsoft is asked for them."""
    issuer = settings().oauth_issuers.get(app.kind) or (app.issuer if app.kind == "other" else "")
    known = None if issuer else rules.known_endpoints(app.kind, app.tenant)
    if known:
        return known
    answer = oauth_http.ask(issuer.rstrip("/") + rules.DISCOVERY, allow_local=settings().allow_local)
    found = rules.discovered(answer.body, issuer)
    if isinstance(found, str):
        raise OauthDiscoveryWrong(issuer=issuer, what=found)
    return found


# --- what a provider is asked


def tokens_for(app: Registration, endpoints: Endpoints, **grant: str) -> OauthTokens:
    """Return what a provider gives for a grant (RFC 6749); raises ``OauthRefused`` or ``OauthUnreachable``."""
    body = _post(app, endpoints, endpoints.token, grant)
    access = body.get("access_token")
    if not isinstance(access, str) or not access:
        raise OauthNotUnderstood(host=app.name, status="(no access token)")
    return OauthTokens(
        access,
        _text(body, "refresh_token"),
        max(_seconds(body.get("expires_in")) or USUAL, SHORTEST),
        _seconds(body.get("refresh_token_expires_in")) or _seconds(body.get("refresh_expires_in")),
        _names(app, body),
        _text(body, "scope"),
    )


def names_by_userinfo(endpoints: Endpoints, access_token: str) -> tuple[str, ...]:
    """Return the addresses of who signed in, as the provider tells them to who holds a token; () where it does not."""
    if not endpoints.userinfo:
        return ()
    headers = {"Authorization": f"Bearer {access_token}"}
    answer = oauth_http.ask(endpoints.userinfo, headers=headers, allow_local=settings().allow_local)
    return rules.names_in(answer.body) if answer.status == 200 else ()


def device_code(app: Registration, endpoints: Endpoints) -> DeviceCode:
    """Return a code to type on a page of the provider (RFC 8628)."""
    if not endpoints.device:
        raise OauthRefused("unsupported_grant_type", why("sign_in_no_device_code", provider=app.name))
    body = _post(app, endpoints, endpoints.device, {"scope": app.scope})
    page = _text(body, "verification_uri") or _text(body, "verification_url")
    if not page.startswith("https://") or not _text(body, "device_code") or not _text(body, "user_code"):
        raise OauthNotUnderstood(host=app.name, status="(no device code)")
    seconds = min(_seconds(body.get("expires_in")) or 600, LONGEST_CODE)
    every = _seconds(body.get("interval")) or 5
    return DeviceCode(_text(body, "device_code"), _text(body, "user_code")[:64], page, seconds, min(every, 60))


def _post(app: Registration, endpoints: Endpoints, address: str, form: dict[str, str]) -> dict[str, Any]:
    answer = _ask(app, endpoints, address, form)
    if app.client_secret and rules.wants_no_secret(_text(answer.body, "error_description")):
        answer = _ask(replace(app, client_secret=""), endpoints, address, form)
    if answer.status != 200 or "error" in answer.body:
        raise _refused(answer, form.get("grant_type", ""))
    return answer.body


def _ask(app: Registration, endpoints: Endpoints, address: str, form: dict[str, str]) -> oauth_http.HttpAnswer:
    headers: dict[str, str] = {}
    sent = dict(form)
    if app.client_secret and endpoints.secret_in_header:
        headers["Authorization"] = rules.basic(app.client_id, app.client_secret)
    else:
        sent["client_id"] = app.client_id
        if app.client_secret:
            sent["client_secret"] = app.client_secret
    return oauth_http.ask(address, sent, headers, allow_local=settings().allow_local)


def _refused(answer: oauth_http.HttpAnswer, grant: str) -> OauthRefused:
    error = _text(answer.body, "error")
    meant = rules.refusal(error, _text(answer.body, "error_description"), answer.status, grant)
    return (OauthLater if meant.later else OauthRefused)(error, meant.why, meant.gone)


def _names(app: Registration, body: dict[str, Any]) -> tuple[str, ...]:
    claims = rules.claims_of(_text(body, "id_token"))
    return rules.names_in(claims) if rules.is_for(claims, app.client_id) else ()


def _text(body: dict[str, Any], name: str) -> str:
    found = body.get(name)
    return found if isinstance(found, str) else ""


def _seconds(value: Any) -> int | None:
    """Return a number of seconds that a provider named; some write it as a text."""
    text = str(value)
    return min(int(text), 10 * 365 * 86400) if text.isdecimal() and len(text) < 12 else None


# --- what is kept


def keep(account: OauthAccount, tokens: OauthTokens, moment: datetime) -> None:
    """Write tokens into an account, which is usable from now on; the caller commits.

    A provider that gives no new refresh token means the old one to stay. A renewal that is under way writes nothing any
    more (``mail/queue/access_tokens.py``).
    """
    account.access_token = tokens.access_token
    if tokens.refresh_token:
        account.refresh_token = tokens.refresh_token
    account.expires_at = moment + timedelta(seconds=tokens.seconds)
    if tokens.refresh_seconds:
        account.refresh_expires_at = moment + timedelta(seconds=tokens.refresh_seconds)
    if tokens.refresh_seconds or tokens.refresh_token:
        account.use_by = moment + timedelta(seconds=tokens.refresh_seconds) if tokens.refresh_seconds else None
    account.refreshed_at = moment
    account.state, account.why, account.told = "connected", None, None
    account.generation, account.leased_until, account.forced = (account.generation or 0) + 1, 0.0, False
    account.retry_at, account.retries = None, 0

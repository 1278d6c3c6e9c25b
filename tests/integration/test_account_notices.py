"""Accounts that can't be renewed: each has a reason, admins hear of each trouble once, and none holds up the others."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, text

from mail.errors import MailError
from mail.queue import access_tokens, account_notices
from mail.queue.access_tokens import AccountTokens
from mail.sentences import say, why
from mail.settings import oauth
from mail.transport.oauth_http import (
    OauthCertificateRefused,
    OauthLater,
    OauthRefused,
    OauthUnreachable,
)
from mail.transport.sasl import AccountNew, AccountRemoved
from models import Contact, Notification, OauthAccount, OauthProvider, OutgoingServer, User, database_clock, db
from webapp import sign_in_words

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
TOKENS = oauth.OauthTokens("access", "refresh", 3600, None)
Answer = oauth.OauthTokens | Exception


def refused(code: str) -> OauthRefused:
    return OauthRefused("odd", why(code, said="x"), gone=code == "sign_in_again")


AWAY = OauthUnreachable(host="login.test", detail="x")
BUSY = OauthLater("server_error", why("sign_in_later", said="x"))
SECRET = refused("sign_in_client_refused")


@pytest.fixture
def account(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[OauthAccount]:
    """The account of an office with an admin; its token ends in a minute."""
    with app.app_context():
        monkeypatch.setattr(access_tokens, "clock_now", lambda: NOW)
        monkeypatch.setattr(oauth, "endpoints_of", lambda app: None)
        db.session.add(User(email="boss@office.test", role="admin", contact=Contact(name="Boss")))
        provider = OauthProvider(kind="other", name="Provider", client_id="us", client_secret="xyz", issuer="https://x")
        yield connected(provider, "ann@office.test")
        db.session.rollback()


def connected(provider: OauthProvider, address: str) -> OauthAccount:
    row = OauthAccount(provider=provider, address=address, state="connected", access_token="a", refresh_token="r",
                       expires_at=NOW + timedelta(minutes=1), refreshed_at=NOW - timedelta(hours=1),
                       connected_at=NOW - timedelta(days=1))  # fmt: skip
    db.session.add(row)
    db.session.commit()
    return row


@pytest.fixture
def provider_says(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Renew what is due, once for each of these answers."""

    def says(*answers: Answer) -> None:
        for answer in answers:
            monkeypatch.setattr(oauth, "tokens_for", lambda *_, _answer=answer, **__: give(_answer))
            db.session.execute(text("UPDATE oauth_account SET retry_at = NULL"))
            db.session.commit()
            access_tokens.renew_due(NOW)
        db.session.expire_all()

    return says


def give(answer: Answer) -> oauth.OauthTokens:
    if isinstance(answer, Exception):
        raise answer
    return answer


def notices() -> list[tuple[str, str]]:
    """Return what the admin was told, and where each notice leads."""
    db.session.rollback()
    rows = db.session.scalars(select(Notification).order_by(Notification.id)).all()
    return [(say(row.why), row.link) for row in rows]


def expire(account: OauthAccount) -> None:
    account.expires_at, account.refreshed_at = NOW + timedelta(minutes=1), NOW - timedelta(hours=1)
    db.session.commit()


# --- what admins are told


def test_each_trouble_is_told_once_until_the_account_works_again(
    account: OauthAccount, provider_says: Callable[..., None]
) -> None:
    provider_says(*[AWAY, BUSY] * 4, AWAY)
    assert not notices(), "for half an hour nobody needs to know"
    provider_says(BUSY, SECRET, AWAY, SECRET, BUSY, SECRET)
    (away, _), (secret, _) = notices()
    assert "busy or down" in away and "will wait" in away and "client ID and client secret" in secret
    provider_says(TOKENS)
    assert account.why is None and account.retries == 0
    expire(account)
    provider_says(SECRET, SECRET)
    assert len(notices()) == 3


@pytest.mark.parametrize(
    ("kind", "error", "leads_to"),
    [
        ("microsoft", refused("sign_in_secret_expired"), "/admin/app-registrations/edit?id=1"),
        ("other", OauthCertificateRefused(host="login.test", detail="x"), "/admin/app-registrations/edit?id=1"),
        ("google", OauthCertificateRefused(host="login.test", detail="x"), "/admin/connected-accounts/details?id=1"),
        ("microsoft", refused("sign_in_blocked_by_policy"), "/admin/connected-accounts/details?id=1"),
        ("microsoft", refused("sign_in_again"), "/admin/connected-accounts/details?id=1"),
    ],
)
def test_a_notice_leads_to_where_it_is_mended(
    account: OauthAccount, provider_says: Callable[..., None], kind: str, error: MailError, leads_to: str
) -> None:
    account.provider.kind = kind
    db.session.commit()
    provider_says(error, error)
    ((words, link),) = notices()
    assert link == leads_to and "ann@office.test" in words


# --- one account and the others


def test_an_account_that_fails_in_a_way_nobody_thought_of_holds_up_no_other(
    account: OauthAccount, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    second = connected(account.provider, "bob@office.test")
    account.expires_at -= timedelta(minutes=1)
    other = OauthProvider(kind="other", name="Second", client_id="odd", client_secret="xyz", issuer="https://x")
    account.provider = other
    db.session.commit()
    odd = UnicodeEncodeError("latin-1", "very secret", 0, 1, "xyz")
    monkeypatch.setattr(oauth, "tokens_for", lambda app, *_, **__: give(odd if app.client_id == "odd" else TOKENS))
    access_tokens.renew_due(NOW)
    db.session.expire_all()
    assert second.generation == 1 and account.retry_at == NOW + timedelta(seconds=10)
    assert "UnicodeEncodeError" in say(account.why) and "secret" not in caplog.text
    assert access_tokens.due(NOW) == []


def test_tokens_that_were_stored_under_another_key_are_told_and_shown(
    account: OauthAccount, provider_says: Callable[..., None]
) -> None:
    account.expires_at = NOW + timedelta(hours=1)
    db.session.commit()
    stored = db.session.execute(text("SELECT access_token, refresh_token FROM oauth_account")).one()
    db.session.execute(text("UPDATE oauth_account SET access_token = 'x', refresh_token = 'x'"))
    db.session.commit()
    provider_says(TOKENS, TOKENS)
    assert account.why["code"] == "account_unreadable" and account.retry_at > NOW
    ((words, _),) = notices()
    assert "another secret key" in words
    assert sign_in_words.holds(account) == "–" and sign_in_words.state_of(account)[0] == "doubt"
    server = OutgoingServer(authentication="oauth2", oauth_account=account)
    assert "another secret key" in sign_in_words.badge_of(server)
    restored = {"access": stored.access_token, "refresh": stored.refresh_token}
    db.session.execute(text("UPDATE oauth_account SET access_token = :access, refresh_token = :refresh"), restored)
    provider_says(TOKENS)
    assert account.why is None, "the key is back"


def test_a_provider_that_is_slow_keeps_only_its_own_accounts_waiting(
    account: OauthAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.session.delete(account)
    clock, asked = [0.0], []

    def tokens_for(app: Any, *_: Any, **__: Any) -> oauth.OauthTokens:
        asked.append(app.name)
        clock[0] += 20.0 if app.name == "slow" else 0.1
        raise OauthUnreachable(host=app.name)

    monkeypatch.setattr(oauth, "tokens_for", tokens_for)
    monkeypatch.setattr(access_tokens, "elapsed", lambda: clock[0])
    for name in ("slow", "quick"):
        provider = OauthProvider(kind="google", name=name, client_id="us", client_secret="x")
        db.session.add(provider)
        for number in range(3):
            connected(provider, f"{name}{number}@x.test")
    access_tokens.renew_due(NOW)
    assert asked == ["slow", "quick", "quick", "quick"]
    access_tokens.renew_due(NOW)
    assert asked[4:] == ["slow"]


# --- when


def test_a_clock_that_was_ahead_stops_no_renewal(account: OauthAccount, provider_says: Callable[..., None]) -> None:
    far = db.session.scalar(select(database_clock())) + 10_000
    account.retry_at, account.leased_until, account.access_token = NOW + timedelta(days=300), far, None
    db.session.commit()
    assert access_tokens.due(NOW) == [(account.id, 0, account.provider_id)]
    provider_says(TOKENS)
    assert account.generation == 1


def test_a_refresh_token_is_used_before_it_ends(account: OauthAccount) -> None:
    oauth.keep(account, oauth.OauthTokens("a", "r", 3600, 1800), NOW)
    db.session.commit()
    due = [bool(access_tokens.due(NOW + timedelta(minutes=minutes))) for minutes in (20, 23)]
    assert due == [False, True]
    oauth.keep(account, oauth.OauthTokens("a", "", 3600, None), NOW)
    assert account.use_by == NOW + timedelta(minutes=30), "the old one stays"
    oauth.keep(account, TOKENS, NOW)
    assert account.use_by is None


def test_a_renewal_ends_before_its_lease() -> None:
    from mail.transport.oauth_http import PATIENCE

    assert access_tokens.SAFE + 2 * PATIENCE + access_tokens.STORE_FOR < access_tokens.LEASE


# --- ahead of time


def test_two_workers_warn_once(account: OauthAccount, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    account.provider.secret_expires_at = NOW + timedelta(days=5)
    db.session.commit()
    found, tell = threading.Barrier(2), account_notices.days_left

    def both_have_looked(*given: Any) -> int | None:
        found.wait(60)
        return tell(*given)

    monkeypatch.setattr(account_notices, "days_left", both_have_looked)

    def warn() -> None:
        with app.app_context():
            account_notices.warn_of_ends(NOW)

    threads = [threading.Thread(target=warn) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    ((words, _),) = notices()
    assert "ends in 5 days" in words


@pytest.mark.parametrize(("hours", "said"), [(3, "ends in 1 day,"), (-3, "ended on Nov 28, 2026")])
def test_an_end_that_is_near_or_past_is_told_as_such(account: OauthAccount, hours: int, said: str) -> None:
    account.provider.secret_expires_at = NOW + timedelta(hours=hours)
    db.session.commit()
    account_notices.warn_of_ends(NOW)
    ((words, _),) = notices()
    assert said in words


def test_an_account_is_not_named_as_if_it_were_a_server(account: OauthAccount) -> None:
    account.state = "new"
    db.session.commit()
    with pytest.raises(AccountNew) as new:
        AccountTokens(account.id).current()
    assert say(new.value.why).startswith("ann@office.test is not connected yet")
    with pytest.raises(AccountRemoved):
        AccountTokens(account.id + 1).current()

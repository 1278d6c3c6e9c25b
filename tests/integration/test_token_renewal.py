"""Access tokens in use: renewed before they end, by one at a time; what ends is told, and what waits for it goes on."""

import base64
import hashlib
import logging
import secrets
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from sqlalchemy import func, select

from mail.decide import oauth as rules
from mail.incoming import flow
from mail.incoming.position import target_of, usable
from mail.mailing import mailing
from mail.outgoing import deliver as queue
from mail.outgoing import enqueue, waiting
from mail.outgoing.enqueue import OutgoingDraft, To
from mail.queue import access_tokens, account_notices
from mail.queue.access_tokens import AccountTokens
from mail.queue.connections import Connections, target_of_record
from mail.queue.journal import Journal
from mail.sentences import say
from mail.settings import config, oauth
from mail.settings.config import settings
from mail.transport import mailbox_open, smtp_check
from mail.transport.sasl import AccountEnded, SignInWaits
from models import (
    Contact,
    DeliveryAttempt,
    IncomingServer,
    Notification,
    OauthAccount,
    OauthProvider,
    OutgoingServer,
    Recipient,
    User,
    database_clock,
    db,
)
from scheduler import create_worker_app
from scheduler.identity import WorkerIdentity
from scheduler.renewals import Renewals
from tests.conftest import started
from tests.integration.frontdesk import steady_worker
from tests.integration.mass import Clock, Sender, add_contacts, add_server, draft, mailing_of, states
from tests.servers.authorization import AuthorizationServer
from tests.servers.certificates import Authority
from tests.servers.dovecot import Dovecot
from tests.servers.misbehaving import misbehaving
from tests.servers.postfix import Postfix
from tests.servers.process import free_port
from tests.servers.tokens import TokenServer
from tests.waiting import wait_until

ANN = "ann@office.test"
BACK = "https://office.example/sign-in/callback"


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def office(app: Flask, trusted: Authority, authorization: AuthorizationServer) -> Iterator[Flask]:
    """An office that is registered at the authorization server, with an admin."""
    authorization.set(accessToken=3600, refreshToken=86400, rotate=True, clientUser="", mailOf={})
    authorization.client("office", BACK, secret="of the office")
    with app.app_context():
        db.session.add(User(email="boss@office.test", role="admin", contact=Contact(name="Boss")))
        provider = OauthProvider(kind="other", name="Provider", client_id="office", client_secret="of the office",
                                 issuer=authorization.url)  # fmt: skip
        db.session.add(provider)
        db.session.commit()
        yield app
        db.session.rollback()


def connect(authorization: AuthorizationServer, address: str = ANN) -> int:
    """Sign in as somebody with a browser would, and return the account."""
    provider = db.session.scalars(select(OauthProvider)).one()
    app = oauth.registration_of(provider)
    db.session.rollback()
    endpoints = oauth.endpoints_of(app)
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    page = rules.authorization_url(endpoints, app.kind, app.client_id, BACK, app.scope, challenge, address)
    back = parse_qs(urlsplit(authorization.sign_in(page + "&state=x", address)).query)
    grant = {"grant_type": "authorization_code", "redirect_uri": BACK, "code_verifier": verifier}
    tokens = oauth.tokens_for(app, endpoints, code=back["code"][0], **grant)
    account = db.session.scalar(select(OauthAccount).where(OauthAccount.address == address))
    if account is None:
        account = OauthAccount(provider_id=1, address=address)
        db.session.add(account)
    oauth.keep(account, tokens, now())
    account.connected_at = now()
    db.session.commit()
    return account.id


def change(account_id: int, **values) -> None:
    account = db.session.get_one(OauthAccount, account_id, populate_existing=True)
    for name, value in values.items():
        setattr(account, name, value)
    db.session.commit()


def the(account_id: int) -> OauthAccount:
    db.session.rollback()
    return db.session.get_one(OauthAccount, account_id, populate_existing=True)


def expire(account_id: int) -> None:
    change(account_id, expires_at=now() - timedelta(seconds=1), refreshed_at=now() - timedelta(hours=1))


def renewals(authorization: AuthorizationServer) -> int:
    return sum(one["grant"] == "refresh_token" for one in authorization.asked())


def notices() -> list[str]:
    db.session.rollback()
    found = select(Notification).where(Notification.kind == "notice").order_by(Notification.id)
    return [say(one.why) for one in db.session.scalars(found)]


# --- renewing


def test_a_token_that_has_ended_is_replaced_and_the_new_refresh_token_is_kept(
    office: Flask, authorization: AuthorizationServer
) -> None:
    account, before = connect(authorization), renewals(authorization)
    tokens, first = AccountTokens(account), the(account).refresh_token
    old = tokens.current()
    assert renewals(authorization) == before, "it has not ended"
    expire(account)
    fresh = tokens.current()
    row = the(account)
    assert fresh != old and row.access_token == fresh and row.refresh_token not in (None, first)
    assert row.generation == 2 and row.leased_until == 0 and row.expires_at > now()
    assert tokens.current() == fresh and renewals(authorization) == before + 1
    expire(account)
    assert tokens.current() != fresh, "the provider takes each refresh token once, and has got the new one"


def test_two_workers_with_many_threads_ask_once(
    office: Flask, authorization: AuthorizationServer, database: str, tmp_path: Path
) -> None:
    env = {"COQUI_DATA": str(tmp_path / "data"), "DATABASE_URL": database, "COQUI_URL": "http://office.example"}
    account = connect(authorization)
    expire(account)
    before, found, errors = renewals(authorization), [], []
    workers = [office, create_worker_app(config.read(env))]
    begin = threading.Barrier(8)

    def ask(app: Flask) -> None:
        with app.app_context():
            begin.wait()
            try:
                found.append(AccountTokens(account).current())
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=ask, args=(workers[number % 2],)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with workers[1].app_context():
        db.engine.dispose()
    assert not errors and len(found) == 8 and len(set(found)) == 1
    assert renewals(authorization) == before + 1 and the(account).state == "connected"


def test_what_another_worker_renews_just_now_is_not_renewed_as_well(
    office: Flask, authorization: AuthorizationServer
) -> None:
    account = connect(authorization)
    before, old = renewals(authorization), the(account).access_token
    soon, a_while_ago = now() + timedelta(minutes=1), now() - timedelta(hours=1)
    leased = db.session.scalar(select(database_clock())) + 60
    change(account, expires_at=soon, refreshed_at=a_while_ago, leased_until=leased)
    assert AccountTokens(account).current() == old, "it can still be taken, and nobody waits"
    expire(account)
    with pytest.raises(SignInWaits, match="account_later"):
        AccountTokens(account, patience=0.3).current()
    assert renewals(authorization) == before
    change(account, leased_until=1.0)  # that worker died
    assert AccountTokens(account).current() != old


def test_a_renewal_that_comes_too_late_writes_nothing(office: Flask, authorization: AuthorizationServer) -> None:
    account = connect(authorization)
    generation = the(account).generation
    app = oauth.registration_of(the(account).provider)
    late = oauth.OauthTokens("late", "late", 3600, None)
    assert app
    connect(authorization)
    access_tokens._store(account, generation, late, False, now())
    row = the(account)
    assert row.access_token != "late" and row.generation == generation + 1


def test_a_worker_that_dies_before_it_stores_the_answer(office: Flask, authorization: AuthorizationServer) -> None:
    """Where a refresh token may be used again nothing is lost; where not, a person hears of it at once."""
    authorization.set(rotate=False)
    account = connect(authorization)
    use_up(account)
    assert AccountTokens(account).current()
    authorization.set(rotate=True)
    account = connect(authorization)
    use_up(account)
    with pytest.raises(AccountEnded):
        AccountTokens(account).current()
    assert the(account).state == "refused" and len(notices()) == 1


def use_up(account_id: int) -> None:
    """Ask for new tokens and forget them."""
    expire(account_id)
    row = the(account_id)
    app, refresh_token = oauth.registration_of(row.provider), row.refresh_token
    db.session.rollback()
    grant = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    oauth.tokens_for(app, oauth.endpoints_of(app), **grant)


def test_the_worker_renews_what_nobody_needs_just_now(office: Flask, authorization: AuthorizationServer) -> None:
    account, resting = connect(authorization), connect(authorization, "bob@office.test")
    old = the(account).access_token
    change(account, expires_at=now() + timedelta(minutes=4), refreshed_at=now() - timedelta(minutes=56))
    identity = WorkerIdentity()
    identity.begin()
    assert not Renewals(office, identity, Connections()).work()
    wait_until(lambda: the(account).access_token != old)
    wait_until(lambda: not identity.busy())
    assert the(resting).generation == 1 and not notices()


# --- clocks


def test_a_clock_that_was_set_back_renews(office: Flask, authorization: AuthorizationServer) -> None:
    account = connect(authorization)
    old = the(account).access_token
    change(account, refreshed_at=now() + timedelta(days=1), expires_at=now() + timedelta(days=1, hours=1))
    assert AccountTokens(account).current() != old
    assert the(account).expires_at < now() + timedelta(hours=2)


# --- what fails


def test_a_permission_that_was_taken_back_is_told_once_and_asked_for_no_more(
    office: Flask, authorization: AuthorizationServer
) -> None:
    account = connect(authorization)
    authorization.revoke(ANN)
    expire(account)
    for _ in range(2):
        with pytest.raises(AccountEnded):
            AccountTokens(account).current()
    asked = renewals(authorization)
    access_tokens.renew_due(now())
    assert renewals(authorization) == asked and the(account).state == "refused"
    (notice,) = notices()
    assert ANN in notice and "must connect it again" in notice and "?" not in notice
    connect(authorization)
    assert AccountTokens(account).current() and the(account).why is None


def test_a_provider_that_is_away_is_asked_again_later(office: Flask, authorization: AuthorizationServer) -> None:
    account = connect(authorization)
    change(account, expires_at=now() + timedelta(minutes=1), refreshed_at=now() - timedelta(hours=1))
    provider = db.session.scalars(select(OauthProvider)).one()
    provider.issuer = f"https://localhost:{free_port()}"
    db.session.commit()
    assert AccountTokens(account).current(), "the old one still holds"
    assert the(account).retry_at > now() and the(account).retries == 1
    expire(account)
    with pytest.raises(SignInWaits) as waits:
        AccountTokens(account).current()
    assert the(account).retries == 1, "not asked before its time"
    assert "Could not reach localhost" in say(waits.value.why) and not notices()
    assert the(account).state == "connected"
    db.session.scalars(select(OauthProvider)).one().issuer = authorization.url
    db.session.commit()
    change(account, retry_at=now() - timedelta(seconds=1))
    assert AccountTokens(account).current() and the(account).retries == 0


def test_a_client_secret_that_is_not_taken_is_told_once_and_mended_by_a_new_one(
    office: Flask, authorization: AuthorizationServer
) -> None:
    account = connect(authorization)
    authorization.client("office", BACK, secret="another one")
    for _ in range(2):
        expire(account)
        change(account, retry_at=None)
        with pytest.raises(SignInWaits, match="account_later"):
            AccountTokens(account).current()
    assert len(notices()) == 1 and the(account).state == "connected", "the permission itself still holds"
    db.session.scalars(select(OauthProvider)).one().client_secret = "another one"
    db.session.commit()
    change(account, retry_at=None)
    assert AccountTokens(account).current()


def test_admins_are_warned_once_of_what_ends_within_two_weeks(
    office: Flask, authorization: AuthorizationServer
) -> None:
    account = connect(authorization)
    end = now() + timedelta(days=13, hours=1)
    change(account, refresh_expires_at=end, refreshed_at=now() + timedelta(seconds=5))
    db.session.scalars(select(OauthProvider)).one().secret_expires_at = end + timedelta(days=2)
    db.session.commit()
    for day in (0, 0, 1, 2, 3):
        account_notices.warn_of_ends(now() + timedelta(days=day))
    first, second = notices()
    assert "ends in 13 days" in first and ANN in first
    assert "client secret" in second and "ends in 13 days" in second


# --- in use, by a real Dovecot and a real Postfix

SUBMISSION = """
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = inet:127.0.0.1:{port}
smtpd_tls_auth_only = yes
smtpd_relay_restrictions = permit_sasl_authenticated, reject
"""


@pytest.fixture(scope="module")
def submission(authority: Authority, token_dovecot: Dovecot) -> Iterator[Postfix]:
    """A provider that takes mail from who has a token."""
    settings = SUBMISSION.format(port=token_dovecot.ports["sasl"])
    made = started(lambda: Postfix(authority, "smtp.provider.test", settings))
    yield made
    made.close()


def outgoing(account_id: int, port: int) -> OutgoingServer:
    server = OutgoingServer(name="Provider", host="localhost", port=port, encryption="starttls",
                            authentication="oauth2", oauth_account_id=account_id)  # fmt: skip
    db.session.add(server)
    db.session.commit()
    return server


def incoming(account_id: int, dovecot: Dovecot, kind: str, **more) -> IncomingServer:
    server = IncomingServer(name="Box", kind=kind, host="localhost", port=dovecot.port(kind, "tls"), encryption="tls",
                            authentication="oauth2", oauth_account_id=account_id, state="confirmed",
                            fetch_existing=True, **more)  # fmt: skip
    db.session.add(server)
    db.session.commit()
    return server


@pytest.fixture
def send(office: Flask) -> Iterator[Callable[[str], Recipient]]:
    """Write an email and let the senders work; returns its line."""
    worker = steady_worker(now())
    journal = Journal.open(settings().journal_folder, worker.id, "one")

    def write(address: str) -> Recipient:
        if not db.session.scalar(select(Recipient.id).where(Recipient.address == address)):
            draft = OutgoingDraft("test", "Boss <boss@office.test>", "Hello", "<p>Hello</p>")
            enqueue.enqueue(draft, [To(address)], now())
        with Connections() as connections:
            while queue.send_some(worker, connections, journal):
                pass
        return db.session.scalars(select(Recipient).where(Recipient.address == address)).one()

    yield write
    journal.close()


def test_mail_waits_for_an_account_and_goes_out_when_it_is_connected_again(
    office: Flask, authorization: AuthorizationServer, submission: Postfix, send: Callable[[str], Recipient],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level(logging.DEBUG)
    account = connect(authorization)
    server = outgoing(account, submission.port).id
    identity = WorkerIdentity()
    identity.begin()
    connections = Connections()
    watch = Renewals(office, identity, connections)
    watch.work()
    steps = list(smtp_check.test_steps(target_of_record(db.session.get_one(OutgoingServer, server)), [ANN]))
    assert {step.name: step.state for step in steps}["login"] == "ok" and steps[-1].state == "ok"
    assert send("one@x.test").state == "sent"
    known = {the(account).access_token, the(account).refresh_token}
    authorization.revoke(ANN, "AccessToken")  # the server refuses the token, and takes the next one
    assert send("two@x.test").state == "sent" and the(account).forced
    known |= {the(account).access_token, the(account).refresh_token}
    change(account, forced=False)  # it was replaced a while ago
    authorization.revoke(ANN)  # before our clock says that the token has ended
    line = send("three@x.test")
    assert (line.state, line.why["code"], line.attempts) == ("queued", "account_ended", 0)
    assert line.next_try_at <= now() + timedelta(seconds=31) and ANN in say(line.why)
    days_ago = now() - timedelta(days=3)
    line.attempts, line.first_try_at, line.next_try_at = 20, days_ago, days_ago + timedelta(hours=1)
    db.session.commit()
    line = send("three@x.test")
    assert (line.state, line.attempts) == ("queued", 20)
    assert timedelta(0) < now() - line.first_try_at < timedelta(hours=1, minutes=1), "the wait does not count"
    connections.servers.unreachable(server, line.why)
    watch.work()
    connect(authorization)
    watch.work()
    assert server not in connections.servers.why_waiting()
    assert send("three@x.test").state == "sent"
    said = "\n".join(db.session.scalars(select(DeliveryAttempt.transcript)))
    assert "AUTH XOAUTH2 ***" in said
    words = base64.b64encode(f"user={ANN}\1auth=Bearer ".encode()).decode()[:40]
    for text in (said, caplog.text, str(notices())):
        assert words not in text and not any(secret in text for secret in known)


@pytest.mark.parametrize("kind", ["imap", "pop3"])
def test_mailboxes_are_fetched_with_tokens(
    office: Flask, authorization: AuthorizationServer, token_dovecot: Dovecot, kind: str
) -> None:
    user = token_dovecot.add_mailbox(f"{kind}@office.test")
    account = connect(authorization, user)
    token_dovecot.append(user, b"From: a@x.test\r\nSubject: one\r\nMessage-ID: <1@x.test>\r\n\r\nHello\r\n")
    server, worker = incoming(account, token_dovecot, kind), steady_worker(now())
    steps = list(mailbox_open.test_steps(usable(target_of(server))))
    assert {step.name: step.state for step in steps}["login"] == "ok" and "failed" not in {step.state for step in steps}
    fetched = flow.fetch(server.id, worker, now())
    assert (fetched.why, fetched.kept) == (None, 1)
    authorization.revoke(user, "AccessToken")
    assert flow.fetch(server.id, worker, now()).why is None
    authorization.revoke(user)
    expire(account)
    assert flow.fetch(server.id, worker, now()).why["code"] == "mailbox_account_ended"
    assert "stay on their server" in say(db.session.get_one(IncomingServer, server.id, populate_existing=True).why)
    token_dovecot.remove_mailbox(user)


def test_a_token_that_ends_sooner_than_we_think_is_replaced(
    office: Flask, authorization: AuthorizationServer, token_dovecot: Dovecot
) -> None:
    """As if our clock were behind that of the provider: it says a second, and we believe in a minute."""
    user = token_dovecot.add_mailbox("short@office.test")
    authorization.set(accessToken=1)
    account, worker = connect(authorization, user), steady_worker(now())
    server = incoming(account, token_dovecot, "imap").id

    def renewed() -> bool:
        assert flow.fetch(server, worker, now()).why is None
        return the(account).generation > 1

    wait_until(renewed)
    assert the(account).forced


def test_a_token_of_another_mailbox_is_refused_and_renewed_only_once(
    office: Flask, authorization: AuthorizationServer, token_dovecot: Dovecot
) -> None:
    user = token_dovecot.add_mailbox("other@office.test")
    account, worker = connect(authorization), steady_worker(now())
    server, before = incoming(account, token_dovecot, "imap", user=user), renewals(authorization)
    for _ in range(3):
        found = flow.fetch(server.id, worker, now())
        assert found.why["code"] == "mailbox_token_refused" and user in say(found.why)
    assert renewals(authorization) == before + 1


def test_an_app_opens_a_shared_mailbox_without_a_person(
    office: Flask, authorization: AuthorizationServer, token_dovecot: Dovecot
) -> None:
    user = token_dovecot.add_mailbox("shared@office.test")
    authorization.set(clientUser=user)
    account = OauthAccount(provider_id=1, address=user, flow="client", state="connected", connected_at=now())
    db.session.add(account)
    provider = db.session.scalars(select(OauthProvider)).one()
    provider.kind = "microsoft"
    settings().oauth_issuers["microsoft"] = authorization.url
    db.session.commit()
    server = incoming(account.id, token_dovecot, "imap")
    found = flow.fetch(server.id, steady_worker(now()), now())
    assert found.why is None and the(account.id).access_token
    assert authorization.asked()[-1]["grant"] == "client_credentials"


def test_a_server_without_an_account_says_so(office: Flask, token_dovecot: Dovecot) -> None:
    server = incoming(None, token_dovecot, "imap")
    found = flow.fetch(server.id, steady_worker(now()), now())
    assert found.why["code"] == "mailbox_account_missing" and "Press Connect" in say(found.why)
    assert db.session.scalar(select(func.count()).select_from(OauthAccount)) == 0


def test_a_mailing_waits_for_an_account_without_pausing(app: Flask) -> None:
    server, clock = TokenServer("smtp", good="good"), Clock(now())
    with misbehaving(server.talk) as port, app.app_context():
        provider = OauthProvider(kind="other", name="Provider", client_id="x", issuer="https://x.test")
        account = OauthAccount(provider=provider, address=ANN, state="refused", access_token="good",
                               refreshed_at=now(), expires_at=now() + timedelta(days=1))  # fmt: skip
        relay = add_server(port)
        row = db.session.get_one(OutgoingServer, relay)
        row.authentication, row.oauth_account, row.user = "oauth2", account, ANN
        db.session.commit()
        number = draft(add_contacts(3), forced_server_id=relay, from_address="ann@office.test")
        mailing.send(number, clock())
        sender = Sender(app, clock)
        for _ in range(6):
            sender.until_idle()
            clock.move(minutes=10)
        db.session.rollback()
        row = mailing_of(number)
        assert (row.state, row.why["code"]) == ("sending", "account_ended") and not server.heard
        change(account.id, state="connected", expires_at=clock() + timedelta(days=1), refreshed_at=clock())
        waiting.free_signed_in(relay, clock())
        sender.connections.servers.try_again(relay)
        sender.until_idle()
        assert states(number) == {"sent": 3}
        sender.close()

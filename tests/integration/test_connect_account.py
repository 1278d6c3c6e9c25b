"""Signing in at a real authorization server: by code with PKCE, device code and as the app; refusals; what is kept."""

import logging
import threading
import urllib.parse
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, select, text, update
from sqlalchemy.exc import OperationalError

from mail.decide.oauth import redirect_address
from mail.documents.contacts import find_or_make
from mail.incoming import server_rules as incoming_rules
from mail.outgoing import server_rules as outgoing_rules
from mail.queue import access_tokens
from mail.queue.lease import WorkerLease
from mail.sentences import say
from mail.settings import config, oauth, sign_in, sign_in_rules
from mail.settings.clock import now
from mail.settings.oauth import OauthTokens
from mail.settings.parameters import put
from mail.transport import oauth_http
from mail.transport.oauth_http import HttpAnswer, OauthRefused, OauthUnreachable
from models import IncomingServer, OauthAccount, OauthProvider, OauthSignIn, OutgoingServer, User, db
from scheduler.identity import WorkerIdentity
from scheduler.sign_ins import MOST, SignIns
from tests.servers.authorization import AuthorizationServer
from tests.servers.certificates import Authority
from tests.web import Visitor, words

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
BACK = redirect_address("http://office.example")
ADDRESS = "sales@office.test"


def stand_in(app: Flask, server: AuthorizationServer) -> None:
    """Let the server be Google and Microsoft for this office."""
    found = app.extensions[config.EXTENSION]
    app.extensions[config.EXTENSION] = replace(
        found, testing=True, oauth_issuers={"google": server.url, "microsoft": server.url}
    )


@pytest.fixture
def desk(app: Flask, authorization: AuthorizationServer, trusted: Authority) -> Iterator[SimpleNamespace]:
    """An office at which somebody is about to connect ``ADDRESS``."""
    stand_in(app, authorization)
    authorization.client("us", BACK, secret="client-secret")
    authorization.set(rotate=True, issueRefresh=True, mailOf={})
    with app.app_context():
        worker = WorkerLease.register(NOW).id
        contact = find_or_make("admin@home.test", "Admin", NOW)
        user = User(contact=contact, email="admin@home.test", password="-", role="admin", fs_uniquifier="1")
        db.session.add(user)
        db.session.commit()
        user_id = user.id

        def start(
            kind: str = "google", flow: str = "code", secret: str = "client-secret", server: Any = None
        ) -> tuple[OauthSignIn, str]:
            issuer = authorization.url if kind == "other" else ""
            app_row = OauthProvider(kind=kind, name=kind, client_id="us", client_secret=secret, issuer=issuer)
            db.session.add(app_row)
            db.session.flush()
            found = sign_in.account_at(app_row.id, ADDRESS)
            row, state = sign_in.begin(found, flow, user_id, BACK, "/", NOW, server)
            return row, state

        def work(moment: datetime = NOW) -> bool:
            """What a worker does with the next one that is due."""
            number = sign_in.due(moment)
            if number is None:
                return False
            sign_in.go_on(number, sign_in.claim(number, worker, moment), moment)
            db.session.expire_all()
            return True

        yield SimpleNamespace(app=app, start=start, work=work, worker=worker, user_id=user_id, server=authorization)


def returned(desk: Any, row: OauthSignIn, state: str, login: str = ADDRESS, allow: bool = True) -> None:
    """Sign in at the provider with a browser, and come back with what it says."""
    back = desk.server.sign_in(f"{row.where}&state={state}", login, allow)
    assert back.startswith(f"{BACK}?")
    answer = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(back).query))
    found = sign_in.by_state(answer["state"], desk.user_id)
    assert found is not None and found.id == row.id
    sign_in.come_back(row, answer, NOW)
    db.session.expire_all()


def reasons(row: OauthSignIn) -> list[str]:
    return [step["why"]["code"] for step in row.steps]


@pytest.mark.parametrize("kind", ["google", "microsoft", "other"])
def test_a_mailbox_is_connected_by_code_with_pkce(desk: Any, kind: str) -> None:
    row, state = desk.start(kind)
    assert desk.work() and row.state == "open"
    assert "code_challenge_method=S256" in row.where and row.verifier not in row.where and "state=" not in row.where
    returned(desk, row, state)
    assert desk.work() and not desk.work()
    assert reasons(row)[-3:] == ["sign_in_returned", "sign_in_mailbox", "sign_in_tokens"]
    found = row.account
    assert (row.state, found.state, found.flow, found.connected_at) == ("done", "connected", "code", NOW)
    assert found.expires_at == NOW + timedelta(hours=1)
    assert (row.code, row.verifier, row.state_key, row.where) == (None, None, None, "")
    # The tokens are real: the server renews the access for them, once for each refresh token.
    app, old = oauth.registration_of(found.provider), found.refresh_token
    db.session.rollback()
    fresh = oauth.tokens_for(app, oauth.endpoints_of(app), grant_type="refresh_token", refresh_token=old)
    assert fresh.refresh_token not in ("", old)
    with pytest.raises(OauthRefused) as refused:
        oauth.tokens_for(app, oauth.endpoints_of(app), grant_type="refresh_token", refresh_token=old)
    assert refused.value.gone and refused.value.why["code"] == "sign_in_again"


def test_a_server_keeps_its_account_until_another_one_is_connected(desk: Any) -> None:
    words = {"host": "smtp.x.test", "authentication": "oauth2", "user": ADDRESS}
    one, moved = OutgoingServer(name="A", **words), OutgoingServer(name="B", **words)
    box = IncomingServer(name="C", **words)
    db.session.add_all((one, moved, box))
    db.session.commit()
    first, state = desk.start("microsoft", "client", server=one)
    desk.work()
    assert one.oauth_account == first.account and moved.oauth_account is box.oauth_account is None
    second, state = desk.start(server=one)
    desk.work()
    assert one.oauth_account == first.account
    returned(desk, second, state, allow=False)
    assert (second.state, one.oauth_account) == ("failed", first.account)
    third, state = desk.start("other", server=box)
    fourth, _ = desk.start("microsoft", "client", server=moved)
    desk.work()
    moved.user = "somebody@else.test"
    db.session.commit()
    desk.work()
    assert fourth.state == "done" and moved.oauth_account is None  # its form was changed meanwhile
    returned(desk, third, state)
    desk.work()
    assert box.oauth_account == third.account


def test_a_sign_in_never_connects_a_server_that_was_moved_meanwhile(desk: Any) -> None:
    """By its form, while the person is at the provider, and while the worker speaks with it."""
    server = OutgoingServer(name="A", host="smtp.gmail.com", port=587, encryption="starttls",
                            authentication="oauth2", user=ADDRESS)  # fmt: skip
    box = IncomingServer(name="B", host="imap.gmail.com", kind="imap", authentication="oauth2", user=ADDRESS)
    db.session.add_all((server, box))
    db.session.commit()
    row, _ = desk.start("google", server=server)
    desk.work()
    assert server.host == "smtp.gmail.com"
    server.host = "mx.evil.test"
    outgoing_rules.check(server, password_given=False)
    db.session.commit()
    db.session.expire_all()
    assert (row.state, reasons(row)[-1], row.code, row.verifier) == ("failed", "sign_in_server_changed", None, None)
    row, _ = desk.start("microsoft", "client", server=box)
    number = sign_in.due(NOW)
    claimed = sign_in.claim(number, desk.worker, NOW)
    with db.session.no_autoflush:
        box.user = "else@office.test"
        incoming_rules.check(box, password_given=False)
    db.session.commit()
    assert not sign_in.go_on(number, claimed, NOW)
    db.session.expire_all()
    assert (row.state, row.account.state, row.account.access_token) == ("failed", "new", None)
    assert server.oauth_account is box.oauth_account is None


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)  # in SQLite one of the two waits for the other
def test_a_form_that_was_opened_before_the_account_was_connected_lets_go_of_it(desk: Any) -> None:
    server = OutgoingServer(name="A", host="smtp.gmail.com", authentication="oauth2", user=ADDRESS)
    db.session.add(server)
    row, _ = desk.start("microsoft", "client", server=server)
    number = server.id
    db.session.expire_all()
    assert server.host == "smtp.gmail.com" and server.oauth_account is None
    with db.engine.begin() as worker:
        worker.execute(update(OauthSignIn).values(state="done"))
        worker.execute(update(OutgoingServer).values(oauth_account_id=row.account_id))
    with db.session.no_autoflush:
        server.host = "mx.evil.test"
        outgoing_rules.check(server, password_given=False)
    db.session.commit()
    db.session.expire_all()
    assert db.session.get_one(OutgoingServer, number).oauth_account is None


def test_a_sign_in_that_was_given_up_connects_nothing(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    row, state = desk.start("google")
    desk.work()
    returned(desk, row, state)
    number, asked = sign_in.due(NOW), oauth.tokens_for
    claimed = sign_in.claim(number, desk.worker, NOW)

    def slow(*what: Any, **grant: str) -> OauthTokens:
        found = asked(*what, **grant)
        sign_in.lose_all_of(desk.worker, NOW)
        db.session.commit()
        return found

    monkeypatch.setattr(oauth, "tokens_for", slow)
    assert not sign_in.go_on(number, claimed, NOW)
    db.session.expire_all()
    assert (row.state, reasons(row)[-1]) == ("failed", "sign_in_lost")
    assert (row.account.state, row.account.access_token, row.account.refresh_token) == ("new", None, None)


def test_a_renewal_under_way_sends_nothing_to_a_provider_that_was_just_entered(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = OauthProvider(kind="other", name="P", client_id="us", client_secret="x", issuer="https://a.test")
    account = OauthAccount(provider=row, address=ADDRESS, state="connected", refresh_token="r", expires_at=NOW)
    db.session.add(account)
    db.session.commit()
    number, provider, sent, took = account.id, row.id, [], access_tokens._claim

    def ask(url: str, form: dict[str, str] | None = None, *_: Any, **__: Any) -> HttpAnswer:
        sent.append((url, (form or {}).get("refresh_token")))
        site = url.removesuffix("/.well-known/openid-configuration")
        ends = {"issuer": site, "authorization_endpoint": f"{site}/in", "token_endpoint": f"{site}/token"}
        return HttpAnswer(200, ends) if form is None else HttpAnswer(400, {"error": "invalid_client"})

    def enter_another() -> None:
        with desk.app.app_context():
            changed = db.session.get_one(OauthProvider, provider)
            assert changed.issuer == "https://a.test"
            changed.issuer, changed.client_secret = "https://evil.test", "any"
            with db.session.no_autoflush:
                assert sign_in_rules.check_provider(changed) == 1
            db.session.commit()

    def claim(*what: Any) -> bool:
        between.append(threading.Thread(target=enter_another))
        return took(*what)

    def account_was_read(*_: Any) -> None:  # its provider may not be yet
        if between and not sent:
            between[0].start()
            between.pop().join(60)

    between: list[threading.Thread] = []
    monkeypatch.setattr(oauth_http, "ask", ask)
    monkeypatch.setattr(access_tokens, "_claim", claim)
    db.session.expunge_all()
    for name in ("load", "refresh"):
        event.listen(OauthAccount, name, account_was_read)
    try:
        with pytest.raises(access_tokens.SignInWaits):
            access_tokens.AccountTokens(number).current()
    finally:
        for name in ("load", "refresh"):
            event.remove(OauthAccount, name, account_was_read)
    assert not between and sent
    assert [url for url, token in sent if token and "evil" in url] == []


def test_a_code_that_the_provider_takes_no_more_is_told_as_that(desk: Any) -> None:
    row, state = desk.start()
    desk.work()
    returned(desk, row, state)
    row.code = f"{row.code}x"
    db.session.commit()
    desk.work()
    assert reasons(row)[-1] == "sign_in_code_refused" and "permission has ended" not in say(row.steps[-1]["why"])


@pytest.mark.parametrize("secret", ["a+b%2Fc", "plain secret: &%zz"])
def test_a_secret_of_any_signs_is_understood_in_the_header(desk: Any, secret: str) -> None:
    desk.server.client("us", BACK, secret=secret)
    app = oauth.Registration("other", "P", "us", secret, issuer=desk.server.url)
    endpoints = replace(oauth.endpoints_of(app), secret_in_header=True)
    with pytest.raises(OauthRefused) as refused:
        oauth.tokens_for(app, endpoints, grant_type="refresh_token", refresh_token="nope")
    assert refused.value.error == "invalid_grant"


def test_a_code_without_its_verifier_is_worth_nothing(desk: Any) -> None:
    row, state = desk.start()
    desk.work()
    returned(desk, row, state)
    row.verifier = "stolen codes come without it, and this one is long enough"
    db.session.commit()
    desk.work()
    assert (row.state, row.account.state, row.account.access_token) == ("failed", "new", None)


@pytest.mark.parametrize(
    ("login", "allow", "code"),
    [(ADDRESS, False, "sign_in_denied"), ("boss@office.test", True, "sign_in_other_mailbox")],
)
def test_a_sign_in_that_is_none_says_why(desk: Any, login: str, allow: bool, code: str) -> None:
    row, state = desk.start()
    desk.work()
    returned(desk, row, state, login, allow)
    desk.work()
    assert (row.state, reasons(row)[-1], row.account.access_token) == ("failed", code, None)
    if code == "sign_in_other_mailbox":
        assert "shared" not in say(row.steps[-1]["why"])
        assert "You signed in as boss@office.test, but this mailbox is sales@office.test" in say(row.steps[-1]["why"])


def test_who_meant_a_shared_mailbox_of_microsoft_is_told_the_way(desk: Any) -> None:
    row, state = desk.start("microsoft")
    desk.work()
    returned(desk, row, state, "boss@office.test")
    desk.work()
    assert "For a shared mailbox, choose “As the app itself”" in say(row.steps[-1]["why"])


def test_a_wrong_client_secret_is_told_by_its_name(desk: Any) -> None:
    row, state = desk.start(secret="another one")
    desk.work()
    returned(desk, row, state)
    desk.work()
    assert reasons(row)[-1] == "sign_in_client_refused"


def test_access_that_ends_after_an_hour_is_not_enough(desk: Any) -> None:
    desk.server.set(issueRefresh=False)
    row, state = desk.start()
    desk.work()
    returned(desk, row, state)
    desk.work()
    assert reasons(row)[-1] == "sign_in_no_permission_kept" and row.account.state == "new"


def test_a_permission_that_was_not_ticked_is_named(desk: Any) -> None:
    row, state = desk.start()
    row.account.provider.scopes = "openid email offline_access"
    db.session.commit()
    desk.work()
    returned(desk, row, state)
    desk.work()
    assert reasons(row)[-1] == "sign_in_permission_left_out" and row.account.state == "new"
    assert "https://mail.google.com/" in say(row.steps[-1]["why"])


def test_a_device_code_is_asked_for_until_somebody_typed_it(desk: Any) -> None:
    row, _ = desk.start("microsoft", "device")
    assert desk.work() and row.state == "open" and row.user_code
    page = f"{row.where}?user_code={row.user_code}"
    assert not desk.work(NOW)  # not before its time
    later = NOW + timedelta(seconds=5)
    assert desk.work(later) and row.state == "open" and row.poll_at > later
    desk.server.enter_code(page, ADDRESS)
    assert desk.work(later + timedelta(seconds=6)) and row.state == "done", row.steps
    assert (row.account.state, row.account.flow, row.user_code) == ("connected", "device", "")


def test_a_provider_that_hangs_is_asked_less_often_and_leaves_room_for_others(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, _ = desk.start("microsoft", "device")
    desk.work()
    first, every = row.poll_at, row.poll_every
    other, _ = desk.start("google")
    clock = [0.0]

    def hangs(*_: Any, **__: Any) -> Any:
        clock[0] += 20.0
        raise OauthUnreachable(host="login.test")

    monkeypatch.setattr(oauth, "tokens_for", hangs)
    monkeypatch.setattr(sign_in, "monotonic", lambda: clock[0])
    sign_in.go_on(row.id, sign_in.claim(row.id, desk.worker, first), first)
    db.session.expire_all()
    assert (row.poll_every, row.poll_at) == (2 * every, first + timedelta(seconds=20 + 2 * every))
    assert sign_in.due(row.poll_at) == other.id


def test_what_can_not_be_written_down_is_ended_later(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    row, _ = desk.start("google")
    loop = SignIns(desk.app, WorkerIdentity())
    state = sign_in.claim(row.id, desk.worker, NOW)

    def fails(*_: Any) -> None:
        raise OperationalError("", None, Exception("database is locked"))

    with monkeypatch.context() as patched:
        patched.setattr(sign_in, "_prepare", lambda *_: 1 / 0)
        patched.setattr(sign_in, "give_up", fails)
        loop._go_on(row.id, state)
    assert loop._left == {row.id}
    loop.work()
    db.session.expire_all()
    assert (row.state, reasons(row)[-1], loop._left) == ("failed", "sign_in_lost", set())
    other, _ = desk.start("google")
    loop = SignIns(desk.app, SimpleNamespace(current=lambda: SimpleNamespace(id=desk.worker)))  # type: ignore[arg-type]
    with monkeypatch.context() as full, pytest.raises(RuntimeError):  # the system gives no further thread
        full.setattr(threading.Thread, "start", lambda _: (_ for _ in ()).throw(RuntimeError()))
        full.setattr(sign_in, "due", lambda _: other.id)
        loop.work()
    loop.work()
    db.session.expire_all()
    assert (other.state, reasons(other)[-1], loop._free._value) == ("failed", "sign_in_lost", MOST)


def test_a_code_that_nobody_types_ends(desk: Any) -> None:
    row, _ = desk.start("other", "device")
    desk.work()
    assert desk.work(NOW + timedelta(hours=1))
    assert (row.state, reasons(row)[-1]) == ("failed", "sign_in_not_in_time")


def test_an_app_is_connected_without_a_person(desk: Any) -> None:
    row, _ = desk.start("microsoft", "client")
    assert desk.work() and row.state == "done", row.steps
    assert (row.account.state, row.account.flow, row.account.refresh_token) == ("connected", "client", None)


def test_a_provider_that_is_away_or_is_none_is_named(desk: Any) -> None:
    row, _ = desk.start("other")
    for issuer, code in ((f"https://localhost:{desk.server.port}/nothing", "oauth_"), ("https://no.invalid", "oauth_")):
        row.account.provider.issuer = issuer
        row.state, row.steps = "waiting", []
        db.session.commit()
        desk.work()
        assert row.state == "failed" and reasons(row)[-1].startswith(code) and "%(" not in say(row.steps[-1]["why"])


def test_two_workers_never_use_a_code_twice_and_a_dead_one_leaves_a_reason(desk: Any) -> None:
    row, state = desk.start()
    desk.work()
    returned(desk, row, state)
    other = WorkerLease.register(NOW).id
    db.session.commit()
    assert sign_in.claim(row.id, desk.worker, NOW) == "returned"
    assert sign_in.claim(row.id, other, NOW) == "" and sign_in.due(NOW) is None
    assert sign_in.lose_all_of(desk.worker, NOW) == 1
    db.session.commit()
    db.session.expire_all()
    assert (row.state, reasons(row)[-1], row.code) == ("failed", "sign_in_lost", None)


def test_no_secret_is_in_a_log_or_readable_in_the_database(desk: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    row, state = desk.start()
    desk.work()
    secrets = [row.verifier, "client-secret", state]
    returned(desk, row, state)
    secrets.append(row.code)
    desk.work()
    found = row.account
    secrets += [found.access_token, found.refresh_token]
    assert all(secrets)
    shown = caplog.text + repr(found) + repr(row) + repr(oauth.registration_of(found.provider)) + str(row.steps)
    for table in ("oauth_provider", "oauth_account", "oauth_sign_in", "event"):
        shown += str(db.session.execute(text(f"SELECT * FROM {table}")).all())
    assert not [secret for secret in secrets if secret in shown]


# --- the pages; the worker is played by hand


@pytest.fixture
def office(pages: Flask, authorization: AuthorizationServer, trusted: Authority) -> Flask:
    stand_in(pages, authorization)
    authorization.client("us", BACK, secret="client-secret")
    return pages


SERVER = {
    "name": "Gmail", "host": "smtp.gmail.com", "encryption": "starttls", "port": "587", "authentication": "oauth2",
    "user": ADDRESS, "from_filter": "", "priority": "10", "rewrite": "not_ours",
}  # fmt: skip


def test_an_admin_registers_connects_and_is_told(office: Flask, admin: Visitor, monkeypatch: Any) -> None:
    page = words(admin.get("/admin/app-registrations/new?kind=google"))
    assert BACK in page and "https://mail.google.com/" in page
    made = admin.post(
        "/admin/app-registrations/new?kind=google", {"name": "Google", "client_id": "us", "client_secret": "xyz"}
    )
    assert made.status_code == 302
    assert "swordfish" not in admin.post("/admin/outgoing-servers/new", {**SERVER, "password": "swordfish"}).text
    page = words(admin.get("/admin/outgoing-servers/edit?id=1"))
    assert "not connected" in page and "Connect" in page
    shown = admin.post("/sign-in/connect/outgoing/1", {"provider": "1", "flow": "code"}, follow_redirects=True)
    assert "The mailbox to sign in with is sales@office.test. CoquiMail will use it at smtp.gmail.com" in words(shown)

    # A browser that did not begin it brings nothing in: neither a stranger's, nor one of the same person.
    with office.app_context():
        row = db.session.scalars(select(OauthSignIn)).one()
        row.state, row.where = "open", "https://a.test/in?x=1"
        db.session.commit()
        key = row.id
    link = admin.get(f"/sign-in/{key}/state").text
    state = link.partition("&amp;state=")[2].partition('"')[0]
    assert state
    stranger = Visitor(office).as_role("marketing")
    assert stranger.get(f"/sign-in/callback?state={state}&code=c0de").status_code in (302, 403, 404)
    assert "not begun in this browser" in words(
        admin.get("/sign-in/callback?state=guessed&code=c0de", follow_redirects=True)
    )
    with office.app_context():
        assert db.session.scalars(select(OauthSignIn.state)).one() == "open"
    # The way back, by pasting the address that the browser ended at.
    pasted = {"address": f"{BACK}?code=c0de&state={state}", "number": str(key)}
    assert admin.post("/sign-in/paste", pasted).status_code == 302
    with office.app_context():
        row = db.session.scalars(select(OauthSignIn)).one()
        assert (row.state, row.code) == ("returned", "c0de")
    assert "not begun in this browser" in words(admin.post("/sign-in/paste", pasted, follow_redirects=True))


def test_a_browser_holds_several_sign_ins_and_is_told_of_no_busy_worker_when_it_comes_back(
    office: Flask, admin: Visitor
) -> None:
    admin.post("/admin/app-registrations/new?kind=google", {"name": "Google", "client_id": "us", "client_secret": "x"})
    admin.post("/admin/outgoing-servers/new", SERVER)
    states = []
    for _ in range(6):
        shown = admin.post("/sign-in/connect/outgoing/1", {"provider": "1", "flow": "code"})
        with office.app_context():
            row = db.session.scalars(select(OauthSignIn).order_by(OauthSignIn.id.desc()).limit(1)).one()
            row.state, row.where = "open", "https://a.test/in?x=1"
            db.session.commit()
        states.append(admin.get(f"{shown.location}/state").text.partition("&amp;state=")[2].partition('"')[0])
    assert "https://a.test" not in admin.get("/sign-in/1").text  # of so many only the last ones
    swapped = admin.get(f"/sign-in/callback?state={states[0]}&code=c0de", follow_redirects=True)
    assert "not begun in this browser" in words(swapped)
    for number in (2, 6, 4):
        back = admin.get(f"/sign-in/callback?state={states[number - 1]}&code=c0de")
        assert back.location == f"/sign-in/{number}"
    with office.app_context():
        WorkerLease.register(now())
        for row in db.session.scalars(select(OauthSignIn)):
            assert row.state == ("returned" if row.id in (2, 4, 6) else "open")
            row.requested_at = now() - timedelta(minutes=1)
        db.session.commit()
    assert "worker" not in words(admin.get("/sign-in/4")).lower()


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("other", {"issuer": "https://a.test"}, {"issuer": "https://evil.test", "client_secret": "any"}),
        ("google", {}, {"client_id": "them"}),
        ("microsoft", {"tenant": "a.test"}, {"tenant": "b.test"}),
    ],
)
def test_another_provider_gets_nothing_of_what_this_one_gave(
    office: Flask, admin: Visitor, kind: str, before: dict[str, str], after: dict[str, str]
) -> None:
    form = {"name": "P", "client_id": "us", "client_secret": "xyz", **before}
    admin.post(f"/admin/app-registrations/new?kind={kind}", form)
    with office.app_context():
        lasting = {
            "state": "connected",
            "refresh_token": "r",
            "access_token": "a",
            "generation": 3,
            "leased_until": 9e9,
        }
        found = OauthAccount(provider_id=1, address=ADDRESS, retry_at=NOW, connected_at=NOW, **lasting)
        trying = OauthSignIn(account=found, flow="code", state="open", requested_at=NOW, code="c0de", steps=[])
        db.session.add_all((found, trying))
        db.session.commit()
    edit = "/admin/app-registrations/edit?id=1"
    assert "1 mailbox is connected with this registration" in words(admin.get(edit))
    unchanged = {name: value for name, value in form.items() if name != "client_secret"}
    saved = admin.post(edit, {**unchanged, "name": "Q"}, follow_redirects=True)
    assert "must be connected again" not in words(saved)
    with office.app_context():
        assert db.session.scalars(select(OauthAccount.state)).one() == "connected"
    saved = admin.post(edit, {**unchanged, **after}, follow_redirects=True)
    assert "1 mailbox must be connected again" in words(saved)
    with office.app_context():
        row = db.session.scalars(select(OauthAccount)).one()
        assert (row.state, row.access_token, row.refresh_token, row.retry_at) == ("new", None, None, None)
        assert (row.generation, row.leased_until, row.connected_at) == (4, 0, None)
        trying = db.session.scalars(select(OauthSignIn)).one()
        assert (trying.state, reasons(trying), trying.code) == ("failed", ["sign_in_registration_changed"], None)
    assert "The app registration was changed" in words(admin.get("/admin/connected-accounts/details?id=1"))


def test_another_user_or_host_lets_go_of_the_account(office: Flask, admin: Visitor) -> None:
    with office.app_context():
        app_row = OauthProvider(kind="google", name="Google", client_id="us", client_secret="x")
        account_row = OauthAccount(provider=app_row, address=ADDRESS, state="connected", access_token="tok-en")
        db.session.add(account_row)
        db.session.commit()
    admin.post("/admin/outgoing-servers/new", SERVER)

    def connected() -> str | None:
        with office.app_context():
            server = db.session.scalars(select(OutgoingServer)).one()
            return server.oauth_account.address if server.oauth_account else None

    # Google's own host: the account that is there is used at once.
    back = admin.post("/sign-in/connect/outgoing/1", {"provider": "1", "flow": "code"})
    assert "outgoing-servers" in back.location and connected() == ADDRESS
    everywhere = "".join(
        admin.get(path).text
        for path in ("/admin/outgoing-servers/edit?id=1", "/admin/connected-accounts/",
                     "/admin/connected-accounts/details?id=1", "/admin/app-registrations/edit?id=1")
    )  # fmt: skip
    assert "tok-en" not in everywhere and "until it is revoked" in everywhere
    admin.post("/admin/outgoing-servers/edit?id=1", {**SERVER, "comment": "x"})
    assert connected() == ADDRESS
    moved = admin.post("/admin/outgoing-servers/edit?id=1", {**SERVER, "host": "smtp.evil.test"}, follow_redirects=True)
    assert "so sales@office.test is no longer used here: press Connect" in words(moved)
    assert connected() is None
    shown = admin.post("/sign-in/connect/outgoing/1", {"provider": "1", "flow": "code"}).location
    admin.post("/admin/outgoing-servers/edit?id=1", {**SERVER, "host": "mx.evil.test"})
    ended = words(admin.get(shown))
    assert "The server was changed during the sign-in" in ended
    assert "Connect again" not in ended and "Back to the server" in ended
    # ... and there nothing goes without a person who signs in.
    assert "/sign-in/" in admin.post("/sign-in/connect/outgoing/1", {"provider": "1", "flow": "code"}).location
    assert connected() is None
    refused = words(admin.post("/admin/outgoing-servers/edit?id=1", {**SERVER, "user": "sales", "encryption": "none"}))
    assert "it is the account to connect" in refused and "never sent unencrypted" in refused


@pytest.mark.parametrize(
    ("kind", "flow", "said"),
    [
        ("google", "code", "sign in to Google as sales@office.test, open myaccount.google.com/connections"),
        ("microsoft", "device", "sign in to myapps.microsoft.com as sales@office.test"),
        ("microsoft", "client", "An administrator of the organization can do so in the Microsoft Entra admin center"),
        ("other", "code", "sign in there as sales@office.test"),
    ],
)
@pytest.mark.parametrize("_kept_pages", ["sqlite"], indirect=True)
def test_who_deletes_an_account_is_told_where_the_permission_is_withdrawn(
    office: Flask, admin: Visitor, kind: str, flow: str, said: str
) -> None:
    with office.app_context():
        app_row = OauthProvider(kind=kind, name="P", client_id="us")
        db.session.add(OauthAccount(provider=app_row, address=ADDRESS, flow=flow, state="connected", connected_at=NOW))
        db.session.add(OauthAccount(provider=app_row, address="never@office.test"))
        db.session.commit()
    assert said in words(admin.get("/admin/connected-accounts/details?id=1"))
    assert "does not withdraw" not in words(admin.get("/admin/connected-accounts/details?id=2"))
    gone = words(admin.post("/admin/connected-accounts/delete", {"id": "1"}, follow_redirects=True))
    assert "sales@office.test was deleted" in gone and said in gone
    assert "withdraw" not in words(admin.post("/admin/connected-accounts/delete", {"id": "2"}, follow_redirects=True))


@pytest.mark.parametrize("_kept_pages", ["sqlite"], indirect=True)
def test_no_page_and_no_export_shows_a_secret(office: Flask, admin: Visitor) -> None:
    with office.app_context():
        app_row = OauthProvider(kind="google", name="Google", client_id="us", client_secret="s3cret-client")
        tokens = {"access_token": "s3cret-access", "refresh_token": "s3cret-refresh", "state": "connected"}
        account_row = OauthAccount(provider=app_row, address=ADDRESS, **tokens)
        trying = OauthSignIn(account=account_row, flow="code", state="returned", code="s3cret-code",
                             verifier="s3cret-verifier", requested_at=NOW, steps=[])  # fmt: skip
        server = OutgoingServer(name="Gmail", host="smtp.gmail.com", authentication="oauth2", user=ADDRESS)
        server.oauth_account = account_row
        box = IncomingServer(name="Box", host="imap.gmail.com", authentication="oauth2", user=ADDRESS)
        box.oauth_account = account_row
        db.session.add_all((trying, server, box))
        db.session.commit()
        rules = [rule for rule in office.url_map.iter_rules() if "GET" in (rule.methods or ()) and not rule.arguments]
    pages = [rule.rule for rule in rules if rule.rule != "/logout"]
    pages += [f"{page.removesuffix('new')}{kind}" for page in pages if page.endswith("/new")
              for kind in ("edit?id=1", "details?id=1", "export/csv/")]  # fmt: skip
    found, opened = [], 0
    for page in [*pages, "/sign-in/1", "/sign-in/1/state"]:
        answer = admin.get(page)
        opened += answer.status_code == 200
        if "s3cret" in answer.text or answer.status_code >= 500:
            found.append(page)
    assert opened > 30 and found == []


def test_who_opened_the_office_under_another_address_is_told(office: Flask, admin: Visitor) -> None:
    with office.app_context():
        app_row = OauthProvider(kind="google", name="Google", client_id="us", client_secret="x")
        db.session.add(OauthAccount(provider=app_row, address=ADDRESS))
        put("web.base.url", "https://mail.office.test", NOW)
        db.session.commit()
    shown = admin.post("/admin/connected-accounts/press/connect", {"id": "1"})
    with office.app_context():
        row = db.session.scalars(select(OauthSignIn)).one()
        assert row.redirect_uri == "https://mail.office.test/sign-in/callback"
        row.state, row.where = "open", "https://a.test/in?x=1"
        db.session.commit()
    assert "back to https://mail.office.test, the address of this office" in words(admin.get(shown.location))
    there = admin.get(shown.location, base_url="https://mail.office.test")
    assert "under another one" not in words(there)

"""Sessions end at the server, guesses are held off without locking anybody out, and passwords are hard to guess."""

import re
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from flask import Flask
from sqlalchemy import func, select
from werkzeug.routing import RequestRedirect

from mail.settings.clock import now
from models import LoginAttempt, LoginSession, User, db
from tests.web import PASSWORD, TOKEN, Visitor, account, forget, kept_app
from webapp import auth, guesses, limits, sessions

ONE_DATABASE = pytest.mark.parametrize("kept", ["sqlite"], indirect=True)  # what has nothing to do with databases

BOSS = "admin@home.test"
NEW = {"name": "Eva", "email": "eva@home.test", "role": "user", "active": "y", "notify": "inbox", "zone": "UTC"}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def kept(request, tmp_path_factory) -> Iterator[Flask]:
    with kept_app(request, tmp_path_factory.mktemp("office")) as made:
        yield made


@pytest.fixture
def app(kept) -> Iterator[Flask]:
    yield kept
    forget(kept)


@pytest.fixture
def boss(app) -> Visitor:
    account(app, "admin")
    visitor = Visitor(app)
    visitor.log_in(BOSS)
    assert comes_in(visitor)
    return visitor


def comes_in(visitor: Visitor) -> bool:
    return visitor.get("/events").status_code == 200


def cookies(visitor: Visitor, *names: str) -> dict[str, str]:
    found = {name: visitor.client.get_cookie(name) for name in names or ("coquimail", "coquimail_remember")}
    return {name: cookie.value for name, cookie in found.items() if cookie is not None}


def with_cookies(app: Flask, kept: dict[str, str], caller: str = "127.0.0.1") -> Visitor:
    other = Visitor(app)
    other.client.environ_base["REMOTE_ADDR"] = caller
    for name, value in kept.items():
        other.client.set_cookie(name, value)
    return other


# --- the end of a session


@pytest.mark.parametrize("remember", [False, True])
def test_a_copied_cookie_is_dead_after_the_log_out(app, remember):
    account(app, "user")
    visitor = Visitor(app)
    visitor.post("/login", {"email": "user@home.test", "password": PASSWORD, **({"remember": "y"} if remember else {})})
    copied = cookies(visitor)
    assert ("coquimail_remember" in copied) is remember
    for name in copied:
        assert comes_in(with_cookies(app, {name: copied[name]})), name
    other = Visitor(app)
    other.log_in("user@home.test")
    visitor.post("/logout")
    for name in copied:
        assert not comes_in(with_cookies(app, {name: copied[name]})), name
    assert not comes_in(visitor)
    assert comes_in(other), "a log-out ends one session, not those of other devices"


@pytest.mark.parametrize(
    ("seen", "remember", "goes_on"),
    [(0, False, True), (7 * 3600, False, True), (9 * 3600, False, False), (9 * 3600, True, True), (None, False, False)],
)
def test_a_session_ends_when_nobody_clicks(app, seen, remember, goes_on):
    visitor = Visitor(app).as_role("user")
    with app.app_context():
        db.session.execute(LoginSession.__table__.update().values(remembered=remember))
        db.session.commit()
    with visitor.client.session_transaction() as session:
        session["seen"] = 0 if seen is None else int(time.time()) - seen
    assert comes_in(visitor) is goes_on


def test_an_open_page_that_asks_by_itself_is_no_click(app):
    visitor = Visitor(app).as_role("user")
    an_hour_ago = int(time.time()) - 3600
    for path, clicked in (("/events", False), ("/account", True)):
        with visitor.client.session_transaction() as session:
            session["seen"] = an_hour_ago
        assert visitor.get(path).status_code == 200
        with visitor.client.session_transaction() as session:
            assert (session["seen"] > an_hour_ago) is clicked


def test_a_session_has_an_end_in_any_case(app, boss):
    with app.app_context():
        row = db.session.scalars(select(LoginSession)).one()
        assert row.ends_at - row.started_at == sessions.LONGEST
        row.ends_at = row.started_at
        db.session.commit()
    assert not comes_in(boss)


def test_the_log_in_makes_a_new_token_for_forms_and_forgets_what_was_before(app):
    account(app, "user")
    visitor = Visitor(app)
    before = visitor.token()
    with visitor.client.session_transaction() as session:
        session["developer_mode"] = True
    visitor.client.post("/login", data={"csrf_token": before, "email": "user@home.test", "password": PASSWORD})
    assert visitor.client.post("/developer-mode", data={"csrf_token": before, "on": "1"}).status_code == 400
    with visitor.client.session_transaction() as session:
        assert "developer_mode" not in session
    assert TOKEN.search(visitor.get("/account").text)[1] != before


def test_a_new_password_ends_all_other_sessions(app, boss):
    other = Visitor(app)
    other.log_in(BOSS)
    new = "another frog in the rain"
    boss.post("/account/password", {"present": PASSWORD, "new": new, "again": new})
    assert (comes_in(boss), comes_in(other)) == (True, False)


# --- a form that is sent after the end


def addresses_of_forms(app: Flask) -> list[str]:
    rules = [rule for rule in app.url_map.iter_rules() if "POST" in (rule.methods or set())]
    return [re.sub(r"<[^>]+>", "1", rule.rule) for rule in rules]


def opens(app: Flask, address: str) -> bool:
    try:
        return bool(app.url_map.bind("localhost").match(address.partition("?")[0], method="GET"))
    except RequestRedirect:
        return True


@pytest.mark.heavy
def test_no_log_in_leads_to_an_address_that_only_takes_forms(app):
    stranger, asked_again = Visitor(app), set()
    for path in addresses_of_forms(app):
        with app.test_request_context():
            assert opens(app, auth.landing_page(path)), path
        answer = stranger.post(path)
        if "You are no longer logged in" in answer.text:
            asked_again.add(path)
        leads_to = re.search(r"/login\?next=([^&]*)", answer.location or "")
        assert leads_to is None or opens(app, leads_to[1]), path
    assert {"/document/1/posts", "/developer-mode", "/settings/", "/mailings/1/edit", "/admin/users/new"} <= asked_again
    page = stranger.get("/login?next=/document/1/posts").text
    assert re.search(r'name="next"[^>]* value="/document/1"', page)


@pytest.mark.parametrize(("path", "role"), [("/mailings/new", "user"), ("/admin/users/new", "marketing")])
def test_the_log_in_beside_a_form_opens_no_page_of_others(app, path, role):
    again = {"log_in_again_email": account(app, role), "log_in_again_password": PASSWORD}
    visitor = Visitor(app)
    answer = visitor.post(path, {**NEW, **again})
    assert (answer.status_code, comes_in(visitor)) == (403, True)
    assert "You do not have access" in answer.text


@pytest.mark.parametrize("path", ["/u/x", "/csp-report", "/developer-mode"])
def test_no_other_site_logs_anybody_in(app, path):
    visitor = Visitor(app)
    visitor.client.post(
        path, data={"log_in_again_email": account(app, "user"), "log_in_again_password": PASSWORD, "csrf_token": "x"}
    )
    assert not comes_in(visitor)


@pytest.mark.parametrize(("origin", "offered"), [("http://localhost", True), ("https://evil.test", False), ("", False)])
def test_a_form_whose_token_is_over_is_sent_again_only_from_our_pages(app, boss, origin, offered):
    headers = {"Origin": origin} if origin else {}
    page = boss.client.post("/developer-mode", data={"csrf_token": "old", "on": "1", "next": "/inbox"}, headers=headers)
    assert page.status_code == 400 and "open for too long" in page.text
    assert ("Try again" in page.text and 'name="next" value="/inbox"' in page.text) is offered


# --- a password that was typed just now


def stale(visitor: Visitor) -> None:
    with visitor.client.session_transaction() as session:
        session["fs_paa"] = int(time.time() - sessions.FRESH) - 5


@pytest.mark.parametrize(
    "path",
    [
        "/admin/users/new",
        "/admin/users/edit?id=1",
        "/admin/users/delete",
        "/admin/users/action",
        "/admin/outgoing-servers/new",
        "/admin/outgoing-servers/delete",
        "/admin/outgoing-servers/press/test",
        "/admin/incoming-servers/new",
        "/admin/incoming-servers/action",
        "/admin/system-parameters/new",
        "/admin/system-parameters/edit?key=mail.catchall.alias",
        "/settings/",
    ],
)
def test_accounts_servers_and_parameters_ask_for_a_fresh_password(app, boss, path):
    stale(boss)
    answer = boss.post(path, {"name": "Eva of the seven seas"})
    assert (answer.status_code, "Confirm your password" in answer.text) == (403, True)
    assert "Cancel" in answer.text  # it asks before a button does something, too
    assert "Eva of the seven seas" in answer.text
    again = boss.post(path, {"name": "Eva of the seven seas", "confirm_password": "wrong"})
    assert (again.status_code, "Incorrect password" in again.text) == (403, True)
    assert "Confirm your password" not in boss.post(path, {"confirm_password": PASSWORD}).text


def test_what_was_typed_is_saved_after_the_password(app, boss):
    stale(boss)
    page = boss.post("/admin/users/new", {**NEW, "password": "an owl in the snow"})
    assert "an owl in the snow" not in page.text
    saved = boss.post("/admin/users/new", {**NEW, "password": "an owl in the snow", "confirm_password": PASSWORD})
    assert saved.status_code == 302
    assert Visitor(app).log_in("eva@home.test", "an owl in the snow").status_code == 302


def test_a_form_asks_before_it_is_filled_in(app, boss):
    stale(boss)
    answer = boss.get("/admin/users/edit?id=1")
    assert (answer.status_code, answer.location) == (302, "/verify?next=/admin/users/edit?id%3D1")
    assert boss.get("/admin/users/").status_code == 200
    token = TOKEN.search(boss.get(answer.location).text)[1]
    fields = {"csrf_token": token, "next": "/admin/users/edit?id=1"}
    assert "Incorrect password" in boss.client.post("/verify", data={**fields, "password": "wrong"}).text
    done = boss.client.post("/verify", data={**fields, "password": PASSWORD})
    assert (done.status_code, done.location) == (302, "/admin/users/edit?id=1")
    assert boss.get("/admin/users/edit?id=1").status_code == 200


# --- guesses

HERE, THERE = "192.0.2.1", "198.51.100.7"
MANY = 20  # here, in place of ``guesses.TRIES_OF_MANY``: each try is a page


def guess(app: Flask, times: int, address: str = BOSS, caller: str = THERE, kept: dict[str, str] | None = None) -> str:
    """Try wrong passwords; returns the words of the last page."""
    visitor, words = with_cookies(app, kept or {}, caller), ""
    for _ in range(times):
        words = visitor.log_in(address, "wrong password").text
    return words


LOCKED = "Too many failed attempts"


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("attack", "address", "caller", "known", "comes"),
    [
        ([(9, BOSS, HERE)], BOSS, HERE, False, True),
        ([(10, BOSS, HERE)], BOSS, HERE, False, False),
        ([(10, BOSS, HERE)], BOSS, HERE, True, True),  # the attacker sits behind the same proxy
        ([(12, BOSS, THERE)], BOSS, HERE, False, True),  # the owner, at a new device elsewhere
        ([(12, BOSS, THERE)], BOSS, HERE, True, True),
        ([(12, BOSS, THERE)], "user@home.test", THERE, False, True),
        ([(60, "nobody@home.test", HERE)], BOSS, HERE, False, True),  # another account of the same office
        ([(10, "NoBody@home.test ", HERE)], "nobody@home.test", HERE, False, False),
        (
            [(1, f"x{n}@home.test", HERE) for n in range(MANY + 1)],
            BOSS,
            HERE,
            False,
            False,
        ),  # one password, many accounts
        ([(1, f"x{n}@home.test", HERE) for n in range(MANY + 1)], BOSS, HERE, True, True),
        ([(1, f"x{n}@home.test", HERE) for n in range(MANY + 1)], BOSS, THERE, False, True),
        ([(1, BOSS, f"203.0.113.{n}") for n in range(MANY + 1)], BOSS, HERE, False, False),  # from everywhere
        ([(1, BOSS, f"203.0.113.{n}") for n in range(MANY + 1)], BOSS, HERE, True, True),
        ([(1, BOSS, f"203.0.113.{n}") for n in range(MANY + 1)], "user@home.test", HERE, False, True),
        ([(1, BOSS, f"2001:db8:1:2::{n:x}") for n in range(10)], BOSS, "2001:db8:1:2:ffff::1", False, False),
        ([(1, BOSS, f"2001:db8:1:2::{n:x}") for n in range(10)], BOSS, "2001:db8:1:3::1", False, True),
    ],
)
def test_a_guesser_is_held_off_and_the_owner_comes_in(app, monkeypatch, attack, address, caller, known, comes):
    monkeypatch.setitem(limits.LIMITS, "security.login", 10_000)
    assert guesses.TRIES_OF_MANY == 10 * guesses.TRIES
    monkeypatch.setattr(guesses, "TRIES_OF_MANY", MANY)
    for role in ("admin", "user"):
        account(app, role)
    kept: dict[str, str] = {}
    if known:
        device = with_cookies(app, {}, caller)
        device.log_in(address)
        kept = cookies(device, guesses.DEVICE_COOKIE)
    for times, victim, guesser in attack:
        guess(app, times, victim, guesser)
    owner = with_cookies(app, kept, caller)
    answer = owner.log_in(address)
    assert (comes_in(owner), LOCKED in answer.text) == (comes, not comes)


def test_a_known_device_has_a_count_of_its_own_and_the_lock_ends(app):
    account(app, "admin")
    device = with_cookies(app, {}, HERE)
    device.log_in(BOSS)
    kept = cookies(device, guesses.DEVICE_COOKIE)
    assert LOCKED in guess(app, 11, caller=HERE, kept=kept)
    assert LOCKED in with_cookies(app, kept, THERE).log_in(BOSS).text
    assert "Incorrect" in guess(app, 1, caller=HERE)
    with app.app_context():
        db.session.execute(LoginAttempt.__table__.update().values(at=now() - guesses.LOCKED_FOR))
        db.session.commit()
    owner = with_cookies(app, kept, THERE)
    owner.log_in(BOSS)
    assert comes_in(owner)
    with app.app_context():
        assert not [key for key in db.session.scalars(select(LoginAttempt.key)) if "@" in key]


@pytest.mark.parametrize("path", ["/verify", "/account/password", "/admin/users/new"])
def test_passwords_cannot_be_guessed_elsewhere_either(app, boss, path):
    if path == "/admin/users/new":
        stale(boss)
    new = "another frog in the rain"

    def tried(password: str) -> str:
        typed = {"password": password, "present": password, "confirm_password": password, "new": new, "again": new}
        return boss.post(path, typed, follow_redirects=True).text

    for _ in range(guesses.TRIES):
        assert "Incorrect" in tried("wrong password")
    assert LOCKED in tried(PASSWORD)


@pytest.mark.heavy
@pytest.mark.parametrize("length", [513, 4096, 4097, 100_000])
def test_a_password_of_any_length_is_only_wrong(app, boss, length):
    long = "ab c" * (length // 4 + 1)
    boss.client.environ_base["REMOTE_ADDR"] = HERE
    assert "Incorrect" in Visitor(app).log_in(BOSS, long).text
    assert Visitor(app).log_in("x" * length + "@home.test", long).status_code == 200
    for path in ("/verify", "/account/password", "/admin/users/new"):
        typed = {**NEW, "password": long, "present": long, "new": long, "again": long}
        assert boss.post(path, typed, follow_redirects=True).status_code in (200, 422), path
    stale(boss)
    assert boss.post("/admin/users/new", {**NEW, "confirm_password": long}).status_code == 403


WEAK = """aaaaaaaaaa 1234567890 qwertyuiop Password123 P@ssw0rd123 abcabcabcabc iloveyou123 0987654321 letmeinletmein
ababababababababab asdfghjkl; sunshine2024 coquimail1 aaaaaaaaaaaaaaab 2024-11-27"""


@pytest.mark.heavy
@pytest.mark.parametrize("weak", WEAK.split())
@ONE_DATABASE
def test_a_password_that_is_guessed_first_is_refused_everywhere(app, boss, weak):
    said = "easy to guess"
    assert said in boss.post("/admin/users/new", {**NEW, "password": weak}).text
    typed = {"present": PASSWORD, "new": weak, "again": weak}
    assert said in boss.post("/account/password", typed, follow_redirects=True).text
    made = app.test_cli_runner().invoke(args=["create-user", "z@home.test"], input=f"{weak}\n")
    assert made.exit_code == 1 and said in made.output


# --- the first account


def first_link(app: Flask) -> str:
    made = app.test_cli_runner().invoke(args=["first-start"]).output
    return re.search(r"http://[^/]+(/first-start/\S+)", made)[1]


def test_the_first_link_makes_the_admin_once(app):
    visitor = Visitor(app)
    old, link = (first_link(app) for _ in range(2))
    new = {"name": "Ada", "email": "ada@office.test", "password": PASSWORD, "again": PASSWORD}
    assert visitor.get(old).status_code == 410
    assert visitor.get(link + "x").status_code == 410
    assert visitor.get(link).status_code == 200
    for wrong in ({"again": "something else"}, {"password": "short", "again": "short"}, {"email": "no address"}):
        assert visitor.post(link, {**new, **wrong}).status_code == 200
    assert visitor.post(link, new).status_code == 302
    assert visitor.get("/admin/users/").status_code == 200
    assert Visitor(app).get(link).status_code == 410
    assert not list((app.extensions["coquimail"].data).glob("first-start*"))


@pytest.mark.heavy
def test_the_first_link_used_eight_times_at_once_makes_one_admin(app):
    link = first_link(app)
    visitors = [Visitor(app) for _ in range(8)]
    tokens = [TOKEN.search(visitor.get(link).text)[1] for visitor in visitors]
    together = threading.Barrier(len(visitors))
    codes: list[int] = []

    def press(number: int) -> None:
        typed = {"name": "Ada", "email": f"ada{number}@office.test", "password": PASSWORD, "again": PASSWORD}
        together.wait()
        codes.append(visitors[number].client.post(link, data={"csrf_token": tokens[number], **typed}).status_code)

    threads = [threading.Thread(target=press, args=(number,)) for number in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    with app.app_context():
        assert db.session.scalar(select(func.count(User.id))) == 1
    assert sorted(codes) == [302] + [410] * 7


def test_an_account_is_made_by_a_command_whose_line_holds_no_password(app):
    run = app.test_cli_runner()
    made = run.invoke(args=["create-user", "Clerk@Home.test", "--name", "Clerk"], input=f"{PASSWORD}\n")
    assert (made.exit_code, made.output) == (0, "clerk@home.test may log in as user.\n")
    again = run.invoke(args=["create-user", "clerk@home.test"], input=f"{PASSWORD}\n")
    assert again.exit_code == 1 and "already" in again.output
    assert run.invoke(args=["create-user", "x@home.test"], input="short\n").exit_code == 1
    assert run.invoke(args=["create-user", "nonsense"], input=f"{PASSWORD}\n").exit_code == 1
    assert run.invoke(args=["create-user", "x@home.test", "--password", PASSWORD]).exit_code == 2
    assert Visitor(app).log_in("clerk@home.test").status_code == 302
    assert "already exists" in run.invoke(args=["first-start"]).output


# --- public pages


def test_every_public_page_has_a_limit(app):
    account(app, "user")
    stranger, open_to_all = Visitor(app), set()
    for rule in list(app.url_map.iter_rules()):
        path = re.sub(r"<[^>]+>", "1", rule.rule)
        for method in (rule.methods or set()) & {"GET", "POST"}:
            answer = stranger.client.open(path, method=method, data={} if method == "GET" else {"csrf_token": "x"})
            to_log_in = answer.status_code in (302, 401) and "/login" in answer.headers.get("Location", "/login")
            refused = answer.status_code in (400, 403, 405) and method == "POST" and "open for too long" in answer.text
            if not to_log_in and not refused and not (answer.status_code == 404 and "/admin/" in path):
                open_to_all.add(rule.endpoint)
    assert open_to_all - {"static", "security.static", "healthz", "admin.index"} <= set(limits.LIMITS), open_to_all
    assert {"security.login", "public.view", "security_headers.csp_report"} <= open_to_all


@pytest.mark.parametrize("path", ["/login", "/first-start/x", "/u/x", "/v/x", "/csp-report", "/verify"])
def test_who_asks_too_often_is_told_to_wait(app, monkeypatch, path):
    monkeypatch.setattr(limits, "time", SimpleNamespace(time=lambda: 0.0))  # no other minute begins meanwhile
    for route in limits.LIMITS:
        monkeypatch.setitem(limits.LIMITS, route, 3)
    visitor = with_cookies(app, {}, HERE)
    send = visitor.client.post if path == "/csp-report" else visitor.get
    codes = [send(path).status_code for _ in range(5)]
    assert codes.count(429) >= 2 and codes[0] != 429
    other = with_cookies(app, {}, THERE)
    assert (other.client.post if path == "/csp-report" else other.get)(path).status_code != 429


@pytest.mark.parametrize("path", ["/login", "/verify", "/account", "/admin/users/export", "/events"])
def test_nothing_private_is_kept_by_a_browser(app, boss, path):
    answer = (Visitor(app) if path == "/login" else boss).get(path)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")

"""Who comes in and who does not; what every answer carries."""

import logging
import re
from collections.abc import Iterator

import pytest
from flask import Flask
from sqlalchemy import select, text

from models import LoginAttempt, User, db
from tests.web import PASSWORD, Visitor, account, forget, kept_app, web_app
from webapp import auth
from webapp.passwords import hash_checked

ONE_DATABASE = pytest.mark.parametrize("kept", ["sqlite"], indirect=True)  # what has nothing to do with databases


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def kept(request, tmp_path_factory) -> Iterator[Flask]:
    with kept_app(request, tmp_path_factory.mktemp("office")) as made:
        made.add_url_rule("/for-admins", "for_admins", auth.roles_required("admin")(lambda: "secrets"))
        made.add_url_rule("/breaks", "breaks", lambda: 1 / 0)
        empty = text("DELETE FROM login_attempt")
        made.add_url_rule("/writes", "writes", lambda: db.session.execute(empty) and "wrote")
        yield made


@pytest.fixture
def app(kept) -> Iterator[Flask]:
    yield kept
    forget(kept)


@pytest.fixture
def visitor(app) -> Visitor:
    return Visitor(app)


# --- log-in


@pytest.mark.parametrize(
    ("typed", "password", "comes_in"),
    [
        ("clerk@home.test", PASSWORD, True),
        ("  Clerk@HOME.test ", PASSWORD, True),
        ("clerk@home.test", PASSWORD.upper(), False),
        ("clerk@home.test", "", False),
        ("nobody@home.test", PASSWORD, False),
        ("not an address", PASSWORD, False),
    ],
)
def test_address_and_password_open_the_door(app, visitor, typed, password, comes_in):
    account(app, "user", "clerk@home.test")
    answer = visitor.log_in(typed, password)
    assert answer.status_code == (302 if comes_in else 200)
    assert (visitor.get("/events").status_code == 200) is comes_in


def test_a_stranger_cannot_learn_which_accounts_exist(app, visitor):
    account(app, "user", "clerk@home.test")
    words = "Incorrect email address or password"
    assert words in visitor.log_in("clerk@home.test", "wrong password").text
    assert words in visitor.log_in("nobody@home.test", "wrong password").text


@pytest.mark.parametrize("change", ["switched off", "new password"])
def test_sessions_end_with_the_account_and_with_its_password(app, visitor, change):
    address = account(app, "user")
    visitor.log_in(address)
    assert visitor.get("/events").status_code == 200
    with app.app_context():
        user = db.session.scalar(select(User).where(User.email == address))
        if change == "switched off":
            user.active = False
        else:
            auth.set_password(user, hash_checked("another frog in the rain"))
        db.session.commit()
    assert visitor.get("/events").status_code == 302
    assert visitor.log_in(address).status_code == 200


@pytest.mark.parametrize(
    ("next", "lands"),
    [
        ("/for-admins", "/for-admins"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("/\\evil.example", "/%5Cevil.example"),  # a path of ours, however odd
    ],
)
def test_after_the_log_in_people_land_on_our_pages_only(app, visitor, next, lands):
    answer = visitor.log_in(account(app, "admin"), next=next)
    assert answer.status_code == 302
    assert re.sub(r"^http://localhost", "", answer.location) == lands


def test_logging_out_takes_a_button_not_a_link(app, visitor):
    visitor.as_role("user")
    assert visitor.get("/logout").status_code == 405
    assert visitor.get("/events").status_code == 200
    visitor.post("/logout")
    assert visitor.get("/events").status_code == 302


def test_the_session_cookie_is_out_of_reach(database, tmp_path):
    app = web_app(database, tmp_path, COQUI_URL="https://mail.office.test")
    cookie = app.test_client().get("/login", base_url="https://mail.office.test").headers["Set-Cookie"]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=Lax", "Secure"))
    with app.app_context():
        db.engine.dispose()


# --- roles, developer mode, CSRF


@pytest.mark.parametrize(("role", "code"), [("admin", 200), ("marketing", 403), ("user", 403)])
def test_a_page_for_admins_is_for_admins(app, visitor, role, code):
    assert visitor.as_role(role).get("/for-admins").status_code == code


def test_a_stranger_is_sent_to_the_log_in_and_back(visitor):
    answer = visitor.get("/for-admins?x=1")
    assert (answer.status_code, answer.location) == (302, "/login?next=/for-admins?x%3D1")


def test_developer_mode_grants_no_rights(app, visitor):
    visitor.as_role("user")
    assert visitor.post("/developer-mode", {"on": "1", "next": "/inbox"}).location == "/inbox"
    assert visitor.get("/for-admins").status_code == 403


@pytest.mark.parametrize("next", ["https://evil.example/", "//evil.example", "/\\evil.example", ""])
def test_developer_mode_leads_to_our_pages_only(app, visitor, next):
    assert visitor.as_role("admin").post("/developer-mode", {"on": "1", "next": next}).location == "/"


@pytest.mark.parametrize("path", ["/login", "/logout", "/developer-mode"])
def test_no_form_works_without_its_token(app, visitor, path):
    visitor.as_role("user")
    answer = visitor.client.post(path, data={"on": "1"})
    assert answer.status_code == 400
    assert "open for too long" in answer.text


def test_passwords_are_kept_as_argon2(app):
    account(app, "user")
    with app.app_context():
        assert db.session.scalar(select(User.password)).startswith("$argon2id$")


# --- what every answer carries


@pytest.mark.parametrize("path", ["/login", "/nowhere", "/healthz", "/static/css/app.css", "/breaks", "/events"])
@ONE_DATABASE
def test_every_answer_has_the_strict_headers(visitor, path):
    headers = visitor.get(path).headers
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"


def test_what_a_browser_blocked_is_logged(visitor, caplog):
    report = {"csp-report": {"effective-directive": "script-src", "blocked-uri": "inline", "document-uri": "/x"}}
    with caplog.at_level(logging.WARNING, "coquimail.security"):
        assert visitor.client.post("/csp-report", json=report).status_code == 204
        assert visitor.client.post("/csp-report", data="nonsense").status_code == 400
        assert visitor.client.post("/csp-report", data="[]").status_code == 400
        assert visitor.client.post("/csp-report", data="x" * 20_000).status_code == 413
        for odd in (
            '{"csp-report": []}',
            '{"csp-report": 5}',
            "[[" * 5000,
            "9" * 5000,
            '"\\ud800"',
            "{",
            "null",
            b"\xff",
        ):
            assert visitor.client.post("/csp-report", data=odd).status_code == 400, odd[:20]
    assert "script-src" in caplog.text


@pytest.mark.parametrize(
    ("path", "code", "words"),
    [("/nowhere", 404, "Page not found"), ("/breaks", 500, "Something went wrong on our side")],
)
@pytest.mark.parametrize("role", ["", "user"])
def test_pages_that_say_no_say_what_to_do_and_show_no_trace(app, visitor, role, path, code, words):
    if role:
        visitor.as_role(role)
    answer = visitor.get(path)
    assert answer.status_code == code
    assert words in answer.text
    assert "Traceback" not in answer.text and "ZeroDivision" not in answer.text


def test_too_much_at_once_is_refused_kindly(app, visitor):
    visitor.as_role("user")
    answer = visitor.post("/developer-mode", {"on": "x" * (33 * 1024 * 1024)})
    assert answer.status_code == 413
    assert "too large" in answer.text


def test_a_page_that_is_read_cannot_write(app, visitor):
    account(app, "user")
    visitor.log_in("user@home.test", "wrong password")
    assert visitor.get("/writes").status_code == 500
    with app.app_context():
        assert db.session.scalar(select(LoginAttempt.id)) is not None


def test_a_static_file_may_be_kept_while_its_mark_is_in_the_address(visitor):
    marked = re.search(r'href="(/static/css/app\.css\?v=\w+)"', visitor.get("/login").text)[1]
    assert "immutable" in visitor.get(marked).headers["Cache-Control"]
    assert "immutable" not in visitor.get("/static/css/app.css").headers["Cache-Control"]


# --- accounts in the browser

NEW = {"name": "Eva", "email": "Eva@Home.test", "role": "marketing", "active": "y", "notify": "inbox", "zone": "UTC"}


def user(app: Flask, address: str) -> User:
    with app.app_context():
        found = db.session.scalar(select(User).where(User.email == address))
        db.session.expunge_all()
        return found


def test_an_admin_makes_an_account_that_may_log_in(app, visitor):
    visitor.as_role("admin")
    assert visitor.post("/admin/users/new", {**NEW, "password": PASSWORD}).status_code == 302
    made = user(app, "eva@home.test")
    assert (made.name, made.role, made.notify, made.contact.address_key) == ("Eva", "marketing", "inbox", made.email)
    assert Visitor(app).log_in("eva@home.test").status_code == 302


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"password": ""}, "Set an initial password."),
        ({"password": "short"}, "must have at least 10 characters"),
        ({"email": "nonsense"}, "is not an email address"),
        ({"email": "admin@home.test"}, "There is already an account for admin@home.test."),
        ({"role": "owner"}, "Not a valid choice"),
        ({"zone": "Mars/Base"}, "Not a valid choice"),
    ],
)
def test_an_account_that_cannot_be_is_refused_in_words(app, visitor, wrong, words):
    visitor.as_role("admin")
    answer = visitor.post("/admin/users/new", {**NEW, "password": PASSWORD, **wrong})
    assert answer.status_code == 200 and words in answer.text
    assert user(app, "eva@home.test") is None


def test_an_admin_gives_a_new_password_and_old_sessions_end(app, visitor):
    visitor.as_role("admin")
    clerk = Visitor(app).as_role("user")
    changed = {**NEW, "name": "Clerk", "role": "user", "password": "another frog in the rain"}
    assert visitor.post(f"/admin/users/edit?id={user(app, 'user@home.test').id}", changed).status_code == 302
    assert clerk.get("/events").status_code == 302
    assert clerk.log_in("user@home.test").status_code == 200
    assert clerk.log_in("user@home.test", "another frog in the rain").status_code == 302
    assert user(app, "user@home.test").email == "user@home.test"


@pytest.mark.parametrize("wrong", [{"role": "user"}, {"active": ""}])
def test_an_admin_cannot_lock_the_door_from_outside(app, visitor, wrong):
    visitor.as_role("admin")
    number = user(app, "admin@home.test").id
    changed = {**NEW, "name": "Ada", "role": "admin", **wrong}
    assert "own access" in visitor.post(f"/admin/users/edit?id={number}", changed).text
    answer = visitor.post("/admin/users/delete", {"id": number}, follow_redirects=True)
    assert "your own account" in answer.text
    assert (user(app, "admin@home.test").role, user(app, "admin@home.test").active) == ("admin", True)


def test_people_change_their_own_name_zone_and_notifications(app, visitor):
    visitor.as_role("user")
    visitor.post("/account", {"name": "Clara", "zone": "Europe/Madrid", "notify": "inbox", "role": "admin"})
    me = user(app, "user@home.test")
    assert (me.name, me.zone, me.notify, me.role) == ("Clara", "Europe/Madrid", "inbox", "user")
    for blank in ("", "  "):
        assert visitor.post("/account", {"name": blank, "zone": "Europe/Madrid", "notify": "inbox"}).status_code == 422


@pytest.mark.parametrize(
    ("present", "new", "again", "changed"),
    [
        (PASSWORD, "another frog in the rain", "another frog in the rain", True),
        ("a guess", "another frog in the rain", "another frog in the rain", False),
        (PASSWORD, "another frog in the rain", "another frog", False),
        (PASSWORD, "short", "short", False),
    ],
)
def test_people_change_their_own_password(app, visitor, present, new, again, changed):
    visitor.as_role("user")
    elsewhere = Visitor(app)
    elsewhere.log_in("user@home.test")
    visitor.post("/account/password", {"present": present, "new": new, "again": again})
    assert visitor.get("/events").status_code == 200
    assert elsewhere.get("/events").status_code == (302 if changed else 200)
    assert Visitor(app).log_in("user@home.test", new if changed else PASSWORD).status_code == 302

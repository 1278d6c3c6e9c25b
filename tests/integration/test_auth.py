"""Who comes in and who does not; what every answer carries."""

import logging
import re

import pytest
from flask import Flask
from sqlalchemy import select, text

from mail.clock import now
from models import LoginAttempt, User, db
from tests.web import PASSWORD, Visitor, account, web_app
from webapp import auth


@pytest.fixture
def app(database, tmp_path) -> Flask:
    made = web_app(database, tmp_path)
    made.add_url_rule("/for-admins", "for_admins", auth.roles_required("admin")(lambda: "secrets"))
    made.add_url_rule("/breaks", "breaks", lambda: 1 / 0)
    made.add_url_rule("/writes", "writes", lambda: db.session.execute(text("DELETE FROM login_attempt")) and "wrote")
    yield made
    with made.app_context():
        db.engine.dispose()


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
    words = "do not fit together"
    assert words in visitor.log_in("clerk@home.test", "wrong password").text
    assert words in visitor.log_in("nobody@home.test", "wrong password").text


def test_a_locked_account_opens_for_nobody_and_opens_again(app, visitor):
    address = account(app, "user")
    for _ in range(auth.TRIES):
        visitor.log_in(address, "wrong password")
    assert "Too many failed tries" in visitor.log_in(address).text
    other = account(app, "marketing")
    assert Visitor(app).log_in(other).status_code == 302
    with app.app_context():
        db.session.execute(LoginAttempt.__table__.update().values(at=now() - auth.LOCKED_FOR))
        db.session.commit()
    assert visitor.log_in(address).status_code == 302


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
            auth.change_password(user, "another frog in the rain")
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


# --- the first account


def test_the_first_link_makes_the_admin_once(app, visitor):
    with app.app_context():
        old, link = (auth.first_start_link().removeprefix("http://localhost:8000") for _ in range(2))
    new = {"name": "Ada", "email": "ada@office.test", "password": PASSWORD, "again": PASSWORD}
    assert visitor.get(old).status_code == 410
    assert visitor.get(link + "x").status_code == 410
    assert visitor.get(link).status_code == 200
    assert visitor.post(link, {**new, "again": "something else"}).status_code == 200
    assert visitor.post(link, {**new, "password": "short", "again": "short"}).status_code == 200
    assert visitor.post(link, {**new, "email": "no address"}).status_code == 200
    assert visitor.post(link, new).status_code == 302
    assert visitor.get("/for-admins").status_code == 200
    assert Visitor(app).get(link).status_code == 410
    assert not list((app.extensions["coquimail"].data).glob("first-start*"))


def test_an_account_is_made_by_a_command_and_may_log_in(app, visitor):
    run = app.test_cli_runner()
    made = run.invoke(args=["create-user", "Clerk@Home.test", "--name", "Clerk", "--password", PASSWORD])
    assert (made.exit_code, made.output) == (0, "clerk@home.test may log in as user.\n")
    again = run.invoke(args=["create-user", "clerk@home.test", "--password", PASSWORD])
    assert again.exit_code == 1 and "already" in again.output
    assert run.invoke(args=["create-user", "x@home.test", "--password", "short"]).exit_code == 1
    assert run.invoke(args=["create-user", "nonsense", "--password", PASSWORD]).exit_code == 1
    assert run.invoke(args=["create-user", "y@home.test", "--password", "-"], input=f"{PASSWORD}\n").exit_code == 0
    assert visitor.log_in("clerk@home.test").status_code == 302


def test_passwords_are_kept_as_argon2(app):
    account(app, "user")
    with app.app_context():
        assert db.session.scalar(select(User.password)).startswith("$argon2id$")


# --- what every answer carries


@pytest.mark.parametrize("path", ["/login", "/nowhere", "/healthz", "/static/css/app.css", "/breaks", "/events"])
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
    assert "script-src" in caplog.text


@pytest.mark.parametrize(
    ("path", "code", "words"),
    [("/nowhere", 404, "There is nothing here"), ("/breaks", 500, "Something went wrong on our side")],
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

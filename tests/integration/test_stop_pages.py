"""When something fails, the page is ours, says what to do next, and keeps what was typed."""

import errno
import html
import io
import re
import sqlite3
from collections.abc import Iterator

import pytest
from flask import Flask, request
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import OperationalError

from mail.settings.logs import DiscreetFormatter
from models import db, writing
from tests.conftest import upgrade
from tests.servers.postgres import Postgres
from tests.web import Visitor, account, forget, kept_app, web_app

TYPED = "Dear Ann,\r\nthe <b>chairs</b> come on Monday & the table too.\r\nClerk"


def fail(kind: str) -> str:
    """Fail as the real parts do."""
    on_sqlite = db.engine.dialect.name == "sqlite"
    match kind:
        case "fine":
            return "fine"
        case "ours":
            return str(1 / 0)
        case "no room for a file":
            raise OSError(errno.ENOSPC, "No space left on device", "/tmp/upload")
        case "a number":
            db.session.scalar(text("SELECT CAST(:number AS bigint)"), {"number": 2**70})
        case "full" if on_sqlite:
            with writing(), db.engine.begin() as connection:  # a connection of its own: the limit ends with it
                connection.exec_driver_sql(f"PRAGMA max_page_count = {_pages(connection)}")
                connection.detach()
                connection.exec_driver_sql("CREATE TABLE filler AS SELECT zeroblob(1000000) AS x")
        case "cut after a part was saved":
            with writing():
                db.session.execute(text("UPDATE system_parameter SET value = value"))
                db.session.commit()
            raise OperationalError("UPDATE", {}, sqlite3.OperationalError("disk I/O error"))
        case "cut in the commit":
            pid = db.session.scalar(text("SELECT pg_backend_pid()"))
            with db.engine.connect() as other:
                other.execute(text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": pid})
            db.session.commit()
        case "cut":
            db.session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        case "slow":
            db.session.execute(text("SET LOCAL statement_timeout = 20"))
            db.session.execute(text("SELECT pg_sleep(10)"))
        case _:
            db.session.execute(text("SELECT set_config('test.words', :words, true)"), {"words": "Ann Lee"})
            what = f"MESSAGE = current_setting('test.words'), ERRCODE = '{kind}'"
            db.session.execute(text(f"DO $$ BEGIN RAISE EXCEPTION USING {what}; END $$"))
    return "done"


def _pages(connection: Connection) -> int:
    return int(connection.exec_driver_sql("PRAGMA page_count").scalar_one())


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def kept(request, tmp_path_factory) -> Iterator[Flask]:
    with kept_app(request, tmp_path_factory.mktemp("office")) as made:
        made.add_url_rule("/fails/<kind>", "fails", fail, methods=("GET", "POST"))
        made.add_url_rule("/cut-once", "cut_once", cut_once, methods=("GET", "POST"))
        made.after_request(lambda answer: 1 / 0 if request_path() == "/after" else answer)
        yield made


def request_path() -> str:
    return request.path


def cut_once(seen: list[int] = []) -> str:  # noqa: B006
    """A page whose connection is cut below it, now and then."""
    seen.append(1)
    if len(seen) % 2:
        fail("cut")
    return f"fine at try {len(seen)}"


@pytest.fixture
def visitor(kept) -> Iterator[Visitor]:
    account(kept, "user")
    someone = Visitor(kept)
    yield someone
    forget(kept)


# kind, status of the answer, what it says
EVERYWHERE = [
    ("a number", 400, "can&#39;t be saved"),
    ("ours", 500, "Something went wrong on our side"),
    ("no room for a file", 507, "The disk is full"),
]
SQLITE = [("full", 507, "The disk is full")]
POSTGRESQL = [
    ("cut", 503, "not available"),
    ("57P03", 503, "not available"),
    ("53300", 503, "not available"),
    ("slow", 503, "busy"),
    ("55P03", 503, "busy"),
    ("40P01", 503, "busy"),
    ("40001", 503, "busy"),
    ("53100", 507, "The disk is full"),
    ("58030", 500, "can&#39;t be read or written"),
    ("22003", 400, "can&#39;t be saved"),
    ("22021", 400, "can&#39;t be saved"),
    ("23505", 500, "Something went wrong on our side"),
    ("42501", 500, "Something went wrong on our side"),
]
TABLE = [
    pytest.param(database, *case, id=f"{database}: {case[0]}")
    for database, cases in (("sqlite", EVERYWHERE + SQLITE), ("postgresql", EVERYWHERE + POSTGRESQL))
    for case in cases
]
ONLY_POSTGRESQL = pytest.mark.parametrize("kept", ["postgresql"], indirect=True)
ONLY_SQLITE = pytest.mark.parametrize("kept", ["sqlite"], indirect=True)


@pytest.mark.parametrize("as_user", [False, True], ids=["stranger", "user"])
@pytest.mark.parametrize(("kept", "kind", "code", "says"), TABLE, indirect=["kept"])
def test_every_failure_has_its_page_and_keeps_what_was_typed(kept, visitor, caplog, kind, code, says, as_user):
    caplog.handler.setFormatter(DiscreetFormatter())
    if as_user:
        visitor.log_in("user@home.test")
    token = visitor.token()
    shown = visitor.get(f"/fails/{kind}")
    assert (shown.status_code, says in shown.text) == (code, True), shown.text
    typed = {"csrf_token": token, "words": TYPED, "kind": "note", "password": "top secret 1", "x": ["1", "2"]}
    answer = visitor.client.post(f"/fails/{kind}", data=typed)
    assert (answer.status_code, says in answer.text) == (code, True)
    assert fields(answer.text) == [("words", TYPED), ("kind", "note"), ("password", ""), ("x", "1"), ("x", "2")]
    assert "top secret" not in answer.text + caplog.text and "Ann Lee" not in answer.text + caplog.text
    assert "Traceback" not in answer.text
    assert ("Nothing was saved" in shown.text, "Nothing was saved" in answer.text) == (False, code >= 500)
    assert "Try again" in shown.text and "Try again" in answer.text
    assert (answer.headers.get("Retry-After"), shown.headers.get("Retry-After")) == (
        ("5",) * 2 if code == 503 else (None,) * 2
    )
    assert ('http-equiv="refresh"' in shown.text, 'http-equiv="refresh"' in answer.text) == (code == 503, False)
    assert visitor.get("/fails/fine").text == "fine"
    assert (visitor.get("/events").status_code == 200) is as_user


@pytest.mark.parametrize(
    ("kept", "kind"),
    [("sqlite", "cut after a part was saved"), ("postgresql", "cut after a part was saved"),
     ("postgresql", "cut in the commit")],
    indirect=["kept"],
)  # fmt: skip
def test_what_may_have_been_saved_is_not_said_to_be_lost_and_not_sent_again_unseen(kept, visitor, kind):
    answer = visitor.post(f"/fails/{kind}", {"words": TYPED})
    assert answer.status_code == 503
    assert "may have been saved" in answer.text and "Nothing was saved" not in answer.text
    assert "Try again" not in answer.text
    assert html.escape(TYPED.split("\r\n")[0]) in answer.text, "it can be copied"


def fields(page: str) -> list[tuple[str, str]]:
    """Return what the form of a page would send, but for its token."""
    found = []
    for tag, rest in re.findall(r"<(input|textarea)\b(.*?)(?:</textarea>|>(?=\s*<))", page, re.S):
        name = re.search(r'name="([^"]+)"', rest)
        value = re.search(r'value="([^"]*)"', rest) if tag == "input" else re.search(r">(.*)", rest, re.S)
        if name and name[1] not in ("csrf_token", "csrf-token"):
            found.append((name[1], html.unescape(value[1]) if value else ""))
    return found


def test_what_a_script_asked_for_is_answered_in_json(kept, visitor):
    answer = visitor.get("/fails/ours", headers={"X-Fragment": "1"})
    assert (answer.status_code, answer.json["error"]) == (500, "Something went wrong on our side")


def test_files_have_to_be_chosen_again(kept, visitor):
    file = (io.BytesIO(b"%PDF"), "offer.pdf")
    answer = visitor.post("/fails/ours", {"words": TYPED, "files": file}, content_type="multipart/form-data")
    assert 'type="file"' in answer.text and 'name="files"' in answer.text and "multipart/form-data" in answer.text


def test_a_page_that_fails_while_it_is_sent_is_still_a_page_of_ours(kept, visitor):
    answer = visitor.get("/after")
    assert answer.status_code == 500
    assert "Something went wrong on our side" in answer.text


@ONLY_POSTGRESQL
def test_a_page_is_asked_for_once_more_when_its_connection_was_cut_and_a_form_is_not(kept, visitor):
    visitor.log_in("user@home.test")
    token = visitor.token()
    assert visitor.get("/cut-once").text == "fine at try 2"
    assert visitor.client.post("/cut-once", data={"csrf_token": token}).status_code == 503
    assert visitor.client.post("/cut-once", data={"csrf_token": token}).text == "fine at try 4"


def test_a_database_that_is_stopped_is_said_and_comes_back(postgres, tmp_path):
    own = Postgres()
    try:
        url = own.create_database()
        upgrade(url)
        app = web_app(url, tmp_path)
        account(app, "user")
        visitor = Visitor(app)
        visitor.log_in("user@home.test")
        token = visitor.token()
        assert visitor.get("/account").status_code == 200
        own.stop()
        for path in ("/account", "/", "/login", "/u/x"):
            answer = visitor.get(path)
            assert (answer.status_code, "not available" in answer.text) == (503, True), path
        answer = visitor.client.post("/account", data={"csrf_token": token, "name": "Ann of the long name " * 3})
        assert answer.status_code == 503
        assert ("name", "Ann of the long name " * 3) in fields(answer.text)
        assert visitor.get("/static/css/app.css").status_code == 200
        own.start()
        assert visitor.get("/account").status_code == 200
        with app.app_context():
            db.engine.dispose()
    finally:
        own.close()


@pytest.mark.heavy
@ONLY_SQLITE
def test_a_database_that_another_program_holds_is_said_without_a_second_wait(kept, visitor):
    visitor.log_in("user@home.test")
    token = visitor.token()
    path = kept.config["SQLALCHEMY_DATABASE_URI"].removeprefix("sqlite:///")
    other = sqlite3.connect(path, isolation_level=None)
    waits: list[int] = []
    with kept.app_context():
        event.listen(db.engine, "begin", short_wait)
        event.listen(db.engine, "handle_error", lambda context: waits.append(1))
    other.execute("BEGIN IMMEDIATE")
    try:
        answer = visitor.client.post("/account", data={"csrf_token": token, "name": TYPED})
    finally:
        other.close()
        with kept.app_context():
            event.remove(db.engine, "begin", short_wait)
            db.engine.dispose()
    assert (answer.status_code, "The database is busy" in answer.text) == (503, True)
    assert ("name", TYPED) in fields(answer.text)
    assert len(waits) == 1, "one wait of ten seconds is what a click may take"


def short_wait(connection: Connection) -> None:
    connection.exec_driver_sql("PRAGMA busy_timeout = 20")

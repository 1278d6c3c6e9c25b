"""What tests may ask for: real servers, both databases, a browser. Each starts when the first test asks for it.

A part that this machine lacks skips its tests with the reason; on CI that is a failure.
"""

import fcntl
import gc
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings

from tests.servers.app import KEPT, App, run_flask
from tests.servers.authorization import AuthorizationServer
from tests.servers.browser import Browser, Person
from tests.servers.certificates import Authority
from tests.servers.dovecot import Dovecot
from tests.servers.nameserver import NameServer
from tests.servers.postfix import Postfix
from tests.servers.postgres import Postgres
from tests.servers.process import PartMissing, remove_folder, temporary_folder
from tests.servers.sink import SmtpSink

# The same examples in every run, so that no run is red by chance; ``make soak`` looks for others.
settings.register_profile("fixed", derandomize=True, deadline=None, database=None)
settings.register_profile("search", deadline=None, database=None, max_examples=2000)
settings.load_profile("fixed")

ON_CI = os.environ.get("CI") == "true"
Part = TypeVar("Part")


def started(make: Callable[[], Part]) -> Part:
    """Return a part of the test bench, or skip the test with what this machine lacks."""
    try:
        return make()
    except PartMissing as missing:
        pytest.skip(str(missing))


# --- servers


@pytest.fixture(scope="session")
def authority() -> Iterator[Authority]:
    """Who signed the certificates of all test servers; programs trust it by ``SSL_CERT_FILE``."""
    folder = temporary_folder("authority")
    yield Authority(folder)
    remove_folder(folder)


@pytest.fixture(scope="session")
def _named() -> Iterator[NameServer]:
    server = started(NameServer)
    yield server
    server.stop()


@pytest.fixture
def name_server(_named: NameServer) -> NameServer:
    """A real name server without any zones yet."""
    _named.load({})
    return _named


@pytest.fixture
def trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """The same authority, trusted by connections that the test's own process opens."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    return authority


@pytest.fixture(scope="session")
def dovecot(authority: Authority) -> Iterator[Dovecot]:
    """A real IMAP and POP3 server; make a mailbox of your own in it."""
    server = started(lambda: Dovecot(authority))
    yield server
    server.close()


@pytest.fixture(scope="session")
def authorization(authority: Authority) -> Iterator[AuthorizationServer]:
    """A real authorization server; register an app of your own in it."""
    server = started(lambda: AuthorizationServer(authority))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def token_dovecot(authority: Authority, authorization: AuthorizationServer) -> Iterator[Dovecot]:
    """A Dovecot that takes access tokens of ``authorization``."""
    server = started(lambda: Dovecot(authority, introspection=authorization.introspection_url))
    yield server
    server.close()


@pytest.fixture
def mailbox(dovecot: Dovecot, request: pytest.FixtureRequest) -> Iterator[str]:
    """The user name of an empty mailbox in ``dovecot``, for this test alone."""
    user = dovecot.add_mailbox(f"box{abs(hash(request.node.nodeid))}@office.test")
    yield user
    dovecot.remove_mailbox(user)


@pytest.fixture(scope="session")
def _postfix(authority: Authority) -> Iterator[Postfix]:
    server = started(lambda: Postfix(authority))
    yield server
    server.close()


@pytest.fixture
def postfix(_postfix: Postfix) -> Iterator[Postfix]:
    """A real receiving server, empty and without special answers."""
    yield _postfix
    _postfix.forget()


@pytest.fixture(scope="session")
def _second_postfix(authority: Authority) -> Iterator[Postfix]:
    server = started(lambda: Postfix(authority, "mx2.receiver.test"))
    yield server
    server.close()


@pytest.fixture
def second_postfix(_second_postfix: Postfix) -> Iterator[Postfix]:
    """Another receiving server, for what has to arrive elsewhere."""
    yield _second_postfix
    _second_postfix.forget()


@pytest.fixture
def smtp_sink() -> Iterator[SmtpSink]:
    """A server that accepts every mail and keeps none."""
    sink = started(SmtpSink)
    yield sink
    sink.close()


# --- databases: the same tests on both


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL cluster."""
    server = started(Postgres)
    yield server
    server.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a new database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    url = server.create_database()
    yield url
    server.drop_database(url)


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all processes of this run: the first that asks makes it."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    path = folder / "template.db"
    with (folder / "template.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            made = folder / "template.new"
            upgrade(f"sqlite:///{made}")
            with sqlite3.connect(made) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.close()
            made.rename(path)
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a new database as the migrations make it, first values included."""
    if request.param == "sqlite":
        path = tmp_path / "office.db"
        shutil.copy(request.getfixturevalue("_sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    url = server.create_database(server.template("office", upgrade))
    yield url
    server.drop_database(url)


def upgrade(url: str) -> None:
    """Bring a database to the present version by the command that an office uses."""
    folder = temporary_folder("upgrade")
    try:
        env = {name: os.environ[name] for name in KEPT if name in os.environ}
        env |= {"COQUI_DATA": str(folder), "DATABASE_URL": url, "COQUI_TESTING": "1", "LC_ALL": "C.UTF-8"}
        run_flask(("upgrade",), env)
    finally:
        remove_folder(folder)


# --- the whole product, and a person before it


@pytest.fixture
def running_app(database: str, authority: Authority) -> Iterator[App]:
    """CoquiMail on a new database, not yet started: ``running_app.start()`` brings up pages and worker."""
    app = App(database, authority.file)
    yield app
    app.close()


@pytest.fixture(scope="session")
def _browser() -> Iterator[Browser]:
    browser = started(Browser)
    yield browser
    browser.close()


@pytest.fixture
def person(_browser: Browser) -> Iterator[Callable[..., Person]]:
    """``person(url, width=, height=, dark=)`` is somebody at a browser; at the end nothing may have alarmed them."""
    people: list[Person] = []

    def arrive(url: str, **screen: Any) -> Person:
        people.append(_browser.person(url, **screen))
        return people[-1]

    yield arrive
    for one in people:
        one.close()
    for one in people:
        one.check()


# --- the order of the tests

# What takes longest begins first, so that no core waits for another at the end. Files with a browser keep more than a
# core busy: between two of them stands what takes about as long as the first and mostly waits.
FIRST = (
    "tests/browser/test_walk.py",
    "tests/integration/test_scheduler.py",
    "tests/proofs/test_parser_fuzz.py",
    "tests/integration/test_worker.py",
    "tests/integration/test_large_lists.py",
    "tests/browser/test_loop.py",
    "tests/integration/test_mailing.py",
    "tests/proofs",
    "tests/browser/test_settings_browser.py",
    "tests/integration/test_mailing_kill.py",
    "tests/integration/test_incoming.py",
    "tests/integration/test_auth.py",
    "tests/browser/test_mailing.py",
    "tests/test_house.py",
    "tests/browser/test_chatter.py",
    "tests/integration",
)


# What ``make quick`` does without: each of these is a process of its own, or a test that starts some.
SLOW_PARTS = {
    "dovecot",
    "authorization",
    "_named",
    "_postfix",
    "_second_postfix",
    "checked",
    "smtp_sink",
    "postgres",
    "running_app",
    "_browser",
}
SLOW_FILES = (
    "tests/test_house.py",
    "tests/browser",
    "tests/proofs",
    "tests/integration/test_gunicorn.py",
    "tests/integration/test_dns.py",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="only what needs no server, no browser and no PostgreSQL")


def is_quick(item: pytest.Item) -> bool:
    """Say whether a test needs neither a server nor a process of the product."""
    parts = set(getattr(item, "fixturenames", ())) & SLOW_PARTS
    on_postgres = "postgresql" in getattr(item, "callspec", item).__dict__.get("params", {}).values()
    return not parts and not on_postgres and not item.nodeid.startswith(SLOW_FILES)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the files into an order that keeps both cores busy; inside a file nothing changes."""
    if config.option.quick:
        slow = [item for item in items if not is_quick(item)]
        items[:] = [item for item in items if is_quick(item)]
        config.hook.pytest_deselected(items=slow)

    def place(item: pytest.Item) -> int:
        return next((number for number, part in enumerate(FIRST) if item.nodeid.startswith(part)), len(FIRST))

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """Let the garbage collector pass by what was collected: it stays to the end, and looking through it takes long."""
    gc.freeze()


# --- what the report says


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    """On CI nothing may be skipped: a part that is missing there is a fault of the install steps."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        app = getattr(item, "funcargs", {}).get("running_app")
        if isinstance(app, App) and app.folder.exists():
            report.sections.append(("processes", app.log()))
    if ON_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped on CI: {reason_of(report)}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end, once a reason, what was not tested here."""
    reasons: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", []):
        reasons[reason_of(report)] = reasons.get(reason_of(report), 0) + 1
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"not tested here ({count}): {reason}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A file that was skipped whole never became a test that could fail."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if ON_CI and reporter is not None and reporter.stats.get("skipped") and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def reason_of(report: Any) -> str:
    """Return why a test was skipped."""
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return str(reason).removeprefix("Skipped: ")

"""The worker's checks of domains against a real name server: on request, daily, and with a resolver that is silent."""

import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from mail.deliverability import checks, requests, senders
from mail.documents.contacts import find_or_make
from mail.queue.lease import WorkerLease
from mail.sentences import say
from mail.settings import config, parameters
from models import DomainReport, Notification, OutgoingServer, ServerCheck, User, db
from scheduler import create_worker_app, domain_checks
from scheduler.checks import Checks
from scheduler.jobs import Job, JobFailed, deliverability
from tests.servers.nameserver import NameServer
from tests.web import share_compiled

NOW = datetime(2026, 11, 28, 5, 0, tzinfo=UTC)
ZONE = """
acme.test. IN TXT "v=spf1 a:smtp.daily.test -all"
acme.test. IN MX 10 mx.acme.test.
_dmarc.acme.test. IN TXT "v=DMARC1; p=reject"
mx.acme.test. IN A 192.0.2.10
smtp.daily.test. IN A 192.0.2.20
20.2.0.192.in-addr.arpa. IN PTR smtp.daily.test.
"""


@pytest.fixture
def zones(name_server: NameServer) -> NameServer:
    name_server.load({"acme.test": ZONE})
    return name_server


def made(database: str, folder: Path, resolver: str) -> Flask:
    env = {"COQUI_DATA": str(folder / "data"), "DATABASE_URL": database, "COQUI_DNS_RESOLVER": resolver}
    app = create_worker_app(config.read(env))
    share_compiled(app)
    with app.app_context():
        if not parameters.CATCHALL_DOMAIN.get().startswith("acme"):
            parameters.put("mail.catchall.domain", "acme.test", NOW)
            db.session.add(OutgoingServer(name="Daily", host="smtp.daily.test", authentication="none"))
            db.session.commit()
    return app


@pytest.fixture
def app(database: str, tmp_path: Path, zones: NameServer) -> Iterator[Flask]:
    app = made(database, tmp_path, zones.address)
    yield app
    with app.app_context():
        db.engine.dispose()


def run(app: Flask, day: int = 0) -> dict[str, int]:
    nothing: Any = None
    job = Job(app, NOW + timedelta(days=day), 86_400, nothing, lambda: False, lambda _counts: None)
    with app.app_context():
        deliverability(job)
    return job.counts


def test_the_daily_check_keeps_what_it_found_and_tells_of_a_change(app, database, zones):
    with app.app_context():
        db.session.add(User(contact=find_or_make("ada@acme.test", "Ada", NOW), email="ada@acme.test", role="admin"))
        db.session.commit()
    assert run(app) == {"domains": 1}
    zones.replace("acme.test", "TXT", ['"v=spf1 -all"'])
    run(app, 1)
    run(app, 2)
    with app.app_context():
        reports = db.session.scalars(select(DomainReport).order_by(DomainReport.id)).all()
        assert [report.report["servers"][0]["spf"]["state"] for report in reports] == ["good", "bad", "bad"]
        assert reports[1].report["spf"]["record"]["value"] == "v=spf1 ip4:192.0.2.20 -all"
        assert ("acme.test", "TXT") in {(one["name"], one["kind"]) for one in reports[1].report["asked"]}
        told = db.session.scalars(select(Notification)).one()
        assert (told.kind, told.why["code"], told.why["values"]["domain"]) == ("notice", "dns_worse", "acme.test")


def test_a_check_on_request_shows_its_steps(app):
    with app.app_context():
        steps = list(domain_checks.steps_of("acme.test", None))
        assert {step.state for step in steps} == {"ok"}
        assert [step.why["code"] for step in steps[-2:]] == ["dns_asked", "dns_checked"]
        asked = sum(step.why["values"]["count"] for step in steps[:-1])
        report = checks.latest("acme.test")
        assert report is not None and len(report.report["asked"]) == asked
        [step] = domain_checks.steps_of("elsewhere.test", None)
        assert (step.state, step.why["code"]) == ("failed", "dns_domain_gone")


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_one_domain_never_keeps_the_others_from_their_check(app, monkeypatch):
    checked: list[str] = []

    def check(name: str, now: datetime) -> DomainReport:
        checked.append(name)
        found = [server.name for server in senders.sending_domain(name).servers]
        if name == "acme.test":  # another process saves a server meanwhile; then something is wrong with this domain
            db.session.add(OutgoingServer(name="late", host="late.test", from_filter="two.test", authentication="none"))
            db.session.commit()
            senders.sending_domains()
            raise ValueError("odd")
        assert found == ["Daily", "Two", "late"]
        return DomainReport(report={"asked": [{"outcome": "found"}]})

    monkeypatch.setattr(checks, "check", check)
    with app.app_context():
        db.session.add(OutgoingServer(name="Two", host="two.test", from_filter="two.test", authentication="none"))
        db.session.commit()
    with pytest.raises(JobFailed) as failed:
        run(app)
    assert checked == ["acme.test", "two.test"] and failed.value.counts == {"failed": 1, "domains": 1}
    assert failed.value.why["code"] == "dns_check_failed" and "(ValueError: odd)" in say(failed.value.why)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_many_changed_domains_do_not_hold_up_the_test_of_a_server(app, monkeypatch):
    nothing: Any = None
    began, ended, go_on = queue.Queue[str](), queue.Queue[str](), threading.Event()

    def run(self: Checks, check_id: int) -> None:
        with app.app_context():
            began.put(db.session.get_one(ServerCheck, check_id).kind)
            db.session.rollback()
        go_on.wait(60)

    monkeypatch.setattr(Checks, "_do", run)
    monkeypatch.setattr(Checks, "_count", lambda self, kind, by: (_count(self, kind, by), by < 0 and ended.put(kind)))
    with app.app_context():
        requests.ask(["a.test", "b.test", "c.test"], NOW)
        requests.ask(["c.test"], NOW)
        db.session.add(ServerCheck(kind="outgoing_test", server_id=1, requested_at=NOW))
        db.session.commit()
        lease = WorkerLease.register(NOW)
        loop = Checks(app, SimpleNamespace(current=lambda: lease, work=lambda **_: nullcontext()), nothing)  # type: ignore[arg-type]
        assert [loop.work() for _ in range(4)] == [True, True, True, False]
        assert sorted(began.get(timeout=60) for _ in range(3)) == ["domain", "domain", "outgoing_test"]
        go_on.set()
        for _ in range(3):
            ended.get(timeout=60)
        assert loop.work() and began.get(timeout=60) == "domain" and not loop.work()
        assert ended.get(timeout=60) == "domain"
        requests.ask(["d.test"], NOW)
        with monkeypatch.context() as full, pytest.raises(RuntimeError):  # the system gives no further thread
            full.setattr(threading.Thread, "start", no_thread)
            loop.work()
        assert not loop.work() and ended.get(timeout=60) == "domain"
        [lost] = db.session.scalars(select(ServerCheck).where(ServerCheck.state == "failed")).all()
        assert (lost.domain, lost.steps[-1]["why"]["code"]) == ("d.test", "check_lost")


def no_thread(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


_count = Checks._count


@pytest.mark.heavy
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_silent_resolver_is_told_apart_from_a_missing_record(app, database, tmp_path, zones):
    run(app)
    silent = made(database, tmp_path, f"127.0.0.1:{nobody_port()}")
    with pytest.raises(JobFailed) as failed:
        run(silent, 1)
    assert (failed.value.why["code"], failed.value.counts) == ("dns_unreachable", {"domains": 1})
    with silent.app_context():
        report = checks.latest("acme.test")
        assert report is not None and (report.state, report.is_silent) == ("unknown", True)
        assert report.standing["spf"] == "good" and not db.session.scalar(select(Notification.id))
        assert all(one["record"] is None for one in (report.report["spf"], report.report["dmarc"]))
        db.engine.dispose()


def nobody_port() -> int:
    """Return a port where nobody listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port

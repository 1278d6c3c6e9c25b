"""A test email whose worker ends, whose database goes away, or that can't be taken: it is sent once or not at all."""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from flask import Flask
from sqlalchemy import select, update
from sqlalchemy.exc import InterfaceError

from mail.decide.advice import advice_for
from mail.errors import NotHandedOver
from mail.outgoing import mail_to_me, tried_once
from mail.queue import lease
from mail.queue.journal import Journal
from mail.sentences import say
from mail.settings.config import settings
from models import (
    Contact,
    OauthAccount,
    OauthProvider,
    OutgoingMail,
    OutgoingServer,
    Quota,
    Recipient,
    ServerCheck,
    User,
    Worker,
    db,
)
from models.outgoing import due_servers
from scheduler import checks, recovery
from scheduler.checks import Checks
from scheduler.identity import WorkerIdentity
from scheduler.loops import NotNow
from tests.integration.mass import add_server
from tests.servers.misbehaving import misbehaving, says

NOW = datetime.now(UTC)


class Killed(BaseException):
    """The worker is no more."""


@pytest.fixture
def office(app: Flask) -> Iterator[Flask]:
    """A server that accepts nothing, and an account."""
    with app.app_context():
        add_server(1, per_day=5, from_filter="office.test")
        contact = Contact(name="Ann", address="ann@office.test", address_key="ann@office.test", created_at=NOW)
        db.session.add(User(contact=contact, email="ann@office.test", password="", role="admin", fs_uniquifier="ann"))
        db.session.commit()
        yield app


def worker() -> WorkerIdentity:
    identity = WorkerIdentity(recovery.recover_claims)
    identity.begin()
    return identity


def send(office: Flask, identity: WorkerIdentity, user_id: int | None = 1) -> ServerCheck:
    """Ask for a test email, and do it as the worker's test thread does."""
    check = ServerCheck(
        kind="outgoing_mail", server_id=1, requested_by_id=user_id, requested_at=datetime.now(UTC), steps=[],
        state="running", worker_id=identity.current().id,
    )  # fmt: skip
    db.session.add(check)
    db.session.commit()
    Checks(office, identity, fetcher=None)._do(check.id)  # type: ignore[arg-type]
    db.session.expire_all()
    return check


def die_and_recover(office: Flask) -> None:
    """Let a worker die while it sends a test email, and another one recover what it held."""
    identity = worker()
    with pytest.raises(Killed):
        send(office, identity)
    db.session.rollback()
    recovery.recover(identity.current().id, datetime.now(UTC))
    db.session.expire_all()


@pytest.mark.parametrize(
    ("words", "state", "reason"),
    [
        ((Journal.begin, Journal.ok), "sent", None),
        ((Journal.begin,), "unknown", "unknown_test_email"),
        ((), "failed", "test_email_lost"),
    ],
    ids=["accepted", "begun", "not begun"],
)
def test_what_a_killed_worker_was_at_is_not_sent_again(
    office: Flask,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[Callable[[Journal, str], None], ...],
    state: str,
    reason: str | None,
) -> None:
    def killed(mail: tried_once.TriedOnce, journal: Journal, _worker: lease.WorkerLease) -> None:
        for word in words:
            word(journal, f"l{mail.line.id}")
        raise Killed

    monkeypatch.setattr(tried_once, "deliver", killed)
    die_and_recover(office)
    line = db.session.scalars(select(Recipient)).one()
    assert (line.state, line.why and line.why["code"]) == (state, reason)
    check = db.session.scalars(select(ServerCheck)).one()
    assert (check.state, check.steps[-1]["why"]["code"]) == ("failed", "mail_to_me_lost")
    assert check.line_id == line.id, "the page leads to the email"
    assert due_servers(datetime.now(UTC)) == []


def test_a_response_that_never_came_leaves_it_to_a_person_at_once(office: Flask) -> None:
    cut = says(b"220 mx.test\r\n", *[b"250 fine\r\n"] * 3, b"354 go on\r\n")  # then it hangs up
    with misbehaving(cut) as port:
        db.session.execute(update(OutgoingServer).values(port=port))
        db.session.commit()
        assert send(office, worker()).steps[-1]["state"] == "failed"
    line = db.session.scalars(select(Recipient)).one()
    assert (line.state, line.doubts, line.why["code"]) == ("unknown", 1, "unknown_test_email")
    assert db.session.scalars(select(Quota.used)).all() == [1], "it may have been accepted"


def test_a_test_email_that_could_not_sign_in_promises_nothing(office: Flask) -> None:
    provider = OauthProvider(kind="google", name="Google", client_id="us")
    account = OauthAccount(provider=provider, address="boss@office.test", state="refused")
    db.session.add(account)
    db.session.flush()
    signs_in = {"authentication": "oauth2", "encryption": "tls", "oauth_account_id": account.id}
    db.session.execute(update(OutgoingServer).values(signs_in))
    db.session.commit()
    said = say(send(office, worker()).steps[-1]["why"])
    line = db.session.scalars(select(Recipient)).one()
    assert (line.state, line.why["code"]) == ("failed", "once_account_ended") and said == say(line.why)
    assert "send another test email" in said and advice_for(line.why).sign_in == "again"


def test_a_test_email_that_was_not_taken_yet_is_sent_by_another_worker(office: Flask, monkeypatch) -> None:
    def killed(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(mail_to_me, "begin", killed)
    die_and_recover(office)
    assert db.session.scalars(select(ServerCheck.state)).all() == ["waiting"]


def test_a_line_is_not_left_when_the_database_goes_away(office: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise InterfaceError("", {}, Exception("connection already closed"), connection_invalidated=True)

    identity = worker()
    with monkeypatch.context() as patched:
        patched.setattr(checks, "_tell", away)
        with pytest.raises(InterfaceError):
            send(office, identity)
    db.session.rollback()
    identity.beat([])
    assert db.session.scalars(select(Recipient.state)).all() == ["failed"]


def test_work_that_is_closed_half_way_is_recovered_like_any_failure(office: Flask) -> None:
    identity = worker()
    with pytest.raises(GeneratorExit), identity.claiming():
        raise GeneratorExit
    with pytest.raises(NotNow), identity.claiming():
        pass


def test_what_can_not_go_leaves_no_journal(office: Flask) -> None:
    identity = worker()
    send(office, identity)  # connections that stay open from now on
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        assert send(office, identity, None).steps[-1]["why"]["code"] == "check_server_gone"
    assert not list(settings().journal_folder.glob("*.check-*.journal"))
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_worker_that_was_declared_dead_queues_nothing(office: Flask) -> None:
    held = worker().current()
    db.session.execute(update(Worker).values(ended=True))
    db.session.commit()
    with pytest.raises(NotHandedOver):
        mail_to_me.begin(1, 1, held)
    db.session.rollback()
    assert db.session.scalars(select(OutgoingMail.id)).all() == []
    assert sum(db.session.scalars(select(Quota.used))) == 0

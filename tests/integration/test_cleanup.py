"""Clean-up: what is old goes, in slices; what somebody still needs, and quarantine, stays."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from mail.maintenance import cleanup
from mail.maintenance.rehearsal import begin
from mail.outgoing.enqueue import OutgoingDraft, To, enqueue
from mail.sentences import why
from mail.settings import parameters, rehearsal
from models import (
    ActionRun,
    Attachment,
    Blob,
    Chunk,
    Contact,
    DeliveryAttempt,
    Event,
    LoginAttempt,
    Mailing,
    Notification,
    OauthAccount,
    OauthProvider,
    OauthSignIn,
    Outage,
    Post,
    PracticeMail,
    ReceivedMail,
    Recipient,
    ScheduledAction,
    ServerCheck,
    Thread,
    User,
    Worker,
    contents,
    db,
)
from models.store import pack
from tests.integration.frontdesk import stored

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def context(app: Flask):
    with app.app_context():
        yield


def clean(now: datetime = NOW) -> dict[str, int]:
    """Clean up completely; returns what was removed."""
    removed: Counter[str] = Counter()
    for counts in cleanup.slices(now):
        removed.update(counts)
    db.session.expire_all()
    return dict(removed)


def days_ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def blob(content: bytes) -> int:
    return Blob.keep([pack(content)])[0]


def received(state: str, days: float, content: bytes) -> ReceivedMail:
    mail = ReceivedMail(
        source="test", source_key=content.decode(), blob_id=blob(content), size=len(content), state=state,
        received_at=days_ago(days),
    )  # fmt: skip
    db.session.add(mail)
    db.session.flush()
    return mail


def sign_in_at(at: datetime) -> OauthSignIn:
    provider = OauthProvider(kind="other", name="x", client_id="x", issuer="https://x.test")
    account = OauthAccount(provider=provider, address="a@x.test")
    return OauthSignIn(account=account, flow="code", state="done", requested_at=at)


def line() -> int:
    enqueue(
        OutgoingDraft(kind="test", author="a@office.test", subject="Hello", html="<p>Hello</p>"), [To("b@x.test")], NOW
    )
    return db.session.scalar(select(Recipient.id))


@pytest.mark.parametrize(
    ("what", "make", "old", "young"),
    [
        ("events", lambda at: Event(at=at, topic="thread:1"), 8, 6),
        ("dialogues", lambda at: DeliveryAttempt(recipient_id=line(), at=at, phase="end", transcript="→ DATA"), 31, 29),
        ("tests", lambda at: ServerCheck(kind="fetch", server_id=1, requested_at=at, state="done"), 31, 29),
        ("sign_ins", lambda at: sign_in_at(at), 31, 29),
        ("log_ins", lambda at: LoginAttempt(key="ann", at=at), 31, 29),
        (
            "practice_mails",
            lambda at: PracticeMail(at=at, recipient="a@x.test", blob_id=blob(b"a mail")),
            366,
            364,
        ),
    ],
)
def test_what_is_old_goes(what: str, make: Any, old: int, young: int) -> None:
    clean()
    gone, kept = make(days_ago(old)), make(days_ago(young))
    db.session.add_all([gone, kept])
    db.session.commit()
    table, kept_id = type(kept), kept.id
    assert clean() == {what: 1}
    assert list(db.session.scalars(select(table.id))) == [kept_id]
    assert clean() == {}


def test_what_the_end_of_a_rehearsal_may_send_for_real_stays() -> None:
    def practice_mail(line_id: int | None = None) -> int:
        db.session.add(
            mail := PracticeMail(at=days_ago(999), recipient="a@x.test", blob_id=blob(b"x"), line_id=line_id)
        )
        db.session.commit()
        return mail.id

    before = practice_mail(1)
    begin(why("rehearsal_by_command"), days_ago(400))
    of_a_mailing, of_a_line = practice_mail(), practice_mail(2)
    last = practice_mail()
    assert clean()["practice_mails"] == 2 and before < of_a_mailing
    assert list(db.session.scalars(select(PracticeMail.id))) == [of_a_line, last]
    rehearsal.turn_off(NOW)
    clean()
    assert list(db.session.scalars(select(PracticeMail.id))) == [last], "its number is not given again"


def test_old_raw_mails_go_and_their_lines_in_the_ledger_stay() -> None:
    states = ("processed", "duplicate", "ignored", "rejected", "quarantined", "received")
    for state in states:
        received(state, 366, b"old " + state.encode())
        received(state, 364, b"young " + state.encode())
    db.session.commit()
    assert clean() == {"raw_mails": 4}
    left = {mail.source_key for mail in db.session.scalars(select(ReceivedMail)) if mail.blob_id}
    assert left == {"old quarantined", "old received", *(f"young {state}" for state in states)}
    assert db.session.scalar(select(func.count(ReceivedMail.id))) == 12
    assert db.session.scalar(select(func.count(Blob.id))) == 8


def test_the_retention_is_a_parameter() -> None:
    received("processed", 3, b"three days old")
    db.session.commit()
    assert clean() == {}
    parameters.put("mail.retention.raw_days", "2", NOW)
    db.session.commit()
    assert clean() == {"raw_mails": 1}


def test_bytes_that_something_else_needs_stay() -> None:
    """The same bytes as a raw mail and as an attachment lie in the table once."""
    received("processed", 366, b"shared")
    thread = Thread()
    db.session.add(thread)
    db.session.flush()
    post = Post(thread_id=thread.id, kind="message", message_key="k", at=NOW)
    post.attachments = [Attachment(name="a", type="text/plain", blob_id=blob(b"shared"), size=6)]
    db.session.add(post)
    blob(b"nobody's")
    db.session.commit()
    assert clean() == {"raw_mails": 1, "contents": 1}
    assert stored(b"shared") is not None
    assert stored(b"nobody's") is None


def test_the_newest_runs_of_each_action_stay() -> None:
    parameters.put("mail.retention.runs", "3", NOW)
    actions = list(db.session.scalars(select(ScheduledAction.id).order_by(ScheduledAction.id)))[:2]
    for action in actions:
        for number in range(5):
            slot = days_ago(10 - number)
            db.session.add(ActionRun(action_id=action, slot=slot, started_at=slot, state="done"))
    db.session.commit()
    assert clean() == {"runs": 4}
    for action in actions:
        slots = db.session.scalars(select(ActionRun.slot).where(ActionRun.action_id == action).order_by(ActionRun.slot))
        assert list(slots) == [days_ago(8), days_ago(7), days_ago(6)]


def test_many_rows_go_slice_by_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleanup, "SLICE", 3)
    monkeypatch.setattr(contents, "AT_ONCE", 12)
    deletions: list[float] = []
    monkeypatch.setattr(contents, "give_way", deletions.append)
    db.session.add_all([Event(at=days_ago(9), topic="t") for _ in range(8)])
    for number in range(8):
        received("quarantined" if number % 2 else "processed", 400, b"mail %d" % number)
    db.session.commit()
    slices = list(cleanup.slices(NOW))
    assert all(sum(counts.values()) <= 3 for counts in slices)
    assert sum(counts.get("events", 0) for counts in slices) == 8
    assert db.session.scalar(select(func.count(Blob.id))) == 4
    assert len(deletions) == 3, "large contents go in transactions of their own: nobody waits long for the lock"
    assert sum(counts.get("raw_mails", 0) for counts in slices) == 4


def test_notices_that_were_read_go_after_a_while() -> None:
    post = Post(thread=Thread(last_post_at=NOW), kind="message", message_key="k", at=NOW)
    user = User(contact=Contact(name="Ann", created_at=NOW), email="ann@x.test", password="", role="user",
                fs_uniquifier="ann")  # fmt: skip
    db.session.add_all([post, user])
    db.session.flush()
    for kind, read_at in (("post", days_ago(91)), ("failure", days_ago(89))):
        db.session.add(Notification(post_id=post.id, user_id=user.id, kind=kind, at=days_ago(95), read_at=read_at))
    db.session.commit()
    assert clean()["notices"] == 1
    assert db.session.scalars(select(Notification.kind)).all() == ["failure"]


def test_chunks_go_once_their_mailing_is_over() -> None:
    for ended_at in (days_ago(31), days_ago(29), None):
        mailing = Mailing(created_at=days_ago(40), ended_at=ended_at, state="done" if ended_at else "sending")
        db.session.add(mailing)
        db.session.flush()
        db.session.add(Chunk(mailing_id=mailing.id, first_id=1, last_id=2, state="done"))
    db.session.commit()
    assert clean()["chunks"] == 1
    assert db.session.scalar(select(func.count()).select_from(Chunk)) == 2


def test_workers_that_ended_long_ago_go_and_what_they_did_stays() -> None:
    rows = [
        Worker(host="h", boot="", pid=1, started_at=days_ago(60), at_work_at=at, seen_at=0.0, ended=ended)
        for at, ended in ((days_ago(31), True), (days_ago(29), True), (days_ago(31), False))
    ]
    db.session.add_all([*rows, Outage(since=days_ago(40), until=days_ago(39)), Outage(since=days_ago(2), until=NOW)])
    db.session.flush()
    mail = received("processed", 1, b"kept")
    mail.worker_id = rows[0].id
    db.session.commit()
    gone, kept = rows[0].id, {row.id for row in rows[1:]}
    removed = clean()
    assert (removed["workers"], removed["outages"]) == (1, 1)
    assert set(db.session.scalars(select(Worker.id))) == kept
    assert gone not in kept
    assert db.session.scalar(select(ReceivedMail.worker_id).where(ReceivedMail.id == mail.id)) is None

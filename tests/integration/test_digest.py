"""The daily digest: who gets one, what it says, and when it is silent."""

import email
import email.policy
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, update

from mail.errors import NotHandedOver
from mail.maintenance import digest
from mail.outgoing import lines
from mail.outgoing.delivery_state import mark_failures
from mail.settings import office, parameters
from models import Notification, OutgoingMail, ReceivedMail, Recipient, User, db, writing
from scheduler import jobs
from tests.integration import test_failure_cards
from tests.web import Visitor, account, words

app, fail = test_failure_cards.app, test_failure_cards.fail
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def failed(app):
    """The message to Gone failed; its author, who lives in Madrid, has not looked at it."""
    fail(app, "failed", "no_such_mailbox")
    with app.app_context():
        db.session.execute(update(User).values(zone="Europe/Madrid"))
        mark_failures(db.session.scalars(select(OutgoingMail.post_id)).all(), NOW - timedelta(hours=1))
        db.session.commit()
    return app


def send(app, at=NOW):
    with app.app_context():
        return list(digest.send_all(at))


def digests(app):
    """Return the digests in the queue as they are sent."""
    with app.app_context():
        office.forget()
        found = db.session.scalars(
            select(Recipient.id).join(OutgoingMail).where(OutgoingMail.kind == "digest").order_by(Recipient.id)
        )
        return [email.message_from_bytes(lines.whole_mail(line), policy=email.policy.default) for line in found]


def test_an_author_is_told_once_what_the_red_envelope_says(failed):
    assert send(failed) == [1] and send(failed, NOW + timedelta(days=1)) == []
    (mail,) = digests(failed)
    assert mail["To"].addresses[0].addr_spec == "user@home.test" and mail["Auto-Submitted"] == "auto-generated"
    assert mail["Subject"] == "1 of your emails needs your attention"
    html = mail.get_body(("html",)).get_content()
    for said in (words(html), " ".join(mail.get_body(("plain",)).get_content().split())):
        assert "gone@x.test" in said and "550 no" in said and "Who can fix this: you" in said
        assert "Madrid" in said and "“Hello”" in said and "My account" in said
    assert 'href="http://office.example/document/1#post-' in html and 'href="http://office.example/inbox"' in html


def test_times_are_those_of_the_reader(failed):
    with failed.app_context():
        at = datetime(2026, 7, 1, 21, 30, tzinfo=UTC)
        db.session.execute(update(Notification).values(at=at))
        db.session.commit()
    send(failed, at + timedelta(hours=1))
    assert "Jul 1, 2026, 11:30:00" in words(digests(failed)[0].get_body(("html",)).get_content()).replace("\u202f", " ")


@pytest.mark.parametrize(
    "change",
    [
        update(Recipient).values(state="sent"),
        update(Recipient).values(state="queued"),
        update(Notification).values(read_at=NOW),
        update(User).values(digest=False),
        update(User).values(active=False),
        update(Notification).values(told_at=NOW),
        update(Notification).values(at=NOW - timedelta(days=3)),
    ],
)
def test_nothing_is_sent_when_there_is_nothing_to_say(failed, change):
    with failed.app_context():
        db.session.execute(change)
        db.session.commit()
    assert send(failed) == [] and digests(failed) == []


def test_a_digest_is_never_about_a_digest(failed):
    send(failed)
    with failed.app_context():
        db.session.execute(update(Notification).values(read_at=NOW))
        db.session.execute(update(Recipient).values(state="failed"))
        db.session.commit()
    assert send(failed, NOW + timedelta(days=1)) == []


def test_a_failure_that_comes_later_is_told_again(failed):
    send(failed)
    with failed.app_context():
        mark_failures(db.session.scalars(select(Notification.post_id)).all(), NOW + timedelta(hours=2))
        db.session.commit()
    assert send(failed, NOW + timedelta(days=1)) == [1] and send(failed, NOW + timedelta(days=2)) == []


def test_a_failure_from_after_the_run_began_is_told_once(failed):
    with failed.app_context():
        db.session.execute(update(Notification).values(at=NOW + timedelta(minutes=1)))
        db.session.commit()
    assert send(failed) == [1] and send(failed, NOW + timedelta(days=1)) == []


@pytest.mark.parametrize("hours", [-25, 0.5], ids=["stamped before the last digest", "after it"])
def test_every_failure_is_told_and_none_twice(failed, hours):
    """What decides is what was told, not the time: transactions end in another order than their stamps."""
    send(failed)
    write_again(failed, NOW + timedelta(hours=hours))
    fail(failed, "failed", "mailbox_full")
    assert send(failed, NOW + timedelta(days=1)) == [1] and send(failed, NOW + timedelta(days=2)) == []
    said = words(digests(failed)[1].get_body(("html",)).get_content())
    assert "“Again”" in said and "“Hello”" not in said


def test_a_failure_noted_anew_while_the_digest_is_made_is_told_the_next_day(failed, monkeypatch):
    """It was read with another time: the digest that is sent knows nothing of the second recipient."""
    prepare = digest.enqueue.prepare

    def meanwhile(*given):
        ready = prepare(*given)
        db.session.rollback()
        with writing():
            mark_failures(db.session.scalars(select(Notification.post_id)).all(), NOW)
            db.session.commit()
        return ready

    monkeypatch.setattr(digest.enqueue, "prepare", meanwhile)
    assert send(failed) == [1]
    monkeypatch.undo()
    assert send(failed, NOW + timedelta(days=1)) == [1] and send(failed, NOW + timedelta(days=2)) == []


def test_more_than_one_digest_can_tell_are_counted_and_told_the_next_day(failed, monkeypatch):
    monkeypatch.setattr(digest, "MOST_TOLD", 1)
    write_again(failed, NOW - timedelta(minutes=30))
    fail(failed, "failed", "mailbox_full")
    assert send(failed) == [1] and send(failed, NOW + timedelta(days=1)) == [1]
    assert send(failed, NOW + timedelta(days=2)) == []
    first, second = digests(failed)
    said = words(first.get_body(("html",)).get_content())
    assert first["Subject"] == "2 of your emails need your attention" and "“Again”" in said
    assert "1 more is in your inbox." in said and "“Hello”" in words(second.get_body(("html",)).get_content())


@pytest.mark.parametrize(("state", "older"), [("failed", 1), ("unknown", 1), ("sent", 0), ("queued", 0)])
def test_what_was_settled_is_no_older_failure(failed, state, older):
    """ "It arrived" and a second try that went well leave the entry in the inbox unread."""
    send(failed)
    write_again(failed, NOW)
    fail(failed, "failed", "mailbox_full")
    with failed.app_context():
        hello = select(OutgoingMail.id).where(OutgoingMail.post_id.is_not(None)).order_by(OutgoingMail.id).limit(1)
        db.session.execute(update(Recipient).where(Recipient.mail_id == hello.scalar_subquery()).values(state=state))
        db.session.commit()
    assert send(failed, NOW + timedelta(days=1)) == [1]
    assert ("older failure" in words(digests(failed)[1].get_body(("html",)).get_content())) is bool(older)


def test_a_digest_that_can_not_be_sent_tells_nothing_and_its_run_says_why(failed):
    """With no address of the office to write from; the next one tells it all."""
    with failed.app_context():
        parameters.put(parameters.CATCHALL_DOMAIN.key, "", NOW)
        db.session.commit()
        office.forget()
        job = jobs.Job(failed, NOW, 86_400, fetcher=None, stopping=lambda: False, report=lambda counts: None)
        with pytest.raises(NotHandedOver) as refused:
            jobs.JOBS["digest"](job)
        assert refused.value.why["code"] == "from_missing"
        db.session.rollback()
        parameters.put(parameters.CATCHALL_DOMAIN.key, "office.test", NOW)
        db.session.commit()
    assert digests(failed) == []
    assert send(failed, NOW + timedelta(days=1)) == [1]


def write_again(app, at):
    """Another message of the author, which failed at this time."""
    Visitor(app).as_role("marketing").post(
        "/document/1/posts", {"words": "Again", "kind": "message"}, content_type="multipart/form-data"
    )
    with app.app_context():
        post = db.session.scalar(select(func.max(OutgoingMail.post_id)))
        db.session.add(Notification(post_id=post, user_id=1, kind="failure", at=at))
        db.session.commit()


def test_older_failures_are_counted(failed):
    send(failed)
    write_again(failed, NOW)
    fail(failed, "failed", "mailbox_full")
    assert send(failed, NOW + timedelta(days=1)) == [1]
    said = words(digests(failed)[1].get_body(("html",)).get_content())
    assert "“Again”" in said and "“Hello”" not in said and "1 older failure is still unread in your inbox." in said


def test_an_administrator_is_told_daily_what_is_in_quarantine_until_nothing_is(pages):
    Visitor(pages).as_role("admin")
    Visitor(pages).as_role("marketing")
    with pages.app_context():
        for number in range(2):
            row = ReceivedMail(source="t", source_key=str(number), size=1, state="quarantined", received_at=NOW)
            db.session.add(row)
        db.session.commit()
    assert send(pages, NOW + timedelta(hours=1)) == [1] == send(pages, NOW + timedelta(days=1))
    with pages.app_context():
        db.session.execute(update(ReceivedMail).values(state="ignored"))
        db.session.commit()
    assert send(pages, NOW + timedelta(days=2)) == []
    mail, again = digests(pages)
    assert mail["Subject"] == again["Subject"] == "2 emails are in quarantine" and "admin@home.test" in mail["To"]
    html = mail.get_body(("html",)).get_content()
    assert "/admin/received-mails/?state=quarantined" in html and "did not reach" not in html


def test_what_one_account_can_not_be_told_keeps_nobody_else_from_theirs(pages):
    Visitor(pages).as_role("admin")
    account(pages, "admin", "second@home.test")
    with pages.app_context():
        db.session.execute(update(User).where(User.id == 1).values(language="no such"))
        db.session.add(ReceivedMail(source="t", source_key="1", size=1, state="quarantined", received_at=NOW))
        db.session.commit()
        job = jobs.Job(pages, NOW, 86_400, fetcher=None, stopping=lambda: False, report=lambda counts: None)
        with pytest.raises(ValueError):
            jobs.JOBS["digest"](job)
    assert job.counts == {"mails": 1} and "second@home.test" in digests(pages)[0]["To"]


def test_links_that_lead_nowhere_are_left_out(failed):
    with failed.app_context():
        parameters.put(parameters.BASE_URL.key, "http://localhost:8000", NOW)
        db.session.commit()
    send(failed)
    html = digests(failed)[0].get_body(("html",)).get_content()
    assert "href" not in html and "localhost" not in html and "gone@x.test" in html


def test_many_failures_are_cut_with_a_count(failed, monkeypatch):
    monkeypatch.setattr(digest, "MOST_POSTS", 0)
    send(failed)
    assert "1 more is in your inbox." in words(digests(failed)[0].get_body(("html",)).get_content())


def test_everybody_can_turn_it_off(failed):
    clerk = Visitor(failed).as_role("marketing")
    assert "Daily digest" in words(clerk.get("/account"))
    clerk.post("/account", {"name": "Mary", "zone": "UTC", "notify": "mail"})
    with failed.app_context():
        assert db.session.scalar(select(User.digest).where(User.role == "marketing")) is False

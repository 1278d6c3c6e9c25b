"""The practice mailbox: the whole loop of mail with no mail account, by the real worker and the real pipeline."""

import html
import smtplib
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.exc import TimeoutError

from mail.documents.contacts import find_or_make
from mail.documents.posts import post_from_browser
from mail.errors import InvalidAddress
from mail.maintenance import practice
from models import BlacklistedAddress, Bounce, Document, Post, PracticeMail, ReceivedMail, Recipient, User, db
from scheduler.practice import Receiver
from tests.office import Office
from tests.servers.app import App
from tests.waiting import wait_until
from tests.web import Visitor, words

SALES = "sales@office.test"
NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.fixture
def office(running_app: App) -> Iterator[Office]:
    made = Office(running_app)
    made.worker()
    yield made
    made.close()


def clerk() -> User:
    """A user of the office, made as create-user makes one."""
    contact = find_or_make("clerk@home.test", "Clerk", datetime.now(UTC))
    user = User(contact=contact, email="clerk@home.test", role="user", fs_uniquifier=uuid.uuid4().hex)
    db.session.add(user)
    db.session.flush()
    return user


def writes_to_sales(office: Office, subject: str = "Ten chairs") -> int:
    """A customer writes to the office; returns the thread of the opportunity that opens."""
    before = len(documents(office))
    with office.context():
        practice.write_new("Ann Customer <ann@customer.test>", SALES, subject, "I need ten chairs.", datetime.now(UTC))
    wait_until(lambda: len(documents(office)) > before)
    return documents(office)[-1].thread_id


def documents(office: Office) -> list[Document]:
    with office.looking():
        return list(db.session.scalars(select(Document).order_by(Document.id)))


def answers(office: Office, thread_id: int, html: str = "<p>With pleasure.</p>") -> None:
    """A user answers in the chatter."""
    with office.context():
        user = db.session.scalar(select(User)) or clerk()
        db.session.commit()
        post_from_browser(user, thread_id, html, "message", [], datetime.now(UTC))


def mails(office: Office) -> list[PracticeMail]:
    with office.looking():
        return list(db.session.scalars(select(PracticeMail).order_by(PracticeMail.id)))


def posts(office: Office, thread_id: int) -> list[Post]:
    with office.looking():
        return list(db.session.scalars(select(Post).where(Post.thread_id == thread_id).order_by(Post.id)))


def test_the_loop_with_no_mail_account(office: Office) -> None:
    thread_id = writes_to_sales(office)
    answers(office, thread_id)
    mail = wait_until(lambda: mails(office))[0]
    assert (mail.recipient, mail.envelope_sender) == ("ann@customer.test", "bounce@office.test")
    with office.context():
        message = practice.read(mail)
        assert str(message.from_) == '"Clerk" <notifications@office.test>'
        assert message.fields["reply-to"][0].endswith(f"<{SALES}>")
        practice.answer(mail.id, "Thank you!\nAnn", datetime.now(UTC))
    wait_until(lambda: len([post for post in posts(office, thread_id) if post.kind == "message"]) == 3)
    reply = posts(office, thread_id)[-1]
    with office.looking():
        reply = db.session.get(Post, reply.id)
        assert reply is not None and reply.author is not None
        assert (reply.author.name, reply.author.address) == ("Ann Customer", "ann@customer.test")
        assert reply.fold_at is not None, "what it quotes is folded"
    relayed = wait_until(lambda: mails(office)[1:])
    assert [mail.recipient for mail in relayed] == ["clerk@home.test"], "to the other follower, not to its author"
    assert len(documents(office)) == 1
    assert mails(office)[0].answered_at is not None


def test_a_bounce_paints_the_envelope_red(office: Office) -> None:
    thread_id = writes_to_sales(office)
    answers(office, thread_id)
    mail = wait_until(lambda: mails(office))[0]
    with office.context():
        practice.act(mail.id, "bounce", datetime.now(UTC))
    wait_until(lambda: office.states() == {"ann@customer.test": "bounced"})
    with office.looking():
        bounce = db.session.scalar(select(Bounce))
        assert bounce is not None and (bounce.kind, bounce.status) == ("hard", "5.1.1")
        assert db.session.scalar(select(Document.failure_unread))
        assert mails(office)[0].bounced_at is not None


@pytest.mark.parametrize(
    ("address", "state", "wait", "code", "enhanced"),
    [
        ("refuse-550@customer.test", "failed", "", 550, "5.1.1"),
        ("refuse-450@customer.test", "queued", "retry", 450, "4.2.0"),
        ("REFUSE-452+tag@customer.test", "queued", "retry", 452, "4.2.0"),
        ("refuse-5500@customer.test", "sent", "", 250, "2.0.0"),
        ("refused@customer.test", "sent", "", 250, "2.0.0"),
    ],
)
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_the_address_chooses_the_answer(
    office: Office, address: str, state: str, wait: str, code: int, enhanced: str
) -> None:
    office.mail(address)
    line = wait_until(lambda: tried(office))
    assert (line.state, line.wait, line.code, line.enhanced) == (state, wait, code, enhanced)
    assert [mail.recipient for mail in mails(office)] == ([address] if state == "sent" else [])


def tried(office: Office) -> Recipient | None:
    with office.looking():
        return db.session.scalar(select(Recipient).where(Recipient.code.is_not(None)))


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_addresses_that_can_not_be_used_are_refused_before_anything_is_sent(office: Office) -> None:
    with office.context():
        for sender, to in (("nobody", SALES), ("ann@x.test", "sales"), ("", "")):
            with pytest.raises(InvalidAddress):
                practice.write_new(sender, to, "Hello", "Hello", datetime.now(UTC))
        practice.write_new('"A\r\nBcc: x@y.test" <ann@x.test>', SALES, "One\r\nBcc: x@y.test", "Hi", datetime.now(UTC))
    mail = wait_until(lambda: received(office))[0]
    assert mail.subject == "One Bcc: x@y.test"


@pytest.mark.parametrize("to", ["sales@office.test, support@office.test", "sales@office.test; support@office.test"])
def test_no_recipient_is_dropped_without_a_word(pages: Flask, admin: Visitor, to: str) -> None:
    given = {"from": "Bob <bob@x.test>", "to": to, "subject": "My subject", "words": "My words"}
    answer = admin.post("/practice/write", given)
    assert "Not sent: enter one sender and one recipient" in words(answer)
    assert all(html.escape(text) in answer.text for text in given.values())
    with pages.app_context():
        assert db.session.scalar(select(ReceivedMail.id)) is None


def received(office: Office) -> list[ReceivedMail]:
    with office.looking():
        return list(db.session.scalars(select(ReceivedMail).where(ReceivedMail.state != "received")))


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_mail_is_accepted_only_once_it_is_stored(app, monkeypatch) -> None:
    """The receiver alone, with a database that has no connection left, and one that has lost its table."""

    heard: list[int | None] = []
    monkeypatch.setattr("scheduler.practice.practice_listens_at", heard.append)
    ended = threading.Event()
    receiver = threading.Thread(target=Receiver(app, ended).work)
    receiver.start()
    try:
        port = wait_until(lambda: heard and heard[0])
        store = practice.store
        monkeypatch.setattr(practice, "store", lambda *_: (_ for _ in ()).throw(TimeoutError("QueuePool limit")))
        with smtplib.SMTP("127.0.0.1", port) as client:
            for _ in range(2):
                with pytest.raises(smtplib.SMTPDataError) as refused:
                    client.sendmail("a@x.test", ["b@x.test"], b"Subject: Hello\r\n\r\nHello\r\n")
                assert refused.value.smtp_code == 451
                monkeypatch.setattr(practice, "store", store)
                with app.app_context():
                    PracticeMail.__table__.drop(db.engine, checkfirst=True)
    finally:
        ended.set()
        receiver.join(60)
    assert heard[-1] is None
    assert not receiver.is_alive()


def opened_by(office: Office, address: str) -> int:
    """Somebody with this address writes to the office, and a user replies; returns the thread."""
    before = len(documents(office))
    with office.context():
        practice.write_new(address, SALES, f"Chairs for {address}", "I need ten chairs.", datetime.now(UTC))
    wait_until(lambda: len(documents(office)) > before)
    thread_id = documents(office)[-1].thread_id
    answers(office, thread_id)
    return thread_id


@pytest.mark.heavy
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_an_address_says_what_comes_back(office: Office) -> None:
    """Each by the real pipeline: what a bounce, a warning, a complaint and an absence note change, and what not."""
    wanted = {"bounce": "hard", "full": "full", "blocked": "blocked", "odd-bounce": "hard", "delay": "delay"}
    others = ("complaint", "out-of-office")
    threads = {what: opened_by(office, f"{what}@customer.test") for what in (*wanted, *others)}
    wait_until(lambda: len(received(office)) == 2 * len(threads))
    with office.looking():
        kinds = {(one.address_key or "").partition("@")[0]: one.kind for one in db.session.scalars(select(Bounce))}
        assert kinds == wanted | {"complaint": "complaint"}
        assert list(db.session.scalars(select(BlacklistedAddress.address_key))) == ["complaint@customer.test"]
    wait_until(lambda: "sending" not in office.states().values())
    red = {address.partition("@")[0] for address, state in office.states().items() if state == "bounced"}
    assert red == set(wanted) - {"delay"}
    absence = posts(office, threads["out-of-office"])[-1]
    assert (absence.kind, absence.author_address) == ("auto", "out-of-office@customer.test")
    assert {mail.recipient for mail in mails(office)} == {f"{what}@customer.test" for what in threads}, "nothing more"


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_slow_recipient_keeps_nobody_waiting(office: Office) -> None:
    office.mail("slow-60s@customer.test")
    wait_until(lambda: office.states() == {"slow-60s@customer.test": "sending"})
    office.mail("ann@customer.test")
    wait_until(lambda: office.states()["ann@customer.test"] == "sent")
    assert office.states()["slow-60s@customer.test"] == "sending"


def test_an_email_that_nobody_reports_about(app: Flask) -> None:
    with app.app_context():
        (number,) = practice.store("", ["ann@x.test"], b"From: a@office.test\r\nSubject: Hello\r\n\r\nHi", NOW)
        db.session.commit()
        assert not practice.act(number, "bounce", NOW)
        assert db.session.scalar(select(ReceivedMail.id)) is None
        assert practice.act(number, "out-of-office", NOW), "somebody on holiday replies to the From"

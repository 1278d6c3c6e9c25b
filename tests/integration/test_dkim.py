"""Signatures on what really leaves, verified by dkimpy and by Debian's opendkim, and how a key gets there."""

import re
import smtplib
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, text, update

from mail.decide.sender_proof import name_in, prove
from mail.deliverability import own_keys, signing_keys
from mail.dns_answers import DnsAnswer
from mail.errors import ChangeRefused, SigningKeyUnreadable
from mail.mailing import mailing
from mail.message.compose import File
from mail.message.parse import parse
from mail.outgoing import deliver, enqueue
from mail.outgoing.enqueue import OutgoingDraft, To
from mail.outgoing.waiting import free_unsigned, hand_back
from mail.queue.connections import Connections
from mail.queue.journal import Journal
from mail.queue.lease import WorkerLease
from mail.sentences import say
from mail.settings import office, parameters
from mail.settings import signing as signing_settings
from mail.settings.config import settings
from mail.transport.dns import Resolver
from models import Contact, DeliveryAttempt, DkimKeyPair, Notification, Recipient, User, db
from tests.conftest import started
from tests.integration.frontdesk import steady_worker
from tests.integration.mass import HTML, Sender, add_contacts, add_server, draft, mailing_of, states
from tests.servers.certificates import Authority
from tests.servers.postfix import Postfix
from tests.servers.process import HOST
from tests.signatures import OpenDkim, known_key, opendkim, signatures_of, verified

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
DOMAIN = "mycompany.test"
KEYS = {algorithm: known_key(algorithm, DOMAIN, f"{algorithm}1") for algorithm in ("rsa", "ed25519")}
NEXT = known_key("rsa", DOMAIN, "rsa2")
RECORDS = {name: record for key in (*KEYS.values(), NEXT) for name, record in key.records.items()}


@pytest.fixture(autouse=True)
def read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing_settings, "READ_AGAIN", -1.0)


@pytest.fixture
def context(app: Flask) -> Iterator[Flask]:
    with app.app_context():
        parameters.put("mail.catchall.domain", DOMAIN, NOW)
        db.session.commit()
        yield app


@pytest.fixture(scope="module")
def checked() -> Iterator[OpenDkim]:
    with ExitStack() as stack:
        yield started(lambda: stack.enter_context(opendkim(RECORDS)))


@pytest.fixture(scope="module")
def _checking(authority: Authority, checked: OpenDkim) -> Iterator[Postfix]:
    server = started(lambda: Postfix(authority, "mx3.receiver.test", checked.settings))
    yield server
    server.close()


@pytest.fixture
def checking(_checking: Postfix) -> Iterator[Postfix]:
    """A receiving server that has the signatures of every email checked, and writes down what it found."""
    yield _checking
    _checking.forget()


def add_key(key, state: str = "signing") -> DkimKeyPair:
    signing = key.signing
    row = DkimKeyPair(
        domain=signing.domain, selector=signing.selector, algorithm=signing.algorithm, private_key=key.private,
        public_key=key.public, state=state, created_at=NOW, check_at=NOW,
    )  # fmt: skip
    db.session.add(row)
    db.session.commit()
    office.forget()
    return row


def relay(postfix: Postfix, **values: str) -> None:
    add_server(postfix.port, **values)
    db.session.commit()


def send_posts(worker: WorkerLease) -> None:
    with (
        Connections() as connections,
        Journal.open(settings().journal_folder, worker.id, "one") as journal,
    ):
        while deliver.send_some(worker, connections, journal):
            pass


def post(number: int, **parts) -> OutgoingDraft:
    given = {"author": '"Jürgen Groß" <sales@mycompany.test>', "subject": f"Message {number}", "html": "<p>Hello</p>"}
    return OutgoingDraft(kind="post", **given | parts)


POSTS = [
    post(1),
    post(2, subject="Grüße  aus   Köln " * 6, html="<p>Größe: 10 m² </p>\n" * 30, references=["<a@x>", "<b@x>"]),
    post(3, text=".\n..\n. dots\n\n\n", html=""),
    post(4, text="x" * 3000 + " y  \t z  \nFrom me\n", html=""),
    post(5, files=[File("Prüfung.pdf", "application/pdf", bytes(range(256)) * 300)]),
    post(6, author="ann@news.mycompany.test", auto_submitted="auto-generated"),
]


def received(postfix: Postfix, address: str) -> bytes:
    """Return the email of a recipient as Postfix filed it, with the line ends of the wire."""
    return re.sub(rb"\r?\n", b"\r\n", postfix.wait_for(address)[0].raw)


def assert_verified(milter: OpenDkim, mails: list[bytes], count: int = 2, by: str = "") -> None:
    """Both verifiers take all signatures, and there are as many as there should be."""
    for mail in mails:
        assert verified(mail, RECORDS) == [True] * count, mail[:3000].decode("utf-8", "replace")
        assert mail.count(f"\r\n s={by}".encode()) >= bool(by)
        assert milter.results(mail) == ["pass"] * count, mail[:3000].decode("utf-8", "replace")


def test_posts_and_mailings_verify_as_they_arrive(context: Flask, checking: Postfix, checked: OpenDkim) -> None:
    for key in KEYS.values():
        add_key(key)
    relay(checking, headers="X-Tag: spring")
    for number, one in enumerate(POSTS, 1):
        enqueue.enqueue(one, [To(f"r{number}@example.com", "Ann  Lee"), To(f"s{number}@example.com")], NOW)
    send_posts(steady_worker(NOW))
    mails = [received(checking, f"r{number}@example.com") for number in range(1, len(POSTS) + 1)]
    mails += [received(checking, "s5@example.com")]
    attempt = db.session.scalars(select(DeliveryAttempt)).first()
    assert attempt is not None and attempt.signed == f"rsa1._domainkey.{DOMAIN}, ed255191._domainkey.{DOMAIN}"

    id = draft(add_contacts(30, name=lambda number: ("Jürgen  Groß", "", "O'Brien .")[number % 3]), html=HTML)
    mailing.send(id, NOW)
    db.session.commit()
    sender = Sender(context)
    sender.until_idle()
    assert states(id) == {"sent": 30} and sender.connections.signing._idle[0].works
    mails += [received(checking, f"r{number}@example.test") for number in (0, 1, 2, 17, 29)]
    assert all(b"List-Unsubscribe-Post:List-Unsubscribe:" in mail.replace(b"\r\n ", b"") for mail in mails[-5:])
    sender.close()
    assert_verified(checked, mails)
    assert_believed(checking, mails[0])


def assert_believed(postfix: Postfix, mail: bytes) -> None:
    """What the receiving server found out is believed, and what a forger writes in its name is not."""
    assert name_in(mail) == postfix.name
    assert prove(parse(mail, NOW), postfix.name).state == "verified"
    forged = (
        f"Authentication-Results: {postfix.name}; dkim=pass header.d={DOMAIN}; dmarc=pass\r\n"
        f"Received: from mx.test by {postfix.name}\r\nFrom: sales@{DOMAIN}\r\nTo: f@example.com\r\n\r\nPay at once."
    )
    with smtplib.SMTP(HOST, postfix.port) as client:
        client.sendmail("eve@evil.test", ["f@example.com"], forged.encode())
    assert prove(parse(received(postfix, "f@example.com"), NOW), postfix.name).state != "verified"


def test_a_new_key_takes_over_and_emails_verify_before_and_after(
    context: Flask, checking: Postfix, checked: OpenDkim
) -> None:
    add_key(KEYS["rsa"])
    relay(checking)
    worker = steady_worker(NOW)
    enqueue.enqueue(post(1), [To("before@example.com")], NOW)
    send_posts(worker)
    row = add_key(NEXT, "new")
    enqueue.enqueue(post(2), [To("meanwhile@example.com")], NOW)
    send_posts(worker)
    signing_keys._note_seen(row, own_keys.keys_of(DOMAIN), NOW)
    db.session.commit()
    enqueue.enqueue(post(3), [To("after@example.com")], NOW)
    send_posts(worker)
    assert_verified(checked, [received(checking, f"{when}@example.com") for when in ("before", "meanwhile")], 1, "rsa1")
    assert_verified(checked, [received(checking, "after@example.com")], 1, "rsa2")
    old, new = own_keys.keys_of(DOMAIN)
    assert (old.state, new.state) == ("retired", "signing")
    assert signing_keys.removable_at(old) == NOW + timedelta(days=7)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"dkim": "server"}, "“relay” signs emails itself"),
        ({"dkim": "ours"}, "signed for mycompany.test"),
        ({}, "signed for mycompany.test"),
    ],
)
def test_who_signs_is_chosen_for_each_server(context: Flask, postfix: Postfix, values, reason) -> None:
    add_key(KEYS["ed25519"])
    relay(postfix, **values)
    mail = enqueue.enqueue(post(1), [To("ann@example.com")], NOW)
    assert any(reason in say(step) for step in mail.decision["steps"])
    send_posts(steady_worker(NOW))
    assert signatures_of(received(postfix, "ann@example.com")) == (values.get("dkim") != "server")


def test_without_a_key_that_can_be_read_emails_wait_and_others_go(
    context: Flask, checking: Postfix, checked: OpenDkim, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_key(KEYS["ed25519"])
    relay(checking, from_filter=f"{DOMAIN}, second.test")
    id = draft(add_contacts(2))
    mailing.send(id, NOW)
    db.session.commit()
    enqueue.enqueue(post(1), [To("ann@example.com"), *[To(f"p{number}@example.com") for number in range(12)]], NOW)
    enqueue.enqueue(post(2, author="info@second.test"), [To("bob@example.com")], NOW)
    stored = db.session.execute(text("SELECT private_key FROM dkim_key")).scalar_one()
    db.session.execute(text("UPDATE dkim_key SET private_key = 'stored under another key'"))
    db.session.commit()
    worker = steady_worker(NOW)
    backs = []
    monkeypatch.setattr(deliver, "hand_back", lambda ids, *more: backs.append(len(ids)) or hand_back(ids, *more))
    send_posts(worker)
    assert [count for count in backs if count] == [13], "all of a batch go back in one transaction"
    sender = Sender(context)
    sender.until_idle()
    lines = {line.address: line for line in db.session.scalars(select(Recipient))}
    assert lines["bob@example.com"].state == "sent"
    waiting = lines["ann@example.com"]
    assert (waiting.state, waiting.wait, waiting.attempts) == ("queued", "retry", 0)
    assert "COQUI_SECRET_KEY" in say(waiting.why)
    assert len({line.next_try_at for line in lines.values() if line.state == "queued"}) == 1
    row = mailing_of(id)
    assert row.state == "paused" and states(id) == {"queued": 2} and "COQUI_SECRET_KEY" in say(row.why)

    free_unsigned("elsewhere.test", NOW)
    assert waiting.next_try_at > NOW + timedelta(minutes=1)
    free_unsigned(DOMAIN, NOW)
    assert waiting.next_try_at == NOW + timedelta(seconds=3)
    db.session.execute(text("UPDATE dkim_key SET private_key = :stored"), {"stored": stored})
    db.session.execute(update(Recipient).values(next_try_at=NOW))
    db.session.commit()
    mailing.resume(id, sender.clock())
    db.session.commit()
    send_posts(worker)
    sender.clock.move(minutes=2)
    sender.until_idle()
    assert states(id) == {"sent": 2}
    sender.close()
    assert_verified(checked, [received(checking, address) for address in ("ann@example.com", "r0@example.test")], 1)


def test_a_key_that_is_gone_stops_nothing(context: Flask, postfix: Postfix) -> None:
    add_key(KEYS["ed25519"])
    relay(postfix)
    enqueue.enqueue(post(1), [To("ann@example.com")], NOW)
    db.session.execute(text("DELETE FROM dkim_key"))
    db.session.commit()
    send_posts(steady_worker(NOW))
    assert signatures_of(received(postfix, "ann@example.com")) == 0
    assert db.session.scalars(select(DeliveryAttempt.signed)).one() == ""


def test_admins_are_told_once_when_an_old_record_may_go(context: Flask) -> None:
    ada = Contact(name="Ada", address="ada@home.net", address_key="ada@home.net")
    db.session.add(ada)
    db.session.flush()
    db.session.add(User(email="ada@home.net", role="admin", contact_id=ada.id))
    add_key(KEYS["rsa"])
    successor = add_key(NEXT, "new")
    signing_keys._note_seen(successor, own_keys.keys_of(DOMAIN), NOW)
    db.session.commit()
    old, new = own_keys.keys_of(DOMAIN)
    db.session.execute(update(DkimKeyPair).where(DkimKeyPair.id == new.id).values(check_at=None))
    db.session.commit()
    told = []
    for days in (6, 7, 8, 9):
        moment = NOW + timedelta(days=days)
        while (key_id := signing_keys.take_due(moment)) is not None:
            assert key_id == old.id
            signing_keys.look(key_id, moment)
        told.append([say(why) for why in db.session.scalars(select(Notification.why))])
    words = f"An old key of {DOMAIN} is no longer needed. Delete its record rsa1._domainkey.{DOMAIN} in DNS"
    assert told[0] == [] and all(len(said) == 1 and said[0].startswith(words) for said in told[1:])


# --- the way of a key


def test_a_key_signs_only_after_its_record_was_seen(context: Flask) -> None:
    key = signing_keys.create(DOMAIN, "rsa", NOW)
    db.session.commit()
    stored = db.session.execute(text("SELECT private_key FROM dkim_key")).scalar_one()
    assert stored.startswith("gAAAA") and key.private_key not in repr(key)
    with pytest.raises(ChangeRefused, match="is not in the DNS of"):
        signing_keys.start(DOMAIN, NOW)
    with pytest.raises(ChangeRefused, match="already waits for its record"):
        signing_keys.create(DOMAIN, "rsa", NOW)
    assert office.load().office.signing == frozenset() and not own_keys.keys_in_use(DOMAIN)
    signing_keys._note_seen(key, [key], NOW)
    signing_keys.start(DOMAIN, NOW)
    db.session.commit()
    assert own_keys.keys_in_use(f"news.{DOMAIN}")[0].selector == key.selector
    with pytest.raises(ChangeRefused, match="Stop signing before you remove it"):
        signing_keys.remove(key, NOW)
    signing_keys.stop(DOMAIN, NOW)
    db.session.commit()
    db.session.execute(text("UPDATE dkim_key SET private_key = 'stored under another key'"))
    db.session.commit()
    with pytest.raises(ChangeRefused, match="can't be read"):
        signing_keys.start(DOMAIN, NOW)


@pytest.mark.parametrize("is_lost", [False, True])
def test_the_record_of_a_key_that_was_stopped_is_needed_for_a_week(context: Flask, is_lost: bool) -> None:
    key = add_key(KEYS["rsa"], "signing")
    if is_lost:
        db.session.execute(text("UPDATE dkim_key SET private_key = 'stored under another key'"))
        db.session.commit()
    signing_keys.stop(DOMAIN, NOW)
    db.session.commit()
    assert key.state == ("retired" if is_lost else "ready"), "what can't be read is never used again"
    with pytest.raises(ChangeRefused, match=r"may still be on their way.* until Nov 29, 2026"):
        signing_keys.remove(key, NOW + timedelta(days=6))
    signing_keys.remove(key, NOW + timedelta(days=7))
    db.session.commit()
    assert not own_keys.keys_of(DOMAIN)


def test_a_key_that_has_just_taken_over_is_not_removed(context: Flask) -> None:
    key = add_key(KEYS["rsa"], "new")
    assert key.state == "new"  # as the page saw it
    db.session.execute(text("UPDATE dkim_key SET state = 'signing'"))  # what the worker does meanwhile
    with pytest.raises(ChangeRefused, match="Stop signing before you remove it"):
        signing_keys.remove(key, NOW)
    assert own_keys.keys_of(DOMAIN) == [key]


@pytest.mark.parametrize(
    ("outcome", "state", "starts"), [("no_name", "new", False), ("silent", "ready", True), ("failed", "ready", True)]
)
def test_signing_does_not_start_once_the_record_is_gone(
    context: Flask, monkeypatch: pytest.MonkeyPatch, outcome: Any, state: str, starts: bool
) -> None:
    key = add_key(KEYS["rsa"], "ready")
    monkeypatch.setattr(Resolver, "ask_all", lambda _, asked: dict.fromkeys(asked, DnsAnswer(outcome)))
    signing_keys.look(key.id, NOW)
    assert key.state == state
    if starts:
        signing_keys.start(DOMAIN, NOW)
        return
    with pytest.raises(ChangeRefused, match="is not in the DNS of"):
        signing_keys.start(DOMAIN, NOW)
    assert key.check_at and key.check_at - NOW == timedelta(minutes=10), "it is looked for again soon"


def test_of_two_keys_that_were_seen_the_newer_one_signs(context: Flask) -> None:
    older, newer = add_key(KEYS["rsa"], "ready"), add_key(NEXT, "ready")
    signing_keys.start(DOMAIN, NOW)
    db.session.commit()
    assert (older.state, newer.state, older.signed_until) == ("retired", "signing", None)
    signing_keys.remove(older, NOW)  # it signed nothing
    db.session.commit()
    assert own_keys.keys_of(DOMAIN) == [newer]


def test_a_key_that_nobody_can_use_counts_as_one_that_cannot_be_read(context: Flask) -> None:
    row = add_key(KEYS["rsa"])
    row.private_key = "bm8ga2V5"
    db.session.commit()
    with pytest.raises(SigningKeyUnreadable):
        signing_settings.signing_keys().of_sender(f"ann@{DOMAIN}")


def test_new_keys_are_looked_for_often_at_first_and_by_one_worker(context: Flask) -> None:
    signing_keys.create(DOMAIN, "ed25519", NOW)
    db.session.commit()

    def again(after: timedelta) -> timedelta | None:
        moment = NOW + after
        taken = signing_keys.take_due(moment)
        return taken and db.session.scalars(select(DkimKeyPair.check_at)).one() - moment

    assert again(timedelta()) == timedelta(minutes=1)
    assert again(timedelta(seconds=59)) is None
    assert again(timedelta(minutes=1)) == timedelta(minutes=1)
    assert again(timedelta(hours=2)) == timedelta(minutes=10)
    db.session.execute(update(DkimKeyPair).values(state="ready"))
    db.session.commit()
    assert again(timedelta(hours=3)) == timedelta(days=1)

"""A failure looks the same wherever it is shown: the reason, who can fix it, and only buttons that help."""

import re

import pytest
from sqlalchemy import select, update

from mail.documents import contacts
from mail.documents.documents import start_document
from mail.mailing import mailing
from mail.outgoing.delivery_state import mark_failures
from mail.sentences import why
from mail.settings.clock import now
from models import DocumentType, Mailing, OutgoingMail, OutgoingServer, Recipient, Trace, db
from tests.integration.mass import add_contacts, draft, prepare
from tests.web import Visitor, words

CARDS = [
    ("failed", "no_such_mailbox", "you", {"Correct address"}),
    ("failed", "no_such_domain", "you", {"Correct address"}),
    ("failed", "blocked_by_list", "your email provider", {"Retry", "Choose another server"}),
    ("failed", "login_refused", "you", {"Retry", "Server settings", "Choose another server"}),
    ("failed", "blocked_without_proof", "you", {"Retry", "Choose another server"}),
    ("failed", "mailbox_full", "the recipient", {"Retry"}),
    ("failed", "recipient_forbidden", "the recipient's administrator", {"Retry"}),
    ("failed", "recipient_refused", "you", {"Retry", "Correct address"}),
    ("failed", "too_large_there", "you", set()),
    ("bounced", "bounced_hard", "you", {"Correct address"}),
    ("bounced", "bounced_blocked", "the recipient's administrator", {"Retry"}),
    ("unknown", "unknown_final", "you", {"Retry"}),
    ("failed", "recipient_limit", "nobody; try again later", {"Retry"}),
]
OFFERED = {"Retry", "Correct address", "Server settings", "Choose another server"}


@pytest.fixture
def app(pages):
    """An office with a server and a document whose first email goes to Gone."""
    with pages.app_context():
        gone = contacts.find_or_make("gone@x.test", "Gone", now())
        server = OutgoingServer(name="Main", host="mx.test", active=True)
        db.session.add(server)
        type_ = db.session.scalar(select(DocumentType).where(DocumentType.code == "ticket"))
        start_document(type_, "Help", now(), sender="gone@x.test", contact_id=gone.id)
        db.session.commit()
    clerk = Visitor(pages).as_role("user")
    clerk.post("/document/1/posts", {"words": "Hello", "kind": "message"}, content_type="multipart/form-data")
    with pages.app_context():
        db.session.execute(update(OutgoingMail).values(server_id=select(OutgoingServer.id).scalar_subquery()))
        db.session.commit()
    return pages


def fail(app, state, code, wait=""):
    """Let the email to Gone end like this."""
    reason = why(code, address="gone@x.test", reply="550 no", text="no", host="mx.test", user="clerk")
    with app.app_context():
        db.session.execute(update(Recipient).values(state=state, why=reason, wait=wait))
        db.session.commit()


def offered(page, labels=frozenset(OFFERED)):
    """Return the buttons and links of a page that are advice."""
    found = re.findall(r"<(?:button|a)\b[^>]*>(.*?)</(?:button|a)>", page.text, re.DOTALL)
    return {label.replace("Send again", "Retry") for label in map(words, found)} & labels


@pytest.mark.parametrize(("state", "code", "who", "buttons"), CARDS)
def test_the_envelope_says_who_can_fix_it_and_offers_what_helps(app, admin, state, code, who, buttons):
    fail(app, state, code)
    page = admin.get("/document/1")
    assert f"Who can fix this: {who} " in words(page)
    assert offered(page) == buttons


@pytest.mark.parametrize(("state", "code", "who", "buttons"), CARDS)
def test_the_page_of_an_outgoing_email_says_the_same(app, admin, state, code, who, buttons):
    fail(app, state, code)
    page = admin.get("/admin/outgoing-mails/details?id=1")
    assert f"Who can fix this: {who} " in words(page)
    assert offered(page) == buttons


def test_a_report_that_names_nobody_can_be_ignored(app, admin):
    with app.app_context():
        db.session.execute(update(OutgoingMail).values(bounce_why=why("bounce_names_nobody", text="no")))
        mark_failures(db.session.scalars(select(OutgoingMail.post_id)).all(), now())
        db.session.commit()
    [ignore] = re.findall(r'action="([^"]*/seen)"', admin.get("/document/1").text)
    assert 'href="/document/1"' in admin.get("/documents/ticket?failed=on").text
    assert offered(admin.post(ignore, follow_redirects=True), {"Ignore"}) == set()
    assert 'href="/document/1"' not in admin.get("/documents/ticket?failed=on").text


def test_a_failure_that_is_sent_again_from_the_list_marks_its_document_no_more(app, admin):
    fail(app, "failed", "mailbox_full")
    with app.app_context():
        mark_failures(db.session.scalars(select(OutgoingMail.post_id)).all(), now())
        db.session.commit()
    assert 'href="/document/1"' in admin.get("/documents/ticket?failed=on").text
    admin.post("/admin/outgoing-mails/action", {"action": "retry", "rowid": 1})
    assert 'href="/document/1"' not in admin.get("/documents/ticket?failed=on").text


def test_servers_are_for_administrators(app):
    fail(app, "failed", "login_refused")
    page = Visitor(app).as_role("marketing").get("/document/1")
    assert "Who can fix this: your administrator" in words(page)
    assert offered(page) == {"Retry"}


def test_what_passes_says_so_while_it_is_tried_again(app, admin):
    fail(app, "queued", "greylisted", wait="retry")
    assert "Who can fix this: nobody; just wait" in words(admin.get("/document/1"))
    page = admin.get("/admin/outgoing-mails/details?id=1")
    assert "Who can fix this: nobody; just wait" in words(page) and offered(page) == {"Retry"}


def test_a_mail_that_was_sent_needs_no_advice(app, admin):
    with app.app_context():
        db.session.execute(update(Recipient).values(state="sent", sent_at=now()))
        db.session.commit()
    for path in ("/document/1", "/admin/outgoing-mails/details?id=1"):
        page = admin.get(path)
        assert "Who can fix this" not in words(page) and not offered(page)


def test_an_email_that_waits_for_a_server_says_who_can_help(app, admin):
    fail(app, "queued", "no_server")
    for reader, who in ((admin, "you"), (Visitor(app).as_role("marketing"), "your administrator")):
        assert f"Who can fix this: {who} " in words(reader.get("/document/1"))


@pytest.mark.parametrize(
    ("code", "who"),
    [("no_such_mailbox", "you"), ("blocked_by_list", "your email provider"), ("mailbox_full", "the recipient")],
)
def test_the_inbox_says_why_and_who_can_fix_it(app, code, who):
    author = Visitor(app).as_role("marketing")
    author.post("/document/1/posts", {"words": "Dear Gone", "kind": "message"}, content_type="multipart/form-data")
    fail(app, "failed", code)
    with app.app_context():
        mark_failures(db.session.scalars(select(OutgoingMail.post_id)).all(), now())
        db.session.commit()
    shown = words(author.get("/inbox"))
    assert "One of your emails was not delivered" in shown
    assert "gone@x.test: " in shown and "550 no" in shown and f"Who can fix this: {who}" in shown
    with app.app_context():
        db.session.execute(update(Recipient).values(state="queued", why=None))
        db.session.commit()
    assert "Who can fix this" not in words(author.get("/inbox"))


@pytest.mark.parametrize(
    ("state", "code", "who", "buttons"),
    [
        ("failed", "no_such_mailbox", "you", {"Correct address", "Blacklist"}),
        ("bounced", "bounced_hard", "you", {"Correct address", "Blacklist"}),
        ("failed", "recipient_refused", "you", {"Correct address"}),
        ("failed", "mailbox_full", "the recipient", set()),
        ("failed", "blocked_by_list", "your email provider", {"Choose another server"}),
        ("deferred", "greylisted", "nobody; just wait", set()),
    ],
)
def test_the_report_of_a_mailing_says_the_same(pages, admin, state, code, who, buttons):
    with pages.app_context():
        number = draft(add_contacts(1))
        mailing.send(number, now())
        prepare(number, now())
        reason = why(code, address="r0@example.test", reply="550 no", text="no")
        db.session.execute(update(Trace).values(state=state, why=reason, next_try_at=now()))
        db.session.commit()
    page = admin.get(f"/mailings/{number}")
    assert f"Who can fix this: {who} " in words(page)
    assert offered(page, OFFERED | {"Blacklist"}) == buttons


@pytest.mark.parametrize(
    ("state", "reason", "who"),
    [
        ("paused", why("sender_refused", address="a@x.test", reply="553"), "you"),
        (
            "paused",
            why("mailing_paused_failures", failed=90, tried=100, cause="blocked_by_list"),
            "your email provider",
        ),
        ("paused", why("mailing_paused_failures", failed=90, tried=100), "you"),
        ("paused", why("mailing_all_in_doubt", number=3), "you"),
        ("sending", why("server_slow", server="Main"), "nobody; just wait"),
        ("paused", why("mailing_paused_by", user="Bob"), ""),
        ("cancelled", why("mailing_cancelled_by", user="Bob"), ""),
    ],
)
def test_a_mailing_that_stands_still_says_who_can_fix_it(pages, admin, state, reason, who):
    with pages.app_context():
        number = draft(add_contacts(1))
        db.session.execute(update(Mailing).values(state=state, why=reason, total=1, prepared=True))
        db.session.commit()
    shown = words(admin.get(f"/mailings/{number}"))
    assert (f"Who can fix this: {who} " in shown) if who else ("Who can fix this" not in shown)


def test_the_link_of_a_report_fills_in_the_address_to_blacklist(pages):
    page = Visitor(pages).as_role("marketing").get("/admin/blacklist/new?address=%3Cb%3Egone@x.test")
    assert ">&lt;b&gt;gone@x.test</textarea>" in page.text

"""Received emails as pages: what a person does with a mail that nobody was found for."""

import html
import re

import pytest
from flask import Flask
from sqlalchemy import select

from mail.documents.documents import start_document
from mail.incoming import flow, intake
from mail.queue.lease import WorkerLease
from mail.settings.clock import now
from mail.transport.mailbox import FetchedMail
from models import Document, DocumentType, Post, ReceivedMail, User, db
from tests.web import Visitor, words


def received(app: Flask, to: str) -> int:
    """Let a mail arrive and be routed; return its number in the ledger."""
    with app.app_context():
        count = len(db.session.scalars(select(ReceivedMail.id)).all())
        head = f"From: Zoe <zoe@zed.test>\r\nTo: {to}\r\nMessage-ID: <{count}@zed.test>\r\nSubject: A question\r\n"
        raw = f"{head}\r\nHow much?\r\n".encode()
        [kept] = intake.keep("practice", [FetchedMail(str(count), len(raw), now(), raw)], now())
        flow.process_waiting(now(), WorkerLease.register(now()))
        return kept.id


def state_of(app: Flask, number: int) -> str:
    with app.app_context():
        return db.session.get_one(ReceivedMail, number).state


def decide(admin: Visitor, number: int, **form: str) -> str:
    answer = admin.post("/admin/received-mails/decide", {"id": number, **form}, follow_redirects=True)
    return html.unescape(re.sub(r"<[^>]*>", " ", answer.text))


def test_the_menu_of_an_admin_counts_what_waits_in_quarantine(pages: Flask, admin: Visitor) -> None:
    menu = r'href="/admin/received-mails/"[^>]*>.*?</a>'
    assert "badge" not in re.search(menu, admin.get("/inbox").text)[0]
    received(pages, "info@office.test")
    assert "waiting: 1" in words(re.search(menu, admin.get("/inbox").text)[0])
    assert "received-mails" not in Visitor(pages).as_role("marketing").get("/inbox").text


def test_an_unknown_address_becomes_an_alias_and_its_mail_a_document(pages: Flask, admin: Visitor) -> None:
    number = received(pages, "info@office.test")
    assert state_of(pages, number) == "quarantined"
    page = admin.get(f"/admin/received-mails/details?id={number}").text
    [link] = re.findall(r'href="([^"]*local_part=[^"]*)"', page)
    form = admin.get(html.unescape(link)).text
    assert re.search(r'name="local_part"[^>]*value="info"', form)
    [type_id] = re.findall(r'<option value="(\d+)"[^>]*>Opportunity<', form)
    words = {
        "local_part": "info",
        "type_id": type_id,
        "policy": "everyone",
        "default_stage": "",
        "default_priority": "0",
    }
    assert admin.post("/admin/aliases/new", words).status_code == 302
    decide(admin, number, what="retry")
    assert state_of(pages, number) == "processed"
    with pages.app_context():
        assert db.session.scalars(select(Document.title)).all() == ["A question"]


def test_mail_to_a_strangers_domain_offers_no_alias(pages: Flask, admin: Visitor) -> None:
    number = received(pages, "info@elsewhere.test")
    assert "local_part=" not in admin.get(f"/admin/received-mails/details?id={number}").text


@pytest.mark.parametrize(
    ("form", "state", "says"),
    [
        ({"what": "drop"}, "ignored", "Done"),
        ({"what": "reject", "text": "Write to sales@ instead."}, "rejected", "Done"),
        ({"what": "document", "document": "OPP/99999"}, "quarantined", "This document does not exist"),
        ({"what": "nothing"}, "quarantined", "This document does not exist"),
        ({"what": "retry"}, "quarantined", "Nothing has changed: this email stays in quarantine"),
    ],
)
def test_a_person_decides(pages: Flask, admin: Visitor, form: dict[str, str], state: str, says: str) -> None:
    number = received(pages, "info@office.test")
    assert says in decide(admin, number, **form)
    assert state_of(pages, number) == state
    if state != "quarantined":
        assert "Someone else was faster" in decide(admin, number, **form)


def test_retrying_many_says_how_many_stay(pages: Flask, admin: Visitor) -> None:
    numbers = [received(pages, f"{local}@office.test") for local in ("info", "sales", "a")]
    form = {"action": "retry", "rowid": [str(number) for number in numbers]}
    page = words(admin.post("/admin/received-mails/action", form, follow_redirects=True))
    assert "Nothing has changed for 2 emails: they stay in quarantine" in page and "left the quarantine" not in page
    form["rowid"] = [str(numbers[1])]
    page = words(admin.post("/admin/received-mails/action", form, follow_redirects=True))
    assert "None of the selected emails is in quarantine" in page


def test_a_mail_is_posted_on_the_document_that_a_person_names(pages: Flask, admin: Visitor) -> None:
    received(pages, "sales@office.test")
    number = received(pages, "info@office.test")
    with pages.app_context():
        document = db.session.scalars(select(Document)).one()
        name, thread_id = document.number, document.thread_id
    assert "Done" in decide(admin, number, what="document", document=name.lower())
    with pages.app_context():
        posts = db.session.scalars(select(Post.received_mail_id).where(Post.thread_id == thread_id)).all()
    assert number in posts


# --- loops, marks and priorities as people see them


def receive(app: Flask, *raws: str) -> None:
    """Let mails arrive together and be understood."""
    with app.app_context():
        mails = [FetchedMail(f"r{number}", len(raw), now(), raw.encode()) for number, raw in enumerate(raws)]
        intake.keep("practice", mails, now())
        flow.process_waiting(now(), WorkerLease.register(now()))


def test_a_loop_is_one_group_to_accept_or_discard(pages: Flask, admin: Visitor) -> None:
    head = "From: robot@shop.test\r\nTo: sales@office.test\r\nAuto-Submitted: auto-generated\r\n"
    receive(pages, *(f"{head}Message-ID: <{n}@shop.test>\r\nSubject: Order {n}\r\n\r\nHello\r\n" for n in range(25)))
    page = admin.get("/admin/received-mails/").text
    held = "5 emails from robot@shop.test to sales@office.test are held, because they look like a loop."
    assert held in words(page)
    [place] = set(re.findall(r'name="place" value="([^"]*)"', page))
    taken = admin.post(
        "/admin/received-mails/held",
        {"sender": "robot@shop.test", "place": place, "what": "take"},
        follow_redirects=True,
    )
    assert "5 emails are being processed." in taken.text
    assert "look like a loop" not in taken.text
    with pages.app_context():
        flow.process_waiting(now(), WorkerLease.register(now()))
        assert len(db.session.scalars(select(Document.id)).all()) == 25


def test_a_loop_can_be_discarded_and_others_may_not(pages: Flask, admin: Visitor) -> None:
    head = "From: robot@shop.test\r\nTo: sales@office.test\r\nAuto-Submitted: auto-generated\r\n"
    receive(pages, *(f"{head}Message-ID: <{n}@shop.test>\r\nSubject: Order {n}\r\n\r\nHello\r\n" for n in range(22)))
    [place] = set(re.findall(r'name="place" value="([^"]*)"', admin.get("/admin/received-mails/").text))
    form = {"sender": "robot@shop.test", "place": place, "what": "drop"}
    assert Visitor(pages).as_role("user").post("/admin/received-mails/held", form).status_code == 403
    assert "2 emails discarded." in admin.post("/admin/received-mails/held", form, follow_redirects=True).text
    with pages.app_context():
        states = db.session.scalars(select(ReceivedMail.state)).all()
    assert (states.count("ignored"), states.count("processed")) == (2, 20)


def test_a_mail_that_names_a_colleague_is_marked_in_the_chatter_and_in_his_inbox(pages: Flask) -> None:
    clerk = Visitor(pages).as_role("user")
    with pages.app_context():
        address = db.session.scalars(select(User.email).order_by(User.id.desc())).first()
    receive(pages, f"From: The Clerk <{address}>\r\nTo: sales@office.test\r\nSubject: Pay\r\n\r\nAt once.\r\n")
    with pages.app_context():
        document = db.session.scalars(select(Document)).one()
    page = words(clerk.get(f"/document/{document.id}").text)
    assert "Not checked" in page
    assert f'Not checked: this email names "The Clerk" <{address}> as its author, but nothing proves it.' in page
    assert "An email in your name. Did you write it?" in words(clerk.get("/inbox").text)


def test_the_page_says_who_is_behind_a_web_form(pages: Flask, admin: Visitor) -> None:
    head = "From: Form <sales@office.test>\r\nReply-To: Zoe <zoe@zed.test>\r\nTo: sales@office.test\r\n"
    receive(pages, f"{head}Subject: Hello\r\n\r\nHi.\r\n")
    with pages.app_context():
        document = db.session.scalars(select(Document)).one()
    page = words(admin.get(f"/document/{document.id}").text)
    assert "zoe@zed.test" in page
    assert "sales@office.test" in page, "both are shown"


def test_a_documents_priority_is_shown_and_changed(pages: Flask) -> None:
    clerk = Visitor(pages).as_role("user")
    with pages.app_context():
        kind = db.session.scalars(select(DocumentType).where(DocumentType.code == "opportunity")).one()
        number = start_document(kind, "Chairs", now()).id
        db.session.commit()
    assert "Priority: High" not in clerk.get("/documents/opportunity").text
    form = {"title": "Chairs", "priority": "2"}
    assert "Saved." in clerk.post(f"/document/{number}", form, follow_redirects=True).text
    for path in ("/documents/opportunity", "/documents/opportunity?view=board"):
        assert "Priority: High" in clerk.get(path).text
    page = clerk.get(f"/document/{number}").text
    assert re.search(r'<option value="2" selected>High', page)
    assert "changed the priority from Normal to High." in words(page)
    clerk.post(f"/document/{number}", {"title": "Chairs", "priority": "77"})
    with pages.app_context():
        assert db.session.get_one(Document, number).priority == 2


def test_a_signature_that_was_not_checked_is_named_in_the_chatter(pages: Flask) -> None:
    signed = (
        b"From: Ann <ann@customer.test>\r\nTo: sales@office.test\r\nSubject: Signed\r\nMessage-ID: <signed@x.test>\r\n"
        b"Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\nHello\r\n"
        b"--b\r\nContent-Type: application/pkcs7-signature; name=smime.p7s\r\n\r\nxyz\r\n--b--\r\n"
    )
    with pages.app_context():
        intake.keep("practice", [FetchedMail("signed", len(signed), None, signed)], now())
        assert flow.process_waiting(now(), WorkerLease.register(now())) == {"processed": 1}
        assert db.session.scalars(select(Post.mark).where(Post.subject == "Signed")).one() == "signed"
        document_id = db.session.scalars(select(Document.id).where(Document.title == "Signed")).one()
    page = Visitor(pages).as_role("user").get(f"/document/{document_id}").text
    assert "Signature not checked" in page and "post-doubt" not in page


def test_what_the_receiving_server_checked_is_shown(pages: Flask, admin: Visitor) -> None:
    line = "Authentication-Results: mx.office.test; spf=pass smtp.mailfrom=zed.test; dmarc=fail"
    number = received(pages, "sales@office.test")
    assert "Sender checks" not in words(admin.get(f"/admin/received-mails/details?id={number}"))
    number = received(pages, f"sales@office.test\r\n{line}")
    assert "mx.office.test: SPF pass, DMARC fail" in words(admin.get(f"/admin/received-mails/details?id={number}"))

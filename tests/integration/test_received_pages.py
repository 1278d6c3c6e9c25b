"""Received emails as pages: what a person does with a mail that nobody was found for."""

import html
import re

import pytest
from flask import Flask
from sqlalchemy import select

from mail.incoming import flow
from mail.queue.lease import WorkerLease
from mail.settings.clock import now
from mail.transport.mailbox import FetchedMail
from models import Document, Post, ReceivedMail, db
from tests.web import Visitor


@pytest.fixture
def admin(pages: Flask) -> Visitor:
    return Visitor(pages).as_role("admin")


def received(app: Flask, to: str) -> int:
    """Let a mail arrive and be routed; return its number in the ledger."""
    with app.app_context():
        count = len(db.session.scalars(select(ReceivedMail.id)).all())
        head = f"From: Zoe <zoe@zed.test>\r\nTo: {to}\r\nMessage-ID: <{count}@zed.test>\r\nSubject: A question\r\n"
        raw = f"{head}\r\nHow much?\r\n".encode()
        [kept] = flow.keep("practice", [FetchedMail(str(count), len(raw), now(), raw)], now())
        flow.process_waiting(now(), WorkerLease.register(now()))
        return kept.id


def state_of(app: Flask, number: int) -> str:
    with app.app_context():
        return db.session.get_one(ReceivedMail, number).state


def decide(admin: Visitor, number: int, **form: str) -> str:
    answer = admin.post("/admin/received-mails/decide", {"id": number, **form}, follow_redirects=True)
    return html.unescape(re.sub(r"<[^>]*>", " ", answer.text))


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
        ({"what": "retry"}, "quarantined", "The email is now"),
    ],
)
def test_a_person_decides(pages: Flask, admin: Visitor, form: dict[str, str], state: str, says: str) -> None:
    number = received(pages, "info@office.test")
    assert says in decide(admin, number, **form)
    assert state_of(pages, number) == state
    if state != "quarantined":
        assert "Someone else was faster" in decide(admin, number, **form)


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

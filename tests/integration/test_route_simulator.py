"""The route simulator: page, JSON and command answer what would really become of an email, and change nothing."""

import io
import json
from datetime import UTC, datetime

import pytest
from flask import Flask
from sqlalchemy import func, select

from mail.documents.contacts import find_or_make
from mail.documents.documents import start_document
from mail.incoming import flow, intake
from mail.queue.lease import WorkerLease
from mail.settings.clock import now
from mail.transport.mailbox import FetchedMail
from models import (
    Alias,
    Contact,
    Document,
    DocumentType,
    IncomingServer,
    OutgoingMail,
    Post,
    ReceivedMail,
    RouteResult,
    User,
    db,
)
from tests.web import Visitor, words

AT = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
PAGE, PROGRAMS = "/simulators/incoming", "/simulators/incoming.json"
HEAD = "From: Zoe <zoe@zed.test>\r\nTo: sales@office.test\r\nMessage-ID: <1@zed.test>\r\nSubject: A question\r\n"


def asked(visitor: Visitor, **form: object) -> dict:
    answer = visitor.post(PROGRAMS, form)
    assert answer.status_code == 200, answer.text
    return answer.json


def said(told: dict) -> str:
    return " ".join(reason["sentence"] for one in told["consequences"] for reason in one["words"])


def rows(app: Flask) -> list[int | None]:
    tables = (Contact, Document, Post, ReceivedMail, RouteResult, OutgoingMail)
    with app.app_context():
        return [db.session.scalar(select(func.count()).select_from(one)) for one in tables]


@pytest.fixture
def thread(pages: Flask) -> int:
    """A document with a customer, a clerk and a colleague who left; its number."""
    with pages.app_context():
        kind = db.session.scalars(select(DocumentType).where(DocumentType.code == "opportunity")).one()
        cat, left = find_or_make("cat@x.test", "Cat", AT), find_or_make("left@x.test", "Lee", AT)
        left.active = False
        document = start_document(kind, "Chairs", AT, contact_id=cat.id, author_contact_id=left.id)
        db.session.commit()
        return document.id


def test_what_is_only_described_says_what_would_become_of_it(pages, admin):
    before = rows(pages)
    told = asked(admin, sender="Zoe <zoe@zed.test>", to="sales@office.test", subject="A question")
    assert (told["state"], told["result"]) == ("processed", "document")
    assert "It would create a new document: Opportunity “A question”." in said(told)
    assert "Zoe" in said(told) and "would be added to the contacts" in said(told)
    assert "Nobody would be notified." in said(told)
    assert [step["code"] for step in told["steps"]][-1] == "route_alias"
    contacts = said(asked(admin, mail=f"{HEAD}Reply-To: Boss <boss@zed.test>\r\n\r\nHow much?\r\n"))
    assert '"Boss" <boss@zed.test> would be added to the contacts, and follow the document.' in contacts
    assert '"Zoe" <zoe@zed.test> would be added to the contacts. ' in contacts
    assert all(step["sentence"] and "%(" not in step["sentence"] for step in told["steps"])
    assert rows(pages) == before


@pytest.mark.parametrize(
    ("form", "state", "words_"),
    [
        ({"to": "catchall@office.test"}, "rejected", "The reply below would be sent to zoe@zed.test."),
        ({"to": "catchall@office.test", "envelope_from": "<>"}, "ignored", "its sender would not get a reply"),
        ({"to": "nobody@office.test"}, "quarantined", "It would stay in quarantine until a person decides."),
        ({"to": "ann@else.test", "envelope_to": "sales@office.test"}, "processed", "It would create a new document"),
        ({"to": "a@else.test", "subject": "Hi\r\nCc: sales@office.test"}, "quarantined", "It would stay in quarantine"),
    ],
)
def test_every_kind_of_end_is_foretold(pages, admin, form, state, words_):
    told = asked(admin, sender="Zoe <zoe@zed.test>", **form)
    assert told["state"] == state and words_ in said(told)
    assert bool(told["answer"]) == (state == "rejected")


def test_the_mailbox_of_a_server_is_the_recipient_of_last_resort(pages, admin):
    with pages.app_context():
        server = IncomingServer(name="Box", host="imap.x.test", user="Support@Office.test")
        db.session.add(server)
        db.session.commit()
        number = server.id
    told = asked(admin, sender="zoe@zed.test", to="ann@else.test", server_id=number)
    assert "route_mailbox" in [step["code"] for step in told["steps"]] and "Ticket" in said(told)


def test_a_reply_names_who_would_be_told_and_who_would_not(pages, admin, thread):
    clerk = Visitor(pages).as_role("user")
    clerk.post(f"/document/{thread}/follow")
    clerk.post(f"/document/{thread}/posts", {"kind": "message", "words": "Which colour?"})
    with pages.app_context():
        message_id = db.session.scalars(select(OutgoingMail.message_id)).one()
        number = db.session.get_one(Document, thread).number
    told = asked(admin, sender="Cat <cat@x.test>", to="sales@office.test", in_reply_to=message_id)
    [one] = told["consequences"]
    assert one["document_id"] == thread and number in said(told)
    assert [(person["channel"] != "", person["why"]["code"]) for person in one["told"]] == [(True, "follow_added")]
    assert {person["why"]["code"] for person in one["left_out"]} == {"arrival_is_author", "arrival_inactive"}
    page = words(admin.post(PAGE, {"sender": "Cat <cat@x.test>", "in_reply_to": message_id}))
    assert "Would be notified" in page and "Follows, but would not be notified" in page and "wrote it" in page


def test_a_report_names_whom_it_would_count_against(pages, admin, thread):
    Visitor(pages).as_role("user").post(f"/document/{thread}/posts", {"kind": "message", "words": "Which colour?"})
    with pages.app_context():
        message_id = db.session.scalars(select(OutgoingMail.message_id)).one()
    report = (
        "From: MAILER-DAEMON@mx.x.test\nTo: bounce@office.test\nSubject: Undelivered\nMIME-Version: 1.0\n"
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\nContent-Type: text/plain\n\n"
        "It failed.\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.x.test\n\n"
        "Final-Recipient: rfc822; cat@x.test\nAction: failed\nStatus: 5.1.1\n\n--b\nContent-Type: message/rfc822\n\n"
        f"Message-ID: {message_id}\nSubject: Chairs\n\nWhich colour?\n--b--\n"
    )
    told = asked(admin, mail=report)
    assert told["result"] == "bounce" and "cat@x.test would be marked as bounced: the mailbox does not exist." in said(
        told
    )
    other = report.replace("cat@", "bob@").replace("<", "<x")
    assert "It counts against none" in said(asked(admin, mail=other))
    pages_of = [read_now(pages, admin, mail) for mail in (report, other)]
    assert "Reported cat@x.test bounced: the mailbox does not exist" in pages_of[0]
    assert "Reported none of your recipients Why it was" in pages_of[1]


def read_now(app: Flask, visitor: Visitor, mail: str) -> str:
    """Let an email arrive, and return its page."""
    with app.app_context():
        [kept] = intake.keep("practice", [FetchedMail(str(len(mail)), len(mail), now(), mail.encode())], now())
        flow.process_waiting(now(), WorkerLease.register(now()))
        return words(visitor.get(f"/admin/received-mails/details?id={kept.id}"))


def test_a_file_is_read_and_an_empty_form_is_not(pages, admin):
    file = (io.BytesIO(f"{HEAD}\r\nHow much?\r\n".encode()), "a.eml")
    page = words(admin.post(PAGE, {"file": file, "to": "support@office.test"}))
    assert "A question" in page and "Opportunity" in page
    for form in ({}, {"mail": "  \n"}):
        answer = admin.post(PROGRAMS, form)
        assert answer.status_code == 400 and answer.json["error"]["code"] == "arrival_nothing_given"
    assert "Paste an email, choose a file, or fill in From and To." in words(admin.post(PAGE, {}))
    assert admin.post(PROGRAMS, {"server_id": "77"}).status_code == 400
    assert "Result" not in words(admin.get(PAGE))


def test_a_received_email_is_explained_as_if_it_came_for_the_first_time(pages, admin):
    raw = f"{HEAD}\r\nHow much?\r\n".encode()
    with pages.app_context():
        [kept] = intake.keep("practice", [FetchedMail("1", len(raw), now(), raw)], now())
        flow.process_waiting(now(), WorkerLease.register(now()))
        number = kept.id
    assert f"{PAGE}?received={number}" in admin.get(f"/admin/received-mails/details?id={number}").text
    page = admin.get(f"{PAGE}?received={number}")
    assert "As if this email arrived now" in words(page) and "It would create a new document" in words(page)
    for value in ("&#34;Zoe&#34; &lt;zoe@zed.test&gt;", "sales@office.test", "A question"):
        assert f'value="{value}"' in page.text  # to be changed, and asked again
    assert "Nothing: the same email has already reached" in words(admin.post(PAGE, {"mail": raw.decode()}))
    with pages.app_context():
        db.session.get_one(ReceivedMail, number).blob_id = None
        db.session.commit()
    assert "The original of this email was not kept." in words(admin.get(f"{PAGE}?received={number}"))


@pytest.mark.heavy
def test_what_it_foretells_is_what_then_happens(pages, admin):
    with pages.app_context():
        db.session.scalars(select(Alias).where(Alias.local_part == "support")).one().policy = "users"
        db.session.commit()
    for n, to in enumerate(("sales@office.test", "support@office.test", "sales@office.test, support@office.test",
                            "nobody@office.test", "catchall@office.test")):  # fmt: skip
        raw = HEAD.replace("sales@office.test", to).replace("<1@", f"<{n}@") + "\r\nHello\r\n"
        told = asked(admin, mail=raw)
        with pages.app_context():
            intake.keep("practice", [FetchedMail(str(n), len(raw), now(), raw.encode())], now())
            flow.process_waiting(now(), WorkerLease.register(now()))
            row = db.session.scalars(select(ReceivedMail).order_by(ReceivedMail.id.desc())).first()
            assert (row.state, row.result) == (told["state"], told["result"])
            assert row.decision == [{"code": step["code"], "values": step["values"]} for step in told["steps"]]


@pytest.mark.heavy
def test_a_heavy_mail_is_read_within_the_limits_of_a_real_one(pages, admin, monkeypatch):
    monkeypatch.setattr("mail.incoming.reader.HURRY", 60)  # on a machine that is busy
    deep = HEAD + "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + "--b\r\n\r\nx\r\n" * 1200 + "--b--\r\n"
    told = asked(admin, mail=deep)
    assert told["state"] == "quarantined" and "parse_too_many_parts" in [step["code"] for step in told["steps"]]


@pytest.mark.parametrize("role", ["user", "marketing"])
def test_it_is_for_admins(pages, role):
    visitor = Visitor(pages).as_role(role)
    assert visitor.get(PAGE).status_code == visitor.post(PROGRAMS, {"to": "x@y.test"}).status_code == 403


def test_the_command_says_it_in_words_and_in_json(pages, tmp_path):
    def command(*arguments: str, given: str | None = None):
        return pages.test_cli_runner().invoke(args=["simulate", "receive", *arguments], input=given)

    shown = command("--from", "zoe@zed.test", "--to", "sales@office.test", "--subject", "Chairs")
    assert shown.exit_code == 0, shown.output
    assert "State:   processed (document)" in shown.output and "* It would create a new document" in shown.output
    assert "\n1. " in shown.output
    told = json.loads(command("-", "--json", given=f"{HEAD}\r\nHow much?\r\n").output)
    assert told["subject"] == "A question"
    assert command().exit_code == 1 and "Paste an email" in command().output
    assert "There is no incoming server named nothing" in command("--server", "nothing").output


def test_users_hear_of_mail_in_their_name(pages, admin):
    Visitor(pages).as_role("user")
    with pages.app_context():
        address = db.session.scalars(select(User.email).order_by(User.id.desc())).first()
    told = asked(admin, sender=f"The Clerk <{address}>", to="sales@office.test", subject="Pay")
    assert "Not checked" in said(told)
    assert "arrival_named" in [person["why"]["code"] for one in told["consequences"] for person in one["told"]]

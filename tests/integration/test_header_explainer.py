"""The header explainer: which email of ours a header belongs to; its page, JSON and command store nothing."""

import html
import io
import json
import re
from datetime import UTC, datetime

import pytest
from flask import Flask
from sqlalchemy import select

from mail.documents import contacts
from mail.maintenance.explain_header import ExplainedHeader, explain
from mail.outgoing.enqueue import OutgoingDraft, To, enqueue
from mail.settings import office, parameters
from mail.settings.tokens import TokenKind
from models import Mailing, RelayId, Trace, db
from tests.web import Visitor, words

AT = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
PAGE, PROGRAMS = "/simulators/headers", "/simulators/headers.json"
HEADER = """Return-Path: <{envelope}>
Authentication-Results: mx.cat.test; spf=pass smtp.mailfrom=mycompany.test; dmarc=pass header.from=mycompany.test
Received: from mail.mycompany.test (mail.mycompany.test [192.0.2.7]) by mx.cat.test with ESMTPS id 1; Sun, 22 Nov 2026
 10:00:09 +0000
Received: from localhost (localhost [127.0.0.1]) by mail.mycompany.test with ESMTP id 2; Sun, 22 Nov 2026 10:00:02 +0000
Message-ID: {message_id}
From: {sender}
To: cat@cat.test
Subject: Chairs
"""
ANN = "Ann <ann@mycompany.test>"


@pytest.fixture
def app(pages) -> Flask:
    with pages.app_context():
        parameters.put("mail.catchall.domain", "mycompany.test", AT)
        db.session.commit()
    return pages


@pytest.fixture
def sent(app) -> dict[str, str]:
    """An email to two, and the ids that its second recipient sees."""
    with app.app_context():
        row = enqueue(OutgoingDraft("post", ANN, "Chairs", text="Hello"), [To("bob@x.test"), To("cat@cat.test")], AT)
        db.session.add(RelayId(name="x1@relay.test", recipient_id=row.lines[1].id))
        db.session.commit()
        tokens, line = office.tokens(), row.lines[1].id
        return {
            "message_id": row.message_id,
            "own": tokens.make(TokenKind.LINE, line),
            "bounce": f"bounce+{tokens.make(TokenKind.LINE_BOUNCE, line)}@mycompany.test",
            "line": str(line),
        }


def explained(app: Flask, sender: str = ANN, message_id: str = "<7@else.test>", envelope: str = "", more: str = ""):
    with app.test_request_context():
        return explain(HEADER.format(sender=sender, message_id=message_id, envelope=envelope).encode() + more.encode())


def codes(found: ExplainedHeader) -> list[str]:
    return [reason["code"].removeprefix("header_") for reason in found.origin.sentences]


# --- did it come from us


def test_an_email_of_ours_is_known_by_each_of_its_ids(app, sent):
    for ids, known_by in (
        ({"message_id": sent["message_id"]}, "known_by_message_id"),
        ({"message_id": sent["message_id"], "more": f"X-CoquiMail-Id: {sent['own']}"}, "known_by_message_id"),
        ({"more": f"X-CoquiMail-Id: {sent['own']}"}, "known_by_own_id"),
        ({"envelope": sent["bounce"]}, "known_by_bounce_address"),
        ({"message_id": "<x1@relay.test>"}, "known_by_relay"),
    ):
        found = explained(app, **ids)
        assert codes(found) == ["from_us", known_by, "id_can_be_copied"], known_by
        assert (found.sent_here.kind, str(found.sent_here.id)) == ("line", sent["line"])


def test_a_recipient_of_a_mailing_is_found(app):
    with app.app_context():
        contact = contacts.find_or_make("cat@cat.test", "Cat", AT)
        mailing = Mailing(subject="News", from_address=ANN, reply_to="", created_at=AT)
        db.session.add(mailing)
        db.session.flush()
        trace = Trace(mailing_id=mailing.id, contact_id=contact.id, address="cat@cat.test")
        db.session.add(trace)
        db.session.commit()
        message_id = office.tokens().message_id(TokenKind.TRACE, trace.id, "mycompany.test")
        number = mailing.id
    found = explained(app, message_id=message_id)
    assert codes(found)[0] == "from_us_mailing"
    assert (found.sent_here.kind, found.sent_here.id, found.sent_here.address) == ("mailing", number, "cat@cat.test")
    page = (
        Visitor(app)
        .as_role("admin")
        .post(PAGE, {"header": HEADER.format(sender=ANN, message_id=message_id, envelope="")})
    )
    assert f'href="/mailings/{number}?search=cat' in page.text


def test_what_is_gone_what_replies_and_what_only_claims_to_be_ours(app, sent):
    with app.app_context():
        tokens = office.tokens()
        gone = tokens.message_id(TokenKind.POST, 999, "mycompany.test")
        loop = tokens.message_id(TokenKind.LOOP, 5, "mycompany.test")
    assert codes(explained(app, message_id=gone))[0] == "from_us_gone"
    assert codes(explained(app, message_id=loop))[0] == "rejection_of_ours"
    answer = explained(app, sender="cat@cat.test", more=f"In-Reply-To: {sent['message_id']}")
    assert codes(answer) == ["reply_to_ours"] and answer.sent_here is not None
    assert codes(explained(app, sender="cat@cat.test", more=f"References: {gone}")) == ["reply_to_ours"]
    keeps_ours = explained(app, sender="cat@cat.test", more=f"X-CoquiMail-Id: {sent['own']}")
    assert codes(keeps_ours) == ["reply_to_ours"]
    assert codes(explained(app)) == ["claims_us"]
    assert codes(explained(app, sender="cat@cat.test")) == codes(explained(app, sender="")) == ["not_from_us"]


def test_odd_bytes_are_looked_up_all_the_same(app):
    raw = b"Message-ID: <\0\xff\xed\xa0\x80@x>\nX-CoquiMail-Id: \xff\0\nReturn-Path: <b+\xff\0@x>\nFrom: \0"
    with app.test_request_context():
        assert codes(explain(raw)) == ["not_from_us"]


# --- page, JSON, command


@pytest.fixture
def admin(app) -> Visitor:
    return Visitor(app).as_role("admin")


def test_the_page_says_it_in_words_and_leads_to_the_email(app, admin, sent):
    assert "Did it come from us?" not in words(admin.get(PAGE))
    header = HEADER.format(sender=ANN, message_id=sent["message_id"], envelope="bounce@mycompany.test")
    page = admin.post(PAGE, {"header": header})
    said = words(page)
    assert "CoquiMail sent this email to cat@cat.test on behalf of" in said and "mycompany.test vouches" in said
    assert "The email took 7 s from the first server to the last." in said and "2. mx.cat.test" in said
    assert f'href="/admin/outgoing-mails/details?id={sent["line"]}"' in page.text
    assert html.escape(header.split("\n")[1]) in page.text  # what was typed stays in its field


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"header": ""}, "Paste a header"),
        ({"header": "Hello, how are you?"}, "No header was found"),
        ({"file": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1..."}, "This is an Outlook file"),
        ({"file": b"X: 1\n" * 300_000}, "This is more than 1 MB"),
    ],
)
def test_what_can_not_be_explained_says_what_to_do(app, admin, values, says):
    given = {name: (io.BytesIO(value), "mail.eml") if name == "file" else value for name, value in values.items()}
    page = admin.post(PAGE, given, content_type="multipart/form-data")
    assert page.status_code == 200 and says in words(page)


def test_a_file_and_a_received_email_are_explained(app, admin, sent):
    raw = HEADER.format(sender=ANN, message_id=sent["message_id"], envelope="").encode() + b"\r\n\r\nHello"
    page = admin.post(PAGE, {"file": (io.BytesIO(raw), "mail.eml")})
    assert "CoquiMail sent this email" in words(page)
    assert "Paste a header" in words(admin.get(PAGE, query_string={"received": "999"}))


def test_programs_get_codes_and_sentences(app, admin, sent):
    answer = admin.post(PROGRAMS, {"header": HEADER.format(sender=ANN, message_id=sent["message_id"], envelope="")})
    told = answer.json
    assert told["origin"]["sentences"][0]["sentence"].startswith("CoquiMail sent this email")
    assert told["sent_here"]["id"] == int(sent["line"]) and told["hops"][1]["delay"] == 7
    assert {one["about"] for one in told["checks"]} == {"DMARC", "SPF"}
    assert "%(" not in answer.text
    refused = admin.post(PROGRAMS, {"header": "nothing"})
    assert refused.status_code == 400 and refused.json["error"]["code"] == "header_not_found"


@pytest.mark.parametrize("role", ["user", "marketing"])
def test_it_is_for_admins(app, role):
    visitor = Visitor(app).as_role(role)
    assert visitor.get(PAGE).status_code == visitor.post(PROGRAMS, {"header": "x"}).status_code == 403


def test_the_command(app, sent):
    given = HEADER.format(sender=ANN, message_id=sent["message_id"], envelope="")
    run = app.test_cli_runner()
    said = run.invoke(args=["simulate", "headers"], input=given)
    assert said.exit_code == 0 and "[good] CoquiMail sent this email to cat@cat.test" in said.output
    assert re.search(r"2\. 2026-11-22 10:00:09 UTC \(\+7 s\)  mx\.cat\.test from mail\.mycompany\.test", said.output)
    told = json.loads(run.invoke(args=["simulate", "headers", "--json"], input=given).output)
    assert told["source"]["state"] == "good"
    assert run.invoke(args=["simulate", "headers"], input="nothing").exit_code == 1


def test_a_received_email_leads_to_its_explanation(app, admin):
    from mail.incoming import intake
    from mail.transport.mailbox import FetchedMail
    from models import ReceivedMail

    with app.app_context():
        raw = HEADER.format(sender="cat@cat.test", message_id="<1@cat.test>", envelope="").encode()
        intake.keep("practice", [FetchedMail("1", len(raw), AT, raw)], AT)
        number = db.session.scalar(select(ReceivedMail.id))
    page = admin.get(f"/admin/received-mails/details?id={number}").text
    assert f'href="{PAGE}?received={number}"' in page
    assert "CoquiMail did not send this email" in words(admin.get(f"{PAGE}?received={number}"))

"""The outgoing simulator: page, JSON and command answer what the real decision would be, and change nothing."""

import html
import json
import re
from datetime import UTC, datetime

import pytest
from flask import Flask
from sqlalchemy import func, select

from mail.decide.sender import Decision
from mail.documents import contacts
from mail.documents.documents import start_document
from mail.mailing.rendered import decide_for
from mail.outgoing.enqueue import OutgoingDraft, To, enqueue
from mail.outgoing.lines import decide_again
from mail.settings import office, parameters
from models import DocumentType, Mailing, OutgoingMail, OutgoingServer, Recipient, Thread, db
from tests.web import Visitor, words

AT = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
PAGE, PROGRAMS = "/simulators/outgoing", "/simulators/outgoing.json"
VALUES = {"catchall.domain": "mycompany.test", "default.from": "notifications", "catchall.alias": "catchall"}


@pytest.fixture
def app(pages) -> Flask:
    """An office with a server for one domain, one for everything else, and one that is switched off."""
    with pages.app_context():
        for key, value in VALUES.items():
            parameters.put(f"mail.{key}", value, AT)
        db.session.add_all(
            OutgoingServer(name=name, host="smtp.x.test", from_filter=filter_, priority=priority, active=active)
            for name, filter_, priority, active in (
                ("own", "mycompany.test", 20, True),
                ("bulk", "", 10, True),
                ("old", "mycompany.test", 1, False),
            )
        )
        db.session.commit()
    return pages


@pytest.fixture
def admin(app) -> Visitor:
    return Visitor(app).as_role("admin")


def server_id(app: Flask, name: str) -> int:
    with app.app_context():
        return db.session.scalars(select(OutgoingServer.id).where(OutgoingServer.name == name)).one()


def asked(visitor: Visitor, **values) -> dict:
    answer = visitor.get(PROGRAMS, query_string=values)
    assert answer.status_code == 200, answer.text
    return answer.json


# --- what it answers


@pytest.mark.parametrize(
    ("values", "server", "sent_as", "envelope"),
    [
        ({"author": "Ann <ann@mycompany.test>"}, "own", "ann@mycompany.test", "bounce@mycompany.test"),
        ({"author": "Ann <ann@else.test>"}, "bulk", "notifications@mycompany.test", "bounce@mycompany.test"),
        ({"author": ""}, "bulk", "notifications@mycompany.test", "bounce@mycompany.test"),
        ({"author": "ann@mycompany.test", "return_path": "<>"}, "own", "ann@mycompany.test", ""),
        ({"author": "ann@mycompany.test", "kind": "mailing"}, "own", "ann@mycompany.test", "bounce@mycompany.test"),
        (
            {"author": "Ann <ann@mycompany.test>", "author_is": "not_checked"},
            "own",
            "notifications@mycompany.test",
            "bounce@mycompany.test",
        ),
    ],
)
def test_it_names_the_server_the_from_and_the_envelope_sender(app, admin, values, server, sent_as, envelope):
    told = asked(admin, **values)
    assert (told["server_name"], told["envelope_sender"], told["failure"]) == (server, envelope, None)
    assert sent_as in told["from_after"]
    assert all(step["sentence"] and "%(" not in step["sentence"] for step in told["steps"])


def test_a_named_server_that_is_switched_off_is_a_failure_with_its_reason(app, admin):
    values = {"author": "ann@mycompany.test", "server_id": server_id(app, "old")}
    told = asked(admin, **values)
    assert told["failure"]["code"] == "server_off" and told["server_name"] == ""
    page = admin.get(PAGE, query_string=values)
    assert told["failure"]["sentence"] in words(page)


@pytest.mark.parametrize("values", [{"kind": "letter"}, {"type_id": "x"}, {"server_id": "999"}])
def test_what_cannot_be_chosen_is_said(app, admin, values):
    answer = admin.get(PROGRAMS, query_string=values)
    assert answer.status_code == 400 and list(answer.json["errors"]) == list(values)
    page = admin.get(PAGE, query_string=values)
    assert page.status_code == 200 and "Result" not in words(page) and 'class="error"' in page.text


def test_the_page_opens_with_an_empty_form_and_shows_the_steps_of_an_answer(app, admin):
    assert "Result" not in words(admin.get(PAGE))
    page = admin.get(PAGE, query_string={"author": '"Ann" <ann@else.test>', "kind": "alone"})
    said = words(page)
    assert "Result" in said and "notifications@mycompany.test" in said and "Servers considered" in said
    assert 'value="&#34;Ann&#34; &lt;ann@else.test&gt;"' in page.text


@pytest.mark.parametrize("path", [PAGE, PROGRAMS])
@pytest.mark.parametrize("role", ["user", "marketing"])
def test_it_is_for_admins(app, role, path):
    assert Visitor(app).as_role(role).get(path).status_code == 403


# --- it is the real decision


MAILS = [
    {"author": "Ann <ann@mycompany.test>", "document": True},
    {"author": "Ann <ann@else.test>", "document": True},
    {"author": "Eve <ann@mycompany.test>", "document": True, "author_is": "not_checked"},
    {"author": "Bob <bob@else.test>", "document": True, "author_is": "received"},
    {"author": "ann@mycompany.test", "return_path": "<>"},
    {"author": "ann@mycompany.test", "reply_to": "Desk <desk@else.test>", "return_path": "back@mycompany.test"},
    {"author": "ann@mycompany.test", "server": "bulk"},
    {"author": "ann@mycompany.test", "server": "old"},
    {"author": "", "document": True},
    {"author": "nobody"},
]


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("mail", MAILS)
def test_the_link_of_a_mail_leads_to_the_very_decision_that_was_stored_with_it(app, admin, mail, again):
    forced = server_id(app, mail["server"]) if "server" in mail else None
    with app.app_context():
        type_ = db.session.scalars(select(DocumentType).where(DocumentType.code == "ticket")).one()
        draft = OutgoingDraft(
            "post",
            mail["author"],
            "Help",
            text="Hello",
            author_is=mail.get("author_is", "verified"),
            has_document=mail.get("document", False),
            title="Help with chairs",
            type_id=type_.id if mail.get("document") else None,
            reply_to=mail.get("reply_to", ""),
            return_path=mail.get("return_path", ""),
            forced_server_id=forced,
        )
        row = enqueue(draft, [To("cat@x.test")], AT)
        if mail.get("document"):
            row.post_id = post_of_document(type_, "Help with chairs")
        if again:
            first = row.decision
            decide_again([row.id], AT)
            assert row.decision == first
        db.session.commit()
        stored, line = row.decision, row.lines[0].id
    page = admin.get(f"/admin/outgoing-mails/details?id={line}").text
    link = html.unescape(re.search(rf'href="({PAGE}\?[^"]*)"', page)[1])
    told = admin.get(link.replace(PAGE, PROGRAMS)).json
    for reason in (*told["steps"], *told["warnings"], *filter(None, [told["failure"]])):
        del reason["sentence"]
        for one in reason["values"].get("looked_at", ()):
            del one["sentence"]
    assert told == Decision.from_json(stored).as_json()


def post_of_document(type_: DocumentType, title: str) -> int:
    from mail.documents import posts

    document = start_document(type_, title, AT, contact_id=contacts.find_or_make("cat@x.test", "Cat", AT).id)
    posts.add_posts([draft := posts.PostDraft(document.thread_id, "message", AT, text="x")], AT)
    return draft.id


@pytest.mark.parametrize("dedicated", ["", "bulk"])
@pytest.mark.parametrize("own", ["", "own"])
def test_a_mailing_is_simulated_as_it_is_decided(app, admin, own, dedicated):
    usual, forced = (server_id(app, name) if name else None for name in (dedicated, own))
    with app.app_context():
        parameters.put(parameters.DEDICATED_SERVER.key, str(usual or ""), AT)
        mailing = Mailing(
            from_address="News <news@mycompany.test>", reply_to="", forced_server_id=forced, created_at=AT
        )
        office.forget()
        decided = decide_for(mailing)
        db.session.commit()
    told = asked(admin, author="News <news@mycompany.test>", kind="mailing", server_id=forced or 0)
    assert told["server_name"] == decided.server_name == (own or dedicated or "own")
    assert told["from_after"] == decided.from_after


def test_nothing_is_written(app, admin):
    def rows() -> list[int]:
        with app.app_context():
            return [
                db.session.scalar(select(func.count()).select_from(one)) for one in (OutgoingMail, Recipient, Thread)
            ]

    before = rows()
    asked(admin, author="Ann <ann@mycompany.test>")
    assert rows() == before


# --- on the command line


def command(app: Flask, *words_: str):
    return app.test_cli_runner().invoke(args=["simulate", "send", *words_])


def test_the_command_says_it_in_words_and_in_json(app):
    said = command(app, "--from", "Ann <ann@else.test>", "--type", "ticket", "--title", "Chairs")
    assert said.exit_code == 0, said.output
    assert 'From:            "Ann" <notifications@mycompany.test>' in said.output
    assert "\n1. A server whose From filter" in said.output and "1. 1." not in said.output
    told = json.loads(command(app, "--from", "ann@mycompany.test", "--json").output)
    assert told["server_name"] == "own" and told["steps"][0]["sentence"]


def test_the_command_fails_when_nothing_could_be_sent_and_when_it_is_asked_for_what_is_not_there(app):
    off = command(app, "--from", "ann@mycompany.test", "--server", "old")
    assert off.exit_code == 1 and off.output.startswith("Failed: ")
    assert "There is no outgoing server named nothing" in command(app, "--server", "nothing").output
    assert "There is no document type with the code zebra" in command(app, "--type", "zebra").output

"""The page that asks for a test from end to end."""

import pytest
from flask import Flask
from sqlalchemy import select

from mail.maintenance import self_test_rows
from mail.outgoing import server_rules
from mail.sentences import why
from mail.settings.clock import now
from models import IncomingServer, OutgoingServer, SelfTestPart, ServerCheck, db
from tests.integration.mass import add_server
from tests.web import Visitor, words

pytestmark = pytest.mark.parametrize("_kept_pages", ["sqlite"], indirect=True)
PAGE = "/self-test/1"


@pytest.fixture
def server(pages: Flask) -> None:
    with pages.app_context():
        add_server(25, "Relay", from_filter="office.test")
        db.session.commit()


def add_mailbox(pages: Flask, **values: object) -> None:
    row = {"name": "Inbox", "host": "mail.test", "user": "Inbox@Office.test", "state": "confirmed"} | values
    with pages.app_context():
        db.session.add(IncomingServer(**row))
        db.session.commit()


def test_it_offers_the_mailboxes_that_are_fetched_and_the_aliases(pages, admin: Visitor, server):
    assert "so nothing that arrives is fetched" in words(admin.get(PAGE))
    add_mailbox(pages)
    add_mailbox(pages, name="Draft", user="draft@office.test", state="draft")
    add_mailbox(pages, name="Off", user="off@office.test", active=False)
    add_mailbox(pages, name="No address", user="inbox")
    said = admin.get(PAGE).text
    assert '<option value="inbox@office.test" >inbox@office.test (Inbox)' in said
    assert '<option value="sales@office.test"' in said
    assert "so nothing that arrives is fetched" not in words(said)
    assert "draft@office.test" not in said and "off@office.test" not in said


def test_it_is_asked_for_once(pages, admin: Visitor, server):
    add_mailbox(pages)
    admin.post(PAGE, {"address": "elsewhere@far.test"})
    assert "Choose an address that is still fetched here." in words(admin.get(PAGE))
    for _ in range(2):
        said = words(admin.post(PAGE, {"address": "inbox@office.test"}, follow_redirects=True))
    assert "The test is still running." in said and "Waiting for the worker" in said
    with pages.app_context():
        (check,) = db.session.scalars(select(ServerCheck)).all()
        assert (check.kind, check.server_id, check.state) == ("self_test", 1, "waiting")
        parts = self_test_rows.parts_of(check.id)
        assert [part.address for part in parts.values()] == ["inbox@office.test", "", "", "", ""]
        assert parts["delivery"].incoming_server_id == 1


def test_a_cause_within_a_cause_is_told_and_who_can_fix_it(pages, admin: Visitor, server):
    with pages.app_context():
        check = self_test_rows.ask(1, self_test_rows.Target("inbox@office.test"), None, now())
        check.state, check.tested = "running", server_rules.tested_key(db.session.get_one(OutgoingServer, 1))
        db.session.commit()
        self_test_rows.abandon(check.id, why("check_lost"), now())
        refused = why("login_refused", reply="535 5.7.8 no", host="mx.test")
        reason = why("self_test_refused", address="inbox@office.test", because=refused, cause="login_refused")
        db.session.execute(db.update(SelfTestPart).where(SelfTestPart.name == "delivery").values(why=reason))
        db.session.commit()
    said = words(admin.get(PAGE))
    assert "did not take the email to inbox@office.test. " in said and "535 5.7.8 no" in said
    assert "Who can fix this: you" in said and "1 part failed: its row says what to do." in said


def test_there_is_no_test_of_the_practice_mailbox_or_of_a_server_that_is_gone(admin: Visitor):
    assert "There is nothing to test yet" in words(admin.get("/self-test/0"))
    assert admin.post("/self-test/0", {"address": "sales@office.test"}).status_code == 404
    assert admin.get("/self-test/7").status_code == 404

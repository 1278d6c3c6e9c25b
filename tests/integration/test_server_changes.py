"""What a change of a server asks for: the password again, a new test, trust in another certificate."""

import re
from datetime import UTC, datetime

import pytest
from flask import Flask
from sqlalchemy import select

from mail.incoming import server_rules as mailbox_rules
from mail.maintenance import rehearsal
from mail.outgoing import server_rules
from mail.sentences import say, why
from mail.settings import office
from mail.settings.parameters import DEFAULT_FROM, put
from mail.transport import mailbox_open, smtp_check
from mail.transport.mailbox import MailboxTarget
from mail.transport.smtp_session import SmtpTarget
from models import IncomingServer, OutgoingServer, ServerCheck, db
from scheduler import checks as worker_checks
from tests.integration.test_admin_servers import INCOMING, MAILBOX, OUTGOING, SERVER, change, developer, only
from tests.servers.dovecot import Dovecot
from tests.servers.postfix import Postfix
from tests.web import Visitor, words

KINDS = pytest.mark.parametrize(
    ("path", "form", "model"), [(OUTGOING, SERVER, OutgoingServer), (INCOMING, MAILBOX, IncomingServer)]
)


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def app(pages) -> Flask:
    return pages


# --- the password


@KINDS
@pytest.mark.parametrize(
    ("changes", "asks"),
    [
        ({"host": "evil.test"}, True),
        ({"port": "2525"}, True),
        ({"encryption": "none"}, True),
        ({"name": "Another", "priority": "-3", "user": "another"}, False),
    ],
)
def test_another_server_asks_for_the_password_again(app, admin, path, form, model, changes, asks):
    admin.post(f"{path}/new", form)
    number = only(app, model)["id"]
    answer = admin.post(f"{path}/edit?id={number}", {**form, "password": "", **changes})
    assert (answer.status_code == 200) is asks
    assert ("Enter the password again" in answer.text) is asks
    saved = only(app, model)
    assert saved["host"] == form["host"] and saved["password"] == "swordfish"
    again = admin.post(f"{path}/edit?id={number}", {**form, "password": "swordfish", **changes})
    assert again.status_code == 302, "the same password, typed again, is as good as another"
    assert {name: str(only(app, model)[name]) for name in changes} == changes


def test_the_password_does_not_come_along_on_a_detour(app, admin):
    admin.post(f"{OUTGOING}/new", SERVER)
    number = only(app, OutgoingServer)["id"]
    detour = {**SERVER, "password": "", "host": "evil.test", "authentication": "none"}
    assert admin.post(f"{OUTGOING}/edit?id={number}", detour).status_code == 302
    assert only(app, OutgoingServer)["password"] is None
    answer = admin.post(f"{OUTGOING}/edit?id={number}", {**detour, "authentication": "password"})
    assert answer.status_code == 200 and "Enter the password" in answer.text


def test_a_certificate_that_is_not_verified_any_more_asks_as_well(app, admin):
    admin.post(f"{OUTGOING}/new", SERVER)
    number = only(app, OutgoingServer)["id"]
    form = {**SERVER, "password": "", "rewrite": "not_ours"}
    assert developer(admin).post(f"{OUTGOING}/edit?id={number}", form).status_code == 200
    assert admin.post(f"{OUTGOING}/edit?id={number}", {**form, "verify_tls": "1"}).status_code == 302


# --- drafts


def test_a_new_server_sends_nothing_until_its_test_passes(app, admin):
    page = admin.post(f"{OUTGOING}/new", {**SERVER, "_then": "test"}, follow_redirects=True)
    row = only(app, OutgoingServer)
    assert (row["draft"], row["active"]) == (True, False)
    assert "becomes active as soon as its test passes" in page.text and 'name="active"' not in page.text
    assert "draft" in words(admin.get(f"{OUTGOING}/").text)
    with app.app_context():
        assert office.sends_through() == "practice"
        server = db.session.get(OutgoingServer, row["id"])
        passed = server_rules.tested_key(server)
        assert [step.why["code"] for step in worker_checks._activate(row["id"], "another key")] == []
        assert not db.session.get(OutgoingServer, row["id"]).active
        assert [step.why["code"] for step in worker_checks._activate(row["id"], passed)] == ["check_activated"]
    row = only(app, OutgoingServer)
    assert (row["draft"], row["active"]) == (False, True)
    assert 'name="active"' in admin.get(f"{OUTGOING}/edit?id={row['id']}").text


def test_a_person_may_use_a_new_server_anyway(app, admin):
    admin.post(f"{OUTGOING}/new", {**SERVER, "active": "1"})
    number = only(app, OutgoingServer)["id"]
    assert "Use it anyway" in admin.get(f"{OUTGOING}/edit?id={number}").text
    admin.post(f"{OUTGOING}/press/use", {"id": number})
    row = only(app, OutgoingServer)
    assert (row["draft"], row["active"]) == (False, True)
    assert admin.post(f"{OUTGOING}/press/use", {"id": number}).status_code == 404


def test_a_server_that_was_switched_off_is_not_switched_on_by_its_test(app, admin):
    admin.post(f"{OUTGOING}/new", SERVER)
    number = only(app, OutgoingServer)["id"]
    change(app, OutgoingServer, number, draft=False, active=False)
    with app.app_context():
        key = server_rules.tested_key(db.session.get(OutgoingServer, number))
        assert list(worker_checks._activate(number, key)) == []
    assert only(app, OutgoingServer)["active"] is False


# --- an old result says nothing of new settings


def passed(app, kind: str, model) -> int:
    """Let the last test of the only server be a green one, made with its present settings."""
    rules = server_rules if model is OutgoingServer else mailbox_rules
    with app.app_context():
        server = db.session.scalars(select(model)).one()
        check = ServerCheck(kind=kind, server_id=server.id, requested_at=now(), state="done", steps=[])
        check.tested = rules.tested_key(server)
        db.session.add(check)
        db.session.commit()
        return check.id


@pytest.mark.parametrize(
    ("changes", "outdated"),
    [
        ({}, False),
        ({"name": "Another name", "priority": "3", "comment": "Call Bob"}, False),
        ({"host": "smtp2.example.com"}, True),
        ({"port": "2525"}, True),
        ({"encryption": "tls"}, True),
        ({"user": "u2"}, True),
        ({"password": "another"}, True),
        ({"from_filter": "office.test"}, False),  # it was tested as those addresses
        ({"from_filter": "other.test"}, True),
        ({"authentication": "none"}, True),
    ],
)
def test_a_green_test_turns_grey_when_what_was_tested_is_changed(app, admin, changes, outdated):
    admin.post(f"{OUTGOING}/new", SERVER)
    number = only(app, OutgoingServer)["id"]
    check = passed(app, "outgoing_test", OutgoingServer)
    assert "All checks passed" in admin.get(f"/checks/{check}").text
    admin.post(f"{OUTGOING}/edit?id={number}", {**SERVER, **changes})
    listed, card = admin.get(f"{OUTGOING}/").text, admin.get(f"/checks/{check}").text
    assert ("outdated" in listed, "state-good" in listed) == (outdated, not outdated)
    assert ("have changed since" in card, "All checks passed" in card) == (outdated, not outdated)


def test_the_addresses_it_was_tested_with_belong_to_the_result(app, admin):
    admin.post(f"{OUTGOING}/new", SERVER)
    check = passed(app, "outgoing_test", OutgoingServer)
    with app.app_context():
        put(DEFAULT_FROM.key, "hello", now())
        db.session.commit()
    assert "have changed since" in admin.get(f"/checks/{check}").text


@pytest.mark.parametrize(
    ("changes", "outdated"),
    [
        ({"name": "Another", "keep_original": ""}, False),
        ({"host": "imap2.example.com"}, True),
        ({"port": "143"}, True),
        ({"encryption": "starttls"}, True),
        ({"folder": "Archive"}, True),
        ({"user": "u2"}, True),
        ({"password": "another"}, True),
    ],
)
def test_the_test_of_a_mailbox_turns_grey_as_well(app, admin, changes, outdated):
    admin.post(f"{INCOMING}/new", MAILBOX)
    number = only(app, IncomingServer)["id"]
    check = passed(app, "incoming_test", IncomingServer)
    admin.post(f"{INCOMING}/edit?id={number}", {**MAILBOX, **changes})
    with app.app_context():
        rehearsal.begin(why("rehearsal_by", user="Ada"), now())  # changes no settings
    card = admin.get(f"/checks/{check}").text
    assert ("have changed since" in card, "All checks passed" in card) == (outdated, not outdated)


# --- the certificate of an own server


def steps_of_smtp(port: int, **values) -> list:
    target = SmtpTarget("own", "localhost", port, "starttls", allow_local=True, **values)
    return list(smtp_check.test_steps(target, ["office@office.test"]))


def fingerprint_in(steps: list) -> str:
    return next(step.why["values"]["fingerprint"] for step in steps if step.name == "certificate")


def test_a_server_with_its_own_certificate_can_be_trusted_by_that_certificate(postfix: Postfix):
    steps = steps_of_smtp(postfix.port)
    by_name = {step.name: step for step in steps}
    assert by_name["tls"].state == "failed" and "Trust this certificate" in say(by_name["tls"].why)
    assert re.search(r"([0-9A-F]{2}:){31}[0-9A-F]{2}", say(by_name["certificate"].why))
    trusted = steps_of_smtp(postfix.port, trusted_certificate=fingerprint_in(steps))
    assert "failed" not in {step.state for step in trusted}
    assert "the one you trust" in say(next(step.why for step in trusted if step.name == "tls"))
    other = steps_of_smtp(postfix.port, trusted_certificate="0" * 64)
    assert [step.why["code"] for step in other if step.state == "failed"] == ["certificate_changed"]
    assert fingerprint_in(other) == fingerprint_in(steps)


@pytest.mark.parametrize("kind", ["imap", "pop3"])
def test_a_mailbox_as_well(dovecot: Dovecot, mailbox: str, kind):
    port = dovecot.port(kind, "tls")

    def steps(**values) -> list:
        target = MailboxTarget("own", kind, "localhost", port, user=mailbox, password=dovecot.password,
                               allow_local=True, **values)  # fmt: skip
        return list(mailbox_open.test_steps(target))

    refused = steps()
    assert [step.name for step in refused if step.state == "failed"] == ["tls"]
    assert "failed" not in {step.state for step in steps(trusted_certificate=fingerprint_in(refused))}
    changed = steps(trusted_certificate="0" * 64)
    assert [step.why["code"] for step in changed if step.state == "failed"] == ["certificate_changed"]


def refused_check(app, kind: str, server_id: int, tested: str) -> int:
    shown = why("test_certificate_shown", subject="CN=own", expires="2030-01-01", shown="AB", fingerprint="ab" * 32)
    steps = [
        {"name": "tls", "state": "failed", "why": why("certificate_self_signed", host="h"), "seconds": 0.1},
        {"name": "certificate", "state": "warning", "why": shown, "seconds": 0.1},
    ]
    with app.app_context():
        check = ServerCheck(kind=kind, server_id=server_id, requested_at=now(), state="failed", steps=steps)
        check.tested = tested
        db.session.add(check)
        db.session.commit()
        return check.id


@KINDS
def test_an_admin_trusts_a_certificate_by_a_button_beside_the_failed_test(app, admin, path, form, model):
    admin.post(f"{path}/new", form)
    number = only(app, model)["id"]
    kind = "outgoing_test" if model is OutgoingServer else "incoming_test"
    rules = server_rules if model is OutgoingServer else mailbox_rules
    with app.app_context():
        key = rules.tested_key(db.session.get(model, number))
    check = refused_check(app, kind, number, key)
    card = admin.get(f"/checks/{check}").text
    assert "Trust this certificate" in card and "Verify the server certificate" in card
    assert Visitor(app).as_role("user").post(f"/checks/{check}/trust").status_code == 403
    admin.post(f"/checks/{check}/trust")
    assert only(app, model)["trusted_certificate"] == "ab" * 32
    assert only(app, ServerCheck)["state"] == "waiting", "it is tested again at once"
    assert admin.post(f"/checks/{check}/trust").status_code == 404, "that test is outdated now"
    assert "Stop trusting its certificate" in admin.get(f"{path}/edit?id={number}").text
    admin.post(f"{path}/edit?id={number}", {**form, "host": "other.example.com"})
    assert only(app, model)["trusted_certificate"] == "", "another server has another certificate"


@KINDS
def test_trust_can_be_taken_back(app, admin, path, form, model):
    admin.post(f"{path}/new", form)
    number = only(app, model)["id"]
    change(app, model, number, trusted_certificate="ab" * 32)
    admin.post(f"{path}/press/distrust", {"id": number})
    assert only(app, model)["trusted_certificate"] == ""

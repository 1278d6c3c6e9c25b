"""The self-test of a server: which emails belong to it, and how each of its parts ended."""

from datetime import UTC, datetime, timedelta
from email.message import EmailMessage

import pytest

from mail.decide.advice import ADVICE
from mail.decide.facts import AddressBook, AliasRule, Facts, KnownMessage, SelfTestMail, look_up
from mail.decide.outcomes import Ignored, SelfTested
from mail.decide.routing import route
from mail.decide.self_test import PATIENCE, SentPart, authenticated, not_sent, refused, shows_no_plus, verdict
from mail.message.parse import parse
from mail.sentences import say, why

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
BOOK = AddressBook(
    [AliasRule(1, "sales@mycompany.test", type_id=1), AliasRule(2, "bounce@mycompany.test", "bounce")],
    domains=["mycompany.test"],
)


def known(part_id: int, name: str) -> KnownMessage:
    return KnownMessage(0, "ada@mycompany.test", mail_id=part_id, self_test=SelfTestMail(part_id, name))


DELIVERY, REPLY, BOUNCE, PLUS = (
    known(number, name) for number, name in enumerate(("delivery", "reply", "bounce", "plus"), 1)
)
SIGNED = {
    "<delivery@mycompany.test>": DELIVERY, "deliveryline": DELIVERY, "<reply@mycompany.test>": REPLY,
    "<bounce@mycompany.test>": BOUNCE, "bouncetoken": BOUNCE, "<plus@mycompany.test>": PLUS,
    "<other@mycompany.test>": KnownMessage(0, mail_id=9),
    "<over@mycompany.test>": known(0, ""), "no-such-mailbox-1@mycompany.test": BOUNCE,
}  # fmt: skip


def letter(to: str = "sales@mycompany.test", sender: str = "ada@mycompany.test", text: str = "Hello", **headers: str):
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, to, "Test"
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    message.set_content(text)
    return message


def report(
    status: str,
    returned: str,
    to: str = "bounce@mycompany.test",
    action: str = "failed",
    who: str = "x@mycompany.test",
):
    fields = f"Final-Recipient: rfc822; {who}\nAction: {action}\nStatus: {status}\n"
    made = (
        f"From: MAILER-DAEMON@mx.test\nTo: {to}\nSubject: Report\nMIME-Version: 1.0\nMessage-ID: <1@mx.test>\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\n\n--b\n\nSorry.\n--b\n'
        f"Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx.test\n\n{fields}\n--b\n"
        f"Content-Type: message/rfc822\n\n{returned}\n--b--\n"
    )
    return made.encode()


RETURNED_REPLY = "Message-ID: <reply@mycompany.test>\nReferences: <delivery@mycompany.test>\n\nRe"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (letter(Message_ID="<delivery@mycompany.test>"), ("delivery", "arrived", False)),
        (letter(Message_ID="<new@relay.test>", X_CoquiMail_Id="deliveryline"), ("delivery", "arrived", False)),
        (letter(Message_ID="<reply@mycompany.test>", References="<delivery@mycompany.test>"),
         ("reply", "arrived", True)),
        (letter(Message_ID="<reply@mycompany.test>", References="<x@y.test>"), ("reply", "arrived", False)),
        (letter("bounce+test@mycompany.test", Message_ID="<plus@mycompany.test>"), ("plus", "arrived", False)),
        (report("5.1.1", "Message-ID: <bounce@mycompany.test>\n\nHello"), ("bounce", "returned", False)),
        (report("5.1.1", RETURNED_REPLY), ("reply", "returned", False)),
        (report("5.1.1", "Subject: cut\n\nHello", to="bounce+bouncetoken@mycompany.test"),
         ("bounce", "returned", False)),
        (report("4.4.1", "Message-ID: <bounce@mycompany.test>\n\nHello", action="delayed"), "route_self_test_report"),
        (letter(Message_ID="<over@mycompany.test>"), "route_self_test_over"),
        (report("5.1.1", "Message-ID: <over@mycompany.test>\n\nHello"), "route_self_test_over"),
        (report("5.1.1", "Subject: cut\n\nHello", who="no-such-mailbox-1@mycompany.test"),
         ("bounce", "returned", False)),
        # not of a self-test
        (report("5.1.1", "Subject: cut\n\nHello", who="no-such-mailbox-2@mycompany.test"), None),
        (letter(Message_ID="<other@mycompany.test>"), None),
        (report("5.1.1", "Message-ID: <other@mycompany.test>\n\nHello"), None),
        (letter(sender="eve@far.test", Message_ID="<2@far.test>", X_CoquiMail_Id="deliveryline"), None),
        (letter(sender="eve@far.test", Message_ID="<3@far.test>", References="<delivery@mycompany.test>"), None),
    ],
)  # fmt: skip
def test_what_came_back_is_known_by_signed_ids_alone(raw, expected):
    message = parse(raw if isinstance(raw, bytes) else raw.as_bytes(), NOW)
    asked = look_up(message, BOOK)
    signed = {id: SIGNED[id] for id in (*asked.ids, "no-such-mailbox-1@mycompany.test") if id in SIGNED}
    routing = route(message, asked, Facts(BOOK, signed=signed))
    (outcome, *_) = routing.outcomes
    if expected is None:
        assert not isinstance(outcome, SelfTested)
    elif isinstance(expected, str):
        assert isinstance(outcome, Ignored) and outcome.reason["code"] == expected
    else:
        assert isinstance(outcome, SelfTested)
        assert (outcome.part.name, outcome.how, outcome.is_threaded) == expected
        assert (routing.state, routing.result, routing.answer_to) == ("ignored", "self_test", "")
        assert routing.hits == ((2,) if expected[0] == "plus" else ())


ARRIVED, RETURNED = {"how": "arrived"}, {"how": "returned", "text": "550 5.2.2 The mailbox is full"}
LATE = PATIENCE + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("name", "facts", "expected"),
    [
        *((name, {"waited": timedelta(seconds=119)}, None) for name in ("delivery", "reply", "bounce", "plus")),
        ("delivery", {"seen": ARRIVED}, "ok self_test_delivery_ok"),
        ("delivery", {"seen": RETURNED}, "failed self_test_delivery_returned"),
        ("delivery", {}, "failed self_test_delivery_missing"),
        ("delivery", {"fetches": False}, "failed self_test_nothing_fetched"),
        ("delivery", {"mailbox": "Box", "mailbox_failure": why("self_test_mailbox_off")},
         "failed self_test_mailbox_failed"),
        ("reply", {"seen": ARRIVED | {"is_threaded": True}}, "ok self_test_reply_ok"),
        ("reply", {"seen": ARRIVED}, "failed self_test_reply_stray"),
        ("reply", {"seen": RETURNED}, "failed self_test_reply_returned"),
        ("reply", {}, "failed self_test_reply_missing"),
        ("bounce", {"seen": RETURNED}, "ok self_test_bounce_ok"),
        ("bounce", {"seen": ARRIVED}, "skipped self_test_bounce_taken"),
        ("bounce", {}, "failed self_test_bounce_missing"),
        ("plus", {"seen": ARRIVED, "from_unique": True}, "ok self_test_plus_ok"),
        ("plus", {"seen": ARRIVED}, "ok self_test_plus_arrives"),
        ("plus", {"seen": RETURNED}, "warning self_test_plus_returned"),
        ("plus", {}, "warning self_test_plus_missing"),
    ],
)  # fmt: skip
def test_how_a_part_ends(name, facts, expected):
    given = {"waited": LATE, "seconds": 1.23} | facts
    ended = verdict(SentPart(name, "x@mycompany.test", "bounce@mycompany.test", **given))
    assert (ended and f"{ended.state} {ended.why['code']}") == expected
    if ended:
        assert "?" not in say(ended.why) and "%(" not in say(ended.why)
    if ended and ended.state in ("failed", "warning"):
        assert (ended.why["values"].get("cause") or ended.why["code"]) in ADVICE


@pytest.mark.parametrize(
    ("name", "about_recipient", "expected"),
    [
        ("delivery", True, "failed self_test_refused"),
        ("delivery", False, "failed self_test_refused"),
        ("reply", True, "failed self_test_refused"),
        ("bounce", True, "skipped self_test_bounce_at_once"),
        ("bounce", False, "skipped self_test_not_tried"),
        ("plus", True, "warning self_test_plus_refused"),
        ("plus", False, "skipped self_test_not_tried"),
    ],
)
def test_a_part_that_the_server_did_not_take(name, about_recipient, expected):
    reason = why("no_such_mailbox", address="x@mycompany.test", reply="550 5.1.1 no")
    ended = refused(name, "x@mycompany.test", "bounce@mycompany.test", reason, "550 5.1.1 no", about_recipient)
    assert f"{ended.state} {ended.why['code']}" == expected
    assert not_sent(name, reason).why["values"]["cause"] == "no_such_mailbox"


@pytest.mark.parametrize(
    ("state", "code", "bounce", "expected"),
    [
        ("ok", "self_test_plus_ok", "ok", False),
        ("warning", "self_test_plus_returned", "failed", True),
        ("warning", "self_test_plus_refused", "skipped", True),
        ("warning", "self_test_plus_missing", "ok", True),
        ("warning", "self_test_plus_missing", "failed", False),
        ("warning", "self_test_mailbox_failed", "failed", False),
        ("warning", None, "ok", False),
    ],
)
def test_when_addresses_with_a_plus_are_given_up(state, code, bounce, expected):
    assert shows_no_plus(state, why(code) if code else None, bounce) is expected


@pytest.mark.parametrize(
    ("spf", "dkim", "dmarc", "expected"),
    [
        ("pass", "pass", "pass", "ok"),
        ("fail", "pass", "pass", "ok"),  # DMARC is what receivers go by
        ("pass", "none", "", "ok"),
        ("none", "pass", "none", "ok"),
        ("softfail", "pass", "", "warning"),
        ("pass", "pass", "fail", "failed"),
        ("fail", "none", "", "failed"),
        ("softfail", "", "", "failed"),
        ("none", "none", "none", "warning"),
        ("temperror", "", "", "warning"),
        ("", "", "", "skipped"),
    ],
)
def test_what_the_receiver_says_of_the_sender(spf, dkim, dmarc, expected):
    found = authenticated({"server": "mx.test", "spf": spf, "dkim": dkim, "dmarc": dmarc})
    assert found.state == expected
    if expected != "skipped":
        said = [f"{name} {word}" for name, word in (("SPF", spf), ("DKIM", dkim), ("DMARC", dmarc)) if word]
        assert "mx.test" in say(found.why) and found.why["values"]["results"] == ", ".join(said)

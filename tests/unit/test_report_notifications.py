"""What services tell by mail in their own forms: bounces as JSON, complaints without a feedback report."""

import json
from datetime import UTC, datetime

import pytest

from mail.decide.report import Report, read_report
from mail.message.parse import parse

NOW = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
SERVICE = "News bounces <no-reply@sns.service.test>"


def told(body: str, sender: str = SERVICE, *, at_bounce_address: bool = False) -> Report | None:
    raw = f"From: {sender}\nTo: news@we.test\nSubject: Notification\n\n{body}"
    return read_report(parse(raw.encode(), NOW), at_bounce_address)


def bounce(people: list, sub_type: str = "General", **more: object) -> dict:
    said = {"bounceType": "Permanent", "bounceSubType": sub_type, "bouncedRecipients": people}
    return {"notificationType": "Bounce", "bounce": said, **more}


ANN = {"emailAddress": "Ann@y.test", "status": "5.1.1", "diagnosticCode": "smtp; 550 5.1.1 user unknown"}
MAIL = {
    "messageId": "0000-1",
    "commonHeaders": {"messageId": "<1@we.test>"},
    "headers": [{"name": "X-CoquiMail-Id", "value": "abc234"}, {"name": "Subject", "value": "Offer"}, "odd"],
}


@pytest.mark.parametrize(
    ("said", "about", "recipients"),
    [
        (bounce([ANN]), "bounce", [("ann@y.test", "hard")]),
        (bounce([ANN, ANN]), "bounce", [("ann@y.test", "hard")]),
        (bounce([{"emailAddress": "Ann <ann@y.test>"}], "Suppressed"), "bounce", [("ann@y.test", "hard")]),
        (bounce([{"emailAddress": "ann@y.test"}], "MailboxFull"), "bounce", [("ann@y.test", "full")]),
        (bounce([{"emailAddress": "ann@y.test"}], "ContentRejected"), "bounce", [("ann@y.test", "blocked")]),
        (bounce([{"emailAddress": "ann@y.test"}]), "bounce", [("ann@y.test", "soft")]),
        (bounce([{"emailAddress": ""}, "odd", 7]), "unreadable", []),
        ({"eventType": "Bounce", "bounce": {"bouncedRecipients": [ANN]}}, "bounce", [("ann@y.test", "hard")]),
        ({"notificationType": "Complaint", "complaint": {"complainedRecipients": [{"emailAddress": "ann@y.test"}]}},
         "complaint", [("ann@y.test", "delivered")]),
        ({"notificationType": "Complaint", "complaint": {"complaintFeedbackType": "not-spam"}}, "feedback", []),
        ({"notificationType": "Delivery", "delivery": {"recipients": ["ann@y.test"]}}, "delivered",
         [("ann@y.test", "delivered")]),
        ({"eventType": "DeliveryDelay", "deliveryDelay": {"delayedRecipients": [ANN]}}, "delay",
         [("ann@y.test", "delay")]),
    ],
)  # fmt: skip
def test_what_a_service_tells(said: dict, about: str, recipients: list) -> None:
    wrapped = {"Type": "Notification", "Message": json.dumps(said)}
    footer = "\n\n--\nIf you wish to stop receiving notifications, visit https://sns.service.test/"
    for body in (json.dumps(said), json.dumps(said, indent=2) + footer, json.dumps(wrapped)):
        report = told(body)
        assert report is not None
        assert (report.about, [(one.address, one.kind) for one in report.recipients]) == (about, recipients)


def test_ids_of_the_mail_that_it_is_about() -> None:
    said = json.dumps(bounce([ANN], mail=MAIL))
    for body in (said, json.dumps({"Message": said}), said.replace("<", "\\u003c").replace(">", "\\u003e")):
        report = told(body)
        assert report is not None
        assert set(report.returned_ids) == {"<1@we.test>", "abc234", "0000-1"}


@pytest.mark.parametrize(
    "body",
    [
        "{",
        "{not JSON}",
        "[" * 5000,
        '{"a":' * 5000,
        "{}",
        '{"notificationType": 7}',
        '{"notificationType": ["Bounce"]}',
        '{"notificationType": "AmazonSnsSubscriptionSucceeded"}',
        '{"Message": "{broken"}',
    ],
)
def test_what_is_no_notification(body: str) -> None:
    assert told(body) is None


def test_a_person_may_send_json() -> None:
    body = json.dumps(bounce([ANN]))
    assert told(body, "Ann <ann@y.test>") is None


def complaint(subject: str, header: str) -> Report | None:
    raw = (
        f"From: staff@hotmail.com\nTo: abuse@we.test\nSubject: {subject}\nContent-Type: multipart/mixed; boundary=b\n"
        f"\n--b\nContent-Type: message/rfc822\n\n{header}Message-ID: <1@we.test>\nFrom: news@we.test\n\nHello\n--b--\n"
    )
    return read_report(parse(raw.encode(), NOW))


def test_a_complaint_in_the_form_of_hotmail() -> None:
    report = complaint("complaint about message from 192.0.2.1", "X-HmXmrOriginalRecipient: <Ann@Isp.test>\n")
    assert report is not None
    assert (report.about, report.returned_ids) == ("complaint", ("<1@we.test>",))
    assert [one.address for one in report.recipients] == ["ann@isp.test"] and report.failures == ()


@pytest.mark.parametrize(
    ("subject", "header"),
    [
        ("complaint about message from 192.0.2.1", ""),
        ("Fwd: complaint about message from 192.0.2.1", "X-HmXmrOriginalRecipient: <ann@isp.test>\n"),
        ("A complaint", "X-HmXmrOriginalRecipient: <ann@isp.test>\n"),
    ],
)
def test_a_mail_about_a_complaint_is_none(subject: str, header: str) -> None:
    assert complaint(subject, header) is None

"""Reports that name too many, or somebody who did nothing, and people who are taken for reports."""

import json
import sys
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select

from mail.outgoing import failures
from mail.outgoing.failures import Failure
from mail.sentences import say
from mail.settings import office
from mail.settings.tokens import TokenKind
from models import BlacklistedAddress, Bounce, Mailing, Notification, Trace, db
from tests.integration.frontdesk import DOMAIN, NOW, FrontDesk, delivery_report, mail


@pytest.fixture
def desk(app: Flask) -> FrontDesk:
    return FrontDesk(app)


FORWARDED = b"Message-ID: <other@else.test>\r\n\r\n"


def complaint(*recipients: str, returned: str = "Message-ID: <other@else.test>", number: int = 1) -> bytes:
    """A complaint of a provider (ARF, RFC 5965) that names these recipients."""
    named = "".join(f"Original-Rcpt-To: {address}\r\n" for address in recipients)
    return (
        f"From: feedback@provider.test\r\nTo: bounce@{DOMAIN}\r\nSubject: FW: News\r\nMIME-Version: 1.0\r\n"
        f"Date: Sun, 22 Nov 2026 09:50:00 +0000\r\nMessage-ID: <arf{number}@provider.test>\r\n"
        'Content-Type: multipart/report; report-type=feedback-report; boundary="B"\r\n\r\n'
        "--B\r\nContent-Type: text/plain\r\n\r\nThis is spam.\r\n\r\n"
        f"--B\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nVersion: 1\r\n{named}\r\n"
        f"--B\r\nContent-Type: message/rfc822\r\n\r\n{returned}\r\nSubject: News\r\n\r\nx\r\n--B--\r\n"
    ).encode()


def traces(desk: FrontDesk, count: int) -> list[tuple[int, str]]:
    """Recipients of a mailing that was sent."""
    contacts = [desk.contact(f"reader{number}@customer.test") for number in range(count)]
    with desk.app.app_context():
        mailing = Mailing(subject="News", from_address=f"news@{DOMAIN}", state="done", created_at=NOW)
        db.session.add(mailing)
        db.session.flush()
        made = [
            Trace(mailing_id=mailing.id, contact_id=contact, address=f"reader{number}@customer.test", state="sent",
                  sent_at=NOW)
            for number, contact in enumerate(contacts)
        ]  # fmt: skip
        db.session.add_all(made)
        db.session.commit()
        return [(trace.id, trace.address) for trace in made]


def blacklisted(desk: FrontDesk) -> list[str]:
    with desk.app.app_context():
        return sorted(db.session.scalars(select(BlacklistedAddress.address_key)))


def test_a_strangers_complaint_about_nothing_of_ours_blacklists_nobody(desk: FrontDesk) -> None:
    (row,) = desk.receive(complaint(*(f"person{number}@x.test" for number in range(1000))))
    assert (row.state, row.result) == ("processed", "complaint")
    assert blacklisted(desk) == []
    with desk.app.app_context():
        assert db.session.execute(select(Bounce.kind, Bounce.address_key)).all() == [("complaint", None)]


def test_a_complaint_reaches_at_most_twenty_recipients_of_ours(desk: FrontDesk) -> None:
    people = traces(desk, 30)
    desk.receive(complaint(*(address for _, address in people)))
    assert len(blacklisted(desk)) == 20


def test_a_complaint_under_a_hidden_address_means_the_recipient_that_its_id_names(desk: FrontDesk) -> None:
    (trace_id, address), _ = traces(desk, 2)
    with desk.app.app_context():
        sent_as = office.tokens().message_id(TokenKind.TRACE, trace_id, DOMAIN)
    desk.receive(complaint("redacted@provider.test", returned=f"Message-ID: {sent_as}"))
    assert blacklisted(desk) == [address]


def test_a_complaint_in_the_form_of_hotmail_blacklists_whom_its_id_names(desk: FrontDesk) -> None:
    (trace_id, address), _ = traces(desk, 2)
    with desk.app.app_context():
        sent_as = office.tokens().message_id(TokenKind.TRACE, trace_id, DOMAIN)
    raw = (
        f"From: staff@hotmail.com\r\nTo: bounce@{DOMAIN}\r\nSubject: complaint about message from 192.0.2.1\r\n"
        'Content-Type: multipart/mixed; boundary="B"\r\n\r\n--B\r\nContent-Type: message/rfc822\r\n\r\n'
        f"X-HmXmrOriginalRecipient: hidden@isp.test\r\nMessage-ID: {sent_as}\r\n\r\nx\r\n--B--\r\n"
    ).encode()
    (row,) = desk.receive(raw)
    assert (row.state, row.result) == ("processed", "complaint")
    assert blacklisted(desk) == [address]


def test_a_bounce_as_json_marks_the_trace_that_its_id_names(desk: FrontDesk) -> None:
    (trace_id, address), _ = traces(desk, 2)
    with desk.app.app_context():
        sent_as = office.tokens().message_id(TokenKind.TRACE, trace_id, DOMAIN)
    told = {
        "notificationType": "Bounce",
        "bounce": {"bouncedRecipients": [{"emailAddress": address, "status": "5.1.1"}]},
        "mail": {"commonHeaders": {"messageId": sent_as}},
    }
    (row,) = desk.receive(mail("no-reply@sns.test", to=f"sales@{DOMAIN}", text=json.dumps(told)))
    assert (row.state, row.result) == ("processed", "bounce")
    with desk.app.app_context():
        states = db.session.execute(select(Trace.id, Trace.state).order_by(Trace.id))
        assert {row.id: row.state for row in states}[trace_id] == "bounced"
        assert db.session.scalars(select(Bounce.kind)).all() == ["hard"]
    assert desk.documents() == []


def test_our_own_addresses_are_never_blacklisted(desk: FrontDesk) -> None:
    traces(desk, 1)
    desk.receive(complaint(f"bounce@{DOMAIN}", f"sales@{DOMAIN}", f"notifications@{DOMAIN}"))
    assert blacklisted(desk) == []


@pytest.mark.heavy
def test_a_report_with_more_ids_than_a_database_takes_is_read(desk: FrontDesk) -> None:
    returned = "".join(f"Message-ID: <{number}@else.test>\r\n" for number in range(75_000)).encode() + b"\r\nx"
    (row,) = desk.receive(delivery_report("ann@customer.test", returned))
    assert (row.state, row.result) == ("processed", "bounce")


def test_a_report_blames_nobody_who_had_no_mail_of_ours(desk: FrontDesk) -> None:
    desk.contact("ann@customer.test")
    desk.receive(delivery_report("ann@customer.test", FORWARDED))
    with desk.app.app_context():
        assert db.session.scalars(select(Bounce.address_key)).all() == [None]


def test_a_report_that_names_only_the_address_counts_when_a_mail_of_ours_went_there(desk: FrontDesk) -> None:
    ((_, address),) = traces(desk, 1)
    desk.receive(delivery_report(address, FORWARDED))
    with desk.app.app_context():
        assert db.session.execute(select(Bounce.address_key, Bounce.trace_id)).all() == [(address, None)]
    desk.receive(delivery_report(address, FORWARDED))
    with desk.app.app_context():
        assert db.session.scalars(select(Bounce.counted).order_by(Bounce.id)).all() == [True, False], (
            "the same mail again"
        )
        twice = [Failure(address, "hard", "5.1.1", "gone")] * 20
        assert failures.record(twice, NOW + timedelta(days=2)) == [address], "once for each report"


def test_admins_are_told_once_that_the_detectors_are_missing(desk: FrontDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.user("Admin", role="admin")
    monkeypatch.setitem(sys.modules, "flufl.bounce", None)
    for number in range(2):
        raw = mail("MAILER-DAEMON@x.test", to=f"bounce@{DOMAIN}", text=f"Mail {number} to b@x.test: user unknown")
        (row,) = desk.receive(raw)
        assert (row.state, row.result) == ("processed", "bounce")
        assert "flufl.bounce" in say(row.decision[-1])
    with desk.app.app_context():
        assert [say(one.why) for one in db.session.scalars(select(Notification))] == [say(row.decision[-1])]


@pytest.mark.parametrize(
    ("subject", "headers"),
    [
        ("Out of office: your message", {}),
        ("Abwesenheitsnotiz: Ihre Nachricht", {}),
        ("Automatic reply: your message", {"Auto_Submitted": "auto-replied"}),
    ],
)
def test_absence_notes_at_the_bounce_address_blame_nobody(
    desk: FrontDesk, subject: str, headers: dict[str, str]
) -> None:
    for number in range(5):
        raw = mail(
            "Ann <ann@customer.test>", to=f"bounce@{DOMAIN}", subject=subject, text=f"I am away until day {number}.",
            Return_Path="<>", **headers,
        )  # fmt: skip
        (row,) = desk.receive(raw)
        assert row.state == "ignored"
    with desk.app.app_context():
        assert db.session.scalars(select(Bounce.id)).all() == []


def test_a_person_who_writes_to_the_bounce_address_is_heard(desk: FrontDesk) -> None:
    (row,) = desk.receive(mail("Ann <ann@customer.test>", to=f"bounce@{DOMAIN}", text="Please call me."))
    assert row.state == "quarantined", "nobody's address, but a person's words: somebody has to look"
    assert row.decision[-1]["code"] == "route_bounce_address"
    with desk.app.app_context():
        assert db.session.scalars(select(Bounce.id)).all() == []

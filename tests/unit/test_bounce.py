"""Reports: who failed and why, over labelled real mails; and nothing else is ever taken for one."""

import json
import sys
from datetime import UTC, datetime
from email.message import Message
from pathlib import Path
from types import SimpleNamespace

import pytest

from mail.decide.failure import FailureKind, kind_in_report, kind_of
from mail.decide.report import About, Report, read_report, returned_ids
from mail.message.address import normalise
from mail.message.parse import IncomingMessage, parse
from mail.sentences import why
from tests.effort import little_work

NOW = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
FOLDER = Path(__file__).parents[1] / "data" / "bounces"
LABELS = json.loads((FOLDER / "labels.json").read_text())["mails"]


def read(raw: bytes | str) -> IncomingMessage:
    return parse(raw.encode() if isinstance(raw, str) else raw, NOW)


def report_of(label: dict) -> Report | None:
    return read_report(read((FOLDER / label["file"]).read_bytes()))


def labelled(*kinds: str) -> list:
    return [pytest.param(label, id=label["file"]) for label in LABELS if label["kind"] in kinds]


def has_readable_status(label: dict) -> bool:
    message = read((FOLDER / label["file"]).read_bytes())
    report = read_report(message)
    return report is not None and report.read_by == "delivery_status"


# --- over the samples


def test_there_are_samples_of_every_kind():
    kinds = [label["kind"] for label in LABELS]
    least = {"bounce": 200, "delay": 15, "ordinary": 25, "autoreply": 13, "feedback": 10, "delivered": 3, "mdn": 2}
    assert all(kinds.count(kind) >= number for kind, number in least.items())


@pytest.mark.parametrize("label", labelled("ordinary", "autoreply", "report"))
def test_ordinary_mail_and_automatic_answers_are_never_reports(label):
    assert report_of(label) is None


@pytest.mark.parametrize("label", labelled("feedback", "delivered", "mdn", "delay"))
def test_other_reports_blame_nobody(label):
    report = report_of(label)
    assert report is None or (report.failures == () and report.about is not About.BOUNCE)


@pytest.mark.parametrize("label", [param for param in labelled("bounce") if has_readable_status(param.values[0])])
def test_delivery_reports_name_exactly_their_recipients(label):
    report = report_of(label)
    failed = {name for reported in report.failures for name in reported.addresses}
    wanted = [{name.lower() for name in (one["address"], *one.get("also", ()))} for one in label["recipients"]]
    if label["file"] in NOT_AS_LABELLED:
        assert failed == NOT_AS_LABELLED[label["file"]]
        return
    assert all(names & failed for names in wanted), f"missing: {failed}"
    assert failed <= set().union(*wanted), "somebody else is blamed"


# Where we read it otherwise than the label, and why.
NOT_AS_LABELLED = {
    # the third is `Action: delayed`: it must not count
    "sisimai/rfc3464-35.eml": {"kijitora@nyaan.example.com", "mikeneko@neko.example.or.jp"},
    # the same address, its domain readable
    "sisimai/lhost-sendmail-24.eml": {"neko@地域猫.jp"},
}


def share(hits: int, of: int) -> float:
    return 100 * hits / of


def test_how_well_reports_are_read():
    """Of the labelled bounces and delays: all recipients found, nobody else named, failed and late told apart."""
    found = exact = kind = 0
    labels = [label for label in LABELS if label["kind"] in ("bounce", "delay") and label["recipients"]]
    for label in labels:
        report = report_of(label)
        told = report.recipients if report else ()
        names = {name for one in told for name in one.addresses}
        late = {name for one in told if one.kind is FailureKind.DELAY for name in one.addresses}
        wanted = [names_of(one) for one in label["recipients"]]
        others = set().union(*wanted, *(names_of(one) for one in label.get("delayed", ())))
        all_found = all(them & names for them in wanted)
        found += all_found
        exact += all_found and names <= others
        kind += all_found and all(bool(them & late) is (label["kind"] == "delay") for them in wanted)
    assert share(found, len(labels)) >= 98.5
    assert share(exact, len(labels)) >= 98
    assert share(kind, len(labels)) >= 97


def names_of(recipient: dict | str) -> set[str]:
    names = [recipient] if isinstance(recipient, str) else [recipient["address"], *recipient.get("also", ())]
    return {form for name in names for form in (name.lower(), normalise(name))}


def test_hard_and_soft():
    """Of the labelled recipients: how many are told right, and how few are called dead who are not."""
    right = wrong_hard = scored = 0
    for label in LABELS:
        report = report_of(label) if label["kind"] == "bounce" else None
        kinds = {name: one.kind for one in (report.failures if report else ()) for name in one.addresses}
        for recipient in label["recipients"]:
            kind = kinds.get(recipient["address"].lower())
            if kind is None or recipient.get("hard") is None:
                continue
            scored += 1
            right += (kind is FailureKind.HARD) is recipient["hard"]
            wrong_hard += kind is FailureKind.HARD and not recipient["hard"]
    assert scored >= 200
    assert share(right, scored) >= 92
    assert share(wrong_hard, scored) <= 3


# --- fields, tolerantly


def dsn(groups: str, words: str = "It failed.", header: str = "", returned: str = "") -> str:
    return (
        "From: MAILER-DAEMON@mx.test\nTo: bounce@we.test\n"
        f'{header}Content-Type: multipart/report; report-type=delivery-status; boundary="b"\n\n'
        f"--b\n\n{words}\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.test\n\n{groups}\n"
        f"{returned}--b--\n"
    )


ONE = "Final-Recipient: rfc822; a@x.test\nAction: failed\nStatus: 5.1.1\n"


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        (ONE, [("a@x.test", "hard", "5.1.1")]),
        ("Final-Recipient: RFC822;<A@X.test>\nAction: failed\nStatus: 5.1.1", [("a@x.test", "hard", "5.1.1")]),
        ("Final-Recipient: rfc/822; a@x.test\nAction: failed\nStatus: 5.1.1", [("a@x.test", "hard", "5.1.1")]),
        ("Final-Recipient: a@x.test\nAction: failed\nStatus: 5.1.1", [("a@x.test", "hard", "5.1.1")]),
        ("Final-Recipient : rfc822; a@x.test\nAction : failed\nStatus : 5.1.1", [("a@x.test", "hard", "5.1.1")]),
        ("Final-Recipient: LOCAL;<a@x.test>\nAction: failed\nStatus: 5.1.1", [("a@x.test", "hard", "5.1.1")]),
        ("Final-Recipient: utf-8; jürgen@x.test\nAction: failed\nStatus: 5.1.1", [("jürgen@x.test", "hard", "5.1.1")]),
        (r"Final-Recipient: utf-8; j\x{FC}rgen@x.test" "\nAction: failed\nStatus: 5.1.1",
         [("jürgen@x.test", "hard", "5.1.1")]),
        ("Final-Recipient: rfc822; @x.test\nOriginal-Recipient: rfc822; a@x.test\nAction: failed\nStatus: 5.1.1",
         [("a@x.test", "hard", "5.1.1")]),
        ("Final-Recipient: rfc822; @mx.x.test:25@lmtp.y.test\nOriginal-Recipient: rfc822; a@x.test\nAction: failed\n"
         "Status: 5.1.1", [("a@x.test", "hard", "5.1.1")]),
        (ONE + "\n" + ONE.replace("a@", "b@"), [("a@x.test", "hard", "5.1.1"), ("b@x.test", "hard", "5.1.1")]),
        (ONE + ONE.replace("a@", "b@"), [("a@x.test", "hard", "5.1.1"), ("b@x.test", "hard", "5.1.1")]),
        (ONE + "\n" + ONE, [("a@x.test", "hard", "5.1.1")]),
        (ONE.replace("Action", "\nAction"), [("a@x.test", "hard", "5.1.1")]),
        ("Final-Recipient: rfc822; a@x.test\n\nOriginal-Recipient: rfc822; b@x.test\nAction: failed\nStatus: 5.1.1",
         [("a@x.test", "soft", ""), ("b@x.test", "hard", "5.1.1")]),
        ("Diagnostic-Code: smtp; 550 a long\nanswer without blanks in front\n" + ONE, [("a@x.test", "hard", "5.1.1")]),
        (ONE.replace("failed", "failed (bad mailbox)"), [("a@x.test", "hard", "5.1.1")]),
        (ONE.replace("failed", "expired").replace("5.1.1", "4.4.7"), [("a@x.test", "soft", "4.4.7")]),
        (ONE.replace("5.1.1", "5.2.2 (full)"), [("a@x.test", "full", "5.2.2")]),
        (ONE.replace("failed", "delayed").replace("5.1.1", "4.4.1"), [("a@x.test", "delay", "4.4.1")]),
        *((ONE.replace("failed", action).replace("5.1.1", "4.4.1"), [("a@x.test", "delay", "4.4.1")])
          for action in ("deferred", "warning", "transient-failure")),
        (ONE.replace("failed", "delivered").replace("5.1.1", "2.0.0"), [("a@x.test", "delivered", "2.0.0")]),
        (ONE.replace("failed", "relayed").replace("5.1.1", "2.0.0"), [("a@x.test", "delivered", "2.0.0")]),
        (ONE.replace("failed", "expanded").replace("5.1.1", "2.0.0"), [("a@x.test", "delivered", "2.0.0")]),
        (ONE.replace("Action: failed\n", ""), [("a@x.test", "hard", "5.1.1")]),
        (ONE.replace("Action: failed\n", "").replace("5.1.1", "4.4.1"), [("a@x.test", "delay", "4.4.1")]),
        (ONE.replace("5.1.1", "5.0.0") + "Diagnostic-Code: smtp; 550 5.7.1 spam", [("a@x.test", "blocked", "5.7.1")]),
        (ONE + "\n" + ONE.replace("a@", "b@").replace("failed", "delayed").replace("5.1.1", "4.4.1"),
         [("a@x.test", "hard", "5.1.1"), ("b@x.test", "delay", "4.4.1")]),
    ],
)  # fmt: skip
def test_groups_are_read_tolerantly(groups, expected):
    report = read_report(read(dsn(groups)))
    assert [(one.address, one.kind.value, one.status) for one in report.recipients] == expected


@pytest.mark.parametrize(
    ("words", "header", "named"),
    [
        ("The following address failed:\n\n  a@x.test\n", "", [("a@x.test", "full", "5.2.2")]),
        ("  |/usr/bin/vacation\n", "X-Failed-Recipients: a@x.test\n", [("a@x.test", "full", "5.2.2")]),
        ("It failed somewhere, says a@x.test\n", "", [("a@x.test", "soft", "")]),
        ("Your message did not reach a@x.test.\n", "", [("a@x.test", "full", "5.2.2")]),
        ("It did not reach a@x.test or b@x.test.\n", "", [("a@x.test", "soft", ""), ("b@x.test", "soft", "")]),
        ("It failed.\n", "", []),
    ],
)
def test_where_the_fields_name_only_a_host_the_rest_names_the_recipient(words, header, named):
    fields = "Final-Recipient: rfc822; @x.test\nAction: failed\nStatus: 5.2.2\n"
    report = read_report(read(dsn(fields, words=words, header=header)))
    assert [(one.address, one.kind.value, one.status) for one in report.recipients] == named


@pytest.mark.parametrize(
    ("words", "kind", "status"),
    [
        ("<a@x.test> failed:\nthe server there said 550 5.1.1 unknown", "hard", "5.1.1"),
        ("Error 5.1.1 is explained elsewhere.\n<a@x.test>: mailbox full", "full", "5.0.0"),
        ("5.1.1 happens", "soft", "5.0.0"),
    ],
)
def test_where_the_fields_say_nothing_the_words_about_the_recipient_give_the_code(words, kind, status):
    (one,) = read_report(read(dsn(ONE.replace("5.1.1", "5.0.0"), words=words))).recipients
    assert (one.kind.value, one.status) == (kind, status)


def test_a_scanners_footer_says_nothing_of_the_failure():
    text = "From: MAILER-DAEMON@x.test\n\n<b@x.test>: 550 5.1.0 Address rejected\n\n-- \nScanned for spam and viruses\n"
    assert [one.kind.value for one in read_report(read(text)).recipients] == ["hard"]


def test_a_report_names_at_most_twenty():
    groups = "\n".join(ONE.replace("a@", f"a{number}@") for number in range(30))
    assert len(read_report(read(dsn(groups))).recipients) == 20


def test_both_names_of_a_recipient_are_known():
    report = read_report(read(dsn("Original-Recipient: rfc822; sales@x.test\n" + ONE)))
    assert [one.addresses for one in report.recipients] == [("sales@x.test", "a@x.test")]


@pytest.mark.parametrize(
    ("groups", "about"),
    [
        (ONE, "bounce"),
        (ONE + "\n" + ONE.replace("a@", "b@").replace("failed", "delayed"), "bounce"),
        (ONE.replace("failed", "delayed"), "delay"),
        (ONE.replace("failed", "delivered"), "delivered"),
        ("", "unreadable"),
    ],
)
def test_what_the_report_is_as_a_whole(groups, about):
    assert read_report(read(dsn(groups))).about == about


RETURNED = "--b\nContent-Type: {}\n\nMessage-ID: <1@we.test>\nX-CoquiMail-Id: abc234\nSubject: s\n\nbody\n"


@pytest.mark.parametrize(
    ("raw", "ids"),
    [
        (dsn(ONE, returned=RETURNED.format("message/rfc822")), ("<1@we.test>", "abc234")),
        (dsn(ONE, returned=RETURNED.format("text/rfc822-headers")), ("<1@we.test>", "abc234")),
        (dsn(ONE, returned=RETURNED.format("message/rfc822").replace("Message-ID:", "Message-ID:\n")),
         ("<1@we.test>", "abc234")),
        (dsn(ONE, returned="--b\nContent-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n"
             "TWVzc2FnZS1JRDogPDFAd2UudGVzdD4K\n"), ("<1@we.test>",)),
        (dsn(ONE, words="> Message-ID: <2@we.test>"), ("<2@we.test>",)),
        (dsn(ONE, header="In-Reply-To: <3@we.test>\nMessage-ID: <own@mx.test>\n"), ()),
        (dsn(ONE, header="References: <3@we.test> <4@we.test>\n"), ()),
        ("From: a@x.test\n\nMessage-ID: <1@we.test>", ()),
    ],
)  # fmt: skip
def test_ids_of_the_returned_mail(raw, ids):
    message = read(raw)
    assert returned_ids(message) == ids
    report = read_report(message)
    assert (report.returned_ids if report else ()) == ids


# --- what is a report, and what is not


@pytest.mark.parametrize(
    ("raw", "at_bounce_address", "about"),
    [
        ("From: a@x.test\nTo: sales@we.test\n\nHello", False, None),
        ("From: a@x.test\nTo: bounce@we.test\n\nHello", True, None),
        ("Return-Path: <>\nFrom: a@x.test\nTo: bounce@we.test\n\nHello", True, "unreadable"),
        ("Return-Path: <>\nFrom: a@x.test\nSubject: Out of office: x\n\nI am away until Monday", True, None),
        ("From: Ann <ann@x.test>\nTo: bounce@we.test\n\nThe address bob@x.test failed, what now?", True, None),
        ("From: Ann <ann@x.test>\nTo: bounce+t123@we.test\n\n> Message-ID: <1@we.test>\nMy reply", True, None),
        ("From: mail-system@x.test\nTo: bounce@we.test\n\nCould not deliver.\n\nMessage-ID: <1@we.test>", True,
         "unreadable"),
        ("Return-Path: <>\nFrom:\nTo: bounce@we.test\n\nHi. This is the qmail-send program at x.test.\n\n"
         "<b@x.test>:\nuser unknown", True, "bounce"),
        ("Return-Path: <>\nTo: bounce@we.test\n\nYour mail to <b@x.test> was not delivered.", False, "bounce"),
        ("From: MAILER-DAEMON@x.test\n\nWarning: your message to <b@x.test> is delayed and will be retried", False,
         "delay"),
        ("From: MAILER-DAEMON@x.test\n\nTHIS IS A WARNING MESSAGE ONLY", False, "delay"),
        ("From: MAILER-DAEMON@x.test\nSubject: Return receipt\n\n- These addresses had successful delivery"
         " notifications -\n<b@x.test> (successfully delivered to mailbox)", False, "delivered"),
        ("From: MAILER-DAEMON@x.test\n\nDo not click here.\n\nIt was successfully delivered to a@x.test.", False,
         "delivered"),
        ("From: MAILER-DAEMON@x.test\n\nIt has not yet been successfully delivered to a@x.test.", False, "delay"),
        ("From: MAILER-DAEMON@x.test\n\nIt couldn't be successfully delivered to a@x.test.", False, "bounce"),
        ("From: MAILER-DAEMON@x.test\n\nIt was successfully delivered to a@x.test.\nb@x.test: user unknown", False,
         "bounce"),
        ("From: postmaster@x.test\nSubject: No se puede entregar: Hola\n\nb@x.test", False, "bounce"),
        *((f"From: postmaster@x.test\nSubject: {subject}\n\nb@x.test", False, "delay")
          for subject in ("Verzögerte Zustellung: s", "Remise différée : s", "Entrega retrasada: s",
                          "Recapito ritardato: s", "Bezorging vertraagd: s")),
        *((f"From: MAILER-DAEMON@x.test\n\n{said}:\n\n<b@x.test>: {answer}", False, about)
          for said in ("It was successfully delivered to", "This is the delivery report that you requested")
          for answer, about in (("250 OK", "delivered"), ("550 5.1.1 unknown", "bounce"))),
        ("From: MAILER-DAEMON@x.test\nList-Id: <l.x.test>\n\nb@x.test: no such user", False, "bounce"),
        ("Return-Path: <>\nFrom: MAILER-DAEMON@x.test\nAuto-Submitted: auto-replied\n\n<b@x.test>: user unknown",
         False, "bounce"),
        ("From: MAILER-DAEMON@x.test\n\nSender verification: please click to prove that you are a person", False,
         "challenge"),
        ("From: MAILER-DAEMON@x.test\n\nA copy.\n\n---- Original message ----\nTo: b@x.test\nSubject: s", False,
         "bounce"),
        ("From: MAILER-DAEMON@x.test\n\nA copy.\n\n---- Original message ----\nTo: b@x.test\n"
         "Content-Type: multipart/report", False, "unreadable"),
        ("From: no-reply@x.test\nReturn-Path: <>\n\nSpam Arrest holds your mail to b@x.test. Confirm that you are a"
         " person.", True, "challenge"),
        *((f"From: MAILER-DAEMON@x.test\nSubject: Your mail\n\n{said}", False, "challenge")
          for said in ("Your message to b@x.test is not delivered. Prove that you are a human: http://x.test",
                       "b@x.test uses a filter. Click the link below to release your message.",
                       "I now allow messages only from senders I have approved beforehand.",
                       "Your message to b@x.test will be delivered once you have confirmed by a reply.",
                       "Ihre Nachricht an b@x.test wurde nicht zugestellt. Klicken Sie hier, um sie freizugeben.",
                       "Votre message n'a pas été remis. Cliquez ici pour prouver que vous êtes humain.",
                       "Su mensaje no se entregó. Confirme que usted es una persona.")),
        (dsn(ONE, words="<a@x.test>: mx.test said: 550 Sender verification failed"), False, "bounce"),
        (dsn(ONE, words="Boxbe.com asks you to verify"), False, "challenge"),
        (dsn(ONE, words="Not delivered to b@boxbe.com"), False, "bounce"),
        ("From: MAILER-DAEMON@x.test\n\n<b@x.test>: user unknown\n\n---- Original message ----\nFrom: a@we.test\n\n"
         "Please confirm that you are a person.", False, "bounce"),
        ("From: a@x.test\nAuto-Submitted: auto-replied\n\nI am away", True, None),
        ("From: a@x.test\nSubject: Automatic reply: x\n\nI am away", True, None),
        ("Return-Path: <>\nFrom: a@x.test\nAuto-Submitted: auto-replied\n\nI am away", True, None),
        *((f"From: {sender}\nSubject: {subject}\n\nb@x.test\n550 5.1.1 b@x.test", False, "bounce")
          for sender in ("postmaster@x.test", f"MicrosoftExchange{'0a' * 16}@x.test")
          for subject in ("Undeliverable: s", "Recapito non riuscito: s", "Não entregue: s", "Kan ikke leveres: s",
                          "Niedostarczalne: s", "Nedoručitelné: s", "Kézbesíthetetlen: s", "Teslim edilemedi: s",
                          "无法投递: s", "[메일 전송 실패] s")),
        *((f"From: postmaster@x.test\n{head}\n\n{text}", False, about) for head, text, about in (
            ("Auto-Submitted: auto-replied\nSubject: Undeliverable: s", "b@x.test: 550 5.1.1 no", "bounce"),
            ("Auto-Submitted: auto-replied\nSubject: Undeliverable: s", "b@x.test", None),
            ("Return-Path: <>\nAuto-Submitted: auto-replied\nSubject: Undeliverable: s", "b@x.test", "bounce"),
            ("Auto-Submitted: auto-replied\nSubject: Automatic reply: undeliverable", "b@x.test: 550 5.1.1 no", None),
            ("References: <1@we.test>\nSubject: Undeliverable: s", "b@x.test: 550 5.1.1 no", "bounce"),
            ("References: <1@we.test>\nSubject: Undeliverable: s", "b@x.test", None),
            ("Return-Path: <>\nReferences: <1@we.test>\nSubject: Undeliverable: s", "b@x.test", "bounce"),
            ("Return-Path: <>\nReferences: <1@we.test>\nSubject: s", "It failed to deliver to b@x.test", None),
        )),
        ("From: admin@x.test\nSubject: Undeliverable\n\nb@x.test\n550 5.1.1 unknown", True, "bounce"),
        *((f"From: {sender}@x.test\nSubject: {marked}: Undeliverable\n\nb@x.test\n550 5.1.1 unknown", at_bounce, None)
          for sender, at_bounce in (("admin", True), ("postmaster", False))
          for marked in ("Fwd", "TR", "RV", "I", "VB", "转发", "[ext] 転送")),
        ("From: admin@x.test\nSubject: Fwd: s\n\nThis is the qmail-send program at x.test.\n\n<b@x.test>:\nno", True,
         None),
        ("Return-Path: <>\nFrom: postmaster@x.test\nSubject: Re:s\n\nIt failed to deliver.\n550 5.1.1 b@x.test", False,
         "bounce"),
        ("From: postmaster@x.test\nSubject: Re:s\n\nIt failed to deliver.\n550 5.1.1 b@x.test", False, None),
        ("Return-Path: <>\nFrom: postmaster@x.test\nSubject: s\n\nNot delivered to b@x.test: blocked", False, "bounce"),
        ("From: postmaster@x.test\nSubject: s\n\nNot delivered to b@x.test: blocked", False, None),
        ("From: MAILER-DAEMON\n\nsomething", False, "unreadable"),
        ("From: Mail Delivery <MAILER-DAEMON@x.test>\n\nsomething", False, "unreadable"),
        ("From: mailer-daemon@x.test\nAuto-Submitted: auto-replied\n\nsomething", False, "unreadable"),
        ("From: postmaster@x.test\n\nWould you like to buy?", False, None),
        ("Return-Path: <>\nFrom: a@x.test\n\nHello", False, None),
        (dsn(ONE, header="Auto-Submitted: auto-replied\n"), False, "bounce"),
        (dsn(ONE).replace("MAILER-DAEMON@mx.test", "Ann <ann@x.test>"), False, "bounce"),
        (dsn(ONE).replace("multipart/report; report-type=delivery-status", "multipart/mixed")
         .replace("MAILER-DAEMON", "ann"), False, None),
        ("From: ann@x.test\nContent-Type: multipart/mixed; boundary=o\n\n--o\n\nlook\n--o\n"
         "Content-Type: message/rfc822\n\n" + dsn(ONE) + "--o--", False, None),
        ("From: ann@x.test\nSubject: Fwd\n\nlook:\n\nFinal-Recipient: rfc822; a@x.test\nAction: failed", False, None),
        ("From: MAILER-DAEMON@mx.test\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; x\n\n" + ONE,
         False, "bounce"),
        ("From: MAILER-DAEMON@mx.test\n\nIt failed.\n\nReporting-MTA: dns; x\n\n" + ONE, False, "bounce"),
    ],
)  # fmt: skip
def test_what_is_a_report(raw, at_bounce_address, about):
    report = read_report(read(raw), at_bounce_address)
    assert (report.about.value if report else None) == about


AWAY = (
    "Thank you. I am out of office until Monday, your message will not be processed before.\n"
    "In urgent cases write to ann@x.test.\n\nKarl Schmidt\n500 Main Street\n"
)
FORM = (
    "From: Website <noreply@shop.test>\nReply-To: bob@y.test\nTo: sales@we.test\nSubject: Contact form\n\n"
    "Name: Bob\nEmail: bob@y.test\nMessage: My mail was not delivered, what now?\n"
)


RETURNS = (
    "\nSubject: Undeliverable mail\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nYour mail was not delivered to"
    " ann@shop.test.\n--b\nContent-Type: message/rfc822\n\nTo: ann@shop.test\n--b--"
)
LOG = "\nSubject: Your mail was not delivered\n\nOur log:\nRCPT TO:<ann@shop.test>\n550 5.7.1 blocked\n\nBob"
ABOVE_A_QUOTE = (
    "\nSubject: News\n\n{0}\nUrgent: help@shop.test\n\n"
    "-----Original Message-----\nFrom: news@we.test\nTo: ann@shop.test\n"
)


@pytest.mark.parametrize(
    ("at_bounce_address", "raw"),
    [
        (False, 'From: "Bob Miller, System Administrator" <bob@shop.test>' + LOG),
        (False, "From: Bob | Mail Administrator <bob@shop.test>" + RETURNS),
        (False, "From: Car dealer <autohaus@shop.test>" + RETURNS),
        (False, "From: Vending <automaten@shop.test>" + RETURNS),
        (False, "From: Currency <exchange@shop.test>" + RETURNS),
        (False, "From: Us <sysadmin@shop.test>" + RETURNS.replace("Subject: ", "Subject: FW: ")),
        (False, "From: Karl <postmaster@shop.test>\nSubject: Mail from your server\n\nWe see that your mail is not"
                " delivered to ann@shop.test since Monday. Your server has no name."),
        (False, "From: Karl <postmaster@shop.test>\nReferences: <1@we.test>\nSubject: Re: Mail to Ann\n\nIt was not"
                " delivered since:\n550 5.7.1 Client host blocked"),
        (False, "From: Parcels <noreply@shop.test>\nSubject: Undeliverable shipment\n\nYour shipment could not be"
                " delivered to: <ann@shop.test>."),
        (False, "From: Bank <noreply@shop.test>\nSubject: Payment returned to sender\n\nTo: ann@shop.test"),
        (False, "From: postmaster@host.test\nSubject: Your mailbox is full\n\nYour mailbox sales@we.test is full."),
        (False, "From: bounces@shop.test\nList-Unsubscribe: <x>\nSubject: Why mail delivery failed\n\nann@y.test"),
        (False, "Return-Path: <>\nFrom: postmaster@we.test\nSubject: Spam\n\nSome messages were not delivered to you:\n"
                "ann@y.test Buy now\nbob@z.test Cheap"),
        (False, "Return-Path: <postmaster@shop.test>\nFrom: Karl <postmaster@shop.test>\nSubject: Undeliverable mail"
                "\n\nYour mail to ann@shop.test was rejected, for your SPF is broken. Karl"),
        (False, "From: Market <noreply@shop.test>\nSubject: Message from buyer: item not delivered\n\nTo: ann@y.test"),
        (True, "Return-Path: <>\nFrom: karl@shop.test"
               + ABOVE_A_QUOTE.format("Herr Karl ist nicht mehr im Unternehmen. Die Mail wurde nicht zugestellt.")),
        (False, "Return-Path: <>\nFrom: Help <help@shop.test>\nSubject: [Ticket 7] Mail not delivered\n\nThank you for"
                " your message: 550 5.1.1 user unknown ann@y.test"),
        (True, "From: Bob <bob@y.test>\nSubject: FW: Undeliverable\nContent-Type: multipart/mixed; boundary=b\n\n"
               "--b\n\nWhat is it?\n--b\nContent-Type: message/delivery-status\n\n" + ONE + "--b--"),
        (True, "Return-Path: <>\nFrom: ann@shop.test"
               + ABOVE_A_QUOTE.format("Our office is closed and we cannot be reached.")),
        (True, "From: noreply@shop.test" + ABOVE_A_QUOTE.format("Our office is closed and we cannot be reached.")),
        (True, "Return-Path: <>\nFrom: ann@shop.test"
               + ABOVE_A_QUOTE.format("Wir haben Betriebsferien. Ihre Nachricht wurde nicht zugestellt.")),
        (True, "Return-Path: <>\nFrom: ann@shop.test"
               + ABOVE_A_QUOTE.format("Ab sofort bin ich in Elternzeit. Die Mail wird nicht zugestellt.\n550 5.1.1")),
        (True, "Return-Path: <>\nFrom: ann@shop.test"
               + ABOVE_A_QUOTE.format("I no longer work here. Your message was not delivered to anybody else.")),
        (False, "Return-Path: <noreply@shop.test>\n" + FORM),
        (False, "Return-Path: <>\n" + FORM),
        (True, FORM + "Answer: 550 5.1.1 unknown"),
        (False, "Return-Path: <>\n" + FORM + "\n---- Original message ----\nTo: ann@we.test\n"),
        (False, "Return-Path: <noreply@shop.test>\n" + FORM.replace("Reply-To: bob@y.test\n", "")),
        (False, "From: Ann <mail@shop.test>\nSubject: Question\n\nYour message has not been delivered to me. Please"
                " send the offer to ann@shop.test again."),
        (False, "From: Ann <admin@shop.test>\nSubject: Undeliverable\nContent-Type: multipart/mixed; boundary=b\n\n"
                "--b\n\nYour mail was not delivered to ann@shop.test.\n--b\nContent-Type: message/rfc822\n\n"
                "To: a@b.test\n--b--"),
        (False, "Return-Path: <>\nFrom: Parcels <noreply@parcel.test>\nSubject: Your parcel\n\n"
                "Your parcel could not be delivered today. Questions? help@parcel.test"),
        (False, "From: Bob <bob@y.test>\nX-Failed-Recipients: vic@z.test\n\nHello"),
        (True, "From: Bob <bob@y.test>\nX-Failed-Recipients: vic@z.test\n\nHello"),
        (False, "To: sales@we.test\nSubject: order not delivered\n\nPlease help."),
        (True, "Auto-Submitted: auto-replied\nFrom: Karl <mail@x.test>\nSubject: Automatic reply: News\n\n" + AWAY),
        (True, "Return-Path: <>\nAuto-Submitted: auto-replied\nFrom: <noreply@x.test>\nSubject: News\n\n" + AWAY),
        (True, "Return-Path: <>\nFrom: Karl <mail@x.test>\nSubject: News\n\n" + AWAY),
        (True, "Return-Path: <>\nFrom: Karl <karl@x.test>\nSubject: Re: News\nReferences: <1@we.test>\n\n" + AWAY),
    ],
)  # fmt: skip
def test_people_are_no_reports(at_bounce_address, raw):
    """What a form on a website says for them, who is away, who writes from mail@: nobody of them failed."""
    assert read_report(read(raw), at_bounce_address) is None


@pytest.mark.parametrize(
    ("sender", "text", "is_sure"),
    [
        ("karl@x.test", "Your mail was not delivered.\n550 User unknown", True),
        ("karl@x.test", "Your mail was not delivered.\n... 550-5.1.1 gone", True),
        ("karl@x.test", "We are on a trip, mail is not delivered.\n500 Main Street\n555-1234", False),
        ("mail@x.test", "We are on a trip, mail is not delivered.", False),
        ("noreply@x.test", "Your mail was not delivered.", True),
        ("noreply@x.test", "I am on vacation, mail is not delivered.", False),
    ],
)
def test_what_may_be_a_report_at_the_bounce_address_blames_nobody(sender, text, is_sure):
    report = read_report(read(f"Return-Path: <>\nFrom: {sender}\nTo: bounce@we.test\n\n{text}"), True)
    assert (report is not None and report.is_certain) == is_sure


def test_a_detector_that_fails_is_a_note_and_the_report_stays_one(monkeypatch):
    def all_failures(tree: Message) -> None:
        raise IndexError("never seen")

    monkeypatch.setitem(sys.modules, "flufl.bounce", SimpleNamespace(all_failures=all_failures))
    report = read_report(read("From: MAILER-DAEMON@x.test\n\nYour mail to b@x.test: user unknown"))
    assert report.problems == (why("bounce_detector_failed", error="IndexError"),)
    assert (report.about, [one.address for one in report.failures]) == (About.BOUNCE, ["b@x.test"])


def test_without_the_detectors_the_report_says_so_and_is_read_without_them(monkeypatch):
    monkeypatch.setitem(sys.modules, "flufl.bounce", None)
    report = read_report(read("From: MAILER-DAEMON@x.test\n\nYour mail to b@x.test: user unknown"))
    assert report.problems == (why("bounce_detectors_missing"),)
    assert [one.address for one in report.failures] == ["b@x.test"]


@pytest.mark.parametrize(
    ("kind", "about"),
    [("abuse", "complaint"), ("fraud", "complaint"), ("virus", "complaint"), ("other", "complaint"),
     ("not-spam", "feedback"), ("auth-failure", "feedback")],
)  # fmt: skip
def test_complaints(kind, about):
    report = read_report(
        read(
            "From: fbl@isp.test\nContent-Type: multipart/report; report-type=feedback-report; boundary=b\n\n"
            "--b\n\nx\n--b\n"
            f"Content-Type: message/feedback-report\n\nFeedback-Type: {kind}\nOriginal-Rcpt-To: <A@isp.test>\n--b\n"
            "Content-Type: message/rfc822\n\nMessage-ID: <1@we.test>\n\n--b--"
        )
    )
    assert (report.about, report.feedback_type) == (about, kind)
    assert [one.address for one in report.recipients] == ["a@isp.test"]
    assert report.returned_ids == ("<1@we.test>",) and report.failures == ()


@pytest.mark.parametrize(
    ("sender", "field", "about"),
    [
        ("staff@hotmail.com", "X-HmXmrOriginalRecipient: vic@y.test\nMessage-ID: <1@we.test>", "complaint"),
        ("staff@isp.test", "X-Original-Rcpt-To: vic@y.test\nMessage-ID: <1@we.test>", "complaint"),
        ("staff@isp.test", "X-HmXmrOriginalRecipient: vic@y.test\nMessage-ID: <1@we.test>", None),
        ("staff@hotmail.com", "X-HmXmrOriginalRecipient: vic@y.test", None),
        ("staff@hotmail.com", "Message-ID: <1@we.test>", None),
        ("bob@hotmail.com", "X-HmXmrOriginalRecipient: vic@y.test\nMessage-ID: <1@we.test>", None),
        ("bob@y.test", "X-Original-Rcpt-To: vic@y.test\nMessage-ID: <1@we.test>", None),
    ],
)
def test_a_person_who_forwards_spam_does_not_complain_for_somebody(sender, field, about):
    raw = (
        f"From: {sender}\nSubject: Spam report: is this really from you?\nContent-Type: multipart/mixed; boundary=b\n\n"
        f"--b\n\nMy colleague got this.\n--b\nContent-Type: message/rfc822\n\n{field}\n\nx\n--b--"
    )
    report = read_report(read(raw))
    assert (report.about if report else None) == about
    assert report is None or not report.is_certain


@pytest.mark.parametrize(
    ("kind", "subject", "about"),
    [("report", "Fwd: s", "complaint"), ("mixed", "Complaint", "complaint"), ("mixed", "Fwd: Complaint", None)],
)
def test_who_passes_a_complaint_on_does_not_complain(kind, subject, about):
    raw = (
        f"From: bob@y.test\nSubject: {subject}\nContent-Type: multipart/{kind}; boundary=b\n\n--b\n\nLook.\n--b\n"
        "Content-Type: message/feedback-report\n\nFeedback-Type: abuse\nOriginal-Rcpt-To: vic@y.test\n--b--"
    )
    report = read_report(read(raw))
    assert (report.about if report else None) == about


def test_read_receipts():
    report = read_report(
        read(
            "From: a@x.test\nTo: sales@we.test\nContent-Type: multipart/report; report-type=disposition-notification;"
            " boundary=b\n\n--b\n\nread\n--b\nContent-Type: message/disposition-notification\n\n"
            "Final-Recipient: rfc822; a@x.test\nOriginal-Message-ID: <1@we.test>\n"
            "Disposition: manual-action/MDN-sent-manually; displayed\n--b--"
        )
    )
    assert (report.about, report.returned_ids) == ("receipt", ("<1@we.test>",)) and report.failures == ()


# --- why


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        ("5.1.1", "", "hard"),
        ("5.1.2", "Host not found", "hard"),
        ("5.1.10", "recipient not found", "hard"),
        ("5.4.4", "", "hard"),
        ("5.0.0", "550 User unknown in local recipient table", "hard"),
        ("5.5.0", "Requested action not taken: mailbox unavailable", "hard"),
        ("", "550 No such user here", "hard"),
        ("", "The email account that you tried to reach does not exist", "hard"),
        ("5.2.2", "", "full"),
        ("4.2.2", "mailbox full", "full"),
        ("5.0.0", "552 Quota exceeded", "full"),
        ("5.7.1", "", "blocked"),
        ("5.7.1", "blocked using zen.spamhaus.org", "blocked"),
        ("5.7.26", "unauthenticated mail: DMARC", "blocked"),
        ("5.3.4", "message too large", "blocked"),
        ("5.6.0", "", "blocked"),
        ("", "554 Message rejected as spam", "blocked"),
        ("5.1.8", "Sender address rejected: Domain not found", "blocked"),
        ("5.1.7", "", "blocked"),
        ("5.7.1", "550 5.7.1 <a@x.test>: Recipient address rejected", "blocked"),
        ("5.5.0", "550 5.5.0 <a@x.test>: Recipient address rejected", "hard"),
        ("5.7.27", "Sender address has null MX", "blocked"),
        ("5.1.10", "Recipient address has null MX", "hard"),
        ("5.1.0", "Sender rejected: <office@we.test> is unknown here", "blocked"),
        ("5.1.0", "SMTP error from remote mail server after MAIL FROM:<office@we.test>", "blocked"),
        ("5.1.0", "MailFrom domain is listed", "blocked"),
        ("5.1.0", "", "hard"),
        ("5.4.1", "Recipient address rejected: Access denied. AS(201806281)", "hard"),
        ("5.4.1", "", "soft"),
        ("5.4.4", "DNS failure while looking up x.test", "soft"),
        ("5.4.4", "SERVFAIL for x.test", "soft"),
        ("5.4.4", "Host not found", "hard"),
        ("", "The user ann.lee@mail.x.test does not exist", "hard"),
        ("", "address bob@x.test was not found. Ask the administrator", "hard"),
        ("", "This user doesn't have a yahoo.example account", "hard"),
        ("", "The recipient is fine. The host could not be found", "hard"),
        ("5.1.1", "450 try again later", "soft"),
        ("5.0.0", "Please check the address and try again: no such user", "hard"),
        ("5.1.1", "Your account is disabled, user unknown", "soft"),
        ("5.1.1", "procmail: Couldn't create /var/mail/b: No such user", "soft"),
        ("5.7.25", "550 The reverse name of your host was not found", "blocked"),
        ("5.0.0", "550 Requested action not taken: mailbox unavailable, your address is on a blocklist", "blocked"),
        ("", "550 Destinatario desconocido", "hard"),
        ("", "Utilisateur inconnu", "hard"),
        ("", "Der Empfänger existiert nicht", "hard"),
        ("", "553 sorry, your envelope recipient is in my badrcptto list", "hard"),
        ("4.1.1", "User unknown, greylisted", "soft"),
        ("4.4.7", "message expired", "soft"),
        ("5.7.1", "554 Rejected: nonexistent user", "hard"),
        ("", "no MX hosts for the domain", "hard"),
        ("", "No MX or A records for y.test", "hard"),
        ("5.2.1", "Addressee unknown, relay=[192.0.2.1]", "hard"),
        ("5.1.1", "unknown in relay recipient table", "hard"),
        ("5.7.1", "no such domain: relay not permitted", "blocked"),
        ("", "mailbox ann@y.test is unavailable", "hard"),
        ("5.0.0", "550 <a@y.test>: Recipient address rejected. (in reply to RCPT TO command)", "hard"),
        ("5.7.1", "Recipient address rejected: Policy", "blocked"),
        ("", "folder is over its allowed quota. Or does the user not exist?", "full"),
        ("", "has not enough disk space", "full"),
        *(
            ("", words, "full")
            for words in (
                "Das Postfach von b@y.test ist voll.",
                "La boîte de b@y.test est pleine",
                "El buzón del destinatario está lleno",
                "La casella di b@y.test è piena",
                "A caixa de correio está cheia",
                "De mailbox is vol",
                "Skrzynka jest pełna",
                "Почтовый ящик переполнен",
                "メールボックスが一杯です",
                "收件箱已满",
                "Quota überschritten",
                "Innboksen er full",
                "Postlådan är full",
                "Schránka je plná",
                "552 storage space exhausted",
                "The mailbox of b@y.test is full",
            )
        ),
        *(
            ("", words, "hard")
            for words in (
                "Das Postfach b@y.test existiert nicht",
                "Unbekannter Empfänger",
                "La dirección b@y.test no existe",
                "No se encontró la dirección",
                "Indirizzo inesistente",
                "L’adresse b@y.test n’existe pas",
                "O endereço b@y.test não foi encontrado",
                "De ontvanger bestaat niet",
                "Nieznany użytkownik",
                "Пользователь не найден",
                "宛先不明",
                "ユーザーが存在しません",
                "收件人不存在",
                "No existe el buzón",
                "Mottagaren finns inte",
                "Ukendt bruger",
                "Tuntematon käyttäjä",
                "Neznámý uživatel",
            )
        ),
        *(
            ("", words, "blocked")
            for words in (
                "550 Your IP is on a block list, b@y.test refused",
                "554 Denylisted sending host",
                "550 Client host rejected: listed by zen",
                "550 Mail refused: too many complaints",
                "550 Access denied, bad outbound sender",
                "550 Your mail server has no PTR",
                "550 Phishing detected",
                "550 Suspicious message",
                "550 A URL in your mail is listed",
                "550 Not RFC 5322 compliant",
                "552 Message too big",
                "550 Administrative prohibition",
                "550 Sender not authenticated",
                "550 Sender not allowed for this list",
                "550 Only members may post",
                "550 The recipient only accepts mail from known senders",
                "550 Delivery not authorized, message refused",
                "550 Ihre IP ist gesperrt",
                "550 Rejet : contenu indésirable",
            )
        ),
        ("", "Absenderadresse existiert nicht", "soft"),
        ("", "Die Adresse des Absenders ist unbekannt", "soft"),
        ("", "550 relay not permitted", "blocked"),
        ("5.0.0", "", "soft"),
        ("", "", "soft"),
    ],
)
def test_why_it_failed(status, text, kind):
    assert kind_of(status, text).value == kind


@pytest.mark.parametrize(
    ("status", "text", "words", "kind"),
    [
        ("5.1.1", "550 5.1.1 User unknown", ">>> DATA", "hard"),
        ("5.0.0", "550 User unknown", "(in reply to RCPT TO command)", "hard"),
        ("5.0.0", "550 User unknown", "(in reply to end of DATA command)", "soft"),
        ("", "550 No such user", "", "soft"),
        ("", "User unknown", "", "hard"),
        ("", "550 Host unknown", "", "hard"),
        ("", "552 Mailbox full", "", "full"),
    ],
)
def test_a_bare_550_is_what_filters_say_too(status, text, words, kind):
    assert kind_in_report(status, text, words).value == kind


@pytest.mark.parametrize(
    ("diagnostic", "status", "kind"),
    [
        ("smtp; 5.1.0 - Unknown address error 550-'5.7.1 <x@y.test>... Access denied'", "5.7.1", "blocked"),
        ("smtp; 550 5.1.351 Remote server returned unknown recipient -> 550 5.2.2 full", "5.2.2", "full"),
        ("smtp; 550 5.1.351 Remote server returned unknown recipient -> 550 what", "5.1.351", "hard"),
    ],
)
def test_the_last_server_counts_not_the_relay(diagnostic, status, kind):
    fields = f"Final-Recipient: rfc822; a@x.test\nAction: failed\nStatus: 5.0.0\nDiagnostic-Code: {diagnostic}\n"
    (one,) = read_report(read(dsn(fields))).recipients
    assert (one.status, one.kind) == (status, kind)


@pytest.mark.parametrize(
    ("kind", "failed", "counts"),
    [("hard", True, True), ("soft", True, True), ("full", True, True), ("blocked", True, False),
     ("delay", False, False), ("delivered", False, False)],
)  # fmt: skip
def test_every_final_failure_counts_but_those_that_say_nothing_about_the_address(kind, failed, counts):
    assert (FailureKind(kind).failed, FailureKind(kind).counts) == (failed, counts)


# --- hostile


@pytest.mark.heavy
@pytest.mark.parametrize(
    "raw",
    [
        dsn(ONE * 20_000),
        dsn("Final-Recipient: rfc822; a@x.test\n" + "x" * 3_000_000),
        dsn("x: y\n" * 200_000),
        "From: MAILER-DAEMON@x.test\n\n" + "the following address failed " * 100_000,
        "From: MAILER-DAEMON@x.test\n\n" + "<a@x.test>: user\n" * 100_000,
        "From: MAILER-DAEMON@x.test\n\n" + "user unknown " * 200_000,
        "From: MAILER-DAEMON@x.test\n\n" + "-" * 3_000_000,
        "From: MAILER-DAEMON@x.test\n\n" + "Message-ID: <\n" * 100_000,
        "Return-Path: <>\n\n" + "\xff" * 100_000,
    ],
    ids=range(9),
)
def test_hostile_reports_are_little_work(raw):
    with little_work():
        report = read_report(read(raw), at_bounce_address=True)
    assert report is not None
    assert len(report.recipients) <= 1000


@pytest.mark.parametrize(
    "raw",
    [
        "From: MAILER-DAEMON@x.test\n\n" + "Final-Recipient: rfc822; a@b.c\n\n" * 30_000,
        dsn("Final-Recipient: rfc822; a@b.c\n\n" * 30_000),
        "From: MAILER-DAEMON@x.test\nContent-Type: message/delivery-status\n\n" + "\n" * 950_000,
        "From: MAILER-DAEMON@x.test\nContent-Type: message/delivery-status\n\n" + "a\n\n" * 300_000,
        "From: MAILER-DAEMON@x.test\n\n" + "\n" * 950_000,
    ],
    ids=["recipients in text", "recipients", "blank lines", "blocks", "blank lines in text"],
)  # fmt: skip
def test_many_groups_and_blank_lines_are_little_work(raw):
    message = read(raw)
    with little_work(2):
        read_report(message, at_bounce_address=True)


def test_one_long_line_is_little_work():
    """A hundred patterns of flufl.bounce are tried on each line: this one took them three seconds."""
    message = read("Auto-Submitted: " + "," * 60_000 + "\nReturn-Path: <>\n\n" + "," * 60_000)
    with little_work(1.5):
        read_report(message)

"""Bytes in, a message out: structure, header, bodies, limits; never an exception."""

import base64
import email
import random
import struct
from datetime import UTC, datetime
from email.message import Message
from pathlib import Path

import pytest

from mail.message.address import Address
from mail.message.contents import undo_transfer_encoding
from mail.message.html import clean_html, text_of_html
from mail.message.parse import IncomingMessage, message_key, parse
from mail.message.quoted import fold_at
from mail.message.structure import StructureReader
from mail.sentences import why
from tests.effort import little_work

NOW = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
FOLDER = Path(__file__).parents[1] / "data"
SAMPLES = sorted(
    path for name in ("bounces", "messages", "routing") for path in (FOLDER / name).rglob("*.[et][mx][lt]")
)


def read(raw: bytes | str) -> IncomingMessage:
    return parse(raw.encode() if isinstance(raw, str) else raw, NOW)


def with_header(lines: str) -> IncomingMessage:
    return read(f"{lines}\n\nhello\n")


def multipart(*parts: str, kind: str = "mixed") -> str:
    body = "".join(f"--b\n{part}\n" for part in parts)
    return f'From: a@x.test\nContent-Type: multipart/{kind}; boundary="b"\n\npreamble\n{body}--b--\nepilogue\n'


TEXT = "Content-Type: text/plain\n\nwords"
HTML = "Content-Type: text/html\n\n<p>marked</p>"
PDF = "Content-Type: application/pdf\nContent-Disposition: attachment; filename=a.pdf\n\n%PDF"


def codes(message: IncomingMessage) -> set[str]:
    return {problem["code"] for problem in message.problems}


# --- header


@pytest.mark.parametrize(
    ("header", "name", "address"),
    [
        ("From: Ann <Ann@X.test>", "Ann", "Ann@X.test"),
        ("From: ann@x.test (Ann)", "Ann", "ann@x.test"),
        ("From: =?utf-8?q?J=C3=BCrgen?= <j@x.test>", "Jürgen", "j@x.test"),
        ("From: a@x.test, b@x.test", "", "a@x.test"),
        ("From: nobody\nSender: s@x.test", "", "s@x.test"),
        ("From: undisclosed:;\nReturn-Path: <r@x.test>", "", "r@x.test"),
        ("Return-Path: <r@x.test>", "", "r@x.test"),
        ('From: "boss@y.test" <thief@x.test>', "boss@y.test", "thief@x.test"),
        ("From: first@x.test\nFrom: second@x.test", "", "first@x.test"),
        ("FROM : a@x.test", "", "a@x.test"),
        ("From: =?utf-8?b?QW5uIDxhbm5AeC50ZXN0Pg==?=", "Ann", "ann@x.test"),
        ("From: =?utf-8?q?Ann_=3Cann=40x.test=3E?=\nSender: s@x.test", "Ann", "ann@x.test"),
        ("From: =?utf-8?q?boss=40y.test?= <thief@x.test>", "boss@y.test", "thief@x.test"),
        ("From: =?utf-8?q?Sales:_Ann;_Ltd.?= <ann@x.test>", "Sales: Ann; Ltd.", "ann@x.test"),
    ],
)
def test_the_sender_is_the_first_usable_address(header, name, address):
    assert with_header(header).from_ == Address(name, address)


def test_a_mail_without_any_sender_says_so():
    message = with_header("Subject: x")
    assert message.from_ is None and message.from_key == "" and "parse_no_sender" in codes(message)


@pytest.mark.parametrize(
    ("date", "expected", "problem"),
    [
        ("Mon, 2 Nov 2026 11:00:00 +0100", "2026-11-02T10:00:00+00:00", None),
        ("Mon, 2 Nov 2026 11:00:00", "2026-11-02T11:00:00+00:00", None),
        ("Mon, 2 Nov 2026 11:00:00 -0000", "2026-11-02T11:00:00+00:00", None),
        ("2 Nov 26 06:00:00 EST", "2026-11-02T11:00:00+00:00", None),
        ("Mon, 2 Nov 2026 11:00:00 +0000 (GMT)", "2026-11-02T11:00:00+00:00", None),
        ("Mon, 31 Dec 2012 23:59:60 +0000", "2012-12-31T23:59:59+00:00", None),
        ("Mon, 2 Nov 2026 13:00:00 +0000", "2026-11-02T12:00:00+00:00", "parse_date_future"),
        ("Tue, 30 Feb 2026 11:00:00 +0000", "2026-11-02T12:00:00+00:00", "parse_date_unreadable"),
        ("Mon, 2 Nov 2026 11:00:00 +9999999", "2026-11-02T12:00:00+00:00", "parse_date_unreadable"),
        ("yesterday", "2026-11-02T12:00:00+00:00", "parse_date_unreadable"),
        ("", "2026-11-02T12:00:00+00:00", "parse_no_date"),
    ],
)
def test_dates_are_kept_in_utc(date, expected, problem):
    message = with_header(f"From: a@x.test\nDate: {date}")
    assert message.date.isoformat() == expected
    assert problem is None or problem in codes(message)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Message-ID: <a@x>", "<a@x>"),
        ("Message-ID:   <a@x>  ", "<a@x>"),
        ("Message-ID:\n <a@\n x>", "<a@x>"),
        ("Message-Id: a@x", "a@x"),
        ("Message-ID: <a@x> (added by mx)", "<a@x>"),
        ("Message-ID: <a@x>\nMessage-ID: <b@x>", "<a@x>"),
        ("Message-ID: =?utf-8?q?=3C1234567890=40?=\n =?utf-8?q?x=2Etest=3E?=", "<1234567890@x.test>"),
        ("Subject: x", None),
        ("Message-ID:", None),
    ],
)
def test_message_ids_are_trimmed(header, expected):
    assert with_header(header).message_id == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("References: <a@x> <b@x>", ["<a@x>", "<b@x>"]),
        ("In-Reply-To: <c@x>\nReferences: <a@x>\n <b@x>", ["<c@x>", "<a@x>", "<b@x>"]),
        ("References: <a@x>\n <b@x>\nIn-Reply-To: <b@x>", ["<b@x>", "<a@x>"]),
        ("References: <long-id-that-was-\n folded@x>", ["<long-id-that-was-folded@x>"]),
        ("In-Reply-To: Your message of Monday <a@x>", ["<a@x>"]),
        ("In-Reply-To: a@x", ["<a@x>"]),
        ("In-Reply-To: a@x\nReferences: <b@x>", ["<a@x>", "<b@x>"]),
        ("In-Reply-To: <a@x>\nReferences: <b@x>\nIn-Reply-To: <c@x>", ["<a@x>", "<c@x>", "<b@x>"]),
        ("In-Reply-To: =?utf-8?q?=3C1234567890=40?=\n =?utf-8?q?x=2Etest=3E?=", ["<1234567890@x.test>"]),
        ("References: <a@x><b@x>,<c@x>", ["<a@x>", "<b@x>", "<c@x>"]),
        ("Subject: none", []),
    ],
)
def test_references_are_all_ids_of_both_headers(header, expected):
    assert with_header(header).references == expected


def test_recipients_come_from_all_headers_that_name_them():
    message = with_header(
        "To: A <a@x.test>, b@x.test\nTo: second@x.test\nCc: c@x.test\nDelivered-To: D@X.test\nDelivered-To: e@x.test\n"
        "X-Original-To: f@x.test\nEnvelope-To: g@x.test\nResent-To: h@x.test\nX-Forwarded-To: i@x.test"
    )
    assert message.to == ["a@x.test", "b@x.test"]  # of a header that may stand once the first counts
    assert message.cc == ["c@x.test"]
    assert message.delivered_to == ["d@x.test", "e@x.test", "f@x.test", "g@x.test"]
    assert message.resent_to == ["h@x.test", "i@x.test"]
    assert message.recipients == [f"{letter}@x.test" for letter in "abdefghic"]
    assert "parse_header_repeated" in codes(message)


@pytest.mark.parametrize(
    ("header", "expected"),
    [("Return-Path: <>", ""), ("Return-Path: <A@x.test>", "a@x.test"), ("Return-Path: <x>", ""), ("Subject: x", None)],
)
def test_an_empty_return_path_is_not_a_missing_one(header, expected):
    assert with_header(header).return_path == expected


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        (b"=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        (b"=?UTF-8?B?R3LDvMOfZQ==?=", "Grüße"),
        (b"=?utf-8?q?Gr=C3?=\n =?utf-8?q?=BC=C3=9Fe?=", "Grüße"),
        (b"=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "日本"),
        ("Grüße".encode(), "Grüße"),
        ("Grüße".encode("latin-1"), "Grüße"),
        (b"a\0b", "a b"),
        (b"=?no-such-charset?q?abc?=", "abc"),
        (b"=?utf-8?b?broken", "=?utf-8?b?broken"),
        (b"folded\n\tover lines", "folded over lines"),
    ],
)
def test_subjects_are_decoded(subject, expected):
    assert read(b"Subject: " + subject + b"\n\nx").subject == expected


@pytest.mark.parametrize(
    ("header", "automatic"),
    [
        ("Auto-Submitted: auto-replied", True),
        ("Auto-Submitted: auto-replied (vacation)", True),
        ("Auto-Submitted: auto-generated", False),
        ("Auto-Submitted: auto-notified", False),
        ("Auto-Submitted: no\nSubject: Out of office", False),
        ("X-Autoreply: yes", True),
        ("X-Autorespond: x", True),
        ("X-Autoreply: no", False),
        *(
            (f"{name}: yes", True)
            for name in ("X-Auto-Reply", "X-Mail-Autoreply", "X-Autoresponder", "X-Yahoo-Autoreply")
        ),
        ("X-Autoreply-From: a@x.test", True),
        ("X-Precedence: auto_reply", True),
        ("Preference: auto-reply", True),
        ("X-Autogenerated: Reply", True),
        ("X-Autogenerated: Forward", False),
        ("Precedence: auto_reply", True),
        ("Precedence: bulk", False),
        ("Subject: Automatic reply: Your offer", True),
        ("Subject: Automatische Antwort: Ihr Angebot", True),
        ("Subject: Abwesenheitsnotiz: Ihr Angebot", True),
        ("Subject: Abwesenheit: Max, 3b", False),
        ("Return-Path: <>\nSubject: Abwesenheit: Ihr Angebot", True),
        ("In-Reply-To: <1@x.test>\nSubject: Abwesenheit: Ihr Angebot", True),
        ("Precedence: bulk\nSubject: On vacation", True),
        ("Subject: Re: Automatic reply: Your offer", False),
        ("Subject: Automatic doors", False),
        ("Subject: Automobile", False),
        ("Subject: Réponse automatique : votre offre", True),
        ("X-Auto-Response-Suppress: All", False),
        ("Subject: Hello", False),
    ],
)
def test_automatic_answers_are_told_from_generated_mail(header, automatic):
    assert with_header(header).is_auto_reply is automatic


@pytest.mark.parametrize(
    ("header", "listed"),
    [("List-Id: <l.x.test>", True), ("Precedence: list", True), ("Precedence: bulk", True), ("Subject: list", False)],
)
def test_lists(header, listed):
    assert with_header(header).is_list is listed


def test_our_own_headers():
    message = with_header("X-CoquiMail-Id: abc\nX-CoquiMail-Loop: def")
    assert (message.own_id, message.loop_tag) == ("abc", "def")


# --- bodies and attachments


@pytest.mark.parametrize(
    ("raw", "html", "text", "attachments"),
    [
        ("From: a@x.test\n\nhello", None, "hello", []),
        ("From: a@x.test\r\n\r\nline\r\nline\r\n", None, "line\nline\n", []),
        ("From: a@x.test\nContent-Type: text/html\n\n<p>hi</p>", "<p>hi</p>", "hi", []),
        (multipart(TEXT, HTML, kind="alternative"), "<p>marked</p>", "words", []),
        (multipart(HTML, TEXT, kind="alternative"), "<p>marked</p>", "words", []),
        (multipart(TEXT, PDF), None, "words", ["a.pdf"]),
        (multipart(TEXT, PDF, "Content-Type: text/plain\n\nmore"), None, "words\n\nmore", ["a.pdf"]),
        (
            multipart(HTML, PDF, "Content-Type: text/plain\n\n1 < 2"),
            '<p>marked</p>\n<div style="white-space:pre-wrap">1 &lt; 2</div>',
            "marked\n\n1 < 2",
            ["a.pdf"],
        ),
        (multipart(TEXT, "Content-Type: text/plain; name=notes.txt\n\nx"), None, "words", ["notes.txt"]),
        (multipart(TEXT, "Content-Disposition: attachment\n\nx"), None, "words", ["attachment-1.txt"]),
        (multipart(TEXT, "Content-Type: text/calendar; method=REQUEST\n\nBEGIN"), None, "words", ["invite.ics"]),
        (multipart(TEXT, "Content-Type: application/octet-stream\n\nx"), None, "words", ["attachment-1"]),
        (multipart(TEXT, "Content-Type: image/png\n\nx"), None, "words", ["attachment-1.png"]),
        (multipart(TEXT, "Content-Type: text/plain\n\n \n"), None, "words", []),
        (
            multipart(TEXT, "Content-Type: message/rfc822\n\nSubject: Inner\n\nsecret words"),
            None,
            "words",
            ["Inner.eml"],
        ),
        (multipart(f"Content-Type: multipart/alternative; boundary=c\n\n--c\n{TEXT}\n--c\n{HTML}\n--c--", PDF),
         "<p>marked</p>", "words", ["a.pdf"]),
        ("From: a@x.test\nContent-Type: text/plain; name=letter.txt\n\nhello", None, "hello", []),
        ("From: a@x.test\nContent-Type: application/pdf\n\n%PDF", None, "", ["attachment-1.pdf"]),
        (multipart("Content-Type: multipart/digest; boundary=c\n\n--c\n\nSubject: I\n\nx\n--c--"),
         None, "preamble", ["I.eml"]),
    ],
)  # fmt: skip
def test_bodies_and_attachments(raw, html, text, attachments):
    message = read(raw)
    assert (message.html, message.text) == (html, text)
    assert [part.name for part in message.attachments] == attachments


def test_the_text_of_an_attached_mail_does_not_leak():
    message = read(
        multipart(
            TEXT, "Content-Type: message/rfc822\n\n" + multipart(HTML, PDF).replace("--b", "--c").replace('"b"', "c")
        )
    )
    assert message.html is None and [part.type for part in message.attachments] == ["message/rfc822"]
    assert b"%PDF" in message.attachments[0].content


def test_images_of_the_html_are_inline():
    picture = "Content-Type: image/png; name=p.png\nContent-ID: <p1@x>\nContent-Disposition: inline\n\nx"
    html = 'Content-Type: text/html\n\n<img src="cid:p1@x">'
    shown, loose = (read(multipart(page, picture, kind="related")).attachments[0] for page in (html, HTML))
    assert (shown.cid, shown.inline, loose.inline) == ("p1@x", True, False)
    encoded = 'Content-Type: text/html\n\n<img src="cid:p%31%40x">'
    assert read(multipart(encoded, picture, kind="related")).attachments[0].inline


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("attachment; filename=a.pdf", "a.pdf"),
        ('attachment; filename="a b;c.pdf"', "a b;c.pdf"),
        ("attachment; filename*=utf-8''gr%C3%BC%C3%9Fe.pdf", "grüße.pdf"),
        ("attachment; filename*0*=utf-8''gr%C3%BC; filename*1=sse.pdf", "grüsse.pdf"),
        ('attachment; filename*1="b.pdf"; filename*0="a"', "ab.pdf"),
        ('attachment; filename="=?utf-8?q?gr=C3=BC=C3=9Fe.pdf?="', "grüße.pdf"),
        ('attachment; filename="../../etc/passwd"', "passwd"),
        (r'attachment; filename="C:\\temp\\a.pdf"', "a.pdf"),
        ('attachment; filename="a.pdf', "a.pdf"),
        ('attachment; filename="%s.pdf"' % ("x" * 300), "x" * 130 + ".pdf"),
    ],
)
def test_file_names(value, name):
    raw = multipart(TEXT, f"Content-Type: application/pdf\nContent-Disposition: {value}\n\nx")
    assert [part.name for part in read(raw).attachments] == [name]


@pytest.mark.parametrize(
    ("header", "body", "text", "problem"),
    [
        ('text/plain; charset="iso-8859-1"', "Grüße".encode("latin-1"), "Grüße", None),
        ("text/plain; charset=utf-8", "Grüße".encode(), "Grüße", None),
        ("text/plain", "Grüße".encode(), "Grüße", None),
        ("text/plain", "Grüße".encode("cp1252"), "Grüße", None),
        ("text/plain; charset=us-ascii", "Grüße".encode(), "Grüße", None),
        ("text/plain; charset=klingon", "Grüße".encode(), "Grüße", "parse_charset_unknown"),
        ("text/plain; charset=utf-8", b"Gr\xfc\xdfe", "Gr��e", "parse_text_damaged"),
        ("text/plain; charset=zlib", b"abc", "abc", "parse_charset_unknown"),
        ("text/plain; charset=punycode", b"abc", "abc", None),
        ("text/plain; charset=iso-8859-8-i", b"\xf9\xec\xe5\xed", "שלום", None),
        ("text/plain; charset=windows-874", b"\xca\xc7\xd1\xca", "สวัส", None),
        ("text/plain; charset=iso-2022-jp", "日本".encode("iso-2022-jp"), "日本", None),
        ("text/plain; charset=gb2312", "中文".encode("gb18030"), "中文", None),
        ("text/plain; charset=utf-8", b"a\0b", "ab", "parse_zero_bytes"),
        ("text/plain; charset=utf-8", b"\xef\xbb\xbfabc", "abc", None),
        ("text/plain\n  charset=utf-8", "ü".encode(), "ü", None),
        ("text", b"abc", "abc", None),
    ],
)
def test_character_sets(header, body, text, problem):
    message = read(b"Content-Type: " + header.encode() + b"\n\n" + body)
    assert message.text == text
    assert problem is None or problem in codes(message)


@pytest.mark.parametrize(
    ("encoding", "body", "text", "problem"),
    [
        ("base64", b"aGVsbG8=", "hello", None),
        ("BASE64", b"aGVs\r\nbG8=\r\n", "hello", None),
        ("base64", b"aGVsbG8", "hello", "parse_base64"),
        ("base64", b"aGV!sbG8=??", "hello", None),
        ("base64", b"aGVsbG8x=a", "hello1", None),
        ("quoted-printable", b"hel=6Co =\nthere", "hello there", None),
        ("x-uuencode", b"begin 644 f\n%:&5L;&\\ \n`\nend\n", "hello", None),
        ("x-uuencode", b"begin 644 f\n%:&5L;&\\ rubbish\n`\nend\n", "hello", None),
        ("x-uuencode", b"begin 644 f\n%:&5L;&\\rubbish\n`rubbish\nend\n", "hello", None),
        ("uue", b"begin 644 f\n%:&5L;&\\\nwords between\n%:&5L;&\\\n", "hellohello", None),
        ("uuencode", b"no beginning", "no beginning", None),
        ("8bit", b"hello", "hello", None),
        ("nonsense", b"hello", "hello", None),
    ],
)
def test_transfer_encodings(encoding, body, text, problem):
    message = read(b"Content-Transfer-Encoding: " + encoding.encode() + b"\n\n" + body)
    assert message.text.strip() == text and message.too_much is None
    assert problem is None or problem in codes(message)


def attribute(identity: int, value: bytes) -> bytes:
    return b"\x02" + struct.pack("<II", identity, len(value)) + value + b"\0\0"


def test_winmail_is_unpacked():
    tnef = struct.pack("<IH", 0x223E9F78, 1) + attribute(0x00069002, b"x" * 14)
    tnef += attribute(0x00018010, b"offer.doc\0") + attribute(0x0006800F, b"contents")
    raw = multipart(
        TEXT,
        "Content-Type: application/ms-tnef; name=winmail.dat\nContent-Transfer-Encoding: base64\n\n"
        + base64.b64encode(tnef).decode(),
    )
    assert [(part.name, part.content) for part in read(raw).attachments] == [("offer.doc", b"contents")]
    broken = raw.replace(base64.b64encode(tnef).decode(), base64.b64encode(tnef[:9]).decode())
    assert [part.name for part in read(broken).attachments] == ["winmail.dat"]


# --- as mail programs write them


@pytest.mark.parametrize(
    ("file", "name", "subject", "shown", "attachments"),
    [
        ("gmail-reply", "Ann Customer", "Re: Your offer", "Thanks, we take it — all five.\nAnn", []),
        ("outlook-reply", "Jürgen Müller", "AW: Ihr Angebot",
         "Einverstanden, bitte liefern.\nMit freundlichen Grüßen\nJ. Müller",
         ["image001.png inline", "Auftragsbestätigung.pdf"]),
        ("apple-mail-reply", "Bob", "Re: Your offer", "Too expensive.", []),
        ("thunderbird-below-the-quote", "Carl", "Re: Your offer",
         "On 02/11/2026 10:00, Clerk wrote:\n> Dear Carl,\n> here is our offer.\n\n"
         "Good, please send the invoice to the old address.", []),
        ("invitation", "Ann", "Invitation: Meeting @ Tue", "You are invited.", ["invite.ics", "invite.ics"]),
        ("japanese", "山田", "Re: 見積", "お世話になっております。\n注文します。", []),
        ("list-footer-and-attached-mail", "Dora", "[talk] Printer broken",
         "It prints überhaupt nothing.\n_______________________________________________ talk mailing list"
         " https://lists.test/talk", ["Error 42.eml"]),
        ("raw-8-bit-and-no-id", "Jürgen", "Größe der Tür", "Wie groß ist die Tür?", []),
    ],
)  # fmt: skip
def test_mails_of_real_programs(file, name, subject, shown, attachments):
    message = read((FOLDER / "messages" / f"{file}.eml").read_bytes())
    body, is_html = (clean_html(message.html), True) if message.html else (message.text, False)
    visible = body[: fold_at(body, is_html)]
    assert (message.from_.name, message.subject) == (name, subject)
    assert (text_of_html(visible) if is_html else visible.strip()) == shown
    found = [f"{part.name} inline" if part.inline else part.name for part in message.attachments]
    assert found == attachments


# --- broken and hostile


@pytest.mark.parametrize(
    ("raw", "text", "problem"),
    [
        (b"", "", "parse_no_sender"),
        (b"\n", "", "parse_no_sender"),
        (b"no header at all\nsecond line", "no header at all\nsecond line", "parse_no_blank_line"),
        (b"From: a@x.test", "", "parse_no_message_id"),
        (
            b"From: a@x.test\nSubject: x\nbody without an empty line\n",
            "body without an empty line\n",
            "parse_no_blank_line",
        ),
        (b"From: a@x.test\n\x80\x81 noise\nSubject: x\n\nbody", "body", "parse_line_noise"),
        (b"From a@x.test Mon Nov 2\nFrom: a@x.test\n\nbody", "body", "parse_no_message_id"),
        (b"From: a@x.test\rSubject: x\r\rbody", "body", "parse_line_ends"),
        (b"Content-Type: multipart/mixed\n\nno boundary", "no boundary", "parse_no_boundary"),
        (b"Content-Type: multipart/mixed; boundary=b\n\nnothing", "nothing", "parse_no_boundary"),
        (b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\ncut off", "cut off", "parse_not_closed"),
        (b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\n--bc\n--b--", "--bc", "parse_no_sender"),
        (b"Content-Type: /\n\nbody", "body", "parse_no_sender"),
        (b"Content-Type: mul\x9aipart/mixed\n\nbody", "body", "parse_no_sender"),
    ],
)
def test_broken_mails_are_read_as_far_as_they_go(raw, text, problem):
    message = read(raw)
    assert message.too_much is None
    assert message.text == text
    assert problem in codes(message)


def test_a_mistake_of_ours_keeps_the_mail_with_its_words(monkeypatch):
    def broken(raw: bytes, arrived_at: datetime) -> None:
        raise LookupError("never thought of")

    monkeypatch.setattr("mail.message.parse._parse", broken)
    raw = b"Subject: s\n\nwords"
    message = read(raw)
    assert message.too_much == why("parse_failed", error="LookupError: never thought of")
    assert (message.raw, message.text, message.date) == (raw, "Subject: s\n\nwords", NOW)


def nested(levels: int) -> bytes:
    head = "".join(f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n" for n in range(levels))
    return f"From: a@x.test\nSubject: deep\n{head}{TEXT}\n".encode()


def many(parts: int) -> bytes:
    return multipart(*[TEXT] * parts).encode()


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (lambda: nested(100), None),
        (lambda: nested(101), "parse_too_deep"),
        (lambda: many(1000), None),
        (lambda: many(1001), "parse_too_many_parts"),
        (lambda: b"Subject: s\nX: " + b"x" * (255 * 1024) + b"\n\nbody", None),
        (lambda: b"Subject: s\nX: " + b"x" * (257 * 1024) + b"\n\nbody", "parse_header_too_large"),
        (lambda: b"Subject: s\n\n" + b"x" * (50 * 1024 * 1024 + 1), "parse_too_large"),
        (
            lambda: (
                b"Content-Type: application/ms-tnef\n\n"
                + struct.pack("<IH", 0x223E9F78, 1)
                + (attribute(0x00069002, b"") + attribute(0x0006800F, b"x")) * 30_000
            ),
            "parse_too_many_parts",
        ),
    ],
)
def test_limits_lead_to_quarantine_and_keep_what_was_read(raw, code):
    message = read(raw())
    assert (message.too_much["code"] if message.too_much else None) == code
    assert message.subject in ("deep", "s", "")


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (lambda: nested(20_000), "parse_too_deep"),
        (lambda: many(100_000), "parse_too_many_parts"),
        (lambda: b"Subject: s\n" + b"X: y\n" * 200_000 + b"\nbody", "parse_header_too_large"),
        (lambda: b"Subject: s\nTo: " + b"a@x.test, " * 20_000 + b"\n\nbody", None),
        (lambda: b"Content-Type: " + b"?" * 250_000 + b"\n\nbody", None),
        (lambda: b"Subject: " + b"=?utf-8?q?a b" * 20_000 + b"\n\nbody", None),
        (lambda: b"From: " + b"=?a?q?x" * 36_000 + b" <a@x.test>\n\nbody", None),
        (lambda: b"Subject: s\n\n" + b"begin 644 a\n#0V%T\n" * 50_000, None),
        (lambda: b"Subject: s\n\n" + b"=ybegin line=1 size=1 name=a\n" * 40_000, None),
        (lambda: multipart(*["\n" + "begin 644 a\n#0V%T\n`\nend\n" * 120] * 99).encode(), "parse_too_many_parts"),
        (lambda: b"Subject: s\n" + (b"x\n" * 190 + b"To: a@x.test\n") * 600 + b"\nbody", None),
        (lambda: b"Content-Type: multipart/mixed\n\n" + b"--" * 500_000, None),
        (lambda: b"Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n" + b"=" * 1_000_001, None),
    ],
)
def test_far_beyond_the_limits_is_little_work(raw, code):
    with little_work():
        message = read(raw())
    assert (message.too_much["code"] if message.too_much else None) == code


@pytest.mark.parametrize("seed", range(4))
def test_nothing_raises(seed):
    rng = random.Random(seed)
    samples = [path.read_bytes() for path in SAMPLES if path.stat().st_size < 20_000]
    for _ in range(150):
        raw = bytearray(rng.choice(samples))
        for _ in range(rng.randrange(1, 20)):
            where = rng.randrange(len(raw))
            match rng.randrange(3):
                case 0:
                    raw[where] = rng.randrange(256)
                case 1:
                    del raw[where : where + rng.randrange(200)]
                case 2:
                    raw[where:where] = rng.randbytes(rng.randrange(20))
            if not raw:
                break
        message = parse(bytes(raw), NOW)
        assert message.too_much is None, message.too_much
        clean_html(message.html or ""), message_key(message)


# --- the standard library as the reference


# Where base64 is damaged or the wrong boundary is named.
WE_READ_MORE = {"parse_base64", "parse_boundary_guessed"}


def test_there_are_samples():
    assert len(SAMPLES) > 300


@pytest.mark.parametrize("crlf", [False, True])
def test_the_structure_is_the_standard_librarys(crlf):
    for path in SAMPLES:
        raw = path.read_bytes().replace(b"\r\n", b"\n")
        raw = raw.replace(b"\n", b"\r\n") if crlf else raw
        if not WE_READ_MORE & codes(parse(raw, NOW)):
            assert_same_leaves(raw, path.name)


@pytest.mark.parametrize("seed", range(3))
def test_the_structure_of_damaged_mails_is_the_standard_librarys(seed):
    rng = random.Random(seed)
    samples = [path.read_bytes() for path in SAMPLES if path.stat().st_size < 10_000]
    compared = 0
    while compared < 150:
        raw = rng.choice(samples)
        lines = raw.split(b"\n")
        match rng.randrange(3):
            case 0:
                lines = lines[: rng.randrange(1, len(lines) + 1)]
            case 1:
                del lines[rng.randrange(len(lines))]
            case 2:
                lines.insert(rng.randrange(len(lines)), rng.choice(lines).lstrip())
        raw = b"\n".join(lines)
        if not (WE_READ_MORE | {"parse_line_noise", "parse_no_blank_line"}) & codes(parse(raw, NOW)):
            assert_same_leaves(raw, raw.decode("latin-1"))
            compared += 1


def assert_same_leaves(raw: bytes, name: str) -> None:
    assert own_leaves(raw) == standard_leaves(email.message_from_bytes(raw)), name


def standard_leaves(tree: Message) -> list[tuple[str, bytes | None]]:
    if tree.get_content_maintype() == "multipart" and tree.is_multipart():
        return [leaf for part in tree.get_payload() for leaf in standard_leaves(part)]
    if tree.get_content_maintype() == "message":
        return [(tree.get_content_type(), None)]
    kind = "text/plain" if tree.get_content_maintype() == "multipart" else tree.get_content_type().split()[0]
    return [(kind, trimmed(tree.get_payload(decode=True)))]


def own_leaves(raw: bytes) -> list[tuple[str, bytes | None]]:
    leaves: list[tuple[str, bytes | None]] = []

    class Recorder(StructureReader):
        def _leaf(self, fields, kind, parameters, start, end, depth):
            encoding = fields.get("content-transfer-encoding", [""])[0]
            content = (
                None
                if kind.startswith("message/")
                else trimmed(undo_transfer_encoding(self.raw[start:end], encoding)[0])
            )
            leaves.append((kind, content))
            return super()._leaf(fields, kind, parameters, start, end, depth)

    reader = Recorder(raw, [])
    fields, body = reader.header(0, len(raw))
    reader.part(fields, body, len(raw), 0, "text/plain")
    return leaves


def trimmed(content: bytes) -> bytes:
    return content.replace(b"\r\n", b"\n").rstrip()


# --- keys

KEYED = "From: a@x.test\nDate: Mon, 2 Nov 2026 11:00:00 +0100\nSubject: s\nMessage-ID: <1@x>\n\nbody\n"


@pytest.mark.parametrize(
    "copy",
    [
        "Received: by mx\nDelivered-To: other@x.test\n" + KEYED,
        KEYED.replace("\n", "\r\n"),
        KEYED.replace("<1@x>", "  <1@x>  "),
        KEYED.replace("From: a@x.test", "From: Ann <A@x.test>"),
        KEYED.replace("\n\nbody", "\nContent-Transfer-Encoding: base64\n\nYm9keQo="),
        KEYED + "\n",
    ],
)
def test_copies_have_one_key(copy):
    assert message_key(read(copy)) == message_key(read(KEYED))


@pytest.mark.parametrize(
    "other",
    [
        KEYED.replace("<1@x>", "<2@x>"),
        KEYED.replace("a@x.test", "b@x.test"),
        KEYED.replace("Subject: s", "Subject: t"),
        KEYED.replace("body", "other body"),
        KEYED.replace("11:00", "11:01"),
        KEYED.replace("Message-ID: <1@x>\n", ""),
        KEYED.replace("\n\nbody", "\nContent-Type: application/pdf\n\nbody"),
    ],
)
def test_other_mails_have_other_keys(other):
    assert message_key(read(other)) != message_key(read(KEYED))


def test_without_id_and_date_every_arrival_is_a_mail_of_its_own():
    raw = b"From: cron@x.test\nSubject: disk full\n\nsame words"
    first, later = parse(raw, NOW), parse(raw, NOW.replace(hour=13))
    assert message_key(first) != message_key(later)
    assert message_key(first) == message_key(parse(raw, NOW))

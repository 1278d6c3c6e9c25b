"""Composed mails: what a parser that is not ours reads out of them, and what can't get into them."""

import email
import email.policy
import email.utils
import re
from datetime import UTC, datetime, timedelta, timezone
from email.header import decode_header, make_header

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.decide.large_files import octets_of_text
from mail.errors import InvalidAddress
from mail.message.address import needs_smtputf8, parse_addresses
from mail.message.compose import (
    Draft,
    File,
    HeaderError,
    _header,
    clean_id,
    compose,
    header,
    html_to_text,
    with_addresses,
    with_id,
)
from mail.message.words import one_line

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
FROM, TO = '"Clerk" <notifications@mycompany.test>', "ann@example.com"


def draft(**values):
    return Draft(**{"subject": "Hello", "date": NOW, "text": "Hello Ann", **values})


def whole(made):
    return with_addresses(with_id(compose(made), "<id1@mycompany.test>"), FROM, TO)


def read(**values):
    content = whole(draft(**values))
    assert_well_formed(content)
    return email.message_from_bytes(content, policy=email.policy.default)


def assert_well_formed(content):
    assert content.endswith(b"\r\n")
    assert b"\n" not in content.replace(b"\r\n", b"") and b"\r" not in content.replace(b"\r\n", b"")
    assert b"\0" not in content
    assert all(len(line) <= 998 for line in content.split(b"\r\n"))


def text_of(part):
    return part.get_content().replace("\r\n", "\n").rstrip("\n")


def test_the_headers_of_a_notification():
    mail = read(
        reply_to='"My Company Order 7" <sales@mycompany.test>',
        references=["<root@mycompany.test>", "<parent@example.com>"],
        suppress_auto_replies=True,
        date=datetime(2026, 11, 22, 12, 30, tzinfo=timezone(timedelta(hours=2))),
    )
    assert mail.items() == [
        ("From", "Clerk <notifications@mycompany.test>"),
        ("To", "ann@example.com"),
        ("Message-ID", "<id1@mycompany.test>"),
        ("Date", "Sun, 22 Nov 2026 10:30:00 +0000"),
        ("In-Reply-To", "<parent@example.com>"),
        ("References", "<root@mycompany.test> <parent@example.com>"),
        ("Subject", "Hello"),
        ("Reply-To", "My Company Order 7 <sales@mycompany.test>"),
        ("X-Auto-Response-Suppress", "All"),
        ("MIME-Version", "1.0"),
        ("Content-Type", 'text/plain; charset="utf-8"'),
        ("Content-Transfer-Encoding", "7bit"),
    ]


def test_the_bytes_of_a_small_mail():
    assert whole(draft(auto_submitted="auto-replied")).decode() == "\r\n".join(
        [
            'From: "Clerk" <notifications@mycompany.test>',
            "To: ann@example.com",
            "Message-ID: <id1@mycompany.test>",
            "Date: Sun, 22 Nov 2026 10:00:00 +0000",
            "Subject: Hello",
            "Auto-Submitted: auto-replied",
            "MIME-Version: 1.0",
            "Content-Type: text/plain; charset=utf-8",
            "Content-Transfer-Encoding: 7bit",
            "",
            "Hello Ann",
            "",
        ]
    )


@pytest.mark.parametrize(
    ("values", "shape"),
    [
        ({}, "text/plain"),
        ({"html": "<p>Hi</p>", "text": None}, "multipart/alternative[text/plain, text/html]"),
        ({"html": "<p>Hi</p>", "text": "Hi"}, "multipart/alternative[text/plain, text/html]"),
        ({"attachments": [File("a.pdf", "application/pdf", b"1")]}, "multipart/mixed[text/plain, application/pdf]"),
        (
            {"html": '<img src="cid:logo">', "attachments": [File("a.png", "image/png", b"1", "logo")]},
            "multipart/alternative[text/plain, multipart/related[text/html, image/png]]",
        ),
        (
            {
                "html": '<img src="cid:logo">',
                "attachments": [File("b.pdf", "a/pdf", b"2"), File("a.png", "image/png", b"1", "logo")],
            },
            "multipart/mixed[multipart/alternative[text/plain, multipart/related[text/html, image/png]], a/pdf]",
        ),
        # an image that the page does not show would be invisible: it is attached
        (
            {"html": "<p>Hi</p>", "attachments": [File("a.png", "image/png", b"1", "logo")]},
            "multipart/mixed[multipart/alternative[text/plain, text/html], image/png]",
        ),
        ({"attachments": [File("a", "nonsense", b"1")]}, "multipart/mixed[text/plain, application/octet-stream]"),
        (
            {"attachments": [File("a", "multipart/mixed", b"1")]},
            "multipart/mixed[text/plain, application/octet-stream]",
        ),
        ({"attachments": [File("a", "a/b\r\nX: y", b"1")]}, "multipart/mixed[text/plain, application/octet-stream]"),
        (
            {"attachments": [File("a.eml", "message/rfc822", b"Subject: x\r\n\r\nbody\r\n")]},
            "multipart/mixed[text/plain, message/rfc822[text/plain]]",
        ),
        (
            {"attachments": [File("a.eml", "message/rfc822", b"Subject: x\r\n\r\nb\xfcdy\r\n")]},
            "multipart/mixed[text/plain, application/octet-stream]",
        ),
    ],
)
def test_the_parts(values, shape):
    def shape_of(part):
        inside = f"[{', '.join(map(shape_of, part.iter_parts()))}]" if part.is_multipart() else ""
        if part.get_content_type() == "message/rfc822":
            inside = f"[{shape_of(part.get_content())}]"
        return part.get_content_type() + inside

    assert shape_of(read(**values)) == shape


def test_an_inline_image_is_found_by_its_id():
    mail = read(html='<img src="cid:logo@x">', attachments=[File("a.png", "image/png", b"\x89PNG", "logo@x")])
    image = list(mail.walk())[-1]
    assert (image["Content-ID"], image.get_content_disposition(), image.get_content()) == (
        "<logo@x>",
        "inline",
        b"\x89PNG",
    )


@pytest.mark.parametrize(
    "name",
    [
        "offer.pdf",
        "Angebot für Jürgen.pdf",
        "見積書.pdf",
        "a" * 150 + ".pdf",
        "ü" * 150 + ".pdf",
        'a "quoted" name.pdf',
        "back\\slash.pdf",
        "semi;colon, comma.pdf",
        "100%.pdf",
        "=?utf-8?q?x?=.pdf",
    ],
)
def test_names_of_files_come_back(name):
    mail = read(attachments=[File(name, "application/pdf", b"x")])
    assert [part.get_filename() for part in mail.iter_attachments()] == [name]


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("a\r\nBcc: x@y.z", "a  Bcc: x@y.z"),
        ("", "attachment"),
        ("x" * 300 + ".pdf", "x" * 196 + ".pdf"),
        ("a\0b", "ab"),
    ],
)
def test_names_of_files_that_can_not_stand(name, written):
    mail = read(attachments=[File(name, "application/pdf", b"x")])
    assert [part.get_filename() for part in mail.iter_attachments()] == [written]


@pytest.mark.parametrize(
    ("text", "coding"),
    [
        ("plain", "7bit"),
        ("Grüße", "base64"),
        ("Viele Grüße aus Köln, wir haben Ihre Bestellung", "quoted-printable"),
        ("日本語の本文", "base64"),
        ("x" * 2000, "quoted-printable"),
        ("-- \nAnn", "quoted-printable"),
        ("From here", "quoted-printable"),
        ("--=_mixed_0", "quoted-printable"),
    ],
)
def test_how_a_text_is_coded(text, coding):
    mail = read(text=text)
    assert (mail["Content-Transfer-Encoding"], text_of(mail)) == (coding, text)
    assert len(mail.get_payload()) <= octets_of_text(text)


def test_ids_are_never_folded_in_the_middle():
    ids = [f"<{'x' * length}.{length}@mail.example.com>" for length in (5, 60, 200, 900 - 30, 10)]
    content = with_id(compose(draft(references=ids)), ids[2])
    for one in ids:
        assert one.encode() in content
    assert email.message_from_bytes(content, policy=email.policy.default)["References"].split() == ids


def test_ids_that_can_not_be_written_are_left_out():
    mail = read(references=["", "<>", "<ü@x>", "a b@x", "<" + "x" * 2000 + "@y>", "<a@x>\r\nBcc: b@x", "<ok@x>"])
    assert mail["References"] == "<ab@x> <ok@x>"
    assert mail["Bcc"] is None


@pytest.mark.parametrize(
    ("from_header", "line"),
    [
        ('"Clerk" <a@x.test>', '"Clerk" <a@x.test>'),
        ("Clerk <a@x.test>", '"Clerk" <a@x.test>'),
        ("a@x.test", "a@x.test"),
        ('"Jürgen" <a@bücher.example>', "=?utf-8?q?J=C3=BCrgen?= <a@xn--bcher-kva.example>"),
        ("=?utf-8?q?J=C3=BCrgen?= <a@x.test>", "=?utf-8?q?J=C3=BCrgen?= <a@x.test>"),
        ('"A\r\nBcc: b@x.test" <a@x.test>', '"A Bcc: b@x.test" <a@x.test>'),
        ("jürgen@x.test", "jürgen@x.test"),
    ],
)
def test_the_from_of_a_recipient(from_header, line):
    assert with_addresses(b"", from_header, "b@x.test").decode() == f"From: {line}\r\nTo: b@x.test\r\n"


@pytest.mark.parametrize("wrong", ["", "Clerk", "a@", '"a@x.test"'])
def test_a_recipient_without_an_address_is_refused(wrong):
    with pytest.raises(InvalidAddress):
        with_addresses(b"", FROM, wrong)


def test_a_long_name_is_folded_between_its_words():
    content = with_addresses(b"", f'"{"ü" * 100}" <a@x.test>', TO)
    assert all(len(line) <= 76 for line in content.split(b"\r\n"))
    name, address = email.utils.parseaddr(email.message_from_bytes(content + b"\r\n")["From"])
    assert (str(make_header(decode_header(name))), address) == ("ü" * 100, "a@x.test")


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"headers": [("X: y\r\nBcc", "b@x")]}, HeaderError),
        ({"headers": [("", "b@x")]}, HeaderError),
        ({"headers": [("bcc", "b@x")]}, HeaderError),
        ({"reply_to": "nobody"}, InvalidAddress),
        ({"date": datetime(2026, 11, 22)}, ValueError),
    ],
)
def test_what_is_not_written(values, error):
    with pytest.raises(error):
        compose(draft(**values))


@pytest.mark.parametrize("piece", ["a\rBcc: b@x", "a\nBcc: b@x", "a\0", "a" * 999, "ü" * 499])
def test_the_one_place_that_writes_headers_relies_on_no_other(piece):
    with pytest.raises(HeaderError):
        _header("X", [piece])


@pytest.mark.parametrize("wrong", ["<a@x>\r\nBcc: b@x", "a@x", "", "<>"])
def test_a_message_id_that_is_not_written(wrong):
    with pytest.raises(HeaderError):
        with_id(compose(draft()), wrong)


def test_a_content_that_an_earlier_version_stored_keeps_its_one_message_id():
    date, rest = compose(draft()).split(b"\r\n", 1)
    stored = b"\r\n".join([date, b"Message-ID: <old@mycompany.test>", rest])
    assert with_id(stored, "<old@mycompany.test>") == stored
    forged = compose(draft(text="one\r\nMessage-ID: <x@y>", subject="Message-ID: <x@y>"))
    assert with_id(forged, "<new@mycompany.test>").startswith(b"Message-ID: <new@mycompany.test>\r\nDate: ")


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("", ""),
        ("<p></p>", ""),
        ("<p>One</p><p>Two</p>", "One\n\nTwo\n"),
        ('<a href="https://x.y/a(b)">here</a>, then', "here (https://x.y/a(b)), then\n"),
        ('<a href="https://x.y">https://x.y</a>', "https://x.y\n"),
        ('<a href="mailto:a@x.y">a@x.y</a>', "a@x.y\n"),
        ('<a href="#top">up</a>', "up\n"),
        ('<a href="https://x.y"><img src="logo.png"></a>', "https://x.y\n"),
        ("<table><tr><td>a<td>b<tr><td>c<td>d</table>", "a  b\nc  d\n"),
        ("<script>bad()</script><style>p{}</style><p>good", "good\n"),
        ("&lt;b&gt; &amp; co", "<b> & co\n"),
        ("a\0b\x07c", "abc\n"),
        ("<div>" * 5000 + "deep", "deep\n"),
        ("<!-- only a comment -->", ""),
        ('<div style="display:none">hidden</div>seen', "seen\n"),
        ('<div style="padding-left: 90000em; margin-top: 90000em">x</div>', "x\n"),
        ("<?xml version='1.0' encoding='latin-1'?><p>x</p>", "x\n"),
        ("<?xml\tversion='1.0' encoding='latin-1'?><p>x</p>", "x\n"),
    ],
)
def test_the_text_of_a_page(html, text):
    assert html_to_text(html) == text


# --- properties

NASTY = st.text(alphabet=st.sampled_from(list("a@<>\"'\\,;:=?_.% \t\r\n\0\x0b\x85\u2028ü日😀\ud800-")), max_size=120)
ANY = st.one_of(st.text(max_size=200), NASTY)
SET_BY_US = {
    *("From", "To", "Date", "Message-ID", "In-Reply-To", "References", "X-CoquiMail-Id", "Subject", "Reply-To"),
    *("MIME-Version", "Content-Type", "Content-Transfer-Encoding", "X-Note"),
}


@pytest.mark.heavy
@given(ANY, ANY, ANY, ANY, ANY, ANY)
def test_no_value_can_forge_a_header(subject, name, reference, file_name, mime_type, note):
    content = compose(
        draft(
            subject=subject,
            references=[reference],
            attachments=[File(file_name, mime_type, b"x", file_name), File(file_name, "text/plain", b"y")],
            html=f"<img src='cid:{file_name}'>",
            text=None,
            headers=[("X-Note", note)],
        )
    )
    who = f'"{name}" <a@example.com>'.replace("\\", "")
    content = with_id(content, "<id1@mycompany.test>")
    try:
        content = with_addresses(content, who, TO)
    except InvalidAddress:
        content = with_addresses(content, FROM, TO)
    assert_well_formed(content)
    if not content.isascii():  # the quotes of the name ended, and an address behind them needs SMTPUTF8
        assert any(needs_smtputf8(one.address) for one in parse_addresses(who))
        return
    mail = email.message_from_bytes(content, policy=email.policy.default)
    assert set(mail.keys()) <= SET_BY_US
    assert len(mail.keys()) == len(set(mail.keys()))
    assert not [defect for part in mail.walk() for defect in part.defects]
    assert len([part for part in mail.walk() if part.get_content_disposition()]) == 2
    head = content.partition(b"\r\n\r\n")[0].decode()
    assert all(re.match(r"[A-Za-z-]+:|[ \t]", line) for line in head.split("\r\n"))


PLAIN = st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Zl", "Zp", "Zs", "Cn", "Co", "Cs"])
LINES = st.lists(st.text(PLAIN | st.sampled_from(" \t=_.-"), max_size=200), max_size=8).map("\n".join)


@pytest.mark.heavy
@given(
    st.text(PLAIN | st.just(" "), max_size=300),
    LINES,
    st.binary(max_size=300),
    st.text(PLAIN, min_size=1, max_size=150),
)
def test_a_parser_reads_what_was_given(subject, text, data, file_name):
    mail = read(
        subject=subject, text=text, html=f"<p>{text}</p>", attachments=[File(file_name, "application/x-y", data)]
    )
    attached = next(iter(mail.iter_attachments()))
    assert mail["Subject"] == one_line(subject)
    assert text_of(mail.get_body(("plain",))) == text.rstrip("\n")
    assert len(mail.get_body(("plain",)).get_payload()) <= octets_of_text(text)
    assert text_of(mail.get_body(("html",))) == f"<p>{text}</p>"
    assert attached.get_content() == data
    assert attached["Content-Disposition"].params["filename"] == file_name  # get_filename() unquotes twice


@given(ANY)
def test_one_free_header_stays_one(value):
    line = header("X-Note", value)
    assert len(email.message_from_bytes(line + b"\r\n").keys()) == 1
    assert clean_id(value) is None or clean_id(clean_id(value)) == clean_id(value)

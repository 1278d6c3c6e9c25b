"""What a compiled mailing gives each recipient: read back by the standard library, it is exactly what was written."""

import email
import email.policy
import html as html_module
import re
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, getaddresses

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mail.errors import FieldNotClosed, InvalidAddress, MergeError, UnknownField
from mail.mailing.merge_fields import FIELDS, MergeField, parse
from mail.mailing.template import CompiledMailing, MailingAttachment, compile_mailing, derive_text
from mail.message.words import one_line
from mail.sentences import say

NOW = format_datetime(datetime(2026, 11, 22, 9, 30, tzinfo=UTC))
FIRST = MergeField("contact.first_name", "")


def compiled(**parts) -> CompiledMailing:
    return compile_mailing(
        **{"subject": "Hello", "html": "<p>Hello</p>", "from_header": '"Office" <news@office.test>'} | parts
    )


def rendered(mailing: CompiledMailing, values: dict[str, str] | None = None, **more) -> bytes:
    return mailing.render(
        values or {},
        **{"to_address": "ann@example.com", "message_id": "<t1@office.test>", "own_id": "t1", "date": NOW} | more,
    )


def read(raw: bytes) -> EmailMessage:
    return email.message_from_bytes(raw, policy=email.policy.default)


def part(message: EmailMessage, subtype: str) -> str:
    found = message.get_body((subtype,))
    assert found is not None
    return found.get_content().replace("\r\n", "\n")


# --- the grammar


@pytest.mark.parametrize(
    ("source", "pieces"),
    [
        ("no field", ["no field"]),
        ("", []),
        ("{{contact.first_name}}", [FIRST]),
        ("{{  contact.first_name  }}", [FIRST]),
        ('a {{ contact.first_name or "there" }} b', ["a ", MergeField("contact.first_name", "there"), " b"]),
        ("{{ contact.first_name or 'there' }}", [MergeField("contact.first_name", "there")]),
        ("{{ contact.first_name or “there” }}", [MergeField("contact.first_name", "there")]),
        (r'{{ contact.first_name or "say \"hi\"" }}', [MergeField("contact.first_name", 'say "hi"')]),
        ('{{ contact.first_name or "a\nBcc: x" }}', [MergeField("contact.first_name", "a Bcc: x")]),
        ("{{ contact.first_name }}{{ contact.email }}", [FIRST, MergeField("contact.email", "")]),
        ('{{ "{{" }} stays', ["{{ stays"]),
        ("a } b }} c { d", ["a } b }} c { d"]),
        ("{% if x %} and {# this #}", ["{% if x %} and {# this #}"]),
    ],
)
def test_what_a_source_means(source, pieces):
    assert parse(source, "Subject", FIELDS) == pieces


def test_an_editor_may_have_escaped_the_quotes():
    assert parse("{{ contact.first_name or &quot;there&quot; }}", "HTML", FIELDS, in_html=True) == [
        MergeField("contact.first_name", "there")
    ]
    assert parse("{{&nbsp;contact.first_name&nbsp;}}", "HTML", FIELDS, in_html=True) == [FIRST]


@pytest.mark.parametrize(
    ("source", "error", "said"),
    [
        ("\n\nHi {{ contact.nmae }}", UnknownField, "HTML, line 3: the merge field “contact.nmae” does not exist"),
        ("{{ config }}", UnknownField, "HTML, line 1: the merge field “config” does not exist"),
        ("\n{{ contact.name", FieldNotClosed, "HTML, line 2: the merge field that begins with “{{ contact.name”"),
        ("{{ contact.name {{ contact.email }}", FieldNotClosed, "HTML, line 1"),
        ("{{ }}", MergeError, "HTML, line 1: “{{ }}” is not a merge field"),
        ("{{ contact.name or there }}", MergeError, "“{{ contact.name or there }}” is not a merge field"),
        ("{{ contact.__class__ }}", UnknownField, "contact.__class__"),
        ("{{ contact.name() }}", MergeError, "is not a merge field"),
        ("{{ 7 * 7 }}", MergeError, "is not a merge field"),
        ("{{ contact.name | upper }}", MergeError, "is not a merge field"),
        ("{{ <b>contact.name</b> }}", MergeError, "is not a merge field"),
        ("{{ " + "a" * 600 + " }}", MergeError, "is not a merge field"),
    ],
)
def test_a_mistake_is_named_with_its_line(source, error, said):
    with pytest.raises(error) as caught:
        compiled(html=source)
    assert type(caught.value) is error
    assert said in say(caught.value.why)


def test_a_mistake_names_the_part():
    for name, parts in (
        ("Subject", {"subject": "{{ x }}"}),
        ("Preview text", {"preheader": "{{ x }}"}),
        ("Text", {"text": "{{ x }}"}),
    ):
        with pytest.raises(UnknownField) as caught:
            compiled(**parts)
        assert caught.value.why["values"]["part"] == name


# --- headers


def test_all_headers_of_a_mailing():
    mailing = compiled(
        subject="News for {{ contact.first_name }}",
        from_header="Müller & Co <news@office.test>",
        reply_to="sales@office.test",
        list_id="mailing-7.office.test",
        feedback_id="7:mailing:office",
        headers={"X-Campaign": "Spring"},
    )
    message = read(
        rendered(
            mailing,
            {"contact.first_name": "Ann"},
            to_name="Ann Doe",
            unsubscribe_url="https://office.test/u/abc",
            unsubscribe_mailto="bounce@office.test?subject=abc",
        )
    )
    assert {name: str(value) for name, value in message.items() if name != "Content-Type"} == {
        "To": "Ann Doe <ann@example.com>",
        "Subject": "News for Ann",
        "Date": "Sun, 22 Nov 2026 09:30:00 +0000",
        "Message-ID": "<t1@office.test>",
        "X-CoquiMail-Id": "t1",
        "List-Unsubscribe": "<https://office.test/u/abc>, <mailto:bounce@office.test?subject=abc>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        "From": "Müller & Co <news@office.test>",
        "Reply-To": "sales@office.test",
        "List-Id": "<mailing-7.office.test>",
        "Precedence": "bulk",
        "Feedback-ID": "7:mailing:office",
        "X-Campaign": "Spring",
        "MIME-Version": "1.0",
    }
    assert not message.defects


def test_without_links_there_is_no_unsubscribe_header():
    message = read(rendered(compiled()))
    assert "List-Unsubscribe" not in message
    assert "List-Unsubscribe-Post" not in message
    only_mailto = read(rendered(compiled(), unsubscribe_mailto="out@office.test"))
    assert only_mailto["List-Unsubscribe"] == "<mailto:out@office.test>"
    assert "List-Unsubscribe-Post" not in only_mailto


HOSTILE = ["a\r\nBcc: all@example.com", "a\nX: y", "a\r\rb", "a\x00b", "a\u2028b", "a\x85b", "\r\n\r\n<script>"]


@pytest.mark.parametrize("value", HOSTILE)
def test_no_value_forges_a_header(value):
    mailing = compiled(subject="Hi {{ contact.name }}", html="<p>{{ contact.name }}</p>")
    raw = rendered(mailing, {"contact.name": value}, to_name=value)
    assert set(read(raw).keys()) == set(read(rendered(mailing)).keys())
    assert raw.count(b"\r\n") == raw.count(b"\n") == raw.count(b"\r")
    assert b"Bcc" not in {line.split(b":")[0] for line in raw.split(b"\r\n")}


@pytest.mark.parametrize("value", HOSTILE)
def test_no_part_of_the_office_forges_a_header(value):
    expected = set(
        read(rendered(compiled(reply_to="a@b.test", list_id="x", feedback_id="y", headers={"X-A": "b"}))).keys()
    )
    raw = rendered(
        compiled(
            subject=value,
            from_header=f'"{value}" <news@office.test>',
            reply_to=f'"{value}" <a@b.test>',
            list_id=value,
            feedback_id=value,
            headers={"X-A": value},
        )
    )
    assert set(read(raw).keys()) == expected


@pytest.mark.parametrize("bad", ["a\r\nX: y", "a b", "é", "a\n"])
@pytest.mark.parametrize("place", ["message_id", "own_id", "unsubscribe_url", "unsubscribe_mailto"])
def test_ids_and_links_that_would_break_a_header_are_refused(place, bad):
    with pytest.raises(ValueError, match="can't stand in a header"):
        rendered(compiled(), **{place: bad})


@pytest.mark.parametrize(
    "address", ["", "nobody", "a@b.test\r\nX: y", "a@b.test, c@d.test", "<a@b.test>x", "a b@c.test"]
)
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(InvalidAddress):
        rendered(compiled(), to_address=address)


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("", "ann@example.com"),
        ("Ann", "Ann.Doe+x@example.com"),
        ("Doe, Ann", "ann@example.com"),
        ('Ann "the boss" \\ Doe', "ann@example.com"),
        ("Ann <boss@evil.test>", "ann@example.com"),
        ("Jürgen Müller", "j@example.com"),
        ("=?utf-8?q?fake?=", "ann@example.com"),
        ("A" * 80, "ann@example.com"),
        ("A" * 40, "a" * 60 + "@example.com"),
        ("日本語の名前" * 12, "ann@example.com"),
        ("O'Brien (sales)", "o'brien@example.com"),
    ],
)
def test_the_recipient_reads_as_given(name, address):
    raw = rendered(compiled(), to_name=name, to_address=address)
    message = read(raw)
    [(shown, found)] = [(one.display_name, one.addr_spec) for one in message["To"].addresses]
    # The standard library keeps the blank between two encoded words of a name; RFC 2047 6.2 says it is none.
    assert (shown.replace(" ", "") if not name.isascii() else shown, found) == (
        name.replace(" ", "") if not name.isascii() else name,
        address,
    )
    assert [pair[1] for pair in getaddresses([email.message_from_bytes(raw)["To"]])] == [address]


def test_long_subjects_are_folded_and_read_the_same():
    for subject in ("word " * 60 + "end", "x" * 1500, "日本語" * 100, "a" * 66, "a" * 67):
        raw = rendered(compiled(subject=subject))
        assert read(raw)["Subject"] == subject


# --- bodies

# Everything that has a meaning somewhere between a template and a mail program.
AWKWARD = st.text(
    st.one_of(
        st.sampled_from(list("\n\n.=?_ \tF<>&\"'{}%:;@\\-")),
        st.sampled_from(["é", "ß", "日", "😀", "\u00a0", "\u200b"]),
        st.characters(codec="ascii", categories=["L", "N"]),
    ),
    max_size=200,
)
LITERAL = st.one_of(
    AWKWARD,
    st.sampled_from(["From me", ".", "..", "\n.\n", "=\n", "a" * 74, "a" * 75, "a" * 76, "a " * 90, "\nFrom x"]),
).filter(lambda text: "{{" not in text)
VALUE = st.one_of(
    AWKWARD, st.sampled_from(["Ann", ".", ".a", "From here", "a" * 75, "a" * 76, "é" * 40, "=3D", "--=_coqui"])
)
NAMES = ["contact.name", "contact.first_name", "contact.company"]
SOURCE = st.lists(st.one_of(LITERAL, st.sampled_from(NAMES).map(lambda name: MergeField(name, ""))), max_size=8)


def written(pieces) -> str:
    """The source; a text that ends in a brace is kept apart from the next field."""
    source = "".join(
        f"{{{{ {piece.field} }}}}" if isinstance(piece, MergeField) else piece + "\x01" for piece in pieces
    )
    return source.replace("{\x01{", "{ {").replace("\x01", "")


def filled(pieces, values, escape=lambda value: value) -> str:
    """What a recipient must read, said a second time without any of the code that is tested."""
    source = "".join(
        escape(one_line(values[piece.field])) if isinstance(piece, MergeField) else piece + "\x01" for piece in pieces
    )
    return source.replace("\x01", "")


def usable(pieces) -> bool:
    return not re.search(
        r"\{\s*\{", "".join(piece if isinstance(piece, str) else "\x02" for piece in pieces)
    ) and not any(isinstance(piece, str) and piece.endswith("{") for piece in pieces)


@given(
    subject=SOURCE.filter(usable),
    html=SOURCE.filter(usable),
    text=SOURCE.filter(usable),
    values=st.fixed_dictionaries(dict.fromkeys(NAMES, VALUE)),
)
@example(subject=["a"], html=[MergeField("contact.name", "")], text=["."], values=dict.fromkeys(NAMES, "."))
@example(
    subject=["=?x"], html=["a\n.", MergeField("contact.name", ""), "."], text=["x "], values=dict.fromkeys(NAMES, "")
)
@pytest.mark.heavy
def test_a_rendered_mail_reads_exactly_as_written(subject, html, text, values):
    text = [*text, "x"]  # an empty text part would be derived from the HTML
    mailing = compiled(subject=written(subject), html=written(html), text=written(text))
    raw = rendered(mailing, values)

    message = read(raw)
    expected_html = filled(html, values, html_module.escape)
    assert part(message, "html") == expected_html == mailing.html(values)
    assert part(message, "plain") == filled(text, values) == mailing.text(values)
    expected_subject = one_line(filled(subject, values))
    assert str(message["Subject"]) == expected_subject == mailing.subject(values)
    assert not message.defects

    assert raw.isascii()
    assert raw.count(b"\r\n") == raw.count(b"\n") == raw.count(b"\r")
    head, bodies = raw.split(b"\r\n\r\n", 1)
    assert max(map(len, head.split(b"\r\n"))) <= 998
    assert max(map(len, bodies.split(b"\r\n"))) <= 76
    assert b"\r\n." not in bodies
    assert not any(line.startswith(b"From ") for line in bodies.split(b"\r\n"))


def test_a_value_shorter_or_longer_than_a_line():
    mailing = compiled(html="<p>" + "x" * 70 + "{{ contact.name }}" + "y" * 80 + "{{ contact.name }}</p>")
    for size in (0, 1, 74, 75, 76, 77, 150, 1000):
        name = "n" * size
        raw = rendered(mailing, {"contact.name": name})
        assert part(read(raw), "html") == f"<p>{'x' * 70}{name}{'y' * 80}{name}</p>"
        assert max(map(len, raw.split(b"\r\n"))) <= 76


def test_missing_and_blank_values_get_their_fallback():
    mailing = compiled(subject='Hi {{ contact.first_name or "you" }}', html='{{ contact.first_name or "R&D" }}')
    for values in ({}, {"contact.first_name": ""}, {"contact.first_name": "  "}, {"contact.first_name": "\n"}):
        message = read(rendered(mailing, values))
        assert message["Subject"] == "Hi you"
        assert part(message, "html") == "R&amp;D"
        assert part(message, "plain") == "R&D\n"


def test_values_are_escaped_in_html_only():
    mailing = compiled(subject="{{ contact.name }}", html="<a title='{{ contact.name }}'>{{ contact.name }}</a>")
    message = read(rendered(mailing, {"contact.name": "<b>'R&D'</b>"}))
    escaped = "&lt;b&gt;&#x27;R&amp;D&#x27;&lt;/b&gt;"
    assert part(message, "html") == f"<a title='{escaped}'>{escaped}</a>"
    assert part(message, "plain") == "<b>'R&D'</b>\n"
    assert message["Subject"] == "<b>'R&D'</b>"


def test_a_value_that_looks_like_a_field_stays_a_value():
    mailing = compiled(html="<p>{{ contact.name }} {{ contact.email }}</p>")
    message = read(rendered(mailing, {"contact.name": "{{ contact.email }}", "contact.email": "a@b.test"}))
    assert part(message, "html") == "<p>{{ contact.email }} a@b.test</p>"


def test_constants_are_filled_once():
    mailing = compiled(html="<p>{{ company.name }}</p>", constants={"company.name": "R&D Ltd"})
    assert mailing.fields == frozenset()
    assert part(read(rendered(mailing)), "html") == "<p>R&amp;D Ltd</p>"


def test_fields_of_the_office():
    mailing = compiled(html="{{ contact.fields.birthday }}", fields=[*FIELDS, "contact.fields.birthday"])
    assert mailing.fields == {"contact.fields.birthday"}
    assert part(read(rendered(mailing, {"contact.fields.birthday": "1 May"})), "html") == "1 May"


def test_the_preview_text_stands_invisible_before_the_rest():
    html = '<html><body class="x"><p>Hello</p></body></html>'
    mailing = compiled(html=html, preheader="For {{ contact.name }} & friends")
    message = read(rendered(mailing, {"contact.name": "Ann"}))
    shown = part(message, "html")
    assert re.search(r'<body class="x"><div style="display:none[^>]*>For Ann &amp; friends</div><p>Hello', shown)
    assert "friends" not in part(message, "plain")


def test_the_text_part_is_derived_with_its_fields():
    html = """<html><head><title>T</title><style>p{color:red}</style></head><body>
        <h1>Hello {{ contact.first_name or "there" }}</h1>
        <p>See <a href="https://office.test/a?x=1&amp;y=2">the offer</a> or <a href="https://office.test">https://office.test</a>.</p>
        <ul><li>One</li><li>Two</li></ul>
        <table><tr><td>A</td><td>B</td></tr></table>
        <p><a href="{{ unsubscribe_url }}">Unsubscribe</a> <a href="#top">Top</a></p></body></html>"""
    message = read(rendered(compiled(html=html), {"unsubscribe_url": "https://office.test/u/abc"}))
    assert part(message, "plain") == (
        "Hello there\n\nSee the offer (https://office.test/a?x=1&y=2) or https://office.test.\n\n"
        "  * One\n  * Two\nA  B\n\nUnsubscribe (https://office.test/u/abc) Top\n"
    )


@pytest.mark.parametrize(
    "html", ["", " ", "<img src=x>", "<!-- -->", "just text", "<p>", "</p>", "<?xml version='1'?>"]
)
def test_odd_html_still_has_a_text_part(html):
    assert read(rendered(compiled(html=html))).get_body(("plain",)) is not None


def test_deeply_nested_html_is_no_trap():
    derived = derive_text(["<div>" * 5000 + "deep" + "</div>" * 5000])
    assert all(isinstance(piece, str) for piece in derived)


def test_attachments_reach_everybody_unchanged():
    files = [
        MailingAttachment("price list.pdf", "application/pdf", bytes(range(256)) * 30),
        MailingAttachment("Preise für Ä.txt", "no type", b"hello\r\n"),
        MailingAttachment('a"b\r\nX: y', "text/plain", b""),
    ]
    message = read(rendered(compiled(attachments=files, html="<p>{{ contact.name }}</p>"), {"contact.name": "Ann"}))
    assert message.get_content_type() == "multipart/mixed"
    assert part(message, "html") == "<p>Ann</p>"
    found = [
        (item.get_filename(), item.get_content_type(), item.get_payload(decode=True))
        for item in message.iter_attachments()
    ]
    assert found == [
        ("price list.pdf", "application/pdf", files[0].data),
        ("Preise für Ä.txt", "application/octet-stream", b"hello\r\n"),
        ('a"b X: y', "text/plain", b""),
    ]


# --- the work it takes


class CountedText(str):
    """Text that counts the characters that were looked at, by the calls that look for something in it."""

    looked_at = 0

    def find(self, wanted, start=0, end=None):
        found = super().find(wanted, start) if end is None else super().find(wanted, start, end)
        CountedText.looked_at += (found if found >= 0 else len(self)) - start
        return found

    def count(self, wanted, start=0, end=None):
        CountedText.looked_at += (len(self) if end is None else end) - start
        return super().count(wanted, start, len(self) if end is None else end)


@pytest.mark.parametrize(
    "line", ["{{ contact.name }}\n", '{{ "{{" }} x ', 'a {{ contact.name or "you" }}', "{{contact.name}}" * 3]
)
def test_checking_many_merge_fields_is_linear(line):
    work = []
    for lines in (500, 2000):
        CountedText.looked_at = 0
        parse(CountedText(line * lines), "HTML", FIELDS, in_html=True)
        work.append(CountedText.looked_at)
    assert work[1] <= work[0] * 4.5

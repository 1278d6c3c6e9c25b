"""Headers that an office adds to the emails of a server: what may be added, and that nothing breaks out of them."""

from email import message_from_bytes, policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.message.extra_headers import MOST_HEADERS, encoded_headers, read_headers
from mail.sentences import say


@pytest.mark.parametrize(
    ("text", "code", "sentence"),
    [
        ("X-Tag", "header_without_colon", "Line 1 is not a header."),
        ("X-Tag: a\n\nnothing", "header_without_colon", "Line 3 is not a header."),
        ("X-Tag: a\n X-Other: b", "header_continued", "Line 2 begins with a blank."),
        ("X Tag: a", "header_name", "Line 1 has no valid name"),
        (": a", "header_name", "Line 1 has no valid name"),
        (".X: a", "header_name", "Line 1 has no valid name"),
        ("Überschrift: a", "header_name", "Line 1 has no valid name"),
        (f"{'x' * 61}: a", "header_name", "at most 60"),
        ("X-Tag:  ", "header_empty", "“X-Tag” has no value."),
        ("X-Tag: a\tb", "header_unprintable", "“X-Tag” contains a tab"),
        ("X-Tag: a\0b", "header_unprintable", "“X-Tag” contains a tab"),
        ("X-Tag: a\u2028Bcc: b", "header_unprintable", "“X-Tag” contains a tab"),
        ("X-Tag: a\x85b", "header_unprintable", "“X-Tag” contains a tab"),
        ("X-Tag: a\u200bb", "header_unprintable", "“X-Tag” contains a tab"),
        ("X-Tag: \U000e01f0", "header_unprintable", "“X-Tag” contains a tab"),
        ("X-Tag: " + "x" * 401, "header_too_long", "has 401 characters; at most 400"),
        ("X-Tag: a\n" * 21, "headers_too_many", "At most 20 headers are possible; these are 21."),
    ],
)
def test_what_can_not_be_used_says_why(text: str, code: str, sentence: str) -> None:
    wrong = read_headers(text)[1]
    assert wrong and wrong["code"] == code and sentence in say(wrong)


@pytest.mark.parametrize(
    "name",
    ["From", "TO", "Cc", "bcc", "Sender", "Reply-To", "Subject", "Date", "Message-ID", "References", "In-Reply-To",
     "MIME-Version", "Content-Type", "Content-Language", "Return-Path", "Received", "DKIM-Signature", "ARC-Seal",
     "Authentication-Results", "List-Unsubscribe", "List-Id", "Resent-From", "Precedence", "Auto-Submitted",
     "X-CoquiMail-Id", "Feedback-ID", "X-Auto-Response-Suppress"],
)  # fmt: skip
def test_what_others_write_or_what_would_forge_is_refused(name: str) -> None:
    wrong = read_headers(f"{name}: x")[1]
    assert wrong and wrong["code"] == "header_reserved" and f"“{name}”" in say(wrong)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("", b""),
        ("X-Tag: a\r\nx-tag : b\r", b"X-Tag: a\r\nx-tag: b\r\n"),
        ('X-SMTPAPI: {"category": "a:b"}', b'X-SMTPAPI: {"category": "a:b"}\r\n'),
        ("X-Office: Köln", b"X-Office: =?utf-8?q?K=C3=B6ln?=\r\n"),
        ("X-Long: " + "word " * 40, b"X-Long: " + b" ".join([b"word"] * 13)),
    ],
)
def test_they_are_written_as_mail_wants_them(text: str, written: bytes) -> None:
    assert read_headers(text)[1] is None and encoded_headers(text).startswith(written)


@given(st.text(max_size=300) | st.builds("X-T: {}\nX-U:{}".format, st.text(max_size=200), st.text(max_size=200)))
def test_nothing_breaks_out_and_all_is_read_back(text: str) -> None:
    found, wrong = read_headers(text)
    content = encoded_headers(text)
    assert content.isascii() and all(len(line) <= 998 for line in content.split(b"\r\n"))
    parsed = message_from_bytes(content + b"\r\nbody", policy=policy.compat32)
    assert parsed.keys() == [one.name for one in found][:MOST_HEADERS] and parsed.get_payload() == "body"
    if wrong is None:
        values = message_from_bytes(content + b"\r\n", policy=policy.default).values()
        assert [" ".join(value.split()) for value in values] == [" ".join(one.value.split()) for one in found]

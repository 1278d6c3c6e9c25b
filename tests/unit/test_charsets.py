"""Bytes and a label become the same text in headers, bodies and file names, for every label there is."""

import base64
from datetime import UTC, datetime

import pytest

from mail.message.charsets import _CODECS, codec_of, to_text
from mail.message.parse import IncomingMessage, parse

# What each family of labels must be able to say: letters that only the superset has, too.
SAMPLES: dict[str, tuple[str, bytes]] = {
    "utf-8": ("Grüße 日本 🙂", "Grüße 日本 🙂".encode()),
    "cp866": ("Привет", b"\x8f\xe0\xa8\xa2\xa5\xe2"),
    "cp1252": ("5 € – “Ž”", b"5 \x80 \x96 \x93\x8e\x94"),
    "cp874": ("ราคา 5 €", b"\xc3\xd2\xa4\xd2 5 \x80"),
    "cp1254": ("Şişli €", b"\xdei\xfeli \x80"),
    "gb18030": ("朱镕基 €", b"\xd6\xec\xe9F\xbb\xf9 \x80"),
    "big5hkscs": ("繁體 €", b"\xc1c\xc5\xe9 \xa3\xe1"),
    "euc-jp": ("①日本㈱", b"\xad\xa1\xc6\xfc\xcb\xdc\xad\xea"),
    "iso-2022-jp": ("①日本 ｱ", b"\x1b$B-!F|K\\\x1b(B \x1b(I1\x1b(B"),
    "cp932": ("①日本㈱", b"\x87\x40\x93\xfa\x96{\x87\x8a"),
    "cp949": ("안녕 뷁", b"\xbe\xc8\xb3\xe7 \x94\xee"),
    "iso8859-8": ("שלום", b"\xf9\xec\xe5\xed"),
    "utf-16-le": ("Grüße", "Grüße".encode("utf-16-le")),
    "utf-16-be": ("Grüße", "Grüße".encode("utf-16-be")),
    "utf-7": ("Grüße", b"Gr+APwA3w-e"),
    "hz": ("朱", b"~{Vl~}"),
    "iso2022_kr": ("안녕", b"\x1b$)C\x0e>H3g\x0f"),
    "koi8-r": ("Привет", b"\xf0\xd2\xc9\xd7\xc5\xd4"),
    "koi8-u": ("їжак", b"\xa7\xd6\xc1\xcb"),
}


def sample(codec: str) -> tuple[str, bytes]:
    """The letters of a single-byte set that Python knows as it is: its upper half, as far as it is letters."""
    if codec in SAMPLES:
        return SAMPLES[codec]
    text = "".join(
        letter
        for octet in range(0xC0, 0x100)
        if (letter := bytes([octet]).decode(codec, "replace")).isalpha() and letter.isprintable()
    )
    return text, text.encode(codec)


def mail_with(octets: bytes, label: str) -> IncomingMessage:
    """A mail that says the same in its subject (B and Q), its sender's name, its body and the names of two files."""
    b_word = f"=?{label}?B?{base64.b64encode(octets).decode()}?="
    q_word = f"=?{label}?Q?{''.join(f'={octet:02X}' for octet in octets)}?="
    percent = "".join(f"%{octet:02X}" for octet in octets)
    lines = [
        f"From: {q_word} <ann@x.test>",
        f"Subject: {b_word}",
        'Content-Type: multipart/mixed; boundary="b"',
        "",
        "--b",
        f'Content-Type: text/plain; charset="{label}"',
        "Content-Transfer-Encoding: base64",
        "",
        base64.encodebytes(octets).decode(),
        "--b",
        f"Content-Disposition: attachment; filename*={label}''{percent}",
        "",
        "x",
        "--b",
        f'Content-Type: application/pdf; name="{b_word}"',
        "",
        "x",
        "--b--",
        "",
    ]
    return parse("\n".join(lines).encode(), datetime(2026, 11, 2, tzinfo=UTC))


OTHERS = {"cp437", "cp850", "cp852", "ISO-8859-1", "Windows-1251", "X-GBK", "win1252", "cp-1252", "IBM00858", "dos-850"}
OTHERS |= {"Windows1257", "ansi-1250", "csWindows1250", "csGBK", "csGB18030", "csUTF8"}


@pytest.mark.parametrize("label", sorted({*_CODECS, *OTHERS}))
def test_the_same_text_everywhere(label):
    text, octets = sample(codec_of(label) or "")
    message = mail_with(octets, label)
    assert message.from_ is not None
    assert (message.subject, message.from_.name, message.text.strip()) == (text, text, text)
    assert [part.name for part in message.attachments] == [text, text]
    assert not [problem for problem in message.problems if "charset" in problem["code"] or "damaged" in problem["code"]]


@pytest.mark.parametrize(
    ("label", "octets", "text"),
    [
        ("utf-8", b"S\xc3\xb6hne \xc3", "Söhne �"),
        ("utf-8", b"a\xffb\xc3\xbcc", "a�büc"),
        ("gb2312", b"\xd6\xec\xff\xbb\xf9", "朱�基"),
        ("euc-jp", b"\xc6\xfc\xff\xcb\xdc", "日�本"),
        ("big5", b"\xc1c\xff\xc5\xe9", "繁�體"),
        ("euc-kr", b"\xbe\xc8\xff\xb3\xe7", "안�녕"),
        ("windows-1253", b"\xe1\xd2\xe2", "α�β"),
        ("iso-2022-jp", b"\x1b$BF|K", "日�"),
        ("", b"S\xc3\xb6hne \xc3", "Söhne �"),
        ("", b"K\xf6ln", "Köln"),
        ("x-nonsense", b"K\xc3\xb6ln", "Köln"),
        ("us-ascii", b"K\xf6ln 5 \x80", "Köln 5 €"),
        ("unknown-8bit", b"K\xc3\xb6ln", "Köln"),
        ("iso-8859-1", b"\xef\xbb\xbfK\xc3\xb6ln", "Köln"),
        ("", b"\xff\xfeK\0\xf6\0", "Kö"),
        ("", b"\xfe\xff\0K\0\xf6", "Kö"),
        ("unicode_escape", b"\\x41", "\\x41"),
        ("base64", b"QQ==", "QQ=="),
        ("\0", b"x", "x"),
    ],
)
def test_what_is_damaged_is_replaced_letter_by_letter(label, octets, text):
    assert to_text(octets, label).text == text


@pytest.mark.parametrize(
    ("label", "page", "text"),
    [
        ("", b'<meta charset="windows-1251">\xcf\xf0\xe8', "При"),
        ("", b"<META http-equiv=Content-Type content='text/html; charset=koi8-r'>\xf0\xd2\xc9", "При"),
        ("us-ascii", b"<meta charset=shift_jis>\x87\x40", "①"),
        ("x-nonsense", b"<meta charset=gb2312>\xe9F", "镕"),
        ("windows-1252", b"<meta charset=utf-8>\x80", "€"),  # the label wins
        ("", b"<!-- <meta charset=koi8-r> -->\xc3\xbc", "ü"),
        ("", b"<meta charset=utf-16>\xc3\xbc", "ü"),
        ("", b"<meta charset=x-nonsense>\xfc", "ü"),
        ("", b"\xef\xbb\xbf<meta charset=koi8-r>\xc3\xbc", "ü"),
        ("", b" " * 1024 + b"<meta charset=koi8-r>\xc3\xbc", "ü"),  # too far down
        ("", b"<metadata charset=koi8-r>\xc3\xbc", "ü"),
    ],
)
def test_a_page_may_name_its_character_set_itself(label, page, text):
    assert to_text(page, label, is_page=True).text.endswith(text)


@pytest.mark.parametrize(
    ("octets", "label", "code"),
    [
        (b"\xff", "utf-8", "parse_text_damaged"),
        (b"x", "x-nonsense", "parse_charset_unknown"),
        (b"x", "", None),
        (b"\xfc", "us-ascii", None),
    ],
)
def test_it_says_what_was_wrong(octets, label, code):
    problem = to_text(octets, label).problem
    assert (problem and problem["code"]) == code

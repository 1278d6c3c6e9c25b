"""Whichever part holds what a person can read is shown: named texts, what Outlook packed, what S/MIME signed."""

import base64
import struct
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7

from mail.message.html import text_of_html
from mail.message.parse import IncomingMessage, parse
from mail.message.rtf import read_rtf, unpack_rtf

NOW = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)


def read(raw: str | bytes) -> IncomingMessage:
    return parse(raw.encode() if isinstance(raw, str) else raw, NOW)


def multipart(*parts: str, kind: str = "mixed") -> str:
    body = "".join(f"--b\n{part}\n" for part in parts)
    return f'From: a@x.test\nContent-Type: multipart/{kind}; boundary="b"\n\n{body}--b--\n'


def part(kind: str, content: str, disposition: str = "") -> str:
    more = f"\nContent-Disposition: {disposition}" if disposition else ""
    return f"Content-Type: {kind}{more}\n\n{content}"


PDF = part("application/pdf; name=a.pdf", "%PDF")
NOTE = part("text/plain; name=note.txt", "the words")
SAVED = part("text/plain", "the words", "attachment; filename=note.txt")
BLANK_PAGE = part("text/html", "<html><head><style>p {color: red}</style></head><body><p>&nbsp;</p></body></html>")
OFFICE_PAGE = part(
    "text/html", "<!--[if gte mso 9]><xml><o:PixelsPerInch>96</o:PixelsPerInch></xml><![endif]--><body><br></body>"
)


@pytest.mark.parametrize(
    ("raw", "shown", "attachments"),
    [
        # the only text has a file name
        (multipart(NOTE), "the words", []),
        (multipart(NOTE, PDF), "the words", ["a.pdf"]),
        (multipart(part("text/plain", "the words", "inline; filename=note.txt"), PDF), "the words", ["a.pdf"]),
        (multipart(part("text/html; name=a.htm", "<p>the words</p>"), PDF), "the words", ["a.pdf"]),
        (multipart(NOTE, part("text/html; name=a.htm", "<b>the words</b>"), kind="alternative"), "the words", []),
        (multipart(part("text/plain", " \n"), NOTE), "the words", []),
        (multipart(BLANK_PAGE, NOTE), "the words", []),
        # … and says that it is an attachment: it is shown, and stays one
        (multipart(SAVED), "the words", ["note.txt"]),
        (multipart(SAVED, PDF), "the words", ["note.txt", "a.pdf"]),
        (multipart(part("application/rtf; name=a.rtf", r"{\rtf1\ansi the \b words\b0}"), PDF), "the words",
         ["a.rtf", "a.pdf"]),
        ("Content-Disposition: attachment; filename=n.txt\n\nthe words", "the words", ["n.txt"]),
        (multipart(part("text/markdown; name=a.md", "the words")), "the words", ["a.md"]),
        # what has a body keeps its named texts as attachments
        (multipart(part("text/plain", "body"), NOTE), "body", ["note.txt"]),
        (multipart(SAVED, SAVED), "", ["note.txt", "note.txt"]),
        (multipart(part("text/calendar; name=a.ics", "BEGIN:VCALENDAR")), "", ["a.ics"]),
        (multipart(part("text/csv; name=a.csv", "1,2")), "", ["a.csv"]),
        # a blank page loses against a text with words
        (multipart(part("text/plain", "the words"), BLANK_PAGE, kind="alternative"), "the words", []),
        (multipart(part("text/plain", "the words"), OFFICE_PAGE, kind="alternative"), "the words", []),
        (multipart(part("text/html", "<p>page"), BLANK_PAGE, kind="alternative"), "page", []),
        # an address that nobody escaped is no tag
        ("Content-Type: text/html\n\n<p>Ann <ann@x.test>, see <https://x.test/a>.",
         "Ann <ann@x.test>, see <https://x.test/a>.", []),
    ],
)  # fmt: skip
def test_what_a_person_can_read_is_shown(raw, shown, attachments):
    message = read(raw)
    assert (text_of_html(message.html) if message.html else message.text) == shown
    assert [one.name for one in message.attachments] == attachments


# --- winmail.dat


def attribute(identity: int, value: bytes) -> bytes:
    return b"\x02" + struct.pack("<II", identity, len(value)) + value + b"\0\0"


def properties(*found: tuple[int, int, bytes], of: int = 0x00069003) -> bytes:
    block = struct.pack("<I", len(found) + 3) + struct.pack("<HHI", 0x0003, 0x3FDE, 65001)
    block += struct.pack("<HHIII", 0x1003, 0x3FDF, 2, 1, 2)
    block += struct.pack("<HH", 0x0040, 0x8005) + b"g" * 16 + struct.pack("<II", 1, 3) + b"ab\0\0" + b"t" * 8
    for number, kind, value in found:
        block += struct.pack("<HHII", kind, number, 1, len(value)) + value + b"\0" * (-len(value) % 4)
    return attribute(of, block)


def winmail(*attributes: bytes) -> str:
    tnef = struct.pack("<IH", 0x223E9F78, 1) + attribute(0x00069007, struct.pack("<Q", 1252)) + b"".join(attributes)
    return (
        "Content-Type: application/ms-tnef; name=winmail.dat\nContent-Transfer-Encoding: base64\n\n"
        + base64.encodebytes(tnef).decode()
    )


FILE = attribute(0x00069002, b"x" * 14) + attribute(0x00018010, b"offer.doc\0") + attribute(0x0006800F, b"contents")
HELLO = bytes.fromhex(  # the examples of MS-OXRTFCP 4
    "2d0000002b0000004c5a4675f1c5c7a703000a0072637067313235423 20af32068656c09002062770 5b06c647d0a800fa0".replace(
        " ", ""
    )
)
BEFORE_THE_BEGINNING = struct.pack("<II4sIBH", 15, 5, b"LZFu", 0, 1, 0x83BB)  # five octets from where nothing stands
CROSSING = bytes.fromhex("1a0000001c0000004c5a4675e2d44b51410004205758595a0d6e7d010eb0")


def packed(rtf: bytes) -> bytes:
    return struct.pack("<III", len(rtf) + 12, len(rtf), 0x414C454D) + b"\0\0\0\0" + rtf


FROM_HTML = (
    rb"{\rtf1\ansi\ansicpg1252\fromhtml1 \deff0{\fonttbl{\f0 Arial;}}{\*\htmltag64 <p>}\htmlrtf {\htmlrtf0 Gr\'fc\'dfe"
    rb"{\*\htmltag84 &amp;}\htmlrtf &\htmlrtf0  more{\*\htmltag72 </p>}\htmlrtf \par}\htmlrtf0}"
)


@pytest.mark.parametrize(
    ("inside", "html", "text"),
    [
        (attribute(0x0002800C, b"Gr\xfc\xdfe\0"), None, "Grüße"),
        (properties((0x1000, 0x001F, "Grüße\0".encode("utf-16-le"))), None, "Grüße"),
        (properties((0x1000, 0x001E, b"Gr\xfc\xdfe\0")), None, "Grüße"),
        (properties((0x1013, 0x001F, "<p>Grüße\0".encode("utf-16-le"))), "<p>Grüße", "Grüße"),
        (properties((0x1013, 0x0102, b"<meta charset=utf-8><p>Gr\xc3\xbc\xc3\x9fe")), "<p>Grüße", "Grüße"),
        (properties((0x1009, 0x0102, HELLO)), None, "hello world"),
        (properties((0x1009, 0x0102, packed(FROM_HTML))), "<p>Grüße&amp; more</p>", "Grüße& more"),
        (properties((0x1009, 0x0102, packed(rb"{\rtf1 Gr\u252?\u223?e\par twice}"))), None, "Grüße\ntwice"),
        (properties((0x1009, 0x0102, HELLO), (0x1000, 0x001F, "text\0".encode("utf-16-le"))), None, "text"),
    ],
)
def test_the_words_of_winmail(inside, html, text):
    message = read(multipart(winmail(inside, FILE)))
    assert (message.html or "").endswith(html or "") and message.text.strip() == text
    assert [one.name for one in message.attachments] == ["offer.doc"]


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ((0x3707, 0x001F, "The whole offer.doc\0".encode("utf-16-le")), "The whole offer.doc"),
        ((0x3707, 0x001E, b"Gr\xfc\xdfe.doc\0"), "Grüße.doc"),
        ((0x3705, 0x0003, b"\1\0\0\0"), "offer.doc"),
    ],
)
def test_a_file_in_winmail_has_its_long_name(said, name):
    message = read(multipart(winmail(FILE + properties(said, of=0x00069005))))
    assert [(one.name, one.content) for one in message.attachments] == [(name, b"contents")]


@pytest.mark.parametrize(
    ("inside", "more"),
    [
        (FILE, []),
        (attribute(0x00078008, b"IPM.Microsoft Mail.Note\0") + FILE, []),
        # what can't be unpacked stays in it: a meeting, an attached email, what is cut off
        (attribute(0x00078008, b"IPM.Microsoft Schedule.MtgReq\0") + FILE, ["winmail.dat"]),
        (FILE + attribute(0x00069002, b"x" * 14) + properties((0x3701, 0x000D, b"an email"), of=0x00069005),
         ["winmail.dat"]),
        (FILE + FILE[:-8], ["offer.doc", "winmail.dat"]),
    ],
)  # fmt: skip
def test_a_body_beside_winmail_wins_and_none_of_its_files_is_lost(inside, more):
    message = read(multipart(part("text/plain", "body"), winmail(attribute(0x0002800C, b"other\0"), inside)))
    assert message.text == "body" and [one.name for one in message.attachments] == ["offer.doc", *more]


def test_winmail_that_is_broken_anywhere_is_still_a_mail():
    whole = struct.pack("<IH", 0x223E9F78, 1) + properties((0x1009, 0x0102, packed(FROM_HTML))) + FILE
    for end in range(0, len(whole), 7):
        body = base64.encodebytes(whole[:end]).decode()
        message = read(multipart(f"Content-Type: application/ms-tnef\nContent-Transfer-Encoding: base64\n\n{body}"))
        assert message.too_much is None


@pytest.mark.parametrize(
    ("packed_rtf", "rtf"),
    [
        (HELLO, b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n"),
        (CROSSING, b"{\\rtf1 WXYZWXYZWXYZWXYZWXYZ}"),
        (HELLO[:20], b"{\\rtf1"),
        (BEFORE_THE_BEGINNING, b"     "),
        (b"", b""),
        (b"\0" * 40, b""),
    ],
)
def test_rtf_is_unpacked(packed_rtf, rtf):
    assert unpack_rtf(packed_rtf)[: len(rtf)] == rtf


@pytest.mark.parametrize(
    ("rtf", "text"),
    [
        (rb"{\rtf1 a\par b\tab c\line d}", "a\nb\tc\nd"),
        (rb"{\rtf1{\fonttbl{\f0 Arial;}}{\colortbl;\red0;}{\*\generator X;}{\info{\title t}}words}", "words"),
        (rb"{\rtf1\ansicpg1251 \'cf\'f0\'e8}", "При"),
        (rb"{\rtf1\uc2\u8364??5}", "€5"),
        (rb"{\rtf1 \{a\}\\b\~c}", "{a}\\b\xa0c"),
        (rb"{\rtf1 {\b bold} {\i it}}", "bold it"),
        (rb"{\rtf1 {\field{\*\fldinst HYPERLINK x}{\fldrslt link}}}", "link"),
        (rb"{\rtf1 " + b"{" * 3000 + b"deep", "deep"),
        (b"}}}}no rtf", "no rtf"),
    ],
)
def test_words_of_rtf(rtf, text):
    assert read_rtf(rtf).text == text


# --- S/MIME


@pytest.fixture(scope="module")
def signer():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Ann")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(NOW).not_valid_after(NOW + timedelta(days=9))
    return builder.sign(key, hashes.SHA256()), key


def block(signer, inner: str) -> bytes:
    certificate, key = signer
    builder = pkcs7.PKCS7SignatureBuilder().set_data(inner.replace("\n", "\r\n").encode())
    signed = builder.add_signer(certificate, key, hashes.SHA256())
    return signed.sign(serialization.Encoding.DER, [pkcs7.PKCS7Options.Binary])


def in_one_block(der: bytes, kind: str = "application/pkcs7-mime; smime-type=signed-data; name=smime.p7m") -> str:
    body = base64.encodebytes(der).decode()
    return f"From: a@x.test\nContent-Type: {kind}\nContent-Transfer-Encoding: base64\n\n{body}"


def indefinite(der: bytes) -> bytes:
    """The same as programs write that do not know the length yet: the outermost value ends with two zeros."""
    assert der[:2] == b"\x30\x82"
    return b"\x30\x80" + der[4:] + b"\0\0"


@pytest.mark.parametrize(
    ("inner", "text", "attachments"),
    [
        ("Content-Type: text/plain\n\nthe words", "the words", []),
        (multipart(part("text/plain", "the words"), PDF), "the words\r\n".strip(), ["a.pdf"]),
        (multipart(part("text/plain", "x"), part("text/html", "<p>page"), kind="alternative"), "x", []),
        ("Content-Type: application/pdf; name=a.pdf\n\n%PDF", "", ["a.pdf"]),
    ],
)
@pytest.mark.parametrize("variant", ["der", "indefinite", "by name", "old type"])
def test_a_mail_signed_in_one_block_is_read(signer, inner, text, attachments, variant):
    der = block(signer, inner)
    kinds = {"by name": "application/octet-stream; name=smime.p7m", "old type": "application/x-pkcs7-mime"}
    der = indefinite(der) if variant == "indefinite" else der
    message = read(in_one_block(der, *([kinds[variant]] if variant in kinds else [])))
    assert message.text.strip() == text and [one.name for one in message.attachments] == attachments
    assert "parse_signature_not_checked" in {problem["code"] for problem in message.problems}


@pytest.mark.parametrize("kind", ["pkcs7-signature", "x-pkcs7-signature", "pgp-signature"])
def test_a_signature_beside_a_mail_is_named(kind):
    signature = f"Content-Type: application/{kind}; name=signature\n\nxyz"
    message = read(multipart(part("text/plain", "the words"), signature, kind="signed"))
    assert message.text.strip() == "the words" and [one.name for one in message.attachments] == ["signature"]
    assert "parse_signature_not_checked" in {problem["code"] for problem in message.problems}


def value(tag: int, *contents: bytes) -> bytes:
    """One short value of BER."""
    return bytes([tag, len(b"".join(contents))]) + b"".join(contents)


def signed_block(*contents: bytes) -> bytes:
    data, signed = (value(0x06, bytes.fromhex(f"2a864886f70d01070{kind}")) for kind in (1, 2))
    inner = value(0x30, data, *contents)
    return value(0x30, signed, value(0xA0, value(0x30, value(0x02, b"\1"), value(0x31), inner)))


@pytest.mark.parametrize(
    ("contents", "text", "attachments"),
    [
        ([value(0xA0, value(0x04, b"X: y\n\nthe words"))], "the words", []),
        ([value(0xA0, value(0x24, value(0x04, b"X: y\n\nthe "), value(0x04, b"words")))], "the words", []),
        ([value(0xA0, value(0x24))], "", ["smime.p7m"]),
        ([value(0xA1, value(0x04, b"X: y\n\nthe words"))], "", ["smime.p7m"]),
        ([], "", ["smime.p7m"]),
    ],
    ids=["whole", "in pieces", "no piece", "of another kind", "signed elsewhere"],
)
def test_where_a_signed_block_keeps_its_mail(contents, text, attachments):
    message = read(in_one_block(signed_block(*contents)))
    assert message.text.strip() == text and [one.name for one in message.attachments] == attachments


def test_signed_twice(signer):
    message = read(in_one_block(block(signer, in_one_block(block(signer, "Content-Type: text/plain\n\nthe words")))))
    assert message.text.strip() == "the words"


def test_signed_more_than_ten_times_stays_an_attachment(signer):
    raw = "Content-Type: text/plain\n\nthe words"
    for _ in range(10):
        raw = in_one_block(block(signer, raw))
    assert read(raw).text.strip() == "the words"
    raw = in_one_block(block(signer, raw))
    assert [one.name for one in read(raw).attachments] == ["smime.p7m"]


@pytest.mark.parametrize("end", [0, 1, 2, 5, 20, 40, 60, -1])
def test_a_broken_block_stays_an_attachment_or_is_read_as_far_as_it_goes(signer, end):
    message = read(in_one_block(block(signer, "Content-Type: text/plain\n\nthe words")[:end]))
    assert message.too_much is None
    assert message.text or [one.name for one in message.attachments] == ["smime.p7m"]


def test_what_is_encrypted_stays_an_attachment():
    enveloped = bytes.fromhex("301006092a864886f70d010703a003020100")
    assert [one.name for one in read(in_one_block(enveloped)).attachments] == ["smime.p7m"]

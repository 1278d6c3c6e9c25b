"""Mails that were made to do harm, each with what must become of it: read, or in quarantine with its reason."""

import binascii
import gzip
import io
import struct
import zipfile
from base64 import encodebytes
from collections.abc import Callable
from random import Random
from typing import NamedTuple

MEGABYTE = 1024 * 1024
READ = "read"


class Hostile(NamedTuple):
    """One kind of mail: what follows the usual header, or all of it, and what must become of it."""

    name: str
    make: Callable[[Random], bytes]
    becomes: str  # READ, or the code of the reason
    whole: bool = False  # ``make`` gives the header too
    heavy: bool = False  # for the long test alone


def head(number: int, name: str) -> bytes:
    """The header of a mail that is otherwise for the alias; each from a sender of its own."""
    return (
        f"From: Hostile <h{number}@hostile.test>\nTo: sales@office.test\nSubject: hostile {name}\n"
        f"Date: Mon, 2 Nov 2026 10:00:00 +0000\nMessage-ID: <{number}@hostile.test>\nMIME-Version: 1.0\n"
    ).encode()


def text(body: bytes, kind: str = "text/plain", more: str = "") -> bytes:
    return f"Content-Type: {kind}\n{more}\n".encode() + body


def parts(*contents: bytes) -> bytes:
    return b"Content-Type: multipart/mixed; boundary=b\n\n" + b"".join(b"--b\n" + one + b"\n" for one in contents)


def attached(name: str, content: bytes, kind: str = "application/octet-stream") -> bytes:
    about = f"Content-Type: {kind}; name={name}\nContent-Transfer-Encoding: base64\n\n"
    return parts(b"\nSee the file.", about.encode() + encodebytes(content))


def zip_bomb() -> bytes:
    """Forty kilobytes that are 40 MB, as often as they are unpacked."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("report.xml", b"\0" * (40 * MEGABYTE))
    return packed.getvalue()


def packed_report() -> bytes:
    """What looks like a DMARC report, and is 60 MB once it is unpacked."""
    packed = gzip.compress(b"<feedback>" + b" " * (60 * MEGABYTE))
    return attached("office.test!x.test!1!2.xml.gz", packed, "application/gzip")


def damaged_base64(random: Random) -> bytes:
    letters = binascii.b2a_base64(random.randbytes(MEGABYTE))[:-3]
    return text(letters + b"!", more="Content-Transfer-Encoding: base64\n")


def winmail_bomb() -> bytes:
    """Rich text whose packed form says that it is 4 GB, and repeats itself."""
    rtf = struct.pack("<IIII", 400_000, 0xFFFFFFF0, 0x75465A4C, 0) + b"\xff" + b"\x00\xf0\x01\x0f" * 100_000
    value = struct.pack("<IHHII", 1, 0x0102, 0x1009, 1, len(rtf)) + rtf
    attribute = b"\x01" + struct.pack("<II", 0x00069003, len(value)) + value + b"\0\0"
    return struct.pack("<IH", 0x223E9F78, 1) + attribute


def nested_blocks(levels: int) -> bytes:
    """Signed blocks of no definite length within each other."""
    return b"\x30\x80" * levels


def nested(levels: int) -> bytes:
    below = b"".join(b"\n--b%d\nContent-Type: multipart/mixed; boundary=b%d\n" % (n, n + 1) for n in range(levels))
    return b"Content-Type: multipart/mixed; boundary=b0\n" + below + b"\nend\n"


HOSTILE = (
    Hostile("60 MB", lambda random: text(b"words " * (10 * MEGABYTE)), "mailbox_mail_too_large"),
    Hostile("10,000 parts", lambda random: parts(*[b"\nx"] * 10_000), "parse_too_many_parts"),
    Hostile("5,000 levels", lambda random: nested(5_000), "parse_too_deep"),
    Hostile("zip bomb", lambda random: attached("a.zip", zip_bomb(), "application/zip"), READ),
    Hostile("regular expressions", lambda random: text(b"On On On " * 40_000 + b"> wrote:\n" * 9_000), READ),
    Hostile("no header", lambda random: b"Buy now!\nCheap.\n", "route_nobody", whole=True),
    Hostile("1 MB of header", lambda random: b"X: " + b"y" * MEGABYTE + b"\n\nx", "parse_header_too_large"),
    Hostile(
        "75,000 ids",
        lambda random: b"References: " + b" ".join(b"<%d@ids.test>" % n for n in range(75_000)) + b"\n\nx",
        "parse_header_too_large",
    ),
    Hostile(
        "10,000 ids",
        lambda random: b"References: " + b" ".join(b"<%d@i.test>" % n for n in range(10_000)) + b"\n\nx",
        READ,
    ),
    Hostile("zero bytes", lambda random: b"\0" * MEGABYTE, "parse_header_too_large", whole=True),
    Hostile(
        "12,000 recipients",
        lambda random: b"Cc: " + b", ".join(b"<%d@cc.test>" % n for n in range(12_000)) + b"\n\nx",
        READ,
    ),
    Hostile("noise", lambda random: random.randbytes(MEGABYTE // 4), "route_nobody", whole=True),
    Hostile(
        "5,000 attached mails within each other",
        lambda random: b"Content-Type: message/rfc822\n\n" * 5_000 + b"x",
        READ,
    ),
    Hostile("ampersands", lambda random: text(b"& " * (2 * MEGABYTE), "text/html"), READ),
    Hostile("open tags", lambda random: text(b"<div><b>" * 200_000, "text/html"), READ),
    Hostile("encoded words", lambda random: b"Cc: " + b"=?utf-8?q?" * 20_000 + b"\n\nx", READ),
    Hostile("winmail.dat", lambda random: attached("winmail.dat", winmail_bomb(), "application/ms-tnef"), READ),
    Hostile(
        "signed blocks", lambda random: attached("smime.p7m", nested_blocks(9_000), "application/pkcs7-mime"), READ
    ),
    Hostile("files in the text", lambda random: text(b"begin 644 a\n#0V%T\nend\n" * 30_000), READ),
    Hostile("damaged base64", damaged_base64, READ),
    Hostile("flowing lines", lambda random: text(b"> a \n" * 150_000, "text/plain; format=flowed"), READ),
    Hostile("attributes", lambda random: text(b"<p " + b"a=1 " * 300_000, "text/html"), READ),
    Hostile(
        "boundaries",
        lambda random: b"Content-Type: multipart/mixed; boundary=b\n\n--b" + b"\n--bb" * (4 * MEGABYTE),
        "parse_header_too_large",
        heavy=True,
    ),
    Hostile(
        "one line",
        lambda random: text(b"<p>some <b>words</b> &amp; more</p>" * (40 * MEGABYTE // 35), "text/html"),
        READ,
        heavy=True,
    ),
    Hostile("packed report", lambda random: packed_report(), READ),
)

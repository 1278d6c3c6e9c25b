"""The contents of a part: transfer encodings undone, bytes as the text of a body, damaged ones too."""

import binascii
import quopri
import re

from mail.message.charsets import to_text
from mail.sentences import Why, why

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]+")


def undo_transfer_encoding(content: bytes, encoding: str) -> tuple[bytes, Why | None]:
    """Return the octets that were encoded for the way (RFC 2045 6), as far as they go, and what was wrong."""
    encoding = encoding.partition(";")[0].strip().lower()
    if encoding == "base64":
        try:
            return binascii.a2b_base64(content), None
        except binascii.Error:
            return _damaged_base64(content), why("parse_base64")
    if encoding == "quoted-printable":
        return quopri.decodestring(content), None
    if encoding in ("x-uuencode", "uuencode", "uue", "x-uue"):
        return _uudecode(content), None
    return content, None


def body_text(content: bytes, charset: str, problems: list[Why], *, is_page: bool = False) -> str:
    """Return the text of a body: lines end with a line feed, without NUL and halves of characters."""
    text, problem = to_text(content, charset, is_page=is_page)
    if problem is not None:
        problems.append(problem)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.isascii():
        text = _LONE_SURROGATE.sub("\ufffd", text.removeprefix("\ufeff"))
    return text.replace("\0", "") if "\0" in text else text


def _damaged_base64(content: bytes) -> bytes:
    letters = _NOT_BASE64.sub(b"", content)
    if len(letters) % 4 == 1:
        letters = letters[:-1]
    return binascii.a2b_base64(letters + b"=" * (-len(letters) % 4))


def _uudecode(content: bytes) -> bytes:
    decoded = []
    inside = False
    for line in content.splitlines():
        if line.startswith(b"begin "):
            inside = True
        elif line.strip() == b"end":
            break
        elif inside and line:
            decoded.append(_uudecode_line(line))
    return b"".join(decoded) if inside else content


def _uudecode_line(line: bytes) -> bytes:
    """The octets of a line: some writers leave rubbish at its end, and a line of another kind holds none."""
    needed = (((line[0] - 32) & 63) * 4 + 5) // 3
    try:
        return binascii.a2b_uu(line[:needed])
    except binascii.Error:
        return b""

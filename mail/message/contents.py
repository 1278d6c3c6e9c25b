"""The contents of a part: transfer encodings undone, bytes as the text of a body, damaged ones too."""

import binascii
import quopri
import re

from mail.message.charsets import to_text
from mail.message.in_text import uudecode
from mail.sentences import Why, why

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/=]+")
# No encoder writes such a line: words with blanks between them, a rule, a greeting. Some lists append their footer so.
_PLAIN_LINE = re.compile(
    rb"^(?:[^\s]++[ \t]++[^\s]|[-_*=]{4,}+[ \t\r]*+$|[^\s,.:;!?]{1,30}+[,.:;!?]++[ \t\r]*+$)", re.MULTILINE
)
_ENCODED_LINE = re.compile(rb"^[A-Za-z0-9+/]{60,}+={0,2}[ \t\r]*+$", re.MULTILINE)
_BLOCKS = re.compile(rb"(?:[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)*+")
_BEGINS_WITH_WORDS = re.compile(rb"\s*+(?!begin )")
_BLANKS_BEHIND = re.compile(rb"=[ \t]++(?=\r?\n)")


def undo_transfer_encoding(content: bytes, encoding: str, *, is_text: bool = False) -> tuple[bytes, Why | None]:
    """Return the octets that were encoded for the way (RFC 2045 6), as far as they go, and what was wrong.

    Of a text (``is_text``) the lines that nobody encoded, perhaps all of them, are kept as they are; below a file they
    are none of it.
    """
    encoding = encoding.partition(";")[0].partition("(")[0].strip(" \t\"'").lower()
    if encoding == "base64":
        return _base64(content, is_text)
    if encoding == "quoted-printable":
        return quopri.decodestring(_BLANKS_BEHIND.sub(b"=", content) if b"= " in content else content), None
    if encoding in ("x-uuencode", "uuencode", "uue", "x-uue") and not (is_text and _BEGINS_WITH_WORDS.match(content)):
        return uudecode(content), None
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
    if "\0" in text:
        text = text.replace("\0", "")
        if not any(problem["code"] == "parse_zero_bytes" for problem in problems):
            problems.append(why("parse_zero_bytes"))
    return text


def undo_base64(content: bytes) -> bytes:
    """Return the octets in base64, as far as they go: padding may be missing or in the middle, rubbish is left out.

    >>> undo_base64(b"aGVs*bG8=d29ybGQ")
    b'helloworld'
    """
    return b"".join(map(_without_padding, _NOT_BASE64.sub(b"", content).split(b"=")))


def _without_padding(letters: bytes) -> bytes:
    if len(letters) % 4 == 1:
        letters = letters[:-1]
    return binascii.a2b_base64(letters + b"=" * (-len(letters) % 4))


def _base64(content: bytes, is_text: bool) -> tuple[bytes, Why | None]:
    try:
        octets = binascii.a2b_base64(content)
    except binascii.Error:
        octets = b""
    letters = len(content.translate(None, b"\r\n\t "))
    if letters % 4 == 0 and letters // 4 * 3 - len(octets) in (0, 1, 2):
        return octets, None  # all of it was base64: octets are missing only for its padding
    plain = _PLAIN_LINE.search(content)
    if plain is None:
        are_blocks = _BLOCKS.fullmatch(content.translate(None, b"\r\n\t "))  # some programs join them
        return undo_base64(content), None if are_blocks else why("parse_base64")
    encoded, rest = content[: plain.start()], content[plain.start() :]
    if not encoded.strip() or (is_text and len(encoded.translate(None, b"\r\n\t ")) % 4):
        return content, why(
            "parse_base64"
        )  # none of it is base64; above the first line there is a greeting of one word
    if not is_text:
        return undo_base64(content if _ENCODED_LINE.search(rest) else encoded), why("parse_base64")
    return b"\n".join([undo_base64(encoded), rest]), why("parse_base64")

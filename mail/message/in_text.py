"""What programs write into plain text: files (uuencode, yEnc), and lines that are to flow (RFC 3676). Pure, linear."""

import binascii
import re
import zlib
from typing import NamedTuple

MOST_FILES = 100

_UU_BEGINS = re.compile(rb"^begin [0-7]{3,4} (\S[^\r\n]{0,200})\r?\n", re.MULTILINE)
_UU_LINES = re.compile(rb"((?:[!-M][ -`]{1,90}\r?\n)++)(?:[` ]?\r?\n)?end[ \t]*(?:\r?\n|\Z)")
_YENC_MARKS = re.compile(
    rb"^=y(?:begin [^\r\n]{0,200}?\bname=([^\r\n]{1,200})\r?\n(?:=ypart [^\r\n]{0,200}\n)?"
    rb"|end ([^\r\n]{0,200})(?:\r?\n|\Z))",
    re.MULTILINE,
)
_YENC_SAYS = re.compile(rb"\b(size|p?crc32)=([0-9A-Fa-f]+)")
_IN_NO_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")  # an escape begins Japanese
_BY_42 = bytes((octet - 42) % 256 for octet in range(256))


class FileInText(NamedTuple):
    """A file that stood in a text."""

    name: bytes
    content: bytes
    is_whole: bool


def take_files(text: bytes) -> tuple[bytes, list[FileInText]]:
    """Return a text without the files in it, and these. What only looks like one stays where it is.

    >>> take_files(b"See it.\\nbegin 644 a.txt\\n#0V%T\\n`\\nend\\nBye.\\n")
    (b'See it.\\nBye.\\n', [FileInText(name=b'a.txt', content=b'Cat', is_whole=True)])
    """
    files: list[FileInText] = []
    if b"begin " in text:
        text = _take_uuencoded(text, files)
    return (_take_yenc(text, files) if b"=ybegin " in text else text), files


def flowing(text: str, *, without_blank: bool = False) -> str:
    """Return the paragraphs of a flowed text (RFC 3676) on one line each; quotes keep their marks.

    ``without_blank``: the blank at which a line was broken is none of the text (DelSp).

    >>> flowing("Lines that \\nflow\\n> and \\n> these\\n-- \\nAnn")
    'Lines that flow\\n> and these\\n-- \\nAnn'
    """
    paragraphs: list[list[str]] = []
    flows_at = -1  # the depth of quotes at which the paragraph above goes on
    for line in text.split("\n"):
        words = line.lstrip(">")
        depth = len(line) - len(words)
        words = words.removeprefix(" ")  # stuffed
        flows = words.endswith(" ") and words != "-- "
        if depth != flows_at or words == "-- ":
            paragraphs.append([">" * depth + " " * (depth > 0 and words != "")])
        paragraphs[-1].append(words[:-1] if flows and without_blank else words)
        flows_at = depth if flows else -1
    return "\n".join("".join(pieces) for pieces in paragraphs)


def _take_uuencoded(text: bytes, files: list[FileInText]) -> bytes:
    kept, position = [], 0
    for found in _UU_BEGINS.finditer(text):
        lines = _UU_LINES.match(text, found.end()) if len(files) < MOST_FILES else None
        if lines is not None and all(map(_is_uuencoded, lines[1].splitlines())):
            files.append(FileInText(found[1].strip(), uudecode(found[0] + lines[0]), is_whole=True))
            kept.append(text[position : found.start()])
            position = lines.end()
    return b"".join([*kept, text[position:]])


def uudecode(content: bytes) -> bytes:
    """Return what stands between ``begin`` and ``end``; the content itself if nothing begins there."""
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


def _is_uuencoded(line: bytes) -> bool:
    """Say whether a line is as long as its first character says; in upper case a person's words look like one."""
    octets = (line[0] - 32) & 63
    return (octets * 4 + 5) // 3 <= len(line) <= (octets + 2) // 3 * 4 + 2


def _uudecode_line(line: bytes) -> bytes:
    """The octets of a line: some writers leave rubbish at its end, and a line of another kind holds none."""
    needed = (((line[0] - 32) & 63) * 4 + 5) // 3
    try:
        return binascii.a2b_uu(line[:needed])
    except binascii.Error:
        return b""


def _take_yenc(text: bytes, files: list[FileInText]) -> bytes:
    kept, position = [], 0
    begins = None
    for mark in _YENC_MARKS.finditer(text):
        if mark[1] is not None:
            begins = mark
        elif begins is not None and len(files) < MOST_FILES:
            lines, said = text[begins.end() : mark.start()], dict(_YENC_SAYS.findall(mark[2]))
            content = _undo_yenc(lines)
            fits = said.get(b"size") == b"%d" % len(content)
            if fits or _IN_NO_TEXT.search(lines):  # else it may be what a person wrote
                files.append(FileInText(begins[1].strip(), content, fits and _checksum_fits(content, said)))
                kept.append(text[position : begins.start()])
                position = mark.end()
            begins = None
    return b"".join([*kept, text[position:]])


def _undo_yenc(lines: bytes) -> bytes:
    first, *others = lines.translate(None, b"\r\n").split(b"=")
    escaped = (bytes([(piece[0] - 64) % 256]) + piece[1:] for piece in others if piece)
    return b"".join([first, *escaped]).translate(_BY_42)


def _checksum_fits(content: bytes, said: dict[bytes, bytes]) -> bool:
    checksum = said.get(b"pcrc32", said.get(b"crc32"))
    return checksum is None or int(checksum, 16) == zlib.crc32(content)

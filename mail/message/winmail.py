"""Outlook's ``winmail.dat`` (TNEF, MS-OXTNEF): the words and the files in it, as far as it can be read. Pure."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from mail.message.charsets import to_text
from mail.message.contents import body_text
from mail.message.rtf import read_rtf, unpack_rtf
from mail.message.structure import MOST_PARTS

_SIGNATURE = 0x223E9F78
_NEXT_ATTACHMENT = 0x00069002  # attAttachRenddata
_TITLE = 0x00018010  # attAttachTitle
_DATA = 0x0006800F  # attAttachData
_PROPERTIES = 0x00069005  # attAttachment: MAPI properties of a file
_BODY = 0x0002800C  # attBody
_CLASS = 0x00078008  # attMessageClass
_MESSAGE_PROPERTIES = 0x00069003  # attMsgProps: MAPI properties of the message
_CODE_PAGE = 0x00069007  # attOemCodepage

# MAPI properties that are wanted.
_LONG_NAME, _BODY_TEXT, _BODY_RTF, _BODY_HTML = 0x3707, 0x1000, 0x1009, 0x1013
_TEXT_8, _TEXT_16 = 0x001E, 0x001F
_FIXED_SIZES = {2: 4, 3: 4, 4: 4, 5: 8, 6: 8, 7: 8, 0xA: 4, 0xB: 4, 0x14: 8, 0x40: 8, 0x48: 16}
_COUNTED = (_TEXT_8, _TEXT_16, 0x000D, 0x0102)
_SEVERAL = 0x1000
_MOST_PROPERTIES = 2000


@dataclass(slots=True)
class Winmail:
    """What a ``winmail.dat`` holds: (name, content) of its files, and the words of the mail.

    ``is_whole``: it is not cut off, and holds nothing else, like an email that was attached or the time of a meeting.
    """

    files: list[tuple[str, bytes]] = field(default_factory=list)
    html: str | None = None
    text: str = ""
    is_whole: bool = True


def is_winmail(kind: str, name: str) -> bool:
    """Say whether a part is one, by its type or its name."""
    return kind in ("application/ms-tnef", "application/vnd.ms-tnef") or name.lower() == "winmail.dat"


def unpack_winmail(content: bytes) -> Winmail:
    """Return what is in it; nothing if it is not one."""
    found = Winmail()
    words: dict[int, bytes | str] = {}
    code_page = "cp1252"
    files: list[tuple[str, bytes]] = []
    for identity, size, value in _attributes(content):
        found.is_whole &= len(value) == size
        if identity == _NEXT_ATTACHMENT and len(files) <= MOST_PARTS:
            files.append(("", b""))
        elif identity == _CODE_PAGE and len(value) >= 4:
            code_page = f"cp{struct.unpack_from('<I', value)[0]}"
        elif identity == _CLASS:
            found.is_whole &= b"Note" in value  # "IPM.Microsoft Mail.Note": no meeting, task or contact
        elif identity == _BODY:
            words.setdefault(_BODY, value)
        elif identity == _MESSAGE_PROPERTIES:
            words |= _properties(value, code_page)
        elif files and identity == _TITLE:
            files[-1] = (files[-1][0] or _line(to_text(value, code_page).text), files[-1][1])
        elif files and identity == _DATA:
            files[-1] = (files[-1][0], value)
        elif files and identity == _PROPERTIES:
            name = _properties(value, code_page).get(_LONG_NAME)
            files[-1] = (_line(name) if isinstance(name, str) else files[-1][0], files[-1][1])
    found.files = [(name, data) for name, data in files if data]
    found.is_whole &= len(found.files) == len(files)
    _read_words(found, words, code_page)
    return found


def _read_words(found: Winmail, words: dict[int, bytes | str], code_page: str) -> None:
    """Prefer the words as they were written: HTML, rich text, then text alone."""
    html, rtf, text = words.get(_BODY_HTML), words.get(_BODY_RTF), words.get(_BODY_TEXT)
    if isinstance(html, bytes):
        found.html = body_text(html, "", [], is_page=True).rstrip("\0")
    elif isinstance(html, str):
        found.html = html
    elif isinstance(rtf, bytes):
        rich = read_rtf(unpack_rtf(rtf))
        found.html, found.text = rich.html, rich.text
    plain = words.get(_BODY)
    if isinstance(text, str) and text.strip():
        found.text = text
    elif not found.text and isinstance(plain, bytes):
        found.text = body_text(plain, code_page, [])


def _attributes(content: bytes) -> Iterator[tuple[int, int, bytes]]:
    if len(content) < 6 or struct.unpack_from("<I", content)[0] != _SIGNATURE:
        return
    position = 6
    while position + 9 <= len(content):
        identity, size = struct.unpack_from("<II", content, position + 1)
        yield identity, size, content[position + 9 : position + 9 + size]
        position += 9 + size + 2  # a checksum follows


def _properties(block: bytes, code_page: str) -> dict[int, bytes | str]:
    """The MAPI properties of variable length, by their number; up to the first that can't be read."""
    found: dict[int, bytes | str] = {}
    position = 4
    try:
        for _ in range(min(struct.unpack_from("<I", block)[0], _MOST_PROPERTIES)):
            kind, number = struct.unpack_from("<HH", block, position)
            position += 4
            if number >= 0x8000:
                position = _behind_name(block, position)
            values, position = _values(block, kind, position)
            if values:
                found[number] = _as_text(values[0], kind & ~_SEVERAL, code_page)
    except struct.error:
        pass
    return found


def _behind_name(block: bytes, position: int) -> int:
    """A property of an office's own has a GUID and a number or a name before its value."""
    (is_name,) = struct.unpack_from("<I", block, position + 16)
    (number,) = struct.unpack_from("<I", block, position + 20)
    return position + 24 + (number + -number % 4 if is_name else 0)


def _values(block: bytes, kind: int, position: int) -> tuple[list[bytes], int]:
    """The values of a property that has a length of its own, and where the next property begins."""
    base = kind & ~_SEVERAL
    if base not in _COUNTED:
        count = 1
        if kind & _SEVERAL:
            (count,) = struct.unpack_from("<I", block, position)
            position += 4
        if base not in _FIXED_SIZES:
            raise struct.error("a type that is not known")
        return [], position + count * _FIXED_SIZES[base]
    (count,) = struct.unpack_from("<I", block, position)
    position += 4
    values = []
    for _ in range(min(count, _MOST_PROPERTIES)):
        (size,) = struct.unpack_from("<I", block, position)
        values.append(block[position + 4 : position + 4 + size])
        position += 4 + size + -size % 4
    return values, position


def _as_text(value: bytes, kind: int, code_page: str) -> bytes | str:
    if kind == _TEXT_16:
        return value.decode("utf-16-le", "replace").rstrip("\0")
    return to_text(value, code_page).text.rstrip("\0") if kind == _TEXT_8 else value


def _line(name: str) -> str:
    return name.split("\0")[0].strip()

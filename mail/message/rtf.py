"""Rich text of Outlook (MS-OXRTFCP, RTF 1.9, MS-OXRTFEX): unpacked, and read as text or as the HTML within it. Pure."""

import re
import struct
from dataclasses import dataclass, field, replace

from mail.message.charsets import to_text

LARGEST_RTF = 4_000_000  # octets, unpacked

_DICTIONARY = (
    rb"{\rtf1\ansi\mac\deff0\deftab720{\fonttbl;}{\f0\fnil \froman \fswiss \fmodern \fscript \fdecor "
    rb"MS Sans SerifSymbolArialTimes New RomanCourier{\colortbl\red0\green0\blue0"
    + b"\r\n"
    + rb"\par \pard\plain\f0\fs20\b\i\u\tab\tx"
)


def unpack_rtf(packed: bytes) -> bytes:
    """Return compressed RTF as RTF, as far as it goes; b"" if it is none."""
    if len(packed) < 16:
        return b""
    _, size, kind = struct.unpack_from("<III", packed)
    size = min(size, LARGEST_RTF)
    if kind == 0x414C454D:  # "MELA": not compressed
        return packed[16 : 16 + size]
    if kind != 0x75465A4C:  # "LZFu"
        return b""
    unpacked = bytearray(_DICTIONARY)
    position, end = 16, len(_DICTIONARY) + size
    while position < len(packed) and len(unpacked) < end:
        control = packed[position]
        position += 1
        for bit in range(8):
            if not control >> bit & 1:
                unpacked += packed[position : position + 1]
                position += 1
                continue
            if position + 2 > len(packed):
                return bytes(unpacked[len(_DICTIONARY) :])
            reference = packed[position] << 8 | packed[position + 1]
            position += 2
            if not _repeat(unpacked, reference >> 4, (reference & 15) + 2):
                return bytes(unpacked[len(_DICTIONARY) : end])
    return bytes(unpacked[len(_DICTIONARY) : end])


def _repeat(unpacked: bytearray, offset: int, length: int) -> bool:
    """Copy what stands at an offset of the ring of 4,096 octets; False at the mark of the end."""
    write = len(unpacked) % 4096
    if offset == write:
        return False
    back = (write - offset) % 4096
    start = len(unpacked) - back
    if start < 0:
        unpacked += b" " * length
    else:
        for step in range(length):
            unpacked.append(unpacked[start + step])
    return True


@dataclass(frozen=True, slots=True)
class RichText:
    """What RTF says: as text, or as the HTML that was put into it."""

    text: str = ""
    html: str | None = None


def read_rtf(rtf: bytes) -> RichText:
    """Return the words of RTF; never raises, linear."""
    reader = _RtfReader(is_html=b"\\fromhtml" in rtf[:2000])
    for token in _TOKEN.finditer(rtf[:LARGEST_RTF]):
        reader.take(token)
    words = reader.words()
    return RichText(html=words) if reader.is_html else RichText(text=re.sub(r"\n{3,}", "\n\n", words).strip())


_TOKEN = re.compile(
    rb"\\'([0-9a-fA-F]{2})|\\([a-zA-Z]{1,32})(-?[0-9]{1,10})?[ ]?|\\([^a-zA-Z])|([{}])|[\r\n]++|([^\\{}\r\n]++)",
    re.DOTALL,
)
_HIDDEN_WORDS = b"""
    fonttbl colortbl stylesheet info pict object header footer listtable listoverridetable generator themedata rsidtbl
    xmlnstbl fldinst filetbl revtbl
"""
_NOT_SHOWN = frozenset(_HIDDEN_WORDS.split())
_LETTERS = {
    b"par": "\n", b"line": "\n", b"row": "\n", b"sect": "\n", b"page": "\n", b"tab": "\t", b"cell": "\t",
    b"emdash": "—", b"endash": "–", b"lquote": "‘", b"rquote": "’", b"ldblquote": "“", b"rdblquote": "”",
    b"bullet": "•", b"emspace": " ", b"enspace": " ",
}  # fmt: skip
_SYMBOLS = {b"~": "\xa0", b"_": "-", b"-": "", b"\n": "\n", b"\r": "\n", b"\t": "\t"}
_DEEPEST_GROUP = 500


@dataclass(frozen=True, slots=True)
class _Group:
    """What holds within one pair of braces."""

    hidden: bool = False
    is_tag: bool = False  # a piece of the HTML that was put in
    after_fallback: int = 1  # letters behind \\u that stand there for old readers


@dataclass(slots=True)
class _RtfReader:
    is_html: bool
    group: _Group = _Group()
    outer: list[_Group] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    octets: bytearray = field(default_factory=bytearray)  # letters of the code page that wait to be decoded
    code_page: str = "cp1252"
    for_rtf: bool = False  # what readers of the HTML leave out
    skip: int = 0
    begins: bool = False  # "{" or "{\\*" stood just here

    def words(self) -> str:
        self._decode()
        return "".join(self.pieces)

    def take(self, token: re.Match[bytes]) -> None:
        octet, word, number, symbol, brace, text = token.groups()
        if brace:
            self._brace(brace)
        elif symbol == b"*":
            self.group = replace(self.group, hidden=True)  # unless a known word follows
            return
        elif word:
            self._word(word, int(number) if number else None)
        elif octet:
            self._letters(bytes([int(octet, 16)]))
        elif symbol:
            self._letters(symbol) if symbol in b"\\{}" else self._say(_SYMBOLS.get(symbol, ""))
        elif text:
            self._letters(text)
        self.begins = brace == b"{"

    def _brace(self, brace: bytes) -> None:
        self.skip = 0
        if brace == b"{" and len(self.outer) < _DEEPEST_GROUP:
            self.outer.append(self.group)
        elif brace == b"}" and self.outer:
            self.group = self.outer.pop()

    def _word(self, word: bytes, number: int | None) -> None:
        if word == b"htmltag":
            self.group = replace(self.group, hidden=not self.is_html, is_tag=True)
        elif word == b"mhtmltag" or word in _NOT_SHOWN:
            self.group = replace(self.group, hidden=True)
        elif word == b"htmlrtf":
            self.for_rtf = self.is_html and number != 0
        elif word == b"ansicpg" and number:
            self.code_page = f"cp{number}"
        elif word == b"uc":
            self.group = replace(self.group, after_fallback=min(number or 0, 10))
        elif word == b"u" and number is not None:
            self._say(chr(number & 0xFFFF))
            self.skip = self.group.after_fallback
        elif word in _LETTERS:
            self._say(_LETTERS[word])

    def _letters(self, octets: bytes) -> None:
        octets, self.skip = octets[self.skip :], max(self.skip - len(octets), 0)
        if not self._is_hidden():
            self.octets += octets

    def _say(self, text: str) -> None:
        if not self._is_hidden():
            self._decode()
            self.pieces.append(text)

    def _is_hidden(self) -> bool:
        return self.group.hidden or (self.for_rtf and not self.group.is_tag)

    def _decode(self) -> None:
        if self.octets:
            self.pieces.append(to_text(bytes(self.octets), self.code_page).text)
            self.octets.clear()

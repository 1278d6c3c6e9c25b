"""Bytes and the name of a character set become text: one function for headers, bodies and file names. Pure.

The names are those of the WHATWG Encoding Standard, each read as its superset (``iso-8859-1`` is windows-1252,
``gb2312`` is GB 18030), and those that only mail knows (UTF-7, code pages of DOS, names by Microsoft). Letters that are
damaged are replaced one by one.
"""

import codecs
import re
from functools import lru_cache
from typing import NamedTuple

from mail.sentences import Why, why

# Codec of Python: the names it is known by; those in lines of their own stand in no standard, but in mails.
_NAMES = """
utf-8: unicode-1-1-utf-8 unicode11utf8 unicode20utf8 utf-8 utf8 x-unicode20utf8
    utf8mb4 utf-8-sig utf_8 unicode-utf-8 cp65001 65001
cp866: 866 cp866 csibm866 ibm866
iso8859-2: csisolatin2 iso-8859-2 iso-ir-101 iso8859-2 iso88592 iso_8859-2 iso_8859-2:1987 l2 latin2
iso8859-3: csisolatin3 iso-8859-3 iso-ir-109 iso8859-3 iso88593 iso_8859-3 iso_8859-3:1988 l3 latin3
iso8859-4: csisolatin4 iso-8859-4 iso-ir-110 iso8859-4 iso88594 iso_8859-4 iso_8859-4:1988 l4 latin4
iso8859-5: csisolatincyrillic cyrillic iso-8859-5 iso-ir-144 iso8859-5 iso88595 iso_8859-5 iso_8859-5:1988
iso8859-6: arabic asmo-708 csiso88596e csiso88596i csisolatinarabic ecma-114 iso-8859-6 iso-8859-6-e iso-8859-6-i
    iso-ir-127 iso8859-6 iso88596 iso_8859-6 iso_8859-6:1987
iso8859-7: csisolatingreek ecma-118 elot_928 greek greek8 iso-8859-7 iso-ir-126 iso8859-7 iso88597 iso_8859-7
    iso_8859-7:1987 sun_eu_greek
iso8859-8: csiso88598e csisolatinhebrew hebrew iso-8859-8 iso-8859-8-e iso-ir-138 iso8859-8 iso88598 iso_8859-8
    iso_8859-8:1988 visual csiso88598i iso-8859-8-i logical
iso8859-10: csisolatin6 iso-8859-10 iso-ir-157 iso8859-10 iso885910 l6 latin6
iso8859-13: iso-8859-13 iso8859-13 iso885913
iso8859-14: iso-8859-14 iso8859-14 iso885914
iso8859-15: csisolatin9 iso-8859-15 iso8859-15 iso885915 iso_8859-15 l9
    latin9 latin-9
iso8859-16: iso-8859-16
koi8-r: cskoi8r koi koi8 koi8-r koi8_r
koi8-u: koi8-ru koi8-u
mac-roman: csmacintosh mac macintosh x-mac-roman
cp874: dos-874 iso-8859-11 iso8859-11 iso885911 tis-620 windows-874
    cp874 tis620 x-windows-874
cp1250: cp1250 windows-1250 x-cp1250
cp1251: cp1251 windows-1251 x-cp1251
    win-1251 win1251
cp1252: cp1252 cp819 csisolatin1 ibm819 iso-8859-1 iso-ir-100 iso8859-1 iso88591 iso_8859-1 iso_8859-1:1987 l1
    latin1 windows-1252 x-cp1252 latin-1 iso-latin-1 ansi
cp1253: cp1253 windows-1253 x-cp1253
cp1254: cp1254 csisolatin5 iso-8859-9 iso-ir-148 iso8859-9 iso88599 iso_8859-9 iso_8859-9:1989 l5 latin5 windows-1254
    x-cp1254
cp1255: cp1255 windows-1255 x-cp1255
cp1256: cp1256 windows-1256 x-cp1256
cp1257: cp1257 windows-1257 x-cp1257
cp1258: cp1258 windows-1258 x-cp1258
mac-cyrillic: x-mac-cyrillic x-mac-ukrainian
gb18030: chinese csgb2312 csiso58gb231280 gb2312 gb_2312 gb_2312-80 gbk iso-ir-58 x-gbk gb18030
    gb-2312 gb_18030 gb-18030 cp936 ms936 windows-936 x-cp936 euc-cn x-euc-cn gb2312-80
big5hkscs: big5 big5-hkscs cn-big5 csbig5 x-x-big5
    cp950 ms950 windows-950 x-big5 big-5
euc-jp: cseucpkdfmtjapanese euc-jp x-euc-jp
    eucjp eucjp-ms cp51932 x-euc
iso-2022-jp: csiso2022jp iso-2022-jp
    iso-2022-jp-1 iso-2022-jp-2 iso-2022-jp-3 iso-2022-jp-ms iso-2022-jp-ext cp50220 cp50221 cp50222 jis
cp932: csshiftjis ms932 ms_kanji shift-jis shift_jis sjis windows-31j x-sjis
    cp932 cswindows31j windows-932 x-ms-cp932 shift_jis-ms
cp949: cseuckr csksc56011987 euc-kr iso-ir-149 korean ks_c_5601-1987 ks_c_5601-1989 ksc5601 ksc_5601 windows-949
    cp949 ms949 ks_c_5601 ksc-5601 uhc x-windows-949 euckr
utf-16-be: unicodefffe utf-16be
utf-16-le: csunicode iso-10646-ucs-2 ucs-2 unicode unicodefeff utf-16 utf-16le
utf-7: utf-7 utf7 unicode-1-1-utf-7 unicode-2-0-utf-7 x-unicode-2-0-utf-7 cp65000
iso2022_kr: iso-2022-kr csiso2022kr
hz: hz-gb-2312 hz
mac-latin2: x-mac-ce x-mac-centraleurroman
mac-greek: x-mac-greek
mac-turkish: x-mac-turkish
"""
_CODECS = {
    name: codec
    for entry in _NAMES.replace("\n    ", " ").strip().splitlines()
    for codec, _, names in [entry.partition(": ")]
    for name in names.split()
}
# These say nothing: us-ascii stands above text that is not, too.
_SILENT_NAMES = """
    us-ascii us_ascii ascii ansi_x3.4-1968 iso646-us unknown-8bit x-unknown unknown default x-user-defined
    8bit 7bit binary none _autodetect _autodetect_all _autodetect_kr
"""
_SAYS_NOTHING = frozenset(["", *_SILENT_NAMES.split()])
# Python's codecs that are no character sets; some take quadratic time.
_NO_CHARSETS = frozenset(["idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined", "mbcs", "oem"])

# However a code page of Windows or DOS is called: win1252, cp-1252, IBM00858, csWindows1250.
_CODE_PAGE = re.compile(r"(?:cs|x-)?(?:cp|win|windows|ms|ansi|ibm|dos)[-_]?0*(\d{3,5})")

_META_WITHIN = 1024  # octets of a page in which its <meta> is looked for (HTML, 13.2.3.2)
_COMMENT = re.compile(rb"<!--.*?-->", re.DOTALL)
_META = re.compile(rb"""<meta[\s/][^>]*?charset\s*=\s*["']?\s*([^\s"'/>;]++)""", re.IGNORECASE)
_BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_BE, "utf-16-be"), (codecs.BOM_UTF16_LE, "utf-16-le"))


class DecodedText(NamedTuple):
    """Text, and what was wrong with its bytes or the name of their character set."""

    text: str
    problem: Why | None = None


def to_text(octets: bytes, label: str = "", *, is_page: bool = False) -> DecodedText:
    """Return the text that bytes are, by the name of their character set (``label``); never raises.

    A byte order mark wins. Without a name that says something: what the ``<meta>`` of a page (``is_page``) says, UTF-8
    if it fits, else windows-1252.

    >>> to_text(b"100 \\x80", "iso-8859-1").text, to_text(b"S\\xc3\\xb6hne \\xc3", "utf-8").text
    ('100 €', 'Söhne �')
    """
    for mark, marked in _BYTE_ORDER_MARKS:
        if octets.startswith(mark):
            return DecodedText(octets[len(mark) :].decode(marked, "replace"))
    codec, problem = codec_of(label), None
    if codec is None:
        problem = why("parse_charset_unknown", charset=label.strip()[:40])
    if not codec and is_page:
        codec = _codec_of_page(octets[:_META_WITHIN])
    if not codec:
        return DecodedText(_without_label(octets), problem)
    if codec == "iso-2022-jp":
        octets, codec = _euc_of_jis(octets), "euc-jp"
    text = octets.decode(codec, _on_damage(codec, len(octets)))
    if "\ufffd" in text and problem is None:
        problem = why("parse_text_damaged", charset=label.strip()[:40] or codec)
    return DecodedText(text, problem)


@lru_cache(maxsize=512)
def codec_of(label: str) -> str | None:
    """Return the codec for the name of a character set; "" if the name says nothing, None if it is not known.

    >>> codec_of(" 'ISO-8859-1' "), codec_of("gb2312"), codec_of("us-ascii"), codec_of("cp850"), codec_of("x-nonsense")
    ('cp1252', 'gb18030', '', 'cp850', None)
    """
    label = label[:80].partition("(")[0].strip(" \t\r\n'\"<>;,").lower()
    if label in _SAYS_NOTHING:
        return ""
    if label not in _CODECS:
        page = _CODE_PAGE.fullmatch(label)
        label = f"cp{page[1]}" if page else label.removeprefix("cs")  # csGBK, csUTF8: IANA's names for printers
    if label in _CODECS:
        return _CODECS[label]
    try:
        found = codecs.lookup(label)
    except (LookupError, ValueError):  # ValueError: a NUL in the name
        return None
    if not found._is_text_encoding or found.name in _NO_CHARSETS:
        return None
    return "" if found.name == "ascii" else _CODECS.get(found.name, found.name)


def _codec_of_page(start: bytes) -> str:
    found = _META.search(_COMMENT.sub(b"", start))
    codec = codec_of(found[1].decode("ascii", "replace")) if found else None
    return "utf-8" if codec and codec.startswith("utf-16") else codec or ""  # what can be read as ASCII is not UTF-16


def _without_label(octets: bytes) -> str:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError as error:
        is_cut = error.reason == "unexpected end of data" and not octets[: error.start].isascii()
        return octets.decode("utf-8" if is_cut else "cp1252", "replace")


# --- letters that the standard has and Python's codecs do not

_ESCAPE = re.compile(rb"\x1b(\([BJI]|\$[@B]|\$\([@BD])")


def _euc_of_jis(octets: bytes) -> bytes:
    """ISO-2022-JP as EUC-JP: what an escape sequence says of the bytes behind it moves into their eighth bit."""
    first, *pieces = _ESCAPE.split(octets)
    moved = [first]
    for escape, run in zip(pieces[::2], pieces[1::2], strict=True):
        line, end, rest = run.partition(b"\n")  # a line ends in ASCII (RFC 1468), whatever was forgotten
        moved += [_in_eighth_bit(line, escape), end, rest]
    return b"".join(moved)


def _in_eighth_bit(letters: bytes, escape: bytes) -> bytes:
    if escape in (b"(B", b"(J"):
        return letters
    letters = letters.translate(_EIGHTH_BIT)
    if escape == b"(I":
        return _each_behind(b"\x8e", letters, 1)
    return _each_behind(b"\x8f", letters, 2) if escape == b"$(D" else letters


def _each_behind(shift: bytes, letters: bytes, size: int) -> bytes:
    """Put a shift octet before each letter of one or two octets."""
    letters = letters[: len(letters) // size * size]
    shifted = bytearray(shift * (len(letters) // size * (size + 1)))
    for place in range(size):
        shifted[place + 1 :: size + 1] = letters[place::size]
    return bytes(shifted)


_EIGHTH_BIT = bytes(octet | 0x80 if octet > 0x20 else octet for octet in range(256))


def _letter_of_windows(error: UnicodeError) -> tuple[str, int]:
    """Decode one letter that a codec of Python does not know, or replace one damaged byte."""
    assert isinstance(error, UnicodeDecodeError)
    pair = error.object[error.start : error.start + 2]
    letter = ""
    if error.encoding == "gb18030" and pair[:1] == b"\x80":
        return "€", error.start + 1
    if error.encoding == "euc_jp" and len(pair) == 2 and min(pair) > 0xA0 and max(pair) < 0xFF:
        letter = _shift_jis(pair[0] - 0xA1, pair[1] - 0xA1).decode("cp932", "ignore")
    elif error.encoding == "big5hkscs":
        letter = pair.decode("cp950", "ignore")
    return (letter, error.start + 2) if len(letter) == 1 else ("\ufffd", max(error.start + 1, error.end))


def _shift_jis(row: int, cell: int) -> bytes:
    """①, №, ㈱ and the letters that IBM added: Windows has them, at the same place of the same table."""
    first = (0x81 if row < 62 else 0xC1) + row // 2
    second = 0x9F + cell if row % 2 else 0x40 + cell + (cell >= 63)
    return bytes([first, second])


def _on_damage(codec: str, size: int) -> str:
    """How a codec treats what it cannot decode; a large text is not looked at letter by letter, which takes seconds."""
    return _LETTERS if codec in _LACK_LETTERS and size <= _MOST_BY_LETTER else "replace"


_LETTERS = "coquimail-letters"
_LACK_LETTERS = frozenset(["euc-jp", "big5hkscs", "gb18030"])
_MOST_BY_LETTER = 256 * 1024
codecs.register_error(_LETTERS, _letter_of_windows)

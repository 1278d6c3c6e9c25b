"""The words of a header: from bytes and encoded words (RFC 2047) to text for people, and back. Pure."""

import base64
import quopri
import re
from collections.abc import Callable, Iterator

from mail.message.charsets import to_text
from mail.message.contents import undo_base64

_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")
# Nothing to be seen of these: they hide what a name is. The joiners stay where writing needs them.
_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u180b-\u180e\u200b\u200e\u200f\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]"
    "|(?<![\u0600-\u109f\u1780-\u18af\u2190-\u2bff\ufe0f\U0001f000-\U0001faff])[\u200c\u200d]"
    "|[\u200c\u200d](?![\u0600-\u109f\u1780-\u18af\u2190-\u2bff\U0001f000-\U0001faff])"
)
# Blanks and question marks are not allowed within one, but written.
_ENCODED_WORD = re.compile(r"=\?([^?\s]{0,60})\?([bBqQ])\?((?:[^?\s=]++|=(?!\?[^=])|\?(?!=)| (?! ))*+)\?=")
_BETWEEN_WORDS = re.compile(r"(?<=\?=)[ \t\r\n]+(?==\?[^?\s]{0,60}\?[bBqQ]\?)")


def encode_words(text: str) -> list[str]:
    """Return text as RFC 2047 encoded words of at most 60 characters, so that one fits beside the name of its header.

    No character is split between two words.

    >>> encode_words("Your quote, Jürgen"), encode_words("日本")
    (['=?utf-8?q?Your_quote=2C_J=C3=BCrgen?='], ['=?utf-8?b?5pel5pys?='])
    """
    octets = text.encode("utf-8", "replace")
    in_q = _in_q(octets)
    if len(in_q) > len(octets) * 4 / 3 + 4:
        return [
            f"=?utf-8?b?{base64.b64encode(piece.encode('utf-8', 'replace')).decode()}?="
            for piece in _cut(text, _b_size, 36)
        ]
    if 0 < len(in_q) <= 48:  # nearly every name and subject
        return [f"=?utf-8?q?{in_q}?="]
    return [f"=?utf-8?q?{_in_q(piece.encode('utf-8', 'replace'))}?=" for piece in _cut(text, _q_size, 48)]


def decode_words(text: str) -> str:
    """Return the value of a header with its encoded words decoded, on one line, without control characters.

    Never raises; ``to_text`` reads the bytes. Characters that were split between two words are put together again.

    >>> decode_words("=?utf-8?q?Gr=C3?= =?utf-8?q?=BC=C3=9Fe?= from =?iso-8859-1?q?K=F6ln?=")
    'Grüße from Köln'
    """
    text = repair(text)
    if "\x1b$" in text:  # ISO-2022-JP as it is
        text = to_text(text.encode("utf-8", "replace"), "iso-2022-jp").text
    if "=?" in text:
        text = _decode_runs(_BETWEEN_WORDS.sub("", text))
    return one_line(text)


def one_line(text: str) -> str:
    """Return text on one line, without control characters, those that nobody sees, and those that turn its direction.

    >>> one_line("Ann\\r\\nBcc: bob@example.com\\0"), one_line("P\\u200bay\\u202ePal")
    ('Ann Bcc: bob@example.com', 'Pay Pal')
    """
    if not text.isprintable():
        text = _UNSAFE.sub(" ", _UNSEEN.sub("", text))
    return " ".join(text.split())


def repair(text: str) -> str:
    """Return header text whose raw 8-bit bytes, kept as surrogates, are read as UTF-8, else as windows-1252.

    >>> repair(b"M\\xc3\\xbcller".decode("ascii", "surrogateescape"))
    'Müller'
    """
    if text.isascii() or not _SURROGATES.search(text):
        return text
    return _SURROGATES.sub(
        lambda run: to_text(run[0].encode("utf-8", "surrogateescape")).text, _LONE.sub("\ufffd", text)
    )


# --- inside

_SURROGATES = re.compile("[\udc80-\udcff]+")
_LONE = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_Q_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")
_IN_Q = [chr(octet) if octet in _Q_SAFE else "_" if octet == 32 else f"={octet:02X}" for octet in range(256)]


def _in_q(octets: bytes) -> str:
    return "".join([_IN_Q[octet] for octet in octets])


def _q_size(character: str) -> int:
    return len(_in_q(character.encode("utf-8", "replace")))


def _b_size(character: str) -> int:
    return len(character.encode("utf-8", "replace"))


def _cut(text: str, size: Callable[[str], int], room: int) -> Iterator[str]:
    """Cut text into pieces of at most `room`, counted by `size`, between two characters."""
    start = used = 0
    for position, character in enumerate(text):
        length = size(character)
        if used + length > room:
            yield text[start:position]
            start, used = position, 0
        used += length
    if text:
        yield text[start:]


def _decode_runs(text: str) -> str:
    """Decode encoded words; neighbours of one character set are joined as bytes first."""
    pieces: list[str] = []
    run, run_charset, position = b"", "", 0
    for match in _ENCODED_WORD.finditer(text):
        charset = match[1].partition("*")[0].lower()
        octets = _octets(match[2], match[3])
        if match.start() != position or charset != run_charset:
            pieces += [to_text(run, run_charset).text, text[position : match.start()]]
            run = b""
        run, run_charset, position = run + octets, charset, match.end()
    return "".join([*pieces, to_text(run, run_charset).text, text[position:]])


def _octets(letter: str, payload: str) -> bytes:
    ascii_payload = payload.encode("utf-8", "replace")
    if letter in "qQ":
        return quopri.decodestring(ascii_payload, header=True)
    return undo_base64(ascii_payload) or (ascii_payload if ascii_payload.isalnum() else b"")

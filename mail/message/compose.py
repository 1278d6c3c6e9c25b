"""From a draft to the bytes of a mail (RFC 5322, MIME), and from those to the mail of one recipient.

Written by hand instead of by ``email.message``: its policies fold ids in the middle, send 8-bit bodies, write lines of
any length, and let line breaks in some values through. Here every header goes through ``_header``, which refuses them.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from html import unescape
from typing import Literal
from urllib.parse import quote

from inscriptis import get_text
from inscriptis.css_profiles import CSS_PROFILES
from inscriptis.model.config import ParserConfig
from inscriptis.model.css import CssParse
from inscriptis.model.html_element import HtmlElement

from mail.errors import InvalidAddress
from mail.message.address import format_address, parse_addresses, shorten_name
from mail.message.html import content_ids
from mail.message.words import encode_words, one_line

LONGEST_LINE = 998  # RFC 5322 2.1.1, without CR and LF
FOLD_AT = 76
LONGEST_FILE_NAME = 200
LONGEST_NAME = 200

AutoSubmitted = Literal["auto-generated", "auto-replied"]


class HeaderError(ValueError):
    """A header that must not be written: a name that is none, a line break, a line that is too long. Ours to fix."""


@dataclass(frozen=True, slots=True)
class File:
    """An attachment; with ``cid`` (without its brackets) an image that the HTML shows as ``cid:…``."""

    name: str
    type: str
    data: bytes
    cid: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """A mail without Message-ID, From and To. ``text`` None: derived from ``html``; no ``html``: of text alone.

    ``references`` are ids with their brackets, the parent last. ``date`` is aware. ``reply_to`` is for people to read
    or encoded already. ``headers`` are further ones, in their order.
    """

    subject: str
    date: datetime
    html: str = ""
    text: str | None = None
    reply_to: str = ""
    references: Sequence[str] = ()
    auto_submitted: AutoSubmitted | None = None
    suppress_auto_replies: bool = False
    attachments: Sequence[File] = ()
    headers: Sequence[tuple[str, str]] = ()


def compose(draft: Draft) -> bytes:
    """Return the mail with CRLF, pure ASCII but for addresses that need SMTPUTF8, no line over 998 characters.

    Message-ID, From and To are missing: ``with_id`` and ``with_addresses`` put them in front. Raises ``HeaderError``
    for a further header that can't be written, ``ValueError`` for a date without a zone.
    """
    lines = [_date(draft.date)]
    references = [one for one in map(clean_id, draft.references) if one]
    if references:
        lines += [_header("In-Reply-To", references[-1:]), _header("References", references)]
    lines.append(_header("Subject", text_pieces(draft.subject)))
    if draft.reply_to.strip():
        lines.append(_addresses("Reply-To", draft.reply_to))
    if draft.auto_submitted:
        lines.append(_header("Auto-Submitted", [draft.auto_submitted]))
    if draft.suppress_auto_replies:
        lines.append(_header("X-Auto-Response-Suppress", ["All"]))
    lines += [_further(name, value) for name, value in draft.headers]
    lines.append(b"MIME-Version: 1.0\r\n")
    words = repr((draft.subject, draft.date, draft.html, draft.text))
    boundary = hashlib.blake2b(words.encode("utf-8", "replace"), digest_size=9).hexdigest()
    return b"".join([*lines, _body(draft, boundary)])


def with_id(content: bytes, message_id: str) -> bytes:
    """Return what ``compose`` made with its Message-ID in front; contents of earlier versions have theirs inside.

    Raises ``HeaderError`` for one that can't be written.

    >>> with_id(b"Date: today\\r\\n\\r\\nHello", "<a@x>")
    b'Message-ID: <a@x>\\r\\nDate: today\\r\\n\\r\\nHello'
    >>> with_id(b"Date: today\\r\\nMessage-ID: <a@x>\\r\\n\\r\\nHello", "<a@x>")
    b'Date: today\\r\\nMessage-ID: <a@x>\\r\\n\\r\\nHello'
    """
    if content.startswith(b"Message-ID:", content.find(b"\r\n") + 2):
        return content
    if clean_id(message_id) != message_id:
        raise HeaderError("the Message-ID can't be written")
    return _header("Message-ID", [message_id]) + content


def with_addresses(content: bytes, from_header: str, to_header: str) -> bytes:
    """Return the mail of one recipient: what ``compose`` made, with its From and To in front.

    Both are mailboxes for people to read or encoded already. Raises ``InvalidAddress`` if one holds no address.
    """
    return _addresses("From", from_header) + _addresses("To", to_header) + content


def clean_id(message_id: str) -> str | None:
    """Return a Message-ID as it may stand in References: in brackets, without blanks; None if it can't be written.

    >>> clean_id("<a@example.com>"), clean_id(" a@exam\\r\\n ple.com"), clean_id("<a@bücher.example>"), clean_id("<>")
    ('<a@example.com>', '<a@example.com>', None, None)
    """
    bare = "".join(message_id.split()).removeprefix("<").removesuffix(">")
    return f"<{bare}>" if _ID.fullmatch(bare) else None


def html_to_text(html: str) -> str:
    """Return the text part for an HTML body: lists, tables and paragraphs as text, links with their address.

    >>> html_to_text('<p>See <a href="https://example.com/1">the offer</a></p><ul><li>one<li>two</ul>')
    'See the offer (https://example.com/1)\\n\\n  * one\\n  * two\\n'
    """
    html = _printable(html)
    try:
        text = get_text(html, _TEXT_STYLE) if len(html) <= _LARGE_HTML else ""
    except (RecursionError, ValueError):
        text = ""
    if not text.strip():  # too large, or nested so deep that the parser gave up
        for begin, end in _UNSEEN:
            html = _without(html, begin, end)
        text = "\n".join(filter(None, (line.strip() for line in unescape(_TAG.sub(" ", html)).splitlines())))
    return _LINK.sub(_link, text).strip("\n") + "\n" if text.strip() else ""


# --- headers

_ID = re.compile(r"[!-;=?-~]{1,900}")
_HEADER_NAME = re.compile(r"[!-9;-~]{1,60}")
WRITTEN_BY_US = {
    *("from", "to", "cc", "bcc", "sender", "date", "message-id", "in-reply-to", "references", "subject", "reply-to"),
    *("mime-version", "content-type", "content-transfer-encoding", "content-disposition", "content-id", "return-path"),
}
_BREAKS = re.compile("[\r\n\0]")


def header(name: str, value: str) -> bytes:
    """Return one header of free text as the line(s) that stand in a mail; nothing in the value can break out of it.

    >>> header("X-Note", "one\\r\\nBcc: two@example.com")
    b'X-Note: one Bcc: two@example.com\\r\\n'
    """
    return _header(name, text_pieces(value))


def text_pieces(value: str) -> list[str]:
    """Return free text as the pieces between which its header may be folded: words, or encoded words."""
    text = one_line(value)
    words = text.split(" ")
    if text.isascii() and "=?" not in text and all(len(word) < 500 for word in words):
        return words
    return encode_words(text)


def _header(name: str, pieces: Iterable[str]) -> bytes:
    """One header, folded between pieces only. This is the only place that writes one."""
    if not _HEADER_NAME.fullmatch(name):
        raise HeaderError(f"{name!r} is no name of a header")
    lines, line = [], f"{name}:"
    for piece in pieces:
        if _BREAKS.search(piece):
            raise HeaderError(f"{name} has a line break or a NUL")
        if len(line) + 1 + len(piece) > FOLD_AT and not line.endswith(":"):
            lines.append(line)
            line = ""
        line += f" {piece}".rstrip()
    lines.append(line)
    if any(len(line.encode("utf-8", "replace")) > LONGEST_LINE for line in lines):
        raise HeaderError(f"{name} has a line that is too long")
    return "".join(f"{line}\r\n" for line in lines).encode("utf-8", "replace")


def _further(name: str, value: str) -> bytes:
    if name.lower() in WRITTEN_BY_US:
        raise HeaderError(f"{name} is not a further header")
    return header(name, value)


def _addresses(name: str, value: str) -> bytes:
    found = parse_addresses(value)
    if not found:
        raise InvalidAddress(address=one_line(value)[:LONGEST_NAME])
    mailboxes = [format_address(shorten_name(one.name, one.address), one.address) for one in found]
    pieces = [
        piece
        for number, mailbox in enumerate(mailboxes, start=1)
        for piece in _mailbox_pieces(mailbox + ("," if number < len(mailboxes) else ""))
    ]
    return _header(name, pieces)


def _mailbox_pieces(mailbox: str) -> list[str]:
    """Fold before the address and between encoded words, never inside a quoted name."""
    return re.split(r" (?=<[^<>]*>,?$|=\?utf-8\?)", mailbox)


def _date(date: datetime) -> bytes:
    if date.tzinfo is None:
        raise ValueError("the date of a mail needs a zone")
    return _header("Date", [format_datetime(date.astimezone(UTC))])


# --- parts

_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,60}/[a-z0-9][a-z0-9!#$&^_.+-]{0,80}")
_UNWRITABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
# What 7bit can't carry unharmed: other characters, long lines, blanks at the end (relays strip them), a line that an
# mbox would mark, and "=_", with which our boundaries begin.
_NEEDS_CODING = re.compile(rb"[^\t\n -~]|=_|(?m:^From |[ \t]$)|[^\n]{79}")


def _body(draft: Draft, boundary: str) -> bytes:
    """The headers that describe the body, an empty line, the body."""
    text = html_to_text(draft.html) if draft.text is None else draft.text
    shown = [_is_shown_inline(file, draft.html) for file in draft.attachments]
    inline = [_file_part(file, boundary, True) for file, inside in zip(draft.attachments, shown, strict=True) if inside]
    attached = [
        _file_part(file, boundary, False) for file, inside in zip(draft.attachments, shown, strict=True) if not inside
    ]
    body = _text_part("plain", text)
    if draft.html:
        page = _text_part("html", draft.html)
        if inline:
            page = _multipart("related", boundary, [page, *inline])
        body = _multipart("alternative", boundary, [body, page])
    return _multipart("mixed", boundary, [body, *attached]) if attached else body


def _multipart(kind: str, boundary: str, parts: Sequence[bytes]) -> bytes:
    mark = f"=_{kind}_{boundary}"
    kind_pieces = [f"multipart/{kind};", *(['type="text/html";'] if kind == "related" else []), f'boundary="{mark}"']
    line = f"--{mark}\r\n".encode()
    return (
        _header("Content-Type", kind_pieces)
        + b"\r\n"
        + b"".join(line + part for part in parts)
        + f"--{mark}--\r\n".encode()
    )


def _text_part(kind: str, text: str) -> bytes:
    octets = (_printable(text).rstrip("\n") + "\n").encode("utf-8")
    coding = "7bit"
    if _NEEDS_CODING.search(octets):
        beyond_ascii = len(octets) - len(octets.translate(None, _BEYOND_ASCII))
        coding = "base64" if beyond_ascii * 3 > len(octets) else "quoted-printable"
    return _part([f"text/{kind};", "charset=utf-8"], coding, [], octets)


def _file_part(file: File, boundary: str, inline: bool) -> bytes:
    mime_type = file.type.strip().lower()
    octets, coding = file.data, "base64"
    if mime_type == "message/rfc822" and _is_plain_mail(octets, boundary):
        octets, coding = b"\n".join(octets.splitlines()) + b"\n", "7bit"  # RFC 2046 5.2.1 forbids base64 here
    elif not _TYPE.fullmatch(mime_type) or mime_type.startswith(("multipart/", "message/")):
        mime_type = "application/octet-stream"
    disposition = ["inline;" if inline else "attachment;", *_file_name(file.name)]
    headers = [_header("Content-Disposition", disposition)]
    if inline:
        headers.append(_header("Content-ID", [f"<{file.cid}>"]))
    return _part([mime_type], coding, headers, octets)


def octets_in_base64(octets: int) -> int:
    """Return how many octets a file of this size has as it is sent: four for three, in lines of 76 letters.

    >>> octets_in_base64(0), octets_in_base64(57), octets_in_base64(58)
    (0, 78, 84)
    """
    lines, rest = divmod(octets, 57)
    return lines * 78 + (-(-rest // 3) * 4 + 2 if rest else 0)


def _part(content_type: list[str], coding: str, headers: list[bytes], octets: bytes) -> bytes:
    """One part; ``octets`` are lines with LF unless they are coded as base64."""
    if coding == "base64":
        octets = base64.encodebytes(octets)
    elif coding == "quoted-printable":
        octets = binascii.b2a_qp(octets, istext=True)
    return b"".join(
        [
            _header("Content-Type", content_type),
            _header("Content-Transfer-Encoding", [coding]),
            *headers,
            b"\r\n",
            octets.replace(b"\n", b"\r\n"),
        ]
    )


def _is_shown_inline(file: File, html: str) -> bool:
    return bool(file.cid) and bool(_ID.fullmatch(file.cid)) and file.cid in content_ids(html)


def _is_plain_mail(octets: bytes, boundary: str) -> bool:
    """Whether a mail can be attached as it is."""
    return (
        octets.isascii()
        and b"\0" not in octets
        and boundary.encode() not in octets
        and all(len(line) <= LONGEST_LINE for line in octets.splitlines())
    )


def _file_name(name: str) -> list[str]:
    """The name of a file as parameters of Content-Disposition; long and non-ASCII ones by RFC 2231."""
    name = _UNWRITABLE.sub("", name.replace("\t", " ").replace("\n", " ").replace("\r", " ")).strip() or "attachment"
    if len(name) > LONGEST_FILE_NAME:
        stem, dot, ending = name.rpartition(".")
        ending = f"{dot}{ending}" if stem and len(ending) < 20 else ""
        name = name[: LONGEST_FILE_NAME - len(ending)] + ending
    if len(name) <= 60 and name.isascii() and name.isprintable() and not re.search(r'["\\]|=\?', name):
        return [f'filename="{name}"']
    octets = quote(name, safe="")
    if len(octets) <= 60:
        return [f"filename*=utf-8''{octets}"]
    chunks = re.findall(r"(?:%..|[^%]){1,20}", octets)
    chunks[0] = f"utf-8''{chunks[0]}"
    return [
        f"filename*{number}*={chunk}" + (";" if number < len(chunks) - 1 else "") for number, chunk in enumerate(chunks)
    ]


# --- text


def _text_style() -> ParserConfig:
    """How a page becomes text: links with their address; of the styles only what hides or keeps line breaks.

    Widths are left out: nested ones would be written as gigabytes of blanks.
    """

    def of_styles(styles: str, element: HtmlElement) -> None:
        kept = [one for one in styles.split(";") if one.strip().lower().startswith(("display", "white-space"))]
        CssParse.attr_style(";".join(kept), element)

    style = ParserConfig(css=CSS_PROFILES["strict"], display_links=True)
    known = style.attribute_handler.attribute_mapping
    style.attribute_handler.attribute_mapping = {**known, "style": of_styles}
    return style


_BEYOND_ASCII = bytes(range(0x80, 0x100))
_LARGE_HTML = 2_000_000
_TEXT_STYLE = _text_style()
_LINK = re.compile(r"\[([^\[\]\n]{0,500})\]\(([^\s\[\]]{1,2000})\)")
_TAG = re.compile(r"<[^<>]*+>")
_UNSEEN = [
    (re.compile(begin, re.IGNORECASE), re.compile(end, re.IGNORECASE))
    for begin, end in (("<!--", "-->"), (r"<script\b", "</script"), (r"<style\b", "</style"), (r"<head\b", "</head"))
]


def _printable(text: str) -> str:
    """Text whose lines end with LF, without control characters and halves of characters."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _UNWRITABLE.sub("", text)


def _without(html: str, begin: re.Pattern[str], end: re.Pattern[str]) -> str:
    """Cut out what stands between two marks; what is not closed stays. Linear, unlike one pattern for both."""
    kept, position = [], 0
    while (opened := begin.search(html, position)) and (closed := end.search(html, opened.end())):
        kept.append(html[position : opened.start()])
        position = closed.end()
    return "".join([*kept, html[position:]])


def _link(match: re.Match[str]) -> str:
    shown, url = match[1].strip(), match[2]
    if not shown:
        return url
    return shown if url.startswith("#") or url in (shown, f"mailto:{shown}") else f"{shown} ({url})"

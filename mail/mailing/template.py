"""A mailing, compiled once: bytes with slots, so that a mail for one recipient costs microseconds, not milliseconds.

The body is quoted-printable. Each slot is on a line of its own between soft line breaks, which a reader joins
again, so that filling it never moves another line over 76 characters:

    Dear =
    Ann=
    , welcome to ...

A dot at a line's start is encoded, so SMTP has no dots to stuff; ``=`` never stands alone, so the boundary can't occur.
"""

import base64
import html as html_module
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mail.mailing.canonical import CanonicalMailing
from mail.mailing.merge_fields import FIELDS, MergeField, joined, parse
from mail.mailing.quoted_printable import quoted_printable, quoted_value
from mail.mailing.shared_headers import HEADER_LINE, fixed_headers, folded
from mail.message.address import format_address
from mail.message.compose import HeaderError, header, html_to_text
from mail.message.dkim import SigningKey, UnsignedHeader
from mail.message.words import one_line

ALTERNATIVE = "=_coqui_alternative"
MIXED = "=_coqui_mixed"

# A value that is the same in text, HTML and quoted-printable, fits on its line and begins neither with a dot nor as a
# line that old mailboxes take for a separator. Nearly every value does.
_PLAIN_VALUE = re.compile(r"(?!\.|From )[ !#$%(-;?-~]{0,75}")
_PLAIN_SUBJECT = re.compile(r"(?!.*(?:=\?|  ))[!-~](?:[ -~]{0,64}[!-~])?")
_PLAIN_NAME = re.compile(r"(?!.*=\?)[!#-\[\]-~](?:[ !#-\[\]-~]{0,38}[!#-\[\]-~])?")
_PLAIN_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&*+/=?^_`{|}~'-]{1,64}@[a-z0-9.-]+")
_HEADER_SAFE = re.compile(r"[!-~]*")
_DATE = re.compile(r"[A-Za-z0-9 ,:+-]+")


class MailingAttachment(NamedTuple):
    """A file that every recipient gets."""

    name: str
    type: str
    data: bytes


# --- compiling


class _Placeholder(NamedTuple):
    """Where a value goes: the place among the parts, which hole, and whether it is in HTML."""

    place: int
    hole: int
    in_html: bool


def compile_mailing(
    *,
    subject: str,
    html: str,
    from_header: str,
    reply_to: str = "",
    preheader: str = "",
    text: str = "",
    list_id: str = "",
    feedback_id: str = "",
    headers: Mapping[str, str] | None = None,
    attachments: Sequence[MailingAttachment] = (),
    fields: Collection[str] = FIELDS,
    constants: Mapping[str, str] | None = None,
) -> "CompiledMailing":
    """Return a mailing (one variant of it) that only waits for its recipients' values.

    `text` is the text part; without one it is derived from `html`, with the same fields. `preheader` is what inboxes
    show beside the subject. `constants` are the fields that are the same for everybody (``company.name``). `headers`
    are more headers as plain text. Raises MergeError and its family for what can't be filled, with part and line, and
    InvalidAddress when `from_header` or `reply_to` can't be used.
    """
    known = list(dict.fromkeys([*fields, *(constants or {})]))

    def parsed(source: str, part: str, in_html: bool = False) -> list[str | MergeField]:
        source = source.replace("\r\n", "\n").replace("\r", "\n")
        return _with_constants(parse(source, part, known, in_html=in_html), constants or {}, in_html)

    html_pieces = parsed(html, "HTML", in_html=True)
    text_pieces = parsed(text, "Text") if text.strip() else derive_text(html_pieces)
    html_pieces = _with_preheader(html_pieces, parsed(preheader, "Preview text"))
    return CompiledMailing(
        subject_pieces=parsed(subject, "Subject"),
        text_pieces=text_pieces,
        html_pieces=html_pieces,
        fixed_headers=fixed_headers(from_header, reply_to, list_id, feedback_id, headers or {}),
        attachments=attachments,
    )


def _with_constants(
    pieces: Sequence[str | MergeField], constants: Mapping[str, str], in_html: bool
) -> list[str | MergeField]:
    filled: list[str | MergeField] = []
    for piece in pieces:
        if isinstance(piece, MergeField) and piece.field in constants:
            value = one_line(constants[piece.field] or "") or piece.fallback
            filled.append(html_module.escape(value) if in_html else value)
        else:
            filled.append(piece)
    return joined(filled)


def _with_preheader(html: list[str | MergeField], preheader: list[str | MergeField]) -> list[str | MergeField]:
    """Put the preview text, invisible, in front of what is seen."""
    if not preheader:
        return html
    hidden: list[str | MergeField] = ['<div style="display:none;max-height:0;overflow:hidden;mso-hide:all">']
    hidden += [html_module.escape(piece) if isinstance(piece, str) else piece for piece in preheader]
    hidden.append("</div>")
    for position, piece in enumerate(html):
        if isinstance(piece, str) and (body := re.search(r"<body\b[^>]*>", piece, re.IGNORECASE)):
            return joined([*html[:position], piece[: body.end()], *hidden, piece[body.end() :], *html[position + 1 :]])
    return joined([*hidden, *html])


def derive_text(html: Sequence[str | MergeField]) -> list[str | MergeField]:
    """Return the text part of an HTML body, with its holes; it ends with a line break."""
    holes = [piece for piece in html if isinstance(piece, MergeField)]
    numbers = iter(range(len(holes)))
    # Holes travel through the conversion as private characters, which no text has a use for.
    marked = "".join(
        f"\ue000{next(numbers)}\ue001" if isinstance(piece, MergeField) else re.sub("[\ue000\ue001]", "", piece)
        for piece in html
    )
    plain = re.sub(r"[ \t]+(?=\n)", "", html_to_text(marked))  # tables that make the layout pad and leave empty lines
    plain = re.sub(r"\n{3,}", "\n\n", plain)
    pieces: list[str | MergeField] = []
    for position, piece in enumerate(re.split("\ue000([0-9]+)\ue001", plain)):
        pieces.append(holes[int(piece)] if position % 2 else piece)
    return joined(pieces)


# --- the result


@dataclass
class _Body:
    """The parts of the whole mail behind its headers; the slots' places are empty until a recipient comes."""

    parts: list[bytes]
    slots: list[_Placeholder]


class CompiledMailing:
    """A mailing as bytes with slots; made by ``compile_mailing``. Reading it from several threads is safe."""

    def __init__(
        self,
        *,
        subject_pieces: list[str | MergeField],
        text_pieces: list[str | MergeField],
        html_pieces: list[str | MergeField],
        fixed_headers: bytes,
        attachments: Sequence[MailingAttachment] = (),
    ) -> None:
        self._subject = subject_pieces
        self._text = text_pieces
        self._html = html_pieces
        pieces = [*subject_pieces, *text_pieces, *html_pieces]
        self._holes = list(dict.fromkeys(piece for piece in pieces if isinstance(piece, MergeField)))
        self._numbers = {hole: number for number, hole in enumerate(self._holes)}
        self._subject_numbers = [
            self._numbers[piece] if isinstance(piece, MergeField) else piece for piece in subject_pieces
        ]
        self._fixed_subject = None
        if not any(isinstance(piece, MergeField) for piece in subject_pieces):
            self._fixed_subject = header("Subject", self.subject({}))
        body = self._compiled_body(fixed_headers, attachments)
        self._parts, self._slots = body.parts, body.slots
        self._places = [slot.place for slot in body.slots]
        self._canonical = CanonicalMailing(body.parts)

    @property
    def fields(self) -> frozenset[str]:
        """The fields that this mailing needs values for."""
        return frozenset(hole.field for hole in self._holes)

    # --- for people

    def subject(self, values: Mapping[str, str]) -> str:
        """Return the subject for one recipient, as a person reads it."""
        return one_line(self._filled(self._subject, values))

    def text(self, values: Mapping[str, str]) -> str:
        """Return the text part for one recipient (line breaks as LF)."""
        return self._filled(self._text, values)

    def html(self, values: Mapping[str, str]) -> str:
        """Return the HTML for one recipient: the preview and "view in browser"."""
        return self._filled(self._html, values, in_html=True)

    def _filled(self, pieces: list[str | MergeField], values: Mapping[str, str], in_html: bool = False) -> str:
        filled = []
        for piece in pieces:
            if isinstance(piece, MergeField):
                value = one_line(values.get(piece.field) or "") or piece.fallback
                filled.append(html_module.escape(value) if in_html else value)
            else:
                filled.append(piece)
        return "".join(filled)

    # --- for the wire

    def render(
        self,
        values: Mapping[str, str],
        *,
        to_address: str,
        message_id: str,
        own_id: str,
        date: str,
        to_name: str = "",
        unsubscribe_url: str = "",
        unsubscribe_mailto: str = "",
        keys: Sequence[SigningKey] = (),
        later: list[UnsignedHeader] | None = None,
    ) -> bytes:
        """Return the whole mail for one recipient: CRLF, no line over 76 characters in the bodies, no dots to stuff.

        `values` maps fields to texts; what is missing or blank gets its fallback. `message_id` has its angle brackets,
        `own_id` is the token of our id header, `date` is RFC 5322 (``email.utils.format_datetime``). With
        `unsubscribe_url` (HTTPS, takes the one-click POST of RFC 8058) and `unsubscribe_mailto` (``address?subject=…``)
        the List-Unsubscribe headers are written. The `keys` sign it; with
        `later` their headers are added to it and go in front once they are signed. Raises
        InvalidAddress for a `to_address` that can't be used.
        """
        raw: list[str] = []
        ready: list[bytes | None] = []
        plain = _PLAIN_VALUE.fullmatch
        for field, fallback in self._holes:
            value = (values.get(field) or fallback).strip() or fallback
            if plain(value) and "  " not in value:
                ready.append(value.encode())
            else:
                value = one_line(value) or fallback
                ready.append(None)
            raw.append(value)
        parts = self._parts.copy()
        for place, number, in_html in self._slots:
            filled = ready[number]
            if filled is None:
                filled = quoted_value(html_module.escape(raw[number]) if in_html else raw[number])
            parts[place] = filled
        parts[0] = own = self._own_headers(
            raw, to_name, to_address, message_id, own_id, date, unsubscribe_url, unsubscribe_mailto
        )
        if keys:
            unsigned = self._canonical.unsigned(own, parts, self._places, keys)
            if later is None:
                parts[0] = b"".join([header.signed() for header in unsigned]) + own
            else:
                later += unsigned
        return b"".join(parts)

    def _own_headers(
        self,
        raw: list[str],
        to_name: str,
        to_address: str,
        message_id: str,
        own_id: str,
        date: str,
        unsubscribe_url: str,
        unsubscribe_mailto: str,
    ) -> bytes:
        """Return the headers that are this recipient's own."""
        if not _HEADER_SAFE.fullmatch(f"{message_id}{own_id}{unsubscribe_url}{unsubscribe_mailto}") or not (
            _DATE.fullmatch(date)
        ):
            raise HeaderError("an id, a link or the date can't stand in a header")
        if (
            _PLAIN_ADDRESS.fullmatch(to_address)
            and len(to_address) < 72
            and (not to_name or _PLAIN_NAME.fullmatch(to_name))
        ):
            line = f'To: "{to_name}" <{to_address}>\r\n' if to_name else f"To: {to_address}\r\n"
            if len(line) > HEADER_LINE + 2:
                line = line.replace('" <', '"\r\n <')
            to = line.encode()
        else:
            to = b"To: " + folded(format_address(to_name, to_address), 4) + b"\r\n"
        subject = self._fixed_subject
        if subject is None:
            words = "".join([piece if isinstance(piece, str) else raw[piece] for piece in self._subject_numbers])
            subject = f"Subject: {words}\r\n".encode() if _PLAIN_SUBJECT.fullmatch(words) else header("Subject", words)
        unsubscribe = ""
        if unsubscribe_url:
            more = f",\r\n <mailto:{unsubscribe_mailto}>" if unsubscribe_mailto else ""
            unsubscribe = (
                f"List-Unsubscribe: <{unsubscribe_url}>{more}\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
            )
        elif unsubscribe_mailto:
            unsubscribe = f"List-Unsubscribe: <mailto:{unsubscribe_mailto}>\r\n"
        ids = f"Date: {date}\r\nMessage-ID: {message_id}\r\nX-CoquiMail-Id: {own_id}\r\n{unsubscribe}"
        return to + subject + ids.encode()

    def _compiled_body(self, fixed_headers: bytes, attachments: Sequence[MailingAttachment]) -> _Body:
        alternative = f'Content-Type: multipart/alternative;\r\n boundary="{ALTERNATIVE}"\r\n\r\n'.encode()
        start = fixed_headers
        if attachments:
            start += f'Content-Type: multipart/mixed;\r\n boundary="{MIXED}"\r\n\r\n--{MIXED}\r\n'.encode()
        body = _Body([b"", start + alternative + _part_head("plain")], [])
        self._add_slots(body, self._text, in_html=False)
        body.parts.append(b"\r\n" + _part_head("html"))  # this line break belongs to the boundary, not to the text
        self._add_slots(body, self._html, in_html=True)
        end = f"\r\n--{ALTERNATIVE}--\r\n".encode()
        for attachment in attachments:
            end += _attached(attachment)
        if attachments:
            end += f"--{MIXED}--\r\n".encode()
        body.parts.append(end)
        return _united(body)

    def _add_slots(self, body: _Body, pieces: Sequence[str | MergeField], in_html: bool) -> None:
        """Add a body part: static pieces encoded once, each hole on its own line between soft line breaks."""
        open_line = b""
        for position, piece in enumerate(pieces):
            if isinstance(piece, str):
                last = position == len(pieces) - 1
                static = quoted_printable(piece if last else piece + "|")[: None if last else -1]
                static = static.removesuffix(b"=\r\n")
                if not last and static and not static.endswith(b"\r\n"):
                    static += b"=\r\n"
                body.parts.append(open_line + static)
                open_line = b""
            else:
                body.parts.append(open_line)
                body.slots.append(_Placeholder(len(body.parts), self._numbers[piece], in_html))
                body.parts.append(b"")
                open_line = b"=\r\n"
        body.parts.append(open_line)


def _united(body: _Body) -> _Body:
    """Return the body with neighbouring static parts in one: fewer pieces to join for every recipient."""
    slots = {slot.place: slot for slot in body.slots}
    parts, moved = [body.parts[0]], []
    static = b""
    for place in range(1, len(body.parts)):
        slot = slots.get(place)
        if slot is None:
            static += body.parts[place]
            continue
        parts += [static, b""]
        moved.append(_Placeholder(len(parts) - 1, slot.hole, slot.in_html))
        static = b""
    return _Body([*parts, static], moved)


def _part_head(subtype: str) -> bytes:
    return (
        f"--{ALTERNATIVE}\r\nContent-Type: text/{subtype}; charset=utf-8\r\n"
        "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
    ).encode()


def _attached(attachment: MailingAttachment) -> bytes:
    """Return one attachment as a part (RFC 2183, its name as in RFC 2231)."""
    name = one_line(attachment.name) or "attachment"
    if name.isascii():
        shown = 'filename="' + re.sub(r'(["\\])', r"\\\1", name) + '"'
    else:
        quoted = "".join(
            chr(octet) if chr(octet).isalnum() and octet < 128 else f"%{octet:02X}" for octet in name.encode()
        )
        shown = f"filename*=utf-8''{quoted}"
    kind = (
        attachment.type if re.fullmatch(r"[\w.+-]+/[\w.+-]+", attachment.type, re.ASCII) else "application/octet-stream"
    )
    head = (
        f"--{MIXED}\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\n"
        f"Content-Disposition: attachment;\r\n {shown}\r\n\r\n"
    )
    return head.encode() + base64.encodebytes(attachment.data).replace(b"\n", b"\r\n")

"""Bytes become an ``IncomingMessage``: whatever was sent to us can be read, shown and routed; nothing here raises.

Here the header is read and all is put together; ``structure`` splits the parts. What is broken is read as far as it
goes and noted in ``problems``; what is beyond the limits carries ``too_much`` and goes to quarantine.
"""

import codecs
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice

from mail.message.absence import is_absence_subject
from mail.message.address import Address, parse_addresses
from mail.message.arrival import moment
from mail.message.content_type import content_type
from mail.message.contents import body_text
from mail.message.html import text_of_html, with_bracketed
from mail.message.parts import Part, named_parts, words_among
from mail.message.structure import KNOWN_FIELD, LARGEST_HEADER, MOST_PARTS, Bodies, StructureReader, first_field
from mail.message.words import decode_words
from mail.sentences import Why, why

LARGEST_MAIL = 50 * 1024 * 1024  # octets

BEGINNING = 256 * 1024  # octets

OWN_ID_HEADER = "X-CoquiMail-Id"
LOOP_HEADER = "X-CoquiMail-Loop"

_ENVELOPE_HEADERS = ("delivered-to", "x-original-to", "envelope-to", "x-envelope-to", "x-delivered-to")
_RESENT_HEADERS = ("resent-to", "resent-cc", "x-forwarded-to")
_ONCE = ("from", "sender", "subject", "date", "message-id", "to", "cc", "in-reply-to", "references", "content-type")


@dataclass(slots=True)
class IncomingMessage:
    """A mail as the rules need it. Addresses in lists are normalised keys; ``None`` means the header is missing."""

    raw: bytes
    fields: dict[str, list[str]]
    arrived_at: datetime
    message_id: str | None = None
    own_id: str | None = None
    loop_tag: str | None = None
    from_: Address | None = None
    from_header: str = ""
    to: list[str] = field(default_factory=list)
    cc: list[str] = field(default_factory=list)
    delivered_to: list[str] = field(default_factory=list)
    resent_to: list[str] = field(default_factory=list)
    return_path: str | None = None  # "" is the empty one, <>
    subject: str = ""
    date: datetime = field(default_factory=lambda: datetime.fromtimestamp(0, UTC))
    references: list[str] = field(default_factory=list)
    html: str | None = None  # as it was sent: clean_html() before anybody sees it
    text: str = ""
    has_text: bool = True  # False: the words of the HTML, without its paragraphs
    attachments: list[Part] = field(default_factory=list)
    content_type: str = "text/plain"
    report_type: str = ""
    is_auto_reply: bool = False
    is_list: bool = False
    problems: list[Why] = field(default_factory=list)
    too_much: Why | None = None
    known_key: str = ""  # its message_key(), if that was made where all of the body was at hand

    @property
    def from_key(self) -> str:
        """The sender's address as it is compared; "" if the mail names none."""
        return self.from_.key if self.from_ else ""

    @property
    def recipients(self) -> list[str]:
        """Every address the mail names as a recipient, each once: To, the envelope's traces, Resent, Cc."""
        return list(dict.fromkeys([*self.to, *self.delivered_to, *self.resent_to, *self.cc]))

    @property
    def answers(self) -> bool:
        """Say whether it answers another mail; who passes one on does not."""
        return not _PASSES_ON.match(self.subject) and (bool(self.references) or self.is_answer)

    @property
    def is_answer(self) -> bool:
        """Say whether its subject is one that people's programs make when they answer or forward."""
        return bool(_ANSWERS.match(self.subject) or _PASSES_ON.match(self.subject))

    @property
    def is_generated(self) -> bool:
        """Say whether its header says that no person wrote it: Exchange's absence notes call themselves so."""
        is_bulk = self.raw_header("precedence").strip().lower() in ("bulk", "junk")
        return is_bulk or self.auto_submitted != "no" or "x-auto-response-suppress" in self.fields

    @property
    def auto_submitted(self) -> str:
        """The keyword of Auto-Submitted (RFC 3834), lower-case; "no" when it is missing."""
        return self.header("Auto-Submitted").partition(";")[0].strip().lower() or "no"

    def header(self, name: str) -> str:
        """Return a header decoded for people, the first one if it stands more than once; "" if it is missing."""
        return decode_words(self.raw_header(name))

    def raw_header(self, name: str) -> str:
        """Return the value of the first such header, unfolded but not decoded; "" if it is missing."""
        values = self.fields.get(name.lower())
        return values[0] if values else ""


def _begins_with(prefixes: str) -> re.Pattern[str]:
    """A subject with one of these words before its first colon, perhaps behind the tag of a list or a filter."""
    return re.compile(rf"\s*(?:\[[^\[\]]{{0,60}}\]\s*){{0,3}}(?:{prefixes})(?:\[\d+\]|\(\d+\))?\s*[:：]", re.IGNORECASE)


_ANSWERS = _begins_with(
    "re|aw|antw?|antwort|sv|vs|odp|ynt|res|rif|r|ref|rép|bls|vá|отв|απ|σχετ|رد|השב|תשובה|回复|答复|回覆|返信|답장|회신"
)
_PASSES_ON = _begins_with(
    "fwd?|wg|tr|trs|rv|enc|i|doorst|pd|vl|vb|i̇?lt|πρθ|továbbítás|إعادة توجيه|הועבר|转发|轉寄|転送|전달"
)


# --- parsing


def parse(raw: bytes, arrived_at: datetime) -> IncomingMessage:
    """Return the mail that these bytes are; never raises.

    ``arrived_at`` (aware, UTC) takes the place of a Date that is missing, unreadable or in the future. ``too_much`` is
    set when the mail is beyond the limits (50 MB, 1,000 parts, 100 levels, 256 KB of header): what was read up to
    there is in the message.
    """
    try:
        return _parse(raw, arrived_at)
    except Exception as error:  # a mistake of ours must not stop the mails behind this one: it goes to quarantine
        message = IncomingMessage(raw=raw, fields={}, arrived_at=arrived_at, date=arrived_at)
        message.too_much = why("parse_failed", error=f"{type(error).__name__}: {error}"[:200])
        message.text = body_text(raw[:LARGEST_HEADER], "", [])
        return message


def parse_beginning(raw: bytes, arrived_at: datetime) -> IncomingMessage:
    """Return the header and the first words of a mail, whatever its size: little work, and no attachments."""
    message = parse(raw[:BEGINNING], arrived_at)
    message.raw, message.attachments = raw, []
    return message


def message_key(message: IncomingMessage) -> str:
    """Return the key under which copies of one mail are recognised: 64 hexadecimal characters.

    SHA-256 over Message-ID (or our own id), From, Date, Subject and contents. Trace headers, transfer encodings and
    line ends don't count: they differ between two copies. A mail without Message-ID and Date is one of its own.
    """
    if message.known_key:
        return message.known_key
    digest = hashlib.sha256()
    date = message.raw_header("date").strip()
    identity = message.message_id or message.own_id or ""
    if not identity and not date:
        identity = message.arrived_at.isoformat()
    for value in (identity, message.from_key, date, message.subject, message.text, message.html or ""):
        data = value.strip().encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(data) + data)
    for part in message.attachments:
        content = part.content
        if part.type.startswith(("text/", "message/")):
            content = content.replace(b"\r\n", b"\n").rstrip()
        digest.update(b"%d:" % len(content))
        digest.update(content)
    return digest.hexdigest()


def _parse(raw: bytes, arrived_at: datetime) -> IncomingMessage:
    problems: list[Why] = []
    whole = raw
    raw = _from_its_first_line(_with_usual_line_ends(raw, problems))
    reader = StructureReader(raw, problems)
    fields, body = reader.header(0, len(raw))
    message = IncomingMessage(raw=whole, fields=fields, arrived_at=arrived_at, problems=problems)
    _read_header(message)
    if len(raw) > LARGEST_MAIL:
        message.too_much = why("parse_too_large", megabytes=len(raw) // 1048576, limit=LARGEST_MAIL // 1048576)
        return message
    bodies = reader.part(fields, body, len(raw), depth=0, default="text/plain")
    if bodies.are_empty and reader.leaves and reader.too_much is None:
        bodies, reader = _other_bodies(bodies, reader, fields, body)
    message.too_much = reader.too_much
    message.html, message.text = bodies.html, bodies.text or ""
    if message.html is not None:
        message.html = with_bracketed(message.html)
        if bodies.text is None:
            message.text, message.has_text = text_of_html(message.html), False
    message.attachments = list(islice(named_parts(reader.leaves, message.html or ""), MOST_PARTS + 1))
    if len(message.attachments) > MOST_PARTS:  # a winmail.dat may hold as many as it likes
        message.too_much = message.too_much or why("parse_too_many_parts", limit=MOST_PARTS)
    return message


def _with_usual_line_ends(raw: bytes, problems: list[Why]) -> bytes:
    """Repair a mail whose lines end in CR alone, or in CR CR LF, which programs of Windows make of CR LF."""
    if raw.find(b"\r\r\n", 0, LARGEST_HEADER) >= 0:
        repaired = raw.replace(b"\r\r\n", b"\r\n")
    elif raw.find(b"\n", 0, LARGEST_HEADER) < 0 and raw.find(b"\r", 0, LARGEST_HEADER) >= 0:
        repaired = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    else:
        return raw
    problems.append(why("parse_line_ends"))
    return repaired


def _from_its_first_line(raw: bytes) -> bytes:
    """Leave out what some pipes put before the header: a byte order mark, empty lines."""
    if raw[:1] not in (b"\xef", b"\r", b"\n"):
        return raw
    begins = raw.removeprefix(codecs.BOM_UTF8).lstrip(b"\r\n")
    return begins if KNOWN_FIELD.match(begins[:100].decode("ascii", "replace")) else raw


def _other_bodies(
    bodies: Bodies, reader: StructureReader, fields: dict[str, list[str]], body: int
) -> tuple[Bodies, StructureReader]:
    """Where a mail without a body has its words: above or below its parts, in a text with a name, in what Outlook
    packed.
    """
    for beside in reader.beside:
        words = body_text(reader.raw[slice(*beside)], "", reader.problems).strip()
        if words and not _SAID_BY_PROGRAMS.search(words):
            return Bodies(text=words), reader
    again = StructureReader(reader.raw, reader.problems, named_are_bodies=True)
    named = again.part(fields, body, len(reader.raw), depth=0, default="text/plain")
    if not named.are_empty:
        return named, again
    among = words_among(reader.leaves)
    return (bodies if among.are_empty else among), reader


# Above the parts of nearly every mail: "This is a multi-part message in MIME format."
_SAID_BY_PROGRAMS = re.compile(r"\bMIME\b|multi-?part", re.IGNORECASE)


def _read_header(message: IncomingMessage) -> None:
    fields, problems = message.fields, message.problems
    for name in _ONCE:
        if len(fields.get(name, ())) > 1:
            problems.append(why("parse_header_repeated", name=name.title()))
    message.message_id = _message_id(message.raw_header("message-id"))
    if message.message_id is None:
        problems.append(why("parse_no_message_id"))
    message.own_id = message.raw_header(OWN_ID_HEADER).strip() or None
    message.loop_tag = message.raw_header(LOOP_HEADER).strip() or None
    message.from_header = message.header("from")
    message.return_path = _return_path(fields.get("return-path"))
    message.from_ = _sender(fields)
    if message.from_ is None:
        problems.append(why("parse_no_sender"))
    message.to = _keys(fields, "to", "apparently-to")
    message.cc = _keys(fields, "cc")
    message.delivered_to = _keys(fields, *_ENVELOPE_HEADERS)
    message.resent_to = _keys(fields, *_RESENT_HEADERS)
    message.subject = message.header("subject")
    message.date = _date(message.raw_header("date"), message.arrived_at, problems)
    answered = [value for name in ("in-reply-to", "references") for value in fields.get(name, ())]
    message.references = list(dict.fromkeys(id for value in answered for id in _ids(value)))
    message.content_type, parameters = content_type(message.raw_header("content-type"), "text/plain")
    message.report_type = parameters.get("report-type", "").lower()
    message.is_auto_reply = _is_auto_reply(message)
    message.is_list = _is_list(message)


def _sender(fields: dict[str, list[str]]) -> Address | None:
    """The first address of From (against the rule, some write all of it as encoded words), Sender or Return-Path."""
    for name in ("from", "sender", "return-path"):
        value = first_field(fields, name)
        found = parse_addresses(value) or (parse_addresses(decode_words(value)) if "=?" in value else [])
        if found:
            return found[0]
    return None


def _message_id(value: str) -> str | None:
    value = "".join((decode_words(value) if "=?" in value else value).split())
    if not value:
        return None
    found = _ID.search(value)
    return found[0] if found else value


def _ids(value: str) -> list[str]:
    """The ids in References or In-Reply-To; white space that folding left inside is removed.

    Some programs write long ones as encoded words, against the rule (RFC 2047 5).
    """
    if "=?" in value:
        value = decode_words(value)
    found = ["".join(match.split()) for match in _ID.findall(value)]
    if "<" not in value:
        found = [f"<{word}>" for word in value.split() if "@" in word]
    return found


_ID = re.compile(r"<[^<>]++>")


def _return_path(values: list[str] | None) -> str | None:
    if not values:
        return None
    found = parse_addresses(values[0])
    return found[0].key if found else ""


def _mailboxes(values: Iterable[str]) -> list[Address]:
    return [found for value in values for found in parse_addresses(value)]


def _keys(fields: dict[str, list[str]], *names: str) -> list[str]:
    """The normalised addresses of some headers; of To and Cc the first header counts, traces may stand many times."""
    keys: dict[str, None] = {}
    for name in names:
        values = fields.get(name)
        if values:
            for found in _mailboxes(values[:1] if name in _ONCE else values):
                keys[found.key] = None
    return list(keys)


def _date(value: str, arrived_at: datetime, problems: list[Why]) -> datetime:
    """Date in UTC; without a zone it is read as UTC; missing, unreadable or in the future: the time of arrival."""
    if not value.strip():
        problems.append(why("parse_no_date"))
        return arrived_at
    date = moment(value)
    if date is None:
        problems.append(why("parse_date_unreadable", date=value[:100]))
        return arrived_at
    if date > arrived_at:
        problems.append(why("parse_date_future", date=f"{date:%Y-%m-%d %H:%M} UTC"))
        return arrived_at
    return date


# --- who wrote it: a person, a machine, a list?

_AUTO_HEADER = re.compile(r"x-(?:[a-z0-9]+-)?auto-?(?:reply|respond|responder|response|answer)(?:-from)?")
_NOT_SO = ("no", "false", "0")
_AUTO_REPLY = re.compile(r"\s*auto[-_]?reply\b", re.IGNORECASE)

_OF_PROGRAMS = ("auto-submitted", "precedence", "x-auto-response-suppress")


def _is_auto_reply(message: IncomingMessage) -> bool:
    """Say whether a machine answered (RFC 3834): absence notes, acknowledgements; not mail that is only generated."""
    if message.auto_submitted.startswith(("auto-replied", "auto-reply")):
        return True
    if message.auto_submitted == "no" and "auto-submitted" in message.fields:
        return False
    named = [name for name in message.fields if "auto" in name and _AUTO_HEADER.fullmatch(name)]
    if named:
        return any(message.raw_header(name).strip().lower() not in _NOT_SO for name in named)
    if any(_AUTO_REPLY.match(message.raw_header(name)) for name in ("precedence", "x-precedence", "preference")):
        return True
    if message.raw_header("x-autogenerated").strip().lower() == "reply":
        return True
    return is_absence_subject(message.subject, alone=not _answers_by_program(message))


def _answers_by_program(message: IncomingMessage) -> bool:
    """Say whether a mail shows something of an answer that a program sent."""
    return bool(message.references) or message.return_path == "" or any(name in message.fields for name in _OF_PROGRAMS)


def _is_list(message: IncomingMessage) -> bool:
    if any(name in message.fields for name in ("list-id", "list-post", "list-unsubscribe", "mailing-list")):
        return True
    return message.raw_header("precedence").strip().lower() in ("list", "bulk", "junk")

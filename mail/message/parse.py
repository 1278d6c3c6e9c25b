"""Bytes become an ``IncomingMessage``: whatever was sent to us can be read, shown and routed; nothing here raises.

The structure is split by our own reader over offsets (no copies, no recursion beyond the limits, linear in the size);
the stdlib's parser is the reference it is compared with in the tests. What is broken is read as far as it goes and
noted in ``problems``; what is beyond the limits carries ``too_much`` and goes to quarantine.
"""

import binascii
import hashlib
import quopri
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_tz
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from mail.message.address import Address, decode_words, parse_addresses, repair
from mail.message.html import clean_html, text_of_html, text_to_html
from mail.message.winmail import unpack_winmail
from mail.sentences import Why, why

LARGEST_MAIL = 50 * 1024 * 1024  # octets
MOST_PARTS = 1000
DEEPEST = 100
LARGEST_HEADER = 256 * 1024  # octets

OWN_ID_HEADER = "X-CoquiMail-Id"
LOOP_HEADER = "X-CoquiMail-Loop"

_ENVELOPE_HEADERS = ("delivered-to", "x-original-to", "envelope-to", "x-envelope-to", "x-delivered-to")
_RESENT_HEADERS = ("resent-to", "resent-cc", "x-forwarded-to")
_ONCE = ("from", "sender", "subject", "date", "message-id", "to", "cc", "in-reply-to", "references", "content-type")


@dataclass(slots=True)
class Part:
    """One leaf of a mail that is not its body: an attachment, an inline image, an attached mail, a report's part."""

    name: str
    type: str
    content: bytes
    cid: str = ""
    inline: bool = False  # the HTML shows it in place
    charset: str = ""


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
    attachments: list[Part] = field(default_factory=list)
    content_type: str = "text/plain"
    report_type: str = ""
    is_auto_reply: bool = False
    is_list: bool = False
    problems: list[Why] = field(default_factory=list)
    too_much: Why | None = None

    @property
    def from_key(self) -> str:
        """The sender's address as it is compared; "" if the mail names none."""
        return self.from_.key if self.from_ else ""

    @property
    def recipients(self) -> list[str]:
        """Every address the mail names as a recipient, each once: To, the envelope's traces, Resent, Cc."""
        return list(dict.fromkeys([*self.to, *self.delivered_to, *self.resent_to, *self.cc]))

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
        message.text = _decode_text(raw[:LARGEST_HEADER], "", [])
        return message


def message_key(message: IncomingMessage) -> str:
    """Return the key under which copies of one mail are recognised: 64 hexadecimal characters.

    SHA-256 over Message-ID (or our own id), From, Date, Subject and contents. Trace headers, transfer encodings and
    line ends don't count: they differ between two copies. A mail without Message-ID and Date is one of its own.
    """
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


def display_html(message: IncomingMessage) -> str:
    """Return the body as it is stored for display: the cleaned HTML, else the text as HTML."""
    return clean_html(message.html) if message.html is not None else text_to_html(message.text)


def _parse(raw: bytes, arrived_at: datetime) -> IncomingMessage:
    problems: list[Why] = []
    whole = raw
    if b"\n" not in raw[:LARGEST_HEADER] and b"\r" in raw[:LARGEST_HEADER]:
        raw = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        problems.append(why("parse_line_ends"))
    reader = _StructureReader(raw, problems)
    fields, body = reader.header(0, len(raw))
    message = IncomingMessage(raw=whole, fields=fields, arrived_at=arrived_at, problems=problems)
    _read_header(message)
    if len(raw) > LARGEST_MAIL:
        message.too_much = why("parse_too_large", megabytes=len(raw) // 1048576, limit=LARGEST_MAIL // 1048576)
        return message
    bodies = reader.part(fields, body, len(raw), depth=0, default="text/plain")
    message.too_much = reader.too_much
    message.html, message.text = bodies.html, bodies.text or ""
    if bodies.html is not None and bodies.text is None:
        message.text = text_of_html(bodies.html)
    message.attachments = list(_named(reader.leaves, message.html or ""))
    if b"\0" in raw:
        problems.append(why("parse_zero_bytes"))
    return message


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
    message.from_ = next(
        (found for name in ("from", "sender", "return-path") for found in _mailboxes(fields.get(name, ())[:1])), None
    )
    if message.from_ is None:
        problems.append(why("parse_no_sender"))
    message.to = _keys(fields, "to", "apparently-to")
    message.cc = _keys(fields, "cc")
    message.delivered_to = _keys(fields, *_ENVELOPE_HEADERS)
    message.resent_to = _keys(fields, *_RESENT_HEADERS)
    message.subject = message.header("subject")
    message.date = _date(message.raw_header("date"), message.arrived_at, problems)
    message.references = _ids(message.raw_header("in-reply-to") + " " + message.raw_header("references"))
    message.content_type, parameters = _content_type(message.raw_header("content-type"), "text/plain")
    message.report_type = parameters.get("report-type", "").lower()
    message.is_auto_reply = _is_auto_reply(message)
    message.is_list = _is_list(message)


def _message_id(value: str) -> str | None:
    value = "".join(value.split())
    if not value:
        return None
    found = _ID.search(value)
    return found[0] if found else value


def _ids(value: str) -> list[str]:
    """The ids in References and In-Reply-To, each once; white space that folding left inside is removed."""
    found = ["".join(match.split()) for match in _ID.findall(value)]
    if "<" not in value:
        found = [f"<{word}>" for word in value.split() if "@" in word]
    return list(dict.fromkeys(found))


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
    try:
        parsed = parsedate_tz(value[:200])
        if parsed is None:
            raise ValueError(value)
        zone = timezone(timedelta(seconds=parsed[9] or 0))
        date = datetime(*parsed[:5], min(parsed[5], 59), tzinfo=zone).astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        problems.append(why("parse_date_unreadable", date=value[:100]))
        return arrived_at
    if date > arrived_at:
        problems.append(why("parse_date_future", date=date.isoformat()))
        return arrived_at
    return date


# --- who wrote it: a person, a machine, a list?

_AUTO_HEADERS = ("x-autoreply", "x-autorespond", "x-autoreply-from", "x-mail-autoreply", "x-autoresponder")
# How the programs of offices begin the subject of an absence note; a person's answer to one begins with "Re:".
_AUTO_SUBJECTS = re.compile(
    r"(?:auto(?:matic|mated)?[- ]?(?:reply|response|answer)|out of (?:the )?office"
    r"|(?:i am |i'm )?away from (?:my |the )?(?:office|mail)|on vacation|vacation (?:reply|message)"
    r"|automatische antwort|automatisch antwoord|abwesen(?:d|heit\w{0,20})"
    r"|r[ée]ponse automatique|absence du bureau|message d'absence|respuesta autom[áa]tica|fuera de (?:la )?oficina"
    r"|risposta automatica|fuori sede|resposta autom[áa]tica|fora do escrit[óo]rio|autosvar|automatisk(?:t)? svar"
    r"|frånvaro|fravær|automaattinen vastaus|poissa|odpowied[źz] automatyczna|autoodpowied[źz]"
    r"|automatick[áa] odpov[ěe][dď]"
    r"|automatikus v[áa]lasz|otomatik (?:yan[ıi]t|cevap)|автоответ|автоматический ответ"
    r"|自動応答|自動返信|自动回复|자동 ?회신)"
    r"\b|auto: ",
    re.IGNORECASE,
)


def _is_auto_reply(message: IncomingMessage) -> bool:
    """Say whether a machine answered (RFC 3834): absence notes, acknowledgements; not mail that is only generated."""
    if message.auto_submitted.startswith(("auto-replied", "auto-reply")):
        return True
    if message.auto_submitted == "no" and "auto-submitted" in message.fields:
        return False
    if any(name in message.fields for name in _AUTO_HEADERS):
        return message.raw_header("x-autoreply").strip().lower() != "no"
    if message.raw_header("precedence").strip().lower() in ("auto_reply", "auto-reply", "autoreply"):
        return True
    return bool(_AUTO_SUBJECTS.match(message.subject))


def _is_list(message: IncomingMessage) -> bool:
    if any(name in message.fields for name in ("list-id", "list-post", "list-unsubscribe", "mailing-list")):
        return True
    return message.raw_header("precedence").strip().lower() in ("list", "bulk", "junk")


# --- the structure


@dataclass(slots=True)
class _Bodies:
    """What the person wrote, below one part of the tree: as HTML, as text, as both, or nothing."""

    html: str | None = None
    text: str | None = None


@dataclass(slots=True)
class _Leaf:
    type: str
    name: str
    cid: str
    disposition: str
    content: bytes
    charset: str


class _StructureReader:
    """Splits one mail; collects the leaves that are not bodies, and stops quietly at the limits."""

    def __init__(self, raw: bytes, problems: list[Why]) -> None:
        self.raw = raw
        self.problems = problems
        self.leaves: list[_Leaf] = []
        self.parts = 0
        self.too_much: Why | None = None

    def header(self, start: int, end: int) -> tuple[dict[str, list[str]], int]:
        """Return the fields of the header that begins at ``start``, unfolded, and where the body begins."""
        raw = self.raw
        stop, body = _end_of_header(raw, start, end)
        if stop - start > LARGEST_HEADER:
            self.too_much = self.too_much or why("parse_header_too_large", kilobytes=(stop - start) // 1024, limit=256)
            stop = start + LARGEST_HEADER
        text = raw[start:stop].decode("utf-8", "surrogateescape")
        if "\0" in text:
            text = text.replace("\0", " ")
        fields: dict[str, list[str]] = {}
        last: list[str] | None = None
        lines = text.split("\n")
        for number, line in enumerate(lines):
            if line[:1] in (" ", "\t"):
                if last is not None:
                    last.append(line.rstrip("\r"))
                continue
            name, colon, value = line.partition(":")
            name = name.rstrip(" \t").lower()
            if colon and name and _FIELD_NAME.fullmatch(name):
                last = [value.strip(" \t\r")]
                fields.setdefault(name, []).append(last)  # type: ignore[arg-type]  # joined below
            elif number == 0 and line.startswith(("From ", ">From ")):
                continue  # the line that mbox files put between mails
            elif line.strip():
                if not any(_KNOWN_FIELD.match(later) for later in lines[number + 1 : number + 200]):
                    body = start + sum(len(done.encode("utf-8", "surrogateescape")) + 1 for done in lines[:number])
                    self._note("parse_no_blank_line")
                    break
                last = None
                self._note("parse_line_noise")
        for values in fields.values():
            values[:] = [repair("".join(pieces)) if len(pieces) > 1 else repair(pieces[0]) for pieces in values]
        return fields, body

    def part(self, fields: dict[str, list[str]], start: int, end: int, depth: int, default: str) -> _Bodies:
        """Read one part of the tree; leaves are collected on the way, bodies are returned."""
        kind, parameters = _content_type(_first(fields, "content-type"), default)
        if kind.startswith("multipart/"):
            boundary = parameters.get("boundary", "")
            if not boundary:
                self._note("parse_no_boundary")
                return self._leaf(fields, "text/plain", {}, start, end, depth)
            spans, closed = _split(self.raw, start, end, boundary.encode("utf-8", "surrogateescape"))
            if not spans:
                self._note("parse_no_boundary")
                return self._leaf(fields, "text/plain", {}, start, end, depth)
            if not closed:
                self._note("parse_not_closed")
            if depth >= DEEPEST:
                self.too_much = self.too_much or why("parse_too_deep", limit=DEEPEST)
                return _Bodies()
            default = "message/rfc822" if kind == "multipart/digest" else "text/plain"
            children = []
            for first, last in spans:
                self.parts += 1
                if self.parts > MOST_PARTS:
                    self.too_much = self.too_much or why("parse_too_many_parts", limit=MOST_PARTS)
                    break
                child_fields, body = self.header(first, last)
                children.append(self.part(child_fields, min(body, last), last, depth + 1, default))
            return _alternative(children) if kind == "multipart/alternative" else _sequence(children)
        return self._leaf(fields, kind, parameters, start, end, depth)

    def _leaf(
        self, fields: dict[str, list[str]], kind: str, parameters: dict[str, str], start: int, end: int, depth: int
    ) -> _Bodies:
        disposition, about = _content_type(_first(fields, "content-disposition"), "")
        content = self._decode(self.raw[start:end], _first(fields, "content-transfer-encoding"))
        name = _file_name(about.get("filename") or parameters.get("name") or "")
        charset = parameters.get("charset", "")
        attached = disposition == "attachment" or (name and depth > 0)
        if kind in ("text/plain", "text/html") and not attached:
            text = _decode_text(content, charset, self.problems)
            if not text.strip():
                return _Bodies()
            return _Bodies(html=text) if kind == "text/html" else _Bodies(text=text)
        cid = _first(fields, "content-id").strip().strip("<>")
        self.leaves.append(_Leaf(kind, name, cid, disposition, content, charset))
        return _Bodies()

    def _decode(self, content: bytes, encoding: str) -> bytes:
        """Undo the transfer encoding; what is damaged is decoded as far as it goes."""
        encoding = encoding.partition(";")[0].strip().lower()
        if encoding == "base64":
            try:
                return binascii.a2b_base64(content)
            except binascii.Error:
                self._note("parse_base64")
                return _damaged_base64(content)
        if encoding == "quoted-printable":
            return quopri.decodestring(content)
        if encoding in ("x-uuencode", "uuencode", "uue", "x-uue"):
            return _uudecode(content)
        return content

    def _note(self, code: str) -> None:
        if not any(problem["code"] == code for problem in self.problems):
            self.problems.append(why(code))


_FIELD_NAME = re.compile(r"[!-9;-~]+")
_KNOWN_FIELD = re.compile(
    r"(?:from|to|cc|subject|date|message-id|mime-version|content-[a-z-]{1,30}|received|references|in-reply-to"
    r"|reply-to|return-path|sender|x-[a-z0-9-]{1,60})[ \t]*:",
    re.IGNORECASE,
)


def _first(fields: dict[str, list[str]], name: str) -> str:
    values = fields.get(name)
    return values[0] if values else ""


def _end_of_header(raw: bytes, start: int, end: int) -> tuple[int, int]:
    """Where the header ends and where the body begins: at the first empty line (none: all is header)."""
    if raw[start : start + 1] == b"\n":
        return start, start + 1
    if raw[start : start + 2] == b"\r\n":
        return start, start + 2
    crlf = raw.find(b"\n\r\n", start, end)
    lf = raw.find(b"\n\n", start, crlf if crlf >= 0 else end)
    if lf >= 0:
        return lf, lf + 2
    if crlf >= 0:
        return crlf, crlf + 3
    return end, end


def _split(raw: bytes, start: int, end: int, boundary: bytes) -> tuple[list[tuple[int, int]], bool]:
    """The parts between the lines of a boundary (RFC 2046 5.1.1) as offsets, and whether the last line was there."""
    marker = b"--" + boundary.rstrip()
    spans: list[tuple[int, int]] = []
    opened = -1
    position = start
    while len(spans) <= MOST_PARTS:
        found = raw.find(marker, position, end)
        if found < 0:
            break
        position = found + len(marker)
        if found != start and raw[found - 1] != 10:
            continue
        match = _BOUNDARY_TAIL.match(raw, position, end)
        if match is None:
            continue
        if opened >= 0:
            last = max(found - 1, opened)
            spans.append((opened, last - 1 if last > opened and raw[last - 1] == 13 else last))
        if match[1]:
            return spans, True
        opened = position = match.end()
    if opened >= 0:
        spans.append((opened, end))
    return spans, False


_BOUNDARY_TAIL = re.compile(rb"(--)?[ \t]*+(?:\r?\n|\Z|\r(?=\n|\Z))")


def _alternative(children: list[_Bodies]) -> _Bodies:
    """The same thing in several forms: the last HTML (the richest) and the first text."""
    return _Bodies(
        html=next((child.html for child in reversed(children) if child.html is not None), None),
        text=next((child.text for child in children if child.text is not None), None),
    )


def _sequence(children: list[_Bodies]) -> _Bodies:
    """Several bodies, one after the other: all of them count, as HTML if one of them is."""
    bodies = [child for child in children if child.html is not None or child.text is not None]
    if len(bodies) <= 1:
        return bodies[0] if bodies else _Bodies()
    html = None
    if any(body.html is not None for body in bodies):
        html = "\n".join(body.html if body.html is not None else text_to_html(body.text or "") for body in bodies)
    return _Bodies(
        html, "\n\n".join(body.text if body.text is not None else text_of_html(body.html or "") for body in bodies)
    )


# --- names and types


def _content_type(value: str, default: str) -> tuple[str, dict[str, str]]:
    """The type and the parameters (RFC 2045, 2231) of a Content-Type or Content-Disposition, lower-case."""
    if not value:
        return default, {}
    return _parameters(value, default) if len(value) < 300 else _parameters.__wrapped__(value, default)


@lru_cache(maxsize=512)
def _parameters(value: str, default: str) -> tuple[str, dict[str, str]]:
    token = _TYPE.match(value)
    kind, rest = ("".join(token[1].lower().split()), value[token.end() :]) if token else ("", value)
    if default and "/" not in kind:
        kind = {"text": "text/plain", "html": "text/html", "pdf": "application/pdf"}.get(kind, default)
    found: dict[str, str] = {}
    pieces: dict[str, list[tuple[int, bool, str]]] = {}
    for name, text in _PARAMETER.findall(rest):
        name, text = name.lower(), text.strip()
        if text[:1] == '"':
            text = _ESCAPED.sub(r"\1", text[1:-1] if len(text) > 1 and text[-1] == '"' else text[1:])
        base, star, number = name.partition("*")
        if not star:
            found.setdefault(name, text)
        else:
            order = number.rstrip("*")
            pieces.setdefault(base, []).append(
                (int(order) if order.isascii() and order.isdigit() else 0, name[-1] == "*", text)
            )
    for base, parts in pieces.items():
        found[base] = _rfc2231(sorted(parts))
    return kind, found


_TYPE = re.compile(r"\s*+([a-z0-9!#$&^_.+-]++(?:\s*+/\s*+[a-z0-9!#$&^_.+-]++)?)", re.IGNORECASE)
_PARAMETER = re.compile(r"""([^\s=;"]++)\s*+=\s*+("(?:[^"\\]|\\.)*+"?|[^;]*+)""", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def _rfc2231(parts: list[tuple[int, bool, str]]) -> str:
    charset, octets = "", b""
    for index, (_, encoded, text) in enumerate(parts):
        if encoded and index == 0 and text.count("'") >= 2:
            charset, _, text = text.split("'", 2)
        octets += unquote_to_bytes(text) if encoded else text.encode("utf-8", "surrogateescape")
    return _decode_text(octets, charset, [])


def _file_name(name: str) -> str:
    """A file name that can be shown and stored: decoded, without folders and control characters, at most 150 long."""
    if not name:
        return ""
    name = decode_words(name).replace("\\", "/").rpartition("/")[2].strip(". ")
    if len(name) > 150:
        stem, dot, ending = name.rpartition(".")
        name = f"{stem[:130]}.{ending[:15]}" if dot else name[:150]
    return name


_ENDINGS = {
    "text/calendar": ".ics",
    "application/ics": ".ics",
    "text/x-vcard": ".vcf",
    "text/vcard": ".vcf",
    "text/csv": ".csv",
    "text/rtf": ".rtf",
    "text/plain": ".txt",
    "text/html": ".html",
    "application/pdf": ".pdf",
    "application/zip": ".zip",
    "application/json": ".json",
    "image/jpeg": ".jpg",
    "image/jpg": ".jpg",
    "image/png": ".png",
    "image/gif": ".gif",
    "image/webp": ".webp",
    "message/delivery-status": ".txt",
    "text/rfc822-headers": ".txt",
}


def _named(leaves: list[_Leaf], html: str) -> Iterable[Part]:
    """The leaves as parts, each with a name; a ``winmail.dat`` gives what it holds."""
    for number, leaf in enumerate(leaves, 1):
        if leaf.type == "application/ms-tnef" or leaf.name.lower() == "winmail.dat":
            unpacked = unpack_winmail(leaf.content)
            if unpacked:
                for name, content in unpacked:
                    yield Part(_file_name(name) or f"attachment-{number}", "application/octet-stream", content)
                continue
        name = leaf.name
        if not name and leaf.type == "message/rfc822":
            name = _attached_subject(leaf.content) + ".eml"
        elif not name:
            name = "invite.ics" if leaf.type == "text/calendar" else f"attachment-{number}{_ENDINGS.get(leaf.type, '')}"
        inline = bool(leaf.cid) and f"cid:{leaf.cid}" in html
        yield Part(name, leaf.type, leaf.content, leaf.cid, inline, leaf.charset)


def _attached_subject(content: bytes) -> str:
    fields, _ = _StructureReader(content[:65536], []).header(0, min(len(content), 65536))
    return _file_name(_first(fields, "subject").replace("/", "-"))[:100] or "message"


# --- contents

_CHARSETS = {
    "iso-8859-8-i": "iso-8859-8",
    "iso-8859-8-e": "iso-8859-8",
    "ks_c_5601-1987": "cp949",
    "ks_c_5601": "cp949",
    "euc-kr": "cp949",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "x-gbk": "gb18030",
    "shift_jis": "cp932",
    "x-sjis": "cp932",
    "iso-8859-1": "cp1252",
    "latin1": "cp1252",
    "iso-8859-11": "cp874",
    "windows-874": "cp874",
    "x-mac-roman": "mac-roman",
    "unicode-1-1-utf-7": "utf-7",
    "utf8mb4": "utf-8",
    "unicode-1-1-utf-8": "utf-8",
    "us-ascii": "",
    "ascii": "",
    "unknown-8bit": "",
    "x-unknown": "",
    "default": "",
    "": "",
}
_NOT_CHARSETS = {
    "idna",
    "punycode",
    "unicode_escape",
    "unicode-escape",
    "raw_unicode_escape",
    "raw-unicode-escape",
    "undefined",
}


def _decode_text(content: bytes, charset: str, problems: list[Why]) -> str:
    """Text of a part: NUL dropped, lines end with a line feed; a wrong character set is guessed and noted."""
    charset = charset.strip().strip("'\"").lower()
    codec = _CHARSETS.get(charset, charset)
    text = None
    if codec and codec not in _NOT_CHARSETS:
        try:
            text = content.decode(codec)
        except UnicodeDecodeError:
            problems.append(why("parse_text_damaged", charset=charset))
            text = content.decode(codec, "replace")
        except (LookupError, ValueError):
            problems.append(why("parse_charset_unknown", charset=charset[:40]))
    if text is None:
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            text = content.decode("cp1252", "replace")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.isascii():
        text = _LONE_SURROGATE.sub("\ufffd", text.removeprefix("\ufeff"))
    return text.replace("\0", "") if "\0" in text else text


_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]+")


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
            try:
                decoded.append(binascii.a2b_uu(line))
            except binascii.Error:
                size = (((line[0] - 32) & 63) * 4 + 5) // 3  # some writers leave rubbish at the end of a line
                decoded.append(binascii.a2b_uu(line[: size + 1].ljust(size + 1)) if size else b"")
    return b"".join(decoded) if inside else content

"""The parts of a mail (RFC 2045, 2046): split over offsets, without copies, linear in the size, within limits. Pure.

What a person reads comes back as ``Bodies``; everything else is collected as leaves. The stdlib's parser is the
reference it is compared with in the tests.
"""

import re
from bisect import bisect_right
from dataclasses import dataclass

from mail.message.charsets import to_text
from mail.message.content_type import content_type, file_name
from mail.message.contents import body_text, undo_transfer_encoding
from mail.message.html import says_something, shows_only_pictures, text_of_html, text_to_html
from mail.message.in_text import flowing, take_files
from mail.message.smime import is_encrypted, signed_content
from mail.message.words import repair
from mail.sentences import Why, why

MOST_PARTS = 1000
DEEPEST = 100
LEVELS_OF_SIGNED = 10  # for which a signed block counts: each needs the memory of all within
LARGEST_HEADER = 256 * 1024  # octets
KNOWN_FIELD = re.compile(
    r"(?:from|to|cc|subject|date|message-id|mime-version|content-[a-z-]{1,30}|received|references|in-reply-to"
    r"|reply-to|return-path|sender|x-[a-z0-9-]{1,60})[ \t]*:",
    re.IGNORECASE,
)
_FIELD_OF_PART = re.compile(r"content-[a-z-]{1,30}[ \t]*:", re.IGNORECASE)

Fields = dict[str, list[str]]


@dataclass(slots=True)
class Bodies:
    """What the person wrote, below one part of the tree: as HTML, as text, as both, or nothing."""

    html: str | None = None
    text: str | None = None

    @property
    def are_empty(self) -> bool:
        """Say whether there is no word, and no picture."""
        return not (self.text and self.text.strip()) and not (self.html and says_something(self.html))


@dataclass(slots=True)
class Leaf:
    """One part that has no parts, and is not a body."""

    type: str
    name: str
    cid: str
    disposition: str
    content: bytes
    charset: str


class StructureReader:
    """Splits one mail; collects the leaves that are not bodies, and stops quietly at the limits.

    ``named_are_bodies``: texts with a file name are bodies too, unless they say that they are attachments.
    """

    def __init__(self, raw: bytes, problems: list[Why], named_are_bodies: bool = False) -> None:
        self.raw = raw
        self.problems = problems
        self.named_are_bodies = named_are_bodies
        self.leaves: list[Leaf] = []
        self.parts = 0
        self.is_untouched = True  # no leaf was read
        self.beside = ((0, 0), (0, 0))  # where something stands above the first part of all, and below the last one
        self.too_much: Why | None = None

    def header(self, start: int, end: int, known: re.Pattern[str] = KNOWN_FIELD) -> tuple[Fields, int]:
        """Return the fields of the header that begins at ``start``, unfolded, and where the body begins.

        ``known``: by which a line that is no field is told from the first one of the body.
        """
        lines, body = self.header_lines(start, end, known)
        fields: Fields = {}
        for name, value in lines:
            fields.setdefault(name, []).append(value)
        return fields, body

    def header_lines(
        self, start: int, end: int, known: re.Pattern[str] = KNOWN_FIELD
    ) -> tuple[list[tuple[str, str]], int]:
        """Return the same in the order in which it stands there, the topmost first."""
        stop, body = _end_of_header(self.raw, start, end)
        if stop - start > LARGEST_HEADER:
            self._stop(why("parse_header_too_large", kilobytes=(stop - start) // 1024, limit=256))
            stop = start + LARGEST_HEADER
        text = self.raw[start:stop].decode("utf-8", "surrogateescape")
        if "\0" in text:
            self._note("parse_zero_bytes")
            text = text.replace("\0", " ")
        lines = text.split("\n")
        fields: list[int] | None = None  # the lines that are fields for certain, once it matters
        unfolded: list[tuple[str, list[str]]] = []
        last: list[str] | None = None
        for number, line in enumerate(lines):
            if line[:1] in (" ", "\t"):
                if last is not None:
                    last.append(line.rstrip("\r"))
                elif line.strip():
                    self._note("parse_line_noise")
                continue
            name, colon, value = line.partition(":")
            name = name.rstrip(" \t").lower()
            if colon and name and _FIELD_NAME.fullmatch(name):
                last = [value.strip(" \t\r")]
                unfolded.append((name, last))
            elif number == 0 and line.startswith(("From ", ">From ")):
                continue  # the line that mbox files put between mails
            elif line.strip():
                last = None
                if fields is None:
                    fields = [at for at, other in enumerate(lines) if known.match(other)]
                if not self._goes_on(fields, number):
                    body = start + sum(len(done.encode("utf-8", "surrogateescape")) + 1 for done in lines[:number])
                    break
        return [(name, repair("".join(pieces))) for name, pieces in unfolded], body

    def part(self, fields: Fields, start: int, end: int, depth: int, default: str) -> Bodies:
        """Read one part of the tree; leaves are collected on the way, bodies are returned."""
        kind, parameters = content_type(first_field(fields, "content-type"), default)
        if not kind.startswith("multipart/"):
            return self._leaf(fields, kind, parameters, start, end, depth)
        if kind == "multipart/encrypted":
            self._note("parse_encrypted")
        spans, closed = self._split(parameters.get("boundary", ""), start, end)
        if not spans:
            self._note("parse_no_boundary")
            return self._leaf(fields, "text/plain", {}, start, end, depth)
        if not closed:
            self._note("parse_not_closed")
        if depth == 0:
            above = max(self.raw.rfind(b"\n", start, spans[0][0] - 1), start)
            below = self.raw.find(b"\n", min(spans[-1][1] + 2, end), end) if closed else -1
            are_words = below >= 0 and not _LOOKS_LIKE_BOUNDARY.search(self.raw, below, end)
            self.beside = (start, above), (below, end) if are_words else (end, end)
        if depth >= DEEPEST:
            self._stop(why("parse_too_deep", limit=DEEPEST))
            return Bodies()
        children = self._children(spans, depth, "message/rfc822" if kind == "multipart/digest" else "text/plain")
        return _alternative(children) if kind == "multipart/alternative" else _sequence(children)

    def _split(self, boundary: str, start: int, end: int) -> tuple[list[tuple[int, int]], bool]:
        """The parts between the lines of a boundary; if there are none, between those that look like one."""
        if boundary:
            spans, closed = _split(self.raw, start, end, boundary.encode("utf-8", "surrogateescape"))
            if spans:
                return spans, closed
        guess = _LOOKS_LIKE_BOUNDARY.search(self.raw, start, end)
        spans, closed = _split(self.raw, start, end, guess[1]) if guess else ([], True)
        if spans:
            self._note("parse_boundary_guessed")
        return spans, closed

    def _children(self, spans: list[tuple[int, int]], depth: int, default: str) -> list[Bodies]:
        children = []
        for first, last in spans:
            self._count(1)
            if self.parts > MOST_PARTS:
                break
            fields, body = self._part_header(first, last)
            children.append(self.part(fields, min(body, last), last, depth + 1, default))
        return children

    def _part_header(self, start: int, end: int) -> tuple[Fields, int]:
        """The header of a part. Some programs write none: then words of a person may look like fields."""
        fields, body = self.header(start, end, _FIELD_OF_PART)
        first = self.raw[start : min(start + 100, end)].decode("ascii", "replace")
        if (
            first[:1] in ("", "\r", "\n")
            or KNOWN_FIELD.match(first)
            or any(name.startswith("content-") for name in fields)
        ):
            return fields, body
        self._note("parse_no_blank_line")
        return {}, start

    def _count(self, parts: int) -> None:
        self.parts += parts
        if self.parts > MOST_PARTS:
            self._stop(why("parse_too_many_parts", limit=MOST_PARTS))

    def _leaf(self, fields: Fields, kind: str, parameters: dict[str, str], start: int, end: int, depth: int) -> Bodies:
        disposition, about = content_type(first_field(fields, "content-disposition"), "")
        encoding = first_field(fields, "content-transfer-encoding")
        is_text = kind in ("text/plain", "text/html")
        content, problem = undo_transfer_encoding(self.raw[start:end], encoding, is_text=is_text)
        if problem is not None:
            self._note(problem["code"])
        name = file_name(about.get("filename") or parameters.get("name") or "")
        charset = parameters.get("charset", "")
        if is_text and name and self.is_untouched and disposition != "attachment":
            self.named_are_bodies = True  # a file would come behind what was written
        self.is_untouched = False
        attached = disposition == "attachment" or (name and depth > 0 and not self.named_are_bodies)
        if is_text and (not attached or _SPLIT_OFF.fullmatch(name)):
            if kind == "text/html":
                page = body_text(content, charset, self.problems, is_page=True)
                return Bodies(html=page if page.strip() else None)
            return self._plain_text(content, charset, parameters)
        may_be_signed = (kind in _PKCS7 or name.lower().endswith(".p7m")) and depth < DEEPEST
        signed = signed_content(content) if may_be_signed else None
        if signed is not None:
            return self._signed(signed, depth)
        if kind in _SIGNATURES:
            self._note("parse_signature_not_checked")
        elif may_be_signed and is_encrypted(content):
            self._note("parse_encrypted")
        cid = first_field(fields, "content-id").strip().strip("<>")
        self.leaves.append(Leaf(kind, name, cid, disposition, content, charset))
        return Bodies()

    def _plain_text(self, content: bytes, charset: str, parameters: dict[str, str]) -> Bodies:
        """A text, without the files that old programs write into it, which come with the mail like others."""
        content, files = take_files(content)
        self._count(len(files))
        for file in files:
            if not file.is_whole:
                self._note("parse_file_damaged")
            name = file_name(to_text(file.name).text)
            self.leaves.append(Leaf("application/octet-stream", name, "", "attachment", file.content, ""))
        text = body_text(content, charset, self.problems)
        if parameters.get("format", "").lower() == "flowed":
            text = flowing(text, without_blank=parameters.get("delsp", "").lower() == "yes")
        begins = text[:200].lstrip()
        if begins.startswith("-----BEGIN PGP SIGNED"):
            self._note("parse_signature_not_checked")
        elif begins.startswith("-----BEGIN PGP MESSAGE"):
            self._note("parse_encrypted")
        return Bodies(text=text if text.strip() else None)

    def _signed(self, content: bytes, depth: int) -> Bodies:
        """A mail within its own signature (RFC 8551 3.5.2): read as if it stood there without one."""
        self._note("parse_signature_not_checked")
        inner = StructureReader(content, self.problems, self.named_are_bodies)
        inner.parts, inner.leaves = self.parts, self.leaves
        fields, body = inner.header(0, len(content))
        bodies = inner.part(fields, body, len(content), depth + LEVELS_OF_SIGNED, "text/plain")
        self.parts, self.too_much = inner.parts, self.too_much or inner.too_much
        return bodies

    def _goes_on(self, fields: list[int], number: int) -> bool:
        """Say whether the header goes on below a line that is no field: there is one a few lines below."""
        later = bisect_right(fields, number)
        goes_on = later < len(fields) and fields[later] < number + 200
        self._note("parse_line_noise" if goes_on else "parse_no_blank_line")
        return goes_on

    def _stop(self, reason: Why) -> None:
        self.too_much = self.too_much or reason

    def _note(self, code: str) -> None:
        if not any(problem["code"] == code for problem in self.problems):
            self.problems.append(why(code))


# What Exchange makes of words that stand below a file.
_SPLIT_OFF = re.compile(r"ATT\d{4,6}\.(?:html?|txt)", re.IGNORECASE)
_PKCS7 = ("application/pkcs7-mime", "application/x-pkcs7-mime")
_SIGNATURES = ("application/pkcs7-signature", "application/x-pkcs7-signature", "application/pgp-signature")
_FIELD_NAME = re.compile(r"[!-9;-~]+")


def first_field(fields: Fields, name: str) -> str:
    """Return the value of the first such field, "" if there is none."""
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


_LOOKS_LIKE_BOUNDARY = re.compile(
    rb"^--([^\r\n]{1,200}+)\r?\nContent-[A-Za-z-]{1,40}[ \t]*:", re.IGNORECASE | re.MULTILINE
)
_BOUNDARY_TAIL = re.compile(rb"(--)?[ \t]*+(?:\r?\n|\Z|\r(?=\n|\Z))")


def _alternative(children: list[Bodies]) -> Bodies:
    """The same thing in several forms: an HTML and a text, each the one that says most; a blank one only if all are.

    A page without a word does not hide the words of the text.
    """
    pages = [child.html for child in reversed(children) if child.html is not None]
    text = max((child.text for child in children if child.text is not None), key=len, default=None)
    said = [page for page in pages if says_something(page)]
    html = max(said, key=lambda page: len(text_of_html(page))) if len(said) > 1 else next(iter(said), None)
    if html is None:
        return Bodies(pages[0] if pages and text is None else None, text)
    if text and shows_only_pictures(html) and _BESIDE_PICTURES.sub("", text):
        html = f"{text_to_html(text)}\n{html}"
    return Bodies(html, text)


_BESIDE_PICTURES = re.compile(r"\[[^\[\]]{0,300}+\]|[\s\ufffc]+")  # what programs write in place of a picture


def _sequence(children: list[Bodies]) -> Bodies:
    """Several bodies, one after the other: all of them count, as HTML if one of them is."""
    bodies = [child for child in children if child.html is not None or child.text is not None]
    if len(bodies) <= 1:
        return bodies[0] if bodies else Bodies()
    html = None
    if any(body.html is not None for body in bodies):
        html = "\n".join(body.html if body.html is not None else text_to_html(body.text or "") for body in bodies)
    return Bodies(
        html, "\n\n".join(body.text if body.text is not None else text_of_html(body.html or "") for body in bodies)
    )

"""A header that somebody copied out of a mail program, or a whole mail: its lines, in their order. Pure, never raises.

Copies are indented, quoted, have lost the blanks that folded their lines, or begin with what the page around them said.
"""

import re
from dataclasses import dataclass

from mail.message.words import one_line, repair

LARGEST_PASTE = 1024 * 1024  # octets
MOST_LINES = 5000  # of a header that are looked at
LONGEST_VALUE = 64 * 1024  # characters of one field

_FIELD = re.compile(r"([A-Za-z][A-Za-z0-9_.-]{0,80}+)[ \t]*+:(?!//)[ \t\xa0]*+(.*+)", re.DOTALL)
# What a mail really begins with: above it is what the page around it said.
_FIRST = re.compile(
    r"(?:delivered-to|received|return-path|authentication-results|arc-seal|dkim-signature|x-[a-z0-9-]{1,60})[ \t]*:",
    re.IGNORECASE,
)
_SIGNATURES = frozenset(("dkim-signature", "arc-message-signature"))
_LISTED = re.compile(r"[A-Za-z0-9-]++:\S")  # what a signature lists: "h=from:to:subject"


@dataclass(frozen=True, slots=True)
class HeaderLine:
    """One field, unfolded: its name, lower-case, and its value."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class PastedMail:
    """The fields from the top down, and the body ("" if there was nothing below the header)."""

    lines: tuple[HeaderLine, ...]
    body: str = ""

    def all(self, name: str) -> list[str]:
        """Return the values of all fields of this name, the topmost first."""
        return [line.value for line in self.lines if line.name == name]

    def first(self, name: str) -> str:
        """Return the value of the topmost field of this name, "" if there is none."""
        return next(iter(self.all(name)), "")


def read_pasted(raw: bytes) -> PastedMail:
    r"""Return the mail or header that somebody pasted or chose as a file.

    >>> read_pasted(b"  Received: from a\r\n     by b\r\n  Subject: x\r\n\r\nHello").lines[0]
    HeaderLine(name='received', value='from a by b')
    """
    text = raw[:LARGEST_PASTE].decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", " ").replace("\xa0", " ")
    lines = _plain(text).split("\n")
    lines = _single_spaced(lines[_beginning(lines) :])
    fields: list[tuple[str, list[str]]] = []
    position = 0
    for position, line in enumerate(lines[:MOST_LINES]):  # noqa: B007 - where the header ends
        if not line.strip():
            if fields:
                break
            continue
        if line.startswith(("From ", ">From ")) and not fields:
            continue  # the line that mbox files put between mails
        found = None if line[0] in " \t" and fields else _FIELD.match(line.strip())
        if found is None or (fields and fields[-1][0] in _SIGNATURES and _LISTED.match(line.strip())):
            if fields:
                fields[-1][1].append(line.strip())
            continue
        fields.append((found[1].lower(), [found[2].strip()]))
    return PastedMail(
        tuple(HeaderLine(name, one_line(repair(" ".join(values)[:LONGEST_VALUE]))) for name, values in fields),
        "\n".join(lines[position + 1 :]).strip("\n"),
    )


def _plain(text: str) -> str:
    """Without what stands before every line: the marks of a quotation, or blanks."""
    for _ in range(5):
        lines = [line for line in text.split("\n") if line.strip()]
        if not lines or not all(line.lstrip().startswith(">") for line in lines):
            break
        text = "\n".join(line.lstrip().removeprefix(">") for line in text.split("\n"))
    text = text.lstrip("\n")
    indent = text[: len(text) - len(text.lstrip(" \t"))]
    return "\n".join(line.removeprefix(indent) for line in text.split("\n"))


def _beginning(lines: list[str]) -> int:
    """Where the mail begins: below the heading of the page that showed it, if that was copied along."""
    top = lines[0].strip()
    if _FIELD.match(top) or top.startswith(("From ", ">From ")):
        return 0
    return next((number for number, line in enumerate(lines[:200]) if _FIRST.match(line.strip())), 0)


def _single_spaced(lines: list[str]) -> list[str]:
    """Without the blank lines that some programs copy after each line."""
    if len(lines) < 8 or not all(lines[:8:2]) or any(line.strip() for line in lines[1:8:2]):
        return lines
    doubled = next((at for at in range(0, len(lines) - 1, 2) if lines[at + 1].strip() or not lines[at]), len(lines))
    return lines[:doubled:2] + lines[doubled:]

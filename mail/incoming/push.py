"""Mail that others hand to us: by LMTP or SMTP, through a pipe, over HTTP. It is stored, and understood later.

The envelope is kept as every mail server keeps it: in the first lines of the header. Routing reads it there.
"""

import hashlib
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from mail.decide.reception import Reception
from mail.incoming import intake
from mail.incoming.people import address_book
from mail.message.arrival import top_received
from mail.message.parse import LARGEST_MAIL as LARGEST_MAIL
from mail.settings import office, parameters
from mail.settings.wake import wake
from mail.transport.mailbox import FetchedMail

Source = Literal["lmtp", "smtp", "pipe", "http"]

LONGEST_ADDRESS = 1000  # octets: what fits into a line of a header
_MBOX_LINE = re.compile(rb"\A>?From (\S+)[^\r\n]*\r?\n")
_HAS_TRACE = re.compile(rb"^Received:", re.IGNORECASE | re.MULTILINE)
_HEADER_END = re.compile(rb"\r?\n\r?\n")
_TRACE_WITHIN = 16 * 1024  # octets
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f<>]+")


@dataclass(frozen=True)
class PushedMail:
    """A mail with its envelope. ``sender`` None: nobody said it; "": the null sender, that of reports.

    ``received``: the line of ours about the server that handed it over, "" where none did.
    """

    content: bytes = field(repr=False)
    sender: str | None = None
    recipients: tuple[str, ...] = ()
    received: str = ""


def store(source: Source, mails: Sequence[PushedMail], now: datetime) -> None:
    """Store mails and commit; the worker is woken. From here on nothing of them is lost.

    A server that was not told the end of its delivery hands over the very same mail again: that is the row of before.
    """
    intake.keep(source, [_as_fetched(mail) for mail in mails], now)
    wake("received")


def reception() -> Reception:
    """Return which recipients are ours."""
    book, _ = address_book()
    return Reception(book, office.load().office.catchall_domain or "", office.receiving_domain())


def takes_unknown() -> bool:
    """Whether mail to addresses of our domains that nobody has is taken, and kept in quarantine."""
    return bool(parameters.TAKE_UNKNOWN.get())


def _as_fetched(mail: PushedMail) -> FetchedMail:
    content, sender = mail.content, mail.sender
    if found := _MBOX_LINE.match(content):  # what a pipe puts before the header
        content = content[found.end() :]
        sender = _from_mbox(found[1]) if sender is None else sender
    raw = _trace(sender, mail.recipients, mail.received, _line_end(content)) + content
    return FetchedMail(_key(sender, mail.recipients, content), len(raw), top_received(content), raw)


def _from_mbox(name: bytes) -> str | None:
    """The sender that the line before the header names; a local name says nothing to the world."""
    text = name.decode("utf-8", "replace").strip("<>")
    if text.upper() == "MAILER-DAEMON":
        return ""
    return text if "@" in text else None


def _line_end(content: bytes) -> str:
    first, _, _ = content[:_TRACE_WITHIN].partition(b"\n")
    return "\r\n" if first.endswith(b"\r") else "\n"


def _trace(sender: str | None, recipients: Iterable[str], received: str, end: str) -> bytes:
    lines = [] if sender is None else [f"Return-Path: <{_clean(sender)}>"]
    lines += [f"Delivered-To: {_clean(recipient)}" for recipient in recipients]
    lines += [received] if received else []
    return "".join(f"{line}{end}" for line in lines).encode("utf-8", "surrogateescape")


def _clean(address: str) -> str:
    """An address as one word of a header: whoever names it can't add lines to the mail.

    >>> _clean("a@b.example>\\r\\nSubject: x")
    'a@b.exampleSubject:x'
    """
    return _UNPRINTABLE.sub("", address)[:LONGEST_ADDRESS]


def _key(sender: str | None, recipients: Iterable[str], content: bytes) -> str:
    """What the same delivery is known by when it is tried again.

    The server before us wrote its own line, with a number and the time, so no other mail is the same. Without such a
    line two mails may well be equal: then each has a key of its own.
    """
    header = _HEADER_END.split(content[:_TRACE_WITHIN], maxsplit=1)[0]
    if not _HAS_TRACE.search(header):
        return secrets.token_hex(16)
    digest = hashlib.sha256(repr((sender, tuple(recipients))).encode("utf-8", "replace"))
    digest.update(content)
    return digest.hexdigest()

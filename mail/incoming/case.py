"""A received mail on its way through the flow, as it is shown and searched."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any, Self

from mail.decide.facts import LookUp
from mail.decide.outcomes import Routing
from mail.decide.sender_proof import believed_server
from mail.documents.threads import NewFile
from mail.incoming.reader import read_mail
from mail.message.address import normalise
from mail.message.parse import IncomingMessage
from mail.sentences import Why, why


@dataclass(frozen=True, slots=True)
class Retention:
    """What the incoming server of a mail says: its action, what is kept, its mailbox, whose word on senders counts."""

    action_type_id: int | None = None
    attachments: bool = True
    original: bool = True
    mailbox: str = ""  # a key; "" if it is not known
    checked_by: str = ""  # the server that checks senders, as the header names it; "" for none

    @classmethod
    def of(cls, server: Any) -> Self:
        """Return what an incoming server says, or a row with these columns of it."""
        checked_by = believed_server(server.sender_checks, server.checked_by, server.checks_seen)
        mailbox = normalise(server.address or server.shared_mailbox) or normalise(server.user) or ""
        return cls(server.action_type_id, server.keep_attachments, server.keep_original, mailbox, checked_by)


@dataclass
class Case:
    """A received mail on its way: read, then routed, then filed.

    ``arrived_at`` is when it reached its own server, ``asked`` what had to be known about it, ``released`` the place at
    which a person let it pass the loop brake, ``chosen`` the steps that end with what a person chose for it,
    ``answer_id`` the mail that tells its sender why it is rejected.
    """

    id: int
    keeps: Retention
    arrived_at: datetime
    message: IncomingMessage
    html: str
    fold: int | None
    files: list[NewFile]
    asked: LookUp = field(default_factory=LookUp)
    routing: Routing = field(default_factory=lambda: Routing((), ()))
    released: str = ""
    chosen: tuple[Why, ...] = ()
    answer_id: int | None = None
    is_written: bool = False  # by us: nobody else was quicker

    @property
    def key(self) -> str:
        """What recognises the copies of this mail; "" before it was routed."""
        return self.asked.message_key

    @cached_property
    def sender(self) -> str:
        """The key of the sender's address, "" if there is none."""
        return self.message.from_key

    @cached_property
    def from_text(self) -> str:
        """The sender as the mail names it: "Name <address>"."""
        found = self.message.from_
        return storable(str(found) if found else self.message.from_header)[:400]

    @property
    def author_text(self) -> str:
        """The author: mostly the sender, else the person behind it."""
        found = self.asked.authorship
        return storable(str(found.author))[:400] if found.from_reply_to else self.from_text


def read_case(
    id: int,
    raw: bytes,
    keeps: Retention,
    now: datetime,
    arrived_at: datetime,
    problem: Why | None = None,
    hurry: bool = False,
) -> Case:
    """Return a received mail as it is shown and searched: parsed, cleaned, folded, its files packed.

    In a hurry it raises ``TakesLong``, otherwise nothing.
    """
    message, html, fold, is_whole = read_mail(raw, max(now, arrived_at), hurry)  # it may have come since the run began
    message.too_much = message.too_much or problem
    if message.date == now:  # it has no usable date of its own
        message.date = arrived_at
    html, message.text = storable(html), storable(message.text)
    if not is_whole:
        keeps = replace(keeps, original=True)
    files = [
        NewFile.of(storable(part.name), storable(part.type), part.content, storable(part.cid))
        for part in message.attachments
        if keeps.attachments or part.inline
    ]
    return Case(id, keeps, arrived_at, message, html, fold, files)


def failure_of(error: Exception) -> Why:
    """Return the reason that a mail which could not be processed goes to quarantine with."""
    said = str(getattr(error, "orig", None) or error).splitlines() or [""]
    return why("process_failed", error=f"{type(error).__name__}: {said[0]}"[:300])


def storable(text: str) -> str:
    """Return text that every database takes: no NUL, no half characters."""
    if "\0" in text:
        text = text.replace("\0", "")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text

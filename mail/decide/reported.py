"""Pure: what a report says, as values, and how its texts are kept."""

import re
from dataclasses import dataclass
from enum import StrEnum

from mail.decide.failure import FailureKind
from mail.message.parts import Part
from mail.sentences import Why

SCANNED = 200_000  # octets of a report in plain words that are looked at; its own words come first
LONGEST_TEXT = 1000  # characters of a server's answer that are kept
MOST_RECIPIENTS = 20  # of one report: a server reports on few, and who names a thousand wants to harm them


class About(StrEnum):
    """What a report as a whole is."""

    BOUNCE = "bounce"  # at least one recipient failed
    DELAY = "delay"
    DELIVERED = "delivered"
    RECEIPT = "receipt"  # somebody opened or deleted it (RFC 8098)
    COMPLAINT = "complaint"  # somebody called it spam
    FEEDBACK = "feedback"  # `not-spam`, `auth-failure`: nobody complained
    CHALLENGE = "challenge"  # asks the sender to prove that he is a person: nothing failed
    UNREADABLE = "unreadable"  # a report, but it names nobody


@dataclass(frozen=True, slots=True)
class Reported:
    """One recipient of a report. ``address`` and ``also`` are normalised; both mean the same recipient."""

    address: str
    kind: FailureKind
    status: str = ""  # enhanced status code (RFC 3463), "" if there is none
    text: str = ""  # the words of the server, or of the report
    also: tuple[str, ...] = ()  # the other name: Original- against Final-Recipient

    @property
    def addresses(self) -> tuple[str, ...]:
        """All names of this recipient, the one that we wrote to first if the report knows it."""
        return (*self.also, self.address)


@dataclass(frozen=True, slots=True)
class Report:
    """What a report says."""

    about: About
    recipients: tuple[Reported, ...] = ()
    returned_ids: tuple[str, ...] = ()  # ids of the mail it is about: Message-ID, our own id, ids it refers to
    read_by: str = ""  # delivery_status, feedback, receipt, words; "" if nothing could be read
    text: str = ""  # what the report says in words, shortened
    feedback_type: str = ""
    problems: tuple[Why, ...] = ()
    is_certain: bool = True  # False: only nobody's name as its sender says that it is one, so it blames nobody

    @property
    def failures(self) -> tuple[Reported, ...]:
        """The recipients that the mail did not and will not reach."""
        return tuple(reported for reported in self.recipients if reported.kind.failed)


def short(text: str) -> str:
    """Return words on one line as every database takes them: no zero bytes, no half characters.

    >>> short("550\\0 No such\\n user\\udc80")
    '550 No such user'
    """
    return " ".join(_UNSTORABLE.sub(" ", text[: LONGEST_TEXT * 4]).split())[:LONGEST_TEXT]


_UNSTORABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def text_of(part: Part, limit: int) -> str:
    """Return the text of a part of a report, at most so many octets of it."""
    content = part.content[:limit]
    return content.decode("utf-8", "replace") if part.charset.lower() != "iso-8859-1" else content.decode("latin-1")

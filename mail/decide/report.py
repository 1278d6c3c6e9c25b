"""What a report says: which recipients failed, late, or complained, why, and about which of our mails. Pure.

Read first: delivery reports (RFC 3464, RFC 6533), complaints (ARF, RFC 5965) and read receipts (RFC 8098), tolerantly,
and never inside an attached mail: a forwarded report is somebody else's. Only then, and only for mail that a machine
sent, flufl.bounce looks for the many reports in plain words. At the end stands the rule of the blacklist.
"""

import email
import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.message import Message
from enum import StrEnum

from mail.decide.failure import FailureKind, kind_of
from mail.message.address import local_part, normalise, parse_addresses
from mail.message.parse import OWN_ID_HEADER, IncomingMessage
from mail.message.parts import Part
from mail.sentences import Why, why

SCANNED = 200_000  # octets of a report in plain words that are looked at; its own words stand at the top
LONGEST_TEXT = 1000  # characters of a server's answer that are kept
MOST_RECIPIENTS = 1000

# flufl.bounce logs every step, and tracebacks with addresses; what it fails on is noted in the report instead.
logging.getLogger("flufl.bounce").setLevel(logging.CRITICAL)


class About(StrEnum):
    """What a report as a whole is."""

    BOUNCE = "bounce"  # at least one recipient failed
    DELAY = "delay"
    DELIVERED = "delivered"
    RECEIPT = "receipt"  # somebody opened or deleted it (RFC 8098)
    COMPLAINT = "complaint"  # somebody called it spam
    FEEDBACK = "feedback"  # `not-spam`, `auth-failure`: nobody complained
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

    @property
    def failures(self) -> tuple[Reported, ...]:
        """The recipients that the mail did not and will not reach."""
        return tuple(reported for reported in self.recipients if reported.kind.failed)


def read_report(message: IncomingMessage, at_bounce_address: bool = False) -> Report | None:
    """Return what a report says, or None if the mail is not one; never raises.

    ``at_bounce_address``: it was sent to our bounce address, so that it is a report even if nothing can be read from
    it, unless a machine answered (RFC 3834). Ordinary mail costs next to nothing.
    """
    for read in _READERS:
        report = read(message, at_bounce_address)
        if report is not None:
            return report
    return None


def from_mailer_daemon(message: IncomingMessage) -> bool:
    """Say whether the sender is a mail server's own voice.

    A postmaster may be a person; a mailer-daemon never is.
    """
    sender = local_part(message.from_.address).lower() if message.from_ else message.from_header.lower().strip()
    return bool(_DAEMON.match(sender))


_DAEMON = re.compile(r"(?:mailer|mail|maildrop)[-_.]?(?:daemon|deamon)\b|<?mailer-daemon")


def returned_ids(message: IncomingMessage, at_bounce_address: bool = False) -> tuple[str, ...]:
    """Return the ids of the mail that a report returns, and those it refers to: what a flow must look up."""
    if not at_bounce_address and not _may_be_report(message):
        return ()
    found: dict[str, None] = {}
    for part in message.attachments:
        if part.type in _RETURNED:
            for match in _RETURNED_ID.finditer(_text(part, 65536)):
                found["".join(match[1].split())] = None
    for match in _RETURNED_ID.finditer(message.text[:SCANNED]):
        found["".join(match[1].split())] = None
    found.update(dict.fromkeys(message.references))
    return tuple(found)


_RECEIPT = ("message/disposition-notification", "message/global-disposition-notification")
_RETURNED = (
    "message/rfc822",
    "text/rfc822-headers",
    "text/rfc822-header",
    "message/global",
    "message/global-headers",
    *_RECEIPT,
)
_RETURNED_ID = re.compile(
    rf"^[ \t>|]{{0,9}}(?:(?:X-Microsoft-)?(?:Original-)?Message-ID|{OWN_ID_HEADER})[ \t]*:[ \t]*(?:\r?\n[ \t]+)?"
    r"(<[^<>]{3,990}>|[^\s<>]{3,990})",
    re.IGNORECASE | re.MULTILINE,
)


def _may_be_report(message: IncomingMessage) -> bool:
    """What a machine sent, or what says that it is a report: worth a closer look."""
    return (
        message.content_type in ("multipart/report", *_STATUS)
        or _may_be_machine(message)
        or any(part.type in _STATUS or part.type == "message/feedback-report" for part in message.attachments)
    )


def _from_postmaster(message: IncomingMessage) -> bool:
    return bool(message.from_) and local_part(message.from_.address).lower() in ("postmaster", "mdaemon", "bounces")  # type: ignore[union-attr]


# --- delivery reports (RFC 3464, RFC 6533)

_STATUS = ("message/delivery-status", "message/global-delivery-status")
_FIELD = re.compile(
    r"(original-recipient|final-recipient|action|status|diagnostic-code|remote-mta|last-attempt-date|will-retry-until"
    r"|final-log-id|x-actual-recipient|reporting-mta|original-envelope-id|arrival-date|received-from-mta|dsn-gateway"
    r"|x-[a-z0-9-]{1,60})[ \t]*:[ \t]*(.*)",
    re.IGNORECASE,
)


def _delivery_report(message: IncomingMessage, at_bounce_address: bool) -> Report | None:
    parts = [part for part in message.attachments if part.type in _STATUS]
    is_report = message.content_type == "multipart/report" and message.report_type in (
        "",
        "delivery-status",
        "delivery",
    )
    if parts and (is_report or message.content_type in _STATUS or at_bounce_address or _may_be_machine(message)):
        fields = "\n\n".join(_text(part, 1_000_000) for part in parts)
    elif _FIELDS_IN_TEXT.search(message.text[:SCANNED]) and (is_report or _may_be_machine(message)):
        fields = message.text[:SCANNED]  # a report whose status part is labelled as text
    elif is_report and message.report_type:
        fields = ""
    else:
        return None
    if _CHALLENGE.search(message.text[:2000]):
        return None  # asks the sender to prove that he is a person, dressed as a report: nothing failed
    recipients = _recipients(fields, message.text)
    if not recipients:
        failed = _failed_header(message)
        kind = kind_of("", message.text[:2000])
        recipients = tuple(Reported(address, kind, text=_short(message.text)) for address in failed)
    if not recipients:
        return None  # the words of the report may still say more
    kinds = {reported.kind for reported in recipients}
    about = About.DELIVERED
    if any(kind.failed for kind in kinds):
        about = About.BOUNCE
    elif FailureKind.DELAY in kinds:
        about = About.DELAY
    return Report(about, recipients, returned_ids(message, at_bounce_address), "delivery_status", _short(message.text))


_FIELDS_IN_TEXT = re.compile(r"^(?:Final|Original)-Recipient[ \t]*:", re.IGNORECASE | re.MULTILINE)
_CHALLENGE = re.compile(
    r"boxbe\.com|sender verification|verify that you are (?:a )?(?:human|person|real)", re.IGNORECASE
)


def _recipients(fields: str, words: str) -> tuple[Reported, ...]:
    """The recipient groups of a status part.

    Lines that are no known field continue the one before, with or without white space in front: servers break long
    answers as they like.
    """
    groups: list[dict[str, str]] = []
    group: dict[str, str] = {}
    last = ""
    for line in fields.splitlines():
        match = _FIELD.match(line)
        if match:
            last = match[1].lower()
            if last in group and last in ("final-recipient", "original-recipient"):
                groups.append(group)
                group = {}
            group.setdefault(last, match[2].strip())
        elif not line.strip():
            if "final-recipient" in group or "original-recipient" in group:
                groups.append(group)
            group = {} if len(groups) < MOST_RECIPIENTS else group
            last = ""
        elif last and len(group[last]) < LONGEST_TEXT:
            group[last] += " " + line.strip()
    groups.append(group)
    found = [reported for group in groups if (reported := _reported(group, words)) is not None]
    return tuple(dict.fromkeys(found))


def _reported(group: dict[str, str], words: str) -> Reported | None:
    named = (_recipient(group.get(name, "")) for name in ("final-recipient", "original-recipient"))
    names = list(dict.fromkeys(name for name in named if name))
    if not names:
        return None
    status = match[0] if (match := _STATUS_CODE.search(group.get("status", ""))) else ""
    text = _short(group.get("diagnostic-code", "")).removeprefix("smtp;").lstrip()
    if not status.strip("0.245") and (match := _STATUS_CODE.search(text)):
        status = match[0]  # 5.0.0 says nothing; the server's own words often do
    action = group.get("action", "").partition("(")[0].strip().lower()
    if action.startswith("delay"):
        kind = FailureKind.DELAY
    elif action.startswith(("deliver", "relay", "expand")) or (not action and status.startswith("2")):
        kind = FailureKind.DELIVERED
    elif not action and status.startswith("4"):
        kind = FailureKind.DELAY
    else:
        kind = kind_of(status, text or _short(words))
    return Reported(names[0], kind, status, text, tuple(names[1:]))


_STATUS_CODE = re.compile(r"(?<![\d.])[245]\.\d{1,3}\.\d{1,3}(?![\d.])")


def _recipient(value: str) -> str:
    """The address of `rfc822; ann@example.com`, of `RFC822;<Ann@Example.com>`, of `ann@example.com`; "" if none."""
    kind, semicolon, rest = value.partition(";")
    value = rest if semicolon and "@" not in kind else value
    value = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), value[:LONGEST_TEXT]).strip()
    found = normalise(value.strip("<>").strip())
    if found is None:
        found = next((mailbox.key for mailbox in parse_addresses(value)), "")
    return found


_ESCAPED = re.compile(r"\\x\{(0*[0-9A-Fa-f]{2,5})\}")  # RFC 6533 3: unicode in an ASCII report


def _failed_header(message: IncomingMessage) -> list[str]:
    """Exim names the address where its report names the pipe or file behind it."""
    values = message.fields.get("x-failed-recipients", [])
    return [mailbox.key for value in values for mailbox in parse_addresses(value)][:MOST_RECIPIENTS]


# --- complaints and receipts


def _complaint(message: IncomingMessage, at_bounce_address: bool) -> Report | None:
    part = next((part for part in message.attachments if part.type == "message/feedback-report"), None)
    if part is None or message.content_type not in ("multipart/report", "multipart/mixed"):
        return None
    fields = _text(part, 100_000)
    kind = match[1].lower() if (match := _FEEDBACK_TYPE.search(fields)) else "abuse"
    addresses = dict.fromkeys(
        mailbox for match in _COMPLAINING.finditer(fields) if (mailbox := _recipient(match[1])) and "@" in mailbox
    )
    about = About.FEEDBACK if kind in ("not-spam", "auth-failure") else About.COMPLAINT
    recipients = tuple(Reported(address, FailureKind.DELIVERED) for address in list(addresses)[:MOST_RECIPIENTS])
    return Report(about, recipients, returned_ids(message, at_bounce_address), "feedback", _short(message.text), kind)


_FEEDBACK_TYPE = re.compile(r"^Feedback-Type[ \t]*:[ \t]*([\w-]+)", re.IGNORECASE | re.MULTILINE)
_COMPLAINING = re.compile(r"^(?:Original-Rcpt-To|Removal-Recipient)[ \t]*:[ \t]*(.+)", re.IGNORECASE | re.MULTILINE)


def _receipt(message: IncomingMessage, at_bounce_address: bool) -> Report | None:
    part = next((part for part in message.attachments if part.type in _RECEIPT), None)
    is_receipt = message.content_type == "multipart/report" and message.report_type == "disposition-notification"
    if not is_receipt and (part is None or message.content_type not in ("multipart/report", *_RECEIPT)):
        return None
    fields = _text(part, 100_000) if part else ""
    match = re.search(r"^Final-Recipient[ \t]*:[ \t]*(.+)", fields, re.IGNORECASE | re.MULTILINE)
    address = _recipient(match[1]) if match else message.from_key
    ids = returned_ids(message, at_bounce_address)
    if "rejected" in message.raw_header("auto-submitted"):  # how Dovecot says that a mailbox is full
        text = _short(message.text)
        failed = (Reported(address, kind_of("", text), text=text),) if address else ()
        return Report(About.BOUNCE if failed else About.UNREADABLE, failed, ids, "receipt", text)
    recipients = (Reported(address, FailureKind.DELIVERED),) if address else ()
    return Report(About.RECEIPT, recipients, ids, "receipt", _short(message.text))


# --- reports in plain words


def _words(message: IncomingMessage, at_bounce_address: bool) -> Report | None:
    """What flufl.bounce recognises, in mail from a machine; at the bounce address everything is a report."""
    daemon = from_mailer_daemon(message)
    if message.content_type == "multipart/report" and message.report_type not in ("", "delivery-status", "delivery"):
        return None  # reports about TLS or DMARC
    is_report = message.content_type == "multipart/report" or message.content_type in _STATUS
    if message.is_auto_reply and not daemon and not is_report:
        return None
    if not (daemon or is_report or at_bounce_address or _may_be_machine(message)) or "list-id" in message.fields:
        return None
    temporary, permanent, problems = _flufl(message)
    words = _own_words(message)
    recipients = _said_about(permanent, words, None) + _said_about(temporary - permanent, words, FailureKind.DELAY)
    if recipients:
        about = About.BOUNCE if permanent else About.DELAY
        return Report(
            about, recipients, returned_ids(message, at_bounce_address), "words", _short(words), problems=problems
        )
    if daemon or is_report or at_bounce_address:
        return Report(
            About.UNREADABLE, (), returned_ids(message, at_bounce_address), "", _short(words), problems=problems
        )
    return None


def _said_about(addresses: set[str], words: str, kind: FailureKind | None) -> tuple[Reported, ...]:
    """Recipients with what the report says after each of their addresses, and the kind which that means."""
    lowered = words.lower()
    places = sorted((lowered.find(address), address) for address in list(addresses)[:MOST_RECIPIENTS])
    found = []
    for number, (start, address) in enumerate(places):
        end = places[number + 1][0] if number + 1 < len(places) else len(words)
        said = words[start:end][:600] if start >= 0 else words
        status = match[0] if (match := _STATUS_CODE.search(said)) else ""
        reason = kind or kind_of(status, said.lower().replace(address, ""))
        if reason is FailureKind.SOFT and len(places) == 1:
            reason = kind_of(status, lowered.replace(address, ""))
        found.append(Reported(address, reason, status, _short(said)))
    return tuple(found)


def _may_be_machine(message: IncomingMessage) -> bool:
    return (
        message.return_path == ""
        or "x-failed-recipients" in message.fields
        or from_mailer_daemon(message)
        or _from_postmaster(message)
    )


def _flufl(message: IncomingMessage) -> tuple[set[str], set[str], tuple[Why, ...]]:
    """Temporary and permanent failures by flufl.bounce; whatever it raises is a note, not an accident."""
    try:
        from flufl.bounce import all_failures  # loaded by the first report, not by every process

        tree = _without_returned(email.message_from_bytes(message.raw[:SCANNED]))
        temporary, permanent = all_failures(tree)
    except Exception as error:  # its detectors are many and old: any of them may fail on a mail they never saw
        return set(), set(), (why("bounce_detector_failed", error=type(error).__name__),)
    return _addresses(temporary), _addresses(permanent), ()


def _without_returned(tree: Message) -> Message:
    """Empty the attached mails: what they hold is not what this report says."""
    for part in tree.walk():
        if part.get_content_type() in ("message/rfc822", "message/partial") and part is not tree:
            del part["Content-Type"]
            part["Content-Type"] = "text/rfc822-headers"
            part.set_payload("")
    if "from" not in tree:
        tree["From"] = "unknown@invalid"
    return tree


def _addresses(found: Iterable[bytes | str]) -> set[str]:
    texts = (item.decode("utf-8", "replace") if isinstance(item, bytes) else item for item in found)
    return {key for text in texts if (key := normalise(text))}


def _own_words(message: IncomingMessage) -> str:
    """The words of a report without the mail that it returns as text below them."""
    text = message.text[:20_000]
    match = _RETURNED_BELOW.search(text)
    return text[: match.start()] if match else text[:4000]


_RETURNED_BELOW = re.compile(
    r"^[ \t]*(?:-{2,}[^\n]{0,60}(?:copy of|original|returned|headers|unsent|unmodified)|Return-Path:|Received: )"
    r"|^--- Below this line is a copy",
    re.IGNORECASE | re.MULTILINE,
)

_READERS: tuple[Callable[[IncomingMessage, bool], Report | None], ...] = (
    _complaint,
    _receipt,
    _delivery_report,
    _words,
)


def _short(text: str) -> str:
    """Return words on one line as every database takes them: no zero bytes, no half characters.

    >>> _short("550\\0 No such\\n user\\udc80")
    '550 No such user'
    """
    return " ".join(_UNSTORABLE.sub(" ", text[: LONGEST_TEXT * 4]).split())[:LONGEST_TEXT]


_UNSTORABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def _text(part: Part, limit: int) -> str:
    content = part.content[:limit]
    return content.decode("utf-8", "replace") if part.charset.lower() != "iso-8859-1" else content.decode("latin-1")

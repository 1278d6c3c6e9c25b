"""What a report says: which recipients failed, late, or complained, why, and about which of our mails. Pure.

Read first: delivery reports (RFC 3464, RFC 6533), complaints (ARF, RFC 5965) and read receipts (RFC 8098), tolerantly,
and never inside an attached mail: a forwarded report is somebody else's. Only then, and only for mail that a machine
sent, flufl.bounce looks for the many reports in plain words. At the end stands the rule of the blacklist.
"""

import email
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.message import Message
from enum import StrEnum

from mail.address import local_part, normalise, parse_addresses
from mail.message import OWN_ID_HEADER, IncomingMessage, Part
from mail.sentences import Why, why

SCANNED = 200_000  # octets of a report in plain words that are looked at; its own words stand at the top
LONGEST_TEXT = 1000  # characters of a server's answer that are kept
MOST_RECIPIENTS = 1000

# flufl.bounce logs every step, and tracebacks with addresses; what it fails on is noted in the report instead.
logging.getLogger("flufl.bounce").setLevel(logging.CRITICAL)


class Kind(StrEnum):
    """What became of the mail to one recipient."""

    HARD = "hard"  # final: the address or its domain does not exist
    SOFT = "soft"  # final: anything else, or nothing that we understand
    BLOCKED = "blocked"  # final: refused for policy or content; says nothing about the address
    FULL = "full"  # final: the mailbox is full
    DELAY = "delay"  # still being tried
    DELIVERED = "delivered"  # arrived, or was handed on

    @property
    def failed(self) -> bool:
        """Whether the mail did not and will not arrive."""
        return self in (Kind.HARD, Kind.SOFT, Kind.BLOCKED, Kind.FULL)

    @property
    def counts(self) -> bool:
        """Whether it counts against the address (incoming.md 8)."""
        return self.failed and self is not Kind.BLOCKED


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
    kind: Kind
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
    elif Kind.DELAY in kinds:
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
        kind = Kind.DELAY
    elif action.startswith(("deliver", "relay", "expand")) or (not action and status.startswith("2")):
        kind = Kind.DELIVERED
    elif not action and status.startswith("4"):
        kind = Kind.DELAY
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
    recipients = tuple(Reported(address, Kind.DELIVERED) for address in list(addresses)[:MOST_RECIPIENTS])
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
    recipients = (Reported(address, Kind.DELIVERED),) if address else ()
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
    recipients = _said_about(permanent, words, None) + _said_about(temporary - permanent, words, Kind.DELAY)
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


def _said_about(addresses: set[str], words: str, kind: Kind | None) -> tuple[Reported, ...]:
    """Recipients with what the report says after each of their addresses, and the kind which that means."""
    lowered = words.lower()
    places = sorted((lowered.find(address), address) for address in list(addresses)[:MOST_RECIPIENTS])
    found = []
    for number, (start, address) in enumerate(places):
        end = places[number + 1][0] if number + 1 < len(places) else len(words)
        said = words[start:end][:600] if start >= 0 else words
        status = match[0] if (match := _STATUS_CODE.search(said)) else ""
        reason = kind or kind_of(status, said.lower().replace(address, ""))
        if reason is Kind.SOFT and len(places) == 1:
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


# --- why it failed


def kind_of(status: str, text: str) -> Kind:
    """Return why a mail finally failed, from the enhanced status code (RFC 3463) and the server's words.

    The words come first: of real "5.x.x" not half mean a dead address. What nobody understands is soft.

    >>> kind_of("5.1.1", ""), kind_of("5.0.0", "550 No such user here"), kind_of("5.2.2", "")
    (<Kind.HARD: 'hard'>, <Kind.HARD: 'hard'>, <Kind.FULL: 'full'>)
    >>> kind_of("5.7.1", "Message rejected as spam"), kind_of("4.4.7", "expired")
    (<Kind.BLOCKED: 'blocked'>, <Kind.SOFT: 'soft'>)
    """
    text = " ".join(text[:4000].split())
    detail = status.partition(".")[2]
    if _FULL.search(text) or (detail == "2.2" and not _GONE.search(text)):
        return Kind.FULL
    lasting = not status.startswith("4") and not _LATER.search(text)
    if lasting and _GONE.search(text) and not _ABOUT_SENDER.search(text):
        return Kind.HARD
    if _BLOCKED.search(text):
        return Kind.BLOCKED
    if detail.startswith(("7.", "6.")) or detail in ("3.4", "2.3"):
        return Kind.BLOCKED
    if lasting and status and detail in _HARD_DETAILS and not _NOT_GONE.search(text):
        return Kind.HARD
    return Kind.SOFT


_HARD_DETAILS = {"1.0", "1.1", "1.2", "1.3", "1.6", "1.10", "1.351", "4.4"}


def _any_of(*phrases: str) -> re.Pattern[str]:
    return re.compile("|".join(phrases), re.IGNORECASE)


_FULL = _any_of(
    r"(?:mail)?box (?:is |size |was )?(?:full|over|exceed)",
    r"(?:over|exceed\w{0,3}|out of|disk|mail|user|message|storage)[ -]?(?:(?:the|its|their|mailbox|disk) ){0,3}quota",
    r"quota (?:is )?(?:exceeded|full|violation)",
    r"exceeded (?:its |the |his )?(?:storage|mailbox)",
    r"out of storage",
    r"insufficient (?:disk |system )?(?:space|quota)",
    r"not enough (?:storage )?space",
    r"mail(?:box|folder) full",
    r"QuotaExceeded",
    r"too much mail data",
)
_GONE = _any_of(
    r"user[\w\s'-]{0,20}unknown",
    r"unknown[\w\s-]{0,12}(?:user|recipient|address|account|mailbox|local)",
    r"no such (?:user|mailbox|recipient|address|account|person|local|domain|host|email|name)",
    r"no (?:mailbox|user|account) (?:here|by that|with)",
    r"(?:user|recipient|mailbox|address|account|domain|host|resource)[^.;]{0,60}"
    r"(?:n[o']t exist|not (?:be )?found|couldn't be found|is unknown|isn't a known)",
    r"no longer (?:exist|valid|active|in use|available|on)",
    r"doesn't have an? [^.;]{0,40}account",
    r"invalid (?:user|recipient|mailbox|address|email|final delivery)",
    r"not a valid (?:user|recipient|mailbox|address)",
    r"(?:recipient|address)(?: address)? (?:unknown|not found|not listed)",
    r"(?:bad|illegal) (?:destination|alias|recipient)",
    r"unrout?e?able (?:address|domain|mail)",
    r"host unknown",
    r"(?:host|domain)(?: or domain)?(?: name)?(?: lookup)? (?:was )?not found",
    r"recip(?:ient)?notfound",
    r"not our customer",
    r"no (?:valid )?(?:mx|a) record|null ?mx|no smtp service",
    r"n[o']t accept (?:any )?(?:e-?)?mail",
    r"have any \w{1,20} entries",
    r"listed as (?:an )?unknown|not listed in",
    r"has moved",
    r"this (?:user|account|address) (?:has been |was |is )?(?:deleted|removed|closed)",
    r"undeliverable address",
    r"mailbox (?:unavailable or )?not (?:available|local)",
    r"no (?:valid )?recipients?\b",
    r"address (?:you sent|rejected)[^.;]{0,30}(?:wrong|unknown)",
    r"could not be resolved",
    r"couldn't find (?:any host|a mail exchanger)",
    r"domain is not reachable",
    r"action not taken: mailbox unavailable",
)
_ABOUT_SENDER = _any_of(
    r"sender (?:address |domain |verify )[^.;]{0,60}(?:reject|fail|not found|not exist|unknown)",
    r"relay",
    r"spf",
    r"dmarc",
)
_NOT_GONE = _any_of(r"access denied", r"preferences", r"too many", r"procmail", r"refused to (?:accept|talk)")
_LATER = _any_of(r"try again", r"temporar", r"timed? ?out", r"too many", r"this hour")
_BLOCKED = _any_of(
    r"\bspam|unsolicited|bulk mail|virus|malware|banned|prohibited",
    r"\bblock(?:ed|list|ing)|black ?list|\brbls?\b|dnsbl|\bpolicy|reputation",
    r"\bdmarc|\bspf\b|\bdkim",
    r"not (?:authori[sz]ed|permitted|allowed) to send",
    r"content (?:reject|filter|not)|attachment|message (?:size|rejected due)",
    r"too large|size limit|exceeds? (?:the )?(?:maximum|size|message)",
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


# --- the rule of the blacklist (mailing.md 6)


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """How near an address is to the blacklist: shown on the contact, and the reason on the entry."""

    count: int  # counting bounces within the window
    spread_days: float  # between the first and the last of those
    due: bool
    why: Why


def blacklist_arithmetic(
    dates: Sequence[datetime],
    now: datetime,
    bounces: int = 5,
    days: int = 30,
    spread_days: int = 7,
    counted_from: datetime | None = None,
) -> Arithmetic:
    """Return whether an address belongs on the blacklist, by the dates (aware) of its bounces that count.

    At least ``bounces`` of them lie within the last ``days`` days, and the first and last of those are at least
    ``spread_days`` days apart; both limits are included. Only what came after ``counted_from`` counts: the moment at
    which somebody took the address from the list.
    """
    earliest = now - timedelta(days=days)
    counted = sorted(
        date for date in dates if earliest <= date <= now and (counted_from is None or date > counted_from)
    )
    spread = counted[-1] - counted[0] if counted else timedelta(0)
    due = len(counted) >= max(bounces, 1) and spread >= timedelta(days=spread_days)
    apart = spread / timedelta(days=1)
    reason = why(
        "blacklist_due" if due else "blacklist_not_due",
        count=len(counted),
        bounces=bounces,
        days=days,
        apart=int(apart),
        spread_days=spread_days,
    )
    return Arithmetic(len(counted), apart, due, reason)

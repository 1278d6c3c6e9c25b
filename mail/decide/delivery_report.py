"""Pure: delivery reports (RFC 3464, RFC 6533), read tolerantly: whom they name, and what became of the mail to them."""

import re

from mail.decide.failure import FailureKind, is_telling, kind_in_report
from mail.decide.named import Surety, named_recipients
from mail.decide.own_words import about_recipients, own_words
from mail.decide.reported import LONGEST_TEXT, MOST_RECIPIENTS, SCANNED, About, Report, Reported, short, text_of
from mail.decide.returned import (
    STATUS,
    from_machine,
    has_machine_voice,
    is_challenge,
    is_report,
    names_failed,
    returned_ids,
)
from mail.message.address import normalise, parse_addresses
from mail.message.parse import IncomingMessage

_FIELD = re.compile(
    r"(original-recipient|final-recipient|action|status|diagnostic-code|remote-mta|last-attempt-date|will-retry-until"
    r"|final-log-id|x-actual-recipient|reporting-mta|original-envelope-id|arrival-date|received-from-mta|dsn-gateway"
    r"|x-[a-z0-9-]{1,60})[ \t]*:[ \t]*(.*)",
    re.IGNORECASE,
)


def delivery_report(message: IncomingMessage, at_bounce_address: bool) -> Report | None:
    """Return what a delivery report says of its recipients; None if it is none, or names nobody in its fields."""
    fields = _fields(message, at_bounce_address)
    if fields is None:
        return None
    ids = returned_ids(message, at_bounce_address)
    if is_challenge(own_words(message.text)):
        return Report(About.CHALLENGE, (), ids, "delivery_status", short(message.text))
    recipients = _recipients(fields, message)
    if not recipients:
        return None  # the words of the report may still say more
    return Report(_about(recipients), recipients, ids, "delivery_status", short(message.text))


def _fields(message: IncomingMessage, at_bounce_address: bool) -> str | None:
    """The fields about the recipients; None when the mail is no report."""
    parts = [part for part in message.attachments if part.type in STATUS]
    report, machine = is_report(message), from_machine(message)
    if parts and (report or machine or (at_bounce_address and not message.is_answer)):
        return "\n\n".join(text_of(part, SCANNED) for part in parts[:MOST_RECIPIENTS])[:SCANNED]
    machine = machine and has_machine_voice(message)
    if (report or machine) and _FIELDS_IN_TEXT.search(message.text[:SCANNED]):
        return message.text[:SCANNED]  # a report whose status part is labelled as text
    return "" if report and message.report_type else None


def _about(recipients: tuple[Reported, ...]) -> About:
    kinds = {reported.kind for reported in recipients}
    if any(kind.failed for kind in kinds):
        return About.BOUNCE
    return About.DELAY if FailureKind.DELAY in kinds else About.DELIVERED


_FIELDS_IN_TEXT = re.compile(r"^(?:Final|Original)-Recipient[ \t]*:", re.IGNORECASE | re.MULTILINE)


def _recipients(fields: str, message: IncomingMessage) -> tuple[Reported, ...]:
    """The recipients of a status part; where it names a pipe or only a host, the rest of the mail names them."""
    groups, words = _groups(fields), message.text[:SCANNED]
    found = [reported for group in groups if (reported := _reported(group, _names(group), words)) is not None]
    if not found:
        names = failed_in_header(message) or (_in_words(message) if "action" in groups[-1] else [])
        told = [_reported(groups[-1], [name], words) for name in names[:MOST_RECIPIENTS]]
        found = [reported for reported in told if reported is not None]
    return tuple(dict.fromkeys(found))


def failed_in_header(message: IncomingMessage) -> list[str]:
    """Return the recipients that Exim names in a header of its report."""
    values = message.fields["x-failed-recipients"] if names_failed(message) else []
    return [mailbox.key for value in values for mailbox in parse_addresses(value)]


def _in_words(message: IncomingMessage) -> list[str]:
    nobody = {message.from_key, *message.recipients}
    surety, names = named_recipients(about_recipients(own_words(message.text).said), nobody)
    return names if surety is Surety.SURELY or (surety is Surety.PROBABLY and len(names) == 1) else []


_RECIPIENT = frozenset(("final-recipient", "original-recipient"))
_OUTCOME = frozenset(("action", "status"))


def _groups(fields: str) -> list[dict[str, str]]:
    """The groups of fields, one for each recipient, as many as count; at least one, which may be empty.

    Lines that are no known field continue the one before, with or without white space in front: servers break long
    answers as they like.
    """
    groups: list[dict[str, str]] = []
    group: dict[str, str] = {}
    last, after_blank = "", False
    for line in fields.splitlines():
        if len(groups) >= MOST_RECIPIENTS:
            return groups
        match = _FIELD.match(line)
        if match:
            last = match[1].lower()
            if last in _RECIPIENT and (last in group or (after_blank and _RECIPIENT & group.keys())):
                groups.append(group)
                group = {}
            after_blank = False
            group.setdefault(last, match[2].strip())
        elif not line.strip():
            last, after_blank = "", True
            if _RECIPIENT & group.keys():
                if not _OUTCOME & group.keys():
                    continue  # a blank line too many: what became of the mail stands below it
                groups.append(group)
            group = {}
        elif last and len(group[last]) < LONGEST_TEXT:
            group[last] += " " + line.strip()
    return groups if groups and not group else [*groups, group]


def _names(group: dict[str, str]) -> list[str]:
    named = (recipient_in(group.get(name, "")) for name in ("final-recipient", "original-recipient"))
    return list(dict.fromkeys(name for name in named if name))


def _reported(group: dict[str, str], names: list[str], words: str) -> Reported | None:
    if not names:
        return None
    status = match[0] if (match := STATUS_CODE.search(group.get("status", ""))) else ""
    text = _KIND_OF_TEXT.sub("", short(group.get("diagnostic-code", "")))
    if not status.strip("0.245") and (match := STATUS_CODE.search(text)):
        status = match[0]  # 5.0.0 says nothing; the server's own words often do
    status, said = told_on(status, text)
    if not said and not is_telling(status):
        status, said = _code_in_words(names, words) or status, short(words)
    action = group.get("action", "").partition("(")[0].strip().lower()
    if action.startswith(("delay", "defer", "warn", "transient")):
        kind = FailureKind.DELAY
    elif action.startswith(("deliver", "relay", "expand")) or (not action and status.startswith("2")):
        kind = FailureKind.DELIVERED
    elif not action and status.startswith("4"):
        kind = FailureKind.DELAY
    else:
        kind = kind_in_report(status, said, words)
    return Reported(names[0], kind, status, text, tuple(names[1:]))


def _code_in_words(names: list[str], words: str) -> str:
    """The code that a report gives in words for a recipient whose fields say nothing; "" if there is none."""
    place = max(words.lower().find(name) for name in names)
    code = STATUS_CODE.search(words, place, place + 600) if place >= 0 else None
    return code[0] if code else ""


def told_on(status: str, text: str) -> tuple[str, str]:
    """Return the code and words of the last server: what a relay makes of its answer says less than the answer.

    >>> told_on("5.1.0", "5.1.0 - Unknown address error 550-'5.7.1 Access denied' (delivery attempts: 0)")
    ('5.7.1', "550-'5.7.1 Access denied' (delivery attempts: 0)")
    >>> told_on("5.7.1", "b@x.test (reason: 550 5.7.1 Listed) 550 5.1.1 b@x.test... User unknown")
    ('5.7.1', '550 5.7.1 Listed')
    """
    if match := _REASON.search(text):
        code = STATUS_CODE.search(match[1])
        return code[0] if code else status, match[1]
    if match := _TOLD_ON.search(text):
        said = text[match.start(1) :]
        if code := STATUS_CODE.search(said):
            return code[0], said
    return status, text


_REASON = re.compile(r"\(reason:\s+([45]\d\d[^()]{3,400})\)", re.IGNORECASE)  # of Sendmail, before what it makes of it
_TOLD_ON = re.compile(r"(?:\b[45]\.\d\.\d - [\w ]{3,60} |-> ?)([45]\d\d[- ].)")
_KIND_OF_TEXT = re.compile(r"^(?:smtp|x-[a-z0-9-]+|mts)[ \t]*;[ \t]*", re.IGNORECASE)  # RFC 3464 2.3.6: what wrote it
STATUS_CODE = re.compile(r"(?<![\d.])[245]\.\d{1,3}\.\d{1,3}(?![\d.])")


def recipient_in(value: str) -> str:
    """Return the address of `rfc822; ann@x.test`, of `RFC822;<Ann@X.test>`, of `ann@x.test`; "" if there is none."""
    kind, semicolon, rest = value.partition(";")
    value = rest if semicolon and "@" not in kind else value
    if value.lstrip().startswith("@"):
        return ""  # a host, or a way by hosts: no mailbox that anybody wrote to
    value = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), value[:LONGEST_TEXT]).strip()
    found = normalise(value.strip("<>").strip())
    if found is None:
        found = next((mailbox.key for mailbox in parse_addresses(value)), "")
    return found


_ESCAPED = re.compile(r"\\x\{(0*[0-9A-Fa-f]{2,5})\}")  # RFC 6533 3: unicode in an ASCII report

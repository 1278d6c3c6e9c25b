"""Pure: complaints about spam: ARF (RFC 5965) and the older forms that hold no more than the mail complained about."""

import re

from mail.decide.delivery_report import recipient_in
from mail.decide.failure import FailureKind
from mail.decide.reported import MOST_RECIPIENTS, About, Report, Reported, short, text_of
from mail.decide.returned import returned_ids
from mail.message.parse import IncomingMessage


def complaint(message: IncomingMessage, at_bounce_address: bool) -> Report | None:
    """Return what a feedback loop tells; None if the mail is nothing like that."""
    part = next((part for part in message.attachments if part.type == "message/feedback-report"), None)
    if part is not None and message.content_type in ("multipart/report", "multipart/mixed"):
        return _feedback(message, text_of(part, 100_000), at_bounce_address)
    return _bare_complaint(message)


def _feedback(message: IncomingMessage, fields: str, at_bounce_address: bool) -> Report:
    kind = match[1].lower() if (match := _FEEDBACK_TYPE.search(fields)) else "abuse"
    about = About.FEEDBACK if kind in ("not-spam", "auth-failure") else About.COMPLAINT
    recipients = _complaining(_COMPLAINING, fields) or _complaining(_IN_RETURNED, _returned(message))
    return Report(about, recipients, returned_ids(message, at_bounce_address), "feedback", short(message.text), kind)


_FEEDBACK_TYPE = re.compile(r"^Feedback-Type[ \t]*:[ \t]*([\w-]+)", re.IGNORECASE | re.MULTILINE)
_COMPLAINING = re.compile(r"^(?:Original-Rcpt-To|Removal-Recipient)[ \t]*:[ \t]*(.+)", re.IGNORECASE | re.MULTILINE)


def _bare_complaint(message: IncomingMessage) -> Report | None:
    """Hotmail's form: its subject says what it is, and a header of the attached mail says who complained."""
    if not _SUBJECT.match(message.subject):
        return None
    recipients = _complaining(_IN_RETURNED, _returned(message))
    if not recipients:
        return None
    return Report(About.COMPLAINT, recipients, returned_ids(message, True), "feedback", short(message.text), "abuse")


_SUBJECT = re.compile(
    r"\s*(?:complaint about message from|client tos notification|(?:e-?mail )?(?:abuse|feedback|spam) report)", re.I
)
_IN_RETURNED = re.compile(
    r"^X-(?:HmXmrOriginalRecipient|Original-Rcpt-To)[ \t]*:[ \t]*(.+)", re.IGNORECASE | re.MULTILINE
)


def _returned(message: IncomingMessage) -> str:
    parts = [part for part in message.attachments if part.type in ("message/rfc822", "text/rfc822-headers")]
    return "\n".join(text_of(part, 65536) for part in parts[:2])


def _complaining(field: re.Pattern[str], fields: str) -> tuple[Reported, ...]:
    found = dict.fromkeys(name for match in field.finditer(fields) if "@" in (name := recipient_in(match[1])))
    return tuple(Reported(address, FailureKind.DELIVERED) for address in list(found)[:MOST_RECIPIENTS])

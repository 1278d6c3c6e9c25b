"""Pure: complaints about spam: ARF (RFC 5965) and the older forms that hold no more than the mail complained about."""

import re

from mail.decide.delivery_report import recipient_in
from mail.decide.failure import FailureKind
from mail.decide.reported import MOST_RECIPIENTS, About, Report, Reported, short, text_of
from mail.decide.returned import is_called_machine, returned_ids
from mail.message.address import local_part
from mail.message.parse import IncomingMessage


def complaint(message: IncomingMessage, at_bounce_address: bool) -> Report | None:
    """Return what a feedback loop tells; None if the mail is nothing like that."""
    part = next((part for part in message.attachments if part.type == "message/feedback-report"), None)
    is_passed_on = message.content_type == "multipart/mixed" and message.is_answer
    if part is not None and message.content_type in ("multipart/report", "multipart/mixed") and not is_passed_on:
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
    """Hotmail's form: its subject says what it is, and a header of the attached mail says who complained.

    People who forward spam write such subjects, too. So it needs a provider's sender, and as it is not certain it means
    only whom an id of ours in the attached mail names.
    """
    sender = local_part(message.from_key)
    if not _SUBJECT.match(message.subject) or not (_PROVIDERS.match(sender) or is_called_machine(message)):
        return None
    from_hotmail = bool(_HOTMAIL.search(message.from_key))
    recipients = _complaining(_IN_RETURNED if from_hotmail else _IN_OTHERS, _returned(message))
    ids = returned_ids(message, True)
    if not recipients or not ids:
        return None
    text = short(message.text)
    return Report(About.COMPLAINT, recipients, ids, "feedback", text, "abuse", is_certain=False)


_SUBJECT = re.compile(
    r"\s*(?:complaint about message from|client tos notification|(?:e-?mail )?(?:abuse|feedback|spam) report)", re.I
)
_PROVIDERS = re.compile(r"(?:staff|abuse|scomp|fbl|feedback\w*|complaints?|spam[-_.]?reports?)(?:[-_.+]|$)")
_HOTMAIL = re.compile(r"@(?:[\w-]+\.)*(?:hotmail|outlook|live|msn|microsoft)\.com$")
_IN_OTHERS = re.compile(r"^X-Original-Rcpt-To[ \t]*:[ \t]*(.+)", re.IGNORECASE | re.MULTILINE)
_IN_RETURNED = re.compile(
    r"^X-(?:HmXmrOriginalRecipient|Original-Rcpt-To)[ \t]*:[ \t]*(.+)", re.IGNORECASE | re.MULTILINE
)


def _returned(message: IncomingMessage) -> str:
    parts = [part for part in message.attachments if part.type in ("message/rfc822", "text/rfc822-headers")]
    return "\n".join(text_of(part, 65536) for part in parts[:2])


def _complaining(field: re.Pattern[str], fields: str) -> tuple[Reported, ...]:
    found = dict.fromkeys(name for match in field.finditer(fields) if "@" in (name := recipient_in(match[1])))
    return tuple(Reported(address, FailureKind.DELIVERED) for address in list(found)[:MOST_RECIPIENTS])

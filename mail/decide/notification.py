"""Pure: what a sending service tells as JSON by mail: bounces, delays and complaints of Amazon SES, alone or by SNS."""

import json
from typing import Any

from mail.decide.delivery_report import recipient_in
from mail.decide.failure import FailureKind, kind_of
from mail.decide.reported import LONGEST_TEXT, MOST_RECIPIENTS, About, Report, Reported, short
from mail.decide.returned import from_machine, is_json, may_be_machine, returned_ids
from mail.message.parse import IncomingMessage

_LONGEST = 200_000  # characters: services tell of one mail at a time


def notification(message: IncomingMessage, at_bounce_address: bool) -> Report | None:
    """Return what a service tells as JSON; None if the mail is nothing like that, or may be a person's."""
    if not is_json(message) or not (from_machine(message) or may_be_machine(message) or at_bounce_address):
        return None
    told = _told(message.text[:_LONGEST].lstrip())
    kind = told.get("notificationType", told.get("eventType"))
    read = _READERS.get(kind) if isinstance(kind, str) else None
    if read is None:
        return None
    about, field, people = read
    said = _dict(told.get(field))
    recipients = [_reported(one, about, said) for one in _list(said.get(people))[:MOST_RECIPIENTS]]
    found = tuple(dict.fromkeys(one for one in recipients if one is not None))
    text = short(str(said.get("bounceSubType") or said.get("complaintFeedbackType") or said.get("delayType") or kind))
    if about is About.BOUNCE and not found:
        about = About.UNREADABLE
    feedback = text if about is About.COMPLAINT else ""
    if feedback == "not-spam":
        about = About.FEEDBACK
    return Report(about, found, returned_ids(message, at_bounce_address), "notification", text, feedback)


_READERS = {
    "Bounce": (About.BOUNCE, "bounce", "bouncedRecipients"),
    "Complaint": (About.COMPLAINT, "complaint", "complainedRecipients"),
    "Delivery": (About.DELIVERED, "delivery", "recipients"),
    "DeliveryDelay": (About.DELAY, "deliveryDelay", "delayedRecipients"),
}


def _told(text: str) -> dict[str, Any]:
    """The first object of the text; what SNS wraps is text within its own object."""
    try:
        told = _dict(json.JSONDecoder().raw_decode(text)[0])
        inner = told.get("Message")
        if isinstance(inner, str) and inner.lstrip().startswith("{"):
            told = _dict(json.loads(inner))
    except (ValueError, RecursionError):
        return {}
    return told


def _reported(one: object, about: About, said: dict[str, Any]) -> Reported | None:
    told = {"emailAddress": one} if isinstance(one, str) else _dict(one)
    address = recipient_in(str(told.get("emailAddress", ""))[:LONGEST_TEXT])
    if not address:
        return None
    status, text = str(told.get("status", ""))[:20], short(str(told.get("diagnosticCode", "")))
    kind = {About.BOUNCE: _why(status, text, said), About.DELAY: FailureKind.DELAY}.get(about, FailureKind.DELIVERED)
    return Reported(address, kind, status, text)


def _why(status: str, text: str, said: dict[str, Any]) -> FailureKind:
    """The service's own verdict, where it says more than the server's words."""
    sub_type = said.get("bounceSubType")
    if sub_type in ("NoEmail", "Suppressed", "OnAccountSuppressionList"):
        return FailureKind.HARD
    if sub_type == "MailboxFull":
        return FailureKind.FULL
    if sub_type in ("MessageTooLarge", "ContentRejected", "AttachmentRejected"):
        return FailureKind.BLOCKED
    return kind_of(status, text)


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []

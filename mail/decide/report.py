"""Pure: whether a mail is a report about mail of ours, and what it says: who failed, who is late, who complained.

Read first: complaints (ARF, RFC 5965), read receipts (RFC 8098) and delivery reports (RFC 3464), tolerantly, and never
inside an attached mail: a forwarded report is somebody else's. Only then, and only in mail that a machine sent, the
many reports in plain words. Whom a report may blame is decided in ``blame.py``.
"""

import re
from collections.abc import Callable

from mail.decide.complaint import complaint
from mail.decide.delivery_report import delivery_report, recipient_in
from mail.decide.failure import FailureKind, kind_of
from mail.decide.notification import notification
from mail.decide.report_words import report_in_words
from mail.decide.reported import About, Report, Reported, short, text_of
from mail.decide.returned import RECEIPT, from_mailer_daemon, returned_ids
from mail.message.parse import IncomingMessage


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


# --- receipts


def _receipt(message: IncomingMessage, at_bounce_address: bool) -> Report | None:
    part = next((part for part in message.attachments if part.type in RECEIPT), None)
    is_receipt = message.content_type == "multipart/report" and message.report_type == "disposition-notification"
    if not is_receipt and (part is None or message.content_type not in ("multipart/report", *RECEIPT)):
        return None
    fields = text_of(part, 100_000) if part else ""
    match = re.search(r"^Final-Recipient[ \t]*:[ \t]*(.+)", fields, re.IGNORECASE | re.MULTILINE)
    address = recipient_in(match[1]) if match else message.from_key
    ids = returned_ids(message, at_bounce_address)
    if "rejected" in message.raw_header("auto-submitted"):  # how Dovecot says that a mailbox is full
        text = short(message.text)
        failed = (Reported(address, kind_of("", text), text=text),) if address else ()
        return Report(About.BOUNCE if failed else About.UNREADABLE, failed, ids, "receipt", text)
    recipients = (Reported(address, FailureKind.DELIVERED),) if address else ()
    return Report(About.RECEIPT, recipients, ids, "receipt", short(message.text))


_READERS: tuple[Callable[[IncomingMessage, bool], Report | None], ...] = (
    complaint,
    _receipt,
    notification,
    delivery_report,
    report_in_words,
)

__all__ = ["About", "Report", "Reported", "from_mailer_daemon", "read_report", "returned_ids"]

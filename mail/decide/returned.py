"""Pure: whether a mail may be a report, by who sent it and what it holds, and which mail of ours it returns."""

import re

from mail.decide.reported import SCANNED, text_of
from mail.message.address import local_part
from mail.message.parse import OWN_ID_HEADER, IncomingMessage

MOST_IDS = 100  # of one report: it returns one mail, with its references

# --- who sent it


def from_mailer_daemon(message: IncomingMessage) -> bool:
    """Say whether the sender is a mail server's own voice.

    A postmaster may be a person; a mailer-daemon never is.
    """
    sender = local_part(message.from_.address).lower() if message.from_ else message.from_header.lower().strip()
    return bool(_DAEMON.match(sender))


_DAEMON = re.compile(r"(?:mailer|mail|maildrop)[-_.]?(?:daemon|deamon)\b|<?mailer-daemon")


def from_machine(message: IncomingMessage) -> bool:
    """Say whether no person sent a mail: nobody (the null sender), a mailer-daemon, a postmaster's machine."""
    return (
        message.return_path == ""
        or "x-failed-recipients" in message.fields
        or from_mailer_daemon(message)
        or from_postmaster(message)
    )


def from_postmaster(message: IncomingMessage) -> bool:
    """Say whether the sender is a postmaster: a machine, mostly."""
    return message.from_ is not None and local_part(message.from_.address).lower() in (
        "postmaster",
        "mdaemon",
        "bounces",
    )


def may_be_machine(message: IncomingMessage) -> bool:
    """Say whether a sender is called as machines are: at the bounce address that is enough to read it as a report."""
    return message.from_ is None or bool(_MACHINES.match(local_part(message.from_.address).lower()))


_MACHINES = re.compile(
    r"(?:[\w.-]*[-_.])?(?:no-?reply|do-?not-?reply|mail(?:er|box)?|mail[-_.]?(?:system|server|admin\w*|delivery|gateway|router)"
    r"|system|daemon|root|admin(?:istrator)?|bounces?|notif\w*|auto\w*|exchange|security|gateway|antispam|mta\d*|smtp\d*)$"
)

# --- what it holds

STATUS = ("message/delivery-status", "message/global-delivery-status")
RECEIPT = ("message/disposition-notification", "message/global-disposition-notification")
_RETURNED = (
    "message/rfc822",
    "text/rfc822-headers",
    "text/rfc822-header",
    "message/global",
    "message/global-headers",
    *RECEIPT,
)
_RETURNED_ID = re.compile(
    rf"^[ \t>|]{{0,9}}(?:(?:X-Microsoft-)?(?:Original-)?Message-ID|{OWN_ID_HEADER})[ \t]*:[ \t]*(?:\r?\n[ \t]+)?"
    r"(<[^<>]{3,990}>|[^\s<>]{3,990})",
    re.IGNORECASE | re.MULTILINE,
)


def is_report(message: IncomingMessage) -> bool:
    """Say whether a mail calls itself a report about a delivery (RFC 3464, RFC 6522)."""
    if message.content_type in STATUS:
        return True
    return message.content_type == "multipart/report" and message.report_type in ("", "delivery-status", "delivery")


def may_be_report(message: IncomingMessage) -> bool:
    """Say whether a mail is worth a closer look: a machine sent it, or it holds what reports hold."""
    return (
        message.content_type in ("multipart/report", *STATUS)
        or from_machine(message)
        or any(part.type in STATUS or part.type == "message/feedback-report" for part in message.attachments)
    )


def is_challenge(message: IncomingMessage) -> bool:
    """Say whether a mail asks its reader to prove that he is a person; some come dressed as a report."""
    return bool(_CHALLENGE.search(message.text[:2000]))


_CHALLENGE = re.compile(
    r"boxbe\.com|sender verification|verify that you are (?:a )?(?:human|person|real)", re.IGNORECASE
)


def returned_ids(message: IncomingMessage, at_bounce_address: bool = False) -> tuple[str, ...]:
    """Return the ids in the mail that a report returns: what a flow must look up.

    Never the report's own In-Reply-To and References: anybody can write those.
    """
    if not at_bounce_address and not may_be_report(message):
        return ()
    texts = [text_of(part, 65536) for part in message.attachments if part.type in _RETURNED]
    found = {"".join(match[1].split()): None for text in texts for match in _RETURNED_ID.finditer(text)}
    found |= {"".join(match[1].split()): None for match in _RETURNED_ID.finditer(message.text[:SCANNED])}
    return tuple(found)[:MOST_IDS]

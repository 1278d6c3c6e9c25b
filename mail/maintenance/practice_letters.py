"""What comes back from a recipient, written as mail programs and servers write it: replies, reports, complaints."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email import message_from_string
from email.headerregistry import Address as HeaderAddress
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from markupsafe import escape

from mail.message.address import Address, domain_of, first_address, parse_addresses, wire_address
from mail.message.parse import IncomingMessage

PROGRAM = SMTP.clone(max_line_length=998)  # no folding: an id that is cut in the middle is no id any more
MOST_REFERENCES = 12
LONGEST_QUOTE = 20_000  # characters


@dataclass(frozen=True)
class Original:
    """An email as its recipient has it: what is answered, returned or complained about."""

    raw: bytes
    message: IncomingMessage
    recipient: str
    envelope_sender: str
    at: datetime

    @property
    def has_return_path(self) -> bool:
        """Whether a report about it has somewhere to go."""
        return self.envelope_sender not in ("", "<>")

    @property
    def server(self) -> str:
        """The mail server of its recipient."""
        return f"mx.{domain_of(self.recipient) or 'example.com'}"

    @property
    def header(self) -> str:
        return self.raw.partition(b"\r\n\r\n")[0].decode("utf-8", "replace") + "\r\n"


def letter(sender: Address, recipient: Address, now: datetime, subject: str) -> EmailMessage:
    """Return an email without a text."""
    found = EmailMessage(policy=PROGRAM)
    found["Return-Path"] = f"<{wire_address(sender.address)}>"
    found["Delivered-To"] = wire_address(recipient.address) if recipient.address else "nobody@localhost"
    found["From"] = _mailbox(sender)
    found["To"] = _mailbox(recipient) if recipient.address else "undisclosed-recipients:;"
    found["Date"] = format_datetime(now)
    found["Message-ID"] = f"<{secrets.token_hex(16)}@{wire_address(sender.address).rpartition('@')[2]}>"
    found["Subject"] = one_line(subject)
    return found


def reply(original: Original, text: str, now: datetime) -> EmailMessage:
    """Return what the recipient writes back: to the Reply-To, with the email quoted."""
    message = original.message
    subject = one_line(message.subject)
    subject = subject if subject.lower().startswith("re:") else f"Re: {subject}"
    found = letter(_recipient_of(original), _answer_to(message), now, subject)
    _refer(found, message)
    write_body(found, text, message)
    return found


def absence(original: Original, now: datetime) -> EmailMessage:
    """Return an automatic reply (RFC 3834) of somebody on holiday: to the envelope sender."""
    message = original.message
    recipient = Address("", original.envelope_sender) if original.has_return_path else _answer_to(message)
    found = letter(_recipient_of(original), recipient, now, f"Automatic reply: {one_line(message.subject)}")
    found.replace_header("Return-Path", "<>")
    found["Auto-Submitted"] = "auto-replied"
    found["X-Auto-Response-Suppress"] = "All"
    _refer(found, message)
    write_body(found, "Thank you for your email. I am out of the office until Monday and will reply then.", None)
    return found


# --- reports


@dataclass(frozen=True)
class ServerFault:
    """What a mail server says when it could not deliver: code, enhanced status code, words."""

    code: int
    status: str
    words: str
    action: str = "failed"


FAILURES = {
    "bounce": ServerFault(550, "5.1.1", "<{address}>: Recipient address rejected: User unknown"),
    "full": ServerFault(552, "5.2.2", "<{address}>: Recipient mailbox full: user is over quota"),
    "blocked": ServerFault(554, "5.7.1", "Message rejected as spam by the policy of this server"),
    "delay": ServerFault(451, "4.4.1", "<{address}>: connection timed out", "delayed"),
}
RETURNED = (
    "This is the mail system at host {server}.\r\n\r\nI'm sorry to have to inform you that your message could not be "
    "delivered\r\nto one or more recipients.\r\n\r\n<{address}>: {said}\r\n"
)
DELAYED = (
    "This is the mail system at host {server}.\r\n\r\nTHIS IS A WARNING ONLY. YOU DO NOT NEED TO RESEND YOUR MESSAGE."
    "\r\n\r\nYour message could not be delivered for more than 4 hours. It will be retried\r\nuntil it is 5 days old."
    "\r\n\r\n<{address}>: {said}\r\n"
)


def report(original: Original, kind: str, now: datetime) -> EmailMessage:
    """Return a delivery report (RFC 3464); ``kind`` is one of ``FAILURES``."""
    failure, address, server = FAILURES[kind], original.recipient, original.server
    said = f"{failure.code} {failure.status} {failure.words.format(address=address)}"
    is_delay = failure.action == "delayed"
    found = _from_server(original, now, "Delayed Mail (still being retried)" if is_delay else UNDELIVERED)
    text = (DELAYED if is_delay else RETURNED).format(server=server, address=address, said=said)
    until = f"Will-Retry-Until: {format_datetime(now + timedelta(days=5))}\r\n" if is_delay else ""
    status = (
        f"Reporting-MTA: dns; {server}\r\nArrival-Date: {format_datetime(original.at)}\r\n\r\n"
        f"Final-Recipient: rfc822; {address}\r\nOriginal-Recipient: rfc822;{address}\r\nAction: {failure.action}\r\n"
        f"Status: {failure.status}\r\nRemote-MTA: dns; {server}\r\nDiagnostic-Code: smtp; {said}\r\n{until}"
    )
    parts = (("text/plain", text), ("message/delivery-status", status), ("text/rfc822-headers", original.header))
    return _of_parts(found, "delivery-status", parts)


def odd_report(original: Original, now: datetime) -> EmailMessage:
    """Return a report without the standard part: words and the returned email alone, as some servers still send."""
    found = _from_server(original, now, "failure notice")
    found.set_content(
        f"Hi. This is the mail server at {original.server}.\nI was not able to deliver your message to the following "
        f"addresses.\nThis is a permanent error; I've given up. Sorry it did not work out.\n\n<{original.recipient}>:\n"
        "Sorry, no mailbox here by that name. (#5.1.1)\n\n--- Below this line is a copy of the message.\n\n"
        f"{original.header.replace(chr(13), '')}",
        cte="8bit",
    )
    return found


def complaint(original: Original, now: datetime) -> EmailMessage:
    """Return a complaint (ARF, RFC 5965), as providers report that somebody pressed "spam"."""
    sender = Address("Feedback loop", f"feedback@{original.server}")
    to = Address("", original.envelope_sender) if original.has_return_path else _answer_to(original.message)
    found = letter(sender, to, now, f"Complaint about: {one_line(original.message.subject)}")
    feedback = (
        "Feedback-Type: abuse\r\nUser-Agent: PracticeMailbox/1.0\r\nVersion: 1\r\n"
        f"Original-Mail-From: <{original.envelope_sender.strip('<>')}>\r\nOriginal-Rcpt-To: {original.recipient}\r\n"
        f"Arrival-Date: {format_datetime(original.at)}\r\n"
    )
    text = f"This is an email abuse report for a message to {original.recipient}.\r\n"
    parts = (("text/plain", text), ("message/feedback-report", feedback), ("text/rfc822-headers", original.header))
    return _of_parts(found, "feedback-report", parts)


UNDELIVERED = "Undelivered Mail Returned to Sender"


def _from_server(original: Original, now: datetime, subject: str) -> EmailMessage:
    daemon = Address("Mail Delivery System", f"MAILER-DAEMON@{original.server}")
    found = letter(daemon, Address("", original.envelope_sender), now, subject)
    found.replace_header("Return-Path", "<>")
    found["Auto-Submitted"] = "auto-replied"
    return found


def _of_parts(found: EmailMessage, kind: str, parts: Sequence[tuple[str, str]]) -> EmailMessage:
    found["Content-Type"] = f'multipart/report; report-type={kind}; boundary="{secrets.token_hex(12)}"'
    found["MIME-Version"] = "1.0"
    found.set_payload([_part(*part) for part in parts])
    return found


def _part(kind: str, text: str) -> EmailMessage:
    """Return a part by reading it: groups of a delivery status become the messages that the library writes."""
    kind += "; charset=utf-8" if kind == "text/plain" else ""
    part = message_from_string(f"Content-Type: {kind}\r\n\r\n{text}", policy=PROGRAM)
    assert isinstance(part, EmailMessage)
    return part


# --- writing as a mail program does


def write_body(found: EmailMessage, text: str, original: IncomingMessage | None) -> None:
    """Write the text, and below it what is answered, each line quoted."""
    text = text.replace("\r\n", "\n").strip()
    plain, html = text + "\n", "".join(f"<div>{escape(line) or '<br>'}</div>" for line in text.split("\n"))
    if original is not None:
        said = f"On {original.date:%a, %d %b %Y at %H:%M}, {original.from_ or 'somebody'} wrote:"
        quoted = original.text.strip()[:LONGEST_QUOTE]
        plain += f"\n{said}\n" + "".join(f"> {line}".rstrip() + "\n" for line in quoted.splitlines())
        shown = "<br>".join(str(escape(line)) for line in quoted.splitlines())
        html += (
            f'<br><div class="gmail_quote"><div dir="ltr" class="gmail_attr">{escape(said)}<br></div>'
            f'<blockquote class="gmail_quote" style="margin:0 0 0 .8ex;border-left:1px solid #ccc;padding-left:1ex">'
            f"{shown}</blockquote></div>"
        )
    found.set_content(plain, cte="quoted-printable")
    found.add_alternative(f"<html><body>{html}</body></html>", subtype="html", cte="quoted-printable")


def one_line(text: str) -> str:
    """Return a text as a header holds it."""
    return " ".join(text.split())


def _refer(found: EmailMessage, original: IncomingMessage) -> None:
    if original.message_id:
        found["In-Reply-To"] = original.message_id
        known = [reference for reference in original.references if reference != original.message_id]
        found["References"] = " ".join([*known[-MOST_REFERENCES:], original.message_id])


def _recipient_of(original: Original) -> Address:
    """Return the recipient with the name that the mail gave it."""
    wanted = Address("", original.recipient)
    for header in original.message.fields.get("to", []):
        for known in parse_addresses(header):
            if known.key == wanted.key:
                return known
    return wanted


def _answer_to(original: IncomingMessage) -> Address:
    for header in original.fields.get("reply-to", []):
        found = first_address(header)
        if found:
            return found
    if original.from_ is None:
        raise LookupError("a mail without a sender can't be answered")
    return original.from_


def _mailbox(address: Address) -> HeaderAddress:
    return HeaderAddress(one_line(address.name), addr_spec=wire_address(address.address))

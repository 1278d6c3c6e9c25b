"""The practice mailbox: mail that was sent while no real server is set up, and what its recipients do with it.

Answers and reports are written as a mail program and a mail server write them, and come in by the real pipeline.
"""

import secrets
from collections.abc import Sequence
from datetime import datetime
from email import message_from_string
from email.headerregistry import Address as HeaderAddress
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from markupsafe import escape
from sqlalchemy import update

from mail.errors import InvalidAddress
from mail.incoming import intake
from mail.message.address import Address, domain_of, first_address, parse_addresses, wire_address
from mail.message.parse import IncomingMessage, parse
from mail.message.pasted import one_person
from mail.settings.wake import wake
from mail.transport.mailbox import FetchedMail
from models import Blob, Event, PracticeMail, db, reading, writing
from models.store import pack

TOPIC = "practice"  # of the events for open pages
SOURCE = "practice"  # in the ledger of received mail
PROGRAM = SMTP.clone(max_line_length=998)  # no folding: an id that is cut in the middle is no id any more
MOST_REFERENCES = 12
LONGEST_QUOTE = 20_000  # characters


def store(envelope_sender: str, recipients: Sequence[str], content: bytes, now: datetime) -> None:
    """Put a mail into the mailbox of each recipient; the caller commits."""
    message, packed = parse(content, now), pack(content)
    (blob_id,) = Blob.keep([packed])
    for recipient in recipients:
        db.session.add(
            PracticeMail(
                at=now,
                envelope_sender=envelope_sender[:400],
                recipient=recipient[:320],
                from_text=(str(message.from_) if message.from_ else "")[:500],
                subject=message.subject[:500],
                blob_id=blob_id,
            )
        )
    Event.add([TOPIC], now)


def read(mail: PracticeMail) -> IncomingMessage:
    """Return a mail of the practice mailbox, parsed."""
    return parse(Blob.read(mail.blob_id), mail.at)


# --- what a recipient does


def answer(practice_mail_id: int, text: str, now: datetime) -> None:
    """Answer a mail as its recipient: the answer goes to its Reply-To and quotes it. Commits and wakes the worker."""
    with reading():
        mail = _mail(practice_mail_id)
        original, recipient = read(mail), mail.recipient
    reply = _letter(_recipient_of(original, recipient), _answer_to(original), now)
    subject = _one_line(original.subject)
    reply["Subject"] = subject if subject.lower().startswith("re:") else f"Re: {subject}"
    if original.message_id:
        reply["In-Reply-To"] = original.message_id
        known = [reference for reference in original.references if reference != original.message_id]
        reply["References"] = " ".join([*known[-MOST_REFERENCES:], original.message_id])
    _write_body(reply, text, original)
    _hand_in(reply, now)
    _note(practice_mail_id, now, answered_at=now)


def write_new(from_: str, to: str, subject: str, text: str, now: datetime) -> None:
    """Write a mail as somebody outside: a customer who writes to sales@. Commits and wakes the worker.

    ``from_`` may have a name before its address. Raises ``InvalidAddress`` when one can't be used, or is not one.
    """
    sender, recipient = one_person(from_), one_person(to)
    if not isinstance(sender, Address):
        raise InvalidAddress(address=from_)
    if not isinstance(recipient, Address):
        raise InvalidAddress(address=to)
    letter = _letter(sender, recipient, now)
    letter["Subject"] = _one_line(subject)
    _write_body(letter, text, None)
    _hand_in(letter, now)


def bounce(practice_mail_id: int, now: datetime) -> None:
    """Return a mail as undeliverable, to its envelope sender, as a mail server does (RFC 3464). Commits and wakes."""
    with reading():
        mail = _mail(practice_mail_id)
        returned, recipient, sender, sent_at = Blob.read(mail.blob_id), mail.recipient, mail.envelope_sender, mail.at
    server = f"mx.{domain_of(recipient) or 'example.com'}"
    report = _letter(Address("Mail Delivery System", f"MAILER-DAEMON@{server}"), Address("", sender), now)
    report.replace_header("Return-Path", "<>")
    report["Auto-Submitted"] = "auto-replied"
    report["Subject"] = "Undelivered Mail Returned to Sender"
    report["Content-Type"] = f'multipart/report; report-type=delivery-status; boundary="{secrets.token_hex(12)}"'
    report["MIME-Version"] = "1.0"
    report.set_payload(
        [
            _part(
                "text/plain",
                f"This is the mail system at host {server}.\r\n\r\nI'm sorry to have to inform you that your message "
                "could not be delivered\r\nto one or more recipients.\r\n\r\n"
                f"<{recipient}>: 550 5.1.1 <{recipient}>: Recipient address rejected: User unknown\r\n",
            ),
            _part(
                "message/delivery-status",
                f"Reporting-MTA: dns; {server}\r\nArrival-Date: {format_datetime(sent_at)}\r\n\r\n"
                f"Final-Recipient: rfc822; {recipient}\r\nOriginal-Recipient: rfc822;{recipient}\r\nAction: failed\r\n"
                f"Status: 5.1.1\r\nRemote-MTA: dns; {server}\r\n"
                f"Diagnostic-Code: smtp; 550 5.1.1 <{recipient}>: Recipient address rejected: User unknown\r\n",
            ),
            _part("text/rfc822-headers", returned.partition(b"\r\n\r\n")[0].decode("utf-8", "replace") + "\r\n"),
        ]
    )
    _hand_in(report, now)
    _note(practice_mail_id, now, bounced_at=now)


def _mail(practice_mail_id: int) -> PracticeMail:
    mail = db.session.get(PracticeMail, practice_mail_id)
    if mail is None:
        raise LookupError(f"practice mail {practice_mail_id}")
    return mail


def _recipient_of(original: IncomingMessage, address: str) -> Address:
    """Return the recipient with the name that the mail gave it."""
    wanted = Address("", address)
    for header in original.fields.get("to", []):
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


# --- writing as a mail program does


def _letter(sender: Address, recipient: Address, now: datetime) -> EmailMessage:
    letter = EmailMessage(policy=PROGRAM)
    letter["Return-Path"] = f"<{wire_address(sender.address)}>"
    letter["Delivered-To"] = wire_address(recipient.address) if recipient.address else "nobody@localhost"
    letter["From"] = _mailbox(sender)
    letter["To"] = _mailbox(recipient) if recipient.address else "undisclosed-recipients:;"
    letter["Date"] = format_datetime(now)
    letter["Message-ID"] = f"<{secrets.token_hex(16)}@{wire_address(sender.address).rpartition('@')[2]}>"
    return letter


def _mailbox(address: Address) -> HeaderAddress:
    return HeaderAddress(_one_line(address.name), addr_spec=wire_address(address.address))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _write_body(letter: EmailMessage, text: str, original: IncomingMessage | None) -> None:
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
    letter.set_content(plain, cte="quoted-printable")
    letter.add_alternative(f"<html><body>{html}</body></html>", subtype="html", cte="quoted-printable")


def _part(kind: str, text: str) -> EmailMessage:
    """Return a part by reading it: groups of a delivery status become the messages that the library writes."""
    kind += "; charset=utf-8" if kind == "text/plain" else ""
    part = message_from_string(f"Content-Type: {kind}\r\n\r\n{text}", policy=PROGRAM)
    assert isinstance(part, EmailMessage)
    return part


def _hand_in(letter: EmailMessage, now: datetime) -> None:
    """Give a mail to the pipeline as one that was fetched, and commit."""
    raw = letter.as_bytes()
    with writing():
        intake.keep(SOURCE, [FetchedMail(secrets.token_hex(16), len(raw), now, raw)], now)
    wake("incoming")


def _note(practice_mail_id: int, now: datetime, **values: datetime) -> None:
    """Show on a mail what its recipient did with it, and commit."""
    with writing():
        db.session.execute(update(PracticeMail).where(PracticeMail.id == practice_mail_id).values(**values))
        Event.add([TOPIC], now)
        db.session.commit()

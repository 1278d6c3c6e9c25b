"""The practice mailbox: mail that was sent in practice or in a rehearsal, and what its recipients do with it.

Replies and reports come in by the real pipeline.
"""

import secrets
from collections.abc import Callable, Sequence
from datetime import datetime
from email.message import EmailMessage
from functools import partial

from sqlalchemy import update

from mail.decide.practice_address import wish_of
from mail.errors import InvalidAddress
from mail.incoming import intake
from mail.maintenance import practice_letters as letters
from mail.maintenance.practice_letters import Original
from mail.message.address import Address
from mail.message.parse import OWN_ID_HEADER, IncomingMessage, parse
from mail.message.pasted import one_person
from mail.settings import office, rehearsal
from mail.settings.config import settings
from mail.settings.tokens import TokenKind
from mail.settings.wake import wake
from mail.transport.mailbox import FetchedMail
from models import Blob, Event, PracticeMail, db, reading, writing
from models.store import pack

TOPIC = "practice"  # of the events for open pages
SOURCE = "practice"  # in the ledger of received mail

# What recipients do besides replying, by its name in addresses and buttons; and the column that says when they did.
ACTIONS: dict[str, tuple[str, Callable[[Original, datetime], EmailMessage]]] = {
    "bounce": ("bounced_at", partial(letters.report, kind="bounce")),
    "full": ("bounced_at", partial(letters.report, kind="full")),
    "blocked": ("bounced_at", partial(letters.report, kind="blocked")),
    "odd-bounce": ("bounced_at", letters.odd_report),
    "delay": ("delayed_at", partial(letters.report, kind="delay")),
    "complaint": ("complained_at", letters.complaint),
    "out-of-office": ("away_at", letters.absence),
}
NEED_RETURN_PATH = ("bounce", "full", "blocked", "odd-bounce", "delay")


def takes_mail() -> bool:
    """Whether emails may come in now: in practice, and in a rehearsal."""
    return rehearsal.is_on() or settings().default_server.practice


def store(envelope_sender: str, recipients: Sequence[str], content: bytes, now: datetime) -> list[int]:
    """Put a mail into the mailbox of each recipient and return the numbers; the caller commits."""
    message, packed = parse(content, now), pack(content)
    (blob_id,) = Blob.keep([packed])
    line_id, trace_id = _sent_as(message)
    rows = [
        PracticeMail(
            at=now,
            envelope_sender=envelope_sender[:400],
            recipient=recipient[:320],
            from_text=(str(message.from_) if message.from_ else "")[:500],
            subject=message.subject[:500],
            blob_id=blob_id,
            line_id=line_id,
            trace_id=trace_id,
        )
        for recipient in recipients
    ]
    db.session.add_all(rows)
    Event.add([TOPIC], now)
    db.session.flush()
    return [row.id for row in rows]


def _sent_as(message: IncomingMessage) -> tuple[int | None, int | None]:
    """Return which line of the queue, or recipient of a mailing, an email was sent to."""
    named = office.tokens().read(message.header(OWN_ID_HEADER) or "")
    if named is None:
        return None, None
    kinds = (TokenKind.LINE, TokenKind.TRACE)
    line_id, trace_id = (named.id if named.kind is kind else None for kind in kinds)
    return line_id, trace_id


def read(mail: PracticeMail) -> IncomingMessage:
    """Return a mail of the practice mailbox, parsed."""
    return parse(Blob.read(mail.blob_id), mail.at)


# --- what a recipient does


def answer(practice_mail_id: int, text: str, now: datetime) -> None:
    """Answer a mail as its recipient: the answer goes to its Reply-To and quotes it. Commits and wakes the worker."""
    _hand_in(letters.reply(_original(practice_mail_id), text, now), now)
    _note(practice_mail_id, now, answered_at=now)


def act(practice_mail_id: int, action: str, now: datetime) -> bool:
    """Do with a mail what a server or a recipient does, one of ``ACTIONS``; commits and wakes the worker.

    Returns False when nothing comes back: a mail without an envelope sender is never reported about.
    """
    original = _original(practice_mail_id)
    if action in NEED_RETURN_PATH and not original.has_return_path:
        return False
    column, write = ACTIONS[action]
    _hand_in(write(original, now=now), now)  # type: ignore[call-arg]
    _note(practice_mail_id, now, **{column: now})
    return True


def act_by_address(practice_mail_ids: Sequence[int], recipients: Sequence[str], now: datetime) -> None:
    """Do at once what the addresses of recipients ask for; commits and wakes."""
    for practice_mail_id, recipient in zip(practice_mail_ids, recipients, strict=True):
        if action := wish_of(recipient).action:
            act(practice_mail_id, action, now)


def write_new(from_: str, to: str, subject: str, text: str, now: datetime) -> None:
    """Write a mail as somebody outside: a customer who writes to sales@. Commits and wakes the worker.

    ``from_`` may have a name before its address. Raises ``InvalidAddress`` when one can't be used, or is not one.
    """
    sender, recipient = one_person(from_), one_person(to)
    if not isinstance(sender, Address):
        raise InvalidAddress(address=from_)
    if not isinstance(recipient, Address):
        raise InvalidAddress(address=to)
    letter = letters.letter(sender, recipient, now, subject)
    letters.write_body(letter, text, None)
    _hand_in(letter, now)


def _original(practice_mail_id: int) -> Original:
    with reading():
        mail = db.session.get(PracticeMail, practice_mail_id)
        if mail is None:
            raise LookupError(f"practice mail {practice_mail_id}")
        return Original(Blob.read(mail.blob_id), read(mail), mail.recipient, mail.envelope_sender, mail.at)


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

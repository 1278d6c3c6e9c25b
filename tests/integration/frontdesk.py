"""What tests of received mail build: an office with aliases and people, mails as customers write them, counted SQL."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from itertools import count
from typing import Any

from flask import Flask
from sqlalchemy import event, select

from mail.documents import posts
from mail.documents.documents import start_document
from mail.incoming import flow, intake
from mail.queue.lease import WorkerLease
from mail.sentences import say
from mail.settings import office, parameters
from mail.settings.tokens import TokenKind
from mail.transport.mailbox import FetchedMail
from models import (
    Alias,
    Blob,
    Contact,
    Document,
    DocumentType,
    Follower,
    OutgoingMail,
    Post,
    ReceivedMail,
    Recipient,
    User,
    db,
)

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
DOMAIN = "mycompany.test"

_serial = count(1)


def mail(
    sender: str = "Ann Lee <ann@customer.test>",
    to: str = f"sales@{DOMAIN}",
    subject: str = "Need a quote",
    text: str = "Hello, what does it cost?",
    *,
    html: str = "",
    message_id: str | None = None,
    answers: Sequence[str] = (),
    files: Sequence[tuple[str, bytes]] = (),
    **headers: str,
) -> bytes:
    """Return a mail as a customer's program writes it. Further headers: ``Auto_Submitted="auto-replied"``."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, to, subject
    message["Date"] = "Sun, 22 Nov 2026 09:30:00 +0000"
    message["Message-ID"] = message_id or f"<{next(_serial)}.{id(message)}@customer.test>"
    if answers:
        message["In-Reply-To"] = answers[-1]
        message["References"] = " ".join(answers)
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    message.set_content(text)
    if html:
        message.add_alternative(html, subtype="html")
    for name, content in files:
        message.add_attachment(content, maintype="application", subtype="octet-stream", filename=name)
    return message.as_bytes()


def delivery_report(
    recipient: str, returned: bytes, *, action: str = "failed", status: str = "5.1.1", said: str = "no such user",
    to: str = f"bounce@{DOMAIN}",
) -> bytes:  # fmt: skip
    """Return a report (RFC 3464) as Postfix writes it about a mail that it could not deliver."""
    head = returned.partition(b"\r\n\r\n")[0].decode()
    return (
        f"Return-Path: <>\r\nFrom: MAILER-DAEMON@mx.test (Mail Delivery System)\r\nTo: {to}\r\n"
        "Subject: Undelivered Mail Returned to Sender\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
        f"Date: Sun, 22 Nov 2026 09:50:00 +0000\r\nMessage-ID: <report{next(_serial)}@mx.test>\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="B"\r\n\r\n'
        f"--B\r\nContent-Type: text/plain\r\n\r\nI could not deliver your mail.\r\n\r\n"
        f"--B\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.test\r\n\r\n"
        f"Final-Recipient: rfc822; {recipient}\r\nAction: {action}\r\nStatus: {status}\r\n"
        f"Diagnostic-Code: smtp; 550 {status} {said}\r\n\r\n"
        f"--B\r\nContent-Type: text/rfc822-headers\r\n\r\n{head}\r\n\r\n--B--\r\n"
    ).encode()


class SteadyWorker(WorkerLease):
    """A worker whose heart beats whenever it is asked whether it lives; a real one has a thread for that."""

    def assert_alive(self) -> None:
        self.heartbeat()


def steady_worker(moment: datetime) -> WorkerLease:
    """Return a new worker that lives however long a test takes; call it in a context of the application."""
    return SteadyWorker(WorkerLease.register(moment).id)


@dataclass
class FrontDesk:
    """An office on a new database; each method is a unit of work of its own."""

    app: Flask
    now: datetime = NOW

    def __post_init__(self) -> None:
        with self.app.app_context():
            parameters.put("mail.catchall.domain", DOMAIN, NOW)
            parameters.put("mail.default.from", "notifications", NOW)
            for alias in db.session.scalars(select(Alias)):
                db.session.delete(alias)
            db.session.flush()
            types = {row.code: row.id for row in db.session.execute(select(DocumentType.code, DocumentType.id))}
            rows = [("catchall", "catchall", None), ("bounce", "bounce", None), ("alias", "sales", "opportunity")]
            for role, local, code in [*rows, ("alias", "orders", "sales_order"), ("alias", "support", "ticket")]:
                db.session.add(
                    Alias(
                        role=role,
                        local_part=local,
                        address_key=f"{local}@{DOMAIN}",
                        type_id=types[code] if code else None,
                    )
                )
            db.session.commit()
            self.types = types
            self.worker = self.hire()

    def hire(self) -> WorkerLease:
        """Return a new worker; call it in a context of the application."""
        return steady_worker(NOW)

    def later(self, **span: float) -> datetime:
        """Move the business time of what follows."""
        self.now += timedelta(**span)
        return self.now

    # --- people and documents

    def user(self, name: str, notify: str = "mail", active: bool = True, role: str = "user") -> User:
        """Return a user of the office (detached)."""
        key = f"{name.lower()}@home.test"
        with self.app.app_context():
            contact = Contact(name=name, address=key, address_key=key)
            db.session.add(contact)
            db.session.flush()
            user = User(
                contact_id=contact.id,
                email=key,
                fs_uniquifier=f"u{next(_serial)}",
                notify=notify,
                active=active,
                role=role,
            )
            db.session.add(user)
            db.session.commit()
            db.session.refresh(user)
            _ = user.contact.name
            db.session.expunge_all()
            return user

    def contact(self, address: str, name: str = "", active: bool = True) -> int:
        with self.app.app_context():
            contact = Contact(name=name, address=address, address_key=address.lower(), active=active)
            db.session.add(contact)
            db.session.commit()
            return contact.id

    def document(
        self, title: str = "Need a quote", followers: Sequence[int] = (), code: str = "opportunity"
    ) -> Document:
        """Return a document (detached) whose followers are these contacts."""
        with self.app.app_context():
            kind = db.session.get(DocumentType, self.types[code])
            assert kind is not None
            document = start_document(kind, title, self.now)
            for contact_id in followers:
                posts.follow(document.thread_id, contact_id)
            db.session.commit()
            db.session.refresh(document)
            db.session.expunge_all()
            return document

    def follow(self, thread_id: int, *contacts: int) -> None:
        with self.app.app_context():
            for contact_id in contacts:
                posts.follow(thread_id, contact_id)
            db.session.commit()

    def post(
        self, user: User, thread_id: int, html: str = "<p>Here it is.</p>", kind: str = "message", files: Any = ()
    ) -> Post:
        """Let a user write in a thread; the post is detached."""
        with self.app.app_context():
            post = db.session.get_one(Post, posts.post_from_browser(user, thread_id, html, kind, files, self.now))
            db.session.expunge_all()
            return post

    def set_alias(self, local: str, **values: Any) -> None:
        with self.app.app_context():
            alias = db.session.scalar(select(Alias).where(Alias.local_part == local))
            assert alias is not None
            for name, value in values.items():
                setattr(alias, name, value)
            db.session.commit()

    def set_parameter(self, key: str, value: str) -> None:
        with self.app.app_context():
            parameters.put(key, value, self.now)
            db.session.commit()

    # --- mails

    def receive(self, *raws: bytes, source: str = "practice") -> list[ReceivedMail]:
        """Let mails come in together and be understood; return their rows of the ledger (detached)."""
        with self.app.app_context():
            fetched = [FetchedMail(f"k{next(_serial)}", len(raw), None, raw) for raw in raws]
            kept = intake.keep(source, fetched, self.now)
            flow.process_waiting(self.now, self.worker)
            while flow.process_put_off(self.now, self.worker):
                pass
            return self.ledger([one.id for one in kept])

    def ledger(self, ids: Sequence[int] | None = None) -> list[ReceivedMail]:
        with self.app.app_context():
            found = select(ReceivedMail).order_by(ReceivedMail.id)
            rows = list(db.session.scalars(found.where(ReceivedMail.id.in_(ids)) if ids is not None else found))
            db.session.expunge_all()
            return rows

    def states(self) -> Counter[str]:
        return Counter(row.state for row in self.ledger())

    # --- what came of it

    def documents(self, code: str | None = None) -> list[Document]:
        with self.app.app_context():
            found = select(Document).order_by(Document.id)
            rows = list(db.session.scalars(found.where(Document.type_id == self.types[code]) if code else found))
            for row in rows:
                _ = row.contact and row.contact.name
            db.session.expunge_all()
            return rows

    def posts(self, thread_id: int) -> list[Post]:
        with self.app.app_context():
            rows = list(db.session.scalars(select(Post).where(Post.thread_id == thread_id).order_by(Post.id)))
            for row in rows:
                _ = (row.attachments, row.author and row.author.name)
            db.session.expunge_all()
            return rows

    def followers(self, thread_id: int) -> dict[str, str]:
        """Return the address of each follower, and why it follows."""
        with self.app.app_context():
            rows = db.session.execute(
                select(Contact.address_key, Follower.why)
                .join(Contact, Contact.id == Follower.contact_id)
                .where(Follower.thread_id == thread_id)
            )
            return {row.address_key: row.why["code"] for row in rows}

    def sent(self, **of: Any) -> list["SentMail"]:
        """Return the mails in the queue, oldest first: ``sent(kind="rejection")``, ``sent(post_id=3)``."""
        with self.app.app_context():
            found = select(OutgoingMail).filter_by(**of).order_by(OutgoingMail.id)
            mails = []
            for row in db.session.scalars(found):
                lines = {line.address_key: line.id for line in row.lines}
                mails.append(
                    SentMail(
                        id=row.id,
                        message_id=row.message_id,
                        subject=row.subject,
                        author=row.author,
                        from_header=row.from_header,
                        reply_to=row.reply_to,
                        lines=lines,
                        states={line.state for line in row.lines},
                        content=Blob.read(row.content_blob_id),
                    )
                )
            db.session.rollback()
            return mails

    def on_the_wire(self, address: str) -> bytes:
        """Return the last mail to an address, as its server gets it."""
        with self.app.app_context():
            line = db.session.scalar(
                select(Recipient).where(Recipient.address_key == address).order_by(Recipient.id.desc())
            )
            assert line is not None
            token = office.tokens().make(TokenKind.LINE, line.id)
            head = f"From: {line.mail.from_header}\r\nTo: {line.address}\r\nX-CoquiMail-Id: {token}\r\n"
            head += f"Message-ID: {line.mail.message_id}\r\n"
            content = head.encode() + Blob.read(line.mail.content_blob_id)
            db.session.rollback()
            return content

    def mark_sent(self) -> None:
        """Let every waiting line be accepted by its server."""
        with self.app.app_context():
            for line in db.session.scalars(select(Recipient).where(Recipient.state == "queued")):
                line.state, line.sent_at = "sent", self.now
            db.session.commit()


@dataclass(frozen=True)
class SentMail:
    """A mail in the queue, as plain values. ``lines``: each recipient's key and the number of its line."""

    id: int
    message_id: str
    subject: str
    author: str
    from_header: str
    reply_to: str
    lines: dict[str, int]
    states: set[str]
    content: bytes

    @property
    def to(self) -> set[str]:
        return set(self.lines)

    @property
    def headers(self) -> dict[str, str]:
        """The headers of its content, unfolded."""
        return {name: " ".join(value.split()) for name, value in message_from_bytes(self.content).items()}

    @property
    def text(self) -> str:
        """Its text part."""
        body = message_from_bytes(self.content, policy=policy.default).get_body(("plain",))
        return body.get_content() if body else ""


def sentences(row: ReceivedMail | Document) -> list[str]:
    """Return the decision of a mail in words."""
    return [say(step) for step in row.decision or []]  # type: ignore[union-attr]


@contextmanager
def counted_statements(app: Flask) -> Iterator[list[str]]:
    """Collect every SQL statement that is executed inside, savepoints included.

    The frame of a transaction does not count, nor does the NOTIFY behind it that wakes the worker.
    """
    statements: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if not statement.startswith(("PRAGMA", "BEGIN", "SET TRANSACTION", "SELECT pg_notify")):
            statements.append(statement)

    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", note)


def stored(content: bytes) -> Blob | None:
    """Return the row of these bytes, if they are stored."""
    return db.session.scalar(select(Blob).where(Blob.sha256 == hashlib.sha256(content).hexdigest()))

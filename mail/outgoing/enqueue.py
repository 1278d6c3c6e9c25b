"""FLOW from a draft to lines in the queue: choose the server -> From -> compose -> pack | lines.

What comes before the bar takes time and no transaction waits for it: ``prepare``. The rest is inserted, many at once.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, Self

from sqlalchemy import select

from mail.decide.sender import AuthorIs, Decision, Request, decide
from mail.message.address import normalise
from mail.message.compose import AutoSubmitted, Draft, File, compose
from mail.outgoing.delivery_state import mark_failures
from mail.sentences import Why, why
from mail.settings import office, parameters
from mail.settings.office import Snapshot
from mail.settings.tokens import TokenKind
from models import Blob, OutgoingMail, Recipient, db, reading, writing
from models.store import Packed, insert_rows, pack

# --- from a draft to lines in the queue


@dataclass(frozen=True, slots=True)
class To:
    """Somebody who gets a mail; ``address`` as it is written to."""

    address: str
    name: str = ""
    contact_id: int | None = None


@dataclass(frozen=True, slots=True)
class OutgoingDraft:
    """A mail before anything is decided. ``author`` is the From as its writer has it: "Name <address>".

    ``text`` None: derived from ``html``. A mail of a document has its ``title`` and ``type_id``: replies go to the
    alias of that type. ``reply_to`` and ``return_path`` ("<>" for none) are what the mail was given.
    """

    kind: Literal["post", "rejection", "digest", "test"]
    author: str
    subject: str
    html: str = ""
    text: str | None = None
    files: Sequence[File] = ()
    references: Sequence[str] = ()
    has_document: bool = False
    author_is: AuthorIs = "verified"
    title: str = ""
    type_id: int | None = None
    reply_to: str = ""
    return_path: str = ""
    forced_server_id: int | None = None
    auto_submitted: AutoSubmitted | None = None
    headers: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class ReadyMail:
    """A mail that is decided, composed and packed: its columns, its content, why it can't be sent, and to whom.

    ``domain`` is the domain of its Message-ID.
    """

    values: dict[str, Any]
    content: Packed
    failure: Why | None
    recipients: Sequence[To]
    domain: str

    def of_post(self, post_id: int) -> Self:
        """Return it as the mail of a post that has its number now.

        Its Message-ID is made of the number, so no post can be queued twice.
        """
        message_id = office.tokens().message_id(TokenKind.POST, post_id, self.domain)
        return replace(self, values=self.values | {"post_id": post_id, "message_id": message_id})


def enqueue(
    draft: OutgoingDraft, recipients: Sequence[To], now: datetime, scheduled_at: datetime | None = None
) -> OutgoingMail:
    """Put a mail into the queue, with a line per recipient, commit, and return it; the caller wakes the worker.

    What can't be sent (no server, no From, too large) becomes lines that failed and say why. Call it with nothing to
    be written: it is composed while nobody waits for the database.
    """
    with reading():
        ready = prepare(draft, recipients, now, scheduled_at)
    with writing():
        enqueue_many([ready], now)
        db.session.commit()
    return db.session.scalars(select(OutgoingMail).where(OutgoingMail.message_id == ready.values["message_id"])).one()


def enqueue_many(mails: Sequence[ReadyMail], now: datetime) -> list[int]:
    """Put prepared mails into the queue as ``enqueue`` does, in four statements, and return their ids, in their order.

    The caller commits, then wakes.
    """
    blobs = Blob.keep([mail.content for mail in mails])
    rows = [{**mail.values, "content_blob_id": blob} for mail, blob in zip(mails, blobs, strict=True)]
    known = {row.message_id: row.id for row in insert_rows(OutgoingMail, rows, "id", "message_id")}
    ids = [known[mail.values["message_id"]] for mail in mails]
    _add_lines(list(zip(ids, mails, strict=True)), now)
    return ids


def prepare(
    draft: OutgoingDraft,
    recipients: Sequence[To],
    now: datetime,
    scheduled_at: datetime | None = None,
    decision: Decision | None = None,
) -> ReadyMail:
    """Decide, compose and pack a mail: to be done before the transaction that puts it into the queue."""
    snapshot = office.load()
    decision = decision or decide(request_of(draft, snapshot), snapshot.servers, snapshot.office)
    domain = snapshot.message_domain_of(decision)
    content = compose(
        Draft(
            subject=draft.subject,
            date=scheduled_at or now,
            html=draft.html,
            text=draft.text,
            reply_to=decision.reply_to,
            references=draft.references,
            auto_submitted=draft.auto_submitted,
            suppress_auto_replies=True,
            attachments=draft.files,
            headers=draft.headers,
        )
    )
    values = {
        "kind": draft.kind,
        "post_id": None,
        "subject": draft.subject[:500],
        "author": draft.author[:400],
        "message_id": _random_id(draft, domain),
        "size": len(content),
        "forced_server_id": draft.forced_server_id,
        "return_path": draft.return_path,
        "scheduled_at": scheduled_at,
        "created_at": now,
        **decision_columns(decision),
    }
    return ReadyMail(values, pack(content), decision.failure or too_large(len(content)), recipients, domain)


def request_of(draft: OutgoingDraft, snapshot: Snapshot) -> Request:
    """Return what is decided about a mail."""
    return Request(
        sender=draft.author,
        author_is=draft.author_is,
        reply_to=draft.reply_to,
        return_path=draft.return_path,
        forced_server=draft.forced_server_id,
        document=draft.title if draft.has_document else None,
        aliases=snapshot.aliases.get(draft.type_id or 0, ()),
    )


def _random_id(draft: OutgoingDraft, domain: str) -> str:
    """A Message-ID for a mail of the system itself; that of a post gets another one."""
    kind = TokenKind.LOOP if draft.kind == "rejection" else TokenKind.MAIL
    return office.tokens().message_id(kind, secrets.randbits(62), domain)


def _add_lines(mails: Sequence[tuple[int, ReadyMail]], now: datetime) -> None:
    """Add the lines of new mails; posts with a line that failed at once are marked."""
    lines: list[dict[str, Any]] = []
    failed: list[int] = []
    for mail_id, mail in mails:
        of_mail = _lines(mail_id, mail, now)
        lines += of_mail
        post_id = mail.values["post_id"]
        if post_id is not None and any(line["state"] == "failed" for line in of_mail):
            failed.append(post_id)
    insert_rows(Recipient, lines)
    mark_failures(failed, now)


def too_large(size: int) -> Why | None:
    """Return why an email of so many octets may not be sent, None when it may."""
    limit = parameters.MAX_SIZE.get()
    if size <= limit * 1_000_000:
        return None
    return why("larger_than_allowed", size=round(size / 1_000_000, 1), limit=limit)


def decision_columns(decision: Decision) -> dict[str, Any]:
    """The columns of a mail that a decision fills."""
    return {
        "server_id": decision.server_id,
        "from_header": decision.from_after[:1000],
        "reply_to": decision.reply_to[:1000],
        "envelope_sender": decision.envelope_sender,
        "decision": decision.as_json(),
    }


def waits_for_server(failure: Why | None) -> bool:
    """Say whether a decision failed only because there is no server: such a mail waits until there is one."""
    return failure is not None and failure["code"] == "no_server"


def _lines(mail_id: int, mail: ReadyMail, now: datetime) -> list[dict[str, Any]]:
    failure, scheduled_at = mail.failure, mail.values["scheduled_at"]
    lines: dict[str, dict[str, Any]] = {}
    for to in mail.recipients:
        key = normalise(to.address)
        reason = failure or (None if key else why("address_unusable", address=to.address))
        lines.setdefault(
            key or to.address,
            {
                "mail_id": mail_id,
                "server_id": mail.values["server_id"] or 0,
                "contact_id": to.contact_id,
                "name": to.name[:200],
                "address": to.address[:320],
                "address_key": (key or to.address)[:320],
                "state": "failed" if reason and not waits_for_server(reason) else "queued",
                "wait": "schedule" if scheduled_at and (not reason or waits_for_server(reason)) else "",
                "next_try_at": scheduled_at or now,
                "why": reason,
            },
        )
    return list(lines.values())

"""What a person does with an email in quarantine."""

from datetime import datetime

from sqlalchemy import select

from mail.decide.routing import NewDocument, Outcome, PostTo, Rejected, Routing
from mail.incoming import apply
from mail.incoming.apply import Retention
from mail.incoming.flow import route_group, write_group
from mail.incoming.lookup import load_threads
from mail.sentences import Why, why
from models import (
    Blob,
    Document,
    Event,
    IncomingServer,
    ReceivedMail,
    db,
    reading,
)

PROBLEMS = ("mailbox_mail_too_large", "mailbox_mail_unreadable")  # why only the header of a mail was brought


class NotInQuarantine(LookupError):
    """The mail is not in quarantine (any more): somebody else was quicker."""


def retry(received_id: int, now: datetime) -> str:
    """Route a mail anew by the rules as they are now; return the state it comes to. Commits."""
    return _again(received_id, None, now)


def route_to_document(received_id: int, document_id: int, now: datetime) -> str:
    """Post a mail from quarantine in the chatter of a document; return the state it comes to. Commits."""
    document = db.session.get(Document, document_id)
    if document is None:
        raise LookupError(f"document {document_id}")
    step = why("quarantine_routed_document", number=document.number)
    return _again(received_id, (PostTo(document.thread_id, alias_id=0), step), now)


def route_to_type(received_id: int, type_id: int, now: datetime) -> str:
    """Open a new document of a type for a mail from quarantine; return the state it comes to. Commits."""
    return _again(received_id, (NewDocument(type_id), why("quarantine_routed_type")), now)


def reject(received_id: int, text: str, now: datetime) -> str:
    """Answer a mail from quarantine with a text of ours; return the state it comes to. Commits."""
    step = why("quarantine_rejected")
    return _again(received_id, (Rejected(step, "quarantine_answer", text=text.strip()), step), now)


def drop(received_id: int, now: datetime) -> str:
    """Take a mail out of quarantine for good, unread by anybody; return its state. Commits."""
    row = _quarantined(received_id)
    row.state, row.processed_at = "ignored", now
    row.decision = [*(row.decision or []), why("quarantine_dropped")]
    Event.add(["incoming"], now)
    db.session.commit()
    return "ignored"


def _quarantined(received_id: int) -> ReceivedMail:
    found = select(ReceivedMail).where(ReceivedMail.id == received_id, ReceivedMail.state == "quarantined")
    row = db.session.scalar(found.with_for_update())
    if row is None:
        db.session.rollback()
        raise NotInQuarantine(f"received mail {received_id}")
    return row


def _again(received_id: int, forced: tuple[Outcome, Why] | None, now: datetime) -> str:
    """Take a mail from quarantine through the flow again, to where a person says or by the rules."""
    row = _quarantined(received_id)
    arrived_at = row.arrived_at
    before, problem = list(row.decision or []), None
    if forced is None and before and before[0]["code"] in PROBLEMS:
        problem = before[0]
    raw = Blob.read(row.blob_id) if row.blob_id is not None else b""
    server = db.session.get(IncomingServer, row.incoming_server_id) if row.incoming_server_id else None
    keeps = Retention(server.action_type_id, server.keep_attachments, server.keep_original) if server else Retention()
    db.session.rollback()
    case = apply.read(received_id, raw, keeps, now, arrived_at, problem)
    group, context = route_group([case], now)
    if forced is not None:
        case.routing = Routing((forced[0],), (*before, forced[1]))
        with reading():
            load_threads(context, [case.routing])
    reopened = _quarantined(received_id)  # and locked until it is filed: it never waits where a worker would take it
    reopened.state = "received"
    db.session.flush()
    return case.routing.state if write_group(group, context, now, last_try=True) else "quarantined"

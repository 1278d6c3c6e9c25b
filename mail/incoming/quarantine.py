"""What a person does with an email in quarantine."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Update, func, literal_column, select, update

from mail.decide.answer import AnswerTo, answer_to
from mail.decide.outcomes import NewDocument, Outcome, PostTo, Rejected, Routing
from mail.decide.trust import trust
from mail.incoming import intake
from mail.incoming.answers import BY_HAND
from mail.incoming.case import Retention, read_case
from mail.incoming.flow import route_group, write_group
from mail.incoming.lookup import load_threads
from mail.incoming.people import address_book
from mail.incoming.retention import retention_of_others
from mail.message.parse import IncomingMessage
from mail.sentences import Why, why
from mail.settings.wake import wake
from mail.transport.mailbox import NOT_GIVEN
from models import (
    Blob,
    Document,
    Event,
    IncomingServer,
    ReceivedMail,
    ServerCheck,
    change_rows,
    db,
    reading,
)

ASKED = "asked"  # its server is asked for the mail again
PROBLEMS = ("mailbox_mail_too_large", *NOT_GIVEN)  # why a mail was not brought, or only its header


class NotInQuarantine(LookupError):
    """The mail is not in quarantine (any more): somebody else was quicker."""


def retry(received_id: int, now: datetime) -> str:
    """Route a mail anew by the rules as they are now; return the state it comes to. Commits.

    One whose server did not give it out is asked for once more: it stays until the worker has fetched it (``ASKED``).
    """
    row = _quarantined(received_id)
    if row.incoming_server_id is None or not {step["code"] for step in row.decision or []} & set(NOT_GIVEN):
        db.session.rollback()
        return _again(received_id, None, now)
    row.result, row.attempts = intake.NOT_BROUGHT, 0
    row.decision = [step for step in row.decision or [] if step["code"] != "mailbox_mail_asked_again"]
    row.decision = [*row.decision, why("mailbox_mail_asked_again")]
    _ask_for_fetch(row.incoming_server_id, now)
    Event.add(["incoming"], now)
    db.session.commit()
    wake("check")
    return ASKED


def _ask_for_fetch(server_id: int, now: datetime) -> None:
    waits = (ServerCheck.kind == "fetch", ServerCheck.server_id == server_id, ServerCheck.state == "waiting")
    if db.session.scalar(select(ServerCheck.id).where(*waits).limit(1)) is None:
        db.session.add(ServerCheck(kind="fetch", server_id=server_id, requested_at=now, steps=[]))


def route_to_document(received_id: int, document_id: int, now: datetime) -> str:
    """Post a mail from quarantine in the chatter of a document; return the state it comes to. Commits."""
    document = db.session.get(Document, document_id)
    if document is None:
        raise LookupError(f"document {document_id}")
    step = why("quarantine_routed_document", number=document.number)
    return _again(received_id, (PostTo(document.thread_id, alias_id=0, follow=True), step), now)


def route_to_type(received_id: int, type_id: int, now: datetime) -> str:
    """Open a new document of a type for a mail from quarantine; return the state it comes to. Commits."""
    return _again(received_id, (NewDocument(type_id), why("quarantine_routed_type")), now)


def reject(received_id: int, text: str, now: datetime) -> str:
    """Answer a mail from quarantine with a text of ours; return the state it comes to. Commits."""
    step = why("quarantine_rejected")
    return _again(received_id, (Rejected(step, BY_HAND, text=text.strip()), step), now)


def answer_of(message: IncomingMessage) -> AnswerTo:
    """Return to whom a rejection of a mail goes, or why nobody gets one."""
    return answer_to(message, address_book()[0])


def drop(received_id: int, now: datetime) -> str:
    """Take a mail out of quarantine for good, unread by anybody; return its state. Commits."""
    row = _quarantined(received_id)
    row.state, row.held, row.unknown_address, row.processed_at = "ignored", "", "", now
    row.decision = [*(row.decision or []), why("quarantine_dropped")]
    Event.add(["incoming"], now)
    db.session.commit()
    return "ignored"


# --- what the loop brake holds: one group for each sender and place


@dataclass(frozen=True, slots=True)
class HeldGroup:
    """Mails of one sender to one place (``held``: the target of a route), which look like a loop."""

    sender: str
    held: str
    count: int
    first_at: datetime
    last_at: datetime


def held_groups() -> Sequence[HeldGroup]:
    """Return the groups that wait for a person, the largest first."""
    count = func.count()
    rows = db.session.execute(
        select(
            ReceivedMail.from_key,
            ReceivedMail.held,
            count.label("n"),
            func.min(ReceivedMail.arrived_at).label("first_at"),
            func.max(ReceivedMail.arrived_at).label("last_at"),
        )
        .where(ReceivedMail.held != literal_column("''"), ReceivedMail.state == "quarantined")
        .group_by(ReceivedMail.from_key, ReceivedMail.held)
        .order_by(count.desc())
    )
    return [HeldGroup(row.from_key or "", row.held, row.n, row.first_at, row.last_at) for row in rows]


def take_all(sender: str, held: str, now: datetime) -> int:
    """Let a whole group pass the loop brake; return how many go on, by the worker. Commits, then call ``wake()``."""
    taken = change_rows(_of_group(sender, held).values(state="received", decision=None, worker_id=None, attempts=0))
    Event.add(["incoming"], now)
    db.session.commit()
    return taken


def drop_all(sender: str, held: str, now: datetime) -> int:
    """Take a whole group out of quarantine for good, unread by anybody; return how many. Commits."""
    reason = [why("quarantine_dropped")]
    dropped = change_rows(_of_group(sender, held).values(state="ignored", held="", decision=reason, processed_at=now))
    Event.add(["incoming"], now)
    db.session.commit()
    return dropped


def _of_group(sender: str, held: str) -> Update:
    is_sender = ReceivedMail.from_key == sender if sender else ReceivedMail.from_key.is_(None)
    of_group = (ReceivedMail.state == "quarantined", ReceivedMail.held == held, is_sender)
    return update(ReceivedMail).where(ReceivedMail.held != literal_column("''"), *of_group)


# --- one mail again


def _quarantined(received_id: int, lock: bool = True) -> ReceivedMail:
    found = select(ReceivedMail).where(ReceivedMail.id == received_id, ReceivedMail.state == "quarantined")
    row = db.session.scalar(found.with_for_update() if lock else found)
    if row is None:
        db.session.rollback()
        raise NotInQuarantine(f"received mail {received_id}")
    return row


def _again(received_id: int, forced: tuple[Outcome, Why] | None, now: datetime) -> str:
    """Take a mail from quarantine through the flow again, to where a person says or by the rules."""
    db.session.rollback()  # nobody waits for the database while the mail is read
    with reading():
        row = _quarantined(received_id, lock=False)
        arrived_at, held = row.arrived_at, row.held
        before, problem = list(row.decision or []), None
        if forced is None and before and before[0]["code"] in PROBLEMS:
            problem = before[0]
        raw = Blob.read(row.blob_id) if row.blob_id is not None else b""
        server = db.session.get(IncomingServer, row.incoming_server_id) if row.incoming_server_id else None
        keeps = Retention.of(server) if server is not None else retention_of_others(row.source)
    case = read_case(received_id, raw, keeps, now, arrived_at, problem)
    case.released = held  # whoever asks for it again means that it is no loop
    group, context = route_group([case], now)
    if forced is not None:
        answer = answer_to(case.message, context.book) if isinstance(forced[0], Rejected) else AnswerTo()
        steps = [*before, forced[1], *([answer.why_not] if answer.why_not else [])]
        believed = trust(case.message, case.asked, context.facts(case))
        case.routing = Routing((forced[0],), tuple(steps), (), answer.address, believed.mark, believed.reason)
        with reading():
            load_threads(context, [case.routing])
    written = write_group(group, context, now, last_try=True, state="quarantined")
    return case.routing.state if written else "quarantined"

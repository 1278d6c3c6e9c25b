"""What a person does with an email in quarantine."""

from datetime import datetime

from sqlalchemy import select

from mail.decide.answer import AnswerTo, answer_to
from mail.incoming import forwarding, ledger
from mail.incoming.answers import TooManyAnswers
from mail.incoming.case import Retention, read_case
from mail.incoming.flow import give_up, route_group, write_group
from mail.incoming.people import address_book
from mail.incoming.position import NOT_BROUGHT
from mail.incoming.quarantine_groups import DROPPED_STATE, kept_problem, release
from mail.incoming.reader import is_heavy
from mail.incoming.retention import retention_of_others
from mail.message.parse import IncomingMessage
from mail.sentences import Why, why
from mail.settings.wake import wake
from mail.transport.mailbox import NOT_GIVEN
from models import (
    Blob,
    Event,
    IncomingServer,
    ReceivedMail,
    ServerCheck,
    db,
    reading,
)
from models.contents import delete_unused
from models.faults import keeps_waiting

ASKED = "asked"  # its server is asked for the mail again


class NotInQuarantine(LookupError):
    """The mail is not in quarantine (any more): somebody else was quicker."""


def retry(received_id: int, now: datetime) -> str:
    """Route a mail anew by the rules as they are now; return the state it comes to. Commits.

    One that takes long to be read is left to the worker (``"received"``): call ``wake("received")`` then.
    One whose server did not give it out is asked for once more: it stays until the worker has fetched it (``ASKED``).
    """
    if state := _ask_again(_quarantined(received_id), now):
        return state
    db.session.rollback()
    return _again(received_id, None, now)


def retry_later(received_id: int, now: datetime) -> str:
    """Let the worker do what ``retry`` does: it may take long. Commits, then call ``wake("received")``."""
    if state := _ask_again(_quarantined(received_id), now):
        return state
    return _leave_to_worker(received_id, None, now)


def _ask_again(row: ReceivedMail, now: datetime) -> str:
    """Ask a server once more for a mail that it did not give out, and commit; "" for any other mail.

    One whose mailbox is another one by now stays, and says so: its number means nothing there.
    """
    if not {step["code"] for step in row.decision or []} & set(NOT_GIVEN):
        return ""
    server = db.session.get(IncomingServer, row.incoming_server_id) if row.incoming_server_id else None
    if server is None or server.source != row.source:
        row.result, row.decision = "", [why("mailbox_mail_left_behind")]
        db.session.commit()
        return "quarantined"
    row.result, row.attempts = NOT_BROUGHT, 0
    former = ("mailbox_mail_asked_again", "mailbox_mail_no_longer_asked")
    row.decision = [step for step in row.decision or [] if step["code"] not in former]
    row.decision = [*row.decision, why("mailbox_mail_asked_again")]
    _ask_for_fetch(server.id, now)
    Event.add(["incoming"], now)
    db.session.commit()
    wake("check")
    return ASKED


def _ask_for_fetch(server_id: int, now: datetime) -> None:
    waits = (ServerCheck.kind == "fetch", ServerCheck.server_id == server_id, ServerCheck.state == "waiting")
    if db.session.scalar(select(ServerCheck.id).where(*waits).limit(1)) is None:
        db.session.add(ServerCheck(kind="fetch", server_id=server_id, requested_at=now, steps=[]))


def decide(received_id: int, step: Why, now: datetime) -> str:
    """Do with a mail from quarantine what a person chose (``by_hand``); return the state it comes to. Commits.

    One that its server did not give out stays: there is nothing to file, and nobody would ask for it any more.
    """
    return _again(received_id, step, now) if _is_here(received_id) else "quarantined"


def decide_later(received_id: int, step: Why, now: datetime) -> str:
    """Let the worker do what ``decide`` does: it may take long. Commits, then call ``wake("received")``."""
    return _leave_to_worker(received_id, step, now) if _is_here(received_id) else "quarantined"


def answer_of(message: IncomingMessage) -> AnswerTo:
    """Return to whom a rejection of a mail goes, or why nobody gets one."""
    return answer_to(message, address_book()[0])


def drop(received_id: int, now: datetime) -> str:
    """Take a mail out of quarantine for good, unread by anybody; return its state. Commits."""
    row = _quarantined(received_id)
    state: str = db.session.scalars(select(DROPPED_STATE).where(ReceivedMail.id == row.id)).one()
    row.state, row.held, row.unknown_address, row.processed_at = state, "", "", now
    row.decision = [*(row.decision or []), why("quarantine_dropped")]
    unwanted = ledger.let_go_of_discarded([row.id])
    forwarding.decided([row.id], now)
    Event.add(["incoming"], now)
    db.session.commit()
    delete_unused(unwanted)
    return state


# --- one mail again


def _quarantined(received_id: int, lock: bool = True) -> ReceivedMail:
    found = select(ReceivedMail).where(ReceivedMail.id == received_id, ReceivedMail.state == "quarantined")
    row = db.session.scalar(found.with_for_update() if lock else found)
    if row is None:
        db.session.rollback()
        raise NotInQuarantine(f"received mail {received_id}")
    return row


def _again(received_id: int, step: Why | None, now: datetime) -> str:
    """Take a mail from quarantine through the flow again, to where a person says or by the rules.

    One that takes long to be read is left to the worker, with the step that says where to: it is "received" again.
    """
    db.session.rollback()  # nobody waits for the database while the mail is read
    with reading():
        row = _quarantined(received_id, lock=False)
        arrived_at, held, before = row.arrived_at, row.held, list(row.decision or [])
        raw = Blob.read(row.blob_id) if row.blob_id is not None else b""
        server = db.session.get(IncomingServer, row.incoming_server_id) if row.incoming_server_id else None
        keeps = Retention.of(server) if server is not None else retention_of_others(row.source)
    if is_heavy(raw):
        return _leave_to_worker(received_id, step, now)
    problem = kept_problem(before) if step is None else None
    try:
        mail = read_case(received_id, raw, keeps, now, arrived_at, problem[0] if problem else None)
        mail.released = held  # whoever asks for it again means that it is no loop
        mail.chosen = (*before, step) if step is not None else ()
        context = route_group([mail], now)[1]
    except Exception as error:  # a mistake of ours: the mail stays where it is
        db.session.rollback()
        if keeps_waiting(error):
            raise
        give_up(received_id, error, now, before=[step for step in before if step["code"] != "process_failed"])
        return "quarantined"
    try:
        if not write_group([mail], context, now, last_try=True, state="quarantined"):
            return "quarantined"
    except TooManyAnswers:
        return _again(received_id, step, now)
    if not mail.is_written:
        raise NotInQuarantine(f"received mail {received_id}")
    return mail.routing.state


def _is_here(received_id: int) -> bool:
    with reading():
        return _quarantined(received_id, lock=False).blob_id is not None


def _leave_to_worker(received_id: int, step: Why | None, now: datetime) -> str:
    if not release([ReceivedMail.id == received_id], now, step):
        raise NotInQuarantine(f"received mail {received_id}")
    return "received"

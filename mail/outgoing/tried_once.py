"""FLOW of an email that a test sends through one server, in use or not: decide -> queue -> deliver.

It goes the way of every email, but it is tried once: a person who waits for it wants an answer, not a retry.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from sqlalchemy import select

from mail.decide.sender import Decision, decide
from mail.errors import MailError, NotHandedOver
from mail.outgoing import enqueue
from mail.outgoing.deliver import LineBatch
from mail.outgoing.delivery import Try, deliver_batch, not_tried
from mail.outgoing.enqueue import OutgoingDraft, To
from mail.outgoing.line_results import doubt_of
from mail.queue import quota
from mail.queue.connections import Connections
from mail.queue.journal import Journal
from mail.queue.lease import WorkerLease
from mail.sentences import SENTENCES, Why, why
from mail.settings import office, rehearsal
from mail.settings.clock import now
from mail.transport.smtp import Outcome
from models import OutgoingMail, OutgoingServer, Recipient, db, reading, writing
from models.outgoing import Claimed, claim_line

ReturnsTo = Literal["usual", "plain", "unique"]


@dataclass(frozen=True, slots=True)
class TriedOnce:
    """An email that is queued for one server and held by this worker, with its decision."""

    server_id: int
    is_in_use: bool
    decision: Decision
    reserved: quota.Reservation
    line: Claimed


def begin(
    server_id: int,
    write: Callable[[OutgoingServer | None], tuple[OutgoingDraft, To]],
    worker: WorkerLease,
    taken: Callable[[TriedOnce], None] = lambda mail: None,
    returns_to: ReturnsTo = "usual",
) -> TriedOnce:
    """Queue an email for a server (0: the default server) and take it for this worker; commits.

    ``write`` returns the email, ``taken`` writes down which one it is, in the transaction that takes it. Reports
    about it go to the bounce address that every email gets, or to the ``plain`` one, or to a ``unique`` one whether or
    not those are known to arrive.

    Raises ``NotHandedOver`` with the reason if it can't go: then nothing is queued.
    """
    moment = now()
    with reading():
        goes_on = rehearsal.current()
        if goes_on and goes_on.halts:
            raise NotHandedOver(why("rehearsal_halts"))
        server = db.session.get(OutgoingServer, server_id) if server_id else None
        if server_id and server is None:
            raise NotHandedOver(why("check_server_gone"))
        draft, to = write(server)
        draft = replace(draft, forced_server_id=server_id or None)
        decision = _decide(draft, server_id, returns_to)
        if decision.failure:
            raise NotHandedOver(decision.failure)
        if returns_to != "usual":
            decision.steps.append(why("sent_for_self_test", server=decision.server_name))
        ready = enqueue.prepare(draft, [to], moment, decision=decision)
        is_in_use = server is None or server.active
    if ready.failure:
        raise NotHandedOver(ready.failure)
    with writing():
        reserved = quota.reserve(server_id, 1, moment)
        if reserved.why:
            db.session.rollback()
            raise NotHandedOver(reserved.why)
        enqueue.enqueue_many([ready], moment)
        queued = select(OutgoingMail.id).where(OutgoingMail.message_id == ready.values["message_id"])
        line_id = db.session.scalars(select(Recipient.id).where(Recipient.mail_id == queued.scalar_subquery())).one()
        lines = claim_line(worker.id, line_id, moment)
        if not lines:
            db.session.rollback()
            raise NotHandedOver(why("check_lost"))
        mail = TriedOnce(server_id, is_in_use, decision, reserved, lines[0])
        taken(mail)
        db.session.commit()
    return mail


def deliver(mail: TriedOnce, journal: Journal, worker: WorkerLease, *, counts: bool = True) -> Outcome:
    """Hand the email to its server, record what became of it, and return that; commits.

    ``counts``: a refusal is held against the address of the recipient, as for any email.
    """
    batch = _OneTry(mail, worker, journal, counts)
    with Connections(also_inactive=True) as connections:
        try:
            deliver_batch(batch, connections, journal, worker)
        except MailError as error:
            batch.why = error.why
    for line in list(batch.waiting):
        batch.waiting.remove(line)
        batch.note(line, Try(not_tried(batch.why or why("check_lost"))))
    batch.record()
    batch.give_back_room(mail.reserved)
    assert batch.outcome is not None
    return batch.outcome


class _OneTry(LineBatch):
    """One line that fails where another one would wait."""

    def __init__(self, mail: TriedOnce, worker: WorkerLease, journal: Journal, counts: bool) -> None:
        super().__init__(mail.server_id, [mail.line], worker, journal)
        self.goes_live, self.counts_failures = mail.is_in_use, counts
        self.may_share = counts  # else a refusal is what is to be found out
        self.outcome: Outcome | None = None

    def note(self, line: Claimed, tried: Try) -> None:
        """Keep what became of the line: there is no second try."""
        outcome = tried.outcome
        if outcome.temporary and outcome.code is not None and outcome.why is not None:
            later = why("mail_to_me_deferred", reply=f"{outcome.code} {outcome.text}", cause=outcome.why["code"])
            outcome = outcome._replace(why=later)
        elif outcome.why is not None and outcome.code is None:
            outcome = outcome._replace(why=_without_promise(outcome.why))
        self.outcome = outcome._replace(temporary=False)
        super().note(line, tried._replace(outcome=self.outcome))
        if outcome.in_doubt:
            self._noted[-1][2].update(doubt_of(line.doubts, now(), once=True))

    def put_off(self, line: Claimed, reason: Why, until: datetime) -> None:
        """What another line would wait for is the answer."""
        self.note(line, Try(not_tried(reason)))

    def leave_unsigned(self, line: Claimed, reason: Why) -> None:
        """The same for its key."""
        self.note(line, Try(not_tried(reason)))


def _without_promise(reason: Why) -> Why:
    """Return a reason that does not say that this email will be sent later; who asks for advice finds the cause.

    >>> _without_promise(why("practice_away"))
    {'code': 'once_practice_away', 'values': {'cause': 'practice_away'}}
    >>> _without_promise(why("no_server"))
    {'code': 'no_server', 'values': {}}
    """
    code = f"once_{reason['code']}"
    return why(code, **reason["values"], cause=reason["code"]) if code in SENTENCES else reason


def _decide(draft: OutgoingDraft, server_id: int, returns_to: ReturnsTo) -> Decision:
    """Decide as for any email that must go through this server, as if it were the one in use."""
    snapshot = office.load()
    known = snapshot.office
    if returns_to != "usual":
        ours = {one.bounce_address or "" for one in (known.first, *known.domains)}
        known = replace(known, verp=returns_to == "unique", with_plus=ours)
    request = enqueue.request_of(draft, snapshot)
    if server_id:
        servers = [replace(one, active=True) if one.id == server_id else one for one in snapshot.servers]
        return decide(request, servers, known)
    decision = decide(request, [], known)
    if decision.failure:
        return decision
    return replace(decision, steps=[why("mail_to_me_default", server=decision.server_name), *decision.steps[1:]])

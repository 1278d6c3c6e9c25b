"""What a person does with many emails of the quarantine at once: they go on by the worker, or are taken out for good.

In slices: nobody waits for a group, however large it is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, bindparam, case, exists, func, literal_column, select, update

from mail.incoming import ledger
from mail.sentences import Why, why
from mail.transport.mailbox import NOT_GIVEN
from models import Event, ReceivedMail, RouteResult, db, writing
from models.contents import delete_unused
from models.slices import SliceSize

# Why a mail was not brought, or only its header.
PROBLEMS = ("mailbox_mail_too_large", "mailbox_mail_left_behind", *NOT_GIVEN)
# What is left of a mail that is taken out for good: one that reached some of its places was processed.
DROPPED_STATE = case(
    (exists().where(RouteResult.received_mail_id == ReceivedMail.id, RouteResult.post_id.is_not(None)), "processed"),
    else_="ignored",
)

_LEDGER: Any = ReceivedMail.__table__
_ONE = update(_LEDGER).where(_LEDGER.c.id == bindparam("mail"))
_RELEASED = _ONE.values(
    state="received", decision=bindparam("steps"), worker_id=None, attempts=0, unknown_address=""
)  # ``held`` stays: there it may pass now
_DISCARDED = _ONE.values(
    state=DROPPED_STATE, decision=bindparam("steps"), held="", unknown_address="", processed_at=bindparam("at")
)
_slices = SliceSize(200, least=20, most=500)

Conditions = Sequence[ColumnElement[bool]]


def release(which: Conditions, now: datetime, step: Why | None = None) -> int:
    """Let the worker route the mails of the quarantine that fit, anew or where a person's step says; return how many.

    Commits, then call ``wake("received")``.
    """
    return _change(which, now, lambda rows: _release(rows, step))


def discard(which: Conditions, now: datetime) -> int:
    """Take the mails that fit out of quarantine for good, unread by anybody; return how many. Commits."""
    return _change(which, now, lambda rows: _discard(rows, now))


def _change(which: Conditions, now: datetime, write: Callable[[Sequence[Any]], set[int]]) -> int:
    """Change the mails of the quarantine that fit, slice by slice; ``write`` returns contents nobody needs any more."""
    waiting = select(ReceivedMail.id, ReceivedMail.decision).where(*which, ReceivedMail.state == "quarantined")
    changed, last, unwanted = 0, 0, set[int]()
    with writing():
        while True:
            with _slices.slice() as size:
                some = waiting.where(ReceivedMail.id > last).order_by(ReceivedMail.id).limit(size)
                rows = db.session.execute(some.with_for_update()).all()
                if rows:
                    unwanted = write(rows)
                    Event.add(["incoming"], now)
                db.session.commit()
            delete_unused(unwanted)
            changed += len(rows)
            if len(rows) < size:
                return changed
            last = rows[-1].id


def _release(rows: Sequence[Any], step: Why | None) -> set[int]:
    values = [
        {"mail": row.id, "steps": [*(row.decision or []), step] if step else kept_problem(row.decision)} for row in rows
    ]
    db.session.connection().execute(_RELEASED, values)
    return set()


def _discard(rows: Sequence[Any], now: datetime) -> set[int]:
    dropped = why("quarantine_dropped")
    values = [{"mail": row.id, "steps": [*(row.decision or []), dropped], "at": now} for row in rows]
    db.session.connection().execute(_DISCARDED, values)
    return ledger.let_go_of_discarded([row.id for row in rows])


def kept_problem(decision: Sequence[Why] | None) -> list[Why] | None:
    """Return what stays of a decision when its mail is routed anew: why only its header is here."""
    return [step for step in decision or () if step["code"] in PROBLEMS][:1] or None


# --- what the loop brake holds: one group for each sender and place


@dataclass(frozen=True, slots=True)
class HeldGroup:
    """Mails of one sender to one place (``held``: the target of a route), which look like a loop."""

    sender: str
    held: str
    count: int
    first_at: datetime
    last_at: datetime


_IS_HELD = ReceivedMail.held != literal_column("''")  # as the index has it


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
        .where(_IS_HELD, ReceivedMail.state == "quarantined")
        .group_by(ReceivedMail.from_key, ReceivedMail.held)
        .order_by(count.desc())
    )
    return [HeldGroup(row.from_key or "", row.held, row.n, row.first_at, row.last_at) for row in rows]


def take_held(sender: str, held: str, now: datetime) -> int:
    """Let a whole group pass the loop brake; return how many go on, by the worker. Commits, then call ``wake``."""
    return release(_of_group(sender, held), now)


def discard_held(sender: str, held: str, now: datetime) -> int:
    """Take a whole group out of quarantine for good, unread by anybody; return how many. Commits."""
    return discard(_of_group(sender, held), now)


def _of_group(sender: str, held: str) -> Conditions:
    is_sender = ReceivedMail.from_key == sender if sender else ReceivedMail.from_key.is_(None)
    return (_IS_HELD, ReceivedMail.held == held, is_sender)

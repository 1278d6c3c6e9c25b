"""The statements around one chunk of a mailing. Each is built once, because building one costs as much as ten mails."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, BigInteger, DateTime, Row, bindparam, exists, func, or_, select, update

from models.audience import is_sqlite
from models.base import db, holds
from models.contact import Contact
from models.job import Worker
from models.mailing import CHUNK_SIZE, Chunk, Mailing, Trace
from models.parameter import CUSTOM_IS_OFF

_MAILING: Any = Mailing.__table__
_CHUNK: Any = Chunk.__table__
_TRACE: Any = Trace.__table__
_CONTACT: Any = Contact.__table__

COUNTED = ("sent", "failed", "deferred", "unknown")  # the totals that a chunk changes

# --- taking one

_NOW = bindparam("now", type_=_MAILING.c.next_try_at.type)
_SENDABLE = select(
    _MAILING.c.id, _MAILING.c.server_id, _MAILING.c.content_key, _MAILING.c.tries, CUSTOM_IS_OFF.label("custom_off")
).where(
    _MAILING.c.state == "sending",
    or_(
        _MAILING.c.next_try_at.is_(None), _MAILING.c.next_try_at <= bindparam("now", type_=_MAILING.c.next_try_at.type)
    ),
    exists().where(_CHUNK.c.mailing_id == _MAILING.c.id, holds(_CHUNK.c.state, "waiting")),
)
_NEXT = (
    select(_CHUNK.c.id)
    .where(_CHUNK.c.mailing_id == bindparam("mailing"), holds(_CHUNK.c.state, "waiting"))
    .order_by(_CHUNK.c.id)
    .limit(1)
    .with_for_update(skip_locked=True)
)
_TAKE = (
    update(_CHUNK)
    .where(
        _CHUNK.c.id == _NEXT.scalar_subquery(),
        _CHUNK.c.state == "waiting",
        # Locked, so that a pause or a cancellation that is being written is waited for and obeyed.
        select(_MAILING.c.id)
        .where(_MAILING.c.id == bindparam("mailing"), _MAILING.c.state == "sending")
        .with_for_update(read=True)
        .exists(),
        Worker.may_claim(bindparam("worker")),
    )
    .values(state="taken", worker_id=bindparam("worker"))
    .returning(_CHUNK.c.id, _CHUNK.c.first_id, _CHUNK.c.last_id, _CHUNK.c.pass_number)
)
_OURS = (_CHUNK.c.id == bindparam("chunk"), _CHUNK.c.worker_id == bindparam("worker"), _CHUNK.c.state == "taken")
_STATE = select(_MAILING.c.state).join(_CHUNK, _CHUNK.c.mailing_id == _MAILING.c.id).where(*_OURS)
_LEAVE = update(_CHUNK).where(*_OURS).values(state=bindparam("new_state"), worker_id=None)


def sendable(now: datetime) -> Sequence[Row[Any]]:
    """Return id, server, content and tries of the mailings that have a chunk to send now.

    ``custom_off``: the records of servers are not to be used, but for those that somebody named.
    """
    return db.session.connection().execute(_SENDABLE, {"now": now}).all()


def take(mailing_id: int, worker_id: int) -> Row[Any] | None:
    """Give the next chunk of a mailing to a worker: nobody else gets it, and none is given after a pause.

    The caller commits.
    """
    given = {"mailing": mailing_id, "worker": worker_id}
    return db.session.connection().execute(_TAKE, given).first()


def state_of_mailing(chunk_id: int, worker_id: int) -> str | None:
    """Return the state of the mailing of a chunk; None if the chunk is not this worker's any more."""
    given = {"chunk": chunk_id, "worker": worker_id}
    state: str | None = db.session.connection().execute(_STATE, given).scalar()
    return state


def leave(chunk_id: int, worker_id: int, state: str) -> bool:
    """Give a chunk back, ``waiting`` or ``done``; returns False if it is not this worker's any more."""
    given = {"chunk": chunk_id, "worker": worker_id, "new_state": state}
    return bool(db.session.connection().execute(_LEAVE, given).rowcount)


# --- its recipients

_RANGE = (
    _TRACE.c.mailing_id == bindparam("mailing"),
    _TRACE.c.id.between(bindparam("first"), bindparam("last")),
    _TRACE.c.state == bindparam("from_state"),
)
_RECIPIENTS: Any = (
    select(
        _TRACE.c.id,
        _TRACE.c.address,
        _TRACE.c.attempts,
        _TRACE.c.first_try_at,
        _CONTACT.c.name,
        _CONTACT.c.company,
        _CONTACT.c.language,
    )
    .join_from(_TRACE, _CONTACT, _CONTACT.c.id == _TRACE.c.contact_id)
    .where(*_RANGE)
    .order_by(_TRACE.c.id)
    .limit(CHUNK_SIZE)
)
_DUE_RECIPIENTS: Any = _RECIPIENTS.where(_TRACE.c.next_try_at <= _NOW)
_UNTOUCHED = select(_TRACE.c.id).where(*_RANGE).order_by(_TRACE.c.id)


def recipients(mailing_id: int, first_id: int, last_id: int, from_state: str, now: datetime) -> Sequence[Row[Any]]:
    """Return those of a range that are to be sent to, as far as their mail needs them; the deferred ones when due."""
    given: dict[str, Any] = {"mailing": mailing_id, "first": first_id, "last": last_id, "from_state": from_state}
    if from_state == "queued":
        return db.session.connection().execute(_RECIPIENTS, given).all()
    return db.session.connection().execute(_DUE_RECIPIENTS, given | {"now": now}).all()


def untouched(mailing_id: int, first_id: int, last_id: int, from_state: str) -> Sequence[int]:
    """Return the traces of a range that have no result yet."""
    given = {"mailing": mailing_id, "first": first_id, "last": last_id, "from_state": from_state}
    return db.session.connection().execute(_UNTOUCHED, given).scalars().all()


def due_since(traces: Sequence[int]) -> dict[int, datetime]:
    """Return since when recipients that were deferred wait to be tried again."""
    due = (_TRACE.c.id.in_(traces), _TRACE.c.next_try_at.is_not(None))
    rows = db.session.connection().execute(select(_TRACE.c.id, _TRACE.c.next_try_at).where(*due))
    return {row.id: row.next_try_at for row in rows}


# --- its results: written once, and never over a final state

_SENT_ONE_BY_ONE = (
    update(_TRACE)
    .where(_TRACE.c.id == bindparam("trace"), _TRACE.c.state == bindparam("from_state"))
    .values(state="sent", attempts=_TRACE.c.attempts + 1, sent_at=bindparam("at"), why=None, next_try_at=None)
)
_DONE = (
    func.unnest(bindparam("ids", type_=ARRAY(BigInteger)), bindparam("times", type_=ARRAY(DateTime(timezone=True))))
    .table_valued("id", "at")
    .render_derived(name="done")
)
_SENT_AT_ONCE = (
    update(_TRACE)
    .where(_TRACE.c.id == _DONE.c.id, _TRACE.c.state == bindparam("from_state"))
    .values(state="sent", attempts=_TRACE.c.attempts + 1, sent_at=_DONE.c.at, why=None, next_try_at=None)
)
_OTHERS = (
    update(_TRACE)
    .where(_TRACE.c.id == bindparam("trace"), _TRACE.c.state == bindparam("from_state"))
    .values(
        state=bindparam("new_state"),
        attempts=_TRACE.c.attempts + bindparam("tries"),
        why=bindparam("new_why", type_=_TRACE.c.why.type),
        code=bindparam("new_code"),
        reply=bindparam("new_reply"),
        next_try_at=bindparam("again_at"),
        first_try_at=bindparam("since"),
    )
)
_COUNT = (
    update(_MAILING)
    .where(_MAILING.c.id == bindparam("mailing"))
    .values({name: _MAILING.c[name] + bindparam(f"more_{name}") for name in COUNTED})
    .returning(_MAILING.c.state, _MAILING.c.recent, _MAILING.c.why)
)


def write_sent(sent: Sequence[tuple[int, datetime]], from_state: str) -> int:
    """Write down which traces were sent and when; returns how many had no other end meanwhile."""
    connection = db.session.connection()
    if is_sqlite():
        rows = [{"trace": trace_id, "at": at, "from_state": from_state} for trace_id, at in sent]
        return int(connection.execute(_SENT_ONE_BY_ONE, rows).rowcount)
    ids, times = zip(*sent, strict=True)
    given = {"ids": list(ids), "times": list(times), "from_state": from_state}
    return int(connection.execute(_SENT_AT_ONCE, given).rowcount)


def write_others(rows: Sequence[Mapping[str, Any]], state: str, from_state: str) -> int:
    """Write down other results of one state: trace, new_why, new_code, new_reply, again_at, since, tries of each."""
    given = [{**row, "new_state": state, "from_state": from_state} for row in rows]
    return int(db.session.connection().execute(_OTHERS, given).rowcount)


def count(mailing_id: int, changed: Mapping[str, int]) -> Row[Any]:
    """Change the totals of a mailing and return its state, the results of its last chunks, and what it waits for."""
    given = {"mailing": mailing_id} | {f"more_{name}": changed.get(name, 0) for name in COUNTED}
    return db.session.connection().execute(_COUNT, given).one()

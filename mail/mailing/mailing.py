"""FLOW of a mailing: send -> traces by INSERT ... SELECT -> chunks, which ``chunks.py`` sends -> next pass -> done.

A mailing makes no row per mail but a *trace* per recipient, written once before and once after. A *chunk* is a range of
at most 200 traces. Here is what a person asks for, and what the worker does for a mailing as a whole; what comes back
for one recipient is in ``traces.py``. Pausing hands out no more chunks. Locks are taken in the order chunk, traces,
mailing.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import and_, bindparam, exists, func, or_, select, update

from mail.decide.sender import Decision
from mail.mailing.chunk_record import is_time_to_tell
from mail.mailing.ready import NotReady, decided, in_the_way, kept_decision, problems
from mail.mailing.rendered import content_key, decide_for
from mail.sentences import Why, why
from mail.settings.wake import wake
from models import (
    BlacklistedAddress,
    Chunk,
    Contact,
    Mailing,
    Subscription,
    Trace,
    User,
    change_rows,
    db,
    mailing_lists,
    reading,
    writing,
)
from models import audience as audience_rows
from models.mailing import CHUNK_SIZE
from models.slices import SliceSize

log = logging.getLogger("coquimail.mailing")

BY_REHEARSAL = ("rehearsal_holds_mailing", "rehearsal_is_over")  # why a mailing is paused

# Contacts that become traces in one transaction, traces of a cancelled mailing that are closed in one, and deferred
# recipients that get chunks in one: short ones, so that nobody waits for them.
_preparing = SliceSize(2_000, least=1_000, most=20_000)
_sweeping = SliceSize(2_000, least=1_000, most=20_000)
NEXT_PASS = 25 * CHUNK_SIZE


# --- what a person asks for: each commits and wakes the workers


def send(mailing_id: int, now: datetime, at: datetime | None = None) -> Mailing:
    """Let a draft go out, now or ``at`` a time; stores the server and the From with their reasons.

    Raises ``NotReady`` with all that is missing. Call it with nothing to be written: the mailing is checked, which
    takes time, while nobody waits for the database.
    """
    with reading():
        content = _checked(db.session.get_one(Mailing, mailing_id))
    with writing():
        mailing = _locked(mailing_id)
        if mailing.state != "draft":
            db.session.rollback()
            raise NotReady([why("mailing_not_draft")])
        _decide(mailing, decide_for(mailing))
        mailing.state, mailing.why, mailing.scheduled_at = "scheduled", None, at or now
        changed = mailing.content_key != content
        if not changed:
            Mailing.tell(mailing_id, now)
            db.session.commit()
    if changed:  # meanwhile, by somebody else: what was checked is not what would go out
        db.session.rollback()
        return send(mailing_id, now, at)
    wake("mailings")
    log.info("mailing %s: scheduled", mailing_id)
    return mailing


def _checked(mailing: Mailing) -> str:
    """Return the key of what a draft sends once nothing keeps it from being sent; raises ``NotReady``."""
    if mailing.state != "draft":
        raise NotReady([why("mailing_not_draft")])
    found = problems(mailing)
    if found:
        raise NotReady(found)
    return content_key(mailing, decide_for(mailing))


def back_to_draft(mailing_id: int, now: datetime) -> None:
    """Take back a mailing that has not begun. Raises ``NotReady`` when it has."""
    mailing = _locked(mailing_id)
    if not mailing.may_be_draft:
        db.session.rollback()
        raise NotReady([why("mailing_has_begun")])
    mailing.state, mailing.scheduled_at, mailing.why = "draft", None, None
    Mailing.tell(mailing_id, now)
    db.session.commit()


def pause(mailing_id: int, now: datetime, user: User | None = None) -> bool:
    """Hand out no more recipients; what is on its way arrives. Returns whether it was being sent."""
    said = why("mailing_paused_by", user=user.name if user else "")
    return _change(mailing_id, ("sending",), {"state": "paused", "why": said}, now)


def resume(mailing_id: int, now: datetime) -> bool:
    """Go on with a paused mailing, the server and the From chosen anew. Returns whether it was paused.

    Raises ``NotReady`` when there is no server for it now, when its links would lead nowhere, or, before it has begun,
    with all that is missing.
    """
    with reading():
        mailing = db.session.get_one(Mailing, mailing_id)
        if mailing.state != "paused":
            return False
        decision = decide_for(mailing)
        obstacle = in_the_way(decision)
        found = [obstacle] if obstacle else [] if mailing.started_at else problems(mailing, decision)
        fresh: dict[str, Any] = {"state": "sending", "why": None, "recent": [], "next_try_at": None, "tries": 0}
        fresh |= decided(mailing, decision)
    if found:
        raise NotReady(found)
    with writing():
        return _change(mailing_id, ("paused",), fresh, now)


def cancel(mailing_id: int, now: datetime, user: User | None = None) -> bool:
    """End a mailing for good: who has not got it yet will not. Returns whether there was something to cancel."""
    said = why("mailing_cancelled_by", user=user.name if user else "")
    return _change(mailing_id, ("scheduled", "sending", "paused"), {"state": "cancelled", "why": said}, now)


def paused_by_rehearsal(reason: Why, now: datetime) -> None:
    """Pause what is being sent or scheduled: a person resumes each, knowing where it goes. What was paused by a
    rehearsal before says so, too. The caller commits.
    """
    by_one = and_(Mailing.state == "paused", Mailing.why["code"].as_string().in_(BY_REHEARSAL))
    under_way = update(Mailing).where(or_(Mailing.state.in_(("sending", "scheduled")), by_one))
    for mailing_id in db.session.scalars(under_way.values(state="paused", why=reason).returning(Mailing.id)):
        Mailing.tell(mailing_id, now)


def _change(mailing_id: int, states: Sequence[str], values: dict[str, Any], now: datetime) -> bool:
    changed = db.session.scalar(
        update(Mailing).where(Mailing.id == mailing_id, Mailing.state.in_(states)).values(values).returning(Mailing.id)
    )
    if changed is not None:
        Mailing.tell(mailing_id, now)
        log.info("mailing %s: %s", mailing_id, values["state"])
    db.session.commit()
    wake("mailings")
    wake("mass")
    return changed is not None


def _locked(mailing_id: int) -> Mailing:
    asked = select(Mailing).where(Mailing.id == mailing_id).with_for_update()
    mailing = db.session.scalar(asked.execution_options(populate_existing=True))  # as it is now, not as it was read
    if mailing is None:
        raise LookupError(f"mailing {mailing_id}")
    return mailing


def _decide(mailing: Mailing, decision: Decision) -> None:
    for name, value in decided(mailing, decision).items():
        setattr(mailing, name, value)


# --- the worker looks after all mailings: prepare, next pass, done, cancelled


_UNFINISHED = select(Mailing.id, Mailing.state, Mailing.prepared).where(
    or_(
        and_(Mailing.state == "scheduled", Mailing.scheduled_at <= bindparam("now")),
        Mailing.state == "sending",
        and_(Mailing.state == "paused", Mailing.prepared.is_(False), Mailing.started_at.is_not(None)),
        and_(Mailing.state == "cancelled", Mailing.ended_at.is_(None)),
    )
)


def tend(now: datetime) -> bool:
    """Do a short piece of what mailings need besides sending; returns whether there is more to do at once.

    Begins those that are due, makes their traces slice by slice, gives deferred recipients another pass, and closes
    what is done or cancelled. Any number of workers may call it at the same time.
    """
    with reading():
        unfinished = db.session.execute(_UNFINISHED, {"now": now}).all()
    more = False
    for mailing in unfinished:
        if mailing.state == "cancelled":
            with _sweeping.slice() as size:
                more |= _sweep(mailing.id, now, size)
        elif mailing.state == "scheduled":
            more |= begin(mailing.id, now)
        elif not mailing.prepared:
            people = next_people(mailing.id, _preparing.rows)
            with _preparing.slice():
                more |= prepare_slice(mailing.id, now, people)
        else:
            _next_pass(mailing.id, now)
            _finish(mailing.id, now)
    return more


def begin(mailing_id: int, now: datetime) -> bool:
    """Let a mailing begin whose time has come; what was in order when it was scheduled may not be so any more.

    Then it pauses with the reason. Returns whether it begins.
    """
    with reading():
        mailing = db.session.get(Mailing, mailing_id)
        if mailing is None:
            return False
        decision = kept_decision(mailing)
        found = problems(mailing, decision)
        begins = {"state": "sending", "why": None, "started_at": now} | decided(mailing, decision)
    if found:
        _change(mailing_id, ("scheduled",), {"state": "paused", "why": found[0]}, now)
        return False
    return _change(mailing_id, ("scheduled",), begins, now)


# What a slice needs, built once: a million recipients are a thousand slices.
_MAILING: Any = Mailing.__table__
_HOLD = (
    update(_MAILING)
    .where(
        _MAILING.c.id == bindparam("mailing"),
        _MAILING.c.prepared.is_(False),
        _MAILING.c.state.in_(("sending", "paused")),
    )
    .values(started_at=func.coalesce(_MAILING.c.started_at, bindparam("now", type_=_MAILING.c.started_at.type)))
    .returning(_MAILING.c.id)
)
_LISTS = select(mailing_lists.c.list_id).where(mailing_lists.c.mailing_id == bindparam("mailing"))
_OF_MAILING = Trace.mailing_id == bindparam("mailing")
_SO_FAR = select(  # the last contact, and the last trace of all mailings: ids only rise
    func.coalesce(select(func.max(Trace.contact_id)).where(_OF_MAILING).scalar_subquery(), 0),
    func.coalesce(select(func.max(Trace.id)).scalar_subquery(), 0),
)
_LEFT_OUT = select(func.count()).where(_OF_MAILING, Trace.state == "cancelled", Trace.id > bindparam("newest"))
_COUNT = (
    update(_MAILING)
    .where(_MAILING.c.id == bindparam("mailing"))
    .values(
        total=_MAILING.c.total + bindparam("made"),
        cancelled=_MAILING.c.cancelled + _LEFT_OUT.scalar_subquery(),
        prepared=bindparam("done"),
    )
)


class People(NamedTuple):
    """The contacts of a slice: those on the lists from behind ``after``, up to ``until``; None: all that are left."""

    lists: Sequence[int]
    after: int
    until: int | None


def next_people(mailing_id: int, size: int) -> People:
    """Find the contacts that have no trace yet, so many at most, before anybody has to wait for it."""
    with reading():
        connection, of_mailing = db.session.connection(), {"mailing": mailing_id}
        lists = connection.execute(_LISTS, of_mailing).scalars().all()
        after = connection.execute(_SO_FAR, of_mailing).one()[0]
        return People(lists, after, audience_rows.slice_end(lists, after, size))


def prepare_slice(mailing_id: int, now: datetime, people: People) -> bool:
    """Make the traces and chunks of contacts and commit; returns whether there may be more.

    Who is left out gets its trace as well, ``cancelled`` with the reason. How far it came is read from the traces
    themselves, once more under the lock of the mailing: a kill costs one slice, and two workers make each trace once.
    """
    lists, after, until = people
    connection, of_mailing = db.session.connection(), {"mailing": mailing_id}
    is_held = connection.execute(_HOLD, of_mailing | {"now": now}).first() is not None
    came_to, newest = connection.execute(_SO_FAR, of_mailing).one()
    if not is_held or came_to != after:
        db.session.rollback()
        return is_held
    reasons = {word: why(f"left_out_{word}") for word in audience_rows.LEFT_OUT}
    made = audience_rows.make_traces(mailing_id, lists, after, until, reasons)
    audience_rows.cut_queued(mailing_id, newest)
    connection.execute(_COUNT, of_mailing | {"newest": newest, "made": made, "done": until is None})
    if until is None or is_time_to_tell(mailing_id):
        Mailing.tell(mailing_id, now)
    db.session.commit()
    if after == 0 or until is None:
        audience_rows.analyze(Trace, Chunk)
        wake("mass")
    if after == 0 and until is not None:
        audience_rows.analyze(Contact, Subscription, BlacklistedAddress)  # which may have been imported just now
    if until is None:
        log.info("mailing %s: prepared", mailing_id)
    return until is not None


def _next_pass(mailing_id: int, now: datetime) -> None:
    """Give recipients whose time has come another chunk; not while one of their kind is still on its way."""
    due = and_(Trace.mailing_id == mailing_id, Trace.state == "deferred", Trace.next_try_at <= now)
    with reading():
        found = db.session.scalar(select(exists().where(due)))
    if not found:
        return
    sending = select(Mailing.id).where(Mailing.id == mailing_id, Mailing.state == "sending").with_for_update()
    running = exists().where(Chunk.mailing_id == mailing_id, Chunk.pass_number > 1, Chunk.state != "done")
    if db.session.scalar(sending) is None or db.session.scalar(select(running)):
        db.session.rollback()
        return
    last = db.session.scalar(select(func.max(Chunk.pass_number)).where(Chunk.mailing_id == mailing_id)) or 1
    audience_rows.cut_deferred(mailing_id, last + 1, now, NEXT_PASS)
    db.session.commit()
    wake("mass")


def _finish(mailing_id: int, now: datetime) -> bool:
    """Close a mailing when every recipient is in a final state; returns whether it was."""
    done = and_(
        Mailing.id == mailing_id,
        Mailing.state == "sending",
        Mailing.prepared,
        ~exists().where(Chunk.mailing_id == mailing_id, Chunk.state.in_(("waiting", "taken"))),
        ~exists().where(Trace.mailing_id == mailing_id, Trace.state.in_(("queued", "deferred"))),
    )
    with reading():
        taken = db.session.scalar(select(Mailing.sent + Mailing.bounced).where(done))
    if taken is None:
        return False
    values: dict[str, Any] = {"state": "done", "ended_at": now, "why": None, "next_try_at": None, "tries": 0}
    in_doubt = 0 if taken else _in_doubt(mailing_id)
    if in_doubt:
        values |= {"state": "paused", "ended_at": None, "why": why("mailing_all_in_doubt", number=in_doubt)}
    closed = change_rows(update(Mailing).where(done).values(values))
    if closed:
        Mailing.tell(mailing_id, now)
        log.info("mailing %s: %s", mailing_id, values["state"])
    db.session.commit()
    return bool(closed)


def _in_doubt(mailing_id: int) -> int:
    """Return how many recipients may or may not have got a mailing; those that a person left at that do not count."""
    with reading():
        doubtful = select(func.count()).where(Trace.mailing_id == mailing_id, Trace.state == "unknown")
        left = or_(Trace.why.is_(None), Trace.why["code"].as_string() != "doubt_left")
        return db.session.scalar(doubtful.where(left)) or 0


def _sweep(mailing_id: int, now: datetime, size: int) -> bool:
    """Close some of the recipients that a cancelled mailing did not reach; returns whether there may be more."""
    if db.session.scalar(select(exists().where(Chunk.mailing_id == mailing_id, Chunk.state == "taken"))):
        db.session.rollback()
        return False  # what is on its way comes back first
    gone: Counter[str] = Counter()
    for state in ("queued", "deferred"):
        some = (
            select(Trace.id)
            .where(Trace.mailing_id == mailing_id, Trace.state == state)
            .order_by(Trace.id)
            .limit(size - gone.total())
        )
        closed = update(Trace).where(Trace.id.in_(some), Trace.state == state)
        gone[state] = change_rows(closed.values(state="cancelled", why=why("left_out_cancelled"), next_try_at=None))
    values: dict[str, Any] = {
        "cancelled": Mailing.cancelled + gone.total(),
        "deferred": Mailing.deferred - gone["deferred"],
    }
    if not gone.total():
        change_rows(update(Chunk).where(Chunk.mailing_id == mailing_id, Chunk.state == "waiting").values(state="done"))
        values = {"ended_at": now}
    Mailing.change(mailing_id, values)
    Mailing.tell(mailing_id, now)
    db.session.commit()
    return gone.total() > 0

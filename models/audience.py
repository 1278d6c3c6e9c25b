"""From lists to recipients: the traces of a mailing, and the chunks that they are sent in, by INSERT ... SELECT.

A large mailing executes the same statements some thousand times: they are built once, which takes as long as a slice.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import and_, bindparam, case, cast, func, insert, literal, select, text

from models.base import db
from models.bounce import BlacklistedAddress
from models.contact import Contact, Subscription
from models.mailing import CHUNK_SIZE, Chunk, Trace

LEFT_OUT = ("pending", "unsubscribed", "archived", "no_address", "blacklisted")


def is_sqlite() -> bool:
    """Return whether the database is SQLite."""
    return db.engine.dialect.name == "sqlite"


def slice_end(lists: Sequence[int], after: int, size: int) -> int | None:
    """Return the last contact of the next slice of lists; None when the rest fits into it."""
    ends = []
    for list_id in lists:  # list by list, because each is a range of an index
        asked = {"list": list_id, "after": after, "before": size - 1}
        end = db.session.connection().execute(_END, asked).scalar()
        if end is not None:
            ends.append(end)
    return min(ends, default=None)


_END = (
    select(Subscription.contact_id)
    .where(Subscription.list_id == bindparam("list"), Subscription.contact_id > bindparam("after"))
    .order_by(Subscription.contact_id)
    .offset(bindparam("before"))
    .limit(1)
)


def make_traces(
    mailing_id: int, lists: Sequence[int], after: int, until: int | None, reasons: Mapping[str, Mapping[str, Any]]
) -> int:
    """Make a trace for each contact of these lists in a range of ids, however many of them it is on.

    Who is left out gets one as well, ``cancelled``; ``reasons`` holds what explains each of ``LEFT_OUT``. Being
    subscribed to one list outweighs the others. Returns how many; the caller commits.
    """
    fill = _fill(tuple(lists), until is None, is_sqlite())
    values = {"mailing": mailing_id, "after": after, **({} if until is None else {"until": until}), **reasons}
    made = db.session.connection().execute(fill, values, execution_options={"preserve_rowcount": True})
    return int(made.rowcount)


@lru_cache(maxsize=64)
def _fill(lists: tuple[int, ...], to_the_end: bool, sqlite: bool) -> Any:
    """The statement of ``make_traces``."""
    chosen = _on_lists(lists, _in_slice(Subscription.contact_id, to_the_end))
    left_out = _left_out(chosen)
    rows = (
        select(
            bindparam("mailing", type_=Trace.mailing_id.type),
            Contact.id,
            func.coalesce(Contact.address, ""),
            case(*((condition, "cancelled") for condition, _ in left_out), else_="queued"),
            case(*((condition, _json(reason, sqlite)) for condition, reason in left_out), else_=None),
        )
        .join_from(chosen, Contact, Contact.id == chosen.c.contact_id)
        .outerjoin(BlacklistedAddress, BlacklistedAddress.address_key == Contact.address_key)
        .where(_in_slice(Contact.id, to_the_end))  # PostgreSQL does not see that it follows, and reads all contacts
        .order_by(chosen.c.contact_id)
    )
    columns = ["mailing_id", "contact_id", "address", "state", "why"]
    return insert(Trace.__table__).from_select(columns, rows, include_defaults=False)  # type: ignore[arg-type]


def expected(lists: Sequence[int]) -> dict[str, int]:
    """Count whom ``make_traces`` would queue now, under "", and leave out, under the word of ``LEFT_OUT``."""
    chosen = _on_lists(lists)
    each = (
        select(case(*((condition, literal(word)) for condition, word in _left_out(chosen)), else_="").label("word"))
        .join_from(chosen, Contact, Contact.id == chosen.c.contact_id)
        .outerjoin(BlacklistedAddress, BlacklistedAddress.address_key == Contact.address_key)
        .subquery()
    )
    return dict(db.session.execute(select(each.c.word, func.count()).group_by(each.c.word)).all())


def _on_lists(lists: Sequence[int], *conditions: Any) -> Any:
    """The contacts of some lists, each once, and how they stand on them. On one list each is once: that is quicker."""
    several = len(lists) > 1
    states = {"opted_in": "subscribed", "pending": "pending"}
    flags = {name: case((Subscription.state == state, 1), else_=0) for name, state in states.items()}
    columns = [(func.max(flag) if several else flag).label(name) for name, flag in flags.items()]
    on_lists = select(Subscription.contact_id, *columns).where(Subscription.list_id.in_(lists), *conditions)
    return (on_lists.group_by(Subscription.contact_id) if several else on_lists).subquery()


def _in_slice(contact_id: Any, to_the_end: bool) -> Any:
    after = contact_id > bindparam("after")
    return after if to_the_end else and_(after, contact_id <= bindparam("until"))


def _left_out(chosen: Any) -> tuple[tuple[Any, str], ...]:
    """Who of ``_on_lists`` gets no mail: conditions in their order, each with its word of ``LEFT_OUT``."""
    return (
        (and_(chosen.c.opted_in == 0, chosen.c.pending == 1), "pending"),
        (chosen.c.opted_in == 0, "unsubscribed"),
        (Contact.active.is_(False), "archived"),
        (Contact.address_key.is_(None), "no_address"),
        (BlacklistedAddress.id.is_not(None), "blacklisted"),
    )


def _json(word: str, sqlite: bool) -> Any:
    kind = Trace.__table__.c.why.type
    value = bindparam(word, type_=kind)
    return value if sqlite else cast(value, kind)  # SQLite would make a number of it


def _cut(which: Any, at_most: Any = None) -> Any:
    """The statement that cuts traces of a mailing into ranges of CHUNK_SIZE or less."""
    mailing_id = bindparam("mailing", type_=Trace.mailing_id.type)
    numbered = select(Trace.id, (func.row_number().over(order_by=Trace.id) - 1).label("place"))
    traces = numbered.where(Trace.mailing_id == mailing_id, which).order_by(Trace.id).limit(at_most).subquery()
    first, last = func.min(traces.c.id), func.max(traces.c.id)
    ranges = select(mailing_id, first, last, bindparam("pass", type_=Chunk.pass_number.type), literal("waiting"))
    columns = ["mailing_id", "first_id", "last_id", "pass_number", "state"]
    chunk = traces.c.place - traces.c.place % CHUNK_SIZE  # not //: on SQLite that calls Python for each row
    cut = ranges.select_from(traces).group_by(chunk).order_by(first)
    return insert(Chunk.__table__).from_select(columns, cut, include_defaults=False)  # type: ignore[arg-type]


_CUT_QUEUED = _cut(and_(Trace.state == "queued", Trace.id > bindparam("after")))
_CUT_DEFERRED = _cut(and_(Trace.state == "deferred", Trace.next_try_at <= bindparam("now")), bindparam("most"))


def cut_queued(mailing_id: int, after: int) -> None:
    """Make chunks of the recipients of a mailing whose traces are newer than ``after``; the caller commits."""
    db.session.connection().execute(_CUT_QUEUED, {"mailing": mailing_id, "pass": 1, "after": after})


def cut_deferred(mailing_id: int, pass_number: int, now: datetime, most: int) -> None:
    """Make chunks of the first recipients whose next try is due; the caller commits."""
    values = {"mailing": mailing_id, "pass": pass_number, "now": now, "most": most}
    db.session.connection().execute(_CUT_DEFERRED, values)


def analyze(*tables: Any) -> None:
    """Tell PostgreSQL what these tables hold now; until then it reads them whole for each slice or chunk. Commits."""
    if not is_sqlite():
        db.session.execute(text(f"ANALYZE {', '.join(table.__tablename__ for table in tables)}"))
        db.session.commit()

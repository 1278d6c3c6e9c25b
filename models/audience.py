"""From lists to recipients: the traces of a mailing, and the chunks that they are sent in, by INSERT ... SELECT."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import and_, case, cast, func, insert, literal, select, text

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
        end = db.session.scalar(
            select(Subscription.contact_id)
            .where(Subscription.list_id == list_id, Subscription.contact_id > after)
            .order_by(Subscription.contact_id)
            .offset(size - 1)
            .limit(1)
        )
        if end is not None:
            ends.append(end)
    return min(ends, default=None)


def make_traces(
    mailing_id: int, lists: Sequence[int], after: int, until: int | None, reasons: Mapping[str, Mapping[str, Any]]
) -> int:
    """Make a trace for each contact of these lists in a range of ids, however many of them it is on.

    Who is left out gets one as well, ``cancelled``; ``reasons`` holds what explains each of ``LEFT_OUT``. Being
    subscribed to one list outweighs the others. Returns how many; the caller commits.
    """
    chosen = _on_lists(lists, after, until)
    left_out = _left_out(chosen)
    rows = (
        select(
            literal(mailing_id),
            Contact.id,
            func.coalesce(Contact.address, ""),
            case(*((condition, "cancelled") for condition, _ in left_out), else_="queued"),
            case(*((condition, _json(reasons[reason])) for condition, reason in left_out), else_=None),
        )
        .join_from(chosen, Contact, Contact.id == chosen.c.contact_id)
        .outerjoin(BlacklistedAddress, BlacklistedAddress.address_key == Contact.address_key)
        .where(_between(Contact.id, after, until))  # PostgreSQL does not see that it follows, and reads all contacts
        .order_by(Contact.id)
    )
    columns = ["mailing_id", "contact_id", "address", "state", "why"]
    filled = insert(Trace.__table__).from_select(columns, rows, include_defaults=False)  # type: ignore[arg-type]
    made = db.session.connection().execute(filled, execution_options={"preserve_rowcount": True})
    return int(made.rowcount)


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


def _on_lists(lists: Sequence[int], after: int = 0, until: int | None = None) -> Any:
    """The contacts of some lists, each once, and how they stand on them."""
    on_lists = (
        select(
            Subscription.contact_id,
            func.max(case((Subscription.state == "subscribed", 1), else_=0)).label("opted_in"),
            func.max(case((Subscription.state == "pending", 1), else_=0)).label("pending"),
        )
        .where(Subscription.list_id.in_(lists), _between(Subscription.contact_id, after, until))
        .group_by(Subscription.contact_id)
    )
    return on_lists.subquery()


def _between(contact_id: Any, after: int, until: int | None) -> Any:
    return contact_id > after if until is None else and_(contact_id > after, contact_id <= until)


def _left_out(chosen: Any) -> tuple[tuple[Any, str], ...]:
    """Who of ``_on_lists`` gets no mail: conditions in their order, each with its word of ``LEFT_OUT``."""
    return (
        (and_(chosen.c.opted_in == 0, chosen.c.pending == 1), "pending"),
        (chosen.c.opted_in == 0, "unsubscribed"),
        (Contact.active.is_(False), "archived"),
        (Contact.address_key.is_(None), "no_address"),
        (BlacklistedAddress.id.is_not(None), "blacklisted"),
    )


def _json(value: Mapping[str, Any]) -> Any:
    kind = Trace.__table__.c.why.type
    return literal(value, kind) if is_sqlite() else cast(literal(value, kind), kind)  # SQLite would make a number of it


def make_chunks(mailing_id: int, pass_number: int, which: Any, at_most: int | None = None) -> None:
    """Cut the first traces of a mailing that fulfil ``which`` into ranges of CHUNK_SIZE or less; the caller commits."""
    place = func.row_number().over(order_by=Trace.id) - 1
    numbered = select(Trace.id, (place // CHUNK_SIZE).label("chunk"))
    traces = numbered.where(Trace.mailing_id == mailing_id, which).order_by(Trace.id).limit(at_most).subquery()
    first, last = func.min(traces.c.id), func.max(traces.c.id)
    ranges = select(literal(mailing_id), first, last, literal(pass_number), literal("waiting"))
    columns = ["mailing_id", "first_id", "last_id", "pass_number", "state"]
    cut = ranges.select_from(traces).group_by(traces.c.chunk).order_by(first)
    db.session.execute(insert(Chunk).from_select(columns, cut, include_defaults=False))


def analyze(*tables: Any) -> None:
    """Tell PostgreSQL what these tables hold now; until then it reads them whole for each slice or chunk. Commits."""
    if not is_sqlite():
        db.session.execute(text(f"ANALYZE {', '.join(table.__tablename__ for table in tables)}"))
        db.session.commit()

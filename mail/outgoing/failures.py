"""What failed deliveries say about an address: every final failure is recorded, and counted once per mail.

One room for both ways a failure is learnt: a refusal while we deliver, and a report that comes back later.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, update

from mail.decide.failure import FailureKind
from mail.message.address import normalise
from models import AddressHealth, Bounce, db
from models.slices import by_hundreds
from models.store import upsert

LONGEST_TEXT = 2000
_SAME_MAIL = timedelta(hours=12)  # reports that prove no mail of ours and come within this time count once
_COUNTING = {kind.value for kind in FailureKind if kind.counts}


@dataclass(frozen=True, slots=True)
class Failure:
    """One recipient that a mail did not reach, or not yet (``FailureKind.DELAY``), or that complained."""

    address: str | None
    kind: str  # of mail.decide.failure.Kind, or "complaint"
    status: str
    text: str
    recipient_id: int | None = None
    trace_id: int | None = None
    received_mail_id: int | None = None


def record(failures: Sequence[Failure], now: datetime) -> list[str]:
    """Write failures down and return the addresses (keys) whose count rose; the caller commits.

    A failure counts against its address if its kind does and if no other one of the same mail counted against it
    before: a second report, or a report after a refusal, is recorded and changes nothing.
    """
    rows = []
    risen: list[str] = []
    counted_before = _counted(failures, now)
    for failure in failures:
        key = normalise(failure.address)
        once = _counts_once_for(failure, key)
        counts = key is not None and failure.kind in _COUNTING and once not in counted_before
        if counts and key is not None:
            risen.append(key)
            counted_before.add(once)
        rows.append(
            {
                "address_key": key,
                "kind": failure.kind,
                "status": failure.status[:20],
                "text": failure.text[:LONGEST_TEXT],
                "at": now,
                "counted": counts,
                "recipient_id": failure.recipient_id,
                "trace_id": failure.trace_id,
                "received_mail_id": failure.received_mail_id,
            }
        )
    if rows:
        db.session.execute(upsert(Bounce).on_conflict_do_nothing(), rows)
    _raise_counts(risen)
    return risen


_Once = tuple[str, int | str | None, str | None]


def _counts_once_for(failure: Failure, key: str | None) -> _Once:
    """A recipient of a mailing, a line and its present address, or an address without a mail that is known."""
    if failure.recipient_id is not None:
        return "line", failure.recipient_id, key
    return ("trace", failure.trace_id, None) if failure.trace_id is not None else ("address", key, None)


def _counted(failures: Sequence[Failure], now: datetime) -> set[_Once]:
    """What among these has counted already, for an address without a known mail: just now."""
    lines = {failure.recipient_id for failure in failures if failure.recipient_id is not None}
    traces = {failure.trace_id for failure in failures if failure.trace_id is not None}
    found: set[_Once] = set()
    alone = {key for one in failures if not (one.recipient_id or one.trace_id) and (key := normalise(one.address))}
    for some in by_hundreds(lines):
        of_lines = select(Bounce.recipient_id, Bounce.address_key).where(Bounce.counted, Bounce.recipient_id.in_(some))
        found |= {("line", row.recipient_id, row.address_key) for row in db.session.execute(of_lines)}
    for some in by_hundreds(traces):
        of_traces = select(Bounce.trace_id).where(Bounce.counted, Bounce.trace_id.in_(some))
        found |= {("trace", trace, None) for trace in db.session.scalars(of_traces)}
    for keys in by_hundreds(alone):
        just_now = select(Bounce.address_key).where(
            Bounce.counted, Bounce.address_key.in_(keys), Bounce.at > now - _SAME_MAIL,
            Bounce.recipient_id.is_(None), Bounce.trace_id.is_(None),
        )  # fmt: skip
        found |= {("address", key, None) for key in db.session.scalars(just_now)}
    return found


def _raise_counts(keys: Sequence[str]) -> None:
    counts = Counter(keys)
    for some in by_hundreds(sorted(counts)):
        rows = [{"address_key": key, "bounces": counts[key]} for key in some]
        statement = upsert(AddressHealth).values(rows)
        db.session.execute(
            statement.on_conflict_do_update(
                index_elements=["address_key"], set_={"bounces": AddressHealth.bounces + statement.excluded.bounces}
            )
        )


def heard_from(keys: Collection[str]) -> None:
    """Set the shown count of these addresses to 0: a person wrote from there. The caller commits."""
    for some in by_hundreds(keys):
        db.session.execute(
            update(AddressHealth)
            .where(AddressHealth.address_key.in_(some), AddressHealth.bounces > 0)
            .values(bounces=0)
        )

"""The sums of the ledger: what became of every email received so far, each counted once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from models import ReceivedMail, db
from models.incoming import RECEIVED_STATES

LEFT_ALONE = "left_alone"  # the note of an email that was in its mailbox before us: it was never fetched


@dataclass(frozen=True, slots=True)
class StateTotal:
    """How many emails are in a state, and how many of these came to each result."""

    state: str
    count: int
    results: Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Totals:
    """The emails of the ledger by state; ``left_alone`` of others were only noted."""

    states: Sequence[StateTotal]
    left_alone: int = 0

    @property
    def received(self) -> int:
        return sum(one.count for one in self.states)


def totals() -> Totals:
    """Count the ledger, in one statement that reads an index."""
    count = func.count()
    rows = db.session.execute(
        select(ReceivedMail.state, ReceivedMail.result, count.label("n")).group_by(
            ReceivedMail.state, ReceivedMail.result
        )
    ).all()
    states = []
    for state in RECEIVED_STATES:
        results = sorted(
            ((row.result, row.n) for row in rows if row.state == state and row.result != LEFT_ALONE),
            key=lambda one: (-one[1], one[0]),
        )
        if results:
            states.append(StateTotal(state, sum(number for _, number in results), results))
    return Totals(states, sum(row.n for row in rows if row.result == LEFT_ALONE))


def as_json(found: Totals) -> dict[str, Any]:
    """Return the sums for programs: the states add up to ``received``."""
    return {
        "received": found.received,
        "states": {one.state: one.count for one in found.states},
        "results": {one.state: {result or "none": number for result, number in one.results} for one in found.states},
        "left_in_mailbox": found.left_alone,
    }

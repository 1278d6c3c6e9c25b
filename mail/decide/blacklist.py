"""Pure: the rule that blacklists an address (mailing.md 6)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from mail.sentences import Why, why

# --- the rule of the blacklist (mailing.md 6)


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """How near an address is to the blacklist: shown on the contact, and the reason on the entry."""

    count: int  # counting bounces within the window
    spread_days: float  # between the first and the last of those
    due: bool
    why: Why


def blacklist_arithmetic(
    dates: Sequence[datetime],
    now: datetime,
    bounces: int = 5,
    days: int = 30,
    spread_days: int = 7,
    counted_from: datetime | None = None,
) -> Arithmetic:
    """Return whether an address belongs on the blacklist, by the dates (aware) of its bounces that count.

    At least ``bounces`` of them lie within the last ``days`` days, and the first and last of those are at least
    ``spread_days`` days apart; both limits are included. Only what came after ``counted_from`` counts: the moment at
    which somebody took the address from the list.
    """
    earliest = now - timedelta(days=days)
    counted = sorted(
        date for date in dates if earliest <= date <= now and (counted_from is None or date > counted_from)
    )
    spread = counted[-1] - counted[0] if counted else timedelta(0)
    due = len(counted) >= max(bounces, 1) and spread >= timedelta(days=spread_days)
    apart = spread / timedelta(days=1)
    reason = why(
        "blacklist_due" if due else "blacklist_not_due",
        count=len(counted),
        bounces=bounces,
        days=days,
        apart=int(apart),
        spread_days=spread_days,
    )
    return Arithmetic(len(counted), apart, due, reason)

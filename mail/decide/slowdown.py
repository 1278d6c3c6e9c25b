"""How the pace for one recipient domain is lowered after answers that mean "slow down", and how it recovers. Pure.

An answer to MAIL FROM, before any recipient is named, means all that is sent through the server: the domain ``ALL``.

The law (docs/decisions/0046): each such answer makes the domain wait, one step longer than the last time. A step is
taken back for each time as long as its wait that passes without another one. Greylisting has a wait of its own: it
asks for a second try, not for fewer emails.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

WAITS = tuple(timedelta(minutes=minutes) for minutes in (1, 2, 5, 10, 15))
GREYLISTED_WAIT = timedelta(minutes=5)  # after which most of those who greylist accept a second try
LONGEST_WAIT = WAITS[-1]
MARGIN = timedelta(minutes=2)  # the clocks of machines that work together differ a little

ALL = ""
# What an answer was taken for -> how many of them, with nothing accepted between, make a domain wait.
ANSWERS: Mapping[str, int] = {"sending_limit_now": 1, "server_limit_now": 1, "greylisted": 500}
REASONS: Mapping[str, str] = {
    "sending_limit_now": "domain_slowed", "server_limit_now": "server_slowed", "greylisted": "domain_greylisted"
}  # fmt: skip
_ABOUT_RECIPIENT = frozenset({"rcpt", "data", "end"})


def asked_for(code: str, phase: str) -> str:
    """Return what an answer of a phase, that put an email off for this reason, asks for; "" for nothing of the kind.

    >>> [asked_for("sending_limit_now", phase) for phase in ("connect", "mail", "rcpt", "end")]
    ['', 'server_limit_now', 'sending_limit_now', 'sending_limit_now']
    >>> asked_for("greylisted", "mail"), asked_for("greylisted", "rcpt"), asked_for("mailbox_full_now", "rcpt")
    ('', 'greylisted', '')
    """
    if phase == "mail":
        return "server_limit_now" if code == "sending_limit_now" else ""
    return code if phase in _ABOUT_RECIPIENT and code in ANSWERS else ""


class Slowdown(NamedTuple):
    """How far the pace of a domain is lowered, and until when it waits; ``code`` is the reason."""

    steps: int
    until: datetime
    code: str

    def holds(self, now: datetime) -> bool:
        """Say whether the domain waits now; a wait that is longer than any was noted by a wrong clock."""
        return now < self.until <= now + LONGEST_WAIT + MARGIN

    def steps_left(self, now: datetime) -> int:
        """Return how many steps are not yet taken back.

        >>> from datetime import UTC
        >>> noon = datetime(2026, 11, 27, 12, tzinfo=UTC)
        >>> [Slowdown(2, noon, "").steps_left(noon + timedelta(minutes=minutes)) for minutes in (0, 1, 2, 3)]
        [2, 2, 1, 0]
        """
        left, over = self.steps, self.until
        while left and now >= over + WAITS[left - 1]:
            over += WAITS[left - 1]
            left -= 1
        return left

    def is_over(self, now: datetime) -> bool:
        """Say whether nothing is left of it."""
        return not self.holds(now) and (self.steps_left(now) == 0 or self.until > now)


def slower(before: Slowdown | None, cause: str, now: datetime) -> Slowdown:
    """Return what becomes of a domain after one more answer that means "slow down".

    >>> from datetime import UTC
    >>> noon = datetime(2026, 11, 27, 12, tzinfo=UTC)
    >>> first = slower(None, "sending_limit_now", noon)
    >>> second = slower(first, "sending_limit_now", first.until)
    >>> first.until - noon, second.until - first.until, slower(None, "greylisted", noon).until - noon
    (datetime.timedelta(seconds=60), datetime.timedelta(seconds=120), datetime.timedelta(seconds=300))
    """
    steps = before.steps_left(now) if before else 0
    if cause == "greylisted":
        return Slowdown(max(steps, 1), now + GREYLISTED_WAIT, REASONS[cause])
    steps = min(steps + 1, len(WAITS))
    return Slowdown(steps, now + WAITS[steps - 1], REASONS[cause])

"""What a recipient of the practice mailbox does automatically, as its address says: ``refuse-550@…``, ``bounce@…``."""

import re
from dataclasses import dataclass

MOST_SECONDS = 90  # below the time for which a sender waits for an answer
_TAG = r"(?:[+._-][^@]*)?@"
_REFUSES = re.compile(rf"refuse-([45]\d\d){_TAG}", re.IGNORECASE)
_IS_SLOW = re.compile(rf"slow-(\d{{1,3}})s{_TAG}", re.IGNORECASE)
_ACTS = re.compile(rf"(bounce|full|blocked|odd-bounce|delay|complaint|out-of-office){_TAG}", re.IGNORECASE)
WORDS = {
    "4": "4.2.0 The practice mailbox defers this email, as requested by its address",
    "5": "5.1.1 The practice mailbox refuses this email, as requested by its address",
}


@dataclass(frozen=True)
class PracticeWish:
    """What an address asks for: an answer in place of 250, seconds to wait before it, something that comes back."""

    refusal: str = ""
    seconds: int = 0
    action: str = ""


NOTHING = PracticeWish()


def wish_of(address: str) -> PracticeWish:
    """Return what an address asks for; what stands after a ``+``, dot or hyphen tells several of a kind apart.

    >>> wish_of("refuse-450+two@acme.com").refusal
    '450 4.2.0 The practice mailbox defers this email, as requested by its address'
    >>> wish_of("Slow-30s@acme.com").seconds, wish_of("slow-999s@acme.com").seconds
    (30, 90)
    >>> [wish_of(f"{address}@acme.com").action for address in ("out-of-office", "bounce.7", "odd-bounce")]
    ['out-of-office', 'bounce', 'odd-bounce']
    >>> wish_of("refuse-5500@acme.com") == wish_of("bouncer@acme.com") == wish_of("ann@acme.com") == NOTHING
    True
    """
    if found := _REFUSES.match(address):
        return PracticeWish(refusal=f"{found[1]} {WORDS[found[1][0]]}")
    if found := _IS_SLOW.match(address):
        return PracticeWish(seconds=min(int(found[1]), MOST_SECONDS))
    if found := _ACTS.match(address):
        return PracticeWish(action=found[1].lower())
    return NOTHING

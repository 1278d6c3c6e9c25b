"""What became worse in the DNS of a domain since the last check, and what is well again. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

_RANKS = {"good": 0, "warning": 1, "bad": 2}  # "unknown" is no state of DNS: what was known before still holds


@dataclass(frozen=True, slots=True)
class DnsChanges:
    """The outcome of a comparison.

    ``standing``: the last known state of each verdict. ``told``: those that became worse and are not well again, with
    the state from before. ``worse``: the verdicts to tell of now. ``is_well_again``: one of those that were told became
    as good as before, and none is left.
    """

    standing: dict[str, str]
    told: dict[str, str]
    worse: list[str]
    is_well_again: bool


def compare(standing: Mapping[str, str], told: Mapping[str, str], found: Mapping[str, str]) -> DnsChanges:
    """Return what changed between the last check (``standing``, ``told``) and what the present one found.

    What is new has no past to be worse than, and what is gone, as the key or the server that it was about, is no longer
    worse, but did not become well either. Each change for the worse is told once, also if it comes and goes while a
    resolver is silent.

    >>> changes = compare({"spf": "good"}, {}, {"spf": "bad", "mx": "bad"})
    >>> changes.worse, changes.told
    (['spf'], {'spf': 'good'})
    >>> compare(changes.standing, changes.told, {"spf": "unknown", "mx": "bad"}).worse
    []
    >>> compare(changes.standing, changes.told, {"spf": "good", "mx": "bad"}).is_well_again
    True
    >>> gone = compare(changes.standing, changes.told, {"mx": "bad"})
    >>> gone.told, gone.is_well_again
    ({}, False)
    >>> compare({}, {}, {"spf": "unknown"}).standing
    {}
    """
    now = {key: standing.get(key, "") if state == "unknown" else state for key, state in found.items()}
    now = {key: state for key, state in now.items() if state}
    worse = [key for key, state in now.items() if _RANKS[state] > _RANKS[standing.get(key, state)]]
    before = {key: standing[key] for key in worse} | {key: state for key, state in told.items() if key in now}
    left = {key: state for key, state in before.items() if _RANKS[now[key]] > _RANKS[state]}
    return DnsChanges(now, left, worse, is_well_again=bool(before) and not left)

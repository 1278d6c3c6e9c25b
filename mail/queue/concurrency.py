"""What the sending threads of this process know of each server: who is busy with it, and whether it is worth trying.

Every thread asks here before it takes work, so that a server that is slow, silent or away holds up nobody but itself.
Two *lanes* share a server: ``personal`` and ``mass``. Servers are numbers, 0 for the default server.
"""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Literal

from mail.sentences import Why, why

Lane = Literal["personal", "mass"]

MOST = 2  # connections of one lane to one server
STRIKES = 3  # cuts and doubts in a row after which a server counts as away
BACK_OFF = 30.0  # seconds for which a server that could not be reached is left alone
AFTER_STRIKES = (30.0, 60.0, 120.0, 300.0)  # the same after cuts and doubts: each further try may cost a doubt
SLOW = 3.0  # seconds of waiting for one mail after which a server counts as slow ...
WANTED = 2.0  # seconds for which a mailing leaves a connection to personal mail that waits for it
PACE = 100_000  # ... and one more for so many bytes: a large mail takes its time on a thin line


@dataclass(slots=True)
class Delivering:
    """A thread that delivers to a server; ``since`` is None while no mail is on its way."""

    server: int
    name: str
    size: int = 0
    since: float | None = None

    def is_slow(self) -> bool:
        """Say whether a mail takes longer than a server that is well would need."""
        since = self.since
        return since is not None and time.monotonic() - since > SLOW + self.size / PACE


@dataclass
class _ServerState:
    held: Counter[str] = field(default_factory=Counter)
    away_until: float = 0.0
    why: Why | None = None  # what it is left alone for
    strikes: int = 0
    slow: bool = False
    doubted: bool = True  # there may be lines that wait for it to accept another mail
    connections: int | None = None  # that it takes at once, as far as that was learned
    learned_until: float = 0.0
    is_known: bool = False  # what its record allows; until then it gets one connection
    allowed: int | None = None  # connections at once of this process, by the record of the server
    wanted_until: float = 0.0  # personal mail waits for a connection that the other lane has

    @property
    def most(self) -> int | None:
        """How many connections at once there may be, None for as many as the lanes have."""
        learned = self.connections if time.monotonic() < self.learned_until else None
        allowed = self.allowed if self.is_known else 1
        return min((most for most in (learned, allowed) if most is not None), default=None)


class ServerConcurrency:
    """Which servers may be given to one more thread; used by all sending threads."""

    def __init__(self, mass: int = MOST) -> None:
        self._lock = threading.Lock()
        self._most: dict[str, int] = {"personal": MOST, "mass": mass}
        self._states: defaultdict[int, _ServerState] = defaultdict(_ServerState)
        self._delivering: dict[int, Delivering] = {}
        self.allow(0, None)  # the default server has no record

    # --- taking work

    def full(self, lane: Lane) -> set[int]:
        """Return the servers that no further thread of a lane may take now."""
        with self._lock:
            return {server for server, state in self._states.items() if not self._has_room(state, lane)}

    def take(self, server: int, lane: Lane) -> bool:
        """Take a place at a server; False when there is none."""
        with self._lock:
            state = self._states[server]
            if not self._has_room(state, lane):
                return False
            state.held[lane] += 1
            if lane == "personal":
                state.wanted_until = 0.0
            return True

    def free(self, server: int, lane: Lane) -> None:
        """Give the place back."""
        with self._lock:
            self._states[server].held[lane] -= 1

    def want(self, server: int) -> None:
        """Personal mail for a server is due and finds no connection: a mailing that has one is to give it up."""
        with self._lock:
            state = self._states[server]
            taken = state.most is not None and state.held.total() >= state.most
            if taken and not state.held["personal"] and time.monotonic() >= state.away_until:
                state.wanted_until = time.monotonic() + WANTED

    def yields(self, server: int) -> bool:
        """Say whether a mailing is to give up its connection, because personal mail waits for it."""
        state = self._states.get(server)
        return state is not None and time.monotonic() < state.wanted_until

    def _has_room(self, state: _ServerState, lane: Lane) -> bool:
        held, most = state.held.total(), state.most
        if time.monotonic() < state.away_until and (lane == "personal" or state.strikes >= STRIKES):
            return False  # a mailing waits for a server that it can't reach by its own row
        if most is not None:
            if held >= most or (lane == "mass" and time.monotonic() < state.wanted_until):
                return False
            if lane == "mass" and most > 1 and state.held["mass"] >= most - 1:
                return False  # the last one is for personal mail
        if state.why is not None:  # one thread is enough to see whether it is well again
            return held == 0
        if state.slow:  # the same, but personal mail does not wait for a mailing to end
            return held == 0 if lane == "mass" else state.held["personal"] == 0
        return state.held[lane] < self._most[lane]

    # --- what the record of a server allows

    def allow(self, server: int, connections: int | None) -> None:
        """Have at most so many connections to a server at once, over both lanes; None for no limit."""
        with self._lock:
            state = self._states[server]
            state.is_known, state.allowed = True, connections

    def first_seen(self, server: int, connections: int | None) -> None:
        """A server is used that nobody has told about: of those it allows, this process has one until it is told."""
        with self._lock:
            state = self._states[server]
            if not state.is_known and connections is None:
                state.is_known = True

    def most_connections(self, server: int) -> int | None:
        """Return how many connections to a server this process may have at once, None for no limit."""
        with self._lock:
            return self._states[server].most

    # --- what became of a mail

    def accepted(self, server: int, seconds: float) -> bool:
        """A mail was accepted: the server is well. Returns whether lines in doubt waited for that."""
        with self._lock:
            state = self._states[server]
            state.strikes, state.why, state.away_until = 0, None, 0.0
            state.slow = state.slow and seconds > SLOW
            doubted, state.doubted = state.doubted, False
            return doubted

    def answered(self, server: int) -> None:
        """A mail was refused or put off: that, too, is an answer."""
        with self._lock:
            self._states[server].strikes = 0

    def struck(self, server: int, reason: Why, in_doubt: bool) -> bool:
        """A mail was cut off or its answer never seen; returns whether the server counts as away now."""
        with self._lock:
            state = self._states[server]
            state.strikes += 1
            state.doubted |= in_doubt
            if state.strikes < STRIKES:
                return False
            wait = AFTER_STRIKES[min(state.strikes - STRIKES, len(AFTER_STRIKES) - 1)]
            state.why, state.away_until = reason, time.monotonic() + wait
            return True

    def unreachable(self, server: int, reason: Why) -> None:
        """There is no connection to the server: it is left alone for a while."""
        with self._lock:
            state = self._states[server]
            state.why, state.away_until = reason, time.monotonic() + BACK_OFF

    def try_again(self, server: int) -> None:
        """What a server was left alone for is over."""
        with self._lock:
            state = self._states[server]
            state.why, state.away_until = None, 0.0

    def takes_only(self, server: int, connections: int | None, seconds: float) -> None:
        """Have at most so many connections to a server at once, over both lanes, for so long."""
        with self._lock:
            state = self._states[server]
            state.connections, state.learned_until = connections, time.monotonic() + seconds

    # --- what is being waited for

    @contextmanager
    def delivering(self, server: int, name: str) -> Iterator[Delivering]:
        """Let others see whether this thread waits for a server, as long as the block lasts."""
        thread = threading.get_ident()
        one = self._delivering[thread] = Delivering(server, name)
        try:
            yield one
        finally:
            del self._delivering[thread]

    def why_waiting(self) -> dict[int, Why]:
        """Return the servers that mail waits for, and why; one that keeps us waiting counts as slow from now on."""
        found = {}
        with self._lock:
            for one in [one for one in list(self._delivering.values()) if one.is_slow()]:
                self._states[one.server].slow = True
                found[one.server] = why("server_slow", server=one.name)
            for server, state in self._states.items():
                if state.why is not None and time.monotonic() < state.away_until:
                    found[server] = state.why
        return found


class ByteBudget:
    """How many bytes of large mails may be in memory at once; small ones always may."""

    SMALL = 1_000_000

    def __init__(self, octets: int) -> None:
        self._most, self._used = octets, 0
        self._changed = threading.Condition()

    def of(self, size: int) -> AbstractContextManager[None]:
        """Wait until a mail of this size fits; one that is larger than all there is goes alone."""
        return self._share(min(size, self._most)) if size > self.SMALL else nullcontext()

    @contextmanager
    def _share(self, share: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: self._used + share <= self._most)
            self._used += share
        try:
            yield
        finally:
            with self._changed:
                self._used -= share
                self._changed.notify_all()


in_memory = ByteBudget(48_000_000)

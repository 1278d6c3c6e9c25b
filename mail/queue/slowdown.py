"""Which recipient domains wait because a server asked to slow down: known to all threads, shared by all processes.

A sending thread asks before each email; while no domain waits, that is a look at an empty dictionary. What a thread
learns holds in its process immediately. ``share`` writes it down and reads what others learned: the loop that watches
the servers calls it every second, so that no email pays for it and a restart forgets nothing.
"""

import threading
from collections import Counter
from datetime import datetime

from sqlalchemy import delete, select, tuple_

from mail.decide.slowdown import ALL, ANSWERS, Slowdown, asked_for, slower
from mail.message.address import domain_of
from mail.sentences import Why, why
from mail.transport.smtp import Outcome
from models import SlowedDomain, db, reading
from models.store import upsert

Key = tuple[int, str]  # server, domain


class Slowdowns:
    """The domains that wait, by server; used by all sending threads of a process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[Key, Slowdown] = {}
        self._fresh: dict[Key, Slowdown] = {}  # not written down yet
        self._answers: Counter[tuple[int, str, str]] = Counter()

    def any(self) -> bool:
        """Say whether any domain may have to wait."""
        return bool(self._known)

    def of(self, server_id: int, address: str, now: datetime) -> Slowdown | None:
        """Return what an email to this address has to wait for, None when it may go."""
        found = [self._known.get((server_id, domain)) for domain in (ALL, domain_of(address))]
        return max((one for one in found if one and one.holds(now)), key=lambda one: one.until, default=None)

    def answered(self, server_id: int, address: str, outcome: Outcome, now: datetime) -> None:
        """Note an answer that was no acceptance: the domain, or all, waits when it means "slow down"."""
        cause = asked_for(outcome.why["code"], outcome.phase) if outcome.temporary and outcome.why else ""
        if not cause:
            return
        key = server_id, ALL if cause == "server_limit_now" else domain_of(address)
        with self._lock:
            self._answers[(*key, cause)] += 1
            before = self._known.get(key)
            if self._answers[(*key, cause)] < ANSWERS[cause] or (before and before.holds(now)):
                return
            del self._answers[(*key, cause)]
            self._fresh[key] = slower(before, cause, now)
            self._known = self._known | {key: self._fresh[key]}

    def accepted(self, server_id: int, address: str) -> None:
        """An email was accepted: what the domain put off before was not about the pace."""
        if self._answers:
            with self._lock:
                for cause in ANSWERS:
                    self._answers.pop((server_id, domain_of(address), cause), None)

    def share(self, now: datetime) -> None:
        """Write down what this process learned, read what others did, and forget what is over; commits if it writes."""
        with self._lock:
            fresh = dict(self._fresh)
        if fresh:
            rows = [{"server_id": key[0], "domain": key[1], **slowdown._asdict()} for key, slowdown in fresh.items()]
            statement = upsert(SlowedDomain).values(rows)
            values = {name: statement.excluded[name] for name in Slowdown._fields}
            db.session.execute(
                statement.on_conflict_do_update(
                    index_elements=["server_id", "domain"],
                    set_=values,
                    where=SlowedDomain.until < statement.excluded.until,
                )
            )
            db.session.commit()
        with reading():
            stored = slowed_domains()
        over = [key for key, slowdown in stored.items() if slowdown.is_over(now)]
        if over:
            key = tuple_(SlowedDomain.server_id, SlowedDomain.domain)
            db.session.execute(delete(SlowedDomain).where(key.in_(over)))
            db.session.commit()
        with self._lock:
            self._fresh = {key: value for key, value in self._fresh.items() if fresh.get(key) != value}
            self._known = {key: value for key, value in stored.items() if key not in over} | self._fresh


def slowed_domains(*of_servers: int) -> dict[Key, Slowdown]:
    """Return what is written down, of all servers or of these."""
    row = SlowedDomain
    found = select(row.server_id, row.domain, row.steps, row.until, row.code)
    if of_servers:
        found = found.where(row.server_id.in_(of_servers))
    return {(one.server_id, one.domain): Slowdown(one.steps, one.until, one.code) for one in db.session.execute(found)}


def reason_of(slowdown: Slowdown, server_name: str, address: str) -> Why:
    """Return why an email waits for its domain."""
    if slowdown.code == "server_slowed":
        return why("server_slowed", server=server_name)
    return why(slowdown.code, server=server_name, domain=domain_of(address))

"""What became of the recipients of a chunk, and how it is written down: traces, totals, the state of the mailing.

All results of a chunk are one transaction. Locks are taken in the order chunk, traces, mailing.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy.exc import DBAPIError

from mail.mailing import blacklist
from mail.outgoing import failures as outgoing_failures
from mail.outgoing import waiting
from mail.outgoing.delivery import remember_live
from mail.outgoing.lines import free_doubted
from mail.queue.lease import LeaseLost, WorkerLease
from mail.queue.quota import Reservation
from mail.sentences import Why, ended, why
from mail.settings import parameters
from models import Mailing, RelayId, db
from models import chunk as chunk_rows
from models.faults import keeps_waiting
from models.store import insert_rows

log = logging.getLogger("coquimail.mailing")

TELL_EVERY = 1.0  # seconds between two events of one mailing for open pages
WINDOW = 200  # the last recipients whose failures may pause a mailing
BACK_OFF = (5, 10, 20, 40, 60, 120, 300)  # seconds before a server that can't be reached is tried again
AFTER_STRIKES = (30, 60, 120, 300)  # the same after cuts and doubts, each of which may cost a recipient; then it pauses
AFTER_MISTAKES = (30, 30, 30)  # the same for what is our own trouble, if it is none that we know


@dataclass(frozen=True, slots=True)
class ChunkWork:
    """A chunk that this worker holds. First passes take recipients that are ``queued``, later ones the deferred."""

    chunk_id: int
    first_id: int
    last_id: int
    pass_number: int
    mailing_id: int
    server_id: int | None  # None: the default server
    content_key: str
    tries: int
    custom_off: bool = False  # only servers that somebody named are used

    @property
    def from_state(self) -> str:
        return "queued" if self.pass_number == 1 else "deferred"


class Result(NamedTuple):
    """What became of a recipient that was not simply sent."""

    trace_id: int
    state: str
    why: Why | None
    code: int | None = None
    reply: str | None = None
    next_try_at: datetime | None = None
    first_try_at: datetime | None = None
    tries: int = 1  # 0 for one that was not tried

    def row(self) -> dict[str, Any]:
        """Return the columns as ``chunk.write_others`` takes them."""
        return {
            "trace": self.trace_id,
            "new_why": self.why,
            "new_code": self.code,
            "new_reply": self.reply,
            "again_at": self.next_try_at,
            "since": self.first_try_at,
            "tries": self.tries,
        }


@dataclass
class ChunkResults:
    """What became of the recipients of a chunk so far, and why it ends before its end."""

    sent: list[tuple[int, datetime]] = field(default_factory=list)
    others: list[Result] = field(default_factory=list)
    relay_ids: list[dict[str, Any]] = field(default_factory=list)  # what a relay calls emails that it took
    failures: list[outgoing_failures.Failure] = field(default_factory=list)
    reached: bool = False  # the server took or refused at least one mail
    back: bool = False  # recipients are left: the chunk waits for another turn
    trouble: Why | None = None  # no mail can be sent now: the mailing waits
    waits: Sequence[int] = BACK_OFF  # how long, by how often it had to before; a finite one ends in a pause
    stop: Why | None = None  # no mail can be sent until somebody fixes it: the mailing pauses
    frees_doubted: bool = False  # the server took a mail: personal lines in doubt that waited for that may go
    reserved: Reservation | None = None  # what was counted for it of the limits of its server

    is_bare: bool = False
    recorded: int = 0  # how many of ``sent`` are written down already

    def strip(self, reason: Why) -> None:
        """Leave out the words of the servers and what they say about addresses."""
        self.others = [
            result._replace(why=ended(reason) if result.state == "failed" else reason, code=None, reply=None)
            for result in self.others
        ]
        self.failures, self.is_bare = [], True

    @property
    def unused(self) -> int:
        """How many emails were counted for the limits of the server that it did not accept."""
        return (self.reserved.emails if self.reserved else 0) - len(self.sent) - self.states()["unknown"]

    def states(self) -> Counter[str]:
        """Count the results by state."""
        return Counter({"sent": len(self.sent)}) + Counter(result.state for result in self.others)

    def main_cause(self) -> str:
        """Return the code of the failure that most recipients have, "" when none failed."""
        causes = Counter(one.why["code"] for one in self.others if one.state == "failed" and one.why)
        return next((code for code, _ in causes.most_common(1)), "")


def record(work: ChunkWork, results: ChunkResults, worker: WorkerLease, clock: Callable[[], datetime]) -> None:
    """Write the results of a chunk down; waits while the database is away, as long as the chunk is surely ours."""
    tries = 0
    while True:
        try:
            has_room = _record_once(work, results, worker.id, clock())
        except DBAPIError as error:
            db.session.rollback()
            if keeps_waiting(error):
                tries += 1
                if tries > 3:
                    worker.assert_alive()
                log.warning("mailing %s: results are not recorded yet (%s)", work.mailing_id, type(error.orig).__name__)
                time.sleep(0.5)  # the database is away; the journal knows what was sent
            elif results.is_bare:
                raise
            else:  # one of the results can't be stored: then what is certain, without the words
                log.error("mailing %s: results can't be recorded (%s)", work.mailing_id, type(error.orig).__name__)
                results.strip(why("delivery_unexpected", error=type(error.orig).__name__, detail=""))
        else:
            break
    if has_room:
        waiting.use_room(work.server_id or 0, results.unused, clock())
    counts = results.states()
    log.info("mailing %s: chunk %s %s", work.mailing_id, work.chunk_id, dict(counts))


def _record_once(work: ChunkWork, results: ChunkResults, worker_id: int, now: datetime) -> bool:
    """Write all down together, and return whether there is room again for what waits for a limit."""
    if not chunk_rows.leave(work.chunk_id, worker_id, "waiting" if results.back else "done"):
        db.session.rollback()
        raise LeaseLost(worker_id)
    changed = write_results(work, results)
    if changed or results.stop or results.trouble or (results.reserved and results.reserved.why):
        _change_mailing(work, results, changed, now)
    if results.frees_doubted:
        free_doubted(work.server_id or 0, now)
    if results.sent:
        remember_live(work.server_id or 0, now)
    has_room = results.reserved is not None and results.reserved.give_back(results.unused)
    if results.failures:
        blacklist.consider(outgoing_failures.record(results.failures, now), work.mailing_id, now)
    if results.back or results.others or is_time_to_tell(work.mailing_id):
        Mailing.tell(work.mailing_id, now)
    db.session.commit()
    return has_room


def record_progress(work: ChunkWork, results: ChunkResults, now: datetime) -> None:
    """Write down what a slow server took so far, so that open pages see it; the chunk stays ours. Commits."""
    written = ChunkResults(sent=results.sent, relay_ids=results.relay_ids, recorded=results.recorded)
    if changed := write_results(work, written):
        chunk_rows.count(work.mailing_id, changed)
        Mailing.tell(work.mailing_id, now)
    db.session.commit()
    results.recorded, results.relay_ids = len(results.sent), []


def write_results(work: ChunkWork, results: ChunkResults) -> Counter[str]:
    """Write the results to the traces and return what it changes in the totals.

    A trace that reached a final state meanwhile, by a bounce that was quicker than us, stays as it is.
    """
    changed: Counter[str] = Counter()
    if sent := results.sent[results.recorded :]:
        changed["sent"] = chunk_rows.write_sent(sent, work.from_state)
        insert_rows(RelayId, results.relay_ids)
    for state in {result.state for result in results.others}:
        rows = [result.row() for result in results.others if result.state == state]
        changed[state] += chunk_rows.write_others(rows, state, work.from_state)
    if work.from_state == "deferred":
        changed["deferred"] -= changed.total()
    return changed


def _change_mailing(work: ChunkWork, results: ChunkResults, changed: Mapping[str, int], now: datetime) -> None:
    """Change the totals; wait for a server that is away; pause when too many fail or somebody has to fix something."""
    mailing = chunk_rows.count(work.mailing_id, changed)
    values: dict[str, Any] = {}
    limit = results.reserved if results.reserved and results.reserved.why else None
    if limit:
        values = {"why": limit.why, "next_try_at": limit.until}
    elif results.trouble:
        wait = results.waits[min(work.tries, len(results.waits) - 1)]
        values = {"why": results.trouble, "next_try_at": now + timedelta(seconds=wait), "tries": work.tries + 1}
    elif results.reached and (work.tries or mailing.why):
        values = {"why": None, "next_try_at": None, "tries": 0}
    stop, states = results.stop, results.states()
    if results.trouble and results.waits is not BACK_OFF and work.tries >= len(results.waits):
        stop = stop or results.trouble
    if states["failed"] or mailing.recent:
        recent = values["recent"] = _window(states, mailing.recent)
        tried, failed = sum(n for n, _ in recent), sum(n for _, n in recent)
        percent = parameters.PAUSE_PERCENT.get()
        if percent and failed * 100 > max(tried, WINDOW) * percent:
            stop = stop or why("mailing_paused_failures", failed=failed, tried=tried, cause=results.main_cause())
    if mailing.state != "sending":
        values.pop("why", None)  # what a person said stays
    elif stop:
        values |= {"state": "paused", "why": ended(stop), "next_try_at": None, "tries": 0}
        log.warning("mailing %s: paused automatically (%s)", work.mailing_id, stop["code"])
    if values:
        Mailing.change(work.mailing_id, values)


def _window(states: Counter[str], before: Sequence[Sequence[int]]) -> list[list[int]]:
    """The results of the last chunks, as [tried, failed], the newest first: just enough for WINDOW recipients."""
    recent, tried = [], 0
    for n, failed in [(states.total() - states["deferred"], states["failed"]), *before]:
        if tried >= WINDOW:
            break
        recent.append([n, failed])
        tried += n
    return recent if any(failed for _, failed in recent) else []


class _EventThrottle:
    """When open pages were told last about a mailing: once a second is enough for them."""

    def __init__(self) -> None:
        self._told: dict[int, float] = {}

    def is_time(self, mailing_id: int) -> bool:
        now = time.monotonic()
        if now - self._told.get(mailing_id, 0.0) < TELL_EVERY:
            return False
        self._told[mailing_id] = now
        return True


_event_throttle = _EventThrottle()


def is_time_to_tell(mailing_id: int) -> bool:
    """Return whether open pages were not told about a mailing within a second, by any thread of this process."""
    return _event_throttle.is_time(mailing_id)

"""FLOW of a personal mail going out: claim the due lines of one server -> deliver -> record.

Nothing leaves twice and nothing is forgotten: a claim is committed before, the result after, and the journal says what
was in flight between. States stand on the lines; who reads them derives the state of the mail.
"""

import contextlib
import logging
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from mail.decide.signing import UNSIGNED_WAITS
from mail.decide.verp import bounce_address_of, shared_by_all
from mail.errors import JournalFailed, ServerGone
from mail.message.address import wire_address
from mail.message.dkim import hash_of_body, signature_headers, split
from mail.outgoing import failures
from mail.outgoing.delivery import (
    DeliveryBatch,
    End,
    Parcel,
    Try,
    deliver_batch,
    failure_of,
    given_by_relay,
    not_tried,
    remember_live,
)
from mail.outgoing.delivery_state import mark_doubts, mark_failures, mark_untold, show_progress
from mail.outgoing.enqueue import waits_for_server
from mail.outgoing.line_results import RESULT, attempt_of, doubt_of, result_of
from mail.outgoing.lines import decide_again, free_doubted, left_early, posts_of_lines, whole
from mail.outgoing.waiting import NOT_TRIED, PAUSE, hand_back, use_room, wait_for_limit
from mail.queue import quota
from mail.queue.concurrency import ServerConcurrency
from mail.queue.connections import Connections
from mail.queue.journal import Journal, State
from mail.queue.lease import WorkerLease
from mail.sentences import Why, ended, why
from mail.settings import office
from mail.settings.clock import now as clock_now
from mail.settings.signing import signing_keys
from mail.settings.tokens import TokenKind
from models import Blob, DeliveryAttempt, OutgoingMail, Recipient, RelayId, db, reading
from models.faults import keeps_waiting
from models.outgoing import Claimed, claim, count_due, due_servers
from models.store import insert_rows

log = logging.getLogger("coquimail.outgoing")

BATCH = 20  # lines of one claim
RECORD_EVERY = 1.0  # seconds after which results are written down, although lines of the batch are still to be sent
MOST_FAILED = 3  # failed batches after which a line goes alone

_failed_batches: Counter[int] = Counter()  # by line; of this process


# --- take them


def next_server(servers: ServerConcurrency) -> int | None:
    """Return the server whose line has waited longest and that a thread may take now, None when there is none."""
    full = servers.full("personal")
    with reading():
        due = due_servers(clock_now())
    for server in due:
        if server not in full:
            return server
        servers.want(server)
    return None


def send_some(
    worker: WorkerLease, connections: Connections, journal: Journal, stopping: Callable[[], bool] = lambda: False,
    claimed: Callable[[], None] = lambda: None,
) -> int:  # fmt: skip
    """Send the next due lines of one server and return how many were taken: 0 means that nothing is due.

    ``claimed`` is called when they are taken and about to be sent. Runs in a sending thread, in an application context.
    ``LeaseLost`` means that our lines may already be another worker's: they are left as they are.
    """
    server = None if connections.halted else next_server(connections.servers)
    if server is None or not connections.servers.take(server, "personal"):
        return 0
    try:
        moment = clock_now()
        reserved = quota.reserve(server, BATCH, moment, lambda: count_due(server, moment, BATCH))
        if reserved.why:
            return wait_for_limit(reserved, moment)
        lines = claim(worker.id, server, moment, reserved.emails, newest=_newest_first(connections, reserved))
        lines, others = _apart(lines)
        hand_back([line.id for line in others], worker.id)
        batch = LineBatch(server, lines, worker, journal, stopping)
        if lines:
            claimed()
            _send(batch, connections)
        batch.give_back_room(reserved)
    finally:
        connections.servers.free(server, "personal")
    return len(lines)


def _newest_first(connections: Connections, reserved: quota.Reservation) -> bool:
    """Say whether the lines that became due last have their turn: every other time, so that a long queue of older ones
    does not delay what somebody has just written (docs/decisions/0048). Where a limit leaves few, the oldest go.
    """
    connections.claims[reserved.server_id] += 1
    return reserved.emails >= BATCH and connections.claims[reserved.server_id] % 2 == 0


def _apart(lines: list[Claimed]) -> tuple[list[Claimed], list[Claimed]]:
    """Part lines from those that were in too many failed batches: each of these goes alone."""
    suspects = [line for line in lines if _failed_batches[line.id] >= MOST_FAILED]
    innocent = [line for line in lines if _failed_batches[line.id] < MOST_FAILED]
    return (innocent, suspects) if innocent else (suspects[:1], suspects[1:])


def _send(batch: "LineBatch", connections: Connections) -> None:
    if elsewhere := batch.chosen_elsewhere():
        _decide_anew(batch, elsewhere)
    try:
        if batch.waiting:
            deliver_batch(batch, connections, batch.journal, batch.worker)
    except ServerGone:
        _decide_anew(batch, list(batch.waiting))
    batch.record()
    batch.give_back()


def _decide_anew(batch: "LineBatch", lines: Sequence[Claimed]) -> None:
    """The chosen server is gone: choose again for these mails and put their lines back."""
    for line in lines:
        batch.waiting.remove(line)
    without = decide_again({line.mail_id for line in lines}, clock_now())
    for line in lines:
        if reason := without.get(line.mail_id):
            batch.note(line, Try(not_tried(reason)._replace(temporary=waits_for_server(reason))))
    hand_back([line.id for line in lines if line.mail_id not in without], batch.worker.id)


# --- send them


class LineBatch(DeliveryBatch[Claimed]):
    """Lines of one server that this worker holds, and what became of them so far."""

    lane = "personal"
    keeps_transcripts = True
    goes_live = True  # once a real server takes a mail, the practice mailbox takes no server's place
    counts_failures = True  # a refusal says something about its address

    def __init__(
        self,
        server_id: int,
        lines: Sequence[Claimed],
        worker: WorkerLease,
        journal: Journal,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(server_id)
        self.lines, self.waiting = lines, deque(lines)
        self.worker, self.journal, self._stopping = worker, journal, stopping
        self._noted: list[tuple[Claimed, Try, dict[str, Any]]] = []
        self._content: tuple[int, bytes] = (0, b"")
        self._body_hash: tuple[int, str] = (0, "")
        self._used = 0  # lines that count for the limits of the server
        self._put_off: defaultdict[datetime, list[tuple[Claimed, Why]]] = defaultdict(list)
        self._unsigned: defaultdict[str, list[tuple[Claimed, Why]]] = defaultdict(list)  # by the domain of the key
        self._recorded_at = time.monotonic()
        self._is_gone = False

    def chosen_elsewhere(self) -> list[Claimed]:
        """Return the lines whose mail has no such server: its record was deleted, or there was none to begin with."""
        gone = [line for line in self.lines if line.chosen != self.server_id]
        if self.server_id == 0:
            with reading():
                mails = {line.mail_id for line in self.lines}
                rows = db.session.execute(
                    select(OutgoingMail.id, OutgoingMail.decision).where(OutgoingMail.id.in_(mails))
                )
                default = {row.id for row in rows if row.decision and row.decision.get("is_default_server")}
            gone += [line for line in self.lines if line.chosen == 0 and line.mail_id not in default]
        return gone

    def goes_on(self) -> bool:
        """Record now and then; end when the process does."""
        if self._noted and time.monotonic() - self._recorded_at > RECORD_EVERY:
            self.record()
        if self._stopping():
            self.stop(End.STOPPED)
        return self.end is End.DONE

    def compose(self, line: Claimed) -> Parcel:
        """Put the mail of one recipient together from what all of its recipients share."""
        recipient = wire_address(line.address, smtputf8=True)
        if self._content[0] != line.content_blob_id:
            self._content = (0, b"")  # only one at a time: they may be large
            with reading():
                self._content = line.content_blob_id, Blob.read(line.content_blob_id)
        date = left_early(line.scheduled_at, line.first_try_at)
        content = whole(line.id, line.name, line.address, line.from_header, self._content[1], line.message_id, date)
        token = office.tokens().make(TokenKind.LINE_BOUNCE, line.id)
        keys = signing_keys().of_sender(line.from_header) if self.signs else ()
        return Parcel(
            f"l{line.id}",
            bounce_address_of(line.envelope_sender, token),
            recipient,
            content,
            signature=signature_headers(content, keys, self._hash_of_body(line, content)) if keys else b"",
            signed=", ".join(map(str, keys)),
            shared_sender=shared_by_all(line.envelope_sender),
        )

    def _hash_of_body(self, line: Claimed, content: bytes) -> str:
        """The recipients of a mail share its body, which may be large."""
        if self._body_hash[0] != line.content_blob_id:
            self._body_hash = line.content_blob_id, hash_of_body(split(content)[1])
        return self._body_hash[1]

    def size_of(self, line: Claimed) -> int:
        """Return the size of the mail."""
        return line.size

    def note(self, line: Claimed, tried: Try) -> None:
        """Keep what became of a line until the batch is recorded."""
        self._noted.append((line, tried, result_of(line, tried.outcome, clock_now())))
        if line.doubts == 0:  # one that was in doubt counted then
            self._used += tried.outcome.accepted or tried.outcome.in_doubt

    def take_back(self, count: int) -> None:
        """Deliver the lines that were noted last again."""
        again = [self._noted.pop()[0] for _ in range(min(count, len(self._noted)))]
        self.waiting.extend(reversed(again))

    def put_off(self, line: Claimed, reason: Why, until: datetime) -> None:
        """Keep it for the end, when those that wait for the same domain go back to the queue together."""
        self._put_off[until].append((line, reason))

    def leave_unsigned(self, line: Claimed, reason: Why) -> None:
        """Keep it for the end, when those that wait for the same key go back to the queue together."""
        self._unsigned[reason["values"]["domain"]].append((line, reason))

    def now(self) -> datetime:
        """Return the time of the office."""
        return clock_now()

    def unreached(self, tried: Try) -> None:
        """All of them are tried again later: they need not find out one by one that the server is away."""
        for line in self.waiting:
            self.note(line, tried)
            tried = Try(tried.outcome)
        self.waiting.clear()

    # --- write it down

    def record(self) -> None:
        """Write down the results so far, tell the open pages, and only then let the journal forget them."""
        if not self._noted:
            return
        noted, self._noted = self._noted, []
        try:
            self._write(noted)
        except Exception as error:
            db.session.rollback()
            if keeps_waiting(error):
                raise
            log.exception("results can't be written down together")
            self._is_gone = isinstance(error, IntegrityError)  # the record of the server was deleted meanwhile
            for one in noted:
                self._write_alone(one)
        with contextlib.suppress(JournalFailed):  # it begins nothing until it could be
            self.journal.reset()
        self._recorded_at = time.monotonic()
        for line, _, result in noted:
            _failed_batches.pop(line.id, None)
            log.info("line %s: %s %s", line.id, result["state"], result["code"] or "")

    def _write(self, noted: Sequence[tuple[Claimed, Try, dict[str, Any]]]) -> None:
        now = clock_now()
        holder = {"holder": self.worker.id}
        db.session.connection().execute(RESULT, [result | holder for _, _, result in noted])
        attempts = [attempt_of(line, tried, now, self.server_name, is_gone=self._is_gone) for line, tried, _ in noted]
        db.session.execute(insert(DeliveryAttempt), attempts)
        given = [(line.id, given_by_relay(tried)) for line, tried, _ in noted if tried.outcome.accepted]
        insert_rows(RelayId, [{"recipient_id": id, "name": name} for id, name in given if name])
        failed = [line for line, _, result in noted if result["state"] == "failed"]
        about = (failure_of(line.address, tried.outcome, recipient_id=line.id) for line, tried, _ in noted)
        failures.record([failure for failure in about if failure and self.counts_failures], now)
        mark_failures(posts_of_lines(failed), now)
        mark_untold([line.id for line in failed if line.post_id is None])
        mark_doubts(posts_of_lines([line for line, _, result in noted if result["state"] == "unknown"]), now)
        show_progress(posts_of_lines(self.lines), now)
        if self.frees_doubted:
            free_doubted(self.server_id, now)
            self.frees_doubted = False
        if self.goes_live and any(result["state"] == "sent" for _, _, result in noted):
            remember_live(self.server_id, self.began_at)
        db.session.commit()

    def _write_alone(self, noted: tuple[Claimed, Try, dict[str, Any]]) -> None:
        """Write down one result; of one that can't be written only what is certain: whether it was sent."""
        _, tried, result = noted
        try:
            self._write([noted])
        except Exception as error:
            db.session.rollback()
            if keeps_waiting(error):
                raise
            reason = why("delivery_unexpected", error=type(error).__name__, detail="")
            reason = ended(reason) if result["state"] == "failed" else reason
            bare = {"enhanced": "", "reply": "", "why": None if tried.outcome.accepted else reason}
            db.session.connection().execute(RESULT, [result | bare | {"holder": self.worker.id}])
            db.session.commit()

    def give_back(self) -> None:
        """Put back what was not begun: at once, or in a while with the reason; a line that fails alone has failed."""
        for until, put_off in self._put_off.items():
            hand_back([line.id for line, _ in put_off], self.worker.id, put_off[0][1], until, "limit")
        for unsigned in self._unsigned.values():
            again = clock_now() + UNSIGNED_WAITS
            hand_back([line.id for line, _ in unsigned], self.worker.id, unsigned[0][1], again)
        left, self.waiting = list(self.waiting), deque()
        ids = [line.id for line in left]
        if self.end is End.FAILED and not self.is_known:
            _failed_batches.update(ids)
            if len(left) == len(self.lines) == 1 and _failed_batches[ids[0]] > MOST_FAILED:
                self.note(left[0], Try(not_tried(self.why or why("left_the_queue"))._replace(temporary=False)))
                self.record()
                return
        later = clock_now() + PAUSE if self.end in (End.FAILED, End.SIGNED_OUT) else None
        hand_back(ids, self.worker.id, self.why, later)

    def give_back_room(self, reserved: quota.Reservation) -> None:
        """Let others use what was counted for lines that the server did not accept; commits."""
        db.session.rollback()
        unused = reserved.emails - self._used
        has_room = reserved.give_back(unused)
        db.session.commit()
        if has_room:
            use_room(self.server_id, unused, clock_now())


# --- after a worker died


def recover_lines(
    worker_id: int, said: Mapping[str, State] | None, now: datetime, once: Collection[int] = ()
) -> dict[str, int]:
    """Recover the lines that a dead worker held, by its journal, and return how many went which way.

    ``ok`` in the journal: it was sent. ``begun`` alone: nobody knows. No word: it was never sent, back to the queue.
    ``said`` None is a journal that can't be had: nobody knows about any of them. What is sent ``once`` only has failed
    where another line would be sent later. The caller commits and wakes.
    """
    held = db.session.execute(
        select(Recipient.id, Recipient.doubts, OutgoingMail.post_id, OutgoingMail.server_id, OutgoingMail.decision)
        .join(OutgoingMail, Recipient.mail_id == OutgoingMail.id)
        .where(Recipient.worker_id == worker_id, Recipient.state == "sending")
    ).all()
    counts = {"sent": 0, "in doubt": 0, "queued": 0, "failed": 0}
    tries, doubted = [], set()
    for line in held:
        state = "begun" if said is None else said.get(f"l{line.id}")
        values: dict[str, Any]
        reason = None
        if state == "ok":
            values = {"state": "sent", "sent_at": now, "why": None}
            reason = why("sent_unrecorded")
            counts["sent"] += 1
        elif state == "begun":
            values = doubt_of(line.doubts, now, line.id in once)
            reason = values["why"]
            counts["in doubt"] += 1
            doubted |= {line.post_id} if values["state"] == "unknown" else set()
        elif line.id in once:
            reason = why("test_email_lost")
            values = {"state": "failed", "why": reason}
            counts["failed"] += 1
        else:
            values = {"state": "queued"} | NOT_TRIED
            counts["queued"] += 1
        db.session.execute(
            update(Recipient)
            .where(Recipient.id == line.id, Recipient.worker_id == worker_id, Recipient.state == "sending")
            .values(worker_id=None, **values)
        )
        if reason:  # the mail's page shows this try like any other
            server = {"server_id": line.server_id, "server_name": (line.decision or {}).get("server_name", "")}
            tries.append({"recipient_id": line.id, "at": now, "phase": "end", "why": reason, **server})
    if tries:
        db.session.execute(insert(DeliveryAttempt), tries)
    mark_doubts(doubted - {None}, now)
    show_progress({line.post_id for line in held if line.post_id is not None}, now)
    return counts

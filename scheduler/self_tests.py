"""Self-tests of outgoing servers: each in a thread of its own that sends, has the mailboxes fetched, and waits."""

import logging
import time
from concurrent.futures import wait

from mail.errors import JournalFailed
from mail.maintenance import self_test, self_test_rows
from mail.queue.journal import Journal
from mail.queue.lease import LeaseLost
from mail.sentences import Why, why
from mail.settings.clock import now
from mail.settings.config import settings
from models import db
from scheduler.fetching import Fetcher
from scheduler.identity import WorkerIdentity
from scheduler.loops import NotNow, database_away

log = logging.getLogger("coquimail.checks")

LOOK_EVERY = 0.5  # seconds; something may come in without being fetched
FETCH_AFTER = (0.5, 1.0, 1.0, 2.0, 2.0, 3.0, 5.0)  # seconds between two fetches, then the last of these
LONGEST_FETCH = 30.0  # seconds that a slow mailbox keeps the others from being looked at


class SelfTests:
    """What the threads of self-tests need."""

    def __init__(self, identity: WorkerIdentity, fetcher: Fetcher) -> None:
        self._identity, self._fetcher = identity, fetcher

    def run(self, check_id: int, worker_id: int) -> None:
        """Do a test, or go on with it, until it has ended or this worker may not go on: then another one does."""
        try:
            self._run(check_id)
        except (NotNow, LeaseLost):
            db.session.rollback()
            self_test_rows.hand_back(check_id, worker_id)
        except Exception as error:
            if database_away(error):
                raise
            log.exception("self-test %s failed", check_id)
            db.session.rollback()
            reason = why("unexpected_failure", error=type(error).__name__, detail=str(error)[:300])
            self._abandon(check_id, reason)

    def _run(self, check_id: int) -> None:
        fetches, fetch_at = 0, time.monotonic()
        self_test.resume(check_id)
        while self._is_ours(check_id):
            name = self_test.next_to_send(check_id)
            if name:
                self._send(check_id, name)
                fetches, fetch_at = 0, time.monotonic() + FETCH_AFTER[0]
                continue
            if self_test.judge(check_id, now()):
                log.info("self-test %s has ended", check_id)
                return
            if time.monotonic() >= fetch_at:
                wait([self._fetcher.start(id) for id in self_test_rows.mailboxes(check_id)], LONGEST_FETCH)
                fetches = min(fetches + 1, len(FETCH_AFTER) - 1)
                fetch_at = time.monotonic() + FETCH_AFTER[fetches]
            else:
                time.sleep(LOOK_EVERY)

    def _is_ours(self, check_id: int) -> bool:
        with self._identity.work(may_be_cut=True) as held:  # ``NotNow`` when the process is about to end
            return self_test_rows.is_held(check_id, held.id)

    def _send(self, check_id: int, name: str) -> None:
        try:
            with (
                self._identity.claiming() as held,
                Journal.open(settings().journal_folder, held.id, f"self-{check_id}") as journal,
            ):
                self_test.send(check_id, name, journal, held)
                journal.remove()
        except JournalFailed as error:  # nothing was claimed
            self._abandon(check_id, error.why)

    def _abandon(self, check_id: int, reason: Why) -> None:
        self_test_rows.abandon(check_id, reason, now())
        db.session.commit()

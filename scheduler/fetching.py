"""Fetching mailboxes: each in a thread of its own, never one mailbox by two workers at the same time."""

import logging
import threading
from concurrent.futures import Future
from dataclasses import dataclass

from flask import Flask

from mail.incoming import flow
from mail.queue.lease import LeaseLost
from mail.sentences import Why, why
from mail.settings.clock import now
from scheduler.identity import WorkerIdentity
from scheduler.loops import NotNow, what_is_missing
from scheduler.open_mailboxes import Opening, OpenMailboxes

log = logging.getLogger("coquimail.fetch")


@dataclass(frozen=True)
class FetchSummary:
    """What came of fetching one server: how many mails were kept, or why it failed.

    ``remark``: mails were fetched, but could not be marked, moved or deleted.
    """

    server_id: int
    mails: int = 0
    why: Why | None = None
    remark: Why | None = None
    elsewhere: bool = False  # another worker is at it, or this one is about to end: no fault of the server


class Fetcher:
    """Starts a fetch, or joins the one that is under way for the same server."""

    def __init__(self, app: Flask, identity: WorkerIdentity, mailboxes: OpenMailboxes) -> None:
        self._app, self._identity, self._mailboxes = app, identity, mailboxes
        self._lock = threading.Lock()
        self._running: dict[int, Future[FetchSummary]] = {}

    def start(self, server_id: int) -> Future[FetchSummary]:
        """Return what will come of fetching this server."""
        with self._lock:
            found = self._running.get(server_id)
            if found is not None:
                return found
            promise: Future[FetchSummary] = Future()
            self._running[server_id] = promise
        name = f"fetch-{server_id}"
        try:
            threading.Thread(target=self._run, args=(server_id, promise), name=name, daemon=True).start()
        except RuntimeError as error:  # the system gives no further thread: the next run asks again
            log.error("fetching server %s can't begin: %s", server_id, error)
            self._end(promise, FetchSummary(server_id, why=_unexpected(error)))
        return promise

    def _end(self, promise: Future[FetchSummary], fetched: FetchSummary) -> None:
        with self._lock:
            del self._running[fetched.server_id]
        promise.set_result(fetched)

    def is_fetching(self, server_id: int) -> bool:
        """Say whether a fetch of this server is under way here."""
        with self._lock:
            return server_id in self._running

    def _run(self, server_id: int, promise: Future[FetchSummary]) -> None:
        fetched, missing = FetchSummary(server_id, why=why("fetch_interrupted"), elsewhere=True), None
        opening = self._mailboxes.opening(server_id)
        try:
            fetched = self._fetch(server_id, opening)
        except (NotNow, LeaseLost):
            log.info("fetching server %s was interrupted", server_id)
        except Exception as error:
            missing = what_is_missing(error)
            if missing is None:
                log.exception("fetching server %s failed", server_id)
            fetched = FetchSummary(server_id, why=missing or _unexpected(error))
        finally:
            self._mailboxes.ended(opening, fetched.why, soon=fetched.elsewhere or missing is not None)
            self._end(promise, fetched)

    def _fetch(self, server_id: int, opening: Opening) -> FetchSummary:
        with self._app.app_context(), self._identity.alone(f"fetch:{server_id}") as lease:
            if lease is None:
                return FetchSummary(server_id, why=why("fetch_under_way"), elsewhere=True)
            mails = 0
            while True:
                result = flow.fetch(server_id, lease, now(), opening)
                mails += result.kept
                if result.why or not self._mailboxes.keep(opening):
                    return FetchSummary(server_id, mails, result.why, result.remark)


def _unexpected(error: Exception) -> Why:
    return why("unexpected_failure", error=type(error).__name__, detail=str(error)[:300])

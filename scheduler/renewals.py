"""Access tokens are renewed ahead of their end, and admins are warned of permissions that come to theirs."""

import logging
import threading
import time

from flask import Flask

from mail.outgoing import waiting
from mail.queue import access_tokens, account_notices
from mail.queue.connections import Connections
from mail.settings import rehearsal
from mail.settings.clock import now
from models import reading
from scheduler.identity import WorkerIdentity
from scheduler.loops import NotNow, database_away

log = logging.getLogger("coquimail.tokens")

LOOK_EVERY = 2.0  # seconds
WARN_EVERY = 3600.0


class Renewals:
    """The loop that looks for tokens that end soon; a thread of its own speaks with the providers."""

    def __init__(self, app: Flask, identity: WorkerIdentity, connections: Connections) -> None:
        self._app, self._identity, self._servers = app, identity, connections.servers
        self._ready: set[int] | None = None  # servers, as far as they were looked at
        self._thread: threading.Thread | None = None
        self._warned = float("-inf")

    def work(self) -> bool:
        """Look once, and let go what waited for an account that was connected again."""
        ready = access_tokens.ready_servers()
        for server in ready - (ready if self._ready is None else self._ready):
            self._servers.try_again(server)
            waiting.free_signed_in(server, now())
        self._ready = ready
        if self._thread is not None and self._thread.is_alive():
            return False
        if time.monotonic() - self._warned > WARN_EVERY:
            account_notices.warn_of_ends(now())
            self._warned = time.monotonic()
        with reading():
            rehearses = rehearsal.is_on()
        if not rehearses and access_tokens.due(now()):
            self._thread = threading.Thread(target=self._run, name="renewals", daemon=True)
            self._thread.start()
        return False

    def _run(self) -> None:
        try:
            with self._app.app_context(), self._identity.work():
                access_tokens.renew_due(now())
        except NotNow:
            return
        except Exception as error:
            if not database_away(error):
                log.error("renewing failed: %s", type(error).__name__)  # its text may hold a secret

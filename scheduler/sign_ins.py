"""Sign-ins at Google, Microsoft and others that a person began in the browser: the worker speaks with the provider."""

import logging
import threading

from flask import Flask

from mail.sentences import why
from mail.settings import sign_in
from mail.settings.clock import now
from mail.settings.wake import wake
from models import db, reading
from scheduler.identity import WorkerIdentity
from scheduler.loops import NotNow, database_away

log = logging.getLogger("coquimail.sign_in")

MOST = 4  # at the same time: a provider that is slow must not hold up the others


class SignIns:
    """The loop that takes sign-ins further, each in a thread of its own."""

    def __init__(self, app: Flask, identity: WorkerIdentity) -> None:
        self._app, self._identity = app, identity
        self._free = threading.Semaphore(MOST)
        self._left: set[int] = set()  # whose end could not be written down

    def work(self) -> bool:
        """Take the oldest one that can go on, if there is one; returns whether it did."""
        for left in list(self._left):
            sign_in.give_up(left, why("sign_in_lost"), now())
            self._left.discard(left)
        with reading():
            found = sign_in.due(now())
        if found is None or not self._free.acquire(blocking=False):
            return False
        try:
            state = sign_in.claim(found, self._identity.current().id, now())
        except BaseException:
            self._free.release()
            raise
        if not state:
            self._free.release()
            return True
        try:
            threading.Thread(target=self._run, args=(found, state), name=f"sign-in-{found}", daemon=True).start()
        except RuntimeError:  # the system gives no further thread
            self._free.release()
            self._left.add(found)
            raise
        return True

    def _run(self, number: int, state: str) -> None:
        try:
            with self._app.app_context(), self._identity.work(may_be_cut=True):
                self._go_on(number, state)
        except NotNow:
            return
        finally:
            self._free.release()

    def _go_on(self, number: int, state: str) -> None:
        try:
            if sign_in.go_on(number, state, now()):
                wake()  # what waited for the account goes out
        except Exception as error:
            db.session.rollback()
            if database_away(error):
                log.warning("sign-in %s was left: the database is away", number)
                self._left.add(number)
                return
            log.error("sign-in %s failed: %s", number, type(error).__name__)  # its text may hold a secret
            reason = why("sign_in_failed", error=type(error).__name__)
        else:
            return
        try:
            sign_in.give_up(number, reason, now())
        except Exception as error:
            db.session.rollback()
            log.warning("sign-in %s was left: its end could not be written down (%s)", number, type(error).__name__)
            self._left.add(number)

"""Waiting for mail: one thread watches over all mailboxes whose servers say when an email arrives (IMAP IDLE)."""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import String, or_, select, type_coerce, update

from mail.sentences import Why
from mail.settings.clock import now
from models import Event, IncomingServer, OauthAccount, ScheduledAction, db, reading
from scheduler.fetching import Fetcher
from scheduler.open_mailboxes import OpenMailboxes

log = logging.getLogger("coquimail.idle")

LISTEN = 0.5  # seconds; then it is looked whether the servers are still those that are wanted
# What a connection depends on, besides its server: when one changes, the connection ends at once.
SETTINGS = (
    IncomingServer.port, IncomingServer.encryption, IncomingServer.verify_tls, IncomingServer.trusted_certificate,
    IncomingServer.authentication, IncomingServer.user, type_coerce(IncomingServer.password, String),
    IncomingServer.oauth_account_id, IncomingServer.folder, IncomingServer.shared_mailbox, IncomingServer.mailbox,
)  # fmt: skip

Shown = dict[int, tuple[datetime | None, Why | None]]


class Idler:
    """The loop that waits. Only in the worker that leads the scheduled actions, and only while they fetch."""

    def __init__(self, leads: Callable[[], bool], fetcher: Fetcher, mailboxes: OpenMailboxes) -> None:
        self._leads, self._fetcher, self._mailboxes = leads, fetcher, mailboxes
        self._heard: set[int] = set()  # servers with new mail whose fetch has not begun
        self._shown: Shown | None = None  # as the rows have it; None: what another worker left is in them

    def work(self) -> bool:
        """Wait a moment, and fetch what has arrived; returns whether there is something to wait for."""
        if not self._leads():
            self.close()
            self._shown = None
            return False
        self._mailboxes.want(_wanted())
        self._show()
        for server_id in self._mailboxes.due():
            if not self._fetcher.is_fetching(server_id):  # one that began before goes by what was set up then
                self._fetcher.start(server_id)
        self._heard.update(self._mailboxes.listen(LISTEN if len(self._mailboxes) else 0))
        for server_id in list(self._heard):
            if not self._fetcher.is_fetching(server_id):  # a fetch that is nearly over looked before this mail came
                log.info("server %s has new mail", server_id)
                self._heard.discard(server_id)
                self._fetcher.start(server_id)
        return bool(len(self._mailboxes))

    def close(self) -> None:
        """Let go of all connections."""
        self._heard.clear()
        self._mailboxes.want({})

    def _show(self) -> None:
        """Write down for people which mailboxes are waited for; only when something changed. Commits."""
        if self._shown is None:
            old = (IncomingServer.idle_since.is_not(None), IncomingServer.idle_why.is_not(None))
            db.session.execute(update(IncomingServer).where(or_(*old)).values(idle_since=None, idle_why=None))
            self._shown = {}
            changed = True
        else:
            changed = False
        found = self._mailboxes.shown()
        for server_id in found.keys() | self._shown.keys():
            since, reason = found.get(server_id, (None, None))
            if (since, reason) != self._shown.get(server_id, (None, None)):
                values = {"idle_since": since, "idle_why": reason}
                db.session.execute(update(IncomingServer).where(IncomingServer.id == server_id).values(values))
                changed = True
        if changed:
            Event.add(["incoming_servers"], now())
            db.session.commit()
            self._shown = found


def _wanted() -> dict[int, tuple[str, Any]]:
    """Return the servers whose mail is waited for, by priority: those that the scheduled action fetches by IMAP."""
    fetches = select(ScheduledAction.id).where(ScheduledAction.code == "fetch", ScheduledAction.active)
    with reading():
        rows = db.session.execute(
            select(IncomingServer.id, IncomingServer.host, OauthAccount.state, *SETTINGS)
            .outerjoin(OauthAccount, OauthAccount.id == IncomingServer.oauth_account_id)
            .where(IncomingServer.active, IncomingServer.state == "confirmed", IncomingServer.kind == "imap",
                   fetches.exists())
            .order_by(IncomingServer.priority, IncomingServer.id)
        ).all()  # fmt: skip
    return {row[0]: (row[1], tuple(row[2:])) for row in rows}

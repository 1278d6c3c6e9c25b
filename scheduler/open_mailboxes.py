"""The mailboxes whose connection stays open between two fetches, because their servers say when emails arrive.

A mailbox is in one place at a time: it waits here, or a fetch has taken it. So it never has a second connection of
ours, whoever asks for the fetch: its server, the scheduled action, or a person.
"""

import math
import selectors
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mail.errors import MailboxBusy, MailError
from mail.sentences import Why, why
from mail.settings.clock import now as clock_now
from mail.transport import mailbox_open
from mail.transport.imap_idle import IdleNotOffered, IdleRefused, WaitingMailbox, close_quietly
from mail.transport.mailbox import Mailbox, MailboxTarget
from mail.transport.refusal import limits_connections

RECONNECT_AFTER = (1.0, 5.0, 15.0, 60.0, 300.0)  # seconds, by how often it was lost of late
STEADY = 600.0  # seconds after which a connection that ends counts as the first one
RENEW_AFTER = 25 * 60.0  # a server may end IDLE after 30 minutes (RFC 2177); a fetch begins it anew
MOST_ROUNDS = 20  # fetches in a row over one connection
OFF_FOR = 3600.0  # seconds without waiting, after a server refused to
SOON = 2.0  # seconds until a mailbox is looked at again that another worker fetches, or that no database was there for
NO_ANSWER = frozenset(  # a second try locks out nobody
    ("mailbox_connection_refused", "mailbox_timed_out", "mailbox_fell_silent", "mailbox_connection_lost",
     "mailbox_ended", "unreachable", "name_lookup_failed")
)  # fmt: skip


@dataclass(eq=False)
class Course:
    """How it goes with waiting for the mail of one server, as it is set up. Times by ``time.monotonic``."""

    host: str
    settings: Any  # what stands for all that a connection depends on
    due: float | None  # when to fetch of our own accord; None: when its server says so, or the scheduled action
    waits_from: float = 0.0
    off_until: float = 0.0
    losses: int = 0
    since: datetime | None = None  # has been waiting, for people to see
    why: Why | None = None  # why it does not


@dataclass
class Opening:
    """How one fetch gets at its mailbox: the one that waits, else a new connection."""

    mailboxes: "OpenMailboxes"
    server_id: int
    course: Course | None
    mailbox: WaitingMailbox | None = field(default=None, repr=False)
    asked: bool = False  # its server: one that was not is asked again soon
    rounds: int = 0  # how often more had arrived when it was to wait

    def __call__(self, target: MailboxTarget) -> Mailbox:
        """Return the mailbox, open."""
        self.asked = True
        kept, self.mailbox = self.mailbox or self.mailboxes.take(self.server_id), None
        if kept is not None and _is_same(kept.target, target):
            try:
                kept.go_on()
            except MailError:  # it was cut while nobody looked
                close_quietly(kept)
            else:
                self.mailbox = kept
                return kept
        elif kept is not None:
            close_quietly(kept)
        if target.kind != "imap" or not self.mailboxes.accepts(self.course):
            return mailbox_open.open_mailbox(target)
        self.mailbox = mailbox_open.open_to_wait(target)
        return self.mailbox


def _is_same(one: MailboxTarget, other: MailboxTarget) -> bool:
    accounts = [getattr(target.tokens, "account_id", None) for target in (one, other)]
    return one == other and accounts[0] == accounts[1]


class OpenMailboxes:
    """All of one worker; every thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._selector = selectors.DefaultSelector()
        self._waiting: dict[int, WaitingMailbox] = {}
        self._courses: dict[int, Course] = {}

    # --- what is wanted

    def want(self, servers: Mapping[int, tuple[str, Any]]) -> None:
        """Wait for the mail of these servers and no others; each has its host, and what its connection depends on."""
        moment = time.monotonic()
        with self._lock:
            for server_id, course in list(self._courses.items()):
                if servers.get(server_id) != (course.host, course.settings):
                    del self._courses[server_id]
            ended = [self._remove(server_id) for server_id in list(self._waiting) if server_id not in self._courses]
            for server_id, (host, settings) in servers.items():
                self._courses.setdefault(server_id, Course(host, settings, moment))
        for mailbox in ended:
            close_quietly(mailbox)

    def due(self) -> list[int]:
        """Return the servers that are to be fetched of our own accord, in the order in which they are wanted."""
        moment = time.monotonic()
        with self._lock:
            return [
                server_id for server_id, course in self._courses.items() if moment >= self._due_at(server_id, course)
            ]

    def _due_at(self, server_id: int, course: Course) -> float:
        """When a server is to be fetched; one that another worker fetches is not asked for before its time."""
        if course.due is not None:
            return course.due
        return course.waits_from + RENEW_AFTER if server_id in self._waiting else math.inf

    def shown(self) -> dict[int, tuple[datetime | None, Why | None]]:
        """Return for each server since when its mail is waited for, or why it is not."""
        with self._lock:
            return {server_id: (course.since, course.why) for server_id, course in self._courses.items()}

    def __len__(self) -> int:
        return len(self._waiting)

    # --- waiting

    def listen(self, seconds: float) -> list[int]:
        """Wait for something to hear, no longer than so many seconds; return the servers that have new mail."""
        news, lost = [], []
        for key, _ in self._selector.select(seconds):
            server_id = key.data
            with self._lock:
                mailbox = self._waiting.get(server_id)
                if mailbox is not key.fileobj:
                    continue  # a fetch has just taken it
                try:
                    if mailbox.heard():
                        news.append(server_id)
                except MailError as error:
                    lost.append(self._remove(server_id))
                    self._lose(server_id, mailbox, error)
        for mailbox in lost:
            close_quietly(mailbox)
        return news

    def _lose(self, server_id: int, mailbox: WaitingMailbox, error: MailError) -> None:
        course = self._courses.get(server_id)
        if course is None or self._turned_off(course, error.why):
            return
        course.why = why("idle_lost", host=course.host, seconds=round(self._reconnect(course, mailbox)))

    def _reconnect(self, course: Course, lost: WaitingMailbox | None) -> float:
        """Plan the next try and return in how many seconds it is; ``lost`` None: there was no connection."""
        was_steady = lost is not None and time.monotonic() - lost.opened_at > STEADY
        course.losses = 0 if was_steady else course.losses + 1
        seconds = RECONNECT_AFTER[min(course.losses, len(RECONNECT_AFTER) - 1)]
        course.due, course.since, course.why = time.monotonic() + seconds, None, None
        return seconds

    # --- between two fetches

    def opening(self, server_id: int) -> Opening:
        """Return how a fetch that begins now gets at its mailbox."""
        with self._lock:
            course = self._courses.get(server_id)
            if course is not None:
                course.due = course.off_until if course.off_until > time.monotonic() else None
            return Opening(self, server_id, course)

    def take(self, server_id: int) -> WaitingMailbox | None:
        """Return the mailbox of a server if it waits here; it does not any more."""
        with self._lock:
            return self._remove(server_id) if server_id in self._waiting else None

    def accepts(self, course: Course | None) -> bool:
        """Say whether a mailbox may wait after its fetch."""
        return course is not None and time.monotonic() >= course.off_until

    def keep(self, opening: Opening) -> bool:
        """Let a mailbox wait after a fetch; return whether it is to be fetched again instead, at once."""
        mailbox, course = opening.mailbox, opening.course
        if mailbox is None or course is None:
            return False
        try:
            if not mailbox.can_wait():
                raise IdleNotOffered(host=course.host)
            if not mailbox.rest() or mailbox.heard():
                opening.rounds += 1
                if opening.rounds < MOST_ROUNDS:
                    return True
                raise MailboxBusy(host=course.host, user="", reply="")
        except MailError as error:
            close_quietly(mailbox)
            self._not_waiting(opening, error)
            return False
        with self._lock:
            if self._courses.get(opening.server_id) is course:
                self._waiting[opening.server_id] = mailbox
                self._selector.register(mailbox, selectors.EVENT_READ, opening.server_id)
                course.waits_from = time.monotonic()
                course.since, course.why = course.since or clock_now(), None
                return False
        close_quietly(mailbox)  # it is not wanted any more, or was set up anew
        return False

    def _not_waiting(self, opening: Opening, error: MailError) -> None:
        course = opening.course
        assert course is not None
        with self._lock:
            if self._turned_off(course, error.why):
                return
            if not isinstance(error, IdleNotOffered | IdleRefused):
                self._reconnect(course, opening.mailbox)
                return
            course.since, course.why = None, error.why
            if isinstance(error, IdleRefused):
                course.off_until = course.due = time.monotonic() + OFF_FOR

    def ended(self, opening: Opening, reason: Why | None, soon: bool) -> None:
        """Note how a fetch ended; ``soon``: it is to be tried again, through no fault of its server."""
        course = opening.course
        with self._lock:
            left = opening.mailbox if self._waiting.get(opening.server_id) is not opening.mailbox else None
        if left is not None:  # what failed after the mailbox was read
            close_quietly(left)
        with self._lock:
            if course is None or self._courses.get(opening.server_id) is not course:
                return
            if soon and not opening.asked:
                course.due = time.monotonic() + SOON
            elif soon:
                self._try_later(course, opening.mailbox, reason)
            elif reason is not None and not self._turned_off(course, reason):
                course.since = course.why = None  # what the fetch said is shown
                if reason["code"] in NO_ANSWER:
                    self._reconnect(course, opening.mailbox)

    def _try_later(self, course: Course, mailbox: WaitingMailbox | None, reason: Why | None) -> None:
        """Plan the next try where each is one log-in more, and brings once more what can't be stored."""
        if self.accepts(course):
            self._reconnect(course, mailbox)
            course.why = reason

    def _turned_off(self, course: Course, reason: Why) -> bool:
        """Let no mailbox of a host wait for a while when it allows too few connections; say whether that was it."""
        reply = str(reason["values"].get("reply", ""))
        if not limits_connections(reply):
            return False
        until, has_room = time.monotonic() + OFF_FOR, False
        for server_id, one in self._courses.items():
            if one.host != course.host:
                continue
            if server_id in self._waiting:
                close_quietly(self._remove(server_id))
                has_room = True
            one.off_until, one.due, one.since = until, until, None
            one.why = why("idle_too_many", host=one.host, reply=reply)
        if has_room:  # for its fetch; else each further try would be one log-in more
            course.due = time.monotonic() + RECONNECT_AFTER[1]
        return True

    def _remove(self, server_id: int) -> WaitingMailbox:
        mailbox = self._waiting.pop(server_id)
        self._selector.unregister(mailbox)
        return mailbox

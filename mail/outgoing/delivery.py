"""FLOW from mails in our hands to their server: connection -> compose -> journal -> deliver -> what it means.

Personal mail and mailings go the same way, one mail after the other over one connection. What a batch holds, and how
its results are written down, is the batch's own: lines in ``deliver.py``, recipients of a mailing in ``chunks.py``.
What a mail raises is that mail's result; what the journal, a key or the connection raises ends the batch, and what was
not begun waits.
"""

import logging
import time
from abc import ABC, abstractmethod
from collections import deque
from datetime import datetime
from enum import Enum, auto
from typing import Generic, NamedTuple, TypeVar

from flask import current_app
from sqlalchemy.exc import DBAPIError

from mail.decide.advice import advice_for
from mail.decide.failure import FailureKind, kind_of
from mail.errors import JournalFailed, MailError, MailUnusable, SecretUnreadable, ServerGone, SigningKeyUnreadable
from mail.outgoing.failures import Failure
from mail.outgoing.unique_senders import refuses, share_bounce_address, takes_sender
from mail.queue.concurrency import Delivering, Lane, in_memory
from mail.queue.connections import Connections
from mail.queue.journal import Journal
from mail.queue.lease import LeaseLost, Stopping, WorkerLease
from mail.queue.slowdown import Slowdowns, reason_of
from mail.sentences import Why
from mail.settings import office
from mail.settings.clock import now as clock_now
from mail.transport.relay_ids import relay_id
from mail.transport.sasl import SignInWaits
from mail.transport.smtp import Outcome, ServerConnection, unexpected

log = logging.getLogger("coquimail.outgoing")

# What a second connection is refused with, when the first one works.
FURTHER = ("connection_refused", "connection_lost", "greeting_deferred", "greeting_refused", "greeting_blocked")


class End(Enum):
    """Why a batch ended."""

    DONE = auto()
    STOPPED = auto()  # somebody wants it to end: what is left is as it was
    UNREACHED = auto()  # there is no connection
    STRUCK = auto()  # cuts and doubts in a row: the server counts as away
    SIGNED_OUT = auto()  # it wants a sign-in, and there is none: nothing was tried, and nothing is given up for it
    FAILED = auto()  # the journal, a key, or a mistake of ours


class Parcel(NamedTuple):
    """A mail as it is handed to a connection; ``key`` is its name in the journal.

    ``shared_sender``: the bounce address of all, where the envelope sender is that of this recipient alone.
    """

    key: str
    envelope_sender: str
    recipient: str
    content: bytes
    ready: bool = False
    signature: bytes = b""  # headers that go before the content
    signed: str = ""  # by which keys
    shared_sender: str = ""


class Try(NamedTuple):
    """One try to deliver, with the dialogue if it is kept; ``relay_id`` is how the server named the mail, if so.

    ``remark``: what is worth a word about a mail that was accepted.
    """

    outcome: Outcome
    transcript: str = ""
    seconds: float = 0.0
    relay_id: str = ""
    signed: str = ""
    remark: Why | None = None


Item = TypeVar("Item")


class DeliveryBatch(ABC, Generic[Item]):
    """Mails for one server that this worker holds; ``server_id`` 0 is the default server."""

    lane: Lane
    keeps_transcripts = False
    may_share = True  # a server that refuses the bounce address of one recipient gets that of all

    def __init__(self, server_id: int) -> None:
        self.server_id = server_id
        self.began_at = clock_now()
        self.server_name = ""
        self.signs = True  # we do, not the server
        self.waiting: deque[Item] = deque()
        self.end = End.DONE
        self.why: Why | None = None  # of every end but DONE and STOPPED
        self.is_known = True  # the reason is one that we name, no mistake of ours
        self.frees_doubted = False  # the server took a mail: lines in doubt that waited for it may go

    @abstractmethod
    def compose(self, item: Item) -> Parcel:
        """Return the mail of an item; what it raises is the item's own failure."""

    @abstractmethod
    def note(self, item: Item, tried: Try) -> None:
        """Keep what became of an item until it is recorded."""

    @abstractmethod
    def take_back(self, count: int) -> None:
        """Have the items that were noted last delivered again, as far as they are not recorded."""

    @abstractmethod
    def put_off(self, item: Item, reason: Why, until: datetime) -> None:
        """Have an item that was not tried wait, because the domain of its recipient does."""

    @abstractmethod
    def leave_unsigned(self, item: Item, reason: Why) -> None:
        """Have an item that was not tried wait for its key: unsigned it might be refused for good."""

    @abstractmethod
    def now(self) -> datetime:
        """Return the time of the office."""

    @abstractmethod
    def unreached(self, tried: Try) -> None:
        """Nothing was tried, because there is no connection."""

    def address_of(self, item: Item) -> str:
        """Return the recipient of an item."""
        address: str = item.address  # type: ignore[attr-defined]
        return address

    def size_of(self, item: Item) -> int:
        """Return about how many bytes the mail of an item has, if that may be many."""
        return 0

    def goes_on(self) -> bool:
        """Say whether the next item may be begun; the place to record results now and then."""
        return True

    def stop(self, end: End, reason: Why | None = None, is_known: bool = True) -> None:
        """End before the end."""
        self.end, self.why, self.is_known = end, reason, is_known


def deliver_batch(batch: DeliveryBatch[Item], connections: Connections, journal: Journal, worker: WorkerLease) -> None:
    """Deliver the waiting items of a batch; what is left waiting was not begun, and ``end`` and ``why`` say why.

    Raises ``ServerGone`` when there is no such server, ``LeaseLost`` when another worker may have the items, and what
    the database raises.
    """
    try:
        with connections.to(batch.server_id, batch.keeps_transcripts) as connection:
            batch.server_name, batch.signs = connection.target.name, not connection.signs_itself
            with connections.servers.delivering(batch.server_id, batch.server_name) as delivering:
                _Delivery(batch, connections, connection, delivering, journal, worker).run()
    except (SecretUnreadable, JournalFailed) as error:
        batch.stop(End.FAILED, error.why)
    except SignInWaits as error:  # nothing was tried, and nothing is given up however long that takes
        connections.servers.unreachable(batch.server_id, error.why)
        batch.stop(End.SIGNED_OUT, error.why)
    except ServerGone:
        raise
    except MailError as error:
        connections.servers.unreachable(batch.server_id, error.why)
        batch.stop(End.UNREACHED, error.why)
        batch.unreached(Try(not_tried(error.why)))
    except (LeaseLost, DBAPIError):
        raise
    except Exception as error:
        log.exception("a batch for server %s failed", batch.server_id)
        batch.stop(End.FAILED, unexpected(error).why, is_known=False)


class _Delivery(Generic[Item]):
    """A batch on its way over one connection."""

    def __init__(
        self,
        batch: DeliveryBatch[Item],
        connections: Connections,
        connection: ServerConnection,
        delivering: Delivering,
        journal: Journal,
        worker: WorkerLease,
    ) -> None:
        self.batch, self.connections, self.connection, self.delivering = batch, connections, connection, delivering
        self.journal, self.worker, self.servers = journal, worker, connections.servers
        # What the practice mailbox answers says nothing about the domains of its recipients.
        self.slowdowns = Slowdowns() if connection.rehearses else connections.slowdowns

    def run(self) -> None:
        batch, connection = self.batch, self.connection
        try:
            while batch.waiting and batch.end is End.DONE and self.connections.leads_on(connection) and batch.goes_on():
                self.worker.assert_alive()
                item = batch.waiting.popleft()
                if self.slowdowns.any() and self._puts_off(item):
                    continue
                try:
                    tried = self._try(item)
                except SigningKeyUnreadable as error:
                    batch.leave_unsigned(item, error.why)
                    continue
                except BaseException:
                    batch.waiting.appendleft(item)  # not a byte of it went out
                    raise
                self._conclude(item, tried)
        except Stopping:
            batch.stop(End.STOPPED)

    def _puts_off(self, item: Item) -> bool:
        """Have an item wait whose domain does; returns whether it has to."""
        address = self.batch.address_of(item)
        slowdown = self.slowdowns.of(self.batch.server_id, address, self.batch.now())
        if slowdown is None:
            return False
        self.batch.put_off(item, reason_of(slowdown, self.batch.server_name, address), slowdown.until)
        return True

    def _try(self, item: Item) -> Try:
        began, size = time.monotonic(), self.batch.size_of(item)
        with in_memory.of(size):
            try:
                parcel = self.batch.compose(item)
            except SigningKeyUnreadable:
                raise
            except MailError as error:
                return Try(Outcome("mail", None, "", "", False, False, False, error.why))
            except DBAPIError:
                raise
            except Exception as error:
                log.exception("a mail for server %s can't be put together", self.batch.server_id)
                reason = MailUnusable(error=type(error).__name__, detail=str(error)[:200]).why
                return Try(Outcome("mail", None, "", "", False, False, False, reason))
            self.delivering.size, self.delivering.since = size, time.monotonic()
            outcome, remark = self._hand_over(parcel)
            self.delivering.since = None
        transcript = self.connection.transcript.take() if self.connection.transcript else ""
        addresses = (parcel.recipient, parcel.envelope_sender, parcel.shared_sender)
        given = relay_id(self.connection.target.host, outcome.text, addresses) if outcome.accepted else ""
        return Try(outcome, transcript, time.monotonic() - began, given, parcel.signed, remark)

    def _hand_over(self, parcel: Parcel) -> tuple[Outcome, Why | None]:
        """A bounce address of its own is an extra: no mail fails because its server refuses such a sender."""
        if not parcel.shared_sender or not self.batch.may_share:
            return self._deliver(parcel, parcel.envelope_sender), None
        if self.connection.shares_sender:
            return self._deliver(parcel, parcel.shared_sender), None
        refused = self._deliver(parcel, parcel.envelope_sender)
        if refuses(refused) != "sender":
            return refused, None
        outcome = self._deliver(parcel, parcel.shared_sender)
        if not takes_sender(outcome):
            return outcome, None
        self.connection.shares_sender = True
        reply = f"{refused.code} {refused.text}"
        remark = share_bounce_address(self.batch.server_id, self.batch.server_name, reply, self.batch.now())
        return outcome, remark

    def _deliver(self, parcel: Parcel, envelope_sender: str) -> Outcome:
        return self.connection.deliver(
            envelope_sender,
            parcel.recipient,
            b"".join((parcel.signature, self.connection.extra_headers, parcel.content)),
            **self.journal.in_flight(parcel.key, self.worker.assert_alive),
            ready=parcel.ready,
        )

    def _conclude(self, item: Item, tried: Try) -> None:
        """Note what became of an item, and what it says about its server."""
        batch, outcome, server = self.batch, tried.outcome, self.batch.server_id
        if outcome.accepted:
            self._note(item, tried)
            batch.frees_doubted |= self.servers.accepted(server, tried.seconds)
            self.slowdowns.accepted(server, batch.address_of(item))
        elif self._is_one_connection_too_many(outcome):
            batch.waiting.appendleft(item)
            batch.stop(End.STOPPED)
        elif outcome.phase == "connect":
            assert outcome.why is not None
            batch.waiting.appendleft(item)
            self.servers.unreachable(server, outcome.why)
            batch.stop(End.UNREACHED, outcome.why)
            batch.unreached(tried)
        else:
            self._note(item, tried)
            if outcome.code is not None:
                self.servers.answered(server)
                self.slowdowns.answered(server, batch.address_of(item), outcome, batch.now())
            elif (outcome.in_doubt or outcome.temporary) and self._strikes(outcome):
                batch.stop(End.STRUCK, outcome.why)

    def _note(self, item: Item, tried: Try) -> None:
        if tried.outcome.victims:
            self.batch.take_back(tried.outcome.victims)
        self.batch.note(item, tried)

    def _strikes(self, outcome: Outcome) -> bool:
        """There was no answer; return whether that happened so often that the server counts as away."""
        assert outcome.why is not None
        return self.servers.struck(self.batch.server_id, outcome.why, outcome.in_doubt)

    def _is_one_connection_too_many(self, outcome: Outcome) -> bool:
        """Say whether this connection was refused only because others are open; then there will be fewer of them."""
        if outcome.why is None or not self.connections.others(self.batch.server_id):
            return False
        code = outcome.why["code"]
        said_so = code == "too_many_connections"
        if not said_so and not (outcome.phase == "connect" and code in FURTHER):
            return False
        self.connection.drop()
        self.connections.takes_fewer(self.batch.server_id, self.connection, for_good=said_so)
        return True


def not_tried(reason: Why) -> Outcome:
    """Return what became of a mail that was not tried, because its server can't be reached."""
    return Outcome("connect", None, "", "", False, True, False, reason)


def given_by_relay(tried: Try) -> str:
    """Return the name that a relay gave an email that it accepted, "" if it kept ours or names none."""
    name = tried.relay_id
    return "" if "@" in name and office.tokens().from_message_id(name) else name


def failure_of(
    address: str, outcome: Outcome, recipient_id: int | None = None, trace_id: int | None = None
) -> Failure | None:
    """Return what a final refusal says about an address, None when it says nothing.

    A refusal of the content says nothing about the address, unless it says that there is none. Nor does one whose cause
    is on our side, such as a limit of our provider.
    """
    if outcome.code is None or outcome.temporary:
        return None
    kind = kind_of(outcome.enhanced, outcome.text)
    if kind is not FailureKind.HARD and not advice_for(outcome.why).is_about_address:
        kind = FailureKind.BLOCKED
    if outcome.phase != "rcpt" and kind not in (FailureKind.HARD, FailureKind.FULL):
        return None
    return Failure(address, kind, outcome.enhanced, outcome.text, recipient_id, trace_id)


_LIVE = "coquimail-live"  # when this process saw last that the office is live
ASKED_AGAIN = 10.0  # seconds


def remember_live(server_id: int, given_at: datetime) -> None:
    """A server took mail that it was given then: if it is a real one the practice mailbox will not take over any more;
    the caller commits.
    """
    seen = current_app.extensions.get(_LIVE, float("-inf"))
    if time.monotonic() - seen > ASKED_AGAIN and not office.is_practice(server_id):
        office.go_live(given_at)
        current_app.extensions[_LIVE] = time.monotonic()

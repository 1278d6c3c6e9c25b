"""Requests of providers to confirm that they forward to us: who is told, which are open, and that one is done."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select

from mail.decide.forwarding import ForwardingRequest, host_of
from mail.sentences import why
from mail.settings.notices import is_done, tell_admins
from models import Event, ReceivedMail, db

OPEN, DONE = "forwarding", "forwarding_done"  # results in the ledger
STATES = ("processed", "quarantined")
MOST_TOLD = 10  # notices of a kind in a day: anybody can send such emails
MOST_SHOWN = 20

_PAGE = "/admin/received-mails/details?id="
_NOTICES = ("notice_forwarding", "notice_forwarding_doubted")


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """A request that nobody has dealt with; it is in the ledger as ``received_id``."""

    received_id: int
    received_at: datetime
    request: ForwardingRequest

    @property
    def host(self) -> str:
        return host_of(self.request.link)


def tell(request: ForwardingRequest, received_id: int, now: datetime) -> None:
    """Tell admins of a request, once, unless many came within a day; the caller commits, then closes its row."""
    if db.session.scalar(select(ReceivedMail.result).where(ReceivedMail.id == received_id)) == OPEN:
        return  # it waits already, and a person let it be routed again
    of_its_kind = (ReceivedMail.state == STATES[bool(request.doubt)], ReceivedMail.result == OPEN)
    earlier = select(ReceivedMail.received_at).where(*of_its_kind).order_by(ReceivedMail.id.desc())
    oldest = db.session.scalar(earlier.offset(MOST_TOLD - 1).limit(1))
    if oldest is None or oldest < now - timedelta(days=1):
        values = {"provider": request.provider, "sender": request.sender, "address": request.address}
        tell_admins(_NOTICES[bool(request.doubt)], values, f"{_PAGE}{received_id}", now)


def open_request(row: ReceivedMail) -> OpenRequest | None:
    """Return what an email of the ledger asks to confirm; None if it asks nothing, or not any more."""
    if row.result != OPEN or row.state not in STATES:
        return None
    found = (ForwardingRequest.of(step) for step in row.decision or [])
    request = next((one for one in found if one is not None), None)
    return OpenRequest(row.id, row.received_at, request) if request is not None else None


def open_requests() -> Sequence[OpenRequest]:
    """Return the requests that nobody has dealt with, the newest first."""
    rows = db.session.scalars(
        select(ReceivedMail)
        .where(ReceivedMail.state.in_(STATES), ReceivedMail.result == OPEN)
        .order_by(ReceivedMail.id.desc())
        .limit(MOST_SHOWN)
    )
    return [found for row in rows if (found := open_request(row)) is not None]


def mark_done(received_id: int, user: str, now: datetime) -> bool:
    """Note that a person has dealt with a request; False if somebody had before. Commits."""
    is_open = (ReceivedMail.id == received_id, ReceivedMail.state.in_(STATES), ReceivedMail.result == OPEN)
    row = db.session.scalar(select(ReceivedMail).where(*is_open).with_for_update())
    if row is None:
        db.session.rollback()
        return False
    row.state, row.result, row.processed_at = "processed", DONE, now
    row.decision = [*(row.decision or []), why("forwarding_done", user=user)]
    decided([received_id], now)
    Event.add(["incoming"], now)
    db.session.commit()
    return True


def decided(received_ids: Iterable[int], now: datetime) -> None:
    """Mark the notices about some emails as read: a person said what happens to these. The caller commits."""
    is_done([f"{_PAGE}{received_id}" for received_id in received_ids], now)

"""The alias adviser: addresses of our domains that people write to and that nobody has, and what is done about them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Update, func, literal_column, select, update

from mail.incoming import aliases
from mail.incoming.quarantine import DROPPED_STATE
from mail.message.address import domain_of, local_part
from mail.sentences import why
from mail.settings.parameters import CATCHALL_DOMAIN, NotValid
from models import Alias, Event, ReceivedMail, change_rows, db

MOST_SHOWN = 100  # addresses at once: whoever tries names at random makes many
IS_UNKNOWN = ReceivedMail.unknown_address != literal_column("''")  # as the index has it


@dataclass(frozen=True, slots=True)
class UnknownAddress:
    """An address that nobody has, and the emails to it that wait in quarantine; ``senders``: how many people wrote."""

    address: str
    count: int
    senders: int
    last_at: datetime
    newest_id: int
    can_be_alias: bool


def unknown_addresses(limit: int = MOST_SHOWN) -> list[UnknownAddress]:
    """Return the addresses that nobody has, the one with the most emails first."""
    count = func.count()
    rows = db.session.execute(
        select(
            ReceivedMail.unknown_address,
            count.label("n"),
            func.count(ReceivedMail.from_key.distinct()).label("senders"),
            func.max(ReceivedMail.received_at).label("last_at"),
            func.max(ReceivedMail.id).label("newest_id"),
        )
        .where(IS_UNKNOWN)
        .group_by(ReceivedMail.unknown_address)
        .order_by(count.desc(), ReceivedMail.unknown_address)
        .limit(limit)
    )
    return [
        UnknownAddress(row.unknown_address, row.n, row.senders, row.last_at, row.newest_id, _fits(row.unknown_address))
        for row in rows
    ]


def is_there_any() -> bool:
    """Say whether an address that nobody has was written to."""
    return db.session.scalar(select(ReceivedMail.id).where(IS_UNKNOWN).limit(1)) is not None


def waiting_for(address: str) -> int:
    """Return how many emails to an address that nobody has wait in quarantine."""
    query = select(func.count()).select_from(ReceivedMail)
    return db.session.scalar(query.where(IS_UNKNOWN, ReceivedMail.unknown_address == address)) or 0


def _fits(address: str) -> bool:
    try:
        aliases.check_local_part(local_part(address))
    except NotValid:
        return False
    return True


def make_alias(address: str, type_id: int, now: datetime) -> int:
    """Make an alias of an address, and let the emails to it go on; return how many do, by the worker.

    Commits, then call ``wake("received")``. Raises ``NotValid``.
    """
    domain = domain_of(address)
    aliases.add(local_part(address), type_id, "" if domain == CATCHALL_DOMAIN.get() else domain)
    return take_all([address], now)


def take_for(alias: Alias, now: datetime) -> int:
    """Let the emails in quarantine to the addresses of an alias go on; return how many. Commits, then ``wake``."""
    return take_all(aliases.addresses_of(alias), now)


def take_all(addresses: Sequence[str], now: datetime) -> int:
    """Route the emails to these addresses anew, by the worker; return how many. Commits, then call ``wake``."""
    anew = {"state": "received", "decision": None, "worker_id": None, "attempts": 0, "unknown_address": ""}
    return _change(_of(addresses).values(anew), now)


def drop_all(address: str, now: datetime) -> int:
    """Take the emails to an address out of quarantine for good, unread by anybody; return how many. Commits."""
    gone = {"state": DROPPED_STATE, "unknown_address": "", "processed_at": now, "decision": [why("quarantine_dropped")]}
    return _change(_of([address]).values(gone), now)


def _of(addresses: Sequence[str]) -> Update:
    return update(ReceivedMail).where(
        IS_UNKNOWN, ReceivedMail.unknown_address.in_(addresses), ReceivedMail.state == "quarantined"
    )


def _change(change: Update, now: datetime) -> int:
    changed = change_rows(change)
    Event.add(["incoming"], now)
    db.session.commit()
    return changed

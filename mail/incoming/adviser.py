"""The alias adviser: addresses of our domains that people write to and that nobody has, and what is done about them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, literal_column, select

from mail.decide.domains import fits_alias
from mail.incoming import aliases
from mail.incoming.people import address_book
from mail.incoming.quarantine_groups import discard, release
from mail.message.address import domain_of, local_part
from mail.settings.parameters import CATCHALL_DOMAIN
from models import Alias, ReceivedMail, db

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
        UnknownAddress(
            row.unknown_address, row.n, row.senders, row.last_at, row.newest_id, can_be_alias(row.unknown_address)
        )
        for row in rows
    ]


def is_there_any() -> bool:
    """Say whether an address that nobody has was written to."""
    return db.session.scalar(select(ReceivedMail.id).where(IS_UNKNOWN).limit(1)) is not None


def waiting_for(address: str) -> int:
    """Return how many emails to an address that nobody has wait in quarantine."""
    query = select(func.count()).select_from(ReceivedMail)
    return db.session.scalar(query.where(IS_UNKNOWN, ReceivedMail.unknown_address == address)) or 0


def can_be_alias(address: str) -> bool:
    """Say whether an alias may have an address that nobody has, as far as its letters go."""
    return fits_alias(local_part(address))


def has_alias(address: str) -> bool:
    """Say whether an address that nobody had belongs to an alias by now."""
    found = address_book()[0].find(address)
    return found is not None and found.role == "alias"


def make_alias(address: str, type_id: int, now: datetime) -> int:
    """Make an alias of an address, and let the emails to it go on, in each domain that it works on; return how many do.

    Commits, then call ``wake("received")``. Raises ``NotValid``.
    """
    domain = domain_of(address)
    return take_for(aliases.add(local_part(address), type_id, "" if domain == CATCHALL_DOMAIN.get() else domain), now)


def take_for(alias: Alias, now: datetime) -> int:
    """Let the emails in quarantine to the addresses of an alias go on; return how many. Commits, then ``wake``."""
    its = aliases.places(alias.local_part) if alias.any_domain else aliases.addresses_of(alias)
    return take_all(its, now)


def take_all(addresses: Sequence[str], now: datetime) -> int:
    """Route the emails to these addresses anew, by the worker; return how many. Commits, then call ``wake``."""
    return release(_sent_to(addresses), now)


def drop_all(address: str, now: datetime) -> int:
    """Take the emails to an address out of quarantine for good, unread by anybody; return how many. Commits."""
    return discard(_sent_to([address]), now)


def _sent_to(addresses: Sequence[str]) -> Sequence[ColumnElement[bool]]:
    return (IS_UNKNOWN, ReceivedMail.unknown_address.in_(addresses))

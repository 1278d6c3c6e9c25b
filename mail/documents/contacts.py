"""Contacts: one person, one address. One that is typed in is a batch of one."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select

from mail.errors import InvalidAddress
from mail.message.address import Address, first_address, normalise
from models import Contact, db
from models.store import insert_rows

LONGEST_NAME = 200


def find(address: str | None) -> Contact | None:
    """Return the contact with this address, archived or not."""
    key = normalise(address)
    return db.session.scalar(select(Contact).where(Contact.address_key == key)) if key else None


def find_or_make(address: str, name: str, now: datetime) -> Contact:
    """Return the contact with this address, a new one unless there is one; flushed, the caller commits.

    A contact without a name gets this one. Raises ``InvalidAddress`` when the address can't be used.
    """
    found = first_address(address)
    if found is None or not found.key:
        raise InvalidAddress(address=address)
    name = _short(name or found.name)
    make([Address(name, found.address)], now)
    contact = db.session.scalar(select(Contact).where(Contact.address_key == found.key))
    assert contact is not None
    if name and not contact.name:
        contact.name = name
        db.session.flush()
    return contact


def make(people: Iterable[Address], now: datetime) -> Sequence[Row[Any]]:
    """Make contacts of people of whom there is none, in one statement; return the new ones: id, name, address_key.

    An archived contact is not revived. The caller commits.
    """
    rows = {person.key: contact_row(_short(person.name), person.address[:320], person.key, now) for person in people}
    # One order for everybody: two transactions that make the same contacts wait for each other, never in a ring.
    return insert_rows(Contact, [rows[key] for key in sorted(rows)], "id", "name", "address_key", skip_known=True)


def _short(name: str) -> str:
    return " ".join(name.split())[:LONGEST_NAME]


def contact_row(name: str, address: str, key: str, now: datetime) -> dict[str, Any]:
    """Return the columns of a new contact."""
    return {
        "name": name,
        "address": address,
        "address_key": key,
        "company": "",
        "language": "",
        "active": True,
        "created_at": now,
    }

"""Contacts: one person, one address."""

from datetime import datetime
from typing import Any

from sqlalchemy import select

from mail.message.address import first_address, normalise
from models import Contact, db
from models.store import upsert

LONGEST_NAME = 200


def find(address: str | None) -> Contact | None:
    """Return the contact with this address, archived or not."""
    key = normalise(address)
    return db.session.scalar(select(Contact).where(Contact.address_key == key)) if key else None


def find_or_make(address: str, name: str, now: datetime) -> Contact:
    """Return the contact with this address, a new one unless there is one; flushed, the caller commits.

    A contact without a name gets this one. Raises ``ValueError`` when the address can't be used.
    """
    found = first_address(address)
    if found is None or not found.key:
        raise ValueError(f"not an address: {address!r}")
    name = " ".join((name or found.name).split())[:LONGEST_NAME]
    row = contact_row(name, found.address, found.key, now)
    db.session.execute(upsert(Contact).values(row).on_conflict_do_nothing(index_elements=["address_key"]))
    contact = db.session.scalar(select(Contact).where(Contact.address_key == found.key))
    assert contact is not None
    if name and not contact.name:
        contact.name = name
        db.session.flush()
    return contact


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

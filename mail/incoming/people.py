"""Whom the addresses of received mails mean: our aliases with what they give, contacts and users."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import aliased

from mail.decide.facts import AddressBook, AliasRule
from mail.documents.documents import whole_number
from mail.message.address import normalise
from mail.settings import office
from models import Alias, Contact, Document, User, db


@dataclass(frozen=True, slots=True)
class Author:
    """Somebody with the address of a sender. ``active`` False: an archived contact, who counts as unknown."""

    contact_id: int
    name: str
    active: bool
    user_id: int | None


@dataclass(frozen=True, slots=True)
class AliasDefaults:
    """What an alias gives to the documents that its mail opens."""

    address: str
    defaults: dict[str, Any]
    responsible_id: int  # 0: nobody


def address_book() -> tuple[AddressBook, dict[int, AliasDefaults]]:
    """Return our addresses, and what each alias gives to the documents that its mail opens."""
    rows = db.session.execute(_all_aliases()).all()
    aliases = [
        AliasRule(
            id=row.id,
            address=row.address_key,
            role=row.role,
            type_id=row.type_id,
            policy=row.policy,
            fixed_thread_id=row.fixed_thread_id,
            follow_fixed=row.follow_fixed,
            parent_thread_id=row.parent_thread_id,
            any_domain=row.any_domain,
            one_domain=row.one_domain,
            make_contact=row.make_contact,
            refusal=row.refusal,
            retired=row.state == "retired",
        )
        for row in rows
    ]
    known = office.load().office
    ours = (known.first, *known.domains)
    own = [key for one in ours for key in (one.default_address, one.catchall_address, one.bounce_address) if key]
    book = AddressBook(aliases, own, [domain.name for domain in known.all_domains])
    return book, {row.id: _defaults(row) for row in rows}


@cache  # to build it takes longer than to ask
def _all_aliases() -> Select[*tuple[Any, ...]]:
    fixed, parent = aliased(Document), aliased(Document)
    return (
        select(
            Alias.id,
            Alias.role,
            Alias.address_key,
            Alias.type_id,
            Alias.policy,
            Alias.any_domain,
            Alias.one_domain,
            Alias.make_contact,
            Alias.follow_fixed,
            Alias.refusal,
            Alias.state,
            Alias.defaults,
            fixed.thread_id.label("fixed_thread_id"),
            parent.thread_id.label("parent_thread_id"),
            Alias.responsible_id,
        )
        .outerjoin(fixed, fixed.id == Alias.fixed_document_id)
        .outerjoin(parent, parent.id == Alias.parent_document_id)
        .order_by(Alias.id)
    )


def _defaults(row: Any) -> AliasDefaults:
    defaults = row.defaults or {}
    return AliasDefaults(row.address_key, defaults, row.responsible_id or whole_number(defaults.get("responsible_id")))


def authors(addresses: Iterable[str]) -> dict[str, Author]:
    """Return who is known under these addresses (keys): contacts, and users by the address they log in with."""
    wanted = set(addresses)
    if not wanted:
        return {}
    rows = db.session.execute(
        select(
            Contact.id,
            Contact.name,
            Contact.active,
            Contact.address_key,
            User.id.label("user_id"),
            User.email,
            User.active.label("user_active"),
        )
        .outerjoin(User, User.contact_id == Contact.id)
        .where(or_(Contact.address_key.in_(wanted), User.email.in_(wanted)))
        .order_by(Contact.id)
    )
    found: dict[str, Author] = {}
    for row in rows:
        author = Author(row.id, row.name, row.active, row.user_id if row.user_active else None)
        for address in (row.address_key, normalise(row.email)):
            if address in wanted and (address not in found or author.user_id is not None):
                found[address] = author
    return found

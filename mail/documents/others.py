"""People outside whom a customer's mail named beside us: they follow nothing, but the reply is for them as well."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import or_, select

from mail.documents.threads import ThreadView
from mail.errors import InvalidAddress
from mail.message.address import Address, first_address
from mail.sentences import Why, why
from mail.settings import office
from models import Contact, Post, User, db

MOST_OTHERS = 30
MOST_POSTS = 500  # of a thread, in which its last mail is looked for


@dataclass(frozen=True, slots=True)
class OfferedRecipient:
    """Somebody whom a page offers as a recipient of the next message, and why. ``ticked``: unless a person says no."""

    name: str
    address: str
    key: str
    why: Why
    ticked: bool = True

    @property
    def written(self) -> str:
        """The person as a mail names it."""
        return str(Address(self.name, self.address))


def offered(place: ThreadView, told: Collection[str]) -> tuple[list[OfferedRecipient], int]:
    """Return whom the last mail of a thread named beside us and beside those who are ``told`` (keys) in any case.

    Of very many the first ones, and how many others it named.
    Whoever opened the document and does not follow it was left out by its alias: offered, but not ticked. So is whom a
    mail named that may be forged, or that comes in the name of one of us and nothing proves it.
    """
    last = _last_mail(place.thread_id)
    if last is None:
        return [], 0
    author = first_address(last.author_address)
    found: dict[str, OfferedRecipient] = {}
    if author is not None and last.mark not in ("not_checked", "forged"):
        opened = last.message_id is not None and last.message_id == place.root_message_id
        _offer(found, author, "offered_author", author, ticked=not opened)
    doubted = last.mark == "forged" or (last.mark == "not_checked" and author is not None and bool(_ours({author.key})))
    codes = ("offered_to_doubted", "offered_cc_doubted") if doubted else ("offered_to", "offered_cc")
    named: dict[str, Any] = last.addressed or {}
    for header, code in zip(("to", "cc"), codes, strict=True):
        for text in named.get(header, ()):
            person, sender = first_address(text), author or Address("", last.author_address)
            _offer(found, person, code, sender, ticked=not doubted)
    ours = _ours(found.keys())
    people = [one for key, one in found.items() if key not in told and key not in ours]
    return people[:MOST_OTHERS], len(people[MOST_OTHERS:]) + named.get("more", 0)


def _last_mail(thread_id: int) -> Any:
    columns = select(Post.id, Post.author_address, Post.addressed, Post.message_id, Post.mark)
    columns = columns.add_columns(Post.kind, Post.received_mail_id).where(Post.thread_id == thread_id)
    recent = columns.order_by(Post.id.desc()).limit(MOST_POSTS).subquery()
    mails = select(recent).where(recent.c.kind == "message", recent.c.received_mail_id.is_not(None))
    return db.session.execute(mails.order_by(recent.c.id.desc()).limit(1)).first()


def _offer(
    found: dict[str, OfferedRecipient], person: Address | None, code: str, author: Address, ticked: bool = True
) -> None:
    if person is not None and person.key:
        reason = why(code, author=author.name or author.address)
        found.setdefault(person.key, OfferedRecipient(person.name, person.address, person.key, reason, ticked))


def _ours(keys: Collection[str]) -> set[str]:
    """Return those of these addresses that are the office's, or a colleague's."""
    known = office.load().office
    domains = {domain.name for domain in known.all_domains}
    own = {key for key in keys if key in office.own_addresses() or key.rpartition("@")[2] in domains}
    rest = set(keys) - own
    if not rest:
        return own
    colleagues = select(User.email, Contact.address_key).join(Contact, Contact.id == User.contact_id)
    rows = db.session.execute(colleagues.where(or_(User.email.in_(rest), Contact.address_key.in_(rest))))
    return own | {key for row in rows for key in row}


def chosen(texts: Sequence[str]) -> list[Address]:
    """Return the people whom a page offered and whom somebody left ticked; raises ``InvalidAddress``."""
    people: dict[str, Address] = {}
    for text in texts[:MOST_OTHERS]:
        person = first_address(text)
        if person is None or not person.key or person.key in office.own_addresses():
            raise InvalidAddress(address=text)
        people.setdefault(person.key, person)
    return list(people.values())

"""FLOW of *Correct address*: the email that failed, and everywhere else where its recipient has the dead address.

``plan`` says what would change, so that a person is asked once; ``correct`` does it. Followers and lists name contacts:
with the contact they all have the new address. Where another contact has it already, that one takes the place.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, exists, func, select, update
from sqlalchemy.orm import aliased

from mail.documents import contacts
from mail.documents.posts import add_log
from mail.errors import NotCorrected
from mail.message.address import Address, normalise
from mail.message.pasted import one_person
from mail.outgoing import lines
from mail.sentences import Why, why
from mail.settings import office
from models import Contact, Document, Follower, Recipient, Subscription, Thread, User, change_rows, db


@dataclass(frozen=True, slots=True)
class AddressCorrection:
    """What a corrected address changes. ``contact`` has the dead one, ``other`` has the right one already."""

    line_id: int
    before: str
    after: str
    contact: Contact | None
    other: Contact | None
    documents: int = 0
    lists: int = 0

    @property
    def is_wide(self) -> bool:
        """Whether more than this email has the dead address."""
        return self.contact is not None


def plan(line_id: int, text: str, is_admin: bool) -> AddressCorrection:
    """Return what changes when a line goes to another address; raises ``NotCorrected`` with what to do instead."""
    line = db.session.get(Recipient, line_id)
    given = one_person(text)
    if line is None or not isinstance(given, Address):
        raise NotCorrected(why("address_unusable", address=text.strip()[:320]))
    if given.name:
        raise NotCorrected(why("address_alone", address=given.address))
    if line.state not in lines.CORRECTED:
        raise NotCorrected(why("address_too_late"))
    if given.key == line.address_key:
        raise NotCorrected(why("address_unchanged", address=given.address))
    if given.key in office.own_addresses():
        raise NotCorrected(why("address_of_ours", address=given.address))
    lines.assert_free(line, given.key)
    contact, after = line.contact or contacts.find(line.address), _with_small_domain(given.address)
    if contact is None or contact.address_key != line.address_key:
        return AddressCorrection(line_id, line.address, after, None, None)
    other = contacts.find(given.key)
    other = None if other is contact else other
    if _has_account(contact) and (other is not None or not is_admin):
        raise NotCorrected(why("address_of_colleague", name=str(contact)))
    return AddressCorrection(line_id, line.address, after, contact, other, *_counts(contact.id))


def _with_small_domain(address: str) -> str:
    """The address as a person would write it: only what stands before the @ may have a case of its own."""
    local, sign, domain = address.rpartition("@")
    return f"{local}{sign}{domain.lower()}"


def _has_account(contact: Contact) -> bool:
    return bool(db.session.scalar(select(exists().where(User.contact_id == contact.id))))


def _counts(contact_id: int) -> tuple[int, int]:
    """How many documents a contact follows and how many lists it is on."""
    follows = select(func.count()).select_from(Follower).join(Document, Document.thread_id == Follower.thread_id)
    on_lists = select(func.count()).where(Subscription.contact_id == contact_id, Subscription.state == "subscribed")
    documents = db.session.scalar(follows.where(Follower.contact_id == contact_id))
    return documents or 0, db.session.scalar(on_lists) or 0


def correct(correction: AddressCorrection, everywhere: bool, who: str, now: datetime) -> None:
    """Send the email to the right address; ``everywhere``: its recipient has it from now on. The caller commits."""
    contact = correction.contact if everywhere else None
    if contact is not None and correction.other is None:
        contact.address, contact.address_key = correction.after, normalise(correction.after)
        db.session.flush()
        _note(contact, correction, who, now)
    elif contact is not None and correction.other is not None:
        _replace(contact, correction.other)
        contact.active, correction.other.active = False, True
        _note(contact, correction, who, now)
    if contact is not None:
        lines.redirect(contact.id, correction.before, correction.after)
    lines.correct_address(correction.line_id, correction.after, now, who)


def _replace(gone: Contact, stays: Contact) -> None:
    """Let one contact take the place of another: where it follows, on its lists, as the customer of its documents."""
    follower, subscription = aliased(Follower), aliased(Subscription)
    follows = exists().where(follower.contact_id == stays.id, follower.thread_id == Follower.thread_id)
    moved = update(Follower).where(Follower.contact_id == gone.id, ~follows)
    change_rows(moved.values(contact_id=stays.id))
    is_on = exists().where(subscription.contact_id == stays.id, subscription.list_id == Subscription.list_id)
    change_rows(update(Subscription).where(Subscription.contact_id == gone.id, ~is_on).values(contact_id=stays.id))
    change_rows(delete(Follower).where(Follower.contact_id == gone.id))
    change_rows(update(Document).where(Document.contact_id == gone.id).values(contact_id=stays.id))
    if not stays.name:
        stays.name = gone.name


def log_words(correction: AddressCorrection, who: str) -> Why:
    """Return what the history says about a corrected address."""
    return why("address_corrected_by", who=who, before=correction.before, after=correction.after)


def _note(contact: Contact, correction: AddressCorrection, who: str, now: datetime) -> None:
    if contact.thread_id is None:
        thread = Thread(last_post_at=now)
        db.session.add(thread)
        db.session.flush()
        contact.thread_id = thread.id
    add_log(contact.thread_id, log_words(correction, who), now)

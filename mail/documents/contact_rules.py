"""What may be saved of a contact: one address and one contact per address; that of a colleague keeps its address."""

from sqlalchemy import select

from mail.documents import contacts
from mail.errors import ChangeRefused
from mail.message.address import Address
from mail.message.pasted import one_person
from mail.sentences import Why, why
from mail.settings import office
from models import Contact, User, db
from models.base import was_changed


def check(contact: Contact, by_admin: bool) -> None:
    """Check a contact that was filled in, before it is saved, and tidy it up; raises ``ChangeRefused``."""
    contact.name, contact.company = " ".join(contact.name.split()), " ".join(contact.company.split())
    contact.language = (contact.language or "").strip().lower()
    errors = _take_address(contact)
    if not errors and account_of(contact) is not None:
        errors = _of_a_colleague(contact, by_admin)
    if not contact.name and contact.address is None:
        errors.setdefault("name", why("contact_without_name"))
    if errors:
        raise ChangeRefused(errors)


def account_of(contact: Contact) -> User | None:
    """Return the account of a colleague whose contact this is."""
    return db.session.scalar(select(User).where(User.contact_id == contact.id)) if contact.id else None


def same_address(contact: Contact) -> Contact | None:
    """Return the other contact that has the address that was entered."""
    other = contacts.find(contact.address)
    return other if other is not None and other.id != contact.id else None


def _take_address(contact: Contact) -> dict[str, Why]:
    """Keep the address as it is compared, and return why it can't be used."""
    if not (contact.address or "").strip():
        contact.address = contact.address_key = None
        return {}
    found = one_person(contact.address or "")
    if not isinstance(found, Address):
        several = found["code"] == "import_several"
        return {"address": why("contact_several_addresses" if several else "contact_not_an_address")}
    if found.name:
        return {"address": why("contact_address_with_name", address=found.address)}
    if found.key != contact.address_key and office.comes_back(found.key):
        return {"address": why("address_of_ours", address=found.key)}
    contact.address, contact.address_key = found.address, found.key
    return {"address": why("contact_address_taken")} if same_address(contact) is not None else {}


def _of_a_colleague(contact: Contact, by_admin: bool) -> dict[str, Why]:
    """Return why a contact can't be changed like this: its colleague would get no emails, or another name."""
    errors = {}
    if not contact.active:
        errors["active"] = why("contact_of_colleague_needed")
    if contact.address is None:
        errors["address"] = why("contact_of_colleague_needs_address")
    elif not by_admin and was_changed(contact, "address_key"):
        errors["address"] = why("contact_of_colleague")
    if not by_admin and was_changed(contact, "name"):
        errors["name"] = why("contact_of_colleague")
    return errors

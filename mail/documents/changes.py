"""FLOW of what people do to documents: check what somebody wants, do it, and write each change into the history."""

from dataclasses import dataclass
from datetime import datetime

from mail.documents import contacts, posts
from mail.documents.documents import start_document
from mail.errors import ChangeRefused
from mail.message.address import Address, show_address
from mail.message.pasted import one_person
from mail.sentences import Why, why
from mail.settings import office
from models import Contact, Document, DocumentType, Event, Stage, User, db

LONGEST_TITLE = 500


@dataclass(frozen=True, slots=True)
class DocumentEdit:
    """What somebody wants of a document; None leaves it as it is, a responsible person of 0 is nobody.

    ``priority`` comes with the words for the old and the new one.
    """

    title: str | None = None
    stage_id: int | None = None
    responsible_id: int | None = None
    priority: tuple[int, str, str] | None = None


def start(type_: DocumentType, title: str, customer: str, responsible: User, now: datetime) -> Document:
    """Return a new document that somebody opens by hand; `customer` is one person as people type it, or empty.

    Raises ``ChangeRefused``. The caller commits.
    """
    title, person = _title(title), _person("customer", customer) if customer.strip() else None
    contact = contacts.find_or_make(person.address, person.name, now) if person else None
    return start_document(
        type_,
        title,
        now,
        sender=show_address(person.name, person.address) if person else "",
        contact_id=contact.id if contact else None,
        responsible=responsible,
    )


def add_follower(document: Document, address: str, now: datetime) -> Contact:
    """Make one person, as people type it, a follower and return the contact; raises ``ChangeRefused``.

    The caller commits.
    """
    person = _person("address", address)
    contact = contacts.find_or_make(person.address, person.name, now)
    posts.follow(document.thread_id, contact.id)
    return contact


def _title(text: str) -> str:
    title = " ".join(text.split())
    if not title:
        raise ChangeRefused({"title": why("title_empty")})
    if len(title) > LONGEST_TITLE:
        raise ChangeRefused({"title": why("title_long", length=len(title), most=LONGEST_TITLE)})
    return title


def _person(field: str, text: str) -> Address:
    """Return the one person of a field, somebody to whom this office may write."""
    person = one_person(text)
    if isinstance(person, Address):
        if person.key in office.own_addresses():
            raise ChangeRefused({field: why("address_of_ours", address=person.key)})
        return person
    several = person["code"] == "import_several"
    raise ChangeRefused({field: why("one_person_only") if several else why("not_one_person", text=text.strip())})


def edit(document: Document, wanted: DocumentEdit, user: User, now: datetime) -> bool:
    """Change a document and return whether anything changed; raises ``ChangeRefused``. The caller commits."""
    title = None if wanted.title is None else _title(wanted.title)
    changes = [*_stage(document, wanted.stage_id), *_priority(document, wanted.priority)]
    changes += _responsible(document, wanted.responsible_id)
    if title is not None and title != document.title:
        changes.append(why("changed_title", before=document.title, after=title))
        document.title = title
    for change in changes:
        posts.add_log(document.thread_id, change | {"values": change["values"] | {"who": user.name}}, now)
    if changes:
        Event.add([f"documents:{document.type_id}", f"thread:{document.thread_id}"], now)
    return bool(changes)


def _stage(document: Document, stage_id: int | None) -> list[Why]:
    stage = db.session.get(Stage, stage_id) if stage_id else None
    if stage is None or stage.type_id != document.type_id or stage.id == document.stage_id:
        return []
    before = document.stage.name if document.stage else "–"
    document.stage_id = stage.id
    return [why("changed_stage", before=before, after=stage.name)]


def _priority(document: Document, priority: tuple[int, str, str] | None) -> list[Why]:
    if priority is None or priority[0] == document.priority:
        return []
    document.priority = priority[0]
    return [why("changed_priority", before=priority[1], after=priority[2])]


def _responsible(document: Document, user_id: int | None) -> list[Why]:
    if user_id is None or user_id == (document.responsible_id or 0):
        return []
    before, after = document.responsible, db.session.get(User, user_id) if user_id else None
    document.responsible_id = after.id if after else None
    if after:
        posts.follow(document.thread_id, after.contact_id, why("follow_responsible"))
    return [responsible_change(before, after)]


def responsible_change(before: User | None, after: User | None) -> Why:
    """Return the line of the history for another responsible person; None is nobody."""
    if before and after:
        return why("changed_responsible", before=before.name, after=after.name)
    if before:
        return why("responsible_removed", before=before.name)
    return why("responsible_set", after=after and after.name)

"""FLOW: the lists that contacts are on, and the people that somebody pastes into one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, select, update

from mail.documents.contacts import contact_row
from mail.message.pasted import LONGEST_NAME, PastedPerson, PastedPiece, PastedText, read_people
from mail.sentences import Why, why
from mail.settings import office
from models import Contact, MailingList, Subscription, User, db, reading, writing
from models.slices import MOST_IDS, SliceSize
from models.store import insert_rows

MOST_LINES = 20_000  # people read at once
_importing = SliceSize(200, least=50, most=MOST_IDS)  # people that come onto a list in one transaction


# --- lists


def subscribe(list_id: int, contact_ids: Iterable[int], reason: Why, now: datetime) -> int:
    """Put contacts on a list and return how many are new there; who unsubscribed stays so. The caller commits."""
    rows = [
        {"list_id": list_id, "contact_id": contact_id, "state": "subscribed", "why": reason, "at": now}
        for contact_id in dict.fromkeys(contact_ids)
    ]
    return len(insert_rows(Subscription, rows, "contact_id", skip_known=True))


def set_subscription(subscription_id: int, state: str, reason: str, now: datetime, user: User | None = None) -> bool:
    """Unsubscribe somebody by hand, or subscribe them again, because they asked for it; returns whether it changed.

    ``state`` is subscribed or unsubscribed, ``reason`` what the person who does it writes down. The caller commits.
    """
    subscription = db.session.get(Subscription, subscription_id, with_for_update=True)
    if subscription is None or subscription.state == state:
        return False
    by = user.name if user else ""
    subscription.why = dict(why(f"{state}_by_hand", user=by, reason=reason.strip().rstrip(".")))
    subscription.state, subscription.at = state, now
    return True


# --- what somebody pastes or uploads


@dataclass
class ImportReport:
    """What became of pasted people. ``added`` are new on the list, ``known`` were on it; ``made`` are new contacts."""

    added: int = 0
    known: int = 0
    made: int = 0
    refused: list[PastedPiece] = field(default_factory=list)
    remarks: list[PastedPiece] = field(default_factory=list)  # taken, but something is worth knowing
    rest: list[str] = field(default_factory=list)  # lines beyond the number that is read at once
    header: str = ""

    @classmethod
    def of(cls, pasted: PastedText) -> "ImportReport":
        """Return the report of a text whose people are still to be added."""
        return cls(refused=pasted.skipped, remarks=pasted.remarks, rest=pasted.rest, header=pasted.header)

    def again(self) -> list[str]:
        """Return the lines that can be added in a next step, those to be corrected first: none is lost."""
        lines = [one.text for one in self.refused if one.why["code"] != "import_twice"] + self.rest
        return [self.header, *lines] if self.header and lines else lines


def import_lines(text: str, list_id: int, now: datetime, user: User | None = None) -> ImportReport:
    """Read people such as ``Ann Lee <ann@example.com>`` onto a list and say of all else why not.

    Who unsubscribed from the list stays unsubscribed. Raises ``LookupError`` when there is no such list. Commits slice
    by slice; call it with nothing to be written: the text is read while nobody waits for the database.
    """
    with reading():
        mailing_list = db.session.get(MailingList, list_id)
        if mailing_list is None:
            raise LookupError(f"mailing list {list_id}")
        reason = why("subscribed_by_import", user=user.name if user else "", list=mailing_list.name)
        office.load()
    pasted = read_people(text, MOST_LINES)
    report = ImportReport.of(pasted)
    people = []
    for person in pasted.people:
        if office.comes_back(person.key):
            ours = why("address_of_ours", address=person.key)
            report.refused.append(PastedPiece(person.number, person.text, ours))
        else:
            people.append(person)
    start = 0
    with writing():
        while start < len(people):
            with _importing.slice() as size:
                _take(people[start : start + size], list_id, reason, report, now)
                db.session.commit()
            start += size
    return report


def _take(people: Sequence[PastedPerson], list_id: int, reason: Why, report: ImportReport, now: datetime) -> None:
    by_key = {person.key: person for person in people}
    contacts = _contacts_with(by_key, report, now)
    ids = [contact.id for contact in contacts.values()]
    found = select(Subscription.contact_id, Subscription.state).where(
        Subscription.list_id == list_id, Subscription.contact_id.in_(ids)
    )
    states = dict(db.session.execute(found).all())
    subscribed = []
    for key, person in by_key.items():
        contact = contacts[key]
        if not contact.active:
            report.refused.append(PastedPiece(person.number, person.text, why("import_archived", address=key)))
        elif states.get(contact.id) == "unsubscribed":
            report.refused.append(PastedPiece(person.number, person.text, why("import_unsubscribed", address=key)))
        elif contact.id in states:
            report.known += 1
        else:
            subscribed.append(contact.id)
    report.added += subscribe(list_id, subscribed, reason, now)


def _contacts_with(people: Mapping[str, PastedPerson], report: ImportReport, now: datetime) -> Mapping[str, Any]:
    """The contacts with these addresses, new ones made; a contact that had no name or company gets the given one."""
    contacts = _contacts_of(people)
    new = [
        contact_row(person.name[:LONGEST_NAME], person.address, key, now) | {"company": person.company[:LONGEST_NAME]}
        for key, person in people.items()
        if key not in contacts
    ]
    report.made += len(insert_rows(Contact, new, "id", skip_known=True))
    _complete((contact, people[key]) for key, contact in contacts.items())
    return _contacts_of(people) if new else contacts


_CONTACTS: Any = Contact.__table__
_COMPLETED = (
    update(_CONTACTS)
    .where(_CONTACTS.c.id == bindparam("contact"))
    .values(name=bindparam("known_name"), company=bindparam("known_company"))
)


def _complete(known: Iterable[tuple[Any, PastedPerson]]) -> None:
    """Give contacts without a name or a company the given one."""
    rows = []
    for contact, person in known:
        name = contact.name or person.name[:LONGEST_NAME]
        company = contact.company or person.company[:LONGEST_NAME]
        if (name, company) != (contact.name, contact.company):
            rows.append({"contact": contact.id, "known_name": name, "known_company": company})
    if rows:
        db.session.connection().execute(_COMPLETED, rows)


def _contacts_of(keys: Iterable[str]) -> dict[str, Any]:
    known = (Contact.address_key, Contact.id, Contact.active, Contact.name, Contact.company)
    rows = db.session.execute(select(*known).where(Contact.address_key.in_(list(keys))))
    return {row.address_key: row for row in rows}

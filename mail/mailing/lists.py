"""FLOW: the lists that contacts are on, and the lines that somebody pastes into one."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import select

from mail.documents.contacts import LONGEST_NAME, contact_row
from mail.message.address import parse_addresses
from mail.sentences import Why, why
from models import Contact, MailingList, Subscription, User, db
from models.store import upsert

SLICE = 500  # lines of an import that are looked up together
LONGEST_LINE = 1000  # characters
MOST_LINES = 20_000  # people read at once


# --- lists


def subscribe(list_id: int, contact_ids: Iterable[int], reason: Why, now: datetime) -> int:
    """Put contacts on a list and return how many are new there; who unsubscribed stays so. The caller commits."""
    rows = [
        {"list_id": list_id, "contact_id": contact_id, "state": "subscribed", "why": reason, "at": now}
        for contact_id in dict.fromkeys(contact_ids)
    ]
    if not rows:
        return 0
    new = db.session.scalars(
        upsert(Subscription).values(rows).on_conflict_do_nothing().returning(Subscription.contact_id)
    )
    return len(new.all())


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


# --- lines that somebody pastes


@dataclass(frozen=True, slots=True)
class ImportLine:
    """One line that was not simply taken; ``number`` counts from 1."""

    number: int
    text: str
    why: Why


@dataclass
class ImportReport:
    """What became of pasted lines. ``added`` are new on the list, ``known`` were on it; ``made`` are new contacts."""

    added: int = 0
    known: int = 0
    made: int = 0
    refused: list[ImportLine] = field(default_factory=list)
    remarks: list[ImportLine] = field(default_factory=list)  # taken, but something is worth knowing
    rest: list[str] = field(default_factory=list)  # lines beyond the number that is read at once

    def again(self) -> list[str]:
        """Return the lines that can be added in a next step, those to be corrected first: none is lost."""
        return [line.text for line in self.refused if line.why["code"] != "import_twice"] + self.rest


@dataclass(frozen=True, slots=True)
class _Person:
    number: int
    text: str
    name: str
    address: str
    key: str


def import_lines(text: str, list_id: int, now: datetime, user: User | None = None) -> ImportReport:
    """Read lines such as ``Ann Lee <ann@example.com>`` onto a list and say of each refused line why. Caller commits.

    Who unsubscribed from the list stays unsubscribed. Raises ``LookupError`` when there is no such list.
    """
    mailing_list = db.session.get(MailingList, list_id)
    if mailing_list is None:
        raise LookupError(f"mailing list {list_id}")
    report = ImportReport()
    people = _read(text, report)
    reason = why("subscribed_by_import", user=user.name if user else "", list=mailing_list.name)
    for start in range(0, len(people), SLICE):
        _take(people[start : start + SLICE], list_id, reason, report, now)
    return report


def _read(text: str, report: ImportReport) -> list[_Person]:
    """The lines that name one person each; the others go into the report."""
    people: list[_Person] = []
    first_line: dict[str, int] = {}
    lines = text.splitlines()
    for number, whole in enumerate(lines, 1):
        line = whole.strip().strip(",;").strip()
        if not line:
            continue
        if len(people) >= MOST_LINES:
            report.rest = lines[number - 1 :]
            break
        person = _person(number, line)
        if not isinstance(person, _Person):
            report.refused.append(ImportLine(number, line, person))
        elif person.key in first_line:
            twice = why("import_twice", address=person.key, line=first_line[person.key])
            report.refused.append(ImportLine(number, line, twice))
        else:
            first_line[person.key] = number
            people.append(person)
    return people


def _person(number: int, line: str) -> _Person | Why:
    if len(line) > LONGEST_LINE:
        return why("import_line_too_long", most=LONGEST_LINE)
    if "@" not in line:
        return why("import_no_address")
    found = parse_addresses(line)
    if not found:
        return why("import_bad_address", text=line[:100])
    if len(found) > 1:
        return why("import_several", count=len(found))
    one = found[0]
    return _Person(number, line, one.name[:LONGEST_NAME], one.address, one.key)


def _take(people: list[_Person], list_id: int, reason: Why, report: ImportReport, now: datetime) -> None:
    keys = {person.key: person for person in people}
    contacts = _contacts_of(keys)
    new = [contact_row(person.name, person.address, key, now) for key, person in keys.items() if key not in contacts]
    if new:
        made = upsert(Contact).values(new).on_conflict_do_nothing().returning(Contact.id)
        report.made += len(db.session.scalars(made).all())
        contacts = _contacts_of(keys)
    ids = {contact_id for contact_id, _ in contacts.values()}
    found = select(Subscription.contact_id, Subscription.state).where(
        Subscription.list_id == list_id, Subscription.contact_id.in_(ids)
    )
    states = dict(db.session.execute(found).all())
    subscribed = []
    for key, person in keys.items():
        contact_id, active = contacts[key]
        if not active:
            report.refused.append(ImportLine(person.number, person.text, why("import_archived", address=key)))
        elif states.get(contact_id) == "unsubscribed":
            report.refused.append(ImportLine(person.number, person.text, why("import_unsubscribed", address=key)))
        elif contact_id in states:
            report.known += 1
        else:
            subscribed.append(contact_id)
    report.added += subscribe(list_id, subscribed, reason, now)


def _contacts_of(keys: Iterable[str]) -> dict[str, tuple[int, bool]]:
    rows = db.session.execute(
        select(Contact.address_key, Contact.id, Contact.active).where(Contact.address_key.in_(list(keys)))
    )
    return {str(key): (contact_id, active) for key, contact_id, active in rows}

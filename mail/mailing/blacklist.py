"""FLOW: which addresses mass mail skips: by the rule of mailing.md 6, by a complaint, or because a person said so.

Personal and transactional mail is not blocked by it. Every change leaves a log note on the entry's thread and on that
of the contact, if there is one.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, select, update

from mail.decide import blacklist
from mail.decide.blacklist import Arithmetic
from mail.decide.failure import FailureKind
from mail.documents.posts import add_posts
from mail.documents.threads import PostDraft
from mail.errors import InvalidAddress
from mail.mailing.lists import ImportReport
from mail.message.address import normalise
from mail.message.pasted import read_people
from mail.sentences import Why, why
from mail.settings import parameters
from models import AddressHealth, BlacklistedAddress, Bounce, Contact, Thread, User, change_rows, db, reading, writing
from models.slices import MOST_IDS, SliceSize, by_hundreds
from models.store import insert_rows

MOST_LINES = 2_000  # of one import: each writes its log notes
_importing = SliceSize(20, least=10, most=MOST_IDS)  # addresses that are blacklisted in one transaction

_SAID = {"manual": "blacklist_manual", "unsubscribed": "blacklist_unsubscribed", "complaint": "blacklist_complaint"}


def add(
    address: str,
    reason: str,
    now: datetime,
    *,
    why_added: Why | None = None,
    mailing_id: int | None = None,
    user: User | None = None,
) -> BlacklistedAddress:
    """Return the entry of an address, a new one with its log notes unless there is one; the caller commits.

    ``reason``: bounces, complaint, manual or unsubscribed. Raises ``InvalidAddress``.
    """
    key = normalise(address)
    if key is None:
        raise InvalidAddress(address=address)
    said = why_added or why(_SAID[reason], user=user.name if user else "")
    add_all({key: NewEntry(said, mailing_id)}, reason, now, user)
    return db.session.scalars(select(BlacklistedAddress).where(BlacklistedAddress.address_key == key)).one()


@dataclass(frozen=True, slots=True)
class NewEntry:
    """Why an address comes on the blacklist, and the mailing that was the last straw."""

    why: Why
    mailing_id: int | None = None


def add_all(entries: Mapping[str, NewEntry], reason: str, now: datetime, user: User | None = None) -> set[str]:
    """Blacklist normalised addresses, each with its log notes, in some ten statements; return those that are new.

    The caller commits.
    """
    keys = sorted(entries.keys() - _blacklisted(entries.keys()))
    health = _health(keys, now)
    rows = [
        {
            "address_key": key,
            "reason": reason,
            "why": entries[key].why,
            "mailing_id": entries[key].mailing_id,
            "thread_id": health[key],
            "at": now,
        }
        for key in keys
    ]
    added = insert_rows(BlacklistedAddress, rows, "address_key", skip_known=True)
    new = {row.address_key for row in added}  # else another transaction was quicker, and wrote its log
    _log({key: (health[key], entries[key].why) for key in keys if key in new}, now, user)
    return new


def remove(address: str, reason: str, user: User | None, now: datetime) -> bool:
    """Take an address from the blacklist, with the reason in its log; only later bounces count then.

    Returns whether it was there; the caller commits.
    """
    key = normalise(address)
    if key is None:
        return False
    gone = db.session.scalar(
        delete(BlacklistedAddress).where(BlacklistedAddress.address_key == key).returning(BlacklistedAddress.id)
    )
    if gone is None:
        return False
    thread_id = _health([key], now)[key]
    change_rows(update(AddressHealth).where(AddressHealth.address_key == key).values(counted_from=now))
    said = why("blacklist_removed", user=user.name if user else "", reason=reason.strip())
    _log({key: (thread_id, said)}, now, user)
    return True


def import_lines(text: str, reason: str, now: datetime, user: User | None = None) -> ImportReport:
    """Blacklist the addresses of a text, with the reason in the log of each, and say of all else why not.

    Commits slice by slice, so that nobody waits for the whole import. Call it with nothing to be
    written: the text is read while nobody waits for the database.
    """
    with reading():
        by = user.name if user else ""
    pasted = read_people(text, MOST_LINES)
    report = ImportReport.of(pasted)
    report.remarks = []  # names and further columns are of no interest here
    entry = NewEntry(why("blacklist_manual_reason", user=by, reason=reason.rstrip(".")))
    start = 0
    with writing():
        while start < len(pasted.people):
            with _importing.slice() as size:
                keys = [person.key for person in pasted.people[start : start + size]]
                added = len(add_all(dict.fromkeys(keys, entry), "manual", now, user))
                db.session.commit()
            report.added, report.known = report.added + added, report.known + len(keys) - added
            start += size
    return report


def arithmetic(address: str, now: datetime) -> Arithmetic:
    """Return how near an address is to the blacklist: "3 of 5 bounces in 30 days, 4 of 7 days apart"."""
    key = normalise(address) or ""
    return _arithmetic([key], now)[key]


def consider(address_keys: Iterable[str], mailing_id: int | None, now: datetime) -> list[str]:
    """Blacklist, after a new bounce, those addresses that the rule asks for, and return them. The caller commits."""
    keys = sorted({key for key in address_keys if key})
    if not keys:
        return []
    due = {key: NewEntry(found.why, mailing_id) for key, found in _arithmetic(keys, now).items() if found.due}
    add_all(due, "bounces", now)
    return list(due)


def complain(addresses: Mapping[str, int | None], now: datetime) -> None:
    """Blacklist addresses at once: their owners called the mail of a mailing spam. The caller commits."""
    said = why(_SAID["complaint"], user="")
    add_all({key: NewEntry(said, mailing_id) for key, mailing_id in addresses.items()}, "complaint", now)


def _arithmetic(keys: Collection[str], now: datetime) -> dict[str, Arithmetic]:
    counted_from: dict[str, datetime | None] = {}
    dates: dict[str, list[datetime]] = {key: [] for key in keys}
    bounces = select(Bounce.address_key, Bounce.at).where(
        Bounce.counted, Bounce.trace_id.is_not(None), Bounce.kind.in_([kind for kind in FailureKind if kind.counts])
    )
    for some in by_hundreds(keys):
        health = select(AddressHealth.address_key, AddressHealth.counted_from)
        for key, since in db.session.execute(health.where(AddressHealth.address_key.in_(some))):
            counted_from[str(key)] = since
        for address_key, at in db.session.execute(bounces.where(Bounce.address_key.in_(some))):
            dates[str(address_key)].append(at)
    return {key: _judge(dates[key], counted_from.get(key), now) for key in keys}


def _judge(dates: Sequence[datetime], counted_from: datetime | None, now: datetime) -> Arithmetic:
    return blacklist.blacklist_arithmetic(
        dates,
        now,
        bounces=parameters.BLACKLIST_BOUNCES.get(),
        days=parameters.BLACKLIST_DAYS.get(),
        spread_days=parameters.BLACKLIST_SPREAD.get(),
        counted_from=counted_from,
    )


# --- the log


def _blacklisted(keys: Collection[str]) -> set[str]:
    found: set[str] = set()
    for some in by_hundreds(keys):
        query = select(BlacklistedAddress.address_key).where(BlacklistedAddress.address_key.in_(some))
        found.update(db.session.scalars(query))
    return found


def _health(keys: Sequence[str], now: datetime) -> dict[str, int]:
    """Return the thread of each address, with a row and a thread for those that had none."""
    insert_rows(AddressHealth, [{"address_key": key, "bounces": 0} for key in keys], skip_known=True)
    return _threads(AddressHealth, keys, now)


def _threads(table: type[AddressHealth | Contact], keys: Sequence[str], now: datetime) -> dict[str, int]:
    """Return the threads of the rows with these addresses, new ones made."""
    found: dict[str, int | None] = {}
    for some in by_hundreds(keys):
        rows = db.session.execute(select(table.address_key, table.thread_id).where(table.address_key.in_(some)))
        found.update((str(row.address_key), row.thread_id) for row in rows)
    without = sorted(key for key, thread_id in found.items() if thread_id is None)
    made = [row.id for row in insert_rows(Thread, [{"last_post_at": now}] * len(without), "id")]
    new = dict(zip(without, made, strict=True))
    if new:
        rows_of: Any = table.__table__
        given = update(rows_of).where(rows_of.c.address_key == bindparam("key")).values(thread_id=bindparam("to"))
        db.session.connection().execute(given, [{"key": key, "to": thread_id} for key, thread_id in new.items()])
    return {key: thread_id or new[key] for key, thread_id in found.items()}


def _log(said: Mapping[str, tuple[int, Why]], now: datetime, user: User | None) -> None:
    """Note changes on the thread of each entry and on that of the contact with this address."""
    contacts = _threads(Contact, list(said), now)
    author = user.contact_id if user else None
    notes = [
        PostDraft(id, "log", now, author_contact_id=author, why=reason)
        for key, (thread_id, reason) in said.items()
        for id in dict.fromkeys((thread_id, contacts.get(key, thread_id)))
    ]
    add_posts(notes, now)

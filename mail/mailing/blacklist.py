"""FLOW: which addresses mass mail skips: by the rule of mailing.md 6, by a complaint, or because a person said so.

Personal and transactional mail is not blocked by it. Every change leaves a log note on the entry's thread and on that
of the contact, if there is one.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from sqlalchemy import delete, select

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
from models import AddressHealth, BlacklistedAddress, Bounce, Contact, Thread, User, db
from models.store import upsert

MOST_LINES = 2_000  # of one import: each writes its log notes
COMMIT_EVERY = 50

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
    found = db.session.scalar(select(BlacklistedAddress).where(BlacklistedAddress.address_key == key))
    if found is not None:
        return found
    said = why_added or why(_SAID[reason], user=user.name if user else "")
    health = _health(key)
    if health.thread_id is None:
        health.thread_id = _new_thread(now)
    row = {
        "address_key": key,
        "reason": reason,
        "why": said,
        "mailing_id": mailing_id,
        "thread_id": health.thread_id,
        "at": now,
    }
    new = db.session.scalar(
        upsert(BlacklistedAddress).values(row).on_conflict_do_nothing().returning(BlacklistedAddress.id)
    )
    if new is not None:  # else another transaction was quicker, and wrote its log
        _log(key, health.thread_id, said, now, user)
    entry = db.session.scalar(select(BlacklistedAddress).where(BlacklistedAddress.address_key == key))
    assert entry is not None
    return entry


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
    health = _health(key)
    health.counted_from = now
    said = why("blacklist_removed", user=user.name if user else "", reason=reason.strip())
    _log(key, health.thread_id, said, now, user)
    return True


def import_lines(text: str, reason: str, now: datetime, user: User | None = None) -> ImportReport:
    """Blacklist the addresses of a text, with the reason in the log of each, and say of all else why not.

    Commits every ``COMMIT_EVERY`` addresses, so that nobody waits for the whole import.
    """
    pasted = read_people(text, MOST_LINES)
    report = ImportReport.of(pasted)
    report.remarks = []  # names and further columns are of no interest here
    said = why("blacklist_manual_reason", user=user.name if user else "", reason=reason.rstrip("."))
    for person in pasted.people:
        if is_blacklisted(person.address):
            report.known += 1
            continue
        add(person.address, "manual", now, why_added=said, user=user)
        report.added += 1
        if report.added % COMMIT_EVERY == 0:
            db.session.commit()
    db.session.commit()
    return report


def is_blacklisted(address: str) -> bool:
    """Return whether mass mail skips this address."""
    key = normalise(address)
    return bool(key) and db.session.scalar(
        select(BlacklistedAddress.id).where(BlacklistedAddress.address_key == key)
    ) is not None  # fmt: skip


def arithmetic(address: str, now: datetime) -> Arithmetic:
    """Return how near an address is to the blacklist: "3 of 5 bounces in 30 days, 4 of 7 days apart"."""
    key = normalise(address) or ""
    return _arithmetic([key], now)[key]


def consider(address_keys: Iterable[str], mailing_id: int | None, now: datetime) -> list[str]:
    """Blacklist, after a new bounce, those addresses that the rule asks for, and return them. The caller commits."""
    keys = sorted({key for key in address_keys if key})
    if not keys:
        return []
    due = [(key, found.why) for key, found in _arithmetic(keys, now).items() if found.due]
    for key, reason in due:
        add(key, "bounces", now, why_added=reason, mailing_id=mailing_id)
    return [key for key, _ in due]


def complain(address: str, mailing_id: int | None, now: datetime) -> None:
    """Blacklist an address at once: its owner called our mail spam. The caller commits."""
    add(address, "complaint", now, mailing_id=mailing_id)


def _arithmetic(keys: Collection[str], now: datetime) -> dict[str, Arithmetic]:
    counted_from: dict[str, datetime | None] = {}
    health = select(AddressHealth.address_key, AddressHealth.counted_from).where(AddressHealth.address_key.in_(keys))
    for key, since in db.session.execute(health):
        counted_from[str(key)] = since
    dates: dict[str, list[datetime]] = {key: [] for key in keys}
    found = select(Bounce.address_key, Bounce.at).where(
        Bounce.address_key.in_(keys),
        Bounce.counted,
        Bounce.trace_id.is_not(None),
        Bounce.kind.in_([kind for kind in FailureKind if kind.counts]),
    )
    for address_key, at in db.session.execute(found):
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


def _health(key: str) -> AddressHealth:
    db.session.execute(upsert(AddressHealth).values(address_key=key, bounces=0).on_conflict_do_nothing())
    health = db.session.scalar(select(AddressHealth).where(AddressHealth.address_key == key))
    assert health is not None
    return health


def _log(key: str, thread_id: int | None, said: Why, now: datetime, user: User | None) -> None:
    """Note a change on the thread of the entry and on that of the contact with this address."""
    contact = db.session.scalar(select(Contact).where(Contact.address_key == key))
    if contact is not None and contact.thread_id is None:
        contact.thread_id = _new_thread(now)
    threads = dict.fromkeys(id for id in (thread_id, contact.thread_id if contact else None) if id is not None)
    author = user.contact_id if user else None
    add_posts([PostDraft(id, "log", now, author_contact_id=author, why=said) for id in threads], now)


def _new_thread(now: datetime) -> int:
    thread = Thread(last_post_at=now)
    db.session.add(thread)
    db.session.flush()
    return thread.id

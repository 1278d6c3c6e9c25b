"""FLOW of a key that signs (DKIM): made -> published by a person -> seen in DNS -> signs -> has a successor -> removed.

Only a key whose record was seen signs. A new key takes over from the one before as soon as it was seen; the record of
one that signed stays until nobody can have an email left to check with it. Who changes the state of a key holds all of
its domain: a click and what the worker sees may come at once.
"""

import secrets
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import select, update

from mail.decide.dkim_record import judge_dkim
from mail.decide.verdicts import DkimKey, Verdict
from mail.deliverability import checks
from mail.deliverability.own_keys import keys_of, public_half
from mail.dns_answers import DnsAnswers
from mail.errors import ChangeRefused
from mail.message.dkim import Algorithm
from mail.sentences import why
from mail.settings import office, providers
from mail.settings.config import settings
from mail.settings.notices import tell_admins
from mail.settings.signing import new_key
from mail.transport.dns import Resolver
from models import DkimKeyPair, Event, Unreadable, change_rows, db, reading

LETTERS = "abcdefghjkmnpqrstuvwxyz"  # none that is taken for a digit
SOON, LATER, DAILY = timedelta(minutes=1), timedelta(minutes=10), timedelta(days=1)
LONG = timedelta(hours=1)
RECORD_STAYS = timedelta(days=7)  # emails may wait that long on their way to those who check them


def removable_at(key: DkimKeyPair) -> datetime | None:
    """Return when the record of a key that signed is needed no more, None for one that signs, or never did."""
    return key.signed_until + RECORD_STAYS if key.signed_until else None


def is_lost(key: DkimKeyPair) -> bool:
    """Say whether a key can't be read: it was stored under another key of ours."""
    return isinstance(key.private_key, Unreadable)


# --- what a person does; the caller commits, then wakes "dkim"


def create(domain: str, algorithm: Algorithm, now: datetime) -> DkimKeyPair:
    """Make a new key; raises ``ChangeRefused`` while another new one of this kind waits to be published.

    Also for the domain of a provider: nobody else can publish a record there.
    """
    if owner := providers.owner_of(domain):
        raise ChangeRefused({"key": why("dkim_not_your_domain", domain=domain, owner=owner.name)})
    known = keys_of(domain)
    if any(key.state == "new" and key.algorithm == algorithm for key in known):
        raise ChangeRefused({"key": why("dkim_new_key_waits", domain=domain)})
    selector = _selector({key.selector for key in known}, now)
    db.session.rollback()  # it takes a moment to make: nobody waits for the database meanwhile
    private, public = new_key(algorithm)
    key = DkimKeyPair(
        domain=domain,
        selector=selector,
        algorithm=algorithm,
        private_key=private,
        public_key=public,
        state="new",
        created_at=now,
        check_at=now,
    )
    db.session.add(key)
    _tell(now)
    return key


def _selector(known: Collection[str], now: datetime) -> str:
    """Return a name for a key that its domain never had: what DNS remembers of an old one would be taken for it."""
    while True:
        name = f"coqui{now:%y%m}" + "".join(secrets.choice(LETTERS) for _ in range(3))
        if name not in known:
            return name


def look_now(domain: str, now: datetime) -> None:
    """Have the worker look for the records of a domain."""
    current = (DkimKeyPair.domain == domain, DkimKeyPair.state != "retired")
    change_rows(update(DkimKeyPair).where(*current).values(check_at=now))


def start(domain: str, now: datetime) -> None:
    """Sign the emails of a domain from now on; raises ``ChangeRefused`` while none of its keys was seen in DNS."""
    held = _held(domain)
    ready = [key for key in held if key.state == "ready"]
    if not ready:
        raise ChangeRefused({"key": why("dkim_not_seen", domain=domain)})
    lost = next(filter(is_lost, ready), None)
    if lost:
        raise ChangeRefused({"key": why("dkim_key_lost", selector=lost.selector, domain=domain)})
    for key in reversed(ready):
        if key.state == "ready":  # else a newer one has just taken its place
            _put_to_use(key, held, now)
    _tell(now)


def stop(domain: str, now: datetime) -> None:
    """Sign no more emails of a domain; its keys are kept, and used again unless they can't be read."""
    for key in _held(domain):
        if key.state == "signing":
            key.signed_until, key.signs_since = now, None
            if is_lost(key):
                _retire(key, now)
            else:
                key.state = "ready"
    _tell(now)


def remove(key: DkimKeyPair, now: datetime) -> None:
    """Delete a key; raises ``ChangeRefused`` for one that signs, or did so a short while ago."""
    found = next((one for one in _held(key.domain) if one.id == key.id), None)
    if found is None:
        return
    about, until = {"selector": found.selector, "domain": found.domain}, removable_at(found)
    if found.state == "signing":
        raise ChangeRefused({"key": why("dkim_key_in_use", **about)})
    if until is not None and until > now:
        raise ChangeRefused({"key": why("dkim_key_needed", **about, on=f"{until:%Y-%m-%d}")})
    db.session.delete(found)
    _tell(now)


def _held(domain: str) -> Sequence[DkimKeyPair]:
    """Return the keys of a domain as they are now, the oldest first, and keep others from changing them."""
    keys = select(DkimKeyPair).where(DkimKeyPair.domain == domain).order_by(DkimKeyPair.id).with_for_update()
    return db.session.scalars(keys, execution_options={"populate_existing": True}).all()


# --- what the worker sees


def look(key_id: int, now: datetime) -> None:
    """Look for the record of a key, and let the key sign if its domain does; commits."""
    key = db.session.get(DkimKeyPair, key_id)
    if key is None:
        return
    if key.state == "retired":
        _tell_of_old(key, now)
        return
    public, domain = public_half(key), key.domain
    db.session.rollback()  # nobody waits for the database while DNS is asked
    verdict = _ask(public)
    held = _held(domain)
    key = next((one for one in held if one.id == key_id), None)
    if key is None or key.state == "retired":
        db.session.rollback()
        return
    key.checked_at, key.found = now, {"state": verdict.state, "sentences": list(verdict.sentences)}
    takes_over = verdict.state in ("good", "warning") and _note_seen(key, held, now)
    if verdict.state == "bad" and key.state == "ready":
        key.state, key.check_at = "new", now + LATER
    _tell(now)
    db.session.commit()
    if takes_over:
        checks.check(domain, now)


def _ask(key: DkimKey) -> Verdict:
    """Return what DNS says of the record of a key."""
    answers = DnsAnswers({})
    judge_dkim(key, answers)
    return judge_dkim(key, DnsAnswers(Resolver(settings().dns_resolvers).ask_all(answers.open)))


def take_due(now: datetime) -> int | None:
    """Return a key that is due: its record is to be looked for, or is needed no more; commits.

    A new key is looked for every minute, after an hour every ten minutes, the others once a day.
    """
    with reading():
        due = select(DkimKeyPair).where(DkimKeyPair.check_at <= now).order_by(DkimKeyPair.check_at).limit(1)
        key = db.session.scalar(due)
        if key is None:
            return None
        key_id, check_at = key.id, key.check_at
        waits = SOON if now - key.created_at < LONG else LATER
        again = now + (waits if key.state == "new" else DAILY)
    same = (DkimKeyPair.id == key_id, DkimKeyPair.check_at == check_at)
    taken = change_rows(update(DkimKeyPair).where(*same).values(check_at=again))
    db.session.commit()
    return key_id if taken else None


def _note_seen(key: DkimKeyPair, held: Sequence[DkimKeyPair], now: datetime) -> bool:
    """Its record is in DNS: a new key signs if its domain does, else a person decides; returns whether it begins."""
    key.seen_at = key.seen_at or now
    if key.state != "new":
        return False
    key.state = "ready"
    signs = not is_lost(key) and any(other.state == "signing" for other in held)
    if signs:
        _put_to_use(key, held, now)
    return signs


def _put_to_use(key: DkimKeyPair, held: Sequence[DkimKeyPair], now: datetime) -> None:
    """Let a key sign in place of older ones of its kind."""
    for other in held:
        if other.algorithm == key.algorithm and other.id < key.id and other.state != "retired":
            if other.state == "signing":
                other.signed_until = now
            _retire(other, now)
    key.state, key.signs_since, key.signed_until = "signing", now, None


def _retire(key: DkimKeyPair, now: datetime) -> None:
    key.state, key.check_at = "retired", removable_at(key) or now


def _tell_of_old(key: DkimKeyPair, now: datetime) -> None:
    """Tell admins, once, that the record of an old key may go; commits."""
    key.check_at = removable_at(key)
    if key.check_at is None or key.check_at <= now:
        key.check_at = None
        about = {"domain": key.domain, "record": str(key)}
        tell_admins("dkim_removable", about, checks.link_to(key.domain), now)
    db.session.commit()


def _tell(now: datetime) -> None:
    office.forget()
    Event.add([checks.TOPIC], now)

"""The addresses of ours as rows: checking a local part, and changes after which the old address stays known.

The catchall and the bounce address of each domain stand in the system parameters and in the list of domains; their
rows here follow every change.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import g
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from sqlalchemy import delete, or_, select

from mail.decide.domains import fits_alias
from mail.decide.verp import PLUS_TEST
from mail.message.address import domain_of, normalise
from mail.settings import office, parameters
from mail.settings.parameters import BOUNCE_ALIAS, CATCHALL_ALIAS, CATCHALL_DOMAIN, VERP, NotValid
from models import Alias, OfficeDomain, db

ROLE_KEYS = {"catchall": CATCHALL_ALIAS.key, "bounce": BOUNCE_ALIAS.key}


@dataclass(frozen=True)
class DomainNames:
    """A domain of ours, as it is stored: its name, and the local parts of its own two addresses."""

    name: str
    catchall: str
    bounce: str


def domains() -> list[DomainNames]:
    """Return our domains; the first is the alias domain, without a name while there is none."""
    catchall, bounce = CATCHALL_ALIAS.get(), BOUNCE_ALIAS.get()
    row = OfficeDomain
    rows = db.session.execute(select(row.name_key, row.catchall_alias, row.bounce_alias).order_by(row.id))
    further = [DomainNames(one.name_key, one.catchall_alias or catchall, one.bounce_alias or bounce) for one in rows]
    return [DomainNames(CATCHALL_DOMAIN.get(), catchall, bounce), *further]


# --- which local parts are free


def check(text: str, alias_id: int | None = None, domain: str = "") -> str:
    """Return the local part of an alias as it is stored; raises ``NotValid`` with the reason it can't be used.

    ``alias_id`` is the alias that is edited: it does not clash with itself. ``domain``: the only one that it works in;
    "" for all of ours. A retired address may be used again.
    """
    local = text.strip().lower()
    if "@" in local:
        local, _, given = local.rpartition("@")
        if given:
            _assert_on_domain(domain_of(f"x@{given}"), domain)
    check_local_part(local)
    assert_free(local, places(local, domain), [alias_id or 0])
    return local


def _assert_on_domain(given: str, domain: str) -> None:
    """Raise ``NotValid`` when an alias was typed with another domain than it works in; it would be dropped."""
    first, *others = [one.name for one in domains()]
    if given and given == (domain or first):
        return
    if domain:
        raise NotValid(gettext("This alias works on %(domain)s only: enter only the part before the @, or choose "
                               "another domain.", domain=domain))  # fmt: skip
    if given in others:
        raise NotValid(gettext("This alias works on all of your domains: enter only the part before the @, or limit "
                               "it to %(domain)s.", domain=given))  # fmt: skip
    raise NotValid(gettext("Aliases end with the alias domain, %(domain)s: enter only the part before the @.",
                           domain=first or "…"))  # fmt: skip


def check_local_part(local: str) -> None:
    """Raise ``NotValid`` for what can't stand before the @ of an address of ours."""
    if "+" in local:
        raise NotValid(gettext("Leave out the plus sign and what follows it: an alias can't have one."))
    if not fits_alias(local):
        raise NotValid(
            gettext(
                "Enter the part before the @, such as sales: letters a to z, digits, dots and dashes; at most 64 "
                "characters."
            )
        )


def assert_free(local: str, addresses: Sequence[str], own: Collection[int] = ()) -> None:
    """Raise ``NotValid`` when an active alias has one of the addresses of a local part; ``own``: those that may."""
    everywhere = (Alias.role == "alias") & ~Alias.one_domain & (Alias.local_part == local)
    taken = db.session.scalars(
        select(Alias)
        .where(Alias.state == "active", Alias.id.not_in(own), or_(Alias.address_key.in_(addresses), everywhere))
        .order_by(Alias.id)
    ).first()
    if taken is not None:
        raise NotValid(_clash(taken, addresses))


def _clash(taken: Alias, addresses: Sequence[str]) -> Any:
    if taken.role == "catchall":
        return gettext("%(address)s is the catchall address, which collects replies: choose another name.",
                       address=taken.address_key)  # fmt: skip
    if taken.role == "bounce":
        return gettext("%(address)s is the bounce address, which receives delivery failures: choose another name.",
                       address=taken.address_key)  # fmt: skip
    if taken.address_key not in addresses:
        return gettext("%(address)s is an alias that works on all of your domains: choose another name, or limit that "
                       "alias to one domain.", address=taken.address_key)  # fmt: skip
    return gettext("%(address)s is already an alias of %(type)s: choose another name, or edit that alias.",
                   address=taken.address_key, type=taken.type.name if taken.type else "?")  # fmt: skip


def address(local: str, domain: str) -> str:
    """Return the address that a local part has in a domain, as it is compared; the local part while there is none."""
    return normalise(f"{local}@{domain}") or local if domain else local


def places(local: str, domain: str = "", ours: Sequence[DomainNames] = ()) -> list[str]:
    """Return the addresses of a local part: in one domain, or in all of ours, that in the alias domain first."""
    names = [domain] if domain else [one.name for one in ours or domains()]
    return [address(local, name) for name in names]


# --- changes


def add(text: str, type_id: int, domain: str = "") -> Alias:
    """Return a new alias that opens documents of a type; raises ``NotValid``. The caller commits.

    ``domain``: the only one that it works in; "" for all of ours.
    """
    local = check(text, domain=domain)
    there = places(local, domain)
    _forget_retired(there)
    alias = Alias(local_part=local, address_key=there[0], type_id=type_id, one_domain=bool(domain))
    db.session.add(alias)
    db.session.flush()
    office.forget()
    return alias


def rename(alias: Alias, text: str, domain: str | None = None) -> None:
    """Give an alias another local part, or a new one its first; the old address stays known. The caller commits.

    ``domain``: the only one that it works in, "" for all of ours, None for no change. Raises ``NotValid``.
    """
    if domain is None:
        domain = domain_of(alias.address_key) if alias.one_domain else ""
    local = check(text, alias.id, domain)
    _settle([Move(alias, local, addresses_of(alias), places(local, domain), bool(domain))])


def rename_catchall(text: str, now: datetime, user_id: int | None = None) -> None:
    """Change ``mail.catchall.alias``; the old address stays known. Raises ``NotValid``. The caller commits."""
    _rename_role("catchall", text, now, user_id)


def rename_bounce(text: str, now: datetime, user_id: int | None = None) -> None:
    """Change ``mail.bounce.alias``; the old address stays known. Raises ``NotValid``. The caller commits."""
    _rename_role("bounce", text, now, user_id)


def _rename_role(role: str, text: str, now: datetime, user_id: int | None) -> None:
    local = text.strip().lower()
    local = local.removesuffix(f"@{CATCHALL_DOMAIN.get()}") if CATCHALL_DOMAIN.get() else local
    check_local_part(local)
    ours, rows = domains(), role_rows()
    same = [one.name for one in ours if getattr(one, role) == getattr(ours[0], role)]
    own = [row.id for (its, name), row in rows.items() if its == role and name in same]
    assert_free(local, [address(local, name) for name in same], own)
    parameters.put(ROLE_KEYS[role], local, now, user_id)
    mirror()


def change_domain(text: str, now: datetime, user_id: int | None = None) -> list[str]:
    """Change the alias domain and move its addresses to the new one; the old ones stay known, as retired.

    Returns the addresses that still point to the old domain and have to be redirected at its mail server: none for the
    domain that every office starts with, which nobody owns, so that nothing can ever arrive there. Raises ``NotValid``.
    The caller commits.
    """
    was = CATCHALL_DOMAIN.get()
    name = domain_of(f"x@{text.strip()}")
    if name in {one.name for one in domains()[1:]}:
        raise NotValid(gettext("%(domain)s is already in the list under Email ‣ Domains. Delete it there first.",
                               domain=name))  # fmt: skip
    moved = move_domain(lambda: parameters.put(CATCHALL_DOMAIN.key, text, now, user_id), was, name)
    if was == office.BUILT_IN_DOMAIN:
        _forget_domain(was)
        return []
    return moved


def put(key: str, text: str, now: datetime, user_id: int | None = None) -> list[str]:
    """Set any system parameter; the addresses of ours follow it. Raises ``NotValid``. The caller commits.

    Returns what ``change_domain`` does, nothing for any other parameter.
    """
    if key == CATCHALL_DOMAIN.key:
        return change_domain(text, now, user_id)
    if key == CATCHALL_ALIAS.key:
        rename_catchall(text or CATCHALL_ALIAS.default, now, user_id)
    elif key == BOUNCE_ALIAS.key:
        rename_bounce(text or BOUNCE_ALIAS.default, now, user_id)
    else:
        parameters.put(key, text, now, user_id)
        parameters.assert_fits(key)
        if key == VERP.key and VERP.get():
            _assert_plus_arrives()
    return []


def _assert_plus_arrives() -> None:
    """Raise ``NotValid`` unless each bounce address has shown that mail with an addition behind a plus arrives."""
    missing = without_plus()
    if missing:
        g.pop("parameters", None)  # what does not fit is not committed
        raise NotValid(
            _l(
                "No email to %(addresses)s has arrived yet, so returned emails could be lost. “Test sending and "
                "receiving” on the page of an outgoing server sends one. While this is 0, you can also send one "
                "yourself.",
                addresses=", ".join(missing),
            )
        )


def without_plus() -> list[str]:
    """Return the addresses to write to, so that the bounce addresses show that mail with a plus arrives there."""
    unseen = select(Alias.address_key).where(Alias.role == "bounce", Alias.state == "active", Alias.plus_at.is_(None))
    return [address.replace("@", f"{PLUS_TEST}@") for address in db.session.scalars(unseen.order_by(Alias.id))]


def move_domain(change: Callable[[], None], was: str | None, name: str | None) -> list[str]:
    """Make a change to our domains and let all addresses follow; return those that are retired now.

    ``was`` is the domain that gets another name (None: a new one), ``name`` what it is called then (None: it goes).
    """
    active = db.session.scalars(select(Alias).where(Alias.state == "active").order_by(Alias.id)).all()
    ours = domains()
    before = {alias.id: addresses_of(alias, ours) for alias in active}
    change()
    ours, moves, gone = domains(), [], []
    for alias in active:
        if not lives_in_one(alias):
            moves.append(Move(alias, alias.local_part, before[alias.id], places(alias.local_part, "", ours)))
        elif domain_of(alias.address_key) == was and name is None:
            gone.append(alias.address_key)
            alias.state = "retired"
        elif domain_of(alias.address_key) == was:
            there = [address(alias.local_part, name or "")]
            moves.append(Move(alias, alias.local_part, before[alias.id], there, alias.one_domain))
    retired = _settle(moves)
    mirror()
    return gone + retired


def mirror() -> None:
    """Make the catchall and bounce rows say what the parameters and the domains say. The caller commits."""
    rows, moves = role_rows(), []
    for domain in domains():
        for role, local in (("catchall", domain.catchall), ("bounce", domain.bounce)):
            row, there = rows.get((role, domain.name)), [address(local, domain.name)]
            if row is not None:
                moves.append(Move(row, local, [row.address_key], there, row.one_domain))
            elif domain.name:
                _forget_retired(there)
                db.session.add(Alias(role=role, local_part=local, address_key=there[0], one_domain=True))
    _settle(moves)
    db.session.flush()


def role_rows() -> dict[tuple[str, str], Alias]:
    """Return the active catchall and bounce rows, by role and domain."""
    rows = db.session.scalars(select(Alias).where(Alias.role != "alias", Alias.state == "active"))
    return {(row.role, domain_of(row.address_key)): row for row in rows}


def lives_in_one(alias: Alias) -> bool:
    """Say whether an alias has the one address that is stored with it, and not one in each of our domains."""
    return alias.one_domain or alias.role != "alias"


def addresses_of(alias: Alias, ours: Sequence[DomainNames] = ()) -> list[str]:
    """Return the addresses that an alias has now: none for a new one."""
    if not alias.address_key:
        return []
    return [alias.address_key] if lives_in_one(alias) else places(alias.local_part, "", ours)


def retire(alias: Alias) -> None:
    """Keep an alias known for old replies, while nothing offers it any more. The caller commits."""
    known = addresses_of(alias)[1:]
    alias.state, alias.one_domain = "retired", True
    _forget_retired(known)
    for key in known:
        db.session.add(_retired(alias, alias.local_part, key))
    db.session.flush()
    office.forget()


@dataclass(frozen=True)
class Move:
    """An alias that gets another local part or other addresses; ``one_domain`` as the row says it then."""

    alias: Alias
    local: str
    before: Sequence[str]
    after: Sequence[str]
    one_domain: bool = False

    @property
    def changes(self) -> bool:
        return list(self.after) != list(self.before) or self.alias.one_domain != self.one_domain


def _settle(moves: Iterable[Move]) -> list[str]:
    """Let aliases live at new addresses and leave retired ones behind, so that old replies still arrive."""
    moves = [move for move in moves if move.changes]
    if not moves:
        return []
    _forget_retired([key for move in moves for key in move.after if key not in move.before])
    was = [move.alias.local_part for move in moves]
    for move in moves:
        alias = move.alias
        if alias.address_key != move.after[0]:
            alias.plus_at = None  # what another address takes says nothing
        alias.local_part, alias.address_key, alias.one_domain = move.local, move.after[0], move.one_domain
    db.session.flush()
    office.forget()
    left = [
        _retired(move.alias, local, key)
        for move, local in zip(moves, was, strict=True)
        for key in move.before
        if key not in move.after and "@" in key  # without a domain it never was an address
    ]
    db.session.add_all(left)
    db.session.flush()
    return [alias.address_key for alias in left]


def _retired(alias: Alias, local: str, address_key: str) -> Alias:
    """A former address of an alias, which gives its mail what the alias gives."""
    return Alias(
        role=alias.role,
        local_part=local,
        address_key=address_key,
        any_domain=alias.any_domain and local != alias.local_part,  # or it would stand in the way of the alias
        one_domain=True,
        type_id=alias.type_id,
        defaults=alias.defaults,
        fixed_document_id=alias.fixed_document_id,
        parent_document_id=alias.parent_document_id,
        policy=alias.policy,
        refusal=alias.refusal,
        make_contact=alias.make_contact,
        follow_fixed=alias.follow_fixed,
        responsible_id=alias.responsible_id,
        state="retired",
    )


def _forget_domain(domain: str) -> None:
    retired = delete(Alias).where(Alias.state == "retired", Alias.address_key.endswith(f"@{domain}", autoescape=True))
    db.session.execute(retired.execution_options(synchronize_session="fetch"))


def _forget_retired(addresses: Sequence[str]) -> None:
    db.session.execute(
        delete(Alias)
        .where(Alias.address_key.in_(addresses), Alias.state == "retired")
        .execution_options(synchronize_session="fetch")
    )

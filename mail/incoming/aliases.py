"""The addresses of ours as rows: checking a local part, and changes after which the old address stays known.

The catchall and the bounce address stand in the system parameters; their rows here follow every change made by ``put``.
"""

import re
from datetime import datetime
from typing import Any

from flask_babel import gettext
from sqlalchemy import delete, select

from mail.message.address import domain_of, normalise
from mail.settings import office, parameters
from mail.settings.parameters import BOUNCE_ALIAS, CATCHALL_ALIAS, CATCHALL_DOMAIN, NotValid
from models import Alias, db

LOCAL_PART = re.compile(r"[a-z0-9](?:[a-z0-9._+-]{0,62}[a-z0-9])?")
BUILT_IN_DOMAIN = "office.test"  # of every new office, until it has one of its own (RFC 2606)
ROLE_KEYS = {"catchall": CATCHALL_ALIAS.key, "bounce": BOUNCE_ALIAS.key}


def check(text: str, alias_id: int | None = None) -> str:
    """Return the local part of an alias as it is stored; raises ``NotValid`` with the reason it can't be used.

    ``alias_id`` is the alias that is edited: it does not clash with itself. A retired address may be used again.
    """
    local = text.strip().lower()
    domain = CATCHALL_DOMAIN.get()
    if "@" in local:
        local, _, given = local.rpartition("@")
        if given and domain_of(f"x@{given}") != domain:
            raise NotValid(gettext("Aliases end with the alias domain, %(domain)s: enter only the part before the @.",
                                   domain=domain or "…"))  # fmt: skip
    if not LOCAL_PART.fullmatch(local) or ".." in local:
        raise NotValid(
            gettext(
                "Enter the part before the @, such as sales: letters a to z, digits, dots and dashes; at most 64 "
                "characters."
            )
        )
    if "+" in local:
        raise NotValid(
            gettext("Leave out the plus sign and what follows it: that part belongs to the email, not to the alias.")
        )
    taken = db.session.scalar(
        select(Alias).where(Alias.address_key == address(local), Alias.state == "active", Alias.id != (alias_id or 0))
    )
    if taken is not None:
        raise NotValid(_clash(taken))
    return local


def _clash(taken: Alias) -> Any:
    if taken.role == "catchall":
        return gettext("%(address)s is the catchall address, which collects replies: choose another name.",
                       address=taken.address_key)  # fmt: skip
    if taken.role == "bounce":
        return gettext("%(address)s is the bounce address, which receives delivery failures: choose another name.",
                       address=taken.address_key)  # fmt: skip
    return gettext("%(address)s is already an alias of %(type)s: choose another name, or edit that alias.",
                   address=taken.address_key, type=taken.type.name if taken.type else "?")  # fmt: skip


def address(local: str) -> str:
    """Return the address that a local part has in the alias domain, as it is compared."""
    domain = CATCHALL_DOMAIN.get()
    return normalise(f"{local}@{domain}") or local if domain else local


def add(text: str, type_id: int) -> Alias:
    """Return a new alias that opens documents of a type; raises ``NotValid``. The caller commits."""
    local = check(text)
    _forget_retired(address(local))
    alias = Alias(local_part=local, address_key=address(local), type_id=type_id)
    db.session.add(alias)
    db.session.flush()
    office.forget()
    return alias


def rename(alias: Alias, text: str) -> None:
    """Give an alias another local part, or a new one its first; the old address stays known. The caller commits.

    Raises ``NotValid``.
    """
    local = check(text, alias.id)
    _move(alias, local, address(local))


def rename_catchall(text: str, now: datetime, user_id: int | None = None) -> None:
    """Change ``mail.catchall.alias``; the old address stays known. Raises ``NotValid``. The caller commits."""
    _rename_role("catchall", text, now, user_id)


def rename_bounce(text: str, now: datetime, user_id: int | None = None) -> None:
    """Change ``mail.bounce.alias``; the old address stays known. Raises ``NotValid``. The caller commits."""
    _rename_role("bounce", text, now, user_id)


def change_domain(text: str, now: datetime, user_id: int | None = None) -> list[str]:
    """Change the alias domain and move every address of ours to it; the old ones stay known, as retired.

    Returns the addresses that still point to the old domain and have to be redirected at its mail server: none for the
    domain that every office starts with, which nobody owns, so that nothing can ever arrive there. Raises ``NotValid``.
    The caller commits.
    """
    was = CATCHALL_DOMAIN.get()
    parameters.put(CATCHALL_DOMAIN.key, text, now, user_id)
    moved = []
    for alias in db.session.scalars(select(Alias).where(Alias.state == "active").order_by(Alias.id)).all():
        before = alias.address_key
        _move(alias, alias.local_part, address(alias.local_part))
        if alias.address_key != before:
            moved.append(before)
    mirror()
    if was == BUILT_IN_DOMAIN:
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
    return []


def mirror() -> None:
    """Make the catchall and bounce rows say what the parameters say. The caller commits."""
    for role, parameter in (("catchall", CATCHALL_ALIAS), ("bounce", BOUNCE_ALIAS)):
        local = parameter.get()
        row = _role_row(role)
        if row is not None:
            _move(row, local, address(local))
        elif CATCHALL_DOMAIN.get():
            _forget_retired(address(local))
            db.session.add(Alias(role=role, local_part=local, address_key=address(local)))
            db.session.flush()


def _rename_role(role: str, text: str, now: datetime, user_id: int | None) -> None:
    row = _role_row(role)
    local = check(text, row.id if row else None)
    parameters.put(ROLE_KEYS[role], local, now, user_id)
    mirror()


def _role_row(role: str) -> Alias | None:
    return db.session.scalar(select(Alias).where(Alias.role == role, Alias.state == "active"))


def _move(alias: Alias, local: str, new: str) -> None:
    """Let an alias live at a new address and leave a retired one behind, so that old replies still arrive."""
    old_local, old = alias.local_part, alias.address_key or ""
    if old == new:
        return
    _forget_retired(new)
    alias.local_part, alias.address_key = local, new
    db.session.flush()
    office.forget()
    if "@" not in old:  # it never was an address: there was no domain yet
        return
    db.session.add(
        Alias(
            role=alias.role,
            local_part=old_local,
            address_key=old,
            any_domain=alias.any_domain,
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
    )
    db.session.flush()


def _forget_domain(domain: str) -> None:
    retired = delete(Alias).where(Alias.state == "retired", Alias.address_key.endswith(f"@{domain}", autoescape=True))
    db.session.execute(retired.execution_options(synchronize_session="fetch"))


def _forget_retired(address_key: str) -> None:
    db.session.execute(
        delete(Alias)
        .where(Alias.address_key == address_key, Alias.state == "retired")
        .execution_options(synchronize_session="fetch")
    )

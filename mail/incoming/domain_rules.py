"""What may be saved of a domain of ours, what hangs on it, and what stays behind when it goes."""

from dataclasses import dataclass

from sqlalchemy import select

from mail.decide.servers import read_filter
from mail.errors import ChangeRefused
from mail.incoming import aliases
from mail.message.address import domain_of
from mail.message.domains import is_literal, normalise_domain
from mail.sentences import Why, why
from mail.settings import office, parameters
from mail.settings.parameters import BOUNCE_ALIAS, CATCHALL_ALIAS, CATCHALL_DOMAIN, NotValid
from models import Alias, IncomingServer, OfficeDomain, OutgoingMail, OutgoingServer, SystemParameter, db

LOCAL_PARTS = ("catchall_alias", "bounce_alias", "default_from")
RECENT = 2_000  # emails that are looked at for replies that will still come


def save(row: OfficeDomain) -> list[str]:
    """Check a domain that was filled in and save it; its addresses follow. The caller commits.

    Returns the addresses that are retired now. Raises ``ChangeRefused``.
    """
    was = db.session.scalar(select(OfficeDomain.name_key).where(OfficeDomain.id == row.id)) if row.id else None
    row.name = row.name.strip()
    name = normalise_domain(row.name) or ""
    for field in LOCAL_PARTS:
        setattr(row, field, (getattr(row, field) or "").strip().lower())
    errors = _name(name, was) or _local_parts(row, name, was)
    if errors:
        raise ChangeRefused(errors)

    def change() -> None:
        row.name_key, row.company = name, " ".join((row.company or "").split())
        db.session.add(row)
        db.session.flush()

    retired = aliases.move_domain(change, was, name)
    office.forget()
    return retired


def _name(name: str, was: str | None) -> dict[str, Why]:
    if not CATCHALL_DOMAIN.get():
        return {"name": why("domain_alias_domain_first")}
    if not name or "." not in name or is_literal(name):
        return {"name": why("domain_invalid")}
    if name == CATCHALL_DOMAIN.get():
        return {"name": why("domain_is_first", domain=name)}
    if name != was and db.session.scalar(select(OfficeDomain.id).where(OfficeDomain.name_key == name)) is not None:
        return {"name": why("domain_known", domain=name)}
    return {}


def _local_parts(row: OfficeDomain, name: str, was: str | None) -> dict[str, Why]:
    errors = {}
    present, domains = aliases.role_rows(), {name, was or name}  # all of the former domain moves to the new one
    effective = {
        "catchall_alias": row.catchall_alias or CATCHALL_ALIAS.get(),
        "bounce_alias": row.bounce_alias or BOUNCE_ALIAS.get(),
    }
    for field in LOCAL_PARTS:
        local = effective.get(field, getattr(row, field))
        try:
            if local:
                aliases.check_local_part(local)
            if field in effective:
                own = present.get((field.removesuffix("_alias"), was or ""))
                taken_by = [aliases.address(local, one) for one in sorted(domains)]
                aliases.assert_free(local, taken_by, [own.id] if own else [])
        except NotValid as error:
            errors[field] = why("value_refused", sentence=str(error))
    if not errors and effective["catchall_alias"] == effective["bounce_alias"]:
        errors["bounce_alias"] = why("domain_same_parts")
    return errors


def remove(row: OfficeDomain) -> list[str]:
    """Take a domain from ours; its addresses stay known, as retired, and are returned. The caller commits."""

    def change() -> None:
        db.session.delete(row)
        db.session.flush()

    retired = aliases.move_domain(change, row.name_key, None)
    office.forget()
    return retired


def would_retire(row: OfficeDomain) -> list[str]:
    """Return the addresses that ``remove`` would retire."""
    active = db.session.scalars(select(Alias).where(Alias.state == "active").order_by(Alias.id))
    found = [address for alias in active for address in aliases.addresses_of(alias)]
    return [address for address in found if domain_of(address) == row.name_key]


# --- what hangs on a domain


@dataclass(frozen=True)
class Use:
    """Something that names a domain: where it is edited (a kind and its number or key), and the sentence."""

    kind: str
    key: int | str
    reason: Why


def uses(domain: str) -> list[Use]:
    """Return the servers, parameters and aliases that name a domain."""
    found = []
    for alias in db.session.scalars(select(Alias).where(Alias.state == "active", Alias.one_domain).order_by(Alias.id)):
        if alias.role == "alias" and domain_of(alias.address_key) == domain:
            found.append(Use("alias", alias.id, why("uses_alias", address=alias.address_key)))
    for key in (parameters.DEFAULT_FROM.key, parameters.DEFAULT_FROM_FILTER.key):
        value = db.session.scalar(select(SystemParameter.value).where(SystemParameter.key == key))
        if _names(value, domain):
            found.append(Use("parameter", key, why("uses_parameter", key=key)))
    servers = select(OutgoingServer.id, OutgoingServer.name, OutgoingServer.from_filter).order_by(OutgoingServer.id)
    for server in db.session.execute(servers):
        if _names(server.from_filter, domain):
            found.append(Use("outgoing", server.id, why("uses_outgoing", name=server.name)))
    named = (IncomingServer.user, IncomingServer.shared_mailbox, IncomingServer.address)
    mailboxes = select(IncomingServer.id, IncomingServer.name, *named).order_by(IncomingServer.id)
    for mailbox in db.session.execute(mailboxes):
        if domain in map(domain_of, mailbox[2:]):
            found.append(Use("incoming", mailbox.id, why("uses_incoming", name=mailbox.name)))
    return found


def _names(filter: str | None, domain: str) -> bool:
    return any(domain in (entry, domain_of(entry)) for entry in read_filter(filter))


def awaited_replies(domain: str) -> int:
    """Return how many of the last emails ask for replies to an address of a domain."""
    rows = db.session.scalars(select(OutgoingMail.reply_to).order_by(OutgoingMail.id.desc()).limit(RECENT))
    return sum(domain_of((reply_to or "").rstrip(">")) == domain for reply_to in rows)

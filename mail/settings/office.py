"""What the decisions need to know of the office: its parameters, servers and aliases, read once per unit of work."""

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache, cached_property
from ipaddress import ip_address
from typing import Any, Literal
from urllib.parse import urlsplit

from flask import current_app, g
from sqlalchemy import CompoundSelect, exists, literal, null, or_, select

from mail.decide.domains import MailDomain, Office, OwnAddresses, TypeAlias, alias_on
from mail.decide.sender import Decision
from mail.decide.servers import Server, read_filter
from mail.message.address import domain_of, show_address
from mail.message.domains import wire_domain
from mail.settings import parameters, rehearsal
from mail.settings.config import settings
from mail.settings.signing import signs_itself
from mail.settings.tokens import ALPHABET, Tokens
from models import Alias, DkimKeyPair, OfficeDomain, OutgoingServer, SystemParameter, db
from models.store import upsert

BUILT_IN_DOMAIN = "office.test"  # of every new office, until it has one of its own (RFC 2606)
_TOKENS = "coquimail-tokens"


@dataclass(frozen=True)
class Snapshot:
    """The office at one moment: values, no rows. ``own``: the addresses that write to ourselves.

    ``aliases``: of each document type those that replies may go to, the oldest first.
    """

    office: Office
    servers: tuple[Server, ...]
    aliases: dict[int, list[TypeAlias]]
    own: OwnAddresses

    @cached_property
    def type_aliases(self) -> dict[int, str]:
        """The address of each document type: in the alias domain if it has one there, else in another."""
        first = self.office.first
        return {type_id: alias_on(found, first) or found[0].address for type_id, found in self.aliases.items()}

    @cached_property
    def addresses(self) -> dict[str, int]:
        """The addresses that mail can be sent to, and the document type of each, in all of our domains."""
        domains = self.office.all_domains or (self.office.first,)
        found = {alias_on(aliases, one): type_id for one in domains for type_id, aliases in self.aliases.items()}
        return {address: type_id for address, type_id in found.items() if address}

    @cached_property
    def message_domain(self) -> str:
        """The domain of our Message-IDs and List-Ids, in ASCII: the alias domain, else the name of this office."""
        return wire_domain(self.office.catchall_domain or urlsplit(base_url()).hostname or "") or "localhost"

    def message_domain_of(self, decision: Decision) -> str:
        """Return the same for a mail: the domain of ours that it is sent from, as it was when that was decided."""
        return wire_domain(decision.domain) or self.message_domain


def load() -> Snapshot:
    """Return the office as it is now; the same object for the rest of this request or unit of work."""
    if "office" not in g:
        aliases, with_plus, domains, signing = _aliases_and_domains()
        known = _office(domains, with_plus, signing)
        g.office = Snapshot(known, _servers(), _type_aliases(aliases), _own(known, aliases))
    snapshot: Snapshot = g.office
    return snapshot


def own_addresses() -> OwnAddresses:
    """Return the addresses that write to ourselves: catchall, bounce and default of each domain, and all aliases."""
    return load().own


def comes_back(address: str) -> bool:
    """Say whether mail to an address (a key) comes back to the office: to an alias, a catchall or a bounce address.

    A default address may be the mailbox of a person.
    """
    known = load().office
    return address in own_addresses() and address not in {one.default_address for one in (known.first, *known.domains)}


def mailbox(written_to: Iterable[str] = ()) -> str:
    """Return who the system writes as: the company, under an address of ours; "" when there is none.

    An answer comes from the domain of ours that was written to.
    """
    known = load().office
    domains = (known.domain(domain_of(address)) for address in written_to)
    home = next((found for found in domains if found is not None and found.default_address), known.first)
    address = home.default_address or home.catchall_address or home.bounce_address or ""
    return show_address(home.company, address) if address else ""


def forget() -> None:
    """Read the office anew at the next ``load``: a server, an alias or a parameter was changed in this request."""
    g.pop("office", None)
    g.pop("parameters", None)


def tokens() -> Tokens:
    """Return what signs and reads our ids, with the keys of this office."""
    made: Tokens | None = current_app.extensions.get(_TOKENS)
    if made is None:
        keys: dict[str, bytes] = {}
        for key in settings().derive("tokens"):
            keys.setdefault(_key_id(key), key)
        made = Tokens(keys)
        current_app.extensions[_TOKENS] = made
    return made


def _key_id(key: bytes) -> str:
    return ALPHABET[hashlib.blake2b(key, person=b"key id").digest()[0] % len(ALPHABET)]


# --- practice or live


def is_live() -> bool:
    """Whether a real mail server has ever accepted an email: then the practice mailbox takes no server's place."""
    return bool(parameters.LIVE.get())


def go_live(given_at: datetime) -> None:
    """Note that a real mail server accepted an email that it was given then; any number of senders may say so.

    What was on its way when somebody went back to practice does not end that. The caller commits.
    """
    if not is_live():
        change = {"value": "1", "changed_at": given_at}
        row = upsert(SystemParameter).values(key=parameters.LIVE.key, **change)
        since = or_(SystemParameter.changed_at.is_(None), SystemParameter.changed_at <= given_at)
        db.session.execute(row.on_conflict_do_update(index_elements=["key"], set_=change, where=since))
        forget()


def is_practice(server_id: int) -> bool:
    """Whether what is sent through a server (0: the default server) goes to the practice mailbox."""
    return rehearsal.is_on() or (server_id == 0 and settings().default_server.practice)


def sends_through() -> Literal["servers", "default", "practice", "nothing"]:
    """Return what sends the emails that name no server of their own.

    ``servers``: an active record; ``default``: the server of the environment; ``practice``: the practice mailbox,
    which nothing leaves; ``nothing``: no server is left of an office that is live, so emails wait.
    """
    if parameters.CUSTOM_SERVERS.get() and db.session.scalar(select(exists().where(OutgoingServer.active))):
        return "servers"
    if not settings().default_server.practice:
        return "default"
    return "nothing" if is_live() and not rehearsal.is_on() else "practice"


def back_to_practice(now: datetime, user_id: int | None = None) -> None:
    """Let the practice mailbox take all emails that name no server of their own, those that wait included.

    Custom Email Servers are switched off with it: a server that goes on sending would end the practice with its next
    email. The caller commits.
    """
    parameters.put(parameters.CUSTOM_SERVERS.key, "0", now, user_id)
    parameters.put(parameters.LIVE.key, "0", now, user_id)
    forget()


# --- where the office is reached


def base_url() -> str:
    """Return the address that the links in emails begin with, without a slash at its end."""
    return parameters.BASE_URL.get() or settings().url


def receiving_domain() -> str:
    """Return the domain whose mail reaches our listener beside those of the office, "" if there is none.

    On hosting ``online`` that is the name of the office: its own domains are somewhere else.
    """
    given = settings().receiving_domain
    if not given and settings().hosting == "online" and has_address():
        given = urlsplit(base_url()).hostname or ""
    return domain_of(f"x@{given}") if given else ""


def has_address() -> bool:
    """Whether people elsewhere can follow our links: the address of this office does not name this very machine."""
    return not names_this_machine(base_url())


def links_lead_here() -> bool:
    """Whether those who read our emails can follow their links; in the practice mailbox the reader is at home."""
    return has_address() or sends_through() == "practice"


def names_this_machine(url: str) -> bool:
    """Whether an address means another machine to everybody who reads it.

    >>> [names_this_machine(f"http://{host}") for host in ("localhost:8000", "127.0.0.1", "[::1]", "mail.example.com")]
    [True, True, True, False]
    """
    host = (urlsplit(url).hostname or "").rstrip(".")
    try:
        address = ip_address(host)
    except ValueError:
        return host in ("", "localhost", "localhost.localdomain") or host.endswith(".localhost")
    mapped = getattr(address, "ipv4_mapped", None) or address
    return mapped.is_loopback or mapped.is_unspecified


def learn_address(url: str, now: datetime) -> None:
    """Take the address by which the first admin came as that of the office, if none is known. The caller commits."""
    if has_address() or names_this_machine(url):
        return
    with suppress(parameters.NotValid):
        parameters.put(parameters.BASE_URL.key, url, now)


def _office(domains: Sequence[Any], with_plus: frozenset[str], signing: frozenset[str]) -> Office:
    return Office(
        default_from=parameters.DEFAULT_FROM.get(),
        catchall_domain=parameters.CATCHALL_DOMAIN.get(),
        catchall_alias=parameters.CATCHALL_ALIAS.get(),
        bounce_alias=parameters.BOUNCE_ALIAS.get(),
        verp=_verp(with_plus),
        with_plus=with_plus,
        company=parameters.COMPANY_NAME.get(),
        custom_servers=bool(parameters.CUSTOM_SERVERS.get()),
        default_server=_default_server(),
        default_from_filter=read_filter(parameters.DEFAULT_FROM_FILTER.get()),
        domains=_domains(domains),
        signing=signing,
    )


def _verp(with_plus: frozenset[str]) -> bool | None:
    """Whether recipients get bounce addresses of their own; None: from servers that a test found to take them."""
    chosen = parameters.VERP.get()
    return bool(chosen) if chosen is not None or not with_plus else None


def _domains(rows: Sequence[Any]) -> tuple[MailDomain, ...]:
    """The domains beside the alias domain; what they leave empty is the same as there."""
    usual = parameters.DEFAULT_FROM.get()
    return tuple(
        MailDomain.of(
            row.address_key,
            bounce=row.bounce_alias or parameters.BOUNCE_ALIAS.get(),
            catchall=row.local_part or parameters.CATCHALL_ALIAS.get(),
            default_from=row.default_from or ("" if "@" in usual else usual),
            company=row.company or parameters.COMPANY_NAME.get(),
        )
        for row in rows
    )


def _default_server() -> Server | None:
    """The server of the environment; the practice mailbox while no real one accepted an email yet, or to rehearse."""
    default = settings().default_server
    if default.practice and is_live() and not rehearsal.is_on():
        return None
    signs, verp = signs_itself("provider", default.host), parameters.DEFAULT_VERP.get()
    return Server(
        None,
        default.name,
        filters=read_filter(default.from_filter),
        verp=None if verp is None else bool(verp),
        signs_itself=signs,
    )


def _servers() -> tuple[Server, ...]:
    row = OutgoingServer
    found = db.session.execute(
        select(row.id, row.name, row.priority, row.from_filter, row.rewrite, row.active, row.verp, row.dkim, row.host)
    )
    return tuple(
        Server(
            one.id,
            one.name,
            one.priority,
            read_filter(one.from_filter),
            one.rewrite,
            one.active,
            one.verp,
            signs_itself(one.dkim, one.host),
        )
        for one in found
    )


def _aliases_and_domains() -> tuple[Sequence[Any], frozenset[str], Sequence[Any], frozenset[str]]:
    """The active aliases, the bounce addresses that take a plus, the domains, and those with keys; the oldest first.

    In one statement: every email asks for all of them.
    """
    rows = sorted(db.session.execute(_all_of_ours()), key=lambda row: row.id)
    signs = frozenset(row.address_key for row in rows if row.role == "signing")
    with_plus = frozenset(row.address_key for row in rows if row.role == "bounce")
    of_domains = [row for row in rows if row.role == "domain"]
    return [row for row in rows if row.role == "alias"], with_plus, of_domains, signs


@cache  # to build it takes longer than to ask
def _all_of_ours() -> CompoundSelect[*tuple[Any, ...]]:
    domain = OfficeDomain
    is_alias, takes_plus = Alias.role == "alias", (Alias.role == "bounce") & Alias.plus_at.is_not(None)
    aliases = select(
        Alias.role, Alias.id, Alias.address_key, Alias.local_part, Alias.type_id, Alias.fixed_document_id,
        Alias.one_domain,
        null().label("bounce_alias"), null().label("default_from"), null().label("company"),
    ).where(or_(is_alias, takes_plus), Alias.state == "active")  # fmt: skip
    domains = select(
        literal("domain"), domain.id, domain.name_key, domain.catchall_alias, null(), null(), null(),
        domain.bounce_alias, domain.default_from, domain.company,
    )  # fmt: skip
    signing = select(
        literal("signing"), DkimKeyPair.id, DkimKeyPair.domain, null(), null(), null(), null(), null(), null(), null()
    ).where(DkimKeyPair.state == "signing")
    return aliases.union_all(domains, signing)


def _type_aliases(rows: Sequence[Any]) -> dict[int, list[TypeAlias]]:
    """Replies go to the oldest alias of a type, and never to one of a fixed document."""
    found: dict[int, list[TypeAlias]] = {}
    for row in rows:
        if row.type_id is not None and row.fixed_document_id is None:
            found.setdefault(row.type_id, []).append(TypeAlias(row.address_key, row.one_domain))
    return found


def _own(known: Office, rows: Sequence[Any]) -> OwnAddresses:
    addresses = {row.address_key for row in rows} | {
        known.default_address,
        known.catchall_address,
        known.bounce_address,
    }
    for domain in known.domains:
        addresses |= {domain.default_address, domain.catchall_address, domain.bounce_address}
    everywhere = frozenset(row.local_part for row in rows if not row.one_domain)
    domains = frozenset(domain.name for domain in known.all_domains)
    return OwnAddresses(frozenset(address for address in addresses if address), everywhere, domains)

"""Which domains we send from, and which servers may send as each of them, with what DNS has to say about them."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, replace
from typing import NamedTuple

from sqlalchemy import or_, select

from mail.decide.deliverability import SendingDomain, SendingServer, sent_through
from mail.decide.sender import choose
from mail.decide.sends_from import SendsFrom, read_sends_from
from mail.decide.servers import NEVER_MATCHES, Server
from mail.decide.signing import signing_domain
from mail.deliverability.own_keys import keys_in_use
from mail.message.address import domain_of, first_address
from mail.message.domains import wire_domain
from mail.settings import office, parameters, providers
from mail.settings.config import settings
from mail.settings.office import Snapshot
from mail.settings.signing import signs_itself
from models import OutgoingServer, db


def sending_domains() -> list[str]:
    """Return every domain that our emails come from: our own, those in From filters, that of the default address.

    Not the domain that every office starts with: nobody owns it.
    """
    snapshot = office.load()
    known = snapshot.office
    filters = [*known.default_from_filter, *(known.default_server.filters if known.default_server else ())]
    for one in _records(snapshot.servers):
        filters += one.server.filters
    names = [domain.name for domain in known.all_domains]
    names += [domain_of(known.default_address)] if known.default_address else []
    names += domains_in(filters)
    return [name for name in dict.fromkeys(names) if name and name != office.BUILT_IN_DOMAIN]


def domains_in(filters: Iterable[str]) -> list[str]:
    """Return the domains that the entries of a FROM filter are in."""
    return [domain_of(entry) if "@" in entry else entry for entry in filters if entry not in NEVER_MATCHES]


def sending_domain(name: str) -> SendingDomain:
    """Return a domain with the servers that may send as it: those that are active, or will be after their test."""
    snapshot = office.load()
    servers = _servers_of(name, _all_servers(snapshot), snapshot)
    return SendingDomain(name, tuple(servers), keys_in_use(name), reports_to(name))


def reports_to(name: str) -> str:
    """Return the address of ours on a domain where DMARC reports about it are read, "" for a domain not ours.

    Not on another domain: receivers send reports elsewhere only with a record there that says so.
    """
    own = office.load().office.domain(name)
    return (own.bounce_address or own.catchall_address or "") if own else ""


def servers_by_domain(names: Sequence[str]) -> dict[str, list[SendingServer]]:
    """Return the servers that may send as each of these domains."""
    snapshot = office.load()
    servers = _all_servers(snapshot)
    return {name: list(_servers_of(name, servers, snapshot)) for name in names}


def servers_key(servers: Iterable[SendingServer]) -> str:
    """Return what stands for these servers, as far as verdicts on DNS depend on them."""
    listed = repr([astuple(replace(server, name="")) for server in servers])
    return hashlib.blake2b(listed.encode(), digest_size=16).hexdigest()


def mailing_server() -> int | None:
    """Return the id of the Dedicated Server, None when there is none."""
    return parameters.DEDICATED_SERVER.get() or None


def everyday_server(domain: str) -> Server | None:
    """Return the server that an email of a colleague on a domain goes through."""
    snapshot = office.load()
    own = snapshot.office.domain(domain)
    sender = (own.default_address if own else None) or f"somebody@{domain}"
    return choose(sender, snapshot.servers, snapshot.office).server


class _Known(NamedTuple):
    """A server that sends, and what stands for the place that its emails come from."""

    server: Server
    host: str
    sends_from: SendsFrom


def _all_servers(snapshot: Snapshot) -> list[_Known]:
    """Return every server that sends; the default server only while it does."""
    found = _records(snapshot.servers)
    if office.sends_through() == "default":
        default, known = settings().default_server, snapshot.office
        filters = known.default_from_filter or (known.default_server.filters if known.default_server else ())
        signs = signs_itself("provider", default.host)
        server = Server(None, default.name, filters=filters, signs_itself=signs)
        found.append(_Known(server, default.host, read_sends_from(parameters.DEFAULT_SENDS_FROM.get())))
    return found


def _records(servers: Sequence[Server]) -> list[_Known]:
    """Return the server records that send, or will as soon as their test passes."""
    row = OutgoingServer
    query = select(row.id, row.host, row.sends_from).where(or_(row.active, row.draft)).order_by(row.priority, row.id)
    by_id = {server.id: server for server in servers}  # without one that was saved after they were read
    rows = db.session.execute(query)
    return [
        _Known(replace(by_id[number], active=True), host, read_sends_from(sends_from))
        for number, host, sends_from in rows
        if number in by_id
    ]


def _servers_of(domain: str, servers: Sequence[_Known], snapshot: Snapshot) -> Iterator[SendingServer]:
    for one in servers:
        if one.server.may_send_for(domain):
            found = _sending(one, domain, snapshot)
            if found is not None:
                yield found


def _sending(one: _Known, domain: str, snapshot: Snapshot) -> SendingServer | None:
    """Return what DNS must say of a server, None when our own decision sends nothing as the domain through it."""
    known, server, sends_from = snapshot.office, one.server, one.sends_from
    others = [server if other.id == server.id else other for other in snapshot.servers] if server.id else []
    decision = sent_through(server, domain, others, known)
    sent_as = first_address(decision.from_after) if decision.failure is None else None
    if sent_as is None or sent_as.domain != domain:
        return None
    provider = providers.at(one.host)
    dns = provider.dns if provider else None
    return SendingServer(
        id=server.id,
        name=server.name,
        host=one.host,
        from_address=sent_as.address,
        envelope_sender=decision.envelope_sender,
        include=sends_from.include or (dns.spf if dns and not sends_from.addresses else ""),
        addresses=sends_from.addresses,
        return_path=dns.return_path_of(wire_domain(domain) or domain) if dns else "",
        signs="itself" if server.signs_itself else "ours" if signing_domain(domain, known.signing) else "nobody",
        signs_as=domain if server.signs_itself else "",
        selectors=dns.selectors if dns and server.signs_itself and not providers.owner_of(domain) else (),
    )

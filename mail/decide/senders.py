"""Which addresses a server would be given as a sender, so that its test can try every one of them. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from mail.decide.domains import Office
from mail.decide.sender import choose
from mail.decide.servers import NEVER_MATCHES, Server
from mail.decide.verp import bounce_address_of, for_each_recipient
from mail.message.address import domain_of, local_part
from mail.sentences import Why, why

STRANGER = "stranger@elsewhere.invalid"  # a From that no filter has
USUAL = "notifications"


class TestedSender(NamedTuple):
    """An address that a server may be given: for ``filter``, ``domain``, ``colleague``, ``default`` or ``bounce``.

    ``is_needed`` False: emails reach the server in another way, so a refusal does no harm. ``unused``: it is never
    given this address, and why.
    """

    address: str
    uses: tuple[str, ...]
    is_needed: bool = True
    note: Why | None = None
    unused: bool = False


TestedSender.__test__ = False  # type: ignore[attr-defined]  # pytest takes the name for a test


def senders_of(
    server: Server, servers: Sequence[Server], office: Office, people: Mapping[str, str]
) -> list[TestedSender]:
    """Return every address that a server would be given, each once.

    The addresses of its filter, one of each of its domains (``people`` holds one of a colleague by domain), without a
    filter one of a colleague in each of our domains; the default address and the bounce address of each of our domains,
    as far as the server would send as them.
    """
    of_people = [*_of_filter(server, office, people), *_of_colleagues(server, servers, office, people)]
    found = [*of_people, *_defaults(server, servers, office), *_bounces(server, office)]
    merged: dict[str, TestedSender] = {}
    for one in found:
        before = merged.get(one.address)
        if before is None or (before.unused and not one.unused):
            merged[one.address] = one
        elif not one.unused:
            uses = tuple(dict.fromkeys((*before.uses, *one.uses)))
            merged[one.address] = before._replace(uses=uses, is_needed=before.is_needed or one.is_needed)
    return sorted(merged.values(), key=lambda one: one.unused)


def _of_filter(server: Server, office: Office, people: Mapping[str, str]) -> list[TestedSender]:
    usual = {domain_of(one): one for domain in office.all_domains if (one := domain.default_address)}
    local = local_part(office.default_address) if office.default_address else USUAL
    entries = [entry for entry in server.filters if entry not in NEVER_MATCHES]
    return [
        TestedSender(entry, ("filter",)) if "@" in entry
        else TestedSender(people.get(entry) or usual.get(entry) or f"{local}@{entry}", ("domain",))
        for entry in entries
    ]  # fmt: skip


def _of_colleagues(
    server: Server, servers: Sequence[Server], office: Office, people: Mapping[str, str]
) -> list[TestedSender]:
    """Whom a server without a filter leaves their own address, where no other server sends for them."""
    if server.filters or server.rewrite == "always":
        return []
    ours = [one for domain in office.all_domains if (one := people.get(domain.name))]
    return [TestedSender(one, ("colleague",)) for one in ours if _is_chosen(server, servers, office, one)]


def _defaults(server: Server, servers: Sequence[Server], office: Office) -> list[TestedSender]:
    """The default addresses: that of the first domain stands in for all that the filter does not have."""
    first = office.default_address
    found = []
    if first:
        outside = None if server.may_send_as(first) else _instead(server, servers, office, first)
        found.append(TestedSender(first, ("default",), is_needed=outside is None, note=outside))
    others = [domain.default_address for domain in office.domains]
    return found + [TestedSender(one, ("default",)) for one in others if one and server.may_send_as(one)]


def _instead(server: Server, servers: Sequence[Server], office: Office, default: str) -> Why | None:
    """Why a server with a filter is not needed for the default address; None when it sends as it."""
    chosen = _chosen(server, servers, office, STRANGER)
    if chosen is None or chosen.id == server.id:
        return None
    return why("test_default_elsewhere", address=default, server=chosen.name)


def _is_chosen(server: Server, servers: Sequence[Server], office: Office, sender: str) -> bool:
    chosen = _chosen(server, servers, office, sender)
    return chosen is not None and chosen.id == server.id


def _chosen(server: Server, servers: Sequence[Server], office: Office, sender: str) -> Server | None:
    """Which server sends for a From, once the tested one is in use."""
    ours = [replace(one, active=True) if one.id == server.id else one for one in servers]
    return choose(sender, ours, office).server


def _bounces(server: Server, office: Office) -> list[TestedSender]:
    """The bounce addresses: each email carries one, if its server may send as it."""
    found = []
    for domain in (office.first, *office.domains):
        address = domain.bounce_address
        if address and server.may_send_as(address):
            if office.verp_on(address, server):  # real emails have a token in the place of "test"
                unique = for_each_recipient(address, server, [], arrives=True, untried=True)
                address = bounce_address_of(unique, "test")
            found.append(TestedSender(address, ("bounce",)))
        elif address and domain == office.first and not office.domains:
            unused = why("test_bounce_unused", address=address)
            found.append(TestedSender(address, ("bounce",), is_needed=False, note=unused, unused=True))
    return found

"""Who sends as a domain, told from DMARC reports: our own servers, services that may, forwarders, strangers. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Literal

from mail.decide.alignment import same_organisation
from mail.decide.spf_record import Network
from mail.message.dmarc_report import ReportedSource
from mail.sentences import Why, why

Kind = Literal["own", "own_failing", "service", "forwarded", "provider", "stranger"]

FORWARDED = frozenset(("forwarded", "trusted_forwarder", "mailing_list"))
_ORDER: tuple[Kind, ...] = ("own_failing", "stranger", "provider", "forwarded", "own", "service")


@dataclass(frozen=True, slots=True)
class OwnServer:
    """A server of ours with the networks that it sends from, as far as DNS shows.

    ``shared``: the networks of its provider, from which its other customers send, too.
    """

    id: int | None
    name: str
    networks: tuple[Network, ...] = ()
    shared: tuple[Network, ...] = ()


@dataclass(slots=True)
class Sender:
    """One address with all its emails of one kind. ``why`` says what it means and who should do something."""

    kind: Kind
    address: str
    server: OwnServer | None = None
    is_shared: bool = False  # it is one of the server's provider, not of its own host
    emails: int = 0
    dkim: int = 0  # emails that passed by it
    spf: int = 0
    signed_by: str = ""
    spf_domain: str = ""
    names: set[str] = field(default_factory=set)  # the domains in its From addresses
    dispositions: dict[str, int] = field(default_factory=dict)
    sentences: tuple[Why, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether its emails passed."""
        return self.kind in ("own", "service")


def who_sends(sources: Iterable[ReportedSource], servers: Sequence[OwnServer]) -> list[Sender]:
    """Return who sent, those that need somebody first, and of each kind the one with the most emails."""
    found: dict[tuple[Kind, str], Sender] = {}
    networks = [(network, server, False) for server in servers for network in server.networks]
    networks += [(network, server, True) for server in servers for network in server.shared]
    owners: dict[str, tuple[OwnServer | None, bool]] = {}
    for source in sources:
        if source.address not in owners:
            owners[source.address] = _owner(source.address, networks)
        server, is_shared = owners[source.address]
        kind = _kind(source, server is not None, is_shared)
        sender = found.setdefault((kind, source.address), Sender(kind, source.address, server, is_shared))
        sender.emails += source.count
        sender.dkim += source.count if source.dkim else 0
        sender.spf += source.count if source.spf else 0
        sender.signed_by = sender.signed_by or source.signed_by
        sender.spf_domain = sender.spf_domain or source.spf_domain
        sender.names.add(source.header_from)
        sender.dispositions[source.disposition] = sender.dispositions.get(source.disposition, 0) + source.count
    for sender in found.values():
        sender.sentences = tuple(_words(sender))
    return sorted(found.values(), key=lambda one: (_ORDER.index(one.kind), -one.emails, one.address))


def _owner(address: str, networks: Iterable[tuple[Network, OwnServer, bool]]) -> tuple[OwnServer | None, bool]:
    try:
        parsed = ip_address(address)
    except ValueError:
        return None, False
    return next(((server, shared) for network, server, shared in networks if parsed in network), (None, False))


def _kind(source: ReportedSource, is_ours: bool, is_shared: bool) -> Kind:
    if source.passed:
        return "own" if is_ours else "service"
    if is_ours and not is_shared:
        return "own_failing"
    if source.reason in FORWARDED:
        return "forwarded"
    if is_shared:
        return "own_failing" if _names_us(source) else "provider"
    return "stranger"


def _names_us(source: ReportedSource) -> bool:
    """Whether the account at a provider is ours: its envelope sender, or a signature that is right."""
    shown = (source.spf_domain, *source.signed_by.split(", "))
    return any(same_organisation(one, source.header_from) for one in shown)


def _words(sender: Sender) -> Iterable[Why]:
    named = {"server": sender.server.name if sender.server else "", "emails": sender.emails}
    if sender.kind == "own_failing":
        yield why("sender_shared_failing" if sender.is_shared else "sender_own_failing", **named)
    elif sender.kind == "own":
        by = "both" if sender.dkim and sender.spf else "dkim" if sender.dkim else "spf"
        yield why(f"sender_shared_{by}" if sender.is_shared else f"sender_own_{by}", **named)
    elif sender.kind == "provider":
        yield why("sender_provider", **named)
    elif sender.kind == "service":
        domain = min(sender.names, default="") or sender.spf_domain
        yield why("sender_service_dkim" if sender.dkim else "sender_service_spf", domain=domain)
    elif sender.kind == "forwarded":
        yield why("sender_forwarded", domain=sender.spf_domain or sender.signed_by or sender.address)
    else:
        others = (sender.signed_by, sender.spf_domain)
        ours = min(sender.names, default="")  # what it forges says nothing of who it is
        other = next((one for one in others if one and not same_organisation(one, ours)), "")
        yield why("sender_stranger_named", domain=other) if other else why("sender_stranger")
    if not sender.passed:
        yield from _treated(sender.dispositions)


def _treated(dispositions: Mapping[str, int]) -> Iterable[Why]:
    """What receivers did with emails that failed."""
    for name in ("none", "quarantine", "reject"):
        if dispositions.get(name):
            yield why(f"sender_treated_{name}", emails=dispositions[name])

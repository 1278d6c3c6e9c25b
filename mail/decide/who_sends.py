"""Who sends as a domain, told from DMARC reports: our own servers, services that may, forwarders, strangers. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Literal

from mail.decide.alignment import same_organisation
from mail.decide.spf_record import Network
from mail.message.dmarc_report import ReportedSource
from mail.sentences import Why, why

Kind = Literal["own", "own_failing", "service", "forwarded", "stranger"]

FORWARDED = frozenset(("forwarded", "trusted_forwarder", "mailing_list"))
_ORDER: tuple[Kind, ...] = ("own_failing", "stranger", "forwarded", "own", "service")


@dataclass(frozen=True, slots=True)
class OwnServer:
    """A server of ours with the networks that it sends from, as far as DNS shows."""

    id: int | None
    name: str
    networks: tuple[Network, ...] = ()


@dataclass(slots=True)
class Sender:
    """One address with all its emails of one kind. ``why`` says what it means and who should do something."""

    kind: Kind
    address: str
    server: OwnServer | None = None
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
    networks = [(network, server) for server in servers for network in server.networks]
    owners: dict[str, OwnServer | None] = {}
    for source in sources:
        if source.address not in owners:
            owners[source.address] = _owner(source.address, networks)
        server = owners[source.address]
        kind = _kind(source, server)
        sender = found.setdefault((kind, source.address), Sender(kind, source.address, server))
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


def _owner(address: str, networks: Sequence[tuple[Network, OwnServer]]) -> OwnServer | None:
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    return next((server for network, server in networks if parsed in network), None)


def _kind(source: ReportedSource, server: OwnServer | None) -> Kind:
    if source.passed:
        return "own" if server else "service"
    if server:
        return "own_failing"
    return "forwarded" if source.reason in FORWARDED else "stranger"


def _words(sender: Sender) -> Iterable[Why]:
    named = {"server": sender.server.name if sender.server else "", "emails": sender.emails}
    if sender.kind == "own_failing":
        yield why("sender_own_failing", **named)
    elif sender.kind == "own":
        by = "both" if sender.dkim and sender.spf else "dkim" if sender.dkim else "spf"
        yield why(f"sender_own_{by}", **named)
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

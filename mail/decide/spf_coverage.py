"""Whether an SPF record covers an outgoing server, and by which term; else which terms are missing. Pure."""

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from mail.decide.alignment import same_organisation
from mail.decide.sends_from import is_public
from mail.decide.spf import MOST_LOOKUPS, SpfMatch, SpfResult, check_host
from mail.decide.spf_faults import Faults
from mail.decide.spf_macros import IPAddress
from mail.decide.spf_reach import Reach, reach_of
from mail.decide.spf_record import VERSION, Network, parse_spf, parse_term, spf_texts
from mail.decide.verdicts import State
from mail.dns_answers import DnsAnswer, DnsAnswers, Kind
from mail.message.domains import is_local_name, wire_domain
from mail.sentences import Why, why

SAMPLES = 12  # of the networks of a provider
MOST_ADDRESSES = 10  # of a server's host


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the mail of a server comes from: what its provider says to include, else its addresses.

    ``addresses`` are then examples out of the provider's networks; ``networks``: those that an admin entered, with
    ``addresses`` out of each. ``guessed_from``: they are those of a host of somebody else, who may send from others.
    ``problem``: why nothing can be said; its state.
    """

    name: str
    include: str = ""
    addresses: tuple[IPAddress, ...] = ()
    networks: tuple[Network, ...] = ()
    guessed_from: str = ""
    problem: Why | None = None
    state: State = "good"

    @property
    def needs(self) -> tuple[str, ...]:
        """The terms that cover it."""
        if self.include:
            return (f"include:{self.include}",)
        return self.terms_for(self.addresses)

    def terms_for(self, addresses: Iterable[IPAddress]) -> tuple[str, ...]:
        """Return the terms that cover some of its addresses: a network that one of them is in, or the address."""
        found = []
        for address in addresses:
            around = next((one for one in self.networks if address in one and one.num_addresses > 1), address)
            found.append(f"ip{address.version}:{around}")
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class Coverage:
    """``stopped``: where in the record receivers stop without a pass, None if nowhere."""

    state: State
    sentences: tuple[Why, ...]
    stopped: int | None = None
    missing: tuple[str, ...] = ()


def origin_of(name: str, host: str, include: str, addresses: Sequence[str], domain: str, answers: DnsAnswers) -> Origin:
    """Return where the mail of a server comes from, as far as DNS tells.

    A host that nobody knows may be one of a provider that sends from other addresses. When the SPF record of the domain
    has an include of that provider, this is what he told to include.
    """
    include = include or ("" if addresses else _included_for(host, domain, answers))
    if include:
        return _provider(name, include, answers)
    if addresses:
        networks = tuple(ipaddress.ip_network(address) for address in addresses)
        return Origin(name, addresses=tuple(_ends(networks)), networks=networks)
    if is_local_name(host) and not _literal(host):
        return Origin(name, problem=why("spf_local_name", server=name, host=host), state="unknown")
    found, unclear = _addresses(host, answers)
    known = tuple(ipaddress.ip_address(address) for address in found)
    public = tuple(address for address in known if is_public(address))
    if public:
        is_guess = not same_organisation(host, domain)
        return Origin(name, addresses=public, guessed_from=host if is_guess else "")
    if unclear is not None:
        return Origin(name, problem=why(f"dns_{unclear.outcome}", name=host, said=unclear.said), state="unknown")
    if known:
        return Origin(name, problem=why("spf_private_address", server=name, host=host), state="unknown")
    return Origin(name, problem=why("spf_no_address", server=name, host=host), state="unknown")


def _included_for(host: str, domain: str, answers: DnsAnswers) -> str:
    """The name that the domain's record includes and that belongs to who runs a host; "" for none."""
    if same_organisation(host, domain):
        return ""
    texts = spf_texts(answers.ask(domain, "TXT").records)
    terms = [term for text in texts for term in parse_spf(text) if term.name == "include"]
    return next((term.target for term in terms if term.target and same_organisation(term.target, host)), "")


def _provider(name: str, include: str, answers: DnsAnswers) -> Origin:
    reach = reach_of(include, answers)
    if reach.unclear is not None:
        reason = why(f"dns_{reach.unclear.outcome}", name=reach.unclear_name, said=reach.unclear.said)
        return Origin(name, include, problem=reason, state="unknown")
    if not spf_texts(answers.ask(include, "TXT").records):
        return Origin(name, include, problem=why("spf_provider_without", server=name, include=include), state="warning")
    if fault := Faults(include, answers).of_target(parse_term(f"include:{include}")):
        return Origin(name, include, problem=fault, state="bad")
    return Origin(name, include, _samples(reach))


def _samples(reach: Reach) -> tuple[IPAddress, ...]:
    """The first addresses of networks all over the list; none if the networks are not all that there is."""
    step = max(1, -(-len(reach.networks) // SAMPLES))
    return tuple(network.network_address for network in reach.networks[::step]) if reach.is_whole else ()


def _ends(networks: Sequence[Network]) -> Iterator[IPAddress]:
    """The first and the last address of each network, and one between: a record that has them has the network."""
    for network in networks:
        yield from dict.fromkeys((network[0], network[network.num_addresses // 2], network[-1]))


def _addresses(host: str, answers: DnsAnswers) -> tuple[list[str], DnsAnswer | None]:
    """The addresses of a host, and the answer that did not come."""
    if literal := _literal(host):
        return [literal], None
    name = wire_domain(host) or host
    found = [answers.ask(name, kind) for kind in ("A", "AAAA")]
    unclear = next((answer for answer in found if not answer.is_known), None)
    return [record for answer in found for record in answer.records[:MOST_ADDRESSES]], unclear


def _literal(host: str) -> str:
    """The address of a host that is one, "" for a name."""
    try:
        return str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return ""


def coverage(origin: Origin, domain: str, answers: DnsAnswers, record: str | None = None) -> Coverage:
    """Return whether the SPF record of a domain, or another one in its place, covers a server."""
    if origin.problem:
        return Coverage(origin.state, (origin.problem,))
    if not origin.addresses:
        return _by_name(origin, domain, answers, record)
    checks = [
        (address, check_host(address, f"postmaster@{domain}", answers, record=record)) for address in origin.addresses
    ]
    unclear = next((check for _, check in checks if check.outcome == "temperror"), None)
    if unclear is not None and unclear.reason is not None:
        return Coverage("unknown", (unclear.reason,))
    failed = [(address, check) for address, check in checks if check.outcome != "pass"]
    if not failed:
        return Coverage("good", (_covered(origin, domain, checks[0][1].path),))
    stops = [_stop(check) for _, check in failed]
    missing = origin.needs if origin.include else origin.terms_for(address for address, _ in failed)
    sentences = _not_covered(origin, domain, failed, len(checks))
    if origin.guessed_from:
        sentences += (why("spf_guessed", server=origin.name, host=origin.guessed_from),)
    return Coverage("bad", sentences, min((stop for stop in stops if stop is not None), default=None), missing)


def _stop(check: SpfResult) -> int | None:
    """The place in the record where a receiver stops; the first where the record is too much for him."""
    return 0 if check.reason else check.path[0].number if check.path else None


def _covered(origin: Origin, domain: str, path: tuple[SpfMatch, ...]) -> Why:
    first, last = path[0], path[-1]
    if len(path) == 1:
        return why("spf_covered", server=origin.name, domain=domain, term=first.term)
    return why(
        "spf_covered_inside", server=origin.name, domain=domain, term=first.term, inner=last.term, inside=last.domain
    )


def _not_covered(
    origin: Origin, domain: str, failed: Sequence[tuple[IPAddress, SpfResult]], count: int
) -> tuple[Why, ...]:
    address, check = failed[0]
    values = {"server": origin.name, "domain": domain, "address": str(address), "include": origin.include}
    if len(failed) < count:
        missing = map(str, (one for one, _ in failed)) if origin.include else origin.terms_for(one for one, _ in failed)
        listed = ", ".join(one.removeprefix("ip4:").removeprefix("ip6:") for one in missing)
        code = "spf_partly_provider" if origin.include else "spf_partly"
        partly = why(code, addresses=listed, **values)
        return (partly, why("spf_stopped", term=check.path[0].term)) if check.path else (partly,)
    if check.reason is not None:
        return why("spf_not_covered_broken", **values), check.reason
    if check.outcome == "none":
        return (why("spf_not_covered_none", **values),)
    if not check.path:
        return (why("spf_not_covered_end", **values),)
    return (why(f"spf_not_covered_{check.outcome}", term=check.path[0].term, **values),)


_ANYBODY = ipaddress.ip_address("240.0.0.1")  # an address that no record names


class _Passing(DnsAnswers):
    """The same answers, but for the record of a provider whose addresses nobody can list: it lets everybody pass."""

    def __init__(self, answers: DnsAnswers, provider: str) -> None:
        self.answers, self.provider = answers, provider

    def ask(self, name: str, kind: Kind) -> DnsAnswer:
        """Return the answer to a question."""
        is_providers = kind == "TXT" and name.lower().removesuffix(".") == self.provider
        return DnsAnswer("found", (f"{VERSION} +all",)) if is_providers else self.answers.ask(name, kind)


def _by_name(origin: Origin, domain: str, answers: DnsAnswers, record: str | None) -> Coverage:
    """A provider whose networks nobody can list: it is covered where receivers come to its name in time."""
    check = check_host(_ANYBODY, f"postmaster@{domain}", _Passing(answers, origin.include), record=record)
    if check.outcome == "pass" and check.lookups + reach_of(origin.include, answers).lookups > MOST_LOOKUPS:
        check = SpfResult("permerror", reason=why("spf_too_many_lookups", most=MOST_LOOKUPS))
    if check.outcome == "temperror" and check.reason is not None:
        return Coverage("unknown", (check.reason,))
    if check.outcome == "pass":
        path = tuple(match for match in check.path if match.domain != origin.include) or check.path
        return Coverage("good", (_covered(origin, domain, path),))
    texts = [record] if record is not None else spf_texts(answers.ask(domain, "TXT").records)
    terms = [term for text in texts for term in parse_spf(text)]
    is_named = any(term.target == origin.include for term in terms)
    sentences = _not_covered(origin, domain, [(_ANYBODY, check)], 1)
    if texts and check.reason is None and not is_named:
        sentences = (why("spf_not_covered_name", server=origin.name, domain=domain, include=origin.include),)
    return Coverage("bad", sentences, _stop(check), origin.needs)

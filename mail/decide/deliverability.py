"""Whether receivers will believe what a domain of ours sends: the verdicts on its DNS, and what to paste. Pure.

``judge`` gets the answers that are known and says what else has to be asked (``Judgement.open``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from mail.decide.absent_domain import absent, is_absent, later
from mail.decide.dkim_record import judge_dkim, judge_selectors
from mail.decide.dmarc import DmarcPolicy, judge_dmarc, organisation
from mail.decide.dmarc_passes import MailPath, SignedBy, judge_passes
from mail.decide.domains import Office
from mail.decide.mx import judge_mx
from mail.decide.reverse import judge_reverse
from mail.decide.sender import Decision, Request, decide
from mail.decide.servers import Server
from mail.decide.spf_coverage import Origin, coverage, origin_of
from mail.decide.spf_verdicts import judge_spf
from mail.decide.verdicts import DkimKey, State, Verdict, worst
from mail.dns_answers import DnsAnswer, DnsAnswers, Question
from mail.message.address import domain_of, local_part
from mail.message.domains import wire_domain
from mail.sentences import why

USUAL = "notifications"


@dataclass(frozen=True, slots=True)
class SendingServer:
    """An outgoing server that may send as the domain, as far as DNS matters.

    ``from_address`` and ``envelope_sender`` are those of our own decision (``sent_through``). ``include`` is what its
    provider tells to include in SPF; without one, mail leaves from ``addresses`` (or networks), else from ``host``.
    ``return_path``: the domain that the provider puts in the place of our envelope sender. ``signs`` says who makes the
    DKIM signature: we, the server itself as ``signs_as`` with one of ``selectors``, or nobody.
    """

    id: int | None
    name: str
    host: str
    from_address: str
    envelope_sender: str
    include: str = ""
    addresses: tuple[str, ...] = ()
    return_path: str = ""
    signs: Literal["ours", "itself", "nobody"] = "nobody"
    signs_as: str = ""
    selectors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SendingDomain:
    """A domain of ours with the servers that may send as it and our own DKIM keys.

    ``reports_to``: where reports about DMARC should go, "" for nowhere.
    """

    name: str
    servers: Sequence[SendingServer] = ()
    keys: Sequence[DkimKey] = ()
    reports_to: str = ""


@dataclass(frozen=True, slots=True)
class ServerVerdict:
    """What receivers make of mail of the domain that one server sends.

    ``spf``: is the server covered, and by which term; ``passes``: does DMARC pass, by SPF or DKIM; ``reverse``: PTR of
    each of its addresses.
    """

    id: int | None
    name: str
    spf: Verdict
    passes: Verdict
    reverse: tuple[Verdict, ...] = ()

    @property
    def state(self) -> State:
        """The worst of its verdicts."""
        return worst([self.spf, self.passes, *self.reverse])


@dataclass(frozen=True, slots=True)
class Judgement:
    """All verdicts on one domain; ``spf.record`` is the one record to paste for all servers together.

    ``dkim``: one of each key of ours and of each selector of a server that signs itself. ``asked`` is what was asked
    and answered, ``open`` what has to be asked before this means anything.
    """

    domain: str
    spf: Verdict
    dmarc: Verdict
    mx: Verdict
    dkim: tuple[Verdict, ...]
    servers: tuple[ServerVerdict, ...]
    nameservers: tuple[str, ...]
    asked: tuple[tuple[Question, DnsAnswer], ...]
    open: tuple[Question, ...]

    @property
    def verdicts(self) -> list[Verdict]:
        """All verdicts, in the order of the page."""
        found = [self.spf, *self.dkim, self.dmarc, self.mx]
        for server in self.servers:
            found += [server.spf, server.passes, *server.reverse]
        return found

    @property
    def state(self) -> State:
        """The worst of all verdicts."""
        return worst(self.verdicts)

    def as_json(self) -> dict[str, Any]:
        """Return what is stored of a check: the verdicts, the states, and what was asked and answered."""
        stored = asdict(self)
        stored["state"] = self.state
        for server, row in zip(self.servers, stored["servers"], strict=True):
            row["state"] = server.state
        stored["asked"] = [{**question._asdict(), **asdict(answer)} for question, answer in self.asked]
        return stored


def judge(domain: SendingDomain, known: Mapping[Question, DnsAnswer]) -> Judgement:
    """Return all verdicts on a domain, as far as the known answers go."""
    answers = DnsAnswers(known)
    name = wire_domain(domain.name) or domain.name
    if is_absent(name, answers):
        return _of_absent(name, domain, answers)
    origins = [_origin(server, _looked_at(server, name), answers) for server in domain.servers]
    here = [_looked_at(server, name) == name for server in domain.servers]
    spf, of_servers = judge_spf(
        name, [one for one, is_here in zip(origins, here, strict=True) if one and is_here], answers
    )
    dmarc, policy = judge_dmarc(name, domain.reports_to, answers)
    keys = {key: judge_dkim(key, answers) for key in domain.keys} | _keys_of_servers(domain, answers)
    found = iter(of_servers)
    servers = [
        ServerVerdict(
            server.id,
            server.name,
            next(found) if origin and is_here else _elsewhere(server, origin, name, answers),
            _passes(server, origin, domain, keys, policy, answers),
            _reverse(server, origin, answers),
        )
        for server, origin, is_here in zip(domain.servers, origins, here, strict=True)
    ]
    if any(server.passes.record for server in servers):
        dmarc = replace(dmarc, record=None)  # theirs has what this one has
    return Judgement(
        domain=name,
        spf=spf,
        dmarc=dmarc,
        mx=judge_mx(name, answers),
        dkim=tuple(keys.values()),
        servers=tuple(servers),
        nameservers=_nameservers(name, answers),
        asked=tuple(answers.asked.items()),
        open=tuple(answers.open),
    )


def _origin(server: SendingServer, domain: str, answers: DnsAnswers) -> Origin | None:
    """Where its mail comes from; None where the provider's own envelope sender keeps our SPF record out of it."""
    if server.return_path and not server.include and not server.addresses:
        return None
    return origin_of(server.name, server.host, wire_domain(server.include) or "", server.addresses, domain, answers)


def _looked_at(server: SendingServer, domain: str) -> str:
    """The domain whose SPF record receivers look at: that of our envelope sender, as far as the provider leaves it."""
    envelope = "" if server.return_path else domain_of(server.envelope_sender)
    return wire_domain(envelope) or envelope or domain


def _elsewhere(server: SendingServer, origin: Origin | None, domain: str, answers: DnsAnswers) -> Verdict:
    """What SPF says of a server whose envelope sender is in another domain: the provider's, or another one of ours."""
    if origin is None:
        reason = why("spf_not_needed", server=server.name, envelope=server.return_path)
        return Verdict("spf", "good", (reason,), subject=server.name)
    envelope = _looked_at(server, domain)
    found = coverage(origin, envelope, answers)
    sentences = [*found.sentences, why("spf_other_envelope", server=server.name, envelope=envelope, domain=domain)]
    if found.missing:
        sentences.append(why("spf_other_envelope_add", envelope=envelope, terms=" ".join(found.missing)))
    return Verdict("spf", found.state, tuple(sentences), subject=server.name)


def _of_absent(name: str, domain: SendingDomain, answers: DnsAnswers) -> Judgement:
    """All verdicts on a domain that is not in DNS: that it is not, and nothing to paste."""
    keys = dict.fromkeys((*domain.keys, *_keys_of_servers(domain, answers)))
    waiting = [
        ServerVerdict(one.id, one.name, later("spf", name, one.name), later("passes", name, one.name))
        for one in domain.servers
    ]
    return Judgement(
        domain=name,
        spf=absent(name),
        dmarc=later("dmarc", name),
        mx=later("mx", name),
        dkim=tuple(later("dkim", name, key.selector) for key in keys),
        servers=tuple(waiting),
        nameservers=(),
        asked=tuple(answers.asked.items()),
        open=tuple(answers.open),
    )


def _keys_of_servers(domain: SendingDomain, answers: DnsAnswers) -> dict[DkimKey, Verdict]:
    """The verdicts on the keys with which servers sign themselves; a server may use one of several."""
    found: dict[DkimKey, Verdict] = {}
    for server in domain.servers:
        if server.signs == "itself" and server.signs_as:
            signs_as = wire_domain(server.signs_as) or server.signs_as
            found |= judge_selectors([DkimKey(signs_as, selector) for selector in server.selectors], answers)
    return found


def _passes(
    server: SendingServer,
    origin: Origin | None,
    domain: SendingDomain,
    keys: Mapping[DkimKey, Verdict],
    policy: DmarcPolicy,
    answers: DnsAnswers,
) -> Verdict:
    envelope = server.return_path or domain_of(server.envelope_sender)
    sender = domain_of(server.from_address) or domain.name
    path = MailPath(
        server.name, wire_domain(sender) or sender, wire_domain(envelope) or envelope, bool(server.return_path)
    )
    return judge_passes(path, origin or Origin(server.name), _signatures(server, domain, keys), policy, answers)


def _signatures(server: SendingServer, domain: SendingDomain, keys: Mapping[DkimKey, Verdict]) -> list[SignedBy]:
    if server.signs == "ours":
        return [SignedBy(key.domain, keys[key].state) for key in domain.keys]
    if server.signs == "nobody" or not server.signs_as:
        return []
    signs_as = wire_domain(server.signs_as) or server.signs_as
    theirs = [keys[key].state for key in keys if key.domain == signs_as and key.selector in server.selectors]
    return [SignedBy(signs_as, state) for state in theirs or ["unknown"]]


def _reverse(server: SendingServer, origin: Origin | None, answers: DnsAnswers) -> tuple[Verdict, ...]:
    """PTR of a server with addresses of its own; a provider looks after those of his."""
    if origin is None or origin.include:
        return ()
    wide = [network for network in origin.networks if network.num_addresses > 1]  # nobody said which of them send
    host = "" if server.addresses else wire_domain(server.host) or server.host  # may be the name of another machine
    single = (address for address in origin.addresses if not any(address in network for network in wide))
    return tuple(judge_reverse(address, host, answers) for address in single)


def _nameservers(domain: str, answers: DnsAnswers) -> tuple[str, ...]:
    """Who serves the domain: a subdomain without name servers of its own is in the zone above it."""
    found = answers.ask(domain, "NS").records
    return found or answers.ask(organisation(domain), "NS").records


def sent_through(server: Server, domain: str, servers: Sequence[Server], office: Office) -> Decision:
    """Return what our own decision makes of an email from a domain that goes through a server.

    The author is the address of the filter that is in the domain, else the domain's default address, else one like it.

    >>> one = Server(1, "one", filters=("acme.com",))
    >>> decision = sent_through(one, "acme.com", [one], Office("notifications", "acme.com"))
    >>> print(decision.from_after, decision.envelope_sender)
    notifications@acme.com bounce@acme.com
    """
    return decide(Request(_author(server, domain, office), forced_server=server.id), servers, office)


def _author(server: Server, domain: str, office: Office) -> str:
    own = office.domain(domain)
    local = local_part(office.default_address) if office.default_address else USUAL
    usual = (own.default_address if own else None) or f"{local}@{domain}"
    if server.filters and not server.has(usual):
        return next((entry for entry in server.filters if "@" in entry and domain_of(entry) == domain), usual)
    return usual

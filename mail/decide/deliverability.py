"""Whether receivers will believe what a domain of ours sends: the verdicts on its DNS, and what to paste. Pure.

``judge`` gets the answers that are known and says what else has to be asked (``Judgement.open``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from mail.decide.domains import Office
from mail.decide.mx import judge_mx
from mail.decide.sender import Decision, Request, decide
from mail.decide.servers import Server
from mail.decide.verdicts import DkimKey, State, Verdict, worst
from mail.dns_answers import DnsAnswer, DnsAnswers, Question
from mail.message.address import domain_of, local_part
from mail.message.domains import wire_domain

USUAL = "notifications"


@dataclass(frozen=True, slots=True)
class SendingServer:
    """An outgoing server that may send as the domain, as far as DNS matters.

    ``from_address`` and ``envelope_sender`` are those of our own decision (``sent_through``). ``include`` is what its
    provider tells to include in SPF; without one, mail leaves from ``addresses``, else from those of ``host``.
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
    nameservers = answers.ask(name, "NS")
    mx = judge_mx(name, answers)
    later = Verdict("spf", "unknown", ())
    return Judgement(
        domain=name,
        spf=later,
        dmarc=later,
        mx=mx,
        dkim=(),
        servers=(),
        nameservers=nameservers.records,
        asked=tuple(answers.asked.items()),
        open=tuple(answers.open),
    )


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

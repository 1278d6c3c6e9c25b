"""SPF (RFC 7208): what a receiver makes of an address that sends as a domain, and which term decides it. Pure.

Answers that are not known yet end the evaluation as ``temperror``; whoever asks tries again when they are there.
"""

import ipaddress
from dataclasses import dataclass
from typing import Literal, NamedTuple

from mail.decide.mx import mail_hosts
from mail.decide.spf_macros import IPAddress, MailFrom, expand, reverse_name
from mail.decide.spf_record import Qualifier, Term, parse_spf, spf_texts
from mail.dns_answers import DnsAnswer, DnsAnswers, Kind
from mail.sentences import Why, why

MOST_LOOKUPS = 10
MOST_VOID = 2
MOST_NAMES = 10  # of MX or PTR records

SpfOutcome = Literal["pass", "fail", "softfail", "neutral", "none", "permerror", "temperror"]
_RESULTS: dict[Qualifier, SpfOutcome] = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}


class SpfMatch(NamedTuple):
    """A term that matched, in the record of a domain; ``number`` is its place there."""

    domain: str
    term: str
    number: int


@dataclass(frozen=True, slots=True)
class SpfResult:
    """What a receiver finds. ``path``: the term of our record that matched, then those inside of what it includes.

    ``reason`` says why the outcome is permerror or temperror.
    """

    outcome: SpfOutcome
    path: tuple[SpfMatch, ...] = ()
    lookups: int = 0
    reason: Why | None = None


class _SpfError(Exception):
    def __init__(self, outcome: SpfOutcome, reason: Why) -> None:
        super().__init__(reason["code"])
        self.outcome: SpfOutcome = outcome
        self.reason = reason


def check_host(ip: IPAddress, sender: str, answers: DnsAnswers, *, record: str | None = None) -> SpfResult:
    """Return what a receiver makes of a connection from an address with this envelope sender.

    ``record`` is looked at in the place of the one that the domain of the sender has today.
    """
    mail = MailFrom(ip, sender)
    evaluation = _Evaluation(mail, answers)
    domain = sender.rpartition("@")[2]
    try:
        outcome, path = evaluation.check(domain, record)
    except _SpfError as error:
        return SpfResult(error.outcome, (), evaluation.lookups, error.reason)
    return SpfResult(outcome, path, evaluation.lookups)


class _Evaluation:
    """One check; it counts what it asks."""

    def __init__(self, mail: MailFrom, answers: DnsAnswers) -> None:
        self.mail, self.answers = mail, answers
        self.lookups = self.voids = 0

    def check(self, domain: str, record: str | None = None) -> tuple[SpfOutcome, tuple[SpfMatch, ...]]:
        """The check_host() of RFC 7208, 4."""
        texts = spf_texts(self.ask(domain, "TXT").records) if record is None else [record]
        if not texts:
            return "none", ()
        if len(texts) > 1:
            raise _SpfError("permerror", why("spf_several", domain=domain, count=len(texts)))
        terms = parse_spf(texts[0])
        broken = next((term for term in terms if term.error), None)
        if broken:
            raise _SpfError("permerror", why("spf_unreadable", domain=domain, term=broken.text))
        for number, term in enumerate(terms):
            if term.is_modifier:
                continue
            inner = self.matches(term, domain)
            if inner is not None:
                return _RESULTS[term.qualifier], (SpfMatch(domain, term.text, number), *inner)
        return self.redirected(terms, domain)

    def redirected(self, terms: tuple[Term, ...], domain: str) -> tuple[SpfOutcome, tuple[SpfMatch, ...]]:
        number, term = next(((n, term) for n, term in enumerate(terms) if term.name == "redirect"), (0, None))
        if term is None:
            return "neutral", ()
        self.count()
        target = self.expanded(term, domain)
        outcome, path = self.check(target)
        if outcome == "none":
            raise _SpfError("permerror", why("spf_target_without", term=term.text, target=target))
        return outcome, (SpfMatch(domain, term.text, number), *path)

    def matches(self, term: Term, domain: str) -> tuple[SpfMatch, ...] | None:
        """Return the path inside of a term that matches, None if it does not match."""
        if term.name == "include":
            return self.included(term, domain)
        matched = (
            term.name == "all"
            or (term.network is not None and self.mail.ip in term.network)
            or (term.name == "a" and self.has_address(term, self.counted(term, domain)))
            or (term.name == "mx" and self.has_host(term, self.counted(term, domain)))
            or (term.name == "exists" and bool(self.ask(self.counted(term, domain), "A").records))
            or (term.name == "ptr" and self.has_name(self.counted(term, domain)))
        )
        return () if matched else None

    def included(self, term: Term, domain: str) -> tuple[SpfMatch, ...] | None:
        target = self.counted(term, domain)
        outcome, path = self.check(target)
        if outcome == "none":
            raise _SpfError("permerror", why("spf_target_without", term=term.text, target=target))
        return path if outcome == "pass" else None

    def has_address(self, term: Term, name: str) -> bool:
        """Say whether the address is one of a name, as far as the term compares it."""
        kind: Kind = "A" if self.mail.ip.version == 4 else "AAAA"
        prefix = term.prefix4 if self.mail.ip.version == 4 else term.prefix6
        return any(self.mail.ip in _network(record, prefix) for record in self.ask(name, kind).records)

    def has_host(self, term: Term, name: str) -> bool:
        hosts = [host for host in mail_hosts(self.ask(name, "MX").records) if host]
        if len(hosts) > MOST_NAMES:
            raise _SpfError("permerror", why("spf_too_many_mx", name=name, count=len(hosts)))
        return any(self.has_address(term, host) for host in hosts)

    def has_name(self, domain: str) -> bool:
        return any(name == domain or name.endswith(f".{domain}") for name in self.validated_names())

    def validated_names(self) -> list[str]:
        """The names of the address that lead back to it; what DNS does not answer is left out (RFC 7208, 5.5)."""
        any_prefix = Term("", "a")
        kind: Kind = "A" if self.mail.ip.version == 4 else "AAAA"
        reverse = reverse_name(self.mail.ip)
        names = self.ask(reverse, "PTR").records[:MOST_NAMES] if self.answers.ask(reverse, "PTR").is_known else ()
        return [name for name in names if self.answers.ask(name, kind).is_known and self.has_address(any_prefix, name)]

    def validated(self, domain: str) -> str:
        """The value of the macro ``p``: a validated name, one in the domain if there is one."""
        names = self.validated_names()
        inside = [name for name in names if name == domain or name.endswith(f".{domain}")]
        return next(iter([*inside, *names]), "unknown")

    def counted(self, term: Term, domain: str) -> str:
        """Return the domain that a term asks about; one more lookup."""
        self.count()
        return self.expanded(term, domain)

    def count(self) -> None:
        self.lookups += 1
        if self.lookups > MOST_LOOKUPS:
            raise _SpfError("permerror", why("spf_too_many_lookups", most=MOST_LOOKUPS))

    def expanded(self, term: Term, domain: str) -> str:
        if not term.value:
            return domain
        return expand(term.value, self.mail, domain, lambda: self.validated(domain)).lower()

    def ask(self, name: str, kind: Kind) -> DnsAnswer:
        answer = self.answers.ask(name, kind)
        if not answer.is_known:
            raise _SpfError("temperror", why(f"dns_{answer.outcome}", name=name, said=answer.said))
        if not answer.records:
            self.voids += 1
            if self.voids > MOST_VOID:
                raise _SpfError("permerror", why("spf_too_many_void", name=name, most=MOST_VOID))
        return answer


def _network(address: str, prefix: int) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(f"{address}/{prefix}", strict=False)

"""A domain that is not in DNS at all: misspelt, not registered, or expired. No record helps it. Pure."""

from mail.decide.dmarc import organisation
from mail.decide.verdicts import About, Verdict
from mail.dns_answers import DnsAnswers
from mail.message.domains import normalise_domain
from mail.sentences import why


def is_absent(domain: str, answers: DnsAnswers) -> bool:
    """Say whether neither a domain nor the one that somebody registered is there.

    A subdomain without records is something else: they go into the zone above it.
    """
    return all(answers.ask(name, "NS").outcome == "no_name" for name in dict.fromkeys((domain, organisation(domain))))


def absent(domain: str) -> Verdict:
    """Return the verdict that says so; it stands where SPF does, the first of all."""
    return Verdict("spf", "bad", (why("domain_absent", domain=_registered(domain)),))


def later(about: About, domain: str, subject: str = "") -> Verdict:
    """Return the verdict on everything else."""
    return Verdict(about, "unknown", (why("domain_absent_first", domain=_registered(domain)),), subject=subject)


def _registered(domain: str) -> str:
    """Return the domain that somebody registered, as people write it.

    >>> _registered("news.xn--bcher-kva.example")
    'bücher.example'
    """
    found = organisation(domain)
    return normalise_domain(found) or found

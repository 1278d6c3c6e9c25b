"""FLOW: ask DNS about a domain until every verdict on it stands."""

from collections.abc import Iterator

from mail.decide.deliverability import Judgement, SendingDomain, judge
from mail.dns_answers import DnsAnswer, Question
from mail.transport.dns import Resolver

MOST_ROUNDS = 40  # what one answer leads to is asked in the next; the limits of SPF end it long before


def examine(domain: SendingDomain, resolver: Resolver) -> Iterator[Judgement]:
    """Yield the verdicts on a domain after each round of questions; the last one counts, the others show progress."""
    known: dict[Question, DnsAnswer] = {}
    for _ in range(MOST_ROUNDS):
        judgement = judge(domain, known)
        yield judgement
        if not judgement.open:
            return
        known |= resolver.ask_all(judgement.open)

"""What an SPF record leads to: how many lookups it costs, and the networks behind an include. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from mail.decide.spf_record import Network, Term, parse_spf, spf_texts
from mail.dns_answers import DnsAnswer, DnsAnswers

MOST_RECORDS = 60  # more are not followed: a record with more than ten lookups is broken anyway


@dataclass(slots=True)
class Reach:
    """``lookups`` in the worst case; ``networks`` that pass; ``names`` of the records on the way.

    ``is_whole``: all that passes is in ``networks``, nothing depends on macros or other names. ``unclear``: an answer
    that did not come.
    """

    lookups: int = 0
    networks: list[Network] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    is_whole: bool = True
    unclear: DnsAnswer | None = None
    unclear_name: str = ""


def reach_of(domain: str, answers: DnsAnswers) -> Reach:
    """Return what the SPF record of a domain leads to."""
    reach = Reach()
    _follow(domain, answers, reach)
    return reach


def reach_of_terms(terms: tuple[Term, ...], answers: DnsAnswers) -> Reach:
    """Return what some terms lead to."""
    reach = Reach()
    _follow_terms(terms, answers, reach)
    return reach


def effective(terms: tuple[Term, ...]) -> Iterator[Term]:
    """Yield the terms that a receiver can come to: nothing behind ``all``, and no ``redirect`` beside it.

    >>> [term.text for term in effective(parse_spf("v=spf1 redirect=b.com mx -all include:a.com"))]
    ['mx', '-all']
    """
    end = next((number for number, term in enumerate(terms) if term.name == "all"), None)
    for term in terms if end is None else terms[: end + 1]:
        if end is None or term.name != "redirect":
            yield term


def dead(terms: tuple[Term, ...]) -> list[Term]:
    """Return the terms that no receiver comes to; a modifier works wherever it is.

    >>> [term.text for term in dead(parse_spf("v=spf1 mx -all include:a.com redirect=b.com exp=c.com all"))]
    ['include:a.com', 'redirect=b.com', 'all']
    """
    living = {id(term) for term in effective(terms)}
    return [term for term in terms if id(term) not in living and (not term.is_modifier or term.name == "redirect")]


def _follow(domain: str, answers: DnsAnswers, reach: Reach, inside: tuple[str, ...] = ()) -> None:
    if domain in inside or len(reach.names) >= MOST_RECORDS:
        return
    reach.names.append(domain)
    answer = answers.ask(domain, "TXT")
    if not answer.is_known:
        reach.unclear, reach.unclear_name = answer, domain
    texts = spf_texts(answer.records)
    if len(texts) == 1:
        _follow_terms(parse_spf(texts[0]), answers, reach, (*inside, domain))


def _follow_terms(terms: tuple[Term, ...], answers: DnsAnswers, reach: Reach, inside: tuple[str, ...] = ()) -> None:
    """The redirect last: it is what remains when nothing matched."""
    for term in sorted(effective(terms), key=lambda term: term.name == "redirect"):
        reach.lookups += term.asks
        passes = term.qualifier == "+" and not term.error
        if term.network is not None and passes:
            reach.networks.append(term.network)
        elif term.name in ("include", "redirect") and term.target and not term.error:
            count = len(reach.networks)
            _follow(term.target, answers, reach, inside)
            if not passes:
                del reach.networks[count:]
                reach.is_whole = False
        elif term.asks:
            reach.is_whole = False

"""The SPF record to paste: today's, with what is missing merged in. Never a second one, never flattened. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mail.decide.spf import MOST_LOOKUPS, MOST_VOID, check_host
from mail.decide.spf_coverage import Coverage, Origin, coverage
from mail.decide.spf_reach import effective, reach_of_terms
from mail.decide.spf_record import VERSION, Term, parse_term
from mail.decide.spf_repair import repaired, without_void
from mail.dns_answers import DnsAnswers
from mail.sentences import Why, why


@dataclass(frozen=True, slots=True)
class MergedSpf:
    """The record to paste ("" if there is none) with the changes in words; ``missed``: what it still does not do."""

    text: str
    changes: tuple[Why, ...]
    lookups: int
    missed: tuple[Why, ...]


def merge(texts: Sequence[str], origins: Sequence[Origin], domain: str, answers: DnsAnswers) -> MergedSpf:
    """Return one record of the present ones that covers all servers whose origin is known, and which it leaves out."""
    kept = repaired(texts, domain, answers)
    changes = list(kept.changes)
    terms = _within_void_limit(kept.terms, domain, answers, changes)
    for origin in origins:
        terms = _covering(origin, terms, domain, answers, changes)
    fewer = _within_lookup_limit(terms, origins, domain, answers, changes)
    for origin in origins if fewer != terms else ():
        fewer = _covering(origin, fewer, domain, answers, changes)
    terms = fewer
    text = written(terms)
    reach = reach_of_terms(terms, answers)
    left_out = [origin for origin in origins if coverage(origin, domain, answers, text).state != "good"]
    missed = [why("spf_no_record_without", server=origin.name) for origin in left_out]
    if reach.unclear is not None:  # nobody knows what the record would cost, or whether it can be read
        missed.append(why(f"dns_{reach.unclear.outcome}", name=reach.unclear_name, said=reach.unclear.said))
    return MergedSpf(text, tuple(changes), reach.lookups, tuple(missed))


def written(terms: Iterable[Term]) -> str:
    """Return the record that these terms make."""
    return " ".join((VERSION, *(term.text for term in terms)))


def _covering(
    origin: Origin, terms: tuple[Term, ...], domain: str, answers: DnsAnswers, changes: list[Why]
) -> tuple[Term, ...]:
    """Put what a server needs before the term where receivers stop, or before the end."""
    found: Coverage = coverage(origin, domain, answers, written(terms))
    if not found.missing:
        return terms
    needed = [parse_term(text) for text in found.missing]
    same = {(term.name, term.value.lower()) for term in needed}
    place = _end(terms) if found.stopped is None else min(found.stopped, _end(terms))
    before = [term for term in terms[:place] if (term.name, term.value.lower()) not in same]
    after = [term for term in terms[place:] if (term.name, term.value.lower()) not in same]
    added = " ".join(term.text for term in needed)
    changes.append(why("spf_change_added", terms=added, server=origin.name))
    return (*before, *needed, *after)


def _end(terms: Sequence[Term]) -> int:
    ends = (number for number, term in enumerate(terms) if term.name in ("all", "redirect"))
    return next(ends, len(terms))


def _within_void_limit(
    terms: tuple[Term, ...], domain: str, answers: DnsAnswers, changes: list[Why]
) -> tuple[Term, ...]:
    found: list[Why] = []
    fewer = without_void(terms, domain, answers, found)
    if len(terms) - len(fewer) <= MOST_VOID:
        return terms
    changes.extend(found)
    return fewer


# --- more than ten lookups


def _within_lookup_limit(
    terms: tuple[Term, ...], origins: Sequence[Origin], domain: str, answers: DnsAnswers, changes: list[Why]
) -> tuple[Term, ...]:
    """Give up what none of our servers needs, as little as possible, and say so: somebody else may need it."""
    needed = {text.lower() for origin in origins for text in origin.needs}
    costs = {term: cost_of(term, answers) for term in effective(terms) if term.asks}
    total = sum(costs[term] for term in terms if term in costs)
    if total <= MOST_LOOKUPS:
        return terms
    given_up: list[Term] = []
    spare = [term for term in costs if term.text.lower() not in needed]
    useful = [term for term in spare if any(_helps(term, origin, domain, answers) for origin in origins)]
    for choices in ([term for term in spare if term not in useful], useful):
        while choices and (excess := total - MOST_LOOKUPS) > 0:
            enough = [term for term in choices if costs[term] >= excess]
            choice = min(enough, key=costs.__getitem__) if enough else max(choices, key=costs.__getitem__)
            choices.remove(choice)
            total -= costs[choice] * terms.count(choice)
            terms = tuple(term for term in terms if term != choice)
            given_up.append(choice)
    if given_up:
        changes.append(why("spf_change_given_up", terms=", ".join(term.text for term in given_up)))
    return terms


def _helps(term: Term, origin: Origin, domain: str, answers: DnsAnswers) -> bool:
    """Say whether a term covers an address of a server."""
    alone = written((term,))
    sender = f"postmaster@{domain}"
    return any(check_host(one, sender, answers, record=alone).outcome == "pass" for one in origin.addresses)


def cost_of(term: Term, answers: DnsAnswers) -> int:
    """Return how many of the ten lookups a term takes, with those inside of what it includes."""
    return reach_of_terms((term,), answers).lookups

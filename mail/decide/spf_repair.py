"""A record of today without what is wrong about it: one record, readable, and nothing else touched. Pure."""

import difflib
import re
from collections.abc import Sequence
from typing import NamedTuple

from mail.decide.spf_faults import Faults
from mail.decide.spf_reach import dead, effective
from mail.decide.spf_record import Term, parse_spf, parse_term, spf_texts
from mail.dns_answers import DnsAnswers
from mail.sentences import Why, why

MECHANISMS = ("include", "exists", "redirect", "ip4", "ip6", "all", "ptr", "mx", "a")
_ADDRESS = re.compile(r"([+\-~?]?)(?:(?:ip|ipv?[46]|a|mx):)?([0-9a-f:.]+(?:/\d+)?)", re.IGNORECASE)
_LOOKS_LIKE = re.compile(r"\W{0,9}v\s{0,9}=\s{0,9}spf\s{0,9}1?(?=\W|$)\W{0,9}?(?=[+\-~?]?[A-Za-z]|$)", re.IGNORECASE)
_PARTS = re.compile(r"([+\-~?]?)([A-Za-z0-9]*)([:=]?)(.*)")
_STRICTNESS = {"-": 0, "~": 1, "?": 2, "+": 3}


class Repaired(NamedTuple):
    """The terms that remain, and what was changed, in words."""

    terms: tuple[Term, ...]
    changes: tuple[Why, ...]


def look_alikes(records: Sequence[str]) -> list[str]:
    """Return TXT records that are meant for SPF but that receivers do not take for it.

    >>> look_alikes(("v=spf1 -all", "v=spf1;include:a.com;-all", "v = spf1 mx", "verification=spf1"))
    ['v=spf1;include:a.com;-all', 'v = spf1 mx']
    """
    right = spf_texts(tuple(records))
    return [record for record in records if record not in right and _LOOKS_LIKE.match(record)]


def repaired(texts: Sequence[str], domain: str, answers: DnsAnswers) -> Repaired:
    """Return the terms of the present records as one record that receivers can read."""
    changes: list[Why] = []
    records = [[_mended(term, changes) for term in _terms(text)] for text in texts]
    read = [[term for term in record if term is not None] for record in records]
    if len(read) > 1:
        changes.append(why("spf_change_merged", count=len(read)))
    terms = _merged(read, changes)
    terms = _without_dead(terms, changes)
    faults = Faults(domain, answers)
    terms = [term for term in terms if not _is_dropped(term, faults, changes)]
    return Repaired(tuple(_with_end(terms, changes)), tuple(changes))


def _terms(text: str) -> tuple[Term, ...]:
    if spf_texts((text,)):
        return parse_spf(text)
    return parse_spf("v=spf1 " + _LOOKS_LIKE.sub("", text, count=1).replace(";", " ").strip(" \"'"))


def _mended(term: Term, changes: list[Why]) -> Term | None:
    """A term that can't be read, as it was meant; None if nobody can tell."""
    if term.error is None:
        return term
    if term.error["code"] == "spf_term_twice":
        changes.append(why("spf_change_twice", term=term.text))
        return None
    for text in _meant(term):
        mended = parse_term(text)
        if mended.error is None and (not mended.is_modifier or mended.name == "redirect"):
            changes.append(why("spf_change_mended", term=term.text, mended=mended.text))
            return mended
    changes.append(why("spf_change_unreadable", term=term.text))
    return None


def _meant(term: Term) -> list[str]:
    """What a broken term may have been meant to be, the likeliest first."""
    text = term.text.strip(",;\"'")
    found = [text]
    if address := _ADDRESS.fullmatch(text):
        found.append(f"{address[1]}ip{6 if ':' in address[2] else 4}:{address[2]}")
    qualifier, name, sign, value = _PARTS.match(text).groups()  # type: ignore[union-attr]
    if near := difflib.get_close_matches(name.lower(), MECHANISMS, 1, 0.7):
        found.append(f"{qualifier}{near[0]}{':' if near[0] != 'redirect' and sign else sign}{value}")
    return found


def _merged(records: list[list[Term]], changes: list[Why]) -> list[Term]:
    """One record of several: all terms once, the milder ``all``, and a redirect beside others becomes an include."""
    if len(records) < 2:
        return records[0] if records else []
    ends = [term for record in records for term in record if term.name == "all"]
    terms = [term for record in records for term in effective(tuple(record)) if term.name != "all"]
    once = list({(term.qualifier, term.name, term.text.lstrip("+").lower()): term for term in terms}.values())
    for other in [term for term in once if term.name == "exp"][1:]:
        changes.append(why("spf_change_twice", term=other.text))
        once.remove(other)
    plain = [parse_term(f"include:{term.value}") if term.name == "redirect" else term for term in once]
    return [*plain, *sorted(ends, key=lambda term: _STRICTNESS[term.qualifier])[-1:]]


def _without_dead(terms: list[Term], changes: list[Why]) -> list[Term]:
    """Without what stands behind ``all``: no receiver looks at it, and it was no permission so far."""
    gone = dead(tuple(terms))
    changes.extend(why("spf_change_dead", term=term.text) for term in gone)
    return [term for term in terms if not any(term is other for other in gone)]


def _is_dropped(term: Term, faults: Faults, changes: list[Why]) -> bool:
    """Whether a term only does harm: ``ptr``, and what breaks the record for everybody."""
    if term.name == "ptr":
        changes.append(why("spf_change_ptr", term=term.text))
        return True
    if faults.of_term(term):
        changes.append(why("spf_change_broken", term=term.text))
        return True
    return False


def _with_end(terms: list[Term], changes: list[Why]) -> list[Term]:
    """With an end that says what becomes of all others; never that everybody may send."""
    end = next((number for number, term in enumerate(terms) if term.name == "all"), None)
    if end is not None and terms[end].qualifier in "+?":
        changes.append(why("spf_change_all", term=terms[end].text))
        return [*terms[:end], parse_term("~all"), *terms[end + 1 :]]
    if end is None and not any(term.name == "redirect" for term in terms):
        changes.append(why("spf_change_end"))
        return [*terms, parse_term("~all")]
    return terms


def without_void(terms: Sequence[Term], domain: str, answers: DnsAnswers, changes: list[Why]) -> tuple[Term, ...]:
    """Return the terms without those that ask for addresses that do not exist: more than two break the record."""
    void = [term for term in terms if _is_void(term, domain, answers)]
    changes.extend(why("spf_change_void", term=term.text) for term in void)
    return tuple(term for term in terms if term not in void)


def _is_void(term: Term, domain: str, answers: DnsAnswers) -> bool:
    if term.name not in ("a", "mx") or "%" in term.value:
        return False
    name = term.target or domain
    kinds = ("A", "AAAA") if term.name == "a" else ("MX",)
    found = [answers.ask(name, kind) for kind in kinds]  # type: ignore[arg-type]
    return all(answer.is_known and not answer.records for answer in found)

"""The verdicts on the SPF of a domain: its record, each server, and the one record to paste. Pure."""

from collections.abc import Sequence

from mail.decide.spf import MOST_LOOKUPS, MOST_VOID
from mail.decide.spf_coverage import Origin, coverage
from mail.decide.spf_faults import Faults
from mail.decide.spf_merge import MergedSpf, cost_of, merge
from mail.decide.spf_reach import dead, effective, reach_of_terms
from mail.decide.spf_record import LONGEST, Term, parse_spf, spf_texts
from mail.decide.spf_repair import look_alikes, without_void
from mail.decide.verdicts import RecordToPaste, State, Verdict, not_known, txt_record, worst
from mail.dns_answers import DnsAnswers
from mail.sentences import Why, why

LONGEST_COMFORTABLE = 450  # octets; with its name and the other records it should fit into one packet of 512


def judge_spf(domain: str, origins: Sequence[Origin], answers: DnsAnswers) -> tuple[Verdict, list[Verdict]]:
    """Return the verdict on the record of a domain, with the record to paste, and one for each server."""
    answer = answers.ask(domain, "TXT")
    if not answer.is_known:
        return not_known("spf", domain, answer), [
            not_known("spf", domain, answer, subject=origin.name) for origin in origins
        ]
    texts = spf_texts(answer.records)
    similar = look_alikes(answer.records)
    if not (texts or similar or origins):
        return Verdict("spf", "good", (why("spf_unneeded", domain=domain),)), []
    servers = [_of_server(origin, domain, answers) for origin in origins]
    state, sentences = _of_record(texts, similar, domain, answers)
    whole = worst([Verdict("spf", state, ()), *servers])
    is_unread = any(len(text) > LONGEST for text in (*texts, *similar))  # nobody knows what a new one would leave out
    if whole in ("good", "unknown") or is_unread:
        return Verdict("spf", state, tuple(sentences)), servers
    merged = merge([*texts, *similar], origins, domain, answers)
    record, why_not = _to_paste(merged, [*texts, *similar], domain, answers)
    new = tuple(sentence for sentence in why_not if sentence not in sentences)
    return Verdict("spf", state, (*sentences, *new), record), servers


def _of_server(origin: Origin, domain: str, answers: DnsAnswers) -> Verdict:
    found = coverage(origin, domain, answers)
    return Verdict("spf", found.state, found.sentences, subject=origin.name)


def _to_paste(
    merged: MergedSpf, replaces: Sequence[str], domain: str, answers: DnsAnswers
) -> tuple[RecordToPaste | None, tuple[Why, ...]]:
    if merged.lookups > MOST_LOOKUPS:
        costs = _costs(parse_spf(merged.text), answers)
        return None, (why("spf_no_record", count=merged.lookups, most=MOST_LOOKUPS, costs=costs),)
    names_nobody = all(term.name == "all" for term in parse_spf(merged.text)) and not replaces
    if merged.missed or names_nobody or list(replaces) == [merged.text]:
        return None, merged.missed
    words = [*merged.changes, why("spf_lookups_then", count=merged.lookups, most=MOST_LOOKUPS)]
    if len(merged.text) > LONGEST_COMFORTABLE:
        words.append(why("spf_long", count=len(merged.text)))
    return txt_record(domain, merged.text, replaces, tuple(words)), ()


def _of_record(
    texts: Sequence[str], similar: Sequence[str], domain: str, answers: DnsAnswers
) -> tuple[State, list[Why]]:
    """The verdict on the record itself, whoever sends."""
    if not texts:
        return "bad", [why("spf_similar", record=similar[0]) if similar else why("spf_missing", domain=domain)]
    if len(texts) > 1:
        return "bad", [why("spf_several", domain=domain, count=len(texts))]
    terms = parse_spf(texts[0])
    broken = [term.error for term in terms if term.error]
    if broken:
        return "bad", [why("spf_unreadable", domain=domain, term=_first_broken(terms)), *broken]
    reach = reach_of_terms(terms, answers)
    if reach.unclear is not None:
        return "unknown", list(not_known("spf", reach.unclear_name, reach.unclear).sentences)
    if reach.lookups > MOST_LOOKUPS:
        costs = _costs(terms, answers)
        return "bad", [why("spf_lookups_exceeded", count=reach.lookups, most=MOST_LOOKUPS, costs=costs)]
    return _of_terms(terms, reach.lookups, domain, answers)


def _first_broken(terms: Sequence[Term]) -> str:
    return next(term.text for term in terms if term.error)


def _of_terms(terms: tuple[Term, ...], lookups: int, domain: str, answers: DnsAnswers) -> tuple[State, list[Why]]:
    bad: list[Why] = []
    mild: list[Why] = []
    living = list(effective(terms))
    faults = Faults(domain, answers)
    for term in living:
        if fault := faults.of_term(term):
            bad.append(fault)
        elif term.name == "ptr":
            mild.append(why("spf_ptr", term=term.text))
        elif term.name == "all" and term.qualifier == "+":
            bad.append(why("spf_everybody", term=term.text))
        elif term.name == "all" and term.qualifier == "?":
            mild.append(why("spf_neutral_end", term=term.text))
    void: list[Why] = []
    if len(living) - len(without_void(living, domain, answers, void)) > MOST_VOID:
        bad.append(why("spf_void_exceeded", count=len(void), most=MOST_VOID))
    mild.extend(why("spf_dead", term=term.text) for term in dead(terms))
    if not any(term.name in ("all", "redirect") for term in terms):
        mild.append(why("spf_no_end", domain=domain))
    if bad or mild:
        return ("bad" if bad else "warning"), bad + mild
    return "good", [why("spf_readable", domain=domain, count=lookups, most=MOST_LOOKUPS)]


def _costs(terms: Sequence[Term], answers: DnsAnswers) -> str:
    """Which terms cost how many lookups, the dearest first."""
    costs = [(cost_of(term, answers), term.text) for term in effective(tuple(terms)) if term.asks]
    return ", ".join(f"{text} ({cost})" for cost, text in sorted(costs, key=lambda pair: -pair[0]))

"""Terms of an SPF record that break all of it for every receiver that comes to them. Pure."""

from mail.decide.mx import mail_hosts
from mail.decide.spf import MOST_NAMES
from mail.decide.spf_reach import effective
from mail.decide.spf_record import Term, parse_spf, spf_texts
from mail.dns_answers import DnsAnswers
from mail.sentences import Why, why

MOST_DEEP = 10  # an include inside of an include ...: deeper ones take too many lookups anyway


def fault_of_term(term: Term, domain: str, answers: DnsAnswers) -> Why | None:
    """Return why a term breaks the record, None if it does not, or if DNS did not say."""
    if term.name in ("include", "redirect") and term.target:
        return fault_of_target(term, answers)
    if term.name == "mx" and "%" not in term.value:
        name = term.target or domain
        count = len(mail_hosts(answers.ask(name, "MX").records))
        return why("spf_too_many_mx", name=name, count=count) if count > MOST_NAMES else None
    return None


def fault_of_target(term: Term, answers: DnsAnswers, inside: tuple[str, ...] = ()) -> Why | None:
    """Return what is wrong with the record that a term leads to, or with one inside of it."""
    target = term.target
    answer = answers.ask(target, "TXT")
    texts = spf_texts(answer.records)
    if target in inside or len(inside) > MOST_DEEP:
        return why("spf_loop", term=term.text, target=target)
    if not answer.is_known:
        return None
    if not texts:
        return why("spf_target_without", term=term.text, target=target)
    if len(texts) > 1:
        return why("spf_several", domain=target, count=len(texts))
    terms = parse_spf(texts[0])
    broken = next((one for one in terms if one.error), None)
    if broken:
        return why("spf_unreadable", domain=target, term=broken.text)
    inner = (one for one in effective(terms) if one.name in ("include", "redirect") and one.target)
    faults = (fault_of_target(one, answers, (*inside, target)) for one in inner)
    return next((fault for fault in faults if fault), None)

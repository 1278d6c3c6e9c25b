"""Terms of an SPF record that break all of it for every receiver that comes to them. Pure."""

from mail.decide.mx import mail_hosts
from mail.decide.spf import MOST_NAMES
from mail.decide.spf_reach import effective
from mail.decide.spf_record import Term, parse_spf, spf_texts
from mail.dns_answers import DnsAnswers
from mail.sentences import Why, why

MOST_DEEP = 10  # an include inside of an include ...: deeper ones take too many lookups anyway


class Faults:
    """What is wrong with what the terms of a domain lead to.

    Each record is looked at once, however many terms lead to it: strangers decide how many do.
    """

    def __init__(self, domain: str, answers: DnsAnswers) -> None:
        self.domain, self.answers = domain, answers
        self.known: dict[str, Why | None] = {}

    def of_term(self, term: Term) -> Why | None:
        """Return why a term breaks the record, None if it does not, or if DNS did not say."""
        if term.name in ("include", "redirect") and term.target:
            return self.of_target(term)
        if term.name == "mx" and "%" not in term.value:
            name = term.target or self.domain
            count = len(mail_hosts(self.answers.ask(name, "MX").records))
            return why("spf_too_many_mx", name=name, count=count) if count > MOST_NAMES else None
        return None

    def of_target(self, term: Term, inside: tuple[str, ...] = ()) -> Why | None:
        """Return what is wrong with the record that a term leads to, or with one inside of it."""
        if term.target in inside:
            return why("spf_loop", term=term.text, target=term.target)
        if len(inside) > MOST_DEEP:
            return None
        if term.target not in self.known:
            self.known[term.target] = self._of_record(term, (*inside, term.target))
        return self.known[term.target]

    def _of_record(self, term: Term, inside: tuple[str, ...]) -> Why | None:
        answer = self.answers.ask(term.target, "TXT")
        if not answer.is_known:
            return None
        texts = spf_texts(answer.records)
        if not texts:
            return why("spf_target_without", term=term.text, target=term.target)
        if len(texts) > 1:
            return why("spf_several", domain=term.target, count=len(texts))
        terms = parse_spf(texts[0])
        broken = next((one for one in terms if one.error), None)
        if broken:
            return why("spf_unreadable", domain=term.target, term=broken.text)
        inner = (one for one in effective(terms) if one.name in ("include", "redirect") and one.target)
        return next((fault for one in inner if (fault := self.of_target(one, inside))), None)

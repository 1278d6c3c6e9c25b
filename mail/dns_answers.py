"""What was asked of DNS and what came back: values, between the edge that asks and the decisions that judge."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

DnsOutcome = Literal["found", "no_name", "no_record", "silent", "failed", "malformed", "not_asked"]
Kind = Literal["TXT", "A", "AAAA", "MX", "PTR", "NS", "CNAME"]


class Question(NamedTuple):
    """A name and the kind of records that are wanted; the name in lower case, without a dot at its end."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class DnsAnswer:
    """What became of a question.

    ``no_name``: nothing has that name; ``no_record``: it has no records of that kind. ``silent`` (no response in time,
    or nobody reached), ``failed`` (SERVFAIL, REFUSED ...) and ``malformed`` say nothing about the records.
    ``records`` are texts: of TXT the joined strings, of MX "10 mail.example.com". ``aliases`` are the names that
    CNAMEs led to; ``said`` is what the resolver said, for people who know DNS.
    """

    outcome: DnsOutcome
    records: tuple[str, ...] = ()
    ttl: int = 0
    aliases: tuple[str, ...] = ()
    said: str = ""

    @property
    def is_known(self) -> bool:
        """Say whether this tells what is in DNS, be it nothing."""
        return self.outcome in ("found", "no_name", "no_record")


NOT_ASKED = DnsAnswer("not_asked")


class DnsAnswers:
    """The answers known so far. Whoever judges asks here; what is not known yet is noted in ``open``.

    Judging is repeated with the new answers until nothing is open, so that it needs no network itself.
    """

    def __init__(self, known: Mapping[Question, DnsAnswer]) -> None:
        self.known = known
        self.asked: dict[Question, DnsAnswer] = {}

    def ask(self, name: str, kind: Kind) -> DnsAnswer:
        """Return the answer to a question, or NOT_ASKED.

        >>> answers = DnsAnswers({Question("acme.com", "MX"): DnsAnswer("found", ("10 mail.acme.com",))})
        >>> answers.ask("ACME.com.", "MX").records, answers.ask("acme.com", "TXT").outcome, answers.open
        (('10 mail.acme.com',), 'not_asked', [Question(name='acme.com', kind='TXT')])
        """
        question = Question(name.lower().removesuffix("."), kind)
        return self.asked.setdefault(question, self.known.get(question, NOT_ASKED))

    @property
    def open(self) -> list[Question]:
        """The questions that have no answer yet."""
        return [question for question, answer in self.asked.items() if answer is NOT_ASKED]

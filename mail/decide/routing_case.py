"""One mail on its way through the rules of routing."""

from functools import cached_property

from mail.decide.facts import AliasRule, Facts, KnownMessage, LookUp, bounce_aliases, named_ids
from mail.decide.outcomes import Outcome
from mail.decide.reply import answered
from mail.decide.report import read_report
from mail.decide.reported import Report
from mail.decide.trust import trust
from mail.message.parse import IncomingMessage
from mail.sentences import Why, why


class RoutingCase:
    """One mail on its way through the rules: what later rules learn from earlier ones, and the steps."""

    def __init__(self, message: IncomingMessage, asked: LookUp, facts: Facts) -> None:
        self.message = message
        self.asked = asked
        self.facts = facts
        self.book = facts.book
        self.steps: list[Why] = []
        self.marks: list[Outcome] = []  # outcomes of rules that let the mail go on
        self.forwarded_from: KnownMessage | None = None
        self.hits: list[int] = []
        self.recipients = message.recipients
        self.aliases = self.book.among(self.recipients)
        self.trust = trust(message, asked, facts)
        self.sender = self.trust.sender

    @cached_property
    def report(self) -> Report | None:
        """What it reports, if it is a report: rules 0 and 2 ask."""
        return read_report(self.message, at_bounce_address=bool(bounce_aliases(self.message, self.book)))

    def step(self, code: str, **values: object) -> Why:
        reason = why(code, **values)
        self.steps.append(reason)
        return reason

    def answered(self) -> KnownMessage | None:
        """The message of ours that this one answers."""
        return answered(self._named_ids, self.facts.signed, self.facts.stored, self.sender.follows)

    def answered_too(self, alias: AliasRule) -> KnownMessage | None:
        """The message that this one answers in a thread of an alias' type: one mail to two aliases opened two."""
        ids, facts = self._named_ids, self.facts
        if alias.fixed_thread_id is not None or any(id in facts.signed for id in ids):
            return None
        of_type = {id: [one for one in facts.stored.get(id, ()) if one.type_id == alias.type_id] for id in ids}
        return answered(ids, {}, of_type, self.sender.follows)

    def answered_trace(self) -> int | None:
        """The recipient of a mailing who answers it with this mail, of several mailings the last."""
        named = (self.facts.signed.get(id) for id in self._named_ids)
        traces = [known for known in named if known is not None and known.trace_id is not None]
        last = max(traces, key=lambda known: known.order, default=None)
        return last.trace_id if last is not None else None

    @property
    def _named_ids(self) -> list[str]:
        return named_ids(self.message)

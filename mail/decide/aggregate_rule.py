"""What becomes of a DMARC report: kept, known already, about a stranger's domain, or not readable. Pure."""

from mail.decide.aggregate_report import TLS_REPORT, is_about, is_announced
from mail.decide.author import is_no_person
from mail.decide.dmarc import organisation
from mail.decide.facts import Facts
from mail.decide.outcomes import Aggregate, Duplicate, Ignored, Quarantined
from mail.message.dmarc_report import AggregateReport
from mail.message.parse import IncomingMessage
from mail.sentences import Why, why

Decided = tuple[tuple[Why, ...], Aggregate | Duplicate | Ignored | Quarantined]


def aggregate_outcome(message: IncomingMessage, found: AggregateReport | Why | None, facts: Facts) -> Decided | None:
    """Return the steps and the outcome for a mail that is a report; None if it is to be routed like any other.

    It does not matter where the report was sent. A person may send a broken one, or a stranger's, for other reasons.
    """
    if found is None:
        return None
    if not isinstance(found, AggregateReport):
        if not _is_by_machine(message):
            return None
        return (found,), Ignored(found) if found["code"] == TLS_REPORT else Quarantined(found)
    if not is_about(found, facts.sends_as | facts.book.domains | facts.book.former_domains):
        reason = why("route_dmarc_not_ours", organisation=found.organisation, domain=found.domain)
        return ((reason,), Ignored(reason)) if _is_by_machine(message) else None
    if facts.report_is_known:
        reason = why("route_dmarc_known", organisation=found.organisation, id=found.report_id)
        return (reason,), Duplicate(reason)
    said = why("route_dmarc", organisation=found.organisation, domain=found.domain, emails=found.emails)
    result = [why("route_dmarc_passed")]
    if found.failed:
        result = [why("route_dmarc_failing", sources=max(found.failing_sources, 1), emails=found.failed)]
    if found.left_out:
        result.append(why("route_dmarc_left_out", emails=found.left_out))
    return (said, *result), Aggregate(found, organisation(found.domain))


def _is_by_machine(message: IncomingMessage) -> bool:
    return is_announced(message.subject) or message.auto_submitted != "no" or is_no_person(message.from_key)

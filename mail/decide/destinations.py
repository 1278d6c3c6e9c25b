"""Each destination has a mail once, and nobody writes to one too often: what is left of a decision (rules 0 and 9)."""

from mail.decide.answer import AnswerTo, answer_to
from mail.decide.facts import ANSWERS_AN_HOUR, Facts
from mail.decide.outcomes import (
    AutoNote,
    Duplicate,
    NewDocument,
    Outcome,
    PostTo,
    Quarantined,
    Rejected,
    Reply,
    Routing,
)
from mail.decide.routing_case import RoutingCase
from mail.message.address import domain_of
from mail.message.parse import IncomingMessage
from mail.sentences import why


def each_once(case: RoutingCase, outcomes: list[Outcome]) -> Routing:
    """Take out what this mail has reached already (rule 0, second half), then ask the loop brake (rule 9)."""
    if isinstance(outcomes[0], Duplicate):
        return Routing(tuple(outcomes), tuple(case.steps))
    by_target = {outcome.target: outcome for outcome in reversed(outcomes)}  # two aliases, one fixed document: one post
    wanted = [outcome for outcome in outcomes if by_target.get(outcome.target) is outcome]
    left = [outcome for outcome in wanted if outcome.target not in case.facts.done]
    if not left:
        reason = case.step("route_duplicate")
        return Routing((Duplicate(reason),), tuple(case.steps))
    if len(left) < len(wanted):
        case.step("route_partly_duplicate", n=len(wanted) - len(left), left=len(left))
    is_seen = any(isinstance(outcome, AutoNote | Reply | PostTo | NewDocument | Rejected) for outcome in left)
    if is_seen and case.trust.reason is not None:
        case.step(f"route_{case.trust.mark}", address=case.asked.sender)
        case.steps.append(case.trust.reason)
    answer = may_answer(case.message, case.facts)
    braked = tuple(_brake(case, outcome, answer) for outcome in left)
    is_rejected = any(isinstance(outcome, Rejected) for outcome in braked)
    if is_rejected and answer.why_not is not None:
        case.steps.append(answer.why_not)
    hits = tuple(dict.fromkeys(case.hits))
    told = answer.address if is_rejected else ""
    return Routing(braked, tuple(case.steps), hits, told, case.trust.mark, case.trust.reason)


def may_answer(message: IncomingMessage, facts: Facts) -> AnswerTo:
    """Return to whom the system may answer a mail, as far as its own answers of late allow."""
    answer = answer_to(message, facts.book)
    if answer.why_not is None and facts.answers_left <= 0:
        return AnswerTo(why_not=why("unanswered_hour", limit=ANSWERS_AN_HOUR))
    if answer.why_not is None and 0 < facts.loop_threshold <= facts.answers_to_sender:
        return AnswerTo(why_not=why("unanswered_often", n=facts.answers_to_sender))
    return answer


def _brake(case: RoutingCase, outcome: Outcome, answer: AnswerTo) -> Outcome:
    """Rule 9: whoever writes too often to one place is told once; the rest waits as one group for a person."""
    facts, sender = case.facts, case.message.from_key
    if not isinstance(outcome, Reply | PostTo | NewDocument) or not facts.loop_threshold:
        return outcome
    count = facts.mails_in_window.get(outcome.target, 0) + 1
    if count <= facts.loop_threshold:
        return outcome
    if facts.released == outcome.target:
        case.step("route_loop_released")
        return outcome
    if sender in facts.loop_allowed or domain_of(sender) in facts.loop_allowed:
        case.step("route_loop_allowed", sender=sender)
        return outcome
    if outcome.target not in facts.told and answer.why_not is None:
        reason = case.step("reject_loop", n=count, limit=facts.loop_threshold, minutes=facts.loop_minutes)
        return Rejected(reason, outcome.target, getattr(outcome, "alias_id", None))
    case.step("route_loop_over", limit=facts.loop_threshold, minutes=facts.loop_minutes)
    return Quarantined(case.step("route_loop_held", sender=sender or "–"), held=outcome.target)

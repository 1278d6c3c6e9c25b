"""Where a person says that a mail from quarantine goes.

The step that tells it is all that is needed to do it: at once, or by the worker, which finds it in the ledger.
"""

from collections.abc import Sequence

from mail.decide.answer import AnswerTo, answer_to
from mail.decide.outcomes import Duplicate, NewDocument, PostTo, Rejected, Routing
from mail.decide.routing import route
from mail.decide.trust import trust
from mail.incoming.case import Case, storable
from mail.incoming.lookup import BY_HAND, RoutingContext
from mail.sentences import Why, why
from models import Document

CHOICES = ("quarantine_routed_document", "quarantine_routed_type", "quarantine_rejected_by_hand")


def to_document(document: Document) -> Why:
    """Return the step of a mail that is to be posted in the chatter of a document."""
    return why("quarantine_routed_document", number=document.number, thread=document.thread_id)


def to_type(type_id: int) -> Why:
    """Return the step of a mail that is to open a new document of a type."""
    return why("quarantine_routed_type", type=type_id)


def rejected(text: str) -> Why:
    """Return the step of a mail whose sender is to get an answer, in these words or, without any, the standard ones."""
    return why("quarantine_rejected_by_hand", text=storable(text.strip()))


def chosen(decision: Sequence[Why] | None) -> tuple[Why, ...]:
    """Return the steps of a mail that waits, if the last one is what a person chose for it."""
    return tuple(decision) if decision and decision[-1]["code"] in CHOICES else ()


def decide(case: Case, context: RoutingContext) -> Routing:
    """Decide about a mail: as a person chose, else by the rules."""
    return _as_chosen(case, context) if case.chosen else route(case.message, case.asked, context.facts(case))


def _as_chosen(case: Case, context: RoutingContext) -> Routing:
    choice = _choice(case.chosen[-1])
    if choice.target in context.done.get(case.key, ()):  # a place has a mail once
        is_there = why("route_duplicate")
        return Routing((Duplicate(is_there),), (*case.chosen, is_there))
    answer = answer_to(case.message, context.book) if isinstance(choice, Rejected) else AnswerTo()
    steps = (*case.chosen, answer.why_not) if answer.why_not else case.chosen
    believed = trust(case.message, case.asked, context.facts(case))
    return Routing((choice,), steps, (), answer.address, believed.mark, believed.reason)


def _choice(step: Why) -> PostTo | NewDocument | Rejected:
    values = step["values"]
    match step["code"]:
        case "quarantine_routed_document":
            return PostTo(values["thread"], alias_id=0, follow=True)
        case "quarantine_routed_type":
            return NewDocument(values["type"])
    return Rejected(why("quarantine_rejected"), BY_HAND, text=values["text"])

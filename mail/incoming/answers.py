"""The answers that the system writes: why a mail was rejected. They quote nothing of it: its sender may be forged."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from flask_babel import gettext

from mail.decide.facts import ANSWERS_AN_HOUR
from mail.decide.outcomes import Rejected
from mail.incoming.case import Case
from mail.incoming.lookup import BY_HAND, RoutingContext, answers_since
from mail.message.parse import LOOP_HEADER
from mail.outgoing import enqueue
from mail.outgoing.enqueue import OutgoingDraft, ReadyMail, To
from mail.sentences import say
from mail.settings import office
from mail.settings.tokens import TokenKind


class TooManyAnswers(Exception):
    """Somebody else answered meanwhile: the mails are to be decided again."""


def prepare(cases: Sequence[Case], context: RoutingContext, now: datetime) -> dict[int, ReadyMail]:
    """Compose what tells the senders of rejected mails why, once each, by the mail: before the transaction."""
    for case in cases:
        case.answer_id = None  # that of a try which was rolled back is nobody's, or somebody else's by now
    return {
        case.id: enqueue.prepare(_draft(case, context), [To(case.routing.answer_to)], now)
        for case in cases
        if case.routing.answer_to
    }


def send(cases: Sequence[Case], ready: Mapping[int, ReadyMail], now: datetime) -> bool:
    """Queue the answers to these mails; return whether there is one. The caller commits."""
    answered = [case for case in cases if case.id in ready]
    of_system = sum(any(one.target != BY_HAND for one in rejections(case)) for case in answered)
    if of_system and answers_since(now) + of_system > ANSWERS_AN_HOUR:
        raise TooManyAnswers
    if answered:
        ids = enqueue.enqueue_many([ready[case.id] for case in answered], now)
        for case, answer_id in zip(answered, ids, strict=True):
            case.answer_id = answer_id
    return bool(answered)


def rejections(case: Case) -> list[Rejected]:
    """Return the rejections among what was decided about a mail."""
    return [outcome for outcome in case.routing.outcomes if isinstance(outcome, Rejected)]


def _draft(case: Case, context: RoutingContext) -> OutgoingDraft:
    rejected = rejections(case)
    alias_id = next((one.alias_id for one in rejected if one.alias_id in context.openings), None)
    address = _written_to(case, context, alias_id) if alias_id else ""
    subject = gettext("Your email to %(address)s", address=address) if address else gettext("Your email to us")
    texts = dict.fromkeys(outcome.text.strip() or say(outcome.reason) for outcome in rejected)
    about = gettext(
        "This is about your email that arrived on %(date)s UTC. Replies to this message are not read.",
        date=f"{case.arrived_at:%Y-%m-%d %H:%M}",
    )
    return OutgoingDraft(
        kind="rejection",
        author=office.mailbox(case.message.recipients),
        subject=subject,
        text="\n\n".join([*texts, about]) + "\n",
        references=[case.message.message_id] if case.message.message_id else (),
        return_path="<>",
        auto_submitted="auto-replied",
        headers=[(LOOP_HEADER, office.tokens().make(TokenKind.LOOP, case.id))],
    )


def _written_to(case: Case, context: RoutingContext, alias_id: int) -> str:
    """The address of an alias as the mail has it: one that works on all of our domains has several."""
    for recipient in case.message.recipients:
        found = context.book.find(recipient)
        if found is not None and found.id == alias_id:
            return found.address
    return context.openings[alias_id].address

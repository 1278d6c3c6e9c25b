"""Where a mail goes: a pure decision over what the mail says and what the office knows, with its steps as values.

``facts.look_up`` says what must be known, the flow fills a ``Facts`` with few queries, ``route`` decides. The rules
stand in one table, in the order of incoming.md 5; the first that takes the mail ends the routing. What was decided
before by the same mail to the same destination is taken out last, so that each destination has a mail once.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

from mail.decide.aggregate_rule import aggregate_outcome
from mail.decide.answer import AnswerTo, answer_to
from mail.decide.facts import (
    ANSWERS_AN_HOUR,
    AliasRule,
    Facts,
    KnownMessage,
    LookUp,
    bounce_aliases,
    bounce_token,
    unsubscribe_token,
)
from mail.decide.outcomes import (
    AutoNote,
    Bounced,
    Duplicate,
    Ignored,
    NewDocument,
    Outcome,
    PostTo,
    Quarantined,
    Rejected,
    Replied,
    Reply,
    Routing,
    Unsubscribed,
)
from mail.decide.reply import answered, answers_itself
from mail.decide.report import read_report
from mail.decide.reported import Report
from mail.decide.self_test_mails import came_back
from mail.decide.verp import PLUS_TEST
from mail.message.address import domain_of, local_part
from mail.message.parse import IncomingMessage
from mail.sentences import Why, why

# --- the rules


def route(message: IncomingMessage, asked: LookUp, facts: Facts) -> Routing:
    """Return where a mail goes, by the rules of incoming.md 5, with every step in its order.

    ``asked`` is what ``look_up`` said of the mail, ``facts`` what was found out.
    """
    case = _Case(message, asked, facts)
    decided = (rule(case) for rule in RULES)
    outcomes = next(found for found in decided if found is not None)  # the last rule takes every mail
    return _each_once(case, [*case.marks, *outcomes])


class _Case:
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
        self.not_checked = names_one_of_us(asked, facts) and not facts.is_authenticated
        self.sender = facts.sender

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
        ids = [*self.message.references, self.message.own_id or ""]
        return answered(ids, self.facts.signed, self.facts.stored, self.sender.follows)


def names_one_of_us(asked: LookUp, facts: Facts) -> bool:
    """Say whether a reader takes a mail for one of the office: a user, an address of ours, or one in our domain."""
    users = (facts.sender.user_id, facts.author.user_id)
    return facts.book.speaks_for_us(asked.sender) or any(user is not None for user in users)


def _self_test(case: _Case) -> list[Outcome] | None:
    """What the self-test of a server sent, or a report about it: noted there, whatever else it would become."""
    found = came_back(case.message, case.report, case.facts.signed, bounce_token(case.message, case.book))
    if found is None:
        return None
    case.step(found.code)
    if found.outcome is None:
        return [Ignored(case.steps[-1])]
    if found.outcome.how == "arrived" and found.outcome.part.name == "plus":
        tried = [address for address in case.recipients if local_part(address).endswith(PLUS_TEST)]
        case.hits += [alias.id for alias in case.book.among(tried, "bounce")]
        case.step("route_plus_works", address=tried[0] if tried else "–")
    return [found.outcome]


def _own_mail(case: _Case) -> list[Outcome] | None:
    """Rule 0, first half: a mail that we sent comes back under its own id."""
    message, known = case.message, case.facts.signed
    if case.report is not None:
        return None  # some spam filters report under our own Message-ID
    if message.message_id in known:
        return [Duplicate(case.step("route_own_mail", id=message.message_id))]
    copy = known.get(message.own_id or "")
    if copy is not None and not answers_itself(message, copy, known):
        return [Duplicate(case.step("route_own_mail", id=message.own_id))]
    return None


def _too_much(case: _Case) -> list[Outcome] | None:
    """Beyond the limits of the parser: a person looks at it."""
    if case.message.too_much is None:
        return None
    case.steps.append(case.message.too_much)
    return [Quarantined(case.message.too_much)]


def _plus_test(case: _Case) -> list[Outcome] | None:
    """Somebody tries whether addresses with a plus arrive, as unique bounce addresses would have to."""
    tests = [address for address in case.recipients if local_part(address).endswith(PLUS_TEST)]
    tried = [address for address in tests if case.book.among([address], "bounce")]
    named = {*case.message.to, *case.message.cc}
    others = [address for address in case.recipients if address not in tried]
    if not tried or any(address in named or _is_another(case, address) for address in others):
        return None  # it has another purpose, and may be the copy that came to another address
    case.hits += [alias.id for alias in case.book.among(tried, "bounce")]
    return [Ignored(case.step("route_plus_works", address=tried[0]))]


def _is_another(case: _Case, address: str) -> bool:
    """Say whether an address that the envelope left behind is more than the name of a mailbox of ours."""
    alias = case.book.find(address)
    return alias is not None and alias.role != "bounce"


def _answer_to_rejection(case: _Case) -> list[Outcome] | None:
    """Rule 1."""
    ids = [*case.message.references, case.message.loop_tag or ""]
    found = next((id for id in ids if id in case.facts.rejections), None)
    if found is None:
        case.step("route_no_own_answer")
        return None
    return [Ignored(case.step("route_own_answer", id=found))]


def _aggregate(case: _Case) -> list[Outcome] | None:
    """A DMARC report, wherever it was sent: some are for the bounce address."""
    found = aggregate_outcome(case.message, case.asked.aggregate, case.facts)
    if found is None:
        return None
    case.steps += found[0]
    return [found[1]]


def _report(case: _Case) -> list[Outcome] | None:
    """Rule 2."""
    message = case.message
    at_bounce, report = bounce_aliases(message, case.book), case.report
    if report is None:
        case.step("route_auto_at_bounce" if at_bounce and message.is_auto_reply else "route_no_report")
        return None
    case.hits += [alias.id for alias in at_bounce]
    known = (case.facts.signed.get(id) for id in report.returned_ids)
    about = max((found for found in known if found), key=lambda found: found.order, default=None)
    token = bounce_token(message, case.book)
    names = ", ".join(reported.address for reported in report.recipients[:5])
    case.step(f"route_report_{report.about.value}", addresses=names, n=len(report.recipients))
    case.step("route_report_ours" if about or token else "route_report_not_ours")
    return [Bounced(report, about, token)]


def _automatic_answer(case: _Case) -> list[Outcome] | None:
    """Rule 3."""
    if not case.message.is_auto_reply:
        case.step("route_no_auto_reply")
        return None
    known = case.answered()
    if known is None or known.thread_id is None:
        return [Ignored(case.step("route_auto_reply_ignored"))]
    case.step("route_auto_reply_noted", thread=known.thread_id)
    return [AutoNote(known.thread_id, known.post_id)]


def _reply(case: _Case) -> list[Outcome] | None:
    """Rule 4."""
    known = case.answered()
    if known is None:
        case.step("route_no_thread", n=len(case.message.references))
        return None
    if known.trace_id is not None:
        case.step("route_mailing_answered")
        case.marks.append(Replied(known.trace_id))
    if known.thread_id is None:
        if known.trace_id is None:
            case.step("route_thread_gone")
        return None
    written_to = case.book.among([*case.message.to, *case.message.resent_to])
    others = [alias for alias in written_to if alias.type_id != known.type_id]
    if others:
        case.step("route_forward", addresses=", ".join(alias.address for alias in others))
        case.forwarded_from = known
        return None
    own = [alias for alias in case.aliases if alias.type_id == known.type_id]
    case.hits += [alias.id for alias in own]
    case.step("route_reply", thread=known.thread_id)
    refusals = [refusal for alias in own if (refusal := _refusal(case, alias, known.thread_id)) is not None]
    if refusals and len(refusals) == len(own):
        return [replace(refusals[0], target=f"thread:{known.thread_id}")]
    case.hits += [alias.id for alias in case.book.among(case.recipients, "catchall")]
    from_outside = known.is_note and case.sender.user_id is None
    if from_outside:
        case.step("route_note_from_outside")
    return [Reply(known.thread_id, known.post_id, known.is_note, from_outside)]


def _unsubscribe(case: _Case) -> list[Outcome] | None:
    """A mail to the catchall that our List-Unsubscribe header asked for; a program may have sent it automatically."""
    token = unsubscribe_token(case.message.subject)
    known = case.facts.signed.get(token) if token else None
    if known is None or known.trace_id is None or not case.book.among(case.recipients, "catchall"):
        return None
    case.step("route_unsubscribe")
    return [Unsubscribed(known.trace_id)]


def _catchall(case: _Case) -> list[Outcome] | None:
    """Rule 5: the catchall collects replies and has no action of its own."""
    catchalls = case.book.among(case.recipients, "catchall")
    if not catchalls or case.aliases:
        case.step("route_no_catchall" if not catchalls else "route_catchall_and_alias")
        return None
    case.hits += [alias.id for alias in catchalls]
    instead = case.book.for_new_mail(domain_of(catchalls[0].address))
    code = "reject_catchall" if instead else "reject_catchall_only"
    reason = case.step(code, address=catchalls[0].address, instead=instead)
    return [Rejected(reason, "catchall", catchalls[0].id)]


def _aliases(case: _Case) -> list[Outcome] | None:
    """Rule 6: each alias decides independently."""
    aliases = case.aliases
    if case.forwarded_from is not None:
        aliases = [alias for alias in aliases if alias.type_id != case.forwarded_from.type_id]
    outcomes: list[Outcome] = []
    for alias in aliases:
        if alias.type_id is None and alias.fixed_thread_id is None:
            continue
        case.hits.append(alias.id)
        if alias.retired:
            case.step("route_alias_retired", address=alias.address)
        refusal = _refusal(case, alias, alias.fixed_thread_id)
        if refusal is not None:
            outcomes.append(refusal)
        elif alias.fixed_thread_id is not None:
            case.step("route_alias_fixed", address=alias.address, thread=alias.fixed_thread_id)
            outcomes.append(PostTo(alias.fixed_thread_id, alias.id, alias.make_contact, alias.follow_fixed))
        else:
            case.step("route_alias", address=alias.address)
            assert alias.type_id is not None
            outcomes.append(NewDocument(alias.type_id, alias.id, alias.make_contact))
    if not outcomes:
        case.step("route_no_alias")
        return None
    return outcomes


def _refusal(case: _Case, alias: AliasRule, thread_id: int | None) -> Rejected | None:
    """The rejection that the alias' policy asks for; None if the sender may write."""
    sender = case.sender
    target = f"alias:{alias.id}"
    if alias.policy == "users" and sender.user_id is None:
        code = "reject_users"
    elif alias.policy == "contacts" and sender.contact_id is None and sender.user_id is None:
        code = "reject_contacts"
    elif alias.policy == "followers":
        asked = thread_id if thread_id is not None else alias.parent_thread_id
        if asked is None:
            reason = case.step("reject_followers_of_nothing", address=alias.address)
            return Rejected(reason, target, alias.id, alias.refusal, misconfigured=True)
        if asked in sender.follows:
            return None
        code = "reject_followers"
    else:
        return None
    return Rejected(case.step(code, address=alias.address), target, alias.id, alias.refusal)


def _server_action(case: _Case) -> list[Outcome] | None:
    """Rule 7."""
    if case.facts.action_type_id is None:
        case.step("route_no_action")
        return None
    case.step("route_action")
    return [NewDocument(case.facts.action_type_id)]


def _nobody(case: _Case) -> list[Outcome] | None:
    """Rule 8."""
    strangers = [address for address in case.recipients if case.book.find(address) is None]
    unknown = next((address for address in strangers if domain_of(address) in case.book.domains), "")
    if unknown:
        return [Quarantined(case.step("route_unknown_address", address=unknown), unknown)]
    former = next((address for address in strangers if domain_of(address) in case.book.former_domains), "")
    if former:
        return [Quarantined(case.step("route_former_domain", address=former, domain=domain_of(former)))]
    return [Quarantined(case.step("route_nobody"))]


RULES: tuple[Callable[[_Case], list[Outcome] | None], ...] = (
    _self_test,
    _own_mail,
    _too_much,
    _plus_test,
    _answer_to_rejection,
    _aggregate,
    _report,
    _unsubscribe,
    _automatic_answer,
    _reply,
    _catchall,
    _aliases,
    _server_action,
    _nobody,
)


# --- each destination once, the loop brake, the answer


def _each_once(case: _Case, outcomes: list[Outcome]) -> Routing:
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
    if case.not_checked and is_seen:
        case.step("route_not_checked", address=case.asked.sender)
    answer = may_answer(case.message, case.facts)
    braked = tuple(_brake(case, outcome, answer) for outcome in left)
    is_rejected = any(isinstance(outcome, Rejected) for outcome in braked)
    if is_rejected and answer.why_not is not None:
        case.steps.append(answer.why_not)
    hits = tuple(dict.fromkeys(case.hits))
    return Routing(braked, tuple(case.steps), hits, answer.address if is_rejected else "", case.not_checked)


def may_answer(message: IncomingMessage, facts: Facts) -> AnswerTo:
    """Return to whom the system may answer a mail, as far as its own answers of late allow."""
    answer = answer_to(message, facts.book)
    if answer.why_not is None and facts.answers_left <= 0:
        return AnswerTo(why_not=why("unanswered_hour", limit=ANSWERS_AN_HOUR))
    if answer.why_not is None and 0 < facts.loop_threshold <= facts.answers_to_sender:
        return AnswerTo(why_not=why("unanswered_often", n=facts.answers_to_sender))
    return answer


def _brake(case: _Case, outcome: Outcome, answer: AnswerTo) -> Outcome:
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
    reason = case.step("reject_loop", n=count, limit=facts.loop_threshold, minutes=facts.loop_minutes)
    if outcome.target not in facts.told and answer.why_not is None:
        return Rejected(reason, outcome.target, getattr(outcome, "alias_id", None))
    return Quarantined(case.step("route_loop_held", sender=sender or "–"), held=outcome.target)

"""Where a mail goes: a pure decision over what the mail says and what the office knows, with its steps as values.

``facts.look_up`` says what must be known, the flow fills a ``Facts`` with few queries, ``route`` decides. The rules
stand in one table, in the order of incoming.md 5; the first that takes the mail ends the routing. What was decided
before by the same mail to the same destination is taken out last, so that each destination has a mail once.
"""

from collections.abc import Callable
from dataclasses import replace

from mail.decide.aggregate_rule import aggregate_outcome
from mail.decide.destinations import each_once, may_answer
from mail.decide.domains import fits_alias
from mail.decide.facts import (
    AliasRule,
    Facts,
    KnownMessage,
    LookUp,
    bounce_aliases,
    bounce_token,
    of_mailbox,
    unsubscribe_token,
)
from mail.decide.forwarding import forwarding_request
from mail.decide.outcomes import (
    AutoNote,
    Bounced,
    Duplicate,
    ForwardingAsked,
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
from mail.decide.reply import answers_itself
from mail.decide.reported import About
from mail.decide.routing_case import RoutingCase
from mail.decide.self_test_mails import came_back
from mail.decide.verp import PLUS_TEST
from mail.message.absence import is_absence_text
from mail.message.address import domain_of, local_part
from mail.message.parse import IncomingMessage

# --- the rules


def route(message: IncomingMessage, asked: LookUp, facts: Facts) -> Routing:
    """Return where a mail goes, by the rules of incoming.md 5, with every step in its order.

    ``asked`` is what ``look_up`` said of the mail, ``facts`` what was found out.
    """
    case = RoutingCase(message, asked, facts)
    decided = (rule(case) for rule in RULES)
    outcomes = next(found for found in decided if found is not None)  # the last rule takes every mail
    return each_once(case, [*case.marks, *outcomes])


def _self_test(case: RoutingCase) -> list[Outcome] | None:
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


def _arrival_test(case: RoutingCase) -> list[Outcome] | None:
    """Somebody tries whether what is handed to our listener arrives."""
    return [Ignored(case.step("route_listener_test"))] if case.message.own_id in case.facts.arrivals else None


def _own_mail(case: RoutingCase) -> list[Outcome] | None:
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


def _too_much(case: RoutingCase) -> list[Outcome] | None:
    """Beyond the limits of the parser: a person looks at it."""
    if case.message.too_much is None:
        return None
    case.steps.append(case.message.too_much)
    return [Quarantined(case.message.too_much)]


def _plus_test(case: RoutingCase) -> list[Outcome] | None:
    """Somebody tries whether addresses with a plus arrive, as unique bounce addresses would have to."""
    tests = [address for address in case.recipients if local_part(address).endswith(PLUS_TEST)]
    tried = [address for address in tests if case.book.among([address], "bounce")]
    named = {*case.message.to, *case.message.cc}
    others = [address for address in case.recipients if address not in tried]
    if not tried or any(address in named or _is_another(case, address) for address in others):
        return None  # it has another purpose, and may be the copy that came to another address
    case.hits += [alias.id for alias in case.book.among(tried, "bounce")]
    return [Ignored(case.step("route_plus_works", address=tried[0]))]


def _is_another(case: RoutingCase, address: str) -> bool:
    """Say whether an address that the envelope left behind is more than the name of a mailbox of ours."""
    alias = case.book.find(address)
    return alias is not None and alias.role != "bounce"


def _answer_to_rejection(case: RoutingCase) -> list[Outcome] | None:
    """Rule 1."""
    ids = [*case.message.references, case.message.loop_tag or ""]
    found = next((id for id in ids if id in case.facts.rejections), None)
    if found is None:
        case.step("route_no_own_answer")
        return None
    return [Ignored(case.step("route_own_answer", id=found))]


def _aggregate(case: RoutingCase) -> list[Outcome] | None:
    """A DMARC report, wherever it was sent: some are for the bounce address."""
    found = aggregate_outcome(case.message, case.asked.aggregate, case.facts)
    if found is None:
        return None
    case.steps += found[0]
    return [found[1]]


def _forwarding(case: RoutingCase) -> list[Outcome] | None:
    """A provider asks to confirm that mail is forwarded to us. No report, but one that names nobody may be one."""
    if case.report is not None and case.report.about is not About.UNREADABLE:
        return None
    found = forwarding_request(case.message, case.facts.checked_by)
    if found is None:
        return None
    case.steps.append(found.reason)
    written_to = (case.book.find(address) for address in case.recipients)
    case.hits += [alias.id for alias in written_to if alias is not None]
    return [ForwardingAsked(found)]


def _report(case: RoutingCase) -> list[Outcome] | None:
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
    case.steps += report.problems
    bounced = Bounced(report, about, token)
    return [bounced, *_challenge_shown(case, bounced)]


def _challenge_shown(case: RoutingCase, bounced: Bounced) -> list[Outcome]:
    """Somebody has to do what a challenge asks, or its reader gets nothing: it is a note in its thread as well."""
    if bounced.report.about is not About.CHALLENGE:
        return []
    known = bounced.about or case.facts.signed.get(bounced.token) or case.answered()
    if known is None or known.thread_id is None:
        return []
    case.step("route_auto_reply_noted", thread=known.thread_id)
    return [AutoNote(known.thread_id, known.post_id)]


def _automatic_answer(case: RoutingCase) -> list[Outcome] | None:
    """Rule 3."""
    message = case.message
    if not (message.is_auto_reply or (message.return_path == "" and _is_by_nobody(message, case))):
        case.step("route_no_auto_reply")
        return None
    known = case.answered() or case.facts.signed.get(bounce_token(message, case.book))
    if known is None or known.thread_id is None:
        return [Ignored(case.step("route_auto_reply_ignored"))]
    case.step("route_auto_reply_noted", thread=known.thread_id)
    return [AutoNote(known.thread_id, known.post_id)]


def _is_by_nobody(message: IncomingMessage, case: RoutingCase) -> bool:
    """Say whether what has no envelope sender is the answer of a program, though no header says so."""
    if bounce_aliases(message, case.book):
        return True
    return bool(message.references) and (message.is_generated or is_absence_text(message.text))


def _reply(case: RoutingCase) -> list[Outcome] | None:
    """Rule 4."""
    known = case.answered()
    if known is None:
        case.step("route_no_thread", n=len(case.message.references))
        return None
    trace_id = case.answered_trace()
    if trace_id is not None:
        case.step("route_mailing_answered")
        case.marks.append(Replied(trace_id))
    if known.thread_id is None:
        if trace_id is None:
            case.step("route_thread_gone")
        return None
    written_to = case.book.among([*case.message.to, *case.message.resent_to])
    others = [alias for alias in written_to if alias.opens_something and alias.type_id != known.type_id]
    also = {alias: case.answered_too(alias) for alias in others}
    forwards = [alias for alias in others if also[alias] is None]
    if forwards:
        case.step("route_forward", addresses=", ".join(alias.address for alias in forwards))
        case.forwarded_from = known
        return None
    threads = dict.fromkeys([known, *filter(None, also.values())])
    return [_reply_in(case, one) for one in threads]


def _reply_in(case: RoutingCase, known: KnownMessage) -> Outcome:
    """The post in one thread, or the rejection by the aliases of its type."""
    assert known.thread_id is not None
    own = [alias for alias in case.aliases if alias.type_id == known.type_id]
    case.hits += [alias.id for alias in own]
    case.step("route_reply", thread=known.thread_id)
    refusals = [refusal for alias in own if (refusal := _refusal(case, alias, known.thread_id)) is not None]
    if refusals and len(refusals) == len(own):
        return replace(refusals[0], target=f"thread:{known.thread_id}")
    case.hits += [alias.id for alias in case.book.among(case.recipients, "catchall")]
    from_outside = known.is_note and case.sender.user_id is None
    if from_outside:
        case.step("route_note_from_outside")
    return Reply(known.thread_id, known.post_id, known.is_note, from_outside)


def _unsubscribe(case: RoutingCase) -> list[Outcome] | None:
    """A mail to the catchall that our List-Unsubscribe header asked for; a program may have sent it automatically."""
    token = unsubscribe_token(case.message.subject)
    known = case.facts.signed.get(token) if token else None
    if known is None or known.trace_id is None or not case.book.among(case.recipients, "catchall"):
        return None
    case.step("route_unsubscribe")
    return [Unsubscribed(known.trace_id)]


def _catchall(case: RoutingCase) -> list[Outcome] | None:
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


def _aliases(case: RoutingCase) -> list[Outcome] | None:
    """Rule 6: each alias decides independently."""
    aliases = case.aliases or _of_mailbox(case)
    if case.forwarded_from is not None:
        aliases = [alias for alias in aliases if alias.type_id != case.forwarded_from.type_id]
    outcomes: list[Outcome] = []
    for alias in aliases:
        if not alias.opens_something:
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


def _of_mailbox(case: RoutingCase) -> list[AliasRule]:
    """The recipient of last resort of a mail that names no alias."""
    found = of_mailbox(case.message, case.book, case.facts.mailbox)
    for alias in found:
        case.step("route_mailbox", address=alias.address)
    return found


def _refusal(case: RoutingCase, alias: AliasRule, thread_id: int | None) -> Rejected | None:
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


def _server_action(case: RoutingCase) -> list[Outcome] | None:
    """Rule 7."""
    if case.facts.action_type_id is None:
        case.step("route_no_action")
        return None
    case.step("route_action")
    return [NewDocument(case.facts.action_type_id)]


def _nobody(case: RoutingCase) -> list[Outcome] | None:
    """Rule 8."""
    strangers = [address for address in case.recipients if case.book.find(address) is None]
    ours = (address for address in strangers if domain_of(address) in case.book.domains)
    unknown = next((address for address in ours if "+" in address or address not in case.book), "")
    if unknown:
        return [_unknown(case, unknown)]
    own = next((address for address in strangers if address in case.book), "")
    if own:
        return [Quarantined(case.step("route_own_sender", address=own))]
    former = next((address for address in strangers if domain_of(address) in case.book.former_domains), "")
    if former:
        return [Quarantined(case.step("route_former_domain", address=former, domain=domain_of(former)))]
    if bounce := case.book.among(case.recipients, "bounce"):
        return [Quarantined(case.step("route_bounce_address", address=bounce[0].address))]
    return [Quarantined(case.step("route_nobody"))]


def _unknown(case: RoutingCase, address: str) -> Rejected | Quarantined:
    """What becomes of a mail to an address of ours that nobody has."""
    code = "route_unknown_address" if fits_alias(local_part(address)) else "route_unfit_address"
    reason = case.step(code, address=address)
    if not case.facts.answers_unknown or may_answer(case.message, case.facts).why_not is not None:
        return Quarantined(reason, address)
    instead = case.book.for_new_mail(domain_of(address))
    code = "reject_unknown" if instead else "reject_unknown_only"
    return Rejected(case.step(code, address=address, instead=instead), "unknown")


RULES: tuple[Callable[[RoutingCase], list[Outcome] | None], ...] = (
    _self_test,
    _arrival_test,
    _own_mail,
    _too_much,
    _plus_test,
    _answer_to_rejection,
    _aggregate,
    _forwarding,
    _report,
    _unsubscribe,
    _automatic_answer,
    _reply,
    _catchall,
    _aliases,
    _server_action,
    _nobody,
)

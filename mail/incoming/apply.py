"""What was decided about a group of received mails is written down: documents, posts, followers, answers, the ledger.

All of it in the caller's transaction, with one statement for each kind of row, however many mails. The mails that tell
followers and senders were composed before it began: ``prepare``.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import select

from mail.decide.outcomes import (
    Aggregate,
    AutoNote,
    Bounced,
    ForwardingAsked,
    NewDocument,
    PostTo,
    Replied,
    Reply,
    SelfTested,
    Unsubscribed,
)
from mail.decide.reply import in_thread_order
from mail.documents import contacts, notify
from mail.documents.documents import DocumentDraft, foresee, open_documents
from mail.documents.notify import PostNotification, ReadyNotification, relayed_references
from mail.documents.posts import add_posts, follow_all
from mail.documents.threads import PostDraft, ThreadView
from mail.incoming import aggregates, answers, forwarding, ledger, named, reports, self_test
from mail.incoming.case import Case, storable
from mail.incoming.lookup import RoutingContext
from mail.incoming.people import Author, authors
from mail.mailing import traces
from mail.message.address import Address
from mail.message.addressed import addressed
from mail.outgoing import failures
from mail.outgoing.enqueue import ReadyMail
from mail.sentences import Why, why
from models import Event, ReceivedMail, db


@dataclass
class Placed:
    """One mail at one destination: the post it becomes there, and the document if it opens one."""

    case: Case
    outcome: NewDocument | PostTo | Reply | AutoNote
    place: ThreadView
    post: PostDraft
    document: DocumentDraft | None = None


@dataclass
class ReadyGroup:
    """Mails that can be written down: where each goes, who is told of it there, and the answers to their senders."""

    cases: Sequence[Case]
    placed: list[tuple[Placed, ReadyNotification]]
    answers: dict[int, ReadyMail]


def prepare(cases: Sequence[Case], context: RoutingContext, now: datetime) -> ReadyGroup:
    """Make ready what was decided about these mails: before the transaction, for it takes time."""
    placed = [_place(case, outcome, context) for case in cases for outcome in case.routing.outcomes
              if isinstance(outcome, NewDocument | PostTo | Reply | AutoNote)]  # fmt: skip
    foresee([one.document for one in placed if one.document])
    told = notify.prepare([_notification(one, context) for one in placed], now)
    return ReadyGroup(cases, list(zip(placed, told, strict=True)), answers.prepare(cases, context, now))


class Written(NamedTuple):
    """What is to be done after the commit: ``queued`` emails are to be sent, ``unwanted`` contents to be deleted."""

    queued: bool = False
    unwanted: Collection[int] = ()


def write(group: ReadyGroup, context: RoutingContext, now: datetime, state: str) -> Written:
    """Write down what was decided about these mails; return what is left to do after the commit, by the caller.

    Mails that are no longer in ``state``, because another worker took them, are left to it. An exception means that
    nothing of the group may stay; after ``NumberTaken`` it is to be prepared again.
    """
    cases = group.cases = _still_waiting(group.cases, state)
    if not cases:
        return Written()
    context = replace(context, authors=dict(context.authors), made=set(context.made))  # with contacts that may not stay
    _make_contacts(cases, context, now)
    waiting = {case.id for case in cases}
    placed = [one for one, _ in group.placed if one.case.id in waiting]
    for one in placed:
        _name_people(one, context)
    open_documents([one.document for one in placed if one.document], now)
    for one in placed:
        one.post.thread_id, one.post.has_root = one.place.thread_id, one.place.root_message_id is not None
    add_posts([one.post for one in placed], now)
    follow_all(_welcomed(placed, context))
    queued = notify.notify([told for one, told in group.placed if one.case.id in waiting], now)
    queued |= answers.send(cases, group.answers, now)
    named.tell_rejected(cases, context, now)
    _record_reports(cases, now)
    failures.heard_from({case.sender for case in cases if case.sender and _by_person(case)})
    posts = {(one.case.id, one.outcome.target): (one.post.id, one.place.document_id) for one in placed}
    ledger.note_results(cases, posts)
    ledger.note_aliases(cases, now)
    unwanted = ledger.close(cases, now)
    Event.add(["incoming"], now)
    return Written(queued, unwanted)


def _still_waiting(cases: Sequence[Case], state: str) -> list[Case]:
    rows = db.session.scalars(
        select(ReceivedMail.id)
        .where(ReceivedMail.id.in_([case.id for case in cases]), ReceivedMail.state == state)
        .order_by(ReceivedMail.id)
        .with_for_update()
    )
    waiting = set(rows)
    return [case for case in cases if case.id in waiting]


def _record_reports(cases: Sequence[Case], now: datetime) -> None:
    for case in cases:
        for outcome in case.routing.outcomes:
            if isinstance(outcome, Bounced):
                reports.record(outcome, case.id, now)
            elif isinstance(outcome, SelfTested):
                self_test.note(outcome, case)
            elif isinstance(outcome, ForwardingAsked):
                forwarding.tell(outcome.request, case.id, now)
            elif isinstance(outcome, Aggregate):
                aggregates.keep(outcome, case.id, now)
            elif isinstance(outcome, Replied):
                traces.mark_replied(outcome.trace_id, now)
            elif isinstance(outcome, Unsubscribed):
                traces.unsubscribe(outcome.trace_id, "mail", now)


# --- who wrote it


def _make_contacts(cases: Sequence[Case], context: RoutingContext, now: datetime) -> None:
    """Make contacts of unknown people where an alias wants it: who wrote, and whom the answers go to."""
    wanted: dict[str, Address] = {}
    for case in cases:
        makes = any(
            isinstance(outcome, NewDocument | PostTo) and outcome.make_contact for outcome in case.routing.outcomes
        )
        found = case.asked.authorship
        for person in (found.author, found.answer_to) if makes else ():
            if person is not None and person.key not in context.authors and person.key not in context.book:
                wanted.setdefault(person.key, Address(storable(person.name), storable(person.address)))
    if not wanted:
        return
    for row in contacts.make(wanted.values(), now):
        context.authors[row.address_key] = Author(row.id, row.name, True, None)
    missing = wanted.keys() - context.authors.keys()
    if missing:  # another transaction was quicker
        context.authors |= authors(missing)
    context.made |= wanted.keys()


def _correspondent(one: Placed, context: RoutingContext) -> int | None:
    """The contact that answers go to, where the alias wants it: one that was made for another alias does not count."""
    found = context.correspondent_of(one.case)
    is_new = not context.made.isdisjoint((one.case.asked.author, one.case.asked.answer_to))
    makes = isinstance(one.outcome, NewDocument | PostTo) and one.outcome.make_contact
    return found.contact_id if found is not None and (makes or not is_new) else None


def _by_person(case: Case) -> bool:
    message = case.message
    is_report = any(isinstance(outcome, Bounced | Aggregate) for outcome in case.routing.outcomes)
    return not is_report and not message.is_auto_reply and message.auto_submitted == "no"


# --- what it becomes


def _place(case: Case, outcome: NewDocument | PostTo | Reply | AutoNote, context: RoutingContext) -> Placed:
    """Return where a mail goes, a thread that is there or a new document, and the post that it becomes there."""
    post = _post(case, outcome, context)
    if not isinstance(outcome, NewDocument):
        place = context.thread_views.get(outcome.thread_id)
        if place is None:
            raise LookupError(f"thread {outcome.thread_id} is gone")
        return Placed(case, outcome, place, post)
    document = _document(case, outcome, context)
    return Placed(case, outcome, document.place, post, document)


def _name_people(one: Placed, context: RoutingContext) -> None:
    """Fill in the contacts of a mail's author and of whom answers go to: some were made just now."""
    author = context.author_of(one.case.asked.author)
    one.post.author_contact_id = author.contact_id if author else None
    if one.document is not None:
        one.document.contact_id = one.post.author_contact_id
        correspondent = _correspondent(one, context)
        if correspondent is not None:
            one.document.followers[correspondent] = _why_follows(one, correspondent, "follow_author")


def _why_follows(one: Placed, contact_id: int, wrote: str) -> Why:
    """Why somebody follows because of a mail: they wrote it, or its writer asked that they get the replies."""
    return why(wrote if contact_id == one.post.author_contact_id else "follow_reply_to")


def _post(case: Case, outcome: NewDocument | PostTo | Reply | AutoNote, context: RoutingContext) -> PostDraft:
    message = case.message
    author = context.author_of(case.asked.author)
    kind = "message"
    if isinstance(outcome, AutoNote):
        kind = "auto"
    elif isinstance(outcome, Reply) and outcome.is_note:
        kind = "note"
    return PostDraft(
        0,
        kind,
        message.date,
        html=case.html,
        text=message.text,
        has_text=message.has_text,
        subject=storable(message.subject),
        fold=case.fold,
        author_contact_id=author.contact_id if author else None,
        author_address=case.author_text,
        files=case.files,
        message_id=storable(message.message_id) if message.message_id else None,
        message_key=case.key,
        parent_id=outcome.parent_post_id if isinstance(outcome, Reply | AutoNote) else None,
        received_mail_id=case.id,
        why=case.asked.authorship.reason,
        mark=_mark(case, outcome),
        mark_why=case.routing.mark_why,
        sealed=_sealed(case),
        addressed=_addressed(case),
    )


def _addressed(case: Case) -> dict[str, Any] | None:
    message = case.message
    authors = message.raw_header("from") if message.from_header.count("@") > 1 else ""
    if not (message.cc or len(message.to) > 1 or authors):
        return None
    named = addressed(message.raw_header("to"), message.raw_header("cc"), authors)
    return named and named | {header: [storable(one) for one in named[header]] for header in ("to", "cc")}


def _mark(case: Case, outcome: NewDocument | PostTo | Reply | AutoNote) -> str:
    """What the reader of a post must know of its sender before anything else."""
    if case.routing.is_doubted:
        return case.routing.mark
    return "from_outside" if isinstance(outcome, Reply) and outcome.from_outside else case.routing.mark


def _sealed(case: Case) -> str:
    """Whether a mail needs a key to be read, or has a signature: nobody checks it, so it proves nothing."""
    problems = {problem["code"] for problem in case.message.problems}
    if "parse_encrypted" in problems:
        return "encrypted"
    return "signed" if "parse_signature_not_checked" in problems else ""


def _document(case: Case, outcome: NewDocument, context: RoutingContext) -> DocumentDraft:
    alias = context.openings.get(outcome.alias_id or 0)
    message_id = case.message.message_id
    return DocumentDraft(
        context.types[outcome.type_id],
        storable(case.message.subject).strip() or case.author_text,
        sender=case.author_text,
        responsible=context.users.get(alias.responsible_id) if alias else None,
        defaults=alias.defaults if alias else {},
        origin_key=hashlib.sha256(f"{case.key} {outcome.target}".encode()).hexdigest(),
        root_message_id=storable(message_id)[:1000] if message_id else None,
    )


# --- who hears of it


def _welcomed(placed: Sequence[Placed], context: RoutingContext) -> list[tuple[int, int, Why]]:
    """Who follows a fixed document from now on, because its alias says so."""
    found = []
    for one in placed:
        if isinstance(one.outcome, PostTo) and one.outcome.follow:
            contact_id = _correspondent(one, context)
            if contact_id is not None and not one.place.follows(contact_id):
                found.append((one.place.thread_id, contact_id, _why_follows(one, contact_id, "follow_wrote")))
    return found


def _notification(one: Placed, context: RoutingContext) -> PostNotification:
    """The relay of a post: to the followers who do not have it yet, and to those in whose name it claims to come."""
    message, asked = one.case.message, one.case.asked
    notes: set[str] = set()
    if one.post.kind == "message":
        notes = {id for id in asked.ids if context.ids.is_note(id)}
    return PostNotification(
        one.post,
        one.place,
        skip_addresses={asked.sender, asked.author, asked.answer_to, *message.to, *message.cc, *message.resent_to},
        references=relayed_references(one.place.root_message_id, in_thread_order(message), notes),
        named=named.users_named(one.case, context) if one.case.routing.is_doubted else (),
    )

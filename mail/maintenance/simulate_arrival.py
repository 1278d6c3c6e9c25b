"""What if: what would become of an email that arrived now, by the very functions that decide about real ones.

Nothing is stored and nothing is sent: the flow's own steps, up to the one that writes.
"""

import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from email.utils import format_datetime
from typing import Any

from sqlalchemy import select

from mail.decide.outcomes import (
    Aggregate,
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
    SelfTested,
    Unsubscribed,
)
from mail.decide.routing import route
from mail.documents.notify import ReadyNotification, mark_reasons
from mail.documents.threads import FollowerView
from mail.incoming import apply, reports
from mail.incoming.apply import Placed
from mail.incoming.case import Case, Retention, failure_of, read_case
from mail.incoming.lookup import RoutingContext, load_context, load_threads
from mail.incoming.quarantine_groups import PROBLEMS
from mail.incoming.reader import TakesLong, is_heavy
from mail.incoming.retention import retention_of_others
from mail.sentences import Why, say, why
from models import Blob, IncomingServer, Mailing, ReceivedMail, Trace, db, reading
from models.faults import keeps_waiting


@dataclass(frozen=True, slots=True)
class GivenMail:
    """An email to simulate: its bytes, or only what its header would say. ``server_id``: who would fetch it.

    ``envelope_to`` (several are separated by commas) and ``envelope_from`` ("<>" for none) are what a mail server says
    beside the header. ``received_id``: the row of the ledger, if it has arrived already. ``is_waiting``: it is in
    quarantine, where it is not new: what it did before counts. ``released``: the place at which it may pass the loop
    brake. ``source``: how it came, if no server fetched it.
    """

    raw: bytes = b""
    sender: str = ""
    to: str = ""
    subject: str = ""
    in_reply_to: str = ""
    envelope_to: str = ""
    envelope_from: str = ""
    server_id: int | None = None
    received_id: int | None = None
    is_waiting: bool = False
    released: str = ""
    source: str = "pasted"

    @property
    def is_empty(self) -> bool:
        return not self.raw.strip() and not self.sender.strip() and not self.to.strip()


@dataclass(frozen=True, slots=True)
class ToldPerson:
    """Somebody who would hear of it ("mail", "inbox"), or would not (""), and why."""

    name: str
    address: str
    channel: str
    why: Why


@dataclass(frozen=True, slots=True)
class Consequence:
    """What would become of it at one destination."""

    words: tuple[Why, ...]
    document_id: int | None = None
    told: tuple[ToldPerson, ...] = ()
    left_out: tuple[ToldPerson, ...] = ()


@dataclass(frozen=True, slots=True)
class SimulatedArrival:
    """What would become of an email, and why; ``problem``: why nothing can be said."""

    state: str = ""
    result: str = ""
    sender: str = ""
    author: str = ""
    recipients: tuple[str, ...] = ()
    subject: str = ""
    in_reply_to: str = ""
    envelope_from: str = ""
    steps: tuple[Why, ...] = ()
    consequences: tuple[Consequence, ...] = ()
    answer_to: str = ""
    answer: str = ""
    problem: Why | None = None


def simulate_arrival(given: GivenMail, now: datetime) -> SimulatedArrival:
    """Return what would become of an email if it arrived now; nothing is stored, nothing is sent."""
    if given.is_empty:
        return SimulatedArrival(problem=why("arrival_nothing_given"))
    with reading():
        server = db.session.get(IncomingServer, given.server_id) if given.server_id else None
        keeps = Retention.of(server) if server is not None else retention_of_others(given.source)
    try:
        case = read_case(given.received_id or 0, _raw(given, now), keeps, now, now, hurry=True)
        case.released = given.released
        with reading():
            return _simulated(case, given, now)
    except TakesLong:
        return SimulatedArrival(problem=why("arrival_takes_long"))
    except Exception as error:  # what can't be processed goes to quarantine
        if keeps_waiting(error):
            raise
        return SimulatedArrival(
            "quarantined", steps=(failure_of(error),), consequences=(Consequence((why("arrival_quarantined"),)),)
        )


def given_from_ledger(received_id: int) -> GivenMail | None:
    """Return a received email as one to simulate, with the server that fetched it; None if its bytes are gone."""
    row = db.session.get(ReceivedMail, received_id)
    if row is None or row.blob_id is None:
        return None
    return GivenMail(
        Blob.read(row.blob_id),
        server_id=row.incoming_server_id,
        received_id=row.id,
        is_waiting=row.state == "quarantined",
        released=row.held if row.state == "quarantined" else "",
        source=row.source,
    )


def foretold(received_id: int, now: datetime) -> list[Why]:
    """Return what would become of an email in quarantine by the rules as they are now; [] if that takes long to say."""
    row = db.session.get(ReceivedMail, received_id)
    codes = {step["code"] for step in (row.decision or [] if row is not None else [])}
    given = given_from_ledger(received_id)
    if given is None or codes & set(PROBLEMS) or is_heavy(given.raw):
        return []
    return [reason for one in simulate_arrival(given, now).consequences for reason in one.words]


def _raw(given: GivenMail, now: datetime) -> bytes:
    """The bytes of an email as a mail server hands it over: what the envelope says stands above its header."""
    above = [f"Return-Path: {_line(given.envelope_from)}"] if given.envelope_from.strip() else []
    above += [f"Delivered-To: {_line(one)}" for one in given.envelope_to.split(",") if one.strip()]
    if given.received_id is not None:
        return given.raw
    if given.raw.strip():
        return "".join(f"{line}\r\n" for line in above).encode() + given.raw.lstrip()
    fields = {"From": given.sender, "To": given.to, "Subject": given.subject, "In-Reply-To": given.in_reply_to}
    lines = [*above, *(f"{name}: {_line(value)}" for name, value in fields.items() if value.strip())]
    lines += [f"Date: {format_datetime(now)}", f"Message-ID: <{secrets.token_hex(8)}@simulator.invalid>", "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape")


def _line(text: str) -> str:
    return " ".join(text.split())


def _simulated(case: Case, given: GivenMail, now: datetime) -> SimulatedArrival:
    context = load_context([case], now, but=0 if given.is_waiting else case.id)
    case.routing = routing = route(case.message, case.asked, context.facts(case))
    load_threads(context, [routing])
    ready = apply.prepare([case], context, now)
    placed = {one.outcome.target: (one, told) for one, told in ready.placed}
    message = case.message
    rejections = [outcome for outcome in routing.outcomes if isinstance(outcome, Rejected)]
    return SimulatedArrival(
        state=routing.state,
        result=routing.result,
        sender=case.from_text,
        author=case.author_text,
        recipients=tuple(message.recipients),
        subject=message.subject,
        in_reply_to=" ".join(message.references),
        envelope_from="<>" if message.return_path == "" else message.return_path or "",
        steps=(*message.problems, *routing.steps),
        consequences=tuple(_consequence(outcome, case, context, placed) for outcome in routing.outcomes),
        answer_to=routing.answer_to,
        answer="\n\n".join(dict.fromkeys(one.text.strip() or say(one.reason) for one in rejections))
        if routing.answer_to
        else "",
    )


# --- what would become of it


Destinations = dict[str, tuple[Placed, ReadyNotification]]


def _consequence(outcome: Outcome, case: Case, context: RoutingContext, placed: Destinations) -> Consequence:
    match outcome:
        case NewDocument() | PostTo() | Reply() | AutoNote():
            return _at_document(*placed[outcome.target], case, context)
        case Bounced(report):
            told = [why(f"arrival_{kind}", address=address) for address, kind in reports.would_blame(outcome)]
            is_about = why("arrival_report", kind=report.about.value)
            return Consequence((is_about, *(told or [why("arrival_report_blames_nobody")])))
        case Aggregate(report):
            return Consequence((why("arrival_aggregate", domain=report.domain),))
        case ForwardingAsked():
            return Consequence((why("arrival_forwarding_doubted" if outcome.is_doubted else "arrival_forwarding"),))
        case Replied(trace_id):
            return Consequence((why("arrival_replied", mailing=_mailing(trace_id)),))
        case Unsubscribed(trace_id):
            return Consequence((why("arrival_unsubscribed", mailing=_mailing(trace_id)),))
        case Rejected():
            address = case.routing.answer_to
            return Consequence((why("arrival_rejected", address=address) if address else
                                why("arrival_refused_silently"),))  # fmt: skip
        case Quarantined(_, _, held):
            return Consequence((why("arrival_held" if held else "arrival_quarantined"),))
        case SelfTested():
            return Consequence((why("arrival_self_test"),))
        case Duplicate():
            return Consequence((why("arrival_duplicate"),))
        case Ignored():
            return Consequence((why("arrival_ignored"),))


def _mailing(trace_id: int) -> str:
    named = select(Mailing.subject).join(Trace, Trace.mailing_id == Mailing.id).where(Trace.id == trace_id)
    return db.session.scalar(named) or "–"


def _at_document(one: Placed, ready: ReadyNotification, case: Case, context: RoutingContext) -> Consequence:
    """What a document gets, and who hears of it."""
    place, outcome = one.place, one.outcome
    document = " ".join(part for part in (place.number, place.title) if part) or "–"
    if isinstance(outcome, NewDocument):
        words = [why("arrival_document", type=place.type_name, title=place.title)]
    else:
        words = [why(_PLACED[one.post.kind if not isinstance(outcome, PostTo) else "fixed"], document=document)]
    words += _further(one, case, context)
    told = tuple(_told(ready, place.followers, context))
    left_out = tuple(_left_out(one, ready)) if one.post.kind != "auto" else ()
    if not told and one.post.kind != "auto":
        words.append(why("arrival_told_nobody"))
    return Consequence(tuple(words), place.document_id, told, left_out)


_PLACED = {"auto": "arrival_auto_note", "note": "arrival_note", "message": "arrival_reply", "fixed": "arrival_post"}


def _further(one: Placed, case: Case, context: RoutingContext) -> Iterator[Why]:
    yield from mark_reasons(one.post.mark, case.author_text, one.post.mark_why)
    if isinstance(one.outcome, NewDocument | PostTo) and one.outcome.make_contact:
        found = case.asked.authorship
        people = {person.key: person for person in (found.author, found.answer_to) if person is not None}
        has_follower = context.correspondent_of(case) is not None
        for key, person in reversed(people.items()):
            if key not in context.authors and key not in context.book:
                yield why("arrival_contact_only" if has_follower else "arrival_contact", who=str(person))
                has_follower = True
    if one.document is not None and one.document.responsible is not None:
        yield why("arrival_responsible", who=one.document.responsible.name)
    files = [file for file in one.post.files if not file.cid]
    if files:
        yield why("arrival_files", n=len(files))
    if not case.keeps.attachments and case.message.attachments:
        yield why("arrival_no_files")


def _told(ready: ReadyNotification, followers: list[FollowerView], context: RoutingContext) -> Iterator[ToldPerson]:
    by_contact = {follower.contact_id: follower for follower in followers}
    by_user = {follower.user_id: follower for follower in followers if follower.user_id is not None}
    for to in ready.mail.recipients if ready.mail is not None else ():
        follower = by_contact.get(to.contact_id or 0)
        yield ToldPerson(to.name, to.address, "mail", follower.why if follower and follower.why else why("follows"))
    names = {person.user_id: person.name for person in context.authors.values()}
    for user_id in ready.inboxes:
        follower = by_user.get(user_id)
        if follower is not None:
            yield ToldPerson(follower.name, follower.address, "inbox", follower.why or why("follows"))
        else:
            yield ToldPerson(names.get(user_id, ""), "", "inbox", why("arrival_named"))


def _left_out(one: Placed, ready: ReadyNotification) -> Iterator[ToldPerson]:
    told = {to.contact_id for to in (ready.mail.recipients if ready.mail is not None else ())}
    inboxes = set(ready.inboxes)
    for follower in one.place.followers:
        if follower.contact_id not in told and follower.user_id not in inboxes:
            yield ToldPerson(follower.name, follower.address, "", why(_why_not(one, follower)))


def _why_not(one: Placed, follower: FollowerView) -> str:
    if not follower.active or (follower.user_id is not None and not follower.user_active):
        return "arrival_inactive"
    if follower.contact_id == one.post.author_contact_id:
        return "arrival_is_author"
    if one.post.kind == "note" and follower.user_id is None:
        return "arrival_inside_only"
    return "arrival_has_it" if follower.address_key else "arrival_no_address"


# --- for programs and for a terminal


def as_json(found: SimulatedArrival) -> dict[str, Any]:
    """Return it for JSON: each sentence with its code and values."""
    if found.problem is not None:
        return {"error": _said(found.problem)}
    told = asdict(found)
    del told["problem"]
    told["steps"] = [_said(step) for step in found.steps]
    told["consequences"] = [
        {
            "words": [_said(reason) for reason in one.words],
            "document_id": one.document_id,
            "told": [asdict(person) | {"why": _said(person.why)} for person in one.told],
            "left_out": [asdict(person) | {"why": _said(person.why)} for person in one.left_out],
        }
        for one in found.consequences
    ]
    return told


def _said(reason: Why) -> dict[str, Any]:
    return {**reason, "sentence": say(reason)}


def in_words(found: SimulatedArrival) -> list[str]:
    """Return it as lines of text."""
    if found.problem is not None:
        return [say(found.problem)]
    lines = [
        f"State:   {found.state}{f' ({found.result})' if found.result else ''}",
        f"From:    {found.sender or '-'}",
        f"To:      {', '.join(found.recipients) or '-'}",
        f"Subject: {found.subject or '-'}",
    ]
    for one in found.consequences:
        lines += [f"* {say(reason)}" for reason in one.words]
        for person in (*one.told, *one.left_out):
            way = {"mail": "by email", "inbox": "in the inbox"}.get(person.channel, "not notified")
            lines.append(f"  - {person.name or person.address} ({way}): {say(person.why)}")
    lines += [f"  > {line}" for line in found.answer.splitlines()]
    return lines + [f"{number}. {say(step)}" for number, step in enumerate(found.steps, 1)]

"""What was decided about a group of received mails is written down: documents, posts, followers, answers, the ledger.

All of it in the caller's transaction, with one statement for each kind of row, however many mails; the mails that tell
followers are composed here, everything else was prepared before the transaction began.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from flask_babel import gettext
from sqlalchemy import bindparam, delete, exists, select, update

from mail.decide.routing import (
    AutoNote,
    Bounced,
    NewDocument,
    PostTo,
    Rejected,
    Replied,
    Reply,
    Routing,
    Unsubscribed,
    answer_to,
)
from mail.documents import posts as documents_posts
from mail.documents.posts import PostNotification, ThreadView
from mail.incoming import reports
from mail.incoming.lookup import Author, RoutingContext, TypeInfo, authors, targets
from mail.mailing import traces
from mail.message.address import show_address
from mail.message.compose import File, clean_id
from mail.message.html import clean_html, fold_at
from mail.message.parse import LOOP_HEADER, IncomingMessage, parse
from mail.message.parts import Part
from mail.outgoing import enqueue, failures
from mail.outgoing.enqueue import OutgoingDraft, To
from mail.sentences import Why, say, why
from mail.settings import office
from mail.settings.tokens import TokenKind
from models import (
    Alias,
    Attachment,
    Blob,
    Contact,
    Document,
    DocumentType,
    Event,
    Follower,
    OutgoingMail,
    Post,
    PracticeMail,
    ReceivedMail,
    RouteResult,
    Thread,
    db,
)
from models.store import Packed, insert_rows, pack

MOST_REFERENCES = 12  # ids of a thread that a relayed mail repeats


@dataclass(frozen=True, slots=True)
class Retention:
    """What the incoming server of a mail says: its own action, and what is kept."""

    action_type_id: int | None = None
    attachments: bool = True
    original: bool = True


@dataclass
class Case:
    """A received mail on its way: read, then routed, then filed.

    ``arrived_at`` is when it reached its own server; ``key`` recognises its copies.
    """

    id: int
    keeps: Retention
    arrived_at: datetime
    message: IncomingMessage
    html: str
    fold: int | None
    files: list[Part]
    packed: list[Packed]
    key: str = ""
    routing: Routing = field(default_factory=lambda: Routing((), ()))

    @cached_property
    def sender(self) -> str:
        """The key of the sender's address, "" if there is none."""
        return self.message.from_key

    @cached_property
    def author_text(self) -> str:
        """The sender as the mail names it: "Name <address>"."""
        found = self.message.from_
        return storable(show_address(found.name, found.address) if found else self.message.from_header)[:400]


def read(
    id: int, raw: bytes, keeps: Retention, now: datetime, arrived_at: datetime, problem: Why | None = None
) -> Case:
    """Return a received mail as it is shown and searched: parsed, cleaned, folded, its files packed. Never raises."""
    message = parse(raw, now)
    message.too_much = message.too_much or problem
    html = storable(clean_html(message.html)) if message.html is not None else ""
    message.text = storable(message.text)
    fold = fold_at(html, is_html=True) if html else fold_at(message.text)
    files = [part for part in message.attachments if keeps.attachments or part.inline]
    return Case(id, keeps, arrived_at, message, html, fold, files, [pack(part.content) for part in files])


def storable(text: str) -> str:
    """Return text that every database takes: no NUL, no half characters."""
    if "\0" in text:
        text = text.replace("\0", "")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


# --- one group, one transaction


@dataclass
class _Placed:
    """One mail at one destination: the thread it goes to, and the post it becomes there."""

    case: Case
    outcome: NewDocument | PostTo | Reply | AutoNote
    place: ThreadView
    author: Author | None
    post_id: int = 0
    new_followers: dict[int, Why] = field(default_factory=dict)

    # What ``threads.notify`` asks of a post:
    @property
    def id(self) -> int:
        return self.post_id

    @property
    def thread_id(self) -> int:
        return self.place.thread_id

    @property
    def kind(self) -> str:
        if isinstance(self.outcome, AutoNote):
            return "auto"
        return "note" if isinstance(self.outcome, Reply) and self.outcome.is_note else "message"

    @property
    def author_contact_id(self) -> int | None:
        return self.author.contact_id if self.author else None

    @property
    def author_address(self) -> str:
        return self.case.author_text

    @property
    def subject(self) -> str:
        return storable(self.case.message.subject)[: documents_posts.LONGEST_SUBJECT]

    @property
    def html(self) -> str:
        return self.case.html

    @property
    def text(self) -> str:
        return self.case.message.text


def write(cases: Sequence[Case], context: RoutingContext, now: datetime) -> bool:
    """Write down what was decided about these mails; return whether something is to be sent. The caller commits.

    Mails that another worker has taken meanwhile are left to it. An exception means that nothing of the group may stay.
    """
    cases = _still_waiting(cases)
    if not cases:
        return False
    _make_contacts(cases, context, now)
    placed = _place(cases, context, now)
    _post(placed, now)
    _follow(placed)
    queued = _tell(placed, now)
    queued |= _answer(cases, context, now)
    for case in cases:
        for outcome in case.routing.outcomes:
            if isinstance(outcome, Bounced):
                reports.record(outcome, case.id, now)
            elif isinstance(outcome, Replied):
                traces.mark_replied(outcome.trace_id, now)
            elif isinstance(outcome, Unsubscribed):
                traces.unsubscribe(outcome.trace_id, "mail", now)
    failures.heard_from({case.sender for case in cases if case.sender and _by_person(case)})
    _note_results(cases, placed)
    _note_aliases(cases, now)
    _close(cases, now)
    topics = ["incoming"]
    for one in placed:
        topics.append(f"thread:{one.thread_id}")
        if isinstance(one.outcome, NewDocument):
            topics.append(f"documents:{one.outcome.type_id}")
    Event.add(topics, now)
    return queued


def _still_waiting(cases: Sequence[Case]) -> list[Case]:
    rows = db.session.scalars(
        select(ReceivedMail.id)
        .where(ReceivedMail.id.in_([case.id for case in cases]), ReceivedMail.state == "received")
        .order_by(ReceivedMail.id)
        .with_for_update()
    )
    waiting = set(rows)
    return [case for case in cases if case.id in waiting]


def _by_person(case: Case) -> bool:
    message = case.message
    is_report = any(isinstance(outcome, Bounced) for outcome in case.routing.outcomes)
    return not is_report and not message.is_auto_reply and message.auto_submitted == "no"


def _make_contacts(cases: Sequence[Case], context: RoutingContext, now: datetime) -> None:
    """Make contacts of unknown senders where an alias wants it. An archived contact is not revived."""
    wanted: dict[str, Case] = {}
    for case in cases:
        makes = any(
            isinstance(outcome, NewDocument | PostTo) and outcome.make_contact for outcome in case.routing.outcomes
        )
        if makes and case.sender and case.sender not in context.authors and case.sender not in context.book:
            wanted.setdefault(case.sender, case)
    if not wanted:
        return
    rows = []
    for key in sorted(wanted):
        found = wanted[key].message.from_
        name = storable(found.name if found else "")[:200]
        address = storable(found.address if found else key)[:320]
        rows.append({"name": name, "address": address, "address_key": key, "created_at": now, **_NEW_CONTACT})
    for row in insert_rows(Contact, rows, "id", "name", "address_key", skip_known=True):
        context.authors[row.address_key] = Author(row.id, row.name, True, None)
    missing = wanted.keys() - context.authors.keys()
    if missing:  # another transaction was quicker
        context.authors |= authors(missing)
    context.made |= wanted.keys()


_NEW_CONTACT = {"company": "", "language": "", "active": True}


# --- documents and places


def _place(cases: Sequence[Case], context: RoutingContext, now: datetime) -> list[_Placed]:
    """Return where each mail goes: threads that are there, and new documents, which are made here."""
    placed: list[_Placed] = []
    opening: list[_Placed] = []
    for case in cases:
        author = context.author_of(case.sender)
        for outcome in case.routing.outcomes:
            if isinstance(outcome, NewDocument):
                new = _Placed(case, outcome, _new_place(case, outcome, context), author)
                placed.append(new)
                opening.append(new)
            elif isinstance(outcome, PostTo | Reply | AutoNote):
                place = context.thread_views.get(outcome.thread_id)
                if place is None:
                    raise LookupError(f"thread {outcome.thread_id} is gone")
                placed.append(_Placed(case, outcome, place, author))
    _open(opening, context, now)
    return placed


def _new_place(case: Case, outcome: NewDocument, context: RoutingContext) -> ThreadView:
    info = context.types[outcome.type_id]
    root = storable(case.message.message_id)[:1000] if case.message.message_id else None
    place = ThreadView(0, root, type_id=info.id, type_name=info.name)
    opening = context.openings.get(outcome.alias_id or 0)
    title = str((opening.defaults.get("title") if opening else "") or case.message.subject or case.author_text)
    place.title = " ".join(storable(title).split())[: documents_posts.LONGEST_SUBJECT]
    return place


def _open(opening: Sequence[_Placed], context: RoutingContext, now: datetime) -> None:
    if not opening:
        return
    numbers = _take_numbers(Counter(one.outcome.type_id for one in opening), context.types)  # type: ignore[union-attr]
    new_threads = insert_rows(
        Thread, [{"root_message_id": one.place.root_message_id, "last_post_at": now} for one in opening],
        "id", "root_message_id",
    )  # fmt: skip
    thread_ids: dict[str | None, list[int]] = {}
    for made in sorted(new_threads, key=lambda made: -made.id):
        thread_ids.setdefault(made.root_message_id, []).append(made.id)
    rows = []
    by_origin: dict[str, _Placed] = {}
    for one in opening:
        outcome, place = one.outcome, one.place
        assert isinstance(outcome, NewDocument)
        alias = context.openings.get(outcome.alias_id or 0)
        defaults = alias.defaults if alias else {}
        responsible = (alias.responsible if alias else None) or context.users.get(_number(defaults, "responsible_id"))
        place.thread_id, place.number = thread_ids[place.root_message_id].pop(), numbers[outcome.type_id].pop(0)
        origin_key = hashlib.sha256(f"{one.case.key} {outcome.target}".encode()).hexdigest()
        by_origin[origin_key] = one
        if one.author is not None and (outcome.make_contact or one.case.sender not in context.made):
            one.new_followers[one.author.contact_id] = why("follow_author")
        if responsible is not None:
            place.followers.append(responsible)
            one.new_followers.setdefault(responsible.contact_id, why("follow_responsible"))
        rows.append(
            {
                "type_id": outcome.type_id,
                "number": place.number,
                "thread_id": place.thread_id,
                "title": place.title or place.number,
                "contact_id": one.author.contact_id if one.author else None,
                "sender": one.case.author_text,
                "responsible_id": responsible.user_id if responsible else None,
                "stage_id": _number(defaults, "stage_id") or context.types[outcome.type_id].stage_id,
                "priority": documents_posts.priority_of(defaults),
                "origin_key": origin_key,
                "created_at": now,
            }
        )
    for made in insert_rows(Document, rows, "id", "origin_key"):
        by_origin[made.origin_key].place.document_id = made.id


def _take_numbers(wanted: Counter[int], types: dict[int, TypeInfo]) -> dict[int, list[str]]:
    """Return numbers for new documents of each type; no other transaction gets the same."""
    numbers: dict[int, list[str]] = {}
    for type_id, count in sorted(wanted.items()):
        after = db.session.scalar(
            update(DocumentType)
            .where(DocumentType.id == type_id)
            .values(next_number=DocumentType.next_number + count)
            .returning(DocumentType.next_number)
        )
        assert after is not None
        pattern = types[type_id].number_pattern
        numbers[type_id] = [pattern.format(number=number) for number in range(after - count, after)]
    return numbers


def _number(defaults: dict[str, Any], name: str) -> int:
    value = str(defaults.get(name) or "").strip()
    return int(value) if value.isdecimal() else 0


# --- posts


def _post(placed: Sequence[_Placed], now: datetime) -> None:
    if not placed:
        return
    rows = []
    for one in placed:
        case, outcome = one.case, one.outcome
        rows.append(
            {
                "thread_id": one.thread_id,
                "kind": one.kind,
                "author_contact_id": one.author_contact_id,
                "author_address": one.author_address,
                "subject": one.subject,
                "html": one.html,
                "text": one.text,
                "fold_at": case.fold,
                "message_id": storable(case.message.message_id)[:1000] if case.message.message_id else None,
                "message_key": case.key,
                "parent_id": outcome.parent_post_id if isinstance(outcome, Reply | AutoNote) else None,
                "received_mail_id": case.id,
                "at": case.message.date,
            }
        )
    ids = {
        (row.thread_id, row.message_key): row.id for row in insert_rows(Post, rows, "id", "thread_id", "message_key")
    }
    for one in placed:
        one.post_id = ids[one.thread_id, one.case.key]
    _attach(placed)
    answered = sorted({one.thread_id for one in placed if not isinstance(one.outcome, NewDocument)})
    if answered:
        db.session.execute(update(Thread).where(Thread.id.in_(answered)).values(last_post_at=now))


def _attach(placed: Sequence[_Placed]) -> None:
    with_files = [one for one in placed if one.case.files]
    if not with_files:
        return
    packed = [packed for one in with_files for packed in one.case.packed]
    blobs = iter(Blob.keep_packed(packed))
    insert_rows(
        Attachment,
        [
            {
                "post_id": one.post_id,
                "name": storable(part.name)[:255],
                "type": storable(part.type)[:120],
                "cid": storable(part.cid)[:255] or None,
                "blob_id": next(blobs),
                "size": len(part.content),
            }
            for one in with_files
            for part in one.case.files
        ],
    )


def _follow(placed: Sequence[_Placed]) -> None:
    for one in placed:
        is_welcome = isinstance(one.outcome, PostTo) and one.outcome.make_contact
        if is_welcome and one.author is not None and not one.place.follows(one.author.contact_id):
            one.new_followers[one.author.contact_id] = why("follow_wrote")
    rows = [
        {"thread_id": one.thread_id, "contact_id": contact_id, "why": reason}
        for one in placed
        for contact_id, reason in one.new_followers.items()
    ]
    insert_rows(Follower, rows, skip_known=True)


def _tell(placed: Sequence[_Placed], now: datetime) -> bool:
    """Relay each post to the followers who do not have it yet; return whether a mail goes out."""
    news = []
    for one in placed:
        outcome = one.outcome
        if isinstance(outcome, AutoNote) or (isinstance(outcome, Reply) and not outcome.relay):
            continue
        message = one.case.message
        ids = [one.place.root_message_id, *reversed(message.references[:MOST_REFERENCES])]
        news.append(
            PostNotification(
                post=one,
                place=one.place,
                skip_addresses={*message.to, *message.cc, *message.resent_to},
                references=list(dict.fromkeys(known for id in ids if id and (known := clean_id(id)))),
                files=[File(part.name, part.type, part.content, part.cid) for part in one.case.files],
            )
        )
    return documents_posts.notify_many(news, now)


# --- answers of the system


def _answer(cases: Sequence[Case], context: RoutingContext, now: datetime) -> bool:
    """Tell the senders of rejected mails why, once each; return whether a mail goes out."""
    queued = False
    for case in cases:
        rejected = [outcome for outcome in case.routing.outcomes if isinstance(outcome, Rejected)]
        address = answer_to(case.message, context.book) if rejected else None
        if address is None or context.answered_often(case.sender):
            continue
        context.refusals[case.sender] += 1
        texts = dict.fromkeys(outcome.text.strip() or say(outcome.reason) for outcome in rejected)
        enqueue.enqueue(
            OutgoingDraft(
                kind="rejection",
                author=_office_address(),
                subject=documents_posts.reply_subject(storable(case.message.subject) or gettext("your email"), True),
                text="\n\n".join([*texts, _quote(case)]) + "\n",
                references=[case.message.message_id] if case.message.message_id else (),
                return_path="<>",
                auto_submitted="auto-replied",
                headers=[(LOOP_HEADER, office.tokens().make(TokenKind.LOOP, case.id))],
            ),
            [To(address, case.message.from_.name if case.message.from_ and case.sender == address else "")],
            now,
        )
        queued = True
    return queued


def _office_address() -> str:
    """Who the system writes as."""
    known = office.load().office
    address = known.default_address or known.catchall_address or known.bounce_address or ""
    return show_address(known.company, address) if address else ""


def _quote(case: Case) -> str:
    """The beginning of the mail that is answered, so that its writer knows which one it was."""
    lines = case.message.text.strip().splitlines()[:15]
    about = gettext("Your email of %(date)s UTC:", date=f"{case.message.date:%Y-%m-%d %H:%M}")
    return "\n".join([about, *(f"> {line[:200]}" for line in lines)])


# --- what is noted about it


def _note_results(cases: Sequence[Case], placed: Sequence[_Placed]) -> None:
    """Note which destinations have had each mail. A destination that has it already makes the whole group fail."""
    posts = {(one.case.id, one.outcome.target): one for one in placed}
    rows = []
    for case in cases:
        for target in targets(case.routing):
            one = posts.get((case.id, target))
            rows.append(
                {
                    "received_mail_id": case.id,
                    "message_key": case.key,
                    "target": target,
                    "post_id": one.post_id if one else None,
                    "document_id": one.place.document_id if one else None,
                }
            )
    insert_rows(RouteResult, rows)


_ALIASES: Any = Alias.__table__
_HIT = (
    update(_ALIASES)
    .where(_ALIASES.c.id == bindparam("alias"))
    .values(
        hits=_ALIASES.c.hits + bindparam("count"),
        last_hit_at=bindparam("at"),
        valid=bindparam("is_valid"),
        why=bindparam("reason"),
    )
)


def _note_aliases(cases: Iterable[Case], now: datetime) -> None:
    """Count the mails of each alias, and note whether its last one could be taken."""
    hits: Counter[int] = Counter()
    wrong: dict[int, Why] = {}
    for case in cases:
        for alias_id in case.routing.hits:
            hits[alias_id] += 1
            wrong.pop(alias_id, None)
        for outcome in case.routing.outcomes:
            if isinstance(outcome, Rejected) and outcome.misconfigured and outcome.alias_id is not None:
                wrong[outcome.alias_id] = outcome.reason
    rows = [
        {"alias": id, "count": count, "at": now, "is_valid": id not in wrong, "reason": wrong.get(id)}
        for id, count in sorted(hits.items())
    ]
    if rows:
        db.session.connection().execute(_HIT, rows)


def note_alias_failure(case: Case, reason: Why) -> None:
    """Mark the aliases whose mail could not be filed; the caller commits."""
    aliases = sorted(case.routing.hits)
    if aliases:
        db.session.execute(
            update(Alias).where(Alias.id.in_(aliases), Alias.role == "alias").values(valid=False, why=reason)
        )


def ledger_values(case: Case) -> dict[str, Any]:
    """Return what the ledger shows of a mail."""
    message = case.message
    return {
        "message_id": storable(message.message_id)[:1000] if message.message_id else None,
        "message_key": case.key or None,
        "from_key": storable(case.sender)[:320] or None,
        "from_text": storable(case.author_text)[:500],
        "to_text": storable(message.header("to"))[:500],
        "subject": storable(message.subject)[:500],
        "state": case.routing.state,
        "result": case.routing.result,
        "decision": [*message.problems, *case.routing.steps],
    }


_LEDGER: Any = ReceivedMail.__table__
_LEDGER_COLUMNS = (
    *("message_id", "message_key", "from_key", "from_text", "to_text", "subject"),
    *("state", "result", "decision", "processed_at"),
)
_CLOSED = (
    update(_LEDGER)
    .where(_LEDGER.c.id == bindparam("mail"))
    .values({name: bindparam(f"{name}_") for name in _LEDGER_COLUMNS})
)


def _close(cases: Sequence[Case], now: datetime) -> None:
    """Write into the ledger what became of each mail, and let go of originals that are not wanted."""
    rows = []
    for case in cases:
        values = ledger_values(case) | {"processed_at": now}
        rows.append({"mail": case.id, **{f"{name}_": value for name, value in values.items()}})
    db.session.connection().execute(_CLOSED, rows)
    _forget_originals([case.id for case in cases if not case.keeps.original and case.routing.state != "quarantined"])


def _forget_originals(ids: Sequence[int]) -> None:
    if not ids:
        return
    blobs = set(db.session.scalars(select(ReceivedMail.blob_id).where(ReceivedMail.id.in_(ids)))) - {None}
    db.session.execute(update(ReceivedMail).where(ReceivedMail.id.in_(ids)).values(blob_id=None))
    users = (ReceivedMail.blob_id, Attachment.blob_id, OutgoingMail.content_blob_id, PracticeMail.blob_id)
    db.session.execute(
        delete(Blob).where(Blob.id.in_(blobs), *(~exists().where(column == Blob.id) for column in users))
    )

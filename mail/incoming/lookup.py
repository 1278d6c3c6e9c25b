"""What routing must know about a batch of mails, asked for in few statements: the database's side of ``routing.py``."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import aliased

from mail.decide.routing import (
    AddressBook,
    AliasRule,
    AutoNote,
    Facts,
    KnownMessage,
    LookUp,
    NewDocument,
    PostTo,
    Rejected,
    Reply,
    Routing,
    SenderFacts,
    look_up,
    threads_to_check,
)
from mail.documents.posts import FollowerView, ThreadView, thread_views
from mail.message.address import normalise
from mail.message.parse import IncomingMessage
from mail.settings import office, parameters
from mail.settings.tokens import Named, TokenKind
from models import Alias as AliasRow
from models import (
    Contact,
    Document,
    DocumentType,
    Follower,
    Mailing,
    OutgoingMail,
    Post,
    ReceivedMail,
    Recipient,
    RouteResult,
    Stage,
    Trace,
    User,
    db,
)

TOLD = "told:"  # what stands before the target of a sender that the loop brake stopped


@dataclass(frozen=True, slots=True)
class Author:
    """Somebody with the address of a sender. ``active`` False: an archived contact, who counts as unknown."""

    contact_id: int
    name: str
    active: bool
    user_id: int | None


@dataclass(frozen=True, slots=True)
class AliasDefaults:
    """What an alias gives to the documents that its mail opens."""

    address: str
    defaults: dict[str, Any]
    responsible: FollowerView | None


@dataclass(frozen=True, slots=True)
class TypeInfo:
    """A document type, as its new documents need it. ``stage_id`` is its first stage."""

    id: int
    name: str
    number_pattern: str
    stage_id: int | None


@dataclass
class RoutingContext:
    """What is known around a batch of mails; ``learn`` adds what a mail of the batch will have done."""

    book: AddressBook
    openings: dict[int, AliasDefaults]
    look_ups: list[LookUp]
    known: dict[str, KnownMessage] = field(default_factory=dict)
    rejections: frozenset[str] = frozenset()
    done: dict[str, set[str]] = field(default_factory=dict)
    authors: dict[str, Author] = field(default_factory=dict)
    follows: dict[int, set[int]] = field(default_factory=dict)  # contact -> threads
    counts: dict[str, Counter[str]] = field(default_factory=dict)  # sender -> target -> mails in the window
    told: dict[str, set[str]] = field(default_factory=dict)
    refusals: Counter[str] = field(default_factory=Counter)  # mails of each sender that were rejected in the window
    thread_views: dict[int, ThreadView] = field(default_factory=dict)
    types: dict[int, TypeInfo] = field(default_factory=dict)
    users: dict[int, FollowerView] = field(default_factory=dict)
    made: set[str] = field(default_factory=set)  # senders whose contact was made with this very mail
    growing: set[int] = field(default_factory=set)  # threads that a mail of this batch gives a new follower
    new_ids: set[str] = field(default_factory=set)  # of mails of this batch that are not stored yet
    new_senders: set[str] = field(default_factory=set)

    def author_of(self, sender: str) -> Author | None:
        """Return the active contact who wrote; our own addresses are never an author."""
        found = self.authors.get(sender)
        return found if found is not None and found.active and sender not in self.book else None

    def answered_often(self, sender: str) -> bool:
        """Say whether this sender was rejected so often of late that another answer would only feed a loop."""
        return self.refusals[sender] >= parameters.LOOP_THRESHOLD.get()

    def directory(self, number: int, action_type_id: int | None) -> Facts:
        """Return what the rules need for one mail of the batch."""
        asked = self.look_ups[number]
        author = self.author_of(asked.sender)
        return Facts(
            book=self.book,
            known={id: self.known[id] for id in asked.ids if id in self.known},
            rejections=self.rejections,
            done=frozenset(self.done.get(asked.message_key, ())),
            sender=SenderFacts(
                author.contact_id if author else None,
                author.user_id if author else None,
                frozenset(self.follows.get(author.contact_id, ())) if author else frozenset(),
            ),
            action_type_id=action_type_id,
            mails_in_window=self.counts.get(asked.sender, {}),
            told=frozenset(self.told.get(asked.sender, ())),
            loop_threshold=parameters.LOOP_THRESHOLD.get(),
            loop_minutes=parameters.LOOP_MINUTES.get(),
            loop_allowed=frozenset(parameters.LOOP_ALLOWED.get()),
        )

    def depends_on_earlier(self, number: int) -> bool:
        """Say whether this mail must be decided after the earlier ones of its batch are stored: it answers one."""
        asked = self.look_ups[number]
        return any(id in self.new_ids for id in asked.ids) or asked.sender in self.new_senders

    def is_for_many(self, routing: Routing) -> bool:
        """Say whether a decision must wait likewise: an earlier mail of its batch changes who will hear of it."""
        return any(getattr(outcome, "thread_id", None) in self.growing for outcome in routing.outcomes)

    def learn(self, number: int, message: IncomingMessage, routing: Routing) -> None:
        """Note what this mail will have done, for the later ones of its batch."""
        asked = self.look_ups[number]
        for target in targets(routing):
            self.done.setdefault(asked.message_key, set()).add(target)
        for outcome in routing.outcomes:
            if isinstance(outcome, PostTo) and outcome.make_contact:
                self.growing.add(outcome.thread_id)
            if isinstance(outcome, Reply | PostTo | NewDocument):
                self.counts.setdefault(asked.sender, Counter())[outcome.target] += 1
                if message.message_id:
                    self.new_ids.add(message.message_id)
                if not isinstance(outcome, Reply) and outcome.make_contact and asked.sender not in self.authors:
                    self.new_senders.add(asked.sender)
            elif isinstance(outcome, Rejected) and outcome.reason["code"] == "reject_loop":
                self.told.setdefault(asked.sender, set()).add(outcome.target)


def targets(routing: Routing) -> list[str]:
    """Return the destinations that this decision reaches; each of them has a mail once.

    Quarantine and "ignored" are no destinations: nothing was done there that another copy could do twice.
    """
    reached = []
    for outcome in routing.outcomes:
        if outcome.target in ("duplicate", "ignored", "quarantine"):
            continue
        reached.append(outcome.target)
        if isinstance(outcome, Rejected) and outcome.reason["code"] == "reject_loop":
            reached.append(TOLD + outcome.target)
    return reached


def load_context(messages: Sequence[IncomingMessage], now: datetime) -> RoutingContext:
    """Return what must be known to route these mails: about ten statements, however many mails."""
    book, openings = _aliases()
    asked = [look_up(message, book) for message in messages]
    found = RoutingContext(book, openings, asked)
    found.known, found.rejections = known_ids({id for one in asked for id in one.ids})
    found.done = _done({one.message_key for one in asked})
    senders = {one.sender for one in asked if one.sender}
    found.authors = authors(senders)
    threads = {thread for message in messages for thread in threads_to_check(message, book, found.known)}
    found.follows = _follows(threads, [author.contact_id for author in found.authors.values()])
    _count(found, senders, now)
    return found


def load_threads(found: RoutingContext, routings: Iterable[Routing]) -> None:
    """Add what is needed to file mails where these decisions send them: three statements at most."""
    outcomes = [outcome for routing in routings for outcome in routing.outcomes]
    threads = {outcome.thread_id for outcome in outcomes if isinstance(outcome, Reply | PostTo | AutoNote)}
    found.thread_views |= thread_views(threads - found.thread_views.keys())
    openings = [outcome for outcome in outcomes if isinstance(outcome, NewDocument)]
    found.types |= _types({outcome.type_id for outcome in openings} - found.types.keys())
    named = set()
    for outcome in openings:
        alias = found.openings.get(outcome.alias_id or 0)
        value = str(alias.defaults.get("responsible_id") or "") if alias else ""
        if value.isdecimal():
            named.add(int(value))
    found.users |= users(named - found.users.keys())


def _types(ids: set[int]) -> dict[int, TypeInfo]:
    if not ids:
        return {}
    first = (
        select(Stage.id)
        .where(Stage.type_id == DocumentType.id)
        .order_by(Stage.position)
        .limit(1)
        .correlate(DocumentType)
        .scalar_subquery()
    )
    rows = db.session.execute(
        select(DocumentType.id, DocumentType.name, DocumentType.number_pattern, first.label("stage_id")).where(
            DocumentType.id.in_(ids)
        )
    )
    return {row.id: TypeInfo(row.id, row.name, row.number_pattern, row.stage_id) for row in rows}


def _aliases() -> tuple[AddressBook, dict[int, AliasDefaults]]:
    fixed, parent = aliased(Document), aliased(Document)
    rows = db.session.execute(
        select(
            AliasRow.id,
            AliasRow.role,
            AliasRow.address_key,
            AliasRow.type_id,
            AliasRow.policy,
            AliasRow.any_domain,
            AliasRow.make_contact,
            AliasRow.refusal,
            AliasRow.state,
            AliasRow.defaults,
            fixed.thread_id.label("fixed_thread_id"),
            parent.thread_id.label("parent_thread_id"),
            *_LISTENER,
        )
        .outerjoin(fixed, fixed.id == AliasRow.fixed_document_id)
        .outerjoin(parent, parent.id == AliasRow.parent_document_id)
        .outerjoin(User, User.id == AliasRow.responsible_id)
        .outerjoin(Contact, Contact.id == User.contact_id)
        .order_by(AliasRow.id)
    ).all()
    aliases = [
        AliasRule(
            id=row.id,
            address=row.address_key,
            role=row.role,
            type_id=row.type_id,
            policy=row.policy,
            fixed_thread_id=row.fixed_thread_id,
            parent_thread_id=row.parent_thread_id,
            any_domain=row.any_domain,
            make_contact=row.make_contact,
            refusal=row.refusal,
            retired=row.state == "retired",
        )
        for row in rows
    ]
    known = office.load().office
    own = [address for address in (known.default_address, known.catchall_address, known.bounce_address) if address]
    book = AddressBook(aliases, own, [known.catchall_domain] if known.catchall_domain else [])
    return book, {row.id: AliasDefaults(row.address_key, row.defaults or {}, listener(row)) for row in rows}


_LISTENER = (
    User.id.label("user_id"),
    User.active.label("user_active"),
    User.notify,
    Contact.id.label("contact_id"),
    Contact.name.label("contact_name"),
    Contact.address.label("contact_address"),
    Contact.address_key.label("contact_key"),
    Contact.active.label("contact_active"),
)


def listener(row: Any) -> FollowerView | None:
    """Return the user of a row that has the columns of ``_LISTENER``, as somebody who follows."""
    if row.contact_id is None:
        return None
    return FollowerView(
        contact_id=row.contact_id,
        name=row.contact_name,
        address=row.contact_address or "",
        address_key=row.contact_key or "",
        active=row.contact_active,
        user_id=row.user_id,
        user_active=bool(row.user_active),
        notify=row.notify or "mail",
        why=None,
    )


def users(user_ids: Iterable[int]) -> dict[int, FollowerView]:
    """Return these users as followers would be."""
    wanted = set(user_ids)
    if not wanted:
        return {}
    rows = db.session.execute(
        select(*_LISTENER).join(Contact, Contact.id == User.contact_id).where(User.id.in_(wanted))
    )
    return {row.user_id: found for row in rows if (found := listener(row)) is not None}


def authors(addresses: Iterable[str]) -> dict[str, Author]:
    """Return who is known under these addresses (keys): contacts, and users by the address they log in with."""
    wanted = set(addresses)
    if not wanted:
        return {}
    rows = db.session.execute(
        select(
            Contact.id,
            Contact.name,
            Contact.active,
            Contact.address_key,
            User.id.label("user_id"),
            User.email,
            User.active.label("user_active"),
        )
        .outerjoin(User, User.contact_id == Contact.id)
        .where(or_(Contact.address_key.in_(wanted), User.email.in_(wanted)))
        .order_by(Contact.id)
    )
    found: dict[str, Author] = {}
    for row in rows:
        author = Author(row.id, row.name, row.active, row.user_id if row.user_active else None)
        for address in (row.address_key, normalise(row.email)):
            if address in wanted and (address not in found or author.user_id is not None):
                found[address] = author
    return found


def _done(keys: set[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    rows = db.session.execute(
        select(RouteResult.message_key, RouteResult.target).where(RouteResult.message_key.in_(keys))
    )
    for row in rows:
        found.setdefault(row.message_key, set()).add(row.target)
    return found


def _follows(threads: set[int], contacts: Sequence[int]) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    if threads and contacts:
        rows = db.session.execute(
            select(Follower.contact_id, Follower.thread_id).where(
                Follower.thread_id.in_(threads), Follower.contact_id.in_(contacts)
            )
        )
        for row in rows:
            found.setdefault(row.contact_id, set()).add(row.thread_id)
    return found


def _count(found: RoutingContext, senders: set[str], now: datetime) -> None:
    """Count the mails of each sender to each place within the window of the loop brake, and note who was told."""
    if not senders:
        return
    since = now - timedelta(minutes=parameters.LOOP_MINUTES.get())
    rows = db.session.execute(
        select(
            ReceivedMail.from_key,
            RouteResult.target,
            func.count(RouteResult.post_id).label("posted"),
            func.count().label("mails"),
        )
        .join(RouteResult, RouteResult.received_mail_id == ReceivedMail.id)
        .where(ReceivedMail.from_key.in_(senders), ReceivedMail.received_at > since)
        .group_by(ReceivedMail.from_key, RouteResult.target)
    )
    for row in rows:
        if row.target.startswith(TOLD):
            found.told.setdefault(row.from_key, set()).add(row.target.removeprefix(TOLD))
        else:
            found.counts.setdefault(row.from_key, Counter())[row.target] = row.posted
            if row.target.startswith(("alias:", "catchall", "thread:")):
                found.refusals[row.from_key] += row.mails - row.posted


# --- ids


TRACE_KINDS = (TokenKind.TRACE, TokenKind.TRACE_BOUNCE, TokenKind.UNSUBSCRIBE)


def known_ids(ids: Iterable[str]) -> tuple[dict[str, KnownMessage], frozenset[str]]:
    """Return the messages of ours that these ids name, and those ids that are answers of the system."""
    named: dict[str, Named] = {}
    strange: set[str] = set()
    read = office.tokens()
    for id in ids:
        found = read.from_message_id(id) if "@" in id else read.read(id)
        if found is None:
            strange.add(id)
        else:
            named[id] = found
    of_kind: dict[TokenKind, set[int]] = {}
    for one in named.values():
        of_kind.setdefault(one.kind, set()).add(one.id)
    posts, stored = _posts(of_kind.get(TokenKind.POST, set()), strange)
    lines = _lines(of_kind.get(TokenKind.LINE, set()) | of_kind.get(TokenKind.LINE_BOUNCE, set()))
    traces = _traces(set().union(*(of_kind.get(kind, set()) for kind in TRACE_KINDS)))
    mails = _mails({id for id, one in named.items() if one.kind is TokenKind.MAIL})
    known = dict(stored)
    for id, one in named.items():
        message = {
            TokenKind.POST: posts,
            TokenKind.LINE: lines,
            TokenKind.LINE_BOUNCE: lines,
            **dict.fromkeys(TRACE_KINDS, traces),
        }.get(one.kind, {}).get(one.id) or mails.get(id)
        if message is not None:
            known[id] = message
    return known, frozenset(id for id, one in named.items() if one.kind is TokenKind.LOOP)


_POST = (
    Post.id.label("post_id"),
    Post.thread_id,
    Post.kind,
    Post.message_id,
    Document.type_id,
    OutgoingMail.id.label("mail_id"),
    OutgoingMail.from_header,
)


def _posts(ids: set[int], message_ids: set[str]) -> tuple[dict[int, KnownMessage], dict[str, KnownMessage]]:
    """The posts with these ids, which we sent; and those that came in under these Message-IDs."""
    sent: dict[int, KnownMessage] = {}
    stored: dict[str, KnownMessage] = {}
    if not ids and not message_ids:
        return sent, stored
    query = (
        select(*_POST)
        .outerjoin(Document, Document.thread_id == Post.thread_id)
        .outerjoin(OutgoingMail, OutgoingMail.post_id == Post.id)
        .where(or_(Post.id.in_(ids), Post.message_id.in_(message_ids)))
    )
    for row in db.session.execute(query.order_by(Post.id)):
        if row.post_id in ids:
            sent[row.post_id] = _known(row, True)
        if row.message_id in message_ids:
            stored[row.message_id] = _known(row, False)  # of several threads that have it, the one stored last
    return sent, stored


def _lines(ids: set[int]) -> dict[int, KnownMessage]:
    if not ids:
        return {}
    rows = db.session.execute(
        select(Recipient.id, *_POST)
        .join(OutgoingMail, OutgoingMail.id == Recipient.mail_id)
        .outerjoin(Post, Post.id == OutgoingMail.post_id)
        .outerjoin(Document, Document.thread_id == Post.thread_id)
        .where(Recipient.id.in_(ids))
    )
    return {row.id: _known(row, True) for row in rows}


def _mails(message_ids: set[str]) -> dict[str, KnownMessage]:
    """Mails of the system itself (a digest, a test), which belong to no thread."""
    if not message_ids:
        return {}
    rows = db.session.execute(
        select(OutgoingMail.message_id, OutgoingMail.id.label("mail_id"), OutgoingMail.from_header).where(
            OutgoingMail.message_id.in_(message_ids)
        )
    )
    return {
        row.message_id: KnownMessage(order=0.0, sender=normalise(row.from_header) or "", mail_id=row.mail_id)
        for row in rows
    }


def _traces(ids: set[int]) -> dict[int, KnownMessage]:
    if not ids:
        return {}
    rows = db.session.execute(
        select(Trace.id, Mailing.from_address).join(Mailing, Mailing.id == Trace.mailing_id).where(Trace.id.in_(ids))
    )
    # Of two messages that an answer names, one in a thread came after the mailing that began it all.
    return {
        row.id: KnownMessage(order=row.id * 1e-12, sender=normalise(row.from_address) or "", trace_id=row.id)
        for row in rows
    }


def _known(row: Any, sent: bool) -> KnownMessage:
    return KnownMessage(
        order=float(row.post_id or 0),
        sent=sent,
        sender=(normalise(row.from_header) or "") if sent and row.from_header else "",
        thread_id=row.thread_id,
        type_id=row.type_id,
        post_id=row.post_id,
        is_note=row.kind == "note",
        mail_id=row.mail_id,
    )

"""What routing must know about a batch of mails, asked for in few statements: the database's side of ``facts``."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, exists, false, or_, select

from mail.decide.facts import (
    ANSWERS_AN_HOUR,
    AddressBook,
    Facts,
    SenderFacts,
    bounce_aliases,
    look_up,
    threads_to_check,
)
from mail.decide.outcomes import Aggregate, AutoNote, NewDocument, PostTo, Rejected, Reply, Routing
from mail.decide.report import read_report
from mail.decide.self_test_mails import unknown_mailboxes
from mail.deliverability.senders import sending_domains
from mail.documents.documents import TypeView, types
from mail.documents.threads import FollowerView, ThreadView, thread_views, users
from mail.incoming import aggregates
from mail.incoming.case import Case
from mail.incoming.known_ids import KnownIds, known_ids, self_tests_to
from mail.incoming.people import AliasDefaults, Author, address_book, authors
from mail.message.address import domain_of
from mail.message.dmarc_report import MOST_SOURCES, AggregateReport
from mail.settings import parameters
from models import Follower, OutgoingMail, ReceivedMail, Recipient, RouteResult, db
from models.base import holds
from models.slices import listed

TOLD = "told:"  # the prefix of the target of a sender that the loop brake stopped
BY_HAND = "quarantine_answer"  # the target of a rejection that a person wrote
HOUR = timedelta(hours=1)

Arrivals = dict[str, dict[str, list[datetime]]]  # sender -> target -> when his mails arrived


@dataclass(frozen=True, slots=True)
class LoopBrake:
    """What the parameters say of those who write too often."""

    threshold: int
    minutes: int
    allowed: frozenset[str]

    @property
    def window(self) -> timedelta:
        return timedelta(minutes=self.minutes)


def _loop_brake() -> LoopBrake:
    allowed = frozenset(parameters.LOOP_ALLOWED.get())
    return LoopBrake(parameters.LOOP_THRESHOLD.get(), parameters.LOOP_MINUTES.get(), allowed)


@dataclass
class RoutingContext:
    """What is known around a batch of mails; ``learn`` adds what a mail of the batch will have done."""

    now: datetime
    brake: LoopBrake
    book: AddressBook
    openings: dict[int, AliasDefaults]
    ids: KnownIds = field(default_factory=KnownIds)
    done: dict[str, set[str]] = field(default_factory=dict)
    authors: dict[str, Author] = field(default_factory=dict)
    follows: dict[int, set[int]] = field(default_factory=dict)  # contact -> threads
    posted: Arrivals = field(default_factory=dict)
    told: Arrivals = field(default_factory=dict)
    answers: list[tuple[str, datetime]] = field(default_factory=list)  # of the system, of late: to whom and when
    thread_views: dict[int, ThreadView] = field(default_factory=dict)
    types: dict[int, TypeView] = field(default_factory=dict)
    users: dict[int, FollowerView] = field(default_factory=dict)
    made: set[str] = field(default_factory=set)  # senders whose contact was made with this very mail
    growing: set[int] = field(default_factory=set)  # threads that a mail of this batch gives a new follower
    new_ids: set[str] = field(default_factory=set)  # of mails of this batch that are not stored yet
    new_people: set[str] = field(default_factory=set)
    sends_as: frozenset[str] = frozenset()  # asked for only if a mail is a DMARC report
    reports: set[aggregates.Key] = field(default_factory=set)  # that are stored
    answers_unknown: bool = False
    sources: int = 0  # that the DMARC reports of this batch will store

    def author_of(self, address: str) -> Author | None:
        """Return the active contact with this address; our own addresses are never an author."""
        found = self.authors.get(address)
        return found if found is not None and found.active and address not in self.book else None

    def correspondent_of(self, case: Case) -> Author | None:
        """Return the contact that answers go to: the one in Reply-To, but no colleague, else the author."""
        elsewhere = self.author_of(case.asked.answer_to)
        if elsewhere is None or (case.asked.answer_to != case.asked.author and elsewhere.user_id is not None):
            return self.author_of(case.asked.author)
        return elsewhere

    def facts(self, case: Case) -> Facts:
        """Return what the rules need for one mail of the batch."""
        asked, window = case.asked, self.brake.window
        told = self.told.get(asked.sender, {})
        answer_key = case.message.return_path or asked.sender
        return Facts(
            book=self.book,
            signed={id: self.ids.signed[id] for id in asked.ids if id in self.ids.signed},
            stored={id: self.ids.stored[id] for id in asked.ids if id in self.ids.stored},
            rejections=self.ids.rejections,
            arrivals=self.ids.arrivals,
            done=frozenset(self.done.get(asked.message_key, ())),
            sender=self._person(asked.sender),
            author=self._person(asked.author),
            checked_by=case.keeps.checked_by,
            action_type_id=case.keeps.action_type_id,
            mailbox=case.keeps.mailbox,
            mails_in_window={
                target: neighbours(times, case.arrived_at, window)
                for target, times in self.posted.get(asked.sender, {}).items()
            },
            told=frozenset(target for target, times in told.items() if neighbours(times, case.arrived_at, window)),
            released=case.released,
            loop_threshold=self.brake.threshold,
            loop_minutes=self.brake.minutes,
            loop_allowed=self.brake.allowed,
            answers_unknown=self.answers_unknown,
            answers_left=ANSWERS_AN_HOUR - sum(at > self.now - HOUR for _, at in self.answers),
            sends_as=self.sends_as,
            report_is_known=isinstance(asked.aggregate, AggregateReport)
            and aggregates.key_of(asked.aggregate) in self.reports,
            answers_to_sender=sum(to == answer_key and at > self.now - window for to, at in self.answers),
        )

    def _person(self, address: str) -> SenderFacts:
        author = self.author_of(address)
        if author is None:
            return SenderFacts()
        return SenderFacts(author.contact_id, author.user_id, frozenset(self.follows.get(author.contact_id, ())))

    def depends_on_earlier(self, case: Case) -> bool:
        """Say whether this mail must be decided after the earlier ones of its batch are stored: it answers one."""
        asked = case.asked
        people = {asked.sender, asked.author, asked.answer_to}
        return any(id in self.new_ids for id in asked.ids) or not people.isdisjoint(self.new_people)

    def is_for_many(self, routing: Routing) -> bool:
        """Say whether a decision must wait likewise: an earlier mail of its batch changes who will hear of it.

        A DMARC report waits if it would write a lot in one transaction, together with those before it.
        """
        if self.sources and self.sources + _sources(routing) > MOST_SOURCES:
            return True
        return any(getattr(outcome, "thread_id", None) in self.growing for outcome in routing.outcomes)

    def learn(self, case: Case) -> None:
        """Note what this mail will have done, for the later ones of its batch."""
        asked, arrived = case.asked, case.arrived_at
        self.done.setdefault(asked.message_key, set()).update(targets(case.routing))
        if case.routing.answer_to:
            self.answers.append((case.routing.answer_to, self.now))
        if isinstance(asked.aggregate, AggregateReport):
            self.reports.add(aggregates.key_of(asked.aggregate))
        self.sources += _sources(case.routing)
        for outcome in case.routing.outcomes:
            if isinstance(outcome, PostTo) and outcome.follow:
                self.growing.add(outcome.thread_id)
            if isinstance(outcome, Reply | PostTo | NewDocument):
                self.posted.setdefault(asked.sender, {}).setdefault(outcome.target, []).append(arrived)
                if case.message.message_id:
                    self.new_ids.add(case.message.message_id)
                if not isinstance(outcome, Reply) and outcome.make_contact:
                    self.new_people |= {asked.author, asked.answer_to} - self.authors.keys()
            elif isinstance(outcome, Rejected) and outcome.reason["code"] == "reject_loop":
                self.told.setdefault(asked.sender, {}).setdefault(outcome.target, []).append(arrived)


def _sources(routing: Routing) -> int:
    return sum(len(outcome.report.sources) for outcome in routing.outcomes if isinstance(outcome, Aggregate))


def neighbours(times: Sequence[datetime], moment: datetime, window: timedelta) -> int:
    """Count the moments within a window before another one, or after it if those are more: order does not matter.

    >>> at = [datetime(2026, 11, 2, hour) for hour in (8, 9, 11)]
    >>> neighbours(at, at[1], timedelta(hours=2)), neighbours(at, at[1], timedelta(hours=3))
    (2, 2)
    """
    before = sum(moment - window < time <= moment for time in times)
    after = sum(moment <= time < moment + window for time in times)
    return max(before, after)


def targets(routing: Routing) -> list[str]:
    """Return the destinations that this decision reaches; each of them has a mail once.

    Quarantine, a self-test and "ignored" are no destinations: nothing was done there that another copy could do twice.
    """
    reached = []
    for outcome in routing.outcomes:
        if outcome.target in ("duplicate", "ignored", "self_test", "quarantine"):
            continue
        reached.append(outcome.target)
        if isinstance(outcome, Rejected) and outcome.reason["code"] == "reject_loop":
            reached.append(TOLD + outcome.target)
    return reached


def load_context(cases: Sequence[Case], now: datetime, but: int = 0) -> RoutingContext:
    """Return what must be known to route these mails: about ten statements, however many mails.

    ``but``: a mail of the ledger that is looked at as if it had not come yet; what it did counts for nothing.
    """
    book, openings = address_book()
    found = RoutingContext(now, _loop_brake(), book, openings)
    found.answers_unknown = bool(parameters.ANSWER_UNKNOWN.get())
    for case in cases:
        case.asked = look_up(case.message, book, case.id, case.arrived_at)
    asked = [case.asked for case in cases]
    found.ids = known_ids({id for one in asked for id in one.ids})
    found.done = _done({one.message_key for one in asked}, but)
    found.authors = authors({who for one in asked for who in (one.sender, one.author, one.answer_to) if who})
    _know_unknown_mailboxes(found, cases)
    ids = found.ids
    threads = {
        thread
        for case in cases
        for thread in threads_to_check(case.message, book, ids.signed, ids.stored, case.keeps.mailbox)
    }
    found.follows = _follows(threads, [author.contact_id for author in found.authors.values()])
    _count(found, cases, but)
    found.answers = _answers(now, but)
    if any(one.aggregate is not None for one in asked):
        found.sends_as, found.reports = frozenset(sending_domains()), aggregates.known(asked, but)
    return found


def _know_unknown_mailboxes(found: RoutingContext, cases: Sequence[Case]) -> None:
    """Find the self-tests behind reports that name no id of ours, only an address that a test made up."""
    named: dict[int, list[str]] = {}
    for case in cases:
        is_ours = any(id in found.ids.signed for id in case.asked.ids)
        if not is_ours and bounce_aliases(case.message, found.book):
            report = read_report(case.message, at_bounce_address=True)
            if report is not None and (addresses := unknown_mailboxes(report)):
                named[case.id] = addresses
    if named:
        found.ids.signed.update(self_tests_to({address for addresses in named.values() for address in addresses}))
    for case in cases:
        if case.id in named:
            case.asked = replace(case.asked, ids=(*case.asked.ids, *named[case.id]))


def load_threads(found: RoutingContext, routings: Iterable[Routing]) -> None:
    """Add what is needed to file mails where these decisions send them: three statements at most."""
    outcomes = [outcome for routing in routings for outcome in routing.outcomes]
    threads = {outcome.thread_id for outcome in outcomes if isinstance(outcome, Reply | PostTo | AutoNote)}
    found.thread_views |= thread_views(threads - found.thread_views.keys())
    openings = [outcome for outcome in outcomes if isinstance(outcome, NewDocument)]
    found.types |= types({outcome.type_id for outcome in openings} - found.types.keys())
    aliases = [alias for one in openings if (alias := found.openings.get(one.alias_id or 0)) is not None]
    found.users |= users({alias.responsible_id for alias in aliases} - found.users.keys() - {0})


def _done(keys: set[str], but: int) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    had_it = (RouteResult.message_key.in_(keys), RouteResult.received_mail_id != but)
    for row in db.session.execute(select(RouteResult.message_key, RouteResult.target).where(*had_it)):
        found.setdefault(row.message_key, set()).add(row.target)
    return found


def _follows(threads: set[int], contacts: Sequence[int]) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    if threads and contacts:
        rows = db.session.execute(
            select(Follower.contact_id, Follower.thread_id).where(
                Follower.thread_id.in_(listed(threads)), Follower.contact_id.in_(contacts)
            )
        )
        for row in rows:
            found.setdefault(row.contact_id, set()).add(row.thread_id)
    return found


def _count(found: RoutingContext, cases: Sequence[Case], but: int) -> None:
    """Find when the mails of each sender arrived that may count for the loop brake, and when he was told of it."""
    allowed, window = found.brake.allowed, found.brake.window
    braked = [one for one in cases if one.sender not in allowed and domain_of(one.sender) not in allowed]
    if not braked or not found.brake.threshold:
        return
    rows = db.session.execute(
        select(ReceivedMail.from_key, ReceivedMail.arrived_at, RouteResult.target)
        .join(RouteResult, RouteResult.received_mail_id == ReceivedMail.id)
        .where(
            or_(*(_around(some, window) for some in _near_each_other(braked, window))),
            ReceivedMail.id != but,
            or_(RouteResult.post_id.is_not(None), RouteResult.target.startswith(TOLD)),
        )
    )
    for row in rows:
        of_kind = found.told if row.target.startswith(TOLD) else found.posted
        of_kind.setdefault(row.from_key or "", {}).setdefault(row.target.removeprefix(TOLD), []).append(row.arrived_at)


def _near_each_other(cases: Sequence[Case], window: timedelta) -> Iterator[list[Case]]:
    """Cut mails, by the time they arrived, where two windows leave a gap: nobody asks for the years between two."""
    near: list[Case] = []
    for case in sorted(cases, key=lambda one: one.arrived_at):
        if near and case.arrived_at - near[-1].arrived_at > 2 * window:
            yield near
            near = []
        near.append(case)
    yield near


def _around(cases: Sequence[Case], window: timedelta) -> ColumnElement[bool]:
    """The mails of the same senders from a window before the first of these to a window after the last."""
    senders = {case.sender for case in cases}
    nobody = ReceivedMail.from_key.is_(None) if "" in senders else false()
    return and_(
        or_(ReceivedMail.from_key.in_(senders - {""}), nobody),
        ReceivedMail.arrived_at > cases[0].arrived_at - window,
        ReceivedMail.arrived_at < cases[-1].arrived_at + window,
    )


def _answers(now: datetime, but: int = 0) -> list[tuple[str, datetime]]:
    """To whom the system wrote replies of late, and when: never many, because they are limited.

    What a person wrote to the sender of a mail in quarantine is none of them.
    """
    since = now - max(HOUR, timedelta(minutes=parameters.LOOP_MINUTES.get()))
    by_hand = exists().where(RouteResult.received_mail_id == ReceivedMail.id, RouteResult.target == BY_HAND)
    rows = db.session.execute(
        select(Recipient.address_key, OutgoingMail.created_at)
        .join(OutgoingMail, OutgoingMail.id == Recipient.mail_id)
        .outerjoin(ReceivedMail, ReceivedMail.answer_id == OutgoingMail.id)
        .where(holds(OutgoingMail.kind, "rejection"), OutgoingMail.created_at > since)
        .where(or_(ReceivedMail.id.is_(None), and_(ReceivedMail.id != but, ~by_hand)))
    )
    return [(row.address_key, row.created_at) for row in rows]


def answers_since(now: datetime) -> int:
    """Return how many replies the system wrote within the last hour."""
    return sum(at > now - HOUR for _, at in _answers(now))

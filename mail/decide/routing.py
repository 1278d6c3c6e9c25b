"""Where a mail goes: a pure decision over what the mail says and what the office knows, with its steps as values.

``look_up`` says what must be known, the flow fills a ``Facts`` with few queries, ``route`` decides. The rules stand
in one table, in the order of incoming.md 5; the first that takes the mail ends the routing. What was decided before by
the same mail to the same destination is taken out last, so that each destination has a mail once.
"""

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from mail.decide.report import About, Report, from_mailer_daemon, read_report, returned_ids
from mail.message.address import domain_of, local_part, normalise
from mail.message.parse import IncomingMessage, message_key
from mail.sentences import Why, why

Policy = Literal["everyone", "contacts", "followers", "users"]


# --- what the office knows


@dataclass(frozen=True, slots=True)
class AliasRule:
    """An address of ours, as the rules see it. Threads stand for their documents."""

    id: int
    address: str  # normalised
    role: Literal["alias", "catchall", "bounce"] = "alias"
    type_id: int | None = None
    policy: Policy = "everyone"
    fixed_thread_id: int | None = None  # all its mail is posted there
    parent_thread_id: int | None = None  # whose followers may open new documents
    any_domain: bool = False
    make_contact: bool = True
    refusal: str = ""  # the alias' own words to those it rejects
    retired: bool = False


class AddressBook:
    """The addresses of the office, retired ones included. Made once for many mails; contains each of them.

    ``own``: further addresses that are ours (the default address). ``domains``: our alias domains, old ones too.
    """

    def __init__(self, aliases: Iterable[AliasRule], own: Iterable[str] = (), domains: Iterable[str] = ()) -> None:
        aliases = list(aliases)
        self.by_address = {alias.address: alias for alias in aliases}
        self.by_local = {local_part(alias.address): alias for alias in aliases if alias.any_domain}
        self.own = frozenset(self.by_address) | {key for address in own if (key := normalise(address))}
        self.domains = frozenset(domains) | {domain_of(alias.address) for alias in aliases}

    def find(self, address: str) -> AliasRule | None:
        """Return the alias that takes mail for an address, a bounce address also with a token behind a plus."""
        found = self.by_address.get(address)
        if found is None and "+" in address:
            local, _, domain = address.rpartition("@")
            plain = self.by_address.get(f"{local.partition('+')[0]}@{domain}")
            found = plain if plain is not None and plain.role == "bounce" else None
        if found is None and self.by_local:
            found = self.by_local.get(local_part(address))
        return found

    def among(self, addresses: Iterable[str], role: str = "alias") -> list[AliasRule]:
        """Return the aliases of one role that some addresses mean, each once, in their order."""
        found = (self.find(address) for address in addresses)
        return list({alias.id: alias for alias in found if alias is not None and alias.role == role}.values())

    def __contains__(self, address: object) -> bool:
        return isinstance(address, str) and (address in self.own or self.find(address) is not None)


@dataclass(frozen=True, slots=True)
class KnownMessage:
    """A message of ours that an id names: one that we sent, or one that we stored."""

    order: float  # the greater, the later it was stored
    sent: bool = True  # we sent it under this id; False: it came in and was stored
    sender: str = ""  # the address it was sent as, normalised
    thread_id: int | None = None  # None: it belongs to no thread, or the thread is gone
    type_id: int | None = None  # of the thread's document
    post_id: int | None = None
    is_note: bool = False
    mail_id: int | None = None  # the outgoing mail
    trace_id: int | None = None  # one recipient of a mailing

    def same_as(self, other: "KnownMessage") -> bool:
        """Say whether two ids name one message."""
        return (self.mail_id, self.trace_id, self.post_id) == (other.mail_id, other.trace_id, other.post_id)


@dataclass(frozen=True, slots=True)
class SenderFacts:
    """What we know of the person who wrote: active contact, active user, and which of the asked threads he follows."""

    contact_id: int | None = None
    user_id: int | None = None
    follows: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Facts:
    """Everything that the rules must know to route one mail; the keys of ``known`` are the ids of ``LookUp``."""

    book: AddressBook
    known: Mapping[str, KnownMessage] = field(default_factory=dict)
    rejections: frozenset[str] = frozenset()  # those of the ids that are rejections or other answers of the system
    done: frozenset[str] = frozenset()  # targets that have had this mail (message_key)
    sender: SenderFacts = SenderFacts()
    action_type_id: int | None = None  # the incoming server's "create a new document"
    mails_in_window: Mapping[str, int] = field(default_factory=dict)  # earlier mails of the sender, by target
    told: frozenset[str] = frozenset()  # targets at which the sender was stopped, and told, within the window
    loop_threshold: int = 20
    loop_minutes: int = 120
    loop_allowed: frozenset[str] = frozenset()  # senders that the brake leaves alone: addresses or domains


@dataclass(frozen=True, slots=True)
class LookUp:
    """What a flow must find out about a mail before it can be routed."""

    message_key: str
    sender: str  # normalised, "" if there is none
    ids: tuple[str, ...]  # as they stand in Directory.known and Directory.rejections


def look_up(message: IncomingMessage, book: AddressBook) -> LookUp:
    """Return what must be known about a mail; the lists of many mails can be asked for in one query each."""
    ids = [message.message_id, message.own_id, message.loop_tag, *message.references]
    ids += returned_ids(message, at_bounce_address=bool(_bounce_aliases(message, book)))
    ids.append(unsubscribe_token(message.subject))
    return LookUp(message_key(message), message.from_key, tuple(dict.fromkeys(id for id in ids if id)))


def unsubscribe_token(subject: str) -> str:
    """Return the token of a mail that mail programs write for us (RFC 2369: our List-Unsubscribe), "" of any other.

    >>> unsubscribe_token("Unsubscribe ta2b"), unsubscribe_token("Please unsubscribe me")
    ('ta2b', '')
    """
    words = subject.split()
    return words[1] if len(words) == 2 and words[0].lower() == "unsubscribe" else ""


def threads_to_check(message: IncomingMessage, book: AddressBook, known: Mapping[str, KnownMessage]) -> frozenset[int]:
    """Return the threads of which ``SenderFacts.follows`` must say whether the sender follows them; mostly none."""
    aliases = [alias for alias in book.among(message.recipients) if alias.policy == "followers"]
    if not aliases:
        return frozenset()
    threads = {thread for alias in aliases for thread in (alias.fixed_thread_id, alias.parent_thread_id)}
    threads |= {found.thread_id for id in message.references if (found := known.get(id))}
    return frozenset(thread for thread in threads if thread is not None)


# --- what can become of a mail


@dataclass(frozen=True, slots=True)
class Duplicate:
    """It was here before; nothing is done."""

    reason: Why
    target: str = "duplicate"


@dataclass(frozen=True, slots=True)
class Ignored:
    """Nothing is done, and the ledger says why."""

    reason: Why
    target: str = "ignored"


@dataclass(frozen=True, slots=True)
class Bounced:
    """A report about mail of ours (``report.about`` says which kind): recorded, answered by nothing."""

    report: Report
    about: KnownMessage | None  # the mail of ours that it is about; None: not found
    token: str = ""  # what stood behind the plus of the bounce address
    target: str = "report"


@dataclass(frozen=True, slots=True)
class AutoNote:
    """A machine answered in a thread: an internal note, relayed to nobody."""

    thread_id: int
    parent_post_id: int | None

    @property
    def target(self) -> str:
        return f"thread:{self.thread_id}"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer in a thread. ``relay``: to the followers (a note's answer: to those who are users) but its author and
    those who had it in To or Cc."""

    thread_id: int
    parent_post_id: int | None
    is_note: bool = False
    relay: bool = True

    @property
    def target(self) -> str:
        return f"thread:{self.thread_id}"


@dataclass(frozen=True, slots=True)
class PostTo:
    """A mail to an alias with a fixed document: posted there."""

    thread_id: int
    alias_id: int
    make_contact: bool = True

    @property
    def target(self) -> str:
        return f"thread:{self.thread_id}"


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A new document of a type, by an alias or by the incoming server's action (``alias_id`` is None)."""

    type_id: int
    alias_id: int | None = None
    make_contact: bool = True

    @property
    def target(self) -> str:
        return f"alias:{self.alias_id}" if self.alias_id is not None else f"type:{self.type_id}"


@dataclass(frozen=True, slots=True)
class Replied:
    """An answer to a mailing: its trace is marked; the mail goes on through the rules."""

    trace_id: int

    @property
    def target(self) -> str:
        return f"trace:{self.trace_id}"


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """A recipient of a mailing leaves its lists by mail."""

    trace_id: int

    @property
    def target(self) -> str:
        return f"unsubscribe:{self.trace_id}"


@dataclass(frozen=True, slots=True)
class Rejected:
    """Nothing is created or posted; the sender gets ``text``, or the sentence of ``reason`` when it is empty."""

    reason: Why
    target: str
    alias_id: int | None = None
    text: str = ""
    misconfigured: bool = False  # the alias is marked invalid until it is edited


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Nobody's: kept for a person to decide. ``address``: the unknown address of ours that it was sent to."""

    reason: Why
    address: str = ""
    target: str = "quarantine"


Outcome = (
    Duplicate | Ignored | Bounced | AutoNote | Reply | PostTo | NewDocument | Replied | Unsubscribed | Rejected
    | Quarantined
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Routing:
    """The decision: what becomes of the mail, how that came about, and which aliases were hit."""

    outcomes: tuple[Outcome, ...]
    steps: tuple[Why, ...]
    hits: tuple[int, ...] = ()

    @property
    def state(self) -> str:
        """The state of the mail in the ledger."""
        kinds = {type(outcome) for outcome in self.outcomes}
        if kinds & {Bounced, AutoNote, Reply, PostTo, NewDocument, Unsubscribed}:
            return "processed"
        for kind, state in ((Rejected, "rejected"), (Quarantined, "quarantined"), (Ignored, "ignored")):
            if kind in kinds:
                return state
        return "duplicate"

    @property
    def result(self) -> str:
        """What came of a processed mail, in a word; "" otherwise."""
        for outcome in self.outcomes:
            if isinstance(outcome, Bounced):
                return outcome.report.about.value
            word = _RESULTS.get(type(outcome))
            if word:
                return word
        return ""


_RESULTS: dict[type, str] = {
    AutoNote: "auto_reply",
    Reply: "reply",
    PostTo: "reply",
    NewDocument: "document",
    Unsubscribed: "unsubscribed",
}


# --- the rules


def route(message: IncomingMessage, directory: Facts) -> Routing:
    """Return where a mail goes, by the rules of incoming.md 5, with every step in its order."""
    case = _Case(message, directory)
    for rule in RULES:
        outcomes = rule(case)
        if outcomes is not None:
            return _each_once(case, [*case.marks, *outcomes])
    raise AssertionError("the last rule takes every mail")


class _Case:
    """One mail on its way through the rules: what later rules learn from earlier ones, and the steps."""

    def __init__(self, message: IncomingMessage, directory: Facts) -> None:
        self.message = message
        self.directory = directory
        self.book = directory.book
        self.steps: list[Why] = []
        self.marks: list[Outcome] = []  # outcomes of rules that let the mail go on
        self.forwarded_from: KnownMessage | None = None
        self.hits: list[int] = []
        self.recipients = message.recipients
        self.aliases = self.book.among(self.recipients)

    def step(self, code: str, **values: object) -> Why:
        reason = why(code, **values)
        self.steps.append(reason)
        return reason

    def answered(self) -> KnownMessage | None:
        """The message of ours that this one answers: of all that it names, the one stored last."""
        ids = [*self.message.references, self.message.own_id or ""]
        found = [known for id in ids if (known := self.directory.known.get(id)) is not None]
        return max(found, key=lambda known: known.order, default=None)


def _own_mail(case: _Case) -> list[Outcome] | None:
    """Rule 0, first half: a mail that we sent comes back under its own id."""
    message, known = case.message, case.directory.known
    by_id = known.get(message.message_id or "")
    if by_id is not None and by_id.sent:
        return [Duplicate(case.step("route_own_mail", id=message.message_id))]
    copy = known.get(message.own_id or "")
    if copy is not None and not _answers_itself(message, copy, known):
        return [Duplicate(case.step("route_own_mail", id=message.own_id))]
    return None


def _answers_itself(message: IncomingMessage, copy: KnownMessage, known: Mapping[str, KnownMessage]) -> bool:
    """Say whether a mail with our own id header is an answer by a program that keeps such headers, not a copy."""
    named = (found for id in message.references if (found := known.get(id)) is not None)
    if any(found.same_as(copy) for found in named):
        return True
    return bool(copy.sender) and bool(message.from_key) and message.from_key != copy.sender


def _too_much(case: _Case) -> list[Outcome] | None:
    """Beyond the limits of the parser: a person looks at it."""
    if case.message.too_much is None:
        return None
    case.steps.append(case.message.too_much)
    return [Quarantined(case.message.too_much)]


def _answer_to_rejection(case: _Case) -> list[Outcome] | None:
    """Rule 1."""
    ids = [*case.message.references, case.message.loop_tag or ""]
    found = next((id for id in ids if id in case.directory.rejections), None)
    if found is None:
        case.step("route_no_own_answer")
        return None
    return [Ignored(case.step("route_own_answer", id=found))]


def _report(case: _Case) -> list[Outcome] | None:
    """Rule 2."""
    message = case.message
    bounce_aliases = _bounce_aliases(message, case.book)
    report = read_report(message, at_bounce_address=bool(bounce_aliases))
    if report is None:
        case.step("route_auto_at_bounce" if bounce_aliases else "route_no_report")
        return None
    case.hits += [alias.id for alias in bounce_aliases]
    known = (case.directory.known.get(id) for id in report.returned_ids)
    about = max((found for found in known if found and found.sent), key=lambda found: found.order, default=None)
    token = next(
        (
            local_part(address).partition("+")[2]
            for address in _addressed(message)
            if "+" in address and (alias := case.book.find(address)) is not None and alias.role == "bounce"
        ),
        "",
    )
    names = ", ".join(reported.address for reported in report.recipients[:5])
    case.step(f"route_report_{report.about.value}", addresses=names, n=len(report.recipients))
    case.step("route_report_ours" if about or token else "route_report_not_ours")
    return [Bounced(report, about, token)]


def _addressed(message: IncomingMessage) -> list[str]:
    """The recipients but those in Cc: a person may send a copy to the bounce address."""
    return [*message.to, *message.delivered_to, *message.resent_to]


def _bounce_aliases(message: IncomingMessage, book: AddressBook) -> list[AliasRule]:
    return book.among(_addressed(message), "bounce")


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
    addressed = case.book.among([*case.message.to, *case.message.resent_to])
    others = [alias for alias in addressed if alias.type_id != known.type_id]
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
    return [Reply(known.thread_id, known.post_id, known.is_note)]


def _unsubscribe(case: _Case) -> list[Outcome] | None:
    """A mail to the catchall that our List-Unsubscribe header asked for; a program may have sent it by itself."""
    token = unsubscribe_token(case.message.subject)
    known = case.directory.known.get(token) if token else None
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
    instead = next((alias.address for alias in case.book.by_address.values() if _takes_new_mail(alias)), "")
    code = "reject_catchall" if instead else "reject_catchall_only"
    reason = case.step(code, address=catchalls[0].address, instead=instead)
    return [Rejected(reason, "catchall", catchalls[0].id)]


def _takes_new_mail(alias: AliasRule) -> bool:
    return alias.role == "alias" and alias.policy == "everyone" and not alias.retired and alias.fixed_thread_id is None


def _aliases(case: _Case) -> list[Outcome] | None:
    """Rule 6: each alias judges by itself."""
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
            outcomes.append(PostTo(alias.fixed_thread_id, alias.id, alias.make_contact))
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
    sender = case.directory.sender
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
    if case.directory.action_type_id is None:
        case.step("route_no_action")
        return None
    case.step("route_action")
    return [NewDocument(case.directory.action_type_id)]


def _nobody(case: _Case) -> list[Outcome] | None:
    """Rule 8."""
    unknown = next(
        (
            address
            for address in case.recipients
            if domain_of(address) in case.book.domains and case.book.find(address) is None
        ),
        "",
    )
    reason = case.step("route_unknown_address", address=unknown) if unknown else case.step("route_nobody")
    return [Quarantined(reason, unknown)]


RULES: tuple[Callable[[_Case], list[Outcome] | None], ...] = (
    _own_mail,
    _too_much,
    _answer_to_rejection,
    _report,
    _unsubscribe,
    _automatic_answer,
    _reply,
    _catchall,
    _aliases,
    _server_action,
    _nobody,
)


def _each_once(case: _Case, outcomes: list[Outcome]) -> Routing:
    """Take out what this mail has reached already (rule 0, second half), then ask the loop brake (rule 9)."""
    if isinstance(outcomes[0], Duplicate):
        return Routing(tuple(outcomes), tuple(case.steps))
    by_target = {outcome.target: outcome for outcome in reversed(outcomes)}  # two aliases, one fixed document: one post
    wanted = [outcome for outcome in outcomes if by_target.get(outcome.target) is outcome]
    left = [outcome for outcome in wanted if outcome.target not in case.directory.done]
    if not left:
        reason = case.step("route_duplicate")
        return Routing((Duplicate(reason),), tuple(case.steps))
    if len(left) < len(wanted):
        case.step("route_partly_duplicate", n=len(wanted) - len(left), left=len(left))
    braked = tuple(_brake(case, outcome) for outcome in left)
    return Routing(braked, tuple(case.steps), tuple(dict.fromkeys(case.hits)))


def _brake(case: _Case, outcome: Outcome) -> Outcome:
    """Rule 9: whoever writes too often to one place is told once, and then ignored."""
    if not isinstance(outcome, Reply | PostTo | NewDocument):
        return outcome
    directory, sender = case.directory, case.message.from_key
    count = directory.mails_in_window.get(outcome.target, 0) + 1
    if count <= directory.loop_threshold:
        return outcome
    if sender in directory.loop_allowed or domain_of(sender) in directory.loop_allowed:
        case.step("route_loop_allowed", sender=sender)
        return outcome
    reason = case.step("reject_loop", n=count, limit=directory.loop_threshold, minutes=directory.loop_minutes)
    if outcome.target in directory.told:
        return Ignored(case.step("route_loop_ignored"), outcome.target)
    return Rejected(reason, outcome.target, getattr(outcome, "alias_id", None))


# --- answers


def answer_to(message: IncomingMessage, own: Container[str]) -> str | None:
    """Return the address that an answer of the system goes to, or None if there must be none.

    Return-Path if the mail has one, else From. Nothing is sent to an empty Return-Path, to lists, to machines
    (RFC 3834 2) and to addresses of our own (an ``AddressBook`` or a set).
    """
    if message.return_path == "" or message.is_list or message.is_auto_reply or message.auto_submitted != "no":
        return None
    address = message.return_path or message.from_key
    if not address or address in own or message.from_key in own or from_mailer_daemon(message):
        return None
    return address


__all__ = [
    "About",
    "AddressBook",
    "AliasRule",
    "AutoNote",
    "Bounced",
    "Duplicate",
    "Facts",
    "Ignored",
    "KnownMessage",
    "LookUp",
    "NewDocument",
    "Outcome",
    "PostTo",
    "Quarantined",
    "Rejected",
    "Replied",
    "Reply",
    "Routing",
    "SenderFacts",
    "Unsubscribed",
    "answer_to",
    "look_up",
    "route",
    "threads_to_check",
    "unsubscribe_token",
]  # fmt: skip

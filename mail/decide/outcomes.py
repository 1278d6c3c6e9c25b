"""What can become of a received mail: one small type each, and the decision that holds them."""

from dataclasses import dataclass
from typing import Literal

from mail.decide.facts import KnownMessage, SelfTestMail
from mail.decide.forwarding import ForwardingRequest
from mail.decide.report import Report
from mail.message.dmarc_report import AggregateReport
from mail.sentences import Why


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
class SelfTested:
    """An email of a server's self-test came in, or was returned: noted there, and that is all.

    ``is_threaded``: it names the email of the self-test that it replies to.
    """

    part: SelfTestMail
    how: Literal["arrived", "returned"]
    is_threaded: bool = False
    report: Report | None = None
    target: str = "self_test"


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A DMARC report about one of our domains: who sent as it is kept, answered by nothing.

    ``registered_domain``: what its domain belongs to. Told here, for the list of public suffixes takes time to read.
    """

    report: AggregateReport
    registered_domain: str
    target: str = "dmarc"


@dataclass(frozen=True, slots=True)
class ForwardingAsked:
    """Somebody's provider asks us to confirm that it forwards to us: shown to admins; in doubt, in quarantine."""

    request: ForwardingRequest

    @property
    def is_doubted(self) -> bool:
        return bool(self.request.doubt)

    @property
    def target(self) -> str:
        return "quarantine" if self.is_doubted else "forwarding"


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
    """An answer in a thread, relayed to the followers (a note's answer: to those who are users) but its author and
    those who had it in To or Cc. ``from_outside``: it answers a note, and does not come from a user for certain."""

    thread_id: int
    parent_post_id: int | None
    is_note: bool = False
    from_outside: bool = False

    @property
    def target(self) -> str:
        return f"thread:{self.thread_id}"


@dataclass(frozen=True, slots=True)
class PostTo:
    """A mail to an alias with a fixed document: posted there. ``follow``: its sender follows the document then."""

    thread_id: int
    alias_id: int
    make_contact: bool = True
    follow: bool = False

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
    """Nobody's: kept for a person to decide.

    ``address``: the unknown address of ours that it was sent to. ``held``: where it would have gone but for the loop
    brake; all that one sender sent there is one group.
    """

    reason: Why
    address: str = ""
    held: str = ""
    target: str = "quarantine"


Outcome = (
    Duplicate | Ignored | Bounced | Aggregate | ForwardingAsked | SelfTested | AutoNote | Reply | PostTo | NewDocument
    | Replied | Unsubscribed | Rejected | Quarantined
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Routing:
    """The decision: what becomes of the mail, how that came about, and which aliases were hit.

    ``answer_to``: the address that is told of rejections, "" for nobody. ``mark``: what readers are told of its sender
    (``trust.Mark``), and why.
    """

    outcomes: tuple[Outcome, ...]
    steps: tuple[Why, ...]
    hits: tuple[int, ...] = ()
    answer_to: str = ""
    mark: str = ""
    mark_why: Why | None = None

    @property
    def is_doubted(self) -> bool:
        """Whether it names a person or an address of ours, and nothing proves that it is from there."""
        return self.mark in ("not_checked", "forged")

    @property
    def state(self) -> str:
        """The state of the mail in the ledger; one that waits for a person, even in part, is in quarantine."""
        kinds = {type(outcome) for outcome in self.outcomes}
        if any(one.target == "quarantine" for one in self.outcomes):
            return "quarantined"
        if kinds & {Bounced, Aggregate, ForwardingAsked, AutoNote, Reply, PostTo, NewDocument, Unsubscribed}:
            return "processed"
        if Rejected in kinds:
            return "rejected" if self.answer_to else "ignored"
        return "ignored" if kinds & {Ignored, SelfTested} else "duplicate"

    @property
    def result(self) -> str:
        """What came of a mail that reached a place, in a word; "" otherwise."""
        for outcome in self.outcomes:
            if isinstance(outcome, Bounced):
                return outcome.report.about.value
            word = _RESULTS.get(type(outcome))
            if word:
                return word
        return ""

    @property
    def held(self) -> str:
        """The place at which the loop brake stopped the mail, "" if it did not."""
        return next((outcome.held for outcome in self.outcomes if isinstance(outcome, Quarantined)), "")

    @property
    def unknown_address(self) -> str:
        """The address of ours that a mail in quarantine was written to and that nobody has, "" for any other."""
        return next((outcome.address for outcome in self.outcomes if isinstance(outcome, Quarantined)), "")


_RESULTS: dict[type, str] = {
    Aggregate: "dmarc",
    ForwardingAsked: "forwarding",
    AutoNote: "auto_reply",
    Reply: "reply",
    PostTo: "reply",
    NewDocument: "document",
    Unsubscribed: "unsubscribed",
    SelfTested: "self_test",
}

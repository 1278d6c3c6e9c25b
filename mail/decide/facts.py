"""What the rules of routing must know about a mail: our addresses, the messages its ids name, who wrote it.

``look_up`` says what must be found out, a flow fills a ``Facts`` with few queries for many mails; pure values both.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from mail.decide.aggregate_report import aggregate_report
from mail.decide.author import Authorship, authorship
from mail.decide.domains import OwnAddresses, without_tag
from mail.decide.report import returned_ids
from mail.message.address import domain_of, local_part, normalise
from mail.message.arrival import moment
from mail.message.dmarc_report import AggregateReport
from mail.message.parse import IncomingMessage, message_key
from mail.sentences import Why

Policy = Literal["everyone", "contacts", "followers", "users"]

CLOCK_IS_OFF = timedelta(days=30)  # between a Date and the arrival: then it says nothing
MOST_IDS = 200  # of References, and of a returned mail, that are looked up: the first and the last ones
ANSWERS_AN_HOUR = 20  # answers that the system writes, over all


# --- our addresses


@dataclass(frozen=True, slots=True)
class AliasRule:
    """An address of ours, as the rules see it. Threads stand for their documents."""

    id: int
    address: str  # normalised
    role: Literal["alias", "catchall", "bounce"] = "alias"
    type_id: int | None = None
    policy: Policy = "everyone"
    fixed_thread_id: int | None = None  # all its mail is posted there
    follow_fixed: bool = False  # whoever writes to it follows that thread
    parent_thread_id: int | None = None  # whose followers may open new documents
    any_domain: bool = False
    one_domain: bool = False  # it works in the domain of its address alone, not in all of ours
    make_contact: bool = True
    refusal: str = ""  # the alias' own words to those it rejects
    retired: bool = False

    @property
    def works_everywhere(self) -> bool:
        return self.role == "alias" and not self.one_domain and not self.retired

    @property
    def opens_something(self) -> bool:
        return self.type_id is not None or self.fixed_thread_id is not None

    @property
    def takes_new_mail(self) -> bool:
        is_open = self.role == "alias" and self.policy == "everyone" and not self.retired
        return is_open and self.fixed_thread_id is None


class AddressBook:
    """The addresses of the office, retired ones included. Made once for many mails; contains each of them.

    ``own``: further addresses that are ours (the default addresses). ``domains``: those that are ours today; an alias
    that is not tied to one works on all of them. Former domains are known by their retired aliases.
    """

    def __init__(self, aliases: Iterable[AliasRule], own: Iterable[str] = (), domains: Iterable[str] = ()) -> None:
        aliases = list(aliases)
        self.by_address = {alias.address: alias for alias in aliases}
        any_domain = sorted((alias for alias in aliases if alias.any_domain), key=lambda alias: not alias.retired)
        self.by_local = {local_part(alias.address): alias for alias in any_domain}  # active ones win
        self.everywhere = {local_part(alias.address): alias for alias in aliases if alias.works_everywhere}
        self.domains = frozenset(domains)
        self.former_domains = frozenset(domain_of(alias.address) for alias in aliases) - self.domains
        addresses = frozenset(self.by_address) | {key for address in own if (key := normalise(address))}
        self.own = OwnAddresses(addresses, self.everywhere, self.domains)

    def find(self, address: str) -> AliasRule | None:
        """Return the alias that takes mail for an address, a bounce address also with a token behind a plus."""
        found = self._of_ours(address)
        if found is None and "+" in address:
            plain = self.by_address.get(without_tag(address))
            found = plain if plain is not None and plain.role == "bounce" else None
        if found is None and self.by_local:
            found = self.by_local.get(local_part(address))
        return found

    def _of_ours(self, address: str) -> AliasRule | None:
        """The alias of an address in our domains; one of all domains with the address that it has in this one."""
        found = self.by_address.get(address)
        if found is None:
            local, _, domain = address.rpartition("@")
            everywhere = self.everywhere.get(local) if domain in self.domains else None
            found = replace(everywhere, address=address) if everywhere is not None else None
        return found

    def among(self, addresses: Iterable[str], role: str = "alias") -> list[AliasRule]:
        """Return the aliases of one role that some addresses mean, each once, in their order."""
        found = (self.find(address) for address in addresses)
        return list({alias.id: alias for alias in found if alias is not None and alias.role == role}.values())

    def for_new_mail(self, domain: str) -> str:
        """Return an address that everybody may write to, in this domain if it has one; "" if there is none."""
        takers = [alias for alias in self.by_address.values() if alias.takes_new_mail]
        here = (found.address for alias in takers if (found := self._in(domain, alias)) is not None)
        return next(here, "") or next((alias.address for alias in takers), "")

    def _in(self, domain: str, alias: AliasRule) -> AliasRule | None:
        found = self._of_ours(f"{local_part(alias.address)}@{domain}")
        return found if found is not None and found.id == alias.id else None

    def __contains__(self, address: object) -> bool:
        """Say whether mail to this address comes to us; an alias of any domain makes no stranger's address ours."""
        return address in self.own

    def speaks_for_us(self, address: str) -> bool:
        """Say whether a reader takes a mail from this address for one of the office: ours, or in one of our domains."""
        domain = domain_of(address)
        return address in self or domain in self.domains or domain in self.former_domains


# --- what ids and addresses mean


@dataclass(frozen=True, slots=True)
class SelfTestMail:
    """The part of a server's self-test that an email of ours was sent for; 0: the result was deleted."""

    part_id: int
    name: str


@dataclass(frozen=True, slots=True)
class KnownMessage:
    """A message that an id names: one that we sent under a signed id, or one that we stored under its own."""

    order: float  # the greater, the later it was stored
    sender: str = ""  # the address it was sent as, normalised
    thread_id: int | None = None  # None: it belongs to no thread, or the thread is gone
    type_id: int | None = None  # of the thread's document
    post_id: int | None = None
    is_note: bool = False
    mail_id: int | None = None  # the outgoing mail
    trace_id: int | None = None  # one recipient of a mailing
    self_test: SelfTestMail | None = None

    def same_as(self, other: "KnownMessage") -> bool:
        """Say whether two ids name one message."""
        return (self.mail_id, self.trace_id, self.post_id) == (other.mail_id, other.trace_id, other.post_id)


@dataclass(frozen=True, slots=True)
class SenderFacts:
    """What we know of the person behind an address: active contact, active user, which asked threads he follows."""

    contact_id: int | None = None
    user_id: int | None = None
    follows: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Facts:
    """Everything that the rules must know to route one mail; the keys of ``signed`` and ``stored`` are looked-up ids.

    ``signed``: messages that we sent, by ids that nobody else can make. ``stored``: messages that came in, by the ids
    their writers gave them; anybody can use these again, so one may name several.
    """

    book: AddressBook
    signed: Mapping[str, KnownMessage] = field(default_factory=dict)
    stored: Mapping[str, Sequence[KnownMessage]] = field(default_factory=dict)
    rejections: frozenset[str] = frozenset()  # those of the ids that are rejections or other answers of the system
    arrivals: frozenset[str] = frozenset()  # those that tests of our own listener have
    done: frozenset[str] = frozenset()  # targets that have had this mail (message_key)
    sender: SenderFacts = SenderFacts()  # whom the From names
    author: SenderFacts = SenderFacts()  # who is shown as the author: mostly the same
    checked_by: str = ""  # the server whose word on the sender counts, as the header names it; "": nobody's
    action_type_id: int | None = None  # the incoming server's "create a new document"
    mailbox: str = ""  # the address of the mailbox that the mail was fetched from
    mails_in_window: Mapping[str, int] = field(default_factory=dict)  # earlier mails of the sender, by target
    told: frozenset[str] = frozenset()  # targets at which the sender was stopped, and told, within the window
    released: str = ""  # the target at which a person let this mail pass the loop brake
    loop_threshold: int = 20  # 0: no brake
    loop_minutes: int = 120
    loop_allowed: frozenset[str] = frozenset()  # senders that the brake leaves alone: addresses or domains
    answers_unknown: bool = False  # senders are told that an address of ours does not exist
    answers_left: int = ANSWERS_AN_HOUR  # that the system may still write in this hour
    answers_to_sender: int = 0  # that this sender got within the window of the brake
    sends_as: frozenset[str] = frozenset()  # our sending domains; only for a mail that is a DMARC report
    report_is_known: bool = False  # its DMARC report is stored already


# --- what must be looked up


@dataclass(frozen=True, slots=True)
class LookUp:
    """What a flow must find out about a mail before it can be routed."""

    message_key: str = ""
    sender: str = ""  # normalised, "" if there is none
    authorship: Authorship = field(default_factory=lambda: Authorship(None))
    ids: tuple[str, ...] = ()  # as they stand in Facts.signed, .stored and .rejections
    aggregate: AggregateReport | Why | None = None  # the DMARC report that it is, or why that can't be read

    @property
    def author(self) -> str:
        """The key of the address that is shown as the author's."""
        return self.authorship.author.key if self.authorship.author else ""

    @property
    def answer_to(self) -> str:
        """The key of the address that answers go to."""
        return self.authorship.answer_to.key if self.authorship.answer_to else ""


def look_up(message: IncomingMessage, book: AddressBook, number: int = 0, arrived_at: datetime | None = None) -> LookUp:
    """Return what must be known about a mail; the lists of many mails can be asked for in one query each.

    ``number`` tells mails apart that have nothing else to be told apart by: the row of the ledger. ``arrived_at``: when
    it reached its own server, if that was not now.
    """
    ids = [message.message_id, message.own_id, message.loop_tag, *both_ends(message.references, MOST_IDS)]
    ids += both_ends(returned_ids(message, at_bounce_address=bool(bounce_aliases(message, book))), MOST_IDS)
    ids += [unsubscribe_token(message.subject), bounce_token(message, book)]
    return LookUp(
        _key(message, number, arrived_at or message.arrived_at),
        message.from_key,
        authorship(message, book),
        tuple(dict.fromkeys(id for id in ids if id)),
        aggregate_report(message) if message.attachments else None,
    )


def _key(message: IncomingMessage, number: int, arrived_at: datetime) -> str:
    """The key of a mail's copies; a mail with neither a Message-ID nor a Date of its time has none but itself.

    A device without a clock dates every alarm alike, some seconds after it was turned on.
    """
    key = message_key(message)
    date = moment(message.raw_header("date"))
    if message.message_id or message.own_id or (date is not None and abs(arrived_at - date) < CLOCK_IS_OFF):
        return key
    return hashlib.sha256(f"{key} {number}".encode()).hexdigest()


def both_ends(ids: Sequence[str], most: int) -> list[str]:
    """Return at most so many ids: the first and the last ones, where the thread and what is answered stand.

    >>> both_ends(["a", "b", "c", "d", "e"], 4), both_ends(["a", "b"], 4)
    (['a', 'b', 'd', 'e'], ['a', 'b'])
    """
    return list(ids) if len(ids) <= most else [*ids[: most // 2], *ids[-(most - most // 2) :]]


def unsubscribe_token(subject: str) -> str:
    """Return the token of a mail that mail programs write for us (RFC 2369: our List-Unsubscribe), "" of any other.

    >>> unsubscribe_token("Unsubscribe ta2b"), unsubscribe_token("Please unsubscribe me")
    ('ta2b', '')
    """
    words = subject.split()
    return words[1] if len(words) == 2 and words[0].lower() == "unsubscribe" else ""


def threads_to_check(
    message: IncomingMessage,
    book: AddressBook,
    signed: Mapping[str, KnownMessage],
    stored: Mapping[str, Sequence[KnownMessage]],
    mailbox: str = "",
) -> frozenset[int]:
    """Return the threads of which ``SenderFacts.follows`` must say whether the sender follows them; mostly none."""
    named = [found for id in named_ids(message) if (found := signed.get(id)) is not None]
    foreign = [] if named else [found for id in message.references for found in stored.get(id, ())]
    threads = {found.thread_id for found in foreign}
    if len(threads) < 2:
        threads = set()
    aliases = [alias for alias in judging(message, book, mailbox) if alias.policy == "followers"]
    if aliases:
        threads |= {thread for alias in aliases for thread in (alias.fixed_thread_id, alias.parent_thread_id)}
        threads |= {found.thread_id for found in (*named, *foreign)}
    return frozenset(thread for thread in threads if thread is not None)


def named_ids(message: IncomingMessage) -> list[str]:
    """Return the ids by which a mail names the one that it answers."""
    return [*message.references, *([message.own_id] if message.own_id else [])]


def judging(message: IncomingMessage, book: AddressBook, mailbox: str) -> list[AliasRule]:
    """Return the aliases that say who may write: those that a mail names, else the one of its mailbox."""
    return book.among(message.recipients) or of_mailbox(message, book, mailbox)


def of_mailbox(message: IncomingMessage, book: AddressBook, mailbox: str) -> list[AliasRule]:
    """Return the recipient of last resort: whose mailbox a mail came to, such as a blind copy.

    A mailbox that takes the mail of a whole domain says which of its addresses was meant: that one counts then.
    """
    if any(domain_of(address) in book.domains for address in message.delivered_to):
        return []
    return book.among([mailbox])


def addressed(message: IncomingMessage) -> list[str]:
    """Return the recipients but those in Cc: a person may send a copy to the bounce address."""
    return [*message.to, *message.delivered_to, *message.resent_to]


def bounce_aliases(message: IncomingMessage, book: AddressBook) -> list[AliasRule]:
    """Return the bounce addresses that a mail was sent to."""
    return book.among(addressed(message), "bounce")


def bounce_token(message: IncomingMessage, book: AddressBook) -> str:
    """Return what stood behind the plus of the bounce address that a mail was sent to, "" for nothing."""
    return next(
        (
            local_part(address).partition("+")[2]
            for address in addressed(message)
            if "+" in address and (alias := book.find(address)) is not None and alias.role == "bounce"
        ),
        "",
    )

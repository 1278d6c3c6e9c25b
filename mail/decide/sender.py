"""Who a mail is sent as: the server, the From, the envelope sender and the Reply-To, with every reason.

One function for sending, for the stored decision and for the what-if form: ``decide``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from mail.decide.domains import MailDomain, Office, TypeAlias, alias_on
from mail.decide.servers import Choice, Server, choose_server
from mail.decide.signing import decide_signature
from mail.decide.verp import for_each_recipient
from mail.message.address import (
    LONGEST_MAILBOX,
    Address,
    domain_of,
    first_address,
    format_address,
    local_part,
    needs_smtputf8,
    normalise,
    parse_addresses,
    shorten_name,
    show_address,
    wire_address,
)
from mail.message.words import decode_words
from mail.sentences import Why, why

NULL_SENDER = "<>"  # RFC 5321 4.5.5: nothing may come back to it
LONGEST_REPLY_TO = 68  # with "Reply-To: " before it, one line of 78 characters: never folded
AuthorIs = Literal["verified", "received", "not_checked"]


@dataclass(frozen=True, slots=True)
class Request:
    """A mail as far as the decision needs it.

    ``sender`` is the value of its From; ``reply_to`` and ``return_path`` are what the mail was given (``"<>"``: nothing
    may come back); ``forced_server`` is the server of a mailing. For a mail that belongs to a document: ``document``
    is its title, ``aliases`` are those of its type, the oldest first. ``author_is`` says how the author is known: a
    relay of a *received* mail may be anybody's, one that is *not checked* names one of us as well.
    """

    sender: str
    reply_to: str = ""
    return_path: str = ""
    forced_server: int | None = None
    document: str | None = None
    aliases: Sequence[TypeAlias] = ()
    author_is: AuthorIs = "verified"


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided, with its reasons; ``failure`` set means that nothing may be sent.

    ``from_before``, ``from_after`` and ``reply_to`` are mailboxes for people to read; ``compose`` encodes them for the
    wire. ``envelope_sender`` is ready for SMTP, "" is the null sender; ``verp.bounce_address_of`` makes
    that of a recipient. ``smtputf8``: only a server that offers
    SMTPUTF8 can take the mail. ``server_id`` None with ``is_default_server``: the server of the environment.
    ``domain``: which of our domains its addresses and ids are on. ``dkim``: the domain that signs it, "" for none.
    """

    server_id: int | None = None
    is_default_server: bool = False
    server_name: str = ""
    from_before: str = ""
    from_after: str = ""
    encapsulated: bool = False
    envelope_sender: str = ""
    reply_to: str = ""
    domain: str = ""
    author_is: AuthorIs = "verified"
    smtputf8: bool = False
    dkim: str = ""
    steps: list[Why] = field(default_factory=list)
    warnings: list[Why] = field(default_factory=list)
    failure: Why | None = None

    @property
    def is_forced(self) -> bool:
        """Say whether somebody named the server, and no search found it."""
        return any(step["code"] == "search_forced" for step in self.steps)

    def as_json(self) -> dict[str, Any]:
        """Return what is stored with the mail."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "Decision":
        """Return a stored decision; fields that a later version dropped are ignored."""
        known = cls.__dataclass_fields__
        return cls(**{name: value for name, value in stored.items() if name in known})


def decide(request: Request, servers: Sequence[Server], office: Office) -> Decision:
    """Return which server sends a mail, as whom, and where failures and answers go. Never raises."""
    author = first_address(request.sender)
    default = office.default_address
    choice = choose(author.key if author else None, servers, office, request.forced_server)
    from_before = _mailbox(author.name, author.address) if author else decode_words(request.sender)[:LONGEST_MAILBOX]
    steps = [*choice.steps, *_about_default_server(choice, office)]
    may_keep = author is None or _may_keep(author, request.author_is, servers, office)
    failure = choice.failure or (None if author or default else _no_from(request.sender))
    if author and not may_keep and not (default or office.catchall_address):
        failure = failure or why("from_not_verified_alone", address=author.address)
    warnings: list[Why] = []
    if failure or choice.server is None:
        answered = author or (Address("", default) if default else None)
        home = (office.domain(author.domain) if author else None) or office.first
        return Decision(
            from_before=from_before,
            reply_to=_reply_to(request, answered, home, steps, warnings),  # it is composed now, and may be sent later
            domain=home.name,
            author_is=request.author_is,
            steps=steps,
            warnings=warnings,
            failure=failure,
        )

    server = choice.server
    if author is None:
        assert default is not None  # or it was a failure
        sent_as = Address("", default)
        steps.append(why("from_default", sender=from_before, address=default))
        warnings += _outside_filter(default, server)
    else:
        if len(parse_addresses(request.sender)) > 1:
            steps.append(why("from_first_of_several", address=author.address))
        sent_as = _send_as(author, server, servers, office, steps, warnings, may_keep=may_keep)
    if needs_smtputf8(sent_as.address):
        warnings.append(why("from_needs_smtputf8", address=sent_as.address))
    home = _home(sent_as, server, office, steps)
    dkim = decide_signature(sent_as.domain, server, office.signing, steps)
    bounce_address = _bounce_address(home, server, office, steps)
    envelope_sender = _envelope_sender(request, server, sent_as, bounce_address, steps)
    if office.verp is not False and bounce_address and envelope_sender == wire_address(bounce_address, smtputf8=True):
        arrives, untried = bounce_address in office.with_plus, office.verp is True
        envelope_sender = for_each_recipient(envelope_sender, server, steps, arrives=arrives, untried=untried)
    return Decision(
        server_id=server.id,
        is_default_server=server.id is None,
        server_name=server.name,
        from_before=from_before,
        from_after=_mailbox(sent_as.name, sent_as.address),
        encapsulated=author is not None and sent_as.key != author.key,
        envelope_sender=envelope_sender,
        reply_to=_reply_to(request, author or sent_as, home, steps, warnings),
        domain=home.name,
        author_is=request.author_is,
        smtputf8=needs_smtputf8(sent_as.address) or needs_smtputf8(envelope_sender),
        dkim=dkim,
        steps=steps,
        warnings=warnings,
    )


def choose(sender: str | None, servers: Sequence[Server], office: Office, forced: int | None = None) -> Choice:
    """Return the server for a From (a key), with every step of the search."""
    own = office.domain(domain_of(sender)) if sender else None
    return choose_server(
        servers,
        sender,
        office.default_address,
        own_default=own.default_address if own else None,
        default_server=_default_server(office),
        forced=forced,
        custom_servers=office.custom_servers,
    )


def encapsulate(author: Address, send_as: str) -> Address:
    """Return the mailbox that still names the author but has an address that may be used.

    >>> print(encapsulate(Address("Sales Desk", "sales@home.net"), "notify@acme.com"))
    "Sales Desk" <notify@acme.com>
    >>> print(encapsulate(Address("", "sales@home.net"), "notify@acme.com"))
    "sales" <notify@acme.com>
    """
    return Address(author.name or local_part(author.address), send_as)


# --- the From


def _send_as(
    author: Address,
    server: Server,
    servers: Sequence[Server],
    office: Office,
    steps: list[Why],
    warnings: list[Why],
    *,
    may_keep: bool,
) -> Address:
    """The From that is sent; notes the reason. ``may_keep`` False: nobody knows who wrote the mail, and it is ours."""
    default = _default_for(author, server, office) or (None if may_keep else office.catchall_address)
    kept = _kept_because(author, server, servers, office) if may_keep else None
    if kept:
        steps.append(kept)
        return author
    if default is None:
        steps.append(why("from_kept_no_default", address=author.address, server=server.name))
        warnings.append(why("no_default_address", address=author.address, server=server.name))
        return author
    if author.key == default:
        steps.append(why("from_is_default", address=default))
        return author
    reason = _rewritten_because(server) if may_keep else "from_not_verified"
    steps.append(why(reason, address=author.address, default=default, server=server.name, filter=_listed(server)))
    warnings += _outside_filter(default, server)
    return encapsulate(author, default)


def _default_for(author: Address, server: Server, office: Office) -> str | None:
    """The address that stands in for the author's: that of his own domain, if the server may send as it."""
    own = office.domain(author.domain)
    if own is not None and own.default_address and server.may_send_as(own.default_address):
        return own.default_address
    return office.default_address


def _kept_because(author: Address, server: Server, servers: Sequence[Server], office: Office) -> Why | None:
    """Why the From stays as it is; None if it has to be encapsulated."""
    address, domain = author.key, author.domain
    if server.filters:
        entry = next((entry for entry in (address, domain) if entry in server.filters), None)
        return why("from_in_filter", address=address, entry=entry, server=server.name) if entry else None
    if server.rewrite == "never":
        return why("from_kept_by_server", address=address, server=server.name)
    if server.rewrite == "always":
        return None
    if office.domain(domain) is not None:
        code = "from_on_alias_domain" if domain == office.first.name else "from_on_our_domain"
        return why(code, address=address, domain=domain)
    owner = _owner(address, servers)
    return why("from_in_other_filter", address=address, server=owner.name) if owner else None


def _owner(address: str, servers: Sequence[Server]) -> Server | None:
    """The active server whose filter has an address."""
    return next((other for other in servers if other.active and other.has(address)), None)


def _may_keep(author: Address, author_is: AuthorIs, servers: Sequence[Server], office: Office) -> bool:
    """Say whether our servers may vouch for a From, as far as it is known who wrote the mail."""
    return author_is == "verified" or (author_is == "received" and not _is_ours(author, servers, office))


def _is_ours(author: Address, servers: Sequence[Server], office: Office) -> bool:
    """Say whether a From is one of ours, for which our servers vouch."""
    filters = (*office.default_from_filter, *(office.default_server.filters if office.default_server else ()))
    return (
        office.domain(author.domain) is not None
        or author.key == office.default_address
        or author.key in filters
        or author.domain in filters
        or _owner(author.key, servers) is not None
    )


def _rewritten_because(
    server: Server,
) -> Literal["from_not_in_filter", "from_always_rewritten", "from_not_ours"]:
    if server.filters:
        return "from_not_in_filter"
    return "from_always_rewritten" if server.rewrite == "always" else "from_not_ours"


def _outside_filter(default: str, server: Server) -> list[Why]:
    """The warning that the server may refuse even the default address."""
    if server.may_send_as(default):
        return []
    return [why("default_not_in_filter", address=default, server=server.name, filter=_listed(server))]


def _no_from(sender: str) -> Why:
    text = decode_words(sender)
    return why("from_invalid", sender=text[:LONGEST_MAILBOX]) if text else why("from_missing")


# --- the default server


def _default_server(office: Office) -> Server | None:
    """The server of the environment with the filter that counts: the parameter, if it is not empty, wins."""
    server = office.default_server
    if server is None or not office.default_from_filter:
        return server
    return replace(server, filters=office.default_from_filter)


def _about_default_server(choice: Choice, office: Office) -> list[Why]:
    """Where the filter of the default server comes from; nothing for a server record, which has its own."""
    if choice.server is None or choice.server.id is not None:
        return []
    if office.default_from_filter:
        return [why("default_filter_parameter", filter=_listed(choice.server))]
    if choice.server.filters:
        return [why("default_filter_environment", filter=_listed(choice.server))]
    return [why("default_filter_none")]


# --- the domain that its addresses are on


def _home(sent_as: Address, server: Server, office: Office, steps: list[Why]) -> MailDomain:
    """Which of our domains replies and failures come back to: that of the From, if the server may send for it."""
    first, own = office.first, office.domain(sent_as.domain)
    if not office.domains:
        return first  # nothing to choose from
    if own is None or own.name == first.name:
        steps.append(why("domain_first", domain=sent_as.domain, first=first.name or "–"))
        return first
    if not server.may_send_for(own.name):
        steps.append(why("domain_not_in_filter", domain=own.name, first=first.name or "–", server=server.name))
        return first
    steps.append(why("domain_own", domain=own.name))
    return own


def _bounce_address(home: MailDomain, server: Server, office: Office, steps: list[Why]) -> str | None:
    """The bounce address of that domain, or of the first one if only as that the server may send."""
    own, first = home.bounce_address, office.bounce_address
    if own and first and not server.may_send_as(own) and server.may_send_as(first):
        steps.append(why("envelope_first_domain", wanted=own, server=server.name))
        return first
    return own or first


# --- envelope sender and Reply-To


def _envelope_sender(
    request: Request, server: Server, sent_as: Address, bounce_address: str | None, steps: list[Why]
) -> str:
    """The Return-Path: the given one, else the bounce address, if the server may send as it; else the From."""
    if request.return_path.strip() == NULL_SENDER:
        steps.append(why("envelope_null"))
        return ""
    given = normalise(request.return_path)
    wanted = given or bounce_address
    if wanted and server.may_send_as(wanted):
        steps.append(why("envelope_given" if given else "envelope_bounce", address=wanted, server=server.name))
        return wire_address(wanted, smtputf8=True)
    if wanted:
        steps.append(why("envelope_not_in_filter", wanted=wanted, address=sent_as.key, server=server.name))
    else:
        steps.append(why("envelope_no_bounce_address", address=sent_as.key))
    return wire_address(sent_as.address, smtputf8=True)


def _reply_to(request: Request, author: Address | None, home: MailDomain, steps: list[Why], warnings: list[Why]) -> str:
    """Where answers go: what was given, the alias of the document's type, the catchall, the author; "" for nobody."""
    if request.reply_to.strip():
        given = ", ".join(_mailbox(one.name, one.address) for one in parse_addresses(request.reply_to))
        if given:
            steps.append(why("reply_to_given", reply_to=given))
            return given
        warnings.append(why("reply_to_invalid", reply_to=decode_words(request.reply_to)[:LONGEST_MAILBOX]))
    alias = normalise(alias_on(request.aliases, home))
    if request.document is not None and alias:
        steps.append(why("reply_to_alias", address=alias))
        return document_mailbox(home.company, request.document, alias)
    if request.document is not None and home.catchall_address:
        steps.append(why("reply_to_catchall", address=home.catchall_address))
        return document_mailbox(home.company, request.document, home.catchall_address)
    if author is None:
        return ""
    steps.append(why("reply_to_author", address=author.address))
    return _mailbox(author.name, author.address)


def document_mailbox(company: str, title: str, address: str) -> str:
    """Return the Reply-To of a document: "Company Document title", shortened until the header fits on one line.

    Words are dropped from the end of the title, then of the company; what does not fit at all goes without a name.

    >>> print(document_mailbox("My Company", "Quotation for forty large garden tables", "sales@mycompany.test"))
    "My Company Quotation for forty large garden" <sales@mycompany.test>
    """
    words = decode_words(f"{company} {title}").split()[:LONGEST_REPLY_TO]
    while words:
        name = " ".join(words)
        if len(name) <= LONGEST_REPLY_TO and len(format_address(name, address)) <= LONGEST_REPLY_TO:
            return show_address(name, address)
        words.pop()
    return show_address("", address)


def _mailbox(name: str, address: str) -> str:
    """A mailbox for people to read, of a length that a row can keep."""
    shown = show_address(shorten_name(name, address), address)
    return shown if len(shown) <= LONGEST_MAILBOX else show_address("", address)


def _listed(server: Server) -> str:
    return ", ".join(server.filters[:10]) + (", …" if len(server.filters) > 10 else "")

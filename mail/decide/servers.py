"""The choice of the outgoing server: five steps in a fixed order, and the reasons why each server matched or not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from mail.message.address import domain_of, normalise
from mail.message.domains import normalise_domain
from mail.sentences import Why, say, why

Rewrite = Literal["not_ours", "never", "always"]

NEVER_MATCHES = (",",)  # a stored filter that holds nothing readable: not the same as "no filter"
SHOWN = 10  # servers that one step explains one by one; the others are counted


class FilterError(ValueError):
    """A From filter can't be used; ``why`` says what is wrong, ``str()`` is its sentence."""

    def __init__(self, reason: Why) -> None:
        super().__init__(reason["code"], reason["values"])
        self.why = reason

    def __str__(self) -> str:
        return say(self.why)


@dataclass(frozen=True, slots=True)
class Server:
    """What the choice needs to know of an outgoing server; ``id`` None is the default server of the environment.

    ``filters`` comes from ``parse_filter``. ``rewrite`` counts only without a filter: whether a From that is not ours,
    none or every From is encapsulated. ``verp``: whether it takes a bounce address of its own for each recipient, None
    while nobody has tried.
    ``signs_itself``: it puts DKIM signatures on emails, so we don't.
    """

    id: int | None
    name: str
    priority: int = 10
    filters: tuple[str, ...] = ()
    rewrite: Rewrite = "not_ours"
    active: bool = True
    verp: bool | None = None
    signs_itself: bool = False

    def has(self, address: str) -> bool:
        """Say whether the filter has this address (a key of ``normalise``) or its domain; no filter has nothing."""
        return address in self.filters or domain_of(address) in self.filters

    def may_send_as(self, address: str) -> bool:
        """Say whether this server may be given the address as an envelope sender: it has no filter, or it has it."""
        return not self.filters or self.has(address)

    def may_send_for(self, domain: str) -> bool:
        """Say whether this server may send as any address of a domain.

        >>> one = Server(1, "one", filters=("info@acme.com",))
        >>> one.may_send_for("acme.com"), one.may_send_as("bounce@acme.com"), one.may_send_for("other.com")
        (True, False, False)
        """
        return not self.filters or any(domain in (entry, domain_of(entry)) for entry in self.filters)


class ChoiceStep(StrEnum):
    """The step that found the server."""

    FORCED = "forced"
    ADDRESS = "address"
    DOMAIN = "domain"
    NO_FILTER = "no_filter"
    OWN_DEFAULT = "own_default"
    DEFAULT_ADDRESS = "default_address"
    DEFAULT_DOMAIN = "default_domain"
    FIRST = "first"
    DEFAULT_SERVER = "default_server"


@dataclass(frozen=True, slots=True)
class Choice:
    """The server and the step that found it, or the failure; ``steps`` explains each step that was tried."""

    server: Server | None
    step: ChoiceStep | None
    steps: list[Why] = field(default_factory=list)
    failure: Why | None = None


# --- From filters


def parse_filter(text: str | None) -> tuple[str, ...]:
    """Return the domains and addresses of a From filter as they are compared; () for an empty one.

    Raises ``FilterError`` for blanks or commas alone and for an entry that is neither a domain nor an address.

    >>> parse_filter(" Example.com, Sales@XN--BCHER-KVA.example ")
    ('example.com', 'sales@bücher.example')
    """
    if not text:
        return ()
    entries = [entry.strip() for entry in text.split(",")]
    if not any(entries):
        raise FilterError(why("filter_blank"))
    found = []
    for entry in filter(None, entries):
        key = _entry(entry)
        if key is None:
            raise FilterError(why("filter_entry_invalid", entry=entry))
        found.append(key)
    return tuple(dict.fromkeys(found))


def read_filter(text: str | None) -> tuple[str, ...]:
    """Return a *stored* filter without ever failing: an entry that can't be read matches nothing.

    >>> read_filter("example.com, not a domain"), read_filter(" , "), read_filter("")
    (('example.com',), (',',), ())
    """
    if not text:
        return ()
    found = [_entry(entry.strip()) for entry in text.split(",")]
    return tuple(dict.fromkeys(filter(None, found))) or NEVER_MATCHES


def _entry(entry: str) -> str | None:
    if "@" in entry:
        return None if "<" in entry else normalise(entry)
    return normalise_domain(entry)


# --- whom a stored password was given for


def needs_password_again(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether the stored password of a server may not be used after a change: it would go to somebody else.

    That is another host, port, encryption or protocol, or a certificate that is not verified any more. Values that are
    missing are the same as before.

    >>> smtp = {"host": "smtp.a.test", "port": 587, "encryption": "starttls", "verify_tls": True}
    >>> needs_password_again(smtp, {**smtp, "host": "SMTP.A.TEST."}), needs_password_again(smtp, {**smtp, "port": 25})
    (False, True)
    """
    changed = {name for name, value in after.items() if _compared(name, value) != _compared(name, before.get(name))}
    if changed & {"kind", "host", "port", "encryption"}:
        return True
    return "verify_tls" in changed and not after["verify_tls"]


def _compared(name: str, value: Any) -> Any:
    return str(value).strip().lower().removesuffix(".") if name == "host" else value


# --- the choice


def choose_server(
    servers: Sequence[Server],
    sender: str | None,
    default_address: str | None,
    *,
    own_default: str | None = None,
    default_server: Server | None,
    forced: int | None = None,
    custom_servers: bool = True,
) -> Choice:
    """Return the server for a From, the step that found it and all steps with their reasons.

    ``sender`` and ``default_address`` are keys of ``normalise`` or None; ``own_default`` is the default address of the
    sender's own domain, where that is another one of ours. Only active servers take part; in every step the lowest
    priority wins, then the oldest. ``forced`` names the one server of a mailing: there is no search then,
    and no silent replacement. The default server sends when *Custom Email Servers* is off or no record is active.
    Failures: ``no_server``, ``server_off``, ``server_gone``.
    """
    if forced is not None:
        return _forced(servers, forced)
    active = sorted((server for server in servers if server.active), key=_rank)
    if not active or not custom_servers:
        return _default(default_server, "search_no_record" if custom_servers else "search_custom_off")
    shown = [(server, _values(server)) for server in active[:SHOWN]]
    steps: list[Why] = []
    for number, step, wanted in _searches(sender, own_default, default_address):
        if wanted is None:
            steps.append(why(_NOT_TRIED[step], number=number))
            continue
        fitting = (
            active if step is ChoiceStep.FIRST else (one for one in active if wanted in (one.filters or _NO_FILTER))
        )
        found = next(iter(fitting), None)
        steps.append(_explain(number, step, wanted, len(active), shown, found))
        if found:
            break  # the last step always finds one
    return Choice(found, step, steps)


def _rank(server: Server) -> tuple[int, int]:
    return server.priority, server.id or 0


_NO_FILTER = ("",)  # what a server without a filter is found by


def _searches(
    sender: str | None, own_default: str | None, default: str | None
) -> list[tuple[int, ChoiceStep, str | None]]:
    """The steps in their order, with what each looks for in the filters."""
    sender_domain = domain_of(sender) if sender else None
    default_domain = domain_of(default) if default else None
    own = [(4, ChoiceStep.OWN_DEFAULT, own_default)] if own_default and own_default != default else []
    return [
        (1, ChoiceStep.ADDRESS, sender),
        (2, ChoiceStep.DOMAIN, sender_domain),
        (3, ChoiceStep.NO_FILTER, ""),
        *own,
        (4, ChoiceStep.DEFAULT_ADDRESS, default),
        (4, ChoiceStep.DEFAULT_DOMAIN, default_domain),
        (5, ChoiceStep.FIRST, ""),
    ]


_NOT_TRIED = {
    ChoiceStep.ADDRESS: "search_no_sender",
    ChoiceStep.DOMAIN: "search_no_sender",
    ChoiceStep.DEFAULT_ADDRESS: "search_no_default",
    ChoiceStep.DEFAULT_DOMAIN: "search_no_default",
}


def _forced(servers: Sequence[Server], forced: int) -> Choice:
    server = next((server for server in servers if server.id == forced), None)
    if server is None:
        return Choice(None, None, [], why("server_gone", id=forced))
    if not server.active:
        return Choice(None, None, [], why("server_off", server=server.name, id=server.id))
    return Choice(server, ChoiceStep.FORCED, [why("search_forced", server=server.name, id=server.id)])


def _default(server: Server | None, reason: str) -> Choice:
    if server is None:
        return Choice(None, None, [why(f"{reason}_alone")], why("no_server"))
    return Choice(server, ChoiceStep.DEFAULT_SERVER, [why(reason)])


def _explain(
    number: int,
    step: ChoiceStep,
    wanted: str,
    count: int,
    shown: list[tuple[Server, dict[str, Any]]],
    found: Server | None,
) -> Why:
    """One step: what was looked for, and of each server whether and why it matched.

    ``looked_at`` holds the servers by priority as explanations of their own: the first few, and the chosen one.
    """
    if found and all(server is not found for server, _ in shown):
        shown = [*shown[:-1], (found, _values(found))]
    looked_at: list[Why] = [
        {"code": _verdict(step, wanted, server, found), "values": values} for server, values in shown
    ]
    if count > len(shown):
        looked_at.append(why("search_more", count=count - len(shown)))
    return why(
        f"search_{step}_found" if found else f"search_{step}",
        number=number,
        wanted=wanted,
        count=count,
        server=found.name if found else "",
        id=found.id if found else None,
        looked_at=looked_at,
    )


def _verdict(step: ChoiceStep, wanted: str, server: Server, found: Server | None) -> str:
    if server is found:
        return "server_chosen"
    if found and (step is ChoiceStep.FIRST or wanted in (server.filters or _NO_FILTER)):
        return "server_later"
    if step is ChoiceStep.NO_FILTER:
        return "server_has_filter"
    return "server_other_filter" if server.filters else "server_without_filter"


def _values(server: Server) -> dict[str, Any]:
    """What the sentences on a server name; shared by all steps, which is most of the speed."""
    return {"server": server.name, "id": server.id, "priority": server.priority, "filter": _shown(server.filters)}


def _shown(filters: tuple[str, ...]) -> str:
    """A filter for the explanation; a very long one is cut."""
    return ", ".join(filters[:SHOWN]) + (", …" if len(filters) > SHOWN else "")

"""The domains of the office, with the addresses that each of them has. Pure.

The first is the alias domain of General Settings: its addresses come from the system parameters.
"""

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mail.decide.servers import Server
from mail.message.address import domain_of, local_part, normalise

_ALIAS = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class MailDomain:
    """One of our domains; its addresses are keys, None where it has none. ``name`` as it is compared."""

    name: str
    bounce_address: str | None = None
    catchall_address: str | None = None
    default_address: str | None = None
    company: str = ""

    @classmethod
    def of(
        cls, name: str, *, bounce: str = "", catchall: str = "", default_from: str = "", company: str = ""
    ) -> "MailDomain":
        """Return a domain with the addresses that these local parts have in it.

        >>> MailDomain.of("Second.com", bounce="returns").bounce_address
        'returns@second.com'
        """
        return cls(
            domain_of(f"x@{name}"),
            address_on(bounce, name),
            address_on(catchall, name),
            address_on(default_from, name),
            company,
        )


def address_on(local: str, domain: str) -> str | None:
    """Return the address of a local part in a domain (its key), None if one of both is missing.

    >>> address_on("bounce", "MyCompany.com"), address_on("bounce", " ")
    ('bounce@mycompany.com', None)
    """
    local, domain = local.strip(), domain.strip()
    return normalise(f"{local}@{domain}") if local and domain else None


@dataclass(frozen=True, slots=True)
class Office:
    """What the office has set: the system parameters as they are, and the default server of the environment.

    ``default_from_filter`` is the parameter ``mail.default.from_filter``, read by ``parse_filter``; ``company`` the
    name of the company. ``domains``: those beside the alias domain, which is the first of ``all_domains``.
    ``signing``: the domains whose emails we sign (DKIM).
    """

    default_from: str = ""
    catchall_domain: str = ""
    catchall_alias: str = "catchall"
    bounce_alias: str = "bounce"
    verp: bool | None = False  # a bounce address for each recipient; None: where a test of the server passed
    with_plus: Container[str] = frozenset()  # the bounce addresses where mail with an addition behind a plus arrived
    company: str = ""
    custom_servers: bool = True
    default_server: Server | None = None
    default_from_filter: tuple[str, ...] = ()
    domains: tuple[MailDomain, ...] = ()
    signing: frozenset[str] = frozenset()
    all_domains: tuple[MailDomain, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Put the alias domain before the others, once: each mail asks."""
        first = self.first
        object.__setattr__(self, "all_domains", (first, *self.domains) if first.name else self.domains)

    @property
    def default_address(self) -> str | None:
        """The address that mail is sent as when the author's own may not be used (its key), or None.

        >>> Office(default_from="notifications", catchall_domain="MyCompany.com").default_address
        'notifications@mycompany.com'
        >>> Office(default_from="info@other.com", catchall_domain="mycompany.com").default_address
        'info@other.com'
        """
        if "@" in self.default_from:
            return normalise(self.default_from)
        return address_on(self.default_from, self.catchall_domain)

    @property
    def catchall_address(self) -> str | None:
        """Where replies go that have no alias of their own, or None."""
        return address_on(self.catchall_alias, self.catchall_domain)

    @property
    def bounce_address(self) -> str | None:
        """Where delivery failures go, or None."""
        return address_on(self.bounce_alias, self.catchall_domain)

    @property
    def first(self) -> MailDomain:
        """The alias domain; without a name while there is none."""
        name = domain_of(f"x@{self.catchall_domain}")
        return MailDomain(name, self.bounce_address, self.catchall_address, self.default_address, self.company)

    def verp_on(self, bounce_address: str | None, server: Server) -> bool:
        """Say whether a server may be given addresses for each recipient that are made of this bounce address.

        >>> known, tried, untried = {"bounce@acme.com"}, Server(1, "tried", verp=True), Server(2, "untried")
        >>> [Office(verp=verp, with_plus=known).verp_on("bounce@acme.com", one)
        ...  for verp in (None, True, False) for one in (tried, untried)]
        [True, False, True, True, False, False]
        """
        is_wanted = server.verp is True if self.verp is None else self.verp and server.verp is not False
        return is_wanted and bounce_address in self.with_plus

    def domain(self, name: str) -> MailDomain | None:
        """Return the domain of ours with this name, None for somebody else's.

        >>> Office(catchall_domain="mycompany.com").domain("other.com") is None
        True
        """
        return next((domain for domain in self.all_domains if domain.name == name), None) if name else None


class TypeAlias(NamedTuple):
    """An alias of a document type: it works on all of our domains, unless it is tied to the one of its address."""

    address: str
    one_domain: bool = False


def alias_on(aliases: Sequence[TypeAlias], domain: MailDomain) -> str:
    """Return the address that a document type has in a domain: the alias tied to it, else one of all domains, else "".

    >>> both = [TypeAlias("sales@mycompany.com"), TypeAlias("shop@second.com", one_domain=True)]
    >>> [alias_on(both, MailDomain(name)) for name in ("mycompany.com", "second.com", "third.com")]
    ['sales@mycompany.com', 'shop@second.com', 'sales@third.com']
    """
    tied = (alias.address for alias in aliases if alias.one_domain and domain_of(alias.address) == domain.name)
    everywhere = (_moved(alias.address, domain) for alias in aliases if not alias.one_domain)
    return next(tied, "") or next(everywhere, "")


def _moved(address: str, domain: MailDomain) -> str:
    local = local_part(address)
    return f"{local}@{domain.name}" if local and domain.name else address


# --- which addresses are ours


@dataclass(frozen=True, slots=True)
class OwnAddresses:
    """The addresses that write to ourselves; contains each of them (a key), also with a tag behind a plus.

    ``everywhere``: the local parts that are ours in each of our ``domains``.
    """

    addresses: Container[str] = frozenset()
    everywhere: Container[str] = frozenset()
    domains: Container[str] = frozenset()

    def __contains__(self, address: object) -> bool:
        """Say whether mail to this address comes to us.

        >>> own = OwnAddresses({"info@first.com"}, {"sales"}, {"first.com", "second.com"})
        >>> [word in own for word in ("info@first.com", "sales+7@second.com", "info@second.com", "sales@home.net")]
        [True, True, False, False]
        """
        return isinstance(address, str) and (self._has(address) or self._has(without_tag(address)))

    def _has(self, address: str) -> bool:
        local, _, domain = address.rpartition("@")
        return address in self.addresses or (domain in self.domains and local in self.everywhere)


def fits_alias(local: str) -> bool:
    """Say whether this can stand before the @ of an address of ours.

    >>> [fits_alias(local) for local in ("sales", "sales+web", "o'neill", "a..b", "-a")]
    [True, False, False, False, False]
    """
    return _ALIAS.fullmatch(local) is not None and ".." not in local


def without_tag(address: str) -> str:
    """Return an address without what stands behind a plus.

    >>> without_tag("sales+spring@office.test"), without_tag("+@office.test")
    ('sales@office.test', '@office.test')
    """
    local, at, domain = address.rpartition("@")
    return f"{local.partition('+')[0]}{at}{domain}"

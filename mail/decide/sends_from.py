"""Where an admin says that the emails of a server come from: addresses, or a name to include in SPF. Pure."""

import ipaddress
import re
from dataclasses import dataclass

from mail.decide.spf_record import Network
from mail.message.domains import wire_domain
from mail.sentences import Why, say, why

MOST_ENTRIES = 20
WIDEST = {4: 16, 6: 32}  # the shortest prefix of a network: nobody owns more, and such a record lets everybody pass

_BETWEEN = re.compile(r"[\s,;]+")
_PREFIX = re.compile(r"\+?(ip4|ip6|include):", re.IGNORECASE)


class SendsFromError(ValueError):
    """What was entered can't be used; ``why`` says what is wrong, ``str()`` is its sentence."""

    def __init__(self, reason: Why) -> None:
        super().__init__(reason["code"], reason["values"])
        self.why = reason

    def __str__(self) -> str:
        return say(self.why)


@dataclass(frozen=True, slots=True)
class SendsFrom:
    """Addresses and networks as SPF writes them, or what to include; nothing if nobody said it."""

    addresses: tuple[str, ...] = ()
    include: str = ""


def parse_sends_from(text: str | None) -> SendsFrom:
    """Return what was entered; raises ``SendsFromError``. It may be copied from an SPF record.

    >>> parse_sends_from("203.0.113.7, ip4:198.51.100.0/24")
    SendsFrom(addresses=('203.0.113.7', '198.51.100.0/24'), include='')
    >>> parse_sends_from("include:SPF.Provider.com")
    SendsFrom(addresses=(), include='spf.provider.com')
    >>> parse_sends_from(" ")
    SendsFrom(addresses=(), include='')
    """
    entries = [entry for entry in _BETWEEN.split(text or "") if entry]
    if len(entries) > MOST_ENTRIES:
        raise SendsFromError(why("sends_from_many", count=len(entries), most=MOST_ENTRIES))
    found = [_entry(entry) for entry in entries]
    names = list(dict.fromkeys(one for one in found if isinstance(one, str)))
    networks = list(dict.fromkeys(one for one in found if not isinstance(one, str)))
    if names and (networks or names[1:]):
        raise SendsFromError(why("sends_from_mixed"))
    return SendsFrom(tuple(map(shown, networks)), "".join(names))


def read_sends_from(text: str | None) -> SendsFrom:
    """Return what is *stored* without ever failing.

    >>> read_sends_from("nonsense")
    SendsFrom(addresses=(), include='')
    """
    try:
        return parse_sends_from(text)
    except SendsFromError:
        return SendsFrom()


def shown(network: Network) -> str:
    """Return a network as SPF writes it: one of a single address is that address."""
    return str(network.network_address if network.num_addresses == 1 else network)


def _entry(entry: str) -> Network | str:
    """Return the network that an entry means, or the name to include."""
    plain = _PREFIX.sub("", entry, count=1)
    try:
        network = ipaddress.ip_network(plain, strict=False)
    except ValueError:
        name = wire_domain(plain)
        if name is None or "." not in name or name.rpartition(".")[2].isdecimal():
            raise SendsFromError(why("sends_from_invalid", entry=entry)) from None
        return name
    if network.prefixlen < WIDEST[network.version]:
        raise SendsFromError(why("sends_from_wide", entry=entry, widest=f"/{WIDEST[network.version]}"))
    if not (is_public(network[0]) and is_public(network[-1])):
        raise SendsFromError(why("sends_from_private", entry=entry))
    return network


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Say whether receivers can see this address; those for documentation stand for public ones in examples."""
    return not (address.is_loopback or address.is_link_local or address.is_unspecified) and (
        address.is_global or any(address in network for network in _DOCUMENTATION)
    )


_DOCUMENTATION = [
    ipaddress.ip_network(network) for network in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
]

"""Who hosts the DNS of a domain, and how the form for a record is called there. The data is in ``dns_hosts.toml``."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path

FILE = Path(__file__).with_suffix(".toml")


@dataclass(frozen=True)
class DnsHost:
    """A company that hosts DNS, with the names that its form gives to the fields of a record.

    ``root``: what stands for the domain itself in the field of the name, "" when it stays empty. ``usual``: the page at
    ``source`` does not state all of it.
    """

    title: str
    nameservers: tuple[str, ...]
    name: str
    value: str
    root: str
    where: str
    source: str
    seen: date
    quoted: bool = False
    usual: bool = False

    def has(self, nameserver: str) -> bool:
        """Say whether a name server is one of this company's."""
        return any(fnmatchcase(nameserver, pattern) for pattern in self.nameservers)

    def entered_name(self, name: str, zone: str) -> str:
        """Return what to enter as the name of a record: these forms add the domain of the zone themselves.

        >>> HOSTS["cloudflare"].entered_name("_dmarc.acme.com", "acme.com")
        '_dmarc'
        >>> HOSTS["cloudflare"].entered_name("acme.com", "acme.com"), HOSTS["wix"].entered_name("acme.com", "acme.com")
        ('@', '')
        """
        return self.root if name == zone else name.removesuffix(f".{zone}")


def _read(file: Path) -> Mapping[str, DnsHost]:
    entries = tomllib.loads(file.read_text("utf-8"))
    return {key: DnsHost(**{**entry, "nameservers": tuple(entry["nameservers"])}) for key, entry in entries.items()}


HOSTS = _read(FILE)


def of(nameservers: Iterable[str]) -> DnsHost | None:
    """Return who hosts a domain with these name servers, None when that is not known.

    >>> of(["ns-1024.awsdns-00.org", "ns-5.awsdns-11.com"]).title
    'Amazon Route 53'
    >>> of(["ns1.acme.com", "dns10.ovh.net"]) is None, of([]) is None
    (True, True)
    """
    names = [name.lower().removesuffix(".") for name in nameservers]
    fits = (host for host in HOSTS.values() if all(host.has(name) for name in names))
    return next(fits, None) if names else None

"""The providers of outgoing servers: what a person would look up there, so that only the login is left to type.

The data is in ``providers.toml``. A server keeps no link to its provider: ``at`` finds it again by the host.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from mail.decide.oauth import kind_at

FILE = Path(__file__).with_suffix(".toml")
COLUMNS = {  # of an outgoing server; each email goes to one recipient
    "connections at once": "connections",
    "emails per connection": "per_connection",
    "emails per second": "per_second",
    "emails per minute": "per_minute",
    "emails per hour": "per_hour",
    "emails per day": "per_day",
    "recipients per hour": "per_hour",
    "recipients per day": "per_day",
}


@dataclass(frozen=True)
class PublishedLimit:
    """How much a provider takes, and the page that says so. ``seen``: the date of that page, or when it was read.

    ``fill``: the form of a server is filled with it.
    """

    amount: int
    unit: str
    source: str
    seen: date
    note: str = ""
    fill: bool = False


@dataclass(frozen=True)
class Quirk:
    """What surprises people at a provider, in one sentence or two, and the page that says so."""

    says: str
    source: str
    seen: date


@dataclass(frozen=True)
class ProviderDns:
    """What the DNS of a domain needs before a provider may send for it, and the page about it.

    It signs as the domain once its records are published: a CNAME to the key, or a TXT with it (``dkim``);
    ``selectors`` are () where they differ by account. ``return_path``: the domain that takes the place of ours in the
    envelope sender. ``usual``: the page does not state all of it.
    """

    dkim: Literal["cname", "txt"]
    source: str
    seen: date
    spf: str = ""  # what the SPF record includes
    selectors: tuple[str, ...] = ()
    return_path: str = ""
    note: str = ""
    usual: bool = False

    def return_path_of(self, domain: str) -> str:
        """Return the domain of the envelope sender of emails from a domain, "" when it is the one that we give."""
        return self.return_path.replace("{domain}", domain)


@dataclass(frozen=True)
class Provider:
    """The settings of a provider. ``user``, ``password`` and ``choose`` say what to enter there, in a sentence."""

    key: str
    name: str
    kind: Literal["mailbox", "relay"]
    host: str
    port: int
    encryption: Literal["tls", "starttls"]
    user: str
    password: str
    source: str
    seen: date
    also: tuple[str, ...] = ()  # further hosts, with * for what differs
    domains: tuple[str, ...] = ()  # of the addresses that anybody gets there
    choose: str = ""  # what has to be changed in the host, if anything
    limits: tuple[PublishedLimit, ...] = ()
    quirks: tuple[Quirk, ...] = ()
    dns: ProviderDns | None = None

    @property
    def authentication(self) -> str:
        """How the form of a server is filled in: Microsoft takes no passwords, or only for a while."""
        return "oauth2" if kind_at(self.host) == "microsoft" else "password"

    def filled_limits(self) -> dict[str, int]:
        """Return the limits that the form of a server is filled with, by column."""
        return {COLUMNS[limit.unit]: limit.amount for limit in self.limits if limit.fill}

    def has(self, host: str) -> bool:
        """Say whether a host is one of this provider."""
        return host == self.host or any(fnmatchcase(host, pattern) for pattern in self.also)


def _provider(key: str, entry: dict[str, Any]) -> Provider:
    limits = tuple(PublishedLimit(**limit) for limit in entry.pop("limits", ()))
    quirks = tuple(Quirk(**quirk) for quirk in entry.pop("quirks", ()))
    also, domains = (tuple(entry.pop(name, ())) for name in ("also", "domains"))
    return Provider(
        key=key, limits=limits, quirks=quirks, also=also, domains=domains, dns=_dns(entry.pop("dns", None)), **entry
    )


def _dns(entry: dict[str, Any] | None) -> ProviderDns | None:
    return ProviderDns(**{**entry, "selectors": tuple(entry.get("selectors", ()))}) if entry else None


def _read(file: Path) -> Mapping[str, Provider]:
    return {key: _provider(key, entry) for key, entry in tomllib.loads(file.read_text("utf-8")).items()}


PROVIDERS = _read(FILE)


def at(host: str) -> Provider | None:
    """Return the provider that a host belongs to."""
    return next((provider for provider in PROVIDERS.values() if provider.has(host.strip().lower())), None)


def owner_of(domain: str) -> Provider | None:
    """Return the provider that gives addresses on a domain to anybody, None for a domain of one's own."""
    owners = (one for one in PROVIDERS.values() if any(fnmatchcase(domain, pattern) for pattern in one.domains))
    return next(owners, None)

"""The providers of outgoing servers: what a person would look up there, so that only the login is left to type.

The data is in ``providers.toml``. A server keeps no link to its provider: ``at`` finds it again by the host.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

FILE = Path(__file__).with_suffix(".toml")


@dataclass(frozen=True)
class PublishedLimit:
    """How much a provider takes, and the page that says so. ``seen``: the date of that page, or when it was read."""

    amount: int
    unit: str
    source: str
    seen: date
    note: str = ""


@dataclass(frozen=True)
class Quirk:
    """What surprises people at a provider, in one sentence or two, and the page that says so."""

    says: str
    source: str
    seen: date


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
    choose: str = ""  # what has to be changed in the host, if anything
    limits: tuple[PublishedLimit, ...] = ()
    quirks: tuple[Quirk, ...] = ()


def _provider(key: str, entry: dict[str, Any]) -> Provider:
    limits = tuple(PublishedLimit(**limit) for limit in entry.pop("limits", ()))
    quirks = tuple(Quirk(**quirk) for quirk in entry.pop("quirks", ()))
    return Provider(key=key, limits=limits, quirks=quirks, **entry)


def _read(file: Path) -> Mapping[str, Provider]:
    return {key: _provider(key, entry) for key, entry in tomllib.loads(file.read_text("utf-8")).items()}


PROVIDERS = _read(FILE)


def at(host: str) -> Provider | None:
    """Return the provider that a host belongs to."""
    return next((provider for provider in PROVIDERS.values() if provider.host == host), None)

"""What the page of a domain says of its signatures (DKIM)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask_babel import format_date

from mail.decide.dkim_record import dkim_record
from mail.decide.signing import signing_domain
from mail.decide.verdicts import RecordToPaste
from mail.deliverability import own_keys, signing_keys
from mail.message.dkim import Algorithm
from mail.settings import office
from mail.settings.clock import now
from models import DkimKeyPair

ALGORITHMS: tuple[tuple[Algorithm, str], ...] = (("rsa", "RSA"), ("ed25519", "Ed25519"))


@dataclass(frozen=True)
class ShownKey:
    """A key as the page shows it; ``removable_at``: when the record of one that signed is needed no more."""

    row: DkimKeyPair
    name: str
    record: RecordToPaste
    removable_at: datetime | None

    @property
    def short_name(self) -> str:
        """The name of its record where the domain is added to it."""
        return f"{self.row.selector}._domainkey"

    @property
    def removable_on(self) -> str:
        """The day of that moment, as it is read."""
        return str(format_date(self.removable_at))

    @property
    def is_awaited(self) -> bool:
        """Whether a new key is simply not in DNS yet."""
        return self._is_missing and self.row.seen_at is None

    @property
    def is_gone(self) -> bool:
        """Whether it was in DNS, and is no more."""
        return self._is_missing and self.row.seen_at is not None

    @property
    def _is_missing(self) -> bool:
        codes = [sentence["code"] for sentence in (self.row.found or {}).get("sentences", ())]
        return self.row.state == "new" and codes == ["dkim_missing"]

    @property
    def is_removable(self) -> bool:
        """Whether nobody can have an email left to check with it."""
        return self.removable_at is None or self.removable_at <= now()

    @property
    def is_unreadable(self) -> bool:
        """Whether it was stored under another key of ours."""
        return signing_keys.is_lost(self.row)


@dataclass(frozen=True)
class DkimPanel:
    """The signatures of a domain; ``above``: the domain above it whose keys sign while it has none in use itself."""

    domain: str
    keys: Sequence[ShownKey]
    above: str
    servers_that_sign: Sequence[str]
    only_they: bool

    def in_state(self, *states: str) -> list[ShownKey]:
        """Return the keys in one of these states."""
        return [key for key in self.keys if key.row.state in states]

    @property
    def signs(self) -> bool:
        """Whether emails of the domain are signed with keys of its own."""
        return bool(self.in_state("signing"))

    @property
    def may_have_second(self) -> bool:
        """Whether there is a key, and none of the newer kind."""
        current = {key.row.algorithm for key in self.in_state("new", "ready", "signing")}
        return current == {"rsa"}


def panel_of(domain: str) -> DkimPanel:
    """Return what the page of a domain (as it is compared) says of its signatures."""
    snapshot = office.load()
    signing = snapshot.office.signing
    servers: list[Any] = [one for one in snapshot.servers if one.active and one.may_send_for(domain)]
    if office.sends_through() == "default" and snapshot.office.default_server:
        servers.append(snapshot.office.default_server)
    themselves = [one.name for one in servers if one.signs_itself]
    above = signing_domain(domain, signing) if domain not in signing else ""
    names = dict(ALGORITHMS)
    keys = [
        ShownKey(row, names[public.algorithm], dkim_record(public), signing_keys.removable_at(row))
        for row in own_keys.keys_of(domain)
        for public in [own_keys.public_half(row)]
    ]
    return DkimPanel(domain, keys, above, themselves, bool(servers) and len(themselves) == len(servers))

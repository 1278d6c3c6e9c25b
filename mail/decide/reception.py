"""Which recipients of pushed mail are ours, and where a provider that redirects mail to us must redirect it. Pure.

Beside the domains of the office there may be one that only receives: the name that this office is reached by where its
own domains are hosted elsewhere. Mail to ``sales@`` the receiving domain is mail to ``sales@`` the alias domain; an
address of another domain has its domain before the @: ``sales=second.com@``.
"""

from dataclasses import dataclass
from enum import Enum

from mail.decide.facts import AddressBook
from mail.message.address import domain_of, local_part, normalise
from mail.message.domains import normalise_domain, wire_domain


class Standing(Enum):
    """What an address is to us."""

    KNOWN = "known"
    UNKNOWN = "unknown"  # of a domain of ours, and nobody's
    FOREIGN = "foreign"


@dataclass(frozen=True)
class Reception:
    """Our addresses, as somebody who hands us mail may name them; ``alias_domain`` "": there is none yet."""

    book: AddressBook
    alias_domain: str = ""
    receiving_domain: str = ""  # "": none but those of the office

    def ours(self, recipient: str) -> str:
        """Return the address of ours that a recipient means, "" for a stranger's; one without a domain is ours."""
        address = recipient if "@" in recipient else f"{recipient}@{self.alias_domain}"
        address = normalise(address) or ""
        if not address or not self._only_receives(address):
            return address if address and self._is_in_house(address) else ""
        local, equals, name = local_part(address).rpartition("=")
        domain = normalise_domain(name) if equals and local else None
        if domain and self._has(domain):
            return f"{local}@{domain}"
        return f"{local_part(address)}@{self.alias_domain}" if self.alias_domain else ""

    def standing(self, recipient: str) -> Standing:
        """Return what a recipient of an envelope is to us."""
        address = self.ours(recipient)
        if not address:
            return Standing.FOREIGN
        is_known = self.book.find(address) is not None or address in self.book or local_part(address) == "postmaster"
        return Standing.KNOWN if is_known else Standing.UNKNOWN

    def target_of(self, address: str) -> str:
        """Return where mail to an address of ours must be redirected to reach us, "" if it reaches us anyway."""
        domain = domain_of(address)
        if not self.receiving_domain or domain == self.receiving_domain:
            return ""
        name = wire_domain(domain) or domain  # before an @ few providers take other letters than ASCII
        local = local_part(address) if domain == self.alias_domain else f"{local_part(address)}={name}"
        return f"{local}@{self.receiving_domain}"

    def _only_receives(self, address: str) -> bool:
        return domain_of(address) == self.receiving_domain and not self._has(self.receiving_domain)

    def _is_in_house(self, address: str) -> bool:
        return self._has(domain_of(address)) or self.book.find(address) is not None

    def _has(self, domain: str) -> bool:
        return domain in self.book.domains or domain in self.book.former_domains

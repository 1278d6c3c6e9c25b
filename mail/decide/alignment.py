"""Whether two domains belong to one organisation, by the public suffix list, as DMARC asks (RFC 7489 3.1). Pure."""

from functools import cache
from typing import Any


@cache
def _suffixes() -> Any:
    from publicsuffixlist import PublicSuffixList  # read when it is needed: some 10,000 rules

    return PublicSuffixList()


def organisation_of(domain: str) -> str:
    """Return the domain that somebody registered: what stands before the public suffix; "" for none.

    >>> organisation_of("news.shop.example.co.uk"), organisation_of("EXAMPLE.com."), organisation_of("co.uk")
    ('example.co.uk', 'example.com', '')
    """
    domain = domain.strip().rstrip(".").lower()
    return str(_suffixes().privatesuffix(domain) or "") if domain and len(domain) <= 253 else ""


def same_organisation(one: str, other: str) -> bool:
    """Say whether two domains are the same, or of one organisation.

    >>> same_organisation("bounce.example.com", "news.example.com"), same_organisation("a.co.uk", "b.co.uk")
    (True, False)
    """
    one, other = one.strip().rstrip(".").lower(), other.strip().rstrip(".").lower()
    if not one or not other:
        return False
    return one == other or ((organisation := organisation_of(one)) != "" and organisation == organisation_of(other))

"""Whether two domains belong to one organisation, by the public suffix list, as DMARC asks (RFC 7489 3.1). Pure."""

from functools import cache, lru_cache
from typing import Any

from mail.message.domains import LONGEST_DOMAIN, normalise_domain, wire_domain


@cache
def _suffixes() -> Any:
    from publicsuffixlist import PublicSuffixList  # read when it is needed: some 10,000 rules

    return PublicSuffixList()


def organisation_of(domain: str) -> str:
    """Return the domain that somebody registered: what stands before the public suffix; "" for none.

    >>> organisation_of("news.shop.example.co.uk"), organisation_of("EXAMPLE.com."), organisation_of("co.uk")
    ('example.co.uk', 'example.com', '')
    >>> organisation_of("news.bücher.example"), organisation_of("news.xn--bcher-kva.example")
    ('bücher.example', 'xn--bcher-kva.example')
    """
    found = _registered(_compared(domain))
    return found if not found or domain.isascii() else normalise_domain(found) or found


def same_organisation(one: str, other: str) -> bool:
    """Say whether two domains are the same, or of one organisation.

    >>> same_organisation("bounce.example.com", "news.example.com"), same_organisation("a.co.uk", "b.co.uk")
    (True, False)
    >>> same_organisation("bücher.example", "news.xn--bcher-kva.example")
    True
    """
    one, other = _compared(one), _compared(other)
    if not one or not other:
        return False
    return one == other or ((organisation := _registered(one)) != "" and organisation == _registered(other))


def same_domain(one: str, other: str) -> bool:
    """Say whether two domains are the same one, as an exact match asks.

    >>> same_domain("Bücher.example", "xn--bcher-kva.example."), same_domain("example.com", "www.example.com")
    (True, False)
    """
    return _compared(one) == _compared(other) != ""


def _compared(domain: str) -> str:
    domain = domain.strip().rstrip(".").lower()
    return (wire_domain(domain) or domain) if len(domain) <= LONGEST_DOMAIN else ""


@lru_cache(maxsize=4096)
def _registered(wire: str) -> str:
    return str(_suffixes().privatesuffix(wire) or "") if wire else ""

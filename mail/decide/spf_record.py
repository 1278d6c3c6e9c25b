"""The terms of an SPF record (RFC 7208, 12), each with what is wrong about it. Pure."""

import ipaddress
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, cast

from mail.sentences import Why, why

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_NETWORKS: dict[str, type[Network]] = {"ip4": ipaddress.IPv4Network, "ip6": ipaddress.IPv6Network}
Qualifier = Literal["+", "-", "~", "?"]

VERSION = "v=spf1"
LONGEST = 4096  # characters; receivers have trouble with a tenth of that
SHOWN = 60
ASKING = frozenset(("include", "a", "mx", "ptr", "exists", "redirect"))  # each is one of at most ten DNS lookups

_TERM = re.compile(r"([+\-~?]?)([A-Za-z][A-Za-z0-9_.-]*)(?:([:=/])(.*))?")
_CIDR = re.compile(r"(?:/(0|[1-9]\d{0,2}))?(?://(0|[1-9]\d{0,2}))?$")
_PREFIX = re.compile(r"0|[1-9]\d{0,2}")
_MACRO = r"%(?:[%_-]|\{[slodiphvSLODIPHV](?:[1-9]\d{0,2})?[rR]?[.\-+,/_=]*\})"
_DOMAIN = re.compile(
    rf"(?:[\x21-\x24\x26-\x7e]|{_MACRO})*?"
    rf"(?:\.(?=[0-9-]*[A-Za-z-])[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.?|{_MACRO})"
)
_ANY_VALUE = re.compile(r"(?:[\x21-\x24\x26-\x7e]|%(?:[%_-]|\{[A-Za-z](?:[1-9]\d{0,2})?[rR]?[.\-+,/_=]*\}))*")


@dataclass(frozen=True, slots=True)
class Term:
    """One term as it is written, and what it means.

    ``value`` is the domain or network behind ``:`` or ``=``, without the lengths of the networks. ``error``: why
    receivers can't read the term, and so the whole record.
    """

    text: str
    name: str
    qualifier: Qualifier = "+"
    value: str = ""
    is_modifier: bool = False
    prefix4: int = 32
    prefix6: int = 128
    network: Network | None = None
    error: Why | None = None

    @property
    def asks(self) -> bool:
        """Say whether this term counts as a DNS lookup."""
        return self.name in ASKING

    @property
    def target(self) -> str:
        """The domain that is asked, where it stands there as it is: no macros."""
        return "" if "%" in self.value else self.value.lower().removesuffix(".")


def spf_texts(records: tuple[str, ...]) -> list[str]:
    """Return the SPF records among the TXT records of a name.

    >>> spf_texts(("v=spf1 -all", "V=SPF1", "v=spf10 -all", "google-site-verification=1"))
    ['v=spf1 -all', 'V=SPF1']
    """
    return [text for text in records if text.lower().split(" ", 1)[0] == VERSION]


@lru_cache(maxsize=256)
def parse_spf(text: str) -> tuple[Term, ...]:
    """Return the terms of an SPF record; never raises.

    >>> [(term.qualifier, term.name, term.value) for term in parse_spf("v=spf1 a:mail.acme.com/28  ~all")]
    [('+', 'a', 'mail.acme.com'), ('~', 'all', '')]
    >>> parse_spf("v=spf1 ipv4:192.0.2.1")[0].error["code"]
    'spf_term_unknown'
    """
    if len(text) > LONGEST:
        return (Term(f"{text[:SHOWN]}…", "", error=why("spf_too_long", count=len(text), most=LONGEST)),)
    terms = [parse_term(word) for word in text.split(" ")[1:] if word]
    once: set[str] = set()
    for number, term in enumerate(terms):
        if term.is_modifier and term.name in ("redirect", "exp"):
            if term.name in once:
                terms[number] = replace(term, error=why("spf_term_twice", term=term.text))
            once.add(term.name)
    return tuple(terms)


def parse_term(text: str) -> Term:
    """Return one term of a record.

    >>> parse_term("-ip4:192.0.2.0/24").network, parse_term("ip4:192.0.2.300").error["code"]
    (IPv4Network('192.0.2.0/24'), 'spf_address_invalid')
    """
    parts = _TERM.fullmatch(text)
    if parts is None or "\\" in text:
        return Term(text, "", error=why("spf_term_unknown", term=text))
    name, sign, value = parts[2].lower(), parts[3] or "", parts[4] or ""
    if sign == "=" and not parts[1]:
        return _modifier(text, name, value)
    if sign == "/":
        value = f"/{value}"
    elif sign and not value:
        return Term(text, name, error=why("spf_value_missing", term=text))
    read = _MECHANISMS.get(name)
    if read is None or sign == "=":
        return Term(text, name, error=why("spf_term_unknown", term=text))
    return read(text, name, cast(Qualifier, parts[1] or "+"), value)


def _modifier(text: str, name: str, value: str) -> Term:
    known = name in ("redirect", "exp")
    fits = _DOMAIN.fullmatch(value) if known else _ANY_VALUE.fullmatch(value)
    return Term(text, name, value=value, is_modifier=True, error=None if fits else why("spf_domain_invalid", term=text))


def _all(text: str, name: str, qualifier: Qualifier, value: str) -> Term:
    return Term(text, name, qualifier, error=why("spf_value_unwanted", term=text) if value else None)


def _with_domain(text: str, name: str, qualifier: Qualifier, value: str) -> Term:
    """``include`` and ``exists`` need a domain, ``ptr`` may have one."""
    if not value and name == "ptr":
        return Term(text, name, qualifier)
    fits = _DOMAIN.fullmatch(value)
    return Term(text, name, qualifier, value, error=None if fits else why("spf_domain_invalid", term=text))


def _with_prefixes(text: str, name: str, qualifier: Qualifier, value: str) -> Term:
    """``a`` and ``mx``: a domain, or none, and how many bits of an IPv4 and of an IPv6 address are compared."""
    cut = _CIDR.search(value)
    assert cut is not None  # it also matches nothing
    domain, prefix4, prefix6 = value[: cut.start()], int(cut[1] or "32"), int(cut[2] or "128")
    if prefix4 > 32 or prefix6 > 128:
        return Term(text, name, qualifier, error=why("spf_address_invalid", term=text))
    if domain and not _DOMAIN.fullmatch(domain):
        return Term(text, name, qualifier, error=why("spf_domain_invalid", term=text))
    return Term(text, name, qualifier, domain, prefix4=prefix4, prefix6=prefix6)


def _address(text: str, name: str, qualifier: Qualifier, value: str) -> Term:
    _, slash, prefix = value.partition("/")
    if "%" in value or (slash and not _PREFIX.fullmatch(prefix)):
        return Term(text, name, qualifier, error=why("spf_address_invalid", term=text))
    try:
        network: Network = _NETWORKS[name](value, strict=False)
    except ValueError:
        return Term(text, name, qualifier, error=why("spf_address_invalid", term=text))
    return Term(text, name, qualifier, value, network=network)


_MECHANISMS = {
    "all": _all,
    "include": _with_domain,
    "exists": _with_domain,
    "ptr": _with_domain,
    "a": _with_prefixes,
    "mx": _with_prefixes,
    "ip4": _address,
    "ip6": _address,
}

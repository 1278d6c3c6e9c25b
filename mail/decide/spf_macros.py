"""The names that macros in SPF terms stand for (RFC 7208, 7). Pure."""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

LONGEST_NAME = 253
_MACRO = re.compile(r"%(?:([%_-])|\{([A-Za-z])(\d{0,3})([rR]?)([.\-+,/_=]*)\})")
_ESCAPED = {"%": "%", "_": " ", "-": "%20"}

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class MailFrom:
    """Who sends, as a receiver sees it: the address of the connection, the envelope sender and the HELO name."""

    ip: IPAddress
    sender: str
    helo: str = ""


def expand(text: str, mail: MailFrom, domain: str, validated: Callable[[], str]) -> str:
    """Return a domain with its macros replaced; ``validated`` gives the name that PTR and address agree on.

    >>> mail = MailFrom(ipaddress.ip_address("192.0.2.3"), "strong-bad@email.example.com")
    >>> for text in ("%{ir}.%{v}._spf.%{d2}", "%{lr-}.lp._spf.%{d2}", "%{d1r}", "%{p}.x%%%_%-"):
    ...     print(expand(text, mail, "email.example.com", lambda: "unknown"))
    3.2.0.192.in-addr._spf.example.com
    bad.strong.lp._spf.example.com
    email
    unknown.x% %20
    >>> len(expand("%{l}." * 40 + "%{d}", mail, "example.com", str))  # cut from the left, label by label
    253
    """
    name = _MACRO.sub(lambda macro: _one(macro, mail, domain, validated), text).removesuffix(".")
    while len(name) > LONGEST_NAME and "." in name:
        name = name.partition(".")[2]
    return name


def _one(macro: re.Match[str], mail: MailFrom, domain: str, validated: Callable[[], str]) -> str:
    if macro[1]:
        return _ESCAPED[macro[1]]
    letter = macro[2].lower()
    value = validated() if letter == "p" else _value(letter, mail, domain)
    parts = re.split(f"[{re.escape(macro[5] or '.')}]", value)
    if macro[4]:
        parts.reverse()
    if macro[3]:
        parts = parts[-int(macro[3]) :]
    found = ".".join(parts)
    return found if macro[2].islower() else quote(found, safe="-._~")


def _value(letter: str, mail: MailFrom, domain: str) -> str:
    local, _, sender_domain = mail.sender.rpartition("@")
    values = {
        "s": f"{local or 'postmaster'}@{sender_domain}",
        "l": local or "postmaster",
        "o": sender_domain,
        "d": domain,
        "i": dotted(mail.ip),
        "v": "in-addr" if mail.ip.version == 4 else "ip6",
        "h": mail.helo,
    }
    return values.get(letter, "")  # the others are for explanations only; a record with one can't be read


def dotted(ip: IPAddress) -> str:
    """Return an address as macros and reverse names write it: an IPv6 one digit by digit.

    >>> dotted(ipaddress.ip_address("2001:db8::1"))[:15]
    '2.0.0.1.0.d.b.8'
    """
    return str(ip) if ip.version == 4 else ".".join(ip.exploded.replace(":", ""))


def reverse_name(ip: IPAddress) -> str:
    """Return the name whose PTR record names an address.

    >>> reverse_name(ipaddress.ip_address("192.0.2.3"))
    '3.2.0.192.in-addr.arpa'
    """
    return ip.reverse_pointer

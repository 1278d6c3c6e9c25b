"""Domains: compared and shown readable (``bücher.example``), sent as ASCII (``xn--bcher-kva.example``, RFC 5891). Pure.

A label that is made to be taken for another one stays as its ASCII form, wherever it is compared or shown.
"""

import ipaddress
import re
import unicodedata
from functools import lru_cache

import idna

LONGEST_DOMAIN = 253
_LOCAL = ("localhost", "localdomain", "local", "internal", "intranet", "private", "corp", "home", "lan", "home.arpa")
PLAIN_DOMAIN = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def normalise_domain(domain: str) -> str | None:
    """Return a domain as it is compared: trimmed, lower-case, IDNA-decoded; None if it is not one.

    An internationalised label that IDNA 2008 does not know (an emoji), or one with letters that look like others, stays
    as its ``xn--`` form.

    >>> normalise_domain("Example.COM."), normalise_domain("xn--bcher-kva.example"), normalise_domain("a b")
    ('example.com', 'bücher.example', None)
    >>> normalise_domain("g\N{CYRILLIC SMALL LETTER O}ogle.example")
    'xn--gogle-jye.example'
    """
    domain = domain.strip().lower().removesuffix(".")
    if domain.isascii() and "xn--" not in domain:
        if len(domain) <= LONGEST_DOMAIN and PLAIN_DOMAIN.fullmatch(domain):
            return domain
        return domain if is_literal(domain) else None
    wire = wire_domain(domain)
    return _readable_domain(wire) if wire else None


def is_local_name(host: str) -> bool:
    """Say whether a name means something in one network only: one word, or an end that public DNS does not have.

    >>> [is_local_name(host) for host in ("postfix", "mail.lan", "relay.home.arpa.", "mail.acme.com", "lan.acme.com")]
    [True, True, True, False, False]
    """
    host = host.strip().lower().removesuffix(".")
    return "." not in host or host.endswith(tuple(f".{end}" for end in _LOCAL))


@lru_cache(maxsize=4096)
def wire_domain(domain: str) -> str | None:
    """Return a domain in ASCII, as everything that leaves has it; None if it is not one.

    >>> wire_domain("Bücher.example"), wire_domain("a b")
    ('xn--bcher-kva.example', None)
    """
    domain = domain.strip().lower().removesuffix(".")
    if not domain.isascii():
        if len(domain) > LONGEST_DOMAIN:
            return None
        try:
            domain = idna.encode(domain, uts46=True).decode("ascii").removesuffix(".")
        except (idna.IDNAError, UnicodeError):
            return None
    return domain if len(domain) <= LONGEST_DOMAIN and PLAIN_DOMAIN.fullmatch(domain) else None


@lru_cache(maxsize=4096)
def _readable_domain(wire: str) -> str:
    labels = wire.split(".")
    return ".".join(_readable_label(label, labels[-1]) if label.startswith("xn--") else label for label in labels)


def _readable_label(label: str, last_label: str) -> str:
    """The label as people write it, but only what leads back to it: two domains are never shown or compared as one."""
    try:
        readable = idna.decode(label)
        same = idna.encode(readable).decode("ascii") == label
    except (idna.IDNAError, UnicodeError):
        return label
    return readable if same and not _looks_like_another(readable, last_label) else label


def is_literal(domain: str) -> bool:
    """Say whether a domain is an IP address (RFC 5321 4.1.3): ``[192.0.2.1]`` or ``[ipv6:2001:db8::1]``."""
    if not (domain.startswith("[") and domain.endswith("]")):
        return False
    try:
        ipaddress.ip_address(domain[1:-1].removeprefix("ipv6:"))
    except ValueError:
        return False
    return True


# --- letters that look like others

# Scripts that are written together: Japanese, Chinese and Korean, each with Latin letters between.
_WRITTEN_TOGETHER = (
    frozenset(["LATIN", "CJK", "HIRAGANA", "KATAKANA"]),
    frozenset(["LATIN", "CJK", "BOPOMOFO"]),
    frozenset(["LATIN", "CJK", "HANGUL"]),
)
_SCRIPT_OF = {"IDEOGRAPHIC": "CJK", "ARABIC-INDIC": "ARABIC", "EXTENDED": "ARABIC"}
_NO_SCRIPT = frozenset(["DIGIT", "HYPHEN-MINUS", "KATAKANA-HIRAGANA", "COMBINING", "MIDDLE", "ZERO", "MODIFIER", ""])
# A label of nothing but such letters reads like one of ASCII. The test of browsers, and their sets of letters.
_LIKE_ASCII = {
    "CYRILLIC": frozenset("аысԁеԍһіюјӏорԗԛѕԝхуъьҽпгѵѡ"),
    "GREEK": frozenset("αικνρυωηοτ"),
    "ARMENIAN": frozenset("ագզէլհյոսւօ"),
    "GEORGIAN": frozenset("იოყძხჽჿ"),
}
_LATIN_LIKE_ASCII = frozenset("ıɑɡɢɩɪɴʀʏʟʙʜᴀᴄᴅᴇᴊᴋᴍᴏᴘᴛᴜᴠᴡᴢꜱƅǀ")
_LIKE_A_SLASH = frozenset("ノソンゾ丶丿")
_WITHOUT_DOT = frozenset(["tr", "az"])  # where ı is a letter like any other


def _looks_like_another(label: str, last_label: str) -> bool:
    """Say whether a label mixes scripts, or is made of letters that are taken for those of ASCII (UTS 39, 5)."""
    letters = set(label)
    scripts = {script for letter in letters if (script := _script(letter))}
    if len(scripts) > 1 and not any(scripts <= together for together in _WRITTEN_TOGETHER):
        return True
    if "LATIN" in scripts:
        confusable = _LATIN_LIKE_ASCII - {"ı"} if last_label in _WITHOUT_DOT else _LATIN_LIKE_ASCII
        marks = any(unicodedata.combining(letter) for letter in letters)
        return bool(marks or letters & (confusable | _LIKE_A_SLASH))
    like_ascii = _LIKE_ASCII.get(next(iter(scripts), ""))
    written = {letter for letter in letters if _script(letter)}
    return like_ascii is not None and written <= like_ascii and not last_label.startswith("xn--")


def _script(letter: str) -> str:
    """The script of a letter, "" if all have it in common: the first word of its name."""
    first = unicodedata.name(letter, "").partition(" ")[0]
    return "" if first in _NO_SCRIPT else _SCRIPT_OF.get(first, first)

"""Whether a mail asks to confirm that somebody forwards his mail to us, and what there is to confirm it with. Pure.

Written by a program, about forwarding, with a link or a code. One of a provider that we know, and that nothing speaks
against, is sure; any other may be a customer's program that asks for something else, so that a person looks at it.
"""

import html
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Self
from urllib.parse import SplitResult, urlsplit

from mail.decide.author import is_no_person
from mail.decide.forwarding_words import (
    CODE,
    CONFIRM,
    CONFIRMS,
    FORWARDING,
    HOSTING_PROGRAMS,
    OTHER_LINK,
    PROVIDERS,
    RISKY,
    ForwardingProvider,
)
from mail.decide.sender_proof import prove
from mail.message.address import domain_of, local_part, normalise
from mail.message.parse import IncomingMessage
from mail.sentences import Why, why

BEGINNING = 6000  # characters of the text that are looked at
BESIDE = 80  # characters
HTML_READ = 200_000
MOST_LINKS = 60
LONGEST_LINK = 1500
CODES = ("route_forwarding", "route_forwarding_unknown", "route_forwarding_forged")

_OF_DOMAIN = {domain: provider for provider in reversed(PROVIDERS) for domain in provider.domains}
_SUBJECT_CODE = re.compile(r"#\s?(\d{6,12})\b")
_LINK = re.compile(r"https?://[!#-&(-;=?-\[\]-~]{4,2000}")  # ASCII without quotes, <, > and backslash
_HREF = re.compile(r"""href\s{0,3}=\s{0,3}["']?\s{0,3}(https?://[^\s"'<>\\]{4,2000})""", re.IGNORECASE)
_ADDRESS = re.compile(r"[\w.+-]{1,64}@[\w.-]{1,200}\w")
_TOKEN = re.compile(r"(?=[A-Za-z_-]{0,40}[0-9])[\w%-]{12}")


@dataclass(frozen=True, slots=True)
class ForwardingRequest:
    """Somebody's provider asks us to confirm: ``source`` wants to forward to ``address``, "" if it does not say who.

    ``may_open``: the link leads to the provider that sent it. ``doubt``: the code of why it may be something else.
    """

    provider: str
    sender: str
    source: str
    address: str
    link: str
    confirmation: str  # a code
    may_open: bool
    doubt: str = ""

    @property
    def reason(self) -> Why:
        """What routing says of it, with all that there is to confirm it with: it is shown from there."""
        values = asdict(self)
        del values["doubt"]
        return why(self.doubt or "route_forwarding", **values)

    @classmethod
    def of(cls, reason: Why) -> Self | None:
        """Return the request that a step of routing tells of; None for any other step."""
        if reason["code"] not in CODES:
            return None
        code = reason["code"]
        return cls(**reason["values"], doubt="" if code == "route_forwarding" else code)


def forwarding_request(message: IncomingMessage, checked_by: str) -> ForwardingRequest | None:
    """Return what a mail asks to confirm; None if it is no such request.

    ``checked_by``: the server whose word on the sender counts.
    """
    if message.references or message.is_list:
        return None
    provider = _provider(message.from_key)
    if not _is_by_program(message, provider):
        return None
    text = message.text[:BEGINNING]
    links = list(islice(_links(message), MOST_LINKS))
    link = _confirming(links, provider)
    code = _code(message.subject, text)
    if not (link or code) or not (_is_certain(link, provider) or _speaks_of_it(message.subject, text)):
        return None
    address = _named(message, text)
    if provider is None and not (address and _forwards_an_address(message.subject, text)):
        return None
    doubt = _doubt(message, provider, checked_by)
    return ForwardingRequest(
        provider.name if provider is not None else domain_of(message.from_key),
        message.from_key,
        _source(message, text),
        address or next(iter(message.recipients), "–"),
        link,
        code,
        provider is not None and not doubt and _may_open(link, provider),
        doubt,
    )


# --- who wrote it


def _provider(sender: str) -> ForwardingProvider | None:
    """The provider whose domain an address is in, or below."""
    domain = domain_of(sender)
    while domain:
        if (found := _OF_DOMAIN.get(domain)) is not None:
            return found
        domain = domain.partition(".")[2]
    return None


def _is_below(domain: str, provider: ForwardingProvider) -> bool:
    return any(domain == one or domain.endswith(f".{one}") for one in provider.domains)


def _is_by_program(message: IncomingMessage, provider: ForwardingProvider | None) -> bool:
    sender = message.from_key
    if not sender or (provider is not None and not sender.startswith(provider.sender)):
        return False
    is_program = is_no_person(sender) or message.auto_submitted == "auto-generated"
    return is_program or (provider is None and local_part(sender) in HOSTING_PROGRAMS)


def _doubt(message: IncomingMessage, provider: ForwardingProvider | None, checked_by: str) -> str:
    if provider is None:
        return "route_forwarding_unknown"
    return "route_forwarding_forged" if prove(message, checked_by).state == "failed" else ""


# --- what it says


def _speaks_of_it(subject: str, text: str) -> bool:
    """Say whether it is about forwarding that is to be confirmed, and whether the subject says one of the two."""
    is_subject = FORWARDING.search(subject[:500]) or CONFIRM.search(subject[:500])
    both = f"{subject[:500]}\n{text}"
    return bool(is_subject and FORWARDING.search(both) and CONFIRM.search(both))


def _forwards_an_address(subject: str, text: str) -> bool:
    """Say whether an address stands beside the word: a link, goods and a question are forwarded as well."""
    if FORWARDING.search(subject[:500]):
        return True
    return any(
        "@" in text[max(found.start() - BESIDE, 0) : found.end() + BESIDE] for found in FORWARDING.finditer(text)
    )


def _code(subject: str, text: str) -> str:
    found = _SUBJECT_CODE.search(subject[:500]) or CODE.search(f"{subject[:500]}\n{text}")
    return found[1] if found else ""


def _addresses(text: str) -> Iterator[str]:
    return (key for found in _ADDRESS.findall(text) if (key := normalise(found)))


def _named(message: IncomingMessage, text: str) -> str:
    """The recipient that its words name."""
    recipients = set(message.recipients)
    return next((one for one in _addresses(f"{message.subject[:500]}\n{text}") if one in recipients), "")


def _source(message: IncomingMessage, text: str) -> str:
    """The first address it names that is neither a recipient nor its sender: whose mail is to be forwarded."""
    others = {*message.recipients, message.from_key}
    return next((one for one in _addresses(f"{message.subject[:500]}\n{text}") if one not in others), "")


# --- its links


def _links(message: IncomingMessage) -> Iterator[str]:
    """The addresses that it links to, those of its text first."""
    seen = set()
    hrefs = (html.unescape(found[1]) for found in _HREF.finditer((message.html or "")[:HTML_READ]))
    for link in (*(found[0] for found in _LINK.finditer(message.text[: 2 * BEGINNING])), *hrefs):
        whole = link.rstrip(".,;:!?)]}>*")
        if whole not in seen and len(whole) <= LONGEST_LINK and _split(whole) is not None:
            seen.add(whole)
            yield whole


def _split(link: str) -> SplitResult | None:
    """An https address of a host and nothing odd; None otherwise.

    >>> odd = ("https://a.example/x", "http://a.example/x", "https://a@b.example/x", "https://[a/x", "https://ä.example/x")
    >>> [_split(link) is not None for link in odd]
    [True, False, False, False, False]
    """
    try:
        parts = urlsplit(link)
        is_plain = parts.scheme == "https" and bool(parts.hostname) and parts.port in (None, 443)
    except ValueError:
        return None
    return parts if is_plain and link.isascii() and "@" not in parts.netloc else None


def _confirming(links: list[str], provider: ForwardingProvider | None) -> str:
    """The link that confirms, "" if there is none: no link to refuse it, nor one that is the same for everybody."""
    if provider is not None and provider.path is not None:
        return next((link for link in links if _is_certain(link, provider)), "")
    wanted = [link for link in links if not OTHER_LINK.search(_after_host(link))]
    wanted = [link for link in wanted if CONFIRMS.search(_after_host(link)) or _TOKEN.search(_after_host(link))]
    if provider is not None:
        below = [link for link in wanted if _is_below(host_of(link), provider)]
        wanted = [link for link in wanted if host_of(link) in provider.hosts] or below
    confirms = [link for link in wanted if CONFIRMS.search(_after_host(link))]
    return next(iter([*confirms, *wanted]), "")


def _is_certain(link: str, provider: ForwardingProvider | None) -> bool:
    """Say whether a link is one that confirms forwarding, whatever the words around it say in whatever language."""
    if provider is None or provider.path is None or host_of(link) not in provider.hosts:
        return False
    return provider.path.match(_after_host(link)) is not None


def _may_open(link: str, provider: ForwardingProvider) -> bool:
    return host_of(link) in provider.hosts and not RISKY.search(_after_host(link))


def _after_host(link: str) -> str:
    """
    >>> _after_host("https://a.example/x?y=1")
    '/x?y=1'
    """
    return "/" + link.partition("://")[2].partition("/")[2]


def host_of(link: str) -> str:
    """Return the host that a link leads to, "" for no link.

    >>> host_of("https://Mail.example:443/x"), host_of("")
    ('mail.example', '')
    """
    return urlsplit(link).hostname or ""

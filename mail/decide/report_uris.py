"""Where reports about DMARC should go: the URIs in ``rua`` (RFC 7489, 6.2), each by itself. Pure."""

import re
from typing import NamedTuple

_MAIL = re.compile(r"mailto:([^\s@!?]+@[^\s@!?]+)(?:\?[^\s!]*+)?(?:![0-9]+[kmgt]?)?", re.IGNORECASE)
_BARE = re.compile(r"[^\s@:!]+@[^\s@:!]+")
_OTHER = re.compile(r"(?!mailto:)[a-z][a-z0-9+.-]*:[^\s]+", re.IGNORECASE)


class ReportUris(NamedTuple):
    """``kept``: as they belong into the record. ``addresses``: of those by mail; ``others`` go to no address.

    ``broken``: what no receiver can read.
    """

    kept: tuple[str, ...]
    addresses: tuple[str, ...]
    others: tuple[str, ...]
    broken: tuple[str, ...]


def read_uris(rua: str) -> ReportUris:
    """Return the URIs of a list; an address that only lacks its ``mailto:`` gets it.

    >>> read_uris("mailto:a@x.com?subject=DMARC!10m").addresses
    ('a@x.com',)
    >>> found = read_uris("mailto:a@x.com!10m, https://x.com/r,b@y.com, odd")
    >>> print(found.kept, found.addresses, found.others, found.broken)
    ('mailto:a@x.com!10m', 'https://x.com/r', 'mailto:b@y.com') ('a@x.com',) ('https://x.com/r',) ('b@y.com', 'odd')
    """
    uris = [uri for part in rua.split(",") if (uri := part.strip())]
    mended = [f"mailto:{uri}" if _BARE.fullmatch(uri) else uri for uri in uris]
    return ReportUris(
        kept=tuple(uri for uri in mended if _MAIL.fullmatch(uri) or _OTHER.fullmatch(uri)),
        addresses=tuple(mail[1] for uri in uris if (mail := _MAIL.fullmatch(uri))),
        others=tuple(uri for uri in uris if _OTHER.fullmatch(uri)),
        broken=tuple(uri for uri in uris if not (_MAIL.fullmatch(uri) or _OTHER.fullmatch(uri))),
    )

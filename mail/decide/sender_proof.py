"""Is a received mail from whom its From names? By the word of the server that took it for us, and nobody else's. Pure.

Verified: DMARC passed, or SPF or DKIM vouch for the domain of the From, or the sender had logged in there under that
very address. Failed: the server looked, and none of these is so. Not checked: it did not look, or could not tell.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from mail.decide.alignment import organisation_of, same_domain, same_organisation
from mail.decide.believed_results import is_from_outside, is_named, last_server, results_by
from mail.message.address import domain_of, normalise, parse_addresses
from mail.message.authentication_results import AuthenticationResults, MethodResult, header_of
from mail.message.parse import IncomingMessage
from mail.message.words import one_line
from mail.sentences import Why, why

Proof = Literal["verified", "failed", "not_checked"]

_FAILED = frozenset(("fail", "hardfail", "softfail", "policy", "pass", "bestguesspass"))  # "pass": for somebody else
_LATER = frozenset(("temperror", "error", "permerror"))
_MOST_NAMED = 3  # domains that a sentence names


@dataclass(frozen=True, slots=True)
class SenderProof:
    """Whether somebody vouches for the From of a mail, and why or why not."""

    state: Proof
    reason: Why


def prove(message: IncomingMessage, server: str) -> SenderProof:
    """Return what the server that took a mail says of its sender; ``server``: its name in the header, "" for none."""
    if not server:
        return SenderProof("not_checked", why("sender_checked_by_nobody"))
    results = results_by(header_of(message.raw), server)
    if results is None:
        return SenderProof("not_checked", why("sender_no_results", server=server))
    if not _is_plain(message):
        return SenderProof("failed", why("sender_hidden", server=server))
    return judge(results, message.from_key, server)


def _is_plain(message: IncomingMessage) -> bool:
    """Say whether its sender stands where every server looks: in the only From, and not as an encoded word."""
    named = [one.key for one in parse_addresses(message.raw_header("from"))]
    return len(message.fields.get("from", ())) == 1 and message.from_key in named


def judge(results: AuthenticationResults, sender: str, server: str) -> SenderProof:
    """Return what the results of one server say of an address in From (a key).

    >>> from mail.message.authentication_results import read_results
    >>> judge(read_results("mx; dkim=pass header.d=acme.com"), "ann@mail.acme.com", "mx").state
    'verified'
    >>> judge(read_results("mx; spf=pass smtp.mailfrom=x@evil.example"), "ann@acme.com", "mx").state
    'failed'
    """
    domain = domain_of(sender)
    named = {"server": server, "domain": domain}
    dmarc = results.of("dmarc")
    if any(one.result == "pass" and _is_about(one, domain) for one in dmarc):
        return SenderProof("verified", why("sender_verified_dmarc", **named))
    if any(one.result == "pass" and _logged_in_as(one) == sender for one in results.of("auth")):
        return SenderProof("verified", why("sender_verified_login", server=server, sender=sender))
    if any(one.result == "fail" for one in dmarc):
        return SenderProof("failed", why("sender_failed_dmarc", **named))
    passed = [one for method in ("dkim", "spf") for one in results.of(method) if one.result == "pass"]
    for one in passed:
        if same_organisation(_vouched(one), domain):
            return SenderProof("verified", why(f"sender_verified_{one.method}", **named))
    found = {one.result for method in ("dmarc", "dkim", "spf") for one in results.of(method)}
    if results.word("dkim") in _LATER or results.word("dmarc") in _LATER:
        return SenderProof("not_checked", why("sender_check_broke_off", **named))
    if not found & _FAILED:
        return SenderProof("not_checked", why("sender_has_nothing", **named))
    others = list(dict.fromkeys(other for one in passed if (other := _vouched(one))))
    if others:
        return SenderProof("failed", why("sender_failed_other", others=", ".join(others[:_MOST_NAMED]), **named))
    return SenderProof("failed", why("sender_failed", **named))


def _is_about(one: MethodResult, domain: str) -> bool:
    """Say whether a DMARC result is about this domain; some servers leave out which one they looked at."""
    looked_at = one.domain("header.from")
    return not looked_at or same_domain(looked_at, domain)


def _vouched(one: MethodResult) -> str:
    """The domain that SPF or DKIM vouch for."""
    if one.method == "dkim":
        return one.domain("header.d", "header.i")
    return one.domain("smtp.mailfrom", "smtp.mfrom", "smtp.helo")


def _logged_in_as(one: MethodResult) -> str:
    return normalise(one.properties.get("smtp.auth", "")) or ""


# --- which server that is, learned from the mails of a mailbox

LEAST_SEEN = 5  # mails before a name is believed
MOST_SEEN = 40  # that are remembered: of more, the older ones count half
MOST_NAMES = 8
NOBODY = "-"  # instead of a name: the mail had no results


def name_in(raw: bytes) -> str:
    """Return what a mail of a mailbox shows of the server that checks its senders: its name, or ``NOBODY``.

    "" for a mail that shows nothing, for it did not come from outside: servers don't check those.
    """
    header = header_of(raw)
    name = one_line(last_server(header))[:255]
    return name or (NOBODY if is_from_outside(header) else "")


def seen_with(seen: Mapping[str, int], names: Iterable[str]) -> dict[str, int]:
    """Return how often each name was seen, with those of further mails.

    >>> seen_with({"mx.example": 4}, ["mx.example", "-"])
    {'mx.example': 5, '-': 1}
    """
    found = dict(seen)
    for name in filter(None, names):
        found[name] = found.get(name, 0) + 1
    while sum(found.values()) > MOST_SEEN:
        found = {name: count // 2 for name, count in found.items() if count > 1}
    most = sorted(found.items(), key=lambda pair: -pair[1])[:MOST_NAMES]
    return dict(most)


def learned(seen: Mapping[str, int]) -> str:
    """Return the server that checks the mails of a mailbox; "" as long as most of its mails do not agree on one.

    Of several machines that take turns it is their domain.

    >>> learned({"mx.acme.com": 9, "-": 1}), learned({"mx.acme.com": 4}), learned({"mx.acme.com": 9, "-": 9})
    ('mx.acme.com', '', '')
    >>> learned({"mx1.acme.com": 5, "mx2.acme.com": 6})
    'acme.com'
    """
    least = max(LEAST_SEEN, 4 * sum(seen.values()) / 5)
    names = [name for name in seen if name != NOBODY]
    domains = dict.fromkeys(domain for name in names if (domain := organisation_of(name)))
    machines = {domain: sum(seen[name] for name in names if is_named(name, domain)) for domain in domains}
    counts = {**machines, **{name: seen[name] for name in names}}
    usual = [name for name in (*names, *domains) if counts[name] >= least]
    return next(iter(usual), "")


def believed_server(how: str, name: str, seen: Mapping[str, int] | None) -> str:
    """Return the server whose results count for a mailbox: ``how`` is "learn", "set" (its ``name``) or "off".

    >>> [believed_server(how, "MX.acme.com", {"mx2.acme.com": 9}) for how in ("learn", "set", "off")]
    ['mx2.acme.com', 'mx.acme.com', '']
    """
    if how == "learn":
        return learned(seen or {})
    return name.lower() if how == "set" else ""

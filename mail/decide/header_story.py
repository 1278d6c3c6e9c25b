"""What a header tells about its email: the way it took, who checked its sender, and what each result means. Pure.

Whose results are believed is told in ``believed_results``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

from mail.decide.alignment import same_domain, same_organisation
from mail.decide.believed_results import Believed, believed
from mail.message.address import domain_of, normalise, parse_addresses
from mail.message.arrival import moment
from mail.message.authentication_results import MethodResult, read_results
from mail.message.domains import normalise_domain
from mail.message.pasted_header import PastedMail
from mail.message.received_lines import Hop, read_way
from mail.message.words import decode_words
from mail.sentences import Why, why

State = Literal["good", "warning", "bad", "unknown"]
CLOCK_TOLERANCE = 2  # seconds that clocks may differ before it is worth a word
SLOW = 60  # seconds between two servers that are worth one
WRITTEN_LATE = 600
MOST_SIGNATURES = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the header shows, in words. ``about``: "SPF"; ``quote``: the server's own words."""

    state: State
    sentences: tuple[Why, ...]
    about: str = ""
    result: str = ""
    quote: str = ""


@dataclass(frozen=True, slots=True)
class Names:
    """Who the email says that it is from, to and about; decoded for people, "" where the header does not say."""

    sender: str = ""
    sender_domain: str = ""
    envelope: str = ""
    envelope_domain: str = ""
    to: str = ""
    subject: str = ""
    date: str = ""
    message_id: str = ""


@dataclass(frozen=True, slots=True)
class HeaderStory:
    """All that a header tells. ``slowest``: the number of the hop that it waited for longest, None if none is slow."""

    names: Names
    hops: list[Hop] = field(default_factory=list)
    slowest: int | None = None
    way: list[Finding] = field(default_factory=list)
    source: Finding = field(default_factory=lambda: Finding("unknown", ()))
    checks: list[Finding] = field(default_factory=list)


def tell(mail: PastedMail) -> HeaderStory:
    """Return what a header tells."""
    names = _names(mail)
    hops = read_way(mail.all("received"))
    slowest = _slowest(hops)
    source = believed(mail)
    checks = _checks(mail, names, source)
    way = list(_way(hops, slowest, mail.first("date")))
    return HeaderStory(names, hops, slowest, way, Finding(source.state, source.sentences), checks)


def _names(mail: PastedMail) -> Names:
    sender = next(iter(parse_addresses(mail.first("from"))), None)
    envelope = mail.first("return-path").strip().strip("<>").strip()
    return Names(
        sender=decode_words(mail.first("from"))[:500],
        sender_domain=domain_of(sender.key) if sender else "",
        envelope=envelope[:500],
        envelope_domain=domain_of(normalise(envelope) or ""),
        to=decode_words(mail.first("to"))[:500],
        subject=decode_words(mail.first("subject"))[:500],
        date=decode_words(mail.first("date"))[:100],
        message_id=mail.first("message-id")[:500],
    )


# --- the way


def _way(hops: Sequence[Hop], slowest: int | None, date: str) -> Iterable[Finding]:
    times = [hop.at for hop in hops if hop.at]
    if not hops:
        yield Finding("unknown", (why("header_no_way"),))
        return
    if not times:
        yield Finding("unknown", (why("header_way_untimed"),))
    elif times[-1] > times[0] or (
        len(times) > 1 and min(hop.delay or 0 for hop in hops) == 0 and times[-1] == times[0]
    ):
        yield Finding("good", (why("header_way_total", time=duration((times[-1] - times[0]).total_seconds())),))
    written = moment(date)
    if written and times:
        early = (times[0] - written).total_seconds()
        if early >= WRITTEN_LATE:
            yield Finding("warning", (why("header_written_late", time=duration(early)),))
        elif early <= -SLOW:
            yield Finding("warning", (why("header_written_ahead", time=duration(-early)),))
    if slowest is not None:
        hop = hops[slowest]
        yield Finding("warning", (why("header_slowest", host=_name(hop), time=duration(hop.delay or 0)),))
    for before, hop in pairwise(hops):
        if hop.delay is not None and hop.delay <= -CLOCK_TOLERANCE:
            named = {"before": _name(before), "host": _name(hop), "time": duration(-hop.delay)}
            yield Finding("warning", (why("header_clock", **named),))
    open_hops = [hop for hop in hops if hop.encrypted is False and not hop.inside]
    for hop in open_hops:
        yield Finding("warning", (why("header_not_encrypted", before=hop.sender or hop.address, host=_name(hop)),))
    if not open_hops and any(hop.encrypted and not hop.inside for hop in hops):
        yield Finding("good", (why("header_all_encrypted"),))


def _slowest(hops: Sequence[Hop]) -> int | None:
    """The number of the hop that the email waited for longest, None if none was slow."""
    slow = [(hop.delay, -number) for number, hop in enumerate(hops) if hop.delay is not None and hop.delay >= SLOW]
    return -max(slow)[1] if slow else None


def _name(hop: Hop) -> str:
    return hop.by or hop.protocol or "–"


def duration(seconds: float) -> str:
    """Return a time as people say it, in its two largest units.

    >>> duration(0), duration(7), duration(185), duration(7322), duration(200000)
    ('0 s', '7 s', '3 min 5 s', '2 h 2 min', '2 d 7 h')
    """
    left, parts = round(seconds), list[str]()
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        number, left = divmod(left, size)
        if number or (parts and len(parts) < 2):
            parts.append(f"{number} {unit}" if number else "")
    return " ".join(filter(None, parts[:2])) or "0 s"


# --- what each result means

_STATES: dict[str, State] = {
    "pass": "good", "bestguesspass": "warning", "fail": "bad", "softfail": "warning", "permerror": "bad",
    "temperror": "unknown", "neutral": "warning", "none": "warning", "policy": "warning",
}  # fmt: skip
_METHODS = ("dmarc", "spf", "dkim", "arc", "compauth")


def _checks(mail: PastedMail, names: Names, source: Believed) -> list[Finding]:
    found: list[Finding] = []
    results = source.results
    if results is not None:
        found += [_dmarc(one, names.sender_domain) for one in results.of("dmarc")]
        if not results.of("dmarc"):
            found.append(Finding("unknown", (why("header_dmarc_missing"),), "DMARC"))
        failed = results.word("dmarc") == "fail"
        found += [_spf(one, names, failed) for one in results.of("spf")]
        found += [_dkim(one, names.sender_domain, failed) for one in results.of("dkim")[:MOST_SIGNATURES]]
        found += [_arc(one) for one in results.of("arc")]
        found += [Finding(_STATES.get(one.result, "unknown"), (why("header_compauth", result=one.result),), "compauth",
                          one.result, one.reason) for one in results.of("compauth")]  # fmt: skip
        if source.state != "good":
            found = [one if source.is_named and one.state != "good" else replace(one, state="unknown") for one in found]
    checked = {_domain(one, "header.d", "header.i") for one in (results.of("dkim") if results else [])}
    found += [one for one in _unchecked(mail) if one.quote not in checked]
    return [*found, *_copies(mail)]


def _domain(one: MethodResult, *names: str) -> str:
    return _readable(one.domain(*names))


def _readable(domain: str) -> str:
    """A domain as people write it: some servers note it in ASCII (``xn--``), some as it stands in the email."""
    return normalise_domain(domain) or domain


def _dmarc(one: MethodResult, sender: str) -> Finding:
    sender = _domain(one, "header.from") or sender
    sentences = [_result_words("header_dmarc", one.result, sender=sender)]
    if one.result == "fail" and (asks := _policy(one)):
        sentences.append(why(f"header_dmarc_asks_{asks}", sender=sender))
    return _finding(one, sentences)


def _policy(one: MethodResult) -> str:
    """What the domain asks for, as the server noted it: in a comment ("p=REJECT"), or as a property."""
    words = one.comment.lower().replace(",", " ").split()
    noted = [word[2:] for word in words if word.startswith("p=")] + [
        one.properties.get("policy.published-domain-policy", "")
    ]
    return next((word.lower() for word in noted if word.lower() in ("none", "quarantine", "reject")), "")


def _spf(one: MethodResult, names: Names, failed: bool) -> Finding:
    domain = _domain(one, "smtp.mailfrom", "smtp.mfrom", "smtp.helo") or names.envelope_domain
    return _passed_for(one, "header_spf", domain, names.sender_domain, failed)


def _dkim(one: MethodResult, sender: str, failed: bool) -> Finding:
    return _passed_for(one, "header_dkim", _domain(one, "header.d", "header.i"), sender, failed)


def _passed_for(one: MethodResult, code: str, domain: str, sender: str, failed: bool) -> Finding:
    """What a result is worth for the From address; ``failed``: DMARC did."""
    if one.result == "pass" and sender and not same_organisation(domain, sender):
        return _finding(one, [why(f"{code}_pass_other", domain=domain, sender=sender)], "warning")
    if one.result == "pass" and failed and not same_domain(domain, sender):
        return _finding(one, [why(f"{code}_pass_loose", domain=domain, sender=sender)], "warning")
    return _finding(one, [_result_words(code, one.result, domain=domain or "–", sender=sender)])


def _arc(one: MethodResult) -> Finding:
    return _finding(one, [_result_words("header_arc", one.result)], None if one.result == "pass" else "unknown")


_SPOKEN = frozenset((
    *(f"header_spf_{word}" for word in ("pass", "fail", "softfail", "neutral", "none", "temperror", "permerror")),
    *(f"header_dkim_{word}" for word in ("pass", "fail", "none", "neutral", "policy", "temperror", "permerror")),
    *(f"header_dmarc_{word}" for word in ("pass", "fail", "none", "bestguesspass", "temperror", "permerror")),
    *(f"header_arc_{word}" for word in ("pass", "fail", "none")),
))  # fmt: skip
_SYNONYMS = {"hardfail": "fail", "error": "temperror", "unknown": "permerror"}


def _result_words(code: str, result: str, **values: str) -> Why:
    code = f"{code}_{_SYNONYMS.get(result, result)}"
    return why(code, **values) if code in _SPOKEN else why("header_unknown_result", result=result)


def _finding(one: MethodResult, sentences: Iterable[Why], state: State | None = None) -> Finding:
    result = _SYNONYMS.get(one.result, one.result)
    quote = one.reason or one.comment
    return Finding(state or _STATES.get(result, "unknown"), tuple(sentences), one.method.upper(), one.result, quote)


def _unchecked(mail: PastedMail) -> Iterable[Finding]:
    """The signatures in the email that no result speaks of; ``quote`` is the domain."""
    for value in mail.all("dkim-signature")[:MOST_SIGNATURES]:
        tags = dict(tag.strip().partition("=")[::2] for tag in value.split(";"))
        domain, selector = _readable(tags.get("d", "").strip().lower()), tags.get("s", "").strip()
        if domain:
            words = why("header_dkim_not_checked", domain=domain, selector=selector)
            yield Finding("unknown", (words,), "DKIM", quote=domain)


def _copies(mail: PastedMail) -> Iterable[Finding]:
    """What forwarding servers say that they saw (ARC), the first one first."""
    read = [read_results(value) for value in mail.all("arc-authentication-results")[:MOST_SIGNATURES]]
    for one in sorted(read, key=lambda one: one.instance):
        said = ", ".join(
            f"{method.upper()} {word}" for method in ("spf", "dkim", "dmarc") if (word := one.word(method))
        )
        server = one.server or "–"
        words = (
            why("header_arc_says", server=server, results=said)
            if said
            else why("header_arc_says_nothing", server=server)
        )
        yield Finding("unknown", (words,), f"ARC {one.instance or ''}".strip())

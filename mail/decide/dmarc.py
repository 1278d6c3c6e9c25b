"""The DMARC record of a domain (RFC 7489, RFC 9989): which policy counts for its mail, and what to paste. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from mail.decide.alignment import organisation_of, same_organisation
from mail.decide.dns_tags import read_tags, write_tags
from mail.decide.report_uris import read_uris
from mail.decide.verdicts import RecordToPaste, State, Verdict, not_known, txt_record
from mail.dns_answers import DnsAnswer, DnsAnswers
from mail.message.address import domain_of, normalise
from mail.message.domains import wire_domain
from mail.sentences import Why, why

LONGEST = 4096  # characters of a record that are read; those that mean something have a few hundred
_RECORD = re.compile(r"v\s*=\s*DMARC1\s*(?:;|$)", re.ASCII)
_BETWEEN_TAGS = re.compile(r"(?<![;,\s])[;,\s]+(?=[a-z]+\s*=)")
_LOOKS_LIKE = re.compile(r"\W{0,9}v?\s{0,9}=?\s{0,9}DMARC1?\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class DmarcPolicy:
    """What counts for mail from a domain. ``wish``: none, quarantine or reject, "" without a record.

    ``at``: where the record is; ``text``: what it says; ``tags``: what it should say. ``limit``: the tag that has it
    apply to a part of the mail, or as a test.
    """

    wish: str = ""
    at: str = ""
    strict_spf: bool = False
    strict_dkim: bool = False
    tags: tuple[tuple[str, str], ...] = ()
    text: str = ""
    is_known: bool = True
    limit: str = ""

    @property
    def is_test(self) -> bool:
        """Say whether receivers are asked to do one step less, with all mail."""
        return self.limit in ("t=y", "pct=0")

    @property
    def does_harm(self) -> bool:
        """Say whether mail that fails is treated worse than without DMARC."""
        return self.wish == "reject" or (self.wish == "quarantine" and not self.is_test)

    def relaxed(self) -> RecordToPaste:
        """Return the same record with relaxed alignment, which is what receivers take without these tags."""
        tags = {name: value for name, value in self.tags if name not in ("aspf", "adkim")}
        return txt_record(self.at, write_tags(tags), (self.text,))


def organisation(domain: str) -> str:
    """Return the domain that somebody registered, of which this one is a part; a public suffix stays what it is.

    >>> organisation("news.mail.acme.co.uk"), organisation("co.uk")
    ('acme.co.uk', 'co.uk')
    """
    return organisation_of(domain) or domain


def is_aligned(domain: str, sender: str, *, strict: bool) -> bool:
    """Say whether a domain that was verified stands for the one in From.

    >>> [is_aligned("bounce.acme.com", "acme.com", strict=strict) for strict in (False, True)]
    [True, False]
    """
    return domain == sender if strict else same_organisation(domain, sender)


def judge_dmarc(domain: str, reports_to: str, answers: DnsAnswers) -> tuple[Verdict, DmarcPolicy]:
    """Return the verdict on DMARC, and the policy that counts for mail from the domain."""
    for name in dict.fromkeys((domain, organisation(domain))):
        at = f"_dmarc.{name}"
        answer = answers.ask(at, "TXT")
        if not answer.is_known:
            return not_known("dmarc", at, answer), DmarcPolicy(is_known=False)
        texts = [text[:LONGEST] for text in answer.records if _RECORD.match(text)]
        if len(texts) > 1:
            record = _record(at, texts[0], reports_to, texts)
            return Verdict("dmarc", "bad", (why("dmarc_several", name=at, count=len(texts)),), record), DmarcPolicy()
        if texts:
            return _of_text(domain, name, texts[0], reports_to, answers)
    return _without(domain, reports_to, answers), DmarcPolicy()


def _without(domain: str, reports_to: str, answers: DnsAnswers) -> Verdict:
    """No record: perhaps one that was meant to be one, or stands where nobody looks for it."""
    at = f"_dmarc.{domain}"
    similar = [text[:LONGEST] for text in answers.ask(at, "TXT").records if _LOOKS_LIKE.match(text)]
    misplaced = [text[:LONGEST] for text in answers.ask(domain, "TXT").records if _LOOKS_LIKE.match(text)]
    if similar:
        return Verdict(
            "dmarc", "bad", (why("dmarc_similar", record=similar[0]),), _record(at, similar[0], reports_to, similar)
        )
    record = _record(at, misplaced[0] if misplaced else "", reports_to, ())
    reason = why("dmarc_misplaced", domain=domain, name=at) if misplaced else why("dmarc_missing", domain=domain)
    return Verdict("dmarc", "bad", (reason,), record)


def _record(at: str, text: str, reports_to: str, replaces: list[str] | tuple[str, ...]) -> RecordToPaste:
    """The record with everything in a text that can be read, and what it must have."""
    tags = _usable(read_tags(_LOOKS_LIKE.sub("", _BETWEEN_TAGS.sub(";", text), count=1)))
    policy = {"v": "DMARC1", "p": tags.pop("p", "none")}
    wanted = read_uris(tags.get("rua", ""))
    if reports_to and not read_uris(",".join(wanted.kept)).addresses:
        tags["rua"] = ",".join((*wanted.kept, f"mailto:{reports_to}"))
    tags.pop("v", None)
    return txt_record(at, write_tags(policy | tags), tuple(replaces))


_VALUES = {
    "p": re.compile("none|quarantine|reject", re.IGNORECASE),
    "sp": re.compile("none|quarantine|reject", re.IGNORECASE),
    "np": re.compile("none|quarantine|reject", re.IGNORECASE),
    "aspf": re.compile("[rs]", re.IGNORECASE),
    "adkim": re.compile("[rs]", re.IGNORECASE),
    "pct": re.compile("0*(?:100|[0-9]{1,2})"),
    "t": re.compile("[yn]", re.IGNORECASE),
}


def _usable(tags: dict[str, str]) -> dict[str, str]:
    """The tags without those whose value no receiver can read, and without such a part of ``rua``."""
    found = {name: value for name, value in tags.items() if name not in _VALUES or _VALUES[name].fullmatch(value)}
    if "rua" in found and read_uris(found["rua"]).broken:
        found["rua"] = ",".join(read_uris(found["rua"]).kept)
    return {name: value for name, value in found.items() if value or name != "rua"}


def _limit(usable: Mapping[str, str]) -> str:
    """The tag that has the policy apply as a test only, or to a part of the mail; "" if nothing does."""
    if usable.get("t", "n").lower() == "y":
        return "t=y"
    percent = int(usable.get("pct", "100"))
    return f"pct={percent}" if percent < 100 else ""


def _of_text(domain: str, owner: str, text: str, reports_to: str, answers: DnsAnswers) -> tuple[Verdict, DmarcPolicy]:
    at = f"_dmarc.{owner}"
    tags = read_tags(text)
    usable = _usable(tags)
    wish = usable.get("p", "none").lower()
    if owner != domain:
        wish = usable.get("sp", wish).lower()
    policy = DmarcPolicy(
        wish,
        at,
        strict_spf=usable.get("aspf", "r").lower() == "s",
        strict_dkim=usable.get("adkim", "r").lower() == "s",
        tags=tuple(read_tags(_record(at, text, reports_to, ()).value).items()),
        text=text,
        limit=_limit(usable),
    )
    wrong = [f"{name}={value}" for name, value in tags.items() if name not in usable and name != "rua"]
    wrong += [f"rua={uri}" for uri in read_uris(tags.get("rua", "")).broken]
    if wrong or "p" not in tags:
        code = "dmarc_unreadable" if wrong else "dmarc_no_policy"
        reason = why(code, name=at, tags=", ".join(wrong))
        return Verdict("dmarc", "bad", (reason,), _record(at, text, reports_to, [text])), policy
    state, sentences = _reports(owner, usable.get("rua", ""), answers)
    sentences.insert(0, _in_words(policy, domain))
    if owner != domain:
        sentences.insert(1, why("dmarc_inherited", domain=domain, owner=owner))
    has_reports = bool(read_uris(usable.get("rua", "")).addresses)
    record = _record(at, text, reports_to, [text]) if reports_to and not has_reports else None
    return Verdict("dmarc", state, tuple(sentences), record), policy


def _in_words(policy: DmarcPolicy, domain: str) -> Why:
    if policy.wish == "none" or not policy.limit:
        return why(f"dmarc_{policy.wish}", domain=domain)
    return why("dmarc_test" if policy.is_test else "dmarc_partly", domain=domain, wish=policy.wish, limit=policy.limit)


def _reports(owner: str, rua: str, answers: DnsAnswers) -> tuple[State, list[Why]]:
    """Whether reports come back, and whether those who are named for them take them (RFC 9990, 3)."""
    uris = read_uris(rua)
    if not uris.addresses:
        others = ", ".join(uris.others)
        return "good", [why("dmarc_reports_elsewhere", uris=others) if others else why("dmarc_no_reports")]
    state: State = "good"
    sentences: list[Why] = []
    for address in uris.addresses:
        host = wire_domain(domain_of(normalise(address) or "")) or ""
        if not host or same_organisation(host, owner):
            continue
        answer = answers.ask(f"{owner}._report._dmarc.{host}", "TXT")
        if not answer.is_known:
            state = "unknown"
            sentences.append(_unknown(f"{owner}._report._dmarc.{host}", answer))
        elif not any(_RECORD.match(text) for text in answer.records):
            state = "warning"
            sentences.append(why("dmarc_reports_refused", address=address, host=host, owner=owner))
    return state, sentences or [why("dmarc_reports", address=", ".join(uris.addresses))]


def _unknown(name: str, answer: DnsAnswer) -> Why:
    return not_known("dmarc", name, answer).sentences[0]

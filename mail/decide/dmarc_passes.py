"""Whether mail of one server passes DMARC: SPF or DKIM passes for a domain that stands for the one in From. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from mail.decide.dmarc import DmarcPolicy, is_aligned
from mail.decide.spf_coverage import Origin, coverage
from mail.decide.spf_record import spf_texts
from mail.decide.verdicts import RecordToPaste, State, Verdict
from mail.dns_answers import DnsAnswers
from mail.sentences import Why, why


@dataclass(frozen=True, slots=True)
class SignedBy:
    """Who signs a server's mail: ``domain`` is the d= of it, ``state`` whether receivers can check it."""

    domain: str
    state: State


@dataclass(frozen=True, slots=True)
class MailPath:
    """The mail of one server: the domains of its From and its envelope sender; is the latter the provider's own?"""

    server: str
    sender: str
    envelope: str
    is_providers: bool = False


@dataclass(frozen=True, slots=True)
class _Proof:
    """SPF or DKIM: does it count for DMARC, and why (not). ``only_strict``: it would if alignment were relaxed."""

    state: State
    reason: Why
    only_strict: bool = False


def judge_passes(
    path: MailPath, origin: Origin, signatures: Sequence[SignedBy], policy: DmarcPolicy, answers: DnsAnswers
) -> Verdict:
    """Return whether mail that a server sends as a domain passes DMARC, and what becomes of it if not."""
    spf = _by_spf(path, origin, policy, answers)
    dkim = _by_dkim(path, signatures, policy)
    if "good" in (spf.state, dkim.state):
        return Verdict("passes", "good", (_passed(path, spf, dkim),), subject=path.server)
    if "unknown" in (spf.state, dkim.state) or not policy.is_known:
        return Verdict("passes", "unknown", (spf.reason, dkim.reason), subject=path.server)
    failed = _failed(path, policy)
    record: RecordToPaste | None = None
    sentences = [failed, spf.reason, dkim.reason]
    if spf.only_strict or dkim.only_strict:
        sentences.append(why("passes_strict", name=policy.at))
        record = policy.relaxed()
    state: State = "bad" if policy.does_harm else "warning"
    return Verdict("passes", state, tuple(sentences), record, path.server)


def _failed(path: MailPath, policy: DmarcPolicy) -> Why:
    values = {"server": path.server, "sender": path.sender}
    if policy.wish in ("quarantine", "reject") and policy.limit:
        code = "passes_not_test" if policy.is_test else "passes_not_partly"
        return why(code, wish=policy.wish, limit=policy.limit, **values)
    return why(f"passes_not_{policy.wish or 'none'}", **values)


def _passed(path: MailPath, spf: _Proof, dkim: _Proof) -> Why:
    both = spf.state == dkim.state == "good"
    code = "passes_both" if both else "passes_spf" if spf.state == "good" else "passes_dkim"
    return why(code, server=path.server, sender=path.sender)


def _by_spf(path: MailPath, origin: Origin, policy: DmarcPolicy, answers: DnsAnswers) -> _Proof:
    if not path.envelope:
        return _Proof("bad", why("passes_no_envelope"))
    if not is_aligned(path.envelope, path.sender, strict=policy.strict_spf):
        code = "passes_spf_providers" if path.is_providers else "passes_spf_misaligned"
        relaxed = is_aligned(path.envelope, path.sender, strict=False)
        return _Proof("bad", why(code, envelope=path.envelope, sender=path.sender), relaxed)
    if path.is_providers:  # a subdomain of ours that points to the provider, who keeps its SPF record
        answer = answers.ask(path.envelope, "TXT")
        if not answer.is_known:
            return _Proof("unknown", why(f"dns_{answer.outcome}", name=path.envelope, said=answer.said))
        if not spf_texts(answer.records):
            return _Proof("bad", why("passes_return_path_missing", envelope=path.envelope, server=path.server))
        return _Proof("good", why("passes_spf", server=path.server, sender=path.sender))
    found = coverage(origin, path.envelope, answers)
    return _Proof("unknown" if found.state == "warning" else found.state, found.sentences[0])


def _by_dkim(path: MailPath, signatures: Sequence[SignedBy], policy: DmarcPolicy) -> _Proof:
    if not signatures:
        return _Proof("bad", why("passes_unsigned", server=path.server))
    aligned = [one for one in signatures if is_aligned(one.domain, path.sender, strict=policy.strict_dkim)]
    if not aligned:
        relaxed = any(is_aligned(one.domain, path.sender, strict=False) for one in signatures)
        listed = ", ".join(dict.fromkeys(one.domain for one in signatures))
        return _Proof("bad", why("passes_dkim_misaligned", domains=listed, sender=path.sender), relaxed)
    if any(one.state in ("good", "warning") for one in aligned):
        return _Proof("good", why("passes_dkim", server=path.server, sender=path.sender))
    if any(one.state == "unknown" for one in aligned):
        return _Proof("unknown", why("passes_dkim_unknown", server=path.server))
    return _Proof("bad", why("passes_dkim_broken", server=path.server, domain=aligned[0].domain))

"""Pure: whom a report may blame. It may blame a recipient of ours, and nobody else (incoming.md 5.2 and 8).

A recipient is of ours when the token of the bounce address or an id in the returned mail names them, or when the report
names their address and one of our mails went there. One of our own addresses and a sender are never to blame.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mail.decide.failure import FailureKind
from mail.decide.reported import MOST_RECIPIENTS, About, Report, Reported


@dataclass(frozen=True, slots=True)
class SentTo:
    """Somebody who was sent a mail of ours: a line of a mail, a trace of a mailing, or only their address (a key)."""

    address: str
    line_id: int | None = None
    mail_id: int | None = None
    post_id: int | None = None
    trace_id: int | None = None
    mailing_id: int | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of the mail that a report is about.

    ``named``: recipients that a token or an id names one by one; ``whole``: all recipients of the returned mail;
    ``former``: addresses that were corrected since this mail went there, of no recipient any more; ``mailed``: of the
    addresses that the report names, those that one of our mails went to; ``never``: our own addresses and the senders
    of the returned mail.
    """

    named: Sequence[SentTo] = ()
    whole: Sequence[SentTo] = ()
    former: Collection[str] = ()
    mailed: Mapping[str, SentTo] = field(default_factory=dict)
    never: Collection[str] = ()

    @property
    def only(self) -> SentTo | None:
        """The one recipient that can be meant, when there is just one."""
        for candidates in (self.named, self.whole):
            if candidates:
                return candidates[0] if len(candidates) == 1 else None
        return None


def blamed(report: Report, evidence: Evidence) -> list[tuple[SentTo | None, Reported]]:
    """Return each recipient that a report names, with the recipient of ours that it may blame for it, if any.

    Who has their mail forwarded is reported under an address that we never wrote to: then the only recipient is meant.
    """
    told = report.recipients[:MOST_RECIPIENTS]
    return [(_meant(reported, evidence), reported) for reported in told if not _is_ours(reported, evidence)]


def names_nobody(report: Report, evidence: Evidence) -> Reported | None:
    """Return what is told of the only recipient by a report that names nobody but us, if it blames that one.

    Its kind stays: that a mail of ours was blocked says nothing about who would have got it.
    """
    if not report.is_certain or blamed(report, evidence) or evidence.only is None:
        return None
    kind = FailureKind.DELAY if report.about is About.DELAY else FailureKind.SOFT
    told = report.failures[0] if report.failures else Reported("", kind, "", report.text)
    return replace(told, address=evidence.only.address, also=())


def complaining(report: Report, evidence: Evidence) -> list[SentTo]:
    """Return the recipients of ours who complained: named by the report and proved to have a mail of ours.

    What only may be a complaint has to hold the mail itself: a token or an id of ours.
    """
    if not report.is_certain:
        evidence = replace(evidence, mailed={})
    if not report.recipients:
        return [evidence.only] if evidence.only else []
    meant = (sent for sent, _ in blamed(report, evidence) if sent is not None)
    return list(dict.fromkeys(meant))


def _meant(reported: Reported, evidence: Evidence) -> SentTo | None:
    for sent in (*evidence.named, *evidence.whole):
        if sent.address in reported.addresses:
            return sent
    if former := next((key for key in reported.addresses if key in evidence.former), None):
        return SentTo(former)
    if evidence.only is not None:
        return evidence.only
    return next((evidence.mailed[key] for key in reported.addresses if key in evidence.mailed), None)


def _is_ours(reported: Reported, evidence: Evidence) -> bool:
    """Whether the report names one of our addresses or a sender, who was no recipient of this mail."""
    recipients = {sent.address for sent in (*evidence.named, *evidence.whole)}
    return bool(set(evidence.never) & set(reported.addresses)) and not recipients & set(reported.addresses)

"""What a report says about mail of ours is written down: bounces, delays, complaints (incoming.md 8).

Lines and traces that failed turn red, the address is counted once per mail, and nobody is blamed by guess.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import or_, select, update

from mail.decide.failure import FailureKind as Failing
from mail.decide.outcomes import Bounced
from mail.decide.report import About, Report, Reported
from mail.mailing import blacklist, traces
from mail.message.address import normalise
from mail.outgoing import failures as outgoing_failures
from mail.outgoing import lines as outgoing_lines
from mail.outgoing.delivery_state import mark_failures
from mail.outgoing.failures import Failure
from mail.sentences import Why, why
from mail.settings import office
from mail.settings.tokens import TokenKind
from models import OutgoingMail, Recipient, Trace, db

SILENT = (About.DELIVERED, About.RECEIPT, About.FEEDBACK)  # they stand in the ledger, and that is all


@dataclass(frozen=True, slots=True)
class Sent:
    """A recipient of mail of ours that a report is about: a line of a mail, or a trace of a mailing."""

    address: str
    line_id: int | None = None
    mail_id: int | None = None
    post_id: int | None = None
    trace_id: int | None = None
    mailing_id: int | None = None


def record(bounced: Bounced, received_id: int | None, now: datetime) -> None:
    """Write down what a report says; the caller commits. A second report about the same mail changes nothing."""
    report = bounced.report
    if report.about in SILENT:
        return
    named, whole = _recipients(bounced)
    if report.about is About.COMPLAINT:
        _complain(report, named or whole, received_id, now)
        return
    failures: list[Failure] = []
    failed: list[tuple[Sent, Reported]] = []
    for reported in report.recipients:
        if not reported.kind.failed and reported.kind is not Failing.DELAY:
            continue
        sent = _meant(reported, named, whole)
        failures.append(_failure(reported, sent, received_id))
        if sent is not None and reported.kind.failed:
            failed.append((sent, reported))
    if not failures:
        failures, failed = _without_recipient(report, named, whole, received_id, now)
    risen = outgoing_failures.record(failures, now)
    _paint(failed, now)
    for sent, _ in failed:
        if sent.trace_id is not None and sent.address in risen:
            blacklist.consider([sent.address], sent.mailing_id, now)


def _recipients(bounced: Bounced) -> tuple[list[Sent], list[Sent]]:
    """The recipients of ours that the report's tokens name one by one, and all those of the mail that it returns."""
    tokens = office.tokens()
    lines: set[int] = set()
    traces: set[int] = set()
    from_envelope = tokens.read(bounced.token) if bounced.token else None
    for named in (
        [from_envelope]
        if from_envelope
        else [tokens.from_message_id(id) if "@" in id else tokens.read(id) for id in bounced.report.returned_ids]
    ):
        if named is None:
            continue
        if named.kind in (TokenKind.LINE, TokenKind.LINE_BOUNCE):
            lines.add(named.id)
        elif named.kind in (TokenKind.TRACE, TokenKind.TRACE_BOUNCE):
            traces.add(named.id)
    about = bounced.about
    if about is not None and about.trace_id is not None:
        traces.add(about.trace_id)
    one_by_one = _traces(traces)
    of_mail = _lines(lines, about.mail_id if about else None)
    one_by_one += [sent for sent in of_mail if sent.line_id in lines]
    mail_ids = {sent.mail_id for sent in one_by_one if sent.mail_id is not None}
    return one_by_one, [sent for sent in of_mail if not mail_ids or sent.mail_id in mail_ids]


def _lines(ids: set[int], mail_id: int | None) -> list[Sent]:
    if not ids and mail_id is None:
        return []
    rows = db.session.execute(
        select(Recipient.id, Recipient.address_key, Recipient.mail_id, OutgoingMail.post_id)
        .join(OutgoingMail, OutgoingMail.id == Recipient.mail_id)
        .where(or_(Recipient.id.in_(ids), Recipient.mail_id == (mail_id or 0)))
        .order_by(Recipient.id)
    )
    return [Sent(row.address_key, line_id=row.id, mail_id=row.mail_id, post_id=row.post_id) for row in rows]


def _traces(ids: set[int]) -> list[Sent]:
    if not ids:
        return []
    rows = db.session.execute(select(Trace.id, Trace.address, Trace.mailing_id).where(Trace.id.in_(ids)))
    return [Sent(normalise(row.address) or "", trace_id=row.id, mailing_id=row.mailing_id) for row in rows]


def _meant(reported: Reported, named: Sequence[Sent], whole: Sequence[Sent]) -> Sent | None:
    """The recipient of ours that a reported address is: the same address, or the only one that it can be.

    Whoever has his mail forwarded is reported under an address that we never wrote to.
    """
    for sent in (*named, *whole):
        if sent.address in reported.addresses:
            return sent
    for candidates in (named, whole):
        if len(candidates) == 1:
            return candidates[0]
    return None


def _failure(reported: Reported, sent: Sent | None, received_id: int | None) -> Failure:
    return Failure(
        address=sent.address if sent else reported.address,
        kind=reported.kind.value,
        status=reported.status,
        text=reported.text,
        recipient_id=sent.line_id if sent else None,
        trace_id=sent.trace_id if sent else None,
        received_mail_id=received_id,
    )


def _without_recipient(
    report: Report, named: Sequence[Sent], whole: Sequence[Sent], received_id: int | None, now: datetime
) -> tuple[list[Failure], list[tuple[Sent, Reported]]]:
    """A report that names nobody: if its mail went to exactly one, that one; to several, the post is marked."""
    kind = Failing.DELAY if report.about is About.DELAY else Failing.SOFT
    only = named[0] if len(named) == 1 else whole[0] if len(whole) == 1 else None
    if only is not None:
        reported = Reported(only.address, kind, "", report.text)
        return [_failure(reported, only, received_id)], [(only, reported)] if kind.failed else []
    if whole and kind.failed:
        mails = {sent.mail_id for sent in whole}
        db.session.execute(
            update(OutgoingMail)
            .where(OutgoingMail.id.in_(mails))
            .values(bounce_why=why("bounce_names_nobody", text=report.text[:500]))
        )
        mark_failures({sent.post_id for sent in whole if sent.post_id is not None}, now)
    return [Failure(None, kind.value, "", report.text, received_mail_id=received_id)], []


def _complain(report: Report, named: Sequence[Sent], received_id: int | None, now: datetime) -> None:
    """Somebody called our mail spam: no more mailings to him."""
    meant = [sent for reported in report.recipients for sent in named if sent.address in reported.addresses]
    if not meant and len(named) == 1:
        meant = list(named)
    if not meant:
        meant = [Sent(reported.address) for reported in report.recipients]
    failures = [
        Failure(sent.address, "complaint", "", report.text, sent.line_id, sent.trace_id, received_id)
        for sent in dict.fromkeys(meant)
    ]
    outgoing_failures.record(
        failures or [Failure(None, "complaint", "", report.text, received_mail_id=received_id)], now
    )
    for sent in dict.fromkeys(meant):
        blacklist.complain(sent.address, sent.mailing_id, now)


# --- red


def _paint(failed: Iterable[tuple[Sent, Reported]], now: datetime) -> None:
    """Turn lines and traces red."""
    for sent, reported in failed:
        reason = bounce_reason(reported)
        if sent.line_id is not None:
            outgoing_lines.mark_bounced(sent.line_id, reason, reported.status, reported.text, now)
        elif sent.trace_id is not None:
            traces.bounce_trace(sent.trace_id, reason, reported.status, reported.text, now)


def bounce_reason(reported: Reported) -> Why:
    """Return the explanation of a failure for those who read the post."""
    return why(f"bounced_{reported.kind.value}", address=reported.address, text=reported.text[:500])

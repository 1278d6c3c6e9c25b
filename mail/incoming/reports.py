"""What a report says about mail of ours is written down: bounces, delays, complaints (incoming.md 8).

Lines and traces that failed turn red, the address is counted once per mail, and nobody is blamed by guess.
"""

import re
from collections.abc import Collection, Iterable
from datetime import datetime

from sqlalchemy import or_, select, update

from mail.decide.blame import Evidence, SentTo, blamed, complaining, names_nobody
from mail.decide.domains import without_tag
from mail.decide.failure import FailureKind
from mail.decide.outcomes import Bounced
from mail.decide.report_words import DETECTORS_MISSING
from mail.decide.reported import MOST_RECIPIENTS, About, Report, Reported
from mail.mailing import blacklist, traces
from mail.message.address import normalise
from mail.outgoing import failures, lines
from mail.outgoing.delivery_state import mark_failures
from mail.outgoing.failures import Failure
from mail.sentences import Why, why
from mail.settings import office
from mail.settings.notices import tell_admins
from mail.settings.tokens import TokenKind
from mail.transport.smtp_answers import Answer, cause_of
from models import Alias, Contact, LineChange, Notification, OutgoingMail, Recipient, Trace, db
from models.slices import listed

SILENT = (About.DELIVERED, About.RECEIPT, About.FEEDBACK, About.CHALLENGE)  # the ledger shows them, and that is all


def record(bounced: Bounced, received_id: int | None, now: datetime) -> None:
    """Write down what a report says; the caller commits. A second report about the same mail changes nothing."""
    report = bounced.report
    if any(problem["code"] == DETECTORS_MISSING for problem in report.problems):
        _tell_of_missing(received_id, now)
    if report.about in SILENT:
        return
    evidence = _evidence(bounced)
    if report.about is About.COMPLAINT:
        _complain(report, evidence, received_id, now)
        return
    told = [
        (sent, reported)
        for sent, reported in blamed(report, evidence)
        if reported.kind.failed or reported.kind is FailureKind.DELAY
    ]
    if not told:
        told = _without_recipient(report, evidence, now)
    risen = failures.record([_failure(reported, sent, received_id) for sent, reported in told], now)
    failed = [(sent, reported) for sent, reported in told if sent is not None and reported.kind.failed]
    _paint(failed, now)
    for sent, _ in failed:
        if sent.trace_id is not None and sent.address in risen:
            blacklist.consider([sent.address], sent.mailing_id, now)


def would_blame(bounced: Bounced) -> list[tuple[str, str]]:
    """Return the addresses that a report counts against, each with the kind of failure, without writing it down."""
    report = bounced.report
    if report.about in SILENT:
        return []
    evidence = _evidence(bounced)
    if report.about is About.COMPLAINT:
        return [(sent.address, "complaint") for sent in complaining(report, evidence)]
    told = [(sent, reported) for sent, reported in blamed(report, evidence) if sent is not None]
    if evidence.only is not None and (alone := names_nobody(report, evidence)):
        told = [(evidence.only, alone)]
    return [(sent.address, reported.kind.value) for sent, reported in told if reported.kind.failed]


def _tell_of_missing(received_id: int | None, now: datetime) -> None:
    """Tell the admins that a part of us is missing, once until they have read it."""
    unread = select(Notification.why).where(Notification.kind == "notice", Notification.read_at.is_(None))
    if not any(said and said["code"] == DETECTORS_MISSING for said in db.session.scalars(unread)):
        tell_admins(DETECTORS_MISSING, {}, f"/admin/received-mails/details?id={received_id or ''}", now)


# --- the evidence


def _evidence(bounced: Bounced) -> Evidence:
    """Look up what the report's token and the ids in the returned mail prove, and whom else it names."""
    line_ids, trace_ids = _named_ids(bounced)
    of_mail = _lines(line_ids, bounced.about.mail_id if bounced.about else None)
    named = _traces(trace_ids) + [sent for sent in of_mail if sent.line_id in line_ids]
    mail_ids = {sent.mail_id for sent in named if sent.mail_id is not None}
    whole = [sent for sent in of_mail if not mail_ids or sent.mail_id in mail_ids]
    keys = {key for reported in bounced.report.recipients[:MOST_RECIPIENTS] for key in reported.addresses}
    never = _own_addresses(keys) | _senders({sent.mail_id for sent in of_mail if sent.mail_id is not None})
    former = _former([sent.line_id for sent in of_mail if sent.line_id is not None])
    return Evidence(named, whole, former, _mailed(keys), never)


def _named_ids(bounced: Bounced) -> tuple[set[int], set[int]]:
    """The lines and traces that are named: by the token of the bounce address, else by ids that we signed."""
    tokens = office.tokens()
    from_envelope = tokens.read(bounced.token) if bounced.token else None
    if from_envelope is not None:
        found = [from_envelope]
    else:
        read = (tokens.from_message_id(id) if "@" in id else tokens.read(id) for id in bounced.report.returned_ids)
        found = [named for named in read if named is not None]
    line_ids = {named.id for named in found if named.kind in (TokenKind.LINE, TokenKind.LINE_BOUNCE)}
    trace_ids = {named.id for named in found if named.kind in (TokenKind.TRACE, TokenKind.TRACE_BOUNCE)}
    if bounced.about is not None and bounced.about.trace_id is not None:
        trace_ids.add(bounced.about.trace_id)
    return line_ids, trace_ids


def _lines(ids: set[int], mail_id: int | None) -> list[SentTo]:
    if not ids and mail_id is None:
        return []
    rows = db.session.execute(
        select(Recipient.id, Recipient.address_key, Recipient.mail_id, OutgoingMail.post_id)
        .join(OutgoingMail, OutgoingMail.id == Recipient.mail_id)
        .where(or_(Recipient.id.in_(ids), Recipient.mail_id == (mail_id or 0)))
        .order_by(Recipient.id)
    )
    return [SentTo(row.address_key, line_id=row.id, mail_id=row.mail_id, post_id=row.post_id) for row in rows]


def _former(line_ids: Collection[int]) -> set[str]:
    """Where the mail of these lines went before a person corrected their addresses."""
    if not line_ids:
        return set()
    changes = select(LineChange.why).where(LineChange.recipient_id.in_(listed(line_ids)))
    corrected = changes.where(LineChange.why["code"].as_string() == "address_corrected_by")
    return {key for said in db.session.scalars(corrected) if (key := normalise(said["values"]["before"]))}


def _traces(ids: set[int]) -> list[SentTo]:
    if not ids:
        return []
    rows = db.session.execute(select(Trace.id, Trace.address, Trace.mailing_id).where(Trace.id.in_(ids)))
    return [SentTo(normalise(row.address) or "", trace_id=row.id, mailing_id=row.mailing_id) for row in rows]


def _mailed(keys: set[str]) -> dict[str, SentTo]:
    """Which of these addresses one of our mails went to."""
    if not keys:
        return {}
    by_mail = select(Recipient.address_key).where(Recipient.address_key.in_(keys), Recipient.sent_at.is_not(None))
    by_mailing = (
        select(Contact.address_key)
        .join(Trace, Trace.contact_id == Contact.id)
        .where(Contact.address_key.in_(keys), Trace.sent_at.is_not(None))
    )
    found = {key for query in (by_mail, by_mailing) for key in db.session.scalars(query.distinct())}
    return {key: SentTo(key) for key in found if key}


def _own_addresses(keys: set[str]) -> set[str]:
    """Our own addresses among these, former ones too, and those that mail leaves from."""
    known = office.load()
    found = {known.office.default_address, known.office.catchall_address, known.office.bounce_address}
    found.update(key for key in keys if key in known.own)
    if keys:
        plain = {without_tag(key) for key in keys}
        found.update(db.session.scalars(select(Alias.address_key).where(Alias.address_key.in_(keys | plain))))
    return {address for address in found if address} | {key for key in keys if without_tag(key) in found}


def _senders(mail_ids: set[int]) -> set[str]:
    """Who the returned mails came from."""
    if not mail_ids:
        return set()
    query = select(OutgoingMail.author, OutgoingMail.from_header, OutgoingMail.envelope_sender)
    rows = db.session.execute(query.where(OutgoingMail.id.in_(mail_ids)))
    return {key for row in rows for text in row if (key := normalise(text))}


# --- what it means


def _failure(reported: Reported, sent: SentTo | None, received_id: int | None) -> Failure:
    """What is recorded of a recipient; whoever is not to blame is recorded without an address, for the admin."""
    return Failure(
        address=sent.address if sent else None,
        kind=reported.kind.value,
        status=reported.status,
        text=reported.text,
        recipient_id=sent.line_id if sent else None,
        trace_id=sent.trace_id if sent else None,
        received_mail_id=received_id,
    )


def _without_recipient(report: Report, evidence: Evidence, now: datetime) -> list[tuple[SentTo | None, Reported]]:
    """A report that names nobody: if its mail went to exactly one, that one; to several, the post is marked.

    What only may be a report is recorded, and blames nobody.
    """
    kind = FailureKind.DELAY if report.about is About.DELAY else FailureKind.SOFT
    if not report.is_certain:
        return [(None, Reported("", kind, "", report.text))]
    if alone := names_nobody(report, evidence):
        return [(evidence.only, alone)]
    if evidence.only is None and kind.failed and evidence.whole:
        mails = {sent.mail_id for sent in evidence.whole}
        reason = why("bounce_names_nobody", text=report.text[:500])
        db.session.execute(update(OutgoingMail).where(OutgoingMail.id.in_(mails)).values(bounce_why=reason))
        mark_failures({sent.post_id for sent in evidence.whole if sent.post_id is not None}, now)
    return [(None, Reported("", kind, "", report.text))]


def _complain(report: Report, evidence: Evidence, received_id: int | None, now: datetime) -> None:
    """Somebody called our mail spam: no more mailings to them. A complaint about nothing of ours is only recorded."""
    meant = complaining(report, evidence)
    told = [
        Failure(sent.address, "complaint", "", report.text, sent.line_id, sent.trace_id, received_id) for sent in meant
    ]
    failures.record(told or [Failure(None, "complaint", "", report.text, received_mail_id=received_id)], now)
    blacklist.complain({sent.address: sent.mailing_id for sent in meant if sent.address}, now)


# --- red


def _paint(failed: Iterable[tuple[SentTo, Reported]], now: datetime) -> None:
    """Turn lines and traces red."""
    for sent, reported in failed:
        reason = bounce_reason(reported)
        if sent.line_id is not None:
            lines.mark_bounced(sent.line_id, reason, reported.status, reported.text, now)
        elif sent.trace_id is not None:
            traces.bounce_trace(sent.trace_id, reason, reported.status, reported.text, now)


def bounce_reason(reported: Reported) -> Why:
    """Return the explanation of a failure for those who read the post: its cause, if the words of a server name one."""
    text = reported.text[:500]
    if reported.kind in (FailureKind.SOFT, FailureKind.BLOCKED) and _ANSWER.search(text):
        cause = cause_of("end", Answer(550, reported.status, text))
        if cause in TOLD_BY_REPORTS:
            return why(cause, address=reported.address, reply=text)
    return why(f"bounced_{reported.kind.value}", address=reported.address, text=text)


_ANSWER = re.compile(r"\b5\d\d[ -]")
# What is no matter between us and our own outgoing server, and so means the same in a report.
TOLD_BY_REPORTS = frozenset((
    "blocked_by_list", "no_reverse_name", "blocked_without_proof", "blocked_as_spam", "blocked_as_dangerous",
    "too_large_there", "recipient_forbidden", "recipient_disabled", "recipient_limit", "mail_loop", "format_refused",
))  # fmt: skip

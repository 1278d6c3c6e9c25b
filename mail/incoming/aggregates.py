"""DMARC reports are kept: one row a report, one for each address and outcome in it. The same report counts once."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import and_, func, or_, select

from mail.decide.facts import LookUp
from mail.decide.outcomes import Aggregate
from mail.incoming.case import storable
from mail.message.dmarc_report import AggregateReport, ReportedSource
from models import DmarcReport, DmarcSource, Event, db
from models.store import insert_rows

TOPIC = "dmarc"  # of the events that open pages hear of

MOST_A_DAY = 5000  # sources that are kept of the reports about one organisation: anybody can send them

Key = tuple[str, str, str]


def key_of(report: AggregateReport) -> Key:
    """Return what a report is known by: its domain, who sent it, and the id that they gave it."""
    return storable(report.domain), storable(report.organisation), storable(report.report_id)


def known(asked: Iterable[LookUp], but: int = 0) -> set[Key]:
    """Return which of the reports among some mails are stored already; what the mail ``but`` brought does not count."""
    keys = {key_of(one.aggregate) for one in asked if isinstance(one.aggregate, AggregateReport)}
    if not keys:
        return set()
    row = DmarcReport
    same = [and_(row.domain == key[0], row.organisation == key[1], row.report_id == key[2]) for key in keys]
    others = row.received_mail_id.is_distinct_from(but)
    rows = db.session.execute(select(row.domain, row.organisation, row.report_id).where(or_(*same), others))
    return {(found.domain, found.organisation, found.report_id) for found in rows}


def keep(outcome: Aggregate, received_id: int | None, now: datetime) -> bool:
    """Store a report, unless it is there; return whether it was new. The caller commits."""
    report, registered_domain = outcome.report, storable(outcome.registered_domain)
    domain, organisation, report_id = key_of(report)
    kept = _worth_keeping(report, registered_domain, now)
    row = {
        "domain": domain,
        "registered_domain": registered_domain,
        "organisation": organisation,
        "report_id": report_id,
        "begin_at": report.begin,
        "end_at": report.end,
        "policy": storable(report.policy),
        "emails": report.emails,
        "failed": report.failed,
        "left_out": report.emails - sum(source.count for source in kept),
        "kept": len(kept),
        "received_mail_id": received_id,
        "received_at": now,
    }
    new = insert_rows(DmarcReport, [row], "id", skip_known=True)
    if not new:
        return False
    sources = [
        {
            "report_id": new[0].id,
            "address": storable(source.address),
            "count": source.count,
            "dkim": source.dkim,
            "spf": source.spf,
            **{name: storable(getattr(source, name)) for name in _WORDS},
        }
        for source in kept
    ]
    insert_rows(DmarcSource, sources)
    Event.add([TOPIC], now)
    return True


def _worth_keeping(report: AggregateReport, registered_domain: str, now: datetime) -> list[ReportedSource]:
    """The sources of a report that are kept, as many as still may be today: those that failed first."""
    row = DmarcReport
    of_today = (row.registered_domain == registered_domain, row.received_at > now - timedelta(days=1))
    left = MOST_A_DAY - int(db.session.scalar(select(func.coalesce(func.sum(row.kept), 0)).where(*of_today)) or 0)
    return sorted(report.sources, key=lambda source: (source.passed, -source.count))[: max(left, 0)]


_WORDS = ("disposition", "header_from", "signed_by", "spf_domain", "reason")

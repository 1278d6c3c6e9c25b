"""DMARC reports are kept: one row a report, one for each address and outcome in it. The same report counts once."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import and_, or_, select

from mail.decide.facts import LookUp
from mail.incoming.case import storable
from mail.message.dmarc_report import AggregateReport
from models import DmarcReport, DmarcSource, Event, db
from models.store import insert_rows

TOPIC = "dmarc"  # of the events that open pages hear of

Key = tuple[str, str, str]


def key_of(report: AggregateReport) -> Key:
    """Return what a report is known by: its domain, who sent it, and the id that they gave it."""
    return storable(report.domain), storable(report.organisation), storable(report.report_id)


def known(asked: Iterable[LookUp]) -> set[Key]:
    """Return which of the reports among some mails are stored already."""
    keys = {key_of(one.aggregate) for one in asked if isinstance(one.aggregate, AggregateReport)}
    if not keys:
        return set()
    row = DmarcReport
    same = [and_(row.domain == key[0], row.organisation == key[1], row.report_id == key[2]) for key in keys]
    rows = db.session.execute(select(row.domain, row.organisation, row.report_id).where(or_(*same)))
    return {(found.domain, found.organisation, found.report_id) for found in rows}


def keep(report: AggregateReport, received_id: int | None, now: datetime) -> bool:
    """Store a report, unless it is there; return whether it was new. The caller commits."""
    domain, organisation, report_id = key_of(report)
    row = {
        "domain": domain,
        "organisation": organisation,
        "report_id": report_id,
        "begin_at": report.begin,
        "end_at": report.end,
        "policy": storable(report.policy),
        "emails": report.emails,
        "failed": report.failed,
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
        for source in report.sources
    ]
    insert_rows(DmarcSource, sources)
    Event.add([TOPIC], now)
    return True


_WORDS = ("disposition", "header_from", "signed_by", "spf_domain", "reason")

"""Who sends as our domains, from the DMARC reports that receivers sent us."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address, ip_network
from typing import Any

from sqlalchemy import func, select

from mail.decide.who_sends import OwnServer, Sender, who_sends
from mail.deliverability import checks, senders
from mail.message.dmarc_report import ReportedSource
from models import DmarcReport, DmarcSource, db

MOST_OUTCOMES = 5000  # addresses and outcomes of one domain that are looked at: those with the most emails
MOST_REPORTS = 50


@dataclass(frozen=True, slots=True)
class Summary:
    """What the reports about a domain add up to."""

    reports: int = 0
    organisations: int = 0
    emails: int = 0
    failed: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None

    @property
    def passed(self) -> int:
        """Emails that passed."""
        return self.emails - self.failed


def summary(domain: str, since: datetime) -> Summary:
    """Return what was reported about a domain since a moment."""
    row = DmarcReport
    found = db.session.execute(
        select(
            func.count(), func.count(row.organisation.distinct()), func.sum(row.emails), func.sum(row.failed),
            func.min(row.begin_at), func.max(row.end_at),
        ).where(row.domain == domain, row.end_at >= since)
    ).one()  # fmt: skip
    return Summary(found[0], found[1], int(found[2] or 0), int(found[3] or 0), found[4], found[5])


def reported_senders(domain: str, since: datetime) -> list[Sender]:
    """Return who sent as a domain since a moment, by what was reported."""
    row = DmarcSource
    what = (row.address, row.dkim, row.spf, row.disposition, row.signed_by, row.spf_domain, row.header_from, row.reason)
    emails = func.sum(row.count)
    rows = db.session.execute(
        select(*what, emails.label("emails"))
        .join(DmarcReport, DmarcReport.id == row.report_id)
        .where(DmarcReport.domain == domain, DmarcReport.end_at >= since)
        .group_by(*what)
        .order_by(emails.desc(), row.address)
        .limit(MOST_OUTCOMES)
    )
    sources = [
        ReportedSource(
            one.address, int(one.emails), one.dkim, one.spf, one.disposition,
            signed_by=one.signed_by, spf_domain=one.spf_domain, header_from=one.header_from, reason=one.reason,
        )
        for one in rows
    ]  # fmt: skip
    return who_sends(sources, own_servers(domain))


def latest_reports(domain: str, since: datetime) -> Sequence[DmarcReport]:
    """Return the newest reports about a domain."""
    row = DmarcReport
    query = select(row).where(row.domain == domain, row.end_at >= since).order_by(row.end_at.desc(), row.id.desc())
    return db.session.scalars(query.limit(MOST_REPORTS)).all()


def own_servers(domain: str) -> list[OwnServer]:
    """Return the servers that send as a domain with the addresses that the last check of its DNS found for them."""
    report = checks.latest(domain)
    answers = _answers(report.report["asked"]) if report else {}
    return [
        OwnServer(
            server.id, server.name, tuple(_addresses_of(server.host, answers)) + _networks_of(server.include, answers)
        )
        for server in senders.sending_domain(domain).servers
    ]


def _answers(asked: Sequence[dict[str, Any]]) -> dict[tuple[str, str], list[str]]:
    return {(one["name"].rstrip(".").lower(), one["kind"]): one["records"] for one in asked}


def _addresses_of(host: str, answers: dict[tuple[str, str], list[str]]) -> list[str]:
    names = (answers.get((host.rstrip(".").lower(), kind), ()) for kind in ("A", "AAAA"))
    return [network for records in names for record in records if (network := _network(record))]


def _networks_of(include: str, answers: dict[tuple[str, str], list[str]]) -> tuple[str, ...]:
    """The networks that a provider's SPF record lists, with those that it includes, as far as they were looked up."""
    found: dict[str, None] = {}
    waiting, seen = [include.rstrip(".").lower()] if include else [], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for record in answers.get((name, "TXT"), ()):
            for term in record.lower().split() if record.lower().startswith("v=spf1") else ():
                kind, _, value = term.lstrip("+").partition(":")
                if kind in ("ip4", "ip6") and (network := _network(value)):
                    found[network] = None
                elif kind == "include" and "%" not in value:
                    waiting.append(value.rstrip("."))
                elif term.startswith("redirect=") and "%" not in term:
                    waiting.append(term.partition("=")[2].rstrip("."))
    return tuple(found)


def _network(text: str) -> str:
    try:
        return str(ip_network(text, strict=False)) if "/" in text else str(ip_network(ip_address(text)))
    except ValueError:
        return ""

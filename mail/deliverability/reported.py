"""Who sends as our domains, from the DMARC reports that receivers sent us."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_network
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, case, func, or_, select

from mail.decide.deliverability import SendingServer
from mail.decide.dmarc import organisation as registered_domain
from mail.decide.spf_reach import reach_of
from mail.decide.spf_record import Network
from mail.decide.who_sends import OwnServer, Sender, who_sends
from mail.deliverability import checks, senders
from mail.dns_answers import DnsAnswer, DnsAnswers, Question
from mail.message.dmarc_report import ReportedSource
from mail.message.domains import wire_domain
from models import DmarcReport, DmarcSource, DomainReport, db

MOST_OUTCOMES = 5000  # addresses and outcomes of one domain that are looked at: those with the most emails
MOST_REPORTS = 50


@dataclass(frozen=True, slots=True)
class Summary:
    """What the reports about a domain add up to."""

    reports: int = 0
    organisations: int = 0
    emails: int = 0
    failed: int = 0
    left_out: int = 0  # emails whose addresses are not kept
    first_at: datetime | None = None
    last_at: datetime | None = None

    @property
    def passed(self) -> int:
        """Emails that passed."""
        return self.emails - self.failed


def summary(domain: str, since: datetime) -> Summary:
    """Return what was reported about a domain since a moment."""
    row = _reports(domain, since).subquery().c
    found = db.session.execute(
        select(
            func.count(), func.count(row.organisation.distinct()), func.sum(row.emails), func.sum(row.failed),
            func.sum(row.left_out), func.min(row.begin_at), func.max(row.end_at),
        )
    ).one()  # fmt: skip
    emails, failed, left_out = (int(number or 0) for number in found[2:5])
    return Summary(found[0], found[1], emails, failed, left_out, found[5], found[6])


def _about(domain: str, since: datetime) -> tuple[ColumnElement[bool], ...]:
    """What of the reports is about a domain: receivers report under the one whose DMARC record counts."""
    row, named = DmarcReport, DmarcSource.header_from
    is_named = or_(row.domain == domain, named == domain, named.endswith(f".{domain}", autoescape=True))
    return row.registered_domain == registered_domain(domain), row.end_at >= since, is_named


def _reports(domain: str, since: datetime) -> Select[Any]:
    """The reports about a domain; of those about one above it only what names it."""
    row, source = DmarcReport, DmarcSource
    is_whole = row.domain == domain
    failed = func.sum(case((or_(source.dkim, source.spf), 0), else_=source.count))
    return (
        select(
            row.id, row.organisation, row.begin_at, row.end_at, row.received_at, row.received_mail_id,
            case((is_whole, row.emails), else_=func.sum(source.count)).label("emails"),
            case((is_whole, row.failed), else_=failed).label("failed"),
            case((is_whole, row.left_out), else_=0).label("left_out"),
        )
        .outerjoin(source, source.report_id == row.id)
        .where(*_about(domain, since))
        .group_by(row.id)
    )  # fmt: skip


def reported_senders(domain: str, since: datetime) -> list[Sender]:
    """Return who sent as a domain since a moment, by what was reported."""
    row = DmarcSource
    what = (row.address, row.dkim, row.spf, row.disposition, row.signed_by, row.spf_domain, row.header_from, row.reason)
    emails = func.sum(row.count)
    rows = db.session.execute(
        select(*what, emails.label("emails"))
        .join(DmarcReport, DmarcReport.id == row.report_id)
        .where(*_about(domain, since))
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


def latest_reports(domain: str, since: datetime) -> Sequence[Row[Any]]:
    """Return the newest reports about a domain."""
    row = _reports(domain, since).subquery().c
    return db.session.execute(select(*row).order_by(row.end_at.desc(), row.id.desc()).limit(MOST_REPORTS)).all()


def own_servers(domain: str) -> list[OwnServer]:
    """Return the servers that send as a domain, with the addresses that the last check of its DNS found for them."""
    report = checks.latest(domain)
    answers = _answers(report) if report else DnsAnswers({})
    return [_own_server(server, answers) for server in senders.sending_domain(domain).servers]


def _answers(report: DomainReport) -> DnsAnswers:
    """What DNS answered when a domain was checked last."""
    asked = report.report["asked"]
    return DnsAnswers(
        {Question(one["name"], one["kind"]): DnsAnswer(one["outcome"], tuple(one["records"])) for one in asked}
    )


def _own_server(server: SendingServer, answers: DnsAnswers) -> OwnServer:
    """A server with its own addresses; with a provider, its host and what that lists are of all its customers."""
    own, host = tuple(_networks(server.addresses)), wire_domain(server.host) or server.host
    of_host = () if own else tuple(_networks((*answers.ask(host, "A").records, *answers.ask(host, "AAAA").records)))
    if not server.include:
        return OwnServer(server.id, server.name, own + of_host)
    listed = reach_of(wire_domain(server.include) or "", answers).networks
    return OwnServer(server.id, server.name, own, (*listed, *of_host))


def _networks(addresses: Iterable[str]) -> Iterator[Network]:
    for address in addresses:
        with suppress(ValueError):
            yield ip_network(address)

"""DMARC reports that arrive: kept once wherever they were sent, never a document; shown as who sends as us."""

import gzip
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import delete, func, select

from mail.decide.deliverability import judge
from mail.decide.outcomes import Aggregate
from mail.deliverability import checks, reported, senders
from mail.dns_answers import DnsAnswer, Kind, Question
from mail.incoming import aggregates, flow, intake, lookup
from mail.maintenance import cleanup
from mail.maintenance.simulate_arrival import given_from_ledger, simulate_arrival
from mail.message.dmarc_report import read_aggregate
from mail.message.parse import parse
from mail.queue.lease import WorkerLease
from mail.settings import parameters
from mail.settings.clock import now
from mail.transport.mailbox import FetchedMail
from models import DmarcReport, DmarcSource, DomainReport, OutgoingServer, ReceivedMail, db
from tests.integration.frontdesk import DOMAIN, NOW, FrontDesk, mail
from tests.integration.test_numbers import migrate
from tests.web import Visitor, words

SAMPLES = Path(__file__).resolve().parents[1] / "data/dmarc"


def report(
    name: str = "google", domain: str = DOMAIN, at: datetime = NOW, to: str = f"bounce@{DOMAIN}", id: str = ""
) -> bytes:
    """A report as its reporter mails it, about the day before ``at``."""
    end = int(at.timestamp())
    xml = (SAMPLES / f"{name}.xml").read_text().replace("office.test", domain)
    for old, new in (("1763769600", end - 86400), ("1763855999", end - 1), ("1763856000", end)):
        xml = xml.replace(old, str(new))
    xml = xml.replace("<report_id>", f"<report_id>{id}")
    file = (f"{name}.com!{domain}!{end - 86400}!{end - 1}.xml.gz", gzip.compress(xml.encode()))
    subject = f"Report Domain: {domain} Submitter: {name}.com Report-ID: {id or 7}"
    return mail("noreply-dmarc@reporter.test", to, subject, "A report is attached.", files=[file])


@pytest.fixture
def desk(app: Flask) -> FrontDesk:
    return FrontDesk(app)


def stored(desk: FrontDesk) -> list[tuple[str, int, int, int]]:
    with desk.app.app_context():
        sources = select(func.count()).where(DmarcSource.report_id == DmarcReport.id).scalar_subquery()
        row = DmarcReport
        return [
            tuple(one)
            for one in db.session.execute(select(row.organisation, row.emails, row.failed, sources).order_by(row.id))
        ]


def test_a_report_is_kept_and_is_never_a_document(desk: FrontDesk) -> None:
    rows = desk.receive(report(), report("microsoft", to=f"sales@{DOMAIN}"), report("yahoo", to=f"catchall@{DOMAIN}"))
    assert [(row.state, row.result) for row in rows] == [("processed", "dmarc")] * 3
    assert desk.documents() == [] and desk.sent() == []
    assert stored(desk) == [("google.com", 12, 1, 2), ("Enterprise Outlook", 5, 2, 2), ("Yahoo", 4, 0, 1)]


def test_the_same_report_counts_once(desk: FrontDesk) -> None:
    first, again, other = desk.receive(report(), report(), report(id="other"))
    [later] = desk.receive(report())
    assert [row.state for row in (first, again, other, later)] == ["processed", "duplicate", "processed", "duplicate"]
    assert len(stored(desk)) == 2
    with desk.app.app_context():
        given = [given_from_ledger(row.id) for row in (first, again)]
        foretold = [simulate_arrival(one, NOW).state for one in given if one is not None]
    assert foretold == ["processed", "duplicate"], "the first one brought it"


def test_reports_about_others_broken_ones_and_from_filters(desk: FrontDesk) -> None:
    broken = mail(
        subject="Report Domain: x Submitter: y", files=[("a!b!1700000000!1700000001.xml.gz", b"\x1f\x8bnothing")]
    )
    other, bad = desk.receive(report(domain="else.example"), broken)
    assert (other.state, bad.state) == ("ignored", "quarantined")
    assert bad.decision[-1]["code"] == "unpacked_broken" and stored(desk) == []
    with desk.app.app_context():
        db.session.add(OutgoingServer(name="shop", host="smtp.x.test", from_filter="else.example", active=True))
        db.session.commit()
    [ours] = desk.receive(report(domain="else.example"))
    assert ours.state == "processed"


def test_old_reports_are_removed_with_what_they_say(desk: FrontDesk) -> None:
    desk.receive(report())
    with desk.app.app_context():
        parameters.put("mail.retention.dmarc_days", "10", NOW)
        db.session.commit()
        assert not any("dmarc_reports" in counts for counts in cleanup.slices(NOW + timedelta(days=9)))
        removed = [
            counts["dmarc_reports"] for counts in cleanup.slices(NOW + timedelta(days=11)) if "dmarc_reports" in counts
        ]
        assert removed == [1]
        assert db.session.scalar(select(func.count()).select_from(DmarcSource)) == 0
        assert db.session.scalar(select(ReceivedMail.result)) == "dmarc"


def test_a_report_outlives_the_email_it_came_with(desk: FrontDesk) -> None:
    desk.receive(report())
    with desk.app.app_context():
        db.session.execute(delete(ReceivedMail))
        db.session.commit()
        assert db.session.scalar(select(DmarcReport.received_mail_id)) is None


def wide(number: int, id: str) -> bytes:
    """A report of many addresses, of which the last one failed."""
    xml = (SAMPLES / "google.xml").read_text().replace("office.test", DOMAIN)
    head, _, rest = xml.partition("<record>")
    passing, _, failing = rest.partition("<record>")
    records = [passing.replace("192.0.2.7", f"10.{n >> 8}.{n & 255}.1") for n in range(number - 1)]
    made = "<record>".join([head.replace("<report_id>", f"<report_id>{id}"), *records, failing])
    name = f"google.com!{DOMAIN}!1763769600!1763855999.xml.gz"
    return mail("noreply@reporter.test", subject=f"Report {id}", files=[(name, gzip.compress(made.encode()))])


def test_large_reports_are_written_apart_and_few_of_a_day_are_kept_whole(
    desk: FrontDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[int] = []
    write = flow.write_group
    monkeypatch.setattr(flow, "write_group", lambda group, *more, **named: groups.append(len(group)) or write(
        group, *more, **named))  # fmt: skip
    monkeypatch.setattr(lookup, "MOST_SOURCES", 25)
    monkeypatch.setattr(aggregates, "MOST_A_DAY", 45)
    desk.receive(*(wide(10, f"{number}") for number in range(5)))
    assert groups == [2, 2, 1] and [found[3] for found in stored(desk)] == [10, 10, 10, 10, 5]
    with desk.app.app_context():
        last = db.session.scalar(select(DmarcReport).order_by(DmarcReport.id.desc()))
        assert last is not None and (last.kept, last.left_out) == (5, last.emails - 4 * 11 - 1)
        kept = select(DmarcSource.dkim | DmarcSource.spf).where(DmarcSource.report_id == last.id)
        assert not all(db.session.scalars(kept))
        summary = reported.summary(DOMAIN, NOW - timedelta(days=3650))
        assert (summary.emails, summary.left_out) == (5 * last.emails, last.left_out)


@pytest.mark.heavy
def test_reports_from_before_are_found_likewise(app: Flask, database: str, tmp_path: Path) -> None:
    with app.app_context():
        read = read_aggregate([(SAMPLES / "google.xml").read_bytes()])
        read.domain, read.emails = "news.office.co.uk", 20
        aggregates.keep(Aggregate(read, "office.co.uk"), None, NOW)
        db.session.commit()
        db.engine.dispose()
    migrate(database, tmp_path / "data", "db", "downgrade", "0036")
    migrate(database, tmp_path / "data", "upgrade")
    with app.app_context():
        row = db.session.scalar(select(DmarcReport))
        assert row is not None and (row.registered_domain, row.kept, row.left_out) == ("office.co.uk", 2, 8)


# --- who sends as us


def check(records: dict[tuple[Kind, str], tuple[str, ...]]) -> None:
    """Let a check of the domain's DNS find these records, and nothing else."""
    known = {Question(name, kind): DnsAnswer("found", found) for (kind, name), found in records.items()}
    while (judgement := judge(senders.sending_domain(DOMAIN), known)).open:
        known |= dict.fromkeys(judgement.open, DnsAnswer("no_record"))
    checks.keep(DOMAIN, judgement, now())


@pytest.fixture
def office(pages: Flask) -> Flask:
    """An office that got three reports: of its server, of a provider's, of strangers and of a mailing list."""
    with pages.app_context():
        parameters.put("mail.catchall.domain", DOMAIN, now())
        parameters.put("mail.custom_servers", "1", now())
        db.session.add(OutgoingServer(name="Office server", host="smtp.office.example", active=True))
        db.session.commit()
        check({("A", "smtp.office.example"): ("192.0.2.7",), ("AAAA", "smtp.office.example"): ("2001:db8::7",)})
        at = now()
        raws = [report(name, at=at) for name in ("google", "microsoft", "fastmail", "amazon-ses")]
        intake.keep("practice", [FetchedMail(str(n), len(raw), at, raw) for n, raw in enumerate(raws)], at)
        flow.process_waiting(at, WorkerLease.register(at))
    return pages


def test_senders_are_named_told_apart_and_in_the_order_of_need(office: Flask) -> None:
    with office.app_context():
        found = reported.reported_senders(DOMAIN, now() - timedelta(days=7))
        said = [(one.kind, one.address, one.server.name if one.server else "", one.emails) for one in found]
        summary = reported.summary(DOMAIN, now() - timedelta(days=7))
    assert said == [
        ("stranger", "198.51.100.20", "", 2),
        ("stranger", "203.0.113.66", "", 1),
        ("forwarded", "198.51.100.99", "", 5),
        ("own", "192.0.2.7", "Office server", 11),
        ("own", "2001:db8::7", "Office server", 3),
        ("service", "203.0.113.10", "", 7),
    ]
    assert (summary.reports, summary.organisations, summary.emails, summary.failed) == (4, 4, 29, 8)


def test_a_domain_below_ours_is_found_in_the_reports_about_ours(office: Flask) -> None:
    with office.app_context():
        since = now() - timedelta(days=7)
        one = db.session.scalar(select(DmarcSource).where(DmarcSource.address == "203.0.113.10"))
        assert one is not None
        one.header_from = f"news.{DOMAIN}"
        db.session.commit()
        found = reported.reported_senders(f"news.{DOMAIN}", since)
        assert [(sender.address, sender.emails) for sender in found] == [("203.0.113.10", 7)]
        summary = reported.summary(f"news.{DOMAIN}", since)
        assert (summary.reports, summary.emails, summary.failed, summary.left_out) == (1, 7, 0, 0)
        assert [report.emails for report in reported.latest_reports(f"news.{DOMAIN}", since)] == [7]
        assert reported.summary(DOMAIN, since).emails == 29
        assert reported.summary(f"other.{DOMAIN}", since).emails == reported.summary(f"s.{DOMAIN}", since).reports == 0


def test_a_provider_is_known_by_the_networks_that_it_lists(office: Flask) -> None:
    with office.app_context():
        server = db.session.scalar(select(OutgoingServer))
        assert server is not None
        server.host = "smtp.fastmail.com"
        db.session.commit()
        check(
            {
                ("TXT", "spf.messagingengine.com"): ("v=spf1 include:more.example ip4:198.51.100.16/28 -all",),
                ("TXT", "more.example"): ("v=spf1 ip4:203.0.113.10 -all",),
            }
        )
        found = reported.reported_senders(DOMAIN, now() - timedelta(days=7))
        assert [(one.kind, one.address) for one in found if one.server] == [
            ("provider", "198.51.100.20"),
            ("own", "203.0.113.10"),
        ]


def test_the_page_says_it_in_words(office: Flask) -> None:
    admin = Visitor(office).as_role("admin")
    page = admin.get(f"/deliverability/{DOMAIN}/senders")
    said = words(page)
    assert "Receivers reported 29 emails: 21 passed, 8 failed." in said and "4 reports of 4 receivers" in said
    assert "Office server 192.0.2.7 11 Yours" in said and "Forwarded" in said
    assert "It names bounces.shop.example" in said and "2 were moved to the spam folder" in said
    assert "No reports in these 7 days" not in words(admin.get(f"/deliverability/{DOMAIN}/senders?days=7"))
    number = page.text.split("/admin/received-mails/details?id=")[1].split('"')[0]
    ledger = words(admin.get(f"/admin/received-mails/details?id={number}"))
    assert "DMARC report" in ledger and f"Who sends as {DOMAIN}" in ledger


def test_a_domain_without_reports_says_how_to_get_some(office: Flask) -> None:
    with office.app_context():
        db.session.execute(delete(DmarcReport))
        db.session.execute(delete(DomainReport))
        db.session.commit()
    admin = Visitor(office).as_role("admin")
    assert f"rua=mailto:bounce@{DOMAIN}" in words(admin.get(f"/deliverability/{DOMAIN}/senders"))
    assert f'href="/deliverability/{DOMAIN}/senders"' in admin.get(f"/deliverability/{DOMAIN}").text
    assert admin.get("/deliverability/else.example/senders").status_code == 404
    assert Visitor(office).as_role("marketing").get(f"/deliverability/{DOMAIN}/senders").status_code == 403


def test_the_sample_is_a_report() -> None:
    assert parse(report(), NOW).attachments[0].name.startswith(f"google.com!{DOMAIN}!")

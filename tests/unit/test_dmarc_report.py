"""DMARC reports in the dialects of their reporters, packed as they come; bombs, broken files, and look-alikes."""

import base64
import gzip
import io
import tracemalloc
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.decide import aggregate_report as reading
from mail.decide.aggregate_report import MOST_ATTACHED, aggregate_report, is_about
from mail.decide.aggregate_rule import aggregate_outcome
from mail.decide.facts import AddressBook, Facts, look_up
from mail.decide.outcomes import Aggregate, Duplicate, Ignored, Quarantined, Routing
from mail.decide.routing import route
from mail.message import dmarc_report
from mail.message import unpacked as unpacking
from mail.message.dmarc_report import (
    LONGEST_TAG,
    MOST_NAMES,
    MOST_SOURCES,
    PIECE,
    AggregateReport,
    NotAReport,
    read_aggregate,
)
from mail.message.parse import IncomingMessage, parse
from mail.message.unpacked import LARGEST_UNPACKED, NotUnpacked, unpacked
from tests.effort import little_work

SAMPLES = Path(__file__).resolve().parents[1] / "data/dmarc"
NOW = datetime(2026, 11, 28, tzinfo=UTC)
NAME = "google.com!office.test!1763769600!1763855999"
GOOGLE = (SAMPLES / "google.xml").read_bytes()

# the file: who reports, emails, failed, addresses with failures, and of the last source: address, dkim, spf, the rest
READ = {
    "google": ("google.com", 12, 1, 1, ("203.0.113.66", False, False, "none", "", "evil.example", "")),
    "microsoft": ("Enterprise Outlook", 5, 2, 1,
                  ("198.51.100.20", False, False, "quarantine", "", "bounces.shop.example", "")),
    "yahoo": ("Yahoo", 4, 0, 0,
              ("192.0.2.7", True, False, "none", "relay.example, office.test", "relay.example", "")),
    "mail-ru": ("Mail.Ru", 2, 0, 0, ("192.0.2.7", True, True, "none", "office.test", "office.test", "")),
    "fastmail": ("Fastmail Pty Ltd", 5, 5, 1,
                 ("198.51.100.99", False, False, "none", "lists.example", "lists.example", "mailing_list")),
    "comcast-draft-namespace": ("comcast.net", 1, 0, 0,
                                ("192.0.2.7", True, True, "none", "office.test", "office.test", "")),
    "gmx-prefix": ("GMX", 1, 0, 0, ("192.0.2.7", True, True, "none", "office.test", "office.test", "")),
    "bis-namespace": ("Example Mail", 1, 0, 0,
                      ("192.0.2.7", True, True, "none", "office.test", "office.test", "")),
    "amazon-ses": ("AMAZON-SES", 7, 0, 0,
                   ("203.0.113.10", True, False, "none", "office.test", "office.test", "")),
    "opendmarc": ("mx.receiver.example", 2, 0, 0,
                  ("192.0.2.7", True, True, "none", "office.test", "office.test", "")),
    "protonmail": ("Proton AG", 9, 9, 1, ("203.0.113.66", False, False, "reject", "", "office.test", "")),
    "web-de-latin1": ("WEB.DE - München", 1, 0, 0,
                      ("192.0.2.7", True, True, "none", "office.test", "office.test", "")),
    "iso-dates-and-blanks": ("Zoho Corporation", 6, 0, 0,
                             ("192.0.2.7", True, True, "none", "office.test", "office.test", "")),
    "subdomain-and-no-id": ("seznam.cz", 1, 1, 1,
                            ("unknown", False, False, "quarantine", "", "news.office.test", "")),
}  # fmt: skip


def test_each_sample_is_in_the_table() -> None:
    assert {path.stem for path in SAMPLES.glob("*.xml")} == set(READ)


@pytest.mark.parametrize("name", READ)
def test_the_dialects_of_reporters(name: str) -> None:
    found = read_aggregate([(SAMPLES / f"{name}.xml").read_bytes()])
    last = found.sources[-1]
    said = (last.address, last.dkim, last.spf, last.disposition, last.signed_by, last.spf_domain)
    assert (found.organisation, found.emails, found.failed, found.failing_sources, (*said, last.reason)) == READ[name]
    assert (found.domain, found.begin, bool(found.report_id)) == (
        "office.test",
        datetime(2025, 11, 22, tzinfo=UTC),
        True,
    )


def report(**changes: str) -> bytes:
    xml = GOOGLE.decode()
    for old, new in changes.items():
        xml = xml.replace(f"<{old}>", f"<{old}>{new}<x>").replace(f"</{old}>", f"</x></{old}>")
    return xml.encode()


BAD_XML = [
    (b"", "dmarc_not_xml"),
    (b"hello", "dmarc_not_xml"),
    (GOOGLE[:-20], "dmarc_not_xml"),
    (b"<?xml version='1.0' encoding='nobody-knows'?><feedback/>", "dmarc_not_xml"),
    (b"<html><body/></html>", "dmarc_other_root"),
    (b"<!DOCTYPE x [<!ENTITY a 'aaaa'>]><feedback>&a;</feedback>", "dmarc_has_doctype"),
    (b"<!DOCTYPE feedback SYSTEM 'http://x.test/'><feedback/>", "dmarc_has_doctype"),
    (b"<feedback>" + b"<a>" * 30, "dmarc_too_deep"),
    (b"<feedback/>", "dmarc_incomplete"),
    (GOOGLE.replace(b"<begin>1763769600", b"<begin>soon"), "dmarc_incomplete"),
    (GOOGLE.replace(b"<begin>1763769600", b"<begin>1e400"), "dmarc_incomplete"),
    (GOOGLE.replace(b"<begin>1763769600", b"<begin>0001-01-01T00:00:00+05:00"), "dmarc_incomplete"),
    (GOOGLE.replace(b"<end>1763855999", b"<end>9999-12-31T23:59:59-05:00"), "dmarc_incomplete"),
    (b"<feedback>" + b"".join(b"<a%d/>" % n for n in range(MOST_NAMES)), "dmarc_too_much"),
    (b"<feedback " + b" ".join(b"a%d=''" % n for n in range(MOST_NAMES)) + b"/>", "dmarc_too_much"),
    (b"<feedback a='" + b"a" * (LONGEST_TAG * 2), "dmarc_too_much"),
]


@pytest.mark.parametrize(("xml", "code"), BAD_XML)
def test_what_is_no_report_is_told(xml: bytes, code: str) -> None:
    with pytest.raises(NotAReport) as refused:
        read_aggregate([xml])
    assert refused.value.why["code"] == code


@pytest.mark.heavy
@pytest.mark.parametrize(
    "bomb",
    [
        (b"<%s>" % (b"a" * 50)) * 17 + b"".join(b"<x%d/>" % n for n in range(400_000)),
        b"".join(b"<x y%d=''/>" % n for n in range(400_000)),
        b"<x " + b" ".join(b"y%d=''" % n for n in range(400_000)) + b"/>",
    ],
)
def test_what_a_stranger_invents_is_not_kept(bomb: bytes) -> None:
    xml = b"<feedback>" + bomb
    tracemalloc.start()
    try:
        with pytest.raises(NotAReport):
            read_aggregate(xml[at : at + PIECE] for at in range(0, len(xml), PIECE))
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_elements_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dmarc_report, "MOST_ELEMENTS", 100)
    assert read_aggregate([GOOGLE]).emails == 12
    with pytest.raises(NotAReport):
        read_aggregate([b"<feedback>" + b"<a/>" * 100])


def test_a_signature_is_whose_it_is_and_the_return_path_comes_before_the_name_that_greeted() -> None:
    results = (
        b"<dkim><domain>evil.example</domain></dkim><dkim><result>pass</result></dkim>"
        b"<dkim><result>pass</result><domain>office.test</domain></dkim>"
        b"<spf><scope>helo</scope><domain>mta.example</domain></spf><spf><domain>mail.example</domain></spf>"
    )
    head, tail = GOOGLE[: GOOGLE.index(b"<auth_results>") + 14], GOOGLE[GOOGLE.index(b"</auth_results>") :]
    first = read_aggregate([head + results + tail]).sources[0]
    assert (first.signed_by, first.spf_domain) == ("office.test", "mail.example")


@pytest.mark.parametrize(
    ("begin", "end"), [(1763769600, 253402300799), (-62135596800, 1763855999), (1800000000, 1800086400)]
)
def test_a_report_of_another_time_is_told(begin: int, end: int) -> None:
    odd = GOOGLE.replace(b"<begin>1763769600", f"<begin>{begin}".encode())
    odd = odd.replace(b"<end>1763855999", f"<end>{end}".encode())
    found = aggregate_report(mail(attached(odd, NAME + ".xml", "text/xml")))
    assert isinstance(found, dict) and found["code"] == "dmarc_out_of_time"


def test_the_network_card_of_an_address_is_no_part_of_it() -> None:
    found = read_aggregate([GOOGLE.replace(b"192.0.2.7", b"fe80::1%" + b"a" * 45)])
    assert (found.emails, found.sources[0].address) == (12, "fe80::1")


def test_what_failed_is_kept_rather_than_what_passed() -> None:
    head, record = GOOGLE.partition(b"<record>")[0], GOOGLE[GOOGLE.find(b"<record>") : GOOGLE.rfind(b"<record>")]
    passing = [record.replace(b"192.0.2.7", f"10.0.{n // 250}.{n % 250}".encode()) for n in range(MOST_SOURCES)]
    failing = record.replace(b"<dkim>pass", b"<dkim>fail").replace(b"<spf>pass", b"<spf>fail")
    found = read_aggregate([head, *passing, failing, passing[-1], b"</feedback>"])
    assert (found.failed, found.failing_sources, len(found.sources), found.left_out) == (11, 1, MOST_SOURCES, 22)
    found.sources = [one for one in found.sources if one.passed]  # as if even these were too many
    steps, _outcome = aggregate_outcome(mail(GZ), found, Facts(AddressBook([], domains=["office.test"]))) or ((), None)
    assert [step["code"] for step in steps] == ["route_dmarc", "route_dmarc_failing", "route_dmarc_left_out"]


def test_rows_of_one_outcome_are_counted_together_and_too_many_are_counted_alone() -> None:
    head, record, tail = (
        GOOGLE.partition(b"<record>")[0],
        GOOGLE[GOOGLE.find(b"<record>") : GOOGLE.rfind(b"<record>")],
        b"</feedback>",
    )
    found = read_aggregate([head, record, record, tail])
    assert (len(found.sources), found.sources[0].count, found.emails) == (1, 22, 22)
    many = [record.replace(b"192.0.2.7", f"10.0.{n // 250}.{n % 250}".encode()) for n in range(MOST_SOURCES + 5)]
    found = read_aggregate([head, *many, tail])
    assert (len(found.sources), found.left_out, found.emails) == (MOST_SOURCES, 55, 11 * (MOST_SOURCES + 5))


def test_counts_and_signatures_are_bounded() -> None:
    many = b"<dkim><domain>d.example</domain><result>pass</result></dkim>" * 50
    found = read_aggregate(
        [
            GOOGLE.replace(b"<count>11<", b"<count>99999999999999999999<").replace(
                b"<auth_results>", b"<auth_results>" + many
            )
        ]
    )
    assert found.sources[0].count == 1_000_000_000 and found.sources[0].signed_by == "d.example"
    assert read_aggregate([GOOGLE.replace(b"google.com<", b"g" * 5000 + b"<")]).organisation == "g" * 200
    swapped = GOOGLE.replace(b"1763769600", b"X").replace(b"1763855999", b"1763769600").replace(b"X", b"1763855999")
    assert read_aggregate([swapped]).begin < read_aggregate([swapped]).end


# --- packed


def zipped(*members: tuple[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", kind) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


@pytest.mark.parametrize(
    "packed",
    [
        GOOGLE,
        gzip.compress(GOOGLE),
        gzip.compress(GOOGLE[:500]) + gzip.compress(GOOGLE[500:]),
        gzip.compress(GOOGLE) + b"\0" * 100,
        zipped((f"{NAME}.xml", GOOGLE)),
        zipped((f"{NAME}.xml", GOOGLE), kind=zipfile.ZIP_STORED),
        zipped(("folder/", b""), ("folder/readme.txt", b"hello"), ("folder/report.XML", GOOGLE)),
        zipped(("report", GOOGLE)),
    ],
)
def test_reports_packed_in_every_way(packed: bytes) -> None:
    assert read_aggregate(unpacked(packed)).emails == 12


LONG = b"<feedback>" + b"a" * (LARGEST_UNPACKED + 1)
BOMBS = [
    (gzip.compress(LONG), "unpacked_too_large"),
    (gzip.compress(b"a" * 3_000_000), "unpacked_too_large"),  # by its ratio
    (zipped(("a.xml", LONG)), "unpacked_too_large"),
    (LONG, "unpacked_too_large"),
    (gzip.compress(b"") + b"a" * LARGEST_UNPACKED, "unpacked_too_large"),
    (zipped(*((f"{n}.xml", GOOGLE) for n in range(11))), "unpacked_members"),
    (zipped(*((f"{n:0100}.xml", b"") for n in range(600))), "unpacked_members"),
    (b"".join(gzip.compress(b"x") for _ in range(11)), "unpacked_members"),
    (zipped(("a/", b"")), "unpacked_broken"),
    (zipped(("a.xml", GOOGLE), kind=zipfile.ZIP_LZMA), "unpacked_broken"),
    (gzip.compress(GOOGLE)[:-40], "unpacked_broken"),
    (b"\x1f\x8bnothing", "unpacked_broken"),
    (b"PK\x03\x04nothing", "unpacked_broken"),
    (zipped(("a.xml", GOOGLE))[:-30], "unpacked_broken"),
]


@pytest.mark.parametrize(("packed", "code"), BOMBS)
def test_bombs_and_broken_files_are_told(packed: bytes, code: str) -> None:
    with pytest.raises(NotUnpacked) as refused:
        for piece in unpacked(packed):
            assert len(piece) <= unpacking.PIECE
    assert refused.value.why["code"] == code


@pytest.mark.heavy
def test_a_report_of_the_largest_size_is_little_work() -> None:
    head, record = GOOGLE.partition(b"<record>")[0], GOOGLE[GOOGLE.find(b"<record>") : GOOGLE.rfind(b"<record>")]
    number = (LARGEST_UNPACKED - 10_000) // (len(record) + 10)
    many = (record.replace(b"192.0.2.7", f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}".encode()) for n in range(number))
    with little_work():
        assert read_aggregate([head, *many, b"</feedback>"]).emails == 11 * number


@given(st.binary(max_size=300), st.integers(0, len(GOOGLE)), st.sampled_from(["xml", "gzip", "zip"]))
def test_whatever_is_packed_is_read_or_refused(noise: bytes, place: int, kind: str) -> None:
    inside = GOOGLE[:place] + noise + GOOGLE[place + len(noise) :]
    packed = {"xml": inside, "gzip": gzip.compress(inside), "zip": zipped(("a.xml", inside))}
    broken = packed[kind][:place] + noise + packed[kind][place:]
    for content in (packed[kind], broken):
        try:
            read_aggregate(unpacked(content))
        except (NotAReport, NotUnpacked) as error:
            assert error.why["code"].startswith(("dmarc_", "unpacked_"))


# --- as emails

SUBJECT = "Report Domain: office.test Submitter: google.com Report-ID: 11835520391466871201"


def attached(content: bytes, name: str, kind: str) -> str:
    return (
        f'Content-Type: {kind}; name="{name}"\nContent-Disposition: attachment; filename="{name}"\n'
        f"Content-Transfer-Encoding: base64\n\n{base64.encodebytes(content).decode()}"
    )


def mail(
    *parts: str, subject: str = SUBJECT, sender: str = "noreply-dmarc-support@google.com", more: str = ""
) -> IncomingMessage:
    body = "".join(f"--b\n{part}\n" for part in parts)
    head = f"From: {sender}\nTo: bounce@office.test\nSubject: {subject}\nMessage-ID: <1@google.com>\n{more}"
    return parse(f'{head}Content-Type: multipart/mixed; boundary="b"\n\n{body}--b--\n'.encode(), NOW)


GZ = attached(gzip.compress(GOOGLE), f"{NAME}.xml.gz", "application/gzip")
TEXT = "Content-Type: text/plain\n\nHello"
TWICE = 'Content-Type: message/rfc822\n\nSubject: {}\nContent-Type: multipart/mixed; boundary="c"\n\n--c\n{}\n--c--'
FORWARDED = f"Content-Type: message/rfc822\n\nSubject: {SUBJECT}\nMIME-Version: 1.0\n{GZ}"


@pytest.mark.parametrize(
    "message",
    [
        mail(GZ),
        mail(TEXT, GZ),
        mail(GZ, subject="Fwd: have a look"),
        mail(attached(zipped(("x.xml", GOOGLE)), f"{NAME}.zip", "application/x-zip-compressed")),
        mail(attached(zipped(("x.xml", GOOGLE)), "report.zip", "application/octet-stream")),
        mail(attached(gzip.compress(GOOGLE), "report", "application/gzip")),
        mail(attached(GOOGLE, f"{NAME}!7.xml", "text/xml")),
        mail(attached(GOOGLE, "r.dat", "application/xml"), subject="DMARC"),
        mail(FORWARDED, subject="Fwd: a report"),
        parse(f"From: noreply@google.com\nSubject: {SUBJECT}\n{GZ}".encode(), NOW),
        mail(attached(b"broken", f"{NAME}.zip", "application/zip"), GZ),
    ],
)
def test_a_report_is_known_by_its_shape(message: IncomingMessage) -> None:
    found = aggregate_report(message)
    assert isinstance(found, AggregateReport) and found.emails == 12


@pytest.mark.parametrize(
    "message",
    [
        mail(TEXT),
        mail(TEXT, attached(zipped(("offer.xml", GOOGLE)), "offer.zip", "application/zip"), subject="Our offer"),
        mail(attached(b"<invoice/>", "invoice.xml", "text/xml"), subject="Invoice"),
        mail(
            attached(b"<feedback><stars>5</stars></feedback>", "answer.xml", "text/xml"),
            subject="New answer",
            sender="noreply@survey.test",
        ),
        mail("Content-Type: message/rfc822\n\nSubject: Hello\n\nHello", subject="Fwd"),
        mail(
            TWICE.format(SUBJECT, FORWARDED),
            subject="Fwd",
        ),
    ],
)
def test_other_emails_are_none(message: IncomingMessage) -> None:
    assert aggregate_report(message) is None


def test_few_files_of_an_email_are_tried() -> None:
    broken = attached(b"broken", f"{NAME}.zip", "application/zip")
    assert isinstance(aggregate_report(mail(broken, broken, GZ)), AggregateReport)
    assert not isinstance(aggregate_report(mail(broken, broken, broken, GZ)), AggregateReport)


def test_few_attached_emails_are_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(reading, "parse", lambda raw, at: seen.append(len(raw)) or parse(raw, at))
    broken = f"Content-Type: message/rfc822\n\nSubject: {SUBJECT}\n\n"
    assert aggregate_report(mail(*[broken] * 10, subject="Fwd")) is None and len(seen) == MOST_ATTACHED
    monkeypatch.setattr(reading, "LARGEST_ATTACHED", seen[0] * 2)
    assert aggregate_report(mail(*[broken] * 10, subject="Fwd")) is None and len(seen) == MOST_ATTACHED + 2


def decided(message: IncomingMessage, **facts: object) -> Routing:
    book = AddressBook([], domains=["office.test"])
    return route(message, look_up(message, book), Facts(book, **facts))


BROKEN = attached(b"\x1f\x8bnothing", f"{NAME}.xml.gz", "application/gzip")
ELSEWHERE = attached(GOOGLE.replace(b"office.test", b"else.example"), f"{NAME}.xml", "text/xml")


def test_a_report_is_kept_once_and_a_broken_one_goes_to_quarantine() -> None:
    kept = decided(mail(GZ))
    assert isinstance(kept.outcomes[0], Aggregate) and (kept.state, kept.result) == ("processed", "dmarc")
    assert [step["code"] for step in kept.steps[-2:]] == ["route_dmarc", "route_dmarc_failing"]
    passed = decided(mail(attached((SAMPLES / "mail-ru.xml").read_bytes(), f"{NAME}.xml", "text/xml")))
    assert passed.steps[-1]["code"] == "route_dmarc_passed"
    assert isinstance(decided(mail(GZ), report_is_known=True).outcomes[0], Duplicate)
    broken = decided(mail(BROKEN)).outcomes[0]
    assert isinstance(broken, Quarantined) and broken.reason["code"] == "unpacked_broken"
    assert isinstance(decided(mail(ELSEWHERE)).outcomes[0], Ignored)
    assert isinstance(decided(mail(ELSEWHERE), sends_as=frozenset(["else.example"])).outcomes[0], Aggregate)


def test_a_report_about_encryption_is_another_report() -> None:
    tls = attached(
        gzip.compress(b"{}"), "google.com!office.test!1763769600!1763855999!001.json.gz", "application/tlsrpt+gzip"
    )
    found = decided(mail(tls))
    assert isinstance(found.outcomes[0], Ignored) and found.steps[-1]["code"] == "route_tls_report"
    assert decided(mail(tls, subject="x", sender="ann@else.example")).steps[-1]["code"] == "route_unknown_address"


@pytest.mark.parametrize("part", [BROKEN, ELSEWHERE])
def test_what_a_person_sends_is_no_report_of_ours(part: str) -> None:
    by_person = mail(part, subject="Can you read this?", sender="ann@else.example")
    assert decided(by_person).steps[-1]["code"] == "route_unknown_address"
    by_machine = mail(part, subject="x", sender="ann@else.example", more="Auto-Submitted: auto-generated\n")
    assert decided(by_machine).steps[-1]["code"] != "route_unknown_address"


def test_a_report_about_a_subdomain_is_ours() -> None:
    found = aggregate_report(mail(GZ))
    assert isinstance(found, AggregateReport)
    assert is_about(found, {"mail.office.test"}) and not is_about(found, {"office.example"})

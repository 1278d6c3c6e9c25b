"""Who sends as us: a table of sources, told apart and explained; nobody is named without a reason."""

from ipaddress import ip_network

import pytest

from mail.decide.who_sends import OwnServer, Sender, who_sends
from mail.message.dmarc_report import ReportedSource

SERVERS = [
    OwnServer(1, "Office", (ip_network("192.0.2.0/24"),)),
    OwnServer(2, "Microsoft 365", shared=(ip_network("198.51.100.0/24"), ip_network("192.0.2.0/24"))),
    OwnServer(None, "Default", (ip_network("2001:db8::7"),)),
]


def source(
    address: str = "192.0.2.7", count: int = 1, *, dkim: bool = False, spf: bool = False, **more: str
) -> ReportedSource:
    return ReportedSource(address, count, dkim, spf, **more)


def codes(sender: Sender) -> list[str]:
    return [reason["code"].removeprefix("sender_") for reason in sender.sentences]


@pytest.mark.parametrize(
    ("one", "kind", "said"),
    [
        (source(dkim=True, spf=True), "own", ["own_both"]),
        (source(dkim=True), "own", ["own_dkim"]),
        (source("2001:db8::7", spf=True), "own", ["own_spf"]),
        (source(disposition="reject"), "own_failing", ["own_failing", "treated_reject"]),
        (source("203.0.113.1", dkim=True, signed_by="office.test"), "service", ["service_dkim"]),
        (source("203.0.113.1", spf=True, spf_domain="office.test"), "service", ["service_spf"]),
        (source("203.0.113.1", reason="mailing_list", disposition="none"), "forwarded", ["forwarded", "treated_none"]),
        (source("203.0.113.1", disposition="quarantine"), "stranger", ["stranger", "treated_quarantine"]),
        (source("203.0.113.1", spf_domain="x.example", disposition="?"), "stranger", ["stranger_named"]),
        (source("203.0.113.1", spf_domain="x.office.test", header_from="office.test"), "stranger", ["stranger"]),
        (source("nonsense"), "stranger", ["stranger"]),
        (source("198.51.100.1", dkim=True, spf=True), "own", ["shared_both"]),
        (source("198.51.100.1", spf=True), "own", ["shared_spf"]),
        (source("198.51.100.1", disposition="none"), "provider", ["provider", "treated_none"]),
        (source("198.51.100.1", reason="forwarded"), "forwarded", ["forwarded"]),
        (source("198.51.100.1", spf_domain="x.example", header_from="office.test"), "provider", ["provider"]),
        (
            source("198.51.100.1", spf_domain="b.office.test", header_from="office.test"),
            "own_failing",
            ["shared_failing"],
        ),
        (
            source("198.51.100.1", signed_by="x.example, office.test", header_from="office.test"),
            "own_failing",
            ["shared_failing"],
        ),
        (source(reason="forwarded"), "own_failing", ["own_failing"]),
    ],
)
def test_who_it_is(one: ReportedSource, kind: str, said: list[str]) -> None:
    [found] = who_sends([one], SERVERS)
    assert (found.kind, codes(found), found.passed) == (kind, said, one.passed)


def test_emails_of_one_address_and_kind_are_added_and_what_needs_somebody_comes_first() -> None:
    found = who_sends(
        [
            source(count=5, dkim=True), source(count=3, spf=True), source(count=1, disposition="none"),
            source("203.0.113.1", 4, disposition="none"), source("203.0.113.1", 2, disposition="reject"),
            source("203.0.113.2", 9), source("203.0.113.3", 2, spf=True),
        ],
        SERVERS,
    )  # fmt: skip
    assert [(one.kind, one.address, one.emails) for one in found] == [
        ("own_failing", "192.0.2.7", 1), ("stranger", "203.0.113.2", 9), ("stranger", "203.0.113.1", 6),
        ("own", "192.0.2.7", 8), ("service", "203.0.113.3", 2),
    ]  # fmt: skip
    assert codes(found[2]) == ["stranger", "treated_none", "treated_reject"] and codes(found[3]) == ["own_both"]

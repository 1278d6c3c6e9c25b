"""Records of today, mended: nobody is let in who was shut out, and no address becomes another one."""

import pytest

from mail.decide.spf_repair import look_alikes, repaired
from mail.dns_answers import DnsAnswers


def mended(*texts: str) -> str:
    """Return the record that would take the place of these."""
    found = repaired(texts, "acme.example", DnsAnswers({}))
    return " ".join(["v=spf1", *(term.text for term in found.terms)])


@pytest.mark.parametrize(
    ("record", "paste"),
    [
        ("v=spf1 2001:db8::25 -all", "v=spf1 ip6:2001:db8::25 -all"),
        ("v=spf1 2001:db8::/32 -all", "v=spf1 ip6:2001:db8::/32 -all"),
        ("v=spf1 ~db8:1::25 -all", "v=spf1 ~ip6:db8:1::25 -all"),
        ("v=spf1 ip:192.0.2.9 -all", "v=spf1 ip4:192.0.2.9 -all"),
        ("v=spf1 ip6:192.0.2.9/28 -all", "v=spf1 ip4:192.0.2.9/28 -all"),
        ("v=spf1 -ipv4:192.0.2.9 ~all", "v=spf1 -ip4:192.0.2.9 ~all"),
        ("v=spf1 ipv6:2001:db8::25 ~all", "v=spf1 ip6:2001:db8::25 ~all"),
        ("v=spf1 ip4:2001:db8::25 ~all", "v=spf1 ip6:2001:db8::25 ~all"),
        ("v=spf1 192.0.2.300 mx -all", "v=spf1 mx -all"),
        ("v=spf1 beef:192.0.2.9 mx -all", "v=spf1 mx -all"),
        ("v=spf1 -inlude:bad.example ip4:192.0.2.9 ~all", "v=spf1 -include:bad.example ip4:192.0.2.9 ~all"),
        ("v=spf1 ?icnlude:bad.example ~all", "v=spf1 ?include:bad.example ~all"),
        ("v=spf1 redirect=a.example redirect=b.example", "v=spf1 redirect=a.example"),
        ("v=spf1 mx exp=a.example exp=b.example -all", "v=spf1 mx exp=a.example -all"),
    ],
)
def test_a_term_is_mended_as_it_was_meant(record: str, paste: str) -> None:
    assert mended(record) == paste


def test_two_records_that_explain_a_refusal_become_one_that_does() -> None:
    assert mended("v=spf1 mx exp=a.example -all", "v=spf1 a exp=b.example -all") == "v=spf1 mx exp=a.example a -all"


def test_what_looks_like_a_record_begins_like_one() -> None:
    assert look_alikes((" v = spf1 mx", "v=spf" + " " * 16_000 + "1 1")) == [" v = spf1 mx"]

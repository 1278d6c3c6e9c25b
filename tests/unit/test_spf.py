"""SPF, term by term: what can be read, what a receiver finds, and that pyspf finds the same for whatever is written."""

import ipaddress

import pytest
import spf
from hypothesis import given
from hypothesis import strategies as st

from mail.decide.spf import check_host
from mail.decide.spf_record import parse_spf, parse_term
from mail.decide.verdicts import worst
from mail.dns_answers import DnsAnswer, DnsAnswers, Question
from mail.sentences import say
from tests.unit.test_zones import judged
from tests.zones import ZoneCase, ZoneFile, after_pasting, offered, words


@pytest.mark.parametrize(
    ("term", "code"),
    [
        ("all:x", "spf_value_unwanted"),
        ("include", "spf_domain_invalid"),
        ("include:", "spf_value_missing"),
        ("include:localhost", "spf_domain_invalid"),
        ("include:a.com.123", "spf_domain_invalid"),
        ("include:%{x}.a.com", "spf_domain_invalid"),
        ("include:a%b.com", "spf_domain_invalid"),
        ("include:%{d0}.a.com", "spf_domain_invalid"),
        ("include:%{d" + "9" * 5000 + "}.a.com", "spf_domain_invalid"),
        ("include=a.com", None),  # a modifier that nobody knows is ignored
        ("+redirect=a.com", "spf_term_unknown"),
        ("redirect=", "spf_domain_invalid"),
        ("exp=%{d}._exp.a.com", None),
        ("moo=%{c}%{r}", None),
        ("moo=%", "spf_domain_invalid"),
        ("a/33", "spf_address_invalid"),
        ("a//129", "spf_address_invalid"),
        ("mx/24//64", None),
        ("a:%{d}/0", None),
        ("a:192.0.2.1", "spf_domain_invalid"),
        ("ptr", None),
        ("exists", "spf_domain_invalid"),
        ("ip4:192.0.2.0/24", None),
        ("ip4:192.0.2.1/024", "spf_address_invalid"),
        ("ip4:192.0.2.1/", "spf_address_invalid"),
        ("ip4:2001:db8::1", "spf_address_invalid"),
        ("ip6:2001:db8::/129", "spf_address_invalid"),
        ("ip6:fe80::1%eth0", "spf_address_invalid"),
        ("ip4", "spf_address_invalid"),
        ("moo", "spf_term_unknown"),
        ("-~all", "spf_term_unknown"),
        ("include:b\\xfccher.example", "spf_term_unknown"),
    ],
)
def test_what_can_be_read(term, code):
    error = parse_term(term).error
    assert (error["code"] if error else None) == code


def test_a_modifier_may_stand_once():
    terms = parse_spf("v=spf1 redirect=a.com redirect=b.com moo=1 moo=2")
    assert [term.text for term in terms if term.error] == ["redirect=b.com"]


def test_a_record_that_is_far_too_long_is_not_read():
    (term,) = parse_spf("v=spf1 " + "mx " * 2000)
    assert (len(term.text), term.error["code"]) == (61, "spf_too_long")


ZONE = [
    'acme.example. IN TXT "v=spf1 {record}"',
    'good.example. IN TXT "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all"',
    'soft.example. IN TXT "v=spf1 ~ip4:192.0.2.1 ?all"',
    'deep.example. IN TXT "v=spf1 include:good.example redirect=soft.example"',
    'bad.example. IN TXT "v=spf1 ip4:1.2.3 -all"',
    'two.example. IN TXT "v=spf1 -all"',
    'two.example. IN TXT "v=spf1 +all"',
    'round.example. IN TXT "v=spf1 include:acme.example -all"',
    'empty.example. IN TXT "nothing"',
    "acme.example. IN A 192.0.2.1",
    "acme.example. IN AAAA 2001:db8::1",
    "acme.example. IN MX 10 mx.acme.example.",
    "mx.acme.example. IN A 198.51.100.7",
    "alias.acme.example. IN CNAME mx.acme.example.",
    "1.2.0.192.in-addr.arpa. IN PTR acme.example.",
    "7.100.51.198.in-addr.arpa. IN PTR mx.acme.example.",
    "192.0.2.1.list.example. IN A 127.0.0.2",
    "postmaster.acme.example.l.example. IN A 127.0.0.2",
]
TERMS = [
    "all", "include:good.example", "include:soft.example", "include:deep.example", "include:bad.example", "ptr",
    "include:two.example", "include:round.example", "include:empty.example", "include:gone.example", "a", "mx",
    "a:mx.acme.example", "a/24", "a//32", "mx:gone.example", "a:gone.example", "a:alias.acme.example", "ip4:192.0.2.1",
    "ip4:198.51.100.0/25", "ip6:2001:db8::1", "ptr:acme.example", "exists:%{i}.list.example", "exists:%{s}.example",
    "exists:%{l}.%{o}.l.example", "include:%{o}.gone.example", "include:%{dr}.example", "ip4:192.0.2.0/33",
    "exists:%{ir}.%{v}.arpa", "exists:%{L}.%{D}.l.example", "include:", "mooo", "exp=gone.example",
]  # fmt: skip
ADDRESSES = ["192.0.2.1", "192.0.2.77", "198.51.100.7", "203.0.113.1", "2001:db8::1", "2001:db8:1::1", "fd00::1"]
RECORDS = st.tuples(
    st.lists(
        st.tuples(st.sampled_from(["", "", "", "-", "~", "?", "+"]), st.sampled_from(TERMS)).map("".join), max_size=8
    ),
    st.sampled_from(["", "-all", "~all", "redirect=good.example", "redirect=deep.example", "redirect=gone.example"]),
).map(lambda record: " ".join([*record[0], *filter(None, [record[1]])]))


def zone_of(record: str) -> ZoneFile:
    return ZoneFile([line.replace("{record}", record) for line in ZONE])


def found_by_us(zone: ZoneFile, address: str):
    known = {}
    while True:
        answers = DnsAnswers(known)
        result = check_host(ipaddress.ip_address(address), "postmaster@acme.example", answers)
        if not answers.open:
            return result
        known |= {question: zone.ask(question) for question in answers.open}


def found_by_pyspf(zone: ZoneFile, address: str, monkeypatch) -> tuple[str, str]:
    def look_up(name, kind, *_):
        from mail.dns_answers import Question

        for record in zone.ask(Question(name.lower().removesuffix("."), kind)).records:
            if kind == "TXT":
                yield (name, kind), (record.encode(),)
            elif kind == "MX":
                rank, host = record.split(" ")
                yield (name, kind), (int(rank), host)
            else:
                yield (name, kind), record

    monkeypatch.setattr(spf, "DNSLookup", look_up)
    return spf.check2(i=address, s="postmaster@acme.example", h="helo.example")


@pytest.mark.parametrize("name", ["9.2.0.192.in-addr.arpa", "mail.acme.example"])
@pytest.mark.parametrize("record", ["ptr ip4:192.0.2.9 -all", "exists:%{p}.list.example ip4:192.0.2.9 -all"])
def test_a_name_of_an_address_that_dns_does_not_tell_does_not_match(name, record):
    known = {
        Question("acme.example", "TXT"): DnsAnswer("found", (f"v=spf1 {record}",)),
        Question("9.2.0.192.in-addr.arpa", "PTR"): DnsAnswer("found", ("mail.acme.example",)),
        Question("mail.acme.example", "A"): DnsAnswer("found", ("192.0.2.9",)),
        Question("unknown.list.example", "A"): DnsAnswer("no_name"),
    } | {Question(name, kind): DnsAnswer("failed", said="SERVFAIL") for kind in ("PTR", "A")}
    answers = DnsAnswers(known)
    result = check_host(ipaddress.ip_address("192.0.2.9"), "postmaster@acme.example", answers)
    assert (result.outcome, [match.term for match in result.path], answers.open) == ("pass", ["ip4:192.0.2.9"], [])


@pytest.mark.heavy
@given(record=RECORDS, address=st.sampled_from(ADDRESSES))
def test_pyspf_finds_the_same(record, address):
    with pytest.MonkeyPatch.context() as monkeypatch:
        zone = zone_of(record)
        ours, theirs = found_by_us(zone, address), found_by_pyspf(zone, address, monkeypatch)
    assert ours.outcome == theirs[0], (ours.reason, theirs[1])


@pytest.mark.heavy
@given(record=RECORDS)
def test_whatever_is_there_the_record_to_paste_is_enough_or_there_is_none(record):
    case = ZoneCase("any", "; servers: Office, Bulk, Own\n" + "".join(f"{line}\n" for line in ZONE[1:9]))
    lines = [*case.lines(), ZONE[0].replace("{record}", record), *ZONE[9:11], *ZONE[12:]]
    judgement = judged(case.sending(), ZoneFile(lines))
    if judgement.spf.record is None:
        found = [judgement.spf, *(server.spf for server in judgement.servers)]
        assert worst(found) == "good", words(judgement)
        return
    after = judged(case.sending(), ZoneFile(after_pasting(lines, judgement)))
    assert worst([after.spf, *(server.spf for server in after.servers)]) == "good", words(after)
    assert not offered(after)
    assert all(say(sentence) for sentence in judgement.spf.sentences)

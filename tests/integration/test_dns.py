"""DNS as it is asked: the table of zones on a real name server, other judges of SPF and DMARC, and staged faults."""

import ipaddress
import time
from collections.abc import Iterator

import dns.nameserver
import dns.resolver
import pytest
import spf
from dnslib import DNSRecord

from mail.decide.deliverability import Judgement, SendingDomain, judge
from mail.decide.spf import check_host
from mail.dns_answers import DnsAnswer, DnsAnswers, Question
from mail.transport.dns import Resolver
from tests.servers.lying_nameserver import LyingNameServer, reply
from tests.servers.nameserver import NameServer
from tests.servers.process import HOST, free_port
from tests.zones import FILES, ZoneCase, after_pasting, offered, states, words

CASES = {file.stem: f"z{number}.example" for number, file in enumerate(FILES)}
FIXED = ("in-addr.arpa.", "ip6.arpa.")


@pytest.fixture(scope="module")
def server() -> Iterator[NameServer]:
    """All zones at once, each under a domain of its own."""
    server = NameServer()
    server.load({"all": "\n".join(dict.fromkeys(line for file in FILES for line in lines_of(file)))})
    yield server
    server.stop()


def lines_of(file) -> list[str]:
    domain = CASES[file.stem]
    return ZoneCase.read(file, domain).lines(domain)


def judged(domain: SendingDomain, port: int, seconds: float = 5) -> tuple[Judgement, dict[Question, DnsAnswer]]:
    resolver, known = Resolver([(HOST, port)], seconds), {}
    while (judgement := judge(domain, known)).open:
        known |= resolver.ask_all(judgement.open)
    return judgement, known


def other_resolver(port: int) -> dns.resolver.Resolver:
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers = [dns.nameserver.Do53Nameserver(HOST, port)]
    return resolver


def test_each_zone_on_a_real_name_server_and_pasting_makes_it_green(server):
    pasted: list[str] = []
    cases = [(ZoneCase.read(file, CASES[file.stem]), CASES[file.stem]) for file in FILES]
    for case, domain in cases:
        judgement, _ = judged(case.sending(domain), server.port)
        expected = dict(part.rsplit(" ", 1) for note in case.notes("expect") for part in note.split(", "))
        assert {name: state for name, state in states(judgement).items() if name in expected} == expected, case.name
        if case.pasted:
            assert offered(judgement), case.name
            pasted += after_pasting(case.lines(domain), judgement)
        else:
            pasted += case.lines(domain)
    server.load({"all": "\n".join(dict.fromkeys(pasted))})
    for case, domain in cases:
        if case.pasted:
            judgement, _ = judged(case.sending(domain), server.port)
            assert judgement.state == next(iter(case.notes("then")), "good"), f"{case.name}: {words(judgement)}"
    server.load({"all": "\n".join(dict.fromkeys(line for file in FILES for line in lines_of(file)))})


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_pyspf_finds_the_same_for_each_address(server, monkeypatch, file):
    monkeypatch.setattr(dns.resolver, "default_resolver", other_resolver(server.port))
    case = ZoneCase.read(file, CASES[file.stem])
    domain = case.sending(CASES[file.stem])
    _, known = judged(domain, server.port)
    for address in addresses(case, known):
        sender = f"postmaster@{domain.name}"
        answers = DnsAnswers(known)
        while (ours := check_host(address, sender, answers)) and answers.open:
            known |= Resolver([(HOST, server.port)]).ask_all(answers.open)
            answers = DnsAnswers(known)
        theirs, _ = spf.check2(i=str(address), s=sender, h="helo.example")
        assert ours.outcome == theirs, address


def addresses(case: ZoneCase, known: dict[Question, DnsAnswer]) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Every address that stands for one of the servers, and one that nobody has."""
    found = ["203.0.113.254", "192.0.2.1", "198.51.100.1", "2001:db8:1::1", "2001:db8:2::1", "2001:db8:ffff::1"]
    hosts = {server.host for server in case.sending().servers}
    for question, answer in known.items():
        if question.kind in ("A", "AAAA") and question.name in hosts:
            found += answer.records
    return [ipaddress.ip_address(address) for address in found]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_checkdmarc_finds_the_same_records_readable(server, file):
    import checkdmarc.dmarc  # takes more than a second, so not where tests are collected
    import checkdmarc.spf

    case = ZoneCase.read(file, CASES[file.stem])
    domain = case.sending(CASES[file.stem])
    judgement, _ = judged(domain, server.port)
    resolver = other_resolver(server.port)
    theirs = checkdmarc.spf.check_spf(domain.name, resolver=resolver)
    codes = {sentence["code"] for sentence in judgement.spf.sentences}
    assert theirs["valid"] == (not codes & BREAKS), theirs
    readable = [sentence for sentence in judgement.spf.sentences if sentence["code"] == "spf_readable"]
    assert not readable or readable[0]["values"]["count"] == theirs["dns_lookups"]
    if case.name == "domain-below":  # it looks no further than a name without records; receivers do (RFC 7489, 6.6.3)
        return
    theirs = checkdmarc.dmarc.check_dmarc(domain.name, resolver=resolver)
    codes = {sentence["code"] for sentence in judgement.dmarc.sentences}
    assert theirs["valid"] == (not codes & DMARC_BREAKS), theirs


BREAKS = {
    "spf_missing", "spf_unneeded", "spf_similar", "spf_several", "spf_unreadable", "spf_target_without",
    "spf_lookups_exceeded", "spf_void_exceeded", "spf_loop", "spf_too_many_mx", "domain_absent",
}  # fmt: skip
DMARC_BREAKS = {
    "dmarc_missing", "dmarc_similar", "dmarc_several", "dmarc_misplaced", "dmarc_unreadable", "domain_absent_first",
}  # fmt: skip


# --- what no real name server does when it is asked to


ASKED = Question("acme.example", "TXT")


@pytest.mark.parametrize(
    ("staged", "outcome", "said"),
    [
        pytest.param(lambda question, by_tcp: None, "silent", "no response", id="silent"),
        pytest.param(lambda question, by_tcp: reply(question, rcode=2).pack(), "failed", "SERVFAIL", id="servfail"),
        pytest.param(lambda question, by_tcp: reply(question, rcode=5).pack(), "failed", "REFUSED", id="refused"),
        pytest.param(lambda question, by_tcp: reply(question, rcode=3).pack(), "no_name", "NXDOMAIN", id="nxdomain"),
        pytest.param(lambda question, by_tcp: reply(question).pack(), "no_record", "NOERROR", id="nodata"),
        pytest.param(
            lambda question, by_tcp: reply(question, ra=0).pack(),
            "failed",
            "does not look up the names of others",
            id="referral",
        ),
        pytest.param(lambda question, by_tcp: reply(question, "v=spf1 -all").pack(), "found", "NOERROR", id="found"),
        pytest.param(lambda question, by_tcp: reply(question, "v=spf1 -all").pack()[:-5], "malformed", "", id="cut"),
        pytest.param(lambda question, by_tcp: b"no DNS at all", "malformed", "", id="nonsense"),
        pytest.param(
            lambda question, by_tcp: reply(question, "v=spf1 -all", id=1).pack(), "malformed", "", id="stranger"
        ),
        pytest.param(
            lambda question, by_tcp: reply(question, "all" if by_tcp else "", tc=not by_tcp).pack(),
            "found",
            "NOERROR",
            id="truncated",
        ),
        pytest.param(
            lambda question, by_tcp: None if by_tcp else reply(question, tc=1).pack(), "silent", "", id="no-tcp"
        ),
    ],
)
def test_outcomes_are_told_apart(staged, outcome, said):
    server = LyingNameServer(staged)
    try:
        answer = Resolver([(HOST, server.port)], seconds=0.5 if outcome == "silent" else 30).ask(ASKED)
    finally:
        server.close()
    assert answer.outcome == outcome
    assert said in answer.said


@pytest.mark.parametrize("header", [{"id": 1}, {"id": 1, "tc": 1}, None], ids=["stranger", "cut stranger", "nonsense"])
def test_what_does_not_belong_to_the_question_is_passed_over(header):
    answers: list[bytes] = []

    def staged(question: DNSRecord, by_tcp: bool) -> bytes | None:
        answers.append(reply(question, "v=spf1 -all").pack())
        return reply(question, **header).pack() if header else b"no DNS at all"

    server = LyingNameServer(staged, lambda: answers[-1:])
    try:
        assert Resolver([(HOST, server.port)], seconds=30).ask(ASKED).records == ("v=spf1 -all",)
        assert len(answers) == 1
    finally:
        server.close()


@pytest.mark.parametrize("rcode", [1, 4], ids=["formerr", "notimp"])
def test_a_resolver_that_knows_no_extensions_is_asked_without(rcode):
    def staged(question: DNSRecord, by_tcp: bool) -> bytes:
        return reply(question, rcode=rcode).pack() if question.ar else reply(question, "v=spf1 -all").pack()

    server = LyingNameServer(staged)
    try:
        answer = Resolver([(HOST, server.port)]).ask(ASKED)
    finally:
        server.close()
    assert (answer.outcome, answer.records) == ("found", ("v=spf1 -all",))


def test_another_resolver_is_asked_when_one_fails(server):
    broken = LyingNameServer(lambda question, by_tcp: reply(question, rcode=2).pack())
    try:
        resolver = Resolver([(HOST, free_port()), (HOST, broken.port), (HOST, server.port)])
        assert resolver.ask(Question(CASES["spf-good"], "TXT")).outcome == "found"
    finally:
        broken.close()


@pytest.mark.parametrize(
    "staged",
    [lambda question, by_tcp: None, lambda question, by_tcp: reply(question, rcode=2).pack(), lambda *_: b"nonsense"],
    ids=["silent", "servfail", "malformed"],
)
def test_a_failing_resolver_never_reads_as_a_missing_record(staged):
    server = LyingNameServer(staged)
    before = time.monotonic()
    try:
        case = ZoneCase.read(next(file for file in FILES if file.stem == "dkim-ed25519"))
        judgement, _ = judged(case.sending(), server.port, seconds=0.3)
    finally:
        server.close()
    assert set(states(judgement).values()) <= {"unknown", "good"}  # a server that needs no SPF record is good
    assert judgement.state == "unknown"
    assert not offered(judgement)
    assert time.monotonic() - before < 10

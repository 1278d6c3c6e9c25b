"""Where a server sends from, as an admin enters it: what is taken, and what is said of the rest."""

import pytest

from mail.decide.deliverability import SendingDomain, SendingServer, judge
from mail.decide.sends_from import SendsFromError, parse_sends_from
from mail.dns_answers import DnsAnswer, Question
from mail.sentences import say


@pytest.mark.parametrize(
    ("text", "addresses", "include"),
    [
        ("", (), ""),
        ("203.0.113.7", ("203.0.113.7",), ""),
        ("203.0.113.7 203.0.113.7;\n2001:db8::25", ("203.0.113.7", "2001:db8::25"), ""),
        ("ip4:198.51.100.9/24, ip6:2001:db8:1::/48", ("198.51.100.0/24", "2001:db8:1::/48"), ""),
        ("+include:_SPF.Provider.com.", (), "_spf.provider.com"),
        ("bücher.example", (), "xn--bcher-kva.example"),
        ("spf.provider.com, include:spf.provider.com", (), "spf.provider.com"),
    ],
)
def test_it_is_taken_as_it_is_copied(text, addresses, include):
    found = parse_sends_from(text)
    assert (found.addresses, found.include) == (addresses, include)


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("10.0.0.8", "sends_from_private", "10.0.0.8 is not a public address."),
        ("127.0.0.1", "sends_from_private", "Enter the address that receivers see"),
        ("fe80::1", "sends_from_private", "fe80::1 is not"),
        ("100.64.0.0/16", "sends_from_private", "100.64.0.0/16 is not"),
        ("0.0.0.0/0", "sends_from_wide", "Enter a network of /16 or smaller."),
        ("2001:db8::/20", "sends_from_wide", "/32"),
        ("203.0.113", "sends_from_invalid", "“203.0.113” is neither an IP address nor a name."),
        ("localhost", "sends_from_invalid", "spf.provider.com"),
        ("https://spf.provider.com", "sends_from_invalid", "neither"),
        ("v=spf1", "sends_from_invalid", "neither"),
        ("203.0.113.7, spf.provider.com", "sends_from_mixed", "Enter either IP addresses or one name"),
        ("spf.one.com, spf.two.com", "sends_from_mixed", "one name"),
        (" ".join(f"203.0.113.{number}" for number in range(21)), "sends_from_many", "21 entries are too many"),
    ],
)
def test_what_can_not_be_is_refused_in_words(text, code, said):
    with pytest.raises(SendsFromError) as refused:
        parse_sends_from(text)
    assert refused.value.why["code"] == code and said in str(refused.value) == say(refused.value.why)


RELAY = SendingServer(1, "Relay", "localhost", "a@acme.example", "b@acme.example", addresses=("203.0.113.7",))


def judged(server: SendingServer, **spf: str):
    names = {"acme.example": spf["acme"], "spf.provider.example": spf.get("provider", "")}
    known = {Question(name, "TXT"): DnsAnswer("found", (text,)) for name, text in names.items() if text}
    known[Question("7.113.0.203.in-addr.arpa", "PTR")] = DnsAnswer("found", ("office.acme.example",))
    known[Question("office.acme.example", "A")] = DnsAnswer("found", ("203.0.113.7",))
    judgement = judge(SendingDomain("acme.example", [server]), known)
    known |= {question: DnsAnswer("no_record") for question in judgement.open}
    return judge(SendingDomain("acme.example", [server]), known)


def test_a_relay_on_this_machine_gets_green_by_its_public_address():
    missing = judged(RELAY, acme="v=spf1 -all")
    assert missing.servers[0].spf.state == "bad" and missing.spf.record is not None
    assert missing.spf.record.value == "v=spf1 ip4:203.0.113.7 -all"
    pasted = judged(RELAY, acme=missing.spf.record.value)
    assert [pasted.spf.state, pasted.servers[0].spf.state, pasted.servers[0].passes.state] == ["good"] * 3
    assert [(one.subject, one.state) for one in pasted.servers[0].reverse] == [("203.0.113.7", "good")]


def test_of_a_network_every_part_must_be_there():
    server = SendingServer(1, "Rack", "out.acme.example", "a@acme.example", "b@acme.example",
                           addresses=("198.51.100.0/24", "203.0.113.7"))  # fmt: skip
    half = judged(server, acme="v=spf1 ip4:198.51.100.0/25 ip4:203.0.113.7 -all")
    assert half.servers[0].spf.sentences[0]["values"]["addresses"] == "198.51.100.0/24"
    assert half.spf.record is not None and "ip4:198.51.100.0/24 -all" in half.spf.record.value
    assert judged(server, acme=half.spf.record.value).servers[0].spf.state == "good"
    assert [one.subject for one in half.servers[0].reverse] == ["203.0.113.7"]  # which others send, nobody said


def test_a_provider_that_nobody_knows_is_named_as_it_says():
    server = SendingServer(1, "New", "smtp.new.example", "a@acme.example", "b@acme.example",
                           include="spf.provider.example")  # fmt: skip
    found = judged(server, acme="v=spf1 -all", provider="v=spf1 ip4:192.0.2.0/24 -all")
    assert found.spf.record is not None and found.spf.record.value == "v=spf1 include:spf.provider.example -all"

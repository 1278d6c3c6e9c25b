"""Verdicts on keys, senders and servers beyond what the table of zones shows."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.decide.deliverability import SendingDomain, SendingServer, judge, sent_through
from mail.decide.dkim_record import judge_dkim
from mail.decide.dmarc import judge_dmarc
from mail.decide.domains import MailDomain, Office
from mail.decide.servers import Server
from mail.decide.verdicts import DkimKey
from mail.dns_answers import DnsAnswer, DnsAnswers, Question
from mail.sentences import say
from tests.effort import little_work
from tests.unit.test_zones import judged
from tests.zones import FOLDER, ZoneCase, ZoneFile, words

SHORT = (  # 512 bits
    "MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKj34GkxFhD90vcNLYLInFEX6Ppy1tPf9Cnzj4p4WGeKLs1Pt8QuKUpRKfFLfRYC9AIKjbJTWit+Cqvj"
    "WYzvQwECAwEAAQ=="
)
ED25519 = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="


def only(name: str, kind: str, *records: str) -> DnsAnswers:
    return DnsAnswers({Question(name, kind): DnsAnswer("found", records)})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("record", "code"),
    [
        ("k=rsa", "dkim_unreadable"),
        ("v=spf1 -all", "dkim_not_dkim_provider"),
        ("v=DKIM2; p=abcd", "dkim_unreadable"),
        ("p=no!base64", "dkim_unreadable"),
        ("p=AAAA", "dkim_unreadable"),
        ("k=ed25519; p=AAAA", "dkim_unreadable"),
        (f"k=ed25519; p={ED25519}", "dkim_good_provider"),
        (f"k=rsa; p={SHORT}", "dkim_too_short"),
    ],
)  # fmt: skip
def test_a_key_that_only_a_provider_knows(record, code):
    key = DkimKey("acme.com", "s1")
    verdict = judge_dkim(key, only("s1._domainkey.acme.com", "TXT", record))
    assert verdict.sentences[0]["code"] == code
    assert verdict.record is None


@pytest.mark.parametrize(
    ("records", "code", "replaces"),
    [
        ((f"v=DKIM1; k=ed25519; p={ED25519[:30]}",), "dkim_cut", True),
        ((f"v=DKIM1; k=ed25519; p={ED25519[:-1]}",), "dkim_cut", True),
        (("v=DKIM1; k=ed25519; p=!",), "dkim_unreadable", True),
        (("v=DKIM1; k=ed25519; p=" + "A" * 43 + "=",), "dkim_wrong_key", True),
        (("v=spf1 -all",), "dkim_not_dkim", False),
        (("v=spf1 -all", "verification=1"), "dkim_not_dkim", False),
        (("v=spf1 -all", f"v=DKIM1; k=ed25519; p={ED25519}"), "dkim_several", True),
    ],
)
def test_what_stands_there_in_place_of_our_key(records, code, replaces):
    key = DkimKey("acme.com", "s1", "ed25519", ED25519)
    verdict = judge_dkim(key, only("s1._domainkey.acme.com", "TXT", *records))
    assert verdict.sentences[0]["code"] == code
    assert verdict.record is not None and verdict.record.replaces == (records if replaces else ())


def test_a_sub_domain_asks_itself_first():
    verdict, policy = judge_dmarc("news.acme.com", "", only("_dmarc.news.acme.com", "TXT", "v=DMARC1; p=reject"))
    assert (verdict.state, policy.wish, policy.at) == ("good", "reject", "_dmarc.news.acme.com")


FILTERED = Server(1, "filtered", filters=("sales@acme.com", "other.com"))
OPEN = Server(2, "open")


@pytest.mark.parametrize(
    ("server", "domain", "sent_as", "envelope"),
    [
        (FILTERED, "acme.com", "sales@acme.com", "sales@acme.com"),
        (FILTERED, "other.com", "notifications@other.com", "notifications@other.com"),
        (OPEN, "acme.com", "notifications@acme.com", "bounce@acme.com"),
        (OPEN, "second.com", "hello@second.com", "returns@second.com"),
        (OPEN, "stranger.com", "notifications@acme.com", "bounce@acme.com"),
    ],
)
def test_the_addresses_are_those_of_our_own_decision(server, domain, sent_as, envelope):
    second = MailDomain.of("second.com", bounce="returns", default_from="hello")
    decision = sent_through(server, domain, [FILTERED, OPEN], Office("notifications", "acme.com", domains=(second,)))
    assert decision.from_after.rpartition(" ")[2].strip("<>") == sent_as
    assert decision.envelope_sender == envelope


def test_what_is_stored_of_a_check_holds_states_and_answers():
    case = ZoneCase.read(FOLDER / "spf-office-missing.zone")
    stored = judged(case.sending(), ZoneFile(case.lines())).as_json()
    assert (stored["state"], [server["state"] for server in stored["servers"]]) == ("bad", ["bad", "good"])
    asked = {(entry["name"], entry["kind"]): entry["outcome"] for entry in stored["asked"]}
    assert (asked["_dmarc.acme.example", "TXT"], asked["acme.example", "NS"]) == ("found", "no_record")
    assert stored["spf"]["record"]["replaces"] == ("v=spf1 include:spf.bulk.example ~all",)


def test_a_return_path_that_is_empty_passes_nothing():
    server = SendingServer(1, "Empty", "smtp.acme.com", "hello@acme.com", "")
    case = ZoneCase.read(FOLDER / "spf-own-server.zone")
    judgement = judged(SendingDomain("acme.example", [server]), ZoneFile(case.lines()))
    assert "passes_no_envelope" in {sentence["code"] for sentence in judgement.servers[0].passes.sentences}


@pytest.mark.parametrize(
    ("failing", "unknown"),
    [
        (Question("mail.own.example", "A"), {"Own"}),
        (Question("25.113.0.203.in-addr.arpa", "PTR"), {"ptr"}),
        (Question("acme.example", "TXT"), {"spf", "Own"}),
        (Question("_dmarc.acme.example", "TXT"), {"dmarc"}),
        (Question("acme.example", "MX"), {"mx"}),
    ],
)
def test_one_answer_that_does_not_come_leaves_the_others(failing, unknown):
    case = ZoneCase.read(FOLDER / "spf-own-by-a-and-mx.zone")
    zone, known = ZoneFile(case.lines()), {failing: DnsAnswer("silent", said="192.0.2.53: no response")}
    while (judgement := judge(case.sending(), known)).open:
        known |= {question: zone.ask(question) for question in judgement.open}
    found = {"spf": judgement.spf, "dmarc": judgement.dmarc, "mx": judgement.mx, "Own": judgement.servers[0].spf}
    found |= {verdict.about: verdict for verdict in judgement.servers[0].reverse}
    assert {name for name, verdict in found.items() if verdict.state == "unknown"} == unknown
    assert judgement.state == "unknown"
    assert not [verdict for verdict in judgement.verdicts if verdict.record]


@pytest.mark.parametrize("zone", ["spf-macro-provider", "spf-own-server", "spf-ptr", "spf-redirect"])
def test_nothing_is_pasted_while_an_include_is_not_known(zone):
    case = ZoneCase.read(FOLDER / f"{zone}.zone")
    file = ZoneFile(case.lines())
    known = {Question("spf.post.example", "TXT"): DnsAnswer("failed", said="192.0.2.53: SERVFAIL")}
    while (judgement := judge(case.sending(), known)).open:
        known |= {question: file.ask(question) for question in judgement.open}
    assert judgement.spf.record is None
    assert "could not answer the question about spf.post.example (192.0.2.53: SERVFAIL)" in words(judgement)
    assert len(judgement.spf.sentences) == len({say(sentence) for sentence in judgement.spf.sentences})


@pytest.mark.parametrize(
    ("provider", "said"),
    [
        (DnsAnswer("failed", said="192.0.2.53: SERVFAIL"), "could not answer the question about spf.post.example"),
        (DnsAnswer("no_record"), "Ask the provider what to include"),
    ],
)
@pytest.mark.parametrize("record", [DnsAnswer("no_record"), DnsAnswer("found", ("v=spf1 mx ~all",))])
def test_no_record_is_offered_that_leaves_a_server_out(provider, said, record):
    case = ZoneCase("out", "; servers: Office, Own\n")
    file = ZoneFile(case.lines())
    known = {Question("spf.post.example", "TXT"): provider, Question("acme.example", "TXT"): record}
    while (judgement := judge(case.sending(), known)).open:
        known |= {question: file.ask(question) for question in judgement.open}
    assert judgement.servers[1].spf.state == "bad"
    assert judgement.spf.record is None
    assert "There is no record to paste now: it would not cover “Office”." in words(judgement)
    assert said in words(judgement)


def test_a_record_that_is_too_long_to_be_read_is_not_replaced():
    record = "v=spf1" + " include:spf.post.example" * 200
    file = ZoneFile(ZoneCase("long", "; servers: Own\n").lines())
    known = {Question("acme.example", "TXT"): DnsAnswer("found", (record,))}
    while (judgement := judge(ZoneCase("long", "; servers: Own\n").sending(), known)).open:
        known |= {question: file.ask(question) for question in judgement.open}
    assert (judgement.spf.state, judgement.spf.record) == ("bad", None)
    assert "No more than 4096 are read here" in words(judgement)


class Counted(dict[Question, DnsAnswer]):
    """Answers that may be looked up a few times only."""

    looked = 0

    def get(self, question, default=None):
        self.looked += 1
        assert self.looked < 2000
        return super().get(question, DnsAnswer("no_record"))


@pytest.mark.parametrize("provider", ["", "l0.example"])
def test_records_that_lead_to_each_other_in_many_ways_are_looked_at_once(provider):
    known = Counted(
        {
            Question(f"l{level}.example", "TXT"): DnsAnswer("found", ("v=spf1" + f" include:l{level + 1}.example" * 8,))
            for level in range(12)
        }
    )
    known[Question("l12.example", "TXT")] = DnsAnswer("found", ("v=spf1 -all",))
    known[Question("acme.example", "TXT")] = DnsAnswer("found", ("v=spf1 ?include:l0.example a:x.example" * 8,))
    server = SendingServer(1, "Many", "smtp.many.net", "a@acme.example", "b@acme.example", include=provider)
    judgement = judge(SendingDomain("acme.example", [server]), known)
    assert not judgement.open
    assert judgement.spf.state == "bad"


def test_a_server_known_by_its_address_only():
    server = SendingServer(1, "Number", "[203.0.113.77]", "hello@acme.example", "bounce@acme.example")
    case = ZoneCase.read(FOLDER / "spf-own-server.zone")
    judgement = judged(SendingDomain("acme.example", [server]), ZoneFile(case.lines()))
    reverse = judgement.servers[0].reverse[0]
    assert (reverse.subject, reverse.state, reverse.record) == ("203.0.113.77", "bad", None)
    assert judgement.spf.record is not None and "ip4:203.0.113.77" in judgement.spf.record.value


def test_a_provider_by_name_is_not_covered_by_a_record_that_nobody_can_read():
    case = ZoneCase("broken", '; servers: Cloud\nacme.example. IN TXT "v=spf1 include:spf.cloud.example nonsense"\n')
    judgement = judged(case.sending(), ZoneFile(case.lines()))
    assert judgement.servers[0].spf.state == "bad"
    assert judgement.spf.record is not None
    assert judgement.spf.record.value == "v=spf1 include:spf.cloud.example ~all"


PIECES = st.sampled_from(
    [
        *(
            "v=spf1",
            "V=SPF1",
            "v=spf1;",
            "v=",
            "spf1",
            "v=DMARC1",
            "v=DMARC1;",
            "v=DKIM1;",
            "DMARC",
            "p=none;",
            "p=;",
            ";",
        ),
        *(
            "p=reject;",
            "sp=x;",
            "rua=mailto:",
            "rua=@",
            "a@b.c,",
            "mailto:a@b!9m",
            "=",
            "%{",
            "}",
            "%{d}",
            "%{l1r-}",
            ":",
        ),
        *("/", "//", "ip4:", "ip6:", "include:", "redirect=", "all", "-all", "+mx", "a/", "\\xc3", "k=ed25519;", "h=;"),
        *("s=*;", "aspf=s;", "acme.example", "spf.post.example", "192.0.2.1", "2001:db8::", "::"),
    ]
)


@pytest.mark.heavy
@given(records=st.lists(st.lists(PIECES, max_size=8).map(" ".join), max_size=2), glue=st.sampled_from([" ", ""]))
def test_no_record_is_too_odd(records, glue):
    case = ZoneCase.read(FOLDER / "dkim-ed25519.zone")
    zone, texts = ZoneFile(case.lines()), tuple(record.replace(" ", glue) for record in records)
    odd = ("acme.example", "_dmarc.acme.example", "coqui1._domainkey.acme.example", "spf.post.example")
    known = {Question(name, "TXT"): DnsAnswer("found" if texts else "no_record", texts) for name in odd}
    servers = (
        *case.sending().servers,
        SendingServer(7, "Office", "smtp.post.example", "a@acme.example", "b@acme.example"),
    )
    domain = replace(case.sending(), servers=servers)
    while (judgement := judge(domain, known)).open:
        known |= {question: zone.ask(question) for question in judgement.open}
    assert "?" not in words(judgement).replace("?all", "")
    assert json.loads(json.dumps(judgement.as_json()))["domain"] == "acme.example"


HUGE = 300_000


@pytest.mark.heavy
@pytest.mark.parametrize(
    "text",
    [
        "v=spf1 include:" + "." * HUGE,
        "v=spf1 include:" + "a" * HUGE + "!",
        "v=spf1 include:" + "a." * (HUGE // 2) + "!",
        "v=spf1 include:" + "1" * HUGE,
        "v=spf1 a:" + "/1" * (HUGE // 2),
        "v=spf1 " + "mx, " * (HUGE // 4),
        "v=spf1 " + "ip4:1.2.3 " * (HUGE // 10),
        "v=spf1 exists:" + "%{l}" * (HUGE // 4),
        "v=spf1" + ";" * HUGE + "mx",
        "v=spf" + " " * HUGE + "1 1",
        "v" + " " * HUGE + "=spf1 mx",
        "v=DMARC1; p=none; rua=mailto:" + "@" * HUGE + " ",
        "v=DMARC1; p=block" + " " * HUGE + "!",
        "v=DMARC1" + " ;" * (HUGE // 2),
        "!" * HUGE,
    ],
    ids=lambda text: text[:24].strip(),
)
def test_whatever_stands_in_dns_is_little_work(text):
    case = ZoneCase.read(FOLDER / "spf-good.zone")
    zone = ZoneFile(case.lines())
    known = {Question(name, "TXT"): DnsAnswer("found", (text,)) for name in ("acme.example", "_dmarc.acme.example")}
    with little_work():
        while (judgement := judge(case.sending(), known)).open:
            known |= {question: zone.ask(question) for question in judgement.open}


def test_an_internationalised_domain_is_asked_for_as_it_is_in_dns():
    server = SendingServer(1, "Books", "203.0.113.77", "hello@bücher.example", "bounce@xn--bcher-kva.example")
    domain = SendingDomain("bücher.example", [server])
    lines = [
        'xn--bcher-kva.example. IN TXT "v=spf1 ip4:203.0.113.77 -all"',
        "xn--bcher-kva.example. IN MX 10 mail.own.example.",
    ]
    judgement = judged(domain, ZoneFile([*lines, "mail.own.example. IN A 203.0.113.25"]))
    found = (judgement.domain, judgement.spf.state, judgement.servers[0].passes.state, judgement.mx.state)
    assert found == ("xn--bcher-kva.example", "good", "good", "good")

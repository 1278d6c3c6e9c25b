"""Where mail to a domain goes: the verdict on its MX records."""

import pytest

from mail.decide.deliverability import SendingDomain, judge
from mail.dns_answers import DnsAnswer, Question
from mail.sentences import say

NOTHING, NOBODY, SILENT = (
    DnsAnswer("no_record"),
    DnsAnswer("no_name"),
    DnsAnswer("silent", said="192.0.2.53: no response"),
)


def found(*records):
    return DnsAnswer("found", records)


@pytest.mark.parametrize(
    ("answers", "state", "words"),
    [
        (
            {"acme.com MX": found("10 mx.acme.com"), "mx.acme.com A": found("192.0.2.1")},
            "good",
            "received by mx.acme.com",
        ),
        (
            {"acme.com MX": found("20 b.acme.com", "3 a.acme.com"), "b.acme.com AAAA": found("2001:db8::1")},
            "warning",
            "names a.acme.com, which has no address",
        ),
        ({"acme.com MX": found("10 mx.acme.com")}, "bad", "names mx.acme.com, which has no address"),
        (
            {"acme.com MX": found("10 mx.acme.com"), "mx.acme.com A": SILENT},
            "unknown",
            "did not respond when asked about mx.acme.com",
        ),
        ({"acme.com MX": found("0 .")}, "bad", "accepts no email"),
        ({"acme.com A": found("192.0.2.1")}, "warning", "goes to the address of its website"),
        ({}, "bad", "has no MX record"),
        ({"acme.com MX": NOBODY, "acme.com A": NOBODY, "acme.com AAAA": NOBODY}, "bad", "has no MX record"),
        ({"acme.com A": SILENT}, "unknown", "did not respond"),
        ({"acme.com MX": SILENT}, "unknown", "(192.0.2.53: no response)"),
        ({"acme.com MX": DnsAnswer("failed", said="192.0.2.53: SERVFAIL")}, "unknown", "(192.0.2.53: SERVFAIL)"),
    ],
)
def test_mail_needs_somewhere_to_go(answers, state, words):
    known = {Question(*key.split(" ")): answer for key, answer in answers.items()}
    for _ in range(3):
        judgement = judge(SendingDomain("acme.com"), known)
        known |= dict.fromkeys(judgement.open, NOTHING)
    assert not judgement.open
    assert judgement.mx.state == state
    assert words in " ".join(map(say, judgement.mx.sentences))

"""The table of zones: for each its verdicts, its words and its record, and pasting that record makes it green."""

import pytest

from mail.decide.deliverability import Judgement, SendingDomain, judge
from mail.dns_answers import DnsAnswer, Question
from tests.zones import FILES, ZoneCase, ZoneFile, after_pasting, offered, states, words

ROUNDS = 40


def judged(domain: SendingDomain, zone: ZoneFile) -> Judgement:
    known: dict[Question, DnsAnswer] = {}
    for _ in range(ROUNDS):
        judgement = judge(domain, known)
        if not judgement.open:
            return judgement
        known |= {question: zone.ask(question) for question in judgement.open}
    raise AssertionError(f"never done: {judgement.open}")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_verdict_words_and_record_of_a_zone(file):
    case = ZoneCase.read(file)
    domain, lines = case.sending(), case.lines()
    judgement = judged(domain, ZoneFile(lines))
    expected = dict(part.rsplit(" ", 1) for note in case.notes("expect") for part in note.split(", "))
    assert {name: state for name, state in states(judgement).items() if name in expected} == expected
    for said in case.notes("says"):
        assert said in words(judgement)
    found = [(one.record.name, one.record.kind, one.record.value) for one in offered(judgement) if one.record]
    assert list(dict.fromkeys((name, kind, value.removesuffix(".")) for name, kind, value in found)) == [
        (name, kind, value.removesuffix(".")) for name, kind, value in case.pasted
    ]
    if not case.notes("paste"):
        assert judgement.state == "good"
    elif case.pasted:
        after = judged(domain, ZoneFile(after_pasting(lines, judgement)))
        assert after.state == next(iter(case.notes("then")), "good"), words(after)
        assert not offered(after)

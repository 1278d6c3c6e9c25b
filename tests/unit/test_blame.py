"""Whom a report may blame: a table of what is known, what the report names, and who is to blame."""

import pytest

from mail.decide.blame import Evidence, SentTo, blamed, complaining, names_nobody
from mail.decide.failure import FailureKind
from mail.decide.reported import MOST_RECIPIENTS, About, Report, Reported

ANN, BOB, EVE = (
    SentTo("ann@x.test", line_id=1, mail_id=9, post_id=5),
    SentTo("bob@x.test", line_id=2, mail_id=9, post_id=5),
    SentTo("eve@x.test", trace_id=3, mailing_id=7),
)
OURS = ("bounce@we.test", "notifications@we.test")
NOBODY: list[str | None] = [None]


def report(*names: str | tuple[str, ...], about: About = About.BOUNCE) -> Report:
    told = [name if isinstance(name, tuple) else (name,) for name in names]
    return Report(about, tuple(Reported(first, FailureKind.HARD, also=tuple(more)) for first, *more in told))


def keys(found: list[tuple[SentTo | None, Reported]]) -> list[str | None]:
    return [sent.address if sent else None for sent, _ in found]


CASES = [
    # named by a token or an id: that recipient, and only for a name of theirs
    (report("ann@x.test"), Evidence(named=[ANN], whole=[ANN, BOB]), ["ann@x.test"]),
    (report("other@forward.test"), Evidence(named=[ANN], whole=[ANN, BOB]), ["ann@x.test"]),
    (report("eve@x.test"), Evidence(named=[EVE]), ["eve@x.test"]),
    (report(("inner@x.test", "ann@x.test")), Evidence(whole=[ANN, BOB]), ["ann@x.test"]),
    (report(("ann@x.test", "inner@x.test")), Evidence(whole=[ANN, BOB]), ["ann@x.test"]),
    # the returned mail is ours: its recipients, by their address
    (report("bob@x.test"), Evidence(whole=[ANN, BOB]), ["bob@x.test"]),
    (report("ann@x.test", "bob@x.test"), Evidence(whole=[ANN, BOB]), ["ann@x.test", "bob@x.test"]),
    (report("other@forward.test"), Evidence(whole=[ANN]), ["ann@x.test"]),
    (report("other@forward.test"), Evidence(whole=[ANN, BOB]), NOBODY),
    (report("other@forward.test", "bob@x.test"), Evidence(whole=[ANN, BOB]), [None, "bob@x.test"]),
    # the address was corrected meanwhile: a late report about the dead one says nothing about the right one
    (report("anna@x.test"), Evidence(named=[ANN], whole=[ANN], former=["anna@x.test"]), ["anna@x.test"]),
    (report("ann@x.test"), Evidence(named=[ANN], former=["anna@x.test"]), ["ann@x.test"]),
    (report("other@forward.test"), Evidence(whole=[ANN], former=["anna@x.test"]), ["ann@x.test"]),
    # nothing of ours is proved: only who got a mail of ours
    (report("ann@x.test"), Evidence(), NOBODY),
    (report("ann@x.test"), Evidence(mailed={"ann@x.test": SentTo("ann@x.test")}), ["ann@x.test"]),
    (report("ann@x.test", "stranger@y.test"), Evidence(mailed={"ann@x.test": SentTo("ann@x.test")}),
     ["ann@x.test", None]),
    (report(("inner@x.test", "ann@x.test")), Evidence(mailed={"ann@x.test": SentTo("ann@x.test")}), ["ann@x.test"]),
    (report("bob@x.test"), Evidence(whole=[ANN, EVE], mailed={"bob@x.test": BOB}), ["bob@x.test"]),
    # never one of us, never a sender
    (report("bounce@we.test"), Evidence(named=[ANN], never=OURS), []),
    (report("notifications@we.test", "ann@x.test"), Evidence(whole=[ANN], never=OURS), ["ann@x.test"]),
    (report("bounce@we.test"), Evidence(mailed={"bounce@we.test": SentTo("bounce@we.test")}, never=OURS), []),
    (report("boss@we.test"), Evidence(whole=[ANN], never=["boss@we.test"]), []),
    # a colleague who wrote one mail and got this one is a recipient like any other
    (report("ann@x.test"), Evidence(whole=[ANN, BOB], never=["ann@x.test"]), ["ann@x.test"]),
    # names nobody
    (report(), Evidence(whole=[ANN]), []),
]  # fmt: skip


@pytest.mark.parametrize(("told", "evidence", "expected"), CASES)
def test_whom_a_report_may_blame(told: Report, evidence: Evidence, expected: list[str | None]) -> None:
    assert keys(blamed(told, evidence)) == expected


COMPLAINTS = [
    (report("ann@x.test"), Evidence(named=[ANN]), ["ann@x.test"]),
    (report("ann@x.test"), Evidence(whole=[ANN, BOB]), ["ann@x.test"]),
    (report(), Evidence(named=[EVE]), ["eve@x.test"]),
    (report(), Evidence(whole=[ANN]), ["ann@x.test"]),
    (report(), Evidence(whole=[ANN, BOB]), []),
    (report(), Evidence(), []),
    (report("hidden@isp.test"), Evidence(named=[EVE]), ["eve@x.test"]),
    (report("ann@x.test"), Evidence(mailed={"ann@x.test": SentTo("ann@x.test")}), ["ann@x.test"]),
    (report("ann@x.test", "ann@x.test"), Evidence(named=[ANN]), ["ann@x.test"]),
    (report("stranger@y.test"), Evidence(), []),
    (report("stranger@y.test", "other@y.test"), Evidence(whole=[ANN, BOB]), []),
    (report("bounce@we.test"), Evidence(never=OURS), []),
    (report("bounce@we.test"), Evidence(mailed={"bounce@we.test": SentTo("bounce@we.test")}, never=OURS), []),
    (report("ann@x.test", "stranger@y.test"), Evidence(mailed={"ann@x.test": ANN}), ["ann@x.test"]),
    (report("bob@x.test", "ann@x.test"), Evidence(whole=[ANN, BOB]), ["bob@x.test", "ann@x.test"]),
]


@pytest.mark.parametrize(("told", "evidence", "expected"), COMPLAINTS)
def test_who_complained(told: Report, evidence: Evidence, expected: list[str]) -> None:
    assert [sent.address for sent in complaining(told, evidence)] == expected


def told_by(kind: FailureKind, *, is_certain: bool = True) -> Report:
    return Report(About.BOUNCE, (Reported("boss@we.test", kind, "5.7.1", "no"),), is_certain=is_certain)


@pytest.mark.parametrize(
    ("told", "evidence", "kind"),
    [
        (Report(About.UNREADABLE), Evidence(named=[ANN]), "soft"),
        (Report(About.DELAY), Evidence(named=[ANN]), "delay"),
        (told_by(FailureKind.BLOCKED), Evidence(named=[ANN], never=["boss@we.test"]), "blocked"),
        (told_by(FailureKind.FULL), Evidence(named=[ANN], never=["boss@we.test"]), "full"),
        (told_by(FailureKind.BLOCKED, is_certain=False), Evidence(named=[ANN], never=["boss@we.test"]), None),
        (told_by(FailureKind.BLOCKED), Evidence(whole=[ANN, BOB], never=["boss@we.test"]), None),
        (told_by(FailureKind.BLOCKED), Evidence(named=[ANN]), None),
    ],
)
def test_a_report_that_names_only_us_means_the_only_recipient(told: Report, evidence: Evidence, kind: str) -> None:
    meant = names_nobody(told, evidence)
    assert (meant and (meant.address, meant.kind.value)) == (kind and ("ann@x.test", kind))


def test_what_only_may_be_a_complaint_has_to_hold_the_mail() -> None:
    told = Report(About.COMPLAINT, (Reported("ann@x.test", FailureKind.DELIVERED),), is_certain=False)
    assert complaining(told, Evidence(mailed={"ann@x.test": SentTo("ann@x.test")})) == []
    assert complaining(told, Evidence(named=[ANN])) == [ANN]


def test_one_report_blames_at_most_twenty() -> None:
    many = [f"person{number}@x.test" for number in range(1000)]
    mailed = {key: SentTo(key) for key in many}
    assert len(blamed(report(*many), Evidence(mailed=mailed))) == MOST_RECIPIENTS == 20
    assert len(complaining(report(*many, about=About.COMPLAINT), Evidence(mailed=mailed))) == 20

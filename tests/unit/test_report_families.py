"""Reports in the manner of many programs, written for these tests: who failed, or is late, and nobody else.

In each file of ``tests/data/reports`` b@y.test is the only recipient: of a report, if the folder says so.
"""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from mail.decide.failure import FailureKind
from mail.decide.named import Surety, named_recipients
from mail.decide.report import Report, read_report
from mail.message.parse import parse

NOW = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
FOLDER = Path(__file__).parents[1] / "data" / "reports"


def told(file: Path, *, at_bounce_address: bool = False) -> Report | None:
    return read_report(parse(file.read_bytes(), NOW), at_bounce_address)


def files(kind: str) -> list:
    return [pytest.param(file, id=file.stem) for file in sorted((FOLDER / kind).glob("*.eml"))]


@pytest.mark.parametrize("at_bounce_address", [False, True])
@pytest.mark.parametrize("file", files("failed"))
def test_who_failed(file: Path, at_bounce_address: bool) -> None:
    report = told(file, at_bounce_address=at_bounce_address)
    assert report is not None
    assert [name for one in report.failures for name in one.addresses] == ["b@y.test"]
    assert not report.failures[0].text.startswith("b@y.test>"), "a bracket that was cut"


@pytest.mark.parametrize("at_bounce_address", [False, True])
@pytest.mark.parametrize("file", files("late"))
def test_who_is_late(file: Path, at_bounce_address: bool) -> None:
    report = told(file, at_bounce_address=at_bounce_address)
    assert report is not None
    assert [(one.address, one.kind) for one in report.recipients] == [("b@y.test", FailureKind.DELAY)]


@pytest.mark.parametrize(
    ("subject", "words", "is_late"),
    [
        ("Delayed mail", "b@y.test: connection refused", True),
        ("Delivery Status Notification (Delay)", "b@y.test", True),
        ("Warning: message 1 delayed 24 hours", "b@y.test", True),
        ("Delivery delayed", "The server will continue to try delivering the message to b@y.test.", True),
        ("x", "There was a temporary problem delivering your message to b@y.test. We will retry for 47 more hours. You "
              "will hear if it fails permanently.", True),
        ("x", "Your message to b@y.test is still in the remote queue.", True),
        ("x", "Your message to b@y.test hasn't been delivered yet.", True),
        ("x", "Ihre Nachricht an b@y.test wurde noch nicht zugestellt.", True),
        ("x", "b@y.test: delivery was delayed for 5 days. Giving up.", False),
        ("x", "b@y.test: retry timeout exceeded", False),
        ("Undeliverable: the delayed train", "b@y.test: unknown", False),
        ("Mail delivery failed", "b@y.test", False),
    ],
)  # fmt: skip
def test_late_or_failed(subject: str, words: str, is_late: bool) -> None:
    report = read_report(parse(f"From: MAILER-DAEMON@y.test\nSubject: {subject}\n\n{words}".encode(), NOW))
    assert report is not None
    assert [(one.address, one.kind is FailureKind.DELAY) for one in report.recipients] == [("b@y.test", is_late)]


@pytest.mark.parametrize(
    ("words", "surety", "named"),
    [
        ("a@x.test", Surety.SURELY, ["a@x.test"]),
        ("a@x.test, b@y.test", Surety.SURELY, ["a@x.test", "b@y.test"]),
        ("Failed recipients: <a@x.test>; <b@y.test>", Surety.SURELY, ["a@x.test", "b@y.test"]),
        ("We could not deliver to a@x.test and b@y.test.", Surety.PROBABLY, ["a@x.test", "b@y.test"]),
        ("Your message from c@z.test to a@x.test failed.", Surety.PROBABLY, ["a@x.test"]),
        ("Your message from c@z.test failed.", Surety.NO, []),
        ("It is about a@x.test or so", Surety.PERHAPS, ["a@x.test"]),
        ("To: list@x.test\nNobody got it", Surety.PERHAPS, ["list@x.test"]),
        ('<"ann lee"@x.test>: unknown', Surety.SURELY, ['"ann lee"@x.test']),
        ("宛先a@x.testへ", Surety.SURELY, ["a@x.test"]),
        ("Bitte wenden Sie sich an c@z.test", Surety.NO, []),
        ("In urgent cases write to c@z.test", Surety.NO, []),
        ("Ask postmaster@x.test", Surety.NO, []),
        (
            "Doubts? Write to it@z.test. Report spam to abuse@z.test.\nReport to us@z.test. Report suspicious "
            "emails to you@z.test.\nNot delivered to a@x.test",
            Surety.PROBABLY,
            ["a@x.test"],
        ),
        ("here is postmaster@x.test", Surety.NO, []),
        ("nobody", Surety.NO, []),
    ],
)
def test_how_surely_words_name_somebody(words: str, surety: Surety, named: list[str]) -> None:
    assert named_recipients(words, ()) == (surety, named)


@pytest.mark.parametrize("file", files("none"))
def test_what_is_no_report(file: Path) -> None:
    assert told(file) is None

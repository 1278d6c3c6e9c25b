"""Reports in the manner of many programs, written for these tests: who failed, or is late, and nobody else.

In each file of ``tests/data/reports`` b@y.test is the only recipient: of a report, if the folder says so.
"""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from mail.decide.failure import FailureKind
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


@pytest.mark.parametrize("at_bounce_address", [False, True])
@pytest.mark.parametrize("file", files("late"))
def test_who_is_late(file: Path, at_bounce_address: bool) -> None:
    report = told(file, at_bounce_address=at_bounce_address)
    assert report is not None
    assert [(one.address, one.kind) for one in report.recipients] == [("b@y.test", FailureKind.DELAY)]


@pytest.mark.parametrize("file", files("none"))
def test_what_is_no_report(file: Path) -> None:
    assert told(file) is None

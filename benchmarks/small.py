"""The small things that happen for every mail, against their limits: python -m benchmarks.small

A token for each recipient of a mailing; a delivery report of ``tests/data/bounces`` read from its bytes.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from mail.decide.report import read_report
from mail.message.parse import parse
from mail.settings.tokens import TokenKind, Tokens

REPORTS = Path(__file__).resolve().parents[1] / "tests" / "data" / "bounces"
ARRIVED = datetime(2026, 11, 1, tzinfo=UTC)
TIMES = 5


def per_second(count: int, work: Callable[[], object]) -> float:
    """Return how many of ``count`` things that ``work`` does are done a second, at best: noise only ever adds."""
    best = float("inf")
    for _ in range(TIMES):
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return count / best


def main() -> None:
    make = Tokens({"a": b"a secret of the benchmark"}).maker(TokenKind.TRACE)
    numbers = range(1_000_000, 1_050_000)
    raws = [path.read_bytes() for path in sorted(REPORTS.rglob("*.eml"))]
    tokens = per_second(len(numbers), lambda: [make(number) for number in numbers])
    reports = per_second(len(raws), lambda: [read_report(parse(raw, ARRIVED)) for raw in raws])
    for name, found, limit in (("tokens", tokens, 200_000), ("reports", reports, 150)):
        print(f"{name:8}{found:9.0f}/s, {found / limit:.1f} x the limit of {limit}/s")


if __name__ == "__main__":
    main()

"""What the benchmarks share: pairs of runs, the steal of the machine, databases that really write, memory and CPU."""

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MOST_STEAL = 5.0  # percent: a pair during which the machine gave more of its time to others is dropped

# What PostgreSQL does by default, against the quick settings of the tests: everything acknowledged is on the disk.
DURABLE = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
}


def processor_times() -> tuple[int, int]:
    """Return (all, stolen) ticks of all processors since the start of the machine."""
    with open("/proc/stat") as stat:
        ticks = [int(word) for word in stat.readline().split()[1:9]]
    return sum(ticks), ticks[7]


@dataclass
class Steal:
    """How much of the processors' time others took while a block ran, in percent."""

    percent: float = 0.0


@contextmanager
def steal() -> Iterator[Steal]:
    """Measure the steal of a block."""
    measured = Steal()
    before = processor_times()
    yield measured
    after = processor_times()
    measured.percent = 100 * (after[1] - before[1]) / max(after[0] - before[0], 1)


@contextmanager
def folder() -> Iterator[Path]:
    """A temporary folder."""
    made = Path(tempfile.mkdtemp(prefix="coqui-bench-"))
    made.chmod(0o755)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def durable_postgres() -> Iterator[Any]:
    """A real PostgreSQL cluster that waits for the disk; ``create_database()`` gives a URL."""
    from tests.servers import postgres

    postgres.SETTINGS.update(DURABLE)
    server = postgres.Postgres()
    try:
        yield server
    finally:
        server.close()


def child(module: str, *words: str, env: dict[str, str] | None = None) -> dict[str, Any]:
    """Run a part of a benchmark in a process of its own and return the JSON of its last line."""
    done = subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{module} {' '.join(words)} ended with {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def memory() -> float:
    """Return the resident memory of this process now, in MB."""
    with open("/proc/self/status") as status:
        kilobytes = next(line for line in status if line.startswith("VmRSS")).split()[1]
    return int(kilobytes) / 1024


def peak_memory() -> float:
    """Return the most resident memory that this process ever had, in MB."""
    with open("/proc/self/status") as status:
        kilobytes = next(line for line in status if line.startswith("VmHWM")).split()[1]
    return int(kilobytes) / 1024


def median(values: list[float]) -> float:
    """Return the median, 0 for nothing."""
    return statistics.median(values) if values else 0.0


def machine() -> str:
    """Return one line about the machine, for the head of a table."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return f"{os.cpu_count()} × {model}, {platform.system()} {platform.release()}, Python {platform.python_version()}"


def rounds(count: int, run: Callable[[], Any], wanted: Callable[[Any], float]) -> list[Any]:
    """Run something ``count`` times and return what it gave, without the rounds in which the machine was stolen."""
    kept = []
    for _ in range(count):
        result = run()
        if wanted(result) <= MOST_STEAL:
            kept.append(result)
    return kept

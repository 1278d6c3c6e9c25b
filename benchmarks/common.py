"""What the benchmarks share: pairs of runs, what else the machine did, databases that really write, memory and CPU."""

import ctypes
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MOST_STEAL, MOST_BUSY = 5.0, 20.0  # percent: a pair is dropped when others had more of the machine
PR_SET_CHILD_SUBREAPER = 36  # of linux/prctl.h

# What PostgreSQL does by default, against the quick settings of the tests: everything acknowledged is on the disk.
DURABLE = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
}


def processor_times() -> tuple[int, int, int]:
    """Return (all, idle, stolen) ticks of all processors since the start of the machine."""
    with open("/proc/stat") as stat:
        ticks = [int(word) for word in stat.readline().split()[1:9]]
    return sum(ticks), ticks[3] + ticks[4], ticks[7]


def our_ticks() -> int:
    """Return the ticks that this process used and all that it started, those included that have ended."""
    parents, used = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            words = stat.read_text().rpartition(")")[2].split()
            parents[int(stat.parent.name)] = int(words[1])
            used[int(stat.parent.name)] = sum(map(int, words[11:15]))
    return sum(ticks for pid, ticks in used.items() if _is_ours(pid, parents))


def _is_ours(pid: int, parents: dict[int, int]) -> bool:
    while pid in parents and pid != os.getpid():
        pid = parents[pid]
    return pid == os.getpid()


@dataclass
class Noise:
    """What others did on the machine while a pair ran: in percent of the processors' time."""

    steal: float = 0.0
    busy: float = 0.0

    @property
    def too_much(self) -> bool:
        return self.steal > MOST_STEAL or self.busy > MOST_BUSY

    def __str__(self) -> str:
        return f"{self.steal:6.1f}%{self.busy:6.1f}%{'  dropped' if self.too_much else ''}"


NOISE_HEAD = f"{'steal':>7}{'busy':>7}"


@contextmanager
def noise() -> Iterator[Noise]:
    """Measure, during a block, the steal and how busy the machine was with what is not ours."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)  # what outlives a server that it belonged to stays ours
    measured = Noise()
    began, ours = processor_times(), our_ticks()
    yield measured
    ours, ended = our_ticks() - ours, processor_times()
    total, idle, stolen = (after - before for after, before in zip(ended, began, strict=True))
    measured.steal = 100 * stolen / max(total, 1)
    measured.busy = max(100 * (total - idle - stolen - ours) / max(total, 1), 0)


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


def memory(pid: int | str = "self") -> float:
    """Return the resident memory of a process now, in MB."""
    with open(f"/proc/{pid}/status") as status:
        kilobytes = next(line for line in status if line.startswith("VmRSS")).split()[1]
    return int(kilobytes) / 1024


def peak_memory(pid: int | str = "self") -> float:
    """Return the most resident memory that a process ever had, in MB."""
    with open(f"/proc/{pid}/status") as status:
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

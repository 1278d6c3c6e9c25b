"""``make soak``: a plugin of pytest that prints a line per proof and goes on where it stopped.

What passed for this state of the tree is kept in ``.cache/soak.json`` and not repeated. When everything has passed, the
lines go to ``docs/measurements.md``.
"""

import json
import os
import platform
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
STATE = ROOT / ".cache" / "soak.json"
MEASUREMENTS = ROOT / "docs" / "measurements.md"
HEADING = "## The long tests (`make soak`)\n"


class Soak:
    """The state of the tree, and the line of each proof that passed for it."""

    def __init__(self) -> None:
        self.tree = tree()
        kept = json.loads(STATE.read_text()) if STATE.exists() else {}
        self.lines: dict[str, str] = kept["lines"] if kept.get("tree") == self.tree else {}
        self.wanted: list[str] = []

    def passed(self, name: str, line: str) -> None:
        """Remember a proof, in a file that is there in whole or not at all."""
        self.lines[name] = line
        STATE.parent.mkdir(exist_ok=True)
        fresh = STATE.with_suffix(".new")
        fresh.write_text(json.dumps({"tree": self.tree, "lines": self.lines}, indent=1))
        fresh.rename(STATE)

    def report(self) -> None:
        """Put the lines into the measurements, in place of those of the last time."""
        text = MEASUREMENTS.read_text()
        before, _, rest = text.partition(HEADING)
        _, mark, after = rest.partition("\n## ")
        machine = f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}, Python"
        said = f"Commit {self.tree}, {datetime.now(UTC):%Y-%m-%d}; {machine} {platform.python_version()}."
        lines = "".join(f"- {self.lines[name]}\n" for name in self.wanted)
        MEASUREMENTS.write_text(f"{before}{HEADING}\n{said}\n\n{lines}{mark}{after}")


def tree() -> str:
    """Name the state of the tree: the commit, and a hash of what was changed since."""

    def git(*words: str) -> bytes:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, check=True).stdout

    commit, changed = git("rev-parse", "--short=12", "HEAD").decode().strip(), git("diff", "HEAD", "--", "*.py")
    return f"{commit} with changes {blake2b(changed, digest_size=4).hexdigest()}" if changed else commit


SOAK = pytest.StashKey[Soak]()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what passed before, and say so."""
    config.stash[SOAK] = soak = Soak()
    soak.wanted = [item.nodeid for item in items]
    done = [item for item in items if item.nodeid in soak.lines]
    if done:
        items[:] = [item for item in items if item.nodeid not in soak.lines]
        config.hook.pytest_deselected(items=done)
        print(f"{len(done)} proofs passed before for this state of the tree; remove {STATE} to repeat them")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Iterator[None]:
    """Print the line of a proof as soon as it passed, and remember it."""
    outcome: Any = yield
    report = outcome.get_result()
    if report.when != "call" or not report.passed:
        return
    proof = next((str(value) for name, value in report.user_properties if name == "proof"), item.name)
    database = next((f"{name}: " for name in ("sqlite", "postgresql") if name in item.name), "")
    line = f"{database}{proof}, {report.duration:.0f} s"
    item.config.stash[SOAK].passed(item.nodeid, line)
    reporter: Any = item.config.pluginmanager.get_plugin("terminalreporter")
    reporter.ensure_newline()
    reporter.write_line(line)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write the measurements once every proof has passed."""
    soak = session.config.stash.get(SOAK, None)
    picked = session.config.option.keyword or session.config.args_source is not pytest.Config.ArgsSource.TESTPATHS
    if soak is not None and exitstatus in (0, 5) and not picked and all(name in soak.lines for name in soak.wanted):
        soak.report()

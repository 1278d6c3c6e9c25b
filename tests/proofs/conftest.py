"""What the proofs may ask for; how the long ones say a line each, and go on where they stopped."""

import json
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest

from tests.proofs.scene import Chance, Say, Scene
from tests.servers.app import ROOT, App
from tests.servers.postfix import Postfix
from tests.servers.process import CACHE

STATE = CACHE / "soak.json"
HERE = Path(__file__).parent


@pytest.fixture
def scene(running_app: App, postfix: Postfix) -> Iterator[Scene]:
    """An office without a worker yet, whose mails go to ``postfix``."""
    made = Scene(running_app, postfix)
    yield made
    made.close()


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> Chance:
    """Random moments, the same in every run of this test; the seed is printed with a failure."""
    made = Chance(sum(request.node.name.encode()))
    print(f"seed {made.seed}")
    return made


@pytest.fixture(params=[pytest.param("cut"), pytest.param("whole", marks=pytest.mark.slow)])
def kills(request: pytest.FixtureRequest) -> int:
    """How often a proof kills: a small cut for every day, twenty times in ``make soak``."""
    if request.param == "whole":
        return 20
    return 1 if "postgresql" in request.node.name else 3


@pytest.fixture
def say(record_property: Callable[[str, object], None], chance: Chance) -> Say:
    """Say in one line what was proved."""

    def say(line: str) -> None:
        record_property("proof", f"{line} (seed {chance.seed})")
        print(line)

    return say


# --- the long proofs, one line each; those that passed for this state of the tree are not repeated


class Soak:
    """What is kept in ``.cache/soak.json``: the state of the tree, and the line of each proof that passed."""

    def __init__(self) -> None:
        self.tree = tree()
        kept = json.loads(STATE.read_text()) if STATE.exists() else {}
        self.lines: dict[str, str] = kept["lines"] if kept.get("tree") == self.tree else {}

    def passed(self, name: str, line: str) -> None:
        self.lines[name] = line
        STATE.parent.mkdir(exist_ok=True)
        fresh = STATE.with_suffix(".new")
        fresh.write_text(json.dumps({"tree": self.tree, "lines": self.lines}, indent=1))
        fresh.rename(STATE)


def tree() -> str:
    """Name the state of the tree: the commit, and a hash of what was changed since."""

    def git(*words: str) -> bytes:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, check=False).stdout

    changed = git("diff", "HEAD", "--", "*.py")
    return git("rev-parse", "HEAD").decode().strip() + (blake2b(changed, digest_size=4).hexdigest() if changed else "")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the long proofs that passed before, and say so."""
    if config.getoption("markexpr") != "slow":
        return
    config.stash[SOAK] = soak = Soak()
    done = [item for item in items if item.nodeid in soak.lines]
    items[:] = [item for item in items if item.nodeid not in soak.lines]
    if done:
        config.hook.pytest_deselected(items=done)
        print(f"{len(done)} proofs passed before for this state of the tree; remove {STATE} to repeat them")


SOAK = pytest.StashKey[Soak]()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Iterator[None]:
    """Print the line of a long proof as soon as it passed, and remember it."""
    outcome = yield
    report = outcome.get_result()
    soak = item.config.stash.get(SOAK, None)
    if soak is None or report.when != "call" or not report.passed:
        return
    said = "; ".join(str(value) for name, value in report.user_properties if name == "proof") or "passed"
    database = next((name for name in ("sqlite", "postgresql") if name in item.name), "")
    line = " ".join(filter(None, (f"{datetime.now(UTC):%Y-%m-%d}", database, f"{said}, {report.duration:.0f} s")))
    soak.passed(item.nodeid, line)
    reporter = item.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.ensure_newline()
        reporter.write_line(line)

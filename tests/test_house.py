"""The two commands: what starts CoquiMail keeps it running and ends it, and what installs it can be trusted."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.app import App
from tests.servers.process import HOST, Program, answers
from tests.waiting import wait_until
from webapp.security import LARGEST_POST

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = sorted(ROOT.glob("requirements*.txt"))


class Served:
    """``make run`` after its bootstrap: the supervisor with both children."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.program = Program.start(
            "serve", [sys.executable, "scripts/serve.py"], app.folder / "serve.log", app.env, cwd=ROOT
        )

    def wait_until_ready(self) -> None:
        wait_until(lambda: "CoquiMail is ready" in self.program.output() or not self.program.running())
        assert self.program.running(), self.program.output()

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Show what it said when a condition does not come true."""
        try:
            yield
        except AssertionError as error:
            raise AssertionError(f"{error}\n{family(self.program.pid)}\n{self.program.output()[-3000:]}") from None

    def children(self) -> dict[str, int]:
        """Return the process ids of both children by name."""
        pids = [int(pid) for pid in _read(f"/proc/{self.program.pid}/task/{self.program.pid}/children").split()]
        return {"worker" if "scheduler" in _read(f"/proc/{pid}/cmdline") else "web": pid for pid in pids}


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def alive(pid: int) -> bool:
    """Return whether a process still does anything."""
    state = re.search(r"^State:\s+(\w)", _read(f"/proc/{pid}/status"), re.M)
    return state is not None and state[1] not in "ZX"


def family(pid: int) -> list[int]:
    """Return a process and all that it started."""
    children = [int(child) for child in _read(f"/proc/{pid}/task/{pid}/children").split()]
    return [pid, *(other for child in children for other in family(child))]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    app = App(f"sqlite:///{tmp_path / 'office.db'}")
    served = Served(app)
    yield served
    everybody = family(served.program.pid)
    served.program.kill()
    for pid in everybody:
        if alive(pid):
            os.kill(pid, signal.SIGKILL)
    app.close()


def test_first_start_to_orderly_end(served: Served) -> None:
    served.wait_until_ready()
    said = served.program.output()
    assert re.search(r"https?://\S+/first-start/\S+", said.split("CoquiMail is ready")[0]), (
        "the link to begin with comes first"
    )
    assert served.app.answers()

    first = served.children()
    assert set(first) == {"web", "worker"}
    os.kill(first["worker"], signal.SIGKILL)
    wait_until(lambda: served.children().get("worker") not in (None, first["worker"]))
    assert "worker ended unexpectedly (killed by SIGKILL)" in served.program.output()
    assert served.children()["web"] == first["web"]

    everybody = family(served.program.pid)
    assert served.program.terminate(10) == 0, served.program.output()
    assert not [pid for pid in everybody if alive(pid)]
    assert not answers(served.app.port)


def test_nobody_outlives_a_supervisor_that_is_killed(served: Served) -> None:
    served.wait_until_ready()
    with served.explained():
        wait_until(lambda: len(family(served.program.pid)) >= 5)  # itself, the worker, gunicorn and its two
    everybody = family(served.program.pid)
    os.kill(served.program.pid, signal.SIGKILL)
    wait_until(lambda: not [pid for pid in everybody if alive(pid)])


@pytest.mark.parametrize("unit", sorted((ROOT / "docs" / "systemd").glob("*.service")), ids=lambda path: path.stem)
def test_a_unit_may_do_no_more_than_it_needs(unit: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed (systemd)")
    asked = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=30", str(unit)]
    done = subprocess.run(asked, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-200:]  # 3.0 of 10 or better
    words = unit.read_text()
    assert "UMask=0077" in words
    assert "TimeoutStartSec=infinity" in words or "ExecStartPre" not in words, "a migration takes as long as it takes"


def test_a_proxy_lets_pass_what_an_office_takes_and_writes_no_secret_down() -> None:
    conf = (ROOT / "docs/systemd/nginx.conf").read_text()
    found = re.search(r"client_max_body_size (\d+)m;", conf)
    assert found is not None and int(found[1]) * 2**20 > LARGEST_POST
    assert "access_log off;" in conf.partition("location /inbound/ {")[2].partition("}")[0]


def test_a_port_that_is_taken_is_said_at_once(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = str(taken.getsockname()[1])
        env = os.environ | {"PORT": port, "COQUI_DATA": str(tmp_path)}
        done = subprocess.run([sys.executable, "scripts/serve.py"], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in done.stdout
    assert "PORT=" in done.stdout


# --- what is installed


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.name)
def test_every_package_is_pinned_by_hash_and_from_nowhere_in_particular(path: Path) -> None:
    text = path.read_text()
    packages = re.findall(r"^[A-Za-z0-9][^\s;]*.*?(?=^\S|\Z)", text, re.M | re.S)
    assert packages
    assert not [package for package in packages if "==" not in package or "--hash=sha256:" not in package]
    assert not re.search(r"https?://|file:|--(find-links|index-url|extra-index-url|trusted-host)", text)


@pytest.mark.parametrize("name", [path.stem for path in REQUIREMENTS])
def test_the_pins_are_those_that_were_asked_for(name: str) -> None:
    asked = [line for line in (ROOT / f"{name}.in").read_text().splitlines() if re.match(r"[a-z]", line)]
    pinned = (ROOT / f"{name}.txt").read_text()
    plain = [re.sub(r"\[.*?\]", "", line).replace("flufl.", "flufl-") for line in asked]
    assert asked
    assert not [line for line in plain if not re.search(rf"^{re.escape(line)}\b", pinned, re.M)]


@pytest.mark.parametrize("script", [
    "scripts/bootstrap.sh", "scripts/unpack-postfix.sh", "scripts/unpack-mail-programs.sh",
    "docs/systemd/coquimail", "docs/systemd/coquimail-receive",
])  # fmt: skip
def test_shell_scripts_are_plain_sh(script: str) -> None:
    subprocess.run(["sh", "-n", script], cwd=ROOT, check=True)


def test_ci_runs_what_a_person_runs() -> None:
    assert "make test" in (ROOT / ".ci" / "run").read_text()

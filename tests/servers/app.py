"""CoquiMail itself as it runs in an office: the pages by gunicorn and the worker, each a process of its own."""

import os
import shutil
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from tests.servers.launcher import launcher
from tests.servers.process import HOST, Program, free_port, remove_folder, temporary_folder
from tests.waiting import wait_until

# What of this machine's environment the programs need; nothing that could point them at somebody's real server.
KEPT = ("PATH", "HOME", "TMPDIR", "VIRTUAL_ENV", "LANG")
OFFICE_URL = "http://office.example"  # where links in emails lead: to no machine at all


class App:
    """One office. ``start()`` brings up both processes; each can be ended, killed and started again on its own."""

    def __init__(self, database_url: str, authority: Path | None = None, env: Mapping[str, str] | None = None) -> None:
        self.folder = temporary_folder("app")
        self.data = self.folder / "data"
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self.clock = self.folder / "clock"
        self.env = {name: os.environ[name] for name in KEPT if name in os.environ} | {
            "LC_ALL": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "COQUI_TESTING": "1",
            "COQUI_DATA": str(self.data),
            "COQUI_CLOCK_FILE": str(self.clock),
            "COQUI_URL": OFFICE_URL,
            "DATABASE_URL": database_url,
            "PORT": str(self.port),
            **({"SSL_CERT_FILE": str(authority)} if authority else {}),
            **(env or {}),
        }
        self.web: Program | None = None
        self.worker: Program | None = None
        self._more: list[Program] = []

    def copy(self, database_url: str = "") -> "App":
        """Return a copy of this office, which may run: its data folder, and its SQLite file unless there is a URL."""
        made = App(database_url or f"sqlite:///{self.folder / 'copy.db'}")
        shutil.copytree(self.data, made.data, ignore=shutil.ignore_patterns("wake"))
        if not database_url:
            source = sqlite3.connect(self.env["DATABASE_URL"].removeprefix("sqlite:///"))
            with closing(source), closing(sqlite3.connect(self.folder / "copy.db")) as there:
                source.backup(there)
        return made

    def flask(self, *words: str, input: str = "") -> None:
        """Run a command of ``flask --app wsgi``; an AssertionError shows why it failed."""
        run_flask(words, self.env, input)

    def move_clock(self, seconds: float) -> None:
        """Move the business time of all processes by so many seconds from the real time."""
        fresh = self.clock.with_suffix(".new")
        fresh.write_text(str(seconds))
        fresh.rename(self.clock)

    def start(self) -> None:
        """Start pages and worker on a database that has its tables; returns when the pages answer."""
        self.start_web(wait=False)
        self.start_worker()
        self.wait_for_web()

    def start_web(self, *, wait: bool = True) -> None:
        """Start the pages."""
        self.web = self._launch("web", "web.log", "gunicorn", "wsgi:app")
        if wait:
            self.wait_for_web()

    def wait_for_web(self) -> None:
        """Return when the pages answer."""
        assert self.web is not None
        web = self.web
        wait_until(lambda: self.answers() or not web.running())
        assert web.running(), f"the pages ended:\n{web.output()[-3000:]}"

    def answers(self) -> bool:
        """Return whether a page can be had now."""
        try:
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{self.url}/healthz", timeout=5).close()
        except (OSError, urllib.error.URLError):
            return False
        return True

    def start_worker(self) -> Program:
        """Start the worker; calling it again starts another one beside the first."""
        worker = self._launch("worker", f"worker{len(self._more)}.log", "scheduler")
        self._more.append(worker)
        self.worker = worker
        return worker

    def _launch(self, name: str, log: str, *words: str) -> Program:
        return Program(name, launcher().start(words, self.folder / log, self.env), self.folder / log)

    def kill_worker(self) -> None:
        """``kill -9`` for the worker that was started last."""
        assert self.worker is not None
        self.worker.kill()

    def kill_web(self) -> None:
        """``kill -9`` for gunicorn and its children."""
        assert self.web is not None
        self.web.kill()

    def stop(self) -> None:
        """End all of it as SIGTERM does; an AssertionError when something of it goes on."""
        running = [program for program in (self.web, *self._more) if program is not None and program.running()]
        for program in running:
            program.process.terminate()
        for program in running:
            program.terminate()

    def log(self) -> str:
        """Return the last words of all processes, for a failing test."""
        return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')[-4000:]}" for log in self._logs())

    def _logs(self) -> list[Path]:
        return sorted(self.folder.glob("*.log"))

    def close(self) -> None:
        """Kill what still runs and remove the data."""
        for program in (self.web, *self._more):
            if program is not None:
                program.kill()
        remove_folder(self.folder)


def run_flask(words: tuple[str, ...], env: Mapping[str, str], input: str = "") -> None:
    """Run a command of ``flask --app wsgi``; an AssertionError shows why it failed."""
    folder = temporary_folder("flask")
    reads, log = folder / "input", folder / "output"
    reads.write_text(input)
    command = Program("flask", launcher().start(("flask", "--app", "wsgi", *words), log, env, reads), log)
    try:
        status = command.process.wait(120)
        assert status == 0, f"flask {' '.join(words)} ended with {status}:\n{command.output()}"
    finally:
        if command.running():
            command.kill()
        remove_folder(folder)

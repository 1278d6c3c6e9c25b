"""A real PostgreSQL cluster in a temporary folder; a fresh database for a test is a copy of a template."""

import itertools
import os
import pwd
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
from psycopg import sql

from tests.servers.process import IS_ROOT, PartMissing, Program, free_port, remove_folder, temporary_folder
from tests.waiting import wait_until

# Nothing here has to survive a power cut, so nothing waits for the disk. Limits for two cores that others use too.
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "autovacuum_naptime": "10s",
    "timezone": "UTC",
    "log_min_messages": "warning",
}


class Postgres:
    """One cluster on the loopback address; ``create_database`` gives a URL for DATABASE_URL."""

    def __init__(self) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
        if not found:
            raise PartMissing("PostgreSQL is not installed (postgresql)")
        self.programs = found[-1].parent
        self.user = _account()
        self.folder = temporary_folder("postgres")
        self.port = free_port()
        self._serial = itertools.count(1)
        self._templates: dict[str, str] = {}
        data = self.folder / "data"
        data.mkdir()
        if self.user:
            shutil.chown(data, self.user)
            shutil.chown(self.folder, self.user)
        data.chmod(0o700)
        options = ["--username=coqui", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        # subprocess.run changes the account itself: nothing else of this process must leave root.
        done = subprocess.run(
            [self.programs / "initdb", "-D", data, *options],
            user=self.user,
            group=self._group,
            extra_groups=[] if self.user else None,
            cwd=self.folder,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        with (data / "postgresql.conf").open("a") as settings:
            settings.writelines(f"{name} = '{value}'\n" for name, value in SETTINGS.items())
        self.start()

    def start(self) -> None:
        """Start the server; returns when it answers a query."""
        command = [self.programs / "postgres", "-D", self.folder / "data", "-p", str(self.port), "-h", "127.0.0.1"]
        command += ["-k", self.folder]
        self.program = Program("postgres", command, self.folder / "output", user=self.user, cwd=self.folder)
        wait_until(lambda: self._answers() or not self.program.running(), 30)
        assert self.program.running(), self.program.output()

    def stop(self) -> None:
        """End the server at once, as a database that is away; ``start`` brings it back."""
        self.program.kill()

    def close(self) -> None:
        """End the server and remove its files."""
        self.program.kill()
        remove_folder(self.folder)

    def create_database(self, template: str | None = None) -> str:
        """Return the URL of a new database, empty or a copy of the one that ``template`` made."""
        name = f"test{next(self._serial)}"
        with self._connect() as connection:
            source = sql.Identifier(self._templates[template]) if template else sql.SQL("template0")
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), source))
        return self.url(name)

    def template(self, name: str, fill: Callable[[str], None]) -> str:
        """Return ``name``, a template for ``create_database``; ``fill(url)`` makes it when it is first asked for."""
        if name not in self._templates:
            url = self.create_database()
            fill(url)
            self._templates[name] = url.rpartition("/")[2]
            self._disconnect(self._templates[name])
        return name

    def drop_database(self, url: str) -> None:
        """Remove a database, whoever is still connected to it."""
        name = sql.Identifier(url.rpartition("/")[2])
        with self._connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))

    def url(self, name: str) -> str:
        """Return the SQLAlchemy URL of a database."""
        return f"postgresql+psycopg://coqui@127.0.0.1:{self.port}/{name}"

    @property
    def _group(self) -> int | None:
        return pwd.getpwnam(self.user).pw_gid if self.user else None

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(host="127.0.0.1", port=self.port, user="coqui", dbname="postgres", autocommit=True)

    def _disconnect(self, name: str) -> None:
        with self._connect() as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True


def _account() -> str | None:
    """Return the account that PostgreSQL runs under: it refuses root."""
    if not IS_ROOT:
        return None
    for name in ("postgres", "nobody"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    raise PartMissing(f"PostgreSQL refuses to run as {os.environ.get('USER', 'root')}, and there is no account for it")

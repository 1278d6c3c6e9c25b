"""A real PostgreSQL cluster in a temporary folder; a fresh database for a test is a copy of a template.

Copying takes longer than most tests, so a database that was given back is brought back to its first rows instead.
"""

import itertools
import os
import pwd
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
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


MOST_ROWS = 5_000  # a database in which a test left more rows is not worth cleaning


@dataclass
class Template:
    """A database that others are copied from: its tables with their first rows, and the databases given back."""

    database: str
    rows: dict[str, bytes]
    sequences: dict[str, int]
    used: list[str] = field(default_factory=list)


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
        self._templates: dict[str, Template] = {}
        self._made_from: dict[str, Template] = {}
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
        self.program = Program.start("postgres", command, self.folder / "output", user=self.user, cwd=self.folder)
        wait_until(lambda: self._answers() or not self.program.running())
        assert self.program.running(), self.program.output()

    def stop(self) -> None:
        """End the server at once, as a database that is away; ``start`` brings it back, with all that was committed."""
        with self._connect() as connection:
            connection.execute("CHECKPOINT")  # the quick settings of the tests keep the last commits in memory
        self.program.kill()

    def close(self) -> None:
        """End the server and remove its files."""
        self.program.kill()
        remove_folder(self.folder)

    def create_database(self, template: str | None = None) -> str:
        """Return the URL of a new database, empty or as the one that ``template`` made."""
        made_from = self._templates[template] if template else None
        while made_from is not None and made_from.used:
            name = made_from.used.pop()
            if self._renewed(name, made_from):
                return self.url(name)
        name = f"test{next(self._serial)}"
        with self._connect() as connection:
            source = sql.Identifier(made_from.database if made_from else "template0")
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), source))
        if made_from is not None:
            self._made_from[name] = made_from
        return self.url(name)

    def copy_database(self, url: str) -> str:
        """Return the URL of a copy of a database, as somebody makes one for a trial."""
        name = f"test{next(self._serial)}"
        self._disconnect(_name(url))
        with self._connect() as connection:
            copy = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
            connection.execute(copy.format(sql.Identifier(name), sql.Identifier(_name(url))))
        return self.url(name)

    def template(self, name: str, fill: Callable[[str], None]) -> str:
        """Return ``name``, a template for ``create_database``; ``fill(url)`` makes it when it is first asked for."""
        if name not in self._templates:
            url = self.create_database()
            fill(url)
            self._templates[name] = self._read_template(_name(url))
        return name

    def renew(self, url: str) -> None:
        """Bring a database that was made from a template back to its first rows, whoever is connected to it."""
        assert self._renewed(_name(url), self._made_from[_name(url)], most_rows=None)

    def drop_database(self, url: str) -> None:
        """Take a database back, whoever is still connected to it."""
        name = _name(url)
        if name in self._made_from:
            self._made_from[name].used.append(name)
        else:
            self._drop(name)

    def _read_template(self, database: str) -> Template:
        found = Template(database, {}, {})
        with self._connect(database) as connection:
            tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
            for (table,) in tables:
                with connection.cursor().copy(sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(table))) as copy:
                    found.rows[table] = b"".join(copy)
            sequences = connection.execute("SELECT sequencename, coalesce(last_value, 0) FROM pg_sequences")
            found.sequences = dict(sequences.fetchall())
        self._disconnect(database)
        return found

    def _renewed(self, name: str, template: Template, most_rows: int | None = MOST_ROWS) -> bool:
        """Bring a database back to the first rows of its template; False, and it is gone, if that is too much work."""
        self._disconnect(name)
        with self._connect(name) as connection:
            any_row = " UNION ALL ".join(f"(SELECT '{table}' FROM \"{table}\" LIMIT 1)" for table in template.rows)
            filled = [table for (table,) in connection.execute(any_row).fetchall()]
            with connection.transaction():
                connection.execute("SET LOCAL session_replication_role = replica")  # any order will do
                gone = sum(connection.execute(f'DELETE FROM "{table}"').rowcount for table in filled)
                for table in filter(template.rows.get, template.rows):
                    with connection.cursor().copy(f'COPY "{table}" FROM STDIN') as copy:
                        copy.write(template.rows[table])
                set_back = ", ".join(
                    f"setval('\"{name}\"', {max(last, 1)}, {last > 0})" for name, last in template.sequences.items()
                )
                connection.execute(f"SELECT {set_back}")
        if most_rows is not None and gone > most_rows:
            self._drop(name)
            return False
        return True

    def _drop(self, name: str) -> None:
        self._made_from.pop(name, None)
        with self._connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def url(self, name: str) -> str:
        """Return the SQLAlchemy URL of a database."""
        return f"postgresql+psycopg://coqui@127.0.0.1:{self.port}/{name}"

    @property
    def _group(self) -> int | None:
        return pwd.getpwnam(self.user).pw_gid if self.user else None

    def _connect(self, database: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(host="127.0.0.1", port=self.port, user="coqui", dbname=database, autocommit=True)

    def _disconnect(self, database: str) -> None:
        """End all connections to a database and wait until they are gone."""
        others = "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
        with self._connect() as connection:
            wait_until(lambda: not connection.execute(others, (database,)).fetchall(), every=0.01)

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True


def _name(url: str) -> str:
    return url.rpartition("/")[2]


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

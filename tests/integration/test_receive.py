"""Mail through a pipe: 0 once it is stored, 75 in every other case, and never a traceback."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import event, select
from sqlalchemy.exc import OperationalError

from mail.incoming import intake
from mail.queue.lease import WorkerLease
from mail.settings.clock import now
from models import Blob, ReceivedMail, Worker, database_clock, db
from models.store import Packed, pack
from tests.servers.app import KEPT
from tests.servers.launcher import ROOT
from webapp.receive import SEEN_WITHIN, TRY_AGAIN

MAIL = b"Received: from a by b id 7; Mon, 23 Nov 2026 09:00:00 +0100\nFrom: ann@home.test\nSubject: Desks\n\nHello\n"


def invoke(
    pages: Flask, *words: str, input: bytes = MAIL, env: Mapping[str, str] | None = None, works: bool = True
) -> tuple[int, str]:
    """Run the command; a worker is at work."""
    if works:
        with pages.app_context():
            at_work()
    done = pages.test_cli_runner().invoke(args=["receive", *words], input=input, env={"SENDER": None} | dict(env or {}))
    assert "Traceback" not in done.output
    return done.exit_code, done.output


def at_work(seen: float = 3600.0) -> None:
    """Let a worker be there for as long as a test takes, whatever the machine does besides."""
    row = db.session.get(Worker, WorkerLease.register(now()).id)
    assert row is not None
    row.seen_at = database_clock() + seen
    db.session.commit()


def stored(pages: Flask) -> list[tuple[str, str, bytes]]:
    with pages.app_context():
        rows = db.session.scalars(select(ReceivedMail).order_by(ReceivedMail.id)).all()
        return [(row.source, row.state, Blob.read(row.blob_id)) for row in rows if row.blob_id]


def test_a_mail_with_its_envelope_is_stored_once(pages: Flask) -> None:
    words = "--sender", "ann@home.test", "--recipient", "sales@office.test"
    envelope = b"Return-Path: <ann@home.test>\nDelivered-To: sales@office.test\n"
    for _ in range(2):  # the mail server did not hear the end the first time
        assert invoke(pages, *words) == (0, "")
    assert stored(pages) == [("pipe", "received", envelope + MAIL)]


def test_the_envelope_may_be_in_the_environment(pages: Flask) -> None:
    assert invoke(pages, env={"SENDER": "", "RECIPIENT": "bounce@office.test"})[0] == 0
    assert stored(pages)[0][2] == b"Return-Path: <>\nDelivered-To: bounce@office.test\n" + MAIL
    assert invoke(pages)[0] == 0
    assert stored(pages)[1][2] == MAIL


@pytest.mark.parametrize(
    ("words", "input"), [((), b""), ((), b" \n\n"), (("--what",), MAIL), (("sales@office.test",), MAIL)]
)
def test_what_is_not_stored_comes_again(pages: Flask, words: tuple[str, ...], input: bytes) -> None:
    code, said = invoke(pages, *words, input=input)
    assert code == TRY_AGAIN and said.startswith("The email is not stored; try again later. ")
    assert stored(pages) == []


def test_nothing_is_stored_where_no_worker_would_find_it(pages: Flask) -> None:
    with pages.app_context():
        at_work(seen=-SEEN_WITHIN)
    code, said = invoke(pages, works=False)
    assert code == TRY_AGAIN and "no worker is at work on this database" in said
    assert stored(pages) == []


SETTINGS = r"""A=x&y z
# B=1
 B = 'it''s $1 \ "'
;C=1
what
D="1 \$ \n"
E=a'b\\c\
d
F=
G=`id`$(id)"""


def test_settings_are_read_as_systemd_reads_them_and_not_run(tmp_path: Path) -> None:
    (tmp_path / "environment").write_text(SETTINGS)
    program = sys.executable, "-I", str(ROOT / "scripts/with_settings.py"), str(tmp_path / "environment"), "env"
    said = subprocess.run(program, env={"PATH": os.defpath}, capture_output=True, text=True, check=True).stdout
    assert dict(line.split("=", 1) for line in said.splitlines() if line[1] == "=") == {
        "A": "x&y z", "B": 'its $1 \\ "', "D": "1 $ \\n", "E": "a'b\\cd", "F": "", "G": "`id`$(id)",
    }  # fmt: skip


def test_nobody_waits_while_a_mail_is_packed(pages: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large one takes a third of a second, and SQLite has one writer."""
    began: list[bool] = []

    def packed(content: bytes) -> Packed:
        began.append(db.session().in_transaction())
        return pack(content)

    monkeypatch.setattr(intake, "pack", packed)
    assert invoke(pages, "--recipient", "sales@office.test")[0] == 0
    assert began == [False]


def test_a_database_that_is_away_asks_for_it_again(pages: Flask) -> None:
    def away(*_: object) -> None:
        raise OperationalError("INSERT INTO received_mail", {"subject": "Desks"}, OSError("gone"))

    with pages.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", away)
    try:
        code, said = invoke(pages, works=False)
    finally:
        event.remove(engine, "before_cursor_execute", away)
    assert code == TRY_AGAIN and "Desks" not in said
    assert stored(pages) == []


def test_the_program_for_mail_servers_says_so_without_its_settings(tmp_path: Path) -> None:
    assert run_program(tmp_path, ROOT) == TRY_AGAIN
    (tmp_path / "environment").write_text("")
    assert run_program(tmp_path, tmp_path / "elsewhere") == TRY_AGAIN


@pytest.mark.heavy
def test_a_command_has_the_settings_of_the_services_and_no_others(tmp_path: Path) -> None:
    """What an administrator exported for something else must not lead it to another database."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").symlink_to(sys.executable)
    (tmp_path / ".venv/bin/flask").write_text('#!/bin/sh\nenv; for word in "$@"; do echo "word=$word"; done\n')
    (tmp_path / ".venv/bin/flask").chmod(0o700)
    (tmp_path / "environment").write_text("COQUI_DATA=/srv/office\n")
    program = (ROOT / "docs/systemd/coquimail").read_text().replace("/etc/coquimail.env", str(tmp_path / "environment"))
    program = program.replace("setpriv --reuid=coqui --regid=coqui --clear-groups ", "")
    (tmp_path / "coquimail").write_text(program.replace("/opt/coquimail", str(tmp_path)))
    env = {"PATH": os.environ["PATH"], "DATABASE_URL": "sqlite:////tmp/trial.db", "COQUI_DATA": "/tmp/trial"}
    done = subprocess.run(["sh", tmp_path / "coquimail", "create-user", "a b"], env=env, capture_output=True, text=True)
    said = done.stdout.splitlines()
    assert "COQUI_DATA=/srv/office" in said and not any(line.startswith("DATABASE_URL") for line in said), done.stderr
    assert said[-4:] == ["word=--app", "word=wsgi", "word=create-user", "word=a b"]


@pytest.mark.heavy
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_the_program_for_mail_servers_stores_a_mail(tmp_path: Path, app: Flask, database: str) -> None:
    with app.app_context():
        at_work()
    (tmp_path / "environment").write_text(f"DATABASE_URL={database}\nCOQUI_DATA={tmp_path / 'data'}\n")
    assert run_program(tmp_path, ROOT) == 0
    with sqlite3.connect(database.removeprefix("sqlite:///")) as connection:
        assert connection.execute("SELECT source, state FROM received_mail").fetchall() == [("pipe", "received")]
    (tmp_path / "environment").write_text("DATABASE_URL=what://ann:secret@is/this\n")
    assert run_program(tmp_path, ROOT) == TRY_AGAIN


def run_program(folder: Path, office: Path) -> int:
    """Run docs/systemd/coquimail-receive with the paths of a test and return its exit status."""
    program = (ROOT / "docs/systemd/coquimail-receive").read_text()
    program = program.replace("/var/lib/coquimail", str(folder)).replace("/opt/coquimail", str(office))
    path = folder / "coquimail-receive"
    path.write_text(program)
    env = {name: os.environ[name] for name in KEPT if name in os.environ}
    done = subprocess.run(["sh", path], env=env, input=MAIL, capture_output=True)
    said = done.stderr.decode()
    assert "Traceback" not in said and "secret" not in said, said
    assert bool(said) == bool(done.returncode), "whoever waits is told why"
    return done.returncode

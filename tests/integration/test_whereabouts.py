"""How an office finds out that it was copied, moved or restored, and what it never takes for that."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError

from mail.decide.installation import TAKES, TOLERATED
from mail.maintenance import rehearsal as flow
from mail.outgoing import enqueue
from mail.outgoing.enqueue import OutgoingDraft, To
from mail.queue import lease
from mail.settings import config, installation, office, parameters, rehearsal
from mail.settings.clock import now
from models import db, whereabouts
from scheduler import create_worker_app
from scheduler.identity import InstallationWatch, WorkerIdentity

MACHINE = "0123456789abcdef0123456789abcdef"


def seen() -> str:
    """What a worker's next look finds."""
    db.session.rollback()
    office.forget()
    reason = installation.moved()
    return reason["values"].get("sign", reason)["code"] if reason else ""


def count(marks: int) -> None:
    for _ in range(marks):
        installation.count_on(now())


def go_back_to(identity: str) -> None:
    """What a restored backup does to what the database knows of its place."""
    parameters.store(installation.KEY, identity, now())
    db.session.commit()


def test_an_older_database_was_restored_until_somebody_says_that_it_is_at_home(app: Flask) -> None:
    with app.app_context():
        count(1)
        backup = parameters.stored(installation.KEY)
        count(TOLERATED[db.engine.dialect.name])
        go_back_to(backup)
        assert seen() == "", "a standby that took over lacks the last minutes"
        count(1)
        go_back_to(backup)
        assert seen() == "rehearsal_restored"
        installation.settle(now())
        assert seen() == ""
        count(2)
        go_back_to(backup)
        assert seen() == "rehearsal_restored", "the folder did not forget the last home"


def test_a_backup_of_a_version_that_knew_no_home_was_restored_if_it_could_send_twice(app: Flask) -> None:
    with app.app_context():
        assert seen() == ""
        count(1)
        go_back_to("")
        assert seen() == "", "nothing was ever written: a new database"
        enqueue.enqueue(OutgoingDraft("test", "Ann <ann@x.test>", "Hi", "<p>Hi</p>"), [To("a@x.test")], now())
        db.session.commit()
        assert seen() == "rehearsal_restored"
        installation.settle(now())
        assert seen() == ""


def test_what_one_worker_settled_holds_for_one_with_another_folder(app: Flask, database: str, tmp_path: Path) -> None:
    env = {"COQUI_DATA": str(tmp_path / "other"), "DATABASE_URL": database, "COQUI_URL": "http://office.example"}
    other = create_worker_app(config.read(env))
    with app.app_context():
        count(1)
        backup = parameters.stored(installation.KEY)
        count(TOLERATED["postgresql"] + 3)
        go_back_to(backup)
        flow.begin_where_copied(now())
        assert rehearsal.is_on()
    with other.app_context():
        assert seen() == "", "its folder knows nothing"
        installation.settle(now())
        db.engine.dispose()
    with app.app_context():
        assert seen() == ""


def test_a_worker_looks_often_and_counts_once_a_minute(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    watch, began = InstallationWatch(WorkerIdentity()), lease.elapsed()
    monkeypatch.setattr(watch._identity, "current", lambda: None)
    with app.app_context():
        counted = []
        for seconds in (0, 61, 90):
            monkeypatch.setattr(lease, "elapsed", lambda seconds=seconds: began + seconds)
            watch.work()
            counted.append(json.loads(parameters.stored(installation.KEY) or "{}").get("marks", 0))
        assert counted == [0, 1, 1]
        go_back_to(json.dumps({"kind": "another", "marks": 1}))
        watch.work()
        assert rehearsal.is_on()


# --- SQLite: files


def put_back(how: str, backup: Path, data: Path) -> None:
    if how == "over it":
        for file in backup.iterdir():
            if file.is_file():
                (data / file.name).write_bytes(file.read_bytes())
        return
    shutil.rmtree(data)
    if how == "another folder moved there":
        shutil.copytree(backup, data.with_name("other"))
        data.with_name("other").rename(data)
    else:
        shutil.copytree(backup, data)


@pytest.mark.parametrize("how", ["over it", "in its place", "another folder moved there", "only its folder, over it"])
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_folder_that_is_restored_with_its_database_is_noticed(database: str, tmp_path: Path, how: str) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    data.mkdir()
    shutil.copy(tmp_path / "office.db", data / "office.db")
    app = create_worker_app(config.read({"COQUI_DATA": str(data), "DATABASE_URL": f"sqlite:///{data / 'office.db'}"}))
    with app.app_context():
        count(1)
        db.session.remove()
        db.engine.dispose()
        shutil.copytree(data, backup)
        count(TAKES + 1)
        for file in data.iterdir():
            if file.is_file():
                file.chmod(0o640)  # what looks after a folder changes no office
        assert seen() == ""
        db.session.remove()
        db.engine.dispose()
        if how == "only its folder, over it":
            (backup / "office.db").unlink()
            put_back("over it", backup, data)
            assert seen() == ""
        else:
            put_back(how, backup, data)
            assert seen() == ("rehearsal_restored_folder" if how == "over it" else "rehearsal_sign_file")
        installation.settle(now())
        assert seen() == ""
        db.session.remove()
        db.engine.dispose()


def test_a_file_is_known_by_when_it_was_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "office.db"
    file.write_bytes(b"x")
    made = whereabouts.made_at(file)
    assert made
    with file.open() as opened:
        assert whereabouts.made_at(opened.fileno()) == made
    file.chmod(0o600)
    file.write_bytes(b"xy")
    os.utime(file, (1, 1))
    moved = file.rename(tmp_path / "moved.db")
    assert whereabouts.made_at(moved) == made
    number = moved.stat().st_ino
    shutil.copy2(moved, file)
    assert whereabouts.made_at(file) not in ("", made) and file.stat().st_ino != number
    assert whereabouts.made_at(tmp_path / "none") == whereabouts.made_at(Path("/proc/version")) == ""
    monkeypatch.setattr(whereabouts, "LOCAL", ())
    assert whereabouts.made_at(file) == "", "a network share may make it up anew at each change"


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_where_no_file_notes_when_it_was_made_its_number_alone_is_no_reason(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    with app.app_context():
        count(1)
        monkeypatch.setattr(whereabouts, "LOCAL", ())
        assert seen() == "", "the folder is on a share now, say"
        count(1)
        monkeypatch.setattr(whereabouts, "of_database", lambda: {"kind": "sqlite", "path": "/x.db", "number": "7"})
        installation.settle(now())
        monkeypatch.setattr(whereabouts, "of_database", lambda: {"kind": "sqlite", "path": "/x.db", "number": "8"})
        assert seen() == ""
        monkeypatch.setattr(whereabouts, "of_database", lambda: {"kind": "sqlite", "path": "/y.db", "number": "8"})
        assert seen() == "rehearsal_sign_file"


def test_a_file_that_stands_where_the_database_was_is_its_original(tmp_path: Path) -> None:
    ours, original, link = (str(tmp_path / name) for name in ("ours.db", "original.db", "link.db"))
    Path(ours).touch()
    Path(link).symlink_to(ours)
    stands = installation._stands
    assert not any(stands(path, ours) for path in ("", ours, original, link, "/proc/1/root/x/office.db"))
    Path(original).touch()
    assert stands(original, ours)


@pytest.mark.parametrize(
    ("number", "root", "mark", "expected"),
    [
        (MACHINE, "ext4", "", MACHINE),
        ("uninitialized", "ext4", "", ""),
        ("", "ext4", "", ""),
        (MACHINE, "overlay", "", ""),
        (MACHINE, "ext4", "dockerenv", ""),
        (MACHINE, "none", "", MACHINE),
    ],
)
def test_only_a_machine_whose_number_lasts_has_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: str, root: str, mark: str, expected: str
) -> None:
    (tmp_path / "machine-id").write_text(f"{number}\n")
    if root != "none":
        mounts = f"27 1 254:0 / / rw,relatime shared:1 - {root} /dev/vda rw\n28 27 0:24 / /run rw - tmpfs tmpfs rw\n"
        (tmp_path / "mounts").write_text(mounts)
    if mark:
        (tmp_path / mark).touch()
    monkeypatch.setattr(whereabouts, "MACHINE_ID", tmp_path / "machine-id")
    monkeypatch.setattr(whereabouts, "MOUNTS", tmp_path / "mounts")
    monkeypatch.setattr(whereabouts, "CONTAINER", (tmp_path / "dockerenv",))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert whereabouts.machine() == expected


# --- PostgreSQL


@contextmanager
def asked_instead(before: str, words: str) -> Iterator[None]:
    """Change what is asked for the number of the cluster."""

    def change(_connection: Any, cursor: Any, statement: str, values: Any, *_: Any) -> tuple[str, Any]:
        if "pg_control_system" in statement:
            cursor.execute(before)
            statement = statement.replace("pg_control_system()", words)
        return statement, values

    event.listen(db.engine, "before_cursor_execute", change, retval=True)
    try:
        yield
    finally:
        event.remove(db.engine, "before_cursor_execute", change)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_server_that_does_not_answer_is_no_other_server(app: Flask) -> None:
    with app.app_context():
        count(1)
        slow = asked_instead("SET LOCAL statement_timeout = 20", "pg_control_system(), pg_sleep(5)")
        with slow, pytest.raises(OperationalError):
            flow.begin_where_copied(now())
        db.session.rollback()
        assert not rehearsal.is_on()
        with asked_instead("SELECT 1", "pg_no_such_function()"):
            assert installation.here().cluster == "", "a provider that does not tell"
            assert seen() == ""
            count(1)
        assert seen() == "" and installation.here().cluster


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_who_may_not_ask_for_the_number_of_the_cluster_does_not(app: Flask) -> None:
    with app.app_context():
        assert installation.here().cluster
        for statement in ("REVOKE ALL ON FUNCTION pg_control_system() FROM PUBLIC", "SET LOCAL ROLE pg_read_all_stats"):
            db.session.execute(text(statement))
        errors: list[object] = []
        event.listen(db.engine, "handle_error", errors.append)
        here = installation.here()
        assert (here.cluster, bool(here.oid), errors) == ("", True, [])


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_tables_that_were_restored_are_others(app: Flask) -> None:
    with app.app_context():
        count(1)
        for statement in (
            "ALTER TABLE system_parameter RENAME TO before",
            "CREATE TABLE system_parameter (LIKE before INCLUDING ALL)",
            "INSERT INTO system_parameter SELECT * FROM before",
        ):
            db.session.execute(text(statement))
        db.session.commit()
        assert seen() == "rehearsal_sign_tables"
        installation.settle(now())
        assert seen() == ""


# --- both


@pytest.mark.parametrize(
    ("url", "address"), [("https://mail.acme.com/x", "mail.acme.com"), ("http://localhost:8000", ""), ("", "")]
)
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_an_address_that_means_this_machine_says_nothing(database: str, tmp_path: Path, url: str, address: str) -> None:
    made = create_worker_app(config.read({"COQUI_DATA": str(tmp_path), "DATABASE_URL": database, "COQUI_URL": url}))
    with made.app_context():
        assert installation.here().address == address
        db.engine.dispose()

"""The journal tells, after any end of a process, which mails went out, which are in doubt, and which never began."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mail.errors import JournalFailed
from mail.queue.journal import Journal, read_folder, remove_folder
from tests.waiting import wait_until


def journal(folder: Path, connection: str = "c1", worker: int = 7) -> Journal:
    return Journal.open(folder, worker, connection)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", {}),
        (b"-l1\n", {"l1": "begun"}),
        (b"-l1\n+l1\n", {"l1": "ok"}),
        (b"-l1\n!l1\n", {}),
        (b"-l1\n!l1\n-l1\n", {"l1": "begun"}),
        (b"-l1\n!l1\n-l1\n+l1\n", {"l1": "ok"}),
        (b"-l1\n+l1\n-t456\n", {"l1": "ok", "t456": "begun"}),
        (b"-l1\n+l1", {"l1": "begun"}),  # torn: the answer is not known for certain
        (b"-l1\n+l1\n-l", {"l1": "ok"}),  # torn: the content had not begun
        (b"-l1\n+l1\n-l12", {"l1": "ok"}),
        (b"-l1\n\x00\x00\x00\x00", {"l1": "begun"}),  # what a power cut leaves
        (b"\x00\x00\x00\n-l2\n", {"l2": "begun"}),
        (b"-l1-l2\n", {}),
        (b"-L1\n-1\n-\n?l1\n", {}),
    ],
)
def test_what_a_file_says(tmp_path, content, said):
    (tmp_path / "7.c1.journal").write_bytes(content)
    assert read_folder(tmp_path, 7) == said


def test_what_is_written_is_read(tmp_path):
    with journal(tmp_path) as one:
        one.begin("l1")
        assert read_folder(tmp_path, 7) == {"l1": "begun"}
        one.ok("l1")
        one.begin("t456")
        one.refused("t456")
        one.begin("t457")
        assert read_folder(tmp_path, 7) == {"l1": "ok", "t457": "begun"}
        one.sync()
    assert read_folder(tmp_path, 7) == {"l1": "ok", "t457": "begun"}


def test_a_worker_is_read_over_all_its_connections_and_no_other(tmp_path):
    for worker, connection, keys in ((7, "a", ["l1"]), (7, "b", ["l2"]), (71, "a", ["l3"]), ("7-2", "a", ["l4"])):
        with Journal.open(tmp_path, worker, connection) as one:
            for key in keys:
                one.begin(key)
    assert read_folder(tmp_path, 7) == {"l1": "begun", "l2": "begun"}
    assert read_folder(tmp_path, "7-2") == {"l4": "begun"}
    assert read_folder(tmp_path / "nowhere", 7) == {}
    remove_folder(tmp_path, 7)
    assert read_folder(tmp_path, 7) == {}
    assert read_folder(tmp_path, 71) == {"l3": "begun"}


def test_sent_wins_over_in_doubt_of_another_connection(tmp_path):
    for connection, done in (("a", True), ("b", False), ("c", True)):
        with journal(tmp_path, connection) as one:
            one.begin("l1")
            if done:
                one.ok("l1")
    assert read_folder(tmp_path, 7) == {"l1": "ok"}


def test_reset_forgets_and_goes_on(tmp_path):
    with journal(tmp_path) as one:
        one.begin("l1")
        one.reset()
        assert read_folder(tmp_path, 7) == {}
        one.begin("l2")
    assert read_folder(tmp_path, 7) == {"l2": "begun"}
    assert (tmp_path / "7.c1.journal").read_bytes() == b"-l2\n"
    one.remove()
    assert list(tmp_path.iterdir()) == []


def test_going_on_after_a_torn_record(tmp_path):
    (tmp_path / "7.c1.journal").write_bytes(b"-l1\n+l1\n-l")
    with journal(tmp_path) as one:
        one.begin("l3")
    assert read_folder(tmp_path, 7) == {"l1": "ok", "l3": "begun"}


@pytest.mark.parametrize("key", ["", "1", "l", "L1", "l 1", "l1\n+l2", "é1", "l" * 41])
def test_keys_that_would_break_a_record(tmp_path, key):
    with journal(tmp_path) as one, pytest.raises(ValueError, match="journal key"):
        one.begin(key)


@pytest.mark.parametrize(("worker", "connection"), [("../7", "a"), (7, "a/b"), (7, "a.b"), (7, ""), ("*", "a")])
def test_names_that_would_leave_the_folder(tmp_path, worker, connection):
    with pytest.raises(ValueError, match="file name"):
        Journal.open(tmp_path, worker, connection)


def test_a_folder_that_is_none(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalFailed):
        Journal.open(tmp_path / "file", 7, "a")


def test_in_flight_gives_the_three_moments(tmp_path):
    with journal(tmp_path) as one:
        moments = one.in_flight("l5")
        moments["before_content"]()
        assert read_folder(tmp_path, 7) == {"l5": "begun"}
        moments["after_accept"]()
        assert read_folder(tmp_path, 7) == {"l5": "ok"}
        moments["after_refusal"]()
        assert read_folder(tmp_path, 7) == {}


FULL_DISK = """
import resource, signal, sys
from mail.errors import JournalFailed
from mail.queue.journal import Journal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
journal = Journal.open(sys.argv[1], 7, "c1")
for number in range(1, 100):
    try:
        journal.begin(f"l{{number}}")
    except JournalFailed:
        break
    journal.ok(f"l{{number}}")
for again in (journal.begin, journal.ok):
    try:
        again("l99")
        sys.exit("it went on")
    except JournalFailed:
        pass
journal.reset()
journal.begin("l98")
print(number)
"""


@pytest.mark.parametrize("limit", [8, 9, 10, 11, 24])  # in the middle of a record, and between two
def test_no_journal_no_send(tmp_path, limit):
    """The kernel refuses to let the file grow, as it does on a full disk: from the first record on nothing goes on."""
    child = subprocess.run(
        [sys.executable, "-c", FULL_DISK.format(limit=limit), str(tmp_path)], capture_output=True, text=True
    )
    assert child.returncode == 0, child.stdout + child.stderr
    assert read_folder(tmp_path, 7) == {"l98": "begun"}  # after the results were committed there was room again


SENDER = """
import os, sys
from mail.queue.journal import Journal
journal = Journal.open(sys.argv[1], 7, "c1")
sent = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
number = 0
while True:
    number += 1
    journal.begin(f"l{number}")
    os.write(sent, b"%d\\n" % number)  # the server accepts the mail
    journal.ok(f"l{number}")
"""


@pytest.mark.parametrize("number", range(3))
def test_kill_9_leaves_at_most_one_mail_in_doubt(tmp_path, number):
    accepted_file = tmp_path / "accepted"
    child = subprocess.Popen([sys.executable, "-c", SENDER, str(tmp_path), str(accepted_file)])
    try:
        wait_until(lambda: accepted_file.exists() and accepted_file.stat().st_size > 5000 * (number + 1), every=0.003)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    accepted = {f"l{line}" for line in accepted_file.read_text().split()}
    said = read_folder(tmp_path, 7)
    sent = {key for key, state in said.items() if state == "ok"}
    in_doubt = {key for key, state in said.items() if state == "begun"}
    assert len(accepted) > 1000
    assert len(in_doubt) <= 1
    assert (
        sent <= accepted <= sent | in_doubt
    )  # nothing that went out is forgotten, nothing is called sent that did not


def test_connections_of_one_worker_write_at_once(tmp_path):
    def send(connection: int) -> None:
        with journal(tmp_path, f"c{connection}") as one:
            for number in range(500):
                one.begin(f"l{connection}x{number}")
                one.ok(f"l{connection}x{number}")

    threads = [threading.Thread(target=send, args=(connection,)) for connection in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    said = read_folder(tmp_path, 7)
    assert len(said) == 2000
    assert set(said.values()) == {"ok"}


def test_a_record_is_one_write(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr("mail.queue.journal.os.write", lambda number, record: written.append(record) or len(record))
    with journal(tmp_path) as one:
        one.begin("l1")
        one.ok("l1")
    assert len(written) == 2

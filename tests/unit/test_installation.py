"""Where a database was, and where it is: which difference makes it a copy, and which marks make it a restored one."""

from dataclasses import replace

import pytest

from mail.decide.installation import Installation, Marks, copied, restored
from mail.sentences import say

FILE = Installation(
    "sqlite", born="7.1", path="/srv/office.db", machine="a1", address="mail.acme.com", host="mail1", name="office.db"
)
OLD_DISK = replace(FILE, born="", number="13")  # a file system that does not note when a file was made
CLUSTER = Installation("postgresql", "70", "5", "16", address="mail.acme.com", host="db1", name="office")


@pytest.mark.parametrize(
    ("before", "changes", "sign"),
    [
        (FILE, {}, ""),
        (FILE, {"host": "renamed"}, ""),
        (FILE, {"path": "/data/office.db"}, ""),  # the same file, renamed, or a folder mounted elsewhere
        (FILE, {"address": ""}, ""),  # a worker that is not told the address of the pages
        (replace(FILE, address=""), {"address": "mail.acme.com"}, ""),
        (FILE, {"born": "8.2"}, "file"),
        (FILE, {"machine": "b2"}, "machine"),
        (FILE, {"machine": ""}, ""),  # moved into a container
        (FILE, {"machine": "", "path": "/data/office.db"}, ""),
        (FILE, {"born": "", "number": "13"}, ""),  # what a file is known by is another kind of thing
        (OLD_DISK, {"number": "14"}, ""),  # a shared folder of a container gives another number at each start
        (OLD_DISK, {"path": "/data/office.db"}, ""),
        (OLD_DISK, {"number": "14", "path": "/data/office.db"}, "file"),
        (OLD_DISK, {"number": "14", "machine": "b2"}, "machine"),
        (CLUSTER, {"host": "db2", "name": "renamed"}, ""),  # the same cluster, by another name
        (CLUSTER, {"cluster": ""}, ""),  # a role that may not ask, a standby that does not answer
        (CLUSTER, {"oid": "6"}, "oid"),
        (CLUSTER, {"tables": "17"}, "tables"),
        (CLUSTER, {"tables": ""}, ""),
        (CLUSTER, {"cluster": "71"}, "cluster"),
        (CLUSTER, {"kind": "sqlite", "cluster": "", "oid": "", "tables": "", "born": "7.1"}, "kind"),
    ],
)
def test_what_makes_it_a_copy(before, changes, sign):
    reason = copied(before, replace(before, **changes))
    assert (reason["values"]["sign"]["code"] if reason else "") == (sign and f"rehearsal_sign_{sign}")


@pytest.mark.parametrize("before", [FILE, CLUSTER])
def test_another_address_is_a_reason(before):
    assert copied(before, replace(before, address="trial.acme.com"))["code"] == "rehearsal_other_address"


def test_a_database_beside_its_original_is_a_copy():
    mounted = replace(FILE, path="/mnt/snapshot/office.db")
    assert copied(FILE, mounted, original_stands=False) is None
    assert "still at /srv/office.db" in say(copied(FILE, mounted, original_stands=True))
    assert copied(FILE, FILE, original_stands=True) is None


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"born": "8.2"}, "The database on mail1 (office.db) may"),
        ({"born": "8.2", "host": "trial"}, "it was on mail1 and is now on trial."),
        ({"born": "8.2", "name": "copy.db"}, "it was on mail1 (office.db) and is now on mail1 (copy.db)."),
    ],
)
def test_no_sentence_names_one_place_twice(changes, named):
    assert named in say(copied(FILE, replace(FILE, **changes)))


@pytest.mark.parametrize(
    ("here", "counted", "beside", "code"),
    [
        (FILE, 500, Marks(500), ""),
        (FILE, 501, Marks(), ""),  # a folder that was lost, or a home of which it does not know
        (FILE, 499, Marks(500), ""),  # a disk that had not written the last minute
        (FILE, 498, Marks(500), "rehearsal_restored"),  # an upgrade went wrong, and its backup is put back
        (CLUSTER, 490, Marks(500), ""),  # a standby took over
        (CLUSTER, 489, Marks(500), "rehearsal_restored"),
        (FILE, 501, Marks(500, is_original=False), "rehearsal_restored_folder"),
        (FILE, 900, Marks(500, is_original=False), ""),  # only the folder was restored
        (FILE, 1, Marks(0, is_original=False), ""),
        (CLUSTER, 501, Marks(500, is_original=False), ""),
    ],
)
def test_what_makes_it_a_restored_one(here, counted, beside, code):
    reason = restored(counted, beside, here)
    assert (reason["code"] if reason else "") == code


def test_what_an_earlier_version_stored_can_be_read():
    stored = {"database": "file:7", "path": "/srv/office.db", "marks": 3}
    assert Installation.of(stored) == Installation(path="/srv/office.db")

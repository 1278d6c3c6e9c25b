"""Where a database was, and where it is: which difference makes it a copy."""

from dataclasses import replace

import pytest

from mail.decide.installation import Installation, copied

FILE = Installation("file:7", "a1", "/srv/office.db", "mail.acme.com", "mail1")
CLUSTER = Installation("pg:70:5", address="mail.acme.com", host="db1")


@pytest.mark.parametrize(
    ("before", "changes", "code"),
    [
        (FILE, {}, ""),
        (FILE, {"host": "renamed"}, ""),
        (FILE, {"path": "/data/office.db"}, ""),  # the same file, renamed
        (FILE, {"address": ""}, ""),  # a worker that is not told the address of the pages
        (replace(FILE, address=""), {"address": "mail.acme.com"}, ""),
        (FILE, {"database": "file:8"}, "rehearsal_copied"),
        (FILE, {"machine": "b2"}, "rehearsal_copied"),
        (FILE, {"address": "trial.acme.com"}, "rehearsal_other_address"),
        (replace(FILE, machine=""), {"machine": ""}, ""),  # a container that was made anew
        (FILE, {"machine": "", "path": "/data/office.db"}, "rehearsal_copied"),
        (replace(FILE, machine=""), {"machine": "b2", "path": "/data/office.db"}, "rehearsal_copied"),
        (CLUSTER, {"host": "db2"}, ""),  # the same cluster, by another name
        (CLUSTER, {"database": "pg:70:6"}, "rehearsal_copied"),
        (CLUSTER, {"database": "pg:71:5"}, "rehearsal_copied"),
        (CLUSTER, {"database": "file:7", "machine": "a1", "path": "/srv/office.db"}, "rehearsal_copied"),
        (CLUSTER, {"address": "trial.acme.com"}, "rehearsal_other_address"),
    ],
)
def test_what_makes_it_a_copy(before, changes, code):
    reason = copied(before, replace(before, **changes))
    assert (reason["code"] if reason else "") == code


def test_what_an_earlier_version_stored_can_be_read():
    assert Installation.of({"database": "file:7", "marks": 3}) == Installation("file:7")

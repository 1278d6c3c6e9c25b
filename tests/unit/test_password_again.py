"""Which changes of a server ask for its password again: a stored one never goes to anybody it was not given for."""

import pytest

from mail.decide.servers import needs_password_again

BEFORE = {"kind": "imap", "host": "mail.a.test", "port": 993, "encryption": "tls", "verify_tls": True}


@pytest.mark.parametrize(
    ("change", "asks"),
    [
        ({}, False),
        ({"name": "Another name"}, False),
        ({"user": "another"}, False),
        ({"priority": 5}, False),
        ({"folder": "Archive"}, False),
        ({"host": "mail.a.test"}, False),
        ({"host": "MAIL.A.TEST"}, False),
        ({"host": "mail.a.test."}, False),
        ({"host": " mail.a.test "}, False),
        ({"host": "mail.b.test"}, True),
        ({"host": "mail.a.test.evil.test"}, True),
        ({"host": "xmail.a.test"}, True),
        ({"host": "192.0.2.7"}, True),
        ({"host": ""}, True),
        ({"port": 993}, False),
        ({"port": 143}, True),
        ({"encryption": "none"}, True),
        ({"encryption": "starttls"}, True),
        ({"kind": "pop3"}, True),
        ({"verify_tls": False}, True),
        ({"verify_tls": True}, False),
        ({"host": "mail.b.test", "port": 143, "encryption": "none"}, True),
    ],
)
def test_a_password_stays_with_whom_it_was_given_for(change, asks):
    shared = {name: value for name, value in change.items() if name in BEFORE}
    assert needs_password_again(BEFORE, BEFORE | shared) is asks
    assert needs_password_again(BEFORE, shared) is asks  # what is not said stays as it was


def test_verifying_again_asks_nothing():
    assert not needs_password_again(BEFORE | {"verify_tls": False}, BEFORE)

"""A mailing on real servers and both databases: who gets it, how often, and what happens when something fails."""

from collections import Counter
from collections.abc import Iterator

import pytest
from flask import Flask

from mail import mailing
from tests.integration.mass import NOW, Sender, add_contacts, add_server, draft, mailing_of, states


@pytest.fixture
def sender(app: Flask) -> Iterator[Sender]:
    """One worker with one sending thread."""
    one = Sender(app)
    yield one
    one.close()


def test_everybody_on_the_lists_gets_it_once(app, sender, postfix):
    with app.app_context():
        add_server(postfix.port)
        id = draft(add_contacts(450))
        mailing.send(id, NOW)
    sender.until_idle()
    with app.app_context():
        assert states(id) == {"sent": 450}
        assert mailing_of(id).state == "done"
    postfix.wait_for("r449@example.test")
    got = Counter(mail.recipient for mail in postfix.mails())
    assert got == {f"r{i}@example.test": 1 for i in range(450)}

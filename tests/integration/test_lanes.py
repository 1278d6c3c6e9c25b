"""A mailing of any size delays no personal email: not on its own server, a slow one included, and not on another."""

import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from mail.mailing import mailing
from mail.outgoing import enqueue
from mail.outgoing.enqueue import OutgoingDraft, To
from mail.settings import parameters
from mail.settings.wake import wake
from models import OutgoingServer, db
from tests.integration.mass import add_contacts, add_server, draft
from tests.office import Office
from tests.servers.app import App
from tests.servers.misbehaving import misbehaving
from tests.waiting import wait_until

pytestmark = pytest.mark.heavy
READERS = 5_000
AT_ONCE = 5.0  # seconds; usually a tenth of one


class SlowReceiver:
    """Takes readers' mails one after the other, each so many seconds over every connection, and all others at once."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.accepted: dict[str, float] = {}  # when, by recipient
        self.over = threading.Event()

    def talk(self, connection: socket.socket) -> None:
        connection.sendall(b"220 slow.test ESMTP\r\n")
        lines, recipient = connection.makefile("rb"), ""
        for line in lines:
            command = line[:4].upper()
            if command == b"RCPT":
                recipient = line.partition(b"<")[2].partition(b">")[0].decode()
            if command == b"DATA":
                connection.sendall(b"354 go on\r\n")
                while lines.readline() not in (b".\r\n", b""):
                    pass
                if recipient.startswith("r"):
                    self.over.wait(self.seconds)
                self.accepted[recipient] = time.monotonic()
            connection.sendall(b"250 2.0.0 fine\r\n")


@pytest.fixture
def office(running_app: App) -> Iterator[Office]:
    """An office whose worker runs."""
    made = Office(running_app)
    with made.context():
        parameters.put("mail.catchall.domain", "mycompany.test", datetime.now(UTC))
        parameters.put("mail.default.from", "notifications", datetime.now(UTC))
        db.session.commit()
    made.worker()
    yield made
    made.close()


def write(office: Office, to: str, server_id: int) -> float:
    """Write an email that goes through a server; returns when it was in the queue."""
    mail = OutgoingDraft("test", "clerk@mycompany.test", "Hello", html="<p>Hello</p>", forced_server_id=server_id)
    with office.context():
        enqueue.enqueue(mail, [To(to)], datetime.now(UTC))
        wake()
    return time.monotonic()


@pytest.mark.parametrize(
    ("seconds", "connections", "begun"),
    [
        (0.05, None, 20),  # it takes four minutes
        (0.05, 1, 20),  # over its only connection, which the mailing gives up between two emails
        (5.0, None, 1),  # it counts as slow after three seconds
    ],
)
def test_a_post_does_not_wait_for_a_mailing(office, seconds, connections, begun) -> None:
    receiver, other = SlowReceiver(seconds), SlowReceiver(0)
    with misbehaving(receiver.talk) as port, misbehaving(other.talk) as elsewhere:
        with office.context():
            server_id = add_server(port, connections=connections)
            other_id = add_server(elsewhere, "other", priority=20)
            id = draft(add_contacts(READERS), forced_server_id=server_id)
            mailing.send(id, datetime.now(UTC))
            db.session.commit()
        wait_until(lambda: len(receiver.accepted) >= begun)
        for number in range(3):
            for to, server, where in (("boss", server_id, receiver), ("sales", other_id, other)):
                address = f"{to}{number}@x.test"
                written = write(office, address, server)
                wait_until(lambda address=address, where=where: address in where.accepted)
                assert where.accepted[address] - written < AT_ONCE, address
        assert len(receiver.accepted) < READERS, "the mailing is still being sent"
        receiver.over.set()
        with office.context():
            assert mailing.cancel(id, datetime.now(UTC))
            assert db.session.get(OutgoingServer, server_id) is not None

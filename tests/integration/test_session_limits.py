"""Servers that take only so many mails over one connection: each says so in its own way, and at its own moment."""

import socket

import pytest

from mail.transport.smtp import ServerConnection
from mail.transport.smtp_session import SmtpTarget
from tests.servers.misbehaving import misbehaving
from tests.servers.process import HOST

MAIL = b"From: office@office.test\r\nTo: ann@example.com\r\nSubject: Hello\r\n\r\nHello\r\n"


class LimitedServer:
    """Takes ``most`` mails over a connection; then it answers ``refusal`` at ``moment`` and may close."""

    def __init__(self, moment: str, refusal: str, most: int = 3, closes: bool = False) -> None:
        self.moment, self.refusal, self.most, self.closes = moment, refusal, most, closes
        self.accepted: list[str] = []
        self.connections = self.refusals = 0

    def talk(self, connection: socket.socket) -> None:
        self.connections += 1
        connection.sendall(b"220 limited.test ESMTP\r\n")
        taken, recipient = 0, ""
        lines = connection.makefile("rb")
        for line in lines:
            moment = {b"MAIL": "mail", b"RCPT": "rcpt", b"DATA": "data"}.get(line[:4].upper(), "")
            if moment == "rcpt":
                recipient = line.partition(b"<")[2].partition(b">")[0].decode()
            if moment == "data" and not (self.moment == "data" and taken >= self.most):
                connection.sendall(b"354 go on\r\n")
                while lines.readline() not in (b".\r\n", b""):
                    pass
                moment = "end"
            if moment == self.moment and taken >= self.most:
                self.refusals += 1
                connection.sendall(self.refusal.encode() + b"\r\n")
                if self.closes or self.refusal.startswith("421"):
                    connection.shutdown(socket.SHUT_RDWR)
                    return
                continue
            if moment == "end":
                taken += 1
                self.accepted.append(recipient)
            connection.sendall(b"250 fine\r\n")


DIALECTS = [
    ("mail", "452 4.4.5 Maximum number of messages per session exceeded"),
    ("mail", "421 4.3.2 The maximum number of messages per connection was exceeded"),
    ("mail", "450 4.7.0 Message limit for this connection exceeded"),
    ("mail", "451 4.3.0 Try again later"),
    ("mail", "421 too many messages in this connection"),
    ("mail", "421"),
    ("mail", "450"),
    ("rcpt", "451 Mails per session limit"),
    ("rcpt", "452 4.5.3 Too many recipients in this session"),
    ("rcpt", "450 Only 3 emails per SMTP connection allowed"),
    ("rcpt", "421 4.7.0 Closing"),
    ("data", "452 4.5.3 Too many mails in one SMTP session"),
    ("data", "451 4.3.2 Not now"),
    ("data", "421 Bye"),
    ("end", "452 4.3.1 Session message limit exceeded"),
    ("end", "450 Number of transactions per connection exceeded, please reconnect"),
    ("end", "421 4.3.2 Closing"),
    ("end", "550 5.7.0 Too many messages in a single session"),
]


@pytest.mark.parametrize("closes", [False, True], ids=["stays open", "closes"])
@pytest.mark.parametrize(("moment", "refusal"), DIALECTS)
def test_every_mail_goes_out_at_once_and_the_limit_is_learned(moment, refusal, closes):
    server = LimitedServer(moment, refusal, closes=closes)
    people = [f"p{number}@example.com" for number in range(10)]
    with misbehaving(server.talk) as port:
        target = SmtpTarget("test", HOST, port, allow_local=True)
        with ServerConnection(target) as connection:
            outcomes = [connection.deliver("", person, MAIL) for person in people]
            assert connection.most_mails == 3
    assert [outcome.why for outcome in outcomes] == [None] * 10
    assert server.accepted == people
    assert (server.connections, server.refusals) == (4, 1), "after the first refusal the limit is known"


@pytest.mark.parametrize("refusal", ["450 4.2.0 Not now", "451 4.3.0 Later", "452 4.3.1 Busy"])
@pytest.mark.parametrize("moment", ["rcpt", "end"])
def test_without_words_three_in_a_row_are_tried_over_a_new_connection(moment, refusal):
    """There a single refusal may mean this recipient alone (greylisting, a full mailbox)."""
    server = LimitedServer(moment, refusal)
    with misbehaving(server.talk) as port:
        target = SmtpTarget("test", HOST, port, allow_local=True)
        with ServerConnection(target) as connection:
            outcomes = [connection.deliver("", f"p{number}@example.com", MAIL) for number in range(6)]
            assert [outcome.accepted for outcome in outcomes] == [True] * 3 + [False] * 2 + [True]
            assert outcomes[-1].victims == 2, "the two before it were put off by the limit, not for themselves"
            assert connection.most_mails == 3


def test_a_server_that_puts_everybody_off_is_not_asked_over_ever_new_connections():
    server = LimitedServer("mail", "450 4.7.0 Slow down", most=0)
    with misbehaving(server.talk) as port:
        target = SmtpTarget("test", HOST, port, allow_local=True)
        with ServerConnection(target) as connection:
            outcomes = [connection.deliver("", f"p{number}@example.com", MAIL) for number in range(10)]
            assert connection.most_mails is None
    assert {outcome.temporary for outcome in outcomes} == {True}
    assert server.connections == 1

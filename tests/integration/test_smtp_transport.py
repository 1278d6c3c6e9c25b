"""Deliveries to real servers, and to ones that misbehave at every moment of the dialogue."""

import base64
import contextlib
import datetime
import re
import smtplib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mail.errors import (
    AddressNotAllowed,
    CertificateExpired,
    CertificateRefused,
    CertificateSelfSigned,
    CertificateWrongName,
    ClientCertificateUnusable,
    ConnectionFailed,
    ConnectionLost,
    ConnectionRefused,
    GreetingRefused,
    JournalFailed,
    LoginNotOffered,
    LoginRefused,
    NameNotFound,
    NotUnderstood,
    PortNotAllowed,
    StarttlsMissing,
    TimedOut,
    TlsFailed,
)
from mail.queue.journal import Journal, read_folder
from mail.sentences import say
from mail.transport import network, smtp_check, smtp_session
from mail.transport import steps as transport_steps
from mail.transport.smtp import Outcome, ServerConnection
from mail.transport.smtp_check import test_steps
from mail.transport.smtp_session import SmtpTarget, Transcript
from mail.transport.steps import ConnectionStep
from tests.effort import little_work
from tests.servers.certificates import Authority
from tests.servers.misbehaving import misbehaving, says, silent
from tests.servers.postfix import Postfix
from tests.servers.process import HOST, free_port
from tests.servers.sink import SmtpSink

MAIL = b"From: office@office.test\r\nTo: ann@example.com\r\nSubject: Hello\r\n\r\nHello\r\n"
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")

SENDER, ANN = "bounce@office.test", "ann@example.com"


def target(port: int, **more) -> SmtpTarget:
    return SmtpTarget(**{"name": "test", "host": HOST, "port": port, "timeout": 30.0, "allow_local": True} | more)


def send(connection: ServerConnection, recipient: str = ANN, content: bytes = MAIL, **more) -> Outcome:
    return connection.deliver(SENDER, recipient, content, **more)


def opening(port: int, **more) -> ConnectionFailed:
    """What opening a connection raises."""
    with pytest.raises(ConnectionFailed) as caught, ServerConnection(target(port, **more)):
        pass
    assert say(caught.value.why)
    return caught.value


# --- a real server whose answers a test decides


class Receiver:
    """aiosmtpd: what it took, over how many connections, and what it answers to whom."""

    def __init__(self, host: str = HOST, **options) -> None:
        self.mails: list[Envelope] = []
        self.sessions: set[int] = set()
        self.greetings: list[str] = []
        self.answers: dict[str, str] = {}
        self.logins: list[tuple[str, bytes]] = []
        self.port = free_port()
        if options.pop("login", None):
            options |= {"authenticator": self.authenticate, "auth_required": True, "auth_require_tls": False}
        self._controller = Controller(self, hostname=host, port=self.port, enable_SMTPUTF8=True, **options)
        self._controller.start()

    def close(self) -> None:
        if self._controller.server is not None:
            self._controller.stop()

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, how: str, data: LoginPassword
    ) -> AuthResult:
        self.logins.append((how, data.password))
        return AuthResult(success=data == LoginPassword(b"clerk", "pässword".encode()), handled=False)

    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        session.host_name = hostname
        self.greetings.append(hostname)
        return [line for line in responses if not line.startswith("250-NO")]

    async def handle_MAIL(self, server, session, envelope, address, options):
        if address in self.answers:
            return self.answers[address]
        envelope.mail_from, envelope.mail_options = address, options
        return "250 2.1.0 Ok"

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address in self.answers:
            return self.answers[address]
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server, session, envelope):
        self.sessions.add(session.peer[1])
        refused = self.answers.get(f"content {envelope.rcpt_tos[0]}")
        if refused:
            return refused
        self.mails.append(envelope)
        return "250 2.0.0 Ok: queued as 4711"


@pytest.fixture
def receivers() -> Iterator[Callable[..., Receiver]]:
    started: list[Receiver] = []

    def start(**options) -> Receiver:
        started.append(Receiver(**options))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def receiver(receivers) -> Receiver:
    return receivers()


def server_tls(files: tuple[Path, Path]) -> ssl.SSLContext:
    key, certificate = files
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context


def self_signed(folder: Path, name: str) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / f"{name}.key", folder / f"{name}.pem"
    files[0].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    files[1].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return files


# --- what arrives


def test_a_mail_arrives_and_the_outcome_says_so(receiver):
    with ServerConnection(target(receiver.port, helo="office.test")) as connection:
        outcome = send(connection)
    assert outcome == Outcome("end", 250, "2.0.0", "Ok: queued as 4711", True, False, False, None)
    [mail] = receiver.mails
    assert (mail.mail_from, mail.rcpt_tos, mail.content) == (SENDER, [ANN], MAIL)
    assert receiver.greetings == ["office.test"]


def test_an_answer_to_nobody_has_the_null_sender(receiver):
    with ServerConnection(target(receiver.port)) as connection:
        assert connection.deliver("", ANN, MAIL).accepted
    assert receiver.mails[0].mail_from == "<>"  # as aiosmtpd writes it


def test_without_a_name_of_ours_we_introduce_ourselves_by_name_or_address(receiver):
    with ServerConnection(target(receiver.port)):
        pass
    [name] = receiver.greetings
    assert name == f"[{HOST}]" or ("." in name and name == socket.gethostname())


@pytest.mark.parametrize(
    ("content", "arrives"),
    [
        (b"A: b\r\n\r\n.\r\n", b"A: b\r\n\r\n.\r\n"),
        (b"A: b\r\n\r\n..\r\n.x\r\n", b"A: b\r\n\r\n..\r\n.x\r\n"),
        (b"A: b\n\nx\n.\ny\n", b"A: b\r\n\r\nx\r\n.\r\ny\r\n"),
        (b"A: b\r\n\r\nx\n.\r\nMAIL FROM:<evil@x.test>\r\n", b"A: b\r\n\r\nx\r\n.\r\nMAIL FROM:<evil@x.test>\r\n"),
        (b"A: b\r\n\r\nx\r.\rMAIL\r\n", b"A: b\r\n\r\nx\r\n.\r\nMAIL\r\n"),
        (b"A: b\r\n\r\nno end", b"A: b\r\n\r\nno end\r\n"),
        (b"A: b\r\n\r\nno end\n.", b"A: b\r\n\r\nno end\r\n.\r\n"),
        (b".\r\n", b".\r\n"),
        (b"", b"\r\n"),
        (b"A: b\r\n\r\n" + b"x" * 900 + b"\r\n" + b"y" * 70 + b"\r\n", None),
        (b"A: b\r\n\r\n" + b"line of a large mail\r\n" * 50_000, None),
    ],
)
def test_the_content_arrives_as_it_is(receiver, content, arrives):
    with ServerConnection(target(receiver.port)) as connection:
        assert send(connection, content=content).accepted
        assert send(connection).accepted  # and the dialogue goes on in step
    assert [mail.content for mail in receiver.mails] == [arrives or content, MAIL]


def test_what_mailings_render_is_sent_as_it_is(receiver):
    with ServerConnection(target(receiver.port)) as connection:
        assert send(connection, ready=True).accepted
    assert receiver.mails[0].content == MAIL


def test_eight_bit_content_is_announced(receiver):
    content = "Subject: Hello\r\n\r\nGrüße\r\n".encode()
    with ServerConnection(target(receiver.port)) as connection:
        assert send(connection, content=content).accepted
    assert "BODY=8BITMIME" in receiver.mails[0].mail_options
    assert receiver.mails[0].content == content


def test_many_mails_go_over_one_connection(receiver):
    with ServerConnection(target(receiver.port)) as connection:
        assert all(send(connection, f"p{number}@example.com").accepted for number in range(50))
    assert len(receiver.mails) == 50
    assert len(receiver.sessions) == 1


def test_a_connection_can_be_used_again_after_its_end(receiver):
    connection = ServerConnection(target(receiver.port))
    assert send(connection).accepted  # opens automatically
    connection.close()
    assert send(connection).accepted
    connection.drop()
    connection.drop()
    assert len(receiver.sessions) == 2


def test_postfix_takes_refuses_and_defers(postfix: Postfix, trusted: Authority):
    postfix.refuse("nobody@example.com", "550 5.1.1 No such user here")
    postfix.defer("full@example.com", "452 4.2.2 Mailbox full")
    with ServerConnection(target(postfix.port, encryption="starttls", host="localhost")) as connection:
        first, refused, deferred, last = (
            send(connection, address) for address in (ANN, "nobody@example.com", "full@example.com", "bob@example.com")
        )
    assert first.accepted
    assert last.accepted
    assert (refused.phase, refused.code, refused.enhanced, refused.temporary) == ("rcpt", 550, "5.1.1", False)
    assert "No such user here" in say(refused.why)
    assert (deferred.phase, deferred.code, deferred.enhanced, deferred.temporary) == ("rcpt", 452, "4.2.2", True)
    assert postfix.wait_for(ANN)
    assert postfix.wait_for("bob@example.com")


def test_smtp_sink_takes_a_thousand(smtp_sink: SmtpSink, tmp_path: Path):
    with ServerConnection(target(smtp_sink.port)) as connection, Journal.open(tmp_path, 1, "c1") as journal:
        assert all(send(connection, **journal.in_flight(f"l{number}")).accepted for number in range(1000))
    assert read_folder(tmp_path, 1) == {f"l{number}": "ok" for number in range(1000)}


# --- what is refused


@pytest.mark.parametrize(
    ("answer_to", "answer", "phase", "temporary", "code"),
    [
        (SENDER, "550 5.7.1 Not your address", "mail", False, "sender_refused"),
        (SENDER, "451 4.3.0 Try later", "mail", True, "server_busy"),
        (ANN, "550 5.1.1 No such user", "rcpt", False, "no_such_mailbox"),
        (ANN, "450 4.2.0 Greylisted", "rcpt", True, "greylisted"),
        (f"content {ANN}", "554 5.7.1 Spam", "end", False, "blocked_as_spam"),
        (f"content {ANN}", "452 4.3.1 Disk full", "end", True, "server_busy"),
    ],
)
def test_a_refusal_is_told_apart_and_the_next_mail_goes(receiver, answer_to, answer, phase, temporary, code):
    receiver.answers[answer_to] = answer
    with ServerConnection(target(receiver.port)) as connection:
        outcome = send(connection)
        receiver.answers.clear()
        assert send(connection, "bob@example.com").accepted
    assert (outcome.phase, outcome.temporary, outcome.accepted, outcome.in_doubt) == (phase, temporary, False, False)
    assert outcome.why["code"] == code
    assert f"{outcome.code} {outcome.enhanced} {outcome.text}" == answer
    assert answer in say(outcome.why)
    assert [mail.rcpt_tos for mail in receiver.mails] == [["bob@example.com"]]
    assert len(receiver.sessions) == 1


@pytest.mark.parametrize(
    "address",
    ["", "nobody", "a@b.test>\r\nRCPT TO:<c@d.test", "a b@c.test", "<a@b.test>", "a@b.test\n", "a@b@c.test",
     "é é@x.test", "a\x00@b.test", "a@é\u2028.test"],
)  # fmt: skip
def test_addresses_that_would_break_the_dialogue_never_reach_it(receiver, address):
    with ServerConnection(target(receiver.port), transcript=True) as connection:
        connection.transcript.take()
        outcome = send(connection, address)
        assert "MAIL" not in connection.transcript.take()
        if address:
            assert connection.deliver(address, ANN, MAIL).why["code"] == "invalid_address"
        assert send(connection).accepted
    assert (outcome.phase, outcome.why["code"], outcome.temporary) == ("mail", "invalid_address", False)
    assert len(receiver.mails) == 1


@pytest.mark.parametrize("address", ['"ann doe"@example.com', "a!#$%&'*+-/=?^_`{|}~z@example.com", "a@[127.0.0.1]"])
def test_odd_addresses_that_are_legal(receiver, address):
    with ServerConnection(target(receiver.port)) as connection:
        assert send(connection, address).accepted


def test_wide_addresses_need_a_server_that_takes_them(receiver):
    with ServerConnection(target(receiver.port)) as connection:
        assert send(connection, "jürgen@example.com").accepted
        assert send(connection, content="From: jürgen@example.com\r\n\r\nx\r\n".encode()).accepted
        assert send(connection).accepted
    assert [("SMTPUTF8" in mail.mail_options) for mail in receiver.mails] == [True, True, False]
    with misbehaving(Server().talk) as port, ServerConnection(target(port)) as connection:
        outcome = send(connection, "jürgen@example.com")
        assert outcome.why == {"code": "needs_smtputf8", "values": {"address": "jürgen@example.com"}}
        assert not outcome.temporary
        assert send(connection).accepted


def test_a_mail_that_is_too_large_is_not_even_begun(receivers):
    receiver = receivers(data_size_limit=1000)
    with ServerConnection(target(receiver.port)) as connection:
        outcome = send(connection, content=MAIL + b"x" * 1000)
        assert send(connection).accepted
    assert outcome.why["code"] == "too_large"
    assert outcome.why["values"]["limit"] == 1000
    assert not outcome.temporary


# --- three commands in one write


class Pipelined:
    """A server that answers MAIL, RCPT and DATA together, by the given packet, the first time; then it is well."""

    WELL = b"250 ok\r\n250 ok\r\n354 go\r\n"

    def __init__(self, first: bytes, hangs_up: bool = False) -> None:
        self.answers, self.hangs_up = [first], hangs_up
        self.connections = 0
        self.heard: list[bytes] = []
        self.mails: list[bytes] = []

    def talk(self, connection: socket.socket) -> None:
        self.connections += 1
        connection.sendall(b"220 hi\r\n")
        while data := connection.recv(65536):
            self.heard.append(data)
            if data.startswith(b"EHLO"):
                connection.sendall(b"250-me\r\n250 PIPELINING\r\n")
            elif data.startswith(b"MAIL"):
                answer = self.answers.pop() if self.answers else self.WELL
                connection.sendall(answer)
                if answer != self.WELL and self.hangs_up:
                    connection.shutdown(socket.SHUT_RDWR)
                    return
            elif data.endswith(b"\r\n.\r\n"):
                self.mails.append(data)
                connection.sendall(b"250 taken\r\n")
            else:
                connection.sendall(b"250 ok\r\n")


@pytest.mark.parametrize(
    ("answer", "hangs_up", "phase", "code", "connections"),
    [
        (b"550 5.7.1 no\r\n503 bad\r\n503 bad\r\n", False, "mail", 550, 1),
        (b"250 ok\r\n550 5.1.1 no\r\n554 no valid recipients\r\n", False, "rcpt", 550, 1),
        (b"250 ok\r\n450 4.2.0 later\r\n503 no\r\n", False, "rcpt", 450, 1),
        (b"250 ok\r\n250 ok\r\n451 later\r\n", False, "data", 451, 1),
        (b"250 ok\r\n550 5.1.1 no\r\n354 go\r\n", False, "rcpt", 550, 2),  # it would take a mail for nobody
        (b"250 ok\r\n550 5.1.1 no\r\n", True, "rcpt", 550, 2),  # it says no and hangs up
        (b"250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n", False, "data", None, 2),  # it takes what it never saw
    ],
)
def test_of_three_answers_at_once_each_counts_for_its_own_command(answer, hangs_up, phase, code, connections):
    server = Pipelined(answer, hangs_up)
    with misbehaving(server.talk) as port, ServerConnection(target(port)) as connection:
        first = send(connection)
        assert (first.phase, first.code, first.accepted, first.in_doubt) == (phase, code, False, False)
        assert send(connection, "bob@example.com").accepted
    assert server.connections == connections and len(server.mails) == 1
    envelopes = [data for data in server.heard if data.startswith(b"MAIL")]
    assert all(data.count(b"\r\n") == 3 and data.endswith(b"DATA\r\n") for data in envelopes) and len(envelopes) == 2


def test_a_banner_of_ten_thousand_lines_is_not_read_to_its_end():
    def talks(connection: socket.socket) -> None:
        connection.sendall(b"220-welcome to our wonderful mail server\r\n" * 10_000 + b"220 hi\r\n")
        connection.recv(1)

    with misbehaving(talks) as port:
        assert isinstance(opening(port), NotUnderstood)


# --- what is cut, and when


class Server:
    """A server that stops at one moment: ``cut`` closes, ``silent`` says nothing more, a text is its answer there."""

    def __init__(self, moment: str = "", how: str = "cut", only: int = 0) -> None:
        self.moment, self.how, self.only = moment, how, only
        self.mails: list[bytes] = []
        self.connections = 0

    def talk(self, connection: socket.socket) -> None:
        self.connections += 1
        lines = connection.makefile("rb")
        faulty = not self.only or self.connections == self.only
        if self._stops("greeting", connection, faulty, b"220 hi\r\n"):
            return
        for line in lines:
            verb = line[:4].upper().decode("ascii", "replace").strip().lower()
            answer = {"ehlo": b"250-me\r\n250 PIPELINING\r\n", "data": b"354 go\r\n", "quit": b"221 bye\r\n"}.get(verb)
            if self._stops(verb, connection, faulty, answer or b"250 ok\r\n"):
                return
            if verb == "data":
                if faulty and self.moment == "content":
                    lines.read(1000)
                    if self.how == "cut":
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        lines.close()
                        connection.close()
                        return
                content = b""
                while not content.endswith(b"\r\n.\r\n"):
                    if not (line := lines.readline()):  # it hung up
                        return
                    content += line
                if not (faulty and self.moment == "end"):
                    self.mails.append(content)
                if self._stops("end", connection, faulty, b"250 taken\r\n"):
                    return

    def _stops(self, moment: str, connection: socket.socket, faulty: bool, answer: bytes) -> bool:
        if not faulty or moment != self.moment:
            connection.sendall(answer)
            return False
        if self.how == "silent":
            connection.recv(1)
        elif self.how != "cut":
            connection.sendall(self.how.encode())
            return False
        # The reader's file keeps the socket open: the other side must see the end now.
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        return True


def test_the_server_of_these_tests_ends_with_its_connection():
    """It went on reading nothing, and slowed down every test that came after."""
    client, connection = socket.socketpair()
    with client, connection, little_work(seconds=2):
        client.sendall(b"DATA\r\nSubject: Hello\r\n")
        client.shutdown(socket.SHUT_WR)
        Server().talk(connection)


@pytest.mark.parametrize("how", ["cut", pytest.param("silent", marks=pytest.mark.heavy)])
@pytest.mark.parametrize(
    ("moment", "phase", "in_doubt", "journal"),
    [
        ("mail", "mail", False, {}),
        ("rcpt", "rcpt", False, {}),
        ("data", "data", False, {}),
        ("end", "end", True, {"l1": "begun"}),
    ],
)
def test_only_after_the_final_dot_a_cut_leaves_doubt(tmp_path, moment, phase, in_doubt, journal, how):
    server = Server(moment, how)
    patience = {"timeout": 0.3, "answer_timeout": 0.5} if how == "silent" else {}
    with (
        misbehaving(server.talk) as port,
        ServerConnection(target(port, **patience)) as connection,
        Journal.open(tmp_path, 1, "c1") as kept,
    ):
        outcome = send(connection, **kept.in_flight("l1"))
    assert (outcome.phase, outcome.in_doubt, outcome.accepted, outcome.code) == (phase, in_doubt, False, None)
    assert outcome.temporary is not in_doubt
    assert outcome.why["code"] == ("in_doubt" if in_doubt else "fell_silent" if how == "silent" else "connection_lost")
    assert read_folder(tmp_path, 1) == journal
    assert server.mails == []


def test_a_cut_in_the_middle_of_the_content_leaves_no_doubt(tmp_path):
    with (
        misbehaving(Server("content").talk) as port,
        ServerConnection(target(port)) as connection,
        Journal.open(tmp_path, 1, "c1") as journal,
    ):
        outcome = send(connection, content=MAIL + b"a long line\r\n" * 2_000_000, **journal.in_flight("l1"))
    assert (outcome.phase, outcome.in_doubt, outcome.temporary) == ("content", False, True)
    assert read_folder(tmp_path, 1) == {}


def test_a_server_that_stops_reading_is_left(tmp_path):
    def stuck(connection: socket.socket) -> None:
        lines = connection.makefile("rb")
        connection.sendall(b"220 hi\r\n")
        for line in lines:
            connection.sendall(b"354 go\r\n" if line.startswith(b"DATA") else b"250 ok\r\n")
            if line.startswith(b"DATA"):
                break
        ended.wait(60)

    ended = threading.Event()
    with misbehaving(stuck) as port, ServerConnection(target(port, timeout=0.3)) as connection:
        outcome = send(connection, content=b"x: y\r\n\r\n" + b"a long line\r\n" * 2_000_000)
        ended.set()
    assert (outcome.phase, outcome.in_doubt, outcome.temporary) == ("content", False, True)
    assert outcome.why["code"] == "fell_silent"


@pytest.mark.heavy
def test_a_slow_answer_to_the_final_dot_is_waited_for():
    def slow(connection: socket.socket) -> None:
        lines = connection.makefile("rb")
        connection.sendall(b"220 hi\r\n")
        for line in lines:
            if line == b".\r\n":
                threading.Event().wait(0.6)
            if line == b".\r\n" or re.match(rb"EHLO|MAIL|RCPT|DATA", line):
                connection.sendall(b"354 go\r\n" if line.startswith(b"DATA") else b"250 ok\r\n")

    with misbehaving(slow) as port, ServerConnection(target(port, timeout=0.2, answer_timeout=20)) as connection:
        assert send(connection).accepted


@pytest.mark.parametrize("how", ["cut", "421 4.3.2 Shutting down\r\n"])
def test_a_kept_connection_that_the_server_closed_is_replaced(how):
    server = Server("mail", how, only=1)
    with misbehaving(server.talk) as port, ServerConnection(target(port)) as connection:
        server.moment = ""
        assert send(connection, "first@example.com").accepted
        server.moment = "mail"
        assert send(connection, "second@example.com").accepted
    assert server.connections == 2
    assert len(server.mails) == 2


def test_a_server_that_closes_after_every_mail_gets_them_all():
    def one_mail(connection: socket.socket) -> None:
        connection.sendall(b"220 hi\r\n")
        for line in connection.makefile("rb"):
            if line == b".\r\n" or re.match(rb"EHLO|MAIL|RCPT|DATA", line):
                connection.sendall(b"354 go\r\n" if line.startswith(b"DATA") else b"250 ok\r\n")
            if line == b".\r\n":
                connection.shutdown(socket.SHUT_RDWR)
                return

    with misbehaving(one_mail) as port, ServerConnection(target(port)) as connection:
        assert [send(connection).accepted for _ in range(4)] == [True] * 4


@pytest.mark.parametrize("moment", ["mail", "rcpt", "data"])
def test_a_cut_before_the_content_is_tried_again_over_a_new_connection(moment):
    server = Server(moment, "cut", only=1)
    with misbehaving(server.talk) as port, ServerConnection(target(port)) as connection:
        assert send(connection).accepted
        assert send(connection).accepted
    assert (server.connections, len(server.mails)) == (2, 2)


def test_a_connection_that_fell_silent_while_idle_is_noticed_before_a_mail_pays_for_it():
    server = Server("noop", "silent", only=1)
    with (
        misbehaving(server.talk) as port,
        ServerConnection(target(port, timeout=0.3), idle_seconds=-1) as connection,
    ):
        assert send(connection).accepted
    assert server.connections == 2
    assert len(server.mails) == 1


def test_an_idle_connection_that_lives_is_kept(receiver):
    with ServerConnection(target(receiver.port), idle_seconds=-1, transcript=True) as connection:
        assert send(connection).accepted
        assert send(connection).accepted
        assert connection.transcript.take().count("NOOP") == 2
    assert len(receiver.sessions) == 1


def test_a_server_that_is_gone_for_good_fails_the_mail_not_the_worker(receivers):
    receiver = receivers()
    with ServerConnection(target(receiver.port)) as connection:
        assert send(connection).accepted
        receiver.close()
        outcome = send(connection)
        assert send(connection).why["code"] == "connection_refused"
    assert outcome.why["code"] in ("connection_refused", "connection_lost")
    assert (outcome.temporary, outcome.in_doubt) == (True, False)


@pytest.mark.parametrize("moment", ["mail", "rcpt", "end"])
def test_421_closes_and_is_temporary(moment):
    server = Server(moment, "421 4.7.0 Too much\r\n", only=1)
    with misbehaving(server.talk) as port, ServerConnection(target(port)) as connection:
        outcome = send(connection)
        assert (outcome.code, outcome.temporary, outcome.in_doubt) == (421, True, False)
        assert send(connection).accepted
    assert server.connections == 2


@pytest.mark.parametrize("answer", ["hello\r\n", "25\r\n", "x" * 100_000, "999-\r\nabc\r\n", "354 go\r\n", "600 x\r\n"])
@pytest.mark.parametrize("moment", ["mail", "end"])
def test_nonsense_is_no_acceptance(moment, answer):
    with misbehaving(Server(moment, answer).talk) as port, ServerConnection(target(port)) as connection:
        outcome = send(connection)
    assert not outcome.accepted
    assert outcome.in_doubt is (moment == "end")


def test_answers_of_several_lines_and_in_pieces_are_read_whole():
    def dripping(connection: socket.socket) -> None:
        for character in "220-hi\r\n220 there\r\n":
            connection.sendall(character.encode())
        for line in connection.makefile("rb"):
            answer = "354 go\r\n" if line.startswith(b"DATA") else "250-one\r\n250-\r\n250 2.0.0 two\r\n"
            if line == b".\r\n" or re.match(rb"EHLO|MAIL|RCPT|DATA", line):
                for piece in (answer[:7], answer[7:9], answer[9:]):
                    connection.sendall(piece.encode())

    with misbehaving(dripping) as port, ServerConnection(target(port)) as connection:
        outcome = send(connection)
    assert outcome.accepted
    assert (outcome.enhanced, outcome.text) == ("2.0.0", "one  two")


@pytest.mark.heavy
def test_a_server_that_drips_gets_no_more_time_for_it():
    def forever(connection: socket.socket) -> None:
        for _ in range(600):  # then it hangs up, which is another failure
            connection.sendall(b"220-")
            stop.wait(0.05)

    stop = threading.Event()
    with misbehaving(forever) as port:
        assert opening(port, timeout=0.5).why["code"] == "timed_out"
        stop.set()


# --- the journal


def test_content_goes_out_after_the_journal_and_never_without_it(receiver):
    told = []

    def no_room() -> None:
        raise JournalFailed(detail="No space left on device")

    with ServerConnection(target(receiver.port)) as connection:
        assert send(
            connection, before_content=lambda: told.append("begin"), after_accept=lambda: told.append("ok")
        ).accepted
        with pytest.raises(JournalFailed):
            send(connection, before_content=no_room)
        assert len(receiver.mails) == 1
        assert send(connection, after_accept=no_room).accepted  # the server has it: the outcome stands
        assert send(connection).accepted
    assert told == ["begin", "ok"]
    assert len(receiver.mails) == 3


def test_a_refusal_of_the_content_ends_the_doubt(receiver, tmp_path):
    receiver.answers[f"content {ANN}"] = "554 5.7.1 Spam"
    with ServerConnection(target(receiver.port)) as connection, Journal.open(tmp_path, 1, "c1") as journal:
        for number in range(3):
            assert not send(connection, **journal.in_flight(f"l{number}")).accepted
        assert send(connection, "bob@example.com", **journal.in_flight("l9")).accepted
    assert read_folder(tmp_path, 1) == {"l9": "ok"}


# --- opening


def test_what_opening_says():
    assert isinstance(opening(free_port()), ConnectionRefused)
    with misbehaving(silent) as port:
        assert isinstance(opening(port, timeout=0.3), TimedOut)
    with misbehaving(says(b"554 5.7.1 You are on a blocklist\r\n")) as port:
        error = opening(port)
        assert isinstance(error, GreetingRefused)
        assert "blocklist" in say(error.why)
    with misbehaving(says(b"SSH-2.0-OpenSSH_9.2\r\n")) as port:
        error = opening(port)
        assert isinstance(error, NotUnderstood)
        assert "SSH-2.0" not in say(error.why)
    with misbehaving(lambda connection: None) as port:
        assert isinstance(opening(port), ConnectionLost)
    with misbehaving(Server("ehlo", "550 no\r\n").talk) as port, ServerConnection(target(port)) as connection:
        assert send(connection).accepted  # an old server that only knows HELO
    assert isinstance(opening(25, host="a" * 70 + ".test"), NameNotFound)
    assert isinstance(opening(25, host="a..b"), NameNotFound)


def test_tls_is_never_given_up_silently(receiver):
    assert isinstance(opening(receiver.port, encryption="starttls"), StarttlsMissing)
    assert isinstance(opening(receiver.port, encryption="tls", timeout=0.5), TlsFailed | TimedOut)
    assert receiver.logins == []


def test_bytes_before_the_encryption_are_not_taken_for_answers_after_it():
    script = says(b"220 hi\r\n", b"250-me\r\n250 STARTTLS\r\n", b"220 go\r\n250-me\r\n250 AUTH PLAIN\r\n")
    with misbehaving(script) as port:
        assert isinstance(opening(port, encryption="starttls", verify_tls=False), NotUnderstood)


@pytest.mark.parametrize("encryption", ["starttls", "tls"])
@pytest.mark.parametrize("host", ["localhost", HOST])
def test_a_verified_connection(receivers, trusted: Authority, tmp_path, encryption, host):
    context = server_tls(trusted.issue("mail.office.test", tmp_path))
    options = {"ssl_context": context} if encryption == "tls" else {"tls_context": context, "require_starttls": True}
    receiver = receivers(**options)
    with ServerConnection(target(receiver.port, encryption=encryption, host=host)) as connection:
        assert isinstance(connection.host.sock, ssl.SSLSocket)
        assert connection.host.sock.version() in ("TLSv1.2", "TLSv1.3")
        assert all(send(connection).accepted for _ in range(3))
        assert send(connection, content=MAIL + b"large\r\n" * 100_000).accepted
    assert len(receiver.sessions) == 1


def test_old_tls_is_not_spoken():
    assert network.tls_context().minimum_version == ssl.TLSVersion.TLSv1_2
    assert network.tls_context(verify=False).minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("encryption", ["starttls", "tls"])
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("self-signed", CertificateSelfSigned),
        ("unknown authority", CertificateRefused),
        ("expired", CertificateExpired),
        ("other name", CertificateWrongName),
    ],
)
def test_a_certificate_that_proves_nothing(receivers, trusted: Authority, tmp_path, encryption, fault, error):
    files = {
        "self-signed": lambda: self_signed(tmp_path, "localhost"),
        "unknown authority": lambda: Authority(tmp_path, "Somebody").issue("localhost", tmp_path),
        "expired": lambda: trusted.issue("localhost", tmp_path, days=-1),
        "other name": lambda: trusted.issue("other.test", tmp_path),
    }[fault]()
    context = server_tls(files)
    host = "127.0.0.2" if fault == "other name" else "localhost"
    listens = "127.0.0.2" if fault == "other name" else HOST
    receiver = receivers(
        host=listens, **({"ssl_context": context} if encryption == "tls" else {"tls_context": context})
    )
    raised = opening(receiver.port, encryption=encryption, host=host)
    assert type(raised) is error
    assert raised.retry  # "TLS trouble" is retried: outgoing.md 7
    unverified = target(receiver.port, encryption=encryption, host=host, verify_tls=False)
    with ServerConnection(unverified) as connection:  # what an administrator can choose per server
        assert send(connection).accepted


def test_a_client_certificate(receivers, trusted: Authority, tmp_path):
    context = server_tls(trusted.issue("localhost", tmp_path))
    key, certificate = self_signed(tmp_path, "client.office.test")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificate)
    receiver = receivers(ssl_context=context)
    ours = {
        "host": "localhost",
        "encryption": "tls",
        "auth": "certificate",
        "client_cert": certificate.read_text(),
        "client_key": key.read_text(),
    }
    with ServerConnection(target(receiver.port, **ours)) as connection:
        assert send(connection).accepted
    assert isinstance(opening(receiver.port, **ours | {"auth": "none"}), TlsFailed | ConnectionLost)
    assert isinstance(opening(receiver.port, **ours | {"client_key": ""}), ClientCertificateUnusable)
    assert isinstance(opening(receiver.port, **ours | {"client_cert": "nonsense"}), ClientCertificateUnusable)


@pytest.mark.parametrize(("ways", "used"), [((), "PLAIN"), (("PLAIN",), "LOGIN")])
def test_logging_in(receivers, ways, used):
    receiver = receivers(login=True, auth_exclude_mechanism=ways)
    login = {"auth": "password", "user": "clerk", "password": "pässword"}
    with ServerConnection(target(receiver.port, **login), transcript=True) as connection:
        assert send(connection).accepted
        transcript = connection.transcript.take()
    assert [how for how, _ in receiver.logins] == [used]
    assert f"AUTH {used}" in transcript
    for secret in ("pässword", "pässword".encode(), b"\0clerk\0" + "pässword".encode()):
        octets = secret.encode() if isinstance(secret, str) else secret
        assert base64.b64encode(octets).decode() not in transcript
        assert octets.decode() not in transcript
    error = opening(receiver.port, **login | {"password": "wrong"})
    assert isinstance(error, LoginRefused)
    assert error.retry  # the mail is not to blame for the password
    assert "clerk" in say(error.why)
    assert "wrong" not in say(error.why)


def test_logging_in_by_challenge():
    def challenging(connection: socket.socket) -> None:
        connection.sendall(b"220 hi\r\n")
        for line in connection.makefile("rb"):
            seen.append(line)
            answers = {
                b"EHLO": b"250-me\r\n250 AUTH CRAM-MD5\r\n",
                b"AUTH": b"334 PDEyMzRAbWU+\r\n",
                b"QUIT": b"221 x\r\n",
            }
            connection.sendall(answers.get(line[:4], b"235 ok\r\n"))

    seen: list[bytes] = []
    login = {"auth": "password", "user": "tim", "password": "tanstaaftanstaaf"}
    with misbehaving(challenging) as port, ServerConnection(target(port, **login)):
        pass
    expected = smtplib.hmac.HMAC(b"tanstaaftanstaaf", b"<1234@me>", "md5").hexdigest()
    assert base64.b64decode(seen[2]).decode() == f"tim {expected}"


def test_a_server_without_a_login_we_know(receiver):
    login = {"auth": "password", "user": "clerk", "password": "x"}
    with misbehaving(says(b"220 hi\r\n", b"250-me\r\n250 AUTH GSSAPI\r\n", b"221 bye\r\n")) as port:
        error = opening(port, **login)
    assert isinstance(error, LoginNotOffered)
    assert error.why["values"]["offered"] == "GSSAPI"


# --- where a connection may go


@pytest.mark.parametrize(
    ("host", "port", "allow_local", "error"),
    [
        ("169.254.169.254", 25, True, AddressNotAllowed),
        ("0.0.0.0", 25, True, AddressNotAllowed),
        ("224.0.0.1", 25, True, AddressNotAllowed),
        ("255.255.255.255", 25, True, AddressNotAllowed),
        ("::", 25, True, AddressNotAllowed),
        ("fe80::1", 25, True, AddressNotAllowed),
        ("fd00:ec2::254", 25, True, AddressNotAllowed),
        ("::ffff:169.254.169.254", 25, True, AddressNotAllowed),
        ("64:ff9b::a9fe:a9fe", 25, True, AddressNotAllowed),
        ("2002:a9fe:a9fe::1", 25, True, AddressNotAllowed),
        ("100.100.100.200", 25, True, AddressNotAllowed),
        ("127.0.0.1", 25, False, AddressNotAllowed),
        ("localhost", 25, False, AddressNotAllowed),
        ("0x7f.1", 25, False, AddressNotAllowed),
        ("2130706433", 25, False, AddressNotAllowed),
        ("10.0.0.1", 25, False, AddressNotAllowed),
        ("192.168.1.1", 587, False, AddressNotAllowed),
        ("172.16.0.1", 587, False, AddressNotAllowed),
        ("100.64.0.1", 587, False, AddressNotAllowed),
        ("::1", 25, False, AddressNotAllowed),
        ("fd12::1", 25, False, AddressNotAllowed),
        ("::ffff:127.0.0.1", 25, False, AddressNotAllowed),
        ("1.1.1.1", 22, False, PortNotAllowed),
        ("1.1.1.1", 6379, False, PortNotAllowed),
        ("1.1.1.1", 587, False, None),
        ("127.0.0.1", 6379, True, None),
        ("10.0.0.1", 25, True, None),
        ("fd12::1", 25, True, None),
    ],
)
def test_where_a_connection_may_go(host, port, allow_local, error):
    def look_up() -> list[network.HostAddress]:
        return network.look_up(host, port, allow_local=allow_local, timeout=10)

    if error is None:
        assert [address.ip for address in look_up()] == [host]
    else:
        with pytest.raises(error):
            look_up()


def test_the_second_address_is_tried_when_the_first_is_dead(receiver):
    dead = network.HostAddress(socket.AF_INET, "127.0.0.3", free_port())
    alive = network.HostAddress(socket.AF_INET, HOST, receiver.port)
    with network.open_socket("mail.test", [dead, alive], timeout=30) as connection:
        assert connection.getpeername() == (HOST, receiver.port)


# --- Test Connection


def steps_of(server: SmtpTarget, senders=("office@office.test",), **more) -> list[ConnectionStep]:
    steps = list(test_steps(server, senders, **more))
    assert all(say(step.why) and "?" not in say(step.why) and step.seconds >= 0 for step in steps)
    return steps


def states(steps: list[ConnectionStep]) -> list[tuple[str, str]]:
    return [(step.name, step.state) for step in steps]


def test_a_test_without_fault(receivers, trusted: Authority, tmp_path):
    context = server_tls(trusted.issue("localhost", tmp_path, days=90))
    receiver = receivers(tls_context=context, login=True)
    login = {"auth": "password", "user": "clerk", "password": "pässword"}
    transcript = Transcript()
    steps = steps_of(
        target(receiver.port, host="localhost", encryption="starttls", **login),
        ["office@office.test", "bounce@office.test", "office@office.test"],
        transcript=transcript,
    )
    assert states(steps) == [
        ("lookup", "ok"), ("connect", "ok"), ("greeting", "ok"), ("capabilities", "ok"), ("tls", "ok"), ("login", "ok"),
        ("mail_from", "ok"), ("rcpt_to", "ok"), ("mail_from", "ok"), ("rcpt_to", "ok"),
    ]  # fmt: skip
    assert "TLSv1.3" in say(steps[4].why)
    assert re.search(r"valid until \d{4}-\d\d-\d\d", say(steps[4].why))
    assert [step.address for step in steps[6:]] == ["office@office.test"] * 2 + ["bounce@office.test"] * 2
    assert receiver.mails == []
    shown = transcript.take()
    assert shown.count("RSET") == 2
    assert "AUTH PLAIN ***" in shown
    assert base64.b64encode(b"\0clerk\0" + "pässword".encode()).decode() not in shown


def test_a_test_of_postfix_by_both_encryptions(postfix: Postfix, trusted: Authority):
    for encryption, port in (("starttls", postfix.port), ("tls", postfix.tls_port)):
        steps = steps_of(target(port, host="localhost", encryption=encryption), recipient="me@example.com")
        assert {step.name for step in steps if step.state == "failed"} == set()
        tls = next(step for step in steps if step.name == "tls")
        assert tls.state == "warning"  # the certificate of the tests is valid for a day
        assert "expires" in say(tls.why)


def test_a_refused_sender_is_named_though_the_server_hangs_up_then():
    with misbehaving(odd(mail=b"553 5.7.1 Sender address rejected: not owned by user\r\n", rset=b"")) as port:
        *_, sender, recipient = steps_of(target(port), ["one@office.test"])
    assert (sender.why["code"], recipient.state) == ("sender_refused", "skipped")


def test_a_test_goes_on_after_a_refused_sender(receiver):
    receiver.answers |= {
        "one@office.test": "553 5.7.1 Sender address rejected: not owned by user",
        "two@office.test": "451 4.3.0 Later",
        "me@example.com": "550 Not you",
        "gone@example.com": "550 5.1.1 User unknown",
    }
    senders = ["one@office.test", "two@office.test", "three@office.test"]
    steps = [step for step in steps_of(target(receiver.port), senders, recipient="me@example.com") if step.address]
    assert [(step.name, step.state, step.why["code"]) for step in steps] == [
        ("mail_from", "failed", "sender_refused"),
        ("rcpt_to", "skipped", "test_not_tried"),
        ("mail_from", "failed", "test_sender_deferred"),
        ("rcpt_to", "skipped", "test_not_tried"),
        ("mail_from", "ok", "test_mail_from"),
        ("rcpt_to", "failed", "test_sender_but_recipient"),
    ]
    assert "not owned by user" in say(steps[0].why)
    for recipient, state in (("you@example.com", "ok"), ("gone@example.com", "warning")):
        steps = steps_of(target(receiver.port), ["four@office.test"], recipient=recipient)
        assert states(steps)[-1] == ("rcpt_to", state), "a recipient that does not exist says nothing about the server"


@pytest.mark.parametrize(
    ("fault", "failed", "code"),
    [
        ("refused", "connect", "connection_refused"),
        ("ssh", "greeting", "not_understood"),
        ("blocklist", "greeting", "greeting_refused"),
        ("no starttls", "tls", "starttls_missing"),
        ("wrong password", "login", "login_refused"),
        ("name", "lookup", "name_not_found"),
        ("metadata", "lookup", "address_not_allowed"),
    ],
)
def test_a_test_names_the_step_that_fails_and_skips_the_rest(receivers, fault, failed, code):
    login = {"auth": "password", "user": "clerk", "password": "wrong"}
    with contextlib.ExitStack() as stack:
        match fault:
            case "refused":
                server = target(free_port())
            case "ssh":
                server = target(stack.enter_context(misbehaving(says(b"SSH-2.0-x\r\n"))))
            case "blocklist":
                server = target(stack.enter_context(misbehaving(says(b"554 blocked\r\n"))))
            case "no starttls":
                server = target(receivers().port, encryption="starttls", **login)
            case "wrong password":
                server = target(receivers(login=True).port, **login)
            case "name":
                server = target(25, host="a" * 70 + ".test")
            case _:
                server = target(25, host="169.254.169.254")
        steps = steps_of(server)
    position = next(number for number, step in enumerate(steps) if step.state == "failed")
    assert (steps[position].name, steps[position].why["code"]) == (failed, code)
    assert all(step.state == "skipped" for step in steps[position + 1 :])
    assert steps[-1].name == "rcpt_to"


@pytest.mark.parametrize("way", [b"PLAIN", b"LOGIN"])
def test_a_server_that_repeats_the_password_does_not_make_us_show_it(way: bytes) -> None:
    def repeats(connection: socket.socket) -> None:
        connection.sendall(b"220 odd.test ESMTP\r\n")
        for number in range(4):
            line = connection.recv(1024)
            if number == 0:
                connection.sendall(b"250-odd.test\r\n250 AUTH %b\r\n" % way)
            elif way == b"LOGIN" and number < 3:
                connection.sendall(b"334 VXNlcm5hbWU6\r\n")
            else:
                connection.sendall(b"535 not a command: secret-word %b\r\n" % line.strip())

    transcript = Transcript()
    with misbehaving(repeats) as port:
        steps = steps_of(target(port, auth="password", user="clerk", password="secret-word"), transcript=transcript)
    shown = transcript.take() + "".join(say(step.why) for step in steps)
    assert "not a command: *** " in shown and "login_refused" in {step.why["code"] for step in steps}
    coded = (base64.b64encode(word).decode() for word in (b"secret-word", b"\0clerk\0secret-word"))
    assert not any(secret in shown for secret in ("secret-word", *coded))


def test_a_test_says_what_is_open_to_see(receivers, trusted: Authority, tmp_path):
    receiver = receivers(login=True)
    login = {"auth": "password", "user": "clerk", "password": "pässword"}
    assert ("tls", "warning") in states(steps_of(target(receiver.port, **login)))
    context = server_tls(self_signed(tmp_path, "localhost"))
    steps = steps_of(target(receivers(ssl_context=context).port, encryption="tls", verify_tls=False))
    assert ("tls", "warning") in states(steps)
    assert "not verified" in say(next(step.why for step in steps if step.name == "tls"))


@pytest.mark.heavy
def test_a_test_never_takes_longer_than_its_time():
    def talks(connection: socket.socket) -> None:
        for _ in range(1_000):
            connection.sendall(b"220-still there\r\n")
            stop.wait(0.02)

    def stays_silent(connection: socket.socket) -> None:
        connection.settimeout(20)  # then it hangs up, which is another failure
        connection.recv(1)

    stop = threading.Event()
    for script in (stays_silent, talks):
        with misbehaving(script) as port:
            steps = steps_of(target(port, timeout=30), seconds=0.6)
        assert [(step.state, step.why["code"]) for step in steps if step.name in ("greeting", "capabilities")] == [
            ("failed", "timed_out"),
            ("skipped", "test_out_of_time"),
        ]
        assert not any("automatically" in say(step.why) for step in steps), "nobody repeats a test"
        (failed,) = (step for step in steps if step.state == "failed")
        assert abs(failed.why["values"]["seconds"] - failed.seconds) <= 1, "as long as it was"
    stop.set()


def test_a_test_that_many_steps_have_used_up_blames_none_of_them(monkeypatch):
    clock = [0.0]

    def takes_its_time(connection: socket.socket) -> None:
        connection.sendall(b"220 odd.test ESMTP\r\n")
        while connection.recv(1024):
            clock[0] += 3
            connection.sendall(b"250 fine\r\n")

    for module in (smtp_check, smtp_session, transport_steps):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock[0], time=time.time))
    with misbehaving(takes_its_time) as port:
        steps = steps_of(target(port, timeout=30), [f"a{number}@x.test" for number in range(9)], seconds=20)
    assert [(step.state, step.why["code"]) for step in steps if step.state != "ok"][:3] == [
        ("skipped", "test_tls_off_no_login"),
        ("skipped", "test_login_off"),
        ("failed", "test_ran_out"),  # not that this server did not respond
    ]


def test_a_step_can_be_stored(receiver):
    step = steps_of(target(receiver.port))[0]
    stored = {"name": "lookup", "state": "ok", "why": step.why, "seconds": step.seconds, "address": "", "uses": ()}
    assert step.as_json() == stored


# --- transcripts


@pytest.mark.heavy
def test_a_transcript_is_taken_piece_by_piece_and_stays_small(receiver):
    with ServerConnection(target(receiver.port), transcript=True) as connection:
        opened = connection.transcript.take()
        assert send(connection).accepted
        first = connection.transcript.take()
        for _ in range(300):
            assert send(connection).accepted
        rest = connection.transcript.take()
    assert "EHLO" in opened
    assert f"→ MAIL FROM:<{SENDER}>" in first
    assert "EHLO" not in first
    assert "Subject" not in first
    assert len(rest) < 20_000
    assert "left out" in rest


# --- nothing raises


def odd(ehlo: bytes = b"250 odd.test\r\n", **replies: bytes) -> Callable[[socket.socket], None]:
    """A server that is well but for what it offers and answers, by command."""

    def script(connection: socket.socket) -> None:
        connection.sendall(replies.get("greeting", b"220 odd.test ESMTP\r\n"))
        lines = connection.makefile("rb")
        for line in lines:
            command = line[:4].decode("latin-1").lower().strip()
            if command == "data":
                connection.sendall(b"354 go on\r\n")
                while lines.readline() not in (b".\r\n", b""):
                    pass
                command = "dot"
            answer = replies.get(command, ehlo if command == "ehlo" else b"250 fine\r\n")
            connection.sendall(answer)
            if not answer:
                connection.shutdown(socket.SHUT_RDWR)
                return

    return script


LOGIN = {"auth": "password", "user": "clerk", "password": "pässword"}


@pytest.mark.parametrize(
    ("server", "settings", "recipient", "code"),
    [
        (odd("250-odd.test\r\n250 SIZE ²\r\n".encode()), {}, ANN, None),
        (odd(b"250-odd.test\r\n250 SIZE \xb2\r\n"), {}, ANN, None),
        (odd(b"250-odd.test\r\n250 SIZE -1\r\n"), {}, ANN, None),
        (odd(b"250-odd.test\r\n250 SIZE " + b"9" * 5000 + b"\r\n"), {}, ANN, None),
        (odd(b"250-odd.test\r\n250 SIZE 1 2 3\r\n"), {}, ANN, None),
        (odd(b"250-\xff\xfe\r\n250-\r\n250 ===\r\n"), {}, ANN, None),
        (odd(b"250-odd.test\r\n250 AUTH=\xff\x00\r\n"), {}, ANN, None),
        (odd(b"250\r\n"), {}, ANN, None),
        (odd(greeting=b"220-\xff\xfe\x00\r\n220 \x80\r\n"), {}, ANN, None),
        (odd(greeting=b"\xff\xfe\x00\r\n"), {}, ANN, "not_understood"),
        (odd(), {"helo": "büro.example"}, ANN, None),
        (odd(), {"helo": "büro .example"}, ANN, "helo_unusable"),
        (odd(), {"helo": "x\r\nMAIL FROM:<>"}, ANN, "helo_unusable"),
        (odd(), {"helo": "x" * 300}, ANN, "helo_unusable"),
        (odd(), {"helo": "\ud800"}, ANN, "helo_unusable"),
        (odd(), {"host": "\ud800.test"}, ANN, "name_not_found"),
        (odd(), {"host": ""}, ANN, "name_not_found"),
        (odd(), {}, "Ann Lee <ann@x.test>", "invalid_address"),
        (odd(), {}, "ann@x.test\r\nDATA", "invalid_address"),
        (odd(), {}, "\ud800@x.test", "invalid_address"),
        (odd(), {}, "", "invalid_address"),
        (odd(b"250-odd.test\r\n250 AUTH CRAM-MD5\r\n", auth=b"334 \xff\xff\r\n"), LOGIN, ANN, "not_understood"),
        (odd(b"250-odd.test\r\n250 AUTH CRAM-MD5\r\n", auth=b"334 AAA\r\n"), LOGIN, ANN, "not_understood"),
        (odd(b"250-odd.test\r\n250 AUTH PLAIN\r\n"), LOGIN | {"password": "\ud800"}, ANN, "delivery_unexpected"),
        (odd(b"250-odd.test\r\n250 AUTH LOGIN\r\n", auth=b"334 \xff\r\n"), LOGIN, ANN, None),
        (odd(rcpt=b"550 \xff\xfe\x00\x1b[31m\r\n"), {}, ANN, "recipient_refused"),
        (odd(dot=b"250 \xff\xfe\x00\r\n"), {}, ANN, None),
        (odd(dot=b"\xb2\xb2\xb2 what\r\n"), {}, ANN, "in_doubt"),
        (odd(dot=b"354 go on\r\n"), {}, ANN, "in_doubt"),
        (odd(dot=b"250-fine\r\n550 5.7.1 spam\r\n"), {}, ANN, "blocked_as_spam"),
        (odd(dot=b"550-wait\r\n250 fine\r\n"), {}, ANN, None),
        (odd(b"421 4.7.0 Too many connections\r\n", helo=b""), {}, ANN, "too_many_connections"),
        (odd(b"554 blocked using zen.spamhaus.org\r\n", helo=b""), {}, ANN, "greeting_blocked"),
        (odd(mail=b"2\xb20 what\r\n"), {}, ANN, "not_understood"),
    ],
)
def test_whatever_is_said_or_set_is_an_outcome_with_a_reason(server, settings, recipient, code):
    with misbehaving(server) as port:
        connection = ServerConnection(target(port, **settings))
        outcome = send(connection, recipient)
        connection.close()
    assert (outcome.why and outcome.why["code"]) == code
    assert outcome.accepted == (code is None)
    assert code is None or say(outcome.why)


@pytest.mark.parametrize(
    ("sender", "content", "blamed"),
    [
        ("jürgen@office.test", MAIL, "jürgen@office.test"),
        (
            SENDER,
            "From: Jürgen <jürgen@office.test>\r\nTo: ann@example.com\r\n\r\nx\r\n".encode(),
            "Jürgen <jürgen@office.test>",
        ),
    ],
)
def test_a_from_that_needs_smtputf8_does_not_blame_the_recipient(sender, content, blamed):
    with misbehaving(odd()) as port, ServerConnection(target(port)) as connection:
        outcome = connection.deliver(sender, ANN, content)
    assert outcome.why == {"code": "sender_needs_smtputf8", "values": {"address": blamed}}
    assert not outcome.temporary


def test_doubt_begins_with_the_write_that_holds_the_final_dot():
    """Up to some 128 KB that write holds the content too, so a server that resets in it leaves doubt."""

    def resets(connection: socket.socket) -> None:
        connection.sendall(b"220 hi\r\n")
        for line in connection.makefile("rb"):
            if line.startswith(b"DATA"):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.sendall(b"354 go\r\n")
                connection.recv(1)
                connection.close()
                return
            connection.sendall(b"250 ok\r\n")

    with misbehaving(resets) as port, ServerConnection(target(port)) as connection:
        outcome = send(connection)
    assert (outcome.phase, outcome.in_doubt) == ("end", True)

"""Where strangers are hosted (``online``), nobody gets a connection to the inside by any name they can type (SSRF)."""

import socket
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from mail.sentences import say
from mail.transport import mailbox_open
from mail.transport.mailbox import MailboxTarget
from mail.transport.smtp import ServerConnection
from mail.transport.smtp_check import test_steps as smtp_steps
from mail.transport.smtp_session import SmtpTarget, Transcript
from tests.servers.misbehaving import misbehaving, says

# What a resolver says of names that somebody else controls: to each question the next answer, then the last one again.
NAMES: dict[str, list[list[str]]] = {
    "loopback.test": [["127.0.0.1"]],
    "private.test": [["10.0.0.8"], ["192.168.1.9"]],
    "metadata.test": [["169.254.169.254"]],
    "mapped.test": [["::ffff:127.0.0.1"], ["::ffff:169.254.169.254"]],
    "nat64.test": [["64:ff9b::7f00:1"]],
    "sixtofour.test": [["2002:7f00:1::1"]],
    "isatap.test": [["2606:4700::5efe:10.0.0.8"]],
    "teredo.test": [["2001:0:4136:e378:8000:63bf:80ff:fffe"]],
    "translated.test": [["::ffff:0:127.0.0.1"]],
    "compatible.test": [["::127.0.0.1"]],
    "alibaba.test": [["100.100.100.200"]],
    "shared.test": [["100.64.0.1"]],
    "unspecified.test": [["0.0.0.0"], ["::"]],
    "linklocal.test": [["fe80::1%lo"]],
    "unique-local.test": [["fd00:ec2::254"], ["fd12::1"]],
}
LITERALS = [
    "127.0.0.1", "localhost", "localhost.", "LOCALHOST", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0",
    "0.0.0.0", "::1", "::ffff:127.0.0.1", "::ffff:7f00:1", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254",
    "2852039166", "0xA9FEA9FE", "10.0.0.8", "192.168.1.9", "fd00:ec2::254", "64:ff9b::169.254.169.254",
]  # fmt: skip


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses to which a connection was tried; none comes about."""
    tried: list[str] = []

    def connect(_socket: socket.socket, place: Any) -> None:
        tried.append(place[0])
        raise ConnectionRefusedError

    monkeypatch.setattr("mail.transport.network.socket.socket", type("Watched", (socket.socket,), {"connect": connect}))
    return tried


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Iterable[list[str]]], None]:
    """Let the name service say of a name what somebody else wants."""
    real, answers = socket.getaddrinfo, dict[str, list[list[str]]]()

    def getaddrinfo(host: str, port: int, *more: Any, **options: Any) -> list[Any]:
        if host not in answers:
            return real(host, port, *more, **options)
        ips = answers[host].pop(0) if len(answers[host]) > 1 else answers[host][0]
        families = [socket.AF_INET6 if ":" in ip else socket.AF_INET for ip in ips]
        return [(family, socket.SOCK_STREAM, 6, "", (ip, port)) for family, ip in zip(families, ips, strict=True)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return lambda host, of_host: answers.update({host: [list(ips) for ips in of_host]})


def mailbox(kind: Any, host: str, port: int, **more: Any) -> MailboxTarget:
    return MailboxTarget("x", kind, host, port, user="u", password="p", timeout_connect=3, timeout_read=3, **more)


def try_everything(host: str) -> list[str]:
    """Go every way by which a typed host leads to a connection; return what a person is told."""
    told = []
    for encryption, port in (("starttls", 587), ("tls", 465), ("none", 25)):
        smtp = SmtpTarget("x", host, port, encryption, timeout=3)
        told += [say(step.why) for step in smtp_steps(smtp, ["a@office.test"])]
        outcome = ServerConnection(smtp).deliver("a@office.test", "b@x.test", b"Subject: x\r\n\r\nx\r\n")
        assert (outcome.phase, outcome.accepted, outcome.in_doubt) == ("connect", False, False)
        assert outcome.why is not None
        told.append(say(outcome.why))
    for kind, port in (("imap", 993), ("pop3", 995)):
        told += [say(step.why) for step in mailbox_open.test_steps(mailbox(kind, host, port))]
    return told


@pytest.mark.parametrize("host", [*NAMES, *LITERALS])
def test_no_name_leads_inside(host, resolver, reached):
    for name, answers in NAMES.items():
        resolver(name, answers)
    told = try_everything(host)
    assert reached == []
    if host in NAMES:  # a typed address may be said again; what a name stands for is nobody's business
        inside = {ip for answer in NAMES[host] for ip in answer}
        assert not [sentence for sentence in told if any(ip in sentence for ip in inside)]


def test_of_several_addresses_only_the_outside_ones_are_tried(resolver, reached):
    resolver("mixed.test", [["127.0.0.1", "1.1.1.1", "::ffff:10.0.0.8", "169.254.169.254"]])
    try_everything("mixed.test")
    assert set(reached) == {"1.1.1.1"}


def test_a_name_that_changes_its_mind_is_asked_once_for_each_connection(resolver, reached):
    """DNS rebinding: the second answer is checked like the first, and no connection goes by the name."""
    for first, second in ((["1.1.1.1"], ["127.0.0.1"]), (["127.0.0.1"], ["1.1.1.1"])):
        resolver("rebind.test", [first, second] * 20)
        try_everything("rebind.test")
    assert set(reached) == {"1.1.1.1"}


@pytest.mark.parametrize("port", [22, 80, 443, 3306, 5432, 6379, 11211])
def test_only_mail_ports_are_reached(port, resolver, reached):
    resolver("outside.test", [["1.1.1.1"]])
    smtp = SmtpTarget("x", "outside.test", port, "none", timeout=3)
    told = [say(step.why) for step in smtp_steps(smtp, ["a@office.test"])]
    read = [say(step.why) for step in mailbox_open.test_steps(mailbox("imap", "outside.test", port, encryption="none"))]
    assert "Use 465 for TLS" in " ".join(told) and "Use 993 for TLS" in " ".join(read)
    assert reached == []


BANNERS = [
    b"220 ftp.inside.test FTP secret-version ready\r\n", b"220-secret-version\r\n220 hi\r\n",
    b"SSH-2.0-secret-version\r\n", b"200 secret-version NNTP\r\n", b"HTTP/1.1 400 secret-version\r\n\r\n",
    b"J\x00\x00\x00\x0a5.7.1-secret-version\x00",
]  # fmt: skip


@pytest.mark.parametrize("banner", BANNERS)
def test_what_another_service_says_of_itself_is_not_shown(banner):
    transcript = Transcript()
    with misbehaving(says(banner, b"500 what\r\n")) as port:
        local = SmtpTarget("x", "127.0.0.1", port, "none", timeout=3, allow_local=True)
        told = [say(step.why) for step in smtp_steps(local, ["a@office.test"], transcript=transcript)]
        for kind in ("imap", "pop3"):
            target = mailbox(kind, "127.0.0.1", port, encryption="none", allow_local=True)
            told += [say(step.why) for step in mailbox_open.test_steps(target)]
    assert "secret-version" not in " ".join(told) + transcript.take()


def test_a_mail_server_is_shown_as_it_greets():
    with misbehaving(says(b"220 mail.test ESMTP ready\r\n", b"250 mail.test\r\n")) as port:
        local = SmtpTarget("x", "127.0.0.1", port, "none", timeout=5, allow_local=True)
        told = [say(step.why) for step in smtp_steps(local, ())]
    assert "mail.test ESMTP ready" in " ".join(told)

"""Sending through a Postfix that is as strict as a provider: login, own addresses, certificates, size, pipelining."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mail.sentences import say
from mail.transport.smtp import Outcome, ServerConnection
from mail.transport.smtp_session import SmtpTarget
from tests.conftest import started
from tests.servers.certificates import Authority
from tests.servers.dovecot import Dovecot
from tests.servers.postfix import Postfix

USER, MINE, ANN = "clerk@mycompany.test", "office@mycompany.test", "ann@example.com"
MAIL = b"From: office@mycompany.test\r\nTo: ann@example.com\r\nSubject: Hello\r\n\r\nHello\r\n"
# A login is needed, only over TLS, and each user has one address.
SUBMISSION = """
message_size_limit = 20000
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = inet:127.0.0.1:{port}
smtpd_tls_auth_only = yes
smtpd_relay_restrictions = permit_sasl_authenticated, permit_tls_all_clientcerts, reject
smtpd_sender_login_maps = inline:{{ {{ {mine} = {user} }} }}
smtpd_sender_restrictions = reject_authenticated_sender_login_mismatch
smtpd_tls_CAfile = {authority}
"""
WITH_CERTIFICATE = "-o smtpd_tls_req_ccert=yes -o smtpd_sasl_auth_enable=no"


@pytest.fixture(scope="module")
def submission(authority: Authority, dovecot: Dovecot) -> Iterator[Postfix]:
    """A provider: STARTTLS and a login on one port, a client certificate on the other."""
    dovecot.add_mailbox(USER)
    values = {"port": dovecot.ports["sasl"], "mine": MINE, "user": USER, "authority": authority.file}
    made = started(lambda: Postfix(authority, "smtp.provider.test", SUBMISSION.format(**values), WITH_CERTIFICATE))
    yield made
    made.close()


def login(postfix: Postfix, **more) -> SmtpTarget:
    given = {"auth": "password", "user": USER, "password": Dovecot.password, "encryption": "starttls", "timeout": 20.0}
    return SmtpTarget(**{"name": "p", "host": "localhost", "port": postfix.port, "allow_local": True} | given | more)


def deliver(target: SmtpTarget, sender: str = MINE, content: bytes = MAIL) -> tuple[Outcome, str]:
    """Deliver one mail over a connection of its own and return the outcome and the dialogue."""
    connection = ServerConnection(target, transcript=True)
    outcome = connection.deliver(sender, ANN, content)
    connection.close()
    return outcome, connection.transcript.take()


def test_a_login_by_starttls(submission: Postfix, trusted: Authority) -> None:
    outcome, said = deliver(login(submission))
    assert outcome.accepted, outcome
    assert "STARTTLS" in said and "AUTH PLAIN ***" in said and Dovecot.password not in said
    assert submission.wait_for(ANN)[0].envelope_sender == MINE


@pytest.mark.parametrize(
    ("changes", "sender", "code"),
    [
        ({"password": "wrong"}, MINE, "login_refused"),
        ({"auth": "none"}, MINE, "relay_denied"),
        ({"encryption": "none"}, MINE, "login_not_offered"),  # this Postfix offers it only when encrypted
        ({}, "boss@mycompany.test", "sender_refused"),
    ],
)
def test_what_a_provider_refuses(submission: Postfix, trusted: Authority, changes, sender, code) -> None:
    outcome, _ = deliver(login(submission, **changes), sender)
    assert not outcome.accepted and outcome.why and outcome.why["code"] == code, outcome
    assert "?" not in say(outcome.why)


def test_a_client_certificate_is_asked_for_and_shown(submission: Postfix, trusted: Authority, tmp_path: Path) -> None:
    key, certificate = trusted.issue("client.mycompany.test", tmp_path)
    target = login(submission, port=submission.tls_port, encryption="tls", auth="certificate",
                   client_cert=certificate.read_text(), client_key=key.read_text())  # fmt: skip
    outcome, _ = deliver(target)
    assert outcome.accepted, outcome
    without, _ = deliver(login(submission, port=submission.tls_port, encryption="tls", auth="none"))
    assert not without.accepted and not without.in_doubt and without.why, without
    assert "certificate" in submission.log()


def test_what_is_too_large_is_known_before_it_is_sent(submission: Postfix, trusted: Authority) -> None:
    outcome, said = deliver(login(submission), content=MAIL + b"x" * 70 + b"\r\n" + b"large\r\n" * 3_000)
    assert outcome.why and outcome.why["code"] == "too_large" and not outcome.temporary
    assert "20000" in say(outcome.why) and "MAIL FROM" not in said


def test_the_envelope_is_pipelined_and_every_answer_has_its_mail(postfix: Postfix, trusted: Authority) -> None:
    postfix.refuse("gone@example.com")
    postfix.defer("later@example.com")
    people = ["one@example.com", "gone@example.com", "later@example.com", "two@example.com"]
    target = SmtpTarget("p", "localhost", postfix.port, "starttls", allow_local=True)
    with ServerConnection(target, transcript=True) as connection:
        outcomes = [connection.deliver(MINE, address, MAIL) for address in people]
        said = connection.transcript.take()
    assert [(one.phase, one.code) for one in outcomes] == [("end", 250), ("rcpt", 550), ("rcpt", 450), ("end", 250)]
    asked = [line.split()[1] for line in said.splitlines() if line.startswith(("→ MAIL", "→ RCPT", "→ DATA", "→ RSET"))]
    assert asked == ["MAIL", "RCPT", "DATA", *(["MAIL", "RCPT", "DATA", "RSET"] * 2), "MAIL", "RCPT", "DATA"]
    assert "→ RCPT TO:<one@example.com>\n→ DATA\n←" in said, "nothing is waited for in between"
    assert said.count("EHLO") == 2, "one connection, greeted before and after STARTTLS"
    assert [postfix.wait_for(address)[0].recipient for address in (people[0], people[3])] == [people[0], people[3]]

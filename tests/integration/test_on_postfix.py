"""What a real Postfix sees: as a provider that is strict, and as the receiver of mails by all rules of the decision."""

from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parseaddr
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from mail.outgoing import deliver as queue
from mail.outgoing import enqueue
from mail.outgoing.enqueue import OutgoingDraft, To
from mail.queue.connections import Connections
from mail.queue.journal import Journal
from mail.queue.lease import WorkerLease
from mail.sentences import say
from mail.settings import config, office, parameters
from mail.settings.config import settings
from mail.transport.smtp import Outcome, ServerConnection
from mail.transport.smtp_session import SmtpTarget
from models import OutgoingServer, db
from scheduler import create_worker_app
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


# --- who sends, and as whom: outgoing.md 2 to 6

NOTIFY, BOUNCE = "notifications@mycompany.test", "bounce@mycompany.test"
SHOP = {"name": "shop", "from_filter": "shop.test, Boss@Partner.test"}
MAIN = {"name": "main", "from_filter": "mycompany.test"}
OPEN = {"name": "open"}
BOTH, ALL = (SHOP, MAIN), (SHOP, MAIN, OPEN)


@pytest.mark.parametrize("default", ["", "mycompany.test"], ids=["no default server", "default server with a filter"])
def test_each_mail_arrives_by_the_server_and_as_the_sender_that_were_decided(
    tmp_path: Path, postfix: Postfix, default: str
) -> None:
    if default:
        sent = {"MAIL_SERVER": "127.0.0.1", "MAIL_PORT": str(postfix.port), "MAIL_DEFAULT_FROM_FILTER": default}
        cases: list[tuple[Any, ...]] = [
            ((), "Clerk <clerk@mycompany.test>", {}, "", "clerk@mycompany.test", BOUNCE),
            ((), "Ann <ann@elsewhere.test>", {}, "", NOTIFY, BOUNCE),
        ]
    else:
        sent = {}
        cases = [
            (ALL, "Boss <boss@partner.test>", {}, "shop", "boss@partner.test", "boss@partner.test"),
            (ALL, "Zoe <zoe@shop.test>", {}, "shop", "zoe@shop.test", "zoe@shop.test"),
            (ALL, "Zoe <zoe@shop.test>", {"return_path": "back@shop.test"}, "shop", "zoe@shop.test", "back@shop.test"),
            (ALL, "Zoe <zoe@shop.test>", {"return_path": "<>"}, "shop", "zoe@shop.test", ""),
            (ALL, "Zoe <zoe@mail.shop.test>", {}, "open", NOTIFY, BOUNCE),
            (ALL, "Ann <ann@elsewhere.test>", {}, "open", NOTIFY, BOUNCE),
            (ALL, '"zoe@shop.test" <ann@elsewhere.test>', {}, "open", NOTIFY, BOUNCE),
            (BOTH, "Ann <ann@elsewhere.test>", {}, "main", NOTIFY, BOUNCE),
            (BOTH, "Zoe <zoe@shop.test>, Bob <bob@mycompany.test>", {}, "shop", "zoe@shop.test", "zoe@shop.test"),
            ((OPEN | {"rewrite": "never"},), "Ann <ann@elsewhere.test>", {}, "open", "ann@elsewhere.test", BOUNCE),
            ((OPEN | {"rewrite": "always"},), "Clerk <clerk@mycompany.test>", {}, "open", NOTIFY, BOUNCE),
            ((MAIN | {"priority": 3}, MAIN | {"name": "second"}), "Clerk <clerk@mycompany.test>", {}, "main",
             "clerk@mycompany.test", BOUNCE),
        ]  # fmt: skip
    env = {"COQUI_DATA": str(tmp_path), "DATABASE_URL": f"sqlite:///{tmp_path / 'office.db'}"} | sent
    app = create_worker_app(config.read(env))
    with app.app_context(), Connections() as connections:
        db.create_all()
        for key, value in (("mail.catchall.domain", "mycompany.test"), ("mail.default.from", "notifications")):
            parameters.put(key, value, datetime.now(UTC))
        db.session.commit()
        worker = WorkerLease.register(datetime.now(UTC))
        journal = Journal.open(settings().journal_folder, worker.id, "one")
        for number, (servers, author, given, way, sender, envelope) in enumerate(cases):
            use(servers, postfix.port)
            draft = OutgoingDraft("test", author, "Hello", "<p>Hello</p>", **given)
            enqueue.enqueue(draft, [To(f"r{number}@example.com")], datetime.now(UTC))
            while queue.send_some(worker, connections, journal):
                pass
            (mail,) = postfix.wait_for(f"r{number}@example.com")
            found = mail.message["X-Way"] or "", parseaddr(str(mail.message["From"]))[1], mail.envelope_sender
            assert found == (way, sender, envelope), (author, given)
            assert mail.message["Reply-To"], "it is always written"
        journal.close()
        db.engine.dispose()


def use(servers: tuple[dict[str, Any], ...], port: int) -> None:
    """Have these servers and no others; each writes its name into its mails."""
    db.session.execute(delete(OutgoingServer))
    for values in servers:
        given = {"host": "127.0.0.1", "port": port, "encryption": "none", "authentication": "none"}
        db.session.add(OutgoingServer(**given, headers=f"X-Way: {values['name']}", **values))
    db.session.commit()
    office.forget()

"""Which email of ours a reply or a report is about, where its own headers don't say: VERP, and the ids of relays."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import func, select

from mail.decide.sender import Request, decide
from mail.incoming import aliases, domain_rules
from mail.mailing import mailing
from mail.outgoing import deliver, unique_senders
from mail.queue.connections import Connections
from mail.queue.journal import Journal
from mail.settings import office, parameters
from mail.settings.tokens import TokenKind
from models import (
    Alias,
    Bounce,
    DeliveryAttempt,
    Notification,
    OfficeDomain,
    OutgoingServer,
    Recipient,
    RelayId,
    Trace,
    db,
)
from tests.integration.frontdesk import DOMAIN, NOW, FrontDesk, counted_statements, mail, sentences
from tests.integration.mass import Sender, add_contacts, add_server, draft, states
from tests.servers.misbehaving import Script, misbehaving
from tests.servers.postfix import Postfix

SES = "0102019abc{number:06x}-6ad06aed-{number:04x}-4b3a-ad00-1ceb8cf2edc9-000000"
CATCHALL = f"catchall@{DOMAIN}"
NAMES_NOBODY = (
    "Return-Path: <>\r\nFrom: MAILER-DAEMON@mx.test\r\nTo: {to}\r\nSubject: Undeliverable\r\n"
    "Date: Sun, 22 Nov 2026 09:50:00 +0000\r\nMessage-ID: <nobody@mx.test>\r\n\r\n"
    "Your message could not be delivered. It will not be tried again.\r\n"
)


@pytest.fixture
def desk(app: Flask) -> FrontDesk:
    return FrontDesk(app)


def relay(answers: Iterator[str]) -> Script:
    """Return a server that accepts everything and says the next of these answers to each email."""

    def script(connection: socket.socket) -> None:
        connection.sendall(b"220 relay.test ESMTP\r\n")
        lines = connection.makefile("rb")
        for line in lines:
            if line.strip().upper() == b"DATA":
                connection.sendall(b"354 go on\r\n")
                while lines.readline() not in (b".\r\n", b""):
                    pass
                connection.sendall(f"250 {next(answers)}\r\n".encode())
            else:
                connection.sendall(b"250 fine\r\n")

    return script


def send_everything(desk: FrontDesk, folder: Path) -> None:
    with (
        desk.app.app_context(),
        Connections() as connections,
        Journal.open(folder / "journal", desk.worker.id, "one") as journal,
    ):
        while deliver.send_some(desk.worker, connections, journal):
            pass


def new_thread(desk: FrontDesk, port: int, address: str = "ann@customer.test") -> int:
    """Let a clerk write the first message of a thread, to one follower, through a server at a port."""
    with desk.app.app_context():
        add_server(port)
        db.session.commit()
    document = desk.document(followers=[desk.contact(address, "Ann")])
    desk.post(desk.user("Clerk"), document.thread_id)
    return document.thread_id


# --- a bounce address for each recipient


def turn_on(desk: FrontDesk) -> None:
    """Let each recipient have a bounce address of their own, after a mail has shown that they arrive."""
    with desk.app.app_context():
        db.session.execute(db.update(Alias).where(Alias.role == "bounce").values(plus_at=NOW))
        aliases.put("mail.bounce.verp", "1", NOW)
        db.session.commit()


@pytest.mark.heavy
def test_a_report_that_names_nobody_is_known_by_the_address_it_came_to(desk, postfix: Postfix, tmp_path):
    turn_on(desk)
    new_thread(desk, postfix.port)
    send_everything(desk, tmp_path)
    sent = postfix.wait_for("ann@customer.test")[0]
    local, _, domain = sent.envelope_sender.partition("@")
    with desk.app.app_context():
        line = db.session.scalars(select(Recipient)).one()
        assert (local.partition("+")[0], domain) == ("bounce", DOMAIN)
        assert office.tokens().read(local.partition("+")[2]) == (TokenKind.LINE_BOUNCE, line.id)
    desk.receive(NAMES_NOBODY.format(to=sent.envelope_sender.upper()).encode())
    with desk.app.app_context():
        assert db.session.scalars(select(Recipient.state)).one() == "bounced"
        assert db.session.scalars(select(Bounce.address_key)).one() == "ann@customer.test"


@pytest.mark.heavy
def test_each_recipient_of_a_mailing_has_an_address_of_their_own(app, postfix: Postfix):
    desk, sender = FrontDesk(app), Sender(app)
    turn_on(desk)
    with app.app_context():
        add_server(postfix.port)
        id = draft(add_contacts(3))
        mailing.send(id, NOW)
    sender.until_idle()
    sender.close()
    sent = postfix.wait_for("r1@example.test")[0]
    desk.receive(NAMES_NOBODY.format(to=sent.envelope_sender).encode())
    with app.app_context():
        assert states(id) == {"sent": 2, "bounced": 1}
        assert db.session.scalars(select(Trace.address).where(Trace.state == "bounced")).all() == ["r1@example.test"]


def test_they_are_turned_on_once_such_an_address_has_shown_that_it_works(desk):
    """Where a mailbox takes no addresses with a plus, each report would be lost."""
    with desk.app.app_context():
        with pytest.raises(parameters.NotValid, match=f"No email to bounce\\+test@{DOMAIN} has arrived yet"):
            aliases.put("mail.bounce.verp", "1", NOW)
        db.session.rollback()
        assert not parameters.VERP.get()
        assert not office.load().office.verp
    (row,) = desk.receive(mail(to=f"bounce+test@{DOMAIN}"))
    assert (row.state, desk.documents()) == ("ignored", [])
    assert "unique bounce addresses" in sentences(row)[-1]
    with desk.app.app_context():
        assert aliases.without_plus(), "anybody can write there: only a person decides by it"
        aliases.put("mail.bounce.verp", "0", NOW)
        db.session.commit()
    desk.receive(mail(to=f"bounce+test@{DOMAIN}"))
    with desk.app.app_context():
        aliases.put("mail.bounce.verp", "1", NOW)
        db.session.commit()
        assert office.load().office.verp


def envelope_senders(*authors: str) -> list[str]:
    office.forget()
    known = office.load()
    return [decide(Request(author), known.servers, known.office).envelope_sender for author in authors]


def test_a_bounce_address_that_is_new_must_show_it_first(desk):
    """A domain that is added, another name of the bounce address, another alias domain."""
    turn_on(desk)
    authors = f"ann@{DOMAIN}", "bob@second.test"
    with desk.app.app_context():
        domain_rules.save(OfficeDomain(name="second.test", company=""))
        db.session.commit()
        assert envelope_senders(*authors) == [f"bounce+<token>@{DOMAIN}", "bounce@second.test"]
        assert aliases.without_plus() == ["bounce+test@second.test"]
    desk.receive(mail(to="bounce+test@second.test"))
    with desk.app.app_context():
        assert envelope_senders(*authors) == [f"bounce+<token>@{DOMAIN}", "bounce+<token>@second.test"]
        aliases.rename_bounce("returns", NOW)
        db.session.commit()
        assert envelope_senders(*authors) == [f"returns@{DOMAIN}", "returns@second.test"]
    desk.receive(mail(to=f"returns+test@{DOMAIN}"), mail(to="returns+test@second.test"))
    with desk.app.app_context():
        aliases.change_domain("third.test", NOW)
        db.session.commit()
        assert envelope_senders("ann@third.test", *authors[1:]) == ["returns@third.test", "returns+<token>@second.test"]


def test_a_server_that_takes_no_additions_is_left_alone(desk, postfix: Postfix, tmp_path):
    turn_on(desk)
    new_thread(desk, postfix.port)
    with desk.app.app_context():
        db.session.execute(db.update(OutgoingServer).values(verp=False))
        db.session.commit()
    desk.post(desk.user("Dora"), desk.documents()[0].thread_id)
    send_everything(desk, tmp_path)
    assert [one.envelope_sender for one in postfix.wait_for("clerk@home.test")] == [f"bounce@{DOMAIN}"]


def refusing_plus(is_late: bool) -> Script:
    """Return a server that takes no sender with a plus, and says so at once or only after the recipient."""

    def script(connection: socket.socket) -> None:
        connection.sendall(b"220 relay.test ESMTP\r\n")
        lines, is_refused = connection.makefile("rb"), False
        for line in lines:
            command = line[:4].upper()
            if command == b"MAIL":
                is_refused = b"+" in line
            if is_refused and command == (b"RCPT" if is_late else b"MAIL"):
                connection.sendall(b"553 5.7.1 Sender address rejected: no additions\r\n")
            elif command == b"DATA":
                connection.sendall(b"354 go on\r\n")
                while lines.readline() not in (b".\r\n", b""):
                    pass
                connection.sendall(b"250 fine\r\n")
            else:
                connection.sendall(b"250 fine\r\n")

    return script


@pytest.mark.parametrize("is_late", [False, True])
def test_no_email_fails_because_its_server_refuses_a_unique_sender(desk, tmp_path, is_late):
    turn_on(desk)
    desk.user("Ada", role="admin")
    with misbehaving(refusing_plus(is_late)) as port:
        new_thread(desk, port)
        send_everything(desk, tmp_path)
    with desk.app.app_context():
        assert db.session.scalars(select(Recipient.state)).all() == ["sent"]
        assert db.session.scalars(select(OutgoingServer.verp)).all() == [False]
        tries = db.session.scalars(select(DeliveryAttempt.why)).all()
        assert [one and one["code"] for one in tries] == ["sent_with_shared_sender"]
        told = select(Notification.why).where(Notification.kind == "notice")
        assert {one["code"] for one in db.session.scalars(told)} == {"notice_unique_senders_off"}
        assert envelope_senders(f"ann@{DOMAIN}") == [f"bounce@{DOMAIN}"]


def test_the_default_server_is_remembered_as_well(desk):
    turn_on(desk)
    with desk.app.app_context():
        aliases.put("mail.bounce.verp", "", NOW)
        for change, expected in ((None, None), ("on", True), ("off", False), ("on", False)):
            if change:
                {"on": unique_senders.turn_on, "off": unique_senders.turn_off}[change](0, NOW)
            office.forget()
            server = office.load().office.default_server
            assert server is not None and server.verp is expected
        db.session.rollback()


def test_no_mailing_fails_for_it_either(app):
    desk, sender = FrontDesk(app), Sender(app)
    turn_on(desk)
    with misbehaving(refusing_plus(True)) as port:
        with app.app_context():
            add_server(port)
            id = draft(add_contacts(3))
            mailing.send(id, NOW)
        sender.until_idle()
        sender.close()
    with app.app_context():
        assert states(id) == {"sent": 3}
        assert db.session.scalars(select(OutgoingServer.verp)).all() == [False]


# --- the id that a relay gives


@pytest.mark.heavy
def test_a_reply_to_an_email_that_a_relay_renamed_finds_its_thread(desk, tmp_path):
    ids = [SES.format(number=number) for number in range(9)]
    with misbehaving(relay(f"Ok {id}" for id in ids)) as port:
        thread = new_thread(desk, port)
        send_everything(desk, tmp_path)
    given = f"<{ids[0]}@eu-west-1.amazonses.com>"
    (row,) = desk.receive(mail("Ann <ann@customer.test>", CATCHALL, "Re: Hello", "Fine.", answers=[given]))
    assert (row.state, row.result) == ("processed", "reply"), sentences(row)
    assert desk.posts(thread)[-1].text.strip() == "Fine."


@pytest.mark.heavy
def test_a_reply_to_a_mailing_that_a_relay_renamed_is_counted(app):
    desk, sender = FrontDesk(app), Sender(app)
    with misbehaving(
        relay(f"2.6.0 <{n}@relay.test> [InternalId={n}] Queued mail for delivery" for n in range(9))
    ) as port:
        with app.app_context():
            add_server(port)
            id = draft(add_contacts(3))
            mailing.send(id, NOW)
        sender.until_idle()
        sender.close()
    with app.app_context():
        names = dict(
            db.session.execute(select(Trace.address, RelayId.name).join(Trace, Trace.id == RelayId.trace_id)).all()
        )
    assert len(set(names.values())) == len(names) == 3
    desk.receive(mail("r1@example.test", CATCHALL, "Re: News", answers=[f"<{names['r1@example.test']}>"]))
    with app.app_context():
        replied = select(Trace.address).where(Trace.replied_at.is_not(None))
        assert db.session.scalars(replied).all() == ["r1@example.test"]


@pytest.mark.parametrize("words", ["2.0.0 Ok: queued as 4F2A1C", "2.6.0 <%s> [InternalId=7] Queued mail for delivery"])
def test_a_relay_that_keeps_our_id_leaves_nothing_to_remember(desk, tmp_path, words):
    def answers() -> Iterator[str]:
        (sent,) = desk.sent()
        yield words.replace("%s", sent.message_id.strip("<>"))

    with misbehaving(relay(answers())) as port:
        new_thread(desk, port)
        send_everything(desk, tmp_path)
    with desk.app.app_context():
        assert db.session.scalars(select(Recipient.state)).all() == ["sent"]
        assert db.session.scalar(select(func.count()).select_from(RelayId)) == 0


@pytest.mark.parametrize(
    "words",
    [
        "2.1.5 <ann@customer.test> accepted",
        "2.0.0 Message for <ANN@customer.test> from <bounce@mycompany.test> accepted",
        "2.6.0 <ann@customer.test> [InternalId=7] Queued mail for delivery",
        "2.6.0 <Bounce@mycompany.test> Queued mail for delivery",
        "2.0.0 OK <ann@customer.test> [Hostname=mx.relay.test]",
    ],
)
def test_an_address_is_no_id_of_an_email(desk, tmp_path, words):
    """A stranger who knows the address would reach the thread with it."""
    with misbehaving(relay(iter([words] * 9))) as port:
        thread = new_thread(desk, port)
        send_everything(desk, tmp_path)
    known = len(desk.posts(thread))
    for address in ("ann@customer.test", f"bounce@{DOMAIN}"):
        desk.receive(mail("eve@far.test", CATCHALL, "Re: Hello", answers=[f"<{address}>"]))
    with desk.app.app_context():
        assert db.session.scalars(select(Recipient.state).order_by(Recipient.id)).first() == "sent"
        assert db.session.scalar(select(func.count()).select_from(RelayId)) == 0
    assert len(desk.posts(thread)) == known


def test_looking_for_ids_costs_one_statement(desk):
    raws = [mail(f"c{number}@customer.test", answers=[f"<x{number}@far.test>"]) for number in range(16)]
    with counted_statements(desk.app) as statements:
        desk.receive(*raws)
    assert sum("FROM relay_id" in one for one in statements) == 1

"""An office whose alias domain is internationalised: kept and shown readable, in ASCII wherever it leaves."""

import re
from collections.abc import Iterator

import pytest
from flask import Flask
from sqlalchemy import select, update

from mail.mailing import mailing
from mail.outgoing import lines
from mail.settings import office, parameters
from models import Alias, Contact, Recipient, db
from tests.integration.frontdesk import FrontDesk, mail
from tests.integration.mass import NOW, Sender, add_contacts, add_server, draft, states
from tests.servers.postfix import Postfix
from tests.waiting import wait_until

DOMAINS = {  # as typed: on the wire
    "bücher.example": "xn--bcher-kva.example",
    "BÜCHER.example": "xn--bcher-kva.example",
    "xn--bcher-kva.example": "xn--bcher-kva.example",
    "post.straße.example": "post.xn--strae-oqa.example",
    "παράδειγμα.example": "xn--hxajbheg2az3al.example",
    "пример.рф": "xn--e1afmkfd.xn--p1ai",
    "日本語.example": "xn--wgv71a119e.example",
}


def use_domain(domain: str) -> None:
    parameters.put("mail.catchall.domain", domain, NOW)
    readable = parameters.CATCHALL_DOMAIN.get()
    for alias in db.session.scalars(select(Alias)):
        alias.address_key = f"{alias.local_part}@{readable}"
    db.session.commit()
    office.forget()


@pytest.fixture
def desk(app: Flask) -> FrontDesk:
    return FrontDesk(app)


@pytest.fixture
def sender(app: Flask) -> Iterator[Sender]:
    one = Sender(app)
    yield one
    one.close()


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_post_leaves_and_its_answer_comes_back(desk: FrontDesk, domain: str) -> None:
    wire = DOMAINS[domain]
    with desk.app.app_context():
        use_domain(domain)
    clerk, ann = desk.user("Clerk"), desk.contact("ann@büro.example", "Ann")
    with desk.app.app_context():
        db.session.execute(update(Contact).where(Contact.id == ann).values(address_key="ann@büro.example"))
        add_server(2525)
        db.session.commit()
    document = desk.document(followers=[ann])
    desk.post(clerk, document.thread_id)
    with desk.app.app_context():
        line = db.session.scalars(select(Recipient)).one()
        assert (line.state, line.address_key) == ("queued", "ann@büro.example")
        assert line.mail.envelope_sender == f"bounce@{wire}"
        content = lines.whole_mail(line.id)
    assert content is not None
    assert content.isascii()
    head = content.partition(b"\r\n\r\n")[0].decode()
    [message_id] = re.findall(r"Message-ID: (<[^<>]+>)", head)
    assert message_id.endswith(f"@{wire}>")
    assert f"<sales@{wire}>" in head and f"<notifications@{wire}>" in head and "<ann@xn--bro-hoa.example>" in head
    [row] = desk.receive(mail("ann@xn--bro-hoa.example", f"sales@{wire}", answers=[message_id]))
    assert (row.state, row.result) == ("processed", "reply")


@pytest.mark.parametrize("domain", ["bücher.example", "пример.рф"])
def test_a_mailing_leaves(app: Flask, sender: Sender, postfix: Postfix, domain: str) -> None:
    wire = DOMAINS[domain]
    with app.app_context():
        use_domain(domain)
        add_server(postfix.port)
        id = draft(add_contacts(3), from_address=f'"Ann" <ann@{domain}>')
        db.session.execute(
            update(Contact).where(Contact.address_key == "r0@example.test").values(address="r0@büro.test")
        )
        db.session.commit()
        mailing.send(id, NOW)
    sender.until_idle()
    with app.app_context():
        assert states(id) == {"sent": 3}
    wait_until(lambda: len(postfix.mails()) >= 3 and postfix.idle())
    for one in postfix.mails():
        message = one.message
        assert one.envelope_sender == f"bounce@{wire}"
        assert message["Message-ID"].endswith(f"@{wire}>")
        assert message["List-Id"].endswith(f".{wire}>") and message["Feedback-ID"].endswith(f":{wire}")
        assert f"<mailto:catchall@{wire}?subject=" in message["List-Unsubscribe"]
        assert f"<ann@{wire}>" in message["From"]
    assert {one.recipient for one in postfix.mails()} >= {"r0@xn--bro-hoa.test"}


def test_a_stranger_is_answered(desk: FrontDesk) -> None:
    with desk.app.app_context():
        use_domain("bücher.example")
    [row] = desk.receive(mail(to="catchall@xn--bcher-kva.example"))
    assert row.state == "rejected"
    with desk.app.app_context():
        content = lines.whole_mail(db.session.scalars(select(Recipient.id)).one())
    assert content is not None and content.isascii() and b"@xn--bcher-kva.example>" in content

"""Two companies in one office: a domain, a mail server and a mailbox each; nothing of one comes to the other."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select

from mail.incoming import domain_rules, flow, position
from mail.transport.mailbox_open import open_mailbox
from models import Document, IncomingServer, OfficeDomain, OutgoingMail, Recipient, User, db
from tests.browser import office as people
from tests.integration.frontdesk import DOMAIN, NOW, FrontDesk
from tests.integration.mass import add_server
from tests.integration.test_verp import send_everything
from tests.servers.dovecot import Dovecot
from tests.servers.postfix import Delivered, Postfix
from tests.waiting import wait_until

pytestmark = pytest.mark.heavy
GONE = "gone@partner.test"


@dataclass
class Company:
    """One of both: its server takes its mail and is its MX, too; Dovecot holds its one mailbox."""

    desk: FrontDesk
    name: str
    domain: str
    postfix: Postfix
    dovecot: Dovecot
    box: str
    clerk: User
    server_id: int = 0

    def set_up(self) -> None:
        for local in ("sales", "catchall", "bounce"):
            self.postfix.deliver_into(f"{local}@{self.domain}", self.dovecot.maildir(self.box))
        self.postfix.bounce(GONE)
        with self.desk.app.app_context():
            add_server(self.postfix.port, self.name, from_filter=self.domain)
            row = IncomingServer(
                name=self.name, kind="imap", host="127.0.0.1", port=self.dovecot.port("imap"), encryption="none",
                user=self.box, password=self.dovecot.password,
            )  # fmt: skip
            db.session.add(row)
            db.session.commit()
            self.server_id = row.id
            with open_mailbox(position.target_of(row)) as box:
                look = box.look()
            position.confirm(row, look, NOW)
            db.session.commit()

    @property
    def customer(self) -> str:
        return f"ann@customer-of-{self.name.lower()}.test"

    def ask(self) -> None:
        """A customer writes to the alias, as its own provider delivers it."""
        to = f"sales@{self.domain}"
        people.send(self.postfix, self.customer, to, people.letter(self.customer, to, "20 chairs", "How much?"))

    def answer(self, mail: Delivered) -> None:
        to, raw = people.reply_to(mail, self.customer, "May is fine.")
        people.send(self.postfix, self.customer, to, raw)

    def fetch(self, count: int) -> None:
        """Fetch the mailbox until so many mails came in."""
        kept = 0

        def all_here() -> bool:
            nonlocal kept
            with self.desk.app.app_context():
                kept += flow.fetch(self.server_id, self.desk.worker, self.desk.now).kept
            return kept >= count

        wait_until(all_here)

    def document(self) -> Document:
        (found,) = (one for one in self.desk.documents("opportunity") if self.customer in one.sender)
        return found

    def mails(self) -> list[tuple[str, str, str]]:
        """Of each mail of the document: its From, and the state of each of its recipients."""
        with self.desk.app.app_context():
            thread = self.document().thread_id
            posts = [post.id for post in self.desk.posts(thread)]
            rows = db.session.execute(
                select(OutgoingMail.from_header, Recipient.address_key, Recipient.state)
                .join(Recipient, Recipient.mail_id == OutgoingMail.id)
                .where(OutgoingMail.post_id.in_(posts))
                .order_by(Recipient.id)
            ).all()
            return [tuple(row) for row in rows]  # type: ignore[misc]


@pytest.fixture
def companies(
    app: Flask, dovecot: Dovecot, mailbox: str, postfix: Postfix, second_postfix: Postfix
) -> Iterator[list[Company]]:
    desk = FrontDesk(app)
    second_box = dovecot.add_mailbox(f"second-{mailbox}")
    with app.app_context():
        row = OfficeDomain(
            name="second.test", company="Second Ltd", catchall_alias="", bounce_alias="", default_from=""
        )
        domain_rules.save(row)
        db.session.commit()
    found = []
    for name, domain, server, box in (
        ("First", DOMAIN, postfix, mailbox),
        ("Second", "second.test", second_postfix, second_box),
    ):
        clerk = desk.user(f"Clerk{name}")
        with app.app_context():
            stored = db.session.get_one(User, clerk.id)
            stored.email = stored.contact.address = stored.contact.address_key = f"clerk@{domain}"
            db.session.commit()
            db.session.refresh(stored)
            _ = stored.contact.name
            db.session.expunge_all()
        found.append(Company(desk, name, domain, server, dovecot, box, stored))
    for company in found:
        company.set_up()
    yield found
    dovecot.remove_mailbox(second_box)


def test_mail_replies_and_bounces_of_each_come_back_to_its_document(companies: list[Company], tmp_path: Path) -> None:
    desk = companies[0].desk
    gone = desk.contact(GONE)
    for company in companies:
        company.ask()
        company.fetch(1)
        desk.follow(company.document().thread_id, gone)
    for company in companies:
        desk.post(company.clerk, company.document().thread_id, "<p>400 euros.</p>")
    send_everything(desk, tmp_path)
    for company, other in zip(companies, reversed(companies), strict=True):
        (sent,) = company.postfix.wait_for(company.customer)
        assert f"<clerk@{company.domain}>" in str(sent.message["From"])
        assert sent.envelope_sender == f"bounce@{company.domain}"
        assert f"<sales@{company.domain}>" in str(sent.message["Reply-To"])
        assert str(sent.message["Message-ID"]).endswith(f"@{company.domain}>")
        assert not other.postfix.delivered_to(company.customer)
        company.answer(sent)
    for company in companies:
        company.fetch(2)  # the report about the one that is gone, and the reply
        document = company.document()
        words = [post.text.split("\n")[0] for post in desk.posts(document.thread_id) if post.kind == "message"]
        assert words[0].startswith("How much?") and words[-1].startswith("May is fine."), words
        states = {address: state for sender, address, state in company.mails() if f"clerk@{company.domain}" in sender}
        assert states == {company.customer: "sent", GONE: "bounced"}
    assert len(desk.documents()) == 2
    assert desk.states() == {"processed": 6}

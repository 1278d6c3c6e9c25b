"""The main job, end to end, on real mail: a customer, an admin, a clerk, and real servers between them."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser import office
from tests.servers.app import App
from tests.servers.browser import Person
from tests.servers.dovecot import Dovecot
from tests.servers.postfix import Postfix

CUSTOMER = "Carla Customer <carla@customer.test>"


# Each database and each kind of mailbox once; tests/integration/test_fetch.py has every pair of them.
@pytest.mark.parametrize(
    ("database", "kind", "encryption"), [("sqlite", "imap", "tls"), ("postgresql", "pop3", "starttls")],
    indirect=["database"],
)  # fmt: skip
def test_from_a_customers_mail_to_the_answer_and_back(
    running_app: App,
    dovecot: Dovecot,
    mailbox: str,
    postfix: Postfix,
    person: Callable[..., Person],
    kind: str,
    encryption: str,
) -> None:
    for local in ("sales", "catchall", "bounce"):
        postfix.deliver_into(f"{local}@mycompany.test", dovecot.maildir(mailbox))
    postfix.bounce("gone@partner.test")
    office.send(
        postfix,
        CUSTOMER,
        "sales@mycompany.test",
        office.letter(CUSTOMER, "sales@mycompany.test", "20 chairs", "Hello,\nplease make an offer."),
    )
    office.add_account(running_app, "admin@home.test", "Ada", "admin")
    office.add_account(running_app, "clerk@home.test", "Clerk", "user")
    running_app.start()

    # The admin sets up mail, without a shell.
    admin = office.log_in(person(running_app.url), "admin@home.test")
    office.developer_mode(admin)
    office.set_domain(admin, "mycompany.test")
    office.add_outgoing_server(admin, "Provider", postfix.port, from_filter="mycompany.test")
    office.add_incoming_server(
        admin, "Office", kind, encryption, dovecot.port(kind, encryption), mailbox, dovecot.password
    )
    office.fetch_every(admin, 5)

    # The mail becomes an opportunity with the mail in its chatter.
    clerk = office.log_in(person(running_app.url), "clerk@home.test")
    office.open_document(clerk, "opportunity", "20 chairs")
    expect(clerk.frame_locator("iframe.mail-body").locator("body")).to_contain_text("please make an offer")
    office.add_follower(clerk, "Bob Partner <bob@partner.test>")

    # The clerk answers; customer and second follower get it, the author does not.
    office.post(clerk, "We can deliver in May.")
    expect(clerk.locator(".envelope-green")).to_be_visible()
    answer = postfix.wait_for("carla@customer.test")[0]
    assert b'\nFrom: "Clerk" <notifications@mycompany.test>' in answer.raw
    assert str(answer.message["Reply-To"]).endswith("<sales@mycompany.test>")
    assert answer.envelope_sender == "bounce@mycompany.test"
    assert postfix.wait_for("bob@partner.test")
    assert not postfix.delivered_to("clerk@home.test")

    # The customer's reply, as a mail program writes it, lands in the same chatter and is relayed to the others only.
    to, reply = office.reply_to(answer, CUSTOMER, "May is fine.")
    assert to == "sales@mycompany.test"
    office.send(postfix, CUSTOMER, to, reply)
    expect(clerk.locator(".post")).to_have_count(3)
    expect(clerk.frame_locator("iframe.mail-body").first.locator("body")).to_have_text("May is fine.")
    relayed = postfix.wait_for("clerk@home.test")[0]
    assert b'\nFrom: "Carla Customer" <notifications@mycompany.test>' in relayed.raw
    assert len(postfix.wait_for("bob@partner.test", 2)) == 2
    assert len(postfix.delivered_to("carla@customer.test")) == 1
    assert len(postfix.delivered_to("clerk@home.test")) == 1

    # A bounce from the receiving server paints the envelope red.
    office.add_follower(clerk, "gone@partner.test")
    office.post(clerk, "The offer is attached.")
    red = clerk.locator(".envelope-red")
    expect(red).to_be_visible()
    red.click()
    expect(clerk.get_by_text("The person has left the company").first).to_be_visible()
    clerk.goto("/documents/opportunity?failed=1")
    expect(clerk.get_by_role("link", name="20 chairs", exact=True)).to_be_visible()
    clerk.goto("/inbox?all=1")  # he has read it already: the document was open
    expect(clerk.get_by_text("One of your emails was not delivered")).to_be_visible()

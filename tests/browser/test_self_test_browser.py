"""An admin tests an outgoing server from end to end, watches, and reads what comes back: real Postfix and Dovecot."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser import office
from tests.browser.test_servers_browser import looks_well
from tests.servers.app import App
from tests.servers.browser import Person
from tests.servers.dovecot import Dovecot
from tests.servers.postfix import Postfix

DOMAIN = "mycompany.test"
INBOX = f"inbox@{DOMAIN}"
PASSED = "Authentication-Results: mx.receiver.test; spf=pass smtp.mailfrom=bounce@mycompany.test; dkim=none; dmarc=pass"
PARTS = ("Delivery", "Sender check", "Replies", "Delivery failures", "Unique bounce addresses")


def results(page: Page) -> list[str]:
    """The word of each part, in the order of the table."""
    return [page.get_by_role("row", name=part).locator(".state").first.inner_text() for part in PARTS]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_server_is_tested_from_end_to_end(
    running_app: App, person: Callable[..., Person], postfix: Postfix, dovecot: Dovecot
) -> None:
    box = dovecot.maildir(dovecot.add_mailbox(INBOX))
    for local in ("inbox", "catchall", "bounce", "bounce+test"):
        postfix.deliver_into(f"{local}@{DOMAIN}", box)
    postfix.bounce_unknown(DOMAIN)
    postfix.add_header(INBOX, PASSED)
    office.add_account(running_app, f"ada@{DOMAIN}", "Ada", "admin")
    running_app.start()
    someone = person(running_app.url)
    page = office.log_in(someone, f"ada@{DOMAIN}")
    office.set_domain(page, DOMAIN)
    office.add_outgoing_server(page, "Relay", postfix.port, from_filter=DOMAIN)

    # Without a mailbox there is nothing to write to.
    page.get_by_role("button", name="Test sending and receiving").click()
    test_page = page.url
    expect(page.get_by_role("option", name="sales@mycompany.test")).to_have_count(1)
    office.add_incoming_server(page, "Inbox", "imap", "none", dovecot.port("imap"), INBOX, dovecot.password)
    page.goto(test_page)
    assert looks_well(someone) == []

    # All is well.
    postfix.slow_down(1.5)
    page.get_by_label("Send to").select_option(INBOX)
    page.get_by_role("button", name="Start test").click()
    expect(page.locator(".self-test progress").first).to_be_visible()
    expect(page.get_by_text("The test continues if you leave this page.")).to_be_visible()
    assert looks_well(someone) == []
    postfix.slow_down(0)
    expect(page.get_by_text("Everything arrived")).to_be_visible()
    assert results(page) == ["works"] * 5
    assert looks_well(someone) == []

    # Replies are lost on the way; the page says so, and what to do.
    postfix.bounce(f"catchall@{DOMAIN}")
    page.get_by_role("button", name="Start test").click()
    expect(page.get_by_text("1 part failed: its row says what to do.")).to_be_visible()
    assert results(page) == ["works", "works", "failed", "works", "works"]
    expect(page.get_by_role("row", name="Replies")).to_contain_text("must deliver this address to a mailbox")
    assert looks_well(someone) == []
    page.get_by_role("row", name="Delivery").get_by_role("link", name="What came back").first.click()
    expect(page.get_by_text("Its arrival is noted there; it creates nothing.")).to_be_visible()
    page.get_by_role("link", name="Test sending and receiving").click()
    page.get_by_role("link", name="Explain the header").click()
    expect(page.get_by_role("heading", name="Header")).to_be_visible()

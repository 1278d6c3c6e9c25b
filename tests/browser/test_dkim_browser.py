"""An admin has emails signed: one click, one record in a real name server, and dkimpy verifies what arrives."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser import office
from tests.browser.test_servers_browser import looks_well
from tests.servers.app import App
from tests.servers.browser import Person
from tests.servers.nameserver import NameServer
from tests.servers.postfix import Postfix
from tests.signatures import verified

DOMAIN = "mycompany.test"


def publish(page: Page, names: NameServer) -> tuple[str, str]:
    """Do what the page asks for: copy name and value of the new record into DNS."""
    box = page.locator(".dkim-key", has=page.get_by_role("heading", name="Add this record"))
    name = box.locator("[data-copy]").first.get_attribute("data-copy")
    value = box.get_by_role("button", name="Copy value", exact=True).get_attribute("data-copy")
    assert name and value
    strings = " ".join(f'"{value[start : start + 255]}"' for start in range(0, len(value), 255))
    names.replace(name, "TXT", [strings])
    return name, value


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_from_no_signature_to_one_that_verifies(
    running_app: App, person: Callable[..., Person], postfix: Postfix, name_server: NameServer
) -> None:
    name_server.load({DOMAIN: f'{DOMAIN}. IN TXT "v=spf1 -all"'})
    running_app.env["COQUI_DNS_RESOLVER"] = name_server.address
    office.add_account(running_app, "ada@mycompany.test", "Ada", "admin")
    running_app.start()
    someone = person(running_app.url)
    page = office.log_in(someone, "ada@mycompany.test")
    office.set_domain(page, DOMAIN)
    office.add_outgoing_server(page, "Relay", postfix.port)
    page.goto(f"/deliverability/{DOMAIN}")
    page.get_by_role("button", name="Check now").first.click()
    create = page.get_by_role("button", name="Create key")
    expect(create).to_be_visible()

    # A key, its record in DNS, signing.
    create.click()
    expect(page.get_by_text("Waiting for DNS")).to_be_visible()
    expect(page.get_by_role("button", name="Start signing")).to_have_count(0)
    assert looks_well(someone) == []
    first, value = publish(page, name_server)
    page.get_by_role("button", name="Look again").click()
    start = page.get_by_role("button", name="Start signing")
    expect(start).to_be_visible()
    start.click()
    expect(page.locator(".dkim-key").get_by_text("Signing", exact=True)).to_be_visible()

    # What arrives is verified by what is in DNS.
    page.goto("/admin/outgoing-servers/")
    page.get_by_role("link", name="Relay").first.click()
    page.get_by_role("button", name="Send me a test email").click()
    expect(page.get_by_text("The server took the email.")).to_be_visible()
    mail = postfix.wait_for("ada@mycompany.test")[0].raw
    assert verified(mail, {first: value}) == [True]

    # A second key takes over without a further click, and the page says when the old record may go.
    page.goto(f"/deliverability/{DOMAIN}")
    page.get_by_role("button", name="Replace RSA key").click()
    page.get_by_role("button", name="Replace RSA key").last.click()
    expect(page.get_by_text("Waiting for DNS")).to_be_visible()
    second, _ = publish(page, name_server)
    page.get_by_role("button", name="Look again").click()
    expect(page.get_by_text("Keep its record in DNS until")).to_be_visible()
    assert second != first
    assert looks_well(someone) == []

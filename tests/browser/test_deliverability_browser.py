"""An admin makes receivers believe a domain: the page is red, two records are copied and pasted, and it is green."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from mail.settings import config, parameters
from mail.settings.clock import now
from models import OutgoingServer, db
from scheduler import create_worker_app
from tests.browser import office
from tests.browser.test_servers_browser import looks_well
from tests.servers.app import App
from tests.servers.browser import Person
from tests.servers.nameserver import NameServer

ZONE = """
acme.test. IN TXT "v=spf1 mx a:smtp.daily.test -all"
acme.test. IN MX 10 mx.acme.test.
mx.acme.test. IN A 192.0.2.10
smtp.daily.test. IN A 192.0.2.20
20.2.0.192.in-addr.arpa. IN PTR smtp.daily.test.
smtp.mass.test. IN A 192.0.2.30
30.2.0.192.in-addr.arpa. IN PTR smtp.mass.test.
"""


def add_servers(app: App) -> None:
    """A server for daily emails, which SPF covers, and one for mailings, which it does not."""
    with create_worker_app(config.read(app.env)).app_context():
        parameters.put("mail.catchall.domain", "acme.test", now())
        daily = OutgoingServer(name="Daily", host="smtp.daily.test", authentication="none", priority=1)
        mass = OutgoingServer(name="Newsletter", host="smtp.mass.test", authentication="none", priority=20)
        db.session.add_all([daily, mass])
        db.session.flush()
        parameters.put("mailing.dedicated_server", str(mass.id), now())
        db.session.commit()
        db.engine.dispose()


def check_now(page: Page) -> None:
    """Press the button and wait for what was found."""
    with page.expect_navigation():  # a check may be over before its page is shown
        page.get_by_role("button", name="Check now").first.click()
    expect(page.get_by_role("heading", name="Looking up DNS")).to_be_hidden()


def copy_record(page: Page, kind: str) -> str:
    """Press the button beside a record and return what is in the clipboard then."""
    card = page.get_by_role("group", name=f"Paste this {kind} record")
    card.get_by_role("button", name="Copy value").click()
    expect(card.get_by_text("Copied")).to_be_visible()
    text: str = page.evaluate("() => navigator.clipboard.readText()")
    return text


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_red_domain_turns_green_by_pasting(
    running_app: App, person: Callable[..., Person], name_server: NameServer
) -> None:
    name_server.load({"acme.test": ZONE})
    running_app.env["COQUI_DNS_RESOLVER"] = name_server.address
    office.add_account(running_app, "ada@acme.test", "Ada", "admin")
    add_servers(running_app)
    running_app.start()
    someone = person(running_app.url)
    someone.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = office.log_in(someone, "ada@acme.test")

    # The list, and a domain that was never checked.
    page.get_by_role("link", name="Deliverability").click()
    expect(page.get_by_role("row", name="acme.test")).to_contain_text("Not checked yet")
    page.get_by_role("link", name="acme.test").click()
    check_now(page)

    # Red: one server is missing, and the page says which.
    expect(page.locator(".overall")).to_contain_text("Needs fixing")
    expect(page.get_by_role("row", name="Newsletter")).to_contain_text("not covered")
    expect(page.get_by_role("row", name="Daily")).to_contain_text("a:smtp.daily.test")
    assert looks_well(someone) == []
    page.goto("/email-marketing/settings")
    expect(page.get_by_role("row", name="Newsletter").last).to_contain_text("Needs fixing")
    assert looks_well(someone) == []

    # Copy, paste where the DNS is managed, check again.
    page.get_by_role("link", name="acme.test").first.click()
    for name, kind in (("acme.test", "SPF"), ("_dmarc.acme.test", "DMARC")):
        value = copy_record(page, kind)
        name_server.replace(name, "TXT", [f'"{value}"'])
    check_now(page)
    expect(page.locator(".overall")).to_contain_text("Good")
    expect(page.get_by_text("Paste this")).to_have_count(0)
    expect(page.get_by_role("row", name="Newsletter")).to_contain_text("is covered")
    assert looks_well(someone) == []
    page.get_by_text("What was asked, and what DNS answered").click()
    expect(page.get_by_role("row", name="_dmarc.acme.test TXT")).to_contain_text("NOERROR")
    page.goto("/deliverability")
    expect(page.get_by_role("row", name="acme.test")).to_contain_text("Good")
    assert looks_well(someone) == []

"""An admin with a phone looks after the quarantine, and asks the simulator about an email to the catchall."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser import office
from tests.browser.office import letter
from tests.browser.test_who_sends_browser import arrive
from tests.servers.app import App
from tests.servers.browser import Person

pytestmark = [pytest.mark.heavy, pytest.mark.parametrize("database", ["sqlite"], indirect=True)]

ZOE = "Zoe Zed <zoe@zed.test>"


def test_quarantine_and_route_simulator(running_app: App, person: Callable[..., Person]) -> None:
    office.add_account(running_app, "admin@home.test", "Ada", "admin")
    running_app.start()
    somebody = person(running_app.url, width=390, height=844)
    page = office.log_in(somebody, "admin@home.test")
    arrive(
        running_app,
        letter(ZOE, "sales@office.test", "20 chairs", "What do they cost?"),
        letter(ZOE, "box@else.test", "And 5 tables", "They should match."),
        letter(ZOE, "info@office.test", "Opening hours", "Until when are you open?"),
        letter("Bob <bob@zed.test>", "info@office.test", "Your address", "Where are you?"),
    )

    # From quarantine to the document that the email belongs to.
    office.open_document(page, "opportunity", "20 chairs")
    number = page.locator(".breadcrumb-item").last.inner_text()
    page.goto("/admin/received-mails/?state=quarantined")
    page.get_by_role("link", name="And 5 tables").click()
    expect(page.get_by_text("It would stay in quarantine until a person decides.")).to_be_visible()
    assert not somebody.axe() and not somebody.scrolls_sideways()
    page.get_by_label("Document number").fill(number)
    page.get_by_role("button", name="Post on this document").click()
    page.get_by_role("link", name=number).click()
    expect(page.frame_locator(".mail-body").first.get_by_text("They should match.")).to_be_visible()

    # One click makes an alias of an address that nobody has; what waited for it goes on.
    page.goto("/admin/received-mails/")
    page.get_by_role("link", name="Review unknown addresses").click()
    assert not somebody.axe() and not somebody.scrolls_sideways()
    page.get_by_label("What emails to info@office.test create").select_option(label="Ticket")
    page.get_by_role("button", name="Make it an alias: info@office.test").click()
    expect(page.get_by_text("2 emails are being processed.")).to_be_visible()
    office.open_document(page, "ticket", "Opening hours")

    # What would become of an email to the catchall, and why.
    page.goto("/simulators/incoming")
    page.get_by_label("From").fill(ZOE)
    page.get_by_label("To", exact=True).fill("catchall@office.test")
    page.get_by_role("button", name="Simulate").click()
    expect(page.get_by_text("It would be rejected. The reply below would be sent to zoe@zed.test.")).to_be_visible()
    expect(page.get_by_text("Please write to sales@office.test instead.").first).to_be_visible()
    assert not somebody.axe() and not somebody.scrolls_sideways()
    page.goto("/admin/received-mails/totals")
    expect(page.get_by_text("4 received = 4 processed")).to_be_visible()
    assert not somebody.axe() and not somebody.scrolls_sideways()

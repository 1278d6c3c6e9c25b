"""An admin sets up the office's first own server: from the provider to a test that passes, on real Postfix."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser import office
from tests.servers.app import App
from tests.servers.browser import Person
from tests.servers.postfix import Postfix


def looks_well(someone: Person) -> list[str]:
    """Look at the page on a phone and a desk, by day and by night; return what is wrong."""
    page, found = someone.page, []
    for width, scheme in ((390, "light"), (390, "dark"), (1440, "dark"), (1440, "light")):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.wait_for_function("scheme => document.documentElement.dataset.bsTheme === scheme", arg=scheme)
        if someone.scrolls_sideways():
            found.append(f"{width} {scheme}: scrolls sideways")
        found += [f"{width} {scheme}: {problem}" for problem in someone.axe()]
    return found


def row(page: Page, address: str) -> list[str]:
    """The cells of an address in the matrix: the sender, the recipient, what it means."""
    cells = page.get_by_role("row", name=address).get_by_role("cell").all_inner_texts()
    return [cell.strip() for cell in cells[1:]]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_from_the_provider_to_a_server_that_is_used(
    running_app: App, person: Callable[..., Person], postfix: Postfix
) -> None:
    postfix.refuse_sender("shop@partner.test")
    office.add_account(running_app, "ada@mycompany.test", "Ada", "admin")
    running_app.start()
    someone = person(running_app.url)
    page = office.log_in(someone, "ada@mycompany.test")
    office.set_domain(page, "mycompany.test")

    # The provider fills in the form; the server of this test is another one.
    page.goto("/admin/outgoing-servers/new")
    page.locator("#provider + .ts-wrapper .ts-control").click()
    page.locator("#provider-ts-dropdown").get_by_role("option", name="Microsoft 365", exact=True).click()
    expect(page.locator("#connections")).to_have_value("3")
    page.locator("#host").fill("127.0.0.1")
    page.locator("#encryption").select_option("none")
    page.locator("#authentication").select_option("none")
    page.locator("#port").fill(str(postfix.port))
    page.locator("#from_filter").fill("mycompany.test, shop@partner.test")
    assert looks_well(someone) == []

    # One address is refused, and the row says what it means.
    page.get_by_role("button", name="Test Connection").click()
    expect(page.locator("[data-done]")).to_be_visible()
    assert row(page, "ada@mycompany.test")[:2] == ["accepted", "accepted"]
    assert row(page, "bounce@mycompany.test")[:2] == ["accepted", "accepted"]
    sender, recipient, meaning = row(page, "shop@partner.test")
    assert (sender, recipient) == ("accepted", "refused")  # Postfix says so after the recipient
    assert "shop@partner.test" in meaning and "not owned by user office" in meaning and "Who can fix this" in meaning
    expect(page.get_by_text("1 address is refused: its row says what to do.")).to_be_visible()
    expect(page.get_by_text("Draft: nothing is sent through this server yet")).to_be_visible()
    assert looks_well(someone) == []

    # Without it all is well, and the server is used.
    page.locator("#from_filter").fill("mycompany.test")
    page.get_by_role("button", name="Test Connection").click()
    expect(page.get_by_text("All checks passed")).to_be_visible()
    expect(page.get_by_text("The server passed its test and is active now.")).to_be_visible()
    page.get_by_role("button", name="Send me a test email").click()
    expect(page.get_by_text("The server took the email.")).to_be_visible()
    assert postfix.wait_for("ada@mycompany.test")[0].subject == "Test email through “Microsoft 365”"
    assert looks_well(someone) == []

    # A change makes both results grey.
    page.locator("#from_filter").fill("mycompany.test, other.test")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("The settings have changed since this test. Test again.")).to_have_count(2)
    page.goto("/admin/outgoing-servers/")
    expect(page.get_by_role("row", name="Microsoft 365")).to_contain_text("outdated")

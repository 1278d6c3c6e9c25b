"""What people see of an email that goes out: what would be decided, why it was refused, until when it waits."""

from collections.abc import Callable
from email.utils import parseaddr

import pytest
from playwright.sync_api import Page, expect

from tests.browser import office
from tests.servers.app import App
from tests.servers.browser import Person
from tests.servers.postfix import Postfix
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.parametrize("database", ["sqlite"], indirect=True),  # the pages do not know which one it is
]


def looks_right(someone: Person) -> None:
    """Look at the open page on a phone and a desk, by day and by night: axe has nothing to say, nothing is cut."""
    page = someone.page
    page.wait_for_load_state("load")  # before, nothing listens to a change of the scheme
    for width in (390, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        for scheme in ("dark", "light"):
            page.emulate_media(color_scheme=scheme)
            page.wait_for_function("scheme => document.documentElement.dataset.bsTheme === scheme", arg=scheme)
            assert someone.axe() == [], f"{width}, {scheme}"
            assert not someone.scrolls_sideways(), f"{width}, {scheme}"


def new_office(app: App, postfix: Postfix, person: Callable[..., Person], from_filter: str = "") -> Person:
    """An office with one outgoing server, as its first admin sets it up."""
    office.add_account(app, "ada@home.test", "Ada", "admin")
    app.start()
    someone = person(app.url)
    page = office.log_in(someone, "ada@home.test")
    office.developer_mode(page)
    office.set_domain(page, "mycompany.test")
    office.add_outgoing_server(page, "Provider", postfix.port, from_filter=from_filter)
    return someone


def new_task(page: Page, customer: str) -> None:
    """Documents ‣ Tasks: New."""
    page.goto("/documents/task/new")
    page.locator("#title").fill("Water the plants")
    page.locator("#customer").fill(customer)
    page.get_by_role("button", name="Create").click()


def test_what_if_answers_as_the_email_will_be_sent(
    running_app: App, postfix: Postfix, person: Callable[..., Person]
) -> None:
    someone = new_office(running_app, postfix, person, from_filter="mycompany.test")
    page = someone.page
    page.goto("/simulators/outgoing")
    page.get_by_label("From", exact=True).fill('"Ada" <ada@home.test>')
    page.get_by_label("Title of the document").fill("Water the plants")
    page.get_by_role("button", name="Simulate").click()
    result = page.locator("#result-card")
    expect(result).to_contain_text("“Provider”")
    expect(result.locator("strong").first).to_have_text('"Ada" <notifications@mycompany.test>')
    expect(result).to_contain_text("bounce@mycompany.test")
    looks_right(someone)

    # The real email is sent the same way, and its decision leads back to the form with its values.
    new_task(page, "Paul <paul@customer.test>")
    office.post(page, "Please do it today.")
    sent = postfix.wait_for("paul@customer.test")[0]
    assert parseaddr(str(sent.message["From"])) == ("Ada", "notifications@mycompany.test")
    page.goto("/admin/outgoing-mails/")
    page.get_by_role("link", name="Water the plants").first.click()
    expect(page.locator(".timeline")).to_contain_text("“Provider” accepted the email.")
    page.get_by_role("link", name="Simulate it with the present settings").click()
    expect(page.get_by_label("From", exact=True)).to_have_value('"Ada" <ada@home.test>')
    expect(page.locator("#result-card strong").first).to_have_text('"Ada" <notifications@mycompany.test>')


def test_a_corrected_address_gets_the_refused_email_and_the_next_one(
    running_app: App, postfix: Postfix, person: Callable[..., Person]
) -> None:
    postfix.refuse("pual@customer.test")
    someone = new_office(running_app, postfix, person)
    page = someone.page
    new_task(page, "Paul <pual@customer.test>")
    office.post(page, "Please do it today.")
    red = page.locator(".envelope-red")
    expect(red).to_be_visible()
    red.click()
    card = page.locator(".envelope-line")
    expect(card).to_contain_text("The mailbox pual@customer.test does not exist: “550 5.1.1 ")
    expect(card).to_contain_text("Who can fix this: you")
    expect(card.get_by_role("button")).to_have_text(["Correct address"])
    looks_right(someone)

    card.get_by_label("Corrected address").fill("paul@customer.test")
    card.get_by_role("button", name="Correct address").click()
    expect(page.get_by_text("is also the address of the contact “Paul”")).to_be_visible()
    looks_right(someone)
    page.get_by_role("button", name="Correct everywhere").click()
    assert postfix.wait_for("paul@customer.test")
    expect(page.locator(".envelope-green")).to_be_visible()
    office.post(page, "Not the cactus.")
    expect(page.locator(".envelope-green")).to_have_count(2)
    assert len(postfix.wait_for("paul@customer.test", 2)) == 2 and not postfix.delivered_to("pual@customer.test")
    page.goto("/admin/outgoing-mails/")
    page.get_by_role("link", name="Water the plants").last.click()
    history = page.locator(".timeline")
    expect(history).to_contain_text("Ada changed the address from pual@customer.test to paul@customer.test.")
    looks_right(someone)


def test_an_email_over_the_daily_limit_says_until_when_it_waits(
    running_app: App, postfix: Postfix, person: Callable[..., Person]
) -> None:
    someone = new_office(running_app, postfix, person)
    page = someone.page
    page.goto("/account")
    page.evaluate("document.querySelector('#zone').tomselect?.setValue('Asia/Tokyo')")
    page.get_by_role("button", name="Save").first.click()
    page.goto("/admin/outgoing-servers/")
    page.get_by_role("link", name="Provider").first.click()
    page.locator("#per_day").fill("1")
    page.get_by_role("button", name="Save").first.click()
    new_task(page, "Paul <paul@customer.test>")
    office.post(page, "The first one.")
    expect(page.locator(".envelope-green")).to_be_visible()
    office.post(page, "The second one.")
    waits = page.locator(".post").filter(has_text="This email waits until").first
    expect(waits).to_be_visible()
    expect(waits).to_contain_text("09:00 your time")
    looks_right(someone)
    page.goto("/admin/outgoing-mails/")
    page.get_by_role("link", name="Water the plants").first.click()
    expect(page.locator(".timeline .next")).to_contain_text("09:00 your time")
    looks_right(someone)
    wait_until(postfix.idle)
    assert len(postfix.mails()) == 1

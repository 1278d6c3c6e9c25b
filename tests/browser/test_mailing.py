"""A mailing on real servers: its own server, pause and resume, who is left out, who leaves."""

import re
import time
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser import office
from tests.servers.app import OFFICE_URL, App
from tests.servers.browser import Person
from tests.servers.postfix import Postfix
from tests.waiting import wait_until

READERS = 300  # proofs/test_large.py has ten thousand
LEFT_OUT = "reader7@readers.test"  # on the blacklist
LEAVING = "reader1@readers.test"
# The open page fetches its buttons anew; what is there waits for the answer to a question.
SOMETHING_CHANGES = """async () => {
  const { refresh } = await import("/static/js/live.js");
  const part = document.querySelector('[data-live-url*="part=buttons"]');
  const look = () => fetch(part.dataset.liveUrl, { headers: { "X-Fragment": "1" } });
  await Promise.race([refresh(part), look().then(look)]);
}"""


def use_dedicated_server(page: Page, name: str) -> None:
    """Email Marketing ‣ Settings: Dedicated Server."""
    page.goto("/email-marketing/settings")
    page.locator("#dedicated").check()
    choice = page.locator("#server option").filter(has_text=name).get_attribute("value")
    page.locator("#server").select_option(choice)
    page.get_by_role("button", name="Save").click()


def make_list(page: Page, name: str, lines: str) -> None:
    """Email Marketing ‣ Mailing Lists: New, then the pasted lines."""
    page.goto("/admin/mailing-lists/new")
    page.locator("#name").fill(name)
    page.get_by_role("button", name="Save").first.click()
    page.goto("/admin/mailing-lists/")
    page.get_by_role("link", name=name).first.click()
    page.locator("#lines").fill(lines)
    page.get_by_role("button", name="Add to the list").click()


def blacklist(page: Page, address: str) -> None:
    """Email Marketing ‣ Configuration ‣ Blacklisted Email Addresses: New."""
    page.goto("/admin/blacklist/new")
    page.locator("#lines").fill(address)
    page.locator("#reason").fill("asked by telephone")
    page.get_by_role("button", name="Blacklist", exact=True).click()
    expect(page.get_by_text("1 address was added")).to_be_visible()


def nothing_arrived_for(receiver: Postfix, seconds: float, last: list[float]) -> bool:
    """Say whether the number of mails has stood still for so long; called again and again with the same list."""
    count, moment = float(len(receiver.mails())), time.monotonic()
    if not last or last[0] != count:
        last[:] = count, moment
    return moment - last[1] >= seconds


def test_a_mailing_and_a_post_go_their_own_ways(
    running_app: App, postfix: Postfix, second_postfix: Postfix, person: Callable[..., Person]
) -> None:
    first, dedicated = postfix, second_postfix
    office.add_account(running_app, "admin@mycompany.test", "Ada", "admin")
    running_app.start()
    page = office.log_in(person(running_app.url), "admin@mycompany.test")
    office.developer_mode(page)
    office.set_domain(page, "mycompany.test")
    office.add_outgoing_server(page, "Transactional", first.port, from_filter="mycompany.test", priority=10)
    office.add_outgoing_server(page, "Mass mail", dedicated.port, from_filter="mycompany.test", priority=20)
    use_dedicated_server(page, "Mass mail")
    make_list(page, "Readers", "\n".join(f"Reader {n} <reader{n}@readers.test>" for n in range(READERS)))
    blacklist(page, LEFT_OUT)

    # Write and send. The receiver is slowed, so that there is time to pause.
    dedicated.slow_down(0.2)
    page.goto("/mailings/new")
    page.locator("#subject").fill('News for {{ contact.first_name or "you" }}')
    page.locator("#from_address").fill("Ada <ada@mycompany.test>")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page).to_have_url(re.compile(r"/mailings/\d+$"))
    mailing = page.url
    page.get_by_role("button", name="Send", exact=True).first.click()
    page.evaluate(SOMETHING_CHANGES)  # the answer counts all the same
    page.locator("#ask-yes").click()
    wait_until(lambda: len(dedicated.mails()) > 20)

    # Pause: within two seconds nothing more goes out; a chatter post goes out all the same, through the first server.
    page.goto(mailing)
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    last: list[float] = []
    wait_until(lambda: dedicated.idle() and nothing_arrived_for(dedicated, 2.0, last))
    page.goto("/documents/task/new")
    page.locator("#title").fill("Water the plants")
    page.locator("#customer").fill("Paul <paul@customer.test>")
    page.get_by_role("button", name="Create").click()
    before = len(dedicated.mails())
    office.post(page, "Please do it today.")
    assert first.wait_for("paul@customer.test")
    assert len(dedicated.mails()) == before < READERS - 1, "paused means that no further mail goes out"

    # Resume: everybody gets it once, through the dedicated server, except who is left out.
    dedicated.slow_down(0)
    page.goto(mailing)
    page.get_by_role("button", name="Resume").click()
    wait_until(lambda: len(dedicated.mails()) >= READERS - 1)
    expect(page.get_by_text("Done").first).to_be_visible()
    got = [mail.recipient for mail in dedicated.mails()]
    assert sorted(got) == sorted(
        f"reader{n}@readers.test" for n in range(READERS) if f"reader{n}@readers.test" != LEFT_OUT
    )
    assert {mail.recipient for mail in first.mails()} == {"paul@customer.test"}
    mail = dedicated.delivered_to(LEAVING)[0]
    assert mail.subject == "News for Reader"
    assert mail.message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"

    # One reader leaves, by the link in the mail; looking at the page changes nothing.
    link = re.search(r"<(http[^>]+)>", str(mail.message["List-Unsubscribe"]))
    assert link is not None
    reader = person(running_app.url).page
    reader.goto(link[1].removeprefix(OFFICE_URL))
    reader.get_by_role("button", name="Unsubscribe").click()
    page.goto(mailing)
    expect(page.get_by_text(re.compile("unsubscribed", re.IGNORECASE)).first).to_be_visible()
    page.goto("/admin/mailing-lists/")
    page.get_by_role("link", name="Readers").first.click()
    page.get_by_label("State").select_option("unsubscribed")
    expect(page.get_by_text(LEAVING)).to_be_visible()

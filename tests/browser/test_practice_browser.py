"""Trying everything without a mail account: a bounce turns the envelope red, and a copied office writes to nobody."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser import office
from tests.servers.app import App
from tests.servers.browser import Person
from tests.servers.postfix import Postfix
from tests.waiting import wait_until


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_practice_and_rehearsal(running_app: App, postfix: Postfix, person: Callable[..., Person]) -> None:
    office.add_account(running_app, "admin@home.test", "Ada", "admin")
    running_app.start()
    anybody = person(running_app.url, width=390, height=844)
    admin = office.log_in(anybody, "admin@home.test")

    # A customer writes, the office replies, and the practice mailbox bounces the reply.
    admin.goto("/practice")
    admin.get_by_label("Subject").fill("20 chairs")
    admin.get_by_role("button", name="Send").click()
    office.open_document(admin, "opportunity", "20 chairs")
    office.post(admin, "We can deliver in May.")
    expect(admin.locator(".envelope-green")).to_be_visible()
    document = admin.url
    admin.goto("/practice")
    admin.get_by_role("link", name="Re: 20 chairs").click()
    admin.get_by_role("button", name="Bounce: mailbox full").click()
    expect(admin.get_by_text("Bounced", exact=True)).to_be_visible()
    assert not anybody.axe() and not anybody.scrolls_sideways()
    admin.goto(document)
    expect(admin.locator(".envelope-red")).to_be_visible()

    # Real servers take over. Then somebody copies the office, which goes on working.
    office.add_outgoing_server(admin, "Provider", postfix.port, from_filter="office.test")
    copy = running_app.copy()
    copy.start()
    somebody = person(copy.url)
    trainee = somebody.page
    try:
        office.log_in(somebody, "admin@home.test")
        banner = trainee.locator(".banner")
        expect(banner).to_contain_text("no email reaches anybody")
        expect(banner).to_contain_text("The database may have been copied")
        office.open_document(trainee, "opportunity", "20 chairs")
        office.post(trainee, "Only a rehearsal.")
        trainee.goto("/practice")
        expect(trainee.get_by_role("link", name="Re: 20 chairs")).to_have_count(2)
        assert not postfix.mails(), "nothing left the copy"

        trainee.get_by_role("link", name="Is this the real office?").click()
        expect(trainee.get_by_text("1 email was written in the rehearsal")).to_be_visible()
        assert not somebody.axe()
        trainee.get_by_label("Do not send: it was only a rehearsal").check()
        trainee.get_by_role("button", name="This is the real office now").click()
        trainee.get_by_role("button", name="End the rehearsal").click()
        expect(trainee.get_by_text("Rehearsal mode is off")).to_be_visible()
        expect(banner).to_have_count(0)
        trainee.goto(document.replace(running_app.url, copy.url))
        office.post(trainee, "Now for real.")
        wait_until(lambda: postfix.mails() and postfix.idle())
        assert [mail.recipient for mail in postfix.mails()] == ["ann@customer.test"]
        assert b"Now for real." in postfix.mails()[0].raw
    finally:
        trainee.goto("about:blank")
        copy.stop()
        copy.close()

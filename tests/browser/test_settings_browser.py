"""The admin's forms in a real browser, a real worker behind them: fields that help, tests that show their steps."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser import office
from tests.servers.app import App
from tests.servers.browser import Person
from tests.servers.dovecot import Dovecot
from tests.servers.process import free_port
from tests.servers.sink import SmtpSink

# Where the browser is what is tried; that a worker hears of it on both databases stands in test_worker.py.
ONE_DATABASE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.fixture
def admin(running_app: App, person: Callable[..., Person]) -> Page:
    """An admin at the browser, before an office whose pages run and whose worker does not run yet."""
    office.add_account(running_app, "ada@home.test", "Ada", "admin")
    running_app.start_web()
    return office.log_in(person(running_app.url), "ada@home.test")


@ONE_DATABASE
def test_forms_help_while_they_are_filled(admin: Page) -> None:
    admin.goto("/settings/")
    admin.locator("main").get_by_role("link", name="Outgoing Email Servers").click()
    admin.locator(".page-head").get_by_role("link", name="New").click()
    admin.wait_for_url("**/outgoing-servers/new")  # and its scripts are there
    port = admin.locator("#port")
    for encryption, number in (("tls", "465"), ("none", "25"), ("starttls", "587")):
        admin.locator("#encryption").select_option(encryption)
        expect(port).to_have_value(number)
    port.fill("2525")
    admin.locator("#encryption").select_option("tls")
    expect(port).to_have_value("2525")  # what a person typed stays
    expect(admin.locator("#user")).to_be_visible()
    expect(admin.locator("#client_key")).to_be_hidden()
    admin.locator("#authentication").select_option("certificate")
    expect(admin.locator("#user")).to_be_hidden()
    expect(admin.locator("#client_key")).to_be_visible()


@ONE_DATABASE
def test_a_provider_fills_in_the_form_and_nothing_typed_is_lost(admin: Page) -> None:
    def choose(name: str) -> None:
        admin.locator("#provider + .ts-wrapper .ts-control").click()
        admin.locator("#provider-ts-dropdown").get_by_role("option", name=name, exact=True).click()

    admin.goto("/admin/outgoing-servers/new")
    host, name, dialog = admin.locator("#host"), admin.locator("#name"), admin.locator("#ask")
    admin.locator("#user").fill("ada@home.test")
    admin.locator("#password").fill("swordfish")
    admin.locator("#authentication").select_option("none")
    choose("Gmail, Google Workspace")
    expect(host).to_have_value("smtp.gmail.com")
    expect(name).to_have_value("Gmail, Google Workspace")
    expect(admin.locator("#user")).to_be_visible()  # the authentication is by password again
    expect(admin.locator("#password-help")).to_contain_text("app password")
    expect(admin.locator("#provider-notes")).to_contain_text("emails per day")
    admin.locator("#per_day").fill("900")
    choose("SparkPost")
    expect(admin.locator("#per_connection")).to_have_value("100")
    choose("Postmark")
    expect(admin.locator("#per_connection")).to_have_value("")
    expect(admin.locator("#per_day")).to_have_value("900")  # typed, so it stays
    expect(host).to_have_value("smtp.postmarkapp.com")
    expect(name).to_have_value("Postmark")
    choose("Resend")
    expect(admin.locator("#port")).to_have_value("465")
    expect(admin.locator("#encryption")).to_have_value("tls")
    name.fill("Ours")
    host.fill("mail.home.test")
    choose("Gmail, Google Workspace")
    expect(dialog).to_be_visible()
    dialog.get_by_role("button", name="Cancel").click()
    expect(host).to_have_value("mail.home.test")
    expect(admin.locator("#provider")).to_have_value("resend")
    choose("Other provider")
    expect(admin.locator("#provider-notes")).to_be_empty()
    choose("Gmail, Google Workspace")
    dialog.get_by_role("button", name="Replace").click()
    expect(host).to_have_value("smtp.gmail.com")
    expect(name).to_have_value("Ours")
    expect(admin.locator("#user")).to_have_value("ada@home.test")
    expect(admin.locator("#password")).to_have_value("swordfish")
    admin.reload()
    expect(host).to_have_value("smtp.gmail.com")


@ONE_DATABASE
def test_the_port_of_a_mailbox_depends_on_type_and_encryption(admin: Page) -> None:
    admin.goto("/admin/incoming-servers/new")
    port = admin.locator("#port")
    for kind, encryption, number in (("imap", "starttls", "143"), ("pop3", "starttls", "110"), ("pop3", "tls", "995")):
        admin.locator("#kind").select_option(kind)
        admin.locator("#encryption").select_option(encryption)
        expect(port).to_have_value(number)
    expect(admin.locator("#folder")).to_be_hidden()
    expect(admin.locator("#move_to")).to_be_hidden()
    expect(admin.locator("#after_fetch option:enabled")).to_have_count(2)  # POP3 has no folders
    admin.locator("#kind").select_option("imap")
    admin.locator("#after_fetch").select_option("move")
    expect(admin.locator("#move_to")).to_be_visible()
    admin.locator("#kind").select_option("pop3")
    expect(admin.locator("#after_fetch")).to_have_value("mark_read")
    expect(admin.locator("#move_to")).to_be_hidden()


def test_a_test_waits_for_the_worker_and_shows_each_step(admin: Page, running_app: App) -> None:
    port = free_port()
    admin.goto("/admin/outgoing-servers/new")
    admin.locator("#name").fill("Ours")
    admin.locator("#host").fill("127.0.0.1")
    admin.locator("#encryption").select_option("none")
    admin.locator("#port").fill(str(port))
    admin.locator("#authentication").select_option("none")
    admin.get_by_role("button", name="Test Connection").click()
    expect(admin.get_by_text("Waiting for the worker")).to_be_visible()
    running_app.move_clock(11)
    expect(admin.get_by_text("No worker is running")).to_be_visible()
    running_app.start_worker()
    expect(admin.locator("[data-done]")).to_be_visible()
    failed = admin.locator(".steps-list .failed")
    expect(failed).to_contain_text(f"nothing responds on port {port}")
    admin.get_by_role("link", name="Back").click()
    expect(admin.get_by_role("row", name="Ours")).to_contain_text("failed")


@ONE_DATABASE
def test_the_banner_goes_when_the_first_server_has_passed_its_test(
    admin: Page, running_app: App, smtp_sink: SmtpSink
) -> None:
    running_app.start_worker()
    admin.goto("/admin/outgoing-servers/")
    expect(admin.locator(".banner")).to_contain_text("No mail server is set up yet")
    office.add_outgoing_server(admin, "Ours", smtp_sink.port)
    expect(admin.locator(".banner")).to_have_count(0)


@ONE_DATABASE
def test_a_mailbox_is_confirmed_and_fetched_before_ones_eyes(
    admin: Page, running_app: App, dovecot: Dovecot, mailbox: str
) -> None:
    raw = office.letter("Zoe <zoe@customer.test>", "sales@office.test", "A question", "How much?")
    dovecot.append(mailbox, raw)
    running_app.start_worker()
    secret = "the mailbox's own"
    dovecot.set_password(mailbox, secret)
    office.add_incoming_server(admin, "Sales", "imap", "none", dovecot.port("imap"), mailbox, secret)
    admin.get_by_role("link", name="Sales", exact=True).click()
    state = admin.locator("main [data-live]").first
    expect(state).to_contain_text("Confirmed")
    admin.get_by_role("button", name="Fetch now").click()
    expect(admin.locator("[data-done]")).to_contain_text("fetched.")
    expect(state).not_to_contain_text("never")
    admin.goto("/documents/opportunity")
    expect(admin.get_by_role("link", name="A question", exact=True)).to_be_visible()
    admin.goto("/admin/incoming-servers/")
    admin.get_by_role("link", name="Sales", exact=True).click()
    admin.locator("#password").fill("another")
    admin.get_by_role("button", name="Save").click()
    expect(admin.locator("main [data-live]").first).to_contain_text("Draft")
    admin.get_by_role("button", name="TEST & CONFIRM").click()
    expect(admin.locator(".steps-list .failed")).to_contain_text("refused the user")


def test_an_edited_interval_counts_at_once_and_runs_appear_by_themselves(admin: Page, running_app: App) -> None:
    admin.goto("/admin/scheduled-actions/")
    expect(admin.get_by_text("No worker is running")).to_be_visible()
    running_app.start_worker()
    expect(admin.get_by_text("1 worker is running")).to_be_visible()
    office.fetch_every(admin, 5)
    runs = admin.locator("tbody tr")
    before = runs.count()
    expect(runs.nth(before + 1)).to_be_visible()  # two more, without a reload
    admin.goto("/admin/scheduled-actions/")
    row = admin.get_by_role("row", name=re.compile("Clean-up"))
    row.get_by_role("button", name="Run now").click()
    expect(admin.get_by_role("row", name=re.compile("by Run now"))).to_contain_text("Done")

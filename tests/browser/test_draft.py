"""What is being written is not lost: by a click that loads the page anew, by a log-out in another window."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Dialog, Page, Route, expect

from tests.browser import office
from tests.servers.app import App
from tests.servers.browser import Person

ONE_DATABASE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.fixture
def clerk(running_app: App, person: Callable[..., Person]) -> Person:
    """A clerk on the page of a new document, in an office whose worker does not run."""
    office.add_account(running_app, "clerk@home.test", "Clerk", "user")
    running_app.start_web()
    someone = person(running_app.url)
    page = office.log_in(someone, "clerk@home.test")
    page.goto("/documents/ticket/new")
    page.get_by_label("Title").fill("A chair")
    page.locator("main form button").first.click()
    expect(page.get_by_role("heading", name="A chair")).to_be_visible()
    return someone


def half_a_note(page: Page) -> None:
    """Write a note and do not send it."""
    page.get_by_text("Log note").click()
    page.get_by_label("Your text").fill("Half a thought")


def expect_the_note(page: Page) -> None:
    """See that it is still there, and still a note."""
    expect(page.get_by_label("Your text")).to_have_value("Half a thought")
    expect(page.locator('[name="kind"][value="note"]')).to_be_checked()
    expect(page.get_by_role("button", name="Save note")).to_be_visible()


@ONE_DATABASE
def test_a_half_written_note_outlives_a_click_on_a_stage(clerk: Person) -> None:
    page = clerk.page
    half_a_note(page)
    page.locator(".stage").last.click()
    expect(page.locator(".stage").last).to_have_class(re.compile("is-now"))
    expect_the_note(page)
    page.get_by_role("button", name="Save note").click()
    expect(page.locator(".post-note").filter(has_text="Half a thought")).to_be_visible()
    expect(page.get_by_label("Your text")).to_have_value("")
    page.reload()
    expect(page.get_by_label("Your text")).to_have_value("")


@ONE_DATABASE
def test_what_is_written_before_the_scripts_came_is_kept_as_well(clerk: Person) -> None:
    page, held = clerk.page, list[Route]()
    clerk.hurry()
    page.route(re.compile(r"/draft\.js"), lambda route: held.append(route))
    with page.expect_request(re.compile(r"/draft\.js")):
        page.reload(wait_until="commit")
    half_a_note(page)
    held.pop().continue_()
    page.wait_for_load_state("load")
    page.unroute_all()
    page.locator(".stage").last.click()
    expect(page.locator(".stage").last).to_have_class(re.compile("is-now"))
    expect_the_note(page)


@ONE_DATABASE
def test_an_unsaved_title_is_not_lost_without_a_question(clerk: Person) -> None:
    page, asked = clerk.page, list[str]()

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", stay)
    page.get_by_label("Title").fill("A better chair")
    page.locator(".stage").last.click()
    expect(page.get_by_label("Title")).to_have_value("A better chair")
    assert asked == ["beforeunload"]


@ONE_DATABASE
def test_a_letter_outlives_the_end_of_the_session(clerk: Person) -> None:
    clerk.expect("status of 40[013]")  # 401: the open page asks for news
    page = clerk.page
    half_a_note(page)
    other = clerk.context.new_page()
    other.goto("/account")
    other.locator(".sidebar [data-bs-toggle=dropdown]").last.click()
    other.get_by_role("button", name="Log out").click()
    expect(other).to_have_url(re.compile("/login"))
    page.get_by_role("button", name="Save note").click()
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("heading", name="You are no longer logged in")).to_be_visible()
    page.get_by_label("Email address").fill("clerk@home.test")
    page.get_by_label("Your password").fill(office.PASSWORD)
    page.get_by_role("button", name="Log in and send").click()
    expect(page.locator(".post-note").filter(has_text="Half a thought")).to_be_visible()
    expect(page.get_by_label("Your text")).to_have_value("")

"""An admin connects mailboxes at a real authorization server: like Google by the way back, like Microsoft by a code."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from mail.settings import config
from models import OauthAccount, db
from scheduler import create_worker_app
from tests.browser import office
from tests.browser.test_servers_browser import looks_well
from tests.servers.app import App
from tests.servers.authorization import AuthorizationServer
from tests.servers.browser import Person

ADDRESS = "sales@mycompany.test"


def register(page: Page, kind: str, someone: Person) -> str:
    """Fill in an app registration, and return the redirect address that its page says to copy."""
    page.goto(f"/admin/app-registrations/new?kind={kind}")
    redirect = page.locator("[data-copy*='/sign-in/callback']").get_attribute("data-copy")
    page.locator("#client_id").fill("us")
    page.locator("#client_secret").fill("client-secret")
    if kind == "microsoft":
        page.locator("#tenant").fill("9d1c7f52-0000-4000-8000-000000000000")
    if kind == "google":
        assert looks_well(someone) == []
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Created.")).to_be_visible()
    return redirect or ""


def add_server(page: Page, name: str, host: str) -> None:
    """Save an outgoing server that signs in with an account."""
    page.goto("/admin/outgoing-servers/new")
    page.locator("#name").fill(name)
    page.locator("#host").fill(host)
    page.locator("#authentication").select_option("oauth2")
    expect(page.locator("#password")).to_be_hidden()
    page.locator("#user").fill(ADDRESS)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("not connected")).to_be_visible()


def sign_in_there(page: Page) -> None:
    """What the person does on the pages of the provider."""
    page.locator("[name=login]").fill(ADDRESS)
    page.locator("[name=password]").fill("any")
    page.get_by_role("button", name="Sign-in").click()
    page.get_by_role("button", name="Continue").click()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_accounts_are_connected(
    running_app: App, person: Callable[..., Person], authorization: AuthorizationServer
) -> None:
    here = f"google={authorization.url} microsoft={authorization.url}"
    running_app.env |= {"COQUI_OAUTH_ISSUERS": here, "COQUI_URL": running_app.url}
    office.add_account(running_app, "ada@mycompany.test", "Ada", "admin")
    running_app.start()
    someone = person(running_app.url, any_certificate=True)
    someone.expect(re.escape(authorization.url))
    someone.expect(re.escape("https://fonts.googleapis.com"))  # of the pages of the provider
    page = office.log_in(someone, "ada@mycompany.test")

    # Like Google: the page says what to register, the browser goes there and comes back.
    redirect = register(page, "google", someone)
    assert redirect == f"{running_app.url}/sign-in/callback"
    authorization.client("us", redirect, secret="client-secret")
    add_server(page, "Gmail", "smtp.gmail.com")
    assert looks_well(someone) == []
    page.get_by_role("button", name="Connect", exact=True).click()
    link = page.get_by_role("link", name="Sign in with Google")
    expect(link).to_be_visible()
    assert looks_well(someone) == []
    link.click()
    sign_in_there(page)
    expect(page.get_by_text("Connected. Test the server now.")).to_be_visible()
    expect(page.get_by_text(f"The mailbox is {ADDRESS}.")).to_be_visible()
    assert looks_well(someone) == []
    page.get_by_role("link", name="Back to the server").click()
    expect(page.locator(".state", has_text="connected")).to_be_visible()

    # Like Microsoft: a code, typed in another window.
    register(page, "microsoft", someone)
    add_server(page, "Microsoft 365", "smtp.office365.com")
    page.locator("#sign-in-flow").select_option("device")
    page.get_by_role("button", name="Connect", exact=True).click()
    shown = page.locator(".sign-in-code [data-copy]")
    expect(shown).to_be_visible()
    assert looks_well(someone) == []
    authorization.enter_code(f"{authorization.url}/device?user_code={shown.get_attribute('data-copy')}", ADDRESS)
    expect(page.get_by_text("Connected. Test the server now.")).to_be_visible()
    page.goto("/admin/connected-accounts/")
    expect(page.get_by_role("row", name=ADDRESS)).to_have_count(2)
    assert looks_well(someone) == []
    assert secrets_left_open(running_app) == []


def secrets_left_open(app: App) -> list[str]:
    """Return what of the accounts' secrets can be read in a file: database, logs, journals."""
    worker = create_worker_app(config.read(app.env))
    with worker.app_context():
        found = db.session.scalars(select(OauthAccount)).all()
        secrets = {value for row in found for value in (row.access_token, row.refresh_token)} | {"client-secret"}
        db.session.rollback()
        path = Path(db.engine.url.database or "")
        db.engine.dispose()
    assert len(secrets) == 5
    files = [path, *path.parent.glob(f"{path.name}-*"), *(file for file in app.folder.rglob("*") if file.is_file())]
    read = {file.name: file.read_bytes() for file in files}
    return [
        f"{name}: {secret}" for name, content in read.items() for secret in secrets if str(secret).encode() in content
    ]

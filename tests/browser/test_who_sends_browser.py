"""An admin has a header explained, reads who sends as the office, and finds the way from one to the other."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from playwright.sync_api import expect

from mail.incoming import intake
from mail.settings import config
from mail.settings.clock import now
from mail.transport.mailbox import FetchedMail
from models import db
from tests.browser import office
from tests.browser.test_outgoing_stories import looks_right, new_office, new_task
from tests.integration.test_dmarc_reports import DOMAIN, report
from tests.servers.app import App
from tests.servers.browser import Person
from tests.servers.postfix import Postfix
from webapp import create_app

pytestmark = [pytest.mark.heavy, pytest.mark.parametrize("database", ["sqlite"], indirect=True)]

ABOVE = f"""Received: from mail.{DOMAIN} (mail.{DOMAIN} [192.0.2.7]) by mx.customer.test with ESMTPS id 9; {{}}
Authentication-Results: mx.customer.test; spf=pass smtp.mailfrom={DOMAIN}; dmarc=fail (p=REJECT) header.from={DOMAIN}
"""


def arrive(app: App, *raws: bytes) -> None:
    """Let emails arrive, as a mailbox would bring them; the worker takes them from there."""
    pages = create_app(config.read(app.env))
    with pages.app_context():
        fetched = [FetchedMail(f"report {number}", len(raw), now(), raw) for number, raw in enumerate(raws)]
        intake.keep("practice", fetched, now())
        db.engine.dispose()


def test_a_header_is_explained_and_reports_say_who_sends(
    running_app: App, postfix: Postfix, person: Callable[..., Person]
) -> None:
    someone = new_office(running_app, postfix, person, from_filter=DOMAIN)
    page = someone.page
    new_task(page, "Paul <paul@customer.test>")
    office.post(page, "Please do it today.")
    sent = postfix.wait_for("paul@customer.test")[0]
    head = sent.raw.decode().replace("\r\n", "\n").partition("\n\n")[0]

    # What Paul's program shows, with the text that was copied along, is explained and leads to the email.
    page.goto("/simulators/headers")
    page.get_by_role("button", name="Explain").click()
    expect(page.get_by_role("alert")).to_contain_text("Paste a header")
    pasted = "Original Message\n" + ABOVE.format(datetime.now(UTC).strftime("%d %b %Y %H:%M:%S +0000")) + head
    page.get_by_label("Header or whole email").fill(pasted)
    page.get_by_role("button", name="Explain").click()
    expect(page.get_by_text("CoquiMail sent this email to paul@customer.test")).to_be_visible()
    expect(page.get_by_text("asks receivers to refuse such emails (p=reject)")).to_be_visible()
    expect(page.get_by_role("row", name="mx.customer.test")).to_be_visible()
    looks_right(someone)
    page.get_by_role("link", name="Open the email").click()
    expect(page.get_by_role("heading", name="Water the plants")).to_be_visible()

    # Reports arrive: each is a line of the ledger, and together they say who sends as the office.
    at = datetime.now(UTC)
    arrive(running_app, *(report(name, at=at) for name in ("google", "microsoft", "fastmail")), report("google", at=at))
    page.goto(f"/deliverability/{DOMAIN}")
    page.get_by_role("link", name=f"Who sends as {DOMAIN}").click()
    expect(page.get_by_role("heading", name=f"Who sends as {DOMAIN}")).to_be_visible()
    expect(page.get_by_text("Receivers reported 22 emails: 14 passed, 8 failed.")).to_be_visible()
    expect(page.get_by_role("row", name="203.0.113.66")).to_contain_text("Stranger")
    expect(page.get_by_role("row", name="198.51.100.99")).to_contain_text("Forwarded")
    looks_right(someone)
    page.get_by_role("link", name="google.com").first.click()
    expect(page.get_by_text("google.com received 12 emails that name mycompany.test")).to_be_visible()

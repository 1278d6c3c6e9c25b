"""What people do in the browser, each a line of a story: log in, set up servers, write, look."""

import email.message
import smtplib
from datetime import UTC, datetime
from email.utils import format_datetime, make_msgid, parseaddr
from typing import Any

from playwright.sync_api import Page, expect

from mail.settings import config
from mail.settings.clock import now
from models import db
from tests.servers.app import App
from tests.servers.browser import Person
from tests.servers.postfix import Delivered, Postfix
from webapp import auth, create_app

PASSWORD = "a frog in the rain"


def add_account(app: App, address: str, name: str, role: str) -> None:
    """Make an account, as the command for scripts does."""
    pages = create_app(config.read(app.env))
    with pages.app_context():
        auth.create_user(address, name, PASSWORD, role, now())
        db.session.commit()
        db.engine.dispose()


def log_in(person: Person, address: str) -> Page:
    """Log in and return the window."""
    page = person.page
    page.goto("/login")
    page.get_by_label("Email address").fill(address)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page).not_to_have_url("/login")
    return page


def set_domain(page: Page, domain: str) -> None:
    """Settings ‣ General Settings ‣ Discuss: the alias domain."""
    page.goto("/settings")
    page.get_by_label("Alias Domain").fill(domain)
    page.get_by_role("button", name="Save").first.click()
    expect(page.get_by_label("Alias Domain")).to_have_value(domain)


def add_outgoing_server(page: Page, name: str, port: int, *, from_filter: str = "", priority: int = 10) -> None:
    """Outgoing Email Servers: New, fill the form, Test Connection, and see that every step is fine."""
    page.goto("/admin/outgoing-servers/new")
    page.locator("#name").fill(name)
    page.locator("#host").fill("127.0.0.1")
    page.locator("#encryption").select_option("none")
    page.locator("#port").fill(str(port))
    page.locator("#authentication").select_option("none")
    page.locator("#from_filter").fill(from_filter)
    page.locator("#priority").fill(str(priority))
    page.get_by_role("button", name="Test Connection").click()
    expect(page.locator("[data-done]")).to_be_visible()
    expect(page.locator(".check-result.has-passed")).to_be_visible()


def add_incoming_server(page: Page, name: str, kind: str, encryption: str, port: int, user: str, secret: str) -> None:
    """Incoming Mail Servers: New, fill the form, TEST & CONFIRM, and see that it is confirmed."""
    page.goto("/admin/incoming-servers/new")
    page.locator("#name").fill(name)
    page.locator("#kind").select_option(kind)
    page.locator("#host").fill("127.0.0.1")
    page.locator("#encryption").select_option(encryption)
    page.locator("#port").fill(str(port))
    page.locator("#user").fill(user)
    page.locator("#password").fill(secret)
    page.locator("#fetch_existing").check()
    page.get_by_role("button", name="TEST & CONFIRM").click()
    expect(page.locator("[data-done]")).to_be_visible()
    assert not page.locator(".steps-list .failed").count(), page.locator(".steps-list").inner_text()
    page.goto("/admin/incoming-servers/")
    expect(page.get_by_role("cell", name="Confirmed")).to_be_visible()


def developer_mode(page: Page) -> None:
    """Settings ‣ General Settings: activate developer mode."""
    page.goto("/settings")
    page.get_by_role("button", name="Turn on developer mode").click()
    expect(page.get_by_text("Developer mode is on")).to_be_visible()


def fetch_every(page: Page, seconds: int) -> None:
    """Settings ‣ Technical ‣ Automation ‣ Scheduled Actions ‣ Mail: Fetchmail Service."""
    page.goto("/admin/scheduled-actions/")
    page.get_by_role("link", name="Mail: Fetchmail Service").click()
    page.locator("#interval").fill(str(seconds))
    page.locator("#unit").select_option("seconds")
    page.get_by_role("button", name="Save").first.click()


def open_document(page: Page, code: str, title: str) -> None:
    """Wait until a document appears in an open list, and open it."""
    page.goto(f"/documents/{code}")
    page.get_by_role("link", name=title, exact=True).click()
    expect(page.get_by_role("heading", name=title)).to_be_visible()


def add_follower(page: Page, who: str) -> None:
    """Add a follower to the open document."""
    page.get_by_label("Address of the new follower").fill(who)
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_text("is now following this document")).to_be_visible()


def post(page: Page, words: str) -> None:
    """Write a message on the open document."""
    page.get_by_label("Your text").fill(words)
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator(".post").filter(has_text=words).first).to_be_visible()


def shown_mails(page: Page) -> list[str]:
    """Return the words of the mails in the open chatter."""
    return [frame.locator("body").inner_text() for frame in (one for one in page.frames if "/body" in one.url)]


# --- the people outside


def letter(sender: str, to: str, subject: str, words: str, html: str = "", **headers: str) -> bytes:
    """Return a mail as a mail program writes it: text and HTML."""
    mail = email.message.EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = sender, to, subject
    mail["Date"] = format_datetime(datetime.now(UTC))
    mail["Message-ID"] = make_msgid(domain=parseaddr(sender)[1].partition("@")[2])
    for name, value in headers.items():
        mail[name.replace("_", "-")] = value
    mail.set_content(words)
    mail.add_alternative(html or "<p>" + words.replace("\n", "<br>") + "</p>", subtype="html")
    return mail.as_bytes()


def reply_to(mail: Delivered, sender: str, words: str) -> tuple[str, bytes]:
    """Return where a mail program sends the answer to a mail, and the answer: quoted, with its References."""
    to = str(mail.message["Reply-To"] or mail.message["From"])
    body: Any = mail.message.get_body(("plain",))
    said = f"On {mail.message['Date']}, Clerk wrote:"
    quoted = body.get_content().splitlines()
    text = f"{words}\n\n{said}\n" + "".join(f"> {line}\n" for line in quoted)
    quote = f'<blockquote class="gmail_quote">{"<br>".join(quoted)}</blockquote>'
    html = f'<div dir="ltr">{words}</div><br><div class="gmail_quote"><div class="gmail_attr">{said}</div>{quote}</div>'
    references = f"{mail.message['References'] or ''} {mail.message['Message-ID']}".strip()
    more = {"In_Reply_To": str(mail.message["Message-ID"]), "References": references}
    raw = letter(sender, to, f"Re: {mail.subject}", text, html, **more)
    return parseaddr(to)[1], raw


def send(postfix: Postfix, sender: str, to: str, raw: bytes) -> None:
    """Hand a mail to the receiving server as the sender's provider does."""
    with smtplib.SMTP("127.0.0.1", postfix.port) as connection:
        connection.sendmail(parseaddr(sender)[1], [to], raw)

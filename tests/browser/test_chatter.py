"""A discussion on a phone: an email with an image, a quote, a signature, files and a Cc, while somebody writes."""

import struct
import zlib
from collections.abc import Callable
from email.message import EmailMessage
from email.utils import make_msgid

import pytest
from playwright.sync_api import expect

from mail.settings import config, parameters
from mail.settings.clock import now
from models import db
from tests.browser import office
from tests.servers.app import App
from tests.servers.browser import Person
from tests.waiting import wait_until
from webapp import create_app

ANN = "Ann Lee <ann@customer.test>"
PAGE = """<div dir="ltr">We need 20 chairs like this one:<br><img src="cid:chair@1" width="900" alt="A chair"></div><br>
<div class="gmail_signature">Ann Lee, Purchasing</div><br><div class="gmail_quote"><div class="gmail_attr">On Mon, 2 Nov
2026 at 11:00, Clerk &lt;clerk@home.test&gt; wrote:<br></div><blockquote class="gmail_quote">Which chairs do you need?
</blockquote></div>"""


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


DOT = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
DOT += chunk(b"IDAT", zlib.compress(b"\0\x20\x80\x40")) + chunk(b"IEND", b"")


def letter() -> EmailMessage:
    """Return the email of a customer, with an image in its text, a file, and two people in Cc."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = ANN, "sales@office.test", "20 chairs"
    mail["Cc"] = "Rob <refuse-550@partner.test>, Eve <eve@partner.test>"
    mail["Message-ID"] = make_msgid(domain="customer.test")
    mail["In-Reply-To"] = "<question@home.test>"
    mail.set_content("We need 20 chairs.")
    mail.add_alternative(PAGE, subtype="html")
    page = mail.get_payload()[1]
    assert isinstance(page, EmailMessage)
    page.add_related(DOT, maintype="image", subtype="png", cid="<chair@1>", filename="chair.png")
    mail.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="plan.pdf")
    return mail


def allow_a_megabyte(app: App) -> None:
    """Let no email be larger."""
    pages = create_app(config.read(app.env))
    with pages.app_context():
        parameters.put("mail.max_size", "1", now())
        db.session.commit()
        db.engine.dispose()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_discussion_on_a_phone(running_app: App, person: Callable[..., Person]) -> None:
    office.add_account(running_app, "clerk@home.test", "Clerk", "user")
    allow_a_megabyte(running_app)
    first = letter()
    running_app.start()
    wait_until(lambda: running_app.worker is not None and "worker started" in running_app.worker.output())
    running_app.flask("receive", input=first.as_string())
    someone = person(running_app.url, width=390, height=844)
    page = office.log_in(someone, "clerk@home.test")
    office.open_document(page, "opportunity", "20 chairs")

    # The email: its image in place, signature and quote each behind a name of its own, the file, the people in Cc.
    body = page.frame_locator("iframe.mail-body >> nth=0")
    expect(body.locator("img")).to_have_js_property("naturalWidth", 1)
    expect(body.locator("body")).to_have_text("We need 20 chairs like this one:")
    page.get_by_text("Show signature").click()
    expect(page.frame_locator('iframe[title="Signature"]').locator("body")).to_have_text("Ann Lee, Purchasing")
    page.get_by_text("Show quoted text").click()
    expect(page.frame_locator('iframe[title="Quoted text"]').locator("body")).to_contain_text(
        "Which chairs do you need?"
    )
    assert page.locator(".files a").all_inner_texts() == ["plan.pdf\n4 B"]
    expect(page.get_by_text("Cc: Rob <refuse-550@partner.test>, Eve <eve@partner.test>")).to_be_visible()
    assert not someone.scrolls_sideways() and someone.axe() == []

    # While a reply is written another email comes: it appears, and all that was written, opened and unticked stays.
    page.get_by_label("Your text").fill("Here is our offer.")
    page.get_by_label("Eve").uncheck()
    page.locator("iframe.mail-body").first.evaluate("frame => { frame.contentWindow.isTheSame = true; }")
    more = office.letter(
        ANN, "sales@office.test", "Re: 20 chairs", "In green.", In_Reply_To=first["Message-ID"], Cc="rob@partner.test"
    )
    running_app.flask("receive", input=more.decode())
    expect(page.locator(".post")).to_have_count(2)
    expect(page.get_by_label("rob@partner.test")).to_be_checked()
    expect(page.get_by_label("Your text")).to_have_value("Here is our offer.")
    expect(page.frame_locator('iframe[title="Signature"]').locator("body")).to_be_visible()
    assert page.locator("iframe.mail-body").nth(1).evaluate("frame => frame.contentWindow.isTheSame")
    assert not someone.scrolls_sideways()

    # The reply goes to whom the last email named, the movie as a link; a refusal turns the envelope red by itself.
    movie = {"name": "movie.mp4", "mimeType": "video/mp4", "buffer": bytes(1_000_000)}
    page.locator("[data-files]").set_input_files([movie])  # type: ignore[list-item]
    expect(page.get_by_text("Too large for an email: movie.mp4 will be sent as a link")).to_be_visible()
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_text("sent as a link")).to_be_visible()
    expect(page.locator(".envelope-green")).to_be_visible()
    office.add_follower(page, "Rita <refuse-550@partner.test>")
    office.post(page, "And a discount.")
    expect(page.locator(".envelope-red")).to_be_visible()
    page.locator(".envelope-red").click()
    expect(page.get_by_text("Who can fix this")).to_be_visible()
    assert not someone.scrolls_sideways() and someone.axe() == []

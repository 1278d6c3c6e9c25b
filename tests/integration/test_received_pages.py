"""Received emails as pages: what a person does with a mail that nobody was found for."""

import html
import re

import pytest
from flask import Flask
from sqlalchemy import select, update

from mail.documents.documents import start_document
from mail.incoming import aliases, flow, intake, quarantine
from mail.queue.lease import WorkerLease
from mail.sentences import why
from mail.settings import office
from mail.settings.clock import now
from mail.transport.mailbox import FetchedMail
from models import Alias, Document, DocumentType, OfficeDomain, OutgoingMail, Post, ReceivedMail, Recipient, User, db
from tests.web import Visitor, words
from webapp.admin import quarantine_pages


def received(app: Flask, to: str, number: int | None = None) -> int:
    """Let a mail arrive and be routed; return its number in the ledger. ``number``: it has come before."""
    with app.app_context():
        count = len(db.session.scalars(select(ReceivedMail.id)).all())
        number = count if number is None else number
        head = f"From: Zoe <zoe@zed.test>\r\nTo: {to}\r\nMessage-ID: <{number}@zed.test>\r\nSubject: A question\r\n"
        raw = f"{head}\r\nHow much?\r\n".encode()
        [kept] = intake.keep("practice", [FetchedMail(str(count), len(raw), now(), raw)], now())
        flow.process_waiting(now(), WorkerLease.register(now()))
        return kept.id


def state_of(app: Flask, number: int) -> str:
    with app.app_context():
        return db.session.get_one(ReceivedMail, number).state


def decide(admin: Visitor, number: int, **form: str) -> str:
    answer = admin.post("/admin/received-mails/decide", {"id": number, **form}, follow_redirects=True)
    return html.unescape(re.sub(r"<[^>]*>", " ", answer.text))


def test_the_menu_of_an_admin_counts_what_waits_in_quarantine(pages: Flask, admin: Visitor) -> None:
    menu = r'href="/admin/received-mails/"[^>]*>.*?</a>'
    assert "badge" not in re.search(menu, admin.get("/inbox").text)[0]
    received(pages, "info@office.test")
    assert "waiting: 1" in words(re.search(menu, admin.get("/inbox").text)[0])
    assert "received-mails" not in Visitor(pages).as_role("marketing").get("/inbox").text


def test_an_unknown_address_becomes_an_alias_and_its_mail_a_document(pages: Flask, admin: Visitor) -> None:
    number = received(pages, "info@office.test")
    assert state_of(pages, number) == "quarantined"
    page = admin.get(f"/admin/received-mails/details?id={number}").text
    [link] = re.findall(r'href="([^"]*local_part=[^"]*)"', page)
    form = admin.get(html.unescape(link)).text
    assert re.search(r'name="local_part"[^>]*value="info"', form)
    [type_id] = re.findall(r'<option value="(\d+)"[^>]*>Opportunity<', form)
    words = {
        "local_part": "info",
        "type_id": type_id,
        "policy": "everyone",
        "default_stage": "",
        "default_priority": "0",
    }
    answer = admin.post("/admin/aliases/new", words, follow_redirects=True)
    assert "1 email is being processed." in answer.text
    assert state_of(pages, number) == "received"
    with pages.app_context():
        flow.process_waiting(now(), WorkerLease.register(now()))
        assert db.session.get_one(ReceivedMail, number).state == "processed"
        assert db.session.scalars(select(Document.title)).all() == ["A question"]


def type_id(app: Flask, code: str) -> int:
    with app.app_context():
        return db.session.scalars(select(DocumentType.id).where(DocumentType.code == code)).one()


@pytest.mark.heavy
def test_one_click_makes_an_alias_and_processes_all_that_waited_for_it(pages: Flask, admin: Visitor) -> None:
    numbers = [received(pages, f"{local}@office.test") for local in ("info", "info", "jobs")]
    numbers.append(received(pages, "zoe@zed.test\r\nDelivered-To: a+b@office.test"))
    page = words(admin.get(f"/admin/received-mails/details?id={numbers[0]}"))
    assert "starting with the 2 emails to it in quarantine." in page
    shown = admin.get(f"/admin/received-mails/details?id={numbers[2]}").text
    assert "starting with the email to it in quarantine." in words(shown)
    assert 'data-confirm="Reject this email?' in shown
    for path in ("/admin/received-mails/", "/admin/aliases/"):
        assert "Review unknown addresses" in words(admin.get(path))
    rows = re.findall(r"<tr>.*?</tr>", admin.get("/admin/received-mails/unknown-addresses").text, re.DOTALL)
    told = [(words(row).split()[0], "Make it an alias" in row) for row in rows[1:]]
    assert told == [("info@office.test", True), ("a+b@office.test", False), ("jobs@office.test", True)]
    blind_copy = html.unescape(re.findall(r'href="([^"]*)"', rows[2])[0])
    assert admin.get(blind_copy).text.count('name="rowid"') == 1
    form = {"address": "info@office.test", "type": type_id(pages, "ticket")}
    answer = admin.post("/admin/received-mails/unknown-address", {**form, "what": "alias"}, follow_redirects=True)
    assert "info@office.test is now an alias." in answer.text and "2 emails are being processed." in answer.text
    answer = admin.post(
        "/admin/received-mails/unknown-address", {"address": "jobs@office.test", "what": "drop"}, follow_redirects=True
    )
    assert "1 email discarded." in answer.text
    with pages.app_context():
        flow.process_waiting(now(), WorkerLease.register(now()))
        assert (
            len(db.session.scalars(select(Document.id).join(DocumentType).where(DocumentType.code == "ticket")).all())
            == 2
        )
    assert [state_of(pages, number) for number in numbers] == ["processed", "processed", "ignored", "quarantined"]
    page = words(admin.get(f"/admin/received-mails/details?id={numbers[2]}"))
    assert "jobs@office.test is not one of our addresses" in page and "A user reviewed and discarded" in page


@pytest.mark.parametrize(
    ("address", "kind", "says"),
    [
        ("info@office.test", "0", "Choose what incoming emails create."),
        ("nobody@office.test", "ticket", "No email in quarantine was sent to this address."),
        ("a+b@office.test", "ticket", "Leave out the plus sign"),
    ],
)
def test_an_alias_that_cannot_be_made_says_why(
    pages: Flask, admin: Visitor, address: str, kind: str, says: str
) -> None:
    rows = {local: received(pages, f"{local}@office.test") for local in ("info", "a+b")}
    pages_of = {local: admin.get(f"/admin/received-mails/details?id={id}").text for local, id in rows.items()}
    assert [local for local, page in pages_of.items() if 'value="alias"' in page] == ["info"]
    form = {"address": address, "what": "alias", "type": type_id(pages, kind) if kind != "0" else 0}
    answer = admin.post("/admin/received-mails/unknown-address", form, follow_redirects=True)
    assert says in html.unescape(answer.text)


@pytest.mark.heavy
def test_with_two_domains_an_alias_takes_what_waited_in_those_it_works_on(pages: Flask, admin: Visitor) -> None:
    with pages.app_context():
        db.session.add(OfficeDomain(name="second.test", name_key="second.test"))
        db.session.commit()
        office.forget()
    info, *jobs, shop = [received(pages, to) for to in (
        "info@second.test", "jobs@office.test", "jobs@second.test", "shop@second.test"
    )]  # fmt: skip
    ticket, task = (type_id(pages, code) for code in ("ticket", "task"))
    decide(admin, info, what="alias", type=ticket)
    said = decide(admin, jobs[0], what="alias", type=ticket)
    assert "2 emails are being processed." in said
    with pages.app_context():
        alias = db.session.scalars(select(Alias).where(Alias.local_part == "info")).one()
        assert (alias.address_key, alias.one_domain) == ("info@second.test", True)
        aliases.add("shop", task)
        db.session.commit()
    said = decide(admin, shop, what="alias", type=ticket)
    assert "shop@second.test already has an alias. Its settings apply." in said
    assert [state_of(pages, number) for number in (info, *jobs, shop)] == ["received"] * 4


@pytest.mark.heavy
def test_many_are_decided_in_one_step(pages: Flask, admin: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    received(pages, "sales@office.test")
    numbers = [received(pages, f"{local}@office.test") for local in ("info",) * 3 + ("jobs",) * 2 + ("shop",) * 2]
    form = {"action": "decide", "rowid": [str(number) for number in numbers]}
    page = admin.post("/admin/received-mails/action", form)
    assert "What should happen to 7 emails?" in page.text and "Make it an alias" not in page.text
    assert "Make it an alias" in admin.post("/admin/received-mails/action", form | {"rowid": form["rowid"][:2]}).text
    with pages.app_context():
        document = db.session.scalars(select(Document)).one().number
    steps = (
        {"what": "type", "type": type_id(pages, "task")},
        {"what": "document", "document": document},
        {"what": "reject", "text": "Please call us."},
    )
    with monkeypatch.context() as patch:
        patch.setattr(quarantine_pages, "PATIENCE", -1)
        of_three = {"id": numbers[:3], **steps[0]}
        answer = words(admin.post("/admin/received-mails/decide", of_three, follow_redirects=True))
        assert "1 email is being processed." in answer and "2 emails are still in quarantine: select them" in answer
    monkeypatch.setattr(quarantine_pages, "PATIENCE", 60)
    for step, some in zip(steps, (numbers[1:3], numbers[3:5], numbers[5:]), strict=True):
        answer = admin.post("/admin/received-mails/decide", {"id": some, **step}, follow_redirects=True)
        assert "2 emails are being processed." in answer.text, "the page waits for none of them"
    with pages.app_context():
        flow.process_waiting(now(), WorkerLease.register(now()))
    assert [state_of(pages, number) for number in numbers] == ["processed"] * 5 + ["rejected"] * 2
    with pages.app_context():
        assert len(db.session.scalars(select(OutgoingMail).where(OutgoingMail.kind == "rejection")).all()) == 2
        assert len(db.session.scalars(select(Document.id)).all()) == 4
    page = admin.post("/admin/received-mails/action", form, follow_redirects=True)
    assert "None of the selected emails is in quarantine." in page.text


def test_a_rejection_that_reaches_nobody_is_called_ignored(pages: Flask, admin: Visitor) -> None:
    number = received(pages, "info@office.test\r\nReturn-Path: <>")
    assert "The sender will not get a reply" in words(admin.get(f"/admin/received-mails/details?id={number}"))
    said = decide(admin, number, what="reject", text="No.")
    assert "This email is now ignored. No reply was sent. Not answered because its return path is empty" in said
    assert state_of(pages, number) == "ignored"


def test_the_page_of_a_rejected_email_shows_what_became_of_the_reply(pages: Flask, admin: Visitor) -> None:
    number = received(pages, "catchall@office.test")
    assert state_of(pages, number) == "rejected"
    page = words(admin.get(f"/admin/received-mails/details?id={number}"))
    assert "Reply to the sender zoe@zed.test Queued" in page and "The sender was not told." not in page
    with pages.app_context():
        line = db.session.scalars(select(Recipient)).one()
        line.state, line.why = "failed", why("no_server")
        db.session.commit()
    assert "The sender was not told." in words(admin.get(f"/admin/received-mails/details?id={number}"))


def test_the_page_says_what_a_retry_would_do(pages: Flask, admin: Visitor) -> None:
    number = received(pages, "info@office.test")
    page = f"/admin/received-mails/details?id={number}"
    assert "It would stay in quarantine until a person decides." in words(admin.get(page))
    with pages.app_context():
        aliases.add("info", db.session.scalars(select(DocumentType.id).where(DocumentType.code == "ticket")).one())
        db.session.commit()
    assert "It would create a new document: Ticket" in words(admin.get(page))


def test_the_sums_add_up_on_the_page_and_as_json(pages: Flask, admin: Visitor) -> None:
    assert "No emails received yet" in admin.get("/admin/received-mails/totals").text
    for to in ("sales@office.test", "info@office.test", "catchall@office.test", "support@office.test"):
        received(pages, to)
    with pages.app_context():
        db.session.add(ReceivedMail(source="server:1:x", source_key="9", size=0, received_at=now(), state="ignored",
                                    result="left_alone"))  # fmt: skip
        db.session.commit()
    found = admin.get("/admin/received-mails/totals.json").json
    assert found["received"] == 4 == sum(found["states"].values()) and found["left_in_mailbox"] == 1
    assert found["results"]["processed"] == {"document": 2} and found["states"]["quarantined"] == 1
    page = words(admin.get("/admin/received-mails/totals"))
    assert "4 received = 2 processed + 1 rejected + 1 in quarantine" in page and "1 more email was in a mailbox" in page
    assert Visitor(pages).as_role("user").get("/admin/received-mails/totals.json").status_code == 403
    copy = received(pages, "sales@office.test", number=0)
    assert state_of(pages, copy) == "duplicate"
    assert "OPP/00001 A question" in words(admin.get(f"/admin/received-mails/details?id={copy}")), "where it is"


def test_only_what_fits_an_email_is_offered(pages: Flask, admin: Visitor) -> None:
    number = received(pages, "info@elsewhere.test")
    page = admin.get(f"/admin/received-mails/details?id={number}").text
    assert "local_part=" not in page, "the domain is a stranger's"
    assert "Create document" in page
    with pages.app_context():
        row = db.session.get_one(ReceivedMail, number)
        row.blob_id, row.result = None, "not_brought"
        db.session.commit()
    page = admin.get(f"/admin/received-mails/details?id={number}").text
    assert "Create document" not in page and "Asks the server for this email again." in page


@pytest.mark.parametrize(
    ("form", "state", "says"),
    [
        ({"what": "drop"}, "ignored", "Done"),
        ({"what": "reject", "text": "Write to sales@ instead."}, "rejected", "Done"),
        ({"what": "document", "document": "OPP/99999"}, "quarantined", "This document does not exist"),
        ({"what": "nothing"}, "quarantined", "This document does not exist"),
        ({"what": "retry"}, "quarantined", "Nothing has changed: this email stays in quarantine"),
    ],
)
def test_a_person_decides(pages: Flask, admin: Visitor, form: dict[str, str], state: str, says: str) -> None:
    number = received(pages, "info@office.test")
    assert says in decide(admin, number, **form)
    assert state_of(pages, number) == state
    if state != "quarantined":
        assert "Someone else was faster" in decide(admin, number, **form)


def test_retrying_many_is_left_to_the_worker(pages: Flask, admin: Visitor) -> None:
    numbers = [received(pages, f"{local}@office.test") for local in ("info", "sales", "a")]
    form = {"action": "retry", "rowid": [str(number) for number in numbers]}
    page = words(admin.post("/admin/received-mails/action", form, follow_redirects=True))
    assert "2 emails are being processed." in page and "left the quarantine" not in page
    assert [state_of(pages, number) for number in numbers] == ["received", "processed", "received"]
    form["rowid"] = [str(numbers[1])]
    page = words(admin.post("/admin/received-mails/action", form, follow_redirects=True))
    assert "None of the selected emails is in quarantine" in page


def test_what_takes_long_to_read_is_left_to_the_worker(
    pages: Flask, admin: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = received(pages, "info@office.test")
    monkeypatch.setattr(quarantine, "is_heavy", lambda raw: True)
    assert "1 email is being processed." in decide(admin, number, what="type", type=str(type_id(pages, "ticket")))
    page = f"/admin/received-mails/details?id={number}"
    waits = admin.get(page).text
    assert f'data-poll-url="{page}"' in waits and "Not routed yet" in waits
    assert "data-done" not in admin.get(page, headers={"X-Fragment": "1"}).text
    with pages.app_context():
        flow.process_waiting(now(), WorkerLease.register(now()))
    part = admin.get(page, headers={"X-Fragment": "1"}).text
    assert "data-done" in part and "Not routed yet" not in part and "<html" not in part
    assert "data-poll-url" not in admin.get(page).text


def test_a_mail_is_posted_on_the_document_that_a_person_names(pages: Flask, admin: Visitor) -> None:
    received(pages, "sales@office.test")
    number = received(pages, "info@office.test")
    with pages.app_context():
        document = db.session.scalars(select(Document)).one()
        name, thread_id = document.number, document.thread_id
    assert "Done" in decide(admin, number, what="document", document=name.lower())
    with pages.app_context():
        posts = db.session.scalars(select(Post.received_mail_id).where(Post.thread_id == thread_id)).all()
    assert number in posts


# --- loops, marks and priorities as people see them


def receive(app: Flask, *raws: str) -> None:
    """Let mails arrive together and be understood."""
    with app.app_context():
        mails = [FetchedMail(f"r{number}", len(raw), now(), raw.encode()) for number, raw in enumerate(raws)]
        intake.keep("practice", mails, now())
        flow.process_waiting(now(), WorkerLease.register(now()))


def test_a_loop_is_one_group_to_accept_or_discard(pages: Flask, admin: Visitor) -> None:
    head = "From: robot@shop.test\r\nTo: sales@office.test\r\nAuto-Submitted: auto-generated\r\n"
    receive(pages, *(f"{head}Message-ID: <{n}@shop.test>\r\nSubject: Order {n}\r\n\r\nHello\r\n" for n in range(25)))
    page = admin.get("/admin/received-mails/").text
    held = "5 emails from robot@shop.test to sales@office.test are held, because they look like a loop."
    assert held in words(page)
    [place] = set(re.findall(r'name="place" value="([^"]*)"', page))
    taken = admin.post(
        "/admin/received-mails/held",
        {"sender": "robot@shop.test", "place": place, "what": "take"},
        follow_redirects=True,
    )
    assert "5 emails are being processed." in taken.text
    assert "look like a loop" not in taken.text
    with pages.app_context():
        flow.process_waiting(now(), WorkerLease.register(now()))
        assert len(db.session.scalars(select(Document.id)).all()) == 25


def test_a_loop_can_be_discarded_and_others_may_not(pages: Flask, admin: Visitor) -> None:
    head = "From: robot@shop.test\r\nTo: sales@office.test\r\nAuto-Submitted: auto-generated\r\n"
    receive(pages, *(f"{head}Message-ID: <{n}@shop.test>\r\nSubject: Order {n}\r\n\r\nHello\r\n" for n in range(22)))
    [place] = set(re.findall(r'name="place" value="([^"]*)"', admin.get("/admin/received-mails/").text))
    form = {"sender": "robot@shop.test", "place": place, "what": "drop"}
    assert Visitor(pages).as_role("user").post("/admin/received-mails/held", form).status_code == 403
    assert "2 emails discarded." in admin.post("/admin/received-mails/held", form, follow_redirects=True).text
    with pages.app_context():
        states = db.session.scalars(select(ReceivedMail.state)).all()
    assert (states.count("ignored"), states.count("processed")) == (2, 20)


def test_a_mail_that_names_a_colleague_is_marked_in_the_chatter_and_in_his_inbox(pages: Flask) -> None:
    clerk = Visitor(pages).as_role("user")
    with pages.app_context():
        address = db.session.scalars(select(User.email).order_by(User.id.desc())).first()
    crowd = ", ".join(f"p{n}@x.test" for n in range(60))
    head = f"From: The Clerk <{address}>\r\nTo: sales@office.test\r\nCc: {crowd}\r\nSubject: Pay\r\n"
    receive(pages, f"{head}\r\nAt once.\r\n")
    with pages.app_context():
        document = db.session.scalars(select(Document)).one()
    page = words(clerk.get(f"/document/{document.id}").text)
    assert "Not checked" in page
    assert "30 more people named in the last email are not listed here." in page and "p29@x.test" in page
    assert f'Not checked: this email names "The Clerk" <{address}> as its author, but nothing proves it.' in page
    assert "An email in your name. Did you write it?" in words(clerk.get("/inbox").text)


def test_the_page_says_who_is_behind_a_web_form(pages: Flask, admin: Visitor) -> None:
    head = "From: Form <sales@office.test>\r\nReply-To: Zoe <zoe@zed.test>\r\nTo: sales@office.test\r\n"
    receive(pages, f"{head}Subject: Hello\r\n\r\nHi.\r\n")
    with pages.app_context():
        document = db.session.scalars(select(Document)).one()
    page = admin.get(f"/document/{document.id}").text
    assert "zoe@zed.test" in words(page)
    assert "sales@office.test" in words(page), "both are shown"
    assert "Download original email" in page
    with pages.app_context():
        db.session.execute(update(ReceivedMail).values(blob_id=None))
        db.session.commit()
    assert "Download original email" not in admin.get(f"/document/{document.id}").text, "none is kept"


def test_a_documents_priority_is_shown_and_changed(pages: Flask) -> None:
    clerk = Visitor(pages).as_role("user")
    with pages.app_context():
        kind = db.session.scalars(select(DocumentType).where(DocumentType.code == "opportunity")).one()
        number = start_document(kind, "Chairs", now()).id
        db.session.commit()
    assert "Priority: High" not in clerk.get("/documents/opportunity").text
    form = {"title": "Chairs", "priority": "2"}
    assert "Saved." in clerk.post(f"/document/{number}", form, follow_redirects=True).text
    for path in ("/documents/opportunity", "/documents/opportunity?view=board"):
        assert "Priority: High" in clerk.get(path).text
    page = clerk.get(f"/document/{number}").text
    assert re.search(r'<option value="2" selected>High', page)
    assert "changed the priority from Normal to High." in words(page)
    clerk.post(f"/document/{number}", {"title": "Chairs", "priority": "77"})
    with pages.app_context():
        assert db.session.get_one(Document, number).priority == 2


@pytest.mark.parametrize(
    ("protocol", "said"), [("signed", "Signature not checked"), ("encrypted", "Encrypted: can't be read here")]
)
def test_a_signature_and_a_cipher_are_named_in_the_chatter(pages: Flask, protocol: str, said: str) -> None:
    raw = (
        b"From: Ann <ann@customer.test>\r\nTo: sales@office.test\r\nSubject: Sealed\r\nMessage-ID: <sealed@x.test>\r\n"
        b"Content-Type: multipart/%s; boundary=b\r\n\r\n--b\r\n\r\nHello\r\n"
        b"--b\r\nContent-Type: application/pkcs7-signature; name=smime.p7s\r\n\r\nxyz\r\n--b--\r\n"
    ) % protocol.encode()
    with pages.app_context():
        intake.keep("practice", [FetchedMail("sealed", len(raw), None, raw)], now())
        assert flow.process_waiting(now(), WorkerLease.register(now())) == {"processed": 1}
        assert db.session.scalars(select(Post.sealed).where(Post.subject == "Sealed")).one() == protocol
        document_id = db.session.scalars(select(Document.id).where(Document.title == "Sealed")).one()
    page = Visitor(pages).as_role("user").get(f"/document/{document_id}").text
    assert said in html.unescape(page) and "post-doubt" not in page


def test_what_the_receiving_server_wrote_is_shown(pages: Flask, admin: Visitor) -> None:
    line = "Authentication-Results: mx.office.test; spf=pass smtp.mailfrom=zed.test; dmarc=fail"
    number = received(pages, "sales@office.test")
    page = words(admin.get(f"/admin/received-mails/details?id={number}"))
    assert "Sender checks" not in page and "Delivered to" not in page
    number = received(pages, f"joe@else.test\r\nDelivered-To: sales@office.test\r\n{line}")
    page = words(admin.get(f"/admin/received-mails/details?id={number}"))
    assert "mx.office.test: SPF pass, DMARC fail" in page and "Delivered to sales@office.test" in page

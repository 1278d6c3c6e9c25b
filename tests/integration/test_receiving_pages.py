"""The page about what is pushed to us, and the web address that takes raw emails."""

import re
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from flask import Flask
from sqlalchemy import event, select

from mail.incoming import flow, forwarding, intake, push
from mail.queue.lease import WorkerLease
from mail.sentences import why
from mail.settings import config, parameters
from mail.settings.clock import now
from mail.settings.config import Settings
from mail.transport.mailbox import FetchedMail
from models import Blob, Document, Notification, OutgoingMail, ReceivedMail, ServerCheck, Worker, db
from tests.web import Visitor, words
from webapp import limits
from webapp.pages import inbound

MAIL = b"From: ann@home.test\nSubject: Desks\n\nHello\n"
PAGE = "/settings/receiving/"
OPEN = {"receive lmtp://127.0.0.1:8024": {"state": "waiting", "at": 0.0, "restarts": 0, "why": None}}


@pytest.fixture
def address(admin: Visitor) -> str:
    """The path of a new web address."""
    shown = re.search(r'data-copy="([^"]+/inbound/[a-z2-7]{32})"', admin.post(f"{PAGE}address").text)
    assert shown is not None
    return shown[1].removeprefix("http://office.example")


def stored(pages: Flask) -> list[tuple[str, bytes]]:
    with pages.app_context():
        rows = db.session.scalars(select(ReceivedMail).order_by(ReceivedMail.id)).all()
        return [(row.source, Blob.read(row.blob_id)) for row in rows if row.blob_id]


def test_the_web_address_is_shown_once_and_ends_with_the_next_one(pages: Flask, admin: Visitor, address: str) -> None:
    stranger = Visitor(pages).client
    assert address.rpartition("/")[2] not in admin.get(PAGE).text
    assert stranger.post(address, data=MAIL).status_code == 200
    assert "/inbound/" in admin.post(f"{PAGE}address").text
    assert stranger.post(address, data=MAIL).status_code == 404
    admin.post(f"{PAGE}address", {"remove": "1"})
    assert "There is no address yet." in admin.get(PAGE).text
    assert len(stored(pages)) == 1


@pytest.mark.parametrize(
    ("query", "options", "header"),
    [
        ("", {}, b""),
        ("", {"content_type": "message/rfc822"}, b""),
        ("", {"content_type": "application/x-www-form-urlencoded"}, b""),  # what curl says by itself
        ("", {"content_type": "multipart/form-data; boundary=x"}, b""),
        (
            "?sender=&recipient=bounce@office.test",
            {},
            b"Return-Path: <>\nDelivered-To: bounce@office.test\n",
        ),
        (
            "",
            {"headers": {"X-Envelope-From": "<ann@home.test>", "X-Envelope-To": "sales@office.test, b@office.test"}},
            b"Return-Path: <ann@home.test>\nDelivered-To: sales@office.test\nDelivered-To: b@office.test\n",
        ),
    ],
)
def test_a_raw_email_is_stored_before_the_answer(
    pages: Flask, address: str, query: str, options: dict[str, object], header: bytes
) -> None:
    answer = Visitor(pages).client.post(address + query, data=MAIL, **options)
    assert (answer.status_code, answer.text) == (200, "stored\n")
    assert stored(pages) == [("http", header + MAIL)]


def test_what_is_no_email_or_too_large_is_told_so(pages: Flask, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Visitor(pages).client
    assert client.post(address).status_code == 400
    assert client.get(address).status_code == 405
    assert client.post(address, data=b"x" * (50 * 1024 * 1024 + 1)).status_code == 413
    monkeypatch.setattr(inbound, "LARGE", 3)
    for _ in range(inbound.LARGE_AT_ONCE):
        assert inbound._large.acquire(blocking=False)
    try:
        answer = client.post(address, data=MAIL)
    finally:
        for _ in range(inbound.LARGE_AT_ONCE):
            inbound._large.release()
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "60")
    assert stored(pages) == []
    free, store = [], push.store
    monkeypatch.setattr(push, "store", lambda *given: (free.append(inbound._large._value), store(*given)))  # type: ignore[attr-defined]
    assert client.post(address, data=MAIL).status_code == 200
    assert free == [inbound.LARGE_AT_ONCE - 1], "its place is its own until it is stored"


def test_an_email_that_can_not_be_stored_is_to_be_sent_again(pages: Flask, address: str) -> None:
    def no_room(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT"):
            raise OSError(28, "No space left on device")

    with pages.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", no_room)
    try:
        answer = Visitor(pages).client.post(address, data=MAIL)
    finally:
        event.remove(engine, "before_cursor_execute", no_room)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "60")


def test_a_mistake_of_ours_is_no_loss_either(
    pages: Flask, address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(push, "store", lambda *_: 1 / 0)
    answer = Visitor(pages).client.post(address, data=MAIL)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "60")
    assert "ZeroDivisionError" in caplog.text


def test_a_guesser_is_held_off_and_the_others_are_not(
    pages: Flask, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "time", SimpleNamespace(time=lambda: 0.0))  # no other minute begins meanwhile
    monkeypatch.setitem(limits.LIMITS, "inbound.wrong", 2)
    client = Visitor(pages).client
    answers = [client.post("/inbound/guess", data=MAIL) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [404, 404, 429, 429]
    assert answers[-1].headers["Retry-After"] == "60"
    assert client.post(address, data=MAIL).status_code == 200


# --- the page


def work(pages: Flask, loops: dict[str, object]) -> None:
    """Let a worker be there that says this of its loops."""
    with pages.app_context():
        held = WorkerLease.register(datetime.now(UTC))
        row = db.session.get(Worker, held.id)
        assert row is not None
        row.loops = loops
        db.session.commit()


def test_the_page_says_whether_the_listener_is_open(pages: Flask, admin: Visitor) -> None:
    assert "No worker is running" in admin.get(PAGE).text
    work(pages, {"heartbeat": {}})
    assert "No listener yet" in admin.get(PAGE).text
    reason = why("listener_failed", address="lmtp://127.0.0.1:8024", error="Address already in use")
    work(pages, {name: said | {"why": reason} for name, said in OPEN.items()})
    shown = admin.get(PAGE).text
    assert "can&#39;t receive emails at lmtp://127.0.0.1:8024: Address already in use" in shown
    assert "see it arrive" not in shown
    banner = "banner-stop d-print-none"
    assert banner in admin.get("/inbox").text and "127.0.0.1:8024: Address already in use" in admin.get("/banner").text
    assert banner not in Visitor(pages).as_role("user").get("/inbox").text, "nothing that a user could do about it"
    reason = why("listener_rehearses", address="lmtp://127.0.0.1:8024")
    work(pages, {name: said | {"why": reason} for name, said in OPEN.items()})
    assert "during the rehearsal" in admin.get(PAGE).text and banner not in admin.get("/inbox").text
    work(pages, OPEN)
    assert banner not in admin.get("/inbox").text
    shown = admin.get(PAGE).text
    assert "lmtp://127.0.0.1:8024" in shown and "see it arrive" in shown and "Redirect these" not in shown
    assert admin.post(f"{PAGE}test").status_code == 302
    assert admin.post(f"{PAGE}test").status_code == 302
    with pages.app_context():
        assert db.session.scalars(select(ServerCheck.kind)).all() == ["arrival"]
    assert "Waiting for the worker" in admin.get(PAGE).text


def hosted(pages: Flask, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    online: Settings = pages.extensions[config.EXTENSION]
    values = {**online.__dict__, "hosting": "online", "url": url}
    monkeypatch.setitem(pages.extensions, config.EXTENSION, Settings(**values))


def test_online_it_lists_what_to_redirect_while_it_listens(
    pages: Flask, admin: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosted(pages, monkeypatch, "https://office7.host.test")
    assert "office7.host.test</span>" not in admin.get(PAGE).text
    work(pages, OPEN)
    shown = admin.get(PAGE).text
    pairs = re.findall(r'data-copy="([^"@]+@office\.test)".*?data-copy="([^"]+)"', shown, re.S)
    assert pairs == [
        (f"{one}@office.test", f"{one}@office7.host.test") for one in ("catchall", "bounce", "sales", "support")
    ]
    hosted(pages, monkeypatch, "http://localhost:8000")
    assert "Enter the address of this office first." in admin.get(PAGE).text


# --- requests to confirm forwarding

REQUESTS = Path(__file__).parents[1] / "data" / "forwarding"
LINK = "https://mail-settings.google.com/mail/vf-%5BANGjdJ8vJq2-confirm7%5D-Xy_91kQ"


def asked(pages: Flask, file: str) -> int:
    """Let a request arrive at this office; return its number in the ledger."""
    raw = next(REQUESTS.glob(f"{file}-*.eml")).read_bytes().replace(b"mycompany.test", b"office.test")
    with pages.app_context():
        [kept] = intake.keep("practice", [FetchedMail(file, len(raw), None, raw)], now())
        number: int = kept.id
        flow.process_waiting(now(), WorkerLease.register(now()))
    return number


@pytest.mark.heavy
def test_a_request_to_confirm_forwarding_is_a_card_until_it_is_done(pages: Flask, admin: Visitor) -> None:
    colleague = Visitor(pages).as_role("user")
    number = asked(pages, "01")
    details, done = f"/admin/received-mails/details?id={number}", f"{PAGE}forwarding/{number}/done"
    with pages.app_context():
        row = db.session.get_one(ReceivedMail, number)
        assert (row.state, row.result) == ("processed", "forwarding")
        assert (
            not db.session.scalars(select(Document.id)).all() and not db.session.scalars(select(OutgoingMail.id)).all()
        )
        assert {told.link for told in db.session.scalars(select(Notification))} == {details}
    assert "Gmail asks to confirm that emails are forwarded to catchall@office.test" in words(admin.get("/inbox").text)
    assert "forwarded" not in words(colleague.get("/inbox").text)
    for path in (PAGE, details):
        page = admin.get(path).text
        [link] = re.findall(r'<a class="btn btn-primary" href="(https://mail[^"]*)"([^>]*)>', page)
        assert link[0] == LINK and 'rel="noopener noreferrer"' in link[1]
        said = words(page)
        assert "Gmail asks you to confirm forwarding" in said and "728394651" in said
        assert "ann.desk@gmail.com wants to forward emails to catchall@office.test." in said
    assert colleague.post(done).status_code == 403
    assert "The request is done." in words(admin.post(done, {"email": "1"}, follow_redirects=True).text)
    assert "was already done" in words(admin.post(done, follow_redirects=True).text)
    assert "asks you to confirm" not in words(admin.get(PAGE).text)
    page = words(admin.get(details).text)
    assert "asks you to confirm" not in page and "marked the request to confirm forwarding as done." in page
    assert "Forwarding request, done" in words(admin.get("/admin/received-mails/").text)


@pytest.mark.heavy
def test_one_in_doubt_waits_in_quarantine_and_its_link_is_text(pages: Flask, admin: Visitor) -> None:
    number = asked(pages, "28")
    details = f"/admin/received-mails/details?id={number}"
    for path in (PAGE, details):
        page = admin.get(path).text
        assert 'href="https://registrar.example' not in page
        said = words(page)
        assert "https://registrar.example/confirm?t=112233445566" in said
        assert "no-reply@registrar.example is not a known provider." in said
    assert "What should happen to this email?" in words(admin.get(details).text)
    assert "may be a request to confirm" in words(admin.get("/inbox").text)
    answer = admin.post("/admin/received-mails/decide", {"id": number, "what": "retry"}, follow_redirects=True)
    assert "stays in quarantine" in words(answer.text)
    with pages.app_context():
        assert len(db.session.scalars(select(Notification.id)).all()) == 1
    admin.post(f"{PAGE}forwarding/{number}/done", {"email": "1"})
    with pages.app_context():
        row = db.session.get_one(ReceivedMail, number)
        assert (row.state, row.result) == ("processed", "forwarding_done")
    assert "may be a request to confirm" not in words(admin.get("/inbox").text)  # what is done is no news
    for file, decision in (("26", {"what": "drop"}), ("31", {"what": "type", "type": "1"})):
        number = asked(pages, file)
        assert words(admin.get("/inbox").text).count("may be a request to confirm") == 1
        admin.post("/admin/received-mails/decide", {"id": number, **decision})
        assert "may be a request to confirm" not in words(admin.get("/inbox").text), "a person has decided"


@pytest.mark.heavy
def test_a_flood_of_requests_floods_no_inbox(pages: Flask, admin: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "MOST_TOLD", 2)
    for file in ("01", "02", "03", "09"):
        asked(pages, file)
    with pages.app_context():
        assert len(db.session.scalars(select(Notification.id)).all()) == 2
    assert len(re.findall("asks you to confirm forwarding", admin.get(PAGE).text)) == 4


def test_the_simulator_says_it_too(admin: Visitor) -> None:
    for file, said in (("01", "No document would be created."), ("28", "It would stay in quarantine")):
        raw = next(REQUESTS.glob(f"{file}-*.eml")).read_text()
        told = admin.post("/simulators/incoming.json", {"mail": raw}).json
        assert told["consequences"][0]["words"][0]["sentence"].startswith(said)
        assert told["result"] == "forwarding"


def test_only_admins_see_it(pages: Flask) -> None:
    assert Visitor(pages).as_role("user").get(PAGE).status_code == 403
    assert parameters.PUSH_ADDRESS.allowed is not None

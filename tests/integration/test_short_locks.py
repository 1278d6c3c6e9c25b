"""Nobody waits for SQLite's write lock while an upload is read, an email composed or a file compressed."""

import gc
import io
import random
import threading
import time
import traceback
from typing import Any

import pytest
from aiosmtpd.smtp import Envelope
from flask import Flask
from sqlalchemy import event, func, select, update

from mail.documents import contacts
from mail.documents.documents import start_document
from mail.documents.threads import NewFile
from mail.incoming import apply, flow, intake, put_off
from mail.incoming.case import read_case
from mail.mailing import mailing
from mail.maintenance import practice
from mail.queue.lease import WorkerLease
from mail.transport.mailbox import FetchedMail
from models import (
    BlacklistedAddress,
    Blob,
    DocumentType,
    IncomingServer,
    Mailing,
    OutgoingMail,
    Post,
    PracticeMail,
    ReceivedMail,
    Subscription,
    db,
    writing,
)
from scheduler.practice import Receiver
from tests.integration.frontdesk import NOW, FrontDesk, mail
from tests.integration.mass import add_contacts, add_server, draft
from tests.locks import LONGEST, LockWatch, piece_of_work, slowness
from tests.web import Visitor

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def noise() -> bytes:
    """Bytes that don't get smaller when they are compressed, as those of photos: the slowest case."""
    return random.Random(1).randbytes(18 * MEGABYTE)


@pytest.fixture
def desk(app: Flask) -> FrontDesk:
    return FrontDesk(app)


def is_watched(watch: LockWatch, app: Flask, where: str) -> bool:
    """Whether a transaction that ended there was seen; PostgreSQL has no such lock."""
    with app.app_context():
        return db.engine.dialect.name != "sqlite" or where in watch.ended_in()


@pytest.mark.heavy
def test_a_post_with_a_large_file_is_prepared_before_its_transaction(
    desk: FrontDesk, locks: LockWatch, noise: bytes
) -> None:
    clerk, ann = desk.user("Clerk"), desk.contact("ann@customer.test", "Ann")
    document = desk.document(followers=[ann])
    file = NewFile.of("photo.jpg", "image/jpeg", noise)
    desk.post(clerk, document.thread_id, files=[file])
    assert len(desk.sent()[0].content) > len(noise)
    assert is_watched(locks, desk.app, "mail/documents/posts.py:post_from_browser")


@pytest.mark.heavy
def test_an_upload_is_read_and_packed_before_the_transaction_of_its_request(
    pages: Flask, locks: LockWatch, noise: bytes
) -> None:
    with pages.app_context():
        type_ = db.session.scalar(select(DocumentType).where(DocumentType.code == "ticket"))
        ann = contacts.find_or_make("ann@customer.test", "Ann", NOW)
        document_id = start_document(type_, "Help", NOW, contact_id=ann.id).id
        db.session.commit()
    clerk = Visitor(pages).as_role("user")
    given = {"words": "Look at this.", "kind": "message", "files": [(io.BytesIO(noise), "photo.jpg")]}
    answer = clerk.post(f"/document/{document_id}/posts", given, content_type="multipart/form-data")
    assert answer.status_code == 302
    with pages.app_context():
        assert db.session.scalar(select(OutgoingMail.size)) > len(noise)
    assert is_watched(locks, pages, "mail/documents/posts.py:post_from_browser")


@pytest.mark.heavy
def test_sixteen_large_mails_are_relayed_in_short_transactions(desk: FrontDesk, locks: LockWatch, noise: bytes) -> None:
    dora = desk.user("Dora")
    desk.set_alias("sales", responsible_id=dora.id)
    desk.receive(
        mail("Bob <bob@customer.test>", message_id="<first@x.test>"), source="first"
    )  # loads, outside of what is measured, what the first email loads
    with desk.app.app_context():
        db.session.add(IncomingServer(id=9, name="sales@", host="mail.test", keep_original=False))
        db.session.commit()
    before = len(desk.sent(kind="post"))
    photos = [noise[number * MEGABYTE // 2 :][: 3 * MEGABYTE] for number in range(16)]
    raws = [mail(message_id=f"<{n}@x.test>", files=[("photo.jpg", photo)]) for n, photo in enumerate(photos)]
    with desk.app.app_context():
        fetched = [FetchedMail(f"k{n}", len(raw), None, raw) for n, raw in enumerate(raws)]
        originals = {one.id for one in intake.keep("server:9", fetched, NOW, server_id=9)}
        blobs = set(db.session.scalars(select(ReceivedMail.blob_id).where(ReceivedMail.id.in_(originals))))
    with desk.app.app_context():
        flow.process_waiting(NOW, desk.worker)
        while put_off.waiting():  # a busy machine takes long for each
            flow.process_put_off(NOW, desk.worker)
        assert db.session.scalar(select(func.count(Blob.id)).where(Blob.id.in_(blobs))) == 0
    assert len(desk.sent(kind="post")) - before == 16
    assert is_watched(locks, desk.app, "mail/incoming/flow.py:_write")
    assert is_watched(locks, desk.app, "models/contents.py:_delete"), "their server keeps no originals"


def test_a_number_that_somebody_else_took_meanwhile_stands_in_no_other_email(
    desk: FrontDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.set_alias("sales", responsible_id=desk.user("Dora").id)
    raw, taken = mail(), list[str]()
    prepare_group = apply.prepare

    def prepare(*given: Any) -> apply.ReadyGroup:
        ready = prepare_group(*given)
        with desk.app.app_context(), writing():  # nobody waits while emails are composed, the second time either
            document = desk.document("Quicker", code="ticket" if taken else "opportunity")
        taken.append(document.number)
        return ready

    monkeypatch.setattr(apply, "prepare", prepare)
    with desk.app.app_context():
        (one,) = intake.keep("practice", [FetchedMail("k", len(raw), None, raw)], NOW)
        case = read_case(one.id, one.raw, one.keeps, NOW, one.arrived_at, one.problem)
        group, context = flow.route_group([case], NOW)
        assert flow.write_group(group, context, NOW)
    assert len(taken) == 2
    (sent,) = desk.sent(kind="post")
    assert taken[0] not in sent.text
    (opened,) = (document for document in desk.documents() if document.title != "Quicker")
    assert opened.number in sent.text


HEAVY = "<p>Hello {{ contact.first_name or 'there' }}, <b>this</b> is <a href='https://x.test/a'>new</a>.</p>\n" * 9_000


def test_a_large_mailing_is_compiled_before_its_transaction(app: Flask, locks: LockWatch) -> None:
    with app.app_context():
        add_server(2525)
        number = draft(add_contacts(1), html=HEAVY)
        db.session.rollback()
        mailing.send(number, NOW)
        assert is_watched(locks, app, "mail/mailing/mailing.py:send")


def test_a_mailing_that_somebody_edits_while_it_is_checked_is_checked_anew(app: Flask) -> None:
    with app.app_context():
        add_server(2525)
        number = draft(add_contacts(1))
        db.session.rollback()

        def edit(*_: object) -> None:
            change = update(Mailing).where(Mailing.id == number).values(html="{{ nobody }}")
            with app.app_context(), writing():
                db.session.execute(change)
                db.session.commit()

        event.listen(db.engine, "rollback", edit, once=True)  # as the reading transaction ends
        with pytest.raises(mailing.NotReady, match="nobody"):
            mailing.send(number, NOW)
        assert db.session.get_one(Mailing, number).state == "draft"


@pytest.fixture
def mary(pages: Flask) -> Visitor:
    visitor = Visitor(pages).as_role("admin")
    visitor.token()
    return visitor


@pytest.fixture
def mailing_id(pages: Flask) -> int:
    with pages.app_context():
        add_server(2525)
        return draft(add_contacts(1), html=HEAVY)


@pytest.mark.heavy
def test_the_test_of_a_large_mailing_is_composed_before_its_transaction(
    pages: Flask, mary: Visitor, mailing_id: int, locks: LockWatch
) -> None:
    mary.post(f"/mailings/{mailing_id}/test", {"address": "ann@customer.test"})
    with pages.app_context():
        assert db.session.scalar(select(OutgoingMail.size)) > len(HEAVY)
    assert is_watched(locks, pages, "mail/outgoing/enqueue.py:enqueue")


def test_a_large_draft_that_can_not_be_saved_is_shown_without_a_transaction(mary: Visitor, mailing_id: int) -> None:
    answer = mary.post(f"/mailings/{mailing_id}/edit", {"html": HEAVY, "from_address": "nobody"})
    assert "Not saved" in answer.text


@pytest.mark.heavy
def test_a_file_of_a_megabyte_comes_on_a_list_in_short_transactions(
    pages: Flask, mary: Visitor, locks: LockWatch
) -> None:
    with pages.app_context():
        list_id = add_contacts(2_000)
    lines = "Name;Email;Company\n" + "".join(
        f"Reader Number{n} Lee;r{n}@example.test;Company{n} Ltd\n" for n in range(20_000)
    )
    mary.post("/admin/mailing-lists/add", {"id": list_id, "lines": lines})
    with pages.app_context():
        assert db.session.scalar(select(func.count()).select_from(Subscription)) == 20_000
    assert is_watched(locks, pages, "mail/mailing/lists.py:import_lines")


@pytest.mark.heavy
def test_a_file_comes_on_the_blacklist_in_short_transactions(pages: Flask, mary: Visitor, locks: LockWatch) -> None:
    with pages.app_context():
        add_contacts(1_000)
    lines = "\n".join(f"r{n}@example.test" for n in range(2_000))
    mary.post("/admin/blacklist/new", {"lines": lines, "reason": "asked"})
    with pages.app_context():
        assert db.session.scalar(select(func.count()).select_from(BlacklistedAddress)) == 2_000
        assert db.session.scalar(select(func.count()).select_from(Post)) == 3_000
    assert is_watched(locks, pages, "mail/mailing/blacklist.py:import_lines")


@pytest.mark.heavy
@pytest.mark.parametrize("what", ["answer", "act"])
def test_a_large_mail_of_the_practice_mailbox_is_read_before_the_transaction(
    pages: Flask, mary: Visitor, locks: LockWatch, noise: bytes, what: str
) -> None:
    with pages.app_context():
        practice.store("a@office.test", ["b@x.test"], mail(html="<p>Hello</p>" * 50_000, files=[("a", noise)]), NOW)
        db.session.commit()
        number = db.session.scalar(select(PracticeMail.id))
    mary.post(f"/practice/{number}/{what}", {"words": "Thanks", "action": "bounce"})
    with pages.app_context():
        assert db.session.scalar(select(ReceivedMail.source)) == "practice"
        row = db.session.get_one(PracticeMail, number)
        assert row.answered_at if what == "answer" else row.bounced_at
    assert is_watched(locks, pages, "mail/incoming/intake.py:keep")


@pytest.mark.heavy
def test_a_large_mail_to_the_practice_mailbox_is_read_before_the_transaction(
    app: Flask, locks: LockWatch, noise: bytes
) -> None:
    envelope = Envelope()
    envelope.mail_from, envelope.rcpt_tos = "a@office.test", ["b@x.test", "c@x.test"]
    envelope.original_content = mail(html="<p>Hello</p>" * 50_000, files=[("a", noise)])
    assert Receiver(app, threading.Event())._store(envelope).startswith("250")
    with app.app_context():
        assert set(db.session.scalars(select(PracticeMail.recipient))) == {"b@x.test", "c@x.test"}
    assert is_watched(locks, app, "scheduler/practice.py:_store")


def busy(_connection: object, _cursor: object, statement: str, *_: object) -> None:
    if statement.startswith("INSERT INTO worker"):
        until = time.thread_time() + 10 * LONGEST * slowness() ** 2  # too long, however crowded this machine is
        while time.thread_time() < until:
            pass


def test_who_computes_under_the_lock_is_found(app: Flask, locks: LockWatch) -> None:
    with app.app_context():
        WorkerLease.register(NOW)
        event.listen(db.engine, "after_cursor_execute", busy)
        WorkerLease.register(NOW)
        event.remove(db.engine, "after_cursor_execute", busy)
        if db.engine.dialect.name == "sqlite":
            assert any("lease.py:register kept" in one and "INSERT INTO worker" in one for one in locks.too_long())
        locks.held.clear()


def test_what_the_collector_does_makes_no_machine_look_slow() -> None:
    collected_in: set[str] = set()

    def note(_phase: str, _info: object) -> None:
        collected_in.update(frame.name for frame in traceback.extract_stack())

    gc.callbacks.append(note)
    piece_of_work()
    assert "piece_of_work" in collected_in
    collected_in.clear()
    slowness()
    gc.callbacks.remove(note)
    assert "piece_of_work" not in collected_in


def test_the_first_email_to_the_office_is_written_on_the_page_of_the_practice_mailbox(
    pages: Flask, admin: Visitor
) -> None:
    page = {"from": "Ann Lee <ann@customer.test>", "to": "sales@office.test", "subject": "Chairs", "words": "Hello"}
    assert admin.post("/practice/write", page).status_code == 302
    with pages.app_context():
        assert db.session.scalar(select(ReceivedMail.source)) == "practice"

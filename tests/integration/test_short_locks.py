"""Nobody waits for SQLite's write lock while an upload is read, an email composed or a file compressed."""

import io
import random
import time

import pytest
from flask import Flask
from sqlalchemy import select

from mail.documents import contacts
from mail.documents.documents import NumberTaken, start_document
from mail.documents.threads import NewFile
from mail.incoming import apply, flow, intake
from mail.incoming.case import read_case
from mail.queue.lease import WorkerLease
from mail.transport.mailbox import FetchedMail
from models import DocumentType, OutgoingMail, SystemParameter, db, reading
from tests.integration.frontdesk import NOW, FrontDesk, mail
from tests.locks import LONGEST, LockWatch, watched_locks
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
        return db.engine.dialect.name != "sqlite" or where in {one for one, _ in watch.held}


@pytest.mark.heavy
def test_a_post_with_a_large_file_is_prepared_before_its_transaction(desk: FrontDesk, noise: bytes) -> None:
    clerk, ann = desk.user("Clerk"), desk.contact("ann@customer.test", "Ann")
    document = desk.document(followers=[ann])
    file = NewFile.of("photo.jpg", "image/jpeg", noise)
    with watched_locks() as watch:
        desk.post(clerk, document.thread_id, files=[file])
    assert len(desk.sent()[0].content) > len(noise)
    assert is_watched(watch, desk.app, "mail/documents/posts.py:post_from_browser")
    assert watch.too_long() == []


@pytest.mark.heavy
def test_an_upload_is_read_and_packed_before_the_transaction_of_its_request(pages: Flask, noise: bytes) -> None:
    with pages.app_context():
        type_ = db.session.scalar(select(DocumentType).where(DocumentType.code == "ticket"))
        ann = contacts.find_or_make("ann@customer.test", "Ann", NOW)
        document_id = start_document(type_, "Help", NOW, contact_id=ann.id).id
        db.session.commit()
    clerk = Visitor(pages).as_role("user")
    with watched_locks() as watch:
        given = {"words": "Look at this.", "kind": "message", "files": [(io.BytesIO(noise), "photo.jpg")]}
        answer = clerk.post(f"/document/{document_id}/posts", given, content_type="multipart/form-data")
    assert answer.status_code == 302
    with pages.app_context():
        assert db.session.scalar(select(OutgoingMail.size)) > len(noise)
    assert is_watched(watch, pages, "mail/documents/posts.py:post_from_browser")
    assert watch.too_long() == []


@pytest.mark.heavy
def test_sixteen_large_mails_are_relayed_in_short_transactions(desk: FrontDesk, noise: bytes) -> None:
    dora = desk.user("Dora")
    desk.set_alias("sales", responsible_id=dora.id)
    desk.receive(
        mail("Bob <bob@customer.test>", message_id="<first@x.test>"), source="first"
    )  # loads, outside of what is measured, what the first email loads
    before = len(desk.sent(kind="post"))
    photos = [noise[number * MEGABYTE // 2 :][: 3 * MEGABYTE] for number in range(16)]
    raws = [mail(message_id=f"<{n}@x.test>", files=[("photo.jpg", photo)]) for n, photo in enumerate(photos)]
    with desk.app.app_context():
        intake.keep("practice", [FetchedMail(f"k{n}", len(raw), None, raw) for n, raw in enumerate(raws)], NOW)
    with watched_locks() as watch, desk.app.app_context():
        flow.process_waiting(NOW, desk.worker)
    assert len(desk.sent(kind="post")) - before == 16
    assert is_watched(watch, desk.app, "mail/incoming/flow.py:_write")
    assert watch.too_long() == []


def test_a_number_that_somebody_else_took_meanwhile_stands_in_no_other_email(desk: FrontDesk) -> None:
    desk.set_alias("sales", responsible_id=desk.user("Dora").id)
    raw = mail()
    with desk.app.app_context():
        (one,) = intake.keep("practice", [FetchedMail("k", len(raw), None, raw)], NOW)
        case = read_case(one.id, one.raw, one.keeps, NOW, one.arrived_at, one.problem)
        group, context = flow.route_group([case], NOW)
        with reading():
            ready = apply.prepare(group, context, NOW)
        taken = desk.document("Quicker").number
        with pytest.raises(NumberTaken):
            apply.write(ready, context, NOW, "received")
        db.session.rollback()
        assert flow.write_group(group, context, NOW)
    (sent,) = desk.sent(kind="post")
    assert desk.documents()[-1].number in sent.text
    assert taken not in sent.text


def test_who_computes_under_the_lock_is_found(desk: FrontDesk) -> None:
    with desk.app.app_context(), watched_locks() as watch:
        db.session.add(SystemParameter(key="slow", value="1"))
        db.session.flush()
        until = time.thread_time() + LONGEST * 1.5
        while time.thread_time() < until:
            pass
        WorkerLease.register(NOW)  # which commits
        if db.engine.dialect.name == "sqlite":
            (found,) = watch.too_long()
            assert found.startswith("mail/queue/")
        else:
            assert watch.too_long() == []

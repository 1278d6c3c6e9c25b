"""A worker that was recovered can't take anything more: nobody would ever give it back."""

from datetime import UTC, datetime

from flask import Flask
from sqlalchemy import select

from mail.mailing import chunks, mailing
from mail.outgoing import enqueue
from mail.outgoing.enqueue import OutgoingDraft, To
from mail.queue.lease import WorkerLease
from models import OutgoingServer, db
from models.outgoing import claim
from scheduler import recovery
from tests.integration.conftest import app  # noqa: F401 (the fixture)
from tests.integration.mass import add_contacts, add_server, draft, prepare


def test_who_was_recovered_takes_nothing(app: Flask) -> None:  # noqa: F811
    now = datetime.now(UTC)
    with app.app_context():
        add_server(25)
        mailing_id = draft(add_contacts(3))
        enqueue.enqueue(OutgoingDraft("test", "a@office.test", "Hello", html="<p>Hello</p>"), [To("b@x.test")], now)
        db.session.commit()
        mailing.send(mailing_id, now)
        prepare(mailing_id, now)
        recovered, other = WorkerLease.register(now), WorkerLease.register(now)
        recovery.recover(recovered.id, now)
        server_id = db.session.scalar(select(OutgoingServer.id))
        assert server_id is not None
        assert chunks.take_chunk(recovered, now) is None
        assert claim(recovered.id, server_id, now, 10) == []
        assert chunks.take_chunk(other, now) is not None
        assert len(claim(other.id, server_id, now, 10)) == 1

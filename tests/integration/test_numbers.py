"""A number that was signed into an email is never given to another row, on both databases."""

import os
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError

from mail.outgoing.enqueue import OutgoingDraft, To, enqueue
from models import Contact, Post, Recipient, Thread, Trace, db
from tests.conftest import KEPT, run_flask
from tests.integration.mass import NOW, draft


def new_post() -> int:
    thread = Thread(last_post_at=NOW)
    db.session.add(thread)
    db.session.flush()
    serial = db.session.scalar(select(func.count()).select_from(Post))
    post = Post(thread_id=thread.id, kind="note", message_key=f"{serial}.{thread.id}", at=NOW)
    db.session.add(post)
    db.session.commit()
    return post.id


def new_line() -> int:
    mail = enqueue(OutgoingDraft("test", "a@office.test", "Hello", html="<p>Hello</p>"), [To("b@x.test")], NOW)
    return db.session.scalars(select(Recipient.id).where(Recipient.mail_id == mail.id)).one()


def new_trace() -> int:
    contact = Contact(name="Reader")
    db.session.add(contact)
    db.session.flush()
    trace = Trace(mailing_id=draft(), contact_id=contact.id, address="r0@example.test")
    db.session.add(trace)
    db.session.commit()
    return trace.id


@pytest.mark.parametrize(("table", "new"), [(Post, new_post), (Recipient, new_line), (Trace, new_trace)])
def test_the_number_of_a_deleted_row_is_not_given_again(app: Flask, table: Any, new: Callable[[], int]) -> None:
    with app.app_context():
        first, newest = new(), new()
        db.session.execute(delete(table).where(table.id == first))  # older ones may go
        db.session.commit()
        try:
            db.session.execute(delete(table).where(table.id == newest))
            db.session.commit()
        except IntegrityError as refused:
            db.session.rollback()
            assert "stays: its number is in emails" in str(refused)
        assert new() > newest


def migrate(database: str, folder: Any, *words: str) -> None:
    env = {name: os.environ[name] for name in KEPT if name in os.environ}
    run_flask(words, env | {"COQUI_DATA": str(folder), "DATABASE_URL": database, "COQUI_TESTING": "1"})


@pytest.mark.heavy
def test_the_migration_keeps_the_rows_that_are_there(app: Flask, database: str, tmp_path: Any) -> None:
    with app.app_context():
        made = {Post: new_post(), Recipient: new_line(), Trace: new_trace()}
        db.session.rollback()
        db.engine.dispose()
    migrate(database, tmp_path / "data", "db", "downgrade", "0012")
    migrate(database, tmp_path / "data", "upgrade")
    with app.app_context():
        for table, number in made.items():
            assert db.session.get(table, number) is not None
        if db.engine.dialect.name == "sqlite":
            with pytest.raises(IntegrityError):
                db.session.execute(delete(Trace))

"""Rehearsal mode: a copied office writes to nobody and changes no mailbox; whoever ends it says what is sent."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from mail.maintenance import rehearsal as flow
from mail.sentences import why
from mail.settings import rehearsal
from models import PracticeMail, ReceivedMail, Recipient, db
from models.outgoing import HELD
from tests.office import Office
from tests.servers.app import App
from tests.servers.dovecot import Dovecot
from tests.servers.postfix import Postfix
from tests.servers.postgres import Postgres
from tests.waiting import wait_until

PAGE = "/settings/rehearsal"


@contextmanager
def copied(office: Office, request: pytest.FixtureRequest, folder: Path) -> Iterator[Office]:
    """A copy of a whole office, of its database and its data folder, under the address that it had."""
    url = office.running.env["DATABASE_URL"]
    if url.startswith("sqlite"):
        there = folder / "copy.db"
        with (
            closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as source,
            closing(sqlite3.connect(there)) as copy,
        ):
            source.backup(copy)
        copy_url = f"sqlite:///{there}"
    else:
        server: Postgres = request.getfixturevalue("postgres")
        office.close()
        copy_url = server.copy_database(url)
    copy_app = App(copy_url)
    shutil.copytree(office.running.data, copy_app.data, dirs_exist_ok=True, ignore=shutil.ignore_patterns("wake"))
    made = Office(copy_app)
    yield made
    copy_app.stop()
    made.close()
    copy_app.close()
    if not url.startswith("sqlite"):
        server.drop_database(copy_url)


def line(office: Office, address: str) -> Recipient:
    with office.looking():
        return db.session.scalars(select(Recipient).where(Recipient.address == address)).one()


@pytest.mark.heavy
def test_a_copied_office_writes_to_nobody_and_changes_no_mailbox(
    running_app: App, postfix: Postfix, dovecot: Dovecot, mailbox: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    office = Office(running_app)
    office.outgoing_server(postfix.port)
    box = {"user": mailbox, "password": dovecot.password, "after_fetch": "delete", "fetch_existing": True}
    incoming = office.incoming_server(dovecot.port("imap"), confirmed_at=datetime.now(UTC), **box)
    worker = office.worker()
    office.mail("real@x.test")
    postfix.wait_for("real@x.test")
    worker.terminate()
    office.mail("before@x.test")  # it waits when the office is copied
    dovecot.append(mailbox, b"From: c@x.test\r\nTo: sales@office.test\r\nSubject: Chairs\r\n\r\nTen\r\n")

    with copied(office, request, tmp_path) as copy:
        copy.worker()
        copy.mail("rehearsed@x.test")
        wait_until(lambda: line(copy, "rehearsed@x.test").state == "sent", 20)
        held = line(copy, "before@x.test")
        assert (held.state, held.next_try_at, held.why) == ("queued", HELD, why("rehearsal_holds"))
        assert copy.check("fetch", incoming).state == "done"
        with copy.looking():
            found = rehearsal.current()
            assert found is not None and found.why["code"] == "rehearsal_copied" and found.is_automatic
            assert [mail.recipient for mail in db.session.scalars(select(PracticeMail))] == ["rehearsed@x.test"]
            assert db.session.scalar(select(ReceivedMail.subject)) == "Chairs"
        assert [mail.recipient for mail in postfix.mails()] == ["real@x.test"]
        assert [mail.seen for mail in dovecot.mails(mailbox)] == [False], "neither marked nor deleted"

        with copy.context():
            flow.end(send_held=True, send_written=False, now=datetime.now(UTC), user_id=None, who="Ann")
        postfix.wait_for("before@x.test")
        assert copy.check("fetch", incoming).state == "done"
        assert dovecot.mails(mailbox) == [], "what was stored in the rehearsal is deleted now, as chosen"
        assert {mail.recipient for mail in postfix.mails()} == {"real@x.test", "before@x.test"}
        copy.worker()  # one that starts now finds itself at home
        with copy.looking():
            assert rehearsal.current() is None
    office.close()

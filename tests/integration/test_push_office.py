"""The listener of a real worker: from the last word of the dialogue to the document."""

import smtplib
from collections.abc import Iterator
from contextlib import closing

import pytest
from sqlalchemy import select

from models import Document, ReceivedMail, db
from tests.office import Office
from tests.servers.app import App
from tests.servers.process import answers, free_port
from tests.waiting import wait_until

MAIL = "From: Ann <ann@home.test>\r\nSubject: Desks\r\nMessage-ID: <1@home.test>\r\n\r\nHi\r\n"


@pytest.fixture
def pushed(running_app: App) -> Iterator[Office]:
    running_app.env["COQUI_LISTEN"] = f"lmtp://127.0.0.1:{free_port()} smtp://127.0.0.1:{free_port()}"
    office = Office(running_app)
    office.worker()
    yield office
    office.close()


@pytest.mark.heavy
def test_a_pushed_mail_opens_its_document_and_a_test_opens_none(pushed: Office) -> None:
    port = int(pushed.running.env["COQUI_LISTEN"].split()[0].rpartition(":")[2])
    wait_until(lambda: answers(port))
    with closing(smtplib.LMTP("127.0.0.1", port)) as client:
        client.sendmail("ann@home.test", ["sales@office.test"], MAIL)  # a blind copy: only the envelope names it
    wait_until(lambda: titles(pushed) == ["Desks"], every=0.01)
    with closing(smtplib.SMTP("127.0.0.1", int(pushed.running.env["COQUI_LISTEN"].rpartition(":")[2]))) as client:
        client.sendmail("ann@home.test", ["sales@office.test"], MAIL)  # again, by another way
    wait_until(lambda: [row.state for row in received(pushed)] == ["processed", "duplicate"])
    check = pushed.check("arrival", 0)
    assert (check.state, [step["name"] for step in check.steps]) == ("done", ["accepted", "understood"] * 2)
    assert titles(pushed) == ["Desks"]
    assert [(row.source, row.state) for row in received(pushed)] == [
        ("lmtp", "processed"), ("smtp", "duplicate"), ("lmtp", "ignored"), ("smtp", "ignored"),
    ]  # fmt: skip


def received(office: Office) -> list[ReceivedMail]:
    with office.looking():
        return list(db.session.scalars(select(ReceivedMail).order_by(ReceivedMail.id)))


def titles(office: Office) -> list[str]:
    with office.looking():
        return list(db.session.scalars(select(Document.title)))

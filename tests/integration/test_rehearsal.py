"""Rehearsal mode: a copied office writes to nobody and changes no mailbox; whoever ends it says what is sent."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import select, update

from mail.mailing.mailing import send
from mail.maintenance import rehearsal as flow
from mail.outgoing import enqueue
from mail.outgoing.enqueue import OutgoingDraft, To
from mail.queue.access_tokens import renewed
from mail.queue.connections import access_to, practice_listens_at
from mail.sentences import why
from mail.settings import installation, parameters, rehearsal
from mail.settings.clock import now
from mail.settings.parameters import INTERNAL
from mail.transport.sasl import SignInWaits
from models import (
    Contact,
    Mailing,
    Notification,
    OauthAccount,
    OauthProvider,
    OutgoingServer,
    PracticeMail,
    ReceivedMail,
    Recipient,
    User,
    db,
)
from models.outgoing import HELD
from scheduler.practice import Receiver
from tests.integration.mass import Sender, add_contacts, add_server, draft, states
from tests.integration.rehearsing import begin, deliver_in_practice, end, waiting_mail, work_off
from tests.office import Office
from tests.servers.app import App
from tests.servers.dovecot import Dovecot
from tests.servers.postfix import Postfix
from tests.servers.process import free_port
from tests.waiting import wait_until
from tests.web import Visitor, words

PAGE = "/settings/rehearsal"


@contextmanager
def copied(office: Office, request: pytest.FixtureRequest) -> Iterator[Office]:
    """A copy of a whole office."""
    url = office.running.env["DATABASE_URL"]
    server = None if url.startswith("sqlite") else request.getfixturevalue("postgres")
    office.close()
    running = office.running.copy(server.copy_database(url) if server else "")
    made = Office(running)
    yield made
    running.stop()
    made.close()
    running.close()
    if server:
        server.drop_database(running.env["DATABASE_URL"])


def line(office: Office, address: str) -> Recipient:
    with office.looking():
        return db.session.scalars(select(Recipient).where(Recipient.address == address)).one()


@pytest.mark.heavy
def test_a_copied_office_writes_to_nobody_and_changes_no_mailbox(
    running_app: App, postfix: Postfix, dovecot: Dovecot, mailbox: str, request: pytest.FixtureRequest
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

    with copied(office, request) as copy:
        copy.worker()
        copy.mail("rehearsed@x.test")
        wait_until(lambda: line(copy, "rehearsed@x.test").state == "sent")
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
        wait_until(postfix.idle)
        assert {mail.recipient for mail in postfix.mails()} == {"real@x.test", "before@x.test"}
        copy.worker()  # one that starts now finds itself at home
        with copy.looking():
            assert rehearsal.current() is None
    office.close()


# --- its end, and what stays as it is, on the pages


@pytest.mark.parametrize(
    ("held", "written", "ends_as"),
    [
        ("send", "leave", ["queued", "sent", "cancelled"]),
        ("leave", "send", ["cancelled", "queued", "queued"]),
        ("", "send", ["queued", "sent", "queued"]),  # nothing was chosen, so nothing ends
    ],
)
def test_whoever_ends_a_rehearsal_says_what_is_sent(
    pages: Flask, admin: Visitor, held: str, written: str, ends_as: list[str]
) -> None:
    with pages.app_context():
        waiting_mail("before@x.test")
        later = Mailing(subject="News", state="scheduled", scheduled_at=now(), created_at=now())
        db.session.add(later)
        db.session.commit()
    assert "1 email that is waiting now is held until the end" in words(admin.get(PAGE))
    admin.post(f"{PAGE}/begin")
    assert "1 email is still to be held" in words(admin.get(f"{PAGE}?part=state"))
    with pages.app_context():
        work_off()
    page = admin.get(PAGE)
    assert "1 email was waiting when the rehearsal began" in words(page) and "turned it on" in words(page)
    with pages.app_context():
        assert paused_by() == "rehearsal_holds_mailing"
        waiting_mail("rehearsed@x.test")
        deliver_in_practice()
        waiting_mail("late@x.test")
    assert "2 emails were written in the rehearsal" in words(admin.get(PAGE))
    answer = admin.post(f"{PAGE}/end", {"held": held, "written": written}, follow_redirects=True)
    ended = bool(held and written)
    assert ("The rehearsal is ending" in words(answer)) is ended
    assert ("2 emails are left" in words(answer)) is ended
    assert ("choose first what happens to the emails" in words(answer)) is not ended
    with pages.app_context():
        work_off()
        assert rehearsal.is_on() is not ended
        lines = db.session.scalars(select(Recipient).order_by(Recipient.id)).all()
        assert [one.state for one in lines] == ends_as
        if ended:
            assert not any(one.is_held for one in lines)
        assert paused_by() == ("rehearsal_is_over" if ended else "rehearsal_holds_mailing"), "a person resumes it"


def paused_by() -> str:
    """What the page of the mailing says it is paused by."""
    state, reason = db.session.execute(select(Mailing.state, Mailing.why)).one()
    return str(reason["code"]) if state == "paused" else ""


def test_what_was_scheduled_waits_for_its_time_after_a_rehearsal(app: Flask) -> None:
    with app.app_context():
        draft = OutgoingDraft("test", "Ann <ann@x.test>", "Hello", "<p>Hi</p>")
        at = now() + timedelta(days=2)
        enqueue.enqueue(draft, [To("later@x.test")], now(), scheduled_at=at)
        db.session.commit()
        begin()
        end(True, False)
        found = db.session.scalars(select(Recipient).execution_options(populate_existing=True)).one()
        assert (found.state, found.wait, found.next_try_at, found.why) == ("queued", "schedule", at, None)


def test_everybody_sees_on_every_page_that_nothing_leaves(pages: Flask, admin: Visitor) -> None:
    admin.post(f"{PAGE}/begin")
    user = Visitor(pages).as_role("user")
    for visitor, path in ((admin, "/settings/"), (user, "/inbox")):
        assert "Rehearsal since" in words(visitor.get(path))
    assert user.post(f"{PAGE}/end").status_code == 403
    admin.post(f"{PAGE}/end")
    assert "The rehearsal is ending" in words(user.get("/inbox"))
    with pages.app_context():
        work_off()
    assert "rehearsal" not in words(user.get("/inbox"))
    with pages.app_context():
        flow.begin(why("rehearsal_copied_here", here="vm (/srv/office.db)"), now())
    said = words(user.get("/inbox"))
    assert "This may be a copy of the real office." in said and "/srv/office.db" not in said
    assert "/srv/office.db" in words(admin.get("/settings/"))
    with pages.app_context():
        work_off()
        add_server(9, "Relay")
        db.session.commit()
        waiting_mail("customer@x.test")
    assert "Relay" in words(admin.get("/admin/outgoing-mails/"))
    with pages.app_context():
        deliver_in_practice()
    assert "Relay" not in words(admin.get("/admin/outgoing-mails/"))  # it was chosen, but did not take the email


def test_nobody_changes_by_hand_what_is_kept_of_it(pages: Flask, admin: Visitor) -> None:
    admin.post(f"{PAGE}/begin")
    assert INTERNAL not in admin.get("/admin/system-parameters/").text
    admin.post(f"/admin/system-parameters/edit?key={rehearsal.KEY}", {"value": ""})
    assert "kept by CoquiMail" in words(
        admin.post("/admin/system-parameters/new", {"key": rehearsal.KEY, "value": "1"})
    )
    with pages.app_context():
        assert rehearsal.is_on()


def test_no_sign_in_is_renewed(app: Flask) -> None:
    with app.app_context():
        provider = OauthProvider(kind="other", name="Provider", client_id="us", client_secret="x", issuer="https://x")
        account = OauthAccount(
            provider=provider, address="ann@x.test", state="connected", access_token="a", refresh_token="r",
            expires_at=now(), refreshed_at=now(), connected_at=now(),
        )  # fmt: skip
        db.session.add(account)
        db.session.commit()
        flow.begin(why("rehearsal_by_command"), now())
        with pytest.raises(SignInWaits) as waits:
            renewed(account.id, account.generation)
        assert waits.value.why["values"]["reason"]["code"] == "account_rehearsal"


def test_every_server_is_the_practice_mailbox(app: Flask) -> None:
    with app.app_context():
        server = OutgoingServer(name="Real", host="smtp.x.test", port=25, encryption="none", authentication="none")
        db.session.add(server)
        db.session.commit()
        assert access_to(server.id).target.host == "smtp.x.test"
        flow.begin(why("rehearsal_by_command"), now())
        practice_listens_at(2525)
        try:
            targets = [access_to(number).target for number in (server.id, 0)]
        finally:
            practice_listens_at(None)
        assert [(target.host, target.port) for target in targets] == [("127.0.0.1", 2525)] * 2


@pytest.mark.heavy
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_mailing_goes_to_the_practice_mailbox(app: Flask) -> None:
    """Real traces by the real way, while its server is a port where nobody listens."""
    ended = threading.Event()
    receiver = threading.Thread(target=Receiver(app, ended).work)
    receiver.start()
    sender = Sender(app)
    try:
        with app.app_context():
            parameters.put("web.base.url", "http://office.example", now())
            server = add_server(free_port())
            begin()
            contacts = add_contacts(3)
            db.session.execute(
                update(Contact)
                .where(Contact.address_key == "r1@example.test")
                .values(address="complaint@example.test", address_key="complaint@example.test")
            )
            number = draft(contacts, forced_server_id=server)
            send(number, sender.clock())
        sender.until_idle()
        with app.app_context():
            assert states(number) == {"sent": 3}
            mails = db.session.scalars(select(PracticeMail)).all()
            assert all(mail.trace_id and not mail.line_id for mail in mails) and len(mails) == 3
            assert [mail.recipient for mail in mails if mail.complained_at] == ["complaint@example.test"]
            found = rehearsal.current()
            assert found is not None
            left = flow.left(found)
            assert [one.id for one in left.mailings] == [number] and left.written == 0
    finally:
        ended.set()
        receiver.join(60)
        sender.close()


# --- where the office is


def test_a_copy_says_so_once_however_often_it_starts(app: Flask) -> None:
    with app.app_context():
        db.session.add(User(email="boss@office.test", role="admin", contact=Contact(name="Boss")))
        db.session.commit()
        flow.begin_where_copied(now())
        stored = json.loads(parameters.stored(installation.KEY)) | {"kind": "another", "host": "mail1"}
        parameters.store(installation.KEY, json.dumps(stored), now())
        db.session.commit()
        for _ in range(3):
            flow.begin_where_copied(now())
        found = rehearsal.current()
        assert found is not None and found.why["values"]["before"] == "mail1"
        (notice,) = db.session.scalars(select(Notification))
        assert notice.why is not None and notice.why["code"] == "notice_rehearsal_asks"


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_clone_that_nothing_tells_from_the_original_is_told_by_a_command(pages: Flask, by_hand: bool) -> None:
    if by_hand:  # in the original
        with pages.app_context():
            flow.begin(why("rehearsal_by", user="Ann"), now())
    assert "no email reaches anybody" in pages.test_cli_runner().invoke(args=["rehearse"]).output
    with pages.app_context():
        found = rehearsal.current()
        assert found is not None and found.why["code"] == "rehearsal_by_command" and not found.is_automatic

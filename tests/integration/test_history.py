"""What people do about an email that was not sent, and the history that keeps it."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, select, update

from mail.outgoing import deliver, failures, lines
from mail.outgoing.failures import Failure
from mail.queue.lease import WorkerLease
from mail.sentences import why
from models import (
    DeliveryAttempt,
    LineChange,
    Notification,
    OutgoingMail,
    Post,
    ReceivedMail,
    Recipient,
    User,
    db,
)
from tests.integration import test_failure_cards
from tests.web import Visitor, words

app, fail = test_failure_cards.app, test_failure_cards.fail
PAGE = "/admin/outgoing-mails/details?id=1"


def press(visitor, name, *ids):
    page = visitor.post(
        "/admin/outgoing-mails/action",
        {"action": name, "rowid": [str(number) for number in ids]},
        follow_redirects=True,
    )
    return words(page)


def add_lines(app, *states):
    """Give the email more recipients: their states and reasons."""
    rows = [
        {
            "mail_id": 1,
            "address": f"p{number}@x.test",
            "address_key": f"p{number}@x.test",
            "state": state,
            "wait": wait,
            "next_try_at": datetime.now(UTC),
            "why": why(code, address="p@x.test", reply="550") if code else None,
        }
        for number, (state, wait, code) in enumerate(states)
    ]
    with app.app_context():
        db.session.execute(insert(Recipient), rows)
        db.session.commit()


def states(app):
    with app.app_context():
        return list(db.session.scalars(select(Recipient.state).order_by(Recipient.id)))


def test_many_are_sent_again_only_where_it_helps(app, admin):
    fail(app, "failed", "mailbox_full")
    add_lines(
        app, ("failed", "", "no_such_mailbox"), ("bounced", "", "bounced_hard"), ("failed", "", "too_large_there"),
        ("sent", "", None), ("queued", "limit", None), ("unknown", "", "unknown_final"), ("sending", "", None),
    )  # fmt: skip
    said = press(admin, "retry", *range(1, 9))
    assert "2 emails are queued again." in said
    assert "2 emails were skipped: their addresses do not work. Correct the addresses first." in said
    assert "1 email was skipped: the email itself was refused and would be refused again." in said
    for reason in ("it has already been sent", "it is already waiting to be sent", "it is being sent right now"):
        assert f"1 email was skipped: {reason}." in said
    assert states(app) == ["queued", "failed", "bounced", "failed", "sent", "queued", "queued", "sending"]


@pytest.mark.parametrize("code", ["no_such_mailbox", "too_large_there"])
def test_one_is_not_sent_again_where_that_fails_again(app, code):
    fail(app, "failed", code)
    clerk = Visitor(app).as_role("marketing")
    said = words(clerk.post("/lines/1/retry", follow_redirects=True))
    assert "1 email was skipped" in said and "is being sent again" not in said
    assert states(app) == ["failed"]


def test_a_person_says_that_it_arrived(app, admin):
    fail(app, "unknown", "unknown_final")
    page = words(admin.get("/document/1"))
    assert "It arrived" in page and "may get it twice" in page and "Send again" in page
    assert "The email is marked as sent." in words(admin.post("/lines/1/arrived", follow_redirects=True))
    assert states(app) == ["sent"]
    said = "It was unknown whether this email had arrived; Admin confirmed that it did."
    assert said in words(admin.get("/document/1")) and said in words(admin.get(PAGE))
    assert "already known" in words(admin.post("/lines/1/arrived", follow_redirects=True))


def test_many_arrived(app, admin):
    fail(app, "unknown", "unknown_final")
    add_lines(app, ("unknown", "", "unknown_power_cut"), ("failed", "", "mailbox_full"))
    said = press(admin, "arrived", 1, 2, 3)
    assert (
        "2 emails are marked as sent." in said and "1 email was skipped: what happened to it is already known." in said
    )
    assert states(app) == ["sent", "sent", "failed"]


def test_what_people_did_is_in_the_history(app, admin):
    fail(app, "failed", "recipient_refused")
    admin.post("/lines/1/retry")
    admin.post("/lines/1/cancel")
    fail(app, "failed", "no_such_mailbox")
    admin.post("/lines/1/correct", {"address": "right@x.test", "what": "email"})
    page = words(admin.get(PAGE))
    told = ["Admin changed the address from gone@x.test to right@x.test.", "Admin cancelled it before it was sent.",
            "Admin sent it again.", "Added to the queue, written by"]  # fmt: skip
    assert [said for said in told if said in page] == told
    assert sorted(told, key=page.index) == told


def test_another_server_that_was_chosen_meanwhile_is_in_the_history(app, admin):
    with app.app_context():
        decision = db.session.scalars(select(OutgoingMail.decision)).first()
        db.session.execute(update(OutgoingMail).values(decision=decision | {"server_name": "Old one"}))
        db.session.commit()
    fail(app, "failed", "login_refused")
    admin.post("/lines/1/retry")
    page = words(admin.get(PAGE))
    assert "The server changed from “Old one” to" in page and "“Old one” was chosen as the server." in page


def test_the_history_tells_tries_reports_and_replies(app, admin):
    began = datetime.now(UTC)
    with app.app_context():
        line = db.session.get(Recipient, 1)
        post = db.session.get(Post, line.mail.post_id)
        line.mail.created_at = began - timedelta(hours=3)
        greylisted = why("greylisted", reply="450 later", address=line.address)
        db.session.add_all([
            DeliveryAttempt(recipient_id=1, at=began - timedelta(hours=2), server_name="Main", phase="rcpt", code=450,
                            why=greylisted, transcript="→ RCPT TO:<gone@x.test>\n← 450 later"),
            DeliveryAttempt(recipient_id=1, at=began - timedelta(hours=1), server_name="Main", phase="end", code=250),
        ])  # fmt: skip
        line.state, line.sent_at = "sent", began - timedelta(hours=1)
        received = ReceivedMail(source="test", source_key="1", blob_id=None, size=1,
                                received_at=began)  # fmt: skip
        db.session.add(received)
        db.session.flush()
        failures.record([Failure(line.address, "delay", "", "still trying", 1, None, received.id)], began)
        failures.record([Failure(line.address, "hard", "5.1.1", "no such user", 1, None, received.id)], began)
        line.address = "right@x.test"  # corrected since then
        db.session.add(
            Post(thread_id=post.thread_id, kind="message", author_contact_id=line.contact_id, message_key="reply",
                 parent_id=post.id, received_mail_id=received.id, at=began + timedelta(minutes=1))
        )  # fmt: skip
        db.session.commit()
    page = admin.get(PAGE)
    told = ["Gone replied.", "The email bounced: the mailbox gone@x.test does not exist (“no such user”)",
            "the email is delayed, and the recipient's server keeps trying (“still trying”)",
            "“Main” accepted the email.", "450 later", "Added to the queue"]  # fmt: skip
    history = words(page).partition("History")[2].partition("Why this server?")[0]
    assert [said for said in told if said in history] == told
    assert sorted(told, key=history.index) == told
    assert "<pre" in page.text and "Full transcript" in history and "Show the received email" in history


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"wait": "retry", "why": why("greylisted", reply="450")}, "Next attempt"),
        ({"wait": "schedule"}, "Scheduled for"),
        ({"wait": "", "next_try_at": None}, "Next attempt as soon as possible."),
        ({"state": "sending"}, "It is being sent right now."),
    ],
)
def test_the_history_begins_with_what_comes_next(app, admin, values, said):
    moment = datetime.now(UTC)
    values = {"state": "queued", "first_try_at": moment, **values}
    values["next_try_at"] = moment if values.get("next_try_at", 1) is None else moment + timedelta(minutes=5)
    with app.app_context():
        db.session.execute(update(Recipient).values(values))
        db.session.commit()
    history = words(admin.get(PAGE)).partition("History")[2]
    assert history.lstrip().startswith(said)
    assert ("gives up on" in history) == (values["wait"] in ("retry", "") if values["state"] == "queued" else False)


def test_a_mail_whose_tries_were_cleaned_up_still_says_that_it_was_accepted(app, admin):
    with app.app_context():
        db.session.execute(update(Recipient).values(state="sent", sent_at=datetime.now(UTC)))
        db.session.commit()
        assert not db.session.scalars(select(LineChange)).all()
    assert "The mail server accepted the email." in words(admin.get(PAGE))


@pytest.mark.parametrize("silent", [True, False])
def test_an_author_hears_of_an_email_in_doubt_and_what_became_of_it(app, admin, silent):
    clerk = Visitor(app).as_role("marketing")
    with app.app_context():
        worker = WorkerLease.register(datetime.now(UTC)).id
        author = db.session.scalar(select(User.contact_id).where(User.role == "marketing"))
        db.session.execute(update(Post).values(author_contact_id=author))
        db.session.execute(update(Recipient).values(state="sending", worker_id=worker, doubts=1))
        if silent:
            lines.leave_unknown(worker, {}, datetime.now(UTC))
        else:
            deliver.recover_lines(worker, None, datetime.now(UTC))
        db.session.commit()
    told = words(clerk.get("/inbox"))
    assert "One of your emails may not have arrived" in told and "Who can fix this: you" in told
    assert "An email of this document was not delivered" not in clerk.get("/documents/ticket").text
    clerk.post("/lines/1/arrived")
    told = words(clerk.get("/inbox"))
    assert "One of your emails was sent after all" in told and "Who can fix this" not in told


def test_the_inbox_names_every_recipient_who_did_not_get_it(app, admin):
    fail(app, "failed", "mailbox_full")
    add_lines(app, *[("failed", "", "mailbox_full")] * 4)
    with app.app_context():
        post = db.session.scalar(select(OutgoingMail.post_id))
        user = db.session.scalar(select(User.id).where(User.role == "admin"))
        db.session.add(Notification(post_id=post, user_id=user, kind="failure", at=datetime.now(UTC)))
        db.session.commit()
    told = words(admin.get("/inbox"))
    assert "One of your emails was not delivered" in told and "p1@x.test:" in told and "2 more recipients" in told


def test_cancelled_in_doubt_is_not_said_to_be_unsent(app, admin):
    with app.app_context():
        db.session.execute(update(Recipient).values(state="queued", wait="retry", doubts=1, why=why("doubt_waits")))
        db.session.commit()
    page = words(admin.post("/lines/1/cancel", follow_redirects=True))
    assert (
        "will not be sent again, but an earlier attempt may have arrived" in page and "before it was sent" not in page
    )
    with app.app_context():
        line = db.session.get(Recipient, 1)
        assert (line.state, line.why["code"], line.wait) == ("unknown", "cancelled_in_doubt", "")
    assert "It arrived" in page
    history = words(admin.get(PAGE))
    assert "cancelled it, but an earlier attempt may have arrived" in history and "before it was sent" not in history


def test_many_are_cancelled_and_those_in_doubt_are_told_apart(app, admin):
    add_lines(app, ("queued", "retry", None), ("queued", "retry", "doubt_waits"))
    with app.app_context():
        db.session.execute(update(Recipient).where(Recipient.id == 3).values(doubts=1))
        db.session.execute(update(Recipient).where(Recipient.id == 1).values(state="queued"))
        db.session.commit()
    page = press(admin, "cancel", 1, 2, 3)
    assert "2 emails were cancelled." in page
    assert "1 email will not be sent again, but an earlier attempt may have arrived." in page

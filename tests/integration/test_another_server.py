"""Another server for an email that was not sent: what it would change is shown before, and nothing happens silently."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, select, update

from mail.outgoing import another_server, server_rules
from mail.sentences import say, why
from mail.settings import parameters
from models import OutgoingMail, OutgoingServer, Recipient, db
from tests.integration import test_failure_cards
from tests.web import Visitor, words

app, fail = test_failure_cards.app, test_failure_cards.fail
FORM = "/admin/outgoing-mails/server"


@pytest.fixture(autouse=True)
def servers(app):
    """One server for each way in which a From can be treated; Main, the first, has no filter."""
    with app.app_context():
        filters = {"Home": "home.test", "Office": "office.test", "Retired": "home.test"}
        db.session.add_all(
            OutgoingServer(name=name, host="mx.test", from_filter=one, priority=20, active=name != "Retired")
            for name, one in filters.items()
        )
        db.session.commit()
        return {row.name: row.id for row in db.session.execute(select(OutgoingServer.id, OutgoingServer.name))}


def add_line(app, address, state, wait="", **values):
    with app.app_context():
        row = {"mail_id": 1, "address": address, "address_key": address, "state": state, "wait": wait}
        db.session.execute(insert(Recipient), [row | {"next_try_at": datetime.now(UTC)} | values])
        db.session.commit()


def lines(app):
    with app.app_context():
        return db.session.execute(
            select(Recipient.state, Recipient.wait, Recipient.server_id).order_by(Recipient.id)
        ).all()


def test_the_form_shows_what_each_server_would_change(app, admin, servers):
    fail(app, "failed", "login_refused")
    page = admin.get(f"{FORM}?id=1")
    shown = words(page)
    assert shown.index("Automatic") < shown.index("Home") < shown.index("Office") < shown.index("Retired")
    home = shown.partition("Home")[2].partition("Office")[0]
    assert 'From stays "User" <user@home.test>.' in home
    assert "Delivery failures go to user@home.test." in home, "the bounce address is not in its filter"
    office = shown.partition(" Office ")[2].partition("Retired")[0]
    assert 'From becomes "User" <notifications@office.test>.' in office
    assert "Delivery failures go to bounce@office.test." in office
    assert "Retired Turned off. Turn it on to use it" in shown
    assert f'value="{servers["Retired"]}" required disabled' in page.text


def test_an_email_goes_through_the_chosen_server_and_says_who_chose_it(app, admin, servers):
    fail(app, "failed", "login_refused")
    page = words(admin.post(FORM, {"id": "1", "server": str(servers["Home"])}, follow_redirects=True))
    assert "1 email is queued again." in page and "Admin chose the server “Home”." in page
    assert lines(app) == [("queued", "", servers["Home"])]
    with app.app_context():
        mail = db.session.scalars(select(OutgoingMail)).one()
        assert (mail.forced_server_id, mail.server_id) == (servers["Home"], servers["Home"])
        assert mail.from_header == '"User" <user@home.test>'
        refused = say(server_rules.in_use(db.session.get(OutgoingServer, servers["Home"])))
    assert "1 waiting email under Email ‣ Outgoing emails must go through it" in refused
    page = words(admin.post(FORM, {"id": "1", "server": "0"}, follow_redirects=True))
    assert "Admin set the choice of the server to automatic." in page
    with app.app_context():
        assert db.session.scalars(select(OutgoingMail.forced_server_id)).one() is None


def test_what_waits_goes_with_it_and_what_was_sent_stays(app, admin, servers):
    fail(app, "unknown", "unknown_final")
    later = datetime.now(UTC) + timedelta(hours=9)
    add_line(app, "sent@x.test", "sent")
    add_line(app, "limit@x.test", "queued", "limit", next_try_at=later)
    add_line(app, "scheduled@x.test", "queued", "schedule", next_try_at=later)
    assert "2 other recipients of the same emails are still waiting" in words(admin.get(f"{FORM}?id=1"))
    admin.post(FORM, {"id": "1", "server": str(servers["Home"])})
    home = servers["Home"]
    assert lines(app) == [("queued", "", home), ("sent", "", 0), ("queued", "", home), ("queued", "schedule", home)]
    with app.app_context():
        due = list(db.session.scalars(select(Recipient.next_try_at).order_by(Recipient.id)))
    assert due[2] < later and due[3] == later


def test_who_only_goes_along_keeps_the_doubt_and_its_time(app, admin, servers):
    fail(app, "failed", "login_refused")
    later, first = datetime.now(UTC) + timedelta(minutes=9), datetime.now(UTC) - timedelta(hours=9)
    doubted = {"doubts": 1, "first_try_at": first, "next_try_at": later, "why": why("doubt_waits")}
    add_line(app, "doubt@x.test", "queued", "retry", **doubted)
    add_line(app, "stranded@x.test", "queued", why=why("no_server"), next_try_at=later)
    shown = words(admin.get(f"{FORM}?id=1"))
    assert "For 1 recipient it is unknown whether the email arrived" in shown and "already have" not in shown
    said = words(admin.post(FORM, {"id": "1", "server": str(servers["Home"])}, follow_redirects=True))
    assert "3 emails are queued again." in said
    with app.app_context():
        _, line, stranded = db.session.scalars(select(Recipient).order_by(Recipient.id))
        assert (line.server_id, line.state, line.wait) == (servers["Home"], "queued", "retry")
        assert (line.doubts, line.first_try_at, line.next_try_at) == (1, first, later)
        assert line.why["code"] == "doubt_waits"
        assert stranded.next_try_at < later and stranded.why is None
    assert "Admin chose the server “Home”." in words(admin.get("/admin/outgoing-mails/details?id=2"))
    with app.app_context():
        db.session.execute(update(Recipient).values(doubts=0))
        db.session.commit()
    assert "already have the email do not get it again" in words(admin.get(f"{FORM}?id=1"))


@pytest.mark.parametrize("state", ["unknown", "failed"])
def test_a_chosen_email_that_may_have_arrived_is_said_to_arrive_twice(app, admin, state):
    fail(app, state, "unknown_final")
    with app.app_context():
        db.session.execute(update(Recipient).values(doubts=1))
        db.session.commit()
    assert "may arrive twice" in words(admin.get(f"{FORM}?id=1"))


def test_an_email_that_can_not_be_sent_says_why_and_does_not_block_the_others(app, admin, servers):
    fail(app, "failed", "login_refused")
    with app.app_context():
        values = {column.name: getattr(db.session.get(OutgoingMail, 1), column.name) for column in
                  OutgoingMail.__table__.columns}  # fmt: skip
        parameters.put("mail.default.from", "", datetime.now(UTC))
        values |= {"id": 2, "message_id": "<two@x.test>", "author": "", "post_id": None}
        db.session.execute(insert(OutgoingMail), [values])
        db.session.commit()
    add_line(app, "two@x.test", "failed", why=why("login_refused", host="mx.test", user="clerk", reply="535"))
    with app.app_context():
        db.session.execute(update(Recipient).where(Recipient.address == "two@x.test").values(mail_id=2))
        db.session.commit()
    alone = admin.get(f"{FORM}?id=2")
    home = words(alone).partition("Home")[2].partition("Office")[0]
    assert "Turned off" not in home and "From" in home, "it says what is wrong"
    assert f'value="{servers["Home"]}" required disabled' in alone.text
    both = admin.get(f"{FORM}?id=1&id=2")
    home = words(both).partition("Home")[2].partition("Office")[0]
    assert "1 email can't be sent:" in home and "From stays" in home
    assert f'value="{servers["Home"]}" required disabled' not in both.text
    assert f'value="{servers["Retired"]}" required disabled' in both.text
    said = words(admin.post(FORM, {"id": ["1", "2"], "server": str(servers["Home"])}, follow_redirects=True))
    assert "1 email is queued again." in said and [line.state for line in lines(app)] == ["queued", "failed"]


def server_after_preparing(app, number):
    """Return the server of the email after what is done, in short transactions, before a server is deleted."""
    with app.app_context():
        another_server.prepare_deletion(db.session.get_one(OutgoingServer, number), datetime.now(UTC))
        db.session.rollback()
        return db.session.get_one(OutgoingMail, 1).server_id


def test_a_chosen_server_that_was_deleted_is_in_the_history(app, admin, servers):
    fail(app, "failed", "login_refused")
    admin.post(FORM, {"id": "1", "server": str(servers["Home"])})
    assert server_after_preparing(app, servers["Home"]) == servers["Home"], "it waits, and knows where it goes"
    fail(app, "failed", "login_refused")
    assert server_after_preparing(app, servers["Home"]) is None
    answer = admin.post("/admin/outgoing-servers/delete", {"id": servers["Home"]}, follow_redirects=True)
    assert "Home" not in words(admin.get("/admin/outgoing-servers/")), words(answer)
    page = words(admin.get("/admin/outgoing-mails/details?id=1"))
    assert "“Home”, the server chosen for this email, was deleted" in page


def test_no_other_server_delivers_to_an_address_that_does_not_exist(app, admin, servers):
    fail(app, "failed", "no_such_mailbox")
    add_line(app, "full@x.test", "failed", why=why("mailbox_full", address="full@x.test", reply="552"))
    said = words(admin.post(FORM, {"id": ["1", "2"], "server": str(servers["Home"])}, follow_redirects=True))
    assert "1 email is queued again." in said and "its address does not work" in said
    assert [line.state for line in lines(app)] == ["failed", "queued"]


@pytest.mark.parametrize(
    ("server", "said"), [("Retired", "is turned off"), (99, "no longer exists"), (-1, "no longer")]
)
def test_a_server_that_can_not_send_is_refused(app, admin, servers, server, said):
    fail(app, "failed", "login_refused")
    answer = admin.post(FORM, {"id": "1", "server": str(servers.get(server, server))}, follow_redirects=True)
    assert said in words(answer) and lines(app)[0].state == "failed"


def test_many_are_asked_about_at_once(app, admin, servers):
    fail(app, "failed", "login_refused")
    add_line(app, "two@x.test", "failed", why=why("login_refused", host="mx.test", user="clerk", reply="535"))
    answer = admin.post("/admin/outgoing-mails/action", {"action": "server", "rowid": ["1", "2"]})
    assert answer.status_code == 302
    shown = words(admin.get(answer.location))
    assert "2 emails selected." in shown and "From becomes" in shown


def test_who_waits_for_a_limit_is_offered_another_server(app, admin):
    with app.app_context():
        reason = why("greylisted", reply="450")
        db.session.execute(update(Recipient).values(state="queued", wait="limit", why=reason))
        db.session.commit()
    for path in ("/document/1", "/admin/outgoing-mails/details?id=1"):
        assert f"{FORM}?id=1" in admin.get(path).text
    assert FORM not in Visitor(app).as_role("marketing").get("/document/1").text


def test_the_form_is_for_administrators_and_for_emails_that_exist(app, admin):
    assert Visitor(app).as_role("marketing").get(f"{FORM}?id=1").status_code == 403
    assert admin.get(f"{FORM}?id=99").status_code == 404 and admin.get(FORM).status_code == 404

"""From practice to real emails: what sends when no server is left, and where the links in emails lead."""

from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest

from mail.mailing import mailing
from mail.mailing.mailing import NotReady
from mail.outgoing import enqueue
from mail.outgoing.enqueue import OutgoingDraft, To
from mail.settings import office
from mail.settings.parameters import BASE_URL, CUSTOM_SERVERS, LIVE, NotValid, check, put
from models import Mailing, SystemParameter, db
from tests.integration.mass import add_contacts, add_server, draft
from tests.web import PASSWORD, Visitor, web_app
from webapp import first_start

SETTINGS, PRACTICE = "/settings/", "/practice"


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def app(pages):
    return pages


def set_up(app, live: bool, servers: str = "", custom: bool = True) -> None:
    """An office that is live or not, with a server that is "on", "off" or not there at all."""
    with app.app_context():
        if servers:
            add_server(2525, active=servers == "on")
        put(CUSTOM_SERVERS.key, str(int(custom)), now())
        if live:
            office.go_live(now())
        db.session.commit()


@pytest.mark.parametrize(
    ("live", "servers", "custom", "sends"),
    [
        (False, "", True, "practice"),
        (False, "off", True, "practice"),
        (False, "on", True, "servers"),
        (False, "on", False, "practice"),
        (True, "on", True, "servers"),
        (True, "on", False, "nothing"),
        (True, "off", True, "nothing"),
        (True, "", True, "nothing"),
        (True, "", False, "nothing"),
    ],
)
def test_the_practice_mailbox_never_takes_over(app, admin, live, servers, custom, sends):
    set_up(app, live, servers, custom)
    with app.app_context():
        assert office.sends_through() == sends
        mail = enqueue.enqueue(OutgoingDraft("test", "Ann <ann@x.test>", "Hello", "<p>Hi</p>"), [To("b@x.test")], now())
        failure = mail.decision["failure"]
        assert (failure or {}).get("code") == ("no_server" if sends == "nothing" else None)
        assert mail.decision["is_default_server"] is (sends == "practice")
    page = admin.get(SETTINGS).text
    assert ("all emails go to the practice mailbox" in page) is (sends == "practice")
    assert ("emails wait until there is one" in page) is (sends == "nothing")
    assert ("Return to practice" in page) is live
    said = admin.get(PRACTICE).text
    assert ("No email leaves this server" in said) is (sends == "practice")
    assert ("nothing goes here any more" in said) is live
    assert ("reach real people" in said) is (sends == "servers" and not live)


def test_with_a_server_of_the_environment_nothing_is_practice(database, tmp_path):
    app = web_app(database, tmp_path, MAIL_SERVER="smtp.acme.test", COQUI_URL="http://office.example")
    with app.app_context():
        office.go_live(now())
        db.session.commit()
        assert office.sends_through() == "default"
    admin = Visitor(app).as_role("admin")
    assert "practice" not in admin.get(SETTINGS).text.partition("<main")[2].lower()
    assert admin.post("/settings/practice").status_code == 404
    with app.app_context():
        assert office.is_live()
        db.engine.dispose()


def test_a_user_is_told_as_well_and_whom_to_ask(app):
    set_up(app, live=True)
    page = Visitor(app).as_role("user").get("/inbox/").text
    assert "emails wait until there is one" in page and "Tell your administrator" in page
    assert "outgoing-servers" not in page


def test_only_the_switch_leads_back_to_practice(app, admin):
    set_up(app, live=True, servers="on")
    assert "reach nobody" in admin.get(SETTINGS).text
    assert Visitor(app).as_role("user").post("/settings/practice").status_code == 403
    admin.post("/settings/practice")
    with app.app_context():
        assert (office.is_live(), CUSTOM_SERVERS.get(), office.sends_through()) == (False, 0, "practice")


def test_any_number_of_senders_may_say_that_the_office_is_live(app):
    for _ in range(2):
        with app.app_context():
            put(LIVE.key, "0", now())
            db.session.commit()
            office.go_live(now())
            office.go_live(now())
            db.session.commit()
            assert office.is_live()
            assert db.session.query(SystemParameter).filter_by(key=LIVE.key).count() == 1


# --- the address of this office


@pytest.mark.parametrize(
    ("host", "alone"),
    [
        ("localhost", True),
        ("LOCALHOST:8000", True),
        ("localhost.", True),
        ("app.localhost", True),
        ("localhost.localdomain", True),
        ("127.0.0.1:5000", True),
        ("127.9.9.9", True),
        ("0.0.0.0:8000", True),
        ("[::1]:8000", True),
        ("[::]", True),
        ("[::ffff:127.0.0.1]", True),
        ("mail.mycompany.com", False),
        ("localhost.mycompany.com", False),
        ("notlocalhost", False),
        ("192.168.1.20:8000", False),
        ("[2001:db8::1]", False),
        ("office", False),
    ],
)
def test_an_address_that_names_this_machine_is_told_apart(host, alone):
    assert office.names_this_machine(f"http://{host}/x") is alone


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("https://mail.mycompany.com", "https://mail.mycompany.com"),
        (" https://Mail.MyCompany.com/ ", "https://mail.mycompany.com"),
        ("http://10.0.0.5:8000", "http://10.0.0.5:8000"),
        ("https://mycompany.com/post/", "https://mycompany.com/post"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("http://[2001:db8::1]:80", "http://[2001:db8::1]:80"),
        ("mail.mycompany.com", None),
        ("ftp://mail.mycompany.com", None),
        ("javascript:alert(1)", None),
        ("https://", None),
        ("https://user:secret@mycompany.com", None),
        ("https://mycompany.com?x=1", None),
        ("https://mycompany.com#top", None),
        ("https://my company.com", None),
        ("https://mycompany.com:99999", None),
        ('https://mycompany.com"><b>', None),
    ],
)
def test_the_address_of_the_office_is_a_whole_address(text, kept):
    if kept is None:
        with pytest.raises(NotValid):
            check(BASE_URL.key, text)
    else:
        assert BASE_URL.read(text) == kept


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("came_by", "environment", "learned"),
    [
        ("https://mail.mycompany.test/", {}, "https://mail.mycompany.test"),
        ("http://10.0.0.7:8000/", {}, "http://10.0.0.7:8000"),
        ("http://127.0.0.1:8000/", {}, ""),
        ("http://localhost/", {}, ""),
        ("https://other.test/", {"COQUI_URL": "https://mail.mycompany.test"}, ""),
    ],
)
def test_the_address_by_which_the_first_admin_came_is_that_of_the_office(
    database, tmp_path, came_by, environment, learned
):
    app = web_app(database, tmp_path, **environment)
    with app.app_context():
        path = urlsplit(first_start.first_start_link()).path
    new = {"name": "Ada", "email": "ada@office.test", "password": PASSWORD, "again": PASSWORD}
    client = app.test_client()
    token = client.get(path, base_url=came_by).text.partition('name="csrf_token"')[2].partition('value="')[2]
    token = token.partition('"')[0]
    headers = {"Referer": came_by + path.lstrip("/")}
    answer = client.post(path, base_url=came_by, data={**new, "csrf_token": token}, headers=headers)
    assert answer.status_code == 302
    client.get("/login", base_url="http://evil.test/")  # what somebody claims later changes nothing
    with app.app_context():
        assert BASE_URL.get() == learned
        db.engine.dispose()


def test_the_address_is_shown_and_saved_in_general_settings(app, admin):
    form = {"custom_servers": "1", "domain": "office.test", "company": "C", "address": ""}
    assert 'placeholder="http://office.example"' in admin.get(SETTINGS).text
    refused = admin.post(SETTINGS, {**form, "base_url": "mail.mycompany.com"})
    assert refused.status_code == 200 and "Write the whole address" in refused.text
    assert 'value="mail.mycompany.com"' in refused.text
    admin.post(SETTINGS, {**form, "base_url": "HTTPS://Mail.MyCompany.com/"})
    with app.app_context():
        assert office.base_url() == "https://mail.mycompany.com"
    admin.post(SETTINGS, {**form, "base_url": "http://localhost:8000"})
    assert "works on this machine only" in admin.get(SETTINGS).text


def test_a_mailing_with_links_to_this_machine_waits_for_the_address(app):
    with app.app_context():
        add_server(2525)
        put(BASE_URL.key, "http://localhost:8000", now())
        number = draft(add_contacts(2, "News"))
        with pytest.raises(NotReady, match="Address of this office"):
            mailing.send(number, now())
        db.session.get(Mailing, number).state = "paused"
        db.session.commit()
        with pytest.raises(NotReady, match="Address of this office"):
            mailing.resume(number, now())
        put(BASE_URL.key, "https://mail.mycompany.com", now())
        db.session.commit()
        assert mailing.resume(number, now())


def test_in_practice_links_may_lead_to_this_machine(app):
    with app.app_context():
        put(BASE_URL.key, "http://localhost:8000", now())
        number = draft(add_contacts(2, "News"))
        assert mailing.send(number, now()).state == "scheduled"


def test_a_test_of_a_mailing_is_refused_as_well(app, admin):
    with app.app_context():
        add_server(2525)
        put(BASE_URL.key, "http://127.0.0.1:8000", now())
        number = draft(add_contacts(1, "News"))
    said = admin.post(f"/mailings/{number}/test", {"address": "me@x.test"}, follow_redirects=True)
    assert "Address of this office" in said.text

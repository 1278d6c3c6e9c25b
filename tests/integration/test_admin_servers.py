"""Outgoing and incoming servers and scheduled actions as the admin sees them; the worker is played by hand."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import select

from mail.outgoing import server_rules
from mail.queue.lease import LEASE
from mail.sentences import say, why
from mail.settings.parameters import CUSTOM_SERVERS, DEDICATED_SERVER, DEFAULT_FROM_FILTER, put
from mail.settings.providers import PROVIDERS
from models import (
    ActionRun,
    Event,
    IncomingServer,
    MailboxState,
    Mailing,
    OutgoingServer,
    ScheduledAction,
    ServerCheck,
    ServerLimit,
    Worker,
    database_clock,
    db,
)
from scheduler.recovery import lose_check
from tests.servers.certificates import own_certificate
from tests.web import Visitor, web_app, words

# What has nothing to do with databases.
ONE_DATABASE = pytest.mark.parametrize("_kept_pages", ["sqlite"], indirect=True)

CERTIFICATE, KEY = own_certificate("client.office.test")
OUTGOING, INCOMING, ACTIONS = "/admin/outgoing-servers", "/admin/incoming-servers", "/admin/scheduled-actions"
SERVER = {
    "name": "Postmark",
    "host": "smtp.example.com",
    "encryption": "starttls",
    "port": "587",
    "authentication": "password",
    "user": "u1",
    "password": "swordfish",
    "from_filter": "",
    "priority": "10",
    "active": "1",
}
MAILBOX = {
    "name": "sales@",
    "kind": "imap",
    "host": "imap.example.com",
    "encryption": "tls",
    "port": "993",
    "user": "sales@office.test",
    "password": "swordfish",
    "folder": "INBOX",
    "after_fetch": "mark_read",
    "priority": "10",
    "active": "1",
    "keep_attachments": "1",
    "keep_original": "1",
}


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def app(pages) -> Flask:
    return pages


def only(app, model):
    """The one row of a table, as a dictionary; None for none."""
    with app.app_context():
        rows = db.session.scalars(select(model).order_by(model.id.desc())).all()
        return {column.name: getattr(rows[0], column.name) for column in model.__table__.columns} if rows else None


def change(app, model, number, **values):
    with app.app_context():
        row = db.session.get(model, number)
        for name, value in values.items():
            setattr(row, name, value)
        db.session.commit()


def in_app(app, *steps):
    with app.app_context():
        for step in steps:
            step()
        db.session.commit()


def developer(visitor: Visitor) -> Visitor:
    visitor.post("/developer-mode", {"on": "1", "next": "/"})
    return visitor


# --- who may


@pytest.mark.parametrize("path", [OUTGOING, INCOMING, "/admin/aliases", ACTIONS, "/admin/document-types"])
@pytest.mark.parametrize(("role", "code"), [("user", 403), ("marketing", 403), ("admin", 200)])
@ONE_DATABASE
def test_only_admins_see_the_technical_pages(app, path, role, code):
    assert Visitor(app).as_role(role).get(f"{path}/").status_code == code


# --- another secret key: that of the office was lost


@pytest.fixture
def with_another_key(app, admin, tmp_path) -> Iterator[Visitor]:
    """An admin of the same office, whose passwords were stored by somebody who had another key."""
    admin.post(f"{OUTGOING}/new", SERVER)
    certificate = {"authentication": "certificate", "client_certificate": CERTIFICATE, "client_key": KEY}
    admin.post(f"{OUTGOING}/new", {**SERVER, "name": "certified", **certificate})
    admin.post(f"{INCOMING}/new", MAILBOX)
    with app.app_context():
        for kind, ids in (("outgoing_test", (0, 1, 2)), ("incoming_test", (1,))):
            for number in ids:
                values = {"tested": "x", "state": "failed", "steps": [], "requested_at": now(), "finished_at": now()}
                db.session.add(ServerCheck(kind=kind, server_id=number, **values))
        db.session.commit()
        url = db.engine.url.render_as_string(hide_password=False)
    visitor = Visitor(web_app(url, tmp_path / "moved"))
    assert visitor.log_in("admin@home.test").status_code == 302
    yield visitor
    with visitor.app.app_context():
        db.engine.dispose()


@pytest.mark.heavy
def test_all_pages_open_under_another_key(with_another_key):
    rules = with_another_key.app.url_map.iter_rules()
    paths = {rule.rule for rule in rules if "GET" in (rule.methods or ()) and not rule.arguments} - {"/logout"}
    paths |= {f"{OUTGOING}/edit?id=1", f"{OUTGOING}/edit?id=2", f"{INCOMING}/edit?id=1"}
    codes = {path: with_another_key.get(path).status_code for path in sorted(paths)}
    assert len(codes) > 50 and {path: code for path, code in codes.items() if code not in (200, 302, 404)} == {}


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("path", "form", "field", "typed", "empty"),
    [
        (f"{OUTGOING}/edit?id=1", SERVER, "password", "typed anew", "Enter the password"),
        (f"{OUTGOING}/edit?id=2", {**SERVER, "name": "certified", "authentication": "certificate",
         "client_certificate": CERTIFICATE}, "client_key", KEY, "Paste both"),
        (f"{INCOMING}/edit?id=1", MAILBOX, "password", "typed anew", "Enter the password of the mailbox"),
    ],
)  # fmt: skip
def test_a_secret_that_can_not_be_read_is_entered_again(with_another_key, path, form, field, typed, empty):
    page = with_another_key.get(path)
    assert "can't be read with the current secret key. Enter it again." in words(page.text)
    assert "A value is stored" not in page.text
    assert empty in words(with_another_key.post(path, {**form, field: ""}).text)
    assert with_another_key.post(path, {**form, field: typed}).status_code == 302
    page = with_another_key.get(path)
    assert "can't be read" not in words(page.text) and "A value is stored" in page.text


# --- outgoing servers


def test_a_server_is_added_and_its_secret_is_never_shown(app, admin):
    answer = admin.post(f"{OUTGOING}/new", {**SERVER, "from_filter": " MyCompany.test, sales@other.test "})
    assert answer.status_code == 302
    row = only(app, OutgoingServer)
    assert (row["host"], row["port"], row["password"]) == ("smtp.example.com", 587, "swordfish")
    assert row["from_filter"] == "MyCompany.test, sales@other.test"
    form = admin.get(f"{OUTGOING}/edit?id={row['id']}")
    assert "swordfish" not in form.text
    assert "A value is stored" in form.text
    assert "swordfish" not in admin.get(f"{OUTGOING}/export").text
    admin.post(f"{OUTGOING}/edit?id={row['id']}", {**SERVER, "password": "", "priority": "20"})
    again = only(app, OutgoingServer)
    assert (again["password"], again["priority"]) == ("swordfish", 20)
    refused = admin.post(f"{OUTGOING}/edit?id={row['id']}", {**SERVER, "password": "marlin", "port": "99999"})
    assert "marlin" not in refused.text and "Enter it again: what you typed here was not saved." in words(refused)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"from_filter": " , "}, "contains only spaces or commas"),
        ({"from_filter": "example.com, not a domain"}, "neither a domain nor an address"),
        ({"port": ""}, "number from 1 to 65535"),
        ({"port": "70000"}, "number from 1 to 65535"),
        ({"host": ""}, "Fill in this field"),
        ({"host": "https://smtp.example.com"}, "without https://"),
        ({"host": "smtp.example.com:587"}, "The number after the colon goes into Port"),
        ({"host": "[2001:db8::1]:587"}, "The number after the colon goes into Port"),
        ({"host": "me@example.com"}, "This is an email address"),
        ({"name": "x" * 121}, "At most 120 characters are possible; this has 121"),
        ({"host": "smtp example com"}, "not a server name"),
        ({"user": ""}, "Enter the user"),
        ({"password": ""}, "Enter the password"),
        ({"authentication": "certificate"}, "Paste both"),
        ({"authentication": "certificate", "client_certificate": "mine", "client_key": KEY}, "Paste both again as PEM"),
        (
            {"authentication": "certificate", "client_certificate": CERTIFICATE, "client_key": own_certificate("b")[1]},
            "Paste both again as PEM",
        ),
        ({"priority": "-10001"}, "whole number"),
        ({"name": ""}, "Fill in this field"),
    ],
)
@ONE_DATABASE
def test_what_can_not_work_is_refused_beside_its_field(app, admin, changes, sentence):
    answer = admin.post(f"{OUTGOING}/new", {**SERVER, **changes})
    assert answer.status_code == 200
    assert sentence in words(answer.text)
    assert 'class="error"' in answer.text
    assert only(app, OutgoingServer) is None


@pytest.mark.parametrize(
    ("hosting", "port", "taken"), [("online", "25", False), ("online", "2525", True), ("on_premise", "25", True)]
)
def test_port_25_is_refused_where_it_is_blocked(database, tmp_path, hosting, port, taken):
    app = web_app(database, tmp_path, COQUI_HOSTING=hosting)
    answer = Visitor(app).as_role("admin").post(f"{OUTGOING}/new", {**SERVER, "port": port})
    assert (answer.status_code == 302) is taken
    if not taken:
        assert "security reasons" in answer.text
        assert all(other in words(answer.text) for other in ("465, 587 or 2525",))
    with app.app_context():
        db.engine.dispose()


def test_the_form_offers_the_usual_ports_and_encryption_picks_one(admin):
    text = admin.get(f"{OUTGOING}/new").text
    assert re.findall(r'<option value="(\d+)"></option>', text) == ["465", "587", "2525"]
    assert "FROM Filtering" in text and "Priority" in text and "Test Connection" in text
    assert 'data-port-for="port"' in text and "&#34;tls&#34;: 465" in text


def filled(page) -> dict[str, str]:
    """What the fields of a form have."""
    fields = dict(re.findall(r'<input [^>]*?name="(\w+)"[^>]*? value="([^"]*)"', page.text))
    for name, options in re.findall(r'<select [^>]*?name="(\w+)".*?>(.*?)</select>', page.text, re.DOTALL):
        fields[name] = "".join(re.findall(r'<option selected value="([^"]*)"', options))
    return fields


def test_a_provider_fills_in_all_but_user_and_password(app, admin):
    page = admin.get(f"{OUTGOING}/new?provider=gmail")
    gmail = PROVIDERS["gmail"]
    form = filled(page)
    expected = {"name": gmail.name, "host": gmail.host, "port": str(gmail.port), "encryption": gmail.encryption}
    assert {name: form[name] for name in expected} == expected and form["authentication"] == "password"
    said = words(page)
    assert gmail.user in said and gmail.password in said and all(quirk.says in said for quirk in gmail.quirks)
    assert "notifications@mycompany.com" not in said  # the example of a user, which is not true of every provider
    assert f'href="{gmail.limits[0].source}"' in page.text and "2,000 emails per day" in said
    login = {name: form[name] for name in ("csrf_token", *expected, "authentication", "priority", "from_filter")}
    admin.post(f"{OUTGOING}/new?provider=gmail", {**login, "user": "ada@gmail.com", "password": "abcd efgh"})
    saved = only(app, OutgoingServer)
    assert (saved["host"], saved["port"], saved["encryption"]) == (gmail.host, gmail.port, gmail.encryption)
    assert gmail.password in words(admin.get(f"{OUTGOING}/edit?id={saved['id']}"))


@pytest.mark.parametrize(
    ("provider", "said"),
    [
        ("gmail", "must have include:_spf.google.com. DKIM: it signs as your domain once you add the TXT record"),
        ("postmark", "SPF: nothing to add to the record of your domain."),
        ("postmark", "Delivery failures return to pm.mtasv.net, not to your bounce address."),
        ("resend", "Delivery failures return to a subdomain, send; it shows its records too."),
    ],
)
def test_a_provider_says_what_dns_needs(admin, provider, said):
    assert said in words(admin.get(f"/admin/outgoing-servers/new?provider={provider}"))


def test_a_provider_fills_in_its_limits(admin):
    form = filled(admin.get(f"{OUTGOING}/new?provider=microsoft_365"))
    assert (form["per_minute"], form["per_day"], form["connections"]) == ("30", "10000", "3")


def test_connections_are_limited_and_what_was_learned_is_shown(app, admin):
    admin.post(f"{OUTGOING}/new", {**SERVER, "connections": "1", "per_connection": "50"})
    saved = only(app, OutgoingServer)
    assert (saved["connections"], saved["per_connection"]) == (1, 50)
    page = f"{OUTGOING}/edit?id={saved['id']}"
    assert "Learned on" not in words(admin.get(page))
    learned = ServerLimit(server_id=saved["id"], host=SERVER["host"], mails=20, connections=1, learned_at=now())
    in_app(app, lambda: db.session.add(learned))
    assert "20 emails per connection, 1 connection at once." in words(admin.get(page))
    unusable = words(developer(admin).post(page, {**SERVER, "helo": "my server!"}))
    assert "The HELO name “my server!” can't be used" in unusable
    refused = words(admin.post(page, {**SERVER, "connections": "0"}))
    assert "A whole number from 1 to 1,000, or empty for no limit." in refused
    admin.post(page, {**SERVER, "host": "smtp.elsewhere.test"})
    assert "Learned on" not in words(admin.get(page)), "that was another server"


def test_extra_headers_are_checked(app, admin):
    developer(admin).post(f"{OUTGOING}/new", {**SERVER, "headers": "X-Tag: office\r\nX-Office: Köln\r\n"})
    assert only(app, OutgoingServer)["headers"] == "X-Tag: office\r\nX-Office: Köln"
    page = admin.post(f"{OUTGOING}/new", {**SERVER, "headers": "X-Tag: office\nBcc: spy@example.com"})
    assert "“Bcc” can't be added" in words(page) and "Bcc: spy@example.com" in page.text


def test_what_was_typed_is_kept_when_the_form_of_a_provider_is_refused(admin):
    page = admin.post(f"{OUTGOING}/new?provider=gmail", {**SERVER, "name": "Mine", "port": "0"})
    form = filled(page)
    assert (form["name"], form["host"], form["user"]) == ("Mine", SERVER["host"], SERVER["user"])
    assert PROVIDERS["gmail"].password in words(page)


@pytest.mark.parametrize("query", ["", "?provider=", "?provider=nobody"])
def test_without_a_provider_the_form_is_as_it_was(admin, query):
    page = admin.get(f"{OUTGOING}/new{query}")
    assert filled(page)["host"] == "" and "Other provider" in page.text and 'class="source"' not in page.text
    assert all(f'value="{key}"' in page.text for key in PROVIDERS)


def test_developer_mode_shows_more_and_nobody_else_can_set_it(app, admin):
    assert "Verify the server certificate" not in admin.get(f"{OUTGOING}/new").text
    admin.post(f"{OUTGOING}/new", SERVER)
    number = only(app, OutgoingServer)["id"]
    admin.post(f"{OUTGOING}/edit?id={number}", {**SERVER, "rewrite": "always"})
    assert only(app, OutgoingServer)["verify_tls"] is True
    assert only(app, OutgoingServer)["rewrite"] == "not_ours"
    developer(admin).post(f"{OUTGOING}/edit?id={number}", {**SERVER, "rewrite": "always", "helo": "mail.office.test"})
    row = only(app, OutgoingServer)
    assert (row["verify_tls"], row["rewrite"], row["helo"]) == (False, "always", "mail.office.test")
    assert "certificate not verified" in admin.get(f"{OUTGOING}/").text


def test_whether_a_server_takes_unique_senders_is_known_until_it_moves(app, admin):
    admin.post(f"{OUTGOING}/new", SERVER)
    number = only(app, OutgoingServer)["id"]
    assert only(app, OutgoingServer)["verp"] is None
    form = f"{OUTGOING}/edit?id={number}"
    for typed, stored in (("True", True), ("False", False), ("", None)):
        developer(admin).post(form, {**SERVER, "verp": typed})
        assert only(app, OutgoingServer)["verp"] is stored
        chosen = re.search(
            r'<option selected value="(\w*)">[^<]+</option>', admin.get(form).text.split('name="verp"')[1]
        )
        assert chosen and chosen[1] == typed
    change(app, OutgoingServer, number, verp=True)
    admin.post(form, {**SERVER, "verp": "True", "host": "mx.elsewhere.test", "password": "again"})
    assert only(app, OutgoingServer)["verp"] is None, "another server has shown nothing"
    change(app, OutgoingServer, number, verp=False)
    admin.post(form, {**SERVER, "verp": "False", "host": "mx.third.test", "password": "again"})
    assert only(app, OutgoingServer)["verp"] is None, "and refused nothing"


def test_the_parameter_of_the_default_server_is_explained_where_it_disagrees(app, admin):
    admin.post(f"{OUTGOING}/new", {**SERVER, "from_filter": "office.test"})
    path = f"{OUTGOING}/edit?id={only(app, OutgoingServer)['id']}"
    assert "the system parameter mail.default.from_filter applies to the default server only" in words(
        admin.get(path).text
    )
    assert "Both are correct" not in admin.get(path).text
    in_app(app, lambda: put(DEFAULT_FROM_FILTER.key, "other.test", now()))
    assert "“other.test”, this server has “office.test”" in words(admin.get(path).text)
    in_app(app, lambda: put(DEFAULT_FROM_FILTER.key, "OFFICE.test", now()))
    assert "Both are correct" not in admin.get(path).text


@pytest.mark.parametrize("use", ["dedicated", "mailing", "finished mailing", "none"])
def test_a_server_in_use_can_not_be_deleted_or_switched_off(app, admin, use):
    admin.post(f"{OUTGOING}/new", SERVER)
    number = only(app, OutgoingServer)["id"]
    change(app, OutgoingServer, number, draft=False, active=True)
    in_use = use in ("dedicated", "mailing")

    def occupy():
        if use == "dedicated":
            put(DEDICATED_SERVER.key, str(number), now())
        if "mailing" in use:
            state = "sending" if use == "mailing" else "done"
            db.session.add(Mailing(subject="Spring news", state=state, forced_server_id=number, created_at=now()))

    in_app(app, occupy)
    off = admin.post(f"{OUTGOING}/edit?id={number}", {**SERVER, "active": "", "_drop": ""})
    assert (off.status_code == 200) is in_use
    assert only(app, OutgoingServer)["active"] is in_use
    said = words(admin.post(f"{OUTGOING}/delete", {"id": number}, follow_redirects=True).text)
    assert (only(app, OutgoingServer) is not None) is in_use
    assert ("Dedicated Server under Email Marketing" in said) is (use == "dedicated")
    assert ("“Spring news” is not finished" in said) is (use == "mailing")


def test_saving_a_form_that_was_opened_as_a_draft_leaves_the_server_on(app, admin):
    admin.post(f"{OUTGOING}/new", SERVER)
    number = only(app, OutgoingServer)["id"]
    opened = admin.get(f"{OUTGOING}/edit?id={number}").text
    sent = {name: value for name, value in SERVER.items() if name != "active"}  # a draft's form has no such field
    sent |= dict(re.findall(r'<input type="hidden" name="(as_draft)" value="(\w+)">', opened))
    change(app, OutgoingServer, number, draft=False, active=True)  # its test passes while the form is open
    admin.post(f"{OUTGOING}/edit?id={number}", {**sent, "name": "Daily"})
    saved = only(app, OutgoingServer)
    assert (saved["name"], saved["active"]) == ("Daily", True)
    assert "as_draft" not in admin.get(f"{OUTGOING}/edit?id={number}").text


# --- tests of servers


def test_a_test_is_asked_for_and_shows_its_steps_as_they_come(app, admin):
    answer = admin.post(f"{OUTGOING}/new", {**SERVER, "_then": "test"})
    check = only(app, ServerCheck)
    assert (check["kind"], check["state"], check["server_id"]) == (
        "outgoing_test",
        "waiting",
        only(app, OutgoingServer)["id"],
    )
    page = admin.get(answer.location)
    assert f'data-poll-url="/checks/{check["id"]}"' in page.text
    assert "Waiting for the worker" in page.text
    steps = [
        {"name": "lookup", "state": "ok", "why": why("test_greeting", reply="hello"), "seconds": 0.2},
        {"name": "tls", "state": "warning", "why": why("test_tls_off"), "seconds": 0.1},
    ]
    change(app, ServerCheck, check["id"], state="running", steps=steps)
    running = admin.get(f"/checks/{check['id']}").text
    assert "The server responded: “hello”." in running and "data-done" not in running
    steps += [
        {"name": "login", "state": "failed", "why": why("login_not_offered", host="h", offered="x"), "seconds": 1.0},
        {"name": "sender", "state": "skipped", "why": why("test_not_tried"), "seconds": 0.0},
        {"name": "sender", "state": "skipped", "why": why("test_not_tried"), "seconds": 0.0},
    ]
    with app.app_context():
        tested = server_rules.tested_key(db.session.get(OutgoingServer, check["server_id"]))
    said = "→ AUTH ***\n← <b>no</b>"
    change(app, ServerCheck, check["id"], state="failed", steps=steps, transcript=said, tested=tested)
    done = admin.get(f"/checks/{check['id']}").text
    assert "data-done" in done and "2 other steps were skipped." in words(done)
    assert "→ AUTH ***" in done and "&lt;b&gt;no&lt;/b&gt;" in done
    listed = admin.get(f"{OUTGOING}/").text
    assert "state-bad" in listed and "offers no login" in listed


def of_sender(address: str, uses: list[str], **cells) -> list[dict]:
    """The steps of an address: ``name=(state, reason)``."""
    return [
        {"name": name, "state": state, "why": reason, "seconds": 0.1, "address": address, "uses": uses}
        for name, (state, reason) in cells.items()
    ]


def test_each_address_has_a_row_of_the_matrix(app, admin):
    admin.post(f"{OUTGOING}/new", {**SERVER, "_then": "test"})
    number = only(app, ServerCheck)["id"]
    refused = why("sender_refused", address="b@x.test", reply="553 <not yours>", host="h")
    steps = [
        {"name": "login", "state": "ok", "why": why("test_login", user="u1"), "seconds": 0.1},
        *of_sender("a@x.test", ["filter", "default"], mail_from=("ok", why("test_mail_from", address="a@x.test")),
                   rcpt_to=("ok", why("test_sender", address="a@x.test"))),
        *of_sender("b@x.test", ["bounce"], mail_from=("failed", refused), rcpt_to=("skipped", why("test_not_tried"))),
        *of_sender("c@x.test", ["domain"], mail_from=("failed", why("test_sender_deferred", address="c@x.test",
                                                                   reply="450 later", cause="greylisted"))),
        *of_sender("d@x.test", ["bounce"], note=("skipped", why("test_bounce_unused", address="d@x.test"))),
        *of_sender("e@x.test", ["filter"], mail_from=("failed", why("test_ran_out", seconds=20))),
    ]  # fmt: skip
    change(app, ServerCheck, number, state="running", steps=steps)
    page = admin.get(f"/checks/{number}").text
    rows = [words(row) for row in re.findall(r"<tr>\s*<td.*?</tr>", page, re.DOTALL)]
    assert rows == [
        "a@x.test in FROM Filtering, default address accepted accepted You can send from this address.",
        f"b@x.test bounce address refused not tried {say(refused)} Who can fix this: you",
        "c@x.test for a domain in FROM Filtering not now not tried The server does not accept emails from c@x.test at "
        "the moment: “450 later”. Test again in a few minutes. Who can fix this: nobody; try again later",
        f"d@x.test bounce address not tried not tried {say(why('test_bounce_unused', address='d@x.test'))}",
        f"e@x.test in FROM Filtering not tried not tried {say(why('test_ran_out', seconds=20))} Who can fix this: "
        "nobody; try again later",
    ]
    assert "<not yours>" not in page and "Working" in page
    change(app, OutgoingServer, 1, draft=False, active=True)
    change(app, ServerCheck, number, state="failed")
    done = admin.get(f"/checks/{number}").text
    assert "what it refuses is marked as failed" in done and "wait until it works" not in done
    change(app, ServerCheck, number, steps=[steps[0] | {"state": "failed"}])
    assert "the emails it should send wait until it works" in admin.get(f"/checks/{number}").text
    change(app, ServerCheck, number, state="running")
    for reason in (why("test_not_tried"), why("test_out_of_time", seconds=20)):
        blocked = [{**step, "state": "skipped", "why": reason} for step in steps[1:]]
        change(app, ServerCheck, number, steps=blocked)
        assert "sender-table" not in admin.get(f"/checks/{number}").text


def test_the_list_says_what_was_never_tested(admin):
    admin.post(f"{OUTGOING}/new", SERVER)
    assert "never tested" in admin.get(f"{OUTGOING}/").text


@pytest.mark.parametrize(
    ("seconds_ago", "worker", "says"),
    [
        (2, None, "Waiting for the worker"),
        (11, None, "No worker is running"),
        (11, LEASE + 5, "No worker is running"),
        (11, 1, "The worker is busy"),
    ],
)
def test_a_test_that_nobody_takes_up_says_so(app, admin, seconds_ago, worker, says):
    admin.post(f"{OUTGOING}/new", {**SERVER, "_then": "test"})
    check = only(app, ServerCheck)
    change(app, ServerCheck, check["id"], requested_at=now() - timedelta(seconds=seconds_ago))
    if worker is not None:
        in_app(app, lambda: db.session.add(sign_of_life(worker)))
    text = words(admin.get(f"/checks/{check['id']}").text)
    assert says in text
    assert ("python -m scheduler" in text) is (says == "No worker is running")


def sign_of_life(seconds_ago: float) -> Worker:
    return Worker(host="h", boot="b", pid=1, started_at=now(), seen_at=database_clock() - seconds_ago)


def test_tests_are_for_admins(app, admin):
    admin.post(f"{OUTGOING}/new", {**SERVER, "_then": "test"})
    path = f"/checks/{only(app, ServerCheck)['id']}"
    assert Visitor(app).as_role("user").get(path).status_code == 403
    assert Visitor(app).get(path).status_code == 302
    assert admin.get("/checks/999").status_code == 404


def test_a_new_server_does_not_inherit_the_tests_of_a_deleted_one(app, admin):
    admin.post(f"{OUTGOING}/new", {**SERVER, "_then": "test"})
    admin.post(f"{OUTGOING}/delete", {"id": only(app, OutgoingServer)["id"]})
    assert only(app, ServerCheck) is None


def test_the_default_server_can_be_tested(app, admin):
    answer = admin.post("/settings/test-default-server")
    assert answer.status_code == 302
    check = only(app, ServerCheck)
    assert (check["kind"], check["server_id"]) == ("outgoing_test", 0)
    assert f"/checks/{check['id']}" in admin.get("/settings/").text
    shown = why("test_certificate_shown", subject="x", expires="2099-01-01", shown="63:B7", fingerprint="63b7")
    failed = {"name": "tls", "state": "failed", "why": why("certificate_self_signed", host="h"), "seconds": 0.1}
    steps = [failed, {"name": "certificate", "state": "ok", "why": shown, "seconds": 0.1}]
    with app.app_context():
        tested = server_rules.tested_key(None)
    change(app, ServerCheck, check["id"], state="failed", steps=steps, tested=tested)
    done = words(admin.get(f"/checks/{check['id']}").text)
    assert "MAIL_SERVER" in done and "only offered for servers that you add" in done and "Correct the form" not in done
    admin.post("/settings/test-default-server", {"mail": "1"})
    assert only(app, ServerCheck)["kind"] == "outgoing_mail"
    assert admin.get("/settings/").text.count('data-poll-url="/checks/') == 2


def test_an_interrupted_test_email_leads_to_the_email_and_is_not_said_to_be_unsent(app, admin):
    admin.post("/settings/test-default-server", {"mail": "1"})
    decided = {"name": "decision", "state": "ok", "why": why("mail_to_me_from", sender="a@x.test", bounce="", line=7)}
    check = only(app, ServerCheck)["id"]
    with app.app_context():
        row = db.session.get(ServerCheck, check)
        row.steps, row.tested = [decided | {"seconds": 0.0}], server_rules.tested_key(None)
        lose_check(row, now())
        db.session.commit()
    page = admin.get(f"/checks/{check}").text
    assert "Look at the email before you send another one." in words(page) and "was not sent:" not in words(page)
    assert "/admin/outgoing-mails/details?id=7" in page


# --- incoming servers


def test_a_mailbox_begins_as_a_draft_with_no_action(app, admin):
    text = admin.get(f"{INCOMING}/new").text
    assert "Actions to Perform on Incoming Mails" in text
    assert re.search("TEST &(amp;)? CONFIRM", text)
    assert re.search(r'<select[^>]*name="action_type_id"[^>]*><option value=""></option>', text)
    assert "Create a new Opportunity" in text
    answer = admin.post(f"{INCOMING}/new", {**MAILBOX, "_then": "test"})
    row = only(app, IncomingServer)
    assert (row["state"], row["action_type_id"], row["password"]) == ("draft", None, "swordfish")
    assert only(app, ServerCheck)["kind"] == "incoming_test"
    page = admin.get(answer.location).text
    assert "only confirmed mailboxes are fetched" in words(page) and "Fetch now" not in words(page)


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"host": "other.example.com", "password": "swordfish"}, "draft"),
        ({"port": "1993", "password": "swordfish"}, "draft"),
        ({"user": "support@office.test"}, "draft"),
        ({"password": "another"}, "draft"),
        ({"kind": "pop3", "password": "swordfish"}, "draft"),
        ({"folder": "Mail"}, "draft"),
        ({"shared_mailbox": "info@office.test"}, "draft"),
        ({"address": "info@office.test"}, "confirmed"),
        ({"folder": "inbox"}, "confirmed"),
        ({"password": "swordfish"}, "confirmed"),
        ({"name": "Sales", "after_fetch": "delete", "priority": "5"}, "confirmed"),
        ({}, "confirmed"),
    ],
)
def test_another_mailbox_has_to_be_confirmed_anew(app, admin, changes, state):
    admin.post(f"{INCOMING}/new", MAILBOX)
    number = only(app, IncomingServer)["id"]
    change(app, IncomingServer, number, state="confirmed")
    answer = admin.post(f"{INCOMING}/edit?id={number}", {**MAILBOX, "password": "", **changes})
    assert answer.status_code == 302
    assert only(app, IncomingServer)["state"] == state


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("changes", "another"),
    [
        ({"host": "other.example.com"}, True),
        ({"user": "support@office.test"}, True),
        ({"kind": "pop3"}, True),
        ({"folder": "Mail"}, True),
        ({"shared_mailbox": "info@office.test"}, True),
        ({"password": "another"}, False),
        ({"port": "1993", "name": "Sales"}, False),
    ],
)
def test_another_mailbox_is_read_from_its_own_beginning(app, admin, changes, another):
    admin.post(f"{INCOMING}/new", MAILBOX)
    before = only(app, IncomingServer)
    number = before["id"]
    change(app, IncomingServer, number, state="confirmed", confirmed_at=now())
    progress = MailboxState(incoming_server_id=number, folder="INBOX", uidvalidity=1, last_uid=500)
    in_app(app, lambda: db.session.add(progress))
    edit = f"{INCOMING}/edit?id={number}"
    told = words(admin.post(edit, {**MAILBOX, **changes}, follow_redirects=True).text)
    after = only(app, IncomingServer)
    assert (after["mailbox"] != before["mailbox"]) is another
    assert (after["confirmed_at"] is None) is another
    assert (only(app, MailboxState) is None) is another
    assert ("treated as a different mailbox" in told) is another and "press TEST & CONFIRM. Nothing" in told
    change(app, IncomingServer, number, state="confirmed", confirmed_at=None)
    told = words(admin.post(edit, {**MAILBOX, "folder": "New", "_then": "test"}, follow_redirects=True).text)
    assert "treated as a different mailbox" not in told  # it was never read
    assert "press TEST & CONFIRM. Nothing" not in told  # that is what was pressed


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"after_fetch": "move"}, "Enter the folder"),
        ({"after_fetch": "move", "move_to": "INBOX"}, "a folder other than"),
        ({"after_fetch": "move", "move_to": "Inbox", "folder": "inbox"}, "a folder other than"),
        ({"after_fetch": "move", "move_to": "Done", "kind": "pop3"}, "POP3 has no folders"),
        ({"password": ""}, "Enter the password"),
        ({"user": " "}, "Fill in this field"),
        ({"host": "a b"}, "not a server name"),
        ({"address": "info"}, "Enter a whole email address"),
        ({"shared_mailbox": "info@office.test", "kind": "pop3"}, "POP3 reads only your own mailbox"),
        ({"action_type_id": "999"}, "no longer exists"),
        ({"sender_checks": "set", "checked_by": ""}, "Enter the first word of that server"),
        ({"sender_checks": "set", "checked_by": "mx.office.test; dmarc=pass"}, "Enter the first word of that server"),
    ],
)
@ONE_DATABASE
def test_what_a_mailbox_can_not_do_is_refused(app, admin, changes, sentence):
    answer = admin.post(f"{INCOMING}/new", {**MAILBOX, **changes})
    assert answer.status_code == 200
    assert sentence in words(answer.text)
    assert only(app, IncomingServer) is None


@pytest.mark.parametrize(
    ("values", "seen", "shown"),
    [
        ({}, None, "not known yet: the first emails of this mailbox will show it"),
        (
            {"sender_checks": "learn"},
            {"mx.office.test": 9},
            "by mx.office.test, learned from the emails of this mailbox",
        ),
        ({"sender_checks": "learn"}, {"-": 9}, "none seen: the emails of this mailbox have no results"),
        (
            {"sender_checks": "set", "checked_by": " MX.Office.test. "},
            {"mx.office.test": 1, "-": 9},
            "by mx.office.test",
        ),
        (
            {"sender_checks": "set", "checked_by": "mx.b.test"},
            {"-": 9},
            "by mx.b.test, but none of the last 9 emails has a",
        ),
        ({"sender_checks": "off"}, {"mx.office.test": 9}, "not used"),
    ],
)
def test_a_mailbox_says_whose_checks_of_senders_count(app, admin, values, seen, shown):
    admin.post(f"{INCOMING}/new", {**MAILBOX, **values})
    number = only(app, IncomingServer)["id"]
    change(app, IncomingServer, number, checks_seen=seen)
    assert f"Sender checks {shown}" in words(admin.get(f"{INCOMING}/edit?id={number}").text)


def test_mailboxes_are_fetched_from_the_form_the_list_and_together(app, admin):
    admin.post(f"{INCOMING}/new", MAILBOX)
    number = only(app, IncomingServer)["id"]
    assert admin.post(f"{INCOMING}/press/fetch", {"id": number}).status_code == 404  # a draft is not fetched
    refused = admin.post(f"{INCOMING}/action", {"action": "fetch", "rowid": number}, follow_redirects=True)
    assert "Only mailboxes that are confirmed" in refused.text
    assert only(app, ServerCheck) is None
    change(app, IncomingServer, number, state="confirmed")
    for path in (f"{INCOMING}/", f"{INCOMING}/{number}/state"):  # an open page has the button once its test passed
        assert "Fetch now" in admin.get(path).text
    assert admin.post(f"{INCOMING}/press/fetch", {"id": number}).status_code == 302
    check = only(app, ServerCheck)
    assert check["kind"] == "fetch"
    for state, said in (("done", "Fetching is complete."), ("failed", "Fetching failed")):
        change(app, ServerCheck, check["id"], state=state)
        assert said in admin.get(f"/checks/{check['id']}").text
    together = admin.post(f"{INCOMING}/action", {"action": "fetch", "rowid": number}, follow_redirects=True)
    assert together.status_code == 200
    assert "sales@" in together.text and f"/checks/{only(app, ServerCheck)['id']}" in together.text


def test_the_last_failure_is_told_in_words(app, admin):
    admin.post(f"{INCOMING}/new", MAILBOX)
    number = only(app, IncomingServer)["id"]
    reason = why("name_not_found", host="imap.example.com")
    change(app, IncomingServer, number, state="confirmed", why=reason, last_failure_at=now())
    for path in (f"{INCOMING}/", f"{INCOMING}/edit?id={number}", f"{INCOMING}/{number}/state"):
        assert "The server name imap.example.com does not exist" in admin.get(path).text
    state = words(admin.get(f"{INCOMING}/{number}/state").text)
    assert "Confirmed" in state and "Mail: Fetchmail Service" in state


@pytest.mark.parametrize(
    ("values", "alive", "says", "silent"),
    [
        ({"idle_since": datetime(2026, 1, 1, tzinfo=UTC)}, True, "arrive immediately", "at the times below"),
        ({"idle_since": datetime(2026, 1, 1, tzinfo=UTC)}, False, "Next fetch", "arrive immediately"),
        ({"idle_why": why("mailbox_idle_missing", host="h.test")}, True, "h.test does not announce", "immediately"),
        ({"kind": "pop3"}, True, "POP3 servers do not announce new emails", "does not"),
    ],
)
def test_a_mailbox_says_how_its_mail_arrives(app, admin, values, alive, says, silent):
    admin.post(f"{INCOMING}/new", MAILBOX)
    number = only(app, IncomingServer)["id"]
    change(app, IncomingServer, number, state="confirmed", **values)
    if alive:
        in_app(app, lambda: db.session.add(sign_of_life(1)))
    state = words(admin.get(f"{INCOMING}/{number}/state").text)
    assert says in state and silent not in state
    assert ("Connected, waiting for emails" in words(admin.get(f"{INCOMING}/").text)) is (says == "arrive immediately")
    assert "be undone. Emails fetched from it stay here" in admin.get(f"{INCOMING}/edit?id={number}").text


# --- scheduled actions


def action_named(app, name="Mail: Fetchmail Service"):
    with app.app_context():
        row = db.session.scalar(select(ScheduledAction).where(ScheduledAction.name == name))
        return row.id, row.interval, row.unit, row.active, row.version


@pytest.mark.parametrize(
    ("interval", "unit", "saved", "sentence"),
    [
        ("5", "seconds", True, ""),
        ("2", "hours", True, ""),
        ("4", "seconds", False, "minimum interval is 5 seconds"),
        ("1000001", "seconds", False, "A whole number from 1 to 1,000,000."),
        ("0", "minutes", False, "from 1 to 1,000,000"),
        ("", "minutes", False, "from 1 to 1,000,000"),
        ("99", "parsecs", False, "Not saved"),
        ("500", "months", False, "ten years"),
    ],
)
def test_an_interval_is_edited_within_its_limits(app, admin, interval, unit, saved, sentence):
    number, _, _, _, version = action_named(app)
    answer = admin.post(f"{ACTIONS}/edit?id={number}", {"interval": interval, "unit": unit, "active": "1"})
    assert (answer.status_code == 302) is saved
    _, now_interval, now_unit, active, now_version = action_named(app)
    if saved:
        assert (now_interval, now_unit, active, now_version) == (int(interval), unit, True, version + 1)
    else:
        assert sentence in words(answer.text)
        assert (now_interval, now_unit, now_version) == (5, "minutes", version)


def test_what_is_no_number_is_said_in_one_sentence(app, admin):
    number = action_named(app)[0]
    page = words(admin.post(f"{ACTIONS}/edit?id={number}", {"interval": "many", "unit": "hours"}))
    assert page.count("A whole number from 1 to 1,000,000.") == 1 and "Not a valid integer" not in page


def test_nothing_is_cut_while_it_is_pasted(admin):
    for path in (f"{OUTGOING}/new", "/admin/aliases/new", "/admin/document-types/new", "/admin/contacts/new"):
        assert "maxlength" not in admin.get(path).text, path


def test_the_help_of_the_filter_says_what_becomes_of_external_addresses(admin):
    page = words(admin.get(f"{OUTGOING}/new"))
    assert "external addresses are then replaced by the default address" in page
    assert "accept every From address" not in page


def test_a_shorter_interval_counts_from_the_last_run(app, admin):
    number, *_ = action_named(app)
    change(app, ScheduledAction, number, next_run_at=now() + timedelta(minutes=4))
    admin.post(f"{ACTIONS}/edit?id={number}", {"interval": "5", "unit": "seconds", "active": "1"})
    assert next_run(app, number) <= now() + timedelta(seconds=6)


def next_run(app, number):
    with app.app_context():
        return db.session.get(ScheduledAction, number).next_run_at


def test_an_action_is_switched_off_and_says_so(app, admin):
    number, *_ = action_named(app)
    admin.post(f"{ACTIONS}/edit?id={number}", {"interval": "5", "unit": "minutes"})
    assert action_named(app)[3] is False
    assert "turned off" in words(admin.get(f"{ACTIONS}/").text)


def test_run_now_is_a_wish_to_the_worker(app, admin):
    number, *_ = action_named(app)
    answer = admin.post(f"{ACTIONS}/press/run", {"id": number}, follow_redirects=True)
    assert "none is running" in words(answer.text)
    with app.app_context():
        row = db.session.get(ScheduledAction, number)
        assert row.run_requested_at is not None
        assert "actions" in db.session.scalars(select(Event.topic)).all()
    in_app(app, lambda: db.session.add(sign_of_life(1)))
    assert "1 worker is running" in words(admin.get(f"{ACTIONS}/").text)


def test_the_history_tells_how_each_run_went(app, admin):
    number, *_ = action_named(app)
    moment = now()

    def history():
        for place in range(35):
            db.session.add(
                ActionRun(action_id=number, slot=moment - timedelta(minutes=place + 10), state="done",
                          started_at=moment - timedelta(minutes=place + 10),
                          ended_at=moment - timedelta(minutes=place + 9), counts={"servers": 2, "mails": 7})
            )  # fmt: skip
        db.session.flush()
        db.session.add(
            ActionRun(action_id=number, slot=moment, state="failed", requested=True, started_at=moment,
                      ended_at=moment + timedelta(seconds=2.4), counts={"servers": 2, "failed": 1},
                      why=why("action_unknown", action="fetch"))
        )  # fmt: skip

    in_app(app, history)
    page = admin.get(f"{ACTIONS}/edit?id={number}").text
    said = words(page)
    assert "2 servers, 1 failed. This version of CoquiMail does not know the action “fetch”" in said
    assert "2.4 s" in said and "by Run now" in said and "2 servers, 7 emails" in said and "60 s" in said
    older = re.search(r'href="([^"]*before=\d+[^"]*)"', page)[1].replace("&amp;", "&")
    assert "2 servers, 7 emails" in words(admin.get(older).text)
    assert "Failed" in words(admin.get(f"{ACTIONS}/").text)
    fragment = admin.get(f"{ACTIONS}/{number}/history").text
    assert "<html" not in fragment and "action_unknown" not in fragment


def test_actions_are_neither_made_nor_deleted_by_hand(app, admin):
    number, *_ = action_named(app)
    assert admin.get(f"{ACTIONS}/new").status_code == 404
    assert admin.post(f"{ACTIONS}/delete", {"id": number}).status_code == 404
    assert admin.post(f"{ACTIONS}/action", {"action": "delete", "rowid": number}).status_code == 404
    assert action_named(app)[0] == number


def test_the_practice_banner_goes_when_an_own_server_sends(app, admin):
    banner = "all emails go to the practice mailbox"
    page = admin.get("/settings/").text
    assert banner in page and 'data-live-url="/banner"' in page
    assert banner in admin.get("/banner").text
    admin.post(f"{OUTGOING}/new", SERVER)
    assert banner in admin.get("/settings/").text  # it is a draft
    admin.post(f"{OUTGOING}/press/use", {"id": only(app, OutgoingServer)["id"]})
    page = admin.get("/settings/").text
    assert banner not in page and 'data-live-url="/banner"' not in page, "nothing is asked every two seconds"
    assert admin.get("/banner").text.strip() == ""
    in_app(app, lambda: put(CUSTOM_SERVERS.key, "0", now()))
    assert banner in admin.get("/settings/").text

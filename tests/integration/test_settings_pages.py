"""General Settings, System Parameters, aliases and document types."""

import html
import re
from datetime import UTC, datetime

import pytest
from flask import Flask
from sqlalchemy import select

from mail.documents.documents import start_document
from mail.incoming import aliases
from mail.sentences import say, why
from mail.settings.parameters import CATALOGUE, CATCHALL_DOMAIN, COMPANY_ADDRESS, COMPANY_NAME, CUSTOM_SERVERS, put
from models import (
    Alias,
    Document,
    DocumentType,
    IncomingServer,
    OutgoingServer,
    ReceivedMail,
    ScheduledAction,
    Stage,
    SystemParameter,
    db,
)
from tests.web import Visitor, web_app, words
from webapp.admin.base import AdminView

# What has nothing to do with databases.
ONE_DATABASE = pytest.mark.parametrize("_kept_pages", ["sqlite"], indirect=True)

SETTINGS, PARAMETERS = "/settings/", "/admin/system-parameters"
ALIASES, TYPES = "/admin/aliases", "/admin/document-types"
OFFICE = {"custom_servers": "1", "domain": "office.test", "company": "My Company", "address": "1 Calle Sol"}


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def app(pages) -> Flask:
    return pages


def value(app, parameter):
    with app.app_context():
        return parameter.get()


def addresses(app, state="active"):
    with app.app_context():
        rows = db.session.scalars(select(Alias.address_key).where(Alias.state == state))
        return set(rows)


def type_id(app, code="opportunity"):
    with app.app_context():
        return db.session.scalar(select(DocumentType.id).where(DocumentType.code == code))


# --- who may


@pytest.mark.parametrize("path", [SETTINGS, f"{PARAMETERS}/", f"{PARAMETERS}/new", f"{PARAMETERS}/edit?key=x"])
@pytest.mark.parametrize("role", ["user", "marketing"])
@ONE_DATABASE
def test_settings_are_for_admins(app, path, role):
    assert Visitor(app).as_role(role).get(path).status_code == 403


@pytest.mark.parametrize("path", [SETTINGS, f"{PARAMETERS}/press/reset", "/settings/test-default-server"])
def test_settings_are_changed_by_admins_only(app, path):
    answer = Visitor(app).as_role("user").post(path, {**OFFICE, "domain": "evil.test", "key": "company.name"})
    assert answer.status_code == 403
    assert value(app, CATCHALL_DOMAIN) == "office.test"


# --- General Settings


def test_two_windows_on_the_settings_undo_nothing(app, admin):
    was = {"custom_servers_was": "", "domain_was": "office.test", "company_was": "My Company", "address_was": "",
           "base_url_was": ""}  # fmt: skip
    loaded = {**OFFICE, **was, "custom_servers": "", "address": ""}
    admin.post(SETTINGS, {**OFFICE, "custom_servers": "", "address": ""})
    page = admin.get(SETTINGS).text
    assert all(f'name="{name}" value="{text}"' in page for name, text in was.items() if name != "base_url_was")
    admin.post(SETTINGS, {**loaded, "address": "1 Calle Sol\r\nSeville", "custom_servers": "1"})
    page = admin.post(SETTINGS, {**loaded, "company": "Our Company"}, follow_redirects=True)
    assert "It stays as it is now: Postal address, Custom Email Servers" in words(page)
    assert value(app, COMPANY_ADDRESS) == "1 Calle Sol\nSeville"
    assert (value(app, COMPANY_NAME), value(app, CUSTOM_SERVERS)) == ("Our Company", 1)
    page = admin.post(SETTINGS, {**loaded, "company": "Their Company"})
    assert "Somebody changed this to “Our Company” meanwhile" in words(page)
    assert 'value="Their Company"' in page.text and value(app, COMPANY_NAME) == "Our Company"


def test_custom_email_servers_reveals_the_links_when_it_is_saved(app, admin):
    links = ("/admin/outgoing-servers/", "/admin/incoming-servers/")

    def revealed():
        part = admin.get(SETTINGS).text.partition("Custom Email Servers")[2].partition("Alias Domain")[0]
        return [link in part for link in links]

    assert revealed() == [True, True]
    assert admin.post(SETTINGS, {**OFFICE, "custom_servers": ""}).status_code == 302
    assert (value(app, CUSTOM_SERVERS), revealed()) == (0, [False, False])
    assert "appear here. Until then" in admin.get(SETTINGS).text
    admin.post(SETTINGS, OFFICE)
    assert (value(app, CUSTOM_SERVERS), revealed()) == (1, [True, True])


def test_the_company_is_saved(app, admin):
    admin.post(SETTINGS, {**OFFICE, "company": " Coquí Ltd ", "address": "1 Calle Sol\r\nSan Juan"})
    assert (value(app, COMPANY_NAME), value(app, COMPANY_ADDRESS)) == ("Coquí Ltd", "1 Calle Sol\nSan Juan")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"domain": "not a domain"}, "Enter a domain"),
        ({"domain": ""}, "The alias domain is required"),
        ({"domain": "@x"}, "Enter a domain"),
        ({"company": " "}, "Enter your company name"),
    ],
)
def test_what_can_not_be_is_refused_and_nothing_is_saved(app, admin, changes, sentence):
    answer = admin.post(SETTINGS, {**OFFICE, "address": "elsewhere", "custom_servers": "", **changes})
    assert answer.status_code == 200
    assert sentence in words(answer.text)
    assert "elsewhere" in answer.text  # what was typed is not lost
    assert (value(app, CATCHALL_DOMAIN), value(app, COMPANY_ADDRESS), value(app, CUSTOM_SERVERS)) == (
        "office.test",
        "",
        1,
    )


def test_the_first_domain_of_an_office_takes_the_built_in_one_away_silently(app, admin):
    said = words(admin.post(SETTINGS, {**OFFICE, "domain": "MyCompany.test"}, follow_redirects=True).text)
    assert addresses(app) == {f"{name}@mycompany.test" for name in ("catchall", "bounce", "sales", "support")}
    assert addresses(app, "retired") == set()
    assert "office.test" not in said and "has changed" not in said


def test_a_new_alias_domain_moves_the_addresses_and_says_what_still_points_to_the_old_one(app, admin):
    with app.app_context():
        aliases.change_domain("first.test", now())
        db.session.add(OutgoingServer(name="Postmark", host="h", from_filter="first.test"))
        db.session.add(IncomingServer(name="Sales box", host="h", user="sales@first.test"))
        db.session.add(IncomingServer(name="Other box", host="h", user="sales@elsewhere.test"))
        put("mail.default.from", "info@first.test", now())
        db.session.commit()
    said = words(admin.post(SETTINGS, {**OFFICE, "domain": "MyCompany.test"}, follow_redirects=True).text)
    assert value(app, CATCHALL_DOMAIN) == "mycompany.test"
    names = ("catchall", "bounce", "sales", "support")
    assert addresses(app) == {f"{name}@mycompany.test" for name in names}
    assert addresses(app, "retired") == {f"{name}@first.test" for name in names}
    assert "still recognized" in said and "sales@first.test" in said
    assert "From filter of the outgoing server “Postmark”" in said
    assert "user of the incoming server “Sales box”" in said and "Other box" not in said
    assert "the system parameter mail.default.from" in said
    assert "Still recognized: first.test" in words(admin.get(SETTINGS).text)
    again = words(admin.post(SETTINGS, {**OFFICE, "domain": "mycompany.test"}, follow_redirects=True).text)
    assert "The alias domain has changed" not in again


@pytest.mark.parametrize("hosting", ["online", "on_premise"])
def test_nothing_is_promised_that_no_listener_could_receive(database, tmp_path, hosting):
    app = web_app(database, tmp_path, COQUI_HOSTING=hosting)
    page = words(Visitor(app).as_role("admin").get(SETTINGS).text)
    assert "redirect" not in page.lower() and "@localhost" not in page
    with app.app_context():
        db.engine.dispose()


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({}, ["The practice mailbox", "none: external addresses are replaced"]),
        (
            {"MAIL_SERVER": "smtp.acme.test", "MAIL_USE_TLS": "1", "MAIL_USERNAME": "u1", "MAIL_PASSWORD": "swordfish",
             "MAIL_DEFAULT_FROM_FILTER": "acme.test"},
            ["smtp.acme.test:587", "STARTTLS", "u1", "acme.test (from the environment)"],
        ),
    ],
)  # fmt: skip
def test_the_default_server_is_shown_without_its_password(database, tmp_path, environment, says):
    app = web_app(database, tmp_path, **environment)
    page = Visitor(app).as_role("admin").get(SETTINGS).text
    for one in says:
        assert one in words(page)
    assert "swordfish" not in page
    with app.app_context():
        db.engine.dispose()


def test_developer_mode_is_switched_here_and_shows_technical(admin):
    assert "System Parameters" not in admin.get(SETTINGS).text
    answer = admin.post("/developer-mode", {"on": "1", "next": SETTINGS})
    assert answer.location == SETTINGS
    page = words(admin.get(SETTINGS).text)
    for label in ("Technical", "Outgoing email servers", "System Parameters", "Scheduled Actions", "Aliases"):
        assert label in page


# --- System Parameters


def test_all_known_keys_are_listed_even_when_unset(admin):
    page = admin.get(f"{PARAMETERS}/").text
    for key in CATALOGUE:
        assert f"?key={key}" in page


@pytest.mark.parametrize(
    ("search", "found", "missing"),
    [
        ("catchall", "mail.catchall.alias", "mail.max_size"),
        ("postal address", "company.address", "mail.max_size"),
        ("office.test", "mail.catchall.domain", "mail.max_size"),
        ("MAX_SIZE", "mail.max_size", "mail.catchall.alias"),
    ],
)
def test_keys_values_and_explanations_are_searched(admin, search, found, missing):
    page = admin.get(f"{PARAMETERS}/", query_string={"search": search}).text
    assert f"?key={found}" in page and f"?key={missing}" not in page


@pytest.mark.parametrize(
    ("key", "text", "stored", "sentence"),
    [
        ("mail.default.from", "info@MyCompany.test", "info@MyCompany.test", ""),
        ("mail.default.from", "in fo", None, "part before the @"),
        ("mail.default.from_filter", "a.test, b@c.test", "a.test, b@c.test", ""),
        ("mail.default.from_filter", "a b", None, "neither a domain nor an address"),
        ("mail.max_size", "30", "30", ""),
        ("mail.max_size", "many", None, "a whole number from 1 to 100"),
        ("mail.max_size", "0", None, "a whole number from 1 to 100"),
        ("mail.max_size", "101", None, "a whole number from 1 to 100"),
        ("mail.live", "2", None, "from 0 to 1"),
        ("mail.custom_servers", "2", None, "from 0 to 1"),
        ("mailing.pause_percent", "101", None, "from 0 to 100"),
        ("mailing.pause_percent", "0", "0", ""),
        ("mail.retention.raw_days", "0", None, "from 1 to 36500"),
        ("mail.retention.event_days", "9" * 20, None, "from 1 to 36500"),
        ("mail.retention.runs", "0", None, "from 1 to"),
        ("mail.gateway.loop.minutes", "9999999", None, "from 1 to"),
        ("mail.blacklist.days", "6", None, "mail.blacklist.days would be 6, but can't be less than"),
        ("mail.blacklist.days", "7", "7", ""),
        ("mail.blacklist.spread_days", "31", None, "which would be 31"),
        ("mailing.dedicated_server", "7", None, "No active outgoing server has the number 7"),
        ("mailing.dedicated_server", "0", "0", ""),
        ("mail.max_size", "-1", None, "whole number"),
        ("mail.gateway.allowed", "x", None, "mail addresses"),
        ("mail.catchall.alias", "sales", None, "already an alias of Opportunity"),
        ("mail.catchall.alias", "bounce", None, "is the bounce address"),
        ("mail.bounce.alias", "re turns", None, "part before the @"),
    ],
)
@ONE_DATABASE
def test_values_are_checked_by_their_kind(app, admin, key, text, stored, sentence):
    before = stored_value(app, key)
    answer = admin.post(f"{PARAMETERS}/edit?key={key}", {"value": text})
    assert (answer.status_code == 302) is (stored is not None)
    assert stored_value(app, key) == (before if stored is None else stored)
    if sentence:
        assert sentence in words(answer.text) and text in answer.text


def test_every_default_is_allowed_and_none_is_nothing_to_read(app, admin):
    for key, parameter in CATALOGUE.items():
        if parameter.allowed is not None and parameter.default is not None:
            parameter.check(str(parameter.default))
        assert str(parameter.kind)
        assert "None" not in words(admin.get(f"{PARAMETERS}/edit?key={key}").text), key
    assert "None" not in words(admin.get(f"{PARAMETERS}/new").text)


def test_a_value_that_no_longer_fits_is_told_from_one_that_does(app, admin):
    with app.app_context():
        db.session.add(OutgoingServer(name="Relay", host="relay.test", active=True))
        db.session.commit()
        number = str(db.session.scalar(select(OutgoingServer.id)))
    assert admin.post(f"{PARAMETERS}/edit?key=mailing.dedicated_server", {"value": number}).status_code == 302
    assert admin.post(f"{PARAMETERS}/edit?key=mail.blacklist.days", {"value": "90"}).status_code == 302
    assert admin.post(f"{PARAMETERS}/edit?key=mail.blacklist.spread_days", {"value": "60"}).status_code == 302
    press(app, admin, "reset", "mail.blacklist.days")
    assert stored_value(app, "mail.blacklist.days") == "90", "the default is less than the other one"


def stored_value(app, key):
    with app.app_context():
        return db.session.scalar(select(SystemParameter.value).where(SystemParameter.key == key))


def press(app, admin, button, key):
    with app.app_context():
        number = db.session.scalar(select(SystemParameter.id).where(SystemParameter.key == key))
    assert admin.post(f"{PARAMETERS}/press/{button}", {"id": number}).status_code == 302


def test_system_parameters_are_a_flask_admin_view_like_the_servers(app, admin):
    views = {type(view).__name__: view for view in app.extensions["admin"][0]._views}
    assert isinstance(views["SystemParameterView"], AdminView) and isinstance(views["OutgoingServerView"], AdminView)
    admin.post(f"{PARAMETERS}/edit?key=mail.max_size", {"value": "30", "key": "mail.other"})
    assert stored_value(app, "mail.max_size") == "30", "a known key can't be renamed"
    assert stored_value(app, "mail.other") is None
    with app.app_context():
        number = db.session.scalar(select(SystemParameter.id).where(SystemParameter.key == "mail.max_size"))
    assert admin.post(f"{PARAMETERS}/press/remove", {"id": number}).status_code == 404, "nor deleted"
    assert admin.post(f"{PARAMETERS}/delete", {"id": number}).status_code == 404


def test_the_catchall_is_renamed_here_and_the_old_address_stays_known(app, admin):
    admin.post(f"{PARAMETERS}/edit?key=mail.catchall.alias", {"value": "Replies"})
    assert "replies@office.test" in addresses(app)
    assert addresses(app, "retired") == {"catchall@office.test"}
    press(app, admin, "reset", "mail.catchall.alias")
    assert "catchall@office.test" in addresses(app)


def test_the_alias_domain_is_changed_here_as_well(app, admin):
    with app.app_context():
        aliases.change_domain("first.test", now())
        db.session.commit()
    said = admin.post(f"{PARAMETERS}/edit?key=mail.catchall.domain", {"value": "new.test"}, follow_redirects=True)
    assert "sales@new.test" in addresses(app)
    assert "The alias domain has changed" in said.text


def test_unique_bounce_addresses_say_where_an_email_has_yet_to_arrive(app, admin):
    page = f"{PARAMETERS}/edit?key=mail.bounce.verp"
    assert "Still to arrive: an email to bounce+test@office.test." in words(admin.get(page).text)
    with app.app_context():
        db.session.execute(db.update(Alias).where(Alias.role == "bounce").values(plus_at=now()))
        db.session.commit()
    assert "Still to arrive" not in admin.get(page).text


def test_a_change_says_who_made_it_and_can_be_taken_back(app, admin):
    admin.post(f"{PARAMETERS}/edit?key=mail.max_size", {"value": "30"})
    page = words(admin.get(f"{PARAMETERS}/", query_string={"only": "changed"}).text)
    assert "mail.max_size 30" in page and "Admin" in page
    assert "Default 25" in words(admin.get(f"{PARAMETERS}/edit?key=mail.max_size").text)
    press(app, admin, "reset", "mail.max_size")
    assert "?key=mail.max_size" not in admin.get(f"{PARAMETERS}/", query_string={"only": "changed"}).text
    assert value(app, CATALOGUE["mail.max_size"]) == 25


def test_an_unknown_key_is_kept_marked_and_may_be_a_slip(app, admin):
    new = {"key": "mail.catchal.domain", "value": "x.test"}
    said = words(admin.post(f"{PARAMETERS}/new", new, follow_redirects=True).text)
    assert "Did you mean mail.catchall.domain" in said and "unknown key" in said
    assert stored_value(app, "mail.catchal.domain") == "x.test"
    assert value(app, CATCHALL_DOMAIN) == "office.test"
    press(app, admin, "remove", "mail.catchal.domain")
    assert stored_value(app, "mail.catchal.domain") is None


@pytest.mark.parametrize(("key", "text"), [("", "x"), ("two words", "x"), ("x" * 201, "x"), ("my.key", " ")])
def test_a_new_key_needs_a_name_and_a_value(app, admin, key, text):
    assert admin.post(f"{PARAMETERS}/new", {"key": key, "value": text}).status_code == 200
    assert stored_value(app, key) is None


def test_a_known_key_typed_as_a_new_one_is_set_by_its_rules(app, admin):
    assert "whole number" in admin.post(f"{PARAMETERS}/new", {"key": "mail.max_size", "value": "x"}).text
    admin.post(f"{PARAMETERS}/new", {"key": "mail.max_size", "value": "31"})
    assert value(app, CATALOGUE["mail.max_size"]) == 31


def test_values_are_shown_as_text(admin):
    admin.post(f"{PARAMETERS}/new", {"key": "my.key", "value": "<script>alert(1)</script>"})
    page = admin.get(f"{PARAMETERS}/").text
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page


def test_a_link_to_a_key_that_is_gone_leads_back(admin):
    assert "This key does not exist" in admin.get(f"{PARAMETERS}/edit?key=gone", follow_redirects=True).text


# --- aliases

ALIAS = {
    "local_part": "jobs",
    "type_id": "",
    "default_stage": "",
    "default_priority": "0",
    "policy": "everyone",
    "make_contact": "1",
}


def alias_row(app, address):
    with app.app_context():
        row = db.session.scalar(select(Alias).where(Alias.address_key == address))
        return row and {column.name: getattr(row, column.name) for column in Alias.__table__.columns}


def stage_id(app, code, name):
    with app.app_context():
        joined = select(Stage.id).join(DocumentType).where(DocumentType.code == code, Stage.name == name)
        return db.session.scalar(joined)


def test_an_alias_is_made_with_default_values(app, admin):
    applicant, interview = type_id(app, "applicant"), stage_id(app, "applicant", "Interview")
    new = {**ALIAS, "type_id": applicant, "default_stage": interview, "default_priority": "2", "refusal": "Sorry"}
    assert admin.post(f"{ALIASES}/new", new).status_code == 302
    row = alias_row(app, "jobs@office.test")
    assert (row["type_id"], row["role"], row["refusal"]) == (applicant, "alias", "Sorry")
    assert row["defaults"] == {"stage_id": interview, "priority": 2}
    page = admin.get(f"{ALIASES}/edit?id={row['id']}").text
    assert f'<option selected value="{interview}">' in page and "@office.test" in page


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"local_part": ""}, "Fill in this field"),
        ({"local_part": "two words"}, "part before the @"),
        ({"local_part": "x" * 65}, "At most 64 characters are possible; this has 65"),
        ({"local_part": "sales"}, "already an alias of Opportunity"),
        ({"local_part": "CATCHALL"}, "is the catchall address"),
        ({"local_part": "bounce"}, "is the bounce address"),
        ({"local_part": "jobs@elsewhere.test"}, "Aliases end with the alias domain"),
        ({"local_part": "a+b"}, "plus sign"),
        ({"type_id": ""}, "Choose"),
        ({"policy": "followers"}, "Otherwise no one can write"),
        ({"default_stage": "Paid"}, "another document type"),
    ],
)
def test_an_alias_that_can_not_work_is_refused(app, admin, changes, sentence):
    new = {**ALIAS, "type_id": type_id(app, "applicant"), **changes}
    if new["default_stage"] == "Paid":
        new["default_stage"] = stage_id(app, "invoice", "Paid")
    before = addresses(app)
    answer = admin.post(f"{ALIASES}/new", new)
    assert answer.status_code == 200
    assert sentence in words(answer.text)
    assert addresses(app) == before


def test_two_windows_on_an_alias_undo_no_default(app, admin):
    row = alias_row(app, "sales@office.test")
    edit = f"{ALIASES}/edit?id={row['id']}"
    found = re.search(r'name="_loaded" value="([^"]*)"', admin.get(edit).text)
    given = {**ALIAS, "local_part": "sales", "type_id": row["type_id"], "_loaded": html.unescape(found[1])}
    given |= {"default_stage": "", "default_priority": "0"}
    assert admin.post(edit, {**given, "default_priority": "2"}).status_code == 302
    page = admin.post(edit, {**given, "local_part": "seats"}, follow_redirects=True)
    assert "It stays as it is now: Priority" in words(page)
    assert alias_row(app, "seats@office.test")["defaults"]["priority"] == 2


def test_a_renamed_alias_leaves_its_old_address_behind(app, admin):
    row = alias_row(app, "sales@office.test")
    admin.post(f"{ALIASES}/edit?id={row['id']}", {**ALIAS, "local_part": "vendas", "type_id": row["type_id"]})
    assert alias_row(app, "vendas@office.test")["id"] == row["id"]
    old = alias_row(app, "sales@office.test")
    assert old["state"] == "retired"
    listed = admin.get(f"{ALIASES}/?state=retired").text
    assert "is-off" in listed and f"/details?id={old['id']}" in listed
    assert "still recognized" in admin.get(f"{ALIASES}/details?id={old['id']}").text
    assert admin.get(f"{ALIASES}/edit?id={old['id']}").status_code == 302
    admin.post(f"{ALIASES}/delete", {"id": old["id"]})
    assert alias_row(app, "sales@office.test") is None


def test_senders_follow_a_fixed_document_only_if_the_alias_says_so(app, admin):
    row = alias_row(app, "sales@office.test")
    assert row["follow_fixed"] is False
    form = {**ALIAS, "local_part": "sales", "type_id": row["type_id"]}
    assert 'name="follow_fixed"' in admin.get(f"{ALIASES}/edit?id={row['id']}").text
    admin.post(f"{ALIASES}/edit?id={row['id']}", {**form, "follow_fixed": "1"})
    admin.post(f"{ALIASES}/edit?id={row['id']}", {**form, "follow_fixed": "1", "local_part": "vendas"})
    assert alias_row(app, "vendas@office.test")["follow_fixed"] is True
    assert alias_row(app, "sales@office.test")["follow_fixed"] is True, "the old address goes on as before"


def test_an_alias_is_retired_before_it_is_forgotten(app, admin):
    row = alias_row(app, "support@office.test")
    admin.post(f"{ALIASES}/press/retire", {"id": row["id"]})
    assert alias_row(app, "support@office.test")["state"] == "retired"
    assert admin.post(f"{ALIASES}/press/retire", {"id": row["id"]}).status_code == 404


def test_a_retired_address_can_be_used_again(app, admin):
    row = alias_row(app, "support@office.test")
    admin.post(f"{ALIASES}/press/retire", {"id": row["id"]})
    admin.post(f"{ALIASES}/new", {**ALIAS, "local_part": "support", "type_id": type_id(app, "task")})
    assert alias_row(app, "support@office.test")["state"] == "active"


@pytest.mark.parametrize("role", ["catchall", "bounce"])
def test_catchall_and_bounce_are_edited_elsewhere_and_can_not_be_deleted(app, admin, role):
    row = alias_row(app, f"{role}@office.test")
    assert f"?key={aliases.ROLE_KEYS[role]}" in admin.get(f"{ALIASES}/").text
    assert admin.get(f"{ALIASES}/edit?id={row['id']}").location.endswith(aliases.ROLE_KEYS[role])
    edited = admin.post(f"{ALIASES}/edit?id={row['id']}", {**ALIAS, "type_id": type_id(app)})
    assert edited.status_code == 302
    said = admin.post(f"{ALIASES}/action", {"action": "delete", "rowid": row["id"]}, follow_redirects=True)
    assert "set by the system parameter" in said.text
    assert alias_row(app, f"{role}@office.test") is not None


@pytest.mark.parametrize(
    ("valid", "hits", "says"),
    [
        (None, 0, "no emails yet"),
        (None, 1, "no emails since the last change"),
        (None, 11, "no emails since the last change"),
        (True, 11, "valid"),
        (False, 11, "last email failed"),
    ],
)
def test_the_health_of_an_alias_fits_its_count(app, admin, valid, hits, says):
    with app.app_context():
        row = db.session.scalar(select(Alias).where(Alias.address_key == "sales@office.test"))
        row.valid, row.hits, row.why = valid, hits, None if valid is not False else why("route_nobody")
        db.session.commit()
        path = f"{ALIASES}/edit?id={row.id}"
    for page in (admin.get(f"{ALIASES}/?search=sales"), admin.get(path)):
        assert f">{says}<" in page.text
        assert ("no emails yet" in page.text) is (hits == 0)


def test_retired_addresses_are_apart_from_those_in_use(app, admin):
    with app.app_context():
        aliases.change_domain("first.test", now())
        aliases.change_domain("second.test", now())
        db.session.commit()
    live, retired = admin.get(f"{ALIASES}/").text, admin.get(f"{ALIASES}/?state=retired").text
    assert "@second.test" in words(live).replace(" ", "") and "@first.test" not in words(live).replace(" ", "")
    assert "@first.test" in words(retired).replace(" ", "") and "@second.test" not in words(retired).replace(" ", "")


@pytest.mark.parametrize(
    ("subject", "shown"),
    [
        ("Spring news", "Spring news"),
        ("News for {{ contact.first_name }}", "News for …"),
        ('News for {{ contact.first_name or "you" }}', "News for you"),
        ('{{contact.company or ""}} news', "… news"),
        ("Half {{ open", "Half {{ open"),
        ('{{ a }} and {{ b or "c" }}', "… and c"),
        ("", ""),
    ],
)
def test_a_reason_shows_no_merge_field(subject, shown):
    assert f"“{shown}”" in say(why("unsubscribed_by_page", mailing=subject))
    assert f"“{shown}”" in say(why("used_by_mailing", subject=subject))


@pytest.mark.parametrize("path", ["/admin/scheduled-actions/", "/admin/incoming-servers/1/state"])
def test_a_time_that_is_waited_for_names_its_zone(app, admin, path):
    with app.app_context():
        db.session.add(IncomingServer(id=1, name="Sales box", host="h", state="confirmed"))
        action = db.session.scalar(select(ScheduledAction).where(ScheduledAction.code == "fetch"))
        action.next_run_at = datetime(2050, 1, 31, 10, 0, tzinfo=UTC)
        db.session.commit()
    assert "Jan 31, 2050, 10:00 AM (UTC)" in admin.get(path).text.replace("\u202f", " ")


def test_an_edit_makes_a_failed_alias_healthy_again(app, admin):
    row = alias_row(app, "sales@office.test")
    with app.app_context():
        alias = db.session.get(Alias, row["id"])
        alias.valid, alias.why, alias.hits = False, why("reject_followers_of_nothing", address="sales@office.test"), 3
        db.session.commit()
    assert "last email failed" in admin.get(f"{ALIASES}/").text
    admin.post(f"{ALIASES}/edit?id={row['id']}", {**ALIAS, "local_part": "sales", "type_id": row["type_id"]})
    healed = alias_row(app, "sales@office.test")
    assert (healed["valid"], healed["why"], healed["hits"]) == (None, None, 3)


# --- document types


def make_document(app, code="opportunity", stage="New"):
    wanted = stage_id(app, code, stage)
    with app.app_context():
        type_ = db.session.scalar(select(DocumentType).where(DocumentType.code == code))
        document = start_document(type_, "A window", now())
        document.stage_id = wanted
        db.session.commit()
        return document.id


def stages(app, code="opportunity"):
    with app.app_context():
        type_ = db.session.scalar(select(DocumentType).where(DocumentType.code == code))
        return [(stage.id, stage.name) for stage in type_.stages]


def type_form(**changes):
    return {
        "name": "Opportunity",
        "plural": "Opportunities",
        "icon": "briefcase",
        "position": "10",
        "active": "1",
        "stages_text": "New\nQualified\nProposition\nWon\nLost",
        "number_pattern": "OPP/{number:05d}",
        "alias_text": "sales",
        **changes,
    }


def test_a_new_type_gets_a_code_stages_and_an_alias(app, admin):
    new = type_form(name="Service order", plural="Service orders", number_pattern="SRV/{number}")
    new |= {"stages_text": "Open\r\n\r\n Done ", "alias_text": "service"}
    with app.app_context():
        waits = {"state": "quarantined", "unknown_address": "service@office.test", "size": 0, "received_at": now()}
        db.session.add(ReceivedMail(source="pipe", source_key="1", **waits))
        db.session.commit()
    assert "1 email is being processed." in admin.post(f"{TYPES}/new", new, follow_redirects=True).text
    assert [name for _, name in stages(app, "service_order")] == ["Open", "Done"]
    assert alias_row(app, "service@office.test")["type_id"] == type_id(app, "service_order")
    assert "Service orders" in admin.get(f"{TYPES}/").text
    admin.post(f"{TYPES}/new", {**new, "alias_text": ""})
    assert type_id(app, "service_order_2") is not None


@pytest.mark.parametrize(
    ("text", "names", "kept"),
    [
        ("New\nQualified\nProposition\nWon\nLost", ["New", "Qualified", "Proposition", "Won", "Lost"], 5),
        ("Lost\nNew\nQualified\nProposition\nWon", ["Lost", "New", "Qualified", "Proposition", "Won"], 5),
        ("Fresh\nQualified\nProposition\nWon\nLost", ["Fresh", "Qualified", "Proposition", "Won", "Lost"], 5),
        ("New\nA\nB\nWon\nLost\nC\nD", ["New", "A", "B", "Won", "Lost", "C", "D"], 5),
        ("New\nWon", ["New", "Won"], 2),
        ("X\nY\nNew", ["X", "Y", "New"], 2),
    ],
)
def test_stages_keep_their_documents_when_they_are_moved_or_renamed(app, admin, text, names, kept):
    document_id = make_document(app)
    before = dict(stages(app))
    with app.app_context():
        stage = db.session.get(Document, document_id).stage_id
    answer = admin.post(f"{TYPES}/edit?id={type_id(app)}", type_form(stages_text=text))
    assert answer.status_code == 302
    after = stages(app)
    assert [name for _, name in after] == names
    assert len(set(before) & {number for number, _ in after}) == kept
    assert stage in dict(after)


def test_a_stage_with_documents_can_not_go(app, admin):
    make_document(app, stage="Lost")
    before = stages(app)
    answer = admin.post(f"{TYPES}/edit?id={type_id(app)}", type_form(stages_text="New\nQualified"))
    assert answer.status_code == 200
    assert "1 document is in the stage “Lost”" in words(answer.text)
    assert stages(app) == before


def test_a_stage_that_goes_leaves_the_defaults_of_aliases(app, admin):
    row, lost = alias_row(app, "sales@office.test"), stage_id(app, "opportunity", "Lost")
    with app.app_context():
        alias = db.session.get(Alias, row["id"])
        alias.defaults = {"stage_id": lost, "priority": 1}
        db.session.commit()
    admin.post(f"{TYPES}/edit?id={type_id(app)}", type_form(stages_text="New\nQualified"))
    assert alias_row(app, "sales@office.test")["defaults"] == {"priority": 1}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"number_pattern": "OPP"}, "The format must contain {number}"),
        ({"number_pattern": "{number.__class__}"}, "The format must contain {number}"),
        ({"number_pattern": "{number}{x}"}, "The format must contain {number}"),
        ({"stages_text": " \n "}, "at least one stage"),
        ({"stages_text": "New\nnew"}, "the same name"),
        ({"alias_text": "support"}, "already an alias of Ticket"),
        ({"alias_text": "a b"}, "part before the @"),
        ({"name": ""}, "Fill in this field"),
        ({"icon": "<svg>"}, "Not saved"),
    ],
)
def test_a_type_that_can_not_work_is_refused(app, admin, changes, sentence):
    before = stages(app)
    answer = admin.post(f"{TYPES}/edit?id={type_id(app)}", type_form(**changes))
    assert answer.status_code == 200
    assert sentence in words(answer.text)
    assert stages(app) == before


def test_the_alias_of_a_type_is_edited_beside_it(app, admin):
    document_id = make_document(app)
    path = f"{TYPES}/edit?id={type_id(app)}"
    with app.app_context():
        fixed = {"fixed_document_id": document_id, "policy": "users", "type_id": type_id(app)}
        db.session.add(Alias(local_part="board", address_key="board@office.test", **fixed))
        db.session.commit()
    page = admin.get(path).text
    assert 'value="sales"' in page
    listed = [words(row) for row in re.findall("<tr>.*?</tr>", page, re.DOTALL)[1:]]
    assert [row.split()[0] for row in listed] == ["sales", "board"]
    assert "Everyone" in listed[0] and "one fixed document Users of this office" in listed[1]
    admin.post(path, type_form(alias_text="leads"))
    assert alias_row(app, "leads@office.test")["state"] == "active"
    assert alias_row(app, "sales@office.test")["state"] == "retired"
    admin.post(path, type_form(alias_text=""))
    assert alias_row(app, "leads@office.test")["state"] == "retired"


def test_a_type_with_documents_stays(app, admin):
    make_document(app, "task", "To do")
    said = admin.post(f"{TYPES}/delete", {"id": type_id(app, "task")}, follow_redirects=True).text
    assert "1 document of the type Task" in words(said)
    assert type_id(app, "task") is not None


def test_a_type_without_documents_goes_with_its_stages(app, admin):
    number = type_id(app, "applicant")
    admin.post(f"{TYPES}/delete", {"id": number})
    assert type_id(app, "applicant") is None
    with app.app_context():
        assert db.session.scalars(select(Stage).where(Stage.type_id == number)).all() == []

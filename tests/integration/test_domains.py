"""Several domains of one office: what may be saved, addresses that follow, the pages, and mail of two companies."""

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from flask import Flask
from sqlalchemy import select

from mail.decide.domains import MailDomain, Office
from mail.decide.sender import Request, decide
from mail.decide.servers import Server
from mail.documents import contact_rules
from mail.errors import ChangeRefused
from mail.incoming import aliases, domain_rules
from mail.mailing import lists
from mail.mailing.rendered import MailingRecipient, compile_for, decide_for
from mail.sentences import say
from mail.settings import office
from mail.settings.parameters import NotValid
from models import Alias, Contact, DocumentType, IncomingServer, Mailing, OfficeDomain, OutgoingServer, User, db
from tests.integration.frontdesk import FrontDesk, counted_statements, delivery_report, mail, sentences
from tests.integration.mass import add_contacts, draft
from tests.web import Visitor, words
from webapp.admin.domains import hindrance_of

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
DOMAINS = "/admin/domains"


def domain(name: str = "second.test", **values: str) -> OfficeDomain:
    row = OfficeDomain(**{"name": name, "company": "", **dict.fromkeys(domain_rules.LOCAL_PARTS, ""), **values})
    domain_rules.save(row)
    db.session.commit()
    return row


def addresses(state: str = "active") -> set[str]:
    return set(db.session.scalars(select(Alias.address_key).where(Alias.state == state)))


def tie(local: str, to: str, code: str = "opportunity") -> Alias:
    type_id = db.session.scalar(select(DocumentType.id).where(DocumentType.code == code))
    alias = Alias(type_id=type_id)
    aliases.rename(alias, local, to)
    db.session.add(alias)
    db.session.commit()
    return alias


@pytest.fixture
def inside(app: Flask):
    with app.app_context():
        aliases.change_domain("first.test", NOW)
        db.session.commit()
        yield


# --- what may be saved


@pytest.mark.parametrize(
    ("values", "errors"),
    [
        ({"name": "no domain"}, {"name": "Enter a domain"}),
        ({"name": "localhost"}, {"name": "Enter a domain"}),
        ({"name": "[192.0.2.1]"}, {"name": "Enter a domain"}),
        ({"name": "First.TEST"}, {"name": "is the alias domain already"}),
        ({"name": "Known.test"}, {"name": "already in the list"}),
        ({"name": "xn--bcher-kva.example"}, {"name": "already in the list"}),
        ({"catchall_alias": "two words"}, {"catchall_alias": "letters a to z"}),
        ({"bounce_alias": "a+b"}, {"bounce_alias": "the plus sign"}),
        ({"default_from": "hello@second.test"}, {"default_from": "letters a to z"}),
        ({"catchall_alias": "sales"}, {"catchall_alias": "works on all of your domains"}),
        ({"catchall_alias": "bounce"}, {"bounce_alias": "need an address each"}),
        ({"bounce_alias": "Sales", "catchall_alias": "support"},
         {"bounce_alias": "works on all", "catchall_alias": "works on all"}),
    ],
)  # fmt: skip
def test_what_can_not_be_a_domain_is_refused_with_the_reason(inside, values, errors):
    domain("known.test")
    domain("Bücher.example")
    with pytest.raises(ChangeRefused) as refused:
        domain(**values)
    said = refused.value.sentences()
    db.session.rollback()
    assert said.keys() == errors.keys()
    assert all(errors[field] in said[field] for field in errors), said
    assert db.session.query(OfficeDomain).count() == 2


@pytest.mark.parametrize(
    ("typed", "chosen", "said"),
    [
        ("jobs@second.test", "second.test", ""),
        ("Jobs@FIRST.test", "first.test", ""),
        ("jobs@first.test", "", ""),
        ("jobs@", "", ""),
        ("jobs@second.test", "", "works on all of your domains: .* limit it to second.test"),
        ("jobs@second.test", "first.test", "works on first.test only"),
        ("jobs@first.test", "second.test", "works on second.test only"),
        ("jobs@far.test", "second.test", "works on second.test only"),
        ("jobs@far.test", "", "end with the alias domain, first.test"),
    ],
)
def test_the_domain_that_is_typed_with_an_alias_is_never_dropped(inside, typed, chosen, said):
    domain()
    if not said:
        assert aliases.check(typed, None, chosen) == "jobs"
        return
    with pytest.raises(NotValid, match=said):
        aliases.check(typed, None, chosen)


@pytest.mark.parametrize("name", ["second.test", "renamed.test"])
@pytest.mark.parametrize(
    ("values", "errors"),
    [
        ({"catchall_alias": "bounce", "bounce_alias": "catchall"},
         {"catchall_alias": "bounce@second.test is the bounce address",
          "bounce_alias": "catchall@second.test is the catchall address"}),
        ({"catchall_alias": "bounce", "bounce_alias": "returns"},
         {"catchall_alias": "bounce@second.test is the bounce address"}),
        ({"catchall_alias": "all", "bounce_alias": "catchall"},
         {"bounce_alias": "catchall@second.test is the catchall address"}),
        ({"catchall_alias": "shop"}, {"catchall_alias": "shop@second.test is already an alias"}),
        ({"catchall_alias": "catchall", "bounce_alias": "bounce"}, {}),
        ({"catchall_alias": "all", "bounce_alias": "returns"}, {}),
    ],
)  # fmt: skip
def test_a_domain_takes_no_address_that_it_has_for_something_else(inside, name, values, errors):
    row = domain()
    tie("shop", "second.test")
    row.name, row.catchall_alias, row.bounce_alias = name, "", ""
    for field, value in values.items():
        setattr(row, field, value)
    if not errors:
        domain_rules.save(row)
        assert {f"{values['catchall_alias']}@{name}", f"{values['bounce_alias']}@{name}"} <= addresses()
        return
    with pytest.raises(ChangeRefused) as refused:
        domain_rules.save(row)
    said = refused.value.sentences()
    assert said.keys() == errors.keys() and all(errors[field] in said[field] for field in errors), said


def test_there_is_an_alias_domain_first(inside):
    aliases.change_domain("", NOW)
    with pytest.raises(ChangeRefused) as refused:
        domain()
    assert "Set the alias domain" in refused.value.sentences()["name"]


def test_the_alias_domain_is_none_of_the_others(inside):
    domain()
    with pytest.raises(NotValid, match="already in the list"):
        aliases.change_domain("Second.test", NOW)


# --- addresses follow


def test_a_domain_has_the_addresses_of_the_first_until_it_has_its_own(inside):
    row = domain("Second.TEST", company="Second Ltd")
    assert {"catchall@second.test", "bounce@second.test"} <= addresses()
    found = office.load().office.domain("second.test")
    assert (found.default_address, found.company) == ("notifications@second.test", "Second Ltd")
    aliases.put("mail.catchall.alias", "replies", NOW)
    assert {"replies@first.test", "replies@second.test"} <= addresses()
    row.catchall_alias, row.default_from = "all", "hello"
    domain_rules.save(row)
    db.session.commit()
    assert "all@second.test" in addresses()
    assert {"catchall@second.test", "replies@second.test", "catchall@first.test"} <= addresses("retired")
    aliases.put("mail.catchall.alias", "catchall", NOW)
    assert {"catchall@first.test", "all@second.test"} <= addresses()
    assert office.load().office.domain("second.test").default_address == "hello@second.test"


def test_a_full_default_address_stays_that_of_the_first(inside):
    aliases.put("mail.default.from", "info@elsewhere.test", NOW)
    domain()
    assert office.load().office.domain("second.test").default_address is None


def test_an_alias_works_everywhere_or_in_one_domain_and_no_name_is_given_twice(inside):
    domain()
    domain("third.test")
    with pytest.raises(NotValid, match="works on all of your domains"):
        tie("sales", "second.test")
    shop = tie("shop", "second.test")
    assert shop.address_key == "shop@second.test"
    tie("shop", "third.test")
    with pytest.raises(NotValid, match="already an alias of Opportunity"):
        aliases.check("shop")
    with pytest.raises(NotValid, match="already an alias of Opportunity"):
        aliases.check("shop", domain="second.test")
    assert aliases.check("shop", domain="first.test") == "shop"
    own = office.own_addresses()
    known = ["sales@third.test", "shop@second.test", "shop@first.test", "support+x@second.test", "info@second.test"]
    assert [key in own for key in known] == [True, True, False, True, False]
    with pytest.raises(ChangeRefused):
        domain("fourth.test", bounce_alias="sales")


def test_an_alias_that_is_tied_later_stays_known_where_it_was(inside):
    domain()
    domain("third.test")
    sales = db.session.scalar(select(Alias).where(Alias.local_part == "sales"))
    aliases.rename(sales, "sales", "second.test")
    assert sales.address_key == "sales@second.test"
    assert {"sales@first.test", "sales@third.test"} <= addresses("retired")
    aliases.rename(sales, "sales", "")
    assert sales.address_key == "sales@first.test"
    assert not {key for key in addresses("retired") if key.startswith("sales@")}
    aliases.retire(sales)
    assert {f"sales@{name}.test" for name in ("first", "second", "third")} <= addresses("retired")


def test_a_domain_that_is_renamed_or_removed_leaves_its_addresses_known(inside):
    row = domain()
    tie("shop", "second.test")
    row.name = "New.test"
    retired = domain_rules.save(row)
    db.session.commit()
    moved = {"catchall", "bounce", "shop", "sales", "support"}
    assert set(retired) == {f"{local}@second.test" for local in moved}
    assert {"catchall@new.test", "bounce@new.test", "shop@new.test"} <= addresses()
    assert {"sales@first.test", "support@first.test"} <= addresses()
    assert set(domain_rules.would_retire(row)) == {f"{local}@new.test" for local in moved}
    assert set(domain_rules.remove(row)) == {f"{local}@new.test" for local in moved}
    db.session.commit()
    assert not {key for key in addresses() if not key.endswith("@first.test")}
    assert {f"{local}@{name}" for local in moved for name in ("new.test", "second.test")} <= addresses("retired")
    assert office.load().office.domains == ()
    domain("new.test")  # and it can come back
    assert "catchall@new.test" in addresses() and "sales@new.test" not in addresses("retired")


def test_the_alias_domain_moves_what_lives_in_it_and_nothing_else(inside):
    domain()
    tie("jobs", "first.test", "task")
    tie("shop", "second.test")
    moved = aliases.change_domain("next.test", NOW)
    db.session.commit()
    local = {"sales", "support", "jobs", "catchall", "bounce"}
    assert set(moved) == {f"{one}@first.test" for one in local} == addresses("retired")
    there = {f"{one}@next.test" for one in local}
    assert addresses() == there | {f"{one}@second.test" for one in ("shop", "catchall", "bounce")}
    assert "jobs@second.test" not in office.own_addresses()


def test_many_aliases_follow_in_few_statements(inside, app: Flask):
    type_id = db.session.scalar(select(DocumentType.id).limit(1))
    rows = [{"local_part": f"a{i}", "address_key": f"a{i}@first.test", "type_id": type_id} for i in range(100)]
    db.session.execute(db.insert(Alias), rows)
    db.session.commit()
    with counted_statements(app) as statements:
        domain()
    assert len(statements) < 25
    assert "a99@second.test" in office.own_addresses()


# --- the pages


@pytest.mark.parametrize("role", ["user", "marketing"])
def test_domains_are_for_admins(pages: Flask, role: str):
    visitor = Visitor(pages).as_role(role)
    for path in (f"{DOMAINS}/", f"{DOMAINS}/new", f"{DOMAINS}/remove?id=1"):
        assert visitor.get(path).status_code == 403


FILTERED = Server(1, "One", filters=("first.test", "info@second.test"))
OPEN = Server(2, "Open")
SECOND = MailDomain.of("second.test", bounce="bounce", catchall="all", company="Second Ltd")


@pytest.mark.parametrize(
    ("server", "default_from", "said"),
    [
        (OPEN, "notifications", None),
        (Server(1, "One", filters=("second.test",)), "notifications", None),
        (FILTERED, "notifications",
         "Emails from second.test are sent as notifications@first.test: the From filter of “One” does not"),
        (FILTERED, "info@second.test", "Delivery failures go to bounce@first.test"),
        (Server(1, "One", filters=("first.test",)), "info@third.test", "are sent as info@third.test: "),
        (FILTERED, "", "“One” may refuse somebody@second.test, and there is no default address"),
        (replace(OPEN, rewrite="always"), "info@third.test",
         "“Open” is set to rewrite every From address: the email is sent from info@third.test"),
    ],
)  # fmt: skip
def test_what_hinders_a_domain_is_the_true_cause(server, default_from, said):
    known = Office(default_from, "first.test", default_server=None, domains=(SECOND,))
    reason = hindrance_of(decide(Request("somebody@second.test"), [server], known), "second.test")
    assert (reason is None) is (said is None)
    assert said is None or said in say(reason)


def test_the_page_of_domains(pages: Flask, admin: Visitor):
    with pages.app_context():
        aliases.change_domain("first.test", NOW)
        db.session.add(OutgoingServer(name="First", host="h", from_filter="first.test"))
        db.session.commit()
    listed = admin.get(f"{DOMAINS}/")
    assert "first.test alias domain" in words(listed.text) and 'href="/settings/"' in listed.text
    new = {"name": " Second.test ", "company": "Second Ltd", "catchall_alias": "", "bounce_alias": "Returns"}
    saved = admin.post(f"{DOMAINS}/new", {**new, "default_from": ""}, follow_redirects=True)
    said = words(saved.text)
    assert "catchall@second.test" in said and "returns@second.test" in said
    assert "are sent as notifications@first.test: the From filter of “First” does not contain the whole domain" in said
    with pages.app_context():
        row = db.session.scalar(select(OfficeDomain))
        assert (row.name, row.name_key, row.bounce_alias) == ("Second.test", "second.test", "returns")
        db.session.add(OutgoingServer(name="Second", host="h", from_filter="hello@second.test"))
        db.session.add(IncomingServer(name="Box", host="h", user="all@second.test"))
        db.session.commit()
        number = row.id
        db.session.rollback()
    edit = f"{DOMAINS}/edit?id={number}"
    said = words(admin.post(edit, {**new, "default_from": "hello"}, follow_redirects=True).text)
    assert "does not contain the bounce address" in said
    assert "the From filter of the outgoing server “Second”" in said and "incoming server “Box”" in said
    refused = admin.post(edit, {**new, "catchall_alias": "sales", "default_from": "hello"})
    assert "works on all of your domains" in words(refused.text) and 'value="sales"' in refused.text
    assert "second.test" in words(admin.get(f"{DOMAINS}/").text)
    assert "Domains 2" in words(admin.get("/settings/").text)
    asked = words(admin.get(f"{DOMAINS}/remove?id={number}").text)
    assert "Delete second.test?" in asked and "sales@second.test" in asked and "incoming server “Box”" in asked
    gone = words(admin.post(f"{DOMAINS}/remove", {"id": number}, follow_redirects=True).text)
    assert "second.test was deleted" in gone and "still recognized" in gone
    assert "Still recognized: second.test" in words(admin.get("/settings/").text)


def test_the_form_of_an_alias_offers_the_domains(pages: Flask, admin: Visitor):
    assert 'name="domain"' not in admin.get("/admin/aliases/new").text
    with pages.app_context():
        domain()
        type_id = db.session.scalar(select(DocumentType.id).where(DocumentType.code == "task"))
        db.session.rollback()
    offered = admin.get("/admin/aliases/new?local_part=jobs&domain=second.test").text
    assert re.search(r'<option selected value="second.test">', offered)
    offered = admin.get("/admin/aliases/new?local_part=jobs&domain=office.test").text
    assert re.search(r'<option selected value="">', offered)
    form = {
        "local_part": "jobs",
        "type_id": type_id,
        "policy": "everyone",
        "default_stage": "",
        "default_priority": "0",
    }
    admin.post("/admin/aliases/new", {**form, "domain": "second.test"})
    with pages.app_context():
        row = db.session.scalar(select(Alias).where(Alias.local_part == "jobs"))
        assert (row.address_key, row.one_domain) == ("jobs@second.test", True)
        number = row.id
        db.session.rollback()
    admin.post(f"/admin/aliases/edit?id={number}", {**form, "domain": ""})
    with pages.app_context():
        row = db.session.get(Alias, number)
        assert (row.address_key, row.one_domain) == ("jobs@office.test", False)
        assert "jobs@second.test" not in addresses("retired")
        db.session.rollback()
    assert "all domains" in words(admin.get("/admin/aliases/").text)


# --- mail of two companies


@pytest.fixture
def desk(app: Flask) -> FrontDesk:
    found = FrontDesk(app)
    with app.app_context():
        domain("second.test", company="Second Ltd", default_from="hello")
        tie("shop", "second.test", "sales_order")
        db.session.add(OutgoingServer(name="One", host="h", from_filter="mycompany.test"))
        db.session.add(OutgoingServer(name="Two", host="h", from_filter="second.test"))
        db.session.commit()
    return found


def colleague(desk: FrontDesk, name: str, address: str) -> User:
    user = desk.user(name)
    with desk.app.app_context():
        row = db.session.get(User, user.id)
        row.email = row.contact.address = row.contact.address_key = address
        db.session.commit()
        db.session.refresh(row)
        _ = row.contact.name
        db.session.expunge_all()
        return row


def test_a_thread_of_the_second_company_stays_on_its_domain(desk: FrontDesk):
    bob, ann = colleague(desk, "Bob", "bob@second.test"), desk.contact("ann@customer.test", "Ann")
    document = desk.document(followers=[ann])
    first = desk.post(bob, document.thread_id)
    (sent,) = desk.sent(post_id=first.id)
    assert sent.from_header == '"Bob" <bob@second.test>'
    assert sent.reply_to == '"Second Ltd Need a quote" <sales@second.test>'
    assert sent.message_id.endswith("@second.test>")
    second = desk.post(bob, document.thread_id, "<p>And this.</p>")
    (next_one,) = desk.sent(post_id=second.id)
    assert next_one.headers["References"] == next_one.headers["In-Reply-To"] == sent.message_id
    third = desk.post(colleague(desk, "Carl", "carl@mycompany.test"), document.thread_id)
    (other,) = desk.sent(post_id=third.id)
    assert other.message_id.endswith("@mycompany.test>") and next_one.message_id in other.headers["References"]
    assert other.headers["References"].split()[0] == sent.message_id
    with desk.app.app_context():
        assert [domain_rules.awaited_replies(name) for name in ("second.test", "mycompany.test")] == [2, 1]
    desk.mark_sent()
    reply = mail(to="sales@second.test", subject="Re: Need a quote", answers=[next_one.message_id])
    report = delivery_report("ann@customer.test", desk.on_the_wire("ann@customer.test"), to="bounce@second.test")
    rows = desk.receive(reply, report)
    assert [row.state for row in rows] == ["processed", "processed"]
    assert len(desk.posts(document.thread_id)) == 4


def test_new_mail_to_any_domain_becomes_what_its_alias_says(desk: FrontDesk):
    everywhere, tied, nowhere = desk.receive(
        mail(to="Sales@Second.test"), mail(to="shop@second.test"), mail(to="shop@mycompany.test")
    )
    assert [len(desk.documents(code)) for code in ("opportunity", "sales_order")] == [1, 1]
    assert "It was sent to the alias sales@second.test" in " ".join(sentences(everywhere))
    assert (tied.state, nowhere.state) == ("processed", "quarantined")
    assert "shop@mycompany.test" in " ".join(sentences(nowhere))


def test_a_rejection_comes_from_the_domain_that_was_written_to(desk: FrontDesk):
    (row,) = desk.receive(mail(to="catchall@second.test"))
    (answer,) = desk.sent(kind="rejection")
    assert row.state == "rejected"
    assert answer.from_header == '"Second Ltd" <hello@second.test>'
    assert "catchall@second.test" in answer.subject and "sales@second.test" in answer.text
    assert "mycompany.test" not in answer.text


def test_what_is_left_of_a_removed_domain_takes_no_mail_of_other_domains(desk: FrontDesk):
    with desk.app.app_context():
        sales = db.session.scalars(select(Alias).where(Alias.address_key == "sales@mycompany.test")).one()
        sales.any_domain = True
        domain_rules.remove(db.session.scalar(select(OfficeDomain)))
        aliases.change_domain("other.test", NOW)
        db.session.commit()
        kept = select(Alias.address_key).where(Alias.any_domain)
        assert db.session.scalars(kept).all() == ["sales@other.test"]
        aliases.rename(sales, "shop")
        db.session.commit()
        assert set(db.session.scalars(kept)) == {"shop@other.test", "sales@other.test"}, "what was accepted still is"


def test_mail_to_a_removed_domain_waits_for_a_person_with_the_reason(desk: FrontDesk):
    with desk.app.app_context():
        domain_rules.remove(db.session.scalar(select(OfficeDomain)))
        db.session.commit()
    known, unknown, catchall = desk.receive(
        mail(to="shop@second.test"), mail(to="anybody@second.test"), mail(to="catchall@second.test")
    )
    assert (known.state, unknown.state, catchall.state) == ("processed", "quarantined", "rejected")
    assert "no longer one of your domains" in " ".join(sentences(unknown))


def test_our_addresses_in_every_domain_are_nobody_to_write_to(desk: FrontDesk):
    (row,) = desk.receive(mail(sender="Shop <shop@second.test>", to="sales@mycompany.test"))
    (document,) = desk.documents("opportunity")
    assert document.contact_id is None and row.state == "processed"
    with desk.app.app_context():
        assert "sales@second.test" in office.own_addresses()


def test_our_addresses_are_no_contacts_accounts_or_readers(desk: FrontDesk):
    with desk.app.app_context():
        list_id = add_contacts(0)
        pasted = "Ann <ann@x.test>\nShop <shop@second.test>\nsales@second.test\nhello@second.test"
        report = lists.import_lines(pasted, list_id, NOW)
        assert (report.added, [one.why["code"] for one in report.refused]) == (2, ["address_of_ours"] * 2)
        assert report.again() == ["Shop <shop@second.test>", "sales@second.test"]
        with pytest.raises(ChangeRefused, match="address"):
            contact_rules.check(Contact(name="", company="", address="Sales@Second.test", active=True), by_admin=True)
        db.session.rollback()


def test_no_account_has_an_address_of_ours(pages: Flask, admin: Visitor):
    account = {"name": "Sales", "role": "user", "active": "y", "password": "a frog in the rain", "notify": "mail"}
    said = words(admin.post("/admin/users/new", {**account, "zone": "UTC", "email": "sales@office.test"}).text)
    assert "sales@office.test is one of our own addresses" in said


# --- a domain with letters of its own


def test_an_international_domain_is_kept_as_typed_shown_readable_and_sent_in_ascii(desk: FrontDesk):
    with desk.app.app_context():
        row = domain("BÜCHER.example", company="Bücher")
        assert (row.name, row.name_key) == ("BÜCHER.example", "bücher.example")
        db.session.add(OutgoingServer(name="Books", host="h", from_filter="xn--bcher-kva.example"))
        db.session.commit()
        list_id = add_contacts(1)
        number = draft(list_id, from_address="News <news@bücher.example>")
        mailing_ = db.session.get(Mailing, number)
        decision = decide_for(mailing_)
        letter = compile_for(mailing_, decision)
        sent = letter.mail_to(MailingRecipient(1, "r0@example.test", "Reader"), NOW).decode()
        db.session.rollback()
    assert decision.envelope_sender == "bounce@xn--bcher-kva.example"
    assert re.search(r"^Message-ID: <\S+@xn--bcher-kva\.example>", sent, re.MULTILINE)
    assert re.search(r"^List-Id: <\S+\.xn--bcher-kva\.example>", sent, re.MULTILINE)
    assert "mailto:catchall@xn--bcher-kva.example" in sent.replace("\r\n ", "")
    assert "bücher" not in sent.partition("\r\n\r\n")[0]
    (received,) = desk.receive(mail(to="sales@xn--bcher-kva.example"))
    assert "sales@bücher.example" in " ".join(sentences(received))


def test_the_catchall_of_a_domain_is_changed_where_it_is_set(pages: Flask, admin: Visitor):
    with pages.app_context():
        domain()
        number = db.session.scalar(select(Alias.id).where(Alias.address_key == "catchall@second.test"))
        db.session.rollback()
    assert admin.get(f"/admin/aliases/edit?id={number}").location == f"{DOMAINS}/"
    said = words(admin.post("/admin/aliases/delete", {"id": number}, follow_redirects=True).text)
    assert "catchall@second.test is set under Email ‣ Domains" in said

"""What may be saved, asked as any caller does who has no form: rows that are filled in, and the reasons by field."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from mail.documents import contact_rules, types
from mail.documents.documents import start_document
from mail.errors import ChangeRefused
from mail.incoming import alias_rules, aliases
from mail.mailing import list_rules, mailing_settings
from mail.settings import parameters
from mail.settings.clock import now
from models import Alias, Contact, Document, DocumentType, Mailing, MailingList, OutgoingServer, Stage, User, db


def refused(rule: Callable[..., Any], *values: Any) -> dict[str, str]:
    """Return why a rule refuses what it is given, by field; {} when it does not."""
    with db.session.no_autoflush:
        try:
            rule(*values)
        except ChangeRefused as error:
            return error.sentences()
    return {}


@pytest.fixture
def office(app: Flask) -> Flask:
    with app.app_context():
        parameters.put(parameters.CATCHALL_DOMAIN.key, "office.example", now())
        db.session.commit()
    return app


def of_type(code: str) -> DocumentType:
    return db.session.scalars(select(DocumentType).where(DocumentType.code == code)).one()


# --- aliases


@pytest.mark.parametrize(
    ("values", "local_part", "stage_of", "fields"),
    [
        ({}, "desk", "opportunity", {}),
        ({}, " Desk@office.example ", "", {}),
        ({}, "two words", "", {"local_part": "Enter the part before the @"}),
        ({}, "taken", "", {"local_part": "is already an alias of"}),
        ({}, "desk", "ticket", {"stage_id": "belongs to another document type"}),
        ({"fixed": "ticket"}, "desk", "", {"fixed_document_id": "of another type than the alias"}),
        ({"fixed": "opportunity"}, "desk", "", {}),
        ({"policy": "followers"}, "desk", "", {"parent_document_id": "Otherwise no one can write"}),
        ({"policy": "followers", "fixed": "opportunity"}, "desk", "", {}),
        ({"policy": "followers", "fixed": "ticket"}, "desk", "ticket",
         {"stage_id": "another document type", "fixed_document_id": "of another type"}),
    ],
)  # fmt: skip
def test_an_alias(
    office: Flask, values: dict[str, str], local_part: str, stage_of: str, fields: dict[str, str]
) -> None:
    with office.app_context():
        opportunity = of_type("opportunity")
        aliases.add("taken", opportunity.id)
        alias = Alias(
            type_id=opportunity.id, policy=values.get("policy", "everyone"), defaults={"stage_id": 1, "tag": 2}
        )
        if "fixed" in values:
            alias.fixed_document_id = start_document(of_type(values["fixed"]), "Chairs", now()).id
        stage = of_type(stage_of).stages[-1].id if stage_of else None
        errors = refused(alias_rules.check, alias, local_part, stage, 0)
        assert errors.keys() == fields.keys() and all(words in errors[name] for name, words in fields.items())
        if not errors:
            assert alias.address_key == "desk@office.example"
            assert alias.defaults == {"tag": 2} | ({"stage_id": stage} if stage else {})


def test_an_alias_of_a_type_comes_moves_and_goes(office: Flask) -> None:
    with office.app_context():
        invoices = DocumentType(name="Invoices", plural="Invoices", number_pattern="INV/{number}")
        types.begin(invoices)
        assert refused(alias_rules.give, invoices, "a b").keys() == {"alias"}
        for text, known in (("bills", ["bills"]), (" Invoices ", ["invoices"]), ("", [])):
            assert refused(alias_rules.give, invoices, text) == {}
            assert [alias.local_part for alias in alias_rules.of_type(invoices)] == known


def test_a_stage_with_documents_stays(office: Flask) -> None:
    with office.app_context():
        opportunity = of_type("opportunity")
        start_document(opportunity, "Chairs", now())
        db.session.commit()
        first = opportunity.stages[0].name
        errors = refused(types.arrange, opportunity, ["Won"])
        assert errors == {"stages": f"1 document is in the stage “{first}”. Move it to another stage first."}
        db.session.rollback()
        types.arrange(of_type("opportunity"), ["Early", "Won", "New one"])
        assert db.session.scalar(select(Document.stage_id).join(Stage).where(Stage.name == "Early")) is not None


# --- Email Marketing


def test_the_server_for_mailings(office: Flask) -> None:
    with office.app_context():
        relays = [OutgoingServer(name=name, host="x.test", active=name == "on") for name in ("on", "off")]
        db.session.add_all(relays)
        db.session.flush()
        on, off = (relay.id for relay in relays)
        for wrong in (0, off, 999):
            errors = refused(mailing_settings.save, wrong, "", now())
            assert errors == {"server": "Choose the server for mailings."}
            assert parameters.DEDICATED_SERVER.get() == 0
        assert refused(mailing_settings.save, on, "Street 1\n\n12345 Town ", now()) == {}
        assert (parameters.DEDICATED_SERVER.get(), parameters.COMPANY_ADDRESS.get()) == (on, "Street 1, 12345 Town")
        assert refused(mailing_settings.save, None, "", now()) == {}
        assert (parameters.DEDICATED_SERVER.get(), parameters.COMPANY_ADDRESS.get()) == (0, "")


def test_a_mailing_list(office: Flask) -> None:
    with office.app_context():
        news = MailingList(name="News")
        db.session.add_all([news, Mailing(subject="Chairs", html="", state="paused", created_at=now(), lists=[news])])
        db.session.commit()
        assert refused(list_rules.check, MailingList(name=" NEWS ")) == {
            "name": "A list with this name already exists."
        }
        assert refused(list_rules.check, MailingList(name="Other  news")) == {}
        news.name = "news"
        assert refused(list_rules.check, news) == {}
        news.active = False
        assert "unfinished mailing uses it: Chairs" in refused(list_rules.check, news)["active"]


@pytest.mark.parametrize(
    ("values", "by_admin", "fields"),
    [
        ({"name": " Ann   Lee ", "address": "ANN@x.test"}, False, {}),
        ({"name": "Ann", "address": "  "}, False, {}),
        ({"name": " ", "address": None}, False, {"name": "Enter a name or an address"}),
        ({"address": "a@x.test, b@x.test"}, False, {"address": "one address only"}),
        ({"address": "Ann <ann@x.test>"}, False, {"address": "Enter the address alone: ann@x.test"}),
        ({"address": "ann"}, False, {"address": "not an email address"}),
        ({"address": "BOB@x.test"}, False, {"address": "Another contact already has this address"}),
    ],
)
def test_a_contact(office: Flask, values: dict[str, Any], by_admin: bool, fields: dict[str, str]) -> None:
    with office.app_context():
        db.session.add(Contact(name="Bob", address="bob@x.test", address_key="bob@x.test"))
        db.session.commit()
        contact = Contact(**{"name": "", "company": "", "language": " EN", "active": True, **values})
        errors = refused(contact_rules.check, contact, by_admin)
        assert errors.keys() == fields.keys() and all(words in errors[name] for name, words in fields.items())
        assert contact.language == "en"


@pytest.mark.parametrize(
    ("changes", "of_anybody", "of_an_admin"),
    [
        ({"company": "Chairs"}, set(), set()),
        ({"name": "Rob"}, {"name"}, set()),
        ({"address": "rob@x.test"}, {"address"}, set()),
        ({"address": "BOB@x.test"}, set(), set()),
        ({"address": ""}, {"address"}, {"address"}),
        ({"active": False}, {"active"}, {"active"}),
        ({"active": False, "name": "Rob", "address": ""}, {"active", "name", "address"}, {"active", "address"}),
    ],
)
def test_the_contact_of_a_colleague(
    office: Flask, changes: dict[str, Any], of_anybody: set[str], of_an_admin: set[str]
) -> None:
    for by_admin, fields in ((False, of_anybody), (True, of_an_admin)):
        with office.app_context():
            bob = db.session.scalar(select(Contact).where(Contact.address_key == "bob@x.test"))
            if bob is None:
                bob = Contact(name="Bob", address="bob@x.test", address_key="bob@x.test")
                db.session.add(User(email="bob@x.test", password="", role="user", fs_uniquifier="bob", contact=bob))
                db.session.commit()
            assert bob.name and bob.address_key and bob.active
            for name, value in changes.items():
                setattr(bob, name, value)
            assert refused(contact_rules.check, bob, by_admin).keys() == fields
            db.session.rollback()

"""What a new office starts with, and changes of its addresses after which nothing that was sent before is lost."""

from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import select

from mail.documents.documents import start_document
from mail.incoming import aliases
from mail.maintenance import setup
from mail.maintenance.schedule import ACTIONS, edit
from mail.settings import office
from mail.settings.parameters import BOUNCE_ALIAS, CATCHALL_ALIAS, CATCHALL_DOMAIN, DEFAULT_FROM, NotValid
from models import Alias, DocumentType, ScheduledAction, SystemParameter, db

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def context(app: Flask):
    with app.app_context():
        yield


def addresses(state: str = "active") -> dict[str, str]:
    rows = db.session.scalars(select(Alias).where(Alias.state == state).order_by(Alias.id))
    return {row.address_key: row.type.code if row.type else row.role for row in rows}


def test_a_new_office_can_be_written_to():
    assert addresses() == {
        "catchall@office.test": "catchall",
        "bounce@office.test": "bounce",
        "sales@office.test": "opportunity",
        "support@office.test": "ticket",
    }
    assert (CATCHALL_DOMAIN.get(), DEFAULT_FROM.get()) == ("office.test", "notifications")


TYPES = {
    "opportunity": ("OPP/00001", ["New", "Qualified", "Proposition", "Won", "Lost"]),
    "sales_order": ("SO/00001", ["Quotation", "Quotation sent", "Confirmed", "Delivered", "Cancelled"]),
    "invoice": ("INV/00001", ["Draft", "Sent", "Paid", "Cancelled"]),
    "ticket": ("TIC/00001", ["New", "In progress", "Waiting", "Solved"]),
    "task": ("TASK/00001", ["To do", "In progress", "Done"]),
    "applicant": ("APP/00001", ["New", "Interview", "Offer", "Hired", "Refused"]),
}
INTERVALS = {
    "Mail: Fetchmail Service": (5, "minutes", True),
    "Mail: Outgoing queue": (1, "hours", True),
    "Email Marketing: Mass-mail queue": (1, "minutes", True),
    "Mail: Daily digest": (1, "days", True),
    "Mail: Deliverability check": (1, "days", True),
    "Clean-up": (1, "hours", True),
}


def test_the_types_of_documents_come_ready_made():
    found = db.session.scalars(select(DocumentType).order_by(DocumentType.position)).all()
    numbers = {row.code: start_document(row, "First", NOW).number for row in found}
    assert {row.code: (numbers[row.code], [stage.name for stage in row.stages]) for row in found} == TYPES


def test_the_scheduled_actions_have_their_intervals():
    found = db.session.scalars(select(ScheduledAction))
    assert {row.name: (row.interval, row.unit, row.active) for row in found} == INTERVALS


def test_a_second_time_changes_nothing_and_brings_nothing_back():
    aliases.put("mail.catchall.domain", "mycompany.test", NOW)
    aliases.put("company.name", "Acme", NOW)
    action = db.session.scalar(select(ScheduledAction).where(ScheduledAction.code == "fetch"))
    edit(action, 10, "seconds", True, NOW)
    db.session.delete(db.session.scalar(select(Alias).where(Alias.local_part == "support", Alias.state == "active")))
    db.session.delete(db.session.scalar(select(DocumentType).where(DocumentType.code == "task")))
    db.session.commit()

    def everything() -> list[object]:
        return [
            addresses(), addresses("retired"),
            db.session.execute(select(SystemParameter.key, SystemParameter.value).order_by(SystemParameter.key)).all(),
            db.session.execute(select(DocumentType.code, DocumentType.next_number).order_by(DocumentType.id)).all(),
            db.session.execute(select(ScheduledAction.code, ScheduledAction.interval, ScheduledAction.next_run_at)
                               .order_by(ScheduledAction.id)).all(),
        ]  # fmt: skip

    before = everything()
    setup.first_rows(NOW + timedelta(days=1))
    assert everything() == before


def test_a_later_version_brings_its_new_action():
    db.session.delete(db.session.scalar(select(ScheduledAction).where(ScheduledAction.code == "cleanup")))
    db.session.commit()
    setup.first_rows(NOW)
    assert set(db.session.scalars(select(ScheduledAction.code))) == {action.code for action in ACTIONS}


# --- addresses


def test_the_domain_of_a_new_office_goes_without_a_trace():
    aliases.rename_catchall("replies", NOW)
    before = addresses()
    assert aliases.change_domain("MyCompany.test", NOW) == []
    assert addresses() == {key.replace("office.test", "mycompany.test"): what for key, what in before.items()}
    assert addresses("retired") == {}


def test_another_alias_domain_moves_every_address_and_keeps_the_old_ones():
    aliases.change_domain("first.test", NOW)
    before = addresses()
    moved = aliases.change_domain("MyCompany.test", NOW)
    assert addresses() == {key.replace("first.test", "mycompany.test"): what for key, what in before.items()}
    assert addresses("retired") == before
    assert moved == list(before)
    assert "sales@mycompany.test" in office.load().type_aliases.values()


def test_going_back_to_the_old_domain_leaves_each_address_once():
    aliases.change_domain("first.test", NOW)
    first = addresses()
    aliases.change_domain("mycompany.test", NOW)
    aliases.change_domain("first.test", NOW)
    assert addresses() == first
    assert set(addresses("retired")) == {key.replace("first", "mycompany") for key in first}


@pytest.mark.parametrize(
    ("rename", "key", "parameter", "role"),
    [
        (aliases.rename_catchall, "mail.catchall.alias", CATCHALL_ALIAS, "catchall"),
        (aliases.rename_bounce, "mail.bounce.alias", BOUNCE_ALIAS, "bounce"),
    ],
)
def test_the_catchall_and_the_bounce_address_follow_their_parameter(rename, key, parameter, role):
    rename("replies", NOW)
    assert parameter.get() == "replies"
    assert addresses()["replies@office.test"] == role
    assert addresses("retired") == {f"{role}@office.test": role}
    aliases.put(key, "", NOW)  # an empty text returns a parameter to its default
    assert parameter.get() == role
    assert addresses("retired") == {"replies@office.test": role}


def test_a_renamed_alias_still_gets_what_is_sent_to_its_old_name():
    sales = db.session.scalar(select(Alias).where(Alias.local_part == "sales"))
    sales.policy = "contacts"
    aliases.rename(sales, "Deals")
    assert addresses()["deals@office.test"] == "opportunity"
    old = db.session.scalar(select(Alias).where(Alias.address_key == "sales@office.test"))
    assert (old.state, old.type.code, old.policy) == ("retired", "opportunity", "contacts")
    aliases.add("sales", sales.type_id)  # a retired name may be used again
    assert addresses("retired") == {}


REFUSED = {
    "catchall": "is the catchall address",
    "Bounce": "is the bounce address",
    "support": "already an alias of Ticket",
    "SUPPORT@office.test": "already an alias of Ticket",
    "info@elsewhere.test": "end with the alias domain, office.test",
    "": "letters a to z",
    "two words": "letters a to z",
    "-dash": "letters a to z",
    "dot.": "letters a to z",
    "two..dots": "letters a to z",
    "ümlaut": "letters a to z",
    "a" * 65: "at most 64",
    "plus+tag": "the plus sign",
    'quo"te': "letters a to z",
    "line\nbreak": "letters a to z",
}
TAKEN = ("info", "Info", "sales-es", "a.b_c", "2026", "a", "a" * 64, "info@office.test")


def test_a_local_part_that_can_not_be_used_is_refused_with_the_reason():
    def refusal(text: str) -> str:
        with pytest.raises(NotValid) as refused:
            aliases.check(text)
        return str(refused.value)

    said = {text: refusal(text) for text in REFUSED}
    assert {text: reason in said[text] for text, reason in REFUSED.items()} == dict.fromkeys(REFUSED, True), said


def test_a_usable_local_part_is_stored_lower_case():
    assert [aliases.check(text) for text in TAKEN] == [text.lower().removesuffix("@office.test") for text in TAKEN]


def test_an_alias_that_is_edited_does_not_clash_with_itself():
    sales = db.session.scalar(select(Alias).where(Alias.local_part == "sales"))
    assert aliases.check("sales", sales.id) == "sales"


def test_the_catchall_can_not_take_the_name_of_an_alias():
    with pytest.raises(NotValid, match="already an alias of Opportunity"):
        aliases.put("mail.catchall.alias", "sales", NOW)
    with pytest.raises(NotValid, match="is the catchall address"):
        aliases.put("mail.bounce.alias", "catchall", NOW)
    assert (CATCHALL_ALIAS.get(), BOUNCE_ALIAS.get()) == ("catchall", "bounce")


@pytest.mark.parametrize(
    ("interval", "unit", "said"),
    [
        (4, "seconds", "minimum interval is 5 seconds"),
        (1, "fortnights", "unit from the list"),
        (200, "months", "ten years"),
    ],
)
def test_an_interval_that_makes_no_sense_is_refused(interval, unit, said):
    action = db.session.scalar(select(ScheduledAction).where(ScheduledAction.code == "fetch"))
    with pytest.raises(NotValid, match=said):
        edit(action, interval, unit, True, NOW)
    assert (action.interval, action.unit, action.version) == (5, "minutes", 1)

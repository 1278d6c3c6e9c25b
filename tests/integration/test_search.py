"""Searching by parts of words, on both databases, and what the index must follow."""

import csv
from collections.abc import Iterable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, select, update
from wtforms import Form

from mail.settings.clock import now
from models import Contact, MailingList, Subscription, db
from models.search import search
from tests.web import Visitor
from webapp.fields import ReferenceField

PEOPLE = [
    ("Ann Lee", "ann@example.com", "Chairs & Sons"),
    ("Bob Müller", "bob@mueller.test", "100% Wood"),
    ('Carla "Cat" Ruiz', "carla_r@ruiz.test", "Ruiz AND Partner"),
]


@pytest.fixture
def people(app: Flask) -> Flask:
    with app.app_context():
        for name, address, company in PEOPLE:
            db.session.add(Contact(name=name, address=address, address_key=address, company=company))
        db.session.commit()
    return app


def found(words: str) -> list[str]:
    where = search(words, Contact.name, Contact.address, Contact.company).rows
    return [name.split()[0] for name in db.session.scalars(select(Contact.name).where(where).order_by(Contact.id))]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("ann", ["Ann"]),
        ("MUELL", ["Bob"]),
        ("hair", ["Ann"]),
        ("lee chairs", ["Ann"]),
        ("lee wood", []),
        ("test", ["Bob", "Carla"]),
        ("an", ["Ann", "Carla"]),
        ("0%", ["Bob"]),
        ("100%", ["Bob"]),
        ("carla_r", ["Carla"]),
        ("carlaxr", []),
        ('"Cat"', ["Carla"]),
        ("AND", ["Carla"]),
        ("name:", []),
        ("(", []),
        ("***", []),
        ("", ["Ann", "Bob", "Carla"]),
    ],
)
def test_parts_of_words_are_found(people: Flask, words: str, names: list[str]) -> None:
    with people.app_context():
        assert found(words) == names


def test_the_index_follows_changes(people: Flask) -> None:
    with people.app_context():
        ann = db.session.scalar(select(Contact).where(Contact.address_key == "ann@example.com"))
        assert ann is not None
        ann.name, ann.company = "Anneliese", "Tables"
        db.session.commit()
        assert (found("anneliese"), found("chairs")) == (["Anneliese"], [])
        db.session.delete(ann)
        db.session.commit()
        assert found("anneliese") == []


@pytest.mark.parametrize("words", ["müller", "MÜLLER", "mü", "MÜ", "ü"])
def test_umlauts_are_found_in_any_case(people: Flask, words: str) -> None:
    with people.app_context():
        assert found(words) == ["Bob"]


# --- what a search looks at is bounded: here by ever so little


@pytest.fixture
def many(pages: Flask, monkeypatch: pytest.MonkeyPatch) -> Flask:
    for name, bound in {"MOST_READ": 16, "MOST_FOUND": 10, "SAMPLE": 20}.items():
        monkeypatch.setattr(f"models.search.{name}", bound)
    with pages.app_context():
        for number in range(60):
            key = f"p{number:02}@shop.test"
            db.session.add(Contact(name=f"Person{number:02} Lee", address=key, address_key=key))
        db.session.commit()
    return pages


NEWEST = [f"Person{number:02}" for number in range(50, 60)]


@pytest.mark.parametrize(
    ("words", "names", "cut"),
    [
        ("shop", NEWEST, "common"),
        ("shop.test lee", NEWEST, "common"),
        ("shop p4", ["Person44", "Person45", "Person46", "Person47", "Person48", "Person49"], "common"),
        ("le", NEWEST, "short"),
        ("p4", ["Person44", "Person45", "Person46", "Person47", "Person48", "Person49"], "short"),
        ("q", [], "short"),
        ("person07", ["Person07"], ""),
        ("lee person07 shop", ["Person07"], ""),
        ("son0", [f"Person0{number}" for number in range(10)], ""),
        ("p0 son0", [f"Person0{number}" for number in range(10)], ""),
        ("quokka", [], ""),
        ("shop quokka", [], ""),
    ],
)
def test_common_and_short_words_are_looked_for_in_the_newest_rows(
    many: Flask, words: str, names: list[str], cut: str
) -> None:
    with many.app_context():
        assert (found(words), search(words, Contact.name, Contact.address, Contact.company).cut) == (names, cut)


def test_what_fits_in_many_old_rows_only_is_cut_too(many: Flask) -> None:
    with many.app_context():
        db.session.execute(update(Contact).where(Contact.id <= 30).values(company="Quokka & Sons"))
        db.session.commit()
        result = search("quokka", Contact.name, Contact.company)
        assert len(found("quokka")) == 10 and result.cut == "common"


def test_what_is_narrowed_to_few_rows_is_searched_whole(many: Flask) -> None:
    columns = (Contact.name, Contact.address, Contact.company)
    with many.app_context():
        few = select(Contact).where(Contact.name.in_([f"Person{number:02} Lee" for number in range(0, 60, 4)]))
        for words in ("le", "shop", "lee shop"):
            result = search(words, *columns, among=few.where(Contact.name < "Person4"))
            assert len(db.session.scalars(select(Contact.id).where(result.rows)).all()) == 10 and result.cut == ""
            assert search(words, *columns, among=few).cut == "common", "more are found than a list shows"
        every = search("person07", *columns, among=select(Contact).where(Contact.active))
        assert len(db.session.scalars(select(Contact.id).where(every.rows)).all()) == 1


def test_a_filter_or_a_list_finds_its_old_rows(many: Flask) -> None:
    visitor = Visitor(many).as_role("admin")
    with many.app_context():
        old = db.session.scalars(select(Contact).where(Contact.name == "Person03 Lee")).one()
        old.active, news = False, MailingList(name="News")
        db.session.add(news)
        db.session.flush()
        db.session.add(Subscription(list_id=news.id, contact_id=old.id, state="subscribed", at=now()))
        db.session.commit()
        list_id = news.id
    assert "Person03 Lee" not in visitor.get("/admin/contacts/?search=shop").text
    for path in ("contacts/?active=0&search=shop", f"mailing-lists/edit?id={list_id}&search=le"):
        page = visitor.get(f"/admin/{path}").text
        assert "Person03 Lee" in page and "newest" not in page


def test_a_small_table_is_searched_whole(people: Flask) -> None:
    with people.app_context():
        assert search("an", Contact.name).cut == search("test", Contact.address).cut == ""


@pytest.mark.parametrize("_kept_pages", ["sqlite"], indirect=True)  # PostgreSQL chooses itself
def test_the_rarest_trigrams_are_asked_for(many: Flask) -> None:
    asked: list[str] = []
    with many.app_context():

        def note(_connection: Any, _cursor: Any, sql: str, values: Any, *_: Any) -> None:
            asked.extend(value for value in values if "MATCH" in sql and isinstance(value, str) and '"' in value)

        event.listen(db.engine, "before_cursor_execute", note)
        found("shop lee person07")
    assert set(asked) == {'"on0" AND "n07"'}, "a trigram of all rows costs as much as all rows"


def test_the_list_says_that_older_entries_are_missing(many: Flask) -> None:
    visitor = Visitor(many).as_role("admin")
    common, short = "only the newest were searched", "Only the newest 16 entries were searched"
    assert common in visitor.get("/admin/contacts/?search=shop").text
    assert short in visitor.get("/admin/contacts/?search=le").text
    assert short in visitor.get("/admin/contacts/?search=qz").text
    assert "10+ entries" in visitor.get("/admin/contacts/?search=shop").text
    for path in ("/admin/contacts/", "/admin/contacts/?search=person07", "/admin/contacts/?search=quokka"):
        page = visitor.get(path).text
        assert common not in page and short not in page


@pytest.mark.parametrize(
    ("asked", "numbers"),
    [
        ("search=shop", range(60)),  # too common
        ("search=le&sort=-name", range(59, -1, -1)),  # too short
        ("search=p4", range(40, 50)),
        ("search=shop&active=1", range(2, 60)),
        ("search=person07", [7]),  # found by the index
        ("search=qz", []),
    ],
)
def test_the_export_has_all_that_fit_and_the_page_says_so(many: Flask, asked: str, numbers: Iterable[int]) -> None:
    visitor, names = Visitor(many).as_role("admin"), [f"Person{number:02} Lee" for number in numbers]
    with many.app_context():
        db.session.execute(update(Contact).where(Contact.name < "Person02").values(active=False))
        db.session.commit()
    lines = csv.DictReader(visitor.get(f"/admin/contacts/export?{asked}").text.splitlines())
    assert [line["Name"] for line in lines] == names
    note = "Export searches all entries." in visitor.get(f"/admin/contacts/?{asked}").text
    assert note is (len(names) > 1)


class Choice(Form):
    contact = ReferenceField(model=Contact, search=("name", "address"))


def test_a_choice_shows_the_shortest_first(app: Flask) -> None:
    with app.app_context():
        for name in ("Lee", "Ann Lee", "Lee & Sons", "Bob Leeds", "Sara"):
            db.session.add(Contact(name=name))
        db.session.commit()
        assert [name for _id, name in Choice().contact.found("lee")] == ["Lee", "Ann Lee", "Bob Leeds", "Lee & Sons"]

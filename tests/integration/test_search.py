"""Searching by parts of words, on both databases, and what the index must follow."""

import pytest
from flask import Flask
from sqlalchemy import select

from models import Contact, db
from models.search import contains

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
    where = contains(words, Contact.name, Contact.address, Contact.company)
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


@pytest.mark.parametrize(
    ("words", "most"),
    [("shop", 20), ("shop.test", 20), ("shop person", 20), ("shop person 7", 20), ("pe", 8), ("7", 8), ("zq", 0)],
)
def test_what_a_search_looks_at_is_bounded(app: Flask, monkeypatch: pytest.MonkeyPatch, words: str, most: int) -> None:
    monkeypatch.setattr("models.search.MOST_FOUND", 20)
    monkeypatch.setattr("models.search.MOST_READ", 8)
    with app.app_context():
        for number in range(60):
            key = f"p{number}@shop.test"
            db.session.add(Contact(name=f"Person {number}", address=key, address_key=key))
        db.session.commit()
        names = found(words)
        assert len(names) <= most and bool(names) is bool(most)


def test_a_rare_word_beside_a_common_one_is_found(app: Flask) -> None:
    with app.app_context():
        for number in range(60):
            key = f"p{number}@shop.test"
            db.session.add(Contact(name=f"Person{number}", address=key, address_key=key))
        db.session.commit()
        assert found("shop person0") == ["Person0"]

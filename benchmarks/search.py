"""Searching an office of 1,000,000 contacts and 200,000 received emails, against its limit: python -m benchmarks.search

Each query is the request of a page, answered in this process, on SQLite and on PostgreSQL; so is the form of a mailing
to lists that everybody is on. The worst of a few times counts: whoever types waits for each.
Run: python -m benchmarks.search [contacts]
"""

import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flask import Flask

from benchmarks.common import folder, machine, median

CONTACTS = 1_000_000
TIMES = 5
LIMIT = 300  # milliseconds

GIVEN_NAMES = """
Ann Bob Carla Dieter Eva Frank Günther Hanna Ida Jörg Karl Lena Max Nora Olaf Paula Ralf Sara Tom Ute Vera Walter Xenia
Yusuf Zoé Anna Bernd Clara David Erika Franz Gabi Hugo Inge Jan Kim Lisa Mona Nils Peter
"""
FAMILY_NAMES = """
Lee Müller Schmidt Schneider Fischer Weber Meyer Wagner Becker Schulz Hoffmann Schäfer Koch Bauer Richter Klein Wolf
Schröder Neumann Schwarz Zimmermann Braun Krüger Hofmann Hartmann Lange Schmitt Werner Krause Meier Lehmann Schmid
Schulze Maier Köhler Herrmann König Walter Mayer Huber Kaiser Fuchs Peters Lang Scholz Möller Weiß Jung Hahn Vogel
"""
FIRST, LAST = GIVEN_NAMES.split(), FAMILY_NAMES.split()
RARE = 100_000  # one of so many is called quokka
SUBJECTS = ("Offer for chairs", "Invoice", "Re: Your order", "Question about delivery", "Complaint", "Appointment")
STARTED = datetime(2024, 1, 1, tzinfo=UTC)

QUERIES = {
    "two letters, common": "an",
    "two letters, nothing": "qz",
    "two short words": "an le",
    "three letters": "lee",
    "a common domain": "gmail.com",
    "a common ending": ".test",
    "a rare word": "quokka",
    "a whole address": "lee.quokka",
    "nothing": "zzyzx",
    "a common word and nothing": "gmail zzyzx",
    "two words": "lee shop17",
    "a word of all and a number": "company 499",
    "two common words": "gmail company",
    "a rare and a common word": "quokka company",
    "a short and a common word": "mo gmail",
    "an umlaut": "müller",
    "umlauts in capitals": "KRÜGER GÜNTHER",
    "one umlaut": "ü",
    "letters of others": "ermann.com",
    "a question mark of SQL": "100%",
}


def main() -> None:
    contacts = int(sys.argv[1]) if len(sys.argv) > 1 else CONTACTS
    print(f"Search among {contacts:,} contacts and {contacts // 5:,} received emails, {machine()}")
    from tests.servers.postgres import Postgres

    postgres = Postgres()
    try:
        for kind in ("sqlite", "postgresql"):
            with folder() as data:
                url = f"sqlite:///{data / 'office.db'}" if kind == "sqlite" else postgres.create_database()
                one_office(kind, url, data, contacts)
    finally:
        postgres.close()


def one_office(kind: str, url: str, data: Path, contacts: int) -> None:
    app = office(url, data, contacts)
    print(f"{kind:12}{'contacts':>24}{'received emails':>24}   ms: median, worst; limit {LIMIT}")
    print_pages(app)


def office(url: str, data: Path, contacts: int) -> Flask:
    """Return the web application of a filled office."""
    from tests.conftest import upgrade
    from tests.web import web_app

    upgrade(url)
    app = web_app(url, data)
    with app.app_context():
        fill(contacts)
    return app


def print_pages(app: Flask) -> None:
    """Print how long each page of a filled office takes."""
    from tests.web import Visitor

    visitor = Visitor(app).as_role("admin")
    for name, words in QUERIES.items():
        columns = [f"/admin/{page}/?search={quote(words)}" for page in ("contacts", "received-mails")]
        print(f"{words:12.12}{''.join(cell(visitor, path) for path in columns)}   {name}", flush=True)
    for name, path in {"a list": "/admin/contacts/", "a mailing": "/mailings/new"}.items():
        print(f"{'':12}{cell(visitor, path)}{'':24}   {name}")


def cell(visitor: Any, path: str) -> str:
    """Return how long a page takes, in milliseconds: the median and the worst."""
    took = []
    for _ in range(TIMES):
        began = time.perf_counter()
        answer = visitor.get(path)
        took.append((time.perf_counter() - began) * 1000)
        if answer.status_code != 200:
            raise SystemExit(f"{path} answered {answer.status}")
    return f"{median(took):14.0f}{max(took):8.0f}{' !' if max(took) > LIMIT else '  '}"


# --- the office


def fill(contacts: int) -> None:
    """Fill the tables as imports and fetching do: with all indexes in place."""
    from models import Contact, MailingList, ReceivedMail, Subscription, db

    db.session.add(MailingList(id=1, name="Everybody"))
    db.session.flush()
    rows = {
        Contact: people(contacts),
        Subscription: subscriptions(contacts),
        ReceivedMail: mails(contacts // 5),
    }
    for model, made in rows.items():
        began = time.perf_counter()
        while some := list(islice(made, 5_000)):
            db.session.execute(model.__table__.insert(), some)
            db.session.commit()
        print(f"  {model.__tablename__}: {time.perf_counter() - began:.0f} s", file=sys.stderr)
    if db.engine.dialect.name == "postgresql":
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")  # as autovacuum does


def person(number: int) -> tuple[str, str]:
    """Return name and address of a contact: two of five have the same domain."""
    first, last = FIRST[number % len(FIRST)], LAST[number // len(FIRST) % len(LAST)]
    if number % RARE == 7:
        last = "Quokka"
    domain = "gmail.com" if number % 5 < 2 else f"shop{number % 2_003}.test"
    return f"{first} {last}", f"{first}.{last}{number}@{domain}".lower()


def people(count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        name, address = person(number)
        company = f"Company {number % 997}"
        yield {"name": name, "address": address, "address_key": address, "company": company, "active": True}


def subscriptions(count: int) -> Iterator[dict[str, Any]]:
    return ({"list_id": 1, "contact_id": number + 1, "state": "subscribed", "at": STARTED} for number in range(count))


def mails(count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        name, address = person(number * 3)
        moment = STARTED + timedelta(minutes=number)
        yield {
            "source": "pipe",
            "source_key": str(number),
            "size": 5_000,
            "from_key": address,
            "from_text": f"{name} <{address}>",
            "to_text": "sales@office.test",
            "subject": f"{SUBJECTS[number % len(SUBJECTS)]} {number} for Company {number % 997}",
            "state": "processed",
            "result": "document",
            "arrived_at": moment,
            "received_at": moment,
        }


if __name__ == "__main__":
    main()

"""No list grows slow: every list is opened with 200,000 rows, and no statement behind it may read a table whole.

Nothing is timed. Each SELECT of a page is asked again, and the database says itself how much it reads for it:
PostgreSQL by EXPLAIN ANALYZE, SQLite by the steps of its virtual machine. A count that stops at 10,001 is allowed.
"""

import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import (
    Connection,
    String,
    case,
    cast,
    column,
    create_engine,
    event,
    insert,
    literal,
    select,
    table,
    text,
    update,
)
from sqlalchemy.sql.elements import ColumnElement

from mail.outgoing import failures
from mail.outgoing.failures import Failure
from mail.settings.clock import now
from models import (
    BlacklistedAddress,
    Blob,
    Bounce,
    Contact,
    Document,
    DocumentType,
    Event,
    Follower,
    Mailing,
    MailingList,
    Notification,
    OutgoingMail,
    Post,
    PracticeMail,
    ReceivedMail,
    Recipient,
    Subscription,
    Thread,
    Trace,
    User,
    db,
    mailing_lists,
)
from models.base import UtcDateTime
from models.incoming import RECEIVED_STATES
from models.mailing import MAILING_STATES, TRACE_STATES
from models.outgoing import LINE_STATES
from models.search import SEARCHED
from tests.web import Visitor, kept_app
from webapp.admin import VIEWS
from webapp.admin.base import AdminView
from webapp.admin.listing import Order

pytestmark = pytest.mark.heavy

ROWS = 200_000
FIRST, MIDDLE, LAST = 1_001, 101_001, 201_000  # ids of the rows: what every office starts with lies below
MOST_READ = 25_000  # rows for one statement: the count stops at 10,001
STEPS_OF_A_ROW = 5  # SQLite takes two to ten steps of its machine for a row
RARE = 4_000  # one row of so many is in a given rare state: a page of these can't be found by walking
ROWS_SHOWN = 10  # by a list of the admin: fewer than in an office, because making the HTML takes most of the time

BIG, SMALL, EMPTY = 1, 2, 3  # mailing lists
WORD = "quokka"  # stands in one row of twenty thousand
TWO_LETTERS = "qz"  # stand in no row, and no index tells that

# Exact by choice: who sends to a list wants to know to how many, and the sums of the ledger must add up.
MAY_COUNT = (
    "GROUP BY subscription.list_id, subscription.state",
    "GROUP BY received_mail.state, received_mail.result",
)


# --- an office with large tables

series = table("series", column("n", Thread.id.type), column("at", UtcDateTime))
n, at = series.c.n, series.c.at


def said(*parts: Any) -> ColumnElement[str]:
    """Return the text of these parts, the number of the row among them."""
    words: ColumnElement[str] = literal("")
    for part in parts:
        words = words + (cast(part, String) if isinstance(part, ColumnElement) else literal(part))
    return words


def mostly(usual: Any, *rare: Any) -> Any:
    """Return a value that is nearly always the same; each of the others stands in 50 rows."""
    return case(*((n % RARE == place, value) for place, value in enumerate(rare, 1)), else_=usual)


def others(of: tuple[str, ...], usual: str) -> list[str]:
    """Return the states that are rare."""
    return [state for state in of if state != usual]


def words(usual: str) -> Any:
    """Return a text that few rows share a word of."""
    return case((n % 20_000 == 0, said(WORD, " ", n)), else_=said(usual, " ", n))


def tables(few: int, many: int) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yield each table with the values of its rows; ``many`` is the user that nearly everything belongs to."""
    types = db.session.scalars(select(DocumentType).order_by(DocumentType.position)).all()
    stages = [stage.id for stage in types[0].stages]
    mine = mostly(many, few)
    yield Thread, {"id": n, "last_post_at": at}
    yield (
        Contact,
        {
            "id": n,
            "name": words("Person"),
            "address": said("p", n, "@x.test"),
            "address_key": said("p", n, "@x.test"),
            "active": mostly(True, False),
            "created_at": at,
        },
    )
    yield (
        Document,
        {
            "id": n,
            "type_id": mostly(types[0].id, types[1].id),
            "number": said("N/", n),
            "thread_id": n,
            "title": words("Chair"),
            "contact_id": mostly(FIRST, MIDDLE),
            "responsible_id": case((n % RARE == 2, few), else_=many),
            "stage_id": mostly(stages[-1], None, *stages[:-1]),
            "failure_unread": case((n % RARE == 3, True), else_=False),
            "created_at": at,
        },
    )
    yield (
        Post,
        {
            "id": n,
            "thread_id": case((n % 2 == 1, FIRST), else_=n),  # half of them lie in one thread
            "kind": "message",
            "author_contact_id": n,
            "html": "<p>Hello</p>",
            "message_key": said("key", n),
            "message_id": said("<", n, "@x.test>"),
            "at": at,
        },
    )
    yield Follower, {"id": n, "thread_id": n, "contact_id": n}
    yield (
        Notification,
        {"id": n, "post_id": n, "user_id": mine, "at": at, "read_at": case((n % 500 == 1, None), else_=at)},
    )
    yield (
        OutgoingMail,
        {
            "id": n,
            "kind": "post",
            "post_id": n,
            "subject": said("Chair ", n),
            "message_id": said(n, "@office.test"),
            "content_blob_id": 1,
            "created_at": at,
        },
    )
    yield (
        Recipient,
        {
            "id": n,
            "mail_id": n,
            "contact_id": n,
            "name": words("Person"),
            "address": said("p", n, "@x.test"),
            "address_key": said("p", n, "@x.test"),
            "state": mostly("sent", *others(LINE_STATES, "sent")),
            "next_try_at": at,
            "sent_at": at,
        },
    )
    yield (
        ReceivedMail,
        {
            "id": n,
            "source": "pipe",
            "source_key": said(n),
            "blob_id": 1,
            "size": 9,
            "message_key": said("key", n),
            "from_key": said("p", n, "@x.test"),
            "from_text": said("p", n, "@x.test"),
            "subject": words("Chair"),
            "state": mostly("processed", *others(RECEIVED_STATES, "processed")),
            "received_at": at,
            "arrived_at": at,
        },
    )
    yield (
        Mailing,
        {
            "id": n,
            "subject": words("News"),
            "state": mostly("done", *others(MAILING_STATES, "done")),
            "created_by_id": mine,
            "created_at": at,
        },
    )
    yield mailing_lists, {"mailing_id": n, "list_id": mostly(BIG, SMALL)}
    yield (
        Trace,  # half of them of one mailing; one contact got two thousand mailings
        {
            "id": n,
            "mailing_id": case((n % 2 == 1, FIRST), else_=n),
            "contact_id": case((n % 100 == 0, MIDDLE), else_=n),
            "address": said("p", n, "@x.test"),
            "state": mostly("sent", *others(TRACE_STATES, "sent")),
            "sent_at": at,
        },
    )
    yield (
        Subscription,
        {
            "id": n,
            "list_id": case((n % RARE < 2, SMALL), else_=BIG),
            "contact_id": n,
            "state": mostly("subscribed", "unsubscribed", "unsubscribed", "pending"),
            "at": at,
        },
    )
    yield (
        BlacklistedAddress,
        {
            "id": n,
            "address_key": case((n % 20_000 == 0, said(WORD, n, "@x.test")), else_=said("p", n, "@x.test")),
            "reason": mostly("bounces", "complaint", "manual", "unsubscribed"),
            "mailing_id": n,
            "thread_id": n,
            "at": at,
        },
    )
    yield (
        Bounce,
        {
            "id": n,
            "address_key": said("p", n, "@x.test"),
            "kind": "hard",
            "at": at,
            "recipient_id": n,
            "counted": n % 2 == 0,
        },
    )
    yield (
        PracticeMail,
        {"id": n, "at": at, "recipient": mostly("many@x.test", "few@x.test"), "blob_id": 1, "subject": "Chair"},
    )
    yield Event, {"id": n, "at": at, "topic": said("thread:", n)}


def fill(few: int, many: int) -> None:
    """Fill the tables by one INSERT ... SELECT each, as fast as the database can: nobody else is there yet."""
    rows = list(tables(few, many))
    db.session.remove()
    db.engine.dispose()
    engine = create_engine(db.engine.url)  # without the care that an office takes
    with engine.connect() as connection:
        is_sqlite = engine.dialect.name == "sqlite"
        for statement in BEFORE_SQLITE if is_sqlite else BEFORE_POSTGRESQL:
            connection.execute(text(statement))
        indexes = without_indexes(connection)
        connection.execute(insert(Blob).values(id=1, sha256="0" * 64, size=0, data=zlib.compress(b"")))
        lists = {BIG: "Everybody", SMALL: "Some", EMPTY: "Nobody"}
        connection.execute(insert(MailingList), [{"id": number, "name": name} for number, name in lists.items()])
        for target, values in rows:
            made = select(*(one if isinstance(one, ColumnElement) else literal(one) for one in values.values()))
            columns: list[Any] = list(values)
            filled = insert(getattr(target, "__table__", target)).from_select(columns, made.select_from(series))
            connection.execute(filled)
        totals = {state: ROWS // 2 // RARE for state in others(TRACE_STATES, "sent") if state != "queued"}
        connection.execute(update(Mailing).where(Mailing.id == FIRST).values(total=ROWS // 2, sent=ROWS // 3, **totals))
        for statement in indexes:
            connection.execute(text(statement.replace(":", "\\:")))
        if not is_sqlite:
            connection.execute(text("ANALYZE"))  # as autovacuum does; an office on SQLite has no statistics
        connection.commit()
    engine.dispose()


BEFORE_SQLITE = (
    "PRAGMA journal_mode = OFF",
    "PRAGMA synchronous = OFF",
    "PRAGMA cache_size = -400000",
    f"""CREATE TEMPORARY TABLE series AS
        WITH RECURSIVE s (n) AS (SELECT {FIRST} UNION ALL SELECT n + 1 FROM s WHERE n < {LAST})
        SELECT n, strftime('%Y-%m-%d %H\\:%M\\:%f000', 'now', (n - {LAST}) || ' minutes') AS at FROM s""",
)
BEFORE_POSTGRESQL = (
    "SET session_replication_role = replica",  # nothing is looked up that we know
    "SET maintenance_work_mem = '256MB'",
    f"""CREATE TEMPORARY TABLE series AS
        SELECT n, now() - ({LAST} - n) * interval '1 minute' AS at FROM generate_series({FIRST}, {LAST}) AS n""",
)


def without_indexes(connection: Connection) -> list[str]:
    """Drop the indexes that are no constraints; returns the statements that bring them back, which is faster."""
    if connection.dialect.name == "postgresql":
        found = connection.execute(
            text("SELECT 'INDEX', indexname, indexdef FROM pg_indexes WHERE indexname LIKE 'ix_%'")
        ).all()
        made = []
    else:
        found = connection.execute(
            text("SELECT type, name, sql FROM sqlite_master WHERE type IN ('index', 'trigger') AND sql IS NOT NULL")
        ).all()
        made = [f"INSERT INTO {name}_search ({name}_search) VALUES ('rebuild')" for name in SEARCHED]
    for kind, name, _ in found:
        connection.execute(text(f"DROP {kind} {name}"))
    return [*made, *(statement for _, _, statement in found)]


# --- who opens its pages, and what the database reads for them


def rows_read(connection: Connection, sql: str, values: Any) -> tuple[int, str]:
    """Return how many rows the database reads for a statement, and how it goes about it."""
    if connection.dialect.name == "postgresql":
        plan = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {sql}", values).scalar_one()
        return max(
            (rows_of(node), node.get("Relation Name", "") + " " + node["Node Type"]) for node in nodes(plan[0]["Plan"])
        )
    driver = connection.connection.dbapi_connection
    assert driver is not None
    steps = 0

    def hundred_more() -> None:
        nonlocal steps
        steps += 100

    driver.set_progress_handler(hundred_more, 100)
    try:
        driver.execute(sql, values).fetchall()
    finally:
        driver.set_progress_handler(None, 0)
    how = "; ".join(row[3] for row in driver.execute(f"EXPLAIN QUERY PLAN {sql}", values))
    if any(row[1] == "Count" for row in driver.execute(f"EXPLAIN {sql}", values)):
        return ROWS, f"{how}; counts a whole table in one step"
    return steps // STEPS_OF_A_ROW, how


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the nodes of a plan of PostgreSQL."""
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


def rows_of(node: dict[str, Any]) -> int:
    """Return how many rows a node of a plan looked at, those included that it threw away."""
    thrown_away = sum(value for name, value in node.items() if name.startswith("Rows Removed by"))
    return int((node["Actual Rows"] + thrown_away) * node["Actual Loops"])


@dataclass
class Office:
    """An office with large tables and two admins: nearly everything belongs to ``many``, hardly anything to ``few``."""

    app: Flask
    few: Visitor
    many: Visitor
    asked: list[tuple[str, Any]] = field(default_factory=list)
    judged: set[str] = field(default_factory=set)

    def listen(self) -> None:
        """Write down each SELECT from now on."""

        def note(_connection: Any, _cursor: Any, sql: str, values: Any, *_: Any) -> None:
            if sql.startswith(("SELECT", "WITH")):
                self.asked.append((sql, values))

        with self.app.app_context():
            event.listen(db.engine, "before_cursor_execute", note)

    def too_much(self, path: str, visitor: Visitor, codes: Collection[int] = (200,)) -> list[str]:
        """Open a page and return which of its statements read too much, and how."""
        self.asked.clear()
        answer = visitor.client.get(path, buffered=False)
        assert answer.status_code in codes, f"{path}: {answer.status}"
        list(islice(answer.response, 2))  # the whole page, or the first lines of a file
        answer.close()
        return list(self.judged_too_much(path))

    def judged_too_much(self, what: str) -> Iterator[str]:
        """Yield those of the statements written down that read too much, and how; each is judged once."""
        asked = list(self.asked)
        with self.app.app_context(), db.engine.connect() as connection:
            for sql, values in asked:
                if f"{sql} {values}" in self.judged:
                    continue
                self.judged.add(f"{sql} {values}")
                rows, how = rows_read(connection, sql, values)
                if rows > MOST_READ and not any(part in sql for part in MAY_COUNT):
                    yield f"{what} reads {rows:,} rows ({how}) by {' '.join(sql.split())} with {values}"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def office(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with kept_app(request, tmp_path_factory.mktemp("office")) as app:
        office = Office(app, Visitor(app).as_role("admin"), Visitor(app).as_role("marketing"))
        with app.app_context():
            ids = [
                db.session.scalar(select(User.id).where(User.email == email))
                for email in ("admin@home.test", "marketing@home.test")
            ]
            fill(*ids)
            db.session.execute(update(User).values(role="admin"))
            db.session.commit()
        for view in app.extensions["admin"][0]._views:
            view.rows_per_page = ROWS_SHOWN
        office.listen()
        yield office


# --- the lists of the admin: all that they declare


def addresses(view: AdminView) -> Iterator[str]:
    """Yield what a list of the admin may be asked for: each sort with each filter, far inside, and as a file."""
    start = f"/admin/{view.path}/"
    chosen = [""] + [f"{one.name}={option}" for one in view.filters for option, _ in one.options()]
    chosen += [f"search={WORD}"] if view.searchable else []
    if view.searchable and db.engine.dialect.name == "postgresql":  # each LIKE is several steps of SQLite's machine
        yield f"{start}export?search={TWO_LETTERS}"
    sorts = [view.default_sort, *(name for name in view.sortable if name != view.default_sort.lstrip("-"))]
    for narrowed in chosen:
        yield f"{start}export?{narrowed}"
        for sort in sorts:
            order = Order(getattr(view.model, sort.lstrip("-")), view.key, sort.startswith("-"))
            mark = order.mark_of(db.session.get(view.model, MIDDLE))
            for place in ("", f"&after={mark}") if narrowed else ("", f"&after={mark}", f"&before={mark}"):
                yield f"{start}?{narrowed}&sort={sort}{place}"


@pytest.mark.parametrize("name", [view.__name__ for view in VIEWS])
def test_a_list_of_the_admin_reads_no_table_whole(office: Office, name: str) -> None:
    view = next(one for one in office.app.extensions["admin"][0]._views if type(one).__name__ == name)
    if view.small:
        return
    with office.app.test_request_context():
        assert db.session.get(view.model, LAST) is not None, "fill its table, in tables()"
        paths = list(addresses(view))
    assert [words for path in paths for words in office.too_much(path, office.few)] == []


# --- the pages that were made for their purpose

PAGES = (
    "/documents/{type}",
    "/documents/{type}?before={middle}",
    "/documents/{type}?stage={usual_stage}",
    "/documents/{type}?stage={rare_stage}",
    "/documents/{type}?failed=1",
    "/documents/{type}?mine=1",
    "/documents/{type}?mine=1&before={middle}",
    "/documents/{type}?mine=1&failed=1",
    "/documents/{type}?search={word}",
    "/documents/{type}?view=board",
    "/documents/{type}?view=board&mine=1",
    "/documents/{type}?view=board&failed=1",
    "/documents/{type}?view=board&search={word}",
    "/documents/{rare_type}",
    "/documents/{rare_type}?failed=1",
    "/documents/{rare_type}?mine=1",
    "/document/{first}",
    "/document/{middle}",
    "/document/{first}/chatter?posts=200",
    "/inbox",
    "/inbox?all=1",
    "/practice",
    "/practice?before={middle}",
    "/practice?recipient=many@x.test",
    "/practice?recipient=many@x.test&before={middle}",
    "/practice?recipient=few@x.test",
    "/mailings/",
    "/mailings/?before={middle}",
    "/mailings/?state=done",
    "/mailings/?state=draft",
    "/mailings/?state=draft&before={middle}",
    "/mailings/?search={word}",
    "/mailings/?search={word}&state=done",
    "/mailings/{first}",
    "/mailings/{first}?after={middle}",
    "/mailings/{first}?state=sent",
    "/mailings/{first}?state=sent&after={middle}",
    "/mailings/{first}?state=failed",
    "/mailings/{first}?search=p{middle}@x.test",
    "/admin/mailing-lists/edit?id={big}",
    "/admin/mailing-lists/edit?id={big}&after={mark}",
    "/admin/mailing-lists/edit?id={big}&before={mark}",
    "/admin/mailing-lists/edit?id={big}&state=subscribed",
    "/admin/mailing-lists/edit?id={big}&state=subscribed&after={mark}",
    "/admin/mailing-lists/edit?id={big}&state=pending",
    "/admin/mailing-lists/edit?id={big}&search={word}",
    "/admin/mailing-lists/edit?id={small}",
    "/admin/mailing-lists/edit?id={empty}",
    "/admin/mailing-lists/edit?id={small}&after={mark}",
    "/admin/contacts/edit?id={middle}",
    "/admin/contacts/edit?id={middle}&before={middle}",
    "/admin/contacts/edit?id={first}",
    "/admin/blacklist/details?id={middle}",
    "/admin/outgoing-mails/details?id={middle}",
    "/admin/outgoing-mails/server?id={middle}",
    "/admin/received-mails/details?id={middle}",
    "/admin/aliases/lookup/fixed_document_id?q={word}",
    "/admin/aliases/lookup/fixed_document_id?q=",
    "/events?after={middle}",
    "/events?after={last}",
)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_reads_no_table_whole(office: Office, path: str) -> None:
    with office.app.app_context():
        types = db.session.scalars(select(DocumentType).order_by(DocumentType.position)).all()
        stages = types[0].stages
        mark = Order(Subscription.contact_id, Subscription.contact_id).mark_of(db.session.get(Subscription, MIDDLE))
        path = path.format(
            type=types[0].code,
            rare_type=types[1].code,
            usual_stage=stages[-1].id,
            rare_stage=stages[0].id,
            first=FIRST,
            middle=MIDDLE,
            last=LAST,
            big=BIG,
            small=SMALL,
            empty=EMPTY,
            mark=mark,
            word=WORD,
        )
    readers = (office.few, office.many) if "mine" in path or "inbox" in path else (office.few,)
    assert [words for reader in readers for words in office.too_much(path, reader)] == []


def test_no_other_page_reads_a_table_whole(office: Office) -> None:
    rules = [rule for rule in office.app.url_map.iter_rules() if "GET" in (rule.methods or ()) and not rule.arguments]
    paths = sorted(rule.rule for rule in rules if rule.endpoint != "security.logout")
    assert [words for path in paths for words in office.too_much(path, office.few, (200, 302, 404))] == []


def test_a_report_of_a_failure_reads_no_table_whole(office: Office) -> None:
    office.asked.clear()
    with office.app.app_context():
        failures.record([Failure(f"p{MIDDLE}@x.test", "hard", "5.1.1", "no such user", recipient_id=MIDDLE)], now())
        db.session.rollback()
    assert len(office.asked) == 1
    assert list(office.judged_too_much("a report")) == []


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM contact WHERE language = 'es' LIMIT 1",
        "SELECT count(*) FROM contact",
        "SELECT count(*) FROM trace WHERE state = 'failed'",
        "SELECT * FROM document ORDER BY title LIMIT 1",
        "SELECT * FROM post ORDER BY id LIMIT 1 OFFSET 100000",
    ],
)
def test_reading_a_table_whole_would_be_noticed(office: Office, statement: str) -> None:
    with office.app.app_context(), db.engine.connect() as connection:
        assert rows_read(connection, statement, ())[0] > MOST_READ

"""Lists and forms as ``AdminView`` makes them: who may, what is taken, what stays secret, what does not grow slow."""

import csv
import html
import io
import json
import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask, flash
from flask_babel import lazy_gettext as _l
from sqlalchemy import event, func, select, text

from mail.settings.clock import now
from models import Contact, DocumentType, OutgoingServer, Post, Stage, User, db
from tests.integration.frontdesk import counted_statements
from tests.web import Visitor, account, forget, kept_app, words
from webapp import meanwhile
from webapp.admin import list_pages, listing
from webapp.admin.base import ActionRefused, AdminView, Button, ChoiceFilter, Empty, FieldGroup, Since, YesNo

ONE_DATABASE = pytest.mark.parametrize("kept", ["sqlite"], indirect=True)  # what has nothing to do with databases

SECRET = "swordfish-7321"


class ServerView(AdminView):
    model, page, path = OutgoingServer, "sample_servers", "sample-servers"
    title, one = _l("Sample servers"), _l("sample server")
    small = True
    columns = ("name", "host", "encryption", "priority", "active")
    exported = ("name", "host", "password", "comment")
    sortable, searchable = ("name", "priority"), ("name", "host")
    filters = (
        YesNo("active", _l("Active")),
        ChoiceFilter("encryption", _l("Encryption"), (("none", "None"), ("tls", "TLS"))),
    )
    default_sort = "priority"
    groups = (
        FieldGroup(_l("Connection"), ("name", "host", "port", "encryption", "password", "active", "comment")),
        FieldGroup(_l("Deep"), ("verify_tls", "priority"), developer=True),
    )
    help = {"host": _l("The name of the server.")}
    examples = {"host": "smtp.example.com"}
    choices = {"encryption": (("none", "None"), ("starttls", "STARTTLS"), ("tls", "TLS"))}
    buttons = (
        Button("test", _l("Test it"), save_first=True),
        Button("stop", _l("Stop it"), when=lambda row: row.active),
        Button("no", _l("Refuse")),
    )
    empty = Empty("server", _l("No server yet"), _l("Add one."))

    def before_save(self, form, row, is_new):
        if row.host == "forbidden.example":
            raise ActionRefused("This host is forbidden.")

    def why_not_delete(self, row):
        return "Used in the setting Dedicated Server." if row.name == "used" else ""

    def press_test(self, row):
        flash(f"tested {row.host}", "success")

    def press_stop(self, row):
        row.active = False
        db.session.commit()

    def press_no(self, row):
        raise ActionRefused("Not today.")


class ContactView(AdminView):
    model, page, path = Contact, "sample_contacts", "sample-contacts"
    title, one = _l("Sample contacts"), _l("sample contact")
    roles = {"marketing", "admin"}
    columns = ("name", "address", "active")
    sortable, searchable = ("name", "id"), ("name", "address")
    filters = (YesNo("active", _l("Active")),)
    groups = (FieldGroup(_l("Person"), ("name", "address", "address_key", "created_at")),)
    details = ("name", "company")
    rows_per_page = 20


class StageView(AdminView):
    model, page, path = Stage, "sample_stages", "sample-stages"
    title, one = _l("Sample stages"), _l("sample stage")
    small = True
    columns = ("name", "type.name")
    groups = (FieldGroup(_l("Stage"), ("name", "position", "type_id")),)
    references = {"type_id": {"model": DocumentType, "search": ("name",), "required": True}}


class ReadOnlyView(AdminView):
    model, page, path = Stage, "sample_readonly", "sample-readonly"
    title, one = _l("Read only"), _l("stage")
    small, can_delete = True, False
    columns = ("name",)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def kept(request, tmp_path_factory) -> Iterator[Flask]:
    with kept_app(request, tmp_path_factory.mktemp("office")) as made:
        for view in (ServerView(), ContactView(), StageView(), ReadOnlyView()):
            made.extensions["admin"][0].add_view(view)
        yield made


@pytest.fixture
def app(kept) -> Iterator[Flask]:
    yield kept
    forget(kept)


@pytest.fixture
def admin(app) -> Visitor:
    return Visitor(app).as_role("admin")


def servers(app: Flask, *names: str, **values) -> list[int]:
    with app.app_context():
        rows = [OutgoingServer(name=name, host=f"{name}.example", **values) for name in names]
        db.session.add_all(rows)
        db.session.commit()
        return [row.id for row in rows]


def server(app: Flask, number: int) -> OutgoingServer:
    with app.app_context():
        return db.session.get(OutgoingServer, number)


def contacts(app: Flask, count: int, start: int = 0) -> None:
    with app.app_context():
        rows = [
            {"name": f"Person {number % 7}", "address": f"p{number}@x.test", "address_key": f"p{number}@x.test"}
            for number in range(start, start + count)
        ]
        db.session.execute(
            Contact.__table__.insert(), [{"company": "", "language": "", "active": True} | row for row in rows]
        )
        db.session.commit()


def first_column(page: str) -> list[str]:
    return [re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"row-first[^>]*>(.*?)</td>", page, re.S)]


def link(page: str, rel: str) -> str:
    found = re.search(rf'rel="{rel}" href="([^"]+)"', page)
    return found[1].replace("&amp;", "&") if found else ""


FIELDS = {"name": "New", "host": "new.example", "port": "465", "encryption": "tls", "password": SECRET, "active": "y"}


# --- who may


@pytest.mark.parametrize("path", ["/", "/new", "/edit?id=1", "/export", "/lookup/host"])
@pytest.mark.parametrize(("role", "code"), [("", 302), ("user", 403), ("marketing", 403)])
@ONE_DATABASE
def test_a_list_for_admins_is_for_admins(app, role, code, path):
    visitor = Visitor(app).as_role(role) if role else Visitor(app)
    assert visitor.get(f"/admin/sample-servers{path}").status_code == code


def test_a_list_says_itself_who_may_see_it(app):
    assert Visitor(app).as_role("marketing").get("/admin/sample-contacts/").status_code == 200


POSTS = ["/new", "/edit?id=1", "/delete", "/action", "/press/test"]


@pytest.mark.parametrize("path", POSTS)
def test_nothing_is_changed_without_the_token(app, admin, path):
    servers(app, "one")
    answer = admin.client.post(
        f"/admin/sample-servers{path}", data={**FIELDS, "id": "1", "rowid": "1", "action": "delete"}
    )
    assert answer.status_code == 400
    assert server(app, 1).host == "one.example"


@pytest.mark.parametrize("path", POSTS)
def test_nothing_is_changed_by_somebody_else(app, path):
    servers(app, "one")
    visitor = Visitor(app).as_role("user")
    answer = visitor.post(f"/admin/sample-servers{path}", {**FIELDS, "id": "1", "rowid": "1", "action": "delete"})
    assert answer.status_code == 403
    assert server(app, 1).host == "one.example"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/new", 404),
        ("/edit?id=1", 404),
        ("/details?id=1", 404),
        ("/ajax/lookup/", 404),
        ("/ajax/update/", 404),
        ("/export/csv/", 404),
    ],
)
def test_a_list_that_is_only_read_has_no_other_doors(app, admin, path, code):
    assert admin.get("/admin/sample-readonly/").status_code == 200
    assert admin.get(f"/admin/sample-readonly{path}").status_code == code
    assert admin.post("/admin/sample-readonly/delete", {"id": "1"}).status_code == 404


# --- forms


def test_a_row_is_made_and_changed(app, admin):
    assert admin.post("/admin/sample-servers/new", FIELDS).status_code == 302
    made = server(app, 1)
    assert (made.name, made.port, made.encryption, made.password, made.priority) == ("New", 465, "tls", SECRET, 10)
    assert admin.post("/admin/sample-servers/edit?id=1", {**FIELDS, "name": "Newer", "active": ""}).status_code == 302
    assert (server(app, 1).name, server(app, 1).active) == ("Newer", False)


def loaded(page: str) -> dict[str, str]:
    """What a form sends along about the values that it was made with."""
    return {"_loaded": html.unescape(re.search(r'name="_loaded" value="([^"]*)"', page)[1])}


def test_two_windows_on_a_row_undo_nothing(app, admin):
    servers(app, "one", password=SECRET)
    edit, given = "/admin/sample-servers/edit?id=1", {**FIELDS, "name": "one", "host": "one.example", "port": "587",
                                                      "encryption": "starttls", "password": ""}  # fmt: skip
    before = loaded(admin.get(edit).text)
    assert admin.post(edit, {**given, **before, "host": "two.example", "active": "y"}).status_code == 302
    # Another field: both changes stay.
    page = admin.post(edit, {**given, **before, "port": "2525"}, follow_redirects=True)
    assert "It stays as it is now: Host" in words(page)
    assert (server(app, 1).host, server(app, 1).port) == ("two.example", 2525)
    # The same field: it is said, what was typed stays, and is saved on a second try.
    page = admin.post(edit, {**given, **before, "host": "three.example"})
    assert "Somebody changed this to “two.example” meanwhile" in words(page)
    assert 'value="three.example"' in page.text and 'value="2525"' in page.text
    assert (server(app, 1).host, server(app, 1).password) == ("two.example", SECRET)
    again = {**given, **loaded(page.text), "host": "three.example", "port": "2525"}
    assert admin.post(edit, again).status_code == 302
    assert (server(app, 1).host, server(app, 1).port) == ("three.example", 2525)


def test_a_secret_leaves_no_mark_in_the_form(app, admin):
    servers(app, "one", password=SECRET)
    marks = json.loads(loaded(admin.get("/admin/sample-servers/edit?id=1").text)["_loaded"])
    assert "password" not in marks and meanwhile.mark(SECRET) not in marks.values() and "host" in marks


def test_a_choice_that_somebody_else_changed_is_named_by_its_words(app, admin):
    stages = "/admin/sample-stages/edit?id=1"
    with app.app_context():
        db.session.get(Stage, 1).position = 90
        db.session.commit()
    page = admin.get(stages).text
    with app.app_context():
        one = db.session.get(Stage, 1)
        given = {"name": one.name, "position": str(one.position)}
        other = db.session.scalars(select(DocumentType).where(DocumentType.id != one.type_id)).all()
        one.type_id = other[0].id
        db.session.commit()
        name, mine = str(other[0]), str(other[1].id)
    answer = admin.post(stages, {**given, **loaded(page), "type_id": mine})
    assert f"Somebody changed this to “{name}” meanwhile" in words(answer)


def test_help_and_example_stand_beside_the_field(admin):
    page = admin.get("/admin/sample-servers/new").text
    assert 'aria-describedby="host-help"' in page
    assert re.search(r'id="host-help">The name of the server\..*smtp\.example\.com', page)


def test_a_secret_can_be_written_and_never_read(app, admin):
    servers(app, "one", password=SECRET, comment="plain")
    for page in ("/", "/edit?id=1", "/export"):
        assert SECRET not in admin.get(f"/admin/sample-servers{page}").text
    assert "A value is stored" in admin.get("/admin/sample-servers/edit?id=1").text
    admin.post("/admin/sample-servers/edit?id=1", {**FIELDS, "password": ""})
    assert server(app, 1).password == SECRET
    admin.post("/admin/sample-servers/edit?id=1", {**FIELDS, "password": "another"})
    assert server(app, 1).password == "another"
    with app.app_context():
        assert "another" not in db.session.scalar(text("SELECT password FROM outgoing_server"))


def test_a_secret_that_was_typed_is_not_sent_back_with_an_error(admin):
    page = admin.post("/admin/sample-servers/new", {**FIELDS, "host": ""}).text
    assert SECRET not in page


def test_the_deep_fields_are_neither_shown_nor_taken_outside_of_developer_mode(app, admin):
    servers(app, "one")
    assert "verify_tls" not in admin.get("/admin/sample-servers/edit?id=1").text
    admin.post("/admin/sample-servers/edit?id=1", {**FIELDS, "priority": "1"})
    assert (server(app, 1).verify_tls, server(app, 1).priority) == (True, 10)
    admin.post("/developer-mode", {"on": "1"})
    assert "verify_tls" in admin.get("/admin/sample-servers/edit?id=1").text
    admin.post("/admin/sample-servers/edit?id=1", {**FIELDS, "priority": "1"})
    assert (server(app, 1).verify_tls, server(app, 1).priority) == (False, 1)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"host": ""}, "This field is required"),
        ({"port": "many"}, "Not a valid integer"),
        ({"encryption": "rot13"}, "Not a valid choice"),
        ({"host": "forbidden.example"}, "This host is forbidden."),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_saved(app, admin, wrong, words):
    servers(app, "one")
    answer = admin.post("/admin/sample-servers/edit?id=1", {**FIELDS, **wrong})
    assert answer.status_code == 200 and words in answer.text
    assert server(app, 1).host == "one.example"


def test_two_rows_that_may_not_be_alike_are_refused_in_words(app, admin):
    with app.app_context():
        type_id, position = db.session.execute(select(Stage.type_id, Stage.position)).first()
    answer = admin.post("/admin/sample-stages/new", {"name": "Again", "position": position, "type_id": type_id})
    assert answer.status_code == 200
    assert "an entry like this already exists" in answer.text
    assert "UNIQUE" not in answer.text and "duplicate key" not in answer.text


@pytest.mark.parametrize("number", ["0", "999", "abc", "", "1; DROP TABLE"])
def test_a_row_that_is_not_there_is_not_found(admin, number):
    assert admin.get("/admin/sample-servers/edit", query_string={"id": number}).status_code == 404


def test_a_moment_is_typed_in_the_reader_s_zone_and_kept_in_utc(app, admin):
    with app.app_context():
        db.session.execute(User.__table__.update().values(zone="America/Puerto_Rico"))
        db.session.commit()
    fields = {"name": "A", "address": "a@x.test", "address_key": "a@x.test", "created_at": "2026-03-31T09:30"}
    admin.post("/admin/sample-contacts/new", fields)
    with app.app_context():
        kept = db.session.execute(select(Contact.id, Contact.created_at).where(Contact.name == "A")).one()
    assert f"{kept.created_at:%H:%M%z}" == "13:30+0000"
    assert 'value="2026-03-31T09:30"' in admin.get(f"/admin/sample-contacts/edit?id={kept.id}").text


# --- references


def test_a_choice_with_search_asks_the_server(app, admin):
    found = admin.get("/admin/sample-stages/lookup/type_id?q=oppor").json
    assert [one["text"] for one in found] == ["Opportunity"]
    assert admin.get("/admin/sample-stages/lookup/type_id?q=%25").json == []
    assert admin.get("/admin/sample-stages/lookup/name").status_code == 404
    assert admin.get("/admin/sample-stages/lookup/nothing").status_code == 404


@pytest.mark.parametrize(("chosen", "saved"), [("1", True), ("999", False), ("", False), ("x", False)])
def test_only_what_exists_can_be_chosen(app, admin, chosen, saved):
    answer = admin.post("/admin/sample-stages/new", {"name": "Fresh", "position": "77", "type_id": chosen})
    assert answer.status_code == (302 if saved else 200)


# --- buttons, bulk actions, deleting


def test_a_button_that_saves_first_works_on_what_was_typed(app, admin):
    servers(app, "one")
    answer = admin.post("/admin/sample-servers/edit?id=1", {**FIELDS, "_then": "test"}, follow_redirects=True)
    assert "tested new.example" in answer.text
    answer = admin.post("/admin/sample-servers/edit?id=1", {**FIELDS, "host": "", "_then": "test"})
    assert "tested" not in answer.text and "Not saved" in answer.text


@pytest.mark.parametrize("name", ["delete", "nothing", "__init__", "test_connection"])
def test_only_declared_buttons_can_be_pressed(app, admin, name):
    servers(app, "one")
    assert admin.post(f"/admin/sample-servers/press/{name}", {"id": "1"}).status_code == 404


def test_a_button_is_there_while_it_makes_sense(app, admin):
    servers(app, "one")
    assert "Stop it" in admin.get("/admin/sample-servers/edit?id=1").text
    assert admin.post("/admin/sample-servers/press/stop", {"id": "1"}).status_code == 302
    assert "Stop it" not in admin.get("/admin/sample-servers/edit?id=1").text
    assert admin.post("/admin/sample-servers/press/stop", {"id": "1"}).status_code == 404
    answer = admin.post("/admin/sample-servers/press/no", {"id": "1"}, follow_redirects=True)
    assert "Not today." in answer.text


def test_what_is_used_stays_and_says_where(app, admin):
    servers(app, "used", "free")
    answer = admin.post("/admin/sample-servers/delete", {"id": "1"}, follow_redirects=True)
    assert "Used in the setting Dedicated Server." in answer.text
    answer = admin.post("/admin/sample-servers/delete", {"id": "2"}, follow_redirects=True)
    assert "free was deleted." in answer.text
    assert (server(app, 1) is None, server(app, 2) is None) == (False, True)


def test_what_others_point_at_stays_even_if_nobody_thought_of_it(app, admin):
    with app.app_context():
        contact = db.session.scalar(select(User.contact_id))
    answer = admin.post("/admin/sample-contacts/delete", {"id": contact}, follow_redirects=True)
    assert "is still in use" in answer.text


def test_ticked_rows_are_deleted_but_for_those_in_use(app, admin):
    ids = servers(app, "a", "used", "b", "c")
    answer = admin.post("/admin/sample-servers/action", {"action": "delete", "rowid": ids[:3]}, follow_redirects=True)
    assert "2 entries were deleted." in answer.text and "Used in the setting" in answer.text
    with app.app_context():
        assert db.session.scalars(select(OutgoingServer.name).order_by(OutgoingServer.id)).all() == ["used", "c"]


@pytest.mark.parametrize(("ticked", "code", "left"), [(20, 302, 5), (21, 400, 25)])
def test_no_more_rows_are_ticked_than_a_page_shows(app, admin, ticked, code, left):
    contacts(app, 25)
    with app.app_context():
        ids = db.session.scalars(select(Contact.id).where(Contact.name.like("Person %"))).all()
    answer = admin.post("/admin/sample-contacts/action", {"action": "delete", "rowid": ids[:ticked]})
    with app.app_context():
        people = select(func.count()).select_from(Contact).where(Contact.name.like("Person %"))
        assert (answer.status_code, db.session.scalar(people)) == (code, left)


@pytest.mark.parametrize(("action", "code"), [("delete", 302), ("explode", 404), ("", 404)])
def test_only_declared_actions_are_done(app, admin, action, code):
    assert admin.post("/admin/sample-servers/action", {"action": action}).status_code == code


# --- lists


def test_an_empty_list_says_what_to_do(app, admin):
    page = admin.get("/admin/sample-servers/").text
    assert "No server yet" in page and "Add one." in page and 'href="/admin/sample-servers/new"' in page
    servers(app, "one")
    page = admin.get("/admin/sample-servers/?search=zzz").text
    assert "No results" in page and "Nothing matches your search." in page and "Show all" in page
    assert "Nothing matches these filters." in admin.get("/admin/received-mails/?state=quarantined").text


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("", ["b", "a", "c"]),
        ("?sort=name", ["a", "b", "c"]),
        ("?sort=-name", ["c", "b", "a"]),
        ("?sort=password", ["b", "a", "c"]),
        ("?active=1", ["b", "a"]),
        ("?active=0", ["c"]),
        ("?active=perhaps", ["b", "a", "c"]),
        ("?encryption=tls", ["a"]),
        ("?encryption=rot13", ["b", "a", "c"]),
        ("?search=A.EXAM", ["a"]),
        ("?search=%25", []),
        ("?search=_", []),
        ("?search=b+example", ["b"]),
        ("?search=' OR 1=1 --", []),
        ("?search=a.exam&active=0", []),
    ],
)
def test_a_list_is_searched_filtered_and_sorted(app, admin, asked, found):
    servers(app, "a", priority=20, encryption="tls")
    servers(app, "b", priority=10)
    servers(app, "c", priority=30, active=False)
    assert first_column(admin.get(f"/admin/sample-servers/{asked}").text) == found


@pytest.mark.parametrize("sort", ["", "?sort=id", "?sort=name", "?sort=-name"])
def test_pages_show_every_row_once_there_and_back(app, admin, sort):
    contacts(app, 70)
    seen, forth, path = [], [], f"/admin/sample-contacts/{sort}"
    while path:
        page = admin.get(path).text
        forth.append(re.findall(r'name="rowid" value="(\d+)"', page))
        seen += forth[-1]
        path, last = link(page, "next"), page
    with app.app_context():
        assert sorted(map(int, seen)) == sorted(db.session.scalars(select(Contact.id)))
    back, path = [forth[-1]], link(last, "prev")
    while path:
        page = admin.get(path).text
        back.append(re.findall(r'name="rowid" value="(\d+)"', page))
        path = link(page, "prev")
    assert back[::-1] == forth


def test_a_row_that_comes_between_moves_nothing(app, admin):
    contacts(app, 30)
    page = admin.get("/admin/sample-contacts/?sort=-id").text
    following = link(page, "next")
    before = re.findall(r'name="rowid" value="(\d+)"', admin.get(following).text)
    contacts(app, 5, start=100)
    assert re.findall(r'name="rowid" value="(\d+)"', admin.get(following).text) == before


@pytest.mark.parametrize("mark", ["x", "W10", "W251bGwsIG51bGxd", "eyJhIjoxfQ", "%FF%FE", "WyJhIiwgImIiXQ"])
def test_a_mark_that_is_not_ours_shows_the_first_page(app, admin, mark):
    contacts(app, 30)
    answer = admin.get(f"/admin/sample-contacts/?sort=name&after={mark}")
    assert answer.status_code == 200
    assert len(first_column(answer.text)) == 20


def test_counting_stops(app, admin, monkeypatch):
    contacts(app, 60)
    monkeypatch.setattr(listing, "MOST_COUNTED", 50)
    assert "50+ entries" in admin.get("/admin/sample-contacts/").text
    assert "1 entry" in admin.get("/admin/sample-contacts/?search=p33@").text


def test_no_page_skips_rows_by_counting_them(app, admin):
    """No OFFSET, no count without a limit, no walk through the table: the database says how it looks for the rows."""
    contacts(app, 60)
    statements: list[tuple[str, object]] = []
    with app.app_context():
        engine = db.engine
        event.listen(engine, "before_cursor_execute", lambda *a: statements.append((a[2], a[3])))
    path = "/admin/sample-contacts/?sort=-name"
    for _ in range(3):
        page = admin.get(path).text
        path = link(page, "next")
    asked = [(sql, values) for sql, values in statements if "FROM contact" in sql and "user" not in sql]
    assert len(asked) == 6
    assert all("LIMIT" in sql for sql, _ in asked)
    # SQLite's dialect always says OFFSET; it is 0 then
    assert not [sql for sql, values in asked if "OFFSET" in sql and (engine.dialect.name != "sqlite" or values[-1])]
    if engine.dialect.name == "sqlite":
        with app.app_context():
            for sql, values in asked:
                plan = db.session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values).all()
                steps = " ".join(step[3] for step in plan)
                assert "USE TEMP B-TREE" not in steps and "INDEX" in steps, steps


class SortedWithoutIndex(ContactView):
    sortable = ("company",)


class SortedByWhatMayBeMissing(ContactView):
    sortable = ("address_key",)


class SearchedWithoutIndex(ContactView):
    searchable = ("language",)


class FilteredWithoutIndex(ContactView):
    model, sortable, searchable, groups = Post, (), (), ()
    filters = (Since("created_at", _l("Time")), ChoiceFilter("author_address", _l("Author")))


@pytest.mark.parametrize(
    "view", [SortedWithoutIndex, SortedByWhatMayBeMissing, FilteredWithoutIndex, SearchedWithoutIndex]
)
def test_a_large_list_that_would_scan_its_table_is_refused_at_the_start(app, view):
    with app.app_context(), pytest.raises(ValueError, match="no index"):
        view()


@pytest.mark.parametrize(("count", "pages"), [(3, [3]), (4, [4]), (5, [4, 1]), (8, [4, 4]), (9, [4, 4, 1])])
@pytest.mark.parametrize("sort", ["priority", "-name"])
def test_a_list_called_small_has_pages_when_it_is_not(app, admin, monkeypatch, count, pages, sort):
    monkeypatch.setattr(list_pages, "SMALL_PAGE", 4)
    names = [f"server {number}" for number in range(count)]
    servers(app, *names, priority=5)
    path, seen = f"/admin/sample-servers/?sort={sort}", []
    while path:
        page = admin.get(path).text
        seen.append(first_column(page))
        path = link(page, "next")
        assert f"{count} entries" in page
    assert [len(part) for part in seen] == pages
    assert sorted(name for part in seen for name in part) == names
    back = page
    for _ in pages[1:]:
        back = admin.get(link(back, "prev")).text
    assert first_column(back) == seen[0] and not link(back, "prev")


# --- export


def test_the_export_has_what_the_list_shows_without_secrets_and_formulas(app, admin):
    servers(app, "=HYPERLINK(1)", password=SECRET, comment="+1")
    servers(app, "plain", password=SECRET, comment='a, "b"\nc')
    servers(app, "off", active=False)
    answer = admin.get("/admin/sample-servers/export?active=1")
    assert answer.mimetype == "text/csv"
    rows = list(csv.reader(io.StringIO(answer.text.removeprefix("\ufeff"))))
    assert rows == [
        ["Name", "Host", "Comment"],
        ["'=HYPERLINK(1)", "'=HYPERLINK(1).example", "'+1"],
        ["plain", "plain.example", 'a, "b"\nc'],
    ]


def test_a_large_export_is_read_in_batches(app, admin, monkeypatch):
    contacts(app, 230)
    monkeypatch.setattr(list_pages, "batches", lambda rows, order: listing.batches(rows, order, 50))
    lines = admin.get("/admin/sample-contacts/export").text.splitlines()
    with app.app_context():
        assert len(lines) == 1 + db.session.scalar(select(func.count()).select_from(Contact))


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("=1+1", "'=1+1"),
        ("+49 123", "'+49 123"),
        ("-5", "'-5"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t'=1"),
        ("\r=1", "'\r'=1"),
        (-5, -5),
        ("a=b", "a=b"),
        (None, ""),
    ],
)
def test_no_spreadsheet_runs_what_we_export(value, kept):
    assert listing.guarded(value) == kept


# --- live pages


def test_an_open_page_hears_what_happened_after_it(app, admin):
    from models import Event

    with app.app_context():
        Event.add(["thread:1"], now() - timedelta(hours=1))
        db.session.commit()
    after = int(re.search(r'name="events-after" content="(\d+)"', admin.get("/nowhere").text)[1])
    assert after > 0
    with app.app_context():
        Event.add(["thread:7"], now())
        db.session.rollback()  # what did not happen is not told
        Event.add(["thread:2", "mailing:3"], now())
        Event.add(["thread:2"], now())
        with counted_statements(app) as statements:
            db.session.commit()
        assert len(statements) == 1
    told = admin.get(f"/events?after={after}").json
    assert [topic for _id, topic in told["events"]] == ["thread:2", "mailing:3"]
    assert told["after"] == after + 2
    assert Visitor(app).get("/events").status_code == 302


def test_whoever_has_an_account_only_for_mail_sees_lists_in_words(app):
    """The look of an account does not depend on its role: the page answers and names the person."""
    visitor = Visitor(app)
    visitor.log_in(account(app, "marketing", name="<b>Max</b>"))
    page = visitor.get("/admin/sample-contacts/").text
    assert "&lt;b&gt;Max&lt;/b&gt;" in page and "<b>Max</b>" not in page

"""Email Marketing in the browser: who may, what is promised before sending, and what each button does."""

import html
import io
import re
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import event, func, select, update

from mail.documents.documents import start_document
from mail.mailing import blacklist, doubts, mailing, ready
from mail.outgoing import failures
from mail.outgoing.failures import Failure
from mail.sentences import why
from mail.settings import office, parameters
from mail.settings.clock import now
from models import (
    BlacklistedAddress,
    Bounce,
    Chunk,
    Contact,
    DocumentType,
    Mailing,
    MailingList,
    OutgoingMail,
    OutgoingServer,
    Post,
    Recipient,
    Subscription,
    Trace,
    User,
    db,
)
from tests.integration.mass import HTML, add_contacts, draft, prepare, states
from tests.web import Visitor, account, words

# What has nothing to do with databases.
ONE_DATABASE = pytest.mark.parametrize("_kept_pages", ["sqlite"], indirect=True)

PAGES = (
    "/mailings/",
    "/mailings/new",
    "/mailings/1",
    "/mailings/1/edit",
    "/mailings/1/body",
    "/admin/mailing-lists/",
    "/admin/mailing-lists/new",
    "/admin/mailing-lists/edit?id=1",
    "/admin/mailing-lists/subscription?subscription=1",
    "/admin/mailing-lists/export",
    "/admin/contacts/",
    "/admin/contacts/edit?id=2",
    "/admin/contacts/export",
    "/admin/blacklist/",
    "/admin/blacklist/new",
    "/admin/blacklist/details?id=1",
    "/admin/blacklist/remove?id=1",
    "/admin/blacklist/export",
    "/email-marketing/settings",
)
FORM = {"subject": "News", "from_address": "Ann <ann@office.test>", "html": "<p>Hello</p>", "server": "0"}


@pytest.fixture
def app(pages) -> Flask:
    return pages


@pytest.fixture
def mary(app) -> Visitor:
    return Visitor(app).as_role("marketing")


def make(app: Flask, count: int = 3, **values) -> int:
    """Add a list with contacts and a mailing to it, and return the mailing's id."""
    with app.app_context():
        return draft(add_contacts(count), **values)


def server(name: str, **values) -> int:
    """Add an outgoing server; the caller has a context."""
    row = OutgoingServer(name=name, host=f"{name}.example", **values)
    db.session.add(row)
    db.session.commit()
    office.forget()
    return row.id


def row(app: Flask, model, number: int = 1):
    with app.app_context():
        return db.session.get(model, number)


def count(app: Flask, model) -> int:
    with app.app_context():
        return db.session.scalar(select(func.count()).select_from(model))


# --- who may


@pytest.fixture
def furnished(app) -> Flask:
    make(app)
    with app.app_context():
        blacklist.add("gone@example.org", "manual", now())
        db.session.commit()
    return app


@pytest.mark.parametrize(("role", "code"), [("marketing", 200), ("admin", 200), ("user", 403), ("", 302)])
def test_marketing_is_for_those_who_do_it(furnished, role, code):
    visitor = Visitor(furnished)
    if role:
        visitor.as_role(role)
    assert {path: visitor.get(path).status_code for path in PAGES} == dict.fromkeys(PAGES, code)


@pytest.mark.parametrize(
    "path",
    [
        "/mailings/new",
        "/mailings/check",
        "/mailings/1/send",
        "/mailings/1/delete",
        "/admin/mailing-lists/add",
        "/admin/blacklist/new",
        "/email-marketing/settings",
    ],
)
@ONE_DATABASE
def test_others_can_do_nothing_either(furnished, path):
    assert Visitor(furnished).as_role("user").post(path, FORM | {"id": "1", "lines": "x@y.test"}).status_code == 403
    assert row(furnished, Mailing).state == "draft"


def test_no_form_is_taken_without_its_token(furnished, mary):
    for path in ("/mailings/new", "/mailings/1/send", "/admin/blacklist/new", "/email-marketing/settings"):
        assert mary.client.post(path, data=FORM).status_code == 400


def test_names_that_are_markup_stay_words(app, mary):
    with app.app_context():
        list_id = add_contacts(1, "<script>list</script>", lambda number: "<script>name</script>")
        number = draft(list_id, subject="<script>subject</script>", from_address='"<script>" <a@office.test>')
        prepare(mailing.send(number, now()).id, now())
        key = db.session.scalar(select(Contact.address_key).where(Contact.name.contains("script")))
        blacklist.add(key, "manual", now(), mailing_id=number)
        db.session.commit()
    for path in (*PAGES, "/admin/contacts/edit?id=3"):
        answer = mary.get(path)
        assert answer.mimetype != "text/html" or "<script>" not in answer.text, path


# --- the editor


def test_the_start_of_a_new_mailing_can_be_sent(app, mary):
    with app.app_context():
        add_contacts(2)
    page = mary.get("/mailings/new").text
    source = html.unescape(re.search(r"<textarea[^>]*name=\"html\"[^>]*>(.*?)</textarea>", page, re.S)[1]).lstrip()
    assert '{{ contact.first_name or "there" }}' in source and "{{ unsubscribe_url }}" in source
    answer = mary.post("/mailings/new", FORM | {"html": source, "lists": "1"})
    assert answer.status_code == 302
    assert "2 recipients" in words(mary.get(answer.location))
    with app.app_context():
        assert ready.problems(db.session.get(Mailing, 1)) == []


def test_a_draft_is_kept_as_it_was_written(app, mary):
    with app.app_context():
        lists = [add_contacts(0, name) for name in ("B", "A", "C")]
        relay = server("relay")
    form = FORM | {
        "preview": "Look",
        "reply_to": "b@office.test",
        "lists": [lists[0], lists[1]],
        "server": relay,
        "html": "<p>1</p>\r\n<p>2</p>",
    }
    number = int(mary.post("/mailings/new", form).location.rpartition("/")[2])
    with app.app_context():
        found = db.session.get(Mailing, number)
        assert (found.subject, found.preview, found.reply_to, found.html) == (
            "News",
            "Look",
            "b@office.test",
            "<p>1</p>\n<p>2</p>",
        )
        assert {one.name for one in found.lists} == {"A", "B"} and found.forced_server_id == relay
        assert db.session.get(User, found.created_by_id).email == "marketing@home.test"
    page = mary.get(f"/mailings/{number}/edit").text
    assert re.findall(r'<option selected value="(\d+)">', page) == [str(lists[1]), str(lists[0]), str(relay)]
    mary.post(f"/mailings/{number}/edit", form | {"subject": "Other", "lists": [lists[2]], "server": "0"})
    with app.app_context():
        found = db.session.get(Mailing, number)
        assert (found.subject, [one.name for one in found.lists], found.forced_server_id) == ("Other", ["C"], None)


def test_two_windows_on_a_mailing_undo_nothing(app, mary):
    number = make(app, subject="News")
    edit, page = f"/mailings/{number}/edit", mary.get(f"/mailings/{number}/edit").text
    with app.app_context():
        found = db.session.get(Mailing, number)
        given = {"subject": "News", "from_address": found.from_address, "html": found.html, "server": "0",
                 "lists": [one.id for one in found.lists]}  # fmt: skip
    given["_loaded"] = html.unescape(re.search(r'name="_loaded" value="([^"]*)"', page)[1])
    assert mary.post(edit, {**given, "html": "<p>Ours</p>", "lists": []}).status_code == 302
    page = mary.post(edit, {**given, "subject": "Good news"}, follow_redirects=True)
    assert "It stays as it is now: Recipients, HTML" in words(page)
    with app.app_context():
        found = db.session.get(Mailing, number)
        assert (found.subject, found.html, found.lists) == ("Good news", "<p>Ours</p>", [])
    page = mary.post(edit, {**given, "html": "<p>Mine</p>"})
    assert "Somebody changed this to “<p>Ours</p>” meanwhile" in html.unescape(page.text)
    assert "&lt;p&gt;Mine&lt;/p&gt;</textarea>" in page.text
    with app.app_context():
        assert db.session.get(Mailing, number).html == "<p>Ours</p>"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"from_address": "nobody"}, "Enter an address"),
        ({"reply_to": "not an address"}, "Enter an address"),
        ({"subject": "x" * 501}, "longer than 500"),
        ({"server": "99"}, "Not a valid choice"),
        ({"lists": "99"}, "not a valid choice"),
    ],
)
def test_what_can_not_be_kept_is_said_at_its_field(app, mary, wrong, said):
    answer = mary.post("/mailings/new", FORM | wrong)
    assert said in words(answer) and "Not saved" in words(answer)
    assert count(app, Mailing) == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "1 contact is subscribed"),
        ({"lists": []}, "No list selected yet"),
        ({"subject": "{{ contact.first_name }}!"}, "Ann!"),
        ({"subject": "{{ contact.firstname }}"}, "Subject, line 1: the merge field “contact.firstname” does not exist"),
        ({"preview": "{{ contact.name"}, "Preview text, line 1: the merge field that begins with “{{ contact.name”"),
        ({"html": "<p>\n<p>\n{{ 1 + 1 }}"}, "HTML, line 3: “{{ 1 + 1 }}” is not a merge field"),
        ({"html": "{{ config }}"}, "HTML, line 1: the merge field “config” does not exist"),
        ({"html": "{{ company.address }}"}, "1 contact is subscribed"),
        ({"from_address": "Ann <ann@office.test>"}, "“practice mailbox”"),
        ({"from_address": "Ann <ann@elsewhere.test>"}, '"Ann" <notifications@office.test>'),
        ({"from_address": "Ann <ann@elsewhere.test>"}, "its domain may not allow us to send from it"),
        ({"from_address": "nobody"}, "no usable From"),
    ],
)
def test_the_editor_says_what_becomes_of_it(app, mary, given, said):
    with app.app_context():
        list_id = add_contacts(1)
    assert said in words(mary.post("/mailings/check", FORM | {"lists": [list_id]} | given))


def test_looking_changes_nothing(app, mary):
    mary.post("/mailings/check", FORM)
    mary.post("/mailings/preview", FORM)
    assert count(app, Mailing) == 0


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ({}, "Hello Ann"),
        ({"as": "bare"}, "Hello there"),
        ({"as": "nobody"}, "Hello Ann"),
        ({"part": "text"}, "<pre"),
        ({"html": "{{ oops }}"}, "the merge field"),
        ({"from_address": ""}, "Hello Ann"),
    ],
)
def test_the_preview_is_the_mail_and_can_do_nothing(app, mary, asked, shown):
    answer = mary.post("/mailings/preview", FORM | {"html": HTML} | asked)
    assert shown in answer.text
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox ") and "allow-scripts" not in policy and "default-src 'none'" in policy


def test_the_page_has_the_frame_of_what_is_saved(app, mary):
    make(app)
    assert 'src="/mailings/1/body"' in mary.get("/mailings/1").text
    answer = mary.get("/mailings/1/body")
    assert "Hello Ann" in answer.text and '<base target="_blank">' in answer.text
    assert "News for ann.lee@example.com" in mary.get("/mailings/1/body?part=text").text


# --- before sending: the exact number


def test_the_number_before_sending_is_the_number_that_is_sent(app, mary):
    with app.app_context():
        first = add_contacts(12)
        second = MailingList(name="Second")
        db.session.add(second)
        db.session.flush()
        people = db.session.scalars(select(Contact).where(Contact.address.startswith("r")).order_by(Contact.id)).all()
        at = now()
        for one in people[:3]:  # on both lists: once
            db.session.add(Subscription(list_id=second.id, contact_id=one.id, state="subscribed", at=at))
        set_state = update(Subscription).where(Subscription.list_id == first)
        gone = [people[2].id, people[3].id, people[4].id]  # the first of them is subscribed to the second list
        db.session.execute(set_state.where(Subscription.contact_id.in_(gone)).values(state="unsubscribed"))
        db.session.execute(set_state.where(Subscription.contact_id == people[5].id).values(state="pending"))
        people[6].active = False
        people[7].address = people[7].address_key = None
        blacklist.add(people[8].address, "manual", at)
        blacklist.add(people[9].address, "manual", at)
        db.session.commit()
        number = draft(first, second.id)
    page = mary.get(f"/mailings/{number}").text
    shown = words(mary.get(f"/mailings/{number}"))
    assert "5 recipients" in shown
    said = "2 unsubscribed, 2 on the blacklist, 1 not confirmed yet, 1 archived, 1 without an email address"
    assert f"Send this mailing to 5 recipients? Excluded: {said}." in html.unescape(page)
    mary.post(f"/mailings/{number}/send")
    with app.app_context():
        prepare(number, now())
        sent = db.session.scalars(select(Trace.state).where(Trace.mailing_id == number)).all()
        assert (sent.count("queued"), sent.count("cancelled")) == (5, 7)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"subject": " "}, "The subject is empty"),
        ({"html": ""}, "has no content yet"),
        ({"html": "{{ x }}"}, "the merge field “x” does not exist"),
    ],
)
def test_what_is_missing_is_said_and_nothing_is_sent(app, mary, values, said):
    number = make(app, **values)
    page = mary.get(f"/mailings/{number}")
    assert said in words(page) and f"/mailings/{number}/send" not in page.text
    assert said in words(mary.post(f"/mailings/{number}/send", follow_redirects=True))
    assert row(app, Mailing, number).state == "draft"


def test_nobody_left_is_said_before(app, mary):
    number = make(app, 1)
    with app.app_context():
        blacklist.add("r0@example.test", "manual", now())
        db.session.commit()
    page = mary.get(f"/mailings/{number}")
    assert "All contacts on the chosen lists are excluded" in words(page) and "/send" not in page.text


def test_sending_stores_why_it_goes_this_way(app, mary):
    with app.app_context():
        server("daily", priority=10)
        relay = server("bulk", priority=20)
        parameters.put("mailing.dedicated_server", str(relay), now())
        db.session.commit()
        number = draft(add_contacts(2), from_address="Ann <ann@elsewhere.test>")
    assert "bulk" in words(mary.get(f"/mailings/{number}"))
    answer = words(mary.post(f"/mailings/{number}/send", follow_redirects=True))
    assert "The mailing is being sent" in answer and "This email is assigned to the server “bulk”" in answer
    assert '"Ann" <notifications@office.test>' in answer
    assert row(app, Mailing, number).server_id == relay


# --- the time


@pytest.mark.parametrize(
    ("at", "state"),
    [("", "draft"), ("tomorrow", "draft"), ("2020-01-01T10:00", "draft"), ("2031-07-01T09:30", "scheduled")],
)
def test_a_mailing_waits_for_its_time_in_the_zone_of_who_wrote_it(app, at, state):
    visitor = Visitor(app)
    address = account(app, "marketing")
    with app.app_context():
        db.session.execute(update(User).values(zone="America/Puerto_Rico"))
        db.session.commit()
    visitor.log_in(address)
    number = make(app)
    visitor.post(f"/mailings/{number}/send", {"when": "later", "at": at})
    found = row(app, Mailing, number)
    assert found.state == state
    assert found.scheduled_at == (datetime(2031, 7, 1, 13, 30, tzinfo=UTC) if state == "scheduled" else None)


def test_what_is_scheduled_can_be_taken_back(app, mary):
    number = make(app)
    mary.post(f"/mailings/{number}/send", {"when": "later", "at": "2031-07-01T09:30"})
    assert "Back to draft" in words(mary.get(f"/mailings/{number}"))
    mary.post(f"/mailings/{number}/draft")
    assert row(app, Mailing, number).state == "draft"
    assert "has already started" in words(mary.post(f"/mailings/{number}/draft", follow_redirects=True))


# --- on its way


@pytest.mark.parametrize(
    ("before", "button", "after", "said"),
    [
        ("sending", "pause", "paused", "Paused by Marketing"),
        ("paused", "resume", "sending", "Sending"),
        ("sending", "cancel", "cancelled", "Cancelled by Marketing"),
        ("paused", "cancel", "cancelled", "Cancelled by Marketing"),
        ("scheduled", "cancel", "cancelled", "Cancelled by Marketing"),
        ("done", "pause", "done", "can't be paused"),
        ("sending", "resume", "sending", "can't be resumed"),
        ("done", "cancel", "done", "can't be cancelled"),
        ("done", "send", "done", "Duplicate it"),
        ("sending", "draft", "sending", "has already started"),
        ("done", "delete", "done", "Only drafts can be deleted"),
    ],
)
def test_a_button_does_what_fits_the_state(app, mary, before, button, after, said):
    number = make(app)
    with app.app_context():
        mailing.send(number, now())
        prepare(number, now())
        db.session.execute(update(Mailing).values(state=before))
        db.session.commit()
    assert said in words(mary.post(f"/mailings/{number}/{button}", follow_redirects=True))
    assert row(app, Mailing, number).state == after


@pytest.mark.parametrize(
    ("state", "offered"),
    [
        ("draft", {"duplicate", "delete", "send", "send_test"}),
        ("scheduled", {"duplicate", "draft", "cancel", "send_test"}),
        ("sending", {"duplicate", "pause", "cancel", "send_test"}),
        ("paused", {"duplicate", "resume", "cancel", "send_test"}),
        ("paused before it began", {"duplicate", "resume", "cancel", "draft", "send_test"}),
        ("done", {"duplicate", "send_test"}),
        ("cancelled", {"duplicate", "send_test"}),
    ],
)
def test_only_what_can_be_done_is_offered(app, mary, state, offered):
    number = make(app)
    with app.app_context():
        state, _, not_begun = state.partition(" ")
        begun = None if not_begun or state in ("draft", "scheduled") else now()
        db.session.execute(update(Mailing).values(state=state, scheduled_at=now(), started_at=begun))
        db.session.commit()
    page = mary.get(f"/mailings/{number}").text
    found = set(re.findall(rf'<form method="post" action="/mailings/{number}/(\w+)"', page))
    assert found == {"test" if one == "send_test" else one for one in offered}
    edit = mary.get(f"/mailings/{number}/edit")
    assert edit.status_code == (200 if state == "draft" else 302)


def test_a_copy_is_a_draft_of_its_own(app, mary):
    number = make(app, subject="First", html="<p>Words</p>")
    with app.app_context():
        db.session.execute(update(Mailing).values(state="done", sent=3, total=3))
        db.session.commit()
    answer = mary.post(f"/mailings/{number}/duplicate")
    assert answer.location == f"/mailings/{number + 1}/edit"
    copy = row(app, Mailing, number + 1)
    assert (copy.subject, copy.html, copy.state, copy.total) == ("First", "<p>Words</p>", "draft", 0)


def test_a_draft_goes_without_a_trace(app, mary):
    number = make(app)
    assert "was deleted" in words(mary.post(f"/mailings/{number}/delete", follow_redirects=True))
    assert mary.get(f"/mailings/{number}").status_code == 404


def test_the_page_counts_and_tells_of_trouble(app, mary):
    number = make(app, 200)
    with app.app_context():
        at = now()
        mailing.send(number, at)
        prepare(number, at)
        traces = db.session.scalars(select(Trace.id).order_by(Trace.id)).all()
        for place, trace_id in enumerate(traces[:150]):
            sent = at - timedelta(seconds=(150 - place) / 10)
            db.session.execute(update(Trace).where(Trace.id == trace_id).values(state="sent", sent_at=sent))
        db.session.execute(update(Mailing).values(sent=150))
        db.session.commit()
    shown = words(mary.get(f"/mailings/{number}"))
    assert "150 of 200 processed" in shown and "10 per second, about 5 seconds left" in shown
    with app.app_context():
        waits = {"why": why("unreachable", host="mx.test"), "next_try_at": now() + timedelta(seconds=40), "tries": 2}
        db.session.execute(update(Mailing).values(**waits))
        db.session.commit()
    shown = words(mary.get(f"/mailings/{number}?part=state", headers={"X-Fragment": "1"}))
    assert "Waiting; next attempt in" in shown and "mx.test" in shown and "per second" not in shown


def test_recipients_are_found_by_state_and_address_and_each_stands_on_one_page(app, mary):
    number = make(app, 70)
    with app.app_context():
        mailing.send(number, now())
        prepare(number, now())
        some = select(Trace.id).order_by(Trace.id).offset(5).limit(30)
        failed = {
            "state": "failed",
            "code": 550,
            "reply": "5.1.1 no such user",
            "why": why("address_unusable", address="x"),
        }
        db.session.execute(update(Trace).where(Trace.id.in_(db.session.scalars(some).all())).values(failed))
        db.session.execute(update(Mailing).values(failed=30))
        db.session.commit()

    def all_pages(path: str) -> list[str]:
        seen = []
        while path:
            page = mary.get(path).text
            seen += re.findall(r"<small>(r\d+@example\.test)</small>", page)
            found = re.search(r'rel="next" href="([^"]+)"', page)
            path = html.unescape(found[1]) if found else ""
        return seen

    everybody = all_pages(f"/mailings/{number}")
    assert sorted(everybody) == sorted(f"r{i}@example.test" for i in range(70))
    assert all_pages(f"/mailings/{number}?state=failed") == everybody[5:35]
    shown = words(mary.get(f"/mailings/{number}?state=failed"))
    assert "550 5.1.1 no such user" in shown
    assert all_pages(f"/mailings/{number}?search=R33@example.test") == ["r33@example.test"]
    assert "No matching recipients" in words(mary.get(f"/mailings/{number}?search=nobody@x.test"))


@pytest.mark.parametrize(
    ("before", "form", "after", "said", "left"),
    [
        ("done", {"what": "again"}, "sending", "2 emails are being sent again", {"deferred": 2, "sent": 1}),
        (
            "sending",
            {"what": "again", "trace": "1"},
            "sending",
            "1 email is being sent again",
            {"deferred": 1, "unknown": 1},
        ),
        ("paused", {"what": "again"}, "paused", "2 emails are being sent again", {"deferred": 2}),
        ("done", {"what": "leave"}, "done", "2 emails will not be sent again", {"unknown": 2}),
        ("done", {"what": "arrived"}, "done", "2 emails are marked as sent", {"sent": 3}),
        (
            "cancelled",
            {"what": "arrived", "trace": "1"},
            "cancelled",
            "1 email is marked as sent",
            {"unknown": 1, "sent": 2},
        ),
        ("done", {"what": "again", "trace": "3"}, "done", "0 emails are being sent again", {"unknown": 2, "sent": 1}),
        ("cancelled", {"what": "again"}, "cancelled", "nothing more is sent", {"unknown": 2}),
    ],
)
def test_a_person_decides_about_mails_in_doubt(app, mary, before, form, after, said, left):
    number = make(app)
    with app.app_context():
        mailing.send(number, now())
        prepare(number, now())
        db.session.execute(update(Trace).values(state="unknown", why=why("trace_in_doubt")))
        db.session.execute(update(Trace).where(Trace.id == 3).values(state="sent", why=None))
        db.session.execute(update(Mailing).values(state=before, unknown=2, sent=1))
        db.session.commit()
    page = mary.get(f"/mailings/{number}?state=unknown").text
    assert page.count("</svg> Don't send again") == (0 if before == "cancelled" else 2)
    assert said in words(mary.post(f"/mailings/{number}/doubts", form, follow_redirects=True))
    with app.app_context():
        found = states(number)
        assert {name: found[name] for name in left} == left
        assert {name: getattr(db.session.get(Mailing, number), name) for name in left} == left
        assert db.session.get(Mailing, number).state == after
        mailing.tend(now())
        waiting = db.session.scalars(select(Chunk.pass_number).where(Chunk.state == "waiting", Chunk.pass_number > 1))
        assert waiting.all() == ([2] if after == "sending" else [])


def test_who_left_a_doubt_stays_written_down(app, mary):
    number = make(app)
    with app.app_context():
        mailing.send(number, now())
        prepare(number, now())
        db.session.execute(update(Trace).values(state="unknown", why=why("trace_in_doubt")))
        db.session.execute(update(Mailing).values(state="done", unknown=3))
        db.session.commit()
        assert doubts.resolve_doubts(number, "leave", now(), trace_id=1) == 1
        assert doubts.resolve_doubts(number, "leave", now()) == 2
        assert doubts.resolve_doubts(number, "leave", now()) == 0


def test_the_list_costs_the_same_however_many_mailings_it_shows(app, mary):
    def statements() -> int:
        seen = []
        with app.app_context():
            engine = db.engine
        listener = lambda *arguments: seen.append(arguments[2])  # noqa: E731
        event.listen(engine, "before_cursor_execute", listener)
        mary.get("/mailings/")
        event.remove(engine, "before_cursor_execute", listener)
        return len(seen)

    make(app)
    mary.get("/mailings/")
    few = statements()
    with app.app_context():
        for number in range(25):
            draft(1, subject=f"No. {number}")
    assert statements() == few


def test_older_mailings_are_on_the_next_page(app, mary):
    with app.app_context():
        list_id = add_contacts(0)
        for number in range(33):
            draft(list_id, subject=f"No. {number:02}")
    first = mary.get("/mailings/").text
    further = html.unescape(re.search(r'rel="next" href="([^"]+)"', first)[1])
    titles = re.findall(r"No\. \d\d", first) + re.findall(r"No\. \d\d", mary.get(further).text)
    assert titles == [f"No. {number:02}" for number in reversed(range(33))]
    assert re.findall(r"No\. \d\d", mary.get("/mailings/?search=no.+07").text) == ["No. 07"]
    assert "No results" in words(mary.get("/mailings/?state=paused"))


# --- the test mail


def test_a_test_mail_goes_by_the_same_way_and_counts_nowhere(app, mary):
    with app.app_context():
        relay = server("bulk", priority=20)
        parameters.put("mailing.dedicated_server", str(relay), now())
        db.session.commit()
    number = make(app)
    answer = mary.post(f"/mailings/{number}/test", {"address": "Boss <boss@home.test>"}, follow_redirects=True)
    assert "The test is being sent to boss@home.test" in words(answer)
    with app.app_context():
        mail = db.session.scalar(select(OutgoingMail))
        assert (mail.kind, mail.subject, mail.server_id) == ("test", "[Test] News for Ann", relay)
        assert db.session.scalars(select(Recipient.address)).all() == ["boss@home.test"]
        assert db.session.get(Mailing, number).total == 0


@pytest.mark.parametrize(("address", "html_source"), [("", HTML), ("nobody", HTML), ("a@b.test", "{{ x }}")])
def test_a_test_mail_that_can_not_be_made_says_why(app, mary, address, html_source):
    number = make(app, html=html_source)
    answer = words(mary.post(f"/mailings/{number}/test", {"address": address}, follow_redirects=True))
    assert "Enter an email address" in answer or "the merge field" in answer
    assert count(app, OutgoingMail) == 0


# --- lists


def test_pasted_people_come_on_the_list_and_each_other_line_says_why_not(app, mary):
    mary.post("/admin/mailing-lists/new", {"name": "Friends", "active": "y"})
    lines = "Ann Lee <ann@example.com>\nbob@example.com\nnothing\nbob@EXAMPLE.com\n\na@x.test, Ann, b@x.test"
    answer = words(mary.post("/admin/mailing-lists/add", {"id": "1", "lines": lines}))
    assert "2 contacts were added; 2 are new contacts; 3 lines were skipped." in answer
    assert "Line 3: nothing There is no email address on this line" in answer and "is already on line 2" in answer
    page = words(mary.get("/admin/mailing-lists/edit?id=1"))
    assert "Ann Lee ann@example.com Subscribed" in page and "who pasted the address" in page
    assert "2 contacts were already on the list" in words(
        mary.post("/admin/mailing-lists/add", {"id": "1", "lines": lines.split("nothing")[0]}, follow_redirects=True)
    )


@pytest.mark.parametrize(
    ("octets", "added"),
    [
        ("Name;E-Mail;Firma\r\nJürgen Ott;j@x.test;Ott GmbH\r\n".encode("cp1252"), "1 contact was added"),
        ("Vorname\tNachname\tE-Mail\r\nJürgen\tOtt\tj@x.test\r\n".encode("utf-16"), "1 contact was added"),
        (b"PK\x03\x04 a workbook", "Save it as CSV"),
        (b"\n", "The file is empty"),
        (b"x" * 1_100_000, "nothing was imported"),
    ],
)
def test_a_file_comes_on_a_list(app, mary, octets, added):
    mary.post("/admin/mailing-lists/new", {"name": "Friends", "active": "y"})
    given = {"id": "1", "file": (io.BytesIO(octets), "people.csv")}
    answer = mary.post("/admin/mailing-lists/add", given, content_type="multipart/form-data", follow_redirects=True)
    assert added in words(answer)
    with app.app_context():
        names = db.session.scalars(select(Contact.name).where(Contact.address_key == "j@x.test")).all()
    assert names == (["Jürgen Ott"] if b"PK" not in octets and len(octets) in range(10, 1000) else [])


def test_a_contact_without_a_name_gets_the_pasted_one_and_others_keep_theirs(app, mary):
    mary.post("/admin/mailing-lists/new", {"name": "Friends", "active": "y"})
    mary.post("/admin/mailing-lists/add", {"id": "1", "lines": "ann@x.test; Bob <bob@x.test>"})
    mary.post("/admin/mailing-lists/add", {"id": "1", "lines": "Ann Lee;ann@x.test\nRobert;bob@x.test"})
    with app.app_context():
        found = db.session.execute(select(Contact.address, Contact.name).where(Contact.address.like("%@x.test")))
        assert dict(found.all()) == {"ann@x.test": "Ann Lee", "bob@x.test": "Bob"}


def test_what_is_corrected_keeps_the_names_of_its_columns(app, mary):
    mary.post("/admin/mailing-lists/new", {"name": "Friends", "active": "y"})
    lines = "Company;Email;Name;Phone\nX Ltd;ann@x,test;Ann;1\nY Ltd;bob@y.test;Bob;2"
    page = mary.post("/admin/mailing-lists/add", {"id": "1", "lines": lines}).text
    assert "These columns were not read: Phone." in page
    again = html.unescape(re.search(r"<textarea[^>]*>(.*?)</textarea>", page, re.DOTALL)[1])
    assert again.strip().split("\n") == ["Company;Email;Name;Phone", "X Ltd;ann@x,test;Ann;1"]
    mary.post("/admin/mailing-lists/add", {"id": "1", "lines": again.replace(",", ".")})
    with app.app_context():
        found = db.session.execute(select(Contact.name, Contact.company).where(Contact.address.in_(("ann@x.test",))))
        assert found.all() == [("Ann", "X Ltd")]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("a@x.test, b@x.test", "Enter one address only"),
        ("a@x.test; b@x.test", "Enter one address only"),
        ("Ann <a@x.test>", "Enter the address alone: a@x.test"),
        ("a@x", ""),
        ("nobody", "This is not an email address"),
        ("a@", "This is not an email address"),
    ],
)
def test_the_form_of_a_contact_takes_one_address(app, mary, address, said):
    answer = mary.post("/admin/contacts/new", {"name": "Ann", "address": address, "active": "y"})
    assert said in words(answer)
    assert (answer.status_code == 302) is (not said)


def test_unsubscribing_by_hand_wants_a_reason_and_lasts(app, mary):
    with app.app_context():
        add_contacts(1)
    path = "/admin/mailing-lists/subscription"
    assert "Enter a reason" in words(mary.post(path, {"subscription": "1", "state": "unsubscribed", "reason": " "}))
    mary.post(path, {"subscription": "1", "state": "unsubscribed", "reason": "asked by phone."})
    page = words(mary.get("/admin/mailing-lists/edit?id=1"))
    assert "Unsubscribed by Marketing: asked by phone." in page
    pasted = mary.post("/admin/mailing-lists/add", {"id": "1", "lines": "r0@example.test"})
    assert "unsubscribed from this list and is not added again" in words(pasted)
    removed = mary.post("/admin/mailing-lists/remove", {"subscription": "1"}, follow_redirects=True)
    assert "this is kept" in words(removed) and row(app, Subscription).state == "unsubscribed"
    mary.post(path, {"subscription": "1", "state": "unsubscribed", "reason": "pressed twice"})
    assert row(app, Subscription).state == "unsubscribed"
    mary.post(path, {"subscription": "1", "state": "subscribed", "reason": "changed her mind"})
    assert row(app, Subscription).state == "subscribed"


def test_a_mistake_is_taken_from_the_list(app, mary):
    with app.app_context():
        add_contacts(2)
    assert "was removed from the list" in words(
        mary.post("/admin/mailing-lists/remove", {"subscription": "1"}, follow_redirects=True)
    )
    assert count(app, Subscription) == 1 and row(app, Subscription) is None


@pytest.mark.parametrize("state", ["draft", "scheduled", "sending", "paused", "done"])
def test_a_list_in_use_stays_and_says_where(app, mary, state):
    number = make(app, subject="Spring <offers>")
    with app.app_context():
        db.session.execute(update(Mailing).values(state=state))
        db.session.commit()
    deleted = mary.post("/admin/mailing-lists/delete", {"id": "1"}, follow_redirects=True)
    assert row(app, MailingList) is not None
    off = mary.post("/admin/mailing-lists/edit?id=1", {"name": "Everybody"}, follow_redirects=True)
    if state == "done":
        assert "Turn the list off instead" in words(deleted)
        assert row(app, MailingList).active is False
        return
    for answer in (deleted, off):
        assert "while an unfinished mailing uses it: Spring <offers>" in words(answer)
        assert f'<a href="/mailings/{number}">Spring &lt;offers&gt;</a>' in answer.text
    assert row(app, MailingList).active is True


def test_an_unused_list_can_go_with_its_subscriptions(app, mary):
    with app.app_context():
        add_contacts(2)
    assert "was deleted" in words(mary.post("/admin/mailing-lists/delete", {"id": "1"}, follow_redirects=True))
    assert count(app, Subscription) == 0


def test_a_name_is_there_once(app, mary):
    for name in ("Friends", " friends "):
        answer = mary.post("/admin/mailing-lists/new", {"name": name, "active": "y"})
    assert "A list with this name already exists" in words(answer) and count(app, MailingList) == 1


def test_a_list_that_is_off_is_not_offered(app, mary):
    with app.app_context():
        add_contacts(0, "Present")
        add_contacts(0, "Past")
        db.session.execute(update(MailingList).where(MailingList.name == "Past").values(active=False))
        db.session.commit()
    page = words(mary.get("/mailings/new"))
    assert "Present (0)" in page and "Past" not in page


@pytest.mark.parametrize(
    ("asked", "found"),
    [("", 5), ("&state=subscribed", 3), ("&state=unsubscribed", 2), ("&search=r4", 1), ("&search=zzzz", 0)],
)
def test_people_of_a_list_are_found(app, mary, asked, found):
    with app.app_context():
        add_contacts(5)
        db.session.execute(update(Subscription).where(Subscription.id <= 2).values(state="unsubscribed"))
        db.session.commit()
    page = mary.get(f"/admin/mailing-lists/edit?id=1{asked}").text
    assert len(re.findall(r"<small>r\d@example\.test</small>", page)) == found


# --- contacts


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"name": "Ann  Lee", "address": " Ann.Lee+x@EXAMPLE.com "}, ("Ann Lee", "ann.lee+x@example.com")),
        ({"name": "Büro", "address": "info@XN--BCHER-KVA.example"}, ("Büro", "info@bücher.example")),
        ({"name": "Without", "address": ""}, ("Without", None)),
        ({"name": "", "address": "only@example.com"}, ("", "only@example.com")),
    ],
)
def test_a_contact_is_kept_by_its_normalised_address(app, mary, given, kept):
    assert mary.post("/admin/contacts/new", given | {"active": "y"}).status_code == 302
    with app.app_context():
        found = db.session.scalar(select(Contact).order_by(Contact.id.desc()).limit(1))
        assert (found.name, found.address_key) == kept


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": "x", "address": "nobody"}, "This is not an email address"),
        ({"name": "x", "address": "Ann <ann@example.com>"}, "Enter the address alone: ann@example.com"),
        ({"name": " ", "address": ""}, "Enter a name or an address"),
        ({"name": "x", "address": "MARKETING@home.test"}, "Another contact already has this address: Marketing"),
    ],
)
def test_a_contact_that_can_not_be_kept_says_why(app, mary, given, said):
    before = count(app, Contact)
    answer = mary.post("/admin/contacts/new", given | {"active": "y"})
    assert said in words(answer) and count(app, Contact) == before
    if "Another" in said:
        assert re.search(r'<a href="/admin/contacts/edit\?id=\d+">Marketing</a>', answer.text)


@pytest.mark.parametrize(
    ("role", "address", "changed"), [("marketing", "new@x.test", 0), ("admin", "new@x.test", 1), ("admin", "", 0)]
)
def test_mail_of_a_colleague_is_not_led_elsewhere(app, role, address, changed):
    visitor = Visitor(app).as_role(role)
    colleague = account(app, "user", "boss@home.test", "Boss")
    with app.app_context():
        number = db.session.scalar(select(User.contact_id).where(User.email == colleague))
    visitor.post(f"/admin/contacts/edit?id={number}", {"name": "Boss", "address": address, "active": "y"})
    assert (row(app, Contact, number).address == "new@x.test") is bool(changed)


def test_the_page_of_a_contact_tells_how_its_mail_arrives(app, mary):
    with app.app_context():
        list_id = add_contacts(1)
        contact = db.session.scalar(select(Contact).where(Contact.address_key == "r0@example.test"))
        for days in (6, 4, 2):
            trace = Trace(mailing_id=draft(list_id, subject=f"{days} days ago"), contact_id=contact.id, state="bounced")
            db.session.add(trace)
            db.session.flush()
            at = now() - timedelta(days=days)
            db.session.add(Bounce(address_key=contact.address_key, kind="hard", at=at, counted=True, trace_id=trace.id))
        failures.record([Failure(contact.address, "hard", "", "unknown")], now())
        blacklist.add(contact.address, "manual", now())
        document = start_document(db.session.scalar(select(DocumentType)), "A chair", now())
        document.contact_id = contact.id
        db.session.commit()
        number = contact.id
    page = words(mary.get(f"/admin/contacts/edit?id={number}"))
    assert "3 of 5 bounces in 30 days, 4 of 7 days apart." in page
    assert "1 email to this address was not delivered, and none has come from it since." in page
    with app.app_context():
        failures.heard_from(["r0@example.test"])
        db.session.commit()
    assert "not delivered" not in words(mary.get(f"/admin/contacts/edit?id={number}"))
    assert "Mailings skip this address" in page and "Everybody Subscribed" in page and "A chair" in page
    assert "2 days ago Bounced" in page and "6 days ago Bounced" in page
    assert "blacklisted" in words(mary.get("/admin/contacts/?search=Reader0"))


def test_who_got_mailings_or_has_an_account_is_archived_not_deleted(app, mary):
    number = make(app, 2)
    with app.app_context():
        mailing.send(number, now())
        prepare(number, now())
        ids = db.session.scalars(select(Contact.id).order_by(Contact.id)).all()
        db.session.add(Contact(name="Free", address="free@x.test", address_key="free@x.test"))
        db.session.commit()
    said = [words(mary.post("/admin/contacts/delete", {"id": id}, follow_redirects=True)) for id in ids[:2]]
    assert "has an account" in said[0] and "Archive the contact instead" in said[1]
    assert "Free was deleted" in words(mary.post("/admin/contacts/delete", {"id": ids[-1] + 1}, follow_redirects=True))
    mary.post("/admin/contacts/action", {"action": "archive", "rowid": [ids[1], ids[2]]})
    assert row(app, Contact, ids[1]).active is False
    mary.post("/admin/contacts/action", {"action": "restore", "rowid": [ids[1]]})
    assert (row(app, Contact, ids[1]).active, row(app, Contact, ids[2]).active) == (True, False)


@pytest.mark.parametrize(
    ("role", "given", "said"),
    [
        ("marketing", {"name": "Somebody"}, "only an administrator may change it"),
        ("marketing", {"address": "other@home.test"}, "only an administrator may change it"),
        ("marketing", {"active": ""}, "who would get no emails"),
        ("marketing", {"company": "Example Ltd"}, ""),
        ("admin", {"active": ""}, "who would get no emails"),
        ("admin", {"address": ""}, "without an address they get no emails"),
        ("admin", {"name": "Somebody", "address": "other@home.test"}, ""),
    ],
)
def test_the_contact_of_a_colleague_keeps_getting_emails(app, role, given, said):
    visitor = Visitor(app).as_role(role)
    boss = account(app, "admin", "boss@home.test", "Boss")
    with app.app_context():
        number = db.session.scalar(select(Contact.id).where(Contact.address_key == boss))
    form = {"name": "Boss", "address": boss, "active": "y"} | given
    form = {name: value for name, value in form.items() if name != "active" or value}
    answer = visitor.post(f"/admin/contacts/edit?id={number}", form)
    assert said in words(answer) and (answer.status_code == 302) is (not said)
    kept = row(app, Contact, number)
    assert said == "" or (kept.name, kept.address, kept.active) == ("Boss", boss, True)


@pytest.mark.parametrize("role", ["marketing", "admin"])
def test_archiving_many_leaves_colleagues(app, role):
    visitor = Visitor(app).as_role(role)
    with app.app_context():
        add_contacts(1)
        ids = db.session.scalars(select(Contact.id).order_by(Contact.id)).all()
    answer = visitor.post("/admin/contacts/action", {"action": "archive", "rowid": ids}, follow_redirects=True)
    assert "has an account here and would get no emails" in words(answer) and "1 contact was archived" in words(answer)
    with app.app_context():
        assert db.session.scalars(select(Contact.active).order_by(Contact.id)).all() == [True, False]


def test_a_time_that_is_set_or_waited_for_names_its_zone(app):
    visitor = Visitor(app)
    address = account(app, "marketing")
    with app.app_context():
        db.session.execute(update(User).values(zone="America/New_York"))
        db.session.commit()
    visitor.log_in(address)
    number = make(app)
    assert "New York time" in words(visitor.get(f"/mailings/{number}"))
    visitor.post(f"/mailings/{number}/send", {"when": "later", "at": "2031-07-01T09:00"})
    for page in ("/mailings/", f"/mailings/{number}"):
        assert "9:00 AM (New York)" in words(visitor.get(page))
    assert row(app, Mailing, number).scheduled_at == datetime(2031, 7, 1, 13, 0, tzinfo=UTC)


def test_the_editor_counts_subscribers_up_to_a_limit(app, mary, monkeypatch):
    monkeypatch.setattr("models.contact.MOST_COUNTED", 3)
    monkeypatch.setattr("webapp.pages.mailings.MOST_COUNTED", 3)
    with app.app_context():
        lists = [add_contacts(5, "Many"), db.session.scalar(select(MailingList.id))]
        few = MailingList(name="Few")
        db.session.add(few)
        db.session.flush()
        for contact_id in db.session.scalars(select(Contact.id).order_by(Contact.id.desc()).limit(2)):
            db.session.add(Subscription(list_id=few.id, contact_id=contact_id, state="subscribed", at=now()))
        db.session.commit()
        lists = [lists[0], few.id]
    page = words(mary.get("/mailings/new"))
    assert "Many (3+)" in page and "Few (2)" in page
    for chosen, said in (([lists[1]], "2 contacts are"), (lists, "3+ contacts are")):
        assert said in words(mary.post("/mailings/check", FORM | {"lists": chosen}))


# --- the blacklist


def test_an_address_is_blacklisted_by_hand_with_its_reason_in_both_logs(app, mary):
    with app.app_context():
        add_contacts(1)
    path = "/admin/blacklist/new"
    assert "Enter a reason" in words(mary.post(path, {"lines": "r0@example.test", "reason": " "}))
    assert "Enter at least one address" in words(mary.post(path, {"lines": " ", "reason": "x"}))
    lines = 'R0@example.test\nElse One <else@x.test>\nnot an address\nr0@example.test\n"x@y.test";"manual"'
    answer = words(mary.post(path, {"lines": lines, "reason": "asked by letter."}))
    assert "3 addresses were added; 2 lines were skipped." in answer
    assert "Line 3: not an address" in answer
    with app.app_context():
        keys = db.session.scalars(select(BlacklistedAddress.address_key).order_by(BlacklistedAddress.id)).all()
        assert set(keys) == {"r0@example.test", "else@x.test", "x@y.test"}
        assert db.session.scalar(select(func.count()).select_from(Post)) == 4  # one on the contact's thread as well
        contact = db.session.scalar(select(Contact).where(Contact.address_key == "r0@example.test"))
    for page in ("/admin/blacklist/details?id=1", f"/admin/contacts/edit?id={contact.id}"):
        assert "Blacklisted by Marketing: asked by letter." in words(mary.get(page))


def test_of_many_lines_none_is_lost(app, mary, monkeypatch):
    monkeypatch.setattr("mail.mailing.blacklist.MOST_LINES", 3)
    monkeypatch.setattr("mail.mailing.lists.MOST_LINES", 3)
    mary.post("/admin/mailing-lists/new", {"name": "Friends", "active": "y"})
    places = (
        ("/admin/blacklist/new", {"reason": "asked"}, BlacklistedAddress),
        ("/admin/mailing-lists/add", {"id": "1"}, Subscription),
    )
    for path, given, kept in places:
        lines = "\n".join(["a@x.test", "@" + "wrong " * 30, *(f"{name}@x.test" for name in "bcdefg")])
        before = count(app, kept)
        for added, not_read in ((3, 4), (6, 1), (7, 0)):
            page = mary.post(path, {**given, "lines": lines}).text
            lines = html.unescape(re.search(r"<textarea[^>]*>(.*?)</textarea>", page, re.DOTALL)[1])
            assert count(app, kept) - before == added
            assert f"{not_read} line" in page or not not_read
        assert lines.strip() == "@" + "wrong " * 29 + "wrong"


def test_a_file_that_is_too_large_is_not_read_in_part(app, mary):
    many = ("Jürgen <a@x.test>\n" * 56_000).encode()  # in characters it would be small enough
    given = {"lines": "", "reason": "asked", "file": (io.BytesIO(many), "many.csv")}
    answer = mary.post("/admin/blacklist/new", given, content_type="multipart/form-data")
    assert "nothing was imported" in words(answer)
    assert count(app, BlacklistedAddress) == 0


def test_taking_an_address_off_wants_a_reason_that_stays(app, mary):
    with app.app_context():
        add_contacts(1)
        blacklist.add("r0@example.test", "manual", now())
        db.session.commit()
        contact_id = db.session.scalar(select(Contact.id).where(Contact.address_key == "r0@example.test"))
    assert "Enter a reason" in words(mary.post("/admin/blacklist/remove", {"id": "1"}))
    assert row(app, BlacklistedAddress) is not None
    assert mary.get("/admin/blacklist/remove?id=1").status_code == 200 and row(app, BlacklistedAddress) is not None
    mary.post("/admin/blacklist/remove", {"id": "1", "reason": "mailbox fixed."})
    assert row(app, BlacklistedAddress) is None
    log = words(mary.get(f"/admin/contacts/edit?id={contact_id}"))
    assert "Removed from the blacklist by Marketing: mailbox fixed." in log
    for path in ("/admin/blacklist/delete", "/admin/blacklist/edit?id=1"):
        assert mary.post(path, {"id": "1"}).status_code == 404


def test_what_was_exported_can_be_read_back_in(app, mary):
    with app.app_context():
        for name in ("a", "b", "c"):
            blacklist.add(f"{name}@x.test", "complaint", now())
        db.session.commit()
    exported = mary.get("/admin/blacklist/export").data
    assert b"reported our email as spam" in exported
    with app.app_context():
        db.session.execute(db.delete(BlacklistedAddress))
        db.session.commit()
    given = {"lines": "", "reason": "read back", "file": (io.BytesIO(exported), "blacklist.csv")}
    answer = mary.post("/admin/blacklist/new", given, content_type="multipart/form-data", follow_redirects=True)
    assert "3 addresses were added." in words(answer)
    assert count(app, BlacklistedAddress) == 3


@pytest.mark.parametrize(
    ("asked", "found"),
    [("", ["b@y.test", "a@x.test"]), ("?search=y.test", ["b@y.test"]), ("?reason=manual", ["b@y.test"])],
)
def test_entries_are_found_with_their_origin(app, mary, asked, found):
    number = make(app, subject="Spring offers")
    with app.app_context():
        blacklist.add("a@x.test", "complaint", now() - timedelta(days=1), mailing_id=number)
        blacklist.add("b@y.test", "manual", now(), mailing_id=number)
        db.session.commit()
    page = mary.get(f"/admin/blacklist/{asked}").text
    assert re.findall(r'class="row-main"[^>]*>([^<]+)', page) == found
    assert page.count(f'<a href="/mailings/{number}">Spring offers</a>') == len(found)


# --- settings


@pytest.mark.parametrize(
    ("transactional", "bulk", "warnings"),
    [
        ({"priority": 10}, {"priority": 20}, []),
        ({"priority": 10, "from_filter": "office.test"}, {"priority": 20, "from_filter": "news.office.test"}, []),
        ({"priority": 20}, {"priority": 20}, [" is 20"]),
        ({"priority": 20}, {"priority": 10}, ["accepts every From"]),
        ({"priority": 10, "from_filter": "office.test"}, {"priority": 20}, ["accepts every From"]),
        (
            {"priority": 20, "from_filter": "office.test"},
            {"priority": 10},
            ["accepts every From", "must have the lower"],
        ),
        ({"priority": 10}, {"priority": 20, "from_filter": "office.test"}, ["“bulk” has precedence"]),
        (
            {"priority": 10, "from_filter": "x.test"},
            {"priority": 5, "from_filter": "y.test"},
            ["first server"],
        ),
        ({"priority": 10, "active": False}, {"priority": 20}, ["accepts every From"]),
    ],
)
def test_the_settings_warn_when_daily_mail_would_go_the_way_of_mailings(app, mary, transactional, bulk, warnings):
    with app.app_context():
        server("daily", **transactional)
        dedicated = server("bulk", **bulk)
    mary.post("/email-marketing/settings", {"dedicated": "y", "server": dedicated})
    page = mary.get("/email-marketing/settings")
    alerts = re.findall(r'class="alert alert-warning.*?</div>', page.text, re.S)
    shown = html.unescape(" ".join(alerts))
    assert (len(alerts) == 0) == (warnings == [])
    for words_of_it in warnings:
        assert words_of_it in shown
    assert "must include" in words(page)


def test_two_windows_on_the_settings_undo_nothing(app, mary):
    with app.app_context():
        relay = server("bulk")
    page = "/email-marketing/settings"
    loaded = {"_loaded": html.unescape(re.search(r'name="_loaded" value="([^"]*)"', mary.get(page).text)[1])}
    mary.post(page, {**loaded, "dedicated": "y", "server": relay, "postal_address": ""})
    said = mary.post(page, {**loaded, "server": "0", "postal_address": "Street 1"}, follow_redirects=True)
    assert "It stays as it is now: Dedicated Server, Outgoing server for mailings" in words(said)
    with app.app_context():
        assert (parameters.DEDICATED_SERVER.get(), parameters.COMPANY_ADDRESS.get()) == (relay, "Street 1")
    said = mary.post(page, {**loaded, "server": "0", "postal_address": "Street 2"})
    assert "Somebody changed this to “Street 1” meanwhile" in words(said) and "Street 2</textarea>" in said.text


def test_the_dedicated_server_is_chosen_and_given_up(app, mary):
    with app.app_context():
        off = server("off", active=False)
        relay = server("bulk")

    def kept() -> int:
        with app.app_context():
            return parameters.DEDICATED_SERVER.get()

    for form in ({"dedicated": "y", "server": "0"}, {"dedicated": "y", "server": off}):
        answer = mary.post("/email-marketing/settings", form)
        assert "Choose the server for mailings" in words(answer) and kept() == 0
    form = {"dedicated": "y", "server": relay, "postal_address": "My Company\r\nStreet 1\n\nTown "}
    assert "Saved" in words(mary.post("/email-marketing/settings", form, follow_redirects=True)) and kept() == relay
    with app.app_context():
        assert parameters.COMPANY_ADDRESS.get() == "My Company, Street 1, Town"
    assert "the Dedicated Server bulk" in words(mary.get("/mailings/new"))
    with app.app_context():
        db.session.execute(update(OutgoingServer).values(active=False))
        db.session.commit()
    assert "no mailing can be sent" in words(mary.get("/email-marketing/settings"))
    mary.post("/email-marketing/settings", {"server": relay})
    assert kept() == 0


def test_without_a_server_of_ones_own_the_settings_say_what_to_do(app, mary):
    page = words(mary.get("/email-marketing/settings"))
    assert "Create two" in page and "An administrator does that" in page and "Dedicated Server" in page

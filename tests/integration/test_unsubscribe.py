"""The links in a mailing: nothing changes by looking, one click is enough, and only our own tokens do anything."""

import re

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from mail.incoming import flow, intake
from mail.mailing import mailing, ready
from mail.queue.lease import WorkerLease
from mail.settings import office
from mail.settings.tokens import TokenKind
from mail.transport.mailbox import FetchedMail
from models import Mailing, ReceivedMail, Subscription, Trace, db
from tests.integration.frontdesk import mail
from tests.integration.mass import NOW, add_contacts, add_server, draft, mailing_of, prepare


@pytest.fixture
def web(pages: Flask) -> Flask:
    return pages


@pytest.fixture
def visitor(web: Flask) -> FlaskClient:
    """Somebody with a browser and no account."""
    return web.test_client()


@pytest.fixture
def trace_id(web: Flask) -> int:
    """A recipient of a mailing to one list."""
    with web.app_context():
        add_server(2525)
        id = draft(add_contacts(1, "Garden news"))
        mailing.send(id, NOW)
        prepare(id, NOW)
        return db.session.scalars(select(Trace.id)).one()


def link(web: Flask, trace_id: int, kind: TokenKind = TokenKind.UNSUBSCRIBE) -> str:
    with web.app_context():
        return f"/{'u' if kind is TokenKind.UNSUBSCRIBE else 'v'}/{office.tokens().make(kind, trace_id)}"


def subscription(web: Flask) -> Subscription:
    with web.app_context():
        row = db.session.scalars(select(Subscription)).one()
        db.session.expunge(row)
        return row


def total(web: Flask) -> int:
    with web.app_context():
        return db.session.scalars(select(Mailing.unsubscribed)).one()


def test_looking_changes_nothing(web, visitor, trace_id):
    for method in (visitor.get, visitor.head, visitor.options):
        answer = method(link(web, trace_id))
        assert answer.status_code == 200
    page = visitor.get(link(web, trace_id)).text
    assert "Garden news" in page
    assert "r0@example.test" not in page  # a forwarded link tells nobody the address
    assert page.count("<button") == 1
    assert subscription(web).state == "subscribed"
    assert total(web) == 0


def test_the_button_unsubscribes_and_the_way_back_is_offered(web, visitor, trace_id):
    page = visitor.post(link(web, trace_id), data={"wish": "unsubscribe"}, follow_redirects=True).text
    assert "You are unsubscribed" in page
    gone = subscription(web)
    assert (gone.state, gone.why["code"]) == ("unsubscribed", "unsubscribed_by_page")
    assert gone.why["values"]["trace_id"] == trace_id
    with web.app_context():
        assert db.session.scalars(select(Trace.unsubscribed_at)).one() is not None
    assert total(web) == 1

    visitor.post(link(web, trace_id), data={"wish": "undo"})
    back = subscription(web)
    assert (back.state, back.why["code"]) == ("subscribed", "subscribed_again")
    assert total(web) == 0


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data"])
def test_one_click_needs_no_page_and_no_cookie(web, trace_id, kind):
    program = web.test_client(use_cookies=False)
    for _ in range(2):  # mail programs repeat it
        answer = program.post(link(web, trace_id), data={"List-Unsubscribe": "One-Click"}, content_type=kind)
        assert answer.status_code == 200
        assert "Set-Cookie" not in answer.headers
    assert subscription(web).why["code"] == "unsubscribed_by_one_click"
    assert total(web) == 1


@pytest.mark.parametrize(
    ("subject", "works"),
    [
        ("unsubscribe {}", True),
        (" Unsubscribe  {} ", True),
        ("unsubscribe", False),
        ("unsubscribe {}a", False),
        ("{}", False),
    ],
)
def test_a_mail_with_the_token_in_its_subject_unsubscribes(web, trace_id, subject, works):
    """What the mailto address of List-Unsubscribe asks for."""
    token = link(web, trace_id).removeprefix("/u/")
    with web.app_context():
        catchall = office.load().office.catchall_address
        raw = mail(to=str(catchall), subject=subject.format(token), Auto_Submitted="auto-generated")
        worker = WorkerLease.register(NOW)
        intake.keep("test", [FetchedMail("1", len(raw), NOW, raw)], NOW)
        flow.process_waiting(NOW, worker)
        kept = db.session.scalars(select(ReceivedMail)).one()
        assert (kept.state, kept.result) == (("processed", "unsubscribed") if works else ("ignored", ""))
    assert subscription(web).state == ("unsubscribed" if works else "subscribed")


def test_a_relay_may_have_changed_the_case(web, visitor, trace_id):
    assert visitor.get(link(web, trace_id).upper().replace("/U/", "/u/")).status_code == 200


def altered(token: str) -> str:
    return token[:-1] + ("a" if token[-1] != "a" else "b")


@pytest.mark.parametrize(
    "bend",
    [
        altered,
        lambda token: token[:-2],
        lambda token: token + "a",
        lambda token: "v" + token[1:],
        lambda token: "unknown",
        lambda token: "%00",
        lambda token: "é" * 30,
    ],
    ids=["altered", "cut", "longer", "other kind", "made up", "nul", "not ascii"],
)
def test_a_wrong_token_is_404_and_changes_nothing(web, visitor, trace_id, bend):
    path = link(web, trace_id)
    wrong = "/u/" + bend(path.removeprefix("/u/"))
    assert visitor.get(wrong).status_code == 404
    for form in ({"wish": "unsubscribe"}, {"List-Unsubscribe": "One-Click"}):
        answer = visitor.post(wrong, data=form)
        assert answer.status_code == 404
        assert "Nothing was changed" in answer.text
    assert subscription(web).state == "subscribed"


def test_a_token_of_another_thing_does_nothing(web, visitor, trace_id):
    with web.app_context():
        tokens = office.tokens()
        others = [tokens.make(kind, trace_id) for kind in (TokenKind.TRACE, TokenKind.VIEW, TokenKind.LINE)]
        others.append(tokens.make(TokenKind.UNSUBSCRIBE, trace_id + 1000))
    for token in others:
        assert visitor.post(f"/u/{token}", data={"wish": "unsubscribe"}).status_code == 404
    assert subscription(web).state == "subscribed"


def test_another_form_does_nothing(web, visitor, trace_id):
    assert visitor.post(link(web, trace_id), data={"List-Unsubscribe": "Two-Click"}).status_code == 400
    assert subscription(web).state == "subscribed"


def test_only_what_this_link_took_away_comes_back(web, visitor, trace_id):
    with web.app_context():
        row = db.session.scalars(select(Subscription)).one()
        row.state, row.why = "unsubscribed", None  # the person did it elsewhere
        db.session.commit()
    assert "<button" not in visitor.get(link(web, trace_id)).text
    visitor.post(link(web, trace_id), data={"wish": "undo"})
    assert subscription(web).state == "unsubscribed"


def test_the_answers_are_kept_by_nobody(web, visitor, trace_id):
    answer = visitor.get(link(web, trace_id))
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "noindex" in answer.headers["X-Robots-Tag"]
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]


def test_view_in_browser_shows_the_mail_in_a_cage(web, visitor, trace_id):
    answer = visitor.get(link(web, trace_id, TokenKind.VIEW))
    assert answer.status_code == 200
    assert "Hello Reader0" in answer.text
    assert re.search(r'href="http[^"]*/u/u[a-z2-7]+"', answer.text)
    assert answer.headers["Content-Security-Policy"].startswith("sandbox ")
    assert "allow-scripts" not in answer.headers["Content-Security-Policy"]
    assert visitor.get(link(web, trace_id).replace("/u/", "/v/")).status_code == 404


def test_who_unsubscribed_gets_no_other_mailing(web, visitor, trace_id):
    visitor.post(link(web, trace_id), data={"wish": "unsubscribe"})
    with web.app_context():
        first = mailing_of(db.session.scalars(select(Trace.mailing_id)).one())
        again = draft(*[one.id for one in first.lists])
        with pytest.raises(ready.NotReady) as refused:
            mailing.send(again, NOW)
        assert [problem["code"] for problem in refused.value.problems] == ["mailing_nobody"]

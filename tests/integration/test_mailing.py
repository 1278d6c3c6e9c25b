"""A mailing on real servers and both databases: who gets it, how often, and what happens when something fails."""

import re
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, func, select, update

from mail.documents import contacts
from mail.mailing import blacklist, chunks, doubts, mailing, ready, traces
from mail.mailing import lists as mailing_lists
from mail.queue import lease
from mail.queue.connections import Connections
from mail.queue.journal import read_folder
from mail.queue.lease import LeaseLost
from mail.sentences import SENTENCES, say, why
from mail.settings import office, parameters
from mail.settings.config import settings
from mail.settings.tokens import TokenKind
from models import (
    Bounce,
    Chunk,
    Contact,
    Mailing,
    OauthAccount,
    OauthProvider,
    OutgoingServer,
    Subscription,
    Trace,
    db,
    reading,
)
from models.slices import SliceSize
from tests.integration.mass import NOW, Sender, add_contacts, add_server, draft, mailing_of, prepare, states
from tests.integration.test_session_limits import LimitedServer
from tests.servers.misbehaving import misbehaving
from tests.servers.process import free_port
from tests.waiting import wait_until


@pytest.fixture
def sender(app: Flask) -> Iterator[Sender]:
    """One worker with one sending thread."""
    one = Sender(app)
    yield one
    one.close()


def sent_to(postfix: Any, count: int) -> Counter[str]:
    """Count the mails that arrived by recipient, as soon as there are ``count``."""
    wait_until(lambda: len(postfix.mails()) >= count and postfix.idle())
    return Counter(mail.recipient for mail in postfix.mails())


def once(*numbers: range) -> dict[str, int]:
    return {f"r{i}@example.test": 1 for numbered in numbers for i in numbered}


def reasons(mailing_id: int) -> dict[str, str | None]:
    rows = db.session.execute(select(Trace.address, Trace.why).where(Trace.mailing_id == mailing_id))
    return {address: reason and reason["code"] for address, reason in rows}


# --- everybody, once


def test_a_thousand_get_it_once_and_the_mail_says_what_it_must(app, sender, postfix):
    with app.app_context():
        parameters.put("company.address", "1 Rain Forest Road, San Juan", NOW)
        add_server(postfix.port)
        id = draft(add_contacts(1000))
        mailing.send(id, NOW)
        assert mailing_of(id).state == "scheduled"
    sender.until_idle()
    with app.app_context():
        assert states(id) == {"sent": 1000}
        row = mailing_of(id)
        assert (row.state, row.ended_at, row.decision["server_name"]) == ("done", NOW, "relay")
        assert db.session.scalar(select(func.max(Chunk.last_id - Chunk.first_id))) == 199
    assert sent_to(postfix, 1000) == once(range(1000))
    one = postfix.delivered_to("r7@example.test")[0]
    message = one.message
    assert message["Subject"] == "News for Reader7"
    assert message["To"] == '"Reader7 Lee" <r7@example.test>' or message["To"] == "Reader7 Lee <r7@example.test>"
    assert one.envelope_sender == "bounce@office.test"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    link = re.match(
        r"<(http[^>]+/u/([a-z2-7]+))>,\s+<mailto:catchall@office\.test\?subject=unsubscribe%20\2>",
        message["List-Unsubscribe"],
    )
    assert link
    assert message["Precedence"] == "bulk"
    assert message["List-Id"] and message["Feedback-ID"]
    assert len({mail.message["Message-ID"] for mail in postfix.mails()}) == 1000
    html = message.get_body(("html",)).get_content()
    assert "Hello Reader7" in html and link[1] in html and "1 Rain Forest Road" in html
    with app.app_context():
        trace = db.session.scalars(select(Trace).where(Trace.address == "r7@example.test")).one()
        assert office.tokens().from_message_id(message["Message-ID"]) == (TokenKind.TRACE, trace.id)
        assert office.tokens().read(link[2]) == (TokenKind.UNSUBSCRIBE, trace.id)
        assert (trace.attempts, trace.sent_at, trace.why) == (1, NOW, None)


def test_who_is_left_out_and_why(app):
    with app.app_context():
        add_server(2525)
        first, second = add_contacts(0, "First"), add_contacts(0, "Second")
        cases: dict[str, tuple[dict[str, Any], dict[int, str], str | None]] = {
            "plain@x.test": ({}, {first: "subscribed"}, None),
            "both@x.test": ({}, {first: "subscribed", second: "subscribed"}, None),
            "one-wins@x.test": ({}, {first: "unsubscribed", second: "subscribed"}, None),
            "confirming-wins@x.test": ({}, {first: "pending", second: "subscribed"}, None),
            "gone@x.test": ({}, {first: "unsubscribed"}, "left_out_unsubscribed"),
            "gone-and-pending@x.test": ({}, {first: "unsubscribed", second: "pending"}, "left_out_pending"),
            "pending@x.test": ({}, {first: "pending"}, "left_out_pending"),
            "archived@x.test": ({"active": False}, {first: "subscribed"}, "left_out_archived"),
            "listed@x.test": ({}, {first: "subscribed"}, "left_out_blacklisted"),
            "": ({"address": None, "address_key": None}, {first: "subscribed"}, "left_out_no_address"),
        }
        for address, (values, lists, _) in cases.items():
            contact = Contact(**({"address": address, "address_key": address} | values))
            db.session.add(contact)
            db.session.flush()
            for list_id, state in lists.items():
                db.session.add(Subscription(list_id=list_id, contact_id=contact.id, state=state, at=NOW))
        blacklist.add("listed@x.test", "manual", NOW)
        id = draft(first, second)
        mailing.send(id, NOW)
        prepare(id, NOW)
        assert reasons(id) == {address: reason for address, (_, _, reason) in cases.items()}
        assert states(id) == {"queued": 4, "cancelled": 6}
        assert all(reason is None or reason in SENTENCES for reason in reasons(id).values())


def test_preparing_goes_on_where_it_stopped_and_two_workers_make_each_trace_once(app):
    with app.app_context():
        add_server(2525)
        first = add_contacts(700)
        everybody = db.session.scalars(select(Contact.id)).all()
        second = add_contacts(0, "Second")
        mailing_lists.subscribe(second, everybody[::3], why("subscribed_by_import", user="", list=""), NOW)
        db.session.commit()
        id = draft(first, second)
        mailing.send(id, NOW)
        people = mailing.next_people(id, 100)
        assert not mailing.prepare_slice(id, NOW, people), "it has not begun"
        assert mailing.begin(id, NOW)
        assert mailing.prepare_slice(id, NOW, people)
        assert mailing.prepare_slice(id, NOW, people), "another worker made them: it goes on with the next ones"
        db.session.rollback()
        assert mailing_of(id).total == 100

    def prepare() -> None:
        with app.app_context():
            while mailing.prepare_slice(id, NOW, mailing.next_people(id, 50)):
                pass

    threads = [threading.Thread(target=prepare) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with app.app_context():
        assert states(id) == {"queued": 700}
        assert mailing_of(id).prepared
        covered = db.session.execute(select(Chunk.first_id, Chunk.last_id)).all()
        traces = db.session.scalars(select(Trace.id)).all()
        assert [sum(first <= trace <= last for first, last in covered) for trace in traces] == [1] * 700


def test_a_mailing_waits_for_its_time(app, sender):
    with app.app_context():
        add_server(free_port())
        id = draft(add_contacts(1))
        mailing.send(id, NOW, at=NOW + timedelta(hours=2))
    sender.tend()
    with app.app_context():
        assert mailing_of(id).state == "scheduled"
        mailing.back_to_draft(id, NOW)
        assert mailing_of(id).state == "draft"
        mailing.send(id, NOW, at=NOW + timedelta(hours=2))
    sender.clock.move(hours=2)
    sender.tend()
    with app.app_context():
        assert mailing_of(id).state == "sending"
        with pytest.raises(ready.NotReady):
            mailing.back_to_draft(id, NOW)


def scheduled(app: Flask, sender: Sender, port: int, happens: Callable[[int], None], is_forced: bool = False) -> int:
    """Schedule a mailing to three people, let something happen and its time come; return its id."""
    with app.app_context():
        server_id = add_server(port)
        id = draft(add_contacts(3), forced_server_id=server_id if is_forced else None)
        mailing.send(id, NOW, at=NOW + timedelta(hours=2))
        happens(id)
        db.session.commit()
    sender.clock.move(hours=2)
    sender.until_idle()
    return id


def no_server(_id: int) -> None:
    db.session.execute(update(OutgoingServer).values(active=False))


def no_field(id: int) -> None:
    db.session.execute(update(Mailing).where(Mailing.id == id).values(html="{{ contact.password }}"))


def no_subscribers(_id: int) -> None:
    db.session.execute(update(Subscription).values(state="unsubscribed"))


def no_address(_id: int) -> None:
    parameters.put("web.base.url", "http://localhost:8000", NOW)


@pytest.mark.parametrize(
    ("happens", "code"),
    [
        (no_server, "mailing_server_gone"),
        (no_field, "merge_unknown_field"),
        (no_subscribers, "mailing_nobody"),
        (no_address, "links_lead_nowhere"),
    ],
)
def test_what_happened_since_it_was_scheduled_pauses_a_mailing_before_it_begins(app, sender, happens, code):
    id = scheduled(app, sender, free_port(), happens, is_forced=True)
    with app.app_context():
        row = mailing_of(id)
        assert (row.state, row.why["code"], row.total, row.started_at) == ("paused", code, 0, None)
        with pytest.raises(ready.NotReady):
            mailing.resume(id, NOW)
        mailing.back_to_draft(id, NOW)
        assert (mailing_of(id).state, mailing_of(id).why) == ("draft", None)


def test_a_mailing_that_paused_before_it_began_goes_out_when_it_is_resumed(app, sender, postfix):
    id = scheduled(app, sender, postfix.port, no_address)
    with app.app_context():
        parameters.put("web.base.url", "https://office.example", NOW)
        db.session.commit()
        office.forget()
        assert mailing.resume(id, NOW)
    sender.until_idle()
    with app.app_context():
        assert mailing_of(id).state == "done"
        assert states(id) == {"sent": 3}


@pytest.mark.parametrize(
    ("values", "listed", "codes"),
    [
        ({"subject": " "}, True, ["mailing_no_subject"]),
        ({"html": ""}, True, ["mailing_no_content"]),
        ({"subject": "", "html": ""}, False, ["mailing_no_subject", "mailing_no_content", "mailing_no_list"]),
        ({"html": "{{ contact.password }}"}, True, ["merge_unknown_field"]),
        ({"html": "<p>{{ contact.name </p>"}, True, ["merge_not_closed"]),
        ({"from_address": "nobody"}, True, []),  # the default address takes its place
        ({"forced_server_id": "off"}, True, ["server_off"]),
    ],
)
def test_what_keeps_a_mailing_from_being_sent(app, values, listed, codes):
    with app.app_context():
        add_server(2525)
        off = add_server(2525, "old", active=False)
        values = {name: off if value == "off" else value for name, value in values.items()}
        id = draft(*([add_contacts(1)] if listed else []), **values)
        if not codes:
            assert mailing.send(id, NOW).state == "scheduled"
            return
        with pytest.raises(ready.NotReady) as refused:
            mailing.send(id, NOW)
        assert [problem["code"] for problem in refused.value.problems] == codes
        assert mailing_of(id).state == "draft"
        assert str(refused.value)


def test_mass_mail_goes_through_the_dedicated_server(app, sender, postfix, second_postfix):
    with app.app_context():
        add_server(postfix.port, "transactional", priority=10)
        dedicated = add_server(second_postfix.port, "mass", priority=20)
        parameters.put("mailing.dedicated_server", str(dedicated), NOW)
        list_id = add_contacts(3)
        id = draft(list_id)
        mailing.send(id, NOW)
        own = draft(
            list_id,
            subject="By its own server",
            forced_server_id=db.session.scalar(select(func.min(OutgoingServer.id))),
        )
        mailing.send(own, NOW)
    sender.until_idle()
    assert sent_to(second_postfix, 3) == once(range(3))
    assert {mail.subject for mail in second_postfix.mails()} == {
        "News for Reader0",
        "News for Reader1",
        "News for Reader2",
    }
    assert sent_to(postfix, 3) == once(range(3))
    assert {mail.subject for mail in postfix.mails()} == {"By its own server"}


# --- refused, put off, cut


def test_a_refused_recipient_stops_nobody_and_counts_like_a_bounce(app, sender, postfix):
    postfix.refuse("r1@example.test", "550 5.1.1 No such user here")
    postfix.refuse("r2@example.test", "554 5.7.1 Blocked by policy")
    with app.app_context():
        add_server(postfix.port)
        id = draft(add_contacts(5))
        mailing.send(id, NOW)
    sender.until_idle()
    assert sent_to(postfix, 3) == once(range(1), range(3, 5))
    with app.app_context():
        assert states(id) == {"sent": 3, "failed": 2}
        assert mailing_of(id).state == "done"
        trace = db.session.scalars(select(Trace).where(Trace.address == "r1@example.test")).one()
        assert (trace.code, trace.why["code"], trace.sent_at) == (550, "no_such_mailbox", None)
        assert "No such user" in trace.reply
        found = db.session.execute(
            select(Bounce.address_key, Bounce.kind, Bounce.counted, Bounce.at).order_by(Bounce.id)
        )
        assert [tuple(row) for row in found] == [
            ("r1@example.test", "hard", True, NOW),
            ("r2@example.test", "blocked", False, NOW),
        ]


def test_who_was_put_off_gets_another_pass(app, sender, postfix):
    for number in (1, 2, 3):
        postfix.defer(f"r{number}@example.test")
    with app.app_context():
        add_server(postfix.port)
        id = draft(add_contacts(5))
        mailing.send(id, NOW)
    sender.until_idle()
    with app.app_context():
        assert states(id) == {"sent": 2, "deferred": 3}
        assert mailing_of(id).state == "sending"
        assert set(db.session.scalars(select(Trace.next_try_at).where(Trace.state == "deferred"))) == {
            NOW + timedelta(minutes=1)
        }
    postfix.accept("r1@example.test")
    postfix.refuse("r2@example.test")
    sender.clock.move(minutes=1)
    sender.until_idle()
    with app.app_context():
        assert states(id) == {"sent": 3, "deferred": 1, "failed": 1}
        assert db.session.scalars(select(Trace.attempts).where(Trace.state == "deferred")).one() == 2
    for _ in range(9):
        sender.clock.move(hours=6)
        sender.until_idle()
    with app.app_context():
        assert states(id) == {"sent": 3, "failed": 2}
        assert reasons(id)["r3@example.test"] == "gave_up"
        assert mailing_of(id).state == "done"
        assert db.session.scalar(select(func.count()).select_from(Bounce)) == 1  # a server's "not now" blames nobody
    assert sent_to(postfix, 3) == once(range(2), range(4, 5))


def test_a_mailing_pauses_itself_when_too_many_fail(app, sender, postfix):
    for number in range(11):
        postfix.refuse(f"r{number}@example.test")
    with app.app_context():
        add_server(postfix.port)
        id = draft(add_contacts(410))
        mailing.send(id, NOW)
    sender.until_idle()
    with app.app_context():
        assert states(id) == {"sent": 189, "failed": 11, "queued": 210}
        row = mailing_of(id)
        assert (row.state, row.why["code"]) == ("paused", "mailing_paused_failures")
        assert say(row.why).startswith("Paused automatically: 11 of the last 200 recipients failed.")
        assert mailing.resume(id, NOW)
    sender.until_idle()
    with app.app_context():
        assert states(id) == {"sent": 399, "failed": 11}
        assert mailing_of(id).state == "done"


def test_failures_are_counted_against_all_that_were_tried(app, sender, postfix):
    for number in (*range(5), *range(200, 206)):  # 11 of 399: the window is longer when somebody was put off in it
        postfix.refuse(f"r{number}@example.test")
    postfix.defer("r210@example.test")
    with app.app_context():
        add_server(postfix.port)
        id = draft(add_contacts(400))
        mailing.send(id, NOW)
    sender.until_idle()
    with app.app_context():
        assert states(id) == {"sent": 388, "failed": 11, "deferred": 1}
        assert mailing_of(id).state == "sending"


def test_a_content_that_cannot_be_rendered_pauses_the_mailing_until_it_is_mended(app, sender, postfix):
    with app.app_context():
        add_server(postfix.port)
        id = draft(add_contacts(2))
        mailing.send(id, NOW)
        sender.tend()
        row = mailing_of(id)
        row.html, row.content_key = "<p>Hello {{ contact.nothing }}</p>", "another content"
        db.session.commit()
    sender.until_idle()
    with app.app_context():
        row = mailing_of(id)
        assert (row.state, row.tries, states(id)) == ("paused", 0, {"queued": 2})
        assert "nothing" in say(row.why)


def test_a_server_that_is_away_fails_nobody_and_delays_no_other_mailing(app, sender, postfix):
    with app.app_context():
        away = add_server(free_port(), "away")
        here = add_server(postfix.port, "here")
        list_id = add_contacts(3)
        waiting, going = draft(list_id, forced_server_id=away), draft(list_id, forced_server_id=here)
        for id in (waiting, going):
            mailing.send(id, NOW)
    sender.until_idle()
    with app.app_context():
        assert states(waiting) == {"queued": 3}
        row = mailing_of(waiting)
        assert (row.state, row.why["code"], row.tries) == ("sending", "connection_refused", 1)
        assert row.next_try_at == NOW + timedelta(seconds=5)
        assert states(going) == {"sent": 3}
    sender.clock.move(seconds=5)
    sender.until_idle()
    with app.app_context():
        assert mailing_of(waiting).next_try_at == NOW + timedelta(seconds=15)
        db.session.execute(update(OutgoingServer).where(OutgoingServer.id == away).values(port=postfix.port))
        db.session.commit()
    sender.clock.move(seconds=10)
    sender.until_idle()
    with app.app_context():
        row = mailing_of(waiting)
        assert (row.state, row.why, row.tries, states(waiting)) == ("done", None, 0, {"sent": 3})


@pytest.mark.parametrize(
    ("how", "code"), [("off", "mailing_server_gone"), ("gone", "mailing_server_gone"), ("custom", "mailing_custom_off")]
)
def test_a_server_that_was_taken_away_pauses_the_mailing(app, sender, postfix, how, code):
    with app.app_context():
        server_id = add_server(postfix.port)
        add_server(postfix.port, "other")
        id = draft(add_contacts(2))
        mailing.send(id, NOW)
        sender.tend()
        server = db.session.get(OutgoingServer, server_id)
        if how == "off":
            server.active = False
        elif how == "custom":
            parameters.put("mail.custom_servers", "0", NOW)
        else:
            db.session.delete(server)
        db.session.commit()
    sender.until_idle()
    with app.app_context():
        row = mailing_of(id)
        assert (row.state, row.why["code"], states(id)) == ("paused", code, {"queued": 2})
        if how == "custom":  # then somebody names it: all that it sends is as before
            db.session.execute(update(Mailing).values(forced_server_id=server_id))
            db.session.commit()
        mailing.resume(id, NOW)
        assert mailing_of(id).decision["server_name"] == ("relay" if how == "custom" else "other")
    sender.until_idle()
    with app.app_context():
        assert states(id) == {"sent": 2}


def smtp(at: bytes, act: str) -> Any:
    """A server that is well but for one command: there it refuses, or cuts the connection."""

    def script(connection: socket.socket) -> None:
        connection.sendall(b"220 odd.test ESMTP\r\n")
        lines = connection.makefile("rb")
        for line in lines:
            command = line[:4].upper().strip()
            if command == b"DATA" and at != b"DATA":
                connection.sendall(b"354 go on\r\n")
                while lines.readline() not in (b".\r\n", b""):
                    pass
                command = b"."
            if command == at:
                if act == "cut":
                    connection.shutdown(socket.SHUT_RDWR)
                    return
                connection.sendall(act.encode() + b"\r\n")
                continue
            connection.sendall(b"250 fine\r\n")

    return script


def test_a_mailing_waits_for_a_sign_in_however_long_that_takes(app, sender):
    def go_on(**waited: float) -> set[str]:
        db.session.commit()
        sender.clock.move(**waited)
        later(sender, server_id)
        sender.until_idle()
        assert (mailing_of(id).state, states(id)) == ("sending", {"deferred": 2})
        return set(reasons(id).values())

    with misbehaving(smtp(b"RCPT", "450 4.2.0 Greylisted")) as port, app.app_context():
        server_id = add_server(port)
        provider = OauthProvider(kind="google", name="Google", client_id="us")
        account = OauthAccount(provider=provider, address="ann@mycompany.test", state="refused")
        db.session.add(account)
        db.session.commit()
        account_id = account.id
        id = draft(add_contacts(2))
        mailing.send(id, NOW)
        greylisted = go_on()
        signs_in = {"authentication": "oauth2", "oauth_account_id": account_id}
        db.session.execute(update(OutgoingServer).values(signs_in))
        for _ in range(5):
            assert go_on() == {"account_ended"}, "it does not pause"
        assert go_on(days=3) == {"account_ended"}
        attempts = db.session.scalars(select(Trace.attempts)).all()
        db.session.execute(update(OutgoingServer).values(authentication="none"))
        assert go_on() == greylisted, "nobody is given up for that time"
        assert db.session.scalars(select(Trace.attempts)).all() == [one + 1 for one in attempts]


def test_a_server_that_refuses_us_pauses_the_mailing_and_fails_nobody(app, sender):
    with misbehaving(smtp(b"MAIL", "550 5.7.1 You may not send as this address")) as port, app.app_context():
        add_server(port)
        id = draft(add_contacts(3))
        mailing.send(id, NOW)
        sender.until_idle()
        row = mailing_of(id)
        assert (row.state, row.why["code"], states(id)) == ("paused", "sender_refused", {"queued": 3})


def test_an_answer_that_was_never_seen_is_unknown_and_final(app, sender):
    with misbehaving(smtp(b".", "cut")) as port, app.app_context():
        add_server(port)
        id = draft(add_contacts(3))
        mailing.send(id, NOW)
        sender.until_idle()
        assert states(id) == {"unknown": 3}
        assert set(reasons(id).values()) == {"in_doubt"}
        row = mailing_of(id)
        assert (row.state, row.why["code"]) == ("paused", "mailing_all_in_doubt"), "nothing sent is not done"
        assert doubts.resolve_doubts(id, "leave", NOW) == 3
        assert mailing.resume(id, NOW)
        sender.until_idle()
        assert (mailing_of(id).state, states(id)) == ("done", {"unknown": 3})


def later(sender: Sender, server_id: int) -> None:
    """Let the time pass for which a server was left alone, by both clocks."""
    sender.clock.move(minutes=6)
    sender.connections.servers._states[server_id].away_until = 0.0


def test_a_server_whose_answers_are_lost_costs_a_few_recipients_and_then_pauses(app, sender):
    with misbehaving(smtp(b".", "cut")) as port:
        with app.app_context():
            server_id = add_server(port)
            id = draft(add_contacts(300))
            mailing.send(id, NOW)
        sender.until_idle()
        with app.app_context():
            row = mailing_of(id)
            assert (row.state, row.why["code"]) == ("sending", "in_doubt")
            assert states(id) == {"unknown": 3, "queued": 297}
        for lost in range(4, 8):  # each further try costs one
            later(sender, server_id)
            sender.until_idle()
            with app.app_context():
                assert states(id)["unknown"] == lost
    with app.app_context():
        row = mailing_of(id)
        assert (row.state, row.why["code"]) == ("paused", "in_doubt")
        assert states(id) == {"unknown": 7, "queued": 293}


def test_after_a_short_outage_a_mailing_goes_on_by_itself(app, sender, postfix):
    with misbehaving(smtp(b".", "cut")) as port:
        with app.app_context():
            server_id = add_server(port)
            id = draft(add_contacts(10))
            mailing.send(id, NOW)
        sender.until_idle()
    with app.app_context():
        assert states(id) == {"unknown": 3, "queued": 7}
        db.session.execute(update(OutgoingServer).where(OutgoingServer.id == server_id).values(port=postfix.port))
        db.session.commit()
    later(sender, server_id)
    sender.until_idle()
    with app.app_context():
        row = mailing_of(id)
        assert (row.state, row.why, states(id)) == ("done", None, {"unknown": 3, "sent": 7})


def test_a_server_that_always_cuts_is_away_in_the_end(app, sender):
    with misbehaving(smtp(b"RCPT", "cut")) as port, app.app_context():
        add_server(port)
        id = draft(add_contacts(10))
        mailing.send(id, NOW)
        sender.until_idle()
        assert states(id) == {"deferred": 3, "queued": 7}
        row = mailing_of(id)
        assert (row.state, row.why["code"], row.tries) == ("sending", "connection_lost", 1)


def test_a_bounce_may_be_quicker_than_our_record(app, sender, postfix):
    with app.app_context():
        add_server(postfix.port)
        id = draft(add_contacts(3))
        mailing.send(id, NOW)
        prepare(id, NOW)
        work = chunks.take_chunk(sender.worker, NOW)
        trace_id = db.session.scalars(select(Trace.id).order_by(Trace.id)).first()

        class Watched:  # the receiver's report is processed while the chunk is still being sent
            def __init__(self, connection: Any) -> None:
                self.connection, self.target, self.transcript = connection, connection.target, None
                self.extra_headers, self.signs_itself = connection.extra_headers, connection.signs_itself
                self.rehearses = connection.rehearses

            def deliver(self, *arguments: Any, **options: Any) -> Any:
                outcome = self.connection.deliver(*arguments, **options)
                with app.app_context():
                    traces.bounce_trace(trace_id, why("gave_up", last=""), "5.1.1", "No such user", NOW)
                    db.session.commit()
                return outcome

        class WatchedConnections(Connections):
            @contextmanager
            def to(self, *arguments: Any) -> Iterator[Any]:
                with super().to(*arguments) as connection:
                    yield Watched(connection)

        with WatchedConnections() as connections:
            chunks.deliver_chunk(work, sender.worker, connections, sender.journal, sender.clock)
        assert states(id) == {"bounced": 1, "sent": 2}


@pytest.mark.parametrize(
    ("moment", "refusal"),
    [
        ("mail", "452 4.4.5 Maximum number of messages per session exceeded"),
        ("rcpt", "451 Mails per session limit"),
        ("rcpt", "450 4.2.0 Not now"),  # without words: after three in a row
        ("end", "421 4.3.2 Closing"),
    ],
)
def test_so_many_mails_a_session_hold_up_no_mailing(app, sender, moment, refusal):
    server = LimitedServer(moment, refusal, most=7)
    with misbehaving(server.talk) as port:
        with app.app_context():
            add_server(port)
            id = draft(add_contacts(49))
            mailing.send(id, NOW)
        sender.until_idle()
    with app.app_context():
        assert (mailing_of(id).state, states(id)) == ("done", {"sent": 49})
    assert Counter(server.accepted) == once(range(49))
    assert server.connections == 7


# --- pause, resume, cancel


def test_pause_holds_within_two_seconds_and_resume_goes_on(app, sender, postfix):
    with app.app_context():
        add_server(postfix.port)
        id = draft(add_contacts(80))
        mailing.send(id, NOW)
    sender.tend()
    postfix.slow_down(0.1)
    sending = threading.Thread(target=sender.step)
    sending.start()
    wait_until(lambda: len(postfix.mails()) >= 3)
    with app.app_context():
        assert mailing.pause(id, NOW)
        assert not mailing.pause(id, NOW), "it is paused already"
    at_the_pause = len(postfix.mails())
    sending.join(60)
    postfix.slow_down(0)
    with app.app_context():
        done = states(id)
        assert 0 < done["sent"] <= at_the_pause + 20, "so many a server takes in two seconds that waits for each"
        assert done["queued"] == 80 - done["sent"]
        assert db.session.scalars(select(Chunk.state)).all() == ["waiting"]
    sender.until_idle()
    with app.app_context():
        assert states(id) == done, "a paused mailing hands out nothing"
        assert mailing.resume(id, NOW)
    sender.until_idle()
    with app.app_context():
        assert states(id) == {"sent": 80}
    assert sent_to(postfix, 80) == once(range(80))


def test_what_a_slow_server_took_is_seen_before_the_chunk_is_done(app, sender, postfix):
    with app.app_context():
        add_server(postfix.port)
        id = draft(add_contacts(60))
        mailing.send(id, NOW)
    sender.tend()
    postfix.slow_down(0.05)
    sending = threading.Thread(target=sender.step)
    sending.start()

    def sent_so_far() -> int:
        with app.app_context(), reading():
            return db.session.scalar(select(Mailing.sent))

    wait_until(lambda: sent_so_far() > 0)
    with app.app_context():
        assert db.session.scalar(select(Chunk.state)) == "taken"
    postfix.slow_down(0)
    sending.join(60)
    sender.until_idle()
    with app.app_context():
        assert states(id) == {"sent": 60}
    assert sent_to(postfix, 60) == once(range(60))


def test_cancel_closes_who_has_not_got_it(app, sender, postfix):
    postfix.defer("r0@example.test")
    with app.app_context():
        add_server(postfix.port)
        id = draft(add_contacts(450))
        mailing.send(id, NOW)
    sender.tend()
    assert sender.step()
    with app.app_context():
        assert mailing.cancel(id, NOW)
        assert not mailing.resume(id, NOW)
    assert not sender.step()
    sender.tend()
    with app.app_context():
        assert states(id) == {"sent": 199, "cancelled": 251}
        assert mailing_of(id).ended_at == NOW
        assert set(db.session.scalars(select(Chunk.state))) == {"done"}


def test_mailings_take_turns(app, sender, smtp_sink):
    with app.app_context():
        add_server(smtp_sink.port)
        list_id = add_contacts(450)
        both = [draft(list_id) for _ in range(2)]
        for id in both:
            mailing.send(id, NOW)
    sender.tend()
    for _ in range(4):
        assert sender.step()
    with app.app_context():
        assert [states(id)["sent"] for id in both] == [400, 400]


# --- several workers, and those that die


def test_two_workers_send_each_mail_once(app, postfix):
    with app.app_context():
        add_server(postfix.port)
        id = draft(add_contacts(600))
        mailing.send(id, NOW)
        prepare(id, NOW)
    workers = [Sender(app, name=f"mass-{n}") for n in range(2)]
    threads = [threading.Thread(target=worker.until_idle) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    for worker in workers:
        worker.close()
    with app.app_context():
        assert states(id) == {"sent": 600}
        assert mailing_of(id).state == "done"
    assert sent_to(postfix, 600) == once(range(600))


def test_the_journal_of_a_dead_worker_decides(app, sender, postfix):
    with app.app_context():
        add_server(postfix.port)
        id = draft(add_contacts(5))
        mailing.send(id, NOW)
        prepare(id, NOW)
        assert chunks.take_chunk(sender.worker, NOW)
        first, second, third, *_ = db.session.scalars(select(Trace.id).order_by(Trace.id)).all()
        sender.journal.begin(f"t{first}")
        sender.journal.ok(f"t{first}")
        sender.journal.begin(f"t{second}")
        sender.journal.refused(f"t{second}")
        sender.journal.begin(f"t{third}")
        said = read_folder(settings().journal_folder, sender.worker.id)
        assert chunks.recover_chunks(sender.worker.id, said, NOW) == {"sent": 1, "in doubt": 1, "queued": 3}
        db.session.commit()
        assert states(id) == {"sent": 1, "unknown": 1, "queued": 3}
        assert chunks.recover_chunks(sender.worker.id, said, NOW) == {"sent": 0, "in doubt": 0, "queued": 0}
    other = Sender(app, name="mass-2")
    other.until_idle()
    other.close()
    with app.app_context():
        assert states(id) == {"sent": 4, "unknown": 1}
        assert mailing_of(id).state == "done"
    assert sent_to(postfix, 3) == once(range(1, 2), range(3, 5))


def test_without_a_journal_nobody_knows(app, sender):
    with app.app_context():
        add_server(2525)
        id = draft(add_contacts(250))
        mailing.send(id, NOW)
        prepare(id, NOW)
        assert chunks.take_chunk(sender.worker, NOW)
        chunks.recover_chunks(sender.worker.id, None, NOW)
        db.session.commit()
        assert states(id) == {"unknown": 200, "queued": 50}


def test_a_worker_whose_chunk_was_given_away_records_nothing(app, sender, postfix):
    with app.app_context():
        add_server(postfix.port)
        id = draft(add_contacts(3))
        mailing.send(id, NOW)
        prepare(id, NOW)
        work = chunks.take_chunk(sender.worker, NOW)
        chunks.recover_chunks(sender.worker.id, {}, NOW)
        db.session.commit()
        with pytest.raises(LeaseLost):
            chunks.deliver_chunk(work, sender.worker, sender.connections, sender.journal, sender.clock)
        assert states(id) == {"queued": 3}


def test_a_worker_that_was_held_up_sends_nothing_more(app, sender, postfix, monkeypatch):
    with app.app_context():
        add_server(postfix.port)
        id = draft(add_contacts(3))
        mailing.send(id, NOW)
        prepare(id, NOW)
        work = chunks.take_chunk(sender.worker, NOW)
        monkeypatch.setattr(lease, "MARGIN", 2.0)  # as in an office
        sender.worker._seen -= 9  # no heartbeat for nine seconds
        with pytest.raises(LeaseLost):
            chunks.deliver_chunk(work, sender.worker, sender.connections, sender.journal, sender.clock)
        assert states(id) == {"queued": 3}
    assert postfix.mails() == []


def test_a_worker_that_is_asked_to_end_hands_back_what_it_has_not_begun(app, sender, postfix):
    with app.app_context():
        add_server(postfix.port)
        id = draft(add_contacts(60))
        mailing.send(id, NOW)
    sender.tend()
    postfix.slow_down(0.05)
    sending = threading.Thread(target=sender.step)
    sending.start()
    wait_until(lambda: len(postfix.mails()) >= 3)
    sender.worker.stop()
    sending.join(60)
    with app.app_context():
        assert 0 < states(id)["sent"] < 60
        assert db.session.scalars(select(Chunk.state)).all() == ["waiting"]


# --- what it costs


def test_a_recipient_costs_less_than_a_twentieth_of_a_statement(app, sender, smtp_sink, monkeypatch):
    monkeypatch.setattr(mailing, "_preparing", SliceSize(5000, least=5000, most=5000))  # however slow this machine is
    counted: list[str] = []
    with app.app_context():
        add_server(smtp_sink.port)
        id = draft(add_contacts(2000))
        event.listen(
            db.engine,
            "before_cursor_execute",
            lambda _connection, _cursor, statement, *_: counted.append(statement),
        )
        mailing.send(id, NOW)
    sender.until_idle()
    with app.app_context():
        assert states(id) == {"sent": 2000}
    work = [sql for sql in counted if not sql.startswith(("BEGIN", "PRAGMA", "SET TRANSACTION"))]
    heartbeats = [sql for sql in work if "seen_at" in sql]  # one a second in a worker; here one a chunk
    once = 60  # send, check again, prepare, finish, once a process
    assert len(work) - len(heartbeats) < 2000 * 0.05 + once, Counter(work).most_common(12)
    assert not [sql for sql in work if "floor(" in sql.lower()], "on SQLite it is Python, called for each row"


# --- pasted addresses


def test_pasted_lines_are_taken_or_refused_with_the_reason(app):
    with app.app_context():
        list_id = add_contacts(2)
        db.session.execute(
            update(Subscription)
            .where(Subscription.contact_id == db.session.scalar(select(func.max(Contact.id))))
            .values(state="unsubscribed")
        )
        contacts.find_or_make("Old Friend <old@x.test>", "", NOW).active = False
        db.session.commit()
        lines = {
            "Ann Lee <Ann@X.test>": None,
            "bob@x.test,": None,
            '"Doe, John" <john@x.test>': None,
            "": None,
            "r0@example.test": None,
            "ANN@x.test": "import_twice",
            "r1@example.test": "import_unsubscribed",
            "old@x.test": "import_archived",
            "Nobody": "import_no_address",
            "two@x.test and three@x.test": "import_bad_address",
            "broken@": "import_bad_address",
            "x" * 1000 + "@x.test": "import_line_too_long",
        }
        report = mailing_lists.import_lines("\n".join(lines), list_id, NOW)
        db.session.commit()
        refused = {line.text: line.why["code"] for line in report.refused}
        assert refused == {line: code for line, code in lines.items() if code}
        assert (report.added, report.known, report.made) == (3, 1, 3)
        assert all(say(line.why) for line in report.refused)
        ann = contacts.find("ann@x.test")
        assert (ann.name, ann.address) == ("Ann Lee", "Ann@X.test")
        with pytest.raises(LookupError):
            mailing_lists.import_lines("a@x.test", list_id + 100, NOW)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)  # SQLite has one writer at a time
def test_a_mailing_is_locked_as_it_is_now_and_not_as_it_was_read(app):
    with app.app_context():
        id = draft(add_contacts(1))
        read_before = db.session.get_one(Mailing, id)
        assert read_before.state == "draft"

        def change() -> None:
            with app.app_context():
                db.session.execute(update(Mailing).where(Mailing.id == id).values(state="done"))
                db.session.commit()

        other = threading.Thread(target=change)
        other.start()
        other.join(60)
        assert read_before.state == "draft"
        assert mailing._locked(id).state == "done"

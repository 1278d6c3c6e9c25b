"""Mail in, from the ledger to documents, posts, answers and red envelopes, on both databases."""

import os
from collections import Counter
from datetime import timedelta
from threading import Thread
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update

from mail.incoming import apply, by_hand, flow, intake, quarantine, reader
from mail.incoming.case import Retention
from mail.maintenance.simulate_arrival import given_from_ledger, simulate_arrival
from mail.outgoing import delivery_state
from mail.queue.lease import WorkerLease
from mail.sentences import say
from mail.settings import office, parameters
from mail.settings.tokens import TokenKind
from mail.transport.mailbox import FetchedMail
from models import (
    AddressHealth,
    Alias,
    BlacklistedAddress,
    Blob,
    Bounce,
    Contact,
    Document,
    IncomingServer,
    Mailing,
    Notification,
    OutgoingMail,
    Post,
    ReceivedMail,
    Recipient,
    RouteResult,
    Trace,
    Worker,
    database_clock,
    db,
)
from tests.integration.frontdesk import (
    DOMAIN,
    NOW,
    FrontDesk,
    SentMail,
    counted_statements,
    delivery_report,
    mail,
    sentences,
    stored,
)

SALES, ORDERS, CATCHALL = f"sales@{DOMAIN}", f"orders@{DOMAIN}", f"catchall@{DOMAIN}"
ANN, BOB = "Ann Lee <ann@customer.test>", "Bob <bob@customer.test>"


@pytest.fixture
def desk(app: Flask) -> FrontDesk:
    return FrontDesk(app)


# --- new documents


def test_a_mail_to_an_alias_opens_a_document(desk: FrontDesk) -> None:
    raw = mail(ANN, html="<p>Hello <script>x()</script></p>", files=[("plan.pdf", b"%PDF")])
    (row,) = desk.receive(raw)
    assert (row.state, row.result) == ("processed", "document")
    (document,) = desk.documents("opportunity")
    assert (document.number, document.title, document.sender) == (
        "OPP/00001",
        "Need a quote",
        '"Ann Lee" <ann@customer.test>',
    )
    assert document.contact is not None
    assert document.contact.name == "Ann Lee"
    assert document.stage_id is not None
    (post,) = desk.posts(document.thread_id)
    assert (post.kind, post.author_contact_id) == ("message", document.contact_id)
    assert post.html.strip() == "<p>Hello </p>"
    assert post.received_mail_id == row.id
    assert [(file.name, file.size) for file in post.attachments] == [("plan.pdf", 4)]
    assert desk.followers(document.thread_id) == {"ann@customer.test": "follow_author"}
    assert (row.subject, row.from_key, row.to_text) == ("Need a quote", "ann@customer.test", SALES)
    with desk.app.app_context():
        alias = db.session.scalar(select(Alias).where(Alias.address_key == SALES))
        assert alias is not None
        assert (alias.hits, alias.last_hit_at, alias.valid) == (1, NOW, True)
        assert row.blob_id is not None
        assert Blob.read(row.blob_id) == raw


def test_the_responsible_person_of_an_alias_gets_the_mail(desk: FrontDesk) -> None:
    clerk = desk.user("Clerk")
    desk.set_alias("sales", responsible_id=clerk.id, defaults={"priority": 2, "title": "From the web"})
    desk.receive(mail(ANN))
    (document,) = desk.documents()
    assert (document.responsible_id, document.priority, document.title) == (clerk.id, 2, "From the web")
    (sent,) = desk.sent()
    assert sent.to == {"clerk@home.test"}
    assert sent.author == '"Ann Lee" <ann@customer.test>'
    assert sent.subject == "Need a quote"


@pytest.mark.parametrize(
    ("known", "make_contact", "follower", "contacts"),
    [
        ("", True, True, 1),
        ("", False, False, 0),
        ("active", True, True, 1),
        ("active", False, True, 1),
        ("archived", True, False, 1),
        ("archived", False, False, 1),
    ],
)
def test_who_becomes_a_contact_and_follower(
    desk: FrontDesk, known: str, make_contact: bool, follower: bool, contacts: int
) -> None:
    if known:
        desk.contact("ann@customer.test", "Known Ann", active=known == "active")
    desk.set_alias("sales", make_contact=make_contact)
    desk.receive(mail(ANN))
    (document,) = desk.documents()
    assert set(desk.followers(document.thread_id)) == ({"ann@customer.test"} if follower else set())
    assert (document.contact_id is not None) == follower
    with desk.app.app_context():
        found = db.session.scalars(select(Contact).where(Contact.address_key == "ann@customer.test")).all()
        assert len(found) == contacts
        assert all(contact.active == (known != "archived") for contact in found)


def test_an_address_of_ours_is_nobody(desk: FrontDesk) -> None:
    desk.receive(mail(f"Orders <{ORDERS}>", SALES))
    (document,) = desk.documents()
    assert document.contact_id is None
    assert desk.followers(document.thread_id) == {}
    with desk.app.app_context():
        assert db.session.scalar(select(Contact.id).where(Contact.address_key == ORDERS)) is None


def test_a_mail_to_two_aliases_opens_two_documents_and_a_further_copy_only_what_is_missing(desk: FrontDesk) -> None:
    both = mail(ANN, f"{SALES}, {ORDERS}", message_id="<one@x.test>")
    first, again = desk.receive(both, both)
    assert (first.state, again.state) == ("processed", "duplicate")
    assert len(desk.documents("opportunity")) == len(desk.documents("sales_order")) == 1
    (later,) = desk.receive(b"Delivered-To: support@" + DOMAIN.encode() + b"\r\n" + both)
    assert later.state == "processed"
    assert len(desk.documents()) == 3
    assert len(desk.documents("ticket")) == 1
    (last,) = desk.receive(b"Delivered-To: support@" + DOMAIN.encode() + b"\r\n" + both)
    assert last.state == "duplicate"
    assert say(last.decision[-1]) if last.decision else False


def test_two_aliases_of_one_type_make_two_documents(desk: FrontDesk) -> None:
    desk.set_alias("orders", type_id=desk.types["opportunity"])
    desk.receive(mail(ANN, f"{SALES}, {ORDERS}"))
    assert [document.number for document in desk.documents("opportunity")] == ["OPP/00001", "OPP/00002"]


def test_a_mail_without_a_subject_gets_a_title(desk: FrontDesk) -> None:
    desk.receive(mail(ANN, subject=""))
    assert desk.documents()[0].title == '"Ann Lee" <ann@customer.test>'


@pytest.mark.heavy
def test_a_heavy_mail_delays_nobody_and_its_page_shows_what_was_read_once(desk: FrontDesk) -> None:
    heavy = mail("Eve <eve@customer.test>", html="& " * 1_600_000, text="words")
    rows = desk.receive(heavy, mail())
    assert [(row.state, row.result) for row in rows] == [("processed", "document")] * 2
    assert "parse_words_only" in {step["code"] for step in rows[0].decision}
    [post] = [
        post for document in desk.documents() for post in desk.posts(document.thread_id) if post.text == "words\n"
    ]
    assert post.html == "" and post.received_mail_id == rows[0].id


def test_what_the_incoming_server_keeps(desk: FrontDesk) -> None:
    raw = mail(ANN, files=[("plan.pdf", b"%PDF")])
    with desk.app.app_context():
        keeps = Retention(attachments=False, original=False)
        kept = intake.keep("server:9", [FetchedMail("1.1", len(raw), None, raw)], NOW, keeps=keeps, worker=desk.worker)
        flow.understand(kept, desk.worker, NOW)
        row = db.session.get(ReceivedMail, kept[0].id)
        assert row is not None
        assert (row.state, row.blob_id) == ("processed", None)
        assert stored(raw) is None
    assert [post.attachments for post in desk.posts(desk.documents()[0].thread_id)] == [[]]


def test_the_action_of_the_incoming_server_takes_what_no_alias_takes(desk: FrontDesk) -> None:
    raw = mail(ANN, "somebody@elsewhere.test")
    with desk.app.app_context():
        keeps = Retention(action_type_id=desk.types["invoice"])
        kept = intake.keep("server:9", [FetchedMail("1.1", len(raw), None, raw)], NOW, keeps=keeps, worker=desk.worker)
        flow.understand(kept, desk.worker, NOW)
    assert [document.number for document in desk.documents("invoice")] == ["INV/00001"]
    assert set(desk.followers(desk.documents()[0].thread_id)) == {"ann@customer.test"}


# --- replies


def conversation(desk: FrontDesk) -> tuple[Document, SentMail]:
    """A document that Ann's mail opened, followed by Bob and two users, with an answer by the clerk."""
    desk.receive(mail(ANN, message_id="<first@customer.test>"))
    (document,) = desk.documents()
    clerk, dora = desk.user("Clerk"), desk.user("Dora")
    desk.follow(document.thread_id, clerk.contact_id, dora.contact_id, desk.contact("bob@customer.test", "Bob"))
    post = desk.post(clerk, document.thread_id, "<p>It costs 7.</p>")
    (sent,) = desk.sent(post_id=post.id)
    assert sent.to == {"ann@customer.test", "bob@customer.test", "dora@home.test"}
    assert sent.headers["References"].split()[0] == "<first@customer.test>"
    return document, sent


def test_a_reply_lands_in_its_thread_and_is_relayed_to_the_others_only(desk: FrontDesk) -> None:
    document, sent = conversation(desk)
    answer = mail(ANN, sent.reply_to, "Re: Need a quote", "Fine.", answers=["<first@customer.test>", sent.message_id])
    (row,) = desk.receive(answer)
    assert (row.state, row.result) == ("processed", "reply")
    post = desk.posts(document.thread_id)[-1]
    assert (post.text.strip(), post.parent_id is not None) == ("Fine.", True)
    assert post.author is not None
    assert post.author.name == "Ann Lee"
    (relay,) = desk.sent(post_id=post.id)
    assert relay.to == {"bob@customer.test", "clerk@home.test", "dora@home.test"}
    assert relay.from_header == f'"Ann Lee" <notifications@{DOMAIN}>'
    assert relay.headers["References"].split() == ["<first@customer.test>", sent.message_id]
    assert len(desk.documents()) == 1


def test_who_has_the_answer_in_to_or_cc_gets_it_once(desk: FrontDesk) -> None:
    document, sent = conversation(desk)
    desk.receive(mail(ANN, f"{SALES}, Dora@home.test", "Re:", answers=[sent.message_id], Cc="Bob <BOB@customer.test>"))
    (relay,) = desk.sent(post_id=desk.posts(document.thread_id)[-1].id)
    assert relay.to == {"clerk@home.test"}


def test_a_reply_of_a_stranger_is_posted_under_his_address(desk: FrontDesk) -> None:
    document, sent = conversation(desk)
    desk.receive(mail("Zoe <zoe@else.test>", CATCHALL, "Re:", answers=[sent.message_id]))
    post = desk.posts(document.thread_id)[-1]
    assert (post.author_contact_id, post.author_address) == (None, '"Zoe" <zoe@else.test>')
    assert "zoe@else.test" not in desk.followers(document.thread_id)


def test_our_id_header_finds_the_thread_when_the_ids_are_lost(desk: FrontDesk) -> None:
    document, sent = conversation(desk)
    with desk.app.app_context():
        token = office.tokens().make(TokenKind.LINE, sent.lines["ann@customer.test"])
    (row,) = desk.receive(mail(ANN, CATCHALL, "Re:", **{"X-CoquiMail-Id": token}))
    assert (row.state, row.result) == ("processed", "reply"), sentences(row)
    assert len(desk.posts(document.thread_id)) == 3


def test_our_own_mail_that_comes_back_is_a_duplicate(desk: FrontDesk) -> None:
    conversation(desk)
    (row,) = desk.receive(desk.on_the_wire("ann@customer.test"))
    assert row.state == "duplicate", sentences(row)
    assert len(desk.documents()) == 1


def test_an_answer_to_a_note_is_a_note_whoever_writes_it(desk: FrontDesk) -> None:
    document, _ = conversation(desk)
    ida = desk.user("Ida")
    note = desk.post(ida, document.thread_id, "<p>Careful.</p>", kind="note")
    (sent,) = desk.sent(post_id=note.id)
    desk.receive(mail(BOB, CATCHALL, "Re:", answers=[sent.message_id]))
    post = desk.posts(document.thread_id)[-1]
    assert post.kind == "note"
    (relay,) = desk.sent(post_id=post.id)
    assert relay.to == {"clerk@home.test", "dora@home.test", "ida@home.test"}


def test_a_forward_to_an_alias_of_another_type_opens_a_document_there(desk: FrontDesk) -> None:
    document, sent = conversation(desk)
    before = len(desk.posts(document.thread_id))
    desk.receive(mail("Dora <dora@home.test>", f"{ORDERS}, {SALES}", "Fwd: Need a quote", answers=[sent.message_id]))
    assert len(desk.posts(document.thread_id)) == before
    assert [one.title for one in desk.documents("sales_order")] == ["Fwd: Need a quote"]
    assert len(desk.documents("opportunity")) == 1


def test_an_answer_in_the_same_batch_as_the_mail_that_it_answers(desk: FrontDesk) -> None:
    first = mail(ANN, message_id="<a@customer.test>")
    second = mail(BOB, CATCHALL, "Re: Need a quote", answers=["<a@customer.test>"])
    rows = desk.receive(first, second)
    assert [(row.state, row.result) for row in rows] == [("processed", "document"), ("processed", "reply")]
    (document,) = desk.documents()
    assert len(desk.posts(document.thread_id)) == 2
    (relay,) = desk.sent()
    assert relay.to == {"ann@customer.test"}


def test_an_alias_with_a_fixed_document(desk: FrontDesk) -> None:
    fixed = desk.document("All applications")
    desk.set_alias("sales", fixed_document_id=fixed.id, follow_fixed=True)
    desk.receive(mail(ANN), mail(BOB))
    assert len(desk.documents()) == 1
    assert [post.author.name if post.author else "" for post in desk.posts(fixed.thread_id)] == ["Ann Lee", "Bob"]
    assert desk.followers(fixed.thread_id) == {"ann@customer.test": "follow_wrote", "bob@customer.test": "follow_wrote"}
    assert [sent.to for sent in desk.sent()] == [{"ann@customer.test"}], "Bob's mail reaches Ann, who wrote before him"


def test_an_answer_to_a_mailing_marks_its_trace_and_goes_on(desk: FrontDesk) -> None:
    trace_id, address = mailing_trace(desk)
    with desk.app.app_context():
        sent_as = office.tokens().message_id(TokenKind.TRACE, trace_id, DOMAIN)
    (row,) = desk.receive(mail(address, SALES, "Re: News", answers=[sent_as]))
    assert (row.state, row.result) == ("processed", "document")
    with desk.app.app_context():
        trace, mailing = db.session.get(Trace, trace_id), db.session.scalar(select(Mailing))
        assert trace is not None
        assert mailing is not None
        assert (trace.replied_at, mailing.replied) == (NOW, 1)


# --- what is not posted: rejections, automatic answers, loops, nobody's mail


def test_the_catchall_has_no_action_of_its_own(desk: FrontDesk) -> None:
    (row,) = desk.receive(mail(ANN, CATCHALL, message_id="<lost@customer.test>"))
    assert row.state == "rejected"
    (answer,) = desk.sent(kind="rejection")
    assert answer.to == {"ann@customer.test"}
    assert SALES in answer.text
    headers = answer.headers
    assert headers["Auto-Submitted"] == "auto-replied"
    assert headers["In-Reply-To"] == "<lost@customer.test>"
    with desk.app.app_context():
        assert db.session.scalar(select(OutgoingMail.envelope_sender)) == ""
    # Whatever answers to that is not answered again.
    rows = desk.receive(
        mail(ANN, CATCHALL, "Re: Re:", answers=[answer.message_id]),
        mail(ANN, CATCHALL, "Re: Re:", **{"X-CoquiMail-Loop": headers["X-CoquiMail-Loop"]}),
    )
    assert [row.state for row in rows] == ["ignored", "ignored"]
    assert len(desk.sent(kind="rejection")) == 1


@pytest.mark.parametrize(
    ("sender", "headers", "answered"),
    [
        (ANN, {}, "ann@customer.test"),
        (ANN, {"Return-Path": "<other@customer.test>"}, "other@customer.test"),
        (ANN, {"Return-Path": "<>"}, None),
        (ANN, {"List-Id": "<news.customer.test>"}, None),
        (ANN, {"Auto-Submitted": "auto-generated"}, None),
        (f"Us <{ORDERS}>", {}, None),
    ],
)
def test_who_is_told_that_a_mail_was_rejected(
    desk: FrontDesk, sender: str, headers: dict[str, str], answered: str | None
) -> None:
    (row,) = desk.receive(mail(sender, CATCHALL, **headers))
    assert row.state == ("rejected" if answered else "ignored")
    assert sentences(row)[-1].startswith("Not answered because" if answered is None else f"{CATCHALL} only"), "why not"
    assert [set(sent.lines) for sent in desk.sent()] == ([{answered}] if answered else [])


@pytest.mark.heavy
def test_answers_to_one_sender_come_to_an_end(desk: FrontDesk) -> None:
    desk.set_parameter("mail.gateway.loop.threshold", "3")
    rows = [desk.receive(mail(ANN, CATCHALL))[0] for _ in range(6)]
    assert len(desk.sent(kind="rejection")) == 3
    assert desk.states() == Counter(rejected=3, ignored=3)
    with desk.app.app_context():
        given = [given_from_ledger(row.id) for row in rows]
        foretold = [simulate_arrival(one, desk.now).state for one in given if one is not None]
    assert foretold == ["rejected"] * 3 + ["ignored"] * 3, "the reply to the email itself does not count"


def test_each_alias_judges_by_itself(desk: FrontDesk) -> None:
    desk.set_alias("sales", policy="users", refusal="Please call us.")
    (row,) = desk.receive(mail(ANN, f"{SALES}, {ORDERS}"))
    assert row.state == "processed"
    assert [document.type_id for document in desk.documents()] == [desk.types["sales_order"]]
    (answer,) = desk.sent(kind="rejection")
    assert answer.text.startswith("Please call us.")


def test_a_followers_alias_without_a_parent_is_marked_whatever_reply_comes_through_it(desk: FrontDesk) -> None:
    desk.receive(mail(ANN, message_id="<first@customer.test>"))
    desk.set_alias("sales", policy="followers")
    for mails in (
        [mail(BOB), mail(ANN, answers=["<first@customer.test>"])],
        [mail(ANN, answers=["<first@customer.test>"])],
    ):
        assert [row.state for row in desk.receive(*mails)] == ["rejected", "processed"][-len(mails) :]
    with desk.app.app_context():
        alias = db.session.scalar(select(Alias).where(Alias.address_key == SALES))
        assert alias is not None
        assert (alias.valid, alias.hits) == (False, 4)
        assert alias.why is not None
        assert alias.why["code"] == "reject_followers_of_nothing"


@pytest.mark.parametrize(("follows", "state"), [(True, "processed"), (False, "rejected")])
def test_only_followers_of_the_parent_may_write(desk: FrontDesk, follows: bool, state: str) -> None:
    ann = desk.contact("ann@customer.test", "Ann")
    parent = desk.document(followers=[ann] if follows else [])
    desk.set_alias("orders", policy="followers", parent_document_id=parent.id)
    (row,) = desk.receive(mail(ANN, ORDERS))
    assert row.state == state, sentences(row)


def test_an_absence_note_is_a_note_that_nobody_is_sent(desk: FrontDesk) -> None:
    document, sent = conversation(desk)
    before = len(desk.sent())
    away = {"Auto-Submitted": "auto-replied"}
    in_thread, nowhere = desk.receive(
        mail(BOB, CATCHALL, "Out of office", answers=[sent.message_id], **away),
        mail(ANN, SALES, "Out of office", **away),
    )
    assert (in_thread.state, in_thread.result) == ("processed", "auto_reply")
    assert desk.posts(document.thread_id)[-1].kind == "auto"
    assert nowhere.state == "ignored"
    assert len(desk.sent()) == before
    assert len(desk.documents()) == 1


@pytest.mark.heavy
def test_the_loop_brake_tells_once_and_lets_go_with_time(desk: FrontDesk) -> None:
    desk.set_parameter("mail.gateway.loop.threshold", "4")
    rows = [row for _ in range(4) for row in desk.receive(mail(ANN), mail(ANN))]
    assert [row.state for row in rows] == ["processed"] * 4 + ["rejected"] + ["quarantined"] * 3
    assert len(desk.documents()) == 4
    assert len(desk.sent(kind="rejection")) == 1
    assert desk.receive(mail(BOB))[0].state == "processed"
    desk.later(minutes=121)
    assert desk.receive(mail(ANN))[0].state == "processed"


def test_a_whole_batch_of_one_sender_is_counted(desk: FrontDesk) -> None:
    desk.set_parameter("mail.gateway.loop.threshold", "4")
    desk.receive(*(mail(ANN) for _ in range(9)))
    assert desk.states() == Counter(processed=4, rejected=1, quarantined=4)


# --- quarantine


def test_nobodys_mail_waits_for_a_person(desk: FrontDesk) -> None:
    (row,) = desk.receive(mail(ANN, f"hr@{DOMAIN}").replace(b"\nDate:", b"\nX-Date:"))
    assert row.state == "quarantined"
    assert row.decision is not None
    assert row.decision[-1] == {"code": "route_unknown_address", "values": {"address": f"hr@{DOMAIN}"}}
    with desk.app.app_context():
        assert quarantine.retry(row.id, NOW) == "quarantined"
        db.session.add(Alias(local_part="hr", address_key=f"hr@{DOMAIN}", type_id=desk.types["applicant"]))
        db.session.commit()
        assert quarantine.retry(row.id, NOW + timedelta(days=7)) == "processed"
    (document,) = desk.documents("applicant")
    assert desk.posts(document.thread_id)[0].at == NOW, "without a date of its own it is from when it arrived"
    assert desk.sent() == []
    with desk.app.app_context():
        parameters.put(parameters.ANSWER_UNKNOWN.key, "1", NOW)
        db.session.commit()
    (row,) = desk.receive(mail(ANN, f"slaes@{DOMAIN}"))
    (answer,) = desk.sent()
    assert (row.state, answer.to) == ("rejected", {"ann@customer.test"})
    assert answer.text.startswith(f"The address slaes@{DOMAIN} does not exist. Please write to {SALES} instead.")


def test_a_person_says_where_it_goes(desk: FrontDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    document = desk.document(followers=[desk.contact("bob@customer.test")])
    rows = desk.receive(*(mail(ANN, f"hr@{DOMAIN}", f"Number {n}") for n in range(4)))
    with desk.app.app_context():
        db.session.add(IncomingServer(id=9, name="hr@", host="mail.test", keep_original=False))
        db.session.execute(update(ReceivedMail).where(ReceivedMail.id == rows[3].id).values(incoming_server_id=9))
        db.session.commit()
        assert quarantine.decide(rows[0].id, by_hand.to_document(document), NOW) == "processed"
        assert quarantine.decide(rows[1].id, by_hand.to_type(desk.types["task"]), NOW) == "processed"
        assert quarantine.decide(rows[2].id, by_hand.rejected("Wrong address, sorry."), NOW) == "rejected"
        assert quarantine.drop(rows[3].id, NOW) == "ignored"
        assert set(Blob.read_all([row.blob_id or 0 for row in rows])) == {row.blob_id for row in rows[:3]}
    assert [post.subject for post in desk.posts(document.thread_id)] == ["Number 0"]
    assert [one.title for one in desk.documents("task")] == ["Number 1"]
    relay, answer = desk.sent()
    assert relay.to == {"bob@customer.test"}
    assert answer.text.startswith("Wrong address, sorry.")
    with desk.app.app_context(), pytest.raises(quarantine.NotInQuarantine):
        quarantine.drop(rows[0].id, NOW)
    steps = [[step["code"] for step in row.decision or []] for row in desk.ledger()]
    assert "quarantine_routed_document" in steps[0]
    assert steps[2][-1] == "quarantine_rejected_by_hand", "not the standard text, which nobody got"
    assert [row.blob_id is None for row in desk.ledger()] == [False, False, False, True], (
        "its server keeps no originals"
    )
    monkeypatch.setattr(quarantine, "is_heavy", lambda raw: True)
    rows = desk.receive(*(mail(BOB, f"hr@{DOMAIN}", f"Heavy {n}") for n in range(4)))
    with desk.app.app_context():
        assert quarantine.decide(rows[0].id, by_hand.to_document(document), NOW) == "received"
        assert quarantine.decide(rows[1].id, by_hand.to_type(desk.types["task"]), NOW) == "received"
        assert quarantine.decide(rows[2].id, by_hand.rejected("Too heavy.\0"), NOW) == "received"
        assert quarantine.retry(rows[3].id, NOW) == "received"
        with pytest.raises(quarantine.NotInQuarantine):
            quarantine.decide(rows[0].id, by_hand.rejected("Too heavy."), NOW)
        flow.process_waiting(NOW, desk.worker)
    ends = desk.ledger([row.id for row in rows])
    assert [row.state for row in ends] == ["processed", "processed", "rejected", "quarantined"]
    steps = [[step["code"] for step in row.decision or []] for row in ends]
    assert steps[0][-2:] == ["route_unknown_address", "quarantine_routed_document"], "both are told"
    assert [post.subject for post in desk.posts(document.thread_id)] == ["Number 0", "Heavy 0"]
    assert [one.title for one in desk.documents("task")] == ["Number 1", "Heavy 1"]
    assert desk.sent()[-1].text.startswith("Too heavy.")


def test_both_copies_of_a_mail_can_be_decided(desk: FrontDesk) -> None:
    raw = mail(ANN, f"hr@{DOMAIN}")
    first, second, third = desk.receive(raw, raw, mail(ANN, f"hr@{DOMAIN}"))
    with desk.app.app_context():
        task = desk.types["task"]
        assert [quarantine.decide(row.id, by_hand.to_type(task), NOW) for row in (first, second)] == [
            "processed",
            "duplicate",
        ]
        db.session.execute(update(ReceivedMail).where(ReceivedMail.id == first.id).values(state="quarantined"))
        db.session.commit()
        assert quarantine.drop(first.id, NOW) == "processed"  # it has its document
        assert quarantine.drop(third.id, NOW) == "ignored"
    assert len(desk.documents("task")) == 1


def test_a_mistake_of_ours_leaves_a_mail_to_be_decided(desk: FrontDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = desk.receive(mail(ANN, f"hr@{DOMAIN}"))
    with monkeypatch.context() as patch, desk.app.app_context():
        patch.setattr(by_hand, "route", lambda *_: 1 / 0)
        assert quarantine.retry(row.id, NOW) == "quarantined"
        patch.setattr(flow.ledger, "note_results", lambda *_: 1 / 0)  # after the answer was queued
        assert quarantine.decide(row.id, by_hand.rejected("Sorry."), NOW) == "quarantined"
    (row,) = desk.ledger()
    assert (row.state, row.unknown_address, row.answer_id) == ("quarantined", f"hr@{DOMAIN}", None)
    assert (row.decision or [])[-1]["code"] == "process_failed"
    assert desk.sent() == []
    with monkeypatch.context() as patch, desk.app.app_context():
        patch.setattr(by_hand, "route", lambda *_: 1 / 0)  # what a person says needs no rules
        assert quarantine.decide(row.id, by_hand.rejected("Sorry."), NOW) == "rejected"


def test_who_was_slower_is_told_so(desk: FrontDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = desk.receive(mail(ANN, f"hr@{DOMAIN}"))
    monkeypatch.setattr(apply, "_still_waiting", lambda *_: [])
    with desk.app.app_context(), pytest.raises(quarantine.NotInQuarantine):
        quarantine.retry(row.id, NOW)


def test_followers_may_write_to_the_mailbox_of_last_resort(desk: FrontDesk) -> None:
    ann = desk.contact("ann@customer.test")
    document = desk.document(followers=[ann])
    desk.set_alias("sales", policy="followers", parent_document_id=document.id)
    with desk.app.app_context():
        raw = mail(ANN, "someone@else.test")
        case = flow.read_case(1, raw, Retention(mailbox=SALES), NOW, NOW)
        (case,), _context = flow.route_group([case], NOW)
        assert case.routing.state == "processed"


def test_one_broken_mail_does_not_stop_the_others(desk: FrontDesk) -> None:
    desk.set_alias("orders", defaults={"stage_id": 987654})
    rows = desk.receive(mail(ANN), mail(BOB, ORDERS), mail("Zoe <zoe@else.test>", "nobody@else.test"), mail(BOB))
    assert [row.state for row in rows] == ["processed", "quarantined", "quarantined", "processed"]
    assert rows[1].decision is not None
    assert rows[1].decision[-1]["code"] == "process_failed"
    assert rows[1].subject == "Need a quote"
    assert [document.number for document in desk.documents()] == ["OPP/00001", "OPP/00002"], "no number is lost"
    with desk.app.app_context():
        alias = db.session.scalar(select(Alias).where(Alias.address_key == ORDERS))
        assert alias is not None
        assert alias.valid is False
    desk.set_alias("orders", defaults={})
    with desk.app.app_context():
        assert quarantine.retry(rows[1].id, NOW) == "processed"


NOISE = {
    "nothing": b"",
    "line noise": bytes(range(256)) * 40,
    "zero bytes": mail(ANN, subject="Zero").replace(b"Hello", b"He\0\0llo"),
    "raw 8-bit header": mail(ANN).replace(b"Need a quote", b"Gr\xfc\xdfe \xff\xfe \x00"),
    "half a character": mail(ANN).replace(b"Need a quote", b"=?utf-7?q?+2AA-?= =?utf-8?q?=ED=A0=80?="),
    "a charset that is none": mail(ANN, html="<p>\u00fc</p>").replace(b"utf-8", b"nonsense"),
    "a long header": mail(ANN).replace(b"Subject:", b"X-Long: " + b"a" * 300_000 + b"\nSubject:"),
    "a deep mail": b"From: a@b.test\nTo: " + SALES.encode() + b"\n"
    + b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(200)),
}  # fmt: skip


@pytest.mark.parametrize("name", NOISE)
def test_no_bytes_can_stop_the_ledger(desk: FrontDesk, name: str) -> None:
    rows = desk.receive(NOISE[name], mail(ANN))
    assert rows[0].state in ("processed", "quarantined")
    assert rows[1].state == "processed"
    codes = {step["code"] for step in rows[0].decision or []}
    assert "process_failed" not in codes


# --- whose mails these are


def test_a_mail_that_kills_its_worker_three_times_is_put_aside(desk: FrontDesk) -> None:
    with desk.app.app_context():
        raws = [mail(ANN, subject=f"{n}") for n in range(3)]
        kept = intake.keep("x", [FetchedMail(f"{n}", 1, None, raw) for n, raw in enumerate(raws)], NOW)
        for one, attempts in zip(kept, (0, 4, 5), strict=True):
            db.session.execute(update(ReceivedMail).where(ReceivedMail.id == one.id).values(attempts=attempts))
        db.session.commit()
        counts = flow.process_waiting(NOW, desk.worker)
    assert counts == Counter(processed=2, quarantined=1)
    assert [row.state for row in desk.ledger()] == ["processed", "processed", "quarantined"]
    assert desk.ledger()[2].decision == [{"code": "process_gave_up", "values": {"attempts": 3}}]


@pytest.mark.heavy
def test_a_mail_that_was_not_alone_with_the_workers_that_died_is_not_put_aside(desk: FrontDesk) -> None:
    with desk.app.app_context():
        raws = [mail(f"a{n}@customer.test", subject=f"{n}") for n in range(20)]
        intake.keep("x", [FetchedMail(f"{n}", 1, None, raw) for n, raw in enumerate(raws)], NOW)
        for deaths, limit in enumerate(intake.AT_ONCE):
            dying = desk.hire()
            assert len(intake.claim(dying, deaths, limit)) == min(limit, 20)
            db.session.execute(update(Worker).where(Worker.id == dying.id).values(ended=True))
            db.session.commit()
        assert flow.process_waiting(NOW, desk.worker) == Counter(processed=20)


def test_the_end_of_a_worker_in_good_order_does_not_count_against_a_mail(desk: FrontDesk) -> None:
    with desk.app.app_context():
        raw = mail(ANN)
        intake.keep("x", [FetchedMail("1", len(raw), None, raw)], NOW)
        db.session.execute(update(ReceivedMail).values(attempts=4))
        db.session.commit()
        for _ in range(10):
            stopped = desk.hire()
            assert len(intake.claim(stopped, 2, 1)) == 1
            intake.excuse(stopped.id)
            db.session.execute(update(Worker).where(Worker.id == stopped.id).values(ended=True))
            db.session.commit()
        assert flow.process_waiting(NOW, desk.worker) == Counter(processed=1)


def test_a_mail_that_cannot_be_routed_stops_nobody(desk: FrontDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    real = by_hand.route

    def route(message: Any, *known: Any) -> Any:
        if message.subject == "1":
            raise ValueError("a mistake of ours")
        return real(message, *known)

    monkeypatch.setattr(by_hand, "route", route)
    with desk.app.app_context():
        raws = [mail(f"a{n}@customer.test", subject=f"{n}") for n in range(3)]
        intake.keep("x", [FetchedMail(f"{n}", 1, None, raw) for n, raw in enumerate(raws)], NOW)
        assert flow.process_waiting(NOW, desk.worker) == Counter(processed=2, quarantined=1)
    assert [row.state for row in desk.ledger()] == ["processed", "quarantined", "processed"]


def test_no_more_is_claimed_at_once_than_fits_into_memory(desk: FrontDesk) -> None:
    with desk.app.app_context():
        raw = mail(ANN)
        sizes = [3_000_000, 3_000_000, 3_000_000, 60_000_000, 1, 1]
        intake.keep("x", [FetchedMail(f"{n}", size, None, raw) for n, size in enumerate(sizes)], NOW)
        assert [len(intake.claim(desk.hire(), 0, 50)) for _ in range(4)] == [2, 1, 1, 2]


def test_what_a_living_worker_holds_is_left_to_it_and_what_a_dead_one_held_is_not(desk: FrontDesk) -> None:
    with desk.app.app_context():
        other = WorkerLease.register(NOW)
        raw = mail(ANN)
        intake.keep("x", [FetchedMail("1", len(raw), None, raw)], NOW, worker=other)
        assert flow.process_waiting(NOW, desk.worker) == Counter()
        db.session.execute(update(Worker).where(Worker.id == other.id).values(seen_at=database_clock() - 11))
        db.session.commit()
        assert flow.process_waiting(NOW, desk.worker) == Counter(processed=1)
        assert db.session.scalar(select(ReceivedMail.attempts)) == 1


def test_the_same_key_is_kept_once(desk: FrontDesk) -> None:
    with desk.app.app_context():
        raw = mail(ANN)
        assert len(intake.keep("server:1", [FetchedMail("7.1", len(raw), None, raw)], NOW)) == 1
        assert len(intake.keep("server:1", [FetchedMail("7.1", len(raw), None, raw)], NOW)) == 0
        assert len(intake.keep("server:2", [FetchedMail("7.1", len(raw), None, raw)], NOW)) == 1
        assert flow.process_waiting(NOW, desk.worker) == Counter(processed=1, duplicate=1)


def test_what_waits_is_claimed_one_by_one_after_a_crash(desk: FrontDesk) -> None:
    with desk.app.app_context():
        raws = [mail(ANN, subject=f"{n}") for n in range(5)]
        intake.keep("x", [FetchedMail(f"{n}", 1, None, raw) for n, raw in enumerate(raws)], NOW)
        db.session.execute(update(ReceivedMail).values(attempts=2))
        db.session.commit()
        assert [len(intake.claim(desk.worker, 2, 1)) for _ in range(3)] == [1, 1, 1]


# --- bounces


def line_of(desk: FrontDesk, address: str) -> Recipient:
    with desk.app.app_context():
        line = db.session.scalar(
            select(Recipient).where(Recipient.address_key == address).order_by(Recipient.id.desc())
        )
        assert line is not None
        db.session.expunge(line)
        return line


def test_a_bounce_paints_the_envelope_red(desk: FrontDesk) -> None:
    document, sent = conversation(desk)
    desk.mark_sent()
    report = delivery_report("bob@customer.test", desk.on_the_wire("bob@customer.test"))
    (row,) = desk.receive(report)
    assert (row.state, row.result) == ("processed", "bounce"), sentences(row)
    assert line_of(desk, "bob@customer.test").state == "bounced"
    assert line_of(desk, "ann@customer.test").state == "sent"
    with desk.app.app_context():
        post_id = db.session.scalar(select(OutgoingMail.post_id).where(OutgoingMail.id == sent.id))
        assert post_id is not None
        found = delivery_state.envelopes([post_id])[post_id]
        assert found.colour == "red"
        assert "bob@customer.test" in say(next(line.why for line in found.lines if line.state == "bounced"))
        again = db.session.get(Document, document.id)
        assert again is not None
        assert again.failure_unread
        notice = db.session.scalar(select(Notification).where(Notification.kind == "failure"))
        assert notice is not None
        assert notice.post_id == post_id
        health = db.session.get(AddressHealth, "bob@customer.test")
        assert health is not None
        assert health.bounces == 1
    # A second report about the same mail counts once, and a person's mail sets the shown count to 0.
    desk.receive(report.replace(b"<report", b"<again"))
    with desk.app.app_context():
        assert db.session.scalars(select(Bounce.counted).order_by(Bounce.id)).all() == [True, False]
        health = db.session.get(AddressHealth, "bob@customer.test")
        assert health is not None
        assert health.bounces == 1
    desk.receive(mail(BOB))
    with desk.app.app_context():
        health = db.session.get(AddressHealth, "bob@customer.test")
        assert health is not None
        assert health.bounces == 0
    assert len(desk.documents()) == 2
    assert desk.sent(kind="rejection") == []


@pytest.mark.parametrize(
    ("action", "status", "said", "state", "kind", "counts"),
    [
        ("failed", "5.1.1", "no such user", "bounced", "hard", 1),
        ("failed", "5.2.2", "mailbox full", "bounced", "full", 1),
        ("failed", "5.7.1", "rejected as spam", "bounced", "blocked", 0),
        ("delayed", "4.4.1", "connection timed out", "sent", "delay", 0),
        ("delivered", "2.0.0", "ok", "sent", None, 0),
    ],
)
def test_what_a_report_does(
    desk: FrontDesk, action: str, status: str, said: str, state: str, kind: str | None, counts: int
) -> None:
    conversation(desk)
    desk.mark_sent()
    wire = desk.on_the_wire("ann@customer.test")
    desk.receive(delivery_report("ann@customer.test", wire, action=action, status=status, said=said))
    assert line_of(desk, "ann@customer.test").state == state
    with desk.app.app_context():
        assert [bounce.kind for bounce in db.session.scalars(select(Bounce))] == ([kind] if kind else [])
        health = db.session.get(AddressHealth, "ann@customer.test")
        assert (health.bounces if health else 0) == counts


def test_a_report_about_a_forwarded_mail_means_the_one_we_wrote_to(desk: FrontDesk) -> None:
    conversation(desk)
    desk.mark_sent()
    desk.receive(delivery_report("private@elsewhere.test", desk.on_the_wire("ann@customer.test")))
    assert line_of(desk, "ann@customer.test").state == "bounced"
    with desk.app.app_context():
        assert db.session.scalars(select(Bounce.address_key)).all() == ["ann@customer.test"]


def nameless(raw: bytes) -> bytes:
    """The same report without its recipient, and without what names the line."""
    lines = [
        line for line in raw.split(b"\r\n") if not line.startswith((b"Final-Recipient", b"X-CoquiMail-Id", b"To: ann"))
    ]
    return b"\r\n".join(lines)


def test_a_report_that_names_nobody_marks_the_post_and_blames_nobody(desk: FrontDesk) -> None:
    _, sent = conversation(desk)
    desk.mark_sent()
    (row,) = desk.receive(nameless(delivery_report("x@x.test", desk.on_the_wire("ann@customer.test"))))
    assert row.state == "processed", sentences(row)
    assert {line_of(desk, address).state for address in sent.to} == {"sent"}
    with desk.app.app_context():
        post_id = db.session.scalar(select(OutgoingMail.post_id).where(OutgoingMail.id == sent.id))
        assert post_id is not None
        assert delivery_state.envelopes([post_id])[post_id].colour == "red"
        assert db.session.scalars(select(Bounce.address_key)).all() == [None]


def test_a_report_that_names_nobody_about_a_mail_to_one_means_that_one(desk: FrontDesk) -> None:
    clerk = desk.user("Clerk")
    desk.post(clerk, desk.document(followers=[desk.contact("ann@customer.test")]).thread_id)
    desk.mark_sent()
    desk.receive(nameless(delivery_report("x@x.test", desk.on_the_wire("ann@customer.test"))))
    assert line_of(desk, "ann@customer.test").state == "bounced"


def test_a_report_about_nothing_of_ours_is_recorded_and_blames_nobody(desk: FrontDesk) -> None:
    (row,) = desk.receive(delivery_report("ann@customer.test", b"Message-ID: <other@else.test>\r\n\r\n"))
    assert (row.state, row.result) == ("processed", "bounce")
    with desk.app.app_context():
        assert db.session.scalar(select(Bounce.recipient_id)) is None
    assert desk.documents() == []
    assert desk.sent() == []


def mailing_trace(desk: FrontDesk) -> tuple[int, str]:
    """One recipient of a mailing that was sent."""
    contact = desk.contact("reader@customer.test", "Reader")
    with desk.app.app_context():
        mailing = Mailing(subject="News", from_address=f"news@{DOMAIN}", state="done", created_at=NOW, total=1, sent=1)
        db.session.add(mailing)
        db.session.flush()
        trace = Trace(
            mailing_id=mailing.id, contact_id=contact, address="reader@customer.test", state="sent", sent_at=NOW
        )
        db.session.add(trace)
        db.session.commit()
        return trace.id, trace.address


def test_the_bounce_of_a_mailing_marks_its_trace_and_the_rule_is_asked(desk: FrontDesk) -> None:
    desk.set_parameter("mail.blacklist.bounces", "1")
    desk.set_parameter("mail.blacklist.spread_days", "0")
    trace_id, address = mailing_trace(desk)
    with desk.app.app_context():
        sent_as = office.tokens().message_id(TokenKind.TRACE, trace_id, DOMAIN)
    returned = f"Message-ID: {sent_as}\r\nTo: {address}\r\n\r\n".encode()
    desk.receive(delivery_report(address, returned), delivery_report(address, returned))
    with desk.app.app_context():
        trace, mailing = db.session.get(Trace, trace_id), db.session.scalar(select(Mailing))
        assert trace is not None
        assert mailing is not None
        assert (trace.state, trace.bounced_at) == ("bounced", NOW)
        assert (mailing.sent, mailing.bounced) == (0, 1)
        assert db.session.scalars(select(Bounce.counted).order_by(Bounce.id)).all() == [True, False]
        assert db.session.scalars(select(BlacklistedAddress.address_key)).all() == [address]


def test_a_token_in_the_envelope_names_the_recipient_before_anything_else(desk: FrontDesk) -> None:
    conversation(desk)
    desk.mark_sent()
    with desk.app.app_context():
        token = office.tokens().make(TokenKind.LINE_BOUNCE, line_of(desk, "dora@home.test").id)
    report = delivery_report("x@x.test", b"Subject: x\r\n\r\n", to=f"bounce+{token}@{DOMAIN}")
    desk.receive(report)
    assert line_of(desk, "dora@home.test").state == "bounced"


def test_a_complaint_puts_the_address_on_the_blacklist(desk: FrontDesk) -> None:
    trace_id, address = mailing_trace(desk)
    with desk.app.app_context():
        sent_as = office.tokens().message_id(TokenKind.TRACE, trace_id, DOMAIN)
    raw = (
        f"From: feedback@provider.test\r\nTo: bounce@{DOMAIN}\r\nSubject: FW: News\r\nMIME-Version: 1.0\r\n"
        "Date: Sun, 22 Nov 2026 09:50:00 +0000\r\nMessage-ID: <arf@provider.test>\r\n"
        'Content-Type: multipart/report; report-type=feedback-report; boundary="B"\r\n\r\n'
        "--B\r\nContent-Type: text/plain\r\n\r\nThis is spam.\r\n\r\n"
        "--B\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nVersion: 1\r\n\r\n"
        f"--B\r\nContent-Type: message/rfc822\r\n\r\nMessage-ID: {sent_as}\r\nSubject: News\r\n\r\nx\r\n--B--\r\n"
    ).encode()
    (row,) = desk.receive(raw)
    assert (row.state, row.result) == ("processed", "complaint"), sentences(row)
    with desk.app.app_context():
        entry = db.session.scalar(select(BlacklistedAddress))
        assert entry is not None
        assert (entry.address_key, entry.reason) == (address, "complaint")


# --- what it costs


@pytest.mark.parametrize("batch", [1, 16, 50])
def test_a_mail_costs_few_statements(desk: FrontDesk, batch: int) -> None:
    clerk = desk.user("Clerk")
    document = desk.document(followers=[clerk.contact_id])
    sent_as = desk.sent(post_id=desk.post(desk.user("Dora"), document.thread_id).id)[0].message_id
    raws = []
    for number in range(batch):
        sender = f"C{number} <c{number}@customer.test>"
        is_reply = number % 2 or batch == 1
        raws.append(mail(sender, SALES, f"Number {number}", answers=[sent_as] if is_reply else []))
    with counted_statements(desk.app) as statements, desk.app.app_context():
        fetched = [FetchedMail(f"{number}", len(raw), None, raw) for number, raw in enumerate(raws)]
        kept = intake.keep("server:1", fetched, NOW, worker=desk.worker)
        counts = flow.understand(kept, desk.worker, NOW)
    assert counts == Counter(processed=batch)
    print(f"{len(statements) / batch:.1f} statements a mail, in batches of {batch}")
    assert len(statements) <= (10 * batch if batch > 1 else 32), "\n".join(statements)


def test_every_mail_is_in_exactly_one_state(desk: FrontDesk) -> None:
    _, sent = conversation(desk)
    raws = [mail(ANN), mail(BOB, CATCHALL), mail(ANN, "x@else.test"), mail(BOB, answers=[sent.message_id])]
    desk.receive(*raws, *raws)
    with desk.app.app_context():
        assert db.session.scalar(select(RouteResult.id).where(RouteResult.post_id.is_(None))) is not None
        assert len(db.session.scalars(select(Post.id)).all()) == 4
    states = desk.states()
    assert sum(states.values()) == 9
    assert states == Counter(processed=3, rejected=1, quarantined=2, duplicate=3)


# --- two workers, and mistakes of ours


@pytest.mark.heavy
def test_two_workers_take_each_mail_once(desk: FrontDesk) -> None:
    copies = [mail(f"c{n}@customer.test", f"{SALES}, {ORDERS}", f"Number {n}") for n in range(30)]
    with desk.app.app_context():
        fetched = [FetchedMail(f"{n}", len(raw), None, raw) for n, raw in enumerate(copies * 2)]
        intake.keep("x", fetched, NOW)
        workers = [desk.worker, desk.hire()]
    counts: list[Counter[str]] = []

    def work(worker: WorkerLease) -> None:
        with desk.app.app_context():
            counts.append(flow.process_waiting(NOW, worker))

    threads = [Thread(target=work, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts, Counter()) == Counter(processed=30, duplicate=30)
    assert desk.states() == Counter(processed=30, duplicate=30)
    assert len(desk.documents("opportunity")) == len(desk.documents("sales_order")) == 30


def test_a_mistake_of_ours_in_reading_one_mail_stops_no_other(desk: FrontDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    real = reader.fold_at

    def fold_at(body: str, is_html: bool = False, **known: Any) -> int | None:
        if "stumble" in body:
            raise RecursionError("over our own feet")
        return real(body, is_html, **known)

    monkeypatch.setattr(reader, "fold_at", fold_at)
    rows = desk.receive(mail(ANN), mail(BOB, text="please stumble"), mail(BOB))
    assert [row.state for row in rows] == ["processed", "quarantined", "processed"]
    assert rows[1].decision is not None
    assert "over our own feet" in say(rows[1].decision[-1])


# --- what takes long


@pytest.mark.heavy
def test_what_takes_long_lets_the_others_go_first(desk, monkeypatch):
    monkeypatch.setattr("mail.incoming.reader.HURRY", 0.001)
    ask, asked = reader._ask_child, list[bool]()
    monkeypatch.setattr(reader, "_ask_child", lambda *of: (asked.append(db.session().in_transaction()), ask(*of))[1])
    heavy, light, other = "words " * 200_000, "words", "other words " * 100_000
    mails = [mail(ANN, subject=text[:5], text=text) for text in (heavy, light, other)]
    with desk.app.app_context():
        fetched = [FetchedMail(str(number), len(raw), None, raw) for number, raw in enumerate(mails)]
        intake.keep("lmtp", fetched, NOW)
        assert flow.process_waiting(NOW, desk.worker) == Counter(processed=1)
        assert [(row.state, row.worker_id) for row in desk.ledger()][::2] == [("received", None)] * 2
        assert flow.process_waiting(NOW, desk.worker) == Counter(), "they wait for their turn"
        with monkeypatch.context() as full, pytest.raises(OSError, match="No space left"):
            full.setattr(
                "mail.incoming.reader.tempfile.TemporaryFile", lambda: os.fdopen(os.open("/dev/full", os.O_RDWR), "w+b")
            )
            flow.process_put_off(NOW, desk.worker)
        assert [flow.process_put_off(NOW, desk.worker) for _ in range(3)] == [*[Counter(processed=1)] * 2, Counter()]
    assert [(row.state, row.attempts) for row in desk.ledger()] == [("processed", 0)] * 3
    assert asked == [False] * len(asked), "nobody waits for the database while a mail is read"

"""Mail whose sender may be forged, on both databases: threads, colleagues, answers, notes, followers, loops."""

from collections import Counter
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select, update

from mail.incoming import by_hand, flow, intake, lookup, quarantine, quarantine_groups
from mail.incoming.answers import TooManyAnswers
from mail.incoming.case import Retention
from mail.maintenance.simulate_arrival import SimulatedArrival, given_from_ledger, simulate_arrival
from mail.sentences import say
from mail.transport.mailbox import FetchedMail
from models import Alias, Contact, Notification, ReceivedMail, db
from models.slices import SliceSize
from tests.integration.frontdesk import DOMAIN, NOW, FrontDesk, mail, sentences

SALES, ORDERS, CATCHALL = f"sales@{DOMAIN}", f"orders@{DOMAIN}", f"catchall@{DOMAIN}"
ANN, BOB, EVE = "Ann Lee <ann@customer.test>", "Bob <bob@customer.test>", "Eve <eve@evil.test>"


@pytest.fixture
def desk(app: Flask) -> FrontDesk:
    return FrontDesk(app)


# --- a thread can't be taken over


@pytest.mark.heavy
def test_a_mail_under_a_known_message_id_takes_over_no_thread(desk: FrontDesk) -> None:
    desk.receive(mail(ANN, message_id="<first@customer.test>"))
    desk.receive(mail(EVE, ORDERS, "Mine now", message_id="<first@customer.test>"))
    anns, eves = desk.documents()
    desk.receive(mail(BOB, CATCHALL, "Re: Need a quote", "I second that.", answers=["<first@customer.test>"]))
    post = desk.posts(anns.thread_id)[-1]
    assert post.text.strip() == "I second that."
    assert [sent.to for sent in desk.sent(post_id=post.id)] == [{"ann@customer.test"}]
    assert len(desk.posts(eves.thread_id)) == 1
    # Who follows one of several threads means that one; and an id that we signed wins over both.
    desk.receive(mail(EVE, CATCHALL, "Re:", "Me again.", answers=["<first@customer.test>"]))
    assert desk.posts(eves.thread_id)[-1].text.strip() == "Me again."
    sent = desk.sent(post_id=desk.post(desk.user("Clerk"), anns.thread_id).id)[0]
    desk.receive(mail(EVE, CATCHALL, "Re:", "Hello.", answers=["<first@customer.test>", sent.message_id]))
    assert desk.posts(anns.thread_id)[-1].text.strip() == "Hello."


# --- nobody is a colleague because his mail says so


def test_a_strangers_mail_as_a_colleague_is_marked_relayed_under_another_from_and_told(desk: FrontDesk) -> None:
    clerk, dora = desk.user("Clerk"), desk.user("Dora")
    with desk.app.app_context():  # a colleague whose address lies in the alias domain
        db.session.execute(
            update(Contact).where(Contact.id == clerk.contact_id).values(
                address=f"boss@{DOMAIN}", address_key=f"boss@{DOMAIN}"
            )
        )  # fmt: skip
        db.session.commit()
    ann = desk.contact("ann@customer.test", "Ann")
    document = desk.document(followers=[clerk.contact_id, dora.contact_id, ann])
    sent = desk.sent(post_id=desk.post(dora, document.thread_id).id)[0]
    (row,) = desk.receive(mail(f"The Boss <boss@{DOMAIN}>", CATCHALL, "Re:", "Pay at once.", answers=[sent.message_id]))
    assert row.state == "processed"
    assert "route_not_checked" in {step["code"] for step in row.decision or []}
    post = desk.posts(document.thread_id)[-1]
    assert (post.mark, post.author_contact_id) == ("not_checked", clerk.contact_id)
    (relay,) = desk.sent(post_id=post.id)
    assert relay.to == {"ann@customer.test", "dora@home.test"}
    assert relay.from_header == f'"The Boss" <notifications@{DOMAIN}>', "our server does not vouch for it"
    assert relay.text.rstrip().endswith("received by email, sender not checked")
    with desk.app.app_context():
        (notice,) = db.session.scalars(select(Notification))
        assert (notice.user_id, notice.post_id) == (clerk.id, post.id), "he reads that it was sent in his name"


# --- what our receiving server says of the sender

MX = f"mx.{DOMAIN}"


def checked(results: str, raw: bytes, server: str = MX) -> bytes:
    """Return a mail as our server passed it on, with what it found out about the sender."""
    top = f"Authentication-Results: {server}; {results}\r\n"
    return f"{top}Received: from out.test (out.test [192.0.2.9]) by {MX} with ESMTPS id 7\r\n".encode() + raw


def pushed(desk: FrontDesk, *raws: bytes) -> list[ReceivedMail]:
    desk.set_parameter("mail.gateway.checked_by", MX)
    return desk.receive(*raws, source="lmtp")


def signed(raw: bytes) -> bytes:
    """Return a mail as a program signs it (S/MIME)."""
    head, kind, text = raw.partition(b"Content-Type: ")
    signature = b"--b\nContent-Type: application/pkcs7-signature; name=smime.p7s\n\nxyz\n--b--\n"
    return head + b"Content-Type: multipart/signed; boundary=b\n\n--b\n" + kind + text + signature


CLERK = "The Clerk <clerk@home.test>"
FORGED = "dmarc=fail (p=reject) header.from=home.test"


def test_a_forged_colleague_is_marked_told_and_is_not_the_colleague(desk: FrontDesk) -> None:
    clerk, dora = desk.user("Clerk", notify="inbox"), desk.user("Dora")
    document = desk.document(followers=[clerk.contact_id, dora.contact_id, desk.contact("ann@customer.test")])
    sent = desk.sent(post_id=desk.post(dora, document.thread_id).id)[0]
    (row,) = pushed(desk, checked(FORGED, mail(CLERK, CATCHALL, "Re:", "Pay.", answers=[sent.message_id])))
    assert (row.state, row.result) == ("processed", "reply")
    assert sentences(row)[-1] == f"{MX} checked the sender: DMARC failed for home.test."
    post = desk.posts(document.thread_id)[-1]
    assert post.mark == "forged"
    assert post.mark_why is not None
    assert post.mark_why["code"] == "sender_failed_dmarc"
    (relay,) = desk.sent(post_id=post.id)
    assert relay.from_header == f'"The Clerk" <notifications@{DOMAIN}>'
    assert relay.text.rstrip().endswith("received by email, sender not verified: may be forged")
    with desk.app.app_context():
        (notice,) = db.session.scalars(select(Notification).where(Notification.post_id == post.id))
        assert notice.user_id == clerk.id


def test_a_forged_colleague_is_not_let_in_where_only_users_are_and_the_colleague_hears_of_it_once(
    desk: FrontDesk,
) -> None:
    clerk = desk.user("Clerk")
    desk.set_alias("sales", policy="users")
    raws = [checked(FORGED, mail(CLERK, subject=f"{n}", Return_Path="<eve@evil.test>")) for n in range(3)]
    rows = pushed(desk, *raws)
    assert [row.state for row in rows] == ["rejected"] * 3
    assert {address for sent in desk.sent() for address in sent.to} == {"eve@evil.test"}
    with desk.app.app_context():
        (notice,) = db.session.scalars(select(Notification))
        assert (notice.user_id, notice.kind) == (clerk.id, "notice")
        assert notice.why is not None
        assert say(notice.why) == (
            f'An email to {SALES} named "The Clerk" <clerk@home.test> as its sender and may be forged. It was '
            "rejected. If you wrote it, send it again through your usual mail server, or ask your administrator."
        )
    (real,) = pushed(desk, checked("dmarc=pass header.from=home.test", mail(CLERK)))
    assert real.state == "processed"


def test_a_colleague_whom_our_server_confirms_keeps_his_name_and_hears_nothing(desk: FrontDesk) -> None:
    dora = desk.user("Dora")
    boss = desk.contact(f"boss@{DOMAIN}", "Boss")
    document = desk.document(followers=[boss, dora.contact_id])
    sent = desk.sent(post_id=desk.post(dora, document.thread_id).id)[0]
    raw = mail(f"Boss <boss@{DOMAIN}>", CATCHALL, "Re:", "Agreed.", answers=[sent.message_id])
    pushed(desk, checked(f"dkim=pass header.d={DOMAIN}", signed(raw)))
    post = desk.posts(document.thread_id)[-1]
    assert (post.mark, post.sealed) == ("verified", "signed")
    (relay,) = desk.sent(post_id=post.id)
    assert relay.from_header == f'"Boss" <boss@{DOMAIN}>'
    assert "not checked" not in relay.text
    with desk.app.app_context():
        assert db.session.scalars(select(Notification)).all() == []


@pytest.mark.parametrize("source", ["practice", "lmtp"])
def test_no_results_but_those_of_our_own_server_count(desk: FrontDesk, source: str) -> None:
    desk.user("Clerk")
    server = MX if source == "practice" else "mx.evil.test"
    desk.set_parameter("mail.gateway.checked_by", MX)
    desk.receive(checked("dmarc=pass", mail(CLERK), server), source=source)
    (document,) = desk.documents()
    assert desk.posts(document.thread_id)[0].mark == "not_checked"


def test_what_a_person_posts_in_the_browser_has_no_mark(desk: FrontDesk) -> None:
    document = desk.document(followers=[desk.contact("ann@customer.test")])
    post = desk.post(desk.user("Clerk"), document.thread_id)
    assert post.mark == ""
    assert "not checked" not in desk.sent(post_id=post.id)[0].text


@pytest.mark.parametrize("policy", ["users", "everyone"])
def test_a_colleague_who_writes_by_email_is_let_in_with_a_mark(desk: FrontDesk, policy: str) -> None:
    desk.user("Clerk")
    desk.set_alias("sales", policy=policy)
    (row,) = desk.receive(mail("Clerk <clerk@home.test>"))
    assert row.state == "processed"
    (document,) = desk.documents()
    assert desk.posts(document.thread_id)[0].mark == "not_checked"


# --- the person behind Reply-To


def test_the_customer_behind_a_web_form_is_reached(desk: FrontDesk) -> None:
    (row,) = desk.receive(mail(f"Web form <{SALES}>", SALES, **{"Reply-To": ANN}))
    (document,) = desk.documents()
    assert document.contact is not None
    assert (document.contact.name, document.sender) == ("Ann Lee", '"Ann Lee" <ann@customer.test>')
    assert desk.followers(document.thread_id) == {"ann@customer.test": "follow_author"}
    (post,) = desk.posts(document.thread_id)
    assert (post.author_contact_id, post.mark) == (document.contact_id, "not_checked")
    assert post.why is not None
    assert post.why["code"] == "author_behind_own_address"
    assert row.from_text == f'"Web form" <{SALES}>'
    sent = desk.sent(post_id=desk.post(desk.user("Clerk"), document.thread_id).id)[0]
    assert sent.to == {"ann@customer.test"}


def test_answers_go_to_the_reply_to_of_an_ordinary_mail(desk: FrontDesk) -> None:
    desk.receive(mail(ANN, message_id="<first@customer.test>", **{"Reply-To": "Team <team@customer.test>"}))
    (document,) = desk.documents()
    assert document.contact is not None
    assert document.contact.address_key == "ann@customer.test"
    assert desk.followers(document.thread_id) == {"team@customer.test": "follow_reply_to"}, "Ann wrote it"
    desk.receive(mail(ANN, CATCHALL, "Re:", answers=["<first@customer.test>"], **{"Reply-To": "team@customer.test"}))
    assert desk.sent() == [], "neither of them gets Ann's own words"


def test_a_forged_reply_to_makes_nobody_a_colleague(desk: FrontDesk) -> None:
    clerk = desk.user("Clerk")
    desk.set_alias("sales", policy="users")
    (row,) = desk.receive(mail(EVE, **{"Reply-To": "clerk@home.test"}))
    assert row.state == "rejected"
    desk.set_alias("sales", policy="everyone")
    rows = desk.receive(
        mail(EVE, **{"Reply-To": "clerk@home.test"}), mail("no-reply@evil.test", **{"Reply-To": "clerk@home.test"})
    )
    assert [row.state for row in rows] == ["processed"] * 2
    ordinary, machine = desk.documents()
    assert set(desk.followers(ordinary.thread_id)) == {"eve@evil.test"}
    (post,) = desk.posts(machine.thread_id)
    assert (post.author_contact_id, post.mark) == (clerk.contact_id, "not_checked")


# --- answers of the system


def test_a_rejection_quotes_nothing_and_is_no_reflector(desk: FrontDesk) -> None:
    spam = {"subject": "Cheap pills", "text": "Buy them at https://evil.test now!"}
    rows = desk.receive(
        *(mail(f"Cheap pills <e{n}@evil.test>", CATCHALL, **spam, Return_Path=f"<victim{n}@else.test>")
          for n in range(30))
    )  # fmt: skip
    assert Counter(row.state for row in rows) == Counter(rejected=20, ignored=10)
    answers = desk.sent(kind="rejection")
    assert {address for sent in answers for address in sent.to} == {f"victim{n}@else.test" for n in range(20)}
    for sent in answers:
        whole = f"{sent.subject} {sent.text} {sent.headers} {desk.on_the_wire(next(iter(sent.to))).decode()}"
        assert "pills" not in whole
        assert "https" not in whole
    assert answers[0].subject == f"Your email to {CATCHALL}"
    assert sentences(rows[-1])[-1] == "Not answered because 20 automatic replies were sent within the last hour."
    desk.later(minutes=61)
    (later,) = desk.receive(mail(ANN, CATCHALL))
    assert later.state == "rejected"


def test_two_batches_that_were_decided_together_do_not_answer_twice_as_much(desk: FrontDesk) -> None:
    with desk.app.app_context():
        raws = [mail(f"c{n}@customer.test", CATCHALL) for n in range(24)]
        kept = intake.keep(
            "x", [FetchedMail(f"{n}", 1, None, raw) for n, raw in enumerate(raws)], NOW, worker=desk.worker
        )
        cases = [flow.read_case(one.id, one.raw, one.keeps, NOW, one.arrived_at) for one in kept]
        halves = [flow.route_group(half, NOW) for half in (cases[:12], cases[12:])]
        assert flow.write_group(*halves[0], NOW)
        with pytest.raises(TooManyAnswers):
            flow.write_group(*halves[1], NOW, last_try=True)
        flow.understand(kept[12:], desk.worker, NOW)
    assert desk.states() == Counter(rejected=20, ignored=4)
    assert len(desk.sent(kind="rejection")) == 20


def test_what_a_person_answers_from_quarantine_goes_to_who_may_be_answered(desk: FrontDesk) -> None:
    rows = desk.receive(mail(ANN, "x@else.test"), mail(ANN, "x@else.test", Return_Path="<>"))
    with desk.app.app_context():
        assert [quarantine.decide(row.id, by_hand.rejected("Sorry."), NOW) for row in rows] == ["rejected", "ignored"]
        assert lookup.answers_since(NOW) == 0, "they are no automatic replies"
    assert [sent.to for sent in desk.sent()] == [{"ann@customer.test"}]


# --- internal notes


def test_ids_of_notes_never_reach_people_who_are_not_users(desk: FrontDesk) -> None:
    clerk, dora = desk.user("Clerk"), desk.user("Dora")
    document = desk.document(followers=[clerk.contact_id, dora.contact_id, desk.contact("ann@customer.test", "Ann")])
    first = desk.sent(post_id=desk.post(clerk, document.thread_id).id)[0]
    note = desk.sent(post_id=desk.post(dora, document.thread_id, kind="note").id)[0]
    second = desk.sent(post_id=desk.post(clerk, document.thread_id).id)[0]
    assert note.headers["References"].split() == [first.message_id]
    assert second.headers["References"].split() == [first.message_id]
    # A user answers the note by mail (a note), then the message, quoting all ids that he has.
    ids = [first.message_id, note.message_id]
    desk.receive(mail("Dora <dora@home.test>", CATCHALL, "Re:", answers=ids, message_id="<doras-note@home.test>"))
    assert desk.posts(document.thread_id)[-1].kind == "note"
    ids = [first.message_id, note.message_id, "<doras-note@home.test>", second.message_id]
    desk.receive(mail("Dora <dora@home.test>", CATCHALL, "Re:", answers=ids))
    relay = desk.sent(post_id=desk.posts(document.thread_id)[-1].id)[0]
    assert "ann@customer.test" in relay.to
    assert relay.headers["References"].split() == [first.message_id, second.message_id]
    third = desk.sent(post_id=desk.post(clerk, document.thread_id).id)[0]
    assert note.message_id not in third.headers["References"]
    assert "doras-note" not in third.headers["References"]


def test_an_outsiders_answer_to_a_note_is_marked(desk: FrontDesk) -> None:
    clerk, dora = desk.user("Clerk"), desk.user("Dora")
    document = desk.document(followers=[clerk.contact_id, dora.contact_id])
    note = desk.sent(post_id=desk.post(dora, document.thread_id, kind="note").id)[0]
    desk.receive(mail(ANN, CATCHALL, "Re:", answers=[note.message_id]))
    desk.receive(mail("Dora <dora@home.test>", CATCHALL, "Re:", answers=[note.message_id]))
    assert [(post.kind, post.mark) for post in desk.posts(document.thread_id)] == [
        ("note", ""), ("note", "from_outside"), ("note", "not_checked")
    ]  # fmt: skip


# --- fixed documents


@pytest.mark.parametrize(("follow_fixed", "followers"), [(False, set()), (True, {"ann@customer.test"})])
def test_a_fixed_document_has_the_followers_that_its_alias_wants(
    desk: FrontDesk, follow_fixed: bool, followers: set[str]
) -> None:
    fixed = desk.document("All applications")
    desk.set_alias("sales", fixed_document_id=fixed.id, follow_fixed=follow_fixed)
    desk.receive(mail(ANN))
    assert [post.author.name for post in desk.posts(fixed.thread_id) if post.author] == ["Ann Lee"]
    assert set(desk.followers(fixed.thread_id)) == followers


# --- references of relays


def test_a_relay_keeps_the_order_of_the_thread(desk: FrontDesk) -> None:
    desk.receive(mail(ANN, message_id="<c1@customer.test>"))
    (document,) = desk.documents()
    clerk = desk.user("Clerk")
    desk.follow(document.thread_id, clerk.contact_id, desk.contact("bob@customer.test"))
    p1 = desk.sent(post_id=desk.post(clerk, document.thread_id).id)[0].message_id
    ids = ["<c1@customer.test>", p1, "<c2@customer.test>"]
    desk.receive(mail(ANN, CATCHALL, "Re:", answers=ids[:2], message_id="<c2@customer.test>"))
    p2 = desk.sent(post_id=desk.posts(document.thread_id)[-1].id)[0].message_id
    desk.receive(mail(BOB, CATCHALL, "Re:", answers=[*ids, p2]))
    relay = desk.sent(post_id=desk.posts(document.thread_id)[-1].id)[0]
    assert relay.headers["References"].split() == [*ids, p2]


# --- loops


def arriving(desk: FrontDesk, raws: list[bytes], minutes: int) -> list[ReceivedMail]:
    """Let mails that arrived at their server one after the other be fetched together."""
    times = [NOW - timedelta(minutes=minutes * number) for number in reversed(range(len(raws)))]
    with desk.app.app_context():
        fetched = [
            FetchedMail(f"{number}", 1, at, raw) for number, (at, raw) in enumerate(zip(times, raws, strict=True))
        ]
        kept = intake.keep("server:1", fetched, NOW, worker=desk.worker)
        flow.understand(kept, desk.worker, NOW)
        return desk.ledger([one.id for one in kept])


def simulated(desk: FrontDesk, row: ReceivedMail) -> SimulatedArrival:
    """Ask the simulator about a mail of the ledger."""
    with desk.app.app_context():
        given = given_from_ledger(row.id)
        assert given is not None
        return simulate_arrival(given, desk.now)


@pytest.mark.parametrize(
    ("minutes", "states", "near"),
    [
        (120, Counter(processed=60), 2),
        (7, Counter(processed=60), 36),
        (0, Counter(processed=20, rejected=1, quarantined=39), 20),
    ],
)
def test_an_outage_of_ours_makes_no_loop(desk: FrontDesk, minutes: int, states: Counter[str], near: int) -> None:
    rows = arriving(desk, [mail(ANN, subject=f"Number {n}") for n in range(60)], minutes)
    assert Counter(row.state for row in rows) == states
    with desk.app.app_context():
        ends = [flow.read_case(0, mail(ANN), Retention(), NOW, row.arrived_at) for row in (rows[-1], rows[0])]
        (posted,) = lookup.load_context(ends, NOW).posted["ann@customer.test"].values()
        assert len(posted) == near, "what came between the two is not asked for"


def test_what_the_loop_brake_holds_is_one_group_that_a_person_takes_or_drops(
    desk: FrontDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine_groups, "_slices", SliceSize(12, least=12, most=12))  # 36 are three, and none left
    desk.set_parameter("mail.gateway.loop.threshold", "4")
    robot = {"Auto-Submitted": "auto-generated"}
    rows = arriving(desk, [mail("robot@shop.test", subject=f"Order {n}", **robot) for n in range(40)], 0)
    rows += desk.receive(*(mail(BOB, subject=f"{n}") for n in range(7)))
    assert Counter(row.state for row in rows) == Counter(processed=8, rejected=1, quarantined=38)
    assert [sent.to for sent in desk.sent(kind="rejection")] == [{"bob@customer.test"}], "a program can't be told"
    with desk.app.app_context():
        alias = db.session.scalar(select(Alias.id).where(Alias.address_key == SALES))
        robots, bobs = quarantine_groups.held_groups()
        assert (robots.sender, robots.held, robots.count) == ("robot@shop.test", f"alias:{alias}", 36)
        assert (bobs.sender, bobs.count) == ("bob@customer.test", 2)
        assert quarantine_groups.take_held("robot@shop.test", robots.held, NOW) == 36
        assert quarantine_groups.take_held("robot@shop.test", robots.held, NOW) == 0
        assert flow.process_waiting(NOW, desk.worker) == Counter(processed=36)
        assert quarantine_groups.discard_held("bob@customer.test", bobs.held, NOW) == 2
        assert quarantine_groups.held_groups() == []
    assert desk.states() == Counter(processed=44, rejected=1, ignored=2)
    assert len(desk.documents()) == 44
    steps = [step["code"] for step in desk.ledger([rows[-1].id])[0].decision or []]
    assert steps[0] == "route_no_own_answer" and steps[-1] == "quarantine_dropped"


def test_one_mail_that_the_loop_brake_holds_comes_in_by_retry(desk: FrontDesk) -> None:
    desk.set_parameter("mail.gateway.loop.threshold", "1")
    rows = desk.receive(mail(ANN), mail(ANN), mail(ANN))
    assert [row.state for row in rows] == ["processed", "rejected", "quarantined"]
    assert [simulated(desk, row).state for row in rows] == ["processed", "rejected", "processed"], "it is not counted"
    (partly,) = desk.receive(mail(ANN, f"{SALES}, support@{DOMAIN}"))
    assert len(desk.documents("ticket")) == 1
    assert len(simulated(desk, partly).consequences) == 1, "the ticket is there"
    with desk.app.app_context():
        assert quarantine.retry(partly.id, NOW) == "processed"
        assert quarantine.retry(rows[2].id, NOW) == "processed"
        assert quarantine_groups.held_groups() == []


@pytest.mark.parametrize(("threshold", "processed"), [("3", 3), ("0", 9)])
def test_a_mail_without_a_sender_is_counted_and_0_switches_the_brake_off(
    desk: FrontDesk, threshold: str, processed: int
) -> None:
    desk.set_parameter("mail.gateway.loop.threshold", threshold)
    raws = [f"Subject: {n}\r\nTo: {SALES}\r\nMessage-ID: <{n}@x.test>\r\n\r\nHello".encode() for n in range(9)]
    for raw in raws:
        desk.receive(raw)
    assert desk.states() == Counter(processed=processed, **({"quarantined": 9 - processed} if processed < 9 else {}))


# --- mails that nothing tells apart


def test_two_mails_without_message_id_and_date_are_two(desk: FrontDesk) -> None:
    raw = f"From: Door <door@sensor.test>\r\nTo: {SALES}\r\nSubject: Open\r\n\r\nOpen".encode()
    rows = desk.receive(raw, raw)
    assert [row.state for row in rows] == ["processed", "processed"]
    assert len(desk.documents()) == 2


def test_a_mail_with_thousands_of_references_is_routed(desk: FrontDesk) -> None:
    ids = "\r\n ".join(f"<{n}@x.test>" for n in range(14_000))
    raw = (
        f"From: {ANN}\r\nTo: {SALES}\r\nSubject: Long\r\nMessage-ID: <l@x.test>\r\nReferences: {ids}\r\n\r\nHi".encode()
    )
    (row,) = desk.receive(raw)
    assert (row.state, row.result) == ("processed", "document"), sentences(row)

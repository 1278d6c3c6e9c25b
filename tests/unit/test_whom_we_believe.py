"""Who speaks for the office? A table of senders: what is marked, what the policies say, what our servers vouch for."""

from datetime import UTC, datetime

import pytest

from mail.decide.domains import Office
from mail.decide.facts import AddressBook, AliasRule, Facts, KnownMessage, SenderFacts, look_up
from mail.decide.routing import route
from mail.decide.sender import Request, decide
from mail.decide.servers import Server
from mail.message.parse import parse
from mail.sentences import say

NOW = datetime(2026, 11, 3, 12, 0, tzinfo=UTC)
BOOK = AddressBook(
    [
        AliasRule(1, "sales@office.test", type_id=1),
        AliasRule(2, "team@office.test", type_id=2, policy="users"),
        AliasRule(3, "info@office.test", type_id=1, any_domain=True),
        AliasRule(4, "club@office.test", type_id=2, policy="followers", parent_thread_id=50),
        AliasRule(5, "known@office.test", type_id=2, policy="contacts"),
        AliasRule(6, "catchall@office.test", "catchall"),
        AliasRule(7, "bounce@office.test", "bounce"),
        AliasRule(8, "old@before.test", type_id=1, retired=True),
    ],
    own=["notifications@office.test", "desk@other.test"],
    domains=["office.test"],
)
FOLLOWS = frozenset({50, 1})
PEOPLE = {
    "boss@office.test": SenderFacts(1, 1, FOLLOWS),
    "clerk@gmail.test": SenderFacts(2, 2, FOLLOWS),
    "ann@x.test": SenderFacts(3, None, FOLLOWS),
    "bob@x.test": SenderFacts(4, None),
}
NOTE = {"<note@office.test>": KnownMessage(5, thread_id=1, type_id=1, post_id=5, is_note=True)}
POST = {"<post@office.test>": KnownMessage(4, thread_id=1, type_id=1, post_id=4)}


SERVER = "mx.office.test"
CAME_IN = f"Received: from out.test (out.test [192.0.2.9])\n by {SERVER} (Postfix) with ESMTPS id 7"


def routed(header, authenticated=False, results=None):
    """Route a mail; ``authenticated``: our server says that its sender is real, else it says nothing."""
    if authenticated:
        results = "dmarc=pass"
    if results is not None:
        header = f"Authentication-Results: {SERVER}; {results}\n{CAME_IN}\n{header}"
    message = parse(f"{header}\nSubject: x\n\nhello".encode(), NOW)
    asked = look_up(message, BOOK)
    sender, author = (PEOPLE.get(address, SenderFacts()) for address in (asked.sender, asked.author))
    known = {id: one for id, one in (NOTE | POST).items() if id in asked.ids}
    facts = Facts(BOOK, signed=known, sender=sender, author=author, checked_by=SERVER)
    return route(message, asked, facts)


@pytest.mark.parametrize(
    ("header", "is_marked", "proved"),
    [
        # strangers
        ("From: ann@x.test", False, ""),
        ("From: Boss <ann@x.test>", False, ""),
        ('From: "boss@office.test" <ann@x.test>', False, ""),
        ("From: ann@x.test\nSender: boss@office.test", False, ""),
        ("From: ann@x.test\nReturn-Path: <boss@office.test>", False, ""),
        ("From: ann@x.test\nReply-To: bob@x.test", False, ""),
        ("From: boss@sub.office.test", False, ""),
        ("From: boss@notoffice.test", False, ""),
        ("From: boss@office.test.evil.test", False, ""),
        ("From: boss@\u043effice.test", False, ""),  # a Cyrillic letter
        ("From: info@x.test", False, ""),  # the local part of an alias for any domain
        ("From: no-reply@x.test\nReply-To: ann@x.test", False, ""),
        ("Subject: nobody", False, ""),
        # users, wherever their address is
        ("From: boss@office.test", True, "verified"),
        ("From: The Boss <BOSS@Office.TEST>", True, "verified"),
        ("From: boss@office.test\nSender: forms@x.test", True, "verified"),
        ("From: boss@office.test\nReply-To: eve@evil.test", True, "verified"),
        ("From: boss@office.test, ann@x.test", True, "verified"),
        ("From: clerk@gmail.test", True, "verified"),
        ("From: =?utf-8?q?Boss?= <boss@office.test>\nReturn-Path: <eve@evil.test>", True, "verified"),
        ("Sender: boss@office.test", True, "forged"),  # without a From it is the Sender
        # our own addresses, old ones too
        ("From: sales@office.test", True, "verified"),
        ("From: Boss via Sales <sales@office.test>\nReply-To: ann@x.test", True, ""),
        ("From: Boss <notifications@office.test>", True, "verified"),  # as our own servers encapsulate
        ("From: catchall@office.test", True, "verified"),
        ("From: bounce+abc@office.test", True, "verified"),
        ("From: sales+spring@office.test", True, "verified"),
        ("From: desk@other.test", True, "verified"),
        ("From: else@other.test", False, ""),
        ("From: old@before.test", True, "verified"),
        ("From: anybody@office.test", True, "verified"),  # in our domain
        # the person behind a machine
        ("From: no-reply@x.test\nReply-To: boss@office.test", True, "not_checked"),
        ("From: no-reply@x.test\nReply-To: clerk@gmail.test", True, "not_checked"),
    ],
)
def test_what_names_one_of_us_is_marked_until_it_is_authenticated(header, is_marked, proved):
    routing = routed(f"{header}\nTo: sales@office.test")
    assert routing.mark == ("not_checked" if is_marked else "")
    assert ("route_not_checked" in {step["code"] for step in routing.steps}) is is_marked
    assert all("?" not in say(step) for step in routing.steps)
    confirmed = routed(f"{header}\nTo: sales@office.test", authenticated=True)
    assert confirmed.mark == (proved if is_marked else "")
    assert all("?" not in say(step) for step in confirmed.steps)


@pytest.mark.parametrize(
    ("sender", "alias", "authenticated", "code"),
    [
        ("boss@office.test", "team", False, None),
        ("boss@office.test", "team", True, None),
        ("clerk@gmail.test", "team", False, None),
        ("clerk@gmail.test", "team", True, None),
        ("ann@x.test", "team", False, "reject_users"),
        ("ann@x.test", "team", True, "reject_users"),
        ("anybody@office.test", "team", False, "reject_users"),
        ("anybody@office.test", "team", True, "reject_users"),
        ("boss@office.test", "club", False, None),
        ("boss@office.test", "club", True, None),
        ("ann@x.test", "club", False, None),  # a customer who follows
        ("bob@x.test", "club", False, "reject_followers"),
        ("boss@office.test", "known", False, None),  # a known contact, whoever wrote it
        ("ann@x.test", "known", False, None),
        ("eve@evil.test", "known", False, "reject_contacts"),
        ("boss@office.test", "sales", False, None),
        ("ann@x.test\nReply-To: boss@office.test", "team", True, "reject_users"),
        ("no-reply@x.test\nReply-To: boss@office.test", "team", True, "reject_users"),
    ],
)
def test_policies_judge_by_the_from_of_a_known_person(sender, alias, authenticated, code):
    routing = routed(f"From: {sender}\nTo: {alias}@office.test", authenticated)
    assert (routing.state == "rejected") is (code is not None)
    assert code is None or code in {step["code"] for step in routing.steps}


FAILS = "spf=pass smtp.mailfrom=evil.test; dkim=none; dmarc=fail header.from=x.test"


@pytest.mark.parametrize(
    ("sender", "alias", "results", "code", "mark"),
    [
        # who fails is not that person, whether a user or a follower
        ("boss@office.test", "team", FAILS, "reject_users", "forged"),
        ("clerk@gmail.test", "team", FAILS, "reject_users", "forged"),
        ("boss@office.test", "club", FAILS, "reject_followers", "forged"),
        ("ann@x.test", "club", FAILS, "reject_followers", "forged"),
        ("no-reply@x.test\nReply-To: boss@office.test", "club", FAILS, "reject_followers", "forged"),
        # it may write where everybody may, and to those who know the contact: with the mark
        ("boss@office.test", "sales", FAILS, None, "forged"),
        ("boss@office.test", "known", FAILS, None, "forged"),
        ("ann@x.test", "known", FAILS, None, "forged"),
        ("sales@office.test", "sales", FAILS, None, "forged"),
        # nothing depends on who these are
        ("ann@x.test", "sales", FAILS, None, ""),
        ("eve@evil.test", "sales", FAILS, None, ""),
        ("eve@evil.test", "club", FAILS, "reject_followers", ""),
        ("bob@x.test", "known", None, None, ""),
        # without a result: in, with a mark if it takes a person's place
        ("ann@x.test", "club", None, None, "not_checked"),
        ("ann@x.test", "club", "none", None, "not_checked"),
        ("ann@x.test", "club", "dmarc=pass", None, ""),
        ("boss@office.test", "club", "dkim=pass header.d=office.test", None, "verified"),
        ("boss@office.test", "team", "spf=pass smtp.mailfrom=office.test", None, "verified"),
        ("boss@office.test", "team", "dmarc=temperror", None, "not_checked"),
    ],
)
def test_a_forged_sender_has_no_rights_of_the_person_that_it_names(sender, alias, results, code, mark):
    routing = routed(f"From: {sender}\nTo: {alias}@office.test", results=results)
    codes = {step["code"] for step in routing.steps}
    assert routing.mark == mark
    assert (routing.state == "rejected") is (code is not None)
    assert code is None or code in codes
    assert (f"route_{mark}" in codes) is bool(mark)
    assert all("?" not in say(step) for step in routing.steps)


@pytest.mark.parametrize(
    ("sender", "answers", "authenticated", "kind", "mark"),
    [
        # an answer to a note is a note; one that no user wrote for certain is marked
        ("ann@x.test", "note", False, "note", "outside"),
        ("ann@x.test", "note", True, "note", "outside"),
        ("eve@evil.test", "note", False, "note", "outside"),
        ("anybody@office.test", "note", False, "note", "not checked"),
        ("boss@office.test", "note", False, "note", "not checked"),
        ("boss@office.test", "note", True, "note", ""),
        ("clerk@gmail.test", "note", True, "note", ""),
        ("clerk@gmail.test", "note", False, "note", "not checked"),
        ("sales@office.test\nReply-To: ann@x.test", "note", False, "note", "not checked"),
        ("no-reply@x.test\nReply-To: clerk@gmail.test", "note", True, "note", "not checked"),
        ("ann@x.test", "post note", False, "note", "outside"),
        ("ann@x.test", "note post", False, "note", "outside"),
        ("ann@x.test", "post", False, "message", ""),
        ("boss@office.test", "post", False, "message", "not checked"),
        ("boss@office.test", "post", True, "message", ""),
    ],
)
def test_an_answer_to_a_note_comes_from_a_user_or_is_marked(sender, answers, authenticated, kind, mark):
    ids = " ".join(f"<{name}@office.test>" for name in answers.split())
    routing = routed(f"From: {sender}\nTo: catchall@office.test\nReferences: {ids}", authenticated)
    (reply,) = routing.outcomes
    assert ("note" if reply.is_note else "message") == kind
    assert ("not checked" if routing.is_doubted else "outside" if reply.from_outside else "") == mark


# --- what our servers vouch for

OPEN = Server(1, "open", 10)
ACME = Server(2, "acme", 20, ("acme.test", "ceo@else.test"))
KEEPS = Server(3, "keeps", 5, rewrite="never")
OURS = Office("notifications", "office.test", company="Office")
NOTIFICATIONS = "notifications@office.test"


@pytest.mark.parametrize(
    ("servers", "office", "sender", "written_here", "relayed"),
    [
        # ours: a person who writes in the browser keeps it, a received mail does not
        ([OPEN], OURS, "Boss <boss@office.test>", "boss@office.test", NOTIFICATIONS),
        ([OPEN], OURS, "BOSS@OFFICE.TEST", "BOSS@office.test", NOTIFICATIONS),
        ([OPEN], OURS, "sales@office.test", "sales@office.test", NOTIFICATIONS),
        ([OPEN], OURS, NOTIFICATIONS, NOTIFICATIONS, NOTIFICATIONS),
        ([OPEN, ACME], OURS, "clerk@acme.test", "clerk@acme.test", NOTIFICATIONS),
        ([OPEN, ACME], OURS, "ceo@else.test", "ceo@else.test", NOTIFICATIONS),
        ([ACME], OURS, "clerk@acme.test", "clerk@acme.test", NOTIFICATIONS),
        ([KEEPS], OURS, "boss@office.test", "boss@office.test", NOTIFICATIONS),
        ([KEEPS, ACME], OURS, "clerk@acme.test", "clerk@acme.test", NOTIFICATIONS),
        # a stranger's is rewritten anyway, or kept because the server is set so
        ([OPEN], OURS, "ann@x.test", NOTIFICATIONS, NOTIFICATIONS),
        ([OPEN], OURS, "boss@sub.office.test", NOTIFICATIONS, NOTIFICATIONS),
        ([OPEN], OURS, "boss@\u043effice.test", NOTIFICATIONS, NOTIFICATIONS),
        ([KEEPS], OURS, "ann@x.test", "ann@x.test", "ann@x.test"),
        ([KEEPS], OURS, "boss@sub.office.test", "boss@sub.office.test", "boss@sub.office.test"),
        # without a default address the catchall takes its place; without any nothing is sent
        ([OPEN], Office("", "office.test"), "boss@office.test", "boss@office.test", "catchall@office.test"),
        ([ACME], Office(), "clerk@acme.test", "clerk@acme.test", None),
        ([ACME], Office(), "ann@x.test", "ann@x.test", "ann@x.test"),
    ],
)
def test_a_relay_never_keeps_a_from_of_ours(servers, office, sender, written_here, relayed):
    kept = decide(Request(sender), servers, office)
    assert kept.from_after.endswith(f"{written_here}>") or kept.from_after == written_here
    decision = decide(Request(sender, author_is="received"), servers, office)
    assert decision.author_is == "received"
    if relayed is None:
        assert decision.failure is not None
        assert decision.failure["code"] == "from_not_verified_alone"
        assert "?" not in say(decision.failure)
    else:
        assert decision.from_after.endswith(f"{relayed}>") or decision.from_after == relayed
        assert all("?" not in say(step) for step in decision.steps)


@pytest.mark.parametrize("servers", [[OPEN], [KEEPS], [ACME], [KEEPS, ACME]])
@pytest.mark.parametrize("sender", ["clerk@gmail.test", "boss@office.test", "ceo@else.test"])
def test_a_mail_that_names_a_user_is_relayed_under_none_of_their_addresses(servers, sender):
    decision = decide(Request(f"Clerk <{sender}>", author_is="not_checked"), servers, OURS)
    assert decision.from_after == f'"Clerk" <{NOTIFICATIONS}>'

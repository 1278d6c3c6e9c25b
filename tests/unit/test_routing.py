"""Where a mail goes: raw mails in files, one line each, through all rules of the gateway."""

from dataclasses import replace
from datetime import timedelta

import pytest

from mail.decide.answer import answer_to
from mail.decide.facts import AddressBook, AliasRule, Facts, KnownMessage, SenderFacts, look_up, threads_to_check
from mail.decide.outcomes import (
    AutoNote,
    Bounced,
    Duplicate,
    Ignored,
    NewDocument,
    Outcome,
    PostTo,
    Quarantined,
    Rejected,
    Replied,
    Reply,
    Routing,
    Unsubscribed,
)
from mail.decide.routing import route
from mail.message.parse import IncomingMessage, message_key, parse
from mail.sentences import SENTENCES, say
from tests.unit.routing_mails import BOOK, FOLDER, MAILS, N1, NOW, REJECTIONS, SENDERS, SIGNED, STORED


def raw(file: str) -> bytes:
    return next(FOLDER.glob(f"{file}-*.eml")).read_bytes()


def read(file: str) -> IncomingMessage:
    return parse(raw(file), NOW)


def facts_for(message: IncomingMessage, **changes: object) -> Facts:
    """What a flow finds out, for the ids that the mail names and no others."""
    asked = look_up(message, BOOK)
    signed = {id: SIGNED[id] for id in asked.ids if id in SIGNED}
    stored = {id: STORED[id] for id in asked.ids if id in STORED}
    checked = threads_to_check(message, BOOK, signed, stored)
    sender, author = (SENDERS.get(address, SenderFacts()) for address in (asked.sender, asked.author))
    facts = Facts(
        BOOK,
        signed=signed,
        stored=stored,
        rejections=REJECTIONS & set(asked.ids),
        sender=replace(sender, follows=sender.follows & checked),
        author=author,
    )
    return replace(facts, **changes)


def routed(message: IncomingMessage, **changes: object) -> Routing:
    return route(message, look_up(message, BOOK), facts_for(message, **changes))


def in_words(outcome: Outcome) -> str:
    match outcome:
        case Duplicate():
            return "duplicate"
        case Ignored(reason):
            return f"ignored {reason['code']}"
        case Bounced(report, about, token):
            return f"{report.about.value} of {(about.mail_id or about.trace_id) if about else token or 'nothing'}"
        case AutoNote(thread):
            return f"auto-note {thread}"
        case Reply(thread, _, is_note):
            return f"{'note' if is_note else 'reply'} {thread}"
        case PostTo(thread):
            return f"post {thread}"
        case NewDocument(_, None):
            return f"new {outcome.target}"
        case NewDocument(_, alias):
            return f"new by {alias}"
        case Replied(trace):
            return f"replied {trace}"
        case Unsubscribed():
            return outcome.target
        case Rejected(reason, target):
            return f"{reason['code']} {target}"
        case Quarantined(_, _, held) if held:
            return f"held {held}"
        case Quarantined(_, address):
            return f"quarantine {address}".strip()
    raise AssertionError(outcome)


def test_every_file_is_in_the_table():
    files = sorted((path.name.partition("-")[0] for path in FOLDER.glob("*.eml")), key=int)
    assert files == [file for file, _ in MAILS] and len(files) >= 140


@pytest.mark.parametrize(("file", "expected"), MAILS)
def test_where_a_mail_goes(file, expected):
    message = read(file)
    routing = routed(message)
    assert ", ".join(map(in_words, routing.outcomes)) == expected


@pytest.mark.parametrize(
    ("header", "same"),
    [
        ("Message-ID: <1@ups.test>\nDate: Thu, 01 Jan 1970 00:00:37 +0000", True),
        ("Date: Mon, 02 Nov 2026 09:00:00 +0000", True),
        ("Date: Thu, 01 Jan 1970 00:00:37 +0000", False),  # a device without a clock
        ("Date: Sun, 02 Nov 2036 09:00:00 +0000", False),
        ("Date: now", False),
        ("Subject: Alarm", False),
    ],
)
def test_what_tells_copies_from_mails_that_are_alike(header, same):
    message = parse(f"From: ups@office.test\nTo: sales@mycompany.test\n{header}\n\nPower restored\n".encode(), NOW)
    assert (look_up(message, BOOK, 1).message_key == look_up(message, BOOK, 2).message_key) is same
    weeks_later = look_up(message, BOOK, 2, NOW + timedelta(days=60)).message_key
    assert (look_up(message, BOOK, 1).message_key == weeks_later) is (same and "Message-ID" in header)


@pytest.mark.parametrize(
    ("to", "references", "expected"),
    [
        ("support@mycompany.test, project@mycompany.test", "<shared@home.test>", "reply 300, reply 200"),
        ("support@mycompany.test, team@mycompany.test", "<shared@home.test>", "reject_users thread:300, reply 200"),
        ("support@mycompany.test, sales@mycompany.test", "<shared@home.test>", "new by 2, new by 1"),  # a forward
        ("support@mycompany.test, project@mycompany.test", "<shared@home.test> <n2@mycompany.test>", "new by 5"),
    ],
)
def test_who_answers_all_of_a_mail_to_two_aliases_writes_in_both_threads(to, references, expected):
    header = f"From: ann@home.test\nTo: {to}\nReferences: {references}\nMessage-ID: <all@home.test>"
    routing = routed(parse(f"{header}\n\nFine.\n".encode(), NOW))
    assert ", ".join(map(in_words, routing.outcomes)) == expected


@pytest.mark.parametrize("file", [file for file, _ in MAILS])
def test_line_ends_make_no_difference(file):
    message = parse(raw(file).replace(b"\n", b"\r\n"), NOW)
    same = read(file)
    assert message_key(message) == message_key(same)
    assert routed(message) == routed(same)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("To: bounce+test@mycompany.test", "ignored route_plus_works"),
        ("Delivered-To: bounce+test@mycompany.test", "ignored route_plus_works"),
        ("To: bounce+test@mycompany.test, old-bounce+test@mycompany.test", "ignored route_plus_works"),
        # the envelope names the mailbox, or the address without its addition
        ("To: bounce+test@mycompany.test\nDelivered-To: box@mycompany.test", "ignored route_plus_works"),
        ("To: bounce+test@mycompany.test\nDelivered-To: bounce@mycompany.test", "ignored route_plus_works"),
        ("To: bounce+test@mycompany.test\nX-Forwarded-To: box@elsewhere.test", "ignored route_plus_works"),
        # somebody else was written to as well: his copy shows nothing, and is an email like any other
        ("To: sales@mycompany.test, bounce+test@mycompany.test", "new by 1"),
        ("To: bounce+test@mycompany.test\nCc: support@mycompany.test", "new by 2"),
        ("To: bounce+test@mycompany.test\nDelivered-To: sales@mycompany.test", "new by 1"),
        ("To: bounce+test@mycompany.test, catchall@mycompany.test", "reject_catchall catchall"),
        ("To: bounce+test@mycompany.test, ann@home.test", "quarantine"),
        ("To: sales+test@mycompany.test", "quarantine sales+test@mycompany.test"),
        ("To: ann@home.test, bounce@mycompany.test", "quarantine"),
    ],
)
def test_only_a_mail_to_nobody_else_shows_that_a_plus_arrives(header, expected):
    message = parse(f"From: stranger@home.test\n{header}\nMessage-ID: <plus@home.test>\n\nHello\n".encode(), NOW)
    assert ", ".join(map(in_words, routed(message).outcomes)) == expected


# --- what the office knows or has seen changes the outcome: file, directory, what becomes of it

LOOP = {"mails_in_window": {"alias:1": 20, "thread:100": 20, "thread:60": 20, "type:9": 20}}
CHANGED = [
    # 0: each destination has a mail once
    ("61", {"done": {"alias:1"}}, "duplicate"),
    ("66", {"done": {"alias:1"}}, "new by 2"),
    ("66", {"done": {"alias:2"}}, "new by 1"),
    ("66", {"done": {"alias:1", "alias:2"}}, "duplicate"),
    ("66", {"done": {"alias:1", "alias:2", "thread:5"}}, "duplicate"),
    ("31", {"done": {"thread:100"}}, "duplicate"),
    ("31", {"done": {"alias:1"}}, "reply 100"),
    ("80", {"done": {"thread:60"}}, "duplicate"),
    ("78", {"done": {"alias:4"}}, "new by 1"),
    ("56", {"done": {"catchall"}}, "duplicate"),
    ("84", {"done": {"quarantine"}}, "duplicate"),
    ("53", {"done": {"trace:7", "alias:1"}}, "duplicate"),
    ("53", {"done": {"alias:1"}}, "replied 7"),
    ("09", {"done": {"report"}}, "duplicate"),
    ("61", {"done": {"alias:1"}, **LOOP}, "duplicate"),  # a copy is a copy, however often he wrote
    # 7: the incoming server's action
    ("84", {"action_type_id": 9}, "new type:9"),
    ("85", {"action_type_id": 9}, "new type:9"),
    ("61", {"action_type_id": 9}, "new by 1"),
    ("56", {"action_type_id": 9}, "reject_catchall catchall"),
    ("74", {"action_type_id": 9}, "reject_users alias:4"),
    ("31", {"action_type_id": 9}, "reply 100"),
    ("09", {"action_type_id": 9}, "bounce of 21"),
    ("28", {"action_type_id": 9}, "ignored route_auto_reply_ignored"),
    # 9: the loop brake
    ("61", {"mails_in_window": {"alias:1": 19}}, "new by 1"),
    ("61", LOOP, "reject_loop alias:1"),
    ("61", {**LOOP, "told": {"alias:1"}}, "held alias:1"),
    ("61", {**LOOP, "told": {"alias:2"}}, "reject_loop alias:1"),
    ("61", {**LOOP, "loop_allowed": {"stranger@home.test"}}, "new by 1"),
    ("61", {**LOOP, "loop_allowed": {"home.test"}}, "new by 1"),
    ("61", {**LOOP, "loop_allowed": {"other@home.test"}}, "reject_loop alias:1"),
    ("61", {"mails_in_window": {"alias:1": 2}, "loop_threshold": 2}, "reject_loop alias:1"),
    ("31", LOOP, "reject_loop thread:100"),
    ("31", {**LOOP, "told": {"thread:100"}}, "held thread:100"),
    ("79", LOOP, "reject_loop thread:60"),
    ("84", {**LOOP, "action_type_id": 9}, "reject_loop type:9"),
    ("66", LOOP, "reject_loop alias:1, new by 2"),
    ("30", LOOP, "held alias:1"),  # a program can't be told
    ("61", {**LOOP, "loop_threshold": 0}, "new by 1"),  # switched off
    ("61", {**LOOP, "released": "alias:1"}, "new by 1"),  # a person said that it is no loop
    ("61", {**LOOP, "released": "alias:2"}, "reject_loop alias:1"),
    ("66", {**LOOP, "told": {"alias:1"}}, "held alias:1, new by 2"),
    ("61", {**LOOP, "answers_left": 0}, "held alias:1"),
    ("26", LOOP, "auto-note 100"),
    ("09", LOOP, "bounce of 21"),
    # a token that signs no mailing is a mail to the catchall
    ("89", {"signed": {}}, "reject_catchall catchall"),
    ("89", {"signed": {"ta2b": N1}}, "reject_catchall catchall"),
    # 6: the mailbox's own address is the recipient of last resort
    ("84", {"mailbox": "sales@mycompany.test"}, "new by 1"),
    ("86", {"mailbox": "sales@mycompany.test"}, "new by 1"),
    ("85", {"mailbox": "sales@mycompany.test"}, "new by 1"),  # a copy for a colleague with another server
    ("84", {"mailbox": "box@mycompany.test"}, "quarantine"),
    ("180", {"mailbox": "sales@mycompany.test"}, "quarantine jobs@mycompany.test"),  # its server says who was meant
    ("179", {"mailbox": "sales@mycompany.test"}, "new by 1"),
    ("183", {"mailbox": "sales@mycompany.test"}, "new by 1"),
    ("84", {"mailbox": "catchall@mycompany.test"}, "quarantine"),
    ("84", {"mailbox": "team@mycompany.test"}, "reject_users alias:4"),
    ("84", {"mailbox": "sales@mycompany.test", "action_type_id": 9}, "new by 1"),
    ("61", {"mailbox": "support@mycompany.test"}, "new by 1"),
    ("56", {"mailbox": "sales@mycompany.test"}, "reject_catchall catchall"),
    ("31", {"mailbox": "support@mycompany.test"}, "reply 100"),
    ("27", {"mailbox": "sales@mycompany.test"}, "ignored route_auto_reply_ignored"),
    ("84", {**LOOP, "mailbox": "sales@mycompany.test"}, "reject_loop alias:1"),
    # senders
    ("43", {"sender": SenderFacts(contact_id=5)}, "reject_users thread:300"),
    ("46", {"sender": SenderFacts(follows=frozenset({300}))}, "reply 300"),
    ("46", {"sender": SenderFacts(follows=frozenset({50}))}, "reject_followers thread:300"),
    ("75", {"sender": SenderFacts(contact_id=1, follows=frozenset({300}))}, "reject_followers alias:5"),
    ("72", {"sender": SenderFacts(user_id=1)}, "new by 3"),
    ("73", {"checked_by": "mx.office.test"}, "new by 4"),
]


@pytest.mark.parametrize(("file", "changes", "expected"), CHANGED)
def test_what_the_office_knows_changes_the_outcome(file, changes, expected):
    message = read(file)
    routing = routed(message, **changes)
    assert ", ".join(map(in_words, routing.outcomes)) == expected


# --- beyond the outcome


@pytest.mark.parametrize(
    ("file", "state", "result"),
    [
        ("01", "duplicate", ""),
        ("06", "ignored", ""),
        ("09", "processed", "bounce"),
        ("13", "processed", "delay"),
        ("23", "processed", "complaint"),
        ("26", "processed", "auto_reply"),
        ("31", "processed", "reply"),
        ("53", "processed", "document"),
        ("54", "rejected", ""),
        ("61", "processed", "document"),
        ("72", "rejected", ""),
        ("78", "processed", "document"),
        ("79", "processed", "reply"),
        ("84", "quarantined", ""),
    ],
)
def test_the_state_in_the_ledger(file, state, result):
    message = read(file)
    routing = routed(message)
    assert (routing.state, routing.result) == (state, result)


@pytest.mark.parametrize(
    ("file", "changes", "held"),
    [("61", {**LOOP, "answers_left": 0}, "alias:1"), ("66", {**LOOP, "told": {"alias:1"}}, "alias:1"), ("84", {}, "")],
)
def test_the_place_that_the_brake_keeps_a_mail_from(file, changes, held):
    routing = routed(read(file), **changes)
    assert routing.held == held
    says = {step["code"] for step in routing.steps}
    assert bool(held) == ("route_loop_over" in says) and "reject_loop" not in says, "nobody is told to wait"


TOLD = {"answers_unknown": True}


@pytest.mark.parametrize(
    ("file", "changes", "state", "address"),
    [
        ("85", {}, "quarantined", "nobody@mycompany.test"),
        ("85", TOLD, "rejected", ""),
        ("85", {**TOLD, "answers_left": 0}, "quarantined", "nobody@mycompany.test"),
        ("167", {}, "quarantined", "sales+offer@mycompany.test"),
        ("84", TOLD, "quarantined", ""),
        ("61", TOLD, "processed", ""),
    ],
)
def test_the_address_that_nobody_has(file, changes, state, address):
    routing = routed(read(file), **changes)
    assert (routing.state, routing.unknown_address) == (state, address)
    assert ("Make it an alias" in say(routing.steps[-1])) == (address == "nobody@mycompany.test"), "not with a plus"
    if state == "rejected":
        words = "The address nobody@mycompany.test does not exist. Please write to sales@mycompany.test instead."
        assert [say(outcome.reason) for outcome in routing.outcomes] == [words]


@pytest.mark.parametrize(
    ("header", "sender", "author", "answer_to"),
    [
        ("From: Ann <Ann@home.test>", "ann@home.test", "ann@home.test", "ann@home.test"),
        ("From: ann@home.test\nReply-To: Bob@home.test", "ann@home.test", "ann@home.test", "bob@home.test"),
        ("From: sales@mycompany.test\nReply-To: c@x.test", "sales@mycompany.test", "c@x.test", "c@x.test"),
        ("Subject: from nobody", "", "", ""),
    ],
)
def test_the_people_to_look_up(header, sender, author, answer_to):
    asked = look_up(parse(f"{header}\n\nHello\n".encode(), NOW), BOOK)
    assert (asked.sender, asked.author, asked.answer_to) == (sender, author, answer_to)


@pytest.mark.parametrize(
    ("file", "hits"),
    [
        ("61", (1,)),
        ("66", (1, 2)),
        ("70", (9,)),
        ("40", (9,)),
        ("41", (12,)),
        ("11", (13,)),
        ("56", (10,)),
        ("78", (4, 1)),
        ("84", ()),
        ("01", ()),
    ],
)
def test_hits_are_counted_on_the_aliases_that_were_written_to(file, hits):
    message = read(file)
    assert routed(message).hits == hits


@pytest.mark.parametrize("file", [file for file, _ in MAILS])
def test_every_step_can_be_read(file):
    message = read(file)
    routing = routed(message)
    assert routing.steps
    for step in routing.steps:
        assert step["code"] in SENTENCES
        assert "?" not in say(step).replace("%", "?"), "a value is missing in the sentence"


def test_the_steps_tell_the_way_in_order():
    message = read("61")
    codes = [step["code"] for step in routed(message).steps]
    assert codes == ["route_no_own_answer", "route_no_report", "route_no_auto_reply", "route_no_thread",
                     "route_no_catchall", "route_alias"]  # fmt: skip


def test_a_rejection_brings_the_words_of_its_alias():
    message = read("74")
    (rejected,) = routed(message).outcomes
    assert (rejected.text, rejected.alias_id, rejected.misconfigured) == ("Please call us.", 4, False)
    message = read("77")
    (rejected,) = routed(message).outcomes
    assert rejected.misconfigured and rejected.alias_id == 6


def test_the_catchalls_rejection_names_an_address_to_write_to():
    message = read("56")
    (rejected,) = routed(message).outcomes
    assert "sales@mycompany.test" in say(rejected.reason)
    empty = Facts(AddressBook([AliasRule(10, "catchall@mycompany.test", "catchall")]))
    (rejected,) = route(message, look_up(message, empty.book), empty).outcomes
    assert rejected.reason["code"] == "reject_catchall_only"


def test_the_parent_post_is_the_one_that_was_answered():
    message = read("31")
    (reply,) = routed(message).outcomes
    assert reply.parent_post_id == 11


def test_a_mail_beyond_the_limits_is_quarantined_with_the_reason():
    message = parse(b"To: sales@mycompany.test\nX: " + b"x" * 300_000 + b"\n\nhello", NOW)
    routing = routed(message)
    assert routing.state == "quarantined"
    assert routing.outcomes[0].reason["code"] == "parse_header_too_large"


# --- what must be known


@pytest.mark.parametrize(
    ("file", "ids"),
    [
        ("61", ("<in-61@home.test>",)),
        ("03", ("<rewritten@relay.test>", "ownid1")),
        ("07", ("<in-07@home.test>", "looptag")),
        ("32", ("<in-32@home.test>", "<root@home.test>", "<n1@mycompany.test>")),
        ("09", ("<in-09@home.test>", "<n1@mycompany.test>", "ownid1")),
        ("23", ("<in-23@home.test>", "<t1@mycompany.test>")),
        ("87", ()),
    ],
)
def test_the_ids_to_look_up(file, ids):
    assert look_up(read(file), BOOK).ids == ids


@pytest.mark.parametrize(("file", "threads"), [("61", set()), ("45", {50, 300}), ("75", {50}), ("77", set())])
def test_following_is_asked_only_where_an_alias_wants_to_know(file, threads):
    assert threads_to_check(read(file), BOOK, SIGNED, STORED) == threads


def test_following_is_asked_for_whatever_names_the_thread_and_for_the_mailbox() -> None:
    book = AddressBook([AliasRule(1, "box@mycompany.test", type_id=1, policy="followers", parent_thread_id=8)])
    known = {"t1": KnownMessage(1.0, thread_id=7)}
    for to, mailbox in (("box@mycompany.test", ""), ("a@else.test", "box@mycompany.test")):
        message = parse(f"To: {to}\nX-CoquiMail-Id: t1\n\nx".encode(), NOW)
        assert threads_to_check(message, book, known, {}, mailbox) == {7, 8}


@pytest.mark.parametrize(
    ("address", "alias"),
    [
        ("sales@mycompany.test", 1),
        ("sales@another.test", None),
        ("sales+offer@mycompany.test", None),
        ("info@another.test", 8),
        ("bounce@mycompany.test", 11),
        ("bounce+abc@mycompany.test", 11),
        ("old-bounce+abc@mycompany.test", 13),
        ("bounce+abc@another.test", None),
        ("notifications@mycompany.test", None),
    ],
)
def test_addresses_find_their_alias(address, alias):
    found = BOOK.find(address)
    assert (found.id if found else None) == alias


# --- answers of the system


@pytest.mark.parametrize(
    ("header", "answer"),
    [
        ("From: a@x.test", "a@x.test"),
        ("From: a@x.test\nReturn-Path: <r@x.test>", "r@x.test"),
        ("From: a@x.test\nReturn-Path: R@X.test", "r@x.test"),
        ("From: a@x.test\nReply-To: c@x.test", "a@x.test"),
        ("From: a@x.test\nAuto-Submitted: no", "a@x.test"),
        ("From: no-reply@x.test\nReturn-Path: <a@x.test>", "a@x.test"),
        ("From: sales@another.test", "sales@another.test"),  # an alias of ours, elsewhere
        ("From: info@another.test", "info@another.test"),  # the local part of an alias for any domain
        ("From: boss@mycompany.test", "boss@mycompany.test"),  # a person in our domain
        ("From: a@x.test\nReturn-Path: <>", "unanswered_null_path"),
        ("From: a@x.test\nReturn-Path: < >", "unanswered_null_path"),
        ("From: a@x.test\nReturn-Path: nonsense", "unanswered_null_path"),
        ("From: a@x.test\nList-Id: <l.x.test>", "unanswered_list"),
        ("From: a@x.test\nList-Unsubscribe: <mailto:l@x.test>", "unanswered_list"),
        ("From: a@x.test\nPrecedence: bulk", "unanswered_list"),
        ("From: a@x.test\nReturn-Path: <owner-l@x.test>", "unanswered_machine"),
        ("From: a@x.test\nReturn-Path: <l-bounces+b=y.test@x.test>", "unanswered_machine"),
        ("From: l-request@x.test", "unanswered_machine"),
        ("From: a@x.test\nAuto-Submitted: auto-generated", "unanswered_machine"),
        ("From: a@x.test\nAuto-Submitted: auto-replied", "unanswered_machine"),
        ("From: MAILER-DAEMON@x.test", "unanswered_machine"),
        ("From: a@x.test\nReturn-Path: <MAILER-DAEMON@x.test>", "unanswered_machine"),
        ("From: sales@mycompany.test", "unanswered_ours"),
        ("From: notifications@mycompany.test", "unanswered_ours"),
        ("From: old-sales@mycompany.test", "unanswered_ours"),
        ("From: a@x.test\nReturn-Path: <bounce+abc@mycompany.test>", "unanswered_ours"),
        ("From: a@x.test\nReturn-Path: <sales+x@mycompany.test>", "unanswered_ours"),
        ("From: a@x.test\nReturn-Path: <CatchAll@MyCompany.test>", "unanswered_ours"),
        ("From: Sales@MyCompany.test\nReturn-Path: <r@x.test>", "unanswered_ours"),
        ("Subject: nobody", "unanswered_nobody"),
    ],
)
def test_answers_go_to_people_only(header, answer):
    message = parse(f"{header}\n\nhello".encode(), NOW)
    found = answer_to(message, BOOK)
    assert (found.why_not["code"] if found.why_not else found.address) == answer
    assert "?" not in say(found.why_not)


@pytest.mark.parametrize(
    ("header", "changes", "answer", "state", "code"),
    [
        ("From: a@x.test", {}, "a@x.test", "rejected", "reject_catchall"),
        ("From: a@x.test", {"answers_left": 1}, "a@x.test", "rejected", "reject_catchall"),
        ("From: a@x.test", {"answers_left": 0}, "", "ignored", "unanswered_hour"),
        ("From: a@x.test", {"answers_left": -3}, "", "ignored", "unanswered_hour"),
        ("From: a@x.test", {"answers_to_sender": 19}, "a@x.test", "rejected", "reject_catchall"),
        ("From: a@x.test", {"answers_to_sender": 20}, "", "ignored", "unanswered_often"),
        ("From: a@x.test", {"answers_to_sender": 20, "loop_threshold": 0}, "a@x.test", "rejected", "reject_catchall"),
        ("From: a@x.test\nReturn-Path: <>", {}, "", "ignored", "unanswered_null_path"),
        ("From: a@x.test\nPrecedence: list", {}, "", "ignored", "unanswered_list"),
        ("From: sales@mycompany.test", {}, "", "ignored", "unanswered_ours"),
    ],
)
def test_a_mail_is_rejected_only_if_its_sender_is_told(header, changes, answer, state, code):
    routing = routed(parse(f"{header}\nTo: catchall@mycompany.test\n\nhello".encode(), NOW), **changes)
    assert (routing.answer_to, routing.state) == (answer, state)
    assert code in [step["code"] for step in routing.steps]
    assert all("?" not in say(step) for step in routing.steps)

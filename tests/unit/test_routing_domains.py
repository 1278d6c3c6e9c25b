"""Several domains: where a mail goes that is written to an address in any of them, or in a former one."""

from datetime import UTC, datetime

import pytest

from mail.decide.answer import answer_to
from mail.decide.facts import AddressBook, AliasRule, Facts, KnownMessage, SenderFacts, look_up
from mail.decide.outcomes import Bounced, NewDocument, Quarantined, Rejected, Reply
from mail.decide.routing import route
from mail.decide.trust import trust
from mail.message.parse import parse
from mail.sentences import say

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
BOOK = AddressBook(
    [
        AliasRule(1, "sales@first.test", type_id=1),
        AliasRule(2, "support@first.test", type_id=2, one_domain=True),
        AliasRule(3, "shop@second.test", type_id=3, one_domain=True),
        AliasRule(4, "team@first.test", type_id=2, policy="users"),
        AliasRule(5, "info@first.test", type_id=1, any_domain=True),
        AliasRule(10, "catchall@first.test", "catchall", one_domain=True),
        AliasRule(11, "bounce@first.test", "bounce", one_domain=True),
        AliasRule(12, "all@second.test", "catchall", one_domain=True),
        AliasRule(13, "returns@second.test", "bounce", one_domain=True),
        AliasRule(14, "catchall@bücher.example", "catchall", one_domain=True),
        AliasRule(15, "bounce@bücher.example", "bounce", one_domain=True),
        AliasRule(20, "catchall@former.test", "catchall", one_domain=True, retired=True),
        AliasRule(21, "bounce@former.test", "bounce", one_domain=True, retired=True),
        AliasRule(22, "sales@former.test", type_id=1, one_domain=True, retired=True),
    ],
    own=["notifications@first.test", "hello@second.test"],
    domains=["first.test", "second.test", "bücher.example"],
)
POST = KnownMessage(2, sender="bob@second.test", thread_id=100, type_id=1, post_id=11, mail_id=21)
SIGNED = {"<n1@second.test>": POST}

REPORT = """Auto-Submitted: auto-replied
Content-Type: multipart/report; report-type=delivery-status; boundary="=b"

--=b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.home.test

Final-Recipient: rfc822; ann@home.test
Action: failed
Status: 5.1.1

--=b--
"""


def mail(to, sender="ann@home.test", more="\nHello"):
    return parse(f"From: {sender}\nTo: {to}\nMessage-ID: <m@home.test>\nSubject: Hello\n{more}".encode(), NOW)


def routed(message, **changes):
    asked = look_up(message, BOOK)
    signed = {id: SIGNED[id] for id in asked.ids if id in SIGNED}
    return route(message, asked, Facts(BOOK, signed=signed, **changes))


@pytest.mark.parametrize(
    ("to", "outcome", "code", "address"),
    [
        # an alias of all domains works in each of them
        ("sales@first.test", NewDocument(1, 1), "route_alias", "sales@first.test"),
        ("sales@second.test", NewDocument(1, 1), "route_alias", "sales@second.test"),
        ("Sales@Second.TEST", NewDocument(1, 1), "route_alias", "sales@second.test"),
        ("sales@bücher.example", NewDocument(1, 1), "route_alias", "sales@bücher.example"),
        ("sales@xn--bcher-kva.example", NewDocument(1, 1), "route_alias", "sales@bücher.example"),
        ("sales@first.test, sales@second.test", NewDocument(1, 1), "route_alias", "sales@second.test"),
        # one that is tied works in its own alone
        ("shop@second.test", NewDocument(3, 3), "route_alias", "shop@second.test"),
        ("support@first.test", NewDocument(2, 2), "route_alias", "support@first.test"),
        ("support@second.test", Quarantined, "route_unknown_address", "support@second.test"),
        ("shop@first.test", Quarantined, "route_unknown_address", "shop@first.test"),
        # names of one domain mean nothing in the others
        ("returns@first.test", Quarantined, "route_unknown_address", "returns@first.test"),
        ("bounce@second.test", Quarantined, "route_unknown_address", "bounce@second.test"),
        ("nobody@second.test", Quarantined, "route_unknown_address", "nobody@second.test"),
        # somebody else's domains
        ("sales@home.test", Quarantined, "route_nobody", None),
        ("sales@mail.second.test", Quarantined, "route_nobody", None),
        ("info@anywhere.test", NewDocument(1, 5), "route_alias", "info@first.test"),
        # a former domain: its own addresses stay known, others wait for a person
        ("sales@former.test", NewDocument(1, 22), "route_alias", "sales@former.test"),
        ("shop@former.test", Quarantined, "route_former_domain", "shop@former.test"),
        ("nobody@former.test", Quarantined, "route_former_domain", "nobody@former.test"),
        ("nobody@former.test, nobody@second.test", Quarantined, "route_unknown_address", "nobody@second.test"),
        # each alias judges by itself, and names the address that was written to
        ("team@second.test", Rejected, "reject_users", "team@second.test"),
        # catchalls collect replies only
        ("catchall@first.test", Rejected, "reject_catchall", "catchall@first.test"),
        ("all@second.test", Rejected, "reject_catchall", "all@second.test"),
        ("catchall@bücher.example", Rejected, "reject_catchall", "catchall@bücher.example"),
        ("catchall@former.test", Rejected, "reject_catchall", "catchall@former.test"),
        ("all@first.test", Quarantined, "route_unknown_address", "all@first.test"),
        ("all@second.test, sales@second.test", NewDocument(1, 1), "route_alias", "sales@second.test"),
    ],
)
def test_where_a_mail_to_one_of_our_domains_goes(to, outcome, code, address):
    routing = routed(mail(to))
    (found,) = routing.outcomes
    assert found == outcome if isinstance(outcome, NewDocument) else isinstance(found, outcome)
    reason = next(step for step in reversed(routing.steps) if step["code"] == code)
    assert reason["values"].get("address") == address
    assert "%(" not in say(reason)


def test_a_retired_alias_of_any_domain_does_not_stand_in_for_an_active_one():
    book = AddressBook(
        [
            AliasRule(1, "sales@first.test", type_id=1, any_domain=True),
            AliasRule(2, "sales@former.test", type_id=2, any_domain=True, one_domain=True, retired=True),
            AliasRule(3, "old@former.test", type_id=3, any_domain=True, one_domain=True, retired=True),
        ],
        domains=["first.test"],
    )
    addresses = "sales@anywhere.test", "sales@former.test", "old@anywhere.test"
    assert [book.find(address).id for address in addresses] == [1, 2, 3]


@pytest.mark.parametrize(
    ("catchall", "instead"),
    [
        ("all@second.test", "sales@second.test"),
        ("catchall@bücher.example", "sales@bücher.example"),
        ("catchall@first.test", "sales@first.test"),
        ("catchall@former.test", "sales@first.test"),  # it has no address of its own any more
    ],
)
def test_a_catchall_names_an_address_of_its_own_domain_to_write_to(catchall, instead):
    (rejected,) = routed(mail(catchall)).outcomes
    assert rejected.reason["values"]["instead"] == instead


@pytest.mark.parametrize(
    "to", ["all@second.test", "catchall@first.test", "anything@second.test", "catchall@former.test"]
)
def test_a_reply_finds_its_thread_whichever_domain_it_comes_back_to(to):
    (found,) = routed(mail(to, more="In-Reply-To: <n1@second.test>\n\nYes")).outcomes
    assert isinstance(found, Reply) and found.thread_id == 100


@pytest.mark.parametrize(
    ("to", "token"),
    [
        ("bounce@first.test", ""),
        ("returns@second.test", ""),
        ("returns+tabc@second.test", "tabc"),
        ("bounce+tabc@xn--bcher-kva.example", "tabc"),
        ("bounce@former.test", ""),
    ],
)
def test_a_report_comes_back_to_the_bounce_address_of_any_domain(to, token):
    (found,) = routed(mail(to, "MAILER-DAEMON@home.test", REPORT)).outcomes
    assert isinstance(found, Bounced) and found.token == token


@pytest.mark.parametrize(
    ("address", "is_ours", "speaks_for_us"),
    [
        ("sales@second.test", True, True),
        ("sales+7@second.test", True, True),
        ("all@second.test", True, True),
        ("returns+token@second.test", True, True),
        ("hello@second.test", True, True),
        ("shop@second.test", True, True),
        ("shop@first.test", False, True),
        ("sales@former.test", True, True),
        ("ann@former.test", False, True),
        ("bob@second.test", False, True),
        ("ann@home.test", False, False),
        ("info@anywhere.test", False, False),
    ],
)
def test_which_addresses_are_ours(address, is_ours, speaks_for_us):
    assert (address in BOOK, BOOK.speaks_for_us(address)) == (is_ours, speaks_for_us)


def test_no_answer_goes_to_an_address_of_ours_in_any_domain():
    message = mail("catchall@first.test", "sales@second.test")
    assert answer_to(message, BOOK).why_not["code"] == "unanswered_ours"
    asked = look_up(message, BOOK)
    assert trust(message, asked, Facts(BOOK, sender=SenderFacts())).mark == "not_checked"

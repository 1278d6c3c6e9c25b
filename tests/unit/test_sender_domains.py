"""Several domains: the From, the envelope sender and the Reply-To of a mail by the domain that it is sent from."""

from dataclasses import replace

import pytest

from mail.decide.domains import MailDomain, Office, TypeAlias
from mail.decide.sender import Request, decide
from mail.decide.servers import Server, parse_filter
from mail.sentences import say

DEFAULT = Server(None, "default")
SECOND = MailDomain.of("second.com", bounce="returns", catchall="all", default_from="hello", company="Second Ltd")
THIRD = MailDomain.of(
    "Bücher.example", bounce="bounce", catchall="catchall", default_from="notifications", company="First"
)
NAMELESS = MailDomain.of("fourth.com", bounce="bounce", catchall="catchall", company="First")


def server(name, filter="", rewrite="not_ours", *, priority=10):
    return Server(sum(map(ord, name)), name, priority, parse_filter(filter), rewrite)


OURS = Office("notifications", "first.com", company="First", default_server=DEFAULT, domains=(SECOND, THIRD, NAMELESS))
FULL = Office("info@elsewhere.com", "first.com", company="First", default_server=DEFAULT, domains=(SECOND,))
NO_FIRST = Office("", "", company="First", default_server=DEFAULT, domains=(SECOND,))

OPEN = server("open")
KEEP = server("keep", rewrite="never")
ALWAYS = server("always", rewrite="always")
ONE = server("one", "first.com")
TWO = server("two", "second.com")
BOTH = server("both", "first.com, second.com")
BOOKS = server("books", "bücher.example")
SINGLE = server("single", "hello@second.com")
SINGLE_AND_ONE = server("mixed", "hello@second.com, first.com")
ACME = server("acme", "acme.com")

BY_SALES = (TypeAlias("sales@first.com"),)
TIED = (TypeAlias("sales@first.com"), TypeAlias("shop@second.com", one_domain=True))
FIRST_ONLY = (TypeAlias("sales@first.com", one_domain=True),)
SECOND_ONLY = (TypeAlias("shop@second.com", one_domain=True),)


def reply(name, address):
    return f'"{name} Order 7" <{address}>'


SALES_1, ALL_1 = reply("First", "sales@first.com"), reply("First", "catchall@first.com")
SALES_2, ALL_2 = reply("Second Ltd", "sales@second.com"), reply("Second Ltd", "all@second.com")
SALES_3 = reply("First", "sales@bücher.example")
BOUNCE_1, BOUNCE_2, BOUNCE_3 = "bounce@first.com", "returns@second.com", "bounce@xn--bcher-kva.example"


@pytest.mark.parametrize(
    ("servers", "office", "sender", "sent_as", "envelope", "aliases", "reply_to"),
    [
        # two companies, a server each: each mail stays with its company
        ([ONE, TWO], OURS, "ann@first.com", "ann@first.com", BOUNCE_1, BY_SALES, SALES_1),
        ([ONE, TWO], OURS, "bob@second.com", "bob@second.com", BOUNCE_2, BY_SALES, SALES_2),
        ([ONE, TWO], OURS, "Bob <BOB@Second.COM>", '"Bob" <BOB@second.com>', BOUNCE_2, BY_SALES, SALES_2),
        ([BOTH], OURS, "bob@second.com", "bob@second.com", BOUNCE_2, BY_SALES, SALES_2),
        # aliases: tied to this domain, to another one, none
        ([ONE, TWO], OURS, "bob@second.com", "bob@second.com", BOUNCE_2, TIED, reply("Second Ltd", "shop@second.com")),
        ([ONE, TWO], OURS, "ann@first.com", "ann@first.com", BOUNCE_1, TIED, SALES_1),
        ([ONE, TWO], OURS, "bob@second.com", "bob@second.com", BOUNCE_2, FIRST_ONLY, ALL_2),
        ([ONE, TWO], OURS, "ann@first.com", "ann@first.com", BOUNCE_1, SECOND_ONLY, ALL_1),
        ([ONE, TWO], OURS, "bob@second.com", "bob@second.com", BOUNCE_2, (), ALL_2),
        # a subdomain, or one that only ends alike, is somebody else's
        ([ONE], OURS, "bob@mail.second.com", '"bob" <notifications@first.com>', BOUNCE_1, BY_SALES, SALES_1),
        ([ONE], OURS, "bob@notsecond.com", '"bob" <notifications@first.com>', BOUNCE_1, BY_SALES, SALES_1),
        # a server without a filter: all of our domains are ours
        ([OPEN], OURS, "bob@second.com", "bob@second.com", BOUNCE_2, BY_SALES, SALES_2),
        ([OPEN], OURS, "eve@bücher.example", "eve@bücher.example", BOUNCE_3, BY_SALES, SALES_3),
        ([OPEN], OURS, "eve@xn--bcher-kva.example", "eve@bücher.example", BOUNCE_3, BY_SALES, SALES_3),
        ([OPEN], OURS, "zoe@home.net", '"zoe" <notifications@first.com>', BOUNCE_1, BY_SALES, SALES_1),
        ([KEEP], OURS, "zoe@home.net", "zoe@home.net", BOUNCE_1, BY_SALES, SALES_1),
        ([], OURS, "bob@second.com", "bob@second.com", BOUNCE_2, BY_SALES, SALES_2),
        # encapsulated in the default address of the author's own domain, if the server may send as it
        ([ALWAYS], OURS, "bob@second.com", '"bob" <hello@second.com>', BOUNCE_2, BY_SALES, SALES_2),
        ([ALWAYS], OURS, "ann@first.com", '"ann" <notifications@first.com>', BOUNCE_1, BY_SALES, SALES_1),
        ([ALWAYS], OURS, "eve@bücher.example", '"eve" <notifications@bücher.example>', BOUNCE_3, BY_SALES, SALES_3),
        ([ALWAYS], OURS, "dan@fourth.com", '"dan" <notifications@first.com>', BOUNCE_1, BY_SALES, SALES_1),
        ([ONE, SINGLE], OURS, "bob@second.com", '"bob" <hello@second.com>', "hello@second.com", BY_SALES, SALES_2),
        ([SINGLE], OURS, "Bob <hello@second.com>", '"Bob" <hello@second.com>', "hello@second.com", BY_SALES, SALES_2),
        # ... else in that of the first
        ([ONE], OURS, "bob@second.com", '"bob" <notifications@first.com>', BOUNCE_1, BY_SALES, SALES_1),
        ([BOOKS, ONE], OURS, "bob@second.com", '"bob" <notifications@first.com>', BOUNCE_1, BY_SALES, SALES_1),
        ([TWO], OURS, "zoe@home.net", '"zoe" <notifications@first.com>', "notifications@first.com", BY_SALES, SALES_1),
        ([ALWAYS], FULL, "zoe@home.net", '"zoe" <info@elsewhere.com>', BOUNCE_1, BY_SALES, SALES_1),
        ([ALWAYS], FULL, "bob@second.com", '"bob" <hello@second.com>', BOUNCE_2, BY_SALES, SALES_2),
        # the server may send for the domain, but not as its bounce address: that of the first, else the From
        ([SINGLE_AND_ONE], OURS, "hello@second.com", "hello@second.com", BOUNCE_1, BY_SALES, SALES_2),
        # a From of somebody else that a filter has
        ([ACME], OURS, "amy@acme.com", "amy@acme.com", "amy@acme.com", BY_SALES, SALES_1),
        # there is no alias domain (any more)
        ([OPEN], NO_FIRST, "bob@second.com", "bob@second.com", BOUNCE_2, (), ALL_2),
        ([TWO], NO_FIRST, "zoe@home.net", "zoe@home.net", "zoe@home.net", (), "zoe@home.net"),
        # no From: the default address of the office
        ([ONE, TWO], OURS, "", "notifications@first.com", BOUNCE_1, BY_SALES, SALES_1),
    ],
)  # fmt: skip
def test_each_domain_has_its_own_addresses(servers, office, sender, sent_as, envelope, aliases, reply_to):
    decision = decide(Request(sender, document="Order 7", aliases=aliases), servers, office)
    assert (decision.from_after, decision.envelope_sender, decision.reply_to) == (sent_as, envelope, reply_to)
    for reason in [*decision.steps, *decision.warnings]:
        assert "?" not in say(reason) and "%(" not in say(reason)


@pytest.mark.parametrize(
    ("servers", "sender", "server", "domain"),
    [
        ([ONE, TWO], "ann@first.com", "one", "first.com"),
        ([ONE, TWO], "bob@second.com", "two", "second.com"),
        ([ONE, SINGLE], "bob@second.com", "single", "second.com"),  # its own default address before that of the office
        ([ONE, SINGLE], "zoe@home.net", "one", "first.com"),
        ([ONE, OPEN, SINGLE], "bob@second.com", "open", "second.com"),  # a server without a filter comes before
        ([ONE], "bob@second.com", "one", "first.com"),
        ([BOOKS, ONE], "eve@bücher.example", "books", "bücher.example"),
    ],
)
def test_the_server_of_a_domain(servers, sender, server, domain):
    decision = decide(Request(sender), servers, OURS)
    assert (decision.server_name, decision.domain) == (server, domain)


@pytest.mark.parametrize(
    ("servers", "office", "request_", "codes"),
    [
        ([ONE, TWO], OURS, Request("bob@second.com"),
         ["search_address", "search_domain_found", "from_in_filter", "domain_own", "envelope_bounce",
          "reply_to_author"]),
        ([ONE, SINGLE], OURS, Request("bob@second.com"),
         ["search_address", "search_domain", "search_no_filter", "search_own_default_found", "from_not_in_filter",
          "domain_own", "envelope_not_in_filter", "reply_to_author"]),
        ([ONE], OURS, Request("bob@second.com"),
         ["search_address", "search_domain", "search_no_filter", "search_own_default", "search_default_address",
          "search_default_domain_found", "from_not_in_filter", "domain_first", "envelope_bounce", "reply_to_author"]),
        ([OPEN], OURS, Request("bob@second.com"),
         ["search_address", "search_domain", "search_no_filter_found", "from_on_our_domain", "domain_own",
          "envelope_bounce", "reply_to_author"]),
        ([SINGLE_AND_ONE], OURS, Request("hello@second.com"),
         ["search_address_found", "from_in_filter", "domain_own", "envelope_first_domain", "envelope_bounce",
          "reply_to_author"]),
        ([server("x", "acme.com", "never")], NO_FIRST, Request("bob@second.com"),
         ["search_address", "search_domain", "search_no_filter", "search_own_default", "search_no_default",
          "search_no_default", "search_first_found", "from_kept_no_default", "domain_not_in_filter",
          "envelope_no_bounce_address", "reply_to_author"]),
        # with one domain there is nothing to choose from, and nothing to explain
        ([ONE], Office("notifications", "first.com"), Request("ann@first.com"),
         ["search_address", "search_domain_found", "from_in_filter", "envelope_bounce", "reply_to_author"]),
    ],
)  # fmt: skip
def test_each_step_says_why(servers, office, request_, codes):
    decision = decide(request_, servers, office)
    assert [step["code"] for step in decision.steps] == codes


def test_a_forged_from_of_any_of_our_domains_is_encapsulated():
    decision = decide(Request("Bob <bob@second.com>", author_is="not_checked"), [ONE, TWO], OURS)
    assert (decision.from_after, decision.server_name) == ('"Bob" <hello@second.com>', "two")
    assert "from_not_verified" in [step["code"] for step in decision.steps]
    received = decide(Request("Bob <bob@second.com>", author_is="received"), [OPEN], OURS)
    assert received.from_after == '"Bob" <hello@second.com>'


def test_each_recipient_has_a_bounce_address_on_the_domain_of_the_email():
    servers = [replace(server, verp=True) for server in (ONE, TWO, SINGLE_AND_ONE)]
    ours = replace(OURS, verp=True, with_plus={"bounce@first.com", "returns@second.com"})
    decided = [decide(Request(who), servers, ours) for who in ("a@first.com", "b@second.com", "c@home.net")]
    assert [decision.envelope_sender for decision in decided] == [
        "bounce+<token>@first.com",
        "returns+<token>@second.com",
        "bounce+<token>@first.com",
    ]


def test_a_domain_whose_mailbox_has_not_shown_that_a_plus_arrives_has_one_bounce_address():
    ours = replace(OURS, verp=True, with_plus={"bounce@first.com"})
    first, second = (decide(Request(who), [replace(BOTH, verp=True)], ours) for who in ("a@first.com", "b@second.com"))
    assert (first.envelope_sender, second.envelope_sender) == ("bounce+<token>@first.com", "returns@second.com")
    reason = next(step for step in second.steps if step["code"] == "envelope_verp_not_seen")
    assert "no email to returns+test@second.com has arrived yet" in say(reason)


def test_what_a_mail_was_given_wins_over_its_domain():
    request = Request(
        "bob@second.com", "Desk <desk@home.net>", "lists@second.com", document="Order 7", aliases=BY_SALES
    )
    decision = decide(request, [ONE, TWO], OURS)
    assert (decision.reply_to, decision.envelope_sender) == ('"Desk" <desk@home.net>', "lists@second.com")


def test_the_server_of_a_mailing_decides_whose_bounce_address_it_may_use():
    forced = decide(Request("bob@second.com", forced_server=ONE.id), [ONE, TWO], OURS)
    assert (forced.from_after, forced.envelope_sender) == ('"bob" <notifications@first.com>', "bounce@first.com")
    own = decide(Request("bob@second.com", forced_server=TWO.id), [ONE, TWO], OURS)
    assert (own.from_after, own.envelope_sender) == ("bob@second.com", "returns@second.com")


def test_a_mail_that_waits_for_a_server_belongs_to_the_domain_of_its_author():
    nothing = replace(OURS, default_server=None)
    found = [decide(Request(who, document="Order 7"), [], nothing) for who in ("b@second.com", "c@home.net")]
    assert [one.failure["code"] for one in found] == ["no_server"] * 2
    assert [(one.domain, one.reply_to) for one in found] == [("second.com", ALL_2), ("first.com", ALL_1)]


def test_what_is_ours():
    assert [domain.name for domain in OURS.all_domains] == ["first.com", "second.com", "bücher.example", "fourth.com"]
    assert OURS.domain("second.com") is SECOND
    assert [OURS.domain(name) for name in ("", "home.net", "mail.first.com")] == [None, None, None]
    assert [domain.name for domain in NO_FIRST.all_domains] == ["second.com"]
    assert NAMELESS.default_address is None

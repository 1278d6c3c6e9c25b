"""Who a mail is sent as: From, envelope sender, Reply-To."""

import json
from dataclasses import replace

import pytest

from mail.decide.domains import Office, TypeAlias
from mail.decide.sender import LONGEST_REPLY_TO, Decision, Request, decide, document_mailbox
from mail.decide.servers import Server, parse_filter
from mail.message.address import format_address, parse_addresses
from mail.message.compose import with_addresses
from mail.sentences import say


def server(name, filter="", rewrite="not_ours", *, active=True, priority=10):
    return Server(sum(map(ord, name)), name, priority, parse_filter(filter), rewrite, active)


def office(default_from="notifications", domain="mycompany.com", **more):
    return Office(default_from, domain, default_server=Server(None, "default"), company="My Company", **more)


OURS = office()  # default address notifications@mycompany.com, bounce@mycompany.com, catchall@mycompany.com
NO_DEFAULT = office(default_from="")
NO_DOMAIN = office(domain="")  # a local part alone is no address
FULL = office(default_from="Info@Other.com")
NOTHING = office("", "")

OPEN = server("open")
KEEP = server("keep", rewrite="never")
ALWAYS = server("always", rewrite="always")
MINE = server("mine", "mycompany.com")
ONE = server("one", "notifications@mycompany.com")
ACME = server("acme", "acme.com")
LIST = server("list", "acme.com, bob@home.net")
IDN = server("idn", "bücher.example")
OFF = server("off", "home.net", active=False)

NOTIFY = "notifications@mycompany.com"
BOUNCE = "bounce@mycompany.com"


def codes(whys):
    return [one["code"] for one in whys]


@pytest.mark.parametrize(
    ("servers", "office", "sender", "sent_as"),
    [
        # a server with a filter: what matches stays, the rest is encapsulated
        ([MINE], OURS, '"Admin" <admin@example.com>', f'"Admin" <{NOTIFY}>'),
        ([MINE], OURS, "admin@example.com", f'"admin" <{NOTIFY}>'),
        ([MINE], OURS, "Admin <admin@mycompany.com>", '"Admin" <admin@mycompany.com>'),
        ([MINE], OURS, "Admin@MyCompany.com", "Admin@mycompany.com"),
        ([ACME], OURS, '"Bob" <bob@acme.com>', '"Bob" <bob@acme.com>'),
        ([ACME], OURS, '"Bob" <bob@mail.acme.com>', f'"Bob" <{NOTIFY}>'),
        ([LIST], OURS, '"Bob" <bob@home.net>', '"Bob" <bob@home.net>'),
        ([LIST], OURS, '"Eve" <eve@home.net>', f'"Eve" <{NOTIFY}>'),
        ([IDN], OURS, '"Eve" <eve@xn--bcher-kva.example>', '"Eve" <eve@bücher.example>'),
        ([ACME], OURS, f'"Eve" <{NOTIFY}>', f'"Eve" <{NOTIFY}>'),
        ([ACME], OURS, "NOTIFICATIONS@mycompany.com", "NOTIFICATIONS@mycompany.com"),
        # the filter is the default address: every other From is encapsulated in it
        ([ONE], OURS, '"Admin" <admin@mycompany.com>', f'"Admin" <{NOTIFY}>'),
        ([ONE], OURS, '"Admin" <admin@example.com>', f'"Admin" <{NOTIFY}>'),
        ([ONE], OURS, f'"Admin" <{NOTIFY}>', f'"Admin" <{NOTIFY}>'),
        ([server("x", "info@other.com")], FULL, '"Bob" <bob@other.com>', '"Bob" <info@other.com>'),
        # a server without a filter: our own stay, a stranger's do not
        ([OPEN], OURS, '"Admin" <admin@mycompany.com>', '"Admin" <admin@mycompany.com>'),
        ([OPEN], OURS, '"Admin" <admin@sub.mycompany.com>', f'"Admin" <{NOTIFY}>'),
        ([OPEN], OURS, '"Clerk" <clerk@home.test>', f'"Clerk" <{NOTIFY}>'),
        ([OPEN, OFF], OURS, '"Bob" <bob@home.net>', f'"Bob" <{NOTIFY}>'),
        ([OPEN], office(domain="BÜCHER.example"), "eve@xn--bcher-kva.example", "eve@bücher.example"),
        ([OPEN], FULL, '"Bob" <bob@home.net>', '"Bob" <info@other.com>'),
        ([OPEN], FULL, '"Info" <info@other.com>', '"Info" <info@other.com>'),
        ([KEEP], OURS, '"Bob" <bob@home.net>', '"Bob" <bob@home.net>'),
        ([ALWAYS], OURS, '"Bob" <bob@home.net>', f'"Bob" <{NOTIFY}>'),
        ([ALWAYS], OURS, '"Admin" <admin@mycompany.com>', f'"Admin" <{NOTIFY}>'),
        ([server("r", "acme.com", "never")], OURS, '"Bob" <bob@home.net>', f'"Bob" <{NOTIFY}>'),
        ([server("r", "acme.com", "always")], OURS, '"Bob" <bob@acme.com>', '"Bob" <bob@acme.com>'),
        # the default address: a local part needs a domain
        ([ACME], NO_DEFAULT, '"Bob" <bob@home.net>', '"Bob" <bob@home.net>'),
        ([ACME], NO_DOMAIN, '"Bob" <bob@home.net>', '"Bob" <bob@home.net>'),
        ([ACME], FULL, '"Bob" <bob@home.net>', '"Bob" <info@other.com>'),
        ([ACME], office("Info@Other.com", ""), '"Bob" <bob@home.net>', '"Bob" <info@other.com>'),
        ([ACME], office("no address@", "x.com"), '"Bob" <bob@home.net>', '"Bob" <bob@home.net>'),
        ([OPEN], NO_DEFAULT, '"Bob" <bob@home.net>', '"Bob" <bob@home.net>'),
        # names
        ([OPEN], OURS, '"Doe, Ann" <ann@home.net>', f'"Doe, Ann" <{NOTIFY}>'),
        ([OPEN], OURS, "Doe, Ann <ann@home.net>", f'"Doe, Ann" <{NOTIFY}>'),
        ([OPEN], OURS, r'"Ann \"A\" Doe" <ann@home.net>', rf'"Ann \"A\" Doe" <{NOTIFY}>'),
        ([OPEN], OURS, "=?utf-8?q?J=C3=BCrgen?= <j@home.net>", f'"Jürgen" <{NOTIFY}>'),
        ([OPEN], OURS, '"the boss"@home.net', f'"the boss" <{NOTIFY}>'),
        ([OPEN], OURS, '"x@mycompany.com" <eve@home.net>', f'"x@mycompany.com" <{NOTIFY}>'),
        ([MINE], OURS, '"x@mycompany.com" <eve@home.net>', f'"x@mycompany.com" <{NOTIFY}>'),
        ([OPEN], OURS, "=?utf-8?q?A=0D=0ABcc=3A_b=40x?= <a@home.net>", f'"A Bcc: b@x" <{NOTIFY}>'),
        # several addresses: the first valid one
        ([ACME], OURS, "bob@acme.com, eve@home.net", "bob@acme.com"),
        ([ACME], OURS, "eve@home.net, bob@acme.com", f'"eve" <{NOTIFY}>'),
        ([ACME], OURS, "nonsense, <eve@>, Bob <bob@acme.com>", '"Bob" <bob@acme.com>'),
        # none: the default address
        ([ACME], OURS, "", NOTIFY),
        ([ACME], OURS, "Clerk", NOTIFY),
        ([KEEP], OURS, "clerk@", NOTIFY),
        ([], OURS, "", NOTIFY),
        # the default server: its own filter, else the parameter's
        ([], OURS, '"Bob" <bob@home.net>', f'"Bob" <{NOTIFY}>'),
        ([], OURS, '"Bob" <bob@mycompany.com>', '"Bob" <bob@mycompany.com>'),
        ([], office(default_from_filter=("home.net",)), '"Bob" <bob@home.net>', '"Bob" <bob@home.net>'),
        ([], office(default_from_filter=("home.net",)), '"Bob" <bob@mycompany.com>', f'"Bob" <{NOTIFY}>'),
        ([], office(default_from_filter=("bob@home.net", "x.org")), "eve@x.org", "eve@x.org"),
        ([], office(default_from_filter=(NOTIFY,)), '"Bob" <bob@mycompany.com>', f'"Bob" <{NOTIFY}>'),
        ([OFF], office(default_from_filter=("home.net",)), '"Bob" <bob@home.net>', '"Bob" <bob@home.net>'),
        ([ACME], office(custom_servers=False), '"Bob" <bob@home.net>', f'"Bob" <{NOTIFY}>'),
        ([ACME], office(custom_servers=False), '"Bob" <bob@acme.com>', '"Bob" <bob@acme.com>'),
        # a server record never looks at the parameter
        ([OPEN], office(default_from_filter=("home.net",)), '"Bob" <bob@home.net>', f'"Bob" <{NOTIFY}>'),
        ([ACME], office(default_from_filter=("home.net",)), '"Bob" <bob@home.net>', f'"Bob" <{NOTIFY}>'),
    ],
)
def test_who_a_mail_is_sent_as(servers, office, sender, sent_as):
    decision = decide(Request(sender), servers, office)
    assert (decision.from_after, decision.failure) == (sent_as, None)


@pytest.mark.parametrize(
    ("filter_of_environment", "parameter", "sender", "stays", "step"),
    [
        ("home.net", (), "bob@home.net", True, "default_filter_environment"),
        ("home.net", ("acme.com",), "bob@home.net", False, "default_filter_parameter"),
        ("home.net", ("acme.com",), "bob@acme.com", True, "default_filter_parameter"),
        ("", (), "bob@home.net", False, "default_filter_none"),
    ],
)
def test_a_parameter_that_is_not_empty_wins_over_the_environment(filter_of_environment, parameter, sender, stays, step):
    default = Server(None, "default", filters=parse_filter(filter_of_environment))
    ours = Office("notifications", "mycompany.com", default_server=default, default_from_filter=parameter)
    decision = decide(Request(sender), [], ours)
    assert decision.is_default_server
    assert decision.encapsulated is not stays
    assert step in codes(decision.steps)


@pytest.mark.parametrize(
    ("servers", "sender", "forced", "sent_as"),
    [
        ([ACME, OPEN], '"Bob" <bob@acme.com>', OPEN, '"Bob" <bob@acme.com>'),  # ours: in ACME's filter
        ([LIST, OPEN], '"Bob" <bob@home.net>', OPEN, '"Bob" <bob@home.net>'),
        ([LIST, OPEN], '"Eve" <eve@home.net>', OPEN, f'"Eve" <{NOTIFY}>'),
        ([OFF, OPEN], '"Bob" <bob@home.net>', OPEN, f'"Bob" <{NOTIFY}>'),  # a filter that is switched off says nothing
        ([ACME, MINE], '"Bob" <bob@acme.com>', MINE, f'"Bob" <{NOTIFY}>'),
        ([ACME, KEEP], '"Eve" <eve@home.net>', KEEP, '"Eve" <eve@home.net>'),
    ],
)
def test_the_from_of_a_mailing_with_its_own_server(servers, sender, forced, sent_as):
    decision = decide(Request(sender, forced_server=forced.id), servers, OURS)
    assert (decision.server_id, decision.from_after) == (forced.id, sent_as)
    assert decision.is_forced and not decide(Request(sender), servers, OURS).is_forced


@pytest.mark.parametrize(
    ("servers", "office", "request_", "failure"),
    [
        ([ACME], NO_DEFAULT, Request(""), "from_missing"),
        ([ACME], NO_DEFAULT, Request("  \r\n"), "from_missing"),
        ([ACME], NO_DEFAULT, Request("Clerk"), "from_invalid"),
        ([ACME], NO_DEFAULT, Request('"bob@acme.com"'), "from_invalid"),
        ([], NOTHING, Request("bob@"), "from_invalid"),
        ([OFF], OURS, Request("bob@acme.com", forced_server=OFF.id), "server_off"),
        ([], OURS, Request("bob@acme.com", forced_server=77), "server_gone"),
        ([], Office("notifications", "mycompany.com"), Request("bob@acme.com"), "no_server"),
        ([], Office(), Request(""), "no_server"),
    ],
)
def test_nothing_is_sent(servers, office, request_, failure):
    decision = decide(request_, servers, office)
    assert decision.failure["code"] == failure
    assert (decision.server_id, decision.from_after, decision.envelope_sender) == (None, "", "")
    assert "%(" not in say(decision.failure)


@pytest.mark.parametrize(
    ("servers", "office", "sender", "return_path", "envelope"),
    [
        # the bounce address, when the server may send as it
        ([MINE], OURS, "bob@mycompany.com", "", BOUNCE),
        ([MINE], OURS, "bob@home.net", "", BOUNCE),
        ([OPEN], OURS, "bob@home.net", "", BOUNCE),
        ([KEEP], OURS, "bob@home.net", "", BOUNCE),
        ([server("b", f"{NOTIFY}, {BOUNCE}")], OURS, "bob@home.net", "", BOUNCE),
        ([], OURS, "bob@home.net", "", BOUNCE),
        ([], office(default_from_filter=("mycompany.com",)), "bob@home.net", "", BOUNCE),
        # otherwise the From that is sent
        ([ONE], OURS, "bob@home.net", "", NOTIFY),
        ([ACME], OURS, "Bob@acme.com", "", "Bob@acme.com"),
        ([ACME], OURS, "bob@home.net", "", NOTIFY),
        ([], office(default_from_filter=(NOTIFY,)), "bob@home.net", "", NOTIFY),
        ([KEEP], NOTHING, "bob@home.net", "", "bob@home.net"),
        ([IDN], OURS, "eve@bücher.example", "", "eve@xn--bcher-kva.example"),
        ([OPEN], office(domain="bücher.example"), "a@home.net", "", "bounce@xn--bcher-kva.example"),
        ([OPEN], office(bounce_alias="returns"), "bob@home.net", "", "returns@mycompany.com"),
        ([OPEN], office(bounce_alias=""), "bob@mycompany.com", "", "bob@mycompany.com"),
        # a given Return-Path takes the place of the bounce address, under the same condition
        ([MINE], OURS, "bob@home.net", "Lists@mycompany.com", "lists@mycompany.com"),
        ([OPEN], OURS, "bob@home.net", "<lists@other.com>", "lists@other.com"),
        ([MINE], OURS, "bob@home.net", "lists@other.com", NOTIFY),
        ([MINE], OURS, "bob@mycompany.com", "lists@other.com", "bob@mycompany.com"),
        ([MINE], OURS, "bob@home.net", "nonsense", BOUNCE),
        ([MINE], OURS, "bob@home.net", "<>", ""),
    ],
)
def test_where_failures_go(servers, office, sender, return_path, envelope):
    assert decide(Request(sender, return_path=return_path), servers, office).envelope_sender == envelope


def verp(bounce, domain="mycompany.com"):
    return office(domain=domain, bounce_alias=bounce, verp=True, with_plus={f"{bounce}@{domain}"})


VERP = verp("bounce")
WHERE_TESTED = replace(VERP, verp=None)


@pytest.mark.parametrize(
    ("one", "office", "return_path", "envelope", "code"),
    [
        (MINE, VERP, "", "bounce+<token>@mycompany.com", "envelope_verp"),
        (OPEN, VERP, "", "bounce+<token>@mycompany.com", "envelope_verp"),
        (OPEN, verp("bounce", "bücher.example"), "", "bounce+<token>@xn--bcher-kva.example", "envelope_verp"),
        # one address for all
        (OPEN, OURS, "", BOUNCE, None),
        (replace(OPEN, verp=False), VERP, "", BOUNCE, "envelope_verp_off"),
        # nobody has said so: each server shows it first
        (OPEN, WHERE_TESTED, "", BOUNCE, "envelope_verp_untried"),
        (replace(OPEN, verp=False), WHERE_TESTED, "", BOUNCE, "envelope_verp_off"),
        (replace(OPEN, verp=True), WHERE_TESTED, "", "bounce+<token>@mycompany.com", "envelope_verp"),
        (replace(OPEN, verp=True), replace(VERP, verp=False), "", BOUNCE, None),
        (OPEN, office(verp=True), "", BOUNCE, "envelope_verp_not_seen"),
        (OPEN, replace(VERP, bounce_alias="new"), "", "new@mycompany.com", "envelope_verp_not_seen"),
        (server("b", f"{NOTIFY}, {BOUNCE}"), VERP, "", BOUNCE, "envelope_verp_not_in_filter"),
        (OPEN, verp("b" * 23), "", f"{'b' * 23}+<token>@mycompany.com", "envelope_verp"),
        (OPEN, verp("b" * 24), "", f"{'b' * 24}@mycompany.com", "envelope_verp_too_long"),
        # none of the bounce address
        (ONE, VERP, "", NOTIFY, None),
        (OPEN, VERP, "lists@other.com", "lists@other.com", None),
        (OPEN, VERP, "<>", "", None),
    ],
)
def test_each_recipient_gets_a_bounce_address_where_that_works(one, office, return_path, envelope, code):
    decision = decide(Request("bob@home.net", return_path=return_path), [one], office)
    assert decision.envelope_sender == envelope
    assert [found for found in codes(decision.steps) if found.startswith("envelope_verp")] == [code] * (
        code is not None
    )


@pytest.mark.parametrize(
    ("request_", "reply_to"),
    [
        (Request("Bob <bob@acme.com>"), '"Bob" <bob@acme.com>'),
        (Request("bob@acme.com", reply_to="desk@acme.com"), "desk@acme.com"),
        (Request("bob@acme.com", document="Order 7"), '"My Company Order 7" <catchall@mycompany.com>'),
        (Request("bob@acme.com", document="Order 7", aliases=(TypeAlias("sales@mycompany.com"),)),
         '"My Company Order 7" <sales@mycompany.com>'),
        (Request("", document="Order 7"), '"My Company Order 7" <catchall@mycompany.com>'),
        (Request(""), ""),
    ],
)  # fmt: skip
def test_a_mail_that_can_not_be_sent_yet_is_composed_with_its_reply_to(request_, reply_to):
    decision = decide(request_, [], replace(NO_DEFAULT, default_server=None))
    assert decision.failure is not None
    assert (decision.reply_to, decision.domain, decision.warnings) == (reply_to, "mycompany.com", [])
    assert decide(Request(""), [], replace(OURS, default_server=None)).reply_to == NOTIFY


DOC, SALES, CATCHALL = "Order 7", "sales@mycompany.com", "catchall@mycompany.com"
BY_SALES = (TypeAlias(SALES),)
COMPANY_ORDER = "My Company Order 7"


@pytest.mark.parametrize(
    ("office", "request_", "reply_to"),
    [
        # what the mail was given, never changed
        (OURS, Request("bob@home.net", reply_to="Desk <desk@home.net>"), '"Desk" <desk@home.net>'),
        (OURS, Request("bob@home.net", "a@x.com, b@x.com", document=DOC, aliases=BY_SALES), "a@x.com, b@x.com"),
        (OURS, Request("bob@home.net", "nonsense", document=DOC, aliases=BY_SALES), f'"{COMPANY_ORDER}" <{SALES}>'),
        # a mail of a document: the alias of its type, else the catchall
        (OURS, Request("bob@home.net", document=DOC, aliases=BY_SALES), f'"{COMPANY_ORDER}" <{SALES}>'),
        (OURS, Request("bob@home.net", document=DOC), f'"{COMPANY_ORDER}" <{CATCHALL}>'),
        (OURS, Request("bob@home.net", document=DOC, aliases=[TypeAlias("?")]), f'"{COMPANY_ORDER}" <{CATCHALL}>'),
        (NO_DOMAIN, Request("bob@home.net", document=DOC, aliases=BY_SALES), f'"{COMPANY_ORDER}" <{SALES}>'),
        (office(catchall_alias=""), Request("Bob <bob@home.net>", document=DOC), '"Bob" <bob@home.net>'),
        (NO_DOMAIN, Request("Bob <bob@home.net>", document=DOC), '"Bob" <bob@home.net>'),
        (OURS, Request("", document=DOC), f'"{COMPANY_ORDER}" <{CATCHALL}>'),
        # any other mail: its author
        (OURS, Request("Bob <bob@home.net>"), '"Bob" <bob@home.net>'),
        (OURS, Request("Bob <bob@home.net>", aliases=BY_SALES), '"Bob" <bob@home.net>'),
        (OURS, Request("Doe, Ann <ann@home.net>, bob@home.net"), '"Doe, Ann" <ann@home.net>'),
        (OURS, Request(""), NOTIFY),
    ],
)  # fmt: skip
def test_where_answers_go(office, request_, reply_to):
    assert decide(request_, [MINE], office).reply_to == reply_to


@pytest.mark.parametrize(
    ("company", "title", "name"),
    [
        ("My Company", "Order 7", "My Company Order 7"),
        ("", "Order 7", "Order 7"),
        ("My Company", "", "My Company"),
        ("My Company", "Quotation for forty large tables and chairs", "My Company Quotation for forty large tables"),
        ("My Company", "Q" * 80, "My Company"),
        ("C" * 80, "Order 7", ""),
        ("Müller", "Übergroße Gartenmöbel für Frühling", "Müller Übergroße"),
        ("My\r\nBcc: x@y.z", "Order", "My Bcc: x@y.z Order"),
        ('The "Best"', "Order", 'The "Best" Order'),
    ],
)
def test_the_name_of_a_document_is_shortened_rather_than_folded(company, title, name):
    mailbox = document_mailbox(company, title, SALES)
    found = parse_addresses(mailbox)[0]
    assert (found.name, found.address) == (name, SALES)
    assert len(format_address(found.name, found.address)) <= LONGEST_REPLY_TO


@pytest.mark.parametrize(
    ("servers", "office", "request_", "warnings"),
    [
        ([MINE], OURS, Request("bob@home.net"), []),
        ([ACME], NO_DEFAULT, Request("bob@home.net"), ["no_default_address"]),
        ([OPEN], NO_DEFAULT, Request("bob@home.net"), ["no_default_address"]),
        ([KEEP], NO_DEFAULT, Request("bob@home.net"), []),
        ([ACME], OURS, Request("bob@home.net"), ["default_not_in_filter"]),
        ([ACME], OURS, Request(""), ["default_not_in_filter"]),
        ([ACME], OURS, Request("bob@acme.com"), []),
        ([MINE], OURS, Request("bob@home.net", reply_to="nonsense"), ["reply_to_invalid"]),
        ([MINE], OURS, Request("jürgen@mycompany.com"), ["from_needs_smtputf8"]),
        ([MINE], OURS, Request("jürgen@home.net"), []),
    ],
)
def test_what_is_warned_of(servers, office, request_, warnings):
    assert codes(decide(request_, servers, office).warnings) == warnings


@pytest.mark.parametrize(
    ("servers", "sender", "smtputf8"),
    [
        ([MINE], "jürgen@mycompany.com", True),
        ([MINE], "jürgen@home.net", False),  # encapsulated
        ([KEEP], "jürgen@home.net", True),
        ([KEEP], "info@bücher.example", False),
    ],
)
def test_which_mails_need_smtputf8(servers, sender, smtputf8):
    assert decide(Request(sender), servers, OURS).smtputf8 is smtputf8


def test_the_decision_tells_its_story():
    decision = decide(Request('"Clerk" <clerk@home.test>', document=DOC, aliases=BY_SALES), [MINE], OURS)
    assert [say(step) for step in decision.steps] == [
        "1. A server whose From filter contains the address clerk@home.test: none of 1.",
        "2. A server whose From filter contains the domain home.test: none of 1.",
        "3. A server without a From filter: none of 1.",
        "4. A server whose From filter contains the default address notifications@mycompany.com: none of 1.",
        "4. A server whose From filter contains the domain of the default address, mycompany.com: “mine”.",
        "The filter of “mine” (mycompany.com) does not contain clerk@home.test: the email is sent from "
        "notifications@mycompany.com under the author's name.",
        "Delivery failures go to the bounce address bounce@mycompany.com.",
        "Replies go to the alias of the document type, sales@mycompany.com.",
    ]
    assert (decision.from_before, decision.from_after) == ('"Clerk" <clerk@home.test>', f'"Clerk" <{NOTIFY}>')
    assert decision.encapsulated
    assert (decision.server_id, decision.server_name, decision.is_default_server) == (MINE.id, "mine", False)


@pytest.mark.parametrize("sender", ["bob@home.net", "", "nonsense", "a@b.c, d@e.f", "jürgen@mycompany.com"])
@pytest.mark.parametrize("servers", [[], [OPEN], [ACME, MINE], [OFF], [ALWAYS], [KEEP]])
@pytest.mark.parametrize("given", [OURS, NOTHING, FULL, office(default_from_filter=("home.net",))])
def test_a_decision_is_stored_whole_and_every_reason_has_a_sentence(sender, servers, given):
    decision = decide(Request(sender), servers, given)
    assert Decision.from_json(json.loads(json.dumps(decision.as_json()))) == decision
    for reason in [*decision.steps, *decision.warnings, *filter(None, [decision.failure])]:
        assert say(reason)
        assert "?" not in say(reason)
    if not decision.failure:
        assert decision.reply_to
        assert with_addresses(b"", decision.from_after, decision.reply_to)


def test_a_hostile_from_stays_in_its_row_and_its_line():
    decision = decide(Request(f'"{"x" * 5000}\r\nBcc: b@x" <{"y" * 200}@home.net>'), [KEEP], OURS)
    assert len(decision.from_before) <= 400
    assert b"Bcc:" not in with_addresses(b"", decision.from_after, NOTIFY)


def test_a_stored_decision_of_another_version_can_be_read():
    stored = {**decide(Request("bob@home.net"), [MINE], OURS).as_json(), "dropped": 1}
    del stored["smtputf8"]
    assert Decision.from_json(stored).server_name == "mine"

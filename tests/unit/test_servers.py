"""The choice of the outgoing server: five steps, in this order and no other."""

import json
import sys

import pytest

from mail.decide.servers import ChoiceStep, FilterError, Server, choose_server, parse_filter, read_filter
from mail.sentences import SENTENCES, say

DEFAULT = Server(None, "default")


def server(name, filter="", priority=10, *, id=None, active=True):
    return Server(id or sum(map(ord, name)), name, priority, parse_filter(filter), active=active)


OPEN = server("open")
ACME = server("acme", "acme.com")
SALES = server("sales", "sales@acme.com")
NOTIFY = server("notify", "notify@mycompany.com")
OURS = server("ours", "mycompany.com")
LIST = server("list", "home.net, info@acme.com, Example.ORG")
IDN = server("idn", "xn--bcher-kva.example")
OFF = server("off", "acme.com", priority=1, active=False)
LATE = server("late", "other.net", priority=20)
EARLY = server("early", "other.org", priority=5)

A, D, N, DA, DD, F = (
    ChoiceStep.ADDRESS,
    ChoiceStep.DOMAIN,
    ChoiceStep.NO_FILTER,
    ChoiceStep.DEFAULT_ADDRESS,
    ChoiceStep.DEFAULT_DOMAIN,
    ChoiceStep.FIRST,
)
ENV = ChoiceStep.DEFAULT_SERVER
NOTIFY_US = "notify@mycompany.com"


@pytest.mark.parametrize(
    ("servers", "sender", "default", "chosen", "step"),
    [
        # step 1: a server whose filter has the From address
        ([SALES], "sales@acme.com", NOTIFY_US, "sales", A),
        ([OPEN, ACME, SALES], "sales@acme.com", NOTIFY_US, "sales", A),
        ([server("first", priority=1), SALES], "sales@acme.com", NOTIFY_US, "sales", A),
        ([server("a", "sales@acme.com", 20), server("b", "sales@acme.com", 10)], "sales@acme.com", None, "b", A),
        ([server("a", "sales@acme.com", id=9), server("b", "sales@acme.com", id=7)], "sales@acme.com", None, "b", A),
        ([LIST], "info@acme.com", None, "list", A),
        ([LIST, ACME], "info@acme.com", None, "list", A),
        ([server("upper", "SALES@Acme.Com")], "sales@acme.com", None, "upper", A),
        ([server("plus", "sales+x@acme.com"), OPEN], "sales@acme.com", None, "open", N),
        ([server("dots", "s.ales@acme.com"), OPEN], "sales@acme.com", None, "open", N),
        ([server("idn", "info@BÜCHER.example")], "info@bücher.example", None, "idn", A),
        # step 2: a server whose filter has the From domain
        ([OPEN, ACME], "bob@acme.com", NOTIFY_US, "acme", D),
        ([server("first", priority=1), server("acme", "acme.com", 99)], "bob@acme.com", NOTIFY_US, "acme", D),
        ([server("a", "acme.com", 20), server("b", "acme.com", 10)], "bob@acme.com", None, "b", D),
        ([server("a", "acme.com", id=2), server("b", "acme.com", id=1)], "bob@acme.com", None, "b", D),
        ([LIST], "me@home.net", None, "list", D),
        ([LIST], "me@example.org", None, "list", D),
        ([IDN], "info@bücher.example", None, "idn", D),
        ([SALES, OPEN], "bob@acme.com", None, "open", N),
        # a domain covers itself alone
        ([ACME, OPEN], "bob@mail.acme.com", None, "open", N),
        ([server("sub", "mail.acme.com"), OPEN], "bob@acme.com", None, "open", N),
        ([ACME, OPEN], "bob@notacme.com", None, "open", N),
        ([ACME, OPEN], "bob@acme.com.evil.net", None, "open", N),
        ([server("tld", "com"), OPEN], "bob@acme.com", None, "open", N),
        # step 3: a server without a filter, before the default address
        ([ACME, OPEN], "me@home.net", NOTIFY_US, "open", N),
        ([NOTIFY, OPEN], "me@home.net", NOTIFY_US, "open", N),
        ([OURS, OPEN], "me@home.net", NOTIFY_US, "open", N),
        ([server("a", priority=20), server("b", priority=10)], "me@home.net", None, "b", N),
        ([server("a", id=2), server("b", id=1)], "me@home.net", None, "b", N),
        ([EARLY, OPEN], "me@home.net", None, "open", N),
        # step 4: the default address, then its domain
        ([ACME, NOTIFY], "me@home.net", NOTIFY_US, "notify", DA),
        ([OURS, NOTIFY], "me@home.net", NOTIFY_US, "notify", DA),
        ([ACME, OURS], "me@home.net", NOTIFY_US, "ours", DD),
        ([EARLY, OURS], "me@home.net", NOTIFY_US, "ours", DD),
        ([server("a", "mycompany.com", 20), server("b", "mycompany.com", 10)], "me@home.net", NOTIFY_US, "b", DD),
        # step 5: the first by priority
        ([LATE, EARLY], "me@home.net", NOTIFY_US, "early", F),
        ([LATE, EARLY], "me@home.net", None, "early", F),
        ([ACME, LATE], "me@home.net", "notify@elsewhere.com", "acme", F),
        ([server("a", "a.com", id=2), server("b", "b.com", id=1)], "me@home.net", None, "b", F),
        ([NOTIFY, EARLY], "me@home.net", None, "early", F),
        # no From: steps 1 and 2 match nothing
        ([ACME, OPEN], None, NOTIFY_US, "open", N),
        ([ACME, NOTIFY], None, NOTIFY_US, "notify", DA),
        ([ACME, LATE], None, None, "acme", F),
        # only active servers take part
        ([OFF, ACME], "bob@acme.com", None, "acme", D),
        ([OFF, OPEN], "bob@acme.com", None, "open", N),
        ([OFF, LATE], "bob@acme.com", None, "late", F),
        # no active record: the default server
        ([], "bob@acme.com", NOTIFY_US, "default", ENV),
        ([OFF], "bob@acme.com", NOTIFY_US, "default", ENV),
        ([], None, None, "default", ENV),
    ],
)
def test_the_earliest_step_wins(servers, sender, default, chosen, step):
    choice = choose_server(servers, sender, default, default_server=DEFAULT)
    assert (choice.server.name, choice.step, choice.failure) == (chosen, step, None)


@pytest.mark.parametrize(
    ("servers", "options", "chosen", "failure"),
    [
        # the server of a mailing: no search, no silent replacement
        ([ACME, OPEN, LATE], {"forced": LATE.id}, "late", None),
        ([ACME, OPEN], {"forced": OPEN.id}, "open", None),
        ([OFF, ACME], {"forced": OFF.id}, None, "server_off"),
        ([ACME], {"forced": 4711}, None, "server_gone"),
        ([], {"forced": 4711}, None, "server_gone"),
        ([ACME, LATE], {"forced": LATE.id, "custom_servers": False}, "late", None),
        # Custom Email Servers off
        ([ACME, OPEN], {"custom_servers": False}, "default", None),
        ([ACME], {"custom_servers": False, "default_server": None}, None, "no_server"),
        # nothing there
        ([], {"default_server": None}, None, "no_server"),
        ([OFF], {"default_server": None}, None, "no_server"),
        ([ACME], {"default_server": None}, "acme", None),
    ],
)
def test_forced_and_missing_servers(servers, options, chosen, failure):
    choice = choose_server(servers, "bob@acme.com", NOTIFY_US, **{"default_server": DEFAULT, **options})
    assert (choice.server and choice.server.name, choice.failure and choice.failure["code"]) == (chosen, failure)


def test_every_step_says_which_servers_it_looked_at_and_why():
    choice = choose_server([OURS, OFF, SALES, LATE], "bob@acme.com", NOTIFY_US, default_server=DEFAULT)
    assert [say(step) for step in choice.steps] == [
        "1. A server whose From filter contains the address bob@acme.com: none of 3.",
        "2. A server whose From filter contains the domain acme.com: none of 3.",
        "3. A server without a From filter: none of 3.",
        "4. A server whose From filter contains the default address notify@mycompany.com: none of 3.",
        "4. A server whose From filter contains the domain of the default address, mycompany.com: “ours”.",
    ]
    assert [say(one) for one in choice.steps[0]["values"]["looked_at"]] == [
        "“ours” does not match: its From filter is mycompany.com.",
        "“sales” does not match: its From filter is sales@acme.com.",
        "“late” does not match: its From filter is other.net.",
    ]
    found = choice.steps[4]["values"]["looked_at"][0]
    assert say(found) == "“ours” (priority 10) matches and comes first."
    assert json.loads(json.dumps(choice.steps)) == choice.steps


def test_what_a_step_says_of_a_later_match_and_of_servers_without_a_filter():
    servers = [ACME, server("acme2", "acme.com", 11), server("z", priority=12)]
    looked_at = choose_server(servers, "bob@acme.com", None, default_server=DEFAULT).steps[1]["values"]["looked_at"]
    assert [one["code"] for one in looked_at] == ["server_chosen", "server_later", "server_without_filter"]
    looked_at = choose_server(servers, "me@home.net", None, default_server=DEFAULT).steps[2]["values"]["looked_at"]
    assert [one["code"] for one in looked_at] == ["server_has_filter", "server_has_filter", "server_chosen"]


def test_the_chosen_server_is_explained_even_behind_many_others():
    many = [server(f"s{number}", f"s{number}.com", number, id=number) for number in range(1, 501)]
    step = choose_server(many, "me@s400.com", None, default_server=DEFAULT).steps[1]
    codes = [one["code"] for one in step["values"]["looked_at"]]
    assert codes == ["server_other_filter"] * 9 + ["server_chosen", "search_more"]
    assert step["values"]["looked_at"][-1]["values"] == {"count": 490}


@pytest.mark.parametrize(
    ("text", "filters"),
    [
        ("", ()),
        (None, ()),
        ("acme.com", ("acme.com",)),
        ("  ACME.com ", ("acme.com",)),
        ("sales@Acme.com", ("sales@acme.com",)),
        ("acme.com, sales@home.net,acme.com,,", ("acme.com", "sales@home.net")),
        ("xn--bcher-kva.example", ("bücher.example",)),
        ("BÜCHER.example", ("bücher.example",)),
        ("info@xn--bcher-kva.example", ("info@bücher.example",)),
        ("mail.acme.com", ("mail.acme.com",)),
    ],
)
def test_what_a_filter_means(text, filters):
    assert parse_filter(text) == read_filter(text) == filters


@pytest.mark.parametrize(
    ("text", "code", "entry"),
    [
        (" ", "filter_blank", None),
        (",", "filter_blank", None),
        (" , ,\t", "filter_blank", None),
        ("acme.com; home.net", "filter_entry_invalid", "acme.com; home.net"),
        ("@acme.com", "filter_entry_invalid", "@acme.com"),
        ("*.acme.com", "filter_entry_invalid", "*.acme.com"),
        ("Sales <sales@acme.com>", "filter_entry_invalid", "Sales <sales@acme.com>"),
        ("acme.com, not a domain", "filter_entry_invalid", "not a domain"),
        ("sales@", "filter_entry_invalid", "sales@"),
        ("acme..com", "filter_entry_invalid", "acme..com"),
    ],
)
def test_what_the_form_refuses_as_a_filter(text, code, entry):
    with pytest.raises(FilterError) as refused:
        parse_filter(text)
    assert refused.value.why["code"] == code
    assert refused.value.why["values"].get("entry") == entry
    assert str(refused.value) == say(refused.value.why)
    assert "%(" not in str(refused.value)


def test_a_stored_filter_of_blanks_matches_nothing_and_is_not_no_filter():
    blank = Server(1, "blank", filters=read_filter(" , "))
    choice = choose_server([blank], "bob@acme.com", None, default_server=DEFAULT)
    assert (choice.server.name, choice.step) == ("blank", ChoiceStep.FIRST)
    assert not blank.may_send_as("bob@acme.com")


def test_every_step_has_its_sentence():
    found = {f"search_{step}_found" for step in (A, D, N, DA, DD, F)} | {f"search_{step}" for step in (A, D, N, DA, DD)}
    assert found <= set(SENTENCES)


@pytest.mark.parametrize("count", [1, 50, 500])
def test_the_choice_looks_at_each_server_a_few_times(count):
    servers = [server(f"s{number}", f"s{number}.com", number, id=number) for number in range(1, count + 1)]
    calls = 0

    def called(_frame, event, _argument):
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(called)
    try:
        choose_server(servers, "me@home.net", NOTIFY_US, default_server=DEFAULT)
    finally:
        sys.setprofile(None)
    assert calls <= 300 + 3 * count  # benchmarks/choice.py measures the time

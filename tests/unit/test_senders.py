"""The addresses that the test of a server tries: all that it would be given, and a word about those that it is not."""

from dataclasses import replace

import pytest

from mail.decide.domains import MailDomain, Office
from mail.decide.senders import senders_of
from mail.decide.servers import Server, parse_filter
from mail.sentences import say

OFFICE = Office(default_from="notifications", catchall_domain="mycompany.com")
DEFAULT, BOUNCE = "notifications@mycompany.com", "bounce@mycompany.com"
OPEN = Server(9, "Open")
SECOND = MailDomain.of("second.com", bounce="returns", default_from="hello")


def server(text: str = "", **values) -> Server:
    return Server(1, "Ours", filters=parse_filter(text), **values)


def tried(one: Server, *others: Server, office: Office = OFFICE, people=None) -> dict[str, str]:
    """Return what each address is for; ``?`` where a refusal does no harm, ``-`` where it is not tried."""
    found = senders_of(one, [one, *others], office, people or {})
    marks = {sender.address: "-" if sender.unused else "" if sender.is_needed else "?" for sender in found}
    return {sender.address: " ".join(sender.uses) + marks[sender.address] for sender in found}


@pytest.mark.parametrize(
    ("filters", "others", "expected"),
    [
        ("", (), {DEFAULT: "default", BOUNCE: "bounce"}),
        ("mycompany.com", (), {DEFAULT: "domain default", BOUNCE: "bounce"}),
        (DEFAULT, (), {DEFAULT: "filter default", BOUNCE: "bounce-"}),
        (f"{DEFAULT}, {BOUNCE}", (), {DEFAULT: "filter default", BOUNCE: "filter bounce"}),
        # nobody else takes what other addresses write: it is sent as the default address
        ("shop.com", (), {"notifications@shop.com": "domain", DEFAULT: "default", BOUNCE: "bounce-"}),
        ("ann@shop.com", (), {"ann@shop.com": "filter", DEFAULT: "default", BOUNCE: "bounce-"}),
        # another server takes it
        ("ann@shop.com", (OPEN,), {"ann@shop.com": "filter", DEFAULT: "default?", BOUNCE: "bounce-"}),
        (
            "shop.com",
            (Server(3, "Main", filters=("mycompany.com",)),),
            {"notifications@shop.com": "domain", DEFAULT: "default?", BOUNCE: "bounce-"},
        ),
        ("shop.com", (Server(3, "Off", active=False),),
         {"notifications@shop.com": "domain", DEFAULT: "default", BOUNCE: "bounce-"}),
        ("shop.com, shop.com, ann@shop.com", (OPEN,),
         {"notifications@shop.com": "domain", "ann@shop.com": "filter", DEFAULT: "default?", BOUNCE: "bounce-"}),
    ],
)  # fmt: skip
def test_every_address_that_it_would_send_as_is_tried(filters, others, expected) -> None:
    assert tried(server(filters), *others) == expected


def test_a_draft_counts_as_if_it_were_active() -> None:
    assert tried(server("shop.com", active=False))[DEFAULT] == "default"


def test_a_domain_is_tried_as_a_colleague_of_it() -> None:
    people = {"mycompany.com": "ann@mycompany.com"}
    assert tried(server("mycompany.com"), people=people) == {
        "ann@mycompany.com": "domain",
        DEFAULT: "default",
        BOUNCE: "bounce",
    }


@pytest.mark.parametrize(
    ("values", "others", "is_tried"),
    [
        ({}, (), True),
        ({"rewrite": "never"}, (), True),
        ({"rewrite": "always"}, (), False),
        ({}, (Server(3, "Main", filters=("mycompany.com",)),), False),  # which sends for her
        ({}, (Server(3, "Off", filters=("mycompany.com",), active=False),), True),
    ],
)
def test_without_a_filter_a_colleague_is_tried_who_keeps_her_address(values, others, is_tried) -> None:
    people = {"mycompany.com": "ann@mycompany.com", "elsewhere.com": "bob@elsewhere.com"}
    found = tried(server(**values), *others, people=people)
    assert found == ({"ann@mycompany.com": "colleague"} if is_tried else {}) | {DEFAULT: "default", BOUNCE: "bounce"}


def test_an_office_without_addresses_has_those_of_the_filter_alone() -> None:
    nothing = Office(default_from="", catchall_domain="")
    assert tried(server("shop.com"), office=nothing) == {"notifications@shop.com": "domain"}
    assert tried(server(), office=nothing) == {}
    assert tried(Server(1, "Unreadable", filters=(",",)), office=nothing) == {}


def test_the_addresses_of_every_domain_of_ours_are_tried() -> None:
    office = Office(default_from="notifications", catchall_domain="mycompany.com", domains=(SECOND,))
    ours = {DEFAULT: "default", "hello@second.com": "default", BOUNCE: "bounce", "returns@second.com": "bounce"}
    assert tried(server(), office=office) == ours
    assert tried(server("second.com"), OPEN, office=office) == {
        "hello@second.com": "domain default",
        DEFAULT: "default?",
        "returns@second.com": "bounce",
    }


def test_what_is_not_needed_or_not_used_says_why() -> None:
    notes = {one.address: say(one.note) for one in senders_of(server("ann@shop.com"), [OPEN], OFFICE, {})}
    assert "go through “Open”" in notes[DEFAULT]
    assert "bounces go to the From address" in notes[BOUNCE] and notes["ann@shop.com"] == ""


def test_an_address_that_is_needed_for_one_thing_is_needed() -> None:
    office = Office(default_from="ann@shop.com", catchall_domain="mycompany.com")
    assert tried(server("shop.com"), OPEN, office=office, people={"shop.com": "ann@shop.com"}) == {
        "ann@shop.com": "domain default",
        BOUNCE: "bounce-",
    }


@pytest.mark.parametrize(
    ("one", "bounce"),
    [
        (server(), "bounce+test@mycompany.com"),
        (server("mycompany.com"), "bounce+test@mycompany.com"),
        (server(verp=False), BOUNCE),
        (server(f"{DEFAULT}, {BOUNCE}"), BOUNCE),
    ],
)
def test_a_bounce_address_of_each_recipient_is_tried_as_it_is_sent(one: Server, bounce: str) -> None:
    office = replace(OFFICE, verp=True, with_plus={OFFICE.bounce_address})
    assert bounce in tried(one, office=office)
    assert BOUNCE in tried(one, office=replace(office, verp=None)) or "bounce+" not in bounce

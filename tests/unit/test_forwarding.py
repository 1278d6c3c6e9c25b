"""Requests of providers to confirm forwarding: raw mails in files, what is read of each, and mails that are none."""

import tomllib
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from mail.decide.forwarding import ForwardingRequest, forwarding_request
from mail.decide.outcomes import ForwardingAsked, Routing
from mail.message.parse import IncomingMessage, parse
from mail.sentences import say
from tests.effort import little_work
from tests.unit.routing_mails import NOW
from tests.unit.test_routing import in_words, routed

DATA = Path(__file__).parents[1] / "data"
REQUESTS, OTHERS = DATA / "forwarding", DATA / "no_forwarding"
MX = "mx.mycompany.test"
WANTED = tomllib.loads((REQUESTS / "expected.toml").read_text())
NOTHING = {"source": "", "confirmation": "", "link": "", "may_open": False, "doubt": ""}

# file, what becomes of it instead
NONE = [
    ("01", "new by 1"),
    ("02", "new by 1"),
    ("03", "new by 1"),
    ("04", "new by 1"),
    ("05", "new by 1"),
    ("06", "new by 1"),
    ("07", "new by 1"),
    ("08", "new by 1"),
    ("09", "new by 1"),
    ("10", "new by 1"),
    ("11", "new by 1"),
    ("12", "new by 1"),
    ("13", "new by 1"),
    ("14", "reply 100"),
    ("15", "bounce of nothing"),
    ("16", "new by 1"),
    ("17", "new by 1"),
    ("18", "new by 1"),
    ("19", "new by 1"),
    ("20", "new by 1"),
]


def read(folder: Path, name: str) -> IncomingMessage:
    return parse(next(folder.glob(f"{name}*.eml")).read_bytes(), NOW)


def way_of(message: IncomingMessage) -> Routing:
    return routed(message, checked_by=MX)


def test_every_file_is_in_a_table() -> None:
    assert sorted(path.stem for path in REQUESTS.glob("*.eml")) == list(WANTED)
    assert sorted(path.name.partition("-")[0] for path in OTHERS.glob("*.eml")) == [file for file, _ in NONE]


@pytest.mark.parametrize("name", WANTED)
def test_what_a_request_asks(name: str) -> None:
    message = read(REQUESTS, name)
    found = forwarding_request(message, MX)
    assert found is not None
    assert asdict(found) == {**NOTHING, "sender": message.from_key, **WANTED[name]}


@pytest.mark.parametrize("name", WANTED)
def test_a_request_becomes_no_document(name: str) -> None:
    routing = way_of(read(REQUESTS, name))
    [outcome] = routing.outcomes
    assert isinstance(outcome, ForwardingAsked)
    assert (routing.state, routing.result) == ("quarantined" if outcome.is_doubted else "processed", "forwarding")
    assert routing.answer_to == "" and routing.hits
    assert ForwardingRequest.of(routing.steps[-1]) == outcome.request
    said = say(routing.steps[-1])
    assert "?" not in said and "https" not in said


@pytest.mark.parametrize(("file", "expected"), NONE)
def test_what_is_none_stays_what_it_is(file: str, expected: str) -> None:
    routing = way_of(read(OTHERS, file))
    assert ", ".join(map(in_words, routing.outcomes)) == expected
    assert ForwardingRequest.of(routing.steps[-1]) is None


def test_a_second_copy_is_a_duplicate_and_one_in_doubt_waits_again() -> None:
    assert routed(read(REQUESTS, "01"), done=frozenset({"forwarding"})).state == "duplicate"
    assert routed(read(REQUESTS, "28"), done=frozenset({"forwarding"})).state == "quarantined"


def test_one_that_no_server_checked_can_be_opened_where_the_link_is_the_providers() -> None:
    found = forwarding_request(read(REQUESTS, "25"), "")
    assert found is not None and found.may_open and found.doubt == ""


@pytest.mark.parametrize(
    "text", ["forward ", "code ", "redirect email ", "https://a.example/ ", "https://a", "a@", "%5B", "href='", "код "]
)
def test_it_costs_no_more_than_its_length(text: str) -> None:
    head = "From: no-reply@registrar.example\nTo: sales@mycompany.test\nSubject: confirm forwarding\n\n"
    message = replace(parse(head.encode(), NOW), text=text * 60_000, html=f'<a href="{text * 60_000}">')
    with little_work():
        forwarding_request(message, MX)

"""A process that signs: the same signatures as our own, in any order, and our own when it fails."""

import os
import resource
import signal
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from mail.mailing.signed_ahead import AHEAD, SignedAhead
from mail.message.dkim import (
    UnsignedHeader,
    hash_of_body,
    names_of,
    signature_headers,
    signed_fields,
    unsigned_header,
)
from mail.queue.signing_process import SigningProcess, SigningProcesses
from tests.signatures import known_key

RSA = known_key("rsa").signing
ED25519 = known_key("ed25519").signing


@pytest.fixture
def process() -> Iterator[SigningProcess]:
    made = SigningProcess(RSA)
    yield made
    made.close()


def test_it_signs_as_we_do_in_any_order(process: SigningProcess) -> None:
    octets = [b"one", b"two" * 5000, b""]
    begun = [process.begin(one) for one in octets]
    assert [begun[number]() for number in (2, 0, 1)] == [RSA.sign(octets[number]) for number in (2, 0, 1)]
    assert process.works


def test_what_nobody_took_is_not_taken_for_something_else(process: SigningProcess) -> None:
    process.begin(b"never taken")
    process.forget()
    assert process.begin(b"next")() == RSA.sign(b"next")
    assert process.works and not process._signatures


def test_when_it_dies_we_sign(process: SigningProcess) -> None:
    begun = [process.begin(b"one"), process.begin(b"two")]
    assert begun[0]() == RSA.sign(b"one")
    os.kill(process._child.pid, signal.SIGKILL)
    process._child.wait()
    assert [begun[1](), process.begin(b"three")()] == [RSA.sign(b"two"), RSA.sign(b"three")]
    assert not process.works


def test_the_key_is_on_no_command_line_and_in_no_environment(process: SigningProcess) -> None:
    assert process.begin(b"one")()
    for what in ("cmdline", "environ"):
        with open(f"/proc/{process._child.pid}/{what}", "rb") as file:
            assert RSA.private[20:60].encode() not in file.read()
    assert RSA.private[20:60] not in repr(RSA)


def test_a_failure_of_the_process_is_none_of_the_email(process: SigningProcess) -> None:
    """A number of an open file above 1023, or a pipe that was closed, leaves the signature to us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard > 1200
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1200), hard))
    many = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]
    try:
        late = SigningProcess(RSA)
        assert late._child.stdout is not None and late._child.stdout.fileno() > 1023
        assert late.begin(b"one")() == RSA.sign(b"one") and late.works
    finally:
        for file in many:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    late.close()
    assert process._child.stdin is not None
    begun = process.begin(b"two")
    process._child.stdin.close()
    assert begun() == RSA.sign(b"two") and not process.works


def test_there_are_fewer_processes_than_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    kept, other = SigningProcesses(), known_key("rsa").signing
    lent = [kept.take(key) for key in (RSA, other, RSA)]
    assert [one is not None for one in lent] == [True, True, False]
    for one in lent[:2]:
        assert one is not None
        kept.give_back(one)
    another = kept.take(known_key("rsa").signing)  # in place of one that nobody uses
    assert another is not None and [one.works for one in lent[:2] if one] == [False, True]
    assert len(kept._idle) == 1
    kept.give_back(another)
    kept.close_idle(0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert kept.take(RSA) is None


def test_processes_are_kept_for_the_same_key_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    kept = SigningProcesses()
    first = kept.take(RSA)
    assert first is not None and kept.take(ED25519) is None
    kept.give_back(first)
    other = kept.take(known_key("rsa").signing)
    again = kept.take(RSA)
    assert again is first and other is not None and other is not first
    kept.give_back(again)
    other.close()
    kept.give_back(other)  # it failed: it is not kept
    kept.close_idle(0)
    assert not first.works and not kept._idle


# --- mails of a chunk


class Person(NamedTuple):
    id: int
    address: str


KEYS = (RSA, ED25519)


def mail_of(person: Person) -> bytes:
    return b"From: a@office.test\r\nTo: %b\r\n\r\nHello %d\r\n" % (person.address.encode(), person.id)


def render(person: Person, later: list[UnsignedHeader]) -> bytes:
    if not person.address:
        raise ValueError(person.id)
    head, _, body = mail_of(person).partition(b"\r\n\r\n")
    fields = signed_fields(head + b"\r\n")
    hashed = b"".join(field for _, field in fields)
    later += [unsigned_header(key, names_of(fields), hashed, hash_of_body(body)) for key in KEYS]
    return mail_of(person)


def test_mails_that_were_begun_ahead_are_those_of_their_recipients(process: SigningProcess) -> None:
    people = [Person(number, f"p{number}@example.com" if number % 7 else "") for number in range(60)]
    waiting = deque(people)
    ahead = SignedAhead(render, waiting, process)
    while waiting:
        person = waiting.popleft()
        if not person.address:
            with pytest.raises(ValueError):  # its own failure, at its own turn
                ahead.mail_to(person)
            continue
        assert ahead.mail_to(person) == signature_headers(mail_of(person), KEYS) + mail_of(person)
        assert len(ahead._begun) <= AHEAD
        if person.id == 20:  # it is delivered again, and one that was begun is put off
            waiting.rotate(-1)
    assert process.works


def test_it_goes_ahead_although_many_who_were_begun_had_to_wait(process: SigningProcess) -> None:
    waiting = deque(Person(number, f"p{number}@example.com") for number in range(200))
    ahead = SignedAhead(render, waiting, process)
    while waiting:
        person = waiting.popleft()
        if person.id % 3:  # its domain asks to slow down
            continue
        ahead.mail_to(person)
        assert not waiting or waiting[0].id in ahead._begun

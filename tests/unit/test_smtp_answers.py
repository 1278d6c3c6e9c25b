"""What servers mean when they say no: real answers of many servers, and the sentence that explains each."""

import csv
from pathlib import Path

import pytest

from mail import errors
from mail.decide.advice import ADVICE
from mail.decide.failure import FailureKind
from mail.outgoing.delivery import failure_of
from mail.sentences import say
from mail.transport.smtp import Outcome
from mail.transport.smtp_answers import (
    greeting_refused,
    introduction_refused,
    login_refused,
    parts_of,
    reason_of,
    speaks_of_session,
)

ANSWERS = Path(__file__).parents[1] / "data" / "smtp_answers.csv"
with ANSWERS.open(newline="") as file:
    ROWS = list(csv.DictReader(file))


def reply_of(row):
    return " ".join(filter(None, (row["code"], row["enhanced"], row["words"])))


def meaning_of(row):
    """Return the stored explanation of one real answer, whatever the step it was given at."""
    answer = parts_of(reply_of(row).encode())
    if row["step"] == "greeting":
        return greeting_refused("mx.test", answer).why
    if row["step"] == "ehlo":
        return introduction_refused("mx.test", answer).why
    if row["step"] == "login":
        return login_refused("mx.test", "clerk", answer, "PLAIN").why
    return reason_of(row["step"], answer, "me@x.test", "ann@x.test", "mx.test")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['step']}-{row['source'].split(',')[0]}-{row['cause']}")
def test_the_sentence_names_the_cause(row):
    reason = meaning_of(row)
    assert reason["code"] == row["cause"]
    assert "?" not in say(reason).replace(reply_of(row), "")


def test_the_answers_are_many_and_come_from_many_servers():
    assert len({reply_of(row) for row in ROWS}) > 250
    assert len({row["source"].split(",")[0] for row in ROWS}) > 30
    assert {row["step"] for row in ROWS} == {"greeting", "ehlo", "login", "mail", "rcpt", "data", "end"}


def test_the_table_of_failure_cards_knows_80_causes_and_dialects():
    dialects = {(row["source"].split(",")[0], row["cause"]) for row in ROWS}
    assert len({row["cause"] for row in ROWS}) >= 50 and len(dialects) >= 80
    assert {row["cause"] for row in ROWS} <= set(ADVICE) and len(ADVICE) >= 80


@pytest.mark.parametrize(
    ("step", "reply", "cause"),
    [
        ("rcpt", "550 5.7.1 Message rate limit exceeded", "sending_limit"),
        ("rcpt", "550 5.5.3 Too many recipients", "sending_limit"),
        ("rcpt", "550 5.7.1 Unauthenticated connections must authenticate first", "login_wanted"),
        ("end", "554 5.7.0 mx.hop.test: transaction failed", "refused"),
        ("rcpt", "550 5.4.1 No answer from host", "recipient_refused"),
        ("end", "550 5.7.1 Sender address rejected.", "sender_refused"),
        ("mail", "550 5.7.1 Sender is not listed here", "sender_refused"),
        ("rcpt", "550 5.1.1 <blocked@x.test>: User unknown", "no_such_mailbox"),
        ("rcpt", "451 4.7.1 <virus@x.test>: Try again later", "deferred"),
        ("end", "552 5.2.2 Message exceeds the quota of the mailbox", "mailbox_full"),
        ("rcpt", "550 5.2.1 Mailbox not yet activated", "recipient_disabled"),
        ("rcpt", "550 5.2.1 The account of this user is disabled", "recipient_disabled"),
        ("end", "554 5.7.1 Blocked by policy", "recipient_forbidden"),
        ("end", "554 5.7.1 Blocked by our IP filter", "blocked_by_list"),
    ],
)
def test_words_that_look_alike_are_told_apart(step, reply, cause):
    assert reason_of(step, parts_of(reply.encode()), "me@x.test", "ann@x.test", "mx.test")["code"] == cause


NAMES_THE_ADDRESS = {
    "no_such_mailbox", "no_such_mailbox_now", "no_such_domain", "no_such_domain_now", "recipient_refused",
    "sender_not_found",
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["cause"])
def test_only_a_wrong_address_is_to_be_checked(row):
    said = say(meaning_of(row)).replace(reply_of(row), "")
    assert ("Check the address" in said or "Check the part" in said) == (row["cause"] in NAMES_THE_ADDRESS)


OF_THE_ADDRESS = {"no_such_mailbox", "no_such_domain", "mailbox_full", "recipient_disabled", "recipient_refused"}
FINAL = [row for row in ROWS if row["step"] in ("rcpt", "data", "end") and row["code"].startswith("5")]


@pytest.mark.parametrize("row", FINAL, ids=lambda row: row["cause"])
def test_only_what_is_about_the_address_counts_against_it(row):
    answer = parts_of(reply_of(row).encode())
    outcome = Outcome(row["step"], *answer, False, False, False, meaning_of(row))
    failure = failure_of("ann@x.test", outcome)
    counts = failure is not None and FailureKind(failure.kind).counts
    is_policy = row["enhanced"].startswith("5.7.")  # a code of policy never counts, whatever the words
    assert counts == (row["cause"] in OF_THE_ADDRESS and not is_policy)


@pytest.mark.parametrize("row", [row for row in ROWS if row["step"] == "login"], ids=lambda row: row["cause"])
def test_a_login_asks_for_the_password_only_when_that_is_wrong(row):
    said = say(meaning_of(row)).replace(reply_of(row), "")
    assert ("Enter the user and the password" in said) == (row["cause"] == "login_refused")


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row["step"] in ("greeting", "ehlo", "login")], ids=lambda row: row["cause"]
)
def test_a_refused_connection_is_tried_again(row):
    named = {error.code: error for error in vars(errors).values() if isinstance(error, type) and hasattr(error, "code")}
    assert issubclass(named[row["cause"]], errors.ConnectionFailed) and named[row["cause"]].retry


@pytest.mark.parametrize(
    "reply",
    [
        "452 4.4.5 Maximum number of messages per session exceeded",
        "451 Mails per session limit",
        "421 too many messages in this connection",
        "421 4.3.2 The maximum number of messages per connection was exceeded",
        "421 Max message per connection reached, closing transmission channel",
        "450 4.7.0 Message limit for this connection exceeded",
        "452 4.5.3 Too many recipients in this session",
        "451 4.3.0 Session message limit exceeded",
        "421 4.7.0 session limit exceeded",
        "452 Too many mails in one SMTP session",
        "450 Only 10 emails per SMTP connection allowed",
        "421 Number of transactions per connection exceeded, please reconnect",
        "550 5.7.0 Too many messages in a single session",
        "421 Connection has reached its limit of mails. Open a new connection",
        "452 4.7.1 Recipient count of this session is at its maximum",
    ],
)
def test_this_connection_has_had_its_share(reply):
    assert speaks_of_session(parts_of(reply.encode()))


@pytest.mark.parametrize(
    "reply",
    [
        "450 4.2.0 Greylisted",
        "451 4.7.1 Too many messages, slow down",
        "421 4.7.0 Too many concurrent connections",
        "450 4.7.28 limit of messages per hour exceeded",
        "452 4.2.2 Over quota",
        "451 4.3.0 Temporary lookup failure",
    ],
)
def test_this_is_no_matter_of_the_session(reply):
    assert not speaks_of_session(parts_of(reply.encode()))


@pytest.mark.parametrize("reply", ["421 4.7.0 Too many messages, slow down", "450 Greylisted", "554 Blocked"])
def test_this_is_no_matter_of_connections(reply):
    assert not isinstance(greeting_refused("mx.test", parts_of(reply.encode())), errors.TooManyConnections)

"""Every cause of a failure has advice, and no advice is what does not help."""

import re
from collections.abc import Iterator

import pytest

from mail import errors
from mail.decide.advice import ADVICE, Fixer, Remedy, advice_for, not_again
from mail.decide.failure import FailureKind
from mail.decide.reported import Reported
from mail.decide.retry import gave_up
from mail.incoming.reports import TOLD_BY_REPORTS, bounce_reason
from mail.sentences import SENTENCES, say, why
from mail.transport.sasl import SignInWaits
from mail.transport.smtp_meanings import FINAL, GREETING, LOGIN, TEMPORARY

ANSWERED = {line.cause for line in (*FINAL, *TEMPORARY)} | {
    "deferred",
    "refused",
    "sender_refused",
    "recipient_refused",
}
FOR_NOW = {line.cause for line in TEMPORARY} | {"deferred"}
DECIDED = {"no_server", "server_off", "server_gone", "from_missing", "from_invalid", "from_not_verified_alone",
           "address_unusable", "larger_than_allowed"}  # fmt: skip
TRACED = {"gave_up", "unknown_once", "unknown_final", "unknown_power_cut", "doubt_waits", "doubt_left",
          "doubt_sent_again", "trace_in_doubt", "left_the_queue", "rehearsal_left_unsent", "cancelled_in_doubt",
          "unknown_test_email", "test_email_lost"}  # fmt: skip
BOUNCED = {f"bounced_{kind.value}" for kind in FailureKind if kind.failed}


def kinds_of(error: type[errors.MailError]) -> Iterator[type[errors.MailError]]:
    yield error
    for kind in error.__subclasses__():
        yield from kinds_of(kind)


SENDING = {
    error.code
    for base in (errors.ConnectionFailed, errors.DeliveryFailed, errors.JournalFailed)
    for error in kinds_of(base)
    if not error.code.startswith("mailbox_")  # these are about fetching
}
# What a mail is given up for in the end; what waits for a person is not tried meanwhile.
GIVEN_UP = FOR_NOW | {
    error.code
    for error in kinds_of(errors.ConnectionFailed)
    if error.code in SENDING and not issubclass(error, SignInWaits | errors.SecretUnreadable)
}


@pytest.mark.parametrize("code", sorted(ANSWERED | DECIDED | TRACED | BOUNCED | SENDING))
def test_every_cause_has_advice(code):
    assert code in ADVICE


@pytest.mark.parametrize("code", sorted(ADVICE))
def test_advice_is_about_an_explanation_that_we_give(code):
    assert code in SENTENCES and f"fixer_{ADVICE[code].fixer}" in SENTENCES


def test_every_refused_connection_is_an_error_of_ours():
    assert {line.error.code for line in (*GREETING, *LOGIN)} <= SENDING


@pytest.mark.parametrize(
    "code", sorted(FOR_NOW | SENDING & {error.code for error in kinds_of(errors.ConnectionFailed)})
)
def test_what_passes_or_is_fixed_elsewhere_may_be_tried_again(code):
    assert ADVICE[code].offers("retry")


@pytest.mark.parametrize(
    "code", ["no_such_mailbox", "no_such_domain", "bounced_hard", "invalid_address", "too_large", "too_large_there",
             "blocked_as_dangerous"],
)  # fmt: skip
def test_the_same_again_is_not_advised_where_it_fails_again(code):
    assert not ADVICE[code].offers("retry")


def test_only_an_address_that_may_be_wrong_is_to_be_corrected():
    corrected = {code for code in ADVICE if ADVICE[code].offers("correct")}
    assert corrected == {
        "no_such_mailbox", "no_such_mailbox_now", "no_such_domain", "no_such_domain_now", "bounced_hard",
        "invalid_address", "address_unusable", "recipient_refused", "recipient_disabled", "recipient_disabled_now",
        "needs_smtputf8", "needs_smtputf8_there",
    }  # fmt: skip
    assert {code for code in ADVICE if ADVICE[code].offers("blacklist")} <= corrected


@pytest.mark.parametrize("code", sorted(ADVICE))
def test_settings_and_servers_are_for_what_they_can_change(code):
    advice = ADVICE[code]
    if advice.actions & {Remedy.SETTINGS, Remedy.SERVER}:
        assert advice.fixer in (Fixer.ADMINISTRATOR, Fixer.PROVIDER) or "smtputf8" in code
        assert advice.offers("retry")


def test_a_mail_that_was_given_up_keeps_the_cause_of_its_last_failure():
    reason = gave_up(why("mailbox_full_now", address="ann@x.test", reply="452 full"))
    assert advice_for(reason).fixer is Fixer.RECIPIENT and "452 full" in say(reason)
    assert advice_for(gave_up(None)).offers("retry")


@pytest.mark.parametrize("code", sorted(GIVEN_UP))
def test_nothing_is_promised_of_a_mail_that_was_given_up(code):
    said = say(gave_up(why(code)))
    assert not re.search(r"automatically|\bwaits? until|is sent as soon|  | $", said), said


def test_a_reason_of_an_older_version_may_be_tried_again():
    assert advice_for({"code": "of_last_year", "values": {}}).actions == {Remedy.RETRY}
    assert advice_for(None).actions == {Remedy.RETRY}


@pytest.mark.parametrize(
    ("kind", "status", "text", "code"),
    [
        (FailureKind.BLOCKED, "5.7.26", "550 5.7.26 This message fails to pass SPF checks", "blocked_without_proof"),
        (FailureKind.BLOCKED, "5.7.1", "554 5.7.1 Client host [192.0.2.1] blocked using zen.spamhaus.org",
         "blocked_by_list"),
        (FailureKind.BLOCKED, "5.3.4", "552 5.3.4 Message size exceeds fixed limit", "too_large_there"),
        (FailureKind.SOFT, "5.2.1", "550 5.2.1 The email account that you tried to reach is disabled.",
         "recipient_disabled"),
        (FailureKind.SOFT, "5.4.6", "554 5.4.6 Too many hops", "mail_loop"),
        # words of a report that are no answer of a server: its footer may speak of spam
        (FailureKind.BLOCKED, "5.7.1", "rejected. This server is protected from spam", "bounced_blocked"),
        # the address is what counts, or what the server said is between it and another one
        (FailureKind.HARD, "5.1.1", "550 5.1.1 No such user", "bounced_hard"),
        (FailureKind.FULL, "5.2.2", "552 5.2.2 Over quota", "bounced_full"),
        (FailureKind.BLOCKED, "5.7.1", "550 5.7.1 Relaying denied", "bounced_blocked"),
        (FailureKind.SOFT, "4.4.7", "expired", "bounced_soft"),
    ],
)  # fmt: skip
def test_a_bounce_names_its_cause_like_an_answer(kind, status, text, code):
    reason = bounce_reason(Reported("ann@x.test", kind, status, text))
    assert reason["code"] == code
    assert text in say(reason) and "?" not in say(reason)


def test_causes_told_by_reports_are_causes_of_answers():
    assert TOLD_BY_REPORTS <= ANSWERED


@pytest.mark.parametrize(
    ("state", "wait", "code", "answer"),
    [
        ("failed", "", "mailbox_full", ""),
        ("failed", "", "no_such_mailbox", "again_address"),
        ("bounced", "", "bounced_hard", "again_address"),
        ("failed", "", "invalid_address", "again_address"),
        ("failed", "", "too_large_there", "again_email"),
        ("failed", "", "mail_unusable", "again_email"),
        ("unknown", "", "unknown_final", ""),
        ("cancelled", "", "left_the_queue", ""),
        ("queued", "retry", "greylisted", ""),
        ("queued", "limit", "greylisted", "again_waiting"),
        ("queued", "schedule", "greylisted", "again_waiting"),
        ("sending", "", "greylisted", "again_sending"),
        ("sent", "", "greylisted", "again_sent"),
    ],
)
def test_sending_again_is_for_where_it_helps(state, wait, code, answer):
    assert not_again(state, wait, why(code)) == answer
    assert not answer or answer in SENTENCES

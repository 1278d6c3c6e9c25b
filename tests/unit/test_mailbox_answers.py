"""What mailbox servers mean when they refuse a log-in: answers of many providers, and who can fix each."""

import csv
from pathlib import Path

import pytest

from mail.decide.advice import ADVICE
from mail.sentences import SENTENCES, say
from mail.transport.imap import ImapSession
from mail.transport.mailbox import MailboxTarget, translate

with (Path(__file__).parents[1] / "data" / "mailbox_answers.csv").open(newline="") as file:
    ROWS = list(csv.DictReader(file))


def reason_of(said, host="mail.x.test", auth="password"):
    target = MailboxTarget("Odd", "imap", host, 143, "none", "clerk", "a secret of the tests", auth=auth)
    return translate(ImapSession(target, line=None).login_refused(said)).why


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['source']}-{row['cause']}")
def test_the_sentence_names_the_cause(row):
    reason = reason_of(row["words"])
    assert reason["code"] == row["cause"]
    assert reason["code"] in ADVICE and row["words"] in say(reason)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['source']}-{row['cause']}")
def test_only_a_wrong_password_is_to_be_entered_again(row):
    said = say(reason_of(row["words"])).replace(row["words"], "")
    assert ("Enter the user and the password again" in said) == (row["cause"] == "mailbox_login_refused")


@pytest.mark.parametrize(
    ("host", "auth", "said", "cause"),
    [
        ("outlook.office365.com", "password", "AUTHENTICATE failed.", "mailbox_password_login_off"),
        ("outlook.office365.com", "password", "LOGIN failed.", "mailbox_password_login_off"),
        ("outlook.office365.com", "password", "Logon failure: unknown user name or bad password.",
         "mailbox_password_login_off"),
        ("imap-mail.outlook.com", "password", "AUTHENTICATE failed.", "mailbox_password_login_off"),
        ("exchange.x.test", "password", "AUTHENTICATE failed.", "mailbox_login_refused"),
        ("outlook.office365.com", "password", "[UNAVAILABLE] try later", "mailbox_later"),
        ("outlook.office365.com", "oauth2", "AUTHENTICATE failed.", "mailbox_token_refused"),
        ("imap.gmail.com", "oauth2", "[ALERT] Application-specific password required", "mailbox_token_refused"),
    ],
)  # fmt: skip
def test_the_same_words_mean_something_else_where_no_password_is_taken(host, auth, said, cause):
    assert reason_of(said, host, auth)["code"] == cause


def test_every_failure_of_a_mailbox_says_who_can_fix_it():
    about_mails = {
        "mailbox_password_needed",
        "mailbox_address_wrong",
        *(code for code in SENTENCES if code.startswith("mailbox_mail_")),
    }
    tests = {code for code in SENTENCES if code.startswith("mailbox_test_")}
    assert {code for code in SENTENCES if code.startswith("mailbox_")} - about_mails - tests <= set(ADVICE)

"""The table of explanations: a sentence that holds a count has a singular and a plural."""

import pkgutil
import re

import pytest

from mail import sentences
from mail.documents.changes import responsible_change
from mail.sentences import SENTENCES, Counted, say, why
from models import ActionRun, Contact, User
from webapp.admin.scheduled_actions import counted

NAMED = re.compile(r"%\((\w+)\)s").findall
COUNTED = {code: sentence for code, sentence in SENTENCES.items() if isinstance(sentence, Counted)}


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        (why("fetch_done", mails=0), "0 new emails were fetched."),
        (why("fetch_done", mails=1), "1 new email was fetched."),
        (why("fetch_done", mails=21), "21 new emails were fetched."),
        (why("mailbox_test_mails", folder="INBOX", count=1), "Folder INBOX found, 1 message."),
        (why("mailbox_test_mails", folder="INBOX", count=3), "Folder INBOX found, 3 messages."),
        (why("test_rest_not_tried", number=1), "1 other step was skipped."),
        (why("test_rest_not_tried", number=2), "2 other steps were skipped."),
        (why("used_by_waiting_mails", number=1), "1 waiting email under Email ‣ Outgoing emails must go through it"),
        (why("used_by_waiting_mails", number=2), "2 waiting emails under Email ‣ Outgoing emails must go through it"),
        (why("search_more", count="1"), "… and 1 more server."),
        (why("search_more"), "… and ? more servers."),
    ],
)
def test_a_count_decides_between_singular_and_plural(reason, sentence):
    assert say(reason) == sentence


@pytest.mark.parametrize("code", COUNTED)
def test_singular_and_plural_name_the_number_they_depend_on(code):
    for text in (COUNTED[code].one, COUNTED[code].many):
        assert COUNTED[code].by in re.findall(r"%\((\w+)\)s", text)


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        (None, "Bob", "Ann assigned Bob (was unassigned)."),
        ("Bob", "Cleo", "Ann assigned Cleo (was Bob)."),
        ("Bob", None, "Ann unassigned Bob."),
    ],
)
def test_a_change_of_the_responsible_person_is_told(before, after, sentence):
    reason = responsible_change(*(User(contact=Contact(name=name)) if name else None for name in (before, after)))
    assert say(why(reason["code"], **reason["values"], who="Ann")) == sentence


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"mails": 1, "servers": 1}, "1 server, 1 email"),
        ({"mails": 7, "servers": 2, "failed": 1}, "2 servers, 7 emails, 1 failed"),
        ({"due": 1}, "1 due email"),
        ({"old_runs": 3}, "3 old runs"),
    ],
)
def test_the_counts_of_a_run_have_a_singular_and_a_plural(counts, said):
    assert counted(ActionRun(counts=counts, state="ok")) == said


def test_each_code_has_one_sentence():
    subjects = [getattr(sentences, found.name) for found in pkgutil.iter_modules(sentences.__path__)]
    codes = [code for subject in subjects for code in getattr(subject, "SENTENCES", ())]
    assert len(codes) == len(set(codes)) == len(SENTENCES)


@pytest.mark.parametrize("code", [code for code in SENTENCES if code.startswith("once_")])
def test_what_is_tried_once_promises_nothing(code):
    once, always = SENTENCES[code], SENTENCES[code.removeprefix("once_")]
    texts = [str(one) for one in (once[1:] if isinstance(once, Counted) else [once])]
    assert not any(re.search(r"automatically|waits?\b|will be sent|is sent as soon", text) for text in texts)
    given = {name for text in (always[1:] if isinstance(always, Counted) else [always]) for name in NAMED(str(text))}
    assert {name for text in texts for name in NAMED(text)} <= given

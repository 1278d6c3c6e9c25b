"""Who wrote a mail, and where answers go: a table of headers (incoming.md 4)."""

from datetime import UTC, datetime

import pytest

from mail.decide.author import authorship, is_no_person
from mail.message.parse import IncomingMessage, parse
from mail.sentences import say

OURS = {"sales@office.test", "catchall@office.test", "notifications@office.test"}


def mail(header: str) -> IncomingMessage:
    return parse(f"{header}\n\nhello\n".encode(), datetime(2026, 11, 2, tzinfo=UTC))


@pytest.mark.parametrize(
    ("header", "author", "answers", "code"),
    [
        # a person writes: From is the author, a Reply-To that differs is where answers go
        ("From: Ann <ann@x.test>", "ann@x.test", "ann@x.test", None),
        ("From: ann@x.test\nReply-To: Ann@X.test", "ann@x.test", "ann@x.test", None),
        ("From: ann@x.test\nReply-To: Team <team@x.test>", "ann@x.test", "team@x.test", "author_replies_elsewhere"),
        ("From: ann@x.test\nReply-To: ann@x.test, b@x.test", "ann@x.test", "b@x.test", "author_replies_elsewhere"),
        ("From: ann@x.test\nReply-To: sales@office.test", "ann@x.test", "ann@x.test", None),
        ("From: ann@x.test\nReply-To: nonsense", "ann@x.test", "ann@x.test", None),
        ("From: ann@x.test\nSender: forms@x.test", "ann@x.test", "ann@x.test", None),
        # a web form writes as us
        ("From: sales@office.test\nReply-To: c@x.test", "c@x.test", "c@x.test", "author_behind_own_address"),
        ("From: SALES@office.test\nReply-To: c@x.test", "c@x.test", "c@x.test", "author_behind_own_address"),
        (
            "From: sales@office.test\nReply-To: catchall@office.test, Cy <c@x.test>",
            "c@x.test", "c@x.test", "author_behind_own_address",
        ),
        ("From: sales@office.test", "sales@office.test", "sales@office.test", None),
        ("From: sales@office.test\nReply-To: sales@office.test", "sales@office.test", "sales@office.test", None),
        # a machine writes for a person
        ("From: no-reply@shop.test\nReply-To: c@x.test", "c@x.test", "c@x.test", "author_behind_no_reply"),
        ("From: noreply@shop.test", "noreply@shop.test", "noreply@shop.test", None),
        ("From: noreply@a.test\nReply-To: no-reply@a.test", "noreply@a.test", "noreply@a.test", None),
        ("From: wordpress@shop.test\nReply-To: =?utf-8?q?J=C3=BC?= <c@x.test>", "c@x.test", "c@x.test",
         "author_behind_no_reply"),
        # a group rewrote the From
        (
            "From: 'Cy' via Sales <team@g.test>\nX-Original-From: Cy <c@x.test>\nReply-To: Cy <c@x.test>",
            "c@x.test", "c@x.test", "author_behind_group",
        ),
        (
            "From: 'Cy' via Sales <team@g.test>\nX-Original-From: Cy <c@x.test>\nReply-To: team@g.test",
            "c@x.test", "c@x.test", "author_behind_group",
        ),
        ("From: 'Cy' via Sales <sales@office.test>\nX-Original-From: c@x.test", "c@x.test", "c@x.test",
         "author_behind_own_address"),
        ("From: team@g.test\nX-Original-From: rubbish", "team@g.test", "team@g.test", None),
        # nobody at all
        ("Subject: x\nReply-To: c@x.test", None, None, None),
    ],
)  # fmt: skip
def test_the_author_is_the_person(header, author, answers, code):
    found = authorship(mail(header), OURS)
    assert (found.author and found.author.key, found.answer_to and found.answer_to.key) == (author, answers)
    assert (found.reason and found.reason["code"]) == code
    assert found.from_reply_to == bool(code and code.startswith("author_behind"))
    assert "?" not in say(found.reason)


NO_REPLY = """
    noreply no-reply No_Reply no.reply donotreply do-not-reply do_not_reply noreply-7 noreply+abc shop-noreply
    shop.no-reply nicht-antworten ne-pas-repondre noresponder mailer-daemon www-data notifications
"""


@pytest.mark.parametrize("local", NO_REPLY.split())
def test_nobody_reads_there(local):
    assert is_no_person(f"{local}@x.test")


@pytest.mark.parametrize("local", ["ann", "nora.reply", "reply", "sales", "noreen", "norepl", "info", "replyto"])
def test_somebody_may_read_there(local):
    assert not is_no_person(f"{local}@x.test")

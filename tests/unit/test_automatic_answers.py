"""Automatic answers of many programs and languages at a unique bounce address: none is a report.

The files are written by hand in the manner of the programs that their names say.
"""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mail.decide.facts import AddressBook, AliasRule, Facts, KnownMessage, look_up
from mail.decide.outcomes import Bounced, Routing
from mail.decide.reported import About
from mail.decide.routing import route
from mail.message.parse import parse
from mail.sentences import say

NOW = datetime(2026, 11, 3, 12, 0, tzinfo=UTC)
FILES = sorted((Path(__file__).parents[1] / "data" / "automatic").glob("*.eml"))
BOOK = AddressBook(
    [
        AliasRule(1, "sales@mycompany.test", type_id=1),
        AliasRule(2, "catchall@mycompany.test", "catchall"),
        AliasRule(3, "bounce@mycompany.test", "bounce"),
    ],
    own=["notifications@mycompany.test"],
    domains=["mycompany.test"],
)
SENT = {
    "<n1@mycompany.test>": KnownMessage(1, thread_id=100, type_id=1, post_id=10, mail_id=20),
    "a2b3c4": KnownMessage(1, thread_id=100, type_id=1, post_id=10, mail_id=20),
}
# What says by a header that a program answered (RFC 3834 and what came before it).
SAYS_SO = re.compile(
    rb"^(?:auto-submitted|precedence|x-precedence|x-auto-?[a-z-]*|x-md\w*|x-loop|x-sieve|x-mailer|x-qq-\w+|x-zoho\S*"
    rb"|x-powered-by|rt-ticket|x-ms-\S*):.*\n",
    re.IGNORECASE | re.MULTILINE,
)
IN_THREAD = re.compile(rb"^(?:in-reply-to|references):.*\n", re.IGNORECASE | re.MULTILINE)


def routed(raw: bytes) -> Routing:
    message = parse(raw, NOW)
    asked = look_up(message, BOOK)
    return route(message, asked, Facts(BOOK, signed={id: SENT[id] for id in asked.ids if id in SENT}))


def outcome(raw: bytes) -> str:
    """What becomes of a mail; "recorded" if it may be a report, but blames nobody."""
    routing = routed(raw)
    assert all("?" not in say(step) for step in routing.steps)
    (one,) = routing.outcomes
    if isinstance(one, Bounced) and one.report.about is About.UNREADABLE and not one.report.is_certain:
        return "recorded"
    return type(one).__name__


def test_there_are_many() -> None:
    assert len(FILES) >= 40


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_automatic_answer_is_a_note_in_its_thread_and_never_a_report(file: Path) -> None:
    raw = file.read_bytes()
    assert outcome(raw) == "AutoNote"
    assert outcome(IN_THREAD.sub(b"", raw)) == "AutoNote"  # the bounce address says what it answers
    assert outcome(IN_THREAD.sub(b"", raw).replace(b"bounce+a2b3c4@", b"bounce@")) == "Ignored"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_without_a_header_that_says_so_it_is_no_report_either(file: Path) -> None:
    raw = SAYS_SO.sub(b"", file.read_bytes())
    assert b"uto-" not in raw.partition(b"\nSubject:")[0]
    is_machine = b"\nFrom: no-reply@" in raw or b"\nFrom: Postmaster <" in raw
    assert outcome(raw) in ("AutoNote", "Reply", "recorded" if is_machine else "")
    assert outcome(IN_THREAD.sub(b"", raw)) in ("AutoNote", "Quarantined", "recorded")


def test_most_are_known_by_their_subject_alone() -> None:
    notes = [file.stem for file in FILES if outcome(SAYS_SO.sub(b"", file.read_bytes())) == "AutoNote"]
    assert len(notes) >= 30, notes


# --- the worst: no header, no telling subject, words of failures, and a quotation that looks like a returned mail

QUOTES = {
    "nothing": "",
    "outlook": "-----Original Message-----\nFrom: Clerk <notifications@mycompany.test>\nSent: Tuesday, November 3, "
    "2026 9:00 AM\nTo: ann@home.test\nSubject: Your order\n\nHere is your offer.\n",
    "others": "On Tue, 3 Nov 2026 at 09:00, Clerk <notifications@mycompany.test> wrote:\n> Here is your offer.\n",
}


@pytest.mark.parametrize("quote", QUOTES)
@pytest.mark.parametrize(
    "text",
    [
        "I am away this week. Messages are not delivered to my phone.",
        "I'm on holiday. My mailbox is full, so please send it again next week.",
        "I will be out of the office. If your message failed to reach me, call me.",
        "Ich bin zur Zeit im Urlaub. Ihre Nachricht wurde nicht zugestellt an meine Vertretung.",
        "Je suis actuellement absente. Votre message n'a pas été remis à mon collègue.",
        "Estoy de vacaciones. No se pudo entregar el paquete.",
        "Sono in ferie. Il messaggio non è stato recapitato ai colleghi.",
        "Ik ben tot maandag afwezig. Het pakket was onbestelbaar.",
        "Ich befinde mich derzeit im Urlaub. Die Mail wird nicht zugestellt.",
        "Ich habe bis 5.11. Urlaub.",
        "Bis zum 9.11. bin ich nicht erreichbar.",
        "Ich bin ab dem 9.11. wieder im Büro.",
        "Wir haben vom 1. bis 9. November geschlossen.",
        "I will answer when I return.",
        "I'm out of the country until Monday.",
        "Nous sommes fermés du 1 au 9 novembre.",
        "Actualmente me encuentro fuera de la oficina.",
        "Mi trovo in ferie fino al 9.",
        "Encontro-me de férias.",
        "Ik ben met verlof tot 9 november.",
        "Jag är föräldraledig.",
        "Przebywam na urlopie do 9.",
        "Нахожусь в отпуске.",
        "出張中です。",
    ],
)
def test_who_is_away_and_writes_of_failures_is_no_failure(text: str, quote: str) -> None:
    raw = (
        "Return-Path: <>\nFrom: Ann Lee <ann@home.test>\nTo: {to}\nSubject: Re: Your order\n"
        "Message-ID: <z@home.test>\n"
        "Date: Tue, 3 Nov 2026 09:05:00 +0000\nIn-Reply-To: <n1@mycompany.test>\n"
        "Content-Type: text/plain; charset=utf-8\n"
        f"Content-Transfer-Encoding: 8bit\n\n{text}\n\n{QUOTES[quote]}"
    )
    for to, lost in (("bounce+a2b3c4", "AutoNote"), ("bounce", "Ignored"), ("catchall", "Rejected")):
        whole = raw.format(to=f"{to}@mycompany.test").encode()
        assert outcome(whole) == "AutoNote"
        assert outcome(IN_THREAD.sub(b"", whole)) == lost
        assert routed(whole).answer_to == ""


NOBODY = "Return-Path: <>\nFrom: Ann Lee <ann@home.test>\nTo: notifications@mycompany.test\nMessage-ID: <z@home.test>\n"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Auto-Submitted: auto-generated\nX-Auto-Response-Suppress: All\nSubject: Sjálfvirkt svar: Offer", "AutoNote"),
        ("X-Auto-Response-Suppress: All\nSubject: Re: Offer", "AutoNote"),
        ("Precedence: bulk\nSubject: Re: Offer", "AutoNote"),
        ("Auto-Submitted: no\nSubject: Re: Offer", "Reply"),
        ("Subject: Re: Offer", "Reply"),
        ("Return-Path: <ann@home.test>\nAuto-Submitted: auto-generated\nSubject: [SUP-12] Offer", "Reply"),
    ],
)
def test_what_a_program_answers_as_nobody_needs_no_known_words(header: str, expected: str) -> None:
    first, _, rest = header.partition("\n") if header.startswith("Return-Path") else ("Return-Path: <>", "", header)
    raw = NOBODY.replace("Return-Path: <>", first) + f"{rest}\nIn-Reply-To: <n1@mycompany.test>\n\nTakk.\n"
    assert outcome(raw.encode()) == expected


@pytest.mark.parametrize(
    ("to", "answers", "expected"),
    [
        ("bounce+a2b3c4", "", ["Bounced", "AutoNote"]),
        ("catchall", "In-Reply-To: <n1@mycompany.test>\n", ["Bounced", "AutoNote"]),
        ("catchall", "", ["Bounced"]),
    ],
)
def test_a_challenge_is_shown_in_its_thread_too(to: str, answers: str, expected: list[str]) -> None:
    raw = NOBODY.replace("Ann Lee <ann@", "<no-reply@").replace("notifications", to) + (
        f"Subject: Your order\n{answers}Content-Type: text/plain; charset=utf-8\n\n"
        "Bestätigen Sie, dass Sie ein Mensch sind: https://home.test/c\n"
    )
    routing = routed(raw.encode())
    assert [type(one).__name__ for one in routing.outcomes] == expected
    assert (routing.state, routing.result) == ("processed", "challenge")

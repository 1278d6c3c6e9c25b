"""What our receiving server says of a sender: its results, where they stand, and how its name is learned."""

from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import pytest

from mail.decide.sender_proof import NOBODY, learned, name_in, prove, seen_with
from mail.message.parse import parse
from mail.sentences import say

NOW = datetime(2026, 11, 3, 12, 0, tzinfo=UTC)
MX = "mx.office.test"
CAME_IN = f"Received: from out.test (out.test [192.0.2.9])\n by {MX} (Postfix) with ESMTPS id 7"


def said(header: str, server: str = MX) -> str:
    found = prove(parse(f"{header}\nSubject: x\n\nhello".encode(), NOW), server)
    assert "?" not in say(found.reason)
    assert say(found.reason) != found.reason["code"]
    return f"{found.state} {found.reason['code'].removeprefix('sender_')}"


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        # DMARC
        ("dmarc=pass header.from=acme.test", "verified verified_dmarc"),
        ("dmarc=pass (p=REJECT sp=NONE dis=NONE) header.from=acme.test", "verified verified_dmarc"),
        ("dmarc=pass", "verified verified_dmarc"),
        ("dmarc=pass header.from=evil.test; spf=pass smtp.mailfrom=evil.test", "failed failed_other"),
        ("dmarc=fail (p=none dis=none) header.from=acme.test", "failed failed_dmarc"),
        ("dmarc=fail header.from=acme.test; dkim=pass header.d=acme.test", "failed failed_dmarc"),
        ("dmarc=none; spf=pass smtp.mailfrom=ann@acme.test", "verified verified_spf"),
        ("dmarc=none; dkim=none; spf=none", "not_checked has_nothing"),
        ("dmarc=temperror; spf=fail smtp.mailfrom=acme.test", "not_checked check_broke_off"),
        (
            "dmarc=bestguesspass action=none header.from=acme.test; dkim=pass header.d=acme.test",
            "verified verified_dkim",
        ),
        # DKIM
        ("dkim=pass header.d=acme.test header.s=k1", "verified verified_dkim"),
        ("dkim=pass header.i=@mail.acme.test", "verified verified_dkim"),
        ("dkim=pass header.d=acme.test.evil.test", "failed failed_other"),
        ("dkim=pass header.d=notacme.test", "failed failed_other"),
        ("dkim=fail header.d=acme.test; dkim=pass header.d=acme.test", "verified verified_dkim"),
        ("dkim=fail header.d=acme.test; spf=none", "failed failed"),
        ("dkim=temperror header.d=acme.test; spf=fail smtp.mailfrom=x@list.test", "not_checked check_broke_off"),
        ("dkim=neutral header.d=acme.test", "not_checked has_nothing"),
        # SPF
        ("spf=pass smtp.mailfrom=ann@acme.test", "verified verified_spf"),
        ("spf=pass smtp.mailfrom=bounce@mail.acme.test", "verified verified_spf"),
        ("spf=pass (sender IP is 192.0.2.1) smtp.mailfrom=evil.test", "failed failed_other"),
        ("spf=pass smtp.helo=evil.test smtp.mailfrom=<>", "failed failed"),
        ("spf=softfail smtp.mailfrom=ann@acme.test", "failed failed"),
        ("spf=fail smtp.mailfrom=ann@acme.test", "failed failed"),
        ("spf=neutral smtp.mailfrom=ann@acme.test", "not_checked has_nothing"),
        ("spf=temperror smtp.mailfrom=ann@acme.test", "not_checked has_nothing"),
        # a login
        ("auth=pass smtp.auth=ann@acme.test; dmarc=fail", "verified verified_login"),
        ("auth=pass smtp.auth=eve@acme.test", "not_checked has_nothing"),
        ("auth=pass smtp.auth=ann", "not_checked has_nothing"),
        ("auth=fail smtp.auth=ann@acme.test", "not_checked has_nothing"),
        # nothing
        ("none", "not_checked has_nothing"),
        ("x-spam=pass", "not_checked has_nothing"),
    ],
)
def test_what_the_results_say_of_a_sender(results: str, expected: str) -> None:
    assert said(f"Authentication-Results: {MX}; {results}\n{CAME_IN}\nFrom: Ann <ann@acme.test>") == expected


PASS, FAIL = f"Authentication-Results: {MX}; dmarc=pass", f"Authentication-Results: {MX}; dmarc=fail"
BEFORE = "Received: from a.test ([198.51.100.7]) by out.test with ESMTP id 8"
FILTER = f"Received: from localhost (localhost [127.0.0.1]) by {MX} (Postfix) with ESMTP id 9"


@pytest.mark.parametrize(
    ("lines", "state"),
    [
        # above the line where it came in, and nowhere else
        ([PASS, CAME_IN], "verified"),
        ([CAME_IN, PASS], "not_checked"),
        ([CAME_IN, PASS, BEFORE], "not_checked"),
        ([CAME_IN, BEFORE, PASS], "not_checked"),
        ([FAIL, CAME_IN, PASS], "failed"),
        ([FAIL, PASS, CAME_IN], "failed"),  # one server, two programs: the topmost result counts
        ([PASS, FAIL, CAME_IN], "verified"),
        ([FILTER, PASS, CAME_IN], "verified"),  # a spam filter behind the server that took it
        ([PASS, FILTER, CAME_IN, FAIL], "verified"),
        ([f"Authentication-Results: {MX}.; dmarc=pass", CAME_IN], "verified"),
        ([PASS.upper(), CAME_IN], "verified"),
        ([f"Authentication-Results: {MX} 1; dmarc=pass", CAME_IN], "verified"),  # with a version
        # nobody else's word
        (["Authentication-Results: mx.evil.test; dmarc=pass", CAME_IN], "not_checked"),
        ([f"Authentication-Results: {MX}.evil.test; dmarc=pass", CAME_IN], "not_checked"),
        ([f"Authentication-Results: not{MX}; dmarc=pass", CAME_IN], "not_checked"),
        ([f"Authentication-Results: mx.evil.test; dmarc=none (x; {MX}; dmarc=pass)", CAME_IN], "not_checked"),
        (["Authentication-Results: dmarc=pass", CAME_IN], "not_checked"),
        ([f"X-Authentication-Results: {MX}; dmarc=pass", CAME_IN], "not_checked"),
        ([f"ARC-Authentication-Results: i=1; {MX}; dmarc=pass", CAME_IN], "not_checked"),
        ([f"Received-SPF: pass receiver={MX}; envelope-from=ann@acme.test", CAME_IN], "not_checked"),
        # who calls itself like our server is not it
        ([f"Received: from {MX} (evil.test [203.0.113.1]) by {MX} with ESMTP", PASS, BEFORE], "not_checked"),
        ([f"Received: from x ({MX} [203.0.113.1] (may be forged)) by {MX} with ESMTP", PASS, CAME_IN], "not_checked"),
        # no line says that it came from outside
        ([PASS], "not_checked"),
        ([PASS, FILTER], "verified"),
        ([FILTER, PASS], "not_checked"),
    ],
)
def test_only_what_our_server_wrote_itself_counts(lines: list[str], state: str) -> None:
    assert said("\n".join([*lines, "From: Ann <ann@acme.test>"])).split()[0] == state


FORGED = [PASS, f"Received: from box ([10.0.0.8]) by {MX} with ESMTP", "From: Ann <ann@acme.test>", "", "x"]


SHOWN = [  # by servers that write down themselves where it came from
    "from {word} (unknown [203.0.113.9]) by {mx} (Postfix) with ESMTPS id 7 for <bob@office.test>",
    'from {word} (unknown [203.0.113.9]) (Client CN "[10.0.0.1]", Issuer "x" (not verified)) by {mx} with ESMTPS',
    "from evil.test ([203.0.113.9] helo={word}) by {mx} with esmtps (TLS1.3) tls TLS_AES (Exim 4.96)",
    "from evil.test ([203.0.113.9] ident={word} helo={word}) by {mx} with esmtps (Exim 4.96)",
    "from [203.0.113.9] (helo={word}) by {mx} with esmtp (Exim 4.96)",
    "from unknown (HELO {word}) (203.0.113.9) by {mx} with SMTP",
    "from 203.0.113.9 (EHLO {word}) by {mx} with SMTP",
    "from {word} (203.0.113.9) by {mx} with Microsoft SMTP Server",
]
NOT_SHOWN = [
    "from {word} by {mx} with ESMTP",
    "from {word} by {mx} ([203.0.113.9])",
    "from {word} (unknown [203.0.113.9])",
]
WORDS = ["by", "with", "for", "id", "from", "via", "[10.0.0.1]", "10.0.0.1", MX, "a)", "(by", ""]
WITH_COMMENTS = [
    "a(x[10.0.0.1])", "a (x [10.0.0.1]", f"a ({MX} [203.0.113.9])", f"a ({MX} [203.0.113.9]",
    "mx.google.com by mx.google.com with ESMTPSA", f"box (box [10.0.0.1]) by {MX} with ESMTP (",
]  # fmt: skip


@pytest.mark.parametrize(("line", "word"), [*product([*SHOWN, *NOT_SHOWN], WORDS), *product(SHOWN, WITH_COMMENTS)])
def test_no_word_that_a_stranger_chooses_makes_his_own_lines_ours(line: str, word: str) -> None:
    lines = [f"Received: {line.format(word=word, mx=MX)}; now", *FORGED]
    raw = "\n".join(lines).encode()
    assert name_in(raw) == NOBODY
    assert prove(parse(raw, NOW), MX).state == "not_checked"


GOOGLE = [
    "Received: from evil.test (evil.test [203.0.113.9]) by mx.google.com with ESMTPS",
    "Authentication-Results: mx.google.com; spf=pass smtp.mailfrom=evil.test; dmarc=fail header.from=acme.test",
]


@pytest.mark.parametrize(
    ("lines", "server"),
    [
        ([*GOOGLE, "Authentication-Results: mx.google.com; auth=pass smtp.auth=ann@acme.test"], "google.com"),
        ([*GOOGLE, "Authentication-Results: mx.google.com; dkim=pass header.d=acme.test"], "google.com"),
        ([GOOGLE[0], "Authentication-Results: mx.google.com; auth=pass smtp.auth=ann@acme.test"], "google.com"),
        (
            [
                "Received: from evil.test (evil.test [203.0.113.9]) by p00-icloudmx.me.com with ESMTPS",
                "Authentication-Results: dmarc.icloud.com; dmarc=fail header.from=acme.test",
                "Authentication-Results: dmarc.icloud.com; dmarc=pass header.from=acme.test",
            ],
            "icloud.com",
        ),
    ],
)
def test_nothing_is_added_where_a_sender_may_have_written_it(lines: list[str], server: str) -> None:
    assert said("\n".join([*lines, "From: Ann <ann@acme.test>"]), server).split()[0] != "verified"


@pytest.mark.parametrize(
    ("sender", "expected"),
    [
        ("From: ann@acme.test", "verified verified_dkim"),
        ("From: Ann <ANN@ACME.TEST>", "verified verified_dkim"),
        ("From: ann@acme.test\nFrom: eve@evil.test", "failed hidden"),
        ("From: eve@evil.test\nFrom: ann@acme.test", "failed hidden"),
        ("From: ann@acme.test, eve@evil.test", "verified verified_dkim"),
        ("From: eve@evil.test, ann@acme.test", "failed failed_other"),
        ("From: =?utf-8?q?ann=40acme.test?= <eve@evil.test>", "failed failed_other"),
        ("From: =?utf-8?q?Ann_=3Cann=40acme.test=3E?=", "failed hidden"),
        ("Sender: ann@acme.test", "failed hidden"),
        ("From: nobody\nReturn-Path: <ann@acme.test>", "failed hidden"),
        ("From: ann@\u0430cme.test", "failed failed_other"),  # a Cyrillic letter
    ],
)
def test_whose_address_was_checked(sender: str, expected: str) -> None:
    assert said(f"Authentication-Results: {MX}; dkim=pass header.d=acme.test\n{CAME_IN}\n{sender}") == expected


def test_a_look_alike_is_told_as_what_it_is() -> None:
    header = f"Authentication-Results: {MX}; spf=pass smtp.mailfrom=evil.test\n{CAME_IN}\nFrom: ann@\u0430cme.test"
    found = prove(parse(f"{header}\n\nx".encode(), NOW), MX)
    assert "xn--cme-5cd.test" in say(found.reason)


@pytest.mark.parametrize(("server", "state"), [("", "not_checked"), ("office.test", "verified"), (MX, "verified")])
def test_the_server_is_named_by_itself_or_by_its_domain(server: str, state: str) -> None:
    assert said(f"{PASS}\n{CAME_IN}\nFrom: ann@acme.test", server).split()[0] == state


# --- the large receivers, as they write; and how the name of a server is learned

HEADERS = Path(__file__).parents[1] / "data" / "headers"


@pytest.mark.parametrize(
    ("receiver", "name", "state"),
    [
        ("gmail", "google.com", "verified"),
        ("icloud", "icloud.com", "verified"),
        ("yahoo", "yahoo.com", "verified"),
        ("microsoft-365", "outlook.com", "verified"),
        ("fastmail", "messagingengine.com", "verified"),
    ],
)
def test_large_receivers_are_known_by_their_domain(receiver: str, name: str, state: str) -> None:
    raw = (HEADERS / f"{receiver}.txt").read_bytes()
    assert name_in(raw) == name
    assert prove(parse(raw, NOW), name).state == state


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        ([PASS, CAME_IN], MX),
        ([FAIL, CAME_IN, PASS], MX),
        (["Authentication-Results: other.test; none", CAME_IN, PASS], "other.test"),
        ([CAME_IN, PASS], NOBODY),
        ([CAME_IN], NOBODY),
        (["Authentication-Results: spf=pass smtp.mailfrom=a.test", CAME_IN], NOBODY),  # a server without a name
        # our own people, who logged in, and what never left the house, say nothing of how strangers are checked
        (["Received: from pc ([203.0.113.5]) by mx.office.test with ESMTPSA id 1"], ""),
        ([FILTER], ""),
        ([], ""),
    ],
)
def test_the_name_is_that_of_who_wrote_the_topmost_results(lines: list[str], name: str) -> None:
    assert name_in("\n".join([*lines, "From: Ann <ann@acme.test>", "", "x"]).encode()) == name


@pytest.mark.parametrize(
    ("seen", "name"),
    [
        ({}, ""),
        ({MX: 4}, ""),
        ({MX: 5}, MX),
        ({MX: 8, NOBODY: 2}, MX),
        ({MX: 8, NOBODY: 3}, ""),
        ({NOBODY: 40}, ""),
        ({MX: 5, "mx.evil.test": 5}, ""),
        ({"mx1.office.test": 5, "mx2.office.test": 6}, "office.test"),
        ({"OpenDMARC": 9}, "OpenDMARC"),
    ],
)
def test_a_name_is_believed_when_most_mails_agree_on_it(seen: dict[str, int], name: str) -> None:
    assert learned(seen) == name


def test_what_was_seen_long_ago_counts_less() -> None:
    seen = seen_with({}, ["old.test"] * 200)
    assert learned(seen) == "old.test"
    seen = seen_with(seen, [MX] * 20)
    assert learned(seen) == ""
    for _ in range(3):
        seen = seen_with(seen, [MX] * 20)
    assert learned(seen) == MX


def test_many_names_are_little_to_keep() -> None:
    assert len(seen_with({}, (f"mx{n}.test" for n in range(500)))) <= 8

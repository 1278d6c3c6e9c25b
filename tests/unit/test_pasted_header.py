"""Headers as people copy them: out of Gmail, Outlook, a quotation, a chat; and the Received lines of many servers."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.message.pasted_header import MOST_LINES, read_pasted
from mail.message.received_lines import Hop, read_received, read_way
from tests.effort import little_work

HEADER = "Received: from a.example\n by b.example\nSubject: A question\nTo: ann@office.test"
FIELDS = [("received", "from a.example by b.example"), ("subject", "A question"), ("to", "ann@office.test")]


def fields(text: str | bytes) -> list[tuple[str, str]]:
    raw = text if isinstance(text, bytes) else text.encode()
    return [(line.name, line.value) for line in read_pasted(raw).lines]


@pytest.mark.parametrize(
    "text",
    [
        HEADER,
        HEADER.replace("\n", "\r\n"),
        HEADER.replace("\n", "\r"),
        "\ufeff" + HEADER,
        f"\n\n{HEADER}\n\n",
        "".join(f"    {line}\n" for line in HEADER.split("\n")),
        "".join(f"> {line}\n" for line in HEADER.split("\n")),
        "".join(f"> > {line}\n" for line in HEADER.split("\n")),
        HEADER.replace("\n ", "\n\t\t"),
        HEADER.replace("\n ", "\n"),  # the blanks that folded it are lost
        HEADER.replace(": ", " : "),
        HEADER.replace(": ", ":\xa0"),
        f"From ann@office.test Mon Nov 23 09:00:00 2026\n{HEADER}",
        f"Original Message\nMessage ID\t<1@x>\nFrom:\tBob\nSPF:\tPASS with IP 192.0.2.1 Learn more\n\n{HEADER}",
        HEADER.replace("\n", "\n\n") + "\n\n\nHello",
    ],
)
def test_copies_of_a_header(text: str) -> None:
    assert fields(text) == FIELDS


def test_the_body_is_what_stands_below_the_first_blank_line() -> None:
    found = read_pasted(b"Subject: x\r\n\r\nHello\r\nReceived: from elsewhere\r\n")
    assert ([line.name for line in found.lines], found.body) == (["subject"], "Hello\nReceived: from elsewhere")
    assert (found.first("subject"), found.first("to"), found.all("cc")) == ("x", "", [])


def test_lines_that_look_like_fields_and_go_on_another() -> None:
    text = "DKIM-Signature: v=1; h=from:to:\nsubject:date; b=abc\nX-Link:\nhttps://example.com/\nSubject: x"
    assert fields(text) == [
        ("dkim-signature", "v=1; h=from:to: subject:date; b=abc"),
        ("x-link", "https://example.com/"),
        ("subject", "x"),
    ]


def test_what_stands_above_the_first_field_is_left_out_only_if_it_is_no_field() -> None:
    assert fields("Subject: x\nReceived: from a") == [("subject", "x"), ("received", "from a")]
    assert fields("Copy to clipboard\nReceived: from a") == [("received", "from a")]
    assert fields(b"Subject: M\xfcller\nX: \xc3\xbc\0") == [("subject", "Müller"), ("x", "ü")]
    assert fields("From: a\u202eb\u200bc") == [("from", "a bc")]  # what turns or hides letters is not shown
    assert fields("") == fields("Hello, world") == fields(">\n>\n") == []


def test_a_header_of_many_lines_ends() -> None:
    assert len(fields("X: 1\n" * (MOST_LINES + 10))) == MOST_LINES


def test_double_spacing_ends_where_the_text_begins() -> None:
    doubled = "".join(f"X-{number}: {number}\n\n" for number in range(8))
    assert [name for name, _ in fields(doubled + "To: me\nCc: you\n")] == [f"x-{n}" for n in range(8)] + ["to", "cc"]


AT = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
DATE = "Mon, 23 Nov 2026 09:00:00 +0100 (CET)"

RECEIVED = [
    (
        "from ed1.google.com (ed1.google.com. [209.85.208.41]) by mx.google.com with ESMTPS id a640c for "
        f"<ann@example.com> (version=TLS1_3 cipher=TLS_AES_256_GCM_SHA384 bits=256/256); {DATE}",
        Hop("mx.google.com", "ed1.google.com", "209.85.208.41", "ed1.google.com", "ESMTPS", "TLS 1.3", True, False, AT),
    ),
    (f"by 2002:a05:6402:5d4:b0:5c with SMTP id n20csp1; {DATE}", Hop("2002:a05:6402:5d4:b0:5c", protocol="SMTP",
     encrypted=False, inside=True, at=AT)),
    (
        "from AM0.x.com (2603:10a6:208::12) by DB8.x.com (2603:10a6:10::5) with "
        f"Microsoft SMTP Server (version=TLS1_2, cipher=TLS_ECDHE) id 15.20.8699.7 via Frontend Transport; {DATE}",
        Hop("DB8.x.com", "AM0.x.com", "2603:10a6:208::12", tls="TLS 1.2", encrypted=True, at=AT),
    ),
    (
        "from [10.0.0.5] (unknown [203.0.113.9]) (using TLSv1.3 with cipher TLS_AES (256/256 bits) (No client "
        f"certificate requested)) by mx.x.test (Postfix) with ESMTPSA id 12; {DATE}",
        Hop("mx.x.test", "10.0.0.5", "203.0.113.9", "", "ESMTPSA", "TLS 1.3", True, False, AT),
    ),
    (f"from localhost (localhost [127.0.0.1]) by mail.office.test. (Postfix) with ESMTP id 4Fz; {DATE}",
     Hop("mail.office.test", "localhost", "127.0.0.1", "localhost", "ESMTP", encrypted=False, inside=True, at=AT)),
    (f"from a.example ([192.0.2.1]) by mx.example over TLS secured channel with LMTP id 1; {DATE}",
     Hop("mx.example", "a.example", "192.0.2.1", "", "LMTP", "", True, False, AT)),
    (f"from p00-asmtp-1 by p48-gateway (mailgateway) with SMTP id 1; {DATE}",
     Hop("p48-gateway", "p00-asmtp-1", protocol="SMTP", encrypted=False, inside=True, at=AT)),
    (f"from compute.internal by sloti1 with LMTPA; {DATE}",
     Hop("sloti1", "compute.internal", protocol="LMTPA", inside=True, at=AT)),
    (f"(qmail 1234 invoked by uid 89); {DATE}", Hop(inside=True, at=AT)),
    ("from a.example by b.example; tomorrow", Hop("b.example", "a.example")),
    ("from a.example by b.example", Hop("b.example", "a.example")),
    ("", Hop(inside=True)),
]  # fmt: skip


@pytest.mark.parametrize(("line", "hop"), RECEIVED)
def test_received_lines_of_many_servers(line: str, hop: Hop) -> None:
    assert read_received(line) == hop


def test_delays_are_those_between_lines_that_have_a_time() -> None:
    way = read_way(["by d; 23 Nov 2026 09:00:00 +0000", "by c", "by b; 23 Nov 2026 09:00:03 +0000", "by a"])
    assert [(hop.by, hop.delay) for hop in way] == [("a", None), ("b", None), ("c", None), ("d", -3.0)]


@given(st.one_of(st.binary(max_size=400), st.text(alphabet="ReceivdSubjt:>\n\r \t.;()", max_size=400).map(str.encode)))
def test_whatever_is_pasted_nothing_is_raised(raw: bytes) -> None:
    found = read_pasted(raw)
    read_way(line.value for line in found.lines)
    read_way([raw.decode("latin-1")])


@pytest.mark.parametrize(
    "piece", ["> ", ">", "a\n\n", "Received: (", " \n", "X:\n", "from by ", "((", "1.", "::", "by; ", "TLS", "a:"]
)
def test_large_pastes_are_little_work(piece: str) -> None:
    with little_work():
        read_pasted(piece.encode() * 300_000)
        read_received(piece * 300_000)

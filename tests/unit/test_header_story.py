"""What a header tells: whose results are believed, what they mean for this email, and the way with its clocks."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.decide import believed_results
from mail.decide.alignment import organisation_of, same_organisation
from mail.decide.believed_results import MOST_RESULT_LINES
from mail.decide.header_story import Finding, HeaderStory, duration, tell
from mail.message.pasted_header import read_pasted
from mail.message.received_lines import MOST_HOPS, read_received

OUT = "Received: from out.sender.example (out.sender.example [192.0.2.7]) by mx.receiver.example with ESMTPS id 1; {}"
IN = "Received: from mx.receiver.example (mx.receiver.example [10.0.0.9]) by box.receiver.example with LMTP id 2; {}"
FIRST = "Received: from pc (pc [10.0.0.4]) by out.sender.example (Postfix) with ESMTPA id 3; {}"
NINE = "Mon, 23 Nov 2026 09:00:{:02d} +0000"
FROM = "From: Ann <ann@sender.example>"


def story(*lines: str) -> HeaderStory:
    return tell(read_pasted("\n".join(lines).encode()))


def codes(finding: Finding) -> list[str]:
    return [reason["code"].removeprefix("header_") for reason in finding.sentences]


def results(line: str, *more: str) -> list[tuple[str, str, list[str]]]:
    """What is said of the results in a line that the receiving server wrote."""
    found = story(f"Authentication-Results: mx.receiver.example; {line}", OUT.format(NINE.format(1)), FROM, *more)
    return [(one.about, one.state, codes(one)) for one in found.checks]


# --- whom we believe

AR = "Authentication-Results: {}; spf=pass smtp.mailfrom=sender.example; dmarc=pass header.from=sender.example"
SPF = "Received-SPF: pass (ok) client-ip=192.0.2.7"

SOURCES = [
    ([AR.format("mx.receiver.example"), OUT, FIRST], "good", ["results_by"]),
    ([AR.format("receiver.example"), OUT, FIRST], "good", ["results_by"]),
    ([IN, AR.format("mx.receiver.example"), OUT, FIRST], "good", ["results_by"]),
    ([AR.format("mx.receiver.example"), OUT, FIRST, AR.format("x.example")], "good", ["results_by", "results_more"]),
    # below the line where it came in: of the receiver, or made up by whoever knows that it writes none
    ([OUT, AR.format("mx.receiver.example"), FIRST], "warning", ["results_below"]),
    ([IN, OUT, AR.format("mx.receiver.example"), FIRST], "warning", ["results_below"]),
    (["Received: from a.example (mx.a.example. [192.0.2.7]) by mx.google.com with ESMTPS; now",
      AR.format("mx.google.com"), FIRST], "good", ["results_by"]),
    # below the lines of the receiver: it came with the email, whatever it names
    ([IN, OUT, FIRST, AR.format("mx.receiver.example")], "warning", ["results_doubtful"]),
    ([IN, OUT, AR.format("mx.evil.example"), FIRST], "warning", ["results_doubtful"]),
    ([AR.format("mx.receiver.example"), FROM], "warning", ["results_unplaced"]),
    (["Authentication-Results: spf=pass smtp.mailfrom=x.example", OUT], "warning", ["results_nobody"]),
    (["Received: from a.example ([192.0.2.7]) by x.prod.outlook.com with ESMTPS id 1; now",
      "Authentication-Results: spf=pass smtp.mailfrom=x.example"], "good", ["results_by_microsoft"]),
    # Microsoft's own servers are of two domains, and lie behind the one that took the email
    (["Received: from a.eurprd01.prod.outlook.com (2603:10a6::1) by b.prod.exchangelabs.com with HTTPS; now",
      "Authentication-Results: spf=pass smtp.mailfrom=x.example",
      "Received: from out.sender.example (192.0.2.7) by a.mail.protection.outlook.com (10.1.1.1) with Microsoft; now",
      FIRST, "Authentication-Results: spf=fail"], "good", ["results_by_microsoft", "results_more"]),
    # Apple writes a line for each method
    (["Received: from out.sender.example (out.sender.example [192.0.2.7]) by p00.me.com with ESMTPS; now",
      "Authentication-Results: bimi.icloud.com; bimi=none", AR.format("spf.icloud.com")], "good", ["results_by"]),
    # who calls itself by the name of the receiver is known by the name of its address
    (["Received: from mx.receiver.example (evil.example [192.0.2.7]) by mx.receiver.example with ESMTPS; now",
      OUT, AR.format("mx.receiver.example")], "warning", ["results_doubtful"]),
    # without a name of its address, what it calls itself counts for nothing
    (["Received: from mx.receiver.example ([192.0.2.7]) by mx.receiver.example with ESMTPS; now",
      OUT, AR.format("mx.receiver.example")], "warning", ["results_doubtful"]),
    ([SPF, OUT], "good", ["results_spf_only"]),
    ([f"{SPF}; receiver=<UNKNOWN>", OUT], "good", ["results_spf_only"]),
    ([f"{SPF}; receiver=mx.receiver.example", OUT], "good", ["results_spf_only"]),
    ([f"{SPF}; receiver=mx.evil.example", OUT], "unknown", ["results_none"]),
    ([OUT, SPF], "warning", ["results_spf_below"]),
    ([SPF], "warning", ["results_spf_below"]),
    ([OUT, FIRST, "Received-SPF: pass (ok) client-ip=192.0.2.7"], "unknown", ["results_none"]),
    ([FROM], "unknown", ["results_none"]),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "state", "said"), SOURCES)
def test_whose_results_are_believed(lines: list[str], state: str, said: list[str]) -> None:
    found = story(*lines).source
    assert (found.state, codes(found)) == (state, said)


def test_results_that_are_not_believed_are_neither_good_nor_bad() -> None:
    found = story(OUT, AR.format("mx.evil.example"), FROM)
    assert {one.state for one in found.checks} == {"unknown"}
    below = story(OUT, AR.format("mx.receiver.example").replace("spf=pass", "spf=fail"), FROM)
    assert [(one.about, one.state) for one in below.checks] == [("DMARC", "unknown"), ("SPF", "bad")]


def test_a_server_that_writes_a_line_for_each_method_is_heard_whole() -> None:
    lines = (f"Authentication-Results: mx.receiver.example; {one}" for one in ("dmarc=pass", "spf=pass", "dkim=pass"))
    found = story(*lines, OUT, FROM)
    assert (codes(found.source), [one.about for one in found.checks]) == (["results_by"], ["DMARC", "SPF", "DKIM"])


def test_a_header_of_a_stranger_is_little_work(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = list[str]()
    monkeypatch.setattr(believed_results, "organisation_of", lambda host: hosts.append(host) or organisation_of(host))
    read = list[str]()
    monkeypatch.setattr(believed_results, "read_received", lambda value: read.append(value) or read_received(value))
    lines = [f"Received: from a{n}.test ([10.0.0.1]) by b{n}.test with ESMTP; now" for n in range(2000)]
    story(*lines[:1000], *(AR.format(f"c{n}.test") for n in range(2000)), *lines[1000:])
    assert len(read) <= MOST_HOPS and len(hosts) <= 2 * MOST_HOPS + MOST_RESULT_LINES


SAMPLES = Path(__file__).resolve().parents[1] / "data/headers"


@pytest.mark.parametrize("name", ["gmail", "microsoft-365", "yahoo", "fastmail", "icloud"])
def test_headers_of_the_large_receivers(name: str) -> None:
    found = tell(read_pasted((SAMPLES / f"{name}.txt").read_bytes()))
    assert (found.source.state, codes(found.source)[0][:10]) == ("good", "results_by")
    states = {one.about: one.state for one in found.checks if one.result}
    assert (states["DMARC"], states["SPF"], states["DKIM"]) == ("good", "good", "bad" if name == "gmail" else "good")


# --- what they mean

MEANINGS = [
    ("dmarc=pass header.from=sender.example", [("DMARC", "good", ["dmarc_pass"])]),
    ("dmarc=fail (p=REJECT sp=NONE) header.from=x.example", [("DMARC", "bad", ["dmarc_fail", "dmarc_asks_reject"])]),
    (
        "dmarc=fail policy.published-domain-policy=quarantine",
        [("DMARC", "bad", ["dmarc_fail", "dmarc_asks_quarantine"])],
    ),
    ("dmarc=fail (p=other)", [("DMARC", "bad", ["dmarc_fail"])]),
    ("dmarc=none", [("DMARC", "warning", ["dmarc_none"])]),
    ("dmarc=bestguesspass", [("DMARC", "warning", ["dmarc_bestguesspass"])]),
    ("dmarc=temperror", [("DMARC", "unknown", ["dmarc_temperror"])]),
    ("dmarc=wonderful", [("DMARC", "unknown", ["unknown_result"])]),
    ("none", [("DMARC", "unknown", ["dmarc_missing"])]),
    ("spf=pass smtp.mailfrom=bounce@news.sender.example", [("SPF", "good", ["spf_pass"])]),
    ("spf=pass smtp.mailfrom=x.sendgrid.net", [("SPF", "warning", ["spf_pass_other"])]),
    ("spf=hardfail smtp.mailfrom=sender.example", [("SPF", "bad", ["spf_fail"])]),
    ("spf=softfail smtp.mailfrom=sender.example", [("SPF", "warning", ["spf_softfail"])]),
    ("dkim=pass header.d=sender.example", [("DKIM", "good", ["dkim_pass"])]),
    ("dkim=pass header.i=@relay.example", [("DKIM", "warning", ["dkim_pass_other"])]),
    ("dkim=fail (body hash did not verify) header.d=sender.example", [("DKIM", "bad", ["dkim_fail"])]),
    ("dkim=none", [("DKIM", "warning", ["dkim_none"])]),
    ("arc=pass", [("ARC", "good", ["arc_pass"])]),
    ("arc=fail", [("ARC", "unknown", ["arc_fail"])]),
    ("compauth=fail reason=001", [("compauth", "bad", ["compauth"])]),
]


@pytest.mark.parametrize(("line", "said"), MEANINGS)
def test_what_a_result_means_for_this_email(line: str, said: list[tuple[str, str, list[str]]]) -> None:
    found = [one for one in results(line) if line == "none" or one[2] != ["dmarc_missing"]]
    assert found == said


@pytest.mark.parametrize("domain", ["bücher.example", "xn--bcher-kva.example"])
@pytest.mark.parametrize("sender", ["bücher.example", "xn--bcher-kva.example"])
def test_a_domain_with_umlauts_is_one_domain(domain: str, sender: str) -> None:
    line = f"Authentication-Results: mx.receiver.example; spf=pass smtp.mailfrom={domain}; dkim=pass header.d={domain}"
    found = story(line, OUT, f"From: <ann@{sender}>", f"DKIM-Signature: v=1; d={sender}; s=a; b=x").checks
    assert [codes(one)[0] for one in found] == ["dmarc_missing", "spf_pass", "dkim_pass"]
    assert found[1].sentences[0]["values"]["domain"] == "bücher.example"


def test_a_domain_that_asks_for_an_exact_match() -> None:
    line = "dmarc=fail; spf=pass smtp.mailfrom=news.sender.example; dkim=pass header.d={}"
    assert [said for _about, state, said in results(line.format("news.sender.example")) if state == "warning"] == [
        ["spf_pass_loose"],
        ["dkim_pass_loose"],
    ]
    assert results(line.format("sender.example"))[2] == ("DKIM", "good", ["dkim_pass"])


def test_spf_without_an_address_is_of_the_envelope_sender() -> None:
    assert results("spf=pass", "Return-Path: <x@other.example>")[1][2] == ["spf_pass_other"]


def test_signatures_and_copies_are_told_as_what_they_are() -> None:
    found = results(
        "dkim=pass header.d=sender.example",
        "DKIM-Signature: v=1; d=sender.example; s=a; b=x",
        "DKIM-Signature: v=1; d=relay.example; s=b; b=x",
        "DKIM-Signature: broken",
        "ARC-Authentication-Results: i=2; mx.two.example; none",
        "ARC-Authentication-Results: i=1; mx.one.example; spf=pass; dkim=fail",
    )
    assert [(about, said[0]) for about, _state, said in found[2:]] == [
        ("DKIM", "dkim_not_checked"), ("ARC 1", "arc_says"), ("ARC 2", "arc_says_nothing"),
    ]  # fmt: skip


# --- the way


def way(*lines: str) -> list[str]:
    return [code for finding in story(*lines).way for code in codes(finding)]


def test_a_quick_and_encrypted_way() -> None:
    lines = [IN.format(NINE.format(9)), OUT.format(NINE.format(7)), FIRST.format(NINE.format(0)), FROM]
    assert way(*lines) == ["way_total", "all_encrypted"]
    found = story(*lines)
    assert (found.slowest, [hop.delay for hop in found.hops]) == (None, [None, 7.0, 2.0])
    assert found.way[0].sentences[0]["values"] == {"time": "9 s"}


def test_a_slow_hop_a_wrong_clock_and_no_encryption() -> None:
    late = "Mon, 23 Nov 2026 12:00:00 +0000"
    lines = [
        IN.format(NINE.format(0)), OUT.format(late).replace("ESMTPS", "ESMTP"), FIRST.format(NINE.format(0)),
        "Date: Mon, 23 Nov 2026 08:00:00 +0000",
    ]  # fmt: skip
    assert way(*lines) == ["written_late", "slowest", "clock", "not_encrypted"]
    assert story(*lines).slowest == 1


def test_what_can_not_be_told_of_the_way() -> None:
    assert way(FROM) == ["no_way"]
    assert way("Received: from a.example by b.example") == ["way_untimed"]
    assert way(OUT.format(NINE.format(0)), "Date: Mon, 23 Nov 2026 10:00:00 +0000") == [
        "written_ahead",
        "all_encrypted",
    ]
    assert way("Received: ; " + NINE.format(5), "Received: by x; " + NINE.format(9)) == ["clock"]


def test_an_email_that_took_no_time() -> None:
    assert way(OUT.format(NINE.format(0)), FIRST.format(NINE.format(0))) == ["way_total", "all_encrypted"]


def test_times_as_people_say_them() -> None:
    assert [duration(n) for n in (0, 59.6, 3600, 3601, 86400 * 3)] == ["0 s", "1 min", "1 h", "1 h", "3 d"]


# --- names and organisations


def test_names() -> None:
    names = story("From: =?utf-8?q?J=C3=BCrgen?= <j@X.example>", "Return-Path: <>", "Subject: =?utf-8?q?=C3=BC?=").names
    assert (names.sender, names.sender_domain, names.envelope, names.subject) == (
        "Jürgen <j@X.example>",
        "x.example",
        "",
        "ü",
    )
    assert story("Subject: x").names.sender_domain == ""


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("example.com", "EXAMPLE.com.", True),
        ("a.example.com", "b.c.example.com", True),
        ("a.co.uk", "b.co.uk", False),
        ("localhost", "localhost", True),
        ("", "", False),
        ("com", "org", False),
    ],
)
def test_one_organisation(one: str, other: str, same: bool) -> None:
    assert same_organisation(one, other) is same
    assert organisation_of("x" * 300) == ""


@given(st.text(max_size=300), st.text(alphabet='abm.;=()" \nspfdkimdmarcpassfail', max_size=300))
def test_whatever_a_header_says_a_story_is_told(text: str, line: str) -> None:
    tell(read_pasted(f"Received: {text}\nAuthentication-Results: {line}\nReceived-SPF: {line}\n{text}".encode()))

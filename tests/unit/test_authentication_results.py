"""What receiving servers write about a sender, as they really write it: one line of the table for each dialect."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.message.authentication_results import MethodResult, read_received_spf, read_results, results_in
from tests.effort import little_work

GMAIL = """mx.google.com;
       dkim=pass header.i=@example.com header.s=coqui1 header.b="k=7A/b+";
       spf=pass (google.com: domain of ann@example.com designates 192.0.2.1 as permitted sender)
       smtp.mailfrom=ann@example.com;
       dmarc=pass (p=NONE sp=QUARANTINE dis=NONE) header.from=example.com"""
MICROSOFT = """spf=pass (sender IP is 192.0.2.1)
 smtp.mailfrom=example.com; dkim=pass (signature was verified)
 header.d=example.com;dmarc=pass action=none header.from=example.com;compauth=pass reason=100"""

# the line, the server, and each result as "method=result property=value … reason: … comment: …"
LINES: list[tuple[str, str, list[str]]] = [
    (GMAIL, "mx.google.com", [
        "dkim=pass header.i=@example.com header.s=coqui1 header.b=k=7A/b+",
        "spf=pass smtp.mailfrom=ann@example.com "
        "comment: google.com: domain of ann@example.com designates 192.0.2.1 as permitted sender",
        "dmarc=pass header.from=example.com comment: p=NONE sp=QUARANTINE dis=NONE",
    ]),
    (MICROSOFT, "", [
        "spf=pass smtp.mailfrom=example.com comment: sender IP is 192.0.2.1",
        "dkim=pass header.d=example.com comment: signature was verified",
        "dmarc=pass action=none header.from=example.com",
        "compauth=pass reason: 100",
    ]),
    ("mx.example; none", "mx.example", []),
    ("mx.example 1; none", "mx.example", []),
    ("mx.example", "mx.example", []),
    ("none", "", []),
    ("i=2; MX.Google.com.; arc=fail (x)", "mx.google.com", ["arc=fail comment: x"]),
    ("mx.example; dkim=pass(p=REJECT) header.d=b.example", "mx.example",
     ["dkim=pass header.d=b.example comment: p=REJECT"]),
    ("mx.example; spf = PASS smtp . mailfrom = a@b.example", "mx.example", ["spf=pass smtp.mailfrom=a@b.example"]),
    ("mx.example; dkim/1=pass policy.rule=\"a\\\"b c\"", "mx.example", ["dkim=pass policy.rule=a\"b c"]),
    ("mx.example; dkim=fail reason=\"bad; (key)\" header.d=b.example", "mx.example",
     ["dkim=fail header.d=b.example reason: bad; (key)"]),
    ("mx.example spf=pass smtp.mailfrom=a dkim=none", "mx.example", ["spf=pass smtp.mailfrom=a", "dkim=none"]),
    ("mx.example; dkim=pass header.d=a; dkim=fail header.d=b", "mx.example",
     ["dkim=pass header.d=a", "dkim=fail header.d=b"]),
    ("mx.example; spf=pass (5\" (nested; \\) it) is) x=y", "mx.example",
     ["spf=pass x=y comment: 5\" (nested; \\) it) is"]),
    ("mx.example; spf=pass smtp.mailfrom= smtp.helo=mx.b.example; dkim=pass header.b= a/b= header.d=b", "mx.example",
     ["spf=pass smtp.mailfrom= smtp.helo=mx.b.example", "dkim=pass header.b=a/b= header.d=b"]),
    ("mx.example; spf=; auth=pass smtp.auth=ann", "mx.example", ["auth=pass smtp.auth=ann"]),
    ("\"mx;1\".example; iprev=pass", "mx;1.example", ["iprev=pass"]),
    ("mx.example; spf=pass (never closed; dkim=pass", "mx.example", ["spf=pass comment: never closed; dkim=pass"]),
    ("mx.example; ); \"; spf=pass\\", "mx.example", ["spf=pass\\"]),
    ("", "", []),
    (";;;", "", []),
]  # fmt: skip


def shown(found: MethodResult) -> str:
    parts = [f"{found.method}={found.result}", *(f"{name}={value}" for name, value in found.properties.items())]
    parts += [f"reason: {found.reason}"] if found.reason else []
    return " ".join([*parts, f"comment: {found.comment}"] if found.comment else parts)


@pytest.mark.parametrize(("line", "server", "results"), LINES)
def test_lines_as_servers_write_them(line: str, server: str, results: list[str]) -> None:
    found = read_results(line.replace("\n", "\r\n"))
    assert (found.server, [shown(one) for one in found.results]) == (server, results)


def test_the_number_of_a_copy_and_the_word_of_a_method() -> None:
    found = read_results("i=3; mx.example; dkim=fail; dkim=pass; spf=softfail")
    assert (found.instance, found.word("dkim"), found.word("spf"), found.word("dmarc")) == (3, "pass", "softfail", "")


def test_which_domain_a_method_looked_at() -> None:
    found = MethodResult("dkim", "pass", {"header.i": "ann@News.Example.com", "header.from": "<x@y.example>."})
    assert found.domain("header.d", "header.i") == "news.example.com"
    assert (found.domain("header.from"), found.domain("header.s")) == ("y.example", "")


def test_received_spf() -> None:
    found = read_received_spf(
        "SoftFail (mx.example: not (really) allowed) client-ip=192.0.2.1; helo=h; envelope-from=a@b;"
    )
    assert found is not None
    assert shown(found) == (
        "spf=softfail client-ip=192.0.2.1 smtp.helo=h smtp.mailfrom=a@b comment: mx.example: not (really) allowed"
    )
    assert read_received_spf("client-ip=192.0.2.1") is None
    assert read_received_spf("") is None


def test_the_lines_of_a_mail_from_the_top() -> None:
    raw = b"Authentication-Results: a.example;\r\n spf=pass\r\nauthentication-results: b.example; spf=fail\r\n\r\n" + (
        b"Authentication-Results: body.example; none\r\n"
    )
    assert [(one.server, one.word("spf")) for one in results_in(raw)] == [("a.example", "pass"), ("b.example", "fail")]


def test_programs_that_write_a_line_each_are_one_server() -> None:
    lines = [
        "Return-Path: <a@b.example>",
        "Authentication-Results: mx.example; spf=softfail",
        "DMARC-Filter: OpenDMARC Filter v1.4.2 mx.example",
        "Authentication-Results: MX.example;\r\n dkim=pass header.d=a; dkim=fail header.d=b",
        "Authentication-Results: mx.example; dmarc=pass; spf=pass",
        "Authentication-Results: other.example; iprev=pass",
        "Authentication-Results: mx.example; arc=fail",
        "Authentication-Results: x=y; spf=pass",
        "Authentication-Results: x=y; dkim=pass",
    ]
    found = results_in("\r\n".join([*lines, "", "Hello"]).encode())
    assert [(one.server, [shown(result) for result in one.results]) for one in found[:3]] == [
        ("mx.example", ["spf=softfail", "dkim=pass header.d=a", "dkim=fail header.d=b", "dmarc=pass"]),
        ("other.example", ["iprev=pass"]),
        ("mx.example", ["arc=fail"]),
    ]
    assert len(found) == 5  # who names no server is no neighbour of anybody
    apart = results_in("\r\n".join([lines[1], "Subject: x", lines[4], "", ""]).encode())
    assert [one.word("dmarc") for one in apart] == ["", "pass"]


_MARKS = st.text(alphabet='abz=;()".\\ \t/1\0@', max_size=200)


@given(st.one_of(st.text(max_size=300), _MARKS, st.builds("mx.example; {}".format, _MARKS)))
def test_whatever_stands_there_nothing_is_raised(line: str) -> None:
    found = read_results(line)
    assert all(one.method and one.result and "\0" not in shown(one) for one in found.results)
    read_received_spf(line)


@pytest.mark.parametrize("piece", ["a", "a ", "(", '"', "\\", "a=", "smtp ", "smtp.  ", ";", "spf=pass ", '"\\"', "1/"])
def test_long_lines_are_little_work(piece: str) -> None:
    with little_work():
        read_results(piece * 300_000)
        read_received_spf("pass " + piece * 300_000)

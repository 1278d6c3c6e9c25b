"""Mails made piece by piece, as odd and as repetitive as can be: the parser never raises, and does little work."""

import resource
import time
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from mail.decide.author import authorship
from mail.decide.report import read_report
from mail.incoming.reader import body_of
from mail.message.authentication_results import results_in
from mail.message.parse import message_key, parse
from mail.message.quoted import folded_parts
from mail.sentences import say as in_words
from tests.proofs.scene import Say
from tests.servers.process import CACHE

NOW = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
FOUND = CACHE / "fuzzed-parser.eml"  # the mail that did it
MOST_SECONDS = 2.0  # of CPU, for one mail
MOST_MEMORY = 300  # megabytes, that all of them together may add
LONGEST = 60_000  # octets of one repetition

# What a header, a text or a page is made of; each may be repeated.
TOKENS = [
    b" ", b"\t", b"\n ", b"\r", b"\r\n", b"\r\r\n", b"\0", b"\xff", b"\xc3\xbc", b"\xed\xa0\x80", b"\xe2\x80\xae",
    b"a", b"a b", b"ann@x.test", b"<ann@x.test>", b"Ann <ann@x.test>, ", b"<", b">", b"<<", b"@", b"@a,", b"@a:",
    b'"', b"\\", b'"\\', b"(", b")", b"(a", b",", b";", b":", b"a:", b"'", b"=", b"?", b"?=", b"=?", b"=?=",
    b"=?utf-8?q?", b"=?utf-8?q?a?=", b"=?utf-8?q?a?= ", b"=?utf-8?b?QQ?=", b"=?gb2312?b?1Ow?=", b"=?x?q?=C3=?=",
    b"=?a?b?", b"=C3", b"=\n", b"= \n", b"=ZZ", b"%41", b"%", b"a=b;", b'a="b";', b"a*0*=b;", b"a*1=b;",
    b"a*99999999=b;", b"*=", b"''", b"utf-8''", b"\x1b$B", b"\x1b(B", b"\x1b(I", b"\x0e", b"+A", b"~{", b"\xb0\xa1",
    b"<1@x.test>", b"<1@", b"<1@x>\n ", b"Mon, 2 Nov 2026 10:00:00 +0100", b"(Mon)", b"2026-11-02T10:00", b"99999999",
    b"-", b"--", b"-- \n", b"--b\n", b"\n--b", b"\n--b--", b"\n--bb", b"\n--b\n\n",
    b"\n--b\nContent-Type: text/html\n\n", b"\n--x\nContent-Type: a\n", b"> ", b">\n", b"> a \n", b"a \n",
    b"On 1 wrote:\n", b"From: a\n", b"begin 644 a\n", b"#0V%T\n", b"M\n", b"`\nend\n",
    b"=ybegin line=1 size=1 name=a\n", b"=ypart begin=1 end=1\n", b"\n=yend size=1\n", b"QUJD", b"QQ==", b"a b\n",
    b"----\n", b"<p>", b"<div>", b"<b>", b"</b>", b"<br>", b"<!--", b"-->", b"<style>", b"<title>",
    b"<img src=cid:a>", b'<a href="', b"<table><tr><td>", b"<blockquote>", b"<hr>", b"</div>", b"</blockquote>",
    b'<blockquote type="cite">q</blockquote>', b'<div style="border-top:solid">', b'<div class="gmail_signature">',
    b"<meta charset=", b"&", b"&amp;", b"&#",
    b"\xc2\xa0", b"http://a.test/", b"cid:", b"{\\rtf1", b"\\'41", b"\x30\x80", b"\x30\x82\xff\xff", b"\x24\x80",
    b"Re: ", b"spf=pass ", b"dkim=fail (", b"header.d=", b"Final-Recipient: rfc822; ", b"Status: 5.1.1\n",
    b"Action: failed\n", b"Diagnostic-Code: smtp; 550 ", b"-----BEGIN PGP MESSAGE-----\n",
]  # fmt: skip
FIELDS = [
    b"From", b"Sender", b"To", b"Cc", b"Reply-To", b"Subject", b"Date", b"Message-ID", b"In-Reply-To", b"References",
    b"Return-Path", b"Delivered-To", b"X-Original-From", b"Received", b"Authentication-Results", b"Auto-Submitted",
    b"List-Id", b"Content-Type", b"Content-Disposition", b"Content-Transfer-Encoding", b"Content-ID", b"X-Other",
]  # fmt: skip
KINDS = [
    b"text/plain", b"text/plain; format=flowed", b"text/plain; format=flowed; delsp=yes", b"text/html",
    b"text/calendar", b"text/rtf", b"application/rtf", b"application/ms-tnef; name=winmail.dat",
    b"application/pkcs7-mime; name=smime.p7m", b"message/rfc822", b"message/delivery-status",
    b"application/zip; name=a.zip", b"application/gzip; name=a.xml.gz", b"/", b"",
]  # fmt: skip
SETS = [
    b"utf-8", b"utf-7", b"utf-16", b"iso-2022-jp", b"iso-2022-kr", b"hz", b"gb2312", b"big5", b"euc-jp", b"shift_jis",
    b"x",
]  # fmt: skip
ENCODINGS = [b"", b"base64", b"quoted-printable", b"x-uuencode", b"8bit", b'"base64" (x)']

SOME = st.lists(st.sampled_from(TOKENS), max_size=8).map(b"".join)
MANY = st.builds(
    lambda tokens, share: b"".join(tokens) * (share // max(1, len(b"".join(tokens)))),
    st.lists(st.sampled_from(TOKENS), min_size=1, max_size=3),
    st.sampled_from([200, 5_000, LONGEST]),
)
TEXTS = st.one_of(SOME, MANY, st.binary(max_size=40), st.tuples(SOME, MANY, SOME).map(b"".join))


@st.composite
def headers(draw: st.DrawFn) -> bytes:
    """Some fields, the first of them like those of any mail."""
    lines = [b"From: Ann <ann@x.test>\nTo: sales@office.test\nMessage-ID: <1@x.test>\n"] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(0, 4))):
        lines.append(draw(st.sampled_from(FIELDS)) + draw(st.sampled_from([b": ", b":", b" :"])) + draw(TEXTS) + b"\n")
    return b"".join(lines)


@st.composite
def parts(draw: st.DrawFn, depth: int = 0) -> bytes:
    """One part with the parts in it, from its Content-Type on."""
    if depth < 4 and draw(st.integers(0, 2)) == 0:
        kind = draw(
            st.sampled_from([b"mixed", b"alternative", b"related", b"report", b"digest", b"encrypted", b"signed"])
        )
        boundary = draw(st.one_of(st.sampled_from([b"b", b"bb", b"b%d" % depth]), SOME))
        inner = draw(st.lists(parts(depth + 1), max_size=4))
        between = b"\n--" + draw(st.sampled_from([boundary, boundary, boundary, b"b"])) + b"\n"
        head = b"Content-Type: multipart/%s; boundary=%s\n\n" % (
            kind,
            draw(st.sampled_from([boundary, b'"%s"' % boundary])),
        )
        return head + b"".join(between + one for one in inner) + draw(st.sampled_from([b"", between[:-1] + b"--\n"]))
    kind, letters, encoding = (draw(st.sampled_from(choice)) for choice in (KINDS, SETS, ENCODINGS))
    more = draw(st.sampled_from([b"", b"Content-Disposition: attachment; filename=a.txt\n", b"Content-ID: <a>\n"]))
    head = b"Content-Type: %s; charset=%s\n%s" % (kind, letters, more)
    return head + b"Content-Transfer-Encoding: %s\n\n" % encoding + draw(TEXTS)


MAILS = st.one_of(st.tuples(headers(), parts()).map(b"".join), st.tuples(headers(), TEXTS).map(b"\n".join), TEXTS)


def trouble_with(raw: bytes) -> str:
    """Do with a mail all that is done before its rows are written; return what went wrong, "" if nothing did."""
    began = time.process_time()
    try:
        message = parse(raw, NOW)
        shown = body_of(message)
        if shown.fold is not None:
            folded_parts(shown.html or message.text, shown.fold, is_html=bool(shown.html))
        message_key(message), authorship(message, {"sales@office.test"})
        results_in(raw), read_report(message)
    except Exception as error:
        return repr(error)[:300]
    seconds = time.process_time() - began
    if message.too_much is not None and message.too_much["code"] == "parse_failed":
        return str(message.too_much)
    unsaid = [one for one in message.problems if "%(" in in_words(one) and "%(" not in str(one["values"])]
    return f"{seconds:.1f} s" if seconds > MOST_SECONDS else str(unsaid or "")


@pytest.mark.heavy
@pytest.mark.parametrize("effort", [pytest.param(60, id="cut"), pytest.param(1800, id="whole", marks=pytest.mark.slow)])
def test_whatever_is_parsed_is_little_work(effort: int, say: Say) -> None:
    began, memory, mails, round = time.process_time(), peak_memory(), 0, 0
    troubles: list[str] = []

    def try_one(raw: bytes) -> None:
        nonlocal mails
        mails += 1
        trouble = trouble_with(raw)
        if trouble:
            FOUND.write_bytes(raw)
            troubles.append(trouble)

    while time.process_time() < began + effort:
        some = settings(
            max_examples=100, deadline=None, database=None, derandomize=False, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )(given(MAILS)(try_one))  # fmt: skip
        seed(round)(some)()
        round += 1
        assert not troubles, (troubles, str(FOUND))
    more = peak_memory() - memory
    assert more < MOST_MEMORY
    say(f"parser: {mails} mails made of odd pieces in {effort} s of CPU, none over {MOST_SECONDS:g} s; {more} MB more")


def peak_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

"""Any text up to the limits: little work in the worker itself, whatever strangers wrote, and nothing is lost."""

import io
import os
import sys
import tracemalloc
from datetime import UTC, datetime

import pytest

from mail.incoming import reader
from mail.incoming.reader import LARGE, LONGEST_TEXT, is_heavy, look_at, read_mail
from mail.message.html import clean_html, text_of_html
from mail.message.parse import message_key, parse
from mail.message.quoted import fold_at, folded_parts
from tests.effort import little_work

NOW = datetime(2026, 11, 2, tzinfo=UTC)
HEAD = b"From: a@x.test\nSubject: s\nMessage-ID: <1@x>\nContent-Type: text/%s; charset=utf-8\n\n"


def mail(unit: str, size: int, kind: bytes = b"html") -> bytes:
    return HEAD % kind + unit.encode() * (size // len(unit.encode()))


NASTY = [
    *("& ", "&", "\xa0", "&nbsp;", "\xa0\n", "&eacute;x", "&amp;", "&<b>", "& > ", "&< ", "<textarea><x &", "<", "< "),
    *("a", " ", "\n", "<p>", "<div>", "<b>", "<b><p>", "<a href=x>", "<table><tr><td>", "<!-- -->", "<!--", "<style>"),
    *("<title>&", "<p style='color:red'>x", "<img src=cid:x>", "http://a.test/ ", "\u200b", "<svg>"),
    *("&#x41;", "</b>", "> a\n", "<blockquote>", "<xmp>&", '<a title="&">', "--\n", "-- <br>", "<hr>", "On 1 wrote:\n"),
]  # fmt: skip


@pytest.mark.heavy
@pytest.mark.parametrize("unit", NASTY)
def test_a_page_is_work_by_its_length_and_not_by_its_square(unit):
    """Cleaned, read and folded, nothing of it is said twice."""
    html = unit * (1_000_000 // len(unit))
    with little_work():
        cleaned = clean_html(html)
        folds = fold_at(cleaned, is_html=True), fold_at(html)
        words = text_of_html(html)
    assert len(words) <= len(html) and all(0 < fold < len(html) for fold in folds if fold is not None)


AFTER_A_QUOTE = [
    "<hr>", '<div style="border-top: solid"></div>', "<blockquote></blockquote>", '<div class="gmail_quote"></div>',
]  # fmt: skip


@pytest.mark.heavy
@pytest.mark.parametrize("unit", AFTER_A_QUOTE)
@pytest.mark.parametrize("signature", ["", '<div class="gmail_signature">Bob</div>'], ids=["", "signed"])
def test_many_marks_behind_a_quote_are_little_work(unit, signature):
    body = f'<p>Hi</p>{signature}<blockquote type="cite">q</blockquote>' + unit * 40_000
    with little_work():
        at = fold_at(body, is_html=True)
        parts = folded_parts(body, at, is_html=True)
    assert at == len("<p>Hi</p>") and list(parts) == (["signature", "quoted"] if signature else ["quoted"])


def test_a_long_text_behind_a_thousand_ampersands_is_little_work():
    html = "&" * 1_000 + "x" * 700_000
    with little_work():
        assert clean_html(html) == "&amp;" * 1_000 + "x" * 700_000


MANY = "& " * 1_100


@pytest.mark.parametrize(
    ("html", "cleaned"),
    [
        (f"<p title='a & b'>{MANY}<b>x</b></p>", f'<p title="a &amp; b">{"&amp; " * 1_100}<b>x</b></p>'),
        (f"<p title='{'&' * 400}'>{MANY}</p>", f'<p title="{"&amp;" * 400}">{"&amp; " * 1_100}</p>'),
        (f"{MANY}<title>t</title><textarea>y</textarea>", f"{'&amp; ' * 1_100}y"),
        ("<br>" * 1_001 + "x", "<br>" * 1_001 + "x"),
        ("<p>" + "<b>x</b>" * 600, "<p>" + "<b>x</b>" * 600 + "</p>"),
        # shown as its words
        ("<div>" * 1_001 + "x" + "</div>" * 1_001, '<div style="white-space:pre-wrap">x</div>'),
        ("<b>" * 1_001 + "x", '<div style="white-space:pre-wrap">x</div>'),
        ("<p " + "a " * 6_000 + ">x", '<div style="white-space:pre-wrap">x</div>'),
    ],
)
def test_a_page_with_much_of_one_kind_says_the_same(html, cleaned):
    assert clean_html(html) == cleaned


@pytest.mark.parametrize(
    ("raw", "heavy"),
    [
        (mail("x", 1000), False),
        (mail("x", LARGE + 1), True),
        (mail("\n--b", 400), False),
        (mail("\n--b", 410), True),
        (b"X: " + b"y" * 65536 + b"\n\nx", True),
        (b"X: y\n\n" + b"y" * 65537, False),
        (b"X: y\r\n\r\n" + b"y" * 65537, False),
    ],
)
def test_which_mails_are_read_by_a_process_of_their_own(raw, heavy):
    assert is_heavy(raw) == heavy


def test_a_heavy_mail_reads_like_any_other():
    raw = (
        b"From: a@x.test\nMessage-ID: <1@x>\nDate: Mon, 2 Nov 2020 10:00:00 +0000\n"
        b'Content-Type: multipart/mixed; boundary="b"\n\n'
        b"--b\nContent-Type: text/html\n\n<p onclick=x>Hello &amp; you<p>\n"
        b"--b\nContent-Type: application/pdf; name=a.pdf\n\n" + b"%PDF " * 300_000 + b"\n--b--\n"
    )
    read, plain = read_mail(raw, NOW), parse(raw, NOW)
    assert read.html == clean_html(plain.html or "") and read.is_whole
    assert [part.name for part in read.message.attachments] == ["a.pdf"]
    assert read.message.raw is raw and message_key(read.message) == message_key(plain)
    assert (read.message.text, read.message.problems, read.message.too_much) == (plain.text, plain.problems, None)


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("unit", "size", "kind"),
    [
        ("& ", 3_500_000, b"html"),
        ("<", 2_500_000, b"html"),
        ("words ", 1_200_000, b"plain"),
        ("> a\n", 1_200_000, b"plain"),
    ],
)
def test_what_is_too_large_to_be_shown_is_shown_as_its_words(unit, size, kind):
    read = read_mail(mail(unit, size, kind), NOW)
    assert read.html == "" and not read.is_whole and read.message.too_much is None
    assert 0 < len(read.message.text) <= LONGEST_TEXT
    assert read.message.problems[-1]["code"] == "parse_words_only"


@pytest.mark.parametrize("seconds", ["0.01", "30"])
def test_a_child_that_is_killed_or_broken_loses_no_mail(monkeypatch, seconds):
    """One that never answers within its time, and one that can't even start."""
    monkeypatch.setattr(reader, "CHILD_PATIENCE", float(seconds))
    if seconds == "30":
        monkeypatch.setattr(reader.sys, "executable", "/nowhere/python")
    raw = mail("words ", LARGE + 1, b"plain")
    read = read_mail(raw, NOW)
    assert read.message.too_much is not None and read.message.too_much["code"] == "parse_too_heavy"
    assert read.message.raw is raw and read.message.subject == "s" and read.message.text.startswith("words words")


@pytest.mark.heavy
def test_a_full_disk_is_no_fault_of_a_mail(monkeypatch):
    monkeypatch.setattr(reader.tempfile, "TemporaryFile", lambda: os.fdopen(os.open("/dev/full", os.O_RDWR), "w+b"))
    raw = mail("words ", LARGE + 1, b"plain")
    with pytest.raises(OSError, match="No space left"):
        read_mail(raw, NOW)
    monkeypatch.setattr(reader, "HURRY", reader.CHILD_PATIENCE)
    with pytest.raises(reader.TakesLong) as waits:
        read_mail(raw, NOW, hurry=True)
    assert isinstance(waits.value.__cause__, OSError)


def test_a_child_that_is_asked_to_end_says_nothing_about_its_mail(monkeypatch, tmp_path):
    """systemd asks it together with the worker that waits for it, which goes on for a moment."""
    python, asked = tmp_path / "python", tmp_path / "asked"
    python.write_text(f'#!/bin/sh\n[ -e {asked} ] || {{ touch {asked}; kill -TERM $$; }}\nexec {sys.executable} "$@"\n')
    python.chmod(0o700)
    monkeypatch.setattr(reader.sys, "executable", str(python))
    raw = mail("words ", LARGE + 1, b"plain")
    monkeypatch.setattr(reader, "HURRY", reader.CHILD_PATIENCE)
    with pytest.raises(reader.TakesLong):
        read_mail(raw, NOW, hurry=True)
    asked.unlink()
    assert read_mail(raw, NOW).message.too_much is None


def test_half_an_answer_of_the_child_is_not_believed():
    whole = b"".join(len(said).to_bytes(8, "big") + said for said in (b"I1\n.", b"I2\n."))
    cuts = {len(whole): [1, 2], len(whole) - 1: [1], 9: [], 0: []}
    assert {cut: reader._frames(io.BytesIO(whole[:cut])) for cut in cuts} == cuts


def test_a_page_looks_at_the_beginning_of_a_heavy_mail():
    raw = mail("words & ", 5_000_000)
    tracemalloc.start()
    message = look_at(raw, NOW)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert message.text.startswith("words & words") and peak < 5_000_000

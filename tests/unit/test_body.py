"""What people see of a mail: safe HTML, images that wait, and the quoted part folded."""

import re

import pytest

from mail.message.html import clean_html, text_of_html, text_to_html, with_images
from mail.message.quoted import fold_at
from tests.effort import little_work


@pytest.mark.parametrize(
    ("html", "cleaned"),
    [
        ("<p>plain</p>", "<p>plain</p>"),
        ("<script>alert(1)</script>x", "x"),
        ("<style>p{}</style>x", "x"),
        ("<title>t</title>x", "x"),
        ('<p onclick="x()">a</p>', "<p>a</p>"),
        ("<img src=x onerror=alert(1)>", "<img>"),
        ("<svg onload=alert(1)><script>x</script></svg>a", "a"),
        ("<iframe src=https://x.test></iframe>a", "a"),
        ('<form action="https://x.test"><input name=a></form>', ""),
        ("<meta http-equiv=refresh content=0>a", "a"),
        ("<base href=https://x.test/>a", "a"),
        ('<a href="javascript:alert(1)">a</a>', '<a target="_blank" rel="noopener noreferrer nofollow">a</a>'),
        ('<a href=" java\nscript:alert(1)">a</a>', '<a target="_blank" rel="noopener noreferrer nofollow">a</a>'),
        ('<a href="data:text/html,x">a</a>', '<a target="_blank" rel="noopener noreferrer nofollow">a</a>'),
        ('<a href="/local">a</a>', '<a target="_blank" rel="noopener noreferrer nofollow">a</a>'),
        (
            '<a href="https://x.test/?a=1&b=2">a</a>',
            '<a href="https://x.test/?a=1&amp;b=2" target="_blank" rel="noopener noreferrer nofollow">a</a>',
        ),
        ('<p style="color:red;position:fixed">a</p>', '<p style="color:red">a</p>'),
        ('<p style="background:url(https://x.test/p)">a</p>', "<p>a</p>"),
        ('<p style="color:red;background:url(https://x.test/p)">a</p>', '<p style="color:red">a</p>'),
        ('<p style="background:\\75rl(https://x.test/p)">a</p>', "<p>a</p>"),
        ('<p class="navbar" id="top">a</p>', '<p class="">a</p>'),
        ('<div class="gmail_quote evil" id="Signature">a</div>', '<div class="gmail_quote" id="Signature">a</div>'),
        ('<img src="http://x.test/p.png">', '<img data-src="http://x.test/p.png">'),
        ('<img src="//x.test/p.png">', "<img>"),
        ('<img alt="a > b" src="https://x.test/p">', '<img alt="a &gt; b" data-src="https://x.test/p">'),
        ('<img src="cid:a@b">', '<img data-cid="a@b">'),
        ('<img src="data:image/png;base64,AA==">', '<img src="data:image/png;base64,AA==">'),
        ('<img src="data:image/svg+xml,<svg/>">', "<img>"),
        ('<img data-src="https://x.test/p">', "<img>"),
        ('<img srcset="https://x.test/p 2x">', "<img>"),
        ('<td background="https://x.test/p">a</td>', "a"),
        ('<table background="https://x.test/p"><tr><td>a</td></tr></table>',
         "<table><tbody><tr><td>a</td></tr></tbody></table>"),
        ("<p>unclosed <b>bold", "<p>unclosed <b>bold</b></p>"),
        ("<?xml version='1.0' encoding='utf-8'?><p>a</p>", "<p>a</p>"),
        ("<!-- only a comment -->", ""),
        ("<td>Name: <INPUT type='text' name=n value=\"Ann &amp; Bob\"></td>", "Name:  Ann &amp; Bob "),
        ("<p>Size <input value=XL /></p>", "<p>Size  XL </p>"),
        ('<input type=checkbox checked>Tea<input type="radio" value=1>Milk', " ☑ Tea ☐ Milk"),
        ('a<input type=hidden value=token><input type="password" value="secret"><input data-value=x>', "a"),
        ("a\0b", "ab"),
        ("", ""),
    ],
)  # fmt: skip
def test_html_is_cleaned(html, cleaned):
    assert in_order(clean_html(html)) == in_order(cleaned)


def in_order(html: str) -> str:
    """The attributes of links sorted: the cleaner adds its own in any order."""
    attributes = re.compile(r'[a-z]+="[^"]*"')
    return re.sub(r"<a [^<>]*>", lambda tag: f"<a {sorted(attributes.findall(tag[0]))}>", html)


def test_the_address_of_an_image_is_decoded():
    """RFC 2392: what a URL can't hold is percent-encoded; the header of the part has it as it is."""
    cleaned = clean_html('<img src="cid:image%20one%40x"><img src="cid:100%25">')
    assert with_images(cleaned, {"image one@x": "/1", "100%": "/2"}.get) == '<img src="/1"><img src="/2">'


def test_images_come_back_only_when_asked_for():
    cleaned = clean_html('<img src="cid:logo"><img src="cid:other"><img src="https://x.test/p?a=1&b=2">')
    known = {"logo": '/file/7?"'}.get
    shown = '<img src="/file/7?&quot;"><img data-cid="other">'
    assert with_images(cleaned, known) == shown + '<img data-src="https://x.test/p?a=1&amp;b=2">'
    assert with_images(cleaned, known, remote=True) == shown + '<img src="https://x.test/p?a=1&amp;b=2">'


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("<b>", "&lt;b&gt;"),
        ("see https://x.test/a?b=1&c.", "see {https://x.test/a?b=1&amp;c}."),
        ("<https://x.test>", "&lt;{https://x.test}&gt;"),
        ('https://x.test/"onclick="x', '{https://x.test/}"onclick="x'),
    ],
)
def test_text_becomes_html(text, html):
    link = '<a href="{0}" target="_blank" rel="noopener noreferrer nofollow">{0}</a>'
    before, brace, rest = html.partition("{")
    if brace:
        address, _, after = rest.partition("}")
        html = before + link.format(address) + after
    assert text_to_html(text) == f'<div style="white-space:pre-wrap">{html}</div>'


# In the examples ‖ marks where the folded part begins; none: nothing is folded.
TEXTS = [
    "Just an answer.",
    "",
    "> only\n> quoted",
    "Yes.\n\n‖On Mon, 2 Nov 2026 at 11:00, Ann <a@x.test> wrote:\n> Is it?\n> Really?\n",
    "Yes.\n\n‖On Mon, 2 Nov 2026 at 11:00,\nAnn Somebody\n<a@x.test> wrote:\n\n> Is it?\n",
    "Yes.\n\n‖On Mon, 2 Nov 2026 at 11:00, Ann <a@x.test> wrote:\n\nIs it?\nReally?\n",
    "Ja.\n\n‖Am Montag, dem 02.11.2026 um 11:00 schrieb Ann:\n> Wirklich?\n",
    "Ja.\n\n‖Am 02.11.26 um 11:00 schrieb Ann <a@x.test>:\n> Wirklich?\n",
    "Oui.\n\n‖Le lun. 2 nov. 2026 à 11:00, Ann <a@x.test> a écrit :\n> Vraiment ?\n",
    "Sí.\n\n‖El lun, 2 nov 2026 a las 11:00, Ann (<a@x.test>) escribió:\n> ¿De verdad?\n",
    "Sì.\n\n‖Il giorno lun 2 nov 2026 alle ore 11:00 Ann <a@x.test> ha scritto:\n> Davvero?\n",
    "Ja.\n\n‖Op ma 2 nov 2026 om 11:00 schreef Ann <a@x.test>:\n> Echt?\n",
    "Tak.\n\n‖W dniu 2.11.2026 o 11:00, Ann pisze:\n> Naprawdę?\n",
    "Да.\n\n‖пн, 2 нояб. 2026 г. в 11:00, Анна <a@x.test> написал:\n> Правда?\n",
    "はい。\n\n‖2026年11月2日(月) 11:00 Ann <a@x.test> のメール:\n> 本当?\n",
    "Yes.\n\n‖> Is it?\n> Really?\n",
    "Yes.\n\n‖-----Original Message-----\nFrom: Ann <a@x.test>\nSent: Monday\nTo: Bob\nSubject: Hi\n\nIs it?\n",
    "Ja.\n\n‖-----Ursprüngliche Nachricht-----\nVon: Ann\nGesendet: Montag\nAn: Bob\n\nWirklich?\n",
    "Yes.\n\n‖From: Ann <a@x.test>\nSent: Monday, 2 November 2026 11:00\nTo: Bob\nSubject: Hi\n\nIs it?\n",
    "Ja.\n\n‖Von: Ann <a@x.test>\nGesendet: Montag, 2. November 2026\nAn: Bob\nBetreff: Hallo\n\nWirklich?\n",
    "Yes.\n\n‖-- \nBob\nMy Company Ltd.\n",
    "Yes.\n\n‖-- \nBob\n\nOn Mon, 2 Nov 2026, Ann <a@x.test> wrote:\n> Is it?\n",
    # the answer stands below or between: it must stay in view
    "On Mon, 2 Nov 2026, Ann <a@x.test> wrote:\n> Is it?\n\nYes, it is.\n",
    "On Mon, 2 Nov 2026, Ann <a@x.test> wrote:\n> Is it?\n\nYes, it is.\n\n‖-- \nBob\n",
    "> Is it?\nYes.\n> Really?\nReally.\n",
    "> Is it?\nYes.\n\n‖> Really?\n> Or not?\n",
    # ordinary words that only look like it
    "Look at what he wrote:\n\nSomething.",
    "From: the bottom of my heart\nthanks a lot",
    "At 10:00 my boss wrote to me, fine.\nBye",
    "a -- b\n--- \nc",
    "Dear Ann,\nTo: be or not to be\nBye",
    "We go by train:\n\nFrom: Berlin\nTo: Hamburg\nDate: 3 May\n\nPlease book it.",
    "The parcel:\nVon: Lager Nord\nAn: Filiale 3\nDatum: 3.5.2026 10:00\nBitte abholen.",
    "De: Lyon\nA: Paris\nDate: lundi\n\nMerci de réserver.",
    "See my list\n--\n- apples\n- pears\n",
    "See my list\n-- \n1. apples\n2. pears\n",
    "One.\n--\nAnd another thing, which I wanted to say since we last met at the fair in Cologne in May.\n",
    "Prices\n--\n" + "a line\n" * 20,
    "Hi\n> From: Ann <a@x.test>\n> Sent: Monday\n> To: Bob\n> Subject: x\n>\n> How many?\nFive.\n> When?\nMonday.\n",
    "Hi\n\nFrom: Ann <a@x.test>\nSent: Monday\nTo: Bob\nSubject: x\n\n> How many?\nFive.\n> When?\nMonday.\n",
    "My answers are below.\n\nFrom: Ann <a@x.test>\nSent: Monday\nTo: Bob\nSubject: x\n\nHow many?\nFive.\n",
    "Siehe unten.\n\n-----Ursprüngliche Nachricht-----\nVon: Ann <a@x.test>\n\nWie viele?\nFünf.\n",
    "Hello\n-----Original Message-----\n> How many?\nFive.\n",
    "On 3 May Ann wrote:\nplease send the list.\n\nI did so.",
    "Yes.\n\n-- \nBob\n\n> Is it?\n\nAnd one more thing: no.\n",
    "From: Ann\nTo: Bob\nDate: today\nSubject: lunch\nThat is how you write a letter.",
    "Hi.\n\n‖_____\nFrom: Ann\nSent: Monday\nTo: Bob\nSubject: Hi\n\nIs it?\n".replace("‖_____\n", "_____\n‖"),
    "Yes.\n\n‖--\nBob Builder\n+49 30 123\n",
    "Yes.\n\n‖--\nBob\nbob@y.example\n",
    "Yes.\n\n‖--\nBob\nwww.y.example\n\nOn Mon, 2 Nov 2026, Ann <a@x.test> wrote:\n> Is it?\n",
    "Yes.\n\n‖--\nBob\nPhone 555-123-4567\n",
    "Yes.\n\n-- \nBob\nBob Ltd\n\nPS: three, please.\n",
    "Yes.\n\n‖-- \nBob\nPSI Ltd\n",
    "My comments are marked.\n\nFrom: Ann <a@x.test>\nSent: Monday 11:00\nTo: Bob\n\nHow many?\n[Five.]\n",
    # what a person writes out, as a program would write it
    "On 3 May 2026 at 10:30 your colleague wrote:\nWe deliver on Monday.\n\nThat did not happen!",
    "Order:\n--\nPlease send 300 chairs\nto Main Street 5",
    "Our offer:\n--\nPrice: 3 €\nDelivery: in May\nPhone: +49 30 123456\n",
    "Hello\n--\nThe parcel did not come.\n+49 30 123456\n",
    "Hello\n--\nIs it ready?\nwww.y.example\n",
    "Yes.\n\n‖--\nBob Builder\nBuilder Ltd.\nTel.: +49 30 123\nWeb: www.y.example\n",
    "Ja.\n\n‖--\nBob\nBau GmbH\nGeschäftsführer: Bob Bauer\nSitz der Gesellschaft: Berlin\nwww.bau.example\n",
    "Send it this way:\n\nFrom: sales@ours.example\nTo: bob@y.example\nSubject: Lunch at 10:30\n\nby Friday, please.",
    "Use these:\n\nFrom: sales@ours.example\nTo: bob@y.example\nDate: tomorrow\nSubject: Hello\n\nand confirm.",
    "Yes.\n\n_____\n‖From: sales@ours.example\nTo: bob@y.example\nElküldve: 10:30\nSubject: Hello\n\nIs it?",
    "Is this all right?\n\n_____\nFrom: sales@ours.example\nTo: bob@y.example\nSubject: Hello\n\nDear Bob, at 10:30 …",
    "نعم\n\n‖في الجمعة، 27 نوفمبر 2026 في 9:00 ص كتب Ann <a@x.test>:\n> كم؟\n",
    "כן\n\n‖\u202bב-27 בנוב׳ 2026 מאת \u202aAnn\u202c\u200f <\u202aa@x.test\u202c\u200f>:\u202c\n\n> כמה?\n",
    "Hi,\nam 3.5. um 10:30 schrieb Ihr Kollege max@x.example:\nWir liefern am Montag.\n\nDas ist nicht passiert!",
    # what is passed on, and quotes into which somebody wrote
    "FYI\n\n---------- Forwarded message ---------\nFrom: Ann <a@x.test>\nDate: Mon, 2 Nov 2026 11:00\n\n300 chairs.",
    "My answers are below.\n\nOn Mon, 2 Nov 2026, Ann <a@x.test> wrote:\n> How many?\n> Five.\n",
    "Hallo,\ns.u.\n\nVon: Ann <a@x.test>\nGesendet: Montag, 2. November 2026\nAn: Bob\n\nWie viele?\nFünf.\n",
    "以下にお答えします。\n\n差出人: Ann <a@x.test>\n送信日時: 2026年11月2日\n宛先: Bob\n\n何脚ですか？\n300脚です。\n",
    "Hi.\n\nFrom: Ann <a@x.test>\nSent: Monday, 2 November 2026 11:00\nTo: Bob\n\nHow many?\n[Bob Builder] Five.\n",
    "Hi.\n\nFrom: Ann <a@x.test>\nSent: Monday, 2 November 2026 11:00\nTo: Bob\n\nHow many?\n>>> 5\nWhen?\n>>> Now",
    "Hi.\n\nFrom: Ann <a@x.test>\nSent: Monday, 2 November 2026 11:00\nTo: Bob\n\nHow many?\n--> 5\nWhen?\n==> Now",
]


@pytest.mark.parametrize("example", TEXTS)
def test_the_quoted_part_of_text_is_folded(example):
    shown, mark, _ = example.partition("‖")
    body = example.replace("‖", "")
    assert fold_at(body, author="Bob Builder") == (len(shown) if mark else None)


HTMLS = [
    "<p>Just an answer.</p>",
    '<div dir="ltr">Yes.</div><br>‖<div class="gmail_quote"><div class="gmail_attr">On Mon, Ann wrote:<br></div>'
    "<blockquote>Is it?</blockquote></div>",
    '<p>Yes.</p>‖<div class="moz-cite-prefix">On 2/11, Ann wrote:</div><blockquote type="cite">Is it?</blockquote>',
    '<p>Yes.</p>‖<div id="appendonsend"></div><hr><div id="divRplyFwdMsg"><b>From:</b> Ann</div><div>Is it?</div>',
    "<p>Yes.</p>‖<blockquote cite='mid:1@x'>Is it?</blockquote>",
    "<p>Yes.</p>‖<div>On 2 Nov 2026, at 11:00, Ann &lt;a@x.test&gt; wrote:</div><blockquote>Is it?</blockquote>",
    '<p>Yes.</p>‖<div class="yahoo_quoted"><div>On Monday, Ann wrote:</div><div>Is it?</div></div>',
    '<p>Yes.</p>‖<div style="border-top:solid #E1E1E1 1.0pt"><p><b>From:</b> Ann<br><b>Sent:</b> Monday<br>'
    "<b>To:</b> Bob<br><b>Subject:</b> Hi</p></div><p>Is it?</p>",
    "<p>Ja.</p>‖<hr><p><b>Von:</b> Ann<br><b>Gesendet:</b> Montag<br><b>An:</b> Bob<br><b>Betreff:</b> Hi</p>Ja?",
    "<p>Ja.</p>‖<p><b>Sent:</b> Monday, 2 November 2026<br><b>From:</b> Ann &lt;a@x.test&gt;<br><b>To:</b> Bob</p>Na?",
    '<p>Yes.</p>‖<div class="gmail_signature">Bob</div>',
    '<p>Yes.</p>‖<div class="gmail_signature">Bob</div><div class="gmail_quote"><blockquote>Is it?</blockquote></div>',
    "<p>Yes.</p>‖<br>-- <br>Bob",
    # the answer stands below or between
    "<blockquote>Is it?</blockquote><p>Yes.</p>",
    '<div class="gmail_quote"><blockquote>Is it?</blockquote></div><p>Yes.</p>',
    "<blockquote>Is it?</blockquote><p>Yes.</p><blockquote>Really?</blockquote><p>Really.</p>",
    "<blockquote>Is it?</blockquote><p>Yes.</p>‖<blockquote type='cite'>A <blockquote>so</blockquote> on</blockquote>",
    '<p>Yes.</p><blockquote>Is it?</blockquote><p>More.</p>‖<div class="moz-signature">-- <br>Bob</div>',
    "<blockquote cite='mid:1@x'>Is it?</blockquote><p>Yes.</p>‖<blockquote cite='mid:1@x'>Really?</blockquote>",
    '<p>Look:</p><div class="gmail_quote"><div>Please send two.</div></div><p>What do you think?</p>',
    '<p>Yes.</p>‖<div class="yahoo_quoted"><div>Is it?</div></div><div>&nbsp;</div>',
    '<p>Yes.</p><div id="Signature"><div>Bob</div></div><p>And three chairs.</p>',
    '<p>Yes.</p>‖<div id="Signature"><div>Bob</div></div><div id="appendonsend"></div><p>Is it?</p>',
    '<p>Yes.</p><blockquote type="cite">Is it?</blockquote><div class="moz-signature">Bob</div><p>And three.</p>',
    '<p>See <span class="signature">the signature</span> of the contract.</p>',
    '<p>My answers are below.</p><div id="divRplyFwdMsg"><b>From:</b> Ann</div><p>How many? Five.</p>',
    '<p>Inline.</p><div class="gmail_quote"><blockquote class="gmail_quote">How many? <b>Five.</b></blockquote></div>',
    # nothing is quoted
    '<p>Yes.</p><div id="appendonsend"></div>',
    # a rule or a border is not yet a quote
    "<p>One</p><hr><p>Two</p>",
    '<p>One</p><div style="border-top:solid red 1px">Two</div>',
    "<blockquote>only quoted</blockquote>",
    # what stands below a signature is no part of it
    '<p>Hi</p>‖<div class="signature">Bob<blockquote cite="mid:1@x">Is it?</blockquote></div>',
    '<p>Hi</p><div id="Signature"><div>Bob</div></div><div>PS: 300 chairs, please.</div>',
    '<p>Hi</p><div class="gmail_signature">Bob</div><p>300 chairs</p>‖<div class="gmail_quote">'
    "<blockquote>a</blockquote></div>",
    '<p>Hi</p><div class="moz-signature">-- <br>Bob</div><p>Yes.</p>‖<div class="moz-signature">-- <br>Bob</div><br>',
    '<p>Hi</p><blockquote class="own">300 chairs</blockquote>',
    '<p>Print this:</p><blockquote class="gmail_quote">300 chairs</blockquote>‖<div class="gmail_quote"><div class='
    '"gmail_attr">On Mon, Ann wrote:<br></div><blockquote class="gmail_quote">What text?</blockquote></div>',
    '<p>So:</p><div class="moz-cite-prefix">On 2/11/26, Ann wrote:</div><blockquote cite="mid:1@x">Is it?</blockquote>'
    "<blockquote>300 chairs</blockquote>",
    '<p>Hi</p><div class="gmail_signature">Bob<br><br>PS: 300 chairs</div>',
    '<p>Hola</p><div id="Signature"><div>Bob</div><div>P.D.: 300 sillas</div></div>',
    '<p>FYI</p><div class="gmail_signature">Bob</div><blockquote type="cite"><div>Begin forwarded message:</div>300'
    "</blockquote>",
    # in doubt nothing is folded
    "<p>The address:</p><blockquote style='margin:0 0 0 40px;border:none'>Main Road 1</blockquote>",
    "<p>Yes.</p><blockquote>Is it?</blockquote>",
    "<p>Hi.</p><p>On 2/11 Ann wrote:</p><p>One</p><p>Two</p><p>Three</p><p>Four</p><blockquote>Is it?</blockquote>",
    "<p>By train:</p><hr><p>From: Berlin<br>To: Hamburg<br>Date: 3 May</p><p>Please book it.</p>",
    "<p>A list<br>-- <br>- apples<br>- pears</p>",
    "<p>Order:<br>--<br>Please send 300 chairs<br>to Main Street 5</p>",
    "<p>Yes.</p>‖<br>--<br>Bob<br>+49 30 1234567",
    "<p>So:</p><p>From: sales@ours.example<br>To: bob@y.example<br>Subject: Hello</p><p>by Friday, please.</p>",
    "<p>My answers are below.</p><hr><p>From: Ann<br>Sent: Monday<br>To: Bob<br>Subject: Hi</p><p>How many? Five.</p>",
    "",
]


@pytest.mark.parametrize("example", HTMLS)
def test_the_quoted_part_of_html_is_folded(example):
    cleaned, body = (clean_html(html) for html in (example, example.replace("‖", "")))
    shown, mark, _ = cleaned.partition("‖")
    assert fold_at(body, is_html=True) == (len(shown) if mark else None)


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>a</p><p>b</p>", "a\nb"),
        ("a<br>b", "a\nb"),
        ("<STYLE>x</STYLE>a", "a"),
        ("<script>never closed", ""),
        ("1 &lt; 2 < 3", "1 < 2 < 3"),
        ("&nbsp;a&nbsp;", "a"),
    ],
)
def test_words_of_html(html, text):
    assert text_of_html(html) == text


HOSTILE = {
    "On On On": "On " * 100_000,
    "attributions": "On 1 wrote:\n" * 30_000,
    "open tags": "<" * 300_000,
    "open styles": "<style>" * 50_000,
    "images": '<img src="' * 30_000,
    "blockquotes": "<blockquote>a" * 20_000,
    "closed quotes": "<blockquote></blockquote>a" * 20_000,
    "quoted lines": ">\n" * 150_000,
    "from lines": "From: a\n" * 50_000,
    "rules": "<hr><p>From: a</p>" * 10_000,
    "one line": "a:" * 150_000,
    "links": "https://" * 50_000,
    "divs": "<div class=" * 30_000,
    "signatures": "-- \n" * 80_000,
    "nested": "<div>" * 200_000,
    "nested lists": "<ul><li>" * 100_000,
    "nested and said": "<div>a" * 900 + "<p>b" * 100_000,
    "forgotten formatting": "<p>" + "".join(f"<font color={n}>" for n in range(900)) + "</p>" + "<p>x</p>" * 900,
    "attributes": "<p " + " ".join(f"a{n}=1" for n in range(300_000)) + ">",
    "attributes in quotes": "<p " + " ".join(f'a{n}=">"' for n in range(200_000)) + ">",
    "tables": "<table><tr><td>" * 30_000,
    "entities": "&#" * 150_000,
    "quotes": "<a \"'" * 100_000,
    "fields": "<input " * 50_000 + ">" + '<input value="a' * 50_000,
}


@pytest.mark.heavy
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bodies_are_little_work(name):
    body = HOSTILE[name]
    with little_work():
        cleaned = clean_html(body)
        fold_at(body), fold_at(body, is_html=True), fold_at(cleaned, is_html=True)
        text_of_html(body), text_to_html(body), with_images(cleaned, {}.get)

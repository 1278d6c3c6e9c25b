"""What mail programs quote and sign, as it comes through our cleaner: folded under its own name; words stay in view."""

from datetime import UTC, datetime

import pytest

from mail.incoming.reader import body_of
from mail.message.html import clean_html, text_of_html
from mail.message.parse import parse
from mail.message.quoted import fold_at, folded_parts

# program, what came; the words that are shown, those of the signature, those that are quoted ("…": they begin so)
HTMLS = [
    ("Gmail", '<div dir="ltr">Yes.<div><br clear="all"></div><span class="gmail_signature_prefix">-- </span><br>'
     '<div dir="ltr" class="gmail_signature" data-smartmail="gmail_signature">Bob Builder<br>+49 30 1</div></div><br>'
     '<div class="gmail_quote gmail_quote_container"><div dir="ltr" class="gmail_attr">On Mon, Nov 2, 2026 at 11:00 '
     'Ann &lt;<a href="mailto:a@x.test">a@x.test</a>&gt; wrote:<br></div><blockquote class="gmail_quote" '
     'style="margin:0px 0px 0px 0.8ex;border-left:1px solid rgb(204,204,204)">Is it?</blockquote></div>',
     "Yes.", "--\nBob Builder\n+49 30 1", "On Mon, Nov 2, 2026 at 11:00 Ann <a@x.test> wrote:\nIs it?"),
    ("Gmail, German, answered between", '<div dir="ltr"><div class="gmail_quote"><div class="gmail_attr">Am Mo., 2. '
     'Nov. 2026 um 11:00 Uhr schrieb Ann &lt;a@x.test&gt;:<br></div><blockquote class="gmail_quote">Wie viele?'
     '</blockquote></div><div>Fünf.</div><div class="gmail_quote"><blockquote class="gmail_quote">Wann?</blockquote>'
     "</div><div>Montag.</div></div>",
     "Am Mo., 2. Nov. 2026 um 11:00 Uhr schrieb Ann <a@x.test>:\nWie viele?\nFünf.\nWann?\nMontag.", "", ""),
    ("Outlook for Windows", '<div class="WordSection1"><p class="MsoNormal">Yes.<o:p></o:p></p><p class="MsoNormal">'
     '<o:p>&nbsp;</o:p></p><div><div style="border:none;border-top:solid #E1E1E1 1.0pt;padding:3.0pt 0in 0in 0in"><p '
     'class="MsoNormal"><b>From:</b> Ann &lt;a@x.test&gt; <br><b>Sent:</b> Monday, November 2, 2026 11:00 AM<br><b>To:'
     "</b> Bob<br><b>Subject:</b> Chairs<o:p></o:p></p></div></div><p class=MsoNormal>Is it?<o:p></o:p></p></div>",
     "Yes.", "", "From: Ann <a@x.test>\nSent: Monday, November 2, 2026 11:00 AM\nTo: Bob\nSubject: Chairs\nIs it?"),
    ("Outlook on the web", '<div class="elementToProof">Ja.</div><div id="Signature"><div>Bob</div></div><div '
     'id="appendonsend"></div><hr style="display:inline-block;width:98%" tabindex="-1"><div id="divRplyFwdMsg" '
     'dir="ltr"><font face="Calibri, sans-serif"><b>Von:</b> Ann &lt;a@x.test&gt;<br><b>Gesendet:</b> Montag, 2. '
     "November 2026 11:00<br><b>An:</b> Bob<br><b>Betreff:</b> Stühle</font><div>&nbsp;</div></div><div>Na?</div>",
     "Ja.", "Bob", "Von: Ann <a@x.test>…"),
    ("Outlook for iOS", '<div dir="ltr">Oui.</div><div id="ms-outlook-mobile-signature" dir="ltr"><div></div>Envoyé à '
     'partir d’<a href="https://aka.ms/o0ukef">Outlook pour iOS</a></div><hr style="display:inline-block;width:98%">'
     '<div id="divRplyFwdMsg" dir="ltr"><font face="Calibri"><b>De :</b> Ann &lt;a@x.test&gt;<br><b>Envoyé :</b> lundi'
     " 2 novembre 2026 11:00<br><b>À :</b> Bob<br><b>Objet :</b> Chaises</font></div><div>Vraiment ?</div>",
     "Oui.", "Envoyé à partir d’Outlook pour iOS", "De : Ann <a@x.test>…"),
    ("Outlook for Mac", '<div style="font-family:Aptos">Yes.</div><div id="mail-editor-reference-message-container">'
     '<div class="ms-outlook-mobile-reference-message"><div style="border-width:1pt medium medium;border-style:solid '
     'none none;padding:3pt 0in 0in"><b>From: </b>Ann &lt;a@x.test&gt;<br><b>Date: </b>Monday, 2 November 2026 at 11:00'
     "<br><b>To: </b>Bob<br><b>Subject: </b>Chairs</div>Is it?</div></div>",
     "Yes.", "", "From: Ann <a@x.test>…"),
    ("Apple Mail", '<html><body style="overflow-wrap:break-word">Yes.<br id="lineBreakAtBeginningOfMessage"><div><br>'
     "<blockquote type=\"cite\"><div>On 2. Nov 2026, at 11:00, Ann &lt;a@x.test&gt; wrote:</div><br><div>Is it?</div>"
     "</blockquote></div><br></body></html>",
     "Yes.", "", "On 2. Nov 2026, at 11:00, Ann <a@x.test> wrote:\nIs it?"),
    ("iPhone", '<html><body dir="auto">Yes.<br id="lineBreakAtBeginningOfSignature"><div dir="ltr">Sent from my iPhone'
     '</div><div dir="ltr"><br><blockquote type="cite">On Nov 2, 2026, at 11:00, Ann &lt;a@x.test&gt; wrote:<br><br>'
     '</blockquote></div><blockquote type="cite"><div dir="ltr">Is it?</div></blockquote></body></html>',
     "Yes.\nSent from my iPhone", "", "On Nov 2, 2026, at 11:00, Ann <a@x.test> wrote:\nIs it?"),
    ("Thunderbird", '<p>Yes.</p><div class="moz-cite-prefix">Am 02.11.26 um 11:00 schrieb Ann:<br></div><blockquote '
     'type="cite" cite="mid:1@x.test"><p>Wirklich?</p></blockquote><pre class="moz-signature" cols="72">-- \nBob'
     "\nFirma GmbH</pre>",
     "Yes.", "-- Bob Firma GmbH", "Am 02.11.26 um 11:00 schrieb Ann:\nWirklich?"),
    ("Thunderbird, answered below", '<div class="moz-cite-prefix">On 2/11/26, Ann wrote:<br></div>'
     '<blockquote type="cite" cite="mid:1@x">Is it?</blockquote>It is.<div class="moz-signature">-- <br>Bob</div>',
     "On 2/11/26, Ann wrote:\nIs it?\nIt is.", "--\nBob", ""),
    ("Yahoo", '<div class="ydp1yahoo-style-wrap"><div dir="ltr">Yes.</div></div><div id="yahoo_quoted" '
     'class="yahoo_quoted"><div>On Monday, November 2, 2026 at 11:00 AM GMT+1, Ann &lt;a@x.test&gt; wrote:</div><div>'
     "Is it?</div></div>",
     "Yes.", "", "On Monday, November 2, 2026…"),
    ("GMX and web.de", '<div style="font-family: Verdana;font-size: 12.0px;"><div>Ja.</div><div class="signature">Bob'
     '</div><div>&nbsp;<div name="quote" style="margin:10px 5px 5px 10px; padding: 10px 0 10px 10px; border-left:2px '
     'solid #C3D9E5;"><div style="margin:0 0 10px 0;"><b>Gesendet:</b>&nbsp;Montag, 02. November 2026 um 11:00 Uhr<br/>'
     "\n<b>Von:</b>&nbsp;&quot;Ann&quot; &lt;a@x.test&gt;<br/>\n<b>An:</b>&nbsp;bob@y.test<br/>\n<b>Betreff:</b>&nbsp;"
     'Stühle</div><div name="quoted-content">Wirklich?</div></div></div></div>',
     "Ja.", "Bob", "Gesendet: Montag, 02. November 2026 um 11:00 Uhr…"),
    ("GMX, words below", '<div><div>Ja.</div><div><div name="quote" style="border-left:2px solid #C3D9E5;"><div><b>Von:'
     "</b> Ann &lt;a@x.test&gt;<br/><b>Gesendet:</b> Montag, 02. November 2026 um 11:00 Uhr<br/><b>An:</b> b@y.test"
     '</div><div name="quoted-content">Na?</div></div></div><div>300 Stühle</div></div>',
     "Ja.\nVon: Ann <a@x.test>\nGesendet: Montag, 02. November 2026 um 11:00 Uhr\nAn: b@y.test\nNa?\n300 Stühle",
     "", ""),
    ("Notes", '<font size=2 face="sans-serif">Yes.</font><br><br><br><br><font size=1 color=#5f5f5f face="sans-serif">'
     'From: &nbsp; &nbsp;</font><font size=1 face="sans-serif">Ann/Company</font><br><font size=1 color=#5f5f5f>To: '
     '&nbsp;</font><font size=1>Bob/Company@Company</font><br><font size=1>Date: &nbsp;</font><font size=1>2.11.2026 '
     "11:00</font><br><font size=1>Subject: &nbsp;</font><font size=1>Chairs</font><br><hr noshade><br>Is it?",
     "Yes.", "", "From:    Ann/Company…"),
    ("Notes, Spanish", '<p>Sí.</p><table><tr><td><font color="#555">De:</font></td><td>Ana &lt;a@x.test&gt;</td></tr>'
     "<tr><td>Para:</td><td>b@y.test</td></tr><tr><td>Fecha:</td><td>02/11/2026 11:00</td></tr><tr><td>Asunto:</td><td>"
     "Sillas</td></tr></table><p>¿De verdad?</p>",
     "Sí.", "", "De:Ana <a@x.test>…"),
    ("Roundcube", '<p>Yes.</p><div id="_rc_sig">-- <br>Bob</div><p id="reply-intro">On 2026-11-02 11:00, Ann wrote:</p>'
     '<blockquote type="cite">Is it?</blockquote>',
     "Yes.", "--\nBob", "On 2026-11-02 11:00, Ann wrote:\nIs it?"),
    ("Proton", '<div>Yes.</div><div class="protonmail_signature_block">Sent with Proton Mail.</div><div '
     'class="protonmail_quote">On Monday, November 2nd, 2026 at 11:00, Ann &lt;a@x.test&gt; wrote:<br><blockquote '
     'class="protonmail_quote" type="cite">Is it?</blockquote></div>',
     "Yes.", "Sent with Proton Mail.", "On Monday, November 2nd, 2026 at 11:00…"),
    ("Proton, no signature", '<div>Yes.</div><div class="protonmail_signature_block"><div></div></div><div '
     'class="protonmail_quote">On Monday, Ann &lt;a@x.test&gt; wrote:<br>Is it?</div>',
     "Yes.", "", "On Monday, Ann <a@x.test> wrote:\nIs it?"),
    ("Zoho", '<div>Yes.</div><div class="zmail_extra"><br><div>---- On Mon, 02 Nov 2026 11:00:00 +0100 <b>Ann</b> '
     "wrote ---</div><br><blockquote>Is it?</blockquote></div>",
     "Yes.", "", "---- On Mon, 02 Nov 2026 11:00:00 +0100 Ann wrote ---\nIs it?"),
    ("Samsung", '<div dir="auto">Ja.</div><div id="composer_signature"><div style="font-size:85%">Von meinem Galaxy '
     'gesendet</div></div><div><br></div><div align="left"><div>-------- Ursprüngliche Nachricht --------</div><div>'
     "Von: Ann &lt;a@x.test&gt; </div><div>Datum: 02.11.26  11:00  (GMT+01:00) </div><div>An: b@y.test </div><div>"
     "Betreff: Stühle </div><div><br></div></div><div>Na?</div>",
     "Ja.", "Von meinem Galaxy gesendet", "-------- Ursprüngliche Nachricht --------\nVon: Ann <a@x.test>…"),
    # words that only look like it
    ("a form filled in by hand", "<div><b>From:</b> Berlin<br><b>To:</b> Hamburg<br><b>Date:</b> 3 May</div><p>Two "
     "people.</p>", "From: Berlin\nTo: Hamburg\nDate: 3 May\nTwo people.", "", ""),
    ("dashes above a list", "<p>We need</p><p>-- </p><ul><li>- chairs</li><li>- tables</li></ul>",
     "We need\n--\n- chairs\n- tables", "", ""),
    ("a quote to speak about", "<p>You wrote:</p><blockquote style='color:red'>Is it?</blockquote>"
     "<p>It is.</p>", "You wrote:\nIs it?\nIt is.", "", ""),
    ("answers in red", '<p>My answers are in red.</p><div style="border-top:solid #E1E1E1 1.0pt"><p><b>From:</b> Ann'
     '<br><b>Sent:</b> Monday<br><b>To:</b> Bob<br><b>Subject:</b> Chairs</p></div><p>How many? <b style="color:red">5'
     "</b></p>", "My answers are in red.\nFrom: Ann\nSent: Monday\nTo: Bob\nSubject: Chairs\nHow many? 5", "", ""),
]  # fmt: skip
TEXTS = [
    ("above the quote", "Yes.\n\n", "-- \nBob\n\n", "On Mon, 2 Nov 2026, Ann <a@x.test> wrote:\n> Is it?\n"),
    (
        "a quote without marks",
        "Ja.\n\n",
        "-- \nBob\n\n",
        "Von: Ann <a@x.test>\nGesendet: Montag 11:00\nAn: Bob\n\nNa?\n",
    ),
    ("no quote", "Yes.\n\n", "--\nBob Builder\n+49 30 123\n", ""),
    ("only a quote", "Yes.\n\n", "", "> Is it?\n> Really?\n"),
]


@pytest.mark.parametrize(("program", "html", "shown", "signature", "quoted"), HTMLS, ids=[one[0] for one in HTMLS])
def test_a_signature_and_a_quote_of_html(program: str, html: str, shown: str, signature: str, quoted: str) -> None:
    body = clean_html(html)
    at = fold_at(body, is_html=True)
    parts = folded_parts(body, at, is_html=True) if at is not None else {}
    found = {name: text_of_html(body[start:end]) for name, (start, end) in parts.items()}
    assert text_of_html(body[:at]) == shown
    assert found.get("signature", "") == signature
    said = found.get("quoted", "")
    assert said.startswith(quoted[:-1]) and said if quoted.endswith("…") else said == quoted
    assert all(body[start:end] for start, end in parts.values())


@pytest.mark.parametrize(("case", "shown", "signature", "quoted"), TEXTS)
def test_a_signature_and_a_quote_of_text(case: str, shown: str, signature: str, quoted: str) -> None:
    body = shown + signature + quoted
    at = fold_at(body)
    assert at == len(shown)
    parts = {name: body[start:end] for name, (start, end) in folded_parts(body, at).items()}
    assert parts == {name: text for name, text in (("signature", signature), ("quoted", quoted)) if text}


FORM = "From: Ann <a@x.test>\nTo: sales@office.test\nDate: 2.11.2026 11:00\nSubject: Chairs\n"


@pytest.mark.parametrize(
    ("subject", "kind", "body", "folded"),
    [
        ("Contact form", "plain", f"A customer writes\n\n{FORM}\nPlease send two.", ""),
        ("Contact form", "html", f"<p>A customer writes<p>{FORM.replace(chr(10), '<br>')}<p>Please send two.", ""),
        ("Re: Chairs", "plain", f"Yes.\n\n{FORM}\nIs it?", f"{FORM}\nIs it?"),
        ("[EXT] AW[2]: Chairs", "plain", f"Ja.\n\n{FORM}\nNa?", f"{FORM}\nNa?"),
        ("Chairs\nIn-Reply-To: <1@x.test>", "plain", f"Yes.\n\n{FORM}\nIs it?", f"{FORM}\nIs it?"),
        ("Antwort: Chairs", "plain", "Yes.\n\n> Is it?", "> Is it?"),
        ("Chairs", "plain", "It says:\n\n> npm ERR! code 1", ""),
        ("Chairs", "plain", "Hi.\n\n-- \nBob\n", "-- \nBob\n"),
        ("Chairs", "html", '<p>Print:</p><blockquote class="gmail_quote">Hello</blockquote>', ""),
        ("Chairs", "html", '<p>It says:</p><blockquote type="cite">Hello</blockquote>', ""),
        ("[EXT] WG: AW: Chairs\nIn-Reply-To: <1@x.test>", "plain", f"z.K.\n\n-- \nBob\n\n{FORM}\nNa?", ""),
        ("Fwd: Chairs", "html", '<p>FYI</p><div class="gmail_quote">Is it?</div>', ""),
        ("Re: Fwd: Chairs", "html", '<p>Yes</p><div class="gmail_quote">Hm</div>', '<div class="gmail_quote">Hm</div>'),
    ],
)
def test_only_what_a_mail_answers_is_folded_as_a_quote(subject: str, kind: str, body: str, folded: str) -> None:
    raw = f"From: web@office.test\nSubject: {subject}\nContent-Type: text/{kind}\n\n{body}"
    read = body_of(parse(raw.encode(), datetime(2026, 11, 2, tzinfo=UTC)))
    shown = read.html or read.message.text
    assert (shown[read.fold :] if read.fold is not None else "") == folded


def test_a_signature_below_the_quote_of_text() -> None:
    quoted, signature = "On Mon, 2 Nov 2026, Ann <a@x.test> wrote:\n> Is it?\n\n", "-- \nBob\n"
    parts = folded_parts(quoted + signature, 0)
    assert parts == {"quoted": (0, len(quoted)), "signature": (len(quoted), len(quoted + signature))}

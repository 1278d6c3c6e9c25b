"""Absence notes without a header that says so: a table of subjects."""

import pytest

from mail.message.absence import is_absence_subject

AWAY = """
Ārpus biroja: piedāvājums
Kontorist väljas: pakkumine
Izvan ureda: ponuda
Ikke til stede: tilbud
Out of Office
Out of office: Your order
Out-of-Office: Your order
Out-of-office reply
OUT_OF_OFFICE
Out\u2011of\u2011Office: Offer
Out of  the   office
OutOfOffice
OOO: Re: your offer
[Out of office] Your order
(Out of Office) Your order
[EXT] Out-of-Office: Your order
[EXTERNAL] [SPAM?] Automatic reply: Your order
EXTERNAL: Automatic reply: Your order
Caution: Automatic reply: Your order
*** Out of office *** Re: Offer
«Out of office» until Monday
"Out of office" Ann Lee
- Out of office -
Auto: Out of office
AUTO: Ann Lee is out of the office (returning 05/03/2027)
Ann Lee is out of the office.
Ann Lee is currently out of the office until Monday
Automatic reply: Offer
Automatic-Reply
Auto-Reply: Offer
Auto Reply: Offer
AutoReply
Auto-Response: Offer
Automated response: we got your mail
I'm out of the office
I am out of office until 5 May
Currently out of office
I am away from my mail
On vacation: back on Monday
Vacation reply
Automatische Antwort: Angebot
Auto-Antwort: Angebot
Automatische E-Mail-Antwort: Angebot
Abwesenheitsnotiz: Angebot
Abwesenheits-Notiz
[Abwesenheit] Angebot
Abwesend bis 3. Mai
Ann Lee ist derzeit nicht im Büro
Automatisch antwoord: Offerte
Automatische reactie: Offerte
Afwezigheidsbericht
Réponse automatique : Devis
REPONSE-AUTOMATIQUE: Devis
[Réponse automatique] Devis
Message d'absence
Notification d'absence : Devis
Message d\u2019absence
Absente du bureau
Respuesta automática: Pedido
Respuesta-automatica
Fuera-de-la-oficina
Ausencia de la oficina: Pedido
Assenza dall'ufficio
Automaattivastaus: Tarjous
Risposta automatica: Ordine
Nieobecność w biurze: Oferta
Automatické odpovědi: Nabídka
Automatická odpoveď: Ponuka
Răspuns automat: Ofertă
Αυτόματη απάντηση: Προσφορά
Automaatvastus: Pakkumine
Automātiskā atbilde: Piedāvājums
Automatinis atsakymas: Pasiūlymas
Автоматична відповідь: Пропозиція
Samodejni odgovor: Ponudba
Automatski odgovor: Ponuda
رد تلقائي: عرض
תשובה אוטומטית: הצעה
ตอบกลับอัตโนมัติ: ข้อเสนอ
Trả lời tự động: Đề nghị
Balasan otomatis: Penawaran
自动答复：报价
不在のお知らせ
Message automatique : Devis
On annual leave: Offer
Ann Lee is on annual leave
AUTO: Ann Lee ist außer Haus (Rückkehr am 05.03.2027)
This mailbox is not monitored
Unattended mailbox: Offer
Fuori-sede
Resposta automática: Pedido
Fora do escritório
Autosvar: Tilbud
Auto-svar
Automatiskt svar: Offert
Frånvaromeddelande
Fravær: Tilbud
Automaattinen vastaus: Tarjous
Poissa toimistolta
Odpowiedź automatyczna: Oferta
Automatická odpověď: Nabídka
Automatikus válasz: Ajánlat
Otomatik yanıt: Teklif
Автоответ: Заказ
Автоматический ответ: Заказ
【自動応答】お問い合わせ
自動返信: お問い合わせ
自动回复：询价
자동 회신: 견적
"""
PERSONS = """
Re: Out of office
RE: Automatic reply: Offer
AW: Abwesenheitsnotiz: Angebot
WG: Automatische Antwort
Fwd: Out of office
[EXT] Re: Out of office
Sv: Autosvar
Out of office hours support
Out-of-office supplies
Out of office messages: how do we set them?
Auto: Angebot für einen VW
Auto zu verkaufen
Automatic doors: offer
Automatische Türen
Autor gesucht
Vacation in Italy
A question about automatic replies
Need a quote
[Ticket 7] Need a quote
[Office] New chairs
(no subject)
Office out of paper
We are out of paper
The printer is out of order
Who is out of office next week?
Absence of a part in the delivery
Poissaan
Is the offer automatic?
[]
***
"""
PEOPLES_OWN = """
Abwesenheit von Max am 3. Mai
Abwesenheit: Max Müller, 3b
Frånvaro Lisa 3B
Frånvaroanmälan: Lisa
Fravær i dag
Afwezig maandag
On vacation rentals in Italy
On vacation from 3 May: please pause my delivery
Out of office on Friday
Automatic reply cards: quotation
Automatic answer machine needed
Vacation message for our hotel
Ann Lee is on sick leave
不在通知が届きました
"""


@pytest.mark.parametrize("subject", AWAY.strip().splitlines())
def test_these_are_absence_notes(subject):
    assert is_absence_subject(subject)


@pytest.mark.parametrize("subject", ["", *PERSONS.strip().splitlines()])
def test_these_are_a_persons_words(subject):
    assert not is_absence_subject(subject)


@pytest.mark.parametrize("subject", PEOPLES_OWN.strip().splitlines())
def test_with_these_people_begin_as_well(subject):
    assert is_absence_subject(subject) and not is_absence_subject(subject, alone=True)


@pytest.mark.parametrize(
    "subject", ["[" * 100_000, "[a] " * 50_000, "auto:" * 50_000, "-" * 100_000, "\u0301" * 100_000]
)
def test_no_subject_takes_long(subject):
    assert not is_absence_subject(subject)

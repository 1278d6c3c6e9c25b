"""Absence notes that carry no header to say so: known by how their subject begins, in the languages of offices."""

import re
import unicodedata

# One entry a line or between semicolons; "*" stands for the rest of a word.
_PHRASES = """
    automatic reply; automatic response; automatic answer; automated reply; automated response; automated answer
    auto reply; autoreply; auto response; autoresponse; auto answer; auto responder; autoresponder
    out of office; out of the office; outofoffice; ooo; away from my office; away from the office; away from office
    away from my mail; away from mail; i am away from my mail; i am away from the office; i am out of the office
    i'm away from the office; i'm out of the office; i'm out of office; i am out of office; on vacation
    vacation reply; vacation message
    currently out of office; currently out of the office
    automatische antwort; automatische e-mail-antwort; auto antwort; autoantwort; automatische rückmeldung; abwesend
    abwesenheit*; nicht im büro
    automatisch antwoord; automatische reactie; afwezig; afwezigheid*; niet op kantoor
    réponse automatique; réponse auto; absence du bureau; absent du bureau; absente du bureau; message d'absence
    notification d'absence
    respuesta automática; fuera de oficina; fuera de la oficina; mensaje de ausencia; ausencia de la oficina
    risposta automatica; fuori sede; fuori ufficio; assenza dall'ufficio
    resposta automática; fora do escritório; ausência do escritório
    autosvar; auto svar; automatiskt svar; automatisk svar; frånvaro*; fravær*; ikke på kontoret; inte på kontoret
    automaattinen vastaus; automaattivastaus; poissa; poissaolo*
    odpowiedź automatyczna; automatyczna odpowiedź; autoodpowiedź; poza biurem; nieobecność w biurze
    automatická odpověď; automatické odpovědi; automatická odpoveď; mimo kancelář
    automatikus válasz; házon kívül; otomatik cevap; ofis dışında
    автоответ*; автоматический ответ; вне офиса
    răspuns automat; αυτόματη απάντηση; automaatvastus; automātiskā atbilde; automatinis atsakymas
    автоматична відповідь; автоматичен отговор; samodejni odgovor; automatski odgovor; otomatik yanıt
    ārpus biroja atrašanās automātiskā atbilde; ārpus biroja
    kontorist väljas; ne biure; izvan ureda; odsoten*; mimo kanceláriu
    mimo kancelárie; ikke til stede
    fora de l'oficina; în afara biroului; εκτός γραφείου; извън офиса; поза офісом
    رد تلقائي; תשובה אוטומטית; מענה אוטומטי; ตอบกลับอัตโนมัติ*; trả lời tự động; balasan otomatis; balasan automatik
    message automatique; on annual leave; on maternity leave; on parental leave; on sick leave; i am on leave
    this mailbox is not monitored; this mailbox is no longer monitored; unattended mailbox; unmonitored mailbox
    自動応答*; 自动答复*; 不在のお知らせ*
    自動返信*; 不在通知*; 自动回复*; 自動回覆*; 자동 회신*; 자동회신*; 자동 응답*; 부재중*
"""
# With these people begin subjects as well: "Abwesenheit von Max am Montag".
_PEOPLES_OWN = """
    on vacation; on annual leave; on maternity leave; on parental leave; on sick leave; i am on leave
    abwesend; abwesenheit; afwezig; afwezigheid*; fuori sede; fuori ufficio; frånvaro*; fravær*; poissa; poissaolo*
    不在のお知らせ*; 不在通知*; 부재중*
"""
# "Out of office hours": somebody writes about it, nobody is away.
_ABOUT_IT = "hours|supplies|equipment|furniture|work|workers?|policy|policies|messages?|templates?|settings?|assistant"
_TAG = re.compile(
    r"\s*(?:\[([^\[\]]{0,60})\]|\(([^()]{0,60})\)|\{([^{}]{0,60})\}|【([^【】]{0,60})】|\*{2,}([^*]{1,60})\*{2,})"
)
_PREFIX = re.compile(
    r"[\W_]*(?:auto|automatic|ext|external|extern|externe|externo|esterno|spam|bulk|info|caution|warning|vorsicht)\s*:",
    re.IGNORECASE,
)


def is_absence_subject(subject: str, alone: bool = False) -> bool:
    """Say whether a subject is that of an absence note: a known phrase, whatever hyphens and tags stand around it.

    A person's answer to one begins with "Re:" or the like, and is a person's mail. ``alone``: nothing else says that a
    program answered; then it must be what only programs write, up to a colon or to the end.

    >>> is_absence_subject("[EXT] Out-of-Office: Ann Lee"), is_absence_subject("Re: Out of office")
    (True, False)
    >>> [is_absence_subject(text, alone=True) for text in ("Automatic reply: Offer", "Automatic reply cards: offer")]
    [True, False]
    >>> [is_absence_subject(f"{word} Ann Lee is out of the office", alone=True) for word in ("AUTO:", "Auto:")]
    [True, False]
    """
    rest = subject[:500]
    alone = alone and not rest.startswith("AUTO:")  # HCL Notes writes so before who is away
    while (tag := _TAG.match(rest)) or (prefix := _PREFIX.match(rest)):
        if tag and _is_known(next(filter(None, tag.groups()), ""), alone):
            return True
        rest = rest[(tag or prefix).end() :]  # type: ignore[union-attr]
    return _is_known(rest, alone) or (not alone and bool(_SOMEBODY.fullmatch(_plain(rest))))


def _is_known(text: str, alone: bool) -> bool:
    if not alone:
        return bool(_KNOWN.match(_plain(text)))
    words = _plain(_COLON.split(text, maxsplit=1)[0])
    return bool(_KNOWN.fullmatch(words)) and not _PEOPLES.fullmatch(words)


_COLON = re.compile(r"[:：|]|\s[-–—]\s")


def is_absence_text(text: str) -> bool:
    """Say whether a text begins with somebody saying that they are away. People write so too: it proves no program.

    >>> is_absence_text("Hello,\\nI'm on holiday until Monday."), is_absence_text("Your mail came back: user away")
    (True, False)
    """
    return bool(_I_AM_AWAY.search(text[:600]))


_MEANWHILE = r"(?:(?:[^\s.!?]{1,20}|\d{1,4}[./][\d./]{0,8})\s+){0,4}"  # a few words of the same sentence, or dates
_WHEN = r"(?:[^.!?\n]|(?<=\d)\.){0,60}"
_I_AM_AWAY = re.compile(
    rf"\bI(?:['’]m| am| will be)\s+{_MEANWHILE}(?:away|travell?ing|(?:out of|not in) (?:the |my )?office|ooo\b"
    rf"|out of the country|on\s+{_MEANWHILE}(?:holidays?|vacation|leave|pto)\b)"
    r"|\bno longer (?:works?|employed|with (?:us|the company|our))\b|\bhas (?:retired|left (?:us|the|our))\b"
    r"|\bI(?:['’]ll| will) be back\b|\bwhen I return\b"
    r"|\b(?:I|we) (?:can ?not|can['’]t|will not|won['’]t) be (?:reached|reachable|available)"
    r"|\bI (?:no longer|don['’]t|do not) work (?:for|at|here|with)|\bI have left (?:the )?"
    rf"|\b(?:our|the) offices?\s+{_MEANWHILE}closed\b|\bwe(?:['’]re| are| will be)\s+{_MEANWHILE}closed\b"
    rf"|\b(?:ich bin|bin ich|ich befinde mich|befinde ich mich)\s+{_MEANWHILE}(?:im urlaub|abwesend|verreist|außer haus"
    r"|nicht (?:mehr )?(?:im|in|bei|für)\b|in (?:elternzeit|mutterschutz|den ferien)|(?:nicht|wieder) erreichbar"
    r"|wieder im büro)|\bich habe (?:(?:noch|derzeit|momentan|bis \S{1,20}|vom \S{1,20} bis \S{1,20}) ){0,2}urlaub\b"
    rf"|\bwir haben (?:vom?|bis|ab|am|über|zwischen)\b{_WHEN}\bgeschlossen\b|\baus dem unternehmen ausgeschieden\b"
    r"|\bbetriebs(?:ferien|urlaub)\b|\bnicht mehr (?:(?:bei|für) uns|in unserem|im (?:unternehmen|haus)|gelesen)\b"
    rf"|\bbüro\s+{_WHEN}(?:geschlossen|nicht besetzt)"
    rf"|\bje (?:suis|serai|ne suis)\s+{_MEANWHILE}(?:absente?\b|en (?:congés?|vacances)|en déplacement|pas au bureau"
    r"|de retour)"
    rf"|\bnous sommes\s+{_MEANWHILE}fermés?\b|\bje ne fais plus partie\b"
    rf"|\bbureaux?\s+{_WHEN}fermés?\b|\bje ne travaille plus\b"
    rf"|\b(?:estoy|estaré|me encuentro)\s+{_MEANWHILE}(?:de vacaciones|fuera de la oficina|ausente)"
    rf"|\boficinas?\s+{_WHEN}cerradas?\b|\bya no trabajo\b"
    rf"|\b(?:sono|sarò|mi trovo)\s+{_MEANWHILE}(?:in ferie|fuori (?:ufficio|sede)|assente)"
    rf"|\b(?:uffici|ufficio|studio)\s+{_WHEN}chius[oi]\b|\bnon lavoro più\b"
    rf"|\b(?:estou|estarei|encontro-me)\s+{_MEANWHILE}(?:de férias|fora do escritório|ausente)"
    rf"|\b(?:ik ben|ben ik)\s+{_MEANWHILE}(?:afwezig|(?:op|met) (?:vakantie|verlof)|niet (?:op kantoor|aanwezig))"
    rf"|\bkantoor\s+{_WHEN}gesloten\b"
    rf"|\b(?:jag är|är jag)\s+{_MEANWHILE}(?:på semester|bortrest|(?:föräldra)?ledig|inte på kontoret)"
    r"|\bjag har semester\b"
    rf"|\b(?:jeg er|er jeg)\s+{_MEANWHILE}(?:på ferie|bortreist)|\bjeg (?:har|holder) ferie\b"
    rf"|\bolen\s+{_MEANWHILE}(?:lomalla|poissa)\b|\bjsem\s+{_MEANWHILE}(?:na dovolené|mimo kancelář)"
    r"|\bszabadságon vagyok\b|\bizin(?:de|li)yim\b"
    rf"|\b(?:jestem|przebywam)\s+{_MEANWHILE}(?:na urlopie|nieobecn)"
    rf"|\b(?:я|нахожусь)\s+{_MEANWHILE}(?:в отпуске|в командировке|отсутствую)"
    r"|不在にして|出張中|自動返信|休暇|休假|出差|부재중|휴가",
    re.IGNORECASE,
)


def _plain(text: str) -> str:
    """The words of a text alone: lower-case, without accents, one blank between them.

    >>> _plain("  Réponse-Automatique : «Devis»"), _plain("Out_of_Office")
    ('reponse automatique devis', 'out of office')
    """
    bare = text.lower() if text.isascii() else _without_accents(text)
    return " ".join(re.sub(r"[\W_]+", " ", bare).split())


def _without_accents(text: str) -> str:
    letters = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", text).casefold())
    return unicodedata.normalize("NFC", "".join(one for one in letters if unicodedata.category(one) != "Mn"))


def _pattern(phrase: str) -> str:
    words = re.escape(_plain(phrase))
    return words + (r"\w*" if phrase.endswith("*") else r"(?!\w)")


def _any_of(phrases: str) -> str:
    return "|".join(_pattern(phrase) for one in phrases.replace("\n", ";").split(";") if (phrase := one.strip()))


_KNOWN = re.compile(rf"(?:{_any_of(_PHRASES)})(?! (?:{_ABOUT_IT})\b)")
_PEOPLES = re.compile(_any_of(_PEOPLES_OWN))
_SOMEBODY = re.compile(
    r"(?!who |wer |qui |quien )\w+(?: \w+){0,3} (?:is|ist|est|esta) (?:currently |derzeit |momentan |actuellement )?"
    r"(?:out of (?:the )?office|on (?:annual |maternity |parental |sick )?leave|abwesend|ausser haus|nicht im buro"
    r"|absente? du bureau|fuera de (?:la )?oficina)"
    r"(?: (?:until|till|from|returning|and|bis|vom|ruckkehr|ab|jusqu|hasta|desde)\b.*)?"
)

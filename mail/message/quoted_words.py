"""The words by which mail programs introduce what they quote, and people what they answer in between. Pure.

Every pattern here runs over what strangers wrote: none may backtrack over more than a line.
"""

import re

WROTE = (
    "wrote", "schrieb", "écrit", "ecrit", "escribió", "escribio", "ha scritto", "scritto", "schreef", "escreveu",
    "napisał", "pisze", "skrev", "kirjoitti", "написал", "пишет", "yazdı", "napsal", "napísal", "írta", "έγραψε",
    "a scris", "写道", "寫道", "のメール", "님이 작성", "كتب", "كتابة", "כתב", "מאת",
)  # fmt: skip
SEPARATORS = re.compile(
    r"[ \t]*-{2,20}[ \t]*(?:original message|ursprüngliche nachricht|message d['’]origine|mensaje original"
    r"|messaggio originale"
    r"|oorspronkelijk bericht|mensagem original|oprindelig meddelelse|originalmeddelande|wiadomość oryginalna"
    r"|исходное сообщение|forwarded message|weitergeleitete nachricht|message transféré|mensaje reenviado"
    r"|messaggio inoltrato|begin forwarded message|reply message|původní zpráva|orijinal mesaj|元のメッセージ"
    r"|الرسالة الأصلية)[ \t]*-{0,20}[ \t]*",
    re.IGNORECASE,
)
# The block that Outlook puts above what it quotes: a line for the sender, and below it at least two of the others.
FROM_LINE = re.compile(
    r"[ \t*]*(?:from|von|de|da|van|från|fra|lähettäjä|od|от|kimden|feladó|差出人|发件人|發件人|보낸 ?사람)"
    r"\*?[ \t]*[:：]\*?[ \t]*\S",
    re.IGNORECASE,
)
HTML_HEADER = (  # the same block in HTML, where no rule or mark stands above: of GMX, Notes and others
    r"(?:<(?:div|p|span|b|strong|font|table|tbody|tr|td)\b[^<>]*+>\s*+){1,8}"
    r"(?i:from|von|de|da|van|från|fra|od|от|sent|gesendet|envoyé|enviado|inviato|verzonden)"
    r"(?:</b>|</strong>)?(?: |&nbsp;)?:"
)
OTHER_LINE = re.compile(
    r"[ \t*]*(?:sent|gesendet|envoyé|enviado|inviato|verzonden|skickat|sendt|lähetetty|wysłano|отправлено|gönderilen"
    r"|date|datum|fecha|data|dato|datum|päivämäärä|to|an|à|para|a|aan|till|til|vastaanottaja|do|кому|kime|címzett"
    r"|cc|kopie|subject|betreff|objet|asunto|oggetto|onderwerp|assunto|ämne|emne|aihe|temat|тема|konu|tárgy"
    r"|送信日時|日時|宛先|件名|发送时间|收件人|主题|주제|제목|받는 ?사람|날짜)\*?[ \t]*[:：]",
    re.IGNORECASE,
)
SUBJECT_LINE = re.compile(
    r"[ \t*]*(?:subject|betreff|objet|asunto|oggetto|onderwerp|assunto|ämne|emne|aihe|temat|тема|konu|tárgy|件名"
    r"|主题|주제|제목)\*?[ \t]*[:：]",
    re.IGNORECASE,
)
_SENT = (
    "sent|gesendet|envoyé|enviado|inviato|verzonden|skickat|sendt|lähetetty|wysłano|отправлено|gönderilen|送信日時"
    "|发送时间"
)
_DATE = "date|datum|fecha|data|dato|päivämäärä|日時|날짜"
DATE_LINE = re.compile(
    rf"[ \t*]*(?:(?:{_SENT})\*?[ \t]*[:：].*\d|(?:{_DATE})\*?[ \t]*[:：].*\d[:.h]\d\d)", re.IGNORECASE
)
LIKE_A_DATE = re.compile(  # also with a time behind a word or two that we do not know
    rf"[ \t*]*(?:(?:{_SENT}|{_DATE})\*?[ \t]*[:：]|[^\s:：]{{2,25}}(?: [^\s:：]{{1,20}})?[ \t]*[:：].*\d[:.h]\d\d)",
    re.IGNORECASE,
)
# What dashes without the blank of RFC 3676 need below them: how somebody is reached.
REACHED = re.compile(
    r"[\w.+-]{1,64}@[\w-]{1,63}\.\w|\bwww\.\w|\bhttps?://|(?:\+|\b0|\b\d{3}[-.)] ?|\()\d[\d ()/.-]{5,20}\d",
    re.IGNORECASE,
)
# What a signature says of a firm, as the law of some countries asks for.
OF_A_FIRM = re.compile(
    r"[ \t]*(?:geschäfts|vorstand|sitz\b|register|amtsgericht|handelsregister|hrb|ust\b|ust-|steuer|vat\b|ceo\b"
    r"|managing|director|company|siren|siret|tva\b|nif\b|cif\b|p\.? ?iva|btw\b|kvk|address|adresse|anschrift|office"
    r"|büro|dirección|indirizzo|iban|bic\b)",
    re.IGNORECASE,
)
# The first line of what is passed on: of Gmail, Apple, Thunderbird, Outlook.
FORWARDED = re.compile(
    r"\b(?:forwarded|weitergeleitete|transféré|reenviado|inoltrato|doorgestuurd|encaminhada|vidarebefordrat"
    r"|videresendt|przekazana|пересылаемое)\b|転送|转发|轉寄",
    re.IGNORECASE,
)
LINE_ABOVE = re.compile(r"[ \t]*[_-]{5,}[ \t]*")
# What people write above a quote into which they wrote their answers; for lower-case text, which is far quicker.
ANSWERS_BELOW = re.compile(
    r"\b(?:below|hereunder|beneath|in-?line|between the lines|in (?:red|blue|green|bold|capitals|caps|colou?r)"
    r"|(?:my|our) (?:answers|comments|replies|remarks|notes)|see (?:the )?(?:answers|comments|remarks)"
    r"|(?:answers|comments|replies|responses) (?:in|within|between|to your)|underneath|further down|in between"
    r"|unten|inline|im text|in (?:rot|blau|grün|fett|farbe)|farbig|direkt (?:in|im|zwischen)|zwischen den zeilen"
    r"|(?:meine|unsere) (?:antworten|anmerkungen|kommentare)|(?:antworten|anmerkungen) (?:in|im|direkt|zwischen)"
    r"|in (?:deiner|eurer|ihrer) (?:e-?mail|nachricht)"
    r"|ci-dessous|dans le (?:texte|corps)|en (?:rouge|bleu|vert|gras|couleur|majuscules)|plus bas|en dessous"
    r"|dans (?:ton|votre) (?:e-?mail|message|courriel)|réponses? (?:dans|entre|en|au)"
    r"|(?:mes|nos) (?:réponses|commentaires|remarques)"
    r"|abajo|más abajo|en (?:rojo|azul|verde|negrita|mayúsculas)|(?:mis|nuestras|nuestros) (?:respuestas|comentarios)"
    r"|sotto|in (?:rosso|blu|verde|grassetto|maiuscolo)|(?:mie|nostre|miei|nostri) (?:risposte|commenti)"
    r"|hieronder|onderstaand|(?:mijn|onze) (?:antwoorden|opmerkingen)"
    r"|respuestas? (?:en|dentro|entre)|en (?:su|tu) (?:correo|mensaje)|risposte (?:in|nel|tra|fra)|nel testo"
    r"|abaixo|em (?:vermelho|azul|negrito)|nedan|nedenfor|poniżej|ниже)\b"
    r"|\b[ts]\. ?u\.|\bzie onder|下記|以下に(?:お答え|回答|記)|文中|赤字|青字|インライン|见下|見下|如下|红色|紅色|아래"
    r"|أدناه|بالأحمر|للأسفل|להלן|למטה|באדום"
)
POSTSCRIPT = re.compile(
    r"[ \t]*(?:(?:p\. ?){0,2}p?\.? ?s\.?[ \t]*[:;,–-]|p\.? ?s\.[ \t]|p\.-s|p\.? ?d\.?[ \t]*[:;,–-]|p\. ?d\."
    r"|n\.?b\.?[ \t]*:|nachtrag|追伸|追记|ملاحظة)",
    re.IGNORECASE,
)

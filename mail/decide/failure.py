"""Pure: why a mail failed for somebody: from the server's code and words to one of our kinds."""

import re
from enum import StrEnum


class FailureKind(StrEnum):
    """What became of the mail to one recipient."""

    HARD = "hard"  # final: the address or its domain does not exist
    SOFT = "soft"  # final: anything else, or nothing that we understand
    BLOCKED = "blocked"  # final: refused for policy or content; says nothing about the address
    FULL = "full"  # final: the mailbox is full
    DELAY = "delay"  # still being tried
    DELIVERED = "delivered"  # arrived, or was handed on

    @property
    def failed(self) -> bool:
        """Whether the mail did not and will not arrive."""
        return self in (FailureKind.HARD, FailureKind.SOFT, FailureKind.BLOCKED, FailureKind.FULL)

    @property
    def counts(self) -> bool:
        """Whether it counts against the address (incoming.md 8)."""
        return self.failed and self is not FailureKind.BLOCKED


def is_telling(status: str) -> bool:
    """Say whether an enhanced status code (RFC 3463) says more than "it failed": 5.0.0 and 5.5.0 do not.

    >>> is_telling("5.1.1"), is_telling("5.0.0"), is_telling("")
    (True, False, False)
    """
    return status.partition(".")[2] not in ("", "0.0", "5.0")


def kind_of(status: str, text: str) -> FailureKind:
    """Return why a mail finally failed, from the enhanced status code (RFC 3463) and the server's words.

    The words come first: of real "5.x.x" not half mean a dead address. What nobody understands is soft.

    >>> kind_of("5.1.1", ""), kind_of("5.0.0", "550 No such user here"), kind_of("5.2.2", "")
    (<FailureKind.HARD: 'hard'>, <FailureKind.HARD: 'hard'>, <FailureKind.FULL: 'full'>)
    >>> kind_of("5.7.1", "Message rejected as spam"), kind_of("4.4.7", "expired")
    (<FailureKind.BLOCKED: 'blocked'>, <FailureKind.SOFT: 'soft'>)
    """
    text = " ".join(text[:4000].split())
    detail = status.partition(".")[2]
    if detail in _ABOUT_SENDER_DETAILS or _SENDER_REFUSED.search(text):
        return FailureKind.BLOCKED  # it is us that the server does not like
    if _FULL.search(text) or (detail == "2.2" and not _GONE.search(text)):
        return FailureKind.FULL
    lasting = (not status.startswith("4") or detail == "1.1") and not _LATER.search(text)
    if lasting and detail == "4.1" and _MICROSOFT_UNKNOWN.search(text):
        return FailureKind.HARD
    if lasting and _GONE.search(text) and not (_ABOUT_SENDER.search(text) or _STILL_THERE.search(text)):
        return FailureKind.HARD
    if _BLOCKED.search(text):
        return FailureKind.BLOCKED
    if lasting and _PERHAPS_GONE.search(text) and not detail.startswith("7."):  # that is a matter of policy
        return FailureKind.HARD
    if detail.startswith(("7.", "6.")) or detail in ("3.4", "2.3"):
        return FailureKind.BLOCKED
    if (
        lasting
        and detail in _HARD_DETAILS
        and not (_NOT_GONE.search(text) or _STILL_THERE.search(text))
        and not _DNS_TROUBLE.search(text)
    ):
        return FailureKind.HARD
    return FailureKind.SOFT


def kind_in_report(status: str, text: str, words: str) -> FailureKind:
    """Return why a mail failed, by what a report tells of the server's answer; ``words``: what else the report says.

    A server knows its users when it answers RCPT TO. A bare "550 User unknown", without a code and not known to answer
    that, is also what filters say of mail that their owners do not want: such an address is not called dead.

    >>> kind_in_report("", "550 User unknown", "in reply to RCPT TO")
    <FailureKind.HARD: 'hard'>
    >>> kind_in_report("", "550 User unknown", ">>> DATA")
    <FailureKind.SOFT: 'soft'>
    """
    kind = kind_of(status, text)
    if kind is not FailureKind.HARD or status.startswith("5.1.") or not _BARE_ANSWER.search(text):
        return kind
    knows = _ANSWERS_RCPT.search(words) or _ANSWERS_RCPT.search(text) or not _UNKNOWN_USER.search(text)
    return kind if knows else FailureKind.SOFT


# RFC 3463 3.2: bad sender's address, bad sender's system; RFC 7505 4.2: the sender's domain takes no mail
_ABOUT_SENDER_DETAILS = {"1.7", "1.8", "7.27"}
_HARD_DETAILS = {"1.0", "1.1", "1.2", "1.3", "1.6", "1.10", "1.351", "4.4"}


def _any_of(*phrases: str) -> re.Pattern[str]:
    return re.compile("|".join(phrases), re.IGNORECASE)


_NEAR = r"(?:[^.;\n]|\.(?=\w)){0,60}"  # words of the same sentence, with an address among them

_FULL = _any_of(
    r"(?:mail)?box (?:is |size |was )?(?:full|over|exceed)",
    r"(?:over|exceed\w{0,3}|out of|disk|mail|user|message|storage)[ -]?(?:(?:the|its|their|mailbox|disk"
    r"|allowed|allocated|storage) ){0,3}quota",
    r"quota (?:is )?(?:exceeded|full|violation)",
    r"exceeded (?:its |the |his )?(?:storage|mailbox)",
    r"out of storage",
    r"insufficient (?:disk |system )?(?:space|quota)",
    r"not (?:have )?(?:enough|sufficient) (?:storage |disk |free )?space",
    r"mail(?:box|folder) full",
    r"QuotaExceeded",
    r"too much mail data|storage (?:space |limit )?(?:is )?(?:exceeded|exhausted|full)|maximum mailbox size",
    rf"mail ?box{_NEAR}is (?:over)?full|(?:account is|disk) full|message storage limit",
    rf"(?:postfach|mailbox|kontingent|quota|speicher\w{{0,12}}){_NEAR}\b(?:voll|überfüllt|überschritten|erschöpft|vol)\b",
    rf"\bbo[iî]te{_NEAR}\b(?:pleine|saturée)\b|quota {_NEAR}dépassé",
    rf"\b(?:buzón|bandeja|cuota){_NEAR}\b(?:llen[oa]|excedida|superada)\b|\bcasella{_NEAR}\bpiena\b|\bcaixa{_NEAR}\bcheia\b",
    rf"\bskrzynk\w{{1,3}}{_NEAR}(?:pełna|przepełnion)|\bящик{_NEAR}(?:переполнен|заполнен)|\bschránk\w{{1,3}}{_NEAR}plná",
    rf"\b(?:brevlåd|postlåd|innboks|postboks|postkass)\w{{0,4}}{_NEAR}\b(?:full|fuld)\b",
    r"(?:メールボックス|容量)[^。]{0,30}(?:一杯|いっぱい|満杯|超え|超過)|(?:邮箱|收件箱|信箱)[^。]{0,10}(?:已满|已滿)",
)
_GONE = _any_of(
    r"user[\w\s'-]{0,20}unknown",
    r"unknown[\w\s-]{0,12}(?:user|recipient|address|account|mailbox|local)",
    r"no such (?:user|mailbox|recipient|address|account|person|local|domain|host|email|name)",
    r"no (?:mailbox|user|account) (?:here|by that|with)",
    r"(?:user|recipient|mailbox|address|account|domain|host|resource)(?:[^.;]|\.(?=\w)){0,60}"
    r"(?:n[o']t exist|not (?:be )?found|couldn't be found|is unknown|isn't a known)",
    r"no longer (?:exist|valid|active|in use|available|on)",
    r"doesn't have an? (?:[^.;]|\.(?=\w)){0,40}account",
    r"invalid (?:user|recipient|mailbox|address|email|final delivery)",
    r"not a valid (?:user|recipient|mailbox|address)",
    r"(?:recipient|address)(?: address)? (?:unknown|not found|not listed)",
    r"(?:bad|illegal) (?:destination|alias|recipient|host|domain)",
    r"unrout?e?able (?:address|domain|mail)",
    r"host unknown",
    r"(?:host|domain)(?: or domain)?(?: name)?(?: lookup)? (?:was )?not found",
    r"recip(?:ient)?notfound",
    r"not our customer",
    r"no (?:valid )?(?:mx|a)(?: or (?:mx|a))? (?:record|host)|null ?mx|no smtp service",
    r"non-?exist[ae]nt (?:user|recipient|mailbox|address|account|domain|host|e-?mail)",
    r"n[o']t accept (?:any )?(?:e-?)?mail",
    r"have any \w{1,20} entries",
    r"listed as (?:an )?unknown|not listed in",
    r"has moved",
    r"this (?:user|account|address) (?:has been |was |is )?(?:deleted|removed|closed)",
    r"undeliverable address",
    r"mailbox (?:unavailable or )?not (?:available|local)",
    r"no (?:valid )?recipients?\b",
    r"address (?:you sent|rejected)(?:[^.;]|\.(?=\w)){0,30}(?:wrong|unknown)",
    r"could not be resolved",
    r"couldn't find (?:any host|a mail exchanger)",
    r"domain is not reachable",
    r"nobody by that name|not known at|not an? (?:known|active) (?:user|address|recipient|mailbox)",
    r"mail ?box (?:invalid|not present)|no mail ?box available|badrcptto|missing home directory",
    r"(?:does(?: not|n't)|not) have an account|addressee unknown|bad[ -]recipient",
    r"unknown (?:host|domain|e-?mail)|name or service not known|mail domain [^.]{0,40}unknown",
    r"has been replaced by",
    rf"\b(?:destinatari[oa]|us[uú][aá]ri[oa]|utente|cuenta|correo|dirección|indirizzo|casella|endereço)\b{_NEAR} "
    r"(?:desconocid|sconosciut|desconhecid|ine[sx]istente|no existe|non (?:esist|trovat)|não (?:exist|foi encontr))",
    r"no existe (?:el|la|este|esta|ning[uú]n) (?:buzón|usuario|cuenta|destinatari[oa]|dirección)",
    rf"\b(?:mottagar|mottaker|modtager|användar|bruker|bruger|adress)\w{{0,4}}{_NEAR} fin(?:ns inte|nes ikke|des ikke)",
    r"\b(?:okänd|ukendt|ukjent) (?:mottagare|användare|bruger|modtager|bruker|mottaker)",
    r"\btuntematon (?:käyttäjä|vastaanottaja)|\bneznámý (?:uživatel|příjemce|adresát)",
    r"no se (?:ha )?encontr\w{1,6} (?:la dirección|el (?:usuario|destinatario|buzón))",
    rf"\b(?:utilisateur|destinataire|adresse|boîte)\b{_NEAR} (?:inconnue?|invalide|introuvable|n['’]existe)",
    rf"\b(?:empf(?:ä|ae)nger\w{{0,12}}|benutzer\w{{0,12}}|(?:e-?mail-?)?adresse|postfach)\b{_NEAR} "
    r"(?:unbekannt|existiert nicht|nicht gefunden)",
    r"\bunbekannter? (?:empfänger|benutzer|adresse)|\bkein solche[rs]? (?:empfänger|benutzer|postfach)",
    rf"\b(?:gebruiker|ontvanger|adres|mailbox)\b{_NEAR} (?:onbekend|bestaat niet|niet gevonden)|\bonbekende gebruiker",
    rf"\b(?:użytkownik|adres|odbiorca){_NEAR} nie istnieje|\bnieznany (?:użytkownik|adres|odbiorca)",
    rf"\b(?:пользователь|адрес|ящик|получатель){_NEAR} не (?:найден|существует)",
    r"宛先不明|(?:宛先|ユーザー?|アドレス)[^。]{0,20}(?:存在しません|見つかりません)",
    r"(?:收件人|用户|邮箱|地址)[^。]{0,12}(?:不存在|未找到)",
)
# What some say of a mailbox, and others of any mail that they do not want.
_PERHAPS_GONE = _any_of(
    r"action not taken: mailbox unavailable",
    r"mailbox <?[^\s<>@]{1,64}@[^\s<>@]{1,250}>? (?:is )?unavailable",
    r"recipient (?:address )?rejected\.?(?: \(in reply to rcpt|$)",
)
_MICROSOFT_UNKNOWN = _any_of(r"recipient address rejected: access denied")
_SENDER_REFUSED = _any_of(
    r"sender (?:address |domain |verify |verification |is )?(?:(?:[^.;]|\.(?=\w)){0,60} )?"
    r"(?:rejected|refused|denied|fail|blocked|not found|not exist|unknown|invalid)",
    r"(?:after|in response to|reply to) (?:end of )?mail from\b",
    r"(?:return[- ]path|envelope (?:from|sender)|mail ?from)(?: (?:address|domain))? (?:(?:is|was) )?"
    r"(?:rejected|refused|denied|invalid|listed|not (?:found|exist|allowed|accepted))",
)
_DNS_TROUBLE = _any_of(r"servfail", r"dns (?:failure|error|timeout|lookup|server failure)", r"temporary lookup")
_ABOUT_SENDER = _any_of(
    r"sender (?:address |domain |verify )(?:[^.;]|\.(?=\w)){0,60}(?:reject|fail|not found|not exist|unknown)",
    rf"\b(?:absender\w{{0,12}}|expéditeur|remitente|mittente)\b{_NEAR} (?:unbekannt|nicht|inconnu|no existe|inesist)",
    r"relay(?! recipient|=)",  # not the name of a table, nor of who asked
    r"spf",
    r"dmarc",
    r"reverse|\bptr\b|\brdns\b|\b[he][eh]lo\b|client host",
    r"(?:your|sending) (?:host|ip|server|domain)",
)
_STILL_THERE = _any_of(  # the account is locked, or a program that is run for it failed
    r"(?:account|user|mailbox|recipient)(?:\(s\)|'s)?(?: \w+){0,3} "
    r"(?:disabled|suspended|locked|inactive|deactivated|archived)",
    r"procmail:|maildrop:|command output|program (?:failed|exited)",
)
_NOT_GONE = _any_of(r"access denied", r"preferences", r"too many", r"procmail", r"refused to (?:accept|talk)")
_BARE_ANSWER = _any_of(r"(?<![\d.])5[05]\d[\s:'-]")
_ANSWERS_RCPT = _any_of(r"\bRCPT\b", r"not like (?:the )?recipient")
_UNKNOWN_USER = _any_of(r"unknown user|user[\w\s'-]{0,20}unknown|no such (?:user|mailbox|recipient|account|person)")
_LATER = _any_of(
    r"(?<!and )(?<!then )try again", r"temporar", r"timed? ?out", r"too many", r"this hour", r"gr[ae]y-?list"
)
_BLOCKED = _any_of(
    r"\bspam|unsolicited|bulk mail|virus|malware|banned|prohibit|\bphish|suspicious (?:message|content|link|e?-?mail)",
    r"too many complaints|\bur[il]\b.{0,40}\blisted|\blisted (?:by|at|in|on)\b|\bptr\b|\brdns\b|rfc.{0,20}compliant",
    r"bad outbound sender|as this sender|sender(?: is| was)? ?not ?(?:allowed|permitted|authenticated|authori[sz]ed)",
    r"delivery not authori[sz]ed|only (?:members|accepts? \w+ from)|recipient(?:'s)? rules|rule imposed",
    r"\bIP\b.{0,40}(?:gesperrt|geblockt|bloqu)|indésirable|contenido no",
    r"\brelay(?:ing)? (?:access )?(?:denied|not permitted)|unable to relay|bad dns ptr|dial-?up|\bip not allowed",
    r"\bblock(?:ed|ing| ?list)|(?:black|deny) ?list|\brbls?\b|dnsbl|\bpolicy|reputation",
    r"\bdmarc|\bspf\b|\bdkim",
    r"not (?:authori[sz]ed|permitted|allowed) to send",
    r"content (?:reject|filter|not)|attachment|message (?:size|rejected due)",
    r"too (?:large|big)|size limit|exceeds? (?:the )?(?:maximum|size|message)",
)

"""Pure: whether a mail may be a report, by who sent it and what it holds, and which mail of ours it returns."""

import re

from mail.decide.own_words import OwnWords
from mail.decide.reported import SCANNED, text_of
from mail.message.absence import is_absence_subject, is_absence_text
from mail.message.address import first_address, local_part, parse_addresses
from mail.message.parse import OWN_ID_HEADER, IncomingMessage

MOST_IDS = 100  # of one report: it returns one mail, with its references

# --- who sent it


def from_mailer_daemon(message: IncomingMessage) -> bool:
    """Say whether the sender is a mail server's own voice.

    A postmaster may be a person; a mailer-daemon never is.
    """
    sender = local_part(message.from_.address).lower() if message.from_ else message.from_header.lower().strip()
    return bool(_DAEMON.match(sender))


_DAEMON = re.compile(r"(?:mailer|mail|maildrop)[-_.]?(?:daemon|deamon)\b|<?mailer-daemon")


def from_machine(message: IncomingMessage) -> bool:
    """Say whether no person sent a mail: nobody (the null sender), a mailer-daemon, a postmaster's machine."""
    return message.return_path == "" or from_mailer_daemon(message) or from_postmaster(message)


def from_postmaster(message: IncomingMessage) -> bool:
    """Say whether the sender is a postmaster: a machine, mostly."""
    return message.from_ is not None and bool(_POSTMASTERS.fullmatch(local_part(message.from_.address).lower()))


_POSTMASTERS = re.compile(
    r"post[-_.]?master\w*|mdaemon|microsoftexchange[\da-f]{20,40}|bounces?"
    r"|mail(?:er)?[-_.]?(?:system|delivery|robot|admin)\w*|imss"
)


def names_failed(message: IncomingMessage) -> bool:
    """Say whether a mail server names in the header whom it did not reach, as Exim does; anybody can write that."""
    nobody = message.return_path == "" or from_mailer_daemon(message)
    return nobody and "x-failed-recipients" in message.fields


def may_be_machine(message: IncomingMessage) -> bool:
    """Say whether a sender is called as machines are, or people who answer for a firm: worth a closer look."""
    sender = message.from_
    return is_called_machine(message) or (
        sender is not None and bool(_OF_BOTH.match(local_part(sender.address).lower()))
    )


def is_called_machine(message: IncomingMessage) -> bool:
    """Say whether a sender is called as only machines are: enough at the bounce address, with words about a failure."""
    sender = message.from_
    return sender is None or bool(_MACHINES.match(local_part(sender.address).lower()) or _NAMES.search(sender.name))


def answers_for_somebody(message: IncomingMessage, own: OwnWords) -> bool:
    """Say whether a mail from nobody answers one, as programs do for people who are away."""
    return bool(message.references) or _speaks_for_people(own)


def _speaks_for_people(own: OwnWords) -> bool:
    """Say whether a mail speaks for who is away, or thanks for a request: it may quote failures."""
    return is_absence_text(own.said) or bool(_THANKS.search(own.said[:600]))


_THANKS = re.compile(
    r"\bthank(?:s| you) for (?:contacting|writing|your (?:e-?mail|message|mail|request|order|in?e?nquiry))"
    r"|\b(?:we|I)(?:['’]ve| have)? (?:received|got) your (?:e-?mail|message|mail|request|order|in?e?nquiry)"
    r"|\bticket (?:number|#|id\b)|\b(?:vielen )?dank(?:e)? für ihre|\bmerci (?:de|pour) votre"
    r"|\bgracias por (?:su|contact)|\bgrazie per (?:la sua|averci)|\bobrigad[oa] (?:pelo|por)|\bbedankt voor uw",
    re.IGNORECASE,
)


def has_machine_voice(message: IncomingMessage) -> bool:
    """Say whether a mail from a machine is under a machine's name as well; else it may answer for a person."""
    return (
        names_failed(message) or from_mailer_daemon(message) or from_postmaster(message) or is_called_machine(message)
    )


_MACHINES = re.compile(
    r"(?:[\w.-]*[-_.])?(?:no-?reply|do-?not-?reply|mailer|mail[-_.]?(?:system|server|admin\w*|delivery|gateway|router)"
    r"|daemon|sysadmin|bounces?|auto[-_.]?(?:mat(?:ic|ed)|re|mail|answer|notif)\w*|antispam|mta\d*|smtp\d*)$"
)
_OF_BOTH = re.compile(r"(?:[\w.-]*[-_.])?(?:mail(?:box)?|system|root|admin(?:istrator)?|notif\w*|security)$")


_NAMES = re.compile(  # "Bob Miller, System Administrator" is a person
    r"^\W*(?:(?:mail|system) administrator|postmaster)\b"
    r"|\b(?:mail (?:delivery|system|server|router|gateway|deliver)|delivery (?:sub)?system|mailer[- ]daemon)\b",
    re.IGNORECASE,
)


def is_certain(message: IncomingMessage, own: OwnWords, at_bounce_address: bool) -> bool:
    """Say whether a mail that a machine may have sent is a report, and nothing else.

    The less its sender is a mail server's voice, the more it must show: words about a failed delivery, the mail that it
    returns or what servers said to each other.
    """
    if from_mailer_daemon(message) or is_report(message) or names_failed(message):
        return True
    answers = message.is_answer
    in_subject = not answers and bool(_FAILURE.search(message.subject))
    said = _beginning(own.said, 250) if answers else _beginning(own.said, 1500)
    if not (in_subject or _FAILURE.search(said)):
        return False
    returns = any(part.type in (*_RETURNED, *STATUS) for part in message.attachments)
    shows_mail = returns or bool(_DIALOGUE.search(own.said))
    if message.is_auto_reply or _speaks_for_people(own):  # who is away may speak of failures and quote codes
        named_so = in_subject and not (_speaks_for_people(own) or is_absence_subject(message.subject))
        shows_mail = returns or (named_so and (shows_mail or message.return_path == ""))
        return shows_mail and has_machine_voice(message) and (from_machine(message) or at_bounce_address)
    if "list-unsubscribe" in message.fields or _OF_READER.search(f"{message.subject}\n{said}"):
        return returns
    if _LOOP_ALERT.match(message.subject) and own.returned:
        return True
    if from_postmaster(message):  # may be a person, too, but no person writes as nobody
        by_nobody = message.return_path == ""
        in_subject = in_subject and message.return_path != message.from_key  # whose program sends as they do
        if answers or message.references:
            shows_mail = shows_mail and (by_nobody or in_subject)
            return returns or bool(_NAMES_FAILED.search(own.said)) or shows_mail or (by_nobody and in_subject)
        return in_subject or shows_mail or bool(own.returned) or by_nobody
    if at_bounce_address:
        quotes = bool(own.returned) and not message.references  # who answers quotes as well
        by_people = answers or _answers_go_elsewhere(message)
        return (is_called_machine(message) or shows_mail or quotes) and (returns or not by_people)
    if message.from_ is None:
        return message.return_path == "" or shows_mail or bool(own.returned)
    if answers or _answers_go_elsewhere(message):
        return False
    if message.return_path == "":
        return shows_mail or (bool(own.returned) and not message.references)
    of_mail = bool(_OF_MAIL.search(message.subject))
    shows_header = of_mail and bool(own.returned or _RETURNED_TO.search(own.said))
    shows_mail = returns or bool(_NAMES_FAILED.search(own.said)) or shows_header
    return is_called_machine(message) and shows_mail and not message.is_list and not message.references


def _answers_go_elsewhere(message: IncomingMessage) -> bool:
    """Say whether an answer would reach a person: a form on a website speaks for them under a machine's name."""
    other = first_address(message.raw_header("reply-to"))
    if other is None or other.key == message.from_key:
        return False
    local = local_part(other.key)
    return not (_POSTMASTERS.fullmatch(local) or _MACHINES.match(local))


def _beginning(said: str, length: int) -> str:
    """The first words without what they quote."""
    return " ".join(" ".join(line for line in said.splitlines() if not line.startswith(">")).split())[:length]


_FAILED = (
    r"undeliver",
    r"not (?:be |been )*(?:deliver|sen[dt]\b|reach|accept)",
    r"n['’]t (?:be |been )?(?:deliver|sen[dt]\b|reach)|able to deliver",
    r"(?:unable|failed|error|error occurred|problems?|trouble) (?:while |when )?(?:in |to )?(?:deliver|send)",
    r"deliver\w*(?: \w+){0,3} (?:fail|error|problem|trouble|delay|status|impossible)",
    r"fail(?:ed|ure)(?: \w+){0,2} (?:deliver|notice|mail|message|recipient)",
    r"return(?:ed|ing)(?: \w+)? (?:e-?mail|mail|message|to sender)",
    r"non-?delivery|could not be processed",
    r"did not reach",
    r"(?:mail|message)(?: \w+){0,2} (?:error|failure|rejected|returned|bounced|refused)",
    r"(?:loop|bounce) alert",
    r"user unknown|no such user|unknown user|invalid (?:user|recipient|address)",
    r"over quota|mailbox (?:is )?full",
    r"unzustellbar|nicht zugestellt|zustellung (?:ist )?fehlgeschlagen",
    r"non (?:remis|distribu|recapitat|consegnat)|(?:recapito|consegna) non riuscit|mancata consegna",
    r"no (?:se )?(?:pu[de]|entreg)|não (?:foi )?entreg|falha na entrega",
    r"onbestelbaar|(?:kan inte|kan ikke|ikke) lever|olevererbar|ei voi(?:da|tu) toimittaa|toimitus epäonnistui",
    r"niedostarczaln|nie dostarczono|nedoručiteln|nedoručen|kézbesíthetetlen|nelivr|teslim edilemedi|μη παραδοτέο",
    r"не (?:может быть|был\w* )?доставлен|недоставлен",
    r"(?:zustellung|remise|entrega|recapito|bezorging|dostarczeni\w|leverans\w*)[^.\n]{0,60}"
    r"(?:verzögert|différée|retrasad|atrasad|ritardat|vertraagd|opóźni|försenad)|verzögerte zustellung",
    r"送信(?:できません|に失敗)|配信|エラー",
    r"投递失败|退信|無法傳[遞送]|无法[传投]|배달되지|전송 ?실패",
)
_FAILURE = re.compile("|".join(_FAILED), re.IGNORECASE)
_LOOP_ALERT = re.compile(r"\s*loop alert\b", re.IGNORECASE)  # of list servers, under the address of who keeps the list
_OF_READER = re.compile(  # a warning to who reads it
    r"\b(?:your|ihr|votre|uw) (?:e-?mail |mail )?(?:mailbox|inbox|account|postfach|bo[iî]te)\b[^.\n]{0,80}"
    r"\b(?:full|quota|voll|pleine|vol|exceed\w*|limit)\b"
    r"|\bquarant[aä]i?n\w*|\bspam (?:digest|summary)\b|\b(?:delivered|addressed) to you\b",
    re.IGNORECASE,
)
_OF_MAIL = re.compile(  # parcels, payments and orders come back as well
    r"undeliver\w* (?:e-?mail|message)|\b(?:e-?mail|message|nachricht|mensaje|messaggio|bericht)\w*\b[^:]{0,20}"
    r"(?:fail|return|undeliver|error|reject|not (?:be )?deliver|unzustellbar|nicht zugestellt)",
    re.IGNORECASE,
)
_NAMES_FAILED = re.compile(
    r"RCPT TO\b|\b(?:mail|message)\b[^<>]{0,100}not be delivered to: ?<[^<>\s@]+@[^<>\s]+>", re.IGNORECASE
)
_DIALOGUE = re.compile(  # a house number is no reply code
    r"RCPT TO\b|MAIL FROM\b|\b[45]\d\d[ -]#?[45]\.\d\.\d{1,3}\b"
    r"|^\W{0,8}(?:4[25]|5[0-7])\d[ -][^\n]{0,200}?\b(?:users?|mailbox|recipients?|address(?:ee)?|relay\w*|unknown"
    r"|reject\w*|refused|denied|blocked|unavailable|spam|quota|smtp|command|transaction|message|e?mail)\b",
    re.IGNORECASE | re.MULTILINE,
)

# --- what it holds

STATUS = ("message/delivery-status", "message/global-delivery-status")
RECEIPT = ("message/disposition-notification", "message/global-disposition-notification")
_RETURNED = (
    "message/rfc822",
    "text/rfc822-headers",
    "text/rfc822-header",
    "message/global",
    "message/global-headers",
    *RECEIPT,
)
_RETURNED_ID = re.compile(
    rf"^[ \t>|]{{0,9}}(?:(?:X-Microsoft-)?(?:Original-)?Message-ID|{OWN_ID_HEADER})[ \t]*:[ \t]*(?:\r?\n[ \t]+)?"
    r"(<[^<>]{3,990}>|[^\s<>]{3,990})",
    re.IGNORECASE | re.MULTILINE,
)


def is_report(message: IncomingMessage) -> bool:
    """Say whether a mail calls itself a report about a delivery (RFC 3464, RFC 6522)."""
    if message.content_type in STATUS:
        return True
    return message.content_type == "multipart/report" and message.report_type in ("", "delivery-status", "delivery")


def may_be_report(message: IncomingMessage) -> bool:
    """Say whether a mail is worth a closer look: a machine sent it, or it holds what reports hold."""
    kinds = [part.type for part in message.attachments]
    return (
        message.content_type in ("multipart/report", *STATUS)
        or from_machine(message)
        or any(kind in STATUS or kind == "message/feedback-report" for kind in kinds)
        or ((any(kind in _RETURNED for kind in kinds) or is_json(message)) and may_be_machine(message))
    )


def is_json(message: IncomingMessage) -> bool:
    """Say whether a mail looks as what a sending service tells to programs."""
    return message.text[:100].lstrip().startswith("{")


def is_challenge(own: OwnWords) -> bool:
    """Say whether a mail asks its reader to prove that he is a person; some come dressed as a report."""
    return bool(_CHALLENGE.search(own.said[:2000]))


_CHALLENGE = re.compile(
    r"(?<!@)boxbe\.com|(?<!\d )sender verification(?! (?:fail|error|callout|unsuccess|reject))"
    r"|mailinblack|tira-teima|bestätigen sie,? dass sie (?:ein mensch|keine? (?:ro)?bot)"
    r"|confirme[rz]? que vous (?:êtes|n['’]êtes)|confirm[ae] que (?:você|usted|é|es) (?:um|uma|un|una)\b"
    r"|(?:verify|prove) (?:that )?you(?: are|['’]re) (?:a )?(?:human|person|real)|challenge[/-]response"
    r"|list of approved senders|(?:senders|people)(?: that| whom?)? I have approved"
    r"|\b(?:click|follow|visit)\b[^.\n]{0,60}\bto (?:release|unblock|deliver) (?:it|your|the|this)\b"
    r"|\b(?:when|once|until) you(?: have)? confirm(?:ed)?\b"
    r"|klicken sie[^.\n]{0,60}(?:freizugeben|zuzustellen)|confirm[ae] que usted es"
    r"|prouver que vous êtes|dimostra(?:re)? (?:di essere|che sei)"
    r"|(?<!@)spam ?arrest|\btmda\b.{0,80}confirm|confirm that you are (?:not a (?:spammer|robot)|a (?:human|person))",
    re.IGNORECASE | re.DOTALL,
)


def returned_recipients(message: IncomingMessage, below: str) -> list[str]:
    """Return whom the returned mail was sent to, by its own header; ``below``: the returned mail as text.

    A report that is returned was for its reader: nobody failed there.
    """
    texts = [text_of(part, 65536) for part in message.attachments if part.type in _RETURNED_HEADERS] or [below]
    found = (match[1] for text in texts if not _IS_REPORT.search(text) and (match := _RETURNED_TO.search(text)))
    return list(dict.fromkeys(mailbox.key for value in found for mailbox in parse_addresses(value)))


_RETURNED_HEADERS = ("message/rfc822", "text/rfc822-headers", "text/rfc822-header", "message/global-headers")
_IS_REPORT = re.compile(r"^Content-Type[ \t]*:[ \t]*multipart/report", re.IGNORECASE | re.MULTILINE)
_RETURNED_TO = re.compile(
    r"^[ \t>|]{0,9}To[ \t]*:[ \t]*([^\n]{1,990}(?:\n[ \t]+[^\n]{1,990}){0,20})", re.IGNORECASE | re.MULTILINE
)


def returned_ids(message: IncomingMessage, at_bounce_address: bool = False) -> tuple[str, ...]:
    """Return the ids in the mail that a report returns: what a flow must look up.

    Never the report's own In-Reply-To and References: anybody can write those.
    """
    if not at_bounce_address and not may_be_report(message):
        return ()
    texts = [text_of(part, 65536) for part in message.attachments if part.type in _RETURNED]
    found = {"".join(match[1].split()): None for text in texts for match in _RETURNED_ID.finditer(text)}
    text = message.text[:SCANNED]
    found |= {"".join(match[1].split()): None for match in _RETURNED_ID.finditer(text)}
    if is_json(message):
        text = text.replace("\\u003c", "<").replace("\\u003e", ">")
        found |= {match[1]: None for match in _JSON_ID.finditer(text)}
    return tuple(found)[:MOST_IDS]


_JSON_ID = re.compile(  # also within a text that JSON holds, where quotes are escaped
    rf'(?:\\?"messageId\\?"|\\?"name\\?"[ ]*:[ ]*\\?"(?:Message-ID|{OWN_ID_HEADER})\\?"\s*,\s*\\?"value\\?")'
    r'\s*:\s*\\?"([^"\\\s]{3,990})',
    re.IGNORECASE,
)

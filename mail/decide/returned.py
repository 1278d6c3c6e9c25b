"""Pure: whether a mail may be a report, by who sent it and what it holds, and which mail of ours it returns."""

import re

from mail.decide.own_words import OwnWords
from mail.decide.reported import SCANNED, text_of
from mail.message.absence import is_absence_text
from mail.message.address import local_part, parse_addresses
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
    return (
        message.return_path == ""
        or "x-failed-recipients" in message.fields
        or from_mailer_daemon(message)
        or from_postmaster(message)
    )


def from_postmaster(message: IncomingMessage) -> bool:
    """Say whether the sender is a postmaster: a machine, mostly."""
    return message.from_ is not None and bool(_POSTMASTERS.fullmatch(local_part(message.from_.address).lower()))


_POSTMASTERS = re.compile(
    r"post[-_.]?master\w*|mdaemon|bounces?|mail(?:er)?[-_.]?(?:system|delivery|robot|admin)\w*|imss"
)


def may_be_machine(message: IncomingMessage) -> bool:
    """Say whether a sender is called as machines are: at the bounce address that is enough to read it as a report."""
    sender = message.from_
    return sender is None or bool(_MACHINES.match(local_part(sender.address).lower()) or _NAMES.search(sender.name))


def answers_for_somebody(message: IncomingMessage, own: OwnWords) -> bool:
    """Say whether a mail from nobody answers one, as programs do for people who are away."""
    return bool(message.references) or is_absence_text(own.said)


def has_machine_voice(message: IncomingMessage) -> bool:
    """Say whether a mail from a machine is under a machine's name as well; else it may answer for a person."""
    return "x-failed-recipients" in message.fields or from_postmaster(message) or may_be_machine(message)


_MACHINES = re.compile(
    r"(?:[\w.-]*[-_.])?(?:no-?reply|do-?not-?reply|mail(?:er|box)?|mail[-_.]?(?:system|server|admin\w*|delivery|gateway|router)"
    r"|system|daemon|root|(?:sys)?admin(?:istrator)?|bounces?|notif\w*|auto\w*|exchange|security|gateway|antispam|mta\d*|smtp\d*)$"
)


_NAMES = re.compile(
    r"\b(?:mail (?:delivery|administrator|system|server|router|gateway|deliver)|delivery (?:sub)?system|postmaster"
    r"|system administrator|mailer[- ]daemon)\b",
    re.IGNORECASE,
)


def is_certain(message: IncomingMessage, own: OwnWords, at_bounce_address: bool) -> bool:
    """Say whether a mail that a machine may have sent is a report, and nothing else.

    The less its sender is a mail server's voice, the more it must show: words about a failed delivery, the mail that it
    returns or what servers said to each other.
    """
    if from_mailer_daemon(message) or is_report(message) or "x-failed-recipients" in message.fields:
        return True
    is_answer = bool(_ANSWERED.match(message.subject))
    in_subject = not is_answer and bool(_FAILURE.search(message.subject))
    said = _beginning(own.said, 250) if is_answer else _beginning(own.said, 1500)
    if not (in_subject or _FAILURE.search(said)):
        return False
    returns = any(part.type in _RETURNED for part in message.attachments)
    shows_mail = returns or bool(_DIALOGUE.search(own.said))
    if message.is_auto_reply:
        return shows_mail and has_machine_voice(message) and (from_machine(message) or at_bounce_address)
    if from_postmaster(message) or message.from_ is None:  # a postmaster may be a person, too
        return in_subject or shows_mail or bool(own.returned) or not (message.references or message.is_list)
    if at_bounce_address or message.return_path == "":
        quotes = bool(own.returned) and not answers_for_somebody(message, own)  # who answers quotes as well
        return may_be_machine(message) or shows_mail or quotes
    shows_mail = returns or "rcpt to" in own.said.lower() or (in_subject and bool(own.returned))
    says_so = shows_mail or bool(_MAIL_FAILED.search(said[:200]))
    return may_be_machine(message) and says_so and not message.is_list and not message.references


def _beginning(said: str, length: int) -> str:
    """The first words without what they quote."""
    return " ".join(" ".join(line for line in said.splitlines() if not line.startswith(">")).split())[:length]


_ANSWERED = re.compile(r"\s*(?:re|aw|sv|antw|fwd?|wg)\s*:", re.IGNORECASE)
_FAILED = (
    r"undeliver",
    r"not (?:be |been )*(?:deliver|sen[dt]\b|reach|process|accept)",
    r"n['’]t (?:be |been )?(?:deliver|sen[dt]\b|reach)|able to deliver",
    r"(?:unable|failed|error|error occurred|problems?|trouble) (?:while |when )?(?:in |to )?(?:deliver|send)",
    r"deliver\w*(?: \w+){0,3} (?:fail|error|problem|trouble|delay|status|impossible)",
    r"fail(?:ed|ure)(?: \w+){0,2} (?:deliver|notice|mail|message|recipient)",
    r"return(?:ed|ing)(?: \w+)? (?:e-?mail|mail|message|to sender)",
    r"non-?delivery",
    r"did not reach",
    r"(?:mail|message)(?: \w+){0,2} (?:error|failure|rejected|returned|bounced|refused)",
    r"(?:loop|bounce) alert",
    r"user unknown|no such user|unknown user|invalid (?:user|recipient|address)",
    r"over quota|mailbox (?:is )?full",
    r"unzustellbar|nicht zugestellt",
    r"non (?:remis|distribu|recapitat|consegnat)",
    r"no (?:se )?(?:pud|entreg)",
    r"onbestelbaar",
    r"не (?:может быть|был\w* )?доставлен|недоставлен",
    r"送信(?:できません|に失敗)|配信|エラー",
    r"投递失败|退信|無法傳[遞送]",
)
_FAILURE = re.compile("|".join(_FAILED), re.IGNORECASE)
_MAIL_FAILED = re.compile(
    r"\b(?:message|e-?mail|mail)\b[^.]{0,80}?\b(?:not|never) (?:be |been )?delivered"
    r"|\b(?:deliver|return)\w* (?:the |your )?(?:message|e-?mail|mail)\b",
    re.IGNORECASE,
)
_DIALOGUE = re.compile(
    r"RCPT TO\b|MAIL FROM\b|^\W{0,8}[45]\d\d[ -]|\b[45]\d\d[ -]#?[45]\.\d\.\d{1,3}\b", re.IGNORECASE | re.MULTILINE
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


def is_challenge(message: IncomingMessage) -> bool:
    """Say whether a mail asks its reader to prove that he is a person; some come dressed as a report."""
    return bool(_CHALLENGE.search(message.text[:2000]))


_CHALLENGE = re.compile(
    r"boxbe\.com|(?<!\d )sender verification(?! (?:fail|error|callout|unsuccess|reject))"
    r"|verify that you are (?:a )?(?:human|person|real)|challenge[/-]response"
    r"|spam ?arrest|\btmda\b.{0,80}confirm|confirm that you are (?:not a (?:spammer|robot)|a (?:human|person))",
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

"""EDGE: what a server means when it says no: from its codes and its words to the sentence that explains it.

The enhanced code (RFC 3463) is often only half right ("550 5.7.1" is a block list, a missing login and an unknown user
with different servers), so words come first, and the first line of a table that fits wins.
"""

import re
from typing import Literal, NamedTuple

from mail.errors import (
    ConnectionFailed,
    EncryptionWanted,
    GreetingDeferred,
    GreetingRefused,
    LoginDeferred,
    LoginNotOffered,
    LoginRefused,
    TooManyConnections,
)
from mail.sentences import Why, why

TEXT_LIMIT = 500

_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s+|$)")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]+")

RefusedAt = Literal["mail", "rcpt", "data", "end"]


class Answer(NamedTuple):
    """An answer of a server: its code, the enhanced code ("" if there is none) and its text on one line."""

    code: int
    enhanced: str
    text: str

    @property
    def temporary(self) -> bool:
        """Whether trying again can help: only 5xx is final (RFC 5321 4.2.1)."""
        return not 500 <= self.code <= 599

    def __str__(self) -> str:
        return " ".join(filter(None, (str(self.code), self.enhanced, self.text)))


def parts_of(reply: bytes) -> Answer:
    """Return code, enhanced code (RFC 3463) and text of an answer.

    >>> parts_of(b"550-5.1.1 No such\\r\\n550 5.1.1 user here\\r\\n")
    Answer(code=550, enhanced='5.1.1', text='No such user here')
    """
    enhanced, texts = "", []
    for line in reply.decode("utf-8", "replace").splitlines():
        text = line[4:]
        if found := _ENHANCED.match(text):
            enhanced, text = found[1], text[found.end() :]
        texts.append(text)
    return Answer(int(reply[:3]), enhanced, _CONTROLS.sub(" ", " ".join(texts)).strip()[:TEXT_LIMIT])


def said_in(reply: bytes) -> str:
    """Return an answer as the server gave it, on one line."""
    return str(parts_of(reply))


# --- a mail that was refused


class _Meaning(NamedTuple):
    """One line of the table: fits by enhanced code or by words; ``at`` are the steps at which it can be meant."""

    sentence: str
    words: str = ""
    enhanced: str = ""
    at: tuple[RefusedAt, ...] = ("mail", "rcpt", "data", "end")
    codes: tuple[int, ...] = ()

    def fits(self, at: str, answer: Answer) -> bool:
        if at not in self.at:
            return False
        if self.words and re.search(self.words, answer.text, re.IGNORECASE):
            return True
        if self.enhanced and re.fullmatch(self.enhanced, answer.enhanced):
            return True
        return answer.code in self.codes


_GREY = r"gr[ea]y ?-?list|postgrey"
_SESSION = (
    r"(?:messages?|e?-?mails?|recipients?|transactions?|deliveries|rcpts?|limit|quota|count|maximum|max)\b.{0,60}"
    r"\b(?:per|this|each|in (?:this|one|a|the)|for (?:this|one|a|the)|of (?:this|the)|on (?:this|one|a|the)|one|single)"
    r" (?:smtp )?(?:session|connection)\b|"
    r"(?:session|connection)(?:'s)? (?:message |mail |transaction |rate |recipient )?(?:limit|quota|maximum|is full)|"
    r"(?:session|connection) (?:has |was )?(?:exceeded|reached)|open a new (?:session|connection)|please re-?connect"
)
_CONNECTIONS = (
    r"too many (?:concurrent |simultaneous |open |parallel |smtp )*(?:connections?|sessions?)|"
    r"(?:connections?|sessions?)\b.{0,40}\b(?:limit|exceed|maximum|too many)|"
    r"(?:maximum|max|limit)\b.{0,40}\b(?:connections?|sessions?)|concurren|simultaneous"
)
_RATE = (
    r"\brate\b|too (?:many|much|fast|often|quick)|slow down|throttl|limit (?:has been )?(?:reached|exceeded)|"
    r"exceed\w*.{0,40}\b(?:limit|quota|messages|recipients)\b|(?:hourly|daily|per (?:hour|day|minute))"
)
_FULL = (
    r"(?:mail)?box (?:is |size |was )?(?:full|over)|over ?quota|quota (?:is )?(?:exceeded|full)|"
    r"exceed\w* .{0,30}quota|out of storage"
)
_LIST = (
    r"black ?-?list|block ?-?list|deny ?list|\brbls?\b|dnsbl|spamhaus|barracuda|spamcop|proofpoint|"
    r"(?:poor|bad|low) (?:\w+ )?reputation|listed (?:in|at|on|by)|(?:ip|client|host|address|server)\b[^.;]{0,40}"
    r"\bblocked|blocked (?:using|by)|reverse (?:dns|hostname)|\bptr\b|(?:client )?host rejected"
)
_PROOF = r"\bspf\b|\bdkim\b|\bdmarc\b|unauthenticated (?:e?-?mail|sender)|sender policy framework"
_SPAM = r"\bspam|unsolicited|\bbulk|virus|malware|\bphish|banned|content (?:rejected|filter|not)|\bur[il]bl\b"
_LOGIN = (
    r"authenticat\w* (?:is )?(?:required|needed|first)|must (?:first )?authenticate|(?:auth|log ?in|login)\w* "
    r"(?:is )?(?:required|first|needed)|not (?:authenticated|logged in)|log ?in (?:first|to)|issue an? auth"
)
_TLS = (
    r"starttls (?:command )?(?:first|required)|must issue a? ?starttls|encrypt\w* (?:is )?(?:required|needed)|"
    r"requires? (?:tls|encryption)"
)
_RELAY = (
    r"relay\w*\b.{0,30}\b(?:denied|not|prohibited|disallowed|refused)|\b(?:not|unable|denied|won't|no)\b.{0,30}\brelay"
)
_GONE = (
    r"(?:user|recipient|mailbox|address|account)\b[^.;]{0,40}"
    r"(?:unknown|not (?:be )?found|n[o']t exist|invalid|not listed)|"
    r"(?:no such|unknown|invalid|bad) (?:user|recipient|mailbox|address|account|person|local)|"
    r"no (?:mailbox|user) (?:here|by)"
)
_SENDER = (
    r"\b(?:sender|from address|mail from|return.path|envelope)\b[^.;]{0,60}\b"
    r"(?:reject|refus|denied|not (?:owned|allowed|permitted|authori[sz]ed|verified)|"
    r"n[o']t (?:match|exist|belong)|invalid|unknown)|send as|on behalf|"
    r"not (?:allowed|permitted|authori[sz]ed) to send|(?:not|isn't) (?:owned|verified)"
)
_SIZE = r"too (?:large|big|long)|(?:message|mail|size)\b.{0,40}\b(?:exceed|limit|maximum)|exceed\w*.{0,40}\bsize"

FINAL = (
    _Meaning("encryption_wanted", words=_TLS),
    _Meaning("login_wanted", words=_LOGIN, codes=(530,)),
    _Meaning("needs_smtputf8_there", words=r"smtputf8|\beai\b|internationali[sz]ed", enhanced=r"5\.6\.7"),
    _Meaning("session_full", words=_SESSION),
    _Meaning("relay_denied", words=_RELAY, at=("rcpt", "data", "end")),
    _Meaning("blocked_by_list", words=_LIST),
    _Meaning("blocked_without_proof", words=_PROOF, enhanced=r"5\.7\.2[0-7]"),
    _Meaning("mailbox_full", words=_FULL, enhanced=r"5\.2\.2", at=("rcpt", "data", "end")),
    _Meaning("too_large_there", words=_SIZE, enhanced=r"5\.(?:3\.4|2\.3)", at=("mail", "rcpt", "data", "end")),
    _Meaning("blocked_as_spam", words=_SPAM),
    _Meaning("sender_refused", words=_SENDER, enhanced=r"5\.1\.[78]|5\.7\.60"),
    _Meaning("recipient_refused", words=_GONE, at=("rcpt",)),
    _Meaning("sending_limit", words=_RATE, at=("rcpt", "data", "end")),
    _Meaning("recipient_refused", enhanced=r"5\.1\.\d+", at=("rcpt",)),
    _Meaning("recipient_forbidden", enhanced=r"5\.7\.\d+", at=("rcpt",)),
    _Meaning("recipient_disabled", enhanced=r"5\.2\.1", at=("rcpt",)),
)
TEMPORARY = (
    _Meaning("session_full", words=_SESSION),
    _Meaning("too_many_connections", words=_CONNECTIONS),
    _Meaning("greylisted", words=_GREY),
    _Meaning("mailbox_full_now", words=_FULL, enhanced=r"4\.2\.2", at=("rcpt", "data", "end")),
    _Meaning("sending_limit_now", words=_RATE),
)


def reason_of(at: RefusedAt, answer: Answer, sender: str, recipient: str, host: str) -> Why:
    """Return why a mail was refused or put off by a server.

    >>> listed = Answer(550, "5.7.1", "Client host blocked using zen.spamhaus.org")
    >>> reason_of("rcpt", listed, "", "ann@x.org", "mx.org")["code"]
    'blocked_by_list'
    """
    table = TEMPORARY if answer.temporary else FINAL
    otherwise = "deferred" if answer.temporary else {"mail": "sender_refused", "rcpt": "recipient_refused"}.get(at)
    sentence = next((line.sentence for line in table if line.fits(at, answer)), otherwise or "refused")
    address = sender if sentence == "sender_refused" else recipient
    return why(sentence, address=address, reply=str(answer), host=host)


def speaks_of_session(answer: Answer) -> bool:
    """Say whether an answer means that this connection took as many mails as it may; another one takes more."""
    return re.search(_SESSION, answer.text, re.IGNORECASE) is not None


def speaks_of_connections(answer: Answer) -> bool:
    """Say whether an answer means that there are too many connections at once."""
    return re.search(_CONNECTIONS, answer.text, re.IGNORECASE) is not None


# --- a connection that was refused


def greeting_refused(host: str, answer: Answer) -> ConnectionFailed:
    """Return our name for a server that does not want to begin."""
    if speaks_of_connections(answer):
        return TooManyConnections(host=host, reply=str(answer))
    if answer.temporary:
        return GreetingDeferred(host=host, reply=str(answer))
    return GreetingRefused(host=host, reply=str(answer))


def login_refused(host: str, user: str, answer: Answer, offered: str) -> ConnectionFailed:
    """Return our name for a log-in that failed (RFC 4954 6); only some answers speak of the password."""
    said = str(answer)
    if speaks_of_connections(answer):
        return TooManyConnections(host=host, reply=said)
    if answer.code == 538 or re.search(_TLS, answer.text, re.IGNORECASE):
        return EncryptionWanted(host=host, reply=said)
    if answer.code in (500, 502, 503, 504):
        return LoginNotOffered(host=host, offered=offered)
    if answer.temporary and answer.code != 432:
        return LoginDeferred(host=host, user=user, reply=said)
    return LoginRefused(host=host, user=user, reply=said)

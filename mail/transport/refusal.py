"""What a refusal of a mailbox server means for whoever asked: wait, give up on it, or find out.

RFC 5530 (IMAP) and RFC 2449 and 3206 (POP3) begin refusals with a code in brackets; many servers have only words.
"""

import re
from typing import Literal

from mail.errors import (
    AppPasswordWanted,
    ConnectionFailed,
    EncryptionWanted,
    LoginBlocked,
    LoginRefused,
    MailboxLater,
    MailboxTurnedOff,
    PasswordLoginOff,
    WebLoginWanted,
)

Meaning = Literal["later", "final", "unclear"]

_CODE = re.compile(r"\[([A-Z][A-Z0-9/_-]*)[^\]]*\]", re.IGNORECASE)
LATER = frozenset(
    ("UNAVAILABLE", "INUSE", "LIMIT", "SERVERBUG", "EXPUNGEISSUED", "OVERQUOTA", "IN-USE", "LOGIN-DELAY", "SYS/TEMP")
) | frozenset(("TEMPFAIL", "THROTTLED", "TRYAGAIN", "TRYLATER", "BUSY", "OVERLOADED"))  # no standard, but in use
IN_USE = frozenset(("INUSE", "IN-USE"))
FINAL = frozenset(
    ("AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "EXPIRED", "PRIVACYREQUIRED", "CONTACTADMIN", "NOPERM")
) | frozenset(
    ("CORRUPTION", "CLIENTBUG", "CANNOT", "ALREADYEXISTS", "NONEXISTENT", "SYS/PERM", "AUTH", "PARSE", "UNKNOWN-CTE")
)
NO_FAULT_OF_THE_PASSWORD = frozenset(
    ("AUTHORIZATIONFAILED", "EXPIRED", "PRIVACYREQUIRED", "CONTACTADMIN", "NOPERM", "CANNOT", "SYS/PERM")
)
_LATER_WORDS = re.compile(
    r"\b(?:temporar\w*|later|try again|throttl\w*|rate.?limit\w*|too (?:many|much|fast|often|frequent\w*)|busy"
    r"|unavailable|not available|overload\w*|exceed\w*|in use|locked|in progress|timed? ?out|back.?off|slow down)\b",
    re.IGNORECASE,
)

# What the words of a refused log-in mean, whatever code stands before them; the first line that fits counts.
LOGIN: tuple[tuple[type[ConnectionFailed], str], ...] = (
    (AppPasswordWanted, r"\bapp(?:lication)?[- ](?:specific )?password|authori[sz](?:ed|ation) code"),
    (AppPasswordWanted, r"\b(?:two|2)[- ]?(?:factor|step)\b|\b[2m]fa\b"),
    (WebLoginWanted, r"web ?login|(?:your|a) (?:web )?browser|\bWEBALERT\b|verify your (?:account|identity)"),
    (PasswordLoginOff, r"basic ?auth\w*[- ]?(?:is |has been )?(?:blocked|disabled)"),
    (
        EncryptionWanted,
        r"(?:plain|clear)-?text (?:auth\w*|log-?ins?) (?:is |are )?(?:disallowed|disabled|not (?:allowed|permitted))"
        r"|\[PRIVACYREQUIRED\]|\b(?:ssl|tls|encryption) (?:is )?required",
    ),
    (LoginRefused, r"password is incorrect|invalid credentials or"),
    (
        MailboxTurnedOff,
        r"(?:imap4?|pop3?)\b[^.]{0,30}\b(?:disabled|not (?:enabled|allowed|activated|active|permitted))",
    ),
    (MailboxTurnedOff, r"enabled? (?:for )?(?:imap|pop)|protocol (?:is )?disabled"),
    (LoginBlocked, r"authenticated but not connected|unsafe login|password (?:has |is )?expired|must be changed"),
    (
        LoginBlocked,
        r"\bip\b[^.]{0,40}\b(?:not|blocked|denied)\b|from your country|is over ?quota|\bpayment\b",
    ),
    (MailboxLater, r"internal (?:server )?error|maintenance|being (?:moved|migrated)"),
    (
        LoginBlocked,
        r"^(?!.*(?:temporar|later|try again|too many)).*\b(?:account|mailbox|user|log-?in|access|licen[cs]e)\b"
        r"[^.]{0,40}\b(?:suspended|disabled|deactivated|blocked|locked|expired|inactive|not (?:yet )?active)\b",
    ),
)
ABOUT_PASSWORDS = (AppPasswordWanted, PasswordLoginOff, LoginRefused)
# Exchange Online and Outlook.com say no more than "AUTHENTICATE failed." or "LOGIN failed." to every password, right or
# wrong: Microsoft has turned them off for IMAP and POP3. A server of somebody's own says the same to a wrong one.
_TAKE_NO_PASSWORDS = re.compile(r"(?:.+\.)?(?:outlook\.office(?:365)?|outlook|hotmail)\.com\.?", re.IGNORECASE)


_AT_ONCE = r"(?:connections?|sessions?(?! +(?:life)?time)|(?:simultaneous|concurrent) +log-?ins?)\b"
_CONNECTIONS = re.compile(
    rf"(?:too many|maximum|exceed\w*|limit)(?![^.]*\bfail)[^.]{{0,40}}\b{_AT_ONCE}"
    rf"|\b{_AT_ONCE}(?![^.]*\bfail)[^.]{{0,30}}\b(?:limit|exceeded|maximum)",
    re.IGNORECASE,
)


def limits_connections(reply: str) -> bool:
    """Say whether a server refuses because it has too many connections of ours, of this mailbox or this address.

    >>> limits_connections("[ALERT] Too many simultaneous connections. (Failure)")
    True
    >>> limits_connections("Maximum number of connections from user+IP exceeded (mail_max_userip_connections=10)")
    True
    >>> limits_connections("User x has exceeded the connection limit"), limits_connections("[LIMIT] Too many requests")
    (True, False)
    >>> limits_connections("Too many concurrent logins"), limits_connections("Too many failed login attempts")
    (True, False)
    >>> limits_connections("Session time limit exceeded"), limits_connections("Too many failed connections, locked")
    (False, False)
    """
    return _CONNECTIONS.search(reply) is not None


def takes_no_passwords(host: str) -> bool:
    """Say whether no password is taken by the mailboxes of a server, whatever it says.

    >>> [takes_no_passwords(host) for host in ("outlook.office365.com", "imap-mail.outlook.com", "mx.notoutlook.com")]
    [True, True, False]
    """
    return _TAKE_NO_PASSWORDS.fullmatch(host) is not None


def login_error(reply: str) -> type[ConnectionFailed] | None:
    """Return the error that the words of a refused log-in name, None when they name none.

    >>> login_error("[AUTH] Application-specific password required").code
    'app_password_wanted'
    >>> login_error("[AUTHENTICATIONFAILED] Invalid credentials (Failure)")
    """
    return next((error for error, words in LOGIN if re.search(words, reply, re.IGNORECASE)), None)


def codes(reply: str) -> set[str]:
    """Return the codes of a refusal, in capitals.

    >>> codes("[SYS/TEMP] not now"), codes("[limit 20] not now"), codes("not now")
    ({'SYS/TEMP'}, {'LIMIT'}, set())
    """
    return {code.upper() for code in _CODE.findall(reply)}


def meaning(reply: str) -> Meaning:
    """Return whether a refusal says "not now", "never", or neither.

    >>> [meaning(reply) for reply in ("[UNAVAILABLE] x", "Request is throttled", "[CORRUPTION] try again", "no")]
    ['later', 'later', 'final', 'unclear']
    """
    found = codes(reply)
    if found & LATER:
        return "later"
    if found & FINAL:
        return "final"
    return "later" if _LATER_WORDS.search(reply) else "unclear"

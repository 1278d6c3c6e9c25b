"""EDGE: the tables from the words and codes of servers to the causes that we name; the first line that fits wins.

The enhanced code (RFC 3463) is often only half right ("550 5.7.1" is a block list, a missing login and an unknown user
with different servers), so words come first. ``tests/data/smtp_answers.csv`` holds real answers of many servers, each
with its cause: a new line here begins with a new line there.
"""

import re
from typing import Literal, NamedTuple

from mail.errors import (
    AccountLocked,
    AppPasswordWanted,
    ConnectionFailed,
    EncryptionWanted,
    GreetingBlocked,
    GreetingNoReverseName,
    LoginDeferred,
    LoginNotOffered,
    NoMailService,
    PasswordLoginOff,
    SmtpLoginOff,
    TooManyConnections,
)

RefusedAt = Literal["mail", "rcpt", "data", "end"]


class Meaning(NamedTuple):
    """One line of a table: fits by words, enhanced code or code; ``at`` are the steps at which it can be meant."""

    cause: str
    words: str = ""
    enhanced: str = ""
    at: tuple[RefusedAt, ...] = ("mail", "rcpt", "data", "end")
    codes: tuple[int, ...] = ()

    def fits(self, at: str, code: int, enhanced: str, text: str) -> bool:
        """Say whether an answer at this step means this cause."""
        if at not in self.at:
            return False
        if self.words and re.search(self.words, text, re.IGNORECASE):
            return True
        return bool(self.enhanced and re.fullmatch(self.enhanced, enhanced)) or code in self.codes


_TO: tuple[RefusedAt, ...] = ("rcpt", "data", "end")  # the recipient is known

# --- the connection and our log-in

SESSION = (
    r"(?:messages?|e?-?mails?|recipients?|transactions?|deliveries|rcpts?|limit|quota|count|maximum|max)\b.{0,60}"
    r"\b(?:per|this|each|in (?:this|one|a|the)|for (?:this|one|a|the)|of (?:this|the)|on (?:this|one|a|the)|one|single)"
    r" (?:smtp )?(?:session|connection)\b|"
    r"(?:session|connection)(?:'s)? (?:message |mail |transaction |rate |recipient )?(?:limit|quota|maximum|is full)|"
    r"(?:session|connection) (?:has |was )?(?:exceeded|reached)|open a new (?:session|connection)|please re-?connect|"
    r"too many (?:\w+ ){0,4}(?:errors|commands)\b"
)
CONNECTIONS = (
    r"too many (?:concurrent |simultaneous |open |parallel |smtp )*(?:connections?|sessions?)|"
    r"(?:connections?|sessions?)\b.{0,40}\b(?:limit|exceed|maximum|too many)|"
    r"(?:maximum|max|limit)\b.{0,40}\b(?:connections?|sessions?)|concurren|simultaneous"
)
_TLS = (
    r"starttls (?:command )?(?:first|(?:is )?required)|must issue a? ?starttls|encrypt\w* (?:is )?(?:required|needed)|"
    r"requires? (?:tls|encryption)|\btls (?:is )?required|senders to use tls"
)
_LOGIN = (
    r"authenticat\w* (?:is )?(?:required|needed|first)|must (?:first )?authenticate|(?:auth|log ?in|login)\w* "
    r"(?:is )?(?:required|first|needed)|not (?:authenticated|logged in)|log ?in (?:first|to send)|issue an? auth|"
    r"turn on smtp auth|unauthenticated senders not allowed"
)
_NO_PASSWORDS = r"basic auth\w* is (?:disabled|not (?:supported|allowed))"
_RELAY = (
    r"relay\w*\b.{0,30}\b(?:denied|not|prohibited|disallowed|refused)|\b(?:not|unable|denied|won't|no)\b.{0,30}\brelay|"
    r"credentials for relay|allowed rcpthosts|recipient address rejected: access denied$"
)
_ACCOUNT = (
    r"\bsending (?:for this account is |is |has been )?(?:denied|paused|disabled)|sending account has been|"
    r"bad outbound sender|spam abuse detected|tenant has exceeded|blocked from sending|unusual sending activity|"
    r"(?:outgoing (?:mail|e-?mail)|your (?:\w+ )?account)\b.{0,80}\b(?:suspended|disabled|blocked)|"
    r"not allowed to send: account disabled"
)
_NOT_READY = (  # the account is new: its domain, its plan or its approval is missing
    r"account is (?:not yet activated|pending approval)|not allowed to send: (?:sandbox|the domain is unverified)|"
    r"\b(?:trial|free) accounts?\b.{0,30}\bonly (?:send|be used)|demo domains? can only|"
    r"only send (?:test(?:ing)? )?e-?mails to (?:your own|verified)"
)

# --- who we are: our address, its name, our proof, our sender

_REVERSE = r"reverse (?:dns|hostname)|\bptr\b|\brdns\b|cannot find your (?:reverse )?hostname|ip name lookup failed"
HELO = r"\b(?:helo|ehlo)\b.{0,40}(?:rejected|invalid|not allowed|should be|must be)|(?:bad|invalid) (?:helo|ehlo)"
_LISTED_LINK = r"\bdbl\b|\bur[il]bl\b|domain is listed"  # these lists hold names of domains, not addresses of servers
_LIST = (
    r"black ?-?list|block ?-?list|deny ?list|\brbls?\b|dnsbl|spamhaus|barracuda ?(?:reputation|central)|spamcop|"
    r"\bip(?:/domain)? reputation|(?:poor|bad|low) (?:\w+ )?reputation|list(?:ed|ing) (?:in|at|on|by)|"
    r"(?:ip|client|host|address|server)\b(?:[^.;]|\.(?=\d)){0,40}\bblocked|host rejected|"
    r"blocked (?:using|by)(?! (?:the |our )?(?:content|spam|virus|policy|message))|ipcheck\.proofpoint|"
    r"not in whitelist|host network not allowed|banned send(?:er ?\[|ing ip)|"
    r"permanently deferred|to send email directly to our servers"
)
_NO_SERVERS_ADDRESS = r"(?:transient|dynamic) ip\b|problem occurred.*\(bl\)"
_PROOF = (
    r"\bspf\b|\bdkim\b|\bdmarc\b|unauthenticated (?:e?-?mail|sender)\b|\bis unauthenticated|sender policy framework|"
    r"required authentication level|"
    r"pass authentication checks"
)
_SENDER_NOT_FOUND = (
    r"sender address rejected: (?:domain|unverified)|domain of sender|sender verify|from: domain is invalid|"
    r"unresolvable rfc.5321 (?:from )?domain|sender domain must exist"
)
_SENDER = (
    r"\b(?:sender|from address|mail from|return.path|envelope)\b[^.;]{0,60}\b"
    r"(?:reject|refus|denied|not (?:owned|a valid|allowed|permitted|authori[sz]ed|verified)|"
    r"n[o']t (?:match|exist|belong)|invalid|unknown)|send as|sendasdenied|on behalf|sender you used|"
    r"not (?:allowed|permitted|authori[sz]ed) to (?:send|perform\W+ses:send)|(?:not|isn't) (?:owned|verified)|"
    r"not a sender signature|unauthori[sz]ed sender"
)

# --- rates

_RATE = (
    r"\brate\b|too (?:many|much|fast|often|quick|frequent)|slow down|throttl|limit (?:has been )?(?:reached|exceeded)|"
    r"exceed\w*.{0,40}\b(?:limit|quota|messages|recipients)\b|(?:hourly|daily|per (?:hour|day|minute))|"
    r"(?:unexpected|excessive) volume"
)
_OUR_RATE = (
    r"\b(?:daily|hourly|monthly|sending|submission|relay|send|messaging) (?:\w+ ){0,3}(?:limits?|quota)|"
    r"throttling failure|messages? this hour|daily limit"
)
_THEIR_RATE = (
    r"(?:user|recipient|mailbox)\b.{0,60}\breceiving mail|recipient'?s per hour|recipient has exceeded their|"
    r"recipient thread limit"
)
_GREY = r"gr[ea]y ?-?list|postgrey|grey\.rbl"

# --- the recipient

_CLOSED = (
    r"resolver\.rst\.(?:auth|not|sender)|delivery not authori[sz]ed|(?:user or domain|sending to)\b.{0,40}\bpolicy|"
    r"not in allowed-senders|recipient preferences"
)
_POLICY = r"\bpolic(?:y|ies)\b|prohibit|manually blocked|envelope blocked|:blocked\b|rejected by recipient"
_FULL = (
    r"(?:mail)?box (?:is |size |was )?(?:full|over)|over ?quota|quota (?:limit )?(?:is )?(?:exceeded|full)|"
    r"exceed\w* .{0,30}quota|out of storage|exceeded storage"
)
_DISABLED = (
    r"(?:account|mailbox|user|recipient)\b[^.;]{0,50}(?:\b(?:disabled|inactive|suspended|locked|frozen|expired|archived)|"
    r"is ?blocked)|(?:disabled|inactive|suspended|expired|archived) (?:account|mailbox|user|recipient)"
)
_NO_DOMAIN = (
    r"domain not found|host (?:unknown|not found)|(?:non-?existent|unknown|no such) domain|null mx|"
    r"no mx or a|unrouteable|domain is not reachable|"
    r"domain\b.{0,40}\b(?:does not|doesn't) exist"
)
_GONE = (
    r"(?:user|recipient|mailbox|address|account)\b[^.;]{0,40}"
    r"(?:unknown|not (?:be )?found|n[o']t exist|invalid|not listed)|"
    r"(?:no such|unknown|invalid|bad|illegal) (?:user|recipient|mailbox|address|account|person|local|alias)|"
    r"no (?:mailbox|user) (?:here|by)|doesn't have an? .{0,40}account|not our customer|"
    r"not a (?:registered|valid|known) .{0,20}(?:user|recipient)|no longer (?:on|valid)|"
    r"address rejected\.?$|access denied\. .*(?:as\(|protection\.outlook)|mailbox unavailable|user not local"
)

# --- the mail itself

_DANGEROUS = (
    r"\bvirus|malware|infected|potential security issue|security policies|"
    r"(?:illegal|blocked|banned|unwanted|blacklisted|prohibited|dangerous|unsafe) (?:attachment|file)|- banned: |"
    r"\battachments?\b.{0,40}\b(?:not (?:allowed|permitted|accepted)|blocked|forbidden|prohibited)|"
    r"\b(?:blocked|rejected|refused)\b.{0,40}\battach(?:ed|ment)"
)
_SPAM = (
    r"\bspam|unsolicited|\bbulk|\bphish|banned|content (?:rejected|denied|filter|not)|ofr_506|mail rejete|"
    r"nature of the content"
)
_FORMAT = (
    r"\brfc ?(?:822|2822|5322)\b|malformed|bare ?line ?feeds?|lines? too long|duplicate header|missing a valid|"
    r"line length|headers? (?:fail|too (?:large|long|many))|too many (?:mime|headers?|parts)"
)
_SIZE = (
    r"too (?:large|big|long)|(?:message|mail|size)\b.{0,40}\b(?:exceed|limit|maximum)|exceed\w*.{0,40}\bsize|"
    r"taille limite"
)
_LOOP = r"\bhops\b|hop count|mail loop|looping|routing loop|too many received"

FINAL = (
    Meaning("encryption_wanted", words=_TLS),
    Meaning("recipient_forbidden", words=_CLOSED, at=_TO),
    Meaning("password_login_off", words=_NO_PASSWORDS),
    Meaning("account_not_ready", words=_NOT_READY),
    Meaning("account_blocked", words=_ACCOUNT, enhanced=r"5\.7\.(?:50[1-3]|7[0-4]\d|750)"),
    Meaning("mail_loop", words=_LOOP, enhanced=r"5\.4\.(?:6|14)", at=_TO),
    Meaning("login_wanted", words=_LOGIN, codes=(530,)),
    Meaning("needs_smtputf8_there", words=r"smtputf8|\beai\b|internationali[sz]ed", enhanced=r"5\.6\.7"),
    Meaning("session_full", words=SESSION),
    Meaning("no_reverse_name", words=_REVERSE, enhanced=r"5\.7\.25"),
    Meaning("helo_refused", words=HELO),
    Meaning("blocked_without_proof", words=_PROOF, enhanced=r"5\.7\.(?:2[0-7]|30|509|515)"),
    Meaning("blocked_as_dangerous", words=_DANGEROUS, at=("data", "end")),
    Meaning("blocked_as_spam", words=_LISTED_LINK),
    Meaning("blocked_by_list", words=_LIST),
    Meaning("relay_denied", words=_RELAY, at=_TO),
    Meaning("sender_not_found", words=_SENDER_NOT_FOUND, enhanced=r"5\.1\.8"),
    Meaning("sender_refused", words=_SENDER, enhanced=r"5\.1\.7|5\.7\.60"),
    Meaning("format_refused", words=_FORMAT, enhanced=r"5\.6\.(?:[0-6]|11)", at=("data", "end")),
    Meaning("recipient_limit", words=_THEIR_RATE, enhanced=r"5\.2\.12[12]", at=_TO),
    Meaning("sending_limit", words=_OUR_RATE, enhanced=r"5\.4\.5|5\.1\.90"),
    Meaning("sending_limit", words=r"\brate\b|too many (?:messages|e?-?mails|recipients)", at=_TO),
    Meaning("mailbox_full", words=_FULL, enhanced=r"5\.2\.2", at=_TO),
    Meaning("too_large_there", words=_SIZE, enhanced=r"5\.(?:3\.4|2\.3)"),
    Meaning("recipient_disabled", words=_DISABLED, at=_TO),
    Meaning("no_such_domain", words=_NO_DOMAIN, enhanced=r"5\.1\.2|5\.4\.(?:4|310)", at=_TO, codes=(556,)),
    Meaning("no_such_mailbox", words=_GONE, enhanced=r"5\.1\.(?:1|3|6|10|351)", at=_TO),
    Meaning("recipient_disabled", enhanced=r"5\.2\.1", at=_TO),
    Meaning("blocked_as_spam", words=_SPAM),
    Meaning("recipient_forbidden", words=_POLICY, at=_TO),
    Meaning("sending_limit", words=_RATE, at=_TO),
    Meaning("recipient_forbidden", enhanced=r"5\.7\.\d+", at=("rcpt",)),
)
TEMPORARY = (
    Meaning("session_full", words=SESSION),
    Meaning("encryption_wanted", words=_TLS),
    Meaning("too_many_connections", words=CONNECTIONS),
    Meaning("greylisted", words=_GREY),
    Meaning("account_not_ready", words=_NOT_READY),
    Meaning("account_blocked", words=_ACCOUNT),
    Meaning("no_reverse_name_now", words=_REVERSE, enhanced=r"4\.7\.2[35]"),
    Meaning("helo_refused", words=HELO),
    Meaning("sending_limit_now", enhanced=r"4\.7\.28"),
    Meaning("blocked_without_proof_now", words=_PROOF, enhanced=r"4\.7\.(?:2[0-7]|3[0-2])"),
    Meaning("sender_not_found_now", words=_SENDER_NOT_FOUND, enhanced=r"4\.1\.8"),
    Meaning("blocked_by_list_now", words=_LIST),
    Meaning("relay_denied", words=_RELAY, at=_TO),
    Meaning("login_wanted", words=_LOGIN),
    Meaning("recipient_limit_now", words=_THEIR_RATE, at=_TO),
    Meaning("provider_limit_now", words=_OUR_RATE),
    Meaning("mailbox_full_now", words=_FULL, enhanced=r"4\.2\.2", at=_TO),
    Meaning("blocked_as_spam_now", words=r"nature of the content|suspected spam", at=("data", "end")),
    Meaning("no_such_domain_now", words=_NO_DOMAIN + r"|dns (?:failure|error|timeout)", enhanced=r"4\.1\.2", at=_TO),
    Meaning("recipient_disabled_now", words=_DISABLED + r"|mailbox unavailable|account inbounds", at=_TO),
    Meaning("no_such_mailbox_now", words=_GONE + r"|unverified address", enhanced=r"4\.1\.1", at=_TO),
    Meaning("sending_limit_now", words=_RATE),
    Meaning("recipient_disabled_now", enhanced=r"4\.2\.1", at=_TO),
    Meaning(
        "server_busy",
        words=r"\bbusy|overload|resources|insufficient|shortage|write error|local (?:error|problem)|"
        r"temporarily (?:rejected|unavailable)|currently unavailable|service refuse|#4\.3\.\d",
        enhanced=r"4\.3\.\d|4\.4\.5",
    ),
)


class Refusal(NamedTuple):
    """One line of a table about a connection that was refused: which of our errors it is."""

    error: type[ConnectionFailed]
    words: str = ""
    codes: tuple[int, ...] = ()

    def fits(self, code: int, text: str) -> bool:
        """Say whether an answer means this error."""
        return code in self.codes or bool(self.words and re.search(self.words, text, re.IGNORECASE))


GREETING = (
    Refusal(TooManyConnections, CONNECTIONS),
    Refusal(GreetingNoReverseName, _REVERSE),
    Refusal(GreetingBlocked, f"{_LIST}|{_NO_SERVERS_ADDRESS}"),
    Refusal(NoMailService, r"no smtp service|does not accept (?:e-?)?mail", (521,)),
)
LOGIN = (
    Refusal(TooManyConnections, CONNECTIONS),
    Refusal(EncryptionWanted, _TLS, (538,)),
    Refusal(LoginNotOffered, r"mechanism\b.{0,20}\b(?:too weak|not supported|unsupported)", (500, 502, 503, 504)),
    Refusal(AppPasswordWanted, r"\bapp(?:lication)?[- ](?:specific )?password|authori[sz]ation code"),
    Refusal(AppPasswordWanted, r"\b(?:two|2)[- ]?(?:factor|step)\b|\b[2m]fa\b"),
    Refusal(SmtpLoginOff, r"smtpclientauth\w* is disabled"),
    Refusal(PasswordLoginOff, _NO_PASSWORDS),
    Refusal(LoginDeferred, r"too many (?:bad |failed )?(?:log-?in|auth)"),
    Refusal(
        AccountLocked,
        r"your (?:web )?browser|\blocked|disabled|suspended|not yet activated|unauthorized ip|credits exceeded|"
        r"did not meet the criteria|\bexpired|deactivated|inactive|\bblocked|\bip\b[^.]{0,40}\bnot\b|must be changed",
        (525,),
    ),
)

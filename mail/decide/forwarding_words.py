"""What requests to confirm forwarding are known by: the providers that send them, and their words in many languages."""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ForwardingProvider:
    """A provider: the domains that its programs write from, and the hosts that its links to confirm lead to.

    Hosts are whole names: others below the same domain show what customers made. ``path``: how the path of such a link
    begins, where it is known for certain; ``sender``: the one address that sends them.
    """

    name: str
    domains: tuple[str, ...]
    hosts: tuple[str, ...]
    sender: str = ""
    path: re.Pattern[str] | None = None


_GOOGLE_PATH = re.compile(r"/(?:mail|a)/(?:[\w.-]{1,100}/){0,3}vf-")

PROVIDERS = (
    ForwardingProvider(
        "Gmail",
        ("google.com", "googlemail.com"),
        ("mail-settings.google.com", "mail.google.com", "isolated.mail.google.com"),
        "forwarding-noreply@",
        _GOOGLE_PATH,
    ),
    ForwardingProvider(
        "Microsoft",
        ("microsoft.com", "outlook.com", "hotmail.com", "live.com", "office365.com"),
        (
            "account.live.com",
            "account.microsoft.com",
            "outlook.live.com",
            "outlook.office.com",
            "outlook.office365.com",
        ),
    ),
    ForwardingProvider(
        "Yahoo",
        ("yahoo.com", "yahoo-inc.com", "yahooinc.com"),
        ("login.yahoo.com", "mail.yahoo.com", "edit.yahoo.com"),
    ),
    ForwardingProvider("AOL", ("aol.com",), ("login.aol.com", "mail.aol.com")),
    ForwardingProvider(
        "Zoho",
        ("zoho.com", "zoho.eu", "zoho.in", "zohoaccounts.com", "zohoaccounts.eu", "zohoaccounts.in", "zohomail.com"),
        ("mail.zoho.com", "mail.zoho.eu", "mail.zoho.in", "accounts.zoho.com", "accounts.zoho.eu", "accounts.zoho.in"),
    ),
    ForwardingProvider(
        "iCloud", ("apple.com", "icloud.com"), ("www.icloud.com", "account.apple.com", "appleid.apple.com")
    ),
    ForwardingProvider(
        "GMX",
        ("gmx.net", "gmx.de", "gmx.at", "gmx.ch", "gmx.com", "gmxnet.de"),
        ("www.gmx.net", "navigator.gmx.net", "bap.navigator.gmx.net", "www.gmx.com"),
    ),
    ForwardingProvider("WEB.DE", ("web.de", "webde.de"), ("web.de", "navigator.web.de", "bap.navigator.web.de")),
    ForwardingProvider(
        "Yandex",
        ("yandex.ru", "yandex.com", "yandex-team.ru"),
        ("mail.yandex.ru", "mail.yandex.com", "passport.yandex.ru"),
    ),
    ForwardingProvider("Mail.ru", ("mail.ru",), ("e.mail.ru", "account.mail.ru")),
    ForwardingProvider(
        "Fastmail", ("fastmail.com", "fastmail.fm", "fastmailteam.com"), ("app.fastmail.com", "www.fastmail.com")
    ),
    ForwardingProvider(
        "Proton",
        ("proton.me", "protonmail.com", "protonmail.ch"),
        ("account.proton.me", "mail.proton.me", "verify.proton.me"),
    ),
    ForwardingProvider("Cloudflare", ("cloudflare.com",), ("dash.cloudflare.com",)),
    ForwardingProvider("Tencent QQ", ("qq.com", "tencent.com"), ("mail.qq.com", "exmail.qq.com")),
    ForwardingProvider("ImprovMX", ("improvmx.com",), ("app.improvmx.com", "improvmx.com")),
    ForwardingProvider("Forward Email", ("forwardemail.net",), ("forwardemail.net",)),
    ForwardingProvider("Infomaniak", ("infomaniak.com",), ("manager.infomaniak.com", "mail.infomaniak.com")),
)

# Words that also mean something else ("transfert", "redirect") count beside a word for email alone.
_EMAIL = r"(?:e-?mails?|mails?|messages?|courriels?|messagerie|correo|posta|gmail)"
# "We look forward to your email", "going forward, we will email you"
_OTHER_SENSE = "".join(
    rf"(?<!\b{word}\s)"
    for word in ("look", "looks", "looking", "looked", "going", "moving", "step", "way", "brought", "carried")
)
FORWARDING = re.compile(
    rf"(?<!freight[\s-])forward(?:ing|er)|{_OTHER_SENSE}\b(?:auto)?forward\b.{{0,40}}\b{_EMAIL}|redirect\w*.{{0,30}}\b{_EMAIL}|{_EMAIL}.{{0,10}}\bredirect"
    r"|email routing|weiterleit|weiterzuleiten|e-?mail-?umleitung"
    rf"|transf[eé]r\w*.{{0,30}}\b{_EMAIL}|(?:redirection|réexpédition).{{0,30}}\b{_EMAIL}"
    rf"|reenv[ií]|redirec\w*.{{0,30}}\b{_EMAIL}|encaminh|reencaminh"
    rf"|inoltr|reindirizz\w*.{{0,30}}\b{_EMAIL}"
    r"|doorstur|doorzend|przekazywani|przekierowa|přesměrov|přeposíl|vidarebefordr|vidaresänd|videresend|edelleenläh"
    r"|továbbít|yönlendir|пересыл|переадрес|перенаправ|пересил|переспрям|προώθησ|転送|转发|轉寄|轉發|전달|העברה|تحويل",
    re.IGNORECASE,
)
CONFIRM = re.compile(
    r"confirm|v[eé]rif|approv|accept|authori[sz]|bestätig|verifizier|freischalt|conferm|potwierd|zweryfik|potvr[dz]"
    r"|ověř|bekräft|bekræft|bekreft|vahvist|megerősít|onayla|doğrula|подтвер|підтвер|επιβεβαι|επαλήθε|確認|确认|验证|驗證"
    r"|확인|אישור|تأكيد|bevestig",
    re.IGNORECASE,
)
CODE = re.compile(
    r"(?:\b\w{0,20}codes?|codice|c[oó]digo|k[oó]d|\bкод|コード|代码|代碼|验证码|驗證碼|코드)"
    r"(?:[ \t]{1,3}[^\W\d_]{1,20}){0,4}[\s:：*=\"'-]{1,12}"
    r"([0-9]{4,10}\b|(?=[A-Z]{0,9}[0-9])[A-Z0-9]{6,10}\b)",
    re.IGNORECASE,
)
CONFIRMS = re.compile(r"vf-|confirm|verif|accept|approv|activat|validat|forward|fwd|bestaetig|freischalt|opt-?in", re.I)
OTHER_LINK = re.compile(
    r"uf-|cancel|unsubscri|abmeld|decline|reject|refus|deny|report|abuse|/help|support|privacy|terms|faq|blog|impressum"
    r"|datenschutz|logo|\.(?:png|gif|jpe?g|css)\b",
    re.I,
)
RISKY = re.compile(r"oauth|authori[sz]e|consent|//|%2f%2f", re.I)  # what leads on, or gives more than forwarding

# Local parts of the programs of hosters, whose names nobody knows all of.
HOSTING_PROGRAMS = frozenset(("cpanel", "plesk", "directadmin", "ispconfig", "mailadmin", "mailer", "postmaster"))

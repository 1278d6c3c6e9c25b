"""Pure: where to sign in, what to ask for there, who it was that signed in, and what a refusal means.

RFC 6749 (authorization code), 7636 (PKCE), 8628 (device code), OpenID Connect Discovery. The addresses of Google and
Microsoft are fixed; any other provider describes itself below its issuer.
"""

import base64
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

from mail.message.address import normalise
from mail.sentences import Why, why

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
OF_A_CODE = ("authorization_code", DEVICE_GRANT)
DISCOVERY = "/.well-known/openid-configuration"
OUTLOOK = "https://outlook.office.com/"
SCOPES = {
    "google": "openid email https://mail.google.com/",
    "microsoft": f"openid email profile offline_access {OUTLOOK}SMTP.Send {OUTLOOK}IMAP.AccessAsUser.All "
    f"{OUTLOOK}POP.AccessAsUser.All",
    "other": "openid email offline_access",
}
APP_SCOPE = "https://outlook.office365.com/.default"  # what an app of Microsoft may do without a person
NAMES = ("email", "preferred_username", "upn")  # what a provider may call the mailbox that signed in
ANY_TENANT = "organizations"


@dataclass(frozen=True)
class Endpoints:
    """The addresses of a provider. ``secret_in_header``: it takes the client secret by HTTP Basic only."""

    authorization: str
    token: str
    device: str = ""
    userinfo: str = ""
    secret_in_header: bool = False


def known_endpoints(kind: str, tenant: str = "") -> Endpoints | None:
    """Return the addresses of Google and Microsoft, None for a provider that has to be asked.

    >>> known_endpoints("microsoft").token
    'https://login.microsoftonline.com/organizations/oauth2/v2.0/token'
    >>> known_endpoints("other")
    """
    if kind == "google":
        return Endpoints(
            "https://accounts.google.com/o/oauth2/v2/auth",
            "https://oauth2.googleapis.com/token",
            userinfo="https://openidconnect.googleapis.com/v1/userinfo",
        )
    if kind == "microsoft":
        base = f"https://login.microsoftonline.com/{quote(tenant or ANY_TENANT, safe='')}/oauth2/v2.0"
        return Endpoints(f"{base}/authorize", f"{base}/token", f"{base}/devicecode")
    return None


def discovered(document: Mapping[str, Any], issuer: str) -> Endpoints | str:
    """Return the addresses that a provider gives in its description, or what is wrong in it.

    >>> about = {"issuer": "https://a.test", "authorization_endpoint": "https://a.test/in", "token_endpoint": "https://a.test/t"}
    >>> discovered(about, "https://a.test/").token  # type: ignore[union-attr]
    'https://a.test/t'
    """
    if str(document.get("issuer", "")).rstrip("/") != issuer.rstrip("/"):
        return f"issuer {document.get('issuer', '')!s:.200}"
    names = ("authorization", "token", "device_authorization", "userinfo")
    found = {name: str(document.get(f"{name}_endpoint") or "") for name in names}
    for name, address in found.items():
        needed = name in ("authorization", "token")
        if (needed and not address) or (address and urlsplit(address).scheme != "https"):
            return f"{name}_endpoint {address:.200}"
    ways = document.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    in_header = "client_secret_post" not in ways
    authorization, token, device, userinfo = found.values()
    return Endpoints(authorization, token, device, userinfo, in_header)


def authorization_url(
    endpoints: Endpoints, kind: str, client_id: str, redirect: str, scope: str, challenge: str, address: str
) -> str:
    """Return the page to sign in on, all but ``state``, which only the browser of the person knows.

    >>> ends = Endpoints("https://a.test/in", "")
    >>> authorization_url(ends, "other", "us", "https://x.test/back", "openid", "abc", "a@x.test")[:52]
    'https://a.test/in?response_type=code&client_id=us&re'
    """
    from authlib.oauth2.rfc6749.parameters import prepare_grant_uri

    # Google gives a refresh token only to who asks for it, and only when the person agrees anew.
    more = {"access_type": "offline", "prompt": "consent"} if kind == "google" else {}
    if kind == "other":
        more = {"prompt": "consent"}  # OpenID Connect: offline_access counts only with it
    url: str = prepare_grant_uri(
        endpoints.authorization,
        client_id,
        "code",
        redirect,
        scope,
        code_challenge=challenge,
        code_challenge_method="S256",
        login_hint=address,
        **more,
    )
    return url


def redirect_address(base: str) -> str:
    """Return where providers send browsers back to. They take https only, and http for the machine of the browser.

    An office without an address of that kind gets one that leads nowhere: its person pastes what the browser shows.

    >>> redirect_address("https://mail.office.test/")
    'https://mail.office.test/sign-in/callback'
    >>> redirect_address("http://localhost:8000"), redirect_address("http://10.0.0.8:8000")
    ('http://localhost:8000/sign-in/callback', 'http://localhost/sign-in/callback')
    """
    parts = urlsplit(base)
    public = parts.scheme == "https" or parts.hostname in ("localhost", "127.0.0.1", "::1")
    return f"{base.rstrip('/') if public else 'http://localhost'}/sign-in/callback"


def basic(client_id: str, client_secret: str) -> str:
    """Return the header by which an app says who it is: both parts are encoded as in a form first (RFC 6749, 2.3.1).

    >>> base64.b64decode(basic("us", "a+b%2Fc é").removeprefix("Basic "))
    b'us:a%2Bb%252Fc+%C3%A9'
    """
    both = f"{quote_plus(client_id)}:{quote_plus(client_secret)}"
    return f"Basic {base64.b64encode(both.encode()).decode()}"


def pasted(typed: str) -> str:
    r"""Return what was copied from a provider's page without what can't be seen at its ends.

    >>> pasted(" abc\u200b\n"), pasted("\ufeff")
    ('abc', '')
    """
    seen = [place for place, letter in enumerate(typed) if unicodedata.category(letter)[0] not in "CZ"]
    return typed[seen[0] : seen[-1] + 1] if seen else ""


def odd_character(text: str) -> str:
    r"""Return what an ID or a secret holds although the protocol does not allow it (RFC 6749, appendix A), else "".

    >>> odd_character("a~b c"), odd_character("a\u200bb"), odd_character("ä")
    ('', 'U+200B', 'U+00E4')
    """
    return next((f"U+{ord(letter):04X}" for letter in text if not " " <= letter <= "~"), "")


HOSTS = {
    "google": ("gmail.com", "googlemail.com"),
    "microsoft": ("office365.com", "outlook.com", "office.com", "outlook.de", "partner.outlook.cn"),
}


def kind_at(host: str) -> str:
    """Return whose mail server a host is: only there may tokens go without a person who signs in for it.

    >>> kind_at("smtp.gmail.com"), kind_at("Outlook.Office365.com"), kind_at("smtp.gmail.com.evil.test")
    ('google', 'microsoft', 'other')
    """
    host = host.strip().lower().rstrip(".")
    for kind, domains in HOSTS.items():
        if any(host == domain or host.endswith(f".{domain}") for domain in domains):
            return kind
    return "other"


# --- who signed in


def claims_of(id_token: str) -> dict[str, Any]:
    """Return what an id_token says; it came from the provider itself by TLS, which stands for its signature.

    >>> claims_of("x." + base64.urlsafe_b64encode(b'{"email": "a@x.test"}').decode().rstrip("=") + ".y")
    {'email': 'a@x.test'}
    >>> claims_of("x.y.z"), claims_of("?"), claims_of("x.MQ.z")
    ({}, {}, {})
    """
    _, _, rest = id_token.partition(".")
    middle = rest.partition(".")[0]
    try:
        found = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def names_in(claims: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the addresses by which a provider names who signed in.

    >>> names_in({"email": "A@x.test", "preferred_username": "a@x.test", "upn": "ann@x.test", "sub": "7"})
    ('a@x.test', 'ann@x.test')
    """
    found = [normalise(claims[name]) for name in NAMES if isinstance(claims.get(name), str)]
    return tuple(dict.fromkeys(name for name in found if name))


def is_for(claims: Mapping[str, Any], client_id: str) -> bool:
    """Say whether an id_token was made for this app.

    >>> is_for({"aud": "us"}, "us"), is_for({"aud": ["us", "b"]}, "us"), is_for({"aud": "b"}, "us")
    (True, True, False)
    """
    audience = claims.get("aud")
    return client_id in (audience if isinstance(audience, list) else [audience])


def not_allowed(kind: str, granted: str) -> tuple[str, ...]:
    """Return what a person left out of what was asked for: Google lets them tick each permission.

    A provider that names no scopes gave all of them (RFC 6749, 5.1).

    >>> not_allowed("google", "openid email"), not_allowed("google", "https://mail.google.com/ openid")
    (('https://mail.google.com/',), ())
    >>> not_allowed("microsoft", ""), not_allowed("other", "openid")
    ((), ())
    """
    if not granted or kind == "other":
        return ()
    had = granted.lower().split()
    return tuple(one for one in SCOPES[kind].split() if one.startswith("https:") and one.lower() not in had)


# --- refusals


@dataclass(frozen=True)
class OauthRefusal:
    """What a refusal means. ``gone``: only a person can help, by connecting anew; ``later``: time may help."""

    why: Why
    gone: bool = False
    later: bool = False


# Microsoft's numbers say more than the word of the standard; some mean several things that one person mends alike.
MICROSOFT = {
    "sign_in_admin_consent": ("65001", "90094", "90095", "650057"),
    "sign_in_denied": ("65004",),
    "sign_in_secret_wrong": ("7000215", "7000216"),
    "sign_in_secret_expired": ("7000222",),
    "sign_in_client_unknown": ("700016", "700017", "90013"),
    "sign_in_redirect_wrong": ("50011", "500113", "900971"),
    "sign_in_tenant_unknown": ("90002", "900023", "900021"),
    "sign_in_other_tenant": ("50020", "50194", "90072", "500208", "700005"),
    "sign_in_public_client": ("7000218",),
    "sign_in_blocked_by_policy": ("53000", "53001", "53003", "530003", "530034", "50105", "50158"),
    "sign_in_account_off": ("50057", "50053", "50034"),
    "sign_in_permission_missing": ("70011", "650053", "650056", "501051", "500011", "65005"),
    "sign_in_again": ("50173", "700082", "700084", "70043", "70008", "50076", "50078", "50079", "50132", "70000"),
}
NUMBERS = {number: code for code, numbers in MICROSOFT.items() for number in numbers}
WORDS = {
    "access_denied": "sign_in_denied",
    "authorization_declined": "sign_in_denied",
    "consent_required": "sign_in_admin_consent",
    "admin_policy_enforced": "sign_in_blocked_by_policy",
    "org_internal": "sign_in_other_tenant",
    "invalid_client": "sign_in_client_refused",
    "deleted_client": "sign_in_client_unknown",
    "redirect_uri_mismatch": "sign_in_redirect_wrong",
    "invalid_redirect_uri": "sign_in_redirect_wrong",
    "unauthorized_client": "sign_in_flow_off",
    "unsupported_grant_type": "sign_in_flow_off",
    "unsupported_response_type": "sign_in_flow_off",
    "invalid_scope": "sign_in_permission_missing",
    "expired_token": "sign_in_expired",
    "code_expired": "sign_in_expired",
    "invalid_grant": "sign_in_again",
    "interaction_required": "sign_in_again",
    "login_required": "sign_in_again",
    "server_error": "sign_in_later",
    "temporarily_unavailable": "sign_in_later",
    "slow_down": "sign_in_later",
    "rate_limit_exceeded": "sign_in_later",
}
AADSTS = re.compile(r"AADSTS(\d{4,8})")
STILL_THE_CODE = ("70008", "70000")  # of the numbers above: a code is too old, or none
LONGEST_WORD, LONGEST_TEXT = 80, 300


def refusal(error: str, description: str = "", status: int = 400, grant: str = "") -> OauthRefusal:
    """Return what a provider's refusal means, and who can do something about it; ``grant``: what it was asked for by.

    >>> refusal("invalid_client", "AADSTS7000222: The provided client secret keys are expired.").why["code"]
    'sign_in_secret_expired'
    >>> refusal("invalid_grant", "Token has been expired or revoked.").gone
    True
    >>> refusal("temporarily_unavailable").later, refusal("", status=503).later, refusal("odd").why["code"]
    (True, True, 'sign_in_refused')
    >>> refusal("invalid_grant", "Code not valid.", grant="authorization_code").why["code"]
    'sign_in_code_refused'
    """
    number = AADSTS.search(description)
    code = NUMBERS.get(number[1]) if number else None
    code = code or WORDS.get(error) or ("sign_in_later" if status >= 500 or status == 429 else "sign_in_refused")
    if code == "sign_in_again" and grant in OF_A_CODE and (not number or number[1] in STILL_THE_CODE):
        code = "sign_in_code_refused"  # nothing was granted yet that could have ended
    said = " ".join(f"{error[:LONGEST_WORD]} {description[:LONGEST_TEXT]}".split()) or f"HTTP {status}"
    return OauthRefusal(
        why(code, said=_without_tokens(said)), gone=code == "sign_in_again", later=code == "sign_in_later"
    )


# What is to be mended in the app registration here; an address is part of it only where somebody entered it.
ABOUT_REGISTRATION = frozenset({
    "sign_in_secret_wrong", "sign_in_secret_expired", "sign_in_client_unknown", "sign_in_client_refused",
    "sign_in_tenant_unknown", "sign_in_public_client", "oauth_secret_unreadable", "oauth_not_https",
    "oauth_discovery_wrong", "account_renewal_failed",
})  # fmt: skip
ABOUT_ISSUER = frozenset({
    "oauth_name_not_found", "oauth_address_not_allowed", "oauth_certificate_refused", "oauth_not_understood",
})  # fmt: skip


def is_about_registration(code: str, kind: str) -> bool:
    """Say whether a failure is mended in the app registration: client, secret, tenant or issuer.

    >>> is_about_registration("sign_in_secret_expired", "microsoft"), is_about_registration("sign_in_again", "google")
    (True, False)
    >>> [is_about_registration("oauth_name_not_found", kind) for kind in ("other", "google")]
    [True, False]
    """
    return code in ABOUT_REGISTRATION or (kind == "other" and code in ABOUT_ISSUER)


def wants_no_secret(description: str) -> bool:
    """Say whether Microsoft takes a request only without the client secret: what was signed in to by a device code.

    >>> wants_no_secret("AADSTS700025: Client is public so neither 'client_assertion' nor 'client_secret' should be …")
    True
    """
    return "AADSTS700025" in description


def _without_tokens(said: str) -> str:
    """Return a text without words that are long enough to be a secret.

    >>> _without_tokens("bad token eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9 here")
    'bad token … here'
    """
    return re.sub(r"[\w.~+/=-]{30,}", "…", said)
